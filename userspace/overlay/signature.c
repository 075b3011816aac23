/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/signature.h"

#include "overlay/digest.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

enum { IDENTITY_OCTETS_MAX = 64 };

/* --- the scheme that everyone but the simulator uses --- */

static int openssl_sign(const struct credential *credential, const uint8_t digest[static 32], uint8_t *value, size_t *ret_length) {
	size_t length = SIGNATURE_VALUE_MAX;

	if (EVP_PKEY_sign(credential->sign_context, value, &length, digest, SHA256_LENGTH) != 1) {
		ERR_clear_error();
		return -EIO;
	}
	*ret_length = length;
	return 0;
}

static int openssl_verify(const struct certificate *certificate, const uint8_t digest[static 32], struct octets value) {
	if (EVP_PKEY_verify(certificate->verify_context, value.data, value.length, digest, SHA256_LENGTH) != 1) {
		ERR_clear_error(); /* left-overs would confuse SSL_get_error() */
		return -EKEYREJECTED;
	}
	return 0;
}

const struct signature_scheme signature_scheme_openssl = {.sign = openssl_sign, .verify = openssl_verify};

static const struct signature_scheme *scheme_of(const struct certificate *certificate) {
	return certificate->scheme ? certificate->scheme : &signature_scheme_openssl;
}

void credential_set_signature_scheme(struct credential *credential, const struct signature_scheme *scheme) {
	credential->certificate->scheme = scheme;
}

/* --- identities --- */

static uint8_t algorithm_of(const struct certificate *certificate) {
	return EVP_PKEY_get_base_id(certificate->key) == EVP_PKEY_RSA ? SIGNATURE_RSA : SIGNATURE_ECDSA;
}

/* B-6.3.4-04 */
static struct signer_identity identity_of(const struct certificate *certificate, const struct id *node_id) {
	struct signer_identity identity = {
	    .type = SIGNER_CERT_HASH,
	    .hash_algorithm = HASH_SHA256,
	    .hash = OCTETS(certificate->sha256, SHA256_LENGTH),
	};
	for (size_t i = 0; certificate->identity_hashes && i < certificate->node_id_count; i++) {
		if (id_equal(&certificate->node_ids[i], node_id)) {
			identity.type = SIGNER_CERT_HASH_NODE_ID;
			identity.hash = OCTETS(certificate->identity_hashes[i], SHA256_LENGTH);
		}
	}
	return identity;
}

int signer_identity_match(const struct signer_identity *identity, const struct certificate *certificate, struct id *ret_node_id) {
	if (identity->hash_algorithm != HASH_SHA256 || identity->hash.length != SHA256_LENGTH)
		return -ENOENT;
	for (size_t i = 0; i < certificate->node_id_count; i++) {
		/* B-6.3.4-04: the form follows from the number of Node-IDs, so one octet string has one meaning. */
		struct signer_identity expected = identity_of(certificate, &certificate->node_ids[i]);
		if (identity->type == expected.type && octets_equal(identity->hash, expected.hash)) {
			*ret_node_id = certificate->node_ids[i];
			return 0;
		}
	}
	return -ENOENT;
}

/* --- signing and checking a digest --- */

static int write_signature(const struct credential *credential, const struct signer_identity *identity,
			   const uint8_t digest[static SHA256_LENGTH], struct writer *w) {
	uint8_t value[SIGNATURE_VALUE_MAX];
	size_t length = 0;
	int r = scheme_of(credential->certificate)->sign(credential, digest, value, &length);

	if (r < 0)
		return r;
	const struct signature signature = {
	    .hash_algorithm = HASH_SHA256, /* B-6.3.4-03 */
	    .signature_algorithm = algorithm_of(credential->certificate),
	    .identity = *identity,
	    .value = OCTETS(value, length),
	};
	signature_write(w, &signature); /* B-6.3.4-09 */
	return writer_finish(w);
}

/* Digest of head ‖ body ‖ identity of the credential. */
static int own_digest(const struct credential *credential, struct octets head, struct octets body,
		      struct signer_identity *ret_identity, uint8_t ret[static SHA256_LENGTH]) {
	uint8_t octets[IDENTITY_OCTETS_MAX];
	struct writer written = writer_fixed(octets, sizeof(octets));

	*ret_identity = identity_of(credential->certificate, &credential->node_id);
	signer_identity_write(&written, ret_identity);
	int r = writer_finish(&written);
	if (r < 0)
		return r;
	const struct octets parts[] = {head, body, writer_octets_written(&written)};
	return digest_sha256(parts, ARRAY_LENGTH(parts), ret);
}

static int check_digest(const struct certificate *certificate, const uint8_t digest[static SHA256_LENGTH],
			const struct signature *signature) {
	/* B-6.3.4-03: 04 01 and 04 03 alone, and the one that fits the key. */
	if (signature->hash_algorithm != HASH_SHA256 || signature->signature_algorithm != algorithm_of(certificate) ||
	    signature->value.length == 0 || signature->value.length > SIGNATURE_VALUE_MAX)
		return -EKEYREJECTED;
	return scheme_of(certificate)->verify(certificate, digest, signature->value);
}

static int check_parts(const struct certificate *certificate, struct octets head, struct octets body,
		       const struct signature *signature) {
	const struct octets parts[] = {head, body, signature->identity.whole};
	uint8_t digest[SHA256_LENGTH];
	int r = digest_sha256(parts, ARRAY_LENGTH(parts), digest);

	return r < 0 ? r : check_digest(certificate, digest, signature);
}

int signature_make(const struct credential *credential, struct octets prefix, struct writer *w) {
	struct signer_identity identity;
	uint8_t digest[SHA256_LENGTH];
	int r = own_digest(credential, prefix, OCTETS_NONE, &identity, digest);

	return r < 0 ? r : write_signature(credential, &identity, digest, w);
}

int signature_check(const struct certificate *certificate, struct octets prefix, const struct signature *signature) {
	return check_parts(certificate, prefix, OCTETS_NONE, signature);
}

/* --- messages --- */

static void write_bucket(const struct credential *credential, const struct certificate_bucket *extra, struct writer *w) {
	const struct certificate *own = credential->certificate;
	size_t mark = writer_begin(w, 2);

	/* B-6.3.4-01 */
	generic_certificate_write(w, CERTIFICATE_X509, OCTETS(own->der, own->der_length));
	for (size_t i = 0; extra && i < extra->count; i++) {
		const struct certificate *other = extra->certificates[i];
		if (memcmp(other->sha256, own->sha256, SHA256_LENGTH) != 0)
			generic_certificate_write(w, CERTIFICATE_X509, OCTETS(other->der, other->der_length));
	}
	writer_end(w, mark, 2);
}

/* B-6.3.4-05: what precedes the contents in the signature input. */
static struct octets message_head(uint8_t buffer[static 12], uint32_t overlay, uint64_t transaction_id) {
	struct writer w = writer_fixed(buffer, 12);

	writer_u32(&w, overlay);
	writer_u64(&w, transaction_id);
	return writer_octets_written(&w);
}

int message_sign(const struct credential *credential, const struct certificate_bucket *extra, uint32_t overlay,
		 uint64_t transaction_id, struct octets contents, struct writer *w) {
	uint8_t head[12], digest[SHA256_LENGTH];
	struct signer_identity identity;

	/* `contents` may lie in the writer's own memory, which moves when it grows: hash first. */
	int r = own_digest(credential, message_head(head, overlay, transaction_id), contents, &identity, digest);
	if (r < 0)
		return r;
	write_bucket(credential, extra, w);
	return write_signature(credential, &identity, digest, w);
}

int message_check(struct trust *trust, const struct message *message, uint64_t realtime_ms, struct certificate_bucket *ret_bucket,
		  struct certificate **ret_signer, struct id *ret_node_id) {
	const struct signature *signature = &message->security.signature;
	struct certificate_bucket bucket = {0};
	uint8_t head[12];
	struct id node_id;

	int r = certificate_bucket_read(trust, message->security.certificates, realtime_ms, &bucket);
	if (r < 0)
		return r == -E2BIG ? -EBADMSG : r;
	struct certificate *signer = certificate_bucket_find(&bucket, &signature->identity, &node_id);
	r = -EKEYREJECTED;
	if (signer) /* B-6.3.4-06 */
		r = check_parts(signer, message_head(head, message->header.overlay, message->header.transaction_id),
				message->contents.whole, signature);
	if (r < 0) {
		certificate_bucket_release(&bucket);
		return r;
	}
	*ret_bucket = bucket;
	*ret_signer = signer;
	*ret_node_id = node_id;
	return 0;
}

/* --- stored data --- */

/* B-7.1-01 */
static int stored_data_digest(struct octets resource_id, uint32_t kind, uint64_t storage_time_ms, const struct stored_value *value,
			      struct octets identity, uint8_t ret[static SHA256_LENGTH]) {
	struct writer input = writer_growing(value->value.length + value->key.length + resource_id.length + 256);

	stored_data_write_signature_input(&input, resource_id, kind, storage_time_ms, value, identity);
	int r = writer_finish(&input);
	const struct octets whole = writer_octets_written(&input);
	if (r >= 0)
		r = digest_sha256(&whole, 1, ret);
	writer_release(&input);
	return r;
}

int stored_data_sign(const struct credential *credential, struct octets resource_id, uint32_t kind, uint64_t storage_time_ms,
		     uint32_t lifetime_s, const struct stored_value *value, struct writer *w) {
	struct signer_identity identity = identity_of(credential->certificate, &credential->node_id);
	uint8_t octets[IDENTITY_OCTETS_MAX], digest[SHA256_LENGTH], made[SIGNATURE_VALUE_MAX];
	struct writer written = writer_fixed(octets, sizeof(octets));
	size_t length = 0;

	signer_identity_write(&written, &identity);
	int r = writer_finish(&written);
	if (r >= 0)
		r = stored_data_digest(resource_id, kind, storage_time_ms, value, writer_octets_written(&written), digest);
	if (r >= 0)
		r = scheme_of(credential->certificate)->sign(credential, digest, made, &length);
	if (r < 0)
		return r;
	const struct stored_data data = {
	    .storage_time_ms = storage_time_ms,
	    .lifetime_s = lifetime_s,
	    .value = *value,
	    .signature =
		{
		    .hash_algorithm = HASH_SHA256,
		    .signature_algorithm = algorithm_of(credential->certificate),
		    .identity = identity,
		    .value = OCTETS(made, length),
		},
	};
	stored_data_write(w, &data);
	return writer_finish(w);
}

int stored_data_check(const struct certificate *certificate, struct octets resource_id, uint32_t kind,
		      const struct stored_data *data) {
	uint8_t digest[SHA256_LENGTH];
	struct id node_id;

	if (signer_identity_match(&data->signature.identity, certificate, &node_id) < 0)
		return -EKEYREJECTED;
	int r = stored_data_digest(resource_id, kind, data->storage_time_ms, &data->value, data->signature.identity.whole, digest);
	return r < 0 ? r : check_digest(certificate, digest, &data->signature);
}

/* --- configuration and kind signatures (RFC 6940 11.1) --- */

int security_block_make(const struct credential *signer, struct octets covered, struct writer *w) {
	struct signer_identity identity;
	uint8_t digest[SHA256_LENGTH];
	int r = own_digest(signer, covered, OCTETS_NONE, &identity, digest);

	if (r < 0)
		return r;
	write_bucket(signer, NULL, w);
	return write_signature(signer, &identity, digest, w);
}
