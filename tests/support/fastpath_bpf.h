/* SPDX-License-Identifier: BSD-2-Clause */
/* Can this machine load kernel programs for us? */
#pragma once

#include <stdbool.h>

/* NULL when it can, else why not. */
const char *fastpath_unavailable(void);

/* For cmocka tests: prints "SKIP reason" and skips when it cannot. */
#define FASTPATH_OR_SKIP()                                                                                                         \
	do {                                                                                                                       \
		const char *_reason = fastpath_unavailable();                                                                      \
		if (_reason) {                                                                                                     \
			print_message("SKIP %s\n", _reason);                                                                       \
			skip();                                                                                                    \
		}                                                                                                                  \
	} while (0)
