/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire_test.h"

#include "wire/codes.h"

/* B-6.3.3-01 */
static void test_requests_and_responses(void **state) {
	static const uint16_t requests[] = {PROBE_REQ, ATTACH_REQ,     STORE_REQ,	  FETCH_REQ,	   FIND_REQ,
					    JOIN_REQ,  LEAVE_REQ,      UPDATE_REQ,	  ROUTE_QUERY_REQ, PING_REQ,
					    STAT_REQ,  APP_ATTACH_REQ, CONFIG_UPDATE_REQ, PATH_TRACK_REQ};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(requests); i++) {
		assert_true(message_code_is_request(requests[i]));
		assert_false(message_code_is_response(requests[i]));
		assert_true(message_code_is_response(requests[i] + 1));
		assert_false(message_code_is_request(requests[i] + 1));
		assert_non_null(message_code_name(requests[i]));
		assert_non_null(message_code_name(requests[i] + 1));
	}
	assert_true(message_code_is_response(MESSAGE_ERROR));
	assert_false(message_code_is_request(MESSAGE_ERROR));
	assert_false(message_code_is_request(0));
	assert_false(message_code_is_response(0));
	for (unsigned code = 0x8000; code < 0xffff; code++) {
		assert_false(message_code_is_request((uint16_t)code));
		assert_false(message_code_is_response((uint16_t)code));
	}
}

static void test_names(void **state) {
	static const uint16_t unassigned[] = {0x0, 0x5, 0x6, 0xb, 0xc, 0x1b, 0x1c, 0x1f, 0x20, 0x23, 0x29, 0x8000, 0xfffe};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(unassigned); i++)
		assert_null(message_code_name(unassigned[i]));
	assert_string_equal(message_code_name(0x7), "store_req");
	assert_string_equal(message_code_name(0x1a), "stat_ans");
	assert_string_equal(message_code_name(0x28), "path_track_ans");
	assert_string_equal(message_code_name(0xffff), "error");
	assert_null(error_code_name(0));
	assert_null(error_code_name(1));
	assert_null(error_code_name(0x12)); /* Error_Exp_A is not for operation: B-6.3.3.1-03 */
	assert_null(error_code_name(0x1b));
	assert_null(error_code_name(0xffff));
	assert_string_equal(error_code_name(0x3), "Error_Not_Found");
	assert_string_equal(error_code_name(0x14), "Error_Invalid_Message");
	assert_string_equal(error_code_name(0x1a), "Error_TTL_Hops_Exceeded");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests_and_responses),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("wire/codes", tests, NULL, NULL);
}
