/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/node_internal.h"

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

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>

enum { RECHECK_S = 600 };

const char *topology_state_text(enum topology_state state) {
	static const char *const texts[] = {"offline", "joining", "joined", "leaving", "left"};

	return (size_t)state < ARRAY_LENGTH(texts) ? texts[state] : "unknown";
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

static void on_copies_changed(void *userdata) {
	struct node *node = userdata;

	store_copies_changed(node->store);
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

/* A node that is no longer wanted goes on, as the operator may put a new certificate in place, but it says so. */
static void check_ourselves(struct node *node) {
	const struct overlay_config *config = router_config(node->router);
	const char *why = NULL;

	if (trust_check(node->trust, node->credential->certificate, runtime_realtime_ms(&node->runtime), &why) < 0)
		log_error("Configuration %u of overlay %s excludes this node: %s.", config->sequence, config->overlay_name,
			  why ? why : "its certificate is not trusted");
	if (node_excludes_client(node->settings, config)) { /* B-11.1-14 */
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
		return node_fail(reason, error, "Not enough memory for the router.");
	if (settings->relay)
		router_set_relay(node->router);
	open_fastpath(node);
	if (node->fastpath)
		dtls_settings.kernel = fastpath_kernel(node->fastpath);
	struct transport_events events = router_transport_events(node->router);
	unsigned wanted = settings->protocols ? settings->protocols : LINKS_ALL;
	unsigned protocols = wanted & document_protocols(router_config(node->router));
	if (protocols == 0)
		return node_fail(reason, -EOPNOTSUPP,
				 "The overlay does not use the link protocols of protocols = in [links]; add %s.",
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
				.copies_changed = on_copies_changed,
				.state_changed = on_state_changed,
				.bootstrap_wanted = on_bootstrap_wanted,
			},
		.neighbor_check_interval_ms = node->settings->neighbor_check_ms,
		.client = node->settings->client,
	};
	char path[PATH_MAX];

	if (enroller_new(node, &node->enroller) < 0 || join_new(node, &node->join) < 0 || twin_new(node, &node->twin) < 0 ||
	    discovery_new(node, &node->discovery) < 0 || open_configuration(node) < 0 || storage_history_new(&node->history) < 0)
		return node_fail(reason, -ENOMEM, "Not enough memory for the topology.");
	int error = ops->create(&topology_settings, &node->topology);
	if (error < 0)
		return node_fail(reason, error, "The topology plug-in %s cannot serve overlay %s: %s.", ops->name,
				 router_config(node->router)->overlay_name, strerror(-error));
	if (snprintf(path, sizeof(path), "%s/records.db", node->settings->state_directory) >= (int)sizeof(path))
		return node_fail(reason, -ENAMETOOLONG, "The path of the state directory is too long.");
	error = record_database_open(path, &node->database, reason, NODE_REASON_SIZE);
	if (error < 0)
		return error;
	struct store_settings store_settings = {
		.runtime = &node->runtime, .router = node->router, .topology = node->topology, .database = node->database};
	error = store_new(&store_settings, &node->store);
	if (error < 0)
		return node_fail(reason, error, "The record store %s cannot be opened: %s.", path, strerror(-error));
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
	return error < 0 ? node_fail(reason, error, "Not enough memory for the certificate store.") : 0;
}

static int open_state_directory(const struct settings *settings, char *reason) {
	if (mkdir(settings->state_directory, 0700) < 0 && errno != EEXIST)
		return node_fail(reason, -errno, "The state directory %s cannot be made: %s.", settings->state_directory,
				 strerror(errno));
	if (access(settings->state_directory, W_OK | X_OK) < 0)
		return node_fail(reason, -errno, "The state directory %s cannot be written: %s.", settings->state_directory,
				 strerror(errno));
	return 0;
}

int node_new(struct settings *settings, sd_event *event, struct node **ret, char reason[static NODE_REASON_SIZE]) {
	_cleanup_(handover_freep) struct handover *handover = NULL;
	_cleanup_(node_freep) struct node *node = calloc(1, sizeof(*node));

	reason[0] = 0;
	if (!node || handover_new(settings, &handover) < 0) {
		settings_free(settings);
		return node_fail(reason, -ENOMEM, "Not enough memory.");
	}
	node->settings = settings;
	node->event = sd_event_ref(event);
	node->runtime.source = runtime_source_system();
	node->runtime.now_us = node->started_us = clock_monotonic_us();
	/* Everything that can be wrong with the settings or taken by others comes before the first change on disk. */
	int error = node_load_identity(node, reason);
	if (error == 0)
		error = open_links(node, reason);
	if (error == 0 && settings->sip && !settings->relay)
		error = node_open_sip(node, handover, reason);
	if (error == 0)
		error = open_state_directory(settings, reason);
	if (error == 0)
		error = open_overlay(node, reason);
	if (error == 0)
		error = open_certificate_store(node, reason);
	if (error == 0 && node->sip)
		error = sip_glue_open(node->sip_glue, reason);
	if (error < 0)
		return node_finish_reason(reason, error);
	error = node_open_event_sources(node);
	if (error < 0)
		return node_fail(reason, error, "The event loop cannot be set up: %s.", strerror(-error));
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
