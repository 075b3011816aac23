/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket of a node that is alone in its overlay: what operators ask, what broken and greedy clients do, and the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/limits.h"
#include "base/log.h"
#include "control/control.h"
#include "enroll/provision.h"

enum { ROUND_US = 20000, ROUNDS_MAX = 1000 /* far more than any answer takes */, CLIENTS_MAX = 20 };

static char base[] = "/tmp/test_control_XXXXXX", ca[64], socket_path[64];
static sd_event *event;
static struct node *node;
static struct control *control;

static void remove_all(const char *path) {
	DIR *dir = opendir(path);
	char member[512];

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(member, sizeof(member), "%s/%s", path, entry->d_name);
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && unlink(member) < 0)
			remove_all(member);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static char *path_in(const char *name) {
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", base, name) > 0);
	return path;
}

static struct settings *make_settings(void) {
	struct settings *settings = calloc(1, sizeof(*settings));

	assert_non_null(settings);
	settings->state_directory = path_in("state");
	settings->overlay_config = path_in("ca/overlay.xml");
	settings->certificate = path_in("node.crt");
	settings->key = path_in("node.key");
	settings->users_directory = path_in("users");
	settings->control_socket = path_in("run/control");
	settings->first_node = true;
	assert_int_equal(address_parse("127.0.0.1", 0, &settings->listen[0]), 0); /* port 0: any that is free */
	settings->listen_count = 1;
	return settings;
}

static int setup_overlay(void **state) {
	char output[80], reason[PROVISION_REASON_SIZE];
	struct id node_id;

	(void)state;
	log_level = -1;
	if (!mkdtemp(base))
		return -1;
	snprintf(ca, sizeof(ca), "%s/ca", base);
	snprintf(output, sizeof(output), "%s/node", base);
	snprintf(socket_path, sizeof(socket_path), "%s/run/control", base);
	const struct provision_overlay overlay = {.directory = ca, .name = "example.org", .key_type = KEY_ECDSA_P256};
	const struct provision_certificate certificate = {
		.directory = ca, .node_id_count = 1, .days = 1, .key_type = KEY_ECDSA_P256, .output = output};
	if (provision_overlay_create(&overlay, reason) < 0 || provision_certificate_issue(&certificate, &node_id, reason) < 0) {
		print_message("%s\n", reason);
		return -1;
	}
	return 0;
}

static int teardown_overlay(void **state) {
	(void)state;
	remove_all(base);
	return 0;
}

static int start_node(void **state) {
	char reason[NODE_REASON_SIZE] = "";

	(void)state;
	if (sd_event_new(&event) < 0 || node_new(make_settings(), event, &node, reason) < 0 ||
	    control_new(node, &control, reason) < 0) {
		print_message("%s\n", reason);
		return -1;
	}
	node_start(node);
	return 0;
}

static int stop_node(void **state) {
	(void)state;
	if (node)
		node_stop(node);
	control = control_free(control);
	node = node_free(node);
	event = sd_event_unref(event);
	return access(socket_path, F_OK) == 0 ? -1 : 0; /* nothing is left */
}

/* ---- a client ---- */

static int connect_to(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static int open_client(void) {
	return connect_to(socket_path);
}

/* All that is to be done now, after waiting a little for the first of it. */
static void turn(void) {
	uint64_t wait_us = ROUND_US;
	int more = 1;

	for (unsigned i = 0; i < ROUNDS_MAX && more > 0 && sd_event_get_state(event) != SD_EVENT_FINISHED; i++, wait_us = 0) {
		more = sd_event_run(event, wait_us);
		assert_true(more >= 0);
	}
}

/* Turns the loop until all is written, or the daemon has hung up. */
static void send_octets(int fd, const char *data, size_t length) {
	for (unsigned round = 0; length > 0 && round < ROUNDS_MAX; round++) {
		ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EPIPE)
			return;
		if (sent > 0) {
			data += sent;
			length -= (size_t)sent;
		}
		turn();
	}
	assert_int_equal(length, 0);
}

static void say(int fd, const char *line) {
	send_octets(fd, line, strlen(line));
}

/* The next line the daemon says, without its newline; NULL when it hangs up. */
static char *hear(int fd) {
	static char line[1 << 20];
	size_t length = 0;

	for (unsigned round = 0; round < ROUNDS_MAX; turn(), round++) {
		char octet;
		ssize_t got;
		while ((got = recv(fd, &octet, 1, 0)) == 1) {
			if (octet == '\n') {
				line[length] = 0;
				return line;
			}
			line[length++] = octet;
			assert_true(length < sizeof(line));
		}
		if (got == 0 || errno != EAGAIN)
			return NULL;
	}
	fail_msg("no answer");
	return NULL;
}

static json_t *hear_json(int fd) {
	char *line = hear(fd);

	assert_non_null(line);
	json_t *answer = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(answer);
	return answer;
}

/* Ends when the answer is the expected refusal. */
static void hear_error(int fd, const char *sentence) {
	json_t *answer = hear_json(fd);
	const char *error = json_string_value(json_object_get(answer, "error"));

	assert_true(json_is_false(json_object_get(answer, "ok")));
	assert_non_null(error);
	if (!strstr(error, sentence))
		fail_msg("\"%s\" instead of \"%s\"", error, sentence);
	json_decref(answer);
}

static json_t *hear_result(int fd) {
	json_t *answer = hear_json(fd), *result = json_object_get(answer, "result");

	if (!json_is_true(json_object_get(answer, "ok")))
		fail_msg("refused: %s", json_string_value(json_object_get(answer, "error")));
	assert_true(json_is_object(result));
	json_incref(result);
	json_decref(answer);
	return result;
}

static void expect_alive(void) {
	int fd = open_client();

	say(fd, "{\"command\": \"status\"}\n");
	json_t *status = hear_result(fd);
	assert_string_equal(json_string_value(json_object_get(status, "overlay")), "example.org");
	json_decref(status);
	close(fd);
}

static void wait_joined(void) {
	int fd = open_client();

	say(fd, "{\"command\": \"wait\", \"peers\": 0, \"seconds\": 60}\n");
	json_t *result = hear_result(fd);
	assert_string_equal(json_string_value(json_object_get(result, "state")), "joined");
	json_decref(result);
	close(fd);
}

/* ---- what operators ask ---- */

static void test_status_commands(void **state) {
	static const struct {
		const char *command, *members[12];
	} commands[] = {
		{"status",
		 {"version", "node_id", "state", "role", "address", "uptime_s", "peers", "records", "storage", "users",
		  "size_estimate"}},
		{"peers", {"peers"}},
		{"ring", {"state", "self", "predecessors", "successors", "fingers", "size_estimate"}},
		{"drops", {"drops"}},
		{"metrics", {"text"}},
		{"registrations", {"registrations", "after", "total"}},
	};
	char line[64];

	(void)state;
	wait_joined();
	int fd = open_client();
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
		snprintf(line, sizeof(line), "{\"command\": \"%s\"}\n", commands[i].command);
		say(fd, line);
		json_t *result = hear_result(fd);
		for (size_t j = 0; commands[i].members[j]; j++)
			if (!json_object_get(result, commands[i].members[j]))
				fail_msg("%s has no %s", commands[i].command, commands[i].members[j]);
		json_decref(result);
	}
	close(fd);
}

static void test_store_and_fetch(void **state) {
	(void)state;
	wait_joined();
	int fd = open_client();
	/* Ours is the whole ring: what we store is stored here. A certificate is the one thing a node may store without private
	 * Kinds. */
	say(fd, "{\"command\": \"store\", \"node\": \"self\", \"kind\": \"certificate-by-node\", \"value\": \"not UTF-8 later\", "
		"\"index\": "
		"5, \"lifetime\": \"60\", \"tag\": {\"any\": [1]}}\n");
	json_t *answer = hear_json(fd);
	json_t *tag = json_pack("{s:[i]}", "any", 1);
	assert_true(json_equal(json_object_get(answer, "tag"), tag));
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(tag);
	json_decref(answer);
	say(fd, "{\"command\": \"fetch\", \"node\": \"self\", \"kind\": 3}\n");
	hear_error(fd, "Say which Kind"); /* a Kind is text, as it may have a name */
	say(fd, "{\"command\": \"fetch\", \"node\": \"self\", \"kind\": \"3\"}\n");
	json_t *result = hear_result(fd), *values = json_object_get(result, "values");
	bool found = false;
	for (size_t i = 0; i < json_array_size(values); i++) {
		const char *text = json_string_value(json_object_get(json_array_get(values, i), "text"));
		found = found || (text && strcmp(text, "not UTF-8 later") == 0);
	}
	assert_true(found);
	json_decref(result);
	say(fd, "{\"command\": \"find\", \"node\": \"self\", \"kind\": \"0x3\"}\n");
	json_decref(hear_result(fd));
	say(fd, "{\"command\": \"resolve\", \"name\": \"sip:nobody@Example.ORG\"}\n");
	result = hear_result(fd);
	assert_int_equal(json_array_size(json_object_get(result, "contacts")), 0);
	json_decref(result);
	say(fd, "{\"command\": \"ping\", \"target\": \"alice@example.org\"}\n");
	json_decref(hear_result(fd));
	say(fd, "{\"command\": \"route-query\", \"target\": \"alice@example.org\"}\n");
	result = hear_result(fd);
	assert_true(json_equal(json_object_get(result, "next_peer"), json_object_get(result, "responder")));
	json_decref(result);
	close(fd);
}

static void test_wrong_arguments(void **state) {
	static const struct {
		const char *line, *sentence;
	} cases[] = {
		{"{\"command\": \"fetch\"}", "Say which Kind"},
		{"{\"command\": \"fetch\", \"kind\": \"no-such\"}", "Kind \"no-such\" is not known in this overlay."},
		{"{\"command\": \"registrations\", \"after\": -1}", "limit a number from 1 to 1000"},
		{"{\"command\": \"registrations\", \"after\": \"x\"}", "limit a number from 1 to 1000"},
		{"{\"command\": \"registrations\", \"limit\": 0}", "limit a number from 1 to 1000"},
		{"{\"command\": \"registrations\", \"limit\": 1001}", "limit a number from 1 to 1000"},
		{"{\"command\": \"registrations\", \"text\": 7}", "limit a number from 1 to 1000"},
		{"{\"command\": \"fetch\", \"kind\": \"99999999999\"}", "is not known in this overlay."},
		{"{\"command\": \"fetch\", \"kind\": \"SIP_REGISTRATION\"}", "Say which: a name such as alice@example.org"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"resource\": \"0g\"}", "is not valid"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"resource\": \"00112233445566778899aabbccddeeff0011\"}",
		 "is not valid"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"node\": \"12\"}", "is not valid"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"node\": \"self\", \"multiple\": 256}", "is not valid"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"node\": \"self\", \"multiple\": -1}", "is not valid"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"node\": \"self\", \"multiple\": 1.5}", "is not valid"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"node\": \"self\", \"multiple\": \"x\"}", "is not valid"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"name\": \"a\", \"at\": \"zz\"}", "\"zz\" is not a Node-ID"},
		{"{\"command\": \"fetch\", \"kind\": \"1\", \"name\": \"a\", \"at\": \"00112233445566778899aabbccddeeff0011\"}",
		 "is not a Node-ID of 32 hexadecimal digits"},
		{"{\"command\": \"store\", \"kind\": \"1\", \"name\": \"a\", \"value\": \"x\", \"user\": \"alice@example.org\"}",
		 "No certificate of user \"alice@example.org\" is provisioned on this node."},
		{"{\"command\": \"store\", \"kind\": \"1\", \"name\": \"a\", \"value\": \"x\", \"lifetime\": \"soon\"}",
		 "lifetime is a number of seconds"},
		{"{\"command\": \"store\", \"kind\": \"3\", \"name\": \"a\", \"value\": \"x\", \"index\": -1}", "index a number"},
		{"{\"command\": \"resolve\"}", "Give a name such as alice@example.org."},
		{"{\"command\": \"resolve\", \"name\": \"alice\"}", "Give a name such as alice@example.org."},
		{"{\"command\": \"ping\"}", "Say which"},
		{"{\"command\": \"ping\", \"target\": \"alice\"}", "neither a Node-ID of 32 hexadecimal digits nor a name"},
		{"{\"command\": \"ping\", \"target\": \"wildcard\", \"via\": \"0\"}", "\"0\" is not a Node-ID"},
		{"{\"command\": \"wait\", \"seconds\": 0}", "seconds a number from 1 to 3600"},
		{"{\"command\": \"wait\", \"seconds\": 3601}", "seconds a number from 1 to 3600"},
		{"{\"command\": \"wait\", \"peers\": \"many\"}", "peers is a number"},
	};

	(void)state;
	wait_joined();
	int fd = open_client();
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		say(fd, cases[i].line);
		say(fd, "\n");
		hear_error(fd, cases[i].sentence);
	}
	close(fd);
}

/* ---- what is no request ---- */

static void test_garbage(void **state) {
	static const struct {
		const char *line, *sentence;
	} cases[] = {
		{"status\n", "The request is not JSON: "},
		{"{\n", "The request is not JSON: "},
		{"\xff\xfe\x01\n", "The request is not JSON: "},
		{"{\"command\": \"status\", \"command\": \"leave\"}\n", "The request is not JSON: "},
		{"{\"command\": \"a\\u0000b\"}\n", "The request is not JSON: "},
		{"[\"status\"]\n", "The request has no \"command\"."},
		{"{}\n", "The request has no \"command\"."},
		{"{\"command\": 7}\n", "The request has no \"command\"."},
		{"{\"command\": \"frobnicate\"}\n", "There is no command \"frobnicate\"."},
		{"{\"command\": \"\"}\n", "There is no command \"\"."},
	};

	(void)state;
	int fd = open_client();
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		say(fd, cases[i].line);
		hear_error(fd, cases[i].sentence);
	}
	/* Deeper than any request nests. */
	char deep[8192];
	memset(deep, '[', sizeof(deep));
	send_octets(fd, deep, sizeof(deep));
	say(fd, "\n");
	hear_error(fd, "The request is not JSON: ");
	say(fd, "\n\n\r\n{\"command\": \"status\"}\r\n"); /* empty lines mean nothing */
	hear_error(fd, "The request is not JSON: ");
	json_decref(hear_result(fd));
	close(fd);
	expect_alive();
}

static void test_too_long_a_line(void **state) {
	static char chunk[65536];

	(void)state;
	int fd = open_client();
	memset(chunk, 'x', sizeof(chunk));
	for (size_t sent = 0; sent < 3 * (size_t)LIMIT_CONTROL_LINE; sent += sizeof(chunk))
		send_octets(fd, chunk, sizeof(chunk));
	hear_error(fd, "The request is too long.");
	/* The rest of that line is passed over, once; what follows counts again. */
	say(fd, "\n{\"command\": \"status\"}\n");
	json_decref(hear_result(fd));
	close(fd);
	expect_alive();
}

static void test_binary_noise(void **state) {
	char noise[4096];
	uint32_t number = 1;

	(void)state;
	for (unsigned connection = 0; connection < 8; connection++) {
		int fd = open_client();
		for (size_t i = 0; i < sizeof(noise); i++) {
			number = number * 1664525 + 1013904223;
			noise[i] = (char)(number >> 24);
		}
		send_octets(fd, noise, sizeof(noise));
		close(fd); /* with answers unread */
		turn();
	}
	expect_alive();
}

/* ---- how clients come and go ---- */

/* "printf … | nc -U": no newline, and nothing more to come, but the answer is wanted. */
static void test_half_closed(void **state) {
	(void)state;
	wait_joined();
	int fd = open_client();
	say(fd, "{\"command\": \"ping\", \"target\": \"alice@example.org\"}\n{\"command\": \"status\"}");
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	json_decref(hear_result(fd));
	json_decref(hear_result(fd));
	assert_null(hear(fd)); /* and then it is over */
	close(fd);
	expect_alive();
}

static void test_gone_with_request_open(void **state) {
	(void)state;
	wait_joined();
	for (unsigned i = 0; i < 2 * LIMIT_CONTROL_CLIENTS; i++) {
		int fd = open_client();
		say(fd, "{\"command\": \"ping\", \"target\": \"alice@example.org\"}\n{\"command\": \"wait\", \"peers\": 7}\n");
		close(fd);
		turn();
	}
	expect_alive(); /* no place is still taken */
}

static void test_two_waits_at_once(void **state) {
	(void)state;
	int first = open_client(), second = open_client();
	say(first,
	    "{\"command\": \"wait\", \"peers\": 1, \"seconds\": 1}\n{\"command\": \"wait\", \"peers\": 2, \"seconds\": 1}\n");
	say(second, "{\"command\": \"wait\", \"peers\": 1, \"seconds\": 1}\n");
	expect_alive();
	hear_error(first, "Time is up, and the node has not joined with that many peers.");
	hear_error(first, "Time is up, and the node has not joined with that many peers.");
	hear_error(second, "Time is up, and the node has not joined with that many peers.");
	close(first);
	close(second);
}

static void test_too_many_clients(void **state) {
	int clients[CLIENTS_MAX];

	(void)state;
	wait_joined();
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		clients[i] = open_client();
		turn();
	}
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		if (i >= LIMIT_CONTROL_CLIENTS) {
			hear_error(clients[i], "Too many control connections are open.");
			assert_null(hear(clients[i]));
		} else {
			say(clients[i], "{\"command\": \"status\"}\n");
			json_decref(hear_result(clients[i]));
		}
		close(clients[i]);
	}
	for (unsigned i = 0; i < 4; i++)
		turn();
	expect_alive();
}

static void test_too_many_requests(void **state) {
	unsigned refused = 0;

	(void)state;
	int fd = open_client();
	for (unsigned i = 0; i < CONTROL_REQUESTS_MAX + 10; i++)
		say(fd, "{\"command\": \"wait\", \"peers\": 9, \"seconds\": 3600}\n");
	for (; refused < 10; refused++)
		hear_error(fd, "Too many requests are open on this connection.");
	close(fd);
	expect_alive();
}

/* Answers nobody reads are kept up to a bound. */
static void test_client_that_does_not_read(void **state) {
	char lines[4096] = "";
	size_t length = 0;

	(void)state;
	while (length + 32 < sizeof(lines))
		length += (size_t)snprintf(lines + length, sizeof(lines) - length, "{\"command\": \"metrics\"}\n");
	int fd = open_client();
	for (size_t sent = 0; sent < 4096; sent++) {
		if (send(fd, lines, length, MSG_NOSIGNAL) < 0 && errno == EPIPE)
			break;
		turn();
		assert_true(sent < 4095);
	}
	close(fd);
	expect_alive();
}

/* ---- the file ---- */

static int second_control(char reason[static NODE_REASON_SIZE]) {
	struct control *second = NULL;
	int error = control_new(node, &second, reason);

	control_free(second);
	return error;
}

static void test_socket_file(void **state) {
	char reason[NODE_REASON_SIZE] = "";
	struct stat status;

	(void)state;
	assert_int_equal(stat(socket_path, &status), 0);
	assert_true(S_ISSOCK(status.st_mode));
	assert_int_equal(status.st_mode & 07777, 0660);
	assert_int_equal(second_control(reason), -EADDRINUSE);
	assert_non_null(strstr(reason, "Another daemon answers on the control socket"));
	expect_alive(); /* and still has its file */
}

static void test_other_things_at_the_path(void **state) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char reason[NODE_REASON_SIZE] = "", long_path[200];
	char *path = node->settings->control_socket;

	(void)state;
	node->settings->control_socket = path_in("run/precious");
	FILE *file = fopen(node->settings->control_socket, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(second_control(reason), -EEXIST);
	assert_non_null(strstr(reason, "cannot be made: something else is there."));
	assert_int_equal(access(node->settings->control_socket, F_OK), 0);
	unlink(node->settings->control_socket);

	/* Left over from a crash: replaced. */
	strcpy(address.sun_path, node->settings->control_socket);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(second_control(reason), 0);
	assert_int_equal(access(node->settings->control_socket, F_OK), -1);

	node->settings->control_group = strdup("no-such-group-anywhere");
	assert_int_equal(second_control(reason), -ESRCH);
	assert_non_null(strstr(reason, "There is no group \"no-such-group-anywhere\" for the control socket."));
	free(node->settings->control_group);
	node->settings->control_group = NULL;

	free(node->settings->control_socket);
	memset(long_path, 'a', sizeof(long_path) - 1);
	long_path[0] = '/';
	long_path[sizeof(long_path) - 1] = 0;
	node->settings->control_socket = strdup(long_path);
	assert_int_equal(second_control(reason), -ENAMETOOLONG);
	assert_non_null(strstr(reason, "longer than 107 octets"));
	free(node->settings->control_socket);
	node->settings->control_socket = path_in("no/such/directory/control");
	assert_int_equal(second_control(reason), -ENOENT);
	free(node->settings->control_socket);
	node->settings->control_socket = path;
}

/* ---- the end ---- */

static void test_end_with_requests_open(void **state) {
	(void)state;
	wait_joined();
	int fd = open_client();
	say(fd, "{\"command\": \"wait\", \"peers\": 7, \"seconds\": 3600}\n");
	/* Nobody has this Node-ID: it would take a while to find out. */
	say(fd, "{\"command\": \"fetch\", \"kind\": \"1\", \"name\": \"a@example.org\", \"at\": "
		"\"00112233445566778899aabbccddeeff\"}\n");
	node_stop(node);
	control = control_free(control);
	unsigned answers = 0;
	for (char *line; (line = hear(fd)); answers++)
		assert_non_null(strstr(line, "\"ok\":false"));
	assert_int_equal(answers, 2);
	close(fd);
}

static void test_leave(void **state) {
	(void)state;
	wait_joined();
	int fd = open_client();
	say(fd, "{\"command\": \"leave\"}\n");
	json_t *result = hear_result(fd);
	assert_string_equal(json_string_value(json_object_get(result, "state")), "leaving");
	json_decref(result);
	for (unsigned round = 0; round < ROUNDS_MAX && sd_event_get_state(event) != SD_EVENT_FINISHED; round++)
		turn();
	assert_int_equal(sd_event_get_state(event), SD_EVENT_FINISHED);
	close(fd);
}

int main(void) {
#define with_node(test) cmocka_unit_test_setup_teardown(test, start_node, stop_node)
	const struct CMUnitTest tests[] = {
		with_node(test_status_commands),
		with_node(test_store_and_fetch),
		with_node(test_wrong_arguments),
		with_node(test_garbage),
		with_node(test_too_long_a_line),
		with_node(test_binary_noise),
		with_node(test_half_closed),
		with_node(test_gone_with_request_open),
		with_node(test_two_waits_at_once),
		with_node(test_too_many_clients),
		with_node(test_too_many_requests),
		with_node(test_client_that_does_not_read),
		with_node(test_socket_file),
		with_node(test_other_things_at_the_path),
		with_node(test_end_with_requests_open),
		with_node(test_leave),
	};

	return cmocka_run_group_tests_name("control", tests, setup_overlay, teardown_overlay);
}
