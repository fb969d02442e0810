/* SPDX-License-Identifier: Apache-2.0 */
#include "io/catalog_db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/db_sqlite.h"

#define NAME_BYTES 64

/* What version 2 has more than version 1. */
#define SCHEMA_HOLDS                           \
	"CREATE TABLE holds("                  \
	"  stream BLOB NOT NULL,"              \
	"  name TEXT NOT NULL,"                \
	"  from_ms INTEGER NOT NULL,"          \
	"  to_ms INTEGER NOT NULL,"            \
	"  created_ms INTEGER NOT NULL,"       \
	"  PRIMARY KEY(stream, name)) STRICT;" \
	"PRAGMA user_version=2;"

static const char schema[] = "CREATE TABLE meta("
			     "  directory BLOB NOT NULL,"
			     "  check_blob BLOB NOT NULL,"
			     "  revision INTEGER NOT NULL) STRICT;"
			     "CREATE TABLE streams("
			     "  id BLOB NOT NULL UNIQUE,"
			     "  name TEXT NOT NULL UNIQUE,"
			     "  arn TEXT NOT NULL,"
			     "  version TEXT NOT NULL,"
			     "  device_name TEXT NOT NULL,"
			     "  media_type TEXT NOT NULL,"
			     "  kms_key_id TEXT NOT NULL,"
			     "  tags TEXT NOT NULL,"
			     "  created_ms INTEGER NOT NULL,"
			     "  retention_hours INTEGER NOT NULL,"
			     "  wrapped_key BLOB NOT NULL) STRICT;"
			     "CREATE TABLE credentials("
			     "  access_key TEXT NOT NULL UNIQUE,"
			     "  wrapped_secret BLOB NOT NULL,"
			     "  enabled INTEGER NOT NULL) STRICT;" SCHEMA_HOLDS;

struct catalog_db {
	struct db *db;
	bool no_holds; /* still of version 1 */
	uint64_t revision;
};

/* --- files --- */

/* A log that is not this database's must not be beside it. */
static int unlink_logs(const struct data_dir *d, const char *name)
{
	static const char *const tails[] = { "-wal", "-shm", "-journal" };
	char file[NAME_BYTES];
	size_t i;
	int r;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(file, sizeof(file), "%s%s", name, tails[i]);
		r = d->sys->unlinkat(d->fd, file, 0);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

static int unlink_new(const struct data_dir *d, const char *temp)
{
	int r = unlink_logs(d, temp);

	if (r == 0)
		r = d->sys->unlinkat(d->fd, temp, 0);
	return r == -ENOENT ? 0 : r;
}

/* @temp is complete and closed: makes it durable under @name. */
static int put_in_place(const struct data_dir *d, const char *temp,
			const char *name)
{
	int fd;
	int r;

	fd = d->sys->openat(d->fd, temp, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	r = d->sys->fsync(fd);
	sys_close(d->sys, &fd);
	if (r == 0)
		r = unlink_logs(d, name);
	if (r == 0)
		r = d->sys->renameat(d->fd, temp, d->fd, name);
	return r < 0 ? r : d->sys->fsync(d->fd);
}

static int temp_name(const char *name, char out[NAME_BYTES])
{
	int r = snprintf(out, NAME_BYTES, "%s.new", name);

	return r < 0 || r >= NAME_BYTES ? -ENAMETOOLONG : 0;
}

static int write_schema(struct db *db, const struct data_dir *d,
			const void *check, size_t check_len)
{
	struct db_stmt *s;
	int r;

	r = db_exec(db, "BEGIN IMMEDIATE");
	if (r == 0)
		r = db_exec(db, schema);
	if (r == 0)
		r = db_prepare(db, "INSERT INTO meta VALUES(?1, ?2, 1)", &s);
	if (r == 0) {
		db_bind_blob(s, 1, d->id, sizeof(d->id));
		db_bind_blob(s, 2, check, check_len);
		r = db_run(s);
		(void)db_stmt_free(s);
	}
	if (r == 0)
		r = db_exec(db, "COMMIT");
	db_rollback(db);
	return r < 0 ? r : db_checkpoint(db);
}

int catalog_db_create(const struct data_dir *d, const char *name,
		      const void *check, size_t check_len)
{
	char path[DATA_DIR_PATH_BYTES];
	char temp[NAME_BYTES];
	struct db *db;
	int r;

	r = temp_name(name, temp);
	if (r == 0)
		r = data_dir_path(d, temp, path);
	if (r == 0)
		r = unlink_new(d, temp);
	if (r == 0)
		r = db_open(path, DB_CATALOG, true, &db);
	if (r)
		return r;
	r = write_schema(db, d, check, check_len);
	(void)db_close(db);
	return r < 0 ? r : put_in_place(d, temp, name);
}

int catalog_db_copy(const struct data_dir *d, struct catalog_db *from,
		    const char *name)
{
	char path[DATA_DIR_PATH_BYTES];
	char temp[NAME_BYTES];
	struct db_stmt *s;
	int r;

	r = temp_name(name, temp);
	if (r == 0)
		r = data_dir_path(d, temp, path);
	if (r == 0)
		r = unlink_new(d, temp);
	if (r == 0)
		r = db_prepare(from->db, "VACUUM INTO ?1", &s);
	if (r)
		return r;
	db_bind_text(s, 1, path);
	r = db_run(s);
	(void)db_stmt_free(s);
	/* It is not synced by SQLite. */
	return r < 0 ? r : put_in_place(d, temp, name);
}

/* --- opening --- */

static int read_meta(struct catalog_db *db, const struct data_dir *d)
{
	uint8_t id[DATA_DIR_ID_BYTES];
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db, "SELECT directory, revision FROM meta", &s);
	if (r < 0)
		return -EUCLEAN;
	r = db_step(s);
	if (r == 0)
		r = -EUCLEAN;
	if (r == 1) {
		db->revision = (uint64_t)db_int(s, 1);
		r = db_blob_exact(s, 0, id, sizeof(id));
	}
	(void)db_stmt_free(s);
	if (r == 0 && memcmp(id, d->id, sizeof(id)))
		r = -EMEDIUMTYPE;
	return r;
}

/*
 * A version 1 becomes a version 2 where it may be changed, on a full disk
 * with the first change: nothing could make room if it were not opened.
 */
static int check_version(struct catalog_db *db, bool readonly)
{
	int r;

	if (db_expect(db->db, "PRAGMA user_version", "1") < 0)
		return db_expect(db->db, "PRAGMA user_version", "2");
	db->no_holds = true;
	if (readonly)
		return 0;
	r = db_exec(db->db, "BEGIN IMMEDIATE;" SCHEMA_HOLDS "COMMIT");
	db_rollback(db->db);
	db->no_holds = r < 0;
	return r == -ENOSPC ? 0 : r;
}

int catalog_db_open(const struct data_dir *d, const char *name,
		    struct catalog_db **ret_db)
{
	AUTO(catalog_db_close) struct catalog_db *db = calloc(1, sizeof(*db));
	char path[DATA_DIR_PATH_BYTES];
	int r;

	if (!db)
		return -ENOMEM;
	r = data_dir_path(d, name, path);
	if (r == 0)
		r = d->readonly ? db_open_readonly(path, &db->db)
				: db_open(path, DB_CATALOG, false, &db->db);
	if (r == 0)
		r = db_expect(db->db, "PRAGMA integrity_check(1)", "ok");
	if (r == 0)
		r = check_version(db, d->readonly);
	if (r == 0)
		r = read_meta(db, d);
	if (r < 0)
		return r;
	*ret_db = TAKE_PTR(db);
	return 0;
}

struct catalog_db *catalog_db_close(struct catalog_db *db)
{
	if (!db)
		return NULL;
	db->db = db_close(db->db);
	free(db);
	return NULL;
}

uint64_t catalog_db_revision(const struct catalog_db *db)
{
	return db->revision;
}

/* --- reading --- */

int catalog_db_check(struct catalog_db *db, void *out, size_t len)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db, "SELECT check_blob FROM meta", &s);
	if (r < 0)
		return r;
	r = db_step(s);
	if (r >= 0)
		r = r == 1 ? db_blob_exact(s, 0, out, len) : -EUCLEAN;
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_streams(struct catalog_db *db,
		       int (*each)(void *ctx, const struct catalog_row *row),
		       void *ctx)
{
	struct catalog_row row;
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db,
		       "SELECT id, wrapped_key, name, arn, version,"
		       " device_name, media_type, kms_key_id, tags,"
		       " created_ms, retention_hours FROM streams", &s);
	if (r < 0)
		return r;
	while ((r = db_step(s)) == 1) {
		row.name = db_text(s, 2);
		row.arn = db_text(s, 3);
		row.version = db_text(s, 4);
		row.device_name = db_text(s, 5);
		row.media_type = db_text(s, 6);
		row.kms_key_id = db_text(s, 7);
		row.tags_json = db_text(s, 8);
		row.created_ms = (uint64_t)db_int(s, 9);
		row.retention_hours = (uint32_t)db_int(s, 10);
		r = db_blob_exact(s, 0, row.id, sizeof(row.id));
		if (r == 0)
			r = db_blob_exact(s, 1, row.wrapped_key,
					  sizeof(row.wrapped_key));
		if (r == 0)
			r = each(ctx, &row);
		if (r < 0)
			break;
	}
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_tags(struct catalog_db *db, const uint8_t id[STREAM_ID_BYTES],
		    char **ret_json)
{
	struct db_stmt *s;
	char *text;
	int r;

	r = db_prepare(db->db, "SELECT tags FROM streams WHERE id=?1", &s);
	if (r < 0)
		return r;
	db_bind_blob(s, 1, id, STREAM_ID_BYTES);
	r = db_step(s);
	if (r == 1) {
		text = strdup(db_text(s, 0));
		if (text)
			*ret_json = text;
		r = text ? 0 : -ENOMEM;
	} else if (r == 0) {
		r = -ENOENT;
	}
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_credentials(
	struct catalog_db *db,
	int (*each)(void *ctx, const struct catalog_credential_row *row),
	void *ctx)
{
	struct catalog_credential_row row;
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db, "SELECT access_key, wrapped_secret, enabled"
			       " FROM credentials", &s);
	if (r < 0)
		return r;
	while ((r = db_step(s)) == 1) {
		row.access_key = db_text(s, 0);
		row.wrapped_secret = db_blob(s, 1, &row.wrapped_len);
		row.enabled = db_int(s, 2);
		r = each(ctx, &row);
		if (r < 0)
			break;
	}
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_holds(struct catalog_db *db,
		     int (*each)(void *ctx, const struct catalog_hold_row *row),
		     void *ctx)
{
	struct catalog_hold_row row;
	struct db_stmt *s;
	int r;

	if (db->no_holds)
		return 0;
	r = db_prepare(db->db,
		       "SELECT stream, name, from_ms, to_ms, created_ms"
		       " FROM holds",
		       &s);
	if (r < 0)
		return r;
	while ((r = db_step(s)) == 1) {
		memset(&row, 0, sizeof(row));
		(void)snprintf(row.hold.name, sizeof(row.hold.name), "%s",
			       db_text(s, 1));
		row.hold.range.from_ms = (uint64_t)db_int(s, 2);
		row.hold.range.to_ms = (uint64_t)db_int(s, 3);
		row.hold.created_ms = (uint64_t)db_int(s, 4);
		r = db_blob_exact(s, 0, row.stream_id, sizeof(row.stream_id));
		if (r == 0)
			r = each(ctx, &row);
		if (r < 0)
			break;
	}
	(void)db_stmt_free(s);
	return r;
}

/* --- changing --- */

int catalog_db_begin(struct catalog_db *db)
{
	return db_exec(db->db, db->no_holds ? "BEGIN IMMEDIATE;" SCHEMA_HOLDS
					    : "BEGIN IMMEDIATE");
}

int catalog_db_commit(struct catalog_db *db)
{
	int r;

	r = db_exec(db->db, "UPDATE meta SET revision=revision+1");
	if (r == 0)
		r = db_exec(db->db, "COMMIT");
	if (r < 0) {
		db_rollback(db->db);
		return r;
	}
	db->no_holds = false;
	db->revision++;
	return 0;
}

void catalog_db_rollback(struct catalog_db *db)
{
	db_rollback(db->db);
}

int catalog_db_add(struct catalog_db *db, const struct catalog_row *row)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db,
		       "INSERT INTO streams(id, wrapped_key, name, arn,"
		       " version, device_name, media_type, kms_key_id, tags,"
		       " created_ms, retention_hours) VALUES(?1, ?2, ?3, ?4,"
		       " ?5, ?6, ?7, ?8, ?9, ?10, ?11)", &s);
	if (r < 0)
		return r;
	db_bind_blob(s, 1, row->id, sizeof(row->id));
	db_bind_blob(s, 2, row->wrapped_key, sizeof(row->wrapped_key));
	db_bind_text(s, 3, row->name);
	db_bind_text(s, 4, row->arn);
	db_bind_text(s, 5, row->version);
	db_bind_text(s, 6, row->device_name);
	db_bind_text(s, 7, row->media_type);
	db_bind_text(s, 8, row->kms_key_id);
	db_bind_text(s, 9, row->tags_json);
	db_bind_int(s, 10, (int64_t)row->created_ms);
	db_bind_int(s, 11, row->retention_hours);
	r = db_run(s);
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_retain(struct catalog_db *db, const struct catalog_row *row)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db,
		       "UPDATE streams SET retention_hours=?2, version=?3"
		       " WHERE id=?1",
		       &s);
	if (r < 0)
		return r;
	db_bind_blob(s, 1, row->id, sizeof(row->id));
	db_bind_int(s, 2, row->retention_hours);
	db_bind_text(s, 3, row->version);
	r = db_run(s);
	(void)db_stmt_free(s);
	return r;
}

static int run_with_id(struct catalog_db *db, const char *sql,
		       const uint8_t *id)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db, sql, &s);
	if (r < 0)
		return r;
	db_bind_blob(s, 1, id, STREAM_ID_BYTES);
	r = db_run(s);
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_remove(struct catalog_db *db, const uint8_t id[STREAM_ID_BYTES])
{
	int r;

	r = run_with_id(db, "UPDATE streams SET wrapped_key="
			    "zeroblob(length(wrapped_key)) WHERE id=?1", id);
	/* Of one that was refused, and is there after all. */
	if (r == 0)
		r = run_with_id(db, "DELETE FROM holds WHERE stream=?1", id);
	if (r < 0)
		return r;
	return run_with_id(db, "DELETE FROM streams WHERE id=?1", id);
}

int catalog_db_put_credential(struct catalog_db *db,
			      const struct catalog_credential_row *row)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db,
		       "INSERT INTO credentials VALUES(?1, ?2, ?3) ON"
		       " CONFLICT(access_key) DO UPDATE SET wrapped_secret=?2,"
		       " enabled=?3", &s);
	if (r < 0)
		return r;
	db_bind_text(s, 1, row->access_key);
	db_bind_blob(s, 2, row->wrapped_secret, row->wrapped_len);
	db_bind_int(s, 3, row->enabled);
	r = db_run(s);
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_add_hold(struct catalog_db *db,
			const struct catalog_hold_row *row)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db, "INSERT INTO holds VALUES(?1, ?2, ?3, ?4, ?5)",
		       &s);
	if (r < 0)
		return r;
	db_bind_blob(s, 1, row->stream_id, sizeof(row->stream_id));
	db_bind_text(s, 2, row->hold.name);
	db_bind_int(s, 3, (int64_t)row->hold.range.from_ms);
	db_bind_int(s, 4, (int64_t)row->hold.range.to_ms);
	db_bind_int(s, 5, (int64_t)row->hold.created_ms);
	r = db_run(s);
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_remove_hold(struct catalog_db *db,
			   const struct catalog_hold_row *row)
{
	struct db_stmt *s;
	int r;

	r = db_prepare(db->db, "DELETE FROM holds WHERE stream=?1 AND name=?2",
		       &s);
	if (r < 0)
		return r;
	db_bind_blob(s, 1, row->stream_id, sizeof(row->stream_id));
	db_bind_text(s, 2, row->hold.name);
	r = db_run(s);
	(void)db_stmt_free(s);
	return r;
}

int catalog_db_scrub(struct catalog_db *db)
{
	return db_checkpoint(db->db);
}

int catalog_db_wipe(struct catalog_db *db)
{
	int r;

	/* Revision 0: whatever happens next, it is not taken for the other. */
	r = db_exec(db->db, "BEGIN IMMEDIATE;"
			    "UPDATE meta SET revision=0;"
			    "UPDATE streams SET wrapped_key="
			    "zeroblob(length(wrapped_key));"
			    "UPDATE credentials SET wrapped_secret="
			    "zeroblob(length(wrapped_secret));"
			    "COMMIT");
	db_rollback(db->db);
	return r < 0 ? r : db_checkpoint(db->db);
}
