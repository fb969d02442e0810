/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is happening on a stream right now: its uploads, its readers and the
 * fragments that have begun but are not in the store yet. All of a stream is
 * on one thread; nothing here is shared.
 *
 * A fragment is in the list from its first byte until it is committed or
 * lost, so a reader that takes the lowest number of {list, store} after the
 * one it had neither skips nor repeats. Its bytes are kept when somebody reads
 * the stream as it begins, up to LIVE_FRAGMENT_BYTES_MAX; a reader that needs
 * more waits for the commit and goes on from the store, at the same offset.
 *
 * A stream with retention 0 has no store: whole fragments stay in the list,
 * newest LIVE_BUFFER_BYTES_MAX and LIVE_BUFFER_MS_MAX of them.
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
#include "core/store.h"

struct live_table {
	struct list_node buckets[LIVE_BUCKETS];
	size_t buffered_bytes; /* of retention-0 streams */
};

/* Embedded in a reader. */
struct live_reader {
	/* The stream's live state changed. */
	void (*changed)(struct live_reader *r);
	/* The stream was deleted. */
	void (*deleted)(struct live_reader *r);
	struct list_node link;
};

/* Embedded in an upload. */
struct live_upload {
	void (*deleted)(struct live_upload *u);
	struct list_node link;
};

struct live_stream {
	struct live_table *table;
	struct list_node bucket;
	uint8_t id[STREAM_ID_BYTES];
	unsigned int refs;
	bool stored; /* retention is not 0 */
	bool deleted;
	struct list_node uploads;
	struct list_node readers;
	unsigned int reader_count;
	struct list_node fragments; /* by number */
	size_t buffered_bytes;	    /* !stored */
	bool any_committed;
	struct fragment_number committed; /* highest since we know it */
	bool dirty;			  /* readers have not been told */
};

enum live_state { LIVE_OPEN, LIVE_WHOLE, LIVE_COMMITTED, LIVE_GONE };

struct live_fragment {
	struct live_stream *stream;
	struct list_node link;
	unsigned int refs;
	enum live_state state;
	bool timed;
	bool kept;		 /* bytes are here from the start */
	bool overflow;		 /* ... and end at @kept_bytes */
	struct ingest_view view; /* header: NULL, see below */
	uint8_t *header;	 /* own copy when kept */
	size_t header_bytes;
	uint64_t media_bytes; /* so far */
	uint64_t boundary;
	size_t kept_bytes;
	uint8_t *chunks[LIVE_FRAGMENT_BYTES_MAX / LIVE_CHUNK_BYTES];
};

void live_table_init(struct live_table *t);

/* Return: with a reference, or NULL (no memory). */
struct live_stream *live_stream_get(struct live_table *t,
				    const uint8_t id[STREAM_ID_BYTES],
				    bool stored);
/* NULL: nothing is going on with it. No reference is taken. */
struct live_stream *live_stream_find(struct live_table *t,
				     const uint8_t id[STREAM_ID_BYTES]);
void live_stream_put(struct live_stream *s);

/* Tells uploads and readers that the stream is gone. */
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
void live_end(struct live_fragment *f, enum ingest_end how, uint64_t now_ms);
/* Tells the readers, once for all that happened since the last time. */
void live_notify(struct live_stream *s);

/* --- for readers --- */

/* The lowest number after @after (NULL: of all); NULL: none. */
struct live_fragment *live_next(struct live_stream *s,
				const struct fragment_number *after);
/* The newest whose bytes are kept, or NULL. */
struct live_fragment *live_newest(struct live_stream *s);
void live_fragment_ref(struct live_fragment *f);
void live_fragment_put(struct live_fragment *f);

/* Media that may be sent from @offset on: whole elements only. */
size_t live_peek(const struct live_fragment *f, uint64_t offset,
		 const uint8_t **ret_bytes);

#endif
