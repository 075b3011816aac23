/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/helper.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECOND_US UINT64_C(1000000)

struct helper {
	pid_t pid; /* 0 once it was waited for */
	int process_fd, output_fd;
	sd_event_source *process, *output_source, *limit;
	char output[HELPER_OUTPUT_MAX];
	size_t length;
	helper_done done;
	void *userdata;
};

struct helper *helper_free(struct helper *helper) {
	if (!helper)
		return NULL;
	sd_event_source_disable_unref(helper->process);
	sd_event_source_disable_unref(helper->output_source);
	sd_event_source_disable_unref(helper->limit);
	if (helper->pid > 0) {
		kill(helper->pid, SIGKILL);
		while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (helper->process_fd >= 0)
		close(helper->process_fd);
	if (helper->output_fd >= 0)
		close(helper->output_fd);
	free(helper);
	return NULL;
}
DEFINE_CLEANUP(struct helper *, helper_free)

static void read_output(struct helper *helper) {
	char rest[512];

	for (;;) {
		size_t room = sizeof(helper->output) - 1 - helper->length;
		ssize_t got =
			read(helper->output_fd, room > 0 ? helper->output + helper->length : rest, room > 0 ? room : sizeof(rest));
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		if (room > 0)
			helper->length += (size_t)got;
	}
}

static void finish(struct helper *helper, int status) {
	helper_done done = helper->done;
	void *userdata = helper->userdata;
	char output[HELPER_OUTPUT_MAX];

	read_output(helper);
	while (helper->length > 0 && helper->output[helper->length - 1] == '\n')
		helper->length--;
	memcpy(output, helper->output, helper->length);
	output[helper->length] = 0;
	helper_free(helper);
	done(userdata, status, output);
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct helper *helper = userdata;

	(void)fd;
	read_output(helper);
	if (events & (EPOLLHUP | EPOLLERR)) /* or the loop would spin until the process is gone */
		sd_event_source_set_enabled(source, SD_EVENT_OFF);
	return 0;
}

static int on_process(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct helper *helper = userdata;
	int status;

	(void)source;
	(void)fd;
	(void)events;
	pid_t waited = waitpid(helper->pid, &status, WNOHANG);
	if (waited == 0 || (waited < 0 && errno == EINTR))
		return 0;
	helper->pid = 0;
	finish(helper, waited > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR);
	return 0;
}

static int on_limit(sd_event_source *source, uint64_t due_us, void *userdata) {
	(void)source;
	(void)due_us;
	finish(userdata, -ETIMEDOUT);
	return 0;
}

/* Beside the running program first: what was built or installed together fits together. */
static void find_program(const char *program, char path[static PATH_MAX]) {
	char own[PATH_MAX];
	ssize_t length = program[0] == '/' ? -1 : readlink("/proc/self/exe", own, sizeof(own) - 1);

	snprintf(path, PATH_MAX, "%s", program);
	if (length <= 0)
		return;
	own[length] = 0;
	char beside[2 * PATH_MAX];
	snprintf(beside, sizeof(beside), "%s/%s", dirname(own), program);
	if (strlen(beside) < PATH_MAX && access(beside, X_OK) == 0)
		strcpy(path, beside);
}

static int spawn(const char *path, const char *const arguments[], int output, pid_t *ret) {
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t none, all;
	int error = posix_spawn_file_actions_init(&actions);

	if (error != 0)
		return -error;
	error = posix_spawnattr_init(&attributes);
	if (error != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return -error;
	}
	sigemptyset(&none);
	sigfillset(&all);
	/* The daemon blocks signals and ignores some; a program expects neither. */
	posix_spawnattr_setsigmask(&attributes, &none);
	posix_spawnattr_setsigdefault(&attributes, &all);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	error = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	if (error == 0)
		error = posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
	if (error == 0)
		error = posix_spawnp(ret, path, &actions, &attributes, (char *const *)(uintptr_t)arguments, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -error;
}

int helper_start(sd_event *event, const char *program, const char *const arguments[], unsigned limit_s, helper_done done,
		 void *userdata, struct helper **ret) {
	_cleanup_(helper_freep) struct helper *helper = calloc(1, sizeof(*helper));
	char path[PATH_MAX];
	int pipe_fds[2];

	if (!helper)
		return -ENOMEM;
	helper->process_fd = helper->output_fd = -1;
	helper->done = done;
	helper->userdata = userdata;
	find_program(program, path);
	if (pipe2(pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	helper->output_fd = pipe_fds[0];
	fcntl(pipe_fds[1], F_SETFL, 0); /* the program's end waits */
	int error = spawn(path, arguments, pipe_fds[1], &helper->pid);
	close(pipe_fds[1]);
	if (error < 0) {
		helper->pid = 0;
		return error;
	}
	/* Without SIGCHLD, whose handling would be everybody's business. */
	helper->process_fd = (int)syscall(SYS_pidfd_open, helper->pid, 0);
	if (helper->process_fd < 0)
		return -errno;
	fcntl(helper->process_fd, F_SETFD, FD_CLOEXEC);
	error = sd_event_add_io(event, &helper->process, helper->process_fd, EPOLLIN, on_process, helper);
	if (error >= 0)
		error = sd_event_add_io(event, &helper->output_source, helper->output_fd, EPOLLIN, on_output, helper);
	if (error >= 0)
		error = sd_event_add_time_relative(event, &helper->limit, CLOCK_MONOTONIC, limit_s * SECOND_US, 0, on_limit,
						   helper);
	if (error < 0)
		return error;
	*ret = TAKE(helper);
	return 0;
}
