/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fragment store as an asynchronous ops table. io/store_local.c keeps
 * segments on a local disk; the test fake (tests/support/store_fake.h) delays,
 * reorders and fails items. Nothing above this header knows which.
 *
 * A fragment's bytes are one plaintext sequence of three parts:
 *
 *   [header]  the session's MKV header, verbatim (EBML header .. Tracks)
 *   [media]   the cluster and the tags that belong to it, verbatim
 *   [frames]  the packed per-frame index (proto/frame_index.h), whose offsets
 *             count from the start of [media]
 *
 * It is sealed in pages as it arrives and becomes real with its commit
 * record. A `struct store` belongs to one loop and is used on its thread.
 * Results are handed over by callback, never from inside the call. Each call
 * may fail by itself; -ESTALE means that the store lost its right to write.
 */
#ifndef CORE_STORE_H
#define CORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/loop.h"
#include "proto/fragment_number.h"

#define STREAM_ID_BYTES 16u
#define DATA_KEY_BYTES 32u

struct store;
struct store_writer;

/* Who a fragment belongs to and the key that seals it (never logged). */
struct store_stream {
	uint8_t id[STREAM_ID_BYTES];
	uint8_t key[DATA_KEY_BYTES];
};

/* What the index keeps of a committed fragment. */
struct store_fragment {
	uint8_t stream_id[STREAM_ID_BYTES];
	struct fragment_number number;
	uint64_t producer_ms;	/* Unix epoch, start of the fragment */
	uint64_t server_ms;	/* Unix epoch, first byte arrived */
	uint32_t duration_ms;	/* last frame's start + its duration - first */
	uint32_t header_bytes;
	uint32_t media_bytes;
	uint32_t frames_bytes;
	uint32_t segment;	/* where the commit record is: segment number */
	uint32_t page;		/* and 4 KiB block within it */
};

/*
 * Times of a stream, both ends included, of which nothing is dropped: a
 * fragment any moment of which is in one of them, on either clock, stays
 * whatever its age and whoever needs room.
 */
#define STORE_HOLDS_MAX 16u /* per stream */
struct store_hold {
	uint64_t from_ms; /* Unix epoch */
	uint64_t to_ms;
};

struct store_holds {
	uint32_t count;
	struct store_hold ranges[STORE_HOLDS_MAX];
};

/* @holds may be NULL: there are none. */
static inline bool store_is_held(const struct store_holds *holds,
				 const struct store_fragment *f)
{
	uint32_t i;

	for (i = 0; holds && i < holds->count; i++) {
		const struct store_hold *h = &holds->ranges[i];

		if (f->server_ms <= h->to_ms &&
		    f->server_ms + f->duration_ms >= h->from_ms)
			return true;
		if (f->producer_ms <= h->to_ms &&
		    f->producer_ms + f->duration_ms >= h->from_ms)
			return true;
	}
	return false;
}

enum store_order {
	STORE_BY_NUMBER,
	STORE_BY_SERVER_TIME,
	STORE_BY_PRODUCER_TIME,
};

/*
 * Rows of one stream with from_ms <= t <= to_ms on the order's clock (ignored
 * by STORE_BY_NUMBER) and strictly after @after in that order; @after is the
 * last row of the page before, NULL for the first page. @descending reverses
 * the order (and what "after" means).
 */
struct store_query {
	uint8_t stream_id[STREAM_ID_BYTES];
	enum store_order order;
	bool descending;
	uint64_t from_ms;
	uint64_t to_ms;
	uint64_t not_before_ms; /* retention: server_ms below it is invisible,
				 * save what is held */
	const struct store_holds *holds; /* the store's to fill in */
	const struct store_fragment *after;
	uint32_t limit;		/* 1..LIST_RESULTS_MAX */
};

/* Embedded in its owner; ends with exactly one done(). */
struct store_op {
	/* @res: 0 (or rows/bytes as the call says) or -errno. */
	void (*done)(struct store_op *op, int res);
	/* The rest belongs to the store. */
	struct loop_task task;	/* so that completing needs no memory */
	struct list_node link;
	void *priv;
	int res;
};

/* Called once when the store takes bytes again after -EAGAIN. */
struct store_waiter {
	void (*writable)(struct store_waiter *w);
	struct list_node link;	/* list_init() it; list_del() forgets it */
};

struct store_ops {
	int (*writer_open)(struct store *s, const struct store_stream *stream,
			   const struct fragment_number *number,
			   struct store_writer **ret_writer);
	int (*writer_add)(struct store_writer *w, const void *bytes,
			  size_t len);
	void (*writer_commit)(struct store_writer *w,
			      const struct store_fragment *meta,
			      struct store_op *op);
	void (*writer_abort)(struct store_writer *w);
	void (*wait)(struct store *s, struct store_waiter *w);
	void (*read)(struct store *s, const struct store_stream *stream,
		     const struct store_fragment *f, uint64_t offset,
		     void *bytes, size_t len, struct store_op *op);
	void (*list)(struct store *s, const struct store_query *q,
		     struct store_fragment *ret_rows, struct store_op *op);
	void (*remove_stream)(struct store *s,
			      const uint8_t id[STREAM_ID_BYTES],
			      struct store_op *op);
	uint64_t (*next_seq)(struct store *s,
			     const uint8_t id[STREAM_ID_BYTES]);
};

struct store {
	const struct store_ops *ops;
};

/**
 * store_writer_open() - start a fragment
 *
 * Return: 0; -ENOSPC / -EIO when no segment can be had (tried again later by
 * the store itself: the next open may succeed); -ENOMEM; -EAGAIN too many
 * writers are open (limits.h).
 */
static inline int store_writer_open(struct store *s,
				    const struct store_stream *stream,
				    const struct fragment_number *number,
				    struct store_writer **ret_writer)
{
	return s->ops->writer_open(s, stream, number, ret_writer);
}

/**
 * store_writer_add() - append plaintext, sealed page by page
 *
 * Copies (that is the seal). Return: bytes taken (all of @len, or fewer when
 * the write buffers filled up on the way), -EAGAIN when nothing fits now
 * (store_wait() tells when), or the error that ended this writer: -EIO,
 * -ENOSPC, -ENOMEM, -EFBIG (over STORE_FRAGMENT_BYTES_MAX); then only
 * store_writer_abort() is left to call.
 */
static inline int store_writer_add(struct store_writer *w, struct store *s,
				   const void *bytes, size_t len)
{
	return s->ops->writer_add(w, bytes, len);
}

/**
 * store_writer_commit() - make the fragment real
 * @meta: number and stream come from the writer; times and part sizes from
 *	here; segment and page are ignored. Copied.
 *
 * Ends the writer whatever happens. The parts' sizes must add up to what was
 * added, which is at least one byte, and times are under INT64_MAX, else
 * done(-EINVAL). done(0) means that the fragment survives
 * a power cut from now on (invariant 2): PERSISTED may be sent, and readers
 * and store_list() of this same store find it.
 */
static inline void store_writer_commit(struct store *s, struct store_writer *w,
				       const struct store_fragment *meta,
				       struct store_op *op)
{
	s->ops->writer_commit(w, meta, op);
}

/* Forgets the fragment. Accepts NULL. */
static inline void store_writer_abort(struct store *s, struct store_writer *w)
{
	if (w)
		s->ops->writer_abort(w);
}

static inline void store_wait(struct store *s, struct store_waiter *w)
{
	s->ops->wait(s, w);
}

/**
 * store_read() - read plaintext of a committed fragment
 * @offset: in the three-part sequence described above
 * @bytes: filled only with verified plaintext (invariant 8)
 *
 * @stream and @f are copied. done(res): bytes read (less than @len only at
 * the fragment's end), -EBADMSG (tag or CRC does not verify), -ENOENT
 * (expired or deleted meanwhile), -EIO.
 */
static inline void store_read(struct store *s,
			      const struct store_stream *stream,
			      const struct store_fragment *f, uint64_t offset,
			      void *bytes, size_t len, struct store_op *op)
{
	s->ops->read(s, stream, f, offset, bytes, len, op);
}

/**
 * store_list() - find fragments
 * @ret_rows: room for q->limit rows, the caller's until done()
 *
 * Sees everything that this store committed before. done(res): number of
 * rows, or -EIO.
 */
static inline void store_list(struct store *s, const struct store_query *q,
			      struct store_fragment *ret_rows,
			      struct store_op *op)
{
	s->ops->list(s, q, ret_rows, op);
}

/* Drops a deleted stream's rows. Its bytes are unreadable without the key. */
static inline void store_remove_stream(struct store *s,
				       const uint8_t id[STREAM_ID_BYTES],
				       struct store_op *op)
{
	s->ops->remove_stream(s, id, op);
}

/*
 * The next fragment sequence number of a stream: above every number that was
 * ever handed out for it, across restarts.
 */
static inline uint64_t store_next_seq(struct store *s,
				      const uint8_t id[STREAM_ID_BYTES])
{
	return s->ops->next_seq(s, id);
}

#endif
