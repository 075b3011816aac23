/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

int log_level = LOG_INFO;

static const char *log_name = "ringgate";
static bool log_to_journal;

void log_open(const char *name) {
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	log_name = name;
	/* A number too large is none of a file. NOLINTNEXTLINE(cert-err34-c) */
	log_to_journal = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &status) == 0 &&
			 status.st_dev == device && status.st_ino == inode;
}

int log_level_parse(const char *text, int *ret) {
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

	for (size_t i = 0; i < ARRAY_LENGTH(levels); i++) {
		if (strcmp(text, levels[i].name) == 0) {
			*ret = levels[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

void log_line(int level, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	if (log_to_journal) {
		sd_journal_printv(level, format, arguments);
	} else {
		fprintf(stderr, "%s: ", log_name);
		vfprintf(stderr, format, arguments);
		fputc('\n', stderr);
	}
	va_end(arguments);
}
