/* SPDX-License-Identifier: BSD-2-Clause */
/* Hostile and odd XML: document type declarations, entities, encodings, truncation, and where elements stand (B-11.1-01,
 * B-11.1-11). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "overlay/config_xml.h"
#include "support/support_identity.h"

static int parse(struct octets text, char reason[static CONFIG_REASON_SIZE]) {
	struct xml_document xml = {0};

	reason[0] = 0;
	int r = xml_document_parse(text, &xml, reason);
	assert_true(r == 0 || reason[0] != 0);
	xml_document_release(&xml);
	return r;
}

static void expect(const char *text, int error, const char *sentence) {
	char reason[CONFIG_REASON_SIZE];

	assert_int_equal(parse(octets_of_string(text), reason), error);
	if (!strstr(reason, sentence))
		print_error("%s\n", reason);
	assert_non_null(strstr(reason, sentence));
}

static void doctype(void **state) {
	static const char sentence[] = "The document has a document type declaration, which is not accepted.";

	(void)state;
	expect("<!DOCTYPE overlay><overlay/>", -EBADMSG, sentence);
	expect("<?xml version=\"1.0\"?>\n<!-- c -->\n<!DOCTYPE overlay SYSTEM \"file:///etc/hostname\"><overlay/>", -EBADMSG,
	       sentence);
	expect("<!DOCTYPE overlay PUBLIC \"a\" \"http://192.0.2.1/x.dtd\"><overlay/>", -EBADMSG, sentence);
	expect("<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/hostname\">]><x>&a;</x>", -EBADMSG, sentence);
	/* The bomb is never unpacked, its declarations are not even read. */
	expect("<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;\">"
	       "<!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">"
	       "<!ENTITY e \"&d;&d;&d;&d;&d;&d;&d;&d;&d;&d;\"><!ENTITY f \"&e;&e;&e;&e;&e;&e;&e;&e;&e;&e;\">]><x>&f;</x>",
	       -EBADMSG, sentence);
	expect("<!DOCTYPE x [<!ENTITY % p SYSTEM \"http://192.0.2.1/\">%p;]><x/>", -EBADMSG, sentence);
	/* Inside an element it is no declaration at all. */
	expect("<x><!DOCTYPE x></x>", -EBADMSG, "is not well-formed XML");
	expect("<x>&undeclared;</x>", -EBADMSG, "Line 1: the document is not well-formed XML: ");
	expect("<x a=\"&undeclared;\"/>", -EBADMSG, "Line 1: the document is not well-formed XML: ");
}

static void encodings(void **state) {
	static const uint8_t utf16[] = {0xff, 0xfe, '<', 0, 'x', 0, '/', 0, '>', 0};
	char reason[CONFIG_REASON_SIZE];

	(void)state;
	expect("<?xml version=\"1.0\" encoding=\"utf-8\"?><x>\xc3\xa4</x>", 0, "");
	expect("\xef\xbb\xbf<x>\xc3\xa4</x>", 0, "");
	expect("<x/>", 0, "");
	expect("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><x/>", -EBADMSG, "instead of UTF-8.");
	expect("<?xml version=\"1.0\" encoding=\"UTF-16\"?><x/>", -EBADMSG, "Line 1: ");
	expect("<?xml version=\"1.0\" encoding=\"UTF-7\"?><x/>", -EBADMSG, "Line 1: ");
	expect("<x>\xe4</x>", -EBADMSG, "is not well-formed XML");
	assert_int_equal(parse(OCTETS(utf16, sizeof(utf16)), reason), -EBADMSG);
	assert_string_equal(reason, "The document has a NUL octet, so it is not XML in UTF-8.");
	assert_int_equal(parse(OCTETS("<x>a\0b</x>", 10), reason), -EBADMSG);
}

static void nesting(void **state) {
	static char text[CONFIG_DOCUMENT_MAX];
	char reason[CONFIG_REASON_SIZE];
	size_t length = 0;

	(void)state;
	for (size_t i = 0; i < 2000; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "<a>");
	for (size_t i = 0; i < 2000; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "</a>");
	assert_int_equal(parse(OCTETS(text, length), reason), -EBADMSG);
	length = (size_t)snprintf(text, sizeof(text), "<x>");
	for (size_t i = 0; i < 40000; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "<a/>");
	length += (size_t)snprintf(text + length, sizeof(text) - length, "</x>");
	assert_int_equal(parse(OCTETS(text, length), reason), -E2BIG);
	assert_string_equal(reason, "The document has more than 32768 elements or nests them too deeply.");
}

static const xmlNode *find(const xmlNode *node, const char *name) {
	for (const xmlNode *child = xml_element(node->children); child; child = xml_next(child)) {
		if (strcmp((const char *)child->name, name) == 0)
			return child;
		const xmlNode *deeper = find(child, name);
		if (deeper)
			return deeper;
	}
	return NULL;
}

/* Comments, CDATA, instructions and quoted ">" must not mislead the scanner. */
static void positions(void **state) {
	static const char text[] =
		"<?xml version='1.0'?><?pi <target> ?>\n<!-- <target>no</target> -->"
		"<r a='<!--&gt;' b=\"/>\" c='>'><![CDATA[<target>]]]]><![CDATA[>no</target>]]>"
		"<?target <target/>?><!-- </r> <target/> -->"
		"<e/><e /><e a=\"/\"></e><p:q xmlns:p=\"urn:p\"  ><p:target\n a='>'\t>in<p:z/>side</p:target ></p:q>"
		"<target>last</target></r>\n<!-- <r> -->";
	struct xml_document xml;
	char reason[CONFIG_REASON_SIZE], expected[] = "<p:target\n a='>'\t>in<p:z/>side</p:target >";

	(void)state;
	/* "<" in an attribute is not well-formed; make it so. */
	assert_int_equal(xml_document_parse(octets_of_string(text), &xml, reason), -EBADMSG);
	char good[sizeof(text)];
	strcpy(good, text);
	memcpy(strstr(good, "'<!--"), "'x!--", 5);
	int r = xml_document_parse(octets_of_string(good), &xml, reason);
	if (r < 0)
		print_error("%s\n", reason);
	assert_int_equal(r, 0);
	const xmlNode *root = xmlDocGetRootElement(xml.doc);
	struct octets range = xml_element_octets(root);
	assert_ptr_equal(range.data, strstr(good, "<r a="));
	assert_memory_equal(range.data + range.length - 4, "</r>", 4);
	range = xml_element_octets(find(root, "target"));
	assert_true(octets_equal(range, octets_of_string(expected)));
	range = xml_element_octets(find(root, "z"));
	assert_true(octets_equal(range, octets_of_string("<p:z/>")));
	range = xml_element_octets(find(root, "q"));
	assert_memory_equal(range.data, "<p:q ", 5);
	assert_memory_equal(range.data + range.length - 6, "</p:q>", 6);
	xml_document_release(&xml);
}

static void texts(void **state) {
	struct xml_document xml;
	char reason[CONFIG_REASON_SIZE], text[8];
	uint8_t *octets;
	size_t length;

	(void)state;
	assert_int_equal(
		xml_document_parse(octets_of_string("<r><a>  12<!-- x -->34<![CDATA[56 ]]>7  </a><b> 12345678</b><c> Q Q\n== </c>"
						    "<d>QR==</d><e>====</e><f>QUJD</f><g>QUJDRA==</g></r>"),
				   &xml, reason),
		0);
	const xmlNode *root = xmlDocGetRootElement(xml.doc);
	assert_int_equal(xml_text(find(root, "a"), text, sizeof(text), reason), -EBADMSG); /* "123456 7" */
	assert_int_equal(xml_text(find(root, "b"), text, sizeof(text), reason), -EBADMSG);
	assert_string_equal(reason, "Line 1, element b: is longer than 7 octets.");
	assert_int_equal(xml_text(find(root, "c"), text, sizeof(text), reason), 0);
	assert_string_equal(text, "Q Q\n==");
	assert_int_equal(xml_base64(find(root, "c"), 100, &octets, &length, reason), 0);
	assert_int_equal(length, 1);
	assert_int_equal(octets[0], 'A');
	free(octets);
	assert_int_equal(xml_base64(find(root, "d"), 100, &octets, &length, reason), -EBADMSG); /* unused bits */
	assert_int_equal(xml_base64(find(root, "e"), 100, &octets, &length, reason), -EBADMSG);
	assert_int_equal(xml_base64(find(root, "f"), 3, &octets, &length, reason), 0);
	assert_memory_equal(octets, "ABC", 3);
	free(octets);
	assert_int_equal(xml_base64(find(root, "g"), 3, &octets, &length, reason), -EBADMSG);
	xml_document_release(&xml);
}

/* However much is missing, the document is refused with a sentence; and so it is with octets put wrong. */
static void truncation(void **state) {
	struct support_overlay overlay;
	const struct kind kind = {
		.id = 0xf0000001, .model = DATA_MODEL_SINGLE, .access = ACCESS_USER_MATCH, .max_count = 1, .max_size = 1};
	const struct document_settings settings = {.sequence = 1, .kinds = &kind, .kind_count = 1};
	char reason[CONFIG_REASON_SIZE];
	struct overlay_config *config;

	(void)state;
	assert_int_equal(support_overlay_new_with(SUPPORT_OVERLAY_NAME, &settings, &overlay), 0);
	const struct overlay_config *good = overlay.config;
	size_t length = good->document_length;
	while (length > 0 && good->document[length - 1] != '>')
		length--;
	for (size_t cut = 0; cut < length; cut += cut < 600 || cut + 100 > length ? 1 : 7) {
		reason[0] = 0;
		assert_int_equal(overlay_config_parse(OCTETS(good->document, cut), NULL, &config, reason), -EBADMSG);
		assert_true(strlen(reason) > 10);
	}
	/* Changed octets: no crash, and never a document whose signed part differs and is still believed. */
	uint8_t *copy = malloc(good->document_length);
	memcpy(copy, good->document, good->document_length);
	for (size_t i = 0; i < good->document_length; i += 5) {
		copy[i] ^= 0x02;
		if (overlay_config_parse(OCTETS(copy, good->document_length), NULL, &config, reason) >= 0) {
			size_t start = (size_t)(good->configuration.data - good->document);
			config->sequence = 2; /* as if it were the next one */
			int r = overlay_config_check_successor(good, config, SUPPORT_NOW_MS, reason);
			if (i >= start && i < start + good->configuration.length)
				assert_true(r < 0);
			overlay_config_unref(config);
		}
		copy[i] ^= 0x02;
	}
	free(copy);
	support_overlay_release(&overlay);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(doctype),   cmocka_unit_test(encodings), cmocka_unit_test(nesting),
		cmocka_unit_test(positions), cmocka_unit_test(texts),	  cmocka_unit_test(truncation),
	};
	return cmocka_run_group_tests_name("overlay/config_xml", tests, NULL, NULL);
}
