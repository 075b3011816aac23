/* SPDX-License-Identifier: BSD-2-Clause */
/* Code points of RFC 6940 section 14 and of its usages. Names are the RFCs', upper-cased. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define RELO_TOKEN UINT32_C(0xd2454c4f)

enum {
	RELOAD_VERSION = 0x0a,
	FORWARDING_HEADER_FIXED = 38, /* octets in front of the lists */
	FRAGMENT_ALWAYS = 0x80000000u,
	FRAGMENT_LAST = 0x40000000u,
	FRAGMENT_OFFSET = 0x00ffffffu,
	FRAGMENT_NONE = 0xc0000000u, /* an unfragmented message */
	SEQUENCE_MODULUS = 65535,
	SEQUENCE_CONFIG_UPDATE = 65535,
	INITIAL_TTL = 100,
	MAX_MESSAGE_SIZE = 5000,
};

enum message_code {
	PROBE_REQ = 0x01, PROBE_ANS = 0x02,
	ATTACH_REQ = 0x03, ATTACH_ANS = 0x04,
	STORE_REQ = 0x07, STORE_ANS = 0x08,
	FETCH_REQ = 0x09, FETCH_ANS = 0x0a,
	FIND_REQ = 0x0d, FIND_ANS = 0x0e,
	JOIN_REQ = 0x0f, JOIN_ANS = 0x10,
	LEAVE_REQ = 0x11, LEAVE_ANS = 0x12,
	UPDATE_REQ = 0x13, UPDATE_ANS = 0x14,
	ROUTE_QUERY_REQ = 0x15, ROUTE_QUERY_ANS = 0x16,
	PING_REQ = 0x17, PING_ANS = 0x18,
	STAT_REQ = 0x19, STAT_ANS = 0x1a,
	APP_ATTACH_REQ = 0x1d, APP_ATTACH_ANS = 0x1e,
	CONFIG_UPDATE_REQ = 0x21, CONFIG_UPDATE_ANS = 0x22,
	PATH_TRACK_REQ = 0x27, PATH_TRACK_ANS = 0x28,
	MESSAGE_ERROR = 0xffff,
};

enum error_code {
	ERROR_FORBIDDEN = 0x2,
	ERROR_NOT_FOUND = 0x3,
	ERROR_REQUEST_TIMEOUT = 0x4,
	ERROR_GENERATION_COUNTER_TOO_LOW = 0x5,
	ERROR_INCOMPATIBLE_WITH_OVERLAY = 0x6,
	ERROR_UNSUPPORTED_FORWARDING_OPTION = 0x7,
	ERROR_DATA_TOO_LARGE = 0x8,
	ERROR_DATA_TOO_OLD = 0x9,
	ERROR_TTL_EXCEEDED = 0xa,
	ERROR_MESSAGE_TOO_LARGE = 0xb,
	ERROR_UNKNOWN_KIND = 0xc,
	ERROR_UNKNOWN_EXTENSION = 0xd,
	ERROR_RESPONSE_TOO_LARGE = 0xe,
	ERROR_CONFIG_TOO_OLD = 0xf,
	ERROR_CONFIG_TOO_NEW = 0x10,
	ERROR_IN_PROGRESS = 0x11,
	ERROR_INVALID_MESSAGE = 0x14,
};

enum destination_type { DESTINATION_NODE = 1, DESTINATION_RESOURCE = 2, DESTINATION_OPAQUE = 3 };
enum forwarding_option_type { OPTION_EXTENSIVE_ROUTING_MODE = 2 };
enum forwarding_option_flags {
	OPTION_FORWARD_CRITICAL = 0x01,
	OPTION_DESTINATION_CRITICAL = 0x02,
	OPTION_RESPONSE_COPY = 0x04,
	OPTION_IGNORE_STATE_KEEPING = 0x08,
};
enum message_extension_type { EXTENSION_DIAGNOSTIC_PING = 2, EXTENSION_SELF_TUNING_DATA = 3 };
enum framed_message_type { FRAMED_DATA = 128, FRAMED_ACK = 129 };
enum overlay_link_type { LINK_DTLS_UDP_SR = 1, LINK_DTLS_UDP_SR_NO_ICE = 3, LINK_TLS_TCP_FH_NO_ICE = 4 };
enum candidate_type { CANDIDATE_HOST = 1, CANDIDATE_SRFLX = 2, CANDIDATE_RELAY = 4 };
enum address_type { ADDRESS_IPV4 = 1, ADDRESS_IPV6 = 2 };
enum signer_identity_type { SIGNER_CERT_HASH = 1, SIGNER_CERT_HASH_NODE_ID = 2, SIGNER_NONE = 3 };
enum certificate_type { CERTIFICATE_X509 = 0 };
enum hash_algorithm { HASH_NONE = 0, HASH_SHA1 = 2, HASH_SHA256 = 4 };
enum signature_algorithm { SIGNATURE_ANONYMOUS = 0, SIGNATURE_RSA = 1, SIGNATURE_ECDSA = 3 };

enum kind_id {
	KIND_SIP_REGISTRATION = 0x1,
	KIND_TURN_SERVICE = 0x2,
	KIND_CERTIFICATE_BY_NODE = 0x3,
	KIND_CERTIFICATE_BY_USER = 0x10,
	KIND_PRIVATE_FIRST = 0xf0000001u,
	KIND_PRIVATE_LAST = 0xfffffffeu,
};
enum data_model { DATA_MODEL_SINGLE = 1, DATA_MODEL_ARRAY = 2, DATA_MODEL_DICTIONARY = 3 };
enum probe_information_type { PROBE_RESPONSIBLE_SET = 1, PROBE_NUM_RESOURCES = 2, PROBE_UPTIME = 3 };
enum config_update_type { CONFIG_UPDATE_CONFIG = 1, CONFIG_UPDATE_KIND = 2 };
enum chord_update_type { CHORD_PEER_READY = 1, CHORD_NEIGHBORS = 2, CHORD_FULL = 3 };
enum chord_leave_type { CHORD_FROM_SUCC = 1, CHORD_FROM_PRED = 2 };
enum sip_registration_type { SIP_REGISTRATION_URI = 1, SIP_REGISTRATION_ROUTE = 2 };

enum { APPLICATION_SIP = 5060, APPLICATION_SIPS = 5061, ARRAY_INDEX_LAST = 0xffffffffu };

/* Requests are odd codes below 0x8000, their answer is code + 1 (RFC 6940 6.3.3). */
static inline bool message_code_is_request(uint16_t code) {
	return code & 1 && code < 0x8000;
}

/* An answer or an error. */
static inline bool message_code_is_response(uint16_t code) {
	return code == MESSAGE_ERROR || (code != 0 && !(code & 1) && code < 0x8000);
}

/* "store_req", "error", or NULL for a code nobody assigned. */
const char *message_code_name(uint16_t code);

/* "Error_Not_Found", or NULL. */
const char *error_code_name(uint16_t code);
