/* SPDX-License-Identifier: BSD-2-Clause */
/* What the analyzer reads in place of uthash's loops over a key and its table, which it follows into states that cannot be. */
#pragma once

#include <stddef.h>

unsigned lint_hash(const void *key, size_t length);
void *lint_deleted(void *head, const void *handle);

#define HASH_FUNCTION(key, length, hash) ((hash) = lint_hash(key, length))

#include_next <uthash.h>

#undef HASH_DELETE_HH
#define HASH_DELETE_HH(hh, head, handle) ((head) = lint_deleted(head, handle))
