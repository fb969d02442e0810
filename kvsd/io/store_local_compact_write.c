/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store_local_compact_int.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

/* Of @wanted, what is not over config.bytes_max or free_min. */
static uint64_t room_for(struct store_local *sl, uint64_t wanted)
{
	uint64_t most = sl->config.bytes_max;
	uint64_t used;
	uint64_t room;

	used = segment_table_bytes(&sl->table) + spares_bytes(sl) + sl->bad_bytes;
	if (sl->config.free_min && room_of_disk(sl, sl->config.free_min, &room) == 0)
		wanted = MIN(wanted, room);
	if (most)
		wanted = MIN(wanted, most - MIN(most, used));
	return wanted;
}

/*
 * What is there is not dropped for this, but for spares. The row of the segment
 * is committed before it is written to, or a start after a kill would replay it.
 */
static void make_run(struct worker_job *job)
{
	struct compact_request *q =
		container_of(job, struct compact_request, job);
	struct compactor *c = q->c;
	struct store_local *sl = c->sl;
	uint64_t wanted = q->bytes;

	q->bytes = room_for(sl, wanted);
	if (q->bytes < wanted && spares_drop(sl, 0))
		q->bytes = room_for(sl, wanted);
	q->bytes -= q->bytes % SEGMENT_BLOCK_BYTES;
	q->r = changes_wait(sl) ? -EAGAIN : -ENOSPC;
	if (!sl->broken && q->bytes >= q->least)
		q->r = segment_make(sl, q->bytes, false, &c->seg);
	if (q->r == -ENOSPC && spares_drop(sl, 0))
		q->r = segment_make(sl, q->bytes, false, &c->seg);
	if (q->r == 0 && (sl->broken || changes_commit(sl) < 0))
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

int compact_sync(struct compactor *c)
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
void compact_give_up_segment(struct compactor *c)
{
	log_error("store", "segment %u: %s; not written to any more",
		  c->seg->number, strerror(-c->write_err));
	count(&c->sl->counters.failures, 1);
	c->write_err = 0;
	c->used = 0;
	c->seg->failed = true;
	segment_retire(TAKE_PTR(c->seg));
}

/* Room for a record. Return: 0, or c->write_err. */
int compact_record_room(struct compactor *c, uint32_t bytes, uint8_t **ret_out)
{
	if (c->used + bytes > COMPACT_BUFFER_BYTES) {
		int r = write_out(c);

		if (r < 0)
			return r;
	}
	*ret_out = c->buffer + c->used;
	return 0;
}

void compact_record_take(struct compactor *c, uint32_t bytes)
{
	c->used += bytes;
	c->seg->next_block += bytes / SEGMENT_BLOCK_BYTES;
}

void compact_end_segment(struct compactor *c)
{
	static const uint8_t no_tag[SEGMENT_TAG_BYTES];
	struct segment_record r = {.kind = SEGMENT_END, .payload_bytes = 1};
	uint8_t *out;

	if (!c->seg || compact_record_room(c, SEGMENT_BLOCK_BYTES, &out) < 0)
		return;
	memcpy(r.generation, c->seg->generation, SEGMENT_ID_BYTES);
	r.block = c->seg->next_block;
	segment_record_begin(out, &r);
	out[SEGMENT_HEADER_BYTES] = 0;
	segment_record_end(out, no_tag);
	compact_record_take(c, SEGMENT_BLOCK_BYTES);
	if (compact_sync(c) == 0)
		segment_retire(TAKE_PTR(c->seg));
}

bool compact_segment_room(const struct compactor *c, uint64_t bytes)
{
	uint64_t blocks = bytes / SEGMENT_BLOCK_BYTES;

	return c->seg && c->seg->next_block + blocks <= c->seg->end_block;
}

/* Nothing of the step is in the segment: its rows would come too late. */
int compact_next_segment(struct compactor *c, uint64_t bytes)
{
	struct compact_request q;
	int r;

	compact_end_segment(c);
	if (c->write_err)
		return c->write_err;
	q.least = MAX((uint64_t)SEGMENT_BYTES_MIN, bytes + ENDS_BYTES);
	q.bytes = MAX(c->wanted, q.least);
	if (q.bytes > c->sl->segment_bytes)
		return -EFBIG;
	r = compact_request(c, &q, make_run);
	if (r < 0) {
		segment_retire(TAKE_PTR(c->seg));
		return r;
	}
	/* The disk had less than was asked for: another time. */
	return compact_segment_room(c, bytes) ? 0 : -ENOSPC;
}
