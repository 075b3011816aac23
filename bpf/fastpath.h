/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Values of the maps that the XDP program shares with the daemon. Sized types, explicit padding, sizes asserted. Raise
 * FASTPATH_VERSION when anything here changes: a restarted daemon adopts pinned maps only if the version is its own.
 *
 * Who writes what: the daemon everything but the fields marked "kernel", which both sides change by the atomic functions of
 * link_state.h only. A slot is filled first and then made reachable (flows, node_slots, FORWARD_LINK_UP); it is made unreachable,
 * and programs that still run are waited for (fastpath_quiesce()), before its keys are wiped or replaced.
 */
#pragma once

#include "layout.h"

enum {
	FASTPATH_VERSION = 6,
	FASTPATH_TEXT_MAX = 1472, /* octets of plaintext in one record; what is larger goes up */
	FASTPATH_PAD_KEYSTREAM = 1536,
	FASTPATH_PAD_RING = 256,     /* pads of a ring, a power of two: NAPI budget 64, reordering 16, and what is being refilled */
	FASTPATH_RINGS_DEFAULT = 64, /* rings: two for every hot link */
	FASTPATH_RING_NONE = 0xffff,
	FASTPATH_PORTS_MAX = 8, /* interfaces */
	FASTPATH_PAIRS = FASTPATH_PORTS_MAX * FASTPATH_PORTS_MAX,
	FASTPATH_UDP_PORTS = 4,	       /* UDP ports of this node */
	FASTPATH_PENDING = 128,	       /* acks of one CPU between program run and transmission: more than a NAPI budget of 64 */
	FASTPATH_OWN_SEQUENCES = 1024, /* framing numbers for which it is known who sent them */
	FASTPATH_WINDOW_WORDS = 8,
	FASTPATH_FRAME_MAX = 104, /* Ethernet, VLAN tag, IPv6, UDP, record with an ack */
	FASTPATH_EVENTS_OCTETS = 65536,
	FASTPATH_FLOWS_MAX = 8192,
	FASTPATH_LISTENERS_MAX = 256,
	FASTPATH_PREFIXES_MAX = 16384,
	FASTPATH_ACCESS_MAX = 4096,
	FASTPATH_TABLES = 2, /* one in use, one being written */
	FASTPATH_MTU_MAX = 1500,
	FASTPATH_CERTIFICATE_MAX = 8192, /* octets of DER */
	FASTPATH_CARETAKER_S = 30,	 /* so long the links of a daemon that is gone are kept up for the next one */
};

/*
 * Octet for octet struct record_state of userspace/link/record.h, except that rx_window has the form of link_state.h and rx_end is
 * advice: the highest number accepted, plus one, more or less. One copy for kernel and daemon.
 */
struct fastpath_record {
	__u8 cipher; /* 1: CHACHA20-POLY1305, the only one of the fast path */
	__u8 iv_length;
	__u8 key_length;
	__u8 reserved[5];
	__u8 tx_key[32];
	__u8 rx_key[32];
	__u8 tx_iv[12];
	__u8 rx_iv[12];
	__u64 tx_next;				/* kernel */
	__u64 rx_end;				/* kernel */
	__u64 rx_window[FASTPATH_WINDOW_WORDS]; /* kernel */
	__u8 local_address[16];			/* IPv4 in the first four octets */
	__u8 remote_address[16];
	__u16 local_port, remote_port; /* host order */
	__u16 family;		       /* 2 IPv4, 10 IPv6 */
	__u16 mtu;
};
_Static_assert(sizeof(struct fastpath_record) == 216, "layout");

enum fastpath_hop_flags {
	FASTPATH_HOP_VALID = 0x01, /* addresses and device are current */
};

/* Layer 2 of a link, kept current by the netlink watcher. `version` is odd while it is being written. */
struct fastpath_hop {
	__u32 version;
	__u32 ifindex;
	__u8 destination[6];
	__u8 source[6];
	__u16 vlan; /* tag control, host order; 0: untagged */
	__u8 port;  /* number of the interface, 0 to FASTPATH_PORTS_MAX - 1 */
	__u8 flags; /* enum fastpath_hop_flags */
	__u16 mtu;  /* octets of an IP packet: the least of device and path */
	__u8 hop_limit;
	__u8 traffic_class;
};
_Static_assert(sizeof(struct fastpath_hop) == 28, "layout");

enum fastpath_slot_flags {
	FASTPATH_SLOT_ACTIVE = 0x01,	/* the kernel may open and seal records of this link */
	FASTPATH_SLOT_HANDSHAKE = 0x02, /* a new handshake is under way: what these keys do not open goes up */
	FASTPATH_SLOT_TRIAL = 0x04,	/* what the kernel sent got no acks earlier: no more than `trial_credits` messages */
};

/* A link. */
struct fastpath_slot {
	struct fastpath_record record;
	struct forward_link link;
	struct fastpath_hop hop;
	__u32 flags; /* enum fastpath_slot_flags */

	/* framing (RFC 6940 6.6.2) */
	__u32 tx_sequence;	/* kernel: number of the next data frame, whoever sends it */
	__u32 acked;		/* kernel: highest number acknowledged, plus one */
	__u64 received;		/* kernel: numbers received, link_received_note() */
	__u32 unacked_limit;	/* data frames sent and not acknowledged (RFC 5405); 0: no limit */
	__u32 rtt_sequence;	/* kernel: data frame whose round trip is being measured */
	__u64 rtt_sent_ns;	/* kernel: when it left; 0: none */
	__u32 rtt_us;		/* kernel: smoothed, 0: unknown */
	__u32 trial_credits;	/* kernel: counts down, with FASTPATH_SLOT_TRIAL */
	__u64 last_received_ns; /* kernel: CLOCK_MONOTONIC, coarse */
	__u64 last_acked_ns;	/* kernel */
	__u64 probe_ns;		/* kernel: last frame sent although the limit was reached */

	/* pads */
	__u16 rx_ring, tx_ring;	      /* FASTPATH_RING_NONE: this link is not hot */
	__u32 rx_longest, tx_longest; /* kernel raises, the worker sets to 0: the longest plaintext since then, in octets */
	__u32 wanted; /* kernel sets, the worker clears before it looks: pads run out; 2: the worker was woken for it */

	/* kernel and daemon: bit n % FASTPATH_OWN_SEQUENCES: the daemon sent data frame n, its ack goes up */
	__u64 own[FASTPATH_OWN_SEQUENCES / 64];

	/* kernel: records far ahead of rx_end that were looked at in this tick */
	__u64 far_tick;
	__u32 far_count;
	__u8 reserved[20];
};
_Static_assert(sizeof(struct fastpath_slot) == 512, "layout");
_Static_assert(__builtin_offsetof(struct fastpath_slot, received) % 8 == 0, "alignment");

/* Counters of a link, one copy for each CPU. */
struct fastpath_link_counters {
	__u64 received, received_octets; /* data frames that were decided about */
	__u64 sent, sent_octets;	 /* data frames sent on */
	__u64 acks_received, acks_sent;
	__u64 forged, replayed;
};
_Static_assert(sizeof(struct fastpath_link_counters) == 64, "layout");

/*
 * What one record needs of the key; octet for octet struct pad of userspace/fastpath/pad_ring.h. The producer sets `number` to 0,
 * writes the pad, and sets the number, with release order; whoever uses the pad swaps the number for 0 afterwards and has used it
 * only if that succeeded.
 */
struct fastpath_pad {
	__u64 number; /* with the epoch in the upper 16 bits; 0: none */
	__u32 length; /* octets of keystream, a multiple of 64 */
	__u32 reserved[5];
	__u8 poly_key[32];
	__u8 keystream[FASTPATH_PAD_KEYSTREAM];
};
_Static_assert(sizeof(struct fastpath_pad) == 1600, "layout");

/* Whose datagrams belong to which link. Port order is that of the network, unused octets of an address are zero. */
struct fastpath_flow {
	__u8 remote_address[16];
	__u16 remote_port, local_port;
	__u16 family;
	__u16 reserved;
};
_Static_assert(sizeof(struct fastpath_flow) == 24, "layout");

/* A flow the daemon knows but serves itself has slot LAYOUT_SLOT_NONE. */
struct fastpath_flow_target {
	__u32 slot;
};

/* Own addresses: the shield stands in front of these only. */
struct fastpath_listener {
	__u8 address[16];
	__u16 port; /* network order */
	__u16 family;
};
_Static_assert(sizeof(struct fastpath_listener) == 20, "layout");

enum fastpath_settings_flags {
	FASTPATH_FORWARD = 0x01,   /* off: the shield alone */
	FASTPATH_SHIELD = 0x02,	   /* drop what has no business on our ports */
	FASTPATH_ACCESS = 0x04,	   /* consult `access` for addresses without a link */
	FASTPATH_CARETAKER = 0x08, /* look whether the daemon lives before it gets a datagram of a link (caretaker.h) */
};

/* One of two sets of tables: settings[n] with routes[n * LAYOUT_ROUTES_MAX ...]. `version` is odd while it is being written. */
struct fastpath_settings {
	struct forward_node node;
	__u32 version;
	__u32 flags;			       /* enum fastpath_settings_flags */
	__u16 udp_ports[FASTPATH_UDP_PORTS];   /* network order; 0: none */
	__u32 compute_max;		       /* octets of plaintext whose keystream is computed here when there is no pad */
	__u32 hello_rate, hello_burst;	       /* ClientHellos of a source prefix: a second, at once */
	__u32 plain_rate, plain_burst;	       /* other handshake, alert and STUN datagrams */
	__u32 all_hello_rate, all_hello_burst; /* ClientHellos of all prefixes together that come in on one CPU */
	__u8 prefix4, prefix6;		       /* bits of a source prefix */
	__u16 ack_wait; /* tens of microseconds since an ack came during which acks wait for the next one's frame; 0: never */
};
_Static_assert(sizeof(struct fastpath_settings) == 96, "layout");

struct fastpath_control {
	__u32 version; /* FASTPATH_VERSION */
	__u32 active;  /* which of the two sets is in use */

	/*
	 * CLOCK_MONOTONIC. Later nothing is forwarded any more: certificates expire and are revoked, and nobody would know. The
	 * daemon moves it on while it lives. All ones: for ever.
	 */
	__u64 forward_until_ns;
	__u64 alone_since_ns; /* kernel: when the daemon was missed first, 0: it was not. The next daemon clears it */

	__u32 ports[FASTPATH_PORTS_MAX]; /* index of the interface with that number, 0: none */
	__u32 flows_version; /* the daemon counts on after each change of `flows`: CPUs remember what they found there */
	__u32 reserved;
};
_Static_assert(sizeof(struct fastpath_control) == 64, "layout");

/* What else the next daemon must know of a link to go on with it. Public: the secrets are in the slot. */
struct fastpath_peer {
	__u32 length; /* octets of certificate */
	__u8 generation;
	__u8 initiated; /* by us */
	__u8 reserved[2];
	__u8 certificate[FASTPATH_CERTIFICATE_MAX]; /* of the other side, DER */
};
_Static_assert(sizeof(struct fastpath_peer) == 8 + FASTPATH_CERTIFICATE_MAX, "layout");

/* Token buckets of a source prefix, in thousandths. */
struct fastpath_bucket {
	__u64 stamp_ns;
	__u32 hello, plain;
};

struct fastpath_access_key {
	__u32 bits; /* of prefix: 96 more for IPv4, which stands in ::ffff:0:0/96 */
	__u8 address[16];
};
enum fastpath_access { FASTPATH_ACCESS_ALLOW = 1, FASTPATH_ACCESS_DENY = 2 };

enum fastpath_event_type {
	FASTPATH_EVENT_PADS = 1,  /* `slot` wants pads, or rings when it has none */
	FASTPATH_EVENT_ALONE = 2, /* a datagram for the daemon, and no socket of it */
};

struct fastpath_event {
	__u16 version; /* FASTPATH_VERSION */
	__u16 type;    /* enum fastpath_event_type */
	__u32 slot;
};
_Static_assert(sizeof(struct fastpath_event) == 8, "layout");

/*
 * An ack on its way out, and what the program on the egress device has to put right. The frame that leaves XDP carries `mark` in
 * place of its Ethernet addresses; the copy for the previous hop becomes `ack`, the other one gets the addresses of the next hop.
 */
struct fastpath_pending {
	__u64 mark;
	__u32 ack_ifindex;
	__u16 ack_length;
	__u8 ack_done;
	__u8 reserved;
	__u8 ethernet[16]; /* of the message forwarded; 12 octets are used */
	__u8 ack[FASTPATH_FRAME_MAX];
	__u8 slack[8];
};
_Static_assert(sizeof(struct fastpath_pending) == 144, "layout");
/*
 * Upper half of `mark`: number of the message; lower half: this, and the place at FASTPATH_MARK_PLACE. The lowest bit stands where
 * Ethernet marks group addresses: a frame that leaves with the addresses of a next hop is never taken for a marked one.
 */
#define FASTPATH_MARK 0x52470001ULL
enum { FASTPATH_MARK_PLACE = 1 };
_Static_assert(FASTPATH_PENDING << FASTPATH_MARK_PLACE <= 256, "in one octet");

/* What became of a datagram to one of our ports. */
#define FASTPATH_VERDICTS(X)                                                                                                       \
	X(0, FORWARDED, forwarded) /* data frame: sent on and acknowledged */                                                      \
	X(1, DROPPED, dropped)	   /* data frame: acknowledged and dropped, with a reason */                                       \
	X(2, ACK, ack)		   /* ack frame: consumed */                                                                       \
	X(3, REJECTED, rejected)   /* datagram: dropped before it was read, with a reason */                                       \
	X(4, PASSED, passed)	   /* handed to the daemon, with a pass reason */                                                  \
	X(5, FAILED, failed)	   /* lost: could not be written or redirected */

enum fastpath_verdict {
#define X(number, symbol, name) FASTPATH_##symbol = number,
	FASTPATH_VERDICTS(X)
#undef X
		FASTPATH_VERDICT_COUNT,
};

/* Why a datagram went up. The first ones tell about the datagram, the later ones about the link or the message. */
#define FASTPATH_PASSES(X)                                                                                                         \
	X(0, NONE, none)                                                                                                           \
	X(1, OFF, off)		      /* forwarding is not switched on */                                                          \
	X(2, UNKNOWN, unknown)	      /* no link: handshakes, alerts, STUN */                                                      \
	X(3, LINK, link)	      /* the daemon serves this link itself */                                                     \
	X(4, ADDRESS, address)	      /* the flow is known, but it is not to the address of the link */                            \
	X(5, RECORD, record)	      /* not exactly one record of epoch 1 with application data */                                \
	X(6, SIZE, size)	      /* longer than FASTPATH_TEXT_MAX */                                                          \
	X(7, FRAGMENT, fragment)      /* of IP, or options, or extension headers */                                                \
	X(8, HANDSHAKE, handshake)    /* not opened by the keys while new ones are being agreed on */                              \
	X(9, OWN_ACK, own_ack)	      /* for a frame of the daemon, or of nobody */                                                \
	X(10, LOCAL, local)	      /* FORWARD_LOCAL */                                                                          \
	X(11, PUNT, punt)	      /* FORWARD_PUNT */                                                                           \
	X(12, ERROR, error)	      /* dropped with an answer, or the link must be closed */                                     \
	X(13, NEXT_LINK, next_link)   /* the daemon serves the next hop's link itself */                                           \
	X(14, HOP, hop)		      /* device or neighbor of a link is not known at the moment */                                \
	X(15, MTU, mtu)		      /* too long for the next hop */                                                              \
	X(16, NO_PAD, no_pad)	      /* no pad, and longer than what is computed here */                                          \
	X(17, CONGESTION, congestion) /* too many frames not acknowledged */                                                       \
	X(18, TABLES, tables)	      /* tables changed meanwhile */                                                               \
	X(19, CONTENTION, contention) /* another CPU was at the same word all the time */                                          \
	X(20, BUSY, busy)	      /* the working storage of this CPU is in use */                                              \
	X(21, NUMBERS, numbers)	      /* record numbers are used up */

enum fastpath_pass {
#define X(number, symbol, name) PASS_##symbol = number,
	FASTPATH_PASSES(X)
#undef X
		FASTPATH_PASS_COUNT,
};
_Static_assert(FASTPATH_PASS_COUNT <= 32, "counters have 32 places");

/* One copy for each CPU. */
struct fastpath_counters {
	__u64 verdicts[8];
	__u64 drops[64]; /* enum drop_reason */
	__u64 passes[32];
	__u64 pad_hits, pad_misses; /* data records opened or sealed with a pad, without one */
	__u64 ack_pad_hits, ack_pad_misses;
	__u64 acks_sent;
	__u64 acks_carried; /* of them those that left in the frame of an ack that came */
	__u64 acks_lost;    /* no frame came for them in time, or their link changed */
	__u64 wakeups;
	__u64 wakeups_lost;  /* ring of events full */
	__u64 egress_failed; /* frames without their counterpart on the egress device */
};
_Static_assert(sizeof(struct fastpath_counters) == 912, "layout");

#ifndef __bpf__
static inline const char *fastpath_verdict_name(unsigned verdict) {
	static const char *const names[FASTPATH_VERDICT_COUNT] = {
#define X(number, symbol, name) [number] = #name,
		FASTPATH_VERDICTS(X)
#undef X
	};

	return verdict < FASTPATH_VERDICT_COUNT ? names[verdict] : 0;
}

static inline const char *fastpath_pass_name(unsigned pass) {
	static const char *const names[FASTPATH_PASS_COUNT] = {
#define X(number, symbol, name) [number] = #name,
		FASTPATH_PASSES(X)
#undef X
	};

	return pass < FASTPATH_PASS_COUNT ? names[pass] : 0;
}
#endif
