/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an enrollment server that means no good makes of a node: its answers stand in for those that came over TLS. Input: an octet
 * for each of the two answers, a length of two octets and the body of the first, and the rest is that of the second.
 *
 * Document and certificate are signed, so most of what is made up ends at the signature. An answer can therefore be the right one
 * with places of it overwritten: pairs of two octets of place and one of value.
 */
#include "base/log.h"
#include "base/runtime.h"
#include "enroll/client.h"
#include "enroll/csr.h"
#include "enroll/https.h"
#include "overlay/install.h"

#include <errno.h>
#include <ftw.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int __wrap_https_exchange(struct https *https, struct https_exchange *exchange, char reason[static PROVISION_REASON_SIZE]);

#define FUZZ_CHECK(condition)                                                                                                      \
	do {                                                                                                                       \
		if (!(condition))                                                                                                  \
			abort();                                                                                                   \
	} while (0)

#define USER "alice@example.org"
#define PASSWORD "correct horse"

/* The octet of an answer: three bits of how it ends, then what it is. */
enum { HOW_MASK = 7, RIGHT = 8, OVERWRITTEN = 16, NO_TYPE = 32, RETRY = 64, PATHS_MAX = 96 };
enum { DAY_MS = 24 * 3600 * 1000 };

struct answer {
	uint8_t settings;
	struct octets body;
};

static char base[] = "/tmp/fuzz_enroll_XXXXXX", document_path[PATHS_MAX], output[PATHS_MAX], installed[PATHS_MAX];
static struct overlay_config *honest;
static X509 *root;
static EVP_PKEY *root_key;
static struct answer answers[2];
static unsigned posts;

static char *path_in(char path[static PATHS_MAX], const char *name) {
	FUZZ_CHECK(snprintf(path, PATHS_MAX, "%s/%s", base, name) < PATHS_MAX);
	return path;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *place) {
	(void)status, (void)type, (void)place;
	return remove(path);
}

static void at_end(void) {
	overlay_config_unref(honest);
	X509_free(root);
	EVP_PKEY_free(root_key);
	nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void *read_pem(const char *name, bool key) {
	char path[PATHS_MAX];
	FILE *file = fopen(path_in(path, name), "re");
	FUZZ_CHECK(file);
	void *object = key ? (void *)PEM_read_PrivateKey(file, NULL, NULL, NULL) : (void *)PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	FUZZ_CHECK(object);
	return object;
}

static void start_once(void) {
	static const char *const servers[] = {"https://enroll.example.org/enroll", "https://second.example.org/enroll"};
	char directory[PATHS_MAX], reason[PROVISION_REASON_SIZE];

	if (honest)
		return;
	log_level = -1;
	FUZZ_CHECK(mkdtemp(base));
	const struct provision_overlay overlay = {.directory = path_in(directory, "ca"),
						  .name = "example.org",
						  .key_type = KEY_ECDSA_P256,
						  .enrollment_servers = servers,
						  .enrollment_server_count = 2};
	FUZZ_CHECK(provision_overlay_create(&overlay, reason) == 0);
	FUZZ_CHECK(overlay_config_load(path_in(document_path, "ca/overlay.xml"), NULL, &honest, reason) == 0);
	root = read_pem("ca/ca.crt", false);
	root_key = read_pem("ca/ca.key", true);
	path_in(output, "alice");
	path_in(installed, "overlay.xml");
	atexit(at_end);
}

/* ---- the server ---- */

/* What the CA would issue for the request. */
static void issue(const struct https_exchange *exchange, struct writer *w) {
	static const struct id node_id = {.length = 16, .octets = {7, 7, 7}};
	struct runtime_source clock = runtime_source_system();
	uint64_t now_ms = clock.realtime_ms(clock.userdata);
	char user_name[USER_NAME_MAX + 1];
	struct certificate *certificate = NULL;
	struct octets csr = OCTETS_NONE;
	const char *why = NULL;
	EVP_PKEY *key = NULL;

	for (size_t i = 0; i < exchange->field_count; i++)
		if (strcmp(exchange->fields[i].name, "csr") == 0)
			csr = exchange->fields[i].value;
	FUZZ_CHECK(csr_read(csr, &key, user_name, &why) == 0);
	const struct certificate_request request = {.overlay_name = "example.org",
						    .user_name = USER,
						    .node_ids = &node_id,
						    .node_id_count = 1,
						    .key = key,
						    .not_before_ms = now_ms - DAY_MS,
						    .not_after_ms = now_ms + DAY_MS};
	FUZZ_CHECK(certificate_issue(&request, root, root_key, &certificate) == 0);
	writer_raw(w, certificate->der, certificate->der_length);
	certificate_unref(certificate);
	EVP_PKEY_free(key);
}

static void write_body(const struct https_exchange *exchange, const struct answer *answer, struct writer *w) {
	struct reader r = reader_of_octets(answer->body);

	if (!(answer->settings & (RIGHT | OVERWRITTEN))) {
		writer_octets(w, answer->body);
		return;
	}
	if (exchange->fields)
		issue(exchange, w);
	else
		writer_raw(w, honest->document, honest->document_length);
	while ((answer->settings & OVERWRITTEN) && reader_left(&r) >= 3 && w->length > 0) {
		size_t place = reader_u16(&r) % w->length;
		w->data[place] = reader_u8(&r);
	}
}

int __wrap_https_exchange(struct https *https, struct https_exchange *exchange, char reason[static PROVISION_REASON_SIZE]) {
	static const long ends[] = {200, 200, 403, 429, 503, 301, -ECONNREFUSED, -EKEYREJECTED};
	const struct answer *answer = &answers[exchange->fields != NULL];
	long end = ends[answer->settings & HOW_MASK];

	(void)https;
	posts += exchange->fields != NULL;
	FUZZ_CHECK(posts <= 4); /* two servers, each by two names */
	if (end < 0) {
		snprintf(reason, PROVISION_REASON_SIZE, "It is not so.");
		return (int)end;
	}
	exchange->status = end;
	exchange->type = answer->settings & NO_TYPE ? NULL
			 : exchange->fields	    ? "application/pkix-cert"
						    : "application/p2p-overlay+xml; charset=utf-8";
	exchange->retry_after_s = answer->settings & RETRY ? HTTPS_RETRY_AFTER_MAX_S : 0;
	write_body(exchange, answer, exchange->body);
	return exchange->body->error < 0 ? exchange->body->error : 0;
}

/* ---- the node ---- */

static bool there(const char *suffix) {
	char path[PATHS_MAX + 8];

	snprintf(path, sizeof(path), "%s%s", output, suffix);
	return access(path, F_OK) == 0;
}

static void take_away(void) {
	static const char *const suffixes[] = {".crt", ".key"};
	char path[PATHS_MAX + 8];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s%s", output, suffixes[i]);
		FUZZ_CHECK(unlink(path) == 0);
	}
	FUZZ_CHECK(unlink(installed) == 0);
}

/* One sentence; what the server said is in it as far as it can be printed. */
static void check_reason(const char reason[static PROVISION_REASON_SIZE]) {
	const char *end = memchr(reason, 0, PROVISION_REASON_SIZE);

	FUZZ_CHECK(end && end > reason);
	FUZZ_CHECK(!memmem(reason, (size_t)(end - reason), PASSWORD, strlen(PASSWORD)) ||
		   memmem(answers[1].body.data, answers[1].body.length, PASSWORD, strlen(PASSWORD)) ||
		   memmem(answers[0].body.data, answers[0].body.length, PASSWORD, strlen(PASSWORD)));
}

/* A new certificate is good and for who asked, and nothing is left of one that is not. */
static void enroll(struct client *client) {
	const struct client_enrollment enrollment = {.user_name = USER,
						     .password = OCTETS(PASSWORD, strlen(PASSWORD)),
						     .node_ids = 1,
						     .key_type = KEY_ECDSA_P256,
						     .document_path = installed,
						     .output = output};
	_cleanup_(credential_unrefp) struct credential *credential = NULL;
	char reason[PROVISION_REASON_SIZE] = "", certificate[PATHS_MAX + 8], key[PATHS_MAX + 8];
	struct client_result result;

	posts = 0;
	if (client_enroll(client, &enrollment, &result, reason) < 0) {
		check_reason(reason);
		FUZZ_CHECK(!there(".crt") && !there(".key") && access(installed, F_OK) < 0);
		return;
	}
	snprintf(certificate, sizeof(certificate), "%s.crt", output);
	snprintf(key, sizeof(key), "%s.key", output);
	FUZZ_CHECK(credential_load(certificate, key, result.overlay_name, 16, &credential, reason, sizeof(reason)) == 0);
	FUZZ_CHECK(strcmp(credential->certificate->user_name, USER) == 0 && id_equal(&credential->node_id, &result.node_id));
	take_away();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	const struct client_settings settings = {.server = "https://enroll.example.org/", .overlay_name = "example.org"};
	_cleanup_(client_closep) struct client *client = NULL;
	char reason[PROVISION_REASON_SIZE] = "";
	struct reader r = reader_of(data, size);

	start_once();
	answers[0].settings = reader_u8(&r);
	answers[1].settings = reader_u8(&r);
	answers[0].body = reader_vector16(&r);
	answers[1].body = reader_rest(&r);
	if (r.error < 0)
		return 0;
	FUZZ_CHECK(client_open(&settings, &client, reason) == 0);
	if (client_fetch(client, document_path, reason) < 0)
		check_reason(reason);
	else
		enroll(client);
	return 0;
}
