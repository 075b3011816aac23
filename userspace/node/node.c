/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/node.h"

#include "base/log.h"
#include "forward/relay.h"
#include "node/clients.h"
#include "node/configuration.h"
#include "node/discovery.h"
#include "node/document.h"
#include "node/enroller.h"
#include "node/handover.h"
#include "node/join.h"
#include "node/refresh.h"
#include "node/secret.h"
#include "node/sip_glue.h"
#include "node/twin.h"
#include "overlay/digest.h"
#include "wire/uri.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <utlist.h>

enum { TIMER_ACCURACY_US = 1000, RECHECK_S = 600 };

struct sip_source {
	struct node *node;
	sd_event_source *source;
	int fd;
	struct sip_source *prev, *next;
};

const char *topology_state_text(enum topology_state state) {
	static const char *const texts[] = {"offline", "joining", "joined", "leaving", "left"};

	return (size_t)state < ARRAY_LENGTH(texts) ? texts[state] : "unknown";
}

void node_enter(struct node *node) {
	uint64_t now_us;

	if (sd_event_now(node->event, CLOCK_MONOTONIC, &now_us) < 0)
		now_us = clock_monotonic_us();
	node->runtime.now_us = now_us;
}

/* ---- the event loop ---- */

static int on_link_ready(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct node *node = userdata;

	(void)source;
	node_enter(node);
	if (events & ~(uint32_t)EPOLLOUT)
		links_receive(node->links, fd);
	return 0; /* what waits for a full send buffer leaves when the round settles */
}

static int on_fastpath_ready(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct node *node = userdata;

	(void)source;
	(void)events;
	node_enter(node);
	fastpath_ready(node->fastpath, fd);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t due_us, void *userdata) {
	struct node *node = userdata;

	(void)source;
	(void)due_us;
	node_enter(node);
	runtime_fire(&node->runtime);
	return 0;
}

/* Waits for room in the send buffer only while something is held back. */
static void watch_links(struct node *node) {
	bool want_write = links_want_write(node->links);

	if (want_write == node->links_want_write)
		return;
	node->links_want_write = want_write;
	for (size_t i = 0; i < ARRAY_LENGTH(node->link_sources); i++)
		if (node->link_sources[i])
			sd_event_source_set_io_events(node->link_sources[i], want_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/*
 * Runs after every round of events: what they wrote is committed, what they want to send leaves, and the loop sleeps until the next
 * timer of the overlay code.
 */
static int node_settle(struct node *node) {
	if (node->sip_glue && sip_glue_commit_wanted(node->sip_glue))
		sip_glue_commit(node->sip_glue);
	if (store_commit_wanted(node->store))
		store_commit(node->store);
	links_flush(node->links);
	watch_links(node);
	uint64_t due_us = runtime_next(&node->runtime);
	if (due_us == USEC_NEVER)
		return sd_event_source_set_enabled(node->timer_source, SD_EVENT_OFF);
	int error = sd_event_source_set_time(node->timer_source, due_us);
	return error < 0 ? error : sd_event_source_set_enabled(node->timer_source, SD_EVENT_ONESHOT);
}

static int on_settle(sd_event_source *source, void *userdata) {
	(void)source;
	return node_settle(userdata);
}

static int on_sip_ready(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct sip_source *sip_source = userdata;
	struct node *node = sip_source->node;

	(void)source;
	node_enter(node);
	sip_gateway_ready(node->sip, fd, events);
	return 0;
}

static void on_sip_watch(void *userdata, int fd, unsigned events) {
	struct node *node = userdata;
	struct sip_source *found = NULL;

	DL_FOREACH (node->sip_sources, found)
		if (found->fd == fd)
			break;
	if (found && events == 0) {
		DL_DELETE(node->sip_sources, found);
		sd_event_source_disable_unref(found->source);
		free(found);
	} else if (found) {
		sd_event_source_set_io_events(found->source, events);
	} else if (events != 0) {
		found = calloc(1, sizeof(*found));
		if (!found || sd_event_add_io(node->event, &found->source, fd, events, on_sip_ready, found) < 0) {
			log_error("Not enough memory to watch a SIP socket.");
			free(found);
			return;
		}
		found->node = node;
		found->fd = fd;
		DL_APPEND(node->sip_sources, found);
	}
}

/* ---- topology ---- */

static void on_hand_over(void *userdata, const struct id *joiner, const struct id *from, const struct id *to,
			 void (*done)(void *done_userdata, int error), void *done_userdata) {
	struct node *node = userdata;

	store_hand_over(node->store, joiner, from, to, done, done_userdata);
}

static void on_replicas_changed(void *userdata, const struct id *added, size_t count) {
	struct node *node = userdata;

	store_replicas_changed(node->store, added, count);
}

static void on_owner_changed(void *userdata, const struct id *owner, const struct id *from, const struct id *to) {
	struct node *node = userdata;

	store_owner_changed(node->store, owner, from, to);
}

static void on_range_changed(void *userdata) {
	struct node *node = userdata;

	store_range_changed(node->store);
}

static void on_state_changed(void *userdata, enum topology_state state) {
	struct node *node = userdata;
	enum topology_state before = node->state;

	node->state = state;
	if (state != before) {
		log_info("The node is %s.", topology_state_text(state));
		sd_notifyf(false, "STATUS=%s in overlay %s", topology_state_text(state), router_config(node->router)->overlay_name);
	}
	if (state == TOPOLOGY_JOINED) {
		certificate_store_start(node->certificates);
		if (node->sip_glue)
			sip_glue_joined(node->sip_glue);
		clients_soon(node->clients);
	}
	if (state == TOPOLOGY_LEFT)
		sd_event_exit(node->event, 0);
	else
		join_state_changed(node->join, state);
}

static void on_bootstrap_wanted(void *userdata) {
	struct node *node = userdata;

	join_bootstrap_wanted(node->join);
}

/* ---- configuration ---- */

static bool excludes_client(const struct settings *settings, const struct overlay_config *config) {
	/* load_document() leaves one, or fails. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	return settings->client && !settings->relay && !config->clients_permitted;
}

/* A node that is no longer wanted goes on, as the operator may put a new certificate in place, but it says so. */
static void check_ourselves(struct node *node) {
	const struct overlay_config *config = router_config(node->router);
	const char *why = NULL;

	if (trust_check(node->trust, node->credential->certificate, runtime_realtime_ms(&node->runtime), &why) < 0)
		log_error("Configuration %u of overlay %s excludes this node: %s.", config->sequence, config->overlay_name,
			  why ? why : "its certificate is not trusted");
	if (excludes_client(node->settings, config)) { /* B-11.1-14 */
		log_error("Configuration %u of overlay %s permits no clients; set role = peer in [node] and start again.",
			  config->sequence, config->overlay_name);
		node_leave(node);
	}
}

/* Another shared secret is for links to come: those that are up have been let in. */
static void update_secret(struct node *node) {
	char *secret = NULL, reason[NODE_REASON_SIZE];
	const struct overlay_config *config = router_config(node->router);

	int error = secret_load(node->settings->shared_secret, config, &secret, reason, sizeof(reason));
	bool changed = error == 0 && strcmp(secret ? secret : "", node->secret ? node->secret : "") != 0;
	if (changed)
		error = links_set_secret(node->links, secret, reason, sizeof(reason));
	if (error < 0) {
		log_error("Configuration %u of overlay %s: the shared secret stays as it was: %s", config->sequence,
			  config->overlay_name, reason);
		changed = false;
	}
	if (changed) {
		char *before = node->secret;
		node->secret = secret;
		secret = before;
		log_notice("Overlay %s: %s.", config->overlay_name,
			   node->secret ? "new links use another shared secret" : "new links do without a shared secret");
	}
	secret_free(secret);
}

static void on_configuration_changed(void *userdata) {
	struct node *node = userdata;

	update_secret(node);
	links_recheck(node->links); /* B-11.1-06 */
	if (node->topology)
		node->topology->ops->configuration_changed(node->topology);
	if (node->store)
		store_configuration_changed(node->store);
	if (node->refresh)
		refresh_configuration_changed(node->refresh);
	clients_check(node->clients);
	check_ourselves(node);
}

static void on_configuration_unsupported(void *userdata, const char *reason) {
	struct node *node = userdata;

	log_error("The new configuration of overlay %s cannot be met here: %s This node leaves the overlay.",
		  router_config(node->router)->overlay_name, reason);
	node_leave(node); /* B-6.5.4-04, B-11.1-12 */
}

static void on_configuration_missing(void *userdata) {
	struct node *node = userdata;

	refresh_soon(node->refresh);
}

/* Certificates expire while their links live. */
static void on_recheck(struct timer *timer, void *userdata) {
	struct node *node = userdata;

	links_recheck(node->links);
	timer_arm_after(&node->runtime, timer, RECHECK_S * USEC_PER_SEC);
}

static int open_configuration(struct node *node) {
	const struct configuration_settings settings = {
		.router = node->router,
		.path = node->settings->overlay_config,
		.userdata = node,
		.changed = on_configuration_changed,
		.unsupported = on_configuration_unsupported,
		.missing = on_configuration_missing,
	};

	int error = configuration_new(&settings, &node->configuration);
	if (error == 0)
		error = refresh_new(node, &node->refresh);
	if (error == 0)
		error = clients_new(node->router, &node->clients);
	timer_init(&node->recheck, on_recheck, node);
	timer_arm_after(&node->runtime, &node->recheck, RECHECK_S * USEC_PER_SEC);
	return error;
}

/* ---- construction ---- */

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, NODE_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

/* Parts return phrases or sentences; the operator reads sentences. */
static int finish_reason(char *reason, int error) {
	size_t length = strlen(reason);

	if (length > 0 && length + 1 < NODE_REASON_SIZE && reason[length - 1] != '.')
		strcpy(reason + length, ".");
	return error;
}

/* The document, and with it what to trust. */
static int load_document(struct node *node, struct overlay_config **ret, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	const char *path = node->settings->overlay_config;
	uint64_t now_ms = runtime_realtime_ms(&node->runtime);
	char sentence[CONFIG_REASON_SIZE] = "";

	int error = overlay_config_load(path, node->settings->overlay_name, &config, sentence);
	if (error < 0 && strncmp(sentence, path, strlen(path)) == 0)
		return fail(reason, error, "%s", sentence);
	if (error == 0)
		error = document_supported(config, sentence);
	if (error == 0)
		error = trust_new(config, &node->trust);
	if (error == 0)
		error = document_unchanged(config, node->trust, now_ms, sentence);
	if (error < 0)
		return fail(reason, error, "%.200s: %s", path, sentence[0] ? sentence : strerror(-error));
	if (!topology_find(config->topology_plugin))
		return fail(reason, -EOPNOTSUPP, "%.200s: the topology plug-in %s is not implemented here.", path,
			    config->topology_plugin);
	if (config->expiration_ms != 0 && config->expiration_ms <= now_ms)
		log_warning("%s: the document has expired; get a newer one from the operator of overlay %s.", path,
			    config->overlay_name);
	*ret = TAKE(config);
	return 0;
}

static int load_identity(struct node *node, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	struct settings *settings = node->settings;
	const char *why = NULL;

	int error = load_document(node, &config, reason);
	if (error != 0)
		return error;
	if (excludes_client(settings, config))
		return fail(reason, -EACCES, "Overlay %s permits no clients (%.200s); set role = peer in [node].",
			    config->overlay_name, settings->overlay_config);
	/* As above. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	error = credential_load(settings->certificate, settings->key, config->overlay_name, config->node_id_length,
				&node->credential, reason, NODE_REASON_SIZE);
	if (error < 0)
		return error;
	error = trust_check(node->trust, node->credential->certificate, runtime_realtime_ms(&node->runtime), &why);
	if (error < 0)
		return fail(reason, error, "%.200s: cannot be used in overlay %s: %s.", settings->certificate, config->overlay_name,
			    why ? why : strerror(-error));
	error = secret_load(settings->shared_secret, config, &node->secret, reason, NODE_REASON_SIZE);
	if (error < 0)
		return error;
	error = users_load(settings->users_directory, node->trust, config->overlay_name, config->node_id_length,
			   runtime_realtime_ms(&node->runtime), &node->users);
	return error < 0 ? fail(reason, error, "Not enough memory for the users of %s.", settings->users_directory) : 0;
}

static void on_mirror_tables(void *userdata, const struct forward_node *forward, const struct forward_route *routes,
			     bool only_suspects) {
	fastpath_set_tables(userdata, forward, routes, only_suspects);
}

static void on_mirror_link(void *userdata, const struct forward_link *link) {
	fastpath_set_link(userdata, link);
}

/* Without it the daemon does everything itself, with the same behaviour on the wire. */
static void open_fastpath(struct node *node) {
	const struct settings *settings = node->settings;
	struct fastpath_options options = {
		.runtime = &node->runtime,
		.allow_generic = settings->shield,
		.shield = settings->shield,
		.pin_directory = settings->fastpath_pins && settings->fastpath_pins[0] ? settings->fastpath_pins : NULL,
		.adopt = !settings->client,
		.valid_until_ms = node->credential->certificate->not_after_ms,
	};

	if (settings->relay) {
		snprintf(node->fastpath_reason, sizeof(node->fastpath_reason),
			 "a bootstrap server relays in the daemon, where its limits are");
		return;
	}
	if (!settings->fastpath) {
		snprintf(node->fastpath_reason, sizeof(node->fastpath_reason), "not switched on");
		return;
	}
	options.self.id = router_forward_id(&node->credential->node_id);
	options.self.overlay = router_config(node->router)->overlay_hash;
	options.listen_count = settings->listen_count < FASTPATH_LISTEN_MAX ? settings->listen_count : FASTPATH_LISTEN_MAX;
	memcpy(options.listen, settings->listen, options.listen_count * sizeof(options.listen[0]));
	int error = fastpath_new(&options, &node->fastpath, node->fastpath_reason);
	if (error < 0) {
		log_notice("No kernel fast path: %s.", node->fastpath_reason[0] ? node->fastpath_reason : strerror(-error));
		return;
	}
	node->fastpath_reason[0] = 0;
	node->mirror = (struct router_mirror){.userdata = node->fastpath, .tables = on_mirror_tables, .link = on_mirror_link};
	router_set_mirror(node->router, &node->mirror);
}

static int open_links(struct node *node, char *reason) {
	struct settings *settings = node->settings;
	struct router_settings router_settings = {
		.runtime = &node->runtime,
		.trust = node->trust,
		.credential = node->credential,
		.client = settings->client,
	};
	struct dtls_settings dtls_settings = {
		.runtime = &node->runtime,
		.trust = node->trust,
		.credential = node->credential,
		.listen_count = settings->listen_count,
		.announce_count = settings->announce_count,
		.keylog_path = settings->keylog,
		.secret = node->secret,
		.cipher_list = settings->ciphers,
		.mtu = settings->mtu,
	};

	memcpy(dtls_settings.listen, settings->listen, dtls_settings.listen_count * sizeof(settings->listen[0]));
	memcpy(dtls_settings.announce, settings->announce, settings->announce_count * sizeof(settings->announce[0]));
	int error = router_new(&router_settings, &node->router);
	if (error < 0)
		return fail(reason, error, "Not enough memory for the router.");
	if (settings->relay)
		router_set_relay(node->router);
	open_fastpath(node);
	if (node->fastpath)
		dtls_settings.kernel = fastpath_kernel(node->fastpath);
	struct transport_events events = router_transport_events(node->router);
	unsigned wanted = settings->protocols ? settings->protocols : LINKS_ALL;
	unsigned protocols = wanted & document_protocols(router_config(node->router));
	if (protocols == 0)
		return fail(reason, -EOPNOTSUPP, "The overlay does not use the link protocols of protocols = in [links]; add %s.",
			    wanted & LINKS_DTLS ? "tls" : "dtls");
	error = links_new(&dtls_settings, protocols, &events, &node->links, reason, NODE_REASON_SIZE);
	if (error < 0)
		return error;
	router_set_transport(node->router, links_transport(node->links));
	return 0;
}

static int open_overlay(struct node *node, char *reason) {
	const struct topology_ops *ops = topology_find(router_config(node->router)->topology_plugin);
	struct topology_settings topology_settings = {
		.runtime = &node->runtime,
		.router = node->router,
		.events =
			{
				.userdata = node,
				.hand_over = on_hand_over,
				.replicas_changed = on_replicas_changed,
				.owner_changed = on_owner_changed,
				.range_changed = on_range_changed,
				.state_changed = on_state_changed,
				.bootstrap_wanted = on_bootstrap_wanted,
			},
		.neighbor_check_interval_ms = node->settings->neighbor_check_ms,
		.client = node->settings->client,
	};
	char path[PATH_MAX];

	if (enroller_new(node, &node->enroller) < 0 || join_new(node, &node->join) < 0 || twin_new(node, &node->twin) < 0 ||
	    discovery_new(node, &node->discovery) < 0 || open_configuration(node) < 0 || storage_history_new(&node->history) < 0)
		return fail(reason, -ENOMEM, "Not enough memory for the topology.");
	int error = ops->create(&topology_settings, &node->topology);
	if (error < 0)
		return fail(reason, error, "The topology plug-in %s cannot serve overlay %s: %s.", ops->name,
			    router_config(node->router)->overlay_name, strerror(-error));
	if (snprintf(path, sizeof(path), "%s/records.db", node->settings->state_directory) >= (int)sizeof(path))
		return fail(reason, -ENAMETOOLONG, "The path of the state directory is too long.");
	error = record_database_open(path, &node->database, reason, NODE_REASON_SIZE);
	if (error < 0)
		return error;
	struct store_settings store_settings = {
		.runtime = &node->runtime, .router = node->router, .topology = node->topology, .database = node->database};
	error = store_new(&store_settings, &node->store);
	if (error < 0)
		return fail(reason, error, "The record store %s cannot be opened: %s.", path, strerror(-error));
	return 0;
}

static void on_user_awake(void *userdata, const struct user *user) {
	struct node *node = userdata;
	int error = 0;

	for (size_t i = 0; error == 0 && i < user->count; i++)
		error = certificate_store_add(node->certificates, user->credentials[i]);
	if (error < 0)
		log_warning("Not enough memory to store the certificate of %s in the overlay.", user->name);
}

static int open_certificate_store(struct node *node, char *reason) {
	int error = certificate_store_new(&node->runtime, node->router, &node->certificates);

	if (error == 0)
		error = certificate_store_add(node->certificates, node->credential);
	for (struct user *user = users_next(node->users, NULL); user; user = users_next(node->users, user))
		for (size_t i = 0; error == 0 && i < user->count; i++)
			error = certificate_store_add(node->certificates, user->credentials[i]); /* B-8-01 */
	users_on_wake(node->users, on_user_awake, node);
	return error < 0 ? fail(reason, error, "Not enough memory for the certificate store.") : 0;
}

/* Shows after a restart, too, which calls are ours: made of the node's private key, which stays. */
static int make_dialog_key(const struct node *node, uint8_t ret[static SHA256_LENGTH]) {
	unsigned char *key = NULL;
	int length = i2d_PrivateKey(node->credential->key, &key);

	if (length <= 0)
		return -ENOMEM;
	const struct octets parts[] = {octets_of_string("Ringgate SIP dialogs"), OCTETS(key, (size_t)length)};
	int error = digest_sha256(parts, ARRAY_LENGTH(parts), ret);
	octets_wipe(key, (size_t)length);
	OPENSSL_free(key);
	return error;
}

/* "192.0.2.53:53,[2001:db8::53]:53"; NULL for those of the system. */
static const char *name_servers(const struct settings *settings, char *text, size_t size) {
	char address[ADDRESS_TEXT_SIZE];

	text[0] = 0;
	for (size_t i = 0; i < settings->sip_name_server_count; i++)
		snprintf(text + strlen(text), size - strlen(text), "%s%s", i > 0 ? "," : "",
			 address_format(&settings->sip_name_servers[i], address));
	return text[0] ? text : NULL;
}

/* The way to this node, as it stands in temporary GRUUs of its phones (S-6-01). */
static int make_gruu(const struct node *node, char *ret, size_t size) {
	uint8_t list[2 + ID_LENGTH_MAX];
	struct writer w = writer_fixed(list, sizeof(list));

	destination_write_node(&w, router_node_id(node->router));
	return gruu_value_format(writer_octets_written(&w), ret, size);
}

static int open_sip(struct node *node, struct handover *handover, char *reason) {
	uint8_t dialog_key[SHA256_LENGTH];
	char servers[SETTINGS_LISTEN_MAX * ADDRESS_TEXT_SIZE];
	struct sip_trunk_settings trunks[SETTINGS_TRUNKS_MAX];
	struct sip_sibling_settings siblings[SETTINGS_OVERLAY_ROUTES_MAX];
	char gruu[SIP_GRUU_OCTETS];
	struct sip_gateway_settings sip_settings = {
		.runtime = &node->runtime,
		.listen_count = node->settings->sip_listen_count,
		.expires_min_s = node->settings->sip_expires_min_s,
		.expires_default_s = node->settings->sip_expires_default_s,
		.expires_max_s = node->settings->sip_expires_max_s,
		.tls_listen_count = node->settings->sip_tls_listen_count,
		.tls_certificate = node->settings->sip_tls_certificate,
		.tls_key = node->settings->sip_tls_key,
		.mode = (enum sip_mode)node->settings->sip_mode,
		.outside_calls = node->settings->sip_outside_calls,
		.tls_ca_file = node->settings->sip_tls_ca_file,
		.names = node->settings->sip_outside_domains,
		.name_servers = name_servers(node->settings, servers, sizeof(servers)),
		.digests = node->settings->sip_digests,
		.callers = (enum sip_callers)node->settings->sip_callers,
	};

	memcpy(sip_settings.listen, node->settings->sip_listen, sip_settings.listen_count * sizeof(sip_settings.listen[0]));
	for (size_t i = 0; i < node->settings->trunk_count; i++) {
		const struct settings_trunk *trunk = &node->settings->trunks[i];
		trunks[i] = (struct sip_trunk_settings){
			.name = trunk->name,
			.server = trunk->server,
			.user = trunk->user,
			.password_file = trunk->password_file,
			.caller_id = trunk->caller_id,
			.numbers = trunk->numbers,
			.incoming = trunk->incoming,
			.registers = trunk->registers,
		};
	}
	for (size_t i = 0; i < node->settings->sip_overlay_route_count; i++)
		siblings[i] = (struct sip_sibling_settings){.domain = node->settings->sip_overlay_routes[i].domain,
							    .address = node->settings->sip_overlay_routes[i].address};
	sip_settings.siblings = siblings;
	sip_settings.sibling_count = node->settings->sip_overlay_route_count;
	sip_settings.trunks = trunks;
	sip_settings.trunk_count = node->settings->trunk_count;
	/* A redirector takes no calls of gateways. */
	if (sip_settings.mode != SIP_MODE_REDIRECT && node->settings->sip_gateway_tls != GATEWAY_TLS_NO) {
		sip_settings.peer_listen_count = node->settings->sip_gateway_listen_count;
		memcpy(sip_settings.peer_listen, node->settings->sip_gateway_listen,
		       sip_settings.peer_listen_count * sizeof(sip_settings.peer_listen[0]));
	}
	memcpy(sip_settings.tls_listen, node->settings->sip_tls_listen,
	       sip_settings.tls_listen_count * sizeof(sip_settings.tls_listen[0]));
	sip_settings.gruu = gruu;
	if (sip_glue_new(node, &node->sip_glue) < 0 || make_dialog_key(node, dialog_key) < 0 ||
	    make_gruu(node, gruu, sizeof(gruu)) < 0)
		return fail(reason, -ENOMEM, "Not enough memory for the SIP gateway.");
	sip_settings.dialog_key = dialog_key;
	sip_settings.inherit = handover_take;
	sip_settings.inherit_userdata = handover;
	struct sip_gateway_events events = sip_glue_events(node->sip_glue);
	int error = sip_gateway_new(&sip_settings, &events, &node->sip, reason, NODE_REASON_SIZE);
	octets_wipe(dialog_key, sizeof(dialog_key));
	return error;
}

static int open_event_sources(struct node *node) {
	int fds[FASTPATH_FDS_MAX], link_fds[LINKS_FDS];
	size_t count = links_fds(node->links, link_fds, LINKS_FDS);
	int error = 0;

	for (size_t i = 0; error >= 0 && i < count; i++)
		error = sd_event_add_io(node->event, &node->link_sources[i], link_fds[i], EPOLLIN, on_link_ready, node);
	count = node->fastpath ? fastpath_fds(node->fastpath, fds, FASTPATH_FDS_MAX) : 0;
	for (size_t i = 0; error >= 0 && i < count; i++)
		error = sd_event_add_io(node->event, &node->fastpath_sources[i], fds[i], EPOLLIN, on_fastpath_ready, node);
	if (error >= 0)
		error = sd_event_add_time(node->event, &node->timer_source, CLOCK_MONOTONIC, UINT64_MAX, TIMER_ACCURACY_US,
					  on_timer, node);
	if (error >= 0)
		error = sd_event_add_post(node->event, &node->settle_source, on_settle, node);
	if (error >= 0) /* without it nothing would leave any more: better to be started again */
		error = sd_event_source_set_exit_on_failure(node->settle_source, true);
	if (error < 0)
		return error;
	if (node->sip)
		sip_gateway_set_watch(node->sip, on_sip_watch, node);
	return 0;
}

static int open_state_directory(const struct settings *settings, char *reason) {
	if (mkdir(settings->state_directory, 0700) < 0 && errno != EEXIST)
		return fail(reason, -errno, "The state directory %s cannot be made: %s.", settings->state_directory,
			    strerror(errno));
	if (access(settings->state_directory, W_OK | X_OK) < 0)
		return fail(reason, -errno, "The state directory %s cannot be written: %s.", settings->state_directory,
			    strerror(errno));
	return 0;
}

/* Without a certificate there is little to read; it will be got at the first start. */
static int check_enrollment(const struct settings *settings, char *reason) {
	const char *path = settings->enroll_password_file;

	return access(path, R_OK) < 0 ? fail(reason, -errno, "%.300s cannot be read: %s.", path, strerror(errno)) : 0;
}

int node_check(const struct settings *settings, char reason[static NODE_REASON_SIZE]) {
	struct node node = {.settings = (struct settings *)settings, .runtime.source = runtime_source_system()};
	char why[ENROLLER_REASON_SIZE];

	reason[0] = 0;
	if (enrollment_need(settings, runtime_realtime_ms(&node.runtime), why) == ENROLLMENT_NEED_FIRST)
		return check_enrollment(settings, reason);
	int error = load_identity(&node, reason);
	secret_free(node.secret);
	users_free(node.users);
	trust_free(node.trust);
	credential_unref(node.credential);
	return error < 0 ? finish_reason(reason, error) : 0;
}

int node_new(struct settings *settings, sd_event *event, struct node **ret, char reason[static NODE_REASON_SIZE]) {
	_cleanup_(handover_freep) struct handover *handover = NULL;
	_cleanup_(node_freep) struct node *node = calloc(1, sizeof(*node));

	reason[0] = 0;
	if (!node || handover_new(settings, &handover) < 0) {
		settings_free(settings);
		return fail(reason, -ENOMEM, "Not enough memory.");
	}
	node->settings = settings;
	node->event = sd_event_ref(event);
	node->runtime.source = runtime_source_system();
	node->runtime.now_us = node->started_us = clock_monotonic_us();
	/* Everything that can be wrong with the settings or taken by others comes before the first change on disk. */
	int error = load_identity(node, reason);
	if (error == 0)
		error = open_links(node, reason);
	if (error == 0 && settings->sip && !settings->relay)
		error = open_sip(node, handover, reason);
	if (error == 0)
		error = open_state_directory(settings, reason);
	if (error == 0)
		error = open_overlay(node, reason);
	if (error == 0)
		error = open_certificate_store(node, reason);
	if (error == 0 && node->sip)
		error = sip_glue_open(node->sip_glue, reason);
	if (error < 0)
		return finish_reason(reason, error);
	error = open_event_sources(node);
	if (error < 0)
		return fail(reason, error, "The event loop cannot be set up: %s.", strerror(-error));
	*ret = TAKE(node);
	return 0;
}

/* Goes on with the links and the place in the ring that a former run had. */
static bool resume(struct node *node) {
	const struct topology_ops *ops = node->topology->ops;
	const struct connection *connection;
	struct forward_link link;
	struct forward_node former;
	size_t position = 0;

	if (!node->fastpath || !fastpath_former(node->fastpath, &former))
		return false;
	if (links_dtls(node->links))
		dtls_links_adopt(links_dtls(node->links));
	while ((connection = router_connection_next(node->router, &position)))
		if (fastpath_former_link(node->fastpath, connection->slot, &link))
			router_resume_link(node->router, &link);
	struct id predecessor = ID_NONE;
	if (former.flags & FORWARD_NODE_HAS_PREDECESSOR)
		predecessor = router_id_of(&former.predecessor);
	bool resumed = ops->resume && ops->resume(node->topology, &predecessor);
	fastpath_adopted(node->fastpath);
	return resumed;
}

void node_start(struct node *node) {
	char text[ID_TEXT_SIZE], address[ADDRESS_TEXT_SIZE];
	struct address local = links_local(node->links);

	log_notice("Node %s of overlay %s, links on %s, %zu users.", id_format(&node->credential->node_id, text),
		   router_config(node->router)->overlay_name, address_format(&local, address), users_count(node->users));
	if (node->sip && !node->settings->sip_authentication)
		log_warning("SIP phones need no password here ([sip] authentication = no): whoever reaches this gateway from an "
			    "allowed network can take over the calls of any user.");
	if (node->sip) {
		int sockets[HANDOVER_SOCKETS_MAX];
		handover_keep(sockets, sip_gateway_sockets(node->sip, sockets, HANDOVER_SOCKETS_MAX));
	}
	node_enter(node);
	if (!resume(node))
		join_start(node->join);
	enroller_start(node->enroller);
	/* No event of the loop did this, so none will be followed by settling. */
	int error = node_settle(node);
	if (error < 0)
		log_error("The timer cannot be set: %s.", strerror(-error));
}

void node_leave(struct node *node) {
	if (node->leaving)
		return;
	node->leaving = true;
	sd_notify(false, "STOPPING=1");
	join_leaving(node->join);
	if (node->topology && node->state == TOPOLOGY_JOINED)
		node->topology->ops->leave(node->topology);
	else
		sd_event_exit(node->event, 0);
}

bool node_suspend(struct node *node) {
	if (node->leaving || !node->fastpath || node->state != TOPOLOGY_JOINED || !fastpath_survives(node->fastpath))
		return false;
	if (store_commit_wanted(node->store))
		store_commit(node->store);
	links_flush(node->links);
	sd_notify(false, "STOPPING=1");
	return true;
}

void node_stop(struct node *node) {
	node->leaving = true;
	if (node->router)
		router_shutdown(node->router);
}

struct node *node_free(struct node *node) {
	if (!node)
		return NULL;
	node_stop(node);
	node->enroller = enroller_free(node->enroller);
	node->sip = sip_gateway_free(node->sip);
	node->sip_glue = sip_glue_free(node->sip_glue);
	node->certificates = certificate_store_free(node->certificates);
	if (node->store && store_commit_wanted(node->store))
		store_commit(node->store);
	node->store = store_free(node->store);
	if (node->topology)
		node->topology = node->topology->ops->destroy(node->topology);
	node->clients = clients_free(node->clients);
	node->refresh = refresh_free(node->refresh);
	node->configuration = configuration_free(node->configuration);
	timer_disarm(&node->runtime, &node->recheck);
	node->discovery = discovery_free(node->discovery);
	node->twin = twin_free(node->twin);
	node->join = join_free(node->join);
	fastpath_stop(node->fastpath);
	node->links = links_free(node->links);
	node->secret = secret_free(node->secret);
	if (node->router)
		router_set_mirror(node->router, NULL);
	node->router = router_free(node->router);
	for (size_t i = 0; i < ARRAY_LENGTH(node->fastpath_sources); i++)
		sd_event_source_disable_unref(node->fastpath_sources[i]);
	node->fastpath = fastpath_free(node->fastpath);
	storage_history_free(node->history);
	record_database_close(node->database);
	users_free(node->users);
	trust_free(node->trust);
	credential_unref(node->credential);
	for (size_t i = 0; i < ARRAY_LENGTH(node->link_sources); i++)
		sd_event_source_disable_unref(node->link_sources[i]);
	sd_event_source_disable_unref(node->timer_source);
	sd_event_source_disable_unref(node->settle_source);
	sd_event_unref(node->event);
	settings_free(node->settings);
	free(node);
	return NULL;
}
