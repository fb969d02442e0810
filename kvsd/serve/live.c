/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/live.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

void live_table_init(struct live_table *t)
{
	size_t i;

	for (i = 0; i < LIVE_BUCKETS; i++)
		list_init(&t->buckets[i]);
	t->buffered_bytes = 0;
}

/* Ids are random: any four bytes are a hash. */
static struct list_node *bucket_of(struct live_table *t, const uint8_t *id)
{
	return &t->buckets[load_le32(id) % LIVE_BUCKETS];
}

struct live_stream *live_stream_find(struct live_table *t,
				     const uint8_t id[STREAM_ID_BYTES])
{
	struct list_node *head = bucket_of(t, id);
	struct list_node *n;

	for (n = head->next; n != head; n = n->next) {
		struct live_stream *s =
			list_entry(n, struct live_stream, bucket);

		if (memcmp(s->id, id, STREAM_ID_BYTES) == 0)
			return s;
	}
	return NULL;
}

struct live_stream *live_stream_get(struct live_table *t,
				    const uint8_t id[STREAM_ID_BYTES],
				    bool stored)
{
	struct live_stream *s = live_stream_find(t, id);

	if (s) {
		s->refs++;
		return s;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->table = t;
	s->refs = 1;
	s->stored = stored;
	memcpy(s->id, id, STREAM_ID_BYTES);
	list_init(&s->uploads);
	list_init(&s->readers);
	list_init(&s->fragments);
	list_add_tail(bucket_of(t, id), &s->bucket);
	return s;
}

/* --- fragments
 * ------------------------------------------------------------------ */

void live_fragment_ref(struct live_fragment *f)
{
	f->refs++;
}

void live_fragment_put(struct live_fragment *f)
{
	size_t i;

	if (!f || --f->refs)
		return;
	for (i = 0; i < ARRAY_SIZE(f->chunks) && f->chunks[i]; i++)
		free(f->chunks[i]);
	free(f->header);
	free(f);
}

/* Out of the list; readers in the middle of it hold references. */
static void unlist(struct live_fragment *f)
{
	if (list_empty(&f->link))
		return;
	list_del(&f->link);
	if (!f->stream->stored) {
		f->stream->buffered_bytes -= f->kept_bytes;
		f->stream->table->buffered_bytes -= f->kept_bytes;
	}
}

void live_stream_put(struct live_stream *s)
{
	struct list_node *n;
	struct list_node *tmp;

	if (!s || --s->refs)
		return;
	/* What is left is the buffer of a stream without retention. */
	list_for_each_safe(n, tmp, &s->fragments)
	{
		struct live_fragment *f =
			list_entry(n, struct live_fragment, link);

		unlist(f);
		live_fragment_put(f);
	}
	list_del(&s->bucket);
	free(s);
}

void live_stream_delete(struct live_stream *s)
{
	struct list_node *n;
	struct list_node *tmp;

	s->deleted = true;
	s->refs++;
	list_for_each_safe(n, tmp, &s->uploads)
	{
		struct live_upload *u = list_entry(n, struct live_upload, link);

		u->deleted(u);
	}
	list_for_each_safe(n, tmp, &s->readers)
	{
		struct live_reader *r = list_entry(n, struct live_reader, link);

		r->deleted(r);
	}
	live_stream_put(s);
}

void live_reader_add(struct live_stream *s, struct live_reader *r)
{
	list_add_tail(&s->readers, &r->link);
	s->reader_count++;
}

void live_reader_remove(struct live_stream *s, struct live_reader *r)
{
	if (list_empty(&r->link))
		return;
	list_del(&r->link);
	s->reader_count--;
}

static bool keep_header(struct live_fragment *f)
{
	f->header = malloc(f->view.header_bytes ? f->view.header_bytes : 1);
	if (!f->header)
		return false;
	memcpy(f->header, f->view.header, f->view.header_bytes);
	f->header_bytes = f->view.header_bytes;
	return true;
}

static void insert_by_number(struct live_stream *s, struct live_fragment *f)
{
	struct list_node *at = s->fragments.prev;

	while (at != &s->fragments) {
		struct live_fragment *g =
			list_entry(at, struct live_fragment, link);

		if (fragment_number_compare(&g->view.number, &f->view.number) <
		    0)
			break;
		at = at->prev;
	}
	list_add_head(at, &f->link);
}

struct live_fragment *live_begin(struct live_stream *s,
				 const struct ingest_view *view)
{
	struct live_fragment *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->refs = 1;
	f->stream = s;
	f->view = *view;
	if (s->reader_count || !s->stored)
		f->kept = keep_header(f);
	f->view.header = NULL;
	insert_by_number(s, f);
	s->dirty = true;
	return f;
}

void live_timed(struct live_fragment *f, const struct ingest_view *view)
{
	f->view.producer_ms = view->producer_ms;
	f->timed = true;
	f->stream->dirty = true;
}

static bool may_keep(const struct live_fragment *f, size_t len)
{
	const struct live_stream *s = f->stream;

	if (f->kept_bytes + len > LIVE_FRAGMENT_BYTES_MAX)
		return false;
	return s->stored ||
	       s->table->buffered_bytes + len <= LIVE_BUFFER_TOTAL_BYTES_MAX;
}

void live_bytes(struct live_fragment *f, const uint8_t *bytes, size_t len)
{
	f->media_bytes += len;
	f->stream->dirty = true;
	if (!f->kept || f->overflow)
		return;
	if (!may_keep(f, len)) {
		f->overflow = true;
		return;
	}
	while (len) {
		size_t i = f->kept_bytes / LIVE_CHUNK_BYTES;
		size_t at = f->kept_bytes % LIVE_CHUNK_BYTES;
		size_t n = MIN(len, LIVE_CHUNK_BYTES - at);

		if (!f->chunks[i])
			f->chunks[i] = malloc(LIVE_CHUNK_BYTES);
		if (!f->chunks[i]) {
			f->overflow = true;
			return;
		}
		memcpy(f->chunks[i] + at, bytes, n);
		f->kept_bytes += n;
		if (!f->stream->stored) {
			f->stream->buffered_bytes += n;
			f->stream->table->buffered_bytes += n;
		}
		bytes += n;
		len -= n;
	}
}

void live_boundary(struct live_fragment *f, uint64_t media)
{
	f->boundary = media;
}

/* Retention 0: the oldest make room. */
static void trim(struct live_stream *s, uint64_t now_ms)
{
	while (!list_empty(&s->fragments)) {
		struct live_fragment *f = list_entry(
			s->fragments.next, struct live_fragment, link);
		bool old = f->view.server_ms + LIVE_BUFFER_MS_MAX < now_ms;

		if (f->state != LIVE_WHOLE ||
		    (!old && s->buffered_bytes <= LIVE_BUFFER_BYTES_MAX))
			return;
		f->state = LIVE_COMMITTED;
		unlist(f);
		live_fragment_put(f);
	}
}

void live_end(struct live_fragment *f, enum ingest_end how, uint64_t now_ms)
{
	struct live_stream *s = f->stream;

	s->dirty = true;
	switch (how) {
	case INGEST_WHOLE:
		f->state = LIVE_WHOLE;
		f->boundary = f->media_bytes;
		if (!s->stored)
			trim(s, now_ms); /* the list has the reference now */
		return;
	case INGEST_COMMITTED:
		f->state = LIVE_COMMITTED;
		if (!s->any_committed ||
		    fragment_number_compare(&f->view.number, &s->committed) > 0)
			s->committed = f->view.number;
		s->any_committed = true;
		break;
	case INGEST_DROPPED:
	case INGEST_LOST:
		f->state = LIVE_GONE;
		break;
	}
	unlist(f);
	live_fragment_put(f);
}

void live_notify(struct live_stream *s)
{
	struct list_node *n;
	struct list_node *tmp;

	if (!s->dirty)
		return;
	s->dirty = false;
	list_for_each_safe(n, tmp, &s->readers)
	{
		struct live_reader *r = list_entry(n, struct live_reader, link);

		r->changed(r);
	}
}

/* --- readers
 * --------------------------------------------------------------------- */

struct live_fragment *live_next(struct live_stream *s,
				const struct fragment_number *after)
{
	struct list_node *n;

	for (n = s->fragments.next; n != &s->fragments; n = n->next) {
		struct live_fragment *f =
			list_entry(n, struct live_fragment, link);

		if (!after ||
		    fragment_number_compare(&f->view.number, after) > 0)
			return f;
	}
	return NULL;
}

struct live_fragment *live_newest(struct live_stream *s)
{
	struct list_node *n;

	for (n = s->fragments.prev; n != &s->fragments; n = n->prev) {
		struct live_fragment *f =
			list_entry(n, struct live_fragment, link);

		if (f->kept && !f->overflow)
			return f;
	}
	return NULL;
}

size_t live_peek(const struct live_fragment *f, uint64_t offset,
		 const uint8_t **ret_bytes)
{
	uint64_t end = MIN(f->boundary, f->kept_bytes);
	size_t at = offset % LIVE_CHUNK_BYTES;

	if (offset >= end)
		return 0;
	*ret_bytes = f->chunks[offset / LIVE_CHUNK_BYTES] + at;
	return MIN(end - offset, LIVE_CHUNK_BYTES - at);
}
