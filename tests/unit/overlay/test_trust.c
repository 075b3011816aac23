/* SPDX-License-Identifier: BSD-2-Clause */
/* Which certificates are believed: B-11.1-06, B-11.3-07, B-11.3.1-01, B-11.3.1-02, B-7.1-02; and the bound of the cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "support/support_identity.h"

#define DAY_MS (UINT64_C(86400) * 1000)

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(X509 *, X509_free)

static struct support_overlay overlay;

static int setup(void **state) {
	(void)state;
	return support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay);
}

static int teardown(void **state) {
	(void)state;
	support_overlay_release(&overlay);
	return 0;
}

static void expect(struct trust *trust, struct certificate *certificate, uint64_t now_ms, int error, const char *sentence) {
	const char *reason = "";
	assert_int_equal(trust_check(trust, certificate, now_ms, &reason), error);
	assert_string_equal(reason, sentence);
	/* The way in by DER gives the same verdict. */
	struct certificate *parsed = NULL;
	reason = "";
	const struct octets der = OCTETS(certificate->der, certificate->der_length);
	assert_int_equal(trust_certificate(trust, der, now_ms, &parsed, &reason), error);
	assert_string_equal(reason, sentence);
	assert_true((error == 0) == (parsed != NULL));
	certificate_unref(parsed);
}

static void dates(void **state) {
	const struct id id = support_node_id(1);
	uint64_t from = SUPPORT_NOW_MS, until = SUPPORT_NOW_MS + DAY_MS;

	(void)state;
	struct credential *credential =
		support_credential_of_type(&overlay, KEY_ECDSA_P256, "alice@example.org", &id, 1, from, until);
	struct certificate *certificate = credential->certificate;
	expect(overlay.trust, certificate, from - 1, -EKEYREJECTED, "the certificate is not valid yet");
	expect(overlay.trust, certificate, until, -EKEYEXPIRED, "the certificate has expired");
	assert_int_equal(trust_cache_count(overlay.trust), 0);
	expect(overlay.trust, certificate, from, 0, "");
	expect(overlay.trust, certificate, until - 1, 0, "");
	assert_int_equal(trust_cache_count(overlay.trust), 1);
	/* A remembered verdict ends with the certificate, and goes. */
	expect(overlay.trust, certificate, until, -EKEYEXPIRED, "the certificate has expired");
	assert_int_equal(trust_cache_count(overlay.trust), 0);
	expect(overlay.trust, certificate, until - 1, 0, "");
	expect(overlay.trust, certificate, from - 1, -EKEYREJECTED, "the certificate is not valid yet");
	credential_unref(credential);
}

/* An overlay whose root is made by the caller. */
static void overlay_with_root(X509 *root, EVP_PKEY *key, struct support_overlay *ret) {
	*ret = (struct support_overlay){0};
	snprintf(ret->name, sizeof(ret->name), "%s", SUPPORT_OVERLAY_NAME);
	X509_up_ref(root);
	EVP_PKEY_up_ref(key);
	ret->root = root;
	ret->root_key = key;
	const struct id id = support_node_id(0x51);
	ret->signer = support_credential(ret, "operator@example.org", &id, 1);
	assert_non_null(ret->signer);
	const struct document_settings settings = support_settings(ret, NULL);
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	char reason[CONFIG_REASON_SIZE];
	assert_int_equal(document_write(&settings, NULL, &w), 0);
	assert_int_equal(overlay_config_parse(writer_octets_written(&w), NULL, &ret->config, reason), 0);
	assert_int_equal(trust_new(ret->config, &ret->trust), 0);
	writer_release(&w);
}

static void root_dates(void **state) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *root = NULL;
	struct support_overlay short_lived;

	(void)state;
	assert_int_equal(key_generate(KEY_ECDSA_P256, &key), 0);
	assert_int_equal(certificate_make_root("Short", key, SUPPORT_NOW_MS - DAY_MS, SUPPORT_NOW_MS + DAY_MS, &root), 0);
	overlay_with_root(root, key, &short_lived);
	struct certificate *certificate = short_lived.signer->certificate;
	expect(short_lived.trust, certificate, SUPPORT_NOW_MS, 0, "");
	/* The remembered verdict ends with the root as well. */
	const char *reason;
	assert_int_equal(trust_check(short_lived.trust, certificate, SUPPORT_NOW_MS + 2 * DAY_MS, &reason), -EKEYEXPIRED);
	expect(short_lived.trust, certificate, SUPPORT_NOW_MS + 2 * DAY_MS, -EKEYEXPIRED, "the root certificate has expired");
	support_overlay_release(&short_lived);
}

static void foreign_root(void **state) {
	struct support_overlay other, otherwise_named;
	const struct id id = support_node_id(1);

	(void)state;
	/* A root of the same name with another key, then one of another overlay. */
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &other), 0);
	struct credential *credential = support_credential(&other, "alice@example.org", &id, 1);
	const char *reason;
	assert_int_equal(trust_check(overlay.trust, credential->certificate, SUPPORT_NOW_MS, &reason), -EKEYREJECTED);
	credential_unref(credential);
	assert_int_equal(support_overlay_new("other.example.net", &otherwise_named), 0);
	credential = support_credential(&otherwise_named, "alice@example.org", &id, 1);
	struct certificate *parsed = NULL;
	const struct octets der = OCTETS(credential->certificate->der, credential->certificate->der_length);
	assert_int_equal(trust_certificate(overlay.trust, der, SUPPORT_NOW_MS, &parsed, &reason), -EKEYREJECTED);
	assert_string_equal(reason, "a URI in subjectAltName belongs to another overlay");
	assert_int_equal(trust_cache_count(overlay.trust), 0);
	credential_unref(credential);
	support_overlay_release(&otherwise_named);
	support_overlay_release(&other);
}

/* A self-issued root with or without an extension. */
static X509 *plain_root(EVP_PKEY *key, const char *constraints, const char *usage) {
	X509 *root = X509_new();

	X509_set_version(root, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(root), 1);
	ASN1_TIME_set(X509_getm_notBefore(root), (time_t)(SUPPORT_NOT_BEFORE_MS / 1000));
	ASN1_TIME_set(X509_getm_notAfter(root), (time_t)(SUPPORT_NOT_AFTER_MS / 1000));
	X509_set_pubkey(root, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(root), "CN", MBSTRING_ASC, (const uint8_t *)"Plain", -1, -1, 0);
	X509_set_issuer_name(root, X509_get_subject_name(root));
	const struct {
		int nid;
		const char *value;
	} extensions[] = {{NID_basic_constraints, constraints}, {NID_key_usage, usage}};
	for (size_t i = 0; i < 2; i++) {
		if (!extensions[i].value)
			continue;
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, extensions[i].nid, extensions[i].value);
		X509_add_ext(root, extension, -1);
		X509_EXTENSION_free(extension);
	}
	assert_true(X509_sign(root, key, EVP_sha256()) > 0);
	return root;
}

static void root_constraints(void **state) {
	static const struct {
		const char *constraints, *usage;
		int error;
	} cases[] = {
		{"critical,CA:TRUE", NULL, 0},
		{NULL, NULL, -EKEYREJECTED},
		{NULL, "keyCertSign", -EKEYREJECTED},
		{"critical,CA:FALSE", NULL, -EKEYREJECTED},
		{"critical,CA:TRUE", "digitalSignature", -EKEYREJECTED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
		assert_int_equal(key_generate(KEY_ECDSA_P256, &key), 0);
		_cleanup_(X509_freep) X509 *root = plain_root(key, cases[i].constraints, cases[i].usage);
		struct support_overlay plain;
		const char *reason = "";
		overlay_with_root(root, key, &plain);
		assert_int_equal(trust_check(plain.trust, plain.signer->certificate, SUPPORT_NOW_MS, &reason), cases[i].error);
		support_overlay_release(&plain);
	}
}

static void bad_nodes(void **state) {
	const struct id ids[2] = {support_node_id(1), support_node_id(2)};
	struct id bad[3] = {support_node_id(9), support_node_id(2), support_node_id(4)};
	const struct document_settings settings = {.sequence = 2, .bad_nodes = bad, .bad_node_count = 3};

	(void)state;
	struct credential *one = support_credential(&overlay, "alice@example.org", ids, 1);
	struct credential *both = support_credential(&overlay, "alice@example.org", ids, 2);
	expect(overlay.trust, one->certificate, SUPPORT_NOW_MS, 0, "");
	expect(overlay.trust, both->certificate, SUPPORT_NOW_MS, 0, "");
	assert_int_equal(trust_cache_count(overlay.trust), 2);
	/* The new configuration counts at once, for certificates that were good before, too. */
	assert_int_equal(support_overlay_reconfigure(&overlay, &settings), 0);
	assert_int_equal(trust_cache_count(overlay.trust), 0);
	assert_ptr_equal(trust_config(overlay.trust), overlay.config);
	expect(overlay.trust, one->certificate, SUPPORT_NOW_MS, 0, "");
	expect(overlay.trust, both->certificate, SUPPORT_NOW_MS, -EKEYREVOKED, "the Node-ID is listed as a bad node");
	credential_unref(one);
	credential_unref(both);
}

static void self_signed(void **state) {
	static const char *const digests[] = {"sha1", "sha256"};
	static const size_t counts[] = {1, 2, 16};

	(void)state;
	for (size_t d = 0; d < 2; d++) {
		const struct document_settings settings = {.sequence = 1, .self_signed_digest = digests[d]};
		assert_int_equal(support_overlay_reconfigure(&overlay, &settings), 0);
		for (size_t c = 0; c < 3; c++) {
			struct credential *good =
				support_self_signed(SUPPORT_OVERLAY_NAME, digests[d], "alice@example.org", counts[c]);
			struct credential *wrong =
				support_self_signed(SUPPORT_OVERLAY_NAME, digests[!d], "alice@example.org", counts[c]);
			assert_true(good->certificate->self_signed);
			expect(overlay.trust, good->certificate, SUPPORT_NOW_MS, 0, "");
			expect(overlay.trust, wrong->certificate, SUPPORT_NOW_MS, -EKEYREJECTED,
			       "a Node-ID of the self-signed certificate does not follow from its key");
			credential_unref(good);
			credential_unref(wrong);
		}
	}
	/* Certificates of the root go on working beside them. */
	expect(overlay.trust, overlay.signer->certificate, SUPPORT_NOW_MS, 0, "");
	assert_int_equal(support_overlay_reconfigure(&overlay, NULL), 0);
	struct credential *unwanted = support_self_signed(SUPPORT_OVERLAY_NAME, "sha1", "alice@example.org", 1);
	expect(overlay.trust, unwanted->certificate, SUPPORT_NOW_MS, -EKEYREJECTED,
	       "the certificate is self-signed, which this overlay does not permit");
	credential_unref(unwanted);
}

static void self_signed_forms(void **state) {
	const struct document_settings settings = {.sequence = 1, .self_signed_digest = "sha256"};
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	struct id ids[2];

	(void)state;
	assert_int_equal(support_overlay_reconfigure(&overlay, &settings), 0);
	assert_int_equal(key_generate(KEY_ECDSA_P256, &key), 0);
	struct certificate_request request = {
		.overlay_name = SUPPORT_OVERLAY_NAME,
		.user_name = "alice@example.org",
		.node_ids = ids,
		.key = key,
		.not_before_ms = SUPPORT_NOT_BEFORE_MS,
		.not_after_ms = SUPPORT_NOT_AFTER_MS,
	};
	const struct {
		uint32_t first, second;
		size_t count;
		bool good;
	} cases[] = {
		{0, 0, 1, true},		   /* the only Node-ID goes without an index */
		{1, 0, 1, false},		   /* index form for a single one */
		{1, 2, 2, true},  {2, 1, 2, true}, /* in any order */
		{0, 1, 2, false},		   /* single form among several */
		{2, 3, 2, false},		   /* index above their number */
	};
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct certificate *certificate;
		assert_int_equal(self_signed_node_id(key, "sha256", cases[i].first, 16, &ids[0]), 0);
		assert_int_equal(self_signed_node_id(key, "sha256", cases[i].second, 16, &ids[1]), 0);
		request.node_id_count = cases[i].count;
		assert_int_equal(certificate_issue(&request, NULL, NULL, &certificate), 0);
		assert_int_equal(trust_check(overlay.trust, certificate, SUPPORT_NOW_MS, NULL), cases[i].good ? 0 : -EKEYREJECTED);
		certificate_unref(certificate);
	}
}

/* The empty issuer of a self-signed certificate, but signed by somebody else's key. */
static void self_signed_by_another(void **state) {
	const struct document_settings settings = {.sequence = 1, .self_signed_digest = "sha1"};
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	uint8_t *der = NULL;
	struct certificate *certificate = NULL;

	(void)state;
	assert_int_equal(support_overlay_reconfigure(&overlay, &settings), 0);
	struct credential *victim = support_self_signed(SUPPORT_OVERLAY_NAME, "sha1", "alice@example.org", 1);
	assert_int_equal(key_generate(KEY_ECDSA_P256, &key), 0);
	_cleanup_(X509_freep) X509 *x509 = X509_dup(victim->certificate->x509);
	assert_true(X509_sign(x509, key, EVP_sha256()) > 0);
	int length = i2d_X509(x509, &der);
	assert_int_equal(certificate_from_der(OCTETS(der, (size_t)length), NULL, 16, &certificate, NULL), 0);
	expect(overlay.trust, certificate, SUPPORT_NOW_MS, -EKEYREJECTED, "the signature on the self-signed certificate is wrong");
	certificate_unref(certificate);
	OPENSSL_free(der);
	credential_unref(victim);
}

static void weak_signature(void **state) {
	const struct id id = support_node_id(1);
	uint8_t *der = NULL;
	struct certificate *certificate = NULL;

	(void)state;
	struct credential *credential = support_credential(&overlay, "alice@example.org", &id, 1);
	_cleanup_(X509_freep) X509 *x509 = X509_dup(credential->certificate->x509);
	assert_true(X509_sign(x509, overlay.root_key, EVP_sha1()) > 0);
	int length = i2d_X509(x509, &der);
	assert_int_equal(certificate_from_der(OCTETS(der, (size_t)length), NULL, 16, &certificate, NULL), 0);
	assert_int_equal(trust_check(overlay.trust, certificate, SUPPORT_NOW_MS, NULL), -EKEYREJECTED);
	certificate_unref(certificate);
	OPENSSL_free(der);
	credential_unref(credential);
}

static void sharing(void **state) {
	const struct id id = support_node_id(1);
	struct certificate *first, *second;

	(void)state;
	struct credential *credential = support_credential(&overlay, "alice@example.org", &id, 1);
	const struct octets der = OCTETS(credential->certificate->der, credential->certificate->der_length);
	assert_int_equal(trust_certificate(overlay.trust, der, SUPPORT_NOW_MS, &first, NULL), 0);
	assert_int_equal(trust_certificate(overlay.trust, der, SUPPORT_NOW_MS, &second, NULL), 0);
	assert_ptr_equal(first, second);
	assert_int_equal(trust_cache_count(overlay.trust), 1);
	/* It outlives the cache. */
	trust_set_config(overlay.trust, overlay.config);
	assert_int_equal(trust_cache_count(overlay.trust), 0);
	assert_string_equal(first->user_name, "alice@example.org");
	certificate_unref(first);
	certificate_unref(second);
	credential_unref(credential);
}

/* One more than fits: the least recently used goes. */
static void cache_bound(void **state) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	struct certificate *first = NULL, *second = NULL, *again;
	struct id id = support_node_id(1);

	(void)state;
	assert_int_equal(key_generate(KEY_ECDSA_P256, &key), 0);
	const struct certificate_request request = {
		.overlay_name = SUPPORT_OVERLAY_NAME,
		.user_name = "alice@example.org",
		.node_ids = &id,
		.node_id_count = 1,
		.key = key,
		.not_before_ms = SUPPORT_NOT_BEFORE_MS,
		.not_after_ms = SUPPORT_NOT_AFTER_MS,
	};
	for (uint32_t i = 0; i <= TRUST_CACHE_MAX; i++) {
		struct certificate *certificate;
		id = id_add_small(&id, 1);
		assert_int_equal(certificate_issue(&request, overlay.root, overlay.root_key, &certificate), 0);
		assert_int_equal(trust_check(overlay.trust, certificate, SUPPORT_NOW_MS, NULL), 0);
		assert_int_equal(trust_cache_count(overlay.trust), i < TRUST_CACHE_MAX ? i + 1 : TRUST_CACHE_MAX);
		if (i == 0)
			first = certificate_ref(certificate);
		if (i == 1)
			second = certificate_ref(certificate);
		certificate_unref(certificate);
		/* The first is used all the time. */
		assert_int_equal(trust_check(overlay.trust, first, SUPPORT_NOW_MS, NULL), 0);
	}
	const struct octets kept = OCTETS(first->der, first->der_length), gone = OCTETS(second->der, second->der_length);
	assert_int_equal(trust_certificate(overlay.trust, kept, SUPPORT_NOW_MS, &again, NULL), 0);
	assert_ptr_equal(again, first);
	certificate_unref(again);
	assert_int_equal(trust_certificate(overlay.trust, gone, SUPPORT_NOW_MS, &again, NULL), 0);
	assert_ptr_not_equal(again, second);
	assert_int_equal(trust_cache_count(overlay.trust), TRUST_CACHE_MAX);
	certificate_unref(again);
	certificate_unref(first);
	certificate_unref(second);
}

static void node_id_length(void **state) {
	const struct id id = {.length = 20, .octets = {1, 2, 3}};

	(void)state;
	struct credential *credential = support_credential(&overlay, "alice@example.org", &id, 1);
	assert_non_null(credential);
	const char *reason = "";
	assert_int_equal(trust_check(overlay.trust, credential->certificate, SUPPORT_NOW_MS, &reason), -EKEYREJECTED);
	assert_string_equal(reason, "the Node-ID does not have the length used in this overlay");
	credential_unref(credential);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(dates),	      TEST(root_dates),	 TEST(foreign_root),	  TEST(root_constraints),
		TEST(bad_nodes),      TEST(self_signed), TEST(self_signed_forms), TEST(self_signed_by_another),
		TEST(weak_signature), TEST(sharing),	 TEST(cache_bound),	  TEST(node_id_length),
	};
	return cmocka_run_group_tests_name("overlay/trust", tests, NULL, NULL);
}
