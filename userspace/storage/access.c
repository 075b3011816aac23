/* SPDX-License-Identifier: BSD-2-Clause */
#include "storage/access.h"

#include <errno.h>
#include <string.h>

struct id resource_id_of_node(const struct id *node_id, uint8_t length) {
	return resource_id_of_name(id_octets(node_id), length); /* raw octets */
}

struct id resource_id_of_node_multiple(const struct id *node_id, uint8_t i, uint8_t length) {
	uint8_t name[ID_LENGTH_MAX + 1];

	memcpy(name, node_id->octets, node_id->length);
	name[node_id->length] = i; /* */
	return resource_id_of_name(OCTETS(name, node_id->length + 1U), length);
}

struct id resource_id_of_user(const char *user_name, uint8_t length) {
	return resource_id_of_name(octets_of_string(user_name), length);
}

static bool user_matches(const struct id *resource_id, const struct certificate *certificate) {
	struct id own = resource_id_of_user(certificate->user_name, resource_id->length);

	return certificate->user_name[0] != '\0' && id_equal(&own, resource_id);
}

static bool node_multiple_matches(const struct kind *kind, const struct id *resource_id, const struct id *signer) {
	uint32_t last = kind->max_node_multiple < UINT8_MAX ? kind->max_node_multiple : UINT8_MAX;

	for (uint32_t i = 0; i <= last; i++) { /* B-7.3.4-01, Q-24: 0 is accepted too */
		struct id own = resource_id_of_node_multiple(signer, (uint8_t)i, resource_id->length);
		if (id_equal(&own, resource_id))
			return true;
	}
	return false;
}

static const char *refusal(const struct overlay_config *config, const struct kind *kind, const struct id *resource_id,
			   const struct certificate *certificate, const struct id *signer, const struct stored_value *value) {
	struct id own;

	if (!certificate_has_node_id(certificate, signer))
		return "the signing Node-ID is not in the signer's certificate";
	switch (kind->access) {
	case ACCESS_USER_MATCH: /* B-7.3.1-01 */
		if (!user_matches(resource_id, certificate))
			return "USER-MATCH: the signer's user name does not hash to this Resource-ID";
		break;
	case ACCESS_NODE_MATCH: /* B-7.3.2-01 */
		own = resource_id_of_node(signer, resource_id->length);
		if (!id_equal(&own, resource_id))
			return "NODE-MATCH: the signing Node-ID does not hash to this Resource-ID";
		break;
	case ACCESS_USER_NODE_MATCH: /* B-7.3.3-01, S-3.3-02 */
		if (!user_matches(resource_id, certificate))
			return "USER-NODE-MATCH: the signer's user name does not hash to this Resource-ID";
		if (value->model != DATA_MODEL_DICTIONARY || !octets_equal(value->key, id_octets(signer)))
			return "USER-NODE-MATCH: the dictionary key is not the signing Node-ID";
		break;
	case ACCESS_NODE_MULTIPLE:
		if (!node_multiple_matches(kind, resource_id, signer))
			return "NODE-MULTIPLE: the signing Node-ID does not hash to this Resource-ID with any number";
		break;
	default:
		return "this Kind has no access policy that this node implements"; /* B-7.3-01 */
	}
	/* S-3.3-03: the AoR is the user name, which has just been shown to hash to the Resource-ID. */
	if (kind->id == KIND_SIP_REGISTRATION &&
	    !kind_domain_allowed(kind, certificate->user_name, config->overlay_name)) /* S-3.4-01 */
		return "registrations for this domain are not allowed in this overlay";
	return NULL;
}

int access_check(const struct overlay_config *config, const struct kind *kind, const struct id *resource_id,
		 const struct certificate *certificate, const struct id *signer, const struct stored_value *value,
		 const char **ret_reason) {
	const char *reason = refusal(config, kind, resource_id, certificate, signer, value);

	if (!reason)
		return 0;
	if (ret_reason)
		*ret_reason = reason;
	return -EACCES;
}
