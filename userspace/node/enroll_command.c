/* SPDX-License-Identifier: BSD-2-Clause */
/* The helper's command line, and the enrollment of a node that cannot start without. */
#include "node/enroller.h"

#include "base/log.h"
#include "node/helper.h"
#include "overlay/install.h"

#include <errno.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

enum {
	DATE_SIZE = 32,
	CLOCK_WORD_S = 60, /* so often the service manager hears that we wait for the clock */
};

static void add(struct enroll_command *command, const char *argument) {
	command->arguments[command->count++] = argument;
}

static void add_option(struct enroll_command *command, const char *name, const char *value) {
	if (value) {
		add(command, name);
		add(command, value);
	}
}

int enroll_command(const struct settings *settings, const char *user, const char *stem, bool renew, bool by_password,
		   bool keep_document, struct enroll_command *ret) {
	bool others = user && strcmp(user, settings->enroll_user) != 0;

	ret->count = 0;
	if (snprintf(ret->stem, sizeof(ret->stem), "%s", stem) >= PATH_MAX)
		return -ENAMETOOLONG;
	snprintf(ret->number, sizeof(ret->number), "%u", settings->enroll_user_node_ids);
	add(ret, "ringgatectl");
	add(ret, "enroll");
	add(ret, settings->enroll_server);
	add_option(ret, "--name", settings->overlay_name);
	add_option(ret, "--user", user ? user : settings->enroll_user);
	add_option(ret, "--account", others && (by_password || !renew) ? settings->enroll_user : NULL);
	add_option(ret, "--output", ret->stem);
	add_option(ret, "--document", settings->overlay_config);
	add_option(ret, "--ca-file", settings->enroll_ca_file);
	add_option(ret, "--address", settings->enroll_address);
	add_option(ret, "--password-file", by_password || !renew ? settings->enroll_password_file : NULL);
	add_option(ret, "--node-ids", user ? ret->number : NULL);
	if (renew)
		add(ret, "--renew");
	if (keep_document)
		add(ret, "--keep-document");
	ret->arguments[ret->count] = NULL;
	return 0;
}

void enroll_command_reason(int status, const char *output, char reason[static ENROLLER_REASON_SIZE]) {
	static const char prefix[] = "ringgatectl: ";
	const char *line = strrchr(output, '\n') ? strrchr(output, '\n') + 1 : output;

	if (status == -ETIMEDOUT)
		line = "The enrollment took too long.";
	else if (strncmp(line, prefix, strlen(prefix)) == 0)
		line += strlen(prefix);
	snprintf(reason, ENROLLER_REASON_SIZE, "%s", line[0] ? line : "ringgatectl failed without a reason.");
}

/* ---- the first start ---- */

/* Only its life is looked at; everything else is the business of who uses it. */
static int certificate_life(const struct settings *settings, uint64_t *ret_not_before_ms, uint64_t *ret_not_after_ms) {
	_cleanup_(credential_unrefp) struct credential *credential = NULL;
	char reason[NODE_REASON_SIZE];

	int error =
		credential_load(settings->certificate, settings->key, NULL, ID_LENGTH_CHORD, &credential, reason, sizeof(reason));
	if (error < 0)
		return error;
	*ret_not_before_ms = credential->certificate->not_before_ms;
	*ret_not_after_ms = credential->certificate->not_after_ms;
	return 0;
}

enum enrollment_need enrollment_need(const struct settings *settings, uint64_t now_ms, char why[static ENROLLER_REASON_SIZE]) {
	uint64_t not_before_ms, not_after_ms;

	if (!settings->enroll_server || !settings->enroll_user)
		return ENROLLMENT_NEED_NOTHING;
	if (access(settings->certificate, F_OK) < 0 && access(settings->key, F_OK) < 0) {
		snprintf(why, ENROLLER_REASON_SIZE, "There is no certificate yet; enrolling %.80s at %.80s.", settings->enroll_user,
			 settings->enroll_server);
		return ENROLLMENT_NEED_FIRST;
	}
	if (certificate_life(settings, &not_before_ms, &not_after_ms) < 0) /* the node says what is wrong with it */
		return ENROLLMENT_NEED_NOTHING;
	if (not_after_ms <= now_ms) {
		snprintf(why, ENROLLER_REASON_SIZE, "The certificate %.80s has expired; renewing it at %.80s before anything else.",
			 settings->certificate, settings->enroll_server);
		return ENROLLMENT_NEED_RENEWAL;
	}
	if (access(settings->overlay_config, F_OK) < 0) {
		snprintf(why, ENROLLER_REASON_SIZE,
			 "There is no configuration document; fetching it from %.80s with a new certificate.",
			 settings->enroll_server);
		return ENROLLMENT_NEED_RENEWAL;
	}
	return ENROLLMENT_NEED_NOTHING;
}

static int complete(const struct settings *settings, char *reason) {
	char stem[PATH_MAX], sentence[INSTALL_REASON_SIZE] = "";
	int error = settings_stem(settings->certificate, settings->key, stem);

	if (error == 0) {
		const struct install_credential place = {.stem = stem, .document_path = settings->overlay_config};
		error = install_credential_complete(&place, sentence);
	} else {
		error = 0; /* such paths are not those of an enrollment */
	}
	if (error < 0) {
		snprintf(reason, NODE_REASON_SIZE, "%s", sentence);
		return error;
	}
	if (error > 0)
		log_notice("Completed the installation of the certificate that was interrupted.");
	if (install_directory_complete(settings->users_directory, sentence) < 0)
		log_warning("The certificate of a user cannot be completed: %s", sentence);
	return 0;
}

struct attempt {
	int status;
	bool over;
	char output[HELPER_OUTPUT_MAX];
};

static void on_attempt(void *userdata, int status, const char *output) {
	struct attempt *attempt = userdata;

	attempt->status = status;
	attempt->over = true;
	snprintf(attempt->output, sizeof(attempt->output), "%s", output);
}

static int on_pause(sd_event_source *source, uint64_t due_us, void *userdata) {
	(void)source, (void)due_us;
	*(bool *)userdata = true;
	return 0;
}

static int run_until(sd_event *event, const bool *over, const bool *stop) {
	int error = 0;

	while (error >= 0 && !*over && !*stop)
		error = sd_event_run(event, UINT64_MAX);
	return error < 0 ? error : *over ? 0 : -ECANCELED;
}

static int attempt_once(const struct settings *settings, sd_event *event, const bool *stop, enum enrollment_need need,
			char *reason) {
	struct attempt attempt = {.status = 0};
	struct enroll_command command;
	struct helper *helper = NULL;
	char stem[PATH_MAX];

	int error = settings_stem(settings->certificate, settings->key, stem);
	if (error == 0)
		error = enroll_command(settings, NULL, stem, need == ENROLLMENT_NEED_RENEWAL, true, false, &command);
	if (error == 0)
		error = helper_start(event, "ringgatectl", command.arguments, ENROLLER_LIMIT_S, on_attempt, &attempt, &helper);
	if (error < 0) {
		snprintf(reason, ENROLLER_REASON_SIZE, "ringgatectl cannot be run: %s.", strerror(-error));
		return -EAGAIN;
	}
	error = run_until(event, &attempt.over, stop);
	if (error < 0) {
		if (!attempt.over)
			helper_free(helper);
		return error;
	}
	if (attempt.status == 0)
		return 0;
	enroll_command_reason(attempt.status, attempt.output, reason);
	return -EAGAIN;
}

static int pause_for(sd_event *event, uint64_t seconds, const bool *stop) {
	sd_event_source *timer = NULL;
	bool over = false;

	/* Started is who can work; until then the service manager is asked for time. */
	sd_notifyf(false, "EXTEND_TIMEOUT_USEC=%llu\nSTATUS=waiting for enrollment",
		   (unsigned long long)((seconds + 2 * ENROLLER_LIMIT_S) * USEC_PER_SEC));
	int error = sd_event_add_time_relative(event, &timer, CLOCK_MONOTONIC, seconds * USEC_PER_SEC, 0, on_pause, &over);
	if (error >= 0)
		error = run_until(event, &over, stop);
	sd_event_source_disable_unref(timer);
	return error;
}

static const char *date_format(uint64_t realtime_ms, char text[static DATE_SIZE]) {
	time_t seconds = (time_t)(realtime_ms / 1000);
	struct tm tm;

	if (!gmtime_r(&seconds, &tm) || strftime(text, DATE_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(text, DATE_SIZE, "?");
	return text;
}

/* Until the clock says `due_ms`, also because it was set, or for as long as the service manager waits without a word. */
static int wait_for_date(sd_event *event, uint64_t due_ms, const bool *stop) {
	sd_event_source *date = NULL, *word = NULL;
	bool over = false;

	sd_notifyf(false, "EXTEND_TIMEOUT_USEC=%llu\nSTATUS=waiting for the right time: the clock is wrong",
		   (unsigned long long)(3 * CLOCK_WORD_S * USEC_PER_SEC));
	int error = sd_event_add_time(event, &date, CLOCK_REALTIME, due_ms * USEC_PER_MSEC, 0, on_pause, &over);
	if (error >= 0)
		error = sd_event_add_time_relative(event, &word, CLOCK_MONOTONIC, CLOCK_WORD_S * USEC_PER_SEC, 0, on_pause, &over);
	if (error >= 0)
		error = run_until(event, &over, stop);
	sd_event_source_disable_unref(date);
	sd_event_source_disable_unref(word);
	return error;
}

/* A clock before our own certificate was made is wrong: every link would fail, and waiting for who sets the clock mends it. */
static int wait_for_clock(const struct settings *settings, sd_event *event, const bool *stop, char *reason) {
	struct runtime runtime = {.source = runtime_source_system()};
	char now[DATE_SIZE], made[DATE_SIZE];
	uint64_t not_before_ms, not_after_ms;
	bool told = false;
	int error = 0;

	if (certificate_life(settings, &not_before_ms, &not_after_ms) <
	    0) /* there is none, or the node says what is wrong with it */
		return 0;
	while (error == 0 && runtime_realtime_ms(&runtime) < not_before_ms) {
		if (!told)
			log_error("The clock is wrong: it says %s UTC, and the certificate of this node was made at %s UTC. "
				  "Waiting until "
				  "the time is set.",
				  date_format(runtime_realtime_ms(&runtime), now), date_format(not_before_ms, made));
		told = true;
		error = wait_for_date(event, not_before_ms, stop);
	}
	if (error == 0 && told)
		log_notice("The clock says %s UTC now: going on.", date_format(runtime_realtime_ms(&runtime), now));
	if (error == -ECANCELED)
		snprintf(reason, NODE_REASON_SIZE, "Ended before the clock was set.");
	return error;
}

int enrollment_first(const struct settings *settings, sd_event *event, const bool *stop, char reason[static NODE_REASON_SIZE]) {
	struct runtime runtime = {.source = runtime_source_system()};
	char why[ENROLLER_REASON_SIZE];
	enum enrollment_need need;

	int error = complete(settings, reason);
	if (error == 0)
		error = wait_for_clock(settings, event, stop, reason);
	for (unsigned failures = 0; error == 0; failures++) {
		need = enrollment_need(settings, runtime_realtime_ms(&runtime), why);
		if (need == ENROLLMENT_NEED_NOTHING)
			return 0;
		if (failures == 0)
			log_notice("%s", why);
		sd_notifyf(false, "EXTEND_TIMEOUT_USEC=%llu\nSTATUS=enrolling at %s",
			   (unsigned long long)(2 * ENROLLER_LIMIT_S * USEC_PER_SEC), settings->enroll_server);
		error = attempt_once(settings, event, stop, need, why);
		if (error == 0) {
			log_notice("Enrolled as %s.", settings->enroll_user);
			return 0;
		}
		if (error != -EAGAIN)
			break;
		uint64_t pause_s = enroller_pause_s(&runtime, failures + 1, 0);
		log_error("Not enrolled: %s Trying again in %llu s.", why, (unsigned long long)pause_s);
		error = pause_for(event, pause_s, stop);
	}
	if (error == -ECANCELED && !reason[0])
		snprintf(reason, NODE_REASON_SIZE, "Ended before the node was enrolled.");
	else if (!reason[0])
		snprintf(reason, NODE_REASON_SIZE, "The enrollment cannot go on: %s.", strerror(-error));
	return error;
}
