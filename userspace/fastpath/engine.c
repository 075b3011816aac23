/* SPDX-License-Identifier: BSD-2-Clause */
/* Links and tables shared with the kernel program. */
#include "base/log.h"
#include "base/octets.h"
#include "fastpath/engine_internal.h"
#include "link/record.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables ---- */

static void put_tables(struct timer *timer, void *userdata) {
	struct fastpath *f = userdata;

	(void)timer;
	f->tables_changed = f->tables_wait.pending;
	if (f->stopped || f->adopting || f->tables_changed)
		return;
	int error = fastpath_tables_switch(f->tables, &f->settings, f->routes, f->settings.node.route_count);
	if (error < 0)
		log_warning("The fast path's tables could not be replaced: %s.", strerror(-error));
	else
		grace_begin(f->grace, &f->tables_wait);
}

void engine_put_tables(struct fastpath *f) {
	timer_disarm(f->runtime, &f->tables_timer);
	put_tables(&f->tables_timer, f);
}

/* The former tables may be written over. */
static void tables_free(void *userdata) {
	struct fastpath *f = userdata;

	if (f->tables_changed)
		put_tables(&f->tables_timer, f);
}

/* Comes in bursts: one replacement for many. */
static void tables_changed(struct fastpath *f) {
	if (!f->stopped && !f->tables_timer.armed)
		timer_arm_after(f->runtime, &f->tables_timer, FASTPATH_TABLES_DELAY_US);
}

/* Suspected links are used when there are no others; the decision in the kernel looks at the link's flag alone. */
static void store_link(struct fastpath *f, uint16_t number) {
	struct fastpath_slot *slot = &f->tables->slots[number];
	struct shared_link *link = &f->links[number];
	uint8_t flags = link->forward.flags;

	if (f->only_suspects)
		flags &= (uint8_t)~FORWARD_LINK_SUSPECT;
	slot->link.id = link->forward.id;
	slot->link.slot = number;
	slot->link.generation = link->forward.generation;
	__atomic_store_n(&slot->link.flags, flags, __ATOMIC_RELEASE);
}

void fastpath_set_tables(struct fastpath *f, const struct forward_node *node, const struct forward_route *routes,
			 bool only_suspects) {
	uint32_t count = node->route_count < LAYOUT_ROUTES_MAX ? node->route_count : LAYOUT_ROUTES_MAX;

	f->settings.node = *node;
	f->settings.node.route_count = count;
	if (count > 0)
		memcpy(f->routes, routes, count * sizeof(*routes));
	if (f->only_suspects != only_suspects) {
		f->only_suspects = only_suspects;
		for (uint16_t slot = 0; slot < LAYOUT_SLOTS_MAX; slot++)
			if (f->links[slot].reachable || f->links[slot].named)
				store_link(f, slot);
	}
	tables_changed(f);
}

/*
 * A link that the kernel does not serve, over TLS for instance: the decision has to know it all the same, so that messages for it
 * are passed up, and not taken for messages to nobody.
 */
static void name_link(struct fastpath *f, const struct forward_link *link) {
	struct shared_link *shared = &f->links[link->slot];
	uint32_t value = link->slot;

	if (shared->closing.pending || shared->losing_rings.pending)
		return;
	shared->named = true;
	shared->forward = *link;
	store_link(f, link->slot);
	if (link->flags & FORWARD_LINK_BOUND &&
	    bpf_map_update_elem(f->tables->node_slots, &f->tables->slots[link->slot].link.id, &value, BPF_ANY) < 0)
		log_warning("The fast path does not know link %u: %s.", link->slot, strerror(errno));
}

void fastpath_set_link(struct fastpath *f, const struct forward_link *link) {
	if (link->slot >= LAYOUT_SLOTS_MAX || f->stopped)
		return;
	if (!f->links[link->slot].attached) {
		name_link(f, link);
		return;
	}
	struct shared_link *shared = &f->links[link->slot];
	bool bound = !shared->reachable || (link->flags & FORWARD_LINK_BOUND && !(shared->forward.flags & FORWARD_LINK_BOUND));
	shared->forward = *link;
	if (f->adopting)
		return; /* the router is still learning what the kernel knows */
	store_link(f, link->slot);
	if (!bound)
		return;
	int error = fastpath_slot_open(f->tables, link->slot);
	if (error < 0) {
		fastpath_slot_hide(f->tables, link->slot);
		log_warning("Link %u stays out of the fast path: %s.", link->slot, strerror(-error));
		return;
	}
	shared->reachable = true;
}

static void add_port(struct fastpath *f, const struct address *local) {
	for (size_t i = 0; i < FASTPATH_UDP_PORTS; i++) {
		if (f->settings.udp_ports[i] == htons(local->port))
			return;
		if (f->settings.udp_ports[i] == 0) {
			f->settings.udp_ports[i] = htons(local->port);
			tables_changed(f);
			return;
		}
	}
}

/* The shield stands in front of addresses that are the node's own. */
static void add_listener(struct fastpath *f, const struct address *local) {
	static const uint8_t any[16];
	struct fastpath_listener key = {.port = htons(local->port), .family = local->family};
	uint32_t value = 1;

	if (local->family == 0 || local->port == 0)
		return;
	add_port(f, local);
	memcpy(key.address, local->octets, local->family == AF_INET ? 4 : 16);
	if (memcmp(key.address, any, sizeof(any)) != 0)
		bpf_map_update_elem(f->tables->listeners, &key, &value, BPF_ANY);
}

/* ---- links ---- */

static struct address address_of(const struct fastpath_record *record, bool remote) {
	struct address address = {.family = record->family, .port = remote ? record->remote_port : record->local_port};

	memcpy(address.octets, remote ? record->remote_address : record->local_address, record->family == AF_INET ? 4 : 16);
	return address;
}

static void note_flow(struct fastpath *f, struct shared_link *link, const struct record_state *state) {
	struct fastpath_flow_target none = {.slot = LAYOUT_SLOT_NONE};

	link->flow = (struct fastpath_flow){
		.remote_port = htons(state->remote_port), .local_port = htons(state->local_port), .family = state->family};
	memcpy(link->flow.remote_address, state->remote_address, state->family == AF_INET ? 4 : 16);
	link->known_flow = bpf_map_update_elem(f->tables->flows, &link->flow, &none, BPF_ANY) == 0;
	fastpath_flows_changed(f->tables);
}

static struct fastpath_slot *on_attach(void *userdata, uint16_t number, uint8_t generation, const struct record_state *state) {
	struct fastpath *f = userdata;
	struct fastpath_slot *slot = &f->tables->slots[number];
	struct shared_link *link = &f->links[number];

	if (number >= LAYOUT_SLOTS_MAX || f->stopped)
		return NULL;
	if (link->closing.pending || link->losing_rings.pending) {
		/* Slots rotate: this takes links_max links within milliseconds. */
		log_info("Link %u is served without the kernel: a program may still be at the former link with that number.",
			 number);
		note_flow(f, link, state);
		return NULL;
	}
	*link = (struct shared_link){
		.mtu = state->mtu, .fastpath = f, .closing = link->closing, .losing_rings = link->losing_rings};
	fastpath_slot_wipe(f->tables, number);
	/* Link-local addresses need an interface, which the record does not name. */
	bool link_local =
		state->family == AF_INET6 && state->remote_address[0] == 0xfe && (state->remote_address[1] & 0xc0) == 0x80;
	if (link_local || record_state_share(state, &slot->record) < 0) {
		note_flow(f, link, state);
		return NULL;
	}
	struct address local = address_of(&slot->record, false);
	add_listener(f, &local);
	slot->link.slot = number;
	slot->link.generation = generation;
	slot->unacked_limit = FASTPATH_UNACKED_LIMIT;
	if (fastpath_loader_link_counters(f->loader, number, &link->before) < 0)
		link->before = (struct fastpath_link_counters){0};
	link->attached = true;
	link->forward = slot->link;
	ports_watch(f, number, &slot->record);
	return slot; /* reachable once the router has accepted the link */
}

/* No program sees the slot any more. */
static void slot_free(void *userdata) {
	const struct shared_link *link = userdata;

	hot_release(link->fastpath, link_number(link));
	fastpath_slot_wipe(link->fastpath->tables, link_number(link));
}

static void on_detach(void *userdata, uint16_t number) {
	struct fastpath *f = userdata;
	struct shared_link *link = &f->links[number];
	struct fastpath_flow_target target;

	if (link->known_flow && bpf_map_lookup_elem(f->tables->flows, &link->flow, &target) == 0 &&
	    target.slot == LAYOUT_SLOT_NONE) {
		bpf_map_delete_elem(f->tables->flows, &link->flow);
		fastpath_flows_changed(f->tables);
	}
	link->known_flow = false;
	if (link->named && !f->stopped)
		fastpath_slot_hide(f->tables, number);
	link->named = false;
	if (!link->attached)
		return;
	ports_unwatch(f, number);
	adopt_forget(f, number);
	link->attached = link->reachable = false;
	if (f->stopped) {
		slot_free(link);
		return;
	}
	fastpath_slot_hide(f->tables, number);
	grace_begin(f->grace, &link->closing);
}

static void on_mtu(void *userdata, uint16_t number, uint32_t mtu) {
	struct fastpath *f = userdata;

	if (mtu < f->links[number].mtu)
		f->links[number].mtu = (uint16_t)mtu;
	ports_store_hop(f, number);
	netwatch_refresh(f->netwatch, number);
}

static void on_silent(void *userdata, uint16_t number, bool heard) {
	mute_link(userdata, number, heard);
}

const struct dtls_kernel *fastpath_kernel(struct fastpath *f) {
	return &f->kernel;
}

/* ---- life ---- */

static int load(struct fastpath *f, const struct fastpath_options *options, char *reason) {
	struct fastpath_loader_settings settings = {.pin_directory = options->pin_directory};

	int error = fastpath_loader_new(&settings, &f->loader, reason);
	if (error < 0 || !fastpath_loader_adopted(f->loader))
		return error;
	const char *refusal = adopt_refusal(fastpath_loader_tables(f->loader), options);
	if (!refusal)
		return 0;
	log_notice("The links of the former daemon are not gone on with: %s.", refusal);
	f->loader = fastpath_loader_free(f->loader);
	settings.fresh = true;
	return fastpath_loader_new(&settings, &f->loader, reason);
}

static int start(struct fastpath *f, const struct fastpath_options *options, char *reason) {
	int error = load(f, options, reason);

	if (error < 0)
		return error;
	f->tables = fastpath_loader_tables(f->loader);
	snprintf(reason, FASTPATH_REASON_SIZE, "out of memory or descriptors");
	f->routes = calloc(LAYOUT_ROUTES_MAX, sizeof(*f->routes));
	f->peer = calloc(1, sizeof(*f->peer));
	if (!f->routes || !f->peer)
		return -ENOMEM;
	f->settings = (struct fastpath_settings){
		.flags = FASTPATH_FORWARD | FASTPATH_CARETAKER | (options->shield ? FASTPATH_SHIELD : 0),
		.compute_max = FASTPATH_TEXT_MAX,
		.hello_rate = FASTPATH_HELLO_RATE,
		.hello_burst = FASTPATH_HELLO_BURST,
		.plain_rate = FASTPATH_PLAIN_RATE,
		.plain_burst = FASTPATH_PLAIN_BURST,
		.all_hello_rate = FASTPATH_ALL_HELLO_RATE,
		.all_hello_burst = FASTPATH_ALL_HELLO_BURST,
		.prefix4 = 32,
		.prefix6 = 64,
		.ack_wait = FASTPATH_ACK_WAIT,
	};
	for (size_t i = 0; i < options->listen_count && i < FASTPATH_LISTEN_MAX; i++)
		add_listener(f, &options->listen[i]);
	error = grace_new(&f->grace);
	if (error < 0) {
		snprintf(reason, FASTPATH_REASON_SIZE, "this kernel cannot say when programs have ended (membarrier): %s",
			 strerror(-error));
		return error;
	}
	f->valid_until_ms = options->valid_until_ms;
	adopt_alive(&f->alive_timer, f);
	error = hot_new(f);
	if (error == 0)
		error = ports_new(f);
	if (error < 0 || !fastpath_loader_adopted(f->loader))
		return error;
	error = adopt_begin(f);
	for (uint16_t number = 0; error == 0 && number < LAYOUT_SLOTS_MAX; number++) {
		struct address local = address_of(&f->tables->slots[number].record, false);
		if (f->links[number].kept)
			add_listener(f, &local);
	}
	return error;
}

int fastpath_new(const struct fastpath_options *options, struct fastpath **ret, char reason[static FASTPATH_REASON_SIZE]) {
	_cleanup_(fastpath_freep) struct fastpath *f = calloc(1, sizeof(*f));

	if (!f) {
		snprintf(reason, FASTPATH_REASON_SIZE, "out of memory");
		return -ENOMEM;
	}
	f->runtime = options->runtime;
	f->allow_generic = options->allow_generic;
	f->asked_fd = -1;
	f->kernel = (struct dtls_kernel){.userdata = f,
					 .attach = on_attach,
					 .detach = on_detach,
					 .mtu = on_mtu,
					 .silent = on_silent,
					 .remember = adopt_remember,
					 .next = adopt_next};
	mute_init(f);
	timer_init(&f->tables_timer, put_tables, f);
	timer_init(&f->alive_timer, adopt_alive, f);
	timer_init(&f->ports_timer, ports_settle, f);
	f->tables_wait = (struct grace_wait){.done = tables_free, .userdata = f};
	f->rings_for = LAYOUT_SLOT_NONE;
	for (size_t i = 0; i < LAYOUT_SLOTS_MAX; i++) {
		f->links[i].fastpath = f;
		f->links[i].closing = (struct grace_wait){.done = slot_free, .userdata = &f->links[i]};
		f->links[i].losing_rings = (struct grace_wait){.done = hot_rings_free, .userdata = &f->links[i]};
	}
	int error = start(f, options, reason);
	if (error < 0)
		return error;
	*ret = TAKE(f);
	return 0;
}

void fastpath_stop(struct fastpath *f) {
	if (!f || f->stopped)
		return;
	timer_disarm(f->runtime, &f->tables_timer);
	f->settings.flags = 0;
	/* Even if a program still looks at the set that is written over: it finds a version that is odd or new, and passes. */
	int error = fastpath_tables_replace(f->tables, &f->settings, f->routes, 0);
	if (error < 0)
		log_warning("The fast path could not be switched off: %s.", strerror(-error));
	f->stopped = true;
	f->grace = grace_free(f->grace);
	ports_stop(f);
	for (size_t i = 0; i < LAYOUT_SLOTS_MAX; i++)
		if (f->links[i].closing.pending)
			slot_free(&f->links[i]);
	fastpath_loader_unpin(f->loader);
}

struct fastpath *fastpath_free(struct fastpath *f) {
	if (!f)
		return NULL;
	if (f->tables)
		fastpath_stop(f);
	timer_disarm(f->runtime, &f->tables_timer);
	mute_free(f);
	ports_free(f);
	hot_free(f);
	grace_free(f->grace);
	fastpath_loader_free(f->loader);
	timer_disarm(f->runtime, &f->alive_timer);
	timer_disarm(f->runtime, &f->ports_timer);
	free(f->routes);
	free(f->peer);
	free(f);
	return NULL;
}

bool fastpath_survives(const struct fastpath *f) {
	const char *unused;

	return !f->stopped && fastpath_loader_pins(f->loader, &unused) != NULL;
}

size_t fastpath_fds(const struct fastpath *f, int *fds, size_t max) {
	size_t count = 0;

	if (count < max)
		fds[count++] = netwatch_fd(f->netwatch);
	if (count < max)
		fds[count++] = f->asked_fd;
	if (count < max)
		fds[count++] = grace_fd(f->grace);
	if (count < max)
		fds[count++] = errands_fd(f->errands);
	return count;
}

void fastpath_ready(struct fastpath *f, int fd) {
	if (fd == f->asked_fd) {
		hot_ready(f);
		return;
	}
	if (f->grace && fd == grace_fd(f->grace)) {
		grace_ready(f->grace);
		return;
	}
	if (f->errands && fd == errands_fd(f->errands)) {
		errands_ready(f->errands);
		return;
	}
	if (fd != netwatch_fd(f->netwatch))
		return; /* of what was stopped */
	int error = netwatch_ready(f->netwatch);
	if (error < 0)
		log_warning("Changes of the network are not seen any more: %s.", strerror(-error));
}

/* ---- figures ---- */

void fastpath_view(const struct fastpath *f, struct fastpath_view *ret) {
	const char *reason, *directory = fastpath_loader_pins(f->loader, &reason);

	*ret = (struct fastpath_view){
		.adopted = fastpath_loader_adopted(f->loader), .adopted_links = f->adopted_count, .pinned = directory != NULL};
	snprintf(ret->pins, sizeof(ret->pins), "%s", directory ? directory : reason);
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++) {
		const struct port *port = &f->ports[i];
		if (!port->used)
			continue;
		struct fastpath_interface_view *view = &ret->interfaces[ret->interface_count++];
		*view = (struct fastpath_interface_view){.ifindex = port->ifindex, .mode = port->mode};
		view->sends = port->mode == FASTPATH_MODE_NATIVE && !port->cannot_send;
		snprintf(view->name, sizeof(view->name), "%s", port->name);
		snprintf(view->reason, sizeof(view->reason), "%s", port->reason);
	}
	for (size_t i = 0; i < LAYOUT_SLOTS_MAX; i++) {
		const struct shared_link *link = &f->links[i];
		ret->links += link->reachable;
		ret->usable += link->reachable && f->tables->slots[i].hop.flags & FASTPATH_HOP_VALID;
		ret->hot += link->pads != NULL;
		ret->muted += link->attached && link->mute == LINK_MUTED;
	}
	if (fastpath_loader_counters(f->loader, &ret->counters) < 0)
		ret->counters = (struct fastpath_counters){0};
	ret->silences = f->silences;
	pad_worker_statistics(f->worker, &ret->pads);
}

bool fastpath_link_figures(const struct fastpath *f, uint16_t slot, struct fastpath_link_counters *ret) {
	struct fastpath_link_counters now;

	if (slot >= LAYOUT_SLOTS_MAX || !f->links[slot].reachable || fastpath_loader_link_counters(f->loader, slot, &now) < 0)
		return false;
	const struct fastpath_link_counters *before = &f->links[slot].before;
	*ret = (struct fastpath_link_counters){
		.received = now.received - before->received,
		.received_octets = now.received_octets - before->received_octets,
		.sent = now.sent - before->sent,
		.sent_octets = now.sent_octets - before->sent_octets,
		.acks_received = now.acks_received - before->acks_received,
		.acks_sent = now.acks_sent - before->acks_sent,
		.forged = now.forged - before->forged,
		.replayed = now.replayed - before->replayed,
	};
	return true;
}
