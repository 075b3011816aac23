/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/config_kind.h"

#include "overlay/signature.h"

#include <errno.h>
#include <string.h>

enum {
	NAME_SIZE = 64,
	ITERATION_MAX = 255, /* the counter of NODE-MULTIPLE is one octet */
	SIGNATURE_OCTETS_MAX = 65536,
};

/* The child of that name; refuses a second one. */
static int only_child(const xmlNode *parent, const char *namespace_uri, const char *name, const xmlNode **ret,
		      char reason[static CONFIG_REASON_SIZE]) {
	const xmlNode *found = NULL;

	for (const xmlNode *child = xml_element(parent->children); child; child = xml_next(child)) {
		if (!xml_is(child, namespace_uri, name))
			continue;
		if (found)
			return xml_refuse(reason, child, -EBADMSG, "occurs twice.");
		found = child;
	}
	*ret = found;
	return 0;
}

static int needed_child(const xmlNode *parent, const char *name, const xmlNode **ret, char reason[static CONFIG_REASON_SIZE]) {
	int r = only_child(parent, NAMESPACE_BASE, name, ret, reason);

	if (r == 0 && !*ret)
		r = xml_refuse(reason, parent, -EBADMSG, "has no %s.", name);
	return r;
}

/* Nothing of our own namespaces may stand here but what is listed (foreign elements are extensions, and ignored). */
static int check_children(const xmlNode *parent, const char *const *names, size_t count, char reason[static CONFIG_REASON_SIZE]) {
	for (const xmlNode *child = xml_element(parent->children); child; child = xml_next(child)) {
		bool known = xml_is_foreign(child);
		for (size_t i = 0; i < count && !known; i++)
			known = xml_is(child, NAMESPACE_BASE, names[i]);
		if (!known)
			return xml_refuse(reason, child, -EBADMSG, "is not known inside %s.", (const char *)parent->name);
	}
	return 0;
}

/* Registered Kinds by name, private ones by number (RFC 6940 11.1). */
static int read_identity(const xmlNode *node, struct kind *kind, char reason[static CONFIG_REASON_SIZE]) {
	char name[NAME_SIZE], id[NAME_SIZE];
	int64_t value;
	int has_name = xml_attribute(node, "name", name, sizeof(name), reason);
	int has_id = has_name < 0 ? has_name : xml_attribute(node, "id", id, sizeof(id), reason);

	if (has_id < 0)
		return has_id;
	if (has_name + has_id != 1)
		return xml_refuse(reason, node, -EBADMSG, "needs either a name or an id.");
	if (has_name) {
		const struct kind *known = kind_registered_by_name(name);
		if (!known) /* B-11.1-08 */
			return xml_refuse(reason, node, -EOPNOTSUPP, "Kind \"%s\" is required but not supported here.", name);
		*kind = *known;
		return 0;
	}
	if (text_integer(id, &value) < 0 || value < KIND_PRIVATE_FIRST || value > KIND_PRIVATE_LAST)
		return xml_refuse(reason, node, -EBADMSG, "id \"%s\" is not a Kind-ID of the private range.", id);
	kind->id = (uint32_t)value;
	return 0;
}

static int read_positive(const xmlNode *parent, const char *name, int64_t max, uint32_t *ret,
			 char reason[static CONFIG_REASON_SIZE]) {
	const xmlNode *node;
	int64_t value;
	int r = needed_child(parent, name, &node, reason);

	if (r >= 0)
		r = xml_integer(node, 1, max, &value, reason);
	if (r >= 0)
		*ret = (uint32_t)value;
	return r;
}

/* Model and policy of a private Kind. Those of registered ones come from the registration, whatever stands here (B-11.1-08). */
static int read_private(const xmlNode *node, const xmlNode *model_node, const xmlNode *policy_node, struct kind *kind,
			char reason[static CONFIG_REASON_SIZE]) {
	char text[NAME_SIZE];
	int r = xml_text(model_node, text, sizeof(text), reason);

	if (r < 0)
		return r;
	int model = data_model_by_name(text);
	if (model < 0)
		return xml_refuse(reason, model_node, -EOPNOTSUPP, "data model \"%s\" is not supported here.", text);
	r = xml_text(policy_node, text, sizeof(text), reason);
	if (r < 0)
		return r;
	int policy = access_policy_by_name(text);
	if (policy < 0)
		return xml_refuse(reason, policy_node, -EOPNOTSUPP, "access policy \"%s\" is not supported here.", text);
	if (policy == ACCESS_USER_NODE_MATCH && model != DATA_MODEL_DICTIONARY) /* B-7.3.3-01 */
		return xml_refuse(reason, policy_node, -EBADMSG, "USER-NODE-MATCH is for dictionaries only.");
	kind->model = (uint8_t)model;
	kind->access = (enum access_policy)policy;
	if (policy == ACCESS_NODE_MULTIPLE) /* B-11.1-09 */
		r = read_positive(node, "max-node-multiple", ITERATION_MAX, &kind->max_node_multiple, reason);
	return r;
}

static int read_pattern(const xmlNode *node, struct kind *kind, char reason[static CONFIG_REASON_SIZE]) {
	char pattern[DOMAIN_PATTERN_LENGTH_MAX + 1];
	int r = xml_text(node, pattern, sizeof(pattern), reason);

	if (r < 0)
		return r;
	if (domain_pattern_check(pattern) < 0)
		return xml_refuse(reason, node, -EBADMSG,
				  "is not a POSIX extended regular expression, or one that takes too long.");
	if (kind->domain_pattern_count == DOMAIN_PATTERNS_MAX)
		return xml_refuse(reason, node, -E2BIG, "is one more than the 16 patterns allowed.");
	kind->domain_patterns[kind->domain_pattern_count] = strdup(pattern);
	if (!kind->domain_patterns[kind->domain_pattern_count])
		return xml_refuse(reason, node, -ENOMEM, "out of memory.");
	kind->domain_pattern_count++;
	return 0;
}

/* S-3.4-01; the RFC's text and its grammar differ in the name and in whether `enable` may be left out. */
static int read_domains(const xmlNode *node, struct kind *kind, char reason[static CONFIG_REASON_SIZE]) {
	const xmlNode *plural, *singular;
	char text[NAME_SIZE];
	bool enable = false;
	int r = only_child(node, NAMESPACE_SIP, "domain-restrictions", &plural, reason);

	if (r >= 0)
		r = only_child(node, NAMESPACE_SIP, "domain-restriction", &singular, reason);
	if (r < 0)
		return r;
	if (plural && singular)
		return xml_refuse(reason, singular, -EBADMSG, "occurs besides domain-restrictions.");
	const xmlNode *rule = plural ? plural : singular;
	if (!rule)
		return 0;
	r = xml_attribute(rule, "enable", text, sizeof(text), reason);
	if (r > 0 && text_boolean(text, &enable) < 0)
		r = xml_refuse(reason, rule, -EBADMSG, "enable is \"%s\", which is neither true nor false.", text);
	if (r < 0)
		return r;
	kind->domain_rule = enable ? DOMAIN_PATTERNS : DOMAIN_OVERLAY_ONLY;
	for (const xmlNode *child = xml_element(rule->children); child && enable; child = xml_next(child)) {
		if (!xml_is(child, NAMESPACE_SIP, "pattern"))
			return xml_refuse(reason, child, -EBADMSG, "is not known inside %s.", (const char *)rule->name);
		r = read_pattern(child, kind, reason);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_kind(const xmlNode *node, struct kind *ret, char reason[static CONFIG_REASON_SIZE]) {
	static const char *const names[] = {"max-count", "max-size", "max-node-multiple", "data-model", "access-control"};
	_cleanup_(kind_release) struct kind kind = {0};
	const xmlNode *model, *policy, *multiple;
	int r = check_children(node, names, ARRAY_LENGTH(names), reason);

	if (r >= 0)
		r = read_identity(node, &kind, reason);
	if (r >= 0)
		r = needed_child(node, "data-model", &model, reason);
	if (r >= 0)
		r = needed_child(node, "access-control", &policy, reason);
	if (r >= 0)
		r = only_child(node, NAMESPACE_BASE, "max-node-multiple", &multiple, reason);
	if (r >= 0)
		r = read_positive(node, "max-count", INT32_MAX, &kind.max_count, reason);
	if (r >= 0)
		r = read_positive(node, "max-size", INT32_MAX, &kind.max_size, reason);
	if (r >= 0 && !kind_registered(kind.id))
		r = read_private(node, model, policy, &kind, reason);
	if (r >= 0)
		r = read_domains(node, &kind, reason);
	if (r < 0)
		return r;
	kind.required = true;
	*ret = kind;
	kind = (struct kind){0};
	return 0;
}

int kind_block_read(const xmlNode *block, struct kind *ret, char reason[static CONFIG_REASON_SIZE]) {
	static const char *const names[] = {"kind", "kind-signature"};
	const xmlNode *node;
	int r = check_children(block, names, ARRAY_LENGTH(names), reason);

	if (r >= 0)
		r = needed_child(block, "kind", &node, reason);
	return r < 0 ? r : read_kind(node, ret, reason);
}

/* B-11.1-10, Q-62 */
int kind_block_check(const xmlNode *block, struct overlay_config *config, struct id *ret_signer,
		     char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_free_ uint8_t *security = NULL;
	const xmlNode *kind = NULL, *signature = NULL;
	const char *sentence = "";
	size_t length;
	int r = needed_child(block, "kind", &kind, reason);

	if (r >= 0)
		r = needed_child(block, "kind-signature", &signature, reason);
	if (r >= 0)
		r = xml_base64(signature, SIGNATURE_OCTETS_MAX, &security, &length, reason);
	if (r < 0)
		return r;
	/* Kind definitions outlive the certificates that signed them, so dates are not looked at. */
	r = security_block_check_signer(config, xml_element_octets(kind), OCTETS(security, length), config->kind_signers,
					config->kind_signer_count, 0, ret_signer, &sentence);
	return r < 0 ? xml_refuse(reason, signature, r, "%s.", sentence) : 0;
}

int config_put_kind(struct overlay_config *config, struct kind *kind) {
	size_t place = 0;

	while (place < config->kind_count && config->kinds[place].id != kind->id)
		place++;
	if (place == KINDS_MAX)
		return -E2BIG;
	if (place < config->kind_count)
		kind_release(&config->kinds[place]);
	else
		config->kind_count++;
	config->kinds[place] = *kind;
	*kind = (struct kind){0};
	return 0;
}
