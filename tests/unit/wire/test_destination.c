/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire_test.h"

#include <errno.h>
#include <string.h>

#include "wire/destination.h"

#define NODE_HEX "0110" N_HEX
#define OTHER_HEX "0110" M_HEX

static struct id id_n(void) {
	return id_of(HEX(N_HEX));
}

/* B-6.3.2.2-01, B-6.3.2.2-02 */
static void test_written_forms(void **state) {
	uint8_t buffer[512];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct id id = id_n();

	(void)state;
	destination_write_node(&w, &id);
	assert_written(&w, NODE_HEX);
	w = writer_fixed(buffer, sizeof(buffer));
	destination_write_resource(&w, HEX(R_HEX));
	assert_written(&w, "021110" R_HEX);
	w = writer_fixed(buffer, sizeof(buffer));
	destination_write_opaque(&w, octets_of_string("abc"));
	assert_written(&w, "030403616263");
	w = writer_fixed(buffer, sizeof(buffer));
	destination_write_compact(&w, 5);
	destination_write_compact(&w, 0x8005);
	destination_write_compact(&w, 0x7fff);
	assert_written(&w, "8005 8005 ffff");
}

static void test_write_bounds(void **state) {
	uint8_t buffer[600], long_value[255] = {0};
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct id id = id_n();

	(void)state;
	destination_write_resource(&w, OCTETS(long_value, 254));
	assert_int_equal(writer_finish(&w), 0);
	assert_int_equal(w.length, 257);
	destination_write_resource(&w, OCTETS(long_value, 255));
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
	w = writer_fixed(buffer, sizeof(buffer));
	destination_write_opaque(&w, OCTETS(long_value, 255));
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
	w = writer_fixed(buffer, sizeof(buffer));
	w.node_id_length = 20;
	destination_write_node(&w, &id);
	assert_int_equal(writer_finish(&w), -EINVAL);
	w = writer_fixed(buffer, 17);
	destination_write_node(&w, &id);
	assert_int_equal(writer_finish(&w), -ENOBUFS);
}

/* B-6.3.2.2-01, B-6.3.2.2-06 */
static void test_read_fields(void **state) {
	struct reader r = reader_of_octets(HEX(NODE_HEX "021110" R_HEX "030403616263 8005 03 03 02 80 05 0902abcd"));
	struct destination destination;

	(void)state;
	assert_int_equal(destination_read(&r, &destination), 0);
	assert_int_equal(destination.type, DESTINATION_NODE);
	assert_false(destination.compact);
	assert_octets(destination.value, N_HEX);
	assert_octets(destination.whole, NODE_HEX);
	assert_int_equal(destination_read(&r, &destination), 0);
	assert_int_equal(destination.type, DESTINATION_RESOURCE);
	assert_octets(destination.value, R_HEX);
	assert_int_equal(destination_read(&r, &destination), 0);
	assert_int_equal(destination.type, DESTINATION_OPAQUE);
	assert_octets(destination.value, "616263");
	assert_int_equal(destination_read(&r, &destination), 0);
	assert_int_equal(destination.type, DESTINATION_OPAQUE);
	assert_true(destination.compact);
	assert_octets(destination.value, "8005"); /* the same as the long form that follows */
	assert_octets(destination.whole, "8005");
	assert_int_equal(destination_read(&r, &destination), 0);
	assert_int_equal(destination.type, DESTINATION_OPAQUE);
	assert_false(destination.compact);
	assert_octets(destination.value, "8005");
	assert_octets(destination.whole, "0303028005");
	assert_int_equal(destination_read(&r, &destination), 0);
	assert_int_equal(destination.type, 9);
	assert_octets(destination.value, "abcd");
	assert_octets(destination.whole, "0902abcd");
	assert_int_equal(reader_finish(&r), 0);
}

static void test_read_leaves_result_on_failure(void **state) {
	struct destination destination = {.type = 77};
	struct reader r = reader_of_octets(HEX("0110"
					       "0011"));

	(void)state;
	assert_int_equal(destination_read(&r, &destination), -EBADMSG);
	assert_int_equal(destination.type, 77);
	assert_int_equal(reader_finish(&r), -EBADMSG);
}

static void test_list_check(void **state) {
	struct octets list = HEX(NODE_HEX "8005"
					  "021110" R_HEX);

	(void)state;
	assert_int_equal(destination_list_check(list, 16, 3), 0);
	assert_int_equal(destination_list_check(list, 16, 2), -E2BIG);
	assert_int_equal(destination_list_check(list, 20, 3), -EBADMSG);
	assert_int_equal(destination_list_check(list, 0, 3), 0);
	assert_int_equal(destination_list_check(OCTETS_NONE, 16, 0), 0);
	assert_int_equal(destination_list_check(OCTETS(list.data, list.length - 1), 16, 3), -EBADMSG);
	assert_int_equal(destination_list_check(HEX("0114" N_HEX "01020304" NODE_HEX), 0, 3), 0);
	assert_int_equal(destination_list_check(HEX("010f"
						    "00112233445566778899aabbccddee"),
						0, 3),
			 -EBADMSG);
	assert_int_equal(destination_list_check(HEX("0115" N_HEX "0102030405"), 0, 3), -EBADMSG);
	for (unsigned length = 1; length < 256; length++)
		if (length < 16 || length > 20)
			assert_int_equal(destination_list_check(list, (uint8_t)length, 3), -EBADMSG);
}

/* B-6.2.2-01 */
static void test_reversed(void **state) {
	uint8_t buffer[128];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	writer_u8(&w, 0x42);
	assert_int_equal(destination_write_reversed(&w, HEX(NODE_HEX "8005" OTHER_HEX "030403616263")), 0);
	assert_written(&w, "42"
			   "030403616263" OTHER_HEX "8005" NODE_HEX);

	w = writer_fixed(buffer, sizeof(buffer));
	assert_int_equal(destination_write_reversed(&w, OCTETS_NONE), 0);
	assert_written(&w, "");
	assert_int_equal(destination_write_reversed(&w, HEX("8005 01")), -EBADMSG);
	assert_int_equal(destination_write_reversed(&w, HEX("80")), -EBADMSG);
	assert_written(&w, ""); /* nothing of a malformed list is written */

	w = writer_fixed(buffer, 3);
	assert_int_equal(destination_write_reversed(&w, HEX("8005 8006")), 0);
	assert_int_equal(writer_finish(&w), -ENOBUFS);
}

static void test_sole_node(void **state) {
	struct id id = destination_sole_node(HEX(NODE_HEX), 16), expected = id_n();

	(void)state;
	assert_true(id_equal(&id, &expected));
	id = destination_sole_node(HEX(NODE_HEX OTHER_HEX), 16);
	assert_true(id_is_none(&id));
	id = destination_sole_node(HEX(NODE_HEX "00"), 16);
	assert_true(id_is_none(&id));
	id = destination_sole_node(HEX("021110" R_HEX), 16);
	assert_true(id_is_none(&id));
	id = destination_sole_node(HEX("8005"), 16);
	assert_true(id_is_none(&id));
	id = destination_sole_node(HEX(NODE_HEX), 20);
	assert_true(id_is_none(&id));
	id = destination_sole_node(OCTETS_NONE, 16);
	assert_true(id_is_none(&id));
	id = destination_sole_node(HEX("0114" N_HEX "01020304"), 20);
	assert_int_equal(id.length, 20);
}

static void test_last(void **state) {
	struct destination last = {.type = 77};

	(void)state;
	assert_int_equal(destination_last(OCTETS_NONE, 16, &last), -ENOENT);
	assert_int_equal(destination_last(HEX(NODE_HEX "80"), 16, &last), -EBADMSG);
	assert_int_equal(destination_last(OCTETS_NONE, 5, &last), -EBADMSG);
	assert_int_equal(last.type, 77);
	assert_int_equal(destination_last(HEX(NODE_HEX "8005" OTHER_HEX), 16, &last), 0);
	assert_octets(last.whole, OTHER_HEX);
	assert_int_equal(destination_last(HEX("8005"), 16, &last), 0);
	assert_true(last.compact);
}

/* B-6.3.1-04 */
static void test_ip_address_port(void **state) {
	struct reader r = reader_of_octets(HEX("0106c000020117c4"
					       "021220010db800000000000000000000000117c4"
					       "0903aabbcc"
					       "0000"));
	struct address address, expected;
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	assert_int_equal(address_parse("192.0.2.1:6084", 0, &expected), 0);
	assert_int_equal(ip_address_port_read(&r, &address), 0);
	assert_true(address_equal(&address, &expected));
	ip_address_port_write(&w, &address);
	assert_int_equal(address_parse("[2001:db8::1]:6084", 0, &expected), 0);
	assert_int_equal(ip_address_port_read(&r, &address), 0);
	assert_true(address_equal(&address, &expected));
	ip_address_port_write(&w, &address);
	assert_written(&w, "0106c000020117c4 021220010db800000000000000000000000117c4");
	assert_int_equal(ip_address_port_read(&r, &address), 0);
	assert_int_equal(address.family, 0);
	assert_int_equal(ip_address_port_read(&r, &address), 0);
	assert_int_equal(address.family, 0);
	assert_int_equal(reader_finish(&r), 0);
	ip_address_port_write(&w, &address);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_written_forms),	cmocka_unit_test(test_write_bounds),
		cmocka_unit_test(test_read_fields),	cmocka_unit_test(test_read_leaves_result_on_failure),
		cmocka_unit_test(test_list_check),	cmocka_unit_test(test_reversed),
		cmocka_unit_test(test_sole_node),	cmocka_unit_test(test_last),
		cmocka_unit_test(test_ip_address_port),
	};

	return cmocka_run_group_tests_name("wire/destination", tests, NULL, NULL);
}
