/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program the daemon runs beside itself, for what must not block its loop and what it should not hold itself: HTTPS, DNS,
 * passwords. One run has a time limit; what it prints is kept up to a bound.
 */
#pragma once

#include <systemd/sd-event.h>

enum { HELPER_OUTPUT_MAX = 4096 /* octets kept of standard output and error; more is read and thrown away */ };

struct helper;

/* `status`: the exit status, -ETIMEDOUT, or -EINTR when a signal ended it. `output`: one text, its last line without newline.
 * The helper is gone when it is called. */
typedef void (*helper_done)(void *userdata, int status, const char *output);

/*
 * Starts `program` (an absolute path, or a name that is looked for beside the running program and then in PATH) with `arguments`,
 * which begin with its name and end with NULL. Its standard input is empty and no other descriptor of ours is open in it. Negative
 * errno.
 */
int helper_start(sd_event *event, const char *program, const char *const arguments[], unsigned limit_s, helper_done done,
		 void *userdata, struct helper **ret);

/* Kills it; `done` is not called. */
struct helper *helper_free(struct helper *helper);
