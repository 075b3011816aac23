/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A RELOAD message: ForwardingHeader, MessageContents, SecurityBlock (RFC 6940 6.3), and the framing of links (6.6.2).
 *
 * Decoders return views into the input; nothing is allocated. Lists were checked when decoding succeeds, and are then walked
 * with the *_next() functions, which return 1 for an element, 0 at the end, negative errno for a malformed one.
 */
#pragma once

#include "wire/destination.h"

struct forwarding_header {
	uint32_t overlay;                 /* last four octets of SHA-1(overlay name) */
	uint16_t configuration_sequence;
	uint8_t version;
	uint8_t ttl;
	uint32_t fragment;
	uint32_t length;                  /* octets of the whole message or fragment */
	uint64_t transaction_id;
	uint32_t max_response_length;
	struct octets via_list;
	struct octets destination_list;
	struct octets options;
	size_t header_length;             /* octets up to the contents; set by the reader */
};

/* Reads the header alone; checks token, version, that the lists fit; `length` is compared with nothing. */
int forwarding_header_read(struct reader *r, struct forwarding_header *ret);

/* Writes the header; `length` is written as given, see message_write_length(). */
void forwarding_header_write(struct writer *w, const struct forwarding_header *header);

/* Patches the length field of the message that starts at `start` in the writer so that it ends where the writer stands. */
void message_write_length(struct writer *w, size_t start);

struct forwarding_option {
	uint8_t type, flags;
	struct octets value;
};
int forwarding_option_next(struct reader *list, struct forwarding_option *ret);
void forwarding_option_write(struct writer *w, const struct forwarding_option *option);

struct message_contents {
	uint16_t code;
	struct octets body;
	struct octets extensions;
	struct octets whole;              /* the contents as they stand on the wire: signature input */
};
int message_contents_read(struct reader *r, struct message_contents *ret);
void message_contents_write(struct writer *w, uint16_t code, struct octets body, struct octets extensions);

struct message_extension {
	uint16_t type;
	bool critical;
	struct octets contents;
};
int message_extension_next(struct reader *list, struct message_extension *ret);
void message_extension_write(struct writer *w, const struct message_extension *extension);

struct signer_identity {
	uint8_t type;                     /* enum signer_identity_type */
	uint8_t hash_algorithm;           /* not for SIGNER_NONE */
	struct octets hash;
	struct octets whole;              /* type, length, value: signature input */
};

struct signature {
	uint8_t hash_algorithm, signature_algorithm;
	struct signer_identity identity;
	struct octets value;
};
int signer_identity_read(struct reader *r, struct signer_identity *ret);
void signer_identity_write(struct writer *w, const struct signer_identity *identity);
int signature_read(struct reader *r, struct signature *ret);
void signature_write(struct writer *w, const struct signature *signature);

/* {0,0}, identity none, empty value: the signature of synthesized values (B-7.4.2-06). */
void signature_write_none(struct writer *w);
bool signature_is_none(const struct signature *signature);

struct security_block {
	struct octets certificates;       /* list of GenericCertificate */
	struct signature signature;
	struct octets whole;
};
int security_block_read(struct reader *r, struct security_block *ret);

struct generic_certificate {
	uint8_t type;
	struct octets certificate;
};
int generic_certificate_next(struct reader *list, struct generic_certificate *ret);
void generic_certificate_write(struct writer *w, uint8_t type, struct octets certificate);

struct message {
	struct forwarding_header header;
	struct message_contents contents; /* only of an unfragmented or reassembled message */
	struct security_block security;
};

/* Decodes a whole unfragmented message; trailing octets and a wrong length field are -EBADMSG. */
int message_read(struct octets octets, uint8_t node_id_length, struct message *ret);

/* Framing (RFC 6940 6.6.2). */
struct framed_message {
	uint8_t type;                     /* FRAMED_DATA or FRAMED_ACK */
	uint32_t sequence;                /* of the data frame, or the one acknowledged */
	uint32_t received;                /* ack mask */
	struct octets message;            /* data frame only */
};
enum { FRAMED_DATA_OVERHEAD = 8, FRAMED_ACK_LENGTH = 9 };
int framed_message_read(struct reader *r, struct framed_message *ret);
void framed_data_write_header(struct writer *w, uint32_t sequence, size_t message_length);
void framed_ack_write(struct writer *w, uint32_t ack_sequence, uint32_t received);

/* ErrorResponse: the body of code 0xffff (RFC 6940 6.3.3.1). */
struct error_response {
	uint16_t code;
	struct octets info;
};
int error_response_read(struct octets body, struct error_response *ret);
void error_response_write(struct writer *w, uint16_t code, struct octets info);

/* Text of an error_info for a person: printable ASCII, others escaped; cut to fit. Returns `text`. */
const char *error_info_text(struct octets info, char *text, size_t size);

/* error_info of Error_Unknown_Kind. */
void error_unknown_kinds_write(struct writer *w, const uint32_t *kinds, size_t count);
int error_unknown_kinds_read(struct octets info, uint32_t *kinds, size_t max, size_t *ret_count);

/* Overlay name → header field (B-6.3.2-02). */
uint32_t overlay_hash(const char *overlay_name);

/* First `length` octets of SHA-1 of a Resource Name (B-10.2-01). */
struct id resource_id_of_name(struct octets resource_name, uint8_t length);
