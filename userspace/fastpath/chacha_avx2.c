/* SPDX-License-Identifier: BSD-2-Clause */
/* ChaCha20 in lanes of AVX2: eight records at a time, one per lane. A vector holds the same word of eight states. */
#include "fastpath/chacha.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { LANES = 8 };

/* GCC 12 misplaces locals of more than 32 octets of alignment in the frames of detect_stack_use_after_return. */
#define AVX2 __attribute__((target("avx2"), noinline, no_sanitize_address))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2"), no_sanitize_address))

/* Eight records: the words of their states, but for [12], the block counter, and where their pads go. */
struct lanes {
	__m256i word[16];
	uint8_t *poly_key[LANES];
	uint8_t *keystream[LANES];
};

AVX2_INLINE __m256i sum(__m256i a, __m256i b) {
	return _mm256_add_epi32(a, b);
}

AVX2_INLINE __m256i rotate_octets(__m256i word, __m256i order) {
	return _mm256_shuffle_epi8(word, order);
}

AVX2_INLINE __m256i rotate(__m256i word, int by) {
	return _mm256_or_si256(_mm256_slli_epi32(word, by), _mm256_srli_epi32(word, 32 - by));
}

/* RFC 8439 2.1 */
#define QUARTER_ROUND(a, b, c, d)                                                                                                  \
	do {                                                                                                                       \
		a = sum(a, b);                                                                                                     \
		d = rotate_octets(_mm256_xor_si256(d, a), by16);                                                                   \
		c = sum(c, d);                                                                                                     \
		b = rotate(_mm256_xor_si256(b, c), 12);                                                                            \
		a = sum(a, b);                                                                                                     \
		d = rotate_octets(_mm256_xor_si256(d, a), by8);                                                                    \
		c = sum(c, d);                                                                                                     \
		b = rotate(_mm256_xor_si256(b, c), 7);                                                                             \
	} while (0)

/* Four words of eight states; afterwards t[j] holds in 128-bit half h all four words of state 4·h + j. */
AVX2_INLINE void gather(__m256i t[static 4], __m256i a, __m256i b, __m256i c, __m256i d) {
	__m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
	__m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);

	t[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
	t[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
	t[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
	t[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}

/* Writes half a block of states j and 4 + j. */
AVX2_INLINE void put(uint8_t *const place[static LANES], size_t offset, unsigned j, __m256i low, __m256i high) {
	_mm256_storeu_si256((__m256i *)(void *)(place[j] + offset), _mm256_permute2x128_si256(low, high, 0x20));
	_mm256_storeu_si256((__m256i *)(void *)(place[4 + j] + offset), _mm256_permute2x128_si256(low, high, 0x31));
}

/* Eight words of all states. */
AVX2_INLINE void put_half(uint8_t *const place[static LANES], size_t offset, const __m256i s[static 8]) {
	__m256i low[4], high[4];

	gather(low, s[0], s[1], s[2], s[3]);
	gather(high, s[4], s[5], s[6], s[7]);
	put(place, offset, 0, low[0], high[0]);
	put(place, offset, 1, low[1], high[1]);
	put(place, offset, 2, low[2], high[2]);
	put(place, offset, 3, low[3], high[3]);
}

AVX2 static void block_make(const struct lanes *lanes, uint32_t block) {
	const __m256i by16 = _mm256_setr_epi8(2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11,
					      8, 9, 14, 15, 12, 13);
	const __m256i by8 = _mm256_setr_epi8(3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9, 10, 15, 12, 13, 14, 3, 0, 1, 2, 7, 4, 5, 6, 11, 8, 9,
					     10, 15, 12, 13, 14);
	const __m256i *w = lanes->word, counter = _mm256_set1_epi32((int)block);
	__m256i s0 = w[0], s1 = w[1], s2 = w[2], s3 = w[3], s4 = w[4], s5 = w[5], s6 = w[6], s7 = w[7];
	__m256i s8 = w[8], s9 = w[9], s10 = w[10], s11 = w[11], s12 = counter, s13 = w[13], s14 = w[14], s15 = w[15];

	for (unsigned round = 0; round < 20; round += 2) {
		QUARTER_ROUND(s0, s4, s8, s12);
		QUARTER_ROUND(s1, s5, s9, s13);
		QUARTER_ROUND(s2, s6, s10, s14);
		QUARTER_ROUND(s3, s7, s11, s15);
		QUARTER_ROUND(s0, s5, s10, s15);
		QUARTER_ROUND(s1, s6, s11, s12);
		QUARTER_ROUND(s2, s7, s8, s13);
		QUARTER_ROUND(s3, s4, s9, s14);
	}
	const __m256i low[8] = {sum(s0, w[0]), sum(s1, w[1]), sum(s2, w[2]), sum(s3, w[3]),
				sum(s4, w[4]), sum(s5, w[5]), sum(s6, w[6]), sum(s7, w[7])};
	if (block == 0) {
		put_half(lanes->poly_key, 0, low);
		return;
	}
	const __m256i high[8] = {sum(s8, w[8]),	    sum(s9, w[9]),   sum(s10, w[10]), sum(s11, w[11]),
				 sum(s12, counter), sum(s13, w[13]), sum(s14, w[14]), sum(s15, w[15])};
	size_t offset = PAD_BLOCK * (size_t)(block - 1);
	put_half(lanes->keystream, offset, low);
	put_half(lanes->keystream, offset + PAD_BLOCK / 2, high);
}

/* Takes up to eight jobs; lanes without a job do the last one again. */
AVX2 static void lanes_load(struct lanes *lanes, const struct chacha_words *words, const struct pad_job *jobs, size_t count) {
	uint32_t high[LANES], low[LANES];

	for (unsigned i = 0; i < LANES; i++) {
		const struct pad_job *job = &jobs[i < count ? i : count - 1];

		lanes->poly_key[i] = job->poly_key;
		lanes->keystream[i] = job->keystream;
		high[i] = words->iv[1] ^ __builtin_bswap32((uint32_t)(job->sequence >> 32));
		low[i] = words->iv[2] ^ __builtin_bswap32((uint32_t)job->sequence);
	}
	for (unsigned i = 0; i < 4; i++)
		lanes->word[i] = _mm256_set1_epi32((int)words->constant[i]);
	for (unsigned i = 0; i < 8; i++)
		lanes->word[4 + i] = _mm256_set1_epi32((int)words->key[i]);
	lanes->word[12] = _mm256_setzero_si256();
	lanes->word[13] = _mm256_set1_epi32((int)words->iv[0]);
	lanes->word[14] = _mm256_loadu_si256((const __m256i *)(const void *)high);
	lanes->word[15] = _mm256_loadu_si256((const __m256i *)(const void *)low);
}

void chacha_avx2_pads(const struct chacha_words *words, const struct pad_job *jobs, size_t count, size_t from, size_t length) {
	struct lanes lanes;
	uint32_t begin = from == 0 ? 0 : (uint32_t)(from / PAD_BLOCK) + 1, end = (uint32_t)(length / PAD_BLOCK) + 1;

	while (count > 0) {
		size_t taken = count < LANES ? count : LANES;

		lanes_load(&lanes, words, jobs, taken);
		for (uint32_t block = begin; block < end; block++)
			block_make(&lanes, block);
		jobs += taken;
		count -= taken;
	}
	octets_wipe(&lanes, sizeof(lanes));
}
#endif
