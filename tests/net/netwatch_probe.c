/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Watches ways out of this machine and prints a line for each change, until its standard input ends. A line there is a command:
 * "refresh NUMBER" or "statistics".
 *
 *     netwatch_probe REMOTE[,LOCAL]…      numbers are 1, 2, …; an address is one as in settings, [IPv6%interface]:port for
 * link-local
 */
#include "base/log.h"
#include "fastpath/netwatch.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

struct probe {
	struct runtime runtime;
	struct netwatch *netwatch;
};

static const char *name_of(uint32_t ifindex, char name[static IF_NAMESIZE]) {
	return if_indextoname(ifindex, name) ? name : "-";
}

static void print_mac(const char *label, const uint8_t mac[static 6]) {
	printf(" %s=%02x:%02x:%02x:%02x:%02x:%02x", label, mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void on_changed(void *userdata, uint64_t id, const struct netwatch_hop *hop, enum netwatch_reason reason) {
	char out[IF_NAMESIZE], device[IF_NAMESIZE];

	(void)userdata;
	printf("%llu %s", (unsigned long long)id, netwatch_reason_name(reason));
	if (hop) {
		printf(" out=%s device=%s", name_of(hop->ifindex, out), name_of(hop->device, device));
		print_mac("to", hop->destination);
		print_mac("from", hop->source);
		printf(" vlan=%u mtu=%u hop_limit=%u.", hop->vlan, hop->mtu, hop->hop_limit);
	}
	printf("\n");
}

static void on_interfaces(void *userdata) {
	struct probe *p = userdata;
	struct netwatch_interface interfaces[NETWATCH_INTERFACES_MAX];
	size_t count = netwatch_interfaces(p->netwatch, interfaces, NETWATCH_INTERFACES_MAX);

	printf("interfaces");
	for (size_t i = 0; i < count; i++)
		printf(" %s:%s:%u", interfaces[i].name, interfaces[i].kind, interfaces[i].watches);
	printf(".\n");
}

static int watch(struct probe *p, char *pair, uint64_t id) {
	struct address remote, local = {0};
	char *comma = strchr(pair, ',');

	if (comma)
		*comma++ = 0;
	if (address_parse(pair, RELOAD_PORT, &remote) < 0 || (comma && address_parse(comma, RELOAD_PORT, &local) < 0))
		return -EINVAL;
	return netwatch_watch(p->netwatch, &remote, &local, id);
}

static void command(struct probe *p, const char *line) {
	unsigned long long id;
	struct netwatch_statistics s;

	if (sscanf(line, "refresh %llu", &id) == 1)
		netwatch_refresh(p->netwatch, id);
	else if (strncmp(line, "statistics", 10) == 0) {
		netwatch_statistics(p->netwatch, &s);
		printf("statistics watches=%u known=%u devices=%u addresses=%u neighbors=%u passes=%llu queries=%llu probes=%llu "
		       "changes=%llu "
		       "overruns=%llu synchronizations=%llu malformed=%llu refused=%d.\n",
		       s.watches, s.known, s.devices, s.addresses, s.neighbors, (unsigned long long)s.passes,
		       (unsigned long long)s.queries, (unsigned long long)s.probes, (unsigned long long)s.changes,
		       (unsigned long long)s.overruns, (unsigned long long)s.synchronizations, (unsigned long long)s.malformed,
		       s.probing_refused);
	}
}

static int turn(struct probe *p) {
	struct pollfd polls[] = {{.fd = netwatch_fd(p->netwatch), .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	uint64_t next_us = runtime_next(&p->runtime);
	int limit_ms = -1;
	char line[128];

	p->runtime.now_us = clock_monotonic_us();
	if (next_us != USEC_NEVER)
		limit_ms = next_us <= p->runtime.now_us ? 0 : (int)((next_us - p->runtime.now_us) / USEC_PER_MSEC + 1);
	if (poll(polls, 2, limit_ms) < 0 && errno != EINTR)
		return -errno;
	p->runtime.now_us = clock_monotonic_us();
	if (polls[0].revents) {
		int r = netwatch_ready(p->netwatch);
		if (r < 0)
			return r;
	}
	runtime_fire(&p->runtime);
	if (polls[1].revents) {
		if (!fgets(line, sizeof(line), stdin))
			return 1;
		command(p, line);
	}
	return 0;
}

int main(int argc, char **argv) {
	static const struct netwatch_callbacks callbacks = {.changed = on_changed, .interfaces = on_interfaces};
	struct probe p = {.runtime = {.now_us = clock_monotonic_us(), .source = runtime_source_system()}};
	int r;

	log_open("netwatch_probe");
	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0);
	r = netwatch_new(&p.runtime, &callbacks, &p, &p.netwatch);
	for (int i = 1; r == 0 && i < argc; i++)
		r = watch(&p, argv[i], (uint64_t)i);
	while (r == 0)
		r = turn(&p);
	netwatch_free(p.netwatch);
	if (r < 0) {
		fprintf(stderr, "netwatch_probe: %s\n", strerror(-r));
		return 1;
	}
	return 0;
}
