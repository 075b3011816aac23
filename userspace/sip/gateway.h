/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIP for ordinary phones: registrar and redirector (RFC 3261, RFC 7890 5.2, RFC 7904) on the libosip2 parser and transaction
 * machines, over UDP and TCP.
 */
#pragma once

#include "base/address.h"
#include "base/runtime.h"

#include <stdbool.h>
#include <stddef.h>

struct sip_gateway;

struct sip_binding_request {
	const char *aor;                      /* "alice@example.org" */
	const char *contact;                  /* the Contact URI as the phone wrote it, without <> and header parameters */
	unsigned expires_s;                   /* 0: remove */
};

/* Status to answer a phone with: 200, 403 not allowed, 404 no such user here, 500, 503 overlay not reachable. */
typedef void (*sip_register_done)(void *userdata, unsigned status, const char *reason);

struct sip_redirect_contact {
	const char *uri;
	unsigned expires_s;
};
/* status: 302 with contacts, 404, 480, 503 (retry_after_s > 0), 482. */
typedef void (*sip_resolve_answer)(void *userdata, unsigned status, const struct sip_redirect_contact *contacts, size_t count,
				   unsigned retry_after_s);

/* What the gateway asks of the node; every call is answered exactly once, never from within the call. */
struct sip_gateway_events {
	void *userdata;
	void (*bind)(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata);
	void (*resolve)(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata);
	/* Is this a domain whose AoRs we serve? */
	bool (*domain)(void *userdata, const char *domain);
	/* May this user register here (a credential is provisioned)? */
	bool (*user)(void *userdata, const char *aor);
	/* May a phone at this address use the gateway? */
	bool (*allowed)(void *userdata, const struct address *source);
};

struct sip_gateway_settings {
	struct runtime *runtime;
	struct address listen[4];             /* UDP and TCP on each */
	size_t listen_count;
	unsigned expires_min_s, expires_default_s, expires_max_s; /* 0: 60, 3600, 86400 */
};

int sip_gateway_new(const struct sip_gateway_settings *settings, const struct sip_gateway_events *events, struct sip_gateway **ret,
		    char *reason, size_t reason_size);
struct sip_gateway *sip_gateway_free(struct sip_gateway *gateway);

/* Descriptors to wait for; the set changes as TCP connections come and go, so the driver gives a callback. `events` as in epoll. */
typedef void (*sip_watch)(void *userdata, int fd, unsigned events); /* events 0: stop watching; called before close() */
void sip_gateway_set_watch(struct sip_gateway *gateway, sip_watch watch, void *userdata);
void sip_gateway_ready(struct sip_gateway *gateway, int fd, unsigned events);

struct sip_binding_view {
	const char *aor, *contact, *source;
	unsigned expires_s;                   /* seconds left */
};
/* Calls back for every local binding. */
void sip_gateway_bindings(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_binding_view *), void *userdata);

struct sip_figures {
	uint64_t requests, responses_2xx, responses_3xx, responses_4xx, responses_5xx, malformed, dropped, bindings, tcp_connections;
};
void sip_gateway_figures(const struct sip_gateway *gateway, struct sip_figures *ret);
