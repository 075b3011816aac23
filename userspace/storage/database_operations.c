/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions of storage/database.h: each leads to the implementation the database was opened with. */
#include "storage/database_operations.h"

uint32_t record_lifetime_left(uint64_t received_ms, uint32_t lifetime_s, uint64_t now_ms) {
	uint64_t held_s = now_ms > received_ms ? (now_ms - received_ms) / 1000 : 0;

	return held_s < lifetime_s ? (uint32_t)(lifetime_s - held_s) : 0;
}

struct record_database *record_database_close(struct record_database *database) {
	return database ? database->operations->close(database) : NULL;
}

const char *record_database_reason(const struct record_database *database) {
	return database->reason;
}

struct record_totals record_database_totals(const struct record_database *database) {
	return database->totals;
}

int record_database_limit_pages(struct record_database *database, uint32_t pages) {
	return database->operations->limit_pages(database, pages);
}

int record_database_begin(struct record_database *database) {
	return database->operations->begin(database);
}

int record_database_commit(struct record_database *database) {
	return database->operations->commit(database);
}

void record_database_rollback(struct record_database *database) {
	database->operations->rollback(database);
}

bool record_database_in_transaction(const struct record_database *database) {
	return database->operations->in_transaction(database);
}

int record_database_savepoint(struct record_database *database) {
	return database->operations->savepoint(database);
}

int record_database_release(struct record_database *database) {
	return database->operations->release(database);
}

void record_database_undo(struct record_database *database) {
	database->operations->undo(database);
}

int record_head(struct record_database *database, const struct id *resource_id, uint32_t kind, struct octets key, bool exists,
		struct octets value, struct record_head *ret) {
	return database->operations->head(database, resource_id, kind, key, exists, value, ret);
}

int record_put(struct record_database *database, const struct record *record, const struct record_head *head) {
	return database->operations->put(database, record, head);
}

int record_visit(struct record_database *database, const struct id *resource_id, uint32_t kind, const struct octets *first,
		 const struct octets *last, uint64_t now_ms, record_visitor visitor, void *userdata) {
	return database->operations->visit(database, resource_id, kind, first, last, now_ms, visitor, userdata);
}

int record_count(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t now_ms,
		 struct record_counts *ret) {
	return database->operations->count(database, resource_id, kind, now_ms, ret);
}

int record_closest(struct record_database *database, uint32_t kind, const struct id *from, uint64_t now_ms, struct id *ret) {
	return database->operations->closest(database, kind, from, now_ms, ret);
}

int record_expire(struct record_database *database, uint64_t now_ms, unsigned limit, uint64_t *ret_next_ms) {
	return database->operations->expire(database, now_ms, limit, ret_next_ms);
}

int record_discard(struct record_database *database, const struct id *resource_id, uint32_t kind) {
	return database->operations->discard(database, resource_id, kind);
}

int record_rebase(struct record_database *database, uint64_t now_ms) {
	return database->operations->rebase(database, now_ms);
}

int record_kind_get(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *ret) {
	return database->operations->kind_get(database, resource_id, kind, ret);
}

int record_kind_put(struct record_database *database, const struct record_kind *kind) {
	return database->operations->kind_put(database, kind);
}

int record_kind_own(struct record_database *database, const struct id *resource_id, uint32_t kind, uint64_t generation,
		    bool owned) {
	return database->operations->kind_own(database, resource_id, kind, generation, owned);
}

int record_kinds(struct record_database *database, const struct id *resource_id, uint32_t kind, struct record_kind *out,
		 size_t max) {
	return database->operations->kinds(database, resource_id, kind, out, max);
}

int record_certificate_put(struct record_database *database, const struct certificate *certificate, int64_t *ret) {
	return database->operations->certificate_put(database, certificate, ret);
}

int record_certificate_next(struct record_database *database, int64_t after, int64_t *ret, struct writer *w) {
	return database->operations->certificate_next(database, after, ret, w);
}

int record_discard_signed(struct record_database *database, int64_t certificate) {
	return database->operations->discard_signed(database, certificate);
}

int record_certificate_get(struct record_database *database, int64_t certificate, struct writer *w) {
	return database->operations->certificate_get(database, certificate, w);
}
