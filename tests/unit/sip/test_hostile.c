/* SPDX-License-Identifier: BSD-2-Clause */
/* What phones never send: malformed requests and 20,000 damaged ones. Whatever comes, answers are well-formed or not given. */
#include "unit/sip/harness.h"

#define A_VIA "Via: SIP/2.0/UDP 192.0.2.9;rport;branch=z9hG4bK%u\r\n"
#define A_FROM "From: <sip:alice@example.org>;tag=f\r\n"
#define A_TO "To: <sip:alice@example.org>\r\n"
#define A_CALL "Call-ID: %u\r\n"
#define A_CSEQ "CSeq: 1 OPTIONS\r\n"
#define A_LINE "OPTIONS sip:example.org SIP/2.0\r\n"

/* Lines end with CRLF, nothing unprintable, first line and last field as we write them. */
static void check_answer(const char *answer) {
	size_t length = strlen(answer);
	const char *end = "\r\nContent-Length: 0\r\n\r\n";

	if (status_of(answer) < 100 || length < strlen(end) || strcmp(answer + length - strlen(end), end) != 0 ||
	    strstr(answer, "\r\n\r\n") != answer + length - 4)
		fail_msg("malformed answer:\n%s", answer);
	for (const char *c = answer; *c; c++)
		if ((*c == '\r' && c[1] != '\n') || (*c == '\n' && c[-1] != '\r') ||
		    ((uint8_t)*c < ' ' && *c != '\r' && *c != '\n' && *c != '\t'))
			fail_msg("malformed answer:\n%s", answer);
}

static void test_malformed(void **state) {
	static const struct {
		const char *text; /* %u: a number of its own */
		unsigned status;  /* 0: no answer */
		const char *reason;
	} rows[] = {
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 200, "OK"},
		{"\r\n\r\n" A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 200, "OK"},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "Accept: ,,;;\"\r\nRoute: <<<\r\n\r\n", 200,
		 "OK"}, /* RFC 3261 8.2: not needed, ignored */
		{A_LINE A_FROM A_TO A_CALL A_CSEQ "\r\n", 0, NULL},
		{A_LINE A_VIA A_TO A_CALL A_CSEQ "\r\n", 400, "Missing From"},
		{A_LINE A_VIA A_FROM A_CALL A_CSEQ "\r\n", 400, "Missing To"},
		{A_LINE A_VIA A_FROM A_TO A_CSEQ "\r\n", 400, "Missing Call-ID"},
		{A_LINE A_VIA A_FROM A_TO A_CALL "\r\n", 400, "Missing CSeq"},
		{A_LINE A_VIA "From:\r\n" A_TO A_CALL A_CSEQ "\r\n", 400, "Missing From"},
		{A_LINE A_VIA A_FROM A_FROM A_TO A_CALL A_CSEQ "\r\n", 400, "Duplicate From"},
		{A_LINE A_VIA A_FROM A_TO A_TO A_CALL A_CSEQ "\r\n", 400, "Duplicate To"},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ A_CSEQ "\r\n", 400, "Duplicate CSeq"},
		{A_LINE A_VIA A_FROM A_TO A_CALL "CSeq: 1 INVITE\r\n\r\n", 400, "CSeq Method Differs"},
		{A_LINE A_VIA A_FROM A_TO A_CALL "CSeq: 1\r\n\r\n", 400, NULL},
		{A_LINE A_VIA A_FROM A_TO A_CALL "CSeq: OPTIONS\r\n\r\n", 400, NULL},
		{A_LINE A_VIA A_FROM A_TO A_CALL "CSeq: -1 OPTIONS\r\n\r\n", 400, NULL},
		{A_LINE A_VIA A_FROM A_TO A_CALL "CSeq: 4294967296 OPTIONS\r\n\r\n", 400, "Malformed CSeq"},
		{A_LINE A_VIA "From: alice\r\n" A_TO A_CALL A_CSEQ "\r\n", 400, NULL},
		{A_LINE A_VIA A_FROM "To: <>\r\n" A_CALL A_CSEQ "\r\n", 400, NULL},
		{A_LINE A_VIA A_FROM "To: <sip:@>\r\n" A_CALL A_CSEQ "\r\n", 400, NULL},
		{A_LINE A_VIA A_FROM "To: \"<sip:alice@example.org>\r\n" A_CALL A_CSEQ "\r\n", 400, NULL},
		{"OPTIONS sip: SIP/2.0\r\n" A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 400, NULL},
		{"OPTIONS <sip:example.org> SIP/2.0\r\n" A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 400, NULL},
		{"OPTIONS example.org SIP/2.0\r\n" A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 400, NULL},
		{"OPTIONS sip:example.org SIP/7.0\r\n" A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 505, "Version Not Supported"},
		{"ACK sip:example.org SIP/7.0\r\n" A_VIA A_FROM A_TO A_CALL "CSeq: 1 ACK\r\n\r\n", 0, NULL},
		{"ACK sip:example.org SIP/2.0\r\n" A_VIA A_FROM A_CALL "CSeq: 1 ACK\r\n\r\n", 0, NULL},
		{"OPTIONS unknown:thing SIP/2.0\r\n" A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 416, NULL},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "Content-Length: 5\r\n\r\nabc", 400, "Body Shorter Than Content-Length"},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "Content-Length: five\r\n\r\nabcde", 400, "Malformed Content-Length"},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "Content-Length: 2\r\n\r\nabcde", 200, "OK"},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "Contact: %%00\r\n\r\n", 400, "Escaped NUL in Header"},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ, 0, NULL}, /* the header does not end */
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "A: \001\r\n\r\n", 0, NULL},
		{A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "A: b\rVia: c\r\n\r\n", 0, NULL},
		{A_LINE "Via: nonsense\r\n" A_FROM A_TO A_CALL A_CSEQ "\r\n", 0, NULL},
		{A_LINE "Via: SIP/2.0/UDP\r\n" A_FROM A_TO A_CALL A_CSEQ "\r\n", 0, NULL},
		{A_LINE "Via: SIP/2.0/UDP ;branch=1\r\n" A_FROM A_TO A_CALL A_CSEQ "\r\n", 0, NULL},
		{A_LINE "Via:\r\n" A_FROM A_TO A_CALL A_CSEQ "\r\n", 0, NULL},
		{A_LINE "Via: SIP/2.0/UDP 192.0.2.9:99999;rport;branch=z9hG4bK%u\r\n" A_FROM A_TO A_CALL A_CSEQ "\r\n", 200, "OK"},
		{"SIP/2.0 200 OK\r\n" A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 0, NULL},
		{"SIP/2.0 garbage\r\n\r\n", 0, NULL},
		{"\r\n\r\n", 0, NULL},
		{"\r\n", 0, NULL},
		{"x", 0, NULL},
	};
	struct fixture *f = *state;
	char text[2048];

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		char head[32];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-security"
		snprintf(text, sizeof(text), rows[i].text, (unsigned)i, (unsigned)i);
#pragma GCC diagnostic pop
		send_text(f, text);
		received(f);
		if (status_of(f->answer) != rows[i].status)
			fail_msg("row %zu: expected %u for\n%sgot:\n%s", i, rows[i].status, text, f->answer);
		if (rows[i].status == 0)
			continue;
		check_answer(f->answer);
		snprintf(head, sizeof(head), "SIP/2.0 %u ", rows[i].status);
		if (rows[i].reason && strncmp(f->answer + strlen(head), rows[i].reason, strlen(rows[i].reason)) != 0)
			fail_msg("row %zu: not \"%s\":\n%s", i, rows[i].reason, f->answer);
		expect_text(f, "\r\nVia: SIP/2.0/UDP 192.0.2.9");
	}
	assert_int_equal(f->asked, 0);
	assert_true(figures(f).malformed > 20);
	send_octets(f, "\0\0\0\0", 4); /* a keep-alive of some phones */
	send_octets(f, "", 0);
	expect_nothing(f);
}

/* Bounds of what the parser gets to see, from the outside. */
static void test_too_large(void **state) {
	struct fixture *f = *state;
	_cleanup_free_ char *text = malloc(70000);
	size_t length;

	assert_non_null(text);
	length = (size_t)sprintf(text, A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ, 1u, 1u);
	while (length < 60000)
		length += (size_t)sprintf(text + length, "A: b\r\n");
	sprintf(text + length, "\r\n");
	send_text(f, text);
	expect_status(f, 513);
	length = (size_t)sprintf(text, A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "Contact: <sip:a@b>", 2u, 2u);
	while (length < 4000)
		length += (size_t)sprintf(text + length, ";a");
	sprintf(text + length, "\r\n\r\n");
	send_text(f, text);
	expect_status(f, 513);
	/* A datagram as long as they get, most of it body. */
	length = (size_t)sprintf(text, A_LINE A_VIA A_FROM A_TO A_CALL A_CSEQ "\r\n", 3u, 3u);
	memset(text + length, 'b', 65507 - length);
	send_octets(f, text, 65507);
	expect_status(f, 200);
}

static const char *const seeds[] = {
	"REGISTER sip:example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:5060;rport;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
	"From: \"Alice\" <sip:alice@example.org>;tag=a73kszlfl\r\nTo: <sip:alice@example.org>\r\nCall-ID: 1j9FpLxk3uxtm8tn@h\r\n"
	"CSeq: 1 REGISTER\r\nContact: <sip:alice@192.0.2.4;transport=tcp>;q=0.7;expires=3600, <sips:alice@[2001:db8::1]:5061>\r\n"
	"Expires: 7200\r\nContent-Length: 0\r\n\r\n",
	"REGISTER sip:example.org SIP/2.0\r\nv: SIP/2.0/UDP h.example.org;rport;branch=z9hG4bK2\r\nf: sip:bob@example.org;tag=2\r\n"
	"t: sip:bob@example.org\r\ni: 2\r\nCSeq: 7 REGISTER\r\nm: *\r\nExpires: 0\r\nl: 0\r\n\r\n",
	"INVITE sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK3;received=1.2.3.4, SIP/2.0/TCP p1 "
	"(c)\r\n"
	"Via: SIP/2.0/TLS [2001:db8::9]:5061;branch=z9hG4bK4\r\nMax-Forwards: 70\r\nTo: Bob <sip:bob@example.org>\r\n"
	"From: Alice <sip:alice@example.org>;tag=1928301774\r\nCall-ID: a84b4c76e66710\r\nCSeq: 314159 INVITE\r\n"
	"Contact: <sip:alice@192.0.2.4>\r\nRequire: 100rel,\r\n timer\r\nContent-Type: application/sdp\r\nContent-Length: "
	"7\r\n\r\nv=0\r\n\r\n",
	"ACK sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK3\r\nTo: <sip:bob@example.org>;tag=9\r\n"
	"From: Alice <sip:alice@example.org>;tag=1928301774\r\nCall-ID: a84b4c76e66710\r\nCSeq: 314159 ACK\r\n\r\n",
	"CANCEL sip:bob@example.org SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK3\r\nTo: <sip:bob@example.org>\r\n"
	"From: Alice <sip:alice@example.org>;tag=1928301774\r\nCall-ID: a84b4c76e66710\r\nCSeq: 314159 CANCEL\r\n\r\n",
	"OPTIONS sip:127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=1;rport\r\nFrom: <sip:%61@h>\r\nTo: \"\\\"\" "
	"<sips:b@h;lr?a=b>\r\n"
	"Call-ID: 5@[::1]\r\nCSeq: 0 OPTIONS\r\nTimestamp: 1\r\nAccept: */*;q=0.1\r\nContent-Length: 0\r\n\r\n",
	"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bK9\r\nCSeq: 1 INVITE\r\n\r\n",
};

static const char *const tokens[] = {
	"\r\n",
	"\r\n ",
	"\r\n\r\n",
	"\r",
	"\n",
	"\t",
	" ",
	":",
	";",
	",",
	"<",
	">",
	"\"",
	"\\",
	"\"\"",
	"@",
	"=",
	"?",
	"&",
	"%00",
	"%",
	"%0d%0a",
	"[",
	"]",
	"(",
	")",
	"*",
	"sip:",
	"sips:",
	";;;;",
	",,,,",
	"<<",
	"Contact: ",
	"Via: ",
	"To: ",
	"From: ",
	"Require: ",
	";tag=",
	";branch=",
	";branch=z9hG4bK",
	";expires=",
	";q=",
	"SIP/2.0",
	"99999999999",
	"-1",
	"\x80\xff",
	"\x7f",
	"Content-Length: 1\r\n",
	"Expires: x\r\n",
	"sip:a:b@c:d;e=f?g=h",
	"<sip:\"@\">",
	"tel:1",
	"()",
};

/* Damages `text` in place; returns its new length. */
static size_t mutate(struct fixture *f, char *text, size_t length, size_t room) {
	size_t at = length > 0 ? fixture_next_random(f) % length : 0;
	size_t count = fixture_next_random(f) % 12 + 1;
	const char *token = tokens[fixture_next_random(f) % ARRAY_LENGTH(tokens)];

	switch (fixture_next_random(f) % 8) {
	case 0: /* another octet */
		if (length > 0)
			text[at] = (char)fixture_next_random(f);
		return length;
	case 1: /* a flipped bit */
		if (length > 0)
			text[at] ^= (char)(1 << fixture_next_random(f) % 8);
		return length;
	case 2: /* something is gone */
		count = count > length - at ? length - at : count;
		memmove(text + at, text + at + count, length - at - count);
		return length - count;
	case 3: /* the end is */
		return fixture_next_random(f) % 4 == 0 ? at : length;
	case 4: /* something twice */
		count = count * 8 > length - at ? length - at : count * 8;
		if (length + count > room)
			return length;
		memmove(text + at + count, text + at, length - at);
		return length + count;
	default: /* something that means something */
		count = strlen(token);
		if (length + count > room)
			return length;
		memmove(text + at + count, text + at, length - at);
		memcpy(text + at, token, count);
		return length + count;
	}
}

static void read_answers(struct fixture *f, unsigned *answered) {
	for (;;) {
		ssize_t length = recv(f->phone, f->answer, sizeof(f->answer) - 1, MSG_DONTWAIT);
		if (length < 0)
			return;
		f->answer[length] = 0;
		assert_int_equal(strlen(f->answer), length);
		check_answer(f->answer);
		++*answered;
	}
}

static void test_mutations(void **state) {
	struct fixture *f = *state;
	unsigned answered = 0;
	char text[4096];

	f->contacts[f->contact_count++] = (struct sip_redirect_contact){.uri = "sip:there@192.0.2.1", .expires_s = 60};
	for (unsigned i = 0; i < 20000; i++) {
		const char *seed = seeds[fixture_next_random(f) % ARRAY_LENGTH(seeds)];
		size_t length = strlen(seed);
		memcpy(text, seed, length);
		for (unsigned rounds = (unsigned)fixture_next_random(f) % 6; rounds > 0; rounds--)
			length = mutate(f, text, length, sizeof(text));
		send_octets(f, text, length);
		f->bind_status = fixture_next_random(f) % 4 == 0 ? 503 : 200;
		/* Also timers, retransmissions and expiries, and transactions that meet others of the same key. */
		advance(f, fixture_next_random(f) % 64 == 0 ? 40 * USEC_PER_SEC : 10 * USEC_PER_MSEC);
		read_answers(f, &answered);
		assert_true(figures(f).bindings <= 2 * SIP_CONTACTS_PER_AOR);
	}
	assert_true(answered > 5000);
	advance(f, 100 * USEC_PER_SEC);
	drain(f);
	assert_null(f->gateway->transactions);
	assert_int_equal(f->gateway->transaction_octets, 0);
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org")); /* still there */
	expect_status(f, 200);
}

/* Streams of damaged messages in damaged pieces. */
static void test_mutated_streams(void **state) {
	struct fixture *f = *state;
	struct sockaddr_storage sockaddr;
	socklen_t sockaddr_length = address_to_sockaddr(&f->address, &sockaddr);
	char text[8192];

	for (unsigned i = 0; i < 300; i++) {
		size_t length = 0;
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		assert_int_equal(connect(fd, (struct sockaddr *)&sockaddr, sockaddr_length), 0);
		for (unsigned messages = 0; messages < 4; messages++) {
			const char *seed = seeds[fixture_next_random(f) % ARRAY_LENGTH(seeds)];
			memcpy(text + length, seed, strlen(seed));
			size_t one = strlen(seed);
			if (fixture_next_random(f) % 2 == 0)
				one = mutate(f, text + length, one, 1200);
			length += one;
		}
		for (size_t at = 0; at < length;) {
			size_t piece = fixture_next_random(f) % 600 + 1;
			piece = piece > length - at ? length - at : piece;
			if (send(fd, text + at, piece, MSG_NOSIGNAL) < 0)
				break; /* closed on us, as it may be */
			pump(f);
			at += piece;
		}
		close(fd);
		advance(f, USEC_PER_SEC);
	}
	advance(f, 100 * USEC_PER_SEC);
	assert_int_equal(figures(f).tcp_connections, 0);
	assert_null(f->gateway->transactions);
	drain(f);
	send_text(f, REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org"));
	expect_status(f, 200);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mutations, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mutated_streams, setup, teardown),
	};

	return cmocka_run_group_tests_name("sip from strangers", tests, NULL, NULL);
}
