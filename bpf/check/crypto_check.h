/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The value that crypto_check.bpf.c and its test share. */
#pragma once

#include "aead.h"

struct crypto_check {
	struct chacha20 chacha;
	struct poly1305 poly;
	struct fastpath_record record;
	__u64 number;
	__u32 length;
	__u32 reserved;
	struct fastpath_pad pad;
	struct record_buffer buffer;
};
