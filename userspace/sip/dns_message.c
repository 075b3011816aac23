/* SPDX-License-Identifier: BSD-2-Clause */
/* DNS responses (RFC 1035 4, RFC 2782, RFC 3403 4.1, RFC 2308), as far as RFC 3263 needs them. */
#include "sip/dns.h"

#include "base/cleanup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	RESPONSE = 0x8000,
	TRUNCATED = 0x0200,
	CODE = 0x000f,
	NAME_ERROR = 3,
	TYPE_CNAME = 5,
	TYPE_SOA = 6,
	CLASS_INTERNET = 1,
	POINTERS = 64,	    /* in one name; each leads backwards, so that there is no end without this bound either */
	RECORDS_SEEN = 256, /* of one message */
};

/* --- names --- */

/* In text, without final dot, in lower case. Labels with anything that needs quoting are no host names: the name fails. */
static void read_name(struct reader *r, struct octets message, char name[static DNS_NAME_SIZE]) {
	struct reader at = *r;
	size_t length = 0;
	bool moved = false;

	name[0] = 0;
	for (unsigned pointers = 0;;) {
		uint8_t head = reader_u8(&at);
		if (at.error < 0 || (head & 0xc0) == 0x40 || (head & 0xc0) == 0x80) {
			reader_fail(r);
			return;
		}
		if ((head & 0xc0) == 0xc0) {
			size_t target = (size_t)(head & 0x3f) << 8 | reader_u8(&at);
			if (at.error < 0 || target >= message.length || ++pointers > POINTERS) {
				reader_fail(r);
				return;
			}
			if (!moved)
				*r = at;
			moved = true;
			at = reader_of_octets(message);
			reader_octets(&at, target);
			continue;
		}
		if (head == 0)
			break;
		struct octets label = reader_octets(&at, head);
		if (at.error < 0 || length + label.length + 2 > DNS_NAME_SIZE) {
			reader_fail(r);
			return;
		}
		if (length > 0)
			name[length++] = '.';
		for (size_t i = 0; i < label.length; i++) {
			if (label.data[i] <= ' ' || label.data[i] >= 0x7f || strchr(".\"\\;()@$", label.data[i])) {
				reader_fail(r);
				return;
			}
			name[length++] = ascii_lower((char)label.data[i]);
		}
	}
	name[length] = 0;
	if (!moved)
		*r = at;
}

static bool same_name(const char *a, const char *b) {
	size_t length = strlen(a);

	if (length > 0 && a[length - 1] == '.')
		length--;
	return strncasecmp(a, b, length) == 0 && (b[length] == 0 || strcmp(b + length, ".") == 0);
}

/* --- records --- */

struct resource {
	char owner[DNS_NAME_SIZE];
	uint16_t type, class;
	uint32_t ttl;
	struct octets data;
	size_t data_offset; /* in the message, as names in it may point elsewhere */
};

static bool read_resource(struct reader *r, struct octets message, struct resource *ret) {
	read_name(r, message, ret->owner);
	ret->type = reader_u16(r);
	ret->class = reader_u16(r);
	ret->ttl = reader_u32(r);
	if (ret->ttl > INT32_MAX)
		ret->ttl = 0; /* RFC 2181 8 */
	uint16_t length = reader_u16(r);
	ret->data_offset = r->position;
	ret->data = reader_octets(r, length);
	return r->error == 0;
}

/* A reader of the data that ends where they end, over the whole message. */
static struct reader data_reader(const struct resource *resource, struct octets message) {
	struct reader r = reader_of(message.data, resource->data_offset + resource->data.length);

	reader_octets(&r, resource->data_offset);
	return r;
}

/* A character string of NAPTR, in upper case; what does not fit is nothing that we know. */
static void read_text(struct reader *r, char *text, size_t size) {
	struct octets octets = reader_vector8(r);

	text[0] = 0;
	if (octets.length >= size)
		return;
	for (size_t i = 0; i < octets.length; i++)
		text[i] = (char)(octets.data[i] >= 'a' && octets.data[i] <= 'z' ? octets.data[i] & ~0x20 : octets.data[i]);
	text[octets.length] = 0;
}

/* False for one that cannot be used; the others may be good. */
static bool read_record(const struct resource *resource, struct octets message, enum dns_type type, struct dns_record *ret) {
	struct reader r = data_reader(resource, message);

	*ret = (struct dns_record){0};
	if (type == DNS_A || type == DNS_AAAA) {
		size_t length = type == DNS_A ? 4 : 16;
		struct octets octets = reader_octets(&r, length);
		if (r.error == 0)
			memcpy(ret->address.octets, octets.data, length);
		ret->address.family = type == DNS_A ? AF_INET : AF_INET6;
		return reader_finish(&r) == 0;
	}
	ret->order = reader_u16(&r);
	ret->preference = reader_u16(&r);
	if (type == DNS_SRV) {
		ret->port = reader_u16(&r);
	} else {
		read_text(&r, ret->flags, sizeof(ret->flags));
		read_text(&r, ret->service, sizeof(ret->service));
		ret->regexp = reader_vector8(&r).length > 0;
	}
	read_name(&r, message, ret->name);
	return reader_finish(&r) == 0;
}

/* --- the message --- */

struct sections {
	uint16_t questions, answers, authorities;
	unsigned code;
};

static int read_header(struct reader *r, struct sections *ret) {
	reader_u16(r); /* c-ares has compared the identifier */
	uint16_t flags = reader_u16(r);
	ret->questions = reader_u16(r);
	ret->answers = reader_u16(r);
	ret->authorities = reader_u16(r);
	reader_u16(r);
	ret->code = flags & CODE;
	if (r->error < 0 || !(flags & RESPONSE) || (flags & TRUNCATED) || ret->questions != 1)
		return -EBADMSG;
	return ret->code == 0 || ret->code == NAME_ERROR ? 0 : -EAGAIN;
}

/* What an alias of `name` stands for; aliases come in any order. */
static bool find_alias(struct reader r, struct octets message, unsigned count, char name[static DNS_NAME_SIZE], uint32_t *ttl) {
	struct resource resource;

	for (unsigned i = 0; i < count && i < RECORDS_SEEN && read_resource(&r, message, &resource); i++) {
		if (resource.type != TYPE_CNAME || resource.class != CLASS_INTERNET || !same_name(name, resource.owner))
			continue;
		struct reader data = data_reader(&resource, message);
		read_name(&data, message, name);
		if (resource.ttl < *ttl)
			*ttl = resource.ttl;
		return reader_finish(&data) == 0;
	}
	return false;
}

static int collect(struct reader *r, struct octets message, unsigned count, const char *name, enum dns_type type,
		   struct dns_answer *answer) {
	struct resource resource;

	for (unsigned i = 0; i < count; i++) {
		if (i == RECORDS_SEEN || !read_resource(r, message, &resource))
			return -EBADMSG;
		if (resource.type != type || resource.class != CLASS_INTERNET || !same_name(name, resource.owner) ||
		    answer->count == DNS_RECORDS || !read_record(&resource, message, type, &answer->records[answer->count]))
			continue;
		answer->count++;
		if (resource.ttl < answer->ttl_s)
			answer->ttl_s = resource.ttl;
	}
	return 0;
}

/* How long "there is none" may be kept: the SOA record says (RFC 2308 5). */
static unsigned negative_ttl(struct reader *r, struct octets message, unsigned count) {
	char name[DNS_NAME_SIZE];
	struct resource resource;

	for (unsigned i = 0; i < count && i < RECORDS_SEEN && read_resource(r, message, &resource); i++) {
		if (resource.type != TYPE_SOA || resource.class != CLASS_INTERNET)
			continue;
		struct reader data = data_reader(&resource, message);
		read_name(&data, message, name);
		read_name(&data, message, name);
		reader_octets(&data, 16); /* serial, refresh, retry, expire */
		uint32_t minimum = reader_u32(&data);
		if (reader_finish(&data) == 0)
			return minimum < resource.ttl ? minimum : resource.ttl;
	}
	return 0;
}

int dns_answer_parse(struct octets message, const char *name, enum dns_type type, struct dns_answer **ret) {
	_cleanup_free_ struct dns_answer *answer = calloc(1, sizeof(*answer) + DNS_RECORDS * sizeof(answer->records[0]));
	struct reader r = reader_of_octets(message);
	char wanted[DNS_NAME_SIZE], asked[DNS_NAME_SIZE];
	struct sections sections;
	uint32_t alias_ttl = UINT32_MAX;

	if (!answer)
		return -ENOMEM;
	int error = read_header(&r, &sections);
	if (error < 0)
		return error;
	read_name(&r, message, asked);
	uint16_t asked_type = reader_u16(&r);
	if (reader_u16(&r) != CLASS_INTERNET || r.error < 0 || asked_type != type || !same_name(name, asked))
		return -EBADMSG;
	memcpy(wanted, asked, sizeof(wanted));
	for (unsigned i = 0; i < DNS_ALIASES && find_alias(r, message, sections.answers, wanted, &alias_ttl); i++)
		;
	answer->ttl_s = alias_ttl;
	error = collect(&r, message, sections.answers, wanted, type, answer);
	if (error < 0)
		return error;
	if (answer->count == 0)
		answer->ttl_s = negative_ttl(&r, message, sections.authorities);
	struct dns_answer *fitted = realloc(answer, sizeof(*answer) + answer->count * sizeof(answer->records[0]));
	if (!fitted)
		return -ENOMEM;
	answer = NULL;
	*ret = fitted;
	return 0;
}
