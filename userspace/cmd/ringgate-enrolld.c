/* SPDX-License-Identifier: BSD-2-Clause */
/* ringgate-enrolld: the configuration and enrollment server. See ringgate-enrolld(8). */
#include "base/log.h"
#include "enroll/server.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <linux/capability.h>
#include <openssl/crypto.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>

enum {
	EXIT_CONFIGURATION = 78, /* EX_CONFIG: restarting will not help */
	SECURE_HEAP = 1 << 16,
	SECURE_HEAP_MIN = 32,
	PASSWD_BUFFER = 16384,
};

struct arguments {
	const char *settings_path;
	bool check;
};

static const char usage[] =
	"ringgate-enrolld - lets new sites into a Ringgate overlay: its configuration document and certificates, over HTTPS\n"
	"\n"
	"Usage: ringgate-enrolld [OPTION...]\n"
	"\n"
	"  -c, --config FILE   settings file (default " SYSCONFDIR "/ringgate/ringgate-enrolld.conf, with drop-ins in FILE.d/)\n"
	"      --check         read settings, keys, documents and ledgers, say whether they are usable, and exit\n"
	"  -h, --help          this text\n"
	"      --version       version\n"
	"\n"
	"From nothing to a site that joins, for overlay example.org:\n"
	"  ringgatectl overlay create /var/lib/ringgate-enroll/example.org --name example.org \\\n"
	"      --bootstrap 192.0.2.11:6084 --enrollment-server https://example.org/enroll\n"
	"  ringgatectl overlay publish /var/lib/ringgate-enroll/example.org\n"
	"  ringgatectl user add /var/lib/ringgate-enroll/example.org site1@example.org      (prints a password)\n"
	"  ringgate-enrolld                                                (settings: certificate, key, [overlay example.org])\n"
	"and at the site:\n"
	"  ringgatectl enroll https://example.org --user site1@example.org\n"
	"\n"
	"It answers GET /.well-known/reload-config and POST /enroll, stays in the foreground and logs to the journal, or to\n"
	"standard error. SIGTERM ends it. See ringgate-enrolld(8), ringgate-enrolld.conf(5), ringgatectl(1).\n";

static int parse_arguments(int argc, char **argv, struct arguments *ret) {
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) >= 0) {
		switch (option) {
		case 'c':
			ret->settings_path = optarg;
			break;
		case 'k':
			ret->check = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		case 'v':
			puts("ringgate-enrolld " VERSION);
			exit(EXIT_SUCCESS);
		default:
			fputs("Try: ringgate-enrolld --help\n", stderr);
			return -EINVAL;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "ringgate-enrolld: \"%s\" is not an option; try: ringgate-enrolld --help\n", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

/* The socket systemd has opened for us, or the one of the settings; *ret_address: where it is. */
static int open_socket(const struct enroll_settings *settings, bool check, int *ret_fd, struct address *ret_address, char *reason) {
	struct sockaddr_storage name;
	socklen_t length = sizeof(name);
	int passed = sd_listen_fds(true);

	*ret_address = settings->listen;
	if (passed <= 0 || check) {
		if (check)
			ret_address->port = 0; /* the server may be running */
		return server_listen(ret_address, ret_fd, reason);
	}
	if (passed > 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNSPEC, SOCK_STREAM, 1) <= 0 ||
	    getsockname(SD_LISTEN_FDS_START, (struct sockaddr *)&name, &length) < 0 ||
	    fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK) < 0) {
		snprintf(reason, ENROLL_REASON_SIZE,
			 "The service manager has to pass one listening TCP socket; it passed %d sockets.", passed);
		return -EINVAL;
	}
	*ret_address = address_of_sockaddr((struct sockaddr *)&name);
	*ret_fd = SD_LISTEN_FDS_START;
	return 0;
}

/* Root becomes the user of the settings, for good. */
static int change_user(const char *name, char *reason) {
	struct passwd entry, *user = NULL;
	char buffer[PASSWD_BUFFER];

	if (geteuid() != 0)
		return 0;
	if (!name) {
		log_warning("Running as root; [server] user = NAME lets a user of its own hold the keys.");
		return 0;
	}
	int error = getpwnam_r(name, &entry, buffer, sizeof(buffer), &user);
	if (!user || user->pw_uid == 0) {
		snprintf(reason, ENROLL_REASON_SIZE, "[server] user is \"%.64s\", and %s.", name,
			 user ? "that is root" : "there is no such user");
		return error > 0 ? -error : -ENOENT;
	}
	if (initgroups(user->pw_name, user->pw_gid) < 0 || setresgid(user->pw_gid, user->pw_gid, user->pw_gid) < 0 ||
	    setresuid(user->pw_uid, user->pw_uid, user->pw_uid) < 0) {
		error = -errno;
		snprintf(reason, ENROLL_REASON_SIZE, "The daemon cannot become user %.64s: %s.", name, strerror(-error));
		return error;
	}
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* the change of user may have set it */
	return 0;
}

/* Before threads are started, which inherit what is left. Where there is nothing to give up, nothing is tried: a service manager
 * may have forbidden the call. */
static int drop_capabilities(void) {
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}, {0}};
	static const struct __user_cap_data_struct none[2];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (syscall(SYS_capget, &header, data) == 0 && memcmp(data, none, sizeof(none)) == 0)
		return 0;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

static void serve(struct server *server, const sigset_t *signals) {
	const struct timespec second = {.tv_sec = 1};

	/* Until SIGTERM or SIGINT; -EAGAIN is a second that passed. */
	while (sigtimedwait(signals, NULL, &second) < 0) {
		server_tick(server);
		sd_notify(false, "WATCHDOG=1");
	}
	log_notice("Stopping.");
	sd_notify(false, "STOPPING=1");
}

static int run(const struct arguments *arguments) {
	_cleanup_(enroll_settings_freep) struct enroll_settings *settings = NULL;
	_cleanup_(server_freep) struct server *server = NULL;
	char reason[ENROLL_REASON_SIZE] = "", text[ADDRESS_TEXT_SIZE];
	struct address address;
	sigset_t signals;
	int fd = -1;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	int error = enroll_settings_load(arguments->settings_path, &settings, reason);
	if (error == 0) {
		log_level = settings->log_level;
		error = open_socket(settings, arguments->check, &fd, &address, reason);
	}
	if (error == 0)
		error = change_user(settings->user, reason);
	if (error == 0) {
		if (drop_capabilities() < 0)
			log_warning("Privileges could not be dropped.");
		error = server_new(settings, fd, &server, reason);
	}
	if (error < 0) {
		log_error("%s", reason);
		return error == -ENOMEM || error == -EADDRINUSE ? EXIT_FAILURE : EXIT_CONFIGURATION;
	}
	if (arguments->check) {
		printf("The settings in %s are usable.\n", arguments->settings_path);
		return EXIT_SUCCESS;
	}
	log_notice("Serving %zu overlay%s on %s.", settings->overlay_count, settings->overlay_count == 1 ? "" : "s",
		   address_format(&address, text));
	sd_notify(false, "READY=1");
	serve(server, &signals);
	return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
	struct arguments arguments = {.settings_path = SYSCONFDIR "/ringgate/ringgate-enrolld.conf"};
	/* Keys are in memory: no core files, and nobody traces us. */
	const struct rlimit none = {0, 0};

	if (parse_arguments(argc, argv, &arguments) < 0)
		return EXIT_FAILURE;
	log_open("ringgate-enrolld");
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_HEAP_MIN);
	return run(&arguments);
}
