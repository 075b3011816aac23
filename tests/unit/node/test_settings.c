/* SPDX-License-Identifier: BSD-2-Clause */
/* ringgate.conf: each setting, drop-ins, and a sentence with file and line for each mistake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>

#include "node/settings.h"
#include "sip/digest.h"
#include "sip/gateway.h"

static char directory[] = "/tmp/test_settings_XXXXXX", path[64], drop_ins[64];

static int setup(void **state) {
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/ringgate.conf", directory);
	snprintf(drop_ins, sizeof(drop_ins), "%s/ringgate.conf.d", directory);
	return mkdir(drop_ins, 0700);
}

static int teardown(void **state) {
	(void)state;
	unlink(path);
	rmdir(drop_ins);
	return rmdir(directory);
}

static void write_octets(const char *file, const char *text, size_t length) {
	FILE *stream = fopen(file, "w");

	assert_non_null(stream);
	assert_int_equal(fwrite(text, 1, length, stream), length);
	assert_int_equal(fclose(stream), 0);
}

static void write_file(const char *file, const char *text) {
	write_octets(file, text, strlen(text));
}

static void write_text(const char *text) {
	write_file(path, text);
}

static struct settings *load(const char *text) {
	char reason[SETTINGS_REASON_SIZE] = "";
	struct settings *settings = NULL;

	write_text(text);
	int error = settings_load(path, true, &settings, reason);
	if (error < 0)
		print_message("%s\n", reason);
	assert_int_equal(error, 0);
	assert_string_equal(reason, "");
	return settings;
}

/* `sentence` stands behind "FILE". */
static void refuse_file(const char *file, const char *named, bool must_exist, int error, const char *sentence) {
	char reason[SETTINGS_REASON_SIZE] = "", expected[SETTINGS_REASON_SIZE];
	struct settings *settings = NULL;

	assert_int_equal(settings_load(named, must_exist, &settings, reason), error);
	assert_null(settings);
	snprintf(expected, sizeof(expected), "%s%s", file, sentence);
	assert_string_equal(reason, expected);
}

static void refuse(const char *text, const char *sentence) {
	write_text(text);
	refuse_file(path, path, true, -EINVAL, sentence);
}

static void expect_address(const struct address *address, const char *text) {
	char formatted[ADDRESS_TEXT_SIZE];

	assert_string_equal(address_format(address, formatted), text);
}

static void test_defaults(void **state) {
	_cleanup_(settings_freep) struct settings *settings = load("");

	(void)state;
	assert_string_equal(settings->state_directory, "/var/lib/ringgate");
	assert_string_equal(settings->overlay_config, "/var/lib/ringgate/overlay.xml");
	assert_null(settings->overlay_name);
	assert_string_equal(settings->certificate, "/var/lib/ringgate/node.crt");
	assert_string_equal(settings->key, "/var/lib/ringgate/node.key");
	assert_false(settings->client);
	assert_false(settings->first_node);
	assert_int_equal(settings->log_level, LOG_INFO);
	assert_int_equal(settings->listen_count, 2);
	expect_address(&settings->listen[0], "0.0.0.0:6084");
	expect_address(&settings->listen[1], "[::]:6084");
	assert_int_equal(settings->announce_count, 0);
	assert_int_equal(settings->bootstrap_count, 0);
	assert_null(settings->keylog);
	assert_null(settings->ciphers);
	assert_int_equal(settings->mtu, 0);
	assert_int_equal(settings->neighbor_check_ms, 5000);
	assert_true(settings->fastpath);
	assert_false(settings->shield);
	assert_true(settings->sip);
	assert_int_equal(settings->sip_listen_count, 2);
	expect_address(&settings->sip_listen[0], "0.0.0.0:5060");
	expect_address(&settings->sip_listen[1], "[::]:5060");
	assert_int_equal(settings->sip_allow_count, 8);
	assert_string_equal(settings->users_directory, "/var/lib/ringgate/users");
	assert_int_equal(settings->sip_mode, SIP_MODE_REDIRECT);
	assert_false(settings->sip_outside_calls);
	assert_int_equal(settings->sip_lookup_s, 10);
	assert_true(settings->sip_authentication);
	assert_int_equal(settings->sip_digests, 0);
	assert_string_equal(settings->sip_passwords, "/var/lib/ringgate/sip-passwords");
	assert_int_equal(settings->sip_registrar_count, 0);
	assert_int_equal(settings->sip_domain_count, 0);
	assert_int_equal(settings->sip_overlay_route_count, 0);
	assert_int_equal(settings->sip_expires_min_s, 60);
	assert_int_equal(settings->sip_expires_default_s, 3600);
	assert_int_equal(settings->sip_expires_max_s, 86400);
	assert_string_equal(settings->control_socket, "/run/ringgate/control");
	assert_null(settings->control_group);
	assert_int_equal(settings->metrics_listen.family, 0);
}

static void test_every_setting(void **state) {
	_cleanup_(settings_freep) struct settings *settings =
		load("[node]\n"
		     "state-directory = /srv/ringgate\n"
		     "overlay-config = /srv/overlay.xml\n"
		     "overlay = example.org\n"
		     "certificate = /srv/a.crt\n"
		     "key = /srv/a.key\n"
		     "role = client\n"
		     "first-node = no\n"
		     "log-level = debug\n"
		     "[links]\n"
		     "listen = 192.0.2.1 [2001:db8::1]:7000\n"
		     "announce = 198.51.100.1:6085, 2001:db8::2\n"
		     "bootstrap = 192.0.2.2,192.0.2.3:1/tcp,[2001:db8::1]/udp\n"
		     "keylog = /tmp/keys\n"
		     "ciphers = ECDHE-ECDSA-AES128-GCM-SHA256\n"
		     "mtu = 1280\n"
		     "neighbor-check-interval = 100\n"
		     "[sip]\n"
		     "lookup-seconds = 0\n"
		     "authentication = no\n"
		     "passwords = /p\n"
		     "digest-algorithms = md5\n"
		     "registrars = admin@Example.org, boss@example.org\n"
		     "domains = Example.com, voice.example.net\n"
		     "overlay-routes = Other.example=192.0.2.11:5070 third.example=[2001:db8::1]\n"
		     "enabled = off\n"
		     "listen = 192.0.2.1:5070\n"
		     "allow = 192.0.2.0/24 2001:db8::/32 198.51.100.7\n"
		     "mode = redirect-inside\n"
		     "outside-calls = yes\n"
		     "users-directory = /srv/users\n"
		     "expires-min = 1\n"
		     "expires-default = 2\n"
		     "expires-max = 3\n"
		     "[control]\n"
		     "socket = /srv/control\n"
		     "group = operators\n"
		     "[metrics]\n"
		     "listen = 127.0.0.1\n");

	(void)state;
	assert_string_equal(settings->state_directory, "/srv/ringgate");
	assert_string_equal(settings->overlay_config, "/srv/overlay.xml");
	assert_string_equal(settings->overlay_name, "example.org");
	assert_string_equal(settings->certificate, "/srv/a.crt");
	assert_string_equal(settings->key, "/srv/a.key");
	assert_true(settings->client);
	assert_int_equal(settings->log_level, LOG_DEBUG);
	assert_int_equal(settings->listen_count, 2);
	expect_address(&settings->listen[0], "192.0.2.1:6084");
	expect_address(&settings->listen[1], "[2001:db8::1]:7000");
	assert_int_equal(settings->announce_count, 2);
	expect_address(&settings->announce[0], "198.51.100.1:6085");
	expect_address(&settings->announce[1], "[2001:db8::2]:6084");
	assert_int_equal(settings->bootstrap_count, 3);
	expect_address(&settings->bootstrap[0], "192.0.2.2:6084");
	assert_int_equal(settings->bootstrap[1].protocol, IPPROTO_TCP);
	settings->bootstrap[1].protocol = 0;
	expect_address(&settings->bootstrap[1], "192.0.2.3:1");
	expect_address(&settings->bootstrap[2], "[2001:db8::1]:6084");
	assert_string_equal(settings->keylog, "/tmp/keys");
	assert_string_equal(settings->ciphers, "ECDHE-ECDSA-AES128-GCM-SHA256");
	assert_int_equal(settings->mtu, 1280);
	assert_int_equal(settings->neighbor_check_ms, 100);
	assert_false(settings->sip);
	assert_int_equal(settings->sip_listen_count, 1);
	expect_address(&settings->sip_listen[0], "192.0.2.1:5070");
	assert_int_equal(settings->sip_allow_count, 3);
	assert_int_equal(settings->sip_allow[0].bits, 24);
	assert_int_equal(settings->sip_allow[1].bits, 32);
	assert_int_equal(settings->sip_allow[2].bits, 32);
	assert_string_equal(settings->users_directory, "/srv/users");
	assert_int_equal(settings->sip_mode, SIP_MODE_REDIRECT_INSIDE);
	assert_true(settings->sip_outside_calls);
	assert_int_equal(settings->sip_lookup_s, 0);
	assert_false(settings->sip_authentication);
	assert_int_equal(settings->sip_callers, SIP_CALLERS_REGISTERED);
	assert_string_equal(settings->sip_passwords, "/p");
	assert_int_equal(settings->sip_digests, 1u << SIP_DIGEST_MD5);
	assert_int_equal(settings->sip_registrar_count, 2);
	assert_string_equal(settings->sip_registrars[0], "admin@example.org");
	assert_int_equal(settings->sip_domain_count, 2);
	assert_string_equal(settings->sip_domains[0], "example.com");
	assert_string_equal(settings->sip_domains[1], "voice.example.net");
	assert_int_equal(settings->sip_overlay_route_count, 2);
	assert_string_equal(settings->sip_overlay_routes[0].domain, "other.example");
	expect_address(&settings->sip_overlay_routes[0].address, "192.0.2.11:5070");
	assert_string_equal(settings->sip_overlay_routes[1].domain, "third.example");
	expect_address(&settings->sip_overlay_routes[1].address, "[2001:db8::1]:5060");
	assert_int_equal(settings->sip_expires_min_s, 1);
	assert_int_equal(settings->sip_expires_default_s, 2);
	assert_int_equal(settings->sip_expires_max_s, 3);
	assert_string_equal(settings->control_socket, "/srv/control");
	assert_string_equal(settings->control_group, "operators");
	expect_address(&settings->metrics_listen, "127.0.0.1:9464");
}

static void test_paths_follow_state_directory(void **state) {
	_cleanup_(settings_freep) struct settings *settings = load("[node]\nstate-directory = /srv/a\nkey = /etc/b.key\n");

	(void)state;
	assert_string_equal(settings->overlay_config, "/srv/a/overlay.xml");
	assert_string_equal(settings->certificate, "/srv/a/node.crt");
	assert_string_equal(settings->key, "/etc/b.key");
	assert_string_equal(settings->users_directory, "/srv/a/users");
}

static void test_words(void **state) {
	static const struct {
		const char *text;
		bool value;
	} booleans[] = {{"yes", true}, {"True", true},	 {"ON", true},	 {"1", true},
			{"no", false}, {"false", false}, {"off", false}, {"0", false}};
	static const struct {
		const char *text;
		int level;
	} levels[] = {
		{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}};
	char text[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(booleans); i++) {
		snprintf(text, sizeof(text), "[node]\nfirst-node = %s\n", booleans[i].text);
		_cleanup_(settings_freep) struct settings *settings = load(text);
		assert_int_equal(settings->first_node, booleans[i].value);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(levels); i++) {
		snprintf(text, sizeof(text), "[node]\nlog-level = %s\n", levels[i].text);
		_cleanup_(settings_freep) struct settings *settings = load(text);
		assert_int_equal(settings->log_level, levels[i].level);
	}
}

static void test_layout_of_lines(void **state) {
	_cleanup_(settings_freep) struct settings *settings = load("\xef\xbb\xbf# a comment\n"
								   "\n"
								   "  [node]  \r\n"
								   "\tstate-directory=/srv/a b;c#d  \r\n"
								   "   role   =   client   # inline\n"
								   "; another\n"
								   "log-level = debug ; inline\n"
								   "log-level = error");

	(void)state;
	assert_string_equal(settings->state_directory, "/srv/a b;c#d");
	assert_true(settings->client);
	assert_int_equal(settings->log_level, LOG_ERR); /* the later value, without a newline at the end */
}

/* Lists may be longer than any line a person writes. */
static void test_long_lists(void **state) {
	char text[4096] = "[sip]\nallow =";
	size_t length = strlen(text);

	(void)state;
	for (unsigned i = 0; i < SETTINGS_NETWORKS_MAX; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, " 2001:db8:ffff:ffff:ffff:ffff:%x:0/112", i);
	_cleanup_(settings_freep) struct settings *settings = load(text);
	assert_int_equal(settings->sip_allow_count, SETTINGS_NETWORKS_MAX);
	assert_int_equal(settings->sip_allow[SETTINGS_NETWORKS_MAX - 1].bits, 112);
	snprintf(text + length, sizeof(text) - length, " 192.0.2.0/24\n");
	write_text(text);
	char reason[SETTINGS_REASON_SIZE] = "";
	struct settings *none = NULL;
	assert_int_equal(settings_load(path, true, &none, reason), -EINVAL);
	assert_non_null(strstr(reason, ":2: [sip] allow is \""));
	assert_non_null(strstr(reason, "expected up to 32 networks such as 192.0.2.0/24."));
}

static void test_empty_lists_mean_defaults(void **state) {
	_cleanup_(settings_freep) struct settings *settings = load("[links]\nlisten = 192.0.2.1\nlisten =\n[sip]\nallow =\n");

	(void)state;
	assert_int_equal(settings->listen_count, 2);
	expect_address(&settings->listen[0], "0.0.0.0:6084");
	assert_int_equal(settings->sip_allow_count, 8);
}

static void test_bad_values(void **state) {
	static const struct {
		const char *section, *name, *value, *expects;
	} cases[] = {
		{"node", "state-directory", "relative", "an absolute path"},
		{"node", "state-directory", "", "an absolute path"},
		{"node", "overlay-config", "overlay.xml", "an absolute path"},
		{"node", "certificate", "node.crt", "an absolute path"},
		{"node", "key", "./node.key", "an absolute path"},
		{"node", "role", "server", "peer, client or bootstrap-server"},
		{"node", "role", "Peer", "peer, client or bootstrap-server"},
		{"node", "first-node", "maybe", "yes or no"},
		{"node", "first-node", "", "yes or no"},
		{"node", "log-level", "verbose", "error, warning, notice, info or debug"},
		{"links", "listen", "192.0.2.1:0",
		 "one IPv4 address, one IPv6 address or both, such as 192.0.2.1:6084 [2001:db8::1]:6084"},
		{"links", "listen", "192.0.2.1 192.0.2.2",
		 "one IPv4 address, one IPv6 address or both, such as 192.0.2.1:6084 [2001:db8::1]:6084"},
		{"links", "listen", "192.0.2.1 ::1 ::2",
		 "one IPv4 address, one IPv6 address or both, such as 192.0.2.1:6084 [2001:db8::1]:6084"},
		{"links", "listen", "localhost",
		 "one IPv4 address, one IPv6 address or both, such as 192.0.2.1:6084 [2001:db8::1]:6084"},
		{"links", "announce", "192.0.2.1:65536", "up to 4 addresses such as 192.0.2.1:6084"},
		{"links", "announce", "0.0.0.0", "up to 4 addresses such as 192.0.2.1:6084"},
		{"links", "announce", "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5",
		 "up to 4 addresses such as 192.0.2.1:6084"},
		{"links", "bootstrap", "[2001:db8::1", "up to 16 addresses such as 192.0.2.1:6084"},
		{"discovery", "multicast-dns", "perhaps", "yes or no"},
		{"discovery", "multicast", "192.0.2.1:6084",
		 "up to 2 multicast addresses such as 239.192.60.84:6084 [ff15::6084]:6084"},
		{"discovery", "multicast", "[ff12::6084]:6084",
		 "up to 2 multicast addresses such as 239.192.60.84:6084 [ff15::6084]:6084"},
		{"discovery", "interfaces", "an-interface-with-a-long-name", "up to 8 names of interfaces such as lan0"},
		{"links", "bootstrap-server", "0.0.0.0", "up to 4 addresses such as 192.0.2.1:6084"},
		{"links", "bootstrap-server", "1.1.1.1 1.1.1.2 1.1.1.3 1.1.1.4 1.1.1.5",
		 "up to 4 addresses such as 192.0.2.1:6084"},
		{"links", "bootstrap", "[::]:6084", "up to 16 addresses such as 192.0.2.1:6084"},
		{"links", "keylog", "keys", "an absolute path"},
		{"links", "mtu", "575", "a number of octets from 576 to 9216"},
		{"links", "mtu", "9217", "a number of octets from 576 to 9216"},
		{"links", "mtu", "-1", "a number of octets from 576 to 9216"},
		{"links", "mtu", "1500 bytes", "a number of octets from 576 to 9216"},
		{"links", "neighbor-check-interval", "99", "100 to 3600000 milliseconds"},
		{"links", "neighbor-check-interval", "3600001", "100 to 3600000 milliseconds"},
		{"links", "neighbor-check-interval", "99999999999999999999", "100 to 3600000 milliseconds"},
		{"sip", "enabled", "2", "yes or no"},
		{"sip", "listen", "192.0.2.1:sip", "up to 4 addresses such as 192.0.2.1:5060"},
		{"sip", "lookup-seconds", "3601", "0 to 3600 seconds"},
		{"sip", "authentication", "maybe", "yes, calls, registrations or no"},
		{"sip", "passwords", "sip-passwords", "an absolute path"},
		{"sip", "digest-algorithms", "SHA-256 SHA-1", "SHA-256, MD5 or both"},
		{"sip", "registrars", "admin", "up to 8 users such as admin@example.org"},
		{"sip", "registrars", "sip:admin@example.org", "up to 8 users such as admin@example.org"},
		{"sip", "registrars", "a@b c@b d@b e@b f@b g@b h@b i@b j@b", "up to 8 users such as admin@example.org"},
		{"sip", "domains", "192.0.2.1", "up to 8 domains such as example.com"},
		{"sip", "domains", "example.com, alice@example.com", "up to 8 domains such as example.com"},
		{"sip", "domains", "example..com", "up to 8 domains such as example.com"},
		{"sip", "domains", "example.com.", "up to 8 domains such as example.com"},
		{"sip", "domains", "-a.example", "up to 8 domains such as example.com"},
		{"sip", "domains", "a b c d e f g h i", "up to 8 domains such as example.com"},
		{"sip", "overlay-routes", "example.net", "up to 8 domains with addresses such as example.net=192.0.2.1:5070"},
		{"sip", "overlay-routes", "=192.0.2.1", "up to 8 domains with addresses such as example.net=192.0.2.1:5070"},
		{"sip", "overlay-routes", "example.net=", "up to 8 domains with addresses such as example.net=192.0.2.1:5070"},
		{"sip", "overlay-routes", "example.net=0.0.0.0",
		 "up to 8 domains with addresses such as example.net=192.0.2.1:5070"},
		{"sip", "overlay-routes", "example.net=host", "up to 8 domains with addresses such as example.net=192.0.2.1:5070"},
		{"sip", "overlay-routes",
		 "a=::1 b=::1 c=::1 d=::1 e=::1 f=::1 g=::1 h=::1 i=::1",
		 "up to 8 domains with addresses such as example.net=192.0.2.1:5070"},
		{"sip", "allow", "192.0.2.0/33", "up to 32 networks such as 192.0.2.0/24"},
		{"sip", "allow", "2001:db8::/129", "up to 32 networks such as 192.0.2.0/24"},
		{"sip", "allow", "192.0.2.0/", "up to 32 networks such as 192.0.2.0/24"},
		{"sip", "allow", "192.0.2.0:5060/24", "up to 32 networks such as 192.0.2.0/24"},
		{"sip", "allow", "any", "up to 32 networks such as 192.0.2.0/24"},
		{"sip", "mode", "Proxy", "redirect, proxy or redirect-inside"},
		{"sip", "tls-listen", "tls", "up to 4 addresses such as 192.0.2.1:5061"},
		{"sip", "tls-key", "sip.key", "an absolute path"},
		{"sip", "outside-calls", "maybe", "yes or no"},
		{"sip", "users-directory", "users", "an absolute path"},
		{"sip", "expires-min", "0", "a number of seconds, at least 1"},
		{"sip", "expires-default", "1h", "a number of seconds, at least 1"},
		{"sip", "expires-max", "999999999", "a number of seconds, at least 1"},
		{"control", "socket", "control", "an absolute path"},
		{"metrics", "listen", "on", "an address such as 127.0.0.1:9464, or off"},
		{"metrics", "listen", "127.0.0.1 127.0.0.2", "an address such as 127.0.0.1:9464, or off"},
	};
	char text[256], sentence[SETTINGS_REASON_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		snprintf(text, sizeof(text), "\n[%s]\n%s = %s\n", cases[i].section, cases[i].name, cases[i].value);
		snprintf(sentence, sizeof(sentence), ":3: [%s] %s is \"%s\", expected %s.", cases[i].section, cases[i].name,
			 cases[i].value, cases[i].expects);
		refuse(text, sentence);
	}
}

static void test_unknown_names(void **state) {
	(void)state;
	refuse("[node]\nstate-dir = /srv\n", ":2: there is no setting \"state-dir\" in section [node]; see ringgate.conf(5).");
	refuse("[node]\nallow = 192.0.2.0/24\n", ":2: there is no setting \"allow\" in section [node]; see ringgate.conf(5).");
	refuse("[Node]\n", ":1: there is no section [Node]; see ringgate.conf(5).");
	refuse("\n\n[nodes]\nkey = /a\n", ":3: there is no section [nodes]; see ringgate.conf(5).");
	refuse("role = peer\n", ":1: \"role\" stands in front of the first [section].");
}

static void test_malformed_lines(void **state) {
	static const char text[] = "[node]\nrole = peer\0\n";

	(void)state;
	refuse("[node\n", ":1: this is neither [section] nor name = value.");
	refuse("[node] role = peer\n", ":1: this is neither [section] nor name = value.");
	refuse("[node]\nrole peer\n", ":2: this is neither [section] nor name = value.");
	refuse("[node]\n= peer\n", ":2: this is neither [section] nor name = value.");
	refuse("[links]\nbootstrap = 192.0.2.1\n\t192.0.2.2\n", ":3: this is neither [section] nor name = value.");
	write_octets(path, text, sizeof(text) - 1);
	refuse_file(path, path, true, -EINVAL, ":2: this is not text.");
}

static void test_values_that_contradict(void **state) {
	(void)state;
	refuse("[node]\nrole = client\nfirst-node = yes\n",
	       ": a client cannot be the first node; set role = peer or first-node = no.");
	refuse("[sip]\nexpires-min = 100\nexpires-default = 99\n",
	       ": [sip] expires-min is 100, expires-default 99 and expires-max 86400; each may be at most the next.");
	refuse("[sip]\nexpires-default = 100\nexpires-max = 99\n",
	       ": [sip] expires-min is 60, expires-default 100 and expires-max 99; each may be at most the next.");
	/* The default default gives way. */
	_cleanup_(settings_freep) struct settings *settings = load("[sip]\nexpires-max = 1800\n");
	assert_int_equal(settings->sip_expires_default_s, 1800);
	_cleanup_(settings_freep) struct settings *longer = load("[sip]\nexpires-min = 7200\n");
	assert_int_equal(longer->sip_expires_default_s, 7200);
}

static void test_drop_ins(void **state) {
	char first[96], second[96], ignored[96], hidden[96];

	(void)state;
	snprintf(first, sizeof(first), "%s/10-a.conf", drop_ins);
	snprintf(second, sizeof(second), "%s/9-b.conf", drop_ins); /* behind 10-a in the order of octets */
	snprintf(ignored, sizeof(ignored), "%s/99-c.conf~", drop_ins);
	snprintf(hidden, sizeof(hidden), "%s/.99.conf", drop_ins);
	write_file(first, "[links]\nmtu = 1000\nbootstrap = 192.0.2.2\n");
	write_file(second, "[links]\nmtu = 1100\n");
	write_file(ignored, "nonsense");
	write_file(hidden, "nonsense");
	_cleanup_(settings_freep) struct settings *settings =
		load("[links]\nmtu = 900\nbootstrap = 192.0.2.1 192.0.2.3\nneighbor-check-interval = 700\n");
	assert_int_equal(settings->mtu, 1100);
	assert_int_equal(settings->bootstrap_count, 1); /* lists are replaced as a whole */
	expect_address(&settings->bootstrap[0], "192.0.2.2:6084");
	assert_int_equal(settings->neighbor_check_ms, 700);

	write_file(second, "[links]\n\nmtu = 1\n");
	refuse_file(second, path, true, -EINVAL, ":3: [links] mtu is \"1\", expected a number of octets from 576 to 9216.");
	unlink(second);
	assert_int_equal(mkdir(second, 0700), 0);
	refuse_file(second, path, true, -EISDIR, ": cannot be read: Is a directory.");
	rmdir(second);
	unlink(first);
	unlink(ignored);
	unlink(hidden);
}

static void test_files_that_cannot_be_read(void **state) {
	char reason[SETTINGS_REASON_SIZE] = "", missing[96];
	struct settings *settings = NULL;

	(void)state;
	snprintf(missing, sizeof(missing), "%s/missing.conf", directory);
	refuse_file(missing, missing, true, -ENOENT, ": cannot be read: No such file or directory.");
	assert_int_equal(settings_load(missing, false, &settings, reason), 0); /* the default path need not exist */
	settings = settings_free(settings);
	refuse_file(directory, directory, true, -EISDIR, ": cannot be read: Is a directory.");
	refuse_file(directory, directory, false, -EISDIR, ": cannot be read: Is a directory.");
	snprintf(missing, sizeof(missing), "%s/ringgate.conf/x", directory);
	write_text("");
	refuse_file(missing, missing, false, -ENOTDIR, ": cannot be read: Not a directory.");
	if (geteuid() == 0) /* to whom every file is readable */
		return;
	assert_int_equal(chmod(path, 0), 0);
	refuse_file(path, path, false, -EACCES, ": cannot be read: Permission denied.");
	assert_int_equal(chmod(path, 0600), 0);
}

/* A drop-in counts also when the file itself is not there. */
static void test_drop_in_alone(void **state) {
	char reason[SETTINGS_REASON_SIZE] = "", file[96];
	_cleanup_(settings_freep) struct settings *settings = NULL;

	(void)state;
	unlink(path);
	snprintf(file, sizeof(file), "%s/a.conf", drop_ins);
	write_file(file, "[node]\nrole = client\n");
	assert_int_equal(settings_load(path, false, &settings, reason), 0);
	assert_true(settings->client);
	unlink(file);
}

static bool contains(const char *network, const char *host) {
	struct network_prefix prefix;
	struct address address;

	assert_int_equal(network_prefix_parse(network, &prefix), 0);
	assert_int_equal(address_parse(host, 5060, &address), 0);
	return network_prefix_contains(&prefix, &address);
}

static void test_prefixes(void **state) {
	(void)state;
	assert_true(contains("192.0.2.0/24", "192.0.2.255"));
	assert_false(contains("192.0.2.0/24", "192.0.3.0"));
	assert_true(contains("192.0.2.77/24", "192.0.2.1")); /* host bits do not matter */
	assert_true(contains("192.0.2.128/25", "192.0.2.128"));
	assert_false(contains("192.0.2.128/25", "192.0.2.127"));
	assert_true(contains("192.0.2.1", "192.0.2.1"));
	assert_false(contains("192.0.2.1", "192.0.2.0"));
	assert_true(contains("0.0.0.0/0", "198.51.100.1"));
	assert_true(contains("2001:db8::/32", "2001:db8:ffff::1"));
	assert_false(contains("2001:db8::/32", "2001:db9::"));
	assert_true(contains("2001:db8::1", "2001:db8::1"));
	assert_false(contains("2001:db8::1/128", "2001:db8::2"));
	assert_true(contains("[2001:db8::]/32", "2001:db8::1"));
	assert_true(contains("::/0", "2001:db8::1"));
	/* One family never stands for the other, ... */
	assert_false(contains("0.0.0.0/0", "2001:db8::1"));
	assert_false(contains("::/0", "192.0.2.1"));
	assert_false(contains("::/0", "::ffff:192.0.2.1"));
	/* ... but an IPv4 address is one in IPv6 clothes, too. */
	assert_true(contains("192.0.2.0/24", "::ffff:192.0.2.1"));
	assert_false(contains("192.0.2.0/24", "::ffff:192.0.3.1"));
	assert_true(contains("::ffff:192.0.2.0/120", "192.0.2.1"));
	assert_true(contains("::ffff:192.0.2.0/120", "::ffff:192.0.2.1"));
	assert_false(contains("::ffff:192.0.2.0/120", "192.0.3.1"));
	assert_true(contains("::ffff:192.0.2.1", "192.0.2.1"));
	assert_false(contains("::ffff:192.0.2.1", "192.0.2.2"));
	assert_true(contains("::ffff:0.0.0.0/96", "198.51.100.1"));
}

static void test_bad_prefixes(void **state) {
	static const char *const bad[] = {"",
					  "/",
					  "/24",
					  "192.0.2.0/x",
					  "192.0.2.0/-1",
					  "192.0.2.0/24/24",
					  "192.0.2/24",
					  "::1/200",
					  "192.0.2.0/0000000000000000000000000000000000000000000000000000000000000000024"};
	struct network_prefix prefix = {.bits = 77};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
		assert_int_equal(network_prefix_parse(bad[i], &prefix), -EINVAL);
		assert_int_equal(prefix.bits, 77);
	}
}

static void test_default_networks(void **state) {
	static const char *const phones[] = {"127.0.0.1",   "10.1.2.3", "172.31.0.1", "192.168.1.1",
					     "169.254.9.9", "::1",	"fd00::1",    "::ffff:10.0.0.1"},
				 *const strangers[] = {"192.0.2.1", "172.32.0.1", "2001:db8::1", "::ffff:192.0.2.1"};
	_cleanup_(settings_freep) struct settings *settings = load("");

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(phones) + ARRAY_LENGTH(strangers); i++) {
		bool phone = i < ARRAY_LENGTH(phones), allowed = false;
		struct address address;
		assert_int_equal(address_parse(phone ? phones[i] : strangers[i - ARRAY_LENGTH(phones)], 5060, &address), 0);
		for (size_t j = 0; j < settings->sip_allow_count; j++)
			allowed = allowed || network_prefix_contains(&settings->sip_allow[j], &address);
		assert_int_equal(allowed, phone);
	}
}

static void test_bootstrap_server(void **state) {
	(void)state;
	_cleanup_(settings_freep) struct settings *settings =
		load("[node]\nrole = bootstrap-server\n[links]\nbootstrap-server = 192.0.2.7 [2001:db8::7]:7000\n");
	assert_true(settings->client && settings->relay);
	assert_int_equal(settings->bootstrap_server_count, 2);
	assert_int_equal(settings->bootstrap_server[0].port, RELOAD_PORT);
	assert_int_equal(settings->bootstrap_server[1].port, 7000);
	_cleanup_(settings_freep) struct settings *client = load("[node]\nrole = bootstrap-server\nrole = client\n");
	assert_true(client->client && !client->relay);
	_cleanup_(settings_freep) struct settings *peer = load("[node]\nrole = bootstrap-server\nrole = peer\n");
	assert_true(!peer->client && !peer->relay);
}

static void test_discovery(void **state) {
	(void)state;
	_cleanup_(settings_freep) struct settings *defaults = load("");
	assert_false(defaults->multicast_dns);
	assert_int_equal(defaults->multicast_count + defaults->discovery_interface_count, 0);
	_cleanup_(settings_freep) struct settings *settings =
		load("[discovery]\nmulticast-dns = yes\nmulticast = 239.192.60.84 [ff15::6084]:7000\ninterfaces = lan0 lan1\n");
	assert_true(settings->multicast_dns);
	assert_int_equal(settings->multicast_count, 2);
	assert_int_equal(settings->multicast[0].port, RELOAD_PORT);
	assert_int_equal(settings->multicast[1].port, 7000);
	assert_int_equal(settings->discovery_interface_count, 2);
	assert_string_equal(settings->discovery_interfaces[1], "lan1");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_setting),
		cmocka_unit_test(test_paths_follow_state_directory),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_layout_of_lines),
		cmocka_unit_test(test_long_lists),
		cmocka_unit_test(test_empty_lists_mean_defaults),
		cmocka_unit_test(test_bad_values),
		cmocka_unit_test(test_unknown_names),
		cmocka_unit_test(test_malformed_lines),
		cmocka_unit_test(test_values_that_contradict),
		cmocka_unit_test(test_drop_ins),
		cmocka_unit_test(test_files_that_cannot_be_read),
		cmocka_unit_test(test_drop_in_alone),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_bad_prefixes),
		cmocka_unit_test(test_default_networks),
		cmocka_unit_test(test_bootstrap_server),
		cmocka_unit_test(test_discovery),
	};

	return cmocka_run_group_tests_name("node/settings", tests, setup, teardown);
}
