/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Enrollments a second over HTTPS, each on a connection of its own, with as many clients as keep the server busy on this machine:
 * with password hashes as they are stored (enroll_per_s), and with the cheapest possible ones (enroll_nohash_per_s). Clients and
 * server share the processors. Medians of the repetitions.
 */
#include <curl/curl.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <string.h>
#include <syslog.h>

#include "support/enroll_site.h"

#include "base/log.h"
#include "base/runtime.h"
#include "enroll/csr.h"
#include "enroll/server.h"

enum { CLIENTS = 8, REPETITIONS = 5, HASHED = 10, UNHASHED = 50 /* enrollments of each client */ };

struct run {
	const char *user_name;
	unsigned count, port;
	uint8_t *csr;
	size_t csr_length;
	unsigned failed;
};

static size_t swallow(char *data, size_t size, size_t count, void *userdata) {
	(void)data, (void)userdata;
	return size * count;
}

static void enroll_once(struct run *run) {
	CURL *curl = curl_easy_init();
	curl_mime *form = curl_mime_init(curl);
	const char *names[] = {"username", "password", "csr"};
	struct octets values[] = {octets_of_string(run->user_name), octets_of_string(ENROLL_SITE_PASSWORD),
				  OCTETS(run->csr, run->csr_length)};
	char target[64];
	long status = 0;

	for (size_t i = 0; i < 3; i++) {
		curl_mimepart *part = curl_mime_addpart(form);
		curl_mime_name(part, names[i]);
		curl_mime_data(part, (const char *)values[i].data, values[i].length);
		if (i == 2)
			curl_mime_type(part, "application/pkcs10");
	}
	snprintf(target, sizeof(target), "::127.0.0.1:%u", run->port);
	struct curl_slist *connect_to = curl_slist_append(NULL, target);
	curl_easy_setopt(curl, CURLOPT_URL, "https://" ENROLL_SITE_NAME "/enroll");
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, connect_to);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L); /* the server is what is measured */
	curl_easy_setopt(curl, CURLOPT_MIMEPOST, form);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, swallow);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (curl_easy_perform(curl) != CURLE_OK || curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status) != CURLE_OK ||
	    status != 200)
		run->failed++;
	curl_slist_free_all(connect_to);
	curl_mime_free(form);
	curl_easy_cleanup(curl);
}

static void *client(void *userdata) {
	struct run *run = userdata;

	for (unsigned i = 0; i < run->count; i++)
		enroll_once(run);
	return NULL;
}

static double measure(const struct run *template) {
	pthread_t threads[CLIENTS];
	struct run runs[CLIENTS];
	uint64_t start = clock_monotonic_us();

	for (size_t i = 0; i < CLIENTS; i++) {
		runs[i] = *template;
		if (pthread_create(&threads[i], NULL, client, &runs[i]) != 0)
			abort();
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		pthread_join(threads[i], NULL);
		if (runs[i].failed > 0) {
			fprintf(stderr, "%u enrollments failed\n", runs[i].failed);
			exit(EXIT_FAILURE);
		}
	}
	return CLIENTS * template->count / ((double)(clock_monotonic_us() - start) / 1e6);
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void report(const char *name, struct run *run, EVP_PKEY *key) {
	double values[REPETITIONS];

	if (csr_make(key, run->user_name, &run->csr, &run->csr_length) < 0)
		abort();
	for (size_t i = 0; i < REPETITIONS; i++)
		values[i] = measure(run);
	free(run->csr);
	qsort(values, REPETITIONS, sizeof(values[0]), compare);
	printf("%s %.1f\n", name, values[REPETITIONS / 2]);
}

/* A certificate for HTTPS, PEM, and its key. */
static int make_https(const struct enroll_site *site, char certificate_path[static 96], char key_path[static 96], EVP_PKEY **ret) {
	struct runtime_source source = runtime_source_system();
	uint64_t now_ms = source.realtime_ms(source.userdata);
	X509 *certificate = NULL;

	snprintf(certificate_path, 96, "%s/https.crt", site->directory);
	snprintf(key_path, 96, "%s/https.key", site->directory);
	if (key_generate(KEY_ECDSA_P256, ret) < 0 ||
	    certificate_make_root(ENROLL_SITE_NAME, *ret, now_ms - 1000, now_ms + 86400000, &certificate) < 0 ||
	    key_save_pem(*ret, key_path) < 0)
		return -1;
	FILE *file = fopen(certificate_path, "we");
	int written = file ? PEM_write_X509(file, certificate) : 0;
	X509_free(certificate);
	return file && fclose(file) == 0 && written == 1 ? 0 : -1;
}

int main(void) {
	static char certificate_path[96], key_path[96];
	struct sockaddr_in bound;
	socklen_t bound_length = sizeof(bound);
	struct address listen = {.family = AF_INET, .octets = {127, 0, 0, 1}};
	char reason[ENROLL_REASON_SIZE] = "";
	struct server *server = NULL;
	struct enroll_site site;
	EVP_PKEY *key = NULL;
	int fd = -1;

	curl_global_init(CURL_GLOBAL_DEFAULT);
	log_level = LOG_WARNING;
	if (enroll_site_new(&site) < 0 || make_https(&site, certificate_path, key_path, &key) < 0 ||
	    enroll_site_add_user(&site, "alice@example.org", 1, PASSWORD_LOG_N_DEFAULT) < 0 ||
	    enroll_site_add_user(&site, "bob@example.org", 1, PASSWORD_LOG_N_MIN) < 0)
		return EXIT_FAILURE;
	struct enroll_settings settings = {
		.certificate = certificate_path,
		.key = key_path,
		.workers = 2,
		.queue = 256,
		.connections = 256,
		.connections_per_address = 256,
		.request_s = 60,
		.policy = {.certificate_days = 90, .failures_max = 3, .lockout_s = 600},
		.overlays = {{.name = ENROLL_SITE_NAME, .directory = site.ca_directory}},
		.overlay_count = 1,
	};
	if (server_listen(&listen, &fd, reason) < 0 || getsockname(fd, (struct sockaddr *)&bound, &bound_length) < 0 ||
	    server_new(&settings, fd, &server, reason) < 0) {
		fprintf(stderr, "%s\n", reason);
		return EXIT_FAILURE;
	}
	struct run hashed = {.user_name = "alice@example.org", .count = HASHED, .port = ntohs(bound.sin_port)};
	struct run unhashed = {.user_name = "bob@example.org", .count = UNHASHED, .port = hashed.port};
	report("enroll_per_s", &hashed, key);
	report("enroll_nohash_per_s", &unhashed, key);
	server_free(server);
	EVP_PKEY_free(key);
	enroll_site_release(&site);
	return EXIT_SUCCESS;
}
