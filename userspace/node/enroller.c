/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/enroller.h"

#include "base/log.h"
#include "node/credential_watch.h"
#include "node/helper.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

#define DAY_MS UINT64_C(86400000)

enum { PAUSE_EXPIRED_S = 60 /* longest, once the certificate has ended */, HOUR_S = 3600, WARN_PARTS = 6 /* of a life */ };

/* A phone that registered a user without certificate. */
struct waiting {
	char aor[USER_NAME_MAX + 1];
	enroller_user_done done;
	void *userdata;
	struct waiting *prev, *next;
};

struct refused {
	char aor[USER_NAME_MAX + 1];
	uint64_t until_us;
};

struct enroller {
	struct node *node;
	struct timer look;
	struct renewal own;
	uint64_t warned_ms; /* when the end of our certificate was last warned of */

	struct helper *helper;
	char user[USER_NAME_MAX + 1]; /* whom it works for; "": the node */
	bool first;
	struct enroll_command command;
	struct credential_watch *watch;

	struct waiting *waiting;
	size_t waiting_count;
	struct refused refused[ENROLLER_REFUSED_MAX];
	size_t next_refused;
	uint64_t hour_us; /* when the present hour began */
	unsigned this_hour;

	uint64_t renewed, enrolled, failed;
	char last_failure[ENROLLER_REASON_SIZE];
};

static bool configured(const struct enroller *enroller) {
	return enroller->node->settings->enroll_user != NULL;
}

static uint64_t left_ms(uint64_t not_after_ms, uint64_t now_ms) {
	return not_after_ms > now_ms ? not_after_ms - now_ms : 0;
}

uint64_t enroller_pause_s(const struct runtime *runtime, unsigned failures, uint64_t left) {
	uint64_t pause_s = ENROLLER_PAUSE_FIRST_S, most_s = left > 0 ? left / 8000 : PAUSE_EXPIRED_S;

	for (unsigned i = 1; i < failures && pause_s < ENROLLER_PAUSE_LAST_S; i++)
		pause_s *= 2;
	if (pause_s > ENROLLER_PAUSE_LAST_S)
		pause_s = ENROLLER_PAUSE_LAST_S;
	/* More often towards the end, so that there are several tries left when the server comes back. */
	if (pause_s > most_s)
		pause_s = most_s;
	if (pause_s < ENROLLER_PAUSE_LEAST_S)
		pause_s = ENROLLER_PAUSE_LEAST_S;
	return pause_s / 2 + runtime_random_below(runtime, pause_s / 2 + 1);
}

/* Some servers want the password again, so with and without take turns. A key whose certificate has ended proves nothing. */
static bool by_password(const struct enroller *enroller, const struct renewal *renewal, uint64_t not_after_ms) {
	return renewal->by_password || left_ms(not_after_ms, runtime_realtime_ms(&enroller->node->runtime)) == 0;
}

static void decide(const struct enroller *enroller, struct renewal *renewal, uint64_t not_before_ms, uint64_t not_after_ms) {
	if (renewal->due_ms == 0)
		renewal->due_ms = certificate_renewal_ms(&enroller->node->runtime, not_before_ms, not_after_ms);
}

/* ---- what is next ---- */

static void work(struct enroller *enroller);

static void arm(struct enroller *enroller, uint64_t due_ms) {
	struct runtime *runtime = &enroller->node->runtime;
	uint64_t pause_ms = left_ms(due_ms, runtime_realtime_ms(runtime));

	if (pause_ms > ENROLLER_LOOK_S * UINT64_C(1000))
		pause_ms = ENROLLER_LOOK_S * UINT64_C(1000);
	timer_arm_after(runtime, &enroller->look, pause_ms * USEC_PER_MSEC);
}

/* When does it end, unless somebody does something? */
static void warn(struct enroller *enroller) {
	const struct certificate *certificate = enroller->node->credential->certificate;
	uint64_t now_ms = runtime_realtime_ms(&enroller->node->runtime), left = left_ms(certificate->not_after_ms, now_ms);

	if (left > (certificate->not_after_ms - certificate->not_before_ms) / WARN_PARTS ||
	    (enroller->warned_ms != 0 && now_ms - enroller->warned_ms < DAY_MS))
		return;
	enroller->warned_ms = now_ms;
	if (left == 0)
		log_error("The certificate of this node has expired; others close their links to it. %s",
			  configured(enroller) ? enroller->last_failure : "Get another one with: ringgatectl enroll --renew");
	else
		log_warning("The certificate of this node ends in %llu days and %llu hours. %s",
			    (unsigned long long)(left / DAY_MS), (unsigned long long)(left % DAY_MS / 3600000),
			    configured(enroller) ? enroller->last_failure
						 : "Set server and user in [enroll], or get another one with: ringgatectl enroll "
						   "--renew");
}

/* The user whose attempt is due first. */
static struct user *next_user(struct enroller *enroller) {
	struct users *users = enroller->node->users;
	struct user *found = NULL;

	for (struct user *user = users_next(users, NULL); user; user = users_next(users, user)) {
		if (user->count == 0)
			continue; /* nobody needs it yet */
		decide(enroller, &user->renewal, user->not_before_ms, user->not_after_ms);
		if (!found || user->renewal.due_ms < found->renewal.due_ms)
			found = user;
	}
	return found;
}

/* ---- afterwards ---- */

static void failed(struct enroller *enroller, struct renewal *renewal, const char *who, uint64_t not_after_ms, const char *reason) {
	struct runtime *runtime = &enroller->node->runtime;
	uint64_t now_ms = runtime_realtime_ms(runtime), left = left_ms(not_after_ms, now_ms);
	uint64_t pause_s = enroller_pause_s(runtime, ++renewal->failures, left);

	renewal->by_password = !renewal->by_password;
	renewal->due_ms = now_ms + pause_s * 1000;
	log_warning("The certificate of %s is not renewed: %s It is good for %llu h %02llu min more; trying again in %llu s.", who,
		    reason, (unsigned long long)(left / 3600000), (unsigned long long)(left / 60000 % 60),
		    (unsigned long long)pause_s);
}

/* The same Node-ID with a new certificate: links that are up go on, handshakes and signatures show the new one. -EALREADY: it is
 * the one in use. */
static int adopt_own(struct enroller *enroller, char *reason) {
	_cleanup_(credential_unrefp) struct credential *loaded = NULL, *credential = NULL;
	struct node *node = enroller->node;
	const struct overlay_config *config = router_config(node->router);
	const char *why = NULL;

	int error = credential_load(node->settings->certificate, node->settings->key, config->overlay_name, config->node_id_length,
				    &loaded, reason, ENROLLER_REASON_SIZE);
	if (error < 0)
		return error;
	if (memcmp(loaded->certificate->sha256, node->credential->certificate->sha256, sizeof(loaded->certificate->sha256)) == 0)
		return -EALREADY;
	error = trust_check(node->trust, loaded->certificate, runtime_realtime_ms(&node->runtime), &why);
	if (error == 0)
		error = credential_as(loaded, &node->credential->node_id, &credential);
	if (error == 0)
		error = links_set_credential(node->links, credential);
	if (error == 0)
		error = router_set_credential(node->router, credential);
	if (error < 0) {
		snprintf(reason, ENROLLER_REASON_SIZE, "%.120s cannot be used: %.100s.", node->settings->certificate,
			 why		    ? why
			 : error == -ENOENT ? "it is for another Node-ID"
					    : strerror(-error));
		return error;
	}
	if (certificate_store_add(node->certificates, credential) < 0) /* B-8-01; the former one is there until it ends */
		log_warning("Not enough memory to store the new certificate in the overlay.");
	credential_unref(node->credential);
	node->credential = TAKE(credential);
	return 0;
}

static void own_adopted(struct enroller *enroller) {
	enroller->last_failure[0] = 0;
	enroller->warned_ms = 0;
	enroller->own = (struct renewal){.due_ms = 0};
	log_notice("The certificate of this node is renewed.");
}

static void own_done(struct enroller *enroller, int status, char *reason) {
	struct node *node = enroller->node;
	int error = status == 0 ? adopt_own(enroller, reason) : -EACCES;

	if (error == -EALREADY)
		snprintf(reason, ENROLLER_REASON_SIZE, "The server gave out the same certificate again.");
	if (error < 0) {
		enroller->failed++;
		snprintf(enroller->last_failure, sizeof(enroller->last_failure), "%s", reason);
		failed(enroller, &enroller->own, "this node", node->credential->certificate->not_after_ms, reason);
		return;
	}
	enroller->renewed++;
	own_adopted(enroller);
}

static struct user *user_of_stem(struct users *users, const char *stem) {
	struct user *user = users_next(users, NULL);

	while (user && strcmp(user->stem, stem) != 0)
		user = users_next(users, user);
	return user;
}

struct restore {
	struct node *node;
	struct user *user;
};

static void on_restored(void *userdata, const struct storage_outcome *outcome) {
	(void)userdata;
	if (outcome->error < 0 && outcome->error != -ECANCELED)
		log_warning("A registration cannot be stored with the new certificate of its user: %s%s%s",
			    strerror(-outcome->error), outcome->error_text[0] ? ": " : "", outcome->error_text);
}

/* What the former certificate signed is worth nothing once that ends, and the phone may not come back before. */
static void restore_binding(void *userdata, const struct sip_binding_view *binding) {
	struct restore *restore = userdata;

	if (strcmp(binding->aor, restore->user->name) != 0 || binding->expires_s == 0)
		return;
	struct credential *credential = user_credential_for(restore->user, binding->contact, restore->node->runtime.now_us);
	if (credential)
		(void)sip_registration_store(restore->node->router, credential, binding->aor, binding->contact, binding->expires_s,
					     on_restored, NULL);
}

/* `first`: nothing can be registered for it yet. -EALREADY: it is the one in use. */
static int adopt_user(struct enroller *enroller, const char *stem, bool first, struct user **ret, char *reason) {
	struct node *node = enroller->node;
	const struct overlay_config *config = router_config(node->router);
	const struct user *known = user_of_stem(node->users, stem);
	uint64_t known_ms = known ? known->not_after_ms : 0;
	char sentence[USERS_REASON_SIZE] = "";
	struct restore restore = {.node = node};

	int error = users_put(node->users, stem, node->trust, config->overlay_name, config->node_id_length,
			      runtime_realtime_ms(&node->runtime), &restore.user, sentence);
	if (error < 0) {
		snprintf(reason, ENROLLER_REASON_SIZE, "%.*s", ENROLLER_REASON_SIZE - 1, sentence);
		return error;
	}
	if (known && restore.user == known && known->not_after_ms == known_ms) {
		snprintf(reason, ENROLLER_REASON_SIZE, "The new certificate is not good for longer than the former one.");
		return -EALREADY;
	}
	for (size_t i = 0; error == 0 && i < restore.user->count; i++)
		error = certificate_store_add(node->certificates, restore.user->credentials[i]);
	if (error < 0)
		log_warning("Not enough memory to store the certificate of %s in the overlay.", restore.user->name);
	if (node->sip && !first && node->state == TOPOLOGY_JOINED)
		sip_gateway_bindings(node->sip, restore_binding, &restore);
	*ret = restore.user;
	return 0;
}

static void remember_refused(struct enroller *enroller, const char *aor) {
	struct refused *refused = &enroller->refused[enroller->next_refused];

	enroller->next_refused = (enroller->next_refused + 1) % ENROLLER_REFUSED_MAX;
	snprintf(refused->aor, sizeof(refused->aor), "%s", aor);
	refused->until_us = enroller->node->runtime.now_us + ENROLLER_REFUSED_S * USEC_PER_SEC;
}

static void answer_waiting(struct enroller *enroller, const char *aor, int error) {
	struct waiting *waiting, *next;

	DL_FOREACH_SAFE (enroller->waiting, waiting, next) {
		if (aor && strcmp(waiting->aor, aor) != 0)
			continue;
		DL_DELETE(enroller->waiting, waiting);
		enroller->waiting_count--;
		waiting->done(waiting->userdata, error);
		free(waiting);
	}
}

static void user_done(struct enroller *enroller, int status, char *reason) {
	struct user *user = users_find(enroller->node->users, enroller->user);
	int error = status == 0 ? adopt_user(enroller, enroller->command.stem, enroller->first, &user, reason) : -EACCES;

	enroller->failed += error < 0;
	if (enroller->first) {
		enroller->enrolled += error == 0;
		if (error < 0) {
			log_warning("%s gets no certificate: %s", enroller->user, reason);
			remember_refused(enroller, enroller->user);
		} else {
			log_notice("%s is enrolled.", enroller->user);
		}
		answer_waiting(enroller, enroller->user, error < 0 ? -EACCES : 0);
	} else if (error < 0 && user) {
		failed(enroller, &user->renewal, user->name, user->not_after_ms, reason);
	} else if (error == 0) {
		enroller->renewed++;
		log_info("The certificate of %s is renewed.", enroller->user);
	}
}

static void on_helper(void *userdata, int status, const char *output) {
	struct enroller *enroller = userdata;
	char reason[ENROLLER_REASON_SIZE] = "";

	node_enter(enroller->node);
	enroller->helper = NULL;
	if (status != 0)
		enroll_command_reason(status, output, reason);
	if (enroller->user[0])
		user_done(enroller, status, reason);
	else
		own_done(enroller, status, reason);
	if (!enroller->node->leaving)
		work(enroller);
}

/* ---- put there by somebody else ---- */

static void look_at_user(struct enroller *enroller, const char *stem) {
	char certificate[PATH_MAX + 8], key[PATH_MAX + 8], reason[ENROLLER_REASON_SIZE] = "";
	struct users *users = enroller->node->users;
	size_t before = users_count(users);
	struct user *user = user_of_stem(users, stem);

	snprintf(certificate, sizeof(certificate), "%s.crt", stem);
	snprintf(key, sizeof(key), "%s.key", stem);
	if (access(certificate, F_OK) < 0 || access(key, F_OK) < 0)
		return; /* half of a pair; the other half will be noticed as well */
	int error = adopt_user(enroller, stem, !user, &user, reason);
	if (error == 0 && users_count(users) > before)
		log_notice("%s is a user of this site now.", user->name);
	else if (error == 0)
		log_info("The certificate of %s is renewed.", user->name);
	else if (error != -EALREADY)
		log_warning("User left out: %s", reason);
}

static void on_changed(void *userdata, const char *stem) {
	struct enroller *enroller = userdata;
	char own[PATH_MAX], reason[ENROLLER_REASON_SIZE] = "";

	if (enroller->helper && strcmp(enroller->command.stem, stem) == 0)
		return; /* our own doing; looked at when it is done */
	if (settings_stem(enroller->node->settings->certificate, enroller->node->settings->key, own) < 0 ||
	    strcmp(own, stem) != 0) {
		look_at_user(enroller, stem);
	} else {
		int error = adopt_own(enroller, reason);
		if (error == 0)
			own_adopted(enroller);
		else if (error != -EALREADY)
			log_warning("The certificate that was installed is not used: %s", reason);
	}
	if (!enroller->helper)
		work(enroller); /* something else may be due next */
}

/* ---- one after the other ---- */

static void run(struct enroller *enroller, const char *user, const char *stem, bool renew, bool with_password) {
	struct node *node = enroller->node;

	snprintf(enroller->user, sizeof(enroller->user), "%s", user ? user : "");
	/* The document is left alone: a newer one has its own way into a node that runs. */
	int error = enroll_command(node->settings, user, stem, renew, with_password, true, &enroller->command);
	if (error == 0)
		error = helper_start(node->event, "ringgatectl", enroller->command.arguments, ENROLLER_LIMIT_S, on_helper, enroller,
				     &enroller->helper);
	if (error < 0) {
		char reason[ENROLLER_REASON_SIZE];
		snprintf(reason, sizeof(reason), "ringgatectl cannot be run: %s.", strerror(-error));
		if (user)
			user_done(enroller, error, reason);
		else
			own_done(enroller, error, reason);
	}
}

static void run_own(struct enroller *enroller) {
	char stem[PATH_MAX];

	enroller->first = false;
	if (settings_stem(enroller->node->settings->certificate, enroller->node->settings->key, stem) == 0)
		run(enroller, NULL, stem, true,
		    by_password(enroller, &enroller->own, enroller->node->credential->certificate->not_after_ms));
}

static void run_waiting(struct enroller *enroller) {
	const struct settings *settings = enroller->node->settings;
	char stem[PATH_MAX], certificate[PATH_MAX + 8], aor[USER_NAME_MAX + 1];

	enroller->first = true;
	strcpy(aor, enroller->waiting->aor);
	if (snprintf(stem, sizeof(stem), "%s/%s", settings->users_directory, aor) >= PATH_MAX) {
		answer_waiting(enroller, aor, -EACCES);
		return;
	}
	/* One that was left out when users were loaded, such as an expired one. */
	snprintf(certificate, sizeof(certificate), "%s.crt", stem);
	run(enroller, aor, stem, access(certificate, F_OK) == 0, true);
}

static void work(struct enroller *enroller) {
	uint64_t now_ms = runtime_realtime_ms(&enroller->node->runtime), due_ms = UINT64_MAX;
	const struct certificate *certificate = enroller->node->credential->certificate;

	warn(enroller);
	if (configured(enroller)) {
		decide(enroller, &enroller->own, certificate->not_before_ms, certificate->not_after_ms);
		due_ms = enroller->own.due_ms;
		if (!enroller->helper && due_ms <= now_ms) {
			run_own(enroller);
			due_ms = enroller->own.due_ms;
		}
		while (!enroller->helper && enroller->waiting)
			run_waiting(enroller);
		struct user *user = next_user(enroller);
		if (!enroller->helper && user && user->renewal.due_ms <= now_ms) {
			enroller->first = false;
			run(enroller, user->name, user->stem, true, by_password(enroller, &user->renewal, user->not_after_ms));
			user = next_user(enroller);
		}
		if (user && user->renewal.due_ms < due_ms)
			due_ms = user->renewal.due_ms;
	}
	if (!enroller->helper) /* else when it is done */
		arm(enroller, due_ms);
}

static void on_look(struct timer *timer, void *userdata) {
	(void)timer;
	work(userdata);
}

/* ---- users at their first registration ---- */

static const char *domain_of(const char *name) {
	const char *at = strrchr(name, '@');

	return at ? at + 1 : "";
}

bool enroller_serves_domain(const struct enroller *enroller, const char *domain) {
	const struct settings *settings = enroller->node->settings;

	return configured(enroller) && settings->enroll_users == ENROLL_USERS_AT_REGISTRATION &&
	       strcasecmp(domain, domain_of(settings->enroll_user)) == 0;
}

bool enroller_takes_user(const struct enroller *enroller, const char *aor) {
	const struct settings *settings = enroller->node->settings;
	const char *domain = domain_of(aor);

	return configured(enroller) && settings->enroll_users == ENROLL_USERS_AT_REGISTRATION &&
	       account_name_usable(octets_of_string(aor)) &&
	       (strcasecmp(domain, router_config(enroller->node->router)->overlay_name) == 0 ||
		enroller_serves_domain(enroller, domain));
}

static bool refused_lately(const struct enroller *enroller, const char *aor) {
	for (size_t i = 0; i < ENROLLER_REFUSED_MAX; i++)
		if (enroller->refused[i].until_us > enroller->node->runtime.now_us && strcmp(enroller->refused[i].aor, aor) == 0)
			return true;
	return false;
}

static bool is_waiting(const struct enroller *enroller, const char *aor) {
	const struct waiting *waiting;

	DL_FOREACH (enroller->waiting, waiting)
		if (strcmp(waiting->aor, aor) == 0)
			return true;
	return false;
}

/* Phones may ask for many names; those that are new count. */
static bool one_more_this_hour(struct enroller *enroller) {
	uint64_t now_us = enroller->node->runtime.now_us;

	if (now_us - enroller->hour_us >= HOUR_S * USEC_PER_SEC) {
		enroller->hour_us = now_us;
		enroller->this_hour = 0;
	}
	if (enroller->this_hour >= ENROLLER_USERS_PER_HOUR)
		return false;
	enroller->this_hour++;
	return true;
}

int enroller_get_user(struct enroller *enroller, const char *aor, enroller_user_done done, void *userdata) {
	if (!enroller_takes_user(enroller, aor))
		return -EACCES;
	if (enroller->waiting_count >= ENROLLER_WAITING_MAX || refused_lately(enroller, aor) ||
	    (!is_waiting(enroller, aor) && !one_more_this_hour(enroller)))
		return -EAGAIN;
	struct waiting *waiting = calloc(1, sizeof(*waiting));
	if (!waiting)
		return -ENOMEM;
	snprintf(waiting->aor, sizeof(waiting->aor), "%s", aor);
	waiting->done = done;
	waiting->userdata = userdata;
	DL_APPEND(enroller->waiting, waiting);
	enroller->waiting_count++;
	if (!enroller->helper) /* from the loop, never from within this call */
		timer_arm_after(&enroller->node->runtime, &enroller->look, 0);
	return 0;
}

/* ---- interface ---- */

int enroller_new(struct node *node, struct enroller **ret) {
	struct enroller *enroller = calloc(1, sizeof(*enroller));

	if (!enroller)
		return -ENOMEM;
	enroller->node = node;
	enroller->hour_us = node->runtime.now_us;
	timer_init(&enroller->look, on_look, enroller);
	*ret = enroller;
	return 0;
}

struct enroller *enroller_free(struct enroller *enroller) {
	if (!enroller)
		return NULL;
	timer_disarm(&enroller->node->runtime, &enroller->look);
	credential_watch_free(enroller->watch);
	helper_free(enroller->helper);
	answer_waiting(enroller, NULL, -ECANCELED);
	free(enroller);
	return NULL;
}

void enroller_start(struct enroller *enroller) {
	if (credential_watch_new(enroller->node, on_changed, enroller, &enroller->watch) < 0)
		log_warning("Not enough memory to notice certificates that are installed.");
	timer_arm_after(&enroller->node->runtime, &enroller->look, 0);
}

struct enroller_figures enroller_figures(const struct enroller *enroller) {
	const struct node *node = enroller->node;
	struct enroller_figures figures = {
		.configured = configured(enroller),
		.not_after_ms = node->credential->certificate->not_after_ms,
		.due_ms = enroller->own.due_ms,
		.users_waiting = enroller->waiting_count,
		.renewed = enroller->renewed,
		.enrolled = enroller->enrolled,
		.failed = enroller->failed,
		.last_failure = enroller->last_failure,
	};
	uint64_t now_ms = runtime_realtime_ms(&node->runtime);

	for (const struct user *user = users_next(node->users, NULL); user; user = users_next(node->users, user)) {
		if (user->count == 0)
			continue;
		if (figures.users_not_after_ms == 0 || user->not_after_ms < figures.users_not_after_ms)
			figures.users_not_after_ms = user->not_after_ms;
		figures.users_expiring += left_ms(user->not_after_ms, now_ms) * 3 < user->not_after_ms - user->not_before_ms;
	}
	return figures;
}
