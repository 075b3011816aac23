/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nearly every REGISTER is the one before once more, with another branch, another CSeq and other credentials (RFC 3261 10.2.4).
 * What such a one is to do is known without the parser: a keyed hash over all the rest of its header, and over where it came from,
 * leads to the binding to be renewed. Whatever can have changed on our side is asked again: whether the phone's network, the domain
 * and the user are served, and the password. From there on it is a job like others.
 */
#include "sip/proxy.h"
#include "sip/register.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CUTS = 3, SAID_OCTETS = SIP_HEADER_OCTETS + 128 };

static void write_address(struct writer *w, const struct address *address) {
	writer_u16(w, address->family);
	writer_u16(w, address->port);
	writer_u32(w, address->scope);
	writer_raw(w, address->octets, sizeof(address->octets));
}

/*
 * The header without the values that differ each time: those of Via and CSeq, and of the first Authorization. How long the pieces
 * in between are goes with them, so that no other header has the same ones.
 */
static bool write_said(struct writer *w, const struct sip_frame *frame, const struct sip_flow *flow) {
	struct octets cuts[CUTS] = {frame->field[SIP_FIELD_VIA], frame->field[SIP_FIELD_CSEQ],
				    frame->field[SIP_FIELD_AUTHORIZATION]};
	size_t count = cuts[2].length > 0 ? CUTS : CUTS - 1;
	struct reader r = reader_of_octets(frame->header);

	for (; count > 0; count--) {
		size_t first = 0;
		for (size_t i = 1; i < count; i++)
			if (cuts[i].data < cuts[first].data)
				first = i;
		struct octets piece = reader_octets(&r, (size_t)(cuts[first].data - frame->header.data) - r.position);
		reader_octets(&r, cuts[first].length);
		writer_octets(w, piece);
		writer_u32(w, (uint32_t)piece.length);
		cuts[first] = cuts[count - 1];
	}
	writer_octets(w, reader_rest(&r));
	write_address(w, &flow->remote);
	write_address(w, &flow->local);
	writer_u32(w, (uint32_t)flow->fd);
	return r.error == 0 && writer_finish(w) == 0;
}

static bool key_of(const struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow,
		   uint64_t ret[static 2]) {
	uint8_t text[SAID_OCTETS];
	struct writer w = writer_fixed(text, sizeof(text));

	if (!write_said(&w, frame, flow))
		return false;
	keyed_hash_long(gateway->again_key, writer_octets_written(&w), ret);
	return true;
}

/* Of a request over UDP with one Via and nothing in it that is for others to judge. */
static bool is_plain(const struct sip_frame *frame, const struct sip_flow *flow) {
	return flow->connection == 0 && flow->transport == SIP_UDP && frame->vias == 1 && !frame->quoted_control &&
	       frame->field[SIP_FIELD_VIA].length > 0 && frame->field[SIP_FIELD_CSEQ].length > 0 &&
	       octets_equal(frame->method, octets_of_string("REGISTER"));
}

/* --- what is remembered --- */

/* Where a From field has its tag, when it can be seen without the parser. */
static bool find_tag(struct octets from, const char *tag, struct sip_again *again) {
	struct octets value = octets_of_string(tag);
	const uint8_t *at = from.length > value.length ? memmem(from.data, from.length, tag, value.length) : NULL;

	if (!at || from.length > UINT16_MAX || value.length == 0)
		return false;
	again->tag_start = (uint16_t)(at - from.data);
	again->tag_length = (uint16_t)value.length;
	return true;
}

void register_again_note(struct register_job *job, const struct sip_request *request, const struct sip_flow *flow,
			 const char *realm, const char *from) {
	const struct sip_gateway *gateway = job->registration->gateway;
	const char *aor = job->registration->aor, *at = strrchr(aor, '@');
	struct binding *wish = job->wishes[0];

	if (job->wish_count != 1 || job->everything || wish->expires_s == 0 || wish->more || job->path || job->flow ||
	    !is_plain(&request->frame, flow) || request->to_tag || !request->from_tag || request->route_set.dialog || !at ||
	    strcmp(at + 1, realm) != 0 || strcmp(from, aor) != 0)
		return;
	struct sip_again *again = calloc(1, sizeof(*again));
	if (again && find_tag(request->frame.field[SIP_FIELD_FROM], request->from_tag, again) &&
	    key_of(gateway, &request->frame, flow, again->key))
		wish->again = again;
	else
		free(again); /* without, each is looked at as the first */
}

struct sip_again *sip_again_free(struct sip_gateway *gateway, struct sip_again *again) {
	if (again && again->hh.tbl)
		HASH_DELETE(hh, gateway->agains, again);
	free(again);
	return NULL;
}

void sip_again_commit(struct binding *binding, struct binding *former) {
	struct sip_gateway *gateway = binding->registration->gateway;
	struct sip_again *other = NULL;

	if (binding->repeats && former && former->again && !binding->again) {
		binding->again = TAKE(former->again);
		binding->again->binding = binding;
		return;
	}
	if (!binding->again)
		return;
	HASH_FIND(hh, gateway->agains, binding->again->key, sizeof(binding->again->key), other);
	if (other) {
		other->binding->again = NULL;
		sip_again_free(gateway, other);
	}
	binding->again->binding = binding;
	HASH_ADD(hh, gateway->agains, key, sizeof(binding->again->key), binding->again);
	if (!binding->again->hh.tbl)
		binding->again = sip_again_free(gateway, binding->again);
}

/* --- what is recognized --- */

/* "314 REGISTER" */
static bool read_cseq(struct octets field, uint32_t *ret) {
	static const char method[] = " REGISTER";
	struct reader r = reader_of_octets(field);

	if (field.length <= strlen(method))
		return false;
	struct octets number = reader_octets(&r, field.length - strlen(method));
	return sip_number_parse(number, ret) == 0 && octets_equal(reader_rest(&r), octets_of_string(method));
}

/* Nothing that waits, and nothing over, so that it would be renewed at once. */
static bool is_settled(const struct binding *binding, uint32_t cseq) {
	const struct sip_gateway *gateway = binding->registration->gateway;

	return !binding->registration->jobs && !binding->more && cseq > binding->cseq &&
	       binding->expires_us > gateway->runtime->now_us && gateway->call_count < LIMIT_SIP_TRANSACTIONS;
}

/* As check_domain() and check_user() have it for what this AoR may have come from: itself. */
static bool is_served(const struct sip_gateway *gateway, const char *aor) {
	const struct sip_gateway_events *events = &gateway->events;

	return events->domain(events->userdata, strrchr(aor, '@') + 1) && events->user(events->userdata, aor);
}

/* False: it was answered. */
static bool is_authorized(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
			  const char *aor) {
	char user[SIP_AOR_OCTETS + 1];

	if (!gateway->auth.on)
		return true;
	if (!sip_authenticate(gateway, transaction, request, strrchr(aor, '@') + 1, false, user))
		return false;
	if (register_authorized(gateway, user, aor, aor))
		return true;
	sip_transaction_respond(transaction, 403, "Third-Party Registration Not Allowed", OCTETS_NONE);
	return false;
}

static void renew(struct binding *binding, uint32_t cseq, struct sip_transaction *transaction) {
	struct registration *registration = binding->registration;
	struct register_job *job = register_job_new(registration, octets_of_string(binding->call_id), cseq);
	struct binding *wish = job ? binding_again(binding) : NULL;

	if (!wish) {
		register_job_free(job);
		sip_transaction_respond(transaction, 500, "Out of Memory", OCTETS_NONE);
		return;
	}
	wish->cseq = cseq;
	wish->kept = binding_is_kept(binding);
	registration->gateway->figures.kept += wish->kept;
	job->direct = true;
	job->wishes[job->wish_count++] = wish;
	register_job_begin(job, transaction);
}

bool sip_register_again(struct sip_gateway *gateway, const struct sip_frame *frame, const struct sip_flow *flow) {
	struct sip_transaction *transaction = NULL;
	struct sip_again *again = NULL;
	uint64_t key[2];
	uint32_t cseq;

	if (!gateway->agains || gateway->overload.shedding > 0 || !is_plain(frame, flow) ||
	    !read_cseq(frame->field[SIP_FIELD_CSEQ], &cseq) || !key_of(gateway, frame, flow, key))
		return false;
	HASH_FIND(hh, gateway->agains, key, sizeof(key), again);
	if (!again || !is_settled(again->binding, cseq) || !is_served(gateway, again->binding->registration->aor))
		return false;
	/* What the parser would have made of it, as far as anybody looks. */
	osip_uri_t nowhere = {0};
	osip_message_t message = {.req_uri = &nowhere};
	const struct sip_request request = {.frame = *frame, .method = SIP_REGISTER, .message = &message, .cseq = cseq};
	struct reader from = reader_of_octets(frame->field[SIP_FIELD_FROM]);
	reader_octets(&from, again->tag_start);
	struct octets tag = reader_octets(&from, again->tag_length);
	if (sip_proxy_trust(gateway, &request, flow) != SIP_TRUST_SITE ||
	    sip_transaction_new_plain(gateway, frame, flow, tag, cseq, &transaction) < 0)
		return false;
	gateway->figures.repeated++;
	if (is_authorized(gateway, transaction, &request, again->binding->registration->aor))
		renew(again->binding, cseq, transaction);
	return true;
}
