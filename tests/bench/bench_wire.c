/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nanoseconds to decode and to encode one message of 400 octets: a StoreReq with three via entries, a Resource-ID as destination,
 * one stored value and a security block with a certificate. Prints wire_decode_ns and wire_encode_ns, each the median of the
 * repetitions.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/data.h"

enum { MESSAGE_LENGTH = 400, ITERATIONS = 200000, REPETITIONS = 9 };

static const uint8_t filling[MESSAGE_LENGTH] = {0x30, 0x82};

static struct signature signature(void) {
	return (struct signature){
		.hash_algorithm = HASH_SHA256,
		.signature_algorithm = SIGNATURE_ECDSA,
		.identity = {.type = SIGNER_CERT_HASH, .hash_algorithm = HASH_SHA256, .hash = OCTETS(filling, 32)},
		.value = OCTETS(filling, 71),
	};
}

/* Writes the whole message with a certificate of `certificate_length` octets. */
static size_t message_encode(uint8_t *buffer, size_t size, size_t certificate_length) {
	struct id node = {.length = ID_LENGTH_CHORD, .octets = {0x11}};
	uint8_t lists[64];
	struct writer list = writer_fixed(lists, sizeof(lists)), w = writer_fixed(buffer, size);
	struct forwarding_header header = {
		.overlay = 0x9aa32b8d,
		.configuration_sequence = 22,
		.version = RELOAD_VERSION,
		.ttl = INITIAL_TTL - 3,
		.fragment = FRAGMENT_NONE,
		.transaction_id = UINT64_C(0x0102030405060708),
	};
	struct stored_data data = {
		.storage_time_ms = UINT64_C(1700000000000),
		.lifetime_s = 86400,
		.value = {.model = DATA_MODEL_SINGLE, .exists = true, .value = OCTETS(filling, 12)},
		.signature = signature(),
	};
	struct signature whole = signature();

	destination_write_node(&list, &node);
	destination_write_compact(&list, 5);
	destination_write_compact(&list, 77);
	header.via_list = writer_octets_written(&list);
	destination_write_resource(&list, OCTETS(filling, ID_LENGTH_CHORD));
	header.destination_list = OCTETS(lists + header.via_list.length, list.length - header.via_list.length);
	forwarding_header_write(&w, &header);

	writer_u16(&w, STORE_REQ);
	size_t body = writer_begin(&w, 4);
	size_t store = store_req_begin(&w, OCTETS(filling, ID_LENGTH_CHORD), 0);
	size_t kind = store_kind_data_begin(&w, KIND_SIP_REGISTRATION, 0);
	stored_data_write(&w, &data);
	store_kind_data_end(&w, kind);
	store_req_end(&w, store);
	writer_end(&w, body, 4);
	writer_vector32(&w, OCTETS_NONE);

	size_t certificates = writer_begin(&w, 2);
	generic_certificate_write(&w, CERTIFICATE_X509, OCTETS(filling, certificate_length));
	writer_end(&w, certificates, 2);
	signature_write(&w, &whole);
	message_write_length(&w, 0);
	return writer_finish(&w) < 0 ? 0 : w.length;
}

/* Keeps the compiler from dropping or merging what is measured. */
static inline void use(const void *pointer) {
	__asm__ volatile("" : : "r"(pointer) : "memory");
}

static double now_ns(void) {
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double samples[static REPETITIONS]) {
	qsort(samples, REPETITIONS, sizeof(*samples), compare);
	return samples[REPETITIONS / 2];
}

int main(void) {
	uint8_t buffer[2 * MESSAGE_LENGTH];
	size_t smallest = message_encode(buffer, sizeof(buffer), 0), certificate_length = MESSAGE_LENGTH - smallest;
	double decode[REPETITIONS], encode[REPETITIONS];
	struct message message;

	if (smallest == 0 || smallest > MESSAGE_LENGTH ||
	    message_encode(buffer, sizeof(buffer), certificate_length) != MESSAGE_LENGTH ||
	    message_read(OCTETS(buffer, MESSAGE_LENGTH), ID_LENGTH_CHORD, &message) < 0) {
		fprintf(stderr, "bench_wire: the message does not encode and decode\n");
		return EXIT_FAILURE;
	}
	for (unsigned repetition = 0; repetition < REPETITIONS; repetition++) {
		double start = now_ns();
		for (unsigned i = 0; i < ITERATIONS; i++) {
			use(buffer);
			if (message_read(OCTETS(buffer, MESSAGE_LENGTH), ID_LENGTH_CHORD, &message) < 0)
				return EXIT_FAILURE;
			use(&message);
		}
		decode[repetition] = (now_ns() - start) / ITERATIONS;
		start = now_ns();
		for (unsigned i = 0; i < ITERATIONS; i++) {
			if (message_encode(buffer, sizeof(buffer), certificate_length) != MESSAGE_LENGTH)
				return EXIT_FAILURE;
			use(buffer);
		}
		encode[repetition] = (now_ns() - start) / ITERATIONS;
	}
	printf("wire_decode_ns %.1f\nwire_encode_ns %.1f\n", median(decode), median(encode));
	return EXIT_SUCCESS;
}
