/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/live.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

#define LIVE_CHUNKS_FIRST 16u

void live_table_init(struct live_table *t, struct loop *loop)
{
	size_t i;

	*t = (struct live_table){
		.loop = loop,
		.bytes_max = LIVE_MEMORY_BYTES_DEFAULT,
		.stream_bytes_max = LIVE_BUFFER_BYTES_MAX,
	};
	for (i = 0; i < LIVE_BUCKETS; i++)
		list_init(&t->buckets[i]);
	list_init(&t->held);
	list_init(&t->buffered);
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

/* --- fragments
 * ------------------------------------------------------------------ */

void live_fragment_ref(struct live_fragment *f)
{
	f->refs++;
}

static void free_bytes(struct live_fragment *f)
{
	size_t i;

	for (i = 0; i < f->chunk_count; i++)
		free(f->chunks[i]);
	free(f->chunks);
	free(f->header);
	f->table->kept_bytes -= f->charged_bytes;
}

void live_fragment_put(struct live_fragment *f)
{
	if (!f || --f->refs)
		return;
	list_del(&f->buffered);
	free_bytes(f);
	free(f);
}

/* Only readers hold it. They find out when they come for more. */
static void revoke(struct live_fragment *f)
{
	list_del(&f->buffered);
	free_bytes(f);
	f->revoked = true;
	f->charged_bytes = 0;
	f->kept_bytes = 0;
	f->chunks = NULL;
	f->chunk_count = 0;
	f->chunk_room = 0;
	f->header = NULL;
	f->header_bytes = 0;
}

/* While it is in the list. */
static void charge(struct live_fragment *f, size_t bytes)
{
	f->charged_bytes += bytes;
	f->stream->kept_bytes += bytes;
	f->table->kept_bytes += bytes;
}

static void uncharge(struct live_fragment *f, size_t bytes)
{
	f->charged_bytes -= bytes;
	f->stream->kept_bytes -= bytes;
	f->table->kept_bytes -= bytes;
}

/* Gives the list's reference back; readers in the middle of it have theirs. */
static void unlist(struct live_fragment *f)
{
	list_del(&f->link);
	f->stream->kept_bytes -= f->charged_bytes;
	if (f->refs > 1)
		list_add_tail(&f->table->held, &f->buffered);
	live_fragment_put(f);
}

void live_stream_put(struct live_stream *s)
{
	if (!s || --s->refs)
		return;
	assert(list_empty(&s->fragments));
	list_del(&s->bucket);
	free(s);
}

/* --- the buffer of streams without retention
 * ------------------------------------------------------------------ */

/* The stream may be gone afterwards. */
static void drop_buffered(struct live_fragment *f)
{
	struct live_stream *s = f->stream;

	f->state = LIVE_COMMITTED;
	list_del(&f->buffered);
	s->buffered_count--;
	unlist(f);
	live_stream_put(s);
}

static struct live_fragment *oldest_buffered(struct live_table *t)
{
	if (list_empty(&t->buffered))
		return NULL;
	return list_entry(t->buffered.next, struct live_fragment, buffered);
}

static void buffer_timer_fired(struct loop_timer *timer);

/* Return: 0, or -ENOMEM when the timer was idle before. */
static int arm(struct live_table *t)
{
	struct live_fragment *f = oldest_buffered(t);

	if (f)
		return loop_timer_set(t->loop, &t->timer,
				      f->whole_ns + LIVE_BUFFER_NS_MAX,
				      buffer_timer_fired);
	loop_timer_cancel(t->loop, &t->timer);
	return 0;
}

static void drop_old(struct live_table *t)
{
	uint64_t now_ns = loop_now_ns(t->loop);
	struct live_fragment *f;

	while ((f = oldest_buffered(t)) &&
	       f->whole_ns + LIVE_BUFFER_NS_MAX <= now_ns)
		drop_buffered(f);
}

static void drop_all(struct live_table *t)
{
	struct live_fragment *f;

	while ((f = oldest_buffered(t)))
		drop_buffered(f);
}

static void buffer_timer_fired(struct loop_timer *timer)
{
	struct live_table *t = container_of(timer, struct live_table, timer);

	drop_old(t);
	if (arm(t) < 0)
		drop_all(t); /* nothing would end them */
}

void live_table_fini(struct live_table *t)
{
	drop_all(t);
	loop_timer_cancel(t->loop, &t->timer);
}

/* The caller has a reference to the stream. */
static void drop_of_stream(struct live_stream *s, size_t bytes_left)
{
	struct list_node *n;
	struct list_node *tmp;

	list_for_each_safe(n, tmp, &s->fragments)
	{
		struct live_fragment *f =
			list_entry(n, struct live_fragment, link);

		if (bytes_left && s->kept_bytes <= bytes_left &&
		    s->buffered_count <= LIVE_BUFFER_FRAGMENTS_MAX)
			return;
		if (!list_empty(&f->buffered))
			drop_buffered(f);
	}
}

/* There is nothing to add to the last chunk any more. */
static void give_slack_back(struct live_fragment *f)
{
	size_t used = f->kept_bytes % LIVE_CHUNK_BYTES;
	size_t i = f->kept_bytes / LIVE_CHUNK_BYTES;
	uint8_t *chunk;

	if (!used)
		return;
	chunk = realloc(f->chunks[i], used);
	if (!chunk)
		return;
	f->chunks[i] = chunk;
	uncharge(f, LIVE_CHUNK_BYTES - used);
}

/* A whole fragment that no store has; takes over the upload's reference. */
static void buffer_add(struct live_fragment *f)
{
	struct live_stream *s = f->stream;
	struct live_table *t = s->table;

	s->refs++;
	f->whole_ns = loop_now_ns(t->loop);
	list_add_tail(&t->buffered, &f->buffered);
	s->buffered_count++;
	if (!f->kept || f->overflow || s->deleted) {
		drop_buffered(f); /* nobody can read it */
		return;
	}
	give_slack_back(f);
	drop_old(t);
	drop_of_stream(s, t->stream_bytes_max);
	if (arm(t) < 0)
		drop_all(t);
}

static bool has_room(const struct live_table *t, size_t bytes)
{
	return t->kept_bytes + bytes <= t->bytes_max;
}

static void revoke_held(struct live_table *t, size_t bytes)
{
	while (!has_room(t, bytes) && !list_empty(&t->held))
		revoke(list_entry(t->held.next, struct live_fragment,
				  buffered));
}

/*
 * Return: so much may be had, the oldest of all having given way. First of what
 * is there for its readers only, who are behind all that is offered; then of
 * what nobody is in the middle of.
 */
static bool make_room(struct live_table *t, size_t bytes)
{
	struct live_fragment *f;
	struct list_node *n;
	struct list_node *tmp;

	revoke_held(t, bytes);
	list_for_each_safe(n, tmp, &t->buffered)
	{
		f = list_entry(n, struct live_fragment, buffered);
		if (has_room(t, bytes))
			break;
		if (f->refs == 1)
			drop_buffered(f);
	}
	while (!has_room(t, bytes) && (f = oldest_buffered(t))) {
		drop_buffered(f);
		revoke_held(t, bytes);
	}
	return has_room(t, bytes);
}

/* --- streams
 * ------------------------------------------------------------------ */

static struct live_stream *stream_new(struct live_table *t,
				      const uint8_t id[STREAM_ID_BYTES])
{
	struct live_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->table = t;
	s->refs = 1;
	memcpy(s->id, id, STREAM_ID_BYTES);
	list_init(&s->uploads);
	list_init(&s->readers);
	list_init(&s->fragments);
	list_add_tail(bucket_of(t, id), &s->bucket);
	return s;
}

static void set_retention(struct live_stream *s, uint32_t hours)
{
	s->retention_hours = hours;
	if (list_empty(&s->uploads))
		s->stored = hours != 0;
}

struct live_stream *live_stream_get(struct live_table *t,
				    const uint8_t id[STREAM_ID_BYTES],
				    uint32_t hours)
{
	struct live_stream *s = live_stream_find(t, id);

	if (s)
		s->refs++;
	else
		s = stream_new(t, id);
	if (s)
		set_retention(s, hours);
	return s;
}

void live_stream_retention(struct live_table *t,
			   const uint8_t id[STREAM_ID_BYTES], uint32_t hours)
{
	struct live_stream *s = live_stream_find(t, id);

	if (s)
		set_retention(s, hours);
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
	drop_of_stream(s, 0);
	live_stream_put(s);
}

void live_reader_add(struct live_stream *s, struct live_reader *r)
{
	struct list_node *n;
	struct list_node *tmp;

	list_add_tail(&s->readers, &r->link);
	s->reader_count++;
	list_for_each_safe(n, tmp, &s->uploads)
	{
		struct live_upload *u = list_entry(n, struct live_upload, link);

		u->watched(u);
	}
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
	f->table = s->table;
	f->stream = s;
	f->view = *view;
	f->stored = s->stored;
	list_init(&f->buffered);
	if ((s->reader_count || !s->stored) &&
	    make_room(s->table, sizeof(*f) + view->header_bytes))
		f->kept = keep_header(f);
	if (f->kept)
		charge(f, sizeof(*f) + f->header_bytes);
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

static bool add_chunk_room(struct live_fragment *f)
{
	size_t room = f->chunk_room ? 2 * f->chunk_room : LIVE_CHUNKS_FIRST;
	void *p = realloc(f->chunks, room * sizeof(*f->chunks));

	if (!p)
		return false;
	charge(f, (room - f->chunk_room) * sizeof(*f->chunks));
	f->chunks = p;
	f->chunk_room = room;
	return true;
}

static bool add_chunk(struct live_fragment *f)
{
	uint8_t *chunk;

	if (!make_room(f->table, LIVE_CHUNK_BYTES))
		return false;
	if (f->chunk_count == f->chunk_room && !add_chunk_room(f))
		return false;
	chunk = malloc(LIVE_CHUNK_BYTES);
	if (!chunk)
		return false;
	f->chunks[f->chunk_count++] = chunk;
	charge(f, LIVE_CHUNK_BYTES);
	return true;
}

void live_bytes(struct live_fragment *f, const uint8_t *bytes, size_t len)
{
	f->media_bytes += len;
	f->stream->dirty = true;
	if (!f->kept || f->overflow)
		return;
	while (len) {
		size_t i = f->kept_bytes / LIVE_CHUNK_BYTES;
		size_t at = f->kept_bytes % LIVE_CHUNK_BYTES;
		size_t n = MIN(len, LIVE_CHUNK_BYTES - at);

		if (i == f->chunk_count && !add_chunk(f)) {
			f->overflow = true;
			return;
		}
		memcpy(f->chunks[i] + at, bytes, n);
		f->kept_bytes += n;
		bytes += n;
		len -= n;
	}
}

void live_boundary(struct live_fragment *f, uint64_t media)
{
	f->boundary = media;
}

static void tell_committed(struct live_stream *s, const struct live_fragment *f)
{
	struct list_node *n;

	if (!s->any_committed ||
	    fragment_number_compare(&f->view.number, &s->committed) > 0)
		s->committed = f->view.number;
	s->any_committed = true;
	for (n = s->readers.next; n != &s->readers; n = n->next) {
		struct live_reader *r = list_entry(n, struct live_reader, link);

		if (r->committed)
			r->committed(r, &f->view.number);
	}
}

void live_end(struct live_fragment *f, enum ingest_end how)
{
	struct live_stream *s = f->stream;

	s->dirty = true;
	switch (how) {
	case INGEST_WHOLE:
		f->state = LIVE_WHOLE;
		f->boundary = f->media_bytes;
		if (!f->stored)
			buffer_add(f);
		return;
	case INGEST_COMMITTED:
		f->state = LIVE_COMMITTED;
		tell_committed(s, f);
		break;
	case INGEST_DROPPED:
	case INGEST_LOST:
		f->state = LIVE_GONE;
		break;
	}
	unlist(f);
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
	struct live_fragment *next = NULL;
	struct list_node *n;

	/* From the end: that is where most readers are. */
	for (n = s->fragments.prev; n != &s->fragments; n = n->prev) {
		struct live_fragment *f =
			list_entry(n, struct live_fragment, link);

		if (after &&
		    fragment_number_compare(&f->view.number, after) <= 0)
			break;
		next = f;
	}
	return next;
}

uint64_t live_began_ms(const struct live_fragment *f, bool producer)
{
	return producer ? f->view.producer_ms : f->view.server_ms;
}

struct live_fragment *live_at(struct live_stream *s, bool producer,
			      uint64_t at_ms)
{
	struct live_fragment *best = NULL;
	struct list_node *n;

	for (n = s->fragments.next; n != &s->fragments; n = n->next) {
		struct live_fragment *f =
			list_entry(n, struct live_fragment, link);

		if (!f->timed || live_began_ms(f, producer) > at_ms)
			continue;
		if (!best ||
		    live_began_ms(f, producer) >= live_began_ms(best, producer))
			best = f;
	}
	return best;
}

struct live_fragment *live_newest(struct live_stream *s)
{
	struct list_node *n;

	for (n = s->fragments.prev; n != &s->fragments; n = n->prev) {
		struct live_fragment *f =
			list_entry(n, struct live_fragment, link);

		/* Of the time before the stream had a retention. */
		if (!f->stored && s->any_committed &&
		    fragment_number_compare(&f->view.number, &s->committed) < 0)
			break;
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
