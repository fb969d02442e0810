/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local store: segments on a disk and an index in SQLite.
 *
 * One `struct store_local` per directory is shared by the loop threads. Each
 * loop thread attaches its own `struct store` (core/store.h), which has its
 * own open segment. One more thread, the worker, owns the index and makes and
 * unlinks files.
 *
 * Memory of an attached store: STORE_WRITE_BUFFERS * STORE_WRITE_BUFFER_BYTES
 * reserved at once; per open writer up to a page (64 KiB) and 8 bytes per
 * page written; per running read STORE_READ_PAGES pages, for at most
 * STORE_READS_MAX reads; the idle lists of core/limits.h.
 *
 * Order of closing: store_local_detach() for each store on its thread, then
 * store_local_close().
 */
#ifndef IO_STORE_LOCAL_H
#define IO_STORE_LOCAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/store.h"
#include "io/data_dir.h"

struct loop;
struct store_local;

struct store_local_config {
	/* Borrowed; both outlive the store. */
	const struct sys_ops *sys;
	const struct data_dir *dir;
	uint64_t segment_bytes;	/* 0: SEGMENT_BYTES_DEFAULT */
	/*
	 * What all segments together may take on disk, with spares and those
	 * that are set aside, 0: no bound. Before one is
	 * made over it, the oldest minutes of all streams are dropped. At
	 * least four segments per store attached, or the bound is not kept.
	 */
	uint64_t bytes_max;
	/*
	 * What the disk shall have left, whoever fills it; 0: no matter. The
	 * same is dropped for it, once for each segment that is made.
	 */
	uint64_t free_min;
	/*
	 * Closed segments of which less than so much (percent) is still
	 * needed are emptied into another and go; 0: never. Needs find_key.
	 */
	unsigned int compact_percent;
	bool strict;	/* a segment that cannot be read fails the opening */
	bool buffered;	/* through the page cache even where O_DIRECT works */
	bool no_thread;	/* the worker's jobs run inside the calls that
			 * cause them, rows with the next other job: for
			 * simulations */
	/*
	 * Looks a stream up, during store_local_open() and for compaction,
	 * on a thread of its own. 0: @ret_key is its key; -ENOENT: there is no
	 * such stream, and its rows are dropped; another error: not known now.
	 * May be NULL: every stream exists.
	 */
	int (*find_key)(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			uint8_t ret_key[DATA_KEY_BYTES]);
	void *find_key_ctx;
	/*
	 * What retention, bounds and a full disk must leave of a stream; with
	 * find_key_ctx, on the worker's thread. It is visible to queries at
	 * any age. 0; -ENOENT: nothing; another error: nothing is dropped and
	 * the query fails. May be NULL.
	 */
	int (*find_holds)(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			  struct store_holds *ret_holds);
};

/**
 * store_local_open() - open the store of a directory and recover
 *
 * Blocks: opens the index (or makes it again when it is lost, foreign or
 * damaged), replays what the index does not have, drops what belongs to no
 * stream. What is damaged or cannot be read is logged, and keeps nothing else
 * from being used. Refusals are logged with their reason; the caller logs the
 * error.
 *
 * Return: 0; -EMEDIUMTYPE (segments of another directory); -EINVAL (segment
 * size out of SEGMENT_BYTES_MIN..MAX or not whole blocks); -ENOSPC, -EIO,
 * -ENOMEM.
 */
int store_local_open(const struct store_local_config *config,
		     struct store_local **ret_store) MUST_CHECK;
/*
 * Writes the index out and ends the worker. Every store is detached.
 * Accepts NULL, returns NULL.
 */
struct store_local *store_local_close(struct store_local *sl);
DEFINE_AUTO(store_local_close, struct store_local *)

/**
 * store_local_attach() - the store of one loop
 * @l: outlives the store; all calls are made on its thread
 *
 * Return: 0, -ENOMEM, -EIO (no random bytes).
 */
int store_local_attach(struct store_local *sl, struct loop *l,
		       struct store **ret_store) MUST_CHECK;
/*
 * Finishes what was begun, then frees the store. Turns the loop itself until
 * its own operations have ended, so callbacks of others may run. Open writers
 * must have been committed or aborted. Accepts NULL, returns NULL.
 */
struct store *store_local_detach(struct store *s);

/**
 * store_local_expire() - drop a stream's fragments from before a time
 * @before_ms: server time, Unix epoch
 *
 * In slices, so that queries are answered meanwhile; then removes segments
 * that nothing needs any more. The rows are invisible long before, through
 * store_query.not_before_ms.
 * done(res): number of fragments dropped (at most INT_MAX), or -EIO, -ENOSPC,
 * -ENOMEM.
 */
void store_local_expire(struct store *s, const uint8_t id[STREAM_ID_BYTES],
			uint64_t before_ms, struct store_op *op);

/*
 * As store_local_expire(): drops a stream's oldest minutes until its
 * fragments' bytes (header, media, frame index) are at most @bytes_max.
 */
void store_local_trim(struct store *s, const uint8_t id[STREAM_ID_BYTES],
		      uint64_t bytes_max, struct store_op *op);

/*
 * @sealed runs, on the store's thread, whenever it has filled a segment and
 * another is ready: so much was written since. NULL ends it.
 */
void store_local_on_sealed(struct store *s, void (*sealed)(void *ctx),
			   void *ctx);

/*
 * Returns when no deletion goes on that asked config.find_holds before the
 * call. Blocks; not from the worker.
 */
void store_local_settle(struct store_local *sl);

/* Sums over all attached stores since the opening. Any thread. */
struct store_local_stats {
	uint64_t bytes_added;	/* plaintext */
	uint64_t bytes_written;	/* to segments */
	uint64_t writes;	/* operations */
	uint64_t syncs;		/* of them with fdatasync */
	uint64_t commits;	/* acknowledged */
	uint64_t failures;	/* segments given up after a failed write */
	uint64_t bytes_read;	/* plaintext, verified */
	uint64_t reads_bad;	/* tag or CRC did not verify */
	uint64_t rows_pending;	/* committed, not in the index yet */
	uint64_t recovered;	/* fragments found by replay when opened */
	uint64_t dropped;	/* fragments, for bytes_max */
	uint64_t compacted;	/* segments emptied */
	uint64_t compacted_bytes; /* written for it */
	uint64_t recycled;	/* segments made of the files of dead ones */
	uint64_t unread;	/* segments that the opening could not read */
	uint64_t segments;	/* files */
	uint64_t segment_bytes; /* reserved for each that is written to */
	uint64_t disk_bytes;	/* that they take, spares and those set aside */
};
void store_local_stats(struct store_local *sl,
		       struct store_local_stats *ret_stats);

/*
 * Looks for a segment to compact now and not in a while. Any thread; without
 * a thread (config.no_thread) it makes one step: the next batch of fragments.
 */
void store_local_compact(struct store_local *sl);

/*
 * Bytes on disk, as stats.disk_bytes, and how many more there is room for
 * until the disk is full, or has config.free_min left, or until
 * config.bytes_max if that comes first.
 * Return: 1 the bound comes first, 0 the disk, or an errno.
 */
int store_local_room(struct store_local *sl, uint64_t *ret_used,
		     uint64_t *ret_room) MUST_CHECK;

#endif
