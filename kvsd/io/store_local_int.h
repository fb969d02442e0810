/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the local store:
 *
 *	store_local.c		opening, closing, attaching, the ops table
 *	store_local_recover.c	start-up: index against segments
 *	store_local_index.c	worker: changes to the index, queries, deletion
 *	store_local_room.c	worker: the oldest goes when the disk is used up
 *	store_local_segment.c	worker: making and closing segment files
 *	store_local_spare.c	worker: files of dead segments, kept for others
 *	store_local_write.c	loop: writers, sealing, group commit
 *	store_local_read.c	loop: verified reads
 */
#ifndef IO_STORE_LOCAL_INT_H
#define IO_STORE_LOCAL_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "core/loop.h"
#include "core/store.h"
#include "io/disk_reserve.h"
#include "io/index_sqlite.h"
#include "io/key_cache.h"
#include "io/segment_table.h"
#include "io/store_local.h"
#include "io/worker.h"
#include "proto/segment.h"

struct counters {
	_Atomic uint64_t bytes_added;
	_Atomic uint64_t bytes_written;
	_Atomic uint64_t writes;
	_Atomic uint64_t syncs;
	_Atomic uint64_t commits;
	_Atomic uint64_t failures;
	_Atomic uint64_t bytes_read;
	_Atomic uint64_t reads_bad;
	_Atomic uint64_t rows_pending;
	_Atomic uint64_t dropped;
	_Atomic uint64_t compacted;
	_Atomic uint64_t compacted_bytes;
	_Atomic uint64_t recycled;
};

static inline void count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t counted(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/*
 * A change to the index that must not get lost: kept, and tried again in its
 * order, until it is committed. Worker only.
 */
struct index_change {
	int (*apply)(struct store_local *sl, struct index_change *c);
	/* Committed: frees it. */
	void (*applied)(struct store_local *sl, struct index_change *c);
	struct list_node link;
};

/* The file of a dead segment. */
struct spare {
	uint32_t number;
	uint64_t bytes; /* on disk */
};

struct spares {
	struct spare list[STORE_SPARES_MAX]; /* the last one is used next */
	unsigned int count;
	unsigned int begun;	/* renamed, not taken in yet */
	bool unable;		/* the filesystem is */
	_Atomic uint64_t bytes; /* of all; any thread reads it */
};

struct store_local {
	const struct sys_ops *sys;
	const struct data_dir *dir;
	struct store_local_config config;
	uint64_t segment_bytes;
	struct segment_table table;
	struct counters counters;
	uint64_t recovered;
	bool room_made;	 /* a recovery gave room back, and failed */
	uint64_t unread; /* segments that recovery left alone */
	_Atomic uint64_t seq_next;
	_Atomic uint64_t seq_limit;	/* durably reserved up to here */
	atomic_flag seq_reserving;
	struct worker_job seq_job;
	struct worker *worker;
	struct compactor *compactor; /* NULL: none is wanted */

	/* Worker only. */
	struct index_db *index;
	struct disk_reserve reserve;
	struct spares spares;
	uint64_t bad_bytes;		/* of segments that were set aside */
	bool disk_lost;			/* config.free_min was not to be kept */
	uint32_t next_number;		/* of a segment */
	struct list_node changes;	/* applied, not committed */
	unsigned int change_count;
	struct list_node backlog;	/* could not be applied or committed */
	int broken;			/* why, while there is a backlog */
	uint64_t retry_ns;
	bool sweep_wanted;
	bool damaged;	  /* the index was found so */
	bool marked;	  /* INDEX_DAMAGED is there */
	uint64_t mark_ns; /* it is tried again then */

	/* Under the lock. */
	pthread_mutex_t lock;
	struct list_node instances;
};

/* A segment that an instance writes to. */
struct open_segment {
	uint32_t number;
	uint32_t next_block;
	uint32_t end_block;	/* the last block is kept for END */
	uint32_t synced_block;
	uint8_t generation[SEGMENT_ID_BYTES];
	int fd;
	struct worker_job job;	/* closes it; the worker frees it then */
	struct store_local *sl;
	struct segment_change *change;	/* so that closing needs no memory */
	bool failed;		/* a write or sync of it did */
	bool unused;		/* nothing was written: remove it */
};

struct write_buffer {
	struct list_node link;
	struct store_instance *in;
	struct open_segment *seg;
	struct list_node commits;	/* writers */
	struct loop_op op;
	uint8_t *bytes;
	uint32_t used;
	uint32_t block;		/* of the segment, where it begins */
	bool final;		/* the segment's last: END, synced */
};

#define STORE_PAGE_CHUNKS                                      \
	((SEGMENT_PAYLOAD_BYTES_MAX + STORE_CHUNK_BYTES - 1) / \
	 STORE_CHUNK_BYTES)

struct store_writer {
	struct store_instance *in;
	struct list_node link;	/* open writers, waiting, or a buffer's */
	struct cached_key *key;
	struct store_fragment f;
	uint64_t bytes;		/* added */
	struct segment_place *places;
	uint32_t page_count;
	uint32_t place_size;
	/* The unsealed rest: @fill bytes, the first chunks of it. */
	uint8_t *chunks[STORE_PAGE_CHUNKS];
	uint32_t fill;
	int err;
	struct store_op *op;	/* being committed */
	uint32_t mark;		/* block after the commit record */
	/* From the commit on, the worker's. */
	struct index_change change;
	struct worker_job job;
	struct store_local *sl;
};

enum room_state {
	ROOM_IDLE = 0,
	ROOM_LIST, /* the streams */
	ROOM_LOOK, /* what is oldest of each */
	ROOM_DROP, /* that, of each */
	ROOM_OVER,
};

/* Making room for a segment, in as many jobs as it takes. Worker only. */
struct room {
	enum room_state state;
	struct room_stream *streams;
	size_t count;
	size_t size;
	size_t next;	     /* of @streams, in LOOK and DROP */
	bool for_disk;	     /* config.free_min, else config.bytes_max */
	uint64_t disk_limit; /* bytes of segments, for config.free_min */
	unsigned int steps;  /* done for the bound */
	uint64_t before_ms;  /* up to where the last one came, or comes */
	uint64_t oldest_ms;  /* of all, as far as looked */
	uint64_t dropped;
};

/* The worker makes a segment ahead of need. One at a time per instance. */
struct segment_request {
	struct room room;
	struct worker_job job;
	struct loop_task task;
	struct open_segment *made;
	int res;
	bool busy;
};

struct store_instance {
	struct store base;
	struct store_local *sl;
	struct loop *loop;
	struct list_node link;		/* of the shared list */
	struct key_cache keys;
	unsigned int outstanding;	/* operations not handed back yet */

	/* Writing. */
	struct list_node writers;	/* open */
	unsigned int writer_count;
	struct open_segment *seg;	/* current */
	struct open_segment *spare;	/* next */
	struct segment_request request;
	int seg_err;			/* why there is none */
	void (*sealed)(void *ctx);	/* may be NULL */
	void *sealed_ctx;
	uint64_t retry_ns;
	struct write_buffer buffers[STORE_WRITE_BUFFERS];
	uint8_t *buffer_bytes;
	struct list_node free_buffers;
	struct write_buffer *cur;	/* being filled */
	struct list_node full;		/* waiting to be written, in order */
	struct write_buffer *flying;
	struct list_node commits_waiting; /* writers, for room */
	struct list_node waiters;
	uint8_t *spare_chunks[STORE_SPARE_CHUNKS];
	unsigned int spare_chunk_count;
	uint64_t nonce_prefix;
	uint32_t nonce_counter;

	/* Reading. */
	struct list_node files;		/* most recently used first */
	struct list_node maps;
	unsigned int file_idle;
	unsigned int map_idle;
	unsigned int reads;		/* running */
	struct list_node reads_waiting;
	uint8_t *read_buffers[STORE_READ_PAGES * 4];
	unsigned int read_buffer_count;
	struct loop_task purge;		/* close files of removed segments */
	_Atomic bool purging;
};

static inline struct store_instance *instance_of(struct store *s)
{
	return container_of(s, struct store_instance, base);
}

/* --- store_local.c --- */

/* Hands @op back in a later turn. Loop thread. */
void op_complete_later(struct store_instance *in, struct store_op *op,
		       int res);
/* As above from the worker; op_begin() was called on the loop thread. */
void op_begin(struct store_instance *in, struct store_op *op);
/* It is handed back. Loop thread; others call op_complete(). */
void op_end(struct store_instance *in);
void op_complete(struct store_op *op, int res);

/* --- store_local_recover.c --- */

int store_recover(struct store_local *sl) MUST_CHECK;
/* Durably reserves sequence numbers up to @limit. */
int sequence_reserve(struct store_local *sl, uint64_t limit) MUST_CHECK;

/* A file: the next start makes the index again, however it looks. */
#define INDEX_DAMAGED "index.damaged"

/* --- store_local_index.c, worker unless it says otherwise --- */

/* Any call of the index ended with @r: -EUCLEAN is told the next start. */
void index_failed(struct store_local *sl, int r);
/* Applies @c now or later; its applied() runs when it is committed. */
void change_submit(struct store_local *sl, struct index_change *c);
/*
 * Whether the index lacks what was acknowledged: not to be asked now. What is
 * in the backlog is tried again first when its time has come.
 */
bool changes_wait(struct store_local *sl);
/* For worker_new(). */
uint64_t changes_end_batch(void *ctx);
/* At the end: what is still in the backlog is left to the next replay. */
void changes_drop(struct store_local *sl);
/* Commits what was applied. Return: 0, or why not: it is backlog now. */
int changes_commit(struct store_local *sl);
/* Removes segments that nothing needs. */
void sweep_segments(struct store_local *sl);
/* What must stay of a stream. Return: 0, or why it is not known. */
int holds_of(struct store_local *sl, const uint8_t id[STREAM_ID_BYTES],
	     struct store_holds *ret_holds) MUST_CHECK;
/* Loop thread: a committed fragment becomes a row. Takes @w. */
void index_row(struct store_writer *w);
/* Loop thread; store_ops. */
void local_list(struct store *s, const struct store_query *q,
		struct store_fragment *ret_rows, struct store_op *op);
void local_remove_stream(struct store *s, const uint8_t id[STREAM_ID_BYTES],
			 struct store_op *op);

/* --- store_local_room.c --- */

/*
 * Worker, before a segment is made: keeps config.bytes_max and free_min. @l: all
 * zero at first, and again when it is over.
 * Return: false: call it again, from another job, so that others have a turn.
 */
bool room_make(struct store_local *sl, struct room *l);
/*
 * The disk is full: what only may be of use goes, and no row. Return: whether
 * that gave room back.
 */
bool room_give_up(struct store_local *sl);
/* What the disk has over @free_min. Return: 0 or an errno. */
int room_of_disk(const struct store_local *sl, uint64_t free_min,
		 uint64_t *ret_room) MUST_CHECK;

/* --- store_local_spare.c, worker --- */

/*
 * A dead segment's file has its name no more, once names are synced: it is
 * unlinked, or is a spare. Then spare_take_in() follows when nobody can open it
 * by its number any more, or spare_leave(). Return: 0 or an errno.
 */
int spare_or_unlink(struct store_local *sl, uint32_t number,
		    bool *ret_spare) MUST_CHECK;
void spare_take_in(struct store_local *sl, uint32_t number);
/* It stays as it is, until the next start. */
void spare_leave(struct store_local *sl);
/* One for a segment of @wanted bytes, which the caller takes. 0: there is none. */
uint32_t spare_pop(struct store_local *sl, uint64_t wanted);
/* Unlinks all but @keep. Return: whether that gave room back. */
bool spares_drop(struct store_local *sl, unsigned int keep);
/* Drops them where the disk has hardly more: others need it, too. */
void spares_look(struct store_local *sl);
/* What they take; any thread. */
uint64_t spares_bytes(const struct store_local *sl);
/* ... when the next segment has been made of one. */
uint64_t spares_bytes_then(const struct store_local *sl);
/*
 * The disk is full: gives up the spares, or else the reserve. Return: whether
 * there was something.
 */
bool disk_room_give_up(struct store_local *sl);

/* --- store_local_compact.c --- */

/* Begins to look for work. Return: 0, -ENOMEM, -EAGAIN. */
int compactor_new(struct store_local *sl,
		  struct compactor **ret_compactor) MUST_CHECK;
/* Ends between two fragments. Accepts NULL, returns NULL. */
struct compactor *compactor_free(struct compactor *c);
void compactor_kick(struct compactor *c);

/* --- store_local_segment.c --- */

/*
 * Worker: makes a segment of @wanted bytes, or fewer on a full disk. Where it
 * is not @replayed, what is in it without a row is of no use: a copy, the row
 * of which may have gone meanwhile.
 * Return: 0, -ENOSPC, -ENOMEM, or of a system call.
 */
int segment_make(struct store_local *sl, uint64_t wanted, bool replayed,
		 struct open_segment **ret_seg) MUST_CHECK;
/* Loop thread: asks for a spare segment, if none is on its way. */
void segment_request(struct store_instance *in);
/*
 * Its writer's thread: nothing is written to @seg any more; the records before
 * @seg->synced_block stay. Takes it; NULL is a no-op.
 */
void segment_retire(struct open_segment *seg);

/* --- store_local_write.c, loop thread --- */

int write_init(struct store_instance *in) MUST_CHECK;
void write_fini(struct store_instance *in);
bool write_idle(const struct store_instance *in);
/* A segment was made, or could not be. */
void write_segment_made(struct store_instance *in);
/* Unpins and frees; also on the worker, without @w->in. */
void writer_unpin_and_free(struct store_writer *w);
int local_writer_open(struct store *s, const struct store_stream *stream,
		      const struct fragment_number *number,
		      struct store_writer **ret_writer);
int local_writer_add(struct store_writer *w, const void *bytes, size_t len);
void local_writer_commit(struct store_writer *w,
			 const struct store_fragment *meta,
			 struct store_op *op);
void local_writer_abort(struct store_writer *w);
void local_wait(struct store *s, struct store_waiter *waiter);

/* --- store_local_read.c, loop thread --- */

void read_init(struct store_instance *in);
void read_fini(struct store_instance *in);
/* Worker: files of removed segments are to be closed. */
void read_purge_post(struct store_instance *in);
void local_read(struct store *s, const struct store_stream *stream,
		const struct store_fragment *f, uint64_t offset, void *bytes,
		size_t len, struct store_op *op);

#endif
