/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/certificate.h"

#include "base/runtime.h"

#include "overlay/digest.h"
#include "wire/destination.h"
#include "wire/uri.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 4096 };

DEFINE_CLEANUP(GENERAL_NAMES *, GENERAL_NAMES_free)

static struct octets ia5_octets(const ASN1_IA5STRING *string) {
	return OCTETS(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string));
}

/* Copies printable ASCII; control characters, NUL above all, have no place in names (B-11.3-09). */
static bool copy_printable(struct octets from, char *to, size_t size) {
	if (from.length == 0 || from.length >= size)
		return false;
	for (size_t i = 0; i < from.length; i++)
		if (from.data[i] <= 0x20 || from.data[i] >= 0x7f)
			return false;
	memcpy(to, from.data, from.length);
	to[from.length] = 0;
	return true;
}

/* One URI of subjectAltName: reload://, one node destination, this overlay, no stored data (B-11.3-04, B-14.15-01). */
static const char *read_node_uri(const ASN1_IA5STRING *name, const char *overlay_name, uint8_t node_id_length,
				 struct certificate *certificate) {
	char text[RELOAD_URI_MAX + 1];
	struct reload_uri uri;

	if (!copy_printable(ia5_octets(name), text, sizeof(text)) || reload_uri_parse(text, &uri) < 0)
		return "a URI in subjectAltName is not a RELOAD URI";
	if (uri.specifier_length > 0)
		return "a URI in subjectAltName names stored data instead of a node";
	if (overlay_name && strcasecmp(uri.overlay, overlay_name) != 0)
		return "a URI in subjectAltName belongs to another overlay";
	struct id node_id = destination_sole_node(OCTETS(uri.destination_list, uri.destination_list_length), node_id_length);
	if (id_is_none(&node_id))
		return "a URI in subjectAltName does not name exactly one Node-ID of the overlay's length";
	if (id_is_zero(&node_id) || id_is_wildcard(&node_id))
		return "the Node-ID in the certificate is a reserved one";
	if (certificate_has_node_id(certificate, &node_id))
		return "the certificate lists a Node-ID twice";
	if (certificate->node_id_count == CERTIFICATE_NODE_IDS_MAX)
		return "the certificate has more than 16 Node-IDs";
	certificate->node_ids[certificate->node_id_count++] = node_id;
	return NULL;
}

static const char *read_names(struct certificate *certificate, const char *overlay_name, uint8_t node_id_length) {
	if (X509_NAME_entry_count(X509_get_subject_name(certificate->x509)) != 0)
		return "the subject of the certificate is not empty"; /* B-11.3-04 */

	_cleanup_(GENERAL_NAMES_freep) GENERAL_NAMES *names = X509_get_ext_d2i(certificate->x509, NID_subject_alt_name, NULL, NULL);
	if (!names)
		return "the certificate has no usable subjectAltName";
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		const char *reason = NULL;

		if (name->type == GEN_URI)
			reason = read_node_uri(name->d.uniformResourceIdentifier, overlay_name, node_id_length, certificate);
		else if (name->type != GEN_EMAIL)
			reason = "subjectAltName has a name that is neither a RELOAD URI nor the user name";
		else if (certificate->user_name[0] != 0)
			reason = "the certificate has more than one user name";
		else if (!copy_printable(ia5_octets(name->d.rfc822Name), certificate->user_name, sizeof(certificate->user_name)))
			reason = "the user name in the certificate is empty, too long or has characters that are not printable";
		if (reason)
			return reason;
	}
	if (certificate->node_id_count == 0)
		return "the certificate has no Node-ID";
	if (certificate->user_name[0] == 0)
		return "the certificate has no user name";
	return NULL;
}

/* Keys we are willing to compute with: anything larger would be a gift to whoever wants to keep us busy. */
static const char *read_key(struct certificate *certificate) {
	static const char sentence[] = "the public key is neither RSA of 2048 to 4096 bits nor EC on P-256, P-384 or P-521";
	char group[32];

	certificate->key = X509_get0_pubkey(certificate->x509);
	if (!certificate->key)
		return "the public key of the certificate cannot be read";
	if (EVP_PKEY_is_a(certificate->key, "RSA")) {
		int bits = EVP_PKEY_get_bits(certificate->key);
		if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
			return sentence;
	} else if (EVP_PKEY_is_a(certificate->key, "EC")) {
		if (EVP_PKEY_get_group_name(certificate->key, group, sizeof(group), NULL) != 1 ||
		    (strcmp(group, "prime256v1") != 0 && strcmp(group, "secp384r1") != 0 && strcmp(group, "secp521r1") != 0))
			return sentence;
	} else
		return sentence;
	return NULL;
}

static bool time_to_ms(const ASN1_TIME *time, uint64_t *ret) {
	struct tm tm;

	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return false;
	time_t seconds = timegm(&tm);
	*ret = seconds < 0 ? 0 : (uint64_t)seconds * 1000;
	return true;
}

static int prepare_verification(struct certificate *certificate) {
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, certificate->key, NULL);

	certificate->verify_context = context;
	if (!context || EVP_PKEY_verify_init(context) != 1 || EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) != 1)
		return -ENOMEM;
	if (EVP_PKEY_is_a(certificate->key, "RSA") && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) != 1)
		return -ENOMEM;
	return 0;
}

/* What SignerIdentity will be compared with. */
static int compute_hashes(struct certificate *certificate) {
	struct octets der = OCTETS(certificate->der, certificate->der_length);
	int r = digest_sha256(&der, 1, certificate->sha256);

	if (r < 0 || certificate->node_id_count == 1)
		return r;
	certificate->identity_hashes = calloc(certificate->node_id_count, sizeof(*certificate->identity_hashes));
	if (!certificate->identity_hashes)
		return -ENOMEM;
	for (size_t i = 0; i < certificate->node_id_count; i++) {
		const struct octets parts[] = {id_octets(&certificate->node_ids[i]), der};
		r = digest_sha256(parts, 2, certificate->identity_hashes[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static const char *read_x509(struct certificate *certificate, const char *overlay_name, uint8_t node_id_length) {
	const uint8_t *position = certificate->der;

	certificate->x509 = d2i_X509(NULL, &position, (long)certificate->der_length);
	if (!certificate->x509)
		return "the certificate is not X.509 in DER";
	if (position != certificate->der + certificate->der_length)
		return "octets follow the certificate";
	/* Another encoding of the same content would be another certificate hash. */
	_cleanup_free_ uint8_t *again = NULL;
	int length = i2d_X509(certificate->x509, NULL);
	if (length < 0 || (size_t)length != certificate->der_length || !(again = malloc((size_t)length)))
		return "the certificate is not in DER";
	uint8_t *end = again;
	i2d_X509(certificate->x509, &end);
	if (memcmp(again, certificate->der, certificate->der_length) != 0)
		return "the certificate is not in DER";
	if (X509_get_extension_flags(certificate->x509) & (EXFLAG_INVALID | EXFLAG_CRITICAL))
		return "the certificate has a malformed or an unknown critical extension";
	if (!time_to_ms(X509_get0_notBefore(certificate->x509), &certificate->not_before_ms) ||
	    !time_to_ms(X509_get0_notAfter(certificate->x509), &certificate->not_after_ms))
		return "the validity dates of the certificate are malformed";
	const char *reason = read_names(certificate, overlay_name, node_id_length);
	if (!reason)
		reason = read_key(certificate);
	return reason;
}

int certificate_from_der(struct octets der, const char *overlay_name, uint8_t node_id_length, struct certificate **ret,
			 const char **ret_reason) {
	const char *reason;

	if (!ret_reason)
		ret_reason = &reason;
	if (der.length == 0 || der.length > CERTIFICATE_SIZE_MAX) {
		*ret_reason = "the certificate is empty or larger than 8192 octets";
		return -EBADMSG;
	}
	_cleanup_(certificate_unrefp) struct certificate *certificate = calloc(1, sizeof(*certificate));
	if (certificate) {
		certificate->references = 1;
		certificate->der = malloc(der.length);
	}
	if (!certificate || !certificate->der) {
		*ret_reason = "out of memory";
		return -ENOMEM;
	}
	memcpy(certificate->der, der.data, der.length);
	certificate->der_length = der.length;

	reason = read_x509(certificate, overlay_name, node_id_length);
	if (reason) {
		ERR_clear_error();
		*ret_reason = reason;
		return -EBADMSG;
	}
	certificate->self_signed = X509_NAME_entry_count(X509_get_issuer_name(certificate->x509)) == 0;
	if (compute_hashes(certificate) < 0 || prepare_verification(certificate) < 0) {
		ERR_clear_error();
		*ret_reason = "out of memory";
		return -ENOMEM;
	}
	*ret = TAKE(certificate);
	return 0;
}

struct certificate *certificate_ref(struct certificate *certificate) {
	if (certificate)
		certificate->references++;
	return certificate;
}

struct certificate *certificate_unref(struct certificate *certificate) {
	if (!certificate || --certificate->references > 0)
		return NULL;
	EVP_PKEY_CTX_free(certificate->verify_context);
	X509_free(certificate->x509);
	free(certificate->identity_hashes);
	free(certificate->der);
	free(certificate);
	return NULL;
}

bool certificate_has_node_id(const struct certificate *certificate, const struct id *node_id) {
	return id_is_among(node_id, certificate->node_ids, certificate->node_id_count);
}

static int prepare_signing(struct credential *credential) {
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, credential->key, NULL);

	credential->sign_context = context;
	if (!context || EVP_PKEY_sign_init(context) != 1 || EVP_PKEY_CTX_set_signature_md(context, EVP_sha256()) != 1)
		return -ENOMEM;
	if (EVP_PKEY_is_a(credential->key, "RSA") && EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) != 1)
		return -ENOMEM;
	return 0;
}

int credential_new(struct certificate *certificate, EVP_PKEY *key, const struct id *node_id, struct credential **ret) {
	_cleanup_(credential_unrefp) struct credential *credential = NULL;

	if (!node_id)
		node_id = &certificate->node_ids[0];
	if (!certificate_has_node_id(certificate, node_id))
		return -ENOENT;
	if (EVP_PKEY_eq(certificate->key, key) != 1) {
		ERR_clear_error();
		return -EKEYREJECTED;
	}
	credential = calloc(1, sizeof(*credential));
	if (!credential)
		return -ENOMEM;
	credential->references = 1;
	credential->certificate = certificate_ref(certificate);
	credential->node_id = *node_id;
	EVP_PKEY_up_ref(key);
	credential->key = key;
	int r = prepare_signing(credential);
	if (r < 0) {
		ERR_clear_error();
		return r;
	}
	*ret = TAKE(credential);
	return 0;
}

struct credential *credential_ref(struct credential *credential) {
	if (credential)
		credential->references++;
	return credential;
}

struct credential *credential_unref(struct credential *credential) {
	if (!credential || --credential->references > 0)
		return NULL;
	EVP_PKEY_CTX_free(credential->sign_context);
	EVP_PKEY_free(credential->key);
	certificate_unref(credential->certificate);
	free(credential);
	return NULL;
}

int credential_as(struct credential *credential, const struct id *node_id, struct credential **ret) {
	if (!id_equal(node_id, &credential->node_id))
		return credential_new(credential->certificate, credential->key, node_id, ret);
	*ret = credential_ref(credential);
	return 0;
}

uint64_t certificate_renewal_ms(const struct runtime *runtime, uint64_t not_before_ms, uint64_t not_after_ms) {
	uint64_t life_ms = not_after_ms > not_before_ms ? not_after_ms - not_before_ms : 0;

	return not_before_ms + life_ms * 2 / 3 - life_ms / 10 + runtime_random_below(runtime, life_ms / 5 + 1);
}

bool account_name_usable(struct octets name) {
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_+!*~$&=@";
	char text[USER_NAME_MAX + 1];

	if (name.length == 0 || name.length > USER_NAME_MAX || memchr(name.data, 0, name.length))
		return false;
	memcpy(text, name.data, name.length);
	text[name.length] = 0;
	const char *at = strchr(text, '@');
	return strspn(text, allowed) == name.length && at && at != text && at[1] && !strchr(at + 1, '@') && text[0] != '.' &&
	       text[0] != '-';
}
