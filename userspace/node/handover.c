/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/handover.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define STORE_NAME "sip"
#define FORGET "FDSTOREREMOVE=1\nFDNAME=" STORE_NAME

struct held {
	int fd, type;
	struct address address;
};

struct handover {
	struct held sockets[HANDOVER_SOCKETS_MAX];
	size_t count;
};

/* -EINVAL: no socket that we could have left. */
static int examine(int fd, struct held *ret) {
	struct sockaddr_storage name = {0};
	socklen_t length = sizeof(ret->type), name_length = sizeof(name);
	int flags = fcntl(fd, F_GETFL);

	ret->fd = fd;
	if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &ret->type, &length) < 0 ||
	    getsockname(fd, (struct sockaddr *)&name, &name_length) < 0)
		return -EINVAL;
	if (ret->type == SOCK_STREAM ? sd_is_socket(fd, name.ss_family, SOCK_STREAM, 1) <= 0 : ret->type != SOCK_DGRAM)
		return -EINVAL;
	ret->address = address_of_sockaddr((const struct sockaddr *)&name);
	return ret->address.port == 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -EINVAL : 0;
}

static bool listed(const struct address *list, size_t count, const struct address *address) {
	for (size_t i = 0; i < count; i++)
		if (address_same(&list[i], address))
			return true;
	return false;
}

static bool wanted(const struct settings *settings, const struct held *held) {
	if (!settings->sip || settings->relay)
		return false;
	return listed(settings->sip_listen, settings->sip_listen_count, &held->address) ||
	       (held->type == SOCK_STREAM && listed(settings->sip_tls_listen, settings->sip_tls_listen_count, &held->address));
}

/* The addresses are free when the service manager has read this. */
static void let_go(void) {
	if (sd_notify(false, FORGET) > 0)
		(void)sd_notify_barrier(false, HANDOVER_BARRIER_US);
}

int handover_new(const struct settings *settings, struct handover **ret) {
	struct handover *handover = calloc(1, sizeof(*handover));
	bool others = false;

	if (!handover)
		return -ENOMEM;
	int passed = sd_listen_fds(true);
	for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + passed; fd++) {
		struct held held;
		if (handover->count < HANDOVER_SOCKETS_MAX && examine(fd, &held) == 0 && wanted(settings, &held)) {
			handover->sockets[handover->count++] = held;
			continue;
		}
		close(fd);
		others = true;
	}
	if (others)
		let_go();
	*ret = handover;
	return 0;
}

struct handover *handover_free(struct handover *handover) {
	if (!handover)
		return NULL;
	for (size_t i = 0; i < handover->count; i++)
		if (handover->sockets[i].fd >= 0)
			close(handover->sockets[i].fd);
	free(handover);
	return NULL;
}

size_t handover_count(const struct handover *handover) {
	return handover ? handover->count : 0;
}

int handover_take(void *userdata, int type, const struct address *address) {
	struct handover *handover = userdata;

	for (size_t i = 0; handover && i < handover->count; i++) {
		struct held *held = &handover->sockets[i];
		if (held->fd >= 0 && held->type == type && address_same(&held->address, address)) {
			int fd = held->fd;
			held->fd = -1;
			return fd;
		}
	}
	return -ENOENT;
}

void handover_forget(void) {
	(void)sd_notify(false, FORGET);
}

void handover_keep(const int *fds, size_t count) {
	/* The service manager knows sockets it has already by themselves. */
	if (count > 0)
		(void)sd_pid_notify_with_fds(0, false, "FDSTORE=1\nFDNAME=" STORE_NAME, fds,
					     (unsigned)(count < HANDOVER_SOCKETS_MAX ? count : HANDOVER_SOCKETS_MAX));
}
