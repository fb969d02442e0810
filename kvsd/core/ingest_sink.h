/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One fragment's way into the store: header, media, frame index, commit.
 * Takes every byte it is given; what the store has no room for waits in
 * @pending, and the owner reads no more from the device until that is empty.
 */
#ifndef CORE_INGEST_SINK_H
#define CORE_INGEST_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "core/store.h"
#include "proto/frame_index.h"

struct ingest_sink {
	struct store *store;
	const struct store_stream *stream;
	struct fragment_number number;
	struct store_writer *writer; /* NULL until the store gave one */
	const uint8_t *header;	     /* borrowed until the sink is done */
	size_t header_bytes;
	size_t header_sent;
	struct buf pending;
	struct buf frames;
	size_t frames_sent;
	struct frame_index_writer index;
};

void ingest_sink_init(struct ingest_sink *s, struct store *store,
		      const struct store_stream *stream);
void ingest_sink_fini(struct ingest_sink *s);

/* Starts a fragment; nothing of the one before may be left. */
void ingest_sink_begin(struct ingest_sink *s,
		       const struct fragment_number *number,
		       const uint8_t *header, size_t header_bytes);

/* Return: 0, -ENOMEM, or the store's error that ended the writer. */
int ingest_sink_add(struct ingest_sink *s, const uint8_t *bytes,
		    size_t len) MUST_CHECK;

/**
 * ingest_sink_flush() - hand over what waits
 * @whole: no media follows: the frame index too
 *
 * Return: 1 nothing waits any more, 0 the store is behind, or its error.
 */
int ingest_sink_flush(struct ingest_sink *s, bool whole) MUST_CHECK;

/* Something waits for the store. */
bool ingest_sink_behind(const struct ingest_sink *s);

/* After flush(whole) returned 1: gives the writer to the store. */
void ingest_sink_commit(struct ingest_sink *s,
			const struct store_fragment *meta, struct store_op *op);

/* Forgets the fragment. */
void ingest_sink_abort(struct ingest_sink *s);

#endif
