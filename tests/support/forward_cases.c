/* SPDX-License-Identifier: BSD-2-Clause */
#include "support/forward_cases.h"

#include "wire/codes.h"
#include "wire/message.h"

#include <stdlib.h>
#include <string.h>

#define FETCH .ttl = 100, .code = FETCH_REQ
#define ANSWER .ttl = 100, .code = FETCH_ANS
#define FAILURE .ttl = 100, .code = MESSAGE_ERROR
#define LATER .ttl = 100, .fragment = FRAGMENT_ALWAYS | 600
#define LATER_LAST .ttl = 100, .fragment = FRAGMENT_NONE | 1200
#define FIRST .ttl = 100, .code = FETCH_REQ, .fragment = FRAGMENT_ALWAYS
#define DROP(why) .reason = DROP_##why
#define DROP_ERROR(why, error) .reason = DROP_##why, .error_code = error
#define SEND(to) .action = FORWARD_SEND, .slot = to
#define LOCAL .action = FORWARD_LOCAL, .reason = DROP_PUNT_LOCAL
#define ALL_PEERS (1 << 1 | 1 << 2 | 1 << 3 | 1 << 5)
#define NODE_10 "n10"

/*
 * Slot 1 n10, 2 n20, 3 n30, 5 na0: peers. 4 n70: client in our range. 6 nc0: attached, no Update yet. 7: several Node-IDs, none
 * chosen. 8 ne0: peer, suspect. 9 n50: client elsewhere. The routing table holds n10 n20 n30 na0 nc0 ne0.
 */
static const struct forward_link case_links[] = {
	{.slot = 1, .generation = 3, .id = {0x10}, .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE},
	{.slot = 2, .generation = 0, .id = {0x20}, .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE},
	{.slot = 3, .generation = 5, .id = {0x30}, .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE},
	{.slot = 4, .generation = 1, .id = {0x70}, .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_CLIENT},
	{.slot = 5, .generation = 2, .id = {0xa0}, .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE},
	{.slot = 6, .generation = 6, .id = {0xc0}, .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND},
	{.slot = 7, .generation = 4, .id = {0}, .flags = FORWARD_LINK_UP},
	{.slot = 8,
	 .generation = 7,
	 .id = {0xe0},
	 .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE | FORWARD_LINK_SUSPECT},
	{.slot = 9, .generation = 2, .id = {0x50}, .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_CLIENT},
};

const struct forward_case forward_cases[] = {
	/* ---- A ---- */
	{"FW-A04", "37 octets", .in = {FETCH, .destinations = "rb0"}, .resize = -60, DROP(SHORT)},
	{"FW-A04", "38 octets are a header", .in = {FETCH, .destinations = "", .body = ""}, DROP(DEST_EMPTY)},
	{"FW-A05", "frame longer than the message", .in = {FETCH, .destinations = "rb0"}, .resize = 1, DROP(LEN_MISMATCH)},
	{"FW-A05", "frame shorter than the message", .in = {FETCH, .destinations = "rb0"}, .resize = -1, DROP(LEN_MISMATCH)},

	/* ---- B ---- */
	{"FW-B01", "token of another protocol", .in = {FETCH, .destinations = "rb0"}, .patch = {{0, 4, 0x5245414c}}, DROP(BAD_TOKEN)},
	{"FW-B01", "one bit wrong", .in = {FETCH, .destinations = "rb0"}, .patch = {{3, 1, 0x4e}}, DROP(BAD_TOKEN)},
	{"FW-B02", "version of the drafts", .in = {FETCH, .destinations = "rb0"}, .patch = {{10, 1, 0x01}}, DROP(BAD_VERSION)},
	{"FW-B02", "version to come", .in = {FETCH, .destinations = "rb0"}, .patch = {{10, 1, 0x0b}}, DROP(BAD_VERSION)},
	{"FW-B03", "other overlay, request", .in = {FETCH, .destinations = "rb0"}, .patch = {{4, 4, 0xaf51f4e1}},
	 DROP_ERROR(BAD_OVERLAY, ERROR_INCOMPATIBLE_WITH_OVERLAY)},
	{"FW-B03", "other overlay, answer", .in = {ANSWER, .destinations = "n20"}, .patch = {{4, 4, 0xaf51f4e1}}, DROP(BAD_OVERLAY)},
	{"FW-B03", "other overlay, later fragment", .in = {LATER, .destinations = "n20"}, .patch = {{4, 4, 0xaf51f4e1}},
	 DROP(BAD_OVERLAY)},
	{"FW-B04", "header larger than any message", .in = {FETCH, .via = "c900", .destinations = "rb0"}, .flags = FORWARD_CLOSE_LINK,
	 DROP(HDR_TOO_LARGE)},
	{"FW-B04", "header just as large as a message may be",
	 .in = {FETCH, .via = "z255 z255 z255 z255 z255 z255 z200", .destinations = "n20", .body = ""}, DROP(WOULD_EXCEED_MAX)},
	{"FW-B05", "request larger than any message", .in = {FETCH, .destinations = "rb0", .size = 1801}, .flags = FORWARD_CLOSE_LINK,
	 DROP_ERROR(TOO_LARGE, ERROR_MESSAGE_TOO_LARGE)},
	{"FW-B05", "answer larger than any message", .in = {ANSWER, .destinations = "n20", .size = 1801}, .flags = FORWARD_CLOSE_LINK,
	 DROP(TOO_LARGE)},
	{"FW-B05", "later fragment larger than any message", .in = {LATER, .destinations = "n20", .size = 1801},
	 .flags = FORWARD_CLOSE_LINK, DROP(TOO_LARGE)},
	{"FW-B05", "as large as may be", .in = {ANSWER, .destinations = "n20", .size = 1800}, SEND(2)},
	{"FW-B06", "lists longer than the message", .in = {FETCH, .destinations = "rb0"}, .patch = {{36, 2, 500}}, DROP(HDR_OVERRUN)},
	{"FW-B06", "lists one octet longer than the message", .in = {FETCH, .destinations = "rb0", .body = ""},
	 .patch = {{36, 2, 1}}, DROP(HDR_OVERRUN)},
	{"FW-B07", "ttl above initial-ttl", .in = {.ttl = 101, .code = FETCH_REQ, .destinations = "rb0"},
	 DROP_ERROR(TTL_ABOVE_MAX, ERROR_TTL_EXCEEDED)},
	{"FW-B07", "ttl above initial-ttl, we are the destination", .in = {.ttl = 101, .code = FETCH_REQ, .destinations = "n80"},
	 DROP_ERROR(TTL_ABOVE_MAX, ERROR_TTL_EXCEEDED)},
	{"FW-B07", "ttl above initial-ttl, answer", .in = {.ttl = 255, .code = FETCH_ANS, .destinations = "n20"}, DROP(TTL_ABOVE_MAX)},
	{"FW-B07", "ttl above initial-ttl, later fragment",
	 .in = {.ttl = 101, .fragment = FRAGMENT_ALWAYS | 600, .destinations = "n20"}, DROP(TTL_ABOVE_MAX)},
	{"FW-B08", "high bit clear", .in = {FETCH, .destinations = "rb0"}, .patch = {{12, 4, 0x40000000}}, DROP(FRAG_HIGHBIT)},
	{"FW-B08", "whole field zero", .in = {FETCH, .destinations = "n80"}, .patch = {{12, 4, 0}}, DROP(FRAG_HIGHBIT)},
	{"FW-B09", "reserved bits pass unchanged",
	 .in = {FETCH, .fragment = 0xff000000, .destinations = "rb0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-B10", "later fragment without payload", .in = {LATER, .destinations = "n20", .body = ""}, DROP(FRAG_RANGE)},
	{"FW-B10", "offset and payload reach 2^24",
	 .in = {.ttl = 9, .fragment = FRAGMENT_ALWAYS | 0xfffff0, .destinations = "n20", .body = "00112233445566778899aabbccddeeff"},
	 DROP(FRAG_RANGE)},
	{"FW-B10", "the last octet there can be",
	 .in = {.ttl = 9, .fragment = FRAGMENT_ALWAYS | 0xfffff0, .destinations = "n20", .body = "00112233445566778899aabbccddee"},
	 SEND(2), .out = {.via = "o3.001"}},
	{"FW-B11", "several Node-IDs and no Attach: Fetch", .arrival = 7, .in = {FETCH, .destinations = "rb0"},
	 DROP_ERROR(UNBOUND_MULTI_ID, ERROR_FORBIDDEN)},
	{"FW-B11", "the same to ourselves", .arrival = 7, .in = {FETCH, .destinations = "n80"},
	 DROP_ERROR(UNBOUND_MULTI_ID, ERROR_FORBIDDEN)},
	{"FW-B11", "invalid code: no error", .arrival = 7, .in = {.ttl = 9, .code = 0x8001, .destinations = "rb0"},
	 DROP(UNBOUND_MULTI_ID)},
	{"FW-B11", "answers pass", .arrival = 7, .in = {ANSWER, .destinations = "n20"}, SEND(2)},
	{"FW-B11", "errors pass", .arrival = 7, .in = {FAILURE, .destinations = "n20"}, SEND(2)},
	{"FW-B11", "later fragments pass", .arrival = 7, .in = {LATER, .destinations = "n20"}, SEND(2), .out = {.via = "o4.007"}},
	{"FW-B12", "Attach of a node whose Node-ID is not known: the opaque names the link", .arrival = 7,
	 .in = {.ttl = 100, .code = ATTACH_REQ, .destinations = "rb0"}, SEND(5), .out = {.via = "o4.007"}},
	{"FW-B12", "Ping the same, whole Node-IDs asked for", .arrival = 7, .set_node = FORWARD_NODE_VIA_NODE_ID,
	 .in = {.ttl = 100, .code = PING_REQ, .destinations = "rb0"}, SEND(5), .out = {.via = "o4.007"}},
	{"FW-B12", "its answer: the wildcard stands for whoever is there", .arrival = 5,
	 .in = {.ttl = 100, .code = ATTACH_ANS, .destinations = "n80 o4.007"}, SEND(7), .popped = 20, .flags = FORWARD_REPLACE,
	 .out = {.destinations = "*"}},
	{"FW-B14", "configuration_sequence of others", .in = {FETCH, .destinations = "rb0"}, .patch = {{8, 2, 4711}}, SEND(5),
	 .out = {.via = "o3.001"}},

	/* ---- C ---- */
	{"FW-C01", "answer: nothing is appended", .in = {ANSWER, .via = "nb0", .destinations = "n20"}, SEND(2)},
	{"FW-C01", "error: nothing is appended", .in = {FAILURE, .via = "nb0", .destinations = "n20"}, SEND(2)},
	{"FW-C01", "first fragment of a request", .in = {FIRST, .destinations = "rb0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-C01", "code 0 passes as a request would (Q-05)", .in = {.ttl = 9, .code = 0, .destinations = "n20"}, SEND(2),
	 .out = {.via = "o3.001"}},
	{"FW-C01", "code 0x8000 the same", .in = {.ttl = 9, .code = 0x8000, .destinations = "n20"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-C01", "code 0xfffe the same", .in = {.ttl = 9, .code = 0xfffe, .destinations = "n20"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-C01", "no room for a code", .in = {.ttl = 9, .destinations = "n20", .body = "00"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-C01", "last request code", .in = {.ttl = 9, .code = 0x7fff, .destinations = "n20"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-C01", "last answer code", .in = {.ttl = 9, .code = 0x7ffe, .destinations = "n20"}, SEND(2)},
	{"FW-C02", "no destination", .in = {FETCH, .destinations = ""}, DROP(DEST_EMPTY)},
	{"FW-C02", "no destination, options behind", .in = {FETCH, .destinations = "", .options = "c8/00=4"}, DROP(DEST_EMPTY)},
	{"FW-C03", "compact opaque cut after one octet", .in = {ANSWER, .destinations = "x80"}, DROP(HDR_OVERRUN)},
	{"FW-C04", "node of 15 octets", .in = {FETCH, .destinations = "x010f000102030405060708090a0b0c0d0e"}, DROP(DEST_BAD_TYPE)},
	{"FW-C04", "node of 20 octets", .in = {FETCH, .destinations = "x0114000102030405060708090a0b0c0d0e0f10111213"},
	 DROP(DEST_BAD_TYPE)},
	{"FW-C04", "node of no octets", .in = {FETCH, .destinations = "x0100"}, DROP(DEST_BAD_TYPE)},
	{"FW-C05", "resource whose inner length is another", .in = {FETCH, .destinations = "x02110f000102030405060708090a0b0c0d0e0f"},
	 DROP(DEST_BAD_TYPE)},
	{"FW-C05", "resource of 15 octets", .in = {FETCH, .destinations = "x02100f000102030405060708090a0b0c0d0e"}, DROP(DEST_BAD_TYPE)},
	{"FW-C05", "resource of no octets", .in = {FETCH, .destinations = "x0200"}, DROP(DEST_BAD_TYPE)},
	{"FW-C06", "opaque whose inner length is another", .in = {ANSWER, .destinations = "x03040261626300"}, DROP(DEST_BAD_TYPE)},
	{"FW-C06", "opaque without inner length", .in = {ANSWER, .destinations = "x0300"}, DROP(DEST_BAD_TYPE)},
	{"FW-C07", "type 0 first", .in = {FETCH, .destinations = "x0000"}, DROP(DEST_BAD_TYPE)},
	{"FW-C07", "type 4 first", .in = {FETCH, .destinations = "x040200ff rb0"}, DROP(DEST_BAD_TYPE)},
	{"FW-C07", "type 127 first", .in = {FETCH, .destinations = "x7f00"}, DROP(DEST_BAD_TYPE)},
	{"FW-C07", "unknown type behind our own Node-ID", .in = {FETCH, .destinations = "n80 x0900"}, .popped = 18, DROP(DEST_BAD_TYPE)},
	{"FW-C08", "unknown type later on is kept", .in = {FETCH, .destinations = "n20 x0903aabbcc rb0"}, SEND(2),
	 .out = {.via = "o3.001"}},
	{"FW-C08", "node of 20 octets later on is kept", .in = {ANSWER, .destinations = "n20 x0114000102030405060708090a0b0c0d0e0f10111213"},
	 SEND(2)},
	{"FW-C09", "first destination overruns its list", .in = {FETCH, .destinations = "x01100011223344"}, DROP(HDR_OVERRUN)},
	{"FW-C09", "one octet is no entry", .in = {FETCH, .destinations = "x01"}, DROP(HDR_OVERRUN)},
	{"FW-C09", "later destination overruns", .in = {FETCH, .destinations = "n20 x0905aa"}, DROP(HDR_OVERRUN)},
	{"FW-C09", "one octet behind the destinations", .in = {FETCH, .destinations = "n20 x01"}, DROP(HDR_OVERRUN)},
	{"FW-C09", "via entry overruns", .in = {FETCH, .via = "o1.002 x0110aa", .destinations = "rb0"}, DROP(HDR_OVERRUN)},
	{"FW-C09", "the only option overruns", .in = {FETCH, .destinations = "rb0", .options = "c8/00=4"}, .patch = {{38 + 19 + 2, 2, 5}},
	 DROP(HDR_OVERRUN)},
	{"FW-C09", "option overruns", .in = {FETCH, .destinations = "rb0", .options = "c8/00=4 c9/00=0"}, .patch = {{38 + 19 + 2, 2, 5}},
	 DROP(HDR_OVERRUN)},
	{"FW-C09", "option without room for its head", .in = {FETCH, .destinations = "rb0", .options = "c8/00=7"},
	 .patch = {{38 + 19 + 2, 2, 5}}, DROP(HDR_OVERRUN)},
	{"FW-C09", "answers are checked as well", .in = {ANSWER, .destinations = "n20 x0905aa"}, DROP(HDR_OVERRUN)},
	{"FW-C10", "the same node twice", .in = {FETCH, .destinations = "n20 n30 n20"}, DROP_ERROR(DEST_DUP, ERROR_INVALID_MESSAGE)},
	{"FW-C10", "twice ourselves", .in = {FETCH, .destinations = "n80 n80"}, DROP_ERROR(DEST_DUP, ERROR_INVALID_MESSAGE)},
	{"FW-C10", "the same opaque twice", .in = {FETCH, .destinations = "n20 o1.001 n30 o1.001"},
	 DROP_ERROR(DEST_DUP, ERROR_INVALID_MESSAGE)},
	{"FW-C10", "the sixteenth repeats the first", .in = {FETCH, .destinations = "o1.555 c14 o1.555"},
	 DROP_ERROR(DEST_DUP, ERROR_INVALID_MESSAGE)},
	{"FW-C10", "node and resource of one number differ", .in = {FETCH, .destinations = "n20 r20"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-C10", "answers may repeat", .in = {ANSWER, .destinations = "n20 n30 n20"}, SEND(2)},
	{"FW-C10", "later fragments may repeat", .in = {LATER, .destinations = "n20 n30 n20"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-C11", "resource of others, not last", .in = {FETCH, .destinations = "rb0 n20"}, DROP(RES_NOT_LAST)},
	{"FW-C11", "the same behind our Node-ID", .in = {FETCH, .destinations = "n80 rb0 n20"}, .popped = 18, DROP(RES_NOT_LAST)},
	{"FW-C11", "answer", .in = {ANSWER, .destinations = "rb0 n20"}, DROP(RES_NOT_LAST)},
	{"FW-C12", "unknown critical option", .in = {FETCH, .destinations = "rb0", .options = "c8/01=3"},
	 DROP_ERROR(OPT_CRITICAL, ERROR_UNSUPPORTED_FORWARDING_OPTION)},
	{"FW-C12", "the second one", .in = {FETCH, .destinations = "rb0", .options = "c8/00=300 c9/05=0"},
	 DROP_ERROR(OPT_CRITICAL, ERROR_UNSUPPORTED_FORWARDING_OPTION)},
	{"FW-C12", "no matter at the destination", .in = {FETCH, .destinations = "r75", .options = "c8/01=3"}, LOCAL},
	{"FW-C12", "before the ttl", .in = {.ttl = 0, .code = FETCH_REQ, .destinations = "rb0", .options = "c8/01=3"},
	 DROP_ERROR(OPT_CRITICAL, ERROR_UNSUPPORTED_FORWARDING_OPTION)},
	{"FW-C12", "after silence about our range", .in = {FETCH, .destinations = "n77", .options = "c8/01=3"},
	 DROP(NODE_IN_RANGE_UNREACHABLE)},
	{"FW-C12", "a later fragment is not known to be a request", .in = {LATER, .destinations = "n20", .options = "c8/01=3"}, SEND(2),
	 .out = {.via = "o3.001"}},
	{"FW-C13", "unknown options pass untouched", .in = {FETCH, .destinations = "rb0", .options = "c8/00=3 c9/02=0 ca/04=9 cb/06=1"},
	 SEND(5), .out = {.via = "o3.001"}},
	{"FW-C14", "flags in an answer mean nothing", .in = {ANSWER, .destinations = "n20", .options = "c8/07=3"}, SEND(2)},
	{"FW-C14", "flags in an error mean nothing", .in = {FAILURE, .destinations = "n20", .options = "c8/01=0"}, SEND(2)},
	{"FW-C15", "IGNORE_STATE_KEEPING: whole Node-ID", .in = {FETCH, .via = "nb0", .destinations = "rb0", .options = "02/08=30"}, SEND(5),
	 .flags = FORWARD_NO_STATE, .out = {.via = "nb0 " NODE_10}},
	{"FW-C15", "by any option", .in = {FETCH, .destinations = "rb0", .options = "c8/00=0 c9/0a=0"}, SEND(5), .flags = FORWARD_NO_STATE,
	 .out = {.via = NODE_10}},
	{"FW-C15", "routing mode is known here: critical or not", .in = {FETCH, .destinations = "rb0", .options = "02/09=30"}, SEND(5),
	 .flags = FORWARD_NO_STATE, .out = {.via = NODE_10}},
	{"FW-C16", "type 0 is unknown", .in = {FETCH, .destinations = "rb0", .options = "00/01=0"},
	 DROP_ERROR(OPT_CRITICAL, ERROR_UNSUPPORTED_FORWARDING_OPTION)},
	{"FW-C16", "type 255 is unknown", .in = {FETCH, .destinations = "rb0", .options = "ff/01=0"},
	 DROP_ERROR(OPT_CRITICAL, ERROR_UNSUPPORTED_FORWARDING_OPTION)},
	{"FW-C16", "type 1 is unknown", .in = {FETCH, .destinations = "rb0", .options = "01/00=0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-C17", "resource in the via list", .in = {FETCH, .via = "n20 rb0", .destinations = "rb0"}, DROP(VIA_RESOURCE)},

	/* ---- D ---- */
	{"FW-D01", "own opaque behind our Node-ID", .arrival = 5, .in = {ANSWER, .destinations = "n80 o3.001 o6.123 nb0"}, SEND(1),
	 .popped = 20, .flags = FORWARD_REPLACE, .out = {.destinations = "n10 o6.123 nb0"}},
	{"FW-D01", "own opaque in front", .arrival = 5, .in = {ANSWER, .destinations = "o3.001"}, SEND(1), .popped = 2,
	 .flags = FORWARD_REPLACE, .out = {.destinations = "n10"}},
	{"FW-D01", "the form with type and length", .arrival = 5, .in = {ANSWER, .destinations = "n80 t0.002 n10"}, SEND(2), .popped = 23,
	 .flags = FORWARD_REPLACE, .out = {.destinations = "n20 n10"}},
	{"FW-D01", "of a client", .arrival = 5, .in = {ANSWER, .destinations = "n80 o1.004"}, SEND(4), .popped = 20,
	 .flags = FORWARD_REPLACE, .out = {.destinations = "n70"}},
	{"FW-D01", "in a request", .arrival = 5, .in = {FETCH, .destinations = "n80 o3.001 nb0"}, SEND(1), .popped = 20,
	 .flags = FORWARD_REPLACE, .out = {.via = "o2.005", .destinations = "n10 nb0"}},
	{"FW-D01", "later fragment of an answer", .arrival = 5, .in = {LATER, .destinations = "n80 o3.001"}, SEND(1), .popped = 20,
	 .flags = FORWARD_REPLACE, .out = {.via = "o2.005", .destinations = "n10"}},
	{"FW-D02", "older generation", .arrival = 5, .in = {ANSWER, .destinations = "n80 o2.001"}, .popped = 18, DROP(OPAQUE_STALE)},
	{"FW-D02", "silent about requests as well", .arrival = 5, .in = {FETCH, .destinations = "o4.001"}, DROP(OPAQUE_STALE)},
	{"FW-D03", "nobody in that slot", .arrival = 5, .in = {ANSWER, .destinations = "o0.fff"}, DROP(OPAQUE_UNKNOWN)},
	{"FW-D03", "the link is gone", .arrival = 5, .without_slots = 1 << 1, .in = {ANSWER, .destinations = "o3.001"},
	 DROP(OPAQUE_UNKNOWN)},
	{"FW-D03", "the link is not up", .arrival = 5, .down_slots = 1 << 1, .in = {ANSWER, .destinations = "o3.001"},
	 DROP(OPAQUE_UNKNOWN)},
	{"FW-D03", "opaque of three octets", .in = {FETCH, .destinations = "x030403616263"}, DROP(OPAQUE_UNKNOWN)},
	{"FW-D03", "opaque of two octets without the top bit", .in = {ANSWER, .destinations = "x0303020001"}, DROP(OPAQUE_UNKNOWN)},
	{"FW-D03", "opaque of no octets", .in = {ANSWER, .destinations = "x030100"}, DROP(OPAQUE_UNKNOWN)},
	{"FW-D04", "wildcard", .in = {FETCH, .destinations = "*"}, LOCAL},
	{"FW-D04", "wildcard with more behind it", .in = {FETCH, .destinations = "* n20"}, LOCAL},
	{"FW-D04", "wildcard behind our Node-ID", .in = {FETCH, .destinations = "n80 * n20"}, LOCAL, .popped = 18},
	{"FW-D04", "wildcard at a node that has not joined", .clear_node = FORWARD_NODE_JOINED, .in = {ANSWER, .destinations = "*"}, LOCAL},
	{"FW-D05", "own Node-ID", .in = {FETCH, .destinations = "n80"}, LOCAL},
	{"FW-D05", "own Node-ID, ttl 0 (B-6.3.2-06)", .in = {.ttl = 0, .code = FETCH_REQ, .destinations = "n80"}, LOCAL},
	{"FW-D05", "answer to us", .in = {ANSWER, .destinations = "n80"}, LOCAL},
	{"FW-D06", "own Node-ID in front of a resource", .in = {FETCH, .destinations = "n80 rb0"}, SEND(5), .popped = 18,
	 .out = {.via = "o3.001", .destinations = "rb0"}},
	{"FW-D06", "twice in an answer", .in = {ANSWER, .destinations = "n80 n80 n20"}, SEND(2), .popped = 36,
	 .out = {.destinations = "n20"}},
	{"FW-D06", "ttl 1: one hop, whatever was popped", .in = {.ttl = 1, .code = FETCH_REQ, .destinations = "n80 n20"}, SEND(2),
	 .popped = 18, .out = {.via = "o3.001", .destinations = "n20"}},
	{"FW-D07", "resource of ours", .in = {FETCH, .destinations = "r75"}, LOCAL},
	{"FW-D07", "resource of our own number", .in = {FETCH, .destinations = "r80"}, LOCAL},
	{"FW-D07", "resource of a client's number in our range", .in = {FETCH, .destinations = "r70"}, LOCAL},
	{"FW-D07", "ttl 0", .in = {.ttl = 0, .code = FETCH_REQ, .destinations = "r75"}, LOCAL},
	{"FW-D07", "without a predecessor everything", .clear_node = FORWARD_NODE_HAS_PREDECESSOR, .in = {FETCH, .destinations = "rb0"},
	 LOCAL},
	{"FW-D08", "resource of ours, not last", .in = {FETCH, .destinations = "r75 n20"}, DROP(RES_NOT_LAST)},
	{"FW-D09", "peer we are connected to", .in = {FETCH, .destinations = "n20"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-D09", "client in our range", .in = {FETCH, .destinations = "n70"}, SEND(4), .out = {.via = "o3.001"}},
	{"FW-D09", "client outside our range", .in = {FETCH, .destinations = "n50"}, SEND(9), .out = {.via = "o3.001"}},
	{"FW-D09", "joining node that has sent no Update", .in = {ANSWER, .destinations = "nc0"}, SEND(6)},
	{"FW-D09", "suspect link: still attempted", .in = {FETCH, .destinations = "ne0"}, SEND(8), .out = {.via = "o3.001"}},
	{"FW-D10", "node in our range that is not there", .in = {FETCH, .destinations = "n77"}, DROP(NODE_IN_RANGE_UNREACHABLE)},
	{"FW-D10", "its link is not up", .down_slots = 1 << 4, .in = {FETCH, .destinations = "n70"}, DROP(NODE_IN_RANGE_UNREACHABLE)},
	{"FW-D10", "answer", .in = {ANSWER, .destinations = "n77 n10"}, DROP(NODE_IN_RANGE_UNREACHABLE)},
	{"FW-D10", "even with ttl 0", .in = {.ttl = 0, .code = FETCH_REQ, .destinations = "n77"}, DROP(NODE_IN_RANGE_UNREACHABLE)},
	{"FW-D10", "alone on the ring", .clear_node = FORWARD_NODE_HAS_PREDECESSOR, .in = {FETCH, .destinations = "nb0"},
	 DROP(NODE_IN_RANGE_UNREACHABLE)},
	{"FW-D11", "node elsewhere: closest preceding", .in = {FETCH, .destinations = "nb0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-D11", "around the ring", .arrival = 5, .in = {FETCH, .destinations = "n40"}, SEND(3), .out = {.via = "o2.005"}},
	{"FW-D11", "nobody in between: first behind", .in = {FETCH, .destinations = "n90"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-D11", "the predecessor's number", .arrival = 5, .in = {FETCH, .destinations = "n60"}, SEND(3), .out = {.via = "o2.005"}},
	{"FW-D12", "resource of a connected peer's number", .in = {FETCH, .destinations = "r20"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-D12", "not of a client's (Q-14)", .arrival = 5, .in = {FETCH, .destinations = "r50"}, SEND(3), .out = {.via = "o2.005"}},
	{"FW-D12", "not of one without an Update", .in = {FETCH, .destinations = "rc0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-D13", "resource elsewhere", .in = {FETCH, .destinations = "rb0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-D12", "not when its link is not up", .down_slots = 1 << 2, .in = {FETCH, .destinations = "r20"}, SEND(1),
	 .flags = FORWARD_BACK, .out = {.via = "o3.001"}},
	{"FW-D13", "to the previous hop, around the ring", .arrival = 2, .in = {FETCH, .destinations = "r1f"}, SEND(1),
	 .out = {.via = "o0.002"}},
	{"FW-D14", "not joined: resource", .clear_node = FORWARD_NODE_JOINED, .in = {FETCH, .destinations = "rb0"}, DROP(NOT_ROUTING)},
	{"FW-D14", "not joined: our own range does not exist", .clear_node = FORWARD_NODE_JOINED, .in = {FETCH, .destinations = "r75"},
	 DROP(NOT_ROUTING)},
	{"FW-D14", "not joined: connected node", .clear_node = FORWARD_NODE_JOINED, .in = {FETCH, .destinations = "n20"},
	 DROP(NOT_ROUTING)},
	{"FW-D14", "not joined: behind our Node-ID", .clear_node = FORWARD_NODE_JOINED, .in = {FETCH, .destinations = "n80 n20"},
	 .popped = 18, DROP(NOT_ROUTING)},
	{"FW-D14", "not joined: opaque", .clear_node = FORWARD_NODE_JOINED, .in = {ANSWER, .destinations = "o0.002"}, DROP(NOT_ROUTING)},
	{"FW-D14", "not joined: answers to us arrive", .clear_node = FORWARD_NODE_JOINED, .in = {ANSWER, .destinations = "n80"}, LOCAL},
	{"FW-D14", "not joined: what we send ourselves goes out", .clear_node = FORWARD_NODE_JOINED, .own = true,
	 .in = {FETCH, .destinations = "n20 rb0"}, SEND(2)},
	{"FW-D15", "first fragment for us", .in = {FIRST, .destinations = "n80"}, .action = FORWARD_LOCAL, .reason = DROP_PUNT_FRAGMENT},
	{"FW-D15", "later fragment for us", .in = {LATER, .destinations = "n80"}, .action = FORWARD_LOCAL, .reason = DROP_PUNT_FRAGMENT},
	{"FW-D15", "last fragment for us", .in = {LATER_LAST, .destinations = "r75"}, .action = FORWARD_LOCAL,
	 .reason = DROP_PUNT_FRAGMENT},
	{"FW-D15", "reserved bits make no fragment", .in = {FETCH, .fragment = 0xff000000, .destinations = "n80"}, LOCAL},

	/* ---- E ---- */
	{"FW-E01", "ttl 0", .in = {.ttl = 0, .code = FETCH_REQ, .destinations = "rb0"}, DROP_ERROR(TTL_ZERO, ERROR_TTL_EXCEEDED)},
	{"FW-E01", "ttl 0, connected node", .in = {.ttl = 0, .code = FETCH_REQ, .destinations = "n20"},
	 DROP_ERROR(TTL_ZERO, ERROR_TTL_EXCEEDED)},
	{"FW-E01", "ttl 0, answer", .in = {.ttl = 0, .code = FETCH_ANS, .destinations = "n20"}, DROP(TTL_ZERO)},
	{"FW-E01", "ttl 0, own opaque", .in = {.ttl = 0, .code = FETCH_ANS, .destinations = "o0.002"}, DROP(TTL_ZERO), .popped = 2,
	 .flags = FORWARD_REPLACE},
	{"FW-E01", "ttl 0, later fragment", .in = {.ttl = 0, .fragment = FRAGMENT_ALWAYS | 600, .destinations = "n20"}, DROP(TTL_ZERO)},
	{"FW-E01", "ttl 0 before nobody to send to", .no_routes = true, .in = {.ttl = 0, .code = FETCH_REQ, .destinations = "rb0"},
	 DROP_ERROR(TTL_ZERO, ERROR_TTL_EXCEEDED)},
	{"FW-E02", "ttl 1 leaves as 0", .in = {.ttl = 1, .code = FETCH_REQ, .destinations = "rb0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-E02", "our own message keeps its ttl (Q-20)", .own = true, .in = {FETCH, .destinations = "rb0"}, SEND(5)},
	{"FW-E03", "back to where it came from", .arrival = 5, .in = {FETCH, .destinations = "rb0"}, SEND(5), .flags = FORWARD_BACK,
	 .out = {.via = "o2.005"}},
	{"FW-E04", "nobody to send to", .no_routes = true, .in = {FETCH, .destinations = "rb0"}, DROP_ERROR(NO_NEXT_HOP, ERROR_NOT_FOUND)},
	{"FW-E04", "nobody to send to, answer", .no_routes = true, .in = {ANSWER, .destinations = "nb0"}, DROP(NO_NEXT_HOP)},
	{"FW-E04", "nobody that may relay", .without_slots = ALL_PEERS | 1 << 8, .arrival = 9, .in = {FETCH, .destinations = "rb0"},
	 DROP_ERROR(NO_NEXT_HOP, ERROR_NOT_FOUND)},
	{"FW-E05", "attached, no Update: passed over", .in = {FETCH, .destinations = "rd0"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-E05", "the slot of a member belongs to another now", .without_slots = 1 << 5, .in = {FETCH, .destinations = "rb0"}, SEND(1),
	 .flags = FORWARD_BACK, .out = {.via = "o3.001"}},
	{"FW-E05", "the link of a member is not up", .down_slots = 1 << 5, .in = {FETCH, .destinations = "rb0"}, SEND(1),
	 .flags = FORWARD_BACK, .out = {.via = "o3.001"}},
	{"FW-E07", "no room for two octets more", .in = {FETCH, .destinations = "rb0", .size = 1799},
	 DROP_ERROR(WOULD_EXCEED_MAX, ERROR_MESSAGE_TOO_LARGE)},
	{"FW-E07", "just room", .in = {FETCH, .destinations = "rb0", .size = 1798}, SEND(5), .out = {.via = "o3.001", .size = 1800}},
	{"FW-E07", "no room for a Node-ID: the opaque", .set_node = FORWARD_NODE_VIA_NODE_ID,
	 .in = {FETCH, .destinations = "rb0", .size = 1783}, SEND(5), .out = {.via = "o3.001", .size = 1785}},
	{"FW-E07", "just room for a Node-ID", .set_node = FORWARD_NODE_VIA_NODE_ID, .in = {FETCH, .destinations = "rb0", .size = 1782},
	 SEND(5), .out = {.via = NODE_10, .size = 1800}},
	{"FW-E07", "an answer that would grow", .in = {ANSWER, .destinations = "o0.002", .size = 1785}, .popped = 2,
	 .flags = FORWARD_REPLACE, DROP(WOULD_EXCEED_MAX)},
	{"FW-E07", "an answer never grows on its way", .in = {ANSWER, .destinations = "n80 o0.002", .size = 1800}, .popped = 20,
	 .flags = FORWARD_REPLACE, SEND(2), .out = {.destinations = "n20", .size = 1798}},
	{"FW-E07", "a later fragment", .in = {LATER, .destinations = "n20", .size = 1800}, DROP(WOULD_EXCEED_MAX)},
	{"FW-E10", "suspect: another candidate", .in = {FETCH, .destinations = "r08"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-E10", "only suspects", .without_slots = ALL_PEERS, .arrival = 9, .in = {FETCH, .destinations = "r08"}, DROP(LINK_DOWN)},

	/* ---- F ---- */
	{"FW-F01", "answer", .in = {.ttl = 77, .code = FETCH_ANS, .destinations = "n20"}, SEND(2)},
	{"FW-F02", "whole Node-ID", .set_node = FORWARD_NODE_VIA_NODE_ID, .in = {FETCH, .via = "nb0 nd0", .destinations = "rb0"}, SEND(5),
	 .out = {.via = "nb0 nd0 " NODE_10}},
	{"FW-F03", "opaque at the end of the via list", .in = {FETCH, .via = "nb0 o7.abc", .destinations = "rb0"}, SEND(5),
	 .out = {.via = "nb0 o7.abc o3.001"}},
	{"FW-F06", "answers keep their via list", .in = {ANSWER, .via = "nb0 o7.abc", .destinations = "n20"}, SEND(2)},
	{"FW-F07", "the next hop's own Node-ID stays", .in = {FETCH, .destinations = "n20 n30 rb0"}, SEND(2), .out = {.via = "o3.001"}},
	{"FW-F08", "the list the previous hop gets back", .arrival = 5, .in = {ANSWER, .destinations = "n80 o3.001 o1.002 n40"}, SEND(1),
	 .popped = 20, .flags = FORWARD_REPLACE, .out = {.destinations = "n10 o1.002 n40"}},
	{"FW-F10", "offsets stay", .in = {LATER_LAST, .via = "nb0", .destinations = "n80 n20"}, SEND(2), .popped = 18,
	 .out = {.via = "nb0 o3.001", .destinations = "n20"}},
	{"FW-F11", "every fragment the same: first", .in = {FIRST, .via = "nb0", .destinations = "n80 rb0", .options = "c8/04=5"}, SEND(5),
	 .popped = 18, .out = {.via = "nb0 o3.001", .destinations = "rb0"}},
	{"FW-F11", "every fragment the same: later", .in = {LATER, .via = "nb0", .destinations = "n80 rb0", .options = "c8/04=5"}, SEND(5),
	 .popped = 18, .out = {.via = "nb0 o3.001", .destinations = "rb0"}},

	/* ---- section 6, last paragraph: diagnostics ---- */
	{"FW-6", "PathTrack is for userspace", .set_node = FORWARD_NODE_PUNT_DIAGNOSTICS,
	 .in = {.ttl = 9, .code = PATH_TRACK_REQ, .destinations = "rb0"}, .action = FORWARD_PUNT, .reason = DROP_PUNT_DIAG,
	 .flags = FORWARD_DIAGNOSTIC},
	{"FW-6", "its answer as well", .set_node = FORWARD_NODE_PUNT_DIAGNOSTICS,
	 .in = {.ttl = 9, .code = PATH_TRACK_ANS, .destinations = "n20"}, .action = FORWARD_PUNT, .reason = DROP_PUNT_DIAG,
	 .flags = FORWARD_DIAGNOSTIC},
	{"FW-6", "Ping with an extension", .set_node = FORWARD_NODE_PUNT_DIAGNOSTICS,
	 .in = {.ttl = 9, .destinations = "rb0", .body = "0017" "00000002" "0000" "00000007" "00020000000000"}, .action = FORWARD_PUNT,
	 .reason = DROP_PUNT_DIAG, .flags = FORWARD_DIAGNOSTIC},
	{"FW-6", "the piece ends behind the length of the extensions", .set_node = FORWARD_NODE_PUNT_DIAGNOSTICS,
	 .in = {.ttl = 9, .destinations = "rb0", .fragment = FRAGMENT_ALWAYS, .body = "0017" "00000000" "00000007"},
	 .action = FORWARD_PUNT, .reason = DROP_PUNT_DIAG, .flags = FORWARD_DIAGNOSTIC},
	{"FW-6", "the piece ends in the length of the extensions", .set_node = FORWARD_NODE_PUNT_DIAGNOSTICS,
	 .in = {.ttl = 9, .destinations = "rb0", .fragment = FRAGMENT_ALWAYS, .body = "0017" "00000000" "000007"}, SEND(5),
	 .out = {.via = "o3.001"}},
	{"FW-6", "Ping without", .set_node = FORWARD_NODE_PUNT_DIAGNOSTICS,
	 .in = {.ttl = 9, .destinations = "rb0", .body = "0017" "00000002" "0000" "00000000" "ffff"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-6", "Ping whose body ends in the next fragment", .set_node = FORWARD_NODE_PUNT_DIAGNOSTICS,
	 .in = {.ttl = 9, .destinations = "rb0", .body = "0017" "fffffff0" "0000" "00000001"}, SEND(5), .out = {.via = "o3.001"}},
	{"FW-6", "nobody asked", .in = {.ttl = 9, .code = PATH_TRACK_REQ, .destinations = "rb0"}, SEND(5), .flags = FORWARD_DIAGNOSTIC,
	 .out = {.via = "o3.001"}},

	/* ---- bounds of ours ---- */
	{"LIMIT", "16 destinations", .in = {FETCH, .destinations = "n20 c15"}, SEND(2), .out = {.via = "o3.001"}},
	{"LIMIT", "17 destinations", .in = {FETCH, .destinations = "n20 c16"}, SEND(2), .out = {.via = "o3.001"}, .fast_punts = true},
	{"LIMIT", "64 destinations", .in = {ANSWER, .destinations = "n20 c63"}, SEND(2), .fast_punts = true},
	{"LIMIT", "65 destinations", .in = {ANSWER, .destinations = "n20 c64"}, DROP(LIST_TOO_LONG), .fast_punts = true},
	{"LIMIT", "32 via entries", .in = {FETCH, .via = "c32", .destinations = "rb0"}, SEND(5), .out = {.via = "c32 o3.001"}},
	{"LIMIT", "33 via entries", .in = {FETCH, .via = "c33", .destinations = "rb0"}, SEND(5), .out = {.via = "c33 o3.001"},
	 .fast_punts = true},
	{"LIMIT", "255 via entries", .in = {FETCH, .via = "c255", .destinations = "rb0"}, SEND(5), .out = {.via = "c255 o3.001"},
	 .fast_punts = true},
	{"LIMIT", "256 via entries", .in = {FETCH, .via = "c256", .destinations = "rb0"}, DROP(LIST_TOO_LONG), .fast_punts = true},
	{"LIMIT", "8 options", .in = {FETCH, .destinations = "rb0", .options = "c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0"},
	 SEND(5), .out = {.via = "o3.001"}},
	{"LIMIT", "9 options",
	 .in = {FETCH, .destinations = "rb0", .options = "c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0 c8/00=0"}, SEND(5),
	 .out = {.via = "o3.001"}, .fast_punts = true},
	{"LIMIT", "3 times our own Node-ID", .in = {ANSWER, .destinations = "n80 n80 n80 n20"}, SEND(2), .popped = 54,
	 .out = {.destinations = "n20"}},
	{"LIMIT", "4 times our own Node-ID", .in = {ANSWER, .destinations = "n80 n80 n80 n80 n20"}, SEND(2), .popped = 72,
	 .out = {.destinations = "n20"}, .fast_punts = true},
	{"LIMIT", "header the fast path cannot rewrite", .in = {FETCH, .via = "z255 z255", .destinations = "rb0"}, SEND(5),
	 .out = {.via = "z255 z255 o3.001"}, .fast_punts = true},
};
const size_t forward_case_count = sizeof(forward_cases) / sizeof(forward_cases[0]);

struct forward_id forward_case_id(uint8_t first) {
	return (struct forward_id){.high = (uint64_t)first << 56 | 0x112233445566, .low = 0x778899aabbccdd00 | first};
}

static void write_id(struct writer *w, unsigned first) {
	struct forward_id id = forward_case_id((uint8_t)first);

	writer_u64(w, id.high);
	writer_u64(w, id.low);
}

static void write_hex(struct writer *w, const char *text) {
	for (; text[0] && text[0] != ' '; text += 2) {
		char digits[3] = {text[0], text[1]};
		writer_u8(w, (uint8_t)strtoul(digits, NULL, 16));
	}
}

static void write_entry(struct writer *w, const char *token) {
	char *end;
	unsigned long number = strtoul(token + 1, &end, token[0] == 'c' || token[0] == 'z' ? 10 : 16);
	unsigned opaque = 0;

	if (*end == '.')
		opaque = 0x8000 | (unsigned)number << 12 | (unsigned)strtoul(end + 1, NULL, 16);
	switch (token[0]) {
	case 'n':
		writer_u16(w, 0x0110);
		write_id(w, (unsigned)number);
		break;
	case 'r':
		writer_u24(w, 0x021110);
		write_id(w, (unsigned)number);
		break;
	case '*':
		writer_u16(w, 0x0110);
		writer_u64(w, UINT64_MAX);
		writer_u64(w, UINT64_MAX);
		break;
	case 'o':
		writer_u16(w, (uint16_t)opaque);
		break;
	case 't':
		writer_u24(w, 0x030302);
		writer_u16(w, (uint16_t)opaque);
		break;
	case 'c':
		for (unsigned long i = 0; i < number; i++)
			writer_u16(w, (uint16_t)(0x9000 + i));
		break;
	case 'z':
		writer_u8(w, 9);
		writer_u8(w, (uint8_t)number);
		for (unsigned long i = 0; i < number; i++)
			writer_u8(w, (uint8_t)i);
		break;
	case 'x':
		write_hex(w, token + 1);
		break;
	default:
		abort();
	}
}

static void write_option(struct writer *w, const char *token) {
	char *end;
	unsigned long length;

	writer_u8(w, (uint8_t)strtoul(token, &end, 16));
	writer_u8(w, (uint8_t)strtoul(end + 1, &end, 16));
	length = strtoul(end + 1, NULL, 10);
	writer_u16(w, (uint16_t)length);
	for (unsigned long i = 0; i < length; i++)
		writer_u8(w, (uint8_t)i);
}

/* Returns the octets written. */
static size_t write_list(struct writer *w, const char *text, void (*write)(struct writer *w, const char *token)) {
	size_t before = w->length;

	while (text && *text) {
		write(w, text);
		text = strchr(text, ' ');
		if (text)
			text++;
	}
	return w->length - before;
}

static void patch(uint8_t *octets, size_t at, unsigned width, uint32_t value) {
	struct writer w = writer_fixed(octets + at, width);

	if (width == 1)
		writer_u8(&w, (uint8_t)value);
	else if (width == 2)
		writer_u16(&w, (uint16_t)value);
	else if (width == 4)
		writer_u32(&w, value);
}

size_t forward_message_build(const struct forward_message *message, uint8_t octets[static FORWARD_CASE_OCTETS]) {
	struct writer w = writer_fixed(octets, FORWARD_CASE_OCTETS);
	uint32_t fragment = message->fragment ? message->fragment : FRAGMENT_NONE;
	size_t via, destinations, options;

	writer_u32(&w, RELO_TOKEN);
	writer_u32(&w, FORWARD_CASE_OVERLAY);
	writer_u16(&w, 22);
	writer_u8(&w, RELOAD_VERSION);
	writer_u8(&w, message->ttl);
	writer_u32(&w, fragment);
	writer_u32(&w, 0);
	writer_u64(&w, message->transaction_id ? message->transaction_id : 0x0102030405060708);
	writer_u32(&w, 0x1234);
	writer_u16(&w, 0);
	writer_u16(&w, 0);
	writer_u16(&w, 0);
	via = write_list(&w, message->via, write_entry);
	destinations = write_list(&w, message->destinations, write_entry);
	options = write_list(&w, message->options, write_option);
	patch(octets, 32, 2, (uint32_t)via);
	patch(octets, 34, 2, (uint32_t)destinations);
	patch(octets, 36, 2, (uint32_t)options);
	if (message->body) {
		write_hex(&w, message->body);
	} else {
		if (!(fragment & FRAGMENT_OFFSET)) {
			writer_u16(&w, message->code);
			writer_u32(&w, 0);
			writer_u32(&w, 0);
		}
		for (unsigned i = 0; i < 30; i++)
			writer_u8(&w, (uint8_t)(0xa0 + i));
	}
	while (w.length < message->size)
		writer_u8(&w, (uint8_t)(w.length - FORWARDING_HEADER_FIXED - via - destinations - options));
	patch(octets, 16, 4, (uint32_t)w.length);
	if (writer_finish(&w) < 0)
		abort();
	return w.length;
}

static size_t finish(const struct forward_case *c, uint8_t *octets, size_t length) {
	for (size_t i = 0; i < sizeof(c->patch) / sizeof(c->patch[0]); i++)
		patch(octets, c->patch[i].offset, c->patch[i].width, c->patch[i].value);
	return length + (size_t)(ptrdiff_t)c->resize;
}

size_t forward_case_build(const struct forward_case *c, uint8_t octets[static FORWARD_CASE_OCTETS]) {
	return finish(c, octets, forward_message_build(&c->in, octets));
}

size_t forward_case_build_out(const struct forward_case *c, uint8_t octets[static FORWARD_CASE_OCTETS]) {
	struct forward_message out = c->in;

	if (c->out.via)
		out.via = c->out.via;
	if (c->out.destinations)
		out.destinations = c->out.destinations;
	if (c->out.size)
		out.size = c->out.size;
	if (!c->own)
		out.ttl--;
	return finish(c, octets, forward_message_build(&out, octets));
}

struct forward_node forward_case_node(const struct forward_case *c) {
	struct forward_route routes[FORWARD_CASE_ROUTES];
	uint16_t flags = FORWARD_NODE_JOINED | FORWARD_NODE_HAS_PREDECESSOR;

	return (struct forward_node){
		.id = forward_case_id(0x80),
		.predecessor = forward_case_id(0x60),
		.overlay = FORWARD_CASE_OVERLAY,
		.max_message_size = c->max_message_size ? c->max_message_size : FORWARD_CASE_MAX_MESSAGE,
		.route_count = (uint32_t)forward_case_routes(c, routes),
		.flags = (uint16_t)((flags | c->set_node) & ~c->clear_node),
		.initial_ttl = INITIAL_TTL,
	};
}

static struct forward_link case_link(size_t index) {
	struct forward_link link = case_links[index];

	if (link.flags & FORWARD_LINK_BOUND)
		link.id = forward_case_id((uint8_t)link.id.high);
	return link;
}

struct forward_link forward_case_arrival(const struct forward_case *c) {
	uint16_t slot = c->arrival ? c->arrival : 1;

	return c->own ? (struct forward_link){.slot = LAYOUT_SLOT_NONE} : case_link(slot - 1u);
}

size_t forward_case_links(const struct forward_case *c, struct forward_link links[static FORWARD_CASE_SLOTS]) {
	size_t count = 0;

	for (size_t i = 0; i < sizeof(case_links) / sizeof(case_links[0]); i++)
		if (!(c->without_slots & 1 << case_links[i].slot))
			links[count++] = case_link(i);
	for (size_t i = 0; i < count; i++)
		if (c->down_slots & 1 << links[i].slot)
			links[i].flags &= (uint8_t)~FORWARD_LINK_UP;
	return count;
}

size_t forward_case_routes(const struct forward_case *c, struct forward_route routes[static FORWARD_CASE_ROUTES]) {
	static const uint16_t slots[] = {1, 2, 3, 5, 6, 8};
	size_t count = c->no_routes ? 0 : sizeof(slots) / sizeof(slots[0]);

	for (size_t i = 0; i < count; i++) {
		struct forward_link link = case_link(slots[i] - 1u);
		routes[i] = (struct forward_route){.id = link.id, .slot = link.slot};
	}
	return count;
}
