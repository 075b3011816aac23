/* SPDX-License-Identifier: BSD-2-Clause */
#include "usages/sip_aor.h"

#include "wire/uri.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* Where the parts of a SIP URI lie; none is terminated. */
struct uri_parts {
	const char *user, *host, *port, *parameters;
	size_t user_length, host_length, port_length;
	bool scheme;
};

static size_t host_span(const char *host) {
	if (host[0] == '[') {
		const char *end = strchr(host, ']');
		return end ? (size_t)(end - host) + 1 : 0;
	}
	return strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-");
}

static int split(const char *uri, struct uri_parts *ret) {
	struct uri_parts parts = {.user = uri};

	if (strncasecmp(uri, "sip:", 4) == 0 || strncasecmp(uri, "sips:", 5) == 0) {
		parts.scheme = true;
		parts.user = strchr(uri, ':') + 1;
	}
	const char *at = strchr(parts.user, '@'); /* in the user part it would be escaped */
	if (!at || at == parts.user)
		return -EINVAL;
	parts.user_length = strcspn(parts.user, ":@"); /* a password is no part of the AoR */
	parts.host = at + 1;
	parts.host_length = host_span(parts.host);
	const char *end = parts.host + parts.host_length;
	if (parts.host_length == 0 || parts.user_length == 0)
		return -EINVAL;
	if (*end == ':') {
		parts.port = ++end;
		parts.port_length = strspn(end, "0123456789");
		if (parts.port_length == 0 || parts.port_length > 5)
			return -EINVAL;
		end += parts.port_length;
	}
	if (*end != '\0' && *end != ';' && *end != '?')
		return -EINVAL;
	parts.parameters = end;
	*ret = parts;
	return 0;
}

static int hex_value(char digit) {
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	digit = (char)tolower((unsigned char)digit);
	return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

int sip_aor_of_uri(const char *uri, char *aor, size_t size) {
	struct uri_parts parts;
	struct writer w = writer_fixed(aor, size);

	if (split(uri, &parts) < 0)
		return -EINVAL;
	for (size_t i = 0; i < parts.user_length; i++) { /* S-7-01 */
		int octet = (unsigned char)parts.user[i];
		if (octet == '%') {
			int high = i + 2 < parts.user_length ? hex_value(parts.user[i + 1]) : -1;
			int low = i + 2 < parts.user_length ? hex_value(parts.user[i + 2]) : -1;
			if (high < 0 || low < 0)
				return -EINVAL;
			octet = high << 4 | low;
			i += 2;
		}
		if (octet <= ' ' || octet == 0x7f)
			return -EINVAL;
		writer_u8(&w, (uint8_t)octet);
	}
	writer_u8(&w, '@');
	for (size_t i = 0; i < parts.host_length; i++)
		writer_u8(&w, (uint8_t)tolower((unsigned char)parts.host[i]));
	writer_u8(&w, '\0');
	return writer_finish(&w) < 0 ? -EINVAL : 0;
}

/* The parameter ";name=" of the URI parameters, NULL without. */
static const char *parameter(const struct uri_parts *parts, const char *name, size_t *ret_length) {
	size_t length = strlen(name);
	const char *at = parts->parameters;

	while (*at == ';') {
		size_t span = strcspn(++at, ";?");
		if (span > length && strncasecmp(at, name, length) == 0 && at[length] == '=') {
			*ret_length = span - length - 1;
			return at + length + 1;
		}
		at += span;
	}
	return NULL;
}

int sip_gruu_of_uri(const char *uri, uint8_t *list, size_t size, size_t *ret_length) {
	char value[2 * GRUU_LIST_MAX];
	struct uri_parts parts;
	size_t length;

	if (split(uri, &parts) < 0)
		return -EINVAL;
	const char *text = parameter(&parts, "gr", &length);
	if (!text)
		return -ENOENT;
	if (length >= sizeof(value))
		return -EINVAL;
	memcpy(value, text, length);
	value[length] = '\0';
	return gruu_value_parse(value, list, size, ret_length) < 0 ? -EINVAL : 0; /* S-6-01 */
}

static bool is_address(const char *host) {
	struct in_addr address;

	return host[0] == '[' || inet_pton(AF_INET, host, &address) == 1;
}

bool sip_is_overlay_aor(const struct overlay_config *config, const char *text, const char *home, char aor[static SIP_AOR_SIZE]) {
	const struct kind *kind = overlay_config_kind(config, KIND_SIP_REGISTRATION);
	char found[SIP_AOR_SIZE];
	struct uri_parts parts;
	size_t length;

	if (!kind || split(text, &parts) < 0 || parts.port || parameter(&parts, "gr", &length) ||
	    sip_aor_of_uri(text, found, sizeof(found)) < 0)
		return false;
	const char *domain = strrchr(found, '@') + 1, *home_at = home ? strrchr(home, '@') : NULL;
	if (is_address(domain) || !kind_domain_allowed(kind, found, config->overlay_name))
		return false;
	if (kind->domain_rule == DOMAIN_ANY && strcasecmp(domain, config->overlay_name) != 0 &&
	    (!home_at || strcasecmp(domain, home_at + 1) != 0))
		return false;
	memcpy(aor, found, strlen(found) + 1);
	return true;
}

static bool is_listed(char *const *domains, size_t count, const char *domain) {
	for (size_t i = 0; i < count; i++)
		if (strcasecmp(domains[i], domain) == 0)
			return true;
	return false;
}

bool sip_aor_of_alias(const struct overlay_config *config, char *const *domains, size_t count, const char *aor, bool certified,
		      char ret[static SIP_AOR_SIZE]) {
	const struct kind *kind = overlay_config_kind(config, KIND_SIP_REGISTRATION);
	const char *at = strrchr(aor, '@');

	if (!at || strcasecmp(at + 1, config->overlay_name) == 0 || !is_listed(domains, count, at + 1))
		return false;
	if (kind && kind_domain_allowed(kind, aor, config->overlay_name) && (kind->domain_rule == DOMAIN_PATTERNS || certified))
		return false; /* S-3.3-01 */
	size_t user = (size_t)(at - aor) + 1, domain = strlen(config->overlay_name);
	if (user + domain >= SIP_AOR_SIZE)
		return false;
	memcpy(ret, aor, user);
	for (size_t i = 0; i <= domain; i++) /* AoRs have their domain in lower case */
		ret[user + i] = (char)tolower((unsigned char)config->overlay_name[i]);
	return true;
}
