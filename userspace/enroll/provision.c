/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/provision.h"

#include "base/runtime.h"
#include "overlay/document.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#define DAY_MS UINT64_C(86400000)
#define BACKDATE_MS UINT64_C(3600000) /* clocks of joining sites may be behind */

enum {
	ROOT_DAYS = 3650,
	OVERLAY_NAME_MAX = 230, /* leaves room for "gateway-" and a part of a Node-ID in front of it */
	LABEL_MAX = 63,
};

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(X509 *, X509_free)

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, PROVISION_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

static uint64_t now_ms(void) {
	struct runtime_source source = runtime_source_system();

	return source.realtime_ms(source.userdata);
}

static int path_join(char path[static PATH_MAX], const char *directory, const char *name, char *reason) {
	return snprintf(path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX
		       ? 0
		       : fail(reason, -ENAMETOOLONG, "The path %.200s is too long.", directory);
}

static int write_all(int fd, const char *data, size_t length) {
	while (length > 0) {
		ssize_t written = write(fd, data, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		data += written;
		length -= (size_t)written;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* A new file; nothing of it is left after a failure. */
static int write_file(const char *path, const void *data, size_t length, mode_t mode) {
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	if (fd < 0)
		return -errno;
	int error = write_all(fd, data, length);
	if (error < 0)
		unlink(path);
	return error;
}

/* ---- the root ---- */

static int save_root(const char *directory, X509 *root, char *reason) {
	char path[PATH_MAX];
	char *pem;

	if (path_join(path, directory, "ca.crt", reason) < 0)
		return -ENAMETOOLONG;
	BIO *memory = BIO_new(BIO_s_mem());
	if (!memory || PEM_write_bio_X509(memory, root) != 1) {
		BIO_free(memory);
		return fail(reason, -ENOMEM, "The root certificate cannot be encoded.");
	}
	long length = BIO_get_mem_data(memory, &pem);
	int error = write_file(path, pem, (size_t)length, 0644);
	BIO_free(memory);
	return error < 0 ? fail(reason, error, "%.300s cannot be written: %s.", path, strerror(-error)) : 0;
}

static int load_root_key(const char *path, X509 *root, EVP_PKEY **ret, char *reason) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	struct stat status;

	if (!file || fstat(fileno(file), &status) < 0)
		return fail(reason, -errno, "%.300s: cannot be read: %s.", path, strerror(errno));
	if (status.st_mode & (S_IRWXG | S_IRWXO))
		return fail(reason, -EPERM, "%.300s: others than its owner have access; its mode should be 0600.", path);
	key = PEM_read_PrivateKey(file, NULL, NULL, NULL); /* asks for the pass phrase where the operator has set one */
	if (!key)
		return fail(reason, -EBADMSG, "%.300s: holds no private key in PEM form that can be read.", path);
	if (X509_check_private_key(root, key) != 1)
		return fail(reason, -EKEYREJECTED, "%.300s: is not the key of ca.crt.", path);
	*ret = TAKE(key);
	return 0;
}

static int load_root(const char *directory, X509 **ret_root, EVP_PKEY **ret_key, char *reason) {
	char path[PATH_MAX];

	if (path_join(path, directory, "ca.crt", reason) < 0)
		return -ENAMETOOLONG;
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	if (!file)
		return fail(reason, -errno, "%.300s: cannot be read: %s. Make an overlay there with: ringgatectl overlay create",
			    path, strerror(errno));
	_cleanup_(X509_freep) X509 *root = PEM_read_X509(file, NULL, NULL, NULL);
	if (!root)
		return fail(reason, -EBADMSG, "%.300s: holds no certificate in PEM form.", path);
	int error = path_join(path, directory, "ca.key", reason);
	if (error == 0)
		error = load_root_key(path, root, ret_key, reason);
	if (error == 0)
		*ret_root = TAKE(root);
	return error;
}

static int make_root(const struct provision_overlay *overlay, X509 **ret_root, EVP_PKEY **ret_key, char *reason) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *root = NULL;
	char path[PATH_MAX], name[65]; /* RFC 5280: a common name has at most 64 characters */

	snprintf(name, sizeof(name), "%.58s root", overlay->name);
	int error = key_generate(overlay->key_type, &key);
	if (error == 0)
		error = certificate_make_root(name, key, now_ms() - BACKDATE_MS, now_ms() + ROOT_DAYS * DAY_MS, &root);
	if (error < 0)
		return fail(reason, error, "The root certificate cannot be made: %s.", strerror(-error));
	error = path_join(path, overlay->directory, "ca.key", reason);
	if (error == 0 && (error = key_save_pem(key, path)) < 0)
		return fail(reason, error, "%.300s cannot be written: %s.", path, strerror(-error));
	if (error == 0)
		error = save_root(overlay->directory, root, reason);
	if (error < 0)
		return error;
	*ret_root = TAKE(root);
	*ret_key = TAKE(key);
	return 0;
}

/* ---- certificates ---- */

static int random_node_ids(struct id *ids, unsigned count) {
	for (unsigned i = 0; i < count; i++) {
		ids[i] = (struct id){.length = ID_LENGTH_CHORD};
		do
			if (RAND_bytes(ids[i].octets, ID_LENGTH_CHORD) != 1) /* B-11.3-05 */
				return -EIO;
		while (id_is_zero(&ids[i]) || id_is_wildcard(&ids[i]));
	}
	return 0;
}

static int save_pair(const struct certificate *certificate, EVP_PKEY *key, const char *output, char *reason) {
	char certificate_path[PATH_MAX], key_path[PATH_MAX];

	if (snprintf(certificate_path, sizeof(certificate_path), "%s.crt", output) >= PATH_MAX ||
	    snprintf(key_path, sizeof(key_path), "%s.key", output) >= PATH_MAX)
		return fail(reason, -ENAMETOOLONG, "The path %.200s is too long.", output);
	if (access(certificate_path, F_OK) == 0 || access(key_path, F_OK) == 0)
		return fail(reason, -EEXIST, "%.200s.crt or %.200s.key exists; it is not overwritten.", output, output);
	int error = key_save_pem(key, key_path);
	if (error == 0 && (error = certificate_save_pem(certificate, certificate_path)) < 0)
		unlink(key_path);
	return error < 0 ? fail(reason, error, "%.300s.crt and .key cannot be written: %s.", output, strerror(-error)) : 0;
}

/* B-11.3.1-01: one without an index, several each with its own. */
static int own_node_ids(EVP_PKEY *key, const char *digest, struct id *ids, unsigned count) {
	int error = 0;

	for (unsigned i = 0; i < count && error == 0; i++)
		error = self_signed_node_id(key, digest, count == 1 ? 0 : i + 1, ID_LENGTH_CHORD, &ids[i]);
	return error;
}

/* Without `root` the certificate is self-signed, and its Node-IDs are digests of the key. */
static int issue(const char *overlay_name, X509 *root, EVP_PKEY *root_key, const char *digest,
		 const struct provision_certificate *wanted, struct id *ret_node_id, char *reason) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	struct id node_ids[CERTIFICATE_NODE_IDS_MAX];
	char name[USER_NAME_MAX + 1], text[ID_TEXT_SIZE];

	if (wanted->node_id_count < 1 || wanted->node_id_count > CERTIFICATE_NODE_IDS_MAX)
		return fail(reason, -EINVAL, "A certificate holds 1 to %d Node-IDs.", CERTIFICATE_NODE_IDS_MAX);
	int error = key_generate(wanted->key_type, &key);
	if (error == 0)
		error = root ? random_node_ids(node_ids, wanted->node_id_count)
			     : own_node_ids(key, digest, node_ids, wanted->node_id_count);
	if (error < 0)
		return fail(reason, error, "The key cannot be made: %s.", strerror(-error));
	if (wanted->user_name)
		snprintf(name, sizeof(name), "%s", wanted->user_name);
	else
		snprintf(name, sizeof(name), "gateway-%.12s@%.230s", id_format(&node_ids[0], text), overlay_name);
	struct certificate_request request = {
		.overlay_name = overlay_name,
		.user_name = name,
		.node_ids = node_ids,
		.node_id_count = wanted->node_id_count,
		.key = key,
		.not_before_ms = now_ms() - BACKDATE_MS,
		.not_after_ms = now_ms() + wanted->days * DAY_MS,
	};
	error = certificate_issue(&request, root, root_key, &certificate);
	if (error < 0)
		return fail(reason, error, "The certificate for %s cannot be made: %s.", name, strerror(-error));
	error = save_pair(certificate, key, wanted->output, reason);
	if (error == 0)
		*ret_node_id = node_ids[0];
	return error;
}

/* As callers write it: printable ASCII, and a domain in lower case (S-2-01). */
static bool user_name_usable(const char *name) {
	const char *at = strchr(name, '@');

	for (const char *c = name; *c; c++)
		if (*c <= ' ' || *c >= 0x7f || strchr(":;<>\"%", *c) || (at && c > at && *c >= 'A' && *c <= 'Z'))
			return false;
	return at && at != name && at[1] && !strchr(at + 1, '@') && strlen(name) <= USER_NAME_MAX;
}

int provision_certificate_issue(const struct provision_certificate *wanted, struct id *ret_node_id,
				char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *root_key = NULL;
	_cleanup_(X509_freep) X509 *root = NULL;
	char path[PATH_MAX], config_reason[CONFIG_REASON_SIZE] = "";

	if (wanted->days < 1 || wanted->days > PROVISION_DAYS_MAX)
		return fail(reason, -EINVAL, "A certificate lives 1 to %d days.", PROVISION_DAYS_MAX);
	if (wanted->user_name && !user_name_usable(wanted->user_name))
		return fail(reason, -EINVAL,
			    "\"%.200s\" is not a user name such as alice@example.org, with its domain in lower case.",
			    wanted->user_name);
	int error = path_join(path, wanted->directory, "overlay.xml", reason);
	if (error == 0 && access(path, R_OK) < 0)
		return fail(reason, -errno, "%.300s: cannot be read: %s. Make an overlay there with: ringgatectl overlay create", path,
			    strerror(errno));
	if (error < 0)
		return error;
	error = overlay_config_load(path, NULL, &config, config_reason);
	if (error < 0)
		return fail(reason, error, "%.200s: %s", path, config_reason[0] ? config_reason : strerror(-error));
	if (config->root_count > 0 && (error = load_root(wanted->directory, &root, &root_key, reason)) < 0)
		return error;
	return issue(config->overlay_name, root, root_key, config->self_signed_digest, wanted, ret_node_id, reason);
}

/* ---- the overlay ---- */

static int write_document(const struct provision_overlay *overlay, X509 *root, char *reason) {
	_cleanup_(credential_unrefp) struct credential *signer = NULL;
	_cleanup_(overlay_config_unrefp) struct overlay_config *parsed = NULL;
	char certificate_path[PATH_MAX], key_path[PATH_MAX], path[PATH_MAX];

	if (path_join(certificate_path, overlay->directory, "signer.crt", reason) < 0 ||
	    path_join(key_path, overlay->directory, "signer.key", reason) < 0 ||
	    path_join(path, overlay->directory, "overlay.xml", reason) < 0)
		return -ENAMETOOLONG;
	int error =
		credential_load(certificate_path, key_path, overlay->name, ID_LENGTH_CHORD, &signer, reason, PROVISION_REASON_SIZE);
	if (error < 0)
		return error;
	struct document_settings settings = {
		.overlay_name = overlay->name,
		.sequence = 1,
		.roots = &root,
		.root_count = root ? 1 : 0,
		.self_signed_digest = overlay->self_signed_digest,
		.shared_secret = overlay->shared_secret,
		.clients_forbidden = overlay->clients_forbidden,
		.bootstrap = overlay->bootstrap,
		.bootstrap_count = overlay->bootstrap_count,
		.configuration_signers = &signer->node_id,
		.configuration_signer_count = 1,
		.kind_signers = &signer->node_id,
		.kind_signer_count = 1,
		.enrollment_servers = overlay->enrollment_servers,
		.enrollment_server_count = overlay->enrollment_server_count,
		.no_ice = true,
		.max_message_size = overlay->max_message_size,
		.chord_update_interval_s = overlay->chord_update_interval_s,
		.chord_ping_interval_s = overlay->chord_ping_interval_s,
		.kinds = overlay->kinds,
		.kind_count = overlay->kind_count,
		.kind_signer = signer,
	};
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);
	error = document_write(&settings, signer, &w);
	/* What nodes would refuse is never written. */
	if (error == 0)
		error = overlay_config_parse(writer_octets_written(&w), overlay->name, &parsed, reason);
	else
		fail(reason, error, "The configuration document cannot be made: %s.", strerror(-error));
	if (error == 0 && (error = write_file(path, w.data, w.length, overlay->shared_secret ? 0600 : 0644)) < 0)
		fail(reason, error, "%.300s cannot be written: %s.", path, strerror(-error));
	if (overlay->shared_secret && w.data)
		octets_wipe(w.data, w.length);
	writer_release(&w);
	return error;
}

static const char *const overlay_files[] = {"ca.key", "ca.crt", "signer.key", "signer.crt", "overlay.xml"};

static int check_directory(const char *directory, char *reason) {
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LENGTH(overlay_files); i++) {
		if (path_join(path, directory, overlay_files[i], reason) < 0)
			return -ENAMETOOLONG;
		if (access(path, F_OK) == 0)
			return fail(reason, -EEXIST, "%.200s already holds %s; choose another directory.", directory,
				    overlay_files[i]);
	}
	return 0;
}

static void remove_files(const char *directory, char *reason) {
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LENGTH(overlay_files); i++)
		if (path_join(path, directory, overlay_files[i], reason) == 0)
			unlink(path);
}

static int create_files(const struct provision_overlay *overlay, char *reason) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *root_key = NULL;
	_cleanup_(X509_freep) X509 *root = NULL;
	char signer_path[PATH_MAX];
	struct id signer_id;

	int error = path_join(signer_path, overlay->directory, "signer", reason);
	if (error == 0 && !overlay->self_signed_digest)
		error = make_root(overlay, &root, &root_key, reason);
	if (error < 0)
		return error;
	struct provision_certificate signer = {
		.node_id_count = 1, .days = PROVISION_DAYS_MAX, .key_type = overlay->key_type, .output = signer_path};
	error = issue(overlay->name, root, root_key, overlay->self_signed_digest, &signer, &signer_id, reason);
	return error < 0 ? error : write_document(overlay, root, reason);
}

/* A domain name: users have addresses of record in it. In lower case, as callers' gateways look for them (S-2-01). */
static bool overlay_name_usable(const char *name) {
	if (strlen(name) > OVERLAY_NAME_MAX)
		return false;
	for (const char *label = name;; label++) {
		size_t length = strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-");
		if (length == 0 || length > LABEL_MAX || label[0] == '-' || label[length - 1] == '-')
			return false;
		label += length;
		if (*label != '.')
			return *label == 0;
	}
}

static int check_admission(const struct provision_overlay *overlay, char *reason) {
	size_t length = overlay->shared_secret ? strlen(overlay->shared_secret) : 0;
	const char *digest = overlay->self_signed_digest;

	if (digest && strcmp(digest, "sha256") != 0 && strcmp(digest, "sha1") != 0)
		return fail(reason, -EINVAL, "\"%.64s\" is not a digest for self-signed certificates, which are sha256 and sha1.",
			    digest);
	if (digest && overlay->enrollment_server_count > 0)
		return fail(
			reason, -EINVAL,
			"Where nodes make their own certificates there is no CA, and an enrollment server has nothing to issue.");
	if (overlay->shared_secret && (length < PROVISION_SECRET_MIN || length > PROVISION_SECRET_MAX))
		return fail(reason, -EINVAL,
			    "A shared secret has %d to %d characters; whoever records a handshake can try short ones.",
			    PROVISION_SECRET_MIN, PROVISION_SECRET_MAX);
	for (size_t i = 0; i < length; i++)
		if (overlay->shared_secret[i] < '!' || overlay->shared_secret[i] > '~')
			return fail(reason, -EINVAL, "A shared secret consists of printable ASCII characters without spaces.");
	return 0;
}

int provision_overlay_create(const struct provision_overlay *overlay, char reason[static PROVISION_REASON_SIZE]) {
	if (!overlay_name_usable(overlay->name))
		return fail(reason, -EINVAL,
			    "\"%.200s\" is not the name of an overlay, which is a domain in lower case such as example.org.",
			    overlay->name);
	int error = check_admission(overlay, reason);
	if (error < 0)
		return error;
	bool made = mkdir(overlay->directory, 0700) == 0;
	if (!made && errno != EEXIST)
		return fail(reason, -errno, "The directory %.200s cannot be made: %s.", overlay->directory, strerror(errno));
	error = check_directory(overlay->directory, reason);
	if (error < 0)
		return error;
	error = create_files(overlay, reason);
	if (error == 0)
		return 0;
	/* None of them was there before. */
	remove_files(overlay->directory, reason);
	if (made)
		rmdir(overlay->directory);
	return error;
}

/* ---- Kinds on the command line ---- */

/* A field up to ':' or the end; *text is set behind it, NULL at the end. */
static int next_field(const char **text, char *field, size_t size) {
	if (!*text)
		return -EINVAL;
	size_t length = strcspn(*text, ":");
	if (length == 0 || length >= size)
		return -EINVAL;
	memcpy(field, *text, length);
	field[length] = 0;
	*text = (*text)[length] == ':' ? *text + length + 1 : NULL;
	return 0;
}

static int next_number(const char **text, int base, uint32_t *ret) {
	char field[24], *end;

	if (next_field(text, field, sizeof(field)) < 0 || field[0] < '0' || field[0] > '9')
		return -EINVAL;
	unsigned long long value = strtoull(field, &end, base);
	if (*end != 0 || value == 0 || value > UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)value;
	return 0;
}

int provision_kind_parse(const char *text, struct kind *ret) {
	char model[32], policy[32];
	struct kind kind = {.required = true};

	if (next_number(&text, 0, &kind.id) < 0 || kind.id < KIND_PRIVATE_FIRST || kind.id > KIND_PRIVATE_LAST ||
	    next_field(&text, model, sizeof(model)) < 0 || next_field(&text, policy, sizeof(policy)) < 0 ||
	    next_number(&text, 10, &kind.max_count) < 0 || next_number(&text, 10, &kind.max_size) < 0 ||
	    (text && next_number(&text, 10, &kind.max_node_multiple) < 0) || text)
		return -EINVAL;
	int model_number = data_model_by_name(model), policy_number = access_policy_by_name(policy);
	if (model_number < 0 || policy_number < 0 || (policy_number == ACCESS_NODE_MULTIPLE && kind.max_node_multiple == 0))
		return -EINVAL;
	kind.model = (uint8_t)model_number;
	kind.access = (enum access_policy)policy_number;
	*ret = kind;
	return 0;
}
