/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Putting several files in place together: configuration document, certificate and key. Whatever ends it, a signal, a full disk or
 * a power cut, afterwards either all files are as before or all are new.
 *
 * New contents are first written beside their places, as PATH.new. Then a journal says what they are; with its rename the new state
 * is decided. Then each file is renamed into its place, and the journal goes. install_complete() carries out what a journal says.
 */
#pragma once

#include "base/cleanup.h"
#include "overlay/certificate.h"

#include <sys/types.h>

enum { INSTALL_FILES_MAX = 4, INSTALL_REASON_SIZE = 512 };

struct install_file {
	const char *path;
	struct octets content;
	mode_t mode;
};

/* Called in front of every change on disk with what it is about to do; false: nothing more is done, as if the power were cut there.
 * For tests; may be NULL. */
struct install_probe {
	void *userdata;
	bool (*step)(void *userdata, const char *what, const char *path);
};

/*
 * The directories must exist; new files get their owners when root installs them. -EINTR: the probe ended it. After another failure
 * everything is as before, unless `reason` says that it will be completed later. `reason` receives one sentence.
 */
int install_files(const char *journal, const struct install_file *files, size_t count, const struct install_probe *probe,
		  char reason[static INSTALL_REASON_SIZE]);

/*
 * Completes what a journal says, and removes what an attempt left that was given up before it had one. `paths`: the places it may
 * concern. 0 nothing was to be completed, 1 it was; -EBADMSG the journal does not fit what is there, with one sentence.
 */
int install_complete(const char *journal, const char *const *paths, size_t count, char reason[static INSTALL_REASON_SIZE]);

/* Of a credential STEM.crt with STEM.key, and the document installed with it (may be NULL). The journal is STEM.install. */
struct install_credential {
	const char *stem;
	const char *document_path;
	const struct install_probe *probe;
};

/* `document`: OCTETS_NONE leaves it as it is; `key`: false leaves the key as it is. */
int install_credential(const struct install_credential *place, struct octets document, mode_t document_mode,
		       const struct credential *credential, bool key, char reason[static INSTALL_REASON_SIZE]);
int install_credential_complete(const struct install_credential *place, char reason[static INSTALL_REASON_SIZE]);

/* Completes every credential of a directory; one that cannot be completed does not keep the others from it, and the last reason
 * stands. A missing directory is nothing to do. */
int install_directory_complete(const char *directory, char reason[static INSTALL_REASON_SIZE]);
