/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each decoder by itself, called once: it succeeds on its encoding, and on every truncation of it fails at that call, leaves the
 * result untouched and the reader failed.
 */
#include "wire_test.h"

#include <errno.h>
#include <string.h>

#include "wire/data.h"
#include "wire/method.h"

#define MODELS(name, type)                                                                                                         \
	static int name##_single(struct reader *r, struct type *ret) {                                                             \
		return name(r, DATA_MODEL_SINGLE, ret);                                                                            \
	}                                                                                                                          \
	static int name##_array(struct reader *r, struct type *ret) {                                                              \
		return name(r, DATA_MODEL_ARRAY, ret);                                                                             \
	}                                                                                                                          \
	static int name##_dictionary(struct reader *r, struct type *ret) {                                                         \
		return name(r, DATA_MODEL_DICTIONARY, ret);                                                                        \
	}
MODELS(stored_value_read, stored_value)
MODELS(stored_data_next, stored_data)
MODELS(stored_meta_data_next, stored_meta_data)

/* Bodies are decoded from octets; for the tables here from all that a reader holds. */
#define BODY(function, type)                                                                                                       \
	static int function##_all(struct reader *r, type *ret) {                                                                   \
		return function(reader_rest(r), ret) < 0 ? reader_fail(r) : 0;                                                     \
	}
#define BODY_WITH_IDS(function, type)                                                                                              \
	static int function##_all(struct reader *r, type *ret) {                                                                   \
		return function(reader_rest(r), r->node_id_length, ret) < 0 ? reader_fail(r) : 0;                                  \
	}
BODY(error_response_read, struct error_response)
BODY(probe_req_read, struct probe_req)
BODY(probe_ans_read, struct octets)
BODY(attach_read, struct attach_req_ans)
BODY(app_attach_read, struct attach_req_ans)
BODY(ping_req_read, struct octets)
BODY(ping_ans_read, struct ping_ans)
BODY(config_update_read, struct config_update_req)
BODY(join_ans_read, struct octets)
BODY(store_req_read, struct store_req)
BODY(store_ans_read, struct octets)
BODY(fetch_req_read, struct fetch_req)
BODY(fetch_ans_read, struct octets)
BODY(stat_ans_read, struct octets)
BODY(find_req_read, struct find_req)
BODY(find_ans_read, struct octets)
BODY(turn_server_read, struct turn_server)
BODY(sip_registration_read, struct sip_registration)
BODY_WITH_IDS(message_read, struct message)
BODY_WITH_IDS(join_req_read, struct join_req)
BODY_WITH_IDS(leave_req_read, struct leave_req)
BODY_WITH_IDS(chord_leave_read, struct chord_leave_data)
BODY_WITH_IDS(chord_update_read, struct chord_update)
BODY_WITH_IDS(route_query_read, struct route_query_req)
BODY_WITH_IDS(chord_route_query_ans_read, struct id)

/* Runs `function` over `encoding` and its truncations. `element`: 1 is success and nothing left is the end, not an error. */
#define CHECK(function, type, element, encoding)                                                                                   \
	({                                                                                                                         \
		struct octets _whole = HEX(encoding);                                                                              \
		type _untouched, _result;                                                                                          \
		memset(&_untouched, 0x5a, sizeof(_untouched));                                                                     \
		for (size_t _cut = 0; _cut <= _whole.length; _cut++) {                                                             \
			_cleanup_free_ uint8_t *_copy = malloc(_cut);                                                              \
			memcpy(_copy, _whole.data, _cut);                                                                          \
			struct reader _r = reader_of(_copy, _cut);                                                                 \
			memset(&_result, 0x5a, sizeof(_result));                                                                   \
			int _status = function(&_r, &_result);                                                                     \
			if (_cut == _whole.length) {                                                                               \
				assert_int_equal(_status, (element) ? 1 : 0);                                                      \
				assert_int_equal(reader_finish(&_r), 0);                                                           \
				assert_memory_not_equal(&_result, &_untouched, sizeof(type));                                      \
				continue;                                                                                          \
			}                                                                                                          \
			bool _end = (element) && _cut == 0;                                                                        \
			if (_status != (_end ? 0 : -EBADMSG))                                                                      \
				fail_msg("%s: %d from %zu of %zu octets", #function, _status, _cut, _whole.length);                \
			assert_int_equal(_r.error, _end ? 0 : -EBADMSG);                                                           \
			assert_memory_equal(&_result, &_untouched, sizeof(type));                                                  \
			if (!_end)                                                                                                 \
				assert_int_equal(function(&_r, &_result), -EBADMSG);                                               \
		}                                                                                                                  \
	})
#define ELEMENT(function, type, encoding) CHECK(function, type, true, encoding)
#define READ(function, type, encoding) CHECK(function, type, false, encoding)

#define NODE_HEX "0110" N_HEX
#define V4_HEX "0106c000020117c4"
#define NONE_HEX "0000 03 0000 0000"
#define SIGNED_HEX "0403 01 0004 04 02 abcd 0002 beef"
#define HEADER_HEX(length, via, lists)                                                                                             \
	"d2454c4f 9aa32b8d 0016 0a 64 c0000000" length "0102030405060708 00000000" via "0012 0000" lists

static void test_headers(void **state) {
	(void)state;
	READ(destination_read, struct destination, NODE_HEX);
	READ(destination_read, struct destination, "021110" R_HEX);
	READ(destination_read, struct destination, "030403616263");
	READ(destination_read, struct destination, "8005");
	READ(destination_read, struct destination, "0903abcdef");
	READ(ip_address_port_read, struct address, V4_HEX);
	READ(ip_address_port_read, struct address, "021220010db800000000000000000000000117c4");
	READ(ip_address_port_read, struct address, "0902abcd");
	READ(forwarding_header_read, struct forwarding_header, HEADER_HEX("0000003a", "0002", "8005" NODE_HEX));
	READ(framed_message_read, struct framed_message, "80 00000007 000003 616263");
	READ(framed_message_read, struct framed_message, "81 00000005 0000003a");
	ELEMENT(forwarding_option_next, struct forwarding_option, "c8 01 0002 abcd");
}

static void test_contents(void **state) {
	(void)state;
	READ(message_contents_read, struct message_contents, "0017 00000002 0000 00000009 7777 01 00000002 abcd");
	ELEMENT(message_extension_next, struct message_extension, "7777 01 00000002 abcd");
	READ(error_response_read_all, struct error_response, "0003 0002 6e6f");
	READ(message_read_all, struct message,
	     HEADER_HEX("0000004f", "0002", "8005" NODE_HEX) "0017 00000002 0000 00000000"
							     "0000" NONE_HEX);
}

static void test_security(void **state) {
	(void)state;
	READ(signer_identity_read, struct signer_identity, "01 0004 04 02 abcd");
	READ(signer_identity_read, struct signer_identity, "02 0004 04 02 abcd");
	READ(signer_identity_read, struct signer_identity, "03 0000");
	READ(signer_identity_read, struct signer_identity, "4d 0002 abcd");
	READ(signature_read, struct signature, SIGNED_HEX);
	READ(security_block_read, struct security_block, "0005 00 0002 dead" SIGNED_HEX);
	ELEMENT(generic_certificate_next, struct generic_certificate, "00 0002 dead");
}

static void test_methods(void **state) {
	(void)state;
	READ(probe_req_read_all, struct probe_req, "02 0301");
	READ(probe_ans_read_all, struct octets, "0006 03 04 00015180");
	ELEMENT(probe_information_next, struct probe_information, "03 04 00015180");
	ELEMENT(probe_information_next, struct probe_information, "c8 02 abcd");
	READ(attach_read_all, struct attach_req_ans,
	     "01 75 01 70 01 72 0012" V4_HEX "03 01 31 7e0000ff 01 0000"
	     "01");
	READ(app_attach_read_all, struct attach_req_ans, "01 75 01 70 13c4 01 72 0012" V4_HEX "03 01 31 7e0000ff 01 0000");
	ELEMENT(ice_candidate_next, struct ice_candidate, V4_HEX "03 01 31 7e0000ff 01 0000");
	ELEMENT(ice_candidate_next, struct ice_candidate, V4_HEX "01 00 00000001 02" V4_HEX "0007 0001 6e 0002 7676");
	ELEMENT(ice_candidate_next, struct ice_candidate, V4_HEX "01 00 00000001 04" V4_HEX "0000");
	ELEMENT(ice_extension_next, struct ice_extension, "0001 6e 0002 7676");
	READ(ping_req_read_all, struct octets, "0002 abcd");
	READ(ping_ans_read_all, struct ping_ans, "0102030405060708 0000018bcfe56800");
	READ(config_update_read_all, struct config_update_req, "01 00000005 000002 6f6f");
	READ(config_update_read_all, struct config_update_req, "02 00000007 000004 0002 6b6b");
	READ(config_update_read_all, struct config_update_req, "63 00000002 abcd");
	ELEMENT(kind_description_next, struct octets, "0002 6b6b");
	READ(join_req_read_all, struct join_req, N_HEX "0001 64");
	READ(join_ans_read_all, struct octets, "0001 64");
	READ(leave_req_read_all, struct leave_req, N_HEX "0001 64");
	READ(chord_leave_read_all, struct chord_leave_data, "01 0010" N_HEX);
	READ(chord_leave_read_all, struct chord_leave_data, "02 0020" N_HEX M_HEX);
	READ(chord_update_read_all, struct chord_update, "00000e10 01");
	READ(chord_update_read_all, struct chord_update, "00000e10 02 0010" N_HEX "0010" M_HEX);
	READ(chord_update_read_all, struct chord_update, "00000e10 03 0010" N_HEX "0000 0020" N_HEX M_HEX);
	READ(route_query_read_all, struct route_query_req, "01" NODE_HEX "0001 64");
	READ(chord_route_query_ans_read_all, struct id, N_HEX);
	ELEMENT(node_id_next, struct id, N_HEX);
}

static void test_values(void **state) {
	(void)state;
	READ(stored_value_read_single, struct stored_value, "01 00000002 abcd");
	READ(stored_value_read_array, struct stored_value, "00000005 01 00000002 abcd");
	READ(stored_value_read_dictionary, struct stored_value, "0001 6b 01 00000002 abcd");
	ELEMENT(stored_data_next_single, struct stored_data, "0000001a 0000000000000001 0000003c 01 00000002 abcd" NONE_HEX);
	ELEMENT(stored_data_next_array, struct stored_data,
		"0000001e 0000000000000001 0000003c 00000005 01 00000002 abcd" NONE_HEX);
	ELEMENT(stored_data_next_dictionary, struct stored_data,
		"0000001d 0000000000000001 0000003c 0001 6b 01 00000002 abcd" NONE_HEX);
	ELEMENT(stored_meta_data_next_single, struct stored_meta_data, "00000015 0000000000000001 0000003c 01 00000003 04 02 abcd");
	ELEMENT(stored_meta_data_next_array, struct stored_meta_data,
		"00000019 0000000000000001 0000003c 00000004 01 00000003 04 02 abcd");
	ELEMENT(stored_meta_data_next_dictionary, struct stored_meta_data,
		"00000018 0000000000000001 0000003c 0001 6b 01 00000003 04 02 abcd");
	READ(turn_server_read_all, struct turn_server, "02" V4_HEX);
	READ(sip_registration_read_all, struct sip_registration, "01 0005 0003 626f62");
	READ(sip_registration_read_all, struct sip_registration, "02 0008 0001 70 0003 030100");
	READ(sip_registration_read_all, struct sip_registration, "07 0002 abcd");
}

#define KIND_HEX "00000002 0000000000000007 00000002 abcd"

static void test_storage(void **state) {
	(void)state;
	READ(store_req_read_all, struct store_req, "10" R_HEX "02 00000012" KIND_HEX);
	ELEMENT(store_kind_data_next, struct store_kind_data, KIND_HEX);
	READ(store_ans_read_all, struct octets, "001e 00000001 0000000000000009 0010" N_HEX);
	ELEMENT(store_kind_response_next, struct store_kind_response, "00000001 0000000000000009 0010" N_HEX);
	READ(fetch_req_read_all, struct fetch_req, "10" R_HEX "0010 00000003 0000000000000000 0002 0000");
	ELEMENT(stored_data_specifier_next, struct stored_data_specifier, "00000003 0000000000000000 0002 0000");
	READ(fetch_ans_read_all, struct octets, "00000012" KIND_HEX);
	READ(stat_ans_read_all, struct octets, "00000012" KIND_HEX);
	READ(find_req_read_all, struct find_req, "10" R_HEX "04 00000001");
	ELEMENT(find_kind_next, uint32_t, "00000001");
	READ(find_ans_read_all, struct octets, "0007 00000001 02 abcd");
	ELEMENT(find_kind_data_next, struct find_kind_data, "00000001 02 abcd");
}

/* A failed reader stays failed whatever is asked of it. */
static void test_failed_readers(void **state) {
	struct reader r = reader_of_octets(HEX(NODE_HEX NODE_HEX));
	struct destination destination;
	struct id id;

	(void)state;
	reader_fail(&r);
	assert_int_equal(destination_read(&r, &destination), -EBADMSG);
	assert_int_equal(node_id_next(&r, &id), -EBADMSG);
	struct stored_data data;
	assert_int_equal(stored_data_next(&r, DATA_MODEL_SINGLE, &data), -EBADMSG);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),	       cmocka_unit_test(test_contents), cmocka_unit_test(test_security),
		cmocka_unit_test(test_methods),	       cmocka_unit_test(test_values),	cmocka_unit_test(test_storage),
		cmocka_unit_test(test_failed_readers),
	};

	return cmocka_run_group_tests_name("wire/elements", tests, NULL, NULL);
}
