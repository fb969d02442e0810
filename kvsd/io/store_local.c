/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store_local.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/store_local_int.h"

/* --- operations --- */

static void deliver(struct loop_task *task)
{
	struct store_op *op = container_of(task, struct store_op, task);
	struct store_instance *in = op->priv;

	op_end(in);
	op->done(op, op->res);
}

void op_begin(struct store_instance *in, struct store_op *op)
{
	in->outstanding++;
	loop_hurry(in->loop);
	op->priv = in;
}

void op_end(struct store_instance *in)
{
	in->outstanding--;
	loop_hurried(in->loop);
}

void op_complete(struct store_op *op, int res)
{
	struct store_instance *in = op->priv;

	op->res = res;
	op->task.run = deliver;
	loop_post(in->loop, &op->task);
}

void op_complete_later(struct store_instance *in, struct store_op *op, int res)
{
	op_begin(in, op);
	op_complete(op, res);
}

/* --- sequence numbers --- */

static void seq_run(struct worker_job *job)
{
	struct store_local *sl = container_of(job, struct store_local,
					      seq_job);
	uint64_t limit = atomic_load(&sl->seq_limit) + SEQUENCE_RESERVE;
	int r = sequence_reserve(sl, limit);

	if (r < 0)
		log_error("store", "%s/sequence: %s", sl->dir->path,
			  strerror(-r));
	atomic_flag_clear(&sl->seq_reserving);
}

static uint64_t local_next_seq(struct store *s,
			       const uint8_t id[STREAM_ID_BYTES])
{
	struct store_local *sl = instance_of(s)->sl;
	uint64_t seq = atomic_fetch_add(&sl->seq_next, 1);

	/* One sequence for all streams is one that grows in each. */
	(void)id;
	if (atomic_load(&sl->seq_limit) - seq < SEQUENCE_RESERVE / 2 &&
	    !atomic_flag_test_and_set(&sl->seq_reserving))
		worker_submit(sl->worker, &sl->seq_job);
	return seq;
}

static const struct store_ops local_ops = {
	.writer_open = local_writer_open,
	.writer_add = local_writer_add,
	.writer_commit = local_writer_commit,
	.writer_abort = local_writer_abort,
	.wait = local_wait,
	.read = local_read,
	.list = local_list,
	.remove_stream = local_remove_stream,
	.next_seq = local_next_seq,
};

/* --- opening and closing --- */

static int check_config(const struct store_local_config *config,
			uint64_t *ret_segment_bytes)
{
	uint64_t bytes = config->segment_bytes ? config->segment_bytes :
						 SEGMENT_BYTES_DEFAULT;

	if (bytes < SEGMENT_BYTES_MIN || bytes > SEGMENT_BYTES_MAX ||
	    bytes % SEGMENT_BLOCK_BYTES)
		return -EINVAL;
	*ret_segment_bytes = bytes;
	return 0;
}

static int open_index(struct store_local *sl)
{
	char path[DATA_DIR_PATH_BYTES];
	bool made;
	int r;

	r = data_dir_path(sl->dir, "index.db", path);
	if (r == 0 && sl->marked) {
		log_warn("index",
			 "%s: it was found damaged; it is made again from the "
			 "segments",
			 path);
		r = index_remove(path);
	}
	return r < 0 ? r : index_open(path, sl->dir->id, &sl->index, &made);
}

static bool is_marked(const struct store_local *sl)
{
	int fd = sl->sys->openat(sl->dir->fd, INDEX_DAMAGED,
				 O_RDONLY | O_CLOEXEC, 0);
	bool marked = fd >= 0;

	sys_close(sl->sys, &fd);
	return marked;
}

/* The new index is on disk. What stays costs the next start its time. */
static void remove_mark(struct store_local *sl)
{
	int r;

	/* Or the new one is to be made again, too. */
	if (!sl->marked || sl->damaged)
		return;
	r = sl->sys->unlinkat(sl->dir->fd, INDEX_DAMAGED, 0);
	if (r < 0)
		log_warn("index", "%s/%s stays: %s", sl->dir->path,
			 INDEX_DAMAGED, strerror(-r));
	sl->marked = r < 0;
}

/* Return: as store_local_open(). May be called again after a failure. */
static int open_and_recover(struct store_local *sl)
{
	int r;

	sl->index = index_close(sl->index);
	segment_table_fini(&sl->table);
	segment_table_init(&sl->table);
	sl->recovered = 0;
	sl->unread = 0;
	sl->damaged = false;
	r = open_index(sl);
	return r < 0 ? r : store_recover(sl);
}

/*
 * Damage that its opening did not see. Return: as above.
 */
static int recover_without_index(struct store_local *sl)
{
	char path[DATA_DIR_PATH_BYTES];
	int r;

	r = data_dir_path(sl->dir, "index.db", path);
	if (r < 0)
		return r;
	log_warn("index", "%s: damaged; it is made again from the segments",
		 path);
	sl->index = index_close(sl->index);
	r = index_remove(path);
	return r < 0 ? r : open_and_recover(sl);
}

static void store_init(struct store_local *sl,
		       const struct store_local_config *config)
{
	sl->config = *config;
	sl->sys = config->sys;
	sl->dir = config->dir;
	segment_table_init(&sl->table);
	list_init(&sl->changes);
	list_init(&sl->backlog);
	list_init(&sl->instances);
	(void)pthread_mutex_init(&sl->lock, NULL);
	atomic_flag_clear(&sl->seq_reserving);
	sl->seq_job.run = seq_run;
	disk_reserve_init(&sl->reserve, config->dir);
}

int store_local_open(const struct store_local_config *config,
		     struct store_local **ret_store)
{
	AUTO(store_local_close)
	struct store_local *sl = calloc(1, sizeof(*sl));
	int r;

	if (!sl)
		return -ENOMEM;
	store_init(sl, config);
	r = check_config(config, &sl->segment_bytes);
	if (r < 0)
		return r;
	sl->marked = is_marked(sl);
	r = open_and_recover(sl);
	if (r == -ENOSPC && sl->room_made)
		r = open_and_recover(sl);
	if (r == -ENOSPC && disk_reserve_release(&sl->reserve))
		r = open_and_recover(sl);
	/* -EEXIST: a row that contradicts another one. */
	if (r == -EUCLEAN || r == -EEXIST)
		r = recover_without_index(sl);
	if (r < 0)
		return r;
	remove_mark(sl);
	/* Makes the reserve, too, before segments take the room. */
	sweep_segments(sl);
	r = worker_new(!config->no_thread, changes_end_batch, sl, &sl->worker);
	if (r == 0 && config->compact_percent && config->find_key)
		r = compactor_new(sl, &sl->compactor);
	if (r < 0)
		return r;
	*ret_store = TAKE_PTR(sl);
	return 0;
}

struct store_local *store_local_close(struct store_local *sl)
{
	if (!sl)
		return NULL;
	assert(list_empty(&sl->instances));
	sl->compactor = compactor_free(sl->compactor);
	sl->worker = worker_free(sl->worker);
	(void)spares_drop(sl, 0);
	if (sl->index) {
		if (!changes_wait(sl))
			(void)changes_commit(sl);
		/* What it cannot take now is replayed by the next start. */
		changes_drop(sl);
		if (index_sync(sl->index) < 0)
			log_warn("index", "not written out");
	}
	sl->index = index_close(sl->index);
	segment_table_fini(&sl->table);
	(void)pthread_mutex_destroy(&sl->lock);
	free(sl);
	return NULL;
}

/* --- instances --- */

int store_local_attach(struct store_local *sl, struct loop *l,
		       struct store **ret_store)
{
	struct store_instance *in = calloc(1, sizeof(*in));
	int r;

	if (!in)
		return -ENOMEM;
	in->base.ops = &local_ops;
	in->sl = sl;
	in->loop = l;
	key_cache_init(&in->keys);
	read_init(in);
	r = write_init(in);
	if (r < 0) {
		free(in);
		return r;
	}
	(void)pthread_mutex_lock(&sl->lock);
	list_add_tail(&sl->instances, &in->link);
	(void)pthread_mutex_unlock(&sl->lock);
	segment_request(in);
	*ret_store = &in->base;
	return 0;
}

struct store *store_local_detach(struct store *s)
{
	struct store_instance *in;
	struct store_local *sl;

	if (!s)
		return NULL;
	in = instance_of(s);
	sl = in->sl;
	while (in->outstanding || !write_idle(in))
		if (loop_turn(in->loop, UINT64_MAX) < 0)
			abort(); /* operations would outlive their owner */
	(void)pthread_mutex_lock(&sl->lock);
	list_del(&in->link);
	(void)pthread_mutex_unlock(&sl->lock);
	/* Off the list, no purge can be posted any more: the last is run. */
	while (atomic_load(&in->purging))
		if (loop_turn(in->loop, UINT64_MAX) < 0)
			abort();
	read_fini(in);
	write_fini(in);
	key_cache_fini(&in->keys);
	free(in);
	return NULL;
}

/* --- figures --- */

void store_local_stats(struct store_local *sl,
		       struct store_local_stats *ret_stats)
{
	struct counters *c = &sl->counters;

	*ret_stats = (struct store_local_stats){
		.bytes_added = counted(&c->bytes_added),
		.bytes_written = counted(&c->bytes_written),
		.writes = counted(&c->writes),
		.syncs = counted(&c->syncs),
		.commits = counted(&c->commits),
		.failures = counted(&c->failures),
		.bytes_read = counted(&c->bytes_read),
		.reads_bad = counted(&c->reads_bad),
		.rows_pending = counted(&c->rows_pending),
		.dropped = counted(&c->dropped),
		.recovered = sl->recovered,
		.compacted = counted(&c->compacted),
		.compacted_bytes = counted(&c->compacted_bytes),
		.unread = sl->unread,
		.segments = segment_table_count(&sl->table),
		.segment_bytes = sl->segment_bytes,
		.recycled = counted(&c->recycled),
		.disk_bytes = segment_table_bytes(&sl->table) +
			      spares_bytes(sl) + sl->bad_bytes,
	};
}

void store_local_compact(struct store_local *sl)
{
	if (sl->compactor)
		compactor_kick(sl->compactor);
}

int store_local_room(struct store_local *sl, uint64_t *ret_used,
		     uint64_t *ret_room)
{
	uint64_t used = segment_table_bytes(&sl->table) + spares_bytes(sl) +
			sl->bad_bytes;
	uint64_t most = sl->config.bytes_max;
	int r = room_of_disk(sl, sl->config.free_min, ret_room);

	if (r < 0)
		return r;
	*ret_used = used;
	if (!most || (most > used && most - used > *ret_room))
		return sl->config.free_min != 0;
	*ret_room = most > used ? most - used : 0;
	return 1;
}
