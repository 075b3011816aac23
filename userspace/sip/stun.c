/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * S-5.2-01: keep-alives of phones over UDP (RFC 5626 4.4.2, 8): STUN Binding requests (RFC 5389) at the port that takes SIP. The answer tells
 * the phone where it is seen, so that it notices when an address translator has forgotten it.
 */
#include "sip/internal.h"

#include <string.h>
#include <sys/socket.h>

enum {
	HEADER_OCTETS = 20,
	ID_OCTETS = 12,
	BINDING_REQUEST = 0x0001,
	BINDING_SUCCESS = 0x0101,
	BINDING_ERROR = 0x0111,
	ERROR_CODE = 0x0009,
	UNKNOWN_ATTRIBUTES = 0x000a,
	XOR_MAPPED_ADDRESS = 0x0020,
	OPTIONAL = 0x8000, /* attributes from here on need not be understood */
	UNKNOWN_MAX = 8,   /* that are named; so an answer is never much longer than the question */
	ANSWER_OCTETS = HEADER_OCTETS + 4 + 24 + 4 + 2 * UNKNOWN_MAX,
};

static const uint32_t cookie = 0x2112a442;

/* Attributes of others than servers that need nothing of us: nobody has a password for keep-alives (RFC 5626 8). */
static bool is_known(uint16_t type) {
	static const uint16_t known[] = {0x0001, 0x0006, 0x0008, 0x0009, 0x000a, 0x0014, 0x0015, 0x0020};

	for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
		if (type == known[i])
			return true;
	return type >= OPTIONAL;
}

/* Returns how many attributes are not understood; -1 when the message is malformed. */
static int read_attributes(struct reader *r, uint16_t unknown[static UNKNOWN_MAX]) {
	int count = 0;

	while (reader_more(r)) {
		uint16_t type = reader_u16(r), length = reader_u16(r);
		reader_octets(r, (size_t)(length + 3) & ~(size_t)3);
		if (r->error == 0 && !is_known(type) && count < UNKNOWN_MAX)
			unknown[count++] = type;
	}
	return r->error < 0 ? -1 : count;
}

static void write_address(struct writer *w, const struct address *address, struct octets id) {
	uint8_t mask_octets[4 + ID_OCTETS];
	struct writer mask = writer_fixed(mask_octets, sizeof(mask_octets));
	size_t length = address->family == AF_INET ? 4 : 16;

	writer_u32(&mask, cookie);
	writer_octets(&mask, id);
	writer_u16(w, XOR_MAPPED_ADDRESS);
	writer_u16(w, (uint16_t)(4 + length));
	writer_u8(w, 0);
	writer_u8(w, address->family == AF_INET ? 1 : 2);
	writer_u16(w, (uint16_t)(address->port ^ cookie >> 16));
	for (size_t i = 0; i < length; i++)
		writer_u8(w, address->octets[i] ^ mask_octets[i]);
}

static void write_error(struct writer *w, const uint16_t *unknown, int count) {
	static const char reason[] = "Unknown Attribute"; /* and three octets that fill up */

	writer_u16(w, ERROR_CODE);
	writer_u16(w, (uint16_t)(4 + strlen(reason)));
	writer_u16(w, 0);
	writer_u8(w, 4);
	writer_u8(w, 20);
	writer_octets(w, octets_of_string(reason));
	writer_u8(w, 0);
	writer_u16(w, 0);
	writer_u16(w, UNKNOWN_ATTRIBUTES);
	writer_u16(w, (uint16_t)(2 * count));
	for (int i = 0; i < count; i++)
		writer_u16(w, unknown[i]);
	if (count % 2 != 0)
		writer_u16(w, 0);
}

/* What begins like this is no SIP: its first octet would be a NUL. */
static bool is_stun(struct octets octets, uint16_t *ret_type, struct octets *ret_id, struct reader *ret_attributes) {
	struct reader r = reader_of_octets(octets);

	*ret_type = reader_u16(&r);
	uint16_t length = reader_u16(&r);
	bool right = *ret_type < 0x4000 && reader_u32(&r) == cookie;
	*ret_id = reader_octets(&r, ID_OCTETS);
	*ret_attributes = reader_of_octets(reader_rest(&r));
	return right && r.error == 0 && length % 4 == 0 && length == ret_attributes->length;
}

bool sip_stun_receive(struct sip_gateway *gateway, const struct sip_flow *flow, struct octets octets) {
	uint8_t answer[ANSWER_OCTETS], body[ANSWER_OCTETS];
	struct writer w = writer_fixed(answer, sizeof(answer)), told = writer_fixed(body, sizeof(body));
	uint16_t type, unknown[UNKNOWN_MAX];
	struct reader attributes;
	struct octets id;

	if (!is_stun(octets, &type, &id, &attributes))
		return false;
	/* Indications want no answer, and strangers get none. */
	if (type != BINDING_REQUEST || !gateway->events.allowed(gateway->events.userdata, &flow->remote))
		return true;
	int count = read_attributes(&attributes, unknown);
	if (count < 0) {
		gateway->figures.malformed++;
		return true;
	}
	if (count == 0)
		write_address(&told, &flow->remote, id);
	else
		write_error(&told, unknown, count);
	writer_u16(&w, count == 0 ? BINDING_SUCCESS : BINDING_ERROR);
	writer_u16(&w, (uint16_t)told.length);
	writer_u32(&w, cookie);
	writer_octets(&w, id);
	writer_octets(&w, writer_octets_written(&told));
	if (writer_finish(&w) == 0 && sip_udp_send(gateway, flow, &flow->remote, writer_octets_written(&w)) == 0)
		gateway->figures.keep_alives++;
	return true;
}
