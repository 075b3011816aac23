/* SPDX-License-Identifier: BSD-2-Clause */
/* ringgatectl sip: phones, their passwords, and what the gateway knows about users. */
#include "cmd/ctl.h"

#include "node/passwords.h"

#include <limits.h>
#include <string.h>
#include <time.h>

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

static const char *text_of(const json_t *object, const char *name) {
	const char *text = json_string_value(json_object_get(object, name));

	return text ? text : "";
}

static void print_calls(const json_t *calls) {
	size_t index;
	json_t *call;

	json_array_foreach(calls, index, call) {
		long long seconds = json_integer_value(json_object_get(call, "since_s"));
		printf("%-8s %3lld:%02lld:%02lld  %s -> %s%s%s %s\n", text_of(call, "state"), seconds / 3600, seconds / 60 % 60,
		       seconds % 60, text_of(call, "from"), text_of(call, "to"), *text_of(call, "via") ? " via " : "",
		       text_of(call, "via"), text_of(call, "transport"));
	}
}

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
		{"shed", "new calls and registrations were refused because too many came"},
		{"lookups", "look-ups in the overlay,"},
		{"lookups_known", "questions answered without one"},
		{"restored", "registrations stored again since the start,"},
		{"restore_left", "still to be stored again"},
	};
	json_t *result;
	int status = ctl_ask_or_print(ctl, &result);

	if (!result)
		return status;
	print_calls(json_object_get(result, "calls"));
	for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
		printf("%12lld  %s\n", (long long)json_integer_value(json_object_get(result, lines[i].name)), lines[i].text);
	json_decref(result);
	return CTL_DONE;
}

static void print_trunk(const json_t *trunk) {
	long long seconds = json_integer_value(json_object_get(trunk, "registered_s"));
	const char *error = text_of(trunk, "error");
	const json_t *server;
	size_t index;

	printf("%-16s %s", text_of(trunk, "name"), text_of(trunk, "server"));
	if (seconds > 0)
		printf("  registered for another %lld s", seconds);
	else if (json_is_true(json_object_get(trunk, "registers")))
		printf("  not registered");
	json_array_foreach(json_object_get(trunk, "servers"), index, server)
		printf("%s%s", index == 0 ? "  at " : ", ", json_string_value(server));
	printf("%s%s\n", *error ? "  last error: " : "", error);
}

static int sip_trunks(struct ctl *ctl) {
	json_t *result, *trunk;
	size_t index;

	int status = ctl_ask_or_print(ctl, &result);
	if (!result)
		return status;
	const json_t *trunks = json_object_get(result, "trunks");
	if (json_array_size(trunks) == 0)
		printf("There are no trunks; see [trunk NAME] in ringgate.conf(5).\n");
	json_array_foreach(trunks, index, trunk) print_trunk(trunk);
	json_decref(result);
	return CTL_DONE;
}

static void print_message(const struct ctl *ctl, const json_t *message) {
	long long time_ms = json_integer_value(json_object_get(message, "time_ms"));
	time_t seconds = time_ms / 1000;
	char clock[16] = "";
	struct tm tm;

	if (ctl->json) {
		json_dumpf(message, stdout, JSON_COMPACT);
		putchar('\n');
		return;
	}
	if (localtime_r(&seconds, &tm))
		strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
	printf("%s.%03lld %s %s %-21s %s  (%s -> %s, %s)\n", clock, time_ms % 1000,
	       json_is_true(json_object_get(message, "sent")) ? "->" : "<-", text_of(message, "transport"),
	       text_of(message, "peer"), text_of(message, "message"), text_of(message, "from"), text_of(message, "to"),
	       text_of(message, "cseq"));
}

/* Until it is interrupted, nobody reads any more, or `--count` messages have come. */
static int sip_trace(struct ctl *ctl) {
	unsigned left = ctl->count > 0 ? ctl->count : UINT_MAX;
	int status = CTL_DONE;

	if (ctl->argument_count > 1)
		json_object_set_new(ctl->request, "aor", json_string(ctl->arguments[1]));
	while (left > 0 && !ferror(stdout)) {
		json_t *result, *message;
		size_t index;
		status = ctl_ask(ctl, ctl->request, &result);
		if (status != CTL_DONE)
			return status;
		long long lost = json_integer_value(json_object_get(result, "lost"));
		if (lost > 0)
			fprintf(stderr, "ringgatectl: %lld messages came faster than they were read.\n", lost);
		json_array_foreach(json_object_get(result, "messages"), index, message) {
			if (left == 0)
				break;
			print_message(ctl, message);
			left -= left != UINT_MAX;
		}
		fflush(stdout);
		json_object_set(ctl->request, "after", json_object_get(result, "after"));
		json_decref(result);
	}
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
	if (strcmp(word, "registrations") == 0)
		return ask_daemon(ctl, "registrations", ctl_registrations);
	if (strcmp(word, "resolve") == 0 && name)
		return ask_daemon(ctl, "resolve", ctl_resolve);
	if (strcmp(word, "calls") == 0 && !name)
		return ask_daemon(ctl, "calls", sip_calls);
	if (strcmp(word, "trunks") == 0 && !name)
		return ask_daemon(ctl, "sip_trunks", sip_trunks);
	if (strcmp(word, "trace") == 0) {
		json_object_set_new(ctl->request, "command", json_string("sip_trace"));
		return sip_trace(ctl);
	}
	fprintf(stderr, "ringgatectl: there is no \"sip %s\" with%s a name; try: ringgatectl --help\n", word, name ? "" : "out");
	return CTL_USAGE;
}
