/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writers and group commit. Plaintext is sealed straight into a write buffer.
 * One buffer is being written at a time, the others fill meanwhile, so
 * commits that arrive during a sync share the next one:
 *
 *	free -> cur (being filled) -> full (in order) -> flying -> free
 *
 * A buffer with commit records, or with a segment's END, is written with
 * fdatasync; one with pages only is not, since the sync of a later buffer of
 * the same segment covers it. END is synced because later commit records, in
 * the next segment, may list pages of this one.
 */
#include "io/store_local_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/log.h"
#include "io/segment_file.h"
#include "io/segment_seal.h"

static void pump(struct store_instance *in);

/* --- pages that are not full --- */

static uint8_t *chunk_get(struct store_instance *in)
{
	if (in->spare_chunk_count)
		return in->spare_chunks[--in->spare_chunk_count];
	return malloc(STORE_CHUNK_BYTES);
}

static void chunk_put(struct store_instance *in, uint8_t *chunk)
{
	if (in->spare_chunk_count < STORE_SPARE_CHUNKS)
		in->spare_chunks[in->spare_chunk_count++] = chunk;
	else
		free(chunk);
}

/* What was kept is sealed, or given up. */
static void page_drop(struct store_writer *w)
{
	size_t i;

	for (i = 0; i < STORE_PAGE_CHUNKS && w->chunks[i]; i++)
		chunk_put(w->in, TAKE_PTR(w->chunks[i]));
	w->fill = 0;
}

/* @parts has room for STORE_PAGE_CHUNKS. Return: how many there are. */
static size_t page_parts(const struct store_writer *w, struct iovec *parts)
{
	size_t count = 0;
	uint32_t done = 0;

	while (done < w->fill) {
		uint32_t n = MIN(w->fill - done, STORE_CHUNK_BYTES);

		parts[count].iov_base = w->chunks[count];
		parts[count++].iov_len = n;
		done += n;
	}
	return count;
}

/* --- segments and buffers --- */

static int public_error(int err)
{
	return err == -ENOSPC || err == -EDQUOT ? -ENOSPC : -EIO;
}

static int ensure_segment(struct store_instance *in)
{
	uint64_t now_ns = loop_now_ns(in->loop);

	if (in->seg)
		return 0;
	if (in->spare) {
		in->seg = TAKE_PTR(in->spare);
		/* After a failure, not at once: a broken disk is not filled
		 * with files. */
		if (now_ns >= in->retry_ns)
			segment_request(in);
		return 0;
	}
	if (!in->request.busy && in->seg_err && now_ns < in->retry_ns)
		return in->seg_err;
	segment_request(in);
	return -EAGAIN;
}

static int buffer_room(struct store_instance *in, uint32_t bytes,
		       uint8_t **ret_out)
{
	struct write_buffer *b = in->cur;
	struct list_node *n;

	if (b && b->used + bytes > STORE_WRITE_BUFFER_BYTES) {
		list_add_tail(&in->full, &b->link);
		in->cur = NULL;
		pump(in);
	}
	if (!in->cur) {
		n = list_pop(&in->free_buffers);
		if (!n)
			return -EAGAIN;
		b = list_entry(n, struct write_buffer, link);
		b->seg = in->seg;
		b->block = in->seg->next_block;
		b->used = 0;
		b->final = false;
		in->cur = b;
	}
	*ret_out = in->cur->bytes + in->cur->used;
	return 0;
}

static void buffer_take(struct store_instance *in, uint32_t bytes)
{
	in->cur->used += bytes;
	in->seg->next_block += bytes / SEGMENT_BLOCK_BYTES;
}

static int end_segment(struct store_instance *in)
{
	static const uint8_t no_tag[SEGMENT_TAG_BYTES];
	struct segment_record r = { .kind = SEGMENT_END, .payload_bytes = 1 };
	struct write_buffer *b;
	uint8_t *out;
	int err;

	err = buffer_room(in, SEGMENT_BLOCK_BYTES, &out);
	if (err < 0)
		return err;
	memcpy(r.generation, in->seg->generation, SEGMENT_ID_BYTES);
	r.block = in->seg->next_block;
	segment_record_begin(out, &r);
	out[SEGMENT_HEADER_BYTES] = 0;
	segment_record_end(out, no_tag);
	buffer_take(in, SEGMENT_BLOCK_BYTES);
	b = TAKE_PTR(in->cur);
	b->final = true;
	list_add_tail(&in->full, &b->link);
	in->seg = NULL;
	pump(in);
	return 0;
}

/* Room for a record in the current buffer; buffer_take() makes it real. */
static int record_room(struct store_instance *in, uint32_t bytes,
		       uint8_t **ret_out)
{
	int err;

	err = ensure_segment(in);
	if (err < 0)
		return err;
	if (in->seg->next_block + bytes / SEGMENT_BLOCK_BYTES >
	    in->seg->end_block) {
		err = end_segment(in);
		if (err == 0)
			err = ensure_segment(in);
		if (err < 0)
			return err;
	}
	return buffer_room(in, bytes, ret_out);
}

/*
 * Never twice under one key: a random prefix for each 2^32 records of an
 * instance. n prefixes in the life of a key collide with n^2 / 2^65: a
 * million restarts of a million records each are at 3e-8.
 */
static int nonce_next(struct store_instance *in,
		      uint8_t out[SEGMENT_NONCE_BYTES])
{
	if (!in->nonce_counter) {
		int err = in->sl->sys->getrandom(&in->nonce_prefix,
						 sizeof(in->nonce_prefix));

		if (err < 0)
			return -EIO;
	}
	store_le64(out, in->nonce_prefix);
	store_le32(out + 8, in->nonce_counter++);
	return 0;
}

static int record_init(struct store_writer *w, enum segment_kind kind,
		       uint32_t payload_bytes, struct segment_record *r)
{
	assert(w->in->seg); /* record_room() saw to it */
	memset(r, 0, sizeof(*r));
	r->kind = kind;
	memcpy(r->generation, w->in->seg->generation, SEGMENT_ID_BYTES);
	memcpy(r->stream_id, w->f.stream_id, SEGMENT_ID_BYTES);
	r->number = w->f.number;
	r->block = w->in->seg->next_block;
	r->payload_bytes = payload_bytes;
	return nonce_next(w->in, r->nonce);
}

/* The fragment needs segment @number until it is a row, or given up. */
static void pin(struct store_writer *w, uint32_t number)
{
	if (!w->page_count || w->places[w->page_count - 1].segment != number)
		segment_table_pin(&w->sl->table, number);
}

static int seal_page(struct store_writer *w, const struct iovec *parts,
		     size_t part_count, uint32_t bytes, bool last)
{
	struct store_instance *in = w->in;
	struct segment_record r;
	uint8_t *out;
	int err;

	if (w->page_count == w->place_size) {
		uint32_t size = w->place_size ? 2 * w->place_size : 8;
		void *p = realloc(w->places, size * sizeof(*w->places));

		if (!p)
			return -ENOMEM;
		w->places = p;
		w->place_size = size;
	}
	err = record_room(in, segment_record_bytes(bytes), &out);
	if (err < 0)
		return err;
	err = record_init(w, SEGMENT_PAGE, bytes, &r);
	r.page = w->page_count;
	r.last = last;
	if (err == 0)
		err = segment_seal_page(w->key->aead, &r, parts, part_count,
					out);
	if (err < 0)
		return err;
	pin(w, in->seg->number);
	w->places[w->page_count].segment = in->seg->number;
	w->places[w->page_count].block = r.block;
	w->page_count++;
	buffer_take(in, segment_record_bytes(bytes));
	pump(in);
	return 0;
}

static int seal_commit(struct store_writer *w)
{
	struct segment_commit c = {
		.producer_ms = w->f.producer_ms,
		.server_ms = w->f.server_ms,
		.duration_ms = w->f.duration_ms,
		.header_bytes = w->f.header_bytes,
		.media_bytes = w->f.media_bytes,
		.frames_bytes = w->f.frames_bytes,
		.page_count = w->page_count,
	};
	uint32_t payload_bytes = segment_commit_bytes(w->page_count);
	uint32_t bytes = segment_record_bytes(payload_bytes);
	struct store_instance *in = w->in;
	struct segment_record r;
	uint8_t *out;
	int err;

	err = record_room(in, bytes, &out);
	if (err < 0)
		return err;
	err = record_init(w, SEGMENT_COMMIT, payload_bytes, &r);
	if (err < 0)
		return err;
	segment_commit_encode(out + SEGMENT_HEADER_BYTES, &c, w->places);
	err = segment_seal_commit(w->key->aead, &r, out);
	if (err < 0)
		return err;
	pin(w, in->seg->number);
	w->f.segment = in->seg->number;
	w->f.page = r.block;
	w->mark = r.block + bytes / SEGMENT_BLOCK_BYTES;
	buffer_take(in, bytes);
	return 0;
}

/* --- writers --- */

void writer_unpin_and_free(struct store_writer *w)
{
	struct segment_table *t = &w->sl->table;
	uint32_t i;

	for (i = 0; i < w->page_count; i++)
		if (!i || w->places[i].segment != w->places[i - 1].segment)
			segment_table_unpin(t, w->places[i].segment);
	/* As pin() did for the commit record. */
	if (w->mark && w->places[i - 1].segment != w->f.segment)
		segment_table_unpin(t, w->f.segment);
	free(w->places);
	free(w);
}

/* What belongs to the loop's thread. */
static void writer_release(struct store_writer *w)
{
	struct store_instance *in = w->in;

	list_del(&w->link);
	page_drop(w);
	key_cache_put(&in->keys, TAKE_PTR(w->key));
	in->writer_count--;
	w->in = NULL;
}

int local_writer_open(struct store *s, const struct store_stream *stream,
		      const struct fragment_number *number,
		      struct store_writer **ret_writer)
{
	struct store_instance *in = instance_of(s);
	struct store_local *sl = in->sl;
	struct store_writer *w;
	int err;

	if (in->writer_count >= STORE_WRITERS_MAX ||
	    counted(&sl->counters.rows_pending) >= STORE_ROWS_PENDING_MAX)
		return -EAGAIN;
	if (!in->seg) {
		err = ensure_segment(in);
		if (err < 0 && err != -EAGAIN)
			return err;
	} else if (!in->spare && loop_now_ns(in->loop) >= in->retry_ns) {
		segment_request(in);
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	err = key_cache_get(&in->keys, stream, &w->key);
	if (err < 0) {
		free(w);
		return err;
	}
	w->in = in;
	w->sl = sl;
	memcpy(w->f.stream_id, stream->id, STREAM_ID_BYTES);
	w->f.number = *number;
	list_add_tail(&in->writers, &w->link);
	in->writer_count++;
	*ret_writer = w;
	return 0;
}

/* Keeps @len bytes, which fit, until their page is full. */
static int keep(struct store_writer *w, const uint8_t *bytes, size_t len)
{
	while (len) {
		uint8_t **chunk = &w->chunks[w->fill / STORE_CHUNK_BYTES];
		uint32_t at = w->fill % STORE_CHUNK_BYTES;
		size_t n = MIN(len, STORE_CHUNK_BYTES - at);

		if (!*chunk)
			*chunk = chunk_get(w->in);
		if (!*chunk)
			return -ENOMEM;
		memcpy(*chunk + at, bytes, n);
		w->fill += (uint32_t)n;
		bytes += n;
		len -= n;
	}
	return 0;
}

/*
 * A full page is sealed only when another byte follows it, since the last one
 * says that it is the last.
 */
static int add_bytes(struct store_writer *w, const uint8_t *bytes, size_t len,
		     size_t *taken)
{
	while (*taken < len) {
		size_t room = SEGMENT_PAYLOAD_BYTES_MAX - w->fill;
		size_t left = len - *taken;
		struct iovec parts[STORE_PAGE_CHUNKS + 1];
		size_t count;
		int err;

		if (left <= room) {
			err = keep(w, bytes + *taken, left);
			*taken += err < 0 ? 0 : left;
			return err;
		}
		count = page_parts(w, parts);
		parts[count].iov_base = (void *)(uintptr_t)(bytes + *taken);
		parts[count++].iov_len = room;
		err = seal_page(w, parts, count, SEGMENT_PAYLOAD_BYTES_MAX,
				false);
		if (err == -EAGAIN && room) {
			err = keep(w, bytes + *taken, room);
			*taken += err < 0 ? 0 : room;
			return err;
		}
		if (err < 0)
			return err;
		page_drop(w);
		*taken += room;
	}
	return 0;
}

int local_writer_add(struct store_writer *w, const void *bytes, size_t len)
{
	size_t taken = 0;
	int err = w->err;

	if (!err && len > STORE_FRAGMENT_BYTES_MAX - w->bytes)
		err = -EFBIG;
	if (!err)
		err = add_bytes(w, bytes, len, &taken);
	if (err < 0 && err != -EAGAIN) {
		w->err = err;
		return err;
	}
	w->bytes += taken;
	count(&w->sl->counters.bytes_added, taken);
	return taken || !len ? (int)taken : -EAGAIN;
}

void local_writer_abort(struct store_writer *w)
{
	writer_release(w);
	writer_unpin_and_free(w);
}

void local_wait(struct store *s, struct store_waiter *waiter)
{
	struct store_instance *in = instance_of(s);

	list_del(&waiter->link);
	list_add_tail(&in->waiters, &waiter->link);
}

/* --- commit --- */

/* Return: 0 (in the current buffer), -EAGAIN, or why it cannot be. */
static int try_commit(struct store_writer *w)
{
	struct iovec parts[STORE_PAGE_CHUNKS];
	int err;

	if (w->err)
		return w->err;
	if (w->fill) {
		err = seal_page(w, parts, page_parts(w, parts), w->fill, true);
		if (err < 0)
			return err;
		page_drop(w);
	}
	err = seal_commit(w);
	if (err < 0)
		return err;
	list_del(&w->link);
	list_add_tail(&w->in->cur->commits, &w->link);
	pump(w->in);
	return 0;
}

static int check_meta(const struct store_writer *w,
		      const struct store_fragment *meta)
{
	uint64_t sum = (uint64_t)meta->header_bytes + meta->media_bytes +
		       meta->frames_bytes;

	if (w->err)
		return w->err;
	return sum != w->bytes || !sum || meta->producer_ms >= INT64_MAX ||
			       meta->server_ms >= INT64_MAX ?
		       -EINVAL :
		       0;
}

void local_writer_commit(struct store_writer *w,
			 const struct store_fragment *meta,
			 struct store_op *op)
{
	struct store_instance *in = w->in;
	int err = check_meta(w, meta);

	w->op = op;
	w->f.producer_ms = meta->producer_ms;
	w->f.server_ms = meta->server_ms;
	w->f.duration_ms = meta->duration_ms;
	w->f.header_bytes = meta->header_bytes;
	w->f.media_bytes = meta->media_bytes;
	w->f.frames_bytes = meta->frames_bytes;
	op_begin(in, op);
	if (!err)
		err = list_empty(&in->commits_waiting) ? try_commit(w) :
							 -EAGAIN;
	if (err == -EAGAIN) {
		list_del(&w->link);
		list_add_tail(&in->commits_waiting, &w->link);
	} else if (err < 0) {
		local_writer_abort(w);
		op_complete(op, err);
	}
}

/* In a callback of the loop. */
static void finish_commit(struct store_writer *w, int err)
{
	struct store_instance *in = w->in;
	struct store_op *op = w->op;

	writer_release(w);
	if (err) {
		writer_unpin_and_free(w);
	} else {
		count(&in->sl->counters.commits, 1);
		index_row(w);
	}
	op_end(in);
	op->done(op, err);
}

static void finish_commits(struct list_node *list, int err)
{
	struct list_node *n;

	while ((n = list_pop(list))) {
		struct store_writer *w =
			list_entry(n, struct store_writer, link);

		finish_commit(w, err ? err : w->err);
	}
}

/* A thousand writers that wait are not all asked for each buffer. */
static void wake_waiters(struct store_instance *in)
{
	struct list_node woken;
	struct list_node *n;

	list_init(&woken);
	list_splice_tail(&woken, &in->waiters);
	while ((n = list_pop(&woken))) {
		struct store_waiter *waiter =
			list_entry(n, struct store_waiter, link);

		waiter->writable(waiter);
		/* One is flying: those who are left hear when it is done. */
		if (in->flying && !in->cur && list_empty(&in->free_buffers))
			break;
	}
	/* In their order, before who waits again. */
	list_splice_tail(&woken, &in->waiters);
	list_splice_tail(&in->waiters, &woken);
}

/* Room has come, or the hope for it is gone. */
static void wake(struct store_instance *in)
{
	while (!list_empty(&in->commits_waiting)) {
		struct store_writer *w =
			list_entry(in->commits_waiting.next,
				   struct store_writer, link);
		int err = try_commit(w);

		if (err == -EAGAIN)
			break;
		if (err < 0)
			finish_commit(w, err);
	}
	wake_waiters(in);
}

void write_segment_made(struct store_instance *in)
{
	struct segment_request *q = &in->request;

	if (q->res < 0) {
		if (!in->seg_err)
			log_error("store", "no new segment: %s",
				  strerror(-q->res));
		in->seg_err = public_error(q->res);
		in->retry_ns = loop_now_ns(in->loop) + SEGMENT_RETRY_NS;
	} else {
		if (in->seg_err)
			log_info("store", "segments can be made again");
		in->seg_err = 0;
		in->spare = TAKE_PTR(q->made);
	}
	wake(in);
}

/* --- writing --- */

static bool has_pages_in(const struct store_writer *w, uint32_t number)
{
	uint32_t i = w->page_count;

	while (i && w->places[i - 1].segment > number)
		i--;
	return i && w->places[i - 1].segment == number;
}

/* Writers of @list with pages in segment @number have lost them. */
static void fail_writers(struct list_node *list, uint32_t number, int err)
{
	struct list_node *n;

	for (n = list->next; n != list; n = n->next) {
		struct store_writer *w =
			list_entry(n, struct store_writer, link);

		if (!w->err && has_pages_in(w, number))
			w->err = err;
	}
}

/*
 * As fail_writers() for a buffer of a later segment: its commit records must
 * not be found by a replay, which could still read lost pages from a cache.
 */
static void fail_commits(struct write_buffer *b, uint32_t number, int err)
{
	struct list_node *n;

	fail_writers(&b->commits, number, err);
	for (n = b->commits.next; n != &b->commits; n = n->next) {
		struct store_writer *w =
			list_entry(n, struct store_writer, link);

		if (w->err)
			segment_record_void(b->bytes +
					    (size_t)(w->f.page - b->block) *
						    SEGMENT_BLOCK_BYTES);
	}
}

static void buffer_drop(struct store_instance *in, struct write_buffer *b,
			struct list_node *commits)
{
	list_splice_tail(commits, &b->commits);
	list_del(&b->link);
	/* The next one to be filled: its memory is warm, and others stay cold. */
	list_add_head(&in->free_buffers, &b->link);
}

/*
 * A write or sync of @seg failed: what the kernel has of it is not known any
 * more, and another fdatasync may say 0 without the data. Nothing is written
 * to it again. Unacknowledged commits are moved to @failed.
 */
static void poison(struct store_instance *in, struct open_segment *seg,
		   int err, struct list_node *failed)
{
	struct list_node *n;
	struct list_node *tmp;

	log_error("store", "segment %u: %s; not written to any more",
		  seg->number, strerror(-err));
	count(&in->sl->counters.failures, 1);
	err = public_error(err);
	list_for_each_safe(n, tmp, &in->full) {
		struct write_buffer *b =
			list_entry(n, struct write_buffer, link);

		if (b->seg == seg)
			buffer_drop(in, b, failed);
		else
			fail_commits(b, seg->number, err);
	}
	if (in->cur && in->cur->seg == seg) {
		buffer_drop(in, in->cur, failed);
		in->cur = NULL;
	} else if (in->cur) {
		fail_commits(in->cur, seg->number, err);
	}
	fail_writers(&in->writers, seg->number, err);
	fail_writers(&in->commits_waiting, seg->number, err);
	if (in->seg == seg)
		in->seg = NULL;
	in->retry_ns = loop_now_ns(in->loop) + SEGMENT_RETRY_NS;
	in->seg_err = err;
	seg->failed = true;
	segment_retire(seg);
}

static void write_done(struct loop_op *op, int res)
{
	struct write_buffer *b = container_of(op, struct write_buffer, op);
	struct store_instance *in = b->in;
	bool synced = b->final || !list_empty(&b->commits);
	bool final = b->final;
	struct open_segment *seg = b->seg;
	struct list_node commits;
	int err = 0;

	if (res < 0)
		err = res;
	else if ((uint32_t)res != b->used)
		err = -EIO;
	in->flying = NULL;
	in->outstanding--;
	list_init(&commits);
	buffer_drop(in, b, &commits);
	if (err) {
		poison(in, seg, err, &commits);
		err = public_error(err);
	} else {
		count(&in->sl->counters.bytes_written, b->used);
		if (synced)
			seg->synced_block =
				b->block + b->used / SEGMENT_BLOCK_BYTES;
	}
	pump(in);
	finish_commits(&commits, err);
	/* After its last rows: closed, it is not replayed any more. */
	if (final && !err)
		segment_retire(seg);
	wake(in);
}

/* Starts a write when none is under way and there is something to write. */
static void pump(struct store_instance *in)
{
	struct write_buffer *b;
	struct list_node *n;
	uint64_t offset;

	if (in->flying)
		return;
	n = list_pop(&in->full);
	if (n) {
		b = list_entry(n, struct write_buffer, link);
	} else {
		b = in->cur;
		if (!b || (list_empty(&b->commits) &&
			   b->used < STORE_WRITE_EARLY_BYTES))
			return;
		in->cur = NULL;
	}
	in->flying = b;
	in->outstanding++;
	offset = (uint64_t)b->block * SEGMENT_BLOCK_BYTES;
	count(&in->sl->counters.writes, 1);
	if (b->final || !list_empty(&b->commits)) {
		count(&in->sl->counters.syncs, 1);
		loop_write_sync(in->loop, &b->op, b->seg->fd, b->bytes,
				b->used, offset, write_done);
	} else {
		loop_pwrite(in->loop, &b->op, b->seg->fd, b->bytes, b->used,
			    offset, write_done);
	}
}

/* --- instance --- */

int write_init(struct store_instance *in)
{
	size_t i;

	list_init(&in->writers);
	list_init(&in->free_buffers);
	list_init(&in->full);
	list_init(&in->commits_waiting);
	list_init(&in->waiters);
	in->buffer_bytes = aligned_alloc(SEGMENT_BLOCK_BYTES,
					 (size_t)STORE_WRITE_BUFFERS *
						 STORE_WRITE_BUFFER_BYTES);
	if (!in->buffer_bytes)
		return -ENOMEM;
	for (i = 0; i < STORE_WRITE_BUFFERS; i++) {
		struct write_buffer *b = &in->buffers[i];

		b->in = in;
		b->bytes = in->buffer_bytes + i * STORE_WRITE_BUFFER_BYTES;
		list_init(&b->commits);
		list_add_tail(&in->free_buffers, &b->link);
	}
	return 0;
}

bool write_idle(const struct store_instance *in)
{
	return !in->flying && list_empty(&in->full) &&
	       list_empty(&in->commits_waiting) && !in->request.busy;
}

void write_fini(struct store_instance *in)
{
	assert(list_empty(&in->writers));
	/* Pages of writers that gave up may be in it; no commit is. */
	if (in->cur)
		assert(list_empty(&in->cur->commits));
	segment_retire(TAKE_PTR(in->seg));
	segment_retire(TAKE_PTR(in->spare));
	while (in->spare_chunk_count)
		free(in->spare_chunks[--in->spare_chunk_count]);
	free(in->buffer_bytes);
}
