/* SPDX-License-Identifier: BSD-2-Clause */
/* Life of a configuration, looking things up in it, and whether another one may follow it. */
#include "overlay/config.h"

#include "overlay/signature.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

struct overlay_config *overlay_config_ref(struct overlay_config *config) {
	if (config)
		config->references++;
	return config;
}

struct overlay_config *overlay_config_unref(struct overlay_config *config) {
	if (!config || --config->references > 0)
		return NULL;
	for (size_t i = 0; i < config->root_count; i++)
		X509_free(config->roots[i]);
	for (size_t i = 0; i < config->enrollment_server_count; i++)
		free(config->enrollment_servers[i]);
	for (size_t i = 0; i < config->link_protocol_count; i++)
		free(config->link_protocols[i]);
	for (size_t i = 0; i < config->kind_count; i++)
		kind_release(&config->kinds[i]);
	for (size_t i = 0; i < config->signature_count; i++)
		free(config->signatures[i]);
	free(config->bad_nodes);
	if (config->shared_secret)
		octets_wipe(config->shared_secret, strlen(config->shared_secret));
	free(config->shared_secret);
	octets_wipe(config->document, config->document_length); /* the shared secret stands in it */
	free(config->document);
	free(config);
	return NULL;
}

int overlay_config_load(const char *path, const char *overlay_name, struct overlay_config **ret,
			char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0) {
		int error = -errno;
		snprintf(reason, CONFIG_REASON_SIZE, "%s: cannot be opened: %s.", path, strerror(-error));
		return error;
	}
	if (!S_ISREG(status.st_mode)) {
		snprintf(reason, CONFIG_REASON_SIZE, "%s: is not a regular file.", path);
		return -EBADMSG;
	}
	/* One octet more than allowed is enough for the parser to refuse it. */
	_cleanup_free_ uint8_t *buffer = malloc(CONFIG_DOCUMENT_MAX + 1);
	size_t length = 0;
	if (!buffer) {
		snprintf(reason, CONFIG_REASON_SIZE, "%s: out of memory.", path);
		return -ENOMEM;
	}
	while (length < CONFIG_DOCUMENT_MAX + 1) {
		ssize_t n = read(fd, buffer + length, CONFIG_DOCUMENT_MAX + 1 - length);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			int error = -errno;
			snprintf(reason, CONFIG_REASON_SIZE, "%s: cannot be read: %s.", path, strerror(-error));
			return error;
		}
		if (n == 0)
			break;
		length += (size_t)n;
	}
	int r = overlay_config_parse(OCTETS(buffer, length), overlay_name, ret, reason);
	octets_wipe(buffer, length);
	return r;
}

/* B-6.3.2.1: numbers run modulo 65535, so 0 follows 65534. */
bool config_sequence_newer(uint16_t a, uint16_t b) {
	uint32_t ahead = ((uint32_t)a + SEQUENCE_MODULUS - b % SEQUENCE_MODULUS) % SEQUENCE_MODULUS;

	return ahead >= 1 && ahead <= 32767;
}

int overlay_config_check_successor(const struct overlay_config *current, const struct overlay_config *next, uint64_t realtime_ms,
				   char reason[static CONFIG_REASON_SIZE]) {
	if (strcasecmp(current->overlay_name, next->overlay_name) != 0) {
		snprintf(reason, CONFIG_REASON_SIZE, "The document is for overlay %.100s, not %.100s.", next->overlay_name,
			 current->overlay_name);
		return -EBADMSG;
	}
	if (!config_sequence_newer(next->sequence, current->sequence)) { /* B-6.5.4-02 */
		snprintf(reason, CONFIG_REASON_SIZE, "Sequence number %u is not newer than %u.", next->sequence, current->sequence);
		return -ESTALE;
	}
	if (next->expiration_ms != 0 && next->expiration_ms <= realtime_ms) {
		snprintf(reason, CONFIG_REASON_SIZE, "The document has expired.");
		return -EBADMSG;
	}
	if (next->signature_count == 0) {
		snprintf(reason, CONFIG_REASON_SIZE, "The document is not signed.");
		return -EKEYREJECTED;
	}
	/* B-11.1-11: one good signature is enough, by a signer of the configuration in force. */
	const char *sentence = "";
	for (size_t i = 0; i < next->signature_count; i++) {
		int r = security_block_check((struct overlay_config *)(uintptr_t)current, next->configuration,
					     OCTETS(next->signatures[i], next->signature_lengths[i]),
					     current->configuration_signers, current->configuration_signer_count, realtime_ms,
					     &sentence);
		if (r >= 0)
			return 0;
	}
	snprintf(reason, CONFIG_REASON_SIZE, "The signature of the document is not good: %s.", sentence);
	return -EKEYREJECTED;
}

const struct kind *overlay_config_kind(const struct overlay_config *config, uint32_t id) {
	for (size_t i = 0; i < config->kind_count; i++)
		if (config->kinds[i].id == id)
			return &config->kinds[i];
	return NULL;
}

static int compare_ids(const void *a, const void *b) {
	return id_compare(a, b);
}

bool overlay_config_is_bad_node(const struct overlay_config *config, const struct id *node_id) {
	return config->bad_node_count > 0 &&
	       bsearch(node_id, config->bad_nodes, config->bad_node_count, sizeof(*config->bad_nodes), compare_ids) != NULL;
}
