/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rtnetlink messages as the netlink watcher reads them: a buffer of messages is walked, and every reader gets every message,
 * whatever its type says. Input: the octets of the buffer.
 */
#include "fastpath/netwatch_message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BUFFER_MAX = 32768 };

#define FUZZ_CHECK(condition)                                                                                                      \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			abort();                                                                                                   \
	} while (0)

static bool is_verdict(int result) {
	return result == 0 || result == -EBADMSG || result == -ENODATA;
}

static void check_link(const struct nlmsghdr *header) {
	struct netwatch_link link;
	int result = netwatch_read_link(header, &link);

	FUZZ_CHECK(is_verdict(result));
	if (result < 0)
		return;
	FUZZ_CHECK(link.mtu <= 65535);
	FUZZ_CHECK(memchr(link.name, 0, sizeof(link.name)) && memchr(link.kind, 0, sizeof(link.kind)));
}

static void check_address(const struct nlmsghdr *header) {
	struct netwatch_local local;
	int result = netwatch_read_address(header, &local);

	FUZZ_CHECK(is_verdict(result));
	FUZZ_CHECK(result < 0 || local.address.family != 0);
}

static void check_route(const struct nlmsghdr *header) {
	struct netwatch_route route;
	int result = netwatch_read_route(header, &route);

	FUZZ_CHECK(is_verdict(result));
	if (result == 0) {
		FUZZ_CHECK(route.prefix_bits <= 128);
		netwatch_prefix_holds(&route.destination, route.prefix_bits, &route.gateway);
	}
}

static void check_message(const struct nlmsghdr *header) {
	struct netwatch_neighbor_state neighbor;
	uint16_t family;
	int status;

	check_link(header);
	check_address(header);
	check_route(header);
	FUZZ_CHECK(is_verdict(netwatch_read_neighbor(header, &neighbor)));
	FUZZ_CHECK(is_verdict(netwatch_read_rule(header, &family)));
	if (netwatch_read_status(header, &status) == 0)
		FUZZ_CHECK(status <= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size > BUFFER_MAX)
		return 0;
	/* A block of exactly this size, aligned as a socket's buffer is. */
	uint8_t *buffer = malloc(size > 0 ? size : 1);
	FUZZ_CHECK(buffer);
	memcpy(buffer, data, size);
	for (size_t at = 0; at < size;) {
		const struct nlmsghdr *header = (const struct nlmsghdr *)(const void *)(buffer + at);

		if (!netwatch_message_ok(header, size - at))
			break;
		check_message(header);
		FUZZ_CHECK(header->nlmsg_len >= sizeof(*header));
		at += NLMSG_ALIGN(header->nlmsg_len);
	}
	free(buffer);
	return 0;
}
