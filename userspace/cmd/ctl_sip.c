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

int ctl_sip(struct ctl *ctl) {
	const char *word = ctl->arguments[0], *name = ctl->argument_count > 1 ? ctl->arguments[1] : NULL;

	if (strcmp(word, "passwd") == 0 && name)
		return sip_passwd(ctl, name);
	if (strcmp(word, "forget") == 0 && name)
		return sip_forget(ctl, name);
	fprintf(stderr, "ringgatectl: there is no \"sip %s\"%s; try: ringgatectl --help\n", word, name ? "" : " without a name");
	return CTL_USAGE;
}
