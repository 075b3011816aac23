/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP: framing, keep-alives, and what a connection may cost (RFC 3261 18.3, RFC 5626 3.5.1). */
#include "unit/sip/harness.h"

#include <netinet/tcp.h>
#include <sys/resource.h>

#define BOB "sip:bob@example.org"

/* room: octets of answers that the system takes for the phone, 0 for as many as it likes. */
static int dial_with(struct fixture *f, int room) {
	struct sockaddr_storage sockaddr;
	const int on = 1;
	socklen_t length = address_to_sockaddr(&f->address, &sockaddr);
	int fd = socket(f->address.family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	if (room > 0)
		assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sockaddr, length), 0);
	assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), 0);
	pump(f);
	return fd;
}

static int dial(struct fixture *f) {
	return dial_with(f, 0);
}

static void write_octets(struct fixture *f, int fd, const char *data, size_t length) {
	assert_int_equal(send(fd, data, length, MSG_NOSIGNAL), (ssize_t)length);
	pump(f);
}

static void write_text(struct fixture *f, int fd, const char *text) {
	write_octets(f, fd, text, strlen(text));
}

/* Waits until something can be read, or the end of the connection. Returns the octets now in f->answer, -1 for a reset. */
static ssize_t read_some(struct fixture *f, int fd) {
	struct pollfd polled = {.fd = fd, .events = POLLIN};

	pump(f);
	if (poll(&polled, 1, WAIT_MS) != 1)
		fail_msg("no answer");
	ssize_t length = recv(fd, f->answer, sizeof(f->answer) - 1, MSG_DONTWAIT);
	f->answer[length < 0 ? 0 : length] = 0;
	return length;
}

static void expect_answer(struct fixture *f, int fd, unsigned status) {
	read_some(f, fd);
	if (status_of(f->answer) != status)
		fail_msg("expected %u, got:\n%s", status, f->answer);
}

static void expect_silence(struct fixture *f, int fd) {
	char octet;

	pump(f);
	assert_int_equal(recv(fd, &octet, 1, MSG_DONTWAIT | MSG_PEEK), -1);
	assert_int_equal(errno, EAGAIN);
}

static void expect_closed(struct fixture *f, int fd) {
	while (read_some(f, fd) > 0)
		;
	assert_int_equal(figures(f).tcp_connections, 0);
	close(fd);
}

static const char *options_text(struct fixture *f) {
	return REQUEST(f, .method = "OPTIONS", .uri = "sip:example.org", .transport = "TCP");
}

static void test_request(void **state) {
	struct fixture *f = *state;
	int fd = dial(f);

	assert_int_equal(figures(f).tcp_connections, 1);
	write_text(f, fd, REQUEST(f, .method = "REGISTER", .transport = "TCP", .fields = "Contact: <sip:alice@192.0.2.1>\r\n"));
	expect_answer(f, fd, 200);
	expect_text(f, "\r\nVia: SIP/2.0/TCP ");
	expect_text(f, ";received=127.0.0.1;rport=");
	advance(f, 1);
	assert_null(f->gateway->transactions); /* timer J is 0 */
	f->resolve_status = 404;
	write_text(f, fd, REQUEST(f, .method = "INVITE", .uri = BOB, .transport = "TCP", .branch = "z9hG4bKi", .call_id = "i"));
	expect_answer(f, fd, 404);
	advance(f, 20 * USEC_PER_SEC);
	expect_silence(f, fd); /* no timer G */
	write_text(f, fd, REQUEST(f, .method = "ACK", .uri = BOB, .transport = "TCP", .branch = "z9hG4bKi", .call_id = "i"));
	advance(f, 1);
	assert_null(f->gateway->transactions); /* timer I is 0 */
	close(fd);
	pump(f);
	assert_int_equal(figures(f).tcp_connections, 0);
}

static void test_octet_by_octet(void **state) {
	struct fixture *f = *state;
	_cleanup_free_ char *text =
		strdup(REQUEST(f, .method = "MESSAGE", .uri = BOB, .transport = "TCP", .body = "Hi\r\n\r\nyou"));
	int fd = dial(f);

	f->resolve_status = 480;
	for (size_t i = 0; text[i + 1]; i++) {
		write_octets(f, fd, text + i, 1);
		expect_silence(f, fd);
	}
	write_octets(f, fd, text + strlen(text) - 1, 1);
	expect_answer(f, fd, 480);
	close(fd);
}

static void test_pipelined(void **state) {
	struct fixture *f = *state;
	_cleanup_free_ char *text = calloc(1, 65536), *got = calloc(1, 65536);
	size_t length = 0, answers = 0, got_length = 0;
	int fd = dial(f);

	assert_true(text && got);
	for (unsigned i = 0; i < 20; i++) {
		length += (size_t)sprintf(text + length, "%s", options_text(f));
		length += (size_t)sprintf(text + length, "%s", i % 3 == 0 ? "\r\n" : i % 3 == 1 ? "\r\n\r\n" : "");
	}
	for (size_t at = 0; at < length; at += 1000)
		write_octets(f, fd, text + at, length - at < 1000 ? length - at : 1000);
	while (count_text(got, "SIP/2.0 200 OK") < 20) {
		ssize_t some = read_some(f, fd);
		assert_true(some > 0);
		memcpy(got + got_length, f->answer, (size_t)some);
		got_length += (size_t)some;
	}
	answers = count_text(got, "\r\n\r\n\r\n"); /* an answer, and behind it what a keep-alive gets */
	assert_int_equal(answers, 7);
	expect_silence(f, fd);
	close(fd);
}

static void test_keep_alive(void **state) {
	struct fixture *f = *state;
	int fd = dial(f);

	write_text(f, fd, options_text(f));
	expect_answer(f, fd, 200);
	for (unsigned i = 0; i < 5; i++) {
		advance(f, (SIP_TCP_IDLE_SECONDS - 1) * USEC_PER_SEC);
		write_text(f, fd, "\r\n");
		expect_silence(f, fd);
		write_text(f, fd, "\r\n");
		assert_int_equal(read_some(f, fd), 2);
		assert_string_equal(f->answer, "\r\n");
	}
	advance(f, SIP_TCP_IDLE_SECONDS * USEC_PER_SEC - 1);
	assert_int_equal(figures(f).tcp_connections, 1);
	advance(f, 1);
	expect_closed(f, fd);
}

/* Who says nothing, only keep-alives, or a message bit by bit, is closed in time. */
static void test_slow(void **state) {
	static const char *const rows[] = {"", "\r\n\r\n", "\r", "OPTIONS sip:example.org SIP/2.0\r\n", "O"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
		int fd = dial(f);
		if (rows[i][0])
			write_text(f, fd, rows[i]);
		advance(f, (SIP_TCP_MESSAGE_SECONDS - 1) * USEC_PER_SEC);
		assert_int_equal(figures(f).tcp_connections, 1);
		if (i == 3)
			write_text(f, fd, "X: y\r\n"); /* does not help */
		advance(f, USEC_PER_SEC);
		expect_closed(f, fd);
	}
	int fd = dial(f);
	write_text(f, fd, options_text(f));
	expect_answer(f, fd, 200);
	advance(f, 100 * USEC_PER_SEC);
	write_text(f, fd, "OPT"); /* its time begins now */
	advance(f, (SIP_TCP_MESSAGE_SECONDS - 1) * USEC_PER_SEC);
	assert_int_equal(figures(f).tcp_connections, 1);
	advance(f, USEC_PER_SEC);
	expect_closed(f, fd);
}

static void test_bad_framing(void **state) {
	struct fixture *f = *state;
	char text[2048];

	for (unsigned i = 0; i < 4; i++) {
		static const char *const lengths[] = {"", "Content-Length: x\r\n", "Content-Length: 999999\r\n",
						      "Content-Length: 4294967295\r\n"};
		static const unsigned statuses[] = {400, 400, 513, 400};
		int fd = dial(f);
		snprintf(text, sizeof(text),
			 "OPTIONS sip:example.org SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK%u\r\nFrom: <sip:a@b>;tag=1\r\n"
			 "To: <sip:a@b>\r\nCall-ID: %u\r\nCSeq: 1 OPTIONS\r\n%s\r\nOPTIONS sip:again SIP/2.0\r\n",
			 i, i, lengths[i]);
		write_text(f, fd, text);
		expect_answer(f, fd, statuses[i]);
		expect_closed(f, fd); /* where the next begins cannot be known */
	}
	assert_int_equal(figures(f).requests, 4);
	int fd = dial(f);
	write_octets(f, fd, "OPTIONS \0 SIP/2.0\r\nA: b\r\n\r\n", 27);
	expect_closed(f, fd);
	fd = dial(f);
	write_text(f, fd, "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n");
	expect_closed(f, fd);
}

static void test_oversized(void **state) {
	struct fixture *f = *state;
	_cleanup_free_ char *text = malloc(70000);
	int fd = dial(f);

	assert_non_null(text);
	memset(text, 'a', 70000); /* a header that never ends */
	memcpy(text, "OPTIONS sip:example.org SIP/2.0\r\n", 33);
	write_octets(f, fd, text, SIP_HEADER_OCTETS);
	assert_int_equal(figures(f).tcp_connections, 1);
	send(fd, text, 5000, MSG_NOSIGNAL);
	expect_closed(f, fd);
	/* The greatest message there may be, and one octet more. */
	for (size_t excess = 0; excess < 2; excess++) {
		fd = dial(f);
		size_t length = (size_t)sprintf(text,
						"MESSAGE %s SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bKbig%zu\r\n"
						"From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: big%zu\r\nCSeq: 1 MESSAGE\r\n"
						"Content-Length: ",
						BOB, excess, excess);
		size_t header = length + 5 + 4, body = LIMIT_SIP_MESSAGE + excess - header;
		length += (size_t)sprintf(text + length, "%05zu\r\n\r\n", body);
		assert_int_equal(length, header);
		memset(text + length, 'b', body);
		f->resolve_status = 480;
		for (size_t at = 0; at < length + body; at += 4096)
			if (send(fd, text + at, length + body - at < 4096 ? length + body - at : 4096, MSG_NOSIGNAL) > 0)
				pump(f);
			else
				break; /* closed before we were done */
		if (excess) {
			read_some(f, fd); /* 513, or a reset because of what was not read */
			assert_true(status_of(f->answer) == 513 || f->answer[0] == 0);
			expect_closed(f, fd);
		} else {
			expect_answer(f, fd, 480);
			close(fd);
			pump(f);
		}
	}
}

/* The other side has said all it wants, and waits. */
static void test_half_closed(void **state) {
	struct fixture *f = *state;
	int fd = dial(f);

	f->resolve_status = 0;
	write_text(f, fd, REQUEST(f, .method = "MESSAGE", .uri = BOB, .transport = "TCP"));
	shutdown(fd, SHUT_WR);
	pump(f);
	assert_int_equal(figures(f).tcp_connections, 1);
	test_answer_resolve(f, 0, 404);
	expect_answer(f, fd, 404);
	expect_closed(f, fd);
	fd = dial(f);
	shutdown(fd, SHUT_WR);
	expect_closed(f, fd);
}

/* The phone goes before its answer comes, comes again, and asks again: it gets the answer over the new connection. */
static void test_lost(void **state) {
	struct fixture *f = *state;
	_cleanup_free_ char *text = strdup(REQUEST(f, .method = "MESSAGE", .uri = BOB, .transport = "TCP"));
	int fd = dial(f);

	f->resolve_status = 0;
	write_text(f, fd, text);
	struct linger linger = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
	pump(f);
	assert_int_equal(figures(f).tcp_connections, 0);
	fd = dial(f);
	write_text(f, fd, text);
	assert_int_equal(f->asked, 1);
	test_answer_resolve(f, 0, 404);
	expect_answer(f, fd, 404);
	write_text(f, fd, REQUEST(f, .method = "MESSAGE", .uri = BOB, .transport = "TCP"));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(fd);
	pump(f);
	uint64_t dropped = figures(f).dropped;
	test_answer_resolve(f, 1, 404); /* nobody is there any more */
	assert_int_equal(figures(f).dropped, dropped + 1);
}

/* Who does not take answers is not read from any more, and closed in the end. */
static void test_not_reading(void **state) {
	struct fixture *f = *state;
	int fd = dial_with(f, 8192);
	size_t sent = 0;

	for (unsigned i = 0; i < 200000; i++) {
		const char *text = options_text(f);
		ssize_t some = send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
		pump(f);
		if (some < (ssize_t)strlen(text))
			break;
		sent += (size_t)some;
	}
	assert_int_equal(figures(f).tcp_connections, 1);
	const struct sip_connection *connection = f->gateway->connections;
	assert_in_range(connection->output_length - connection->output_sent, 1, SIP_TCP_OUTPUT_OCTETS);
	assert_true(connection->input_length <= LIMIT_SIP_MESSAGE + 1);
	assert_int_equal(connection->watched & EPOLLIN, 0);
	advance(f, SIP_TCP_MESSAGE_SECONDS * USEC_PER_SEC);
	assert_int_equal(figures(f).tcp_connections, 0);
	close(fd);
}

/* Output that was held up goes on when the other side reads again, and so does input. */
static void test_reading_again(void **state) {
	struct fixture *f = *state;
	int fd = dial_with(f, 8192);
	size_t requests = 0, answers = 0;

	while (!(f->gateway->connections->watched & EPOLLOUT)) {
		const char *text = options_text(f);
		if (send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)strlen(text))
			fail_msg("the gateway has stopped reading before writing");
		requests++;
		pump(f);
	}
	while (answers < requests) {
		assert_true(read_some(f, fd) > 0);
		answers += count_text(f->answer, "\r\nCSeq: "); /* a name cut in two is rare, and counted below */
		if (f->gateway->connections->output_length == 0 && recv(fd, f->answer, 1, MSG_DONTWAIT | MSG_PEEK) < 0)
			break;
	}
	assert_int_equal(figures(f).responses_2xx, requests);
	write_text(f, fd, options_text(f));
	expect_answer(f, fd, 200);
	close(fd);
}

static void test_forbidden(void **state) {
	struct fixture *f = *state;

	f->forbidden = true;
	expect_closed(f, dial(f));
	assert_int_equal(figures(f).dropped, 1);
}

/* No descriptors: the listener rests for a second instead of waking us for ever. */
static void test_no_descriptors(void **state) {
	struct fixture *f = *state;
	struct rlimit limit, none;
	struct sockaddr_storage sockaddr;
	socklen_t length = address_to_sockaddr(&f->address, &sockaddr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sockaddr, length), 0);
	sip_gateway_ready(f->gateway, f->gateway->listeners[0].tcp, EPOLLIN); /* poll() would not work under this limit either */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	advance(f, USEC_PER_SEC - 1);
	assert_int_equal(figures(f).tcp_connections, 0);
	advance(f, 1);
	assert_int_equal(figures(f).tcp_connections, 1);
	write_text(f, fd, options_text(f));
	expect_answer(f, fd, 200);
	close(fd);
}

static void test_connection_limit(void **state) {
	struct fixture *f = *state;

	f->gateway->figures.tcp_connections = LIMIT_SIP_TCP_CONNECTIONS - 1; /* as if others had them */
	int last = dial(f), beyond = dial(f);
	char octet;
	assert_int_equal(figures(f).tcp_connections, LIMIT_SIP_TCP_CONNECTIONS);
	assert_int_equal(recv(beyond, &octet, 1, 0), 0); /* closed at once */
	assert_int_equal(figures(f).dropped, 1);
	write_text(f, last, options_text(f));
	expect_answer(f, last, 200);
	f->gateway->figures.tcp_connections = 1;
	close(beyond);
	close(last);
	pump(f);
	assert_int_equal(figures(f).tcp_connections, 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_octet_by_octet, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipelined, setup, teardown),
		cmocka_unit_test_setup_teardown(test_keep_alive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_framing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_oversized, setup, teardown),
		cmocka_unit_test_setup_teardown(test_half_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_reading, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reading_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forbidden, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connection_limit, setup, teardown),
	};

	return cmocka_run_group_tests_name("sip over tcp", tests, NULL, NULL);
}
