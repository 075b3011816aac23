/* SPDX-License-Identifier: BSD-2-Clause */
/* A picture of a simulated overlay. */
#pragma once

#include "sim/world.h"

/* Writes the ring and its figures as SVG, in place of what was there. 0 or negative errno. */
int sim_picture_write(struct sim_world *world, const char *path);
