/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store_local_compact_int.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "io/segment_file.h"

/* --- choosing --- */

static bool is_left(const struct compactor *c, uint32_t number)
{
	unsigned int i;

	for (i = 0; i < c->left_count; i++)
		if (c->left[i].number == number)
			return true;
	return false;
}

void compact_leave(struct compactor *c, uint32_t number, bool again)
{
	if (c->left_count == COMPACT_LEFT_MAX)
		return;
	c->left[c->left_count++] =
		(struct compact_left){.number = number, .again = again};
	if (c->left_count == COMPACT_LEFT_MAX)
		log_warn("store",
			 "%u segments could not be emptied: no others are, "
			 "until the next start",
			 COMPACT_LEFT_MAX);
}

/* A round is over: what had to wait for somebody else is tried again. */
void compact_forget_left(struct compactor *c)
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
	struct compact_request *q =
		container_of(job, struct compact_request, job);
	struct compactor *c = q->c;
	struct store_local *sl = c->sl;

	c->number = 0;
	c->wanted = 0;
	c->victims = 0;
	q->r = -EAGAIN;
	/* Those that are left may be the first of them. */
	if (!changes_wait(sl) && c->left_count < COMPACT_LEFT_MAX)
		q->r = index_segments_sparse(sl->index,
					     COMPACT_SPARSE_MAX + c->left_count,
					     see_sparse, c);
	index_failed(sl, q->r);
}

/* Return: 1 there is one, 0, or an error. */
int compact_choose(struct compactor *c)
{
	struct compact_request q;
	int r = compact_request(c, &q, choose_run);

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
	struct compact_item *item = &c->items[c->count];
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
int compact_collect(struct compactor *c)
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

void compact_find_run(struct worker_job *job)
{
	struct compact_request *q =
		container_of(job, struct compact_request, job);
	struct compactor *c = q->c;
	unsigned int i;

	q->r = changes_wait(c->sl) ? -EAGAIN : 0;
	for (i = 0; i < c->count && q->r >= 0; i++) {
		struct compact_item *item = &c->items[i];
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
