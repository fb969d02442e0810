/* SPDX-License-Identifier: Apache-2.0 */
#include "support/store_fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"

struct store_writer {
	struct list_node link;
	struct fake *fake;
	struct store_fragment f;
	uint8_t *bytes;
	size_t len;
	size_t size;
	bool failed;
};

struct kept {
	struct store_fragment f;
	uint8_t *bytes;
};

/* An operation on its way to its done(). */
struct pending {
	struct loop_timer timer;
	struct list_node link;
	struct fake *fake;
	struct store_op *op;
	struct store_writer *commit;	/* or NULL */
	int res;
	bool happens;			/* the commit */
	/* A read: copied to the caller only when it is done. */
	uint8_t *bytes;
	void *out;
	size_t len;
};

struct fake {
	struct store base;
	struct loop *loop;
	struct store_fake_config config;
	uint64_t random;
	uint64_t seq;
	struct list_node writers;
	size_t writer_count;
	struct list_node pending;
	struct list_node waiters;
	struct loop_timer wake;
	struct kept *kept;
	size_t kept_count;
	size_t kept_size;
	bool fenced;
};

static struct fake *fake_of(struct store *s)
{
	return container_of(s, struct fake, base);
}

static uint64_t next_random(struct fake *f, uint64_t below)
{
	uint64_t z = (f->random += 0x9e3779b97f4a7c15ull); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? z % below : 0;
}

static bool chance(struct fake *f, unsigned int in_1000)
{
	return in_1000 && next_random(f, 1000) < in_1000;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

/* --- completing --- */

static void keep(struct fake *f, struct store_writer *w)
{
	if (f->kept_count == f->kept_size) {
		f->kept_size = f->kept_size ? 2 * f->kept_size : 64;
		f->kept = must(realloc(f->kept,
				       f->kept_size * sizeof(*f->kept)));
	}
	w->f.segment = 1;
	w->f.page = (uint32_t)f->kept_count;
	f->kept[f->kept_count].f = w->f;
	f->kept[f->kept_count++].bytes = TAKE_PTR(w->bytes);
}

static void writer_free(struct store_writer *w)
{
	list_del(&w->link);
	w->fake->writer_count--;
	free(w->bytes);
	free(w);
}

static void settle(struct pending *p)
{
	if (!p->commit)
		return;
	if (p->happens)
		keep(p->fake, p->commit);
	writer_free(TAKE_PTR(p->commit));
}

static void pending_free(struct pending *p)
{
	list_del(&p->link);
	free(p->bytes);
	free(p);
}

static void fired(struct loop_timer *t)
{
	struct pending *p = container_of(t, struct pending, timer);
	struct store_op *op = p->op;
	int res = p->res;

	settle(p);
	if (p->out && res > 0)
		memcpy(p->out, p->bytes, p->len);
	pending_free(p);
	op->done(op, res);
}

static struct pending *complete_later(struct fake *f, struct store_op *op,
				      int res)
{
	struct pending *p = must(calloc(1, sizeof(*p)));

	p->fake = f;
	p->op = op;
	p->res = res;
	list_add_tail(&f->pending, &p->link);
	if (loop_timer_set(f->loop, &p->timer,
			   loop_now_ns(f->loop) +
				   next_random(f, f->config.delay_ns_max),
			   fired) < 0)
		abort();
	return p;
}

/* --- writers --- */

static int fake_open(struct store *s, const struct store_stream *stream,
		     const struct fragment_number *number,
		     struct store_writer **ret_writer)
{
	struct fake *f = fake_of(s);
	struct store_writer *w;

	if (f->fenced)
		return -ESTALE;
	if (chance(f, f->config.fail_open))
		return -ENOSPC;
	w = must(calloc(1, sizeof(*w)));
	w->fake = f;
	memcpy(w->f.stream_id, stream->id, STREAM_ID_BYTES);
	w->f.number = *number;
	list_add_tail(&f->writers, &w->link);
	f->writer_count++;
	*ret_writer = w;
	return 0;
}

static int fake_add(struct store_writer *w, const void *bytes, size_t len)
{
	struct fake *f = w->fake;

	if (f->fenced)
		return -ESTALE;
	if (w->failed || chance(f, f->config.fail_add)) {
		w->failed = true;
		return -EIO;
	}
	if (len > STORE_FRAGMENT_BYTES_MAX - w->len)
		return -EFBIG;
	if (chance(f, f->config.again_add)) {
		len = next_random(f, len);
		if (!len)
			return -EAGAIN;
	}
	if (w->len + len > w->size) {
		w->size = 2 * (w->len + len);
		w->bytes = must(realloc(w->bytes, w->size));
	}
	if (len)
		memcpy(w->bytes + w->len, bytes, len);
	w->len += len;
	return (int)len;
}

static void fake_commit(struct store_writer *w,
			const struct store_fragment *meta, struct store_op *op)
{
	struct fake *f = w->fake;
	struct fragment_number number = w->f.number;
	uint8_t id[STREAM_ID_BYTES];
	struct pending *p;
	int res = 0;

	memcpy(id, w->f.stream_id, sizeof(id));
	w->f = *meta;
	w->f.number = number;
	memcpy(w->f.stream_id, id, sizeof(id));
	if (!w->len || w->len != (uint64_t)meta->header_bytes +
					 meta->media_bytes +
					 meta->frames_bytes)
		res = -EINVAL;
	else if (f->fenced)
		res = -ESTALE;
	else if (w->failed || chance(f, f->config.fail_commit))
		res = -EIO;
	p = complete_later(f, op, res);
	p->commit = w;
	p->happens = !res ||
		     (res == -EIO && !w->failed && next_random(f, 2));
}

static void fake_abort(struct store_writer *w)
{
	writer_free(w);
}

static void wake(struct loop_timer *t)
{
	struct fake *f = container_of(t, struct fake, wake);
	struct list_node list;
	struct list_node *n;

	list_init(&list);
	list_splice_tail(&list, &f->waiters);
	while ((n = list_pop(&list))) {
		struct store_waiter *w =
			list_entry(n, struct store_waiter, link);

		w->writable(w);
	}
}

static void fake_wait(struct store *s, struct store_waiter *w)
{
	struct fake *f = fake_of(s);

	list_del(&w->link);
	list_add_tail(&f->waiters, &w->link);
	if (!loop_timer_armed(&f->wake) &&
	    loop_timer_set(f->loop, &f->wake,
			   loop_now_ns(f->loop) +
				   next_random(f, f->config.delay_ns_max),
			   wake) < 0)
		abort();
}

/* --- reading --- */

static struct kept *find(struct fake *f, const struct store_fragment *want)
{
	size_t i;

	for (i = 0; i < f->kept_count; i++) {
		struct kept *k = &f->kept[i];

		if (!memcmp(k->f.stream_id, want->stream_id,
			    STREAM_ID_BYTES) &&
		    !fragment_number_compare(&k->f.number, &want->number))
			return k;
	}
	return NULL;
}

static void fake_read(struct store *s, const struct store_stream *stream,
		      const struct store_fragment *want, uint64_t offset,
		      void *bytes, size_t len, struct store_op *op)
{
	struct fake *f = fake_of(s);
	struct kept *k = find(f, want);
	struct pending *p;
	uint64_t total;

	(void)stream;
	if (!k || chance(f, f->config.fail_read)) {
		(void)complete_later(f, op, k ? -EIO : -ENOENT);
		return;
	}
	total = (uint64_t)k->f.header_bytes + k->f.media_bytes +
		k->f.frames_bytes;
	len = offset < total ? (size_t)MIN((uint64_t)len, total - offset) : 0;
	p = complete_later(f, op, (int)len);
	if (!len)
		return;
	p->bytes = must(malloc(len));
	memcpy(p->bytes, k->bytes + offset, len);
	p->out = bytes;
	p->len = len;
}

static uint64_t time_of(const struct store_query *q,
			const struct store_fragment *f)
{
	if (q->order == STORE_BY_NUMBER)
		return 0;
	return q->order == STORE_BY_SERVER_TIME ? f->server_ms :
						  f->producer_ms;
}

/* In the query's direction. */
static int compare(const struct store_query *q,
		   const struct store_fragment *a,
		   const struct store_fragment *b)
{
	uint64_t s = time_of(q, a);
	uint64_t t = time_of(q, b);
	int r = (s > t) - (s < t);

	if (!r)
		r = fragment_number_compare(&a->number, &b->number);
	return q->descending ? -r : r;
}

static bool matches(const struct store_query *q,
		    const struct store_fragment *f)
{
	uint64_t t = time_of(q, f);

	if (memcmp(f->stream_id, q->stream_id, STREAM_ID_BYTES) ||
	    f->server_ms < q->not_before_ms)
		return false;
	if (q->order != STORE_BY_NUMBER && (t < q->from_ms || t > q->to_ms))
		return false;
	return !q->after || compare(q, f, q->after) > 0;
}

static void fake_list(struct store *s, const struct store_query *q,
		      struct store_fragment *ret_rows, struct store_op *op)
{
	struct fake *f = fake_of(s);
	uint32_t count = 0;
	uint32_t at;
	size_t i;

	if (chance(f, f->config.fail_list)) {
		(void)complete_later(f, op, -EIO);
		return;
	}
	for (i = 0; i < f->kept_count; i++) {
		const struct store_fragment *row = &f->kept[i].f;

		if (!matches(q, row))
			continue;
		for (at = count; at && compare(q, &ret_rows[at - 1], row) > 0;)
			at--;
		if (at == q->limit)
			continue;
		if (count < q->limit)
			count++;
		memmove(&ret_rows[at + 1], &ret_rows[at],
			(count - at - 1) * sizeof(*ret_rows));
		ret_rows[at] = *row;
	}
	(void)complete_later(f, op, (int)count);
}

static void fake_remove(struct store *s, const uint8_t id[STREAM_ID_BYTES],
			struct store_op *op)
{
	struct fake *f = fake_of(s);
	size_t left = 0;
	size_t i;

	if (f->fenced) {
		(void)complete_later(f, op, -ESTALE);
		return;
	}
	for (i = 0; i < f->kept_count; i++) {
		if (memcmp(f->kept[i].f.stream_id, id, STREAM_ID_BYTES))
			f->kept[left++] = f->kept[i];
		else
			free(f->kept[i].bytes);
	}
	f->kept_count = left;
	(void)complete_later(f, op, 0);
}

static uint64_t fake_next_seq(struct store *s,
			      const uint8_t id[STREAM_ID_BYTES])
{
	(void)id;
	return ++fake_of(s)->seq;
}

static const struct store_ops fake_ops = {
	.writer_open = fake_open,
	.writer_add = fake_add,
	.writer_commit = fake_commit,
	.writer_abort = fake_abort,
	.wait = fake_wait,
	.read = fake_read,
	.list = fake_list,
	.remove_stream = fake_remove,
	.next_seq = fake_next_seq,
};

struct store *store_fake_new(struct loop *l,
			     const struct store_fake_config *config)
{
	struct fake *f = must(calloc(1, sizeof(*f)));

	f->base.ops = &fake_ops;
	f->loop = l;
	f->config = *config;
	f->random = config->seed;
	list_init(&f->writers);
	list_init(&f->pending);
	list_init(&f->waiters);
	return &f->base;
}

struct store *store_fake_free(struct store *s)
{
	struct fake *f;
	size_t i;

	if (!s)
		return NULL;
	f = fake_of(s);
	if (!list_empty(&f->writers) || !list_empty(&f->pending))
		abort(); /* the caller left something behind */
	loop_timer_cancel(f->loop, &f->wake);
	for (i = 0; i < f->kept_count; i++)
		free(f->kept[i].bytes);
	free(f->kept);
	free(f);
	return NULL;
}

void store_fake_crash(struct store *s, struct loop *l)
{
	struct fake *f = fake_of(s);

	while (!list_empty(&f->pending)) {
		struct pending *p =
			list_entry(f->pending.next, struct pending, link);

		p->happens = p->happens && next_random(f, 2);
		settle(p);
		loop_timer_cancel(f->loop, &p->timer);
		pending_free(p);
	}
	while (!list_empty(&f->writers))
		writer_free(list_entry(f->writers.next, struct store_writer,
				       link));
	while (list_pop(&f->waiters))
		;
	loop_timer_cancel(f->loop, &f->wake);
	f->loop = l;
}

void store_fake_fence(struct store *s, bool on)
{
	struct fake *f = fake_of(s);
	struct list_node *n;

	f->fenced = on;
	for (n = f->pending.next; on && n != &f->pending; n = n->next) {
		struct pending *p = list_entry(n, struct pending, link);

		if (!p->commit || !p->happens || next_random(f, 2))
			continue;
		p->happens = false;
		p->res = -ESTALE;
	}
}

void store_fake_drop(struct store *s, size_t count)
{
	struct fake *f = fake_of(s);
	size_t i;

	count = MIN(count, f->kept_count);
	if (!count)
		return;
	for (i = 0; i < count; i++)
		free(f->kept[i].bytes);
	f->kept_count -= count;
	memmove(f->kept, f->kept + count, f->kept_count * sizeof(*f->kept));
}

void store_fake_configure(struct store *s,
			  const struct store_fake_config *config)
{
	fake_of(s)->config = *config;
}

size_t store_fake_count(const struct store *s)
{
	return container_of(s, const struct fake, base)->kept_count;
}

size_t store_fake_writers(const struct store *s)
{
	return container_of(s, const struct fake, base)->writer_count;
}

const struct store_fragment *store_fake_fragment(const struct store *s,
						 size_t i,
						 const uint8_t **ret_bytes)
{
	const struct fake *f = container_of(s, const struct fake, base);

	if (i >= f->kept_count)
		return NULL;
	if (ret_bytes)
		*ret_bytes = f->kept[i].bytes;
	return &f->kept[i].f;
}
