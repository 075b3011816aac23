/* SPDX-License-Identifier: BSD-2-Clause */
/* Values of the Kinds TURN-SERVICE (RFC 6940 9) and SIP-REGISTRATION (RFC 7904 3.2). */
#include "base/limits.h"
#include "wire/data.h"
#include "wire/list.h"

enum { ROUTE_LENGTH_MIN = 3 /* octets of a registered destination list, RFC 7904 3.2 */ };

int turn_server_read(struct octets value, struct turn_server *ret) {
	struct reader r = reader_of_octets(value);
	struct turn_server server = {.iteration = reader_u8(&r)};

	ip_address_port_read(&r, &server.address);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = server;
	return 0;
}

void turn_server_write(struct writer *w, const struct turn_server *server) {
	writer_u8(w, server->iteration);
	ip_address_port_write(w, &server->address);
}

static bool is_route(struct octets destination_list) {
	return destination_list.length >= ROUTE_LENGTH_MIN && destination_list_check(destination_list, 0, LIMIT_DESTINATIONS) == 0;
}

int sip_registration_read(struct octets value, struct sip_registration *ret) { /* S-3.2-01 */
	struct reader r = reader_of_octets(value);
	struct sip_registration registration = {.type = reader_u8(&r)};
	struct reader data = reader_nested(&r, reader_vector16(&r));

	switch (registration.type) {
	case SIP_REGISTRATION_URI:
		registration.uri = reader_vector16(&data);
		break;
	case SIP_REGISTRATION_ROUTE:
		registration.contact_prefs = reader_vector16(&data);
		registration.destination_list = reader_vector16(&data);
		if (!is_route(registration.destination_list))
			reader_fail(&data);
		break;
	default: /* "This type can be extended" */
		reader_rest(&data);
		break;
	}
	reader_finish_nested(&r, &data);
	if (reader_finish(&r) < 0)
		return -EBADMSG;
	*ret = registration;
	return 0;
}

void sip_registration_write(struct writer *w, const struct sip_registration *registration) {
	writer_u8(w, registration->type);
	size_t mark = writer_begin(w, 2);
	switch (registration->type) {
	case SIP_REGISTRATION_URI:
		writer_vector16(w, registration->uri);
		break;
	case SIP_REGISTRATION_ROUTE:
		if (!is_route(registration->destination_list))
			writer_fail(w, -EINVAL);
		writer_vector16(w, registration->contact_prefs);
		writer_vector16(w, registration->destination_list);
		break;
	default:
		writer_fail(w, -EINVAL);
		break;
	}
	writer_end(w, mark, 2);
}
