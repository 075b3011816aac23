/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/configuration.h"

#include "base/log.h"
#include "node/document.h"
#include "wire/method.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct configuration {
	struct configuration_settings settings;
	char *path;
	struct router *router;
	struct spread *spread;
	struct configuration_listener listener;
	struct {
		struct id node_id;
		uint64_t at_us;
	} useless[CONFIGURATION_SENDERS_MAX]; /* whose last document was of no use */
	size_t useless_next;
	struct timer missing;
	struct configuration_figures figures;
};

/* ---- the file ---- */

static int write_octets(int fd, struct octets octets) {
	for (size_t done = 0; done < octets.length;) {
		ssize_t written = write(fd, octets.data + done, octets.length - done);
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

static int save_file(const char *path, struct octets octets, mode_t mode) {
	char temporary[PATH_MAX];

	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return -ENAMETOOLONG;
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
	if (fd < 0)
		return -errno;
	int error = write_octets(fd, octets);
	if (error == 0 && fchmod(fd, mode) < 0)
		error = -errno;
	if (error == 0 && rename(temporary, path) < 0)
		error = -errno;
	if (error < 0) {
		unlink(temporary);
		return error;
	}
	return sync_directory(path);
}

int configuration_save(const struct overlay_config *config, const char *path) {
	return save_file(path, OCTETS(config->document, config->document_length), config->shared_secret ? 0600 : 0644);
}

/* Learned Kinds stand beside the document as the KindDescriptions of a ConfigUpdate: PATH.kinds. */
static int kinds_path(const struct configuration *configuration, char path[static PATH_MAX]) {
	return !configuration->path || snprintf(path, PATH_MAX, "%s.kinds", configuration->path) >= PATH_MAX ? -ENAMETOOLONG : 0;
}

static void save_kinds(const struct configuration *configuration) {
	_cleanup_(writer_release) struct writer w = writer_growing(KINDS_MAX * (UINT16_MAX + 2));
	const struct overlay_config *config = router_config(configuration->router);
	char path[PATH_MAX];

	if (kinds_path(configuration, path) < 0)
		return;
	for (size_t i = 0; i < config->kind_count; i++) {
		if (!config->kinds[i].block)
			continue;
		writer_u16(&w, (uint16_t)config->kinds[i].block_length); /* of a KindDescription it is not longer */
		writer_octets(&w, OCTETS(config->kinds[i].block, config->kinds[i].block_length));
	}
	int error = writer_finish(&w);
	if (error == 0 && w.length == 0)
		error = unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	else if (error == 0)
		error = save_file(path, writer_octets_written(&w), 0644);
	if (error < 0)
		log_warning("Learned Kinds cannot be saved to %s: %s.", path, strerror(-error));
}

/* What cannot be read or is no longer signed well is left out. */
static void load_kinds(struct configuration *configuration) {
	_cleanup_(writer_release) struct writer w = writer_growing(KINDS_MAX * (UINT16_MAX + 2));
	struct overlay_config *config = overlay_config_ref(router_config(configuration->router));
	char path[PATH_MAX], reason[CONFIG_REASON_SIZE], buffer[4096];
	struct octets block;
	size_t got, learned = 0;

	_cleanup_fclose_ FILE *file = kinds_path(configuration, path) == 0 ? fopen(path, "re") : NULL;
	while (file && (got = fread(buffer, 1, sizeof(buffer), file)) > 0)
		writer_raw(&w, buffer, got);
	struct reader reader = reader_of_octets(writer_octets_written(&w));
	while (writer_finish(&w) == 0 && kind_description_next(&reader, &block) > 0) {
		struct overlay_config *with;
		if (overlay_config_with_kinds(config, &block, 1, &with, reason) < 0)
			continue;
		overlay_config_unref(config);
		config = with;
		learned++;
	}
	if (learned > 0) {
		trust_set_config(router_trust(configuration->router), config);
		router_configuration_changed(configuration->router);
	}
	overlay_config_unref(config);
}

/* ---- documents ---- */

const char *configuration_outcome_name(enum configuration_outcome outcome) {
	static const char *const names[CONFIGURATION_OUTCOMES] = {
		[CONFIGURATION_APPLIED] = "applied",
		[CONFIGURATION_SAME] = "same",
		[CONFIGURATION_STALE] = "stale",
		[CONFIGURATION_OTHER_OVERLAY] = "other_overlay",
		[CONFIGURATION_BAD_SIGNATURE] = "bad_signature",
		[CONFIGURATION_EXPIRED] = "expired",
		[CONFIGURATION_MALFORMED] = "malformed",
		[CONFIGURATION_UNSUPPORTED] = "unsupported",
		[CONFIGURATION_LIMITED] = "limited",
	};

	return (unsigned)outcome < CONFIGURATION_OUTCOMES ? names[outcome] : "unknown";
}

/* Definitions of Kinds that were learned stay as long as their signer may sign and the document does not have its own (B-11.1-12).
 */
static struct overlay_config *keep_learned_kinds(const struct overlay_config *current, struct overlay_config *next) {
	char reason[CONFIG_REASON_SIZE];

	for (size_t i = 0; i < current->kind_count; i++) {
		const struct kind *kind = &current->kinds[i];
		const struct octets block = OCTETS(kind->block, kind->block_length);
		struct overlay_config *with;

		if (!kind->block)
			continue;
		if (overlay_config_with_kinds(next, &block, 1, &with, reason) < 0) {
			log_notice("The definition of Kind %#x is forgotten: %s", kind->id, reason);
			continue;
		}
		overlay_config_unref(next);
		next = with;
	}
	return next;
}

static void save(const struct configuration *configuration, const struct overlay_config *config) {
	int error = configuration->path ? configuration_save(config, configuration->path) : 0;

	if (error < 0) /* in force all the same: others send it again after a restart */
		log_warning("Configuration %u cannot be saved to %s: %s.", config->sequence, configuration->path, strerror(-error));
}

static void put_in_force(struct configuration *configuration, struct overlay_config *config) {
	trust_set_config(router_trust(configuration->router), config);
	router_configuration_changed(configuration->router);
	if (configuration->settings.changed)
		configuration->settings.changed(configuration->settings.userdata);
}

/*
 * The order of the checks: what is cheap and what tells forged documents first; what only a genuine one may cause comes last.
 * `from`: the link it came over.
 */
static enum configuration_outcome take(struct configuration *configuration, struct octets document, uint16_t from, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *head = NULL, *next = NULL;
	struct overlay_config *current = router_config(configuration->router);
	uint64_t now_ms = runtime_realtime_ms(router_runtime(configuration->router));

	reason[0] = 0;
	if (octets_equal(document, OCTETS(current->document, current->document_length))) {
		snprintf(reason, CONFIG_REASON_SIZE, "This document is in force already.");
		return CONFIGURATION_SAME;
	}
	int error = overlay_config_parse_head(document, current->overlay_name, &head, reason);
	if (error < 0)
		return error == -ENXIO ? CONFIGURATION_OTHER_OVERLAY : CONFIGURATION_MALFORMED;
	error = overlay_config_check_successor(current, head, now_ms, reason); /* B-6.5.4-02, B-11.1-11 */
	if (error < 0)
		return error == -ESTALE	   ? CONFIGURATION_STALE
		       : error == -EBADMSG ? CONFIGURATION_EXPIRED
					   : CONFIGURATION_BAD_SIGNATURE;
	error = overlay_config_parse(document, current->overlay_name, &next, reason);
	if (error == 0)
		error = document_supported(next, reason);
	if (error == -EOPNOTSUPP) {
		save(configuration, head); /* so that nobody starts the node again without knowing why it ended */
		return CONFIGURATION_UNSUPPORTED;
	}
	if (error < 0)
		return CONFIGURATION_MALFORMED;
	save(configuration, next);
	next = keep_learned_kinds(current, next);
	uint16_t sequence = next->sequence;
	put_in_force(configuration, next);
	save_kinds(configuration);
	log_notice("Configuration %u of overlay %s is in force.", sequence, next->overlay_name);
	timer_disarm(router_runtime(configuration->router), &configuration->missing);
	spread_to_neighbors(configuration->spread, from);
	return CONFIGURATION_APPLIED;
}

static enum configuration_outcome take_and_count(struct configuration *configuration, struct octets document, uint16_t from,
						 char *reason) {
	enum configuration_outcome outcome = take(configuration, document, from, reason);

	configuration->figures.documents[outcome]++;
	return outcome;
}

static void leave_if_unsupported(struct configuration *configuration, enum configuration_outcome outcome, const char *reason) {
	if (outcome == CONFIGURATION_UNSUPPORTED && configuration->settings.unsupported)
		configuration->settings.unsupported(configuration->settings.userdata, reason);
}

enum configuration_outcome configuration_offer(struct configuration *configuration, struct octets document,
					       char reason[static CONFIG_REASON_SIZE]) {
	enum configuration_outcome outcome = take_and_count(configuration, document, LINK_SLOT_NONE, reason);

	leave_if_unsupported(configuration, outcome, reason);
	return outcome;
}

/* ---- ConfigUpdate of type config ---- */

/* Reading a document costs more than sending one; members of the overlay who send useless ones are not listened to for a while. */
static bool is_useless(const struct configuration *configuration, const struct id *node_id) {
	uint64_t now_us = router_runtime(configuration->router)->now_us;

	for (size_t i = 0; i < CONFIGURATION_SENDERS_MAX; i++)
		if (id_equal(&configuration->useless[i].node_id, node_id) &&
		    now_us - configuration->useless[i].at_us < CONFIGURATION_PAUSE_S * USEC_PER_SEC)
			return true;
	return false;
}

static void note_useless(struct configuration *configuration, const struct id *node_id) {
	configuration->useless[configuration->useless_next].node_id = *node_id;
	configuration->useless[configuration->useless_next].at_us = router_runtime(configuration->router)->now_us;
	configuration->useless_next = (configuration->useless_next + 1) % CONFIGURATION_SENDERS_MAX;
}

/* The link to the node that made the request, when it came straight from there. */
static uint16_t link_of_signer(const struct request *request) {
	return id_equal(&request->previous_hop, &request->signer_id) ? request->slot : LINK_SLOT_NONE;
}

static void on_config(struct configuration *configuration, struct request *request, struct octets document) {
	uint16_t ours = router_config(configuration->router)->sequence;
	struct id signer = request->signer_id;
	char reason[CONFIG_REASON_SIZE] = "Your last document was of no use; wait.";
	enum configuration_outcome outcome = CONFIGURATION_LIMITED;

	if (is_useless(configuration, &signer))
		configuration->figures.documents[outcome]++;
	else
		outcome = take_and_count(configuration, document, link_of_signer(request), reason);
	switch (outcome) {
	case CONFIGURATION_APPLIED:
	case CONFIGURATION_SAME: /* several nodes told us at once */
		request_answer(request, OCTETS_NONE, NULL);
		return;
	case CONFIGURATION_STALE:
		request_fail_text(request, ERROR_CONFIG_TOO_OLD, "The configuration here has sequence %u.", ours);
		spread_to_node(configuration->spread, &signer); /* B-6.3.2.1-03 */
		return;
	case CONFIGURATION_LIMITED:
	case CONFIGURATION_UNSUPPORTED:
		break;
	default:
		note_useless(configuration, &signer);
		log_warning("A configuration document was refused: %s", reason);
	}
	request_fail_text(request, ERROR_FORBIDDEN, "%s", reason);
	leave_if_unsupported(configuration, outcome, reason);
}

/* ---- ConfigUpdate of type kind (RFC 6940 6.5.4.1) ---- */

static bool learned_the_same(const struct overlay_config *current, const struct octets *blocks, size_t count) {
	size_t same = 0;

	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < current->kind_count; k++)
			if (current->kinds[k].block &&
			    octets_equal(blocks[i], OCTETS(current->kinds[k].block, current->kinds[k].block_length))) {
				same++;
				break;
			}
	return same == count;
}

static void on_kinds(struct configuration *configuration, struct request *request, struct octets list) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *next = NULL;
	struct overlay_config *current = router_config(configuration->router);
	struct octets blocks[KINDS_MAX];
	struct reader reader = reader_of_octets(list);
	struct id signer = request->signer_id;
	char reason[CONFIG_REASON_SIZE] = "There are too many Kinds in it.";
	size_t count = 0;
	int more = 1;

	while (count < KINDS_MAX && (more = kind_description_next(&reader, &blocks[count])) > 0)
		count++;
	if (more < 0 || count == 0) { /* B-6.5.4-05 */
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The ConfigUpdate does not parse.");
		return;
	}
	if (learned_the_same(current, blocks, count)) {
		request_answer(request, OCTETS_NONE, NULL);
		return;
	}
	int error = -E2BIG;
	if (is_useless(configuration, &signer))
		snprintf(reason, sizeof(reason), "Your last document was of no use; wait.");
	else if (more == 0)
		error = overlay_config_with_kinds(current, blocks, count, &next, reason);
	if (error < 0) {
		configuration->figures.kinds_refused++;
		note_useless(configuration, &signer);
		log_warning("Definitions of Kinds were refused: %s", reason);
		request_fail_text(request, ERROR_FORBIDDEN, "%s", reason); /* B-6.5.4-03 */
		return;
	}
	configuration->figures.kinds_learned += count;
	put_in_force(configuration, next);
	save_kinds(configuration);
	log_notice("Definitions of %zu Kinds were learned.", count);
	request_answer(request, OCTETS_NONE, NULL);
}

static void on_config_update(void *userdata, struct request *request) {
	struct configuration *configuration = userdata;
	struct config_update_req update;

	if (config_update_read(request->message.contents.body, &update) < 0)
		request_fail_text(request, ERROR_INVALID_MESSAGE, "The ConfigUpdate does not parse.");
	else if (update.type == CONFIG_UPDATE_CONFIG)
		on_config(configuration, request, update.config);
	else if (update.type == CONFIG_UPDATE_KIND)
		on_kinds(configuration, request, update.kinds);
	else
		request_fail_text(request, ERROR_INVALID_MESSAGE, "ConfigUpdates of this type are not known here.");
}

/* ---- others are ahead or behind ---- */

static void on_mismatch(void *userdata, const struct id *node_id, bool newer) {
	struct configuration *configuration = userdata;
	struct runtime *runtime = router_runtime(configuration->router);

	if (!newer) {
		spread_to_node(configuration->spread, node_id);
		return;
	}
	if (configuration->missing.armed) /* theirs comes to us */
		return;
	uint64_t delay_us = CONFIGURATION_MISSING_S * USEC_PER_SEC;
	timer_arm_after(runtime, &configuration->missing, delay_us + runtime_random_below(runtime, delay_us));
}

static void on_missing(struct timer *timer, void *userdata) {
	struct configuration *configuration = userdata;

	(void)timer;
	if (configuration->settings.missing)
		configuration->settings.missing(configuration->settings.userdata);
}

/* ---- life ---- */

const struct configuration_figures *configuration_figures(const struct configuration *configuration) {
	return &configuration->figures;
}

const struct spread_figures *configuration_spread_figures(const struct configuration *configuration) {
	return spread_figures(configuration->spread);
}

int configuration_new(const struct configuration_settings *settings, struct configuration **ret) {
	_cleanup_(configuration_freep) struct configuration *configuration = calloc(1, sizeof(*configuration));

	if (!configuration)
		return -ENOMEM;
	configuration->settings = *settings;
	configuration->router = settings->router;
	timer_init(&configuration->missing, on_missing, configuration);
	configuration->path = settings->path ? strdup(settings->path) : NULL;
	if ((settings->path && !configuration->path) || spread_new(settings->router, &configuration->spread) < 0)
		return -ENOMEM;
	load_kinds(configuration);
	configuration->listener = (struct configuration_listener){.userdata = configuration, .mismatch = on_mismatch};
	router_handle(settings->router, CONFIG_UPDATE_REQ, on_config_update, configuration);
	router_set_configuration_listener(settings->router, &configuration->listener);
	*ret = TAKE(configuration);
	return 0;
}

struct configuration *configuration_free(struct configuration *configuration) {
	if (!configuration)
		return NULL;
	if (configuration->spread) {
		router_set_configuration_listener(configuration->router, NULL);
		router_handle(configuration->router, CONFIG_UPDATE_REQ, NULL, NULL);
	}
	timer_disarm(router_runtime(configuration->router), &configuration->missing);
	spread_free(configuration->spread);
	free(configuration->path);
	free(configuration);
	return NULL;
}
