/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * URIs that lead to one device of a user from everywhere (GRUU, RFC 5627; RFC 7904 6).
 *
 * A public one is the AoR with the name of the device: alice@example.org;gr=urn:uuid:... Other gateways look the user up and ask
 * the user's gateways, of which one knows the device.
 *
 * A temporary one does not say whose it is: tgruu.TOKEN@example.org;gr=LIST. LIST is the destination list of this gateway (RFC 7904
 * 6), of whose users it may be any (S-6-02). TOKEN hides a number that the device has as long as its GRUUs are good, and is another
 * one each time (RFC 5627 5.1): 8 random octets, the number under a keystream made of them, and a code over both.
 */
#include "sip/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <utlist.h>

enum { TOKEN_DIGITS = 48 };

static const char prefix[] = "tgruu.";

/* --- devices --- */

struct sip_device *sip_device_find(const struct registration *registration, const char *instance) {
	for (struct sip_device *device = registration->devices; device; device = device->next)
		if (strcasecmp(device->instance, instance) == 0) /* nearly all of a URN compares so (RFC 8141 3) */
			return device;
	return NULL;
}

static struct sip_device *device_of_number(const struct sip_gateway *gateway, uint64_t number) {
	struct sip_device *device = NULL;

	HASH_FIND(hh, gateway->devices, &number, sizeof(number), device);
	return device;
}

/* Later ones are higher, so that of several that were written down the valid one is known. Nobody gets to see them. */
uint64_t sip_device_number(struct sip_gateway *gateway, const struct sip_device *device) {
	uint64_t number = runtime_realtime_ms(gateway->runtime) << 20 | runtime_random_below(gateway->runtime, UINT64_C(1) << 20);

	if (device && number <= device->number)
		number = device->number + 1;
	while (number == 0 || device_of_number(gateway, number))
		number++;
	return number;
}

/* Without memory for it, the temporary GRUUs of the device lead nowhere, and are not handed out. */
static void give_number(struct sip_device *device, uint64_t number) {
	struct sip_gateway *gateway = device->registration->gateway;

	if (device->number >= number && number != 0)
		return;
	if (device->number != 0)
		HASH_DEL(gateway->devices, device);
	device->number = number != 0 && !device_of_number(gateway, number) ? number : 0;
	if (device->number == 0)
		return;
	HASH_ADD(hh, gateway->devices, number, sizeof(device->number), device);
	if (!device->hh.tbl)
		device->number = 0;
}

struct sip_device *sip_device_take(struct registration *registration, const char *instance, uint64_t number) {
	struct sip_device *device = sip_device_find(registration, instance);

	if (!device) {
		device = calloc(1, sizeof(*device));
		if (!device)
			return NULL;
		device->registration = registration;
		device->instance = strdup(instance);
		if (!device->instance) {
			free(device);
			return NULL;
		}
		LL_PREPEND(registration->devices, device);
	}
	device->bindings++;
	give_number(device, number);
	return device;
}

struct sip_device *sip_device_release(struct sip_device *device) {
	if (!device || --device->bindings > 0)
		return NULL;
	give_number(device, 0); /* RFC 5627 5.3: with the last Contact its temporary GRUUs are gone */
	LL_DELETE(device->registration->devices, device);
	free(device->instance);
	free(device);
	return NULL;
}

/* --- tokens --- */

static uint64_t token_hash(const struct sip_gateway *gateway, const char *use, struct octets octets) {
	uint64_t key[2] = {gateway->dialog_key[0], gateway->dialog_key[1]};

	key[1] ^= keyed_hash(gateway->dialog_key, octets_of_string(use));
	return keyed_hash(key, octets);
}

static uint64_t token_stream(const struct sip_gateway *gateway, uint64_t nonce) {
	return token_hash(gateway, "temporary GRUU: number", OCTETS(&nonce, sizeof(nonce)));
}

static uint64_t token_code(const struct sip_gateway *gateway, uint64_t nonce, uint64_t hidden) {
	const uint64_t both[] = {nonce, hidden};

	return token_hash(gateway, "temporary GRUU: code", OCTETS(both, sizeof(both)));
}

static uint64_t token_part(const char *token, size_t index) {
	char digits[17] = "";

	memcpy(digits, token + 16 * index, 16);
	return strtoull(digits, NULL, 16);
}

static struct sip_device *device_of_token(const struct sip_gateway *gateway, const char *token) {
	if (strlen(token) != TOKEN_DIGITS || strspn(token, "0123456789abcdef") != TOKEN_DIGITS)
		return NULL;
	uint64_t nonce = token_part(token, 0), hidden = token_part(token, 1), code = token_part(token, 2);
	uint64_t wanted = token_code(gateway, nonce, hidden), number = hidden ^ token_stream(gateway, nonce);
	return octets_equal_secret(&wanted, &code, sizeof(code)) ? device_of_number(gateway, number) : NULL;
}

/* --- writing --- */

static void write_escaped(struct writer *w, const char *text) {
	for (const char *c = text; *c; c++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.!~*'()[]/:&+$", *c))
			writer_u8(w, (uint8_t)*c);
		else
			writer_format(w, "%%%02X", (unsigned char)*c);
	}
}

void sip_gruu_write(struct sip_gateway *gateway, const struct sip_device *device, bool secure, struct writer *w) {
	const char *aor = device->registration->aor, *domain = strrchr(aor, '@') + 1;
	char uri[3 * SIP_AOR_OCTETS + 8];
	uint64_t nonce;

	uri_of_aor(aor, secure, uri, sizeof(uri));
	writer_format(w, ";pub-gruu=\"%s;gr=", uri);
	write_escaped(w, device->instance);
	writer_octets(w, octets_of_string("\""));
	if (device->number == 0)
		return;
	runtime_random(gateway->runtime, &nonce, sizeof(nonce));
	uint64_t hidden = device->number ^ token_stream(gateway, nonce);
	writer_format(w, ";temp-gruu=\"%s:%s%016" PRIx64 "%016" PRIx64 "%016" PRIx64 "@%s;gr%s", secure ? "sips" : "sip", prefix,
		      nonce, hidden, token_code(gateway, nonce, hidden), domain, gateway->gruu ? "=" : "");
	write_escaped(w, gateway->gruu ? gateway->gruu : "");
	writer_octets(w, octets_of_string("\""));
}

/* --- reading --- */

static unsigned not_found(const char **ret_reason) {
	*ret_reason = "No Such GRUU";
	return 404;
}

static unsigned read_temporary(const struct sip_gateway *gateway, const char *token, const char *value, struct sip_gruu *ret,
			       char aor[static SIP_AOR_OCTETS + 1], const char **ret_reason) {
	const struct sip_device *device = device_of_token(gateway, token);

	if (device) {
		snprintf(aor, SIP_AOR_OCTETS + 1, "%s", device->registration->aor);
		snprintf(ret->instance, sizeof(ret->instance), "%s", device->instance);
		ret->local = true;
		return 0;
	}
	if (!*value || (gateway->gruu && strcmp(value, gateway->gruu) == 0))
		return not_found(ret_reason); /* RFC 5627 5.1: it was one of ours, or never one */
	return 0;
}

unsigned sip_gruu_read(const struct sip_gateway *gateway, const osip_uri_t *uri, char aor[static SIP_AOR_OCTETS + 1],
		       struct sip_gruu *ret, const char **ret_reason) {
	const char *value = sip_parameter(&uri->url_params, "gr");
	struct writer w = writer_fixed(ret->value, sizeof(ret->value) - 1);

	*ret = (struct sip_gruu){0};
	if (!value)
		return 0;
	ret->is = true;
	write_escaped(&w, value);
	if (writer_finish(&w) < 0)
		return not_found(ret_reason);
	bool temporary = strncmp(aor, prefix, strlen(prefix)) == 0;
	if (temporary) {
		char token[TOKEN_DIGITS + 2];
		snprintf(token, sizeof(token), "%.*s", (int)strcspn(aor + strlen(prefix), "@"), aor + strlen(prefix));
		return read_temporary(gateway, token, value, ret, aor, ret_reason);
	}
	/* The name of a device is a URN; a destination list in base64 has no colon (S-6-01). */
	if (strchr(value, ':') && strlen(value) <= SIP_INSTANCE_OCTETS)
		strcpy(ret->instance, value);
	else if (strchr(value, ':') || !*value)
		return not_found(ret_reason);
	return 0;
}

const char *sip_gruu_question(const struct sip_gruu *gruu, const char *aor, char text[static SIP_GRUU_URI_OCTETS + 1]) {
	if (!gruu->is || gruu->instance[0])
		return aor;
	snprintf(text, SIP_GRUU_URI_OCTETS + 1, "%s;gr=%s", aor, gruu->value);
	return text;
}

bool sip_gruu_names(const struct sip_gruu *gruu, const struct binding *binding) {
	return !gruu->is || !gruu->instance[0] ||
	       (binding && binding->more && binding->more->instance && strcasecmp(binding->more->instance, gruu->instance) == 0);
}
