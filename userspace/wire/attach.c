/* SPDX-License-Identifier: BSD-2-Clause */
/* Attach and AppAttach: ICE parameters and candidates (RFC 6940 6.5.1.1, 6.5.2.1). */
#include "wire/list.h"
#include "wire/method.h"

int ice_extension_next(struct reader *list, struct ice_extension *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct ice_extension extension = {.name = reader_vector16(list)};
	extension.value = reader_vector16(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = extension;
	return 1;
}

int ice_candidate_next(struct reader *list, struct ice_candidate *ret) { /* B-6.5.1.1-03 */
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct ice_candidate candidate = {0};
	ip_address_port_read(list, &candidate.address);
	candidate.overlay_link = reader_u8(list);
	candidate.foundation = reader_vector8(list);
	candidate.priority = reader_u32(list);
	candidate.type = reader_u8(list);
	switch (candidate.type) {
	case CANDIDATE_HOST:
		break;
	case CANDIDATE_SRFLX:
	case CANDIDATE_RELAY:
		ip_address_port_read(list, &candidate.related);
		break;
	default: /* B-6.3.1-05, Q-75: its layout is unknown, and nothing says how long it is */
		return reader_fail(list);
	}
	candidate.extensions = reader_vector16(list);
	if (list->error < 0 || LIST_CHECK(list, candidate.extensions, struct ice_extension, ice_extension_next) < 0)
		return reader_fail(list);
	*ret = candidate;
	return 1;
}

void ice_candidate_write(struct writer *w, const struct ice_candidate *candidate) {
	ip_address_port_write(w, &candidate->address);
	writer_u8(w, candidate->overlay_link);
	writer_vector8(w, candidate->foundation);
	writer_u32(w, candidate->priority);
	writer_u8(w, candidate->type);
	switch (candidate->type) {
	case CANDIDATE_HOST:
		break;
	case CANDIDATE_SRFLX:
	case CANDIDATE_RELAY:
		ip_address_port_write(w, &candidate->related);
		break;
	default:
		writer_fail(w, -EINVAL);
		break;
	}
	writer_vector16(w, candidate->extensions);
}

static int attach_finish(const struct reader *r, const struct attach_req_ans *attach, struct attach_req_ans *ret) {
	if (reader_finish(r) < 0 || LIST_CHECK(r, attach->candidates, struct ice_candidate, ice_candidate_next) < 0)
		return -EBADMSG;
	*ret = *attach;
	return 0;
}

int attach_read(struct octets body, struct attach_req_ans *ret) {
	struct reader r = reader_of_octets(body);
	struct attach_req_ans attach = {.ufrag = reader_vector8(&r)};

	attach.password = reader_vector8(&r);
	attach.role = reader_vector8(&r);
	attach.candidates = reader_vector16(&r);
	attach.send_update = reader_boolean(&r);
	return attach_finish(&r, &attach, ret);
}

void attach_write(struct writer *w, const struct attach_req_ans *attach) {
	writer_vector8(w, attach->ufrag);
	writer_vector8(w, attach->password);
	writer_vector8(w, attach->role);
	writer_vector16(w, attach->candidates);
	writer_boolean(w, attach->send_update);
}

int app_attach_read(struct octets body, struct attach_req_ans *ret) {
	struct reader r = reader_of_octets(body);
	struct attach_req_ans attach = {.ufrag = reader_vector8(&r)};

	attach.password = reader_vector8(&r);
	attach.application = reader_u16(&r);
	attach.role = reader_vector8(&r);
	attach.candidates = reader_vector16(&r);
	return attach_finish(&r, &attach, ret);
}

void app_attach_write(struct writer *w, const struct attach_req_ans *attach) {
	writer_vector8(w, attach->ufrag);
	writer_vector8(w, attach->password);
	writer_u16(w, attach->application);
	writer_vector8(w, attach->role);
	writer_vector16(w, attach->candidates);
}
