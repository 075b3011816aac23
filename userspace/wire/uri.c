/* SPDX-License-Identifier: BSD-2-Clause */
#include "wire/uri.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "base/limits.h"
#include "wire/data.h"
#include "wire/list.h"

static const char scheme[] = "reload://";

static bool is_destination_list(const uint8_t *list, size_t length) {
	return length > 0 && destination_list_check(OCTETS(list, length), 0, LIMIT_DESTINATIONS) == 0;
}

static bool is_specifier(const uint8_t *specifier, size_t length) {
	struct reader r = reader_of(specifier, length);
	struct stored_data_specifier parsed;

	return stored_data_specifier_next(&r, &parsed) > 0 && reader_finish(&r) == 0;
}

/* An overlay name is a DNS name (B-6.3.2-03): labels of letters, digits and inner hyphens, separated by single dots. */
static bool is_overlay_name(const char *name, size_t length) {
	size_t label = 0;

	if (length == 0 || length > OVERLAY_NAME_MAX || name[length - 1] == '.')
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char c = (unsigned char)name[i];
		if (c == '.') {
			if (label == 0 || name[i - 1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (c >= 0x80 || !(isalnum(c) || (c == '-' && label > 0)) || ++label > 63)
			return false;
	}
	return name[length - 1] != '-';
}

static int hex_digit(char c) {
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int hex_parse(const char *text, size_t digits, uint8_t *octets, size_t size, size_t *ret_length) {
	if (digits % 2 != 0 || digits / 2 > size)
		return -EINVAL;
	for (size_t i = 0; i < digits / 2; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		octets[i] = (uint8_t)(high << 4 | low);
	}
	*ret_length = digits / 2;
	return 0;
}

int reload_uri_parse(const char *text, struct reload_uri *ret) { /* B-14.15-01 */
	struct reload_uri uri = {0};

	if (strnlen(text, RELOAD_URI_MAX) == RELOAD_URI_MAX || strncasecmp(text, scheme, strlen(scheme)) != 0)
		return -EINVAL;
	const char *destination = text + strlen(scheme), *at = strchr(destination, '@');
	const char *slash = at ? strchr(at, '/') : NULL;
	if (!slash)
		return -EINVAL;
	const char *overlay = at + 1, *specifier = slash + 1;
	size_t overlay_length = (size_t)(slash - overlay);

	if (hex_parse(destination, (size_t)(at - destination), uri.destination_list, sizeof(uri.destination_list),
		      &uri.destination_list_length) < 0 ||
	    !is_destination_list(uri.destination_list, uri.destination_list_length))
		return -EINVAL;
	if (!is_overlay_name(overlay, overlay_length))
		return -EINVAL;
	for (size_t i = 0; i < overlay_length; i++)
		uri.overlay[i] = (char)tolower((unsigned char)overlay[i]);
	if (hex_parse(specifier, strlen(specifier), uri.specifier, sizeof(uri.specifier), &uri.specifier_length) < 0)
		return -EINVAL;
	if (uri.specifier_length > 0 && !is_specifier(uri.specifier, uri.specifier_length))
		return -EINVAL;
	*ret = uri;
	return 0;
}

static char *hex_format(const uint8_t *octets, size_t length, char *text) {
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < length; i++) {
		*text++ = digits[octets[i] >> 4];
		*text++ = digits[octets[i] & 15];
	}
	return text;
}

int reload_uri_format(const struct reload_uri *uri, char *text, size_t size) {
	size_t overlay_length = strnlen(uri->overlay, sizeof(uri->overlay));

	if (uri->destination_list_length > sizeof(uri->destination_list) || uri->specifier_length > sizeof(uri->specifier))
		return -EINVAL;
	if (!is_destination_list(uri->destination_list, uri->destination_list_length) ||
	    !is_overlay_name(uri->overlay, overlay_length) ||
	    (uri->specifier_length > 0 && !is_specifier(uri->specifier, uri->specifier_length)))
		return -EINVAL;
	size_t needed = strlen(scheme) + 2 * uri->destination_list_length + 1 + overlay_length + 1 + 2 * uri->specifier_length + 1;
	if (needed > size || needed > RELOAD_URI_MAX)
		return -ENOBUFS;
	text = stpcpy(text, scheme);
	text = hex_format(uri->destination_list, uri->destination_list_length, text);
	*text++ = '@';
	memcpy(text, uri->overlay, overlay_length);
	text += overlay_length;
	*text++ = '/';
	text = hex_format(uri->specifier, uri->specifier_length, text);
	*text = 0;
	return 0;
}

/* --- GRUU: base64 (RFC 4648 table 1) with "~" for padding --- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
enum { PADDING = '~' };

int gruu_value_format(struct octets destination_list, char *text, size_t size) { /* S-6-01 */
	if (destination_list.length > GRUU_LIST_MAX || !is_destination_list(destination_list.data, destination_list.length))
		return -EINVAL;
	if (size < (destination_list.length + 2) / 3 * 4 + 1)
		return -ENOBUFS;
	for (size_t i = 0; i < destination_list.length; i += 3) {
		size_t count = destination_list.length - i < 3 ? destination_list.length - i : 3;
		uint8_t group[3] = {0};
		memcpy(group, destination_list.data + i, count);
		uint32_t bits = (uint32_t)group[0] << 16 | (uint32_t)group[1] << 8 | group[2];
		*text++ = alphabet[bits >> 18];
		*text++ = alphabet[bits >> 12 & 63];
		*text++ = count > 1 ? alphabet[bits >> 6 & 63] : PADDING;
		*text++ = count > 2 ? alphabet[bits & 63] : PADDING;
	}
	*text = 0;
	return 0;
}

/* One group of four characters: returns 1 to 3 octets, or -EINVAL, also when unused bits are set. */
static int base64_group(const char group[static 4], uint8_t octets[static 3]) {
	uint32_t bits = 0;
	int count = group[2] == PADDING ? 1 : group[3] == PADDING ? 2 : 3;

	for (int i = 0; i < 4; i++) {
		const char *digit = strchr(alphabet, group[i]);
		if (i > count) {
			if (group[i] != PADDING)
				return -EINVAL;
			bits <<= 6;
		} else {
			if (!digit || group[i] == 0)
				return -EINVAL;
			bits = bits << 6 | (uint32_t)(digit - alphabet);
		}
	}
	for (int i = 0; i < 3; i++)
		octets[i] = (uint8_t)(bits >> (16 - 8 * i));
	for (int i = count; i < 3; i++)
		if (octets[i] != 0)
			return -EINVAL;
	return count;
}

int gruu_value_parse(const char *text, uint8_t *list, size_t size, size_t *ret_length) {
	size_t characters = strnlen(text, GRUU_LIST_MAX * 2), length = 0;
	uint8_t octets[GRUU_LIST_MAX + 3];

	if (characters == 0 || characters % 4 != 0 || characters / 4 * 3 > GRUU_LIST_MAX + 2)
		return -EINVAL;
	for (size_t i = 0; i < characters; i += 4) {
		int count = base64_group(text + i, octets + length);
		if (count < 0 || (count < 3 && i + 4 < characters))
			return -EINVAL;
		length += (size_t)count;
	}
	if (length > GRUU_LIST_MAX || !is_destination_list(octets, length))
		return -EINVAL;
	if (length > size)
		return -ENOBUFS;
	memcpy(list, octets, length);
	*ret_length = length;
	return 0;
}
