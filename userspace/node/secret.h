/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The shared secret of an overlay that admits by one (RFC 6940 13.4): from the file that `shared-secret` in [node] names, or from
 * the configuration document.
 */
#pragma once

#include "overlay/config.h"

/*
 * `path` may be NULL. *ret is NULL when there is no secret, else freed by secret_free(). The file must be readable by its owner
 * alone; one line end at its end is not part of the secret. Where file and document both have one they must be the same. `reason`
 * (size octets) receives one sentence. -EACCES, -EINVAL, -ENOMEM, or what opening the file gave.
 */
int secret_load(const char *path, const struct overlay_config *config, char **ret, char *reason, size_t size);

/* Wipes and frees. */
char *secret_free(char *secret);
