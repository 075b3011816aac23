/* SPDX-License-Identifier: BSD-2-Clause */
/* What the analyzer has to know of errno: where it is read something has failed, so -errno is negative. Some errors stand for all. */
#include_next <errno.h>

#if !defined(LINT_ERRNO) && defined(errno)
#define LINT_ERRNO

int lint_choice(void);

static inline int *lint_errno(void) {
	static int error;

	error = lint_choice() ? EIO : lint_choice() ? EINTR : EAGAIN;
	return &error;
}

#undef errno
#define errno (*lint_errno())
#endif
