/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The neighbors of a transit peer for tests/bench/bench_fastpath.c, without sockets, so that they are always faster than it:
 * wire_generate, run by BPF_PROG_RUN on live frames, sends prepared frames: A's messages as long as fewer than `window` are under
 * way, B's acks of messages that arrived, and the datagrams of a flood at their rate. wire_sink takes what arrives and counts it.
 * wire_floor stands in the peer's place and redirects without reading anything, with wire_floor_egress for the copies.
 * wire_switch keeps the time the peer has its processor: what the kernel tells of a thread that runs on another processor is as old
 * as its last tick.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/udp.h>

#include "check/bench_wire.h"

#define INLINE static inline __attribute__((always_inline))

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wire);
} wires SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WIRE_FRAMES);
	__type(key, __u32);
	__type(value, struct wire_frame);
} frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WIRE_FRAMES);
	__type(key, __u32);
	__type(value, struct wire_ack);
} acks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WIRE_FLOODS);
	__type(key, __u32);
	__type(value, struct wire_flood);
} floods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wire_core);
} cores SEC(".maps");

/* The interface of the neighbors. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} far SEC(".maps");

/* The interface of the transit peer, twice: for both copies. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} near SEC(".maps");

/* Which copy comes next. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} copies SEC(".maps");

/* In a register of its own: the verifier takes no 32-bit arithmetic of pointers. */
INLINE int frame_length(struct xdp_md *context) {
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	__u64 length = (__u64)(end - data);

	asm volatile("" : "+r"(length));
	return (int)length;
}

/* The frame of this run becomes the `length` octets in `octets`. */
INLINE int frame_put(struct xdp_md *context, void *octets, __u32 length, __u32 max) {
	int present = frame_length(context);

	asm volatile("" : "+r"(length));
	length &= 2047;
	if (length < 14 || length > max)
		return 0;
	if (bpf_xdp_adjust_tail(context, (int)length - present) < 0)
		return 0;
	return bpf_xdp_store_bytes(context, 0, octets, length) == 0;
}

/*
 * A frame that is dropped goes back to the page pool under a lock that the peer needs too when it drops one. Were the
 * generator to drop frames as fast as it can while it has nothing to send, the peer would wait for that lock at each drop of a
 * flood, which no network card would have it do.
 */
INLINE void idle(void) {
	for (int i = 0; i < WIRE_IDLE_LOOKS; i++)
		bpf_ktime_get_ns();
}

SEC("xdp")
int wire_generate(struct xdp_md *context) {
	__u32 zero = 0, place;
	struct wire *w = bpf_map_lookup_elem(&wires, &zero);
	struct wire_frame *frame;
	struct wire_ack *ack;
	__u64 now_ns;

	if (!w)
		return XDP_ABORTED;
	if (w->flood_ns && w->sent > 0 && w->flooded - *(volatile __u64 *)&w->flooded_before < WIRE_FLOOD_WINDOW) {
		now_ns = bpf_ktime_get_ns();
		if (now_ns >= w->next_flood_ns) {
			place = w->floods ? (__u32)(w->flooded % w->floods) : 0;
			struct wire_flood *flood = bpf_map_lookup_elem(&floods, &place);
			if (!flood || !frame_put(context, flood->octets, flood->length, WIRE_FLOOD_MAX))
				return XDP_ABORTED;
			/* Very late: not made up for by a burst, which would not fit the ring. */
			w->next_flood_ns = now_ns - w->next_flood_ns < WIRE_FLOOD_LATE * w->flood_ns
						   ? w->next_flood_ns + w->flood_ns
						   : now_ns + w->flood_ns;
			w->flooded++;
			return (int)bpf_redirect_map(&far, 0, 0);
		}
	}
	if (w->acks_sent < *(volatile __u64 *)&w->delivered) {
		place = (__u32)(w->acks_sent % WIRE_FRAMES);
		ack = bpf_map_lookup_elem(&acks, &place);
		if (!ack || !frame_put(context, ack->octets, ack->length, WIRE_ACK_MAX))
			return XDP_ABORTED;
		w->acks_sent++;
		return (int)bpf_redirect_map(&far, 0, 0);
	}
	if (w->sent >= w->total || w->sent - *(volatile __u64 *)&w->delivered >= w->window) {
		if (w->flood_ns && *(volatile __u64 *)&w->delivered < w->total)
			idle();
		return XDP_DROP;
	}
	now_ns = w->interval_ns ? bpf_ktime_get_ns() : 0;
	if (now_ns < w->next_ns)
		return XDP_DROP;
	place = (__u32)(w->sent % WIRE_FRAMES);
	frame = bpf_map_lookup_elem(&frames, &place);
	if (!frame || !frame_put(context, frame->octets, frame->length, WIRE_FRAME_MAX))
		return XDP_ABORTED;
	if (w->sent++ == 0)
		w->first_ns = bpf_ktime_get_ns();
	if (w->interval_ns) {
		w->next_ns = now_ns + w->interval_ns;
		w->sent_ns = bpf_ktime_get_ns();
	}
	return (int)bpf_redirect_map(&far, 0, 0);
}

INLINE void frame_capture(struct xdp_md *context, struct wire_frame *to, __u32 length) {
	asm volatile("" : "+r"(length));
	length &= 2047;
	if (length > 0 && length <= WIRE_FRAME_MAX && bpf_xdp_load_bytes(context, 0, to->octets, length) == 0)
		to->length = length;
}

/* Processor time of the peer up to now; 0: it changes hands all the time. */
INLINE __u64 peer_used_ns(void) {
	__u32 zero = 0;
	volatile struct wire_core *core = bpf_map_lookup_elem(&cores, &zero);

	for (int i = 0; core && i < 16; i++) {
		__u64 changes = core->changes, used_ns = core->used_ns;
		if (core->own)
			used_ns += bpf_ktime_get_ns() - core->since_ns;
		if (!(changes & 1) && core->changes == changes)
			return used_ns;
	}
	return 0;
}

SEC("xdp")
int wire_sink(struct xdp_md *context) {
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);
	__u32 zero = 0, length = (__u32)frame_length(context);
	struct wire *w = bpf_map_lookup_elem(&wires, &zero);

	if (!w || (void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP) || ip->protocol != 17)
		return XDP_PASS;
	if (ip->daddr == w->b && length == w->message_length) {
		if (w->interval_ns)
			w->latency_ns[w->delivered % WIRE_SAMPLES] = (__u32)(bpf_ktime_get_ns() - w->sent_ns);
		if (w->delivered % WIRE_CAPTURE_EVERY == 0) {
			frame_capture(context, &w->message, length);
			w->captured_message = w->delivered;
		}
		w->flooded_before = *(volatile __u64 *)&w->flooded;
		if (++w->delivered == w->total)
			w->last_ns = bpf_ktime_get_ns();
		if (w->delivered % WIRE_SLICE_MESSAGES == 0) {
			__u64 slice = (w->delivered / WIRE_SLICE_MESSAGES - 1) % WIRE_SLICES;

			w->at_ns[slice] = bpf_ktime_get_ns();
			w->used_ns[slice] = peer_used_ns();
		}
	} else if (ip->daddr == w->a && length == w->ack_length) {
		if (w->acks_received % WIRE_CAPTURE_EVERY == 0) {
			frame_capture(context, &w->ack, length);
			w->captured_ack = w->acks_received;
		}
		w->acks_received++;
	} else if (ip->daddr != w->a && ip->daddr != w->b) {
		w->answers++;
	} else {
		w->strange++;
	}
	return XDP_DROP;
}

/*
 * What a transit peer does with frames, without reading them. A's message goes to B; its ack goes to A, either in a copy of the
 * message that is cut to an ack's length, and B's acks end here; or in the frame of B's ack.
 */
SEC("xdp")
int wire_floor(struct xdp_md *context) {
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);
	__u32 zero = 0;
	struct wire *w = bpf_map_lookup_elem(&wires, &zero);

	if (!w || (void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->saddr != w->a)
		return w->copies ? XDP_DROP : (int)bpf_redirect_map(&near, 0, 0);
	if (bpf_xdp_adjust_head(context, frame_length(context) - (int)w->message_length) < 0)
		return XDP_ABORTED;
	return (int)bpf_redirect_map(&near, 0, w->copies ? BPF_F_BROADCAST : 0);
}

SEC("xdp/devmap")
int wire_floor_egress(struct xdp_md *context) {
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);
	__u32 zero = 0;
	struct wire *w = bpf_map_lookup_elem(&wires, &zero);
	__u64 *copy = bpf_map_lookup_elem(&copies, &zero);

	if (!w || !copy || (void *)(ip + 1) > end)
		return XDP_DROP;
	ethernet->h_proto = bpf_htons(ETH_P_IP);
	ip->protocol = 17;
	if (w->copies ? (*copy)++ & 1 : (__u32)frame_length(context) == w->message_length) {
		ip->daddr = w->b;
		return XDP_PASS;
	}
	ip->daddr = w->a;
	if (!w->copies)
		return XDP_PASS;
	return bpf_xdp_adjust_tail(context, (int)w->ack_length - frame_length(context)) < 0 ? XDP_DROP : XDP_PASS;
}

struct task_struct {
	int pid, tgid;
} __attribute__((preserve_access_index));

/* Arguments: whether the one before was preempted, the one before, the one after. */
SEC("tp_btf/sched_switch")
int wire_switch(__u64 *arguments) {
	const struct task_struct *after = (const void *)arguments[2];
	__u32 zero = 0;
	struct wire_core *core = bpf_map_lookup_elem(&cores, &zero);
	__u64 now_ns;

	if (!core || core->processor != bpf_get_smp_processor_id())
		return 0;
	__sync_fetch_and_add(&core->changes, 1);
	now_ns = bpf_ktime_get_ns();
	if (core->own)
		core->used_ns += now_ns - core->since_ns;
	core->since_ns = now_ns;
	core->own = (__u32)after->tgid == core->process || (__u32)after->pid == core->poller;
	__sync_fetch_and_add(&core->changes, 1);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
