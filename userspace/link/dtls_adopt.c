/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Links of a former run of the daemon, which the kernel program kept up (fastpath/engine_adopt.c). Record numbers, the replay
 * window and frame numbers are in the shared slot and go on. The sender begins anew: what was in flight when the daemon ended is
 * resent end to end or not at all, and the round trip time is the kernel's until ours is measured.
 *
 * Why no record number is used twice, whenever the former daemon ended:
 *  - There is one counter of a link, tx_next in the pinned slot. Program and daemon take numbers from it by fetch-and-add alone,
 * before they seal (link_claim_number()). It outlives both, and nobody writes to it from attach() until the slot is wiped, which
 * happens to the keys in it at the same time. A daemon that ends between claim and sending has left a gap, which nobody fills.
 *  - The copy of the slot made here holds an older tx_next. It is not used while the layer shares the slot's, which it does before
 * the link is known to anybody; and when it stops sharing, its keys are wiped in the same function (dtls_link_discard()).
 *  - Our own counter of a link that never came to share the slot, though the program had the keys, is behind: such a link is
 * `broken`, and nothing is sealed on it any more.
 *  - A record is sealed once. What is resent, by us or end to end, is sealed anew with another number; datagrams that wait for room
 * in the socket are sent as they are, at most twice, which is a repeated record and not a repeated number.
 *  - A slot that a daemon was about to fill or to empty when it ended is not gone on with: its keys are complete before it is open,
 * and its certificate is remembered with its generation after that, and forgotten before it is hidden (fastpath/engine_adopt.c).
 * What is not adopted has its keys wiped before the slot gets others.
 *  - Pads say which number they are for, and are used for that one alone; those of a former run are checked against the keys.
 *  - Two daemons at once would not matter for numbers, and the lock on the pins keeps them apart.
 * A neighbor that gave the link up meanwhile makes a new handshake. Its numbers begin anew then, with other keys.
 */
#include "base/log.h"
#include "link/dtls_internal.h"

#include <errno.h>
#include <string.h>

static struct address address_of(uint16_t family, const uint8_t octets[static 16], uint16_t port) {
	struct address address = {.family = family, .port = port};

	memcpy(address.octets, octets, family == AF_INET ? 4 : 16);
	return address;
}

static struct dtls_socket *socket_of(struct dtls_links *links, const struct fastpath_record *record) {
	for (size_t i = 0; i < links->socket_count; i++) {
		struct dtls_socket *socket = links->sockets[i];
		size_t length = record->family == AF_INET ? 4 : 16;
		if (socket->family == record->family && socket->local.port == record->local_port &&
		    (socket->wildcard || memcmp(socket->local.octets, record->local_address, length) == 0))
			return socket;
	}
	return NULL;
}

static int open_endpoint(struct dtls_links *links, const struct fastpath_record *record, struct endpoint **ret) {
	struct address remote = address_of(record->family, record->remote_address, record->remote_port);
	struct dtls_socket *socket = socket_of(links, record);

	if (!socket)
		return -EADDRNOTAVAIL;
	if (endpoint_find(&links->endpoints, &remote))
		return -EEXIST;
	int error = endpoint_add(&links->endpoints, &remote, ret);
	if (error < 0)
		return error;
	dtls_destination_set(&(*ret)->to, socket, &remote);
	if (socket->wildcard)
		(*ret)->to.source = address_of(record->family, record->local_address, record->local_port);
	return 0;
}

/* The link has its keys and shares them; or nothing of it is left. */
static int open_link(struct dtls_links *links, const struct dtls_kept *kept, struct certificate *certificate) {
	if (kept->number >= LINK_SLOTS_MAX || links->slots[kept->number])
		return -EBUSY;
	_cleanup_free_ struct dtls_link *link = calloc(1, sizeof(*link));
	_cleanup_free_ struct dtls_shared *shared = calloc(1, sizeof(*shared));
	if (!link || !shared)
		return -ENOMEM;
	link->links = links;
	link->slot = kept->number;
	memcpy(&link->record.state, &kept->slot->record, sizeof(link->record.state));
	int error = record_layer_start(&link->record);
	if (error == 0)
		error = open_endpoint(links, &kept->slot->record, &link->endpoint);
	if (error == 0) {
		error = link_slots_claim(links->numbers, kept->number, kept->generation);
		if (error < 0)
			dtls_endpoint_release(links, link->endpoint);
	}
	if (error < 0) {
		record_layer_stop(&link->record);
		return error;
	}
	record_layer_share(&link->record, &kept->slot->record);
	dtls_shared_begin(link, TAKE(shared), kept->slot);
	link->kernel_attached = true;
	link->certificate = certificate_ref(certificate);
	link->endpoint->link = link;
	link->initiated = kept->initiated;
	dtls_link_begin(link);
	links->slots[kept->number] = TAKE(link);
	return 0;
}

static int adopt(struct dtls_links *links, const struct dtls_kept *kept, const char **ret_why) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;

	/* Documents and clocks went on while nobody was there to look (B-11.1-06). */
	int error = trust_certificate(links->secure.trust, kept->certificate, runtime_realtime_ms(links->runtime), &certificate,
				      ret_why);
	if (error == 0)
		error = open_link(links, kept, certificate);
	return error;
}

size_t dtls_links_adopt(struct dtls_links *links) {
	const struct dtls_kernel *kernel = links->kernel;
	uint16_t position = 0;
	struct dtls_kept kept;
	size_t count = 0;

	if (!kernel || !kernel->next)
		return 0;
	dtls_enter(links);
	while (kernel->next(kernel->userdata, &position, &kept)) {
		const char *why = NULL;
		int error = adopt(links, &kept, &why);
		if (error < 0) {
			log_notice("Link %u of the former daemon is given up: %s.", kept.number, why ? why : strerror(-error));
			kernel->detach(kernel->userdata, kept.number);
			continue;
		}
		links->counters.adopted++;
		count++;
		if (!links->shared_timer.armed)
			timer_arm_after(links->runtime, &links->shared_timer, DTLS_SHARED_CHECK_US);
		links->events.up(links->events.userdata, kept.number, kept.initiated);
	}
	dtls_leave(links);
	return count;
}
