/* SPDX-License-Identifier: BSD-2-Clause */
/* SHA-256 over several views, with the algorithm fetched once. */
#pragma once

#include "base/octets.h"

enum { SHA256_LENGTH = 32 };

/* 0 or -ENOMEM. */
int digest_sha256(const struct octets *parts, size_t count, uint8_t ret[static SHA256_LENGTH]);
