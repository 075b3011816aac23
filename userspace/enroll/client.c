/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/client.h"

#include "base/runtime.h"
#include "enroll/csr.h"
#include "enroll/edit.h"
#include "overlay/signature.h"

#include <curl/curl.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

enum { URL_SIZE = 1024, NUMBER_SIZE = 12, CONNECT_TIMEOUT_S = 15, TOKEN_MAX = 120, HTTPS_PORT = 443 };

DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(CURL *, curl_easy_cleanup)
DEFINE_CLEANUP(curl_mime *, curl_mime_free)

static void slist_free(struct curl_slist **list) {
	curl_slist_free_all(*list);
}

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

/* ---- HTTPS ---- */

static size_t on_data(char *data, size_t size, size_t count, void *userdata) {
	struct writer *w = userdata;

	writer_raw(w, data, size * count);
	return writer_finish(w) < 0 ? 0 : size * count; /* too much: the transfer ends */
}

static int prepare(CURL *curl, const struct client_enrollment *enrollment, const char *url, struct writer *body,
		   struct curl_slist *connect_to) {
	CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, url);

	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L); /* B-11.2-02, B-11.3-08 */
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)CLIENT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "ringgate/" VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
	if (enrollment->ca_file) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, enrollment->ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (connect_to)
		curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
	return code == CURLE_OK ? 0 : -EINVAL;
}

static int explain(CURL *curl, CURLcode code, const char *url, const struct writer *body, char *reason) {
	long os_error = 0;

	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return fail(reason, -EHOSTUNREACH, "The host name of %.200s is not known.", url);
	case CURLE_COULDNT_CONNECT:
		return fail(reason, -ECONNREFUSED, "%.200s cannot be reached: %s.", url,
			    os_error ? strerror((int)os_error) : "no answer");
	case CURLE_PEER_FAILED_VERIFICATION:
		return fail(
			reason, -EKEYREJECTED,
			"The HTTPS certificate of %.150s is not good: wrong host name, expired, or not issued by a root that is "
			"trusted here (--ca-file names another).",
			url);
	case CURLE_SSL_CACERT_BADFILE:
		return fail(reason, -ENOENT, "The file given with --ca-file cannot be read or holds no certificate.");
	case CURLE_OPERATION_TIMEDOUT:
		return fail(reason, -ETIMEDOUT, "%.200s did not answer in time.", url);
	case CURLE_WRITE_ERROR:
		return fail(reason, body->error < 0 ? body->error : -EIO, "The answer of %.200s is too large.", url);
	default:
		return fail(reason, -EIO, "The exchange with %.200s failed: %s.", url, curl_easy_strerror(code));
	}
}

static int exchange(CURL *curl, const char *url, struct writer *body, long *ret_status, char *reason) {
	CURLcode code = curl_easy_perform(curl);

	if (code != CURLE_OK)
		return explain(curl, code, url, body, reason);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	return 0;
}

static bool has_type(CURL *curl, const char *wanted) {
	const char *type = NULL;

	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	return type && strncasecmp(type, wanted, strlen(wanted)) == 0;
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

/* ---- the document ---- */

static int form_url(const char *server, char url[static URL_SIZE], char *reason) {
	bool named = strncasecmp(server, "https://", 8) != 0;

	if (strstr(server, "://") && named)
		return fail(reason, -EINVAL, "\"%.200s\" is not an https URL.", server);
	const char *host = named ? server : server + 8;
	bool path = strchr(host, '/') && strchr(host, '/')[1];
	if ((named && strchr(host, '/')) || !host[0] ||
	    snprintf(url, URL_SIZE, "https://%.*s%s", path ? (int)strlen(host) : (int)strcspn(host, "/"), host,
		     path ? "" : "/.well-known/reload-config") >= URL_SIZE) /* B-11.2-01 */
		return fail(reason, -EINVAL, "\"%.200s\" is neither an overlay name nor an https URL.", server);
	return 0;
}

static int check_document(const struct client_enrollment *enrollment, struct overlay_config *config, char *reason) {
	const char *sentence = "it is not signed";
	int signature = -EKEYREJECTED;

	if (config->expiration_ms != 0 && config->expiration_ms <= now_ms())
		return fail(reason, -EKEYEXPIRED, "The configuration document of %.200s has expired.", config->overlay_name);
	for (size_t i = 0; i < config->signature_count && signature < 0; i++)
		signature = security_block_check(
			config, config->configuration, OCTETS(config->signatures[i], config->signature_lengths[i]),
			config->configuration_signers, config->configuration_signer_count, now_ms(), &sentence);
	if (signature < 0)
		return fail(reason, signature, "The configuration document of %.150s is not good: %.200s.", config->overlay_name,
			    sentence);
	if (config->enrollment_server_count == 0)
		return fail(reason, -EOPNOTSUPP, "The configuration document of %.200s (from %.150s) names no enrollment server.",
			    config->overlay_name, enrollment->server);
	return 0;
}

static int fetch_document(const struct client_enrollment *enrollment, struct curl_slist *connect_to, struct overlay_config **ret,
			  char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	_cleanup_(curl_easy_cleanupp) CURL *curl = curl_easy_init();
	_cleanup_(writer_release) struct writer body = writer_growing(CONFIG_DOCUMENT_MAX);
	const char *name = enrollment->overlay_name;
	char url[URL_SIZE], text[TOKEN_MAX + 1], sentence[CONFIG_REASON_SIZE] = "";
	long status = 0;

	int error = form_url(enrollment->server, url, reason);
	if (error == 0 && (!curl || prepare(curl, enrollment, url, &body, connect_to) < 0))
		error = fail(reason, -EINVAL, "%.200s is not a usable URL.", url);
	if (error == 0)
		error = exchange(curl, url, &body, &status, reason);
	if (error < 0)
		return error;
	if (status != 200)
		return fail(reason, -EACCES, "%.200s answered %ld: %s", url, status, first_line(&body, text));
	if (!has_type(curl, "application/p2p-overlay+xml")) /* B-11.1-01 */
		return fail(reason, -EBADMSG, "%.200s did not answer with a configuration document.", url);
	if (!name && !strstr(enrollment->server, "://"))
		name = enrollment->server;
	error = overlay_config_parse(writer_octets_written(&body), name, &config, sentence); /* B-11.2-03 */
	if (error < 0)
		return fail(reason, error, "The document at %.150s cannot be used: %s", url,
			    sentence[0] ? sentence : strerror(-error));
	error = check_document(enrollment, config, reason);
	if (error == 0)
		*ret = TAKE(config);
	return error;
}

/* A document that is there already is replaced by newer ones of the same overlay alone. *ret_write: should it be? */
static int compare_with_installed(const char *path, const struct overlay_config *config, bool *ret_write, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *installed = NULL;
	char sentence[CONFIG_REASON_SIZE] = "";

	*ret_write = true;
	if (access(path, F_OK) < 0)
		return 0;
	int error = overlay_config_load(path, NULL, &installed, sentence);
	if (error < 0)
		return fail(reason, error, "The document that is installed cannot be used: %.250s", sentence);
	if (installed->sequence == config->sequence && strcasecmp(installed->overlay_name, config->overlay_name) == 0) {
		*ret_write = false;
		return 0;
	}
	error = overlay_config_check_successor(installed, config, now_ms(), sentence);
	return error < 0 ? fail(reason, error, "%.150s stays as it is: %.250s", path, sentence) : 0;
}

/* ---- the certificate ---- */

static int explain_refusal(const struct client_enrollment *enrollment, const char *url, long status, const struct writer *body,
			   char *reason) {
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

	first_line(body, text);
	for (size_t i = 0; status == 403 && i < ARRAY_LENGTH(tokens); i++)
		if (strcmp(text, tokens[i].token) == 0) /* B-11.3-06 */
			return fail(reason, -EACCES, "The server refused %.150s: %s.", enrollment->user_name, tokens[i].sentence);
	return fail(reason, status == 429 || status == 503 ? -EAGAIN : -EACCES, "%.200s answered %ld: %s", url, status,
		    text[0] ? text : "without a reason.");
}

static bool add_part(curl_mime *form, const char *name, struct octets value, const char *type) {
	curl_mimepart *part = curl_mime_addpart(form);

	return part && curl_mime_name(part, name) == CURLE_OK &&
	       curl_mime_data(part, (const char *)value.data, value.length) == CURLE_OK &&
	       (!type || curl_mime_type(part, type) == CURLE_OK);
}

/* B-11.3-02 */
static int post(const struct client_enrollment *enrollment, struct curl_slist *connect_to, const char *url, struct octets csr,
		struct writer *body, char *reason) {
	_cleanup_(curl_easy_cleanupp) CURL *curl = curl_easy_init();
	_cleanup_(curl_mime_freep) curl_mime *form = curl ? curl_mime_init(curl) : NULL;
	_cleanup_(slist_free) struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/pkix-cert");
	char number[NUMBER_SIZE];
	long status = 0;

	snprintf(number, sizeof(number), "%u", enrollment->node_ids);
	if (!form || !headers || !add_part(form, "username", octets_of_string(enrollment->user_name), NULL) ||
	    (enrollment->password.data && !add_part(form, "password", enrollment->password, NULL)) ||
	    (enrollment->node_ids > 1 && !add_part(form, "nodeids", octets_of_string(number), NULL)) ||
	    !add_part(form, "csr", csr, "application/pkcs10"))
		return fail(reason, -ENOMEM, "Out of memory.");
	if (prepare(curl, enrollment, url, body, connect_to) < 0)
		return fail(reason, -EINVAL, "%.200s is not a usable URL.", url);
	curl_easy_setopt(curl, CURLOPT_MIMEPOST, form);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	int error = exchange(curl, url, body, &status, reason);
	if (error < 0)
		return error;
	if (status != 200)
		return explain_refusal(enrollment, url, status, body, reason);
	return has_type(curl, "application/pkix-cert") ? 0
						       : fail(reason, -EBADMSG, "%.200s did not answer with a certificate.", url);
}

/* Every enrollment server of the document in turn, as long as they cannot be reached. */
static int request_certificate(const struct client_enrollment *enrollment, struct curl_slist *connect_to,
			       const struct overlay_config *config, EVP_PKEY *key, struct writer *body, char *reason) {
	_cleanup_free_ uint8_t *csr = NULL;
	size_t length = 0;

	int error = csr_make(key, enrollment->user_name, &csr, &length);
	if (error < 0)
		return fail(reason, error, "The certificate request cannot be made: %s.", strerror(-error));
	for (size_t i = 0; i < config->enrollment_server_count; i++) {
		writer_release(body);
		*body = writer_growing(CERTIFICATE_SIZE_MAX);
		error = post(enrollment, connect_to, config->enrollment_servers[i], OCTETS(csr, length), body, reason);
		if (error != -ECONNREFUSED && error != -EHOSTUNREACH && error != -ETIMEDOUT)
			break;
	}
	return error;
}

static int check_certificate(const struct client_enrollment *enrollment, struct overlay_config *config, EVP_PKEY *key,
			     struct octets der, struct credential **ret, char *reason) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	_cleanup_(trust_freep) struct trust *trust = NULL;
	const char *sentence = "out of memory";

	int error = trust_new(config, &trust);
	if (error == 0)
		error = trust_certificate(trust, der, now_ms(), &certificate, &sentence); /* B-11.3-07 */
	if (error == 0 && strcmp(certificate->user_name, enrollment->user_name) != 0) {
		sentence = "it is for another user name";
		error = -EKEYREJECTED;
	}
	if (error == 0 && certificate->node_id_count != enrollment->node_ids) {
		sentence = "it does not have as many Node-IDs as asked for";
		error = -EKEYREJECTED;
	}
	if (error == 0 && (error = credential_new(certificate, key, NULL, ret)) < 0)
		sentence = "it is not for the key of the request";
	return error < 0 ? fail(reason, error, "The certificate the server issued is not good: %.300s.", sentence) : 0;
}

/* ---- installing ---- */

static int install(const struct client_enrollment *enrollment, const struct overlay_config *config, bool write_document,
		   const struct credential *credential, char *reason) {
	char certificate_path[PATH_MAX], key_path[PATH_MAX];
	int error = 0;

	snprintf(certificate_path, sizeof(certificate_path), "%s.crt", enrollment->output);
	snprintf(key_path, sizeof(key_path), "%s.key", enrollment->output);
	if (write_document &&
	    (error = edit_write_file(enrollment->document_path, OCTETS(config->document, config->document_length), 0644)) < 0)
		return fail(reason, error, "%.300s cannot be written: %s.", enrollment->document_path, strerror(-error));
	if (!enrollment->renew && (error = key_save_pem(credential->key, key_path)) < 0)
		fail(reason, error, "%.300s cannot be written: %s.", key_path, strerror(-error));
	if (error == 0 && (error = certificate_save_pem(credential->certificate, certificate_path)) < 0) {
		fail(reason, error, "%.300s cannot be written: %s.", certificate_path, strerror(-error));
		if (!enrollment->renew)
			unlink(key_path);
	}
	return error;
}

/* A new key, or with `renew` the one that is there. */
static int get_key(const struct client_enrollment *enrollment, const struct overlay_config *config, EVP_PKEY **ret, char *reason) {
	_cleanup_(credential_unrefp) struct credential *credential = NULL;
	char certificate_path[PATH_MAX], key_path[PATH_MAX];

	if (snprintf(certificate_path, sizeof(certificate_path), "%s.crt", enrollment->output) >= PATH_MAX ||
	    snprintf(key_path, sizeof(key_path), "%s.key", enrollment->output) >= PATH_MAX)
		return fail(reason, -ENAMETOOLONG, "The path %.200s is too long.", enrollment->output);
	if (enrollment->renew) {
		int error = credential_load(certificate_path, key_path, config->overlay_name, config->node_id_length, &credential,
					    reason, PROVISION_REASON_SIZE);
		if (error < 0)
			return error;
		EVP_PKEY_up_ref(credential->key);
		*ret = credential->key;
		return 0;
	}
	int error = key_generate(enrollment->key_type, ret);
	return error < 0 ? fail(reason, error, "The key cannot be made: %s.", strerror(-error)) : 0;
}

/* What can be known before the server is asked. */
static int check_paths(const struct client_enrollment *enrollment, char *reason) {
	char path[PATH_MAX];
	static const char *const suffixes[] = {"crt", "key"};

	for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
		if (snprintf(path, sizeof(path), "%s.%s", enrollment->output, suffixes[i]) >= PATH_MAX)
			return fail(reason, -ENAMETOOLONG, "The path %.200s is too long.", enrollment->output);
		if (!enrollment->renew && access(path, F_OK) == 0)
			return fail(reason, -EEXIST, "%.300s exists; use --renew for a new certificate with the same key.", path);
	}
	return 0;
}

int client_enroll(const struct client_enrollment *enrollment, struct client_result *ret,
		  char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	_cleanup_(credential_unrefp) struct credential *credential = NULL;
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	_cleanup_(writer_release) struct writer body = writer_growing(CERTIFICATE_SIZE_MAX);
	_cleanup_(slist_free) struct curl_slist *connect_to = NULL;
	char redirect[ADDRESS_TEXT_SIZE + 2], text[ADDRESS_TEXT_SIZE];
	struct address address;
	bool write_document = true;

	if (enrollment->address) {
		if (address_parse(enrollment->address, HTTPS_PORT, &address) < 0)
			return fail(reason, -EINVAL, "\"%.200s\" is not an address such as 192.0.2.5 or [2001:db8::5]:443.",
				    enrollment->address);
		snprintf(redirect, sizeof(redirect), "::%s", address_format(&address, text));
		connect_to = curl_slist_append(NULL, redirect);
	}
	int error = check_paths(enrollment, reason);
	if (error == 0)
		error = fetch_document(enrollment, connect_to, &config, reason);
	if (error == 0)
		error = compare_with_installed(enrollment->document_path, config, &write_document, reason);
	if (error == 0)
		error = get_key(enrollment, config, &key, reason);
	if (error == 0)
		error = request_certificate(enrollment, connect_to, config, key, &body, reason);
	if (error == 0)
		error = check_certificate(enrollment, config, key, writer_octets_written(&body), &credential, reason);
	if (error == 0)
		error = install(enrollment, config, write_document, credential, reason);
	if (error < 0)
		return error;
	*ret = (struct client_result){.node_id = credential->node_id,
				      .sequence = config->sequence,
				      .not_after_ms = credential->certificate->not_after_ms};
	snprintf(ret->overlay_name, sizeof(ret->overlay_name), "%s", config->overlay_name);
	return 0;
}
