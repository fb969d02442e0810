/* SPDX-License-Identifier: Apache-2.0 */
#include "support/store_mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"

struct store_writer {
	struct store_mem *mem;
	struct store_stream stream;
	struct fragment_number number;
	uint8_t *bytes;
	size_t len;
	size_t size;
};

static struct store_mem *mem_of(struct store *s)
{
	return container_of(s, struct store_mem, store);
}

static int writer_open(struct store *s, const struct store_stream *stream,
		       const struct fragment_number *number,
		       struct store_writer **ret_writer)
{
	struct store_mem *m = mem_of(s);
	struct store_writer *w;
	int r = m->open_error;

	m->open_error = 0;
	if (r < 0)
		return r;
	w = calloc(1, sizeof(*w));
	assert(w);
	w->mem = m;
	w->stream = *stream;
	w->number = *number;
	m->writers++;
	*ret_writer = w;
	return 0;
}

static int writer_add(struct store_writer *w, const void *bytes, size_t len)
{
	struct store_mem *m = w->mem;
	size_t n = MIN(len, m->room);
	int r = m->add_error;

	m->add_error = 0;
	if (r < 0)
		return r;
	if (!n)
		return -EAGAIN;
	if (w->len + n > w->size) {
		w->size = (w->len + n) * 2;
		w->bytes = realloc(w->bytes, w->size);
		assert(w->bytes);
	}
	memcpy(w->bytes + w->len, bytes, n);
	w->len += n;
	if (m->room != SIZE_MAX)
		m->room -= n;
	return (int)n;
}

static void writer_drop(struct store_writer *w)
{
	w->mem->writers--;
	free(w->bytes);
	free(w);
}

static void writer_abort(struct store_writer *w)
{
	w->mem->aborted++;
	writer_drop(w);
}

static void queue(struct store_mem *m, struct store_op *op, int res)
{
	op->res = res;
	list_add_tail(&m->done, &op->link);
}

static void writer_commit(struct store_writer *w,
			  const struct store_fragment *meta,
			  struct store_op *op)
{
	struct store_mem *m = w->mem;
	int r = m->commit_error;
	struct store_mem_fragment *f;

	m->commit_error = 0;
	if ((size_t)meta->header_bytes + meta->media_bytes +
			    meta->frames_bytes !=
		    w->len ||
	    !w->len)
		r = -EINVAL;
	if (r == 0) {
		assert(m->fragment_count < STORE_MEM_FRAGMENTS);
		f = &m->fragments[m->fragment_count++];
		f->meta = *meta;
		f->meta.number = w->number;
		f->bytes = TAKE_PTR(w->bytes);
		f->len = w->len;
	}
	queue(m, op, r);
	writer_drop(w);
}

static void wait_room(struct store *s, struct store_waiter *w)
{
	list_add_tail(&mem_of(s)->waiters, &w->link);
}

static void read_bytes(struct store *s, const struct store_stream *stream,
		       const struct store_fragment *f, uint64_t offset,
		       void *bytes, size_t len, struct store_op *op)
{
	struct store_mem *m = mem_of(s);
	size_t i;

	(void)stream;
	for (i = 0; i < m->fragment_count; i++) {
		const struct store_mem_fragment *g = &m->fragments[i];
		size_t n;

		if (fragment_number_compare(&g->meta.number, &f->number) != 0)
			continue;
		n = offset < g->len ? MIN(len, g->len - offset) : 0;
		memcpy(bytes, g->bytes + offset, n);
		queue(m, op, (int)n);
		return;
	}
	queue(m, op, -ENOENT);
}

static uint64_t next_seq(struct store *s, const uint8_t id[STREAM_ID_BYTES])
{
	(void)id;
	return ++mem_of(s)->seq;
}

static const struct store_ops ops = {
	.writer_open = writer_open,
	.writer_add = writer_add,
	.writer_commit = writer_commit,
	.writer_abort = writer_abort,
	.wait = wait_room,
	.read = read_bytes,
	.next_seq = next_seq,
};

void store_mem_init(struct store_mem *m)
{
	*m = (struct store_mem){.store = {&ops}, .room = SIZE_MAX};
	list_init(&m->done);
	list_init(&m->waiters);
}

void store_mem_fini(struct store_mem *m)
{
	size_t i;

	assert(!m->writers);
	for (i = 0; i < m->fragment_count; i++)
		free(m->fragments[i].bytes);
}

bool store_mem_complete(struct store_mem *m, size_t nth)
{
	struct list_node *n = m->done.next;
	struct store_op *op;

	while (n != &m->done && nth--)
		n = n->next;
	if (n == &m->done)
		return false;
	op = list_entry(n, struct store_op, link);
	list_del(n);
	op->done(op, op->res);
	return true;
}

void store_mem_complete_all(struct store_mem *m)
{
	while (store_mem_complete(m, 0))
		;
}

void store_mem_make_room(struct store_mem *m, size_t bytes)
{
	struct list_node woken;
	struct list_node *n;

	m->room = m->room > SIZE_MAX - bytes ? SIZE_MAX : m->room + bytes;
	list_init(&woken);
	list_splice_tail(&woken, &m->waiters);
	while ((n = list_pop(&woken))) {
		struct store_waiter *w =
			list_entry(n, struct store_waiter, link);

		w->writable(w);
	}
}
