/* SPDX-License-Identifier: BSD-2-Clause */
/* Credentials and keys on disk. */
#include "overlay/certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>

enum { PEM_FILE_MAX = 65536 };

DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)

/* Reads a whole regular file. `secret`: refuses one that others than its owner may read. */
static int read_file(const char *path, bool secret, struct writer *w, char *reason, size_t size) {
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0) {
		int error = -errno;
		snprintf(reason, size, "%s: cannot be opened: %s.", path, strerror(-error));
		return error;
	}
	if (!S_ISREG(status.st_mode) || status.st_size > PEM_FILE_MAX) {
		snprintf(reason, size, "%s: is not a regular file of at most 65536 octets.", path);
		return -EBADMSG;
	}
	if (secret && status.st_mode & (S_IRWXG | S_IRWXO)) {
		snprintf(reason, size, "%s: others than its owner have access; its mode should be 0600.", path);
		return -EPERM;
	}
	uint8_t *buffer = writer_reserve(w, (size_t)status.st_size);
	size_t done = 0;
	while (buffer && done < (size_t)status.st_size) {
		ssize_t n = read(fd, buffer + done, (size_t)status.st_size - done);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int error = n < 0 ? -errno : -EBADMSG;
			snprintf(reason, size, "%s: cannot be read: %s.", path, n < 0 ? strerror(-error) : "it shrank");
			return error;
		}
		done += (size_t)n;
	}
	if (!buffer && status.st_size > 0) {
		snprintf(reason, size, "%s: out of memory.", path);
		return -ENOMEM;
	}
	return 0;
}

static void writer_wipe_release(struct writer *w) {
	octets_wipe(w->data, w->length);
	writer_release(w);
}

/* Never asks a terminal. */
static int no_password(char *buffer, int size, int writing, void *userdata) {
	(void)buffer, (void)size, (void)writing, (void)userdata;
	return -1;
}

static int load_certificate(const char *path, const char *overlay_name, uint8_t node_id_length, struct certificate **ret,
			    char *reason, size_t size) {
	_cleanup_(writer_wipe_release) struct writer file = writer_growing(PEM_FILE_MAX);
	int r = read_file(path, false, &file, reason, size);
	if (r < 0)
		return r;

	_cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(file.data, (int)file.length);
	_cleanup_(X509_freep) X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
	uint8_t *der = NULL;
	int length = x509 ? i2d_X509(x509, &der) : -1;
	ERR_clear_error();
	if (length < 0) {
		snprintf(reason, size, "%s: holds no certificate in PEM form.", path);
		return -EBADMSG;
	}
	const char *sentence = "";
	r = certificate_from_der(OCTETS(der, (size_t)length), overlay_name, node_id_length, ret, &sentence);
	OPENSSL_free(der);
	if (r < 0)
		snprintf(reason, size, "%s: %s.", path, sentence);
	return r;
}

int credential_load(const char *certificate_path, const char *key_path, const char *overlay_name, uint8_t node_id_length,
		    struct credential **ret, char *reason, size_t size) {
	_cleanup_(writer_wipe_release) struct writer file = writer_growing(PEM_FILE_MAX);
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	int r = load_certificate(certificate_path, overlay_name, node_id_length, &certificate, reason, size);

	if (r >= 0)
		r = read_file(key_path, true, &file, reason, size);
	if (r < 0)
		return r;
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new_mem_buf(file.data, (int)file.length);
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	ERR_clear_error();
	if (!key) {
		snprintf(reason, size, "%s: holds no unencrypted private key in PEM form.", key_path);
		return -EBADMSG;
	}
	r = credential_new(certificate, key, NULL, ret);
	if (r == -EKEYREJECTED)
		snprintf(reason, size, "%s: is not the key of the certificate %s.", key_path, certificate_path);
	else if (r < 0)
		snprintf(reason, size, "%s: %s.", key_path, strerror(-r));
	return r;
}

static int write_all(int fd, const void *data, size_t length) {
	for (size_t done = 0; done < length;) {
		ssize_t n = write(fd, (const char *)data + done, length - done);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

/* So that the new name survives a power cut, too. */
static int sync_directory(const char *path) {
	char copy[PATH_MAX];

	strcpy(copy, path);
	_cleanup_close_ int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* Either the old file or the complete new one is there, whatever happens. */
static int write_file(const char *path, mode_t mode, BIO *bio) {
	char temporary[PATH_MAX];
	char *data = NULL;
	long length = BIO_get_mem_data(bio, &data);

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= sizeof(temporary))
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return -errno;
	int r = write_all(fd, data, (size_t)length);
	if (r >= 0 && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
		r = -errno;
	if (r < 0) {
		unlink(temporary);
		return r;
	}
	return sync_directory(path);
}

int key_save_pem(EVP_PKEY *key, const char *path) {
	/* Memory of this kind is wiped when it is freed. */
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_secmem());

	if (!bio || PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) != 1) {
		ERR_clear_error();
		return -EIO;
	}
	return write_file(path, 0600, bio);
}

int certificate_save_pem(const struct certificate *certificate, const char *path) {
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());

	if (!bio || PEM_write_bio_X509(bio, certificate->x509) != 1) {
		ERR_clear_error();
		return -EIO;
	}
	return write_file(path, 0644, bio);
}
