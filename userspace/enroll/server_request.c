/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading requests and writing answers. Runs in the thread of libmicrohttpd. */
#include "enroll/server_internal.h"

#include "base/log.h"
#include "base/runtime.h"

#include <errno.h>
#include <string.h>

enum { HTTP_TOO_LARGE = 413, POST_BUFFER = 1024, SWALLOW_MAX = 4 * SERVER_BODY_MAX, NUMBER_MAX = 4, NUMBER_TEXT_SIZE = 12 };

static const char text_plain[] = "text/plain";

/* ---- answers ---- */

static enum MHD_Result send_response(struct MHD_Connection *connection, unsigned status, struct MHD_Response *response,
				     const char *type, const char *cache) {
	if (!response)
		return MHD_NO;
	if (type)
		MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", cache);
	enum MHD_Result result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result send_text(struct MHD_Connection *connection, unsigned status, const char *text) {
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);

	if (response && status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, "Allow", "GET, HEAD, POST");
	if (response && status == MHD_HTTP_SERVICE_UNAVAILABLE)
		MHD_add_response_header(response, "Retry-After", "5");
	return send_response(connection, status, response, text_plain, "no-store");
}

/* For `wait_s` seconds. */
static enum MHD_Result send_wait(struct MHD_Connection *connection, const char *why, unsigned wait_s) {
	char text[160], number[NUMBER_TEXT_SIZE];

	snprintf(text, sizeof(text), "%s; try again in %u s.\n", why, wait_s);
	snprintf(number, sizeof(number), "%u", wait_s);
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_COPY);
	if (response)
		MHD_add_response_header(response, "Retry-After", number);
	return send_response(connection, MHD_HTTP_TOO_MANY_REQUESTS, response, text_plain, "no-store");
}

/* B-11.1-01, B-11.2-01 */
static enum MHD_Result send_document(struct MHD_Connection *connection, struct authority *authority) {
	struct published_document document;
	struct MHD_Response *response;
	char cache[48];

	if (authority_document(authority, &document) < 0)
		return send_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "The document cannot be read.\n");
	uint8_t *data = (uint8_t *)(uintptr_t)document.document.data; /* ours */
	if (document.confidential) {				      /* B-13.4-02 */
		octets_wipe(data, document.document.length);
		free(data);
		return send_text(connection, MHD_HTTP_FORBIDDEN,
				 "The document of this overlay holds a shared secret and is not handed out over HTTP.\n");
	}
	snprintf(cache, sizeof(cache), "public, max-age=%u", document.max_age_s);
	const char *known = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "If-None-Match");
	bool same = known && (strcmp(known, "*") == 0 || strstr(known, document.etag));
	if (same) {
		free(data);
		response = MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
	} else {
		response = MHD_create_response_from_buffer(document.document.length, data, MHD_RESPMEM_MUST_FREE);
		if (!response)
			free(data);
	}
	if (response)
		MHD_add_response_header(response, "ETag", document.etag);
	return send_response(connection, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK, response,
			     same ? NULL : "application/p2p-overlay+xml", cache);
}

static enum MHD_Result send_outcome(struct request *request) {
	const char *token = enrollment_outcome_token(request->outcome);

	if (request->outcome == ENROLLMENT_ISSUED) { /* B-11.3-03 */
		struct MHD_Response *response =
			MHD_create_response_from_buffer(request->answer.der_length, request->answer.der, MHD_RESPMEM_MUST_FREE);
		if (response)
			request->answer.der = NULL;
		return send_response(request->connection, MHD_HTTP_OK, response, "application/pkix-cert", "no-store");
	}
	if (request->outcome == ENROLLMENT_THROTTLED)
		return send_wait(request->connection, request->answer.why, request->answer.wait_s);
	if (token)
		return send_text(request->connection, MHD_HTTP_FORBIDDEN, token); /* B-11.3-06 */
	return send_text(request->connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
			 "The server has trouble of its own; its log says more.\n");
}

/* ---- the form ---- */

static void set_status(struct request *request, unsigned status, const char *sentence) {
	if (request->status == 0) {
		request->status = status;
		request->sentence = sentence;
	}
}

static struct field *field_named(struct request *request, const char *name) {
	if (strcmp(name, "username") == 0)
		return &request->user_name;
	if (strcmp(name, "password") == 0)
		return &request->password;
	if (strcmp(name, "nodeids") == 0)
		return &request->node_ids;
	return strcmp(name, "csr") == 0 ? &request->csr : NULL;
}

/* A piece of a form field. What is too long is cut there; authority_enroll() and request_node_ids() refuse it for its length. */
static enum MHD_Result on_field(void *userdata, enum MHD_ValueKind kind, const char *key, const char *filename, const char *type,
				const char *encoding, const char *data, uint64_t offset, size_t size) {
	struct request *request = userdata;
	struct field *field = key ? field_named(request, key) : NULL;

	(void)kind, (void)filename, (void)encoding;
	if (!field)
		return MHD_YES; /* not ours to judge */
	if (offset == 0 && field->given && (size > 0 || field->length > 0)) {
		set_status(request, MHD_HTTP_BAD_REQUEST, "A field of the form is given twice.\n");
		return MHD_YES;
	}
	field->given = true;
	if (field == &request->csr && (!type || strncasecmp(type, "application/pkcs10", 18) != 0)) /* B-11.3-02 */
		request->csr_type_wrong = true;
	size_t room = field->max + 1 - field->length, copied = size < room ? size : room;
	/* A few thousand at most. NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI) */
	if (!field->data && !(field->data = malloc(field->max + 1))) {
		set_status(request, MHD_HTTP_SERVICE_UNAVAILABLE, "The server has no memory left.\n");
		return MHD_YES;
	}
	memcpy(field->data + field->length, data, copied);
	field->length += copied;
	return MHD_YES;
}

/* More digits than Node-IDs can need are as good as too many. */
unsigned request_node_ids(const struct request *request) {
	const struct field *field = &request->node_ids;
	unsigned number = 0;

	if (!field->given)
		return 1;
	if (field->length == 0 || field->length > NUMBER_MAX)
		return 0;
	for (size_t i = 0; i < field->length; i++) {
		if (field->data[i] < '0' || field->data[i] > '9')
			return 0;
		number = number * 10 + (unsigned)(field->data[i] - '0');
	}
	return number;
}

static void field_release(struct field *field) {
	if (field->data)
		octets_wipe(field->data, field->length);
	free(field->data);
}

/* ---- requests ---- */

static struct request *request_free(struct request *request) {
	if (request->processor)
		MHD_destroy_post_processor(request->processor);
	field_release(&request->user_name);
	field_release(&request->password);
	field_release(&request->node_ids);
	field_release(&request->csr);
	free(request->answer.der);
	free(request);
	return NULL;
}

void server_request_completed(void *userdata, struct MHD_Connection *connection, void **state,
			      enum MHD_RequestTerminationCode code) {
	(void)userdata, (void)connection, (void)code;
	if (*state)
		*state = request_free(*state);
}

static bool header_has(struct MHD_Connection *connection, const char *name, const char *wanted) {
	const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);

	return value && strcasestr(value, wanted);
}

static struct address source_of(struct MHD_Connection *connection) {
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	return info ? address_of_sockaddr(info->client_addr) : (struct address){0};
}

/* What can be said before the body has come. 0, or the status of the answer. */
static unsigned check_headers(struct MHD_Connection *connection, const char **ret_sentence) {
	const char *length = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

	if (!header_has(connection, "Content-Type", "multipart/form-data")) {
		*ret_sentence = "Send the request as multipart/form-data.\n";
		return MHD_HTTP_UNSUPPORTED_MEDIA_TYPE;
	}
	if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept") &&
	    !header_has(connection, "Accept", "application/pkix-cert") && !header_has(connection, "Accept", "*/*")) {
		*ret_sentence = "The answer is application/pkix-cert, which the request does not accept.\n";
		return MHD_HTTP_NOT_ACCEPTABLE;
	}
	if (length && strtoull(length, NULL, 10) > SERVER_BODY_MAX) {
		*ret_sentence = "The request is too large.\n";
		return HTTP_TOO_LARGE;
	}
	return 0;
}

static enum MHD_Result begin_post(struct server *server, struct MHD_Connection *connection, struct authority *authority,
				  void **state) {
	struct address source = source_of(connection);
	const char *sentence = NULL;
	unsigned status = check_headers(connection, &sentence), wait_s;
	char text[ADDRESS_TEXT_SIZE];

	if (status != 0)
		return send_text(connection, status, sentence);
	if ((wait_s = guard_network_wait_s(server->guard, &source, clock_monotonic_us())) > 0) {
		log_notice("Refused a request of %s: too many wrong passwords from there.", address_format_host(&source, text));
		return send_wait(connection, "too many wrong passwords from there", wait_s);
	}
	struct request *request = calloc(1, sizeof(*request));
	if (!request)
		return MHD_NO;
	*request = (struct request){
		.server = server,
		.connection = connection,
		.authority = authority,
		.source = source,
		.user_name.max = USER_NAME_MAX,
		.password.max = PASSWORD_MAX,
		.node_ids.max = NUMBER_MAX,
		.csr.max = AUTHORITY_CSR_MAX,
		.processor = MHD_create_post_processor(connection, POST_BUFFER, on_field, request),
	};
	if (!request->processor) {
		request_free(request);
		return send_text(connection, MHD_HTTP_BAD_REQUEST, "The boundary of the form cannot be found.\n");
	}
	*state = request;
	return MHD_YES;
}

static enum MHD_Result receive(struct request *request, const char *data, size_t *length) {
	request->received += *length;
	if (request->received > SWALLOW_MAX)
		return MHD_NO; /* it does not listen: closed */
	if (request->received > SERVER_BODY_MAX)
		set_status(request, HTTP_TOO_LARGE, "The request is too large.\n");
	if (request->status == 0 && MHD_post_process(request->processor, data, *length) != MHD_YES)
		set_status(request, MHD_HTTP_BAD_REQUEST, "The form cannot be read.\n");
	*length = 0;
	return MHD_YES;
}

/* The body is complete. */
static enum MHD_Result complete(struct request *request) {
	enum MHD_Result whole = MHD_destroy_post_processor(request->processor);

	request->processor = NULL;
	if (whole != MHD_YES)
		set_status(request, MHD_HTTP_BAD_REQUEST, "The form is cut off.\n");
	if (request->status != 0)
		return send_text(request->connection, request->status, request->sentence);
	if (request->csr_type_wrong)
		request->csr.length = 0; /* bad_CSR, once the password is found to be right */
	request->stage = REQUEST_QUEUED;
	if (server_submit(request) < 0) {
		log_warning("The queue is full; a request was refused.");
		return send_text(request->connection, MHD_HTTP_SERVICE_UNAVAILABLE, "The server is busy; try again in a moment.\n");
	}
	return MHD_YES;
}

enum MHD_Result server_answer(void *userdata, struct MHD_Connection *connection, const char *url, const char *method,
			      const char *version, const char *data, size_t *length, void **state) {
	struct server *server = userdata;
	struct request *request = *state;

	(void)version;
	if (request) {
		if (*length > 0)
			return receive(request, data, length);
		return request->stage == REQUEST_DONE ? send_outcome(request) : complete(request);
	}
	const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
	struct authority *authority = server_authority(server, host);
	if (!authority)
		return send_text(connection, MHD_HTTP_NOT_FOUND, "This server has no overlay of that name.\n");
	bool post = strcmp(method, "POST") == 0, get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	if (strcmp(url, "/.well-known/reload-config") == 0 && get)
		return send_document(connection, authority);
	if (strcmp(url, "/enroll") == 0 && !authority_enrolls(authority))
		return send_text(connection, MHD_HTTP_NOT_FOUND, "The nodes of this overlay make their own certificates.\n");
	if (strcmp(url, "/enroll") == 0 && post)
		return begin_post(server, connection, authority, state);
	if (strcmp(url, "/.well-known/reload-config") == 0 || strcmp(url, "/enroll") == 0)
		return send_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET the document, POST an enrollment.\n");
	return send_text(connection, MHD_HTTP_NOT_FOUND, "There are only /.well-known/reload-config and /enroll here.\n");
}
