/* SPDX-License-Identifier: BSD-2-Clause */
#include "sip/trunk.h"

#include "base/log.h"
#include "sip/trunk_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- settings --- */

/* "00=+" or "+4940123=alice@example.org": a word with "=" in it. */
static int add_rule(struct trunk_rule *rules, size_t *count, char *word) {
	char *equals = strchr(word, '=');

	if (*count == TRUNK_RULES || !equals || (size_t)(equals - word) >= sizeof(rules->from) ||
	    strlen(equals + 1) >= sizeof(rules->to))
		return -EINVAL;
	struct trunk_rule *rule = &rules[(*count)++];
	snprintf(rule->from, sizeof(rule->from), "%.*s", (int)(equals - word), word);
	snprintf(rule->to, sizeof(rule->to), "%s", equals + 1);
	return 0;
}

static int read_rules(const char *text, struct trunk_rule *rules, size_t *count) {
	_cleanup_free_ char *copy = strdup(text ? text : "");
	char *position = NULL;
	int error = 0;

	if (!copy)
		return -ENOMEM;
	for (char *word = strtok_r(copy, " \t,", &position); word && error == 0; word = strtok_r(NULL, " \t,", &position))
		error = add_rule(rules, count, word);
	return error;
}

static bool is_dialable(const char *text) {
	return strspn(text, "+0123456789*#") == strlen(text);
}

static int check_rules(const struct sip_trunk *trunk) {
	for (size_t i = 0; i < trunk->number_count; i++)
		if (!is_dialable(trunk->numbers[i].from) || !is_dialable(trunk->numbers[i].to))
			return -EINVAL;
	for (size_t i = 0; i < trunk->incoming_count; i++) {
		const struct trunk_rule *rule = &trunk->incoming[i];
		if ((strcmp(rule->from, "*") != 0 && !uri_text_valid(rule->from)) || !strchr(rule->to, '@') ||
		    !uri_text_valid(rule->to))
			return -EINVAL;
	}
	return 0;
}

static int read_password(const char *path, char **ret) {
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	char line[256];

	if (!file)
		return -errno;
	if (!fgets(line, sizeof(line), file))
		return -ENODATA;
	line[strcspn(line, "\r\n")] = 0;
	*ret = line[0] ? strdup(line) : NULL;
	octets_wipe(line, sizeof(line));
	return *ret ? 0 : -ENODATA;
}

static struct sip_trunk *trunk_free(struct sip_trunk *trunk) {
	if (!trunk)
		return NULL;
	trunk_register_end(trunk);
	if (trunk->password)
		octets_wipe(trunk->password, strlen(trunk->password));
	uri_free(trunk->server);
	free(trunk->text);
	free(trunk->password);
	free(trunk->user);
	free(trunk->caller_id);
	free(trunk);
	return NULL;
}

static int copy_text(const char *text, char **ret) {
	if (!text)
		return 0;
	if (!uri_text_valid(text))
		return -EINVAL;
	*ret = strdup(text);
	return *ret ? 0 : -ENOMEM;
}

static int trunk_read(struct sip_trunk *trunk, const struct sip_trunk_settings *settings, char *reason, size_t reason_size) {
	struct sip_hop hop;

	snprintf(trunk->name, sizeof(trunk->name), "%s", settings->name);
	trunk->server = settings->server ? uri_parse(settings->server) : NULL;
	if (!trunk->server || !uri_is_sip(trunk->server)) {
		snprintf(reason, reason_size, "[trunk %s] server must be a SIP URI such as sip:sip.example.com", settings->name);
		return -EINVAL;
	}
	int error = read_rules(settings->numbers, trunk->numbers, &trunk->number_count);
	if (error == 0)
		error = read_rules(settings->incoming, trunk->incoming, &trunk->incoming_count);
	if (error == 0)
		error = check_rules(trunk);
	if (error == 0)
		error = copy_text(settings->server, &trunk->text);
	if (error == 0)
		error = copy_text(settings->user, &trunk->user);
	if (error == 0)
		error = copy_text(settings->caller_id, &trunk->caller_id);
	if (error < 0) {
		snprintf(reason, reason_size,
			 "[trunk %s] numbers are pairs such as 00=+, incoming ones such as +4940123=alice@example.org, at most %d "
			 "of each",
			 settings->name, TRUNK_RULES);
		return error;
	}
	error = settings->password_file ? read_password(settings->password_file, &trunk->password) : 0;
	if (error < 0) {
		snprintf(reason, reason_size, "[trunk %s] the password file %s cannot be read: %s", settings->name,
			 settings->password_file, strerror(-error));
		return error;
	}
	if (settings->registers && !trunk->user) {
		snprintf(reason, reason_size, "[trunk %s] register = yes needs a user", settings->name);
		return -EINVAL;
	}
	trunk->registers = settings->registers;
	if (sip_hop_of_uri(trunk->server, &hop) == 0)
		sip_trunk_found(trunk, &hop, 1);
	return 0;
}

int sip_trunks_open(struct sip_gateway *gateway, const struct sip_trunk_settings *settings, size_t count, char *reason,
		    size_t reason_size) {
	if (count > SIP_TRUNKS) {
		snprintf(reason, reason_size, "more than %d trunks", SIP_TRUNKS);
		return -E2BIG;
	}
	for (size_t i = 0; i < count; i++) {
		struct sip_trunk *trunk = calloc(1, sizeof(*trunk));
		if (!trunk)
			return -ENOMEM;
		gateway->trunks[gateway->trunk_count++] = trunk;
		trunk->gateway = gateway;
		trunk->index = i;
		trunk_register_init(trunk);
		int error = trunk_read(trunk, &settings[i], reason, reason_size);
		if (error < 0)
			return error;
	}
	return 0;
}

void sip_trunks_close(struct sip_gateway *gateway) {
	while (gateway->trunk_count > 0)
		trunk_free(gateway->trunks[--gateway->trunk_count]);
}

/* --- numbers --- */

bool sip_trunk_number(const osip_uri_t *uri, char ret[static SIP_TRUNK_NUMBER]) {
	const char *text = uri_is_sip(uri)					? uri->username
			   : uri->scheme && strcasecmp(uri->scheme, "tel") == 0 ? uri->string
										: NULL;
	size_t length = 0;

	for (; text && *text && *text != ';'; text++) {
		if (strchr("-.()", *text) && length > 0)
			continue;
		if (!strchr("+0123456789*#", *text) || (*text == '+' && length > 0) || length + 1 >= SIP_TRUNK_NUMBER)
			return false;
		ret[length++] = *text;
	}
	ret[length] = 0;
	return length > 0;
}

/* The longest beginning counts. */
static const struct trunk_rule *rule_for(const struct sip_trunk *trunk, const char *number) {
	const struct trunk_rule *found = NULL;

	for (size_t i = 0; i < trunk->number_count; i++) {
		const struct trunk_rule *rule = &trunk->numbers[i];
		if (strncmp(number, rule->from, strlen(rule->from)) == 0 && (!found || strlen(rule->from) > strlen(found->from)))
			found = rule;
	}
	return found;
}

struct sip_trunk *sip_trunk_for(struct sip_gateway *gateway, const char *number, size_t first,
				char uri[static SIP_CONTACT_OCTETS]) {
	for (size_t i = first; i < gateway->trunk_count; i++) {
		struct sip_trunk *trunk = gateway->trunks[i];
		const struct trunk_rule *rule = rule_for(trunk, number);
		if (!rule)
			continue;
		const osip_uri_t *server = trunk->server;
		bool ipv6 = strchr(server->host, ':') != NULL;
		snprintf(uri, SIP_CONTACT_OCTETS, "%s:%s%s@%s%s%s%s%s;user=phone", server->scheme, rule->to,
			 number + strlen(rule->from), ipv6 ? "[" : "", server->host, ipv6 ? "]" : "", server->port ? ":" : "",
			 server->port ? server->port : "");
		return trunk;
	}
	return NULL;
}

bool sip_trunk_has_password(const struct sip_trunk *trunk) {
	return trunk->user && trunk->password;
}

size_t sip_trunk_index(const struct sip_trunk *trunk) {
	return trunk->index;
}

const osip_uri_t *sip_trunk_server(const struct sip_trunk *trunk) {
	return trunk->server;
}

/* --- calls that come --- */

void sip_trunk_found(struct sip_trunk *trunk, const struct sip_hop *hops, size_t count) {
	for (size_t i = 0; i < count; i++) {
		bool known = false;
		for (size_t at = 0; at < SIP_TRUNK_HOSTS; at++)
			known |= address_same_host(&trunk->hosts[at], &hops[i].address);
		if (!known)
			trunk->hosts[trunk->host_count++ % SIP_TRUNK_HOSTS] = hops[i].address;
	}
}

struct sip_trunk *sip_trunk_at(const struct sip_gateway *gateway, const struct address *host) {
	for (size_t i = 0; i < gateway->trunk_count; i++)
		for (size_t at = 0; at < SIP_TRUNK_HOSTS; at++)
			if (gateway->trunks[i]->hosts[at].family != 0 && address_same_host(&gateway->trunks[i]->hosts[at], host))
				return gateway->trunks[i];
	return NULL;
}

size_t sip_gateway_trunks(const struct sip_gateway *gateway, void (*each)(void *userdata, const struct sip_trunk_view *),
			  void *userdata) {
	for (size_t i = 0; each && i < gateway->trunk_count; i++) {
		const struct sip_trunk *trunk = gateway->trunks[i];
		const struct sip_trunk_view view = {.name = trunk->name,
						    .server = trunk->text,
						    .registers = trunk->registers,
						    .registered_s = sip_trunk_registered(trunk),
						    .error = trunk->error,
						    .hosts = trunk->hosts,
						    .host_count = trunk->host_count < SIP_TRUNK_HOSTS ? trunk->host_count
												      : SIP_TRUNK_HOSTS};
		each(userdata, &view);
	}
	return gateway->trunk_count;
}

static const char *user_of_number(const struct sip_trunk *trunk, const osip_uri_t *uri) {
	char number[SIP_TRUNK_NUMBER];
	bool is_number = sip_trunk_number(uri, number);

	for (size_t i = 0; uri->username && i < trunk->incoming_count; i++)
		if (strcmp(trunk->incoming[i].from, uri->username) == 0 ||
		    (is_number && strcmp(trunk->incoming[i].from, number) == 0))
			return trunk->incoming[i].to;
	return NULL;
}

const char *sip_trunk_user(const struct sip_trunk *trunk, const struct sip_request *request) {
	const char *user = user_of_number(trunk, request->message->req_uri);

	if (!user)
		user = user_of_number(trunk, request->message->to->url);
	for (size_t i = 0; !user && i < trunk->incoming_count; i++)
		if (strcmp(trunk->incoming[i].from, "*") == 0)
			user = trunk->incoming[i].to;
	return user;
}

/* --- what its requests have besides --- */

const char *sip_trunk_caller(const struct sip_trunk *trunk, char text[static SIP_CONTACT_OCTETS]) {
	text[0] = 0;
	if (trunk->caller_id)
		snprintf(text, SIP_CONTACT_OCTETS, "P-Asserted-Identity: <sip:%s@%s;user=phone>\r\n", trunk->caller_id,
			 trunk->server->host);
	return text;
}

/* Without the quotation marks around it; "" for none, or for what does not fit or holds more of them. */
static void unquote(const char *text, char *ret, size_t size) {
	size_t length = text ? strlen(text) : 0;

	if (length >= 2 && text[0] == '"' && text[length - 1] == '"') {
		text++;
		length -= 2;
	}
	ret[0] = 0;
	if (length >= size || length == 0)
		return;
	for (size_t i = 0; i < length; i++)
		if (text[i] < ' ' || text[i] == 0x7f || strchr("\"\\", text[i]))
			return;
	memcpy(ret, text, length);
	ret[length] = 0;
}

struct challenge {
	char realm[128], nonce[256], opaque[256], algorithm[16], qop[64];
};

static int write_answer(struct sip_trunk *trunk, const struct challenge *challenge, enum sip_digest algorithm, const char *field,
			const char *method, const char *uri, struct writer *w) {
	char ha1[SIP_DIGEST_SIZE], ha2[SIP_DIGEST_SIZE], response[SIP_DIGEST_SIZE], cnonce[17];
	bool qop = strstr(challenge->qop, "auth") != NULL;
	struct digest *digest = NULL;
	uint64_t random;

	runtime_random(trunk->gateway->runtime, &random, sizeof(random));
	snprintf(cnonce, sizeof(cnonce), "%016llx", (unsigned long long)random);
	int error = digest_new(algorithm, &digest);
	if (error < 0)
		return error;
	const struct octets of_user[] = {octets_of_string(trunk->user), octets_of_string(challenge->realm),
					 octets_of_string(trunk->password)};
	const struct octets of_request[] = {octets_of_string(method), octets_of_string(uri)};
	error = digest_parts(digest, of_user, 3, ha1);
	if (error == 0)
		error = digest_parts(digest, of_request, 2, ha2);
	const struct octets all[] = {octets_of_string(ha1),    octets_of_string(challenge->nonce), octets_of_string("00000001"),
				     octets_of_string(cnonce), octets_of_string("auth"),	   octets_of_string(ha2)};
	const struct octets few[] = {octets_of_string(ha1), octets_of_string(challenge->nonce), octets_of_string(ha2)};
	if (error == 0)
		error = qop ? digest_parts(digest, all, 6, response) : digest_parts(digest, few, 3, response);
	digest_free(digest);
	octets_wipe(ha1, sizeof(ha1));
	if (error < 0)
		return error;
	writer_format(w, "%s: Digest username=\"%s\",realm=\"%s\",nonce=\"%s\",uri=\"%s\",response=\"%s\",algorithm=%s", field,
		      trunk->user, challenge->realm, challenge->nonce, uri, response, digest_name(algorithm));
	if (qop)
		writer_format(w, ",qop=auth,nc=00000001,cnonce=\"%s\"", cnonce);
	if (challenge->opaque[0])
		writer_format(w, ",opaque=\"%s\"", challenge->opaque);
	writer_octets(w, octets_of_string("\r\n"));
	return writer_finish(w);
}

static bool read_challenge(struct octets value, struct challenge *challenge, enum sip_digest *ret) {
	osip_www_authenticate_t *parsed = NULL;
	char text[SIP_LINE_OCTETS];

	if (value.length >= sizeof(text) || osip_www_authenticate_init(&parsed) != OSIP_SUCCESS)
		return false;
	memcpy(text, value.data, value.length);
	text[value.length] = 0;
	bool good = osip_www_authenticate_parse(parsed, text) == OSIP_SUCCESS && parsed->auth_type &&
		    strcasecmp(parsed->auth_type, "Digest") == 0;
	if (good) {
		unquote(parsed->realm, challenge->realm, sizeof(challenge->realm));
		unquote(parsed->nonce, challenge->nonce, sizeof(challenge->nonce));
		unquote(parsed->opaque, challenge->opaque, sizeof(challenge->opaque));
		unquote(parsed->algorithm, challenge->algorithm, sizeof(challenge->algorithm));
		unquote(parsed->qop_options, challenge->qop, sizeof(challenge->qop));
		*ret = strcasecmp(challenge->algorithm, "SHA-256") == 0 ? SIP_DIGEST_SHA_256 : SIP_DIGEST_MD5;
		good = challenge->nonce[0] &&
		       (!challenge->algorithm[0] || strcasecmp(challenge->algorithm, digest_name(*ret)) == 0) &&
		       (!challenge->qop[0] || strstr(challenge->qop, "auth"));
	}
	osip_www_authenticate_free(parsed);
	return good;
}

int sip_trunk_authorize(struct sip_trunk *trunk, const struct sip_frame *response, const char *method, const char *uri,
			struct writer *w) {
	bool proxy = response->code == 407;
	struct challenge challenge;
	enum sip_digest algorithm;
	struct octets value;
	size_t position = 0;

	if (!trunk->user || !trunk->password)
		return -ENOKEY;
	while (sip_frame_next_field(response, proxy ? "proxy-authenticate" : "www-authenticate", &position, &value))
		if (read_challenge(value, &challenge, &algorithm))
			return write_answer(trunk, &challenge, algorithm, proxy ? "Proxy-Authorization" : "Authorization", method,
					    uri, w);
	return -EBADMSG;
}
