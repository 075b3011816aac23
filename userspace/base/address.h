/* SPDX-License-Identifier: BSD-2-Clause */
/* Transport addresses: IPv4 or IPv6 with a port. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { ADDRESS_TEXT_SIZE = 64, RELOAD_PORT = 6084 /* B-14.2-01 */ };

/* Unused octets are zero, so that whole structures can be compared and hashed. */
struct address {
	uint8_t family;	  /* AF_INET, AF_INET6, or 0 for none */
	uint8_t protocol; /* IPPROTO_TCP, or 0: UDP, or it does not matter */
	uint16_t port;	  /* host order */
	uint32_t scope;	  /* interface of an IPv6 link-local address */
	uint8_t octets[16];
};

bool address_equal(const struct address *a, const struct address *b);

/* The same, whatever the protocols. */
bool address_same(const struct address *a, const struct address *b);

/* The same, whatever the ports and protocols. */
bool address_same_host(const struct address *a, const struct address *b);

/* What is likely one host, seen from elsewhere: the same IPv4 address, the same IPv6 /64. */
bool address_likely_same_host(const struct address *a, const struct address *b);

struct address address_of_sockaddr(const struct sockaddr *sockaddr);

/* Returns the length of the socket address, 0 for no address. */
socklen_t address_to_sockaddr(const struct address *address, struct sockaddr_storage *ret);

/* "192.0.2.1:6084", "[2001:db8::1]:6084"; returns `text`. */
const char *address_format(const struct address *address, char text[static ADDRESS_TEXT_SIZE]);

/* The same without the port. */
const char *address_format_host(const struct address *address, char text[static ADDRESS_TEXT_SIZE]);

/* Parses what address_format() writes; a missing port becomes `default_port`. Returns -EINVAL. No name look-ups. */
int address_parse(const char *text, uint16_t default_port, struct address *ret);
