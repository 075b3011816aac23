/* SPDX-License-Identifier: BSD-2-Clause */
/* ringgatectl sip: phones, their passwords, and what the gateway knows about users. */
#include "cmd/ctl.h"

#include "node/passwords.h"

#include <limits.h>
#include <string.h>

static int complain(const char *reason) {
	fprintf(stderr, "ringgatectl: %s\n", reason);
	return CTL_FAILED;
}

/* ---- passwords: files only ---- */

static int set_password(const struct ctl *ctl, const char *aor, const char *password) {
	char path[PATH_MAX], reason[PASSWORDS_REASON_SIZE];

	if (snprintf(path, sizeof(path), "%s/sip-passwords", ctl->directory ? ctl->directory : "/var/lib/ringgate") >=
	    (int)sizeof(path))
		return complain("The path of the directory is too long.");
	return passwords_set(path, aor, password, reason) < 0 ? complain(reason) : CTL_DONE;
}

static int tell(const struct ctl *ctl, const char *aor, const char *done, const char *generated) {
	if (ctl->json) {
		json_t *result = json_pack("{s:s, s:s*}", "user", aor, "password", generated);
		ctl_print_json(result);
		json_decref(result);
	} else if (generated) {
		printf("%s %s. The password of its phones is %s\n", aor, done, generated);
	} else {
		printf("%s %s.\n", aor, done);
	}
	return CTL_DONE;
}

static int sip_passwd(const struct ctl *ctl, const char *aor) {
	char password[PASSWORD_MAX + 2] = "";
	int status = CTL_DONE;

	if (ctl->password_file)
		status = ctl_get_password(ctl, password);
	else if (password_generate(password) < 0)
		status = complain("There are no random numbers for a password.");
	if (status == CTL_DONE && strlen(password) < PASSWORD_MIN)
		status = complain("A password has at least 8 characters.");
	if (status == CTL_DONE)
		status = set_password(ctl, aor, password);
	if (status == CTL_DONE)
		status = tell(ctl, aor, "has a new password", ctl->password_file ? NULL : password);
	octets_wipe(password, sizeof(password));
	return status;
}

static int sip_forget(const struct ctl *ctl, const char *aor) {
	int status = set_password(ctl, aor, NULL);

	return status == CTL_DONE ? tell(ctl, aor, "has no password any more and cannot register", NULL) : status;
}

/* ---- what the daemon knows ---- */

static int sip_calls(struct ctl *ctl) {
	static const struct {
		const char *name, *text;
	} lines[] = {
		{"registered", "Contacts are registered here"},
		{"placing", "requests are being placed for others,"},
		{"branches", "branches of them wait for an answer"},
		{"placed", "requests were placed"},
		{"redirected", "answers told the caller where to go"},
		{"challenges", "requests were asked for a password,"},
		{"wrong_passwords", "wrong passwords or user names came"},
		{"lookups", "look-ups in the overlay,"},
		{"lookups_known", "questions answered without one"},
		{"restored", "registrations stored again since the start,"},
		{"restore_left", "still to be stored again"},
	};
	json_t *result;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
		printf("%12lld  %s\n", (long long)json_integer_value(json_object_get(result, lines[i].name)), lines[i].text);
	json_decref(result);
	return CTL_DONE;
}

/* Hands over to a command of the daemon, whose arguments come after it. */
static int ask_daemon(struct ctl *ctl, const char *command, int (*run)(struct ctl *ctl)) {
	json_object_set_new(ctl->request, "command", json_string(command));
	ctl->arguments++;
	ctl->argument_count--;
	return run(ctl);
}

int ctl_sip(struct ctl *ctl) {
	const char *word = ctl->arguments[0], *name = ctl->argument_count > 1 ? ctl->arguments[1] : NULL;

	if (strcmp(word, "passwd") == 0 && name)
		return sip_passwd(ctl, name);
	if (strcmp(word, "forget") == 0 && name)
		return sip_forget(ctl, name);
	if (strcmp(word, "registrations") == 0 && !name)
		return ask_daemon(ctl, "registrations", ctl_registrations);
	if (strcmp(word, "resolve") == 0 && name)
		return ask_daemon(ctl, "resolve", ctl_resolve);
	if (strcmp(word, "calls") == 0 && !name)
		return ask_daemon(ctl, "calls", sip_calls);
	fprintf(stderr, "ringgatectl: there is no \"sip %s\" with%s a name; try: ringgatectl --help\n", word, name ? "" : "out");
	return CTL_USAGE;
}
