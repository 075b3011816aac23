/* SPDX-License-Identifier: BSD-2-Clause */
/* The interfaces the program is attached to, and which of them a link leaves by. */
#include "base/log.h"
#include "fastpath/engine_internal.h"
#include "fastpath/transmit.h"

#include <errno.h>
#include <string.h>

struct port *ports_of(struct fastpath *f, uint32_t ifindex) {
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++)
		if (f->ports[i].used && f->ports[i].ifindex == ifindex)
			return &f->ports[i];
	return NULL;
}

void ports_store_hop(struct fastpath *f, uint16_t number) {
	const struct shared_link *link = &f->links[number];
	struct fastpath_hop hop = {0};

	if (!link->attached)
		return;
	const struct port *port = link->hop_known ? ports_of(f, link->hop.ifindex) : NULL;
	if (port && !port->failed && port->mode == FASTPATH_MODE_NATIVE && !port->cannot_send && link->mute != LINK_MUTED) {
		hop = (struct fastpath_hop){
			.ifindex = link->hop.ifindex,
			.vlan = link->hop.vlan,
			.port = port->number,
			.flags = FASTPATH_HOP_VALID,
			.mtu = link->hop.mtu < link->mtu ? link->hop.mtu : link->mtu,
			.hop_limit = link->hop.hop_limit,
		};
		memcpy(hop.destination, link->hop.destination, sizeof(hop.destination));
		memcpy(hop.source, link->hop.source, sizeof(hop.source));
	}
	fastpath_hop_store(&f->tables->slots[number], &hop);
}

static void on_changed(void *userdata, uint64_t id, const struct netwatch_hop *hop, enum netwatch_reason reason) {
	struct fastpath *f = userdata;
	struct shared_link *link = &f->links[id];

	if (!hop)
		log_debug("Link %u is not sent by the fast path: %s.", (unsigned)id, netwatch_reason_name(reason));
	/* Not when the former way comes back: what was found out about it stands. */
	bool other_way = hop && memcmp(hop, &link->hop, sizeof(*hop)) != 0;
	link->hop_known = hop != NULL;
	if (hop)
		link->hop = *hop;
	if (other_way) {
		const struct port *port = ports_of(f, hop->ifindex);
		mute_reset(f, (uint16_t)id, port && port->doubted);
	}
	ports_store_hop(f, (uint16_t)id);
}

/* ---- in the thread ---- */

static void work(void *userdata) {
	struct port_work *job = userdata;

	switch (job->kind) {
	case PORT_ATTACH:
		job->error = fastpath_loader_attach(job->loader, job->ifindex, job->allow_generic, &job->number, &job->mode,
						    job->reason);
		if (job->error == 0 && job->mode == FASTPATH_MODE_NATIVE)
			job->sends = transmit_query(job->ifindex);
		break;
	case PORT_DETACH:
		fastpath_loader_detach(job->loader, job->ifindex);
		break;
	case PORT_ASK:
		job->sends = transmit_query(job->ifindex);
		break;
	}
}

/* ---- in the daemon's ---- */

static void on_interfaces(void *userdata);
static void worked(void *userdata);

static void send_errand(struct fastpath *f, struct port *port, enum port_errand kind) {
	port->work = (struct port_work){
		.errand = {.run = work, .done = worked, .userdata = &port->work},
		.kind = kind,
		.fastpath = f,
		.loader = f->loader,
		.ifindex = port->ifindex,
		.allow_generic = f->allow_generic,
		.sends = -EOPNOTSUPP,
	};
	errands_begin(f->errands, &port->work.errand);
}

/*
 * The program runs there, but messages cannot leave that way: a virtual interface hands frames over only when its other end polls
 * for them, others only with queues of their own for it. Kernels before 6.3 do not tell; there mute_link() finds out.
 */
static void note_sends(struct port *port) {
	bool could_not = port->cannot_send;

	port->cannot_send = port->work.sends == 0;
	if (port->cannot_send == could_not)
		return;
	if (!port->cannot_send) {
		snprintf(port->reason, sizeof(port->reason), "sends now what the kernel forwards");
	} else if (strcmp(port->kind, "veth") == 0) {
		snprintf(port->reason, sizeof(port->reason),
			 "does not send what the kernel forwards until the other end of this veth has GRO: ethtool -K NAME gro on");
	} else {
		snprintf(port->reason, sizeof(port->reason), "its driver does not send what the kernel forwards (too few queues?)");
	}
	log_notice("Fast path on %s: %s.", port->name, port->reason);
}

uint64_t ports_check(struct fastpath *f) {
	uint64_t next_us = 0;

	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++) {
		struct port *port = &f->ports[i];
		if (f->stopped || !port->used || port->failed || !port->cannot_send)
			continue;
		if (!port->work.errand.pending && f->runtime->now_us - port->asked_us >= FASTPATH_MUTE_FIRST_US) {
			port->asked_us = f->runtime->now_us;
			send_errand(f, port, PORT_ASK);
		}
		uint64_t due_us = port->asked_us + FASTPATH_MUTE_FIRST_US;
		if (next_us == 0 || due_us < next_us)
			next_us = due_us;
	}
	return next_us;
}

static void attached(struct port *port) {
	const struct port_work *job = &port->work;

	port->mode = FASTPATH_MODE_OFF;
	snprintf(port->reason, sizeof(port->reason), "%s", job->reason);
	if (job->error < 0) {
		port->failed = true;
		log_notice("No fast path on %s: %s.", port->name, port->reason[0] ? port->reason : strerror(-job->error));
		return;
	}
	port->mode = job->mode;
	port->number = job->number;
	log_notice("Fast path on %s: %s%s%s.", port->name, fastpath_mode_name(port->mode), port->reason[0] ? ", " : "",
		   port->reason);
	note_sends(port);
}

/* Whatever happened in between is looked at afterwards. */
static void worked(void *userdata) {
	struct port_work *job = userdata;
	struct fastpath *f = job->fastpath;
	struct port *port = container_of(job, struct port, work);

	switch (job->kind) {
	case PORT_ATTACH:
		attached(port);
		break;
	case PORT_DETACH:
		*port = (struct port){0};
		break;
	case PORT_ASK:
		note_sends(port);
		break;
	}
	on_interfaces(f);
}

static void attach(struct fastpath *f, struct port *port, const struct netwatch_interface *interface) {
	*port = (struct port){
		.used = true, .ifindex = interface->ifindex, .instance = interface->instance, .asked_us = f->runtime->now_us};
	snprintf(port->name, sizeof(port->name), "%s", interface->name);
	snprintf(port->kind, sizeof(port->kind), "%s", interface->kind);
	snprintf(port->reason, sizeof(port->reason), "being attached");
	send_errand(f, port, PORT_ATTACH);
}

static void detach(struct fastpath *f, struct port *port) {
	log_info("No links over %s any more.", port->name);
	if (port->failed) {
		*port = (struct port){0};
		return;
	}
	port->mode = FASTPATH_MODE_OFF;
	snprintf(port->reason, sizeof(port->reason), "being detached");
	send_errand(f, port, PORT_DETACH);
}

/* The interface of an adopted link had no other one in between: then the kernel would have ended the link. */
static bool port_is(struct port *port, const struct netwatch_interface *interface) {
	if (port->ifindex != interface->ifindex || (port->instance != interface->instance && port->instance != PORT_INSTANCE_ANY))
		return false;
	if (port->instance == PORT_INSTANCE_ANY)
		snprintf(port->kind, sizeof(port->kind), "%s", interface->kind);
	port->instance = interface->instance;
	return true;
}

static void on_interfaces(void *userdata) {
	struct fastpath *f = userdata;
	struct netwatch_interface found[NETWATCH_INTERFACES_MAX];

	if (f->stopped)
		return;
	size_t count = netwatch_interfaces(f->netwatch, found, NETWATCH_INTERFACES_MAX);
	for (size_t i = 0; i < FASTPATH_PORTS_MAX; i++) {
		struct port *port = &f->ports[i];
		bool stays = port->work.errand.pending;
		for (size_t j = 0; j < count; j++)
			stays = stays || port_is(port, &found[j]);
		/* At first not all routes of adopted links are known. */
		if (!port->used || stays || (port->instance == PORT_INSTANCE_ANY && f->ports_timer.armed))
			continue;
		detach(f, port);
	}
	for (size_t j = 0; j < count; j++) {
		struct port *free_port = NULL;
		for (size_t i = 0; i < FASTPATH_PORTS_MAX && !free_port; i++)
			if (!f->ports[i].used)
				free_port = &f->ports[i];
		if (!ports_of(f, found[j].ifindex) && free_port)
			attach(f, free_port, &found[j]);
	}
	for (uint16_t slot = 0; slot < LAYOUT_SLOTS_MAX; slot++)
		ports_store_hop(f, slot);
	mute_arm(f);
}

void ports_watch(struct fastpath *f, uint16_t number, const struct fastpath_record *record) {
	struct address local = {.family = record->family, .port = record->local_port},
		       remote = {.family = record->family, .port = record->remote_port};
	size_t length = record->family == AF_INET ? 4 : 16;

	memcpy(local.octets, record->local_address, length);
	memcpy(remote.octets, record->remote_address, length);
	int error = netwatch_watch(f->netwatch, &remote, &local, number);
	if (error < 0)
		log_warning("The way of link %u is not watched: %s.", number, strerror(-error));
}

/* It is attached already: this only asks for its number. */
static void adopt(struct fastpath *f, struct port *port, const struct netwatch_interface *interface) {
	*port = (struct port){.used = true, .ifindex = interface->ifindex, .instance = interface->instance};
	snprintf(port->name, sizeof(port->name), "%s", interface->name);
	struct port_work *job = &port->work;
	*job = (struct port_work){.sends = -EOPNOTSUPP};
	job->error = fastpath_loader_attach(f->loader, port->ifindex, f->allow_generic, &job->number, &job->mode, job->reason);
	if (job->error == 0 && job->mode == FASTPATH_MODE_NATIVE)
		job->sends = transmit_query(port->ifindex);
	attached(port);
	port->asked_us = f->runtime->now_us;
}

void ports_adopt(struct fastpath *f) {
	unsigned found[FASTPATH_PORTS_MAX];
	size_t count = fastpath_loader_ports(f->loader, found);

	for (size_t i = 0; i < count; i++) {
		struct netwatch_interface interface = {.ifindex = found[i], .instance = PORT_INSTANCE_ANY};
		if (!if_indextoname(found[i], interface.name))
			snprintf(interface.name, sizeof(interface.name), "%u", found[i]);
		adopt(f, &f->ports[i], &interface);
	}
	timer_arm_after(f->runtime, &f->ports_timer, FASTPATH_ADOPTED_PORTS_US);
}

/* By now it is known which interfaces links leave by. */
void ports_settle(struct timer *timer, void *userdata) {
	(void)timer;
	on_interfaces(userdata);
}

void ports_unwatch(struct fastpath *f, uint16_t number) {
	netwatch_unwatch(f->netwatch, number);
	f->links[number].hop_known = false;
}

int ports_new(struct fastpath *f) {
	static const struct netwatch_callbacks callbacks = {.changed = on_changed, .interfaces = on_interfaces};

	int error = errands_new("interfaces", &f->errands);
	if (error == 0)
		error = netwatch_new(f->runtime, &callbacks, f, &f->netwatch);
	return error;
}

void ports_stop(struct fastpath *f) {
	f->errands = errands_free(f->errands);
}

void ports_free(struct fastpath *f) {
	ports_stop(f);
	f->netwatch = netwatch_free(f->netwatch);
}
