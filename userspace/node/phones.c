/* SPDX-License-Identifier: BSD-2-Clause */
#include "node/phones.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/table.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

enum statement { PUT, RENEW, REMOVE, REMOVE_EXPIRED, LIST, STATEMENTS };

/* Rows are found by rowid in the order in which Contacts came. */
static const char *const statements[STATEMENTS] = {
	[PUT] = "INSERT INTO phone (aor, contact, call_id, cseq, q, expires_s, until_ms, source, local, transport, "
		"uri, path, instance, reg_id, device) "
		"VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15) ON CONFLICT (aor, contact) DO UPDATE "
		"SET "
		"call_id = ?3, cseq = ?4, q = ?5, expires_s = ?6, until_ms = ?7, source = ?8, local = ?9, transport = ?10, "
		"uri = ?11, path = ?12, instance = ?13, reg_id = ?14, device = ?15",
	[RENEW] = "UPDATE phone SET cseq = ?3, until_ms = ?4 WHERE aor = ?1 AND contact = ?2",
	[REMOVE] = "DELETE FROM phone WHERE aor = ?1 AND contact = ?2",
	[REMOVE_EXPIRED] = "DELETE FROM phone WHERE until_ms <= ?1",
	[LIST] = "SELECT aor, contact, call_id, cseq, q, until_ms, source, local, transport, uri, path, instance, reg_id, device "
		 "FROM phone WHERE until_ms > ?1 ORDER BY rowid LIMIT ?2",
};

static const char schema[] = "CREATE TABLE IF NOT EXISTS phone (aor TEXT NOT NULL, contact TEXT NOT NULL, call_id TEXT NOT NULL, "
			     "cseq INTEGER NOT NULL, q INTEGER NOT NULL, expires_s INTEGER NOT NULL, until_ms INTEGER NOT NULL, "
			     "source TEXT NOT NULL, local TEXT NOT NULL, transport INTEGER NOT NULL, UNIQUE (aor, contact));";

/* What came later; user_version counts these. `contact` is the name of the binding, `uri` the Contact where that is another one. */
static const char *const additions[] = {
	"ALTER TABLE phone ADD COLUMN uri TEXT; ALTER TABLE phone ADD COLUMN path TEXT; ALTER TABLE phone ADD COLUMN instance TEXT;"
	"ALTER TABLE phone ADD COLUMN reg_id INTEGER NOT NULL DEFAULT 0; ALTER TABLE phone ADD COLUMN device INTEGER NOT NULL "
	"DEFAULT 0;",
};

enum { PURGE_SECONDS = 3600 };

/* A question of the gateway, as long as it is not answered. */
struct binding {
	struct phones *phones;
	struct sip_binding_request request; /* its texts are in this allocation */
	sip_register_done done;
	void *userdata;
	struct binding *previous, *next; /* written, and answered with the next commit */
};

/* One that a former run has registered. */
struct former {
	struct phones *phones;
	char *aor, *contact, *name;
	char *key; /* of user and name */
	uint64_t until_ms;
	unsigned tries;
	bool asked;
	struct former *previous, *next;
	UT_hash_handle hh;
};

struct phones {
	struct phones_settings settings;
	sqlite3 *database;
	sqlite3_stmt *prepared[STATEMENTS];
	bool in_transaction, complained;
	struct binding *written;
	struct former *formers;
	struct former *by_key;
	struct former *asked; /* those that are being stored, in a list of their own */
	size_t former_count, asked_count;
	uint64_t step_us; /* between two of them */
	struct timer timer;
	bool again; /* storing again has begun */
	uint64_t purge_us;
	struct phones_figures figures;
};

/* ---- the database ---- */

static int execute(struct phones *phones, const char *sql) {
	return sqlite3_exec(phones->database, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : -EIO;
}

static sqlite3_stmt *prepare(struct phones *phones, enum statement statement) {
	sqlite3_stmt **prepared = &phones->prepared[statement];

	if (!*prepared &&
	    sqlite3_prepare_v3(phones->database, statements[statement], -1, SQLITE_PREPARE_PERSISTENT, prepared, NULL) != SQLITE_OK)
		return NULL;
	return *prepared;
}

static int run(sqlite3_stmt *statement) {
	int code = sqlite3_step(statement);

	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return code == SQLITE_DONE ? 0 : -EIO;
}

/* Service goes on, as phones register again anyway; what is not on disk is not there after a restart. */
static void write_failed(struct phones *phones) {
	phones->figures.write_errors++;
	if (!phones->complained)
		log_error("Registrations of phones cannot be written and would be lost in a restart: %s.",
			  sqlite3_errmsg(phones->database));
	phones->complained = true;
}

static int begin(struct phones *phones) {
	if (phones->in_transaction)
		return 0;
	int error = execute(phones, "BEGIN IMMEDIATE");
	phones->in_transaction = error == 0;
	return error;
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text) {
	sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

static const char *name_of(const struct sip_binding_request *request) {
	return request->name ? request->name : request->contact;
}

static uint64_t until_ms_of(const struct phones *phones, const struct sip_binding_request *request) {
	return runtime_realtime_ms(phones->settings.runtime) + request->expires_s * UINT64_C(1000);
}

/* -ENOENT when there is no such row. */
static int renew(struct phones *phones, const struct sip_binding_request *request) {
	sqlite3_stmt *statement = prepare(phones, RENEW);

	if (!statement)
		return -EIO;
	bind_text(statement, 1, request->aor);
	bind_text(statement, 2, name_of(request));
	sqlite3_bind_int64(statement, 3, request->cseq);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)until_ms_of(phones, request));
	int error = run(statement);
	return error == 0 && sqlite3_changes(phones->database) == 0 ? -ENOENT : error;
}

static int put(struct phones *phones, const struct sip_binding_request *request) {
	sqlite3_stmt *statement = prepare(phones, PUT);
	char source[ADDRESS_TEXT_SIZE], local[ADDRESS_TEXT_SIZE];

	if (!statement)
		return -EIO;
	bind_text(statement, 1, request->aor);
	bind_text(statement, 2, name_of(request));
	bind_text(statement, 3, request->call_id);
	sqlite3_bind_int64(statement, 4, request->cseq);
	sqlite3_bind_int(statement, 5, request->q);
	sqlite3_bind_int64(statement, 6, request->expires_s);
	sqlite3_bind_int64(statement, 7, (sqlite3_int64)until_ms_of(phones, request));
	bind_text(statement, 8, address_format(&request->source, source));
	bind_text(statement, 9, address_format(&request->local, local));
	sqlite3_bind_int(statement, 10, (int)request->transport);
	bind_text(statement, 11, strcmp(name_of(request), request->contact) != 0 ? request->contact : NULL);
	bind_text(statement, 12, request->path);
	bind_text(statement, 13, request->instance);
	sqlite3_bind_int64(statement, 14, request->reg_id);
	sqlite3_bind_int64(statement, 15, (sqlite3_int64)request->device);
	return run(statement);
}

/* What was there before may be gone, as its time was over. */
static int put_or_renew(struct phones *phones, const struct sip_binding_request *request) {
	int error = request->repeats ? renew(phones, request) : -ENOENT;

	return error == -ENOENT ? put(phones, request) : error;
}

static int remove_row(struct phones *phones, const struct sip_binding_request *request) {
	sqlite3_stmt *statement = prepare(phones, REMOVE);

	if (!statement)
		return -EIO;
	bind_text(statement, 1, request->aor);
	bind_text(statement, 2, name_of(request));
	return run(statement);
}

static int purge(struct phones *phones) {
	sqlite3_stmt *statement = prepare(phones, REMOVE_EXPIRED);

	phones->purge_us = phones->settings.runtime->now_us + PURGE_SECONDS * USEC_PER_SEC;
	if (!statement)
		return -EIO;
	sqlite3_bind_int64(statement, 1, (sqlite3_int64)runtime_realtime_ms(phones->settings.runtime));
	return run(statement);
}

static void write_binding(struct phones *phones, const struct sip_binding_request *request) {
	int error = begin(phones);

	if (error == 0)
		error = request->expires_s > 0 ? put_or_renew(phones, request) : remove_row(phones, request);
	if (error == 0 && phones->settings.runtime->now_us >= phones->purge_us)
		error = purge(phones);
	if (error < 0)
		write_failed(phones);
}

static void database_close(struct phones *phones) {
	for (size_t i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(phones->prepared[i]);
		phones->prepared[i] = NULL;
	}
	sqlite3_close(phones->database);
	phones->database = NULL;
}

static int bring_up_to_date(struct phones *phones) {
	sqlite3_stmt *statement = NULL;
	int version = -1, error = 0;
	char sql[64];

	if (sqlite3_prepare_v2(phones->database, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
	    sqlite3_step(statement) == SQLITE_ROW)
		version = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	if (version < 0)
		return -EIO;
	for (; error == 0 && version < (int)ARRAY_LENGTH(additions); version++) {
		snprintf(sql, sizeof(sql), "PRAGMA user_version = %d; COMMIT", version + 1);
		error = execute(phones, "BEGIN IMMEDIATE");
		if (error == 0)
			error = execute(phones, additions[version]);
		if (error == 0)
			error = execute(phones, sql);
	}
	return error;
}

static int database_open(struct phones *phones, const char *path) {
	mode_t mask = umask(077); /* who calls whom is nobody else's business */
	int code = sqlite3_open_v2(path, &phones->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);

	umask(mask);
	if (code != SQLITE_OK)
		return -EIO;
	sqlite3_db_config(phones->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	/* NORMAL: after a power cut the last moments may be missing. The overlay has them, and the phones come back. */
	int error = execute(phones, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
				    "PRAGMA journal_size_limit = 16777216");
	if (error == 0)
		error = execute(phones, schema);
	if (error == 0)
		error = bring_up_to_date(phones);
	return error == 0 ? purge(phones) : error;
}

static bool damaged(struct phones *phones) {
	int code = sqlite3_errcode(phones->database) & 0xff;

	return code == SQLITE_NOTADB || code == SQLITE_CORRUPT || code == SQLITE_ERROR;
}

/* What it holds comes back with the phones: none of it is worth not to start. */
static int database_replace(struct phones *phones, const char *path) {
	char aside[PATH_MAX], log[PATH_MAX];

	if (snprintf(aside, sizeof(aside), "%s.damaged", path) >= (int)sizeof(aside) ||
	    snprintf(log, sizeof(log), "%s-wal", path) >= (int)sizeof(log))
		return -ENAMETOOLONG;
	database_close(phones);
	if (rename(path, aside) < 0)
		return -errno;
	unlink(log);
	log_warning("The database of phones %s was damaged and is %s now; phones are known again when they register.", path, aside);
	return database_open(phones, path);
}

/* ---- binding ---- */

static void binding_free(struct binding *binding) {
	free(binding);
}

/* A copy with its texts in one piece of memory. */
static struct binding *binding_new(struct phones *phones, const struct sip_binding_request *request) {
	const char *texts[] = {request->aor,  request->contact, name_of(request), request->call_id ? request->call_id : "",
			       request->path, request->instance};
	size_t length = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
		length += texts[i] ? strlen(texts[i]) + 1 : 0;
	struct binding *binding = malloc(sizeof(*binding) + length);
	if (!binding)
		return NULL;
	char *text = (char *)(binding + 1);
	for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
		if (!texts[i])
			continue;
		texts[i] = strcpy(text, texts[i]);
		text += strlen(text) + 1;
	}
	*binding = (struct binding){.phones = phones, .request = *request};
	binding->request.aor = texts[0];
	binding->request.contact = texts[1];
	binding->request.name = texts[2];
	binding->request.call_id = texts[3];
	binding->request.path = texts[4];
	binding->request.instance = texts[5];
	return binding;
}

/* Two texts with what stands in neither of them in between. NULL: no memory. */
static char *key_of(const char *aor, const char *contact) {
	char *key = NULL;

	return asprintf(&key, "%s\n%s", aor, contact) < 0 ? NULL : key;
}

/* Its phone was faster, or is gone: nothing is to be stored again. */
static void forget_former(struct phones *phones, const struct sip_binding_request *request) {
	_cleanup_free_ char *key = phones->by_key ? key_of(request->aor, name_of(request)) : NULL;
	struct former *former = NULL;

	if (key)
		HASH_FIND_STR(phones->by_key, key, former);
	if (former && !former->asked)
		former->until_ms = 0;
}

static void on_bound(void *userdata, unsigned status, const char *reason) {
	struct binding *binding = userdata;
	struct phones *phones = binding->phones;

	if (status != 200) {
		binding->done(binding->userdata, status, reason);
		binding_free(binding);
		return;
	}
	write_binding(phones, &binding->request);
	forget_former(phones, &binding->request);
	DL_APPEND2(phones->written, binding, previous, next);
}

void phones_bind(struct phones *phones, const struct sip_binding_request *request, sip_register_done done, void *userdata) {
	struct binding *binding = binding_new(phones, request);

	if (!binding) {
		log_error("Not enough memory to register %s.", request->aor);
		return; /* the gateway gives up by itself */
	}
	binding->done = done;
	binding->userdata = userdata;
	if (request->kept) {
		on_bound(binding, 200, NULL); /* who asks is told with the next commit */
		return;
	}
	phones->settings.bind(phones->settings.userdata, &binding->request, on_bound, binding);
}

bool phones_commit_wanted(const struct phones *phones) {
	return phones->in_transaction || phones->written;
}

void phones_commit(struct phones *phones) {
	struct binding *written = phones->written, *binding, *next;

	if (phones->in_transaction) {
		if (execute(phones, "COMMIT") < 0) {
			write_failed(phones);
			execute(phones, "ROLLBACK");
		} else {
			phones->complained = false;
		}
		phones->in_transaction = false;
	}
	phones->written = NULL; /* what an answer leads to is of the next round */
	DL_FOREACH_SAFE2(written, binding, next, next) {
		binding->done(binding->userdata, 200, "OK");
		binding_free(binding);
	}
}

/* ---- after a restart ---- */

int phones_each(struct phones *phones, void (*each)(void *userdata, const struct sip_binding_request *request), void *userdata) {
	uint64_t now_ms = runtime_realtime_ms(phones->settings.runtime);
	sqlite3_stmt *statement = prepare(phones, LIST);
	int code;

	if (!statement)
		return -EIO;
	sqlite3_bind_int64(statement, 1, (sqlite3_int64)now_ms);
	sqlite3_bind_int64(statement, 2, LIMIT_SIP_BINDINGS);
	while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
		struct sip_binding_request request = {
			.aor = (const char *)sqlite3_column_text(statement, 0),
			.contact = (const char *)sqlite3_column_text(statement, 9),
			.name = (const char *)sqlite3_column_text(statement, 1),
			.call_id = (const char *)sqlite3_column_text(statement, 2),
			.cseq = (uint32_t)sqlite3_column_int64(statement, 3),
			.q = sqlite3_column_int(statement, 4),
			.transport = (enum sip_transport)sqlite3_column_int(statement, 8),
			.path = (const char *)sqlite3_column_text(statement, 10),
			.instance = (const char *)sqlite3_column_text(statement, 11),
			.reg_id = (uint32_t)sqlite3_column_int64(statement, 12),
			.device = (uint64_t)sqlite3_column_int64(statement, 13),
		};
		if (!request.contact)
			request.contact = request.name;
		const char *source = (const char *)sqlite3_column_text(statement, 6),
			   *local = (const char *)sqlite3_column_text(statement, 7);
		uint64_t left_s = ((uint64_t)sqlite3_column_int64(statement, 5) - now_ms) / 1000;
		if (!request.aor || !request.contact || !request.call_id || !source || !local || left_s == 0 ||
		    left_s > UINT32_MAX || address_parse(source, 0, &request.source) < 0 ||
		    address_parse(local, 0, &request.local) < 0)
			continue;
		request.expires_s = (unsigned)left_s;
		each(userdata, &request);
	}
	sqlite3_reset(statement);
	return code == SQLITE_DONE ? 0 : -EIO;
}

/* Moves it between the list of those that wait and that of those being stored. */
static void former_ask(struct phones *phones, struct former *former, bool asked) {
	if (former->asked == asked)
		return;
	if (asked) {
		DL_DELETE2(phones->formers, former, previous, next);
		DL_APPEND2(phones->asked, former, previous, next);
		phones->asked_count++;
	} else {
		DL_DELETE2(phones->asked, former, previous, next);
		DL_APPEND2(phones->formers, former, previous, next);
		phones->asked_count--;
	}
	former->asked = asked;
}

static void former_free(struct phones *phones, struct former *former) {
	former_ask(phones, former, false);
	DL_DELETE2(phones->formers, former, previous, next);
	phones->former_count--;
	if (former->hh.tbl)
		HASH_DEL(phones->by_key, former);
	free(former->key);
	free(former->aor);
	free(former->contact);
	free(former->name);
	free(former);
}

static void note_former(void *userdata, const struct sip_binding_request *request) {
	struct phones *phones = userdata;
	struct former *former = calloc(1, sizeof(*former));

	if (!former)
		return;
	former->phones = phones;
	former->aor = strdup(request->aor);
	former->contact = strdup(request->contact);
	former->name = strdup(name_of(request));
	former->until_ms = runtime_realtime_ms(phones->settings.runtime) + request->expires_s * UINT64_C(1000);
	DL_APPEND2(phones->formers, former, previous, next);
	phones->former_count++;
	former->key = key_of(request->aor, name_of(request));
	if (former->key)
		HASH_ADD_KEYPTR(hh, phones->by_key, former->key, strlen(former->key), former);
	if (!former->aor || !former->contact || !former->name || !former->hh.tbl)
		former_free(phones, former);
}

/* The next one is due so late that the overlay has time for calls, and so early that the last one comes within the spread. */
static void arm(struct phones *phones) {
	struct runtime *runtime = phones->settings.runtime;

	if (phones->former_count == 0)
		log_info("%llu registrations of phones were stored in the overlay again.",
			 (unsigned long long)phones->figures.restored);
	if (!phones->formers || phones->timer.armed || phones->asked_count >= PHONES_AT_ONCE)
		return;
	timer_arm_after(runtime, &phones->timer, phones->step_us / 2 + runtime_random_below(runtime, phones->step_us + 1));
}

static void on_stored_again(void *userdata, unsigned status, const char *reason) {
	struct former *former = userdata;
	struct phones *phones = former->phones;

	former_ask(phones, former, false);
	former->tries++;
	if (status == 200) {
		phones->figures.restored++;
		former_free(phones, former);
	} else if (status != 503 || former->tries == PHONES_TRIES) {
		log_warning("The registration of %s as %s was not stored again: %s", former->contact, former->aor,
			    reason ? reason : "no reason given");
		former_free(phones, former);
	}
	arm(phones);
}

static void on_timer(struct timer *timer, void *userdata) {
	struct phones *phones = userdata;
	struct former *former = phones->formers;
	uint64_t now_ms = runtime_realtime_ms(phones->settings.runtime);

	(void)timer;
	if (former->until_ms < now_ms + 1000) {
		former_free(phones, former);
		arm(phones);
		return;
	}
	const struct sip_binding_request request = {.aor = former->aor,
						    .contact = former->contact,
						    .name = former->name,
						    .expires_s = (unsigned)((former->until_ms - now_ms) / 1000)};
	former_ask(phones, former, true);
	phones->settings.bind(phones->settings.userdata, &request, on_stored_again, former);
	arm(phones);
}

void phones_store_again(struct phones *phones) {
	if (phones->again)
		return;
	uint64_t all_us = PHONES_SPREAD_SECONDS * USEC_PER_SEC;
	phones->again = true;
	phones->step_us = PHONES_STEP_MS * USEC_PER_MSEC;
	if (phones->former_count * phones->step_us > all_us)
		phones->step_us = all_us / phones->former_count;
	if (phones->former_count > 0)
		arm(phones);
}

struct phones_figures phones_figures(const struct phones *phones) {
	struct phones_figures figures = phones->figures;

	figures.restore_left = phones->former_count;
	return figures;
}

int phones_new(const struct phones_settings *settings, struct phones **ret, char reason[static PHONES_REASON_SIZE]) {
	struct phones *phones = calloc(1, sizeof(*phones));

	if (!phones)
		return -ENOMEM;
	phones->settings = *settings;
	phones->settings.path = NULL;
	timer_init(&phones->timer, on_timer, phones);
	int error = database_open(phones, settings->path);
	if (error < 0 && phones->database && damaged(phones))
		error = database_replace(phones, settings->path);
	if (error == 0)
		error = phones_each(phones, note_former, phones);
	if (error < 0) {
		snprintf(reason, PHONES_REASON_SIZE, "The database of phones %.200s cannot be used: %.200s.", settings->path,
			 phones->database ? sqlite3_errmsg(phones->database) : strerror(-error));
		phones_free(phones);
		return error;
	}
	*ret = phones;
	return 0;
}

struct phones *phones_free(struct phones *phones) {
	if (!phones)
		return NULL;
	phones_commit(phones);
	timer_disarm(phones->settings.runtime, &phones->timer);
	while (phones->formers)
		former_free(phones, phones->formers);
	database_close(phones);
	free(phones);
	return NULL;
}
