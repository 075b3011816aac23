/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Ethernet, VLAN tags, IPv4, IPv6 and UDP: taken apart, and put in front of a record. */
#pragma once

#include "work.h"

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

enum {
	PACKET_PEEK = 16, /* octets of payload read with the headers: a record's header, and the first ones of its contents */
	PACKET_UDP = 17,
	PACKET_IPV4_FAMILY = 2,
	PACKET_IPV6_FAMILY = 10,
	PACKET_FRAGMENT_MASK = 0x3fff, /* more fragments, offset */
	PACKET_DONT_FRAGMENT = 0x4000,
	PACKET_NEXT_FRAGMENT = 44,
	PACKET_DATAGRAM_MAX = AEAD_HEADER + FASTPATH_TEXT_MAX + AEAD_TAG,
};

struct packet_vlan {
	__be16 control;
	__be16 protocol;
};

enum packet_kind { PACKET_FOREIGN, PACKET_OURS, PACKET_ODD };

FORWARD_INLINE int packet_is_our_port(const struct fastpath_settings *set, __be16 port) {
	return port != 0 &&
	       (port == set->udp_ports[0] || port == set->udp_ports[1] || port == set->udp_ports[2] || port == set->udp_ports[3]);
}

/*
 * Reads the headers, and PACKET_PEEK octets behind them if there are as many. PACKET_ODD: IP options, extension headers, fragments
 * of UDP. The rest of a datagram is left alone until somebody wants it: it lies in the cache of a card or of another CPU, and for
 * what is dropped anyway, getting it from there is most of the work.
 */
FORWARD_INLINE int packet_parse(struct xdp_md *context, struct forward_work *work, const struct fastpath_settings *set) {
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct work_packet *packet = &work->packet;
	__u32 ip_length, offset = sizeof(struct ethhdr);
	struct ethhdr *ethernet = data;
	struct udphdr *udp;
	__be16 protocol;

	if (data + sizeof(*ethernet) > end)
		return PACKET_FOREIGN;
	protocol = ethernet->h_proto;
	if (protocol == __builtin_bswap16(ETH_P_8021Q) || protocol == __builtin_bswap16(ETH_P_8021AD)) {
		struct packet_vlan *vlan = data + offset;

		if ((void *)(vlan + 1) > end)
			return PACKET_FOREIGN;
		protocol = vlan->protocol;
		offset += sizeof(*vlan);
	}
	if (protocol == __builtin_bswap16(ETH_P_IP)) {
		struct iphdr *ip = data + offset;

		if ((void *)(ip + 1) > end || ip->protocol != PACKET_UDP)
			return PACKET_FOREIGN;
		if (*(__u8 *)ip != 0x45 || ip->frag_off & __builtin_bswap16(PACKET_FRAGMENT_MASK))
			return PACKET_ODD;
		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end || !packet_is_our_port(set, udp->dest))
			return PACKET_FOREIGN;
		ip_length = __builtin_bswap16(ip->tot_len);
		if (ip_length < sizeof(*ip) + sizeof(*udp))
			return PACKET_FOREIGN;
		ip_length -= sizeof(*ip);
		__builtin_memset(&packet->flow, 0, sizeof(packet->flow));
		__builtin_memset(&packet->local, 0, sizeof(packet->local));
		*(__u32 *)packet->flow.remote_address = ip->saddr;
		*(__u32 *)packet->local.address = ip->daddr;
		packet->flow.family = packet->local.family = PACKET_IPV4_FAMILY;
		offset += sizeof(*ip) + sizeof(*udp);
	} else if (protocol == __builtin_bswap16(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + offset;

		if ((void *)(ip + 1) > end)
			return PACKET_FOREIGN;
		if (ip->nexthdr != PACKET_UDP)
			return ip->nexthdr == PACKET_NEXT_FRAGMENT ? PACKET_ODD : PACKET_FOREIGN;
		udp = (void *)(ip + 1);
		if ((void *)(udp + 1) > end || !packet_is_our_port(set, udp->dest))
			return PACKET_FOREIGN;
		ip_length = __builtin_bswap16(ip->payload_len);
		packet->flow.reserved = 0;
		__builtin_memcpy(packet->flow.remote_address, &ip->saddr, 16);
		__builtin_memcpy(packet->local.address, &ip->daddr, 16);
		packet->flow.family = packet->local.family = PACKET_IPV6_FAMILY;
		offset += sizeof(*ip) + sizeof(*udp);
	} else {
		return PACKET_FOREIGN;
	}
	packet->flow.remote_port = udp->source;
	packet->flow.local_port = packet->local.port = udp->dest;
	packet->frame_length = (__u32)(end - data);
	packet->payload = offset;
	packet->payload_length = __builtin_bswap16(udp->len) - (__u32)sizeof(*udp);
	/* What the lengths say must be there, and nothing between UDP and the end of IP. What follows is padding of short frames.
	 */
	if (__builtin_bswap16(udp->len) != ip_length || ip_length < sizeof(*udp) ||
	    packet->payload_length > packet->frame_length - packet->payload)
		return PACKET_ODD;
	if ((void *)(udp + 1) + PACKET_PEEK <= end) {
		const __u64 *payload = (const void *)(udp + 1);
		__u8 *to = (__u8 *)&work->in + __builtin_offsetof(struct record_buffer, header);

		*(__u64 *)to = payload[0];
		*(__u64 *)(to + 8) = payload[1];
	}
	return PACKET_OURS;
}

FORWARD_INLINE __u16 packet_fold(__u64 sum) {
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

/* Where headers stand in record_buffer.room, counted back from the record. */
enum {
	PACKET_AT_UDP = RECORD_BUFFER_ROOM - 8,
	PACKET_AT_IPV4 = PACKET_AT_UDP - 20,
	PACKET_AT_IPV6 = PACKET_AT_UDP - 40,
	PACKET_CHUNK = 512, /* bpf_csum_diff() takes no more (Linux 6.1) */
	PACKET_CHUNKS = 4,
};

/* The sum of UDP header and payload, `length` octets; three octets behind them are cleared. IPv6 knows no datagram without (RFC
 * 8200 8.1); for IPv4 it is left out: the record's tag covers more. */
FORWARD_FUNCTION int packet_checksum6(struct record_buffer *b, struct fastpath_slot *slot, __u32 length) {
	__u64 sum;
	__u32 at;

	if (!b || !slot)
		return 0;
	at = AEAD_MASK(length - 8 - AEAD_HEADER);
	*(__u32 *)&b->text[at] = 0;
	sum = (__u64)__builtin_bswap32(PACKET_UDP) + __builtin_bswap32(length);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = bpf_csum_diff(0, 0, (__be32 *)slot->record.local_address, 16, (__u32)sum) & 0xffffffff;
	sum = bpf_csum_diff(0, 0, (__be32 *)slot->record.remote_address, 16, (__u32)sum) & 0xffffffff;
	for (__u32 i = 0; i < PACKET_CHUNKS; i++) {
		__u32 rest = length - i * PACKET_CHUNK;

		if (length <= i * PACKET_CHUNK)
			break;
		rest = (rest + 3) & ~3U;
		if (rest > PACKET_CHUNK)
			rest = PACKET_CHUNK;
		sum = bpf_csum_diff(0, 0, (__be32 *)&b->room[PACKET_AT_UDP + i * PACKET_CHUNK], rest, (__u32)sum) & 0xffffffff;
	}
	at = packet_fold(sum);
	return at ? (int)at : 0xffff;
}

/*
 * Writes the headers in front of the record of `record_length` octets in `b`, for the link in `slot` over `hop`. Returns their
 * length: the packet starts that many octets before b->header.
 */
FORWARD_INLINE int packet_headers(struct record_buffer *b, struct fastpath_slot *slot, const struct fastpath_hop *hop,
				  __u32 record_length) {
	const struct fastpath_record *record = &slot->record;
	__u32 at, length = 8 + record_length;
	__be16 protocol;

	*(__u16 *)&b->room[PACKET_AT_UDP] = __builtin_bswap16(record->local_port);
	*(__u16 *)&b->room[PACKET_AT_UDP + 2] = __builtin_bswap16(record->remote_port);
	*(__u16 *)&b->room[PACKET_AT_UDP + 4] = __builtin_bswap16((__u16)length);
	*(__u16 *)&b->room[PACKET_AT_UDP + 6] = 0;
	if (record->family == PACKET_IPV4_FAMILY) {
		__u8 *ip = &b->room[PACKET_AT_IPV4];
		__u32 local = *(const __u32 *)record->local_address, remote = *(const __u32 *)record->remote_address;
		__u64 sum;

		*(__u16 *)ip = __builtin_bswap16((__u16)(0x4500 | hop->traffic_class));
		*(__u16 *)(ip + 2) = __builtin_bswap16((__u16)(20 + length));
		*(__u32 *)(ip + 4) = __builtin_bswap32(PACKET_DONT_FRAGMENT);
		*(__u16 *)(ip + 8) = __builtin_bswap16((__u16)(hop->hop_limit << 8 | PACKET_UDP));
		*(__u32 *)(ip + 12) = local;
		*(__u32 *)(ip + 16) = remote;
		sum = (__u64) * (__u16 *)ip + *(__u16 *)(ip + 2) + __builtin_bswap16(PACKET_DONT_FRAGMENT) + *(__u16 *)(ip + 8);
		sum += (__u64)local + remote;
		*(__u16 *)(ip + 10) = packet_fold(sum);
		at = PACKET_AT_IPV4;
		protocol = __builtin_bswap16(ETH_P_IP);
	} else {
		__u8 *ip = &b->room[PACKET_AT_IPV6];

		*(__u32 *)ip = __builtin_bswap32(0x60000000U | (__u32)hop->traffic_class << 20);
		*(__u16 *)(ip + 4) = __builtin_bswap16((__u16)length);
		*(__u16 *)(ip + 6) = __builtin_bswap16((__u16)(PACKET_UDP << 8 | hop->hop_limit));
		__builtin_memcpy(ip + 8, record->local_address, 16);
		__builtin_memcpy(ip + 24, record->remote_address, 16);
		*(__u16 *)&b->room[PACKET_AT_UDP + 6] = (__u16)packet_checksum6(b, slot, length);
		at = PACKET_AT_IPV6;
		protocol = __builtin_bswap16(ETH_P_IPV6);
	}
	if (hop->vlan) {
		at -= 4;
		at &= 63;
		*(__u16 *)&b->room[at] = __builtin_bswap16(hop->vlan);
		*(__u16 *)&b->room[at + 2] = protocol;
		protocol = __builtin_bswap16(ETH_P_8021Q);
	}
	at = (at - 14) & 63;
	__builtin_memcpy(&b->room[at], hop->destination, 6);
	__builtin_memcpy(&b->room[at + 6], hop->source, 6);
	*(__u16 *)&b->room[at + 12] = protocol;
	return RECORD_BUFFER_ROOM - (int)at;
}
