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

enum { ROOT_DAYS = 3650 };

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

static int write_file(const char *path, const void *data, size_t length, mode_t mode) {
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	const char *at = data;

	if (fd < 0)
		return -errno;
	while (length > 0) {
		ssize_t written = write(fd, at, length);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		at += written;
		length -= (size_t)written;
	}
	return fsync(fd) < 0 ? -errno : 0;
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

static int load_root(const char *directory, X509 **ret_root, EVP_PKEY **ret_key, char *reason) {
	char path[PATH_MAX];

	if (path_join(path, directory, "ca.crt", reason) < 0)
		return -ENAMETOOLONG;
	_cleanup_fclose_ FILE *root_file = fopen(path, "re");
	if (!root_file)
		return fail(reason, -errno, "%.300s cannot be read: %s. Make an overlay there with: ringgatectl overlay create",
			    path, strerror(errno));
	_cleanup_(X509_freep) X509 *root = PEM_read_X509(root_file, NULL, NULL, NULL);
	if (!root)
		return fail(reason, -EBADMSG, "%.300s is not a PEM certificate.", path);
	if (path_join(path, directory, "ca.key", reason) < 0)
		return -ENAMETOOLONG;
	_cleanup_fclose_ FILE *key_file = fopen(path, "re");
	if (!key_file)
		return fail(reason, -errno, "%.300s cannot be read: %s.", path, strerror(errno));
	EVP_PKEY *key = PEM_read_PrivateKey(key_file, NULL, NULL, NULL);
	if (!key)
		return fail(reason, -EBADMSG, "%.300s is not a PEM private key.", path);
	*ret_root = TAKE(root);
	*ret_key = key;
	return 0;
}

static int make_root(const struct provision_overlay *overlay, X509 **ret_root, EVP_PKEY **ret_key, char *reason) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(X509_freep) X509 *root = NULL;
	char path[PATH_MAX], name[300];

	snprintf(name, sizeof(name), "%s root", overlay->name);
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
	if (error == 0)
		error = certificate_save_pem(certificate, certificate_path);
	return error < 0 ? fail(reason, error, "%.300s.crt and .key cannot be written: %s.", output, strerror(-error)) : 0;
}

static int issue(const char *overlay_name, X509 *root, EVP_PKEY *root_key, const struct provision_certificate *wanted,
		 struct id *ret_node_id, char *reason) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	struct id node_ids[CERTIFICATE_NODE_IDS_MAX];
	char name[USER_NAME_MAX + 1], text[ID_TEXT_SIZE];

	if (wanted->node_id_count < 1 || wanted->node_id_count > CERTIFICATE_NODE_IDS_MAX)
		return fail(reason, -EINVAL, "A certificate holds 1 to %d Node-IDs.", CERTIFICATE_NODE_IDS_MAX);
	int error = random_node_ids(node_ids, wanted->node_id_count);
	if (error == 0)
		error = key_generate(wanted->key_type, &key);
	if (error < 0)
		return fail(reason, error, "The key cannot be made: %s.", strerror(-error));
	if (wanted->user_name)
		snprintf(name, sizeof(name), "%s", wanted->user_name);
	else
		snprintf(name, sizeof(name), "gateway-%.12s@%.200s", id_format(&node_ids[0], text), overlay_name);
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

static bool user_name_usable(const char *name) {
	const char *at = strchr(name, '@');

	return at && at != name && at[1] && !strchr(at + 1, '@') && strlen(name) <= USER_NAME_MAX && !strpbrk(name, " :;<>\"");
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
		return fail(reason, -EINVAL, "\"%.200s\" is not a user name such as alice@example.org.", wanted->user_name);
	int error = load_root(wanted->directory, &root, &root_key, reason);
	if (error == 0)
		error = path_join(path, wanted->directory, "overlay.xml", reason);
	if (error < 0)
		return error;
	error = overlay_config_load(path, NULL, &config, config_reason);
	if (error < 0)
		return fail(reason, error, "%.200s cannot be used: %s", path, config_reason[0] ? config_reason : strerror(-error));
	return issue(config->overlay_name, root, root_key, wanted, ret_node_id, reason);
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
	    .root_count = 1,
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
	if (error == 0 && (error = write_file(path, w.data, w.length, 0644)) < 0)
		fail(reason, error, "%.300s cannot be written: %s.", path, strerror(-error));
	writer_release(&w);
	return error;
}

int provision_overlay_create(const struct provision_overlay *overlay, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *root_key = NULL;
	_cleanup_(X509_freep) X509 *root = NULL;
	char path[PATH_MAX], signer_path[PATH_MAX];
	struct id signer_id;

	if (mkdir(overlay->directory, 0700) < 0 && errno != EEXIST)
		return fail(reason, -errno, "The directory %.200s cannot be made: %s.", overlay->directory, strerror(errno));
	int error = path_join(path, overlay->directory, "ca.key", reason);
	if (error == 0)
		error = path_join(signer_path, overlay->directory, "signer", reason);
	if (error < 0)
		return error;
	if (access(path, F_OK) == 0)
		return fail(reason, -EEXIST, "%.200s already holds an overlay; choose another directory.", overlay->directory);
	error = make_root(overlay, &root, &root_key, reason);
	if (error < 0)
		return error;
	struct provision_certificate signer = {
	    .node_id_count = 1, .days = PROVISION_DAYS_MAX, .key_type = overlay->key_type, .output = signer_path};
	error = issue(overlay->name, root, root_key, &signer, &signer_id, reason);
	return error < 0 ? error : write_document(overlay, root, reason);
}

int provision_kind_parse(const char *text, struct kind *ret) {
	char model[32], access_policy[32];
	unsigned max_count, max_size, max_multiple = 0;
	long long id;

	int fields = sscanf(text, "%lli:%31[^:]:%31[^:]:%u:%u:%u", &id, model, access_policy, &max_count, &max_size, &max_multiple);
	if (fields < 5 || id < (long long)KIND_PRIVATE_FIRST || id > (long long)KIND_PRIVATE_LAST || max_count == 0 ||
	    max_size == 0)
		return -EINVAL;
	int model_number = data_model_by_name(model), policy = access_policy_by_name(access_policy);
	if (model_number < 0 || policy < 0 || (policy == ACCESS_NODE_MULTIPLE && max_multiple == 0))
		return -EINVAL;
	*ret = (struct kind){
	    .id = (uint32_t)id,
	    .model = (uint8_t)model_number,
	    .access = (enum access_policy)policy,
	    .max_count = max_count,
	    .max_size = max_size,
	    .max_node_multiple = max_multiple,
	    .required = true,
	};
	return 0;
}
