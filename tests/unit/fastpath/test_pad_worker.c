/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread that fills rings of pads: waking, links that come and go, and several consumers under load. */
#include "fastpath/pad_worker.h"
#include "link/record.h"
#include "support/pad_reference.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>

#include <cmocka.h>

enum { RING = FASTPATH_PAD_RING, LOAD_NUMBERS = 20000, LOAD_THREADS = 2, LOAD_LEAST = 1000, LOAD_PATIENCE = 300, WAKES = 2000 };

/* What the kernel and the daemon share of one link. */
struct shared {
	struct fastpath_slot slot;
	struct fastpath_pad rx[RING], tx[RING];
};

static struct shared *shared_new(uint8_t seed) {
	struct shared *shared = aligned_alloc(64, (sizeof(*shared) + 63) / 64 * 64);
	struct pad_key rx = pad_reference_key(seed), tx = pad_reference_key((uint8_t)(seed + 1));

	assert_non_null(shared);
	memset(shared, 0, sizeof(*shared));
	memcpy(shared->slot.record.rx_key, rx.key, sizeof(rx.key));
	memcpy(shared->slot.record.rx_iv, rx.iv, sizeof(rx.iv));
	memcpy(shared->slot.record.tx_key, tx.key, sizeof(tx.key));
	memcpy(shared->slot.record.tx_iv, tx.iv, sizeof(tx.iv));
	shared->slot.record.tx_next = shared->slot.record.rx_end = 1;
	return shared;
}

static struct pad_link *link_add(struct pad_worker *worker, struct shared *shared, bool adopt) {
	struct pad_link_config config = {&shared->slot, shared->rx, shared->tx, adopt};
	struct pad_link *link = NULL;

	assert_int_equal(pad_worker_add(worker, &config, &link), 0);
	assert_non_null(link);
	return link;
}

static uint64_t held(const struct fastpath_pad *pad) {
	return __atomic_load_n(&pad->number, __ATOMIC_ACQUIRE);
}

/* Waits until the pad of `number` is there. */
static void await_pad(const struct fastpath_pad *pads, uint64_t number) {
	while (held(&pads[number % RING]) != pad_sequence(RECORD_EPOCH, number))
		sched_yield();
}

static void assert_pads(const struct fastpath_pad *pads, const struct pad_key *key, uint64_t from) {
	for (uint64_t number = from; number < from + RING; number++) {
		const struct fastpath_pad *pad = &pads[number % RING];

		await_pad(pads, number);
		assert_true(pad_reference_matches(key, pad->number, pad->poly_key, pad->keystream, pad->length));
	}
}

static void assert_wiped(const struct fastpath_pad *pads) {
	const struct fastpath_pad none = {.number = 0};

	for (unsigned place = 0; place < RING; place++)
		assert_memory_equal(&pads[place], &none, sizeof(none));
}

static void test_start_stop(void **state) {
	struct pad_worker *worker = NULL;
	struct pad_worker_statistics statistics;

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(pad_worker_start(NULL, &worker), 0);
		if (i % 2)
			pad_worker_wake(worker);
		worker = pad_worker_stop(worker);
		assert_null(worker);
	}
	assert_null(pad_worker_stop(NULL));
	assert_int_equal(pad_worker_start(NULL, &worker), 0);
	assert_null(pad_worker_remove(worker, NULL, true));
	pad_worker_statistics(worker, &statistics);
	assert_int_equal(statistics.links, 0);
	assert_int_equal(statistics.pads, 0);
	pad_worker_stop(worker);
}

static void test_add_remove(void **state) {
	struct shared *shared = shared_new(10);
	struct pad_key rx = pad_reference_key(10), tx = pad_reference_key(11);
	struct pad_worker *worker = NULL;
	struct pad_worker_statistics statistics;
	struct pad_ring_statistics rx_statistics, tx_statistics;

	(void)state;
	memset(shared->rx, 0xee, sizeof(shared->rx)); /* of the link before */
	shared->slot.record.tx_next = 500;
	shared->slot.tx_longest = 900;
	assert_int_equal(pad_worker_start(NULL, &worker), 0);
	struct pad_link *link = link_add(worker, shared, false);
	assert_pads(shared->rx, &rx, 1);
	assert_pads(shared->tx, &tx, 500);
	assert_int_equal(shared->rx[1].length, PAD_LENGTH_FIRST);
	assert_int_equal(shared->tx[1].length, 960);

	/* Nothing is filled unless it is wanted. */
	shared->slot.record.tx_next = 700;
	__atomic_store_n(&shared->slot.wanted, 1, __ATOMIC_RELEASE);
	pad_worker_wake(worker);
	await_pad(shared->tx, 700 + RING - PAD_TRANSMIT_BEHIND - 1);
	assert_int_equal(shared->slot.wanted, 0);
	do
		pad_worker_statistics(worker, &statistics);
	while (statistics.refills < 2);
	pad_link_statistics(link, &rx_statistics, &tx_statistics);
	assert_int_equal(rx_statistics.made, RING);
	assert_true(tx_statistics.made > RING);

	link = pad_worker_remove(worker, link, true);
	assert_null(link);
	assert_wiped(shared->rx);
	assert_wiped(shared->tx);
	__atomic_store_n(&shared->slot.wanted, 1, __ATOMIC_RELEASE);
	pad_worker_wake(worker);
	pad_worker_statistics(worker, &statistics);
	assert_int_equal(statistics.links, 0);
	assert_int_equal(statistics.refills, 2);
	assert_int_equal(statistics.failures, 0);
	assert_int_equal(statistics.pads, rx_statistics.made + tx_statistics.made);
	assert_true(statistics.cpu_ns > 0);
	worker = pad_worker_stop(worker);
	assert_int_equal(shared->slot.wanted, 1); /* nobody looked */
	assert_wiped(shared->tx);
	free(shared);
}

/* Without wiping, and when the daemon ends, the kernel keeps its pads, and the next run takes them over. */
static void test_restart(void **state) {
	struct shared *shared = shared_new(20);
	struct pad_key rx = pad_reference_key(20);
	struct pad_worker *worker = NULL;
	struct pad_link *link;

	(void)state;
	assert_int_equal(pad_worker_start(NULL, &worker), 0);
	link = link_add(worker, shared, false);
	assert_pads(shared->rx, &rx, 1);
	link = pad_worker_remove(worker, link, false);
	assert_pads(shared->rx, &rx, 1);
	link = link_add(worker, shared, true);
	worker = pad_worker_stop(worker); /* forgets the link as well */

	assert_pads(shared->rx, &rx, 1);
	for (unsigned number = 1; number < 50; number++)
		shared->rx[number].number = 0; /* the kernel goes on */
	shared->slot.record.rx_end = 50;
	assert_int_equal(pad_worker_start(NULL, &worker), 0);
	link = link_add(worker, shared, true);
	assert_pads(shared->rx, &rx, 50);
	pad_worker_remove(worker, link, true);
	pad_worker_stop(worker);
	free(shared);
}

static void test_links_bound(void **state) {
	struct shared *shared = shared_new(30);
	struct pad_worker *worker = NULL;
	struct pad_link_config config = {&shared->slot, shared->rx, shared->tx, true};
	struct pad_link *links[PAD_WORKER_LINKS_MAX], *more = NULL;
	struct pad_worker_statistics statistics;

	(void)state;
	assert_int_equal(pad_worker_start(NULL, &worker), 0);
	for (unsigned i = 0; i < PAD_WORKER_LINKS_MAX; i++)
		links[i] = link_add(worker, shared, true);
	assert_int_equal(pad_worker_add(worker, &config, &more), -ENOSPC);
	assert_null(more);
	pad_worker_remove(worker, links[7], false);
	links[7] = link_add(worker, shared, true);
	pad_worker_statistics(worker, &statistics);
	assert_int_equal(statistics.links, PAD_WORKER_LINKS_MAX);
	for (unsigned i = 0; i < PAD_WORKER_LINKS_MAX; i += 2)
		pad_worker_remove(worker, links[i], false);
	pad_worker_statistics(worker, &statistics);
	assert_int_equal(statistics.links, PAD_WORKER_LINKS_MAX / 2);
	pad_worker_stop(worker);
	free(shared);
}

struct wake_test {
	int fd;
	unsigned drained;
};

static void wake_drain(void *userdata) {
	struct wake_test *wake = userdata;
	uint64_t count;

	if (read(wake->fd, &count, sizeof(count)) == sizeof(count))
		__atomic_add_fetch(&wake->drained, 1, __ATOMIC_SEQ_CST);
}

/* The kernel's way: set the flag, make the descriptor readable. Wakes count what happened, there is no polling in between. */
static void test_wake(void **state) {
	struct shared *shared = shared_new(40);
	struct wake_test test = {.fd = eventfd(0, EFD_CLOEXEC)};
	struct pad_wake wake = {.fd = test.fd, .drain = wake_drain, .userdata = &test};
	struct pad_worker *worker = NULL;
	struct pad_worker_statistics statistics;
	uint64_t one = 1;

	(void)state;
	assert_int_equal(pad_worker_start(&wake, &worker), 0);
	link_add(worker, shared, false);
	await_pad(shared->tx, RING);
	for (unsigned i = 0; i < WAKES; i++) {
		uint64_t number = shared->slot.record.tx_next;

		__atomic_store_n(&shared->tx[number % RING].number, 0, __ATOMIC_RELEASE);
		__atomic_store_n(&shared->slot.record.tx_next, number + 1, __ATOMIC_RELEASE);
		__atomic_store_n(&shared->slot.wanted, 1, __ATOMIC_SEQ_CST);
		assert_int_equal(write(test.fd, &one, sizeof(one)), sizeof(one));
		/* The next use follows at once, and may meet the worker still at work. */
		await_pad(shared->tx, number + RING);
	}
	pad_worker_statistics(worker, &statistics);
	assert_true(statistics.wakes <= WAKES + 1);
	pad_worker_stop(worker);
	assert_true(test.drained > 0 && test.drained <= WAKES);
	close(test.fd);
	free(shared);
}

static void await_looked(struct shared *shared) {
	while (__atomic_load_n(&shared->slot.wanted, __ATOMIC_SEQ_CST) != 0)
		sched_yield();
}

/* A descriptor that is gone is not asked again and again. */
static void test_wake_gone(void **state) {
	struct shared *shared = shared_new(50);
	struct wake_test test = {0};
	struct pad_worker *worker = NULL;
	struct pad_worker_statistics statistics;
	int pipe_fds[2];

	(void)state;
	assert_int_equal(pipe(pipe_fds), 0);
	close(pipe_fds[1]);
	struct pad_wake wake = {.fd = pipe_fds[0], .drain = wake_drain, .userdata = &test};
	assert_int_equal(pad_worker_start(&wake, &worker), 0);
	link_add(worker, shared, false);
	for (unsigned i = 0; i < 50; i++) {
		__atomic_store_n(&shared->slot.wanted, 1, __ATOMIC_SEQ_CST);
		pad_worker_wake(worker);
		await_looked(shared);
	}
	pad_worker_statistics(worker, &statistics);
	assert_true(statistics.wakes <= 53);
	pad_worker_stop(worker);
	assert_int_equal(test.drained, 0);
	close(pipe_fds[0]);
	free(shared);
}

/* Signals reach the daemon's thread, which blocks them to read them from a descriptor. */
static void test_signals(void **state) {
	struct pad_worker *worker = NULL;
	struct timespec none = {0};
	sigset_t set, before, after;

	(void)state;
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(pad_worker_start(NULL, &worker), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(sigismember(&before, SIGUSR1), sigismember(&after, SIGUSR1));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	assert_int_equal(kill(getpid(), SIGUSR1), 0); /* would end the process in any thread that does not block it */
	assert_int_equal(sigtimedwait(&set, NULL, &none), SIGUSR1);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pad_worker_stop(worker);
}

/* Several consumers, as the kernel program on several CPUs. */
struct load {
	struct shared *shared;
	struct pad_worker *worker;
	struct pad_key rx, tx;
	uint64_t arrivals; /* records that arrived, in order of arrival */
	uint32_t hits, misses, overtaken;
	uint32_t wrong; /* a pad that was not the one of its number, or was used twice */
	uint8_t rx_used[LOAD_NUMBERS + RING], tx_used[LOAD_NUMBERS + RING];
};

static void load_want(struct load *load) {
	if (__atomic_exchange_n(&load->shared->slot.wanted, 1, __ATOMIC_SEQ_CST) == 0)
		pad_worker_wake(load->worker);
}

/* May read what is being written: the swap tells afterwards. That is meant to be, so the thread sanitizer need not look. */
__attribute__((no_sanitize("thread"))) static void pad_copy(const struct fastpath_pad *pad, struct fastpath_pad *out, size_t from,
							    size_t to) {
	const volatile uint64_t *words = (const volatile uint64_t *)pad;

	for (size_t i = from; i < to; i++)
		((uint64_t *)out)[i] = words[i];
}

static void load_count(uint32_t *counter) {
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static void load_use(struct load *load, struct fastpath_pad *pads, const struct pad_key *key, uint64_t number, uint8_t *used) {
	struct fastpath_pad *pad = &pads[number % RING], copy;
	__u64 expected = pad_sequence(RECORD_EPOCH, number);
	const size_t words = sizeof(*pad) / sizeof(uint64_t);

	if (held(pad) != expected) {
		load_count(&load->misses);
		load_want(load);
		return;
	}
	uint32_t length = __atomic_load_n(&pad->length, __ATOMIC_ACQUIRE);
	pad_copy(pad, &copy, 0, words / 4);
	/* Now and then one is slow, so that the link may leave the pad behind while it is being read. */
	for (unsigned i = 0; number % 97 == 0 && i < LOAD_PATIENCE && held(pad) == expected; i++) {
		load_want(load);
		sched_yield();
	}
	pad_copy(pad, &copy, words / 4, words);
	if (!__atomic_compare_exchange_n(&pad->number, &expected, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
		load_count(&load->overtaken);
		return;
	}
	load_count(&load->hits);
	if (__atomic_add_fetch(&used[number], 1, __ATOMIC_RELAXED) != 1 || length % PAD_BLOCK != 0 ||
	    length > FASTPATH_PAD_KEYSTREAM ||
	    !pad_reference_matches(key, pad_sequence(RECORD_EPOCH, number), copy.poly_key, copy.keystream, length))
		load_count(&load->wrong);
	if (number % 64 == 0)
		load_want(load);
}

/* Lengths that change now and then, so that pads are lengthened under load. */
static void load_length(__u32 *longest, uint64_t number) {
	uint32_t length = 64 + 200 * (uint32_t)(number / 1500 * 5 % 8);

	if (__atomic_load_n(longest, __ATOMIC_RELAXED) < length)
		__atomic_store_n(longest, length, __ATOMIC_RELAXED);
}

static void *load_send(void *userdata) {
	struct load *load = userdata;
	struct fastpath_slot *slot = &load->shared->slot;

	for (;;) {
		uint64_t number = __atomic_load_n(&slot->record.tx_next, __ATOMIC_ACQUIRE);

		if (number > LOAD_NUMBERS)
			return NULL;
		if (held(&load->shared->tx[number % RING]) != pad_sequence(RECORD_EPOCH, number)) { /* not faster than pads */
			load_want(load);
			sched_yield();
			continue;
		}
		number = __atomic_fetch_add(&slot->record.tx_next, 1, __ATOMIC_ACQ_REL);
		load_length(&slot->tx_longest, number);
		if (number % 7 != 0 && number <= LOAD_NUMBERS) /* the others are sealed by the daemon, without pads */
			load_use(load, load->shared->tx, &load->tx, number, load->tx_used);
	}
}

static void *load_receive(void *userdata) {
	struct load *load = userdata;
	struct fastpath_record *record = &load->shared->slot.record;

	for (;;) {
		uint64_t arrival = __atomic_add_fetch(&load->arrivals, 1, __ATOMIC_RELAXED), number = arrival ^ 5;

		if (arrival > LOAD_NUMBERS)
			return NULL;
		if (arrival * UINT64_C(0x9e3779b97f4a7c15) >> 60 == 0)
			continue; /* lost */
		while (number >= __atomic_load_n(&record->rx_end, __ATOMIC_ACQUIRE) &&
		       held(&load->shared->rx[number % RING]) != pad_sequence(RECORD_EPOCH, number)) {
			load_want(load);
			sched_yield();
		}
		load_length(&load->shared->slot.rx_longest, number);
		load_use(load, load->shared->rx, &load->rx, number, load->rx_used);
		if (number >= __atomic_load_n(&record->rx_end, __ATOMIC_ACQUIRE)) /* may lose against another, as in the kernel */
			__atomic_store_n(&record->rx_end, number + 1, __ATOMIC_RELEASE);
	}
}

static void test_load(void **state) {
	struct load *load = calloc(1, sizeof(*load));
	struct shared *other = shared_new(70);
	pthread_t threads[2 * LOAD_THREADS];
	struct pad_link *link, *second;
	struct pad_worker_statistics statistics;

	(void)state;
	assert_non_null(load);
	load->shared = shared_new(60);
	load->rx = pad_reference_key(60);
	load->tx = pad_reference_key(61);
	assert_int_equal(pad_worker_start(NULL, &load->worker), 0);
	link = link_add(load->worker, load->shared, false);
	for (unsigned i = 0; i < ARRAY_LENGTH(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, i % 2 ? load_send : load_receive, load), 0);
	/* Meanwhile another link comes and goes. */
	for (unsigned i = 0; i < 50; i++) {
		struct pad_ring_statistics rx, tx;

		second = link_add(load->worker, other, i % 3 == 0);
		if (i % 2)
			await_pad(other->tx, 1);
		pad_link_statistics(second, &rx, &tx);
		pad_worker_statistics(load->worker, &statistics);
		assert_int_equal(statistics.links, 2);
		pad_worker_remove(load->worker, second, i % 3 != 2);
		if (i % 3 != 2)
			assert_wiped(other->tx);
	}
	for (unsigned i = 0; i < ARRAY_LENGTH(threads); i++)
		pthread_join(threads[i], NULL);
	printf("# %u pads used, %u missing, %u overtaken by the producer\n", load->hits, load->misses, load->overtaken);
	assert_int_equal(load->wrong, 0);
	assert_true(load->hits >= LOAD_LEAST);
	pad_worker_statistics(load->worker, &statistics);
	assert_int_equal(statistics.failures, 0);
	pad_worker_remove(load->worker, link, true);
	assert_wiped(load->shared->rx);
	assert_wiped(load->shared->tx);
	pad_worker_stop(load->worker);
	free(load->shared);
	free(other);
	free(load);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_stop),  cmocka_unit_test(test_add_remove), cmocka_unit_test(test_restart),
		cmocka_unit_test(test_links_bound), cmocka_unit_test(test_wake),       cmocka_unit_test(test_wake_gone),
		cmocka_unit_test(test_signals),	    cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests_name("pad worker", tests, NULL, NULL);
}
