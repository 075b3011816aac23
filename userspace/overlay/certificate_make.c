/* SPDX-License-Identifier: BSD-2-Clause */
/* Making keys and certificates. */
#include "overlay/certificate.h"

#include "wire/destination.h"
#include "wire/uri.h"

#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { SERIAL_OCTETS = 16 };

DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(GENERAL_NAMES *, GENERAL_NAMES_free)
DEFINE_CLEANUP(X509_EXTENSION *, X509_EXTENSION_free)

static void openssl_freep(uint8_t **data) {
	OPENSSL_free(*data);
}

int key_generate(enum key_type type, EVP_PKEY **ret) {
	EVP_PKEY *key = type == KEY_RSA_2048 ? EVP_RSA_gen(2048) : EVP_EC_gen("P-256");

	if (!key) {
		ERR_clear_error();
		return -EIO;
	}
	*ret = key;
	return 0;
}

static int add_name(GENERAL_NAMES *names, int type, const char *text) {
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *string = ASN1_IA5STRING_new();

	if (!name || !string || ASN1_STRING_set(string, text, (int)strlen(text)) != 1) {
		ASN1_IA5STRING_free(string);
		GENERAL_NAME_free(name);
		return -ENOMEM;
	}
	GENERAL_NAME_set0_value(name, type, string);
	if (sk_GENERAL_NAME_push(names, name) <= 0) {
		GENERAL_NAME_free(name);
		return -ENOMEM;
	}
	return 0;
}

static int add_node_uri(GENERAL_NAMES *names, const char *overlay_name, const struct id *node_id) {
	char text[RELOAD_URI_MAX + 1];
	struct reload_uri uri = {0};
	struct writer w = writer_fixed(uri.destination_list, sizeof(uri.destination_list));

	if (strlen(overlay_name) >= sizeof(uri.overlay))
		return -EINVAL;
	strcpy(uri.overlay, overlay_name);
	w.node_id_length = node_id->length;
	destination_write_node(&w, node_id);
	if (writer_finish(&w) < 0)
		return -EINVAL;
	uri.destination_list_length = w.length;
	int r = reload_uri_format(&uri, text, sizeof(text));
	return r < 0 ? r : add_name(names, GEN_URI, text);
}

/* subjectAltName: a URI per Node-ID, then the user name (B-11.3-04). Critical, because the subject is empty (RFC 5280 4.2.1.6). */
static int add_alternative_names(X509 *x509, const struct certificate_request *request) {
	_cleanup_(GENERAL_NAMES_freep) GENERAL_NAMES *names = GENERAL_NAMES_new();
	int r = names ? 0 : -ENOMEM;

	for (size_t i = 0; i < request->node_id_count && r >= 0; i++)
		r = add_node_uri(names, request->overlay_name, &request->node_ids[i]);
	if (r >= 0)
		r = add_name(names, GEN_EMAIL, request->user_name);
	if (r >= 0 && X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) != 1)
		r = -ENOMEM;
	return r;
}

static int add_extension(X509 *x509, X509 *issuer, int nid, const char *value) {
	X509V3_CTX context;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
	_cleanup_(X509_EXTENSION_freep) X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	return extension && X509_add_ext(x509, extension, -1) == 1 ? 0 : -EIO;
}

static int set_serial(X509 *x509) {
	uint8_t octets[SERIAL_OCTETS];

	if (RAND_bytes(octets, sizeof(octets)) != 1)
		return -EIO;
	octets[0] = (octets[0] & 0x3f) | 0x40; /* positive, of constant length */
	BIGNUM *number = BN_bin2bn(octets, sizeof(octets), NULL);
	int r = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x509)) ? 0 : -ENOMEM;
	BN_free(number);
	return r;
}

static int set_validity(X509 *x509, uint64_t not_before_ms, uint64_t not_after_ms) {
	if (not_after_ms < not_before_ms)
		return -EINVAL;
	if (!ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)(not_before_ms / 1000)) ||
	    !ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)(not_after_ms / 1000)))
		return -EINVAL;
	return 0;
}

static int begin(EVP_PKEY *key, uint64_t not_before_ms, uint64_t not_after_ms, X509 *x509) {
	if (X509_set_version(x509, X509_VERSION_3) != 1 || X509_set_pubkey(x509, key) != 1)
		return -EIO;
	int r = set_serial(x509);
	return r < 0 ? r : set_validity(x509, not_before_ms, not_after_ms);
}

static int fill(X509 *x509, const struct certificate_request *request, X509 *ca) {
	int r = begin(request->key, request->not_before_ms, request->not_after_ms, x509);

	if (r >= 0 && ca && X509_set_issuer_name(x509, X509_get_subject_name(ca)) != 1)
		r = -ENOMEM;
	if (r >= 0)
		r = add_alternative_names(x509, request);
	if (r >= 0)
		r = add_extension(x509, ca ? ca : x509, NID_basic_constraints, "critical,CA:FALSE");
	/* RSA key transport is not offered on links, so signing is all a key is for. */
	if (r >= 0)
		r = add_extension(x509, ca ? ca : x509, NID_key_usage, "critical,digitalSignature");
	if (r >= 0)
		r = add_extension(x509, ca ? ca : x509, NID_subject_key_identifier, "hash");
	if (r >= 0 && ca && X509_get0_subject_key_id(ca))
		r = add_extension(x509, ca, NID_authority_key_identifier, "keyid");
	return r;
}

int certificate_issue(const struct certificate_request *request, X509 *ca, EVP_PKEY *ca_key, struct certificate **ret) {
	_cleanup_(X509_freep) X509 *x509 = X509_new();
	_cleanup_(openssl_freep) uint8_t *der = NULL;

	if (request->node_id_count == 0 || request->node_id_count > CERTIFICATE_NODE_IDS_MAX)
		return -EINVAL;
	if (ca && X509_check_private_key(ca, ca_key) != 1) {
		ERR_clear_error();
		return -EKEYREJECTED;
	}
	int r = x509 ? fill(x509, request, ca) : -ENOMEM;
	if (r >= 0 && X509_sign(x509, ca ? ca_key : request->key, EVP_sha256()) <= 0)
		r = -EIO;
	int length = r < 0 ? -1 : i2d_X509(x509, &der);
	if (length < 0) {
		ERR_clear_error();
		return r < 0 ? r : -ENOMEM;
	}
	/* Reading it back checks the names we were given. */
	r = certificate_from_der(OCTETS(der, (size_t)length), request->overlay_name, request->node_ids[0].length, ret, NULL);
	return r == -EBADMSG ? -EINVAL : r;
}

int certificate_make_root(const char *common_name, EVP_PKEY *key, uint64_t not_before_ms, uint64_t not_after_ms, X509 **ret) {
	_cleanup_(X509_freep) X509 *x509 = X509_new();
	int r = x509 ? begin(key, not_before_ms, not_after_ms, x509) : -ENOMEM;

	if (r >= 0) {
		X509_NAME *name = X509_get_subject_name(x509);
		if (X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8, (const uint8_t *)common_name, -1, -1, 0) != 1 ||
		    X509_set_issuer_name(x509, name) != 1)
			r = -EINVAL;
	}
	if (r >= 0)
		r = add_extension(x509, x509, NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
	if (r >= 0)
		r = add_extension(x509, x509, NID_key_usage, "critical,keyCertSign,cRLSign");
	if (r >= 0)
		r = add_extension(x509, x509, NID_subject_key_identifier, "hash");
	if (r >= 0 && X509_sign(x509, key, EVP_sha256()) <= 0)
		r = -EIO;
	if (r < 0) {
		ERR_clear_error();
		return r;
	}
	*ret = TAKE(x509);
	return 0;
}

/* B-11.3.1-01: high-order octets of digest([index ‖] SubjectPublicKeyInfo). */
int self_signed_node_id(EVP_PKEY *key, const char *digest, uint32_t index, uint8_t length, struct id *ret) {
	_cleanup_(openssl_freep) uint8_t *info = NULL;
	uint8_t value[EVP_MAX_MD_SIZE];
	unsigned value_length = 0;
	const EVP_MD *algorithm = NULL;

	/* B-11.1-05 */
	if (strcmp(digest, "sha1") == 0)
		algorithm = EVP_sha1();
	else if (strcmp(digest, "sha256") == 0)
		algorithm = EVP_sha256();
	if (!algorithm || length < ID_LENGTH_MIN || length > ID_LENGTH_MAX)
		return -EINVAL;
	int info_length = i2d_PUBKEY(key, &info);
	if (info_length <= 0) {
		ERR_clear_error();
		return -EIO;
	}
	struct writer input = writer_growing(CERTIFICATE_SIZE_MAX);
	if (index > 0)
		writer_u32(&input, index);
	writer_raw(&input, info, (size_t)info_length);
	int r = writer_finish(&input);
	if (r >= 0 && EVP_Digest(input.data, input.length, value, &value_length, algorithm, NULL) != 1)
		r = -EIO;
	writer_release(&input);
	if (r < 0)
		return r;
	*ret = id_of(OCTETS(value, length));
	return 0;
}
