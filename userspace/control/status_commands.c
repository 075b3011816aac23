/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that look at this node and change nothing, and leave. */
#include "control/control.h"
#include "forward/relay.h"
#include "layout.h"
#include "node/discovery.h"
#include "node/enroller.h"
#include "node/join.h"
#include "node/sip_glue.h"

json_t *control_id(const struct id *id) {
	char text[ID_TEXT_SIZE];

	return id_is_none(id) ? json_null() : json_string(id_format(id, text));
}

static json_t *json_ids(const struct id *ids, size_t count) {
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, control_id(&ids[i]));
	return list;
}

static json_t *json_address(const struct address *address) {
	char text[ADDRESS_TEXT_SIZE];

	return json_string(address_format(address, text));
}

static size_t count_peers(const struct router *router) {
	const struct connection *connection;
	size_t position = 0, count = 0;

	while ((connection = router_connection_next(router, &position)))
		count += connection->up && connection->update_received;
	return count;
}

static json_t *json_candidate(const struct bootstrap_candidate *candidate) {
	return json_pack("{s:o, s:s, s:s, s:s, s:I}", "address", json_address(&candidate->address), "source",
			 bootstrap_source_text(candidate->source), "state", bootstrap_state_text(candidate->state), "reason",
			 candidate->state == BOOTSTRAP_FAILED && candidate->why ? candidate->why : "", "took_ms",
			 (json_int_t)(candidate->took_us / USEC_PER_MSEC));
}

/* How we got in, or what the search has come to. */
static json_t *json_bootstrap(const struct node *node) {
	struct join_report report;
	json_t *tried = json_array();

	join_report(node->join, &report);
	for (size_t i = 0; i < report.race->count; i++)
		json_array_append_new(tried, json_candidate(&report.race->candidates[i]));
	return json_pack("{s:b, s:I, s:s, s:o, s:I, s:I, s:b, s:I, s:I, s:o}", "searching", report.searching, "rounds",
			 (json_int_t)report.rounds, "source", report.entered ? bootstrap_source_text(report.source) : "", "address",
			 report.entered ? json_address(&report.address) : json_null(), "took_ms",
			 (json_int_t)(report.took_us / USEC_PER_MSEC), "search_ms", (json_int_t)(report.search_us / USEC_PER_MSEC),
			 "restarted_ring", report.restarted, "cached_peers", (json_int_t)report.cached, "lost_peers",
			 (json_int_t)report.lost, "tried", tried);
}

/* What came of the local network's ways; null when they are not in the settings. */
static json_t *json_discovery(const struct node *node) {
	struct discovery_figures figures;

	discovery_figures(node->discovery, &figures);
	if (!figures.mdns && !figures.multicast)
		return json_null();
	const struct mdns_figures *mdns = &figures.mdns_figures;
	return json_pack("{s:{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:{s:b, s:I, s:I, s:I, s:I, s:I}}", "multicast_dns",
			 "on", figures.mdns, "received", (json_int_t)mdns->received, "limited", (json_int_t)mdns->limited,
			 "malformed", (json_int_t)mdns->malformed, "off_link", (json_int_t)mdns->off_link, "other_overlay",
			 (json_int_t)mdns->other_overlay, "found", (json_int_t)mdns->found, "answers", (json_int_t)mdns->answers,
			 "conflicts", (json_int_t)mdns->conflicts, "multicast", "on", figures.multicast, "received",
			 (json_int_t)figures.multicast_received, "limited", (json_int_t)figures.multicast_limited, "refused",
			 (json_int_t)figures.multicast_refused, "answered", (json_int_t)figures.multicast_answered, "found",
			 (json_int_t)figures.multicast_found);
}

/* Of a bootstrap server; null else. */
static json_t *json_relay(const struct node *node) {
	struct relay_figures relay;

	if (!node->settings->relay)
		return json_null();
	router_relay_figures(node->router, &relay);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "links", (json_int_t)relay.links, "relayed", (json_int_t)relay.relayed,
			 "refused", (json_int_t)relay.refused, "limited", (json_int_t)relay.limited, "links_refused",
			 (json_int_t)relay.links_refused, "links_expired", (json_int_t)relay.links_expired);
}

static json_t *json_certificate(struct node *node) {
	struct enroller_figures figures = enroller_figures(node->enroller);
	uint64_t now_ms = runtime_realtime_ms(&node->runtime);

	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:I, s:I, s:I, s:o}", "renews", figures.configured,
			 "not_after_ms", (json_int_t)figures.not_after_ms, "left_s",
			 ((json_int_t)figures.not_after_ms - (json_int_t)now_ms) / 1000, "days_left",
			 ((json_int_t)figures.not_after_ms - (json_int_t)now_ms) / 86400000, "next_ms", (json_int_t)figures.due_ms,
			 "users_not_after_ms", (json_int_t)figures.users_not_after_ms, "users_waiting", (int)figures.users_waiting,
			 "users_expiring", (int)figures.users_expiring, "renewed", (json_int_t)figures.renewed, "enrolled",
			 (json_int_t)figures.enrolled, "failed", (json_int_t)figures.failed, "last_failure",
			 control_text(figures.last_failure));
}

static void on_status(struct control_request *request) {
	struct node *node = control_node(request);
	const struct overlay_config *config = router_config(node->router);
	struct address local = links_local(node->links);
	struct topology_view *view = malloc(sizeof(*view));
	struct store_figures store;

	if (!view) {
		control_fail(request, "Not enough memory.");
		return;
	}
	node->topology->ops->view(node->topology, view);
	store_figures(node->store, &store);
	json_t *result = json_pack(
		"{s:s, s:o, s:s, s:s, s:s, s:o, s:I, s:I, s:f, s:I, s:I, s:I, s:i, s:I, s:o, s:o, s:o, s:o, s:o}", "version",
		VERSION, "node_id", control_id(&node->credential->node_id), "overlay", config->overlay_name, "role",
		node->settings->relay	 ? "bootstrap-server"
		: node->settings->client ? "client"
					 : "peer",
		"state", topology_state_text(node->state), "address", json_address(&local), "uptime_s",
		(json_int_t)((node->runtime.now_us - node->started_us) / USEC_PER_SEC), "peers",
		(json_int_t)count_peers(node->router), "size_estimate", view->size_estimate, "resources",
		(json_int_t)store.resources, "records", (json_int_t)store.records, "record_octets", (json_int_t)store.octets,
		"configuration_sequence", (int)config->sequence, "users", (json_int_t)users_count(node->users), "storage",
		control_text(store.database_error < 0 ? store.database_reason : "ok"), "bootstrap", json_bootstrap(node),
		"discovery", json_discovery(node), "relay", json_relay(node), "certificate", json_certificate(node));
	free(view);
	control_answer(request, result);
}

static json_t *json_connection(struct node *node, const struct connection *connection) {
	struct transport *transport = router_transport(node->router);
	struct address address = transport->ops->address(transport->object, connection->slot);
	struct link_statistics link;

	transport->ops->statistics(transport->object, connection->slot, &link);
	return json_pack("{s:o, s:o, s:i, s:s, s:b, s:b, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "node_id",
			 control_id(&connection->peer), "address", json_address(&address), "slot", connection->slot, "kind",
			 connection->update_received ? "peer" : "client", "initiated", connection->initiated, "suspected",
			 connection->suspected, "cipher", link.cipher ? link.cipher : "", "protocol",
			 link.protocol ? link.protocol : "", "rtt_us", (json_int_t)link.rtt_us, "rto_us", (json_int_t)link.rto_us,
			 "window", (json_int_t)link.window, "sent", (json_int_t)link.sent, "received", (json_int_t)link.received,
			 "resent", (json_int_t)link.resent, "octets_sent", (json_int_t)link.octets_sent, "octets_received",
			 (json_int_t)link.octets_received, "age_s",
			 (json_int_t)((node->runtime.now_us - connection->since_us) / USEC_PER_SEC));
}

static void on_peers(struct control_request *request) {
	struct node *node = control_node(request);
	const struct connection *connection;
	json_t *list = json_array();
	size_t position = 0;

	while ((connection = router_connection_next(node->router, &position)))
		if (connection->up)
			json_array_append_new(list, json_connection(node, connection));
	control_answer(request, json_pack("{s:o}", "peers", list));
}

static void on_ring(struct control_request *request) {
	struct node *node = control_node(request);
	struct topology_view *view = malloc(sizeof(*view));

	if (!view) {
		control_fail(request, "Not enough memory.");
		return;
	}
	node->topology->ops->view(node->topology, view);
	json_t *result = json_pack("{s:s, s:o, s:o, s:o, s:o, s:f}", "state", topology_state_text(view->state), "self",
				   control_id(&view->self), "predecessors", json_ids(view->predecessors, view->predecessor_count),
				   "successors", json_ids(view->successors, view->successor_count), "fingers",
				   json_ids(view->fingers, view->finger_count), "size_estimate", view->size_estimate);
	free(view);
	control_answer(request, result);
}

static void add_drop(json_t *drops, const char *reason, uint64_t count) {
	if (count > 0)
		json_object_set_new(drops, reason, json_integer((json_int_t)count));
}

static void on_drops(struct control_request *request) {
	struct node *node = control_node(request);
	const struct router_counters *router = router_counters(node->router);
	const struct dtls_counters *links = links_dtls_counters(node->links);
	json_t *drops = json_object();

	struct fastpath_counters kernel = control_kernel_counters(node);

	for (unsigned i = 0; i < DROP_REASON_COUNT; i++)
		if (drop_reason_name(i))
			add_drop(drops, drop_reason_name(i), router->dropped[i] + kernel.drops[i]);
	add_drop(drops, "link_unknown", links->drop_unknown);
	add_drop(drops, "link_forged", links->drop_forged);
	add_drop(drops, "link_replayed", links->drop_replayed);
	add_drop(drops, "link_malformed", links->drop_malformed);
	add_drop(drops, "link_epoch", links->drop_epoch);
	add_drop(drops, "link_limit", links->drop_limit);
	add_drop(drops, "link_congestion", links->drop_congestion);
	add_drop(drops, "tls_malformed", links_tls_counters(node->links)->drop_malformed);
	add_drop(drops, "tls_limit", links_tls_counters(node->links)->drop_limit);
	add_drop(drops, "tls_congestion", links_tls_counters(node->links)->drop_congestion);
	control_answer(request, json_pack("{s:o}", "drops", drops));
}

static void on_metrics(struct control_request *request) {
	_cleanup_free_ char *text = control_metrics(control_node(request));

	if (text)
		control_answer(request, json_pack("{s:s}", "text", text));
	else
		control_fail(request, "Not enough memory.");
}

static void add_binding(void *userdata, const struct sip_binding_view *binding) {
	json_array_append_new(userdata, json_pack("{s:o, s:o, s:s, s:I}", "aor", control_text(binding->aor), "contact",
						  control_text(binding->contact), "source", binding->source ? binding->source : "",
						  "expires_s", (json_int_t)binding->expires_s));
}

/* In pieces, so that neither this daemon's other work waits for a long list, nor the answer grows beyond what a client may have. */
static void on_registrations(struct control_request *request) {
	const json_t *arguments = control_arguments(request), *after = json_object_get(arguments, "after"),
		     *limit = json_object_get(arguments, "limit"), *text = json_object_get(arguments, "text");
	json_int_t most = limit ? json_integer_value(limit) : CONTROL_REGISTRATIONS_MAX, next = 0;
	struct node *node = control_node(request);
	struct sip_figures figures = {0};

	if ((after && (!json_is_integer(after) || json_integer_value(after) < 0)) || (text && !json_is_string(text)) || most < 1 ||
	    most > CONTROL_REGISTRATIONS_MAX) {
		control_fail(request,
			     "after is the number that the last answer has given, limit a number from 1 to %d, text a text.",
			     CONTROL_REGISTRATIONS_MAX);
		return;
	}
	json_t *list = json_array();
	if (node->sip) {
		next = (json_int_t)sip_gateway_bindings_after(node->sip, (uint64_t)json_integer_value(after),
							      json_string_value(text), (size_t)most, add_binding, list);
		sip_gateway_figures(node->sip, &figures);
	}
	control_answer(request,
		       json_pack("{s:o, s:I, s:I}", "registrations", list, "after", next, "total", (json_int_t)figures.bindings));
}

enum { WAIT_SECONDS_DEFAULT = 60, WAIT_SECONDS_MAX = 3600 };

static void answer_when_ready(struct control_request *request) {
	struct node *node = control_node(request);
	json_t *peers = json_object_get(control_arguments(request), "peers");

	if (node->state == TOPOLOGY_JOINED && (json_int_t)count_peers(node->router) >= json_integer_value(peers))
		control_answer(request, json_pack("{s:s, s:I}", "state", topology_state_text(node->state), "peers",
						  (json_int_t)count_peers(node->router)));
}

static void on_wait(struct control_request *request) {
	json_t *peers = json_object_get(control_arguments(request), "peers"),
	       *seconds = json_object_get(control_arguments(request), "seconds");
	json_int_t limit = seconds ? json_integer_value(seconds) : WAIT_SECONDS_DEFAULT;

	if ((peers && !json_is_integer(peers)) || limit < 1 || limit > WAIT_SECONDS_MAX)
		control_fail(request, "peers is a number, seconds a number from 1 to %d.", WAIT_SECONDS_MAX);
	else
		control_wait(request, answer_when_ready, "the node has not joined with that many peers", (unsigned)limit);
}

static void on_leave(struct control_request *request) {
	struct node *node = control_node(request);

	control_answer(request, json_pack("{s:s}", "state", "leaving"));
	node_leave(node);
}

const struct control_command control_status_commands[] = {
	{"status", on_status}, {"peers", on_peers},	{"ring", on_ring},
	{"drops", on_drops},   {"metrics", on_metrics}, {"registrations", on_registrations},
	{"leave", on_leave},   {"wait", on_wait},	{NULL, NULL},
};
