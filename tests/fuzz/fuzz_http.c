/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The enrollment server's handling of HTTP, behind TLS and in front of the authority, which is played here. Input: one octet of
 * settings, then what a client sends before it closes its side.
 */
#include "enroll/server_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_CHECK(condition)                                                                                                      \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			abort();                                                                                                   \
	} while (0)

enum { ROUNDS = 64, REQUEST_MAX = 65536, BUSY = 1, CONFIDENTIAL = 2, OPEN_ADMISSION = 4, OUTCOME_SHIFT = 4, MEMORY = 32 << 10 };

struct authority {
	uint8_t settings;
};

static struct authority played;
static struct server server;
static unsigned open_requests;

/* ---- what server.c and authority.c do otherwise ---- */

struct authority *server_authority(const struct server *unused, const char *host) {
	(void)unused;
	return host && strcmp(host, "nowhere.example.org") == 0 ? NULL : &played;
}

bool authority_enrolls(const struct authority *authority) {
	return !(authority->settings & OPEN_ADMISSION);
}

const char *enrollment_outcome_token(enum enrollment_outcome outcome) {
	return outcome >= ENROLLMENT_FAILED_AUTHENTICATION && outcome <= ENROLLMENT_BAD_CSR ? "token" : NULL;
}

int authority_document(struct authority *authority, struct published_document *ret) {
	*ret = (struct published_document){
		.etag = "\"1-0123\"", .max_age_s = 60, .confidential = authority->settings & CONFIDENTIAL};
	ret->document = OCTETS(strdup("<overlay/>"), strlen("<overlay/>"));
	FUZZ_CHECK(ret->document.data);
	return 0;
}

static void check_field(const struct field *field, size_t max) {
	FUZZ_CHECK(field->length <= max + 1 && (field->given || field->length == 0));
}

int server_submit(struct request *request) {
	FUZZ_CHECK(request->status == 0);
	check_field(&request->user_name, USER_NAME_MAX);
	check_field(&request->password, PASSWORD_MAX);
	check_field(&request->csr, AUTHORITY_CSR_MAX);
	FUZZ_CHECK(request_node_ids(request) <= 9999);
	if (played.settings & BUSY)
		return -1;
	request->outcome = (played.settings >> OUTCOME_SHIFT) % (ENROLLMENT_THROTTLED + 1);
	request->answer.why = "later";
	if (request->outcome == ENROLLMENT_ISSUED) {
		request->answer.der = (uint8_t *)strdup("certificate");
		FUZZ_CHECK(request->answer.der);
		request->answer.der_length = strlen("certificate");
	}
	request->stage = REQUEST_DONE;
	return 0;
}

/* ---- the connection ---- */

static enum MHD_Result on_request(void *userdata, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *data, size_t *length, void **state) {
	bool begun = *state;
	enum MHD_Result result = server_answer(userdata, connection, url, method, version, data, length, state);

	open_requests += !begun && *state;
	return result;
}

static void on_completed(void *userdata, struct MHD_Connection *connection, void **state, enum MHD_RequestTerminationCode code) {
	open_requests -= *state != NULL;
	server_request_completed(userdata, connection, state, code);
	FUZZ_CHECK(!*state);
}

static struct MHD_Daemon *start(void) {
	const struct guard_limits limits = {0};

	if (!server.guard)
		FUZZ_CHECK(guard_new(&limits, &server.guard) == 0);
	return MHD_start_daemon(MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, &server, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
				(size_t)MEMORY, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_EXTERNAL_LOGGER, NULL,
				NULL, MHD_OPTION_END);
}

/* Every answer begins as one, and none repeats what the client sent as a password. */
static void read_answers(int fd, bool first) {
	char answer[16384];
	ssize_t got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);

	if (got > 0 && first)
		FUZZ_CHECK(got > 9 && memcmp(answer, "HTTP/1.", 7) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int pair[2];

	if (size < 1 || size > REQUEST_MAX)
		return 0;
	played.settings = data[0];
	struct MHD_Daemon *daemon = start();
	FUZZ_CHECK(daemon && socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	FUZZ_CHECK(send(pair[0], data + 1, size - 1, MSG_NOSIGNAL) == (ssize_t)(size - 1));
	shutdown(pair[0], SHUT_WR);
	FUZZ_CHECK(MHD_add_connection(daemon, pair[1], (struct sockaddr *)&address, sizeof(address)) == MHD_YES);
	for (unsigned i = 0; i < ROUNDS; i++) {
		FUZZ_CHECK(MHD_run(daemon) == MHD_YES);
		read_answers(pair[0], i == 0);
	}
	close(pair[0]);
	MHD_stop_daemon(daemon);
	FUZZ_CHECK(open_requests == 0);
	return 0;
}
