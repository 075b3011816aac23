/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The part of DNS messages that multicast DNS and DNS-SD need (RFC 1035 4.1, RFC 6762 18, RFC 6763): a strict, bounded reader and a
 * writer without compression. Sans-I/O.
 */
#pragma once

#include "base/address.h"
#include "base/octets.h"

enum {
	MDNS_PORT = 5353,
	MDNS_MESSAGE_MAX = 9000, /* octets of a message (RFC 6762 17) */
	MDNS_RECORDS_MAX = 64,	 /* questions and records of one message; messages with more are dropped */
	MDNS_NAME_MAX = 255,	 /* octets of a name on the wire */
	MDNS_JUMPS_MAX = 8,	 /* compression pointers of one name */
};

enum mdns_type { MDNS_A = 1, MDNS_PTR = 12, MDNS_TXT = 16, MDNS_AAAA = 28, MDNS_SRV = 33, MDNS_ANY = 255 };
enum { MDNS_CLASS_IN = 1, MDNS_CLASS_TOP = 0x8000 /* cache flush, or a unicast answer is welcome */ };
enum mdns_section { MDNS_QUESTION, MDNS_ANSWER, MDNS_AUTHORITY, MDNS_ADDITIONAL };

/* Uncompressed, with its final zero. */
struct mdns_name {
	uint8_t octets[MDNS_NAME_MAX];
	uint8_t length;
};

/* Labels separated by dots, "_reload._udp.local"; -EINVAL for an empty or too long one. */
int mdns_name_parse(const char *text, struct mdns_name *ret);
/* Without regard to case (RFC 6762 16). */
bool mdns_name_equal(const struct mdns_name *a, const struct mdns_name *b);
/* Puts one label in front. -EINVAL when it does not fit. */
int mdns_name_prepend(struct octets label, const struct mdns_name *name, struct mdns_name *ret);
/* Is `name` one label in front of `parent`? *ret_label (may be NULL) borrows it. */
bool mdns_name_child(const struct mdns_name *name, const struct mdns_name *parent, struct octets *ret_label);

struct mdns_record {
	enum mdns_section section;
	struct mdns_name name;
	uint16_t type;
	bool top;		 /* the top bit of the class */
	uint32_t ttl_s;		 /* records only, as what follows */
	struct mdns_name target; /* PTR, SRV */
	uint16_t port;		 /* SRV */
	struct address address;	 /* A, AAAA; without a port */
	struct octets text;	 /* TXT; walk with mdns_text_next() */
};

struct mdns_reader {
	struct reader reader;
	bool response, truncated;
	uint16_t counts[4];
	unsigned section;
};

/* The header. -EBADMSG malformed or no standard query, -E2BIG too many records. */
int mdns_reader_start(struct octets message, struct mdns_reader *ret);
/* 1 and the next question or record of class IN, 0 at the end of a sound message, -EBADMSG. Others are passed over. */
int mdns_reader_next(struct mdns_reader *r, struct mdns_record *ret);

/* The next string of a TXT record; false at its end. */
bool mdns_text_next(struct octets *text, struct octets *ret);
/* The value of "key=value", the first one counts (RFC 6763 6.4). False without it. */
bool mdns_text_value(struct octets text, const char *key, struct octets *ret);

/* Questions first, then records in the order of their sections; mdns_write_end() fills in the numbers. */
struct mdns_writer {
	struct writer *writer;
	uint16_t counts[4];
};
void mdns_write_start(struct mdns_writer *m, struct writer *w, bool response);
void mdns_write_question(struct mdns_writer *m, const struct mdns_name *name, uint16_t type, bool unicast);
/* Type PTR, SRV, TXT, A or AAAA; the text of TXT is written as it is. */
void mdns_write_record(struct mdns_writer *m, const struct mdns_record *record);
int mdns_write_end(struct mdns_writer *m);
