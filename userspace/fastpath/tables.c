/* SPDX-License-Identifier: BSD-2-Clause */
/* Changing tables that programs are reading. */
#include "base/octets.h"
#include "fastpath/loader.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>

/* XDP programs run with soft interrupts off, which is what membarrier(2) waits for by synchronize_rcu(). */
int fastpath_quiesce(void) {
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0 ? -errno : 0;
}

int fastpath_tables_switch(struct fastpath_tables *tables, const struct fastpath_settings *settings,
			   const struct forward_route *routes, uint32_t count) {
	uint32_t target = !tables->control->active;
	struct fastpath_settings *set = &tables->settings[target], new = *settings;

	if (count > LAYOUT_ROUTES_MAX)
		return -E2BIG;
	__atomic_store_n(&set->version, set->version | 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	new.version = set->version;
	new.node.route_count = count;
	*set = new;
	if (count > 0)
		memcpy(tables->routes + (size_t)target * LAYOUT_ROUTES_MAX, routes, count * sizeof(*routes));
	__atomic_store_n(&set->version, set->version + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&tables->control->active, target, __ATOMIC_RELEASE);
	return 0;
}

int fastpath_tables_replace(struct fastpath_tables *tables, const struct fastpath_settings *settings,
			    const struct forward_route *routes, uint32_t count) {
	int result = fastpath_tables_switch(tables, settings, routes, count);

	return result < 0 ? result : fastpath_quiesce();
}

void fastpath_hop_store(struct fastpath_slot *slot, const struct fastpath_hop *hop) {
	uint32_t version = slot->hop.version | 1;
	struct fastpath_hop new = *hop;

	__atomic_store_n(&slot->hop.version, version, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	new.version = version;
	slot->hop = new;
	__atomic_store_n(&slot->hop.version, version + 1, __ATOMIC_RELEASE);
}

static struct fastpath_flow flow_of(const struct fastpath_record *record) {
	struct fastpath_flow flow = {
		.remote_port = htons(record->remote_port),
		.local_port = htons(record->local_port),
		.family = record->family,
	};

	memcpy(flow.remote_address, record->remote_address, record->family == AF_INET ? 4 : 16);
	return flow;
}

void fastpath_flows_changed(struct fastpath_tables *tables) {
	__atomic_add_fetch(&tables->control->flows_version, 1, __ATOMIC_RELEASE);
}

int fastpath_slot_open(struct fastpath_tables *tables, uint16_t number) {
	struct fastpath_slot *slot = &tables->slots[number];
	struct fastpath_flow flow = flow_of(&slot->record);
	struct fastpath_flow_target target = {.slot = number};
	uint32_t value = number;

	if (number >= LAYOUT_SLOTS_MAX)
		return -EINVAL;
	__atomic_store_n(&slot->link.flags, slot->link.flags | FORWARD_LINK_UP, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->flags, slot->flags | FASTPATH_SLOT_ACTIVE, __ATOMIC_RELEASE);
	if (bpf_map_update_elem(tables->flows, &flow, &target, BPF_ANY) < 0)
		return -errno;
	fastpath_flows_changed(tables);
	if (slot->link.flags & FORWARD_LINK_BOUND && bpf_map_update_elem(tables->node_slots, &slot->link.id, &value, BPF_ANY) < 0)
		return -errno;
	return 0;
}

void fastpath_slot_hide(struct fastpath_tables *tables, uint16_t number) {
	struct fastpath_slot *slot = &tables->slots[number];
	struct fastpath_flow flow = flow_of(&slot->record);
	struct fastpath_flow_target target;
	uint32_t value;

	/* Flow and Node-ID may belong to a younger link meanwhile. */
	if (bpf_map_lookup_elem(tables->flows, &flow, &target) == 0 && target.slot == number)
		bpf_map_delete_elem(tables->flows, &flow);
	fastpath_flows_changed(tables);
	if (slot->link.flags & FORWARD_LINK_BOUND && bpf_map_lookup_elem(tables->node_slots, &slot->link.id, &value) == 0 &&
	    value == number)
		bpf_map_delete_elem(tables->node_slots, &slot->link.id);
	__atomic_store_n(&slot->flags, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&slot->link.flags, slot->link.flags & (uint8_t)~FORWARD_LINK_UP, __ATOMIC_RELEASE);
}

void fastpath_slot_wipe(struct fastpath_tables *tables, uint16_t number) {
	struct fastpath_slot *slot = &tables->slots[number];

	octets_wipe(slot, offsetof(struct fastpath_slot, rx_ring));
	/* The worker looks at them when it is asked for a link that has gone meanwhile. */
	__atomic_store_n(&slot->rx_ring, FASTPATH_RING_NONE, __ATOMIC_RELAXED);
	__atomic_store_n(&slot->tx_ring, FASTPATH_RING_NONE, __ATOMIC_RELAXED);
	octets_wipe((uint8_t *)slot + offsetof(struct fastpath_slot, rx_longest),
		    sizeof(*slot) - offsetof(struct fastpath_slot, rx_longest));
}

int fastpath_slot_close(struct fastpath_tables *tables, uint16_t number) {
	if (number >= LAYOUT_SLOTS_MAX)
		return -EINVAL;
	fastpath_slot_hide(tables, number);
	int result = fastpath_quiesce();
	if (result == 0)
		fastpath_slot_wipe(tables, number);
	return result;
}
