/* SPDX-License-Identifier: BSD-2-Clause */
/* Who the node is: its overlay's document, its certificate, its users. */
#include "node/node_internal.h"

#include "base/log.h"
#include "node/document.h"
#include "node/enroller.h"
#include "node/secret.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

int node_fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, NODE_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

int node_finish_reason(char *reason, int error) {
	size_t length = strlen(reason);

	if (length > 0 && length + 1 < NODE_REASON_SIZE && reason[length - 1] != '.')
		strcpy(reason + length, ".");
	return error;
}

bool node_excludes_client(const struct settings *settings, const struct overlay_config *config) {
	/* load_document() leaves one, or fails. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	return settings->client && !settings->relay && !config->clients_permitted;
}

/* The document, and with it what to trust. */
static int load_document(struct node *node, struct overlay_config **ret, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	const char *path = node->settings->overlay_config;
	uint64_t now_ms = runtime_realtime_ms(&node->runtime);
	char sentence[CONFIG_REASON_SIZE] = "";

	int error = overlay_config_load(path, node->settings->overlay_name, &config, sentence);
	if (error < 0 && strncmp(sentence, path, strlen(path)) == 0)
		return node_fail(reason, error, "%s", sentence);
	if (error == 0)
		error = document_supported(config, sentence);
	if (error == 0)
		error = trust_new(config, &node->trust);
	if (error == 0)
		error = document_unchanged(config, node->trust, now_ms, sentence);
	if (error < 0)
		return node_fail(reason, error, "%.200s: %s", path, sentence[0] ? sentence : strerror(-error));
	if (!topology_find(config->topology_plugin))
		return node_fail(reason, -EOPNOTSUPP, "%.200s: the topology plug-in %s is not implemented here.", path,
				 config->topology_plugin);
	if (config->expiration_ms != 0 && config->expiration_ms <= now_ms)
		log_warning("%s: the document has expired; get a newer one from the operator of overlay %s.", path,
			    config->overlay_name);
	*ret = TAKE(config);
	return 0;
}

int node_load_identity(struct node *node, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	struct settings *settings = node->settings;
	const char *why = NULL;

	int error = load_document(node, &config, reason);
	if (error != 0)
		return error;
	if (node_excludes_client(settings, config))
		return node_fail(reason, -EACCES, "Overlay %s permits no clients (%.200s); set role = peer in [node].",
				 config->overlay_name, settings->overlay_config);
	/* As above. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
	error = credential_load(settings->certificate, settings->key, config->overlay_name, config->node_id_length,
				&node->credential, reason, NODE_REASON_SIZE);
	if (error < 0)
		return error;
	error = trust_check(node->trust, node->credential->certificate, runtime_realtime_ms(&node->runtime), &why);
	if (error < 0)
		return node_fail(reason, error, "%.200s: cannot be used in overlay %s: %s.", settings->certificate,
				 config->overlay_name, why ? why : strerror(-error));
	error = secret_load(settings->shared_secret, config, &node->secret, reason, NODE_REASON_SIZE);
	if (error < 0)
		return error;
	error = users_load(settings->users_directory, node->trust, config->overlay_name, config->node_id_length,
			   runtime_realtime_ms(&node->runtime), &node->users);
	return error < 0 ? node_fail(reason, error, "Not enough memory for the users of %s.", settings->users_directory) : 0;
}

/* Without a certificate there is little to read; it will be got at the first start. */
static int check_enrollment(const struct settings *settings, char *reason) {
	const char *path = settings->enroll_password_file;

	return access(path, R_OK) < 0 ? node_fail(reason, -errno, "%.300s cannot be read: %s.", path, strerror(errno)) : 0;
}

int node_check(const struct settings *settings, char reason[static NODE_REASON_SIZE]) {
	struct node node = {.settings = (struct settings *)settings, .runtime.source = runtime_source_system()};
	char why[ENROLLER_REASON_SIZE];

	reason[0] = 0;
	if (enrollment_need(settings, runtime_realtime_ms(&node.runtime), why) == ENROLLMENT_NEED_FIRST)
		return check_enrollment(settings, reason);
	int error = node_load_identity(&node, reason);
	secret_free(node.secret);
	users_free(node.users);
	trust_free(node.trust);
	credential_unref(node.credential);
	return error < 0 ? node_finish_reason(reason, error) : 0;
}
