/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ChaCha20 in lanes of AVX-512, one record per lane. A vector holds the same word of 16 states. Rotation is one instruction and
 * works in place, so that 32 states fill the 32 registers exactly and the rounds of one half hide the latency of the other:
 * two thirds of the time that 16 states take alone.
 */
#include "fastpath/chacha.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { LANES = 16 };

/* GCC 12 misplaces locals of more than 32 octets of alignment in the frames of detect_stack_use_after_return. */
#define AVX512 __attribute__((target("avx512f"), noinline, no_sanitize_address))
#define AVX512_INLINE static inline __attribute__((always_inline, target("avx512f"), no_sanitize_address))

/* 16 records: the words of their states, but for [12], the block counter, and where their pads go. */
struct lanes {
	__m512i word[16];
	uint8_t *poly_key[LANES];
	uint8_t *keystream[LANES];
};

/* As instructions, because gcc 12 makes copies for the intrinsics here, and there is no register left for one. */
#define ADD(to, from) __asm__("vpaddd %1, %0, %0" : "+v"(to) : "v"(from))
#define XOR(to, from) __asm__("vpxord %1, %0, %0" : "+v"(to) : "v"(from))
#define ROTATE(word, by) __asm__("vprold %1, %0, %0" : "+v"(word) : "n"(by))

/* One of the four steps of four quarter rounds: a += b; d ^= a; d <<<= by (RFC 8439 2.1). */
#define STEP(s, by, a0, b0, d0, a1, b1, d1, a2, b2, d2, a3, b3, d3)                                                                \
	do {                                                                                                                       \
		ADD(s##a0, s##b0);                                                                                                 \
		ADD(s##a1, s##b1);                                                                                                 \
		ADD(s##a2, s##b2);                                                                                                 \
		ADD(s##a3, s##b3);                                                                                                 \
		XOR(s##d0, s##a0);                                                                                                 \
		XOR(s##d1, s##a1);                                                                                                 \
		XOR(s##d2, s##a2);                                                                                                 \
		XOR(s##d3, s##a3);                                                                                                 \
		ROTATE(s##d0, by);                                                                                                 \
		ROTATE(s##d1, by);                                                                                                 \
		ROTATE(s##d2, by);                                                                                                 \
		ROTATE(s##d3, by);                                                                                                 \
	} while (0)

/* The same step of both halves, column round and diagonal round. */
#define COLUMNS(by, a0, b0, d0, a1, b1, d1, a2, b2, d2, a3, b3, d3)                                                                \
	STEP(x, by, a0, b0, d0, a1, b1, d1, a2, b2, d2, a3, b3, d3);                                                               \
	STEP(y, by, a0, b0, d0, a1, b1, d1, a2, b2, d2, a3, b3, d3)

#define DOUBLE_ROUND()                                                                                                             \
	do {                                                                                                                       \
		COLUMNS(16, 0, 4, 12, 1, 5, 13, 2, 6, 14, 3, 7, 15);                                                               \
		COLUMNS(12, 8, 12, 4, 9, 13, 5, 10, 14, 6, 11, 15, 7);                                                             \
		COLUMNS(8, 0, 4, 12, 1, 5, 13, 2, 6, 14, 3, 7, 15);                                                                \
		COLUMNS(7, 8, 12, 4, 9, 13, 5, 10, 14, 6, 11, 15, 7);                                                              \
		COLUMNS(16, 0, 5, 15, 1, 6, 12, 2, 7, 13, 3, 4, 14);                                                               \
		COLUMNS(12, 10, 15, 5, 11, 12, 6, 8, 13, 7, 9, 14, 4);                                                             \
		COLUMNS(8, 0, 5, 15, 1, 6, 12, 2, 7, 13, 3, 4, 14);                                                                \
		COLUMNS(7, 10, 15, 5, 11, 12, 6, 8, 13, 7, 9, 14, 4);                                                              \
	} while (0)

#define LOAD(s, lanes, block)                                                                                                      \
	__m512i s##0 = (lanes)->word[0], s##1 = (lanes)->word[1], s##2 = (lanes)->word[2], s##3 = (lanes)->word[3];                \
	__m512i s##4 = (lanes)->word[4], s##5 = (lanes)->word[5], s##6 = (lanes)->word[6], s##7 = (lanes)->word[7];                \
	__m512i s##8 = (lanes)->word[8], s##9 = (lanes)->word[9], s##10 = (lanes)->word[10], s##11 = (lanes)->word[11];            \
	__m512i s##12 = _mm512_set1_epi32((int)(block)), s##13 = (lanes)->word[13], s##14 = (lanes)->word[14],                     \
		s##15 = (lanes)->word[15]

/* Four words of 16 states; afterwards t[j] holds in 128-bit quarter q all four words of state 4·q + j. */
AVX512_INLINE void gather(__m512i t[static 4], __m512i a, __m512i b, __m512i c, __m512i d) {
	__m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
	__m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);

	t[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
	t[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
	t[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
	t[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

/* Writes the blocks of states j, 4 + j, 8 + j and 12 + j, given their words 0 to 3, 4 to 7 and so on. */
AVX512_INLINE void put_blocks(uint8_t *const keystream[static LANES], size_t offset, unsigned j, __m512i t0, __m512i t1, __m512i t2,
			      __m512i t3) {
	__m512i first_low = _mm512_shuffle_i32x4(t0, t1, 0x44), first_high = _mm512_shuffle_i32x4(t2, t3, 0x44);
	__m512i last_low = _mm512_shuffle_i32x4(t0, t1, 0xee), last_high = _mm512_shuffle_i32x4(t2, t3, 0xee);

	_mm512_storeu_si512(keystream[j] + offset, _mm512_shuffle_i32x4(first_low, first_high, 0x88));
	_mm512_storeu_si512(keystream[4 + j] + offset, _mm512_shuffle_i32x4(first_low, first_high, 0xdd));
	_mm512_storeu_si512(keystream[8 + j] + offset, _mm512_shuffle_i32x4(last_low, last_high, 0x88));
	_mm512_storeu_si512(keystream[12 + j] + offset, _mm512_shuffle_i32x4(last_low, last_high, 0xdd));
}

/* The same for block 0, of which the Poly1305 key is the first half. */
AVX512_INLINE void put_keys(uint8_t *const poly_key[static LANES], unsigned j, __m512i t0, __m512i t1) {
	__m512i first = _mm512_shuffle_i32x4(t0, t1, 0x44), last = _mm512_shuffle_i32x4(t0, t1, 0xee);

	first = _mm512_shuffle_i32x4(first, first, 0xd8);
	last = _mm512_shuffle_i32x4(last, last, 0xd8);
	_mm256_storeu_si256((__m256i *)(void *)poly_key[j], _mm512_castsi512_si256(first));
	_mm256_storeu_si256((__m256i *)(void *)poly_key[4 + j], _mm512_extracti64x4_epi64(first, 1));
	_mm256_storeu_si256((__m256i *)(void *)poly_key[8 + j], _mm512_castsi512_si256(last));
	_mm256_storeu_si256((__m256i *)(void *)poly_key[12 + j], _mm512_extracti64x4_epi64(last, 1));
}

AVX512_INLINE __m512i sum(__m512i a, __m512i b) {
	return _mm512_add_epi32(a, b);
}

#define FINISH(s, lanes, block)                                                                                                    \
	do {                                                                                                                       \
		const __m512i *w = (lanes)->word;                                                                                  \
		__m512i t0[4], t1[4], t2[4], t3[4];                                                                                \
		gather(t0, sum(s##0, w[0]), sum(s##1, w[1]), sum(s##2, w[2]), sum(s##3, w[3]));                                    \
		gather(t1, sum(s##4, w[4]), sum(s##5, w[5]), sum(s##6, w[6]), sum(s##7, w[7]));                                    \
		if ((block) == 0) {                                                                                                \
			put_keys((lanes)->poly_key, 0, t0[0], t1[0]);                                                              \
			put_keys((lanes)->poly_key, 1, t0[1], t1[1]);                                                              \
			put_keys((lanes)->poly_key, 2, t0[2], t1[2]);                                                              \
			put_keys((lanes)->poly_key, 3, t0[3], t1[3]);                                                              \
			break;                                                                                                     \
		}                                                                                                                  \
		gather(t2, sum(s##8, w[8]), sum(s##9, w[9]), sum(s##10, w[10]), sum(s##11, w[11]));                                \
		gather(t3, sum(s##12, _mm512_set1_epi32((int)(block))), sum(s##13, w[13]), sum(s##14, w[14]), sum(s##15, w[15]));  \
		size_t offset = PAD_BLOCK * (size_t)((block)-1);                                                                   \
		put_blocks((lanes)->keystream, offset, 0, t0[0], t1[0], t2[0], t3[0]);                                             \
		put_blocks((lanes)->keystream, offset, 1, t0[1], t1[1], t2[1], t3[1]);                                             \
		put_blocks((lanes)->keystream, offset, 2, t0[2], t1[2], t2[2], t3[2]);                                             \
		put_blocks((lanes)->keystream, offset, 3, t0[3], t1[3], t2[3], t3[3]);                                             \
	} while (0)

/* One block of each of twice 16 records. Both halves may be the same. */
AVX512 static void blocks_make(const struct lanes *first, uint32_t first_block, const struct lanes *second, uint32_t second_block) {
	LOAD(x, first, first_block);
	LOAD(y, second, second_block);

	for (unsigned round = 0; round < 20; round += 2)
		DOUBLE_ROUND();
	FINISH(x, first, first_block);
	FINISH(y, second, second_block);
}

/* Takes up to 16 jobs; lanes without a job do the last one again. */
AVX512 static void lanes_load(struct lanes *lanes, const struct chacha_words *words, const struct pad_job *jobs, size_t count) {
	uint32_t high[LANES], low[LANES];

	for (unsigned i = 0; i < LANES; i++) {
		const struct pad_job *job = &jobs[i < count ? i : count - 1];

		lanes->poly_key[i] = job->poly_key;
		lanes->keystream[i] = job->keystream;
		high[i] = words->iv[1] ^ __builtin_bswap32((uint32_t)(job->sequence >> 32));
		low[i] = words->iv[2] ^ __builtin_bswap32((uint32_t)job->sequence);
	}
	for (unsigned i = 0; i < 4; i++)
		lanes->word[i] = _mm512_set1_epi32((int)words->constant[i]);
	for (unsigned i = 0; i < 8; i++)
		lanes->word[4 + i] = _mm512_set1_epi32((int)words->key[i]);
	lanes->word[12] = _mm512_setzero_si512();
	lanes->word[13] = _mm512_set1_epi32((int)words->iv[0]);
	lanes->word[14] = _mm512_loadu_si512(high);
	lanes->word[15] = _mm512_loadu_si512(low);
}

void chacha_avx512_pads(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	struct lanes first, second;
	uint32_t begin = from == 0 ? 0 : (uint32_t)(from / PAD_BLOCK) + 1, end = (uint32_t)(length / PAD_BLOCK) + 1;

	while (count > 0) {
		size_t taken = count < LANES ? count : LANES, more = count - taken < LANES ? count - taken : LANES;

		lanes_load(&first, words, jobs, taken);
		if (more > 0) {
			lanes_load(&second, words, jobs + taken, more);
			for (uint32_t block = begin; block < end; block++)
				blocks_make(&first, block, &second, block);
		} else {
			for (uint32_t block = begin; block < end; block += 2)
				blocks_make(&first, block, &first, block + 1 < end ? block + 1 : block);
		}
		jobs += taken + more;
		count -= taken + more;
	}
	octets_wipe(&first, sizeof(first));
	octets_wipe(&second, sizeof(second));
}
#endif
