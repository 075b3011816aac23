/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/limits.h"
#include "base/log.h"
#include "control/control.h"

#include <errno.h>
#include <grp.h>
#include <libgen.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <utlist.h>

enum { READ_CHUNK = 4096, ACCEPTS_PER_SECOND = 200, BACKLOG = 128 };

struct client {
	struct control *control;
	sd_event_source *source;
	int fd;
	char *input;
	size_t input_length;
	char *output;
	size_t output_length, output_sent, output_capacity;
	unsigned requests; /* being worked on; the client is freed after the last */
	bool skipping;	   /* the rest of a line that was too long */
	bool ended;	   /* will send no more, but waits for its answers */
	bool closed;
	struct client *prev, *next;
};

struct control {
	struct node *node;
	sd_event_source *source, *settle;
	struct control_request *waiting;
	int fd;
	bool bound; /* the file at `path` is ours */
	char *path;
	struct client *clients;
	size_t client_count;
};

struct control_request {
	struct client *client; /* NULL once the control socket is gone */
	struct node *node;
	json_t *arguments;

	control_condition condition; /* of a waiting request */
	const char *what;
	control_handler otherwise;
	struct timer limit;
	struct control_request *prev, *next;
};

/* ---- clients ---- */

static void client_close(struct client *client) {
	if (client->closed)
		return;
	client->source = sd_event_source_disable_unref(client->source);
	close(client->fd);
	client->closed = true;
}

static void client_release(struct client *client) {
	if (client->ended && client->requests == 0 && client->output_length == 0)
		client_close(client);
	if (!client->closed || client->requests > 0)
		return;
	DL_DELETE(client->control->clients, client);
	client->control->client_count--;
	free(client->input);
	free(client->output);
	free(client);
}

static void client_flush(struct client *client) {
	while (!client->closed && client->output_sent < client->output_length) {
		ssize_t sent = send(client->fd, client->output + client->output_sent, client->output_length - client->output_sent,
				    MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0)
			client_close(client);
		else
			client->output_sent += (size_t)sent;
	}
	if (client->closed)
		return;
	bool waiting = client->output_sent < client->output_length;
	if (!waiting)
		client->output_length = client->output_sent = 0;
	sd_event_source_set_io_events(client->source, (client->ended ? 0 : EPOLLIN) | (waiting ? EPOLLOUT : 0));
}

/* Room for `length` more octets of answers. */
static int client_reserve(struct client *client, size_t length) {
	size_t needed = client->output_length + length;

	if (needed > CONTROL_OUTPUT_MAX)
		return -ENOBUFS;
	if (needed <= client->output_capacity)
		return 0;
	char *output = realloc(client->output, 2 * needed);
	if (!output)
		return -ENOMEM;
	client->output = output;
	client->output_capacity = 2 * needed;
	return 0;
}

static void client_send(struct client *client, json_t *answer) {
	_cleanup_free_ char *text = json_dumps(answer, JSON_COMPACT);
	size_t length = text ? strlen(text) : 0;

	json_decref(answer);
	if (client->closed)
		return;
	if (!text || client_reserve(client, length + 1) < 0) {
		client_close(client);
		return;
	}
	memcpy(client->output + client->output_length, text, length);
	client->output[client->output_length + length] = '\n';
	client->output_length += length + 1;
	client_flush(client);
}

/* ---- requests ---- */

struct node *control_node(const struct control_request *request) {
	return request->node;
}

json_t *control_arguments(const struct control_request *request) {
	return request->arguments;
}

const char *control_argument(const struct control_request *request, const char *name) {
	return json_string_value(json_object_get(request->arguments, name));
}

json_t *control_text(const char *text) {
	json_t *string = json_string(text);

	if (string)
		return string;
	_cleanup_free_ char *plain = strdup(text);
	for (char *at = plain; at && *at; at++)
		if ((unsigned char)*at >= 0x80)
			*at = '?';
	return plain ? json_string(plain) : NULL;
}

static json_t *refusal(const char *text) {
	return json_pack("{s:b, s:o}", "ok", 0, "error", control_text(text));
}

static void waiting_end(struct control_request *request) {
	timer_disarm(&request->node->runtime, &request->limit);
	DL_DELETE(request->client->control->waiting, request);
	request->condition = NULL;
}

/* Answers come in any order; a client that has several requests open gives each a "tag" and finds it in the answer. */
static void request_end(struct control_request *request, json_t *answer) {
	struct client *client = request->client;
	json_t *tag = json_object_get(request->arguments, "tag");

	if (request->condition)
		waiting_end(request);
	if (tag)
		json_object_set(answer, "tag", tag);
	json_decref(request->arguments);
	free(request);
	client_send(client, answer);
	client->requests--;
	client_release(client);
}

void control_answer(struct control_request *request, json_t *result) {
	json_t *answer = result ? json_pack("{s:b, s:o}", "ok", 1, "result", result) : NULL;

	request_end(request, answer ? answer : refusal("Not enough memory for the answer."));
}

void control_fail(struct control_request *request, const char *format, ...) {
	char text[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	request_end(request, refusal(text));
}

/* ---- waiting ---- */

static void on_limit(struct timer *timer, void *userdata) {
	struct control_request *request = userdata;

	(void)timer;
	if (request->otherwise)
		request->otherwise(request);
	else
		control_fail(request, "Time is up, and %s.", request->what);
}

static int on_settle(sd_event_source *source, void *userdata) {
	struct control *control = userdata;
	struct control_request *request, *next;

	(void)source;
	DL_FOREACH_SAFE (control->waiting, request, next) {
		if (request->client->closed)
			control_fail(request, "The client went away.");
		else
			request->condition(request);
	}
	return 0;
}

void control_wait(struct control_request *request, control_condition condition, const char *what, unsigned seconds) {
	request->condition = condition;
	request->what = what;
	DL_APPEND(request->client->control->waiting, request);
	timer_init(&request->limit, on_limit, request);
	timer_arm_after(&request->node->runtime, &request->limit, seconds * USEC_PER_SEC);
}

void control_wait_otherwise(struct control_request *request, control_handler otherwise) {
	request->otherwise = otherwise;
}

static control_handler find_handler(const char *name) {
	const struct control_command *const tables[] = {control_status_commands, control_overlay_commands,
							control_fastpath_commands, control_configuration_commands,
							control_sip_commands};

	for (size_t i = 0; i < ARRAY_LENGTH(tables); i++)
		for (const struct control_command *command = tables[i]; command->name; command++)
			if (strcmp(command->name, name) == 0)
				return command->handle;
	return NULL;
}

static void client_line(struct client *client, const char *line, size_t length) {
	struct control_request *request = calloc(1, sizeof(*request));
	json_error_t error;

	if (!request) {
		client_close(client);
		return;
	}
	if (client->requests > CONTROL_REQUESTS_MAX) {
		free(request);
		client_send(client, refusal("Too many requests are open on this connection."));
		return;
	}
	request->client = client;
	request->node = client->control->node;
	request->arguments = json_loadb(line, length, JSON_REJECT_DUPLICATES, &error);
	client->requests++;
	const char *name = json_is_object(request->arguments) ? control_argument(request, "command") : NULL;
	control_handler handle = name ? find_handler(name) : NULL;
	if (!request->arguments)
		control_fail(request, "The request is not JSON: %s (column %d).", error.text, error.column);
	else if (!name)
		control_fail(request, "The request has no \"command\".");
	else if (!handle)
		control_fail(request, "There is no command \"%.64s\".", name);
	else
		handle(request);
}

static void client_lines(struct client *client) {
	size_t start = 0;
	char *newline;

	while (!client->closed && (newline = memchr(client->input + start, '\n', client->input_length - start))) {
		size_t end = (size_t)(newline - client->input);
		if (end > start && !client->skipping)
			client_line(client, client->input + start, end - start);
		client->skipping = false;
		start = end + 1;
	}
	memmove(client->input, client->input + start, client->input_length - start);
	client->input_length -= start;
	if (client->input_length > LIMIT_CONTROL_LINE && !client->skipping) {
		client->skipping = true;
		client_send(client, refusal("The request is too long."));
	}
	if (client->skipping)
		client->input_length = 0;
}

/* The last line need not end in a newline. */
static void client_end(struct client *client) {
	client->ended = true;
	if (client->input_length > 0)
		client_line(client, client->input, client->input_length);
	client->input_length = 0;
	client_flush(client);
}

static void client_read(struct client *client) {
	char *input = realloc(client->input, client->input_length + READ_CHUNK);

	if (!input) {
		client_close(client);
		return;
	}
	client->input = input;
	ssize_t got = recv(client->fd, input + client->input_length, READ_CHUNK, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got < 0) {
		client_close(client);
	} else if (got == 0) {
		client_end(client);
	} else {
		client->input_length += (size_t)got;
		client_lines(client);
	}
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct client *client = userdata;

	(void)source;
	(void)fd;
	node_enter(client->control->node);
	client->requests++; /* keeps the client until the end of this function */
	if (events & EPOLLOUT)
		client_flush(client);
	if (events & EPOLLIN && !client->closed)
		client_read(client);
	else if (events & (EPOLLHUP | EPOLLERR)) /* gone altogether; what it still said was read first */
		client_close(client);
	client->requests--;
	client_release(client);
	return 0;
}

static void refuse_connection(int fd) {
	static const char answer[] = "{\"ok\":false,\"error\":\"Too many control connections are open.\"}\n";

	send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct control *control = userdata;

	(void)source;
	(void)events;
	int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client_fd < 0)
		return 0;
	struct client *client = control->client_count < LIMIT_CONTROL_CLIENTS ? calloc(1, sizeof(*client)) : NULL;
	if (!client || sd_event_add_io(control->node->event, &client->source, client_fd, EPOLLIN, on_client, client) < 0) {
		free(client);
		refuse_connection(client_fd);
		return 0;
	}
	client->control = control;
	client->fd = client_fd;
	DL_APPEND(control->clients, client);
	control->client_count++;
	return 0;
}

/* ---- the socket ---- */

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, NODE_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

/* A socket file that nobody listens on is left over from a crash; one that answers belongs to a running daemon. Nothing else is
 * removed. */
static int remove_stale(const struct sockaddr_un *address, char *reason) {
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat status;

	if (lstat(address->sun_path, &status) < 0 && errno == ENOENT)
		return 0;
	if (!S_ISSOCK(status.st_mode))
		return fail(reason, -EEXIST, "The control socket %s cannot be made: something else is there.", address->sun_path);
	/* EAGAIN: somebody listens, but is busy. */
	if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return fail(reason, -EADDRINUSE, "Another daemon answers on the control socket %s.", address->sun_path);
	if (errno == ECONNREFUSED && unlink(address->sun_path) == 0)
		return 0;
	return fail(reason, -errno, "The old control socket %s cannot be replaced: %s.", address->sun_path, strerror(errno));
}

/* Makes the directory of the socket, which then belongs to the group; a directory that exists is the operator's. */
static int make_directory(const char *directory, gid_t group, char *reason) {
	struct stat status;

	if (mkdir(directory, 0750) == 0) {
		if (chmod(directory, 0750) < 0 || chown(directory, (uid_t)-1, group) < 0)
			return fail(reason, -errno, "The directory %s cannot be given to the group: %s.", directory,
				    strerror(errno));
		return 0;
	}
	if (errno != EEXIST)
		return fail(reason, -errno, "The directory %s cannot be made: %s.", directory, strerror(errno));
	if (group != (gid_t)-1 && stat(directory, &status) == 0 &&
	    !(status.st_mode & S_IXOTH || (status.st_gid == group && status.st_mode & S_IXGRP)))
		log_warning("The group of the control socket cannot enter its directory %s.", directory);
	return 0;
}

static int find_group(const char *name, gid_t *ret, char *reason) {
	const struct group *entry = name ? getgrnam(name) : NULL;

	if (name && !entry)
		return fail(reason, -ESRCH, "There is no group \"%s\" for the control socket.", name);
	if (entry)
		*ret = entry->gr_gid;
	return 0;
}

static int control_listen(struct control *control, const char *group_name, char *reason) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char directory[sizeof(address.sun_path)];
	gid_t group = (gid_t)-1;

	if (strlen(control->path) >= sizeof(address.sun_path))
		return fail(reason, -ENAMETOOLONG, "The path of the control socket is longer than %zu octets: %s.",
			    sizeof(address.sun_path) - 1, control->path);
	strcpy(address.sun_path, control->path);
	strcpy(directory, control->path);
	int error = find_group(group_name, &group, reason);
	if (error == 0)
		error = make_directory(dirname(directory), group, reason);
	if (error == 0)
		error = remove_stale(&address, reason);
	if (error < 0)
		return error;
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask = umask(0177); /* nobody else connects before the group is set */
	control->bound = control->fd >= 0 && bind(control->fd, (struct sockaddr *)&address, sizeof(address)) == 0;
	error = control->bound ? 0 : -errno;
	umask(mask);
	if (error == 0 &&
	    (chown(control->path, (uid_t)-1, group) < 0 || chmod(control->path, 0660) < 0 || listen(control->fd, BACKLOG) < 0))
		error = -errno;
	return error < 0 ? fail(reason, error, "The control socket %s cannot be opened: %s.", control->path, strerror(-error)) : 0;
}

int control_new(struct node *node, struct control **ret, char reason[static NODE_REASON_SIZE]) {
	_cleanup_(control_freep) struct control *control = calloc(1, sizeof(*control));

	if (!control || !(control->path = strdup(node->settings->control_socket))) {
		snprintf(reason, NODE_REASON_SIZE, "Not enough memory for the control socket.");
		return -ENOMEM;
	}
	control->node = node;
	control->fd = -1;
	int error = control_listen(control, node->settings->control_group, reason);
	if (error < 0)
		return error;
	error = sd_event_add_io(node->event, &control->source, control->fd, EPOLLIN, on_connection, control);
	if (error >= 0) /* without descriptors to accept with the loop would spin */
		error = sd_event_source_set_ratelimit(control->source, USEC_PER_SEC, ACCEPTS_PER_SECOND);
	if (error >= 0)
		error = sd_event_add_post(node->event, &control->settle, on_settle, control);
	if (error < 0) {
		snprintf(reason, NODE_REASON_SIZE, "The control socket cannot be watched: %s.", strerror(-error));
		return error;
	}
	*ret = TAKE(control);
	return 0;
}

struct control *control_free(struct control *control) {
	struct client *client, *next;

	if (!control)
		return NULL;
	while (control->waiting)
		control_fail(control->waiting, "The daemon ends.");
	DL_FOREACH_SAFE (control->clients, client, next) {
		client_close(client);
		client_release(client);
	}
	sd_event_source_disable_unref(control->source);
	sd_event_source_disable_unref(control->settle);
	if (control->fd >= 0)
		close(control->fd);
	if (control->bound)
		unlink(control->path);
	free(control->path);
	free(control);
	return NULL;
}
