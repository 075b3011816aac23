/* SPDX-License-Identifier: BSD-2-Clause */
/* What the SIP gateway is doing: its calls, its figures, and its messages as they come. */
#include "control/control.h"
#include "node/sip_glue.h"

enum {
	TRACE_BATCH = 128,  /* messages in one answer */
	TRACE_SECONDS = 20, /* an answer without one comes after; below SIP_TRACE_SECONDS, so that tracing goes on */
};

static struct sip_gateway *gateway_or_fail(struct control_request *request) {
	struct sip_gateway *gateway = control_node(request)->sip;

	if (!gateway)
		control_fail(request, "There is no SIP gateway here; see [sip] in ringgate.conf(5).");
	return gateway;
}

static void add_call(void *userdata, const struct sip_call_view *call) {
	json_array_append_new(userdata, json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:s}", "from", call->from, "to", call->to,
						  "state", call->state, "since_s", (json_int_t)call->since_s, "via", call->via,
						  "transport", call->transport, "call_id", call->call_id));
}

/* What the gateway does at this moment, and how often callers cost a look-up. */
static void on_calls(struct control_request *request) {
	struct node *node = control_node(request);
	struct sip_gateway *gateway = gateway_or_fail(request);
	struct sip_figures figures;

	if (!gateway)
		return;
	json_t *calls = json_array();
	sip_gateway_calls(gateway, add_call, calls);
	sip_gateway_figures(gateway, &figures);
	struct location_figures lookups = sip_glue_lookups(node->sip_glue);
	struct phones_figures phones = sip_glue_phones(node->sip_glue);
	json_t *result =
		json_pack("{s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "calls", calls, "overloaded",
			  (int)figures.overloaded, "placing", (json_int_t)figures.proxies, "branches", (json_int_t)figures.clients,
			  "placed", (json_int_t)figures.proxied, "redirected", (json_int_t)figures.responses_3xx, "registered",
			  (json_int_t)figures.bindings, "challenges", (json_int_t)figures.challenges, "wrong_passwords",
			  (json_int_t)figures.auth_failures, "shed", (json_int_t)figures.shed, "lookups",
			  (json_int_t)lookups.lookups, "lookups_known", (json_int_t)(lookups.hits + lookups.joined), "restored",
			  (json_int_t)phones.restored, "restore_left", (json_int_t)phones.restore_left);
	control_answer(request, result);
}

static void add_trunk(void *userdata, const struct sip_trunk_view *trunk) {
	json_t *servers = json_array();
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < trunk->host_count; i++)
		json_array_append_new(servers, json_string(address_format(&trunk->hosts[i], text)));
	json_array_append_new(userdata, json_pack("{s:s, s:s, s:b, s:I, s:s, s:o}", "name", trunk->name, "server", trunk->server,
						  "registers", (int)trunk->registers, "registered_s",
						  (json_int_t)trunk->registered_s, "error", trunk->error, "servers", servers));
}

/* The ways to telephone numbers, and whether they work. */
static void on_trunks(struct control_request *request) {
	struct sip_gateway *gateway = gateway_or_fail(request);

	if (!gateway)
		return;
	json_t *trunks = json_array();
	sip_gateway_trunks(gateway, add_trunk, trunks);
	control_answer(request, json_pack("{s:o}", "trunks", trunks));
}

static void add_message(void *userdata, const struct sip_trace_view *view) {
	json_array_append_new(userdata,
			      json_pack("{s:I, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I}", "time_ms", (json_int_t)view->time_ms,
					"sent", (int)view->sent, "transport", view->transport, "peer", view->peer, "message",
					view->start, "from", view->from, "to", view->to, "call_id", view->call_id, "cseq",
					view->cseq, "octets", (json_int_t)view->octets));
}

/* Messages since number "after", if there are any, or also without. */
static void look(struct control_request *request, bool ends) {
	struct sip_gateway *gateway = gateway_or_fail(request);
	json_t *arguments = control_arguments(request), *messages = json_array();
	uint64_t after = gateway ? (uint64_t)json_integer_value(json_object_get(arguments, "after")) : 0, lost = 0;

	if (!gateway) {
		json_decref(messages);
		return;
	}
	if (sip_gateway_trace(gateway, after, control_argument(request, "aor"), TRACE_BATCH, add_message, messages, &after, &lost) <
	    0) {
		json_decref(messages);
		control_fail(request, "Not enough memory to keep messages.");
		return;
	}
	if (ends || lost > 0 || json_array_size(messages) > 0) {
		control_answer(request, json_pack("{s:o, s:I, s:I}", "messages", messages, "after", (json_int_t)after, "lost",
						  (json_int_t)lost));
		return;
	}
	json_decref(messages);
	json_object_set_new(arguments, "after", json_integer((json_int_t)after)); /* what concerns others is not looked at again */
}

static void look_again(struct control_request *request) {
	look(request, false);
}

static void look_last(struct control_request *request) {
	look(request, true);
}

/* Waits for messages that come after number "after"; without one it begins now and says which is next. */
static void on_trace(struct control_request *request) {
	json_t *arguments = control_arguments(request), *after = json_object_get(arguments, "after");
	struct sip_gateway *gateway = gateway_or_fail(request);

	if (!gateway)
		return;
	if (after && (!json_is_integer(after) || json_integer_value(after) < 0)) {
		control_fail(request, "after is the number that the last answer has given.");
		return;
	}
	if (!after) {
		json_object_set_new(arguments, "after", json_integer((json_int_t)sip_gateway_trace_now(gateway)));
		look_last(request);
		return;
	}
	control_wait(request, look_again, "there was no message", TRACE_SECONDS);
	control_wait_otherwise(request, look_last);
}

const struct control_command control_sip_commands[] = {
	{"calls", on_calls},
	{"sip_trace", on_trace},
	{"sip_trunks", on_trunks},
	{NULL, NULL},
};
