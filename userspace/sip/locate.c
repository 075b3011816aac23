/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which servers a SIP URI stands for (RFC 3263 4): transport and port from NAPTR and SRV records, addresses from A and AAAA
 * records, in the order in which they are to be tried. Whatever the DNS says, there are at most SIP_TARGETS of them, and a bounded
 * number of questions.
 */
#include "sip/proxy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

enum { SERVICES = 3, FAMILIES = 2, ADDRESSES = 4 /* of one host and family */ };

/* An SRV name to ask for. */
struct service {
	struct sip_locate *locate;
	enum sip_transport transport;
	char name[DNS_NAME_SIZE];
	struct dns_question *question;
	struct dns_record records[DNS_RECORDS];
	size_t count;
};

/* A host with a port, of which addresses are asked for. */
struct host {
	struct sip_locate *locate;
	enum sip_transport transport;
	uint16_t port;
	char name[DNS_NAME_SIZE];
	struct dns_question *questions[FAMILIES];
	struct address addresses[FAMILIES][ADDRESSES];
	size_t counts[FAMILIES];
};

struct sip_locate {
	struct sip_gateway *gateway;
	sip_located done;
	void *userdata;
	char name[DNS_NAME_SIZE]; /* of the domain asked for */
	bool secure;		  /* sips */
	bool failed;		  /* a name server did not answer */
	struct dns_question *question;
	struct service services[SERVICES];
	struct host hosts[SIP_TARGETS];
	size_t service_count, host_count, waiting;
	struct timer timer; /* begins */
};

struct sip_locate *sip_locate_free(struct sip_locate *locate) {
	if (!locate)
		return NULL;
	dns_question_free(locate->question);
	for (size_t i = 0; i < locate->service_count; i++)
		dns_question_free(locate->services[i].question);
	for (size_t i = 0; i < locate->host_count; i++)
		for (size_t family = 0; family < FAMILIES; family++)
			dns_question_free(locate->hosts[i].questions[family]);
	timer_disarm(locate->gateway->runtime, &locate->timer);
	locate->gateway->locate_count--;
	free(locate);
	return NULL;
}

static void end(struct sip_locate *locate, int error, const struct sip_hop *hops, size_t count) {
	sip_located done = locate->done;
	void *userdata = locate->userdata;

	sip_locate_free(locate);
	done(userdata, error, hops, count);
}

/* --- addresses --- */

static int family_of(size_t index) {
	return index == 0 ? AF_INET6 : AF_INET;
}

static bool has_listener(const struct sip_gateway *gateway, int family) {
	for (size_t i = 0; i < gateway->listener_count; i++)
		if (gateway->listeners[i].address.family == family)
			return true;
	return false;
}

static void finish(struct sip_locate *locate) {
	struct sip_hop hops[SIP_TARGETS];
	size_t count = 0;

	for (size_t i = 0; i < locate->host_count; i++) {
		const struct host *host = &locate->hosts[i];
		for (size_t family = 0; family < FAMILIES; family++)
			for (size_t at = 0; at < host->counts[family] && count < SIP_TARGETS; at++) {
				struct sip_hop *hop = &hops[count];
				*hop = (struct sip_hop){
					.transport = host->transport, .address = host->addresses[family][at], .flow.fd = -1};
				hop->address.port = host->port;
				snprintf(hop->identity, sizeof(hop->identity), "%s", locate->name); /* RFC 5922 4 */
				/* Not where the system knows no way to, as to IPv6 addresses from many sites. */
				if (sip_hop_possible(&hop->address))
					count++;
			}
	}
	end(locate, count > 0 ? 0 : locate->failed ? -EAGAIN : -EHOSTUNREACH, hops, count);
}

static void take_addresses(struct host *host, size_t family, const struct dns_answer *answer) {
	struct sip_locate *locate = host->locate;

	host->questions[family] = NULL;
	locate->failed |= answer->error < 0;
	for (size_t i = 0; i < answer->count && host->counts[family] < ADDRESSES; i++)
		host->addresses[family][host->counts[family]++] = answer->records[i].address;
	if (--locate->waiting == 0)
		finish(locate);
}

static void on_ipv6(void *userdata, const struct dns_answer *answer) {
	take_addresses(userdata, 0, answer);
}

static void on_ipv4(void *userdata, const struct dns_answer *answer) {
	take_addresses(userdata, 1, answer);
}

static void ask_hosts(struct sip_locate *locate) {
	for (size_t i = 0; i < locate->host_count; i++) {
		struct host *host = &locate->hosts[i];
		for (size_t family = 0; family < FAMILIES; family++) {
			if (!has_listener(locate->gateway, family_of(family)))
				continue;
			int error = dns_ask(locate->gateway->dns, host->name, family == 0 ? DNS_AAAA : DNS_A,
					    family == 0 ? on_ipv6 : on_ipv4, host, &host->questions[family]);
			locate->waiting += error == 0;
			locate->failed |= error < 0 && error != -EINVAL;
		}
	}
	if (locate->waiting == 0)
		finish(locate);
}

static void add_host(struct sip_locate *locate, const char *name, uint16_t port, enum sip_transport transport) {
	if (locate->host_count == SIP_TARGETS)
		return;
	struct host *host = &locate->hosts[locate->host_count++];
	*host = (struct host){.locate = locate, .transport = transport, .port = port};
	snprintf(host->name, sizeof(host->name), "%s", name);
}

/* The domain is a host itself (RFC 3263 4.2). */
static void use_domain(struct sip_locate *locate, enum sip_transport transport) {
	add_host(locate, locate->name, transport == SIP_TLS ? 5061 : 5060, transport);
	ask_hosts(locate);
}

/* --- SRV --- */

/* Among those of one priority each is the next with a chance of its weight (RFC 2782). */
static size_t pick(struct runtime *runtime, const struct dns_record *records, size_t count) {
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += records[i].preference;
	uint64_t at = runtime_random_below(runtime, sum + 1), passed = 0;
	for (size_t i = 0; i < count; i++) {
		passed += records[i].preference;
		if (passed >= at)
			return i;
	}
	return 0;
}

static int compare_srv(const void *a, const void *b) {
	const struct dns_record *left = a, *right = b;

	if (left->order != right->order)
		return left->order < right->order ? -1 : 1;
	return (left->preference != 0) -
	       (right->preference != 0); /* those of weight 0 first, so that they have their small chance */
}

void sip_srv_order(struct runtime *runtime, struct dns_record *records, size_t count) {
	qsort(records, count, sizeof(*records), compare_srv);
	for (size_t i = 0; i < count; i++) {
		size_t same = 1;
		while (i + same < count && records[i + same].order == records[i].order)
			same++;
		size_t chosen = i + pick(runtime, &records[i], same);
		struct dns_record next = records[chosen];
		memmove(&records[i + 1], &records[i], (chosen - i) * sizeof(next));
		records[i] = next;
	}
}

static void use_services(struct sip_locate *locate) {
	bool any = false;

	for (size_t i = 0; i < locate->service_count; i++) {
		struct service *service = &locate->services[i];
		sip_srv_order(locate->gateway->runtime, service->records, service->count);
		any |= service->count > 0;
		for (size_t at = 0; at < service->count; at++)
			if (service->records[at].name[0] && service->records[at].port != 0) /* "." is: not here */
				add_host(locate, service->records[at].name, service->records[at].port, service->transport);
	}
	if (any)
		ask_hosts(locate);
	else
		use_domain(locate, locate->service_count == 1 ? locate->services[0].transport : locate->secure ? SIP_TLS : SIP_UDP);
}

static void on_service(void *userdata, const struct dns_answer *answer) {
	struct service *service = userdata;
	struct sip_locate *locate = service->locate;

	service->question = NULL;
	locate->failed |= answer->error < 0;
	service->count = answer->count;
	memcpy(service->records, answer->records, answer->count * sizeof(answer->records[0]));
	if (--locate->waiting == 0)
		use_services(locate);
}

static void ask_services(struct sip_locate *locate) {
	for (size_t i = 0; i < locate->service_count; i++) {
		struct service *service = &locate->services[i];
		int error = dns_ask(locate->gateway->dns, service->name, DNS_SRV, on_service, service, &service->question);
		locate->waiting += error == 0;
		locate->failed |= error < 0 && error != -EINVAL;
	}
	if (locate->waiting == 0)
		use_services(locate);
}

static void add_service(struct sip_locate *locate, enum sip_transport transport, const char *name) {
	if (locate->service_count == SERVICES)
		return;
	struct service *service = &locate->services[locate->service_count++];
	*service = (struct service){.locate = locate, .transport = transport};
	if (name)
		snprintf(service->name, sizeof(service->name), "%s", name);
	else
		snprintf(service->name, sizeof(service->name), "%s.%.240s",
			 transport == SIP_TLS	? "_sips._tcp"
			 : transport == SIP_TCP ? "_sip._tcp"
						: "_sip._udp",
			 locate->name);
}

/* --- NAPTR --- */

static bool transport_of_service(const struct sip_locate *locate, const struct dns_record *record, enum sip_transport *ret) {
	if (strcmp(record->flags, "S") != 0 || record->regexp || !record->name[0])
		return false;
	if (strcmp(record->service, "SIPS+D2T") == 0)
		*ret = SIP_TLS;
	else if (!locate->secure && strcmp(record->service, "SIP+D2T") == 0)
		*ret = SIP_TCP;
	else if (!locate->secure && strcmp(record->service, "SIP+D2U") == 0)
		*ret = SIP_UDP;
	else
		return false; /* sips goes over TLS only (RFC 3263 4.1); SCTP and others we have not */
	return true;
}

static int compare_naptr(const void *a, const void *b) {
	const struct dns_record *left = a, *right = b;

	if (left->order != right->order)
		return left->order < right->order ? -1 : 1;
	return (left->preference > right->preference) - (left->preference < right->preference);
}

/* Of the lowest order that has anything for us, by preference (RFC 3403 4.1). */
static void use_naptr(struct sip_locate *locate, const struct dns_answer *answer) {
	struct dns_record records[DNS_RECORDS];
	enum sip_transport transport;
	int order = -1;

	memcpy(records, answer->records, answer->count * sizeof(records[0]));
	qsort(records, answer->count, sizeof(records[0]), compare_naptr);
	for (size_t i = 0; i < answer->count; i++) {
		if (!transport_of_service(locate, &records[i], &transport) || (order >= 0 && records[i].order != order))
			continue;
		order = records[i].order;
		add_service(locate, transport, records[i].name);
	}
}

static void on_naptr(void *userdata, const struct dns_answer *answer) {
	struct sip_locate *locate = userdata;

	locate->question = NULL;
	if (answer->error == 0 && answer->count > 0)
		use_naptr(locate, answer);
	if (locate->service_count == 0 && locate->secure) {
		add_service(locate, SIP_TLS, NULL);
	} else if (locate->service_count == 0) {
		add_service(locate, SIP_UDP, NULL);
		add_service(locate, SIP_TCP, NULL);
	}
	ask_services(locate);
}

/* --- the URI --- */

static void begin(struct timer *timer, void *userdata) {
	struct sip_locate *locate = userdata;

	(void)timer;
	if (locate->host_count > 0) {
		ask_hosts(locate);
		return;
	}
	if (locate->service_count > 0) {
		ask_services(locate);
		return;
	}
	int error = dns_ask(locate->gateway->dns, locate->name, DNS_NAPTR, on_naptr, locate, &locate->question);
	if (error < 0)
		end(locate, error == -EINVAL ? -EHOSTUNREACH : -EAGAIN, NULL, 0);
}

int sip_locate(struct sip_gateway *gateway, const osip_uri_t *uri, sip_located done, void *userdata, struct sip_locate **ret) {
	char domain[SIP_AOR_OCTETS + 1];
	enum sip_transport transport;
	uint16_t port;

	if (!uri_is_sip(uri))
		return -EPROTONOSUPPORT;
	int error = sip_uri_transport(uri, &transport);
	if (error == 0)
		error = sip_uri_port(uri, transport, &port);
	if (error != 0)
		return error;
	if (!gateway->dns || uri_domain(uri, domain) < 0 || strchr(domain, ':'))
		return -EHOSTUNREACH;
	if (gateway->locate_count >= SIP_LOCATES)
		return -ENOBUFS;
	struct sip_locate *locate = calloc(1, sizeof(*locate));
	if (!locate)
		return -ENOMEM;
	*locate = (struct sip_locate){.gateway = gateway, .done = done, .userdata = userdata, .secure = uri_is_secure(uri)};
	gateway->locate_count++;
	snprintf(locate->name, sizeof(locate->name), "%s", domain);
	if (uri->port && *uri->port)
		add_host(locate, domain, port, transport); /* RFC 3263 4.2: a port leaves nothing for SRV to say */
	else if (sip_parameter(&uri->url_params, "transport"))
		add_service(locate, transport, NULL);
	/* What follows may end at once, and `done` is not called from within. */
	timer_init(&locate->timer, begin, locate);
	timer_arm(gateway->runtime, &locate->timer, gateway->runtime->now_us);
	*ret = locate;
	return 0;
}
