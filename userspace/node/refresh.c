/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/refresh.h"

#include "base/log.h"
#include "node/helper.h"

#include <errno.h>
#include <string.h>

struct refresh {
	struct node *node;
	struct timer timer;
	struct helper *helper;
	uint64_t asked_us; /* 0: never */
	uint64_t asked, failed;
	unsigned failures; /* in a row */
	char last_failure[256];
};

uint64_t refresh_pause_s(const struct runtime *runtime, uint64_t left_ms, unsigned failures) {
	uint64_t pause_s = REFRESH_DAY_S;

	if (failures > 0) {
		pause_s = REFRESH_RETRY_S;
		for (unsigned i = 1; i < failures && pause_s < REFRESH_RETRY_MAX_S; i++)
			pause_s *= 2;
		if (pause_s > REFRESH_RETRY_MAX_S)
			pause_s = REFRESH_RETRY_MAX_S;
	} else if (left_ms != UINT64_MAX && left_ms / 1000 * 9 / 10 < pause_s) {
		pause_s = left_ms / 1000 * 9 / 10; /* with time left for another try */
	}
	if (pause_s < 2 * REFRESH_PAUSE_MIN_S)
		pause_s = 2 * REFRESH_PAUSE_MIN_S;
	/* Anywhere in the second half, so that the nodes of an overlay do not come together (B-11.1-03). */
	return pause_s / 2 + runtime_random_below(runtime, pause_s / 2 + 1);
}

static uint64_t left_ms(const struct refresh *refresh) {
	const struct overlay_config *config = router_config(refresh->node->router);
	uint64_t now_ms = runtime_realtime_ms(&refresh->node->runtime);

	if (config->expiration_ms == 0)
		return UINT64_MAX; /* */
	return config->expiration_ms > now_ms ? config->expiration_ms - now_ms : 0;
}

const char *refresh_server(const struct refresh *refresh) {
	const struct settings *settings = refresh->node->settings;
	const struct overlay_config *config = router_config(refresh->node->router);

	if (settings->enroll_server)
		return settings->enroll_server;
	/* Who has an enrollment server has a configuration server, found by the overlay's name (RFC 6940 11.2). */
	return config->enrollment_server_count > 0 ? config->overlay_name : NULL;
}

static void arm(struct refresh *refresh) {
	struct runtime *runtime = &refresh->node->runtime;

	if (!refresh_server(refresh)) {
		timer_disarm(runtime, &refresh->timer);
		return;
	}
	timer_arm_after(runtime, &refresh->timer, refresh_pause_s(runtime, left_ms(refresh), refresh->failures) * USEC_PER_SEC);
}

static void note_failure(struct refresh *refresh, const char *sentence) {
	refresh->failed++;
	refresh->failures++;
	snprintf(refresh->last_failure, sizeof(refresh->last_failure), "%s", sentence);
	uint64_t left = left_ms(refresh);
	/* Long before it matters it is only worth a line at level info. */
	if (left < UINT64_C(7) * REFRESH_DAY_S * 1000)
		log_warning("No newer configuration document: %s The one in force %s.", refresh->last_failure,
			    left == 0 ? "has expired" : "expires within a week");
	else
		log_info("No newer configuration document: %s", refresh->last_failure);
}

static void on_done(void *userdata, int status, const char *output) {
	struct refresh *refresh = userdata;

	node_enter(refresh->node);
	refresh->helper = NULL;
	if (status == 0) {
		refresh->failures = 0;
		refresh->last_failure[0] = 0;
	} else {
		const char *sentence = strncmp(output, "ringgatectl: ", 13) == 0 ? output + 13 : output;
		note_failure(refresh, status == -ETIMEDOUT ? "The configuration server did not answer in time."
				      : sentence[0]	   ? sentence
							   : "ringgatectl failed without a reason.");
	}
	arm(refresh);
}

static void ask(struct refresh *refresh) {
	struct node *node = refresh->node;
	const char *arguments[12];
	size_t count = 0;

	refresh->asked++;
	refresh->asked_us = node->runtime.now_us;
	arguments[count++] = "ringgatectl";
	arguments[count++] = "--socket";
	arguments[count++] = node->settings->control_socket;
	if (node->settings->enroll_ca_file) {
		arguments[count++] = "--ca-file";
		arguments[count++] = node->settings->enroll_ca_file;
	}
	if (node->settings->enroll_address) {
		arguments[count++] = "--address";
		arguments[count++] = node->settings->enroll_address;
	}
	arguments[count++] = "configuration";
	arguments[count++] = "fetch";
	arguments[count++] = refresh_server(refresh);
	arguments[count] = NULL;
	int error = helper_start(node->event, "ringgatectl", arguments, REFRESH_LIMIT_S, on_done, refresh, &refresh->helper);
	if (error < 0) {
		char sentence[128];
		snprintf(sentence, sizeof(sentence), "ringgatectl cannot be run: %s.", strerror(-error));
		note_failure(refresh, sentence);
		arm(refresh);
	}
}

static void on_timer(struct timer *timer, void *userdata) {
	struct refresh *refresh = userdata;

	(void)timer;
	if (!refresh->helper && refresh_server(refresh))
		ask(refresh);
}

void refresh_soon(struct refresh *refresh) {
	struct runtime *runtime = &refresh->node->runtime;
	uint64_t earliest_us = refresh->asked_us + REFRESH_PAUSE_MIN_S * USEC_PER_SEC;

	if (refresh->helper || !refresh_server(refresh))
		return;
	if (refresh->failures > 0) /* then it is due soon anyway, and the server need not be asked more often */
		return;
	timer_arm(runtime, &refresh->timer,
		  refresh->asked_us == 0 || earliest_us < runtime->now_us ? runtime->now_us : earliest_us);
}

void refresh_configuration_changed(struct refresh *refresh) {
	refresh->failures = 0;
	if (!refresh->helper)
		arm(refresh);
}

struct refresh_figures refresh_figures(const struct refresh *refresh) {
	uint64_t now_us = refresh->node->runtime.now_us;

	return (struct refresh_figures){
		.asked = refresh->asked,
		.failed = refresh->failed,
		.next_s = refresh->timer.armed && refresh->timer.due_us > now_us
				  ? (refresh->timer.due_us - now_us) / USEC_PER_SEC + 1
				  : 0,
		.last_failure = refresh->last_failure,
	};
}

int refresh_new(struct node *node, struct refresh **ret) {
	struct refresh *refresh = calloc(1, sizeof(*refresh));

	if (!refresh)
		return -ENOMEM;
	refresh->node = node;
	timer_init(&refresh->timer, on_timer, refresh);
	arm(refresh);
	*ret = refresh;
	return 0;
}

struct refresh *refresh_free(struct refresh *refresh) {
	if (!refresh)
		return NULL;
	timer_disarm(&refresh->node->runtime, &refresh->timer);
	helper_free(refresh->helper);
	free(refresh);
	return NULL;
}
