/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/settings.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <syslog.h>

enum { DEFAULT_NEIGHBOR_CHECK_MS = 5000 };

struct parse {
	struct settings *settings;
	const char *file;
	FILE *stream;
	unsigned line;
	char *reason;
	int error;
};

typedef int (*setter)(struct settings *settings, size_t offset, const char *value);

#define FIELD(type, settings, offset) ((type *)(void *)((char *)(settings) + (offset)))

static int set_string(struct settings *settings, size_t offset, const char *value) {
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*FIELD(char *, settings, offset));
	*FIELD(char *, settings, offset) = copy;
	return 0;
}

static int set_path(struct settings *settings, size_t offset, const char *value) {
	return value[0] == '/' ? set_string(settings, offset, value) : -EINVAL;
}

static int set_boolean(struct settings *settings, size_t offset, const char *value) {
	static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};

	for (size_t i = 0; i < ARRAY_LENGTH(yes); i++) {
		if (strcasecmp(value, yes[i]) == 0) {
			*FIELD(bool, settings, offset) = true;
			return 0;
		}
		if (strcasecmp(value, no[i]) == 0) {
			*FIELD(bool, settings, offset) = false;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_number(const char *value, unsigned long max, unsigned long *ret) {
	char *end;

	if (*value < '0' || *value > '9')
		return -EINVAL;
	errno = 0;
	unsigned long number = strtoul(value, &end, 10);
	if (*end != 0 || errno != 0 || number > max)
		return -EINVAL;
	*ret = number;
	return 0;
}

static int set_seconds(struct settings *settings, size_t offset, const char *value) {
	unsigned long number;

	if (parse_number(value, 30 * 86400, &number) < 0 || number == 0)
		return -EINVAL;
	*FIELD(unsigned, settings, offset) = (unsigned)number;
	return 0;
}

static int set_milliseconds(struct settings *settings, size_t offset, const char *value) {
	unsigned long number;

	if (parse_number(value, 3600 * 1000, &number) < 0 || number < 100)
		return -EINVAL;
	*FIELD(uint32_t, settings, offset) = (uint32_t)number;
	return 0;
}

static int set_mtu(struct settings *settings, size_t offset, const char *value) {
	unsigned long number;

	if (parse_number(value, 9216, &number) < 0 || number < 576)
		return -EINVAL;
	*FIELD(uint32_t, settings, offset) = (uint32_t)number;
	return 0;
}

static int set_role(struct settings *settings, size_t offset, const char *value) {
	if (strcmp(value, "peer") != 0 && strcmp(value, "client") != 0)
		return -EINVAL;
	*FIELD(bool, settings, offset) = strcmp(value, "client") == 0;
	return 0;
}

static int set_log_level(struct settings *settings, size_t offset, const char *value) {
	static const struct {
		const char *name;
		int level;
	} levels[] = {
		{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};

	for (size_t i = 0; i < ARRAY_LENGTH(levels); i++) {
		if (strcmp(value, levels[i].name) == 0) {
			*FIELD(int, settings, offset) = levels[i].level;
			return 0;
		}
	}
	return -EINVAL;
}

/* Calls `each` for every word of a list separated by spaces or commas. An empty value empties the list. */
static int for_each_word(const char *value, int (*each)(void *userdata, const char *word), void *userdata) {
	_cleanup_free_ char *copy = strdup(value);
	char *state = NULL;

	if (!copy)
		return -ENOMEM;
	for (char *word = strtok_r(copy, " ,\t", &state); word; word = strtok_r(NULL, " ,\t", &state)) {
		int error = each(userdata, word);
		if (error < 0)
			return error;
	}
	return 0;
}

struct address_list {
	struct address *addresses;
	size_t *count, max;
	uint16_t port;
};

static int add_address(void *userdata, const char *word) {
	struct address_list *list = userdata;

	if (*list->count == list->max)
		return -E2BIG;
	int error = address_parse(word, list->port, &list->addresses[*list->count]);
	if (error < 0)
		return error;
	(*list->count)++;
	return 0;
}

static int set_addresses(const char *value, struct address *addresses, size_t *count, size_t max, uint16_t port) {
	struct address_list list = {addresses, count, max, port};

	*count = 0;
	return for_each_word(value, add_address, &list);
}

static int set_listen(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->listen, &settings->listen_count, SETTINGS_LISTEN_MAX, RELOAD_PORT);
}

static int set_announce(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->announce, &settings->announce_count, SETTINGS_LISTEN_MAX, RELOAD_PORT);
}

static int set_bootstrap(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->bootstrap, &settings->bootstrap_count, SETTINGS_BOOTSTRAP_MAX, RELOAD_PORT);
}

static int set_sip_listen(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->sip_listen, &settings->sip_listen_count, SETTINGS_LISTEN_MAX, 5060);
}

static int set_metrics_listen(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	if (strcmp(value, "off") == 0) {
		settings->metrics_listen.family = 0;
		return 0;
	}
	return address_parse(value, 9464, &settings->metrics_listen);
}

static int add_network(void *userdata, const char *word) {
	struct settings *settings = userdata;
	char text[ADDRESS_TEXT_SIZE];
	struct network_prefix prefix;
	unsigned long bits;

	if (settings->sip_allow_count == SETTINGS_NETWORKS_MAX || strlen(word) >= sizeof(text))
		return -E2BIG;
	strcpy(text, word);
	char *slash = strchr(text, '/');
	if (slash)
		*slash++ = 0;
	if (address_parse(text, 0, &prefix.address) < 0)
		return -EINVAL;
	bits = prefix.address.family == AF_INET ? 32 : 128;
	if (slash && parse_number(slash, bits, &bits) < 0)
		return -EINVAL;
	prefix.bits = (unsigned)bits;
	settings->sip_allow[settings->sip_allow_count++] = prefix;
	return 0;
}

static int set_sip_allow(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	settings->sip_allow_count = 0;
	return for_each_word(value, add_network, settings);
}

static const struct option {
	const char *section, *name;
	setter set;
	size_t offset;
	const char *expects;
} options[] = {
	{"node", "state-directory", set_path, offsetof(struct settings, state_directory), "an absolute path"},
	{"node", "overlay-config", set_path, offsetof(struct settings, overlay_config), "an absolute path"},
	{"node", "overlay", set_string, offsetof(struct settings, overlay_name), "an overlay name"},
	{"node", "certificate", set_path, offsetof(struct settings, certificate), "an absolute path"},
	{"node", "key", set_path, offsetof(struct settings, key), "an absolute path"},
	{"node", "role", set_role, offsetof(struct settings, client), "peer or client"},
	{"node", "first-node", set_boolean, offsetof(struct settings, first_node), "yes or no"},
	{"node", "log-level", set_log_level, offsetof(struct settings, log_level), "error, warning, notice, info or debug"},
	{"links", "listen", set_listen, 0, "up to 4 addresses such as 192.0.2.1:6084 or [2001:db8::1]:6084"},
	{"links", "announce", set_announce, 0, "up to 4 addresses such as 192.0.2.1:6084"},
	{"links", "bootstrap", set_bootstrap, 0, "up to 16 addresses such as 192.0.2.1:6084"},
	{"links", "keylog", set_path, offsetof(struct settings, keylog), "an absolute path"},
	{"links", "ciphers", set_string, offsetof(struct settings, ciphers), "an OpenSSL cipher list"},
	{"links", "mtu", set_mtu, offsetof(struct settings, mtu), "a number of octets from 576 to 9216"},
	{"links", "neighbor-check-interval", set_milliseconds, offsetof(struct settings, neighbor_check_ms),
	 "100 to 3600000 milliseconds"},
	{"sip", "enabled", set_boolean, offsetof(struct settings, sip), "yes or no"},
	{"sip", "listen", set_sip_listen, 0, "up to 4 addresses such as 192.0.2.1:5060"},
	{"sip", "allow", set_sip_allow, 0, "up to 32 networks such as 192.0.2.0/24"},
	{"sip", "users-directory", set_path, offsetof(struct settings, users_directory), "an absolute path"},
	{"sip", "expires-min", set_seconds, offsetof(struct settings, sip_expires_min_s), "a number of seconds, at least 1"},
	{"sip", "expires-default", set_seconds, offsetof(struct settings, sip_expires_default_s),
	 "a number of seconds, at least 1"},
	{"sip", "expires-max", set_seconds, offsetof(struct settings, sip_expires_max_s), "a number of seconds, at least 1"},
	{"control", "socket", set_path, offsetof(struct settings, control_socket), "an absolute path"},
	{"control", "group", set_string, offsetof(struct settings, control_group), "a group name"},
	{"metrics", "listen", set_metrics_listen, 0, "an address such as 127.0.0.1:9464, or off"},
};

/* Counts lines, because the library does not tell the handler where it is. */
static char *read_line(char *line, int size, void *userdata) {
	struct parse *parse = userdata;

	parse->line++;
	return fgets(line, size, parse->stream);
}

static int on_value(void *userdata, const char *section, const char *name, const char *value) {
	struct parse *parse = userdata;

	if (parse->error < 0)
		return 1;
	if (!name || !value)
		return 1;
	for (size_t i = 0; i < ARRAY_LENGTH(options); i++) {
		const struct option *option = &options[i];
		if (strcmp(option->section, section) != 0 || strcmp(option->name, name) != 0)
			continue;
		parse->error = option->set(parse->settings, option->offset, value);
		if (parse->error < 0)
			snprintf(parse->reason, SETTINGS_REASON_SIZE, "%s:%u: [%.32s] %.32s is \"%.64s\", expected %s.",
				 parse->file, parse->line, section, name, value, option->expects);
		return 1;
	}
	parse->error = -EINVAL;
	snprintf(parse->reason, SETTINGS_REASON_SIZE,
		 "%s:%u: there is no setting \"%.32s\" in section [%.32s]; see ringgate.conf(5).", parse->file, parse->line, name,
		 section);
	return 1;
}

static int load_file(struct settings *settings, const char *path, char *reason) {
	struct parse parse = {.settings = settings, .file = path, .reason = reason};
	_cleanup_fclose_ FILE *file = fopen(path, "re");

	if (!file) {
		int error = -errno;
		snprintf(reason, SETTINGS_REASON_SIZE, "%s: cannot be read: %s.", path, strerror(-error));
		return error;
	}
	parse.stream = file;
	int line = ini_parse_stream(read_line, &parse, on_value, &parse);
	if (parse.error < 0)
		return parse.error;
	if (line != 0) {
		snprintf(reason, SETTINGS_REASON_SIZE, "%s:%d: this is neither [section] nor name = value.", path, line);
		return -EINVAL;
	}
	return 0;
}

static int is_drop_in(const struct dirent *entry) {
	size_t length = strlen(entry->d_name);

	return length > 5 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 5, ".conf") == 0;
}

static int load_drop_ins(struct settings *settings, const char *path, char *reason) {
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
		       : for_each_word(
				 "127.0.0.0/8 10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 ::1/128 fc00::/7 fe80::/10",
				 add_network, settings);
}

static int settings_defaults(struct settings *settings) {
	int error = 0;

	if (!settings->state_directory && !(settings->state_directory = strdup("/var/lib/ringgate")))
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
	return error;
}

int settings_load(const char *path, bool must_exist, struct settings **ret, char reason[static SETTINGS_REASON_SIZE]) {
	_cleanup_(settings_freep) struct settings *settings = calloc(1, sizeof(*settings));

	if (!settings)
		return -ENOMEM;
	settings->sip = true;
	settings->log_level = LOG_INFO;
	settings->neighbor_check_ms = DEFAULT_NEIGHBOR_CHECK_MS;
	int error = must_exist || access(path, F_OK) == 0 ? load_file(settings, path, reason) : 0;
	if (error == 0)
		error = load_drop_ins(settings, path, reason);
	if (error < 0)
		return error;
	error = settings_defaults(settings);
	if (error < 0) {
		snprintf(reason, SETTINGS_REASON_SIZE, "%s: not enough memory to read the settings.", path);
		return error;
	}
	if (settings->first_node && settings->client) {
		snprintf(reason, SETTINGS_REASON_SIZE, "%s: a client cannot be the first node; set role = peer or first-node = no.",
			 path);
		return -EINVAL;
	}
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
	free(settings->keylog);
	free(settings->ciphers);
	free(settings->users_directory);
	free(settings->control_socket);
	free(settings->control_group);
	free(settings);
	return NULL;
}

bool network_prefix_contains(const struct network_prefix *prefix, const struct address *address) {
	struct address plain = *address;
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	/* ::ffff:192.0.2.1 is an IPv4 phone on a dual-stack socket. */
	if (plain.family == AF_INET6 && prefix->address.family == AF_INET && memcmp(plain.octets, mapped, sizeof(mapped)) == 0) {
		plain.family = AF_INET;
		memmove(plain.octets, plain.octets + 12, 4);
	}
	if (plain.family != prefix->address.family)
		return false;
	for (unsigned i = 0; i < prefix->bits; i++)
		if ((plain.octets[i / 8] ^ prefix->address.octets[i / 8]) & 0x80 >> i % 8)
			return false;
	return true;
}
