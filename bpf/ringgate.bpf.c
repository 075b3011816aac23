/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Transit of RELOAD messages in XDP: one DTLS record is opened, decided about (forward.h), edited, sealed for the next hop and
 * sent; the previous hop gets its ack in the same run. What is not fully understood goes up untouched: all work is done on a copy,
 * and nothing shared changes before every reason to leave a datagram to the daemon has been looked at.
 *
 * Order: the tag verifies, the replay window accepts the number, and only then record and framing numbers are claimed and sealed.
 * Whoever loses at the window does nothing more, forgeries change nothing, and a number once claimed is used at most once.
 */
#include "caretaker.h"
#include "owed.h"
#include "shield.h"

INLINE int fail(struct fastpath_counters *count) {
	count->verdicts[FASTPATH_FAILED]++;
	return XDP_DROP;
}

/* The replay window of a record whose tag verified: 0, or what becomes of the datagram. */
INLINE int accept(struct forward_work *work, struct fastpath_slot *slot, struct fastpath_counters *count,
		  struct fastpath_link_counters *link_count, int *ret) {
	int accepted = record_accept(work, slot);

	if (accepted == 1)
		return 1;
	if (accepted == 0) {
		link_count->replayed++;
		*ret = work_reject(count, DROP_LINK_REPLAY);
	} else {
		*ret = work_pass(count, PASS_CONTENTION);
	}
	return 0;
}

/* ---- the way of a datagram ---- */

/* A data frame is dropped: its ack goes back all the same (FW-A03). */
INLINE int acknowledge_only(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot,
			    struct fastpath_counters *count, __u32 sequence) {
	__u32 headers = (__u32)ack_build(work, slot, count, sequence, (__u32)frame_note(slot, sequence));

	count->verdicts[FASTPATH_DROPPED]++;
	count->drops[work->verdict.reason & 63]++;
	if (headers == 0)
		return XDP_DROP;
	if (!packet_replace(context, &work->ack, headers, AEAD_HEADER + ACK_TEXT + AEAD_TAG, work->packet.frame_length))
		return fail(count);
	return (int)bpf_redirect_map(&ports, work->back.port, 0);
}

/*
 * Does an IP packet of `length` octets fit on the way? The device itself is asked too: it can have become smaller since the daemon
 * looked at it last, and a frame that is too long for it is lost without a word.
 */
INLINE int hop_takes(struct xdp_md *context, struct fastpath_hop *hop, __u32 length) {
	__u32 device = length;

	return length <= hop->mtu && bpf_check_mtu(context, hop->ifindex, &device, 0, 0) == 0;
}

/* A data frame in work->in.text of work->packet.text_length octets. */
INLINE int data_frame(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot, struct fastpath_settings *set,
		      struct fastpath_counters *count, struct fastpath_link_counters *link_count, __u64 misses) {
	__u32 sequence = load_u32(&work->in.text[1]), pads_ran_out, number, pair, text, ip, headers, ack_headers;
	struct fastpath_link_counters *next_count;
	struct fastpath_slot *next;
	void *pair_map;
	int action, result, owed;

	work->node = set->node;
	work->arrival = slot->link;
	work->length = work->packet.text_length - FORWARD_FRAME_DATA;
	work->input_flags = 0;
	action = forward_decide(work);
	if (*(volatile __u32 *)&set->version != work->settings_version)
		return work_pass(count, PASS_TABLES);
	work->for_daemon = 1;
	work->sequence = sequence;
	if (action == FORWARD_LOCAL)
		return work_pass(count, PASS_LOCAL);
	if (action == FORWARD_PUNT)
		return work_pass(count, PASS_PUNT);
	if (action == FORWARD_DROP && (work->verdict.error_code || work->verdict.flags & FORWARD_CLOSE_LINK))
		return work_pass(count, PASS_ERROR);
	work->for_daemon = 0;
	if (!hop_read(slot, &work->back))
		return work_pass(count, PASS_HOP);
	if (slot->record.tx_next >> NUMBER_LIMIT_BITS)
		return work_pass(count, PASS_NUMBERS);
	pair = work->back.port * FASTPATH_PORTS_MAX + work->back.port;
	if (!bpf_map_lookup_elem(&pairs, &pair))
		return work_pass(count, PASS_HOP); /* not attached, or not natively */
	if (action == FORWARD_DROP) {
		if (!accept(work, slot, count, link_count, &result))
			return result;
		link_count->received++;
		link_count->received_octets += work->length;
		link_count->acks_sent++;
		return acknowledge_only(context, work, slot, count, sequence);
	}

	number = work->verdict.slot;
	next = bpf_map_lookup_elem(&slots, &number);
	next_count = bpf_map_lookup_elem(&link_counters, &number);
	if (!next || !next_count || !slot_usable(next))
		return work_pass(count, PASS_NEXT_LINK);
	if (!hop_read(next, &work->onward))
		return work_pass(count, PASS_HOP);
	text = FORWARD_FRAME_DATA + work->verdict.length;
	ip = text + AEAD_HEADER + AEAD_TAG + 8 + (next->record.family == PACKET_IPV4_FAMILY ? 20 : 40);
	if (text > FASTPATH_TEXT_MAX || !hop_takes(context, &work->onward, ip))
		return work_pass(count, PASS_MTU); /* FW-E09: the daemon splits it */
	if (next->record.tx_next >> NUMBER_LIMIT_BITS)
		return work_pass(count, PASS_NUMBERS);
	if (text > set->compute_max && !pad_find(next->tx_ring, next->record.tx_next, text)) {
		pads_want(next, number, count);
		return work_pass(count, PASS_NO_PAD);
	}
	pair = work->back.port * FASTPATH_PORTS_MAX + work->onward.port;
	pair_map = bpf_map_lookup_elem(&pairs, &pair);
	if (!pair_map)
		return work_pass(count, PASS_HOP);
	if (congested(work, next))
		return work_pass(count, PASS_CONGESTION);
	if (!accept(work, slot, count, link_count, &result))
		return result;

	/* From here on it is ours. */
	link_count->received++;
	link_count->received_octets += work->length;
	link_count->acks_sent++;
	owed = owed_possible(work, set);
	ack_headers = owed ? 0 : (__u32)ack_build(work, slot, count, sequence, (__u32)frame_note(slot, sequence));
	headers = (__u32)message_build(work, slot, next, count);
	if (headers == 0 || (!owed && (ack_headers == 0 || !pending_fill(work, headers, ack_headers))))
		return fail(count);
	if (!packet_replace(context, &work->out, headers, AEAD_HEADER + text + AEAD_TAG, work->packet.frame_length))
		return fail(count);
	next_count->sent++;
	next_count->sent_octets += work->verdict.length;
	count->verdicts[FASTPATH_FORWARDED]++;
	pads_ran_out = count->pad_misses + count->ack_pad_misses != misses;
	if (pads_ran_out && next->tx_ring != FASTPATH_RING_NONE)
		pads_want(next, number, count);
	else if (next->record.tx_next % PADS_LOOK_EVERY < 2)
		pads_look(next, next->tx_ring, next->record.tx_next, number, count);
	if (pads_ran_out && slot->rx_ring != FASTPATH_RING_NONE)
		pads_want(slot, work->packet.slot, count);
	if (!owed)
		return (int)bpf_redirect_map(pair_map, 0, BPF_F_BROADCAST);
	owed_add(work, slot, sequence);
	return (int)bpf_redirect_map(&ports, work->onward.port, 0);
}

INLINE int ack_frame(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot, struct fastpath_settings *set,
		     struct fastpath_counters *count, struct fastpath_link_counters *link_count) {
	__u32 sequence = load_u32(&work->in.text[1]);
	int result;

	if (!link_sequence_is_kernels(slot, sequence))
		return work_pass(count, PASS_OWN_ACK);
	if (!accept(work, slot, count, link_count, &result))
		return result;
	ack_note(work, slot, sequence);
	link_count->acks_received++;
	count->verdicts[FASTPATH_ACK]++;
	return owed_send(context, work, set, count);
}

enum { RECORD_ONE, RECORD_FIRST, RECORD_OTHER };

/* Does what was loaded begin with a record with application data of epoch 1? Then its number and length are noted. */
INLINE int record_read(struct forward_work *work) {
	struct work_packet *packet = &work->packet;
	const __u8 *header = work->in.header;
	__u32 length = (__u32)header[11] << 8 | header[12];

	if (packet->payload_length < AEAD_HEADER + AEAD_TAG || length < AEAD_TAG || length > packet->payload_length - AEAD_HEADER)
		return RECORD_OTHER;
	if (header[0] != AEAD_APPLICATION || header[1] != 0xfe || header[2] != 0xfd || header[3] != 0 || header[4] != 1)
		return RECORD_OTHER;
	packet->number = (__u64)header[5] << 40 | (__u64)header[6] << 32 | load_u32(&header[7]);
	packet->text_length = length - AEAD_TAG;
	return length == packet->payload_length - AEAD_HEADER ? RECORD_ONE : RECORD_FIRST;
}

/*
 * Numbers of a link go up by one. A record that is more than FAR_NUMBERS ahead of all that came follows the loss of as many others,
 * or it is forged; there is no pad for it, and computing one to see that its tag is wrong is the most that a datagram of a stranger
 * can cost. So no more than FAR_PER_TICK of such are looked at in a tick of 1 to 10 ms: enough that after a loss the link's own
 * records get through besides forged ones, since one of them that does moves the window on, and those behind it are not far any
 * more. While a handshake is going on, all go up.
 */
enum { FAR_NUMBERS = FASTPATH_PAD_RING, FAR_PER_TICK = 16 };

INLINE int record_is_far(struct forward_work *work, struct fastpath_slot *slot) {
	__u64 tick;

	if (work->packet.number < slot->record.rx_end + FAR_NUMBERS || slot->flags & FASTPATH_SLOT_HANDSHAKE)
		return 0;
	tick = bpf_jiffies64();
	if (slot->far_tick != tick) {
		slot->far_tick = tick;
		slot->far_count = 0;
	}
	if (slot->far_count >= FAR_PER_TICK)
		return 1;
	slot->far_count++;
	return 0;
}

INLINE int same_address(const __u8 *a, const __u8 *b) {
	const __u32 *x = (const __u32 *)a, *y = (const __u32 *)b;

	return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])) == 0;
}

/* A datagram of a link. */
INLINE int link_datagram(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot,
			 struct fastpath_settings *set, struct fastpath_counters *count,
			 struct fastpath_link_counters *link_count) {
	__u64 misses = count->pad_misses + count->ack_pad_misses; /* so far */
	__u32 length, reason;
	int opened, kind;

	if (!same_address(work->packet.local.address, slot->record.local_address))
		return work_pass(count, PASS_ADDRESS);
	if (work->packet.payload_length > PACKET_DATAGRAM_MAX)
		return work_pass(count, PASS_SIZE);
	kind = record_read(work);
	if (kind == RECORD_OTHER) {
		if (!(set->flags & FASTPATH_SHIELD))
			return work_pass(count, PASS_RECORD);
		/* With application data: another epoch or version, or cut off. */
		reason = work->in.header[0] == AEAD_APPLICATION ? DROP_SHIELD : (__u32)shield_link(work, set);
		return reason ? work_reject(count, reason) : work_pass(count, PASS_RECORD);
	}
	if (kind == RECORD_FIRST && !(set->flags & FASTPATH_SHIELD))
		return work_pass(count, PASS_RECORD);
	if (!link_window_would_accept(&slot->record, work->packet.number)) {
		link_count->replayed++;
		return work_reject(count, DROP_LINK_REPLAY);
	}
	if (record_is_far(work, slot))
		return work_reject(count, DROP_LINK_FAR);
	length = work->packet.payload_length - AEAD_HEADER;
	if (bpf_xdp_load_bytes(context, work->packet.payload + AEAD_HEADER, work->in.text,
			       work_length(length, PACKET_DATAGRAM_MAX - AEAD_HEADER)) < 0)
		return work_pass(count, PASS_FRAGMENT); /* not linear */
	opened = record_open(work, slot, count, set->compute_max);
	if (opened == OPEN_FORGED) {
		if (slot->flags & FASTPATH_SLOT_HANDSHAKE)
			return work_pass(count, PASS_HANDSHAKE);
		link_count->forged++;
		return work_reject(count, DROP_LINK_BAD_TAG);
	}
	if (kind == RECORD_FIRST) /* others follow it: opened here only to see that it is none of a stranger */
		return work_pass(count, PASS_RECORD);
	if (opened == OPEN_NO_PAD) {
		pads_want(slot, work->packet.slot, count);
		return work_pass(count, PASS_NO_PAD);
	}
	if (opened != OPEN_OK)
		return work_pass(count, PASS_CONTENTION);
	length = work->packet.text_length;
	if (length > slot->rx_longest)
		slot->rx_longest = length;
	if (work->packet.number % PADS_LOOK_EVERY == 0)
		pads_look(slot, slot->rx_ring, work->packet.number, work->packet.slot, count);
	if (length == ACK_TEXT && work->in.text[0] == FORWARD_FRAME_TYPE_ACK)
		return ack_frame(context, work, slot, set, count, link_count);
	if (length >= FORWARD_FRAME_DATA && work->in.text[0] == FORWARD_FRAME_TYPE_DATA &&
	    (load_u32(&work->in.text[4]) & 0xffffff) == length - FORWARD_FRAME_DATA)
		return data_frame(context, work, slot, set, count, link_count, misses);
	if (accept(work, slot, count, link_count, &opened))
		return work_reject(count, DROP_BAD_FRAME); /* FW-A02 */
	return opened;
}

/* A datagram of a link that goes up, and nobody is there (caretaker.h). */
INLINE int caretake(struct xdp_md *context, struct forward_work *work, struct fastpath_slot *slot, struct fastpath_counters *count,
		    struct fastpath_link_counters *link_count) {
	__u32 pair;
	int result;

	if (!caretaker_on_duty(context, work))
		return XDP_PASS;
	count->verdicts[FASTPATH_PASSED]--;
	if (!work->for_daemon || !hop_read(slot, &work->back) || slot->record.tx_next >> NUMBER_LIMIT_BITS)
		return work_reject(count, DROP_NO_DAEMON);
	pair = work->back.port * FASTPATH_PORTS_MAX + work->back.port;
	if (!bpf_map_lookup_elem(&pairs, &pair))
		return work_reject(count, DROP_NO_DAEMON);
	if (!accept(work, slot, count, link_count, &result))
		return XDP_DROP;
	link_count->received++;
	link_count->received_octets += work->length;
	link_count->acks_sent++;
	work->verdict.reason = DROP_NO_DAEMON;
	return acknowledge_only(context, work, slot, count, work->sequence);
}

/*
 * The slot of the flow of work->packet: 1, or 0 when there is none. Each of WORK_FLOWS places remembers what was found last: no
 * hash, no comparison by call.
 */
INLINE int flow_find(struct forward_work *work, __u32 *ret) {
	const __u64 *flow = (const __u64 *)&work->packet.flow, *held;
	__u32 version = work->flows_version, place;
	struct fastpath_flow_target *target;
	struct work_flow *known;

	place = (__u32)flow[0] ^ (__u32)(flow[1] >> 32) ^ (__u32)flow[2]; /* IPv4 address, end of an IPv6 address, ports */
	place ^= place >> 16;
	place ^= place >> 8; /* addresses and ports differ in the last octet, which is the highest of the word or half word */
	known = &work->known[place & (WORK_FLOWS - 1)];
	held = (const __u64 *)&known->flow;
	if (((held[0] ^ flow[0]) | (held[1] ^ flow[1]) | (held[2] ^ flow[2])) == 0 && known->version == version) {
		*ret = known->slot;
		return 1;
	}
	target = bpf_map_lookup_elem(&flows, &work->packet.flow);
	if (!target)
		return 0;
	*ret = known->slot = target->slot;
	known->version = version;
	known->flow = work->packet.flow;
	return 1;
}

/* A datagram to one of our ports, with work->packet filled in. */
INLINE int datagram(struct xdp_md *context, struct forward_work *work, struct fastpath_control *switches,
		    struct fastpath_settings *set, struct fastpath_counters *count) {
	struct fastpath_link_counters *link_count;
	struct fastpath_slot *slot;
	__u32 length = work->packet.payload_length, number;
	int result;

	if (length > 0 && work->packet.frame_length - work->packet.payload < PACKET_PEEK &&
	    bpf_xdp_load_bytes(context, work->packet.payload, work->in.header, work_length(length, PACKET_PEEK)) < 0)
		return work_pass(count, PASS_FRAGMENT); /* not linear */
	/* Before the map: the daemon writes the version behind it. */
	work->flows_version = *(volatile const __u32 *)&switches->flows_version;
	if (length > 0 && work->in.header[0] != AEAD_APPLICATION && set->flags & FASTPATH_SHIELD) {
		number = (__u32)shield_early(work, set);
		if (number)
			return work_reject(count, number);
	}
	if (!flow_find(work, &number))
		return shield_examine(work, set, count);
	if (!(set->flags & FASTPATH_FORWARD) || work_coarse_ns(work) > switches->forward_until_ns)
		return work_pass(count, PASS_OFF);
	work->packet.slot = number;
	slot = bpf_map_lookup_elem(&slots, &number);
	link_count = bpf_map_lookup_elem(&link_counters, &number);
	if (!slot || !link_count || !slot_usable(slot))
		return work_pass(count, PASS_LINK);
	work->for_daemon = 0;
	result = link_datagram(context, work, slot, set, count, link_count);
	if (result == XDP_PASS && set->flags & FASTPATH_CARETAKER)
		result = caretake(context, work, slot, count, link_count);
	return result;
}

SEC("xdp")
int ringgate(struct xdp_md *context) {
	struct fastpath_counters *count;
	struct fastpath_settings *set;
	struct fastpath_control *switches;
	struct forward_work *work;
	__u32 zero = 0, active;
	int result;

	switches = bpf_map_lookup_elem(&control, &zero);
	work = bpf_map_lookup_elem(&works, &zero);
	count = bpf_map_lookup_elem(&counters, &zero);
	if (!switches || !work || !count)
		return XDP_PASS;
	active = *(volatile __u32 *)&switches->active;
	set = bpf_map_lookup_elem(&settings, &active);
	if (!set)
		return XDP_PASS;
	/* A packet may arrive in the middle of a run by BPF_PROG_RUN, on kernels before 6.11. */
	if (work->busy)
		return work_pass(count, PASS_BUSY);
	work->busy = 1;
	result = packet_parse(context, work, set);
	if (result == PACKET_FOREIGN) {
		result = XDP_PASS;
	} else if (result == PACKET_ODD) {
		result = work_pass(count, PASS_FRAGMENT);
	} else {
		work->settings_version = *(volatile __u32 *)&set->version;
		work->route_base = active * LAYOUT_ROUTES_MAX;
		result = work->settings_version & 1 ? work_pass(count, PASS_TABLES) : datagram(context, work, switches, set, count);
	}
	work->busy = 0;
	return result;
}

/*
 * On the way out of a device, for the two copies of a message. The first copy on the device of the previous hop becomes the ack,
 * the other one the message: when both leave by the same device, they come one behind the other.
 * Frames that are one copy only leave as they are. They pass here too, because a device sends its queue with the program of the
 * first frame in it, whatever map the others came by.
 */
SEC("xdp/devmap")
int ringgate_egress(struct xdp_md *context) {
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct fastpath_pending *pending;
	struct fastpath_counters *count;
	__u32 zero = 0, place, length;
	__u64 mark;

	if (data + 14 > end)
		return XDP_DROP;
	mark = *(__u64 *)data;
	if (!(mark & FASTPATH_MARK & 0xff))
		return XDP_PASS;
	count = bpf_map_lookup_elem(&counters, &zero);
	if (!count)
		return XDP_DROP;
	place = mark >> FASTPATH_MARK_PLACE & (FASTPATH_PENDING - 1);
	pending = bpf_map_lookup_elem(&pendings, &place);
	if (!pending || pending->mark != mark) {
		count->egress_failed++;
		return XDP_DROP;
	}
	if (context->egress_ifindex != pending->ack_ifindex || pending->ack_done) {
		*(__u64 *)data = *(__u64 *)pending->ethernet;
		*(__u32 *)(data + 8) = *(__u32 *)&pending->ethernet[8];
		return XDP_PASS;
	}
	pending->ack_done = 1;
	length = pending->ack_length;
	if (bpf_xdp_adjust_tail(context, (int)length - (int)(end - data)) < 0) {
		count->egress_failed++;
		return XDP_DROP;
	}
	if (length == 0 || length > FASTPATH_FRAME_MAX ||
	    bpf_xdp_store_bytes(context, 0, pending->ack, work_length(length, FASTPATH_FRAME_MAX)) < 0) {
		count->egress_failed++;
		return XDP_DROP;
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
