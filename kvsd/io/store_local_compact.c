/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction: a closed segment of which little is needed is emptied, and goes
 * as every segment goes that no row needs. On a thread of its own that blocks
 * on nothing but the disk and the worker. Per step, of a few fragments:
 *
 *  1. the records of the segment say which fragments may be in it, the index
 *     says which of them are, and where
 *  2. each is read, verified and opened, sealed again under its number (the
 *     header that is authenticated names segment and block), and written to
 *     the compaction's own segment, commit record last
 *  3. fdatasync
 *  4. the rows of those that are still where they were say the new place, in
 *     one transaction
 *
 * The old segment is unlinked by the sweep, which syncs the index first. So at
 * each moment a row's place is durable, or, after a power cut that undoes 4,
 * the old one is; a commit record of a fragment that has a row is left alone
 * by a replay. A reader whose row says the old place asks the index again
 * (store_local_read.c).
 *
 * It rests for COMPACT_REST times as long as a step took, and for what
 * COMPACT_BYTES_PER_S asks: a busy disk makes it slower by itself.
 */
#include "io/store_local_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/log.h"
#include "io/segment_file.h"
#include "io/segment_replay.h"
#include "io/segment_seal.h"

/* START and END. */
#define ENDS_BYTES (2ull * SEGMENT_BLOCK_BYTES)

struct item {
	uint32_t block; /* of the record that named it */
	bool live;	/* it has a row that needs the segment */
	bool copied;
	struct index_row from;
	struct index_row to;
	uint32_t mark;
};

struct left {
	uint32_t number;
	bool again; /* in a later round; else not before the next start */
};

struct compactor {
	struct store_local *sl;
	struct worker *worker;
	struct worker_job kick;
	atomic_bool kicked;
	atomic_bool ending;

	/* The segment that is emptied; 0: none. */
	uint32_t number;
	uint32_t block; /* of its next record */
	bool at_end;
	bool gone; /* a fragment's stream does not exist any more */
	unsigned int percent;
	uint64_t fragments;
	uint64_t bytes;
	struct item items[COMPACT_ITEMS_MAX];
	unsigned int count;
	/* What could not be emptied. */
	struct left left[COMPACT_LEFT_MAX];
	unsigned int left_count;

	/* Where it goes. */
	struct open_segment *seg;
	uint64_t wanted; /* bytes of the next */
	uint64_t victims; /* bytes on disk of what could be emptied */
	uint8_t *buffer;
	uint32_t used;
	int write_err;	   /* of the segment: it is lost */
	struct item *item; /* being copied */
	struct segment_place *places;
	uint64_t nonce_prefix;
	uint32_t nonce_counter;
};

/* A call on the worker's thread. */
struct request {
	struct worker_job job;
	struct compactor *c;
	int r;
	uint64_t bytes;
	uint64_t least; /* of @bytes, where there is no room for them */
	uint64_t live;
};

static int request(struct compactor *c, struct request *q,
		   void (*run)(struct worker_job *job))
{
	q->c = c;
	q->job.run = run;
	worker_call(c->sl->worker, &q->job);
	return q->r;
}

/* --- choosing --- */

static bool is_left(const struct compactor *c, uint32_t number)
{
	unsigned int i;

	for (i = 0; i < c->left_count; i++)
		if (c->left[i].number == number)
			return true;
	return false;
}

static void leave(struct compactor *c, uint32_t number, bool again)
{
	if (c->left_count == COMPACT_LEFT_MAX)
		return;
	c->left[c->left_count++] =
		(struct left){.number = number, .again = again};
	if (c->left_count == COMPACT_LEFT_MAX)
		log_warn("store",
			 "%u segments could not be emptied: no others are, "
			 "until the next start",
			 COMPACT_LEFT_MAX);
}

/* A round is over: what had to wait for somebody else is tried again. */
static void forget_left(struct compactor *c)
{
	unsigned int count = 0;
	unsigned int i;

	for (i = 0; i < c->left_count; i++)
		if (!c->left[i].again)
			c->left[count++] = c->left[i];
	c->left_count = count;
}

/* Sparse ones come first: the first that is idle is taken, all are summed. */
static int see_sparse(void *ctx, const struct index_segment *s)
{
	struct compactor *c = ctx;
	struct segment_table *t = &c->sl->table;
	uint64_t disk = segment_table_bytes_of(t, s->number);
	uint64_t bytes = disk - MIN(disk, ENDS_BYTES);

	if (s->bytes * 100 >= bytes * c->sl->config.compact_percent ||
	    is_left(c, s->number) || !segment_table_idle(t, s->number))
		return 0;
	if (!c->number) {
		c->number = s->number;
		c->percent = (unsigned int)(s->bytes * 100 / bytes);
	}
	c->wanted += s->bytes;
	c->victims += disk;
	return 0;
}

static void choose_run(struct worker_job *job)
{
	struct request *q = container_of(job, struct request, job);
	struct compactor *c = q->c;
	struct store_local *sl = c->sl;

	c->number = 0;
	c->wanted = 0;
	c->victims = 0;
	q->r = -EAGAIN;
	/* Those that are left may be the first of them. */
	if (!sl->broken && c->left_count < COMPACT_LEFT_MAX)
		q->r = index_segments_sparse(sl->index,
					     COMPACT_SPARSE_MAX + c->left_count,
					     see_sparse, c);
	index_failed(sl, q->r);
}

/* Return: 1 there is one, 0, or an error. */
static int choose(struct compactor *c)
{
	struct request q;
	int r = request(c, &q, choose_run);

	if (r < 0)
		c->number = 0;
	if (!c->number)
		return r;
	c->wanted =
		ALIGN_UP(c->wanted, (uint64_t)SEGMENT_BLOCK_BYTES) + ENDS_BYTES;
	/* What saves nothing would be done for ever. */
	if (c->victims < c->wanted + SEGMENT_BLOCK_BYTES) {
		c->number = 0;
		return 0;
	}
	c->wanted = MIN(c->wanted, c->sl->segment_bytes);
	c->block = SEGMENT_FIRST_BLOCK;
	c->at_end = false;
	c->gone = false;
	c->fragments = 0;
	c->bytes = 0;
	return 1;
}

/* --- what is in it --- */

static void add_item(struct compactor *c, const struct segment_record *r)
{
	struct item *item = &c->items[c->count];
	unsigned int i;

	for (i = 0; i < c->count; i++) {
		const struct store_fragment *f = &c->items[i].from.f;

		if (f->number.seq == r->number.seq &&
		    !memcmp(f->stream_id, r->stream_id, STREAM_ID_BYTES))
			return;
	}
	memset(item, 0, sizeof(*item));
	item->block = r->block;
	item->from.f.number = r->number;
	memcpy(item->from.f.stream_id, r->stream_id, STREAM_ID_BYTES);
	c->count++;
}

/*
 * Headers only: a damaged one names what has no row, or not here, and where
 * nothing can be read the row stays, and the segment with it.
 */
static int collect(struct compactor *c)
{
	const struct data_dir *dir = c->sl->dir;
	uint8_t generation[SEGMENT_ID_BYTES];
	struct segment_record r;
	unsigned int i;
	size_t len = 0;
	int fd = -EBADF;
	int err;

	err = segment_table_generation(&c->sl->table, c->number, generation);
	if (err == 0)
		err = segment_file_open(dir, c->number, &fd);
	if (err < 0)
		return err;
	c->count = 0;
	for (i = 0; i < COMPACT_BLOCKS_MAX && c->count < COMPACT_ITEMS_MAX;
	     i++) {
		err = segment_file_read(
			dir, fd, c->buffer, SEGMENT_BLOCK_BYTES,
			(uint64_t)c->block * SEGMENT_BLOCK_BYTES, &len);
		c->at_end = err == 0 && len < SEGMENT_BLOCK_BYTES;
		if (err < 0 || c->at_end)
			break;
		if (segment_header_parse(c->buffer, &r) < 0 ||
		    r.block != c->block || r.kind == SEGMENT_START ||
		    memcmp(r.generation, generation, SEGMENT_ID_BYTES)) {
			c->block++;
			continue;
		}
		c->block += segment_record_bytes(r.payload_bytes) /
			    SEGMENT_BLOCK_BYTES;
		if (r.kind != SEGMENT_END)
			add_item(c, &r);
	}
	sys_close(dir->sys, &fd);
	return err;
}

static void find_run(struct worker_job *job)
{
	struct request *q = container_of(job, struct request, job);
	struct compactor *c = q->c;
	unsigned int i;

	q->r = c->sl->broken ? -EAGAIN : 0;
	for (i = 0; i < c->count && q->r >= 0; i++) {
		struct item *item = &c->items[i];
		struct index_row row;

		q->r = index_find(c->sl->index, item->from.f.stream_id,
				  item->from.f.number.seq, &row);
		item->live = q->r == 1 && row.first_segment <= c->number &&
			     row.f.segment >= c->number;
		if (item->live)
			item->from = row;
	}
	index_failed(c->sl, q->r);
}

/* --- where it goes --- */

/*
 * Not over config.bytes_max: what is there is not dropped for this. The row
 * of the segment is committed before it is written to, or a start after a kill
 * would replay it.
 */
static void make_run(struct worker_job *job)
{
	struct request *q = container_of(job, struct request, job);
	struct compactor *c = q->c;
	struct store_local *sl = c->sl;
	uint64_t most = sl->config.bytes_max;
	uint64_t used = segment_table_bytes(&sl->table) + sl->bad_bytes;

	if (most)
		q->bytes = MIN(q->bytes, most - MIN(most, used));
	q->bytes -= q->bytes % SEGMENT_BLOCK_BYTES;
	q->r = sl->broken ? -EAGAIN : -ENOSPC;
	if (!sl->broken && q->bytes >= q->least)
		q->r = segment_make(sl, q->bytes, false, &c->seg);
	if (q->r == 0 && changes_commit(sl) < 0)
		q->r = -EAGAIN;
}

/* Writes what is in the buffer. Return: 0, or c->write_err. */
static int write_out(struct compactor *c)
{
	const struct sys_ops *sys = c->sl->sys;
	uint32_t blocks = c->used / SEGMENT_BLOCK_BYTES;
	ssize_t n;

	if (!c->used)
		return 0;
	n = sys->pwrite(c->seg->fd, c->buffer, c->used,
			(off_t)(c->seg->next_block - blocks) *
				SEGMENT_BLOCK_BYTES);
	if (n != (ssize_t)c->used) {
		c->write_err = n < 0 ? (int)n : -EIO;
		return c->write_err;
	}
	count(&c->sl->counters.compacted_bytes, c->used);
	c->used = 0;
	return 0;
}

static int write_and_sync(struct compactor *c)
{
	int r = write_out(c);

	if (r < 0)
		return r;
	c->write_err = c->sl->sys->fdatasync(c->seg->fd);
	if (!c->write_err)
		c->seg->synced_block = c->seg->next_block;
	return c->write_err;
}

/* As poison() does it: never written to again, rows of what was synced stay. */
static void give_up_segment(struct compactor *c)
{
	log_error("store", "segment %u: %s; not written to any more",
		  c->seg->number, strerror(-c->write_err));
	count(&c->sl->counters.failures, 1);
	c->write_err = 0;
	c->used = 0;
	segment_retire(TAKE_PTR(c->seg));
}

/* Room for a record. Return: 0, or c->write_err. */
static int record_room(struct compactor *c, uint32_t bytes, uint8_t **ret_out)
{
	if (c->used + bytes > COMPACT_BUFFER_BYTES) {
		int r = write_out(c);

		if (r < 0)
			return r;
	}
	*ret_out = c->buffer + c->used;
	return 0;
}

static void record_take(struct compactor *c, uint32_t bytes)
{
	c->used += bytes;
	c->seg->next_block += bytes / SEGMENT_BLOCK_BYTES;
}

static void end_segment(struct compactor *c)
{
	static const uint8_t no_tag[SEGMENT_TAG_BYTES];
	struct segment_record r = {.kind = SEGMENT_END, .payload_bytes = 1};
	uint8_t *out;

	if (!c->seg || record_room(c, SEGMENT_BLOCK_BYTES, &out) < 0)
		return;
	memcpy(r.generation, c->seg->generation, SEGMENT_ID_BYTES);
	r.block = c->seg->next_block;
	segment_record_begin(out, &r);
	out[SEGMENT_HEADER_BYTES] = 0;
	segment_record_end(out, no_tag);
	record_take(c, SEGMENT_BLOCK_BYTES);
	if (write_and_sync(c) == 0)
		segment_retire(TAKE_PTR(c->seg));
}

static bool segment_room(const struct compactor *c, uint64_t bytes)
{
	uint64_t blocks = bytes / SEGMENT_BLOCK_BYTES;

	return c->seg && c->seg->next_block + blocks <= c->seg->end_block;
}

/* Nothing of the step is in the segment: its rows would come too late. */
static int next_segment(struct compactor *c, uint64_t bytes)
{
	struct request q;
	int r;

	end_segment(c);
	if (c->write_err)
		return c->write_err;
	q.least = MAX((uint64_t)SEGMENT_BYTES_MIN, bytes + ENDS_BYTES);
	q.bytes = MAX(c->wanted, q.least);
	if (q.bytes > c->sl->segment_bytes)
		return -EFBIG;
	r = request(c, &q, make_run);
	if (r < 0) {
		segment_retire(TAKE_PTR(c->seg));
		return r;
	}
	return segment_room(c, bytes) ? 0 : -EFBIG;
}

/* --- copying --- */

static int record_init(struct compactor *c, enum segment_kind kind,
		       uint32_t payload_bytes, struct segment_record *r)
{
	memset(r, 0, sizeof(*r));
	r->kind = kind;
	memcpy(r->generation, c->seg->generation, SEGMENT_ID_BYTES);
	memcpy(r->stream_id, c->item->from.f.stream_id, SEGMENT_ID_BYTES);
	r->number = c->item->from.f.number;
	r->block = c->seg->next_block;
	r->payload_bytes = payload_bytes;
	/* As the writers': a prefix for each 2^32 records. */
	if (!c->nonce_counter &&
	    c->sl->sys->getrandom(&c->nonce_prefix, sizeof(c->nonce_prefix)) <
		    0)
		return -EIO;
	store_le64(r->nonce, c->nonce_prefix);
	store_le32(r->nonce + 8, c->nonce_counter++);
	return 0;
}

static int copy_page(void *ctx, struct crypto_aead *key, uint8_t *bytes,
		     uint32_t len, uint32_t page, bool last)
{
	struct compactor *c = ctx;
	struct iovec part = {bytes, len};
	struct segment_record r;
	uint8_t *out;
	int err;

	err = record_room(c, segment_record_bytes(len), &out);
	if (err == 0)
		err = record_init(c, SEGMENT_PAGE, len, &r);
	if (err < 0)
		return err;
	r.page = page;
	r.last = last;
	err = segment_seal_page(key, &r, &part, 1, out);
	if (err < 0)
		return err;
	c->places[page].segment = c->seg->number;
	c->places[page].block = r.block;
	record_take(c, segment_record_bytes(len));
	return 0;
}

static int copy_commit(void *ctx, struct crypto_aead *key,
		       const struct segment_commit *commit)
{
	struct compactor *c = ctx;
	uint32_t len = segment_commit_bytes(commit->page_count);
	struct item *item = c->item;
	struct segment_record r;
	uint8_t *out;
	int err;

	err = record_room(c, segment_record_bytes(len), &out);
	if (err == 0)
		err = record_init(c, SEGMENT_COMMIT, len, &r);
	if (err < 0)
		return err;
	segment_commit_encode(out + SEGMENT_HEADER_BYTES, commit, c->places);
	err = segment_seal_commit(key, &r, out);
	if (err < 0)
		return err;
	record_take(c, segment_record_bytes(len));
	item->to = item->from;
	item->to.f.segment = c->seg->number;
	item->to.f.page = r.block;
	item->to.first_segment = c->seg->number;
	item->mark = c->seg->next_block;
	item->copied = true;
	return 0;
}

static uint64_t total_of(const struct store_fragment *f)
{
	return (uint64_t)f->header_bytes + f->media_bytes + f->frames_bytes;
}

/* Return: 1 copied, 0 left behind, or why no more can be. */
static int copy(struct compactor *c, struct segment_replay *replay,
		struct item *item)
{
	struct segment_sink sink = {
		.page = copy_page,
		.commit = copy_commit,
		.ctx = c,
	};
	const struct store_fragment *f = &item->from.f;
	int r;

	c->places = calloc(segment_page_count(total_of(f)), sizeof(*c->places));
	if (!c->places)
		return -ENOMEM;
	c->item = item;
	r = segment_replay_copy(replay, f, &sink);
	free(TAKE_PTR(c->places));
	if (item->copied)
		return 1;
	if (c->write_err || r == -ENOMEM)
		return r;
	/* Its rows go as soon as somebody comes to it. */
	c->gone |= r == -ENOENT;
	/* What is in the new segment in part is no fragment. */
	return 0;
}

static int find_generation(void *ctx, uint32_t number,
			   uint8_t ret_generation[SEGMENT_ID_BYTES])
{
	struct compactor *c = ctx;

	return segment_table_generation(&c->sl->table, number, ret_generation);
}

/* The others are met again: from the record on that named the first of them. */
static void postpone(struct compactor *c, unsigned int from)
{
	c->block = c->items[from].block;
	c->at_end = false;
	c->count = from;
}

static int copy_all(struct compactor *c, struct segment_replay *replay)
{
	uint64_t bytes = 0;
	unsigned int i;
	int r = 0;

	for (i = 0; i < c->count && r >= 0; i++) {
		struct item *item = &c->items[i];
		uint64_t need;

		if (!item->live || !total_of(&item->from.f))
			continue;
		need = segment_fragment_bytes(total_of(&item->from.f));
		if ((bytes && !segment_room(c, need)) ||
		    bytes >= COMPACT_STEP_BYTES || atomic_load(&c->ending)) {
			postpone(c, i);
			break;
		}
		if (!segment_room(c, need))
			r = next_segment(c, need);
		if (r == -EFBIG) {
			r = 0;
			continue;
		}
		if (r == 0)
			r = copy(c, replay, item);
		if (r > 0)
			bytes += need;
		r = MIN(r, 0);
	}
	return r;
}

static int copy_items(struct compactor *c)
{
	struct segment_replay replay = {
		.dir = c->sl->dir,
		.find_key = c->sl->config.find_key,
		.find_key_ctx = c->sl->config.find_key_ctx,
		.generation = find_generation,
		.ctx = c,
	};
	int r;

	r = segment_replay_init(&replay);
	if (r < 0)
		return r;
	r = copy_all(c, &replay);
	segment_replay_fini(&replay);
	if (r == 0 && c->seg)
		r = write_and_sync(c);
	return r;
}

/* --- the index --- */

static void move_run(struct worker_job *job)
{
	struct request *q = container_of(job, struct request, job);
	struct compactor *c = q->c;
	struct store_local *sl = c->sl;
	unsigned int i;

	/* What waits is committed first: a failure is not to be its. */
	q->r = sl->broken || changes_commit(sl) < 0 ? -EAGAIN : 0;
	for (i = 0; i < c->count && q->r >= 0; i++) {
		struct item *item = &c->items[i];

		if (!item->copied)
			continue;
		q->r = index_relocate(sl->index, &item->from, &item->to,
				      item->mark);
		if (q->r == 1) {
			c->fragments++;
			c->bytes += total_of(&item->from.f);
		}
	}
	index_failed(sl, q->r);
	if (q->r >= 0 && index_commit(sl->index) < 0)
		q->r = -EAGAIN;
	if (q->r < 0)
		index_rollback(sl->index);
}

static void finish_run(struct worker_job *job)
{
	struct request *q = container_of(job, struct request, job);
	struct store_local *sl = q->c->sl;

	q->live = 0;
	q->r = sl->broken || changes_commit(sl) < 0 ? -EAGAIN : 0;
	if (q->r == 0)
		q->r = index_segment_live(sl->index, q->c->number, &q->live);
	index_failed(sl, q->r);
	if (q->r >= 0)
		sweep_segments(sl);
}

static int finish(struct compactor *c)
{
	struct request q;
	int r = request(c, &q, finish_run);

	if (r < 0)
		return r;
	if (!q.live) {
		count(&c->sl->counters.compacted, 1);
		log_info("store",
			 "segment %u: %u %% of it was needed: %llu fragments, "
			 "%llu KiB, are in another, it goes",
			 c->number, c->percent,
			 (unsigned long long)c->fragments,
			 (unsigned long long)(c->bytes >> 10));
	} else {
		/* With its stream's rows it goes by itself, or can later. */
		leave(c, c->number, c->gone);
		if (!c->gone)
			log_warn("store",
				 "segment %u: %u %% of it is needed, and not "
				 "all of that can be copied; it stays",
				 c->number, c->percent);
	}
	c->number = 0;
	return 0;
}

/* --- steps --- */

/* It is not the segment that cannot be emptied. */
static bool is_passing(const struct compactor *c, int r)
{
	return c->write_err || r == -EAGAIN || r == -ENOSPC || r == -ENOMEM ||
	       r == -EMFILE || r == -ENFILE;
}

static int step(struct compactor *c)
{
	struct request q;
	int r;

	r = collect(c);
	if (r == 0 && c->count) {
		r = request(c, &q, find_run);
		if (r >= 0)
			r = copy_items(c);
	}
	if (r >= 0 && c->count)
		r = request(c, &q, move_run);
	if (r >= 0 && c->at_end)
		r = finish(c);
	return MIN(r, 0);
}

/* One segment must not keep the others from being emptied. */
static int step_failed(struct compactor *c, bool passing, int r)
{
	if (passing) {
		log_debug("store", "compaction: %s", strerror(-r));
		return r;
	}
	/* -ENOENT: it went before it was empty. */
	if (r != -ENOENT)
		log_warn("store", "segment %u: %s; it is not emptied",
			 c->number, strerror(-r));
	leave(c, c->number, r == -ENOENT);
	return 0;
}

/* For worker_new(): how long it rests. */
static uint64_t run_step(void *ctx)
{
	struct compactor *c = ctx;
	struct store_local *sl = c->sl;
	uint64_t begin_ns = sys_now_ns(sl->sys, CLOCK_MONOTONIC);
	uint64_t bytes = counted(&sl->counters.compacted_bytes);
	uint64_t took_ns;
	bool passing;
	bool chosen;
	int r = 0;

	if (atomic_load(&c->ending))
		return UINT64_MAX;
	if (!c->number)
		r = choose(c);
	chosen = c->number;
	if (r >= 0 && c->number)
		r = step(c);
	else if (r == 0)
		end_segment(c); /* the next may be long in coming */
	passing = is_passing(c, r);
	if (c->write_err)
		give_up_segment(c);
	if (r < 0 && c->number) {
		r = step_failed(c, passing, r);
		c->number = 0;
	}
	if (r < 0 || (!r && !c->number && !c->seg && !chosen)) {
		forget_left(c);
		return COMPACT_PERIOD_NS;
	}
	took_ns = sys_now_ns(sl->sys, CLOCK_MONOTONIC) - begin_ns;
	bytes = counted(&sl->counters.compacted_bytes) - bytes;
	return 1 + MAX(COMPACT_REST * took_ns,
		       bytes * NS_PER_S / COMPACT_BYTES_PER_S);
}

static void kick_run(struct worker_job *job)
{
	struct compactor *c = container_of(job, struct compactor, kick);

	/* It may be queued again; the step follows, as after every job. */
	atomic_store(&c->kicked, false);
}

void compactor_kick(struct compactor *c)
{
	if (!atomic_exchange(&c->kicked, true))
		worker_submit(c->worker, &c->kick);
}

int compactor_new(struct store_local *sl, struct compactor **ret_compactor)
{
	struct compactor *c = calloc(1, sizeof(*c));
	int r = -ENOMEM;

	if (!c)
		return -ENOMEM;
	c->sl = sl;
	c->kick.run = kick_run;
	c->buffer = aligned_alloc(SEGMENT_BLOCK_BYTES, COMPACT_BUFFER_BYTES);
	if (c->buffer)
		r = worker_new(!sl->config.no_thread, run_step, c, &c->worker);
	if (r < 0) {
		free(c->buffer);
		free(c);
		return r;
	}
	if (!sl->config.no_thread)
		compactor_kick(c);
	*ret_compactor = c;
	return 0;
}

struct compactor *compactor_free(struct compactor *c)
{
	if (!c)
		return NULL;
	atomic_store(&c->ending, true);
	c->worker = worker_free(c->worker);
	segment_retire(TAKE_PTR(c->seg));
	free(c->buffer);
	free(c);
	return NULL;
}
