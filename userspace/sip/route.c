/* SPDX-License-Identifier: BSD-2-Clause */
/* Route and Record-Route (RFC 3261 16.4, 16.6 steps 4 and 6; RFC 5658). */
#include "sip/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TOKEN_OCTETS = 28 /* transport, connection, port, address; listener */, TOKEN_TEXT = 2 + 16 + 2 * TOKEN_OCTETS };

/* --- the user part of our Record-Route and of our Path: "rr" or "pt", hash, flow --- */

/* Stands for the Call-ID in the hash of a Path, which is for all calls; no Call-ID has a zero in it. */
static const struct octets for_all_calls = OCTETS((const uint8_t *)"\0path", 5);

static uint64_t token_hash(const struct sip_gateway *gateway, struct octets call_id, struct octets flow) {
	uint64_t key[2] = {gateway->dialog_key[0], gateway->dialog_key[1]};

	key[1] ^= keyed_hash(key, call_id);
	return keyed_hash(key, flow);
}

static void write_hex(struct writer *w, struct octets octets) {
	for (size_t i = 0; i < octets.length; i++)
		writer_format(w, "%02x", octets.data[i]);
}

/* 0 for anything else than digits as we write them. */
static bool read_hex(const char *text, struct writer *w) {
	static const char digits[] = "0123456789abcdef";

	for (; *text; text += 2) {
		const char *high = strchr(digits, text[0]), *low = text[1] ? strchr(digits, text[1]) : NULL;
		if (!high || !low)
			return false;
		writer_u8(w, (uint8_t)((high - digits) << 4 | (low - digits)));
	}
	return writer_finish(w) == 0;
}

static void write_flow(struct writer *w, const struct sip_flow *flow) {
	writer_u8(w, (uint8_t)flow->transport);
	if (flow->transport != SIP_UDP)
		writer_u64(w, flow->connection);
	writer_u16(w, flow->remote.port);
	writer_raw(w, flow->remote.octets, flow->remote.family == AF_INET ? 4 : 16);
}

static void write_packed(struct sip_gateway *gateway, const char *kind, struct octets call_id, struct octets packed,
			 struct writer *w) {
	writer_format(w, "%s%016" PRIx64, kind, token_hash(gateway, call_id, packed));
	write_hex(w, packed);
}

/* Two letters each: how requests that go over the flow are numbered. */
static const char *const token_kinds[] = {[SIP_NUMBERS_SAME] = "rr", [SIP_NUMBERS_EVEN] = "rt", [SIP_NUMBERS_ODD] = "ru"};

static void write_token(struct sip_gateway *gateway, struct octets call_id, struct sip_recorded recorded, struct writer *w) {
	uint8_t octets[TOKEN_OCTETS];
	struct writer packed = writer_fixed(octets, sizeof(octets));

	write_flow(&packed, recorded.flow);
	write_packed(gateway, token_kinds[recorded.numbering], call_id, writer_octets_written(&packed), w);
}

enum { PACKED_OCTETS = 8 + TOKEN_OCTETS };

/* Is this a user part that we wrote for this Call-ID? Then `r` reads what was packed. */
static bool read_packed(struct sip_gateway *gateway, const char *kind, struct octets call_id, const osip_uri_t *uri,
			uint8_t octets[static PACKED_OCTETS], struct reader *ret) {
	const char *text = uri->username;
	struct writer w = writer_fixed(octets, PACKED_OCTETS);

	if (!text || strncmp(text, kind, 2) != 0 || strlen(text) > TOKEN_TEXT || !read_hex(text + 2, &w))
		return false;
	struct reader r = reader_of_octets(writer_octets_written(&w));
	uint64_t hash = reader_u64(&r);
	struct reader packed = r;
	*ret = r;
	return r.error == 0 && hash == token_hash(gateway, call_id, reader_rest(&packed));
}

static struct sip_flow read_flow(struct reader *r) {
	struct sip_flow flow = {.fd = -1, .transport = (enum sip_transport)reader_u8(r)};

	flow.connection = flow.transport != SIP_UDP ? reader_u64(r) : 0;
	flow.remote.port = reader_u16(r);
	struct octets address = reader_rest(r);
	flow.remote.family = address.length == 4 ? AF_INET : AF_INET6;
	flow.local.family = flow.remote.family;
	memcpy(flow.remote.octets, address.data, address.length);
	return flow;
}

/* Where the dialog's other end was. */
static bool read_token(struct sip_gateway *gateway, struct octets call_id, const osip_uri_t *uri, struct sip_route_set *set) {
	uint8_t octets[PACKED_OCTETS];
	struct reader r;

	for (size_t i = 0; i < ARRAY_LENGTH(token_kinds); i++) {
		if (!read_packed(gateway, token_kinds[i], call_id, uri, octets, &r))
			continue;
		set->numbering = (enum sip_numbering)i;
		set->flow = read_flow(&r);
		inet_pton(set->flow.local.family, uri->host, set->flow.local.octets);
		return true;
	}
	return false;
}

/* The descriptor a flow of a token has now; a connection may be gone, and its number is not used again. */
static void find_descriptor(struct sip_gateway *gateway, struct sip_flow *flow) {
	static const uint8_t any[sizeof(flow->local.octets)];

	for (struct sip_connection *connection = flow->connection ? gateway->connections : NULL; connection;
	     connection = connection->hh.next)
		if (connection->flow.connection == flow->connection)
			*flow = connection->flow;
	for (size_t i = 0; flow->transport == SIP_UDP && i < gateway->listener_count; i++) {
		const struct sip_listener *listener = &gateway->listeners[i];
		if (listener->address.family == flow->local.family &&
		    (memcmp(listener->address.octets, flow->local.octets, sizeof(any)) == 0 ||
		     memcmp(listener->address.octets, any, sizeof(any)) == 0)) {
			flow->fd = listener->udp;
			flow->local.port = listener->address.port;
			return;
		}
	}
}

static void write_line(struct sip_gateway *gateway, struct octets call_id, struct sip_recorded recorded, bool secure,
		       struct writer *w) {
	const struct sip_flow *flow = recorded.flow;
	char host[ADDRESS_TEXT_SIZE];

	writer_octets(w, octets_of_string(secure ? "Record-Route: <sips:" : "Record-Route: <sip:")); /* RFC 3261 16.6 step 4 */
	write_token(gateway, call_id, recorded, w);
	writer_format(w, "@%s;lr%s>\r\n", sip_flow_sent_by(gateway, flow, host),
		      flow->transport == SIP_TLS   ? secure ? "" : ";transport=tls"
		      : flow->transport == SIP_TCP ? ";transport=tcp"
						   : "");
}

/* --- Path (RFC 3327, RFC 5626 5.1) --- */

void sip_path_write(struct sip_gateway *gateway, const struct sip_flow *in, const struct sip_flow *out, bool direct,
		    char text[static SIP_RECORD_ROUTE_SIZE]) {
	struct writer w = writer_fixed(text, SIP_RECORD_ROUTE_SIZE - 1);
	uint8_t octets[TOKEN_OCTETS], listener = 0;
	struct writer packed = writer_fixed(octets, sizeof(octets));
	char host[ADDRESS_TEXT_SIZE];

	while (listener < gateway->listener_count && gateway->listeners[listener].udp != in->fd)
		listener++;
	writer_u8(&packed, listener); /* the phone may have come to another address than the one `out` leaves from */
	write_flow(&packed, in);
	writer_octets(&w, octets_of_string("Path: <sip:"));
	write_packed(gateway, "pt", for_all_calls, writer_octets_written(&packed), &w);
	writer_format(&w, "@%s;lr%s>\r\n", sip_flow_sent_by(gateway, out, host), direct ? ";ob" : "");
	text[writer_octets_written(&w).length] = 0;
}

static bool read_path(struct sip_gateway *gateway, const osip_uri_t *uri, struct sip_flow *ret) {
	uint8_t octets[PACKED_OCTETS];
	struct reader r;

	if (!read_packed(gateway, "pt", for_all_calls, uri, octets, &r))
		return false;
	uint8_t listener = reader_u8(&r);
	*ret = read_flow(&r);
	if (listener < gateway->listener_count && gateway->listeners[listener].address.family == ret->remote.family) {
		ret->local = gateway->listeners[listener].address;
		ret->fd = ret->transport == SIP_UDP ? gateway->listeners[listener].udp : -1;
	}
	return true;
}

void sip_record_route_write(struct sip_gateway *gateway, struct octets call_id, struct sip_recorded in, struct sip_recorded out,
			    bool secure, char text[static SIP_RECORD_ROUTE_SIZE]) {
	struct writer w = writer_fixed(text, SIP_RECORD_ROUTE_SIZE - 1);

	write_line(gateway, call_id, out, secure, &w);
	write_line(gateway, call_id, in, secure, &w);
	text[writer_octets_written(&w).length] = 0;
}

/* --- Routes --- */

osip_uri_t *sip_route_uri(const char *route) {
	const char *open = strchr(route, '<'), *close = open ? strchr(open, '>') : NULL;
	char text[SIP_CONTACT_OCTETS + 1];

	if (!close || (size_t)(close - open) > sizeof(text))
		return NULL;
	snprintf(text, sizeof(text), "%.*s", (int)(close - open - 1), open + 1);
	return uri_parse(text);
}

/* A Route of ours: our address, a token of ours, or one of our domains, as phones have it that use us as outbound proxy. */
static bool is_ours(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
		    const osip_uri_t *uri, struct sip_route_set *set) {
	char domain[SIP_AOR_OCTETS + 1];

	if (uri_is_sip(uri) && read_token(gateway, request->frame.field[SIP_FIELD_CALL_ID], uri, set)) {
		set->dialog = true;
		set->path = false;
		return true;
	}
	struct sip_flow phone;
	if (uri_is_sip(uri) && !set->dialog && read_path(gateway, uri, &phone)) {
		set->flow = phone;
		set->path = true;
		return true;
	}
	if (gateway_owns_address(gateway, uri, flow)) {
		set->place = set->place || sip_parameter(&uri->url_params, USE_PROXY_PARAMETER);
		return true;
	}
	return !uri->username && uri_domain(uri, domain) == 0 && gateway->events.domain(gateway->events.userdata, domain);
}

struct octets sip_next_value(struct reader *r) {
	struct reader ahead = *r;
	bool quoted = false, bracketed = false;
	size_t length = 0;

	for (uint8_t c = 0, last = 0; reader_left(&ahead) > 0; last = c, length++) {
		c = reader_u8(&ahead);
		if (c == '"' && last != '\\' && !bracketed)
			quoted = !quoted;
		else if (!quoted && (c == '<' || c == '>'))
			bracketed = c == '<';
		else if (c == ',' && !quoted && !bracketed)
			break;
	}
	struct octets value = reader_octets(r, length);
	if (reader_left(r) > 0)
		reader_u8(r);
	return value;
}

static int add_route(struct sip_route_set *set, struct octets value) {
	while (value.length > 0 && strchr(" \t\r\n", value.data[value.length - 1]))
		value.length--;
	struct reader r = reader_of_octets(value);
	for (struct reader ahead = r; reader_left(&ahead) > 0 && strchr(" \t\r\n", reader_u8(&ahead)); r = ahead)
		;
	value = reader_rest(&r);
	if (value.length == 0)
		return 0;
	if (set->count == SIP_ROUTES)
		return -EBADMSG;
	set->routes[set->count] = strndup((const char *)value.data, value.length);
	return set->routes[set->count++] ? 0 : -ENOMEM;
}

static int read_routes(const struct sip_request *request, struct sip_route_set *set) {
	struct reader r = reader_of_octets(request->frame.header);
	struct sip_raw_field field;
	int error = 0;

	while (error == 0 && sip_raw_field_next(&r, &field)) {
		struct reader values = reader_of_octets(field.value);
		while (error == 0 && field.field == SIP_FIELD_ROUTE && reader_left(&values) > 0)
			error = add_route(set, sip_next_value(&values));
	}
	for (size_t i = 0; error == 0 && i < set->count; i++) {
		_cleanup_(uri_freep) osip_uri_t *uri = set->routes[i] ? sip_route_uri(set->routes[i]) : NULL;
		error = uri ? 0 : -EBADMSG;
	}
	return error;
}

static void drop_first(struct sip_route_set *set) {
	free(set->routes[0]);
	memmove(&set->routes[0], &set->routes[1], --set->count * sizeof(set->routes[0]));
}

/* A strict router puts our Record-Route into the Request-URI, and the Request-URI behind the Routes (RFC 3261 16.4). */
static int undo_strict_routing(struct sip_gateway *gateway, struct sip_request *request) {
	struct sip_route_set *set = &request->route_set;
	const osip_uri_t *uri = request->message->req_uri;
	char *text = NULL;

	if (set->count == 0 || !uri_is_sip(uri) || !read_token(gateway, request->frame.field[SIP_FIELD_CALL_ID], uri, set))
		return 0;
	_cleanup_(uri_freep) osip_uri_t *last = sip_route_uri(set->routes[set->count - 1]);
	if (!last || osip_uri_to_str(last, &text) != OSIP_SUCCESS)
		return -ENOMEM;
	set->uri = strdup(text);
	osip_free(text);
	free(set->routes[--set->count]);
	set->ours = set->dialog = true;
	if (!set->uri)
		return -ENOMEM;
	osip_uri_free(request->message->req_uri);
	request->message->req_uri = TAKE(last);
	return 0;
}

int sip_route_set_read(struct sip_gateway *gateway, struct sip_request *request, const struct sip_flow *flow) {
	struct sip_route_set *set = &request->route_set;

	if (request->frame.field[SIP_FIELD_ROUTE].length == 0)
		return 0;
	int error = read_routes(request, set);
	if (error == 0)
		error = undo_strict_routing(gateway, request);
	while (error == 0 && set->count > 0) {
		_cleanup_(uri_freep) osip_uri_t *uri = sip_route_uri(set->routes[0]);
		if (!uri)
			return -ENOMEM;
		if (!is_ours(gateway, request, flow, uri, set))
			break;
		set->ours = true;
		drop_first(set);
	}
	if (error == 0 && (set->dialog || (set->path && set->flow.connection != 0)))
		find_descriptor(gateway, &set->flow);
	return error;
}
