/* SPDX-License-Identifier: BSD-2-Clause */
/* More requests than can be served: what is refused, what goes on, and when all is served again. Virtual time. */
#include "base/log.h"
#include "unit/sip/harness.h"

#define MS USEC_PER_MSEC

static struct sip_wait *wait_of(struct fixture *f) {
	return &f->gateway->listeners[0].wait;
}

static void note(struct fixture *f, uint64_t waited_us, bool emptied) {
	sip_overload_note(f->gateway, wait_of(f), waited_us, emptied);
}

/* The datagrams of a whole interval have waited for too long. */
static void overload(struct fixture *f) {
	note(f, SIP_OVERLOAD_TARGET_MS * MS, false);
	f->runtime.now_us += SIP_OVERLOAD_INTERVAL_MS * MS;
	note(f, SIP_OVERLOAD_TARGET_MS * MS, false);
	assert_true(figures(f).overloaded);
}

static void expect_shed(struct fixture *f) {
	unsigned seconds = 0;

	expect_status(f, 503);
	expect_text(f, "SIP/2.0 503 Overloaded\r\n");
	const char *field = strstr(f->answer, "Retry-After: ");
	assert_non_null(field);
	assert_int_equal(sscanf(field, "Retry-After: %u\r\n", &seconds), 1);
	assert_in_range(seconds, SIP_RETRY_AFTER_SECONDS, 2 * SIP_RETRY_AFTER_SECONDS);
}

static void expect_served(struct fixture *f) {
	send_invite(f, "sip:bob@example.org");
	expect_status(f, 302);
}

static void know_bob(struct fixture *f) {
	f->contacts[0] = (struct sip_redirect_contact){.uri = "sip:bob@192.0.2.7", .expires_s = 60};
	f->contact_count = 1;
}

/* A burst that is worked off within the interval is served, and one quick request shows that there is no queue. */
static void only_lasting_overload_counts(void **state) {
	struct fixture *f = *state;

	know_bob(f);
	note(f, 500 * MS, false);
	f->runtime.now_us += SIP_OVERLOAD_INTERVAL_MS * MS - 1;
	note(f, 500 * MS, false);
	assert_false(figures(f).overloaded);
	expect_served(f);
	note(f, SIP_OVERLOAD_TARGET_MS * MS - 1, false);
	f->runtime.now_us += 1;
	note(f, 500 * MS, false);
	assert_false(figures(f).overloaded);
	f->runtime.now_us += SIP_OVERLOAD_INTERVAL_MS * MS;
	note(f, 500 * MS, false);
	assert_true(figures(f).overloaded);
	assert_int_equal(figures(f).overloads, 1);
}

/* Few requests on a machine that now and then stands still: each waits for long, and yet there is no queue. */
static void pauses_are_no_overload(void **state) {
	struct fixture *f = *state;

	know_bob(f);
	for (unsigned i = 0; i < 20; i++) {
		note(f, 2 * SIP_OVERLOAD_TARGET_MS * MS, true);
		f->runtime.now_us += (2 * SIP_OVERLOAD_TARGET_MS + SIP_OVERLOAD_INTERVAL_MS) * MS + 1;
	}
	assert_false(figures(f).overloaded);
	expect_served(f);
	note(f, 2 * SIP_OVERLOAD_TARGET_MS * MS, true);
	f->runtime.now_us += SIP_OVERLOAD_INTERVAL_MS * MS; /* the next one came while that one waited, or soon after */
	note(f, 2 * SIP_OVERLOAD_TARGET_MS * MS, true);
	assert_true(figures(f).overloaded);
}

/* New calls, registrations, messages: refused without a question to the node. Repetitions of refused ones as well. */
static void sheds_what_is_new(void **state) {
	static const char *const methods[] = {"INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "OPTIONS"};
	struct fixture *f = *state;

	overload(f);
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
		const char *text = REQUEST(f, .method = methods[i], .uri = "sip:bob@example.org", .to = "<sip:bob@example.org>",
					   .fields = "Contact: <sip:alice@192.0.2.6>\r\n");
		send_text(f, text);
		expect_shed(f);
		send_text(f, text);
		expect_shed(f);
	}
	assert_int_equal(f->asked, 0);
	assert_int_equal(figures(f).shed, 2 * ARRAY_LENGTH(methods));
	assert_int_equal(figures(f).overloads, 1);
}

/* More of them than SIP_STATELESS_PER_SECOND: a phone that is not told comes back at once. */
static void tells_all_phones(void **state) {
	struct fixture *f = *state;

	overload(f);
	for (unsigned i = 0; i < 2 * SIP_STATELESS_PER_SECOND; i++) {
		send_invite(f, "sip:bob@example.org");
		expect_shed(f);
	}
}

#define CALL                                                                                                                       \
	"INVITE sip:bob@example.org SIP/2.0\r\n"                                                                                   \
	"Via: SIP/2.0/UDP Phone.example.org:%u;branch=z9hG4bK%s;received=192.0.2.99%s;x=y\r\n%s"                                   \
	"From: <sip:alice@example.org>;tag=phone\r\nTo: <sip:bob@example.org>\r\nCall-ID: one\r\n"                                 \
	"CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n"

/* The answer is the one the parser would have led to: Vias, tag, port. */
static void answers_as_always(void **state) {
	struct fixture *f = *state;
	char text[2048], port[80], rport[64];

	f->forbidden = true;
	snprintf(text, sizeof(text), CALL, f->phone_port, "1", ";rport", "");
	send_text(f, text);
	expect_status(f, 403);
	const char *tag = strstr(f->answer, "To: <sip:bob@example.org>;tag=");
	assert_non_null(tag);
	char line[128];
	snprintf(line, sizeof(line), "%.*s", (int)strcspn(tag, "\r"), tag);
	f->forbidden = false;
	overload(f);
	snprintf(text, sizeof(text), CALL, f->phone_port, "2", ";rport", "");
	send_text(f, text);
	expect_shed(f);
	expect_text(f, line);
	snprintf(port, sizeof(port), "Phone.example.org:%u;branch=z9hG4bK2;x=y;", f->phone_port);
	expect_text(f, port);
	snprintf(rport, sizeof(rport), ";received=127.0.0.1;rport=%u\r\n", f->phone_port);
	expect_text(f, rport);
	expect_text(f, "From: <sip:alice@example.org>;tag=phone\r\n");
	expect_text(f, "CSeq: 1 INVITE\r\n");
	expect_no_text(f, "192.0.2.99");
	snprintf(text, sizeof(text), CALL, f->phone_port, "3", "", "");
	send_text(f, text);
	expect_shed(f);
	expect_no_text(f, "rport");
	snprintf(text, sizeof(text), CALL, f->phone_port, "4", ";rport", "v: SIP/2.0/TCP other.example.org;branch=z9hG4bKo\r\n");
	send_text(f, text);
	expect_shed(f);
	expect_text(f, "\r\nVia: SIP/2.0/TCP other.example.org;branch=z9hG4bKo\r\nFrom: ");
}

/* What is not plain is parsed, and refused all the same: several Vias in one line, no branch, TCP. */
static void sheds_after_parsing_too(void **state) {
	struct fixture *f = *state;
	char text[2048];

	overload(f);
	snprintf(text, sizeof(text),
		 "INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP phone.example.org:%u ;branch=z9hG4bK1, "
		 "SIP/2.0/UDP b.example.org\r\nFrom: <sip:alice@example.org>;tag=1\r\nTo: <sip:bob@example.org>\r\nCall-ID: one\r\n"
		 "CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
		 f->phone_port);
	send_text(f, text);
	expect_shed(f);
	assert_int_equal(figures(f).shed, 1);
	assert_int_equal(f->asked, 0);
}

/* In a dialog, and whatever ends something. */
static void lets_calls_go_on(void **state) {
	static const char *const methods[] = {"BYE", "UPDATE", "PRACK", "INFO"};
	struct fixture *f = *state;

	overload(f);
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++) {
		send_text(f, REQUEST(f, .method = methods[i], .uri = "sip:bob@example.org", .to = "<sip:bob@example.org>;tag=x"));
		expect_status(f, 481); /* a redirector has no dialogs, and says so */
	}
	send_text(f, REQUEST(f, .method = "INVITE", .uri = "sip:bob@example.org", .to = "<sip:bob@example.org> ; TAG = x"));
	expect_status(f, 481);
	send_text(f, REQUEST(f, .method = "CANCEL", .uri = "sip:bob@example.org", .to = "<sip:bob@example.org>"));
	expect_status(f, 481);
	assert_int_equal(figures(f).shed, 0);
}

/* Requests being worked on are answered, their repetitions too, and can be cancelled. */
static void finishes_what_has_begun(void **state) {
	struct fixture *f = *state;

	know_bob(f);
	f->resolve_status = 0;
	const char *text = REQUEST(f, .method = "INVITE", .uri = "sip:bob@example.org", .to = "<sip:bob@example.org>",
				   .branch = "z9hG4bKbegun", .call_id = "begun");
	send_text(f, text);
	expect_nothing(f);
	overload(f);
	send_text(f, text); /* the same request text is still in place */
	expect_status(f, 100);
	drain(f);
	test_answer_resolve(f, 0, 302);
	expect_status(f, 302);
	send_text(f, text);
	expect_status(f, 302);
	assert_int_equal(figures(f).shed, 0);
}

/* The ACK of a refusal nothing is known of costs nothing and has no answer; one of something else is not taken for it. */
static void forgets_acks_of_refusals(void **state) {
	struct fixture *f = *state;
	char to[256], line[256];

	overload(f);
	send_text(f, REQUEST(f, .method = "INVITE", .uri = "sip:bob@example.org", .to = "<sip:bob@example.org>",
			     .branch = "z9hG4bKx", .call_id = "x"));
	expect_shed(f);
	const char *tag = strstr(f->answer, "To: ");
	assert_non_null(tag);
	snprintf(to, sizeof(to), "%.*s", (int)strcspn(tag + 4, "\r"), tag + 4);
	uint64_t dropped = figures(f).dropped;
	send_text(f, REQUEST(f, .method = "ACK", .uri = "sip:bob@example.org", .to = to, .branch = "z9hG4bKx", .call_id = "x"));
	expect_nothing(f);
	assert_int_equal(figures(f).dropped, dropped);
	snprintf(line, sizeof(line), "<sip:bob@example.org>;tag=0123456789abcdef");
	send_text(f, REQUEST(f, .method = "ACK", .uri = "sip:bob@example.org", .to = line, .branch = "z9hG4bKx", .call_id = "x"));
	expect_nothing(f);
	assert_int_equal(figures(f).dropped, dropped + 1);
}

static void recovers_at_once(void **state) {
	struct fixture *f = *state;

	know_bob(f);
	overload(f);
	send_invite(f, "sip:bob@example.org");
	expect_shed(f);
	note(f, SIP_OVERLOAD_TARGET_MS * MS / 2, false); /* still a queue */
	assert_true(figures(f).overloaded);
	note(f, SIP_OVERLOAD_TARGET_MS * MS / 2 - 1, false);
	assert_false(figures(f).overloaded);
	expect_served(f);
}

/* Where the system had to drop datagrams, the queue must have been empty once. */
static void lost_datagrams_are_overload(void **state) {
	struct fixture *f = *state;

	know_bob(f);
	sip_overload_lost(f->gateway, wait_of(f));
	send_invite(f, "sip:bob@example.org");
	expect_shed(f);
	note(f, 0, false);
	assert_true(figures(f).overloaded);
	note(f, 0, true);
	expect_served(f);
}

/* Nobody reads meanwhile. */
static void flood(struct fixture *f, unsigned count) {
	for (unsigned i = 0; i < count; i++) {
		const char *text = REQUEST(f, .method = "INVITE", .uri = "sip:bob@example.org", .to = "<sip:bob@example.org>");
		send_octets(f, text, strlen(text));
	}
}

/* A full queue is overload as soon as the first of it is looked at, not when what came after the dropped ones is: by then it is
 * empty. */
static void full_queue_is_overload_at_once(void **state) {
	struct fixture *f = *state;
	struct sip_listener *listener = &f->gateway->listeners[0];
	const int size = 128 << 10;

	know_bob(f);
	assert_int_equal(setsockopt(listener->udp, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	flood(f, 1000);
	sip_udp_receive(f->gateway, listener);
	assert_true(figures(f).overloaded);
	assert_true(figures(f).dropped > 0 && figures(f).dropped < 1000);
	assert_int_equal(figures(f).shed, SIP_DATAGRAMS_AT_ONCE);
	assert_int_equal(figures(f).overloads, 1);
	pump(f);
	assert_int_equal(figures(f).dropped + figures(f).shed, 1000);
	note(f, 0, true); /* the system's clock is not the virtual one */
	assert_false(figures(f).overloaded);
	while (received(f)[0] != 0)
		expect_text(f, "SIP/2.0 503 Overloaded\r\n");
	expect_served(f);
	/* As many as there is room for are a burst: all of them are served. */
	flood(f, 2 * SIP_DATAGRAMS_AT_ONCE / 3);
	pump(f);
	assert_int_equal(figures(f).overloads, 1);
	while (received(f)[0] != 0)
		expect_text(f, "SIP/2.0 302 ");
	expect_served(f);
}

/* One queue says nothing about another. */
static void each_queue_counts(void **state) {
	struct fixture *f = *state;
	struct sip_wait other = {0};

	overload(f);
	sip_overload_note(f->gateway, &other, 0, true);
	assert_true(figures(f).overloaded);
	sip_overload_lost(f->gateway, &other);
	note(f, 0, true);
	assert_true(figures(f).overloaded);
	sip_overload_note(f->gateway, &other, 0, true);
	assert_false(figures(f).overloaded);
	assert_int_equal(figures(f).overloads, 1);
}

/* Late timers tell of a loop that is busy with other things; it is asked again until it is in time. */
static void late_timers_are_overload(void **state) {
	struct fixture *f = *state;

	know_bob(f);
	expect_served(f);
	for (unsigned i = 0; i < 10 && !figures(f).overloaded; i++) {
		f->runtime.now_us += 200 * MS;
		runtime_fire(&f->runtime);
	}
	assert_true(figures(f).overloaded);
	send_invite(f, "sip:bob@example.org");
	expect_shed(f);
	advance(f, USEC_PER_SEC);
	assert_false(figures(f).overloaded);
	expect_served(f);
}

/* Strangers' addresses may be forged: they get no more answers than always. */
static void strangers_get_few_answers(void **state) {
	struct fixture *f = *state;
	unsigned answers = 0;

	f->forbidden = true;
	overload(f);
	for (unsigned i = 0; i < 2 * SIP_STATELESS_PER_SECOND; i++) {
		send_invite(f, "sip:bob@example.org");
		answers += received(f)[0] != 0;
	}
	assert_int_equal(answers, SIP_STATELESS_PER_SECOND);
	assert_int_equal(figures(f).shed, 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void) {
	const struct CMUnitTest tests[] = {
		TEST(only_lasting_overload_counts),
		TEST(pauses_are_no_overload),
		TEST(sheds_what_is_new),
		TEST(tells_all_phones),
		TEST(answers_as_always),
		TEST(sheds_after_parsing_too),
		TEST(lets_calls_go_on),
		TEST(finishes_what_has_begun),
		TEST(forgets_acks_of_refusals),
		TEST(recovers_at_once),
		TEST(lost_datagrams_are_overload),
		TEST(full_queue_is_overload_at_once),
		TEST(each_queue_counts),
		TEST(late_timers_are_overload),
		TEST(strangers_get_few_answers),
	};

	log_level = -1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
