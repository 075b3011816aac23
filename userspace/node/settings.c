/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/settings_values.h"

#include "fastpath/pins.h"
#include "sip/gateway.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <syslog.h>

enum { DEFAULT_LOOKUP_S = 10, DEFAULT_NEIGHBOR_CHECK_MS = 5000, DEFAULT_USER_NODE_IDS = 4 };

/* ---- files ---- */

struct parse {
	struct settings *settings;
	const char *file;
	unsigned line;
	char section[32];
	char *reason;
};

static int fail(char *reason, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(char *reason, int error, const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, SETTINGS_REASON_SIZE, format, arguments);
	va_end(arguments);
	return error;
}

static char *trim(char *text) {
	while (isspace((unsigned char)*text))
		text++;
	for (size_t length = strlen(text); length > 0 && isspace((unsigned char)text[length - 1]); length--)
		text[length - 1] = 0;
	return text;
}

/* [trunk NAME] once more, as in a drop-in, goes on with what is known of it. */
static int parse_trunk(struct parse *parse, const char *name) {
	struct settings *settings = parse->settings;
	size_t index = 0;

	while (index < settings->trunk_count && strcmp(settings->trunks[index].name, name) != 0)
		index++;
	if (*name == 0 || strlen(name) >= SETTINGS_TRUNK_NAME_SIZE || index == SETTINGS_TRUNKS_MAX)
		return fail(parse->reason, -EINVAL, "%.200s:%u: there may be %d trunks with names of at most %d letters.",
			    parse->file, parse->line, SETTINGS_TRUNKS_MAX, SETTINGS_TRUNK_NAME_SIZE - 1);
	if (index == settings->trunk_count)
		snprintf(settings->trunks[settings->trunk_count++].name, SETTINGS_TRUNK_NAME_SIZE, "%s", name);
	settings->trunk = index;
	snprintf(parse->section, sizeof(parse->section), "trunk");
	return 0;
}

static int parse_section(struct parse *parse, char *name) {
	char *close = strchr(name, ']');

	if (!close || *trim(close + 1) != 0)
		return fail(parse->reason, -EINVAL, "%.200s:%u: this is neither [section] nor name = value.", parse->file,
			    parse->line);
	*close = 0;
	if (strncmp(name, "trunk ", 6) == 0)
		return parse_trunk(parse, trim(name + 6));
	if (settings_option_find(name, NULL)) {
		snprintf(parse->section, sizeof(parse->section), "%s", name);
		return 0;
	}
	return fail(parse->reason, -EINVAL, "%.200s:%u: there is no section [%.32s]; see ringgate.conf(5).", parse->file,
		    parse->line, name);
}

static int parse_setting(struct parse *parse, const char *name, const char *value) {
	const struct settings_option *option = settings_option_find(parse->section, name);
	if (option) {
		int error = option->set(parse->settings, option->offset, value);
		if (error == -ENOMEM)
			return fail(parse->reason, error, "%.200s:%u: not enough memory.", parse->file, parse->line);
		if (error < 0)
			return fail(parse->reason, -EINVAL, "%.200s:%u: [%s] %s is \"%.64s\", expected %s.", parse->file,
				    parse->line, parse->section, name, value, option->expects);
		return 0;
	}
	if (parse->section[0] == 0)
		return fail(parse->reason, -EINVAL, "%.200s:%u: \"%.32s\" stands in front of the first [section].", parse->file,
			    parse->line, name);
	return fail(parse->reason, -EINVAL, "%.200s:%u: there is no setting \"%.32s\" in section [%s]; see ringgate.conf(5).",
		    parse->file, parse->line, name, parse->section);
}

static int parse_line(struct parse *parse, char *line, size_t length) {
	static const char byte_order_mark[] = "\xef\xbb\xbf";

	if (strlen(line) != length)
		return fail(parse->reason, -EINVAL, "%.200s:%u: this is not text.", parse->file, parse->line);
	if (parse->line == 1 && strncmp(line, byte_order_mark, 3) == 0)
		line += 3;
	line = trim(line);
	if (*line == 0 || *line == '#' || *line == ';')
		return 0;
	if (*line == '[')
		return parse_section(parse, line + 1);
	char *equals = strchr(line, '=');
	if (!equals || equals == line)
		return fail(parse->reason, -EINVAL, "%.200s:%u: this is neither [section] nor name = value.", parse->file,
			    parse->line);
	*equals = 0;
	/* A comment may follow behind white space, so that a value may hold the character. */
	for (char *comment = equals + 1; *comment; comment++)
		if ((*comment == ';' || *comment == '#') && isspace((unsigned char)comment[-1]))
			*comment-- = 0;
	return parse_setting(parse, trim(line), trim(equals + 1));
}

static int load_file(struct settings *settings, const char *path, char *reason) {
	struct parse parse = {.settings = settings, .file = path, .reason = reason};
	_cleanup_fclose_ FILE *file = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	int error = 0;

	if (!file)
		return fail(reason, -errno, "%.200s: cannot be read: %s.", path, strerror(errno));
	while (error == 0) {
		errno = 0;
		ssize_t length = getline(&line, &size, file);
		if (length < 0)
			return errno == 0 ? 0 : fail(reason, -errno, "%.200s: cannot be read: %s.", path, strerror(errno));
		parse.line++;
		error = parse_line(&parse, line, (size_t)length);
	}
	return error;
}

static int is_drop_in(const struct dirent *entry) {
	size_t length = strlen(entry->d_name);

	return length > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 5, ".conf") == 0;
}

/* Octet order, whatever the locale: the order must be the same on every machine. */
static int by_name(const struct dirent **a, const struct dirent **b) {
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int load_drop_ins(struct settings *settings, const char *path, char *reason) {
	char directory[PATH_MAX], file[PATH_MAX + NAME_MAX + 2];
	struct dirent **entries;
	int error = 0;

	if (snprintf(directory, sizeof(directory), "%s.d", path) >= (int)sizeof(directory))
		return fail(reason, -ENAMETOOLONG, "%.200s: this path is too long.", path);
	int count = scandir(directory, &entries, is_drop_in, by_name);
	if (count < 0)
		return errno == ENOENT ? 0 : fail(reason, -errno, "%.200s: cannot be read: %s.", directory, strerror(errno));
	for (int i = 0; i < count; i++) {
		snprintf(file, sizeof(file), "%s/%s", directory, entries[i]->d_name);
		if (error == 0)
			error = load_file(settings, file, reason);
		free(entries[i]);
	}
	free(entries);
	return error;
}

/* ---- defaults ---- */

static int default_string(char **field, const char *directory, const char *name) {
	if (!*field && asprintf(field, "%s/%s", directory, name) < 0) {
		*field = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* Private and link-local networks: phones of a site. Others must be named. */
static int default_networks(struct settings *settings) {
	return settings->sip_allow_count > 0
		       ? 0
		       : settings_allow_networks(
				 settings,
				 "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fc00::/7 fe80::/10");
}

static int settings_defaults(struct settings *settings) {
	int error = 0;

	if (!settings->state_directory && !(settings->state_directory = strdup("/var/lib/ringgate")))
		error = -ENOMEM;
	if (!settings->fastpath_pins && !(settings->fastpath_pins = strdup(PINS_DIRECTORY)))
		error = -ENOMEM;
	if (!settings->control_socket && !(settings->control_socket = strdup("/run/ringgate/control")))
		error = -ENOMEM;
	if (error == 0)
		error = default_string(&settings->overlay_config, settings->state_directory, "overlay.xml");
	if (error == 0)
		error = default_string(&settings->certificate, settings->state_directory, "node.crt");
	if (error == 0)
		error = default_string(&settings->key, settings->state_directory, "node.key");
	if (error == 0)
		error = default_string(&settings->users_directory, settings->state_directory, "users");
	if (error == 0)
		error = default_string(&settings->sip_passwords, settings->state_directory, "sip-passwords");
	if (error == 0)
		error = default_networks(settings);
	if (settings->listen_count == 0) {
		settings->listen[0] = (struct address){.family = AF_INET, .port = RELOAD_PORT};
		settings->listen[1] = (struct address){.family = AF_INET6, .port = RELOAD_PORT};
		settings->listen_count = 2;
	}
	if (settings->sip_listen_count == 0) {
		settings->sip_listen[0] = (struct address){.family = AF_INET, .port = 5060};
		settings->sip_listen[1] = (struct address){.family = AF_INET6, .port = 5060};
		settings->sip_listen_count = 2;
	}
	/* With a certificate, TLS at the same hosts. */
	for (size_t i = 0; settings->sip_gateway_listen_count == 0 && i < settings->sip_listen_count; i++) {
		settings->sip_gateway_listen[i] = settings->sip_listen[i];
		settings->sip_gateway_listen[i].port =
			settings->sip_listen[i].port == 0 ? 0 : (uint16_t)(settings->sip_listen[i].port + 2);
		if (i + 1 == settings->sip_listen_count)
			settings->sip_gateway_listen_count = i + 1;
	}
	for (size_t i = 0; settings->sip_tls_certificate && settings->sip_tls_listen_count == 0 && i < settings->sip_listen_count;
	     i++) {
		settings->sip_tls_listen[i] = settings->sip_listen[i];
		settings->sip_tls_listen[i].port = 5061;
		if (i + 1 == settings->sip_listen_count)
			settings->sip_tls_listen_count = i + 1;
	}
	if (settings->enroll_user_node_ids == 0)
		settings->enroll_user_node_ids = DEFAULT_USER_NODE_IDS;
	settings->sip_expires_min_s = settings->sip_expires_min_s ? settings->sip_expires_min_s : 60;
	settings->sip_expires_max_s = settings->sip_expires_max_s ? settings->sip_expires_max_s : 86400;
	if (settings->sip_expires_default_s == 0) {
		unsigned wanted = settings->sip_expires_max_s < 3600 ? settings->sip_expires_max_s : 3600;
		settings->sip_expires_default_s = wanted > settings->sip_expires_min_s ? wanted : settings->sip_expires_min_s;
	}
	return error;
}

int settings_stem(const char *certificate, const char *key, char stem[static PATH_MAX]) {
	static const char crt[] = ".crt", suffix[] = ".key";
	size_t length = strlen(certificate), tail = sizeof(crt) - 1;

	if (length <= tail || length >= PATH_MAX || strcmp(certificate + length - tail, crt) != 0 || strlen(key) != length ||
	    strncmp(certificate, key, length - tail) != 0 || strcmp(key + length - tail, suffix) != 0)
		return -EINVAL;
	memcpy(stem, certificate, length - tail);
	stem[length - tail] = 0;
	return 0;
}

/* What no single line can tell. */
static int settings_check(const struct settings *settings, const char *path, char *reason) {
	if (settings->first_node && settings->client)
		return fail(reason, -EINVAL, "%.200s: a %s cannot be the first node; set role = peer or first-node = no.", path,
			    settings->relay ? "bootstrap server" : "client");
	if (settings->sip_expires_min_s > settings->sip_expires_default_s ||
	    settings->sip_expires_default_s > settings->sip_expires_max_s)
		return fail(reason, -EINVAL,
			    "%.200s: [sip] expires-min is %u, expires-default %u and expires-max %u; each may be at most the next.",
			    path, settings->sip_expires_min_s, settings->sip_expires_default_s, settings->sip_expires_max_s);
	if (!settings->enroll_server && (settings->enroll_user || settings->enroll_password_file))
		return fail(reason, -EINVAL, "%.200s: [enroll] has no server, the name of the overlay or an https URL.", path);
	if (!settings->enroll_user != !settings->enroll_password_file)
		return fail(reason, -EINVAL, "%.200s: [enroll] needs both user and password-file, or neither.", path);
	if (settings->enroll_users != ENROLL_USERS_NO && !settings->enroll_user)
		return fail(reason, -EINVAL, "%.200s: [enroll] users = at-registration needs user, an account with a voucher.",
			    path);
	char stem[PATH_MAX];
	if (settings->enroll_user && settings_stem(settings->certificate, settings->key, stem) < 0)
		return fail(
			reason, -EINVAL,
			"%.200s: with user in [enroll], certificate and key in [node] have to be one path ending in .crt and .key.",
			path);
	return 0;
}

int settings_load(const char *path, bool must_exist, struct settings **ret, char reason[static SETTINGS_REASON_SIZE]) {
	_cleanup_(settings_freep) struct settings *settings = calloc(1, sizeof(*settings));

	if (!settings)
		return fail(reason, -ENOMEM, "%.200s: not enough memory to read the settings.", path);
	settings->sip = settings->sip_authentication = settings->sip_outside_domains = settings->fastpath = true;
	settings->log_level = LOG_INFO;
	settings->sip_lookup_s = DEFAULT_LOOKUP_S;
	settings->sip_gateway_tls = GATEWAY_TLS_SIPS;
	settings->neighbor_check_ms = DEFAULT_NEIGHBOR_CHECK_MS;
	int error = load_file(settings, path, reason);
	if (error == -ENOENT && !must_exist)
		error = 0;
	if (error == 0)
		error = load_drop_ins(settings, path, reason);
	if (error < 0)
		return error;
	error = settings_defaults(settings);
	if (error < 0)
		return fail(reason, error, "%.200s: not enough memory to read the settings.", path);
	error = settings_check(settings, path, reason);
	if (error < 0)
		return error;
	*ret = TAKE(settings);
	return 0;
}

struct settings *settings_free(struct settings *settings) {
	if (!settings)
		return NULL;
	free(settings->state_directory);
	free(settings->overlay_config);
	free(settings->overlay_name);
	free(settings->certificate);
	free(settings->key);
	free(settings->shared_secret);
	free(settings->keylog);
	free(settings->fastpath_pins);
	free(settings->ciphers);
	free(settings->sip_tls_certificate);
	free(settings->sip_tls_key);
	free(settings->sip_tls_ca_file);
	for (size_t i = 0; i < settings->trunk_count; i++) {
		free(settings->trunks[i].server);
		free(settings->trunks[i].user);
		free(settings->trunks[i].password_file);
		free(settings->trunks[i].caller_id);
		free(settings->trunks[i].numbers);
		free(settings->trunks[i].incoming);
	}
	free(settings->users_directory);
	free(settings->sip_passwords);
	settings_clear_lists(settings);
	free(settings->enroll_server);
	free(settings->enroll_ca_file);
	free(settings->enroll_address);
	free(settings->enroll_user);
	free(settings->enroll_password_file);
	free(settings->control_socket);
	free(settings->control_group);
	free(settings);
	return NULL;
}
