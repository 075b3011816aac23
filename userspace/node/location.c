/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/location.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

struct waiter {
	sip_resolve_answer done;
	void *userdata;
	struct waiter *previous, *next;
};

/* A user who is known, being looked up, or both in turn. */
struct entry {
	struct location *location;
	bool asking;	 /* the answer is awaited; else it is in `previous` and `next` */
	bool changed;	 /* meanwhile: the answer is not to be kept */
	unsigned status; /* of what is known, 0 for nothing */
	uint64_t since_us, until_us;
	struct sip_redirect_contact *contacts; /* one allocation with the URIs */
	size_t count, octets;
	struct waiter *waiters;
	struct timer timer; /* to answer from what is known */
	struct entry *previous, *next;
	UT_hash_handle hh;
	char aor[];
};

struct location {
	struct location_settings settings;
	struct entry *entries;
	struct entry *idle; /* not being asked for, the one used longest ago first */
	struct location_figures figures;
};

/* ---- entries ---- */

static void entry_clear(struct entry *entry) {
	free(entry->contacts);
	entry->contacts = NULL;
	entry->count = 0;
	entry->location->figures.octets -= entry->octets;
	entry->octets = 0;
	entry->status = 0;
}

static void entry_free(struct entry *entry) {
	struct location *location = entry->location;

	if (!entry->asking)
		DL_DELETE2(location->idle, entry, previous, next);
	timer_disarm(location->settings.runtime, &entry->timer);
	HASH_DEL(location->entries, entry);
	entry_clear(entry);
	free(entry);
}

/* Those that somebody waits for stay: they are answered in this round of events. */
static void make_room(struct location *location) {
	struct entry *entry, *next;

	DL_FOREACH_SAFE2(location->idle, entry, next, next) {
		if (HASH_COUNT(location->entries) <= LOCATION_ENTRIES && location->figures.octets <= LOCATION_OCTETS)
			return;
		if (entry->waiters)
			continue;
		location->figures.displaced++;
		entry_free(entry);
	}
}

/* Copies contacts and URIs into one piece of memory. */
static int entry_keep(struct entry *entry, const struct sip_redirect_contact *contacts, size_t count) {
	size_t octets = count * sizeof(*contacts);

	for (size_t i = 0; i < count; i++)
		octets += strlen(contacts[i].uri) + 1;
	struct sip_redirect_contact *copy = count > 0 ? malloc(octets) : NULL;
	if (count > 0 && !copy)
		return -ENOMEM;
	char *text = (char *)(copy + count);
	for (size_t i = 0; i < count; i++) {
		copy[i] = contacts[i];
		copy[i].uri = strcpy(text, contacts[i].uri);
		text += strlen(text) + 1;
	}
	entry_clear(entry);
	entry->contacts = copy;
	entry->count = count;
	entry->octets = octets + sizeof(*entry) + strlen(entry->aor);
	entry->location->figures.octets += entry->octets;
	return 0;
}

/* How long an answer may be repeated; 0: not at all. */
static unsigned seconds_good(const struct location *location, unsigned status, const struct sip_redirect_contact *contacts,
			     size_t count) {
	unsigned seconds = location->settings.seconds;

	if (status != 302 && status != 404 && status != 480 && status != 482)
		return 0; /* the overlay may be back at any moment */
	if (status != 302 && seconds > LOCATION_NEGATIVE_SECONDS)
		seconds = LOCATION_NEGATIVE_SECONDS;
	for (size_t i = 0; i < count; i++)
		if (contacts[i].expires_s < seconds)
			seconds = contacts[i].expires_s;
	return seconds;
}

/* ---- answers ---- */

static void answer_waiters(struct entry *entry, unsigned status, const struct sip_redirect_contact *contacts, size_t count,
			   unsigned retry_after_s) {
	struct waiter *waiters = entry->waiters, *waiter, *next;

	entry->waiters = NULL; /* who asks from now on is another matter */
	DL_FOREACH_SAFE2(waiters, waiter, next, next) {
		waiter->done(waiter->userdata, status, contacts, count, retry_after_s);
		free(waiter);
	}
}

static void on_timer(struct timer *timer, void *userdata) {
	struct entry *entry = userdata;
	struct sip_redirect_contact contacts[LOCATION_CONTACTS];
	uint64_t age_s = (entry->location->settings.runtime->now_us - entry->since_us) / USEC_PER_SEC;

	(void)timer;
	for (size_t i = 0; i < entry->count; i++) {
		contacts[i] = entry->contacts[i];
		contacts[i].expires_s = contacts[i].expires_s > age_s ? contacts[i].expires_s - (unsigned)age_s : 1;
	}
	answer_waiters(entry, entry->status, contacts, entry->count, 0);
}

static void on_answer(void *userdata, unsigned status, const struct sip_redirect_contact *contacts, size_t count,
		      unsigned retry_after_s) {
	struct entry *entry = userdata;
	struct location *location = entry->location;

	if (!contacts)
		count = 0;
	if (count > LOCATION_CONTACTS)
		count = LOCATION_CONTACTS;
	unsigned seconds = entry->changed ? 0 : seconds_good(location, status, contacts, count);
	entry->asking = entry->changed = false;
	DL_APPEND2(location->idle, entry, previous, next);
	entry_clear(entry);
	if (seconds > 0 && entry_keep(entry, contacts, count) == 0) {
		entry->status = status;
		entry->since_us = location->settings.runtime->now_us;
		entry->until_us = entry->since_us + seconds * USEC_PER_SEC;
	}
	answer_waiters(entry, status, contacts, count, retry_after_s);
	/* In an answer somebody may have asked for the same again, and then it is not ours to free. */
	if (entry->status == 0 && !entry->asking && !entry->waiters)
		entry_free(entry);
	make_room(location);
}

/* ---- questions ---- */

static struct entry *entry_get(struct location *location, const char *aor) {
	struct entry *entry = NULL;

	HASH_FIND_STR(location->entries, aor, entry);
	if (entry)
		return entry;
	entry = calloc(1, sizeof(*entry) + strlen(aor) + 1);
	if (!entry)
		return NULL;
	entry->location = location;
	strcpy(entry->aor, aor);
	timer_init(&entry->timer, on_timer, entry);
	HASH_ADD_STR(location->entries, aor, entry);
	if (!entry->hh.tbl) {
		free(entry);
		return NULL;
	}
	DL_APPEND2(location->idle, entry, previous, next);
	return entry;
}

void location_resolve(struct location *location, const char *aor, sip_resolve_answer done, void *userdata) {
	struct runtime *runtime = location->settings.runtime;
	struct waiter *waiter = malloc(sizeof(*waiter));
	struct entry *entry = waiter ? entry_get(location, aor) : NULL;

	if (!entry) {
		log_error("Not enough memory to resolve %s.", aor);
		free(waiter);
		return; /* the gateway gives up by itself */
	}
	*waiter = (struct waiter){.done = done, .userdata = userdata};
	DL_APPEND2(entry->waiters, waiter, previous, next);
	if (entry->asking) {
		location->figures.joined++;
		return;
	}
	DL_DELETE2(location->idle, entry, previous, next);
	if (entry->status != 0 && runtime->now_us < entry->until_us) {
		DL_APPEND2(location->idle, entry, previous, next);
		location->figures.hits++;
		timer_arm_after(runtime, &entry->timer, 0);
		return;
	}
	timer_disarm(runtime, &entry->timer); /* who waits for what was known may as well get what is new */
	entry->asking = true;
	location->figures.lookups++;
	location->settings.ask(location->settings.userdata, entry->aor, on_answer, entry);
}

void location_forget(struct location *location, const char *aor) {
	struct entry *entry = NULL;

	HASH_FIND_STR(location->entries, aor, entry);
	if (!entry)
		return;
	entry->until_us = 0;
	entry->changed = entry->asking;
}

void location_forget_all(struct location *location) {
	for (struct entry *entry = location->entries; entry; entry = entry->hh.next) {
		entry->until_us = 0;
		entry->changed = entry->asking;
	}
}

struct location_figures location_figures(const struct location *location) {
	struct location_figures figures = location->figures;

	figures.entries = HASH_COUNT(location->entries);
	return figures;
}

int location_new(const struct location_settings *settings, struct location **ret) {
	struct location *location = calloc(1, sizeof(*location));

	if (!location)
		return -ENOMEM;
	location->settings = *settings;
	*ret = location;
	return 0;
}

struct location *location_free(struct location *location) {
	struct entry *entry, *next;

	if (!location)
		return NULL;
	HASH_ITER (hh, location->entries, entry, next) {
		answer_waiters(entry, 503, NULL, 0, 1);
		entry_free(entry);
	}
	free(location);
	return NULL;
}
