/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One transit peer and its neighbors on a virtual wire, for bench_fastpath.c: two network namespaces of this process and a pair of
 * virtual interfaces between them. The peer's end is polled by a kernel thread (threaded NAPI) on core 1, where the peer's own
 * threads run too, so that what a message costs there is the processor time of threads; the neighbors' end is on core 0.
 */
#pragma once

#include "base/cleanup.h"
#include "bench_wire.skel.h"
#include "check/bench_wire.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CORE_FAR, CORE_NEAR, WIRE_GIVE_UP_MS = 5000, WIRE_LOOK_NS = 50000 };
/* Of the generator in one call, most of which find no room. Between two calls lie tens of milliseconds. */
enum { WIRE_BATCH = 256, WIRE_RUNS = 1 << 20, WIRE_RUNS_SPARSE = 1 << 18 };
/* The sink comes before the generator on its core, the pad worker before the thread that polls on the other one. */
enum { PRIORITY_PEER = 1, PRIORITY_GENERATOR = 1, PRIORITY_SINK = 2, PRIORITY_PADS = 2 };

#define WIRE_T "192.0.2.1"
#define WIRE_A "192.0.2.2"
#define WIRE_B "192.0.2.3"
static const uint8_t wire_near_mac[6] = {2, 0, 0, 0, 0, 1}, wire_far_mac[6] = {2, 0, 0, 0, 0, 2};

static struct {
	int near_space, far_space; /* network namespaces */
	unsigned near, far;	   /* interfaces */
	char near_name[IFNAMSIZ], far_name[IFNAMSIZ];
	char sysfs[2][32]; /* of both namespaces */
	struct bench_wire_bpf *programs;
	struct wire *state;
	struct wire_frame *frames;
	struct wire_ack *acks;
	struct wire_flood *floods;
	struct wire_core *core;
	struct bpf_link *sink;
	pid_t near_thread; /* polls the peer's interface */
	pid_t far_thread;
	double foreign_ns, all_ns; /* processor time of other programs while frames were sent, and of the whole machine */
	void (*explain)(void);	   /* prints what the peer knows about a loss */
	pid_t awake[2];		   /* see keep_awake() */
} wire;

static _Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *format, ...) {
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "bench_fastpath: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	exit(EXIT_FAILURE);
}

static uint64_t clock_ns(clockid_t clock) {
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void pin(pid_t thread, unsigned core) {
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(thread, sizeof(set), &set) < 0)
		fail("cannot pin a thread to core %u: %s", core, strerror(errno));
}

/* Real-time priorities keep other load of the machine out of the figures. */
static void prefer(pid_t thread, int priority) {
	struct sched_param parameter = {.sched_priority = priority};

	if (sched_setscheduler(thread, SCHED_FIFO, &parameter) < 0)
		fail("sched_setscheduler: %s", strerror(errno));
}

/*
 * Processes that use up what time is left on both cores, at the lowest priority there is. A virtual processor that halts is given
 * back to the hypervisor, and woken when that finds the time: milliseconds later on a host that is full, for every message in the
 * worst case. These keep it from halting, as a kernel started with idle=poll does. A processor that does nothing else gives way
 * at once, and their time counts for nobody. No pause instructions: to a hypervisor they are a reason to take the processor away.
 */
static void keep_awake(void) {
	pid_t parent = getpid();

	for (unsigned core = 0; core < 2; core++) {
		wire.awake[core] = fork();
		if (wire.awake[core] < 0)
			fail("fork: %s", strerror(errno));
		if (wire.awake[core] > 0)
			continue;
		struct sched_param parameter = {0};
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			_exit(EXIT_FAILURE);
		pin(0, core);
		if (setpriority(PRIO_PROCESS, 0, 19) < 0 || sched_setscheduler(0, SCHED_IDLE, &parameter) < 0)
			_exit(EXIT_FAILURE);
		for (;;)
			__asm__ volatile("");
	}
}

static void end_awake(void) {
	for (unsigned core = 0; core < 2; core++) {
		if (wire.awake[core] > 0) {
			kill(wire.awake[core], SIGKILL);
			waitpid(wire.awake[core], NULL, 0);
		}
		wire.awake[core] = 0;
	}
}

static void enter(int space) {
	if (setns(space, CLONE_NEWNET) < 0)
		fail("setns: %s", strerror(errno));
}

static __attribute__((format(printf, 1, 2))) void command(const char *format, ...) {
	char line[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (system(line) != 0)
		fail("failed: %s", line);
}

/* Kernel threads that poll `interface`, of which there must be one: its NAPI is on, and threaded. */
static pid_t find_poller(const char *interface) {
	char prefix[64], path[300], name[64];
	struct dirent *entry;
	pid_t found = 0;
	DIR *directory = opendir("/proc");

	snprintf(prefix, sizeof(prefix), "napi/%s-", interface);
	while (directory && (entry = readdir(directory))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		FILE *file = fopen(path, "re");
		if (file && fgets(name, sizeof(name), file) && strncmp(name, prefix, strlen(prefix)) == 0)
			found = (pid_t)atoi(entry->d_name);
		if (file)
			fclose(file);
	}
	if (directory)
		closedir(directory);
	if (found == 0)
		fail("no thread polls %s", interface);
	return found;
}

static void set_attribute(unsigned which, const char *attribute, unsigned value) {
	const char *interface = which ? wire.far_name : wire.near_name;
	char path[128];

	snprintf(path, sizeof(path), "%s/class/net/%s/%s", wire.sysfs[which], interface, attribute);
	FILE *file = fopen(path, "we");
	if (!file || fprintf(file, "%u\n", value) < 0 || fclose(file) != 0)
		fail("%s: %s", path, strerror(errno));
}

/*
 * The neighbors look for frames themselves every so often, as a card that moderates its interrupts does: else T's core would spend
 * a sixth of its time on waking the other one. Off: they are woken by each frame. It is on during a round only, because they go on
 * looking for a long time. Every WIRE_LOOK_NS: twenty to thirty messages of the window have arrived by then. More often would take
 * a third of the neighbors' core (a timer's interrupt and two changes of tasks each), so that they, and not T, would be the limit.
 */
static void wire_moderate(bool on) {
	set_attribute(1, "gro_flush_timeout", on ? WIRE_LOOK_NS : 0);
	set_attribute(1, "napi_defer_hard_irqs", on ? 1000000 : 0);
}

/* NAPI also without a program, as network cards have it. */
static void set_gro(const char *interface) {
	struct ethtool_value value = {.cmd = ETHTOOL_SGRO, .data = 1};
	struct ifreq request = {.ifr_data = (void *)&value};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, SIOCETHTOOL, &request) < 0)
		fail("GRO of %s: %s", interface, strerror(errno));
	close(fd);
}

/* After every change of the programs on an interface: it gets new pollers. */
static void wire_pin(void) {
	wire.far_thread = find_poller(wire.far_name);
	wire.near_thread = find_poller(wire.near_name);
	wire.core->poller = (uint32_t)wire.near_thread;
	pin(wire.near_thread, CORE_NEAR);
	pin(wire.far_thread, CORE_FAR);
	prefer(wire.near_thread, PRIORITY_PEER);
	prefer(wire.far_thread, PRIORITY_SINK);
}

static int open_space(void) {
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		fail("unshare: %s", strerror(errno));
	fd = open("/proc/thread-self/ns/net", O_RDONLY);
	if (fd < 0)
		fail("/proc/thread-self/ns/net: %s", strerror(errno));
	return fd;
}

static void mount_sysfs(unsigned which) {
	snprintf(wire.sysfs[which], sizeof(wire.sysfs[which]), "/mnt/ringgate-XXXXXX");
	if (!mkdtemp(wire.sysfs[which]) || mount("sysfs", wire.sysfs[which], "sysfs", 0, NULL) < 0)
		fail("sysfs: %s", strerror(errno));
}

static void *map_memory(const struct bpf_map *map, size_t size) {
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (memory == MAP_FAILED)
		fail("mmap of a map: %s", strerror(errno));
	return memory;
}

/* Afterwards this thread is on the neighbors' side. */
static void wire_open(void) {
	uint32_t zero = 0;

	atexit(end_awake);
	/* What is mounted and made there goes with this process, however it ends. */
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0)
		fail("mounts of its own: %s", strerror(errno));
	snprintf(wire.near_name, sizeof(wire.near_name), "rt%x", (unsigned)getpid());
	snprintf(wire.far_name, sizeof(wire.far_name), "rf%x", (unsigned)getpid());
	wire.far_space = open_space();
	mount_sysfs(1);
	wire.near_space = open_space();
	mount_sysfs(0);
	command("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 && ip link set lo up && "
		"ip link add %s numrxqueues 1 numtxqueues 1 address 02:00:00:00:00:01 type veth peer name %s numrxqueues 1 "
		"numtxqueues 1 address 02:00:00:00:00:02 && ip link set %s netns /proc/self/fd/%d && ip addr add " WIRE_T
		"/24 dev %s && ip link set %s up",
		wire.near_name, wire.far_name, wire.far_name, wire.far_space, wire.near_name, wire.near_name);
	command("ip neigh add " WIRE_A " lladdr 02:00:00:00:00:02 dev %s nud permanent && ip neigh add " WIRE_B
		" lladdr 02:00:00:00:00:02 dev %s nud permanent",
		wire.near_name, wire.near_name);
	command("ip route add default via " WIRE_A);
	wire.near = if_nametoindex(wire.near_name);
	set_gro(wire.near_name);
	set_attribute(0, "threaded", 1);
	enter(wire.far_space);
	command("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 && ip link set lo up && ip addr add " WIRE_A
		"/24 dev %s && ip addr add " WIRE_B "/24 dev %s && ip link set %s up && ip neigh add " WIRE_T
		" lladdr 02:00:00:00:00:01 dev %s nud permanent",
		wire.far_name, wire.far_name, wire.far_name, wire.far_name);
	wire.far = if_nametoindex(wire.far_name);
	set_gro(wire.far_name);
	set_attribute(1, "threaded", 1);

	wire.programs = bench_wire_bpf__open_and_load();
	if (!wire.programs)
		fail("the programs of the wire cannot be loaded");
	wire.state = map_memory(wire.programs->maps.wires, sizeof(struct wire));
	wire.frames = map_memory(wire.programs->maps.frames, WIRE_FRAMES * sizeof(struct wire_frame));
	wire.acks = map_memory(wire.programs->maps.acks, WIRE_FRAMES * sizeof(struct wire_ack));
	wire.floods = map_memory(wire.programs->maps.floods, WIRE_FLOODS * sizeof(struct wire_flood));
	wire.core = map_memory(wire.programs->maps.cores, sizeof(struct wire_core));
	wire.core->processor = CORE_NEAR;
	wire.core->process = (uint32_t)getpid();
	wire.programs->links.wire_switch = bpf_program__attach(wire.programs->progs.wire_switch);
	if (!wire.programs->links.wire_switch)
		fail("the scheduler cannot be watched: %s", strerror(errno));
	if (bpf_map_update_elem(bpf_map__fd(wire.programs->maps.far), &zero, &wire.far, BPF_ANY) < 0)
		fail("devmap: %s", strerror(errno));
}

/* Between set-up of links, which takes sockets, and a measurement. */
static void wire_sink(bool on) {
	wire.sink = (bpf_link__destroy(wire.sink), NULL);
	if (on) {
		wire.sink = bpf_program__attach_xdp(wire.programs->progs.wire_sink, (int)wire.far);
		if (!wire.sink)
			fail("the sink cannot be attached");
	}
}

static uint16_t header_sum(const uint8_t *octets) {
	uint32_t sum = 0;

	for (unsigned i = 0; i < 20; i += 2)
		sum += (uint32_t)octets[i] << 8 | octets[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

enum { WIRE_HEADERS = 42 };

/* Headers of a datagram of `length` octets to the peer. */
static void wire_headers(uint8_t *out, uint32_t source, uint16_t source_port, uint32_t destination, uint16_t port, size_t length) {
	uint8_t *ip = out + 14, *udp = out + 34;

	memset(out, 0, WIRE_HEADERS);
	memcpy(out, wire_near_mac, 6);
	memcpy(out + 6, wire_far_mac, 6);
	out[12] = 8;
	ip[0] = 0x45;
	ip[2] = (uint8_t)((length + 28) >> 8);
	ip[3] = (uint8_t)(length + 28);
	ip[6] = 0x40;
	ip[8] = 64;
	ip[9] = 17;
	memcpy(ip + 12, &source, 4);
	memcpy(ip + 16, &destination, 4);
	uint16_t sum = header_sum(ip);
	ip[10] = (uint8_t)(sum >> 8);
	ip[11] = (uint8_t)sum;
	udp[0] = (uint8_t)(source_port >> 8);
	udp[1] = (uint8_t)source_port;
	udp[2] = (uint8_t)(port >> 8);
	udp[3] = (uint8_t)port;
	udp[4] = (uint8_t)((length + 8) >> 8);
	udp[5] = (uint8_t)(length + 8);
}

/* Of a process, or of a thread of the kernel. */
static uint64_t thread_ns(pid_t thread) {
	clockid_t clock;

	if (clock_getcpuclockid(thread, &clock) != 0)
		fail("a thread that is needed has gone");
	return clock_ns(clock);
}

/*
 * Processor time of T up to now: its threads' and that of the thread that polls its interface, on its core. Sampled while they run,
 * without disturbing them.
 */
static uint64_t wire_used_ns(void) {
	const volatile struct wire_core *core = wire.core;
	uint64_t changes, used_ns;

	do {
		changes = __atomic_load_n(&wire.core->changes, __ATOMIC_SEQ_CST);
		used_ns = core->used_ns;
		if (core->own)
			used_ns += clock_ns(CLOCK_MONOTONIC) - core->since_ns;
	} while (changes & 1 || __atomic_load_n(&wire.core->changes, __ATOMIC_SEQ_CST) != changes);
	return used_ns;
}

/* Adds what the machine did up to now (sign 1) from the last call (sign -1) on. Single calls are coarse, their sum is not. */
static void wire_load(double sign) {
	unsigned long long user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0;
	double tick_ns = 1e9 / (double)sysconf(_SC_CLK_TCK), busy;
	FILE *file = fopen("/proc/stat", "re");

	if (!file || fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &system, &idle, &wait, &irq, &soft) != 7)
		fail("/proc/stat cannot be read");
	fclose(file);
	busy = (double)(user + nice + system + irq + soft) * tick_ns;
	wire.all_ns += sign * (busy + (double)(idle + wait) * tick_ns);
	wire.foreign_ns += sign * (busy - (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) - (double)thread_ns(wire.near_thread) -
				   (double)thread_ns(wire.far_thread) - (double)thread_ns(wire.awake[CORE_NEAR]) -
				   (double)thread_ns(wire.awake[CORE_FAR]));
}

/* Sends what is prepared and waits until all of it and all acks arrived. Not everything: it is lost, and a figure means nothing. */
static void wire_run(uint64_t total, uint64_t window, uint64_t interval_ns) {
	static const uint8_t blank[64];
	uint64_t give_up_ns = clock_ns(CLOCK_MONOTONIC) + WIRE_GIVE_UP_MS * UINT64_C(1000000) + total * interval_ns;
	struct wire *w = wire.state;
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = blank, .data_size_in = sizeof(blank),
		    .repeat = interval_ns ? WIRE_RUNS_SPARSE : WIRE_RUNS, .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
		    .batch_size = interval_ns ? 1 : WIRE_BATCH);

	wire_moderate(interval_ns == 0);
	wire_load(-1);
	w->window = window;
	w->interval_ns = interval_ns;
	w->sent = w->acks_sent = w->delivered = w->acks_received = w->strange = w->next_ns = 0;
	w->flooded = w->flooded_before = w->next_flood_ns = w->answers = 0;
	w->captured_message = w->captured_ack = UINT64_MAX;
	memset(w->used_ns, 0, sizeof(w->used_ns));
	memset(w->at_ns, 0, sizeof(w->at_ns));
	__atomic_store_n(&w->total, total, __ATOMIC_SEQ_CST);
	for (;;) {
		if (bpf_prog_test_run_opts(bpf_program__fd(wire.programs->progs.wire_generate), &options) < 0)
			fail("the generator does not run: %s", strerror(errno));
		if (w->delivered >= total && w->acks_received >= total && w->acks_sent >= total)
			break;
		if (clock_ns(CLOCK_MONOTONIC) < give_up_ns)
			continue;
		if (wire.explain)
			wire.explain();
		fail("of %llu messages %llu were sent, %llu arrived and %llu were acknowledged, %llu frames are strange",
		     (unsigned long long)total, (unsigned long long)w->sent, (unsigned long long)w->delivered,
		     (unsigned long long)w->acks_received, (unsigned long long)w->strange);
	}
	wire_load(1);
	wire_moderate(false);
	if (w->delivered != total || w->acks_received != total || w->strange != 0)
		fail("%llu messages, %llu acks, %llu strange frames came of %llu", (unsigned long long)w->delivered,
		     (unsigned long long)w->acks_received, (unsigned long long)w->strange, (unsigned long long)total);
}
