/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire/codes.h"

#include <stddef.h>

#include "base/cleanup.h"

/* RFC 6940 14.8, RFC 7851 9.1. */
static const char *const message_names[] = {
	[PROBE_REQ] = "probe_req",
	[PROBE_ANS] = "probe_ans",
	[ATTACH_REQ] = "attach_req",
	[ATTACH_ANS] = "attach_ans",
	[STORE_REQ] = "store_req",
	[STORE_ANS] = "store_ans",
	[FETCH_REQ] = "fetch_req",
	[FETCH_ANS] = "fetch_ans",
	[FIND_REQ] = "find_req",
	[FIND_ANS] = "find_ans",
	[JOIN_REQ] = "join_req",
	[JOIN_ANS] = "join_ans",
	[LEAVE_REQ] = "leave_req",
	[LEAVE_ANS] = "leave_ans",
	[UPDATE_REQ] = "update_req",
	[UPDATE_ANS] = "update_ans",
	[ROUTE_QUERY_REQ] = "route_query_req",
	[ROUTE_QUERY_ANS] = "route_query_ans",
	[PING_REQ] = "ping_req",
	[PING_ANS] = "ping_ans",
	[STAT_REQ] = "stat_req",
	[STAT_ANS] = "stat_ans",
	[APP_ATTACH_REQ] = "app_attach_req",
	[APP_ATTACH_ANS] = "app_attach_ans",
	[CONFIG_UPDATE_REQ] = "config_update_req",
	[CONFIG_UPDATE_ANS] = "config_update_ans",
	[PATH_TRACK_REQ] = "path_track_req",
	[PATH_TRACK_ANS] = "path_track_ans",
};

/* RFC 6940 14.9, RFC 7851 9.3. */
static const char *const error_names[] = {
	[ERROR_FORBIDDEN] = "Error_Forbidden",
	[ERROR_NOT_FOUND] = "Error_Not_Found",
	[ERROR_REQUEST_TIMEOUT] = "Error_Request_Timeout",
	[ERROR_GENERATION_COUNTER_TOO_LOW] = "Error_Generation_Counter_Too_Low",
	[ERROR_INCOMPATIBLE_WITH_OVERLAY] = "Error_Incompatible_with_Overlay",
	[ERROR_UNSUPPORTED_FORWARDING_OPTION] = "Error_Unsupported_Forwarding_Option",
	[ERROR_DATA_TOO_LARGE] = "Error_Data_Too_Large",
	[ERROR_DATA_TOO_OLD] = "Error_Data_Too_Old",
	[ERROR_TTL_EXCEEDED] = "Error_TTL_Exceeded",
	[ERROR_MESSAGE_TOO_LARGE] = "Error_Message_Too_Large",
	[ERROR_UNKNOWN_KIND] = "Error_Unknown_Kind",
	[ERROR_UNKNOWN_EXTENSION] = "Error_Unknown_Extension",
	[ERROR_RESPONSE_TOO_LARGE] = "Error_Response_Too_Large",
	[ERROR_CONFIG_TOO_OLD] = "Error_Config_Too_Old",
	[ERROR_CONFIG_TOO_NEW] = "Error_Config_Too_New",
	[ERROR_IN_PROGRESS] = "Error_In_Progress",
	[ERROR_INVALID_MESSAGE] = "Error_Invalid_Message",
	[0x15] = "Error_Underlay_Destination_Unreachable",
	[0x16] = "Error_Underlay_Time_Exceeded",
	[0x17] = "Error_Message_Expired",
	[0x18] = "Error_Upstream_Misrouting",
	[0x19] = "Error_Loop_Detected",
	[0x1a] = "Error_TTL_Hops_Exceeded",
};

const char *message_code_name(uint16_t code) {
	if (code == MESSAGE_ERROR)
		return "error";
	return code < ARRAY_LENGTH(message_names) ? message_names[code] : NULL;
}

const char *error_code_name(uint16_t code) {
	return code < ARRAY_LENGTH(error_names) ? error_names[code] : NULL;
}
