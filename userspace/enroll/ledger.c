/* SPDX-License-Identifier: BSD-2-Clause */
#include "enroll/ledger.h"

#include "enroll/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/rand.h>
#include <sqlite3.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { BUSY_MS = 5000, SCHEMA_VERSION = 2, STATEMENTS_KEPT = 32 };

/* Statements are compiled once; each is known by where its text lies, and nobody uses the same one within another's use of it. */
struct ledger {
	sqlite3 *database;
	struct {
		const char *sql;
		sqlite3_stmt *statement;
	} kept[STATEMENTS_KEPT];
	size_t kept_count;
};

/* What was bound is the caller's memory, and a read that is not ended would hold up checkpoints. */
static void statement_release(sqlite3_stmt *statement) {
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
}
DEFINE_CLEANUP(sqlite3_stmt *, statement_release)

static const char schema[] =
	"BEGIN IMMEDIATE;"
	"CREATE TABLE IF NOT EXISTS user (name TEXT PRIMARY KEY, password TEXT NOT NULL, disabled INTEGER NOT NULL DEFAULT 0,"
	" node_ids_max INTEGER NOT NULL, failures INTEGER NOT NULL DEFAULT 0, locked_until_ms INTEGER NOT NULL DEFAULT 0,"
	" created_ms INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS node_id (id BLOB PRIMARY KEY, user TEXT NOT NULL REFERENCES user (name), position INTEGER NOT "
	"NULL,"
	" revoked INTEGER NOT NULL DEFAULT 0, UNIQUE (user, position)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS certificate (number INTEGER PRIMARY KEY, user TEXT NOT NULL REFERENCES user (name),"
	" sha256 BLOB NOT NULL UNIQUE, issued_ms INTEGER NOT NULL, not_before_ms INTEGER NOT NULL, not_after_ms INTEGER NOT NULL,"
	" source TEXT NOT NULL, der BLOB NOT NULL);"
	"CREATE INDEX IF NOT EXISTS certificate_of_user ON certificate (user, not_after_ms);"
	"CREATE TABLE IF NOT EXISTS voucher (account TEXT PRIMARY KEY REFERENCES user (name), scope TEXT NOT NULL,"
	" users_max INTEGER NOT NULL, node_ids_max INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS vouched (user TEXT PRIMARY KEY REFERENCES user (name),"
	" account TEXT NOT NULL REFERENCES user (name)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS vouched_by ON vouched (account);"
	"PRAGMA user_version = 2;"
	"COMMIT;";

static int fail(char *reason, int error, const char *path, const char *text) {
	snprintf(reason, PROVISION_REASON_SIZE, "The ledger %.300s cannot be opened: %.120s.", path, text);
	return error;
}

static int run(struct ledger *ledger, const char *sql) {
	int status = sqlite3_exec(ledger->database, sql, NULL, NULL, NULL);

	return status == SQLITE_OK ? 0 : status == SQLITE_BUSY ? -EBUSY : -EIO;
}

/* The statement is the ledger's; it is given back with statement_release(). -ENOSPC: STATEMENTS_KEPT is too small for this file. */
static int prepare(struct ledger *ledger, const char *sql, sqlite3_stmt **ret) {
	sqlite3_stmt *statement;

	for (size_t i = 0; i < ledger->kept_count; i++)
		if (ledger->kept[i].sql == sql) {
			*ret = ledger->kept[i].statement;
			return 0;
		}
	if (ledger->kept_count == STATEMENTS_KEPT)
		return -ENOSPC;
	if (sqlite3_prepare_v3(ledger->database, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL) != SQLITE_OK)
		return -EIO;
	ledger->kept[ledger->kept_count].sql = sql;
	ledger->kept[ledger->kept_count++].statement = statement;
	*ret = statement;
	return 0;
}

/* Runs a statement without rows; -ENOENT when it changed nothing. */
static int finish(struct ledger *ledger, sqlite3_stmt *statement) {
	int status = sqlite3_step(statement);

	if (status == SQLITE_CONSTRAINT)
		return -EEXIST;
	if (status != SQLITE_DONE)
		return status == SQLITE_BUSY ? -EBUSY : -EIO;
	return sqlite3_changes(ledger->database) > 0 ? 0 : -ENOENT;
}

static void bind_text(sqlite3_stmt *statement, int place, const char *text) {
	sqlite3_bind_text(statement, place, text, -1, SQLITE_STATIC);
}

/* ---- opening ---- */

/* The owner of the directory is who the server runs as; ringgatectl may run as root. */
static int make_file(const char *directory, const char *path) {
	struct stat status;
	_cleanup_close_ int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? 0 : -errno;
	if (stat(directory, &status) < 0)
		return -errno;
	return geteuid() == 0 && fchown(fd, status.st_uid, status.st_gid) < 0 ? -errno : 0;
}

static int user_version(struct ledger *ledger) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	if (prepare(ledger, "PRAGMA user_version", &statement) < 0 || sqlite3_step(statement) != SQLITE_ROW)
		return -EIO;
	return sqlite3_column_int(statement, 0);
}

int ledger_open(const char *directory, bool must_exist, struct ledger **ret, char reason[static PROVISION_REASON_SIZE]) {
	_cleanup_(ledger_closep) struct ledger *ledger = calloc(1, sizeof(*ledger));
	char path[PATH_MAX];

	if (!ledger)
		return fail(reason, -ENOMEM, directory, "out of memory");
	if (snprintf(path, sizeof(path), "%s/ledger.db", directory) >= (int)sizeof(path))
		return fail(reason, -ENAMETOOLONG, directory, "the path is too long");
	if (must_exist && access(path, F_OK) < 0)
		return fail(reason, -errno, path, strerror(errno));
	int error = make_file(directory, path);
	if (error < 0)
		return fail(reason, error, path, strerror(-error));
	if (sqlite3_open_v2(path, &ledger->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
		return fail(reason, -EIO, path, sqlite3_errmsg(ledger->database));
	sqlite3_busy_timeout(ledger->database, BUSY_MS);
	/* A Node-ID or certificate somebody was given must not be forgotten in a power cut. */
	error = run(ledger, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;");
	int version = error < 0 ? error : user_version(ledger);
	if (version > SCHEMA_VERSION)
		return fail(reason, -EOPNOTSUPP, path, "a newer version wrote it");
	if (version < SCHEMA_VERSION && (version < 0 || run(ledger, schema) < 0))
		return fail(reason, -EIO, path, sqlite3_errmsg(ledger->database));
	*ret = TAKE(ledger);
	return 0;
}

struct ledger *ledger_close(struct ledger *ledger) {
	if (!ledger)
		return NULL;
	for (size_t i = 0; i < ledger->kept_count; i++)
		sqlite3_finalize(ledger->kept[i].statement);
	sqlite3_close(ledger->database);
	free(ledger);
	return NULL;
}

static int run_kept(struct ledger *ledger, const char *sql) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(ledger, sql, &statement);
	if (error < 0)
		return error;
	int status = sqlite3_step(statement);
	return status == SQLITE_DONE ? 0 : status == SQLITE_BUSY ? -EBUSY : -EIO;
}

int ledger_begin(struct ledger *ledger) {
	return run_kept(ledger, "BEGIN IMMEDIATE");
}

int ledger_commit(struct ledger *ledger) {
	return run_kept(ledger, "COMMIT");
}

void ledger_rollback(struct ledger *ledger) {
	if (!sqlite3_get_autocommit(ledger->database))
		(void)run(ledger, "ROLLBACK");
}

/* ---- accounts ---- */

bool ledger_name_usable(struct octets name) {
	return account_name_usable(name);
}

static long long count_users(struct ledger *ledger) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	if (prepare(ledger, "SELECT count(*) FROM user", &statement) < 0 || sqlite3_step(statement) != SQLITE_ROW)
		return -EIO;
	return sqlite3_column_int64(statement, 0);
}

int ledger_user_add(struct ledger *ledger, const char *name, const char *password, unsigned node_ids_max, uint64_t now_ms) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;
	long long count = count_users(ledger);

	if (count < 0 || count >= LEDGER_USERS_MAX)
		return count < 0 ? (int)count : -E2BIG;
	int error =
		prepare(ledger, "INSERT INTO user (name, password, node_ids_max, created_ms) VALUES (?1, ?2, ?3, ?4)", &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	bind_text(statement, 2, password);
	sqlite3_bind_int64(statement, 3, node_ids_max);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)now_ms);
	return finish(ledger, statement);
}

#define USER_COLUMNS                                                                                                               \
	"SELECT name, password, disabled, node_ids_max, failures, created_ms,"                                                     \
	" (SELECT count(*) FROM node_id WHERE user = name), (SELECT count(*) FROM certificate WHERE user = name),"                 \
	" (SELECT max(not_after_ms) FROM certificate WHERE user = name) FROM user "

static void read_user(sqlite3_stmt *statement, struct ledger_user *user) {
	memset(user, 0, sizeof(*user));
	snprintf(user->name, sizeof(user->name), "%s", (const char *)sqlite3_column_text(statement, 0));
	snprintf(user->password, sizeof(user->password), "%s", (const char *)sqlite3_column_text(statement, 1));
	user->disabled = sqlite3_column_int(statement, 2) != 0;
	user->node_ids_max = (unsigned)sqlite3_column_int(statement, 3);
	user->failures = (unsigned)sqlite3_column_int(statement, 4);
	user->created_ms = (uint64_t)sqlite3_column_int64(statement, 5);
	user->node_id_count = (unsigned)sqlite3_column_int(statement, 6);
	user->certificate_count = (unsigned)sqlite3_column_int(statement, 7);
	user->expires_ms = (uint64_t)sqlite3_column_int64(statement, 8);
}

int ledger_user_get(struct ledger *ledger, const char *name, struct ledger_user *ret) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(ledger, USER_COLUMNS "WHERE name = ?1", &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	int status = sqlite3_step(statement);
	if (status == SQLITE_ROW)
		read_user(statement, ret);
	return status == SQLITE_ROW ? 0 : status == SQLITE_DONE ? -ENOENT : -EIO;
}

int ledger_user_list(struct ledger *ledger, int (*each)(void *userdata, const struct ledger_user *user), void *userdata) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;
	struct ledger_user user;
	int status = SQLITE_DONE;

	int error = prepare(ledger, USER_COLUMNS "ORDER BY name", &statement);
	while (error >= 0 && (status = sqlite3_step(statement)) == SQLITE_ROW) {
		read_user(statement, &user);
		error = each(userdata, &user);
		octets_wipe(&user, sizeof(user));
	}
	return error < 0 ? error : status == SQLITE_DONE ? 0 : -EIO;
}

static int update_user(struct ledger *ledger, const char *sql, const char *name, const char *text, long long number) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(ledger, sql, &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	if (text)
		bind_text(statement, 2, text);
	else
		sqlite3_bind_int64(statement, 2, number);
	return finish(ledger, statement);
}

int ledger_user_set_password(struct ledger *ledger, const char *name, const char *password) {
	return update_user(ledger, "UPDATE user SET password = ?2, failures = 0 WHERE name = ?1", name, password, 0);
}

int ledger_user_set_disabled(struct ledger *ledger, const char *name, bool disabled) {
	return update_user(ledger, "UPDATE user SET disabled = ?2, failures = 0 WHERE name = ?1", name, NULL, disabled);
}

int ledger_user_failed(struct ledger *ledger, const char *name) {
	return update_user(ledger, "UPDATE user SET failures = failures + 1 WHERE name = ?1", name, NULL, 0);
}

int ledger_user_succeeded(struct ledger *ledger, const char *name) {
	return update_user(ledger, "UPDATE user SET failures = 0 WHERE name = ?1", name, NULL, 0);
}

/* ---- vouchers ---- */

/* Matches no password: accounts that a voucher opened have none. */
static const char no_password[] = "!";

static bool domain_usable(const char *word, size_t length) {
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.";

	return length > 0 && strspn(word, allowed) >= length && word[0] != '.' && word[0] != '-';
}

/* The next word of a scope, or NULL; *at begins as the whole. */
static const char *next_word(const char **at, size_t *ret_length) {
	const char *word = *at + strspn(*at, " ,\t");

	*ret_length = strcspn(word, " ,\t");
	*at = word + *ret_length;
	return *ret_length > 0 ? word : NULL;
}

bool ledger_scope_usable(const char *scope) {
	size_t length, words = 0;

	if (strlen(scope) > LEDGER_SCOPE_MAX)
		return false;
	for (const char *word; (word = next_word(&scope, &length)); words++)
		if (memchr(word, '@', length) ? !account_name_usable(OCTETS(word, length)) : !domain_usable(word, length))
			return false;
	return words > 0;
}

enum covers { COVERS_NOT, COVERS_DOMAIN, COVERS_NAME };

static enum covers scope_covers(const char *scope, const char *name) {
	const char *at = strrchr(name, '@');
	enum covers covers = COVERS_NOT;
	size_t length;

	for (const char *word; at && (word = next_word(&scope, &length));) {
		if (strlen(name) == length && memcmp(word, name, length) == 0)
			return COVERS_NAME;
		if (strlen(at + 1) == length && strncasecmp(word, at + 1, length) == 0)
			covers = COVERS_DOMAIN;
	}
	return covers;
}

int ledger_voucher_set(struct ledger *ledger, const char *account, const char *scope, unsigned users_max, unsigned node_ids_max) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	if (!ledger_scope_usable(scope))
		return -EINVAL;
	int error = prepare(
		ledger,
		"INSERT INTO voucher (account, scope, users_max, node_ids_max) SELECT name, ?2, ?3, ?4 FROM user WHERE name = "
		"?1 ON CONFLICT (account) DO UPDATE SET scope = ?2, users_max = ?3, node_ids_max = ?4",
		&statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, account);
	bind_text(statement, 2, scope);
	sqlite3_bind_int64(statement, 3, users_max);
	sqlite3_bind_int64(statement, 4, node_ids_max);
	return finish(ledger, statement);
}

int ledger_voucher_get(struct ledger *ledger, const char *account, struct ledger_voucher *ret) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(
		ledger,
		"SELECT scope, users_max, node_ids_max, (SELECT count(*) FROM vouched WHERE vouched.account = voucher.account)"
		" FROM voucher WHERE account = ?1",
		&statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, account);
	int status = sqlite3_step(statement);
	if (status != SQLITE_ROW)
		return status == SQLITE_DONE ? -ENOENT : -EIO;
	snprintf(ret->scope, sizeof(ret->scope), "%s", (const char *)sqlite3_column_text(statement, 0));
	ret->users_max = (unsigned)sqlite3_column_int(statement, 1);
	ret->node_ids_max = (unsigned)sqlite3_column_int(statement, 2);
	ret->users = (unsigned)sqlite3_column_int64(statement, 3);
	return 0;
}

/* 1 when the account opened that of `name`, else 0. */
static int vouched_for(struct ledger *ledger, const char *account, const char *name) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(ledger, "SELECT count(*) FROM vouched WHERE user = ?1 AND account = ?2", &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	bind_text(statement, 2, account);
	return sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int(statement, 0) : -EIO;
}

static int open_vouched(struct ledger *ledger, const char *account, const char *name, unsigned node_ids_max, uint64_t now_ms) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = ledger_user_add(ledger, name, no_password, node_ids_max, now_ms);
	if (error == 0)
		error = prepare(ledger, "INSERT INTO vouched (user, account) VALUES (?1, ?2)", &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	bind_text(statement, 2, account);
	return finish(ledger, statement);
}

int ledger_voucher_use(struct ledger *ledger, const char *account, const char *name, uint64_t now_ms) {
	struct ledger_voucher voucher;
	struct ledger_user user;

	int error = ledger_voucher_get(ledger, account, &voucher);
	if (error < 0)
		return error == -ENOENT ? -EACCES : error;
	enum covers covers = scope_covers(voucher.scope, name);
	if (covers == COVERS_NOT)
		return -EACCES;
	error = ledger_user_get(ledger, name, &user);
	if (error == 0) {
		octets_wipe(user.password, sizeof(user.password));
		int vouched = covers == COVERS_NAME ? 1 : vouched_for(ledger, account, name);
		return vouched < 0 ? vouched : vouched > 0 ? 0 : -EEXIST;
	}
	if (error != -ENOENT)
		return error;
	return voucher.users >= voucher.users_max ? -E2BIG : open_vouched(ledger, account, name, voucher.node_ids_max, now_ms);
}

/* ---- Node-IDs ---- */

static int existing_node_ids(struct ledger *ledger, const char *name, unsigned count, struct id *ids, unsigned *ret_found) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;
	unsigned found = 0;
	int status = SQLITE_DONE;

	int error =
		prepare(ledger, "SELECT id FROM node_id WHERE user = ?1 AND revoked = 0 ORDER BY position LIMIT ?2", &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	sqlite3_bind_int64(statement, 2, count);
	while (found < count && (status = sqlite3_step(statement)) == SQLITE_ROW) {
		ids[found] = id_of(OCTETS(sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0)));
		if (id_is_none(&ids[found++]))
			return -EIO;
	}
	if (status != SQLITE_ROW && status != SQLITE_DONE)
		return -EIO;
	*ret_found = found;
	return 0;
}

int ledger_node_ids_held(struct ledger *ledger, const char *name, struct id ret[static CERTIFICATE_NODE_IDS_MAX],
			 unsigned *ret_count) {
	return existing_node_ids(ledger, name, CERTIFICATE_NODE_IDS_MAX, ret, ret_count);
}

static int new_node_id(struct ledger *ledger, const char *name, struct id *ret) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;
	struct id id = {.length = ID_LENGTH_CHORD};

	do
		if (RAND_bytes(id.octets, ID_LENGTH_CHORD) != 1) /* B-11.3-05 */
			return -EIO;
	while (id_is_zero(&id) || id_is_wildcard(&id));
	int error = prepare(ledger,
			    "INSERT INTO node_id (id, user, position) VALUES (?1, ?2,"
			    " (SELECT coalesce(max(position), 0) + 1 FROM node_id WHERE user = ?2))",
			    &statement);
	if (error < 0)
		return error;
	sqlite3_bind_blob(statement, 1, id.octets, id.length, SQLITE_STATIC);
	bind_text(statement, 2, name);
	error = finish(ledger, statement);
	if (error == 0)
		*ret = id;
	return error;
}

int ledger_node_ids(struct ledger *ledger, const char *name, unsigned count, struct id *ret) {
	unsigned found = 0;

	int error = existing_node_ids(ledger, name, count, ret, &found);
	while (error >= 0 && found < count)
		error = new_node_id(ledger, name, &ret[found++]);
	return error;
}

int ledger_certificate_add(struct ledger *ledger, const char *name, const struct certificate *certificate, const char *source,
			   uint64_t now_ms) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(ledger,
			    "INSERT INTO certificate (user, sha256, issued_ms, not_before_ms, not_after_ms, source, der)"
			    " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
			    &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	sqlite3_bind_blob(statement, 2, certificate->sha256, sizeof(certificate->sha256), SQLITE_STATIC);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)now_ms);
	sqlite3_bind_int64(statement, 4, (sqlite3_int64)certificate->not_before_ms);
	sqlite3_bind_int64(statement, 5, (sqlite3_int64)certificate->not_after_ms);
	bind_text(statement, 6, source);
	sqlite3_bind_blob(statement, 7, certificate->der, (int)certificate->der_length, SQLITE_STATIC);
	return finish(ledger, statement);
}

/* ---- what an account got ---- */

bool ledger_user_enrolled_from(struct ledger *ledger, const char *name, const struct address *address) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;
	struct address wanted = guard_network(address), source;

	if (prepare(ledger, "SELECT source FROM certificate WHERE user = ?1 ORDER BY not_after_ms DESC LIMIT ?2", &statement) < 0)
		return false;
	bind_text(statement, 1, name);
	sqlite3_bind_int64(statement, 2, LEDGER_CERTIFICATES_LOOKED);
	while (sqlite3_step(statement) == SQLITE_ROW) {
		char text[ADDRESS_TEXT_SIZE];
		const char *host = (const char *)sqlite3_column_text(statement, 0);
		snprintf(text, sizeof(text), strchr(host, ':') ? "[%s]" : "%s", host);
		if (address_parse(text, 0, &source) < 0)
			continue;
		source = guard_network(&source);
		if (address_equal(&source, &wanted))
			return true;
	}
	return false;
}

int ledger_user_issued(struct ledger *ledger, const char *name, uint64_t since_ms, unsigned *ret) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(ledger, "SELECT count(*) FROM certificate WHERE user = ?1 AND issued_ms >= ?2", &statement);
	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)since_ms);
	if (sqlite3_step(statement) != SQLITE_ROW)
		return -EIO;
	*ret = (unsigned)sqlite3_column_int64(statement, 0);
	return 0;
}

static int count_revoked(struct ledger *ledger, const struct certificate *certificate, unsigned *ret) {
	unsigned revoked = 0;

	for (size_t i = 0; i < certificate->node_id_count; i++) {
		_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;
		int error = prepare(ledger, "SELECT count(*) FROM node_id WHERE id = ?1 AND revoked = 0", &statement);
		if (error < 0)
			return error;
		sqlite3_bind_blob(statement, 1, certificate->node_ids[i].octets, certificate->node_ids[i].length, SQLITE_STATIC);
		if (sqlite3_step(statement) != SQLITE_ROW)
			return -EIO;
		revoked += sqlite3_column_int(statement, 0) == 0;
	}
	*ret = revoked;
	return 0;
}

int ledger_certificate_for(struct ledger *ledger, const char *name, EVP_PKEY *key, uint64_t now_ms, unsigned *ret_node_ids) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;
	int status, error = prepare(ledger,
				    "SELECT der FROM certificate WHERE user = ?1 AND not_before_ms <= ?2 AND not_after_ms > ?2"
				    " ORDER BY not_after_ms DESC LIMIT ?3",
				    &statement);

	if (error < 0)
		return error;
	bind_text(statement, 1, name);
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)now_ms);
	sqlite3_bind_int64(statement, 3, LEDGER_CERTIFICATES_LOOKED);
	while ((status = sqlite3_step(statement)) == SQLITE_ROW) {
		_cleanup_(certificate_unrefp) struct certificate *certificate = NULL;
		unsigned revoked = 0;
		struct octets der = OCTETS(sqlite3_column_blob(statement, 0), (size_t)sqlite3_column_bytes(statement, 0));
		error = certificate_from_der(der, NULL, ID_LENGTH_CHORD, &certificate, NULL);
		if (error == 0 && EVP_PKEY_eq(certificate->key, key) == 1 &&
		    (error = count_revoked(ledger, certificate, &revoked)) == 0 && revoked == 0) {
			*ret_node_ids = (unsigned)certificate->node_id_count;
			return 0;
		}
		if (error < 0)
			return error;
	}
	return status == SQLITE_DONE ? -ENOENT : -EIO;
}

int ledger_revoke(struct ledger *ledger, const struct id *node_id, char name[static USER_NAME_MAX + 1]) {
	_cleanup_(statement_releasep) sqlite3_stmt *statement = NULL;

	int error = prepare(ledger, "UPDATE node_id SET revoked = 1 WHERE id = ?1 RETURNING user", &statement);
	if (error < 0)
		return error;
	sqlite3_bind_blob(statement, 1, node_id->octets, node_id->length, SQLITE_STATIC);
	int status = sqlite3_step(statement);
	if (status != SQLITE_ROW)
		return status == SQLITE_DONE ? -ENOENT : -EIO;
	snprintf(name, USER_NAME_MAX + 1, "%s", (const char *)sqlite3_column_text(statement, 0));
	if (sqlite3_step(statement) != SQLITE_DONE)
		return -EIO;
	return ledger_user_set_disabled(ledger, name, true);
}
