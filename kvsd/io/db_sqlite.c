/* SPDX-License-Identifier: Apache-2.0 */
#include "io/db_sqlite.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <sqlite3.h>

#include "base/log.h"

#define URI_BYTES 16384 /* three characters for one of a path */

struct db {
	sqlite3 *lite;
};

struct db_stmt {
	sqlite3_stmt *lite;
	int bind_result;
};

static int to_errno(sqlite3 *lite, int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return 0;
	log_debug("sqlite", "%s (%d)",
		  lite ? sqlite3_errmsg(lite) : sqlite3_errstr(rc),
		  lite ? sqlite3_extended_errcode(lite) : rc);
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

int db_exec(struct db *db, const char *sql)
{
	return to_errno(db->lite,
			sqlite3_exec(db->lite, sql, NULL, NULL, NULL));
}

/* Integrity checks tell a page that cannot be read now as one that is bad. */
static int told_error(const char *text)
{
	const char *code = strstr(text, "error code=");

	if (code && (strtoul(code + 11, NULL, 10) & 0xff) == SQLITE_IOERR)
		return -EIO;
	return -EUCLEAN;
}

int db_expect(struct db *db, const char *sql, const char *expect)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db, sql, &s);
	if (r < 0)
		return r;
	r = db_step(s);
	if (r == 0)
		r = -EUCLEAN;
	else if (r == 1)
		r = strcmp(db_text(s, 0), expect) ? told_error(db_text(s, 0))
						  : 0;
	(void)db_stmt_free(s);
	return r;
}

/* Each pragma is set here because builds differ in their defaults. */
static int set_pragmas(struct db *db, enum db_kind kind)
{
	int r;

	r = db_exec(db, "PRAGMA locking_mode=EXCLUSIVE;"
			"PRAGMA temp_store=MEMORY;"
			"PRAGMA mmap_size=0;"
			"PRAGMA trusted_schema=OFF;"
			"PRAGMA cell_size_check=ON;");
	if (r == 0)
		r = db_expect(db, "PRAGMA journal_mode=WAL", "wal");
	if (r == 0 && kind == DB_INDEX)
		r = db_exec(db, "PRAGMA synchronous=NORMAL;"
				"PRAGMA secure_delete=OFF;"
				"PRAGMA cache_size=-8192;"
				"PRAGMA wal_autocheckpoint=1000;"
				"PRAGMA journal_size_limit=16777216;");
	if (r == 0 && kind == DB_CATALOG)
		r = db_exec(db, "PRAGMA synchronous=FULL;"
				"PRAGMA secure_delete=ON;"
				"PRAGMA cache_size=-1024;"
				"PRAGMA wal_autocheckpoint=100;"
				"PRAGMA journal_size_limit=0;");
	return r;
}

/* Return: 0; @path may be a URI. */
static int open_file(const char *path, int flags, const char *vfs,
		     struct db **ret_db)
{
	struct db *db = calloc(1, sizeof(*db));
	int rc;
	int r;

	if (!db)
		return -ENOMEM;
	rc = sqlite3_open_v2(path, &db->lite,
			     flags | SQLITE_OPEN_NOMUTEX |
				     SQLITE_OPEN_PRIVATECACHE |
				     SQLITE_OPEN_EXRESCODE,
			     vfs);
	r = to_errno(db->lite, rc);
	/* Missing is one thing; another is what must not be replaced. */
	if ((rc & 0xff) == SQLITE_CANTOPEN && db->lite &&
	    sqlite3_system_errno(db->lite))
		r = -sqlite3_system_errno(db->lite);
	*ret_db = db;
	return r;
}

int db_open(const char *path, enum db_kind kind, bool create,
	    struct db **ret_db)
{
	struct db *db = NULL;
	int r;

	r = open_file(path,
		      SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0),
		      NULL, &db);
	if (r == 0) {
		(void)sqlite3_busy_timeout(db->lite, 5000);
		r = set_pragmas(db, kind);
	}
	if (r < 0) {
		(void)db_close(db);
		return r;
	}
	*ret_db = db;
	return 0;
}

/* Return: 0, -ENAMETOOLONG. */
static int uri_of(const char *path, const char *query, char *out, size_t size)
{
	static const char digits[] = "0123456789ABCDEF";
	char *p = out;
	char *end = out + size - strlen(query) - 4;

	p = stpcpy(p, "file:");
	for (; *path && p < end; path++) {
		unsigned char c = (unsigned char)*path;

		if (isalnum(c) || strchr("/._-", c)) {
			*p++ = (char)c;
			continue;
		}
		*p++ = '%';
		*p++ = digits[c >> 4];
		*p++ = digits[c & 15];
	}
	if (*path || p >= end)
		return -ENAMETOOLONG;
	(void)stpcpy(p, query);
	return 0;
}

/*
 * A log is read where there is one; SQLite would make one where there is
 * none, save for a database that it is told cannot change.
 */
int db_open_readonly(const char *path, struct db **ret_db)
{
	char uri[URI_BYTES];
	struct db *db = NULL;
	struct stat st;
	int n;
	int r;

	n = snprintf(uri, sizeof(uri), "%s-wal", path);
	if (n < 0 || n >= (int)sizeof(uri))
		return -ENAMETOOLONG;
	r = uri_of(path,
		   stat(uri, &st) == 0 && st.st_size ? "?mode=ro"
						     : "?mode=ro&immutable=1",
		   uri, sizeof(uri));
	if (r < 0)
		return r;
	/* Without locks: they would need a descriptor for writing. */
	r = open_file(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, "unix-none",
		      &db);
	if (r == 0 &&
	    sqlite3_db_config(db->lite, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1,
			      NULL) != SQLITE_OK)
		r = -EIO;
	if (r == 0)
		r = db_exec(db, "PRAGMA locking_mode=EXCLUSIVE;"
				"PRAGMA temp_store=MEMORY;"
				"PRAGMA mmap_size=0;"
				"PRAGMA trusted_schema=OFF;"
				"PRAGMA cell_size_check=ON;");
	if (r < 0) {
		(void)db_close(db);
		return r;
	}
	*ret_db = db;
	return 0;
}

struct db *db_close(struct db *db)
{
	if (!db)
		return NULL;
	if (sqlite3_close(db->lite) != SQLITE_OK)
		abort(); /* a statement was left behind */
	free(db);
	return NULL;
}

uint64_t db_changes(struct db *db)
{
	return (uint64_t)sqlite3_changes64(db->lite);
}

bool db_in_transaction(struct db *db)
{
	return !sqlite3_get_autocommit(db->lite);
}

void db_rollback(struct db *db)
{
	/* One that fails is over, too: SQLite undoes it when it reads next. */
	if (db_in_transaction(db) && db_exec(db, "ROLLBACK") < 0)
		log_debug("sqlite", "rollback failed");
}

int db_checkpoint(struct db *db)
{
	return to_errno(db->lite,
			sqlite3_wal_checkpoint_v2(db->lite, NULL,
						  SQLITE_CHECKPOINT_TRUNCATE,
						  NULL, NULL));
}

int db_prepare(struct db *db, const char *sql, struct db_stmt **ret_stmt)
{
	struct db_stmt *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = to_errno(db->lite,
		     sqlite3_prepare_v3(db->lite, sql, -1,
					SQLITE_PREPARE_PERSISTENT, &s->lite,
					NULL));
	if (r < 0) {
		free(s);
		return r;
	}
	*ret_stmt = s;
	return 0;
}

struct db_stmt *db_stmt_free(struct db_stmt *s)
{
	if (!s)
		return NULL;
	(void)sqlite3_finalize(s->lite); /* repeats the last step's error */
	free(s);
	return NULL;
}

static void note_bind(struct db_stmt *s, int rc)
{
	if (rc != SQLITE_OK)
		s->bind_result = rc;
}

void db_bind_int(struct db_stmt *s, int i, int64_t value)
{
	note_bind(s, sqlite3_bind_int64(s->lite, i, value));
}

void db_bind_blob(struct db_stmt *s, int i, const void *bytes, size_t len)
{
	note_bind(s, sqlite3_bind_blob64(s->lite, i, bytes, len,
					 SQLITE_STATIC));
}

void db_bind_text(struct db_stmt *s, int i, const char *text)
{
	note_bind(s, sqlite3_bind_text(s->lite, i, text, -1, SQLITE_STATIC));
}

int db_step(struct db_stmt *s)
{
	sqlite3 *lite = sqlite3_db_handle(s->lite);
	int rc;

	if (s->bind_result != SQLITE_OK)
		return to_errno(NULL, s->bind_result);
	rc = sqlite3_step(s->lite);
	return rc == SQLITE_ROW ? 1 : to_errno(lite, rc);
}

void db_reset(struct db_stmt *s)
{
	(void)sqlite3_reset(s->lite); /* repeats the last step's error */
	(void)sqlite3_clear_bindings(s->lite);
	s->bind_result = SQLITE_OK;
}

int db_run(struct db_stmt *s)
{
	int r = db_step(s);

	db_reset(s);
	return r < 0 ? r : 0;
}

int64_t db_int(struct db_stmt *s, int i)
{
	return sqlite3_column_int64(s->lite, i);
}

const void *db_blob(struct db_stmt *s, int i, size_t *ret_len)
{
	const void *bytes = sqlite3_column_blob(s->lite, i);

	*ret_len = bytes ? (size_t)sqlite3_column_bytes(s->lite, i) : 0;
	return bytes;
}

int db_blob_exact(struct db_stmt *s, int i, void *out, size_t len)
{
	size_t n;
	const void *bytes = db_blob(s, i, &n);

	if (n != len)
		return -EUCLEAN;
	memcpy(out, bytes, len);
	return 0;
}

const char *db_text(struct db_stmt *s, int i)
{
	const char *text = (const char *)sqlite3_column_text(s->lite, i);

	return text ? text : "";
}
