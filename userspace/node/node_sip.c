/* SPDX-License-Identifier: BSD-2-Clause */
/* The SIP gateway of a node, as its settings ask for it. */
#include "node/node_internal.h"

#include "node/handover.h"
#include "node/sip_glue.h"
#include "overlay/digest.h"
#include "wire/uri.h"

#include <errno.h>
#include <string.h>

/* Shows after a restart, too, which calls are ours: made of the node's private key, which stays. */
static int make_dialog_key(const struct node *node, uint8_t ret[static SHA256_LENGTH]) {
	unsigned char *key = NULL;
	int length = i2d_PrivateKey(node->credential->key, &key);

	if (length <= 0)
		return -ENOMEM;
	const struct octets parts[] = {octets_of_string("Ringgate SIP dialogs"), OCTETS(key, (size_t)length)};
	int error = digest_sha256(parts, ARRAY_LENGTH(parts), ret);
	octets_wipe(key, (size_t)length);
	OPENSSL_free(key);
	return error;
}

/* "192.0.2.53:53,[2001:db8::53]:53"; NULL for those of the system. */
static const char *name_servers(const struct settings *settings, char *text, size_t size) {
	char address[ADDRESS_TEXT_SIZE];

	text[0] = 0;
	for (size_t i = 0; i < settings->sip_name_server_count; i++)
		snprintf(text + strlen(text), size - strlen(text), "%s%s", i > 0 ? "," : "",
			 address_format(&settings->sip_name_servers[i], address));
	return text[0] ? text : NULL;
}

/* The way to this node, as it stands in temporary GRUUs of its phones (S-6-01). */
static int make_gruu(const struct node *node, char *ret, size_t size) {
	uint8_t list[2 + ID_LENGTH_MAX];
	struct writer w = writer_fixed(list, sizeof(list));

	destination_write_node(&w, router_node_id(node->router));
	return gruu_value_format(writer_octets_written(&w), ret, size);
}

int node_open_sip(struct node *node, struct handover *handover, char *reason) {
	uint8_t dialog_key[SHA256_LENGTH];
	char servers[SETTINGS_LISTEN_MAX * ADDRESS_TEXT_SIZE];
	struct sip_trunk_settings trunks[SETTINGS_TRUNKS_MAX];
	struct sip_sibling_settings siblings[SETTINGS_OVERLAY_ROUTES_MAX];
	char gruu[SIP_GRUU_OCTETS];
	struct sip_gateway_settings sip_settings = {
		.runtime = &node->runtime,
		.listen_count = node->settings->sip_listen_count,
		.expires_min_s = node->settings->sip_expires_min_s,
		.expires_default_s = node->settings->sip_expires_default_s,
		.expires_max_s = node->settings->sip_expires_max_s,
		.tls_listen_count = node->settings->sip_tls_listen_count,
		.tls_certificate = node->settings->sip_tls_certificate,
		.tls_key = node->settings->sip_tls_key,
		.mode = (enum sip_mode)node->settings->sip_mode,
		.outside_calls = node->settings->sip_outside_calls,
		.tls_ca_file = node->settings->sip_tls_ca_file,
		.names = node->settings->sip_outside_domains,
		.name_servers = name_servers(node->settings, servers, sizeof(servers)),
		.digests = node->settings->sip_digests,
		.callers = (enum sip_callers)node->settings->sip_callers,
	};

	memcpy(sip_settings.listen, node->settings->sip_listen, sip_settings.listen_count * sizeof(sip_settings.listen[0]));
	for (size_t i = 0; i < node->settings->trunk_count; i++) {
		const struct settings_trunk *trunk = &node->settings->trunks[i];
		trunks[i] = (struct sip_trunk_settings){
			.name = trunk->name,
			.server = trunk->server,
			.user = trunk->user,
			.password_file = trunk->password_file,
			.caller_id = trunk->caller_id,
			.numbers = trunk->numbers,
			.incoming = trunk->incoming,
			.registers = trunk->registers,
		};
	}
	for (size_t i = 0; i < node->settings->sip_overlay_route_count; i++)
		siblings[i] = (struct sip_sibling_settings){.domain = node->settings->sip_overlay_routes[i].domain,
							    .address = node->settings->sip_overlay_routes[i].address};
	sip_settings.siblings = siblings;
	sip_settings.sibling_count = node->settings->sip_overlay_route_count;
	sip_settings.trunks = trunks;
	sip_settings.trunk_count = node->settings->trunk_count;
	/* A redirector takes no calls of gateways. */
	if (sip_settings.mode != SIP_MODE_REDIRECT && node->settings->sip_gateway_tls != GATEWAY_TLS_NO) {
		sip_settings.peer_listen_count = node->settings->sip_gateway_listen_count;
		memcpy(sip_settings.peer_listen, node->settings->sip_gateway_listen,
		       sip_settings.peer_listen_count * sizeof(sip_settings.peer_listen[0]));
	}
	memcpy(sip_settings.tls_listen, node->settings->sip_tls_listen,
	       sip_settings.tls_listen_count * sizeof(sip_settings.tls_listen[0]));
	sip_settings.gruu = gruu;
	if (sip_glue_new(node, &node->sip_glue) < 0 || make_dialog_key(node, dialog_key) < 0 ||
	    make_gruu(node, gruu, sizeof(gruu)) < 0)
		return node_fail(reason, -ENOMEM, "Not enough memory for the SIP gateway.");
	sip_settings.dialog_key = dialog_key;
	sip_settings.inherit = handover_take;
	sip_settings.inherit_userdata = handover;
	struct sip_gateway_events events = sip_glue_events(node->sip_glue);
	int error = sip_gateway_new(&sip_settings, &events, &node->sip, reason, NODE_REASON_SIZE);
	octets_wipe(dialog_key, sizeof(dialog_key));
	return error;
}
