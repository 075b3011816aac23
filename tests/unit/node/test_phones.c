/* SPDX-License-Identifier: BSD-2-Clause */
/* Registrations across restarts: on disk before the phone is answered, back after it, stored again one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "node/phones.h"

enum { QUESTIONS = 64 };

struct fixture {
	struct runtime runtime;
	uint64_t realtime_ms, random;
	char directory[64], path[128];
	struct phones *phones;
	struct {
		char aor[64], contact[64];
		unsigned expires_s;
		sip_register_done done;
		void *userdata;
	} questions[QUESTIONS];
	size_t asked, answered;
	unsigned told, status; /* answers to the gateway */
	size_t listed;
	struct sip_binding_request last;
	char contact[64], call_id[64];
};

static uint64_t realtime(void *userdata) {
	const struct fixture *f = userdata;

	return f->realtime_ms;
}

static void random_octets(void *userdata, void *data, size_t length) {
	struct fixture *f = userdata;

	for (size_t i = 0; i < length; i++)
		((uint8_t *)data)[i] = (uint8_t)((f->random = f->random * 6364136223846793005 + 1442695040888963407) >> 40);
}

static void on_bind(void *userdata, const struct sip_binding_request *request, sip_register_done done, void *done_userdata) {
	struct fixture *f = userdata;

	assert_true(f->asked < QUESTIONS);
	snprintf(f->questions[f->asked].aor, 64, "%s", request->aor);
	snprintf(f->questions[f->asked].contact, 64, "%s", request->contact);
	f->questions[f->asked].expires_s = request->expires_s;
	f->questions[f->asked].done = done;
	f->questions[f->asked++].userdata = done_userdata;
}

static void on_done(void *userdata, unsigned status, const char *reason) {
	struct fixture *f = userdata;

	(void)reason;
	f->told++;
	f->status = status;
}

static void answer(struct fixture *f, unsigned status) {
	assert_true(f->answered < f->asked);
	f->questions[f->answered].done(f->questions[f->answered].userdata, status, "As Told");
	f->answered++;
}

static void start(struct fixture *f) {
	const struct phones_settings settings = {.runtime = &f->runtime, .path = f->path, .userdata = f, .bind = on_bind};
	char reason[PHONES_REASON_SIZE] = "";

	if (phones_new(&settings, &f->phones, reason) < 0)
		fail_msg("%s", reason);
}

static void restart(struct fixture *f) {
	f->phones = phones_free(f->phones);
	f->runtime.now_us = 1; /* another clock */
	start(f);
}

static int setup(void **state) {
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->realtime_ms = UINT64_C(1289690940000);
	f->runtime.now_us = 1000000;
	f->runtime.source = (struct runtime_source){.realtime_ms = realtime, .random = random_octets, .userdata = f};
	strcpy(f->directory, "/tmp/test_phones_XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/phones.db", f->directory);
	start(f);
	*state = f;
	return 0;
}

static int teardown(void **state) {
	static const char *const suffixes[] = {"", "-wal", "-shm", ".damaged"};
	struct fixture *f = *state;
	char path[160];

	while (f->answered < f->asked)
		answer(f, 503);
	phones_free(f->phones);
	assert_null(f->runtime.timers);
	for (size_t i = 0; i < ARRAY_LENGTH(suffixes); i++) {
		snprintf(path, sizeof(path), "%s%s", f->path, suffixes[i]);
		unlink(path);
	}
	int error = rmdir(f->directory);
	free(f);
	return error;
}

static void bind_contact(struct fixture *f, const char *aor, const char *contact, unsigned expires_s, uint32_t cseq) {
	struct sip_binding_request request = {
		.aor = aor, .contact = contact, .expires_s = expires_s, .call_id = "call'1", .cseq = cseq, .q = 250};

	assert_int_equal(address_parse("192.0.2.7:5070", 0, &request.source), 0);
	assert_int_equal(address_parse("[2001:db8::1]:5060", 0, &request.local), 0);
	request.transport = SIP_TCP;
	phones_bind(f->phones, &request, on_done, f);
}

static void note(void *userdata, const struct sip_binding_request *request) {
	struct fixture *f = userdata;

	f->listed++;
	f->last = *request;
	snprintf(f->contact, sizeof(f->contact), "%s", request->contact);
	snprintf(f->call_id, sizeof(f->call_id), "%s", request->call_id);
}

static size_t list(struct fixture *f) {
	f->listed = 0;
	assert_int_equal(phones_each(f->phones, note, f), 0);
	return f->listed;
}

static void test_written_before_answered(void **state) {
	struct fixture *f = *state;
	char text[ADDRESS_TEXT_SIZE];
	struct stat status;

	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.7:5070", 600, 7);
	assert_false(phones_commit_wanted(f->phones));
	answer(f, 200);
	assert_int_equal(f->told, 0); /* the overlay has it, the disk does not */
	assert_true(phones_commit_wanted(f->phones));
	phones_commit(f->phones);
	assert_int_equal(f->told, 1);
	assert_int_equal(f->status, 200);
	assert_false(phones_commit_wanted(f->phones));
	restart(f);
	assert_int_equal(list(f), 1);
	assert_string_equal(f->contact, "sip:alice@192.0.2.7:5070");
	assert_string_equal(f->call_id, "call'1");
	assert_int_equal(f->last.cseq, 7);
	assert_int_equal(f->last.q, 250);
	assert_int_equal(f->last.expires_s, 600);
	assert_int_equal(f->last.transport, SIP_TCP);
	assert_string_equal(address_format(&f->last.source, text), "192.0.2.7:5070");
	assert_string_equal(address_format(&f->last.local, text), "[2001:db8::1]:5060");
	assert_int_equal(stat(f->path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
}

static void test_refused(void **state) {
	struct fixture *f = *state;

	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.7:5070", 600, 1);
	answer(f, 503);
	assert_int_equal(f->status, 503);
	assert_false(phones_commit_wanted(f->phones));
	assert_int_equal(list(f), 0);
}

static void test_changes(void **state) {
	struct fixture *f = *state;

	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.7", 600, 1);
	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.8", 600, 2);
	bind_contact(f, "bob@example.org", "sip:alice@192.0.2.8", 60, 2);
	for (unsigned i = 0; i < 3; i++)
		answer(f, 200);
	phones_commit(f->phones);
	assert_int_equal(f->told, 3);
	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.7", 0, 0); /* removed */
	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.8", 900, 3);
	answer(f, 200);
	answer(f, 200);
	phones_commit(f->phones);
	restart(f);
	assert_int_equal(list(f), 2);
	f->realtime_ms += 60 * 1000;
	assert_int_equal(list(f), 1); /* bob's has expired */
	assert_int_equal(f->last.expires_s, 840);
	assert_int_equal(f->last.cseq, 3);
}

/* What is only renewed keeps what it said; when it is not there any more, all is written. */
static void test_renewed(void **state) {
	struct fixture *f = *state;
	struct sip_binding_request request = {.aor = "alice@example.org",
					      .contact = "sip:alice@192.0.2.7",
					      .expires_s = 600,
					      .call_id = "call'1",
					      .cseq = 4,
					      .q = 500};

	bind_contact(f, request.aor, request.contact, 600, 3);
	bind_contact(f, "bob@example.org", request.contact, 600, 3);
	answer(f, 200);
	answer(f, 200);
	phones_commit(f->phones);
	f->realtime_ms += 400 * 1000;
	assert_int_equal(address_parse("192.0.2.9:5070", 0, &request.source), 0);
	assert_int_equal(address_parse("192.0.2.1:5060", 0, &request.local), 0);
	request.repeats = true;
	phones_bind(f->phones, &request, on_done, f);
	answer(f, 200);
	phones_commit(f->phones);
	assert_int_equal(f->told, 3);
	assert_int_equal(list(f), 2);
	f->realtime_ms += 300 * 1000;
	restart(f);
	assert_int_equal(list(f), 1); /* bob's has expired */
	assert_int_equal(f->last.expires_s, 300);
	assert_int_equal(f->last.cseq, 4);
	assert_int_equal(f->last.q, 250);
	assert_string_equal(f->call_id, "call'1");
	f->realtime_ms += 4000 * 1000;
	f->runtime.now_us += 4000 * USEC_PER_SEC;
	bind_contact(f, "bob@example.org", request.contact, 60, 9); /* with which alice's row goes */
	answer(f, 200);
	phones_commit(f->phones);
	phones_bind(f->phones, &request, on_done, f);
	answer(f, 200);
	phones_commit(f->phones);
	assert_int_equal(list(f), 2);
	f->realtime_ms += 100 * 1000;
	assert_int_equal(list(f), 1);
	assert_string_equal(f->contact, request.contact);
	assert_int_equal(f->last.q, 500);
	assert_int_equal(f->last.expires_s, 500);
}

/* What the overlay has for a while yet is only written. */
static void test_kept(void **state) {
	struct fixture *f = *state;
	struct sip_binding_request request = {.aor = "alice@example.org",
					      .contact = "sip:alice@192.0.2.7",
					      .expires_s = 600,
					      .call_id = "call'1",
					      .cseq = 4,
					      .repeats = true,
					      .kept = true};

	bind_contact(f, request.aor, request.contact, 600, 3);
	answer(f, 200);
	phones_commit(f->phones);
	f->realtime_ms += 500 * 1000;
	phones_bind(f->phones, &request, on_done, f);
	assert_int_equal(f->asked, 1);
	assert_int_equal(f->told, 1);
	assert_true(phones_commit_wanted(f->phones));
	phones_commit(f->phones);
	assert_int_equal(f->told, 2);
	assert_int_equal(f->status, 200);
	restart(f);
	assert_int_equal(list(f), 1);
	assert_int_equal(f->last.expires_s, 600);
	assert_int_equal(f->last.cseq, 4);
}

/* One after the other, not all at once; what its phone has refreshed, or has expired, is left out. */
static void test_stored_again(void **state) {
	struct fixture *f = *state;
	char contact[64];

	for (unsigned i = 0; i < 20; i++) {
		snprintf(contact, sizeof(contact), "sip:alice@192.0.2.%u", i);
		bind_contact(f, "alice@example.org", contact, i == 5 ? 5 : 600, 1);
		answer(f, 200);
	}
	phones_commit(f->phones);
	restart(f);
	assert_int_equal(phones_figures(f->phones).restore_left, 20);
	f->asked = f->answered = 0;
	f->realtime_ms += 10 * 1000;
	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.7", 600, 2);
	answer(f, 200);
	phones_commit(f->phones);
	f->asked = f->answered = 0;
	runtime_fire(&f->runtime);
	assert_int_equal(f->asked, 0); /* the overlay cannot be reached yet */
	phones_store_again(f->phones);
	phones_store_again(f->phones);
	uint64_t begun_us = f->runtime.now_us;
	unsigned tries = 0;
	while (runtime_next(&f->runtime) != USEC_NEVER) {
		size_t asked = f->asked;
		f->runtime.now_us = runtime_next(&f->runtime);
		runtime_fire(&f->runtime);
		assert_true(f->asked - asked <= 1);
		if (f->asked > asked) {
			assert_int_equal(f->questions[asked].expires_s, 590);
			assert_string_not_equal(f->questions[asked].contact, "sip:alice@192.0.2.7");
			assert_string_not_equal(f->questions[asked].contact, "sip:alice@192.0.2.5");
			answer(f, ++tries == 3 ? 503 : tries == 4 ? 403 : 200);
		}
	}
	assert_int_equal(f->asked, 19); /* 18 and one more try */
	assert_int_equal(phones_figures(f->phones).restored, 17);
	assert_int_equal(phones_figures(f->phones).restore_left, 0);
	uint64_t took_us = f->runtime.now_us - begun_us;
	assert_true(took_us >= 10 * PHONES_STEP_MS * USEC_PER_MSEC);
	assert_true(took_us <= PHONES_SPREAD_SECONDS * USEC_PER_SEC);
	assert_int_equal(f->told, 21);
}

static void test_damaged(void **state) {
	struct fixture *f = *state;
	char aside[160];
	FILE *file;

	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.7", 600, 1);
	answer(f, 200);
	phones_commit(f->phones);
	f->phones = phones_free(f->phones);
	file = fopen(f->path, "w");
	assert_non_null(file);
	for (unsigned i = 0; i < 5000; i++)
		fprintf(file, "this is no database ");
	assert_int_equal(fclose(file), 0);
	start(f);
	assert_int_equal(list(f), 0);
	snprintf(aside, sizeof(aside), "%s.damaged", f->path);
	assert_int_equal(access(aside, R_OK), 0);
	bind_contact(f, "alice@example.org", "sip:alice@192.0.2.7", 600, 1);
	answer(f, 200);
	phones_commit(f->phones);
	assert_int_equal(list(f), 1);
}

/* What a phone has said beyond RFC 3261; a flow keeps its name when its Contact changes. */
static void test_flow(void **state) {
	struct fixture *f = *state;
	struct sip_binding_request request = {
		.aor = "alice@example.org",
		.contact = "sip:alice@192.0.2.7",
		.name = "reg-id=1;urn:x:1",
		.expires_s = 600,
		.call_id = "one",
		.q = -1,
		.path = "<sip:192.0.2.1;lr>",
		.instance = "urn:x:1",
		.reg_id = 1,
		.device = UINT64_C(0x8000000000000001),
	};

	assert_int_equal(address_parse("192.0.2.7:5070", 0, &request.source), 0);
	assert_int_equal(address_parse("192.0.2.1:5060", 0, &request.local), 0);
	phones_bind(f->phones, &request, on_done, f);
	answer(f, 200);
	request.contact = "sip:alice@192.0.2.8";
	phones_bind(f->phones, &request, on_done, f);
	answer(f, 200);
	phones_commit(f->phones);
	assert_int_equal(list(f), 1);
	restart(f);
	assert_int_equal(list(f), 1);
	assert_string_equal(f->contact, "sip:alice@192.0.2.8");
	assert_int_equal(f->last.reg_id, 1);
	assert_true(f->last.device == request.device);
	phones_store_again(f->phones);
	while (f->asked < 3) {
		f->runtime.now_us = runtime_next(&f->runtime);
		runtime_fire(&f->runtime);
	}
	assert_string_equal(f->questions[2].contact, "sip:alice@192.0.2.8");
	answer(f, 200);
	/* without what others have, it is one of RFC 3261 */
	bind_contact(f, "bob@example.org", "sip:bob@192.0.2.9", 600, 1);
	answer(f, 200);
	phones_commit(f->phones);
	assert_int_equal(list(f), 2);
	assert_null(f->last.path);
	assert_null(f->last.instance);
	assert_string_equal(f->contact, "sip:bob@192.0.2.9");
	request.expires_s = 0;
	request.contact = "sip:alice@203.0.113.1";
	phones_bind(f->phones, &request, on_done, f);
	answer(f, 200);
	phones_commit(f->phones);
	assert_int_equal(list(f), 1);
}

/* A database of a former version is brought up to date, and keeps its phones. */
static void test_former_version(void **state) {
	static const char sql[] =
		"DROP TABLE phone; CREATE TABLE phone (aor TEXT NOT NULL, contact TEXT NOT NULL, call_id TEXT NOT NULL, "
		"cseq INTEGER NOT NULL, q INTEGER NOT NULL, expires_s INTEGER NOT NULL, until_ms INTEGER NOT NULL, "
		"source TEXT NOT NULL, local TEXT NOT NULL, transport INTEGER NOT NULL, UNIQUE (aor, contact));"
		"INSERT INTO phone VALUES ('alice@example.org', 'sip:alice@192.0.2.7', 'one', 3, 500, 600, 1289690999000, "
		"'192.0.2.7:5070', '192.0.2.1:5060', 1); PRAGMA user_version = 0;";
	struct fixture *f = *state;
	sqlite3 *database = NULL;

	f->phones = phones_free(f->phones);
	assert_int_equal(sqlite3_open(f->path, &database), SQLITE_OK);
	assert_int_equal(sqlite3_exec(database, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(database);
	start(f);
	assert_int_equal(list(f), 1);
	assert_string_equal(f->contact, "sip:alice@192.0.2.7");
	assert_int_equal(f->last.cseq, 3);
	assert_int_equal(f->last.q, 500);
	assert_int_equal(f->last.reg_id, 0);
	assert_null(f->last.instance);
	restart(f);
	assert_int_equal(list(f), 1);
}

static void test_unusable(void **state) {
	struct fixture *f = *state;
	const struct phones_settings settings = {
		.runtime = &f->runtime, .path = "/no/such/directory/phones.db", .userdata = f, .bind = on_bind};
	char reason[PHONES_REASON_SIZE] = "";
	struct phones *phones;

	assert_true(phones_new(&settings, &phones, reason) < 0);
	assert_non_null(strstr(reason, "/no/such/directory/phones.db"));
}

int main(void) {
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_written_before_answered, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_renewed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stored_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_former_version, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unusable, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
