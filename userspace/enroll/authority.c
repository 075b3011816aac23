/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/authority.h"

#include "base/log.h"
#include "base/runtime.h"
#include "enroll/csr.h"
#include "enroll/guard.h"
#include "overlay/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define DAY_MS UINT64_C(86400000)
#define BACKDATE_MS UINT64_C(3600000) /* clocks of joining sites may be behind */

enum { KEY_FILE_MAX = 65536, MAX_AGE_S = 3600 };

DEFINE_CLEANUP(X509 *, X509_free)
DEFINE_CLEANUP(EVP_PKEY *, EVP_PKEY_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)

struct authority {
	char *directory, overlay_name[254], document_path[PATH_MAX];
	struct authority_policy policy;
	X509 *root; /* NULL when nodes make their own certificates */
	EVP_PKEY *root_key;
	char dummy_password[PASSWORD_TEXT_SIZE]; /* checked when there is no account */
	struct guard *guard;			 /* of accounts */

	pthread_mutex_t ledger_lock; /* held while the disk is waited for */
	struct ledger *ledger;

	pthread_mutex_t document_lock; /* everything below */
	struct overlay_config *config; /* published */
	struct timespec modified;
	ino_t inode;
	char etag[72];
};

const char *enrollment_outcome_token(enum enrollment_outcome outcome) {
	/* B-11.3-06 */
	static const char *const tokens[] = {
		[ENROLLMENT_FAILED_AUTHENTICATION] = "failed_authentication",
		[ENROLLMENT_USERNAME_NOT_AVAILABLE] = "username_not_available",
		[ENROLLMENT_NODE_IDS_NOT_AVAILABLE] = "Node-IDs_not_available",
		[ENROLLMENT_BAD_CSR] = "bad_CSR",
	};

	return outcome < ARRAY_LENGTH(tokens) ? tokens[outcome] : NULL;
}

static int fail(char *reason, int error, const char *path, const char *text) {
	snprintf(reason, PROVISION_REASON_SIZE, "%.300s %.200s", path, text);
	return error;
}

/* ---- opening ---- */

static int no_password(char *buffer, int size, int writing, void *userdata) {
	(void)buffer, (void)size, (void)writing, (void)userdata;
	return -1;
}

static int load_key(const char *path, EVP_PKEY **ret, char *reason) {
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	uint8_t buffer[KEY_FILE_MAX];
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return fail(reason, -errno, path, "cannot be read.");
	if (!S_ISREG(status.st_mode) || status.st_mode & (S_IRWXG | S_IRWXO))
		return fail(reason, -EPERM, path, "is open to others than its owner; its mode should be 0600.");
	if (status.st_uid != geteuid() && geteuid() != 0)
		return fail(reason, -EPERM, path, "belongs to another user.");
	ssize_t length = read(fd, buffer, sizeof(buffer));
	_cleanup_(BIO_free_allp) BIO *bio = length > 0 ? BIO_new_mem_buf(buffer, (int)length) : NULL;
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
	octets_wipe(buffer, sizeof(buffer));
	ERR_clear_error();
	if (!key)
		return fail(reason, -EBADMSG, path, "holds no unencrypted private key in PEM form.");
	*ret = key;
	return 0;
}

static int load_root(struct authority *authority, char *reason) {
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/ca.crt", authority->directory);
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	authority->root = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
	ERR_clear_error();
	if (!authority->root)
		return fail(reason, -EBADMSG, path, "holds no readable certificate in PEM form; see: ringgatectl overlay create");
	snprintf(path, sizeof(path), "%s/ca.key", authority->directory);
	int error = load_key(path, &authority->root_key, reason);
	if (error == 0 && X509_check_private_key(authority->root, authority->root_key) != 1) {
		ERR_clear_error();
		return fail(reason, -EKEYREJECTED, path, "is not the key of ca.crt.");
	}
	return error;
}

/* A CA of its own an overlay has, or a document that says that nodes make their own certificates. */
static int find_root(struct authority *authority, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	char path[PATH_MAX], sentence[CONFIG_REASON_SIZE];

	snprintf(path, sizeof(path), "%s/ca.crt", authority->directory);
	if (access(path, F_OK) < 0 && overlay_config_load(authority->document_path, NULL, &config, sentence) == 0 &&
	    config->root_count == 0)
		return 0;
	return load_root(authority, reason);
}

static bool root_is_listed(const struct authority *authority, const struct overlay_config *config) {
	for (size_t i = 0; i < config->root_count; i++)
		if (X509_cmp(config->roots[i], authority->root) == 0)
			return true;
	return false;
}

static void make_etag(const struct overlay_config *config, char etag[static 72]) {
	struct octets document = OCTETS(config->document, config->document_length);
	uint8_t sha256[SHA256_LENGTH] = {0};
	char *at = etag;

	(void)digest_sha256(&document, 1, sha256);
	*at++ = '"';
	for (size_t i = 0; i < sizeof(sha256); i++, at += 2)
		snprintf(at, 3, "%02x", sha256[i]);
	strcpy(at, "\"");
}

static int load_document(struct authority *authority, char *reason) {
	_cleanup_(overlay_config_unrefp) struct overlay_config *config = NULL;
	const char *path = authority->document_path;
	char sentence[CONFIG_REASON_SIZE] = "";
	struct stat status;

	if (stat(path, &status) < 0)
		return fail(reason, -errno, path, "cannot be read; put a document there with: ringgatectl overlay publish");
	if (authority->config && status.st_ino == authority->inode && status.st_mtim.tv_sec == authority->modified.tv_sec &&
	    status.st_mtim.tv_nsec == authority->modified.tv_nsec)
		return 0;
	authority->inode = status.st_ino;
	authority->modified = status.st_mtim;
	int error = overlay_config_load(path, authority->overlay_name[0] ? authority->overlay_name : NULL, &config, sentence);
	if (error < 0)
		return fail(reason, error, "", sentence[0] ? sentence : strerror(-error));
	if (!authority->root && config->root_count > 0)
		return fail(reason, -EKEYREJECTED, path,
			    "lists a root certificate, and no ca.crt was there when the server started.");
	if (authority->root && !root_is_listed(authority, config))
		return fail(reason, -EKEYREJECTED, path, "does not list ca.crt as a root certificate.");
	overlay_config_unref(authority->config);
	authority->config = TAKE(config);
	make_etag(authority->config, authority->etag);
	return 0;
}

int authority_open(const char *directory, const struct authority_policy *policy, struct authority **ret,
		   char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(authority_closep) struct authority *authority = calloc(1, sizeof(*authority));

	if (authority) {
		pthread_mutex_init(&authority->ledger_lock, NULL);
		pthread_mutex_init(&authority->document_lock, NULL);
	}
	if (!authority || !(authority->directory = strdup(directory)))
		return fail(reason, -ENOMEM, directory, "cannot be opened: out of memory.");
	if (snprintf(authority->document_path, PATH_MAX, "%s/published.xml", directory) >= PATH_MAX)
		return fail(reason, -ENAMETOOLONG, directory, "is too long a path.");
	authority->policy = *policy;
	const struct guard_limits limits = {.account_failures = policy->failures_max, .account_s = policy->lockout_s};
	int error = guard_new(&limits, &authority->guard);
	if (error == 0)
		error = find_root(authority, reason);
	else
		fail(reason, error, directory, "cannot be opened: out of memory.");
	if (error == 0)
		error = load_document(authority, reason);
	if (error == 0 && authority->root)
		error = ledger_open(directory, false, &authority->ledger, reason);
	if (error == 0 && (error = password_hash(OCTETS_NONE, PASSWORD_LOG_N_DEFAULT, authority->dummy_password)) < 0)
		fail(reason, error, directory, "cannot be opened: scrypt is not available.");
	if (error < 0)
		return error;
	snprintf(authority->overlay_name, sizeof(authority->overlay_name), "%s", authority->config->overlay_name);
	*ret = TAKE(authority);
	return 0;
}

struct authority *authority_close(struct authority *authority) {
	if (!authority)
		return NULL;
	X509_free(authority->root);
	EVP_PKEY_free(authority->root_key); /* wipes the private numbers */
	ledger_close(authority->ledger);
	overlay_config_unref(authority->config);
	guard_free(authority->guard);
	pthread_mutex_destroy(&authority->ledger_lock);
	pthread_mutex_destroy(&authority->document_lock);
	free(authority->directory);
	free(authority);
	return NULL;
}

const char *authority_overlay_name(const struct authority *authority) {
	return authority->overlay_name;
}

bool authority_enrolls(const struct authority *authority) {
	return authority->root != NULL;
}

static unsigned max_age_s(const struct overlay_config *config) {
	struct runtime_source source = runtime_source_system();
	uint64_t now_ms = source.realtime_ms(source.userdata);

	if (config->expiration_ms == 0 || config->expiration_ms > now_ms + MAX_AGE_S * UINT64_C(1000))
		return MAX_AGE_S;
	return config->expiration_ms > now_ms ? (unsigned)((config->expiration_ms - now_ms) / 1000) : 0;
}

int authority_document(struct authority *authority, struct published_document *ret) {
	char reason[PROVISION_REASON_SIZE] = "";

	pthread_mutex_lock(&authority->document_lock);
	if (load_document(authority, reason) < 0)
		log_warning("The last good document stays published. %s", reason);
	const struct overlay_config *config = authority->config;
	uint8_t *copy = malloc(config->document_length);
	if (copy) {
		memcpy(copy, config->document, config->document_length);
		*ret = (struct published_document){.document = OCTETS(copy, config->document_length),
						   .max_age_s = max_age_s(config),
						   .confidential = config->shared_secret != NULL};
		memcpy(ret->etag, authority->etag, sizeof(ret->etag));
	}
	pthread_mutex_unlock(&authority->document_lock);
	return copy ? 0 : -ENOMEM;
}

/* ---- enrollment ---- */

static enum enrollment_outcome refuse(enum enrollment_outcome outcome, const char *why, struct enrollment_answer *answer) {
	answer->why = why;
	return outcome;
}

/* Closed to this network, or to all that are strangers to the account? The lock of the ledger is held. */
static unsigned account_wait_s(struct authority *authority, const struct enrollment *enrollment,
			       const struct guard_account *account, const char *name) {
	unsigned wait = guard_account_wait_s(authority->guard, account, &enrollment->source, enrollment->now_us);
	unsigned strangers = guard_strangers_wait_s(authority->guard, account, enrollment->now_us);

	if (wait < strangers && !(name[0] && ledger_user_enrolled_from(authority->ledger, name, &enrollment->source)))
		wait = strangers;
	return wait;
}

/* A failure is counted where it closes the account, and later where the operator sees it. */
static enum enrollment_outcome note_failure(struct authority *authority, const struct enrollment *enrollment,
					    const struct guard_account *account, bool exists, const char *why,
					    struct enrollment_answer *answer) {
	guard_account_failed(authority->guard, account, &enrollment->source, enrollment->now_us);
	answer->wrong_password = exists;
	return refuse(ENROLLMENT_FAILED_AUTHENTICATION, why, answer);
}

/* Who is asking, and with the right password? The ledger's lock is not held while the hash is computed. */
static enum enrollment_outcome authenticate(struct authority *authority, const struct enrollment *enrollment, const char *name,
					    struct enrollment_answer *answer) {
	struct ledger_user user = {.disabled = true};

	pthread_mutex_lock(&authority->ledger_lock);
	int found = name[0] ? ledger_user_get(authority->ledger, name, &user) : -ENOENT;
	struct guard_account account = guard_account(enrollment->user_name, found == 0 ? user.password : "");
	answer->wait_s = account_wait_s(authority, enrollment, &account, found == 0 ? name : "");
	pthread_mutex_unlock(&authority->ledger_lock);
	int matches = 0;
	bool has_password = found == 0 && user.password[0] == '$'; /* those that a voucher opened have none */
	if (answer->wait_s == 0)
		matches = password_check(enrollment->password, has_password ? user.password : authority->dummy_password);
	if (matches == 0 && found == 0 && !has_password && answer->wait_s == 0)
		matches = -EKEYREJECTED;
	octets_wipe(user.password, sizeof(user.password));
	if (found < 0 && found != -ENOENT)
		return refuse(ENROLLMENT_TROUBLE, "the ledger cannot be read", answer);
	if (answer->wait_s > 0)
		return refuse(ENROLLMENT_THROTTLED, "too many wrong passwords for this account", answer);
	if (found == -ENOENT)
		return note_failure(authority, enrollment, &account, false, "no such account", answer);
	if (matches != 0 && matches != -EKEYREJECTED)
		return refuse(ENROLLMENT_TROUBLE, "the password cannot be checked", answer);
	if (matches == -EKEYREJECTED)
		return note_failure(authority, enrollment, &account, true, "wrong password", answer);
	guard_account_succeeded(authority->guard, &account, &enrollment->source);
	if (user.disabled)
		return refuse(ENROLLMENT_FAILED_AUTHENTICATION, "the account is disabled", answer);
	return ENROLLMENT_ISSUED;
}

/* Within a transaction of the ledger. ENROLLMENT_ISSUED: it may be. */
static enum enrollment_outcome check_account(struct authority *authority, const struct enrollment *enrollment, const char *name,
					     EVP_PKEY *key, struct enrollment_answer *answer) {
	unsigned node_ids_max, issued = 0;
	struct ledger_user user;

	/* Again, because the operator may have changed it while the hash was computed. */
	int error = ledger_user_get(authority->ledger, name, &user);
	octets_wipe(user.password, sizeof(user.password));
	if (error < 0 && !(error == -ENOENT && enrollment->renewal))
		return refuse(ENROLLMENT_TROUBLE, "the ledger cannot be read", answer);
	if (enrollment->renewal) {
		error = error < 0 ? error : ledger_certificate_for(authority->ledger, name, key, enrollment->now_ms, &node_ids_max);
		if (error < 0 && error != -ENOENT)
			return refuse(ENROLLMENT_TROUBLE, "the ledger cannot be read", answer);
		if (error == -ENOENT)
			return refuse(ENROLLMENT_FAILED_AUTHENTICATION, "no password, and no valid certificate for this key",
				      answer);
		if (node_ids_max < user.node_ids_max)
			user.node_ids_max = node_ids_max;
	}
	if (user.disabled)
		return refuse(ENROLLMENT_FAILED_AUTHENTICATION, "the account is disabled", answer);
	if (enrollment->node_ids < 1 || enrollment->node_ids > user.node_ids_max || enrollment->node_ids > CERTIFICATE_NODE_IDS_MAX)
		return refuse(ENROLLMENT_NODE_IDS_NOT_AVAILABLE, "more Node-IDs than the account may have", answer);
	uint64_t since_ms = enrollment->now_ms > DAY_MS ? enrollment->now_ms - DAY_MS : 0;
	if (ledger_user_issued(authority->ledger, name, since_ms, &issued) < 0)
		return refuse(ENROLLMENT_TROUBLE, "the ledger cannot be read", answer);
	if (authority->policy.per_day > 0 && issued >= authority->policy.per_day) {
		answer->wait_s = AUTHORITY_DAY_S / authority->policy.per_day;
		return refuse(ENROLLMENT_THROTTLED, "the account has had as many certificates as it may within a day", answer);
	}
	return ENROLLMENT_ISSUED;
}

/* Within a transaction of the ledger. */
static enum enrollment_outcome issue(struct authority *authority, const struct enrollment *enrollment, const char *name,
				     EVP_PKEY *key, struct certificate **ret, struct enrollment_answer *answer) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
	struct id node_ids[CERTIFICATE_NODE_IDS_MAX];
	char source[ADDRESS_TEXT_SIZE];

	enum enrollment_outcome outcome = check_account(authority, enrollment, name, key, answer);
	if (outcome != ENROLLMENT_ISSUED)
		return outcome;
	if (ledger_node_ids(authority->ledger, name, enrollment->node_ids, node_ids) < 0)
		return refuse(ENROLLMENT_TROUBLE, "Node-IDs cannot be written to the ledger", answer);
	const struct authority_policy *policy = &authority->policy;
	uint64_t life_ms = policy->certificate_s ? policy->certificate_s * UINT64_C(1000) : policy->certificate_days * DAY_MS;
	struct certificate_request request = {
		.overlay_name = authority->overlay_name,
		.user_name = name,
		.node_ids = node_ids,
		.node_id_count = enrollment->node_ids,
		.key = key,
		.not_before_ms = enrollment->now_ms - (life_ms / 10 < BACKDATE_MS ? life_ms / 10 : BACKDATE_MS),
		.not_after_ms = enrollment->now_ms + life_ms,
	};
	int error = certificate_issue(&request, authority->root, authority->root_key, &certificate); /* B-11.3-04 */
	if (error == -EINVAL)
		return refuse(ENROLLMENT_BAD_CSR, "no certificate can be made for this key", answer);
	if (error < 0)
		return refuse(ENROLLMENT_TROUBLE, "the certificate cannot be made", answer);
	if (ledger_user_succeeded(authority->ledger, name) < 0 ||
	    ledger_certificate_add(authority->ledger, name, certificate, address_format_host(&enrollment->source, source),
				   enrollment->now_ms) < 0)
		return refuse(ENROLLMENT_TROUBLE, "the certificate cannot be written to the ledger", answer);
	*ret = TAKE(certificate);
	return ENROLLMENT_ISSUED;
}

/* `account` asks for a certificate of `name`. Within a transaction of the ledger. ENROLLMENT_ISSUED: it may. */
static enum enrollment_outcome check_voucher(struct authority *authority, const struct enrollment *enrollment, const char *account,
					     const char *name, struct enrollment_answer *answer) {
	struct ledger_user user;

	int error = ledger_user_get(authority->ledger, account, &user);
	octets_wipe(user.password, sizeof(user.password));
	if (error == 0 && user.disabled)
		return refuse(ENROLLMENT_FAILED_AUTHENTICATION, "the account is disabled", answer);
	if (error == 0)
		error = ledger_voucher_use(authority->ledger, account, name, enrollment->now_ms);
	switch (error) {
	case 0:
		return ENROLLMENT_ISSUED;
	case -EACCES:
		return refuse(ENROLLMENT_USERNAME_NOT_AVAILABLE,
			      "the request is for another user name, for which the account has no voucher", answer);
	case -EEXIST:
		return refuse(ENROLLMENT_USERNAME_NOT_AVAILABLE, "the user name is another account's", answer);
	case -E2BIG:
		return refuse(ENROLLMENT_USERNAME_NOT_AVAILABLE, "the voucher of the account is used up", answer);
	default:
		return refuse(ENROLLMENT_TROUBLE, "the ledger cannot be written", answer);
	}
}

/* `name`: whom the certificate is for, the account itself or a user it has a voucher for. */
static enum enrollment_outcome issue_and_record(struct authority *authority, const struct enrollment *enrollment,
						const char *account, const char *name, EVP_PKEY *key, struct certificate **ret,
						struct enrollment_answer *answer) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;

	pthread_mutex_lock(&authority->ledger_lock);
	enum enrollment_outcome outcome = ledger_begin(authority->ledger) == 0
						  ? ENROLLMENT_ISSUED
						  : refuse(ENROLLMENT_TROUBLE, "the ledger cannot be written", answer);
	if (outcome == ENROLLMENT_ISSUED && strcmp(account, name) != 0)
		outcome = check_voucher(authority, enrollment, account, name, answer);
	if (outcome == ENROLLMENT_ISSUED)
		outcome = issue(authority, enrollment, name, key, &certificate, answer);
	/* Nobody gets a certificate that the ledger does not know. */
	if (outcome == ENROLLMENT_ISSUED && ledger_commit(authority->ledger) < 0)
		outcome = refuse(ENROLLMENT_TROUBLE, "the ledger cannot be written", answer);
	ledger_rollback(authority->ledger);
	pthread_mutex_unlock(&authority->ledger_lock);
	if (outcome == ENROLLMENT_ISSUED)
		*ret = TAKE(certificate);
	return outcome;
}

/* B-11.3-08: first who it is, then everything else. A renewal is known by its key, once the request is read. */
static enum enrollment_outcome enroll(struct authority *authority, const struct enrollment *enrollment, struct certificate **ret,
				      struct enrollment_answer *answer) {
	_cleanup_(EVP_PKEY_freep) EVP_PKEY *key = NULL;
	char name[USER_NAME_MAX + 1] = "", wanted[USER_NAME_MAX + 1] = "";
	enum enrollment_outcome outcome = ENROLLMENT_ISSUED;

	if (ledger_name_usable(enrollment->user_name))
		memcpy(name, enrollment->user_name.data, enrollment->user_name.length);
	if (enrollment->renewal && authority->policy.renew_with_password)
		outcome = refuse(ENROLLMENT_FAILED_AUTHENTICATION, "no password", answer);
	else if (!enrollment->renewal)
		outcome = authenticate(authority, enrollment, name, answer);
	if (outcome != ENROLLMENT_ISSUED)
		return outcome;
	int error = csr_read(enrollment->csr, &key, wanted, &answer->why);
	if (error == -ENOMEM)
		return refuse(ENROLLMENT_TROUBLE, "out of memory", answer);
	if (enrollment->renewal && (error < 0 || !name[0]))
		return refuse(ENROLLMENT_FAILED_AUTHENTICATION, "no password, and no request for the key of a certificate", answer);
	if (error < 0)
		return error == -EINVAL ? ENROLLMENT_USERNAME_NOT_AVAILABLE : ENROLLMENT_BAD_CSR;
	if (enrollment->renewal && wanted[0] && strcmp(wanted, name) != 0)
		return refuse(ENROLLMENT_FAILED_AUTHENTICATION, "the request is for another user name", answer);
	return issue_and_record(authority, enrollment, name, wanted[0] ? wanted : name, key, ret, answer);
}

enum enrollment_outcome authority_enroll(struct authority *authority, const struct enrollment *enrollment,
					 struct enrollment_answer *ret) {
	_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;

	*ret = (struct enrollment_answer){.why = "issued"};
	enum enrollment_outcome outcome = enroll(authority, enrollment, &certificate, ret);
	if (outcome != ENROLLMENT_ISSUED)
		return outcome;
	ret->der = malloc(certificate->der_length);
	if (!ret->der)
		return refuse(ENROLLMENT_TROUBLE, "out of memory", ret);
	memcpy(ret->der, certificate->der, certificate->der_length);
	ret->der_length = certificate->der_length;
	return ENROLLMENT_ISSUED;
}

void authority_note_failure(struct authority *authority, const char *user_name) {
	pthread_mutex_lock(&authority->ledger_lock);
	int error = ledger_user_failed(authority->ledger, user_name);
	pthread_mutex_unlock(&authority->ledger_lock);
	if (error < 0)
		log_warning("A wrong password for %s cannot be noted in the ledger: %s.", user_name, strerror(-error));
}
