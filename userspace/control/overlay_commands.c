/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that ask the overlay: fetch, store, find, ping, route-query, resolve. */
#include "control/control.h"
#include "node/sip_glue.h"
#include "wire/method.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum { LIFETIME_DEFAULT_S = 86400 };

/* ---- arguments ---- */

static int parse_number(const char *text, unsigned long long max, unsigned long long *ret) {
	char *end;

	if (!text || !isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 0);
	if (*end != 0 || errno != 0 || value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

/* Numbers arrive as JSON numbers or, from the command line, as text. -ENOENT when absent. */
static int argument_number(const struct control_request *request, const char *name, unsigned long long max,
			   unsigned long long *ret) {
	json_t *value = json_object_get(control_arguments(request), name);

	if (!value)
		return -ENOENT;
	if (json_is_integer(value)) {
		if (json_integer_value(value) < 0 || (unsigned long long)json_integer_value(value) > max)
			return -EINVAL;
		*ret = (unsigned long long)json_integer_value(value);
		return 0;
	}
	return parse_number(json_string_value(value), max, ret);
}

/* Kind names are written with hyphens and with underscores, in either case. */
static bool same_name(const char *a, const char *b) {
	for (; *a && *b; a++, b++) {
		int x = *a == '_' ? '-' : tolower((unsigned char)*a), y = *b == '_' ? '-' : tolower((unsigned char)*b);
		if (x != y)
			return false;
	}
	return *a == *b;
}

static const struct kind *argument_kind(const struct control_request *request) {
	const struct overlay_config *config = router_config(control_node(request)->router);
	const char *text = control_argument(request, "kind");
	unsigned long long id;

	if (!text)
		return NULL;
	if (parse_number(text, UINT32_MAX, &id) == 0)
		return overlay_config_kind(config, (uint32_t)id);
	for (size_t i = 0; i < config->kind_count; i++)
		if (config->kinds[i].name[0] && same_name(config->kinds[i].name, text))
			return &config->kinds[i];
	return NULL;
}

/* "resource": hexadecimal; "name": a Resource Name; "node": a Node-ID or "self", hashed; with "multiple" the NODE-MULTIPLE form. */
static int argument_resource(const struct control_request *request, struct id *ret) {
	struct node *node = control_node(request);
	uint8_t length = router_config(node->router)->node_id_length, name[ID_LENGTH_MAX + 1];
	const char *resource = control_argument(request, "resource"), *text = control_argument(request, "name"),
		   *of_node = control_argument(request, "node");
	unsigned long long multiple;
	struct id id;

	if (resource)
		return id_parse(resource, ret) < 0 || ret->length != length ? -EINVAL : 0;
	if (text) {
		*ret = resource_id_of_name(octets_of_string(text), length);
		return 0;
	}
	if (!of_node)
		return -ENOENT;
	if (strcmp(of_node, "self") == 0)
		id = node->credential->node_id;
	else if (id_parse(of_node, &id) < 0 || id.length != length)
		return -EINVAL;
	memcpy(name, id.octets, length);
	int with_multiple = argument_number(request, "multiple", 255, &multiple);
	if (with_multiple == -EINVAL)
		return -EINVAL;
	if (with_multiple == 0)
		name[length] = (uint8_t)multiple; /* one octet */
	*ret = resource_id_of_name(OCTETS(name, length + (with_multiple == 0)), length);
	return 0;
}

static bool check_resource(struct control_request *request, struct id *ret) {
	int error = argument_resource(request, ret);

	if (error == -ENOENT)
		control_fail(request, "Say which: a name such as alice@example.org, a resource (hexadecimal) or a node.");
	else if (error < 0)
		control_fail(
			request,
			"The resource, node or multiple is not valid: identifiers are %u hexadecimal digits, multiple is 0 to 255.",
			2u * router_config(control_node(request)->router)->node_id_length);
	return error == 0;
}

static bool check_kind(struct control_request *request, const struct kind **ret) {
	const char *text = control_argument(request, "kind");

	*ret = argument_kind(request);
	if (!text)
		control_fail(request, "Say which Kind, for instance SIP-REGISTRATION.");
	else if (!*ret)
		control_fail(request, "Kind \"%.64s\" is not known in this overlay.", text);
	return *ret != NULL;
}

/* A Node-ID that may be absent: then *ret is ID_NONE. Fails the request when it is none. */
static bool check_node_id(struct control_request *request, const char *name, struct id *ret) {
	uint8_t length = router_config(control_node(request)->router)->node_id_length;
	const char *text = control_argument(request, name);

	*ret = ID_NONE;
	if (!text || (id_parse(text, ret) == 0 && ret->length == length))
		return true;
	control_fail(request, "\"%.64s\" is not a Node-ID of %u hexadecimal digits.", text, 2u * length);
	return false;
}

/* Writes into the fixed buffer `list` a destination list of `node` (may be none) and then `target`. */
static struct octets make_list(uint8_t *list, size_t size, const struct id *first, const struct id *target, bool resource) {
	struct writer w = writer_fixed(list, size);

	w.node_id_length = target->length;
	if (first && !id_is_none(first))
		destination_write_node(&w, first);
	if (resource)
		destination_write_resource(&w, id_octets(target));
	else
		destination_write_node(&w, target);
	return writer_octets_written(&w);
}

/* ---- results ---- */

static json_t *json_hex(struct octets octets) {
	static const char digits[] = "0123456789abcdef";
	_cleanup_free_ char *text = malloc(2 * octets.length + 1);

	if (!text)
		return NULL;
	for (size_t i = 0; i < octets.length; i++) {
		text[2 * i] = digits[octets.data[i] >> 4];
		text[2 * i + 1] = digits[octets.data[i] & 15];
	}
	return json_stringn(text, 2 * octets.length);
}

static void fail_outcome(struct control_request *request, const struct storage_outcome *outcome) {
	const char *name = outcome->error == -EREMOTEIO ? error_code_name(outcome->error_code) : NULL;

	if (outcome->error == -ETIMEDOUT)
		control_fail(request, "No answer from the overlay.");
	else if (outcome->error == -ENETUNREACH)
		control_fail(request, "The overlay is not reachable: no peer is connected.");
	else if (name)
		control_fail(request, "Refused: %s%s%s", name, outcome->error_text[0] ? ": " : "", outcome->error_text);
	else
		control_fail(request, "%s%s%s", strerror(-outcome->error), outcome->error_text[0] ? ": " : "", outcome->error_text);
}

static void add_sip_registration(json_t *object, struct octets value) {
	struct sip_registration registration;

	if (sip_registration_read(value, &registration) < 0)
		return;
	if (registration.type == SIP_REGISTRATION_URI)
		json_object_set_new(object, "uri", json_stringn((const char *)registration.uri.data, registration.uri.length));
	else
		json_object_set_new(object, "route", json_hex(registration.destination_list));
}

static json_t *json_value(const struct fetched_value *fetched, uint32_t kind) {
	const struct stored_value *value = &fetched->value;
	json_t *object = json_pack("{s:b, s:o, s:I, s:I, s:o}", "exists", value->exists, "value", json_hex(value->value),
				   "storage_time_ms", (json_int_t)fetched->storage_time_ms, "lifetime_s",
				   (json_int_t)fetched->lifetime_s, "signer", control_id(&fetched->signer_id));

	if (fetched->rolled_back)
		json_object_set_new(object, "rolled_back", json_true());
	if (value->model == DATA_MODEL_ARRAY)
		json_object_set_new(object, "index", json_integer(value->index));
	if (value->model == DATA_MODEL_DICTIONARY)
		json_object_set_new(object, "key", json_hex(value->key));
	json_t *text =
		value->exists ? json_stringn((const char *)value->value.data, value->value.length) : NULL; /* NULL unless UTF-8 */
	if (text)
		json_object_set_new(object, "text", text);
	if (kind == KIND_SIP_REGISTRATION && value->exists)
		add_sip_registration(object, value->value);
	return object;
}

/* ---- fetch ---- */

struct fetch {
	struct control_request *request;
	uint32_t kind;
};

static void on_fetched(void *userdata, const struct storage_outcome *outcome, const struct fetched_value *values, size_t count,
		       bool partial) {
	_cleanup_free_ struct fetch *fetch = userdata;

	if (outcome->error < 0) {
		fail_outcome(fetch->request, outcome);
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_value(&values[i], fetch->kind));
	control_answer(fetch->request, json_pack("{s:o, s:b, s:I, s:o, s:I}", "values", list, "partial", partial, "generation",
						 (json_int_t)outcome->generation, "responder", control_id(&outcome->responder),
						 "elapsed_us", (json_int_t)outcome->elapsed_us));
}

static void on_fetch(struct control_request *request) {
	struct node *node = control_node(request);
	struct id resource_id, destination;
	const struct kind *kind;

	if (!check_kind(request, &kind) || !check_resource(request, &resource_id) || !check_node_id(request, "at", &destination))
		return;
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	if (fetch)
		*fetch = (struct fetch){.request = request, .kind = kind->id};
	int error = fetch ? storage_fetch_with(node->router, node->history, &resource_id, kind->id,
					       id_is_none(&destination) ? NULL : &destination, on_fetched, fetch)
			  : -ENOMEM;
	if (error < 0) {
		free(fetch);
		control_fail(request, "The request could not be sent: %s.", strerror(-error));
	}
}

/* ---- store ---- */

static void on_stored(void *userdata, const struct storage_outcome *outcome) {
	struct control_request *request = userdata;

	if (outcome->error < 0) {
		fail_outcome(request, outcome);
		return;
	}
	json_t *replicas = json_array();
	for (size_t i = 0; i < outcome->replica_count; i++)
		json_array_append_new(replicas, control_id(&outcome->replicas[i]));
	control_answer(request, json_pack("{s:I, s:o, s:o, s:I}", "generation", (json_int_t)outcome->generation, "responder",
					  control_id(&outcome->responder), "replicas", replicas, "elapsed_us",
					  (json_int_t)outcome->elapsed_us));
}

/* Who signs: the node, or a user provisioned here. */
static int argument_credential(struct control_request *request, struct credential **ret) {
	struct node *node = control_node(request);
	const char *name = control_argument(request, "user");
	struct user *user = name ? users_find(node->users, name) : NULL;

	if (name && (!user || users_wake(node->users, user, runtime_realtime_ms(&node->runtime)) < 0)) {
		control_fail(request, "No certificate of user \"%.200s\" is provisioned on this node.", name);
		return -ENOENT;
	}
	*ret = user ? user->credentials[0] : node->credential;
	return 0;
}

static int argument_value(struct control_request *request, const struct kind *kind, const struct credential *credential,
			  struct storage_value *ret) {
	const char *text = control_argument(request, "value"), *key = control_argument(request, "key");
	unsigned long long lifetime = LIFETIME_DEFAULT_S, index = ARRAY_INDEX_LAST;

	if (argument_number(request, "lifetime", UINT32_MAX, &lifetime) == -EINVAL ||
	    argument_number(request, "index", UINT32_MAX, &index) == -EINVAL) {
		control_fail(request, "lifetime is a number of seconds, index a number.");
		return -EINVAL;
	}
	*ret = (struct storage_value){
		.lifetime_s = (uint32_t)lifetime,
		.value = {.model = kind->model,
			  .index = (uint32_t)index,
			  .exists = text != NULL,
			  .value = octets_of_string(text),
			  .key = key ? octets_of_string(key) : id_octets(&credential->node_id)},
	};
	return 0;
}

static void on_store(struct control_request *request) {
	struct node *node = control_node(request);
	struct credential *credential;
	struct storage_value value;
	const struct kind *kind;
	struct id resource_id;

	if (!check_kind(request, &kind) || !check_resource(request, &resource_id) ||
	    argument_credential(request, &credential) < 0 || argument_value(request, kind, credential, &value) < 0)
		return;
	int error = storage_store(node->router, credential, &resource_id, kind->id, 0, &value, 1, on_stored, request);
	if (error < 0)
		control_fail(request, "The request could not be sent: %s.", strerror(-error));
}

/* ---- find ---- */

static void on_found(void *userdata, const struct storage_outcome *outcome, const struct id *closest) {
	struct control_request *request = userdata;

	if (outcome->error < 0)
		fail_outcome(request, outcome);
	else
		control_answer(request, json_pack("{s:o, s:o}", "closest",
						  closest && !id_is_zero(closest) ? control_id(closest) : json_null(), "responder",
						  control_id(&outcome->responder)));
}

static void on_find(struct control_request *request) {
	const struct kind *kind;
	struct id resource_id;

	if (!check_kind(request, &kind) || !check_resource(request, &resource_id))
		return;
	int error = storage_find(control_node(request)->router, &resource_id, kind->id, on_found, request);
	if (error < 0)
		control_fail(request, "The request could not be sent: %s.", strerror(-error));
}

/* ---- ping and route query ---- */

static void fail_response(struct control_request *request, int error, const struct response *response) {
	struct storage_outcome outcome = {.error = error};

	if (error == -EREMOTEIO && response) {
		outcome.error_code = response->error.code;
		error_info_text(response->error.info, outcome.error_text, sizeof(outcome.error_text));
	}
	fail_outcome(request, &outcome);
}

static void on_pong(void *userdata, int error, const struct response *response) {
	struct control_request *request = userdata;
	struct ping_ans ping;

	if (error < 0)
		fail_response(request, error, response);
	else if (ping_ans_read(response->body, &ping) < 0)
		control_fail(request, "The answer does not parse.");
	else
		control_answer(request,
			       json_pack("{s:o, s:I, s:I, s:i}", "responder", control_id(&response->signer_id), "elapsed_us",
					 (json_int_t)response->elapsed_us, "time_ms", (json_int_t)ping.time_ms, "hops_back",
					 router_config(control_node(request)->router)->initial_ttl - response->ttl_received + 1));
}

/* Target of ping and route-query: "target" is a Node-ID unless "resource" or "name" say otherwise. */
static int argument_target(struct control_request *request, struct id *ret, bool *ret_resource) {
	const char *target = control_argument(request, "target");
	uint8_t length = router_config(control_node(request)->router)->node_id_length;

	*ret_resource = !target;
	if (!target)
		return check_resource(request, ret) ? 0 : -EINVAL;
	if (strcmp(target, "wildcard") == 0) {
		*ret = id_wildcard(length);
		return 0;
	}
	if (strchr(target, '@')) {
		*ret = resource_id_of_name(octets_of_string(target), length);
		*ret_resource = true;
		return 0;
	}
	if (id_parse(target, ret) < 0 || ret->length != length) {
		control_fail(request,
			     "\"%.64s\" is neither a Node-ID of %u hexadecimal digits nor a name such as alice@example.org.",
			     target, 2u * length);
		return -EINVAL;
	}
	return 0;
}

static void send_request(struct control_request *request, struct outgoing *outgoing) {
	int error = router_send_request(control_node(request)->router, outgoing, NULL);

	if (error < 0)
		control_fail(request, "The request could not be sent: %s.", strerror(-error));
}

static void on_ping(struct control_request *request) {
	uint8_t list[64], padding[2] = {0, 0};
	struct id target, via;
	bool resource;

	if (argument_target(request, &target, &resource) < 0 || !check_node_id(request, "via", &via))
		return;
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list = make_list(list, sizeof(list), &via, &target, resource),
		.code = PING_REQ,
		.body = OCTETS(padding, sizeof(padding)),
		.any_responder = id_is_wildcard(&target),
		.done = on_pong,
		.userdata = request,
	};
	send_request(request, &outgoing);
}

static void on_route_answer(void *userdata, int error, const struct response *response) {
	struct control_request *request = userdata;
	struct id next;

	if (error < 0)
		fail_response(request, error, response);
	else if (chord_route_query_ans_read(response->body, router_config(control_node(request)->router)->node_id_length, &next) <
		 0)
		control_fail(request, "The answer does not parse.");
	else
		control_answer(request,
			       json_pack("{s:o, s:o, s:I}", "next_peer", control_id(&next), "responder",
					 control_id(&response->signer_id), "elapsed_us", (json_int_t)response->elapsed_us));
}

/* Asks `via` (or ourselves) for its next hop towards the target. */
static void on_route_query(struct control_request *request) {
	struct node *node = control_node(request);
	uint8_t list[64], asked[64], body[128];
	struct id target, via;
	bool resource;

	if (argument_target(request, &target, &resource) < 0 || !check_node_id(request, "via", &via))
		return;
	struct route_query_req query = {.destination.whole = make_list(asked, sizeof(asked), NULL, &target, resource)};
	struct writer w = writer_fixed(body, sizeof(body));
	route_query_write(&w, &query);
	struct outgoing outgoing = {
		OUTGOING_DEFAULT,
		.destination_list =
			make_list(list, sizeof(list), NULL, id_is_none(&via) ? &node->credential->node_id : &via, false),
		.code = ROUTE_QUERY_REQ,
		.body = writer_octets_written(&w),
		.done = on_route_answer,
		.userdata = request,
	};
	send_request(request, &outgoing);
}

/* ---- resolve ---- */

static void on_resolved(void *userdata, int error, const struct sip_contact *contacts, size_t count) {
	struct control_request *request = userdata;

	if (error < 0 && error != -ENOENT && error != -ENODATA) {
		control_fail(request,
			     error == -ELOOP ? "The registrations of this name form a loop." : "The overlay is not reachable.");
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_pack("{s:o, s:o, s:I, s:b}", "uri", control_text(contacts[i].uri), "registrant",
						      control_id(&contacts[i].registrant), "lifetime_s",
						      (json_int_t)contacts[i].lifetime_s, "route", contacts[i].route));
	control_answer(request, json_pack("{s:o}", "contacts", list));
}

static void on_resolve(struct control_request *request) {
	const char *name = control_argument(request, "name");
	char aor[SIP_AOR_OCTETS + 1];

	if (!name || (sip_aor_of_uri(name, aor, sizeof(aor)) < 0)) {
		control_fail(request, "Give a name such as alice@example.org.");
		return;
	}
	if (control_node(request)->sip_glue)
		sip_glue_canonical(control_node(request)->sip_glue, aor);
	int error = sip_resolve_with(control_node(request)->router, control_node(request)->history, aor, on_resolved, request);
	if (error < 0)
		control_fail(request, "The request could not be sent: %s.", strerror(-error));
}

const struct control_command control_overlay_commands[] = {
	{"fetch", on_fetch},	 {"store", on_store}, {"find", on_find}, {"ping", on_ping}, {"route-query", on_route_query},
	{"resolve", on_resolve}, {NULL, NULL},
};
