/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Links of the virtual network: their ends, the packets between them, and the transport that nodes see. Ends find each other by
 * address and a number unique in the network, never by pointer, so that hosts may vanish.
 */
#include "base/cleanup.h"
#include "sim/virtual_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	HANDSHAKE_LIMIT_US = 10 * 1000 * 1000,
	SENDS_UNTIL_SUSPECT = 4,
	SENDS_UNTIL_DOWN = 5,
	SLOTS_FIRST = 8,
};

enum packet_type { PACKET_HELLO, PACKET_HELLO_ANSWER, PACKET_FINISHED, PACKET_FINISHED_ANSWER, PACKET_DATA, PACKET_CLOSE };

struct packet {
	struct event event;
	struct virtual_network *network;
	struct packet *previous, *next;
	enum packet_type type;
	uint64_t link;
	struct address from, to;
	struct certificate *certificate;
	unsigned sends;
	uint64_t delay_us;    /* of a slow sender, on top of the latency */
	uint64_t distance_us; /* 0: not computed yet */
	uint16_t from_slot, to_slot;
	bool own;
	size_t length;
	uint8_t data[];
};

/* ---- ends and slots ---- */

static struct virtual_end *host_end(struct virtual_host *host, uint16_t slot) {
	return slot < host->end_count && host->ends[slot] && host->ends[slot]->link != 0 ? host->ends[slot] : NULL;
}

static struct virtual_end *host_end_of_link(struct virtual_host *host, uint64_t link, uint16_t slot_hint) {
	struct virtual_end *hinted = host_end(host, slot_hint);

	if (hinted && hinted->link == link)
		return hinted;
	for (size_t i = 0; i < host->end_count; i++)
		if (host->ends[i] && host->ends[i]->link == link)
			return host->ends[i];
	return NULL;
}

static void end_release(struct virtual_end *end) {
	timer_disarm(&end->host->runtime, &end->handshake);
	end->certificate = certificate_unref(end->certificate);
	end->link = 0;
	end->up = false;
}

static void end_handshake_failed(struct timer *timer, void *userdata) {
	struct virtual_end *end = userdata;
	struct virtual_host *host = end->host;
	uint16_t slot = end->slot;

	(void)timer;
	end_release(end);
	host->events.down(host->events.userdata, slot, LINK_HANDSHAKE_FAILED);
}

static int host_grow(struct virtual_host *host) {
	size_t count = host->end_count ? host->end_count * 2 : SLOTS_FIRST;

	if (host->end_count >= LINK_SLOTS_MAX)
		return -ENOBUFS;
	struct virtual_end **ends = realloc(host->ends, count * sizeof(*ends));
	if (!ends)
		return -ENOMEM;
	memset(ends + host->end_count, 0, (count - host->end_count) * sizeof(*ends));
	host->ends = ends;
	host->end_count = count;
	return 0;
}

/* Slots rotate, so that a stale slot number is noticed as late as possible (B-6.3.2.2-04). */
static int host_new_end(struct virtual_host *host, uint64_t link, const struct address *peer, struct virtual_end **ret) {
	size_t slot = host->end_count;

	for (size_t i = 0; i < host->end_count && slot == host->end_count; i++) {
		size_t candidate = (host->next_slot + i) % host->end_count;
		if (!host->ends[candidate] || host->ends[candidate]->link == 0)
			slot = candidate;
	}
	if (slot == host->end_count) {
		int error = host_grow(host);
		if (error < 0)
			return error;
	}
	if (!host->ends[slot]) {
		host->ends[slot] = calloc(1, sizeof(*host->ends[slot]));
		if (!host->ends[slot])
			return -ENOMEM;
		host->ends[slot]->generation = (uint8_t)(splitmix(&host->random_state) % LINK_GENERATIONS);
	}
	struct virtual_end *end = host->ends[slot];
	uint8_t generation = (uint8_t)((end->generation + 1) % LINK_GENERATIONS);
	*end = (struct virtual_end){.link = link,
				    .peer = *peer,
				    .host = host,
				    .slot = (uint16_t)slot,
				    .peer_slot = LINK_SLOT_NONE,
				    .distance_us = virtual_distance(&host->address, peer),
				    .generation = generation};
	timer_init(&end->handshake, end_handshake_failed, end);
	host->next_slot = (uint16_t)((slot + 1) % host->end_count);
	*ret = end;
	return 0;
}

void virtual_host_release_ends(struct virtual_host *host) {
	for (size_t i = 0; i < host->end_count; i++) {
		if (!host->ends[i])
			continue;
		if (host->ends[i]->link != 0)
			end_release(host->ends[i]);
		free(host->ends[i]);
	}
	free(host->ends);
}

/* ---- packets ---- */

static void packet_arrive(struct timer *timer, void *userdata);

static struct packet *packet_new(struct virtual_network *network, enum packet_type type, uint64_t link, const struct address *from,
				 const struct address *to, size_t length) {
	struct packet *packet = calloc(1, sizeof(*packet) + length);

	if (!packet)
		return NULL;
	*packet = (struct packet){.network = network,
				  .type = type,
				  .link = link,
				  .from = *from,
				  .to = *to,
				  .from_slot = LINK_SLOT_NONE,
				  .to_slot = LINK_SLOT_NONE,
				  .length = length};
	timer_init(&packet->event.timer, packet_arrive, packet);
	packet->next = network->packets;
	if (packet->next)
		packet->next->previous = packet;
	network->packets = packet;
	return packet;
}

static void packet_free(struct packet *packet) {
	struct virtual_network *network = packet->network;

	event_disarm(&network->agenda, &packet->event);
	if (packet->previous)
		packet->previous->next = packet->next;
	else
		network->packets = packet->next;
	if (packet->next)
		packet->next->previous = packet->previous;
	certificate_unref(packet->certificate);
	free(packet);
}

void virtual_network_release_packets(struct virtual_network *network) {
	while (network->packets)
		packet_free(network->packets);
}

static void packet_post(struct packet *packet, uint64_t *last_arrival_us) {
	uint64_t due_us = packet->network->agenda.clock.now_us + packet->delay_us;

	if (packet->distance_us == 0)
		packet->distance_us = virtual_distance(&packet->from, &packet->to);
	due_us += virtual_latency(packet->network, packet->distance_us);
	if (last_arrival_us && !(packet->type == PACKET_DATA && virtual_chance(packet->network, packet->network->reordering_ppm))) {
		if (due_us <= *last_arrival_us)
			due_us = *last_arrival_us + 1;
		*last_arrival_us = due_us;
	}
	packet->sends++;
	packet->network->figures.packets++;
	packet->network->figures.octets += packet->length;
	event_arm(&packet->network->agenda, &packet->event, due_us);
}

static void send_control(struct virtual_host *host, enum packet_type type, uint64_t link, const struct address *to,
			 uint64_t *last_arrival_us) {
	struct packet *packet = host->mute ? NULL : packet_new(host->network, type, link, &host->address, to, 0);

	if (!packet)
		return;
	packet->certificate = certificate_ref(host->credential->certificate);
	packet_post(packet, last_arrival_us);
}

static void end_up(struct virtual_end *end, struct certificate *certificate) {
	struct virtual_host *host = end->host;

	timer_disarm(&host->runtime, &end->handshake);
	end->certificate = certificate_ref(certificate);
	end->up = true;
	host->events.up(host->events.userdata, end->slot, end->initiated);
}

static void end_down(struct virtual_end *end, enum link_reason reason) {
	struct virtual_host *host = end->host;
	uint16_t slot = end->slot;

	end_release(end);
	host->events.down(host->events.userdata, slot, reason);
}

int virtual_host_link(struct virtual_host *from, struct virtual_host *to) {
	uint64_t link = from->network->next_link++;
	struct virtual_end *ends[2];
	int error = host_new_end(from, link, &to->address, &ends[0]);

	if (error < 0)
		return error;
	error = host_new_end(to, link, &from->address, &ends[1]);
	if (error < 0) {
		end_release(ends[0]);
		return error;
	}
	ends[0]->initiated = true;
	ends[0]->peer_slot = ends[1]->slot;
	ends[1]->peer_slot = ends[0]->slot;
	virtual_host_enter(from);
	end_up(ends[0], to->credential->certificate);
	virtual_host_leave(from);
	virtual_host_enter(to);
	end_up(ends[1], from->credential->certificate);
	virtual_host_leave(to);
	return 0;
}

static void arrive_finished(struct virtual_host *host, const struct packet *packet) {
	struct virtual_end *end;
	struct address from = packet->from;

	if (host_end_of_link(host, packet->link, packet->to_slot) || host_new_end(host, packet->link, &packet->from, &end) < 0)
		return;
	send_control(host, PACKET_FINISHED_ANSWER, packet->link, &from, &end->last_arrival_us);
	end_up(end, packet->certificate);
}

static void arrive_finished_answer(struct virtual_end *end, const struct packet *packet) {
	if (end->up)
		return;
	if (!id_is_none(&end->expected) && !certificate_has_node_id(packet->certificate, &end->expected)) {
		send_control(end->host, PACKET_CLOSE, end->link, &end->peer, NULL);
		end_down(end, LINK_HANDSHAKE_FAILED);
		return;
	}
	end_up(end, packet->certificate);
}

static void arrive_data(struct virtual_end *end, struct packet *packet) {
	struct virtual_host *host = end->host;

	end->peer_slot = packet->from_slot;
	end->statistics.received++;
	end->statistics.octets_received += packet->length;
	end->statistics.last_received_us = host->runtime.now_us;
	host->events.receive(host->events.userdata, end->slot, packet->data, packet->length);
}

/* A NAT lets in who was written to before. */
static bool host_lets_in(const struct virtual_host *host, const struct packet *packet) {
	bool lets_in = !host->hidden || packet->type != PACKET_HELLO;

	for (size_t i = 0; i < host->end_count && !lets_in; i++)
		lets_in = host->ends[i] && host->ends[i]->link != 0 && address_equal(&host->ends[i]->peer, &packet->from);
	return lets_in;
}

/* Hands a packet to the host it is for. */
static void packet_deliver(struct packet *packet, struct virtual_host *host) {
	struct virtual_end *end = host_end_of_link(host, packet->link, packet->to_slot);

	if (host->mute || !host_lets_in(host, packet))
		return;
	virtual_host_enter(host);
	if (packet->type == PACKET_HELLO)
		send_control(host, PACKET_HELLO_ANSWER, packet->link, &packet->from, NULL);
	else if (packet->type == PACKET_HELLO_ANSWER && end)
		send_control(host, PACKET_FINISHED, packet->link, &packet->from, NULL);
	else if (packet->type == PACKET_FINISHED)
		arrive_finished(host, packet);
	else if (packet->type == PACKET_FINISHED_ANSWER && end)
		arrive_finished_answer(end, packet);
	else if (packet->type == PACKET_DATA && end && end->up)
		arrive_data(end, packet);
	else if (packet->type == PACKET_CLOSE && end)
		end_down(end, LINK_CLOSED_BY_PEER);
	virtual_host_leave(host);
}

/* What the sender learns: an acknowledgement (`reached`), or silence that grows into suspicion and the end of the link. */
static void sender_learns(struct packet *packet, bool reached) {
	struct virtual_host *sender = virtual_network_host(packet->network, &packet->from);
	struct virtual_end *end = sender ? host_end_of_link(sender, packet->link, packet->from_slot) : NULL;

	if (!end || !end->up || (reached && !end->suspected))
		return;
	virtual_host_enter(sender);
	if (reached) {
		end->suspected = false;
		sender->events.suspect(sender->events.userdata, end->slot, false);
	} else if (packet->sends == SENDS_UNTIL_SUSPECT && !end->suspected) {
		end->suspected = true;
		sender->events.suspect(sender->events.userdata, end->slot, true);
	} else if (packet->sends > SENDS_UNTIL_DOWN) {
		end_down(end, LINK_TIMED_OUT);
	}
	virtual_host_leave(sender);
}

static void packet_arrive(struct timer *timer, void *userdata) {
	struct packet *packet = userdata;
	struct virtual_network *network = packet->network;
	struct virtual_host *host = virtual_network_host(network, &packet->to);
	bool cut = virtual_network_is_cut(network, &packet->from, &packet->to, host);
	bool lost = packet->type == PACKET_DATA && virtual_chance(network, network->loss_ppm);

	(void)timer;
	if (packet->type != PACKET_DATA) {
		if (host && !cut)
			packet_deliver(packet, host);
		packet_free(packet);
		return;
	}
	if (host && !cut && !lost && host_end_of_link(host, packet->link, packet->to_slot)) {
		if (packet->own || packet->sends == 1)
			packet_deliver(packet, host);
		sender_learns(packet, true);
		packet_free(packet);
		return;
	}
	if (!packet->own && host && !cut) { /* a transit message lost once says nothing */
		packet_free(packet);
		return;
	}
	sender_learns(packet, false);
	if (packet->sends > SENDS_UNTIL_DOWN) {
		packet_free(packet);
		return;
	}
	event_arm_after(&network->agenda, &packet->event, virtual_rto(network, packet->distance_us) << (packet->sends - 1));
	packet->sends++;
	network->figures.packets++;
	network->figures.octets += packet->length;
}

/* ---- transport ---- */

static int virtual_connect(void *object, const struct address *candidates, size_t count, const struct id *expected,
			   uint16_t *ret_slot) {
	struct virtual_host *host = object;
	struct virtual_network *network = host->network;
	struct virtual_end *end;

	if (count == 0)
		return -EAFNOSUPPORT;
	uint64_t link = network->next_link++;
	int error = host_new_end(host, link, &candidates[0], &end);
	if (error < 0)
		return error;
	end->initiated = true;
	if (expected)
		end->expected = *expected;
	timer_arm_after(&host->runtime, &end->handshake, HANDSHAKE_LIMIT_US);
	send_control(host, PACKET_HELLO, link, &candidates[0], NULL);
	*ret_slot = end->slot;
	return 0;
}

/* The copy of a message whose acknowledgement was lost. */
static void packet_duplicate(const struct packet *packet, uint64_t *last_arrival_us) {
	struct packet *copy = packet_new(packet->network, PACKET_DATA, packet->link, &packet->from, &packet->to, packet->length);

	if (!copy)
		return;
	memcpy(copy->data, packet->data, packet->length);
	copy->delay_us = packet->delay_us;
	copy->distance_us = packet->distance_us;
	copy->from_slot = packet->from_slot;
	copy->to_slot = packet->to_slot;
	packet_post(copy, last_arrival_us);
}

static int virtual_send(void *object, uint16_t slot, const struct iovec *parts, size_t count, unsigned flags) {
	struct virtual_host *host = object;
	struct virtual_end *end = host_end(host, slot);
	size_t length = 0;

	if (!end || !end->up)
		return -ENOTCONN;
	for (size_t i = 0; i < count; i++)
		length += parts[i].iov_len;
	if (length > host->network->payload_max)
		return -EMSGSIZE;
	if (host->mute || (host->selfish && !(flags & LINK_SEND_OWN)))
		return 0;
	struct packet *packet = packet_new(host->network, PACKET_DATA, end->link, &host->address, &end->peer, length);
	if (!packet)
		return -EAGAIN;
	size_t at = 0;
	for (size_t i = 0; i < count; i++) {
		if (parts[i].iov_len > 0)
			memcpy(packet->data + at, parts[i].iov_base, parts[i].iov_len);
		at += parts[i].iov_len;
	}
	packet->own = flags & LINK_SEND_OWN;
	packet->delay_us = host->delay_us;
	packet->distance_us = end->distance_us;
	packet->from_slot = slot;
	packet->to_slot = end->peer_slot;
	end->statistics.sent++;
	end->statistics.octets_sent += length;
	packet_post(packet, &end->last_arrival_us);
	if (virtual_chance(host->network, host->network->duplication_ppm))
		packet_duplicate(packet, &end->last_arrival_us);
	return 0;
}

static void virtual_close(void *object, uint16_t slot, enum link_reason reason) {
	struct virtual_host *host = object;
	struct virtual_end *end = host_end(host, slot);

	if (!end)
		return;
	send_control(host, PACKET_CLOSE, end->link, &end->peer, &end->last_arrival_us);
	end_down(end, reason);
}

static size_t virtual_candidates(void *object, struct address *out, size_t max) {
	struct virtual_host *host = object;

	if (max == 0)
		return 0;
	out[0] = host->address;
	return 1;
}

static struct certificate *virtual_certificate(void *object, uint16_t slot) {
	struct virtual_end *end = host_end(object, slot);

	return end ? end->certificate : NULL;
}

static uint8_t virtual_generation(void *object, uint16_t slot) {
	struct virtual_end *end = host_end(object, slot);

	return end ? end->generation : 0;
}

static struct address virtual_address(void *object, uint16_t slot) {
	struct virtual_end *end = host_end(object, slot);

	return end ? end->peer : (struct address){0};
}

static size_t virtual_payload_max(void *object, uint16_t slot) {
	struct virtual_host *host = object;

	(void)slot;
	return host->network->payload_max;
}

static void virtual_statistics(void *object, uint16_t slot, struct link_statistics *ret) {
	struct virtual_host *host = object;
	struct virtual_end *end = host_end(host, slot);

	*ret = end ? end->statistics : (struct link_statistics){0};
	ret->rtt_us = (uint32_t)(host->network->latency_min_us + host->network->latency_max_us);
	ret->rto_us = end ? (uint32_t)virtual_rto(host->network, end->distance_us) : 0;
	ret->cipher = "virtual";
}

struct transport virtual_host_transport(struct virtual_host *host) {
	static const struct transport_ops ops = {
		.connect = virtual_connect,
		.send = virtual_send,
		.close = virtual_close,
		.candidates = virtual_candidates,
		.certificate = virtual_certificate,
		.generation = virtual_generation,
		.address = virtual_address,
		.payload_max = virtual_payload_max,
		.statistics = virtual_statistics,
	};

	return (struct transport){.ops = &ops, .object = host};
}
