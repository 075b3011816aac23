/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands for enrollment on the server's side: user, node revoke, overlay sign, publish and bump. */
#include "cmd/ctl.h"

#include "base/runtime.h"
#include "enroll/edit.h"
#include "enroll/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <termios.h>
#include <time.h>

static uint64_t now_ms(void) {
	struct runtime_source source = runtime_source_system();

	return source.realtime_ms(source.userdata);
}

static int complain(const char *reason) {
	fprintf(stderr, "ringgatectl: %s\n", reason);
	return CTL_FAILED;
}

/* ---- passwords ---- */

static int read_line(FILE *file, char *line, size_t size) {
	setvbuf(file, NULL, _IONBF, 0); /* no copy stays in a buffer */
	if (!fgets(line, (int)size, file))
		return -ENODATA;
	line[strcspn(line, "\r\n")] = 0;
	return strlen(line) == size - 1 ? -E2BIG : 0;
}

int ctl_read_secret(const char *path, char *line, size_t size) {
	_cleanup_fclose_ FILE *file = strcmp(path, "-") == 0 ? NULL : fopen(path, "re");

	if (!file && strcmp(path, "-") != 0) {
		fprintf(stderr, "ringgatectl: %s cannot be read: %s.\n", path, strerror(errno));
		return CTL_FAILED;
	}
	int error = read_line(file ? file : stdin, line, size);
	if (error < 0)
		fprintf(stderr, "ringgatectl: the first line of %s %s.\n", file ? path : "standard input",
			error == -E2BIG ? "is too long" : "is missing");
	return error < 0 ? CTL_FAILED : CTL_DONE;
}

static int ask_password(char password[static PASSWORD_MAX + 2]) {
	_cleanup_fclose_ FILE *terminal = fopen("/dev/tty", "r+e");
	struct termios before, silent;

	if (!terminal || tcgetattr(fileno(terminal), &before) < 0)
		return -ENOTTY;
	setvbuf(terminal, NULL, _IONBF, 0);
	silent = before;
	silent.c_lflag &= ~(tcflag_t)ECHO;
	fputs("Password: ", terminal);
	tcsetattr(fileno(terminal), TCSAFLUSH, &silent);
	int error = read_line(terminal, password, PASSWORD_MAX + 2);
	tcsetattr(fileno(terminal), TCSAFLUSH, &before);
	fputs("\n", terminal);
	return error;
}

/* From --password-file ("-": standard input) or the terminal; never from the command line, where everybody can read it. */
int ctl_get_password(const struct ctl *ctl, char password[static PASSWORD_MAX + 2]) {
	if (ctl->password_file) {
		int status = ctl_read_secret(ctl->password_file, password, PASSWORD_MAX + 2);
		if (status != CTL_DONE || password[0])
			return status;
		fprintf(stderr, "ringgatectl: the first line of %s is empty, and should be the password.\n", ctl->password_file);
		return CTL_FAILED;
	}
	int error = ask_password(password);
	if (error == 0)
		return CTL_DONE;
	return complain(error == -E2BIG	   ? "A password has at most 256 octets."
			: error == -ENOTTY ? "There is no terminal to ask for the password; use --password-file."
					   : "No password was given.");
}

/* The password an account gets: the operator's, or a new random one. */
static int choose_password(const struct ctl *ctl, char password[static PASSWORD_MAX + 2], char hash[static PASSWORD_TEXT_SIZE]) {
	int error = 0;

	if (ctl->password_file) {
		int status = ctl_get_password(ctl, password);
		if (status != CTL_DONE)
			return status;
		if (strlen(password) < PASSWORD_MIN)
			return complain("A password has at least 8 characters.");
	} else {
		error = password_generate(password);
	}
	if (error == 0)
		error = password_hash(octets_of_string(password), PASSWORD_LOG_N_DEFAULT, hash);
	return error == 0 ? CTL_DONE : complain("The password cannot be hashed.");
}

/* ---- accounts ---- */

static const char bad_scope[] = "--voucher takes domains and names such as \"example.org alice@example.net\".";

static int explain(int error, const char *name) {
	char reason[PROVISION_REASON_SIZE];

	if (error == -EINVAL)
		return complain(bad_scope);

	snprintf(reason, sizeof(reason),
		 error == -ENOENT   ? "There is no user %s."
		 : error == -EEXIST ? "User %s exists already."
		 : error == -EBUSY  ? "The ledger is busy; %s was not changed."
				    : "The ledger cannot be written; %s was not changed.",
		 name);
	return complain(reason);
}

static int told(struct ctl *ctl, const char *name, const char *done, const char *password) {
	bool generated = password && !ctl->password_file;

	if (ctl->json) {
		json_t *result = json_pack("{s:s, s:s*}", "user", name, "password", generated ? password : NULL);
		ctl_print_json(result);
		json_decref(result);
	} else if (generated) {
		printf("%s %s. The password is %s\n", name, done, password);
	} else {
		printf("%s %s.\n", name, done);
	}
	return CTL_DONE;
}

/* The Node-IDs are those of each user's account. */
static int set_voucher(struct ctl *ctl, struct ledger *ledger, const char *name) {
	unsigned users_max = ctl->users_max ? ctl->users_max : LEDGER_VOUCHER_USERS;

	return ledger_voucher_set(ledger, name, ctl->voucher, users_max, CERTIFICATE_NODE_IDS_MAX);
}

static int user_voucher(struct ctl *ctl, struct ledger *ledger, const char *name) {
	if (!ctl->voucher) {
		fputs("ringgatectl: user voucher needs --voucher, domains and names such as \"example.org alice@example.net\".\n",
		      stderr);
		return CTL_USAGE;
	}
	int error = set_voucher(ctl, ledger, name);
	return error < 0 ? explain(error, name) : told(ctl, name, "has a voucher", NULL);
}

static int user_add_or_passwd(struct ctl *ctl, struct ledger *ledger, const char *name, bool add) {
	char password[PASSWORD_MAX + 2] = "", hash[PASSWORD_TEXT_SIZE];
	unsigned node_ids = ctl->certificate.node_id_count;

	if (add && !ledger_name_usable(octets_of_string(name)))
		return complain("A user name is like alice@example.org: letters, digits and . - _ + ! * ~ $ & = around one @.");
	if (add && (node_ids < 1 || node_ids > CERTIFICATE_NODE_IDS_MAX))
		return complain("A user may have 1 to 16 Node-IDs.");
	if (ctl->voucher && !ledger_scope_usable(ctl->voucher))
		return complain(bad_scope);
	int status = choose_password(ctl, password, hash);
	if (status == CTL_DONE) {
		int error = add ? ledger_user_add(ledger, name, hash, node_ids, now_ms())
				: ledger_user_set_password(ledger, name, hash);
		if (error == 0 && ctl->voucher)
			error = set_voucher(ctl, ledger, name);
		status = error < 0 ? explain(error, name) : told(ctl, name, add ? "is added" : "has a new password", password);
	}
	octets_wipe(password, sizeof(password));
	return status;
}

struct user_listing {
	struct ctl *ctl;
	struct ledger *ledger;
};

static int list_user_json(const struct ctl *ctl, const struct ledger_user *user, const struct ledger_voucher *voucher) {
	json_t *held = voucher ? json_pack("{s:s, s:i, s:i}", "scope", voucher->scope, "users", (int)voucher->users, "users_max",
					   (int)voucher->users_max)
			       : json_null();

	return json_array_append_new(ctl->list, json_pack("{s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:o}", "user", user->name, "state",
							  user->disabled ? "disabled" : "active", "failures", (int)user->failures,
							  "node_ids", (int)user->node_id_count, "node_ids_max",
							  (int)user->node_ids_max, "certificates", (int)user->certificate_count,
							  "expires_ms", (json_int_t)user->expires_ms, "voucher", held)) < 0
		       ? -ENOMEM
		       : 0;
}

static int list_user(void *userdata, const struct ledger_user *user) {
	const struct user_listing *listing = userdata;
	time_t expires = (time_t)(user->expires_ms / 1000);
	struct ledger_voucher voucher;
	char date[32] = "-";

	int error = ledger_voucher_get(listing->ledger, user->name, &voucher);
	if (error < 0 && error != -ENOENT)
		return error;
	if (listing->ctl->json)
		return list_user_json(listing->ctl, user, error == 0 ? &voucher : NULL);
	if (user->expires_ms)
		strftime(date, sizeof(date), "%Y-%m-%d %H:%M", gmtime(&expires));
	printf("%-36s %-9s %2u of %-2u %8u %6u  %-16s  ", user->name, user->disabled ? "disabled" : "active", user->node_id_count,
	       user->node_ids_max, user->certificate_count, user->failures, date);
	if (error == 0)
		printf("%u of %u: ", voucher.users, voucher.users_max);
	puts(error == 0 ? voucher.scope : "-");
	return 0;
}

static int user_list(struct ctl *ctl, struct ledger *ledger) {
	struct user_listing listing = {.ctl = ctl, .ledger = ledger};

	ctl->list = json_array();
	if (!ctl->json)
		printf("%-36s %-9s %-8s %8s %6s  %-16s  %s\n", "USER", "STATE", "NODE-IDS", "ISSUED", "WRONG", "EXPIRES (UTC)",
		       "VOUCHER");
	int error = ledger_user_list(ledger, list_user, &listing);
	if (error == 0 && ctl->json)
		ctl_print_json(ctl->list);
	json_decref(ctl->list);
	return error < 0 ? complain("The ledger cannot be read.") : CTL_DONE;
}

int ctl_user(struct ctl *ctl) {
	_cleanup_(ledger_closep) struct ledger *ledger = NULL;
	const char *word = ctl->arguments[0], *name = ctl->argument_count > 2 ? ctl->arguments[2] : NULL;
	bool list = strcmp(word, "list") == 0, disable = strcmp(word, "disable") == 0, add = strcmp(word, "add") == 0;
	char reason[PROVISION_REASON_SIZE] = "", path[PATH_MAX];

	if (!list && !disable && !add && strcmp(word, "enable") != 0 && strcmp(word, "passwd") != 0 &&
	    strcmp(word, "voucher") != 0) {
		fprintf(stderr, "ringgatectl: there is no \"user %s\", only add, passwd, list, disable, enable and voucher.\n",
			word);
		return CTL_USAGE;
	}
	if (list == (name != NULL)) {
		fprintf(stderr, "ringgatectl: user %s takes the directory of the overlay%s.\n", word,
			list ? "" : " and a user name");
		return CTL_USAGE;
	}
	snprintf(path, sizeof(path), "%s/ca.crt", ctl->arguments[1]);
	if (access(path, R_OK) < 0) {
		fprintf(stderr, "ringgatectl: %s holds no overlay; make one with: ringgatectl overlay create\n", ctl->arguments[1]);
		return CTL_FAILED;
	}
	if (ledger_open(ctl->arguments[1], false, &ledger, reason) < 0)
		return complain(reason);
	if (list)
		return user_list(ctl, ledger);
	if (strcmp(word, "voucher") == 0)
		return user_voucher(ctl, ledger, name);
	if (add || strcmp(word, "passwd") == 0)
		return user_add_or_passwd(ctl, ledger, name, add);
	int error = ledger_user_set_disabled(ledger, name, disable);
	return error < 0 ? explain(error, name) : told(ctl, name, disable ? "is disabled" : "is enabled", NULL);
}

/* ---- documents ---- */

static int told_sequence(struct ctl *ctl, const char *done, uint16_t sequence) {
	if (ctl->json) {
		json_t *result = json_pack("{s:s, s:i}", "directory", ctl->arguments[1], "sequence", (int)sequence);
		ctl_print_json(result);
		json_decref(result);
	} else {
		printf("The document with sequence number %u is %s.\n", sequence, done);
	}
	return CTL_DONE;
}

int ctl_overlay_bump(struct ctl *ctl) {
	static const struct document_change change = {.bump = true};
	char reason[PROVISION_REASON_SIZE] = "";
	uint16_t sequence;

	if (edit_overlay(ctl->arguments[1], &change, &sequence, reason) < 0)
		return complain(reason);
	return told_sequence(ctl, "signed; hand it out with: ringgatectl overlay publish", sequence);
}

int ctl_overlay_sign(struct ctl *ctl) {
	char reason[PROVISION_REASON_SIZE] = "";
	uint16_t sequence;

	if (ctl->argument_count < 3) {
		fputs("ringgatectl: overlay sign takes the directory of the overlay and the changed document.\n", stderr);
		return CTL_USAGE;
	}
	if (edit_sign(ctl->arguments[1], ctl->arguments[2], &sequence, reason) < 0)
		return complain(reason);
	return told_sequence(ctl, "signed; hand it out with: ringgatectl overlay publish", sequence);
}

int ctl_overlay_publish(struct ctl *ctl) {
	char reason[PROVISION_REASON_SIZE] = "";
	uint16_t sequence;

	if (edit_publish(ctl->arguments[1], &sequence, reason) < 0)
		return complain(reason);
	return told_sequence(ctl, "published", sequence);
}

/* The ledger first: should the rest fail, the node at least gets no new certificate, and the command can be given again. */
static int revoke_in_ledger(struct ledger *ledger, const struct id *ids, size_t count, char name[static USER_NAME_MAX + 1]) {
	int error = ledger_begin(ledger);

	for (size_t i = 0; i < count && error == 0; i++) {
		int found = ledger_revoke(ledger, &ids[i], name);
		error = found < 0 && found != -ENOENT ? -EIO : 0;
	}
	return error < 0 ? -EIO : ledger_commit(ledger);
}

/* One new document for each Node-ID; only the last one, which lists them all, is handed out. */
static int revoke_in_document(const char *directory, const struct id *ids, size_t count, uint16_t *ret_sequence, char *reason) {
	for (size_t i = 0; i < count; i++) {
		const struct document_change change = {.bump = true, .bad_node = &ids[i]};
		int error = edit_overlay(directory, &change, ret_sequence, reason);
		if (error < 0 && error != -EEXIST)
			return error;
	}
	return edit_publish(directory, ret_sequence, reason);
}

static void told_revoked(const struct ctl *ctl, const struct id *ids, size_t count, const char *name, uint16_t sequence) {
	char text[ID_TEXT_SIZE];
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++) {
		json_array_append_new(list, json_string(id_format(&ids[i], text)));
		if (!ctl->json)
			printf("Node %s is revoked in the published document with sequence number %u.\n", text, sequence);
	}
	if (ctl->json) {
		json_t *result =
			json_pack("{s:O, s:i, s:s*}", "node_ids", list, "sequence", (int)sequence, "user", name[0] ? name : NULL);
		if (count == 1)
			json_object_set(result, "node_id", json_array_get(list, 0));
		ctl_print_json(result);
		json_decref(result);
	} else {
		if (name[0])
			printf("Its account %s is disabled; \"user enable\" lets it have another Node-ID.\n", name);
		puts("Gateways that look after themselves have it within a day; at any one of them, this makes it seconds:\n"
		     "  ringgatectl configuration fetch");
	}
	json_decref(list);
}

int ctl_node_command(struct ctl *ctl) {
	_cleanup_(ledger_closep) struct ledger *ledger = NULL;
	struct id ids[CERTIFICATE_NODE_IDS_MAX];
	char reason[PROVISION_REASON_SIZE] = "", name[USER_NAME_MAX + 1] = "";
	uint16_t sequence = 0;
	unsigned count = 1;

	if (strcmp(ctl->arguments[0], "revoke") != 0) {
		fprintf(stderr, "ringgatectl: there is no \"node %s\", only revoke.\n", ctl->arguments[0]);
		return CTL_USAGE;
	}
	const char *whom = ctl->arguments[2];
	bool account = strchr(whom, '@') != NULL;
	if (!account && (id_parse(whom, &ids[0]) < 0 || ids[0].length != ID_LENGTH_CHORD)) {
		fprintf(stderr,
			"ringgatectl: \"%s\" is neither a Node-ID of 32 hexadecimal digits nor an account such as "
			"site1@example.org.\n",
			whom);
		return CTL_USAGE;
	}
	if (ledger_open(ctl->arguments[1], account, &ledger, reason) < 0)
		return complain(reason);
	if (account && (ledger_node_ids_held(ledger, whom, ids, &count) < 0 || count == 0)) {
		fprintf(stderr, "ringgatectl: %s has no Node-ID; nothing was revoked.\n", whom);
		return CTL_FAILED;
	}
	if (revoke_in_ledger(ledger, ids, count, name) < 0)
		return complain("The ledger cannot be written; nothing was revoked.");
	if (revoke_in_document(ctl->arguments[1], ids, count, &sequence, reason) < 0)
		return complain(reason);
	told_revoked(ctl, ids, count, name, sequence);
	return CTL_DONE;
}
