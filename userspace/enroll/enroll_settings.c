/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/enroll_settings.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

enum { HTTPS_PORT = 443 };

struct parse {
	struct enroll_settings *settings;
	const char *file;
	FILE *stream;
	unsigned line;
	char *reason;
	int error;
};

static int set_text(char **field, const char *value) {
	if (!value[0])
		return -EINVAL;
	char *copy = strdup(value);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int set_path(char **field, const char *value) {
	return value[0] == '/' ? set_text(field, value) : -EINVAL;
}

static int set_number(unsigned *field, const char *value, unsigned min, unsigned max) {
	char *end;

	errno = 0;
	unsigned long number = strtoul(value, &end, 10);
	if (*value < '0' || *value > '9' || *end != 0 || errno != 0 || number < min || number > max)
		return -EINVAL;
	*field = (unsigned)number;
	return 0;
}

static int set_hosts(struct enroll_overlay_settings *overlay, const char *value) {
	_cleanup_free_ char *copy = strdup(value);
	char *state = NULL;

	while (overlay->host_count > 0)
		free(overlay->hosts[--overlay->host_count]);
	for (char *word = copy ? strtok_r(copy, " ,\t", &state) : NULL; word; word = strtok_r(NULL, " ,\t", &state)) {
		if (overlay->host_count == ENROLL_HOSTS_MAX)
			return -E2BIG;
		if (!(overlay->hosts[overlay->host_count] = strdup(word)))
			return -ENOMEM;
		overlay->host_count++;
	}
	return copy ? 0 : -ENOMEM;
}

static const struct number_setting {
	const char *section, *name;
	size_t offset;
	unsigned min, max;
} numbers[] = {
	{"server", "workers", offsetof(struct enroll_settings, workers), 1, ENROLL_WORKERS_MAX},
	{"server", "queue", offsetof(struct enroll_settings, queue), 1, ENROLL_QUEUE_MAX},
	{"server", "connections", offsetof(struct enroll_settings, connections), 1, ENROLL_CONNECTIONS_MAX},
	{"server", "connections-per-address", offsetof(struct enroll_settings, connections_per_address), 1, ENROLL_CONNECTIONS_MAX},
	{"server", "request-seconds", offsetof(struct enroll_settings, request_s), 1, 600},
	{"enrollment", "certificate-days", offsetof(struct enroll_settings, policy.certificate_days), 1, PROVISION_DAYS_MAX},
	{"enrollment", "certificate-seconds", offsetof(struct enroll_settings, policy.certificate_s), 10, 86400},
	{"enrollment", "failures-max", offsetof(struct enroll_settings, policy.failures_max), 1, 1000},
	{"enrollment", "lockout-seconds", offsetof(struct enroll_settings, policy.lockout_s), 1, 86400},
	{"enrollment", "certificates-per-day", offsetof(struct enroll_settings, policy.per_day), 0, 100000},
	{"enrollment", "failures-per-minute", offsetof(struct enroll_settings, failures_per_minute), 0, 10000},
};

static struct enroll_overlay_settings *find_overlay(struct enroll_settings *settings, const char *name) {
	for (size_t i = 0; i < settings->overlay_count; i++)
		if (strcasecmp(settings->overlays[i].name, name) == 0)
			return &settings->overlays[i];
	if (settings->overlay_count == ENROLL_OVERLAYS_MAX || strlen(name) >= sizeof(settings->overlays[0].name) || !name[0])
		return NULL;
	struct enroll_overlay_settings *overlay = &settings->overlays[settings->overlay_count++];
	strcpy(overlay->name, name);
	return overlay;
}

/* -ENOENT: there is no such setting. *ret_expects: what a good value looks like. */
static int set_value(struct enroll_settings *settings, const char *section, const char *name, const char *value,
		     char expects[static 64]) {
	for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
		const struct number_setting *number = &numbers[i];
		if (strcmp(section, number->section) != 0 || strcmp(name, number->name) != 0)
			continue;
		snprintf(expects, 64, "a number from %u to %u", number->min, number->max);
		return set_number((unsigned *)(void *)((char *)settings + number->offset), value, number->min, number->max);
	}
	if (strncmp(section, "overlay ", 8) == 0) {
		struct enroll_overlay_settings *overlay = find_overlay(settings, section + 8);
		snprintf(expects, 64, "at most %d overlays and %d hosts, absolute paths", ENROLL_OVERLAYS_MAX, ENROLL_HOSTS_MAX);
		if (!overlay)
			return -EINVAL;
		if (strcmp(name, "directory") == 0)
			return set_path(&overlay->directory, value);
		return strcmp(name, "hosts") == 0 ? set_hosts(overlay, value) : -ENOENT;
	}
	if (strcmp(section, "enrollment") == 0 && strcmp(name, "renewal") == 0) {
		strcpy(expects, "certificate or password");
		settings->policy.renew_with_password = strcmp(value, "password") == 0;
		return settings->policy.renew_with_password || strcmp(value, "certificate") == 0 ? 0 : -EINVAL;
	}
	if (strcmp(section, "server") != 0)
		return -ENOENT;
	if (strcmp(name, "listen") == 0) {
		strcpy(expects, "an address such as 192.0.2.1:443 or [::]:443");
		return address_parse(value, HTTPS_PORT, &settings->listen);
	}
	if (strcmp(name, "log-level") == 0) {
		strcpy(expects, "error, warning, notice, info or debug");
		return log_level_parse(value, &settings->log_level);
	}
	if (strcmp(name, "user") == 0) {
		strcpy(expects, "the name of a user");
		return set_text(&settings->user, value);
	}
	strcpy(expects, "an absolute path");
	if (strcmp(name, "certificate") == 0)
		return set_path(&settings->certificate, value);
	return strcmp(name, "key") == 0 ? set_path(&settings->key, value) : -ENOENT;
}

/* Counts lines, because the library does not tell the handler where it is. */
static char *read_line(char *line, int size, void *userdata) {
	struct parse *parse = userdata;

	parse->line++;
	return fgets(line, size, parse->stream);
}

static int on_value(void *userdata, const char *section, const char *name, const char *value) {
	struct parse *parse = userdata;
	char expects[64] = "";

	if (parse->error < 0 || !name || !value)
		return 1;
	parse->error = set_value(parse->settings, section, name, value, expects);
	if (parse->error == -ENOENT)
		snprintf(parse->reason, ENROLL_REASON_SIZE,
			 "%.200s:%u: there is no setting \"%.32s\" in section [%.40s]; see ringgate-enrolld.conf(5).", parse->file,
			 parse->line, name, section);
	else if (parse->error < 0)
		snprintf(parse->reason, ENROLL_REASON_SIZE, "%.200s:%u: [%.40s] %.32s is \"%.64s\", expected %s.", parse->file,
			 parse->line, section, name, value, expects);
	return 1;
}

static int load_file(struct enroll_settings *settings, const char *path, char *reason) {
	struct parse parse = {.settings = settings, .file = path, .reason = reason};
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file) {
		int error = -errno;
		snprintf(reason, ENROLL_REASON_SIZE, "%.300s: cannot be read: %s.", path, strerror(-error));
		return error;
	}
	parse.stream = file;
	int line = ini_parse_stream(read_line, &parse, on_value, &parse);
	if (parse.error == 0 && line != 0) {
		snprintf(reason, ENROLL_REASON_SIZE, "%.300s:%d: this is neither [section] nor name = value.", path, line);
		return -EINVAL;
	}
	return parse.error == -ENOENT || parse.error == -E2BIG ? -EINVAL : parse.error;
}

static int is_drop_in(const struct dirent *entry) {
	size_t length = strlen(entry->d_name);

	return length > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 5, ".conf") == 0;
}

static int load_drop_ins(struct enroll_settings *settings, const char *path, char *reason) {
	char directory[PATH_MAX], file[PATH_MAX + NAME_MAX + 2];
	struct dirent **entries;
	int error = 0;

	if (snprintf(directory, sizeof(directory), "%s.d", path) >= (int)sizeof(directory))
		return -ENAMETOOLONG;
	int count = scandir(directory, &entries, is_drop_in, alphasort);
	if (count < 0)
		return 0; /* no drop-ins */
	for (int i = 0; i < count; i++) {
		snprintf(file, sizeof(file), "%s/%s", directory, entries[i]->d_name);
		if (error == 0)
			error = load_file(settings, file, reason);
		free(entries[i]);
	}
	free(entries);
	return error;
}

static int check(const struct enroll_settings *settings, const char *path, char *reason) {
	const char *missing = NULL;

	if (!settings->certificate || !settings->key)
		missing = "[server] certificate and key, those of the HTTPS server";
	else if (settings->overlay_count == 0)
		missing = "a section [overlay NAME]";
	for (size_t i = 0; i < settings->overlay_count && !missing; i++)
		if (!settings->overlays[i].directory)
			missing = "the directory of an [overlay NAME]";
	if (missing)
		snprintf(reason, ENROLL_REASON_SIZE, "%.300s: %s must be given; see ringgate-enrolld.conf(5).", path, missing);
	return missing ? -EINVAL : 0;
}

int enroll_settings_load(const char *path, struct enroll_settings **ret, char reason[static ENROLL_REASON_SIZE]) {
	_cleanup_(enroll_settings_freep) struct enroll_settings *settings = calloc(1, sizeof(*settings));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (!settings) {
		snprintf(reason, ENROLL_REASON_SIZE, "%.300s: not enough memory to read the settings.", path);
		return -ENOMEM;
	}
	settings->listen = (struct address){.family = AF_INET6, .port = HTTPS_PORT};
	settings->workers = processors < 1 ? 1 : processors > ENROLL_WORKERS_MAX ? ENROLL_WORKERS_MAX : (unsigned)processors;
	settings->queue = 256;
	settings->connections = 512;
	settings->connections_per_address = 64;
	settings->request_s = 30;
	settings->log_level = LOG_INFO;
	settings->failures_per_minute = 20;
	settings->policy = (struct authority_policy){
		.certificate_days = AUTHORITY_DAYS_DEFAULT,
		.failures_max = AUTHORITY_FAILURES_DEFAULT,
		.lockout_s = AUTHORITY_LOCKOUT_S_DEFAULT,
		.per_day = AUTHORITY_PER_DAY_DEFAULT,
	};
	int error = load_file(settings, path, reason);
	if (error == 0)
		error = load_drop_ins(settings, path, reason);
	if (error == 0)
		error = check(settings, path, reason);
	if (error < 0)
		return error;
	*ret = TAKE(settings);
	return 0;
}

struct enroll_settings *enroll_settings_free(struct enroll_settings *settings) {
	if (!settings)
		return NULL;
	free(settings->certificate);
	free(settings->key);
	free(settings->user);
	for (size_t i = 0; i < settings->overlay_count; i++) {
		free(settings->overlays[i].directory);
		for (size_t j = 0; j < settings->overlays[i].host_count; j++)
			free(settings->overlays[i].hosts[j]);
	}
	free(settings);
	return NULL;
}
