/* SPDX-License-Identifier: Apache-2.0 */
/* Making and closing segment files on the worker. */
#include "io/store_local_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/segment_file.h"

/* A segment's row: it appears before any fragment's that needs it. */
struct segment_change {
	struct index_change change;
	uint32_t number;
	uint32_t mark;
	uint8_t generation[SEGMENT_ID_BYTES];
};

static int apply_add(struct store_local *sl, struct index_change *c)
{
	struct segment_change *sc =
		container_of(c, struct segment_change, change);

	return index_segment_add(sl->index, sc->number, sc->generation,
				 sc->mark);
}

static int apply_close(struct store_local *sl, struct index_change *c)
{
	struct segment_change *sc =
		container_of(c, struct segment_change, change);

	return index_segment_close(sl->index, sc->number, sc->mark);
}

static void applied(struct store_local *sl, struct index_change *c)
{
	(void)sl;
	free(container_of(c, struct segment_change, change));
}

/* --- making --- */

static struct open_segment *segment_free(struct open_segment *seg)
{
	if (!seg)
		return NULL;
	sys_close(seg->sl->sys, &seg->fd);
	free(seg->change);
	free(seg);
	return NULL;
}
DEFINE_AUTO(segment_free, struct open_segment *)

static struct segment_change *change_new(uint32_t number)
{
	struct segment_change *sc = calloc(1, sizeof(*sc));

	if (!sc)
		return NULL;
	sc->number = number;
	sc->mark = SEGMENT_FIRST_BLOCK;
	sc->change.applied = applied;
	return sc;
}

int segment_make(struct store_local *sl, uint64_t wanted, bool replayed,
		 struct open_segment **ret_seg)
{
	AUTO(segment_free)
	struct open_segment *seg = calloc(1, sizeof(*seg));
	struct segment_change *add;
	uint32_t spare;
	uint64_t bytes;
	int r;

	if (!seg)
		return -ENOMEM;
	seg->sl = sl;
	seg->fd = -EBADF;
	seg->number = sl->next_number;
	seg->next_block = SEGMENT_FIRST_BLOCK;
	seg->synced_block = SEGMENT_FIRST_BLOCK;
	seg->change = change_new(seg->number);
	add = change_new(seg->number);
	if (!seg->change || !add) {
		free(add);
		return -ENOMEM;
	}
	spare = spare_pop(sl, wanted);
	r = segment_file_create(sl->dir, seg->number, &spare, wanted,
				!sl->config.buffered, seg->generation, &bytes,
				&seg->fd);
	if (r == 0) {
		count(&sl->counters.recycled, spare != 0);
		seg->end_block = (uint32_t)(bytes / SEGMENT_BLOCK_BYTES) - 1;
		r = segment_table_add(&sl->table, seg->number,
				      seg->generation, true);
		/* Else the next start finds it empty and removes it. */
		if (r < 0 && segment_file_unlink(sl->dir, seg->number) < 0)
			log_debug("store", "segment %u is left behind",
				  seg->number);
	}
	/* Each number is used for one file only, a failed one included. */
	sl->next_number++;
	if (r < 0) {
		free(add);
		return r;
	}
	segment_table_set_bytes(&sl->table, seg->number, bytes);
	memcpy(add->generation, seg->generation, SEGMENT_ID_BYTES);
	add->change.apply = apply_add;
	if (!replayed)
		add->mark = seg->end_block;
	seg->change->change.apply = apply_close;
	change_submit(sl, &add->change);
	*ret_seg = TAKE_PTR(seg);
	return 0;
}

static void request_done(struct loop_task *task)
{
	struct segment_request *q =
		container_of(task, struct segment_request, task);
	struct store_instance *in =
		container_of(q, struct store_instance, request);
	bool made = q->res == 0;

	q->busy = false;
	in->outstanding--;
	write_segment_made(in); /* it may ask for the next: @q is the worker's */
	if (made && in->sealed)
		in->sealed(in->sealed_ctx);
}

void store_local_on_sealed(struct store *s, void (*sealed)(void *ctx),
			   void *ctx)
{
	struct store_instance *in = instance_of(s);

	in->sealed = sealed;
	in->sealed_ctx = ctx;
}

static void request_run(struct worker_job *job)
{
	struct segment_request *q =
		container_of(job, struct segment_request, job);
	struct store_instance *in =
		container_of(q, struct store_instance, request);

	q->made = NULL;
	if (!room_make(in->sl, &q->room)) {
		worker_submit(in->sl->worker, &q->job);
		return;
	}
	q->res = segment_make(in->sl, in->sl->segment_bytes, true, &q->made);
	while (q->res == -ENOSPC && room_give_up(in->sl))
		q->res = segment_make(in->sl, in->sl->segment_bytes, true,
				      &q->made);
	if (q->made)
		segment_table_set_writer(&in->sl->table, q->made->number, in);
	loop_post(in->loop, &q->task);
}

void segment_request(struct store_instance *in)
{
	struct segment_request *q = &in->request;

	if (q->busy || in->spare)
		return;
	q->busy = true;
	q->job.run = request_run;
	q->task.run = request_done;
	in->outstanding++;
	worker_submit(in->sl->worker, &q->job);
}

/* --- closing --- */

static void retire_run(struct worker_job *job)
{
	struct open_segment *seg = container_of(job, struct open_segment, job);
	struct store_local *sl = seg->sl;
	struct segment_change *sc = TAKE_PTR(seg->change);
	int r;

	/* Gives the rest of the reserved space back; it may as well stay. */
	r = sl->sys->ftruncate(seg->fd, (off_t)seg->synced_block *
						SEGMENT_BLOCK_BYTES);
	if (r < 0)
		log_debug("store", "segment %u: %s", seg->number,
			  strerror(-r));
	sc->mark = seg->synced_block;
	if (sc->mark == SEGMENT_FIRST_BLOCK)
		sl->sweep_wanted = true;
	segment_table_set_bytes(&sl->table, seg->number,
				segment_file_bytes_of(sl->dir, seg->fd,
						      sl->segment_bytes));
	if (seg->failed)
		segment_table_set_failed(&sl->table, seg->number);
	segment_table_close(&sl->table, seg->number);
	change_submit(sl, &sc->change);
	(void)segment_free(seg);
}

void segment_retire(struct open_segment *seg)
{
	if (!seg)
		return;
	seg->job.run = retire_run;
	worker_submit(seg->sl->worker, &seg->job);
}
