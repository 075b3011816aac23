/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/users.h"

#include "base/log.h"
#include "base/table.h"
#include "usages/usages.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <strings.h>

struct entry {
	struct user user; /* first */
	UT_hash_handle hh;
};

/* Asked for with every SIP request, so that walking through all users would not do. */
struct domain {
	UT_hash_handle hh;
	char name[];
};

struct users {
	struct entry *entries;
	struct domain *domains;
	struct trust *trust;
	char *overlay_name;
	uint8_t node_id_length;
	void (*awake)(void *userdata, const struct user *user);
	void *userdata;
};

static void entry_free(struct entry *entry) {
	for (size_t i = 0; i < entry->user.count; i++) {
		credential_unref(entry->user.credentials[i]);
		free(entry->user.contacts[i]);
	}
	free(entry->user.stem);
	free(entry);
}

static int add_domain(struct users *users, const char *user_name) {
	const char *at = strrchr(user_name, '@');
	struct domain *domain = NULL;

	if (!at)
		return 0;
	HASH_FIND_STR(users->domains, at + 1, domain);
	if (domain)
		return 0;
	/* What stands behind the @. NOLINTNEXTLINE(bugprone-misplaced-operator-in-strlen-in-alloc) */
	domain = calloc(1, sizeof(*domain) + strlen(at + 1) + 1);
	if (!domain)
		return -ENOMEM;
	strcpy(domain->name, at + 1);
	HASH_ADD_STR(users->domains, name, domain);
	if (domain->hh.tbl)
		return 0;
	free(domain);
	return -ENOMEM;
}

static size_t place_of_node_id(const struct user *user, const struct id *node_id) {
	size_t i = 0;

	while (i < user->count && !id_equal(&user->credentials[i]->node_id, node_id))
		i++;
	return i;
}

/* One credential per Node-ID; of two certificates with the same one, as when it was renewed, the one that lasts longer signs. */
static int user_add_credentials(struct user *user, struct credential *credential) {
	const struct certificate *certificate = credential->certificate;

	for (size_t i = 0; i < certificate->node_id_count; i++) {
		_cleanup_(credential_unrefp) struct credential *one = NULL;
		size_t place = place_of_node_id(user, &certificate->node_ids[i]);
		if (place == USER_CONTACTS_MAX ||
		    (place < user->count && user->credentials[place]->certificate->not_after_ms >= certificate->not_after_ms))
			continue;
		int error = credential_as(credential, &certificate->node_ids[i], &one);
		if (error < 0)
			return error;
		credential_unref(user->credentials[place]);
		user->credentials[place] = TAKE(one);
		if (place == user->count)
			user->count++;
	}
	return 0;
}

static int user_remember(struct user *user, const struct certificate *certificate, const char *stem) {
	char *copy;

	if (user->stem && user->not_after_ms >= certificate->not_after_ms)
		return 0;
	copy = strdup(stem);
	if (!copy)
		return -ENOMEM;
	free(user->stem);
	user->stem = copy;
	user->not_before_ms = certificate->not_before_ms;
	user->not_after_ms = certificate->not_after_ms;
	user->renewal = (struct renewal){.due_ms = 0};
	return 0;
}

static int entry_put(struct users *users, struct entry *entry, const char *name) {
	int error = add_domain(users, name);

	if (error < 0)
		return error;
	strcpy(entry->user.name, name);
	HASH_ADD_STR(users->entries, user.name, entry);
	return entry->hh.tbl ? 0 : -ENOMEM;
}

static int users_add(struct users *users, struct credential *credential, const char *stem, struct user **ret) {
	const char *name = credential->certificate->user_name;
	struct entry *entry, *added = NULL;

	HASH_FIND_STR(users->entries, name, entry);
	if (!entry) {
		if (HASH_COUNT(users->entries) >= USERS_MAX)
			return -E2BIG;
		entry = added = calloc(1, sizeof(*entry));
		if (!entry)
			return -ENOMEM;
	}
	int error = user_add_credentials(&entry->user, credential);
	if (error == 0)
		error = user_remember(&entry->user, credential->certificate, stem);
	if (error == 0 && added)
		error = entry_put(users, entry, name);
	if (error < 0) {
		if (added)
			entry_free(added);
		return error;
	}
	entry->user.unusable = false;
	*ret = &entry->user;
	return 0;
}

/* A user whose pair is read later. -EINVAL when the file is not called after one. */
static int users_expect(struct users *users, const char *stem) {
	const char *name = strrchr(stem, '/') ? strrchr(stem, '/') + 1 : stem;
	char aor[USER_NAME_MAX + 1];
	struct entry *entry;

	if (!strchr(name, '@') || sip_aor_of_uri(name, aor, sizeof(aor)) < 0 || strcmp(aor, name) != 0)
		return -EINVAL;
	HASH_FIND_STR(users->entries, name, entry);
	if (entry)
		return -EEXIST;
	if (HASH_COUNT(users->entries) >= USERS_MAX)
		return -E2BIG;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	entry->user.stem = strdup(stem);
	int error = entry->user.stem ? entry_put(users, entry, name) : -ENOMEM;
	if (error < 0)
		entry_free(entry);
	return error;
}

static bool ends_in(const char *name, const char *suffix) {
	size_t length = strlen(name), tail = strlen(suffix);

	return length > tail && strcmp(name + length - tail, suffix) == 0;
}

int users_put(struct users *users, const char *stem, struct trust *trust, const char *overlay_name, uint8_t node_id_length,
	      uint64_t realtime_ms, struct user **ret, char reason[static USERS_REASON_SIZE]) {
	_cleanup_(credential_unrefp) struct credential *credential = NULL;
	char certificate[PATH_MAX], key[PATH_MAX], aor[USER_NAME_MAX + 1];
	const char *why = NULL;

	if (snprintf(certificate, sizeof(certificate), "%s.crt", stem) >= (int)sizeof(certificate) ||
	    snprintf(key, sizeof(key), "%s.key", stem) >= (int)sizeof(key)) {
		snprintf(reason, USERS_REASON_SIZE, "%.200s: the path is too long.", stem);
		return -ENAMETOOLONG;
	}
	int error = credential_load(certificate, key, overlay_name, node_id_length, &credential, reason, USERS_REASON_SIZE);
	if (error < 0)
		return error;
	error = trust_check(trust, credential->certificate, realtime_ms, &why);
	if (error < 0) {
		snprintf(reason, USERS_REASON_SIZE, "%.200s: %.200s.", certificate,
			 why ? why : "the certificate is not trusted in this overlay");
		return error;
	}
	/* Callers look for the AoR in its normal form, and the records of a user lie where the name in the certificate says. */
	if (sip_aor_of_uri(credential->certificate->user_name, aor, sizeof(aor)) < 0 ||
	    strcmp(aor, credential->certificate->user_name) != 0) {
		snprintf(reason, USERS_REASON_SIZE,
			 "%.200s: callers would not find \"%.100s\", which is no address of record with its domain in lower case.",
			 certificate, credential->certificate->user_name);
		return -EINVAL;
	}
	error = users_add(users, credential, stem, ret);
	if (error < 0)
		snprintf(reason, USERS_REASON_SIZE, "%.200s: %s.", certificate, strerror(-error));
	return error;
}

int users_wake(struct users *users, struct user *user, uint64_t realtime_ms) {
	char reason[USERS_REASON_SIZE];
	struct user *found = NULL;

	if (user->count > 0 || user->unusable)
		return user->unusable ? -EACCES : 0;
	_cleanup_free_ char *stem = strdup(user->stem); /* which gives way when the pair is taken */
	if (!stem)
		return -ENOMEM;
	int error = users_put(users, stem, users->trust, users->overlay_name, users->node_id_length, realtime_ms, &found, reason);
	if (error == 0 && users->awake)
		users->awake(users->userdata, found);
	if (error == 0 && found != user) {
		snprintf(reason, sizeof(reason), "%.200s: the certificate is that of %.100s.", stem, found->name);
		error = -EINVAL;
	}
	if (error < 0) {
		log_warning("User left out: %s", reason);
		user->unusable = error != -ENOMEM;
		return error;
	}
	return 0;
}

void users_on_wake(struct users *users, void (*awake)(void *userdata, const struct user *user), void *userdata) {
	users->awake = awake;
	users->userdata = userdata;
}

static void load_pair(struct users *users, const char *directory, const char *name, bool later, struct trust *trust,
		      const char *overlay_name, uint8_t node_id_length, uint64_t realtime_ms) {
	char stem[PATH_MAX], reason[USERS_REASON_SIZE];
	struct user *user;

	if (snprintf(stem, sizeof(stem), "%s/%.*s", directory, (int)(strlen(name) - strlen(".crt")), name) >= (int)sizeof(stem))
		return;
	if (later && users_expect(users, stem) != -EINVAL)
		return;
	if (users_put(users, stem, trust, overlay_name, node_id_length, realtime_ms, &user, reason) < 0)
		log_warning("User left out: %s", reason);
}

static int is_certificate(const struct dirent *entry) {
	return ends_in(entry->d_name, ".crt");
}

int users_load(const char *directory, struct trust *trust, const char *overlay_name, uint8_t node_id_length, uint64_t realtime_ms,
	       struct users **ret) {
	return users_load_some(directory, USERS_READ_AT_ONCE, trust, overlay_name, node_id_length, realtime_ms, ret);
}

int users_load_some(const char *directory, size_t at_once, struct trust *trust, const char *overlay_name, uint8_t node_id_length,
		    uint64_t realtime_ms, struct users **ret) {
	struct users *users = calloc(1, sizeof(*users));
	struct dirent **entries;

	if (users)
		users->overlay_name = strdup(overlay_name);
	if (!users || !users->overlay_name) {
		users_free(users);
		return -ENOMEM;
	}
	users->trust = trust;
	users->node_id_length = node_id_length;
	int count = scandir(directory, &entries, is_certificate, alphasort);
	for (int i = 0; i < count; i++) {
		load_pair(users, directory, entries[i]->d_name, (size_t)count > at_once, trust, overlay_name, node_id_length,
			  realtime_ms);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	else if (errno != ENOENT)
		log_warning("The users directory %s cannot be read: %s.", directory, strerror(errno));
	*ret = users;
	return 0;
}

struct users *users_free(struct users *users) {
	struct domain *domain, *next_domain;
	struct entry *entry, *next;

	if (!users)
		return NULL;
	HASH_ITER (hh, users->entries, entry, next) {
		HASH_DEL(users->entries, entry);
		entry_free(entry);
	}
	HASH_ITER (hh, users->domains, domain, next_domain) {
		HASH_DEL(users->domains, domain);
		free(domain);
	}
	free(users->overlay_name);
	free(users);
	return NULL;
}

struct user *users_find(struct users *users, const char *name) {
	struct entry *entry;

	HASH_FIND_STR(users->entries, name, entry);
	return entry && !entry->user.unusable ? &entry->user : NULL;
}

struct user *users_next(struct users *users, const struct user *previous) {
	const struct entry *entry = (const struct entry *)(const void *)previous;
	struct entry *next = entry ? entry->hh.next : users->entries;

	return next ? &next->user : NULL;
}

size_t users_count(const struct users *users) {
	return HASH_COUNT(users->entries);
}

/* Those of users are in lower case. */
bool users_serve_domain(const struct users *users, const char *domain) {
	char lower[USER_NAME_MAX + 1];
	struct domain *found = NULL;
	size_t length = strlen(domain);

	if (length > USER_NAME_MAX)
		return false;
	for (size_t i = 0; i <= length; i++)
		lower[i] = ascii_lower(domain[i]);
	HASH_FIND_STR(users->domains, lower, found);
	return found != NULL;
}

static size_t contact_hash(const char *contact) {
	uint32_t hash = 2166136261u;

	for (; *contact; contact++)
		hash = (hash ^ (uint8_t)*contact) * 16777619u;
	return hash;
}

struct credential *user_credential_for(struct user *user, const char *contact, uint64_t now_us) {
	size_t start = contact_hash(contact);

	for (size_t i = 0; i < user->count; i++)
		if (user->contacts[i] && strcmp(user->contacts[i], contact) == 0)
			return user->credentials[i];
	for (size_t i = 0; i < user->count; i++) {
		size_t place = (start + i) % user->count;
		if (!user->contacts[place] || user->expires_us[place] <= now_us)
			return user->credentials[place];
	}
	return NULL;
}

void user_contact_claim(struct user *user, const struct credential *credential, const char *contact, uint64_t expires_us) {
	for (size_t i = 0; i < user->count; i++) {
		if (user->credentials[i] != credential)
			continue;
		/* Without memory the place looks free: another contact may get it, none is locked out. */
		free(user->contacts[i]);
		user->contacts[i] = strdup(contact);
		user->expires_us[i] = expires_us;
	}
}

void user_contact_release(struct user *user, const char *contact) {
	for (size_t i = 0; i < user->count; i++) {
		if (user->contacts[i] && strcmp(user->contacts[i], contact) == 0) {
			free(user->contacts[i]);
			user->contacts[i] = NULL;
		}
	}
}
