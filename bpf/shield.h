/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What stands in front of the daemon for datagrams without a link: addresses that may not talk to us, octets that are neither STUN
 * nor a handshake, and too many of those from one source prefix. XDP runs before the host's firewall.
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

/* Clears the bits of a source address behind the prefix. */
FORWARD_INLINE void shield_prefix(struct fastpath_listener *key, const struct work_packet *packet,
				  const struct fastpath_settings *set) {
	__u32 bits = packet->flow.family == PACKET_IPV4_FAMILY ? set->prefix4 : set->prefix6;

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

/* May another one of this source prefix pass? */
FORWARD_INLINE int shield_take(const struct work_packet *packet, const struct fastpath_settings *set, int hello) {
	struct fastpath_bucket *bucket, fresh = {0};
	struct fastpath_listener key;
	__u64 now_ns = bpf_ktime_get_coarse_ns(), elapsed_ms;

	shield_prefix(&key, packet, set);
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
	/* CPUs may overtake each other here; then a bucket is off by a token. */
	elapsed_ms = (now_ns - bucket->stamp_ns) / 1000000;
	if (elapsed_ms > 0) {
		if (elapsed_ms > SHIELD_IDLE_MS)
			elapsed_ms = SHIELD_IDLE_MS;
		bucket->hello = shield_refill(bucket->hello, elapsed_ms, set->hello_rate, set->hello_burst);
		bucket->plain = shield_refill(bucket->plain, elapsed_ms, set->plain_rate, set->plain_burst);
		bucket->stamp_ns = now_ns;
	}
	if (hello) {
		if (bucket->hello < SHIELD_TOKEN)
			return 0;
		bucket->hello -= SHIELD_TOKEN;
	} else {
		if (bucket->plain < SHIELD_TOKEN)
			return 0;
		bucket->plain -= SHIELD_TOKEN;
	}
	return 1;
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

/* A datagram to our port from an address without a link, its first octets in work->in.header. */
FORWARD_FUNCTION int shield_examine(struct forward_work *work, struct fastpath_settings *set, struct fastpath_counters *count) {
	const __u8 *octets;
	int hello;

	if (!work || !set || !count)
		return XDP_PASS;
	octets = work->in.header;
	/* Others' datagrams that this machine forwards are none of our business. */
	if (!bpf_map_lookup_elem(&listeners, &work->packet.local))
		return work_pass(count, PASS_ADDRESS);
	if (set->flags & FASTPATH_ACCESS && shield_denies(&work->packet))
		return work_reject(count, DROP_ACCESS_LIST);
	if (set->flags & FASTPATH_SHIELD) {
		if (shield_is_noise(work))
			return work_reject(count, DROP_SHIELD);
		hello = octets[0] == SHIELD_HANDSHAKE && octets[3] == 0 && octets[4] == 0 &&
			work->in.text[0] == SHIELD_CLIENT_HELLO;
		if (!shield_take(&work->packet, set, hello))
			return work_reject(count, DROP_SHIELD_RATE);
	}
	return work_pass(count, PASS_UNKNOWN);
}
