/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands about this node. */
#include "cmd/ctl.h"

#include <limits.h>
#include <string.h>
#include <time.h>

static const char *text_of(const json_t *object, const char *name) {
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "-";
}

static long long number_of(const json_t *object, const char *name) {
	return (long long)json_integer_value(json_object_get(object, name));
}

static void print_duration(const char *label, long long seconds) {
	printf("%-14s ", label);
	if (seconds >= 86400)
		printf("%lld d ", seconds / 86400);
	printf("%02lld:%02lld:%02lld\n", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
}

/* How the node came in, or what it has tried so far. */
static void print_bootstrap(const json_t *bootstrap) {
	json_t *candidate;
	size_t index;

	if (!bootstrap)
		return;
	if (json_is_true(json_object_get(bootstrap, "searching"))) {
		printf("%-14s searching, round %lld\n", "bootstrap", number_of(bootstrap, "rounds"));
		json_array_foreach(json_object_get(bootstrap, "tried"), index, candidate) printf(
			"%-14s   %s (%s): %s%s%s\n", "", text_of(candidate, "address"), text_of(candidate, "source"),
			text_of(candidate, "state"), *text_of(candidate, "reason") ? ": " : "", text_of(candidate, "reason"));
	} else if (*text_of(bootstrap, "source")) {
		printf("%-14s %s (%s), in after %lld ms\n", "bootstrap", text_of(bootstrap, "address"),
		       text_of(bootstrap, "source"), number_of(bootstrap, "search_ms"));
	} else if (json_is_true(json_object_get(bootstrap, "restarted_ring"))) {
		printf("%-14s began the ring anew with former members\n", "bootstrap");
	}
	if (number_of(bootstrap, "lost_peers") > 0)
		printf("%-14s %lld lost peers are looked for\n", "", number_of(bootstrap, "lost_peers"));
}

static void print_certificate(const json_t *certificate) {
	long long left_s = number_of(certificate, "left_s"), next_ms = number_of(certificate, "next_ms");
	const char *failure = json_string_value(json_object_get(certificate, "last_failure"));
	time_t next = (time_t)(next_ms / 1000);
	char date[32] = "";

	printf("%-14s ", "certificate");
	if (left_s <= 0)
		printf("has expired");
	else
		printf("good for %lld d %02lld:%02lld:%02lld", left_s / 86400, left_s / 3600 % 24, left_s / 60 % 60, left_s % 60);
	if (!json_is_true(json_object_get(certificate, "renews"))) {
		printf(", not renewed by itself (see [enroll] in ringgate.conf)\n");
	} else {
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", gmtime(&next));
		printf(", renewal %s\n", next_ms ? date : "to be decided");
	}
	if (failure && failure[0])
		printf("%-14s %s\n", "", failure);
}

int ctl_status(struct ctl *ctl) {
	json_t *result;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	printf("%-14s %s, %s\n", "state", text_of(result, "state"), text_of(result, "role"));
	printf("%-14s %s (configuration %lld)\n", "overlay", text_of(result, "overlay"),
	       number_of(result, "configuration_sequence"));
	printf("%-14s %s\n", "node", text_of(result, "node_id"));
	printf("%-14s %s\n", "address", text_of(result, "address"));
	print_duration("uptime", number_of(result, "uptime_s"));
	print_bootstrap(json_object_get(result, "bootstrap"));
	printf("%-14s %lld connected, about %.0f in the overlay\n", "peers", number_of(result, "peers"),
	       json_real_value(json_object_get(result, "size_estimate")));
	printf("%-14s %lld values in %lld resources, %lld octets, %s\n", "storage", number_of(result, "records"),
	       number_of(result, "resources"), number_of(result, "record_octets"), text_of(result, "storage"));
	printf("%-14s %lld provisioned\n", "users", number_of(result, "users"));
	print_certificate(json_object_get(result, "certificate"));
	printf("%-14s %s\n", "version", text_of(result, "version"));
	json_decref(result);
	return CTL_DONE;
}

int ctl_peers(struct ctl *ctl) {
	json_t *result, *peer;
	size_t index;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	printf("%-32s  %-26s %-6s %9s %9s %9s  %s\n", "NODE-ID", "ADDRESS", "KIND", "RTT ms", "SENT", "RECEIVED", "LINK");
	json_array_foreach(json_object_get(result, "peers"), index, peer)
		printf("%-32s  %-26s %-6s %9.2f %9lld %9lld  %.4s %s%s\n", text_of(peer, "node_id"), text_of(peer, "address"),
		       text_of(peer, "kind"), (double)number_of(peer, "rtt_us") / 1000, number_of(peer, "sent"),
		       number_of(peer, "received"), text_of(peer, "protocol"), text_of(peer, "cipher"),
		       json_is_true(json_object_get(peer, "suspected")) ? "  (silent)" : "");
	json_decref(result);
	return CTL_DONE;
}

static void print_ids(const json_t *ids, const char *label, bool reversed) {
	size_t count = json_array_size(ids);

	for (size_t i = 0; i < count; i++) {
		size_t place = reversed ? count - 1 - i : i;
		printf("  %-12s %zu  %s\n", label, place + 1, json_string_value(json_array_get(ids, place)));
	}
}

int ctl_ring(struct ctl *ctl) {
	json_t *result;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	print_ids(json_object_get(result, "predecessors"), "predecessor", true);
	printf("* %-12s    %s  %s\n", "this node", text_of(result, "self"), text_of(result, "state"));
	print_ids(json_object_get(result, "successors"), "successor", false);
	print_ids(json_object_get(result, "fingers"), "finger", false);
	printf("about %.0f peers in the overlay\n", json_real_value(json_object_get(result, "size_estimate")));
	json_decref(result);
	return CTL_DONE;
}

int ctl_drops(struct ctl *ctl) {
	json_t *result, *count;
	const char *reason;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	json_t *drops = json_object_get(result, "drops");
	if (json_object_size(drops) == 0)
		puts("nothing was dropped");
	json_object_foreach(drops, reason, count) printf("%12lld  %s\n", (long long)json_integer_value(count), reason);
	json_decref(result);
	return CTL_DONE;
}

int ctl_wait(struct ctl *ctl) {
	json_t *result;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	printf("%s, %lld peers\n", text_of(result, "state"), number_of(result, "peers"));
	json_decref(result);
	return CTL_DONE;
}

int ctl_leave(struct ctl *ctl) {
	json_t *result;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	puts("leaving the overlay");
	json_decref(result);
	return CTL_DONE;
}

enum { ASKED_AT_ONCE = 1000 /* the daemon gives no more */ };

/* One answer of the daemon after the other, until there are no more or --count of them; those to be printed are taken off `left`.
 */
static int ask_registrations(struct ctl *ctl, unsigned *left, json_t **ret_result) {
	const bool json = ctl->json;
	json_t *result = NULL;

	json_object_set_new(ctl->request, "limit", json_integer(*left < ASKED_AT_ONCE ? *left : ASKED_AT_ONCE));
	ctl->json = false; /* several are one */
	int status = json ? ctl_ask(ctl, ctl->request, &result) : ctl_ask_or_print(ctl, &result);
	ctl->json = json;
	if (status != CTL_DONE)
		return status;
	json_t *list = json_object_get(result, "registrations");
	while (json_array_size(list) > *left) /* of the last user more than asked for */
		json_array_remove(list, json_array_size(list) - 1);
	*left -= (unsigned)json_array_size(list);
	json_object_set(ctl->request, "after", json_object_get(result, "after"));
	*ret_result = result;
	return CTL_DONE;
}

int ctl_registrations(struct ctl *ctl) {
	unsigned left = ctl->count > 0 ? ctl->count : UINT_MAX;
	const char *text = ctl->argument_count > 0 ? ctl->arguments[0] : NULL;
	json_t *all = json_array(), *result = NULL, *one;
	size_t index, shown = 0;
	int status;

	if (text)
		json_object_set_new(ctl->request, "text", json_string(text));
	do {
		json_decref(result);
		result = NULL;
		status = ask_registrations(ctl, &left, &result);
		if (status != CTL_DONE)
			break;
		shown += json_array_size(json_object_get(result, "registrations"));
		if (ctl->json)
			json_array_extend(all, json_object_get(result, "registrations"));
		else
			json_array_foreach(json_object_get(result, "registrations"), index, one) printf(
				"%-32s %-48s %6lld s\n", text_of(one, "aor"), text_of(one, "contact"), number_of(one, "expires_s"));
	} while (left > 0 && number_of(result, "after") > 0 && !ferror(stdout));
	if (status == CTL_DONE && ctl->json) {
		json_t *whole = json_pack("{s:O, s:I}", "registrations", all, "total", (json_int_t)number_of(result, "total"));
		ctl_print_json(whole);
		json_decref(whole);
	} else if (status == CTL_DONE && shown == 0) {
		puts(text ? "no phone of such a user is registered here" : "no phone is registered here");
	}
	json_decref(all);
	json_decref(result);
	return status;
}

int ctl_metrics(struct ctl *ctl) {
	json_t *result = NULL;
	int status = ctl_ask(ctl, ctl->request, &result);

	if (status != CTL_DONE)
		return status;
	if (ctl->json)
		ctl_print_json(result);
	else
		fputs(text_of(result, "text"), stdout); /* of many lines, and all of the daemon's own making */
	json_decref(result);
	return CTL_DONE;
}
