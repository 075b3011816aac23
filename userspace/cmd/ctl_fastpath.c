/* SPDX-License-Identifier: BSD-2-Clause */
/* The command about the kernel fast path. */
#include "cmd/ctl.h"
#include "fastpath/pins.h"

#include <errno.h>
#include <string.h>

static long long number_of(const json_t *object, const char *name) {
	return (long long)json_integer_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name) {
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void print_reasons(const char *label, json_t *reasons) {
	const char *reason;
	json_t *count;

	json_object_foreach(reasons, reason, count)
		printf("%-14s %12lld  %s\n", label, (long long)json_integer_value(count), reason);
}

/* What a daemon left that does not come back. */
static int remove_pins(const struct ctl *ctl) {
	const char *directory = ctl->argument_count > 1 ? ctl->arguments[1] : PINS_DIRECTORY;
	char reason[PINS_REASON_SIZE] = "";

	int error = pins_remove(directory, reason);
	if (error == -EBUSY) {
		fprintf(stderr, "ringgatectl: a running daemon uses %s; end it first: systemctl stop ringgated\n", directory);
		return CTL_FAILED;
	}
	if (error < 0) {
		fprintf(stderr, "ringgatectl: %s.\n", reason);
		return CTL_FAILED;
	}
	if (ctl->json) {
		json_t *done = json_pack("{s:s}", "removed", directory);
		ctl_print_json(done);
		json_decref(done);
	} else {
		printf("removed: %s\n", directory);
	}
	return CTL_DONE;
}

static void print_pins(const json_t *result) {
	const json_t *pins = json_object_get(result, "pins");

	if (json_is_string(json_object_get(pins, "directory")))
		printf("%-14s survives a restart, in %s; %lld links taken over\n", "state", text_of(pins, "directory"),
		       number_of(result, "adopted_links"));
	else
		printf("%-14s ends with the daemon: %s\n", "state", text_of(pins, "reason"));
}

int ctl_fastpath(struct ctl *ctl) {
	json_t *result, *each;
	size_t index;

	if (ctl->argument_count > 0) {
		if (strcmp(ctl->arguments[0], "remove") == 0)
			return remove_pins(ctl);
		fprintf(stderr, "ringgatectl: \"%s\" is not something to do with the fast path; try: ringgatectl fastpath remove\n",
			ctl->arguments[0]);
		return CTL_USAGE;
	}
	int status = ctl_ask_or_print(ctl, &result);
	if (!result)
		return status;
	if (!json_is_true(json_object_get(result, "enabled"))) {
		printf("off: %s\n", text_of(result, "reason"));
		printf("%-14s %12lld by the daemon\n", "forwarded", number_of(result, "forwarded_daemon"));
		json_decref(result);
		return CTL_DONE;
	}
	json_array_foreach(json_object_get(result, "interfaces"), index, each)
		printf("%-14s %s: %s%s%s\n", "interface", text_of(each, "name"), text_of(each, "mode"),
		       text_of(each, "reason")[0] ? ", " : "", text_of(each, "reason"));
	printf("%-14s %12lld in the kernel, %lld of them usable, %lld with keystream in advance\n", "links",
	       number_of(result, "links"), number_of(result, "usable"), number_of(result, "hot"));
	if (number_of(result, "silences") > 0)
		printf("%-14s %12lld by the daemon now because what the kernel sent got no acks, %lld times so far\n", "served",
		       number_of(result, "muted"), number_of(result, "silences"));
	printf("%-14s %12lld by the kernel, %lld by the daemon: %.1f %%\n", "forwarded", number_of(result, "forwarded_kernel"),
	       number_of(result, "forwarded_daemon"), 100 * json_real_value(json_object_get(result, "kernel_share")));
	print_pins(result);
	const json_t *pads = json_object_get(result, "pads");
	printf("%-14s %12lld used, %lld records without: %.1f %%\n", "pads", number_of(pads, "hits"), number_of(pads, "misses"),
	       100 * json_real_value(json_object_get(pads, "hit_ratio")));
	print_reasons("datagrams", json_object_get(result, "verdicts"));
	print_reasons("passed", json_object_get(result, "passed"));
	print_reasons("dropped", json_object_get(result, "dropped"));
	json_decref(result);
	return CTL_DONE;
}
