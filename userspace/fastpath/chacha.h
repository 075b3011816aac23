/* SPDX-License-Identifier: BSD-2-Clause */
/* The vector implementations behind pad_maker.h. */
#pragma once

#include "fastpath/pad_maker.h"

/* The words of a ChaCha20 state that all pads of a key share (RFC 8439 2.3), and the IV as words, in the processor's order. */
struct chacha_words {
	uint32_t constant[4];
	uint32_t key[8];
	uint32_t iv[3];
};

/* As pad_maker_make(), for any count above 0; arguments have been checked. */
typedef void chacha_pads(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length);

#if defined(__x86_64__)
/* Callable only where the processor and the operating system have AVX2, AVX-512F. */
void chacha_avx2_pads(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length);
void chacha_avx512_pads(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length);
#endif

/* Compares an implementation with OpenSSL on random keys, numbers and lengths. -EBADMSG when they differ, -EIO, -ENOMEM. */
int chacha_check(chacha_pads *pads);
