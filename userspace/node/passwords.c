/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/passwords.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/table.h"
#include "usages/usages.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { VARIANTS = 2 /* user name without and with the domain */, DIGEST_OCTETS = 32 };

struct entry {
	uint8_t ha1[SIP_DIGESTS][VARIANTS][DIGEST_OCTETS];
	UT_hash_handle hh;
	char aor[];
};

struct passwords {
	char *path;
	struct entry *entries;
	struct stat seen; /* of the file as it was read; st_ino 0: there was none */
	bool complained;  /* about not being able to read it */
};

static const char header[] = "# Passwords of SIP phones, hashed; written by \"ringgatectl sip passwd\".\n";

static size_t digest_octets(enum sip_digest algorithm) {
	return algorithm == SIP_DIGEST_MD5 ? 16 : 32;
}

/* ---- lines ---- */

static int hexadecimal_read(const char *text, size_t length, uint8_t *ret) {
	if (strlen(text) != 2 * length)
		return -EINVAL;
	for (size_t i = 0; i < 2 * length; i++) {
		const char *digits = "0123456789abcdef", *digit = strchr(digits, text[i]);
		if (!digit)
			return -EINVAL;
		ret[i / 2] = (uint8_t)(ret[i / 2] << 4 | (digit - digits));
	}
	return 0;
}

static void hexadecimal_write(const uint8_t *octets, size_t length, char *ret) {
	for (size_t i = 0; i < length; i++)
		sprintf(ret + 2 * i, "%02x", octets[i]);
}

static bool is_aor(const char *text) {
	char aor[USER_NAME_MAX + 1];

	return strlen(text) <= USER_NAME_MAX && strchr(text, '@') && sip_aor_of_uri(text, aor, sizeof(aor)) == 0 &&
	       strcmp(aor, text) == 0;
}

/* An entry of its own for a line; the line is cut into words. Returns -EINVAL, -ENOMEM. */
static int entry_read(char *line, struct entry **ret) {
	char *state = NULL, *aor = strtok_r(line, " \t\r\n", &state);

	if (!aor || !is_aor(aor))
		return -EINVAL;
	struct entry *entry = calloc(1, sizeof(*entry) + strlen(aor) + 1);
	if (!entry)
		return -ENOMEM;
	strcpy(entry->aor, aor);
	bool good = true;
	for (unsigned i = 0; good && i < SIP_DIGESTS; i++) {
		const char *name = strtok_r(NULL, " \t\r\n", &state);
		good = name && strcmp(name, digest_name(i)) == 0;
		for (size_t variant = 0; good && variant < VARIANTS; variant++) {
			const char *hash = strtok_r(NULL, " \t\r\n", &state);
			good = hash && hexadecimal_read(hash, digest_octets(i), entry->ha1[i][variant]) == 0;
		}
	}
	if (!good || strtok_r(NULL, " \t\r\n", &state)) {
		free(entry);
		return -EINVAL;
	}
	*ret = entry;
	return 0;
}

static bool is_comment(const char *line) {
	return line[strspn(line, " \t\r\n")] == 0 || line[strspn(line, " \t")] == '#';
}

/* ---- reading ---- */

static void entries_free(struct entry *entries) {
	struct entry *entry, *next;

	HASH_ITER (hh, entries, entry, next) {
		HASH_DEL(entries, entry);
		octets_wipe(entry->ha1, sizeof(entry->ha1));
		free(entry);
	}
}

static int entries_add(struct entry **entries, struct entry *entry) {
	struct entry *former = NULL;

	HASH_FIND_STR(*entries, entry->aor, former);
	if (!former && HASH_COUNT(*entries) >= PASSWORDS_MAX)
		return -E2BIG;
	if (former) { /* the last line of a user counts */
		HASH_DEL(*entries, former);
		free(former);
	}
	HASH_ADD_STR(*entries, aor, entry);
	return entry->hh.tbl ? 0 : -ENOMEM;
}

/* Lines that make no sense are logged and left out, so that one of them does not lock out a site. */
static int entries_load(FILE *file, const char *path, struct entry **entries) {
	char line[PASSWORDS_LINE_MAX + 2];
	unsigned number = 0;

	while (fgets(line, sizeof(line), file)) {
		struct entry *entry = NULL;
		bool whole = strchr(line, '\n') || feof(file);
		number++;
		for (int c = 0; !whole && c != '\n' && c != EOF;)
			c = fgetc(file);
		if (whole && is_comment(line))
			continue;
		int error = whole ? entry_read(line, &entry) : -EINVAL;
		if (error == 0)
			error = entries_add(entries, entry);
		if (error < 0)
			free(entry);
		if (error == -ENOMEM)
			return error;
		if (error == -E2BIG) {
			log_error("%s: more than %d users; the others cannot register.", path, PASSWORDS_MAX);
			break;
		}
		if (error < 0)
			log_warning("%s:%u: this is not a user with hashes of a password; the line is left out.", path, number);
	}
	octets_wipe(line, sizeof(line));
	return ferror(file) ? -EIO : 0;
}

static bool same_file(const struct stat *a, const struct stat *b) {
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static void complain(struct passwords *passwords, int error) {
	if (!passwords->complained)
		log_error("The SIP passwords of %s cannot be read: %s.", passwords->path, strerror(-error));
	passwords->complained = true;
}

/* What was read before stays in force while the file cannot be read. */
static void reload(struct passwords *passwords) {
	_cleanup_fclose_ FILE *file = NULL;
	struct entry *entries = NULL;
	struct stat now;

	if (stat(passwords->path, &now) < 0) {
		if (errno != ENOENT)
			return complain(passwords, -errno);
		now = (struct stat){0};
	}
	if (same_file(&now, &passwords->seen))
		return;
	if (now.st_ino != 0) {
		file = fopen(passwords->path, "re");
		if (!file || fstat(fileno(file), &now) < 0)
			return complain(passwords, -errno);
		if (now.st_mode & 077)
			log_warning("%s: others than its owner have access; its mode should be 0600.", passwords->path);
		int error = entries_load(file, passwords->path, &entries);
		if (error < 0) {
			entries_free(entries);
			return complain(passwords, error);
		}
	}
	entries_free(passwords->entries);
	passwords->entries = entries;
	passwords->seen = now;
	passwords->complained = false;
	if (now.st_ino != 0)
		log_info("SIP passwords of %u users read from %s.", HASH_COUNT(entries), passwords->path);
}

int passwords_new(const char *path, struct passwords **ret) {
	struct passwords *passwords = calloc(1, sizeof(*passwords));

	if (!passwords)
		return -ENOMEM;
	passwords->path = strdup(path);
	if (!passwords->path) {
		free(passwords);
		return -ENOMEM;
	}
	reload(passwords);
	*ret = passwords;
	return 0;
}

struct passwords *passwords_free(struct passwords *passwords) {
	if (!passwords)
		return NULL;
	entries_free(passwords->entries);
	free(passwords->path);
	free(passwords);
	return NULL;
}

bool passwords_ha1(struct passwords *passwords, const char *username, const char *realm, enum sip_digest algorithm,
		   char ret[static SIP_DIGEST_SIZE]) {
	const char *at = strrchr(username, '@');
	char aor[USER_NAME_MAX + 1];
	struct entry *entry = NULL;

	int length = at ? snprintf(aor, sizeof(aor), "%s", username) : snprintf(aor, sizeof(aor), "%s@%s", username, realm);
	if (length >= (int)sizeof(aor) || (at && strcmp(at + 1, realm) != 0))
		return false;
	reload(passwords);
	HASH_FIND_STR(passwords->entries, aor, entry);
	if (entry)
		hexadecimal_write(entry->ha1[algorithm][at ? 1 : 0], digest_octets(algorithm), ret);
	return entry != NULL;
}

size_t passwords_count(struct passwords *passwords) {
	reload(passwords);
	return HASH_COUNT(passwords->entries);
}

/* ---- writing ---- */

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, PASSWORDS_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

static int write_entry(FILE *file, const char *aor, const char *password) {
	const char *domain = strrchr(aor, '@') + 1;
	char name[USER_NAME_MAX + 1], hash[SIP_DIGEST_SIZE];

	fprintf(file, "%s", aor);
	for (unsigned i = 0; i < SIP_DIGESTS; i++) {
		fprintf(file, " %s", digest_name(i));
		for (size_t variant = 0; variant < VARIANTS; variant++) {
			int length = variant == 0 ? (int)(domain - 1 - aor) : (int)strlen(aor);
			snprintf(name, sizeof(name), "%.*s", length, aor);
			int error = digest_ha1(i, name, domain, password, hash);
			if (error < 0)
				return error;
			fprintf(file, " %s", hash);
		}
	}
	octets_wipe(hash, sizeof(hash));
	fprintf(file, "\n");
	return 0;
}

/* Everything but the line of `aor`. Returns how many lines that were, or -EIO. */
static int copy_others(FILE *from, FILE *to, const char *aor) {
	_cleanup_free_ char *line = NULL;
	size_t size = 0, length = strlen(aor);
	int found = 0;

	while (getline(&line, &size, from) >= 0) {
		const char *start = line + strspn(line, " \t");
		bool its = strncmp(start, aor, length) == 0 && strchr(" \t\r\n", start[length]);
		found += its;
		if (!its)
			fputs(line, to);
		if (!its && line[0] && line[strlen(line) - 1] != '\n')
			fputc('\n', to);
		octets_wipe(line, strlen(line));
	}
	return ferror(from) ? -EIO : found;
}

static int replace(const char *path, int temporary_fd, const char *temporary, const char *aor, const char *password) {
	_cleanup_fclose_ FILE *from = fopen(path, "re");
	int fd = dup(temporary_fd), found = 0, error = 0;
	_cleanup_fclose_ FILE *to = fd >= 0 ? fdopen(fd, "w") : NULL;

	if (!from && errno != ENOENT)
		return -errno;
	if (!to) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	if (from)
		found = copy_others(from, to, aor);
	else
		fputs(header, to);
	if (found < 0)
		return found;
	if (!password && found == 0)
		return -ENOENT;
	if (password)
		error = write_entry(to, aor, password);
	if (error == 0 && (fflush(to) != 0 || ferror(to) || fsync(temporary_fd) < 0 || rename(temporary, path) < 0))
		error = -errno;
	return error;
}

int passwords_set(const char *path, const char *aor, const char *password, char reason[static PASSWORDS_REASON_SIZE]) {
	char directory[PATH_MAX], temporary[PATH_MAX];
	struct stat owner;

	if (!is_aor(aor))
		return fail(reason, -EINVAL,
			    "%.200s is no address of record such as alice@example.org, with its domain in lower case.", aor);
	if (snprintf(directory, sizeof(directory), "%s", path) >= (int)sizeof(directory) || !strrchr(directory, '/') ||
	    snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return fail(reason, -EINVAL, "%.200s is not an absolute path, or too long.", path);
	*(strrchr(directory, '/') + 1) = 0;
	_cleanup_close_ int lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0 || fstat(lock, &owner) < 0)
		return fail(reason, -errno, "%.300s: %s.", directory, strerror(errno));
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return fail(reason, -errno, "%.300s cannot be made: %s.", temporary, strerror(errno));
	/* The operator writes it as root, the daemon reads it as the owner of its directory. */
	int error = geteuid() == 0 && fchown(fd, owner.st_uid, owner.st_gid) < 0 ? -errno : 0;
	if (error == 0)
		error = replace(path, fd, temporary, aor, password);
	if (error == 0)
		return fsync(lock) < 0 ? fail(reason, -errno, "%.300s: %s.", directory, strerror(errno)) : 0;
	unlink(temporary);
	if (error == -ENOENT && !password)
		return fail(reason, error, "%.200s has no password in %.200s.", aor, path);
	return fail(reason, error, "%.300s cannot be written: %s.", path, strerror(-error));
}
