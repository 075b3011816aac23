/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/https.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

DEFINE_CLEANUP(curl_mime *, curl_mime_free)
DEFINE_CLEANUP(CURLU *, curl_url_cleanup)

enum { CONNECT_TO_SIZE = 2 * HTTPS_HOST_SIZE + 32, HEADER_SIZE = 128 };

struct https {
	CURL *curl;
	char *ca_file;
	char address[ADDRESS_TEXT_SIZE]; /* "" for none */
};

static void slist_free(struct curl_slist **list) {
	curl_slist_free_all(*list);
}

static void string_free(char **string) {
	curl_free(*string);
}

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, PROVISION_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

int https_new(const char *ca_file, const struct address *address, struct https **ret) {
	_cleanup_(https_freep) struct https *https = calloc(1, sizeof(*https));

	if (!https || (ca_file && !(https->ca_file = strdup(ca_file))) || !(https->curl = curl_easy_init()))
		return -ENOMEM;
	if (address)
		address_format(address, https->address);
	*ret = TAKE(https);
	return 0;
}

struct https *https_free(struct https *https) {
	if (!https)
		return NULL;
	curl_easy_cleanup(https->curl);
	free(https->ca_file);
	free(https);
	return NULL;
}

static size_t on_data(char *data, size_t size, size_t count, void *userdata) {
	struct writer *w = userdata;

	writer_raw(w, data, size * count);
	return writer_finish(w) < 0 ? 0 : size * count; /* too much: the transfer ends */
}

/* The handle keeps its connections, so that the next exchange with the same server needs no handshake. */
static int prepare(struct https *https, const struct https_exchange *exchange, struct curl_slist *connect_to) {
	CURL *curl = https->curl;

	curl_easy_reset(curl);
	CURLcode code = curl_easy_setopt(curl, CURLOPT_URL, exchange->url);
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
	if (code == CURLE_OK)
		code = curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L); /* B-11.2-02, B-11.3-08 */
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)HTTPS_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)HTTPS_CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "ringgate/" VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange->body);
	if (https->ca_file) {
		curl_easy_setopt(curl, CURLOPT_CAINFO, https->ca_file);
		curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	}
	if (connect_to)
		curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
	return code == CURLE_OK ? 0 : -EINVAL;
}

bool https_not_reached(int error) {
	return error == -ECONNREFUSED || error == -EHOSTUNREACH || error == -ETIMEDOUT;
}

static int explain(CURL *curl, CURLcode code, const struct https_exchange *exchange, char *reason) {
	const char *url = exchange->url;
	char at[HTTPS_HOST_SIZE + 16] = "";
	long os_error = 0;

	if (exchange->host)
		snprintf(at, sizeof(at), " (at %.200s:%u)", exchange->host, exchange->port);
	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_error);
	switch (code) {
	case CURLE_COULDNT_RESOLVE_HOST:
		return fail(reason, -EHOSTUNREACH, "The host name of %.200s%.120s is not known.", url, at);
	case CURLE_COULDNT_CONNECT:
		return fail(reason, -ECONNREFUSED, "%.200s%.120s cannot be reached: %s.", url, at,
			    os_error ? strerror((int)os_error) : "no answer");
	case CURLE_PEER_FAILED_VERIFICATION:
		return fail(reason, -EKEYREJECTED,
			    "The HTTPS certificate of %.150s%.120s is not good: wrong host name, expired, or not issued by a root "
			    "that is "
			    "trusted here (--ca-file names another).",
			    url, at);
	case CURLE_SSL_CACERT_BADFILE:
		return fail(reason, -ENOENT, "The file given with --ca-file cannot be read or holds no certificate.");
	case CURLE_OPERATION_TIMEDOUT:
		return fail(reason, -ETIMEDOUT, "%.200s%.120s did not answer in time.", url, at);
	case CURLE_WRITE_ERROR:
		return fail(reason, exchange->body->error < 0 ? exchange->body->error : -EIO, "The answer of %.200s is too large.",
			    url);
	default:
		return fail(reason, -EIO, "The exchange with %.200s%.120s failed: %s.", url, at, curl_easy_strerror(code));
	}
}

static int make_form(CURL *curl, const struct https_exchange *exchange, curl_mime **ret) {
	_cleanup_(curl_mime_freep) curl_mime *form = curl_mime_init(curl);

	for (size_t i = 0; form && i < exchange->field_count; i++) {
		const struct https_field *field = &exchange->fields[i];
		curl_mimepart *part = curl_mime_addpart(form);
		if (!part || curl_mime_name(part, field->name) != CURLE_OK ||
		    curl_mime_data(part, (const char *)field->value.data, field->value.length) != CURLE_OK ||
		    (field->type && curl_mime_type(part, field->type) != CURLE_OK))
			return -ENOMEM;
	}
	if (!form)
		return -ENOMEM;
	*ret = TAKE(form);
	return 0;
}

/* NAME:PORT:HOST:PORT, "HOST:PORT" of an IPv6 address with brackets; without the first two it holds for every name. */
static struct curl_slist *make_connect_to(const struct https *https, const struct https_exchange *exchange) {
	char text[CONNECT_TO_SIZE];

	if (https->address[0])
		snprintf(text, sizeof(text), "::%s", https->address);
	else if (exchange->host)
		snprintf(text, sizeof(text), "::%s:%u", exchange->host, exchange->port);
	return https->address[0] || exchange->host ? curl_slist_append(NULL, text) : NULL;
}

int https_exchange(struct https *https, struct https_exchange *exchange, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(slist_free) struct curl_slist *connect_to = make_connect_to(https, exchange), *headers = NULL;
	_cleanup_(curl_mime_freep) curl_mime *form = NULL;
	char accept[HEADER_SIZE];
	curl_off_t wait_s = 0;

	if (prepare(https, exchange, connect_to) < 0)
		return fail(reason, -EINVAL, "%.200s is not a usable URL.", exchange->url);
	if (exchange->accept) {
		snprintf(accept, sizeof(accept), "Accept: %s", exchange->accept);
		headers = curl_slist_append(NULL, accept);
		curl_easy_setopt(https->curl, CURLOPT_HTTPHEADER, headers);
	}
	if (exchange->fields) {
		if (make_form(https->curl, exchange, &form) < 0)
			return fail(reason, -ENOMEM, "Out of memory.");
		curl_easy_setopt(https->curl, CURLOPT_MIMEPOST, form);
	}
	CURLcode code = curl_easy_perform(https->curl);
	int error = code == CURLE_OK ? 0 : explain(https->curl, code, exchange, reason);
	exchange->type = NULL;
	if (error == 0) {
		curl_easy_getinfo(https->curl, CURLINFO_RESPONSE_CODE, &exchange->status);
		curl_easy_getinfo(https->curl, CURLINFO_CONTENT_TYPE, &exchange->type);
		curl_easy_getinfo(https->curl, CURLINFO_RETRY_AFTER, &wait_s);
		exchange->retry_after_s = wait_s < 0			     ? 0
					  : wait_s > HTTPS_RETRY_AFTER_MAX_S ? HTTPS_RETRY_AFTER_MAX_S
									     : (unsigned)wait_s;
	}
	curl_easy_setopt(https->curl, CURLOPT_MIMEPOST, NULL); /* what it points to goes with this function */
	curl_easy_setopt(https->curl, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(https->curl, CURLOPT_CONNECT_TO, NULL);
	return error;
}

bool https_has_type(const struct https_exchange *exchange, const char *wanted) {
	return exchange->type && strncasecmp(exchange->type, wanted, strlen(wanted)) == 0;
}

int https_url_host(const char *url, char host[static HTTPS_HOST_SIZE], uint16_t *ret_port) {
	_cleanup_(curl_url_cleanupp) CURLU *parts = curl_url();
	_cleanup_(string_free) char *name = NULL, *port = NULL;

	if (!parts || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_HOST, &name, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK || strlen(name) >= HTTPS_HOST_SIZE)
		return -EINVAL;
	strcpy(host, name);
	*ret_port = (uint16_t)strtoul(port, NULL, 10);
	return 0;
}

int https_url_with_host(const char *url, const char *host, char ret[static HTTPS_URL_SIZE]) {
	_cleanup_(curl_url_cleanupp) CURLU *parts = curl_url();
	_cleanup_(string_free) char *whole = NULL;

	if (!parts || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
	    curl_url_set(parts, CURLUPART_HOST, host, 0) != CURLUE_OK ||
	    curl_url_set(parts, CURLUPART_PORT, NULL, 0) != CURLUE_OK ||
	    curl_url_get(parts, CURLUPART_URL, &whole, 0) != CURLUE_OK || strlen(whole) >= HTTPS_URL_SIZE)
		return -EINVAL;
	strcpy(ret, whole);
	return 0;
}
