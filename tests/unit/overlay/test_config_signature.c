/* SPDX-License-Identifier: BSD-2-Clause */
/* Signatures of configurations and Kinds, and what may follow a configuration: B-11.1-08 to B-11.1-12, B-6.3.2.1-01,
 * B-6.5.4-02, B-6.5.4-03, B-6.5.4-05, S-3.4-01. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "support/support_identity.h"

static struct support_overlay overlay;
static struct credential *stranger; /* of this overlay, but no signer */

static int setup(void **state) {
	const struct id id = support_node_id(7);

	(void)state;
	if (support_overlay_new(SUPPORT_OVERLAY_NAME, &overlay) < 0)
		return -1;
	stranger = support_credential(&overlay, "bob@example.org", &id, 1);
	return stranger ? 0 : -1;
}

static int teardown(void **state) {
	(void)state;
	credential_unref(stranger);
	support_overlay_release(&overlay);
	return 0;
}

/* --- configurations --- */

static struct writer write_document(uint16_t sequence, const struct credential *signer) {
	const struct document_settings changes = {.sequence = sequence};
	const struct document_settings settings = support_settings(&overlay, &changes);
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);

	assert_int_equal(document_write(&settings, signer, &w), 0);
	return w;
}

static struct overlay_config *parse(struct octets text) {
	struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE];
	int r = overlay_config_parse(text, NULL, &config, reason);

	if (r < 0)
		print_error("%s\n", reason);
	assert_int_equal(r, 0);
	return config;
}

static void expect_successor(const struct overlay_config *current, struct octets text, uint64_t now_ms, int error,
			     const char *sentence) {
	struct overlay_config *next = parse(text);
	char reason[CONFIG_REASON_SIZE] = "";

	assert_int_equal(overlay_config_check_successor(current, next, now_ms, reason), error);
	assert_string_equal(reason, sentence);
	overlay_config_unref(next);
}

static void successors(void **state) {
	static const struct {
		uint16_t from, to;
		int error;
		const char *sentence;
	} cases[] = {
		{1, 2, 0, ""},
		{1, 1, -ESTALE, "Sequence number 1 is not newer than 1."},
		{2, 1, -ESTALE, "Sequence number 1 is not newer than 2."},
		{65534, 0, 0, ""},
		{0, 65534, -ESTALE, "Sequence number 65534 is not newer than 0."},
		{65000, 5, 0, ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct writer first = write_document(cases[i].from, overlay.signer),
			      second = write_document(cases[i].to, overlay.signer);
		struct overlay_config *current = parse(writer_octets_written(&first));
		expect_successor(current, writer_octets_written(&second), SUPPORT_NOW_MS, cases[i].error, cases[i].sentence);
		overlay_config_unref(current);
		writer_release(&first);
		writer_release(&second);
	}
}

static void wrong_signers(void **state) {
	(void)state;
	struct writer unsigned_text = write_document(2, NULL), foreign_text = write_document(2, stranger);
	expect_successor(overlay.config, writer_octets_written(&unsigned_text), SUPPORT_NOW_MS, -EKEYREJECTED,
			 "The document is not signed.");
	expect_successor(
		overlay.config, writer_octets_written(&foreign_text), SUPPORT_NOW_MS, -EKEYREJECTED,
		"The signature of the document is not good: the signer is not among those the configuration allows to sign.");
	writer_release(&unsigned_text);
	writer_release(&foreign_text);

	/* The right Node-ID, but certified by another root: an operator of an overlay of the same name. */
	struct support_overlay impostor;
	assert_int_equal(support_overlay_new(SUPPORT_OVERLAY_NAME, &impostor), 0);
	struct writer text = write_document(2, impostor.signer);
	struct overlay_config *next = parse(writer_octets_written(&text));
	char reason[CONFIG_REASON_SIZE];
	assert_int_equal(overlay_config_check_successor(overlay.config, next, SUPPORT_NOW_MS, reason), -EKEYREJECTED);
	assert_non_null(strstr(reason, "The signature of the document is not good: "));
	overlay_config_unref(next);
	writer_release(&text);
	support_overlay_release(&impostor);
}

static void signer_dates(void **state) {
	const struct id id = overlay.signer->node_id;

	(void)state;
	struct credential *renewed = support_credential_of_type(&overlay, KEY_RSA_2048, "operator@example.org", &id, 1,
								SUPPORT_NOW_MS - 1000, SUPPORT_NOW_MS + 1000);
	struct writer text = write_document(2, renewed);
	/* Another certificate of the same Node-ID signs as well; once it has expired it does not. */
	expect_successor(overlay.config, writer_octets_written(&text), SUPPORT_NOW_MS, 0, "");
	expect_successor(overlay.config, writer_octets_written(&text), SUPPORT_NOW_MS + 1000, -EKEYREJECTED,
			 "The signature of the document is not good: the certificate has expired.");
	writer_release(&text);
	credential_unref(renewed);
}

static void other_overlay(void **state) {
	struct support_overlay other;

	(void)state;
	assert_int_equal(support_overlay_new("other.example.net", &other), 0);
	expect_successor(overlay.config, OCTETS(other.config->document, other.config->document_length), SUPPORT_NOW_MS, -EBADMSG,
			 "The document is for overlay other.example.net, not overlay.example.org.");
	support_overlay_release(&other);
}

static void expired_document(void **state) {
	const struct document_settings changes = {.sequence = 2, .expiration_ms = SUPPORT_NOW_MS};
	const struct document_settings settings = support_settings(&overlay, &changes);
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);

	(void)state;
	assert_int_equal(document_write(&settings, overlay.signer, &w), 0);
	expect_successor(overlay.config, writer_octets_written(&w), SUPPORT_NOW_MS, -EBADMSG, "The document has expired.");
	expect_successor(overlay.config, writer_octets_written(&w), SUPPORT_NOW_MS - 1, 0, "");
	writer_release(&w);
}

/* Puts `with` in place of the first `what` after `from`. */
static void replace(struct octets text, const char *from, const char *what, const char *with, struct writer *w) {
	const char *start = memmem(text.data, text.length, from, strlen(from));
	assert_non_null(start);
	size_t skipped = (size_t)(start - (const char *)text.data);
	const char *place = memmem(start, text.length - skipped, what, strlen(what));
	assert_non_null(place);
	size_t before = (size_t)(place - (const char *)text.data);

	writer_raw(w, text.data, before);
	writer_octets(w, octets_of_string(with));
	writer_raw(w, place + strlen(what), text.length - before - strlen(what));
	assert_int_equal(writer_finish(w), 0);
}

/* One blank more inside the element breaks the signature, one outside does not (B-11.1-11). */
static void white_space(void **state) {
	static const struct {
		const char *from, *what, *with;
		bool good;
	} cases[] = {
		{"<overlay", "<overlay ", "<overlay  ", true},
		{"<overlay", "\n  <configuration", "\n\t  <configuration", true},
		{"</configuration>", "\n  <signature>", "<!-- in between --><signature>", true},
		{"</configuration>", "<signature>\n", "<signature algorithm=\"rsa-sha1\">\n\n ", true},
		{"</overlay>", "</overlay>", "</overlay><!-- behind -->", true},
		{"<configuration", "<configuration ", "<configuration  ", false},
		{"</topology-plugin>", "\n", "\r\n", false},
		{"<node-id-length>", "16", " 16", false},
		{"</kind-signer>", "</kind-signer>", "</kind-signer >", false},
		{"</configuration>", "</configuration>", "</configuration >", false},
		{"<root-cert>", "\n", "\n\n", false},
		{"</root-cert>", "</root-cert>", "</root-cert><!-- -->", false},
	};

	(void)state;
	struct writer text = write_document(2, overlay.signer);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct writer changed = writer_growing(CONFIG_DOCUMENT_MAX);
		replace(writer_octets_written(&text), cases[i].from, cases[i].what, cases[i].with, &changed);
		expect_successor(
			overlay.config, writer_octets_written(&changed), SUPPORT_NOW_MS, cases[i].good ? 0 : -EKEYREJECTED,
			cases[i].good
				? ""
				: "The signature of the document is not good: the signature does not fit the octets it covers.");
		writer_release(&changed);
	}
	writer_release(&text);
}

/* Several signatures: one good one is enough; rubbish among them is not fatal. */
static void several_signatures(void **state) {
	(void)state;
	struct writer text = write_document(2, overlay.signer), changed = writer_growing(CONFIG_DOCUMENT_MAX);
	replace(writer_octets_written(&text), "</configuration>", "</configuration>", "</configuration><signature>AAAA</signature>",
		&changed);
	expect_successor(overlay.config, writer_octets_written(&changed), SUPPORT_NOW_MS, 0, "");
	writer_release(&changed);
	changed = writer_growing(CONFIG_DOCUMENT_MAX);
	struct writer bare = write_document(2, NULL);
	replace(writer_octets_written(&bare), "</configuration>", "</configuration>", "</configuration><signature>AAAA</signature>",
		&changed);
	expect_successor(overlay.config, writer_octets_written(&changed), SUPPORT_NOW_MS, -EKEYREJECTED,
			 "The signature of the document is not good: the signature is not a SecurityBlock.");
	writer_release(&changed);
	writer_release(&bare);
	writer_release(&text);
}

/* Every octet of the SecurityBlock counts. */
static void damaged_block(void **state) {
	static const uint8_t covered[] = "<configuration/>";
	const struct id signer = overlay.signer->node_id;
	struct writer block = writer_growing(4096);

	(void)state;
	assert_int_equal(security_block_make(overlay.signer, OCTETS(covered, 16), &block), 0);
	assert_int_equal(security_block_check(overlay.config, OCTETS(covered, 16), writer_octets_written(&block), &signer, 1,
					      SUPPORT_NOW_MS, NULL),
			 0);
	assert_int_equal(security_block_check(overlay.config, OCTETS(covered, 15), writer_octets_written(&block), &signer, 1,
					      SUPPORT_NOW_MS, NULL),
			 -EKEYREJECTED);
	for (size_t i = 0; i < block.length; i++) {
		block.data[i] ^= 1;
		int r = security_block_check(overlay.config, OCTETS(covered, 16), writer_octets_written(&block), &signer, 1,
					     SUPPORT_NOW_MS, NULL);
		assert_true(r == -EKEYREJECTED || r == -EBADMSG);
		block.data[i] ^= 1;
	}
	for (size_t length = 0; length < block.length; length++)
		assert_int_equal(security_block_check(overlay.config, OCTETS(covered, 16), OCTETS(block.data, length), &signer, 1,
						      SUPPORT_NOW_MS, NULL),
				 -EBADMSG);
	writer_release(&block);
}

/* --- Kinds --- */

static char pattern_one[] = "example\\.org", pattern_two[] = ".*\\.example\\.net";

static const struct kind registration = {
	.id = KIND_SIP_REGISTRATION,
	.model = DATA_MODEL_SINGLE, /* contradicts the registration on purpose */
	.access = ACCESS_USER_MATCH,
	.max_count = 5,
	.max_size = 300,
	.domain_rule = DOMAIN_PATTERNS,
	.domain_patterns = {pattern_one, pattern_two},
	.domain_pattern_count = 2,
};
static const struct kind private_kind = {
	.id = 0xf0000010,
	.model = DATA_MODEL_ARRAY,
	.access = ACCESS_NODE_MULTIPLE,
	.max_count = 22,
	.max_size = 4,
	.max_node_multiple = 3,
};

static struct writer write_kinds(const struct kind *kinds, size_t count, const struct credential *signer) {
	const struct document_settings changes = {.sequence = 2, .kinds = kinds, .kind_count = count, .kind_signer = signer};
	const struct document_settings settings = support_settings(&overlay, &changes);
	struct writer w = writer_growing(CONFIG_DOCUMENT_MAX);

	assert_int_equal(document_write(&settings, overlay.signer, &w), 0);
	return w;
}

static void kinds(void **state) {
	const struct kind wanted[] = {registration, private_kind};

	(void)state;
	struct writer text = write_kinds(wanted, 2, NULL);
	struct overlay_config *config = parse(writer_octets_written(&text));
	assert_int_equal(config->kind_count, 5);
	const struct kind *kind = overlay_config_kind(config, KIND_SIP_REGISTRATION);
	/* B-11.1-08: limits from the document, model and policy from the registration. */
	assert_int_equal(kind->model, DATA_MODEL_DICTIONARY);
	assert_int_equal(kind->access, ACCESS_USER_NODE_MATCH);
	assert_int_equal(kind->max_count, 5);
	assert_int_equal(kind->max_size, 300);
	assert_true(kind->required);
	assert_string_equal(kind->name, "SIP-REGISTRATION");
	assert_int_equal(kind->domain_pattern_count, 2);
	assert_true(kind_domain_allowed(kind, "alice@example.org", config->overlay_name));
	assert_true(kind_domain_allowed(kind, "alice@a.example.net", config->overlay_name));
	assert_false(kind_domain_allowed(kind, "alice@overlay.example.org", config->overlay_name));
	kind = overlay_config_kind(config, 0xf0000010);
	assert_int_equal(kind->model, DATA_MODEL_ARRAY);
	assert_int_equal(kind->access, ACCESS_NODE_MULTIPLE);
	assert_int_equal(kind->max_count, 22);
	assert_int_equal(kind->max_size, 4);
	assert_int_equal(kind->max_node_multiple, 3);
	assert_string_equal(kind->name, "");
	assert_int_equal(kind->domain_rule, DOMAIN_ANY);
	overlay_config_unref(config);
	writer_release(&text);
}

static void expect_refused(struct octets text, int error, const char *sentence) {
	struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE] = "";
	int r = overlay_config_parse(text, NULL, &config, reason);

	overlay_config_unref(config);
	if (!strstr(reason, sentence))
		print_error("%s\n", reason);
	assert_non_null(strstr(reason, sentence));
	assert_int_equal(r, error);
}

/* Changes to a document with one private and one registered Kind; signatures of Kinds break with their octets (B-11.1-10). */
static void kind_rejections(void **state) {
	static const char broken[] = "element kind-signature: the signature does not fit the octets it covers.";
	static const struct {
		const char *from, *what, *with, *sentence;
		int error;
	} cases[] = {
		{"<kind name", "<kind name", "<kind  name", broken, -EBADMSG},
		{"<kind id", ">\n", ">\n\n", broken, -EBADMSG},
		{"<max-count>5", "5", "6", broken, -EBADMSG},
		{"</kind>", "</kind>", "</kind >", broken, -EBADMSG},
		{"<sip:pattern>", "example", "exampel", broken, -EBADMSG},
		{"<kind-signature>", "<kind-signature>\n", "<kind-signature>\nAAAA", "the signature is not a SecurityBlock.",
		 -EBADMSG},
		{"<kind-signature>", "<kind-signature>", "<x>", "Opening and ending tag mismatch", -EBADMSG},
		{"<kind name", "SIP-REGISTRATION", "REDIR", "element kind: Kind \"REDIR\" is required but not supported here.",
		 -EOPNOTSUPP},
		{"<kind name", " name=\"SIP-REGISTRATION\"", "", "element kind: needs either a name or an id.", -EBADMSG},
		{"<kind id", "<kind ", "<kind name=\"x\" ", "element kind: needs either a name or an id.", -EBADMSG},
		{"<kind id", "4026531856", "2000", "element kind: id \"2000\" is not a Kind-ID of the private range.", -EBADMSG},
		{"<kind id", "4026531856", "4294967295", "is not a Kind-ID of the private range.", -EBADMSG},
		{"<kind id", "4026531856", "x", "element kind: id \"x\" is not a Kind-ID of the private range.", -EBADMSG},
		{"<kind id", "ARRAY", "QUEUE", "element data-model: data model \"QUEUE\" is not supported here.", -EOPNOTSUPP},
		{"<kind id", "NODE-MULTIPLE", "EXP-MATCH",
		 "element access-control: access policy \"EXP-MATCH\" is not supported here.", -EOPNOTSUPP},
		{"<kind id", "NODE-MULTIPLE", "USER-NODE-MATCH",
		 "element access-control: USER-NODE-MATCH is for dictionaries only.", -EBADMSG},
		{"<kind id", "<max-count>22</max-count>", "", "element kind: has no max-count.", -EBADMSG},
		{"<kind id", "<max-size>4</max-size>", "", "element kind: has no max-size.", -EBADMSG},
		{"<kind id", "<data-model>ARRAY</data-model>", "", "element kind: has no data-model.", -EBADMSG},
		{"<kind id", "<access-control>NODE-MULTIPLE</access-control>", "", "element kind: has no access-control.",
		 -EBADMSG},
		{"<kind id", "<max-node-multiple>3</max-node-multiple>", "", "element kind: has no max-node-multiple.", -EBADMSG},
		{"<kind id", "<max-node-multiple>3", "<max-node-multiple>0",
		 "element max-node-multiple: 0 is not between 1 and 255.", -EBADMSG},
		{"<kind id", "<max-node-multiple>3", "<max-node-multiple>256",
		 "element max-node-multiple: 256 is not between 1 and 255.", -EBADMSG},
		{"<kind id", "<max-count>22", "<max-count>0", "element max-count: 0 is not between 1 and 2147483647.", -EBADMSG},
		{"<kind id", "<max-size>4", "<max-size>x", "element max-size: \"x\" is not an integer.", -EBADMSG},
		{"<kind id", "<max-size>", "<max-size>1</max-size><max-size>", "element max-size: occurs twice.", -EBADMSG},
		{"<kind id", "<max-size>", "<max-other>1</max-other><max-size>", "element max-other: is not known inside kind.",
		 -EBADMSG},
		{"<kind name", " enable=\"true\"", " enable=\"perhaps\"",
		 "element domain-restrictions: enable is \"perhaps\", which is neither true nor false.", -EBADMSG},
		{"<sip:pattern>", "example", "(example",
		 "element pattern: is not a POSIX extended regular expression, or one that takes too long.", -EBADMSG},
		{"<sip:pattern>", "<sip:pattern>", "<sip:other/><sip:pattern>",
		 "element other: is not known inside domain-restrictions.", -EBADMSG},
		{"</sip:domain-restrictions>", "</sip:domain-restrictions>",
		 "</sip:domain-restrictions><domain-restriction xmlns=\"urn:ietf:params:xml:ns:p2p:config-base:sip\" "
		 "enable=\"0\"/>",
		 "element domain-restriction: occurs besides domain-restrictions.", -EBADMSG},
		{"<required-kinds>", "<required-kinds>", "<required-kinds><kind/>",
		 "element kind: is not known inside required-kinds.", -EBADMSG},
		{"<kind-block>", "<kind-block>", "<kind-block/><kind-block>", "element kind-block: has no kind.", -EBADMSG},
		{"<kind-block>", "<kind-block>", "<kind-block><extra/>", "element extra: is not known inside kind-block.",
		 -EBADMSG},
	};
	const struct kind wanted[] = {registration, private_kind};

	(void)state;
	struct writer text = write_kinds(wanted, 2, NULL);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct writer changed = writer_growing(CONFIG_DOCUMENT_MAX);
		replace(writer_octets_written(&text), cases[i].from, cases[i].what, cases[i].with, &changed);
		expect_refused(writer_octets_written(&changed), cases[i].error, cases[i].sentence);
		writer_release(&changed);
	}
	writer_release(&text);
}

static void kind_signature_needed(void **state) {
	const struct kind wanted[] = {private_kind, private_kind};
	struct writer refused = writer_growing(CONFIG_DOCUMENT_MAX), changed = writer_growing(CONFIG_DOCUMENT_MAX);
	struct document_settings settings = support_settings(&overlay, NULL);

	(void)state;
	struct writer text = write_kinds(wanted, 1, NULL);
	const char *start = strstr((const char *)writer_octets_written(&text).data, "<kind-signature>");
	const char *end = strstr(start, "</kind-signature>") + strlen("</kind-signature>");
	writer_raw(&changed, text.data, (size_t)((const uint8_t *)start - text.data));
	writer_raw(&changed, end, text.length - (size_t)((const uint8_t *)end - text.data));
	expect_refused(writer_octets_written(&changed), -EBADMSG, "element kind-block: has no kind-signature.");
	/* Nor is a document written without one, with a foreign one, or with a Kind that stands twice. */
	settings.kinds = wanted;
	settings.kind_count = 1;
	settings.kind_signer = NULL;
	assert_int_equal(document_write(&settings, overlay.signer, &refused), -EINVAL);
	settings.kind_signer = stranger;
	assert_int_equal(document_write(&settings, overlay.signer, &refused), -EINVAL);
	settings.kind_signer = overlay.signer;
	settings.kind_count = 2;
	assert_int_equal(document_write(&settings, overlay.signer, &refused), -EINVAL);
	assert_int_equal(refused.length, 0);
	settings.kind_count = 1;
	assert_int_equal(document_write(&settings, overlay.signer, &refused), 0);
	writer_release(&text);
	writer_release(&changed);
	writer_release(&refused);
}

/* The rule without enable, the singular name, and too many patterns. */
static void domain_rules(void **state) {
	struct kind kind = registration;
	char *patterns[DOMAIN_PATTERNS_MAX];

	(void)state;
	kind.domain_rule = DOMAIN_OVERLAY_ONLY;
	struct writer block = writer_growing(4096), signed_block = writer_growing(8192);
	assert_int_equal(kind_block_write(&kind, overlay.signer, &block), 0);
	assert_non_null(memmem(block.data, block.length, "enable=\"false\"", 14));
	const struct octets update = writer_octets_written(&block);
	struct overlay_config *config;
	char reason[CONFIG_REASON_SIZE] = "";
	assert_int_equal(overlay_config_with_kinds(overlay.config, &update, 1, &config, reason), 0);
	const struct kind *read = overlay_config_kind(config, KIND_SIP_REGISTRATION);
	assert_int_equal(read->domain_rule, DOMAIN_OVERLAY_ONLY);
	assert_int_equal(read->domain_pattern_count, 0); /* patterns mean nothing then */
	overlay_config_unref(config);
	writer_release(&block);
	writer_release(&signed_block);

	/* By hand, signed here: no enable attribute, singular name. */
	static const char text[] =
		"<kind name=\"SIP-REGISTRATION\"><max-count>1</max-count><max-size>9</max-size><data-model>x</data-model>"
		"<access-control>y</access-control><s:domain-restriction "
		"xmlns:s=\"urn:ietf:params:xml:ns:p2p:config-base:sip\"/></kind>";
	struct writer security = writer_growing(8192), fragment = writer_growing(16384);
	char base64[8192];
	assert_int_equal(security_block_make(overlay.signer, octets_of_string(text), &security), 0);
	EVP_EncodeBlock((uint8_t *)base64, security.data, (int)security.length);
	writer_octets(&fragment, octets_of_string("<kind-block><kind-signature>"));
	writer_octets(&fragment, octets_of_string(base64));
	writer_octets(&fragment, octets_of_string("</kind-signature>"));
	writer_octets(&fragment, octets_of_string(text));
	writer_octets(&fragment, octets_of_string("</kind-block>"));
	const struct octets by_hand = writer_octets_written(&fragment);
	assert_int_equal(overlay_config_with_kinds(overlay.config, &by_hand, 1, &config, reason), 0);
	assert_int_equal(overlay_config_kind(config, KIND_SIP_REGISTRATION)->domain_rule, DOMAIN_OVERLAY_ONLY);
	assert_int_equal(overlay_config_kind(config, KIND_SIP_REGISTRATION)->max_size, 9);
	overlay_config_unref(config);
	writer_release(&security);
	writer_release(&fragment);

	for (size_t i = 0; i < DOMAIN_PATTERNS_MAX; i++)
		patterns[i] = pattern_one;
	memcpy(kind.domain_patterns, patterns, sizeof(patterns));
	kind.domain_pattern_count = DOMAIN_PATTERNS_MAX;
	kind.domain_rule = DOMAIN_PATTERNS;
	struct writer full = write_kinds(&kind, 1, NULL), more = writer_growing(CONFIG_DOCUMENT_MAX);
	replace(writer_octets_written(&full), "<sip:pattern>", "<sip:pattern>", "<sip:pattern>a</sip:pattern><sip:pattern>", &more);
	expect_refused(writer_octets_written(&more), -E2BIG, "element pattern: is one more than the 16 patterns allowed.");
	writer_release(&full);
	writer_release(&more);
}

static void kind_limit(void **state) {
	static struct kind many[KINDS_MAX + 1];
	struct writer refused = writer_growing(CONFIG_DOCUMENT_MAX);

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(many); i++) {
		many[i] = private_kind;
		many[i].id = 0xf0000001u + (uint32_t)i;
	}
	/* The four registered Kinds need their places, too. */
	struct writer text = write_kinds(many, KINDS_MAX - 4, NULL);
	struct overlay_config *config = parse(writer_octets_written(&text));
	assert_int_equal(config->kind_count, KINDS_MAX);
	overlay_config_unref(config);
	struct document_settings settings = support_settings(&overlay, NULL);
	settings.kinds = many;
	settings.kind_count = KINDS_MAX - 3;
	assert_int_equal(document_write(&settings, overlay.signer, &refused), -EINVAL);
	settings.kind_count = KINDS_MAX + 1;
	assert_int_equal(document_write(&settings, overlay.signer, &refused), -EINVAL);
	writer_release(&text);
	writer_release(&refused);
}

/* --- ConfigUpdate of type kind --- */

static void kind_updates(void **state) {
	struct writer one = writer_growing(8192), two = writer_growing(8192), three = writer_growing(8192);
	struct kind changed = private_kind;
	struct overlay_config *config, *again;
	char reason[CONFIG_REASON_SIZE] = "";

	(void)state;
	changed.max_size = 99;
	assert_int_equal(kind_block_write(&registration, overlay.signer, &one), 0);
	assert_int_equal(kind_block_write(&private_kind, overlay.signer, &two), 0);
	assert_int_equal(kind_block_write(&changed, overlay.signer, &three), 0);
	const struct octets blocks[] = {writer_octets_written(&one), writer_octets_written(&two)};
	const struct octets later = writer_octets_written(&three);
	assert_int_equal(overlay_config_with_kinds(overlay.config, blocks, 2, &config, reason), 0);
	assert_int_equal(config->kind_count, overlay.config->kind_count + 1);
	assert_int_equal(overlay_config_kind(config, 0xf0000010)->max_size, 4);
	assert_int_equal(overlay_config_kind(config, KIND_SIP_REGISTRATION)->max_count, 5);
	assert_int_equal(config->sequence, overlay.config->sequence);
	/* The next one overrides and keeps the rest (B-11.1-12). */
	assert_int_equal(overlay_config_with_kinds(config, &later, 1, &again, reason), 0);
	assert_int_equal(overlay_config_kind(again, 0xf0000010)->max_size, 99);
	assert_int_equal(overlay_config_kind(again, KIND_SIP_REGISTRATION)->domain_pattern_count, 2);
	overlay_config_unref(again);

	/* All or nothing. */
	struct writer foreign = writer_growing(8192);
	assert_int_equal(kind_block_write(&changed, stranger, &foreign), 0);
	const struct octets mixed[] = {writer_octets_written(&one), writer_octets_written(&foreign)};
	again = NULL;
	assert_int_equal(overlay_config_with_kinds(config, mixed, 2, &again, reason), -EKEYREJECTED);
	assert_null(again);
	assert_non_null(strstr(reason, "the signer is not among those the configuration allows to sign."));

	static const char *const bad[] = {
		"",
		"text",
		"<kind-block/><kind-block/>",
		"<kind/>",
		"<kind-block>",
		"<kind-block/></required-kinds><required-kinds>",
		"<!DOCTYPE x><kind-block/>",
		"<kind-block xmlns=\"\"/>",
	};
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		const struct octets block = octets_of_string(bad[i]);
		assert_int_equal(overlay_config_with_kinds(config, &block, 1, &again, reason), -EBADMSG);
		assert_null(again);
	}
	overlay_config_unref(config);
	writer_release(&one);
	writer_release(&two);
	writer_release(&three);
	writer_release(&foreign);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(successors),	      cmocka_unit_test(wrong_signers),	       cmocka_unit_test(signer_dates),
		cmocka_unit_test(other_overlay),      cmocka_unit_test(expired_document),      cmocka_unit_test(white_space),
		cmocka_unit_test(several_signatures), cmocka_unit_test(damaged_block),	       cmocka_unit_test(kinds),
		cmocka_unit_test(kind_rejections),    cmocka_unit_test(kind_signature_needed), cmocka_unit_test(domain_rules),
		cmocka_unit_test(kind_limit),	      cmocka_unit_test(kind_updates),
	};
	return cmocka_run_group_tests_name("overlay/config_signature", tests, setup, teardown);
}
