/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Maps of the program, the working storage of a CPU, and the hooks of forward.h. */
#pragma once

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#define FORWARD_FAST
#define FORWARD_CUSTOM_HOOKS
#define FORWARD_WIDE_HOOKS
#define FORWARD_FUNCTION __attribute__((noinline))
#define INLINE static inline __attribute__((always_inline))
#include "aead.h"
#include "link_state.h"

enum { WORK_HEAD = 512, WORK_OWED = 64, WORK_FLOWS = 64 };

/* The datagram at hand. */
struct work_packet {
	struct fastpath_flow flow;	/* whom it is from */
	struct fastpath_listener local; /* whom it is to */
	__u32 slot;
	__u64 number;	    /* of its record */
	__u32 frame_length; /* octets from the Ethernet header on */
	__u32 payload;	    /* where the octets behind the UDP header start in it */
	__u32 payload_length;
	__u32 text_length; /* octets of plaintext */
};

/* What was found in `flows` while `version` was that of struct fastpath_control. */
struct work_flow {
	struct fastpath_flow flow;
	__u32 version;
	__u32 slot;
};

/* An address found last in `listeners`, likewise. */
struct work_listener {
	struct fastpath_listener local;
	__u32 version;
};

/* An ack that waits for a frame to leave in. */
struct work_owed {
	__u64 since_ns;
	__u64 key; /* of the link, as owed_key() has it: the slot may be another link's by then */
	__u32 slot;
	__u32 sequence, received;
	__u32 reserved;
};

/* in: the record that came; its plaintext is the frame, the message starts FORWARD_FRAME_DATA octets into it. See `opened`. */
#define FORWARD_WORK_MEMBERS                                                                                                       \
	__u32 busy;                                                                                                                \
	__u32 messages; /* sent by this CPU */                                                                                     \
	__u32 route_base;                                                                                                          \
	__u32 settings_version;                                                                                                    \
	__u32 for_daemon; /* a data frame that goes up, numbered: */                                                               \
	__u32 sequence;                                                                                                            \
	struct fastpath_bucket hellos; /* of all prefixes; `plain` is not used */                                                  \
	struct work_packet packet;                                                                                                 \
	struct work_flow known[WORK_FLOWS];                                                                                        \
	struct work_listener here;                                                                                                 \
	__u32 flows_version;                                                                                                       \
	__u64 tick; /* the last one in which the time was read, and what it was: */                                                \
	__u64 tick_ns;                                                                                                             \
	__u64 carrier_ns;   /* when an ack came last whose frame could carry another one, more or less: */                         \
	__u64 carrier_tick; /* the tick of that, */                                                                                \
	__u32 carriers;	    /* and how many more came since then without the time being read */                                    \
	__u32 carrier_rest; /* acks that may wait in this tick without the time being read */                                      \
	__u32 owed_first, owed_count;                                                                                              \
	struct work_owed owed[WORK_OWED];                                                                                          \
	struct fastpath_hop back, onward; /* hops of the ack and of the message */                                                 \
	struct chacha20 chacha;                                                                                                    \
	struct poly1305 poly;                                                                                                      \
	__u64 tag[2];                                                                                                              \
	struct fastpath_pad rx_pad, tx_pad; /* computed here */                                                                    \
	__u32 rx_computed;		    /* of the record in `in`, whole */                                                     \
	__u32 opened;			    /* octets of it that are plaintext, a multiple of 32, or all; ciphertext follows */    \
	struct record_buffer in, out, ack;

#include "forward.h"

_Static_assert(WORK_HEAD >= (int)FORWARD_HEAD_MAX, "head");
_Static_assert(WORK_HEAD + 8 + FORWARD_FRAME_DATA <= RECORD_BUFFER_TEXT, "head");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct forward_work);
} works SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fastpath_control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FASTPATH_TABLES);
	__type(key, __u32);
	__type(value, struct fastpath_settings);
} settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FASTPATH_TABLES *LAYOUT_ROUTES_MAX);
	__type(key, __u32);
	__type(value, struct forward_route);
} routes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, LAYOUT_SLOTS_MAX);
	__type(key, __u32);
	__type(value, struct fastpath_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FASTPATH_RINGS_DEFAULT *FASTPATH_PAD_RING); /* the loader changes it */
	__type(key, __u32);
	__type(value, struct fastpath_pad);
} pads SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FASTPATH_FLOWS_MAX);
	__type(key, struct fastpath_flow);
	__type(value, struct fastpath_flow_target);
} flows SEC(".maps");

/* Node-ID to slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LAYOUT_SLOTS_MAX);
	__type(key, struct forward_id);
	__type(value, __u32);
} node_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FASTPATH_LISTENERS_MAX);
	__type(key, struct fastpath_listener);
	__type(value, __u32);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FASTPATH_ACCESS_MAX);
	__type(key, struct fastpath_access_key);
	__type(value, __u32);
} access SEC(".maps");

/* Source prefix to token buckets. The key is an address with the bits behind the prefix cleared, and the family. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FASTPATH_PREFIXES_MAX);
	__type(key, struct fastpath_listener);
	__type(value, struct fastpath_bucket);
} prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fastpath_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, LAYOUT_SLOTS_MAX);
	__type(key, __u32);
	__type(value, struct fastpath_link_counters);
} link_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FASTPATH_PENDING);
	__type(key, __u32);
	__type(value, struct fastpath_pending);
} pendings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, FASTPATH_EVENTS_OCTETS);
} events SEC(".maps");

/* By slot. Programs do not look at it: it waits for the next daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LAYOUT_SLOTS_MAX);
	__type(key, __u32);
	__type(value, struct fastpath_peer);
} peers SEC(".maps");

/* Interfaces by number, for what goes to one of them. */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, FASTPATH_PORTS_MAX);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
} ports SEC(".maps");

/*
 * For every pair of interfaces a map with these two: a message goes to both of them, and there becomes the ack or the message sent
 * on. The loader fills them in; the entries name the program ringgate_egress.
 */
struct pair_map {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct bpf_devmap_val);
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, FASTPATH_PAIRS);
	__type(key, __u32);
	__array(values, struct pair_map);
} pairs SEC(".maps");

/* ---- hooks of forward.h ---- */

#define WORK_HEAD_MASK(position)                                                                                                   \
	({                                                                                                                         \
		__u32 _position = (position);                                                                                      \
		asm volatile("" : "+r"(_position));                                                                                \
		_position &(WORK_HEAD - 1);                                                                                        \
	})

FORWARD_INLINE __u8 forward_load_u8(struct forward_work *work, __u32 position) {
	return work->in.text[FORWARD_FRAME_DATA + AEAD_MASK(position)];
}

FORWARD_INLINE __u16 forward_load_u16(struct forward_work *work, __u32 position) {
	return __builtin_bswap16(*(__u16 *)&work->in.text[FORWARD_FRAME_DATA + AEAD_MASK(position)]);
}

FORWARD_INLINE __u32 forward_load_u32(struct forward_work *work, __u32 position) {
	return __builtin_bswap32(*(__u32 *)&work->in.text[FORWARD_FRAME_DATA + AEAD_MASK(position)]);
}

FORWARD_INLINE __u64 forward_load_u64(struct forward_work *work, __u32 position) {
	return __builtin_bswap64(*(__u64 *)&work->in.text[FORWARD_FRAME_DATA + AEAD_MASK(position)]);
}

FORWARD_INLINE void forward_store_u8(struct forward_work *work, __u32 position, __u8 value) {
	work->out.text[FORWARD_FRAME_DATA + WORK_HEAD_MASK(position)] = value;
}

FORWARD_INLINE void forward_store_u16(struct forward_work *work, __u32 position, __u32 value) {
	*(__u16 *)&work->out.text[FORWARD_FRAME_DATA + WORK_HEAD_MASK(position)] = __builtin_bswap16((__u16)value);
}

FORWARD_INLINE void forward_store_u32(struct forward_work *work, __u32 position, __u32 value) {
	*(__u32 *)&work->out.text[FORWARD_FRAME_DATA + WORK_HEAD_MASK(position)] = __builtin_bswap32(value);
}

FORWARD_INLINE void forward_store_u64(struct forward_work *work, __u32 position, __u64 value) {
	*(__u64 *)&work->out.text[FORWARD_FRAME_DATA + WORK_HEAD_MASK(position)] = __builtin_bswap64(value);
}

FORWARD_INLINE int forward_link_at(struct forward_work *work, __u32 number) {
	struct fastpath_slot *slot = bpf_map_lookup_elem(&slots, &number);

	if (!slot || !(slot->link.flags & FORWARD_LINK_UP))
		return 0;
	work->link = slot->link;
	return 1;
}

FORWARD_INLINE int forward_link_of(struct forward_work *work, const struct forward_id *id) {
	struct forward_id key = *id;
	__u32 *number = bpf_map_lookup_elem(&node_slots, &key);

	return number && forward_link_at(work, *number) && forward_id_equal(&work->link.id, &key);
}

FORWARD_INLINE int forward_route_at(struct forward_work *work, __u32 index) {
	__u32 place = work->route_base + index;
	struct forward_route *route = bpf_map_lookup_elem(&routes, &place);

	if (!route)
		return 0;
	work->route = *route;
	return 1;
}

/* ---- time ---- */

/*
 * bpf_ktime_get_coarse_ns(), which goes on with the ticks as jiffies do; but these are read in place, without any call. It may be a
 * tick older, since jiffies go on first.
 */
FORWARD_INLINE __u64 work_coarse_ns(struct forward_work *work) {
	__u64 tick = bpf_jiffies64();

	if (work->tick != tick) {
		work->tick = tick;
		work->tick_ns = bpf_ktime_get_coarse_ns();
	}
	return work->tick_ns;
}

/* ---- lengths ---- */

/*
 * `length` as the verifier can see that it is 1 to `most`: helpers take no zero. Comparing with zero does not do: the compiler
 * makes one comparison of two, of a copy, and verifiers up to Linux 6.12 do not conclude from it.
 */
FORWARD_INLINE __u32 work_length(__u32 length, __u32 most) {
	__u32 less = length - 1;

	asm volatile("" : "+r"(less));
	if (less >= most)
		less = most - 1;
	asm volatile("" : "+r"(less));
	return less + 1;
}

/* ---- verdicts ---- */

/* A compiler that knows what a function returns (clang 19) drops the masks below; the verifier knows nothing of it and needs them.
 */
FORWARD_INLINE int work_pass(struct fastpath_counters *count, __u32 reason) {
	asm volatile("" : "+r"(reason));
	count->verdicts[FASTPATH_PASSED]++;
	count->passes[reason & 31]++;
	return XDP_PASS;
}

FORWARD_INLINE int work_reject(struct fastpath_counters *count, __u32 reason) {
	asm volatile("" : "+r"(reason));
	count->verdicts[FASTPATH_REJECTED]++;
	count->drops[reason & 63]++;
	return XDP_DROP;
}
