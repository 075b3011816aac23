/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Maps, programs and attachments that outlive the daemon: names in a directory of a bpf file system, of this daemon alone. Whatever
 * of it is not whole, or has another layout, is removed and made anew. Keys are in there: the directory is its owner's alone.
 */
#pragma once

#include "base/cleanup.h"

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PINS_DIRECTORY "/sys/fs/bpf/ringgate"

enum { PINS_REASON_SIZE = 256 };

struct pins;

/*
 * Makes the directory when it is missing, and locks it. `reason` tells in words why not: -EOPNOTSUPP not in a bpf file system,
 * -EBUSY another daemon has it, -EPERM others may write there, -ENOENT and others of mkdir(2).
 */
int pins_open(const char *directory, struct pins **ret, char reason[static PINS_REASON_SIZE]);

/* What is pinned stays. */
struct pins *pins_close(struct pins *pins);
DEFINE_CLEANUP(struct pins *, pins_close)

const char *pins_directory(const struct pins *pins);

/*
 * Before `object` is loaded: its maps become those that are pinned, if all of them are there and fit, and `fits` agrees, which is
 * called with a function that gives a descriptor of a map. *ret_adopted tells whether they did; if not, nothing is pinned any more,
 * and a line in the log says so, unless there was nothing. The map `scratch` is no reason to refuse. Negative: out of descriptors.
 */
typedef int (*pins_map)(void *userdata, const char *name);
int pins_adopt(struct pins *pins, struct bpf_object *object, const char *scratch, bool (*fits)(pins_map map, void *userdata),
	       bool *ret_adopted);

/* After it was loaded: pins maps that are not, and programs in place of those that are. */
int pins_keep(struct pins *pins, struct bpf_object *object, char reason[static PINS_REASON_SIZE]);

/* Attachments, by the interface. pins_link(): the descriptor, -ENOENT, or -ESTALE when the interface is gone; then the pin goes
 * too. */
int pins_link(struct pins *pins, unsigned ifindex);
int pins_link_keep(struct pins *pins, unsigned ifindex, int link);
void pins_link_remove(struct pins *pins, unsigned ifindex);

/* Removes all pins, attachments first, and wipes the keys in the maps. The directory and its lock stay until pins_close(). */
void pins_clear(struct pins *pins);

/* The same and the directory too, for an operator whose daemon does not come back. -EBUSY: a daemon is using it; -ENOENT. */
int pins_remove(const char *directory, char reason[static PINS_REASON_SIZE]);
