/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Full mutual ECDSA handshakes, cookie exchange included, both sides in one process on one core over loopback sockets, until both
 * know each other and the record layer has taken over, by CPU time. Median of the repetitions; certificates come from the trust
 * cache, as they do for peers that reconnect.
 */
#include "support/link_net.h"

#include <sched.h>
#include <stdio.h>
#include <time.h>

enum { REPETITIONS = 7, HANDSHAKES = 150 };

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* One handshake and the end of its link. Returns false when it fails. */
static bool handshake(struct link_net *net, struct link_node *client, struct link_node *server) {
	struct address to = link_node_address(server);

	client->event_count = server->event_count = 0;
	uint16_t slot = link_node_connect(client, &to, 0x22);
	if (slot == LINK_SLOT_NONE || !link_net_until(net, client, LINK_EVENT_UP, 1) ||
	    !link_net_until(net, server, LINK_EVENT_UP, 1))
		return false;
	client->transport.ops->close(client->transport.object, slot, LINK_CLOSED_BY_US);
	return link_net_until(net, server, LINK_EVENT_DOWN, 1);
}

int main(void) {
	struct link_net net;
	double rates[REPETITIONS];
	cpu_set_t core;

	CPU_ZERO(&core);
	CPU_SET(0, &core);
	if (sched_setaffinity(0, sizeof(core), &core) != 0)
		perror("sched_setaffinity");
	if (link_net_open(&net) < 0)
		return 1;
	struct link_node *client = link_node_new(&net, "127.0.0.1", 0x11, NULL),
			 *server = link_node_new(&net, "127.0.0.1", 0x22, NULL);
	if (!client || !server)
		return 1;
	for (unsigned i = 0; i < 20; i++) /* warm up */
		if (!handshake(&net, client, server))
			return 1;
	for (unsigned r = 0; r < REPETITIONS; r++) {
		clock_t start = clock();
		for (unsigned i = 0; i < HANDSHAKES; i++)
			if (!handshake(&net, client, server))
				return 1;
		rates[r] = HANDSHAKES * (double)CLOCKS_PER_SEC / (double)(clock() - start);
	}
	qsort(rates, REPETITIONS, sizeof(rates[0]), compare);
	printf("handshake_per_s %.0f\n", rates[REPETITIONS / 2]);
	link_net_close(&net);
	return 0;
}
