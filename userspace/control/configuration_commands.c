/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands about the configuration document: what is in force, and a newer one from the operator or the configuration server. */
#include "control/control.h"
#include "node/configuration.h"
#include "node/refresh.h"

static json_t *json_outcomes(const struct configuration_figures *figures) {
	json_t *outcomes = json_object();

	for (int i = 0; i < CONFIGURATION_OUTCOMES; i++)
		json_object_set_new(outcomes, configuration_outcome_name(i), json_integer((json_int_t)figures->documents[i]));
	return outcomes;
}

static json_t *json_bad_nodes(const struct overlay_config *config) {
	json_t *list = json_array();
	char text[ID_TEXT_SIZE];

	for (size_t i = 0; i < config->bad_node_count; i++)
		json_array_append_new(list, json_string(id_format(&config->bad_nodes[i], text)));
	return list;
}

static json_t *json_spread(const struct spread_figures *figures) {
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "sent", (json_int_t)figures->sent, "confirmed",
			 (json_int_t)figures->confirmed, "refused", (json_int_t)figures->refused, "lost", (json_int_t)figures->lost,
			 "postponed", (json_int_t)figures->postponed, "too_large", (json_int_t)figures->too_large);
}

static json_t *json_server(const struct node *node) {
	struct refresh_figures figures = refresh_figures(node->refresh);
	const char *server = refresh_server(node->refresh);

	return json_pack("{s:s*, s:s*, s:s*, s:I, s:I, s:I, s:o}", "name", server, "ca_file", node->settings->enroll_ca_file,
			 "address", node->settings->enroll_address, "asked", (json_int_t)figures.asked, "failed",
			 (json_int_t)figures.failed, "next_s", (json_int_t)figures.next_s, "last_failure",
			 control_text(figures.last_failure));
}

static void on_configuration(struct control_request *request) {
	struct node *node = control_node(request);
	const struct overlay_config *config = router_config(node->router);
	const struct configuration_figures *figures = configuration_figures(node->configuration);

	control_answer(request,
		       json_pack("{s:s, s:i, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:I, s:o}", "overlay", config->overlay_name,
				 "sequence", (int)config->sequence, "expiration_ms", (json_int_t)config->expiration_ms, "octets",
				 (json_int_t)config->document_length, "max_message_size", (json_int_t)config->max_message_size,
				 "bad_nodes", json_bad_nodes(config), "documents", json_outcomes(figures), "spread",
				 json_spread(configuration_spread_figures(node->configuration)), "kinds_learned",
				 (json_int_t)figures->kinds_learned, "kinds_refused", (json_int_t)figures->kinds_refused, "server",
				 json_server(node)));
}

static void on_update(struct control_request *request) {
	struct node *node = control_node(request);
	const char *document = control_argument(request, "document");
	char reason[CONFIG_REASON_SIZE] = "";

	if (!document) {
		control_fail(request, "Say which document.");
		return;
	}
	enum configuration_outcome outcome = configuration_offer(node->configuration, octets_of_string(document), reason);
	/* An older one is no mistake: the server may be the last to know. */
	if (outcome == CONFIGURATION_APPLIED || outcome == CONFIGURATION_SAME || outcome == CONFIGURATION_STALE)
		control_answer(request, json_pack("{s:s, s:i, s:o}", "outcome", configuration_outcome_name(outcome), "sequence",
						  (int)router_config(node->router)->sequence, "reason", control_text(reason)));
	else
		control_fail(request, "%s", reason);
}

const struct control_command control_configuration_commands[] = {
	{"configuration", on_configuration},
	{"configuration-update", on_update},
	{NULL, NULL},
};
