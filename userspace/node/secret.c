/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/secret.h"

#include "base/log.h"
#include "base/octets.h"
#include "link/secure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *secret_free(char *secret) {
	if (secret)
		octets_wipe(secret, strlen(secret));
	free(secret);
	return NULL;
}

static int check_owner(int fd, const char *path, char *reason, size_t size) {
	struct stat status;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		snprintf(reason, size, "%.200s: the shared secret must be a regular file.", path);
		return -EINVAL;
	}
	if (status.st_mode & (S_IRWXG | S_IRWXO)) {
		snprintf(reason, size, "%.200s: others can read the shared secret; run: chmod 600 %.200s", path, path);
		return -EACCES;
	}
	return 0;
}

static int read_file(const char *path, char text[static SECURE_SECRET_MAX + 2], char *reason, size_t size) {
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t length = 0;
	ssize_t got = 0;

	if (fd < 0) {
		int error = -errno;
		snprintf(reason, size, "%.200s: the shared secret cannot be read: %s.", path, strerror(-error));
		return error;
	}
	int error = check_owner(fd, path, reason, size);
	if (error < 0)
		return error;
	while (length < SECURE_SECRET_MAX + 2 && (got = read(fd, text + length, SECURE_SECRET_MAX + 2 - length)) > 0)
		length += (size_t)got;
	if (length > 0 && text[length - 1] == '\n')
		length--;
	if (got < 0 || length == 0 || length > SECURE_SECRET_MAX || memchr(text, 0, length)) {
		snprintf(reason, size, "%.200s: a shared secret has 1 to %d octets, none of them NUL.", path, SECURE_SECRET_MAX);
		return -EINVAL;
	}
	text[length] = 0;
	return 0;
}

int secret_load(const char *path, const struct overlay_config *config, char **ret, char *reason, size_t size) {
	char text[SECURE_SECRET_MAX + 2];
	const char *in_document = config->shared_secret;
	int error = 0;

	if (!path && !in_document) {
		*ret = NULL;
		return 0;
	}
	if (in_document && strlen(in_document) > SECURE_SECRET_MAX) {
		snprintf(reason, size, "The shared secret in the configuration document is longer than %d octets.",
			 SECURE_SECRET_MAX);
		return -EINVAL;
	}
	if (path)
		error = read_file(path, text, reason, size);
	else
		strcpy(text, in_document);
	if (error == 0 && path && in_document && strcmp(text, in_document) != 0) {
		snprintf(reason, size, "%.200s: this shared secret is not the one in the configuration document.", path);
		error = -EINVAL;
	}
	char *secret = error == 0 ? strdup(text) : NULL;
	octets_wipe(text, sizeof(text));
	if (error < 0)
		return error;
	if (!secret) {
		snprintf(reason, size, "Not enough memory for the shared secret.");
		return -ENOMEM;
	}
	if (strlen(secret) < SECURE_SECRET_SHORT)
		log_warning("The overlay's shared secret is shorter than %d characters: who records one handshake may guess it.",
			    SECURE_SECRET_SHORT);
	*ret = secret;
	return 0;
}
