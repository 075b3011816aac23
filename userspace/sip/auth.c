/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Digest authentication (RFC 3261 22, RFC 7616, RFC 8760). A nonce costs us nothing until somebody has answered it with the right
 * password: it carries its serial number, its time and a code over both and the address it was given to. From then on the counts
 * that were used with it are remembered, so that an answer that was overheard is of no use (RFC 7616 5.5).
 */
#include "base/log.h"
#include "sip/sibling.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NONCE_DIGITS = 40, COUNT_DIGITS = 8, COUNT_WINDOW = 64, CNONCE_OCTETS = 256 };

struct sip_nonce {
	uint64_t serial;
	uint64_t seen; /* bit i: the count highest - i was used */
	uint32_t highest;
	UT_hash_handle hh;
};

/* --- the header field --- */

enum parameter { USERNAME, REALM, NONCE, URI, RESPONSE, ALGORITHM, CNONCE, QOP, COUNT, PARAMETERS };

static const char *const parameter_names[PARAMETERS] = {
	[USERNAME] = "username",   [REALM] = "realm",	[NONCE] = "nonce", [URI] = "uri",  [RESPONSE] = "response",
	[ALGORITHM] = "algorithm", [CNONCE] = "cnonce", [QOP] = "qop",	   [COUNT] = "nc",
};

struct credentials {
	struct octets value[PARAMETERS]; /* without quotes; data NULL when it is not there */
	enum sip_digest algorithm;
};

static uint8_t peek(const struct reader *r) {
	struct reader ahead = *r;

	return reader_left(&ahead) > 0 ? reader_u8(&ahead) : 0;
}

static bool is_blank(uint8_t c) {
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip(struct reader *r, bool commas) {
	while (is_blank(peek(r)) || (commas && peek(r) == ','))
		reader_u8(r);
}

/* What there is up to one of `ends` or white space. */
static struct octets read_word(struct reader *r, const char *ends) {
	struct reader ahead = *r;
	size_t length = 0;

	while (reader_left(&ahead) > 0) {
		uint8_t c = reader_u8(&ahead);
		if (is_blank(c) || strchr(ends, c))
			break;
		length++;
	}
	return reader_octets(r, length);
}

/* A quoted string without its quotes, or a token. A quoted pair stays as it is: the hash is over what was sent. */
static int read_value(struct reader *r, struct octets *ret) {
	struct reader ahead;
	size_t length = 0;
	bool closed = false;

	if (peek(r) != '"') {
		*ret = read_word(r, ",");
		return ret->length > 0 ? 0 : -EBADMSG;
	}
	reader_u8(r);
	ahead = *r;
	while (!closed && reader_left(&ahead) > 0) {
		uint8_t c = reader_u8(&ahead);
		closed = c == '"';
		length += !closed;
		if (c == '\\' && reader_left(&ahead) > 0) {
			reader_u8(&ahead);
			length++;
		}
	}
	if (!closed)
		return -EBADMSG;
	*ret = reader_octets(r, length);
	reader_u8(r);
	return 0;
}

static bool same_word(struct octets octets, const char *word) {
	return octets.length == strlen(word) && strncasecmp((const char *)octets.data, word, octets.length) == 0;
}

static int read_parameter(struct reader *r, struct credentials *credentials) {
	struct octets name = read_word(r, "=,"), value = OCTETS_NONE;

	skip(r, false);
	if (name.length == 0 || reader_u8(r) != '=')
		return -EBADMSG;
	skip(r, false);
	if (read_value(r, &value) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < PARAMETERS; i++) {
		if (!same_word(name, parameter_names[i]))
			continue;
		if (credentials->value[i].data)
			return -EBADMSG;
		credentials->value[i] = value;
	}
	return 0;
}

/* Returns -ENOENT for another scheme, -EBADMSG. */
static int credentials_parse(struct octets field, struct credentials *ret) {
	struct reader r = reader_of_octets(field);
	struct credentials credentials = {0};

	if (!same_word(read_word(&r, ","), "Digest"))
		return -ENOENT;
	for (skip(&r, true); reader_left(&r) > 0; skip(&r, true)) {
		if (read_parameter(&r, &credentials) < 0)
			return -EBADMSG;
		skip(&r, false);
		if (reader_left(&r) > 0 && peek(&r) != ',')
			return -EBADMSG;
	}
	*ret = credentials;
	return 0;
}

bool sip_credentials_ours(struct sip_gateway *gateway, struct octets value) {
	char realm[SIP_AOR_OCTETS + 1];
	struct credentials credentials;

	if (credentials_parse(value, &credentials) < 0 || !credentials.value[REALM].data ||
	    credentials.value[REALM].length > SIP_AOR_OCTETS)
		return false;
	memcpy(realm, credentials.value[REALM].data, credentials.value[REALM].length);
	realm[credentials.value[REALM].length] = 0;
	for (char *c = realm; *c; c++)
		*c = ascii_lower(*c);
	return gateway->events.domain(gateway->events.userdata, realm);
}

/* --- nonces --- */

static uint64_t nonce_code(const struct sip_gateway *gateway, uint64_t serial, uint32_t time_s, const struct address *source) {
	uint8_t octets[8 + 4 + sizeof(source->octets)];
	struct writer w = writer_fixed(octets, sizeof(octets));

	writer_u64(&w, serial);
	writer_u32(&w, time_s);
	writer_raw(&w, source->octets, sizeof(source->octets));
	return keyed_hash(gateway->auth.nonce_key, writer_octets_written(&w));
}

static uint32_t now_s(const struct sip_gateway *gateway) {
	return (uint32_t)(gateway->runtime->now_us / USEC_PER_SEC);
}

static void nonce_write(struct sip_gateway *gateway, const struct address *source, char ret[static NONCE_DIGITS + 1]) {
	uint64_t serial = ++gateway->auth.serial;
	uint32_t time_s = now_s(gateway);

	snprintf(ret, NONCE_DIGITS + 1, "%016" PRIx64 "%08" PRIx32 "%016" PRIx64, serial, time_s,
		 nonce_code(gateway, serial, time_s, source));
}

/* Hexadecimal digits, all of them. */
static int read_digits(struct octets text, uint64_t *ret) {
	uint64_t value = 0;

	for (size_t i = 0; i < text.length; i++) {
		uint8_t c = text.data[i] | 0x20;
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return -EINVAL;
		value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*ret = value;
	return 0;
}

/* Is it one of ours, given to this address, and not too old? */
static bool nonce_ours(const struct sip_gateway *gateway, struct octets text, const struct address *source, uint64_t *ret_serial) {
	struct reader r = reader_of_octets(text);
	uint64_t serial = 0, time_s = 0, code = 0;

	if (text.length != NONCE_DIGITS || read_digits(reader_octets(&r, 16), &serial) < 0 ||
	    read_digits(reader_octets(&r, 8), &time_s) < 0 || read_digits(reader_octets(&r, 16), &code) < 0)
		return false;
	uint64_t wanted = nonce_code(gateway, serial, (uint32_t)time_s, source);
	*ret_serial = serial;
	return octets_equal_secret(&wanted, &code, sizeof(code)) && now_s(gateway) - (uint32_t)time_s < SIP_NONCE_SECONDS;
}

static void nonce_forget(struct sip_gateway *gateway, struct sip_nonce *nonce) {
	if (nonce->serial > gateway->auth.floor)
		gateway->auth.floor = nonce->serial;
	HASH_DEL(gateway->auth.nonces, nonce);
	free(nonce);
}

/* Counts one use. False when that was there before, or nobody can tell any more: then the nonce is stale. */
static bool nonce_use(struct sip_gateway *gateway, uint64_t serial, uint32_t count) {
	struct sip_nonce *nonce = NULL;

	HASH_FIND(hh, gateway->auth.nonces, &serial, sizeof(serial), nonce);
	if (!nonce) {
		if (serial <= gateway->auth.floor)
			return false;
		while (HASH_COUNT(gateway->auth.nonces) >= SIP_NONCES)
			nonce_forget(gateway, gateway->auth.nonces);
		nonce = calloc(1, sizeof(*nonce));
		if (!nonce || serial <= gateway->auth.floor) {
			free(nonce);
			return false;
		}
		nonce->serial = serial;
		nonce->highest = count;
		nonce->seen = 1;
		HASH_ADD(hh, gateway->auth.nonces, serial, sizeof(nonce->serial), nonce);
		if (!nonce->hh.tbl) {
			free(nonce);
			return false;
		}
		return true;
	}
	if (count > nonce->highest) {
		uint32_t step = count - nonce->highest;
		nonce->seen = step < COUNT_WINDOW ? nonce->seen << step | 1 : 1;
		nonce->highest = count;
		return true;
	}
	uint32_t age = nonce->highest - count;
	if (age >= COUNT_WINDOW || nonce->seen >> age & 1)
		return false;
	nonce->seen |= UINT64_C(1) << age;
	return true;
}

/* --- wrong passwords --- */

/* The place that counts for this address: its own, else the one that is forgotten first. */
static struct sip_failures *failures_of(struct sip_gateway *gateway, const struct address *source) {
	uint64_t tag = keyed_hash(gateway->auth.failure_key, OCTETS(source->octets, sizeof(source->octets)));
	struct sip_failures *set = gateway->auth.failures[tag % SIP_FAILURE_SETS], *oldest = set;

	for (size_t i = 0; i < SIP_FAILURE_WAYS; i++) {
		if (set[i].tag == tag)
			return &set[i];
		if (set[i].level_us < oldest->level_us)
			oldest = &set[i];
	}
	*oldest = (struct sip_failures){.tag = tag};
	return oldest;
}

static void note_failure(struct sip_gateway *gateway, const struct address *source, const char *username, const char *realm) {
	struct sip_failures *failures = failures_of(gateway, source);
	uint64_t now_us = gateway->runtime->now_us;
	char text[ADDRESS_TEXT_SIZE];

	gateway->figures.auth_failures++;
	/* One line when it begins: who guesses shall not fill the log. */
	if (failures->level_us <= now_us)
		log_notice("SIP: wrong password or unknown user name \"%s\" (domain %s) from %s.", username, realm,
			   address_format(source, text));
	failures->level_us = (failures->level_us > now_us ? failures->level_us : now_us) + SIP_AUTH_FAILURE_SECONDS * USEC_PER_SEC;
}

static uint64_t barred_us(struct sip_gateway *gateway, const struct address *source) {
	const uint64_t most_us = gateway->runtime->now_us + SIP_AUTH_FAILURES * SIP_AUTH_FAILURE_SECONDS * USEC_PER_SEC;
	const struct sip_failures *failures = failures_of(gateway, source);

	return failures->level_us > most_us ? failures->level_us - most_us : 0;
}

/* --- judging --- */

enum verdict { GOOD, STALE, BAD, NONE, MALFORMED };

static int digest_response(struct sip_gateway *gateway, const struct credentials *credentials, struct octets method,
			   const char *ha1, char ret[static SIP_DIGEST_SIZE]) {
	struct digest *digest = gateway->auth.digests[credentials->algorithm];
	const struct octets request[] = {method, credentials->value[URI]};
	char ha2[SIP_DIGEST_SIZE];

	int error = digest_parts(digest, request, ARRAY_LENGTH(request), ha2);
	const struct octets parts[] = {
		octets_of_string(ha1),	    credentials->value[NONCE], credentials->value[COUNT],
		credentials->value[CNONCE], credentials->value[QOP],   octets_of_string(ha2),
	};
	return error < 0 ? error : digest_parts(digest, parts, ARRAY_LENGTH(parts), ret);
}

static bool has_address(const osip_uri_t *uri) {
	uint8_t octets[16];

	return inet_pton(strchr(uri->host, ':') ? AF_INET6 : AF_INET, uri->host, octets) == 1;
}

/*
 * The URI the digest is over is the one that is asked for (RFC 7616 3.4.6), perhaps in another spelling. A registrar is one thing
 * under all its names, and some phones write its address, or that of the gateway of another overlay that has passed on what they
 * sent.
 */
static bool names_request(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			  struct octets octets) {
	_cleanup_(uri_freep) osip_uri_t *uri = NULL;
	char text[SIP_CONTACT_OCTETS + 1], domain[SIP_AOR_OCTETS + 1];

	if (octets_equal(octets, request->frame.uri))
		return true;
	if (octets.length > SIP_CONTACT_OCTETS)
		return false;
	memcpy(text, octets.data, octets.length);
	text[octets.length] = 0;
	uri = uri_parse(text);
	if (!uri || !uri_is_sip(uri) || request->method != SIP_REGISTER)
		return uri && uri_equal(uri, request->message->req_uri);
	return gateway_owns_address(gateway, uri, flow) || (sip_sibling_at(gateway, &flow->remote) && has_address(uri)) ||
	       (uri_domain(uri, domain) == 0 && gateway->events.domain(gateway->events.userdata, domain));
}

static bool complete(const struct credentials *credentials) {
	static const enum parameter needed[] = {USERNAME, REALM, NONCE, URI, RESPONSE, CNONCE, QOP, COUNT};

	for (size_t i = 0; i < ARRAY_LENGTH(needed); i++)
		if (!credentials->value[needed[i]].data)
			return false;
	return same_word(credentials->value[QOP], "auth") && credentials->value[COUNT].length == COUNT_DIGITS &&
	       credentials->value[USERNAME].length <= SIP_AOR_OCTETS && credentials->value[CNONCE].length <= CNONCE_OCTETS;
}

static enum verdict judge(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
			  const struct address *source, const struct credentials *credentials, const char *realm,
			  char username[static SIP_AOR_OCTETS + 1]) {
	struct octets name = credentials->value[USERNAME], answer = credentials->value[RESPONSE];
	char ha1[SIP_DIGEST_SIZE] = "", wanted[SIP_DIGEST_SIZE] = "";
	uint64_t count = 0, serial = 0;

	if (!complete(credentials) || read_digits(credentials->value[COUNT], &count) < 0 || count == 0 ||
	    !names_request(gateway, request, flow, credentials->value[URI]))
		return MALFORMED;
	/* Without a look at the password: else guesses with made-up nonces would be told from right ones, and never counted. */
	if (!nonce_ours(gateway, credentials->value[NONCE], source, &serial))
		return STALE;
	memcpy(username, name.data, name.length);
	username[name.length] = 0;
	/* A name nobody has takes as long as one that has a password. */
	bool known = strlen(username) == name.length &&
		     gateway->events.secret(gateway->events.userdata, username, realm, credentials->algorithm, ha1);
	bool hashed = digest_response(gateway, credentials, request->frame.method, known ? ha1 : "0", wanted) == 0;
	bool right = hashed && known && answer.length == strlen(wanted) && octets_equal_secret(wanted, answer.data, answer.length);
	octets_wipe(ha1, sizeof(ha1));
	octets_wipe(wanted, sizeof(wanted));
	if (!right)
		return BAD;
	return nonce_use(gateway, serial, (uint32_t)count) ? GOOD : STALE;
}

static bool offered(const struct sip_gateway *gateway, struct credentials *credentials) {
	struct octets name = credentials->value[ALGORITHM];

	for (unsigned i = 0; i < SIP_DIGESTS; i++)
		if (gateway->auth.digests[i] && (name.data ? same_word(name, digest_name(i)) : i == SIP_DIGEST_MD5)) {
			credentials->algorithm = i;
			return true;
		}
	return false;
}

/* Of several fields the one for our realm counts (RFC 3261 22.3), of those the first. */
static enum verdict find_and_judge(struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow,
				   const struct address *source, const char *realm, bool proxy,
				   char username[static SIP_AOR_OCTETS + 1]) {
	const char *name = proxy ? "Proxy-Authorization" : "Authorization";
	struct credentials credentials;
	struct octets field;
	size_t position = 0;

	while (sip_frame_next_field(&request->frame, name, &position, &field)) {
		int error = credentials_parse(field, &credentials);
		if (error == -EBADMSG)
			return MALFORMED;
		if (error == 0 && credentials.value[REALM].data && same_word(credentials.value[REALM], realm) &&
		    offered(gateway, &credentials))
			return judge(gateway, request, flow, source, &credentials, realm, username);
	}
	return NONE;
}

/*
 * Whose answer it is: the phone's, as far as a gateway of another overlay tells, which passes on what many phones send. It is named
 * in the settings, and what it writes about who has sent a request is believed.
 */
static struct address asker(const struct sip_gateway *gateway, const struct sip_request *request, const struct sip_flow *flow) {
	struct address address = flow->remote, found = {0};
	const char *host, *port;

	const osip_via_t *via = sip_sibling_at(gateway, &flow->remote) ? osip_list_get(&request->message->vias, 1) : NULL;
	if (!via)
		return address;
	host = sip_parameter(&via->via_params, "received");
	port = sip_parameter(&via->via_params, "rport");
	if (!host)
		host = via->host;
	found.family = strchr(host, ':') ? AF_INET6 : AF_INET;
	uint32_t number = 0;
	if (inet_pton(found.family, host, found.octets) != 1)
		return address;
	if (port && sip_number_parse(octets_of_string(port), &number) == 0 && number <= UINT16_MAX)
		found.port = (uint16_t)number;
	return found;
}

/* --- answers --- */

/* The strongest first (RFC 8760 2.4); one nonce will do for all. */
static void challenge(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct address *source,
		      const char *realm, bool proxy, bool stale) {
	struct writer w = writer_growing(LIMIT_SIP_MESSAGE);
	char nonce[NONCE_DIGITS + 1];

	nonce_write(gateway, source, nonce);
	for (unsigned i = 0; i < SIP_DIGESTS; i++)
		if (gateway->auth.digests[i])
			writer_format(&w, "%s: Digest realm=\"%s\", nonce=\"%s\", algorithm=%s, qop=\"auth\"%s\r\n",
				      proxy ? "Proxy-Authenticate" : "WWW-Authenticate", realm, nonce, digest_name(i),
				      stale ? ", stale=true" : "");
	gateway->figures.challenges++;
	sip_transaction_respond(transaction, proxy ? 407 : 401, proxy ? "Proxy Authentication Required" : "Unauthorized",
				writer_octets_written(&w));
	writer_release(&w);
}

bool sip_authenticate(struct sip_gateway *gateway, struct sip_transaction *transaction, const struct sip_request *request,
		      const char *realm, bool proxy, char user[static SIP_AOR_OCTETS + 1]) {
	char username[SIP_AOR_OCTETS + 1] = "";
	const struct address source = asker(gateway, request, &transaction->flow);

	uint64_t barred = barred_us(gateway, &source);
	if (barred > 0) {
		sip_respond_unavailable(transaction, "Too Many Wrong Passwords", (unsigned)(barred / USEC_PER_SEC) + 1);
		return false;
	}
	enum verdict verdict = find_and_judge(gateway, request, &transaction->flow, &source, realm, proxy, username);
	if (verdict == MALFORMED) {
		sip_transaction_respond(transaction, 400, "Malformed Authorization", OCTETS_NONE);
		return false;
	}
	if (verdict == BAD)
		note_failure(gateway, &source, username, realm);
	if (verdict != GOOD) {
		challenge(gateway, transaction, &source, realm, proxy, verdict == STALE);
		return false;
	}
	int length = strchr(username, '@') ? snprintf(user, SIP_AOR_OCTETS + 1, "%s", username)
					   : snprintf(user, SIP_AOR_OCTETS + 1, "%s@%s", username, realm);
	if (length > SIP_AOR_OCTETS) {
		sip_transaction_respond(transaction, 403, "User Name Too Long", OCTETS_NONE);
		return false;
	}
	return true;
}

/* --- the gateway's part --- */

int sip_auth_open(struct sip_gateway *gateway, unsigned offered) {
	struct sip_auth *auth = &gateway->auth;
	bool any = false;

	auth->on = gateway->events.secret != NULL;
	if (!auth->on)
		return 0;
	runtime_random(gateway->runtime, auth->nonce_key, sizeof(auth->nonce_key));
	runtime_random(gateway->runtime, auth->failure_key, sizeof(auth->failure_key));
	for (unsigned i = 0; i < SIP_DIGESTS; i++) {
		if (offered != 0 && !(offered & 1u << i))
			continue;
		int error = digest_new(i, &auth->digests[i]);
		if (error == -ENOMEM)
			return error;
		any = any || error == 0;
	}
	return any ? 0 : -EOPNOTSUPP;
}

void sip_auth_close(struct sip_gateway *gateway) {
	struct sip_auth *auth = &gateway->auth;

	while (auth->nonces)
		nonce_forget(gateway, auth->nonces);
	for (unsigned i = 0; i < SIP_DIGESTS; i++)
		auth->digests[i] = digest_free(auth->digests[i]);
	octets_wipe(auth->nonce_key, sizeof(auth->nonce_key));
}
