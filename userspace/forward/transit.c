/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages on their way: the decision of bpf/forward.h over our tables, and what follows from it. A message in transit costs no
 * allocation: its edited head is written to the stack and handed to the link together with the untouched rest.
 */
#include "forward/internal.h"

#include <endian.h>

struct forward_work;

#define FORWARD_CUSTOM_HOOKS
#define FORWARD_WORK_MEMBERS                                                                                                       \
	const struct router *router;                                                                                               \
	const __u8 *octets; /* the message, `length` octets */                                                                     \
	__u8 *head;	    /* forward_edit() writes here, verdict.head_length octets */
#include "forward.h"

enum { TRANSIT_HEAD = 4096 }; /* octets of an edited head on the stack; longer ones are rare and get memory of their own */

/* Whole words where the message has them; octet by octet at its end. Zero behind it. */
FORWARD_INLINE __u8 forward_load_u8(struct forward_work *work, __u32 position) {
	return position < work->length ? work->octets[position] : 0;
}

FORWARD_INLINE __u64 forward_load_u64(struct forward_work *work, __u32 position) {
	__u64 value = 0;

	if ((__u64)position + sizeof(value) <= work->length) {
		memcpy(&value, work->octets + position, sizeof(value));
		return be64toh(value);
	}
	for (__u32 i = 0; i < 8; i++)
		value = value << 8 | forward_load_u8(work, position + i);
	return value;
}

FORWARD_INLINE void forward_store_u8(struct forward_work *work, __u32 position, __u8 value) {
	if (position < work->verdict.head_length)
		work->head[position] = value;
}

FORWARD_INLINE void forward_store_u64(struct forward_work *work, __u32 position, __u64 value) {
	if ((__u64)position + sizeof(value) <= work->verdict.head_length) {
		value = htobe64(value);
		memcpy(work->head + position, &value, sizeof(value));
		return;
	}
	for (__u32 i = 0; i < 8; i++)
		forward_store_u8(work, position + i, (__u8)(value >> (56 - 8 * i)));
}

FORWARD_INLINE int forward_link_at(struct forward_work *work, __u32 slot) {
	const struct router *router = work->router;

	if (slot >= router->link_capacity || !router->links[slot])
		return 0;
	work->link = router->links[slot]->forward;
	if (router->only_suspects)
		work->link.flags &= (__u8)~FORWARD_LINK_SUSPECT;
	return 1;
}

FORWARD_INLINE int forward_link_of(struct forward_work *work, const struct forward_id *id) {
	return forward_link_at(work, connection_slot_of(work->router, *id));
}

FORWARD_INLINE int forward_route_at(struct forward_work *work, __u32 index) {
	if (index >= work->node.route_count)
		return 0;
	work->route = work->router->table[index];
	return 1;
}

/* ---- counting and tracing ---- */

void router_note(struct router *router, const char *event, const struct forwarding_header *header, uint16_t code, uint16_t slot,
		 const char *detail) {
	if (router->trace)
		router->trace(router->trace_userdata, event, header, code, slot, detail);
}

void router_drop(struct router *router, unsigned reason, const struct forwarding_header *header, uint16_t slot) {
	router->counters.dropped[reason]++;
	router_note(router, "drop", header, 0, slot, drop_reason_name(reason));
}

static void transit_trace(struct router *router, const char *event, uint16_t slot, const char *detail) {
	const struct forward_work *work = router->work;
	struct reader r = reader_of(work->octets, work->length);
	struct forwarding_header header;

	if (router->trace && forwarding_header_read(&r, &header) == 0)
		router_note(router, event, &header, work->header.code, slot, detail);
}

/* ---- forwarding ---- */

static unsigned send_drop_reason(int error) {
	switch (error) {
	case -EAGAIN:
		return DROP_LINK_CONGESTION;
	case -EMSGSIZE:
		return DROP_LINK_MESSAGE_SIZE;
	case -ENOTCONN:
		return DROP_LINK_DOWN;
	case -ENOMEM:
		return DROP_NO_MEMORY;
	default:
		return DROP_LINK_ERROR;
	}
}

/* Edits and sends the message in router->work, whose verdict is FORWARD_SEND. */
static int transit_send(struct router *router, unsigned flags) {
	struct forward_work *work = router->work;
	const struct forward_verdict *verdict = &work->verdict;
	uint8_t buffer[TRANSIT_HEAD];
	_cleanup_free_ uint8_t *allocated = NULL;

	work->head = buffer;
	if (verdict->head_length > sizeof(buffer)) {
		work->head = allocated = malloc(verdict->head_length);
		if (!allocated)
			return -ENOMEM;
	}
	struct reader r = reader_of(work->octets, work->length);
	reader_octets(&r, verdict->rest_offset);
	forward_edit(work);
	return router_send_parts(router, verdict->slot, OCTETS(work->head, verdict->head_length), reader_rest(&r), flags);
}

/* A neighbor's own request shows which configuration it has; later hops are the destination's business. */
static void transit_notice_sequence(struct router *router, struct router_link *link) {
	uint16_t theirs = forward_load_u16(router->work, 8), ours = trust_config(router->trust)->sequence;

	if (theirs == ours || theirs == SEQUENCE_CONFIG_UPDATE || link->noticed_sequence == theirs ||
	    id_is_none(&link->connection.peer))
		return;
	link->noticed_sequence = theirs;
	configuration_mismatch(router, &link->connection.peer, config_sequence_newer(theirs, ours));
}

/* A bootstrap server is responsible for nothing, yet sends on what its links may pass. */
static void transit_as_relay(const struct router *router, struct forward_work *work) {
	if (!router->relay)
		return;
	struct id one = id_power_of_two(router->self.length, 0), before = id_subtract(&router->self, &one);
	work->node.predecessor = forward_id_of(&before);
	work->node.flags |= FORWARD_NODE_JOINED | FORWARD_NODE_HAS_PREDECESSOR;
}

static void transit_drop(struct router *router, uint16_t slot);

/* Drops what the bootstrap server does not relay; true when it may go. */
static bool transit_relay(struct router *router, struct router_link *link) {
	struct forward_work *work = router->work;

	unsigned reason = relay_admit(router, link, work->verdict.slot, work->header.class, work->header.code);
	if (reason == 0)
		return true;
	work->verdict.action = FORWARD_DROP;
	work->verdict.reason = (__u8)reason;
	work->verdict.error_code =
		reason == DROP_RELAY_REFUSED && work->header.class == FORWARD_CLASS_REQUEST ? ERROR_FORBIDDEN : 0;
	transit_drop(router, link->connection.slot);
	return false;
}

static void transit_forward(struct router *router, struct router_link *link) {
	struct forward_work *work = router->work;
	bool own_of_neighbor = work->header.via_length == 0 && work->header.class == FORWARD_CLASS_REQUEST;
	uint16_t slot = link->connection.slot;

	if (router->trace)
		transit_trace(router, "forward", work->verdict.slot, NULL);
	int error = transit_send(router, 0); /* FW-F13, FW-F14: no timer, sent once */
	if (error == 0)
		router->counters.forwarded++;
	else
		router_drop(router, send_drop_reason(error), NULL, slot);
	if (own_of_neighbor)
		transit_notice_sequence(router, link);
}

static const char *transit_error_text(unsigned reason) {
	switch (reason) {
	case DROP_BAD_OVERLAY:
		return "This is another overlay.";
	case DROP_TOO_LARGE:
	case DROP_WOULD_EXCEED_MAX:
		return "The message exceeds max-message-size.";
	case DROP_TTL_ABOVE_MAX:
		return "The ttl exceeds initial-ttl.";
	case DROP_TTL_ZERO:
		return "The ttl ran out here.";
	case DROP_UNBOUND_MULTI_ID:
		return "A certificate with several Node-IDs needs an Attach first.";
	case DROP_OPT_CRITICAL:
		return "A forwarding option is critical and unknown here.";
	case DROP_DEST_DUP:
		return "The destination list names an entry twice.";
	case DROP_RELAY_REFUSED:
		return "A bootstrap server passes on only what joining takes.";
	case DROP_NO_NEXT_HOP:
		return "No peer closer to the destination is known here.";
	default:
		return "";
	}
}

static void transit_drop(struct router *router, uint16_t slot) {
	const struct forward_work *work = router->work;
	struct forward_verdict verdict = work->verdict; /* the error is a message of its own and overwrites it */
	struct reader r = reader_of(work->octets, work->length);
	struct forwarding_header header;
	bool readable = forwarding_header_read(&r, &header) == 0;

	router_drop(router, verdict.reason, readable ? &header : NULL, slot);
	if (verdict.error_code != 0 && readable)
		answer_transit_error(router, slot, &header, verdict.error_code, transit_error_text(verdict.reason));
	if (verdict.flags & FORWARD_CLOSE_LINK)
		router_close(router, slot, LINK_PROTOCOL_ERROR); /* FW-B04, FW-B05, B-6.6-01 */
}

void transit_on_receive(void *userdata, uint16_t slot, uint8_t *message, size_t length) {
	struct router *router = userdata;
	struct router_link *link = connection_link(router, slot);
	struct forward_work *work = router->work;

	router->counters.received++;
	if (!link || length > UINT32_MAX) {
		router_drop(router, DROP_LINK_UNKNOWN, NULL, slot);
		return;
	}
	work->node = router->node;
	work->arrival = link->forward;
	work->octets = message;
	work->length = (uint32_t)length;
	work->input_flags = 0;
	transit_as_relay(router, work);
	switch (forward_decide(work)) {
	case FORWARD_SEND:
		if (!router->relay || transit_relay(router, link))
			transit_forward(router, link);
		break;
	case FORWARD_LOCAL:
		if (router->trace)
			transit_trace(router, "deliver", slot, NULL);
		if (work->verdict.reason == DROP_PUNT_FRAGMENT)
			deliver_fragment(router, slot, OCTETS(message, length), work->verdict.popped);
		else
			deliver_message(router, slot, OCTETS(message, length));
		break;
	default:
		transit_drop(router, slot);
		break;
	}
}

int transit_own(struct router *router, struct octets message) {
	struct forward_work *work = router->work;

	work->node = router->node;
	work->arrival = (struct forward_link){.slot = LAYOUT_SLOT_NONE};
	work->octets = message.data;
	work->length = (uint32_t)message.length;
	work->input_flags = FORWARD_OWN;
	switch (forward_decide(work)) {
	case FORWARD_SEND:
		return transit_send(router, LINK_SEND_OWN);
	case FORWARD_LOCAL:
		return deliver_local(router, message);
	default:
		transit_trace(router, "drop", LINK_SLOT_NONE, drop_reason_name(work->verdict.reason));
		router->counters.dropped[work->verdict.reason]++;
		return work->verdict.reason == DROP_TOO_LARGE || work->verdict.reason == DROP_WOULD_EXCEED_MAX ? -EMSGSIZE
													       : -ENETUNREACH;
	}
}

const struct connection *router_next_hop(const struct router *router, const struct id *point) {
	struct forward_work *work = router->work;

	if (point->length != router->self.length || router_responsible(router, point))
		return NULL;
	work->node = router->node;
	work->point = forward_id_of(point);
	if (!forward_link_of(work, &work->point) || !(work->link.flags & FORWARD_LINK_ROUTABLE)) /* FW-D12 */
		if (forward_next_hop(work) != FORWARD_HOP_FOUND)
			return NULL;
	return router_connection(router, work->link.slot);
}

int transit_init(struct router *router) {
	router->work = calloc(1, sizeof(*router->work));
	if (!router->work)
		return -ENOMEM;
	router->work->router = router;
	return 0;
}

void transit_release(struct router *router) {
	free(router->work);
}
