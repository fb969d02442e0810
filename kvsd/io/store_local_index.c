/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index, on the worker's thread. What is queued is applied in its order
 * and committed together. Since a store's rows are queued before its done()
 * runs, a query that is queued afterwards finds them.
 *
 * Rows that nobody asks for stay in the queue for INDEX_GATHER_NS: a
 * transaction for each would write the same pages over and over. They are not
 * applied before, as a transaction that is left open would tell of a full disk
 * only when somebody wants an answer.
 *
 * When the index cannot be written (full disk), changes are kept in a backlog
 * and tried again, also by a query when their time has come; queries fail
 * meanwhile rather than answer without what was acknowledged. The queue and
 * the backlog are bounded by STORE_ROWS_PENDING_MAX: no writer is opened over
 * it.
 */
#include "io/store_local_int.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "io/segment_file.h"

#define SWEEP_MAX 64u

/* --- changes --- */

/* What a start sees of an index may look well: it is told. */
static void write_mark(struct store_local *sl)
{
	uint64_t now_ns = sys_now_ns(sl->sys, CLOCK_MONOTONIC);
	bool first = !sl->mark_ns;
	int r;

	if (!sl->damaged || sl->marked || now_ns < sl->mark_ns)
		return;
	r = sys_write_file(sl->sys, sl->dir->fd, INDEX_DAMAGED, "", 0, 0600);
	sl->marked = r == 0;
	sl->mark_ns = now_ns + INDEX_RETRY_NS;
	if (first)
		log_error("index",
			  "damaged: start kvsd again, it is made again from "
			  "the segments%s%s",
			  r < 0 ? "; remove index.db before: " : "",
			  r < 0 ? strerror(-r) : "");
}

static void undo_changes(struct store_local *sl, int err);

/*
 * Rows that were applied are gone if SQLite has undone them: they are applied
 * again, from the backlog.
 */
static bool changes_lost(struct store_local *sl, int err)
{
	if (list_empty(&sl->changes) || index_in_transaction(sl->index))
		return false;
	undo_changes(sl, err);
	return true;
}

void index_failed(struct store_local *sl, int r)
{
	if (r < 0)
		(void)changes_lost(sl, r);
	if (r != -EUCLEAN)
		return;
	sl->damaged = true;
	write_mark(sl);
}

static void set_broken(struct store_local *sl, int err)
{
	index_failed(sl, err);
	if (err != -EUCLEAN && !sl->broken)
		log_error("index", "cannot be written: %s; tried again",
			  strerror(-err));
	sl->broken = err;
	sl->retry_ns = sys_now_ns(sl->sys, CLOCK_MONOTONIC);
	/* With that room it may go well at once. */
	if (err != -ENOSPC || !disk_room_give_up(sl))
		sl->retry_ns += INDEX_RETRY_NS;
}

/* Nothing of the open transaction is left: all of it is backlog again. */
static void undo_changes(struct store_local *sl, int err)
{
	index_rollback(sl->index);
	list_splice_tail(&sl->changes, &sl->backlog);
	list_splice_tail(&sl->backlog, &sl->changes);
	sl->change_count = 0;
	set_broken(sl, err);
}

int changes_commit(struct store_local *sl)
{
	struct list_node *n;
	int err;

	if (changes_lost(sl, -EIO))
		return -EIO;
	err = index_commit(sl->index);
	if (err < 0) {
		undo_changes(sl, err);
		return err;
	}
	while ((n = list_pop(&sl->changes))) {
		struct index_change *c =
			list_entry(n, struct index_change, link);

		c->applied(sl, c);
	}
	sl->change_count = 0;
	return 0;
}

static int apply(struct store_local *sl, struct index_change *c)
{
	int err;

	if (changes_lost(sl, -EIO)) {
		list_add_tail(&sl->backlog, &c->link);
		return -EIO;
	}
	err = c->apply(sl, c);
	list_add_tail(&sl->changes, &c->link);
	if (err < 0) {
		undo_changes(sl, err);
		return err;
	}
	if (++sl->change_count < INDEX_ROWS_PER_COMMIT_MAX)
		return 0;
	return changes_commit(sl);
}

void change_submit(struct store_local *sl, struct index_change *c)
{
	if (sl->broken)
		list_add_tail(&sl->backlog, &c->link);
	else
		(void)apply(sl, c); /* it is in the backlog now */
}

static void retry_backlog(struct store_local *sl)
{
	struct list_node list;
	struct list_node *n;

	sl->broken = 0;
	list_init(&list);
	list_splice_tail(&list, &sl->backlog);
	while (!sl->broken && (n = list_pop(&list)))
		(void)apply(sl, list_entry(n, struct index_change, link));
	if (!sl->broken)
		(void)changes_commit(sl); /* sets broken */
	list_splice_tail(&sl->backlog, &list);
	if (!sl->broken)
		log_info("index", "can be written again");
}

bool changes_wait(struct store_local *sl)
{
	if (sl->broken &&
	    sys_now_ns(sl->sys, CLOCK_MONOTONIC) >= sl->retry_ns)
		retry_backlog(sl);
	return sl->broken;
}

uint64_t changes_end_batch(void *ctx)
{
	struct store_local *sl = ctx;
	uint64_t now_ns;

	sl->damaged |= index_damaged(sl->index);
	write_mark(sl);
	if (!changes_wait(sl))
		(void)changes_commit(sl); /* sets broken */
	if (sl->broken) {
		now_ns = sys_now_ns(sl->sys, CLOCK_MONOTONIC);
		return now_ns < sl->retry_ns ? sl->retry_ns - now_ns : 0;
	}
	if (sl->sweep_wanted)
		sweep_segments(sl);
	spares_look(sl);
	return UINT64_MAX;
}

void changes_drop(struct store_local *sl)
{
	struct list_node *n;

	while ((n = list_pop(&sl->backlog))) {
		struct index_change *c =
			list_entry(n, struct index_change, link);

		c->applied(sl, c);
	}
}

/* --- rows --- */

static int apply_row(struct store_local *sl, struct index_change *c)
{
	struct store_writer *w = container_of(c, struct store_writer, change);

	segment_table_row(&sl->table, w->places[0].segment, w->f.server_ms);
	return index_insert(sl->index, &w->f, w->places[0].segment, w->mark);
}

static void row_applied(struct store_local *sl, struct index_change *c)
{
	atomic_fetch_sub(&sl->counters.rows_pending, 1);
	writer_unpin_and_free(container_of(c, struct store_writer, change));
}

static void row_run(struct worker_job *job)
{
	struct store_writer *w = container_of(job, struct store_writer, job);

	w->change.apply = apply_row;
	w->change.applied = row_applied;
	change_submit(w->sl, &w->change);
}

void index_row(struct store_writer *w)
{
	count(&w->sl->counters.rows_pending, 1);
	w->job.run = row_run;
	worker_submit_later(w->sl->worker, &w->job, INDEX_GATHER_NS,
			    INDEX_ROWS_PER_COMMIT_MAX);
}

/* --- queries --- */

int holds_of(struct store_local *sl, const uint8_t id[STREAM_ID_BYTES],
	     struct store_holds *ret_holds)
{
	int r;

	ret_holds->count = 0;
	if (!sl->config.find_holds)
		return 0;
	r = sl->config.find_holds(sl->config.find_key_ctx, id, ret_holds);
	return r == -ENOENT ? 0 : r;
}

struct query_job {
	struct worker_job job;
	struct store_local *sl;
	struct store_query q;
	struct store_fragment after;
	struct store_holds holds;
	struct store_fragment *rows;
	struct store_op *op;
};

static int query_error(int err)
{
	return err == -ENOMEM || err == -ENOSPC ? err : -EIO;
}

static void query_run(struct worker_job *job)
{
	struct query_job *j = container_of(job, struct query_job, job);
	struct store_local *sl = j->sl;
	int r = -EIO;

	j->q.holds = &j->holds;
	if (!changes_wait(sl))
		r = holds_of(sl, j->q.stream_id, &j->holds);
	if (r == 0)
		r = index_query(sl->index, &j->q, j->rows);
	index_failed(sl, r);
	if (r < 0)
		r = query_error(r);
	op_complete(j->op, r);
	free(j);
}

void local_list(struct store *s, const struct store_query *q,
		struct store_fragment *ret_rows, struct store_op *op)
{
	struct store_instance *in = instance_of(s);
	struct query_job *j;

	if (!q->limit || q->limit > LIST_RESULTS_MAX) {
		op_complete_later(in, op, -EINVAL);
		return;
	}
	j = calloc(1, sizeof(*j));
	if (!j) {
		op_complete_later(in, op, -ENOMEM);
		return;
	}
	j->job.run = query_run;
	j->sl = in->sl;
	j->q = *q;
	if (q->after) {
		j->after = *q->after;
		j->q.after = &j->after;
	}
	j->rows = ret_rows;
	j->op = op;
	op_begin(in, op);
	worker_submit(in->sl->worker, &j->job);
}

/* --- deletion --- */

struct delete_job {
	struct worker_job job;
	struct store_local *sl;
	uint8_t id[STREAM_ID_BYTES];
	uint64_t before_ms;
	uint64_t bytes_max; /* not UINT64_MAX: what is over it goes */
	uint64_t total;
	bool expire;	/* the result is the count */
	struct store_op *op;
};

static int delete_and_commit(struct delete_job *j)
{
	struct store_local *sl = j->sl;
	struct store_holds holds = {.count = 0};
	int count = 0;
	int err;

	/* Asked each time: who sets one waits for the slice under way. */
	if (j->before_ms != UINT64_MAX)
		count = holds_of(sl, j->id, &holds);
	if (count == 0 && j->bytes_max != UINT64_MAX)
		count = index_trim(sl->index, j->id, j->bytes_max, &holds,
				   INDEX_ROWS_PER_DELETE);
	else if (count == 0)
		count = index_delete(sl->index, j->id, j->before_ms, &holds,
				     INDEX_ROWS_PER_DELETE);
	err = count < 0 ? count : index_commit(sl->index);
	if (err < 0)
		index_rollback(sl->index);
	return err < 0 ? err : count;
}

/* Committed on its own: its result is an answer. */
static int delete_slice(struct delete_job *j)
{
	struct store_local *sl = j->sl;
	int err;

	/* What waits may need the room that the deletion makes. */
	if (!changes_wait(sl))
		(void)changes_commit(sl);
	err = delete_and_commit(j);
	while (err == -ENOSPC && disk_room_give_up(sl))
		err = delete_and_commit(j);
	return err;
}

static void delete_run(struct worker_job *job)
{
	struct delete_job *j = container_of(job, struct delete_job, job);
	struct store_local *sl = j->sl;
	int r;

	r = delete_slice(j);
	if (r > 0)
		j->total += (uint64_t)r;
	if (r >= (int)INDEX_ROWS_PER_DELETE) {
		worker_submit(sl->worker, &j->job);
		return;
	}
	if (r >= 0) {
		if (j->total)
			sweep_segments(sl);
		r = j->expire ? (int)MIN(j->total, (uint64_t)INT_MAX) : 0;
	} else {
		index_failed(sl, r);
		r = query_error(r);
	}
	op_complete(j->op, r);
	free(j);
}

static void delete_rows(struct store_instance *in, const uint8_t *id,
			uint64_t before_ms, uint64_t bytes_max, bool expire,
			struct store_op *op)
{
	struct delete_job *j = calloc(1, sizeof(*j));

	if (!j) {
		op_complete_later(in, op, -ENOMEM);
		return;
	}
	j->job.run = delete_run;
	j->sl = in->sl;
	memcpy(j->id, id, STREAM_ID_BYTES);
	j->before_ms = before_ms;
	j->bytes_max = bytes_max;
	j->expire = expire;
	j->op = op;
	op_begin(in, op);
	worker_submit(in->sl->worker, &j->job);
}

void local_remove_stream(struct store *s, const uint8_t id[STREAM_ID_BYTES],
			 struct store_op *op)
{
	struct store_instance *in = instance_of(s);

	key_cache_forget(&in->keys, id);
	delete_rows(in, id, UINT64_MAX, UINT64_MAX, false, op);
}

void store_local_expire(struct store *s, const uint8_t id[STREAM_ID_BYTES],
			uint64_t before_ms, struct store_op *op)
{
	/* UINT64_MAX would drop the stream itself. */
	delete_rows(instance_of(s), id, MIN(before_ms, (uint64_t)INT64_MAX),
		    UINT64_MAX, true, op);
}

void store_local_trim(struct store *s, const uint8_t id[STREAM_ID_BYTES],
		      uint64_t bytes_max, struct store_op *op)
{
	delete_rows(instance_of(s), id, 0, MIN(bytes_max, (uint64_t)INT64_MAX),
		    true, op);
}

static void nothing(struct worker_job *job)
{
	(void)job;
}

void store_local_settle(struct store_local *sl)
{
	struct worker_job job = {.run = nothing};

	worker_call(sl->worker, &job);
}

/* --- segments that nothing needs --- */

struct dead_segment {
	uint32_t number;
	bool spare; /* its file has become one */
};

struct dead_list {
	struct store_local *sl;
	struct dead_segment segments[SWEEP_MAX];
	size_t count;
	bool more;
};

static int collect_dead(void *ctx, const struct index_segment *s)
{
	struct dead_list *d = ctx;

	if (!segment_table_idle(&d->sl->table, s->number))
		return 0;
	if (d->count == SWEEP_MAX)
		d->more = true;
	else
		d->segments[d->count++].number = s->number;
	return 0;
}

/*
 * None has its name any more, durably. What could not be is left out of @d. If
 * the sync fails it is not known of any: their rows stay, so that what a power
 * cut brings back is dead still, and the next start looks again.
 */
static int drop_names(struct store_local *sl, struct dead_list *d)
{
	size_t count = d->count;
	int failed;
	int err = 0;

	for (d->count = 0; d->count < count && err == 0; d->count++)
		err = spare_or_unlink(sl, d->segments[d->count].number,
				      &d->segments[d->count].spare);
	d->count -= err < 0;
	failed = segment_file_sync_names(sl->dir);
	while (failed < 0 && d->count) {
		const struct dead_segment *s = &d->segments[--d->count];

		(void)segment_table_keep(&sl->table, s->number, s->number + 1,
					 SEGMENT_KEEP);
		if (s->spare)
			spare_leave(sl);
	}
	return failed < 0 ? failed : err;
}

/*
 * What a reader still finds in it once it is zeroed does not verify: it is out
 * of the table by then, which tells that from damage.
 */
static int drop_row(struct store_local *sl, const struct dead_segment *s)
{
	int err = index_segment_drop(sl->index, s->number);

	if (err == 0)
		segment_table_remove(&sl->table, s->number);
	if (s->spare && err == 0)
		spare_take_in(sl, s->number);
	else if (s->spare)
		spare_leave(sl);
	return err;
}

static int drop_segments(struct store_local *sl, struct dead_list *d)
{
	struct list_node *n;
	size_t i;
	int failed;
	int err;

	/*
	 * With synchronous=NORMAL a power cut may undo the last transactions:
	 * the rows must be gone for good before the file is.
	 */
	do
		failed = index_sync(sl->index);
	while (failed == -ENOSPC && disk_room_give_up(sl));
	if (failed == 0)
		failed = drop_names(sl, d);
	else
		d->count = 0;
	err = 0;
	for (i = 0; i < d->count; i++) {
		int r = drop_row(sl, &d->segments[i]);

		err = MIN(err, r);
	}
	if (err == 0)
		err = index_commit(sl->index);
	if (err < 0)
		index_rollback(sl->index);
	(void)pthread_mutex_lock(&sl->lock);
	for (n = sl->instances.next; n != &sl->instances; n = n->next)
		read_purge_post(list_entry(n, struct store_instance, link));
	(void)pthread_mutex_unlock(&sl->lock);
	return failed < 0 ? failed : err;
}

void sweep_segments(struct store_local *sl)
{
	struct dead_list *d;
	int err = 0;

	/* Or index_sync() would commit them without telling. */
	assert(list_empty(&sl->changes));
	sl->sweep_wanted = false;
	d = malloc(sizeof(*d));
	if (!d)
		return; /* the next deletion comes here again */
	do {
		d->sl = sl;
		d->count = 0;
		d->more = false;
		err = index_segments_dead(sl->index, collect_dead, d);
		if (err == 0 && d->count)
			err = drop_segments(sl, d);
	} while (err == 0 && d->more);
	index_failed(sl, err);
	if (err < 0)
		log_warn("store", "removing segments: %s", strerror(-err));
	free(d);
	disk_reserve_make(&sl->reserve);
}
