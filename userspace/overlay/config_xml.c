/* SPDX-License-Identifier: BSD-2-Clause */
#include "overlay/config_xml.h"

#include <errno.h>
#include <libxml/parser.h>
#include <libxml/relaxng.h>
#include <stdarg.h>
#include <string.h>

enum {
	XML_DEPTH_MAX = 256, /* open elements; libxml2's own limit as well */
	XML_ELEMENTS_MAX = 32768,
};

DEFINE_CLEANUP(xmlParserCtxt *, xmlFreeParserCtxt)
DEFINE_CLEANUP(xmlRelaxNGParserCtxt *, xmlRelaxNGFreeParserCtxt)
DEFINE_CLEANUP(xmlRelaxNG *, xmlRelaxNGFree)
DEFINE_CLEANUP(xmlRelaxNGValidCtxt *, xmlRelaxNGFreeValidCtxt)

/* libxml2 2.12 made the argument constant. */
#if LIBXML_VERSION >= 21200
typedef const xmlError *error_argument;
#else
typedef xmlError *error_argument;
#endif

static int refuse(char reason[static CONFIG_REASON_SIZE], int error, const char *sentence) {
	snprintf(reason, CONFIG_REASON_SIZE, "%s", sentence);
	return error;
}

/* Messages of libxml2 end in a line break. */
static int message_length(const char *message) {
	return message ? (int)strcspn(message, "\n") : 0;
}

/* --- where elements stand --- */

/*
 * The document is known to be well-formed and to have no document type declaration when this runs, so a "<" starts a comment, a
 * CDATA section, a processing instruction or a tag, and nothing else.
 */
struct scanner {
	struct reader reader;
	size_t open[XML_DEPTH_MAX];
	size_t depth;
	struct octets *elements;
	size_t count, capacity;
};

static bool skip_past(struct reader *r, const char *end) {
	struct reader ahead = *r;
	struct octets rest = reader_rest(&ahead);
	const uint8_t *found = memmem(rest.data, rest.length, end, strlen(end));

	if (!found)
		return reader_fail(r) >= 0;
	reader_octets(r, (size_t)(found - rest.data) + strlen(end));
	return true;
}

static bool starts_with(const struct reader *r, const char *text) {
	struct reader ahead = *r;
	struct octets found = reader_octets(&ahead, strlen(text));

	return octets_equal(found, octets_of_string(text));
}

/* After "<" of a start tag, to its ">". A ">" in quotes is text. Returns whether the tag was "<x/>". */
static bool skip_tag(struct reader *r) {
	uint8_t quote = 0, before = 0;

	while (r->error == 0) {
		uint8_t octet = reader_u8(r);
		if (quote != 0)
			quote = octet == quote ? 0 : quote;
		else if (octet == '"' || octet == '\'')
			quote = octet;
		else if (octet == '>')
			return before == '/';
		before = octet;
	}
	return false;
}

static int scan_open(struct scanner *scanner, size_t start) {
	if (scanner->count == scanner->capacity || scanner->depth == XML_DEPTH_MAX)
		return -E2BIG;
	scanner->open[scanner->depth++] = scanner->count;
	scanner->elements[scanner->count++] = OCTETS(scanner->reader.data + start, 0);
	return 0;
}

static int scan_close(struct scanner *scanner) {
	if (scanner->depth == 0)
		return -EBADMSG;
	struct octets *element = &scanner->elements[scanner->open[--scanner->depth]];
	element->length = (size_t)(scanner->reader.data + scanner->reader.position - element->data);
	return 0;
}

static int scan_elements(struct scanner *scanner) {
	struct reader *r = &scanner->reader;
	int error = 0;

	while (error >= 0 && reader_more(r)) {
		size_t start = r->position;
		if (reader_u8(r) != '<')
			continue;
		if (starts_with(r, "!--")) {
			reader_octets(r, strlen("!--"));
			skip_past(r, "-->");
		} else if (starts_with(r, "![CDATA["))
			skip_past(r, "]]>");
		else if (starts_with(r, "?"))
			skip_past(r, "?>");
		else if (starts_with(r, "/")) {
			skip_past(r, ">");
			error = scan_close(scanner);
		} else {
			error = scan_open(scanner, start);
			if (skip_tag(r) && error >= 0)
				error = scan_close(scanner);
		}
	}
	if (error >= 0 && (r->error < 0 || scanner->depth != 0))
		error = -EBADMSG;
	return error;
}

static xmlNode *next_in_document(xmlNode *node) {
	if (node->type == XML_ELEMENT_NODE && node->children)
		return node->children;
	while (node && !node->next)
		node = node->parent && node->parent->type == XML_ELEMENT_NODE ? node->parent : NULL;
	return node ? node->next : NULL;
}

/* Does the tag at the start of `element` bear the name of `node`? Both lists were made independently. */
static bool names_agree(const xmlNode *node, struct octets element) {
	struct reader r = reader_of_octets(element);
	struct octets prefix = octets_of_string(node->ns ? (const char *)node->ns->prefix : NULL);

	reader_u8(&r);
	if (prefix.length > 0 && (!octets_equal(reader_octets(&r, prefix.length), prefix) || reader_u8(&r) != ':'))
		return false;
	struct octets name = octets_of_string((const char *)node->name);
	return octets_equal(reader_octets(&r, name.length), name);
}

static int attach_ranges(struct xml_document *document) {
	size_t index = 0;

	for (xmlNode *node = xmlDocGetRootElement(document->doc); node; node = next_in_document(node)) {
		if (node->type != XML_ELEMENT_NODE)
			continue;
		if (index == document->element_count || !names_agree(node, document->elements[index]))
			return -EBADMSG;
		node->_private = &document->elements[index++];
	}
	return index == document->element_count ? 0 : -EBADMSG;
}

static int find_ranges(struct xml_document *document, char reason[static CONFIG_REASON_SIZE]) {
	struct scanner scanner = {.reader = reader_of_octets(document->source), .capacity = XML_ELEMENTS_MAX};

	scanner.elements = calloc(scanner.capacity, sizeof(*scanner.elements));
	if (!scanner.elements)
		return refuse(reason, -ENOMEM, "Out of memory.");
	int r = scan_elements(&scanner);
	document->elements = scanner.elements;
	document->element_count = scanner.count;
	if (r >= 0)
		r = attach_ranges(document);
	if (r == -E2BIG)
		return refuse(reason, r, "The document has more than 32768 elements or nests them too deeply.");
	return r < 0 ? refuse(reason, r, "The elements of the document cannot be told apart.") : 0;
}

/* --- parsing --- */

/* The first thing of a document type declaration the parser reports; nothing of it is looked at. */
static void refuse_doctype(void *userdata, const xmlChar *name, const xmlChar *external_id, const xmlChar *system_id) {
	xmlParserCtxt *context = userdata;
	bool *seen = context->_private;

	(void)name, (void)external_id, (void)system_id;
	*seen = true;
	xmlStopParser(context);
}

static int parse_tree(struct octets source, xmlDoc **ret, char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_(xmlFreeParserCtxtp) xmlParserCtxt *context = xmlNewParserCtxt();
	bool doctype = false;

	if (!context)
		return refuse(reason, -ENOMEM, "Out of memory.");
	context->_private = &doctype;
	context->sax->internalSubset = refuse_doctype;
	xmlDoc *doc = xmlCtxtReadMemory(context, (const char *)source.data, (int)source.length, NULL, NULL,
					XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_BIG_LINES);
	const xmlError *error = xmlCtxtGetLastError(context);
	if (doctype) {
		xmlFreeDoc(doc);
		return refuse(reason, -EBADMSG, "The document has a document type declaration, which is not accepted.");
	}
	if (!doc || !context->wellFormed) {
		const char *message = error && error->message ? error->message : "it ends too early";
		snprintf(reason, CONFIG_REASON_SIZE, "Line %d: the document is not well-formed XML: %.*s.", error ? error->line : 1,
			 message_length(message), message);
		xmlFreeDoc(doc);
		return -EBADMSG;
	}
	if (doc->encoding && strcasecmp((const char *)doc->encoding, "UTF-8") != 0) { /* B-11.1-01 */
		snprintf(reason, CONFIG_REASON_SIZE, "Line 1: the document declares the encoding %.40s instead of UTF-8.",
			 (const char *)doc->encoding);
		xmlFreeDoc(doc);
		return -EBADMSG;
	}
	*ret = doc;
	return 0;
}

int xml_document_parse(struct octets source, struct xml_document *ret, char reason[static CONFIG_REASON_SIZE]) {
	struct xml_document document = {.source = source};

	if (source.length > CONFIG_DOCUMENT_MAX)
		return refuse(reason, -E2BIG, "The document is larger than 262144 octets.");
	if (source.length == 0)
		return refuse(reason, -EBADMSG, "The document is empty.");
	/* Leaves out UTF-16 and UTF-32, which the scanner would misread. */
	if (memchr(source.data, 0, source.length))
		return refuse(reason, -EBADMSG, "The document has a NUL octet, so it is not XML in UTF-8.");
	int r = parse_tree(source, &document.doc, reason);
	if (r >= 0)
		r = find_ranges(&document, reason);
	if (r < 0) {
		xml_document_release(&document);
		return r;
	}
	*ret = document;
	return 0;
}

void xml_document_release(struct xml_document *document) {
	xmlFreeDoc(document->doc);
	free(document->elements);
	*document = (struct xml_document){0};
}

/* --- validation --- */

static void keep_first_error(void *userdata, error_argument error) {
	char *reason = userdata;

	if (reason[0] != 0 || !error)
		return;
	const xmlNode *node = error->node;
	const char *message = error->message ? error->message : "unknown";
	if (node && node->type == XML_ELEMENT_NODE)
		(void)xml_refuse(reason, node, 0, "does not fit the grammar: %.*s.", message_length(message), message);
	else
		snprintf(reason, CONFIG_REASON_SIZE, "Line %d: does not fit the grammar: %.*s.", error->line,
			 message_length(message), message);
}

static void ignore_error(void *userdata, error_argument error) {
	(void)userdata, (void)error;
}

static void drop_foreign_children(xmlNode *parent) {
	for (xmlNode *child = parent->children, *next; child; child = next) {
		next = child->next;
		if (child->type != XML_ELEMENT_NODE || !xml_is_foreign(child))
			continue;
		xmlUnlinkNode(child);
		xmlFreeNode(child);
	}
}

/*
 * Takes extensions out where the grammar allows them, with all they hold: matching "anything" takes libxml2 2.9 time that grows
 * with a high power of its size, a minute for ten thousand octets. libxml2 reads 256 levels.
 */
static void drop_foreign(xmlNode *node) { /* NOLINT(misc-no-recursion) */
	for (xmlNode *child = node->children; child; child = child->next) {
		if (child->type != XML_ELEMENT_NODE)
			continue;
		if (xml_is(child, NAMESPACE_BASE, "configuration") || xml_is(child, NAMESPACE_BASE, "kind"))
			drop_foreign_children(child);
		if (xml_is(child, NAMESPACE_BASE, "configuration") || xml_is(child, NAMESPACE_BASE, "required-kinds") ||
		    xml_is(child, NAMESPACE_BASE, "kind-block"))
			drop_foreign(child);
	}
}

int xml_document_validate(struct xml_document *document, char reason[static CONFIG_REASON_SIZE]) {
	_cleanup_(xmlRelaxNGFreeParserCtxtp) xmlRelaxNGParserCtxt *parser =
		xmlRelaxNGNewMemParserCtxt(config_grammar, (int)strlen(config_grammar));
	if (parser)
		xmlRelaxNGSetParserStructuredErrors(parser, ignore_error, NULL);
	_cleanup_(xmlRelaxNGFreep) xmlRelaxNG *grammar = parser ? xmlRelaxNGParse(parser) : NULL;
	_cleanup_(xmlRelaxNGFreeValidCtxtp) xmlRelaxNGValidCtxt *context = grammar ? xmlRelaxNGNewValidCtxt(grammar) : NULL;

	if (!context)
		return refuse(reason, -ENOMEM, "Out of memory.");
	drop_foreign(xmlDocGetRootElement(document->doc));
	reason[0] = 0;
	xmlRelaxNGSetValidStructuredErrors(context, keep_first_error, reason);
	if (xmlRelaxNGValidateDoc(context, document->doc) == 0)
		return 0;
	if (reason[0] == 0)
		return refuse(reason, -EBADMSG, "The document does not fit the grammar.");
	return -EBADMSG;
}

/* --- elements --- */

struct octets xml_element_octets(const xmlNode *node) {
	const struct octets *range = node->_private;

	return range ? *range : OCTETS_NONE;
}

bool xml_is(const xmlNode *node, const char *namespace_uri, const char *name) {
	return node->ns && strcmp((const char *)node->ns->href, namespace_uri) == 0 && strcmp((const char *)node->name, name) == 0;
}

bool xml_is_foreign(const xmlNode *node) {
	return node->ns && strcmp((const char *)node->ns->href, NAMESPACE_BASE) != 0 &&
	       strcmp((const char *)node->ns->href, NAMESPACE_CHORD) != 0;
}

const xmlNode *xml_element(const xmlNode *node) {
	while (node && node->type != XML_ELEMENT_NODE)
		node = node->next;
	return node;
}

const xmlNode *xml_next(const xmlNode *node) {
	return xml_element(node->next);
}

int xml_refuse(char reason[static CONFIG_REASON_SIZE], const xmlNode *node, int error, const char *format, ...) {
	va_list arguments;
	int length =
		snprintf(reason, CONFIG_REASON_SIZE, "Line %ld, element %.64s: ", xmlGetLineNo(node), (const char *)node->name);

	va_start(arguments, format);
	vsnprintf(reason + length, CONFIG_REASON_SIZE - (size_t)length, format, arguments);
	va_end(arguments);
	return error;
}

static bool is_space(char c) {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_text(const xmlNode *node) {
	return node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE;
}

/* Moves what is between white space to the front. */
static void trim(char *text) {
	size_t length = strlen(text), start = 0;

	while (length > 0 && is_space(text[length - 1]))
		length--;
	while (start < length && is_space(text[start]))
		start++;
	memmove(text, text + start, length - start);
	text[length - start] = 0;
}

int xml_text(const xmlNode *node, char *text, size_t size, char reason[static CONFIG_REASON_SIZE]) {
	size_t length = 0;

	for (const xmlNode *child = node->children; child; child = child->next) {
		if (child->type == XML_COMMENT_NODE || child->type == XML_PI_NODE)
			continue;
		if (!is_text(child))
			return xml_refuse(reason, node, -EBADMSG, "holds something else than text.");
		for (const char *at = (const char *)child->content; at && *at; at++) {
			if (length == 0 && is_space(*at))
				continue;
			/* White space that turns out to be at the end costs nothing. */
			if (length + 1 == size) {
				if (is_space(*at))
					continue;
				return xml_refuse(reason, node, -EBADMSG, "is longer than %zu octets.", size - 1);
			}
			text[length++] = *at;
		}
	}
	text[length] = 0;
	trim(text);
	return 0;
}

void xml_wipe(const xmlNode *node) {
	for (const xmlNode *child = node->children; child; child = child->next)
		if (is_text(child) && child->content)
			octets_wipe(child->content, strlen((const char *)child->content));
}

int xml_attribute(const xmlNode *node, const char *name, char *text, size_t size, char reason[static CONFIG_REASON_SIZE]) {
	for (const xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
		if (attribute->ns || strcmp((const char *)attribute->name, name) != 0)
			continue;
		const char *value = attribute->children ? (const char *)attribute->children->content : "";
		if (!value || (attribute->children && attribute->children->next) || strlen(value) >= size)
			return xml_refuse(reason, node, -EBADMSG, "attribute %s is too long.", name);
		strcpy(text, value);
		trim(text);
		return 1;
	}
	return 0;
}

int text_integer(const char *text, int64_t *ret) {
	const char *digits = *text == '-' || *text == '+' ? text + 1 : text;
	size_t length = strspn(digits, "0123456789");

	if (length == 0 || length > 18 || digits[length] != 0)
		return -EINVAL;
	*ret = strtoll(text, NULL, 10);
	return 0;
}

int text_boolean(const char *text, bool *ret) {
	bool is_true = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;

	if (!is_true && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
		return -EINVAL;
	*ret = is_true;
	return 0;
}

int xml_integer(const xmlNode *node, int64_t min, int64_t max, int64_t *ret, char reason[static CONFIG_REASON_SIZE]) {
	char text[64];
	int64_t value;
	int r = xml_text(node, text, sizeof(text), reason);

	if (r < 0)
		return r;
	if (text_integer(text, &value) < 0)
		return xml_refuse(reason, node, -EBADMSG, "\"%s\" is not an integer.", text);
	if (value < min || value > max)
		return xml_refuse(reason, node, -EBADMSG, "%lld is not between %lld and %lld.", (long long)value, (long long)min,
				  (long long)max);
	*ret = value;
	return 0;
}

int xml_boolean(const xmlNode *node, bool *ret, char reason[static CONFIG_REASON_SIZE]) {
	char text[64];
	int r = xml_text(node, text, sizeof(text), reason);

	if (r >= 0 && text_boolean(text, ret) < 0)
		r = xml_refuse(reason, node, -EBADMSG, "\"%s\" is neither true nor false.", text);
	return r;
}

static int base64_value(char c) {
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(alphabet, c) : NULL;

	return at ? (int)(at - alphabet) : -EINVAL;
}

/* Strict: padded, unused bits zero, nothing behind the padding. -EINVAL, or the writer's error. */
static int base64_decode(const char *text, struct writer *w) {
	uint32_t group = 0;
	unsigned digits = 0, padding = 0;

	/* xml_text() has written it. NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Branch) */
	for (; *text; text++) {
		if (is_space(*text))
			continue;
		int value = *text == '=' ? 0 : base64_value(*text);
		if (value < 0 || (*text != '=' && padding > 0) || (*text == '=' && digits < 2))
			return -EINVAL;
		padding += *text == '=';
		group = group << 6 | (uint32_t)value;
		if (++digits < 4)
			continue;
		if (padding > 2 || (group & ((1u << 8 * padding) - 1)) != 0)
			return -EINVAL;
		for (unsigned i = 0; i < 3 - padding; i++)
			/* Three octets at most. NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
			writer_u8(w, (uint8_t)(group >> (16 - 8 * i)));
		digits = 0;
		if (padding > 0) {
			while (is_space(text[1]))
				text++;
			if (text[1] != 0)
				return -EINVAL;
		}
	}
	return digits == 0 ? writer_finish(w) : -EINVAL;
}

int xml_base64(const xmlNode *node, size_t max, uint8_t **ret, size_t *ret_length, char reason[static CONFIG_REASON_SIZE]) {
	size_t size = 2 * max + 1; /* generous towards white space */
	_cleanup_free_ char *text = malloc(size);

	if (!text)
		return refuse(reason, -ENOMEM, "Out of memory.");
	int r = xml_text(node, text, size, reason);
	if (r < 0)
		return r;
	struct writer w = writer_growing(max);
	r = base64_decode(text, &w);
	if (r < 0 || w.length == 0) {
		writer_release(&w);
		return xml_refuse(reason, node, r == -ENOMEM ? r : -EBADMSG, "is not base64 of at most %zu octets.", max);
	}
	*ret = writer_take(&w, ret_length);
	return 0;
}
