/* SPDX-License-Identifier: BSD-2-Clause */
#include "link/record.h"

#include "link_state.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

static void put_u16(uint8_t *at, uint16_t value) {
	value = __builtin_bswap16(value);
	memcpy(at, &value, sizeof(value));
}

static void put_u64(uint8_t *at, uint64_t value) {
	value = __builtin_bswap64(value);
	memcpy(at, &value, sizeof(value));
}

static int key_block(const char *digest, const uint8_t *master, const uint8_t *client_random, const uint8_t *server_random,
		     uint8_t *out, size_t length) {
	static const char label[] = "key expansion";
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, OSSL_KDF_NAME_TLS1_PRF, NULL);
	EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	OSSL_PARAM parameters[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)digest, 0),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, (void *)master, RECORD_MASTER_SECRET),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)label, sizeof(label) - 1),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)server_random, RECORD_RANDOM),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, (void *)client_random, RECORD_RANDOM),
		OSSL_PARAM_construct_end(),
	};
	int result = context && EVP_KDF_derive(context, out, length, parameters) == 1 ? 0 : -EIO;

	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	return result;
}

int record_state_derive(struct record_state *state, enum record_cipher cipher, const char *digest,
			const uint8_t master[static RECORD_MASTER_SECRET], const uint8_t client_random[static RECORD_RANDOM],
			const uint8_t server_random[static RECORD_RANDOM], bool client, uint64_t tx_next) {
	size_t key = cipher == RECORD_AES128_GCM ? 16 : 32;
	size_t iv = cipher == RECORD_CHACHA20_POLY1305 ? 12 : 4;
	uint8_t block[2 * 32 + 2 * 12];

	int result = key_block(digest, master, client_random, server_random, block, 2 * key + 2 * iv);
	if (result == 0) {
		state->cipher = (uint8_t)cipher;
		state->key_length = (uint8_t)key;
		state->iv_length = (uint8_t)iv;
		/* client key, server key, client IV, server IV (RFC 5246 6.3; AEAD suites have no MAC keys) */
		memcpy(client ? state->tx_key : state->rx_key, block, key);
		memcpy(client ? state->rx_key : state->tx_key, block + key, key);
		memcpy(client ? state->tx_iv : state->rx_iv, block + 2 * key, iv);
		memcpy(client ? state->rx_iv : state->tx_iv, block + 2 * key + iv, iv);
		state->tx_next = tx_next;
		state->rx_end = 0;
		memset(state->rx_window, 0, sizeof(state->rx_window));
	}
	octets_wipe(block, sizeof(block));
	return result;
}

/*
 * ChaCha20-Poly1305 runs in OpenSSL's TLS mode, the one libssl uses itself: the control call takes the 13 octets of additional
 * data, makes the nonce of RFC 7905 from the record number in them, and one EVP_Cipher() does all. That costs 170 to 200 ns a
 * record less than the general interface. AES-GCM gains nothing from it and would choose the explicit nonce itself.
 */
static EVP_CIPHER_CTX *cipher_context(const struct record_state *state, bool seal) {
	static const char *const names[] = {
		[RECORD_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
		[RECORD_AES128_GCM] = "AES-128-GCM",
		[RECORD_AES256_GCM] = "AES-256-GCM",
	};
	const uint8_t *key = seal ? state->tx_key : state->rx_key;
	const uint8_t *iv = seal ? state->tx_iv : state->rx_iv;
	EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, names[state->cipher], NULL);
	EVP_CIPHER_CTX *context = cipher ? EVP_CIPHER_CTX_new() : NULL;

	bool good = context && EVP_CipherInit_ex2(context, cipher, key, NULL, seal, NULL) == 1;
	if (good && state->cipher == RECORD_CHACHA20_POLY1305)
		good = EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IV_FIXED, 12, (void *)iv) == 1;
	EVP_CIPHER_free(cipher);
	if (good)
		return context;
	EVP_CIPHER_CTX_free(context);
	return NULL;
}

int record_layer_start(struct record_layer *layer) {
	if (layer->state.cipher < RECORD_CHACHA20_POLY1305 || layer->state.cipher > RECORD_AES256_GCM)
		return -EINVAL;
	layer->seal = cipher_context(&layer->state, true);
	layer->open = cipher_context(&layer->state, false);
	if (layer->seal && layer->open)
		return 0;
	record_layer_stop(layer);
	return -EIO;
}

void record_layer_stop(struct record_layer *layer) {
	EVP_CIPHER_CTX_free(layer->seal);
	EVP_CIPHER_CTX_free(layer->open);
	layer->seal = layer->open = NULL;
	layer->shared = NULL;
	octets_wipe(&layer->state, sizeof(layer->state));
}

int record_state_share(const struct record_state *state, struct fastpath_record *shared) {
	if (state->cipher != RECORD_CHACHA20_POLY1305)
		return -EINVAL;
	if (state->rx_end != 0)
		return -EBUSY;
	memcpy(shared, state, sizeof(*shared));
	memset(shared->rx_window, 0, sizeof(shared->rx_window));
	return 0;
}

int record_next(struct reader *r, struct record *ret) {
	struct reader start = *r;
	struct record record = {.type = reader_u8(r), .version = reader_u16(r), .epoch = reader_u16(r)};

	record.number = (uint64_t)reader_u16(r) << 32;
	record.number |= reader_u32(r);
	struct octets body = reader_vector16(r);
	if (r->error != 0)
		return -EBADMSG;
	record.length = RECORD_HEADER + body.length;
	record.whole = (uint8_t *)reader_octets(&start, record.length).data; /* the buffer is ours */
	*ret = record;
	return 0;
}

static bool window_accepts(const struct record_state *state, uint64_t number) {
	if (number >= state->rx_end)
		return true;
	if (state->rx_end - number > RECORD_WINDOW)
		return false;
	return !(state->rx_window[number / 64 % RECORD_WINDOW_WORDS] >> (number % 64) & 1);
}

/* As RFC 6479: a ring of words, cleared as the window moves over them; no shifting. */
static void window_commit(struct record_state *state, uint64_t number) {
	if (number >= state->rx_end) {
		uint64_t from = state->rx_end == 0 ? 0 : (state->rx_end - 1) / 64 + 1, to = number / 64;

		if (to >= from + RECORD_WINDOW_WORDS)
			from = to + 1 - RECORD_WINDOW_WORDS;
		for (; from <= to; from++)
			state->rx_window[from % RECORD_WINDOW_WORDS] = 0;
		state->rx_end = number + 1;
	}
	state->rx_window[number / 64 % RECORD_WINDOW_WORDS] |= UINT64_C(1) << (number % 64);
}

/* epoch and number, type, version, length of the plaintext (RFC 5246 6.2.3.3) */
static void additional_data(uint8_t out[static 13], uint64_t number, uint8_t type, size_t length) {
	put_u64(out, (uint64_t)RECORD_EPOCH << 48 | number);
	out[8] = type;
	put_u16(out + 9, RECORD_VERSION);
	put_u16(out + 11, (uint16_t)length);
}

static int gcm_open(EVP_CIPHER_CTX *context, const struct record_state *state, const uint8_t *nonce, uint8_t *text, size_t length,
		    const uint8_t additional[static 13]) {
	uint8_t iv[12];
	int count;

	memcpy(iv, state->rx_iv, 4);
	memcpy(iv + 4, nonce, RECORD_EXPLICIT_NONCE);
	if (EVP_DecryptInit_ex2(context, NULL, NULL, iv, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, RECORD_TAG, text + length) != 1 ||
	    EVP_DecryptUpdate(context, NULL, &count, additional, 13) != 1 ||
	    EVP_DecryptUpdate(context, text, &count, text, (int)length) != 1 ||
	    EVP_DecryptFinal_ex(context, text + length, &count) != 1)
		return -EKEYREJECTED;
	return 0;
}

int record_open(struct record_layer *layer, const struct record *record, uint8_t **ret_plain, size_t *ret_length) {
	struct record_state *state = &layer->state;
	size_t prefix = record_prefix(state);
	uint8_t additional[13];
	int result;

	if (record->epoch != RECORD_EPOCH)
		return -EPROTO;
	if (record->version != RECORD_VERSION || record->length < prefix + RECORD_TAG ||
	    record->length - prefix - RECORD_TAG > RECORD_PLAINTEXT_MAX)
		return -EBADMSG;
	if (layer->shared ? !link_window_would_accept(layer->shared, record->number)
			  : !window_accepts(state, record->number)) /* B-6.4.2.1-03 */
		return -ESTALE;
	uint8_t *text = record->whole + prefix;
	size_t length = record->length - prefix - RECORD_TAG;
	if (state->cipher == RECORD_CHACHA20_POLY1305) {
		/* TLS mode takes the length with the tag and subtracts it itself. */
		additional_data(additional, record->number, record->type, length + RECORD_TAG);
		bool good = EVP_CIPHER_CTX_ctrl(layer->open, EVP_CTRL_AEAD_TLS1_AAD, 13, additional) > 0 &&
			    EVP_Cipher(layer->open, text, text, (unsigned)(length + RECORD_TAG)) == (int)length;
		result = good ? 0 : -EKEYREJECTED;
	} else {
		additional_data(additional, record->number, record->type, length);
		result = gcm_open(layer->open, state, text - RECORD_EXPLICIT_NONCE, text, length, additional);
	}
	if (result < 0)
		return result;
	if (layer->shared) {
		/* Somebody else may have accepted it meanwhile: then it is theirs. */
		while ((result = link_window_accept(layer->shared, record->number)) < 0)
			;
		if (result == 0)
			return -ESTALE;
	} else {
		window_commit(state, record->number);
	}
	*ret_plain = text;
	*ret_length = length;
	return 0;
}

static int gcm_seal(EVP_CIPHER_CTX *context, const struct record_state *state, const uint8_t *nonce, uint8_t *text, size_t length,
		    const uint8_t additional[static 13]) {
	uint8_t iv[12];
	int count;

	memcpy(iv, state->tx_iv, 4);
	memcpy(iv + 4, nonce, RECORD_EXPLICIT_NONCE);
	if (EVP_EncryptInit_ex2(context, NULL, NULL, iv, NULL) != 1 ||
	    EVP_EncryptUpdate(context, NULL, &count, additional, 13) != 1 ||
	    EVP_EncryptUpdate(context, text, &count, text, (int)length) != 1 ||
	    EVP_EncryptFinal_ex(context, text + length, &count) != 1 ||
	    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG, text + length) != 1)
		return -EIO;
	return 0;
}

ssize_t record_seal(struct record_layer *layer, enum record_type type, uint8_t *buffer, size_t length) {
	struct record_state *state = &layer->state;
	size_t prefix = record_prefix(state);
	uint8_t additional[13], *text = buffer + prefix;

	if (length > RECORD_PLAINTEXT_MAX)
		return -EMSGSIZE;
	/* claimed, whatever happens below */
	uint64_t number = layer->shared			       ? link_claim_number(layer->shared)
			  : state->tx_next > RECORD_NUMBER_MAX ? state->tx_next
							       : state->tx_next++;
	if (number > RECORD_NUMBER_MAX)
		return -EOVERFLOW;
	additional_data(additional, number, (uint8_t)type, length);

	buffer[0] = (uint8_t)type;
	put_u16(buffer + 1, RECORD_VERSION);
	memcpy(buffer + 3, additional, 8);
	put_u16(buffer + 11, (uint16_t)(prefix - RECORD_HEADER + length + RECORD_TAG));
	if (state->cipher == RECORD_CHACHA20_POLY1305) {
		if (EVP_CIPHER_CTX_ctrl(layer->seal, EVP_CTRL_AEAD_TLS1_AAD, 13, additional) <= 0 ||
		    EVP_Cipher(layer->seal, text, text, (unsigned)(length + RECORD_TAG)) != (int)(length + RECORD_TAG))
			return -EIO;
	} else {
		/* Any value never used before will do as explicit nonce (RFC 5288 3): the record number is one. */
		memcpy(buffer + RECORD_HEADER, additional, RECORD_EXPLICIT_NONCE);
		int result = gcm_seal(layer->seal, state, additional, text, length, additional);
		if (result < 0)
			return result;
	}
	return (ssize_t)(prefix + length + RECORD_TAG);
}
