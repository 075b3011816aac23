/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
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
