/* SPDX-License-Identifier: BSD-2-Clause */
/* What this node knows about Kinds: registered ones from code, private ones and limits from the configuration document. */
#pragma once

#include "base/id.h"
#include "base/octets.h"
#include "wire/codes.h"

enum access_policy {
	ACCESS_USER_MATCH = 1,
	ACCESS_NODE_MATCH,
	ACCESS_USER_NODE_MATCH,
	ACCESS_NODE_MULTIPLE,
};

enum {
	KINDS_MAX = 64,                /* Kinds one configuration document may define */
	DOMAIN_PATTERNS_MAX = 16,
	KIND_MAX_COUNT_DEFAULT = 64,
	KIND_MAX_SIZE_DEFAULT = 2048,
	DOMAIN_PATTERN_LENGTH_MAX = 200, /* octets of one pattern; longer ones make the document invalid */
	DOMAIN_LENGTH_MAX = 254,         /* longer domains match nothing */
};

struct kind {
	uint32_t id;
	char name[64];                 /* "SIP-REGISTRATION", empty for private Kinds without one */
	uint8_t model;                 /* enum data_model */
	enum access_policy access;
	uint32_t max_count;            /* values per Resource-ID */
	uint32_t max_size;             /* octets per value */
	uint32_t max_node_multiple;    /* NODE-MULTIPLE */
	bool required;                 /* stands in required-kinds */

	/* SIP-REGISTRATION (RFC 7904 3.4): no element, element not enabled, enabled with patterns */
	enum { DOMAIN_ANY, DOMAIN_OVERLAY_ONLY, DOMAIN_PATTERNS } domain_rule;
	char *domain_patterns[DOMAIN_PATTERNS_MAX];
	size_t domain_pattern_count;

	/* Learned from a ConfigUpdate: the kind-block as it came, to be passed on, and who signed it. NULL for Kinds of the document. */
	uint8_t *block;
	size_t block_length;
	struct id signer;
};

/* The Kinds of the RFCs with this project's default limits; NULL for an id or name that is not registered or not supported. */
const struct kind *kind_registered(uint32_t id);
const struct kind *kind_registered_by_name(const char *name);
/* The one after `kind`, the first for NULL; NULL at the end. */
const struct kind *kind_registered_next(const struct kind *kind);
const char *data_model_name(uint8_t model);
const char *access_policy_name(enum access_policy policy);
/* -ENOENT for names this node does not know. */
int data_model_by_name(const char *name);
int access_policy_by_name(const char *name);

/* Does the domain part of `user_name` satisfy the Kind's rule (S-3.4-01, Q-71)? */
bool kind_domain_allowed(const struct kind *kind, const char *user_name, const char *overlay_name);

/* Is `pattern` a POSIX ERE that is safe to run: patterns come from the network, so what makes regcomp() or regexec() take long or
 * much memory (repetitions that multiply, loops around what may be empty, back-references) is not accepted, nor are anchors in its
 * midst. 0, -EINVAL. */
int domain_pattern_check(const char *pattern);

/* A deep copy, to be released. -ENOMEM. */
int kind_copy(const struct kind *from, struct kind *ret);
void kind_release(struct kind *kind);
