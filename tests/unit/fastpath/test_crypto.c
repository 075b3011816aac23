/* SPDX-License-Identifier: BSD-2-Clause */
/* ChaCha20, Poly1305 and records in the kernel: RFC 8439's vectors, and OpenSSL at every length in both directions. */
#include "link/record.h"
#include "support/fastpath_bpf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#define FORWARD_FUNCTION static inline __attribute__((unused))
#include "check/crypto_check.h"
#include "crypto_check.skel.h"

#include <bpf/bpf.h>

_Static_assert(sizeof(struct fastpath_record) == offsetof(struct record_state, mtu) + 2, "one layout");
#define SAME(member)                                                                                                               \
	_Static_assert(offsetof(struct fastpath_record, member) == offsetof(struct record_state, member), "one layout: " #member)
SAME(cipher);
SAME(tx_key);
SAME(rx_key);
SAME(tx_iv);
SAME(rx_iv);
SAME(tx_next);
SAME(rx_end);
SAME(rx_window);
SAME(local_address);
SAME(remote_address);
SAME(local_port);
SAME(remote_port);
SAME(family);
SAME(mtu);

static struct crypto_check_bpf *skeleton;
static struct crypto_check *check;

static int setup(void **state) {
	(void)state;
	if (fastpath_unavailable())
		return 0;
	skeleton = crypto_check_bpf__open_and_load();
	if (!skeleton)
		return -1;
	check = mmap(NULL, sizeof(*check), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(skeleton->maps.checks), 0);
	return check == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state) {
	(void)state;
	if (skeleton)
		munmap(check, sizeof(*check));
	crypto_check_bpf__destroy(skeleton);
	return 0;
}

static void run(const struct bpf_program *program) {
	uint8_t packet[64] = {0};
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &options), 0);
	assert_int_equal(options.retval, 1);
}

/* RFC 8439 2.3.2 */
static void test_block(void **state) {
	static const uint8_t expected[64] = {0x10, 0xf1, 0xe7, 0xe4, 0xd1, 0x3b, 0x59, 0x15, 0x50, 0x0f, 0xdd, 0x1f, 0xa3,
					     0x20, 0x71, 0xc4, 0xc7, 0xd1, 0xf4, 0xc7, 0x33, 0xc0, 0x68, 0x03, 0x04, 0x22,
					     0xaa, 0x9a, 0xc3, 0xd4, 0x6c, 0x4e, 0xd2, 0x82, 0x64, 0x46, 0x07, 0x9f, 0xaa,
					     0x09, 0x14, 0xc2, 0xd7, 0x05, 0xd9, 0x8b, 0x02, 0xa2, 0xb5, 0x12, 0x9c, 0xd1,
					     0xde, 0x16, 0x4e, 0xb9, 0xcb, 0xd0, 0x83, 0xe8, 0xa2, 0x50, 0x3c, 0x4e};
	static const uint8_t nonce[12] = {0, 0, 0, 9, 0, 0, 0, 0x4a};
	uint8_t key[32];

	(void)state;
	FASTPATH_OR_SKIP();
	for (unsigned i = 0; i < 32; i++)
		key[i] = (uint8_t)i;
	memcpy(check->chacha.key, key, 32);
	memcpy(check->chacha.nonce, nonce, 12);
	check->chacha.counter = 1;
	run(skeleton->progs.check_block);
	assert_memory_equal(check->chacha.block, expected, 64);
	chacha20_block(&check->chacha); /* the same source compiled here */
	assert_memory_equal(check->chacha.block, expected, 64);
}

/* RFC 8439 A.1, test vectors 1, 2 and 4: other keys and counters */
static void test_block_appendix(void **state) {
	static const uint8_t first[16] = {0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90,
					  0x40, 0x5d, 0x6a, 0xe5, 0x53, 0x86, 0xbd, 0x28};
	static const uint8_t second[16] = {0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a,
					   0x98, 0xba, 0x97, 0x7c, 0x73, 0x2d, 0x08, 0x0d};
	static const uint8_t fourth[16] = {0x72, 0xd5, 0x4d, 0xfb, 0xf1, 0x2e, 0xc4, 0x4b,
					   0x36, 0x26, 0x92, 0xdf, 0x94, 0x13, 0x7f, 0x32};

	(void)state;
	FASTPATH_OR_SKIP();
	memset(&check->chacha, 0, sizeof(check->chacha));
	run(skeleton->progs.check_block);
	assert_memory_equal(check->chacha.block, first, 16);
	check->chacha.counter = 1;
	run(skeleton->progs.check_block);
	assert_memory_equal(check->chacha.block, second, 16);
	((uint8_t *)check->chacha.key)[1] = 0xff;
	check->chacha.counter = 2;
	run(skeleton->progs.check_block);
	assert_memory_equal(check->chacha.block, fourth, 16);
}

/* Poly1305 in the host's build of poly1305.h: the key and 34 octets of RFC 8439 2.5.2 do not have the form of a record, so that the
 * reduction's corners are tried with the blocks of A.3 that have: additional data and text are whole blocks, lengths differ. What a
 * record's tag must be comes from OpenSSL. */
static void reference_tag(const uint8_t key[32], const uint8_t additional[16], const uint8_t *text, uint32_t length,
			  uint8_t tag[16]) {
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "POLY1305", NULL);
	EVP_MAC_CTX *context = EVP_MAC_CTX_new(mac);
	static const uint8_t zeros[16];
	uint64_t lengths[2] = {13, length};
	size_t size;

	assert_int_equal(EVP_MAC_init(context, key, 32, NULL), 1);
	EVP_MAC_update(context, additional, 16);
	EVP_MAC_update(context, text, length);
	EVP_MAC_update(context, zeros, (16 - length % 16) % 16);
	EVP_MAC_update(context, (uint8_t *)lengths, 16);
	assert_int_equal(EVP_MAC_final(context, tag, &size, 16), 1);
	EVP_MAC_CTX_free(context);
	EVP_MAC_free(mac);
}

static void test_poly1305_corners(void **state) {
	/* Keys and blocks of RFC 8439 A.3 vectors 7 to 11 and the neighbors of the prime: r, filling of s, filling of text. */
	static const struct {
		uint8_t r[16], s, text;
	} corners[] = {
		{{1}, 0, 0xff},
		{{2}, 0, 0xff},
		{{1}, 0xff, 0xff},
		{{1, 0, 0, 0, 0, 0, 0, 0, 4}, 0, 0xfb},
		{{5}, 0xff, 0xfe},
		{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0xff, 0xff},
		{{0}, 0x36, 0x11},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(corners) / sizeof(corners[0]); i++) {
		for (uint32_t length = 0; length <= 160; length++) {
			struct record_buffer *buffer = calloc(1, sizeof(*buffer));
			struct fastpath_pad *pad = calloc(1, sizeof(*pad));
			struct poly1305 poly;
			uint8_t tag[16];

			assert_non_null(buffer);
			assert_non_null(pad);
			memcpy(pad->poly_key, corners[i].r, 16);
			memset(pad->poly_key + 16, corners[i].s, 16);
			memset(&poly.additional, corners[i].text, 16);
			memset(buffer->text, corners[i].text, length);
			poly1305_record(buffer, &poly, pad, length);
			reference_tag(pad->poly_key, (uint8_t *)poly.additional, buffer->text, length, tag);
			assert_memory_equal(poly.tag, tag, 16);
			free(buffer);
			free(pad);
		}
	}
}

static void make_layer(struct record_layer *layer) {
	memset(layer, 0, sizeof(*layer));
	layer->state.cipher = RECORD_CHACHA20_POLY1305;
	layer->state.key_length = 32;
	layer->state.iv_length = 12;
	for (unsigned i = 0; i < 32; i++)
		layer->state.tx_key[i] = layer->state.rx_key[i] = (uint8_t)(i * 7 + 3);
	for (unsigned i = 0; i < 12; i++)
		layer->state.tx_iv[i] = layer->state.rx_iv[i] = (uint8_t)(0xf0 - i * 5);
	memcpy(&check->record, &layer->state, sizeof(check->record));
	assert_int_equal(record_layer_start(layer), 0);
}

/* Numbers that use all six octets. */
static uint64_t number_of(uint32_t length) {
	return (UINT64_C(0x0102030405) * (length + 1)) & RECORD_NUMBER_MAX;
}

static void test_sealed_here_opened_by_openssl(void **state) {
	struct record_layer layer;
	uint8_t whole[2048], *plain;
	size_t plain_length;

	(void)state;
	FASTPATH_OR_SKIP();
	make_layer(&layer);
	for (uint32_t length = 0; length <= FASTPATH_TEXT_MAX; length++) {
		for (uint32_t i = 0; i < length; i++)
			check->buffer.text[i] = (uint8_t)(i ^ length);
		check->length = length;
		check->number = number_of(length);
		run(skeleton->progs.check_seal);
		memcpy(whole, check->buffer.header, RECORD_HEADER + length + RECORD_TAG);
		struct reader r = reader_of(whole, RECORD_HEADER + length + RECORD_TAG);
		struct record record;
		assert_int_equal(record_next(&r, &record), 0);
		assert_int_equal(reader_left(&r), 0);
		assert_int_equal(record.number, check->number);
		assert_int_equal(record_open(&layer, &record, &plain, &plain_length), 0);
		assert_int_equal(plain_length, length);
		for (uint32_t i = 0; i < length; i++)
			assert_int_equal(plain[i], (uint8_t)(i ^ length));
	}
	record_layer_stop(&layer);
}

static void test_sealed_by_openssl_opened_here(void **state) {
	struct record_layer layer;
	uint8_t whole[2048];

	(void)state;
	FASTPATH_OR_SKIP();
	make_layer(&layer);
	for (uint32_t length = 0; length <= FASTPATH_TEXT_MAX; length++) {
		for (uint32_t i = 0; i < length; i++)
			whole[RECORD_HEADER + i] = (uint8_t)(i + length);
		layer.state.tx_next = number_of(length);
		assert_int_equal(record_seal(&layer, RECORD_APPLICATION, whole, length), RECORD_HEADER + length + RECORD_TAG);
		memset(check->buffer.text, 0xee, sizeof(check->buffer.text)); /* what lies behind must not matter */
		memcpy(check->buffer.header, whole, RECORD_HEADER + length);
		check->length = length;
		check->number = number_of(length);
		run(skeleton->progs.check_open);
		assert_memory_equal(check->poly.tag, whole + RECORD_HEADER + length, RECORD_TAG);
		for (uint32_t i = 0; i < length; i++)
			assert_int_equal(check->buffer.text[i], (uint8_t)(i + length));
	}
	record_layer_stop(&layer);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block),
		cmocka_unit_test(test_block_appendix),
		cmocka_unit_test(test_poly1305_corners),
		cmocka_unit_test(test_sealed_here_opened_by_openssl),
		cmocka_unit_test(test_sealed_by_openssl_opened_here),
	};

	return cmocka_run_group_tests_name("fastpath crypto", tests, setup, teardown);
}
