/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that make and read files: overlay create, issue, show. */
#include "base/runtime.h"
#include "cmd/ctl.h"
#include "node/document.h"

#include <errno.h>
#include <string.h>
#include <time.h>

static void told_created(const struct provision_overlay *overlay) {
	const char *directory = overlay->directory;

	printf("Overlay %s is described by %s/overlay.xml. Give that file to every gateway.\n", overlay->name, directory);
	if (overlay->self_signed_digest)
		printf("Gateways make their own certificates: ringgatectl overlay issue DIRECTORY, where overlay.xml is.\n"
		       "Keep %s/signer.key here: whoever has it rules the overlay.\n",
		       directory);
	else
		printf("Keep %s/ca.key and %s/signer.key here: whoever has them owns the overlay.\n", directory, directory);
	if (overlay->shared_secret)
		puts("The file holds the shared secret: give it to nobody else, and over protected channels alone.");
}

static int create(struct ctl *ctl) {
	char reason[PROVISION_REASON_SIZE] = "", secret[PROVISION_SECRET_MAX + 2] = "";

	ctl->overlay.directory = ctl->arguments[1];
	if (!ctl->overlay.name) {
		fputs("ringgatectl: overlay create needs --name, such as --name example.org\n", stderr);
		return CTL_USAGE;
	}
	if (ctl->secret_file) {
		int status = ctl_read_secret(ctl->secret_file, secret, sizeof(secret));
		if (status != CTL_DONE)
			return status;
		ctl->overlay.shared_secret = secret;
	}
	int error = provision_overlay_create(&ctl->overlay, reason);
	octets_wipe(secret, sizeof(secret));
	if (error < 0) {
		fprintf(stderr, "ringgatectl: %s\n", reason);
		return CTL_FAILED;
	}
	if (ctl->json) {
		json_t *result = json_pack("{s:s, s:s}", "overlay", ctl->overlay.name, "directory", ctl->overlay.directory);
		ctl_print_json(result);
		json_decref(result);
		return CTL_DONE;
	}
	told_created(&ctl->overlay);
	return CTL_DONE;
}

static int issue(struct ctl *ctl) {
	char reason[PROVISION_REASON_SIZE] = "", text[ID_TEXT_SIZE];
	struct id node_id;

	ctl->certificate.directory = ctl->arguments[1];
	if (!ctl->certificate.output) {
		fputs("ringgatectl: overlay issue needs --output, the path of the new files without .crt and .key\n", stderr);
		return CTL_USAGE;
	}
	if (provision_certificate_issue(&ctl->certificate, &node_id, reason) < 0) {
		fprintf(stderr, "ringgatectl: %s\n", reason);
		return CTL_FAILED;
	}
	id_format(&node_id, text);
	if (ctl->json) {
		json_t *result = json_pack("{s:s, s:s}", "node_id", text, "output", ctl->certificate.output);
		ctl_print_json(result);
		json_decref(result);
	} else {
		printf("%s.crt and %s.key are written, Node-ID %s.\n", ctl->certificate.output, ctl->certificate.output, text);
	}
	return CTL_DONE;
}

static json_t *json_ids(const struct id *ids, size_t count) {
	char text[ID_TEXT_SIZE];
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, json_string(id_format(&ids[i], text)));
	return list;
}

static json_t *json_admission(const struct overlay_config *config) {
	json_t *servers = json_array();

	for (size_t i = 0; i < config->enrollment_server_count; i++)
		json_array_append_new(servers, json_string(config->enrollment_servers[i]));
	return json_pack("{s:b, s:s?, s:b, s:b, s:o}", "certificate_authority", config->root_count > 0, "self_signed",
			 config->self_signed_permitted ? config->self_signed_digest : NULL, "shared_secret",
			 config->shared_secret != NULL, "clients_permitted", config->clients_permitted, "enrollment_servers",
			 servers);
}

static json_t *json_config(const struct overlay_config *config) {
	char text[ADDRESS_TEXT_SIZE];
	json_t *bootstrap = json_array(), *kinds = json_array();

	for (size_t i = 0; i < config->bootstrap_count; i++)
		json_array_append_new(bootstrap, json_string(address_format(&config->bootstrap[i], text)));
	for (size_t i = 0; i < config->kind_count; i++)
		json_array_append_new(
			kinds,
			json_pack("{s:I, s:s, s:s, s:s, s:I, s:I, s:b}", "id", (json_int_t)config->kinds[i].id, "name",
				  config->kinds[i].name, "data_model", data_model_name(config->kinds[i].model), "access_policy",
				  access_policy_name(config->kinds[i].access), "max_count", (json_int_t)config->kinds[i].max_count,
				  "max_size", (json_int_t)config->kinds[i].max_size, "required", config->kinds[i].required));
	return json_pack("{s:s, s:i, s:I, s:o, s:s, s:i, s:o, s:o, s:o, s:i, s:I, s:I, s:I}", "overlay", config->overlay_name,
			 "sequence", (int)config->sequence, "expiration_ms", (json_int_t)config->expiration_ms, "admission",
			 json_admission(config), "topology_plugin", config->topology_plugin, "root_certificates",
			 (int)config->root_count, "bootstrap_nodes", bootstrap, "kinds", kinds, "configuration_signers",
			 json_ids(config->configuration_signers, config->configuration_signer_count), "initial_ttl",
			 (int)config->initial_ttl, "max_message_size", (json_int_t)config->max_message_size,
			 "chord_update_interval_s", (json_int_t)config->chord_update_interval_s, "overlay_reliability_timer_ms",
			 (json_int_t)config->reliability_timer_ms);
}

/* Who gets in, in words an operator can check against what was meant. */
static void print_admission(const struct overlay_config *config) {
	const char *word = "admission";

	if (config->root_count > 0) {
		printf("%-14s certificates of its CA; the CA decides who joins\n", word);
		word = "";
	}
	for (size_t i = 0; i < config->enrollment_server_count; i++)
		printf("%-14s to be had at %s\n", "", config->enrollment_servers[i]);
	if (config->self_signed_permitted) {
		printf("%-14s self-signed certificates, Node-IDs are the %s of their keys; %s\n", word, config->self_signed_digest,
		       config->shared_secret ? "nobody is asked for more than the secret" : "anybody can join");
		word = "";
	}
	if (config->shared_secret)
		printf("%-14s links need the shared secret in this document, which is to be kept from others\n", word);
	printf("%-14s %s\n", "clients", config->clients_permitted ? "permitted" : "not permitted: every node has to become a peer");
}

static void print_config(const struct overlay_config *config) {
	char text[ADDRESS_TEXT_SIZE];
	char expires[64] = "never";
	time_t expiration = (time_t)(config->expiration_ms / 1000);
	struct tm tm;

	if (config->expiration_ms && gmtime_r(&expiration, &tm))
		strftime(expires, sizeof(expires), "%Y-%m-%d %H:%M:%S UTC", &tm);
	printf("%-14s %s, sequence %u\n", "overlay", config->overlay_name, config->sequence);
	printf("%-14s %s\n", "expires", expires);
	printf("%-14s %s\n", "signature", config->signature_count > 0 ? "fits" : "none");
	print_admission(config);
	printf("%-14s %s\n", "topology", config->topology_plugin);
	for (size_t i = 0; i < config->bootstrap_count; i++)
		printf("%-14s %s\n", i == 0 ? "bootstrap" : "", address_format(&config->bootstrap[i], text));
	for (size_t i = 0; i < config->kind_count; i++)
		printf("%-14s 0x%08x %-22s %-10s %-16s up to %u values of %u octets%s\n", i == 0 ? "kinds" : "",
		       config->kinds[i].id, config->kinds[i].name[0] ? config->kinds[i].name : "(private)",
		       data_model_name(config->kinds[i].model), access_policy_name(config->kinds[i].access),
		       config->kinds[i].max_count, config->kinds[i].max_size, config->kinds[i].required ? ", required" : "");
}

static int load(const char *path, struct overlay_config **ret, char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	_cleanup_(trust_freep) struct trust *trust = NULL;
	struct runtime_source clock = runtime_source_system();

	int error = overlay_config_load(path, NULL, &config, reason);
	if (error == 0)
		error = trust_new(config, &trust);
	if (error == 0)
		error = document_unchanged(config, trust, clock.realtime_ms(clock.userdata), reason);
	if (error == 0)
		*ret = TAKE(config);
	return error;
}

static int show(struct ctl *ctl) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE] = "";

	int error = load(ctl->arguments[1], &config, reason);
	if (error != 0) {
		bool named = strncmp(reason, ctl->arguments[1], strlen(ctl->arguments[1])) == 0;
		fprintf(stderr, "ringgatectl: %s%s%s\n", named ? "" : ctl->arguments[1], named ? "" : ": ",
			reason[0] ? reason : strerror(-error));
		return CTL_FAILED;
	}
	if (!ctl->json) {
		print_config(config);
		return CTL_DONE;
	}
	json_t *result = json_config(config);
	ctl_print_json(result);
	json_decref(result);
	return CTL_DONE;
}

int ctl_overlay(struct ctl *ctl) {
	static const struct {
		const char *word;
		int (*run)(struct ctl *ctl);
	} words[] = {{"create", create},
		     {"issue", issue},
		     {"show", show},
		     {"sign", ctl_overlay_sign},
		     {"publish", ctl_overlay_publish},
		     {"bump", ctl_overlay_bump},
		     {"fetch", ctl_overlay_fetch}};

	for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
		if (strcmp(ctl->arguments[0], words[i].word) == 0)
			return words[i].run(ctl);
	fprintf(stderr, "ringgatectl: there is no \"overlay %s\", only create, issue, show, sign, publish, bump and fetch.\n",
		ctl->arguments[0]);
	return CTL_USAGE;
}
