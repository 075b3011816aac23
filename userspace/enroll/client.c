/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/client.h"

#include "base/runtime.h"
#include "enroll/csr.h"
#include "enroll/discover.h"
#include "enroll/edit.h"
#include "enroll/https.h"
#include "overlay/install.h"
#include "overlay/signature.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

enum { NUMBER_SIZE = 12, TOKEN_MAX = 120, FIELDS_MAX = 4 };

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)

struct client {
	struct client_settings settings;
	struct https *https;
	struct overlay_config *config;
	struct discover_target targets[DISCOVER_TARGETS_MAX];
	size_t target_count, target; /* the one that answered; target_count: none did, the name itself is the host */
};

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, PROVISION_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

static uint64_t now_ms(void) {
	struct runtime_source source = runtime_source_system();

	return source.realtime_ms(source.userdata);
}

/* What an answer says in words, for the terminal: printable characters of its first line. */
static const char *first_line(const struct writer *body, char text[static TOKEN_MAX + 1]) {
	size_t length = 0;

	while (length < body->length && length < TOKEN_MAX && body->data[length] >= 0x20 && body->data[length] < 0x7f) {
		text[length] = (char)body->data[length];
		length++;
	}
	text[length] = 0;
	return text;
}

int client_open(const struct client_settings *settings, struct client **ret, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(client_closep) struct client *client = calloc(1, sizeof(*client));
	struct address address;

	if (!client)
		return fail(reason, -ENOMEM, "Out of memory.");
	client->settings = *settings;
	if (settings->address && address_parse(settings->address, HTTPS_PORT, &address) < 0)
		return fail(reason, -EINVAL, "\"%.200s\" is not an address such as 192.0.2.5 or [2001:db8::5]:443.",
			    settings->address);
	if (https_new(settings->ca_file, settings->address ? &address : NULL, &client->https) < 0)
		return fail(reason, -ENOMEM, "Out of memory.");
	*ret = TAKE(client);
	return 0;
}

struct client *client_close(struct client *client) {
	if (!client)
		return NULL;
	https_free(client->https);
	overlay_config_unref(client->config);
	free(client);
	return NULL;
}

struct overlay_config *client_config(const struct client *client) {
	return client->config;
}

/* ---- the document ---- */

static bool is_name(const char *server) {
	return !strstr(server, "://");
}

static int form_url(const char *server, char url[static HTTPS_URL_SIZE], char *reason) {
	bool named = strncasecmp(server, "https://", 8) != 0;

	if (!is_name(server) && named)
		return fail(reason, -EINVAL, "\"%.200s\" is not an https URL.", server);
	const char *host = named ? server : server + 8;
	bool path = strchr(host, '/') && strchr(host, '/')[1];
	if ((named && !discover_name_usable(server)) || !host[0] || host[0] == '/' ||
	    snprintf(url, HTTPS_URL_SIZE, "https://%.*s%s", path ? (int)strlen(host) : (int)strcspn(host, "/"), host,
		     path ? "" : "/.well-known/reload-config") >= HTTPS_URL_SIZE) /* B-11.2-01 */
		return fail(reason, -EINVAL, "\"%.200s\" is neither an overlay name nor an https URL.", server);
	return 0;
}

static int check_document(const struct client *client, struct overlay_config *config, char *reason) {
	const char *sentence = "it is not signed";
	int signature = -EKEYREJECTED;

	if (config->expiration_ms != 0 && config->expiration_ms <= now_ms())
		return fail(reason, -EKEYEXPIRED, "The configuration document of %.200s has expired.", config->overlay_name);
	for (size_t i = 0; i < config->signature_count && signature < 0; i++)
		signature = security_block_check(
			config, config->configuration, OCTETS(config->signatures[i], config->signature_lengths[i]),
			config->configuration_signers, config->configuration_signer_count, now_ms(), &sentence); /* B-11.1-11 */
	if (signature < 0)
		return fail(reason, signature, "The configuration document of %.150s (from %.150s) is not good: %.150s.",
			    config->overlay_name, client->settings.server, sentence);
	return 0;
}

static int parse_document(struct client *client, const char *url, struct octets document, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	const char *name = client->settings.overlay_name;
	char sentence[CONFIG_REASON_SIZE] = "";

	if (!name && is_name(client->settings.server))
		name = client->settings.server;
	int error = overlay_config_parse(document, name, &config, sentence); /* B-11.2-03 */
	if (error < 0)
		return fail(reason, error, "The document at %.150s cannot be used: %s", url,
			    sentence[0] ? sentence : strerror(-error));
	error = check_document(client, config, reason);
	if (error == 0) {
		overlay_config_unref(client->config);
		client->config = TAKE(config);
	}
	return error;
}

static int get_document(struct client *client, struct https_exchange *exchange, char *reason) {
	char text[TOKEN_MAX + 1];

	int error = https_exchange(client->https, exchange, reason);
	if (error < 0)
		return error;
	if (exchange->status != 200)
		return fail(reason, exchange->status >= 500 ? -ECONNREFUSED : -EACCES, "%.200s answered %ld: %s", exchange->url,
			    exchange->status, first_line(exchange->body, text));
	if (!https_has_type(exchange, "application/p2p-overlay+xml")) /* B-11.1-01 */
		return fail(reason, -EBADMSG, "%.200s did not answer with a configuration document.", exchange->url);
	return 0;
}

/* Every server the domain names in turn, as long as they cannot be reached; the name in the URL is expected of each. */
static int get_from_any(struct client *client, const char *url, struct writer *body, char *reason) {
	size_t count = client->target_count > 0 ? client->target_count : 1;
	char first[PROVISION_REASON_SIZE] = "";
	int error = -EHOSTUNREACH;

	for (size_t i = 0; i < count; i++) {
		struct https_exchange exchange = {.url = url, .body = body};
		if (client->target_count > 0) {
			exchange.host = client->targets[i].host;
			exchange.port = client->targets[i].port;
		}
		writer_release(body);
		*body = writer_growing(CONFIG_DOCUMENT_MAX);
		client->target = i;
		error = get_document(client, &exchange, reason);
		if (!https_not_reached(error))
			return error;
		if (i == 0)
			strcpy(first, reason);
	}
	return count == 1 ? error
			  : fail(reason, error, "None of the %zu servers the domain names can be reached; of the first: %.400s",
				 count, first);
}

/* B-11.2-01: the SRV records, when only the name of the overlay is known. */
static int find_servers(struct client *client, char missing[static DISCOVER_REASON_SIZE], char *reason) {
	struct runtime runtime = {.source = runtime_source_system()};
	char why[DISCOVER_REASON_SIZE] = "";

	if (!is_name(client->settings.server) || client->settings.address)
		return 0;
	int error = discover(client->settings.server, &runtime, client->targets, &client->target_count, why);
	if (error == -EINVAL || error == -ENODATA || error == -ENOMEM)
		return fail(reason, error, "No configuration server of overlay %.150s can be found: %.250s.",
			    client->settings.server, why);
	if (error < 0) /* the name itself may do; if not, this is why it was tried */
		strcpy(missing, why);
	return 0;
}

/* A document that is there already is replaced by newer ones of the same overlay alone. *ret_same: it is the same. */
static int compare_with_installed(const char *path, const struct overlay_config *config, bool *ret_same, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *installed = NULL;
	char sentence[CONFIG_REASON_SIZE] = "";

	*ret_same = false;
	if (access(path, F_OK) < 0)
		return 0;
	int error = overlay_config_load(path, NULL, &installed, sentence);
	if (error < 0)
		return fail(reason, error, "The document that is installed cannot be used: %.250s", sentence);
	if (installed->sequence == config->sequence && strcasecmp(installed->overlay_name, config->overlay_name) == 0) {
		*ret_same = true;
		return 0;
	}
	error = overlay_config_check_successor(installed, config, now_ms(), sentence);
	return error < 0 ? fail(reason, error, "%.150s stays as it is: %.250s", path, sentence) : 0;
}

int client_fetch(struct client *client, const char *installed, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(writer_release) struct writer body = writer_growing(CONFIG_DOCUMENT_MAX);
	char url[HTTPS_URL_SIZE], missing[DISCOVER_REASON_SIZE] = "";
	bool same;

	int error = form_url(client->settings.server, url, reason);
	if (error == 0)
		error = find_servers(client, missing, reason);
	if (error == 0)
		error = get_from_any(client, url, &body, reason);
	size_t length = strlen(reason);
	if (error < 0 && missing[0] && length > 0)
		snprintf(reason + length - 1, PROVISION_REASON_SIZE - length + 1, "; %s.", missing);
	if (error == 0)
		error = parse_document(client, url, writer_octets_written(&body), reason);
	if (error == 0 && installed)
		error = compare_with_installed(installed, client->config, &same, reason);
	return error;
}

static mode_t document_mode(const struct overlay_config *config) {
	return config->shared_secret ? 0600 : 0644; /* B-13.4-02 */
}

int client_save(struct client *client, const char *path, bool *ret_changed, char reason[static PROVISION_REASON_SIZE]) {
	struct octets document = OCTETS(client->config->document, client->config->document_length);
	bool same;

	int error = compare_with_installed(path, client->config, &same, reason);
	if (error == 0 && !same && (error = edit_write_file(path, document, document_mode(client->config))) < 0)
		fail(reason, error, "%.300s cannot be written: %s.", path, strerror(-error));
	if (error == 0)
		*ret_changed = !same;
	return error;
}

/* ---- the certificate ---- */

/* Who renews with the key of a certificate does so in their own name. */
static const char *account_of(const struct client_enrollment *enrollment) {
	return enrollment->account && enrollment->password.data ? enrollment->account : enrollment->user_name;
}

static int explain_refusal(const struct client_enrollment *enrollment, const struct https_exchange *exchange, char *reason) {
	static const struct {
		const char *token, *sentence;
	} tokens[] = {
		{"failed_authentication", "the user name or the password is wrong, or the account is disabled "
					  "(failed_authentication)"},
		{"username_not_available", "this user name cannot be had (username_not_available)"},
		{"Node-IDs_not_available", "the account may not have that many Node-IDs (Node-IDs_not_available)"},
		{"bad_CSR", "the certificate request was not accepted (bad_CSR)"},
	};
	char text[TOKEN_MAX + 1];

	first_line(exchange->body, text);
	for (size_t i = 0; exchange->status == 403 && i < ARRAY_LENGTH(tokens); i++)
		if (strcmp(text, tokens[i].token) == 0) /* B-11.3-06 */
			return fail(reason, -EACCES, "The server refused %.150s%s%.100s: %s.", enrollment->user_name,
				    enrollment->account ? " for account " : "", enrollment->account ? enrollment->account : "",
				    tokens[i].sentence);
	bool busy = exchange->status == 429 || exchange->status == 503;
	return fail(reason, busy ? -EAGAIN : -EACCES, "%.200s answered %ld: %s", exchange->url, exchange->status,
		    text[0] ? text : "without a reason.");
}

/*
 * The HTTPS certificate should be for the overlay's name (B-11.3-08), but URLs name other hosts: that of the URL is as good.
 * -EKEYREJECTED comes before anything was sent.
 */
static int exchange_by_either_name(struct client *client, struct https_exchange *exchange, char *reason) {
	char other_url[HTTPS_URL_SIZE], host[HTTPS_HOST_SIZE], other_reason[PROVISION_REASON_SIZE];
	const char *url = exchange->url, *name = client->config->overlay_name;
	uint16_t port;

	if (https_url_host(url, host, &port) < 0)
		return fail(reason, -EINVAL, "%.200s is not a usable URL.", url);
	/* The overlay's own name leads to where the document came from. */
	if (strcasecmp(host, name) == 0 && port == HTTPS_PORT && client->target_count > 0) {
		exchange->host = client->targets[client->target].host;
		exchange->port = client->targets[client->target].port;
	}
	int error = https_exchange(client->https, exchange, reason);
	if (error != -EKEYREJECTED || strcasecmp(host, name) == 0 || https_url_with_host(url, name, other_url) < 0)
		return error;
	exchange->url = other_url;
	exchange->host = host;
	exchange->port = port;
	int other = https_exchange(client->https, exchange, other_reason);
	exchange->url = url;
	exchange->host = NULL;
	return other == -EKEYREJECTED ? error : other < 0 ? fail(reason, other, "%s", other_reason) : 0;
}

/* B-11.3-02 */
static int post(struct client *client, const struct client_enrollment *enrollment, const char *url, unsigned node_ids,
		struct octets csr, struct writer *body, unsigned *ret_retry_after_s, char *reason) {
	struct https_field fields[FIELDS_MAX];
	char number[NUMBER_SIZE];
	size_t count = 0;

	snprintf(number, sizeof(number), "%u", node_ids);
	fields[count++] = (struct https_field){"username", octets_of_string(account_of(enrollment)), NULL};
	if (enrollment->password.data)
		fields[count++] = (struct https_field){"password", enrollment->password, NULL};
	if (node_ids > 1)
		fields[count++] = (struct https_field){"nodeids", octets_of_string(number), NULL};
	fields[count++] = (struct https_field){"csr", csr, "application/pkcs10"};
	struct https_exchange exchange = {
		.url = url, .fields = fields, .field_count = count, .accept = "application/pkix-cert", .body = body};
	int error = exchange_by_either_name(client, &exchange, reason);
	if (error < 0)
		return error;
	*ret_retry_after_s = exchange.retry_after_s;
	if (exchange.status != 200)
		return explain_refusal(enrollment, &exchange, reason);
	return https_has_type(&exchange, "application/pkix-cert")
		       ? 0
		       : fail(reason, -EBADMSG, "%.200s did not answer with a certificate.", url);
}

/* Every enrollment server of the document in turn, as long as they cannot be reached. */
static int request_certificate(struct client *client, const struct client_enrollment *enrollment, unsigned node_ids, EVP_PKEY *key,
			       struct writer *body, unsigned *ret_retry_after_s, char *reason) {
	const struct overlay_config *config = client->config;
	_cleanup_free_ uint8_t *csr = NULL;
	size_t length = 0;

	int error = csr_make(key, enrollment->user_name, &csr, &length);
	if (error < 0)
		return fail(reason, error, "The certificate request cannot be made: %s.", strerror(-error));
	error = fail(reason, -EOPNOTSUPP, "The configuration document of %.200s (from %.150s) names no enrollment server.",
		     config->overlay_name, client->settings.server);
	for (size_t i = 0; i < config->enrollment_server_count; i++) {
		writer_release(body);
		*body = writer_growing(CERTIFICATE_SIZE_MAX);
		error = post(client, enrollment, config->enrollment_servers[i], node_ids, OCTETS(csr, length), body,
			     ret_retry_after_s, reason);
		if (!https_not_reached(error))
			break;
	}
	return error;
}

static bool same_node_ids(const struct certificate *a, const struct certificate *b) {
	for (size_t i = 0; i < a->node_id_count; i++)
		if (!certificate_has_node_id(b, &a->node_ids[i]))
			return false;
	return a->node_id_count == b->node_id_count;
}

/* `old`: what is renewed, or NULL. */
static int check_certificate(struct client *client, const struct client_enrollment *enrollment, unsigned node_ids,
			     const struct credential *old, EVP_PKEY *key, struct octets der, struct credential **ret,
			     char *reason) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	_cleanup_(trust_freep) struct trust *trust = NULL;
	const char *sentence = "out of memory";

	int error = trust_new(client->config, &trust);
	if (error == 0)
		error = trust_certificate(trust, der, now_ms(), &certificate, &sentence); /* B-11.3-07 */
	if (error == 0 && strcmp(certificate->user_name, enrollment->user_name) != 0) {
		sentence = "it is for another user name";
		error = -EKEYREJECTED;
	}
	if (error == 0 && certificate->node_id_count != node_ids) {
		sentence = "it does not have as many Node-IDs as asked for";
		error = -EKEYREJECTED;
	}
	if (error == 0 && old && !same_node_ids(old->certificate, certificate)) {
		sentence = "it has other Node-IDs than the one it should renew; move the old files away to enroll with these";
		error = -EKEYREJECTED;
	}
	if (error == 0 && (error = credential_new(certificate, key, NULL, ret)) < 0)
		sentence = "it is not for the key of the request";
	return error < 0 ? fail(reason, error, "The certificate the server issued is not good: %.300s.", sentence) : 0;
}

/* ---- installing ---- */

/* A new key, or with `renew` the one that is there, with the certificate that goes. */
static int get_key(const struct client *client, const struct client_enrollment *enrollment, struct credential **ret_old,
		   EVP_PKEY **ret, char *reason) {
	_cleanup_(credential_unrefp) struct credential *old = NULL;
	char certificate_path[PATH_MAX], key_path[PATH_MAX];

	if (!enrollment->renew) {
		int error = key_generate(enrollment->key_type, ret);
		return error < 0 ? fail(reason, error, "The key cannot be made: %s.", strerror(-error)) : 0;
	}
	snprintf(certificate_path, sizeof(certificate_path), "%s.crt", enrollment->output);
	snprintf(key_path, sizeof(key_path), "%s.key", enrollment->output);
	int error = credential_load(certificate_path, key_path, client->config->overlay_name, client->config->node_id_length, &old,
				    reason, PROVISION_REASON_SIZE);
	if (error < 0)
		return error;
	EVP_PKEY_up_ref(old->key);
	*ret = old->key;
	*ret_old = TAKE(old);
	return 0;
}

/* The directory of the certificate, with the owner of the one it is in. */
static int make_directory(const char *output) {
	char copy[PATH_MAX], parent[PATH_MAX];
	struct stat status;

	strcpy(copy, output);
	const char *directory = dirname(copy);
	if (access(directory, F_OK) == 0)
		return 0;
	snprintf(parent, sizeof(parent), "%s", directory);
	if (mkdir(directory, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (geteuid() == 0 &&
	    (stat(dirname(parent), &status) < 0 || (status.st_uid != 0 && chown(directory, status.st_uid, status.st_gid) < 0)))
		return -errno;
	return 0;
}

/* What can be known before the server is asked. */
static int check_paths(const struct client_enrollment *enrollment, char *reason) {
	const struct install_credential place = {.stem = enrollment->output, .document_path = enrollment->document_path};
	static const char *const suffixes[] = {"crt", "key"};
	char path[PATH_MAX], sentence[INSTALL_REASON_SIZE] = "";

	for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++)
		if (snprintf(path, sizeof(path), "%s.%s", enrollment->output, suffixes[i]) >= PATH_MAX)
			return fail(reason, -ENAMETOOLONG, "The path %.200s is too long.", enrollment->output);
	int error = make_directory(enrollment->output);
	if (error < 0)
		return fail(reason, error, "The directory of %.300s cannot be made: %s.", enrollment->output, strerror(-error));
	error = install_credential_complete(&place, sentence);
	if (error < 0)
		return fail(reason, error, "%s", sentence);
	for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
		snprintf(path, sizeof(path), "%s.%s", enrollment->output, suffixes[i]);
		if (!enrollment->renew && access(path, F_OK) == 0)
			return fail(reason, -EEXIST, "%.300s exists; use --renew for a new certificate with the same key.", path);
	}
	return 0;
}

static int install(const struct client *client, const struct client_enrollment *enrollment, const struct credential *credential,
		   char *reason) {
	const struct install_credential place = {.stem = enrollment->output, .document_path = enrollment->document_path};
	struct octets document = OCTETS(client->config->document, client->config->document_length);
	char sentence[INSTALL_REASON_SIZE] = "";
	bool same = false;

	/* Again, for the daemon may have got a newer one meanwhile. */
	int error = place.document_path ? compare_with_installed(place.document_path, client->config, &same, reason) : 0;
	if (error < 0)
		return error;
	error = install_credential(&place, same ? OCTETS_NONE : document, document_mode(client->config), credential,
				   !enrollment->renew, sentence);
	return error < 0 ? fail(reason, error, "%s", sentence) : 0;
}

int client_enroll(struct client *client, const struct client_enrollment *enrollment, struct client_result *ret,
		  char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(credential_unrefp) struct credential *credential = NULL, *old = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(writer_release) struct writer body = writer_growing(CERTIFICATE_SIZE_MAX);
	const struct overlay_config *config = client->config;
	unsigned node_ids = enrollment->node_ids;

	*ret = (struct client_result){.sequence = config->sequence};
	int error = check_paths(enrollment, reason);
	if (error == 0)
		error = get_key(client, enrollment, &old, &key, reason);
	if (old)
		node_ids = (unsigned)old->certificate->node_id_count;
	if (error == 0)
		error = request_certificate(client, enrollment, node_ids, key, &body, &ret->retry_after_s, reason);
	if (error == 0)
		error = check_certificate(client, enrollment, node_ids, old, key, writer_octets_written(&body), &credential,
					  reason);
	if (error == 0)
		error = install(client, enrollment, credential, reason);
	if (error != 0)
		return error;
	ret->node_id = credential->node_id; /* fail() never returns 0: NOLINT(clang-analyzer-core.NullDereference) */
	ret->not_after_ms = credential->certificate->not_after_ms;
	snprintf(ret->overlay_name, sizeof(ret->overlay_name), "%s", config->overlay_name);
	return 0;
}
