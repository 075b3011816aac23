/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/install.h"

#include "overlay/digest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum {
	JOURNAL_MAX = 16384, /* octets */
	FILE_MAX_OCTETS = 8 << 20,
	DIGEST_DIGITS = 2 * SHA256_LENGTH,
};

static const char journal_title[] = "ringgate-install 1\n", journal_end[] = "end\n";

DEFINE_CLEANUP(BIO *, BIO_free_all)

/* One line of a journal. */
struct entry {
	char path[PATH_MAX], staged[PATH_MAX];
	char digest[DIGEST_DIGITS + 1];
	bool in_place;
};

struct install {
	const char *journal;
	const struct install_probe *probe;
	int directory; /* of the journal, locked */
	struct entry entries[INSTALL_FILES_MAX];
	size_t count;
};

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, INSTALL_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

static bool may(const struct install *install, const char *what, const char *path) {
	return !install->probe || install->probe->step(install->probe->userdata, what, path);
}

static void install_free(struct install *install) {
	if (install && install->directory >= 0)
		close(install->directory); /* and with it the lock */
	free(install);
}
DEFINE_CLEANUP(struct install *, install_free)

static int open_parent(const char *path) {
	char copy[PATH_MAX];

	if (snprintf(copy, sizeof(copy), "%s", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int sync_parent(const char *path) {
	_cleanup_close_ int fd = open_parent(path);

	return fd < 0 ? fd : fsync(fd) < 0 ? -errno : 0;
}

/* Two that install at the same place wait for each other, for the few milliseconds this takes. */
static int install_open(const char *journal, const struct install_probe *probe, struct install **ret) {
	_cleanup_(install_freep) struct install *install = calloc(1, sizeof(*install));

	if (!install)
		return -ENOMEM;
	install->journal = journal;
	install->probe = probe;
	install->directory = open_parent(journal);
	if (install->directory < 0)
		return install->directory;
	if (flock(install->directory, LOCK_EX) < 0)
		return -errno;
	*ret = TAKE(install);
	return 0;
}

/* ---- writing ---- */

static int write_all(int fd, struct octets content) {
	for (struct reader r = reader_of_octets(content); reader_more(&r);) {
		struct octets rest = reader_rest(&r);
		ssize_t written = write(fd, rest.data, rest.length);
		if (written < 0 && errno != EINTR)
			return -errno;
		r = reader_of_octets(rest);
		reader_octets(&r, written > 0 ? (size_t)written : 0);
	}
	return 0;
}

/* A new file that belongs to the owner of its directory, and is on disk when this returns. */
static int write_new(const char *path, struct octets content, mode_t mode) {
	struct stat status;

	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	_cleanup_close_ int parent = open_parent(path);
	if (parent < 0)
		return parent;
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || fstat(parent, &status) < 0 ||
	    (geteuid() == 0 && status.st_uid != 0 && fchown(fd, status.st_uid, status.st_gid) < 0) || fchmod(fd, mode) < 0)
		return -errno;
	int error = write_all(fd, content);
	if (error == 0 && (fsync(fd) < 0 || fsync(parent) < 0))
		error = -errno;
	return error;
}

static void digest_text(struct octets content, char text[static DIGEST_DIGITS + 1]) {
	uint8_t digest[SHA256_LENGTH] = {0};

	text[0] = 0;
	if (digest_sha256(&content, 1, digest) < 0)
		return;
	for (size_t i = 0; i < SHA256_LENGTH; i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

static int set_path(struct entry *entry, const char *path) {
	return snprintf(entry->path, PATH_MAX, "%s", path) >= PATH_MAX || strchr(path, '\n') ||
			       snprintf(entry->staged, PATH_MAX, "%s.new", path) >= PATH_MAX
		       ? -ENAMETOOLONG
		       : 0;
}

/* Before the journal is there nothing has happened. */
static void give_up(const struct install *install) {
	for (size_t i = 0; i < install->count; i++)
		unlink(install->entries[i].staged);
}

static int stage(struct install *install, const struct install_file *files, size_t count) {
	for (size_t i = 0; i < count; i++) {
		struct entry *entry = &install->entries[install->count];
		int error = set_path(entry, files[i].path);
		if (error < 0)
			return error;
		digest_text(files[i].content, entry->digest);
		if (!entry->digest[0])
			return -ENOMEM;
		if (!may(install, "stage", entry->staged))
			return -EINTR;
		install->count++;
		error = write_new(entry->staged, files[i].content, files[i].mode);
		if (error < 0)
			return error;
	}
	return 0;
}

static int write_journal(const struct install *install) {
	_cleanup_(writer_release) struct writer w = writer_growing(JOURNAL_MAX);
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s.new", install->journal) >= PATH_MAX)
		return -ENAMETOOLONG;
	writer_octets(&w, octets_of_string(journal_title));
	for (size_t i = 0; i < install->count; i++) {
		writer_octets(&w, octets_of_string(install->entries[i].digest));
		writer_raw(&w, " ", 1);
		writer_octets(&w, octets_of_string(install->entries[i].path));
		writer_raw(&w, "\n", 1);
	}
	writer_octets(&w, octets_of_string(journal_end));
	int error = writer_finish(&w);
	if (error == 0 && !may(install, "journal", path))
		return -EINTR;
	if (error == 0)
		error = write_new(path, writer_octets_written(&w), 0600);
	if (error == 0 && !may(install, "decide", install->journal))
		return -EINTR;
	if (error == 0 && rename(path, install->journal) < 0)
		error = -errno;
	if (error < 0)
		unlink(path);
	return error < 0 ? error : sync_parent(install->journal);
}

/* ---- carrying out ---- */

static int read_whole(const char *path, size_t limit, struct writer *w) {
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode) || status.st_size < 0 || (size_t)status.st_size > limit)
		return -EBADMSG;
	size_t length = (size_t)status.st_size, done = 0;
	uint8_t *buffer = length > 0 ? writer_reserve(w, length) : NULL;
	while (buffer && done < length) {
		ssize_t n = pread(fd, buffer + done, length - done, (off_t)done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EBADMSG;
		done += (size_t)n;
	}
	return writer_finish(w);
}

static bool has_digest(const char *path, const char *wanted) {
	_cleanup_(writer_release) struct writer w = writer_growing(FILE_MAX_OCTETS);
	char digest[DIGEST_DIGITS + 1] = "";

	if (read_whole(path, FILE_MAX_OCTETS, &w) == 0)
		digest_text(writer_octets_written(&w), digest);
	octets_wipe(w.data, w.length);
	return digest[0] && strcmp(digest, wanted) == 0;
}

/* Is every file either still staged, whole, or in its place already? */
static int check_entries(struct install *install, char *reason) {
	for (size_t i = 0; i < install->count; i++) {
		struct entry *entry = &install->entries[i];
		if (has_digest(entry->staged, entry->digest))
			continue;
		entry->in_place = has_digest(entry->path, entry->digest);
		if (!entry->in_place)
			return fail(reason, -EBADMSG,
				    "%.150s says that %.150s was to be replaced, but neither it nor %.100s.new is what it should "
				    "become; remove the journal and enroll again.",
				    install->journal, entry->path, entry->path);
	}
	return 0;
}

static int carry_out(const struct install *install) {
	for (size_t i = 0; i < install->count; i++) {
		const struct entry *entry = &install->entries[i];
		if (entry->in_place)
			continue;
		if (!may(install, "place", entry->path))
			return -EINTR;
		if (rename(entry->staged, entry->path) < 0)
			return -errno;
	}
	for (size_t i = 0; i < install->count; i++) {
		int error = sync_parent(install->entries[i].path);
		if (error < 0)
			return error;
	}
	if (!may(install, "finish", install->journal))
		return -EINTR;
	if (unlink(install->journal) < 0)
		return -errno;
	return sync_parent(install->journal);
}

static int carry_out_or_explain(const struct install *install, char *reason) {
	int error = carry_out(install);

	if (error == -EINTR)
		return fail(reason, error, "Interrupted.");
	return error < 0 ? fail(reason, error,
				"%.300s is to be replaced, but cannot be: %s. It will be tried again at the next start.",
				install->entries[0].path, strerror(-error))
			 : 0;
}

/* ---- journals ---- */

/* The next line without its end; NULL when there is no whole one. Ends it in place. */
static char *next_line(char **at) {
	char *line = *at, *end = line ? strchr(line, '\n') : NULL;

	if (!end)
		return NULL;
	*end = 0;
	*at = end + 1;
	return line;
}

static int parse_line(struct install *install, const char *line) {
	struct entry *entry = &install->entries[install->count];

	if (install->count == INSTALL_FILES_MAX || strspn(line, "0123456789abcdef") != DIGEST_DIGITS ||
	    line[DIGEST_DIGITS] != ' ' || line[DIGEST_DIGITS + 1] != '/' || set_path(entry, line + DIGEST_DIGITS + 1) < 0)
		return -EBADMSG;
	memcpy(entry->digest, line, DIGEST_DIGITS);
	entry->digest[DIGEST_DIGITS] = 0;
	install->count++;
	return 0;
}

/* -ENOENT: there is none. */
static int read_journal(struct install *install) {
	_cleanup_(writer_release) struct writer w = writer_growing(JOURNAL_MAX + 1);
	size_t title = strlen(journal_title) - 1;

	int error = read_whole(install->journal, JOURNAL_MAX, &w);
	if (error < 0)
		return error;
	writer_u8(&w, 0);
	char *at = (char *)w.data, *line = writer_finish(&w) == 0 && strlen(at) == w.length - 1 ? next_line(&at) : NULL;
	if (!line || strlen(line) != title || strncmp(line, journal_title, title) != 0)
		return -EBADMSG;
	while ((line = next_line(&at)) && strcmp(line, "end") != 0)
		if (parse_line(install, line) < 0)
			return -EBADMSG;
	return line && *at == 0 && install->count > 0 ? 0 : -EBADMSG;
}

static void remove_staged(const struct install *install, const char *const *paths, size_t count) {
	char staged[PATH_MAX];

	for (size_t i = 0; i <= count; i++)
		if (snprintf(staged, sizeof(staged), "%s.new", i < count ? paths[i] : install->journal) < PATH_MAX)
			unlink(staged);
}

static bool is_among(const char *path, const char *const *paths, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (strcmp(path, paths[i]) == 0)
			return true;
	return false;
}

int install_complete(const char *journal, const char *const *paths, size_t count, char reason[static INSTALL_REASON_SIZE]) {
	_cleanup_(install_freep) struct install *install = NULL;

	int error = install_open(journal, NULL, &install);
	if (error == -ENOENT)
		return 0;
	if (error < 0)
		return fail(reason, error, "The directory of %.300s cannot be opened: %s.", journal, strerror(-error));
	error = read_journal(install);
	if (error == -ENOENT) {
		remove_staged(install, paths, count);
		return 0;
	}
	for (size_t i = 0; error == 0 && i < install->count; i++)
		if (!is_among(install->entries[i].path, paths, count))
			error = -EBADMSG;
	if (error < 0)
		return fail(reason, error, "%.300s cannot be used: %s; remove it and enroll again.", journal,
			    error == -EBADMSG ? "it is not a whole journal of this place" : strerror(-error));
	error = check_entries(install, reason);
	if (error == 0)
		error = carry_out_or_explain(install, reason);
	return error < 0 ? error : 1;
}

int install_files(const char *journal, const struct install_file *files, size_t count, const struct install_probe *probe,
		  char reason[static INSTALL_REASON_SIZE]) {
	_cleanup_(install_freep) struct install *install = NULL;

	if (count == 0 || count > INSTALL_FILES_MAX)
		return fail(reason, -EINVAL, "There is nothing to install, or too much.");
	int error = install_open(journal, probe, &install);
	if (error < 0)
		return fail(reason, error, "The directory of %.300s cannot be used: %s.", journal, strerror(-error));
	if (access(journal, F_OK) == 0)
		return fail(reason, -EBUSY, "%.300s is there: an earlier enrollment has to be completed first.", journal);
	error = stage(install, files, count);
	if (error == 0)
		error = write_journal(install);
	if (error == -EINTR)
		return fail(reason, error, "Interrupted.");
	if (error < 0) {
		give_up(install);
		return fail(reason, error, "%.300s cannot be written: %s.", files[install->count > 0 ? install->count - 1 : 0].path,
			    strerror(-error));
	}
	return carry_out_or_explain(install, reason);
}

/* ---- credentials ---- */

struct credential_paths {
	char journal[PATH_MAX], certificate[PATH_MAX], key[PATH_MAX], document[PATH_MAX];
	const char *paths[3];
	size_t count;
};

/* The one name of a file whose directory exists, so that the journal means the same to whoever reads it. */
static int resolve(const char *path, const char *suffix, char ret[static PATH_MAX]) {
	char parent[PATH_MAX], name[PATH_MAX];

	if (snprintf(parent, sizeof(parent), "%s", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	strcpy(name, parent);
	_cleanup_free_ char *directory = realpath(dirname(parent), NULL);
	if (!directory)
		return -errno;
	const char *base = strrchr(name, '/');
	return snprintf(ret, PATH_MAX, "%s/%s%s", directory, base ? base + 1 : name, suffix) >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static int make_paths(const struct install_credential *place, struct credential_paths *ret) {
	int error = resolve(place->stem, ".install", ret->journal);

	if (error == 0)
		error = resolve(place->stem, ".crt", ret->certificate);
	if (error == 0)
		error = resolve(place->stem, ".key", ret->key);
	if (error == 0 && place->document_path)
		error = resolve(place->document_path, "", ret->document);
	ret->paths[0] = ret->certificate;
	ret->paths[1] = ret->key;
	ret->paths[2] = ret->document;
	ret->count = place->document_path ? 3 : 2;
	return error;
}

static struct octets bio_octets(BIO *bio) {
	char *data = NULL;
	long length = bio ? BIO_get_mem_data(bio, &data) : 0;

	return OCTETS(data, length > 0 ? (size_t)length : 0);
}

int install_credential(const struct install_credential *place, struct octets document, mode_t document_mode,
		       const struct credential *credential, bool key, char reason[static INSTALL_REASON_SIZE]) {
	/* Memory of the second kind is wiped when it is freed. */
	_cleanup_(BIO_free_allp) BIO *certificate_pem = BIO_new(BIO_s_mem()), *key_pem = BIO_new(BIO_s_secmem());
	struct credential_paths paths;
	struct install_file files[3];
	size_t count = 0;

	int error = make_paths(place, &paths);
	if (error < 0)
		return fail(reason, error, "The directory of %.300s cannot be used: %s.", place->stem, strerror(-error));
	if (!certificate_pem || !key_pem || PEM_write_bio_X509(certificate_pem, credential->certificate->x509) != 1 ||
	    (key && PEM_write_bio_PrivateKey(key_pem, credential->key, NULL, NULL, 0, NULL, NULL) != 1)) {
		ERR_clear_error();
		return fail(reason, -ENOMEM, "The certificate cannot be written down: out of memory.");
	}
	if (key)
		files[count++] = (struct install_file){paths.key, bio_octets(key_pem), 0600};
	files[count++] = (struct install_file){paths.certificate, bio_octets(certificate_pem), 0644};
	if (place->document_path && document.length > 0)
		files[count++] = (struct install_file){paths.document, document, document_mode};
	return install_files(paths.journal, files, count, place->probe, reason);
}

int install_credential_complete(const struct install_credential *place, char reason[static INSTALL_REASON_SIZE]) {
	struct credential_paths paths;

	int error = make_paths(place, &paths);
	if (error == -ENOENT)
		return 0;
	if (error < 0)
		return fail(reason, error, "The directory of %.300s cannot be used: %s.", place->stem, strerror(-error));
	return install_complete(paths.journal, paths.paths, paths.count, reason);
}

/* STEM.install, STEM.key.new, STEM.crt.new: the stems of what was not finished. */
static bool is_unfinished(const char *name, int *ret_stem) {
	static const char *const suffixes[] = {".install", ".install.new", ".key.new", ".crt.new"};
	size_t length = strlen(name);

	for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
		size_t tail = strlen(suffixes[i]);
		if (length > tail && strcmp(name + length - tail, suffixes[i]) == 0) {
			*ret_stem = (int)(length - tail);
			return true;
		}
	}
	return false;
}

int install_directory_complete(const char *directory, char reason[static INSTALL_REASON_SIZE]) {
	DIR *stream = opendir(directory);
	char stem[PATH_MAX];
	int result = 0, length;

	if (!stream)
		return errno == ENOENT ? 0 : fail(reason, -errno, "%.300s cannot be read: %s.", directory, strerror(errno));
	for (struct dirent *entry; (entry = readdir(stream));) {
		if (!is_unfinished(entry->d_name, &length) ||
		    snprintf(stem, sizeof(stem), "%s/%.*s", directory, length, entry->d_name) >= PATH_MAX)
			continue;
		int error = install_credential_complete(&(struct install_credential){.stem = stem}, reason);
		if (error < 0 || result == 0)
			result = error < 0 ? error : result + error;
	}
	closedir(stream);
	return result;
}
