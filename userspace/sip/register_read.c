/* SPDX-License-Identifier: BSD-2-Clause */
/* What a REGISTER asks for: its Contacts (RFC 3261 10.3), its Path (RFC 3327), its flow (RFC 5626). */
#include "sip/register.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A proxy that adds a Path to the REGISTER of a phone that knows nothing of it is to be found out (RFC 3327 5.3). */
unsigned register_extensions_read(struct register_job *job, const struct sip_request *request, const char **ret_reason) {
	unsigned offered = sip_extensions_offered(job->registration->gateway);

	job->supported = offered ? sip_extensions_read(&request->frame, "Supported", offered, NULL) : 0;
	int error = offered & SIP_EXTENSION_PATH ? sip_path_read(&request->frame, &job->path) : 0;
	*ret_reason = error == -ENOBUFS ? "Path Too Long" : error == -ENOMEM ? "Out of Memory" : "Malformed Path";
	if (error < 0)
		return error == -ENOMEM ? 500 : 400;
	*ret_reason = "Bad Extension";
	return job->path && !job->passed && !(job->supported & SIP_EXTENSION_PATH) ? 420 : 0;
}

/* delta-seconds; what is none counts as one hour (RFC 3261 20.19). */
static uint32_t parse_expires(struct octets text) {
	uint32_t seconds = 0;
	int error = sip_number_parse(text, &seconds);

	return error == 0 ? seconds : error == -ERANGE ? UINT32_MAX : 3600;
}

/* "0.25" in thousandths, -1 for anything else. */
static int parse_q(const char *text) {
	int q = 0, scale = 1000;

	if (!text || (text[0] != '0' && text[0] != '1') || (text[1] != 0 && text[1] != '.') || strlen(text) > 5)
		return -1;
	q = (text[0] - '0') * 1000;
	for (size_t i = 2; text[1] != 0 && text[i]; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		scale /= 10;
		q += (text[i] - '0') * scale;
	}
	return q <= 1000 ? q : -1;
}

/* What goes beyond RFC 3261, of phones that do. */
static int read_more(const struct register_job *job, const osip_contact_t *contact, struct binding *wish) {
	struct binding_more more = {0};

	if (sip_extensions_offered(job->registration->gateway) == 0)
		return 0;
	int error = sip_device_read(contact, &more);
	if (error < 0 || (!more.instance && !job->path))
		return error;
	if (more.reg_id != 0 && asprintf(&more.name, "reg-id=%u;%s", more.reg_id, more.instance) < 0)
		more.name = NULL;
	more.path = job->path ? strdup(job->path) : NULL;
	wish->more = malloc(sizeof(more));
	if (!wish->more || (job->path && !more.path) || (more.reg_id != 0 && !more.name)) {
		free(more.name);
		free(more.path);
		free(more.instance);
		free(wish->more);
		wish->more = NULL;
		return -ENOMEM;
	}
	*wish->more = more;
	return 0;
}

static int wish_of(const struct register_job *job, const osip_contact_t *contact, const struct sip_flow *flow, uint32_t expires_s,
		   struct binding **ret) {
	_cleanup_(binding_freep) struct binding *wish = calloc(1, sizeof(*wish));
	char *text = NULL;

	if (!wish)
		return -ENOMEM;
	if (!contact->url || osip_uri_to_str(contact->url, &text) != OSIP_SUCCESS || !text)
		return -EINVAL;
	int error = binding_set_contact(wish, text);
	osip_free(text);
	if (error < 0)
		return error;
	wish->call_id = strdup(job->call_id);
	if (!wish->call_id)
		return -ENOMEM;
	wish->cseq = job->cseq;
	wish->q = parse_q(sip_parameter(&contact->gen_params, "q"));
	wish->expires_s = expires_s;
	wish->source = flow->remote;
	wish->flow = *flow;
	error = read_more(job, contact, wish);
	if (error == 0)
		*ret = TAKE(wish);
	return error;
}

static bool has_flow(const struct binding *wish) {
	return wish->more && wish->more->reg_id != 0;
}

/* The last of several wishes for one URI counts; those with flows are told apart by these. */
static unsigned add_wish(struct register_job *job, struct binding *wish, const char **ret_reason) {
	for (size_t i = 0; i < job->wish_count; i++)
		if (uri_equal(job->wishes[i]->uri, wish->uri) && !has_flow(wish) && !has_flow(job->wishes[i])) {
			binding_free(job->wishes[i]);
			job->wishes[i] = wish;
			return 0;
		}
	if (job->wish_count == SIP_CONTACTS_PER_AOR) {
		binding_free(wish);
		*ret_reason = "Too Many Contacts";
		return 403;
	}
	job->wishes[job->wish_count++] = wish;
	return 0;
}

static unsigned read_contact(struct register_job *job, const struct sip_request *request, const osip_contact_t *contact,
			     const struct sip_flow *flow, const char **ret_reason) {
	const struct sip_gateway *gateway = job->registration->gateway;
	const char *parameter = sip_parameter(&contact->gen_params, "expires");
	struct octets field = request->frame.field[SIP_FIELD_EXPIRES];
	struct binding *wish = NULL;

	if (!contact->url && contact->displayname && strcmp(contact->displayname, "*") == 0) {
		*ret_reason = "Contact * Not With Expires 0 Alone"; /* RFC 3261 10.3 step 6 */
		job->everything = true;
		return field.data && octets_equal(field, octets_of_string("0")) && !parameter ? 0 : 400;
	}
	uint32_t expires_s = parameter	  ? parse_expires(octets_of_string(parameter))
			     : field.data ? parse_expires(field)
					  : gateway->expires_default_s;
	if (expires_s > 0 && expires_s < 3600 && expires_s < gateway->expires_min_s) {
		*ret_reason = "Interval Too Brief";
		return 423;
	}
	if (expires_s > gateway->expires_max_s)
		expires_s = gateway->expires_max_s;
	int error = wish_of(job, contact, flow, expires_s, &wish);
	*ret_reason = error == -EINVAL ? "Malformed Contact" : "Out of Memory";
	return error == -EINVAL ? 400 : error < 0 ? 500 : add_wish(job, wish, ret_reason);
}

/* RFC 5626 6: one REGISTER binds one flow, and only where there is one. */
static unsigned check_flows(struct register_job *job, const struct sip_request *request, const char **ret_reason) {
	size_t added = 0, flows = 0;

	for (size_t i = 0; i < job->wish_count; i++)
		flows += has_flow(job->wishes[i]);
	if (flows > 0 && !sip_flow_usable(request, job->path)) {
		*ret_reason = "First Hop Lacks Outbound Support";
		if (job->supported & SIP_EXTENSION_OUTBOUND)
			return 439;
		for (size_t i = 0; i < job->wish_count; i++)
			if (has_flow(job->wishes[i])) {
				job->wishes[i]->more->reg_id = 0;
				free(job->wishes[i]->more->name);
				job->wishes[i]->more->name = NULL;
			}
		return 0;
	}
	flows = 0;
	for (size_t i = 0; i < job->wish_count; i++) {
		added += job->wishes[i]->expires_s > 0;
		flows += job->wishes[i]->expires_s > 0 && has_flow(job->wishes[i]);
	}
	*ret_reason = "One Flow Per Registration";
	job->flow = flows > 0;
	return flows > 0 && added > 1 ? 400 : 0;
}

unsigned register_contacts_read(struct register_job *job, const struct sip_request *request, const struct sip_flow *flow,
				const char **ret_reason) {
	const osip_list_t *contacts = &request->message->contacts;
	osip_list_iterator_t at;
	size_t count = 0;

	for (osip_contact_t *contact = osip_list_get_first(contacts, &at); osip_list_iterator_has_elem(at);
	     contact = osip_list_get_next(&at)) {
		unsigned status = contact ? read_contact(job, request, contact, flow, ret_reason) : 0;
		if (status != 0)
			return status;
		count++;
	}
	*ret_reason = "Contact * Not Alone";
	if (job->everything && count > 1)
		return 400;
	return check_flows(job, request, ret_reason);
}
