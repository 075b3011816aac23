/* SPDX-License-Identifier: BSD-2-Clause */
/* What ringgate-sim says about a run. `wall_s`: seconds that it took. */
#pragma once

#include "sim/play.h"

/* To stdout, for a person or as one JSON object. */
void sim_report_text(const struct sim_play_settings *play, const struct sim_result *result, double wall_s);
void sim_report_json(const struct sim_play_settings *play, const struct sim_result *result, double wall_s);

/* Which check failed, what had happened, and how to see it again: to stderr. */
void sim_report_violation(const struct sim_play_settings *play, const struct sim_result *result);
