/* SPDX-License-Identifier: BSD-2-Clause */
/* What the analyzer reads in place of utlist's deletion, whose assertion it takes for a condition on the elements. */
#pragma once

#include_next <utlist.h>

void *lint_removed(void *head, const void *element);

#undef DL_DELETE2
#define DL_DELETE2(head, element, before, after) ((head) = lint_removed(head, element))
