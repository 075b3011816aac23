/* SPDX-License-Identifier: BSD-2-Clause */
/* What the kernel does by itself. */
#include "control/control.h"

struct fastpath_counters control_kernel_counters(const struct node *node) {
	struct fastpath_counters counters = {0};
	struct fastpath_view *view = node->fastpath ? malloc(sizeof(*view)) : NULL;

	if (view) {
		fastpath_view(node->fastpath, view);
		counters = view->counters;
	}
	free(view);
	return counters;
}

static void add(json_t *object, const char *name, uint64_t count) {
	if (name && count > 0)
		json_object_set_new(object, name, json_integer((json_int_t)count));
}

static json_t *json_interfaces(const struct fastpath_view *view) {
	json_t *list = json_array();

	for (size_t i = 0; i < view->interface_count; i++)
		json_array_append_new(list, json_pack("{s:s, s:i, s:s, s:b, s:s}", "name", view->interfaces[i].name, "ifindex",
						      (int)view->interfaces[i].ifindex, "mode",
						      fastpath_mode_name(view->interfaces[i].mode), "sends",
						      view->interfaces[i].sends, "reason", view->interfaces[i].reason));
	return list;
}

static json_t *json_links(struct node *node) {
	const struct connection *connection;
	json_t *list = json_array();
	size_t position = 0;

	while ((connection = router_connection_next(node->router, &position))) {
		struct fastpath_link_counters link;
		char text[ID_TEXT_SIZE];
		if (!fastpath_link_figures(node->fastpath, connection->slot, &link))
			continue;
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "node_id",
						id_is_none(&connection->peer) ? "" : id_format(&connection->peer, text), "slot",
						connection->slot, "received", (json_int_t)link.received, "received_octets",
						(json_int_t)link.received_octets, "sent", (json_int_t)link.sent, "sent_octets",
						(json_int_t)link.sent_octets, "acks_received", (json_int_t)link.acks_received,
						"acks_sent", (json_int_t)link.acks_sent, "forged", (json_int_t)link.forged,
						"replayed", (json_int_t)link.replayed));
	}
	return list;
}

static double ratio(uint64_t part, uint64_t other) {
	return part + other > 0 ? (double)part / (double)(part + other) : 0;
}

static json_t *json_view(struct node *node, const struct fastpath_view *view) {
	const struct fastpath_counters *kernel = &view->counters;
	uint64_t forwarded = kernel->verdicts[FASTPATH_FORWARDED], by_daemon = router_counters(node->router)->forwarded;
	json_t *verdicts = json_object(), *passes = json_object(), *drops = json_object();

	for (unsigned i = 0; i < FASTPATH_VERDICT_COUNT; i++)
		add(verdicts, fastpath_verdict_name(i), kernel->verdicts[i]);
	for (unsigned i = 0; i < FASTPATH_PASS_COUNT; i++)
		add(passes, fastpath_pass_name(i), kernel->passes[i]);
	for (unsigned i = 0; i < DROP_REASON_COUNT; i++)
		add(drops, drop_reason_name(i), kernel->drops[i]);
	json_t *pads = json_pack("{s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:I, s:I}", "hits", (json_int_t)kernel->pad_hits, "misses",
				 (json_int_t)kernel->pad_misses, "ack_hits", (json_int_t)kernel->ack_pad_hits, "ack_misses",
				 (json_int_t)kernel->ack_pad_misses, "hit_ratio", ratio(kernel->pad_hits, kernel->pad_misses),
				 "made", (json_int_t)view->pads.pads, "wakes", (json_int_t)view->pads.wakes, "failures",
				 (json_int_t)view->pads.failures, "cpu_us", (json_int_t)(view->pads.cpu_ns / 1000));
	json_t *pins = view->pinned ? json_pack("{s:s}", "directory", view->pins)
				    : json_pack("{s:n, s:s}", "directory", "reason", view->pins);
	return json_pack("{s:b, s:s, s:o, s:b, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:I, s:f, s:I, s:I, s:I, s:I, s:o, "
			 "s:o, s:o, s:o}",
			 "enabled", true, "reason", "", "pins", pins, "adopted", view->adopted, "adopted_links",
			 (json_int_t)view->adopted_links, "interfaces", json_interfaces(view), "links", (json_int_t)view->links,
			 "usable", (json_int_t)view->usable, "hot", (json_int_t)view->hot, "muted", (json_int_t)view->muted,
			 "silences", (json_int_t)view->silences, "pads", pads, "forwarded_kernel", (json_int_t)forwarded,
			 "forwarded_daemon", (json_int_t)by_daemon, "kernel_share", ratio(forwarded, by_daemon), "acks_sent",
			 (json_int_t)kernel->acks_sent, "acks_carried", (json_int_t)kernel->acks_carried, "acks_lost",
			 (json_int_t)kernel->acks_lost, "egress_failed", (json_int_t)kernel->egress_failed, "verdicts", verdicts,
			 "passed", passes, "dropped", drops, "per_link", json_links(node));
}

static void on_fastpath(struct control_request *request) {
	struct node *node = control_node(request);

	if (!node->fastpath) {
		control_answer(request, json_pack("{s:b, s:s, s:I}", "enabled", false, "reason", node->fastpath_reason,
						  "forwarded_daemon", (json_int_t)router_counters(node->router)->forwarded));
		return;
	}
	struct fastpath_view *view = malloc(sizeof(*view));
	if (!view) {
		control_fail(request, "Not enough memory.");
		return;
	}
	fastpath_view(node->fastpath, view);
	control_answer(request, json_view(node, view));
	free(view);
}

const struct control_command control_fastpath_commands[] = {{"fastpath", on_fastpath}, {NULL, NULL}};
