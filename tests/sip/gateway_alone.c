/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The SIP gateway without an overlay: what phones register is kept in memory. For trying the scenarios of this folder and for
 * measuring; see run-scenarios.
 *
 *     gateway-alone [-l ADDRESS | -a HOST]... [-d DOMAIN] [-u USER]... [-p PASSWORD] [-m] [-w MILLISECONDS] [-x]
 *
 * -a listens on any free port and prints which, -w answers after a while, -x answers as if the overlay could not be reached.
 * With -p every user has that password, -m offers MD5 alone. Without -u every user may register.
 */
#include "base/cleanup.h"
#include "base/log.h"
#include "sip/gateway.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <utlist.h>

enum { USERS = 16, CONTACTS = 16 };

struct entry {
	char *aor, *contact;
	unsigned expires_s;
	struct entry *previous, *next;
};

struct question {
	struct alone *alone;
	char *aor;
	sip_register_done bound;
	sip_resolve_answer resolved;
	void *userdata;
	struct timer timer;
};

struct alone {
	struct runtime runtime;
	struct sip_gateway *gateway;
	struct sip_gateway_settings settings;
	const char *domain, *password, *users[USERS];
	size_t user_count;
	unsigned wait_ms;
	bool unreachable;
	struct entry *entries;
	int epoll;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number) {
	(void)number;
	stopped = 1;
}

static struct entry *entry_find(struct alone *alone, const char *aor, const char *contact) {
	for (struct entry *entry = alone->entries; entry; entry = entry->next)
		if (strcmp(entry->aor, aor) == 0 && strcmp(entry->contact, contact) == 0)
			return entry;
	return NULL;
}

static void entry_remove(struct alone *alone, struct entry *entry) {
	DL_DELETE2(alone->entries, entry, previous, next);
	free(entry->aor);
	free(entry->contact);
	free(entry);
}

static void entry_put(struct alone *alone, const struct sip_binding_request *request) {
	struct entry *entry = entry_find(alone, request->aor, request->contact);

	if (entry)
		entry_remove(alone, entry);
	if (request->expires_s == 0)
		return;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		abort();
	entry->aor = strdup(request->aor);
	entry->contact = strdup(request->contact);
	entry->expires_s = request->expires_s;
	DL_APPEND2(alone->entries, entry, previous, next);
}

static void answer_resolve(const struct question *question) {
	struct sip_redirect_contact contacts[CONTACTS];
	size_t count = 0;

	for (const struct entry *entry = question->alone->entries; entry && count < CONTACTS; entry = entry->next)
		if (strcmp(entry->aor, question->aor) == 0)
			contacts[count++] = (struct sip_redirect_contact){.uri = entry->contact, .expires_s = entry->expires_s};
	question->resolved(question->userdata, count > 0 ? 302 : 404, contacts, count, 0);
}

static void answer(struct timer *timer, void *userdata) {
	struct question *question = userdata;

	(void)timer;
	if (question->bound)
		question->bound(question->userdata, question->alone->unreachable ? 503 : 200, "Overlay Not Reachable");
	else if (question->alone->unreachable)
		question->resolved(question->userdata, 503, NULL, 0, 30);
	else
		answer_resolve(question);
	free(question->aor);
	free(question);
}

static void ask(struct alone *alone, const char *aor, sip_register_done bound, sip_resolve_answer resolved, void *userdata) {
	struct question *question = calloc(1, sizeof(*question));

	if (!question)
		abort();
	*question =
		(struct question){.alone = alone, .aor = strdup(aor), .bound = bound, .resolved = resolved, .userdata = userdata};
	timer_init(&question->timer, answer, question);
	timer_arm_after(&alone->runtime, &question->timer, alone->wait_ms * USEC_PER_MSEC);
}

static void on_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	struct alone *alone = userdata;

	if (!alone->unreachable)
		entry_put(alone, request);
	ask(alone, request->aor, done, NULL, done_userdata);
}

static void on_resolve(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	ask(userdata, aor, NULL, done, done_userdata);
}

static bool on_domain(void *userdata, const char *domain) {
	const struct alone *alone = userdata;

	return strcmp(domain, alone->domain) == 0;
}

static bool on_user(void *userdata, const char *aor) {
	const struct alone *alone = userdata;
	size_t length = strcspn(aor, "@");

	for (size_t i = 0; i < alone->user_count; i++)
		if (strlen(alone->users[i]) == length && strncmp(alone->users[i], aor, length) == 0)
			return true;
	return alone->user_count == 0;
}

static bool on_secret(void *userdata, const char *username, const char *realm, enum sip_digest algorithm,
		      char ret[static SIP_DIGEST_SIZE]) {
	const struct alone *alone = userdata;

	return digest_ha1(algorithm, username, realm, alone->password, ret) == 0;
}

static bool on_allowed(void *userdata, const struct address *source) {
	(void)userdata;
	(void)source;
	return true;
}

static void on_watch(void *userdata, int fd, unsigned events) {
	const struct alone *alone = userdata;
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (events == 0)
		epoll_ctl(alone->epoll, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(alone->epoll, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST)
		epoll_ctl(alone->epoll, EPOLL_CTL_MOD, fd, &event);
}

static int timeout_ms(const struct alone *alone) {
	uint64_t next_us = runtime_next(&alone->runtime), now_us = clock_monotonic_us();

	if (next_us == USEC_NEVER)
		return 1000;
	return next_us <= now_us ? 0 : (int)((next_us - now_us) / USEC_PER_MSEC + 1);
}

static void loop(struct alone *alone) {
	struct epoll_event events[32];

	while (!stopped) {
		int count = epoll_wait(alone->epoll, events, ARRAY_LENGTH(events), timeout_ms(alone));
		alone->runtime.now_us = clock_monotonic_us();
		for (int i = 0; i < count; i++)
			sip_gateway_ready(alone->gateway, events[i].data.fd, events[i].events);
		runtime_fire(&alone->runtime);
	}
}

static int parse_options(int argc, char **argv, struct alone *alone) {
	for (int option; (option = getopt(argc, argv, "l:a:d:u:p:mw:x")) != -1;) {
		size_t *listen_count = &alone->settings.listen_count;
		if ((option == 'l' || option == 'a') && *listen_count < SIP_LISTENERS &&
		    address_parse(optarg, option == 'l' ? 5060 : 0, &alone->settings.listen[*listen_count]) == 0)
			++*listen_count;
		else if (option == 'd')
			alone->domain = optarg;
		else if (option == 'u' && alone->user_count < USERS)
			alone->users[alone->user_count++] = optarg;
		else if (option == 'p')
			alone->password = optarg;
		else if (option == 'm')
			alone->settings.digests = 1u << SIP_DIGEST_MD5;
		else if (option == 'w')
			alone->wait_ms = (unsigned)strtoul(optarg, NULL, 10);
		else if (option == 'x')
			alone->unreachable = true;
		else
			return -EINVAL;
	}
	if (alone->settings.listen_count == 0)
		return address_parse("127.0.0.1:5060", 5060, &alone->settings.listen[alone->settings.listen_count++]);
	return 0;
}

int main(int argc, char **argv) {
	struct alone alone = {.runtime.source = runtime_source_system(), .domain = "example.org"};
	struct sip_gateway_events events = {
		.userdata = &alone,
		.bind = on_bind,
		.resolve = on_resolve,
		.domain = on_domain,
		.user = on_user,
		.allowed = on_allowed,
	};
	char reason[256] = "no memory", text[ADDRESS_TEXT_SIZE];
	struct sip_figures figures;
	struct address address;

	log_open("gateway-alone");
	if (parse_options(argc, argv, &alone) < 0) {
		fprintf(stderr, "usage: gateway-alone [-l ADDRESS | -a HOST]... [-d DOMAIN] [-u USER]... [-p PASSWORD] [-m] [-w "
				"MILLISECONDS] [-x]\n");
		return 2;
	}
	events.secret = alone.password ? on_secret : NULL;
	alone.runtime.now_us = clock_monotonic_us();
	alone.settings.runtime = &alone.runtime;
	if (sip_gateway_new(&alone.settings, &events, &alone.gateway, reason, sizeof(reason)) < 0) {
		fprintf(stderr, "gateway-alone: %s\n", reason);
		return 1;
	}
	alone.epoll = epoll_create1(EPOLL_CLOEXEC);
	sip_gateway_set_watch(alone.gateway, on_watch, &alone);
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	for (size_t i = 0; sip_gateway_address(alone.gateway, i, &address) == 0; i++)
		printf("%s\n", address_format(&address, text));
	fflush(stdout);
	loop(&alone);
	sip_gateway_figures(alone.gateway, &figures);
	printf("%lu requests, %lu 2xx, %lu 3xx, %lu 4xx, %lu 5xx, %lu malformed, %lu dropped\n", (unsigned long)figures.requests,
	       (unsigned long)figures.responses_2xx, (unsigned long)figures.responses_3xx, (unsigned long)figures.responses_4xx,
	       (unsigned long)figures.responses_5xx, (unsigned long)figures.malformed, (unsigned long)figures.dropped);
	sip_gateway_free(alone.gateway);
	while (alone.runtime.timers) { /* questions that wait for their answer */
		alone.runtime.now_us = runtime_next(&alone.runtime);
		runtime_fire(&alone.runtime);
	}
	while (alone.entries)
		entry_remove(&alone, alone.entries);
	close(alone.epoll);
	return 0;
}
