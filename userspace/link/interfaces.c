/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/interfaces.h"

#include "base/log.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

static void add(struct address *out, size_t max, size_t *count, const struct address *address) {
	for (size_t i = 0; i < *count; i++)
		if (address_equal(&out[i], address))
			return;
	if (*count < max)
		out[(*count)++] = *address;
}

/* Addresses of interfaces that are up; loopback ones only if `loopback`; nothing that needs a scope. */
static void add_interfaces(const struct ifaddrs *first, const struct local_socket *s, bool loopback, struct address *out,
			   size_t max, size_t *count) {
	for (const struct ifaddrs *i = first; i; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != s->local.family || !(i->ifa_flags & IFF_UP) ||
		    !(i->ifa_flags & IFF_LOOPBACK) == loopback)
			continue;
		struct address address = address_of_sockaddr(i->ifa_addr);
		if (address.scope != 0)
			continue;
		address.port = s->local.port;
		add(out, max, count, &address);
	}
}

static void add_sockets(const struct local_socket *sockets, size_t socket_count, const struct ifaddrs *interfaces, bool loopback,
			struct address *out, size_t max, size_t *count) {
	for (size_t i = 0; i < socket_count; i++) {
		const struct local_socket *s = &sockets[i];
		if (s->wildcard)
			add_interfaces(interfaces, s, loopback, out, max, count);
		else if (!loopback)
			add(out, max, count, &s->local);
	}
}

size_t local_candidates(const struct address *announce, size_t announce_count, const struct local_socket *sockets,
			size_t socket_count, struct address *out, size_t max) {
	struct ifaddrs *interfaces = NULL;
	size_t count = 0;

	for (size_t i = 0; i < announce_count; i++)
		if (announce[i].family != 0)
			add(out, max, &count, &announce[i]);
	if (count > 0)
		return count;
	if (getifaddrs(&interfaces) < 0)
		log_warning("cannot list the addresses of this host: %s", strerror(errno));
	add_sockets(sockets, socket_count, interfaces, false, out, max, &count);
	if (count == 0)
		add_sockets(sockets, socket_count, interfaces, true, out, max, &count);
	freeifaddrs(interfaces);
	return count;
}
