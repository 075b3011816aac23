/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a node does with datagrams, from strangers, from the address of a link, and from the other end of a link that means no good
 * (sealed with the right key). Input: steps of one octet of kind, two octets of length, and the octets.
 */
#include "link/dtls_internal.h"
#include "support/link_net.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 64, STEP_KINDS = 7 };

static struct link_net net;
static struct link_node *attacker, *victim;
static uint16_t slot;

static void require(bool condition) {
	if (!condition)
		abort();
}

static void connect_again(void) {
	struct address to = link_node_address(victim);

	attacker->event_count = victim->event_count = attacker->message_count = victim->message_count = 0;
	slot = link_node_connect(attacker, &to, 0x22);
	require(slot != LINK_SLOT_NONE);
	require(link_net_until(&net, attacker, LINK_EVENT_UP, 1) && link_net_until(&net, victim, LINK_EVENT_UP, 1));
}

static void start(void) {
	if (victim)
		return;
	require(link_net_open(&net) == 0);
	attacker = link_node_new(&net, "127.0.0.1", 0x11, NULL);
	victim = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	require(attacker && victim);
	connect_again();
}

static void deliver(const struct address *from, const uint8_t *datagram, size_t length) {
	struct dtls_links *links = victim->links;
	struct address source = {0};
	/* A block of exactly this size, so that reading beyond it is noticed. */
	uint8_t *copy = malloc(length > 0 ? length : 1);

	require(copy != NULL);
	memcpy(copy, datagram, length);
	dtls_enter(links);
	dtls_receive_datagram(links, links->sockets[0], copy, length, from, &source);
	dtls_leave(links);
	free(copy);
}

/* The octets as content of a record the victim can open. */
static void deliver_sealed(enum record_type type, struct octets octets) {
	uint8_t buffer[RECORD_PLAINTEXT_MAX + RECORD_OVERHEAD_MAX];
	struct dtls_link *link = attacker->links->slots[slot];
	struct address from = link_node_address(attacker);

	if (!link || link->state != DTLS_LINK_UP || octets.length > RECORD_PLAINTEXT_MAX)
		return;
	if (octets.length > 0)
		memcpy(buffer + record_prefix(&link->record.state), octets.data, octets.length);
	ssize_t length = record_seal(&link->record, type, buffer, octets.length);
	if (length > 0)
		deliver(&from, buffer, (size_t)length);
}

static void step(uint8_t kind, struct octets octets) {
	static const enum record_type types[] = {RECORD_APPLICATION, RECORD_ALERT, RECORD_HANDSHAKE, RECORD_CHANGE_CIPHER_SPEC};
	struct address from = link_node_address(attacker);

	switch (kind) {
	case 0:
		deliver(&from, octets.data, octets.length);
		break;
	case 1:
		from.port ^= 1; /* nobody */
		deliver(&from, octets.data, octets.length);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		deliver_sealed(types[kind - 2], octets);
		break;
	default: /* acks need something to acknowledge, timers need time */
		link_node_send(victim, victim->events[0].slot, octets.data, octets.length, octets.length & 1 ? LINK_SEND_OWN : 0);
		if (octets.length > 0)
			link_net_pass(&net, octets.data[0] * UINT64_C(4000));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct reader r = reader_of(data, size);

	start();
	for (unsigned i = 0; i < STEPS_MAX && reader_more(&r); i++) {
		uint8_t kind = reader_u8(&r) % STEP_KINDS;
		struct octets octets = reader_vector16(&r);
		if (r.error != 0)
			break;
		step(kind, octets);
	}
	link_net_settle(&net);
	/* Whatever happened, nothing may be left of handshakes that never were, and an honest link still works. */
	link_net_pass(&net, (LIMIT_HANDSHAKE_SECONDS + 1) * USEC_PER_SEC);
	require(!victim->links->handshakes && !victim->links->dead_links && victim->links->depth == 0);
	if (link_node_count(victim, LINK_EVENT_DOWN) > 0 || link_node_count(attacker, LINK_EVENT_DOWN) > 0) {
		victim->transport.ops->close(victim->transport.object, victim->events[0].slot, LINK_CLOSED_BY_US);
		attacker->transport.ops->close(attacker->transport.object, slot, LINK_CLOSED_BY_US);
		link_net_settle(&net);
		connect_again();
	}
	victim->message_count = attacker->message_count = 0;
	link_node_send(attacker, slot, "still here", 10, LINK_SEND_OWN);
	link_net_settle(&net);
	link_net_pass(&net, 2 * USEC_PER_SEC);
	require(victim->message_count >= 1);
	return 0;
}
