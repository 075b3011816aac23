/* SPDX-License-Identifier: BSD-2-Clause */
/* The object, its sockets, and the transport it offers. */
#include "link/tls.h"

#include "base/log.h"
#include "link/interfaces.h"
#include "link/tls_internal.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <utlist.h>

/* --- links --- */

static void link_free(struct tls_link *link) {
	certificate_unref(link->session.certificate);
	free(link);
}

void tls_leave(struct tls_links *links) {
	if (--links->depth > 0)
		return;
	while (links->dead) {
		struct tls_link *link = links->dead;
		links->dead = link->morgue;
		link_free(link);
	}
}

int tls_link_new(struct tls_links *links, struct tls_link **ret) {
	if (links->count >= TLS_LINKS_MAX)
		return -ENOBUFS;
	struct tls_link *link = calloc(1, sizeof(*link));
	if (!link)
		return -ENOMEM;
	link->watch.what = TLS_WATCH_LINK;
	link->links = links;
	link->slot = LINK_SLOT_NONE;
	link->fd = -1;
	link->state = TLS_WAITING;
	link->session = (struct secure_session){.context = &links->secure, .expected = ID_NONE};
	link->last_failure = LINK_TIMED_OUT;
	timer_init(&link->timer, tls_connect_timer, link);
	DL_APPEND2(links->list, link, previous, next);
	links->count++;
	*ret = link;
	return 0;
}

void tls_link_watch(struct tls_link *link) {
	struct epoll_event event = {.data.ptr = &link->watch};
	size_t waiting = link->out_end - link->out_start;

	if (link->fd < 0)
		return;
	if (link->state == TLS_CONNECTING)
		event.events = EPOLLOUT;
	else if (waiting <= TLS_ACKS_WAITING || link->state < TLS_UP)
		event.events = EPOLLIN;
	if (link->write_blocked || link->read_blocked)
		event.events |= EPOLLOUT;
	if (link->watched && event.events == link->events)
		return;
	int operation = link->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	if (epoll_ctl(link->links->epoll_fd, operation, link->fd, &event) < 0)
		log_warning("a TLS link cannot be watched: %s", strerror(errno)); /* its timers end it */
	link->watched = true;
	link->events = event.events;
}

static void undirty(struct tls_link *link) {
	struct tls_link **at = &link->links->dirty;

	if (!link->dirty)
		return;
	while (*at != link)
		at = &(*at)->dirty_next;
	*at = link->dirty_next;
	link->dirty = false;
}

/* What waits and close_notify, as far as the kernel takes them at once. */
static void say_goodbye(struct tls_link *link) {
	tls_link_write(link);
	if (!link->write_blocked) {
		ERR_clear_error();
		SSL_shutdown(link->ssl);
		ERR_clear_error();
	}
}

void tls_link_end(struct tls_link *link, enum link_reason reason, bool notify) {
	struct tls_links *links = link->links;
	bool up = link->state == TLS_UP;

	if (link->state == TLS_DEAD)
		return;
	log_debug("TLS link %u %s: %s", link->slot, up ? "down" : "not made", link_reason_text(reason));
	link->state = TLS_DEAD; /* so that nothing below ends it again */
	if (up && notify)
		say_goodbye(link);
	undirty(link);
	timer_disarm(links->runtime, &link->timer);
	tls_connect_drop(link);
	DL_DELETE2(links->list, link, previous, next);
	links->count--;
	if (link->slot != LINK_SLOT_NONE) {
		if (up && links->kernel)
			links->kernel->detach(links->kernel->userdata, link->slot);
		links->events.down(links->events.userdata, link->slot, reason);
		/* Only now may connect() take the slot again. */
		links->slots[link->slot] = NULL;
		link_slots_release(links->numbers, link->slot);
	}
	link->morgue = links->dead;
	links->dead = link;
}

/* --- sockets --- */

static int listener_open(struct tls_links *links, const struct address *local, char *reason, size_t reason_size) {
	static const uint8_t any[sizeof(local->octets)] = {0};
	struct tls_listener *listener = &links->listeners[links->listener_count];
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener->watch};
	struct sockaddr_storage name;
	socklen_t length = address_to_sockaddr(local, &name);
	char text[ADDRESS_TEXT_SIZE];
	int one = 1, seconds = LIMIT_HANDSHAKE_SECONDS;

	int fd = socket(local->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		goto fail;
	if (local->family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* TLS clients speak first: who says nothing does not even get to us. */
	setsockopt(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds));
	if (bind(fd, (struct sockaddr *)&name, length) < 0 || listen(fd, TLS_BACKLOG) < 0 ||
	    epoll_ctl(links->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		goto fail;
	length = sizeof(name);
	getsockname(fd, (struct sockaddr *)&name, &length);
	listener->watch.what = TLS_WATCH_LISTENER;
	listener->fd = fd;
	listener->local = address_of_sockaddr((struct sockaddr *)&name);
	listener->local.protocol = IPPROTO_TCP;
	listener->wildcard = memcmp(local->octets, any, sizeof(any)) == 0;
	links->listener_count++;
	return 0;

fail:;
	int error = -errno;
	snprintf(reason, reason_size, "cannot listen on TCP %s: %s", address_format(local, text), strerror(-error));
	if (fd >= 0)
		close(fd);
	return error;
}

static void listeners_watch(struct tls_links *links, uint32_t events) {
	for (size_t i = 0; i < links->listener_count; i++) {
		struct epoll_event event = {.events = events, .data.ptr = &links->listeners[i].watch};
		epoll_ctl(links->epoll_fd, EPOLL_CTL_MOD, links->listeners[i].fd, &event);
	}
}

static void on_accept_timer(struct timer *timer, void *userdata) {
	(void)timer;
	listeners_watch(userdata, EPOLLIN);
}

static void listener_ready(struct tls_links *links, struct tls_listener *listener) {
	for (unsigned i = 0; i < TLS_ACCEPTS; i++) {
		struct sockaddr_storage name;
		socklen_t length = sizeof(name);
		int fd = accept4(listener->fd, (struct sockaddr *)&name, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			struct address remote = address_of_sockaddr((struct sockaddr *)&name);
			tls_connect_accept(links, fd, &remote);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
			log_warning("TLS links of others wait: %s", strerror(errno));
			links->counters.drop_limit++;
			listeners_watch(links, 0);
			timer_arm_after(links->runtime, &links->accept_timer, TLS_ACCEPT_PAUSE_US);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* --- life --- */

static int start(struct tls_links *links, const struct tls_settings *settings, char *reason, size_t reason_size) {
	struct secure_settings secure = {.runtime = settings->runtime,
					 .trust = settings->trust,
					 .credential = settings->credential,
					 .keylog_path = settings->keylog_path,
					 .cipher_list = settings->cipher_list,
					 .secret = settings->secret};

	links->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (links->epoll_fd < 0) {
		int error = -errno;
		snprintf(reason, reason_size, "cannot watch TCP sockets: %s", strerror(-error));
		return error;
	}
	int error = secure_context_open(&links->secure, &secure, false, reason, reason_size);
	if (error < 0)
		return error;
	tls_connect_context(links);
	for (size_t i = 0; error == 0 && i < settings->listen_count; i++)
		if (settings->listen[i].family != 0)
			error = listener_open(links, &settings->listen[i], reason, reason_size);
	if (error == 0 && links->listener_count == 0) {
		snprintf(reason, reason_size, "no address to listen on");
		return -EINVAL;
	}
	return error;
}

int tls_links_new(const struct tls_settings *settings, const struct transport_events *events, struct tls_links **ret, char *reason,
		  size_t reason_size) {
	if (settings->listen_count > TLS_LISTENERS || settings->announce_count > LINK_CANDIDATES_MAX) {
		snprintf(reason, reason_size, "link settings are out of range");
		return -EINVAL;
	}
	struct tls_links *links = calloc(1, sizeof(*links));
	if (!links) {
		snprintf(reason, reason_size, "out of memory");
		return -ENOMEM;
	}
	links->runtime = settings->runtime;
	links->events = *events;
	links->kernel = settings->kernel;
	links->secure.keylog_fd = -1;
	memcpy(links->announce, settings->announce, sizeof(links->announce));
	links->announce_count = settings->announce_count;
	links->numbers = settings->slots ? settings->slots : &links->own_numbers;
	if (!settings->slots)
		link_slots_init(links->numbers, links->runtime, LINK_SLOTS_MAX);
	timer_init(&links->accept_timer, on_accept_timer, links);
	int error = start(links, settings, reason, reason_size);
	if (error < 0) {
		tls_links_free(links);
		return error;
	}
	*ret = links;
	return 0;
}

struct tls_links *tls_links_free(struct tls_links *links) {
	struct tls_link *link, *next;

	if (!links)
		return NULL;
	tls_enter(links);
	DL_FOREACH_SAFE2(links->list, link, next, next) {
		if (link->state == TLS_UP)
			say_goodbye(link);
		if (link->state == TLS_UP && links->kernel)
			links->kernel->detach(links->kernel->userdata, link->slot);
		timer_disarm(links->runtime, &link->timer);
		tls_connect_drop(link);
		if (link->slot != LINK_SLOT_NONE)
			link_slots_release(links->numbers, link->slot);
		link_free(link);
	}
	links->list = NULL;
	tls_leave(links);
	timer_disarm(links->runtime, &links->accept_timer);
	for (size_t i = 0; i < links->listener_count; i++)
		close(links->listeners[i].fd);
	if (links->epoll_fd >= 0)
		close(links->epoll_fd);
	secure_context_close(&links->secure);
	octets_wipe(links->scratch, sizeof(links->scratch));
	free(links);
	return NULL;
}

int tls_links_fd(const struct tls_links *links) {
	return links->epoll_fd;
}

bool tls_links_ready(struct tls_links *links) {
	struct epoll_event events[TLS_EVENTS];
	int count = epoll_wait(links->epoll_fd, events, TLS_EVENTS, 0);

	/* A link that ends now is freed by tls_leave() at the end: later events may still point to it. */
	tls_enter(links);
	for (int i = 0; i < count; i++) {
		struct tls_watch *watch = events[i].data.ptr;
		if (watch->what == TLS_WATCH_LISTENER) {
			listener_ready(links, (struct tls_listener *)watch);
			continue;
		}
		struct tls_link *link = (struct tls_link *)watch;
		if (link->state == TLS_DEAD || link->fd < 0)
			continue;
		if (link->state < TLS_UP) {
			tls_connect_ready(link, events[i].events);
			continue;
		}
		if (events[i].events & EPOLLOUT)
			tls_link_write(link);
		if (link->state == TLS_UP && (events[i].events & ~(uint32_t)EPOLLOUT || link->read_blocked))
			tls_link_receive(link);
	}
	tls_links_flush(links);
	tls_leave(links);
	return count == TLS_EVENTS;
}

void tls_links_flush(struct tls_links *links) {
	tls_enter(links);
	while (links->dirty) {
		struct tls_link *link = links->dirty;
		links->dirty = link->dirty_next;
		link->dirty = false;
		tls_link_write(link);
	}
	tls_leave(links);
}

struct address tls_links_local(const struct tls_links *links) {
	return links->listeners[0].local;
}

const struct tls_counters *tls_links_counters(const struct tls_links *links) {
	return &links->counters;
}

int tls_links_set_credential(struct tls_links *links, struct credential *credential) {
	return secure_context_set_credential(&links->secure, credential);
}

int tls_links_set_secret(struct tls_links *links, const char *secret, char *reason, size_t reason_size) {
	int error = secure_context_set_secret(&links->secure, secret, reason, reason_size);

	if (error == 0)
		tls_connect_context(links);
	return error;
}

void tls_links_recheck(struct tls_links *links) {
	uint64_t now_ms = runtime_realtime_ms(links->runtime);
	const char *why;

	tls_enter(links);
	for (size_t i = 0; i < LINK_SLOTS_MAX; i++) {
		struct tls_link *link = links->slots[i];
		if (!link || link->state != TLS_UP ||
		    trust_check(links->secure.trust, link->session.certificate, now_ms, &why) == 0)
			continue;
		log_notice("closing link %u: %s", link->slot, why);
		tls_link_end(link, LINK_REVOKED, true); /* B-11.1-06 */
	}
	tls_leave(links);
}

/* --- transport --- */

static struct tls_link *link_at(struct tls_links *links, uint16_t slot) {
	return slot < LINK_SLOTS_MAX ? links->slots[slot] : NULL;
}

static struct tls_link *link_up_at(struct tls_links *links, uint16_t slot) {
	struct tls_link *link = link_at(links, slot);

	return link && link->state == TLS_UP ? link : NULL;
}

static bool usable(const struct tls_links *links, const struct address *candidate) {
	for (size_t i = 0; i < links->listener_count; i++)
		if (links->listeners[i].local.family == candidate->family && candidate->port != 0 &&
		    candidate->protocol == IPPROTO_TCP)
			return true;
	return false;
}

int tls_links_connect(struct tls_links *links, uint16_t slot, const struct address *candidates, size_t count,
		      const struct id *expected, uint16_t *ret_slot) {
	struct address usables[LINK_CANDIDATES_MAX] = {0};
	struct tls_link *link;
	size_t usable_count = 0;

	for (size_t i = 0; i < count && usable_count < LINK_CANDIDATES_MAX; i++)
		if (usable(links, &candidates[i]))
			usables[usable_count++] = candidates[i];
	if (usable_count == 0)
		return -EAFNOSUPPORT;
	if (slot != LINK_SLOT_NONE)
		link_slots_hold(links->numbers, slot);
	else if (link_slots_take(links->numbers, &slot) < 0)
		return -ENOBUFS;
	int error = tls_link_new(links, &link);
	if (error < 0) {
		link_slots_release(links->numbers, slot);
		return error;
	}
	link->slot = slot;
	link->initiated = true;
	links->slots[slot] = link;
	memcpy(link->candidates, usables, sizeof(usables));
	link->candidate_count = usable_count;
	link->expected = expected ? *expected : ID_NONE;
	timer_arm(links->runtime, &link->timer, links->runtime->now_us);
	*ret_slot = slot;
	return 0;
}

void tls_links_abandon(struct tls_links *links, uint16_t slot) {
	struct tls_link *link = link_at(links, slot);

	if (!link || link->state == TLS_UP || link->state == TLS_DEAD)
		return;
	tls_enter(links);
	links->slots[slot] = NULL;
	link->slot = LINK_SLOT_NONE; /* so that nobody is told */
	tls_link_end(link, LINK_CLOSED_BY_US, false);
	link_slots_release(links->numbers, slot);
	tls_leave(links);
}

static int transport_connect(void *transport, const struct address *candidates, size_t count, const struct id *expected,
			     uint16_t *ret_slot) {
	return tls_links_connect(transport, LINK_SLOT_NONE, candidates, count, expected, ret_slot);
}

static int transport_send(void *transport, uint16_t slot, const struct iovec *parts, size_t count, unsigned flags) {
	struct tls_link *link = link_up_at(transport, slot);

	(void)flags; /* TCP sees to it that everything arrives */
	return link ? tls_link_send(link, parts, count) : -ENOTCONN;
}

static void transport_close(void *transport, uint16_t slot, enum link_reason reason) {
	struct tls_links *links = transport;
	struct tls_link *link = link_at(links, slot);

	if (!link)
		return;
	tls_enter(links);
	tls_link_end(link, reason, true);
	tls_leave(links);
}

static size_t transport_candidates(void *transport, struct address *out, size_t max) {
	const struct tls_links *links = transport;
	struct local_socket sockets[TLS_LISTENERS];

	for (size_t i = 0; i < links->listener_count; i++)
		sockets[i] = (struct local_socket){links->listeners[i].local, links->listeners[i].wildcard};
	size_t count = local_candidates(links->announce, links->announce_count, sockets, links->listener_count, out, max);
	for (size_t i = 0; i < count; i++)
		out[i].protocol = IPPROTO_TCP;
	return count;
}

static struct certificate *transport_certificate(void *transport, uint16_t slot) {
	struct tls_link *link = link_at(transport, slot);

	return link ? link->session.certificate : NULL;
}

static uint8_t transport_generation(void *transport, uint16_t slot) {
	const struct tls_links *links = transport;

	return slot < LINK_SLOTS_MAX ? links->numbers->generations[slot] : 0;
}

static struct address transport_address(void *transport, uint16_t slot) {
	struct tls_link *link = link_at(transport, slot);
	struct address address = link ? link->session.remote : (struct address){0};

	if (link && address.family == 0)
		address = link->candidates[0];
	address.protocol = link ? IPPROTO_TCP : 0;
	return address;
}

static size_t transport_payload_max(void *transport, uint16_t slot) {
	struct tls_link *link = link_up_at(transport, slot);

	return link ? tls_link_payload_max(link) : 0;
}

static void transport_statistics(void *transport, uint16_t slot, struct link_statistics *ret) {
	struct tls_link *link = link_up_at(transport, slot);

	if (link)
		tls_link_statistics(link, ret);
	else
		*ret = (struct link_statistics){.cipher = "", .protocol = ""};
}

struct transport tls_links_transport(struct tls_links *links) {
	static const struct transport_ops ops = {
		.connect = transport_connect,
		.send = transport_send,
		.close = transport_close,
		.candidates = transport_candidates,
		.certificate = transport_certificate,
		.generation = transport_generation,
		.address = transport_address,
		.payload_max = transport_payload_max,
		.statistics = transport_statistics,
	};

	return (struct transport){.ops = &ops, .object = links};
}
