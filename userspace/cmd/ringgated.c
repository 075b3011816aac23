/* SPDX-License-Identifier: BSD-2-Clause */
/* ringgated: the peer daemon. See ringgated(8). */
#include "base/log.h"
#include "control/control.h"
#include "node/enroller.h"
#include "node/twin.h"

#include <errno.h>
#include <getopt.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <systemd/sd-daemon.h>

enum {
	EXIT_USAGE = 2,
	EXIT_CONFIGURATION = 78, /* EX_CONFIG: restarting will not help */
};

struct arguments {
	const char *settings_path;
	bool settings_named, check;
};

static const char usage[] =
	"ringgated - the Ringgate peer daemon: a P2PSIP site gateway on a RELOAD overlay\n"
	"\n"
	"Usage: ringgated [OPTION...]\n"
	"\n"
	"  -c, --config FILE   settings file (default " SYSCONFDIR "/ringgate/ringgate.conf, with drop-ins in FILE.d/)\n"
	"      --check         read settings, configuration document and certificates, say whether they are usable, and exit\n"
	"  -h, --help          this text\n"
	"      --version       version\n"
	"\n"
	"The daemon stays in the foreground and logs to the journal, or to standard error. SIGTERM makes it leave the\n"
	"overlay in order; a second SIGTERM ends it at once. SIGUSR1 ends it for a restart: with the kernel fast path its\n"
	"links stay up and transit goes on until the next ringgated takes over. Ask it how it is with: ringgatectl status\n"
	"\n"
	"Exit status: 0 ended in order, 1 failed in a way that a restart may mend, 2 wrong usage, 78 settings, document,\n"
	"certificate or records cannot be used.\n"
	"\n"
	"See ringgated(8), ringgate.conf(5), ringgatectl(1).\n";

/* Of '?' and ':' of getopt_long(). */
static int refuse_option(int option, const char *word) {
	char letter[3] = {'-', (char)optopt, 0};

	if (optopt > 0 && optopt < 256)
		word = optopt == 'k' || optopt == 'v' ? word : letter;
	fprintf(stderr, "ringgated: %s %s; try: ringgated --help\n", word,
		option == ':' ? "needs a value" : "is not an option, or takes no value");
	return -EINVAL;
}

static int parse_arguments(int argc, char **argv, struct arguments *ret) {
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", no_argument, NULL, 'k'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, ":c:h", options, NULL)) >= 0) {
		switch (option) {
		case 'c':
			ret->settings_path = optarg;
			ret->settings_named = true;
			break;
		case 'k':
			ret->check = true;
			break;
		case 'h':
			fputs(usage, stdout);
			exit(EXIT_SUCCESS);
		case 'v':
			puts("ringgated " VERSION);
			exit(EXIT_SUCCESS);
		default:
			return refuse_option(option, argv[optind - 1]);
		}
	}
	if (optind < argc) {
		fprintf(stderr, "ringgated: \"%s\" is not an option; try: ringgated --help\n", argv[optind]);
		return -EINVAL;
	}
	return 0;
}

/*
 * Once sockets and files are open nothing needs a privilege any more, except for the fast path: it follows links to other
 * interfaces and changes its maps.
 */
static int drop_capabilities(bool fastpath) {
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {{0}, {0}};

	if (fastpath) {
		data[CAP_TO_INDEX(CAP_NET_ADMIN)].effective |= CAP_TO_MASK(CAP_NET_ADMIN);
		data[CAP_TO_INDEX(CAP_BPF)].effective |= CAP_TO_MASK(CAP_BPF);
		for (unsigned i = 0; i < 2; i++)
			data[i].permitted = data[i].effective;
	}

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	return syscall(SYS_capset, &header, data) < 0 ? -errno : 0;
}

static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
	struct node *node = userdata;

	(void)source;
	(void)info;
	if (node->leaving)
		return sd_event_exit(node->event, 0);
	log_notice("Leaving the overlay.");
	node_enter(node);
	node_leave(node);
	return 0;
}

/*
 * Another daemon takes over in a moment, which needs nothing that is not in the kernel or on disk already: what has to work after a
 * crash works now. Tidying up would end the links.
 */
static int on_restart(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
	struct node *node = userdata;

	node_enter(node);
	if (!node_suspend(node))
		return on_terminate(source, info, userdata);
	log_notice("Ending for a restart; the kernel keeps the links up.");
	_exit(EXIT_SUCCESS);
}

/* Signals wait until the loop runs, so that none can interrupt what is being opened. */
static int make_loop(sd_event **ret) {
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	return sd_event_new(ret);
}

static int on_terminate_early(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata) {
	(void)source, (void)info;
	*(bool *)userdata = true;
	return 0;
}

/* A node without a certificate that is good for anything gets one before it begins. */
static int enroll_first(const struct settings *settings, sd_event *event, char *reason) {
	static const int signals[] = {SIGTERM, SIGINT, SIGUSR1};
	sd_event_source *sources[ARRAY_LENGTH(signals)] = {NULL};
	bool stop = false;
	int error = 0;

	/* What the service manager gave us for the fast path is not for the programs we run. */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (size_t i = 0; i < ARRAY_LENGTH(signals) && error >= 0; i++)
		error = sd_event_add_signal(event, &sources[i], signals[i], on_terminate_early, &stop);
	if (error >= 0)
		error = enrollment_first(settings, event, &stop, reason);
	for (size_t i = 0; i < ARRAY_LENGTH(signals); i++)
		sd_event_source_disable_unref(sources[i]);
	return error;
}

static int watch_signals(sd_event *event, struct node *node) {
	int error = sd_event_add_signal(event, NULL, SIGTERM, on_terminate, node);

	if (error >= 0)
		error = sd_event_add_signal(event, NULL, SIGINT, on_terminate, node);
	if (error >= 0)
		error = sd_event_add_signal(event, NULL, SIGUSR1, on_restart, node);
	return error < 0 ? error : 0;
}

/* What may be otherwise in a moment: taken by another process, not there yet, or used up. */
static int exit_status(int error) {
	switch (error) {
	case -EADDRINUSE:
	case -EADDRNOTAVAIL:
	case -EAGAIN:
	case -EBUSY:
	case -EIO:
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
	case -ENOSPC:
		return EXIT_FAILURE;
	default:
		return EXIT_CONFIGURATION;
	}
}

static int check(const struct arguments *arguments, const struct settings *settings) {
	char reason[NODE_REASON_SIZE] = "";

	int error = node_check(settings, reason);
	if (error < 0) {
		log_error("%s", reason);
		return exit_status(error);
	}
	printf("The settings in %s are usable.\n", arguments->settings_path);
	return EXIT_SUCCESS;
}

/* Takes `settings` over. */
static int serve(struct settings *settings) {
	_cleanup_(sd_event_unrefp) sd_event *event = NULL;
	_cleanup_(node_freep) struct node *node = NULL;
	_cleanup_(control_freep) struct control *control = NULL;
	_cleanup_(metrics_server_freep) struct metrics_server *metrics = NULL;
	char reason[NODE_REASON_SIZE] = "";

	int error = make_loop(&event);
	if (error < 0) {
		log_error("The event loop cannot be made: %s.", strerror(-error));
		settings_free(settings);
		return EXIT_FAILURE;
	}
	error = enroll_first(settings, event, reason);
	if (error < 0) {
		log_error("%s", reason[0] ? reason : strerror(-error));
		settings_free(settings);
		return error == -ECANCELED ? EXIT_SUCCESS : exit_status(error);
	}
	error = node_new(settings, event, &node, reason);
	if (error == 0)
		error = control_new(node, &control, reason);
	if (error == 0 && node->settings->metrics_listen.family != 0)
		error = metrics_server_new(node, &node->settings->metrics_listen, &metrics, reason);
	if (error < 0) {
		log_error("%s", reason);
		return exit_status(error);
	}
	error = watch_signals(event, node);
	if (error < 0) {
		log_error("Signals cannot be watched: %s.", strerror(-error));
		return EXIT_FAILURE;
	}
	error = drop_capabilities(node->fastpath != NULL);
	if (error < 0)
		log_warning("Privileges could not be dropped: %s.", strerror(-error));
	sd_event_set_watchdog(event, true);
	node_start(node);
	sd_notify(false, "READY=1");
	error = sd_event_loop(event);
	if (error == TWIN_EXIT) {
		node_stop(node);
		return EXIT_CONFIGURATION; /* who starts this one again has to know that the other one is off */
	}
	if (error < 0)
		log_error("The event loop ended: %s.", strerror(-error));
	node_stop(node);
	return error < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run(const struct arguments *arguments) {
	struct settings *settings;
	char reason[SETTINGS_REASON_SIZE] = "";

	int error = settings_load(arguments->settings_path, arguments->settings_named, &settings, reason);
	if (error < 0) {
		log_error("%s", reason);
		return EXIT_CONFIGURATION;
	}
	log_level = settings->log_level;
	if (!arguments->check)
		return serve(settings);
	int status = check(arguments, settings);
	settings_free(settings);
	return status;
}

/* Keys are in memory: no core files, and nobody traces us. A descriptor for each SIP connection and more. */
static void set_limits(void) {
	const struct rlimit none = {0, 0};
	struct rlimit files;

	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	umask(0027);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

int main(int argc, char **argv) {
	struct arguments arguments = {.settings_path = SYSCONFDIR "/ringgate/ringgate.conf"};

	if (parse_arguments(argc, argv, &arguments) < 0)
		return EXIT_USAGE;
	log_open("ringgated");
	set_limits();
	return run(&arguments);
}
