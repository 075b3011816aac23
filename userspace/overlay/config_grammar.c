/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The grammar of RFC 6940 11.1.1 in RELAX NG's XML syntax, which is the one libxml2 reads. It differs from the RFC's in
 * overlay-reliability-timer, which the RFC describes but leaves out of its grammar. Enumerations that the RFC leaves open
 * with xsd:string are plain strings here.
 */
#include "overlay/config_xml.h"

/* clang-format off */
#define DATA(type) "<data type=\"" type "\"/>"
#define ELEMENT(name, content) "<element name=\"" name "\">" content "</element>"
#define ATTRIBUTE(name, type) "<attribute name=\"" name "\" ns=\"\">" DATA(type) "</attribute>"
#define OPTIONAL(content) "<optional>" content "</optional>"
#define ANY_NUMBER(content) "<zeroOrMore>" content "</zeroOrMore>"
#define OPTIONAL_DATA(name, type) OPTIONAL(ELEMENT(name, DATA(type)))
#define ANY_NUMBER_DATA(name, type) ANY_NUMBER(ELEMENT(name, DATA(type)))
#define FOREIGN_NAME                                                                                                             \
	"<anyName><except>"                                                                                                      \
	"<nsName ns=\"" NAMESPACE_BASE "\"/><nsName ns=\"" NAMESPACE_CHORD "\"/><nsName ns=\"\"/>"                               \
	"</except></anyName>"
#define REFERENCE(name) "<ref name=\"" name "\"/>"
#define DEFINE(name, content) "<define name=\"" name "\">" content "</define>"

const char config_grammar[] =
	"<grammar xmlns=\"http://relaxng.org/ns/structure/1.0\" ns=\"" NAMESPACE_BASE "\""
	" datatypeLibrary=\"http://www.w3.org/2001/XMLSchema-datatypes\">"
	"<start>" REFERENCE("overlay") "</start>"

	DEFINE("anything",
		ANY_NUMBER("<attribute><anyName/></attribute>")
		ANY_NUMBER("<choice><element><anyName/>" REFERENCE("anything") "</element><text/></choice>"))
	DEFINE("foreign-element", "<element>" FOREIGN_NAME REFERENCE("anything") "</element>")
	DEFINE("foreign-attributes", ANY_NUMBER("<attribute>" FOREIGN_NAME "<text/></attribute>"))

	DEFINE("overlay", ELEMENT("overlay", "<interleave>"
		"<oneOrMore>" REFERENCE("configuration") "</oneOrMore>"
		ANY_NUMBER(REFERENCE("signature"))
	"</interleave>"))
	DEFINE("configuration", ELEMENT("configuration",
		ATTRIBUTE("instance-name", "string")
		OPTIONAL(ATTRIBUTE("expiration", "dateTime"))
		OPTIONAL(ATTRIBUTE("sequence", "long"))
		REFERENCE("foreign-attributes")
		REFERENCE("parameters")))
	DEFINE("signature", ELEMENT("signature",
		OPTIONAL(ATTRIBUTE("algorithm", "string"))
		DATA("base64Binary")))

	DEFINE("parameters", "<interleave>"
		OPTIONAL_DATA("topology-plugin", "string")
		OPTIONAL_DATA("max-message-size", "unsignedInt")
		OPTIONAL_DATA("initial-ttl", "int")
		OPTIONAL_DATA("overlay-reliability-timer", "unsignedInt")
		ANY_NUMBER_DATA("root-cert", "base64Binary")
		OPTIONAL(ELEMENT("required-kinds", ANY_NUMBER(REFERENCE("kind-block"))))
		ANY_NUMBER_DATA("enrollment-server", "anyURI")
		ANY_NUMBER_DATA("kind-signer", "string")
		ANY_NUMBER_DATA("configuration-signer", "string")
		ANY_NUMBER_DATA("bad-node", "string")
		OPTIONAL_DATA("no-ice", "boolean")
		OPTIONAL_DATA("shared-secret", "string")
		ANY_NUMBER_DATA("overlay-link-protocol", "string")
		OPTIONAL_DATA("clients-permitted", "boolean")
		OPTIONAL_DATA("turn-density", "unsignedByte")
		OPTIONAL_DATA("node-id-length", "int")
		ANY_NUMBER_DATA("mandatory-extension", "string")
		OPTIONAL(ELEMENT("self-signed-permitted", ATTRIBUTE("digest", "string") DATA("boolean")))
		ANY_NUMBER(ELEMENT("bootstrap-node", ATTRIBUTE("address", "string") OPTIONAL(ATTRIBUTE("port", "int")) "<empty/>"))
		OPTIONAL("<element name=\"chord-ping-interval\" ns=\"" NAMESPACE_CHORD "\">" DATA("int") "</element>")
		OPTIONAL("<element name=\"chord-update-interval\" ns=\"" NAMESPACE_CHORD "\">" DATA("int") "</element>")
		OPTIONAL("<element name=\"chord-reactive\" ns=\"" NAMESPACE_CHORD "\">" DATA("boolean") "</element>")
		ANY_NUMBER(REFERENCE("foreign-element"))
	"</interleave>")

	DEFINE("kind-block", ELEMENT("kind-block", "<interleave>"
		ELEMENT("kind",
			"<choice>" ATTRIBUTE("name", "string") ATTRIBUTE("id", "unsignedInt") "</choice>"
			REFERENCE("kind-parameters"))
		OPTIONAL(ELEMENT("kind-signature", OPTIONAL(ATTRIBUTE("algorithm", "string")) DATA("base64Binary")))
	"</interleave>"))
	DEFINE("kind-parameters", "<interleave>"
		ELEMENT("max-count", DATA("int"))
		ELEMENT("max-size", DATA("int"))
		OPTIONAL_DATA("max-node-multiple", "int")
		ELEMENT("data-model", DATA("string"))
		ELEMENT("access-control", DATA("string"))
		ANY_NUMBER(REFERENCE("foreign-element"))
	"</interleave>")
	"</grammar>";
