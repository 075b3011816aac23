/* SPDX-License-Identifier: BSD-2-Clause */
/* The peer cache: text in and out, damaged files, and the pauses after which lost peers are looked for. B-11.4-02 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/peer_cache.h"

#define ID_A "0123456789abcdef0123456789abcdef"
#define ID_B "fedcba9876543210fedcba9876543210"

static struct address address_of(const char *text) {
	struct address address;

	assert_int_equal(address_parse(text, 6084, &address), 0);
	return address;
}

static struct cached_peer peer_of(const char *address, const char *id, uint64_t seen_s) {
	struct cached_peer peer = {.address = address_of(address), .seen_s = seen_s};

	if (id)
		assert_int_equal(id_parse(id, &peer.id), 0);
	return peer;
}

static size_t read_text(const char *text, struct cached_peer out[PEER_CACHE_MAX], size_t *ret_bad) {
	return peer_cache_read(OCTETS(text, strlen(text)), out, PEER_CACHE_MAX, ret_bad);
}

static void test_round_trip(void **state) {
	struct cached_peer peers[] = {peer_of("192.0.2.1:6084", ID_A, 1700000000), peer_of("[2001:db8::1]:7000", ID_B, 5),
				      peer_of("198.51.100.7:1", NULL, 0)},
			   back[PEER_CACHE_MAX];
	char text[1024];
	struct writer w = writer_fixed(text, sizeof(text));
	size_t bad;

	(void)state;
	peers[1].address.protocol = IPPROTO_TCP;
	peer_cache_write(&w, peers, 3);
	assert_int_equal(writer_finish(&w), 0);
	assert_int_equal(peer_cache_read(writer_octets_written(&w), back, PEER_CACHE_MAX, &bad), 3);
	assert_int_equal(bad, 0);
	for (size_t i = 0; i < 3; i++) {
		assert_true(address_equal(&peers[i].address, &back[i].address));
		assert_true(id_equal(&peers[i].id, &back[i].id));
		assert_int_equal(peers[i].seen_s, back[i].seen_s);
	}
}

/* Every line that is no peer is passed over and counted; the others are taken. */
static void test_bad_lines(void **state) {
	static const char *const lines[] = {
		"example.org:6084",
		"192.0.2.1:0 " ID_A,
		"192.0.2.1:65536",
		"192.0.2.256",
		"0.0.0.0:6084",
		"0.1.2.3:6084",
		"255.255.255.255:6084",
		"224.0.0.251:5353",
		"239.192.60.84:6084",
		"[::]:6084",
		"[ff02::fb]:5353",
		"192.0.2.1:6084 0123",
		"192.0.2.1:6084 " ID_A "x",
		"192.0.2.1:6084 00000000000000000000000000000000",
		"192.0.2.1:6084 ffffffffffffffffffffffffffffffff",
		"192.0.2.1:6084 " ID_A " yesterday",
		"192.0.2.1:6084 " ID_A " -1",
		"192.0.2.1:6084 " ID_A " 99999999999999999999999999",
		"192.0.2.1:6084 " ID_A " 1 more",
		"192.0.2.1:6084 " ID_A " 1 TCP",
		"192.0.2.1:6084 " ID_A " 1 tcp more",
		"192.0.2.1:6084                                                                                                    "
		"    "
		"                                                                                            " ID_A,
	};
	struct cached_peer out[PEER_CACHE_MAX];
	char text[512];
	size_t bad;

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(text, sizeof(text), "# comment\n\n%s\n192.0.2.9 " ID_B " 7", lines[i]);
		size_t count = read_text(text, out, &bad);
		if (count != 1 || bad != 1)
			print_message("%s\n", lines[i]);
		assert_int_equal(count, 1);
		assert_int_equal(bad, 1);
		assert_int_equal(out[0].address.port, 6084);
		assert_int_equal(out[0].seen_s, 7);
	}
	assert_int_equal(peer_cache_read(OCTETS("192.0.2.1\0:6084\n", 16), out, PEER_CACHE_MAX, &bad), 0);
	assert_int_equal(bad, 1);
	assert_int_equal(read_text("", out, &bad), 0);
	assert_int_equal(bad, 0);
}

static void test_bounds(void **state) {
	struct cached_peer out[PEER_CACHE_MAX];
	char text[4096] = "192.0.2.1 " ID_A "\n192.0.2.1 " ID_B "\n192.0.2.2 " ID_A "\n";
	size_t bad;

	(void)state;
	/* The same address, and the same Node-ID, once. */
	assert_int_equal(read_text(text, out, &bad), 1);
	text[0] = 0;
	for (unsigned i = 1; i <= 30; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "192.0.2.%u\n", i);
	assert_int_equal(read_text(text, out, &bad), PEER_CACHE_MAX);
	assert_int_equal(out[PEER_CACHE_MAX - 1].address.octets[3], PEER_CACHE_MAX);
}

static void test_file(void **state) {
	char directory[] = "/tmp/test_peers_XXXXXX", path[64], text[PEER_CACHE_OCTETS * 4];
	struct cached_peer peers[] = {peer_of("192.0.2.1:6084", ID_A, 9)}, out[PEER_CACHE_MAX];
	size_t count = 99, bad;
	struct stat status;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/peers", directory);
	assert_int_equal(peer_cache_load(path, out, &count, &bad), -ENOENT);
	assert_int_equal(count, 99);
	assert_int_equal(peer_cache_save(path, peers, 1), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(peer_cache_load(path, out, &count, &bad), 0);
	assert_int_equal(count, 1);
	assert_int_equal(bad, 0);
	assert_true(id_equal(&out[0].id, &peers[0].id));
	/* A huge one costs no more than its beginning. */
	memset(text, '#', sizeof(text));
	memcpy(text, "192.0.2.4\n", 10);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, sizeof(text), file), sizeof(text));
	assert_int_equal(fclose(file), 0);
	assert_int_equal(peer_cache_load(path, out, &count, &bad), 0);
	assert_int_equal(count, 1);
	unlink(path);
	/* Not a file at all */
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(peer_cache_load(path, out, &count, &bad), -EISDIR);
	assert_true(peer_cache_save(path, peers, 1) < 0);
	rmdir(path);
	assert_int_equal(rmdir(directory), 0); /* nothing was left behind */
}

/* ---- lost peers ---- */

static uint64_t fixed_ms(void *userdata) {
	(void)userdata;
	return 1700000000000;
}

static void fixed_random(void *userdata, void *data, size_t length) {
	uint8_t *state = userdata;

	for (size_t i = 0; i < length; i++)
		((uint8_t *)data)[i] = (*state)++;
}

struct bed {
	struct runtime runtime;
	struct lost_peers lost;
	uint8_t random;
};

static void bed_start(struct bed *bed) {
	memset(bed, 0, sizeof(*bed));
	bed->runtime.source = (struct runtime_source){fixed_ms, fixed_random, &bed->random};
	bed->runtime.now_us = 1000 * USEC_PER_SEC;
	bed->lost.runtime = &bed->runtime;
}

static struct cached_peer numbered(unsigned number) {
	char address[32], id[40];

	snprintf(address, sizeof(address), "192.0.2.%u:6084", number);
	snprintf(id, sizeof(id), "000000000000000000000000000000%02x", number);
	return peer_of(address, id, 1);
}

/* Looked for after about 20, 40, 80, 160, 320, 600, 600... seconds, and given up after a week. */
static void test_pauses(void **state) {
	static const unsigned expected[] = {20, 40, 80, 160, 320, 600, 600, 600};
	struct cached_peer peer = numbered(1);
	struct bed bed;

	(void)state;
	bed_start(&bed);
	assert_true(lost_peers_next(&bed.lost) == USEC_NEVER);
	lost_peers_add(&bed.lost, &peer);
	for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
		assert_null(lost_peers_due(&bed.lost));
		uint64_t pause_s = (lost_peers_next(&bed.lost) - bed.runtime.now_us) / USEC_PER_SEC;
		assert_in_range(pause_s, expected[i] * 3 / 4, expected[i] * 5 / 4);
		bed.runtime.now_us = lost_peers_next(&bed.lost);
		struct lost_peer *due = lost_peers_due(&bed.lost);
		assert_non_null(due);
		lost_peers_tried(&bed.lost, due);
	}
	unsigned tries = 0;
	for (; bed.lost.count > 0; tries++) {
		bed.runtime.now_us = lost_peers_next(&bed.lost);
		lost_peers_tried(&bed.lost, lost_peers_due(&bed.lost));
	}
	assert_in_range(tries, PEER_LOST_AGE_S / 750 - 10, PEER_LOST_AGE_S / 450 + 10);
}

/* One that is back brings the others forward. */
static void test_found(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 1; i <= 5; i++) {
		struct cached_peer peer = numbered(i);
		lost_peers_add(&bed.lost, &peer);
		lost_peers_add(&bed.lost, &peer); /* once */
	}
	assert_int_equal(bed.lost.count, 5);
	struct cached_peer stranger = numbered(77), third = numbered(3);
	assert_false(lost_peers_found(&bed.lost, &stranger.id));
	assert_true(lost_peers_next(&bed.lost) > bed.runtime.now_us + PEER_LOST_SOON_S * USEC_PER_SEC);
	assert_true(lost_peers_found(&bed.lost, &third.id));
	assert_false(lost_peers_found(&bed.lost, &third.id));
	assert_int_equal(bed.lost.count, 4);
	for (size_t i = 0; i < 4; i++)
		assert_true(bed.lost.entries[i].due_us <= bed.runtime.now_us + PEER_LOST_SOON_S * USEC_PER_SEC);
}

static void test_lost_bounds(void **state) {
	struct bed bed;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 1; i <= PEER_LOST_MAX + 5; i++) {
		struct cached_peer peer = numbered(i);
		bed.runtime.now_us++;
		lost_peers_add(&bed.lost, &peer);
	}
	assert_int_equal(bed.lost.count, PEER_LOST_MAX);
	struct cached_peer first = numbered(1), last = numbered(PEER_LOST_MAX + 5);
	assert_false(lost_peers_found(&bed.lost, &first.id)); /* the ones lost first went */
	assert_true(lost_peers_found(&bed.lost, &last.id));
	/* Neither without a Node-ID nor without an address that can be used. */
	struct cached_peer nameless = peer_of("192.0.2.99:6084", NULL, 0), nowhere = {.id = first.id};
	size_t count = bed.lost.count;
	lost_peers_add(&bed.lost, &nameless);
	lost_peers_add(&bed.lost, &nowhere);
	assert_int_equal(bed.lost.count, count);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),  cmocka_unit_test(test_bad_lines), cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_file),	    cmocka_unit_test(test_pauses),    cmocka_unit_test(test_found),
		cmocka_unit_test(test_lost_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
