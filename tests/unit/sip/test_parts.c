/* SPDX-License-Identifier: BSD-2-Clause */
/* The pieces below the core: framing, URIs, the keyed hash, the building of responses. */
#include "unit/sip/harness.h"

#define START "OPTIONS sip:example.org SIP/2.0\r\n"

static int find(const char *text, bool stream, struct sip_frame *ret) {
	return sip_frame_find(octets_of_string(text), stream, ret);
}

static bool is(struct octets octets, const char *text) {
	return octets_equal(octets, octets_of_string(text));
}

static void test_frame(void **state) {
	const char *text = START "v: one\r\nVIA : two\r\nFrom:a\r\n b\r\n\tc\r\nt:\td \r\nl: 3\r\nX: y\r\n\r\nabcdef";
	struct sip_frame frame;

	(void)state;
	assert_int_equal(find(text, true, &frame), 0);
	assert_int_equal(frame.status, 0);
	assert_true(is(frame.method, "OPTIONS") && is(frame.uri, "sip:example.org") && is(frame.version, "SIP/2.0"));
	assert_true(is(frame.field[SIP_FIELD_VIA], "one"));
	assert_true(is(frame.field[SIP_FIELD_FROM], "a\r\n b\r\n\tc"));
	assert_true(is(frame.field[SIP_FIELD_TO], "d"));
	assert_null(frame.field[SIP_FIELD_CSEQ].data);
	assert_int_equal(frame.body_length, 3);
	assert_int_equal(frame.length, strlen(text) - 3);
	assert_int_equal(frame.parsed_count, 4);
	assert_int_equal(find(text, false, &frame), 0); /* octets behind the body of a datagram are void (RFC 3261 18.3) */
	assert_int_equal(frame.length, strlen(text) - 3);
	for (size_t length = 0; length < strlen(text) - 3; length++)
		assert_int_equal(sip_frame_find(OCTETS(text, length), true, &frame), -EAGAIN);
}

static void test_frame_refusals(void **state) {
	static const struct {
		const char *text;
		unsigned status;
	} rows[] = {
		{START "A: b\r\n\r\n", 0},
		{START "A: b\n\n", 0}, /* bare LF is a line end */
		{"OPTIONS sip:example.org sip/2.0\r\nA: b\r\n\r\n", 0},
		{"OPTIONS sip:example.org SIP/3.0\r\nA: b\r\n\r\n", 505},
		{"OPTIONS sip:example.org SIP/2.01\r\nA: b\r\n\r\n", 505},
		{"OPTIONS sip:example.org HTTP/1.1\r\nA: b\r\n\r\n", 400},
		{"OPTIONS sip:example.org\r\nA: b\r\n\r\n", 400},
		{"OPTIONS  sip:example.org SIP/2.0\r\nA: b\r\n\r\n", 400},
		{"OPTIONS sip:example.org SIP/2.0 \r\nA: b\r\n\r\n", 400},
		{"OPTIONS sip:exa mple.org SIP/2.0\r\nA: b\r\n\r\n", 400},
		{" OPTIONS sip:example.org SIP/2.0\r\nA: b\r\n\r\n", 400},
		{"OPT\"IONS sip:example.org SIP/2.0\r\nA: b\r\n\r\n", 400},
		{"X\r\n\r\n", 400},
		{START " A: b\r\n\r\n", 400}, /* continues nothing */
		{START "A\r\n\r\n", 400},
		{START ": b\r\n\r\n", 400},
		{START "A B: c\r\n\r\n", 400},
		{START "A: b\r\n \r\n\r\n", 400},
		{START "From: a\r\nf: b\r\n\r\n", 400},
		{START "To: a\r\nTo: b\r\n\r\n", 400},
		{START "CSeq: a\r\nCSeq: b\r\n\r\n", 400},
		{START "Call-ID: a\r\ni: b\r\n\r\n", 400},
		{START "Via: a\r\nVia: b\r\n\r\n", 0},
		{START "A: %00\r\n\r\n", 400},
		{START "Content-Length:\r\n\r\n", 400},
		{START "Content-Length: -1\r\n\r\n", 400},
		{START "Content-Length: 1 1\r\n\r\n", 400},
		{START "Content-Length: 0x1\r\n\r\n", 400},
		{START "Content-Length: 9999999999999\r\n\r\n", 400},
		{START "Content-Length: 99999\r\n\r\n", 513},
		{START "Content-Length: 1\r\n\r\n", 400},
		{START "Content-Length: 0\r\nl: 0\r\n\r\n", 400},
	};
	static const char *const hopeless[] = {
		"",
		"\r",
		"A",
		START,
		START "A: b\r\n",
		START "A: b\001\r\n\r\n",
		START "A: b\rC: d\r\n\r\n",
		START "A: \177\r\n\r\n",
	};
	struct sip_frame frame;

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		assert_int_equal(find(rows[i].text, false, &frame), 0);
		if (frame.status != rows[i].status)
			fail_msg("row %zu: %u instead of %u: %s", i, frame.status, rows[i].status, rows[i].text);
		assert_true((frame.status == 0) == (frame.reason == NULL));
	}
	for (size_t i = 0; i < ARRAY_LENGTH(hopeless); i++)
		assert_int_equal(find(hopeless[i], false, &frame), -EBADMSG);
	assert_int_equal(find("SIP/2.0 200 OK\r\nA: b\r\n\r\n", false, &frame), 0);
	assert_true(frame.response);
}

/* Exactly at each bound, and one beyond. */
static void test_frame_bounds(void **state) {
	_cleanup_free_ char *text = malloc(4 * SIP_HEADER_OCTETS);
	struct sip_frame frame;

	(void)state;
	assert_non_null(text);
	for (size_t excess = 0; excess < 2; excess++) {
		size_t length = (size_t)sprintf(text, START);
		for (unsigned i = 0; i < SIP_HEADER_LINES + excess; i++)
			length += (size_t)sprintf(text + length, "A: b\r\n");
		sprintf(text + length, "\r\n");
		assert_int_equal(find(text, false, &frame), 0);
		assert_int_equal(frame.status, excess ? 513 : 0);

		length = (size_t)sprintf(text, START "A: ");
		memset(text + length, ';', SIP_SEPARATORS + excess);
		sprintf(text + length + SIP_SEPARATORS + excess, "\r\n\r\n");
		assert_int_equal(find(text, false, &frame), 0);
		assert_int_equal(frame.status, excess ? 513 : 0);

		length = (size_t)sprintf(text, START "A: ");
		memset(text + length, 'a', SIP_LINE_OCTETS);
		sprintf(text + length + SIP_LINE_OCTETS - strlen("A: \r\n bcde\r\n") + excess, "\r\n bcde\r\nX: y\r\n\r\n");
		assert_int_equal(find(text, false, &frame), 0);
		assert_int_equal(frame.status, excess ? 513 : 0);

		length = (size_t)sprintf(text, START);
		for (unsigned i = 0; i < SIP_FIELDS_PARSED + excess; i++)
			length += (size_t)sprintf(text + length, "m: b\r\n");
		sprintf(text + length, "\r\n");
		assert_int_equal(find(text, false, &frame), 0);
		assert_int_equal(frame.status, excess ? 513 : 0);

		length = (size_t)sprintf(text, START);
		while (length < SIP_HEADER_OCTETS - 2000)
			length += (size_t)sprintf(text + length, "A: %01000d\r\n", 0);
		length += (size_t)sprintf(text + length, "A: ");
		size_t rest = SIP_HEADER_OCTETS - 4 + excess - length;
		memset(text + length, 'a', rest);
		sprintf(text + length + rest, "\r\n\r\n");
		assert_int_equal(find(text, false, &frame), 0);
		assert_int_equal(frame.header.length, SIP_HEADER_OCTETS + excess);
		assert_int_equal(frame.status, excess ? 513 : 0);

		memset(text, 'a', SIP_HEADER_OCTETS + excess); /* no end in sight */
		assert_int_equal(sip_frame_find(OCTETS(text, SIP_HEADER_OCTETS + excess), true, &frame),
				 excess ? -EMSGSIZE : -EAGAIN);
	}
	memset(text, 'a', SIP_LINE_OCTETS + 1);
	memcpy(text, "OPTIONS ", 8);
	sprintf(text + SIP_LINE_OCTETS, " SIP/2.0\r\nA: b\r\n\r\n");
	assert_int_equal(find(text, false, &frame), 0);
	assert_int_equal(frame.status, 513);
}

static void test_uri_equal(void **state) {
	/* Mostly the examples of RFC 3261 19.1.4. */
	static const struct {
		const char *a, *b;
		bool equal;
	} rows[] = {
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
		 "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent",
		 "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off", false},
		{"sip:bob@biloxi.com", "sips:bob@biloxi.com", false},
		{"sip:bob@biloxi.com", "sip:biloxi.com", false},
		{"sip:bob:a@biloxi.com", "sip:bob:b@biloxi.com", false},
		{"sip:bob@biloxi.com;maddr=192.0.2.1", "sip:bob@biloxi.com", false},
		{"sip:bob@biloxi.com;lr", "sip:bob@biloxi.com", true},
		{"sip:bob@biloxi.com;user=phone", "sip:bob@biloxi.com", false},
		{"tel:+15550100", "tel:+15550100", true},
		{"tel:+15550100", "tel:+15550101", false},
		{"tel:+15550100", "sip:+15550100@example.org", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		_cleanup_(uri_freep) osip_uri_t *a = uri_parse(rows[i].a), *b = uri_parse(rows[i].b);
		assert_true(a && b);
		if (uri_equal(a, b) != rows[i].equal || uri_equal(b, a) != rows[i].equal)
			fail_msg("%s and %s", rows[i].a, rows[i].b);
		assert_true(uri_equal(a, a));
	}
}

static void test_uri_aor(void **state) {
	static const struct {
		const char *uri, *aor; /* NULL: has none */
	} rows[] = {
		{"sip:alice@example.org", "alice@example.org"},
		{"sips:alice@Example.ORG.:5061;user=phone?a=b", "alice@example.org"},
		{"sip:%61l%69ce:secret@example.org", "alice@example.org"}, /* S-7-01 */
		{"sip:Alice+1.x-y@example.org", "Alice+1.x-y@example.org"},
		{"sip:alice@[2001:db8::1]", "alice@2001:db8::1"},
		{"sip:example.org", NULL},
		{"sip:a%20b@example.org", NULL},
		{"sip:a%40b@example.org", NULL},
		{"sip:a%0ab@example.org", NULL},
		{"sip:%C3%A4@example.org", NULL},
		{"sip:%3Ca%3E@example.org", NULL},
		{"tel:+15550100", NULL},
	};
	char aor[SIP_AOR_OCTETS + 1], text[2 * SIP_AOR_OCTETS];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		_cleanup_(uri_freep) osip_uri_t *uri = uri_parse(rows[i].uri);
		assert_non_null(uri);
		if (rows[i].aor) {
			assert_int_equal(uri_aor(uri, aor), 0);
			assert_string_equal(aor, rows[i].aor);
		} else {
			assert_int_equal(uri_aor(uri, aor), -EINVAL);
		}
	}
	for (size_t excess = 0; excess < 2; excess++) {
		size_t room = SIP_AOR_OCTETS + excess - strlen("@example.org");
		memset(text, 'a', sizeof(text));
		memcpy(text, "sip:", 4);
		strcpy(text + 4 + room, "@example.org");
		_cleanup_(uri_freep) osip_uri_t *uri = uri_parse(text);
		assert_non_null(uri);
		assert_int_equal(uri_aor(uri, aor), excess ? -ENAMETOOLONG : 0);
	}
}

static void test_uri_parse(void **state) {
	static const char *const bad[] = {"",	      "alice",	   "sip:",	  "sip:@",    "sip:a b@c",
					  "sip:a@b>", "<sip:a@b>", "sip:a@b\r\n", "sip:a\"@b"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
		assert_null(uri_parse(bad[i]));
	assert_null(uri_free(NULL));
}

static void test_uri_address(void **state) {
	struct address address, other;
	static const struct {
		const char *uri;
		bool ours;
	} rows[] = {
		{"sip:192.0.2.1", true},  {"sip:bob@192.0.2.1:5080", true}, {"sip:192.0.2.1:5060", false},
		{"sip:192.0.2.2", false}, {"sip:example.org", false},	    {"sip:[::ffff:192.0.2.1]", false},
		{"tel:192.0.2.1", false},
	};

	(void)state;
	assert_int_equal(address_parse("192.0.2.1", 5080, &address), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		_cleanup_(uri_freep) osip_uri_t *uri = uri_parse(rows[i].uri);
		assert_non_null(uri);
		assert_int_equal(uri_names_address(uri, &address), rows[i].ours);
	}
	_cleanup_(uri_freep) osip_uri_t *six = uri_parse("sip:[2001:DB8:0::1]");
	assert_int_equal(address_parse("2001:db8::1", 5060, &other), 0);
	assert_true(uri_names_address(six, &other));
	other = (struct address){0};
	assert_false(uri_names_address(six, &other));
}

/* The vectors of the SipHash reference implementation: octets 0, 1, 2 … under the key 0, 1, … 15. */
static void test_keyed_hash(void **state) {
	static const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
	static const struct {
		size_t length;
		uint64_t hash;
	} rows[] = {
		{0, UINT64_C(0x726fdb47dd0e0e31)}, {1, UINT64_C(0x74f839c593dc67fd)},  {7, UINT64_C(0xab0200f58b01d137)},
		{8, UINT64_C(0x93f5f5799a932462)}, {15, UINT64_C(0xa129ca6149be45e5)}, {63, UINT64_C(0x958a324ceb064572)},
	};
	uint8_t octets[64];

	(void)state;
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++)
		assert_true(keyed_hash(key, OCTETS(octets, rows[i].length)) == rows[i].hash);
}

/* The same for the variant with 128 bits. */
static void test_keyed_hash_long(void **state) {
	static const uint64_t key[2] = {UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)};
	static const struct {
		size_t length;
		uint64_t hash[2];
	} rows[] = {
		{0, {UINT64_C(0xe6a825ba047f81a3), UINT64_C(0x930255c71472f66d)}},
		{1, {UINT64_C(0x44af996bd8c187da), UINT64_C(0x45fc229b11597634)}},
	};
	const uint8_t octets[1] = {0};
	uint64_t hash[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		keyed_hash_long(key, OCTETS(octets, rows[i].length), hash);
		assert_memory_equal(hash, rows[i].hash, sizeof(hash));
	}
}

static void test_response(void **state) {
	uint8_t text[256];
	struct writer w = writer_fixed(text, sizeof(text));

	(void)state;
	sip_response_write(503, "Over\r\nlay\x80", octets_of_string("A: b\r\n"), octets_of_string("C: d\r\n"), &w);
	assert_true(is(writer_octets_written(&w), "SIP/2.0 503 Over??lay?\r\nA: b\r\nC: d\r\nContent-Length: 0\r\n\r\n"));
	w = writer_fixed(text, 20);
	sip_response_write(503, "No Room", OCTETS_NONE, OCTETS_NONE, &w);
	assert_int_equal(writer_finish(&w), -ENOBUFS);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_frame),		cmocka_unit_test(test_frame_refusals), cmocka_unit_test(test_frame_bounds),
		cmocka_unit_test(test_uri_equal),	cmocka_unit_test(test_uri_aor),	       cmocka_unit_test(test_uri_parse),
		cmocka_unit_test(test_uri_address),	cmocka_unit_test(test_keyed_hash),     cmocka_unit_test(test_response),
		cmocka_unit_test(test_keyed_hash_long),
	};

	parser_init();
	return cmocka_run_group_tests_name("sip parts", tests, NULL, NULL);
}
