/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { URI_PARAMETERS = 32 /* of a URI we compare; one with more is not accepted */ };

bool uri_is_secure(const osip_uri_t *uri) {
	return uri->scheme && strcasecmp(uri->scheme, "sips") == 0;
}

bool uri_is_sip(const osip_uri_t *uri) {
	return uri->scheme && (strcasecmp(uri->scheme, "sip") == 0 || uri_is_secure(uri)) && uri->host && *uri->host;
}

/* What may stand in a host, in lower case. */
static const char lower_host[256] = {
	['A'] = 'a', 'b', 'c', 'd', 'e',	 'f', 'g', 'h',		'i',	     'j',	  'k',
	'l',	     'm', 'n', 'o', 'p',	 'q', 'r', 's',		't',	     'u',	  'v',
	'w',	     'x', 'y', 'z', ['a'] = 'a', 'b', 'c', 'd',		'e',	     'f',	  'g',
	'h',	     'i', 'j', 'k', 'l',	 'm', 'n', 'o',		'p',	     'q',	  'r',
	's',	     't', 'u', 'v', 'w',	 'x', 'y', 'z',		['0'] = '0', '1',	  '2',
	'3',	     '4', '5', '6', '7',	 '8', '9', ['-'] = '-', ['.'] = '.', [':'] = ':', ['_'] = '_',
};

int uri_domain(const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]) {
	if (!uri_is_sip(uri))
		return -EINVAL;
	size_t length = strlen(uri->host);
	if (length > 1 && uri->host[length - 1] == '.')
		length--;
	if (length > SIP_AOR_OCTETS)
		return -ENAMETOOLONG;
	for (size_t i = 0; i < length; i++)
		if (lower_host[(uint8_t)uri->host[i]] == 0)
			return -EINVAL;
	for (size_t i = 0; i < length; i++)
		ret[i] = lower_host[(uint8_t)uri->host[i]];
	ret[length] = 0;
	return 0;
}

static bool is_visible(const char *text, size_t length) {
	bool visible = true;

	for (size_t i = 0; i < length; i++)
		visible = visible && text[i] > ' ' && text[i] < 0x7f;
	return visible;
}

/* The parser has unescaped the user part. An AoR is a certificate's rfc822Name: visible ASCII with one "@" (RFC 7904 3.3). */
int uri_aor(const osip_uri_t *uri, char ret[static SIP_AOR_OCTETS + 1]) {
	char domain[SIP_AOR_OCTETS + 1];

	int error = uri_domain(uri, domain);
	if (error < 0)
		return error;
	if (!uri->username || !*uri->username)
		return -EINVAL;
	size_t length = strlen(uri->username);
	if (length + 1 + strlen(domain) > SIP_AOR_OCTETS)
		return -ENAMETOOLONG;
	if (!is_visible(uri->username, length) || uri->username[strcspn(uri->username, "@<>\"\\")] != 0)
		return -EINVAL;
	memcpy(ret, uri->username, length);
	ret[length] = '@';
	strcpy(ret + length + 1, domain);
	return 0;
}

void uri_of_aor(const char *aor, bool secure, char *text, size_t size) {
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()&=+$,";
	const char *at = strrchr(aor, '@');
	struct writer w = writer_fixed(text, size - 1);

	writer_octets(&w, octets_of_string(secure ? "sips:" : "sip:"));
	for (const char *c = aor; *c; c++) {
		if (c >= at || strchr(plain, *c))
			writer_u8(&w, (uint8_t)*c);
		else
			writer_format(&w, "%%%02X", (unsigned char)*c);
	}
	text[writer_octets_written(&w).length] = 0;
}

static bool same_text(const char *a, const char *b) {
	return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

static bool same_parameter(const char *a, const char *b) {
	return (!a && !b) || (a && b && strcasecmp(a, b) == 0);
}

/* Is every parameter of `a` that `b` has, too, the same there? With `all`, `b` must have each. */
static bool parameters_match(const osip_list_t *a, const osip_list_t *b, bool all) {
	osip_list_iterator_t at;

	for (osip_uri_param_t *parameter = osip_list_get_first(a, &at); osip_list_iterator_has_elem(at);
	     parameter = osip_list_get_next(&at)) {
		if (!parameter || !parameter->gname)
			continue;
		const char *other = sip_parameter(b, parameter->gname);
		if ((all && !other) || (other && strcasecmp(other, parameter->gvalue ? parameter->gvalue : "") != 0))
			return false;
	}
	return true;
}

bool uri_equal(const osip_uri_t *a, const osip_uri_t *b) {
	/* These distinguish even when only one URI has them. transport is among them because of the examples in 19.1.4. */
	static const char *const distinguishing[] = {"transport", "user", "ttl", "method", "maddr"};

	if (!a->scheme || !b->scheme || strcasecmp(a->scheme, b->scheme) != 0)
		return false;
	if (!uri_is_sip(a) || !uri_is_sip(b))
		return a->string && same_text(a->string, b->string);
	if (!same_text(a->username, b->username) || !same_text(a->password, b->password) || strcasecmp(a->host, b->host) != 0 ||
	    !same_text(a->port, b->port))
		return false;
	for (size_t i = 0; i < ARRAY_LENGTH(distinguishing); i++)
		if (!same_parameter(sip_parameter(&a->url_params, distinguishing[i]),
				    sip_parameter(&b->url_params, distinguishing[i])))
			return false;
	return parameters_match(&a->url_params, &b->url_params, false) && parameters_match(&b->url_params, &a->url_params, false) &&
	       parameters_match(&a->url_headers, &b->url_headers, true) && parameters_match(&b->url_headers, &a->url_headers, true);
}

bool uri_text_valid(const char *text) {
	size_t length = strnlen(text, SIP_CONTACT_OCTETS + 1);

	if (length == 0 || length > SIP_CONTACT_OCTETS)
		return false;
	return is_visible(text, length) && text[strcspn(text, "<>\"")] == 0;
}

osip_uri_t *uri_parse(const char *text) {
	_cleanup_(uri_freep) osip_uri_t *uri = NULL;
	unsigned separators = 0;

	if (!uri_text_valid(text))
		return NULL;
	for (const char *c = text; *c; c++)
		separators += *c == ';' || *c == '&';
	if (separators > URI_PARAMETERS || osip_uri_init(&uri) != OSIP_SUCCESS)
		return NULL;
	if (sip_parsed(osip_uri_parse(uri, text)) < 0 || !uri->scheme || (!uri_is_sip(uri) && !uri->string))
		return NULL;
	return TAKE(uri);
}

osip_uri_t *uri_free(osip_uri_t *uri) {
	if (uri)
		osip_uri_free(uri);
	return NULL;
}

bool uri_names_address(const osip_uri_t *uri, const struct address *address) {
	uint8_t octets[16] = {0};

	if (!uri_is_sip(uri) || address->family == 0 || inet_pton(address->family, uri->host, octets) != 1)
		return false;
	if (memcmp(octets, address->octets, sizeof(octets)) != 0)
		return false;
	return !uri->port || (unsigned long)address->port == strtoul(uri->port, NULL, 10);
}
