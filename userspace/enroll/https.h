/* SPDX-License-Identifier: BSD-2-Clause */
/* One HTTPS exchange after the other with servers we enroll at: names and roots checked, bounded in size and time. */
#pragma once

#include "base/octets.h"
#include "enroll/provision.h"

enum {
	HTTPS_TIMEOUT_S = 60, /* for one exchange */
	HTTPS_CONNECT_TIMEOUT_S = 15,
	HTTPS_URL_SIZE = 1024,
	HTTPS_HOST_SIZE = 256,
	HTTPS_RETRY_AFTER_MAX_S = 3600,
	HTTPS_PORT = 443,
};

struct https;

/* `ca_file`: PEM roots instead of the system's, may be NULL. `address`: connect there whatever the host is, may be NULL. */
int https_new(const char *ca_file, const struct address *address, struct https **ret);
struct https *https_free(struct https *https);
DEFINE_CLEANUP(struct https *, https_free)

struct https_field {
	const char *name;
	struct octets value;
	const char *type; /* NULL: none */
};

struct https_exchange {
	const char *url;
	const char *host; /* connect to this host, at `port`, and go on expecting the name in the URL; NULL: to that itself */
	uint16_t port;
	const struct https_field *fields; /* of a form to POST; NULL: GET */
	size_t field_count;
	const char *accept; /* media type, may be NULL */

	/* the answer */
	struct writer *body;
	long status;
	const char *type;	/* valid until the next exchange; may be NULL */
	unsigned retry_after_s; /* 0: not given */
};

/*
 * -EHOSTUNREACH, -ECONNREFUSED, -ETIMEDOUT: not reached; -EKEYREJECTED: not the right name or no trusted root, nothing was sent;
 * others. `reason` receives one sentence.
 */
int https_exchange(struct https *https, struct https_exchange *exchange, char reason[static PROVISION_REASON_SIZE]);

/* Is it one of the first three, so that another server may be tried? */
bool https_not_reached(int error);

bool https_has_type(const struct https_exchange *exchange, const char *wanted);

/* Host and port of an https URL. -EINVAL. */
int https_url_host(const char *url, char host[static HTTPS_HOST_SIZE], uint16_t *ret_port);

/* The same URL with another host, at the standard port. -EINVAL. */
int https_url_with_host(const char *url, const char *host, char ret[static HTTPS_URL_SIZE]);
