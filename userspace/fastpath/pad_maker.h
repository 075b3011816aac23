/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keystream pads: what ChaCha20-Poly1305 needs of the key for one record, made before the record exists. With the RFC 7905 suites
 * the nonce follows from the record number, so that the pads of the next records can be made many at a time, one per vector lane.
 */
#pragma once

#include "base/cleanup.h"
#include "base/octets.h"

enum {
	PAD_KEY = 32,
	PAD_IV = 12,
	PAD_POLY_KEY = 32,
	PAD_BLOCK = 64, /* octets of a ChaCha20 block */
};

/* The keys of one direction of a link. Wiped by whoever holds it. */
struct pad_key {
	uint8_t key[PAD_KEY];
	uint8_t iv[PAD_IV];
};

/* One pad to be made. The places belong to the caller. */
struct pad_job {
	uint64_t sequence;  /* epoch and record number, as pad_sequence() makes it */
	uint8_t *poly_key;  /* PAD_POLY_KEY octets: the start of block 0 (RFC 8439 2.6) */
	uint8_t *keystream; /* from block 1 (RFC 8439 2.8) */
};

/* From slowest to fastest. */
enum pad_method { PAD_METHOD_EVP, PAD_METHOD_AVX2, PAD_METHOD_AVX512, PAD_METHOD_COUNT };

/* Not to be shared by threads. */
struct pad_maker;

/* What the nonce is made of: the epoch in the upper 16 bits, then the record number (RFC 7905 2). */
static inline uint64_t pad_sequence(uint16_t epoch, uint64_t number) {
	return (uint64_t)epoch << 48 | number;
}

const char *pad_method_name(enum pad_method method);

/*
 * Makes a maker with the fastest method that this processor has and that agrees with OpenSSL on random inputs; one that does not
 * agree is logged and passed over. -ENOMEM, -EIO when OpenSSL fails.
 */
int pad_maker_new(struct pad_maker **ret);

/* The same with one method: -EOPNOTSUPP this processor or build lacks it, -EBADMSG it does not agree with OpenSSL. Logs nothing. */
int pad_maker_new_method(enum pad_method method, struct pad_maker **ret);

struct pad_maker *pad_maker_free(struct pad_maker *maker);
DEFINE_CLEANUP(struct pad_maker *, pad_maker_free)

enum pad_method pad_maker_method(const struct pad_maker *maker);

/*
 * Makes the keystream octets `from` to `length` of every pad, both multiples of PAD_BLOCK, and with `from` 0 its Poly1305 key; a
 * larger `from` makes an existing pad longer. A place that holds these octets already holds them all the time. -EINVAL, -EIO when
 * OpenSSL fails: then what was to be made is of no use.
 */
int pad_maker_make(struct pad_maker *maker, const struct pad_key *key, const struct pad_job *jobs, size_t count, size_t from,
		   size_t length);
