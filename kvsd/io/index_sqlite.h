/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index, in SQLite: one row per fragment of the last minutes of a stream,
 * one per packed minute before them, and one per segment. Nothing in it is
 * truth: it is made again from the segments when it is lost.
 *
 * All calls block and are made on one thread at a time (the worker's, or the
 * opening one). Changes belong to a transaction that the first of them opens
 * and index_commit() ends; queries see it.
 *
 * Errors are io/db_sqlite.h's. After -ENOSPC, -EIO and the like the
 * transaction is rolled back or must be: index_rollback().
 */
#ifndef IO_INDEX_SQLITE_H
#define IO_INDEX_SQLITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/index_block.h"
#include "core/store.h"

#define INDEX_ID_BYTES 16u

struct index_db;

/**
 * index_open() - open or make the index of a directory
 * @id: the directory's; an index with another one is not used
 * @ret_made: true when it was not there, foreign or damaged and an empty one
 *	took its place
 *
 * Return: 0, or why there can be none (-ENOSPC, -EIO, -ENOMEM, -EBUSY).
 */
int index_open(const char *path, const uint8_t id[INDEX_ID_BYTES],
	       struct index_db **ret_index, bool *ret_made) MUST_CHECK;
/*
 * As index_open(), for reading: nothing is written, and what is not usable
 * stays: -ENOENT, -EUCLEAN, -EMEDIUMTYPE, -EROFS (of a version before: opened
 * for writing it is converted).
 */
int index_open_readonly(const char *path, const uint8_t id[INDEX_ID_BYTES],
			struct index_db **ret_index) MUST_CHECK;
/* Removes the database and its log; nobody has it open. */
int index_remove(const char *path) MUST_CHECK;
/* Moves both, in place of what is at @to. */
int index_move(const char *path, const char *to) MUST_CHECK;
/* Rolls back what was not committed. Accepts NULL, returns NULL. */
struct index_db *index_close(struct index_db *ix);
DEFINE_AUTO(index_close, struct index_db *)

/* Rows that contradict themselves were met, whatever came of it. */
bool index_damaged(const struct index_db *ix);
/* No-op without changes. A failed commit is rolled back. */
int index_commit(struct index_db *ix) MUST_CHECK;
void index_rollback(struct index_db *ix);
/*
 * What was changed is neither committed nor undone. SQLite undoes a transaction
 * itself when certain statements fail, those that only read among them (EIO,
 * ENOMEM, ENOSPC: sqlite.org/lang_transaction.html, section 3).
 */
bool index_in_transaction(const struct index_db *ix);
/* Commits; what was committed survives a power cut from now on. */
int index_sync(struct index_db *ix) MUST_CHECK;

/*
 * True from the making of an index until index_rebuilt() is committed: its
 * rows do not say what the segments hold, whatever crashes come in between.
 */
bool index_rebuilding(struct index_db *ix);
int index_rebuilt(struct index_db *ix) MUST_CHECK;

struct index_segment {
	uint32_t number;
	uint8_t generation[16];
	bool closed;	/* nothing will be added: not replayed */
	uint32_t mark;	/* commit records before this block are indexed */
	uint64_t live;	/* rows that need it */
	uint64_t bytes; /* of them on disk, those of more segments in each */
};

/* A new segment; before the first row that needs it. */
int index_segment_add(struct index_db *ix, uint32_t number,
		      const uint8_t generation[16], uint32_t mark) MUST_CHECK;
int index_segment_close(struct index_db *ix, uint32_t number,
			uint32_t mark) MUST_CHECK;
int index_segment_drop(struct index_db *ix, uint32_t number) MUST_CHECK;
/* All of them by number. @each ends the walk with a negative value. */
int index_segments(struct index_db *ix,
		   int (*each)(void *ctx, const struct index_segment *s),
		   void *ctx) MUST_CHECK;
/* Closed ones without rows, as index_segments(). */
int index_segments_dead(struct index_db *ix,
			int (*each)(void *ctx, const struct index_segment *s),
			void *ctx) MUST_CHECK;

/* Rows that need one; 0 when it is not there. Return: 0 or an error. */
int index_segment_live(struct index_db *ix, uint32_t number,
		       uint64_t *ret_live) MUST_CHECK;

/* Closed ones with rows, at most @max, those with the fewest bytes first. */
int index_segments_sparse(struct index_db *ix, unsigned int max,
			  int (*each)(void *ctx, const struct index_segment *s),
			  void *ctx) MUST_CHECK;

/**
 * index_insert() - add a fragment
 * @first_segment: its pages are in first_segment..f->segment
 * @mark: block after its commit record: the segment's high-water mark
 *
 * A fragment that is there already is left alone.
 */
int index_insert(struct index_db *ix, const struct store_fragment *f,
		 uint32_t first_segment, uint32_t mark) MUST_CHECK;

/* The row of a fragment. Return: 1, 0 there is none. */
int index_find(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
	       uint64_t seq, struct index_row *ret_row) MUST_CHECK;
/**
 * index_relocate() - a fragment was copied: its row says so
 * @from: its row as it was found
 * @to: the same, but for segment, page and first_segment
 * @mark: as in index_insert(), of the segment that it is in now
 *
 * Return: 1; 0 the row is gone, or not where @from says: nothing changed.
 */
int index_relocate(struct index_db *ix, const struct index_row *from,
		   const struct index_row *to, uint32_t mark) MUST_CHECK;

/*
 * Rows that q->holds hold are visible at any age.
 * Return: number of rows written to @ret_rows (room for q->limit).
 */
int index_query(struct index_db *ix, const struct store_query *q,
		struct store_fragment *ret_rows) MUST_CHECK;

/**
 * index_delete() - drop rows of a stream with server_ms < @before_ms
 * @before_ms: UINT64_MAX drops all, and the stream with its last row
 * @holds: what stays; NULL: nothing
 * @max: about so many; a packed minute goes whole, and only when all of it is
 *	from before @before_ms and none of it held
 *
 * Return: number of rows dropped; fewer than @max: there are no more.
 */
int index_delete(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		 uint64_t before_ms, const struct store_holds *holds,
		 unsigned int max) MUST_CHECK;

/* A stream's plaintext bytes. Return: 1, 0 it has none. */
int index_stream_bytes(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		       uint64_t *ret_bytes) MUST_CHECK;
/**
 * index_trim() - drop a stream's oldest rows while it has over @bytes_max
 * @holds: as index_delete(); what is held does not count
 * @max: about so many; packed minutes go whole
 *
 * Return: number of rows dropped; fewer than @max: it is within @bytes_max.
 */
int index_trim(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
	       uint64_t bytes_max, const struct store_holds *holds,
	       unsigned int max) MUST_CHECK;

/* Each stream that has (or had) rows. */
int index_streams(struct index_db *ix,
		  int (*each)(void *ctx, const uint8_t id[STREAM_ID_BYTES]),
		  void *ctx) MUST_CHECK;
/* Each row of all streams. @each ends the walk with a negative value. */
int index_rows(struct index_db *ix,
	       int (*each)(void *ctx, const struct store_fragment *f,
			   uint32_t first_segment),
	       void *ctx) MUST_CHECK;
/*
 * The server_ms of what index_delete() would drop of a stream first; the last
 * of its packed minute comes within a span. Return: 1, 0 nothing can go.
 */
int index_oldest(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		 const struct store_holds *holds,
		 uint64_t *ret_server_ms) MUST_CHECK;

/* What is in the index, counted: takes as long as it is large. */
struct index_size {
	uint64_t tail_rows; /* a row per fragment */
	uint64_t blocks;    /* a row per packed minute */
	uint64_t bytes;	    /* pages in use */
};
int index_measure(struct index_db *ix, struct index_size *ret_size) MUST_CHECK;
/* What was read since the opening. */
struct index_work {
	uint64_t tail_rows; /* by queries */
	uint64_t blocks;    /* likewise */
	uint64_t unpacked;  /* blocks, by all else */
};
struct index_work index_work(const struct index_db *ix);

/* Highest fragment sequence number of all rows; 0 without rows. */
int index_seq_max(struct index_db *ix, uint64_t *ret_seq) MUST_CHECK;

#endif
