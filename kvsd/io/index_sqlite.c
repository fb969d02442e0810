/* SPDX-License-Identifier: Apache-2.0 */
#include "io/index_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "core/limits.h"
#include "io/db_sqlite.h"
#include "io/index_int.h"

#define PATH_BYTES 4200
#define SEGMENT_COLUMNS "number, generation, closed, mark, live, bytes"
#define VERSION "3"
/* PRAGMA application_id of an index that has not seen all segments yet. */
#define REBUILDING "1263948626" /* "KVSR" */

/* What version 2 has more than version 1. */
#define SCHEMA_BLOCKS                                                      \
	"CREATE TABLE blocks("                                             \
	"  block INTEGER PRIMARY KEY,"                                     \
	"  sid INTEGER NOT NULL,"                                          \
	"  seq_first INTEGER NOT NULL,"                                    \
	"  seq_last INTEGER NOT NULL,"                                     \
	"  server_min INTEGER NOT NULL,"                                   \
	"  server_max INTEGER NOT NULL,"                                   \
	"  producer_min INTEGER NOT NULL,"                                 \
	"  producer_max INTEGER NOT NULL,"                                 \
	"  rows BLOB NOT NULL) STRICT;"                                    \
	"CREATE UNIQUE INDEX block_seq ON blocks(sid, seq_first,"          \
	"  seq_last);"                                                     \
	"CREATE INDEX block_server_min ON blocks(sid, server_min,"         \
	"  server_max);"                                                   \
	"CREATE INDEX block_server_max ON blocks(sid, server_max,"         \
	"  server_min);"                                                   \
	"CREATE INDEX block_producer_min ON blocks(sid, producer_min,"     \
	"  producer_max);"                                                 \
	"CREATE INDEX block_producer_max ON blocks(sid, producer_max,"     \
	"  producer_min);"                                                 \
	"ALTER TABLE streams ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;" \
	"PRAGMA user_version=2;"
/* And version 3: the sum of index_disk_bytes() over the rows. */
#define SCHEMA_BYTES                                                        \
	"ALTER TABLE segments ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;" \
	"PRAGMA user_version=" VERSION ";"

static const char schema[] =
	"CREATE TABLE meta(id BLOB NOT NULL) STRICT;"
	"CREATE TABLE streams("
	"  sid INTEGER PRIMARY KEY,"
	"  id BLOB NOT NULL UNIQUE) STRICT;"
	"CREATE TABLE segments("
	"  number INTEGER PRIMARY KEY,"
	"  generation BLOB NOT NULL,"
	"  closed INTEGER NOT NULL,"
	"  mark INTEGER NOT NULL,"
	"  live INTEGER NOT NULL) STRICT;"
	"CREATE INDEX segments_dead ON segments(number)"
	"  WHERE closed AND live <= 0;"
	"CREATE TABLE fragments("
	"  sid INTEGER NOT NULL,"
	"  seq INTEGER NOT NULL,"
	"  server_ms INTEGER NOT NULL,"
	"  producer_ms INTEGER NOT NULL,"
	"  number_ms INTEGER NOT NULL,"
	"  random INTEGER NOT NULL,"
	"  duration_ms INTEGER NOT NULL,"
	"  header_bytes INTEGER NOT NULL,"
	"  media_bytes INTEGER NOT NULL,"
	"  frames_bytes INTEGER NOT NULL,"
	"  segment INTEGER NOT NULL,"
	"  page INTEGER NOT NULL,"
	"  first_segment INTEGER NOT NULL,"
	"  PRIMARY KEY(sid, seq)) STRICT, WITHOUT ROWID;"
	"CREATE INDEX by_server ON fragments(sid, server_ms, seq);"
	"CREATE INDEX by_producer ON fragments(sid, producer_ms, "
	"seq);" SCHEMA_BLOCKS SCHEMA_BYTES;

static const char *const statements[INDEX_STATEMENT_COUNT] = {
	[STREAM_FIND] = "SELECT sid FROM streams WHERE id=?1",
	[STREAM_ADD] = "INSERT INTO streams(id) VALUES(?1) RETURNING sid",
	[STREAM_DROP] = "DELETE FROM streams WHERE sid=?1 AND NOT EXISTS"
			"(SELECT 1 FROM fragments WHERE sid=?1) AND NOT EXISTS"
			"(SELECT 1 FROM blocks WHERE sid=?1)",
	[STREAM_BYTES] = "UPDATE streams SET bytes=bytes+?2 WHERE sid=?1",
	[STREAM_SIZE] = "SELECT bytes+(SELECT coalesce(sum(header_bytes+"
			"media_bytes+frames_bytes), 0) FROM fragments"
			" WHERE sid=?1) FROM streams WHERE sid=?1",
	[SEGMENT_ADD] = "INSERT INTO segments(number, generation, closed, mark,"
			" live) VALUES(?1, ?2, 0, ?3, 0)",
	[SEGMENT_CLOSE] = "UPDATE segments SET closed=1, mark=max(mark, ?2)"
			  " WHERE number=?1",
	[SEGMENT_DROP] = "DELETE FROM segments WHERE number=?1",
	[SEGMENT_LIVE] = "UPDATE segments SET live=live+?3, mark=CASE WHEN"
			 " number=?2 THEN max(mark, ?4) ELSE mark END,"
			 " bytes=bytes+?5 WHERE number BETWEEN ?1 AND ?2",
	[SEGMENT_DEAD_ROWS] = "SELECT " SEGMENT_COLUMNS
			      " FROM segments WHERE closed AND live <= 0"
			      " ORDER BY number",
	[SEGMENT_SPARSE_ROWS] = "SELECT " SEGMENT_COLUMNS
				" FROM segments WHERE closed AND live > 0"
				" ORDER BY bytes, number LIMIT ?1",
	[SEGMENT_ROW] = "SELECT " SEGMENT_COLUMNS " FROM segments"
			" WHERE number=?1",
	[FRAGMENT_ADD] = "INSERT OR IGNORE INTO fragments(sid, " INDEX_COLUMNS
			 ", first_segment) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7,"
			 " ?8, ?9, ?10, ?11, ?12, ?13)",
	[FRAGMENT_DELETE] = "DELETE FROM fragments WHERE sid=?1 AND seq IN"
			    "(SELECT seq FROM fragments WHERE sid=?1 AND"
			    " server_ms<?2 ORDER BY server_ms, seq LIMIT ?3)"
			    " RETURNING first_segment, segment, header_bytes,"
			    " media_bytes, frames_bytes",
	[FRAGMENT_DELETE_ONE] = "DELETE FROM fragments WHERE sid=?1 AND seq=?2"
				" RETURNING first_segment, segment,"
				" header_bytes, media_bytes, frames_bytes",
	[FRAGMENT_OLDEST] = "SELECT " INDEX_COLUMNS " FROM fragments"
			    " WHERE sid=?1 AND server_ms<?2"
			    " ORDER BY server_ms, seq",
	[FRAGMENT_FIND] = "SELECT " INDEX_COLUMNS ", first_segment"
			  " FROM fragments WHERE sid=?1 AND seq=?2",
	[FRAGMENT_MOVE] = "UPDATE fragments SET segment=?5, page=?6,"
			  " first_segment=?7 WHERE sid=?1 AND seq=?2 AND"
			  " segment=?3 AND page=?4",
};

/* --- opening --- */

static int check_id(struct db *db, const uint8_t id[INDEX_ID_BYTES])
{
	uint8_t found[INDEX_ID_BYTES];
	struct db_stmt *s;
	int r;

	r = db_prepare(db, "SELECT id FROM meta", &s);
	if (r < 0)
		return r;
	r = db_step(s);
	if (r >= 0)
		r = r == 1 ? db_blob_exact(s, 0, found, sizeof(found))
			   : -EUCLEAN;
	(void)db_stmt_free(s);
	if (r == 0 && memcmp(found, id, sizeof(found)))
		r = -EMEDIUMTYPE;
	return r;
}

/* Reading all of a large index would make each start as long as its history. */
static int check_content(struct db *db, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || st.st_size > (off_t)INDEX_CHECK_BYTES_MAX)
		return 0;
	return db_expect(db, "PRAGMA quick_check(1)", "ok");
}

static int write_schema(struct db *db, const uint8_t id[INDEX_ID_BYTES])
{
	struct db_stmt *s;
	int r;

	r = db_exec(db, "BEGIN IMMEDIATE");
	if (r == 0)
		r = db_exec(db, schema);
	if (r == 0)
		r = db_exec(db, "PRAGMA application_id=" REBUILDING);
	if (r == 0)
		r = db_prepare(db, "INSERT INTO meta(id) VALUES(?1)", &s);
	if (r == 0) {
		db_bind_blob(s, 1, id, INDEX_ID_BYTES);
		r = db_run(s);
		(void)db_stmt_free(s);
	}
	if (r == 0)
		r = db_exec(db, "COMMIT");
	db_rollback(db);
	return r;
}

/*
 * Version 1 had no blocks: its rows are a tail that is packed by and by.
 * Version 2 did not count bytes: a transaction is left open for add_bytes().
 */
static int check_version(struct db *db, bool readonly)
{
	bool first = db_expect(db, "PRAGMA user_version", "1") == 0;
	int r;

	if (!first && db_expect(db, "PRAGMA user_version", "2") < 0)
		return db_expect(db, "PRAGMA user_version", VERSION);
	if (readonly)
		return -EROFS;
	r = db_exec(db, "BEGIN IMMEDIATE");
	if (r == 0 && first)
		r = db_exec(db, SCHEMA_BLOCKS);
	if (r == 0)
		r = db_exec(db, SCHEMA_BYTES);
	if (r < 0)
		db_rollback(db);
	return r;
}

static int add_bytes(void *ctx, const struct store_fragment *f,
		     uint32_t first_segment)
{
	return index_count_live(ctx, first_segment, f->segment, 0,
				index_disk_bytes(f), 0);
}

/* The other half of a conversion, with the statements at hand. */
static int convert(struct index_db *ix)
{
	int r = index_rows(ix, add_bytes, ix);

	return r < 0 ? r : index_commit(ix);
}

int index_prepare(struct db *db, const char *const *sql, unsigned int count,
		  struct db_stmt **ret_stmts)
{
	unsigned int i;
	int r;

	for (i = 0; i < count; i++) {
		r = db_prepare(db, sql[i], &ret_stmts[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int prepare_all(struct index_db *ix)
{
	int r;

	r = index_prepare(ix->db, statements, INDEX_STATEMENT_COUNT, ix->st);
	if (r == 0)
		r = index_blocks_prepare(ix);
	return r < 0 ? r : index_query_prepare(ix);
}

static int open_existing(struct index_db *ix, const char *path,
			 const uint8_t id[INDEX_ID_BYTES], bool readonly)
{
	int r;

	r = readonly ? db_open_readonly(path, &ix->db)
		     : db_open(path, DB_INDEX, false, &ix->db);
	if (r < 0)
		return r;
	r = check_id(ix->db, id);
	if (r == 0)
		r = check_version(ix->db, readonly);
	if (r == 0)
		r = check_content(ix->db, path);
	if (r == 0)
		r = prepare_all(ix);
	return r == 0 && db_in_transaction(ix->db) ? convert(ix) : r;
}

static void drop_handles(struct index_db *ix)
{
	int i;

	for (i = 0; i < (int)INDEX_STATEMENT_COUNT; i++)
		ix->st[i] = db_stmt_free(ix->st[i]);
	for (i = 0; i < (int)INDEX_BLOCK_STATEMENT_COUNT; i++)
		ix->blocks[i] = db_stmt_free(ix->blocks[i]);
	for (i = 0; i < (int)INDEX_QUERIES; i++) {
		ix->tail_query[i] = db_stmt_free(ix->tail_query[i]);
		ix->block_query[i] = db_stmt_free(ix->block_query[i]);
	}
	ix->db = db_close(ix->db);
	index_known_clear(ix);
}

static const char *const tails[] = {"-wal", "-shm", "-journal", ""};

int index_move(const char *path, const char *to)
{
	char name[PATH_BYTES];
	char new_name[PATH_BYTES];
	size_t i;
	int r;

	r = index_remove(to);
	for (i = 0; i < ARRAY_SIZE(tails) && r == 0; i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, tails[i]);
		(void)snprintf(new_name, sizeof(new_name), "%s%s", to,
			       tails[i]);
		if (rename(name, new_name) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

int index_remove(const char *path)
{
	char name[PATH_BYTES];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, tails[i]);
		if (unlink(name) < 0 && errno != ENOENT)
			return -errno;
	}
	return 0;
}

static int make_new(struct index_db *ix, const char *path,
		    const uint8_t id[INDEX_ID_BYTES])
{
	int r;

	r = index_remove(path);
	if (r == 0)
		r = db_open(path, DB_INDEX, true, &ix->db);
	if (r == 0)
		r = write_schema(ix->db, id);
	return r < 0 ? r : prepare_all(ix);
}

int index_open_readonly(const char *path, const uint8_t id[INDEX_ID_BYTES],
			struct index_db **ret_index)
{
	AUTO(index_close) struct index_db *ix = calloc(1, sizeof(*ix));
	int r;

	if (!ix)
		return -ENOMEM;
	if (strlen(path) > PATH_BYTES - 16)
		return -ENAMETOOLONG;
	r = open_existing(ix, path, id, true);
	if (r < 0)
		return r;
	*ret_index = TAKE_PTR(ix);
	return 0;
}

/*
 * What cannot be read twice (or is a schema that is not ours: SQLite has one
 * code for both) is made again. Where only this process has no room, memory
 * or right, what is there is kept.
 */
static bool is_useless(int r)
{
	return r == -EIO || r == -ENOENT || r == -EUCLEAN ||
	       r == -EMEDIUMTYPE || r == -EEXIST;
}

int index_open(const char *path, const uint8_t id[INDEX_ID_BYTES],
	       struct index_db **ret_index, bool *ret_made)
{
	AUTO(index_close) struct index_db *ix = calloc(1, sizeof(*ix));
	bool made = false;
	int r;

	if (!ix)
		return -ENOMEM;
	if (strlen(path) > PATH_BYTES - 16)
		return -ENAMETOOLONG;
	r = open_existing(ix, path, id, false);
	if (r == -EIO) {
		drop_handles(ix);
		r = open_existing(ix, path, id, false);
	}
	if (is_useless(r)) {
		if (r != -ENOENT)
			log_warn("index",
				 "%s: %s; it is made again from the "
				 "segments",
				 path,
				 r == -EMEDIUMTYPE ? "of another directory"
						   : "damaged");
		drop_handles(ix);
		made = true;
		r = make_new(ix, path, id);
	}
	if (r < 0)
		return r;
	*ret_made = made;
	*ret_index = TAKE_PTR(ix);
	return 0;
}

struct index_db *index_close(struct index_db *ix)
{
	if (!ix)
		return NULL;
	if (ix->db)
		db_rollback(ix->db);
	index_known_clear(ix);
	drop_handles(ix);
	free(ix);
	return NULL;
}

/* --- transactions --- */

int index_begin(struct index_db *ix)
{
	int r;

	if (db_in_transaction(ix->db))
		return 0;
	index_known_check(ix);
	r = db_exec(ix->db, "BEGIN IMMEDIATE");
	ix->begun = r == 0;
	return r;
}

int index_commit(struct index_db *ix)
{
	int r;

	if (!db_in_transaction(ix->db))
		return 0;
	r = index_write_counts(ix);
	if (r == 0)
		r = db_exec(ix->db, "COMMIT");
	if (r < 0)
		index_rollback(ix);
	ix->begun = false;
	return r;
}

bool index_rebuilding(struct index_db *ix)
{
	return db_expect(ix->db, "PRAGMA application_id", REBUILDING) == 0;
}

int index_rebuilt(struct index_db *ix)
{
	int r;

	if (!index_rebuilding(ix))
		return 0;
	r = index_begin(ix);
	return r < 0 ? r : db_exec(ix->db, "PRAGMA application_id=0");
}

bool index_in_transaction(const struct index_db *ix)
{
	return db_in_transaction(ix->db);
}

void index_rollback(struct index_db *ix)
{
	db_rollback(ix->db);
	index_known_clear(ix);
}

int index_sync(struct index_db *ix)
{
	int r = index_commit(ix);

	return r < 0 ? r : db_checkpoint(ix->db);
}

/* --- segments --- */

int index_segment_add(struct index_db *ix, uint32_t number,
		      const uint8_t generation[16], uint32_t mark)
{
	struct db_stmt *s = ix->st[SEGMENT_ADD];
	int r;

	r = index_begin(ix);
	if (r == 0)
		r = index_write_counts(ix);
	if (r < 0)
		return r;
	db_bind_int(s, 1, number);
	db_bind_blob(s, 2, generation, 16);
	db_bind_int(s, 3, mark);
	return db_run(s);
}

int index_segment_close(struct index_db *ix, uint32_t number, uint32_t mark)
{
	struct db_stmt *s = ix->st[SEGMENT_CLOSE];
	int r;

	r = index_begin(ix);
	if (r == 0)
		r = index_write_counts(ix);
	if (r < 0)
		return r;
	db_bind_int(s, 1, number);
	db_bind_int(s, 2, mark);
	return db_run(s);
}

int index_segment_drop(struct index_db *ix, uint32_t number)
{
	struct db_stmt *s = ix->st[SEGMENT_DROP];
	int r;

	r = index_begin(ix);
	if (r == 0)
		r = index_write_counts(ix);
	if (r < 0)
		return r;
	db_bind_int(s, 1, number);
	return db_run(s);
}

static int walk_segments(struct db_stmt *s,
			 int (*each)(void *ctx, const struct index_segment *s),
			 void *ctx)
{
	struct index_segment seg;
	int r;

	while ((r = db_step(s)) == 1) {
		int64_t live = db_int(s, 4);
		int64_t bytes = db_int(s, 5);

		seg.number = (uint32_t)db_int(s, 0);
		seg.closed = db_int(s, 2);
		seg.mark = (uint32_t)db_int(s, 3);
		seg.live = live < 0 ? 0 : (uint64_t)live;
		seg.bytes = bytes < 0 ? 0 : (uint64_t)bytes;
		r = db_blob_exact(s, 1, seg.generation, sizeof(seg.generation));
		if (r == 0)
			r = each(ctx, &seg);
		if (r < 0)
			break;
	}
	db_reset(s);
	return r;
}

int index_segments(struct index_db *ix,
		   int (*each)(void *ctx, const struct index_segment *s),
		   void *ctx)
{
	struct db_stmt *s;
	int r;

	r = index_write_counts(ix);
	if (r < 0)
		return r;
	r = db_prepare(ix->db,
		       "SELECT " SEGMENT_COLUMNS " FROM segments"
		       " ORDER BY number",
		       &s);
	if (r < 0)
		return r;
	r = walk_segments(s, each, ctx);
	(void)db_stmt_free(s);
	return r;
}

int index_segments_dead(struct index_db *ix,
			int (*each)(void *ctx, const struct index_segment *s),
			void *ctx)
{
	int r = index_write_counts(ix);

	return r < 0 ? r : walk_segments(ix->st[SEGMENT_DEAD_ROWS], each, ctx);
}

int index_segments_sparse(struct index_db *ix, unsigned int max,
			  int (*each)(void *ctx, const struct index_segment *s),
			  void *ctx)
{
	struct db_stmt *s = ix->st[SEGMENT_SPARSE_ROWS];

	db_bind_int(s, 1, max);
	return walk_segments(s, each, ctx);
}

static int take_live(void *ctx, const struct index_segment *s)
{
	uint64_t *live = ctx;

	*live = s->live;
	return 0;
}

int index_segment_live(struct index_db *ix, uint32_t number, uint64_t *ret_live)
{
	struct db_stmt *s = ix->st[SEGMENT_ROW];
	int r = index_write_counts(ix);

	*ret_live = 0;
	if (r < 0)
		return r;
	db_bind_int(s, 1, number);
	return walk_segments(s, take_live, ret_live);
}

static int write_count(struct index_db *ix, struct index_count *c)
{
	struct db_stmt *s = ix->st[SEGMENT_LIVE];

	c->any = false;
	ix->count_pending--;
	db_bind_int(s, 1, c->first);
	db_bind_int(s, 2, c->last);
	db_bind_int(s, 3, c->live);
	db_bind_int(s, 4, c->mark);
	db_bind_int(s, 5, c->bytes);
	return db_run(s);
}

int index_write_counts(struct index_db *ix)
{
	unsigned int i;
	int r = 0;

	index_known_check(ix);
	for (i = 0; r == 0 && ix->count_pending && i < INDEX_COUNTS; i++) {
		if (ix->counts[i].any)
			r = write_count(ix, &ix->counts[i]);
	}
	return r;
}

int index_count_live(struct index_db *ix, uint32_t first, uint32_t last,
		     int64_t live, int64_t bytes, uint32_t mark)
{
	struct index_count *c = &ix->counts[last % INDEX_COUNTS];
	int r;

	index_known_check(ix);
	if (c->any && (c->first != first || c->last != last)) {
		r = write_count(ix, c);
		if (r < 0)
			return r;
	}
	if (!c->any) {
		*c = (struct index_count){first, last, mark, true, 0, 0};
		ix->count_pending++;
	}
	c->live += live;
	c->bytes += bytes;
	c->mark = MAX(c->mark, mark);
	return 0;
}

/* --- fragments --- */

int index_find_stream(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		      int64_t *ret_sid)
{
	struct db_stmt *s = ix->st[STREAM_FIND];
	const struct index_known *k = index_known(ix, id);
	int r;

	if (k) {
		*ret_sid = k->sid;
		return 1;
	}
	db_bind_blob(s, 1, id, STREAM_ID_BYTES);
	r = db_step(s);
	if (r == 1) {
		*ret_sid = db_int(s, 0);
		index_known_add(ix, id, *ret_sid);
	}
	db_reset(s);
	return r;
}

static int find_or_add_stream(struct index_db *ix,
			      const uint8_t id[STREAM_ID_BYTES],
			      int64_t *ret_sid)
{
	struct db_stmt *s = ix->st[STREAM_ADD];
	int r;

	r = index_find_stream(ix, id, ret_sid);
	if (r)
		return r < 0 ? r : 0;
	db_bind_blob(s, 1, id, STREAM_ID_BYTES);
	r = db_step(s);
	if (r == 1) {
		*ret_sid = db_int(s, 0);
		index_known_add(ix, id, *ret_sid);
	}
	db_reset(s);
	return r < 0 ? r : 0;
}

int index_insert(struct index_db *ix, const struct store_fragment *f,
		 uint32_t first_segment, uint32_t mark)
{
	struct db_stmt *s = ix->st[FRAGMENT_ADD];
	int64_t sid = 0;
	bool added;
	int r;

	r = index_begin(ix);
	if (r == 0)
		r = find_or_add_stream(ix, f->stream_id, &sid);
	if (r == 0)
		r = index_blocks_have(ix, sid, f);
	if (r)
		return r < 0 ? r
			     : index_count_live(ix, first_segment, f->segment,
						0, 0, mark);
	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(f->number.seq));
	db_bind_int(s, 3, index_clamp(f->server_ms));
	db_bind_int(s, 4, index_clamp(f->producer_ms));
	db_bind_int(s, 5, (int64_t)f->number.server_ms);
	db_bind_int(s, 6, f->number.random);
	db_bind_int(s, 7, f->duration_ms);
	db_bind_int(s, 8, f->header_bytes);
	db_bind_int(s, 9, f->media_bytes);
	db_bind_int(s, 10, f->frames_bytes);
	db_bind_int(s, 11, f->segment);
	db_bind_int(s, 12, f->page);
	db_bind_int(s, 13, first_segment);
	r = db_run(s);
	if (r < 0)
		return r;
	added = db_changes(ix->db) > 0;
	r = index_count_live(ix, first_segment, f->segment, added,
			     added ? index_disk_bytes(f) : 0, mark);
	return r < 0 ? r : index_blocks_pack(ix, sid, f);
}

int index_find(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
	       uint64_t seq, struct index_row *ret_row)
{
	struct db_stmt *s = ix->st[FRAGMENT_FIND];
	int64_t sid = 0;
	int r;

	r = index_find_stream(ix, id, &sid);
	if (r <= 0)
		return r;
	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(seq));
	r = db_step(s);
	if (r == 1) {
		index_read_row(s, id, &ret_row->f);
		ret_row->first_segment = (uint32_t)db_int(s, 11);
	}
	db_reset(s);
	return r ? r : index_blocks_find(ix, sid, id, seq, ret_row);
}

static int move_in_tail(struct index_db *ix, int64_t sid,
			const struct index_row *from,
			const struct index_row *to)
{
	struct db_stmt *s = ix->st[FRAGMENT_MOVE];
	int r;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(from->f.number.seq));
	db_bind_int(s, 3, from->f.segment);
	db_bind_int(s, 4, from->f.page);
	db_bind_int(s, 5, to->f.segment);
	db_bind_int(s, 6, to->f.page);
	db_bind_int(s, 7, to->first_segment);
	r = db_run(s);
	return r < 0 ? r : db_changes(ix->db) > 0;
}

int index_relocate(struct index_db *ix, const struct index_row *from,
		   const struct index_row *to, uint32_t mark)
{
	int64_t bytes = index_disk_bytes(&from->f);
	int64_t sid = 0;
	int r;

	r = index_find_stream(ix, from->f.stream_id, &sid);
	if (r <= 0)
		return r;
	r = index_begin(ix);
	if (r == 0)
		r = move_in_tail(ix, sid, from, to);
	if (r == 0)
		r = index_blocks_move(ix, sid, from, to);
	if (r <= 0)
		return r;
	r = index_count_live(ix, from->first_segment, from->f.segment, -1,
			     -bytes, 0);
	if (r == 0)
		r = index_count_live(ix, to->first_segment, to->f.segment, 1,
				     bytes, mark);
	return r < 0 ? r : 1;
}

int index_streams(struct index_db *ix,
		  int (*each)(void *ctx, const uint8_t id[STREAM_ID_BYTES]),
		  void *ctx)
{
	uint8_t id[STREAM_ID_BYTES];
	struct db_stmt *s;
	int r;

	r = db_prepare(ix->db, "SELECT id FROM streams", &s);
	if (r < 0)
		return r;
	while ((r = db_step(s)) == 1) {
		r = db_blob_exact(s, 0, id, sizeof(id));
		if (r == 0)
			r = each(ctx, id);
		if (r < 0)
			break;
	}
	(void)db_stmt_free(s);
	return r;
}

int index_seq_max(struct index_db *ix, uint64_t *ret_seq)
{
	struct db_stmt *s;
	int r;

	/* One look-up per stream: the scan of all rows would take minutes. */
	r = db_prepare(ix->db,
		       "SELECT max(max(coalesce((SELECT max(seq) FROM fragments"
		       " WHERE fragments.sid=streams.sid), 0),"
		       " coalesce((SELECT seq_last FROM blocks"
		       " WHERE blocks.sid=streams.sid"
		       " ORDER BY seq_first DESC LIMIT 1), 0))) FROM streams",
		       &s);
	if (r < 0)
		return r;
	r = db_step(s);
	if (r == 1)
		*ret_seq = (uint64_t)db_int(s, 0);
	(void)db_stmt_free(s);
	return r < 0 ? r : 0;
}

int index_measure(struct index_db *ix, struct index_size *ret_size)
{
	struct index_size size;
	struct db_stmt *s;
	int r;

	r = db_prepare(ix->db,
		       "SELECT (SELECT count(*) FROM fragments),"
		       " (SELECT count(*) FROM blocks),"
		       " ((SELECT page_count FROM pragma_page_count) -"
		       " (SELECT freelist_count FROM pragma_freelist_count))"
		       " * (SELECT page_size FROM pragma_page_size)",
		       &s);
	if (r < 0)
		return r;
	r = db_step(s);
	if (r == 1) {
		size.tail_rows = (uint64_t)db_int(s, 0);
		size.blocks = (uint64_t)db_int(s, 1);
		size.bytes = (uint64_t)db_int(s, 2);
		*ret_size = size;
	}
	(void)db_stmt_free(s);
	return r < 0 ? r : 0;
}

bool index_damaged(const struct index_db *ix)
{
	return ix->damaged;
}

struct index_work index_work(const struct index_db *ix)
{
	return ix->work;
}
