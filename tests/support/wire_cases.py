#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes wire_cases.h: encodings built from the layouts of RFC 6940 and RFC 7904, apart from the codecs they test.

    python3 tests/support/wire_cases.py > tests/support/wire_cases.h
"""


def u(width):
    return lambda value: value.to_bytes(width, "big")


u8, u16, u24, u32, u64 = u(1), u(2), u(3), u(4), u(8)


def vector(width):
    return lambda *parts: len(b"".join(parts)).to_bytes(width, "big") + b"".join(parts)


v8, v16, v24, v32 = vector(1), vector(2), vector(3), vector(4)

N = bytes.fromhex("00112233445566778899aabbccddeeff")
M = bytes.fromhex("ffeeddccbbaa99887766554433221100")
N20, M20 = N + bytes.fromhex("01020304"), M + bytes.fromhex("04030201")
RESOURCE = b"\x22" * 16
OVERLAY = bytes.fromhex("9aa32b8d")


def node(node_id):
    return u8(1) + v8(node_id)


def resource(value):
    return u8(2) + v8(v8(value))


def opaque(value):
    return u8(3) + v8(v8(value))


def compact(value):
    return u16(0x8000 | value)


def ipv4(text, port):
    return u8(1) + v8(bytes(int(part) for part in text.split(".")), u16(port))


def ipv6(octets, port):
    return u8(2) + v8(bytes.fromhex(octets), u16(port))


V4 = ipv4("192.0.2.1", 6084)
V6 = ipv6("20010db8000000000000000000000001", 6084)


def header(via, destinations, options, rest=0, ttl=100, fragment=0xC0000000, sequence=22, extra=0):
    length = 38 + len(via) + len(destinations) + len(options) + rest + extra
    return (bytes.fromhex("d2454c4f") + OVERLAY + u16(sequence) + u8(0x0A) + u8(ttl) + u32(fragment) + u32(length)
            + u64(0x0102030405060708) + u32(0) + u16(len(via)) + u16(len(destinations)) + u16(len(options))
            + via + destinations + options)


def contents(code, body, extensions=b""):
    return u16(code) + v32(body) + v32(extensions)


def extension(kind, critical, value):
    return u16(kind) + u8(critical) + v32(value)


def identity(kind, value):
    return u8(kind) + v16(value)


HASH = identity(1, u8(4) + v8(b"\x5a" * 32))
HASH_NODE = identity(2, u8(4) + v8(b"\xa5" * 32))
NONE = identity(3, b"")


def signature(who, value, hash_algorithm=4, algorithm=3):
    return u8(hash_algorithm) + u8(algorithm) + who + v16(value)


SIGNED = signature(HASH, b"\x77" * 70)
UNSIGNED = signature(NONE, b"", 0, 0)


def certificate(der, kind=0):
    return u8(kind) + v16(der)


def security(certificates, signed):
    return v16(certificates) + signed


def message(via, destinations, options, body, block, **more):
    return header(via, destinations, options, len(body) + len(block), **more) + body + block


def candidate(address, link, foundation, priority, kind, related=b"", extensions=b""):
    return address + u8(link) + v8(foundation) + u32(priority) + u8(kind) + related + v16(extensions)


def ice_extension(name, value):
    return v16(name) + v16(value)


HOST = candidate(V4, 3, b"1", 0x7E0000FF, 1)
SRFLX = candidate(V6, 1, b"22", 100, 2, V4, ice_extension(b"generation", b"0") + ice_extension(b"", b""))
RELAY = candidate(V4, 1, b"", 1, 4, V6)


def attach(candidates, send_update, role=b"passive"):
    return v8(b"ufrg") + v8(b"a password of ICE") + v8(role) + v16(candidates) + u8(send_update)


def app_attach(candidates, application=5060):
    return v8(b"ufrg") + v8(b"a password of ICE") + u16(application) + v8(b"active") + v16(candidates)


def value(octets, exists=1):
    return u8(exists) + v32(octets)


def array(index, octets, exists=1):
    return u32(index) + value(octets, exists)


def dictionary(key, octets, exists=1):
    return v16(key) + value(octets, exists)


def stored(data, signed, time=1, lifetime=60):
    return v32(u64(time), u32(lifetime), data, signed)


def meta(place, exists=1, length=3, hash_algorithm=4, digest=b"\x33" * 32):
    return v32(u64(1), u32(60), place, u8(exists), u32(length), u8(hash_algorithm), v8(digest))


def kinds(*entries):
    return b"".join(u32(kind) + u64(generation) + v32(values) for kind, generation, values in entries)


def store(entries, replica=0, target=RESOURCE):
    return v8(target) + u8(replica) + v32(entries)


def specifier(kind, generation, model=b""):
    return u32(kind) + u64(generation) + v16(model)


def ranges(*pairs):
    return v16(b"".join(u32(first) + u32(last) for first, last in pairs))


def fetch(*specifiers):
    return v8(RESOURCE) + v16(*specifiers)


SINGLE = stored(value(b"abc"), SIGNED) + stored(value(b"", 0), UNSIGNED)
ARRAY = stored(array(0, b"first"), SIGNED) + stored(array(0xFFFFFFFF, b"appended"), SIGNED) + stored(array(7, b"", 0), UNSIGNED)
DICTIONARY = stored(dictionary(N, b"value"), SIGNED) + stored(dictionary(b"", b""), SIGNED)
ROUTE = node(M) + node(N)
PATH = node(N) + compact(5) + opaque(b"abc")
LISTS = [ROUTE + resource(RESOURCE), compact(0x7FFF) + compact(0), opaque(b"") + node(N), u8(9) + v8(b"future") + node(N)]
OPTION = u8(2) + u8(5) + v16(u8(1) + u8(1) + V4 + v8(node(N)))

VALID = [
    ("destination", "node", 16, node(N)),
    ("destination", "node_20", 20, node(N20)),
    ("destination", "resource", 16, resource(RESOURCE)),
    ("destination", "resource_foo", 16, resource(b"FOO")),
    ("destination", "resource_longest", 16, resource(b"r" * 254)),
    ("destination", "opaque", 16, opaque(b"abc")),
    ("destination", "opaque_empty", 16, opaque(b"")),
    ("destination", "opaque_as_compact", 16, opaque(compact(5))),
    ("destination", "compact", 16, compact(5)),
    ("destination", "unknown", 16, u8(9) + v8(b"future")),
    ("destination", "unknown_empty", 16, u8(0x7F) + v8(b"")),
    ("destination_list", "empty", 16, b""),
    ("destination_list", "route", 16, LISTS[0]),
    ("destination_list", "compacts", 16, LISTS[1]),
    ("destination_list", "opaque_node", 16, LISTS[2]),
    ("destination_list", "unknown_second", 16, node(N) + LISTS[3]),
    ("destination_list", "longest", 16, compact(1) * 64),
    ("destination_list", "node_20", 20, node(N20) + node(M20)),
    ("ip_address_port", "ipv4", 16, V4),
    ("ip_address_port", "ipv6", 16, V6),
    ("ip_address_port", "unknown", 16, u8(3) + v8(b"elsewhere")),
    ("forwarding_options", "two", 16, OPTION + u8(200) + u8(1) + v16(b"")),
    ("forwarding_header", "minimal", 16, header(b"", node(N), b"")),
    ("forwarding_header", "all_lists", 16, header(PATH, LISTS[0], OPTION, ttl=1, fragment=0x80000100)),
    ("message_extensions", "two", 16, extension(2, 0, b"ping") + extension(0x7777, 1, b"")),
    ("message_contents", "empty", 16, contents(0x18, b"")),
    ("message_contents", "ping_extended", 16, contents(0x17, v16(b"padding"), extension(2, 0, b"ping"))),
    ("signer_identity", "cert_hash", 16, HASH),
    ("signer_identity", "cert_hash_node_id", 16, HASH_NODE),
    ("signer_identity", "none", 16, NONE),
    ("signer_identity", "unknown", 16, identity(77, b"later")),
    ("signer_identity", "unknown_empty", 16, identity(0, b"")),
    ("signature", "ecdsa", 16, SIGNED),
    ("signature", "rsa", 16, signature(HASH_NODE, b"\x01" * 256, 4, 1)),
    ("signature", "none", 16, UNSIGNED),
    ("security_block", "two_certificates", 16, security(certificate(b"DER of one") + certificate(b"", 1), SIGNED)),
    ("security_block", "no_certificate", 16, security(b"", UNSIGNED)),
    ("message", "ping", 16, message(b"", node(N), b"", contents(0x17, v16(b"")), security(certificate(b"c" * 20), SIGNED))),
    ("message", "lists", 16, message(PATH, LISTS[0], OPTION, contents(0x17, v16(b""), extension(2, 0, b"x")),
                                     security(certificate(b"c" * 20), SIGNED))),
    ("message", "reserved_bits", 16, message(b"", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED),
                                             fragment=0xFF000000)),
    ("message", "store", 16, message(node(M), resource(RESOURCE), b"", contents(7, store(kinds((0x2, 0, SINGLE)))),
                                     security(certificate(b"c" * 40), SIGNED))),
    ("message", "error", 16, message(b"", ROUTE, b"", contents(0xFFFF, u16(3) + v16(b"not here")), security(b"", SIGNED))),
    ("message", "node_20", 20, message(node(M20), node(N20), b"", contents(0x17, v16(b"")), security(b"", SIGNED))),
    ("framed_message", "data", 16, u8(128) + u32(7) + v24(b"message")),
    ("framed_message", "data_empty", 16, u8(128) + u32(0xFFFFFFFF) + v24(b"")),
    ("framed_message", "ack", 16, u8(129) + u32(5) + u32(0x3A)),
    ("error_response", "text", 16, u16(2) + v16("gehört nicht hierher".encode())),
    ("error_response", "empty", 16, u16(0x14) + v16(b"")),
    ("unknown_kinds", "two", 16, v8(u32(1), u32(0xF0000001))),
    ("unknown_kinds", "none", 16, v8(b"")),
    ("unknown_kinds", "longest", 16, v8(u32(9) * 63)),
    ("probe_req", "three", 16, v8(bytes([3, 1, 200]))),
    ("probe_req", "empty", 16, v8(b"")),
    ("probe_ans", "all", 16, v16(bytes([1, 4]) + u32(250000000) + bytes([2, 4]) + u32(17) + bytes([3, 4]) + u32(86400))),
    ("probe_ans", "unknown", 16, v16(bytes([200, 3]) + b"new" + bytes([3, 4]) + u32(1) + bytes([0, 0]))),
    ("probe_ans", "empty", 16, v16(b"")),
    ("attach", "host", 16, attach(HOST, 1)),
    ("attach", "all_types", 16, attach(HOST + SRFLX + RELAY, 0)),
    ("attach", "no_candidate", 16, attach(b"", 0, b"active")),
    ("attach", "unknown_address", 16, attach(candidate(u8(7) + v8(b"onion"), 3, b"1", 1, 1), 0)),
    ("app_attach", "sip", 16, app_attach(HOST + SRFLX)),
    ("app_attach", "no_candidate", 16, app_attach(b"", 5061)),
    ("ping_req", "empty", 16, v16(b"")),
    ("ping_req", "padding", 16, v16(b"p" * 30)),
    ("ping_ans", "plain", 16, u64(0x0123456789ABCDEF) + u64(1700000000000)),
    ("config_update", "config", 16, u8(1) + v32(v24(b"<overlay/>"))),
    ("config_update", "kinds", 16, u8(2) + v32(v24(v16(b"<kind-block/>"), v16(b"")))),
    ("config_update", "no_kind", 16, u8(2) + v32(v24(b""))),
    ("config_update", "unknown", 16, u8(9) + v32(b"anything")),
    ("join_req", "plain", 16, N + v16(b"")),
    ("join_req", "data_20", 20, N20 + v16(b"data")),
    ("join_ans", "empty", 16, v16(b"")),
    ("join_ans", "data", 16, v16(b"data")),
    ("leave_req", "chord", 16, N + v16(u8(1) + v16(N + M))),
    ("leave_req", "node_20", 20, N20 + v16(b"")),
    ("chord_leave", "from_succ", 16, u8(1) + v16(N + M)),
    ("chord_leave", "from_pred", 16, u8(2) + v16(b"")),
    ("chord_leave", "node_20", 20, u8(2) + v16(N20)),
    ("chord_update", "peer_ready", 16, u32(3600) + u8(1)),
    ("chord_update", "neighbors", 16, u32(3600) + u8(2) + v16(N + M) + v16(M)),
    ("chord_update", "full", 16, u32(0) + u8(3) + v16(N) + v16(b"") + v16(N + M)),
    ("chord_update", "full_20", 20, u32(1) + u8(3) + v16(N20) + v16(M20) + v16(N20 + M20)),
    ("route_query", "resource", 16, u8(1) + resource(RESOURCE) + v16(b"")),
    ("route_query", "compact", 16, u8(0) + compact(9) + v16(b"data")),
    ("route_query", "node_20", 20, u8(0) + node(N20) + v16(b"")),
    ("chord_route_query_ans", "plain", 16, N),
    ("chord_route_query_ans", "node_20", 20, N20),
    ("stored_value_single", "abc", 16, value(b"abc")),
    ("stored_value_single", "absent", 16, value(b"", 0)),
    ("stored_value_array", "entry", 16, array(0xFFFFFFFF, b"abc")),
    ("stored_value_dictionary", "entry", 16, dictionary(b"key", b"abc")),
    ("stored_data_list_single", "two", 16, SINGLE),
    ("stored_data_list_array", "three", 16, ARRAY),
    ("stored_data_list_dictionary", "two", 16, DICTIONARY),
    ("stored_meta_data_list_single", "one", 16, meta(b"")),
    ("stored_meta_data_list_array", "two", 16, meta(u32(4)) + meta(u32(9), 0, 0, 0, b"")),
    ("stored_meta_data_list_dictionary", "two", 16, meta(v16(N)) + meta(v16(b""))),
    ("store_req_single", "two_kinds", 16, store(kinds((0x2, 7, SINGLE), (0xF0000001, 0, b"")))),
    ("store_req_single", "empty", 16, store(b"", 1, b"")),
    ("store_req_array", "values", 16, store(kinds((0x3, 0, ARRAY)), 2)),
    ("store_req_dictionary", "values", 16, store(kinds((0x1, 1 << 63, DICTIONARY)))),
    ("store_ans", "replicas", 16, v16(u32(1) + u64(5) + v16(N + M), u32(0x10) + u64(1) + v16(b""))),
    ("store_ans", "replicas_20", 20, v16(u32(1) + u64(5) + v16(N20 + M20))),
    ("store_ans", "empty", 16, v16(b"")),
    ("fetch_req_single", "two", 16, fetch(specifier(2, 0), specifier(0xF0000001, 9))),
    ("fetch_req_single", "none", 16, fetch()),
    ("fetch_req_array", "whole", 16, fetch(specifier(3, 0, ranges((0, 0xFFFFFFFF))))),
    ("fetch_req_array", "ranges", 16, fetch(specifier(3, 0, ranges((8, 9), (0, 3), (5, 5))), specifier(0x10, 1, ranges()))),
    ("fetch_req_dictionary", "keys", 16, fetch(specifier(1, 0, v16(v16(N), v16(b""))), specifier(1, 0, v16()))),
    ("fetch_ans_single", "values", 16, v32(kinds((2, 4, SINGLE), (0xF0000001, 1, b"")))),
    ("fetch_ans_array", "values", 16, v32(kinds((3, 4, ARRAY)))),
    ("fetch_ans_dictionary", "values", 16, v32(kinds((1, 4, DICTIONARY)))),
    ("fetch_ans_single", "empty", 16, v32(b"")),
    ("stat_ans_single", "values", 16, v32(kinds((2, 4, meta(b""))))),
    ("stat_ans_array", "values", 16, v32(kinds((3, 4, meta(u32(4)) + meta(u32(5)))))),
    ("stat_ans_dictionary", "values", 16, v32(kinds((1, 4, meta(v16(N)))))),
    ("find_req", "two", 16, v8(RESOURCE) + v8(u32(1), u32(2))),
    ("find_req", "none", 16, v8(RESOURCE) + v8(b"")),
    ("find_ans", "two", 16, v16(u32(1) + v8(RESOURCE), u32(2) + v8(b""))),
    ("turn_server", "ipv4", 16, u8(1) + V4),
    ("turn_server", "ipv6", 16, u8(2) + V6),
    ("turn_server", "unknown", 16, u8(3) + u8(9) + v8(b"x")),
    ("sip_registration", "uri", 16, u8(1) + v16(v16(b"sip:bob@example.org"))),
    ("sip_registration", "route", 16, u8(2) + v16(v16(b"(& (sip.schemes=SIP))"), v16(node(N)))),
    ("sip_registration", "route_compressed", 16, u8(2) + v16(v16(b""), v16(node(N20) + compact(4)))),
    ("sip_registration", "unknown", 16, u8(3) + v16(b"later")),
]

INVALID = [
    ("destination", "node_too_short", 16, u8(1) + v8(N[:15])),
    ("destination", "node_too_long", 16, node(N20)),
    ("destination", "node_too_short_for_20", 20, node(N)),
    ("destination", "node_empty", 16, u8(1) + v8(b"")),
    ("destination", "resource_without_inner_length", 16, u8(2) + v8(b"")),
    ("destination", "resource_inner_too_long", 16, u8(2) + v8(b"\x04abc")),
    ("destination", "resource_inner_too_short", 16, u8(2) + v8(b"\x02abc")),
    ("destination", "opaque_inner_too_long", 16, u8(3) + v8(b"\xffabc")),
    ("destination", "opaque_inner_too_short", 16, u8(3) + v8(b"\x00a")),
    ("destination_list", "too_many", 16, compact(1) * 65),
    ("destination_list", "bad_node_second", 16, compact(1) + u8(1) + v8(b"short")),
    ("ip_address_port", "ipv4_long", 16, u8(1) + v8(bytes(7))),
    ("ip_address_port", "ipv4_short", 16, u8(1) + v8(bytes(5))),
    ("ip_address_port", "ipv6_as_ipv4", 16, u8(2) + v8(bytes(6))),
    ("forwarding_header", "token", 16, b"RELO" + header(b"", node(N), b"")[4:]),
    ("forwarding_header", "version_draft", 16, header(b"", node(N), b"").replace(b"\x00\x16\x0a", b"\x00\x16\x01")),
    ("forwarding_header", "version_later", 16, header(b"", node(N), b"").replace(b"\x00\x16\x0a", b"\x00\x16\x0b")),
    ("forwarding_options", "oversized", 16, u8(200) + u8(0) + u16(5) + b"four"),
    ("message_extensions", "boolean", 16, extension(1, 2, b"")),
    ("message_extensions", "oversized", 16, u16(1) + u8(0) + u32(0xFFFFFFFF)),
    ("message_contents", "extension_boolean", 16, contents(0x17, b"", extension(1, 255, b""))),
    ("message_contents", "body_oversized", 16, u16(0x17) + u32(0xFFFFFFFF) + u32(0)),
    ("signer_identity", "none_not_empty", 16, identity(3, b"x")),
    ("signer_identity", "hash_trailing", 16, identity(1, u8(4) + v8(b"h") + b"x")),
    ("signer_identity", "hash_empty", 16, identity(1, b"")),
    ("signer_identity", "hash_oversized", 16, identity(2, u8(4) + u8(9) + b"short")),
    ("security_block", "certificate_oversized", 16, security(u8(0) + u16(9) + b"short", UNSIGNED)),
    ("security_block", "certificate_cut", 16, security(certificate(b"x") + u8(0), UNSIGNED)),
    ("message", "length_short", 16, message(b"", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED), extra=-1)),
    ("message", "length_long", 16, message(b"", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED), extra=1)),
    ("message", "first_fragment", 16, message(b"", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED),
                                              fragment=0x80000000)),
    ("message", "last_fragment", 16, message(b"", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED),
                                             fragment=0xC0000100)),
    ("message", "historic_bit_clear", 16, message(b"", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED),
                                                  fragment=0x40000000)),
    ("message", "via_malformed", 16, message(b"\x01\x02", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED))),
    ("message", "destination_malformed", 16, message(b"", node(N)[:-1], b"", contents(0x17, v16(b"")), security(b"", SIGNED))),
    ("message", "options_malformed", 16, message(b"", node(N), b"\x01", contents(0x17, v16(b"")), security(b"", SIGNED))),
    ("message", "via_too_many", 16, message(compact(1) * 65, node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED))),
    ("message", "node_id_length", 20, message(b"", node(N), b"", contents(0x17, v16(b"")), security(b"", SIGNED))),
    ("framed_message", "unknown_type", 16, u8(130) + u32(5) + u32(0)),
    ("framed_message", "type_zero", 16, u8(0)),
    ("framed_message", "oversized", 16, u8(128) + u32(5) + u24(0xFFFFFF) + b"short"),
    ("error_response", "oversized", 16, u16(2) + u16(0xFFFF) + b"short"),
    ("unknown_kinds", "cut_kind", 16, v8(bytes(5))),
    ("probe_ans", "short_value", 16, v16(bytes([1, 3, 0, 0, 0]))),
    ("probe_ans", "long_value", 16, v16(bytes([3, 5, 0, 0, 0, 0, 0]))),
    ("probe_ans", "cut", 16, v16(bytes([3]))),
    ("attach", "send_update", 16, attach(HOST, 2)),
    ("attach", "candidate_type_zero", 16, attach(candidate(V4, 3, b"1", 1, 0), 0)),
    ("attach", "candidate_type_reserved", 16, attach(candidate(V4, 3, b"1", 1, 3, V4), 0)),
    ("attach", "candidate_type_unknown", 16, attach(candidate(V4, 3, b"1", 1, 0x55), 0)),
    ("attach", "candidate_cut", 16, attach(HOST[:-1], 0)),
    ("attach", "extension_cut", 16, attach(candidate(V4, 3, b"1", 1, 1, b"", b"\x00\x01"), 0)),
    ("app_attach", "candidate_type_unknown", 16, app_attach(candidate(V4, 3, b"1", 1, 5))),
    ("config_update", "config_short", 16, u8(1) + v32(v24(b"<overlay/>") + b"x")),
    ("config_update", "config_oversized", 16, u8(1) + v32(u24(99) + b"short")),
    ("config_update", "kind_cut", 16, u8(2) + v32(v24(v16(b"kind"), b"\x00"))),
    ("chord_leave", "type_zero", 16, u8(0) + v16(N)),
    ("chord_leave", "type_unknown", 16, u8(3) + v16(N)),
    ("chord_leave", "cut_id", 16, u8(1) + v16(N[:15])),
    ("chord_leave", "other_length", 20, u8(1) + v16(N)),
    ("chord_update", "type_zero", 16, u32(1) + u8(0)),
    ("chord_update", "type_unknown", 16, u32(1) + u8(0x55)),
    ("chord_update", "cut_predecessor", 16, u32(1) + u8(2) + v16(N + b"x") + v16(N)),
    ("chord_update", "cut_successor", 16, u32(1) + u8(2) + v16(N) + v16(N[1:])),
    ("chord_update", "cut_finger", 16, u32(1) + u8(3) + v16(N) + v16(N) + v16(N + N + b"x")),
    ("route_query", "boolean", 16, u8(2) + resource(RESOURCE) + v16(b"")),
    ("stored_value_single", "boolean", 16, u8(2) + v32(b"")),
    ("stored_value_array", "boolean", 16, u32(0) + u8(0x80) + v32(b"")),
    ("stored_value_single", "oversized", 16, u8(1) + u32(0xFFFFFFFF)),
    ("stored_data_list_single", "trailing_inside", 16, v32(u64(1), u32(1), value(b""), UNSIGNED, b"x")),
    ("stored_data_list_single", "other_model", 16, ARRAY),
    ("stored_meta_data_list_single", "boolean", 16, v32(u64(1), u32(60), u8(2), u32(3), u8(4), v8(b""))),
    ("stored_meta_data_list_single", "trailing_inside", 16, v32(u64(1), u32(60), u8(1), u32(3), u8(4), v8(b""), b"x")),
    ("store_req_single", "resource_255", 16, store(b"", 0, b"r" * 255)),
    ("store_req_single", "kind_cut", 16, store(kinds((2, 0, b""))[:-1])),
    ("store_ans", "cut_replica", 16, v16(u32(1) + u64(5) + v16(N + b"x"))),
    ("store_ans", "other_length", 20, v16(u32(1) + u64(5) + v16(N))),
    ("fetch_req_array", "reversed_range", 16, fetch(specifier(3, 0, ranges((4, 3))))),
    ("fetch_req_array", "overlap", 16, fetch(specifier(3, 0, ranges((0, 5), (5, 6))))),
    ("fetch_req_array", "overlap_unordered", 16, fetch(specifier(3, 0, ranges((8, 9), (0, 3), (2, 2))))),
    ("fetch_req_array", "overlap_last", 16, fetch(specifier(3, 0, ranges((0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF))))),
    ("fetch_req_array", "no_list", 16, fetch(specifier(3, 0))),
    ("fetch_req_array", "cut_range", 16, fetch(specifier(3, 0, v16(bytes(7))))),
    ("fetch_req_array", "trailing_inside", 16, fetch(specifier(3, 0, ranges((0, 1)) + b"x"))),
    ("fetch_req_dictionary", "cut_key", 16, fetch(specifier(1, 0, v16(v16(b"key"), b"\x00")))),
    ("fetch_req_dictionary", "no_list", 16, fetch(specifier(1, 0))),
    ("fetch_ans_single", "kind_cut", 16, v32(kinds((2, 4, b""))[:-2])),
    ("find_req", "cut_kind", 16, v8(RESOURCE) + v8(u32(1), b"x")),
    ("find_ans", "closest_255", 16, v16(u32(1) + v8(b"r" * 255))),
    ("find_ans", "cut", 16, v16(u32(1))),
    ("turn_server", "address", 16, u8(1) + u8(1) + v8(bytes(18))),
    ("sip_registration", "route_too_short", 16, u8(2) + v16(v16(b""), v16(compact(4)))),
    ("sip_registration", "route_empty", 16, u8(2) + v16(v16(b""), v16(b""))),
    ("sip_registration", "route_malformed", 16, u8(2) + v16(v16(b""), v16(b"\x01\x03abc"))),
    ("sip_registration", "uri_oversized", 16, u8(1) + v16(u16(9), b"short")),
    ("sip_registration", "uri_trailing", 16, u8(1) + v16(v16(b"bob"), b"x")),
]


def table(name, cases):
    print(f"static const struct wire_case {name}[] = {{")
    for recoder, case, node_id_length, octets in cases:
        text = octets.hex()
        print(f'\t{{"{recoder}", "{case}", {node_id_length},')
        for start in range(0, max(len(text), 1), 112):
            print(f'\t "{text[start:start + 112]}"' + ("}," if start + 112 >= len(text) else ""))
    print("};")


print("/* SPDX-License-Identifier: BSD-2-Clause */")
print("/* Encodings for the tests of userspace/wire. Written by wire_cases.py: change that. */")
print("#pragma once\n\n#include <stdint.h>\n")
print("struct wire_case {\n\tconst char *recoder; /* of wire_recode.h */\n\tconst char *name;\n\tuint8_t node_id_length;\n"
      "\tconst char *hex;\n};\n")
print("/* clang-format off */")
table("wire_valid", VALID)
print()
table("wire_invalid", INVALID)
print("/* clang-format on */")
