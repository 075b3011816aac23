/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What stands in front of the daemon for datagrams that are no records of a link: addresses that may not talk to us, octets that
 * are neither STUN nor a handshake, too many of those from one source prefix, and too many ClientHellos from everywhere, which cost
 * the daemon a hash and an answer each. Whoever writes the address of a link into his datagrams gets no further than others. XDP
 * runs before the host's firewall.
 */
#pragma once

#include "packet.h"

enum {
	SHIELD_CHANGE_CIPHER_SPEC = 20,
	SHIELD_HANDSHAKE = 22,
	SHIELD_CLIENT_HELLO = 1,
	SHIELD_STUN_TYPES = 3, /* RFC 7983: first octet of STUN */
	SHIELD_STUN_HEADER = 20,
	SHIELD_STUN_COOKIE = 0x2112a442,
	SHIELD_TOKEN = 1000,
	SHIELD_IDLE_MS = 1000000, /* longer pauses count as this long */
};

/* Tokens of a bucket after `elapsed_ms` more: `rate` a second. */
FORWARD_INLINE __u32 shield_refill(__u32 tokens, __u64 elapsed_ms, __u32 rate, __u32 burst) {
	__u64 full = (__u64)burst * SHIELD_TOKEN, now = tokens + elapsed_ms * rate;

	return (__u32)(now < full ? now : full);
}

/* fe80::/10, one prefix for all the hosts of a network: there the whole address counts. */
FORWARD_INLINE int shield_is_link_local(const struct work_packet *packet) {
	return packet->flow.family != PACKET_IPV4_FAMILY && packet->flow.remote_address[0] == 0xfe &&
	       (packet->flow.remote_address[1] & 0xc0) == 0x80;
}

/* Clears the bits of a source address behind the prefix. */
FORWARD_INLINE void shield_prefix(struct fastpath_listener *key, const struct work_packet *packet,
				  const struct fastpath_settings *set) {
	__u32 bits = packet->flow.family == PACKET_IPV4_FAMILY ? set->prefix4 : set->prefix6;

	if (shield_is_link_local(packet))
		bits = 128;
	__builtin_memset(key, 0, sizeof(*key));
	key->family = packet->flow.family;
	for (__u32 i = 0; i < 4; i++) {
		__u32 word = *(const __u32 *)&packet->flow.remote_address[4 * i], mask = 0;

		if (bits >= 32 * (i + 1))
			mask = ~0U;
		else if (bits > 32 * i)
			mask = ~0U << (32 - (bits & 31));
		*(__u32 *)&key->address[4 * i] = word & __builtin_bswap32(mask);
	}
}

FORWARD_INLINE int shield_take_token(__u32 *tokens) {
	if (*tokens < SHIELD_TOKEN)
		return 0;
	*tokens -= SHIELD_TOKEN;
	return 1;
}

FORWARD_INLINE __u64 shield_elapsed_ms(struct fastpath_bucket *bucket, __u64 now_ns) {
	__u64 elapsed_ms = (now_ns - bucket->stamp_ns) / 1000000;

	if (elapsed_ms > 0)
		bucket->stamp_ns = now_ns;
	return elapsed_ms < SHIELD_IDLE_MS ? elapsed_ms : SHIELD_IDLE_MS;
}

/* Tokens of all prefixes together, up to date. */
FORWARD_INLINE __u32 *shield_all(struct forward_work *work, const struct fastpath_settings *set, __u64 now_ns) {
	__u64 elapsed_ms = shield_elapsed_ms(&work->hellos, now_ns);

	if (elapsed_ms > 0)
		work->hellos.hello = shield_refill(work->hellos.hello, elapsed_ms, set->all_hello_rate, set->all_hello_burst);
	return &work->hellos.hello;
}

/*
 * May another datagram of this source prefix pass? CPUs may overtake each other here; then a bucket is off by a token. The limit of
 * all is looked at first: a flood from many addresses ends there, and neither costs the look-up of its prefix nor drives others'
 * out of the map. What one prefix may take of it is limited by the prefix's own.
 */
FORWARD_INLINE int shield_take(struct forward_work *work, const struct fastpath_settings *set, int hello) {
	struct fastpath_bucket *bucket, fresh = {0};
	struct fastpath_listener key;
	__u64 now_ns = work_coarse_ns(work), elapsed_ms;
	__u32 *all;

	if (hello && *shield_all(work, set, now_ns) < SHIELD_TOKEN)
		return 0;
	shield_prefix(&key, &work->packet, set);
	bucket = bpf_map_lookup_elem(&prefixes, &key);
	if (!bucket) {
		fresh.stamp_ns = now_ns;
		fresh.hello = set->hello_burst * SHIELD_TOKEN;
		fresh.plain = set->plain_burst * SHIELD_TOKEN;
		bpf_map_update_elem(&prefixes, &key, &fresh, BPF_NOEXIST);
		bucket = bpf_map_lookup_elem(&prefixes, &key);
		if (!bucket)
			return 0; /* no room even after others were forgotten */
	}
	elapsed_ms = shield_elapsed_ms(bucket, now_ns);
	if (elapsed_ms > 0) {
		bucket->hello = shield_refill(bucket->hello, elapsed_ms, set->hello_rate, set->hello_burst);
		bucket->plain = shield_refill(bucket->plain, elapsed_ms, set->plain_rate, set->plain_burst);
	}
	if (!hello)
		return shield_take_token(&bucket->plain);
	all = &work->hellos.hello;
	return shield_take_token(&bucket->hello) && shield_take_token(all);
}

FORWARD_INLINE int shield_denies(const struct work_packet *packet) {
	struct fastpath_access_key key = {.bits = 128};
	__u32 *verdict;

	if (packet->flow.family == PACKET_IPV4_FAMILY) {
		*(__u16 *)&key.address[10] = 0xffff;
		*(__u32 *)&key.address[12] = *(const __u32 *)packet->flow.remote_address;
	} else {
		__builtin_memcpy(key.address, packet->flow.remote_address, 16);
	}
	verdict = bpf_map_lookup_elem(&access, &key);
	return verdict && *verdict == FASTPATH_ACCESS_DENY;
}

/* The octets in work->in.header are neither STUN nor a DTLS record of a handshake, an alert or a cipher change. */
FORWARD_INLINE int shield_is_noise(const struct forward_work *work) {
	const __u8 *octets = work->in.header;
	__u32 length = work->packet.payload_length;

	if (length >= AEAD_HEADER + 1 && octets[0] >= SHIELD_CHANGE_CIPHER_SPEC && octets[0] <= SHIELD_HANDSHAKE)
		return octets[1] != 0xfe; /* DTLS 1.0 in the first flight, 1.2 later */
	if (length >= SHIELD_STUN_HEADER && octets[0] <= SHIELD_STUN_TYPES)
		return *(const __u32 *)&octets[4] != __builtin_bswap32(SHIELD_STUN_COOKIE);
	return 1;
}

FORWARD_INLINE int shield_is_hello(const struct forward_work *work) {
	const __u8 *octets = work->in.header;

	return octets[0] == SHIELD_HANDSHAKE && octets[3] == 0 && octets[4] == 0 && work->in.text[0] == SHIELD_CLIENT_HELLO;
}

/* Is the datagram for the address of this node that was found last? */
FORWARD_INLINE int shield_is_here(const struct forward_work *work) {
	const __u32 *is = (const __u32 *)&work->packet.local, *was = (const __u32 *)&work->here.local;

	return ((is[0] ^ was[0]) | (is[1] ^ was[1]) | (is[2] ^ was[2]) | (is[3] ^ was[3]) | (is[4] ^ was[4])) == 0 &&
	       work->here.version == work->flows_version;
}

/*
 * Why a datagram is dropped whoever it is from: for octets of a stranger and of a link's address the same rules hold, but for
 * application data. 0: it has to be looked at closer. In a flood that spares the look-up of a flow that is not there.
 */
FORWARD_FUNCTION int shield_early(struct forward_work *work, struct fastpath_settings *set) {
	if (!work || !set || !shield_is_here(work))
		return 0;
	if (shield_is_noise(work))
		return DROP_SHIELD;
	if (shield_is_hello(work) && *shield_all(work, set, work_coarse_ns(work)) < SHIELD_TOKEN)
		return DROP_SHIELD_RATE;
	return 0;
}

/* Is the datagram for this node? A key lies on the stack: so Linux 6.1 wants it. */
FORWARD_INLINE int shield_is_ours(struct forward_work *work) {
	struct fastpath_listener local = work->packet.local;

	if (shield_is_here(work))
		return 1;
	if (!bpf_map_lookup_elem(&listeners, &local))
		return 0;
	work->here.local = local;
	work->here.version = work->flows_version;
	return 1;
}

/* A datagram to our port from an address without a link, its first octets in work->in.header. */
FORWARD_FUNCTION int shield_examine(struct forward_work *work, struct fastpath_settings *set, struct fastpath_counters *count) {
	if (!work || !set || !count)
		return XDP_PASS;
	/* Others' datagrams that this machine forwards are none of our business. */
	if (!shield_is_ours(work))
		return work_pass(count, PASS_ADDRESS);
	if (set->flags & FASTPATH_ACCESS && shield_denies(&work->packet))
		return work_reject(count, DROP_ACCESS_LIST);
	if (set->flags & FASTPATH_SHIELD) {
		if (shield_is_noise(work))
			return work_reject(count, DROP_SHIELD);
		if (!shield_take(work, set, shield_is_hello(work)))
			return work_reject(count, DROP_SHIELD_RATE);
	}
	return work_pass(count, PASS_UNKNOWN);
}

/* A datagram from the address of a link that is no record with application data. 0: it may pass, else why it is dropped. */
FORWARD_FUNCTION int shield_link(struct forward_work *work, struct fastpath_settings *set) {
	if (!work || !set)
		return 0;
	if (shield_is_noise(work))
		return DROP_SHIELD;
	return shield_take(work, set, shield_is_hello(work)) ? 0 : DROP_SHIELD_RATE;
}
