/* SPDX-License-Identifier: BSD-2-Clause */
/* The node on the event loop: what it waits for, and what is done after each round. */
#include "node/node_internal.h"

#include "base/log.h"
#include "node/sip_glue.h"

#include <sys/epoll.h>
#include <utlist.h>

enum { TIMER_ACCURACY_US = 1000 };

struct sip_source {
	struct node *node;
	sd_event_source *source;
	int fd;
	struct sip_source *prev, *next;
};

void node_enter(struct node *node) {
	uint64_t now_us;

	if (sd_event_now(node->event, CLOCK_MONOTONIC, &now_us) < 0)
		now_us = clock_monotonic_us();
	node->runtime.now_us = now_us;
}

static int on_link_ready(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct node *node = userdata;

	(void)source;
	node_enter(node);
	if (events & ~(uint32_t)EPOLLOUT)
		links_receive(node->links, fd);
	return 0; /* what waits for a full send buffer leaves when the round settles */
}

static int on_fastpath_ready(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct node *node = userdata;

	(void)source;
	(void)events;
	node_enter(node);
	fastpath_ready(node->fastpath, fd);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t due_us, void *userdata) {
	struct node *node = userdata;

	(void)source;
	(void)due_us;
	node_enter(node);
	runtime_fire(&node->runtime);
	return 0;
}

/* Waits for room in the send buffer only while something is held back. */
static void watch_links(struct node *node) {
	bool want_write = links_want_write(node->links);

	if (want_write == node->links_want_write)
		return;
	node->links_want_write = want_write;
	for (size_t i = 0; i < ARRAY_LENGTH(node->link_sources); i++)
		if (node->link_sources[i])
			sd_event_source_set_io_events(node->link_sources[i], want_write ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

int node_settle(struct node *node) {
	if (node->sip_glue && sip_glue_commit_wanted(node->sip_glue))
		sip_glue_commit(node->sip_glue);
	if (store_commit_wanted(node->store))
		store_commit(node->store);
	links_flush(node->links);
	watch_links(node);
	uint64_t due_us = runtime_next(&node->runtime);
	if (due_us == USEC_NEVER)
		return sd_event_source_set_enabled(node->timer_source, SD_EVENT_OFF);
	int error = sd_event_source_set_time(node->timer_source, due_us);
	return error < 0 ? error : sd_event_source_set_enabled(node->timer_source, SD_EVENT_ONESHOT);
}

static int on_settle(sd_event_source *source, void *userdata) {
	(void)source;
	return node_settle(userdata);
}

static int on_sip_ready(sd_event_source *source, int fd, uint32_t events, void *userdata) {
	struct sip_source *sip_source = userdata;
	struct node *node = sip_source->node;

	(void)source;
	node_enter(node);
	sip_gateway_ready(node->sip, fd, events);
	return 0;
}

static void on_sip_watch(void *userdata, int fd, unsigned events) {
	struct node *node = userdata;
	struct sip_source *found = NULL;

	DL_FOREACH (node->sip_sources, found)
		if (found->fd == fd)
			break;
	if (found && events == 0) {
		DL_DELETE(node->sip_sources, found);
		sd_event_source_disable_unref(found->source);
		free(found);
	} else if (found) {
		sd_event_source_set_io_events(found->source, events);
	} else if (events != 0) {
		found = calloc(1, sizeof(*found));
		if (!found || sd_event_add_io(node->event, &found->source, fd, events, on_sip_ready, found) < 0) {
			log_error("Not enough memory to watch a SIP socket.");
			free(found);
			return;
		}
		found->node = node;
		found->fd = fd;
		DL_APPEND(node->sip_sources, found);
	}
}

int node_open_event_sources(struct node *node) {
	int fds[FASTPATH_FDS_MAX], link_fds[LINKS_FDS];
	size_t count = links_fds(node->links, link_fds, LINKS_FDS);
	int error = 0;

	for (size_t i = 0; error >= 0 && i < count; i++)
		error = sd_event_add_io(node->event, &node->link_sources[i], link_fds[i], EPOLLIN, on_link_ready, node);
	count = node->fastpath ? fastpath_fds(node->fastpath, fds, FASTPATH_FDS_MAX) : 0;
	for (size_t i = 0; error >= 0 && i < count; i++)
		error = sd_event_add_io(node->event, &node->fastpath_sources[i], fds[i], EPOLLIN, on_fastpath_ready, node);
	if (error >= 0)
		error = sd_event_add_time(node->event, &node->timer_source, CLOCK_MONOTONIC, UINT64_MAX, TIMER_ACCURACY_US,
					  on_timer, node);
	if (error >= 0)
		error = sd_event_add_post(node->event, &node->settle_source, on_settle, node);
	if (error >= 0) /* without it nothing would leave any more: better to be started again */
		error = sd_event_source_set_exit_on_failure(node->settle_source, true);
	if (error < 0)
		return error;
	if (node->sip)
		sip_gateway_set_watch(node->sip, on_sip_watch, node);
	return 0;
}
