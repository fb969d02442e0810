/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ingest_sink.h"

#include <assert.h>
#include <errno.h>

#include "core/limits.h"
#include "proto/limits.h"

void ingest_sink_init(struct ingest_sink *s, struct store *store,
		      const struct store_stream *stream)
{
	*s = (struct ingest_sink){.store = store, .stream = stream};
	buf_init(&s->pending, INGEST_PENDING_BYTES_MAX);
	buf_init(&s->frames, FRAME_INDEX_BYTES_MAX);
}

void ingest_sink_fini(struct ingest_sink *s)
{
	assert(!s->writer);
	buf_fini(&s->pending);
	buf_fini(&s->frames);
}

void ingest_sink_begin(struct ingest_sink *s,
		       const struct fragment_number *number,
		       const uint8_t *header, size_t header_bytes)
{
	assert(!s->writer);
	assert(!buf_len(&s->pending));
	s->number = *number;
	s->header = header;
	s->header_bytes = header_bytes;
	s->header_sent = 0;
	s->frames_sent = 0;
	buf_reset(&s->frames);
	frame_index_begin(&s->index, &s->frames);
}

/* Return: bytes taken, 0 when the store is behind, or its error. */
static int hand_over(struct ingest_sink *s, const uint8_t *bytes, size_t len)
{
	int r = store_writer_add(s->writer, s->store, bytes, len);

	return r == -EAGAIN ? 0 : r;
}

/* Return: 1 when the header is through, 0 when it waits, or an error. */
static int start(struct ingest_sink *s)
{
	int r;

	if (!s->writer) {
		r = store_writer_open(s->store, s->stream, &s->number,
				      &s->writer);
		if (r < 0)
			return r == -EAGAIN ? 0 : r;
	}
	while (s->header_sent < s->header_bytes) {
		r = hand_over(s, s->header + s->header_sent,
			      s->header_bytes - s->header_sent);
		if (r <= 0)
			return r;
		s->header_sent += (size_t)r;
	}
	return 1;
}

int ingest_sink_add(struct ingest_sink *s, const uint8_t *bytes, size_t len)
{
	int r;

	if (!s->store || !len)
		return 0;
	r = buf_len(&s->pending) ? 0 : start(s);
	if (r < 0)
		return r;
	while (r > 0 && len) {
		r = hand_over(s, bytes, len);
		if (r < 0)
			return r;
		bytes += r;
		len -= (size_t)r;
	}
	return len ? buf_add(&s->pending, bytes, len) : 0;
}

int ingest_sink_flush(struct ingest_sink *s, bool whole)
{
	int r;

	if (!s->store)
		return 1;
	r = start(s);
	if (r <= 0)
		return r;
	while (buf_len(&s->pending)) {
		r = hand_over(s, buf_head(&s->pending), buf_len(&s->pending));
		if (r <= 0)
			return r;
		buf_consume(&s->pending, (size_t)r);
	}
	while (whole && s->frames_sent < buf_len(&s->frames)) {
		r = hand_over(s, buf_head(&s->frames) + s->frames_sent,
			      buf_len(&s->frames) - s->frames_sent);
		if (r <= 0)
			return r;
		s->frames_sent += (size_t)r;
	}
	return 1;
}

bool ingest_sink_behind(const struct ingest_sink *s)
{
	return buf_len(&s->pending) != 0;
}

void ingest_sink_commit(struct ingest_sink *s,
			const struct store_fragment *meta, struct store_op *op)
{
	struct store_writer *w = TAKE_PTR(s->writer);

	assert(!buf_len(&s->pending));
	store_writer_commit(s->store, w, meta, op);
}

void ingest_sink_abort(struct ingest_sink *s)
{
	if (s->store)
		store_writer_abort(s->store, TAKE_PTR(s->writer));
	buf_reset(&s->pending);
}
