/* SPDX-License-Identifier: BSD-2-Clause */
/* What a name server answers when a domain is looked up. Input: one octet that chooses the type of record asked for, then the
 * answer. */
#include "sip/dns.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A host name in lower case, or "": it goes into further questions, into the log and into comparisons with certificates. */
static void check_name(const char *name) {
	size_t length = strnlen(name, DNS_NAME_SIZE);

	if (length == DNS_NAME_SIZE)
		abort();
	for (size_t i = 0; i < length; i++)
		if (name[i] <= ' ' || name[i] >= 0x7f || (name[i] >= 'A' && name[i] <= 'Z') || strchr("\"\\;()@$", name[i]))
			abort();
}

static void check_record(const struct dns_record *record, enum dns_type type) {
	if (type == DNS_A || type == DNS_AAAA) {
		if (record->address.family != (type == DNS_A ? AF_INET : AF_INET6) || record->address.port != 0 || record->name[0])
			abort();
		return;
	}
	check_name(record->name);
	if (strnlen(record->service, sizeof(record->service)) == sizeof(record->service) ||
	    strnlen(record->flags, sizeof(record->flags)) == sizeof(record->flags))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const enum dns_type types[] = {DNS_A, DNS_AAAA, DNS_SRV, DNS_NAPTR};
	struct dns_answer *answer = NULL;

	if (size < 1)
		return 0;
	enum dns_type type = types[data[0] % 4];
	struct octets message = OCTETS(data + 1, size - 1);
	/* What a name server is asked for: the domain, its services, and the final dot that some write. */
	static const char *const names[] = {"example.com", "_sip._udp.example.com", "example.com."};
	for (size_t i = 0; i < 3; i++) {
		int error = dns_answer_parse(message, names[i], type, &answer);
		if (error != 0) {
			if ((error != -EBADMSG && error != -EAGAIN && error != -ENOMEM) || answer)
				abort();
			continue;
		}
		if (answer->count > DNS_RECORDS || answer->error != 0)
			abort();
		for (size_t at = 0; at < answer->count; at++)
			check_record(&answer->records[at], type);
		free(answer);
		answer = NULL;
	}
	return 0;
}
