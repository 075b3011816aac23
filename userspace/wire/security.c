/* SPDX-License-Identifier: BSD-2-Clause */
/* The security block: certificates, signer identities, signatures (RFC 6940 6.3.4). */
#include "wire/list.h"
#include "wire/message.h"

int generic_certificate_next(struct reader *list, struct generic_certificate *ret) {
	int more = list_more(list);
	if (more <= 0)
		return more;

	struct generic_certificate certificate = {.type = reader_u8(list)};
	certificate.certificate = reader_vector16(list);
	if (list->error < 0)
		return -EBADMSG;
	*ret = certificate;
	return 1;
}

void generic_certificate_write(struct writer *w, uint8_t type, struct octets certificate) {
	writer_u8(w, type);
	writer_vector16(w, certificate);
}

int signer_identity_read(struct reader *r, struct signer_identity *ret) {
	struct reader before = *r;
	struct signer_identity identity = {.type = reader_u8(r)};
	struct reader value = reader_nested(r, reader_vector16(r));

	switch (identity.type) {
	case SIGNER_CERT_HASH:
	case SIGNER_CERT_HASH_NODE_ID:
		identity.hash_algorithm = reader_u8(&value);
		identity.hash = reader_vector8(&value);
		break;
	case SIGNER_NONE:
		break;
	default: /* extensible: skipped by its length, and never verifies */
		reader_rest(&value);
		break;
	}
	reader_finish_nested(r, &value);
	if (r->error < 0)
		return -EBADMSG;
	identity.whole = reader_between(&before, r);
	*ret = identity;
	return 0;
}

void signer_identity_write(struct writer *w, const struct signer_identity *identity) {
	size_t mark;

	switch (identity->type) {
	case SIGNER_CERT_HASH:
	case SIGNER_CERT_HASH_NODE_ID:
		writer_u8(w, identity->type);
		mark = writer_begin(w, 2);
		writer_u8(w, identity->hash_algorithm);
		writer_vector8(w, identity->hash);
		writer_end(w, mark, 2);
		break;
	case SIGNER_NONE:
		writer_u8(w, SIGNER_NONE);
		writer_u16(w, 0);
		break;
	default: /* one we only carry, as it was read */
		if (identity->whole.length == 0)
			writer_fail(w, -EINVAL);
		writer_octets(w, identity->whole);
		break;
	}
}

int signature_read(struct reader *r, struct signature *ret) {
	struct signature signature = {.hash_algorithm = reader_u8(r)};

	signature.signature_algorithm = reader_u8(r);
	if (signer_identity_read(r, &signature.identity) < 0)
		return -EBADMSG;
	signature.value = reader_vector16(r);
	if (r->error < 0)
		return -EBADMSG;
	*ret = signature;
	return 0;
}

void signature_write(struct writer *w, const struct signature *signature) {
	writer_u8(w, signature->hash_algorithm);
	writer_u8(w, signature->signature_algorithm);
	signer_identity_write(w, &signature->identity);
	writer_vector16(w, signature->value);
}

void signature_write_none(struct writer *w) { /* B-7.4.2-06 */
	signature_write(w, &(struct signature){.hash_algorithm = HASH_NONE,
					       .signature_algorithm = SIGNATURE_ANONYMOUS,
					       .identity = {.type = SIGNER_NONE}});
}

bool signature_is_none(const struct signature *signature) {
	return signature->hash_algorithm == HASH_NONE && signature->signature_algorithm == SIGNATURE_ANONYMOUS &&
	       signature->identity.type == SIGNER_NONE && signature->value.length == 0;
}

int security_block_read(struct reader *r, struct security_block *ret) {
	struct reader before = *r;
	struct security_block security = {.certificates = reader_vector16(r)};

	if (r->error < 0 || LIST_CHECK(r, security.certificates, struct generic_certificate, generic_certificate_next) < 0)
		return reader_fail(r);
	if (signature_read(r, &security.signature) < 0)
		return -EBADMSG;
	security.whole = reader_between(&before, r);
	*ret = security;
	return 0;
}
