/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands for enrollment at a site: enroll, for the gateway and for its users, and overlay fetch. */
#include "cmd/ctl.h"

#include "base/runtime.h"
#include "enroll/client.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
	ATTEMPTS_MAX = 6,    /* at a server that is busy */
	PAUSE_DEFAULT_S = 5, /* between them, when it does not say */
	PAUSE_MAX_S = 120,
	USERS_MAX_LINES = 100000,
	DATE_SIZE = 32,
};

static uint64_t now_ms(void) {
	struct runtime_source source = runtime_source_system();

	return source.realtime_ms(source.userdata);
}

static int complain(const char *reason) {
	fprintf(stderr, "ringgatectl: %s\n", reason);
	return CTL_FAILED;
}

static const char *format_date(uint64_t ms, char date[static DATE_SIZE]) {
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm;

	date[0] = 0;
	if (gmtime_r(&seconds, &tm))
		strftime(date, DATE_SIZE, "%Y-%m-%d %H:%M UTC", &tm);
	return date;
}

static int open_client(const struct ctl *ctl, const char *server, struct client **ret) {
	const struct client_settings settings = {
		.server = server, .overlay_name = ctl->overlay.name, .address = ctl->address, .ca_file = ctl->ca_file};
	char reason[PROVISION_REASON_SIZE] = "";

	return client_open(&settings, ret, reason) < 0 ? complain(reason) : CTL_DONE;
}

/* ---- one ---- */

static int told_enrolled(const struct ctl *ctl, const struct client_enrollment *enrollment, const struct client_result *result) {
	char text[ID_TEXT_SIZE], date[DATE_SIZE];

	id_format(&result->node_id, text);
	if (ctl->json) {
		json_t *object = json_pack("{s:s, s:i, s:s, s:s, s:s, s:s*, s:I}", "overlay", result->overlay_name, "sequence",
					   (int)result->sequence, "user", enrollment->user_name, "node_id", text, "output",
					   enrollment->output, "document", enrollment->document_path, "not_after_ms",
					   (json_int_t)result->not_after_ms);
		ctl_print_json(object);
		json_decref(object);
	} else {
		printf("%s is enrolled in overlay %s with Node-ID %s until %s.\n%s%s%s.crt and %s.key are installed.\n",
		       enrollment->user_name, result->overlay_name, text, format_date(result->not_after_ms, date),
		       enrollment->document_path ? enrollment->document_path : "", enrollment->document_path ? ", " : "",
		       enrollment->output, enrollment->output);
	}
	return CTL_DONE;
}

static int enroll_one(struct ctl *ctl, struct client *client, const char *document, const char *output) {
	bool keep = ctl->keep_document || ctl->account;
	char password[PASSWORD_MAX + 2] = "", reason[PROVISION_REASON_SIZE] = "";
	struct client_result result;

	if (client_fetch(client, keep ? NULL : document, reason) < 0)
		return complain(reason);
	/* Whoever renews has the key of a valid certificate; the password is for when that has expired. */
	bool with_password = !ctl->renew || ctl->password_file;
	int status = with_password ? ctl_get_password(ctl, password) : CTL_DONE;
	if (status != CTL_DONE)
		return status;
	const struct client_enrollment enrollment = {
		.account = ctl->account,
		.user_name = ctl->certificate.user_name,
		.password = with_password ? octets_of_string(password) : OCTETS_NONE,
		.node_ids = ctl->certificate.node_id_count,
		.key_type = ctl->certificate.key_type,
		.document_path = keep ? NULL : document,
		.output = output,
		.renew = ctl->renew,
	};
	int error = client_enroll(client, &enrollment, &result, reason);
	octets_wipe(password, sizeof(password));
	return error < 0 ? complain(reason) : told_enrolled(ctl, &enrollment, &result);
}

/* ---- many ---- */

enum outcome { OUTCOME_ENROLLED, OUTCOME_RENEWED, OUTCOME_NOT_DUE, OUTCOME_FAILED, OUTCOME_COUNT };
static const char *const outcome_texts[] = {"enrolled", "renewed", "not due", "failed"};

struct users_job {
	struct ctl *ctl;
	struct client *client;
	const char *directory;
	struct octets password; /* of the account */
	unsigned counts[OUTCOME_COUNT];
};

static void told_user(struct users_job *job, const char *name, enum outcome outcome, const struct client_result *result,
		      const char *reason) {
	char text[ID_TEXT_SIZE] = "", date[DATE_SIZE];
	bool issued = outcome == OUTCOME_ENROLLED || outcome == OUTCOME_RENEWED;

	job->counts[outcome]++;
	if (issued)
		id_format(&result->node_id, text);
	if (job->ctl->json) {
		json_array_append_new(job->ctl->list, json_pack("{s:s, s:s, s:s*, s:s*}", "user", name, "outcome",
								outcome_texts[outcome], "node_id", issued ? text : NULL, "error",
								outcome == OUTCOME_FAILED ? reason : NULL));
	} else if (issued) {
		printf("%-36s %-8s until %s\n", name, outcome_texts[outcome], format_date(result->not_after_ms, date));
	} else if (outcome == OUTCOME_FAILED) {
		fflush(stdout);
		fprintf(stderr, "ringgatectl: %s: %s\n", name, reason);
	}
}

enum installed { INSTALLED_DUE, INSTALLED_NOT_DUE, INSTALLED_EXPIRED };

/* Is there a certificate already, and is it good for a while? -ENOENT, or one of the above. */
static int look_at_installed(const struct users_job *job, const char *stem, char *reason) {
	_cleanup_(credential_unrefp) struct credential *credential = NULL;
	const struct overlay_config *config = client_config(job->client);
	char certificate[PATH_MAX], key[PATH_MAX];

	if (snprintf(certificate, sizeof(certificate), "%s.crt", stem) >= PATH_MAX ||
	    snprintf(key, sizeof(key), "%s.key", stem) >= PATH_MAX) {
		snprintf(reason, PROVISION_REASON_SIZE, "The path %.200s is too long.", stem);
		return -ENAMETOOLONG;
	}
	if (access(certificate, F_OK) < 0 && access(key, F_OK) < 0)
		return -ENOENT;
	int error = credential_load(certificate, key, config->overlay_name, config->node_id_length, &credential, reason,
				    PROVISION_REASON_SIZE);
	if (error < 0)
		return error == -ENOENT ? -EBADMSG : error;
	uint64_t life_ms = credential->certificate->not_after_ms - credential->certificate->not_before_ms;
	if (now_ms() >= credential->certificate->not_after_ms)
		return INSTALLED_EXPIRED;
	return now_ms() < credential->certificate->not_before_ms + life_ms * 2 / 3 ? INSTALLED_NOT_DUE : INSTALLED_DUE;
}

static void pause_s(unsigned seconds) {
	struct timespec left = {.tv_sec = seconds};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* A busy server is asked again when it said. */
static int enroll_patiently(struct client *client, const struct client_enrollment *enrollment, struct client_result *result,
			    char *reason) {
	int error = -EAGAIN;

	for (unsigned attempt = 0; error == -EAGAIN && attempt < ATTEMPTS_MAX; attempt++) {
		if (attempt > 0) {
			unsigned pause = result->retry_after_s ? result->retry_after_s : PAUSE_DEFAULT_S;
			pause_s(pause < PAUSE_MAX_S ? pause : PAUSE_MAX_S);
		}
		error = client_enroll(client, enrollment, result, reason);
	}
	return error;
}

static void enroll_user(struct users_job *job, const char *name, const char *password) {
	char stem[PATH_MAX], reason[PROVISION_REASON_SIZE] = "";
	struct client_result result = {.sequence = 0};
	struct client_enrollment enrollment = {
		.account = password ? NULL : job->ctl->account,
		.user_name = name,
		.password = password ? octets_of_string(password) : job->password,
		.node_ids = job->ctl->certificate.node_id_count,
		.key_type = job->ctl->certificate.key_type,
		.output = stem,
	};

	if (!account_name_usable(octets_of_string(name))) {
		told_user(job, name, OUTCOME_FAILED, NULL, "This is no user name such as alice@example.org.");
		return;
	}
	if (snprintf(stem, sizeof(stem), "%s/%s", job->directory, name) >= PATH_MAX) {
		told_user(job, name, OUTCOME_FAILED, NULL, "The path of its certificate is too long.");
		return;
	}
	int installed = look_at_installed(job, stem, reason);
	if (installed == INSTALLED_NOT_DUE) {
		told_user(job, name, OUTCOME_NOT_DUE, NULL, NULL);
		return;
	}
	enrollment.renew = installed >= 0;
	struct octets secret = enrollment.password;
	if (installed == INSTALLED_DUE) /* by its own key; the password is for servers that want it again */
		enrollment.password = OCTETS_NONE;
	int error = installed < 0 && installed != -ENOENT ? installed : 0;
	if (error == 0 && installed != INSTALLED_DUE && !secret.data) {
		snprintf(reason, sizeof(reason), "There is neither a password in its line nor an --account with a voucher.");
		error = -EACCES;
	}
	if (error == 0)
		error = enroll_patiently(job->client, &enrollment, &result, reason);
	if (error == -EACCES && installed == INSTALLED_DUE && secret.data) {
		enrollment.password = secret;
		error = enroll_patiently(job->client, &enrollment, &result, reason);
	}
	told_user(job, name, error < 0 ? OUTCOME_FAILED : enrollment.renew ? OUTCOME_RENEWED : OUTCOME_ENROLLED, &result, reason);
}

/* "alice@example.org" or "alice@example.org password"; empty lines and those that begin with # are passed over. */
static int read_users(struct users_job *job, FILE *file, bool open_to_others) {
	_cleanup_free_ char *line = NULL;
	size_t size = 0, lines = 0;

	while (getline(&line, &size, file) >= 0) {
		char *name = line + strspn(line, " \t"), *password = NULL;
		if (++lines > USERS_MAX_LINES)
			return complain("The file has too many lines.");
		name[strcspn(name, "\r\n")] = 0;
		if (!*name || *name == '#')
			continue;
		password = name + strcspn(name, " \t");
		if (*password)
			*password++ = 0;
		password += strspn(password, " \t");
		if (*password && open_to_others)
			return complain("A file with passwords may not be open to others; its mode should be 0600.");
		enroll_user(job, name, *password ? password : NULL);
		octets_wipe(line, size);
	}
	return ferror(file) ? complain("The file with the users cannot be read.") : CTL_DONE;
}

static int told_users(struct users_job *job) {
	struct ctl *ctl = job->ctl;

	if (ctl->json) {
		json_t *object =
			json_pack("{s:O, s:i, s:i, s:i, s:i}", "users", ctl->list, "enrolled", (int)job->counts[OUTCOME_ENROLLED],
				  "renewed", (int)job->counts[OUTCOME_RENEWED], "not_due", (int)job->counts[OUTCOME_NOT_DUE],
				  "failed", (int)job->counts[OUTCOME_FAILED]);
		ctl_print_json(object);
		json_decref(object);
	} else {
		printf("%u enrolled, %u renewed, %u not due, %u failed.\n", job->counts[OUTCOME_ENROLLED],
		       job->counts[OUTCOME_RENEWED], job->counts[OUTCOME_NOT_DUE], job->counts[OUTCOME_FAILED]);
	}
	return job->counts[OUTCOME_FAILED] > 0 ? CTL_FAILED : CTL_DONE;
}

static int enroll_users(struct ctl *ctl, struct client *client, const char *directory) {
	struct users_job job = {.ctl = ctl, .client = client, .directory = directory};
	char password[PASSWORD_MAX + 2] = "", reason[PROVISION_REASON_SIZE] = "";
	struct stat status;

	_cleanup_fclose_ FILE *file = fopen(ctl->users_file, "re");
	if (!file || fstat(fileno(file), &status) < 0) {
		fprintf(stderr, "ringgatectl: %s cannot be read: %s.\n", ctl->users_file, strerror(errno));
		return CTL_FAILED;
	}
	if (client_fetch(client, NULL, reason) < 0)
		return complain(reason);
	int result = ctl->account ? ctl_get_password(ctl, password) : CTL_DONE;
	if (result != CTL_DONE)
		return result;
	job.password = ctl->account ? octets_of_string(password) : OCTETS_NONE;
	ctl->list = json_array();
	result = read_users(&job, file, S_ISREG(status.st_mode) && status.st_mode & (S_IRWXG | S_IRWXO));
	octets_wipe(password, sizeof(password));
	if (result == CTL_DONE)
		result = told_users(&job);
	json_decref(ctl->list);
	ctl->list = NULL;
	return result;
}

/* ---- commands ---- */

int ctl_enroll(struct ctl *ctl) {
	_cleanup_(client_closep) struct client *client = NULL;
	const char *directory = ctl->directory ? ctl->directory : "/var/lib/ringgate", *name = ctl->certificate.user_name;
	const char *user = ctl->account ? name : NULL; /* of the site: beside the others */
	char document[PATH_MAX], output[PATH_MAX];

	if ((!name && !ctl->users_file) || (name && ctl->users_file) || (ctl->users_file && ctl->renew)) {
		fputs("ringgatectl: enroll needs either --user, the account at the server, such as --user site1@example.org, or "
		      "--users "
		      "and a file of them; what of these is due is renewed without --renew.\n",
		      stderr);
		return CTL_USAGE;
	}
	if (snprintf(document, sizeof(document), "%s/overlay.xml", directory) >= PATH_MAX ||
	    snprintf(output, sizeof(output), "%s/%s%s", directory, user || ctl->users_file ? "users" : "node", user ? "/" : "") >=
		    PATH_MAX)
		return complain("The path of the directory is too long.");
	if (user && (!account_name_usable(octets_of_string(user)) || strlen(output) + strlen(user) >= PATH_MAX))
		return complain("A user name is like alice@example.org: letters, digits and . - _ + ! * ~ $ & = around one @.");
	if (user)
		strcat(output, user);
	int status = open_client(ctl, ctl->arguments[0], &client);
	if (status != CTL_DONE)
		return status;
	const char *where = ctl->certificate.output ? ctl->certificate.output : output;
	return ctl->users_file ? enroll_users(ctl, client, where)
			       : enroll_one(ctl, client, ctl->document ? ctl->document : document, where);
}

int ctl_overlay_fetch(struct ctl *ctl) {
	_cleanup_(client_closep) struct client *client = NULL;
	char reason[PROVISION_REASON_SIZE] = "";
	bool changed = false;

	if (ctl->argument_count < 3) {
		fputs("ringgatectl: overlay fetch takes an overlay name or an https URL, and the file for the document.\n", stderr);
		return CTL_USAGE;
	}
	int status = open_client(ctl, ctl->arguments[1], &client);
	if (status != CTL_DONE)
		return status;
	if (client_fetch(client, NULL, reason) < 0 || client_save(client, ctl->arguments[2], &changed, reason) < 0)
		return complain(reason);
	const struct overlay_config *config = client_config(client);
	if (ctl->json) {
		json_t *object = json_pack("{s:s, s:i, s:b, s:s}", "overlay", config->overlay_name, "sequence",
					   (int)config->sequence, "changed", changed, "document", ctl->arguments[2]);
		ctl_print_json(object);
		json_decref(object);
	} else {
		printf("%s %s the document of overlay %s with sequence number %u.\n", ctl->arguments[2],
		       changed ? "is now" : "was already", config->overlay_name, config->sequence);
	}
	return CTL_DONE;
}
