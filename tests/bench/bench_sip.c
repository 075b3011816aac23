/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPU time of REGISTER and of INVITE answered 302, beside Kamailio with a registrar and a redirector in memory: each a process of
 * its own on UDP over loopback, the same requests to both in turns, CPU of the whole process group from the scheduler; median of
 * the repetitions. Each REGISTER renews what the user's phone has registered before, in the gateway's phones.db before it is
 * answered, which the overlay is told of only now and then (node/phones.h): here never, bench_register.sh has it with an overlay. Of
 * the calls the gateway has what it knows of the users in its cache. Kamailio answers without keeping transactions, the gateway
 * keeps them.
 *
 * sip_registration_bytes: memory of the gateway for each of 100000 registered users, from what the system counts of its process;
 * sip_registration_heap_bytes: the same from the books of its allocator.
 */
#include "sip.h"

#include <sys/mman.h>

enum { REPETITIONS = 5, USERS = 1000, REQUESTS = 10000, WINDOW = 64, MANY_USERS = 100000, ANSWER_MS = 5000, START_TRIES = 300 };

static bool on_allowed(void *userdata, const struct address *source) {
	(void)userdata;
	(void)source;
	return true;
}

static void run_gateway(uint16_t port) {
	serve(port, SIP_MODE_REDIRECT, on_allowed);
}

/* ---- Kamailio ---- */

static const char kamailio_settings[] = "children=1\nfork=yes\nlog_stderror=yes\ndebug=0\ndisable_tcp=yes\nauto_aliases=no\n"
					"listen=udp:127.0.0.1:%u\nalias=\"example.org\"\n"
					"loadmodule \"sl.so\"\nloadmodule \"pv.so\"\nloadmodule \"usrloc.so\"\n"
					"loadmodule \"registrar.so\"\n"
					"modparam(\"usrloc\", \"db_mode\", 0)\nmodparam(\"usrloc\", \"hash_size\", 14)\n"
					"request_route {\n"
					"	if (method == \"REGISTER\") { save(\"location\"); exit; }\n"
					"	if (method == \"ACK\") { exit; }\n"
					"	if (!lookup(\"location\")) { sl_send_reply(\"404\", \"Not Found\"); exit; }\n"
					"	sl_send_reply(\"302\", \"Moved Temporarily\");\n"
					"}\n";

static void run_kamailio(uint16_t port) {
	char path[128];

	snprintf(path, sizeof(path), "%s/kamailio.cfg", directory);
	FILE *file = fopen(path, "w");
	if (!file)
		die(path);
	fprintf(file, kamailio_settings, port);
	fclose(file);
	execlp("kamailio", "kamailio", "-DD", "-E", "-m", "256", "-M", "32", "-f", path, "-Y", directory, (char *)NULL);
	_exit(127);
}

/* ---- load ---- */

static size_t write_register(const struct load *load, unsigned user, char *text, size_t size) {
	return (size_t)snprintf(
		text, size,
		"REGISTER sip:example.org SIP/2.0\r\n"
		"Via: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK-%u;rport\r\n"
		"Max-Forwards: 70\r\n"
		"From: \"User %u\" <sip:user%u@example.org>;tag=t%u\r\n"
		"To: \"User %u\" <sip:user%u@example.org>\r\n"
		"Call-ID: 3c26700a1b2c-%u@desk\r\n"
		"CSeq: %u REGISTER\r\n"
		"User-Agent: Desk Phone 7.1\r\n"
		"Contact: <sip:user%u@127.0.0.1:%u;line=abcdef>;q=0.8\r\n"
		"Allow: INVITE, ACK, CANCEL, BYE, REFER, OPTIONS, NOTIFY, SUBSCRIBE, PRACK, MESSAGE, INFO, UPDATE\r\n"
		"Supported: path, gruu\r\n"
		"Expires: 3600\r\n"
		"Content-Length: 0\r\n\r\n",
		load->port, load->serial, user, user, user, user, user, user, load->serial + 1, user, load->port);
}

static const char session[] = "v=0\r\no=- 20518 0 IN IP4 127.0.0.1\r\ns=call\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
			      "m=audio 54400 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
			      "a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=sendrecv\r\n";

static size_t write_call(const struct load *load, const char *method, unsigned number, unsigned user, char *text, size_t size) {
	bool invite = strcmp(method, "INVITE") == 0;

	return (size_t)snprintf(text, size,
				"%s sip:user%u@example.org SIP/2.0\r\n"
				"Via: SIP/2.0/UDP 127.0.0.1:%u;branch=z9hG4bK-%u;rport\r\n"
				"Max-Forwards: 70\r\n"
				"From: \"Caller\" <sip:caller@example.org>;tag=c%u\r\n"
				"To: <sip:user%u@example.org>%s\r\n"
				"Call-ID: 8b12f0aa55-%u@desk\r\n"
				"CSeq: 1 %s\r\n"
				"User-Agent: Desk Phone 7.1\r\n"
				"Contact: <sip:caller@127.0.0.1:%u>\r\n"
				"%sContent-Length: %zu\r\n\r\n%s",
				method, user, load->port, number, number, user, invite ? "" : ";tag=x", number, method, load->port,
				invite ? "Content-Type: application/sdp\r\nSupported: replaces, 100rel, timer\r\n" : "",
				invite ? strlen(session) : 0, invite ? session : "");
}

/* The next answer's status and the number in its branch. False when none comes. */
static bool get(const struct load *load, int wait_ms, unsigned *ret_status, unsigned *ret_number) {
	struct pollfd waiting = {.fd = load->fd, .events = POLLIN};
	char text[8192];

	if (poll(&waiting, 1, wait_ms) <= 0)
		return false;
	ssize_t length = recv(load->fd, text, sizeof(text) - 1, 0);
	if (length <= 0)
		return false;
	text[length] = 0;
	const char *branch = strstr(text, "branch=z9hG4bK-");
	return sscanf(text, "SIP/2.0 %u", ret_status) == 1 && branch && sscanf(branch, "branch=z9hG4bK-%u", ret_number) == 1;
}

/* Sends `count` requests for `users` users in turn, WINDOW of them at a time; dies unless each is answered `wanted`. */
static void run_load(struct load *load, bool invite, unsigned count, unsigned users, unsigned wanted) {
	unsigned sent = 0, done = 0, first = load->serial, status, number;
	char text[4096];

	while (done < count) {
		if (ended)
			exit(1); /* which stops what was started */
		while (sent < count && sent - done < WINDOW) {
			size_t length = invite ? write_call(load, "INVITE", load->serial, load->serial % users, text, sizeof(text))
					       : write_register(load, load->serial % users, text, sizeof(text));
			put(load, text, length);
			load->serial++;
			sent++;
		}
		if (!get(load, ANSWER_MS, &status, &number)) {
			errno = ETIMEDOUT;
			die("no answer");
		}
		if (status == 100 || number < first)
			continue;
		if (status != wanted) {
			fprintf(stderr, "bench_sip: status %u instead of %u\n", status, wanted);
			exit(1);
		}
		if (invite)
			put(load, text, write_call(load, "ACK", number, number % users, text, sizeof(text)));
		done++;
	}
}

/* Until the server answers. */
static bool wait_for(struct load *load, pid_t child) {
	const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
	unsigned status, number;
	char text[4096];

	for (unsigned i = 0; i < START_TRIES; i++) {
		if (waitpid(child, NULL, WNOHANG) == child)
			return false;
		put(load, text, write_register(load, 0, text, sizeof(text)));
		load->serial++;
		if (get(load, 100, &status, &number))
			return status == 200;
		nanosleep(&pause, NULL); /* nobody listens yet, which a socket that is connected learns at once */
	}
	return false;
}

/* ---- figures ---- */

static int compare(const void *a, const void *b) {
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values) {
	qsort(values, REPETITIONS, sizeof(*values), compare);
	return values[REPETITIONS / 2];
}

static double measure(struct load *load, pid_t group, bool invite) {
	uint64_t before = cpu_of_group(group);

	run_load(load, invite, REQUESTS, USERS, invite ? 302 : 200);
	return (double)(cpu_of_group(group) - before) / 1000 / REQUESTS;
}

/* The gateway tells with the next request. */
static uint64_t heap_octets(struct load *load) {
	atomic_store(&heap->wanted, true);
	while (atomic_load(&heap->wanted))
		run_load(load, false, 1, USERS, 200);
	return heap->octets;
}

static pid_t gateway_child, kamailio_child;

static void clean_up(void) {
	static const char *const files[] = {"kamailio.cfg", "phones.db", "phones.db-wal", "phones.db-shm"};
	char path[128];

	stop(gateway_child);
	stop(kamailio_child);
	for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		unlink(path);
	}
	/* What Kamailio leaves: its control sockets. */
	DIR *left = opendir(directory);
	for (struct dirent *entry; left && (entry = readdir(left));)
		if (entry->d_name[0] != '.') {
			snprintf(path, sizeof(path), "%s/%.60s", directory, entry->d_name);
			unlink(path);
		}
	if (left)
		closedir(left);
	rmdir(directory);
}

int main(void) {
	double registers[2][REPETITIONS], redirects[2][REPETITIONS];
	uint16_t ports[2] = {free_port(), free_port()};

	const struct sigaction end = {.sa_handler = on_signal}; /* without SA_RESTART */

	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGINT, &end, NULL);
	log_open("bench-sip");
	if (!mkdtemp(directory))
		die(directory);
	atexit(clean_up);
	heap = mmap(NULL, sizeof(*heap), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (heap == MAP_FAILED)
		die("mmap");
	gateway_child = start(run_gateway, ports[0]);
	kamailio_child = start(run_kamailio, ports[1]);
	struct load loads[2] = {load_open(ports[0]), load_open(ports[1])};
	if (!wait_for(&loads[0], gateway_child))
		die("the gateway does not answer");
	bool beside = wait_for(&loads[1], kamailio_child);
	if (!beside)
		fprintf(stderr, "bench_sip: Kamailio does not run here; its figures are left out.\n");
	pid_t groups[2] = {gateway_child, kamailio_child};
	for (unsigned i = 0; i < (beside ? 2 : 1); i++)
		run_load(&loads[i], false, USERS, USERS, 200);
	for (unsigned repetition = 0; repetition < REPETITIONS; repetition++)
		for (unsigned i = 0; i < (beside ? 2 : 1); i++) {
			registers[i][repetition] = measure(&loads[i], groups[i], false);
			redirects[i][repetition] = measure(&loads[i], groups[i], true);
		}
	printf("sip_register_us %.2f\nsip_302_us %.2f\n", median(registers[0]), median(redirects[0]));
	if (beside)
		printf("kamailio_register_us %.2f\nkamailio_302_us %.2f\n", median(registers[1]), median(redirects[1]));
	fflush(stdout);
	if (getenv("SIP_BENCH_SHORT"))
		return 0;
	long before = resident_octets(gateway_child);
	uint64_t held_before = heap_octets(&loads[0]);
	loads[0].serial = 2 * MANY_USERS; /* from user 0 on, with higher numbers than before */
	run_load(&loads[0], false, MANY_USERS, MANY_USERS, 200);
	printf("sip_registration_bytes %ld\n", (resident_octets(gateway_child) - before) / (MANY_USERS - USERS));
	printf("sip_registration_heap_bytes %llu\n",
	       (unsigned long long)(heap_octets(&loads[0]) - held_before) / (MANY_USERS - USERS));
	return 0;
}
