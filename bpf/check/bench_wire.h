/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What tests/bench/bench_fastpath.c and the programs of bench_wire.bpf.c share. */
#pragma once

#include <linux/types.h>

enum {
	WIRE_FRAMES = 32768, /* prepared frames of one measurement */
	WIRE_FRAME_MAX = 1532,
	WIRE_ACK_MAX = 124,
	WIRE_SAMPLES = 1024,
	WIRE_SLICE_MESSAGES = 512,
	WIRE_SLICES = WIRE_FRAMES / WIRE_SLICE_MESSAGES,
	WIRE_CAPTURE_EVERY = 64,
	WIRE_FLOODS = 4096, /* prepared datagrams of a flood */
	WIRE_FLOOD_MAX = 508,
	WIRE_IDLE_LOOKS = 4, /* at the clock, some 100 ns, when there is nothing to send */
	WIRE_FLOOD_LATE = 8, /* datagrams of it that may be late */
	WIRE_FLOOD_WINDOW =
		24, /* a peer that stands still, because others have its core, is not flooded on: its ring would overflow */
};

struct wire_frame {
	__u32 length; /* octets from the Ethernet header on */
	__u8 octets[WIRE_FRAME_MAX];
};

struct wire_ack {
	__u32 length;
	__u8 octets[WIRE_ACK_MAX];
};

struct wire_flood {
	__u32 length;
	__u8 octets[WIRE_FLOOD_MAX];
};

/* Both neighbors of the transit peer, as their side of the wire sees it. */
struct wire {
	/* set before a run */
	__u64 total;	      /* messages A is to send */
	__u64 window;	      /* of them under way at once */
	__u64 interval_ns;    /* between two of them; 0: as soon as there is room */
	__u32 a, b;	      /* addresses, network order */
	__u32 message_length; /* of B's frames with a message: from the Ethernet header on */
	__u32 ack_length;     /* of A's frames with an ack */
	__u64 flood_ns;	      /* between two datagrams of a flood; 0: none */
	__u32 floods;	      /* prepared datagrams it goes through */
	__u32 copies;	      /* wire_floor: acknowledges in a copy of the message, else in the frame of the next hop's ack */

	/* filled in */
	__u64 sent, sent_ns;	 /* A's messages; when the last one left */
	__u64 acks_sent;	 /* B's */
	__u64 delivered;	 /* messages that reached B */
	__u64 acks_received;	 /* that reached A */
	__u64 strange;		 /* frames to A or B that are neither */
	__u64 first_ns, last_ns; /* when A's first message left, when the last one reached B */
	__u64 next_ns;
	__u64 flooded, next_flood_ns;	/* datagrams of the flood */
	__u64 flooded_before;		/* when a message reached B last */
	__u64 answers;			/* frames to others than A and B */
	__u32 latency_ns[WIRE_SAMPLES]; /* of message n % WIRE_SAMPLES */
	struct wire_frame message, ack; /* every WIRE_CAPTURE_EVERYth of them, as it came; `captured` of both */
	__u64 captured_message, captured_ack;
	__u64 at_ns[WIRE_SLICES];   /* when WIRE_SLICE_MESSAGES * (n + 1) messages were there (CLOCK_MONOTONIC) */
	__u64 used_ns[WIRE_SLICES]; /* by the peer's tasks up to then; 0: not known */
};

/* Who has the transit peer's processor, kept by wire_switch. */
struct wire_core {
	/* set by the program */
	__u32 processor;
	__u32 process, poller; /* the peer's tasks: all threads of that process, and this thread */

	/* filled in */
	__u32 own;	/* one of the peer's tasks has the processor */
	__u64 changes;	/* odd while what follows is being written */
	__u64 since_ns; /* when that began (CLOCK_MONOTONIC) */
	__u64 used_ns;	/* by the peer's tasks before */
};
