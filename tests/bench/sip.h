/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the benchmarks of SIP share: a gateway in a process of its own, with its database as in the daemon and an overlay that takes
 * everything at once, and a socket that asks it.
 */
#pragma once

#include "base/cleanup.h"
#include "base/log.h"
#include "node/location.h"
#include "node/phones.h"
#include "sip/gateway.h"

#include <dirent.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HELPER static __attribute__((unused))

static char directory[] = "/tmp/ringgate-bench.XXXXXX";

static volatile sig_atomic_t ended;

static void on_signal(int number) {
	(void)number;
	ended = 1;
}

static void die(const char *what) {
	fprintf(stderr, "bench_sip: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- the gateway ---- */

/* What the gateway's process holds of its heap, when it is asked. */
struct heap {
	atomic_bool wanted;
	uint64_t octets;
};

static struct heap *heap;

HELPER void tell_heap(void) {
	if (!heap || !atomic_load(&heap->wanted))
		return;
	heap->octets = mallinfo2().uordblks;
	atomic_store(&heap->wanted, false);
}

struct server {
	struct runtime runtime;
	struct sip_gateway *gateway;
	struct phones *phones;
	struct location *location;
	int epoll;
};

/* The overlay takes everything at once. */
struct question {
	struct server *server;
	char aor[64];
	sip_register_done bound;
	sip_resolve_answer resolved;
	void *userdata;
	struct timer timer;
};

HELPER void answer(struct timer *timer, void *userdata) {
	struct question *question = userdata;
	struct sip_redirect_contact contacts[SIP_CONTACTS_PER_AOR];

	(void)timer;
	if (question->bound) {
		location_forget(question->server->location, question->aor);
		question->bound(question->userdata, 200, "OK");
	} else {
		size_t count = sip_gateway_contacts(question->server->gateway, question->aor, contacts, ARRAY_LENGTH(contacts));
		question->resolved(question->userdata, count > 0 ? 302 : 404, contacts, count, 0);
	}
	free(question);
}

HELPER void ask(struct server *server, const char *aor, sip_register_done bound, sip_resolve_answer resolved, void *userdata) {
	struct question *question = malloc(sizeof(*question));

	if (!question)
		abort();
	*question = (struct question){.server = server, .bound = bound, .resolved = resolved, .userdata = userdata};
	snprintf(question->aor, sizeof(question->aor), "%s", aor);
	timer_init(&question->timer, answer, question);
	timer_arm_after(&server->runtime, &question->timer, 0);
}

HELPER void overlay_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	ask(userdata, request->aor, done, NULL, done_userdata);
}

HELPER void overlay_ask(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	ask(userdata, aor, NULL, done, done_userdata);
}

HELPER void on_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	phones_bind(((struct server *)userdata)->phones, request, done, done_userdata);
}

HELPER void on_resolve(void *userdata, const char *aor, sip_resolve_answer done, void *done_userdata) {
	location_resolve(((struct server *)userdata)->location, aor, done, done_userdata);
}

HELPER bool on_domain(void *userdata, const char *domain) {
	(void)userdata;
	return strcmp(domain, "example.org") == 0;
}

HELPER bool on_user(void *userdata, const char *aor) {
	(void)userdata;
	(void)aor;
	return true;
}

HELPER void on_watch(void *userdata, int fd, unsigned events) {
	const struct server *server = userdata;
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (events == 0)
		epoll_ctl(server->epoll, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		epoll_ctl(server->epoll, EPOLL_CTL_MOD, fd, &event);
}

HELPER int timeout_ms(const struct server *server) {
	uint64_t next_us = runtime_next(&server->runtime), now_us = clock_monotonic_us();

	if (next_us == USEC_NEVER)
		return 1000;
	return next_us <= now_us ? 0 : (int)((next_us - now_us) / USEC_PER_MSEC + 1);
}

/* As the daemon does it: events, timers that are due, then what is to be committed. */
HELPER void serve(uint16_t port, enum sip_mode mode, bool (*allowed)(void *userdata, const struct address *source)) {
	struct server server = {.runtime.source = runtime_source_system(), .epoll = epoll_create1(EPOLL_CLOEXEC)};
	const struct sip_gateway_events events = {
		.userdata = &server,
		.bind = on_bind,
		.resolve = on_resolve,
		.domain = on_domain,
		.user = on_user,
		.allowed = allowed,
	};
	struct sip_gateway_settings settings = {.runtime = &server.runtime, .listen_count = 1, .mode = mode};
	const struct location_settings location = {
		.runtime = &server.runtime, .seconds = 10, .userdata = &server, .ask = overlay_ask};
	char reason[PHONES_REASON_SIZE] = "", path[128];
	struct epoll_event ready[32];

	snprintf(path, sizeof(path), "%s/phones.db", directory);
	const struct phones_settings phones = {.runtime = &server.runtime, .path = path, .userdata = &server, .bind = overlay_bind};
	server.runtime.now_us = clock_monotonic_us();
	if (address_parse("127.0.0.1", port, &settings.listen[0]) < 0 ||
	    sip_gateway_new(&settings, &events, &server.gateway, reason, sizeof(reason)) < 0 ||
	    phones_new(&phones, &server.phones, reason) < 0 || location_new(&location, &server.location) < 0) {
		fprintf(stderr, "bench_sip: %s\n", reason);
		_exit(1);
	}
	sip_gateway_set_watch(server.gateway, on_watch, &server);
	for (;;) {
		int count = epoll_wait(server.epoll, ready, ARRAY_LENGTH(ready), timeout_ms(&server));
		server.runtime.now_us = clock_monotonic_us();
		for (int i = 0; i < count; i++)
			sip_gateway_ready(server.gateway, ready[i].data.fd, ready[i].events);
		runtime_fire(&server.runtime);
		if (phones_commit_wanted(server.phones))
			phones_commit(server.phones);
		tell_heap();
	}
}

/* ---- processes ---- */

HELPER pid_t start(void (*run)(uint16_t port), uint16_t port) {
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		signal(SIGTERM, SIG_DFL);
		signal(SIGINT, SIG_DFL);
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* Kamailio's own processes go with the group, see stop() */
		setpgid(0, 0);
		run(port);
		_exit(1);
	}
	setpgid(child, child);
	return child;
}

HELPER void stop(pid_t child) {
	if (child <= 0)
		return;
	kill(-child, SIGKILL);
	while (waitpid(-child, NULL, 0) > 0 || errno == EINTR)
		;
}

HELPER pid_t group_of(pid_t pid) {
	char path[64];
	int group = 0;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	_cleanup_fclose_ FILE *file = fopen(path, "r");
	return file && fscanf(file, "%*d (%*[^)]) %*c %*d %d", &group) == 1 ? group : 0;
}

/* Nanoseconds of CPU of all processes of a group, by the scheduler's books. */
HELPER uint64_t cpu_of_group(pid_t group) {
	DIR *proc = opendir("/proc");
	uint64_t sum = 0;

	if (!proc)
		die("/proc");
	for (struct dirent *entry; (entry = readdir(proc));) {
		pid_t pid = (pid_t)atoi(entry->d_name);
		char path[64];
		unsigned long long spent = 0;
		if (pid <= 0 || group_of(pid) != group)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
		_cleanup_fclose_ FILE *file = fopen(path, "r");
		if (file && fscanf(file, "%llu", &spent) == 1)
			sum += spent;
	}
	closedir(proc);
	return sum;
}

HELPER long resident_octets(pid_t pid) {
	char path[64];
	long pages = 0;

	snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	_cleanup_fclose_ FILE *file = fopen(path, "r");
	return file && fscanf(file, "%*d %ld", &pages) == 1 ? pages * sysconf(_SC_PAGESIZE) : 0;
}

/* ---- sockets ---- */

struct load {
	int fd;
	uint16_t port;
	unsigned serial; /* of requests, ever */
};

HELPER void put(const struct load *load, const char *text, size_t length) {
	if (send(load->fd, text, length, 0) < 0 && errno != ECONNREFUSED)
		die("send");
}

/* From 127.0.0.`host` to a port of 127.0.0.1. */
HELPER struct load load_open_at(unsigned host, uint16_t port) {
	struct address address = {.family = AF_INET, .octets = {127, 0, 0, (uint8_t)host}};
	struct sockaddr_storage sockaddr;
	struct load load = {.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
	socklen_t length = address_to_sockaddr(&address, &sockaddr);

	if (load.fd < 0 || bind(load.fd, (struct sockaddr *)&sockaddr, length) < 0)
		die("socket");
	getsockname(load.fd, (struct sockaddr *)&sockaddr, &length);
	load.port = address_of_sockaddr((struct sockaddr *)&sockaddr).port;
	address.octets[3] = 1;
	address.port = port;
	length = address_to_sockaddr(&address, &sockaddr);
	if (connect(load.fd, (struct sockaddr *)&sockaddr, length) < 0)
		die("connect");
	return load;
}

HELPER struct load load_open(uint16_t port) {
	return load_open_at(1, port);
}

HELPER uint16_t free_port(void) {
	struct load load = load_open(9);

	close(load.fd);
	return load.port;
}
