/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Certificates of overlay nodes and users (RFC 6940 11.3): X.509, one reload:// URI per Node-ID and exactly one rfc822Name in
 * subjectAltName, empty subject. Reference counted and immutable.
 */
#pragma once

#include "base/cleanup.h"
#include "base/id.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

enum {
	CERTIFICATE_NODE_IDS_MAX = 16, /* more are refused */
	CERTIFICATE_SIZE_MAX = 8192,   /* octets of DER */
	USER_NAME_MAX = 254,
};

struct certificate {
	unsigned references;
	X509 *x509;
	EVP_PKEY *key;                 /* public key, owned by x509 */
	uint8_t *der;
	size_t der_length;
	uint8_t sha256[32];            /* of the DER octets */
	struct id node_ids[CERTIFICATE_NODE_IDS_MAX];
	size_t node_id_count;
	char user_name[USER_NAME_MAX + 1];
	uint64_t not_before_ms, not_after_ms;
	bool self_signed;              /* issuer is the (empty) subject: it claims to be signed by its own key */
	uint8_t (*identity_hashes)[32]; /* SHA-256(Node-ID ‖ DER) of each Node-ID; NULL for certificates with one (RFC 6940 6.3.4) */
	EVP_PKEY_CTX *verify_context;  /* prepared once, for signature_check() */
	const struct signature_scheme *scheme; /* NULL: OpenSSL; see signature.h */
};

/*
 * Parses and checks names: every URI is reload:// with exactly one node destination of `node_id_length` octets, the overlay name
 * matches `overlay_name` (NULL: not compared), exactly one rfc822Name without NUL, no other names, empty subject (B-11.3-04).
 * Does not check any signature. On failure *ret_reason (may be NULL) points to a constant sentence. -EBADMSG, -ENOMEM.
 */
int certificate_from_der(struct octets der, const char *overlay_name, uint8_t node_id_length, struct certificate **ret,
			 const char **ret_reason);
struct certificate *certificate_ref(struct certificate *certificate);
struct certificate *certificate_unref(struct certificate *certificate);
DEFINE_CLEANUP(struct certificate *, certificate_unref)

bool certificate_has_node_id(const struct certificate *certificate, const struct id *node_id);

/* A certificate with its private key. */
struct credential {
	unsigned references;
	struct certificate *certificate;
	EVP_PKEY *key;
	struct id node_id;             /* the one this credential signs as */
	EVP_PKEY_CTX *sign_context;    /* prepared once, for signature_make() */
};
/* References both; signs as the first Node-ID of the certificate when `node_id` is NULL. -EKEYREJECTED when the key is another's,
 * -ENOENT, -ENOMEM. */
int credential_new(struct certificate *certificate, EVP_PKEY *key, const struct id *node_id, struct credential **ret);
struct credential *credential_ref(struct credential *credential);
struct credential *credential_unref(struct credential *credential);
DEFINE_CLEANUP(struct credential *, credential_unref)

/* The same certificate and key, signing as another of its Node-IDs. -ENOENT, -ENOMEM. */
int credential_as(struct credential *credential, const struct id *node_id, struct credential **ret);

/*
 * Loads PEM files; checks that the key belongs to the certificate, that the key file is readable by its owner only, and the names
 * as certificate_from_der(). On failure `reason` (size octets) holds one sentence that names the file.
 */
int credential_load(const char *certificate_path, const char *key_path, const char *overlay_name, uint8_t node_id_length,
		    struct credential **ret, char *reason, size_t size);

/* A TLS context's view: the DER chain is just the one certificate. */

/* --- making keys and certificates (used by enrollment, self-signed nodes and provisioning) --- */
enum key_type { KEY_ECDSA_P256, KEY_RSA_2048 };
int key_generate(enum key_type type, EVP_PKEY **ret);
int key_save_pem(EVP_PKEY *key, const char *path); /* mode 0600, written atomically */
int certificate_save_pem(const struct certificate *certificate, const char *path);

struct certificate_request {
	const char *overlay_name;
	const char *user_name;
	const struct id *node_ids;
	size_t node_id_count;
	EVP_PKEY *key;                 /* subject's key; only the public half is used unless self-signed */
	uint64_t not_before_ms, not_after_ms;
};
/* Issued by a CA (its X.509 certificate and key), or self-signed when `ca` is NULL. */
int certificate_issue(const struct certificate_request *request, X509 *ca, EVP_PKEY *ca_key, struct certificate **ret);

/*
 * When a certificate is renewed: after two thirds of its life, up to a tenth of it earlier or later by chance, so that the sites of
 * an overlay that was set up in a day do not come back in one.
 */
struct runtime;
uint64_t certificate_renewal_ms(const struct runtime *runtime, uint64_t not_before_ms, uint64_t not_after_ms);

/* name@domain of printable ASCII without quotes, spaces, separators and path characters: it becomes a name in certificates, in SIP
 * and of files (B-11.3-09). */
bool account_name_usable(struct octets name);

/* A root certificate with BasicConstraints CA:TRUE. */
int certificate_make_root(const char *common_name, EVP_PKEY *key, uint64_t not_before_ms, uint64_t not_after_ms, X509 **ret);

/* Node-ID number `index` of a self-signed key: index 0 is the single-ID form, 1.. the multi-ID form (RFC 6940 11.3.1).
 * `digest` is "sha1" or "sha256". */
int self_signed_node_id(EVP_PKEY *key, const char *digest, uint32_t index, uint8_t length, struct id *ret);
