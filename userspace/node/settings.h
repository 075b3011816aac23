/* SPDX-License-Identifier: BSD-2-Clause */
/* Node settings: ringgate.conf and its drop-ins (ringgate.conf(5)). */
#pragma once

#include "base/address.h"
#include "base/cleanup.h"
#include "node/network_prefix.h"

#include <limits.h>
#include <stdint.h>

enum {
	SETTINGS_FAMILIES = 2,
	SETTINGS_LISTEN_MAX = 4,
	SETTINGS_BOOTSTRAP_MAX = 16,
	SETTINGS_BOOTSTRAP_SERVER_MAX = 4,
	SETTINGS_NETWORKS_MAX = 32,
	SETTINGS_REGISTRARS_MAX = 8,
	SETTINGS_MULTICAST_MAX = 2,
	SETTINGS_INTERFACES_MAX = 8,
	SETTINGS_INTERFACE_SIZE = 16,
	SETTINGS_NODE_IDS_MAX = 16,
	SETTINGS_TRUNKS_MAX = 4,
	SETTINGS_DOMAINS_MAX = 8,
	SETTINGS_OVERLAY_ROUTES_MAX = 8,
	SETTINGS_TRUNK_NAME_SIZE = 32,
	SETTINGS_REASON_SIZE = 512,
};

/* Which calls between gateways go over TLS. */
enum settings_gateway_tls { GATEWAY_TLS_NO, GATEWAY_TLS_SIPS, GATEWAY_TLS_ALWAYS };

/* What the node does for its users' certificates, besides renewing those that are there. */
enum settings_enroll_users { ENROLL_USERS_NO, ENROLL_USERS_AT_REGISTRATION };

/* [trunk NAME]; NULL: not given. */
struct settings_trunk {
	char name[SETTINGS_TRUNK_NAME_SIZE];
	char *server, *user, *password_file, *caller_id, *numbers, *incoming;
	bool registers;
};

struct settings {
	/* [node] */
	char *state_directory, *overlay_config, *overlay_name, *certificate, *key, *shared_secret;
	bool client, first_node, relay; /* relay: bootstrap server, a client that passes on what joining peers need */
	int log_level;

	/* [links] */
	struct address listen[SETTINGS_FAMILIES], announce[SETTINGS_LISTEN_MAX], bootstrap[SETTINGS_BOOTSTRAP_MAX];
	size_t listen_count, announce_count, bootstrap_count;
	struct address bootstrap_server[SETTINGS_BOOTSTRAP_SERVER_MAX];
	size_t bootstrap_server_count;
	char *keylog, *ciphers;
	uint32_t mtu, neighbor_check_ms;
	unsigned protocols; /* enum links_protocols; 0: all */
	bool fastpath, shield;
	char *fastpath_pins; /* empty: no */

	/* [discovery] */
	bool multicast_dns;
	struct address multicast[SETTINGS_MULTICAST_MAX];
	size_t multicast_count;
	char discovery_interfaces[SETTINGS_INTERFACES_MAX][SETTINGS_INTERFACE_SIZE];
	size_t discovery_interface_count;

	/* [sip] */
	bool sip;
	struct address sip_listen[SETTINGS_LISTEN_MAX];
	size_t sip_listen_count;
	struct network_prefix sip_allow[SETTINGS_NETWORKS_MAX];
	size_t sip_allow_count;
	char *users_directory;
	struct address sip_tls_listen[SETTINGS_LISTEN_MAX];
	size_t sip_tls_listen_count;
	char *sip_tls_certificate, *sip_tls_key; /* NULL: no TLS */
	struct address sip_gateway_listen[SETTINGS_LISTEN_MAX];
	size_t sip_gateway_listen_count;
	enum settings_gateway_tls sip_gateway_tls;
	char *sip_tls_ca_file; /* NULL: the system's roots */
	unsigned sip_mode;     /* enum sip_mode */
	bool sip_outside_calls, sip_outside_domains;
	struct address sip_name_servers[SETTINGS_LISTEN_MAX]; /* none: those of the system */
	size_t sip_name_server_count;
	unsigned sip_lookup_s;
	bool sip_authentication;
	unsigned sip_callers; /* enum sip_callers */
	unsigned sip_digests; /* bits of enum sip_digest; 0: all */
	char *sip_passwords;
	char *sip_registrars[SETTINGS_REGISTRARS_MAX]; /* users who may register others */
	size_t sip_registrar_count;
	char *sip_domains[SETTINGS_DOMAINS_MAX]; /* in lower case: others than the overlay's that stand for it */
	size_t sip_domain_count;
	struct {
		char *domain; /* in lower case */
		struct address address;
	} sip_overlay_routes[SETTINGS_OVERLAY_ROUTES_MAX]; /* gateways of other overlays */
	size_t sip_overlay_route_count;
	unsigned sip_expires_min_s, sip_expires_default_s, sip_expires_max_s;

	struct settings_trunk trunks[SETTINGS_TRUNKS_MAX];
	size_t trunk_count, trunk; /* which one is being read */

	/* [enroll] */
	char *enroll_server;  /* overlay name or https URL; NULL: the overlay's name, when it has an enrollment server */
	char *enroll_ca_file; /* PEM roots for HTTPS; NULL: the system's */
	char *enroll_address; /* connect there instead of looking the host up; NULL: look it up */
	char *enroll_user, *enroll_password_file; /* account and its password; NULL: the node does not enroll by itself */
	enum settings_enroll_users enroll_users;
	unsigned enroll_user_node_ids;

	/* [control] */
	char *control_socket, *control_group;

	/* [metrics] */
	struct address metrics_listen; /* family 0: off */
};

/*
 * Reads `path` and then every *.conf of `path`.d in order of their names; later values replace earlier ones. A file that was named
 * explicitly must exist. `reason` receives one sentence with file and line. -EINVAL, -ENOMEM, or what opening the file gave.
 */
int settings_load(const char *path, bool must_exist, struct settings **ret, char reason[static SETTINGS_REASON_SIZE]);
struct settings *settings_free(struct settings *settings);
DEFINE_CLEANUP(struct settings *, settings_free)

/* What certificate and key have in common, when they are STEM.crt and STEM.key. -EINVAL. */
int settings_stem(const char *certificate, const char *key, char stem[static PATH_MAX]);
