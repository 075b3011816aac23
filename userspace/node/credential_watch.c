/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/credential_watch.h"

#include "base/log.h"
#include "base/table.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>

/* A pair that changed. In the order in which they did, as uthash keeps them. */
struct change {
	UT_hash_handle hh;
	char stem[];
};

struct place {
	struct credential_watch *watch;
	char directory[PATH_MAX];
	const char *only; /* the one stem of interest; NULL: all */
	sd_event_source *source;
};

struct credential_watch {
	struct node *node;
	credential_watch_changed changed;
	void *userdata;
	char own[PATH_MAX]; /* "" when certificate and key are no pair of one name */
	struct place own_place, users_place;
	struct change *changes;
	struct timer settled;
	bool full;
};

static void change_free(struct credential_watch *watch, struct change *change) {
	HASH_DEL(watch->changes, change);
	free(change);
}

static void lost(struct credential_watch *watch) {
	if (!watch->full)
		log_warning("More certificates changed at once than can be taken up, or there is no memory for them; restart to "
			    "have them all.");
	watch->full = true;
}

static void remember(struct credential_watch *watch, const char *stem) {
	struct change *change;
	size_t length = strlen(stem);

	HASH_FIND(hh, watch->changes, stem, length, change);
	if (!change && HASH_COUNT(watch->changes) >= CREDENTIAL_WATCH_MAX) {
		lost(watch);
		return;
	}
	if (!change) {
		change = calloc(1, sizeof(*change) + length + 1);
		if (!change) {
			lost(watch);
			return;
		}
		memcpy(change->stem, stem, length + 1);
		HASH_ADD_KEYPTR(hh, watch->changes, change->stem, length, change);
		if (!change->hh.tbl) {
			free(change);
			lost(watch);
			return;
		}
	}
	timer_arm_after(&watch->node->runtime, &watch->settled, CREDENTIAL_WATCH_SETTLE_MS * USEC_PER_MSEC);
}

static int on_event(sd_event_source *source, const struct inotify_event *event, void *userdata) {
	struct place *place = userdata;
	struct credential_watch *watch = place->watch;
	char stem[PATH_MAX];

	(void)source;
	node_enter(watch->node);
	if (event->mask & IN_Q_OVERFLOW)
		lost(watch);
	const char *dot = event->len > 0 ? strrchr(event->name, '.') : NULL;
	if (!dot || (strcmp(dot, ".crt") != 0 && strcmp(dot, ".key") != 0) ||
	    snprintf(stem, sizeof(stem), "%s/%.*s", place->directory, (int)(dot - event->name), event->name) >= PATH_MAX ||
	    (place->only && strcmp(place->only, stem) != 0))
		return 0;
	remember(watch, stem);
	return 0;
}

static void on_settled(struct timer *timer, void *userdata) {
	struct credential_watch *watch = userdata;

	for (unsigned i = 0; i < CREDENTIAL_WATCH_AT_ONCE && watch->changes; i++) {
		char stem[PATH_MAX];
		snprintf(stem, sizeof(stem), "%s", watch->changes->stem);
		change_free(watch, watch->changes);
		watch->changed(watch->userdata, stem);
	}
	if (watch->changes)
		timer_arm_after(&watch->node->runtime, timer, 0);
	else
		watch->full = false;
}

/* A directory that cannot be watched costs nothing but this: what is put there is known after the next start. */
static void look_at(struct credential_watch *watch, struct place *place, const char *only) {
	place->watch = watch;
	place->only = only;
	int error = sd_event_add_inotify(watch->node->event, &place->source, place->directory,
					 IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR, on_event, place);
	if (error < 0)
		log_warning("Certificates put into %s are not noticed before the next start: %s.", place->directory,
			    strerror(-error));
}

int credential_watch_new(struct node *node, credential_watch_changed changed, void *userdata, struct credential_watch **ret) {
	struct credential_watch *watch = calloc(1, sizeof(*watch));
	const struct settings *settings = node->settings;
	char copy[PATH_MAX];

	if (!watch)
		return -ENOMEM;
	watch->node = node;
	watch->changed = changed;
	watch->userdata = userdata;
	timer_init(&watch->settled, on_settled, watch);
	if (settings_stem(settings->certificate, settings->key, watch->own) == 0) {
		snprintf(copy, sizeof(copy), "%s", watch->own);
		snprintf(watch->own_place.directory, PATH_MAX, "%s", dirname(copy));
		look_at(watch, &watch->own_place, watch->own);
	}
	/* A site whose users come later has none yet. */
	if (mkdir(settings->users_directory, 0700) == 0 || errno == EEXIST) {
		snprintf(watch->users_place.directory, PATH_MAX, "%s", settings->users_directory);
		look_at(watch, &watch->users_place, NULL);
	}
	*ret = watch;
	return 0;
}

struct credential_watch *credential_watch_free(struct credential_watch *watch) {
	if (!watch)
		return NULL;
	timer_disarm(&watch->node->runtime, &watch->settled);
	sd_event_source_disable_unref(watch->own_place.source);
	sd_event_source_disable_unref(watch->users_place.source);
	while (watch->changes)
		change_free(watch, watch->changes);
	free(watch);
	return NULL;
}
