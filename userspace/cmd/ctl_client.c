/* SPDX-License-Identifier: BSD-2-Clause */
/* The control socket as ringgatectl uses it. */
#include "cmd/ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { READ_CHUNK = 65536, ANSWER_MAX = 64 << 20 };

void ctl_release(struct ctl *ctl) {
	json_decref(ctl->request);
	free(ctl->input);
	if (ctl->fd >= 0)
		close(ctl->fd);
}

void ctl_print_json(const json_t *value) {
	json_dumpf(value, stdout, JSON_INDENT(2));
	putchar('\n');
}

/* Others choose what is stored in the overlay; none of it may steer the operator's terminal. */
static void make_plain(char *text) {
	for (unsigned char *at = (unsigned char *)text; *at; at++) {
		if (*at < 0x20 || *at == 0x7f)
			*at = '?';
		else if (*at == 0xc2 && at[1] >= 0x80 && at[1] < 0xa0) /* U+0080 to U+009F */
			at[0] = at[1] = '?';
	}
}

/* As deep as jansson reads. NOLINTNEXTLINE(misc-no-recursion) */
static void make_plain_json(json_t *value) {
	const char *key;
	json_t *member;
	size_t index;

	if (json_is_string(value)) {
		_cleanup_free_ char *text = strdup(json_string_value(value));
		if (text)
			make_plain(text);
		json_string_set(value, text ? text : "");
	} else if (json_is_array(value)) {
		json_array_foreach(value, index, member) make_plain_json(member);
	} else {
		json_object_foreach(value, key, member) make_plain_json(member);
	}
}

static int connect_daemon(struct ctl *ctl) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (ctl->fd >= 0)
		return CTL_DONE;
	if (strlen(ctl->socket_path) >= sizeof(address.sun_path)) {
		fprintf(stderr, "ringgatectl: the path of the socket is too long: %s.\n", ctl->socket_path);
		return CTL_USAGE;
	}
	strcpy(address.sun_path, ctl->socket_path);
	ctl->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (ctl->fd >= 0 && connect(ctl->fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return CTL_DONE;
	if (errno == EACCES)
		fprintf(stderr, "ringgatectl: %s may only be used by root and the group of the socket.\n", ctl->socket_path);
	else
		fprintf(stderr, "ringgatectl: no daemon answers on %s: %s. Is ringgated running?\n", ctl->socket_path,
			strerror(errno));
	return CTL_NO_DAEMON;
}

static int send_line(struct ctl *ctl, const json_t *request) {
	_cleanup_free_ char *text = json_dumps(request, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0, done = 0;

	if (!text)
		return -ENOMEM;
	text[length++] = '\n'; /* in place of the terminator: only `length` octets are sent */
	while (done < length) {
		ssize_t sent = send(ctl->fd, text + done, length - done, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return -errno;
		done += (size_t)sent;
	}
	return 0;
}

static int receive_line(struct ctl *ctl, json_t **ret) {
	char *newline;

	while (!(newline = ctl->input_length ? memchr(ctl->input, '\n', ctl->input_length) : NULL)) {
		char *input = ctl->input_length < ANSWER_MAX ? realloc(ctl->input, ctl->input_length + READ_CHUNK) : NULL;
		if (!input)
			return -ENOMEM;
		ctl->input = input;
		ssize_t got = recv(ctl->fd, input + ctl->input_length, READ_CHUNK, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ECONNRESET;
		ctl->input_length += (size_t)got;
	}
	size_t length = (size_t)(newline - ctl->input);
	json_t *answer = json_loadb(ctl->input, length, 0, NULL);
	memmove(ctl->input, newline + 1, ctl->input_length - length - 1);
	ctl->input_length -= length + 1;
	if (!answer)
		return -EBADMSG;
	*ret = answer;
	return 0;
}

int ctl_ask(struct ctl *ctl, json_t *request, json_t **ret_result) {
	json_t *answer = NULL;

	int status = connect_daemon(ctl);
	if (status != CTL_DONE)
		return status;
	int error = send_line(ctl, request);
	if (error == 0 || error == -EPIPE) /* a daemon that refuses the connection says why before it closes it */
		error = receive_line(ctl, &answer);
	if (error < 0) {
		fprintf(stderr, "ringgatectl: the daemon did not answer: %s.\n", strerror(-error));
		return CTL_NO_DAEMON;
	}
	if (json_is_true(json_object_get(answer, "ok"))) {
		*ret_result = json_incref(json_object_get(answer, "result"));
		json_decref(answer);
		return CTL_DONE;
	}
	if (!ctl->json)
		make_plain_json(answer);
	const char *text = json_string_value(json_object_get(answer, "error"));
	if (ctl->json)
		ctl_print_json(answer);
	else
		fprintf(stderr, "ringgatectl: %s\n", text ? text : "the daemon refused without a reason");
	json_decref(answer);
	return CTL_FAILED;
}

int ctl_ask_or_print(struct ctl *ctl, json_t **ret_result) {
	json_t *result = NULL;
	int status = ctl_ask(ctl, ctl->request, &result);

	*ret_result = NULL;
	if (status != CTL_DONE)
		return status;
	if (ctl->json) {
		ctl_print_json(result);
		json_decref(result);
	} else {
		make_plain_json(result);
		*ret_result = result;
	}
	return CTL_DONE;
}
