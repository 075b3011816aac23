/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket of a node that is alone in its overlay. Input: what a client sends, now and then before it
 * closes its side. Every line it gets back is a JSON object that says whether it is a refusal.
 */
#include "base/log.h"
#include "control/control.h"
#include "enroll/provision.h"

#include <ftw.h>
#include <poll.h>
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

enum {
	ROUNDS = 64,
	START_ROUNDS = 1000,
	START_WAIT_US = 20000,
	INPUT_MAX = 65536,
	ANSWERS_MAX = 1 << 20,
	RESTARTS_MAX = 16 /* they take long */,
	INPUTS_PER_CONNECTION = 16
};

static char base[] = "/tmp/fuzz_control_XXXXXX", socket_path[64];
static sd_event *event;
static struct node *node;
static struct control *control;
static unsigned restarts, inputs;
static int connection = -1;
static char answers[ANSWERS_MAX];
static size_t heard;

static char *path_in(const char *name) {
	char *path = NULL;

	FUZZ_CHECK(asprintf(&path, "%s/%s", base, name) > 0);
	return path;
}

static void hang_up(void);

static void make_overlay(void) {
	_cleanup_free_ char *ca = path_in("ca"), *output = path_in("node");
	char reason[PROVISION_REASON_SIZE];
	struct id node_id;
	const struct provision_overlay overlay = {.directory = ca, .name = "example.org", .key_type = KEY_ECDSA_P256};
	const struct provision_certificate certificate = {
		.directory = ca, .node_id_count = 1, .days = 1, .key_type = KEY_ECDSA_P256, .output = output};

	FUZZ_CHECK(provision_overlay_create(&overlay, reason) == 0);
	FUZZ_CHECK(provision_certificate_issue(&certificate, &node_id, reason) == 0);
}

static void start_node(void) {
	struct settings *settings = calloc(1, sizeof(*settings));
	char reason[NODE_REASON_SIZE] = "";

	FUZZ_CHECK(settings);
	settings->state_directory = path_in("state");
	settings->overlay_config = path_in("ca/overlay.xml");
	settings->certificate = path_in("node.crt");
	settings->key = path_in("node.key");
	settings->users_directory = path_in("users");
	settings->control_socket = path_in("control");
	settings->first_node = true;
	FUZZ_CHECK(address_parse("127.0.0.1", 0, &settings->listen[0]) == 0);
	settings->listen_count = 1;
	FUZZ_CHECK(sd_event_new(&event) >= 0 && node_new(settings, event, &node, reason) == 0);
	FUZZ_CHECK(control_new(node, &control, reason) == 0);
	node_start(node);
	for (unsigned i = 0; i < START_ROUNDS && node->state != TOPOLOGY_JOINED; i++)
		FUZZ_CHECK(sd_event_run(event, START_WAIT_US) >= 0);
	FUZZ_CHECK(node->state == TOPOLOGY_JOINED);
}

static void stop_node(void) {
	if (node)
		node_stop(node);
	control = control_free(control);
	node = node_free(node);
	event = sd_event_unref(event);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
	(void)status, (void)type, (void)place;
	return remove(path);
}

static void at_end(void) {
	stop_node();
	nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void start_once(void) {
	if (!socket_path[0]) {
		log_level = -1;
		FUZZ_CHECK(mkdtemp(base));
		snprintf(socket_path, sizeof(socket_path), "%s/control", base);
		make_overlay();
		atexit(at_end);
	}
	if (event && sd_event_get_state(event) == SD_EVENT_FINISHED) { /* it was told to leave */
		hang_up();
		stop_node();
		restarts++;
	}
	if (!event)
		start_node();
}

/* Whole lines; of the last one the rest may still come. */
static void check_answers(void) {
	char *newline;

	while ((newline = memchr(answers, '\n', heard))) {
		size_t length = (size_t)(newline - answers) + 1;
		json_t *answer = json_loadb(answers, length, JSON_REJECT_DUPLICATES, NULL);
		const json_t *ok = json_object_get(answer, "ok");

		FUZZ_CHECK(json_is_boolean(ok));
		FUZZ_CHECK(json_is_true(ok) ? json_object_get(answer, "result") != NULL
					    : json_is_string(json_object_get(answer, "error")));
		json_decref(answer);
		heard -= length;
		memmove(answers, newline + 1, heard);
	}
}

/* Returns false when the daemon hung up. */
static bool hear(void) {
	ssize_t got = recv(connection, answers + heard, sizeof(answers) - heard, 0);

	heard += got > 0 ? (size_t)got : 0;
	check_answers();
	return got != 0;
}

/* The daemon accepts only so many connections in a second: one serves many inputs. */
static void dial(void) {
	static const char greeting[] = "{\"command\":\"status\"}\n";
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct pollfd answered;

	connection = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	strcpy(address.sun_path, socket_path);
	FUZZ_CHECK(connection >= 0 && connect(connection, (struct sockaddr *)&address, sizeof(address)) == 0);
	FUZZ_CHECK(send(connection, greeting, strlen(greeting), MSG_NOSIGNAL) == (ssize_t)strlen(greeting));
	answered = (struct pollfd){.fd = connection, .events = POLLIN};
	for (unsigned i = 0; i < START_ROUNDS && poll(&answered, 1, 0) == 0; i++)
		FUZZ_CHECK(sd_event_run(event, START_WAIT_US) >= 0);
	FUZZ_CHECK(answered.revents & POLLIN);
}

static void hang_up(void) {
	if (connection >= 0)
		close(connection);
	connection = -1;
	heard = 0;
}

static void talk(const uint8_t *data, size_t size, bool last) {
	size_t sent = 0;

	for (unsigned i = 0; i < ROUNDS && sd_event_get_state(event) != SD_EVENT_FINISHED; i++) {
		ssize_t done = sent < size ? send(connection, data + sent, size - sent, MSG_NOSIGNAL) : 0;
		sent += done > 0 ? (size_t)done : 0;
		if (sent == size && last)
			shutdown(connection, SHUT_WR);
		FUZZ_CHECK(sd_event_run(event, 0) >= 0);
		if (!hear()) {
			hang_up();
			return;
		}
	}
	if (last || sent < size)
		hang_up();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	if (size > INPUT_MAX || (restarts > RESTARTS_MAX && memmem(data, size, "leave", strlen("leave"))))
		return 0;
	start_once();
	if (connection < 0)
		dial();
	inputs++;
	talk(data, size, inputs % INPUTS_PER_CONNECTION == 0);
	if (connection >= 0)
		talk((const uint8_t *)"\n", 1, false); /* ends a line that has begun */
	return 0;
}
