/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Microseconds to sign a message of 400 octets and to check it when its certificate is known already (ECDSA P-256), certificate
 * look-up and hashing included. Prints sign_us and verify_us, each the median of the repetitions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "support/support_identity.h"

enum { CONTENTS_LENGTH = 400, ITERATIONS = 2000, REPETITIONS = 9 };

static double now_us(void) {
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values) {
	qsort(values, REPETITIONS, sizeof(*values), compare);
	return values[REPETITIONS / 2];
}

static double measure_sign(const struct credential *credential, struct octets contents, struct writer *w) {
	double start = now_us();

	for (int i = 0; i < ITERATIONS; i++) {
		w->length = 0;
		if (message_sign(credential, NULL, 0x9aa32b8d, (uint64_t)i, contents, w) < 0)
			abort();
	}
	return (now_us() - start) / ITERATIONS;
}

static double measure_check(struct trust *trust, const struct message *message) {
	double start = now_us();

	for (int i = 0; i < ITERATIONS; i++) {
		struct certificate_bucket bucket;
		struct certificate *signer;
		struct id node_id;
		if (message_check(trust, message, SUPPORT_NOW_MS, &bucket, &signer, &node_id) < 0)
			abort();
		certificate_bucket_release(&bucket);
	}
	return (now_us() - start) / ITERATIONS;
}

int main(void) {
	struct support_overlay overlay;
	const struct id id = support_node_id(1);
	double sign[REPETITIONS], verify[REPETITIONS];
	uint8_t body[CONTENTS_LENGTH - 10] = {0}, contents[CONTENTS_LENGTH], buffer[2048];
	struct writer c = writer_fixed(contents, sizeof(contents)), w = writer_fixed(buffer, sizeof(buffer));
	struct message message = {.header = {.overlay = 0x9aa32b8d, .transaction_id = ITERATIONS - 1}};

	if (support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		return EXIT_FAILURE;
	struct credential *credential = support_credential(&overlay, "alice@example.org", &id, 1);
	if (!credential)
		return EXIT_FAILURE;
	message_contents_write(&c, PING_REQ, OCTETS(body, sizeof(body)), OCTETS_NONE);
	message.contents.whole = writer_octets_written(&c);
	for (int i = 0; i < REPETITIONS; i++) {
		sign[i] = measure_sign(credential, message.contents.whole, &w);
		struct reader r = reader_of_octets(writer_octets_written(&w));
		if (security_block_read(&r, &message.security) < 0)
			return EXIT_FAILURE;
		verify[i] = measure_check(overlay.trust, &message);
	}
	printf("sign_us %.2f\nverify_us %.2f\n", median(sign), median(verify));
	credential_unref(credential);
	support_overlay_release(&overlay);
	return EXIT_SUCCESS;
}
