/* SPDX-License-Identifier: BSD-2-Clause */
/* Prometheus text, and the small HTTP responder that serves it. */
#include "base/log.h"
#include "control/control.h"
#include "layout.h"
#include "node/clients.h"
#include "node/configuration.h"
#include "node/enroller.h"
#include "node/sip_glue.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <utlist.h>

enum { ACCEPTS_PER_SECOND = 50 };

/* ---- the text ---- */

static void gauge(FILE *out, const char *name, const char *help, double value) {
	fprintf(out, "# HELP ringgate_%s %s\n# TYPE ringgate_%s gauge\nringgate_%s %.17g\n", name, help, name, name, value);
}

static void counter(FILE *out, const char *name, const char *help, uint64_t value) {
	fprintf(out, "# HELP ringgate_%s_total %s\n# TYPE ringgate_%s_total counter\nringgate_%s_total %llu\n", name, help, name,
		name, (unsigned long long)value);
}

static void write_router(FILE *out, const struct router_counters *router, const struct fastpath_counters *kernel) {
	counter(out, "messages_received", "RELOAD messages and fragments received on links.",
		router->received + kernel->verdicts[FASTPATH_FORWARDED] + kernel->verdicts[FASTPATH_DROPPED]);
	counter(out, "messages_forwarded", "Messages passed on for others.",
		router->forwarded + kernel->verdicts[FASTPATH_FORWARDED]);
	counter(out, "messages_forwarded_kernel", "Those of them that the kernel passed on.", kernel->verdicts[FASTPATH_FORWARDED]);
	counter(out, "messages_delivered", "Messages that were for this node.", router->delivered);
	counter(out, "messages_sent", "Messages made by this node.", router->sent);
	counter(out, "retransmissions", "End-to-end retransmissions.", router->retransmissions);
	counter(out, "duplicates_answered", "Retransmitted requests answered from memory.", router->duplicates_answered);
	counter(out, "fragments_received", "Fragments received for this node.", router->fragments_received);
	counter(out, "fragments_sent", "Fragments made.", router->fragments_sent);
	counter(out, "errors_sent", "Error responses sent.", router->errors_sent);
	fprintf(out, "# HELP ringgate_dropped_total Messages dropped, by reason.\n# TYPE ringgate_dropped_total counter\n");
	for (unsigned i = 0; i < DROP_REASON_COUNT; i++) {
		const char *reason = drop_reason_name(i);
		if (reason && router->dropped[i] + kernel->drops[i] > 0)
			fprintf(out, "ringgate_dropped_total{reason=\"%s\"} %llu\n", reason,
				(unsigned long long)(router->dropped[i] + kernel->drops[i]));
	}
}

static void write_links(FILE *out, const struct dtls_counters *links) {
	counter(out, "datagrams_received", "UDP datagrams received on the RELOAD port.", links->datagrams_received);
	counter(out, "datagrams_sent", "UDP datagrams sent.", links->datagrams_sent);
	counter(out, "handshakes_started", "DTLS handshakes started.", links->handshakes_started);
	counter(out, "handshakes_done", "DTLS handshakes completed.", links->handshakes_done);
	counter(out, "handshakes_failed", "DTLS handshakes that failed.", links->handshakes_failed);
	counter(out, "links_adopted", "Links taken over from a former run, without a handshake.", links->adopted);
	counter(out, "link_retransmissions", "Messages sent again on a link.", links->retransmissions);
	fprintf(out, "# HELP ringgate_datagrams_dropped_total Datagrams dropped, by reason.\n"
		     "# TYPE ringgate_datagrams_dropped_total counter\n");
	const struct {
		const char *reason;
		uint64_t count;
	} drops[] = {
		{"unknown", links->drop_unknown},	{"forged", links->drop_forged}, {"replayed", links->drop_replayed},
		{"malformed", links->drop_malformed},	{"epoch", links->drop_epoch},	{"limit", links->drop_limit},
		{"congestion", links->drop_congestion},
	};
	for (size_t i = 0; i < ARRAY_LENGTH(drops); i++)
		fprintf(out, "ringgate_datagrams_dropped_total{reason=\"%s\"} %llu\n", drops[i].reason,
			(unsigned long long)drops[i].count);
}

static void write_tls(FILE *out, const struct tls_counters *links) {
	counter(out, "tls_accepted", "TCP connections of others accepted on the RELOAD port.", links->accepted);
	counter(out, "tls_handshakes_started", "TLS handshakes started.", links->handshakes_started);
	counter(out, "tls_handshakes_done", "TLS links that came up.", links->handshakes_done);
	counter(out, "tls_handshakes_failed", "TLS handshakes that failed.", links->handshakes_failed);
	counter(out, "tls_refused", "Connections and links over TLS ended because of a limit.", links->drop_limit);
	counter(out, "tls_malformed", "TLS links ended, and acks ignored, because of malformed frames.", links->drop_malformed);
	counter(out, "tls_congestion", "Messages for TLS links dropped because of a full queue.", links->drop_congestion);
}

static void write_configuration(FILE *out, const struct node *node) {
	const struct configuration_figures *figures = configuration_figures(node->configuration);
	const struct spread_figures *spread = configuration_spread_figures(node->configuration);
	const struct overlay_config *config = router_config(node->router);

	gauge(out, "configuration_sequence", "Sequence of the configuration document in force.", config->sequence);
	gauge(out, "configuration_expires_seconds", "When it expires, in seconds since 1970; 0: never.",
	      (double)(config->expiration_ms / 1000)); /* whole seconds: NOLINT(bugprone-integer-division) */
	fprintf(out, "# HELP ringgate_configuration_documents_total Configuration documents received, by what became of them.\n"
		     "# TYPE ringgate_configuration_documents_total counter\n");
	for (int i = 0; i < CONFIGURATION_OUTCOMES; i++)
		fprintf(out, "ringgate_configuration_documents_total{outcome=\"%s\"} %llu\n", configuration_outcome_name(i),
			(unsigned long long)figures->documents[i]);
	counter(out, "configuration_sent", "Configuration documents sent to other nodes.", spread->sent);
	counter(out, "configuration_confirmed", "Those that arrived.", spread->confirmed);
	counter(out, "clients_closed", "Links closed because the document permits no clients.", clients_closed(node->clients));
	counter(out, "kinds_learned", "Definitions of Kinds taken from ConfigUpdates.", figures->kinds_learned);
	counter(out, "kinds_refused", "Definitions of Kinds that were refused.", figures->kinds_refused);
}

static void write_store(FILE *out, const struct store *store) {
	struct store_figures figures;

	store_figures(store, &figures);
	gauge(out, "records", "Values held, tombstones included.", (double)figures.records);
	gauge(out, "resources", "Resource-IDs with values here.", (double)figures.resources);
	gauge(out, "record_octets", "Octets of values held.", (double)figures.octets);
	gauge(out, "storage_healthy", "1 unless the last commit failed.", figures.database_error < 0 ? 0 : 1);
	counter(out, "stores", "Stores that succeeded.", figures.stores_ok);
	counter(out, "stores_refused", "Stores that were refused.", figures.stores_refused);
	counter(out, "fetches", "Fetches answered.", figures.fetches);
	counter(out, "replicas_sent", "Replica Stores sent.", figures.replicas_sent);
	counter(out, "replicas_received", "Replica Stores accepted.", figures.replicas_received);
	counter(out, "expired", "Values that expired.", figures.expired);
	counter(out, "revoked", "Values that a new configuration made worthless.", figures.revoked);
}

static void write_phones(FILE *out, struct phones_figures figures) {
	counter(out, "sip_restored", "Registrations of phones stored in the overlay again after the start.", figures.restored);
	gauge(out, "sip_restore_left", "Registrations of phones still to be stored again.", (double)figures.restore_left);
	counter(out, "sip_write_errors", "Registrations of phones that could not be written and would be lost in a restart.",
		figures.write_errors);
}

static void write_lookups(FILE *out, struct location_figures figures) {
	counter(out, "sip_lookups", "Look-ups of users in the overlay for SIP.", figures.lookups);
	counter(out, "sip_lookups_known", "Questions where a user is that were answered by an earlier look-up.", figures.hits);
	counter(out, "sip_lookups_joined", "Questions where a user is that waited for a look-up under way.", figures.joined);
	counter(out, "sip_lookups_displaced", "Users forgotten because too many were known.", figures.displaced);
	gauge(out, "sip_lookups_kept", "Users whose whereabouts are known.", (double)figures.entries);
	gauge(out, "sip_lookups_octets", "Memory of what is known of them.", (double)figures.octets);
}

static void write_sip(FILE *out, const struct sip_gateway *sip) {
	struct sip_figures figures;

	sip_gateway_figures(sip, &figures);
	counter(out, "sip_requests", "SIP requests received.", figures.requests);
	counter(out, "sip_responses_2xx", "SIP responses of class 2.", figures.responses_2xx);
	counter(out, "sip_responses_3xx", "SIP responses of class 3.", figures.responses_3xx);
	counter(out, "sip_responses_4xx", "SIP responses of class 4.", figures.responses_4xx);
	counter(out, "sip_responses_5xx", "SIP responses of class 5.", figures.responses_5xx);
	counter(out, "sip_malformed", "SIP messages that did not parse.", figures.malformed);
	counter(out, "sip_answers", "SIP responses received to requests of this gateway.", figures.answers);
	counter(out, "sip_proxied", "SIP requests placed for others.", figures.proxied);
	counter(out, "sip_forks", "Branches of SIP requests placed for others.", figures.forks);
	gauge(out, "sip_proxying", "SIP requests being placed for others.", (double)figures.proxies);
	gauge(out, "sip_client_transactions", "SIP client transactions.", (double)figures.clients);
	counter(out, "sip_challenges", "SIP requests that were asked for a password.", figures.challenges);
	counter(out, "sip_keep_alives", "Keep-alives of SIP phones over UDP that were answered by STUN.", figures.keep_alives);
	counter(out, "sip_retargets_refused", "SIP requests not sent to hosts found in the overlay that do not answer.",
		figures.retargets_refused);
	counter(out, "sip_repeated_registers", "REGISTERs that said what the one before said, and needed no parsing.",
		figures.repeated);
	counter(out, "sip_kept_registers", "Of these, answered without storing in the overlay, which had it for a while yet.",
		figures.kept);
	counter(out, "sip_callers_refused", "Calls refused because their From names somebody else.", figures.callers_refused);
	counter(out, "sip_auth_failures", "Wrong passwords and unknown user names of SIP phones.", figures.auth_failures);
	counter(out, "sip_outside_refused", "SIP requests of strangers beyond what they may send.", figures.outside_refused);
	gauge(out, "sip_calls", "Calls placed by this gateway that have not ended.", (double)sip_gateway_calls(sip, NULL, NULL));
	counter(out, "sip_shed", "New calls and registrations refused because more came than could be served.", figures.shed);
	counter(out, "sip_overloads", "How often requests came faster than they could be served.", figures.overloads);
	gauge(out, "sip_overloaded", "Whether new calls and registrations are being refused for that reason.", figures.overloaded);
	gauge(out, "sip_wait_seconds", "How long the last SIP request had waited before it was looked at.",
	      (double)figures.waited_us / USEC_PER_SEC);
	gauge(out, "sip_bindings", "Contacts registered at this gateway.", (double)figures.bindings);
	gauge(out, "sip_tcp_connections", "Open SIP connections over TCP.", (double)figures.tcp_connections);
}

static void write_certificates(FILE *out, struct node *node) {
	struct enroller_figures figures = enroller_figures(node->enroller);
	double now_s = (double)runtime_realtime_ms(&node->runtime) / 1000;

	gauge(out, "certificate_days_left", "Days until the certificate of this node ends; negative afterwards.",
	      ((double)figures.not_after_ms / 1000 - now_s) / 86400);
	gauge(out, "certificate_not_after_seconds", "When it ends, seconds since 1970 UTC.", (double)figures.not_after_ms / 1000);
	if (figures.users_not_after_ms)
		gauge(out, "users_certificate_days_left", "Days until the first certificate of a user ends.",
		      ((double)figures.users_not_after_ms / 1000 - now_s) / 86400);
	gauge(out, "users_certificates_expiring", "Users with less than a third of their certificate's life left.",
	      (double)figures.users_expiring);
	counter(out, "certificates_renewed", "Certificates of this node and its users that were renewed.", figures.renewed);
	counter(out, "users_enrolled", "Users that got their first certificate by registering a phone.", figures.enrolled);
	counter(out, "enrollments_failed", "Attempts to get or renew a certificate that failed.", figures.failed);
}

char *control_metrics(struct node *node) {
	struct topology_view *view = malloc(sizeof(*view));
	const struct connection *connection;
	size_t position = 0, links = 0, length;
	char *text = NULL;
	FILE *out = view ? open_memstream(&text, &length) : NULL;

	if (!out) {
		free(view);
		return NULL;
	}
	node->topology->ops->view(node->topology, view);
	while ((connection = router_connection_next(node->router, &position)))
		links += connection->up;
	gauge(out, "joined", "1 while the node is part of the overlay.", node->state == TOPOLOGY_JOINED);
	gauge(out, "uptime_seconds", "Seconds since the daemon started.",
	      (double)(node->runtime.now_us - node->started_us) / (double)USEC_PER_SEC);
	gauge(out, "links", "Established links.", (double)links);
	gauge(out, "overlay_size_estimate", "Peers in the overlay, estimated from the neighbors.", view->size_estimate);
	write_configuration(out, node);
	write_certificates(out, node);
	struct fastpath_counters kernel = control_kernel_counters(node);
	write_router(out, router_counters(node->router), &kernel);
	write_links(out, links_dtls_counters(node->links));
	write_tls(out, links_tls_counters(node->links));
	write_store(out, node->store);
	if (node->sip) {
		write_sip(out, node->sip);
		write_phones(out, sip_glue_phones(node->sip_glue));
		write_lookups(out, sip_glue_lookups(node->sip_glue));
	}
	free(view);
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- HTTP ---- */

struct metrics_client {
	struct metrics_server *server;
	sd_event_source *source, *limit;
	int fd;
	char request[METRICS_REQUEST_MAX];
	size_t request_length;
	char *answer;
	size_t answer_length, answer_sent;
	struct metrics_client *prev, *next;
};

struct metrics_server {
	struct node *node;
	sd_event_source *source;
	int fd;
	struct metrics_client *clients;
	size_t client_count;
};

static void client_free(struct metrics_client *client) {
	DL_DELETE(client->server->clients, client);
	client->server->client_count--;
	sd_event_source_disable_unref(client->source);
	sd_event_source_disable_unref(client->limit);
	close(client->fd);
	free(client->answer);
	free(client);
}

static void client_write(struct metrics_client *client) {
	ssize_t sent = send(client->fd, client->answer + client->answer_sent, client->answer_length - client->answer_sent,
			    MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent > 0)
		client->answer_sent += (size_t)sent;
	if (sent <= 0 || client->answer_sent == client->answer_length)
		client_free(client);
}

static void client_answer(struct metrics_client *client) {
	bool known = strncmp(client->request, "GET /metrics ", 13) == 0 || strncmp(client->request, "GET /metrics?", 13) == 0;
	_cleanup_free_ char *body = known ? control_metrics(client->server->node) : strdup("The metrics are at /metrics.\n");
	int length =
		body ? asprintf(&client->answer,
				"HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: %zu\r\n"
				"Connection: close\r\n\r\n%s",
				known ? "200 OK" : "404 Not Found", strlen(body), body)
		     : -1;

	if (length < 0) {
		client->answer = NULL;
		client_free(client);
		return;
	}
	client->answer_length = (size_t)length;
	sd_event_source_set_io_events(client->source, EPOLLOUT);
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct metrics_client *client = userdata;

	(void)source;
	(void)events;
	node_enter(client->server->node);
	if (client->answer) {
		client_write(client);
		return 0;
	}
	size_t room = sizeof(client->request) - 1 - client->request_length;
	ssize_t got = room > 0 ? recv(fd, client->request + client->request_length, room, MSG_DONTWAIT) : 0;
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0) {
		client_free(client);
		return 0;
	}
	client->request_length += (size_t)got;
	client->request[client->request_length] = 0;
	if (strstr(client->request, "\r\n\r\n") || strstr(client->request, "\n\n"))
		client_answer(client);
	return 0;
}

/* A client that does not finish in time is cut off. */
static int on_limit(sd_event_source *source, uint64_t due_us, void *userdata) {
	(void)source;
	(void)due_us;
	client_free(userdata);
	return 0;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct metrics_server *server = userdata;
	sd_event *event = server->node->event;

	(void)source;
	(void)events;
	int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client_fd < 0)
		return 0;
	struct metrics_client *client = server->client_count < METRICS_CLIENTS_MAX ? calloc(1, sizeof(*client)) : NULL;
	if (!client) {
		close(client_fd);
		return 0;
	}
	client->server = server;
	client->fd = client_fd;
	DL_APPEND(server->clients, client);
	server->client_count++;
	if (sd_event_add_io(event, &client->source, client_fd, EPOLLIN, on_client, client) < 0 ||
	    sd_event_add_time_relative(event, &client->limit, CLOCK_MONOTONIC, METRICS_SECONDS * USEC_PER_SEC, 0, on_limit,
				       client) < 0)
		client_free(client);
	return 0;
}

int metrics_server_new(struct node *node, const struct address *listen_address, struct metrics_server **ret,
		       char reason[static NODE_REASON_SIZE]) {
	_cleanup_(metrics_server_freep) struct metrics_server *server = calloc(1, sizeof(*server));
	struct sockaddr_storage sockaddr;
	char text[ADDRESS_TEXT_SIZE];
	int one = 1, error = 0;

	if (!server) {
		snprintf(reason, NODE_REASON_SIZE, "Not enough memory for the metrics.");
		return -ENOMEM;
	}
	server->node = node;
	socklen_t length = address_to_sockaddr(listen_address, &sockaddr);
	server->fd = socket(sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->fd < 0 || setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
	    bind(server->fd, (struct sockaddr *)&sockaddr, length) < 0 || listen(server->fd, METRICS_CLIENTS_MAX) < 0)
		error = -errno;
	if (error == 0)
		error = sd_event_add_io(node->event, &server->source, server->fd, EPOLLIN, on_connection, server);
	if (error >= 0) /* without descriptors to accept with the loop would spin */
		error = sd_event_source_set_ratelimit(server->source, USEC_PER_SEC, ACCEPTS_PER_SECOND);
	if (error < 0) {
		snprintf(reason, NODE_REASON_SIZE, "The metrics cannot be served on %s: %s.", address_format(listen_address, text),
			 strerror(-error));
		return error;
	}
	*ret = TAKE(server);
	return 0;
}

struct metrics_server *metrics_server_free(struct metrics_server *server) {
	if (!server)
		return NULL;
	while (server->clients)
		client_free(server->clients);
	sd_event_source_disable_unref(server->source);
	if (server->fd >= 0)
		close(server->fd);
	free(server);
	return NULL;
}
