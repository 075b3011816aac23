/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The transit decision alone, as a kernel program: shows that the verifier accepts forward.h with the hooks of the fast path, and
 * runs the cases of tests/support/forward_cases.c through BPF_PROG_RUN. The packet is a bare RELOAD message, no Ethernet in front.
 *
 * XDP_TX: edited, the verdict is in `works`. XDP_PASS: for userspace. XDP_DROP: dropped without a word.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define FORWARD_FAST
#define FORWARD_CUSTOM_HOOKS
enum {
	CHECK_CAPACITY = 2048, /* octets; a power of two, so that a mask keeps an index inside */
	CHECK_HEAD = 512,
};
#define FORWARD_WORK_MEMBERS                                                                                                       \
	__u8 octets[CHECK_CAPACITY + 8];                                                                                           \
	__u8 head[CHECK_HEAD + 8];
#include "forward.h"

_Static_assert(CHECK_HEAD >= (int)FORWARD_HEAD_MAX, "head");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct forward_work);
} works SEC(".maps");

struct check_input {
	struct forward_node node;
	struct forward_link arrival;
	__u32 input_flags;
	__u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct check_input);
} inputs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LAYOUT_SLOTS_MAX);
	__type(key, __u32);
	__type(value, struct forward_link);
} links SEC(".maps");

/* Node-ID to slot + 1. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LAYOUT_SLOTS_MAX);
	__type(key, struct forward_id);
	__type(value, __u32);
} nodes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LAYOUT_ROUTES_MAX);
	__type(key, __u32);
	__type(value, struct forward_route);
} routes SEC(".maps");

/* Hides from the compiler that an index is in range, so that it keeps the mask the verifier wants to see (clang 14). */
#define CHECK_MASK(position)                                                                                                       \
	({                                                                                                                         \
		__u32 _position = (position);                                                                                      \
		asm volatile("" : "+r"(_position));                                                                                \
		_position &CHECK_CAPACITY - 1;                                                                                     \
	})
#define CHECK_HEAD_MASK(position)                                                                                                  \
	({                                                                                                                         \
		__u32 _position = (position);                                                                                      \
		asm volatile("" : "+r"(_position));                                                                                \
		_position &CHECK_HEAD - 1;                                                                                         \
	})

FORWARD_INLINE __u8 forward_load_u8(struct forward_work *work, __u32 position) {
	return work->octets[CHECK_MASK(position)];
}

FORWARD_INLINE __u64 forward_load_u64(struct forward_work *work, __u32 position) {
	return __builtin_bswap64(*(__u64 *)&work->octets[CHECK_MASK(position)]);
}

FORWARD_INLINE void forward_store_u8(struct forward_work *work, __u32 position, __u8 value) {
	work->head[CHECK_HEAD_MASK(position)] = value;
}

FORWARD_INLINE void forward_store_u64(struct forward_work *work, __u32 position, __u64 value) {
	*(__u64 *)&work->head[CHECK_HEAD_MASK(position)] = __builtin_bswap64(value);
}

FORWARD_INLINE int forward_link_at(struct forward_work *work, __u32 slot) {
	struct forward_link *link = bpf_map_lookup_elem(&links, &slot);

	if (!link || !(link->flags & FORWARD_LINK_UP))
		return 0;
	work->link = *link;
	return 1;
}

FORWARD_INLINE int forward_link_of(struct forward_work *work, const struct forward_id *id) {
	struct forward_id key = *id;
	__u32 *slot = bpf_map_lookup_elem(&nodes, &key);

	return slot && *slot > 0 && forward_link_at(work, *slot - 1) && forward_id_equal(&work->link.id, &key);
}

FORWARD_INLINE int forward_route_at(struct forward_work *work, __u32 index) {
	struct forward_route *route = bpf_map_lookup_elem(&routes, &index);

	if (!route)
		return 0;
	work->route = *route;
	return 1;
}

SEC("xdp")
int forward_check(struct xdp_md *context) {
	__u32 zero = 0, length = (__u32)(context->data_end - context->data);
	struct forward_work *work = bpf_map_lookup_elem(&works, &zero);
	struct check_input *input = bpf_map_lookup_elem(&inputs, &zero);

	if (!work || !input)
		return XDP_ABORTED;
	asm volatile("" : "+r"(length)); /* clang 14 copies it else, and Linux 6.1 to 6.18 then forget the bounds checked */
	length &= 2 * CHECK_CAPACITY - 1;
	if (length == 0 || length > CHECK_CAPACITY)
		return XDP_PASS;
	if (bpf_xdp_load_bytes(context, 0, work->octets, length) < 0)
		return XDP_ABORTED;
	work->node = input->node;
	work->arrival = input->arrival;
	work->input_flags = input->input_flags;
	work->length = length;
	switch (forward_decide(work)) {
	case FORWARD_SEND:
		break;
	case FORWARD_DROP:
		return work->verdict.error_code || work->verdict.flags & FORWARD_CLOSE_LINK ? XDP_PASS : XDP_DROP;
	default:
		return XDP_PASS;
	}

	__u32 head = (__u32)forward_edit(work);
	/* The part in front of rest_offset becomes the head: the packet grows or shrinks at its start. */
	if (bpf_xdp_adjust_head(context, (int)work->verdict.rest_offset - (int)head) < 0)
		return XDP_ABORTED;
	asm volatile("" : "+r"(head));
	head &= 2 * CHECK_HEAD - 1;
	if (head < FORWARD_FIXED || head > FORWARD_HEAD_MAX)
		return XDP_ABORTED;
	if (bpf_xdp_store_bytes(context, 0, work->head, head) < 0)
		return XDP_ABORTED;
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
