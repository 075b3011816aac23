/* SPDX-License-Identifier: BSD-2-Clause */
/* Links of which a kernel program handles records too. */
#include "base/log.h"
#include "link/dtls_internal.h"
#include "link_state.h"

static void shared_timer(struct timer *timer, void *userdata);

static bool any_shared(const struct dtls_links *links) {
	for (size_t i = 0; i < LINK_SLOTS_MAX; i++)
		if (links->slots[i] && links->slots[i]->shared)
			return true;
	return false;
}

void dtls_shared_init(struct dtls_links *links) {
	timer_init(&links->shared_timer, shared_timer, links);
}

void dtls_shared_begin(struct dtls_link *link, struct dtls_shared *shared, struct fastpath_slot *slot) {
	shared->slot = slot;
	shared->first = *(volatile uint32_t *)&slot->tx_sequence;
	shared->silent_acked = *(volatile __u64 *)&slot->last_acked_ns;
	link->shared = shared;
}

void dtls_shared_start(struct dtls_link *link) {
	struct dtls_links *links = link->links;
	const struct dtls_kernel *kernel = links->kernel;

	if (!kernel)
		return;
	link->kernel_attached = true;
	struct fastpath_slot *slot =
		kernel->attach(kernel->userdata, link->slot, links->numbers->generations[link->slot], &link->record.state);
	if (!slot)
		return;
	struct dtls_shared *shared = calloc(1, sizeof(*shared));
	if (!shared) {
		/* The kernel has the keys and may have used them: its counters must not be left behind. */
		kernel->detach(kernel->userdata, link->slot);
		link->kernel_attached = false;
		link->broken = true;
		timer_arm(links->runtime, &link->timer, links->runtime->now_us);
		return;
	}
	dtls_shared_begin(link, shared, slot);
	record_layer_share(&link->record, &slot->record);
	if (!links->shared_timer.armed)
		timer_arm_after(links->runtime, &links->shared_timer, DTLS_SHARED_CHECK_US);
}

void dtls_shared_remember(const struct dtls_link *link, bool initiated) {
	const struct dtls_kernel *kernel = link->links->kernel;

	if (link->shared && kernel->remember)
		kernel->remember(kernel->userdata, link->slot, link->links->numbers->generations[link->slot], initiated,
				 OCTETS(link->certificate->der, link->certificate->der_length));
}

void dtls_shared_stop(struct dtls_link *link) {
	const struct dtls_kernel *kernel = link->links->kernel;

	if (!link->kernel_attached)
		return;
	link->kernel_attached = false;
	record_layer_share(&link->record, NULL);
	free(link->shared);
	link->shared = NULL;
	kernel->detach(kernel->userdata, link->slot);
}

void dtls_shared_handshake(struct dtls_link *link, bool under_way) {
	if (!link->shared)
		return;
	if (under_way)
		__sync_fetch_and_or(&link->shared->slot->flags, (__u32)FASTPATH_SLOT_HANDSHAKE);
	else
		__sync_fetch_and_and(&link->shared->slot->flags, ~(__u32)FASTPATH_SLOT_HANDSHAKE);
}

uint32_t dtls_shared_number(struct dtls_shared *shared, uint32_t sequence) {
	uint32_t number = link_claim_sequence(shared->slot, 1);

	shared->numbers[sequence % SENDER_RING] = number;
	shared->own++;
	return number;
}

bool dtls_shared_ack(struct dtls_shared *shared, const struct sender *sender, struct frame *ack, bool *ret_kernel) {
	uint32_t next = *(volatile uint32_t *)&shared->slot->tx_sequence, number = ack->sequence, at = sender->next,
		 oldest = sender->next - sender->remembered;
	uint32_t age = next - number;

	/* From the latest transmission back, which is where acks belong; older ones have a larger age. */
	while (at != oldest && next - shared->numbers[(at - 1) % SENDER_RING] < age)
		at--;
	bool found = at != oldest && shared->numbers[(at - 1) % SENDER_RING] == number;
	*ret_kernel = !found && age != 0 && age <= INT32_MAX;
	if (found || *ret_kernel)
		link_note_acked(shared->slot, number);
	shared->silent_broken |= *ret_kernel && link_sequence_is_kernels(shared->slot, number);
	if (!found)
		return false;
	ack->sequence = at - 1;
	/* The mask speaks of numbers on the wire. An odd one is nonsense and stays so. */
	uint32_t received = ack->received & 1;
	for (uint32_t back = 1; back <= 31 && at - 1 - back != oldest - 1; back++) {
		uint32_t behind = number - shared->numbers[(at - 1 - back) % SENDER_RING];
		if (behind > 31)
			break;
		received |= (ack->received >> behind & 1) << back;
	}
	ack->received = received;
	return true;
}

uint32_t dtls_shared_rtt_us(const struct dtls_link *link) {
	if (link->shared && !link->sender.measured)
		return *(const volatile uint32_t *)&link->shared->slot->rtt_us;
	return link->sender.srtt_us;
}

uint64_t dtls_shared_last_received_us(const struct dtls_link *link) {
	uint64_t kernel_us = link->shared ? *(const volatile __u64 *)&link->shared->slot->last_received_ns / 1000 : 0;

	return kernel_us > link->last_received_us ? kernel_us : link->last_received_us;
}

/*
 * The kernel sends transit messages without the sender knowing, and looks at no clock when no ack comes. A frame that got lost at
 * the end of a burst proves nothing, so it takes more of them.
 */
static void check(struct dtls_link *link, uint64_t now_us) {
	struct dtls_shared *shared = link->shared;
	uint32_t next = *(volatile uint32_t *)&shared->slot->tx_sequence, acked = *(volatile uint32_t *)&shared->slot->acked;

	if (next == acked || acked != shared->acked) {
		shared->acked = acked;
		shared->stalled_us = 0;
		if (shared->suspect) {
			shared->suspect = false;
			if (!sender_is_suspect(&link->sender))
				dtls_link_set_suspect(link, false);
		}
	} else if (shared->stalled_us == 0) {
		shared->stalled_us = now_us;
		shared->stalled_at = next;
	} else if (!shared->suspect && now_us - shared->stalled_us >= DTLS_SHARED_SUSPECT_US + dtls_shared_rtt_us(link) &&
		   next - shared->stalled_at >= DTLS_SHARED_SUSPECT_FRAMES) {
		shared->suspect = true;
		dtls_link_set_suspect(link, true); /* FW-E10 */
	}
}

/* Frames of the kernel that left after the latest acknowledged one; more than DTLS_SHARED_OUTSTANDING are not told apart. */
static uint32_t kernel_outstanding(const struct fastpath_slot *slot) {
	uint32_t next = *(volatile uint32_t *)&slot->tx_sequence, flying = next - *(volatile uint32_t *)&slot->acked, count = 0;

	for (uint32_t back = 1; back <= flying && back <= DTLS_SHARED_OUTSTANDING; back++)
		count += (uint32_t)link_sequence_is_kernels(slot, next - back);
	return count;
}

/*
 * Frames of the daemon may arrive while those of the kernel do not, when an interface does not send what is redirected to it. Then
 * the kernel has to leave this link alone: soon, because the acks it sends get lost too, and neighbors slow down (RFC 5405).
 * Returns whether there is something to look at.
 */
static bool check_silence(struct dtls_link *link, uint64_t now_us) {
	const struct dtls_kernel *kernel = link->links->kernel;
	struct dtls_shared *shared = link->shared;
	uint64_t acked_ns = *(volatile __u64 *)&shared->slot->last_acked_ns;
	uint32_t sent = *(volatile uint32_t *)&shared->slot->tx_sequence - shared->first - shared->own;
	bool moved = sent != shared->silent_last;

	shared->silent_last = sent;
	if (acked_ns != shared->silent_acked || shared->silent_broken ||
	    (!moved && now_us - shared->silent_moved_us > DTLS_SHARED_PAUSE_US)) {
		shared->silent_acked = acked_ns;
		shared->silent_broken = false;
		shared->silent_sent = sent - (moved ? kernel_outstanding(shared->slot) : 0);
		shared->silent_us = 0;
	}
	if (moved) {
		shared->silent_moved_us = now_us;
		if (shared->silent_us == 0)
			shared->silent_us = now_us;
	}
	if (shared->silent_us != 0 && now_us - shared->silent_us >= DTLS_SHARED_SILENT_US + 2 * dtls_shared_rtt_us(link) &&
	    sent - shared->silent_sent >= DTLS_SHARED_SUSPECT_FRAMES) {
		bool heard = link->last_received_us >= shared->silent_us;
		shared->silent_sent = sent;
		shared->silent_us = 0;
		if (kernel->silent)
			kernel->silent(kernel->userdata, link->slot, heard);
	}
	return moved || shared->silent_us != 0;
}

static void shared_timer(struct timer *timer, void *userdata) {
	struct dtls_links *links = userdata;
	bool busy = false;

	dtls_enter(links);
	for (size_t i = 0; i < LINK_SLOTS_MAX; i++)
		if (links->slots[i] && links->slots[i]->shared) {
			check(links->slots[i], links->runtime->now_us);
			busy |= check_silence(links->slots[i], links->runtime->now_us);
		}
	if (any_shared(links))
		timer_arm_after(links->runtime, timer, busy ? DTLS_SHARED_CHECK_US : DTLS_SHARED_IDLE_US);
	dtls_leave(links);
}
