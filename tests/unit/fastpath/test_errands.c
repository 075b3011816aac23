/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls made by another thread, one after the other. */
#include "fastpath/errands.h"

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { GIVE_UP_MS = 20000, ERRANDS = 5 };

static struct errands *errands;
static pthread_t main_thread;
static sem_t gate; /* the thread passes it once for each errand */
static char order[64];
static size_t ran, done, again;

struct job {
	struct errand errand;
	char name;
	bool elsewhere;
};
static struct job jobs[ERRANDS];

static void on_run(void *userdata) {
	struct job *job = userdata;

	sem_wait(&gate);
	job->elsewhere = !pthread_equal(pthread_self(), main_thread);
	order[__atomic_fetch_add(&ran, 1, __ATOMIC_SEQ_CST)] = job->name;
}

static void on_done(void *userdata) {
	struct job *job = userdata;

	assert_true(pthread_equal(pthread_self(), main_thread));
	assert_false(job->errand.pending);
	done++;
	if (again > 0) {
		again--;
		errands_begin(errands, &job->errand);
	}
}

static int setup(void **state) {
	(void)state;
	main_thread = pthread_self();
	ran = done = again = 0;
	sem_init(&gate, 0, 0);
	memset(order, 0, sizeof(order));
	for (size_t i = 0; i < ERRANDS; i++)
		jobs[i] = (struct job){.errand = {.run = on_run, .done = on_done, .userdata = &jobs[i]}, .name = (char)('a' + i)};
	return errands_new("test", &errands);
}

static int teardown(void **state) {
	(void)state;
	errands = errands_free(errands);
	sem_destroy(&gate);
	return 0;
}

static void wait_until(size_t wanted) {
	while (done < wanted) {
		struct pollfd ready = {.fd = errands_fd(errands), .events = POLLIN};
		assert_int_equal(poll(&ready, 1, GIVE_UP_MS), 1);
		errands_ready(errands);
	}
}

static void test_order(void **state) {
	(void)state;
	for (size_t i = 0; i < ERRANDS; i++)
		errands_begin(errands, &jobs[i].errand);
	errands_ready(errands); /* nothing yet */
	assert_int_equal(done, 0);
	for (size_t i = 0; i < ERRANDS; i++)
		assert_true(jobs[i].errand.pending);
	for (size_t i = 0; i < ERRANDS; i++)
		sem_post(&gate);
	wait_until(ERRANDS);
	assert_string_equal(order, "abcde");
	for (size_t i = 0; i < ERRANDS; i++)
		assert_true(jobs[i].elsewhere);
}

/* The next one is begun from within `done`, and while another one is run. */
static void test_again(void **state) {
	(void)state;
	again = 2;
	errands_begin(errands, &jobs[0].errand);
	errands_begin(errands, &jobs[1].errand);
	for (size_t i = 0; i < 4; i++)
		sem_post(&gate);
	wait_until(4);
	assert_int_equal(ran, 4);
	assert_int_equal(order[0], 'a');
	assert_false(jobs[0].errand.pending);
	errands_ready(errands); /* may be called once more than there is something to do */
	assert_int_equal(done, 4);
}

/* The one that is being run is waited for, and nobody is told. */
static void test_end(void **state) {
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		errands_begin(errands, &jobs[i].errand);
		sem_post(&gate);
	}
	errands = errands_free(errands);
	size_t before = ran;
	assert_true(before <= 3);
	assert_int_equal(strlen(order), before);
	assert_int_equal(done, 0);
	errands_free(NULL);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_end, setup, teardown),
	};

	return cmocka_run_group_tests_name("errands", tests, NULL, NULL);
}
