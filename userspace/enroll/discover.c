/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/discover.h"

#include "base/cleanup.h"

/* The functions that replace those of Debian 12 came only later. */
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <poll.h>
#include <string.h>

enum { NAME_MAX_OCTETS = 230 /* so that the service fits in front */, ATTEMPT_MS = 2500, ATTEMPTS = 2 };

struct query {
	bool done;
	int status; /* of c-ares */
	struct discover_target records[DISCOVER_RECORDS_MAX];
	size_t count;
	bool refused; /* a target of "." */
};

bool discover_name_usable(const char *name) {
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
	size_t length = strlen(name);

	return length > 0 && length <= NAME_MAX_OCTETS && strspn(name, allowed) == length && name[0] != '.' && name[0] != '-' &&
	       !strstr(name, "..");
}

/* ---- the order ---- */

static void swap(struct discover_target *a, struct discover_target *b) {
	struct discover_target copy = *a;

	*a = *b;
	*b = copy;
}

/* Those of weight 0 first, so that they are picked only when the random number is 0, rarely but not never. */
static bool comes_before(const struct discover_target *a, const struct discover_target *b) {
	return a->priority != b->priority ? a->priority < b->priority : a->weight == 0 && b->weight != 0;
}

void discover_order(struct runtime *runtime, struct discover_target *targets, size_t count) {
	for (size_t i = 1; i < count; i++)
		for (size_t j = i; j > 0 && comes_before(&targets[j], &targets[j - 1]); j--)
			swap(&targets[j], &targets[j - 1]);
	for (size_t i = 0; i < count; i++) {
		uint64_t sum = 0, running = 0;
		size_t end = i, pick;

		for (; end < count && targets[end].priority == targets[i].priority; end++)
			sum += targets[end].weight;
		uint64_t chosen = runtime_random_below(runtime, sum + 1);
		for (pick = i; pick < end; pick++) {
			running += targets[pick].weight;
			if (running >= chosen)
				break;
		}
		/* The others keep their order. */
		for (; pick > i; pick--)
			swap(&targets[pick], &targets[pick - 1]);
	}
}

/* ---- the question ---- */

static void add_record(struct query *query, const struct ares_srv_reply *record) {
	struct discover_target *target = &query->records[query->count];
	size_t length = strlen(record->host);

	if (length == 0 || strcmp(record->host, ".") == 0) {
		query->refused = true;
		return;
	}
	if (record->host[length - 1] == '.')
		length--;
	if (length >= sizeof(target->host) || record->port == 0 || query->count == DISCOVER_RECORDS_MAX)
		return;
	memcpy(target->host, record->host, length);
	target->host[length] = 0;
	if (!discover_name_usable(target->host))
		return;
	target->port = record->port;
	target->priority = record->priority;
	target->weight = record->weight;
	query->count++;
}

static void on_answer(void *userdata, int status, int timeouts, unsigned char *answer, int length) {
	struct query *query = userdata;
	struct ares_srv_reply *records = NULL;

	(void)timeouts;
	query->done = true;
	query->status = status;
	if (status != ARES_SUCCESS)
		return;
	query->status = ares_parse_srv_reply(answer, length, &records);
	for (const struct ares_srv_reply *record = records; query->status == ARES_SUCCESS && record; record = record->next)
		add_record(query, record);
	ares_free_data(records);
}

static int wait_some(ares_channel channel, uint64_t until_us) {
	ares_socket_t sockets[ARES_GETSOCK_MAXNUM];
	struct pollfd fds[ARES_GETSOCK_MAXNUM];
	unsigned bits = (unsigned)ares_getsock(channel, sockets, ARES_GETSOCK_MAXNUM);
	uint64_t now_us = clock_monotonic_us();
	nfds_t count = 0;

	if (now_us >= until_us)
		return -ETIMEDOUT;
	for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; i++) {
		/* As ARES_GETSOCK_READABLE() and _WRITABLE(), which shift a signed 1 into the sign. */
		short events = (short)((bits >> i & 1 ? POLLIN : 0) | (bits >> (i + ARES_GETSOCK_MAXNUM) & 1 ? POLLOUT : 0));
		if (events)
			fds[count++] = (struct pollfd){.fd = sockets[i], .events = events};
	}
	struct timeval limit = {(time_t)((until_us - now_us) / USEC_PER_SEC), (suseconds_t)((until_us - now_us) % USEC_PER_SEC)},
		       next;
	const struct timeval *wait = ares_timeout(channel, &limit, &next);
	if (poll(fds, count, (int)(wait->tv_sec * 1000 + wait->tv_usec / 1000 + 1)) < 0 && errno != EINTR)
		return -errno;
	for (nfds_t i = 0; i < count; i++)
		ares_process_fd(channel, fds[i].revents & ~POLLOUT ? fds[i].fd : ARES_SOCKET_BAD,
				fds[i].revents & POLLOUT ? fds[i].fd : ARES_SOCKET_BAD);
	ares_process_fd(channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD); /* what timed out */
	return 0;
}

static int ask(const char *name, struct query *query) {
	struct ares_options options = {.timeout = ATTEMPT_MS, .tries = ATTEMPTS};
	uint64_t until_us = clock_monotonic_us() + DISCOVER_SECONDS * USEC_PER_SEC;
	ares_channel channel;
	int error = 0;

	query->status = ares_library_init(ARES_LIB_INIT_ALL);
	if (query->status != ARES_SUCCESS)
		return -EIO;
	query->status = ares_init_options(&channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
	if (query->status == ARES_SUCCESS) {
		ares_query(channel, name, ns_c_in, ns_t_srv, on_answer, query);
		while (!query->done && error == 0)
			error = wait_some(channel, until_us);
		ares_destroy(channel); /* calls back what is still open */
	}
	ares_library_cleanup();
	return error;
}

int discover(const char *overlay_name, struct runtime *runtime, struct discover_target targets[static DISCOVER_TARGETS_MAX],
	     size_t *ret_count, char reason[static DISCOVER_REASON_SIZE]) {
	_cleanup_free_ struct query *query = calloc(1, sizeof(*query));
	char name[DISCOVER_HOST_SIZE];

	if (!query) {
		snprintf(reason, DISCOVER_REASON_SIZE, "out of memory");
		return -ENOMEM;
	}
	if (!discover_name_usable(overlay_name)) {
		snprintf(reason, DISCOVER_REASON_SIZE, "it is not the name of a domain");
		return -EINVAL;
	}
	snprintf(name, sizeof(name), "_reload-config._tcp.%s", overlay_name); /* B-11.2-01 */
	int error = ask(name, query);
	*ret_count = 0;
	if (error == 0 && (query->status == ARES_ENOTFOUND || query->status == ARES_ENODATA))
		return 0;
	if (error == 0 && query->status == ARES_ETIMEOUT)
		error = -ETIMEDOUT;
	if (error < 0 || query->status != ARES_SUCCESS) {
		snprintf(reason, DISCOVER_REASON_SIZE, "the SRV records %.150s cannot be had: %.60s", name,
			 error == -ETIMEDOUT ? "no name server answered" : ares_strerror(query->status));
		return error < 0 ? error : -EIO;
	}
	if (query->count == 0 && query->refused) {
		snprintf(reason, DISCOVER_REASON_SIZE, "the domain says that it has no configuration server (%.150s SRV .)", name);
		return -ENODATA;
	}
	discover_order(runtime, query->records, query->count);
	*ret_count = query->count < DISCOVER_TARGETS_MAX ? query->count : DISCOVER_TARGETS_MAX;
	memcpy(targets, query->records, *ret_count * sizeof(targets[0]));
	return 0;
}
