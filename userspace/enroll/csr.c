/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/csr.h"

#include "enroll/authority.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 4096 };

DEFINE_CLEANUP(X509_REQ *, X509_REQ_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(GENERAL_NAMES *, GENERAL_NAMES_free)

static void extensions_free(STACK_OF(X509_EXTENSION) * *extensions) {
	sk_X509_EXTENSION_pop_free(*extensions, X509_EXTENSION_free);
}

static int refuse(const char *why, const char **ret_why) {
	ERR_clear_error();
	*ret_why = why;
	return -EBADMSG;
}

static bool key_usable(EVP_PKEY *key) {
	char group[32];

	if (EVP_PKEY_is_a(key, "RSA"))
		return EVP_PKEY_get_bits(key) >= RSA_BITS_MIN && EVP_PKEY_get_bits(key) <= RSA_BITS_MAX;
	return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) == 1 &&
	       (strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0 || strcmp(group, "secp521r1") == 0);
}

static int read_user_name(X509_REQ *request, char user_name[static USER_NAME_MAX + 1], const char **ret_why) {
	_cleanup_(extensions_free) STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(request);
	int critical = -1;

	if (!extensions)
		return 0;
	_cleanup_(GENERAL_NAMES_freep) GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, &critical, NULL);
	if (!names)
		return critical == -1 ? 0 : refuse("its subjectAltName cannot be read", ret_why);
	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != GEN_EMAIL || user_name[0])
			return refuse("it asks for names other than one user name", ret_why);
		struct octets text =
			OCTETS(ASN1_STRING_get0_data(name->d.rfc822Name), (size_t)ASN1_STRING_length(name->d.rfc822Name));
		if (!ledger_name_usable(text)) { /* B-11.3-09 */
			*ret_why = "the user name in the request has characters that names do not have";
			return -EINVAL;
		}
		memcpy(user_name, text.data, text.length);
		user_name[text.length] = 0;
	}
	return 0;
}

int csr_read(struct octets der, EVP_PKEY **ret_key, char user_name[static USER_NAME_MAX + 1], const char **ret_why) {
	const uint8_t *at = der.data;

	user_name[0] = 0;

	if (der.length == 0 || der.length > AUTHORITY_CSR_MAX)
		return refuse("it is empty or longer than 8192 octets", ret_why);
	_cleanup_(X509_REQ_freep) X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)der.length);
	if (!request || at != der.data + der.length)
		return refuse("it is not a PKCS#10 request in DER", ret_why);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = X509_REQ_get_pubkey(request);
	if (!key || !key_usable(key))
		return refuse("its key is neither RSA of 2048 to 4096 bits nor EC on P-256, P-384 or P-521", ret_why);
	if (X509_REQ_verify(request, key) != 1)
		return refuse("its signature does not fit its key", ret_why);
	int error = read_user_name(request, user_name, ret_why);
	if (error < 0)
		return error;
	*ret_key = TAKE(key);
	return 0;
}

static int add_user_name(X509_REQ *request, const char *user_name) {
	_cleanup_(GENERAL_NAMES_freep) GENERAL_NAMES *names = GENERAL_NAMES_new();
	_cleanup_(extensions_free) STACK_OF(X509_EXTENSION) *extensions = NULL;
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_IA5STRING *text = ASN1_IA5STRING_new();

	if (!names || !name || !text || ASN1_STRING_set(text, user_name, (int)strlen(user_name)) != 1) {
		GENERAL_NAME_free(name);
		ASN1_IA5STRING_free(text);
		return -ENOMEM;
	}
	GENERAL_NAME_set0_value(name, GEN_EMAIL, text);
	if (sk_GENERAL_NAME_push(names, name) <= 0) {
		GENERAL_NAME_free(name);
		return -ENOMEM;
	}
	if (X509V3_add1_i2d(&extensions, NID_subject_alt_name, names, 1, X509V3_ADD_DEFAULT) != 1 ||
	    X509_REQ_add_extensions(request, extensions) != 1)
		return -ENOMEM;
	return 0;
}

int csr_make(EVP_PKEY *key, const char *user_name, uint8_t **ret, size_t *ret_length) {
	_cleanup_(X509_REQ_freep) X509_REQ *request = X509_REQ_new();
	int error = request && X509_REQ_set_version(request, 0) == 1 && X509_REQ_set_pubkey(request, key) == 1 ? 0 : -ENOMEM;
	uint8_t *der = NULL;

	if (error == 0)
		error = add_user_name(request, user_name);
	if (error == 0 && X509_REQ_sign(request, key, EVP_sha256()) <= 0)
		error = -EIO;
	int length = error == 0 ? i2d_X509_REQ(request, &der) : -1;
	if (length < 0) {
		ERR_clear_error();
		return error < 0 ? error : -ENOMEM;
	}
	*ret = malloc((size_t)length);
	if (*ret) {
		memcpy(*ret, der, (size_t)length);
		*ret_length = (size_t)length;
	}
	OPENSSL_free(der);
	return *ret ? 0 : -ENOMEM;
}
