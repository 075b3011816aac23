/* SPDX-License-Identifier: BSD-2-Clause */
/* Names, keys and encoding of certificates: B-11.3-04, B-11.3-09, B-14.15-01, B-11.3.1-01, B-11.1-05. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "support/support_identity.h"

#include <errno.h>

#define NODE_URI "reload://011000112233445566778899aabbccddeeff@overlay.example.org/"
#define OTHER_URI "reload://011000000000000000000000000000000001@overlay.example.org/"

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(X509 *, X509_free)

struct name {
	int type;
	const char *text;
	size_t length; /* 0: the string's */
};

struct shape {
	const struct name *names;
	size_t name_count;
	const char *subject;
	bool no_names, unknown_critical;
	EVP_PKEY *key;
};

static void add_name(GENERAL_NAMES *names, const struct name *from) {
	GENERAL_NAME *name = GENERAL_NAME_new();
	ASN1_STRING *string = ASN1_STRING_type_new(from->type == GEN_IPADD ? V_ASN1_OCTET_STRING : V_ASN1_IA5STRING);

	ASN1_STRING_set(string, from->text, (int)(from->length ? from->length : strlen(from->text)));
	GENERAL_NAME_set0_value(name, from->type, string);
	sk_GENERAL_NAME_push(names, name);
}

/* A certificate of any shape, signed by its own key. */
static X509 *build(const struct shape *shape) {
	X509 *x509 = X509_new();
	GENERAL_NAMES *names = GENERAL_NAMES_new();

	X509_set_version(x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), 7);
	ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)(SUPPORT_NOT_BEFORE_MS / 1000));
	ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)(SUPPORT_NOT_AFTER_MS / 1000));
	X509_set_pubkey(x509, shape->key);
	if (shape->subject)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC, (const uint8_t *)shape->subject, -1, -1,
					   0);
	for (size_t i = 0; i < shape->name_count; i++)
		add_name(names, &shape->names[i]);
	if (!shape->no_names)
		X509_add1_ext_i2d(x509, NID_subject_alt_name, names, 1, 0);
	if (shape->unknown_critical) {
		ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
		ASN1_OCTET_STRING_set(value, (const uint8_t *)"\x05", 2);
		X509_EXTENSION *extension = X509_EXTENSION_create_by_NID(NULL, NID_netscape_comment, 1, value);
		X509_add_ext(x509, extension, -1);
		X509_EXTENSION_free(extension);
		ASN1_OCTET_STRING_free(value);
	}
	GENERAL_NAMES_free(names);
	assert_true(X509_sign(x509, shape->key, EVP_sha256()) > 0);
	return x509;
}

static int parse_x509(X509 *x509, struct certificate **ret, const char **ret_reason) {
	uint8_t *der = NULL;
	int length = i2d_X509(x509, &der);
	int r = certificate_from_der(OCTETS(der, (size_t)length), "overlay.example.org", 16, ret, ret_reason);

	OPENSSL_free(der);
	return r;
}

static EVP_PKEY *shared_key;

static void expect_refused(const struct shape *shape, const char *sentence) {
	struct shape with_key = *shape;
	if (!with_key.key)
		with_key.key = shared_key;
	_cleanup_(X509_freep) X509 *x509 = build(&with_key);
	struct certificate *certificate = (struct certificate *)1;
	const char *reason = "";

	assert_int_equal(parse_x509(x509, &certificate, &reason), -EBADMSG);
	assert_ptr_equal(certificate, (struct certificate *)1);
	assert_string_equal(reason, sentence);
}

#define REFUSED(sentence, ...)                                                                                                     \
	expect_refused(&(struct shape){.names = (const struct name[]){__VA_ARGS__},                                                \
				       .name_count = sizeof((const struct name[]){__VA_ARGS__}) / sizeof(struct name)},            \
		       sentence)

static void good_names(void **state) {
	const struct name names[] = {{GEN_URI, NODE_URI, 0}, {GEN_EMAIL, "alice@example.org", 0}, {GEN_URI, OTHER_URI, 0}};
	const struct shape shape = {.names = names, .name_count = 3, .key = shared_key};
	_cleanup_(X509_freep) X509 *x509 = build(&shape);
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	char text[ID_TEXT_SIZE];

	(void)state;
	assert_int_equal(parse_x509(x509, &certificate, NULL), 0);
	assert_int_equal(certificate->node_id_count, 2);
	assert_string_equal(id_format(&certificate->node_ids[0], text), "00112233445566778899aabbccddeeff");
	assert_string_equal(certificate->user_name, "alice@example.org");
	assert_true(certificate->not_before_ms == SUPPORT_NOT_BEFORE_MS);
	assert_true(certificate->not_after_ms == SUPPORT_NOT_AFTER_MS);
	assert_true(certificate->self_signed);
	assert_true(certificate_has_node_id(certificate, &certificate->node_ids[1]));
	struct id other = support_node_id(9);
	assert_false(certificate_has_node_id(certificate, &other));
	/* The overlay name compares without case, and need not be compared. */
	_cleanup_(certificate_unrefp) struct certificate *again = NULL;
	const struct octets der = OCTETS(certificate->der, certificate->der_length);
	assert_int_equal(certificate_from_der(der, "OVERLAY.example.org", 16, &again, NULL), 0);
	again = certificate_unref(again);
	assert_int_equal(certificate_from_der(der, NULL, 16, &again, NULL), 0);
}

static void wrong_names(void **state) {
	static char long_name[USER_NAME_MAX + 3];

	(void)state;
	memset(long_name, 'a', sizeof(long_name) - 1);
	REFUSED("the certificate has no user name", {GEN_URI, NODE_URI, 0});
	REFUSED("the certificate has no Node-ID", {GEN_EMAIL, "alice@example.org", 0});
	REFUSED("the certificate has more than one user name", {GEN_URI, NODE_URI, 0}, {GEN_EMAIL, "alice@example.org", 0},
		{GEN_EMAIL, "bob@example.org", 0});
	REFUSED("subjectAltName has a name that is neither a RELOAD URI nor the user name", {GEN_URI, NODE_URI, 0},
		{GEN_EMAIL, "alice@example.org", 0}, {GEN_DNS, "example.org", 0});
	REFUSED("subjectAltName has a name that is neither a RELOAD URI nor the user name", {GEN_IPADD, "\xc0\x00\x02\x01", 4});
	REFUSED("the user name in the certificate is empty, too long or has characters that are not printable",
		{GEN_URI, NODE_URI, 0}, {GEN_EMAIL, "alice\0@example.org", 18});
	REFUSED("the user name in the certificate is empty, too long or has characters that are not printable",
		{GEN_URI, NODE_URI, 0}, {GEN_EMAIL, "al ice@example.org", 0});
	REFUSED("the user name in the certificate is empty, too long or has characters that are not printable",
		{GEN_URI, NODE_URI, 0}, {GEN_EMAIL, long_name, 0});
	REFUSED("a URI in subjectAltName is not a RELOAD URI", {GEN_URI, "https://example.org/", 0});
	REFUSED("a URI in subjectAltName is not a RELOAD URI", {GEN_URI, NODE_URI "\0", sizeof(NODE_URI)});
	REFUSED("a URI in subjectAltName is not a RELOAD URI", {GEN_URI, "reload://0110001122@overlay.example.org/", 0});
	REFUSED("a URI in subjectAltName belongs to another overlay",
		{GEN_URI, "reload://011000112233445566778899aabbccddeeff@other.example.net/", 0});
	/* A Resource-ID, two nodes, and a Node-ID of 20 octets. */
	REFUSED("a URI in subjectAltName does not name exactly one Node-ID of the overlay's length",
		{GEN_URI, "reload://02111000112233445566778899aabbccddeeff@overlay.example.org/", 0});
	REFUSED("a URI in subjectAltName does not name exactly one Node-ID of the overlay's length",
		{GEN_URI, "reload://011000112233445566778899aabbccddeeff011000112233445566778899aabbccddee00@overlay.example.org/",
		 0});
	REFUSED("a URI in subjectAltName does not name exactly one Node-ID of the overlay's length",
		{GEN_URI, "reload://011400112233445566778899aabbccddeeff00112233@overlay.example.org/", 0});
	REFUSED("the Node-ID in the certificate is a reserved one",
		{GEN_URI, "reload://0110ffffffffffffffffffffffffffffffff@overlay.example.org/", 0});
	REFUSED("the Node-ID in the certificate is a reserved one",
		{GEN_URI, "reload://011000000000000000000000000000000000@overlay.example.org/", 0});
	REFUSED("the certificate lists a Node-ID twice", {GEN_URI, NODE_URI, 0}, {GEN_URI, NODE_URI, 0});
}

static void wrong_specifier(void **state) {
	(void)state;
	REFUSED("a URI in subjectAltName names stored data instead of a node",
		{GEN_URI, "reload://011000112233445566778899aabbccddeeff@overlay.example.org/0000000100000000000000000000", 0});
}

static void too_many_node_ids(void **state) {
	char uris[CERTIFICATE_NODE_IDS_MAX + 1][80];
	struct name names[CERTIFICATE_NODE_IDS_MAX + 2] = {{GEN_EMAIL, "alice@example.org", 0}};

	(void)state;
	for (size_t i = 0; i <= CERTIFICATE_NODE_IDS_MAX; i++) {
		snprintf(uris[i], sizeof(uris[i]), "reload://0110%032zx@overlay.example.org/", i + 1);
		names[i + 1] = (struct name){GEN_URI, uris[i], 0};
	}
	expect_refused(&(struct shape){.names = names, .name_count = CERTIFICATE_NODE_IDS_MAX + 2},
		       "the certificate has more than 16 Node-IDs");
	_cleanup_(X509_freep) X509 *x509 =
		build(&(struct shape){.names = names, .name_count = CERTIFICATE_NODE_IDS_MAX + 1, .key = shared_key});
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	assert_int_equal(parse_x509(x509, &certificate, NULL), 0);
	assert_int_equal(certificate->node_id_count, CERTIFICATE_NODE_IDS_MAX);
}

static void subject_and_extensions(void **state) {
	const struct name names[] = {{GEN_URI, NODE_URI, 0}, {GEN_EMAIL, "alice@example.org", 0}};

	(void)state;
	expect_refused(&(struct shape){.names = names, .name_count = 2, .subject = "alice"},
		       "the subject of the certificate is not empty");
	expect_refused(&(struct shape){.no_names = true}, "the certificate has no usable subjectAltName");
	expect_refused(&(struct shape){.names = names, .name_count = 2, .unknown_critical = true},
		       "the certificate has a malformed or an unknown critical extension");
}

static void weak_keys(void **state) {
	static const char sentence[] = "the public key is neither RSA of 2048 to 4096 bits nor EC on P-256, P-384 or P-521";
	const struct name names[] = {{GEN_URI, NODE_URI, 0}, {GEN_EMAIL, "alice@example.org", 0}};
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *rsa = EVP_RSA_gen(1024), *curve = EVP_EC_gen("secp256k1"),
					   *strong = EVP_EC_gen("P-384");

	(void)state;
	expect_refused(&(struct shape){.names = names, .name_count = 2, .key = rsa}, sentence);
	expect_refused(&(struct shape){.names = names, .name_count = 2, .key = curve}, sentence);
	_cleanup_(X509_freep) X509 *x509 = build(&(struct shape){.names = names, .name_count = 2, .key = strong});
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	assert_int_equal(parse_x509(x509, &certificate, NULL), 0);
}

/* Every truncation, and every changed octet, is either refused or a certificate of the same names. */
static void damaged(void **state) {
	struct support_overlay overlay;
	struct id id = support_node_id(1);

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay), 0);
	struct credential *credential = support_credential(&overlay, "alice@example.org", &id, 1);
	const struct certificate *good = credential->certificate;
	uint8_t copy[CERTIFICATE_SIZE_MAX + 1];
	struct certificate *certificate;
	const char *reason;

	for (size_t length = 0; length < good->der_length; length++)
		assert_int_equal(certificate_from_der(OCTETS(good->der, length), NULL, 16, &certificate, &reason), -EBADMSG);
	memcpy(copy, good->der, good->der_length);
	copy[good->der_length] = 0;
	assert_int_equal(certificate_from_der(OCTETS(copy, good->der_length + 1), NULL, 16, &certificate, &reason), -EBADMSG);
	assert_string_equal(reason, "octets follow the certificate");
	for (size_t i = 0; i < good->der_length; i++) {
		copy[i] ^= 0x01;
		certificate = NULL;
		if (certificate_from_der(OCTETS(copy, good->der_length), NULL, 16, &certificate, NULL) >= 0) {
			int r = trust_check(overlay.trust, certificate, SUPPORT_NOW_MS, &reason);
			assert_true(r == -EKEYREJECTED || r == -EKEYEXPIRED);
			assert_memory_not_equal(certificate->sha256, good->sha256, 32);
		}
		certificate_unref(certificate);
		copy[i] ^= 0x01;
	}
	memset(copy, 0, sizeof(copy));
	assert_int_equal(certificate_from_der(OCTETS(copy, sizeof(copy)), NULL, 16, &certificate, &reason), -EBADMSG);
	assert_string_equal(reason, "the certificate is empty or larger than 8192 octets");
	credential_unref(credential);
	support_overlay_release(&overlay);
}

/* BER that is not DER would give one certificate several hashes. */
static void not_der(void **state) {
	const struct name names[] = {{GEN_URI, NODE_URI, 0}, {GEN_EMAIL, "alice@example.org", 0}};
	_cleanup_(X509_freep) X509 *x509 = build(&(struct shape){.names = names, .name_count = 2, .key = shared_key});
	uint8_t der[2048], *end = der;
	uint8_t ber[2048];
	struct certificate *certificate;
	const char *reason = "";
	int length = i2d_X509(x509, &end);

	(void)state;
	assert_true(length > 256 && der[1] == 0x82);
	ber[0] = der[0];
	ber[1] = 0x83; /* the same length in one octet more */
	ber[2] = 0;
	memcpy(ber + 3, der + 2, (size_t)length - 2);
	assert_int_equal(certificate_from_der(OCTETS(ber, (size_t)length + 1), NULL, 16, &certificate, &reason), -EBADMSG);
	assert_string_equal(reason, "the certificate is not in DER");
}

static void issue_checks_its_request(void **state) {
	struct support_overlay overlay;
	struct id ids[2] = {support_node_id(1), support_node_id(2)};
	struct certificate *certificate = NULL;
	struct certificate_request request = {
		.overlay_name = SUPPORT_OVERLAY_NAME,
		.user_name = "alice@example.org",
		.node_ids = ids,
		.node_id_count = 2,
		.key = shared_key,
		.not_before_ms = SUPPORT_NOT_BEFORE_MS,
		.not_after_ms = SUPPORT_NOT_AFTER_MS,
	};

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay), 0);
	assert_int_equal(certificate_issue(&request, overlay.root, overlay.root_key, &certificate), 0);
	assert_false(certificate->self_signed);
	assert_int_equal(X509_get_ext_count(certificate->x509), 5);
	assert_int_equal(trust_check(overlay.trust, certificate, SUPPORT_NOW_MS, NULL), 0);
	certificate_unref(certificate);
	assert_int_equal(certificate_issue(&request, overlay.root, shared_key, &certificate), -EKEYREJECTED);
	ids[1] = ids[0];
	assert_int_equal(certificate_issue(&request, overlay.root, overlay.root_key, &certificate), -EINVAL);
	request.node_id_count = 1;
	request.user_name = "";
	assert_int_equal(certificate_issue(&request, overlay.root, overlay.root_key, &certificate), -EINVAL);
	request.user_name = "alice@example.org";
	request.not_after_ms = request.not_before_ms - 1000;
	assert_int_equal(certificate_issue(&request, overlay.root, overlay.root_key, &certificate), -EINVAL);
	request.node_id_count = 0;
	assert_int_equal(certificate_issue(&request, overlay.root, overlay.root_key, &certificate), -EINVAL);
	support_overlay_release(&overlay);
}

/* Recomputed from SubjectPublicKeyInfo by other means (B-11.3.1-01). */
static void self_signed_ids(void **state) {
	uint8_t input[512], digest[32], *end = input + 4;
	struct id id;

	(void)state;
	int length = i2d_PUBKEY(shared_key, &end);
	assert_int_equal(EVP_Q_digest(NULL, "SHA256", NULL, input + 4, (size_t)length, digest, NULL), 1);
	assert_int_equal(self_signed_node_id(shared_key, "sha256", 0, 16, &id), 0);
	assert_int_equal(id.length, 16);
	assert_memory_equal(id.octets, digest, 16);
	memcpy(input, "\0\0\0\x02", 4);
	assert_int_equal(EVP_Q_digest(NULL, "SHA1", NULL, input, (size_t)length + 4, digest, NULL), 1);
	assert_int_equal(self_signed_node_id(shared_key, "sha1", 2, 20, &id), 0);
	assert_memory_equal(id.octets, digest, 20);
	assert_int_equal(self_signed_node_id(shared_key, "md5", 0, 16, &id), -EINVAL);
	assert_int_equal(self_signed_node_id(shared_key, "sha1", 0, 21, &id), -EINVAL);
}

static void credentials(void **state) {
	struct support_overlay overlay;
	const struct id ids[2] = {support_node_id(1), support_node_id(2)}, foreign = support_node_id(3);

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay), 0);
	struct credential *credential = support_credential(&overlay, "alice@example.org", ids, 2), *second, *same, *none = NULL;
	assert_true(id_equal(&credential->node_id, &ids[0]));
	assert_int_equal(credential_as(credential, &ids[1], &second), 0);
	assert_true(id_equal(&second->node_id, &ids[1]));
	assert_int_equal(credential_as(second, &ids[1], &same), 0);
	assert_ptr_equal(same, second);
	assert_int_equal(credential_as(credential, &foreign, &none), -ENOENT);
	assert_int_equal(credential_new(credential->certificate, shared_key, NULL, &none), -EKEYREJECTED);
	assert_null(none);
	credential_unref(same);
	credential_unref(second);
	credential_unref(credential);
	assert_null(credential_unref(NULL));
	assert_null(certificate_unref(NULL));
	support_overlay_release(&overlay);
}

static int setup(void **state) {
	(void)state;
	return key_generate(KEY_ECDSA_P256, &shared_key);
}

static int teardown(void **state) {
	(void)state;
	EVP_PKEY_free(shared_key);
	return 0;
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_names),
		cmocka_unit_test(wrong_names),
		cmocka_unit_test(wrong_specifier),
		cmocka_unit_test(too_many_node_ids),
		cmocka_unit_test(subject_and_extensions),
		cmocka_unit_test(weak_keys),
		cmocka_unit_test(damaged),
		cmocka_unit_test(not_der),
		cmocka_unit_test(issue_checks_its_request),
		cmocka_unit_test(self_signed_ids),
		cmocka_unit_test(credentials),
	};
	return cmocka_run_group_tests_name("overlay/certificate", tests, setup, teardown);
}
