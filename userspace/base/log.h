/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log lines go to the journal when the service manager is listening there, else to standard error.
 * A function either logs its failures or returns them, never both.
 */
#pragma once

#include <syslog.h>

/* Most verbose level that is still written: LOG_ERR to LOG_DEBUG. */
extern int log_level;

/* "error", "warning", "notice", "info" or "debug". -EINVAL. */
int log_level_parse(const char *text, int *ret);

/* Chooses the journal when standard error is connected to it. `name` stands in front of lines on standard error. */
void log_open(const char *name);

void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_at(level, ...) ((level) <= log_level ? log_line((level), __VA_ARGS__) : (void)0)
#define log_error(...) log_at(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_at(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_at(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)
