/* SPDX-License-Identifier: BSD-2-Clause */
/* What each setting takes: one function for each type of value, and the table of all settings. */
#include "node/settings_values.h"

#include "base/log.h"
#include "fastpath/pins.h"
#include "link/links.h"
#include "sip/digest.h"
#include "sip/gateway.h"
#include "usages/usages.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#define FIELD(type, settings, offset) ((type *)(void *)((char *)(settings) + (offset)))

static int set_string(struct settings *settings, size_t offset, const char *value) {
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*FIELD(char *, settings, offset));
	*FIELD(char *, settings, offset) = copy;
	return 0;
}

/* The same of the trunk that is being read. */
static int set_trunk_string(struct settings *settings, size_t offset, const char *value) {
	return set_string(settings, offsetof(struct settings, trunks) + settings->trunk * sizeof(settings->trunks[0]) + offset,
			  value);
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

static int set_lookup_seconds(struct settings *settings, size_t offset, const char *value) {
	unsigned long number;

	if (parse_number(value, 3600, &number) < 0)
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
	(void)offset;
	bool relay = strcmp(value, "bootstrap-server") == 0, client = strcmp(value, "client") == 0;
	if (strcmp(value, "peer") != 0 && !client && !relay)
		return -EINVAL;
	settings->client = client || relay; /* attached to the responsible peer, outside the ring */
	settings->relay = relay;
	return 0;
}

static int set_fastpath(struct settings *settings, size_t offset, const char *value) {
	if (strcmp(value, "auto") != 0 && strcmp(value, "no") != 0)
		return -EINVAL;
	*FIELD(bool, settings, offset) = strcmp(value, "auto") == 0;
	return 0;
}

static int set_fastpath_pins(struct settings *settings, size_t offset, const char *value) {
	return strcmp(value, "no") == 0 ? set_string(settings, offset, "") : set_path(settings, offset, value);
}

static int set_log_level(struct settings *settings, size_t offset, const char *value) {
	return log_level_parse(value, FIELD(int, settings, offset));
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

/* 192.0.2.1:6084/tcp: over TCP first. */
static int add_entrance(void *userdata, const char *word) {
	struct address_list *list = userdata;
	size_t length = strlen(word);
	char text[ADDRESS_TEXT_SIZE + 4];
	bool tcp = length > 4 && strcmp(word + length - 4, "/tcp") == 0, udp = length > 4 && strcmp(word + length - 4, "/udp") == 0;

	if (!tcp && !udp)
		return add_address(list, word);
	if (length >= sizeof(text))
		return -EINVAL;
	memcpy(text, word, length - 4);
	text[length - 4] = 0;
	int error = add_address(list, text);
	if (error == 0 && tcp)
		list->addresses[*list->count - 1].protocol = IPPROTO_TCP;
	return error;
}

/* Addresses that others connect to: "any" is none. */
static int set_remote(const char *value, struct address *addresses, size_t *count, size_t max,
		      int (*add)(void *userdata, const char *word)) {
	static const uint8_t any[sizeof(addresses->octets)] = {0};
	struct address_list list = {addresses, count, max, RELOAD_PORT};

	*count = 0;
	int error = for_each_word(value, add, &list);

	for (size_t i = 0; error == 0 && i < *count; i++)
		if (memcmp(addresses[i].octets, any, sizeof(any)) == 0)
			error = -EINVAL;
	return error;
}

/* One socket for each address family carries all links. */
static int set_listen(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	int error = set_addresses(value, settings->listen, &settings->listen_count, SETTINGS_FAMILIES, RELOAD_PORT);
	if (error == 0 && settings->listen_count == 2 && settings->listen[0].family == settings->listen[1].family)
		error = -EINVAL;
	return error;
}

static int add_protocol(void *userdata, const char *word) {
	unsigned *protocols = userdata;

	if (strcmp(word, "dtls") == 0)
		*protocols |= LINKS_DTLS;
	else if (strcmp(word, "tls") == 0)
		*protocols |= LINKS_TLS;
	else
		return -EINVAL;
	return 0;
}

static int set_protocols(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	settings->protocols = 0;
	int error = for_each_word(value, add_protocol, &settings->protocols);
	return error == 0 && settings->protocols == 0 ? -EINVAL : error;
}

static int set_announce(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_remote(value, settings->announce, &settings->announce_count, SETTINGS_LISTEN_MAX, add_address);
}

static int set_bootstrap(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_remote(value, settings->bootstrap, &settings->bootstrap_count, SETTINGS_BOOTSTRAP_MAX, add_entrance);
}

static int set_bootstrap_server(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_remote(value, settings->bootstrap_server, &settings->bootstrap_server_count, SETTINGS_BOOTSTRAP_SERVER_MAX,
			  add_entrance);
}

static int set_multicast(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	int error = set_addresses(value, settings->multicast, &settings->multicast_count, SETTINGS_MULTICAST_MAX, RELOAD_PORT);
	for (size_t i = 0; error == 0 && i < settings->multicast_count; i++) {
		const struct address *address = &settings->multicast[i];
		/* IPv6 groups of an interface or a link mean another one on each, and cannot be bound without naming it. */
		if (address->family == AF_INET ? (address->octets[0] & 0xf0) != 0xe0
					       : address->octets[0] != 0xff || (address->octets[1] & 0x0f) < 3)
			error = -EINVAL;
	}
	return error;
}

static int add_interface(void *userdata, const char *word) {
	struct settings *settings = userdata;

	if (settings->discovery_interface_count == SETTINGS_INTERFACES_MAX || strlen(word) >= SETTINGS_INTERFACE_SIZE)
		return -EINVAL;
	strcpy(settings->discovery_interfaces[settings->discovery_interface_count++], word);
	return 0;
}

static int set_interfaces(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	settings->discovery_interface_count = 0;
	return for_each_word(value, add_interface, settings);
}

static int set_sip_listen(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->sip_listen, &settings->sip_listen_count, SETTINGS_LISTEN_MAX, 5060);
}

static int set_sip_tls_listen(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->sip_tls_listen, &settings->sip_tls_listen_count, SETTINGS_LISTEN_MAX, 5061);
}

static int set_gateway_listen(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->sip_gateway_listen, &settings->sip_gateway_listen_count, SETTINGS_LISTEN_MAX, 5062);
}

static int set_gateway_tls(struct settings *settings, size_t offset, const char *value) {
	static const char *const words[] = {[GATEWAY_TLS_NO] = "no", [GATEWAY_TLS_SIPS] = "sips", [GATEWAY_TLS_ALWAYS] = "always"};

	(void)offset;
	for (size_t i = 0; i < ARRAY_LENGTH(words); i++)
		if (strcmp(value, words[i]) == 0) {
			settings->sip_gateway_tls = (enum settings_gateway_tls)i;
			return 0;
		}
	return -EINVAL;
}

static int set_name_servers(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	return set_addresses(value, settings->sip_name_servers, &settings->sip_name_server_count, SETTINGS_LISTEN_MAX, 53);
}

static int set_authentication(struct settings *settings, size_t offset, const char *value) {
	if (strcmp(value, "calls") == 0 || strcmp(value, "registrations") == 0) {
		*FIELD(bool, settings, offset) = true;
		settings->sip_callers = value[0] == 'c' ? SIP_CALLERS_PASSWORD : SIP_CALLERS_ANY;
		return 0;
	}
	settings->sip_callers = SIP_CALLERS_REGISTERED;
	return set_boolean(settings, offset, value);
}

static int set_sip_mode(struct settings *settings, size_t offset, const char *value) {
	static const char *const modes[] = {
		[SIP_MODE_REDIRECT] = "redirect",
		[SIP_MODE_PROXY] = "proxy",
		[SIP_MODE_REDIRECT_INSIDE] = "redirect-inside",
	};

	for (unsigned i = 0; i < ARRAY_LENGTH(modes); i++)
		if (strcmp(value, modes[i]) == 0) {
			*FIELD(unsigned, settings, offset) = i;
			return 0;
		}
	return -EINVAL;
}

static int add_digest(void *userdata, const char *word) {
	unsigned *digests = userdata;

	for (unsigned i = 0; i < SIP_DIGESTS; i++)
		if (strcasecmp(word, digest_name(i)) == 0) {
			*digests |= 1u << i;
			return 0;
		}
	return -EINVAL;
}

static int set_digests(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	settings->sip_digests = 0;
	return for_each_word(value, add_digest, &settings->sip_digests);
}

static void clear_registrars(struct settings *settings) {
	while (settings->sip_registrar_count > 0)
		free(settings->sip_registrars[--settings->sip_registrar_count]);
}

static int add_registrar(void *userdata, const char *word) {
	struct settings *settings = userdata;
	char aor[USER_NAME_MAX + 1];

	if (settings->sip_registrar_count == SETTINGS_REGISTRARS_MAX || strchr(word, ':') ||
	    sip_aor_of_uri(word, aor, sizeof(aor)) < 0)
		return -EINVAL;
	char *copy = strdup(aor);
	if (!copy)
		return -ENOMEM;
	settings->sip_registrars[settings->sip_registrar_count++] = copy;
	return 0;
}

static int set_registrars(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	clear_registrars(settings);
	return for_each_word(value, add_registrar, settings);
}

static void clear_domains(struct settings *settings) {
	while (settings->sip_domain_count > 0)
		free(settings->sip_domains[--settings->sip_domain_count]);
}

/* Letters, digits, "-", and dots between them; no address, whose last part is a number. */
static bool is_domain_name(const char *text) {
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
	const char *label = text;

	if (strlen(text) > 253)
		return false;
	for (;;) {
		size_t length = strspn(label, letters);
		if (length == 0 || length > 63 || label[0] == '-' || label[length - 1] == '-')
			return false;
		if (label[length] == 0)
			return strspn(label, "0123456789") != length;
		if (label[length] != '.')
			return false;
		label += length + 1;
	}
}

static int copy_domain(const char *text, size_t length, char **ret) {
	char *copy = strndup(text, length);

	if (!copy)
		return -ENOMEM;
	for (char *c = copy; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	if (!is_domain_name(copy)) {
		free(copy);
		return -EINVAL;
	}
	*ret = copy;
	return 0;
}

static int add_domain(void *userdata, const char *word) {
	struct settings *settings = userdata;

	if (settings->sip_domain_count == SETTINGS_DOMAINS_MAX)
		return -EINVAL;
	int error = copy_domain(word, strlen(word), &settings->sip_domains[settings->sip_domain_count]);
	if (error == 0)
		settings->sip_domain_count++;
	return error;
}

static int set_domains(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	clear_domains(settings);
	return for_each_word(value, add_domain, settings);
}

static void clear_overlay_routes(struct settings *settings) {
	while (settings->sip_overlay_route_count > 0)
		free(settings->sip_overlay_routes[--settings->sip_overlay_route_count].domain);
}

/* "example.net=192.0.2.11:5070" */
static int add_overlay_route(void *userdata, const char *word) {
	static const uint8_t any[16];
	struct settings *settings = userdata;
	const char *equals = strchr(word, '=');
	struct address address;

	if (settings->sip_overlay_route_count == SETTINGS_OVERLAY_ROUTES_MAX || !equals ||
	    address_parse(equals + 1, 5060, &address) < 0 || address.port == 0 || memcmp(address.octets, any, sizeof(any)) == 0)
		return -EINVAL;
	size_t index = settings->sip_overlay_route_count;
	int error = copy_domain(word, (size_t)(equals - word), &settings->sip_overlay_routes[index].domain);
	if (error < 0)
		return error;
	settings->sip_overlay_routes[index].address = address;
	settings->sip_overlay_route_count++;
	return 0;
}

static int set_overlay_routes(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	clear_overlay_routes(settings);
	return for_each_word(value, add_overlay_route, settings);
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

	if (settings->sip_allow_count == SETTINGS_NETWORKS_MAX)
		return -E2BIG;
	int error = network_prefix_parse(word, &settings->sip_allow[settings->sip_allow_count]);
	if (error < 0)
		return error;
	settings->sip_allow_count++;
	return 0;
}

static int set_sip_allow(struct settings *settings, size_t offset, const char *value) {
	(void)offset;
	settings->sip_allow_count = 0;
	return for_each_word(value, add_network, settings);
}

static int set_enroll_users(struct settings *settings, size_t offset, const char *value) {
	if (strcmp(value, "no") != 0 && strcmp(value, "at-registration") != 0)
		return -EINVAL;
	*FIELD(enum settings_enroll_users, settings, offset) =
		strcmp(value, "no") == 0 ? ENROLL_USERS_NO : ENROLL_USERS_AT_REGISTRATION;
	return 0;
}

static int set_node_ids(struct settings *settings, size_t offset, const char *value) {
	unsigned long number;

	if (parse_number(value, SETTINGS_NODE_IDS_MAX, &number) < 0 || number == 0)
		return -EINVAL;
	*FIELD(unsigned, settings, offset) = (unsigned)number;
	return 0;
}

static int set_trunk_path(struct settings *settings, size_t offset, const char *value) {
	return value[0] == '/' ? set_trunk_string(settings, offset, value) : -EINVAL;
}

static int set_trunk_boolean(struct settings *settings, size_t offset, const char *value) {
	return set_boolean(settings, offsetof(struct settings, trunks) + settings->trunk * sizeof(settings->trunks[0]) + offset,
			   value);
}

static const struct settings_option options[] = {
	{"node", "state-directory", set_path, offsetof(struct settings, state_directory), "an absolute path"},
	{"node", "overlay-config", set_path, offsetof(struct settings, overlay_config), "an absolute path"},
	{"node", "overlay", set_string, offsetof(struct settings, overlay_name), "an overlay name"},
	{"node", "certificate", set_path, offsetof(struct settings, certificate), "an absolute path"},
	{"node", "key", set_path, offsetof(struct settings, key), "an absolute path"},
	{"node", "shared-secret", set_path, offsetof(struct settings, shared_secret), "an absolute path"},
	{"node", "role", set_role, 0, "peer, client or bootstrap-server"},
	{"node", "first-node", set_boolean, offsetof(struct settings, first_node), "yes or no"},
	{"node", "log-level", set_log_level, offsetof(struct settings, log_level), "error, warning, notice, info or debug"},
	{"links", "listen", set_listen, 0, "one IPv4 address, one IPv6 address or both, such as 192.0.2.1:6084 [2001:db8::1]:6084"},
	{"links", "protocols", set_protocols, 0, "dtls, tls or both"},
	{"links", "announce", set_announce, 0, "up to 4 addresses such as 192.0.2.1:6084"},
	{"links", "bootstrap", set_bootstrap, 0, "up to 16 addresses such as 192.0.2.1:6084"},
	{"links", "bootstrap-server", set_bootstrap_server, 0, "up to 4 addresses such as 192.0.2.1:6084"},
	{"links", "keylog", set_path, offsetof(struct settings, keylog), "an absolute path"},
	{"links", "ciphers", set_string, offsetof(struct settings, ciphers), "an OpenSSL cipher list"},
	{"links", "mtu", set_mtu, offsetof(struct settings, mtu), "a number of octets from 576 to 9216"},
	{"links", "neighbor-check-interval", set_milliseconds, offsetof(struct settings, neighbor_check_ms),
	 "100 to 3600000 milliseconds"},
	{"links", "fastpath", set_fastpath, offsetof(struct settings, fastpath), "no or auto"},
	{"links", "fastpath-pins", set_fastpath_pins, offsetof(struct settings, fastpath_pins), "an absolute path, or no"},
	{"links", "shield", set_boolean, offsetof(struct settings, shield), "yes or no"},
	{"discovery", "multicast-dns", set_boolean, offsetof(struct settings, multicast_dns), "yes or no"},
	{"discovery", "multicast", set_multicast, 0, "up to 2 multicast addresses such as 239.192.60.84:6084 [ff15::6084]:6084"},
	{"discovery", "interfaces", set_interfaces, 0, "up to 8 names of interfaces such as lan0"},
	{"sip", "enabled", set_boolean, offsetof(struct settings, sip), "yes or no"},
	{"sip", "listen", set_sip_listen, 0, "up to 4 addresses such as 192.0.2.1:5060"},
	{"sip", "allow", set_sip_allow, 0, "up to 32 networks such as 192.0.2.0/24"},
	{"sip", "tls-listen", set_sip_tls_listen, 0, "up to 4 addresses such as 192.0.2.1:5061"},
	{"sip", "tls-certificate", set_path, offsetof(struct settings, sip_tls_certificate), "an absolute path"},
	{"sip", "tls-key", set_path, offsetof(struct settings, sip_tls_key), "an absolute path"},
	{"sip", "tls-ca-file", set_path, offsetof(struct settings, sip_tls_ca_file), "an absolute path"},
	{"sip", "gateway-tls", set_gateway_tls, 0, "no, sips or always"},
	{"sip", "gateway-listen", set_gateway_listen, 0, "up to 4 addresses such as 192.0.2.1:5062"},
	{"sip", "mode", set_sip_mode, offsetof(struct settings, sip_mode), "redirect, proxy or redirect-inside"},
	{"sip", "outside-calls", set_boolean, offsetof(struct settings, sip_outside_calls), "yes or no"},
	{"sip", "outside-domains", set_boolean, offsetof(struct settings, sip_outside_domains), "yes or no"},
	{"sip", "name-servers", set_name_servers, 0, "up to 4 addresses such as 192.0.2.53"},
	{"sip", "users-directory", set_path, offsetof(struct settings, users_directory), "an absolute path"},
	{"sip", "lookup-seconds", set_lookup_seconds, offsetof(struct settings, sip_lookup_s), "0 to 3600 seconds"},
	{"sip", "authentication", set_authentication, offsetof(struct settings, sip_authentication),
	 "yes, calls, registrations or no"},
	{"sip", "passwords", set_path, offsetof(struct settings, sip_passwords), "an absolute path"},
	{"sip", "digest-algorithms", set_digests, 0, "SHA-256, MD5 or both"},
	{"sip", "registrars", set_registrars, 0, "up to 8 users such as admin@example.org"},
	{"sip", "domains", set_domains, 0, "up to 8 domains such as example.com"},
	{"sip", "overlay-routes", set_overlay_routes, 0, "up to 8 domains with addresses such as example.net=192.0.2.1:5070"},
	{"sip", "expires-min", set_seconds, offsetof(struct settings, sip_expires_min_s), "a number of seconds, at least 1"},
	{"sip", "expires-default", set_seconds, offsetof(struct settings, sip_expires_default_s),
	 "a number of seconds, at least 1"},
	{"sip", "expires-max", set_seconds, offsetof(struct settings, sip_expires_max_s), "a number of seconds, at least 1"},
	{"trunk", "server", set_trunk_string, offsetof(struct settings_trunk, server), "a SIP URI such as sip:sip.example.com"},
	{"trunk", "user", set_trunk_string, offsetof(struct settings_trunk, user), "a user name"},
	{"trunk", "password-file", set_trunk_path, offsetof(struct settings_trunk, password_file), "an absolute path"},
	{"trunk", "caller-id", set_trunk_string, offsetof(struct settings_trunk, caller_id), "a number such as +4940123456"},
	{"trunk", "numbers", set_trunk_string, offsetof(struct settings_trunk, numbers), "pairs such as 00=+ 0=+49"},
	{"trunk", "incoming", set_trunk_string, offsetof(struct settings_trunk, incoming),
	 "pairs such as +4940123456=alice@example.org"},
	{"trunk", "register", set_trunk_boolean, offsetof(struct settings_trunk, registers), "yes or no"},
	{"enroll", "server", set_string, offsetof(struct settings, enroll_server), "an overlay name or an https URL"},
	{"enroll", "ca-file", set_path, offsetof(struct settings, enroll_ca_file), "an absolute path"},
	{"enroll", "address", set_string, offsetof(struct settings, enroll_address), "an address such as 192.0.2.5"},
	{"enroll", "user", set_string, offsetof(struct settings, enroll_user), "an account such as site1@example.org"},
	{"enroll", "password-file", set_path, offsetof(struct settings, enroll_password_file), "an absolute path"},
	{"enroll", "users", set_enroll_users, offsetof(struct settings, enroll_users), "no or at-registration"},
	{"enroll", "user-node-ids", set_node_ids, offsetof(struct settings, enroll_user_node_ids), "a number from 1 to 16"},
	{"control", "socket", set_path, offsetof(struct settings, control_socket), "an absolute path"},
	{"control", "group", set_string, offsetof(struct settings, control_group), "a group name"},
	{"metrics", "listen", set_metrics_listen, 0, "an address such as 127.0.0.1:9464, or off"},
};

const struct settings_option *settings_option_find(const char *section, const char *name) {
	for (size_t i = 0; i < ARRAY_LENGTH(options); i++)
		if (strcmp(options[i].section, section) == 0 && (!name || strcmp(options[i].name, name) == 0))
			return &options[i];
	return NULL;
}

int settings_allow_networks(struct settings *settings, const char *networks) {
	return for_each_word(networks, add_network, settings);
}

void settings_clear_lists(struct settings *settings) {
	clear_registrars(settings);
	clear_domains(settings);
	clear_overlay_routes(settings);
}
