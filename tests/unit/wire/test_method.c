/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire_test.h"

#include <errno.h>
#include <string.h>

#include "wire/method.h"

static struct writer writer_new(void) {
	static uint8_t buffer[1024];

	return writer_fixed(buffer, sizeof(buffer));
}

/* B-6.4.2.5-01 */
static void test_probe(void **state) {
	struct writer w = writer_new();
	struct probe_req probe;
	struct probe_information information;
	struct octets list;

	(void)state;
	assert_int_equal(probe_req_read(HEX("03 03 01 c8"), &probe), 0);
	assert_octets(probe.requested_info, "0301c8");
	size_t mark = writer_begin(&w, 2);
	probe_information_write(&w, PROBE_UPTIME, 86400);
	probe_information_write(&w, PROBE_RESPONSIBLE_SET, 250000000);
	writer_end(&w, mark, 2);
	assert_written(&w, "000c 03 04 00015180 01 04 0ee6b280");
	assert_int_equal(probe_ans_read(HEX("000b 03 04 00015180 c8 03 6e6577"), &list), 0);
	struct reader r = reader_of_octets(list);
	assert_int_equal(probe_information_next(&r, &information), 1);
	assert_int_equal(information.type, PROBE_UPTIME);
	assert_int_equal(information.value, 86400);
	assert_int_equal(probe_information_next(&r, &information), 1);
	assert_int_equal(information.type, 200);
	TEXT(information.raw, "new");
	assert_int_equal(probe_information_next(&r, &information), 0);
}

/* B-6.5.1.1-01, B-6.5.1.1-03 */
static void test_attach(void **state) {
	struct writer candidates = writer_new();
	static uint8_t buffer[512];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct attach_req_ans attach = {
		.ufrag = octets_of_string("uf"),
		.password = octets_of_string("pw"),
		.role = octets_of_string("passive"),
		.send_update = true,
	};
	struct ice_candidate host = {
		.overlay_link = LINK_DTLS_UDP_SR_NO_ICE,
		.foundation = octets_of_string("1"),
		.priority = 0x7e0000ff,
		.type = CANDIDATE_HOST,
	};
	struct ice_candidate relay = {
		.overlay_link = LINK_DTLS_UDP_SR,
		.priority = 1,
		.type = CANDIDATE_RELAY,
		.extensions = HEX("0001 6e 0002 7676"),
	};

	(void)state;
	assert_int_equal(address_parse("192.0.2.1", 6084, &host.address), 0);
	assert_int_equal(address_parse("198.51.100.7:7000", 0, &relay.address), 0);
	assert_int_equal(address_parse("[2001:db8::1]:6084", 0, &relay.related), 0);
	ice_candidate_write(&candidates, &host);
	ice_candidate_write(&candidates, &relay);
	attach.candidates = writer_octets_written(&candidates);
	attach_write(&w, &attach);
	assert_written(&w, "02 7566 02 7077 07 70617373697665 003e"
			   "0106c000020117c4 03 01 31 7e0000ff 01 0000"
			   "0106c63364071b58 01 00 00000001 04 021220010db800000000000000000000000117c4 0007 0001 6e 0002 7676"
			   "01");

	struct attach_req_ans read;
	struct ice_candidate candidate;
	struct ice_extension extension;
	assert_int_equal(attach_read(writer_octets_written(&w), &read), 0);
	TEXT(read.ufrag, "uf");
	TEXT(read.password, "pw");
	TEXT(read.role, "passive");
	assert_true(read.send_update);
	struct reader r = reader_of_octets(read.candidates);
	assert_int_equal(ice_candidate_next(&r, &candidate), 1);
	assert_true(address_equal(&candidate.address, &host.address));
	assert_int_equal(candidate.overlay_link, LINK_DTLS_UDP_SR_NO_ICE);
	TEXT(candidate.foundation, "1");
	assert_int_equal(candidate.priority, 0x7e0000ff);
	assert_int_equal(candidate.type, CANDIDATE_HOST);
	assert_int_equal(candidate.related.family, 0);
	assert_int_equal(ice_candidate_next(&r, &candidate), 1);
	assert_int_equal(candidate.type, CANDIDATE_RELAY);
	assert_true(address_equal(&candidate.related, &relay.related));
	struct reader extensions = reader_of_octets(candidate.extensions);
	assert_int_equal(ice_extension_next(&extensions, &extension), 1);
	TEXT(extension.name, "n");
	TEXT(extension.value, "vv");
	assert_int_equal(ice_extension_next(&extensions, &extension), 0);
	assert_int_equal(ice_candidate_next(&r, &candidate), 0);

	host.type = 3; /* never sent */
	ice_candidate_write(&candidates, &host);
	assert_int_equal(writer_finish(&candidates), -EINVAL);
}

static void test_app_attach(void **state) {
	struct writer w = writer_new();
	struct attach_req_ans attach = {.ufrag = octets_of_string("u"),
					.password = octets_of_string("p"),
					.role = octets_of_string("active"),
					.application = 5061};
	struct attach_req_ans read;

	(void)state;
	app_attach_write(&w, &attach);
	assert_written(&w, "01 75 01 70 13c5 06 616374697665 0000");
	assert_int_equal(app_attach_read(writer_octets_written(&w), &read), 0);
	assert_int_equal(read.application, APPLICATION_SIPS);
	assert_false(read.send_update);
	/* The two layouts are not mixed up. */
	assert_int_equal(attach_read(writer_octets_written(&w), &read), -EBADMSG);
}

/* B-6.5.3-01 */
static void test_ping(void **state) {
	struct writer w = writer_new();
	struct octets padding = {.length = 77};
	struct ping_ans ping;

	(void)state;
	ping_req_write(&w, OCTETS_NONE);
	assert_written(&w, "0000");
	assert_int_equal(ping_req_read(HEX("0003 010203"), &padding), 0);
	assert_octets(padding, "010203");
	assert_int_equal(ping_req_read(HEX(""), &padding), -EBADMSG);
	assert_octets(padding, "010203");
	w = writer_new();
	ping_ans_write(&w, &(struct ping_ans){.response_id = 0x0102030405060708, .time_ms = 1700000000000});
	assert_written(&w, "0102030405060708 0000018bcfe56800");
	assert_int_equal(ping_ans_read(writer_octets_written(&w), &ping), 0);
	assert_true(ping.response_id == UINT64_C(0x0102030405060708) && ping.time_ms == UINT64_C(1700000000000));
}

/* B-6.5.4-05 */
static void test_config_update(void **state) {
	struct octets kinds[] = {octets_of_string("<k/>"), octets_of_string("<l/>")}, kind;
	struct writer w = writer_new();
	struct config_update_req update;

	(void)state;
	config_update_write_config(&w, octets_of_string("<o/>"));
	assert_written(&w, "01 00000007 000004 3c6f2f3e");
	assert_int_equal(config_update_read(writer_octets_written(&w), &update), 0);
	TEXT(update.config, "<o/>");
	w = writer_new();
	config_update_write_kinds(&w, kinds, 2);
	assert_written(&w, "02 0000000f 00000c 0004 3c6b2f3e 0004 3c6c2f3e");
	assert_int_equal(config_update_read(writer_octets_written(&w), &update), 0);
	struct reader r = reader_of_octets(update.kinds);
	assert_int_equal(kind_description_next(&r, &kind), 1);
	TEXT(kind, "<k/>");
	assert_int_equal(kind_description_next(&r, &kind), 1);
	TEXT(kind, "<l/>");
	assert_int_equal(kind_description_next(&r, &kind), 0);
	assert_int_equal(config_update_read(HEX("63 00000002 abcd"), &update), 0);
	assert_int_equal(update.type, 0x63);
	assert_octets(update.raw, "abcd");
	assert_int_equal(update.config.length, 0);
}

static void test_join_leave(void **state) {
	struct writer w = writer_new();
	struct join_req join = {.joining_peer_id = id_of(HEX(N_HEX)), .overlay_specific_data = octets_of_string("d")}, joined;
	struct leave_req left;
	struct octets data;

	(void)state;
	join_req_write(&w, &join);
	assert_written(&w, N_HEX "0001 64");
	assert_int_equal(join_req_read(writer_octets_written(&w), 16, &joined), 0);
	assert_true(id_equal(&joined.joining_peer_id, &join.joining_peer_id));
	TEXT(joined.overlay_specific_data, "d");
	assert_int_equal(join_req_read(writer_octets_written(&w), 20, &joined), -EBADMSG);
	assert_int_equal(join_ans_read(HEX("0002 abcd"), &data), 0);
	assert_octets(data, "abcd");
	w = writer_new();
	join_ans_write(&w, OCTETS_NONE);
	assert_written(&w, "0000");
	w = writer_new();
	leave_req_write(&w, &(struct leave_req){.leaving_peer_id = join.joining_peer_id});
	assert_written(&w, N_HEX "0000");
	assert_int_equal(leave_req_read(writer_octets_written(&w), 16, &left), 0);
	assert_true(id_equal(&left.leaving_peer_id, &join.joining_peer_id));
	w = writer_new();
	w.node_id_length = 20;
	join_req_write(&w, &join);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

static void test_node_ids(void **state) {
	struct id ids[] = {id_of(HEX(N_HEX)), id_of(HEX(M_HEX))}, id;
	struct writer w = writer_new();
	struct chord_leave_data leave;

	(void)state;
	node_ids_write16(&w, ids, 2);
	assert_written(&w, "0020" N_HEX M_HEX);
	w = writer_new();
	chord_leave_write(&w, CHORD_FROM_PRED, ids, 2);
	assert_written(&w, "02 0020" N_HEX M_HEX);
	assert_int_equal(chord_leave_read(writer_octets_written(&w), 16, &leave), 0);
	assert_int_equal(leave.type, CHORD_FROM_PRED);
	struct reader r = reader_of_octets(leave.node_ids);
	assert_int_equal(node_id_next(&r, &id), 1);
	assert_true(id_equal(&id, &ids[0]));
	assert_int_equal(node_id_next(&r, &id), 1);
	assert_true(id_equal(&id, &ids[1]));
	assert_int_equal(node_id_next(&r, &id), 0);
	/* A reader without a Node-ID length does not loop over nothing. */
	r = reader_of_octets(leave.node_ids);
	r.node_id_length = 0;
	assert_int_equal(node_id_next(&r, &id), -EBADMSG);
	chord_leave_write(&w, 0, ids, 2);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

static void test_chord_update(void **state) {
	struct chord_update update = {.uptime_s = 3600,
				      .type = CHORD_FULL,
				      .predecessors = HEX(N_HEX),
				      .fingers = HEX(N_HEX M_HEX)},
			    read;
	struct writer w = writer_new();

	(void)state;
	chord_update_write(&w, &update);
	assert_written(&w, "00000e10 03 0010" N_HEX "0000 0020" N_HEX M_HEX);
	assert_int_equal(chord_update_read(writer_octets_written(&w), 16, &read), 0);
	assert_int_equal(read.uptime_s, 3600);
	assert_octets(read.predecessors, N_HEX);
	assert_int_equal(read.successors.length, 0);
	assert_octets(read.fingers, N_HEX M_HEX);
	update.type = CHORD_NEIGHBORS;
	w = writer_new();
	chord_update_write(&w, &update);
	assert_written(&w, "00000e10 02 0010" N_HEX "0000");
	update.type = CHORD_PEER_READY;
	w = writer_new();
	chord_update_write(&w, &update);
	assert_written(&w, "00000e10 01");
	assert_int_equal(chord_update_read(writer_octets_written(&w), 16, &read), 0);
	assert_int_equal(read.predecessors.length, 0);
	update.type = 4;
	chord_update_write(&w, &update);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

/* B-6.4.2.4-01 */
static void test_route_query(void **state) {
	struct writer w = writer_new();
	struct route_query_req query;
	struct id id, expected = id_of(HEX(N_HEX));

	(void)state;
	assert_int_equal(route_query_read(HEX("01 021110" R_HEX "0000"), 16, &query), 0);
	assert_true(query.send_update);
	assert_int_equal(query.destination.type, DESTINATION_RESOURCE);
	assert_octets(query.destination.value, R_HEX);
	query.send_update = false;
	route_query_write(&w, &query);
	assert_written(&w, "00 021110" R_HEX "0000");
	query.destination.whole = OCTETS_NONE;
	route_query_write(&w, &query);
	assert_int_equal(writer_finish(&w), -EINVAL);
	assert_int_equal(chord_route_query_ans_read(HEX(N_HEX), 16, &id), 0);
	assert_true(id_equal(&id, &expected));
	assert_int_equal(chord_route_query_ans_read(HEX(N_HEX), 20, &id), -EBADMSG);
	assert_int_equal(chord_route_query_ans_read(HEX(N_HEX), 0, &id), -EBADMSG);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probe),	 cmocka_unit_test(test_attach),	       cmocka_unit_test(test_app_attach),
		cmocka_unit_test(test_ping),	 cmocka_unit_test(test_config_update), cmocka_unit_test(test_join_leave),
		cmocka_unit_test(test_node_ids), cmocka_unit_test(test_chord_update),  cmocka_unit_test(test_route_query),
	};

	return cmocka_run_group_tests_name("wire/method", tests, NULL, NULL);
}
