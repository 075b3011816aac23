/* SPDX-License-Identifier: BSD-2-Clause */
/* Multicast DNS: the codec with malformed input, and responder and browser on virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "node/mdns.h"

#define NODE "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"

static struct mdns_name name_of(const char *text) {
	struct mdns_name name;

	assert_int_equal(mdns_name_parse(text, &name), 0);
	return name;
}

static struct address address_of(const char *text) {
	struct address address;

	assert_int_equal(address_parse(text, MDNS_PORT, &address), 0);
	return address;
}

/* ---- codec ---- */

static void test_names(void **state) {
	struct mdns_name name = name_of("_Reload._udp.LOCAL"), service = name_of("_reload._udp.local"), child;
	struct octets label;
	char text[300];

	(void)state;
	assert_true(mdns_name_equal(&name, &service));
	assert_int_equal(mdns_name_prepend(octets_of_string("x"), &service, &child), 0);
	assert_true(mdns_name_child(&child, &name, &label));
	assert_true(octets_equal(label, octets_of_string("x")));
	assert_false(mdns_name_child(&service, &service, NULL));
	assert_int_equal(mdns_name_parse("", &name), -EINVAL);
	assert_int_equal(mdns_name_parse("a..b", &name), -EINVAL);
	memset(text, 'a', sizeof(text));
	text[64] = 0;
	assert_int_equal(mdns_name_parse(text, &name), -EINVAL); /* 64 octets of one label */
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = i % 2 ? '.' : 'a';
	text[253] = 0; /* 127 labels fill 255 octets */
	assert_int_equal(mdns_name_parse(text, &name), 0);
	assert_int_equal(name.length, 255);
	assert_int_equal(mdns_name_prepend(octets_of_string("x"), &name, &child), -EINVAL);
	text[253] = '.';
	text[255] = 0;
	assert_int_equal(mdns_name_parse(text, &name), -EINVAL);
}

static int walk(struct octets message) {
	struct mdns_reader m;
	struct mdns_record record;
	int error = mdns_reader_start(message, &m);

	while (error == 0) {
		int more = mdns_reader_next(&m, &record);
		if (more <= 0)
			return more;
	}
	return error;
}

/* Name compression, which we read and do not write. */
static void test_compression(void **state) {
	static const uint8_t message[] = {0, 0,	 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0,   1,	  'a', 0,
					  0, 12, 0,    1, 0, 0, 0, 9, 0, 4, 1, 'b', 0xc0, 12};
	struct mdns_name expected = name_of("b.a");
	struct mdns_reader m;
	struct mdns_record record;

	(void)state;
	assert_int_equal(mdns_reader_start(OCTETS(message, sizeof(message)), &m), 0);
	assert_true(m.response);
	assert_int_equal(mdns_reader_next(&m, &record), 1);
	assert_int_equal(record.ttl_s, 9);
	assert_true(mdns_name_equal(&record.target, &expected));
	assert_int_equal(mdns_reader_next(&m, &record), 0);
	for (size_t length = 0; length < sizeof(message); length++)
		assert_int_equal(walk(OCTETS(message, length)), -EBADMSG);
}

static void test_malformed(void **state) {
	uint8_t message[] = {0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 'a', 0, 0, 12, 0, 1, 0, 0, 0, 9, 0, 4, 1, 'b', 0xc0, 12};
	static const uint8_t huge[MDNS_MESSAGE_MAX + 1];

	(void)state;
	message[28] = 25; /* a name that leads into itself */
	assert_int_equal(walk(OCTETS(message, sizeof(message))), -EBADMSG);
	message[28] = 100; /* forwards */
	assert_int_equal(walk(OCTETS(message, sizeof(message))), -EBADMSG);
	message[28] = 2; /* into the header */
	assert_int_equal(walk(OCTETS(message, sizeof(message))), -EBADMSG);
	message[28] = 12;
	message[24] = 3; /* data that ends within the name */
	assert_int_equal(walk(OCTETS(message, sizeof(message))), -EBADMSG);
	message[24] = 4;
	message[12] = 0x80; /* a label of no known sort */
	assert_int_equal(walk(OCTETS(message, sizeof(message))), -EBADMSG);
	message[12] = 1;
	message[7] = MDNS_RECORDS_MAX + 1;
	assert_int_equal(walk(OCTETS(message, sizeof(message))), -E2BIG);
	message[7] = 1;
	message[2] = 0xa8; /* another operation */
	assert_int_equal(walk(OCTETS(message, sizeof(message))), -EBADMSG);
	assert_int_equal(walk(OCTETS(huge, sizeof(huge))), -E2BIG);
}

static void test_text(void **state) {
	static const uint8_t text[] = "\x09txtvers=1\x04"
				      "flag\x0aOVERLAY=ex\x09overlay=b";
	struct octets value, all = OCTETS(text, sizeof(text) - 1);

	(void)state;
	assert_true(mdns_text_value(all, "overlay", &value)); /* the first counts, without regard to case */
	assert_true(octets_equal(value, octets_of_string("ex")));
	assert_false(mdns_text_value(all, "flag", &value));
	assert_false(mdns_text_value(OCTETS("\x20overlay=x", 10), "overlay", &value));
	assert_false(mdns_text_value(OCTETS_NONE, "overlay", &value));
}

/* ---- responder and browser ---- */

struct bed {
	struct runtime runtime;
	struct mdns *mdns;
	uint8_t random, last[MDNS_OUT_MAX];
	size_t last_length, found_count;
	unsigned sent, responses;
	struct address found[64];
};

static uint64_t fixed_ms(void *userdata) {
	(void)userdata;
	return 1700000000000;
}

static void fixed_random(void *userdata, void *data, size_t length) {
	struct bed *bed = userdata;

	for (size_t i = 0; i < length; i++)
		((uint8_t *)data)[i] = bed->random++;
}

static void on_send(void *userdata, unsigned interface, struct octets message) {
	struct bed *bed = userdata;

	assert_int_equal(interface, 7);
	assert_true(message.length <= sizeof(bed->last));
	assert_int_equal(walk(message), 0); /* what we send, we can read */
	memcpy(bed->last, message.data, message.length);
	bed->last_length = message.length;
	bed->sent++;
	bed->responses += message.data[2] >> 7;
}

static void on_found(void *userdata, const struct address *address) {
	struct bed *bed = userdata;

	assert_true(bed->found_count < 64);
	bed->found[bed->found_count++] = *address;
}

static void start(struct bed *bed, const char *node) {
	struct mdns_settings settings = {.runtime = &bed->runtime,
					 .overlay = "example.org",
					 .port = 6084,
					 .userdata = bed,
					 .send = on_send,
					 .found = on_found};
	struct mdns_address address = {.interface = 7, .address = address_of("192.0.2.1"), .bits = 24, .offered = true};

	memset(bed, 0, sizeof(*bed));
	bed->runtime.now_us = 1000 * USEC_PER_SEC;
	bed->runtime.source = (struct runtime_source){fixed_ms, fixed_random, bed};
	assert_int_equal(id_parse(node, &settings.node_id), 0);
	assert_int_equal(mdns_new(&settings, &bed->mdns), 0);
	mdns_set_addresses(bed->mdns, &address, 1);
}

static void run_ms(struct bed *bed, uint64_t milliseconds) {
	uint64_t until_us = bed->runtime.now_us + milliseconds * USEC_PER_MSEC;

	for (uint64_t due_us; (due_us = runtime_next(&bed->runtime)) <= until_us;) {
		if (due_us > bed->runtime.now_us)
			bed->runtime.now_us = due_us;
		runtime_fire(&bed->runtime);
	}
	bed->runtime.now_us = until_us;
}

static void hear(struct bed *bed, const char *from, struct octets message) {
	struct address source = address_of(from);

	mdns_receive(bed->mdns, 7, &source, message);
}

static struct octets question(uint8_t *buffer, size_t size, const char *name, uint16_t type, const struct mdns_record *known) {
	struct writer w = writer_fixed(buffer, size);
	struct mdns_writer m;
	struct mdns_name asked = name_of(name);

	mdns_write_start(&m, &w, false);
	mdns_write_question(&m, &asked, type, false);
	if (known)
		mdns_write_record(&m, known);
	assert_int_equal(mdns_write_end(&m), 0);
	return writer_octets_written(&w);
}

/* Three probes, two announcements, and a good-bye. RFC 6762 8 */
static void test_announce(void **state) {
	struct bed bed;

	(void)state;
	start(&bed, NODE);
	mdns_announce(bed.mdns, true);
	run_ms(&bed, MDNS_PROBES * MDNS_PROBE_MS - 1); /* whatever the random delay before the first probe */
	assert_int_equal(bed.sent, MDNS_PROBES);
	assert_int_equal(bed.responses, 0);
	run_ms(&bed, 10000);
	assert_int_equal(bed.responses, MDNS_ANNOUNCEMENTS);
	mdns_announce(bed.mdns, false);
	assert_int_equal(bed.responses, MDNS_ANNOUNCEMENTS + 1);
	uint8_t buffer[256];
	hear(&bed, "192.0.2.9", question(buffer, sizeof(buffer), "_reload._udp.local", MDNS_PTR, NULL));
	run_ms(&bed, 10000);
	assert_int_equal(bed.responses, MDNS_ANNOUNCEMENTS + 1); /* silent afterwards */
	mdns_free(bed.mdns);
}

/* Any number of questions: one answer a second; known answers: none; strangers and other ports: none. RFC 6762 6, 7.1, 11 */
static void test_questions(void **state) {
	struct mdns_record known = {.section = MDNS_ANSWER, .type = MDNS_PTR, .ttl_s = MDNS_TTL_LONG_S};
	struct bed bed;
	uint8_t buffer[512];

	(void)state;
	start(&bed, NODE);
	mdns_announce(bed.mdns, true);
	run_ms(&bed, 10000);
	unsigned before = bed.responses;
	for (unsigned i = 0; i < 50; i++)
		hear(&bed, "192.0.2.9", question(buffer, sizeof(buffer), "_reload._udp.local", MDNS_PTR, NULL));
	assert_int_equal(bed.responses, before); /* others may answer too */
	run_ms(&bed, MDNS_ANSWER_DELAY_MAX_MS);
	assert_int_equal(bed.responses, before + 1);
	hear(&bed, "192.0.2.9", question(buffer, sizeof(buffer), "_reload._udp.local", MDNS_PTR, NULL));
	run_ms(&bed, MDNS_ANSWER_INTERVAL_MS - MDNS_ANSWER_DELAY_MAX_MS - 1);
	assert_int_equal(bed.responses, before + 1);
	run_ms(&bed, MDNS_ANSWER_DELAY_MAX_MS + 1);
	assert_int_equal(bed.responses, before + 2);
	run_ms(&bed, 10000);
	known.name = name_of("_reload._udp.local");
	known.target = name_of(NODE "._reload._udp.local");
	hear(&bed, "192.0.2.9", question(buffer, sizeof(buffer), "_reload._udp.local", MDNS_PTR, &known));
	hear(&bed, "192.0.2.9", question(buffer, sizeof(buffer), "_sip._udp.local", MDNS_PTR, NULL));
	hear(&bed, "198.51.100.1", question(buffer, sizeof(buffer), "_reload._udp.local", MDNS_PTR, NULL));
	hear(&bed, "192.0.2.9:4000", question(buffer, sizeof(buffer), "_reload._udp.local", MDNS_PTR, NULL));
	run_ms(&bed, 10000);
	assert_int_equal(bed.responses, before + 2);
	assert_int_equal(mdns_figures(bed.mdns)->off_link, 2);
	mdns_free(bed.mdns);
}

/* What the other's announcement looks like, changed for the case at hand. */
static struct octets announcement(uint8_t *buffer, size_t size, const char *overlay, const char *address, uint16_t port) {
	struct mdns_name service = name_of("_reload._udp.local"), instance = name_of(OTHER "._reload._udp.local"),
			 host = name_of("h.local");
	uint8_t text[64];
	struct writer t = writer_fixed(text, sizeof(text)), w = writer_fixed(buffer, size);
	struct mdns_writer m;

	size_t mark = writer_begin(&t, 1);
	writer_octets(&t, octets_of_string("overlay="));
	writer_octets(&t, octets_of_string(overlay));
	writer_end(&t, mark, 1);
	mdns_write_start(&m, &w, true);
	mdns_write_record(&m, &(struct mdns_record){
				      .section = MDNS_ANSWER, .name = service, .type = MDNS_PTR, .ttl_s = 9, .target = instance});
	mdns_write_record(
		&m, &(struct mdns_record){
			    .section = MDNS_ANSWER, .name = instance, .type = MDNS_SRV, .ttl_s = 9, .target = host, .port = port});
	mdns_write_record(
		&m,
		&(struct mdns_record){
			.section = MDNS_ANSWER, .name = instance, .type = MDNS_TXT, .ttl_s = 9, .text = writer_octets_written(&t)});
	mdns_write_record(
		&m, &(struct mdns_record){
			    .section = MDNS_ADDITIONAL, .name = host, .type = MDNS_A, .ttl_s = 9, .address = address_of(address)});
	assert_int_equal(mdns_write_end(&m), 0);
	return writer_octets_written(&w);
}

static void test_browse(void **state) {
	struct bed bed;
	uint8_t buffer[512];

	(void)state;
	start(&bed, NODE);
	hear(&bed, "192.0.2.9", announcement(buffer, sizeof(buffer), "example.org", "192.0.2.9", 7000));
	assert_int_equal(bed.found_count, 0); /* not asked */
	mdns_browse(bed.mdns, true);
	run_ms(&bed, 8000);
	assert_in_range(bed.sent, 3, 4); /* after 0, 1, 3 and 7 s */
	hear(&bed, "192.0.2.9", announcement(buffer, sizeof(buffer), "EXAMPLE.org", "192.0.2.9", 7000));
	assert_int_equal(bed.found_count, 1);
	assert_int_equal(bed.found[0].port, 7000);
	assert_int_equal(bed.found[0].octets[3], 9);
	hear(&bed, "192.0.2.9", announcement(buffer, sizeof(buffer), "other.example", "192.0.2.9", 7000));
	hear(&bed, "192.0.2.9", announcement(buffer, sizeof(buffer), "example.or", "192.0.2.9", 7000));
	hear(&bed, "192.0.2.9", announcement(buffer, sizeof(buffer), "example.org", "203.0.113.9", 7000));
	hear(&bed, "192.0.2.9", announcement(buffer, sizeof(buffer), "example.org", "192.0.2.9", 0));
	struct octets whole = announcement(buffer, sizeof(buffer), "example.org", "192.0.2.9", 7000);
	hear(&bed, "192.0.2.9", OCTETS(whole.data, whole.length - 1)); /* nothing of a damaged message */
	assert_int_equal(bed.found_count, 1);
	assert_int_equal(mdns_figures(bed.mdns)->other_overlay, 2);
	assert_int_equal(mdns_figures(bed.mdns)->off_link, 1);
	assert_int_equal(mdns_figures(bed.mdns)->malformed, 1);
	mdns_free(bed.mdns);
}

/* B reads what A announces, and A does not find itself. */
static void test_each_other(void **state) {
	struct bed a, b;

	(void)state;
	start(&a, NODE);
	start(&b, OTHER);
	mdns_announce(a.mdns, true);
	run_ms(&a, 5000);
	mdns_browse(a.mdns, true);
	mdns_browse(b.mdns, true);
	hear(&a, "192.0.2.1", OCTETS(a.last, a.last_length));
	hear(&b, "192.0.2.1", OCTETS(a.last, a.last_length));
	assert_int_equal(a.found_count, 0);
	assert_int_equal(mdns_figures(a.mdns)->conflicts, 0);
	assert_int_equal(b.found_count, 1);
	assert_int_equal(b.found[0].port, 6084);
	mdns_free(a.mdns);
	mdns_free(b.mdns);
}

/* Somebody else with our name: silence, and another try later. RFC 6762 9 */
static void test_conflict(void **state) {
	struct bed bed;
	uint8_t buffer[512];

	(void)state;
	start(&bed, OTHER);
	mdns_announce(bed.mdns, true);
	run_ms(&bed, 5000);
	unsigned before = bed.sent;
	hear(&bed, "192.0.2.9", announcement(buffer, sizeof(buffer), "example.org", "192.0.2.9", 7000));
	assert_int_equal(mdns_figures(bed.mdns)->conflicts, 1);
	run_ms(&bed, MDNS_CONFLICT_S * 1000 - 1);
	assert_int_equal(bed.sent, before);
	run_ms(&bed, 5000);
	assert_int_equal(bed.sent, before + MDNS_PROBES + MDNS_ANNOUNCEMENTS);
	mdns_free(bed.mdns);
}

static void test_flood(void **state) {
	struct bed bed;

	(void)state;
	start(&bed, NODE);
	mdns_browse(bed.mdns, true);
	for (unsigned i = 0; i < 1000; i++)
		hear(&bed, "192.0.2.9", OCTETS("x", 1));
	assert_int_equal(mdns_figures(bed.mdns)->malformed, MDNS_MESSAGES_BURST);
	assert_int_equal(mdns_figures(bed.mdns)->limited, 1000 - MDNS_MESSAGES_BURST);
	run_ms(&bed, 1000);
	for (unsigned i = 0; i < 1000; i++)
		hear(&bed, "192.0.2.9", OCTETS("x", 1));
	assert_int_equal(mdns_figures(bed.mdns)->malformed, MDNS_MESSAGES_BURST + MDNS_MESSAGES_PER_SECOND);
	mdns_free(bed.mdns);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),  cmocka_unit_test(test_compression), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_text),   cmocka_unit_test(test_announce),	   cmocka_unit_test(test_questions),
		cmocka_unit_test(test_browse), cmocka_unit_test(test_each_other),  cmocka_unit_test(test_conflict),
		cmocka_unit_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
