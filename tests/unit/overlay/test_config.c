/* SPDX-License-Identifier: BSD-2-Clause */
/* Elements, defaults and rejections of the configuration document: B-11.1-01 to B-11.1-09, B-11.1-13 to B-11.1-15, B-14.2-01,
 * B-6.3.2.1-05, S-3.4-01. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "support/support_identity.h"
#include "wire/message.h"

#define HEAD                                                                                                                       \
	"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"                                                                             \
	"<overlay xmlns=\"urn:ietf:params:xml:ns:p2p:config-base\" xmlns:ext=\"urn:ietf:params:xml:ns:p2p:config-ext1\"\n"         \
	"  xmlns:chord=\"urn:ietf:params:xml:ns:p2p:config-chord\" xmlns:sip=\"urn:ietf:params:xml:ns:p2p:config-base:sip\">\n"
#define SELF "<self-signed-permitted digest=\"sha1\">true</self-signed-permitted>\n"
#define TAIL "</overlay>\n"

enum { SIZE = 512 * 1024 };

static char document[SIZE];

static int parse_text(const char *text, const char *name, struct overlay_config **ret, char reason[static CONFIG_REASON_SIZE]) {
	reason[0] = 0;
	int r = overlay_config_parse(octets_of_string(text), name, ret, reason);
	if (r < 0) {
		size_t length = strlen(reason);
		assert_true(length > 10 && length < CONFIG_REASON_SIZE);
		assert_null(strchr(reason, '\n'));
	}
	return r;
}

/* One configuration with these attributes and this content on line 5. */
static int parse_parts(const char *attributes, const char *content, struct overlay_config **ret,
		       char reason[static CONFIG_REASON_SIZE]) {
	int length = snprintf(document, sizeof(document),
			      HEAD "<configuration instance-name=\"overlay.example.org\" %s>\n%s\n</configuration>\n" TAIL,
			      attributes, content);
	assert_true(length > 0 && (size_t)length < sizeof(document));
	return parse_text(document, NULL, ret, reason);
}

static struct overlay_config *parse_good(const char *attributes, const char *content) {
	struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE];
	int r = parse_parts(attributes, content, &config, reason);

	if (r < 0)
		print_error("%s\n", reason);
	assert_int_equal(r, 0);
	return config;
}

static void expect(const char *attributes, const char *content, int error, const char *sentence) {
	struct overlay_config *config = NULL;
	char reason[CONFIG_REASON_SIZE];

	int r = parse_parts(attributes, content, &config, reason);
	overlay_config_unref(config);
	assert_string_equal(reason, sentence);
	assert_int_equal(r, error);
}

static void defaults(void **state) {
	struct overlay_config *config = parse_good("", SELF);

	(void)state;
	assert_string_equal(config->overlay_name, "overlay.example.org");
	assert_int_equal(config->overlay_hash, 0x9aa32b8d);
	assert_int_equal(config->sequence, 0);
	assert_true(config->expiration_ms == 0);
	assert_string_equal(config->topology_plugin, "CHORD-RELOAD");
	assert_int_equal(config->node_id_length, 16);
	assert_int_equal(config->root_count, 0);
	assert_int_equal(config->enrollment_server_count, 0);
	assert_true(config->self_signed_permitted);
	assert_string_equal(config->self_signed_digest, "sha1");
	assert_int_equal(config->bootstrap_count, 0);
	assert_int_equal(config->turn_density, 1);
	assert_true(config->clients_permitted);
	assert_false(config->no_ice);
	assert_null(config->shared_secret);
	assert_int_equal(config->max_message_size, 5000);
	assert_int_equal(config->initial_ttl, 100);
	assert_int_equal(config->reliability_timer_ms, 3000);
	assert_int_equal(config->link_protocol_count, 1);
	assert_string_equal(config->link_protocols[0], "TLS");
	assert_int_equal(config->configuration_signer_count, 0);
	assert_int_equal(config->kind_signer_count, 0);
	assert_int_equal(config->bad_node_count, 0);
	assert_int_equal(config->chord_update_interval_s, 600);
	assert_int_equal(config->chord_ping_interval_s, 3600);
	assert_true(config->chord_reactive);
	assert_int_equal(config->signature_count, 0);
	/* The registered Kinds are there without being mentioned. */
	assert_int_equal(config->kind_count, 4);
	assert_int_equal(overlay_config_kind(config, KIND_SIP_REGISTRATION)->model, DATA_MODEL_DICTIONARY);
	assert_false(overlay_config_kind(config, KIND_SIP_REGISTRATION)->required);
	assert_null(overlay_config_kind(config, 0x104));
	assert_int_equal(config->document_length, strlen(document));
	assert_memory_equal(config->document, document, config->document_length);
	assert_memory_equal(config->configuration.data, "<configuration ", 15);
	assert_memory_equal(config->configuration.data + config->configuration.length - 16, "</configuration>", 16);
	overlay_config_unref(config);
}

static void every_element(void **state) {
	struct overlay_config *config = parse_good(
		"sequence=\" 22 \" expiration=\"2030-10-10T07:00:00Z\" ext:ext-example=\"stuff\"",
		"<topology-plugin> CHORD-RELOAD </topology-plugin><node-id-length>16</node-id-length>\n"
		"<enrollment-server>https://example.org</enrollment-server>"
		"<enrollment-server> HTTPS://example.net/enroll </enrollment-server>\n"
		"<self-signed-permitted digest=\"sha256\"> 1 </self-signed-permitted>"
		"<bootstrap-node address=\"192.0.2.1\" port=\"6085\"/><bootstrap-node address=\"2001:DB8::1\"></bootstrap-node>\n"
		"<turn-density> 20 </turn-density><clients-permitted> false </clients-permitted><no-ice>1</no-ice>\n"
		"<chord:chord-update-interval>\n400</chord:chord-update-interval>"
		"<chord:chord-ping-interval>30</chord:chord-ping-interval><chord:chord-reactive> 0 </chord:chord-reactive>\n"
		"<shared-secret> pass<!-- not this -->word&amp;&#x41; </shared-secret>"
		"<max-message-size>4000</max-message-size><initial-ttl> 30 </initial-ttl>\n"
		"<overlay-reliability-timer> 200 </overlay-reliability-timer>"
		"<overlay-link-protocol>EXP-LINK</overlay-link-protocol><overlay-link-protocol><![CDATA[TLS]]></"
		"overlay-link-protocol>\n"
		"<configuration-signer>47112162e84c69ba47112162e84c69ba</configuration-signer>"
		"<kind-signer> 47112162E84C69BA47112162e84c69ba </kind-signer>"
		"<kind-signer>6eba45d31a900c066eba45d31a900c06</kind-signer>\n"
		"<bad-node>6ebc45d31a900c066ebc45d31a900c06</bad-node>"
		"<bad-node>0ebc45d31a900ca66ebc45d31a900ca6</bad-node>\n"
		"<ext:example-extension a=\"b\"> foo <ext:deeper xmlns=\"\"><any/></ext:deeper></ext:example-extension>\n"
		"<mandatory-extension> urn:ietf:params:xml:ns:p2p:config-base:sip </mandatory-extension>"
		"<required-kinds/>");
	char text[ADDRESS_TEXT_SIZE];
	struct id id;

	(void)state;
	assert_int_equal(config->sequence, 22);
	assert_true(config->expiration_ms == UINT64_C(1917846000000));
	assert_int_equal(config->enrollment_server_count, 2);
	assert_string_equal(config->enrollment_servers[1], "HTTPS://example.net/enroll");
	assert_string_equal(config->self_signed_digest, "sha256");
	assert_int_equal(config->bootstrap_count, 2);
	assert_string_equal(address_format(&config->bootstrap[0], text), "192.0.2.1:6085");
	assert_string_equal(address_format(&config->bootstrap[1], text), "[2001:db8::1]:6084");
	assert_int_equal(config->turn_density, 20);
	assert_false(config->clients_permitted);
	assert_true(config->no_ice);
	assert_int_equal(config->chord_update_interval_s, 400);
	assert_int_equal(config->chord_ping_interval_s, 30);
	assert_false(config->chord_reactive);
	assert_string_equal(config->shared_secret, "password&A");
	assert_int_equal(config->max_message_size, 4000);
	assert_int_equal(config->initial_ttl, 30);
	assert_int_equal(config->reliability_timer_ms, 200);
	assert_int_equal(config->link_protocol_count, 2);
	assert_string_equal(config->link_protocols[1], "TLS");
	assert_int_equal(config->configuration_signer_count, 1);
	assert_int_equal(config->kind_signer_count, 2);
	assert_true(id_equal(&config->kind_signers[0], &config->configuration_signers[0]));
	assert_int_equal(config->bad_node_count, 2);
	assert_int_equal(config->bad_nodes[0].octets[0], 0x0e);
	assert_int_equal(id_parse("6ebc45d31a900c066ebc45d31a900c06", &id), 0);
	assert_true(overlay_config_is_bad_node(config, &id));
	id.octets[3] ^= 1;
	assert_false(overlay_config_is_bad_node(config, &id));
	overlay_config_unref(config);
}

/* sequence and expiration (B-11.1-03, B-6.3.2.1-05). */
static void attributes(void **state) {
	static const struct {
		const char *attributes;
		uint64_t expiration_ms;
		uint16_t sequence;
	} good[] = {
		{"sequence=\"65534\"", 0, 65534},
		{"expiration=\"2100-02-28T23:59:59Z\"", UINT64_C(4107542399000), 0},
		{"expiration=\"2028-02-29T00:00:00.123Z\"", UINT64_C(1835395200000), 0},
		{"expiration=\"2028-02-29T00:00:00+00:00\"", UINT64_C(1835395200000), 0},
	};
	static const char *const bad_times[] = {
		"2030-01-01",
		"2030-02-30T00:00:00Z",
		"2030-13-01T00:00:00Z",
		"2030-01-01T00:00:00",
		"2030-01-01T00:00:00+01:00",
		"2030-01-01 00:00:00Z",
		"tomorrow",
		"2030-01-01T00:00:00.Z",
		"2030-01-01T25:00:00Z",
		"12030-01-01T00:00:00Z",
		"",
		"2030-1-1T00:00:00Z",
		"2030-01-01T00:00:00Zulu",
		"-030-01-01T00:00:00Z     ",
	};
	static const char *const bad_sequences[] = {"65535", "-1", "65536", "abc", "", "1.0", "99999999999999999999"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(good); i++) {
		struct overlay_config *config = parse_good(good[i].attributes, SELF);
		assert_true(config->expiration_ms == good[i].expiration_ms);
		assert_int_equal(config->sequence, good[i].sequence);
		overlay_config_unref(config);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(bad_times); i++) {
		struct overlay_config *config;
		char text[128], reason[CONFIG_REASON_SIZE];
		snprintf(text, sizeof(text), "expiration=\"%s\"", bad_times[i]);
		assert_int_equal(parse_parts(text, SELF, &config, reason), -EBADMSG);
		assert_non_null(strstr(reason, "Line 4, element configuration: expiration \""));
	}
	for (size_t i = 0; i < ARRAY_LENGTH(bad_sequences); i++) {
		struct overlay_config *config;
		char text[128], reason[CONFIG_REASON_SIZE];
		snprintf(text, sizeof(text), "sequence=\"%s\"", bad_sequences[i]);
		assert_int_equal(parse_parts(text, SELF, &config, reason), -EBADMSG);
		assert_non_null(strstr(reason, "\" is not between 0 and 65534."));
	}
}

static void rejections(void **state) {
	static const struct {
		const char *content;
		int error;
		const char *sentence;
	} cases[] = {
		{"", -EBADMSG, "Line 4, element configuration: has no root-cert and does not permit self-signed certificates."},
		{"<self-signed-permitted digest=\"sha1\">false</self-signed-permitted>", -EBADMSG,
		 "Line 4, element configuration: has no root-cert and does not permit self-signed certificates."},
		{SELF "<topology-plugin>CHORD-SELF-TUNING</topology-plugin>", -EOPNOTSUPP,
		 "Line 6, element topology-plugin: overlay algorithm \"CHORD-SELF-TUNING\" is not supported here."},
		{SELF "<topology-plug-in>CHORD-RELOAD</topology-plug-in>", -EBADMSG,
		 "Line 6, element topology-plug-in: is not known inside configuration."},
		{SELF "<node-id-length>15</node-id-length>", -EBADMSG,
		 "Line 6, element node-id-length: 15 is not between 16 and 20."},
		{SELF "<node-id-length>21</node-id-length>", -EBADMSG,
		 "Line 6, element node-id-length: 21 is not between 16 and 20."},
		{SELF "<node-id-length>20</node-id-length>", -EOPNOTSUPP,
		 "Line 6, element node-id-length: CHORD-RELOAD works with Node-IDs of 16 octets only."},
		{SELF "<node-id-length>sixteen</node-id-length>", -EBADMSG,
		 "Line 6, element node-id-length: \"sixteen\" is not an integer."},
		{SELF "<node-id-length></node-id-length>", -EBADMSG, "Line 6, element node-id-length: \"\" is not an integer."},
		{SELF "<node-id-length>16<x xmlns=\"urn:x\"/></node-id-length>", -EBADMSG,
		 "Line 6, element node-id-length: holds something else than text."},
		{"<root-cert>YmFkIGNlcnQK</root-cert>", -EBADMSG, "Line 5, element root-cert: is not an X.509 certificate."},
		{"<root-cert>YmFk IGNl*cnQK</root-cert>", -EBADMSG,
		 "Line 5, element root-cert: is not base64 of at most 16384 octets."},
		{"<root-cert></root-cert>", -EBADMSG, "Line 5, element root-cert: is not base64 of at most 16384 octets."},
		{"<root-cert>YmFkIGNlcnQ</root-cert>", -EBADMSG,
		 "Line 5, element root-cert: is not base64 of at most 16384 octets."},
		{"<root-cert>YmFkIGNlcn==YmFk</root-cert>", -EBADMSG,
		 "Line 5, element root-cert: is not base64 of at most 16384 octets."},
		{SELF "<enrollment-server>http://example.org/</enrollment-server>", -EBADMSG,
		 "Line 6, element enrollment-server: \"http://example.org/\" is not an https URL."},
		{SELF "<enrollment-server>https://</enrollment-server>", -EBADMSG,
		 "Line 6, element enrollment-server: \"https://\" is not an https URL."},
		{"<self-signed-permitted>true</self-signed-permitted>", -EBADMSG,
		 "Line 5, element self-signed-permitted: has no attribute digest."},
		{"<self-signed-permitted digest=\"md5\">true</self-signed-permitted>", -EOPNOTSUPP,
		 "Line 5, element self-signed-permitted: digest \"md5\" is not supported here."},
		{"<self-signed-permitted digest=\"sha1\">yes</self-signed-permitted>", -EBADMSG,
		 "Line 5, element self-signed-permitted: \"yes\" is neither true nor false."},
		{SELF "<bootstrap-node port=\"6084\"/>", -EBADMSG, "Line 6, element bootstrap-node: has no attribute address."},
		{SELF "<bootstrap-node address=\"host.example.org\"/>", -EBADMSG,
		 "Line 6, element bootstrap-node: \"host.example.org\" is not an IPv4 or IPv6 address."},
		{SELF "<bootstrap-node address=\"192.0.2.1:6084\"/>", -EBADMSG,
		 "Line 6, element bootstrap-node: \"192.0.2.1:6084\" is not an IPv4 or IPv6 address."},
		{SELF "<bootstrap-node address=\"192.0.2.1\" port=\"0\"/>", -EBADMSG,
		 "Line 6, element bootstrap-node: \"0\" is not a port number."},
		{SELF "<bootstrap-node address=\"192.0.2.1\" port=\"65536\"/>", -EBADMSG,
		 "Line 6, element bootstrap-node: \"65536\" is not a port number."},
		{SELF "<turn-density>256</turn-density>", -EBADMSG, "Line 6, element turn-density: 256 is not between 0 and 255."},
		{SELF "<turn-density>-1</turn-density>", -EBADMSG, "Line 6, element turn-density: -1 is not between 0 and 255."},
		{SELF "<clients-permitted>TRUE</clients-permitted>", -EBADMSG,
		 "Line 6, element clients-permitted: \"TRUE\" is neither true nor false."},
		{SELF "<no-ice/>", -EBADMSG, "Line 6, element no-ice: \"\" is neither true nor false."},
		{SELF "<shared-secret> </shared-secret>", -EBADMSG, "Line 6, element shared-secret: is empty."},
		{SELF "<max-message-size>511</max-message-size>", -EBADMSG,
		 "Line 6, element max-message-size: 511 is not between 512 and 16777215."},
		{SELF "<initial-ttl>0</initial-ttl>", -EBADMSG, "Line 6, element initial-ttl: 0 is not between 1 and 255."},
		{SELF "<initial-ttl>256</initial-ttl>", -EBADMSG, "Line 6, element initial-ttl: 256 is not between 1 and 255."},
		{SELF "<overlay-reliability-timer>199</overlay-reliability-timer>", -EBADMSG,
		 "Line 6, element overlay-reliability-timer: 199 is not between 200 and 2147483647."},
		{SELF "<overlay-link-protocol>EXP-LINK</overlay-link-protocol>", -EOPNOTSUPP,
		 "Line 4, element configuration: the overlay link protocol TLS is not among those allowed."},
		{SELF "<configuration-signer>47112162e84c69ba</configuration-signer>", -EBADMSG,
		 "Line 6, element configuration-signer: \"47112162e84c69ba\" is not a Node-ID of 16 octets in hexadecimal."},
		{SELF "<kind-signer>47112162e84c69ba47112162e84c69ba47</kind-signer>", -EBADMSG,
		 "Line 6, element kind-signer: \"47112162e84c69ba47112162e84c69ba47\" is not a Node-ID of 16 octets in "
		 "hexadecimal."},
		{SELF "<bad-node>xyz</bad-node>", -EBADMSG,
		 "Line 6, element bad-node: \"xyz\" is not a Node-ID of 16 octets in hexadecimal."},
		{SELF "<mandatory-extension>urn:ietf:params:xml:ns:p2p:config-ext1</mandatory-extension>", -EOPNOTSUPP,
		 "Line 6, element mandatory-extension: extension \"urn:ietf:params:xml:ns:p2p:config-ext1\" is not supported "
		 "here."},
		{SELF "<mandatory-extension>URN:ietf:params:xml:ns:p2p:config-chord</mandatory-extension>", -EOPNOTSUPP,
		 "Line 6, element mandatory-extension: extension \"URN:ietf:params:xml:ns:p2p:config-chord\" is not supported "
		 "here."},
		{SELF "<chord:chord-update-interval>0</chord:chord-update-interval>", -EBADMSG,
		 "Line 6, element chord-update-interval: 0 is not between 1 and 2147483647."},
		{SELF "<chord:chord-ping-interval>-5</chord:chord-ping-interval>", -EBADMSG,
		 "Line 6, element chord-ping-interval: -5 is not between 1 and 2147483647."},
		{SELF "<chord:chord-reactive>maybe</chord:chord-reactive>", -EBADMSG,
		 "Line 6, element chord-reactive: \"maybe\" is neither true nor false."},
		{SELF "<chord-reactive>true</chord-reactive>", -EBADMSG,
		 "Line 6, element chord-reactive: is not known inside configuration."},
		{SELF "<chord:chord-other/>", -EBADMSG, "Line 6, element chord-other: is not known inside configuration."},
		{SELF "<x xmlns=\"\"/>", -EBADMSG, "Line 6, element x: is not known inside configuration."},
		{SELF SELF, -EBADMSG, "Line 6, element self-signed-permitted: occurs twice."},
		{SELF "<initial-ttl>3</initial-ttl>\n<initial-ttl>3</initial-ttl>", -EBADMSG,
		 "Line 7, element initial-ttl: occurs twice."},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		expect("", cases[i].content, cases[i].error, cases[i].sentence);
}

/* What our own reading does not look at, the grammar does (B-11.1-01). */
static void grammar(void **state) {
	static const struct {
		const char *attributes, *content;
	} cases[] = {
		{"unknown=\"1\"", SELF},
		{"", SELF "<bootstrap-node address=\"192.0.2.1\">text</bootstrap-node>"},
		{"", SELF "<no-ice version=\"1\">true</no-ice>"},
		{"", SELF "stray text"},
		{"", SELF "<required-kinds>text</required-kinds>"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct overlay_config *config;
		char reason[CONFIG_REASON_SIZE];
		assert_int_equal(parse_parts(cases[i].attributes, cases[i].content, &config, reason), -EBADMSG);
		assert_true(strncmp(reason, "Line ", 5) == 0);
		assert_non_null(strstr(reason, "does not fit the grammar: "));
	}
}

static void structure(void **state) {
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{"", "The document is empty."},
		{"<overlay/>", "The document is not an overlay element of urn:ietf:params:xml:ns:p2p:config-base."},
		{"<configuration xmlns=\"urn:ietf:params:xml:ns:p2p:config-base\"/>",
		 "The document is not an overlay element of urn:ietf:params:xml:ns:p2p:config-base."},
		{HEAD TAIL, "The document has no configuration for overlay at all."},
		{HEAD "<configuration>" SELF "</configuration>" TAIL,
		 "Line 4, element configuration: instance-name is not a name in DNS syntax."},
		{HEAD "<configuration instance-name=\"-x\">" SELF "</configuration>" TAIL,
		 "Line 4, element configuration: instance-name is not a name in DNS syntax."},
		{HEAD "<configuration instance-name=\"a..b\">" SELF "</configuration>" TAIL,
		 "Line 4, element configuration: instance-name is not a name in DNS syntax."},
		{HEAD "<configuration instance-name=\"a.b.\">" SELF "</configuration>" TAIL,
		 "Line 4, element configuration: instance-name is not a name in DNS syntax."},
		{HEAD "<configuration instance-name=\"a b\">" SELF "</configuration>" TAIL,
		 "Line 4, element configuration: instance-name is not a name in DNS syntax."},
	};
	struct overlay_config *config;
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		assert_int_equal(parse_text(cases[i].text, NULL, &config, reason), -EBADMSG);
		assert_string_equal(reason, cases[i].sentence);
	}
	assert_int_equal(parse_text(HEAD "<configuration instance-name=\"a\">" SELF "</configuration>" TAIL, "b", &config, reason),
			 -EBADMSG);
	assert_string_equal(reason, "The document has no configuration for overlay b.");
	/* Foreign elements have no place directly under overlay. */
	assert_int_equal(
		parse_text(HEAD "<configuration instance-name=\"a\">" SELF "</configuration><ext:x/>" TAIL, "a", &config, reason),
		-EBADMSG);
	assert_non_null(strstr(reason, "does not fit the grammar"));
}

/* Several overlays in one file (B-11.1-02). */
static void several_configurations(void **state) {
	static const char text[] = HEAD "<configuration instance-name=\"one.example.org\" sequence=\"1\">" SELF "</configuration>\n"
					"<signature>AAAA</signature><signature>AAAB</signature>\n"
					"<configuration instance-name=\"two.example.org\" sequence=\"2\">" SELF
					"</configuration><signature algorithm=\"rsa-sha1\">AAAC</signature>" TAIL;
	struct overlay_config *config;
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	assert_int_equal(parse_text(text, NULL, &config, reason), 0);
	assert_string_equal(config->overlay_name, "one.example.org");
	assert_int_equal(config->signature_count, 2);
	assert_int_equal(config->signatures[1][2], 1);
	overlay_config_unref(config);
	assert_int_equal(parse_text(text, "TWO.example.org", &config, reason), 0);
	assert_int_equal(config->sequence, 2);
	assert_int_equal(config->signature_count, 1);
	assert_int_equal(config->signatures[0][2], 2);
	assert_memory_equal(config->configuration.data, "<configuration instance-name=\"two", 33);
	overlay_config_unref(config);
}

static void limits(void **state) {
	static const struct {
		const char *element, *name, *what;
		size_t most;
	} cases[] = {
		{"<bootstrap-node address=\"192.0.2.1\"/>\n", "bootstrap-node", "is one more than the 64 bootstrap nodes allowed.",
		 64},
		{"<enrollment-server>https://a/</enrollment-server>\n", "enrollment-server",
		 "is one more than the 8 enrollment servers allowed.", 8},
		{"<overlay-link-protocol>TLS</overlay-link-protocol>\n", "overlay-link-protocol",
		 "is one more than the 4 link protocols allowed.", 4},
		{"<configuration-signer>00000000000000000000000000000001</configuration-signer>\n", "configuration-signer",
		 "is one more than the 32 signers allowed.", 32},
		{"<kind-signer>00000000000000000000000000000001</kind-signer>\n", "kind-signer",
		 "is one more than the 32 signers allowed.", 32},
		{"<bad-node>00000000000000000000000000000001</bad-node>\n", "bad-node",
		 "is one more than the 4096 bad nodes allowed.", 4096},
	};
	static char content[SIZE / 2];
	char sentence[CONFIG_REASON_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		size_t length = (size_t)snprintf(content, sizeof(content), "%s", SELF);
		for (size_t n = 0; n < cases[i].most; n++)
			length += (size_t)snprintf(content + length, sizeof(content) - length, "%s", cases[i].element);
		/* 4096 bad nodes just fit into the octets a document may have. */
		overlay_config_unref(parse_good("", content));
		snprintf(content + length, sizeof(content) - length, "%s", cases[i].element);
		snprintf(sentence, sizeof(sentence), "Line %zu, element %s: %s", 6 + cases[i].most, cases[i].name, cases[i].what);
		expect("", content, -E2BIG, sentence);
	}
}

static void size_limit(void **state) {
	struct overlay_config *config;
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	int length = snprintf(document, sizeof(document), HEAD "<configuration instance-name=\"a\">" SELF "</configuration>" TAIL);
	memset(document + length, '\n', sizeof(document) - (size_t)length);
	assert_int_equal(overlay_config_parse(OCTETS(document, CONFIG_DOCUMENT_MAX), NULL, &config, reason), 0);
	overlay_config_unref(config);
	assert_int_equal(overlay_config_parse(OCTETS(document, CONFIG_DOCUMENT_MAX + 1), NULL, &config, reason), -E2BIG);
	assert_string_equal(reason, "The document is larger than 262144 octets.");
}

/* Matching what an extension holds against the grammar would take hours here. */
static void large_extensions(void **state) {
	static char content[SIZE / 4];
	size_t length = (size_t)snprintf(content, sizeof(content), "%s<ext:x", SELF);

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		length += (size_t)snprintf(content + length, sizeof(content) - length, " a%zu='1'", i);
	length += (size_t)snprintf(content + length, sizeof(content) - length, ">");
	for (size_t i = 0; i < 1000; i++)
		length += (size_t)snprintf(content + length, sizeof(content) - length, "<ext:y b='1' c='2' d='3'>text</ext:y>text");
	snprintf(content + length, sizeof(content) - length, "</ext:x>");
	overlay_config_unref(parse_good("", content));
}

static void loading(void **state) {
	char path[] = "/tmp/test_config_XXXXXX", reason[CONFIG_REASON_SIZE], expected[CONFIG_REASON_SIZE];
	struct overlay_config *config;
	int fd = mkstemp(path);
	static const char text[] = HEAD "<configuration instance-name=\"a\">" SELF "</configuration>" TAIL;

	(void)state;
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(overlay_config_load(path, "a", &config, reason), 0);
	assert_int_equal(config->document_length, sizeof(text) - 1);
	assert_ptr_equal(overlay_config_ref(config), config);
	overlay_config_unref(config);
	overlay_config_unref(config);
	assert_int_equal(ftruncate(fd, CONFIG_DOCUMENT_MAX + 10), 0);
	assert_int_equal(overlay_config_load(path, "a", &config, reason), -E2BIG);
	close(fd);
	unlink(path);
	assert_int_equal(overlay_config_load(path, "a", &config, reason), -ENOENT);
	snprintf(expected, sizeof(expected), "%s: cannot be opened: No such file or directory.", path);
	assert_string_equal(reason, expected);
	assert_int_equal(overlay_config_load("/tmp", "a", &config, reason), -EBADMSG);
	assert_string_equal(reason, "/tmp: is not a regular file.");
	assert_null(overlay_config_unref(NULL));
}

/* B-6.3.2.1-01 */
static void sequence_order(void **state) {
	(void)state;
	assert_true(config_sequence_newer(1, 0));
	assert_false(config_sequence_newer(0, 1));
	assert_false(config_sequence_newer(7, 7));
	assert_true(config_sequence_newer(0, 65534));
	assert_false(config_sequence_newer(65534, 0));
	assert_true(config_sequence_newer(32767, 0));
	assert_false(config_sequence_newer(32768, 0));
	assert_true(config_sequence_newer(5, 65000));
	assert_false(config_sequence_newer(65000, 5));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(every_element),
		cmocka_unit_test(attributes),
		cmocka_unit_test(rejections),
		cmocka_unit_test(grammar),
		cmocka_unit_test(structure),
		cmocka_unit_test(several_configurations),
		cmocka_unit_test(limits),
		cmocka_unit_test(size_limit),
		cmocka_unit_test(large_extensions),
		cmocka_unit_test(loading),
		cmocka_unit_test(sequence_order),
	};
	return cmocka_run_group_tests_name("overlay/config", tests, NULL, NULL);
}
