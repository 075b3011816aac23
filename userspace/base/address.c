/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool address_equal(const struct address *a, const struct address *b) {
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool address_same(const struct address *a, const struct address *b) {
	struct address other = *b;

	other.protocol = a->protocol;
	return address_equal(a, &other);
}

bool address_same_host(const struct address *a, const struct address *b) {
	return a->family == b->family && memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}

bool address_likely_same_host(const struct address *a, const struct address *b) {
	return a->family == b->family && memcmp(a->octets, b->octets, a->family == AF_INET ? 4 : 8) == 0;
}

struct address address_of_sockaddr(const struct sockaddr *sockaddr) {
	struct address address = {0};

	if (sockaddr->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const void *)sockaddr;
		address.family = AF_INET;
		address.port = ntohs(in->sin_port);
		memcpy(address.octets, &in->sin_addr, 4);
	} else if (sockaddr->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sockaddr;
		address.family = AF_INET6;
		address.port = ntohs(in6->sin6_port);
		memcpy(address.octets, &in6->sin6_addr, 16);
		if (IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr))
			address.scope = in6->sin6_scope_id;
	}
	return address;
}

socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *ret) {
	memset(ret, 0, sizeof(*ret));
	if (address->family == AF_INET) {
		struct sockaddr_in *in = (void *)ret;
		in->sin_family = AF_INET;
		in->sin_port = htons(address->port);
		memcpy(&in->sin_addr, address->octets, 4);
		return sizeof(*in);
	}
	if (address->family == AF_INET6) {
		struct sockaddr_in6 *in6 = (void *)ret;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(address->port);
		in6->sin6_scope_id = address->scope;
		memcpy(&in6->sin6_addr, address->octets, 16);
		return sizeof(*in6);
	}
	return 0;
}

static char *write_decimal(char *at, unsigned value) {
	char digits[10];
	size_t count = 0;

	do
		digits[count++] = (char)('0' + value % 10);
	while ((value /= 10) > 0);
	while (count > 0)
		*at++ = digits[--count];
	return at;
}

/* Many a line of a protocol has one, so that the general way is too slow. Returns where the text ends. */
static char *write_ipv4(char *at, const struct address *address) {
	for (size_t i = 0; i < 4; i++) {
		at = write_decimal(at, address->octets[i]);
		*at++ = i < 3 ? '.' : 0;
	}
	return at - 1;
}

const char *address_format_host(const struct address *address, char text[static ADDRESS_TEXT_SIZE]) {
	char host[INET6_ADDRSTRLEN] = "-";

	if (address->family == AF_INET && address->scope == 0) {
		write_ipv4(text, address);
		return text;
	}
	if (address->family != 0)
		inet_ntop(address->family, address->octets, host, sizeof(host));
	if (address->scope != 0)
		snprintf(text, ADDRESS_TEXT_SIZE, "%s%%%u", host, address->scope);
	else
		snprintf(text, ADDRESS_TEXT_SIZE, "%s", host);
	return text;
}

const char *address_format(const struct address *address, char text[static ADDRESS_TEXT_SIZE]) {
	char host[ADDRESS_TEXT_SIZE];

	if (address->family == AF_INET && address->scope == 0) {
		char *end = write_ipv4(text, address);
		*end++ = ':';
		*write_decimal(end, address->port) = 0;
		return text;
	}
	address_format_host(address, host);
	if (address->family == AF_INET6)
		snprintf(text, ADDRESS_TEXT_SIZE, "[%.50s]:%u", host, address->port);
	else
		snprintf(text, ADDRESS_TEXT_SIZE, "%.50s:%u", host, address->port);
	return text;
}

static int parse_port(const char *text, uint16_t *ret) {
	char *end;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	unsigned long value = strtoul(text, &end, 10);
	if (*end != 0 || value == 0 || value > UINT16_MAX)
		return -EINVAL;
	*ret = (uint16_t)value;
	return 0;
}

static int parse_host(char *host, struct address *address) {
	if (inet_pton(AF_INET, host, address->octets) == 1) {
		address->family = AF_INET;
		return 0;
	}
	char *zone = strchr(host, '%');
	if (zone) {
		*zone++ = 0;
		address->scope = if_nametoindex(zone);
		if (address->scope == 0)
			address->scope = (uint32_t)strtoul(zone, NULL, 10);
		if (address->scope == 0)
			return -EINVAL;
	}
	if (inet_pton(AF_INET6, host, address->octets) != 1)
		return -EINVAL;
	address->family = AF_INET6;
	return 0;
}

int address_parse(const char *text, uint16_t default_port, struct address *ret) {
	struct address address = {.port = default_port};
	char host[ADDRESS_TEXT_SIZE];

	if (strlen(text) >= sizeof(host))
		return -EINVAL;
	strcpy(host, text);
	char *start = host, *port = NULL;
	if (*host == '[') {
		char *close = strchr(host, ']');
		if (!close)
			return -EINVAL;
		*close = 0;
		start = host + 1;
		if (close[1] == ':')
			port = close + 2;
		else if (close[1] != 0)
			return -EINVAL;
	} else if (strchr(host, ':') == strrchr(host, ':') && strchr(host, ':')) {
		port = strchr(host, ':');
		*port++ = 0;
	}
	if (port && parse_port(port, &address.port) < 0)
		return -EINVAL;
	if (parse_host(start, &address) < 0)
		return -EINVAL;
	*ret = address;
	return 0;
}
