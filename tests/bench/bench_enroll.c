/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many certificates ringgate-enrolld issues a second, over HTTPS on loopback, each on a connection of its own: with a password
 * (enroll_per_s, the scrypt hash of 16 MiB included) and for renewals by certificate (enroll_nohash_per_s). The daemon and the
 * clients share the machine's processors. Beside them, what each costs the daemon, which other work on the machine hardly changes:
 * enroll_cpu_ms and enroll_nohash_cpu_ms, milliseconds of processor time. Medians of the repetitions.
 */
#include "support/enroll_site.h"

#include "base/address.h"
#include "base/runtime.h"
#include "enroll/csr.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

enum {
	THREADS = 8,
	REPETITIONS = 5,
	USERS = 900,
	ENROLLMENTS = 120, /* in a repetition */
	RENEWALS = USERS,
	START_MS = 10000,
	URL_SIZE = 128,
	NAME_SIZE = 48,
};

struct user {
	char name[NAME_SIZE];
	uint8_t *csr;
	size_t csr_length;
};

static struct enroll_site site;
static struct user users[USERS];
static char url[URL_SIZE], connect_to[URL_SIZE], https_path[128];

static _Noreturn void die(const char *what) {
	fprintf(stderr, "%s\n", what);
	exit(EXIT_FAILURE);
}

/* ---- the site ---- */

static void make_https(void) {
	char path[128];
	EVP_PKEY *key = NULL;
	X509 *certificate = X509_new();
	X509V3_CTX context;
	static const int extensions[] = {NID_subject_alt_name, NID_key_usage, NID_basic_constraints};
	static const char *const values[] = {"DNS:" ENROLL_SITE_NAME, "critical,digitalSignature,keyCertSign", "critical,CA:TRUE"};

	if (!certificate || key_generate(KEY_ECDSA_P256, &key) < 0)
		die("no key");
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 86400);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)"benchmark", -1,
				   -1, 0);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	X509_set_pubkey(certificate, key);
	X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(extensions); i++) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, extensions[i], values[i]);
		if (!extension || X509_add_ext(certificate, extension, -1) != 1)
			die("no HTTPS certificate");
		X509_EXTENSION_free(extension);
	}
	if (X509_sign(certificate, key, EVP_sha256()) <= 0)
		die("no HTTPS certificate");
	snprintf(path, sizeof(path), "%s/https.key", site.directory);
	if (key_save_pem(key, path) < 0)
		die("the HTTPS key cannot be written");
	snprintf(https_path, sizeof(https_path), "%s/https.crt", site.directory);
	FILE *file = fopen(https_path, "we");
	if (!file || PEM_write_X509(file, certificate) != 1 || fclose(file) != 0)
		die("the HTTPS certificate cannot be written");
	X509_free(certificate);
	EVP_PKEY_free(key);
}

/* All have the same password and salt: checking costs what it always costs, and the hash is computed once. */
static void make_users(void) {
	char hash[PASSWORD_TEXT_SIZE];

	if (password_hash(octets_of_string(ENROLL_SITE_PASSWORD), PASSWORD_LOG_N_DEFAULT, hash) < 0 ||
	    ledger_begin(site.ledger) < 0)
		die("no users");
	for (unsigned i = 0; i < USERS; i++) {
		EVP_PKEY *key = NULL;
		snprintf(users[i].name, NAME_SIZE, "site%u@" ENROLL_SITE_NAME, i);
		if (ledger_user_add(site.ledger, users[i].name, hash, 1, 1) < 0 || key_generate(KEY_ECDSA_P256, &key) < 0 ||
		    csr_make(key, users[i].name, &users[i].csr, &users[i].csr_length) < 0)
			die("no users");
		EVP_PKEY_free(key);
	}
	if (ledger_commit(site.ledger) < 0)
		die("no users");
}

static uint16_t free_port(void) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 ||
	    getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		die("no port");
	return ntohs(address.sin_port);
}

static bool answers(uint16_t port) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static pid_t start_server(void) {
	const char *build = getenv("BUILD");
	char program[256], path[128];
	uint16_t port = free_port();

	snprintf(program, sizeof(program), "%s/ringgate-enrolld", build ? build : "build");
	snprintf(path, sizeof(path), "%s/enrolld.conf", site.directory);
	FILE *file = fopen(path, "we");
	if (!file)
		die("no settings");
	fprintf(file,
		"[server]\nlisten = 127.0.0.1:%u\ncertificate = %s\nkey = %s/https.key\nlog-level = warning\n"
		"[enrollment]\ncertificates-per-day = 0\n[overlay " ENROLL_SITE_NAME "]\ndirectory = %s\n",
		port, https_path, site.directory, site.ca_directory);
	fclose(file);
	snprintf(url, sizeof(url), "https://" ENROLL_SITE_NAME ":%u/enroll", port);
	snprintf(connect_to, sizeof(connect_to), "::127.0.0.1:%u", port);
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		execl(program, program, "--config", path, (char *)NULL);
		_exit(127);
	}
	for (int waited = 0; !answers(port); waited += 10)
		if (waited > START_MS || waitpid(pid, NULL, WNOHANG) != 0 || poll(NULL, 0, 10) != 0)
			die("ringgate-enrolld does not start");
	return pid;
}

/* ---- clients ---- */

struct load {
	pthread_mutex_t lock;
	unsigned next, count, first_user;
	bool with_password;
};

static size_t discard(char *data, size_t size, size_t count, void *userdata) {
	(void)data, (void)userdata;
	return size * count;
}

static void add_part(curl_mime *form, const char *name, const void *data, size_t length, const char *type) {
	curl_mimepart *part = curl_mime_addpart(form);

	curl_mime_name(part, name);
	curl_mime_data(part, data, length);
	if (type)
		curl_mime_type(part, type);
}

static void enroll(CURL *curl, const struct user *user, bool with_password) {
	char message[CURL_ERROR_SIZE] = "";
	curl_mime *form = curl_mime_init(curl);
	long status = 0;

	add_part(form, "username", user->name, CURL_ZERO_TERMINATED, NULL);
	if (with_password)
		add_part(form, "password", ENROLL_SITE_PASSWORD, CURL_ZERO_TERMINATED, NULL);
	add_part(form, "csr", user->csr, user->csr_length, "application/pkcs10");
	curl_easy_setopt(curl, CURLOPT_MIMEPOST, form);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, message);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_mime_free(form);
	if (code != CURLE_OK || status != 200) {
		fprintf(stderr, "%s: %s, status %ld\n", user->name, message, status);
		exit(EXIT_FAILURE);
	}
}

static void *client_loop(void *userdata) {
	struct load *load = userdata;
	struct curl_slist *redirect = curl_slist_append(NULL, connect_to);
	CURL *curl = curl_easy_init();

	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CONNECT_TO, redirect);
	curl_easy_setopt(curl, CURLOPT_CAINFO, https_path);
	curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, 60L);
	curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, discard);
	for (;;) {
		pthread_mutex_lock(&load->lock);
		unsigned number = load->next < load->count ? load->next++ : load->count;
		pthread_mutex_unlock(&load->lock);
		if (number == load->count)
			break;
		enroll(curl, &users[(load->first_user + number) % USERS], load->with_password);
	}
	curl_easy_cleanup(curl);
	curl_slist_free_all(redirect);
	return NULL;
}

/* Processor time the daemon has used, in milliseconds. */
static double server_cpu_ms(pid_t pid) {
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
		die("the daemon is gone");
	return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
}

struct figures {
	double per_s[REPETITIONS], cpu_ms[REPETITIONS];
};

static void run(pid_t pid, unsigned count, unsigned first_user, bool with_password, struct figures *figures, unsigned repetition) {
	struct load load = {.count = count, .first_user = first_user, .with_password = with_password};
	double before_ms = server_cpu_ms(pid);
	pthread_t threads[THREADS];

	pthread_mutex_init(&load.lock, NULL);
	uint64_t start_us = clock_monotonic_us();
	for (size_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, client_loop, &load) != 0)
			die("no threads");
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	uint64_t took_us = clock_monotonic_us() - start_us;
	pthread_mutex_destroy(&load.lock);
	figures->per_s[repetition] = count * 1e6 / (double)took_us;
	figures->cpu_ms[repetition] = (server_cpu_ms(pid) - before_ms) / count;
}

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values) {
	qsort(values, REPETITIONS, sizeof(*values), compare);
	return values[REPETITIONS / 2];
}

static void cleanup(void) {
	enroll_site_release(&site);
}

int main(void) {
	struct figures with_hash, without_hash;

	atexit(cleanup);
	if (enroll_site_new(&site) < 0 || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		die("no site");
	make_https();
	make_users();
	pid_t pid = start_server();
	for (unsigned i = 0; i < REPETITIONS; i++)
		run(pid, ENROLLMENTS, i * ENROLLMENTS, true, &with_hash, i);
	/* The rest, so that all have a certificate. */
	run(pid, USERS - REPETITIONS * ENROLLMENTS, REPETITIONS * ENROLLMENTS, true, &without_hash, 0);
	for (unsigned i = 0; i < REPETITIONS; i++)
		run(pid, RENEWALS, 0, false, &without_hash, i);
	kill(pid, SIGTERM);
	waitpid(pid, NULL, 0);
	for (unsigned i = 0; i < USERS; i++)
		free(users[i].csr);
	printf("enroll_per_s %.1f\nenroll_nohash_per_s %.1f\n", median(with_hash.per_s), median(without_hash.per_s));
	printf("enroll_cpu_ms %.2f\nenroll_nohash_cpu_ms %.2f\n", median(with_hash.cpu_ms), median(without_hash.cpu_ms));
	return EXIT_SUCCESS;
}
