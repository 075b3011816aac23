/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire_test.h"

#include <errno.h>
#include <string.h>

#include "wire/message.h"

#define MINIMAL_HEX "d2454c4f 9aa32b8d 0016 0a 64 c0000000 00000038 0102030405060708 00000000 0000 0012 0000 01 10 " N_HEX

/* B-6.3.2-02 */
static void test_overlay_hash(void **state) {
	(void)state;
	assert_int_equal(overlay_hash("overlay.example.org"), 0x9aa32b8d);
	assert_int_equal(overlay_hash("reload.test"), 0xaf51f4e1);
}

/* B-10.2-01, B-7.3.2-01, B-7.3.4-01, Q-24, Q-41 */
static void test_resource_id_of_name(void **state) {
	struct id id = resource_id_of_name(octets_of_string("alice@dht.example.com"), 16);

	(void)state;
	assert_octets(id_octets(&id), "0c51a942f50c828aef82a5af83e8ed59");
	id = resource_id_of_name(HEX(N_HEX), 16);
	assert_octets(id_octets(&id), "739e0e8490eacbcb2ea11d4a5dbefbae");
	id = resource_id_of_name(HEX(N_HEX "01"), 16);
	assert_octets(id_octets(&id), "ef34792ebc2eafc889f07e51693ee04d");
	id = resource_id_of_name(HEX(N_HEX "00000001"), 16);
	assert_octets(id_octets(&id), "6ed089dbafade1130bd6ffddccdc201e");
	id = resource_id_of_name(HEX("7475726e2d736572766572"
				     "0002"
				     "0001"),
				 16);
	assert_octets(id_octets(&id), "0022c7e9f2c85dae97db306229e4e0d8");
	id = resource_id_of_name(OCTETS_NONE, 20);
	assert_octets(id_octets(&id), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	id = resource_id_of_name(OCTETS_NONE, 21);
	assert_true(id_is_none(&id));
	id = resource_id_of_name(OCTETS_NONE, 15);
	assert_true(id_is_none(&id));
}

/* B-6.3.2-01, B-6.3.2-09, B-6.3.2-10, B-6.3.2-13 */
static void test_minimal_header(void **state) {
	struct reader r = reader_of_octets(HEX(MINIMAL_HEX));
	struct forwarding_header header;
	uint8_t buffer[128];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	assert_int_equal(forwarding_header_read(&r, &header), 0);
	assert_int_equal(header.overlay, 0x9aa32b8d);
	assert_int_equal(header.configuration_sequence, 22);
	assert_int_equal(header.version, RELOAD_VERSION);
	assert_int_equal(header.ttl, 100);
	assert_int_equal(header.fragment, FRAGMENT_NONE);
	assert_int_equal(header.length, 56);
	assert_true(header.transaction_id == UINT64_C(0x0102030405060708));
	assert_int_equal(header.max_response_length, 0);
	assert_int_equal(header.via_list.length, 0);
	assert_octets(header.destination_list, "0110" N_HEX);
	assert_int_equal(header.options.length, 0);
	assert_int_equal(header.header_length, 56);
	header.length = 0;
	writer_u16(&w, 0x4242);
	forwarding_header_write(&w, &header);
	message_write_length(&w, 2);
	assert_written(&w, "4242" MINIMAL_HEX);
}

/* The header of a fragment, or of a message in a stream of others, is read where the reader stands. */
static void test_header_position(void **state) {
	struct octets octets = HEX("ffff" MINIMAL_HEX "abcd");
	struct reader r = reader_of_octets(octets);
	struct forwarding_header header;

	(void)state;
	reader_u16(&r);
	assert_int_equal(forwarding_header_read(&r, &header), 0);
	assert_int_equal(header.header_length, 56);
	assert_int_equal(reader_left(&r), 2);
}

/* B-6.3.2-01, B-6.3.2-04 */
static void test_header_rejected(void **state) {
	struct forwarding_header header = {.ttl = 77};
	struct octets valid = HEX(MINIMAL_HEX);
	uint8_t octets[64];

	(void)state;
	for (unsigned version = 0; version < 256; version++) {
		memcpy(octets, valid.data, valid.length);
		octets[10] = (uint8_t)version;
		struct reader r = reader_of(octets, valid.length);
		assert_int_equal(forwarding_header_read(&r, &header), version == 0x0a ? 0 : -EBADMSG);
	}
	for (unsigned bit = 0; bit < 32; bit++) {
		memcpy(octets, valid.data, valid.length);
		octets[bit / 8] ^= (uint8_t)(1u << bit % 8);
		struct reader r = reader_of(octets, valid.length);
		header.ttl = 77;
		assert_int_equal(forwarding_header_read(&r, &header), -EBADMSG);
		assert_int_equal(header.ttl, 77);
	}
}

static void test_header_write_bounds(void **state) {
	static uint8_t list[65536], buffer[70000];
	struct forwarding_header header = {.version = RELOAD_VERSION, .via_list = OCTETS(list, 65535)};
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	forwarding_header_write(&w, &header);
	assert_int_equal(writer_finish(&w), 0);
	header.via_list.length++;
	w = writer_fixed(buffer, sizeof(buffer));
	forwarding_header_write(&w, &header);
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
	w = writer_fixed(buffer, sizeof(buffer));
	message_write_length(&w, 0); /* no header there */
	assert_int_equal(writer_finish(&w), -EINVAL);
}

/* B-6.3.2.3-03: flags and value stand apart. */
static void test_options(void **state) {
	struct reader r = reader_of_octets(HEX("02 05 0003 010203"
					       "c8 01 0000"));
	struct forwarding_option option;

	(void)state;
	assert_int_equal(forwarding_option_next(&r, &option), 1);
	assert_int_equal(option.type, OPTION_EXTENSIVE_ROUTING_MODE);
	assert_int_equal(option.flags, OPTION_FORWARD_CRITICAL | OPTION_RESPONSE_COPY);
	assert_octets(option.value, "010203");
	assert_int_equal(forwarding_option_next(&r, &option), 1);
	assert_int_equal(option.type, 200);
	assert_int_equal(option.value.length, 0);
	assert_int_equal(forwarding_option_next(&r, &option), 0);
	assert_int_equal(forwarding_option_next(&r, &option), 0);
	r = reader_of_octets(HEX("02 05 0004 010203"));
	assert_int_equal(forwarding_option_next(&r, &option), -EBADMSG);
	assert_int_equal(forwarding_option_next(&r, &option), -EBADMSG); /* no end is mistaken for success later */
}

/* B-6.3.3-02 */
static void test_contents(void **state) {
	struct octets octets = HEX("0017 00000002 0000 00000009 7777 01 00000002 abcd");
	struct reader r = reader_of_octets(octets);
	struct message_contents contents;
	struct message_extension extension;
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));

	(void)state;
	assert_int_equal(message_contents_read(&r, &contents), 0);
	assert_int_equal(contents.code, PING_REQ);
	assert_octets(contents.body, "0000");
	assert_true(octets_equal(contents.whole, octets));
	struct reader list = reader_of_octets(contents.extensions);
	assert_int_equal(message_extension_next(&list, &extension), 1);
	assert_int_equal(extension.type, 0x7777);
	assert_true(extension.critical);
	assert_octets(extension.contents, "abcd");
	assert_int_equal(message_extension_next(&list, &extension), 0);
	message_extension_write(&w, &extension);
	assert_written(&w, "7777 01 00000002 abcd");
}

/* B-7.4.2-06 */
static void test_signature_none(void **state) {
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct signature signature;

	(void)state;
	signature_write_none(&w);
	assert_written(&w, "00 00 03 00 00 00 00");
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(signature_read(&r, &signature), 0);
	assert_true(signature_is_none(&signature));
	assert_octets(signature.identity.whole, "030000");
	struct signature other = signature;
	other.hash_algorithm = HASH_SHA256;
	assert_false(signature_is_none(&other));
	other = signature;
	other.signature_algorithm = SIGNATURE_ECDSA;
	assert_false(signature_is_none(&other));
	other = signature;
	other.identity.type = SIGNER_CERT_HASH;
	assert_false(signature_is_none(&other));
	other = signature;
	other.value = HEX("00");
	assert_false(signature_is_none(&other));
}

/* B-6.3.4-03, B-6.3.4-04 */
static void test_signature_fields(void **state) {
	struct reader r = reader_of_octets(HEX("04 01 02 0006 04 04 a1a2a3a4 0002 beef"));
	struct signature signature;

	(void)state;
	assert_int_equal(signature_read(&r, &signature), 0);
	assert_int_equal(signature.hash_algorithm, HASH_SHA256);
	assert_int_equal(signature.signature_algorithm, SIGNATURE_RSA);
	assert_int_equal(signature.identity.type, SIGNER_CERT_HASH_NODE_ID);
	assert_int_equal(signature.identity.hash_algorithm, HASH_SHA256);
	assert_octets(signature.identity.hash, "a1a2a3a4");
	assert_octets(signature.identity.whole, "02 0006 04 04 a1a2a3a4");
	assert_octets(signature.value, "beef");

	/* An identity of a later type is carried, not understood. */
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	r = reader_of_octets(HEX("4d 0003 616263"));
	assert_int_equal(signer_identity_read(&r, &signature.identity), 0);
	assert_int_equal(signature.identity.type, 0x4d);
	assert_int_equal(signature.identity.hash.length, 0);
	signer_identity_write(&w, &signature.identity);
	assert_written(&w, "4d 0003 616263");
	signature.identity.whole = OCTETS_NONE;
	signer_identity_write(&w, &signature.identity);
	assert_int_equal(writer_finish(&w), -EINVAL);
}

static void test_certificates(void **state) {
	struct reader r = reader_of_octets(HEX("000a 00 0002 dead 01 0002 beef 0000 03 0000 0000"));
	struct security_block security;
	struct generic_certificate certificate;

	(void)state;
	assert_int_equal(security_block_read(&r, &security), 0);
	assert_int_equal(reader_finish(&r), 0);
	assert_int_equal(security.whole.length, 19);
	struct reader list = reader_of_octets(security.certificates);
	assert_int_equal(generic_certificate_next(&list, &certificate), 1);
	assert_int_equal(certificate.type, CERTIFICATE_X509);
	assert_octets(certificate.certificate, "dead");
	assert_int_equal(generic_certificate_next(&list, &certificate), 1);
	assert_int_equal(certificate.type, 1);
	assert_int_equal(generic_certificate_next(&list, &certificate), 0);
}

/* B-6.3-01 */
static void test_message_parts(void **state) {
	struct octets octets = HEX("d2454c4f 9aa32b8d 0016 0a 64 c0000000 0000004f 0102030405060708 00000000 0002 0012 0000"
				   "8005 01 10 " N_HEX "0017 00000002 0000 00000000" /* contents */
				   "0000 0000 03 0000 0000");
	struct message message;

	(void)state;
	assert_int_equal(message_read(octets, 16, &message), 0);
	assert_int_equal(message.header.header_length, 58);
	assert_octets(message.header.via_list, "8005");
	assert_int_equal(message.contents.code, PING_REQ);
	assert_octets(message.contents.whole, "0017 00000002 0000 00000000");
	assert_octets(message.security.whole, "0000 0000 03 0000 0000");
	assert_int_equal(message_read(OCTETS(octets.data, octets.length - 1), 16, &message), -EBADMSG);
	assert_int_equal(message_read(octets, 20, &message), -EBADMSG);
	assert_int_equal(message_read(octets, 0, &message), -EBADMSG);
}

/* B-6.6.2-01; the mask as in Q-21. */
static void test_frames(void **state) {
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct framed_message frame;

	(void)state;
	framed_ack_write(&w, 5, 0x3a);
	assert_written(&w, "81 00000005 0000003a");
	assert_int_equal(w.length, FRAMED_ACK_LENGTH);
	framed_data_write_header(&w, 7, 3);
	assert_int_equal(w.length, FRAMED_ACK_LENGTH + FRAMED_DATA_OVERHEAD);
	writer_raw(&w, "abc", 3);
	assert_written(&w, "81 00000005 0000003a 80 00000007 000003 616263");

	/* Several frames in one stream. */
	struct reader r = reader_of_octets(writer_octets_written(&w));
	assert_int_equal(framed_message_read(&r, &frame), 0);
	assert_int_equal(frame.type, FRAMED_ACK);
	assert_int_equal(frame.sequence, 5);
	assert_int_equal(frame.received, 0x3a);
	assert_int_equal(framed_message_read(&r, &frame), 0);
	assert_int_equal(frame.type, FRAMED_DATA);
	assert_int_equal(frame.sequence, 7);
	TEXT(frame.message, "abc");
	assert_int_equal(reader_finish(&r), 0);

	w = writer_fixed(buffer, sizeof(buffer));
	framed_data_write_header(&w, 0, 0xffffff);
	assert_written(&w, "80 00000000 ffffff");
	framed_data_write_header(&w, 0, 0x1000000);
	assert_int_equal(writer_finish(&w), -EMSGSIZE);
}

/* B-6.3.3.1-01 */
static void test_error_response(void **state) {
	uint8_t buffer[64];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	struct error_response error;

	(void)state;
	error_response_write(&w, ERROR_NOT_FOUND, octets_of_string("no"));
	assert_written(&w, "0003 0002 6e6f");
	assert_int_equal(error_response_read(writer_octets_written(&w), &error), 0);
	assert_int_equal(error.code, ERROR_NOT_FOUND);
	TEXT(error.info, "no");
}

static void test_error_text(void **state) {
	char text[12];

	(void)state;
	assert_string_equal(error_info_text(octets_of_string("not here"), text, sizeof(text)), "not here");
	assert_string_equal(error_info_text(OCTETS_NONE, text, sizeof(text)), "");
	assert_string_equal(error_info_text(HEX("610a1b7f"), text, sizeof(text)), "a\\x0a\\x1b"); /* cut before the third escape */
	assert_string_equal(error_info_text(HEX("5c00"), text, sizeof(text)), "\\x5c\\x00");
	assert_string_equal(error_info_text(octets_of_string("exactly 11."), text, sizeof(text)), "exactly 11.");
	assert_string_equal(error_info_text(octets_of_string("one too many"), text, sizeof(text)), "one too man");
	assert_string_equal(error_info_text(octets_of_string("a"), text, 1), "");
	text[0] = 'z';
	error_info_text(octets_of_string("a"), text, 0);
	assert_int_equal(text[0], 'z');
}

/* B-7.4.1-04 */
static void test_unknown_kinds(void **state) {
	uint32_t kinds[100] = {1, 0xf0000001}, found[100];
	uint8_t buffer[512];
	struct writer w = writer_fixed(buffer, sizeof(buffer));
	size_t count = 77;

	(void)state;
	error_unknown_kinds_write(&w, kinds, 2);
	assert_written(&w, "08 00000001 f0000001");
	assert_int_equal(error_unknown_kinds_read(writer_octets_written(&w), found, 100, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(found[1], 0xf0000001);
	assert_int_equal(error_unknown_kinds_read(writer_octets_written(&w), found, 1, &count), 0);
	assert_int_equal(count, 1);
	count = 77;
	assert_int_equal(error_unknown_kinds_read(HEX("03 000001"), found, 100, &count), -EBADMSG);
	assert_int_equal(error_unknown_kinds_read(HEX(""), found, 100, &count), -EBADMSG);
	assert_int_equal(count, 77);

	/* No more fit the one-octet length: the first 63 are named. */
	w = writer_fixed(buffer, sizeof(buffer));
	error_unknown_kinds_write(&w, kinds, 100);
	assert_int_equal(writer_finish(&w), 0);
	assert_int_equal(error_unknown_kinds_read(writer_octets_written(&w), found, 100, &count), 0);
	assert_int_equal(count, 63);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlay_hash),	cmocka_unit_test(test_resource_id_of_name),
		cmocka_unit_test(test_minimal_header),	cmocka_unit_test(test_header_position),
		cmocka_unit_test(test_header_rejected), cmocka_unit_test(test_header_write_bounds),
		cmocka_unit_test(test_options),		cmocka_unit_test(test_contents),
		cmocka_unit_test(test_signature_none),	cmocka_unit_test(test_signature_fields),
		cmocka_unit_test(test_certificates),	cmocka_unit_test(test_message_parts),
		cmocka_unit_test(test_frames),		cmocka_unit_test(test_error_response),
		cmocka_unit_test(test_error_text),	cmocka_unit_test(test_unknown_kinds),
	};

	return cmocka_run_group_tests_name("wire/message", tests, NULL, NULL);
}
