/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that ask the overlay. */
#include "cmd/ctl.h"

#include <string.h>

enum { TRACE_STEPS_MAX = 64 };

static const char *text_of(const json_t *object, const char *name) {
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "-";
}

static double milliseconds_of(const json_t *object) {
	return (double)json_integer_value(json_object_get(object, "elapsed_us")) / 1000;
}

static void pass_argument(struct ctl *ctl, const char *name) {
	if (ctl->argument_count > 0)
		json_object_set_new(ctl->request, name, json_string(ctl->arguments[0]));
}

static void print_value(const json_t *value) {
	json_t *index = json_object_get(value, "index"), *key = json_object_get(value, "key");
	const char *text = json_string_value(json_object_get(value, "uri"));

	if (!text)
		text = json_string_value(json_object_get(value, "text"));
	if (!text)
		text = text_of(value, "value");
	if (index)
		printf("[%lld] ", (long long)json_integer_value(index));
	if (key)
		printf("[%s] ", json_string_value(key));
	if (json_is_true(json_object_get(value, "exists")))
		printf("%s  (signed by %s, %lld s left)\n", text, text_of(value, "signer"),
		       (long long)json_integer_value(json_object_get(value, "lifetime_s")));
	else
		puts("removed");
	if (json_is_true(json_object_get(value, "rolled_back")))
		puts("  warning: an earlier answer was newer than this value; a peer may be holding it back");
}

int ctl_fetch(struct ctl *ctl) {
	json_t *result, *value;
	size_t index;

	pass_argument(ctl, "name");
	int status = ctl_ask_or_print(ctl, &result);
	if (!result)
		return status;
	json_array_foreach(json_object_get(result, "values"), index, value) print_value(value);
	if (json_array_size(json_object_get(result, "values")) == 0)
		puts("nothing is stored there");
	if (json_is_true(json_object_get(result, "partial")))
		puts("some values were left out because their signatures do not hold");
	printf("answered by %s in %.2f ms\n", text_of(result, "responder"), milliseconds_of(result));
	json_decref(result);
	return CTL_DONE;
}

int ctl_store(struct ctl *ctl) {
	json_t *result;

	pass_argument(ctl, "name");
	int status = ctl_ask_or_print(ctl, &result);
	if (!result)
		return status;
	printf("stored at %s, %zu replicas, generation %lld, in %.2f ms\n", text_of(result, "responder"),
	       json_array_size(json_object_get(result, "replicas")),
	       (long long)json_integer_value(json_object_get(result, "generation")), milliseconds_of(result));
	json_decref(result);
	return CTL_DONE;
}

int ctl_find(struct ctl *ctl) {
	json_t *result;

	pass_argument(ctl, "name");
	int status = ctl_ask_or_print(ctl, &result);
	if (!result)
		return status;
	if (json_is_null(json_object_get(result, "closest")))
		printf("%s knows no such resource\n", text_of(result, "responder"));
	else
		printf("%s at %s\n", text_of(result, "closest"), text_of(result, "responder"));
	json_decref(result);
	return CTL_DONE;
}

int ctl_resolve(struct ctl *ctl) {
	json_t *result, *contact;
	size_t index;

	pass_argument(ctl, "name");
	int status = ctl_ask_or_print(ctl, &result);
	if (!result)
		return status;
	if (json_array_size(json_object_get(result, "contacts")) == 0)
		puts("no contact is registered");
	json_array_foreach(json_object_get(result, "contacts"), index, contact)
		printf("%s  (%lld s left, registered by %s)\n", text_of(contact, "uri"),
		       (long long)json_integer_value(json_object_get(contact, "lifetime_s")), text_of(contact, "registrant"));
	json_decref(result);
	return CTL_DONE;
}

int ctl_ping(struct ctl *ctl) {
	int status = CTL_DONE;

	pass_argument(ctl, "target");
	for (unsigned i = 0; i < (ctl->count > 0 ? ctl->count : 1) && status == CTL_DONE; i++) {
		json_t *result;
		status = ctl_ask_or_print(ctl, &result);
		if (!result)
			continue;
		printf("%s answered in %.2f ms, %lld links back\n", text_of(result, "responder"), milliseconds_of(result),
		       (long long)json_integer_value(json_object_get(result, "hops_back")));
		json_decref(result);
	}
	return status;
}

static void print_step(unsigned number, const json_t *step, bool arrived) {
	printf("%2u  %s  %.2f ms%s\n", number, text_of(step, "responder"), milliseconds_of(step), arrived ? "  responsible" : "");
}

/* Asks this node, then each next peer in turn, where it would send a message for the target. */
int ctl_trace(struct ctl *ctl) {
	json_t *steps = json_array();
	bool arrived = false;
	int status = CTL_DONE;

	pass_argument(ctl, "target");
	json_object_set_new(ctl->request, "command", json_string("route-query"));
	for (unsigned i = 0; i < TRACE_STEPS_MAX && !arrived; i++) {
		json_t *result = NULL;
		status = ctl_ask(ctl, ctl->request, &result);
		if (status != CTL_DONE)
			break;
		json_t *next = json_object_get(result, "next_peer");
		arrived = !json_is_string(next) || json_equal(next, json_object_get(result, "responder"));
		if (!ctl->json)
			print_step(i, result, arrived);
		json_object_set(ctl->request, "via", next);
		json_array_append_new(steps, result);
	}
	if (ctl->json && status == CTL_DONE)
		ctl_print_json(steps);
	json_decref(steps);
	if (status == CTL_DONE && !arrived) {
		fprintf(stderr, "ringgatectl: %d peers were asked, and none is responsible.\n", TRACE_STEPS_MAX);
		return CTL_FAILED;
	}
	return status;
}
