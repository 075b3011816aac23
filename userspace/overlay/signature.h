/* SPDX-License-Identifier: BSD-2-Clause */
/* Making and checking RELOAD signatures (RFC 6940 6.3.4, 7.1, 13.3) and deciding which certificates to believe (B-6.3.4-*). */
#pragma once

#include "overlay/certificate.h"
#include "overlay/config.h"
#include "wire/data.h"

enum { SIGNATURE_VALUE_MAX = 512, TRUST_CACHE_MAX = 4096 /* certificates remembered as checked */ };

/*
 * How digests are signed and checked. The wire form (algorithm octets, identity) does not depend on it. The simulator puts a cheap
 * stand-in here; everything else leaves it at OpenSSL.
 */
struct signature_scheme {
	/* `value` has room for SIGNATURE_VALUE_MAX octets. 0 or -EIO. */
	int (*sign)(const struct credential *credential, const uint8_t digest[static 32], uint8_t *value, size_t *ret_length);
	/* 0 or -EKEYREJECTED. */
	int (*verify)(const struct certificate *certificate, const uint8_t digest[static 32], struct octets value);
};
extern const struct signature_scheme signature_scheme_openssl;

/*
 * Appends a Signature structure over prefix ‖ SignerIdentity to `w`. RSA keys sign RSASSA-PKCS1-v1_5 with SHA-256, EC keys
 * ECDSA with SHA-256. Identity is cert_hash for certificates with one Node-ID, cert_hash_node_id of credential->node_id otherwise.
 * Returns 0, -EIO when OpenSSL fails, -ENOMEM, or the writer's error.
 */
int signature_make(const struct credential *credential, struct octets prefix, struct writer *w);

/* Checks `signature` over prefix ‖ identity with the key of `certificate`. 0 or -EKEYREJECTED. Only 04 01 and 04 03 are accepted. */
int signature_check(const struct certificate *certificate, struct octets prefix, const struct signature *signature);

/* Does `identity` designate `certificate`? *ret_node_id: the Node-ID that signed. -ENOENT. */
int signer_identity_match(const struct signer_identity *identity, const struct certificate *certificate, struct id *ret_node_id);

/* What decides on certificates: configuration in force, wall clock, and a bounded cache of checked certificates. */
struct trust;
int trust_new(struct overlay_config *config, struct trust **ret);
struct trust *trust_free(struct trust *trust);
DEFINE_CLEANUP(struct trust *, trust_free)

/* A new configuration: forgets every verdict. */
void trust_set_config(struct trust *trust, struct overlay_config *config);
struct overlay_config *trust_config(const struct trust *trust);

/* Signatures of nodes are made and checked by `scheme` from now on: of the certificates that come through `trust`, and by a
 * credential. NULL: OpenSSL. Signatures on certificates are always OpenSSL's. */
void trust_set_signature_scheme(struct trust *trust, const struct signature_scheme *scheme);
void credential_set_signature_scheme(struct credential *credential, const struct signature_scheme *scheme);

/* Another bound than TRUST_CACHE_MAX, for one that thousands of simulated nodes share. */
void trust_set_cache_max(struct trust *trust, size_t count);

/* Certificates in the cache. */
size_t trust_cache_count(const struct trust *trust);

/*
 * Chain to a root-cert, or self-signed with Node-ID bound to its key where permitted; validity at `realtime_ms`; bad-node.
 * 0, -EKEYREJECTED, -EKEYEXPIRED, -EKEYREVOKED (bad-node); *ret_reason (may be NULL) is a constant sentence.
 */
int trust_check(struct trust *trust, struct certificate *certificate, uint64_t realtime_ms, const char **ret_reason);

/* DER → parsed and shared through the cache, so that a certificate seen a thousand times is parsed once. Checked as above. */
int trust_certificate(struct trust *trust, struct octets der, uint64_t realtime_ms, struct certificate **ret, const char **ret_reason);

/* Certificates of one message, so that inner signatures can be resolved. */
enum { CERTIFICATE_BUCKET_MAX = 32 };
struct certificate_bucket {
	struct certificate *certificates[CERTIFICATE_BUCKET_MAX];
	size_t count;
};
/* Reads a list of GenericCertificate; entries that are not trusted are left out. -EBADMSG, -E2BIG. */
int certificate_bucket_read(struct trust *trust, struct octets list, uint64_t realtime_ms, struct certificate_bucket *ret);
void certificate_bucket_release(struct certificate_bucket *bucket);
/* Adds (with a reference) unless already there. -E2BIG. */
int certificate_bucket_add(struct certificate_bucket *bucket, struct certificate *certificate);
/* The certificate `identity` designates, or NULL. Borrowed. */
struct certificate *certificate_bucket_find(const struct certificate_bucket *bucket, const struct signer_identity *identity,
					    struct id *ret_node_id);

/*
 * Appends the security block of a message: the bucket (signer's certificate and those of `extra`, may be NULL, without roots) and
 * the signature over overlay ‖ transaction_id ‖ contents ‖ identity (B-6.3.4-05).
 */
int message_sign(const struct credential *credential, const struct certificate_bucket *extra, uint32_t overlay,
		 uint64_t transaction_id, struct octets contents, struct writer *w);

/*
 * Checks a whole message. On success *ret_bucket holds its trusted certificates (the caller releases), *ret_signer (borrowed from
 * the bucket) and *ret_node_id who signed. -EKEYREJECTED, -EBADMSG.
 */
int message_check(struct trust *trust, const struct message *message, uint64_t realtime_ms, struct certificate_bucket *ret_bucket,
		  struct certificate **ret_signer, struct id *ret_node_id);

/* One stored value: writes StoredData with its signature. The value's index may be anything; 0 enters the signature. */
int stored_data_sign(const struct credential *credential, struct octets resource_id, uint32_t kind, uint64_t storage_time_ms,
		     uint32_t lifetime_s, const struct stored_value *value, struct writer *w);
int stored_data_check(const struct certificate *certificate, struct octets resource_id, uint32_t kind, const struct stored_data *data);

/*
 * Configuration and kind signatures (RFC 6940 11.1): `block` is a SecurityBlock over `covered` ‖ SignerIdentity, made by one
 * of `signers`, whose certificate `config` believes. With `realtime_ms` 0 validity dates are not looked at: kind-blocks outlive the
 * short-lived certificates that signed them. 0, -EBADMSG, -EKEYREJECTED, -ENOMEM; *ret_reason (may be NULL) is a constant sentence.
 */
int security_block_check(struct overlay_config *config, struct octets covered, struct octets block, const struct id *signers,
			 size_t signer_count, uint64_t realtime_ms, const char **ret_reason);
/* The same; *ret_signer: which of them it was. */
int security_block_check_signer(struct overlay_config *config, struct octets covered, struct octets block,
				const struct id *signers, size_t signer_count, uint64_t realtime_ms, struct id *ret_signer,
				const char **ret_reason);
/* The block itself: the signer's certificate and the signature. */
int security_block_make(const struct credential *signer, struct octets covered, struct writer *w);
