/* SPDX-License-Identifier: BSD-2-Clause */
/* XML from strangers: bounded, without document type declarations, entities and the network; and where each element stands. */
#pragma once

#include "overlay/config.h"

#include <libxml/tree.h>

#define NAMESPACE_BASE "urn:ietf:params:xml:ns:p2p:config-base"
#define NAMESPACE_CHORD "urn:ietf:params:xml:ns:p2p:config-chord"
#define NAMESPACE_SIP "urn:ietf:params:xml:ns:p2p:config-base:sip"

struct xml_document {
	xmlDoc *doc;
	struct octets source;        /* borrowed */
	struct octets *elements;     /* octets of every element, in document order; the nodes point here */
	size_t element_count;
};

/* `source` has to outlive the document. On failure `reason` holds one sentence. -EBADMSG, -E2BIG, -ENOMEM. */
int xml_document_parse(struct octets source, struct xml_document *ret, char reason[static CONFIG_REASON_SIZE]);
void xml_document_release(struct xml_document *document);

/* Checks against the grammar of RFC 6940 11.1.1. Foreign elements are no longer in the tree afterwards. -EBADMSG, -ENOMEM. */
int xml_document_validate(struct xml_document *document, char reason[static CONFIG_REASON_SIZE]);

/* From the first "<" of the element to its last ">". */
struct octets xml_element_octets(const xmlNode *node);

bool xml_is(const xmlNode *node, const char *namespace_uri, const char *name);
/* In a namespace that is none of ours: an extension. */
bool xml_is_foreign(const xmlNode *node);
/* Next element at or after `node` among its siblings; NULL at the end. */
const xmlNode *xml_element(const xmlNode *node);
const xmlNode *xml_next(const xmlNode *node);

/* Writes "Line 7, element x: ..." and returns `error`. */
int xml_refuse(char reason[static CONFIG_REASON_SIZE], const xmlNode *node, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/*
 * Text of an element without children, comments left out, white space at both ends cut. `size` bounds it, NUL included.
 * -EBADMSG with a sentence.
 */
int xml_text(const xmlNode *node, char *text, size_t size, char reason[static CONFIG_REASON_SIZE]);
int xml_integer(const xmlNode *node, int64_t min, int64_t max, int64_t *ret, char reason[static CONFIG_REASON_SIZE]);
int xml_boolean(const xmlNode *node, bool *ret, char reason[static CONFIG_REASON_SIZE]);
/* Base64 of RFC 4648 with white space anywhere; *ret is allocated. */
int xml_base64(const xmlNode *node, size_t max, uint8_t **ret, size_t *ret_length, char reason[static CONFIG_REASON_SIZE]);

/* Overwrites the text of an element inside the document. */
void xml_wipe(const xmlNode *node);

/* Attribute without namespace; 1 when it is there, 0 when it is not. -EBADMSG when it is too long. */
int xml_attribute(const xmlNode *node, const char *name, char *text, size_t size, char reason[static CONFIG_REASON_SIZE]);

/* The same parsers for texts: 0 or -EINVAL. */
int text_integer(const char *text, int64_t *ret);
int text_boolean(const char *text, bool *ret);

/* The grammar in RELAX NG's XML syntax. */
extern const char config_grammar[];
