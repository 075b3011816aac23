/* SPDX-License-Identifier: BSD-2-Clause */
/* From the document to struct overlay_config (RFC 6940 11.1). */
#include "overlay/config_kind.h"

#include "wire/message.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum {
	URL_SIZE = 1024,
	SECRET_SIZE = 512,
	ROOT_OCTETS_MAX = 16384,
	SIGNATURE_OCTETS_MAX = 65536,
	RELIABILITY_TIMER_MIN = 200, /* B-11.1-13 */
};

/* What is known while one configuration element is walked. */
struct walk {
	struct overlay_config *config;
	char *reason; /* CONFIG_REASON_SIZE octets */
};

static int out_of_memory(const struct walk *walk, const xmlNode *node) {
	return xml_refuse(walk->reason, node, -ENOMEM, "out of memory.");
}

/* --- parameters, one function each --- */

static int read_topology(struct walk *walk, const xmlNode *node) {
	char *name = walk->config->topology_plugin;
	int r = xml_text(node, name, sizeof(walk->config->topology_plugin), walk->reason);

	if (r >= 0 && strcmp(name, "CHORD-RELOAD") != 0)
		r = xml_refuse(walk->reason, node, -EOPNOTSUPP, "overlay algorithm \"%s\" is not supported here.", name);
	return r;
}

static int read_node_id_length(struct walk *walk, const xmlNode *node) {
	int64_t value;
	int r = xml_integer(node, ID_LENGTH_MIN, ID_LENGTH_MAX, &value, walk->reason); /* B-11.1-04 */

	if (r >= 0 && value != ID_LENGTH_CHORD) /* */
		r = xml_refuse(walk->reason, node, -EOPNOTSUPP, "CHORD-RELOAD works with Node-IDs of 16 octets only.");
	if (r >= 0)
		walk->config->node_id_length = (uint8_t)value;
	return r;
}

static int read_root(struct walk *walk, const xmlNode *node) {
	_cleanup_free_ uint8_t *der = NULL;
	size_t length;

	if (walk->config->root_count == CONFIG_ROOTS_MAX)
		return xml_refuse(walk->reason, node, -E2BIG, "is one more than the 8 root certificates allowed.");
	int r = xml_base64(node, ROOT_OCTETS_MAX, &der, &length, walk->reason);
	if (r < 0)
		return r;
	const uint8_t *position = der;
	X509 *root = d2i_X509(NULL, &position, (long)length);
	if (!root || position != der + length) {
		X509_free(root);
		ERR_clear_error();
		return xml_refuse(walk->reason, node, -EBADMSG, "is not an X.509 certificate.");
	}
	walk->config->roots[walk->config->root_count++] = root;
	return 0;
}

static int read_enrollment_server(struct walk *walk, const xmlNode *node) {
	char url[URL_SIZE];
	int r = xml_text(node, url, sizeof(url), walk->reason);

	if (r < 0)
		return r;
	if (strncasecmp(url, "https://", 8) != 0 || url[8] == 0) /* B-11.1-15 */
		return xml_refuse(walk->reason, node, -EBADMSG, "\"%.100s\" is not an https URL.", url);
	if (walk->config->enrollment_server_count == CONFIG_ENROLLMENT_MAX)
		return xml_refuse(walk->reason, node, -E2BIG, "is one more than the 8 enrollment servers allowed.");
	char *copy = strdup(url);
	if (!copy)
		return out_of_memory(walk, node);
	walk->config->enrollment_servers[walk->config->enrollment_server_count++] = copy;
	return 0;
}

static int read_self_signed(struct walk *walk, const xmlNode *node) {
	char digest[64];
	bool permitted;
	int r = xml_boolean(node, &permitted, walk->reason);

	if (r >= 0)
		r = xml_attribute(node, "digest", digest, sizeof(digest), walk->reason);
	if (r == 0)
		r = xml_refuse(walk->reason, node, -EBADMSG, "has no attribute digest.");
	if (r < 0 || !permitted)
		return r < 0 ? r : 0;
	if (strcmp(digest, "sha1") != 0 && strcmp(digest, "sha256") != 0) /* B-11.1-05 */
		return xml_refuse(walk->reason, node, -EOPNOTSUPP, "digest \"%s\" is not supported here.", digest);
	walk->config->self_signed_permitted = true;
	strcpy(walk->config->self_signed_digest, digest);
	return 0;
}

static int read_bootstrap(struct walk *walk, const xmlNode *node) {
	struct address address = {.port = RELOAD_PORT}; /* B-14.2-01 */
	char text[64];
	int64_t port;

	if (walk->config->bootstrap_count == CONFIG_BOOTSTRAP_MAX)
		return xml_refuse(walk->reason, node, -E2BIG, "is one more than the 64 bootstrap nodes allowed.");
	int r = xml_attribute(node, "address", text, sizeof(text), walk->reason);
	if (r < 0)
		return r;
	if (r == 0)
		return xml_refuse(walk->reason, node, -EBADMSG, "has no attribute address.");
	if (inet_pton(AF_INET, text, address.octets) == 1)
		address.family = AF_INET;
	else if (inet_pton(AF_INET6, text, address.octets) == 1)
		address.family = AF_INET6;
	else
		return xml_refuse(walk->reason, node, -EBADMSG, "\"%s\" is not an IPv4 or IPv6 address.", text);
	r = xml_attribute(node, "port", text, sizeof(text), walk->reason);
	if (r < 0)
		return r;
	if (r > 0) {
		if (text_integer(text, &port) < 0 || port < 1 || port > UINT16_MAX)
			return xml_refuse(walk->reason, node, -EBADMSG, "\"%s\" is not a port number.", text);
		address.port = (uint16_t)port;
	}
	walk->config->bootstrap[walk->config->bootstrap_count++] = address;
	return 0;
}

static int read_turn_density(struct walk *walk, const xmlNode *node) {
	int64_t value;
	int r = xml_integer(node, 0, UINT8_MAX, &value, walk->reason);

	if (r >= 0)
		walk->config->turn_density = (uint8_t)value;
	return r;
}

static int read_clients_permitted(struct walk *walk, const xmlNode *node) {
	return xml_boolean(node, &walk->config->clients_permitted, walk->reason);
}

static int read_no_ice(struct walk *walk, const xmlNode *node) {
	return xml_boolean(node, &walk->config->no_ice, walk->reason);
}

static int read_shared_secret(struct walk *walk, const xmlNode *node) {
	char secret[SECRET_SIZE];
	int r = xml_text(node, secret, sizeof(secret), walk->reason);

	if (r >= 0 && secret[0] == 0)
		r = xml_refuse(walk->reason, node, -EBADMSG, "is empty.");
	if (r >= 0) {
		walk->config->shared_secret = strdup(secret);
		if (!walk->config->shared_secret)
			r = out_of_memory(walk, node);
	}
	octets_wipe(secret, sizeof(secret));
	xml_wipe(node);
	return r;
}

static int read_max_message_size(struct walk *walk, const xmlNode *node) {
	int64_t value;
	int r = xml_integer(node, CONFIG_MESSAGE_SIZE_MIN, CONFIG_MESSAGE_SIZE_MAX, &value, walk->reason);

	if (r >= 0)
		walk->config->max_message_size = (uint32_t)value;
	return r;
}

static int read_initial_ttl(struct walk *walk, const xmlNode *node) {
	int64_t value;
	int r = xml_integer(node, 1, UINT8_MAX, &value, walk->reason);

	if (r >= 0)
		walk->config->initial_ttl = (uint8_t)value;
	return r;
}

static int read_positive(struct walk *walk, const xmlNode *node, int64_t min, uint32_t *ret) {
	int64_t value;
	int r = xml_integer(node, min, INT32_MAX, &value, walk->reason);

	if (r >= 0)
		*ret = (uint32_t)value;
	return r;
}

static int read_reliability_timer(struct walk *walk, const xmlNode *node) {
	return read_positive(walk, node, RELIABILITY_TIMER_MIN, &walk->config->reliability_timer_ms);
}

static int read_chord_update(struct walk *walk, const xmlNode *node) {
	return read_positive(walk, node, 1, &walk->config->chord_update_interval_s);
}

static int read_chord_ping(struct walk *walk, const xmlNode *node) {
	return read_positive(walk, node, 1, &walk->config->chord_ping_interval_s);
}

static int read_chord_reactive(struct walk *walk, const xmlNode *node) {
	return xml_boolean(node, &walk->config->chord_reactive, walk->reason);
}

static int read_link_protocol(struct walk *walk, const xmlNode *node) {
	char name[64];
	int r = xml_text(node, name, sizeof(name), walk->reason);

	if (r < 0)
		return r;
	if (walk->config->link_protocol_count == CONFIG_LINK_PROTOCOLS_MAX)
		return xml_refuse(walk->reason, node, -E2BIG, "is one more than the 4 link protocols allowed.");
	char *copy = strdup(name);
	if (!copy)
		return out_of_memory(walk, node);
	walk->config->link_protocols[walk->config->link_protocol_count++] = copy;
	return 0;
}

static int read_node_id(struct walk *walk, const xmlNode *node, struct id *ret) {
	char text[64];
	int r = xml_text(node, text, sizeof(text), walk->reason);

	if (r < 0)
		return r;
	if (id_parse(text, ret) < 0 || ret->length != walk->config->node_id_length)
		return xml_refuse(walk->reason, node, -EBADMSG, "\"%s\" is not a Node-ID of %u octets in hexadecimal.", text,
				  walk->config->node_id_length);
	return 0;
}

static int read_signer(struct walk *walk, const xmlNode *node, struct id *list, size_t *count) {
	struct id node_id;
	int r = read_node_id(walk, node, &node_id);

	if (r < 0)
		return r;
	if (*count == CONFIG_SIGNERS_MAX)
		return xml_refuse(walk->reason, node, -E2BIG, "is one more than the 32 signers allowed.");
	list[(*count)++] = node_id;
	return 0;
}

static int read_configuration_signer(struct walk *walk, const xmlNode *node) {
	return read_signer(walk, node, walk->config->configuration_signers, &walk->config->configuration_signer_count);
}

static int read_kind_signer(struct walk *walk, const xmlNode *node) {
	return read_signer(walk, node, walk->config->kind_signers, &walk->config->kind_signer_count);
}

static int read_bad_node(struct walk *walk, const xmlNode *node) {
	struct overlay_config *config = walk->config;
	struct id node_id;
	int r = read_node_id(walk, node, &node_id);

	if (r < 0)
		return r;
	if (config->bad_node_count == CONFIG_BAD_NODES_MAX)
		return xml_refuse(walk->reason, node, -E2BIG, "is one more than the 4096 bad nodes allowed.");
	if (config->bad_node_count % 64 == 0) {
		struct id *grown = reallocarray(config->bad_nodes, config->bad_node_count + 64, sizeof(*grown));
		if (!grown)
			return out_of_memory(walk, node);
		config->bad_nodes = grown;
	}
	config->bad_nodes[config->bad_node_count++] = node_id;
	return 0;
}

/* B-11.1-07 */
static int read_mandatory_extension(struct walk *walk, const xmlNode *node) {
	static const char *const supported[] = {NAMESPACE_BASE, NAMESPACE_CHORD, NAMESPACE_SIP};
	char name[160];
	int r = xml_text(node, name, sizeof(name), walk->reason);

	for (size_t i = 0; i < ARRAY_LENGTH(supported) && r >= 0; i++)
		if (strcmp(name, supported[i]) == 0)
			return 0;
	return r < 0 ? r : xml_refuse(walk->reason, node, -EOPNOTSUPP, "extension \"%s\" is not supported here.", name);
}

static int read_required_kinds(struct walk *walk, const xmlNode *node) {
	for (const xmlNode *block = xml_element(node->children); block; block = xml_next(block)) {
		_cleanup_(kind_release) struct kind kind = {0};

		if (!xml_is(block, NAMESPACE_BASE, "kind-block"))
			return xml_refuse(walk->reason, block, -EBADMSG, "is not known inside required-kinds.");
		int r = kind_block_read(block, &kind, walk->reason);
		if (r < 0)
			return r;
		if (overlay_config_kind(walk->config, kind.id))
			return xml_refuse(walk->reason, block, -EBADMSG, "Kind %#x is defined twice.", kind.id);
		if (config_put_kind(walk->config, &kind) < 0)
			return xml_refuse(walk->reason, block, -E2BIG, "is one more than the 64 Kinds allowed.");
	}
	return 0;
}

/* In the order in which they are read: the length of Node-IDs before the Node-IDs. */
static const struct parameter {
	const char *namespace_uri, *name;
	int (*read)(struct walk *walk, const xmlNode *node);
	bool repeatable;
} parameters[] = {
	{NAMESPACE_BASE, "topology-plugin", read_topology},
	{NAMESPACE_BASE, "node-id-length", read_node_id_length},
	{NAMESPACE_BASE, "mandatory-extension", read_mandatory_extension, .repeatable = true},
	{NAMESPACE_BASE, "root-cert", read_root, .repeatable = true},
	{NAMESPACE_BASE, "enrollment-server", read_enrollment_server, .repeatable = true},
	{NAMESPACE_BASE, "self-signed-permitted", read_self_signed},
	{NAMESPACE_BASE, "bootstrap-node", read_bootstrap, .repeatable = true},
	{NAMESPACE_BASE, "turn-density", read_turn_density},
	{NAMESPACE_BASE, "clients-permitted", read_clients_permitted},
	{NAMESPACE_BASE, "no-ice", read_no_ice},
	{NAMESPACE_BASE, "shared-secret", read_shared_secret},
	{NAMESPACE_BASE, "max-message-size", read_max_message_size},
	{NAMESPACE_BASE, "initial-ttl", read_initial_ttl},
	{NAMESPACE_BASE, "overlay-reliability-timer", read_reliability_timer},
	{NAMESPACE_BASE, "overlay-link-protocol", read_link_protocol, .repeatable = true},
	{NAMESPACE_BASE, "configuration-signer", read_configuration_signer, .repeatable = true},
	{NAMESPACE_BASE, "kind-signer", read_kind_signer, .repeatable = true},
	{NAMESPACE_BASE, "bad-node", read_bad_node, .repeatable = true},
	{NAMESPACE_BASE, "required-kinds", read_required_kinds},
	{NAMESPACE_CHORD, "chord-update-interval", read_chord_update},
	{NAMESPACE_CHORD, "chord-ping-interval", read_chord_ping},
	{NAMESPACE_CHORD, "chord-reactive", read_chord_reactive},
};

/* Foreign elements are extensions and passed over; unknown ones of our own namespaces, or of none, are errors. */
static int check_parameter_names(struct walk *walk, const xmlNode *node) {
	bool seen[ARRAY_LENGTH(parameters)] = {false};

	for (const xmlNode *child = xml_element(node->children); child; child = xml_next(child)) {
		size_t i = 0;
		while (i < ARRAY_LENGTH(parameters) && !xml_is(child, parameters[i].namespace_uri, parameters[i].name))
			i++;
		if (i < ARRAY_LENGTH(parameters)) {
			if (seen[i] && !parameters[i].repeatable)
				return xml_refuse(walk->reason, child, -EBADMSG, "occurs twice.");
			seen[i] = true;
		} else if (!xml_is_foreign(child))
			return xml_refuse(walk->reason, child, -EBADMSG, "is not known inside configuration.");
	}
	return 0;
}

static int read_parameters(struct walk *walk, const xmlNode *node) {
	for (size_t i = 0; i < ARRAY_LENGTH(parameters); i++) {
		for (const xmlNode *child = xml_element(node->children); child; child = xml_next(child)) {
			if (!xml_is(child, parameters[i].namespace_uri, parameters[i].name))
				continue;
			int r = parameters[i].read(walk, child);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* --- attributes --- */

/* Letters, digits and hyphens in labels of at most 63 octets: DNS-name syntax. */
static bool is_overlay_name(const char *name) {
	size_t label = 0;

	for (const char *at = name; *at; at++) {
		bool alphanumeric = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') || (*at >= '0' && *at <= '9');
		if (*at == '.') {
			if (label == 0 || at[-1] == '-' || at[1] == 0)
				return false;
			label = 0;
		} else if ((!alphanumeric && (*at != '-' || label == 0)) || ++label > 63)
			return false;
	}
	return label > 0 && name[strlen(name) - 1] != '-';
}

/* B-11.1-03: RFC 3339, UTC. 0 or -EINVAL. */
static int parse_time(const char *text, uint64_t *ret_ms) {
	struct tm tm = {0};

	if (strlen(text) < 20 || text[4] != '-' || strspn(text, "0123456789") != 4)
		return -EINVAL;
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest || rest != text + 19)
		return -EINVAL;
	int day = tm.tm_mday;
	time_t seconds = timegm(&tm);
	if (seconds <= 0 || tm.tm_mday != day)
		return -EINVAL;
	if (*rest == '.') {
		size_t digits = strspn(rest + 1, "0123456789");
		if (digits == 0)
			return -EINVAL;
		rest += 1 + digits;
	}
	if (strcmp(rest, "Z") != 0 && strcmp(rest, "+00:00") != 0 && strcmp(rest, "-00:00") != 0)
		return -EINVAL;
	*ret_ms = (uint64_t)seconds * 1000;
	return 0;
}

static int read_attributes(struct walk *walk, const xmlNode *node) {
	struct overlay_config *config = walk->config;
	char text[64];
	int64_t sequence;
	int r = xml_attribute(node, "instance-name", config->overlay_name, sizeof(config->overlay_name), walk->reason);

	if (r < 0)
		return r;
	if (r == 0 || !is_overlay_name(config->overlay_name))
		return xml_refuse(walk->reason, node, -EBADMSG, "instance-name is not a name in DNS syntax.");
	config->overlay_hash = overlay_hash(config->overlay_name); /* B-6.3.2-02 */
	r = xml_attribute(node, "expiration", text, sizeof(text), walk->reason);
	if (r > 0 && parse_time(text, &config->expiration_ms) < 0)
		return xml_refuse(walk->reason, node, -EBADMSG, "expiration \"%s\" is not a UTC time of RFC 3339.", text);
	if (r >= 0)
		r = xml_attribute(node, "sequence", text, sizeof(text), walk->reason);
	if (r <= 0)
		return r;								       /* absent: 0 */
	if (text_integer(text, &sequence) < 0 || sequence < 0 || sequence >= SEQUENCE_MODULUS) /* B-6.3.2.1-05 */
		return xml_refuse(walk->reason, node, -EBADMSG, "sequence \"%s\" is not between 0 and 65534.", text);
	config->sequence = (uint16_t)sequence;
	return 0;
}

/* --- the whole --- */

static void set_defaults(struct overlay_config *config) {
	config->references = 1;
	strcpy(config->topology_plugin, "CHORD-RELOAD");
	config->node_id_length = ID_LENGTH_CHORD;
	config->turn_density = 1;
	config->clients_permitted = true;
	config->max_message_size = MAX_MESSAGE_SIZE;
	config->initial_ttl = INITIAL_TTL;
	config->reliability_timer_ms = 3000;
	config->chord_update_interval_s = 600;
	config->chord_ping_interval_s = 3600;
	config->chord_reactive = true;
}

static int compare_ids(const void *a, const void *b) {
	return id_compare(a, b);
}

/* What can only be said when everything was read. */
static int complete(struct walk *walk, const xmlNode *node) {
	struct overlay_config *config = walk->config;
	bool tls = config->link_protocol_count == 0;

	if (config->root_count == 0 && !config->self_signed_permitted)
		return xml_refuse(walk->reason, node, -EBADMSG, "has no root-cert and does not permit self-signed certificates.");
	/* "TLS" stands for TLS and DTLS (RFC 6940 11.1); the names of the single protocols are those of the registry in 14.10. */
	config->link_dtls = config->link_tls = tls;
	for (size_t i = 0; i < config->link_protocol_count; i++) {
		const char *name = config->link_protocols[i];
		tls = strcmp(name, "TLS") == 0;
		config->link_dtls |= tls || strcmp(name, "DTLS-UDP-SR-NO-ICE") == 0;
		config->link_tls |= tls || strcmp(name, "TLS-TCP-FH-NO-ICE") == 0;
	}
	if (!config->link_dtls && !config->link_tls)
		return xml_refuse(walk->reason, node, -EOPNOTSUPP, "the overlay link protocol TLS is not among those allowed.");
	if (config->link_protocol_count == 0) {
		config->link_protocols[0] = strdup("TLS");
		if (!config->link_protocols[0])
			return out_of_memory(walk, node);
		config->link_protocol_count = 1;
	}
	if (config->bad_node_count > 0)
		qsort(config->bad_nodes, config->bad_node_count, sizeof(*config->bad_nodes), compare_ids);
	for (const struct kind *known = kind_registered_next(NULL); known; known = kind_registered_next(known)) {
		struct kind kind = *known;
		if (!overlay_config_kind(config, known->id) && config_put_kind(config, &kind) < 0)
			return xml_refuse(walk->reason, node, -E2BIG, "has more than the 64 Kinds allowed.");
	}
	return 0;
}

/* Signature elements up to the next configuration (B-11.1-02). */
static int read_signatures(struct walk *walk, const xmlNode *node) {
	struct overlay_config *config = walk->config;

	for (const xmlNode *next = xml_next(node); next && xml_is(next, NAMESPACE_BASE, "signature"); next = xml_next(next)) {
		if (config->signature_count == CONFIG_SIGNATURES_MAX)
			break;
		int r = xml_base64(next, SIGNATURE_OCTETS_MAX, &config->signatures[config->signature_count],
				   &config->signature_lengths[config->signature_count], walk->reason);
		if (r < 0)
			return r;
		config->signature_count++;
	}
	return 0;
}

static int keep_document(struct walk *walk, const xmlNode *node, struct octets document) {
	struct octets element = xml_element_octets(node);

	walk->config->document = malloc(document.length);
	if (!walk->config->document)
		return out_of_memory(walk, node);
	memcpy(walk->config->document, document.data, document.length);
	walk->config->document_length = document.length;
	walk->config->configuration = OCTETS(walk->config->document + (element.data - document.data), element.length);
	return 0;
}

static int check_kind_signatures(struct walk *walk, const xmlNode *node) {
	for (const xmlNode *child = xml_element(node->children); child; child = xml_next(child)) {
		if (!xml_is(child, NAMESPACE_BASE, "required-kinds"))
			continue;
		for (const xmlNode *block = xml_element(child->children); block; block = xml_next(block)) {
			struct id signer;
			int r = kind_block_check(block, walk->config, &signer, walk->reason);
			if (r < 0)
				return r == -EKEYREJECTED ? -EBADMSG : r;
		}
	}
	return 0;
}

/* The configuration element for `overlay_name`, or the first one. */
static int select_configuration(const struct xml_document *xml, const char *overlay_name, const xmlNode **ret,
				char reason[static CONFIG_REASON_SIZE]) {
	const xmlNode *root = xmlDocGetRootElement(xml->doc);
	char name[sizeof((struct overlay_config *)NULL)->overlay_name];

	if (!root || !xml_is(root, NAMESPACE_BASE, "overlay")) {
		snprintf(reason, CONFIG_REASON_SIZE, "The document is not an overlay element of %s.", NAMESPACE_BASE);
		return -EBADMSG;
	}
	for (const xmlNode *node = xml_element(root->children); node; node = xml_next(node)) {
		if (!xml_is(node, NAMESPACE_BASE, "configuration"))
			continue;
		int r = xml_attribute(node, "instance-name", name, sizeof(name), reason);
		if (r < 0)
			return r;
		if (!overlay_name || (r > 0 && strcasecmp(name, overlay_name) == 0)) {
			*ret = node;
			return 0;
		}
	}
	snprintf(reason, CONFIG_REASON_SIZE, "The document has no configuration for overlay %.150s.",
		 overlay_name ? overlay_name : "at all");
	return -ENXIO;
}

int overlay_config_parse(struct octets document, const char *overlay_name, struct overlay_config **ret,
			 char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_(xml_document_release) struct xml_document xml = {0};
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = calloc(1, sizeof(*config));
	struct walk walk = {.config = config, .reason = reason};
	const xmlNode *node;

	if (!config) {
		snprintf(reason, CONFIG_REASON_SIZE, "Out of memory.");
		return -ENOMEM;
	}
	set_defaults(config);
	int r = xml_document_parse(document, &xml, reason);
	if (r >= 0)
		r = select_configuration(&xml, overlay_name, &node, reason);
	if (r >= 0)
		r = read_attributes(&walk, node);
	if (r >= 0)
		r = check_parameter_names(&walk, node);
	if (r >= 0)
		r = read_parameters(&walk, node);
	if (r >= 0)
		r = complete(&walk, node);
	/* The grammar comes after our own reading because its messages say less; it covers the whole document (B-11.1-01). */
	if (r >= 0)
		r = xml_document_validate(&xml, reason);
	if (r >= 0)
		r = read_signatures(&walk, node);
	if (r >= 0)
		r = keep_document(&walk, node, document);
	if (r >= 0)
		r = check_kind_signatures(&walk, node);
	if (r < 0)
		return r == -ENXIO ? -EBADMSG : r;
	*ret = TAKE(config);
	return 0;
}

int overlay_config_parse_head(struct octets document, const char *overlay_name, struct overlay_config **ret,
			      char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_(xml_document_release) struct xml_document xml = {0};
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = calloc(1, sizeof(*config));
	struct walk walk = {.config = config, .reason = reason};
	const xmlNode *node;

	if (!config) {
		snprintf(reason, CONFIG_REASON_SIZE, "Out of memory.");
		return -ENOMEM;
	}
	set_defaults(config);
	int r = xml_document_parse(document, &xml, reason);
	if (r >= 0)
		r = select_configuration(&xml, overlay_name, &node, reason);
	if (r >= 0)
		r = read_attributes(&walk, node);
	if (r >= 0)
		r = read_signatures(&walk, node);
	if (r >= 0)
		r = keep_document(&walk, node, document);
	if (r < 0)
		return r;
	*ret = TAKE(config);
	return 0;
}

/* --- Kinds from a ConfigUpdate --- */

static bool same_definition(const struct kind *a, const struct kind *b) {
	if (a->model != b->model || a->access != b->access || a->max_count != b->max_count || a->max_size != b->max_size ||
	    a->max_node_multiple != b->max_node_multiple || a->domain_rule != b->domain_rule ||
	    a->domain_pattern_count != b->domain_pattern_count)
		return false;
	for (size_t i = 0; i < a->domain_pattern_count; i++)
		if (strcmp(a->domain_patterns[i], b->domain_patterns[i]) != 0)
			return false;
	return true;
}

/*
 * May `kind` be taken over? What the document says about a Kind stands until the next document: a kind-block has no number, so that
 * an older one could not be told from a newer one. Nor does a Kind change its signer (B-6.5.4-03).
 */
static int check_conflict(const struct overlay_config *config, const struct kind *kind, const xmlNode *block, char *reason) {
	const struct kind *known = overlay_config_kind(config, kind->id);

	if (!known || (!known->required && !known->block))
		return 0;
	if (!known->block)
		return same_definition(known, kind)
			       ? 0
			       : xml_refuse(reason, block, -EPERM, "Kind %#x is defined by the configuration document.", kind->id);
	return id_equal(&known->signer, &kind->signer)
		       ? 0
		       : xml_refuse(reason, block, -EPERM, "Kind %#x was signed by another kind-signer.", kind->id);
}

static int keep_block(struct kind *kind, struct octets block, char *reason) {
	kind->block = malloc(block.length);
	if (!kind->block) {
		snprintf(reason, CONFIG_REASON_SIZE, "Out of memory.");
		return -ENOMEM;
	}
	memcpy(kind->block, block.data, block.length);
	kind->block_length = block.length;
	return 0;
}

static int apply_kind_block(struct overlay_config *config, struct octets kind_block, char reason[static CONFIG_REASON_SIZE]) {
	static const char head[] = "<required-kinds xmlns=\"" NAMESPACE_BASE "\">", tail[] = "</required-kinds>";
	_cleanup_(xml_document_release) struct xml_document xml = {0};
	_cleanup_(kind_release) struct kind kind = {0};
	_cleanup_(writer_release) struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);

	/* B-6.5.4-05: the fragment is read with config-base as the default namespace. The octets of the kind stay as they are. */
	writer_octets(&w, octets_of_string(head));
	writer_octets(&w, kind_block);
	writer_octets(&w, octets_of_string(tail));
	int r = writer_finish(&w);
	if (r < 0) {
		snprintf(reason, CONFIG_REASON_SIZE, "The Kind description is too large.");
		return r == -ENOMEM ? r : -E2BIG;
	}
	r = xml_document_parse(writer_octets_written(&w), &xml, reason);
	if (r < 0)
		return r;
	const xmlNode *block = xml_element(xmlDocGetRootElement(xml.doc)->children);
	if (!block || !xml_is(block, NAMESPACE_BASE, "kind-block") || xml_next(block)) {
		snprintf(reason, CONFIG_REASON_SIZE, "The Kind description is not one kind-block element.");
		return -EBADMSG;
	}
	r = kind_block_read(block, &kind, reason);
	if (r >= 0)
		r = kind_block_check(block, config, &kind.signer, reason); /* B-6.5.4-03 */
	if (r >= 0)
		r = check_conflict(config, &kind, block, reason);
	if (r >= 0 && overlay_config_kind(config, kind.id) && !overlay_config_kind(config, kind.id)->block &&
	    overlay_config_kind(config, kind.id)->required)
		return 0; /* the document has it */
	if (r >= 0)
		r = keep_block(&kind, kind_block, reason);
	if (r >= 0 && config_put_kind(config, &kind) < 0)
		r = xml_refuse(reason, block, -E2BIG, "is one more than the 64 Kinds allowed.");
	return r;
}

int overlay_config_with_kinds(const struct overlay_config *current, const struct octets *kind_blocks, size_t count,
			      struct overlay_config **ret, char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	int r = overlay_config_parse(OCTETS(current->document, current->document_length), current->overlay_name, &config, reason);

	/* Kinds that earlier updates brought do not stand in the document. */
	for (size_t i = 0; i < current->kind_count && r >= 0; i++) {
		struct kind kind;
		r = kind_copy(&current->kinds[i], &kind);
		if (r >= 0)
			r = config_put_kind(config, &kind);
		if (r < 0)
			snprintf(reason, CONFIG_REASON_SIZE, "Out of memory.");
	}
	for (size_t i = 0; i < count && r >= 0; i++)
		r = apply_kind_block(config, kind_blocks[i], reason);
	if (r < 0)
		return r;
	*ret = TAKE(config);
	return 0;
}
