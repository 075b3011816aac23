/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The DTLS 1.2 record layer of an established link (RFC 6347 4.1), after OpenSSL did the handshake: epoch 1, AEAD suites with
 * CHACHA20-POLY1305 (RFC 7905) or AES-GCM (RFC 5288). No sockets, no clock, no allocation per record.
 */
#pragma once

#include "base/cleanup.h"
#include "base/octets.h"
#include "fastpath.h"

#include <openssl/evp.h>
#include <sys/types.h>

enum {
	RECORD_HEADER = 13, /* type 1, version 2, epoch 2, number 6, length 2 */
	RECORD_TAG = 16,
	RECORD_EXPLICIT_NONCE = 8, /* AES-GCM only */
	RECORD_OVERHEAD_MAX = RECORD_HEADER + RECORD_EXPLICIT_NONCE + RECORD_TAG,
	RECORD_PLAINTEXT_MAX = 16384,
	RECORD_EPOCH = 1,	 /* the only one of our own: there is no renegotiation */
	RECORD_VERSION = 0xfefd, /* DTLS 1.2 */
	RECORD_WINDOW_WORDS = 8, /* of 64 bits; one word is always being cleared */
	RECORD_WINDOW = 64 * (RECORD_WINDOW_WORDS - 1),
	RECORD_MASTER_SECRET = 48,
	RECORD_RANDOM = 32,
};

#define RECORD_NUMBER_MAX ((UINT64_C(1) << 48) - 1)

enum record_type { RECORD_CHANGE_CIPHER_SPEC = 20, RECORD_ALERT = 21, RECORD_HANDSHAKE = 22, RECORD_APPLICATION = 23 };

enum record_cipher { RECORD_CHACHA20_POLY1305 = 1, RECORD_AES128_GCM, RECORD_AES256_GCM };

/*
 * Everything the record layer of one link consists of, plain and of fixed layout, so that a kernel path can work on the same copy.
 * Rules for everybody who touches it: tx_next is claimed before a record is sealed and never goes back while the keys live
 * (a number used twice gives the key stream away); rx_* change only after the tag of that number verified.
 */
struct record_state {
	uint8_t cipher;	    /* enum record_cipher */
	uint8_t iv_length;  /* 12 CHACHA20-POLY1305, 4 AES-GCM */
	uint8_t key_length; /* 32 or 16 */
	uint8_t reserved[5];
	uint8_t tx_key[32];
	uint8_t rx_key[32];
	uint8_t tx_iv[12];
	uint8_t rx_iv[12];
	uint64_t tx_next;			 /* number the next record sent will carry, without the epoch */
	uint64_t rx_end;			 /* highest number accepted, plus one */
	uint64_t rx_window[RECORD_WINDOW_WORDS]; /* bit n mod 512: number n was accepted; valid for rx_end - RECORD_WINDOW and up */
	uint8_t local_address[16];		 /* IPv4 in the first four octets */
	uint8_t remote_address[16];
	uint16_t local_port; /* host order */
	uint16_t remote_port;
	uint16_t family; /* AF_INET or AF_INET6 */
	uint16_t mtu;	 /* octets of an IP packet on the way to the other side */
};
_Static_assert(sizeof(struct record_state) == 8 + 64 + 24 + 16 + 8 * RECORD_WINDOW_WORDS + 40, "no padding");
_Static_assert(sizeof(struct record_state) == sizeof(struct fastpath_record), "one layout");

/*
 * With `shared`, tx_next and the replay window there are the ones in use, changed by the functions of link_state.h only, because a
 * kernel program opens and seals with the same keys. Those in `state` then stand still.
 */
struct record_layer {
	struct record_state state;
	struct fastpath_record *shared; /* NULL: nobody else has these keys. Outlives the layer or the next record_layer_share() */
	EVP_CIPHER_CTX *seal, *open;	/* hold the expanded keys */
};

/*
 * Fills keys, IVs and counters from the secrets of a handshake (RFC 5246 6.3, "key expansion"). `digest` is the PRF's hash,
 * "SHA256" or "SHA384"; `tx_next` the first number we may use. Addresses and mtu are left alone. -EIO when OpenSSL fails.
 */
int record_state_derive(struct record_state *state, enum record_cipher cipher, const char *digest,
			const uint8_t master[static RECORD_MASTER_SECRET], const uint8_t client_random[static RECORD_RANDOM],
			const uint8_t server_random[static RECORD_RANDOM], bool client, uint64_t tx_next);

/* Makes the cipher contexts for layer->state. -ENOMEM, -EIO. */
int record_layer_start(struct record_layer *layer);

/*
 * Copies keys, counters and addresses to `shared`, for a link that has not accepted any record yet: the two replay windows have
 * different forms. -EBUSY when it has, -EINVAL for a cipher the kernel does not know.
 */
int record_state_share(const struct record_state *state, struct fastpath_record *shared);

/* From now on counters and window are those of `shared`, to which record_state_share() has copied this link. */
static inline void record_layer_share(struct record_layer *layer, struct fastpath_record *shared) {
	layer->shared = shared;
}

/* Frees the contexts and wipes the keys; those in `shared` are their owner's business. */
void record_layer_stop(struct record_layer *layer);

/* One record of a datagram; `whole` starts at the header. */
struct record {
	uint8_t type;
	uint16_t version, epoch;
	uint64_t number;
	uint8_t *whole;
	size_t length;
};

/* Takes the next record from a datagram in a buffer we may write to. -EBADMSG. */
int record_next(struct reader *r, struct record *ret);

/*
 * Opens a record in place. 0, -EPROTO other epoch, -EBADMSG malformed, -ESTALE replayed or too old, -EKEYREJECTED forged;
 * after the last one the record's octets are destroyed. *ret_plain points into the record.
 */
int record_open(struct record_layer *layer, const struct record *record, uint8_t **ret_plain, size_t *ret_length);

/* Octets in front of the plaintext in a sealed record. */
static inline size_t record_prefix(const struct record_state *state) {
	return state->cipher == RECORD_CHACHA20_POLY1305 ? RECORD_HEADER : RECORD_HEADER + RECORD_EXPLICIT_NONCE;
}

static inline size_t record_overhead(const struct record_state *state) {
	return record_prefix(state) + RECORD_TAG;
}

/*
 * Seals `length` octets of plaintext, which the caller placed record_prefix() octets into `buffer`; the buffer holds
 * record_overhead() octets more than the plaintext. Returns the record's length, -EMSGSIZE, -EOVERFLOW when all numbers are used
 * up, -EIO.
 */
ssize_t record_seal(struct record_layer *layer, enum record_type type, uint8_t *buffer, size_t length);
