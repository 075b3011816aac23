/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/network_prefix.h"

#include <errno.h>
#include <string.h>

enum { MAPPED_BITS = 96 };

/* ::ffff:192.0.2.1 means 192.0.2.1, wherever it comes from. */
static bool unmap(struct address *address) {
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (address->family != AF_INET6 || memcmp(address->octets, mapped, sizeof(mapped)) != 0)
		return false;
	address->family = AF_INET;
	memmove(address->octets, address->octets + sizeof(mapped), 4);
	memset(address->octets + 4, 0, sizeof(address->octets) - 4);
	return true;
}

static int parse_bits(const char *text, unsigned max, unsigned *ret) {
	unsigned bits = 0;

	if (*text == 0)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		bits = bits * 10 + (unsigned)(*text - '0');
		if (bits > max)
			return -EINVAL;
	}
	*ret = bits;
	return 0;
}

int network_prefix_parse(const char *text, struct network_prefix *ret) {
	char host[ADDRESS_TEXT_SIZE];
	struct network_prefix prefix;
	unsigned bits;

	if (strlen(text) >= sizeof(host))
		return -EINVAL;
	strcpy(host, text);
	char *slash = strchr(host, '/');
	if (slash)
		*slash++ = 0;
	if (address_parse(host, 0, &prefix.address) < 0 || prefix.address.port != 0)
		return -EINVAL;
	bits = prefix.address.family == AF_INET ? 32 : 128;
	if (slash && parse_bits(slash, bits, &bits) < 0)
		return -EINVAL;
	if (bits >= MAPPED_BITS && unmap(&prefix.address))
		bits -= MAPPED_BITS;
	prefix.bits = bits;
	*ret = prefix;
	return 0;
}

bool network_prefix_contains(const struct network_prefix *prefix, const struct address *address) {
	struct address plain = *address;

	unmap(&plain);
	if (plain.family != prefix->address.family)
		return false;
	for (unsigned i = 0; i < prefix->bits; i++)
		if ((plain.octets[i / 8] ^ prefix->address.octets[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}
