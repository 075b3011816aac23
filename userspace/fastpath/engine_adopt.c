/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Going on with what a former run of the daemon left in the pinned maps: links with their keys, numbers and windows, interfaces,
 * rings of pads. From fastpath_new() to fastpath_adopted() the kernel goes on with the tables of the former run, undisturbed.
 */
#include "base/log.h"
#include "fastpath/engine_internal.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

/* What bpf_ktime_get_coarse_ns() tells, to some milliseconds. */
static uint64_t now_ns(void) {
	return clock_monotonic_us() * 1000;
}

const char *adopt_refusal(const struct fastpath_tables *tables, const struct fastpath_options *options) {
	const struct fastpath_control *control = tables->control;

	if (control->active >= FASTPATH_TABLES || tables->settings[control->active].version & 1)
		return "its tables are damaged";
	const struct forward_node *node = &tables->settings[control->active].node;
	if (memcmp(&node->id, &options->self.id, sizeof(node->id)) != 0 || node->overlay != options->self.overlay)
		return "it was another node";
	if (!options->adopt)
		return "this node is a client, which joins anew";
	if (!(node->flags & FORWARD_NODE_JOINED))
		return "it was not in the overlay";
	if (now_ns() > control->forward_until_ns)
		return "it has been gone for too long";
	return NULL;
}

/* ---- slots ---- */

static bool read_peer(struct fastpath *f, uint16_t number) {
	uint32_t key = number;

	return bpf_map_lookup_elem(f->tables->peers, &key, f->peer) == 0 && f->peer->length > 0 &&
	       f->peer->length <= FASTPATH_CERTIFICATE_MAX;
}

static bool is_whole(struct fastpath *f, uint16_t number) {
	const struct fastpath_slot *slot = &f->tables->slots[number];

	return slot->flags & FASTPATH_SLOT_ACTIVE && slot->link.flags & FORWARD_LINK_UP && slot->link.flags & FORWARD_LINK_BOUND &&
	       slot->link.slot == number && slot->record.cipher == 1 &&
	       (slot->record.family == AF_INET || slot->record.family == AF_INET6) && read_peer(f, number) &&
	       f->peer->generation == slot->link.generation;
}

static void take_link(struct fastpath *f, uint16_t number) {
	struct fastpath_slot *slot = &f->tables->slots[number];
	struct shared_link *link = &f->links[number];

	link->attached = link->reachable = link->kept = true;
	link->forward = slot->link;
	link->mtu = slot->record.mtu;
	link->hop_known = slot->hop.flags & FASTPATH_HOP_VALID && !(slot->hop.version & 1);
	link->hop = (struct netwatch_hop){.ifindex = slot->hop.ifindex,
					  .device = slot->hop.ifindex,
					  .vlan = slot->hop.vlan,
					  .mtu = slot->hop.mtu,
					  .hop_limit = slot->hop.hop_limit};
	memcpy(link->hop.destination, slot->hop.destination, sizeof(link->hop.destination));
	memcpy(link->hop.source, slot->hop.source, sizeof(link->hop.source));
	/* A trial was the former daemon's: if the kernel's frames get no acks, this one finds out anew. */
	__sync_fetch_and_and(&slot->flags, ~(__u32)(FASTPATH_SLOT_HANDSHAKE | FASTPATH_SLOT_TRIAL));
	slot->trial_credits = 0;
	if (fastpath_loader_link_counters(f->loader, number, &link->before) < 0)
		link->before = (struct fastpath_link_counters){0};
}

/* ---- maps ---- */

/* Removes the entries that `stale` names. */
static void clean(struct fastpath *f, int map, bool (*stale)(const struct fastpath *f, const void *key, const void *value),
		  void *key, void *next, size_t size, void *value) {
	bool more = bpf_map_get_next_key(map, NULL, key) == 0;

	while (more) {
		/* Asked for before the entry goes, else the walk would begin anew. */
		more = bpf_map_get_next_key(map, key, next) == 0;
		if (bpf_map_lookup_elem(map, key, value) == 0 && stale(f, key, value))
			bpf_map_delete_elem(map, key);
		memcpy(key, next, size);
	}
}

static bool is_kept(const struct fastpath *f, uint32_t number) {
	return number < LAYOUT_SLOTS_MAX && f->links[number].kept;
}

static bool flow_is_stale(const struct fastpath *f, const void *key, const void *value) {
	const struct fastpath_flow_target *target = value;

	(void)key;
	return !is_kept(f, target->slot); /* LAYOUT_SLOT_NONE too: that link ended with the daemon */
}

static bool node_is_stale(const struct fastpath *f, const void *key, const void *value) {
	const uint32_t *number = value;

	return !is_kept(f, *number) || memcmp(key, &f->links[*number].forward.id, sizeof(struct forward_id)) != 0;
}

static bool peer_is_stale(const struct fastpath *f, const void *key, const void *value) {
	(void)value;
	return !is_kept(f, *(const uint32_t *)key);
}

static void clean_maps(struct fastpath *f) {
	struct fastpath_flow flows[2];
	struct fastpath_flow_target target;
	struct forward_id ids[2];
	uint32_t numbers[2], number;

	clean(f, f->tables->flows, flow_is_stale, &flows[0], &flows[1], sizeof(flows[0]), &target);
	fastpath_flows_changed(f->tables);
	clean(f, f->tables->node_slots, node_is_stale, &ids[0], &ids[1], sizeof(ids[0]), &number);
	clean(f, f->tables->peers, peer_is_stale, &numbers[0], &numbers[1], sizeof(numbers[0]), f->peer);
}

/* ---- the whole ---- */

int adopt_begin(struct fastpath *f) {
	bool dropped[LAYOUT_SLOTS_MAX];

	f->former = f->tables->settings[f->tables->control->active].node;
	f->adopting = true;
	for (uint16_t number = 0; number < LAYOUT_SLOTS_MAX; number++) {
		struct fastpath_slot *slot = &f->tables->slots[number];
		if (is_whole(f, number))
			take_link(f, number);
		dropped[number] = !f->links[number].kept && (slot->flags || slot->record.cipher);
		if (dropped[number])
			fastpath_slot_hide(f->tables, number);
	}
	clean_maps(f);
	int error = fastpath_quiesce(); /* nothing runs yet that it could hold up */
	if (error < 0)
		return error;
	for (uint16_t number = 0; number < LAYOUT_SLOTS_MAX; number++) {
		if (dropped[number])
			fastpath_slot_wipe(f->tables, number);
		else if (f->links[number].kept)
			hot_adopt(f, number);
	}
	ports_adopt(f);
	for (uint16_t number = 0; number < LAYOUT_SLOTS_MAX; number++)
		if (f->links[number].kept)
			ports_watch(f, number, &f->tables->slots[number].record);
	return 0;
}

bool fastpath_former(const struct fastpath *f, struct forward_node *ret) {
	if (!f->adopting)
		return false;
	*ret = f->former;
	return true;
}

bool fastpath_former_link(const struct fastpath *f, uint16_t number, struct forward_link *ret) {
	if (!f->adopting || number >= LAYOUT_SLOTS_MAX || !f->links[number].attached)
		return false;
	*ret = f->tables->slots[number].link;
	return true;
}

bool adopt_next(void *userdata, uint16_t *position, struct dtls_kept *ret) {
	struct fastpath *f = userdata;

	while (*position < LAYOUT_SLOTS_MAX) {
		uint16_t number = (*position)++;
		if (!f->links[number].kept || !read_peer(f, number))
			continue;
		f->links[number].kept = false;
		*ret = (struct dtls_kept){
			.number = number,
			.generation = f->peer->generation,
			.initiated = f->peer->initiated,
			.certificate = OCTETS(f->peer->certificate, f->peer->length),
			.slot = &f->tables->slots[number],
		};
		return true;
	}
	return false;
}

void fastpath_adopted(struct fastpath *f) {
	if (!f->adopting)
		return;
	f->adopting = false;
	for (uint16_t number = 0; number < LAYOUT_SLOTS_MAX; number++) {
		struct shared_link *link = &f->links[number];
		if (link->kept) /* nobody wanted it */
			f->kernel.detach(f, number);
		link->kept = false;
		if (!link->attached || !link->reachable)
			continue;
		f->adopted_count++;
		/* As the router has it now; and the former daemon may have ended halfway through telling the kernel of the link. */
		struct forward_link forward = link->forward;
		link->reachable = false;
		fastpath_set_link(f, &forward);
	}
	engine_put_tables(f);
	__atomic_store_n(&f->tables->control->alone_since_ns, 0, __ATOMIC_RELEASE);
	if (!f->ports_timer.armed)
		timer_arm_after(f->runtime, &f->ports_timer, FASTPATH_ADOPTED_PORTS_US);
	log_notice("The fast path goes on with %zu links of the former daemon, without new handshakes.", f->adopted_count);
}

/* ---- what the next daemon will need ---- */

void adopt_remember(void *userdata, uint16_t number, uint8_t generation, bool initiated, struct octets certificate) {
	struct fastpath *f = userdata;
	uint32_t key = number;
	const char *unused;

	if (number >= LAYOUT_SLOTS_MAX || !f->links[number].attached || !fastpath_loader_pins(f->loader, &unused) ||
	    certificate.length > FASTPATH_CERTIFICATE_MAX)
		return;
	memset(f->peer, 0, sizeof(*f->peer));
	f->peer->length = (uint32_t)certificate.length;
	f->peer->generation = generation;
	f->peer->initiated = initiated;
	memcpy(f->peer->certificate, certificate.data, certificate.length);
	if (bpf_map_update_elem(f->tables->peers, &key, f->peer, BPF_ANY) < 0)
		log_info("Link %u will not survive a restart: %s.", number, strerror(errno));
}

void adopt_forget(struct fastpath *f, uint16_t number) {
	uint32_t key = number;

	bpf_map_delete_elem(f->tables->peers, &key);
}

/* ---- alive ---- */

/* Certificates end, and with nobody there to look at them the kernel must end too. */
void adopt_alive(struct timer *timer, void *userdata) {
	struct fastpath *f = userdata;
	uint64_t left_us = FASTPATH_DEAD_MAN_US, realtime_ms = runtime_realtime_ms(f->runtime);

	if (f->valid_until_ms != 0 && f->valid_until_ms <= realtime_ms)
		left_us = 0;
	else if (f->valid_until_ms != 0 && (f->valid_until_ms - realtime_ms) < left_us / 1000)
		left_us = (f->valid_until_ms - realtime_ms) * 1000;
	if (left_us < 2 * FASTPATH_ALIVE_US) /* ours; whether it may go on with that is for others to say while it lives */
		left_us = 2 * FASTPATH_ALIVE_US;
	__atomic_store_n(&f->tables->control->forward_until_ns, now_ns() + left_us * 1000, __ATOMIC_RELEASE);
	if (!f->stopped)
		timer_arm_after(f->runtime, timer, FASTPATH_ALIVE_US);
}

/*
 * The kernel missed our socket. The first time that may be from before we came; if it happens again, sockets are not found the way
 * it looks for them here, and messages for this node must not be kept from it.
 */
void adopt_alone(struct fastpath *f) {
	if (f->alone++ == 0) {
		if (!f->adopting)
			__atomic_store_n(&f->tables->control->alone_since_ns, 0, __ATOMIC_RELEASE);
		return;
	}
	if (!(f->settings.flags & FASTPATH_CARETAKER))
		return;
	f->settings.flags &= ~(uint32_t)FASTPATH_CARETAKER;
	log_warning("The fast path does not find this daemon's sockets; neighbors will notice each restart.");
	engine_put_tables(f);
}
