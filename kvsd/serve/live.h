/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is happening on a stream right now: its uploads, its readers and the
 * fragments that have begun but are not in the store yet. All of a stream is
 * on one thread; nothing here is shared.
 *
 * A fragment is in the list from its first byte until it is committed or
 * lost, so a reader that takes the lowest number of {list, store} after the
 * one it had neither skips nor repeats. Its bytes are kept when somebody reads
 * the stream as it begins and the table has memory left; a reader that needs
 * more waits for the commit and goes on from the store, at the same offset.
 *
 * A stream with retention 0 has no store: whole fragments stay in the list for
 * LIVE_BUFFER_NS_MAX, also when nobody uploads or reads any more; each holds a
 * reference to its stream. The oldest give way earlier when the stream has
 * more than stream_bytes_max, or when the table's memory is needed. They stay
 * when the stream is given a retention: who is reading them has them still to
 * come.
 *
 * A reader in the middle of a fragment that left the list may finish it, as
 * long as its memory is not needed. Then it is revoked: gone, whoever reads it.
 */
#ifndef SERVE_LIVE_H
#define SERVE_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "core/ingest.h"
#include "core/limits.h"
#include "core/loop.h"
#include "core/store.h"

struct live_table {
	struct loop *loop;
	struct list_node buckets[LIVE_BUCKETS];
	uint64_t bytes_max;	 /* of them; may be changed at any time */
	size_t stream_bytes_max; /* of a stream with retention 0 */
	/* Kept bytes, also of fragments that only readers still hold. */
	size_t kept_bytes;
	struct list_node held; /* by readers only, in the order they left */
	/* Of retention-0 streams: */
	struct list_node buffered; /* whole fragments, oldest first */
	struct loop_timer timer;   /* the first one's end; none: idle */
};

/* Embedded in a reader. */
struct live_reader {
	/* The stream's live state changed. */
	void (*changed)(struct live_reader *r);
	/* A fragment has left the list for the store. May be NULL. */
	void (*committed)(struct live_reader *r,
			  const struct fragment_number *number);
	/* The stream was deleted. */
	void (*deleted)(struct live_reader *r);
	struct list_node link;
};

/* Embedded in an upload. */
struct live_upload {
	void (*deleted)(struct live_upload *u);
	/* Somebody has begun to read the stream. */
	void (*watched)(struct live_upload *u);
	struct list_node link;
};

struct live_stream {
	struct live_table *table;
	struct list_node bucket;
	uint8_t id[STREAM_ID_BYTES];
	unsigned int refs;
	uint32_t retention_hours; /* as far as we have heard */
	bool stored; /* what is uploaded now; lags behind the above */
	bool deleted;
	struct list_node uploads;
	struct list_node readers;
	unsigned int reader_count;
	unsigned int list_count;     /* GetMediaForFragmentList */
	struct list_node fragments;  /* by number */
	size_t kept_bytes;	     /* of the above */
	unsigned int buffered_count; /* ... that no store has */
	bool any_committed;
	struct fragment_number committed; /* highest since we know it */
	bool dirty;			  /* readers have not been told */
	uint64_t codec_hash; /* of the last upload's tracks; 0: none */
};

enum live_state { LIVE_OPEN, LIVE_WHOLE, LIVE_COMMITTED, LIVE_GONE };

struct live_fragment {
	struct live_table *table;
	struct live_stream *stream;
	struct list_node link;
	/* On live_table's, and holds @stream; or on @held, and does not. */
	struct list_node buffered;
	uint64_t whole_ns;    /* CLOCK_MONOTONIC, when on it */
	size_t charged_bytes; /* in kept_bytes of table and stream */
	unsigned int refs;
	enum live_state state;
	bool stored; /* its upload stores it */
	bool timed;
	bool revoked;		 /* nothing is here any more */
	bool kept;		 /* bytes are here from the start */
	bool overflow;		 /* ... and end at @kept_bytes */
	struct ingest_view view; /* header: NULL, see below */
	uint8_t *header;	 /* own copy when kept */
	size_t header_bytes;
	uint64_t media_bytes; /* so far */
	uint64_t boundary;
	size_t kept_bytes;
	uint8_t **chunks; /* of LIVE_CHUNK_BYTES each */
	size_t chunk_count;
	size_t chunk_room; /* pointers that @chunks has room for */
};

/*
 * @loop: borrowed, for time and a timer; must outlive the table. Its bounds are
 * LIVE_MEMORY_BYTES_DEFAULT and LIVE_BUFFER_BYTES_MAX.
 */
void live_table_init(struct live_table *t, struct loop *loop);
/* Drops what is buffered. Uploads and readers are gone. */
void live_table_fini(struct live_table *t);

/*
 * @hours: the stream's retention; as in live_stream_retention()
 * Return: with a reference, or NULL (no memory).
 */
struct live_stream *live_stream_get(struct live_table *t,
				    const uint8_t id[STREAM_ID_BYTES],
				    uint32_t hours);
/*
 * The retention has changed. Readers go by it at once, uploads from the next
 * one on that finds no other.
 */
void live_stream_retention(struct live_table *t,
			   const uint8_t id[STREAM_ID_BYTES], uint32_t hours);
/* NULL: nothing is going on with it. No reference is taken. */
struct live_stream *live_stream_find(struct live_table *t,
				     const uint8_t id[STREAM_ID_BYTES]);
void live_stream_put(struct live_stream *s);

/* Tells uploads and readers that the stream is gone; drops its buffer. */
void live_stream_delete(struct live_stream *s);

void live_reader_add(struct live_stream *s, struct live_reader *r);
void live_reader_remove(struct live_stream *s, struct live_reader *r);

/* --- from the upload, as ingest_ops has them --- */

/* NULL: no memory; the upload must end, or readers would miss a fragment. */
struct live_fragment *live_begin(struct live_stream *s,
				 const struct ingest_view *view);
void live_timed(struct live_fragment *f, const struct ingest_view *view);
void live_bytes(struct live_fragment *f, const uint8_t *bytes, size_t len);
void live_boundary(struct live_fragment *f, uint64_t media);
/* Gives the upload's reference back unless @how is WHOLE and stored. */
void live_end(struct live_fragment *f, enum ingest_end how);
/* Tells the readers, once for all that happened since the last time. */
void live_notify(struct live_stream *s);

/* --- for readers --- */

/* The lowest number after @after (NULL: of all); NULL: none. */
struct live_fragment *live_next(struct live_stream *s,
				const struct fragment_number *after);
/* The newest whose bytes are kept, or NULL. Not one that stored ones follow. */
struct live_fragment *live_newest(struct live_stream *s);
/*
 * The newest that began at or before @at_ms, or NULL.
 * @producer: by its producer's time, else by ours
 */
struct live_fragment *live_at(struct live_stream *s, bool producer,
			      uint64_t at_ms);
uint64_t live_began_ms(const struct live_fragment *f, bool producer);
void live_fragment_ref(struct live_fragment *f);
void live_fragment_put(struct live_fragment *f);

/* Media that may be sent from @offset on: whole elements only. */
size_t live_peek(const struct live_fragment *f, uint64_t offset,
		 const uint8_t **ret_bytes);

#endif
