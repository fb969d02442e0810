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
#include "io/store_local_compact_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/log.h"
#include "io/segment_replay.h"
#include "io/segment_seal.h"

int compact_request(struct compactor *c, struct compact_request *q,
		    void (*run)(struct worker_job *job))
{
	q->c = c;
	q->job.run = run;
	worker_call(c->sl->worker, &q->job);
	return q->r;
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

	err = compact_record_room(c, segment_record_bytes(len), &out);
	if (err == 0)
		err = record_init(c, SEGMENT_PAGE, len, &r);
	if (err)
		return err;
	r.page = page;
	r.last = last;
	err = segment_seal_page(key, &r, &part, 1, out);
	if (err < 0)
		return err;
	c->places[page].segment = c->seg->number;
	c->places[page].block = r.block;
	compact_record_take(c, segment_record_bytes(len));
	return 0;
}

static int copy_commit(void *ctx, struct crypto_aead *key,
		       const struct segment_commit *commit)
{
	struct compactor *c = ctx;
	uint32_t len = segment_commit_bytes(commit->page_count);
	struct compact_item *item = c->item;
	struct segment_record r;
	uint8_t *out;
	int err;

	err = compact_record_room(c, segment_record_bytes(len), &out);
	if (err == 0)
		err = record_init(c, SEGMENT_COMMIT, len, &r);
	if (err)
		return err;
	segment_commit_encode(out + SEGMENT_HEADER_BYTES, commit, c->places);
	err = segment_seal_commit(key, &r, out);
	if (err < 0)
		return err;
	compact_record_take(c, segment_record_bytes(len));
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
		struct compact_item *item)
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
		struct compact_item *item = &c->items[i];
		uint64_t need;

		if (!item->live || !total_of(&item->from.f))
			continue;
		need = segment_fragment_bytes(total_of(&item->from.f));
		if ((bytes && !compact_segment_room(c, need)) ||
		    bytes >= COMPACT_STEP_BYTES || atomic_load(&c->ending)) {
			postpone(c, i);
			break;
		}
		if (!compact_segment_room(c, need))
			r = compact_next_segment(c, need);
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
		r = compact_sync(c);
	return r;
}

/* --- the index --- */

static void move_run(struct worker_job *job)
{
	struct compact_request *q =
		container_of(job, struct compact_request, job);
	struct compactor *c = q->c;
	struct store_local *sl = c->sl;
	unsigned int i;

	/* What waits is committed first: a failure is not to be its. */
	q->r = changes_wait(sl) || changes_commit(sl) < 0 ? -EAGAIN : 0;
	for (i = 0; i < c->count && q->r >= 0; i++) {
		struct compact_item *item = &c->items[i];

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
	struct compact_request *q =
		container_of(job, struct compact_request, job);
	struct store_local *sl = q->c->sl;

	q->live = 0;
	q->r = changes_wait(sl) || changes_commit(sl) < 0 ? -EAGAIN : 0;
	if (q->r == 0)
		q->r = index_segment_live(sl->index, q->c->number, &q->live);
	index_failed(sl, q->r);
	if (q->r >= 0)
		sweep_segments(sl);
}

static int finish(struct compactor *c)
{
	struct compact_request q;
	int r = compact_request(c, &q, finish_run);

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
		compact_leave(c, c->number, c->gone);
		if (!c->gone) {
			segment_table_set_failed(&c->sl->table, c->number);
			log_warn("store",
				 "segment %u: %u %% of it is needed, and not "
				 "all of that can be copied; it stays",
				 c->number, c->percent);
		}
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
	struct compact_request q;
	int r;

	r = compact_collect(c);
	if (r == 0 && c->count) {
		r = compact_request(c, &q, compact_find_run);
		if (r >= 0)
			r = copy_items(c);
	}
	if (r >= 0 && c->count)
		r = compact_request(c, &q, move_run);
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
	compact_leave(c, c->number, r == -ENOENT);
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
		r = compact_choose(c);
	chosen = c->number;
	if (r >= 0 && c->number)
		r = step(c);
	else if (r == 0)
		compact_end_segment(c); /* the next may be long in coming */
	passing = is_passing(c, r);
	if (c->write_err)
		compact_give_up_segment(c);
	if (r < 0 && c->number) {
		r = step_failed(c, passing, r);
		c->number = 0;
	}
	if (r < 0 || (!r && !c->number && !c->seg && !chosen)) {
		compact_forget_left(c);
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
