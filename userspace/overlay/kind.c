/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/kind.h"

#include "base/cleanup.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PATTERN_DEPTH_MAX = 16, PATTERN_ATOMS_MAX = 2048 };

/* Data model and access policy stand in the RFCs (spec: codepoints, section 6); the limits are ours, for documents that give none.
 */
static const struct kind registered[] = {
    {
	.id = KIND_SIP_REGISTRATION,
	.name = "SIP-REGISTRATION",
	.model = DATA_MODEL_DICTIONARY,
	.access = ACCESS_USER_NODE_MATCH,
	.max_count = 32, /* gateways and phones of one user */
	.max_size = 1024,
    },
    {
	.id = KIND_TURN_SERVICE,
	.name = "TURN-SERVICE",
	.model = DATA_MODEL_SINGLE,
	.access = ACCESS_NODE_MULTIPLE,
	.max_count = 1,
	.max_size = 64, /* an iteration and an address */
	.max_node_multiple = 20,
    },
    {
	.id = KIND_CERTIFICATE_BY_NODE,
	.name = "CERTIFICATE_BY_NODE",
	.model = DATA_MODEL_ARRAY,
	.access = ACCESS_NODE_MATCH,
	.max_count = 8, /* old and new ones while they are renewed */
	.max_size = 8192,
    },
    {
	.id = KIND_CERTIFICATE_BY_USER,
	.name = "CERTIFICATE_BY_USER",
	.model = DATA_MODEL_ARRAY,
	.access = ACCESS_USER_MATCH,
	.max_count = 64, /* devices of one user */
	.max_size = 8192,
    },
};

const struct kind *kind_registered(uint32_t id) {
	for (size_t i = 0; i < ARRAY_LENGTH(registered); i++)
		if (registered[i].id == id)
			return &registered[i];
	return NULL;
}

const struct kind *kind_registered_by_name(const char *name) {
	for (size_t i = 0; i < ARRAY_LENGTH(registered); i++)
		if (strcmp(registered[i].name, name) == 0)
			return &registered[i];
	return NULL;
}

const struct kind *kind_registered_next(const struct kind *kind) {
	if (!kind)
		return &registered[0];
	return kind + 1 < registered + ARRAY_LENGTH(registered) ? kind + 1 : NULL;
}

static const char *const models[] = {
	[DATA_MODEL_SINGLE] = "SINGLE",
	[DATA_MODEL_ARRAY] = "ARRAY",
	[DATA_MODEL_DICTIONARY] = "DICTIONARY",
};
static const char *const policies[] = {
	[ACCESS_USER_MATCH] = "USER-MATCH",
	[ACCESS_NODE_MATCH] = "NODE-MATCH",
	[ACCESS_USER_NODE_MATCH] = "USER-NODE-MATCH",
	[ACCESS_NODE_MULTIPLE] = "NODE-MULTIPLE",
};

const char *data_model_name(uint8_t model) {
	return model < ARRAY_LENGTH(models) ? models[model] : NULL;
}

const char *access_policy_name(enum access_policy policy) {
	return (size_t)policy < ARRAY_LENGTH(policies) ? policies[policy] : NULL;
}

static int name_index(const char *const *names, size_t count, const char *name) {
	for (size_t i = 1; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return (int)i;
	return -ENOENT;
}

int data_model_by_name(const char *name) {
	return name_index(models, ARRAY_LENGTH(models), name);
}

int access_policy_by_name(const char *name) {
	return name_index(policies, ARRAY_LENGTH(policies), name);
}

/* The whole domain part has to match, not just a piece of it. Domains compare without case (RFC 3261 19.1.4). */
static int compile(regex_t *ret, const char *pattern) {
	char anchored[DOMAIN_PATTERN_LENGTH_MAX + 8];

	if ((size_t)snprintf(anchored, sizeof(anchored), "^(%s)$", pattern) >= sizeof(anchored))
		return -EINVAL;
	return regcomp(ret, anchored, REG_EXTENDED | REG_NOSUB | REG_ICASE) == 0 ? 0 : -EINVAL;
}

/*
 * What regcomp() would make of a pattern. It writes repetitions out, "x+" as "xx*" and so "x++++" as sixteen of x, and needs memory
 * for all of them. And it needs time that doubles with each choice inside a loop that can be gone through without taking a
 * character, as in "(a?|b?)*".
 */
struct expansion {
	struct {
		uint64_t sum;	       /* atoms and operators before the last atom */
		bool empty;	       /* nothing before the last atom in this alternative has to match a character, */
		bool empty_or_other;   /* or that held for one of the alternatives before */
	} open[PATTERN_DEPTH_MAX + 1]; /* per open parenthesis */
	uint64_t last;		       /* the last atom, */
	bool last_empty;	       /* and whether it can match without a character */
	unsigned depth;
};

static bool expansion_atom(struct expansion *expansion, uint64_t atoms, bool empty) {
	expansion->open[expansion->depth].sum += expansion->last;
	expansion->open[expansion->depth].empty &= expansion->last_empty;
	expansion->last = atoms;
	expansion->last_empty = empty;
	return expansion->open[expansion->depth].sum <= PATTERN_ATOMS_MAX;
}

static bool expansion_alternative(struct expansion *expansion) {
	bool fits = expansion_atom(expansion, 1, true);

	expansion->open[expansion->depth].empty_or_other |= expansion->open[expansion->depth].empty;
	expansion->open[expansion->depth].empty = true;
	return fits;
}

static bool expansion_open(struct expansion *expansion) {
	if (expansion->depth == PATTERN_DEPTH_MAX || !expansion_atom(expansion, 0, true))
		return false;
	expansion->depth++;
	expansion->open[expansion->depth].sum = 0;
	expansion->open[expansion->depth].empty = true;
	expansion->open[expansion->depth].empty_or_other = false;
	return true;
}

static bool expansion_close(struct expansion *expansion) {
	if (expansion->depth == 0 || !expansion_alternative(expansion))
		return false;
	expansion->last = expansion->open[expansion->depth].sum + 1;
	expansion->last_empty = expansion->open[expansion->depth].empty_or_other;
	expansion->depth--;
	return expansion->last <= PATTERN_ATOMS_MAX;
}

/* The last atom `least` to `most` times, or more, and an operator. */
static bool expansion_repeat(struct expansion *expansion, unsigned least, unsigned most, bool more) {
	if (more && expansion->last_empty)
		return false;
	expansion->last = expansion->last * (most + more) + 1;
	expansion->last_empty |= least == 0;
	return expansion->last <= PATTERN_ATOMS_MAX;
}

/* "{m}", "{m,}" or "{m,n}". Returns its last character, NULL when it is malformed or too much. */
static const char *expansion_count(struct expansion *expansion, const char *at) {
	unsigned counts[2] = {0, 0};
	size_t which = 0;
	char before = 0;

	if (at[1] < '0' || at[1] > '9')
		return NULL;
	for (at++; *at != '}'; before = *at++) {
		if (*at == ',' && which == 0)
			which = 1;
		else if (*at >= '0' && *at <= '9' && counts[which] < PATTERN_ATOMS_MAX)
			counts[which] = counts[which] * 10 + (unsigned)(*at - '0');
		else
			return NULL;
	}
	unsigned most = counts[0] > counts[1] ? counts[0] : counts[1];
	return expansion_repeat(expansion, counts[0], most, before == ',') ? at : NULL;
}

/* The closing bracket of the bracket expression at `at`, or NULL. "]" right after "[" or "[^" stands for itself. */
static const char *bracket_end(const char *at) {
	at += at[1] == '^' ? 2 : 1;
	if (*at == ']')
		at++;
	for (; *at && *at != ']'; at++) {
		if (*at != '[' || (at[1] != ':' && at[1] != '.' && at[1] != '='))
			continue;
		const char end[] = {at[1], ']', 0}, *closing = strstr(at + 2, end);
		if (!closing)
			return NULL;
		at = closing + 1;
	}
	return *at ? at : NULL;
}

/*
 * Back-references are no part of ERE, but glibc follows them, in exponential time; nor are its other letters behind a backslash,
 * some of which match without a character. Anchors stand where they are needed already, see compile().
 */
static bool pattern_bounded(const char *pattern) {
	struct expansion expansion = {.open[0].empty = true, .last_empty = true};
	bool fits = true;

	for (const char *at = pattern; *at && fits; at++) {
		if (*at == '(')
			fits = expansion_open(&expansion);
		else if (*at == ')') /* balanced, or "a)|(b" would step out of the group that anchors it */
			fits = expansion_close(&expansion);
		else if (*at == '{')
			fits = (at = expansion_count(&expansion, at)) != NULL;
		else if (*at == '[')
			fits = (at = bracket_end(at)) != NULL && expansion_atom(&expansion, 1, false);
		else if (*at == '\\')
			fits = *++at != 0 && strchr(".[]{}()*+?|^$\\-", *at) && expansion_atom(&expansion, 1, false);
		else if (*at == '*' || *at == '+')
			fits = expansion_repeat(&expansion, *at == '+', 1, true);
		else if (*at == '?')
			fits = expansion_repeat(&expansion, 0, 1, false);
		else if (*at == '|')
			fits = expansion_alternative(&expansion);
		else if (*at == '^' || *at == '$')
			fits = (*at == '^' ? at == pattern : at[1] == 0) && expansion_atom(&expansion, 1, true);
		else
			fits = *at > 0x20 && *at < 0x7f && expansion_atom(&expansion, 1, false);
		if (!fits)
			return false;
	}
	return expansion.depth == 0;
}

int domain_pattern_check(const char *pattern) {
	regex_t compiled;

	if (pattern[0] == 0 || strlen(pattern) > DOMAIN_PATTERN_LENGTH_MAX || !pattern_bounded(pattern) ||
	    compile(&compiled, pattern) < 0)
		return -EINVAL;
	regfree(&compiled);
	return 0;
}

static bool pattern_matches(const char *pattern, const char *domain) {
	regex_t compiled;

	if (compile(&compiled, pattern) < 0)
		return false;
	bool matches = regexec(&compiled, domain, 0, NULL, 0) == 0;
	regfree(&compiled);
	return matches;
}

/* S-3.4-01 */
bool kind_domain_allowed(const struct kind *kind, const char *user_name, const char *overlay_name) {
	const char *domain = strrchr(user_name, '@');

	if (kind->domain_rule == DOMAIN_ANY)
		return true;
	if (!domain || strlen(++domain) > DOMAIN_LENGTH_MAX)
		return false;
	if (kind->domain_rule == DOMAIN_OVERLAY_ONLY)
		return strcasecmp(domain, overlay_name) == 0;
	for (size_t i = 0; i < kind->domain_pattern_count; i++)
		if (pattern_matches(kind->domain_patterns[i], domain))
			return true;
	return false;
}

int kind_copy(const struct kind *from, struct kind *ret) {
	struct kind kind = *from;

	memset(kind.domain_patterns, 0, sizeof(kind.domain_patterns));
	kind.block = NULL;
	if (from->block) {
		kind.block = malloc(from->block_length);
		if (!kind.block)
			return -ENOMEM;
		memcpy(kind.block, from->block, from->block_length);
	}
	for (size_t i = 0; i < from->domain_pattern_count; i++) {
		kind.domain_patterns[i] = strdup(from->domain_patterns[i]);
		if (!kind.domain_patterns[i]) {
			kind_release(&kind);
			return -ENOMEM;
		}
	}
	*ret = kind;
	return 0;
}

void kind_release(struct kind *kind) {
	for (size_t i = 0; i < DOMAIN_PATTERNS_MAX; i++)
		free(kind->domain_patterns[i]);
	free(kind->block);
	memset(kind, 0, sizeof(*kind));
}
