/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/configuration.h"

#include "base/log.h"
#include "node/document.h"
#include "wire/method.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

enum {
	RECENT_MAX = 16,     /* nodes we sent our document to lately */
	RESEND_AFTER_S = 10, /* and not again before this */
	RECHECK_S = 600,     /* between looks at the certificates of live links */
};

struct configuration {
	struct node *node;
	struct configuration_listener listener;
	struct {
		struct id node_id;
		uint64_t at_us;
	} recent[RECENT_MAX];
	size_t next_recent;
	struct timer recheck;
};

static int write_document(int fd, const struct overlay_config *config) {
	for (size_t done = 0; done < config->document_length;) {
		ssize_t written = write(fd, config->document + done, config->document_length - done);
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		done += (size_t)written;
	}
	return fsync(fd) < 0 ? -errno : 0;
}

/* So that the new name survives a power cut, too. */
static int sync_directory(const char *path) {
	char copy[PATH_MAX];

	snprintf(copy, sizeof(copy), "%s", path);
	_cleanup_close_ int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int configuration_save(const struct overlay_config *config, const char *path) {
	char temporary[PATH_MAX];

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return -errno;
	int error = write_document(fd, config);
	if (error == 0 && fchmod(fd, config->shared_secret ? 0600 : 0644) < 0)
		error = -errno;
	if (error == 0 && rename(temporary, path) < 0)
		error = -errno;
	if (error < 0) {
		unlink(temporary);
		return error;
	}
	return sync_directory(path);
}

/* A node that is no longer wanted goes on, as the operator may put a new certificate in place, but it says so. */
static void check_ourselves(struct node *node, const struct overlay_config *config) {
	const char *why = NULL;

	if (trust_check(node->trust, node->credential->certificate, runtime_realtime_ms(&node->runtime), &why) < 0)
		log_error("Configuration %u of overlay %s excludes this node: %s.", config->sequence, config->overlay_name,
			  why ? why : "its certificate is not trusted");
}

static int configuration_apply(struct configuration *configuration, struct overlay_config *next, char *reason) {
	struct node *node = configuration->node;

	if (strcmp(next->topology_plugin, router_config(node->router)->topology_plugin) != 0) {
		snprintf(reason, CONFIG_REASON_SIZE, "the topology plug-in cannot change while the node runs; restart it.");
		return -EOPNOTSUPP;
	}
	int error = document_supported(next, reason);
	if (error < 0)
		return error;
	error = configuration_save(next, node->settings->overlay_config);
	if (error < 0) /* in force all the same: others send it again after a restart */
		log_warning("Configuration %u cannot be saved to %s: %s.", next->sequence, node->settings->overlay_config,
			    strerror(-error));
	trust_set_config(node->trust, next);
	router_configuration_changed(node->router);
	dtls_links_recheck(node->links); /* B-11.1-06 */
	log_notice("Configuration %u of overlay %s is in force.", next->sequence, next->overlay_name);
	check_ourselves(node, next);
	return 0;
}

static void on_config(struct configuration *configuration, struct request *request, struct octets document) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *next = NULL;
	struct node *node = configuration->node;
	struct overlay_config *current = router_config(node->router);
	char reason[CONFIG_REASON_SIZE] = "";

	int error = overlay_config_parse(document, current->overlay_name, &next, reason);
	if (error == 0)
		error = overlay_config_check_successor(current, next, runtime_realtime_ms(&node->runtime), reason); /* B-6.5.4-02 */
	if (error == -ESTALE && next->sequence == current->sequence) { /* several nodes told us at once */
		request_answer(request, OCTETS_NONE, NULL);
		return;
	}
	if (error == 0)
		error = configuration_apply(configuration, next, reason);
	if (error == 0) {
		request_answer(request, OCTETS_NONE, NULL);
		return;
	}
	log_warning("A configuration document was refused: %s", reason);
	request_fail_text(request, error == -ESTALE ? ERROR_CONFIG_TOO_OLD : ERROR_FORBIDDEN, "%s", reason);
}

static void on_config_update(void *userdata, struct request *request) {
	struct configuration *configuration = userdata;
	struct config_update_req update;

	if (config_update_read(request->message.contents.body, &update) < 0)
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The ConfigUpdate does not parse.");
	else if (update.type == CONFIG_UPDATE_CONFIG)
		on_config(configuration, request, update.config);
	else
		request_fail_text(request, ERROR_FORBIDDEN, "Kinds are taken from configuration documents only.");
}

static void on_update_answer(void *userdata, int error, const struct response *response) {
	(void)userdata;
	if (error == -EREMOTEIO)
		log_info("A node refused our configuration document: %s.",
			 error_code_name(response->error.code) ? error_code_name(response->error.code) : "error");
}

static bool sent_lately(struct configuration *configuration, const struct id *node_id) {
	uint64_t now_us = configuration->node->runtime.now_us;

	for (size_t i = 0; i < RECENT_MAX; i++)
		if (id_equal(&configuration->recent[i].node_id, node_id) &&
		    now_us - configuration->recent[i].at_us < RESEND_AFTER_S * USEC_PER_SEC)
			return true;
	configuration->recent[configuration->next_recent].node_id = *node_id;
	configuration->recent[configuration->next_recent].at_us = now_us;
	configuration->next_recent = (configuration->next_recent + 1) % RECENT_MAX;
	return false;
}

static void on_mismatch(void *userdata, const struct id *node_id, bool newer) {
	struct configuration *configuration = userdata;
	struct node *node = configuration->node;
	const struct overlay_config *config = router_config(node->router);
	uint8_t list[2 + ID_LENGTH_MAX];

	if (newer || sent_lately(configuration, node_id)) /* theirs comes to us */
		return;
	struct writer body = writer_growing(CONFIG_DOCUMENT_MAX + 64), destination = writer_fixed(list, sizeof(list));
	destination.node_id_length = node_id->length;
	config_update_write_config(&body, OCTETS(config->document, config->document_length)); /* B-6.3.2.1-03, B-6.5.4-01 */
	destination_write_node(&destination, node_id);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,	   .destination_list = writer_octets_written(&destination),
		.code = CONFIG_UPDATE_REQ, .body = writer_octets_written(&body),
		.config_update = true,	   .done = on_update_answer,
	};
	int error = writer_finish(&body) < 0 ? writer_finish(&body) : router_send_request(node->router, &outgoing, NULL);
	if (error < 0)
		log_warning("Our configuration document cannot be sent: %s.", strerror(-error));
	writer_release(&body);
}

/* Certificates expire while their links live. */
static void on_recheck(struct timer *timer, void *userdata) {
	struct configuration *configuration = userdata;

	dtls_links_recheck(configuration->node->links);
	timer_arm_after(&configuration->node->runtime, timer, RECHECK_S * USEC_PER_SEC);
}

int configuration_new(struct node *node, struct configuration **ret) {
	struct configuration *configuration = calloc(1, sizeof(*configuration));

	if (!configuration)
		return -ENOMEM;
	configuration->node = node;
	configuration->listener = (struct configuration_listener){.userdata = configuration, .mismatch = on_mismatch};
	router_handle(node->router, CONFIG_UPDATE_REQ, on_config_update, configuration);
	router_set_configuration_listener(node->router, &configuration->listener);
	timer_init(&configuration->recheck, on_recheck, configuration);
	timer_arm_after(&node->runtime, &configuration->recheck, RECHECK_S * USEC_PER_SEC);
	*ret = configuration;
	return 0;
}

struct configuration *configuration_free(struct configuration *configuration) {
	if (!configuration)
		return NULL;
	router_set_configuration_listener(configuration->node->router, NULL);
	router_handle(configuration->node->router, CONFIG_UPDATE_REQ, NULL, NULL);
	timer_disarm(&configuration->node->runtime, &configuration->recheck);
	free(configuration);
	return NULL;
}
