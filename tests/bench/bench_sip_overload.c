/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A gateway that is offered twice what it can bear. First its sustainable rate is found: registrations and calls to be redirected,
 * half and half, come at an even pace, each once, and the highest rate at which for a second none is refused and none is lost is
 * the one. Then twice as many come for a few seconds, while calls that began before go on through the gateway, which places them:
 * each changes its session (re-INVITE) and hangs up (BYE) in the midst of it, repeated as RFC 3261 17.1 has it. Then half of the
 * sustainable rate goes on. The gateway has one processor for itself, the load comes from another one.
 *
 * sip_sustainable_per_second: requests, ACKs not counted; sip_overload_offered_per_second: what was really offered then.
 * sip_overload_served_percent, _refused_percent: of these, those served, and refused with 503 and Retry-After; the rest was
 * dropped by the full socket, or without an answer, and is what a phone would send again. sip_overload_goodput_percent: served, of
 * the sustainable rate. sip_overload_calls_kept_percent: calls of which both requests were answered 200;
 * sip_overload_in_dialog_p50_ms, _max_ms: how long that took. sip_overload_recovery_ms: from the fall of the load to the first
 * request after it that was served; sip_overload_refused_after: requests refused since.
 */
#include "sip.h"

#include <sched.h>

enum {
	USERS = 1000,
	CALLS = 40,
	CALLERS = 4, /* hosts outside, as of one only SIP_OUTSIDE_PER_HOST may begin in a second */
	WINDOW = 256,
	PROBE_REQUESTS = 60000,
	BATCH = 32,
	TEXT_OCTETS = 1536,
	FIRST_SERIAL = 1000000000, /* so that all have the same number of digits */
	STEP_PERCENT = 5,
	TRIAL_MS = 1000,
	OVERLOAD_MS = 4000,
	AFTER_MS = 1000,
	GRACE_MS = 1000, /* for answers that are still on their way */
	GIVE_UP_MS = 32000,
	SETUP_MS = 20000,
};

static pid_t child;

static bool on_allowed(void *userdata, const struct address *source) {
	(void)userdata;
	return source->octets[3] == 1; /* 127.0.0.1 is the site, its neighbors are not */
}

static void run_gateway(uint16_t port) {
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(1, &one);
	sched_setaffinity(0, sizeof(one), &one);
	serve(port, SIP_MODE_REDIRECT_INSIDE, on_allowed);
}

/* ---- load: written once, numbered each time ---- */

struct text {
	char octets[TEXT_OCTETS];
	size_t length, branch, cseq, call_id; /* where their numbers are; call_id 0: it stays */
};

static struct text registers[USERS], invites[USERS], acks[USERS];

static size_t number_in(const struct text *text, const char *before) {
	const char *at = strstr(text->octets, before);

	return (size_t)(at - text->octets) + strlen(before);
}

static void write_number(struct text *text, size_t at, uint32_t number) {
	for (size_t i = 10; i-- > 0; number /= 10)
		text->octets[at + i] = (char)('0' + number % 10);
}

static void text_write(struct text *text, const char *method, unsigned user, uint16_t port, const char *fields) {
	bool registers_ = strcmp(method, "REGISTER") == 0, ack = strcmp(method, "ACK") == 0;
	char target[64], from[64], cseq[32];

	snprintf(target, sizeof(target), registers_ ? "sip:example.org" : "sip:user%u@example.org", user);
	snprintf(from, sizeof(from), registers_ ? "user%u" : "caller%u", user);
	snprintf(cseq, sizeof(cseq), registers_ ? "0000000000" : "1");
	text->length = (size_t)snprintf(
		text->octets, sizeof(text->octets),
		"%s %s SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK0000000000;rport\r\n"
		"Max-Forwards: 70\r\n"
		"From: \"User %u\" <sip:%s@example.org>;tag=t%u\r\n"
		"To: \"User %u\" <sip:user%u@example.org>%s\r\n"
		"Call-ID: 3c26700a1b2c0000000000-%u@desk\r\n"
		"CSeq: %s %s\r\n"
		"User-Agent: Desk Phone 7.1\r\n"
		"Contact: <sip:%s@127.0.0.1:%u;line=abcdef>\r\n"
		"Allow: INVITE, ACK, CANCEL, BYE, REFER, OPTIONS, NOTIFY, SUBSCRIBE, PRACK, MESSAGE, INFO, UPDATE\r\n"
		"%sContent-Length: 0\r\n\r\n",
		method, target, port, user, from, user, user, user, ack ? ";tag=x" : "", user, cseq, method, from, port, fields);
	text->branch = number_in(text, "branch=z9hG4bK");
	text->cseq = registers_ ? number_in(text, "CSeq: ") : 0;
	text->call_id = registers_ ? 0 : number_in(text, "Call-ID: 3c26700a1b2c");
}

static struct text *text_numbered(struct text *text, uint32_t serial) {
	write_number(text, text->branch, serial);
	if (text->cseq > 0)
		write_number(text, text->cseq, serial);
	if (text->call_id > 0)
		write_number(text, text->call_id, serial);
	return text;
}

/* What has become of the requests from number `first` on. */
struct counts {
	uint32_t first;
	uint64_t sent, served, refused, other, first_served_us;
};

struct generator {
	struct load load;
	uint32_t serial;
	struct counts counts;
};

/* Every second one is a call. */
static bool is_call(uint32_t serial) {
	return serial & 1;
}

static unsigned user_of(uint32_t serial) {
	return serial / 2 % USERS;
}

static void send_some(struct generator *g, size_t count) {
	static struct text copies[BATCH];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];

	for (size_t i = 0; i < count; i++) {
		uint32_t serial = g->serial++;
		copies[i] = *text_numbered(is_call(serial) ? &invites[user_of(serial)] : &registers[user_of(serial)], serial);
		parts[i] = (struct iovec){.iov_base = copies[i].octets, .iov_len = copies[i].length};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	for (size_t sent = 0; sent < count;) {
		int some = sendmmsg(g->load.fd, &messages[sent], (unsigned)(count - sent), 0);
		if (some < 0 && errno != EINTR && errno != ECONNREFUSED)
			die("sendmmsg");
		sent += some > 0 ? (size_t)some : 0;
	}
	g->counts.sent += count;
}

/* With the tag of the answer. */
static void acknowledge(const struct generator *g, uint32_t serial, const char *answer) {
	static const char former[] = ";tag=x";
	struct text ack = *text_numbered(&acks[user_of(serial)], serial);
	const char *to = strstr(answer, "\r\nTo: "), *tag = to ? strstr(to, ";tag=") : NULL;
	char *at = strstr(ack.octets, former);
	size_t length = tag ? strcspn(tag, "\r") : 0;

	if (!at || length == 0 || ack.length + length >= sizeof(ack.octets))
		return;
	memmove(at + length, at + strlen(former), strlen(at + strlen(former)) + 1);
	memcpy(at, tag, length);
	put(&g->load, ack.octets, ack.length + length - strlen(former));
}

static void note(struct generator *g, const char *text) {
	const char *branch = strstr(text, "branch=z9hG4bK");
	uint32_t serial = branch ? (uint32_t)strtoul(branch + strlen("branch=z9hG4bK"), NULL, 10) : 0;
	unsigned status = (unsigned)strtoul(text + strlen("SIP/2.0 "), NULL, 10), wanted = is_call(serial) ? 302 : 200;

	if (status < 200 || serial < FIRST_SERIAL)
		return;
	if (is_call(serial))
		acknowledge(g, serial, text);
	if (serial < g->counts.first)
		return;
	if (status == 503 && !strstr(text, "\r\nRetry-After: ")) {
		fprintf(stderr, "bench_sip_overload: refused without Retry-After:\n%s\n", text);
		exit(1);
	}
	g->counts.refused += status == 503;
	g->counts.served += status == wanted;
	g->counts.other += status != 503 && status != wanted;
	if (status != 503 && g->counts.first_served_us == 0)
		g->counts.first_served_us = clock_monotonic_us();
}

/* Takes what has come. Returns how many. */
static int take_answers(struct generator *g) {
	static char octets[BATCH][4096];
	struct mmsghdr messages[BATCH] = {0};
	struct iovec parts[BATCH];

	for (size_t i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){.iov_base = octets[i], .iov_len = sizeof(octets[i]) - 1};
		messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
	}
	int count = recvmmsg(g->load.fd, messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < count; i++) {
		octets[i][messages[i].msg_len] = 0;
		note(g, octets[i]);
	}
	return count < 0 ? 0 : count;
}

static uint64_t answered(const struct counts *counts) {
	return counts->served + counts->refused + counts->other;
}

static void begin(struct generator *g) {
	g->counts = (struct counts){.first = g->serial};
}

/* ---- calls in progress ---- */

enum call_step { CALLING, TALKING, CHANGING, CHANGED, ENDING, ENDED };

struct call {
	struct load *caller;
	unsigned number, cseq;
	enum call_step step;
	char remote[512], route[512], contact[256]; /* of the other side: To, Route fields, Contact URI */
	char request[2048];
	size_t length;
	uint64_t asked_us, again_us, pause_us;
	uint64_t change_us, end_us; /* when they are due, since the load began */
	bool failed;
};

static struct load callers[CALLERS], callee;
static struct call calls[CALLS];
static double waits_ms[2 * CALLS];
static size_t wait_count;

static void call_send(struct call *call) {
	put(call->caller, call->request, call->length);
	call->again_us = clock_monotonic_us() + call->pause_us;
}

static void call_write(struct call *call, const char *method, unsigned cseq) {
	bool dialog = call->route[0] || call->contact[0];
	char target[256];

	snprintf(target, sizeof(target), dialog ? "%s" : "sip:phone@example.org", call->contact);
	call->length = (size_t)snprintf(
		call->request, sizeof(call->request),
		"%s %s SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.%u:%u;branch=z9hG4bKcall%u-%u%s;rport\r\n%sMax-Forwards: 70\r\n"
		"From: <sip:caller@example.com>;tag=c%u\r\nTo: %s\r\nCall-ID: call-%u\r\nCSeq: %u %s\r\n"
		"Contact: <sip:caller@127.0.0.%u:%u>\r\nContent-Length: 0\r\n\r\n",
		method, target, 2 + call->number % CALLERS, call->caller->port, call->number, cseq, method, call->route,
		call->number, dialog ? call->remote : "<sip:phone@example.org>", call->number, cseq, method,
		2 + call->number % CALLERS, call->caller->port);
}

static void call_ask(struct call *call, const char *method, enum call_step step) {
	call_write(call, method, ++call->cseq);
	call->step = step;
	call->asked_us = clock_monotonic_us();
	call->pause_us = 500 * USEC_PER_MSEC;
	call_send(call);
}

/* Copies what follows `before`, up to one of `ends`. */
static void copy_after(const char *text, const char *before, const char *ends, char *ret, size_t size) {
	const char *at = strstr(text, before);

	snprintf(ret, size, "%.*s", at ? (int)strcspn(at + strlen(before), ends) : 0, at ? at + strlen(before) : "");
}

/* The route set is Record-Route turned around; here there is one gateway, which may have written one line. */
static void call_learn(struct call *call, const char *text) {
	char route[400];

	copy_after(text, "\r\nTo: ", "\r", call->remote, sizeof(call->remote));
	copy_after(text, "\r\nContact: <", ">", call->contact, sizeof(call->contact));
	copy_after(text, "\r\nRecord-Route: ", "\r", route, sizeof(route));
	if (route[0])
		snprintf(call->route, sizeof(call->route), "Route: %s\r\n", route);
}

static void call_answered(struct call *call, unsigned status, const char *text) {
	uint64_t now_us = clock_monotonic_us();
	bool invite = call->step == CALLING || call->step == CHANGING;

	if (call->step == TALKING || call->step == CHANGED || call->step == ENDED)
		return;
	if (status != 200) {
		call->failed = true;
		call->step = ENDED;
		return;
	}
	if (call->step != CALLING && wait_count < ARRAY_LENGTH(waits_ms))
		waits_ms[wait_count++] = (double)(now_us - call->asked_us) / 1000;
	if (call->step == CALLING)
		call_learn(call, text);
	if (invite) {
		call_write(call, "ACK", call->cseq); /* nothing is sent again of what has its answer */
		put(call->caller, call->request, call->length);
	}
	call->step++;
}

/* What a telephone is: answers everything with 200, in the words of what asks. */
static void answer_call(struct load *load, const char *text) {
	char answer[4096];
	int length = snprintf(answer, sizeof(answer), "SIP/2.0 200 OK\r\n");

	if (strncmp(text, "ACK ", 4) == 0 || strncmp(text, "SIP/2.0", 7) == 0)
		return;
	for (const char *line = strstr(text, "\r\n"); line && line[2] && strncmp(line, "\r\n\r\n", 4) != 0;
	     line = strstr(line + 2, "\r\n")) {
		static const char *const repeated[] = {"Via:", "From:", "To:", "Call-ID:", "CSeq:", "Record-Route:"};
		const char *at = line + 2;
		size_t size = strcspn(at, "\r");
		for (size_t i = 0; i < ARRAY_LENGTH(repeated); i++)
			if (strncasecmp(at, repeated[i], strlen(repeated[i])) == 0 && (size_t)length + size + 16 < sizeof(answer))
				length += snprintf(answer + length, sizeof(answer) - (size_t)length, "%.*s%s\r\n", (int)size, at,
						   i == 2 && !memmem(at, size, ";tag=", 5) ? ";tag=callee" : "");
	}
	length += snprintf(answer + length, sizeof(answer) - (size_t)length,
			   "Contact: <sip:callee@127.0.0.1:%u>\r\nContent-Length: 0\r\n\r\n", load->port);
	put(load, answer, (size_t)length);
}

static bool take(const struct load *load, char *text, size_t size) {
	ssize_t length = recv(load->fd, text, size - 1, MSG_DONTWAIT);

	if (length <= 0)
		return false;
	text[length] = 0;
	return true;
}

/* Answers of calls, requests for the callee, and what is to be sent again. */
static void calls_go_on(uint64_t since_us) {
	uint64_t now_us = clock_monotonic_us();
	char text[8192];

	while (take(&callee, text, sizeof(text)))
		answer_call(&callee, text);
	for (size_t i = 0; i < CALLERS; i++)
		while (take(&callers[i], text, sizeof(text))) {
			const char *id = strstr(text, "\r\nCall-ID: call-"), *cseq = strstr(text, "\r\nCSeq: ");
			if (!id || !cseq || strncmp(text, "SIP/2.0 ", strlen("SIP/2.0 ")) != 0)
				continue;
			unsigned long status = strtoul(text + strlen("SIP/2.0 "), NULL, 10);
			unsigned long number = strtoul(id + strlen("\r\nCall-ID: call-"), NULL, 10);
			if (status < 200 || number >= CALLS)
				continue;
			if (strtoul(cseq + strlen("\r\nCSeq: "), NULL, 10) == calls[number].cseq)
				call_answered(&calls[number], (unsigned)status, text);
		}
	for (size_t i = 0; i < CALLS; i++) {
		struct call *call = &calls[i];
		if (since_us > 0 && call->step == TALKING && now_us - since_us >= call->change_us) {
			call_ask(call, "INVITE", CHANGING);
		} else if (since_us > 0 && call->step == CHANGED && now_us - since_us >= call->end_us) {
			call_ask(call, "BYE", ENDING);
		} else if ((call->step == CALLING || call->step == CHANGING || call->step == ENDING) && now_us >= call->again_us) {
			call->pause_us *= 2;
			call_send(call);
		}
	}
}

static size_t calls_at(enum call_step step) {
	size_t count = 0;

	for (size_t i = 0; i < CALLS; i++)
		count += calls[i].step == step;
	return count;
}

static void calls_begin(void) {
	uint64_t end_us = clock_monotonic_us() + SETUP_MS * USEC_PER_MSEC;

	for (unsigned i = 0; i < CALLS; i++) {
		calls[i] = (struct call){
			.caller = &callers[i % CALLERS],
			.number = i,
			.change_us = (500 + i * 1000 / CALLS) * USEC_PER_MSEC,
			.end_us = (2000 + i * 1000 / CALLS) * USEC_PER_MSEC,
		};
		call_ask(&calls[i], "INVITE", CALLING);
	}
	while (calls_at(TALKING) < CALLS) {
		if (ended || clock_monotonic_us() >= end_us || calls_at(ENDED) > 0) {
			fprintf(stderr, "bench_sip_overload: %zu of %d calls began\n", calls_at(TALKING), CALLS);
			exit(1);
		}
		calls_go_on(0);
	}
}

/* ---- pace ---- */

/* Offers `per_second` for `duration_ms`, with calls in progress going on beside it, unless `since_us` is 0. */
static void offer(struct generator *g, double per_second, unsigned duration_ms, uint64_t since_us) {
	uint64_t start_us = clock_monotonic_us(), end_us = start_us + duration_ms * USEC_PER_MSEC, calls_us = start_us, sent = 0;

	for (uint64_t now_us = start_us; now_us < end_us && !ended; now_us = clock_monotonic_us()) {
		uint64_t due = (uint64_t)((double)(now_us - start_us) * per_second / 1000000);
		size_t some = due - sent < BATCH ? (size_t)(due - sent) : BATCH;
		if (some > 0)
			send_some(g, some);
		sent += some;
		take_answers(g);
		if (since_us > 0 && now_us >= calls_us) {
			calls_go_on(since_us);
			calls_us = now_us + USEC_PER_MSEC;
		}
	}
	if (ended)
		exit(1);
}

/* Until all is answered, or nothing more can be expected. */
static void wait_for_answers(struct generator *g) {
	uint64_t end_us = clock_monotonic_us() + GRACE_MS * USEC_PER_MSEC;

	while (answered(&g->counts) < g->counts.sent && clock_monotonic_us() < end_us)
		take_answers(g);
}

/* Requests a second when each answer makes room for the next request. */
static double closed_loop(struct generator *g) {
	uint64_t start_us = clock_monotonic_us(), heard_us = start_us;

	begin(g);
	while (answered(&g->counts) < PROBE_REQUESTS) {
		uint64_t now_us = clock_monotonic_us(), waiting = g->counts.sent - answered(&g->counts);
		if (g->counts.sent < PROBE_REQUESTS && waiting < WINDOW)
			send_some(g, WINDOW - waiting < BATCH ? WINDOW - (size_t)waiting : BATCH);
		if (take_answers(g) > 0)
			heard_us = now_us;
		if (ended || now_us - heard_us > 5 * USEC_PER_SEC) {
			errno = ETIMEDOUT;
			die("no answer");
		}
	}
	return (double)PROBE_REQUESTS * 1000000 / (double)(clock_monotonic_us() - start_us);
}

/* The highest pace without a loss, in steps from somewhat above what is served one after the other. */
static double find_sustainable(struct generator *g) {
	double most = closed_loop(g);

	for (int percent = 110; percent >= 30; percent -= STEP_PERCENT) {
		double per_second = most * percent / 100;
		begin(g);
		offer(g, per_second, TRIAL_MS, 0);
		wait_for_answers(g);
		if (g->counts.served == g->counts.sent && (double)g->counts.sent >= 0.98 * per_second * TRIAL_MS / 1000)
			return per_second;
	}
	fprintf(stderr, "bench_sip_overload: no rate is sustainable here\n");
	exit(1);
}

/* ---- the whole ---- */

static void clean_up(void) {
	static const char *const files[] = {"phones.db", "phones.db-wal", "phones.db-shm"};
	char path[128];

	stop(child);
	for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		unlink(path);
	}
	rmdir(directory);
}

/* A socket of one of our hosts; `port` is the gateway's. */
static struct load load_of_host(unsigned host, uint16_t port) {
	struct load load = load_open_at(host, port);
	const int size = 4 << 20;

	if (setsockopt(load.fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(load.fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	return load;
}

static void register_all(struct generator *g) {
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	struct text callee_text;

	text_write(&callee_text, "REGISTER", 0, callee.port, "Expires: 3600\r\n");
	for (char *at; (at = strstr(callee_text.octets, "user0"));)
		for (size_t i = 0; i < strlen("phone"); i++)
			at[i] = "phone"[i];
	text_numbered(&callee_text, FIRST_SERIAL);
	for (unsigned tries = 0;; tries++) {
		char text[4096];
		put(&callee, callee_text.octets, callee_text.length);
		nanosleep(&pause, NULL); /* nobody listens yet, which a socket that is connected learns at once */
		if (take(&callee, text, sizeof(text)) && strncmp(text, "SIP/2.0 200", 11) == 0)
			break;
		if (tries == 300 || ended)
			die("the gateway does not answer");
	}
	begin(g);
	while (g->counts.served < 2 * USERS) {
		offer(g, 20000, 100, 0);
		wait_for_answers(g);
	}
}

static void open_all(struct generator *g) {
	uint16_t port = free_port();
	cpu_set_t other;

	CPU_ZERO(&other);
	CPU_SET(0, &other);
	child = start(run_gateway, port);
	sched_setaffinity(0, sizeof(other), &other);
	g->load = load_of_host(1, port);
	callee = load_of_host(1, port);
	for (unsigned i = 0; i < CALLERS; i++)
		callers[i] = load_of_host(2 + i, port);
	for (unsigned i = 0; i < USERS; i++) {
		text_write(&registers[i], "REGISTER", i, g->load.port, "Expires: 3600\r\n");
		text_write(&invites[i], "INVITE", i, g->load.port, "");
		text_write(&acks[i], "ACK", i, g->load.port, "");
	}
	register_all(g);
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print_calls(void) {
	size_t kept = 0;

	for (size_t i = 0; i < CALLS; i++)
		kept += calls[i].step == ENDED && !calls[i].failed;
	qsort(waits_ms, wait_count, sizeof(waits_ms[0]), compare);
	printf("sip_overload_calls_kept_percent %.1f\n", 100.0 * (double)kept / CALLS);
	printf("sip_overload_in_dialog_p50_ms %.1f\n", wait_count > 0 ? waits_ms[wait_count / 2] : 0);
	printf("sip_overload_in_dialog_max_ms %.1f\n", wait_count > 0 ? waits_ms[wait_count - 1] : 0);
}

static void print_load(const struct counts *counts, double seconds, double sustainable, double busy_percent) {
	printf("sip_sustainable_per_second %.0f\n", sustainable);
	printf("sip_overload_offered_per_second %.0f\n", (double)counts->sent / seconds);
	printf("sip_overload_busy_percent %.0f\n", busy_percent);
	printf("sip_overload_served_percent %.1f\n", 100.0 * (double)counts->served / (double)counts->sent);
	printf("sip_overload_refused_percent %.1f\n", 100.0 * (double)counts->refused / (double)counts->sent);
	printf("sip_overload_goodput_percent %.1f\n", 100.0 * (double)counts->served / seconds / sustainable);
}

static int measure(struct generator *g) {
	double sustainable = find_sustainable(g);

	calls_begin();
	uint64_t cpu_ns = cpu_of_group(child), begun_us = clock_monotonic_us();
	begin(g);
	offer(g, 2 * sustainable, OVERLOAD_MS, begun_us);
	uint64_t fell_us = clock_monotonic_us();
	double seconds = (double)(fell_us - begun_us) / 1000000, busy = (double)(cpu_of_group(child) - cpu_ns) / 1e9 / seconds;
	print_load(&g->counts, seconds, sustainable, 100 * busy);
	begin(g);
	offer(g, sustainable / 2, AFTER_MS, begun_us);
	wait_for_answers(g);
	if (g->counts.first_served_us == 0) {
		fprintf(stderr, "bench_sip_overload: nothing is served after the load fell\n");
		return 1;
	}
	printf("sip_overload_recovery_ms %.1f\n", (double)(g->counts.first_served_us - fell_us) / 1000);
	printf("sip_overload_refused_after %llu\n", (unsigned long long)g->counts.refused);
	uint64_t end_us = clock_monotonic_us() + GIVE_UP_MS * USEC_PER_MSEC;
	while (calls_at(ENDED) < CALLS && clock_monotonic_us() < end_us && !ended)
		calls_go_on(begun_us);
	print_calls();
	return 0;
}

int main(void) {
	const struct sigaction end = {.sa_handler = on_signal}; /* without SA_RESTART */
	struct generator g = {.serial = FIRST_SERIAL};

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
		printf("SKIP: the load needs a processor of its own\n");
		return 77;
	}
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	log_open("bench-sip-overload");
	if (!mkdtemp(directory))
		die(directory);
	atexit(clean_up);
	open_all(&g);
	return measure(&g);
}
