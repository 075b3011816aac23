/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The daemon is gone and the next one is not there yet. Transit goes on without it; what is for this node has no receiver: it would
 * stay without an ack and be answered by ICMP "port unreachable", and the neighbors would drop their links within a second, which
 * are about to be adopted. So for FASTPATH_CARETAKER_S data frames for the daemon are acknowledged and dropped. That loses nothing
 * but time: an ack says that the frame arrived at this hop, and requests are sent again end to end (RFC 6940 6.2.1, 6.6.3.1).
 * Afterwards datagrams go up again, and the neighbors learn that nobody is there.
 *
 * A socket at the address a datagram is for is the sign of a living daemon: it goes away with the process, at once, however it
 * ends.
 */
#pragma once

#include "packet.h"

/* 1: there is a socket. */
FORWARD_FUNCTION int caretaker_socket(struct xdp_md *context, struct forward_work *work) {
	const struct work_packet *packet;
	struct bpf_sock_tuple tuple;
	struct bpf_sock *sock;

	if (!work)
		return 1;
	packet = &work->packet;
	__builtin_memset(&tuple, 0, sizeof(tuple));
	if (packet->flow.family == PACKET_IPV4_FAMILY) {
		tuple.ipv4.saddr = *(const __u32 *)packet->flow.remote_address;
		tuple.ipv4.daddr = *(const __u32 *)packet->local.address;
		tuple.ipv4.sport = packet->flow.remote_port;
		tuple.ipv4.dport = packet->flow.local_port;
		sock = bpf_sk_lookup_udp(context, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, packet->flow.remote_address, 16);
		__builtin_memcpy(tuple.ipv6.daddr, packet->local.address, 16);
		tuple.ipv6.sport = packet->flow.remote_port;
		tuple.ipv6.dport = packet->flow.local_port;
		sock = bpf_sk_lookup_udp(context, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sock)
		return 0;
	bpf_sk_release(sock);
	return 1;
}

/* 1: the daemon is gone, and the next one may still come in time. */
FORWARD_FUNCTION int caretaker_on_duty(struct xdp_md *context, struct forward_work *work) {
	struct fastpath_event event = {FASTPATH_VERSION, FASTPATH_EVENT_ALONE, 0};
	struct fastpath_control *switches;
	__u64 now_ns, since_ns;
	__u32 zero = 0;

	switches = bpf_map_lookup_elem(&control, &zero);
	if (!switches || !work || caretaker_socket(context, work))
		return 0;
	now_ns = bpf_ktime_get_coarse_ns();
	since_ns = *(volatile __u64 *)&switches->alone_since_ns;
	if (since_ns == 0) {
		since_ns = now_ns;
		/* Whoever hears of it lives, and looks why it was not found. */
		if (__sync_val_compare_and_swap(&switches->alone_since_ns, 0, now_ns) == 0)
			bpf_ringbuf_output(&events, &event, sizeof(event), BPF_RB_FORCE_WAKEUP);
	}
	return now_ns - since_ns < FASTPATH_CARETAKER_S * 1000000000ULL;
}
