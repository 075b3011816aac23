/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hash tables (uthash) whose insertions fail when there is no memory, instead of ending the program: the element is left out then,
 * and its `hh.tbl` is NULL. Elements must be zeroed, or set as a whole, before they are inserted.
 */
#pragma once

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
