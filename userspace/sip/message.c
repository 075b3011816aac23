/* SPDX-License-Identifier: BSD-2-Clause */
/* From octets to a request of which everything that later stages look at is there. */
#include "sip/internal.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *name;
	enum sip_method method;
} methods[] = {
	{"REGISTER", SIP_REGISTER}, {"INVITE", SIP_INVITE},    {"ACK", SIP_ACK},
	{"CANCEL", SIP_CANCEL},	    {"OPTIONS", SIP_OPTIONS},  {"BYE", SIP_IN_DIALOG},
	{"PRACK", SIP_IN_DIALOG},   {"UPDATE", SIP_IN_DIALOG}, {"INFO", SIP_IN_DIALOG},
};

static enum sip_method method_of(const char *name) {
	for (size_t i = 0; i < ARRAY_LENGTH(methods); i++)
		if (strcmp(methods[i].name, name) == 0)
			return methods[i].method;
	return SIP_OTHER;
}

const char *sip_parameter(const osip_list_t *parameters, const char *name) {
	osip_list_iterator_t at;

	for (osip_generic_param_t *parameter = osip_list_get_first(parameters, &at); osip_list_iterator_has_elem(at);
	     parameter = osip_list_get_next(&at))
		if (parameter && parameter->gname && strcasecmp(parameter->gname, name) == 0)
			return parameter->gvalue ? parameter->gvalue : "";
	return NULL;
}

int sip_number_parse(struct octets text, uint32_t *ret) {
	uint64_t value = 0;

	if (text.length == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.length; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return -EINVAL;
		value = value * 10 + (uint64_t)(text.data[i] - '0');
		if (value > UINT32_MAX)
			return -ERANGE;
	}
	*ret = (uint32_t)value;
	return 0;
}

/* Which of the fields that RFC 3261 8.1.1 demands is not there. Max-Forwards may miss, as in requests of RFC 2543. */
static const char *missing_field(const struct sip_frame *frame) {
	static const struct {
		enum sip_field field;
		const char *reason;
	} mandatory[] = {
		{SIP_FIELD_VIA, "Missing Via"},		{SIP_FIELD_FROM, "Missing From"}, {SIP_FIELD_TO, "Missing To"},
		{SIP_FIELD_CALL_ID, "Missing Call-ID"}, {SIP_FIELD_CSEQ, "Missing CSeq"},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(mandatory); i++)
		if (frame->field[mandatory[i].field].length == 0)
			return mandatory[i].reason;
	return NULL;
}

/* The parser accepts nearly everything and leaves NULL where it found nothing. */
static const char *check(struct sip_request *request) {
	const osip_message_t *message = request->message;
	const struct sip_frame *frame = &request->frame;
	osip_list_iterator_t at;

	request->via = osip_list_get_first(&message->vias, &at);
	if (!osip_list_iterator_has_elem(at) || !request->via || !request->via->host || !*request->via->host ||
	    !request->via->protocol || !request->via->version)
		return "Malformed Via";
	if (!message->sip_method || !message->req_uri || !message->req_uri->scheme)
		return "Malformed Request-URI";
	if (!message->from || !message->from->url)
		return "Malformed From";
	if (!message->to || !message->to->url)
		return "Malformed To";
	if (!message->call_id || !message->call_id->number || !*message->call_id->number)
		return "Malformed Call-ID";
	if (!message->cseq || !message->cseq->number || !message->cseq->method ||
	    sip_number_parse(octets_of_string(message->cseq->number), &request->cseq) < 0)
		return "Malformed CSeq";
	if (strcmp(message->cseq->method, message->sip_method) != 0)
		return "CSeq Method Differs";
	if (frame->field[SIP_FIELD_MAX_FORWARDS].data &&
	    (sip_number_parse(frame->field[SIP_FIELD_MAX_FORWARDS], &request->max_forwards) < 0 || request->max_forwards > 255))
		return "Malformed Max-Forwards";
	return NULL;
}

/*
 * The parser sees only the fields that are needed: others may be as malformed as they like (RFC 3261 8.2), and bodies, whose
 * parser fails on one that is not there, are nothing to us.
 */
static int parse(struct sip_request *request) {
	const struct sip_frame *frame = &request->frame;
	uint8_t text[SIP_HEADER_OCTETS + SIP_LINE_OCTETS];
	struct writer w = writer_fixed(text, sizeof(text));

	writer_octets(&w, frame->start);
	writer_octets(&w, octets_of_string("\r\n"));
	for (size_t i = 0; i < frame->parsed_count; i++)
		writer_octets(&w, frame->parsed[i]);
	writer_octets(&w, octets_of_string("\r\n"));
	for (size_t i = 0; frame->quoted_control && i < w.length; i++)
		if ((text[i] < ' ' && !strchr("\r\n\t", text[i])) || text[i] == 0 || text[i] == 0x7f)
			text[i] = '_';
	if (writer_finish(&w) < 0)
		return -EBADMSG;
	return sip_parsed(osip_message_parse(request->message, (const char *)text, w.length));
}

int sip_request_parse(const struct sip_frame *frame, struct sip_request *ret, const char **ret_reason) {
	struct sip_request request = {.frame = *frame, .max_forwards = 70};

	*ret_reason = missing_field(frame);
	if (*ret_reason)
		return -EBADMSG;
	request.arena = sip_arena_begin();
	if (osip_message_init(&request.message) != OSIP_SUCCESS) {
		request.message = NULL;
		sip_request_release(&request);
		return -ENOMEM;
	}
	int error = parse(&request);
	if (error != -ENOMEM)
		*ret_reason = error < 0 ? "Malformed Header Field" : check(&request);
	if (request.arena)
		sip_arena_pause();
	if (error == -ENOMEM) {
		sip_request_release(&request);
		return error;
	}
	if (*ret_reason) {
		sip_request_release(&request);
		return -EBADMSG;
	}
	request.method = method_of(request.message->sip_method);
	request.branch = sip_parameter(&request.via->via_params, "branch");
	request.from_tag = sip_parameter(&request.message->from->gen_params, "tag");
	request.to_tag = sip_parameter(&request.message->to->gen_params, "tag");
	*ret = request;
	return 0;
}

void sip_route_set_release(struct sip_route_set *set) {
	for (size_t i = 0; i < set->count; i++)
		free(set->routes[i]);
	free(set->uri);
	*set = (struct sip_route_set){0};
}

void sip_request_release(struct sip_request *request) {
	osip_message_t *message = request->message;

	/* In the arena there is nothing to free one by one, unless something came from elsewhere. */
	if (message && (!request->arena || sip_arena_spilled() || !sip_arena_owns(message->req_uri)))
		osip_message_free(message);
	request->message = NULL;
	if (request->arena)
		sip_arena_end();
	request->arena = false;
	sip_route_set_release(&request->route_set);
}
