/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine without links of the network: slots given to the kernel and taken back without waiting, tables, pins, and what another
 * run takes over. A former daemon is a child process that ends without a word. Namespaces of network and mounts of its own.
 */
#include "fastpath/engine.h"
#include "fastpath/grace.h"
#include "link/record.h"
#include "support/fastpath_bpf.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAIT_MS = 10000, PORT = 6084, OVERLAY = 77, LINKS = 3 };

static char directory[] = "/tmp/ringgate-test-XXXXXX", pins[64];
static bool prepared;
static struct runtime runtime;
static uint8_t tables_told; /* since the engine was opened */

static int setup(void **state) {
	(void)state;
	if (fastpath_unavailable())
		return 0;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    !mkdtemp(directory) || mount("bpf", directory, "bpf", 0, NULL) < 0)
		return -1;
	snprintf(pins, sizeof(pins), "%s/ringgate", directory);
	prepared = true;
	return 0;
}

static int teardown(void **state) {
	(void)state;
	if (prepared) {
		umount2(directory, MNT_DETACH);
		rmdir(directory);
	}
	return 0;
}

static struct fastpath *open_engine(const char *pin_directory, uint64_t self) {
	struct fastpath_options options = {
		.runtime = &runtime,
		.pin_directory = pin_directory,
		.adopt = true,
		.self = {.id = {.high = self, .low = 1}, .overlay = OVERLAY},
	};
	char reason[FASTPATH_REASON_SIZE] = "";
	struct fastpath *engine = NULL;

	tables_told = 0;
	runtime.source = runtime_source_system();
	runtime.now_us = clock_monotonic_us();
	if (fastpath_new(&options, &engine, reason) < 0)
		print_error("%s\n", reason);
	return engine;
}

static struct forward_id peer_id(uint16_t slot) {
	return (struct forward_id){.high = UINT64_C(0x4000) + slot, .low = slot};
}

/* Link `slot` comes up, as link/ tells it; NULL: it is served without the kernel. */
static struct fastpath_slot *link_up(struct fastpath *engine, uint16_t slot, uint8_t generation) {
	const struct dtls_kernel *kernel = fastpath_kernel(engine);
	uint8_t master[RECORD_MASTER_SECRET] = {1}, client[RECORD_RANDOM] = {2}, server[RECORD_RANDOM] = {3};
	struct record_state state = {.family = AF_INET, .local_port = PORT, .remote_port = PORT, .mtu = 1500};

	master[1] = (uint8_t)slot;
	if (record_state_derive(&state, RECORD_CHACHA20_POLY1305, "SHA256", master, client, server, true, 1) < 0)
		return NULL;
	inet_pton(AF_INET, "192.0.2.1", state.local_address);
	inet_pton(AF_INET, "198.51.100.1", state.remote_address);
	state.remote_address[3] = (uint8_t)slot;
	return kernel->attach(kernel->userdata, slot, generation, &state);
}

static void tell_link(struct fastpath *engine, uint16_t slot, uint8_t generation) {
	struct forward_link link = {.id = peer_id(slot),
				    .slot = slot,
				    .generation = generation,
				    .flags = FORWARD_LINK_UP | FORWARD_LINK_BOUND | FORWARD_LINK_ROUTABLE};

	fastpath_set_link(engine, &link);
}

static void tell_tables(struct fastpath *engine, uint64_t self, uint16_t flags) {
	struct forward_node node = {
		.id = {.high = self, .low = 1}, .overlay = OVERLAY, .flags = flags, .route_count = 1, .initial_ttl = tables_told++};
	struct forward_route route = {.id = peer_id(1), .slot = 1};

	fastpath_set_tables(engine, &node, &route, false);
}

/* Time passes, and what the threads have to say is heard, until `done` says so. */
static bool wait_until(struct fastpath *engine, bool (*done)(struct fastpath *engine)) {
	uint64_t give_up_us = clock_monotonic_us() + WAIT_MS * 1000;
	int fds[FASTPATH_FDS_MAX];

	while (!done(engine)) {
		size_t count = fastpath_fds(engine, fds, FASTPATH_FDS_MAX);
		struct pollfd ready[FASTPATH_FDS_MAX];
		runtime.now_us = clock_monotonic_us();
		if (runtime.now_us > give_up_us)
			return false;
		runtime_fire(&runtime);
		for (size_t i = 0; i < count; i++)
			ready[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
		poll(ready, count, 1);
		for (size_t i = 0; i < count; i++)
			if (ready[i].revents)
				fastpath_ready(engine, fds[i]);
	}
	return true;
}

static int map_of(const char *name) {
	char path[96];

	snprintf(path, sizeof(path), "%s/%s", pins, name);
	int fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	return fd;
}

static size_t links_of(const struct fastpath *engine) {
	struct fastpath_view view;

	fastpath_view(engine, &view);
	return view.links;
}

/* ---- grace periods ---- */

struct waiter {
	struct grace *grace;
	struct grace_wait wait;
	unsigned told, again;
};

static void on_grace(void *userdata) {
	struct waiter *waiter = userdata;

	waiter->told++;
	assert_false(waiter->wait.pending);
	if (waiter->again > 0) {
		waiter->again--;
		grace_begin(waiter->grace, &waiter->wait);
	}
}

static void test_grace(void **state) {
	struct waiter waiters[100] = {{0}};
	struct grace *grace = NULL;
	unsigned told = 0;

	(void)state;
	FASTPATH_OR_SKIP();
	assert_int_equal(grace_new(&grace), 0);
	for (unsigned i = 0; i < 100; i++) {
		waiters[i] = (struct waiter){.grace = grace, .wait = {.done = on_grace, .userdata = &waiters[i]}, .again = i % 2};
		grace_begin(grace, &waiters[i].wait);
		assert_true(waiters[i].wait.pending);
		assert_int_equal(waiters[i].told, 0); /* never from within */
	}
	while (told < 150) {
		struct pollfd ready = {.fd = grace_fd(grace), .events = POLLIN};
		assert_int_equal(poll(&ready, 1, WAIT_MS), 1);
		grace_ready(grace);
		told = 0;
		for (unsigned i = 0; i < 100; i++)
			told += waiters[i].told;
	}
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(waiters[i].told, 1 + i % 2);
	/* what still waits is forgotten */
	grace_begin(grace, &waiters[0].wait);
	grace = grace_free(grace);
	assert_int_equal(waiters[0].told, 1);
	assert_null(grace_free(NULL));
}

/* ---- links and tables ---- */

static struct fastpath_slot *watched;

static bool is_wiped(struct fastpath *engine) {
	(void)engine;
	for (unsigned i = 0; i < 32; i++)
		if (watched->record.tx_key[i] | watched->record.rx_key[i])
			return false;
	return watched->rx_ring == FASTPATH_RING_NONE && watched->tx_ring == FASTPATH_RING_NONE;
}

/* Taking a link back does not wait: its keys stay for programs that may still run, and its slot is not given to others so long. */
static void test_links_go_without_waiting(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	struct fastpath *engine = open_engine(NULL, 9);
	assert_non_null(engine);
	const struct dtls_kernel *kernel = fastpath_kernel(engine);
	watched = link_up(engine, 5, 3);
	assert_non_null(watched);
	assert_int_equal(watched->flags & FASTPATH_SLOT_ACTIVE, 0); /* until the router has accepted it */
	assert_int_equal(links_of(engine), 0);
	tell_link(engine, 5, 3);
	assert_int_equal(links_of(engine), 1);
	assert_true(watched->flags & FASTPATH_SLOT_ACTIVE && watched->link.flags & FORWARD_LINK_ROUTABLE);

	kernel->detach(kernel->userdata, 5);
	assert_int_equal(links_of(engine), 0);
	assert_int_equal(watched->flags, 0);
	assert_false(is_wiped(engine));
	assert_null(link_up(engine, 5, 4)); /* too early */
	kernel->detach(kernel->userdata, 5);
	assert_true(wait_until(engine, is_wiped));
	assert_ptr_equal(link_up(engine, 5, 5), watched);
	tell_link(engine, 5, 5);
	assert_int_equal(links_of(engine), 1);
	/* stopped while a slot waits for its grace period */
	kernel->detach(kernel->userdata, 5);
	fastpath_stop(engine);
	assert_true(is_wiped(engine));
	fastpath_free(engine);
}

/* Links that never came as far as the router, unknown slots, and calls twice. */
static void test_links_half_way(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	struct fastpath *engine = open_engine(NULL, 9);
	assert_non_null(engine);
	const struct dtls_kernel *kernel = fastpath_kernel(engine);
	tell_link(engine, 7, 0); /* not attached */
	assert_int_equal(links_of(engine), 0);
	watched = link_up(engine, 7, 0);
	assert_non_null(watched);
	kernel->detach(kernel->userdata, 7);
	kernel->detach(kernel->userdata, 7);
	assert_true(wait_until(engine, is_wiped));
	struct record_state gcm = {.cipher = RECORD_AES128_GCM, .family = AF_INET, .local_port = PORT, .remote_port = PORT};
	assert_null(kernel->attach(kernel->userdata, 8, 0, &gcm));
	kernel->detach(kernel->userdata, 8);
	fastpath_free(engine);
}

static bool three_links(struct fastpath *engine) {
	return links_of(engine) == 3;
}

static bool tables_settled(struct fastpath *engine) {
	(void)engine;
	return runtime_next(&runtime) > runtime.now_us + FASTPATH_TABLES_DELAY_US;
}

static bool last_word_in_force(struct fastpath *engine) {
	struct fastpath_control control;
	struct fastpath_settings settings = {0};
	uint32_t zero = 0;
	int switches = map_of("control"), sets = map_of("settings");

	(void)engine;
	assert_int_equal(bpf_map_lookup_elem(switches, &zero, &control), 0);
	assert_int_equal(bpf_map_lookup_elem(sets, &control.active, &settings), 0);
	close(switches);
	close(sets);
	return settings.node.flags == FORWARD_NODE_JOINED && settings.node.initial_ttl == 199 && !(settings.version & 1);
}

/* However often the router speaks: no call waits, and the last word counts. */
static void test_tables_change_often(void **state) {
	(void)state;
	FASTPATH_OR_SKIP();
	struct fastpath *engine = open_engine(pins, 9);
	assert_non_null(engine);
	for (unsigned i = 0; i < 200; i++) {
		tell_tables(engine, 9, i % 2 ? FORWARD_NODE_JOINED : 0);
		runtime.now_us += FASTPATH_TABLES_DELAY_US;
		runtime_fire(&runtime);
	}
	for (uint16_t slot = 1; slot <= 3; slot++) {
		assert_non_null(link_up(engine, slot, 0));
		tell_link(engine, slot, 0);
	}
	assert_true(wait_until(engine, three_links));
	assert_true(wait_until(engine, last_word_in_force));
	fastpath_free(engine);
	struct stat status;
	assert_int_equal(stat(pins, &status), -1); /* an orderly end leaves nothing */
}

/* The kernel has no room for another flow: that link is served without it, the others go on. */
static void test_maps_full(void **state) {
	struct fastpath_flow flow = {.family = AF_INET6, .remote_port = 1};
	struct fastpath_flow_target none = {.slot = LAYOUT_SLOT_NONE};
	char path[96];

	(void)state;
	FASTPATH_OR_SKIP();
	struct fastpath *engine = open_engine(pins, 9);
	assert_non_null(engine);
	assert_non_null(link_up(engine, 1, 0));
	tell_link(engine, 1, 0);
	snprintf(path, sizeof(path), "%s/flows", pins);
	int flows = bpf_obj_get(path);
	assert_true(flows >= 0);
	for (uint32_t i = 0; i < FASTPATH_FLOWS_MAX; i++) {
		memcpy(flow.remote_address, &i, sizeof(i));
		if (bpf_map_update_elem(flows, &flow, &none, BPF_ANY) < 0)
			break;
	}
	watched = link_up(engine, 2, 0);
	assert_non_null(watched);
	tell_link(engine, 2, 0);
	assert_int_equal(links_of(engine), 1);
	assert_int_equal(watched->flags & FASTPATH_SLOT_ACTIVE, 0);
	close(flows);
	fastpath_free(engine);
}

/* ---- a former daemon ---- */

/* Ends without a word, with LINKS links and `flags` in the overlay. */
static void former_daemon(uint64_t self, uint16_t flags) {
	uint8_t certificate[300];
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		struct fastpath *engine = open_engine(pins, self);
		if (!engine)
			_exit(1);
		const struct dtls_kernel *kernel = fastpath_kernel(engine);
		for (uint16_t slot = 1; slot <= LINKS + 1; slot++) {
			struct fastpath_slot *shared = link_up(engine, slot, (uint8_t)slot);
			if (!shared)
				_exit(2);
			memset(certificate, slot, sizeof(certificate));
			kernel->remember(kernel->userdata, slot, (uint8_t)slot, slot % 2, OCTETS(certificate, sizeof(certificate)));
			shared->record.tx_next = 1000u + slot;
			if (slot <= LINKS) /* the last one was not finished */
				tell_link(engine, slot, (uint8_t)slot);
		}
		tell_tables(engine, self, flags);
		_exit(wait_until(engine, tables_settled) ? 0 : 3);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_adoption(void **state) {
	struct dtls_kept kept;
	struct forward_node former;
	struct forward_link link;
	struct fastpath_view view;
	uint16_t position = 0, seen = 0;
	struct fastpath_slot *slots[LINKS + 1];

	(void)state;
	FASTPATH_OR_SKIP();
	former_daemon(9, FORWARD_NODE_JOINED);
	struct fastpath *engine = open_engine(pins, 9);
	assert_non_null(engine);
	const struct dtls_kernel *kernel = fastpath_kernel(engine);
	assert_true(fastpath_former(engine, &former));
	assert_int_equal(former.flags, FORWARD_NODE_JOINED);
	assert_int_equal(former.route_count, 1);
	while (kernel->next(kernel->userdata, &position, &kept)) {
		seen++;
		assert_int_equal(kept.number, seen);
		assert_int_equal(kept.generation, seen);
		assert_int_equal(kept.initiated, seen % 2);
		assert_int_equal(kept.certificate.length, 300);
		assert_int_equal(kept.certificate.data[299], seen);
		assert_int_equal(kept.slot->record.tx_next, 1000 + seen);
		assert_true(kept.slot->flags & FASTPATH_SLOT_ACTIVE);
		assert_true(fastpath_former_link(engine, kept.number, &link));
		assert_true(link.id.high == peer_id(kept.number).high);
		slots[kept.number] = kept.slot;
	}
	assert_int_equal(seen, LINKS);
	assert_false(fastpath_former_link(engine, LINKS + 1, &link)); /* never finished */
	/* The router says less than the kernel knows at first; one link is not wanted any more. */
	struct forward_link less = {.slot = 1, .generation = 1, .flags = FORWARD_LINK_UP};
	fastpath_set_link(engine, &less);
	assert_true(slots[1]->link.flags & FORWARD_LINK_ROUTABLE);
	tell_link(engine, 1, 1);
	kernel->detach(kernel->userdata, 3);
	fastpath_adopted(engine);
	assert_false(fastpath_former(engine, &former));
	fastpath_view(engine, &view);
	assert_true(view.adopted && view.pinned);
	assert_string_equal(view.pins, pins);
	assert_int_equal(view.adopted_links, 2);
	assert_int_equal(view.links, 2);
	assert_int_equal(slots[2]->record.tx_next, 1002); /* numbers go on */
	watched = slots[3];
	assert_true(wait_until(engine, is_wiped));
	assert_true(fastpath_survives(engine));
	fastpath_free(engine);
}

/* Links nobody asked for end. */
static void test_adoption_unwanted(void **state) {
	struct forward_node former;

	(void)state;
	FASTPATH_OR_SKIP();
	former_daemon(9, FORWARD_NODE_JOINED);
	struct fastpath *engine = open_engine(pins, 9);
	assert_non_null(engine);
	assert_true(fastpath_former(engine, &former));
	fastpath_adopted(engine);
	assert_int_equal(links_of(engine), 0);
	fastpath_free(engine);
}

static void expect_anew(const char *what) {
	struct forward_node former;
	struct fastpath_view view;

	struct fastpath *engine = open_engine(pins, 9);
	assert_non_null(engine);
	if (fastpath_former(engine, &former))
		fail_msg("%s was taken over", what);
	fastpath_view(engine, &view);
	assert_false(view.adopted);
	assert_true(view.pinned); /* and what is new is kept */
	assert_int_equal(view.links, 0);
	fastpath_free(engine);
}

static void test_not_adopted(void **state) {
	struct fastpath_control control;
	uint32_t zero = 0;
	char path[96];

	(void)state;
	FASTPATH_OR_SKIP();
	former_daemon(10, FORWARD_NODE_JOINED);
	expect_anew("another node");
	former_daemon(9, 0);
	expect_anew("a node outside of the overlay");

	former_daemon(9, FORWARD_NODE_JOINED);
	int fd = map_of("control");
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &control), 0);
	control.version++;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &control, BPF_ANY), 0);
	close(fd);
	expect_anew("another layout");

	former_daemon(9, FORWARD_NODE_JOINED);
	fd = map_of("control");
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, &control), 0);
	/* an hour without a daemon, give or take the time since */
	assert_in_range(control.forward_until_ns / 1000, clock_monotonic_us() + FASTPATH_DEAD_MAN_US - 60000000,
			clock_monotonic_us() + FASTPATH_DEAD_MAN_US);
	control.forward_until_ns = 1;
	assert_int_equal(bpf_map_update_elem(fd, &zero, &control, BPF_ANY), 0);
	close(fd);
	expect_anew("a daemon that is gone for too long");

	former_daemon(9, FORWARD_NODE_JOINED);
	snprintf(path, sizeof(path), "%s/node_slots", pins);
	assert_int_equal(unlink(path), 0);
	expect_anew("half of it");

	/* a map of that name and another shape */
	former_daemon(9, FORWARD_NODE_JOINED);
	snprintf(path, sizeof(path), "%s/routes", pins);
	assert_int_equal(unlink(path), 0);
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "routes", 4, 8, 1, NULL);
	assert_int_equal(bpf_obj_pin(fd, path), 0);
	close(fd);
	expect_anew("another shape");
}

/* ---- the directory ---- */

static void test_directory(void **state) {
	char reason[PINS_REASON_SIZE] = "";
	struct pins *first = NULL, *second = NULL;
	struct stat status;

	(void)state;
	FASTPATH_OR_SKIP();
	assert_int_equal(pins_open("/tmp/ringgate", &first, reason), -EOPNOTSUPP);
	assert_non_null(strstr(reason, "bpf file system"));
	assert_int_equal(pins_open("relative", &first, reason), -EOPNOTSUPP);
	assert_int_equal(pins_open(pins, &first, reason), 0);
	assert_int_equal(stat(pins, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
	assert_int_equal(pins_open(pins, &second, reason), -EBUSY);
	assert_int_equal(pins_remove(pins, reason), -EBUSY);
	first = pins_close(first);
	assert_int_equal(chmod(pins, 0770), 0);
	assert_int_equal(pins_open(pins, &first, reason), -EPERM);
	assert_null(first);
	assert_int_equal(chmod(pins, 0700), 0);
	assert_int_equal(pins_remove(pins, reason), 0);
	assert_int_equal(pins_remove(pins, reason), -ENOENT);
	assert_int_equal(pins_remove("/tmp", reason), -EOPNOTSUPP);

	/* The engine goes on without. */
	struct fastpath_view view;
	struct fastpath *engine = open_engine("/tmp/ringgate", 9);
	assert_non_null(engine);
	fastpath_view(engine, &view);
	assert_false(view.pinned);
	assert_non_null(strstr(view.pins, "bpf file system"));
	assert_false(fastpath_survives(engine));
	fastpath_free(engine);

	/* A daemon that does not come back. */
	former_daemon(9, FORWARD_NODE_JOINED);
	int slots = map_of("slots");
	struct fastpath_slot slot, nothing = {0};
	uint32_t one = 1;
	assert_int_equal(bpf_map_lookup_elem(slots, &one, &slot), 0);
	assert_int_not_equal(slot.record.tx_next, 0);
	assert_int_equal(pins_remove(pins, reason), 0);
	assert_int_equal(stat(pins, &status), -1);
	assert_int_equal(bpf_map_lookup_elem(slots, &one, &slot), 0);
	assert_memory_equal(&slot, &nothing, sizeof(slot)); /* no key is left, whoever still has the map */
	close(slots);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_grace),
		cmocka_unit_test(test_links_go_without_waiting),
		cmocka_unit_test(test_links_half_way),
		cmocka_unit_test(test_tables_change_often),
		cmocka_unit_test(test_maps_full),
		cmocka_unit_test(test_adoption),
		cmocka_unit_test(test_adoption_unwanted),
		cmocka_unit_test(test_not_adopted),
		cmocka_unit_test(test_directory),
	};

	return cmocka_run_group_tests_name("fastpath engine", tests, setup, teardown);
}
