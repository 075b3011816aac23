/* SPDX-License-Identifier: BSD-2-Clause */
/* Which certificates to believe, and remembering those that were believed. */
#include "overlay/signature.h"

#include "base/table.h"

#include "overlay/digest.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include <utlist.h>

/* Strength asked of signatures on certificates: 112 bits, which leaves SHA-1 out. */
enum { CHAIN_SECURITY_LEVEL = 2 };

DEFINE_CLEANUP(X509_STORE *, X509_STORE_free)
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free)

/* A certificate that was found good, until `not_after_ms`. Only good ones are kept: strangers cannot fill the cache. */
struct verdict {
	struct certificate *certificate;
	uint64_t not_before_ms, not_after_ms;
	bool used; /* since it was last considered for being forgotten */
	UT_hash_handle hh;
	struct verdict *prev, *next; /* oldest first, but for those spared as used */
};

struct trust {
	struct overlay_config *config;
	X509_STORE *roots;
	const struct signature_scheme *scheme;
	struct verdict *table, *order;
	size_t count, max;
};

/* --- the decision --- */

/* Roots without BasicConstraints CA:TRUE sign nothing (B-11.3-07). */
static int collect_roots(const struct overlay_config *config, X509_STORE **ret) {
	_cleanup_(X509_STORE_freep) X509_STORE *store = X509_STORE_new();

	if (!store)
		return -ENOMEM;
	for (size_t i = 0; i < config->root_count; i++) {
		uint32_t flags = X509_get_extension_flags(config->roots[i]);
		if ((flags & (EXFLAG_BCONS | EXFLAG_CA | EXFLAG_INVALID)) != (EXFLAG_BCONS | EXFLAG_CA))
			continue;
		if (X509_STORE_add_cert(store, config->roots[i]) != 1) {
			ERR_clear_error();
			return -ENOMEM;
		}
	}
	*ret = TAKE(store);
	return 0;
}

static uint64_t time_ms(const ASN1_TIME *time, uint64_t otherwise) {
	struct tm tm;

	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return otherwise;
	time_t seconds = timegm(&tm);
	return seconds < 0 ? 0 : (uint64_t)seconds * 1000;
}

static int check_chain(X509_STORE *roots, const struct certificate *certificate, uint64_t realtime_ms, struct verdict *verdict,
		       const char **ret_reason) {
	_cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *context = X509_STORE_CTX_new();
	int r = -EKEYREJECTED;

	if (!context || X509_STORE_CTX_init(context, roots, certificate->x509, NULL) != 1) {
		ERR_clear_error();
		return -ENOMEM;
	}
	X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);
	/* A root-cert is a trust anchor whether or not it signed itself. */
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN | (realtime_ms == 0 ? X509_V_FLAG_NO_CHECK_TIME : 0);
	X509_VERIFY_PARAM_set_flags(parameters, flags);
	X509_VERIFY_PARAM_set_auth_level(parameters, CHAIN_SECURITY_LEVEL);
	if (realtime_ms != 0)
		X509_VERIFY_PARAM_set_time(parameters, (time_t)(realtime_ms / 1000));
	if (X509_verify_cert(context) == 1) {
		STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(context);
		for (int i = 1; i < sk_X509_num(chain); i++) {
			uint64_t not_before = time_ms(X509_get0_notBefore(sk_X509_value(chain, i)), UINT64_MAX);
			uint64_t not_after = time_ms(X509_get0_notAfter(sk_X509_value(chain, i)), 0);
			if (not_before > verdict->not_before_ms)
				verdict->not_before_ms = not_before;
			if (not_after < verdict->not_after_ms)
				verdict->not_after_ms = not_after;
		}
		return 0;
	}
	switch (X509_STORE_CTX_get_error(context)) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		r = -EKEYEXPIRED;
		*ret_reason = "the root certificate has expired";
		break;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		*ret_reason = "the certificate was not issued by a root of the overlay";
		break;
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		*ret_reason = "the signature on the certificate is wrong";
		break;
	default:
		*ret_reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context));
	}
	ERR_clear_error();
	return r;
}

/* Node-IDs that follow from the key: one without index, several each with an index from 1 (B-11.3.1-01, B-11.3.1-02). */
static bool node_ids_bound(const struct certificate *certificate, const char *digest) {
	bool several = certificate->node_id_count > 1;

	for (size_t i = 0; i < certificate->node_id_count; i++) {
		const struct id *node_id = &certificate->node_ids[i];
		bool found = false;
		for (uint32_t index = several; index <= (several ? certificate->node_id_count : 0) && !found; index++) {
			struct id computed;
			found = self_signed_node_id(certificate->key, digest, index, node_id->length, &computed) >= 0 &&
				id_equal(&computed, node_id);
		}
		if (!found)
			return false;
	}
	return true;
}

static int check_self_signed(const struct overlay_config *config, const struct certificate *certificate, const char **ret_reason) {
	if (!config->self_signed_permitted) {
		*ret_reason = "the certificate is self-signed, which this overlay does not permit";
		return -EKEYREJECTED;
	}
	if (!node_ids_bound(certificate, config->self_signed_digest)) {
		*ret_reason = "a Node-ID of the self-signed certificate does not follow from its key";
		return -EKEYREJECTED;
	}
	if (X509_verify(certificate->x509, certificate->key) != 1) {
		ERR_clear_error();
		*ret_reason = "the signature on the self-signed certificate is wrong";
		return -EKEYREJECTED;
	}
	return 0;
}

/* Everything about a certificate but its dates, which are put into `verdict`. */
static int decide(const struct overlay_config *config, X509_STORE *roots, const struct certificate *certificate,
		  uint64_t realtime_ms, struct verdict *verdict, const char **ret_reason) {
	verdict->not_before_ms = certificate->not_before_ms;
	verdict->not_after_ms = certificate->not_after_ms;
	for (size_t i = 0; i < certificate->node_id_count; i++) {
		if (certificate->node_ids[i].length != config->node_id_length) {
			*ret_reason = "the Node-ID does not have the length used in this overlay";
			return -EKEYREJECTED;
		}
		if (overlay_config_is_bad_node(config, &certificate->node_ids[i])) { /* B-11.1-06 */
			*ret_reason = "the Node-ID is listed as a bad node";
			return -EKEYREVOKED;
		}
	}
	if (!(X509_get_key_usage(certificate->x509) & KU_DIGITAL_SIGNATURE)) {
		*ret_reason = "the certificate is not meant for signatures";
		return -EKEYREJECTED;
	}
	return certificate->self_signed ? check_self_signed(config, certificate, ret_reason)
					: check_chain(roots, certificate, realtime_ms, verdict, ret_reason);
}

static int check_dates(uint64_t not_before_ms, uint64_t not_after_ms, uint64_t realtime_ms, const char **ret_reason) {
	if (realtime_ms < not_before_ms) {
		*ret_reason = "the certificate is not valid yet";
		return -EKEYREJECTED;
	}
	/* The second of notAfter itself is late, as it is for OpenSSL. */
	if (realtime_ms >= not_after_ms) { /* B-7.1-02 */
		*ret_reason = "the certificate has expired";
		return -EKEYEXPIRED;
	}
	return 0;
}

/* --- the cache --- */

static struct verdict *verdict_free(struct trust *trust, struct verdict *verdict) {
	HASH_DEL(trust->table, verdict);
	DL_DELETE(trust->order, verdict);
	trust->count--;
	certificate_unref(verdict->certificate);
	free(verdict);
	return NULL;
}

static struct verdict *verdict_find(struct trust *trust, const uint8_t sha256[static SHA256_LENGTH]) {
	struct verdict *verdict;

	HASH_FIND(hh, trust->table, sha256, SHA256_LENGTH, verdict);
	if (verdict)
		verdict->used = true; /* moving it in the list would touch three more */
	return verdict;
}

/* The oldest one that was not used since it was last considered, but not the latest. */
static void forget_one(struct trust *trust) {
	const struct verdict *latest = trust->order->prev; /* head->prev is the tail */

	while (trust->order->used || trust->order == latest) {
		struct verdict *spared = trust->order;
		spared->used = false;
		DL_DELETE(trust->order, spared);
		DL_APPEND(trust->order, spared);
	}
	verdict_free(trust, trust->order);
}

/* Running out of memory here only means to decide again next time. */
static void verdict_remember(struct trust *trust, struct certificate *certificate, const struct verdict *decided) {
	struct verdict *verdict = malloc(sizeof(*verdict));

	if (!verdict)
		return;
	*verdict = *decided;
	verdict->certificate = certificate;
	HASH_ADD_KEYPTR(hh, trust->table, certificate->sha256, SHA256_LENGTH, verdict);
	if (!verdict->hh.tbl) {
		free(verdict);
		return;
	}
	certificate_ref(certificate);
	DL_APPEND(trust->order, verdict);
	if (++trust->count > trust->max)
		forget_one(trust);
}

static void forget_all(struct trust *trust) {
	while (trust->order)
		verdict_free(trust, trust->order);
}

int trust_new(struct overlay_config *config, struct trust **ret) {
	_cleanup_(trust_freep) struct trust *trust = calloc(1, sizeof(*trust));

	if (!trust)
		return -ENOMEM;
	int r = collect_roots(config, &trust->roots);
	if (r < 0)
		return r;
	trust->config = overlay_config_ref(config);
	trust->max = TRUST_CACHE_MAX;
	*ret = TAKE(trust);
	return 0;
}

struct trust *trust_free(struct trust *trust) {
	if (!trust)
		return NULL;
	forget_all(trust);
	X509_STORE_free(trust->roots);
	overlay_config_unref(trust->config);
	free(trust);
	return NULL;
}

void trust_set_config(struct trust *trust, struct overlay_config *config) {
	X509_STORE *roots = NULL;

	/* Without memory for the new roots there are none, and no new certificate is believed. */
	(void)collect_roots(config, &roots);
	forget_all(trust);
	X509_STORE_free(trust->roots);
	trust->roots = roots;
	overlay_config_ref(config);
	overlay_config_unref(trust->config);
	trust->config = config;
}

struct overlay_config *trust_config(const struct trust *trust) {
	return trust->config;
}

void trust_set_cache_max(struct trust *trust, size_t count) {
	trust->max = count;
}

size_t trust_cache_count(const struct trust *trust) {
	return trust->count;
}

void trust_set_signature_scheme(struct trust *trust, const struct signature_scheme *scheme) {
	forget_all(trust);
	trust->scheme = scheme;
}

static int decide_and_remember(struct trust *trust, struct certificate *certificate, uint64_t realtime_ms,
			       const char **ret_reason) {
	struct verdict verdict = {0};
	int r = check_dates(certificate->not_before_ms, certificate->not_after_ms, realtime_ms, ret_reason);

	if (r >= 0)
		r = decide(trust->config, trust->roots, certificate, realtime_ms, &verdict, ret_reason);
	if (r < 0)
		return r;
	if (trust->scheme)
		certificate->scheme = trust->scheme;
	verdict_remember(trust, certificate, &verdict);
	return 0;
}

int trust_check(struct trust *trust, struct certificate *certificate, uint64_t realtime_ms, const char **ret_reason) {
	const char *reason = "out of memory";
	struct verdict *verdict = verdict_find(trust, certificate->sha256);
	int r;

	if (verdict) {
		r = check_dates(verdict->not_before_ms, verdict->not_after_ms, realtime_ms, &reason);
		if (r < 0)
			verdict_free(trust, verdict);
		else if (trust->scheme)
			certificate->scheme = trust->scheme;
	} else
		r = decide_and_remember(trust, certificate, realtime_ms, &reason);
	if (r < 0 && ret_reason)
		*ret_reason = reason;
	return r;
}

int trust_certificate(struct trust *trust, struct octets der, uint64_t realtime_ms, struct certificate **ret,
		      const char **ret_reason) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	uint8_t sha256[SHA256_LENGTH];
	int r;

	/* Too large is refused before a hash is spent on it. */
	struct verdict *verdict = NULL;
	if (der.length <= CERTIFICATE_SIZE_MAX && digest_sha256(&der, 1, sha256) >= 0)
		verdict = verdict_find(trust, sha256);
	if (verdict)
		certificate = certificate_ref(verdict->certificate);
	else {
		const struct overlay_config *config = trust->config;
		r = certificate_from_der(der, config->overlay_name, config->node_id_length, &certificate, ret_reason);
		if (r < 0)
			return r == -EBADMSG ? -EKEYREJECTED : r;
	}
	r = trust_check(trust, certificate, realtime_ms, ret_reason);
	if (r < 0)
		return r;
	*ret = TAKE(certificate);
	return 0;
}

/* --- certificates of one message --- */

int certificate_bucket_read(struct trust *trust, struct octets list, uint64_t realtime_ms, struct certificate_bucket *ret) {
	struct certificate_bucket bucket = {0};
	struct reader reader = reader_of_octets(list);
	struct generic_certificate entry;
	size_t entries = 0;
	int r;

	while ((r = generic_certificate_next(&reader, &entry)) > 0) {
		_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;

		if (++entries > CERTIFICATE_BUCKET_MAX) {
			r = -E2BIG;
			break;
		}
		if (entry.type == CERTIFICATE_X509 &&
		    trust_certificate(trust, entry.certificate, realtime_ms, &certificate, NULL) >= 0)
			(void)certificate_bucket_add(&bucket, certificate); /* there is room: see above */
	}
	if (r < 0) {
		certificate_bucket_release(&bucket);
		return r;
	}
	*ret = bucket;
	return 0;
}

void certificate_bucket_release(struct certificate_bucket *bucket) {
	for (size_t i = 0; i < bucket->count; i++)
		certificate_unref(bucket->certificates[i]);
	bucket->count = 0;
}

int certificate_bucket_add(struct certificate_bucket *bucket, struct certificate *certificate) {
	for (size_t i = 0; i < bucket->count; i++)
		if (memcmp(bucket->certificates[i]->sha256, certificate->sha256, SHA256_LENGTH) == 0)
			return 0;
	if (bucket->count == CERTIFICATE_BUCKET_MAX)
		return -E2BIG;
	bucket->certificates[bucket->count++] = certificate_ref(certificate);
	return 0;
}

struct certificate *certificate_bucket_find(const struct certificate_bucket *bucket, const struct signer_identity *identity,
					    struct id *ret_node_id) {
	for (size_t i = 0; i < bucket->count; i++)
		if (signer_identity_match(identity, bucket->certificates[i], ret_node_id) >= 0)
			return bucket->certificates[i];
	return NULL;
}

/* --- configuration and kind signatures (RFC 6940 11.1) --- */

/* The certificate of the block that its signature names. */
static int find_signer(const struct overlay_config *config, const struct security_block *block, struct certificate **ret,
		       struct id *ret_node_id, const char **ret_reason) {
	struct reader list = reader_of_octets(block->certificates);
	struct generic_certificate entry;
	size_t entries = 0;
	int r;

	*ret_reason = "the signature names a certificate that does not come with it";
	while ((r = generic_certificate_next(&list, &entry)) > 0 && entries++ < CERTIFICATE_BUCKET_MAX) {
		_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
		const char *reason;

		if (entry.type != CERTIFICATE_X509)
			continue;
		if (certificate_from_der(entry.certificate, config->overlay_name, config->node_id_length, &certificate, &reason) <
		    0)
			*ret_reason = reason;
		else if (signer_identity_match(&block->signature.identity, certificate, ret_node_id) >= 0) {
			*ret = TAKE(certificate);
			return 0;
		}
	}
	return r < 0 ? r : -EKEYREJECTED;
}

int security_block_check(struct overlay_config *config, struct octets covered, struct octets block, const struct id *signers,
			 size_t signer_count, uint64_t realtime_ms, const char **ret_reason) {
	struct id signer;

	return security_block_check_signer(config, covered, block, signers, signer_count, realtime_ms, &signer, ret_reason);
}

int security_block_check_signer(struct overlay_config *config, struct octets covered, struct octets block, const struct id *signers,
				size_t signer_count, uint64_t realtime_ms, struct id *ret_signer, const char **ret_reason) {
	_cleanup_(certificate_unrefp) struct certificate *signer = NULL;
	_cleanup_(X509_STORE_freep) X509_STORE *roots = NULL;
	struct reader reader = reader_of_octets(block);
	struct security_block security;
	struct verdict verdict;
	const char *reason;
	struct id node_id;

	if (!ret_reason)
		ret_reason = &reason;
	if (security_block_read(&reader, &security) < 0 || reader_finish(&reader) < 0) {
		*ret_reason = "the signature is not a SecurityBlock";
		return -EBADMSG;
	}
	int r = find_signer(config, &security, &signer, &node_id, ret_reason);
	if (r < 0)
		return r;
	if (!id_is_among(&node_id, signers, signer_count)) {
		*ret_reason = "the signer is not among those the configuration allows to sign";
		return -EKEYREJECTED;
	}
	*ret_reason = "out of memory";
	r = collect_roots(config, &roots);
	if (r >= 0 && realtime_ms != 0)
		r = check_dates(signer->not_before_ms, signer->not_after_ms, realtime_ms, ret_reason);
	if (r >= 0)
		r = decide(config, roots, signer, realtime_ms, &verdict, ret_reason);
	if (r < 0)
		return r == -ENOMEM ? r : -EKEYREJECTED;
	r = signature_check(signer, covered, &security.signature);
	if (r < 0)
		*ret_reason = "the signature does not fit the octets it covers";
	else
		*ret_signer = node_id;
	return r;
}
