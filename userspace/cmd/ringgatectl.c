/* SPDX-License-Identifier: BSD-2-Clause */
/* ringgatectl: the operator's command. See ringgatectl(1). */
#include "cmd/ctl.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

static const char usage[] =
	"ringgatectl - ask and steer a Ringgate node\n"
	"\n"
	"Usage: ringgatectl [OPTION...] COMMAND [ARGUMENT...]\n"
	"\n"
	"This node:\n"
	"  status                      state, overlay, addresses and figures of the node\n"
	"  peers                       established links with round-trip times\n"
	"  ring                        predecessors, successors and fingers\n"
	"  drops                       what was dropped, by reason\n"
	"  fastpath                    what the kernel forwards by itself\n"
	"  fastpath remove [DIRECTORY] end what a daemon left in the kernel that does not come back (default "
	"/sys/fs/bpf/ringgate)\n"
	"  registrations [TEXT]        phones registered at this gateway; with TEXT those of users who have it in their name\n"
	"  metrics                     all counters as Prometheus text\n"
	"  wait                        return once the node has joined; --peers N: and is connected to N peers,\n"
	"                              --timeout SECONDS: give up (default 60)\n"
	"  configuration               the configuration document in force, where it comes from, how it went to other nodes\n"
	"  configuration update FILE   give the node a newer signed document; it passes it on to all others\n"
	"  configuration fetch [NAME|URL]   the same with what the configuration server has now\n"
	"  leave                       leave the overlay in order; the daemon ends\n"
	"\n"
	"Phones of this site:\n"
	"  sip passwd NAME             set the password of a user's phones: of --password-file, or a new one that is printed\n"
	"  sip forget NAME             remove it; both change DIR/sip-passwords of --directory (default /var/lib/ringgate)\n"
	"  sip registrations [TEXT]    phones registered at this gateway; with TEXT those of users who have it in their name\n"
	"  sip resolve NAME            contacts of an address of record, as a caller is redirected to them\n"
	"  sip calls                   calls placed by this gateway, what it is doing, and how often it asked the overlay\n"
	"  sip trunks                  ways to telephone numbers: where they are, whether we are registered, what failed last\n"
	"  sip trace [NAME]            SIP messages as they come and go, without passwords, until interrupted\n"
	"\n"
	"The overlay:\n"
	"  fetch NAME --kind KIND      records of a name, for instance: fetch alice@example.org --kind SIP-REGISTRATION\n"
	"  store NAME --kind KIND --value TEXT   store a record signed by this node, or with --user by a user of this site\n"
	"  find NAME --kind KIND       the closest resource at the peer responsible for NAME that has records of KIND\n"
	"  resolve NAME                contacts of an address of record, as a caller is redirected to them\n"
	"  ping TARGET                 round trip to a Node-ID, to the peer responsible for a name, or to \"wildcard\"\n"
	"  trace TARGET                the peers a message for TARGET passes\n"
	"\n"
	"Provisioning (files only, no daemon needed):\n"
	"  overlay create DIRECTORY --name NAME [--bootstrap ADDRESS]...\n"
	"  overlay issue DIRECTORY --output STEM [--user alice@example.org] [--node-ids N] [--days N]\n"
	"  overlay show FILE           check a configuration document and print what it says\n"
	"  overlay bump DIRECTORY      the next sequence number, signed\n"
	"  overlay sign DIRECTORY FILE make FILE, an overlay.xml changed by hand with a new sequence number, the signed document\n"
	"  overlay publish DIRECTORY   let ringgate-enrolld hand out the signed document\n"
	"  node revoke DIRECTORY NODE-ID|NAME   list a bad node, or all of an account, disable it, sign and publish\n"
	"\n"
	"Enrollment (DIRECTORY is the overlay's at the server):\n"
	"  user add DIRECTORY NAME [--node-ids N] [--voucher SCOPE [--users-max N]]\n"
	"                                 an account, with a password of --password-file or a new one that is printed\n"
	"  user passwd|disable|enable DIRECTORY NAME\n"
	"  user voucher DIRECTORY NAME --voucher SCOPE      let an account enroll the users of a site: domains and names\n"
	"  user list DIRECTORY         accounts, their Node-IDs and when their certificates end\n"
	"At a site:\n"
	"  enroll NAME|URL --user NAME [--directory DIR]   get document and certificate, for instance\n"
	"                              enroll example.org --user site1@example.org\n"
	"                              with --renew, the certificate again, without a password while it is valid\n"
	"  enroll NAME|URL --user NAME --account NAME      a certificate for a user of the site, with the voucher of an account\n"
	"  enroll NAME|URL --users FILE [--account NAME]   certificates for many users, a name and its password a line\n"
	"  overlay fetch NAME|URL FILE get the configuration document alone, when it is newer than the one in FILE\n"
	"\n"
	"Options:\n"
	"  -s, --socket PATH           control socket (default /run/ringgate/control)\n"
	"      --json                  print the answer as JSON\n"
	"      --kind KIND             a Kind by name (CERTIFICATE-BY-USER) or number (0xf0000001)\n"
	"      --resource HEX          a Resource-ID instead of a NAME\n"
	"      --node HEX|self         the resource of a Node-ID; --multiple N for NODE-MULTIPLE Kinds\n"
	"      --at HEX                fetch from this Node-ID instead of the responsible peer\n"
	"      --value TEXT, --key TEXT, --index N, --lifetime SECONDS, --user NAME   see store\n"
	"      --count N               ping: how often (default 1); sip trace, registrations: end after so many\n"
	"      --name NAME, --bootstrap ADDRESS, --output STEM, --node-ids N, --days N, --rsa   see overlay\n"
	"      --require-kind ID:MODEL:ACCESS:COUNT:SIZE[:MULTIPLE]   overlay create: a private Kind\n"
	"      --update-interval S, --ping-interval S   overlay create: Chord timers\n"
	"      --enrollment-server URL   overlay create: where certificates are to be had, may stand several times\n"
	"      --self-signed sha256|sha1, --shared-secret-file FILE, --no-clients   overlay create: who may join, see "
	"ringgatectl(1)\n"
	"      --password-file FILE    the password, one line (-: standard input); enroll asks on the terminal without it\n"
	"      --directory DIR, --output STEM, --document FILE, --keep-document, --renew   enroll: what goes where\n"
	"      --ca-file FILE, --address ADDRESS   enroll, overlay fetch: roots for HTTPS, and where to connect instead\n"
	"  -h, --help                  this text\n"
	"      --version               version\n"
	"\n"
	"Exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no daemon answers.\n";

static const struct command {
	const char *name;
	int (*run)(struct ctl *ctl);
	int arguments_min, arguments_max;
	const char *takes;
} commands[] = {
	{"status", ctl_status, 0, 0, "no argument"},
	{"peers", ctl_peers, 0, 0, "no argument"},
	{"ring", ctl_ring, 0, 0, "no argument"},
	{"drops", ctl_drops, 0, 0, "no argument"},
	{"fastpath", ctl_fastpath, 0, 2, "nothing, or remove and a directory"},
	{"registrations", ctl_registrations, 0, 1, "nothing, or a part of the names"},
	{"metrics", ctl_metrics, 0, 0, "no argument"},
	{"wait", ctl_wait, 0, 0, "no argument"},
	{"leave", ctl_leave, 0, 0, "no argument"},
	{"configuration", ctl_configuration, 0, 2, "show, update and a file, or fetch and a server"},
	{"fetch", ctl_fetch, 0, 1, "one name"},
	{"store", ctl_store, 0, 1, "one name"},
	{"find", ctl_find, 0, 1, "one name"},
	{"resolve", ctl_resolve, 1, 1, "one name"},
	{"ping", ctl_ping, 0, 1, "one target"},
	{"trace", ctl_trace, 0, 1, "one target"},
	{"overlay", ctl_overlay, 2, 3, "create, issue, show, bump, sign, publish or fetch, and a path"},
	{"user", ctl_user, 2, 3, "add, passwd, list, disable, enable or voucher, a directory and a name"},
	{"node", ctl_node_command, 3, 3, "revoke, a directory and a Node-ID or account"},
	{"sip", ctl_sip, 1, 2, "registrations, calls, trunks or trace, or resolve, trace, passwd or forget and a name"},
	{"enroll", ctl_enroll, 1, 1, "an overlay name or an https URL"},
};

enum {
	OPTION_JSON = 256,
	OPTION_KIND,
	OPTION_RESOURCE,
	OPTION_NODE,
	OPTION_MULTIPLE,
	OPTION_AT,
	OPTION_VALUE,
	OPTION_KEY,
	OPTION_INDEX,
	OPTION_LIFETIME,
	OPTION_USER,
	OPTION_COUNT,
	OPTION_NAME,
	OPTION_BOOTSTRAP,
	OPTION_OUTPUT,
	OPTION_NODE_IDS,
	OPTION_DAYS,
	OPTION_RSA,
	OPTION_REQUIRE_KIND,
	OPTION_UPDATE_INTERVAL,
	OPTION_PING_INTERVAL,
	OPTION_VERSION,
	OPTION_PEERS,
	OPTION_TIMEOUT,
	OPTION_ENROLLMENT_SERVER,
	OPTION_PASSWORD_FILE,
	OPTION_CA_FILE,
	OPTION_ADDRESS,
	OPTION_DIRECTORY,
	OPTION_RENEW,
	OPTION_ACCOUNT,
	OPTION_VOUCHER,
	OPTION_USERS_MAX,
	OPTION_USERS,
	OPTION_DOCUMENT,
	OPTION_KEEP_DOCUMENT,
	OPTION_SELF_SIGNED,
	OPTION_SHARED_SECRET_FILE,
	OPTION_NO_CLIENTS,
};

static const struct option options[] = {
	{"socket", required_argument, NULL, 's'},
	{"json", no_argument, NULL, OPTION_JSON},
	{"kind", required_argument, NULL, OPTION_KIND},
	{"resource", required_argument, NULL, OPTION_RESOURCE},
	{"node", required_argument, NULL, OPTION_NODE},
	{"multiple", required_argument, NULL, OPTION_MULTIPLE},
	{"at", required_argument, NULL, OPTION_AT},
	{"value", required_argument, NULL, OPTION_VALUE},
	{"key", required_argument, NULL, OPTION_KEY},
	{"index", required_argument, NULL, OPTION_INDEX},
	{"lifetime", required_argument, NULL, OPTION_LIFETIME},
	{"user", required_argument, NULL, OPTION_USER},
	{"count", required_argument, NULL, OPTION_COUNT},
	{"name", required_argument, NULL, OPTION_NAME},
	{"bootstrap", required_argument, NULL, OPTION_BOOTSTRAP},
	{"output", required_argument, NULL, OPTION_OUTPUT},
	{"node-ids", required_argument, NULL, OPTION_NODE_IDS},
	{"days", required_argument, NULL, OPTION_DAYS},
	{"rsa", no_argument, NULL, OPTION_RSA},
	{"require-kind", required_argument, NULL, OPTION_REQUIRE_KIND},
	{"update-interval", required_argument, NULL, OPTION_UPDATE_INTERVAL},
	{"ping-interval", required_argument, NULL, OPTION_PING_INTERVAL},
	{"peers", required_argument, NULL, OPTION_PEERS},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"enrollment-server", required_argument, NULL, OPTION_ENROLLMENT_SERVER},
	{"password-file", required_argument, NULL, OPTION_PASSWORD_FILE},
	{"ca-file", required_argument, NULL, OPTION_CA_FILE},
	{"address", required_argument, NULL, OPTION_ADDRESS},
	{"directory", required_argument, NULL, OPTION_DIRECTORY},
	{"renew", no_argument, NULL, OPTION_RENEW},
	{"account", required_argument, NULL, OPTION_ACCOUNT},
	{"voucher", required_argument, NULL, OPTION_VOUCHER},
	{"users-max", required_argument, NULL, OPTION_USERS_MAX},
	{"users", required_argument, NULL, OPTION_USERS},
	{"document", required_argument, NULL, OPTION_DOCUMENT},
	{"keep-document", no_argument, NULL, OPTION_KEEP_DOCUMENT},
	{"self-signed", required_argument, NULL, OPTION_SELF_SIGNED},
	{"shared-secret-file", required_argument, NULL, OPTION_SHARED_SECRET_FILE},
	{"no-clients", no_argument, NULL, OPTION_NO_CLIENTS},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, OPTION_VERSION},
	{NULL, 0, NULL, 0},
};

/* Options that are handed to the daemon as they are. */
static const struct {
	int option;
	const char *argument;
} passed_on[] = {
	{OPTION_KIND, "kind"},
	{OPTION_RESOURCE, "resource"},
	{OPTION_NODE, "node"},
	{OPTION_MULTIPLE, "multiple"},
	{OPTION_AT, "at"},
	{OPTION_VALUE, "value"},
	{OPTION_KEY, "key"},
	{OPTION_INDEX, "index"},
	{OPTION_LIFETIME, "lifetime"},
	{OPTION_USER, "user"},
};

static int number(const char *name, const char *text, unsigned min, unsigned max, unsigned *ret) {
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end != 0 || value < min || value > max) {
		fprintf(stderr, "ringgatectl: --%s is \"%s\", expected a number from %u to %u.\n", name, text, min, max);
		return CTL_USAGE;
	}
	*ret = (unsigned)value;
	return 0;
}

/* A number the daemon gets as a number. */
static int number_argument(struct ctl *ctl, const char *option, const char *argument, unsigned min, unsigned max) {
	unsigned value;
	int status = number(option, optarg, min, max, &value);

	if (status == 0)
		json_object_set_new(ctl->request, argument, json_integer(value));
	return status;
}

static int enrollment_option(struct ctl *ctl, int option) {
	switch (option) {
	case OPTION_PASSWORD_FILE:
		ctl->password_file = optarg;
		return 0;
	case OPTION_CA_FILE:
		ctl->ca_file = optarg;
		return 0;
	case OPTION_ADDRESS:
		ctl->address = optarg;
		return 0;
	case OPTION_DIRECTORY:
		ctl->directory = optarg;
		return 0;
	case OPTION_RENEW:
		ctl->renew = true;
		return 0;
	case OPTION_ACCOUNT:
		ctl->account = optarg;
		return 0;
	case OPTION_VOUCHER:
		ctl->voucher = optarg;
		return 0;
	case OPTION_USERS_MAX:
		return number("users-max", optarg, 1, 1000000, &ctl->users_max);
	case OPTION_USERS:
		ctl->users_file = optarg;
		return 0;
	case OPTION_DOCUMENT:
		ctl->document = optarg;
		return 0;
	case OPTION_KEEP_DOCUMENT:
		ctl->keep_document = true;
		return 0;
	case OPTION_SELF_SIGNED:
		ctl->overlay.self_signed_digest = optarg;
		return 0;
	case OPTION_SHARED_SECRET_FILE:
		ctl->secret_file = optarg;
		return 0;
	case OPTION_NO_CLIENTS:
		ctl->overlay.clients_forbidden = true;
		return 0;
	case OPTION_ENROLLMENT_SERVER:
		if (ctl->overlay.enrollment_server_count < CTL_SERVERS_MAX && strncasecmp(optarg, "https://", 8) == 0) {
			ctl->enrollment_servers[ctl->overlay.enrollment_server_count++] = optarg;
			return 0;
		}
		fprintf(stderr, "ringgatectl: --enrollment-server is \"%s\", expected up to %d https URLs.\n", optarg,
			CTL_SERVERS_MAX);
		return CTL_USAGE;
	default:
		return CTL_USAGE;
	}
}

static int provisioning_option(struct ctl *ctl, int option) {
	switch (option) {
	case OPTION_NAME:
		ctl->overlay.name = optarg;
		return 0;
	case OPTION_OUTPUT:
		ctl->certificate.output = optarg;
		return 0;
	case OPTION_RSA:
		ctl->overlay.key_type = ctl->certificate.key_type = KEY_RSA_2048;
		return 0;
	case OPTION_NODE_IDS:
		return number("node-ids", optarg, 1, CERTIFICATE_NODE_IDS_MAX, &ctl->certificate.node_id_count);
	case OPTION_DAYS:
		return number("days", optarg, 1, PROVISION_DAYS_MAX, &ctl->certificate.days);
	case OPTION_UPDATE_INTERVAL:
		return number("update-interval", optarg, 1, 86400, &ctl->overlay.chord_update_interval_s);
	case OPTION_PING_INTERVAL:
		return number("ping-interval", optarg, 1, 86400, &ctl->overlay.chord_ping_interval_s);
	case OPTION_BOOTSTRAP:
		if (ctl->overlay.bootstrap_count < CTL_BOOTSTRAP_MAX &&
		    address_parse(optarg, RELOAD_PORT, &ctl->bootstrap[ctl->overlay.bootstrap_count]) == 0) {
			ctl->overlay.bootstrap_count++;
			return 0;
		}
		fprintf(stderr, "ringgatectl: --bootstrap is \"%s\", expected up to %d addresses such as 192.0.2.1:6084.\n", optarg,
			CTL_BOOTSTRAP_MAX);
		return CTL_USAGE;
	case OPTION_REQUIRE_KIND:
		if (ctl->overlay.kind_count < CTL_KINDS_MAX &&
		    provision_kind_parse(optarg, &ctl->kinds[ctl->overlay.kind_count]) == 0) {
			ctl->overlay.kind_count++;
			return 0;
		}
		fprintf(stderr,
			"ringgatectl: --require-kind is \"%s\", expected something like "
			"0xf0000001:SINGLE:NODE-MULTIPLE:10:1000:100.\n",
			optarg);
		return CTL_USAGE;
	default:
		return enrollment_option(ctl, option);
	}
}

/* Of '?' and ':' of getopt_long(). */
static int refuse_option(int option, const char *word) {
	char letter[3] = {'-', (char)optopt, 0};

	if (optopt > 0 && optopt < 256)
		word = letter;
	fprintf(stderr, "ringgatectl: %s %s; try: ringgatectl --help\n", word,
		option == ':' ? "needs a value" : "is not an option, or takes no value");
	return CTL_USAGE;
}

static int parse_option(struct ctl *ctl, int option) {
	for (size_t i = 0; i < ARRAY_LENGTH(passed_on); i++) {
		if (passed_on[i].option != option)
			continue;
		if (option == OPTION_USER)
			ctl->certificate.user_name = optarg;
		json_object_set_new(ctl->request, passed_on[i].argument, json_string(optarg));
		return 0;
	}
	switch (option) {
	case 's':
		ctl->socket_path = optarg;
		return 0;
	case OPTION_JSON:
		ctl->json = true;
		return 0;
	case OPTION_PEERS:
		return number_argument(ctl, "peers", "peers", 0, 4096);
	case OPTION_TIMEOUT:
		return number_argument(ctl, "timeout", "seconds", 1, 3600);
	case OPTION_COUNT:
		return number("count", optarg, 1, 1000000, &ctl->count);
	case 'h':
		fputs(usage, stdout);
		exit(EXIT_SUCCESS);
	case OPTION_VERSION:
		puts("ringgatectl " VERSION);
		exit(EXIT_SUCCESS);
	default:
		return provisioning_option(ctl, option);
	}
}

static int run_command(struct ctl *ctl, int argc, char **argv) {
	if (argc == 0) {
		fputs("ringgatectl: no command; try: ringgatectl --help\n", stderr);
		return CTL_USAGE;
	}
	for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
		if (strcmp(argv[0], commands[i].name) != 0)
			continue;
		if (argc - 1 < commands[i].arguments_min || argc - 1 > commands[i].arguments_max) {
			fprintf(stderr, "ringgatectl: %s takes %s; try: ringgatectl --help\n", argv[0], commands[i].takes);
			return CTL_USAGE;
		}
		ctl->arguments = argv + 1;
		ctl->argument_count = argc - 1;
		json_object_set_new(ctl->request, "command", json_string(argv[0]));
		return commands[i].run(ctl);
	}
	fprintf(stderr, "ringgatectl: there is no command \"%s\"; try: ringgatectl --help\n", argv[0]);
	return CTL_USAGE;
}

/* The control socket speaks UTF-8, and so do the names in certificates and documents. */
static int check_words(int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		json_t *word = json_string(argv[i]);
		if (!word) {
			fprintf(stderr, "ringgatectl: word %d of the command line is not UTF-8.\n", i);
			return CTL_USAGE;
		}
		json_decref(word);
	}
	return 0;
}

int main(int argc, char **argv) {
	struct ctl ctl = {
		.socket_path = "/run/ringgate/control",
		.fd = -1,
		.request = json_object(),
		.overlay = {.key_type = KEY_ECDSA_P256},
		.certificate = {.key_type = KEY_ECDSA_P256, .node_id_count = 1, .days = PROVISION_DAYS_DEFAULT},
	};
	int option, status = check_words(argc, argv);

	ctl.overlay.bootstrap = ctl.bootstrap;
	ctl.overlay.kinds = ctl.kinds;
	ctl.overlay.enrollment_servers = ctl.enrollment_servers;
	while (status == 0 && (option = getopt_long(argc, argv, ":s:h", options, NULL)) >= 0)
		status = option == '?' || option == ':' ? refuse_option(option, argv[optind - 1]) : parse_option(&ctl, option);
	if (status == 0)
		status = run_command(&ctl, argc - optind, argv + optind);
	ctl_release(&ctl);
	if (fflush(stdout) != 0 && status == CTL_DONE) {
		fprintf(stderr, "ringgatectl: the answer could not be written: %s.\n", strerror(errno));
		status = CTL_FAILED;
	}
	return status;
}
