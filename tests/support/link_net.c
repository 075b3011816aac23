/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/link_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { TURNS_MAX = 20000 };

/* --- nodes --- */

static void add_event(struct link_node *node, struct link_event event) {
	if (node->event_count < LINK_NODE_EVENTS)
		node->events[node->event_count++] = event;
}

static void on_up(void *userdata, uint16_t slot, bool initiated) {
	struct link_node *node = userdata;

	add_event(node, (struct link_event){.what = LINK_EVENT_UP, .slot = slot, .initiated = initiated});
	if (node->on_up)
		node->on_up(node, slot);
}

static void on_down(void *userdata, uint16_t slot, enum link_reason reason) {
	struct link_node *node = userdata;

	add_event(node, (struct link_event){.what = LINK_EVENT_DOWN, .slot = slot, .reason = reason});
	if (node->on_down)
		node->on_down(node, slot);
}

static void on_suspect(void *userdata, uint16_t slot, bool suspected) {
	add_event(userdata, (struct link_event){.what = suspected ? LINK_EVENT_SUSPECT : LINK_EVENT_RESTORED, .slot = slot});
}

static void on_receive(void *userdata, uint16_t slot, uint8_t *message, size_t length) {
	struct link_node *node = userdata;

	if (node->message_count < LINK_NODE_MESSAGES && length <= LINK_DATAGRAM_MAX) {
		node->messages[node->message_count].slot = slot;
		node->messages[node->message_count].length = length;
		memcpy(node->messages[node->message_count].data, message, length);
	}
	node->message_count++;
	memset(message, 0xee, length); /* the callee may overwrite it */
	if (node->on_receive)
		node->on_receive(node, slot);
}

struct link_node *link_node_with(struct link_net *net, const char *host, struct credential *credential,
				 const struct dtls_settings *settings) {
	struct dtls_settings own = settings ? *settings : (struct dtls_settings){0};
	struct link_node *node = calloc(1, sizeof(*node));
	char reason[200];

	node->net = net;
	node->messages = calloc(LINK_NODE_MESSAGES, sizeof(*node->messages));
	node->credential = credential;
	node->runtime = (struct runtime){.now_us = net->now_us, .source = runtime_source_system()};
	own.runtime = &node->runtime;
	if (!own.trust)
		own.trust = net->overlay.trust;
	own.credential = credential;
	if (own.listen_count == 0) {
		address_parse(host, 1, &own.listen[0]);
		own.listen[0].port = 0;
		own.listen_count = 1;
	}
	struct transport_events events = {node, on_up, on_down, on_suspect, on_receive};
	if (!credential || dtls_links_new(&own, &events, &node->links, reason, sizeof(reason)) < 0) {
		fprintf(stderr, "no node: %s\n", credential ? reason : "no credential");
		credential_unref(credential);
		free(node->messages);
		free(node);
		return NULL;
	}
	node->transport = dtls_links_transport(node->links);
	net->nodes[net->node_count++] = node;
	return node;
}

struct link_node *link_node_new(struct link_net *net, const char *host, uint8_t octet, const struct dtls_settings *settings) {
	struct id id = support_node_id(octet);
	char user[64];

	snprintf(user, sizeof(user), "node%u@example.org", octet);
	return link_node_with(net, host, support_credential(&net->overlay, user, &id, 1), settings);
}

void link_node_free(struct link_node *node) {
	struct link_net *net;

	if (!node)
		return;
	net = node->net;
	for (size_t i = 0; i < net->node_count; i++)
		if (net->nodes[i] == node)
			net->nodes[i--] = net->nodes[--net->node_count];
	dtls_links_free(node->links);
	credential_unref(node->credential);
	free(node->messages);
	free(node);
}

struct address link_node_address(const struct link_node *node) {
	return dtls_links_local(node->links);
}

uint16_t link_node_connect(struct link_node *node, const struct address *to, uint8_t octet) {
	struct id expected = support_node_id(octet);
	uint16_t slot;

	if (node->transport.ops->connect(node->transport.object, to, 1, octet != 0 ? &expected : NULL, &slot) < 0)
		return LINK_SLOT_NONE;
	return slot;
}

int link_node_send(struct link_node *node, uint16_t slot, const void *data, size_t length, unsigned flags) {
	struct iovec parts[2] = {{(void *)data, length / 2}, {(uint8_t *)data + length / 2, length - length / 2}};

	return node->transport.ops->send(node->transport.object, slot, parts, 2, flags);
}

size_t link_node_count(const struct link_node *node, int what) {
	size_t count = 0;

	for (size_t i = 0; i < node->event_count; i++)
		count += (int)node->events[i].what == what;
	return count;
}

const struct link_event *link_node_last(const struct link_node *node, int what) {
	for (size_t i = node->event_count; i > 0; i--)
		if ((int)node->events[i - 1].what == what)
			return &node->events[i - 1];
	return NULL;
}

/* --- relay --- */

static int bound_socket(uint16_t family, struct address *ret) {
	struct address any = {.family = family};
	struct sockaddr_storage name;
	socklen_t length;

	address_parse(family == AF_INET ? "127.0.0.1" : "::1", 1, &any);
	any.port = 0;
	length = address_to_sockaddr(&any, &name);
	int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&name, length) < 0)
		return -errno;
	length = sizeof(name);
	getsockname(fd, (struct sockaddr *)&name, &length);
	*ret = address_of_sockaddr((struct sockaddr *)&name);
	return fd;
}

int link_relay_open(struct link_net *net, const struct link_node *server, struct link_relay *relay) {
	struct address back;

	memset(relay, 0, sizeof(*relay));
	relay->server = link_node_address(server);
	relay->fds[0] = bound_socket(relay->server.family, &relay->front);
	relay->fds[1] = bound_socket(relay->server.family, &back);
	if (relay->fds[0] < 0 || relay->fds[1] < 0)
		return -EIO;
	net->relay = relay;
	return 0;
}

void link_relay_close(struct link_net *net, struct link_relay *relay) {
	close(relay->fds[0]);
	close(relay->fds[1]);
	net->relay = NULL;
}

void link_relay_inject(struct link_relay *relay, enum link_way way, const void *datagram, size_t length) {
	const struct address *to = way == LINK_FORTH ? &relay->server : &relay->client;
	struct sockaddr_storage name;
	socklen_t name_length = address_to_sockaddr(to, &name);

	if (sendto(relay->fds[way == LINK_FORTH], datagram, length, 0, (struct sockaddr *)&name, name_length) < 0)
		perror("relay");
}

void link_relay_release(struct link_relay *relay) {
	for (size_t i = 0; i < relay->held_count; i++)
		link_relay_inject(relay, relay->held[i].way, relay->held[i].data, relay->held[i].length);
	relay->held_count = 0;
}

static void relay_datagram(struct link_relay *relay, enum link_way way, const uint8_t *datagram, size_t length) {
	enum link_fate fate = relay->cut ? LINK_DROP : LINK_PASS;

	if (!relay->cut && relay->decide)
		fate = relay->decide(relay, way, datagram, length);
	if (fate == LINK_DROP) {
		relay->dropped[way]++;
		return;
	}
	if (fate == LINK_HOLD && relay->held_count < LINK_RELAY_HELD) {
		relay->held[relay->held_count].way = way;
		relay->held[relay->held_count].length = length;
		memcpy(relay->held[relay->held_count++].data, datagram, length);
		return;
	}
	relay->passed[way]++;
	link_relay_inject(relay, way, datagram, length);
	if (fate == LINK_TWICE)
		link_relay_inject(relay, way, datagram, length);
}

static size_t relay_turn(struct link_relay *relay) {
	uint8_t datagram[LINK_DATAGRAM_MAX];
	struct sockaddr_storage name;
	size_t count = 0;

	for (unsigned way = 0; way < 2; way++) {
		for (;;) {
			socklen_t name_length = sizeof(name);
			ssize_t got =
				recvfrom(relay->fds[way], datagram, sizeof(datagram), 0, (struct sockaddr *)&name, &name_length);
			if (got < 0)
				break;
			if (way == LINK_FORTH)
				relay->client = address_of_sockaddr((struct sockaddr *)&name);
			relay_datagram(relay, way, datagram, (size_t)got);
			count++;
		}
	}
	return count;
}

/* --- the whole --- */

int link_net_open(struct link_net *net) {
	memset(net, 0, sizeof(*net));
	net->now_us = 1000000;
	return support_overlay_new(SUPPORT_OVERLAY_NAME, &net->overlay);
}

void link_net_close(struct link_net *net) {
	while (net->node_count > 0)
		link_node_free(net->nodes[0]);
	if (net->relay)
		link_relay_close(net, net->relay);
	support_overlay_release(&net->overlay);
}

void link_net_real_time(struct link_net *net) {
	net->real_time = true;
	net->now_us = clock_monotonic_us();
	for (size_t i = 0; i < net->node_count; i++)
		net->nodes[i]->runtime.now_us = net->now_us;
}

/* One turn for everybody. */
static size_t turn(struct link_net *net) {
	size_t moved = 0;

	if (net->real_time)
		net->now_us = clock_monotonic_us();
	for (size_t i = 0; i < net->node_count; i++) {
		struct link_node *node = net->nodes[i];
		uint64_t before = dtls_links_counters(node->links)->datagrams_received;
		int fds[2];
		if (node->runtime.now_us < net->now_us)
			node->runtime.now_us = net->now_us;
		runtime_fire(&node->runtime);
		/* What a timer put off until right afterwards is due a microsecond later. */
		for (unsigned again = 0; again < 8 && runtime_next(&node->runtime) <= node->runtime.now_us + 1; again++) {
			node->runtime.now_us++;
			runtime_fire(&node->runtime);
		}
		dtls_links_flush(node->links);
		size_t count = dtls_links_fds(node->links, fds, 2);
		for (size_t f = 0; f < count; f++)
			dtls_links_receive(node->links, fds[f]);
		moved += dtls_links_counters(node->links)->datagrams_received - before;
	}
	if (net->relay)
		moved += relay_turn(net->relay);
	return moved;
}

size_t link_net_settle(struct link_net *net) {
	size_t total = 0;

	/* Loopback delivers before the send returns: two turns without anything mean that nothing is under way. */
	for (unsigned i = 0, quiet = 0; i < TURNS_MAX && quiet < 2; i++) {
		size_t moved = turn(net);
		total += moved;
		quiet = moved > 0 ? 0 : quiet + 1;
	}
	return total;
}

bool link_net_until(struct link_net *net, struct link_node *node, int what, size_t count) {
	for (unsigned i = 0; i < TURNS_MAX && link_node_count(node, what) < count; i++) {
		if (turn(net) > 0)
			continue;
		/* Nobody has anything to say before a timer: OpenSSL's run on the system's clock. */
		if (net->real_time)
			poll(NULL, 0, 1);
		else if (i > 10)
			break;
	}
	return link_node_count(node, what) >= count;
}

void link_net_pass(struct link_net *net, uint64_t us) {
	uint64_t end_us = net->now_us + us;

	while (net->now_us < end_us) {
		uint64_t next_us = end_us;
		for (size_t i = 0; i < net->node_count; i++) {
			uint64_t due_us = runtime_next(&net->nodes[i]->runtime);
			if (due_us < next_us)
				next_us = due_us;
		}
		net->now_us = next_us > net->now_us ? next_us : net->now_us + 1;
		link_net_settle(net);
	}
}
