/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets over a restart, with the service manager played by the test: what fits is taken over with what waits in it, the rest
 * goes. */
#include "node/handover.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cmocka.h>

enum { FIRST = 3, NOTES_MAX = 8, NOTE_SIZE = 256 };

/* What the service manager was told, and how many descriptors came with it. */
struct notes {
	char text[NOTES_MAX][NOTE_SIZE];
	unsigned fds[NOTES_MAX];
	size_t count;
};

static struct address loopback(uint16_t port) {
	return (struct address){.family = AF_INET, .port = port, .octets = {127, 0, 0, 1}};
}

static int bound(int type, uint16_t *port) {
	struct sockaddr_storage name;
	struct address address = loopback(0);
	socklen_t length = address_to_sockaddr(&address, &name);
	int fd = socket(AF_INET, type, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&name, length), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &length), 0);
	*port = address_of_sockaddr((struct sockaddr *)&name).port;
	return fd;
}

/* One message; false when nobody can send any more, which closing `done` of the other process shows. */
static bool note_read(int fd, struct notes *notes) {
	char control[CMSG_SPACE(HANDOVER_SOCKETS_MAX * sizeof(int))];
	struct iovec part = {.iov_base = notes->text[notes->count], .iov_len = NOTE_SIZE - 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

	ssize_t length = recvmsg(fd, &message, 0);
	if (length <= 0)
		return false;
	notes->text[notes->count][length] = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int received;
			memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			close(received); /* which is what a barrier waits for */
			notes->fds[notes->count]++;
		}
	}
	return true;
}

static void as_service_manager_passes(const int *fds, size_t count) {
	char number[16];
	int copies[HANDOVER_SOCKETS_MAX + 4];

	for (size_t i = 0; i < count; i++)
		copies[i] = fcntl(fds[i], F_DUPFD, 100);
	for (size_t i = 0; i < count; i++)
		dup2(copies[i], FIRST + (int)i);
	for (size_t i = 0; i < count; i++)
		close(copies[i]);
	snprintf(number, sizeof(number), "%d", (int)getpid());
	setenv("LISTEN_PID", number, 1);
	snprintf(number, sizeof(number), "%zu", count);
	setenv("LISTEN_FDS", number, 1);
}

/* Runs `daemon` as a service that got these descriptors; its status is the exit status. */
static int serve(const int *fds, size_t count, int (*daemon)(void *userdata), void *userdata, struct notes *notes) {
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	char text[64];
	int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), status;
	struct timeval give_up = {.tv_sec = 20};

	*notes = (struct notes){0};
	snprintf(text, sizeof(text), "@ringgate-test-%d", (int)getpid());
	snprintf(name.sun_path, sizeof(name.sun_path), "%s", text);
	name.sun_path[0] = 0;
	socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(text));
	assert_int_equal(bind(manager, (struct sockaddr *)&name, length), 0);
	setsockopt(manager, SOL_SOCKET, SO_RCVTIMEO, &give_up, sizeof(give_up));
	pid_t child = fork();
	if (child == 0) {
		close(manager);
		setenv("NOTIFY_SOCKET", text, 1);
		as_service_manager_passes(fds, count);
		status = daemon(userdata);
		/* The last word, so that the manager knows that there is none to come. */
		int end = socket(AF_UNIX, SOCK_DGRAM, 0);
		sendto(end, "END", 3, 0, (struct sockaddr *)&name, length);
		_exit(status);
	}
	while (notes->count < NOTES_MAX && note_read(manager, notes) && strcmp(notes->text[notes->count], "END") != 0)
		notes->count++;
	assert_int_equal(waitpid(child, &status, 0), child);
	close(manager);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool told(const struct notes *notes, const char *word) {
	for (size_t i = 0; i < notes->count; i++)
		if (strstr(notes->text[i], word))
			return true;
	return false;
}

struct scene {
	struct settings settings;
	uint16_t udp, tcp, tls;
};

static int takes_all(void *userdata) {
	const struct scene *scene = userdata;
	struct handover *handover;
	struct address udp = loopback(scene->udp), tcp = loopback(scene->tcp), tls = loopback(scene->tls);
	char octets[16];

	if (handover_new(&scene->settings, &handover) < 0 || handover_count(handover) != 3)
		return 1;
	if (handover_take(handover, SOCK_STREAM, &udp) != -ENOENT || handover_take(handover, SOCK_DGRAM, &tcp) != -ENOENT)
		return 2;
	int fds[] = {handover_take(handover, SOCK_DGRAM, &udp), handover_take(handover, SOCK_STREAM, &tcp),
		     handover_take(handover, SOCK_STREAM, &tls)};
	if (fds[0] < 0 || fds[1] < 0 || fds[2] < 0 || handover_take(handover, SOCK_DGRAM, &udp) != -ENOENT)
		return 3;
	/* What came while nobody was there, and no waiting for what did not. */
	if (recv(fds[0], octets, sizeof(octets), 0) != 6 || memcmp(octets, "INVITE", 6) != 0)
		return 4;
	if (recv(fds[0], octets, sizeof(octets), 0) >= 0 || errno != EAGAIN)
		return 5;
	if (!(fcntl(fds[0], F_GETFD) & FD_CLOEXEC) || getenv("LISTEN_FDS"))
		return 6;
	handover_free(handover);
	if (fcntl(fds[1], F_GETFD) < 0)
		return 7; /* taken sockets are not its own any more */
	handover_keep(fds, 3);
	return 0;
}

static int takes_none(void *userdata) {
	const struct scene *scene = userdata;
	struct handover *handover;
	struct address udp = loopback(scene->udp);

	if (handover_new(&scene->settings, &handover) < 0 || handover_count(handover) != 0)
		return 1;
	if (handover_take(handover, SOCK_DGRAM, &udp) != -ENOENT || fcntl(FIRST, F_GETFD) >= 0)
		return 2;
	handover_free(handover);
	return 0;
}

static int bound_for(int type, uint16_t *port, struct address *list, size_t *count) {
	int fd = bound(type, port);

	list[(*count)++] = loopback(*port);
	return fd;
}

static void test_sockets_are_taken_over(void **state) {
	struct scene scene = {.settings.sip = true};
	struct settings *settings = &scene.settings;
	struct notes notes;
	struct sockaddr_storage name;

	(void)state;
	int fds[] = {bound_for(SOCK_DGRAM, &scene.udp, settings->sip_listen, &settings->sip_listen_count),
		     bound_for(SOCK_STREAM, &scene.tcp, settings->sip_listen, &settings->sip_listen_count),
		     bound_for(SOCK_STREAM, &scene.tls, settings->sip_tls_listen, &settings->sip_tls_listen_count)};
	struct address to = loopback(scene.udp);
	socklen_t length = address_to_sockaddr(&to, &name);
	int phone = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(sendto(phone, "INVITE", 6, 0, (struct sockaddr *)&name, length), 6);
	assert_int_equal(serve(fds, 3, takes_all, &scene, &notes), 0);
	assert_int_equal(notes.count, 1);
	assert_string_equal(notes.text[0], "FDSTORE=1\nFDNAME=sip");
	assert_int_equal(notes.fds[0], 3);
	close(phone);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
}

/* Other addresses in the settings, SIP off, a bootstrap server: the service manager lets go before anything is opened. */
static void test_sockets_that_do_not_fit_go(void **state) {
	struct scene scene = {.settings.sip = true};
	struct notes notes;

	(void)state;
	int fd = bound(SOCK_DGRAM, &scene.udp);
	scene.settings.sip_listen[scene.settings.sip_listen_count++] = loopback((uint16_t)(scene.udp ^ 1));
	assert_int_equal(serve(&fd, 1, takes_none, &scene, &notes), 0);
	assert_true(told(&notes, "FDSTOREREMOVE=1\nFDNAME=sip"));
	assert_true(told(&notes, "BARRIER=1"));
	scene.settings.sip_listen[0] = loopback(scene.udp);
	scene.settings.sip = false;
	assert_int_equal(serve(&fd, 1, takes_none, &scene, &notes), 0);
	assert_true(told(&notes, "FDSTOREREMOVE=1"));
	scene.settings.sip = scene.settings.relay = true;
	assert_int_equal(serve(&fd, 1, takes_none, &scene, &notes), 0);
	assert_true(told(&notes, "FDSTOREREMOVE=1"));
	close(fd);
}

/* Not sockets, not listening, not bound. */
static void test_other_descriptors_go(void **state) {
	struct scene scene = {.settings.sip = true};
	struct notes notes;
	int others[] = {open("/dev/null", O_RDONLY), socket(AF_INET, SOCK_STREAM, 0), socket(AF_INET, SOCK_DGRAM, 0),
			socket(AF_UNIX, SOCK_DGRAM, 0)};

	(void)state;
	scene.settings.sip_listen[scene.settings.sip_listen_count++] = loopback(5060);
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(serve(&others[i], 1, takes_none, &scene, &notes), 0);
		assert_true(told(&notes, "FDSTOREREMOVE=1"));
		close(others[i]);
	}
}

static int takes_the_bound(void *userdata) {
	const struct scene *scene = userdata;
	struct handover *handover;

	if (handover_new(&scene->settings, &handover) < 0 || handover_count(handover) != HANDOVER_SOCKETS_MAX)
		return 1;
	handover_free(handover);
	return fcntl(FIRST + HANDOVER_SOCKETS_MAX, F_GETFD) >= 0 ? 2 : 0;
}

static void test_more_than_fit(void **state) {
	struct scene scene = {.settings.sip = true};
	struct notes notes;
	int fds[HANDOVER_SOCKETS_MAX + 1];

	(void)state;
	fds[0] = bound_for(SOCK_DGRAM, &scene.udp, scene.settings.sip_listen, &scene.settings.sip_listen_count);
	for (size_t i = 1; i <= HANDOVER_SOCKETS_MAX; i++)
		fds[i] = fds[0];
	assert_int_equal(serve(fds, HANDOVER_SOCKETS_MAX + 1, takes_the_bound, &scene, &notes), 0);
	assert_true(told(&notes, "FDSTOREREMOVE=1"));
	close(fds[0]);
}

static int passed_nothing(void *userdata) {
	const struct scene *scene = userdata;
	struct handover *handover;
	struct address udp = loopback(5060);

	if (handover_new(&scene->settings, &handover) < 0 || handover_take(handover, SOCK_DGRAM, &udp) != -ENOENT)
		return 1;
	handover_keep(NULL, 0);
	handover_free(handover);
	return handover_take(NULL, SOCK_DGRAM, &udp) == -ENOENT && handover_count(NULL) == 0 && !handover_free(NULL) ? 0 : 2;
}

static void test_nothing_was_passed(void **state) {
	struct scene scene = {.settings.sip = true};
	struct notes notes;

	(void)state;
	assert_int_equal(serve(NULL, 0, passed_nothing, &scene, &notes), 0);
	assert_int_equal(notes.count, 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sockets_are_taken_over), cmocka_unit_test(test_sockets_that_do_not_fit_go),
		cmocka_unit_test(test_other_descriptors_go),   cmocka_unit_test(test_more_than_fit),
		cmocka_unit_test(test_nothing_was_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
