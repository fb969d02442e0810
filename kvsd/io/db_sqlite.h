/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQLite: the only file that includes its header. A thin layer that fixes
 * what must never be left to defaults (locking, journal, durability) and turns
 * result codes into errnos:
 *
 *	-ENOSPC		the disk or max_page_count is full
 *	-EUCLEAN	damaged, or not a database
 *	-EBUSY		another process has it
 *	-EEXIST		a constraint (unique) says no
 *	-ENOMEM, -EIO	(anything else)
 *
 * One thread at a time per database. The library's texts are logged at debug
 * level; they never hold bound values.
 */
#ifndef IO_DB_SQLITE_H
#define IO_DB_SQLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct db;
struct db_stmt;

enum db_kind {
	DB_INDEX,	/* WAL, synchronous=NORMAL: rebuildable */
	DB_CATALOG,	/* WAL, synchronous=FULL, secure_delete */
};

/**
 * db_open() - open a database file for this process alone
 * @create: make it when it is not there
 *
 * Return: 0, -ENOENT (not there and not @create), another errno of opening
 * the file, or as above.
 */
int db_open(const char *path, enum db_kind kind, bool create,
	    struct db **ret_db) MUST_CHECK;
/*
 * For reading only: nothing is written, not even what is in its log into the
 * database, and nothing is locked. Nobody else may have it open.
 */
int db_open_readonly(const char *path, struct db **ret_db) MUST_CHECK;
/* Statements must have been freed. Accepts NULL, returns NULL. */
struct db *db_close(struct db *db);
DEFINE_AUTO(db_close, struct db *)

/* Runs statements without results. */
int db_exec(struct db *db, const char *sql) MUST_CHECK;
/*
 * Runs a pragma or query and compares its first column with @expect.
 * Return: 0, -EUCLEAN (it is another), -EIO (an integrity check could not read
 * what it was to check), or the statement's error.
 */
int db_expect(struct db *db, const char *sql, const char *expect) MUST_CHECK;
/* Rows that the last statement changed. */
uint64_t db_changes(struct db *db);
/* Whether a transaction is open (an error may have rolled it back). */
bool db_in_transaction(struct db *db);
/* Ends a transaction if one is open. */
void db_rollback(struct db *db);
/*
 * Moves the log into the database file and syncs both; the log is empty
 * afterwards.
 */
int db_checkpoint(struct db *db) MUST_CHECK;

int db_prepare(struct db *db, const char *sql,
	       struct db_stmt **ret_stmt) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct db_stmt *db_stmt_free(struct db_stmt *s);
DEFINE_AUTO(db_stmt_free, struct db_stmt *)

/*
 * Binds parameter @i (1-based). Blobs and texts must live until the statement
 * is reset. A failure is kept and returned by the next db_step().
 */
void db_bind_int(struct db_stmt *s, int i, int64_t value);
void db_bind_blob(struct db_stmt *s, int i, const void *bytes, size_t len);
void db_bind_text(struct db_stmt *s, int i, const char *text);

/* Return: 1 (a row), 0 (the end), or an error; then reset it. */
int db_step(struct db_stmt *s) MUST_CHECK;
/* Ready to be stepped again, with nothing bound. */
void db_reset(struct db_stmt *s);
/* Steps a statement that gives no rows, and resets it. */
int db_run(struct db_stmt *s) MUST_CHECK;

/* Columns of the current row, 0-based; valid until the next step. */
int64_t db_int(struct db_stmt *s, int i);
/* NULL and 0 for an empty or NULL value. */
const void *db_blob(struct db_stmt *s, int i, size_t *ret_len);
/* Copies a blob of exactly @len bytes. Return: 0, -EUCLEAN. */
int db_blob_exact(struct db_stmt *s, int i, void *out, size_t len) MUST_CHECK;
/* "" for NULL. */
const char *db_text(struct db_stmt *s, int i);

#endif
