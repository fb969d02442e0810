/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the index:
 *
 *	index_sqlite.c	opening, transactions, segments, rows of the tail
 *	index_delete.c	deleting by age and by bytes
 *	index_blocks.c	packing the tail into blocks, deleting blocks
 *	index_query.c	queries over both
 *	index_known.c	what needs no query
 *
 * Two levels. A fragment's row is added to the tail (table fragments, one row
 * each). When the stream has gone two spans (INDEX_BLOCK_SPAN_MS) beyond its
 * oldest row, about a span of rows is packed into one row of the table
 * blocks. So what a stream has in the tail is bounded, and what it has over
 * time is a row per minute.
 *
 * Blocks of a stream do not overlap by number. On either clock a block covers
 * no more than a span, however clocks jump: where one does, the block ends.
 */
#ifndef IO_INDEX_INT_H
#define IO_INDEX_INT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/index_block.h"
#include "core/limits.h"
#include "io/db_sqlite.h"
#include "io/index_sqlite.h"
#include "proto/segment.h"

#define INDEX_COLUMNS                                                  \
	"seq, server_ms, producer_ms, number_ms, random, duration_ms," \
	"header_bytes, media_bytes, frames_bytes, segment, page"

enum index_statement {
	STREAM_FIND,
	STREAM_ADD,
	STREAM_DROP,
	STREAM_BYTES,
	STREAM_SIZE,
	SEGMENT_ADD,
	SEGMENT_CLOSE,
	SEGMENT_DROP,
	SEGMENT_LIVE,
	SEGMENT_DEAD_ROWS,
	SEGMENT_SPARSE_ROWS,
	SEGMENT_ROW,
	FRAGMENT_ADD,
	FRAGMENT_DELETE,
	FRAGMENT_DELETE_ONE,
	FRAGMENT_OLDEST,
	FRAGMENT_FIND,
	FRAGMENT_MOVE,
};
#define INDEX_STATEMENT_COUNT (FRAGMENT_MOVE + 1)

enum index_block_statement {
	TAIL_OLDEST,
	TAIL_ROWS,
	TAIL_PACKED,
	BLOCK_AT,
	BLOCK_AFTER,
	BLOCK_ROWS,
	BLOCK_ADD,
	BLOCK_REPLACE,
	BLOCK_DELETE,
	BLOCK_ALL,
	STREAM_RECOUNT,
	BLOCK_EXPIRED,
	BLOCK_NEAR,
};
#define INDEX_BLOCK_STATEMENT_COUNT (BLOCK_NEAR + 1)

#define INDEX_QUERIES 6 /* three orders, both ways */

#define INDEX_KNOWN_STREAMS 4096u

/* Of a stream with these holds. */
struct index_held {
	struct store_holds holds;
	uint64_t bytes; /* of the blocks with a held row */
	bool counted;	/* @bytes is known */
	/* The blocks up to here, in the order of expiry, stay. */
	int64_t server_max; /* -1: from the first */
	int64_t server_min;
	int64_t block;
};

struct index_known {
	uint8_t id[STREAM_ID_BYTES];
	int64_t sid;	    /* 0: nothing is known */
	int64_t block_last; /* no block ends behind it; -1: not known */
	int64_t oldest_seq; /* the tail's first row; -1: not known */
	int64_t oldest_ms;
	struct index_held *held; /* owned; NULL: not known */
};

/* Changes of index_count_live() that are not written yet. */
struct index_count {
	uint32_t first;
	uint32_t last;
	uint32_t mark;
	bool any;
	int64_t live;
	int64_t bytes;
};
#define INDEX_COUNTS 256u

struct index_db {
	struct db *db;
	struct db_stmt *st[INDEX_STATEMENT_COUNT];
	struct db_stmt *blocks[INDEX_BLOCK_STATEMENT_COUNT];
	struct db_stmt *tail_query[INDEX_QUERIES];
	struct db_stmt *block_query[INDEX_QUERIES];
	struct index_work work;
	bool damaged; /* something in it was not what it should be */
	bool begun;   /* index_begin() without its end */
	struct index_count counts[INDEX_COUNTS];
	unsigned int count_pending;
	struct index_known known[INDEX_KNOWN_STREAMS];
	/* Scratch: too large for a stack. */
	struct index_row rows[INDEX_BLOCK_ROWS_MAX];
	struct index_row merged[INDEX_BLOCK_ROWS_MAX + 1];
	uint8_t packed[INDEX_BLOCK_BYTES_MAX];
	struct store_fragment from_tail[LIST_RESULTS_MAX];
	struct store_fragment from_blocks[LIST_RESULTS_MAX];
};

static inline int64_t index_clamp(uint64_t v)
{
	return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

static inline uint64_t index_row_bytes(const struct store_fragment *f)
{
	return (uint64_t)f->header_bytes + f->media_bytes + f->frames_bytes;
}

/* What a row says that a segment has of it: all of it, in each it needs. */
static inline int64_t index_disk_bytes(const struct store_fragment *f)
{
	uint64_t bytes = index_row_bytes(f);

	return bytes ? (int64_t)segment_fragment_bytes(bytes) : 0;
}

/* Opens a transaction, if none is. */
int index_begin(struct index_db *ix) MUST_CHECK;
int index_prepare(struct db *db, const char *const *sql, unsigned int count,
		  struct db_stmt **ret_stmts) MUST_CHECK;
/* Columns INDEX_COLUMNS of the current row. */
void index_read_row(struct db_stmt *s, const uint8_t id[STREAM_ID_BYTES],
		    struct store_fragment *f);
/* Return: 1 found, 0 not. */
int index_find_stream(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		      int64_t *ret_sid) MUST_CHECK;
/*
 * @live rows of @bytes more (or fewer) that need segments @first..@last;
 * written by index_write_counts(), since many rows need the same few.
 */
int index_count_live(struct index_db *ix, uint32_t first, uint32_t last,
		     int64_t live, int64_t bytes, uint32_t mark) MUST_CHECK;
/* Before segments are read or changed, and before a commit. */
int index_write_counts(struct index_db *ix) MUST_CHECK;

/* --- index_known.c --- */

/* NULL: nothing is known of it. Valid until the next call of any of these. */
struct index_known *index_known(struct index_db *ix,
				const uint8_t id[STREAM_ID_BYTES]);
void index_known_add(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		     int64_t sid);
void index_known_drop(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES]);
/* Rows were taken from its tail. */
void index_known_tail(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES]);
/* A transaction was undone. */
void index_known_clear(struct index_db *ix);
/* Was one? */
void index_known_check(struct index_db *ix);
/* To be filled in. NULL: no holds, no memory, or not a stream with rows. */
struct index_held *index_held(struct index_db *ix,
			      const uint8_t id[STREAM_ID_BYTES],
			      const struct store_holds *holds);
/* @bytes: of all @rows; @server_max: of any of them */
void index_known_block_added(struct index_db *ix, const struct index_row *rows,
			     unsigned int count, uint64_t bytes,
			     uint64_t server_max);
void index_known_block_dropped(struct index_db *ix,
			       const struct index_row *rows, unsigned int count,
			       uint64_t bytes);

/* --- index_blocks.c --- */

int index_blocks_prepare(struct index_db *ix) MUST_CHECK;
/* Return: 1 a block has the fragment @seq, 0 none has. */
int index_blocks_have(struct index_db *ix, int64_t sid,
		      const struct store_fragment *f) MUST_CHECK;
/* The row of a packed fragment. Return: 1, 0 there is none. */
int index_blocks_find(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES], uint64_t seq,
		      struct index_row *ret_row) MUST_CHECK;
/* It is somewhere else now. Return: 1, 0 it is not where @from says. */
int index_blocks_move(struct index_db *ix, int64_t sid,
		      const struct index_row *from,
		      const struct index_row *to) MUST_CHECK;
/* After @f was added: packs about as much as is added. */
int index_blocks_pack(struct index_db *ix, int64_t sid,
		      const struct store_fragment *f) MUST_CHECK;
/*
 * Drops blocks that end before @before_ms until @max rows are gone.
 * Return: rows dropped.
 */
int index_blocks_delete(struct index_db *ix, int64_t sid,
			const uint8_t id[STREAM_ID_BYTES], uint64_t before_ms,
			const struct store_holds *holds,
			unsigned int max) MUST_CHECK;

/*
 * Drops the oldest blocks until @excess bytes or @max rows are gone; @excess
 * says what is left of it. Return: rows dropped.
 */
int index_blocks_trim(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES],
		      const struct store_holds *holds, uint64_t *excess,
		      unsigned int max) MUST_CHECK;
/*
 * Where the block begins that index_blocks_delete() would drop first.
 * Return: 1, 0 there is none.
 */
int index_blocks_oldest(struct index_db *ix, int64_t sid,
			const uint8_t id[STREAM_ID_BYTES],
			const struct store_holds *holds,
			uint64_t *ret_server_ms) MUST_CHECK;
/* Bytes of packed rows that are held. */
int index_blocks_held(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES],
		      const struct store_holds *holds,
		      uint64_t *ret_bytes) MUST_CHECK;

/* --- index_query.c --- */

int index_query_prepare(struct index_db *ix) MUST_CHECK;

#endif
