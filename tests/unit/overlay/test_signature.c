/* SPDX-License-Identifier: BSD-2-Clause */
/* Signatures of messages and stored data: B-6.3.4-01, B-6.3.4-03 to B-6.3.4-06, B-6.3.4-09, B-7.1-01. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <string.h>

#include "support/support_identity.h"

#include <errno.h>

static struct support_overlay overlay;
static struct credential *ecdsa, *rsa, *several;

static int setup(void **state) {
	const struct id ids[3] = {support_node_id(1), support_node_id(2), support_node_id(3)};

	(void)state;
	if (support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		return -1;
	ecdsa = support_credential(&overlay, "alice@example.org", ids, 1);
	rsa = support_credential_of_type(&overlay, KEY_RSA_2048, "bob@example.org", ids, 1, SUPPORT_NOT_BEFORE_MS,
					 SUPPORT_NOT_AFTER_MS);
	several = support_credential(&overlay, "alice@example.org", ids, 3);
	return ecdsa && rsa && several ? 0 : -1;
}

static int teardown(void **state) {
	(void)state;
	credential_unref(ecdsa);
	credential_unref(rsa);
	credential_unref(several);
	support_overlay_release(&overlay);
	return 0;
}

/* --- bare signatures --- */

static struct signature make(const struct credential *credential, const char *prefix, uint8_t *buffer, size_t size,
			     size_t *ret_length) {
	struct writer w = writer_fixed(buffer, size);
	struct signature signature;

	assert_int_equal(signature_make(credential, octets_of_string(prefix), &w), 0);
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(signature_read(&r, &signature), 0);
	assert_int_equal(reader_finish(&r), 0);
	if (ret_length)
		*ret_length = w.length;
	return signature;
}

static void algorithms(void **state) {
	uint8_t buffer[1024];

	(void)state;
	struct signature signature = make(rsa, "prefix", buffer, sizeof(buffer), NULL);
	assert_int_equal(buffer[0], 4);
	assert_int_equal(buffer[1], 1);
	assert_int_equal(signature.value.length, 256);
	assert_int_equal(signature_check(rsa->certificate, octets_of_string("prefix"), &signature), 0);
	assert_int_equal(signature_check(rsa->certificate, octets_of_string("prefiy"), &signature), -EKEYREJECTED);
	assert_int_equal(signature_check(ecdsa->certificate, octets_of_string("prefix"), &signature), -EKEYREJECTED);

	signature = make(ecdsa, "prefix", buffer, sizeof(buffer), NULL);
	assert_int_equal(buffer[0], 4);
	assert_int_equal(buffer[1], 3);
	assert_int_equal(signature_check(ecdsa->certificate, octets_of_string("prefix"), &signature), 0);
	/* Algorithm octets are part of what has to be right. */
	signature.signature_algorithm = SIGNATURE_RSA;
	assert_int_equal(signature_check(ecdsa->certificate, octets_of_string("prefix"), &signature), -EKEYREJECTED);
	signature.signature_algorithm = SIGNATURE_ECDSA;
	signature.hash_algorithm = HASH_SHA1;
	assert_int_equal(signature_check(ecdsa->certificate, octets_of_string("prefix"), &signature), -EKEYREJECTED);
	signature.hash_algorithm = HASH_NONE;
	signature.signature_algorithm = SIGNATURE_ANONYMOUS;
	assert_int_equal(signature_check(ecdsa->certificate, octets_of_string("prefix"), &signature), -EKEYREJECTED);
}

/* Checked with OpenSSL's own one-shot interface over prefix ‖ identity, so that the input is what the RFC says. */
static void input_recomputed(void **state) {
	uint8_t buffer[1024], input[256];

	(void)state;
	struct signature signature = make(rsa, "octets", buffer, sizeof(buffer), NULL);
	memcpy(input, "octets", 6);
	memcpy(input + 6, signature.identity.whole.data, signature.identity.whole.length);
	assert_int_equal(signature.identity.whole.length, 3 + 34);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	assert_int_equal(EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, rsa->certificate->key), 1);
	assert_int_equal(
		EVP_DigestVerify(context, signature.value.data, signature.value.length, input, 6 + signature.identity.whole.length),
		1);
	EVP_MD_CTX_free(context);
}

static void identity_forms(void **state) {
	uint8_t buffer[1024], hash[32], joined[CERTIFICATE_SIZE_MAX + 16];
	struct id node_id;

	(void)state;
	/* One Node-ID: hash of the certificate. */
	struct signature signature = make(ecdsa, "x", buffer, sizeof(buffer), NULL);
	assert_int_equal(signature.identity.type, SIGNER_CERT_HASH);
	assert_int_equal(signature.identity.hash_algorithm, HASH_SHA256);
	EVP_Q_digest(NULL, "SHA256", NULL, ecdsa->certificate->der, ecdsa->certificate->der_length, hash, NULL);
	assert_true(octets_equal(signature.identity.hash, OCTETS(hash, 32)));
	assert_int_equal(signer_identity_match(&signature.identity, ecdsa->certificate, &node_id), 0);
	assert_true(id_equal(&node_id, &ecdsa->node_id));
	assert_int_equal(signer_identity_match(&signature.identity, several->certificate, &node_id), -ENOENT);

	/* Several: hash of Node-ID and certificate, different for each. */
	for (size_t i = 0; i < 3; i++) {
		struct credential *as;
		const struct id *id = &several->certificate->node_ids[i];
		assert_int_equal(credential_as(several, id, &as), 0);
		signature = make(as, "x", buffer, sizeof(buffer), NULL);
		assert_int_equal(signature.identity.type, SIGNER_CERT_HASH_NODE_ID);
		memcpy(joined, id->octets, 16);
		memcpy(joined + 16, as->certificate->der, as->certificate->der_length);
		EVP_Q_digest(NULL, "SHA256", NULL, joined, as->certificate->der_length + 16, hash, NULL);
		assert_true(octets_equal(signature.identity.hash, OCTETS(hash, 32)));
		assert_int_equal(signer_identity_match(&signature.identity, several->certificate, &node_id), 0);
		assert_true(id_equal(&node_id, id));
		credential_unref(as);
	}

	/* The other form designates nothing (B-6.3.4-04). */
	const struct signer_identity plain = {
		.type = SIGNER_CERT_HASH,
		.hash_algorithm = HASH_SHA256,
		.hash = OCTETS(several->certificate->sha256, 32),
	};
	assert_int_equal(signer_identity_match(&plain, several->certificate, &node_id), -ENOENT);
	struct signer_identity wrong = {
		.type = SIGNER_CERT_HASH_NODE_ID,
		.hash_algorithm = HASH_SHA256,
		.hash = OCTETS(ecdsa->certificate->sha256, 32),
	};
	assert_int_equal(signer_identity_match(&wrong, ecdsa->certificate, &node_id), -ENOENT);
	wrong.type = SIGNER_CERT_HASH;
	assert_int_equal(signer_identity_match(&wrong, ecdsa->certificate, &node_id), 0);
	wrong.hash.length = 31;
	assert_int_equal(signer_identity_match(&wrong, ecdsa->certificate, &node_id), -ENOENT);
	wrong.hash.length = 32;
	wrong.hash_algorithm = HASH_SHA1;
	assert_int_equal(signer_identity_match(&wrong, ecdsa->certificate, &node_id), -ENOENT);
	wrong = (struct signer_identity){.type = SIGNER_NONE};
	assert_int_equal(signer_identity_match(&wrong, ecdsa->certificate, &node_id), -ENOENT);
}

static void no_room(void **state) {
	uint8_t buffer[40];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	assert_int_equal(signature_make(ecdsa, octets_of_string("x"), &w), -ENOBUFS);
}

/* --- messages --- */

static size_t write_message(const struct credential *credential, const struct certificate_bucket *extra, uint8_t *buffer,
			    size_t size) {
	uint8_t contents[128];
	struct writer c = writer_fixed(contents, sizeof(contents)), w = writer_fixed(buffer, size);
	struct forwarding_header header = {
		.overlay = overlay.config->overlay_hash,
		.configuration_sequence = 1,
		.version = RELOAD_VERSION,
		.ttl = 100,
		.fragment = FRAGMENT_NONE,
		.transaction_id = UINT64_C(0x0102030405060708),
	};
	uint8_t destination[18] = {1, 16, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};

	header.destination_list = OCTETS(destination, sizeof(destination));
	message_contents_write(&c, PING_REQ, OCTETS("\0\0", 2), OCTETS_NONE);
	forwarding_header_write(&w, &header);
	size_t start = w.length;
	writer_octets(&w, writer_octets_written(&c));
	/* The contents lie in the writer itself, as they do when messages are built in place. */
	const struct octets in_place = OCTETS(buffer + start, c.length);
	assert_int_equal(message_sign(credential, extra, header.overlay, header.transaction_id, in_place, &w), 0);
	message_write_length(&w, 0);
	assert_int_equal(writer_finish(&w), 0);
	return w.length;
}

static int check(uint8_t *buffer, size_t length, struct id *ret_node_id) {
	struct certificate_bucket bucket;
	struct certificate *signer;
	struct message message;
	struct id node_id;
	int r = message_read(OCTETS(buffer, length), 16, &message);

	if (r < 0)
		return r;
	r = message_check(overlay.trust, &message, SUPPORT_NOW_MS, &bucket, &signer, &node_id);
	if (r < 0)
		return r;
	assert_true(certificate_has_node_id(signer, &node_id));
	certificate_bucket_release(&bucket);
	if (ret_node_id)
		*ret_node_id = node_id;
	return 0;
}

static void messages(void **state) {
	uint8_t buffer[8192];
	const struct credential *const all[] = {ecdsa, rsa, several};
	struct id node_id;

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		size_t length = write_message(all[i], NULL, buffer, sizeof(buffer));
		assert_int_equal(check(buffer, length, &node_id), 0);
		assert_true(id_equal(&node_id, &all[i]->node_id));
	}
}

/* Each octet in turn: overlay, transaction_id, contents, certificate, identity and value are covered, the rest of the header is
 * not. */
static void tampering(void **state) {
	uint8_t buffer[8192];
	struct message message;

	(void)state;
	size_t length = write_message(ecdsa, NULL, buffer, sizeof(buffer));
	assert_int_equal(message_read(OCTETS(buffer, length), 16, &message), 0);
	size_t header_length = message.header.header_length;
	for (size_t i = 0; i < length; i++) {
		buffer[i] ^= 0x01;
		bool overlay_field = i >= 4 && i < 8, transaction = i >= 20 && i < 28;
		int r = check(buffer, length, NULL);
		if (overlay_field || transaction || i >= header_length) {
			assert_true(r == -EKEYREJECTED || r == -EBADMSG);
		} else if (i == 8 || i == 9 || i == 11 || (i >= 28 && i < 32) || (i >= 40 && i < header_length))
			assert_int_equal(r, 0); /* sequence, ttl, max_response_length, the destination itself (B-6.3.4-05) */
		buffer[i] ^= 0x01;
	}
	assert_int_equal(check(buffer, length, NULL), 0);
}

static void extra_certificates(void **state) {
	uint8_t buffer[16384];
	struct certificate_bucket extra = {0}, read;
	struct message message;
	struct certificate *signer;
	struct id node_id;

	(void)state;
	assert_int_equal(certificate_bucket_add(&extra, rsa->certificate), 0);
	assert_int_equal(certificate_bucket_add(&extra, several->certificate), 0);
	assert_int_equal(certificate_bucket_add(&extra, several->certificate), 0);
	assert_int_equal(certificate_bucket_add(&extra, ecdsa->certificate), 0);
	assert_int_equal(extra.count, 3);
	size_t length = write_message(ecdsa, &extra, buffer, sizeof(buffer));
	assert_int_equal(message_read(OCTETS(buffer, length), 16, &message), 0);
	assert_int_equal(message_check(overlay.trust, &message, SUPPORT_NOW_MS, &read, &signer, &node_id), 0);
	assert_int_equal(read.count, 3); /* the signer's own certificate is there once */
	assert_memory_equal(signer->sha256, ecdsa->certificate->sha256, 32);

	uint8_t signed_value[1024];
	struct signature signature = make(several, "value", signed_value, sizeof(signed_value), NULL);
	struct certificate *found = certificate_bucket_find(&read, &signature.identity, &node_id);
	assert_non_null(found);
	assert_memory_equal(found->sha256, several->certificate->sha256, 32);
	assert_true(id_equal(&node_id, &several->node_id));
	certificate_bucket_release(&read);
	assert_null(certificate_bucket_find(&read, &signature.identity, &node_id));
	certificate_bucket_release(&extra);
}

static void bucket_bounds(void **state) {
	static uint8_t list[64 * 1024];
	struct writer w = writer_fixed(list, sizeof(list));
	struct certificate_bucket bucket = {0};
	const struct certificate *own = ecdsa->certificate;

	(void)state;
	/* Entries that are not trusted are left out, unknown types as well. */
	generic_certificate_write(&w, 1, octets_of_string("OpenPGP"));
	generic_certificate_write(&w, CERTIFICATE_X509, octets_of_string("rubbish"));
	generic_certificate_write(&w, CERTIFICATE_X509, OCTETS(own->der, own->der_length));
	generic_certificate_write(&w, CERTIFICATE_X509, OCTETS(own->der, own->der_length));
	assert_int_equal(certificate_bucket_read(overlay.trust, writer_octets_written(&w), SUPPORT_NOW_MS, &bucket), 0);
	assert_int_equal(bucket.count, 1);
	certificate_bucket_release(&bucket);
	assert_int_equal(certificate_bucket_read(overlay.trust, OCTETS(list, w.length - 1), SUPPORT_NOW_MS, &bucket), -EBADMSG);
	for (size_t i = 4; i < CERTIFICATE_BUCKET_MAX; i++)
		generic_certificate_write(&w, 1, OCTETS_NONE);
	assert_int_equal(certificate_bucket_read(overlay.trust, writer_octets_written(&w), SUPPORT_NOW_MS, &bucket), 0);
	certificate_bucket_release(&bucket);
	generic_certificate_write(&w, 1, OCTETS_NONE);
	assert_int_equal(certificate_bucket_read(overlay.trust, writer_octets_written(&w), SUPPORT_NOW_MS, &bucket), -E2BIG);
}

/* A message that brings no certificate, or only a foreign one, has no signer. */
static void foreign_signer(void **state) {
	uint8_t buffer[8192];
	struct support_overlay other;
	struct id id = support_node_id(1);

	(void)state;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &other), 0);
	struct credential *stranger = support_credential(&other, "alice@example.org", &id, 1);
	size_t length = write_message(stranger, NULL, buffer, sizeof(buffer));
	assert_int_equal(check(buffer, length, NULL), -EKEYREJECTED);
	/* Nor does it help to put a good certificate beside it. */
	struct certificate_bucket extra = {0};
	certificate_bucket_add(&extra, ecdsa->certificate);
	length = write_message(stranger, &extra, buffer, sizeof(buffer));
	assert_int_equal(check(buffer, length, NULL), -EKEYREJECTED);
	certificate_bucket_release(&extra);
	credential_unref(stranger);
	support_overlay_release(&other);
}

/* --- stored data --- */

static void stored_data(void **state) {
	const struct credential *const all[] = {ecdsa, rsa, several};
	const struct octets resource = OCTETS("0123456789abcdef", 16), other_resource = OCTETS("0123456789abcdeF", 16);

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		uint8_t buffer[1024];
		struct writer w = writer_fixed(buffer, sizeof(buffer));
		struct stored_value value = {.model = DATA_MODEL_ARRAY, .index = 7, .exists = true, .value = OCTETS("value", 5)};
		struct stored_data data;
		const struct certificate *certificate = all[i]->certificate;

		assert_int_equal(stored_data_sign(all[i], resource, KIND_CERTIFICATE_BY_NODE, 1000, 60, &value, &w), 0);
		struct reader r = reader_of_octets(writer_octets_written(&w));
		assert_int_equal(stored_data_next(&r, DATA_MODEL_ARRAY, &data), 1);
		assert_int_equal(data.value.index, 7);
		assert_int_equal(stored_data_check(certificate, resource, KIND_CERTIFICATE_BY_NODE, &data), 0);

		/* Neither lifetime nor index is covered; everything else is. */
		struct stored_data changed = data;
		changed.lifetime_s = 1;
		changed.value.index = 9;
		assert_int_equal(stored_data_check(certificate, resource, KIND_CERTIFICATE_BY_NODE, &changed), 0);
		assert_int_equal(stored_data_check(certificate, other_resource, KIND_CERTIFICATE_BY_NODE, &data), -EKEYREJECTED);
		assert_int_equal(stored_data_check(certificate, resource, KIND_TURN_SERVICE, &data), -EKEYREJECTED);
		changed = data;
		changed.storage_time_ms++;
		assert_int_equal(stored_data_check(certificate, resource, KIND_CERTIFICATE_BY_NODE, &changed), -EKEYREJECTED);
		changed = data;
		changed.value.value = OCTETS("valuf", 5);
		assert_int_equal(stored_data_check(certificate, resource, KIND_CERTIFICATE_BY_NODE, &changed), -EKEYREJECTED);
		changed = data;
		changed.value.exists = false;
		assert_int_equal(stored_data_check(certificate, resource, KIND_CERTIFICATE_BY_NODE, &changed), -EKEYREJECTED);
		/* Another certificate than the one named. */
		assert_int_equal(stored_data_check(all[(i + 1) % 3]->certificate, resource, KIND_CERTIFICATE_BY_NODE, &data),
				 -EKEYREJECTED);
	}
}

static void dictionary_key_covered(void **state) {
	uint8_t buffer[1024];
	const struct octets resource = OCTETS("0123456789abcdef", 16);
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	const struct stored_value value = {
		.model = DATA_MODEL_DICTIONARY, .key = OCTETS("key", 3), .exists = true, .value = OCTETS("value", 5)};
	struct stored_data data;

	(void)state;
	assert_int_equal(stored_data_sign(ecdsa, resource, KIND_SIP_REGISTRATION, 1, 60, &value, &w), 0);
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(stored_data_next(&r, DATA_MODEL_DICTIONARY, &data), 1);
	assert_int_equal(stored_data_check(ecdsa->certificate, resource, KIND_SIP_REGISTRATION, &data), 0);
	data.value.key = OCTETS("kez", 3);
	assert_int_equal(stored_data_check(ecdsa->certificate, resource, KIND_SIP_REGISTRATION, &data), -EKEYREJECTED);
}

/* The signature of synthesized values is no signature of anybody (B-7.4.2-06). */
static void absent_value_unsigned(void **state) {
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct stored_data data = {.value.model = DATA_MODEL_SINGLE};

	(void)state;
	signature_write_none(&w);
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(signature_read(&r, &data.signature), 0);
	assert_int_equal(stored_data_check(ecdsa->certificate, OCTETS("0123456789abcdef", 16), 1, &data), -EKEYREJECTED);
}

/* --- another scheme --- */

static int cheap_sign(const struct credential *credential, const uint8_t digest[static 32], uint8_t *value, size_t *ret_length) {
	memcpy(value, digest, 8);
	memcpy(value + 8, credential->certificate->sha256, 8);
	*ret_length = 16;
	return 0;
}

static int cheap_verify(const struct certificate *certificate, const uint8_t digest[static 32], struct octets value) {
	bool good = value.length == 16 && memcmp(value.data, digest, 8) == 0 && memcmp(value.data + 8, certificate->sha256, 8) == 0;

	return good ? 0 : -EKEYREJECTED;
}

static void other_scheme(void **state) {
	static const struct signature_scheme cheap = {.sign = cheap_sign, .verify = cheap_verify};
	struct id id = support_node_id(5);
	uint8_t buffer[8192];

	(void)state;
	struct credential *credential = support_credential(&overlay, "bob@example.org", &id, 1);
	size_t length = write_message(credential, NULL, buffer, sizeof(buffer));
	assert_int_equal(check(buffer, length, NULL), 0);
	trust_set_signature_scheme(overlay.trust, &cheap);
	assert_int_equal(trust_cache_count(overlay.trust), 0);
	assert_int_equal(check(buffer, length, NULL), -EKEYREJECTED);
	credential_set_signature_scheme(credential, &cheap);
	length = write_message(credential, NULL, buffer, sizeof(buffer));
	assert_int_equal(check(buffer, length, NULL), 0);
	buffer[length - 1] ^= 1;
	assert_int_equal(check(buffer, length, NULL), -EKEYREJECTED);
	trust_set_signature_scheme(overlay.trust, NULL);
	assert_int_equal(check(buffer, length, NULL), -EKEYREJECTED);
	credential_unref(credential);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(algorithms),
		cmocka_unit_test(input_recomputed),
		cmocka_unit_test(identity_forms),
		cmocka_unit_test(no_room),
		cmocka_unit_test(messages),
		cmocka_unit_test(tampering),
		cmocka_unit_test(extra_certificates),
		cmocka_unit_test(bucket_bounds),
		cmocka_unit_test(foreign_signer),
		cmocka_unit_test(stored_data),
		cmocka_unit_test(dictionary_key_covered),
		cmocka_unit_test(absent_value_unsigned),
		cmocka_unit_test(other_scheme),
	};
	return cmocka_run_group_tests_name("overlay/signature", tests, setup, teardown);
}
