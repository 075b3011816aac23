/* SPDX-License-Identifier: BSD-2-Clause */
/* Phones of tests of the proxy: each has a UDP socket, reads what comes and answers it. Include after harness.h. */
#pragma once

#include "harness.h"

struct phone {
	struct fixture *f;
	const char *name;
	int fd;
	uint16_t port;
	char message[ANSWER_OCTETS]; /* the last one received */
};

HELPER void phone_open(struct fixture *f, struct phone *phone, const char *name) {
	phone->f = f;
	phone->name = name;
	phone->fd = fixture_phone(f, f->address.family, &phone->port);
}

HELPER void phone_close(struct phone *phone) {
	close(phone->fd);
}

HELPER void phone_send(struct phone *phone, const char *text) {
	struct sockaddr_storage sockaddr;
	socklen_t length = address_to_sockaddr(&phone->f->address, &sockaddr);

	assert_int_equal(sendto(phone->fd, text, strlen(text), 0, (struct sockaddr *)&sockaddr, length), (ssize_t)strlen(text));
	pump(phone->f);
}

/* The next message, or "". */
HELPER const char *phone_next(struct phone *phone) {
	pump(phone->f);
	ssize_t length = recv(phone->fd, phone->message, sizeof(phone->message) - 1, MSG_DONTWAIT);
	phone->message[length < 0 ? 0 : length] = 0;
	return phone->message;
}

HELPER void phone_expect(struct phone *phone, const char *start) {
	if (strncmp(phone_next(phone), start, strlen(start)) != 0)
		fail_msg("%s expected \"%s\", got:\n%s", phone->name, start, phone->message);
}

HELPER void phone_expect_nothing(struct phone *phone) {
	assert_string_equal(phone_next(phone), "");
}

HELPER void phone_has(const struct phone *phone, const char *text) {
	if (!strstr(phone->message, text))
		fail_msg("%s: no \"%s\" in:\n%s", phone->name, text, phone->message);
}

HELPER void phone_lacks(const struct phone *phone, const char *text) {
	if (strstr(phone->message, text))
		fail_msg("%s: \"%s\" in:\n%s", phone->name, text, phone->message);
}

/* Appends the lines of `message` that begin with `name`. */
HELPER void copy_lines(char *to, size_t size, const char *message, const char *name) {
	for (const char *line = message; *line; line = strstr(line, "\r\n") + 2) {
		if (strncmp(line, "\r\n", 2) == 0)
			return;
		if (strncmp(line, name, strlen(name)) == 0)
			snprintf(to + strlen(to), size - strlen(to), "%.*s", (int)(strstr(line, "\r\n") + 2 - line), line);
	}
}

/* Answers the request in `request`. `fields` are whole lines. */
HELPER void phone_answer(struct phone *phone, const char *request, const char *status, const char *fields) {
	char text[ANSWER_OCTETS] = "", to[512] = "";

	snprintf(text, sizeof(text), "SIP/2.0 %s\r\n", status);
	copy_lines(text, sizeof(text), request, "Via:");
	copy_lines(text, sizeof(text), request, "Record-Route:");
	copy_lines(text, sizeof(text), request, "From:");
	copy_lines(text, sizeof(text), request, "Call-ID:");
	copy_lines(text, sizeof(text), request, "CSeq:");
	copy_lines(to, sizeof(to), request, "To:");
	if (!strstr(to, ";tag="))
		snprintf(to + strlen(to) - 2, sizeof(to) - strlen(to) + 2, ";tag=%s\r\n", phone->name);
	snprintf(text + strlen(text), sizeof(text) - strlen(text),
		 "%sContact: <sip:%s@127.0.0.1:%u>\r\n%sContent-Length: 0\r\n\r\n", to, phone->name, phone->port,
		 fields ? fields : "");
	phone_send(phone, text);
}

/* The Record-Routes of a message as Route lines: in their order for the callee, the other way round for the caller. */
HELPER void route_lines(char *to, size_t size, const char *message, bool reversed) {
	char lines[2048] = "", *found[8];
	size_t count = 0;

	copy_lines(lines, sizeof(lines), message, "Record-Route:");
	for (char *line = strtok(lines, "\r\n"); line && count < 8; line = strtok(NULL, "\r\n"))
		found[count++] = line + strlen("Record-");
	to[0] = 0;
	for (size_t i = 0; i < count; i++)
		snprintf(to + strlen(to), size - strlen(to), "%s\r\n", found[reversed ? count - 1 - i : i]);
}
