/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bound on all segments together. Where it is reached, the oldest minute of
 * all streams is dropped, and the next, until a segment goes: readers lose
 * the oldest first, whoever's it is, and no writer waits for long. Rows go
 * before files do, as in every deletion. A segment may hold months of a slow
 * stream, so the further it is to its end, the longer the steps become.
 */
#include "io/store_local_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct stream_list {
	uint8_t (*ids)[STREAM_ID_BYTES];
	size_t count;
	size_t size;
};

static int add_stream(void *ctx, const uint8_t id[STREAM_ID_BYTES])
{
	struct stream_list *l = ctx;

	if (l->count == l->size) {
		size_t size = l->size ? 2 * l->size : 64;
		void *p = realloc(l->ids, size * sizeof(*l->ids));

		if (!p)
			return -ENOMEM;
		l->ids = p;
		l->size = size;
	}
	memcpy(l->ids[l->count++], id, STREAM_ID_BYTES);
	return 0;
}

/* Return: 0, or an error; nothing of the step that failed is left. */
static int drop_before(struct store_local *sl, const struct stream_list *l,
		       uint64_t before_ms)
{
	uint64_t total = 0;
	struct store_holds holds;
	size_t i;
	int r = 0;

	for (i = 0; i < l->count && r >= 0; i++) {
		r = holds_of(sl, l->ids[i], &holds);
		while (r >= 0) {
			r = index_delete(sl->index, l->ids[i], before_ms,
					 &holds, INDEX_ROWS_PER_DELETE);
			if (r > 0)
				total += (uint64_t)r;
			if (r < (int)INDEX_ROWS_PER_DELETE)
				break;
		}
	}
	if (r >= 0)
		r = index_commit(sl->index);
	if (r < 0)
		index_rollback(sl->index);
	else
		count(&sl->counters.dropped, total);
	return r;
}

/* No room for another segment. Closed ones take what is in them. */
static bool is_full(struct store_local *sl)
{
	/* What was set aside must not push everything else out. */
	uint64_t bad = MIN(sl->bad_bytes, sl->config.bytes_max / 2);

	return segment_table_bytes(&sl->table) + bad + sl->segment_bytes >
	       sl->config.bytes_max;
}

/*
 * @from_ms: up to where the steps before came; what is older is held.
 * Return: 1 there is room, 0 the oldest went, or an error.
 */
static int step(struct store_local *sl, const struct stream_list *l,
		uint64_t span_ms, uint64_t *from_ms)
{
	uint64_t oldest_ms = 0;
	uint64_t before_ms;
	int r;

	if (!is_full(sl))
		return 1;
	r = index_oldest(sl->index, *from_ms, &oldest_ms);
	if (r <= 0)
		return r < 0 ? r : 1; /* what is left is in use */
	/* A block that begins there ends before. */
	before_ms = oldest_ms + span_ms + 1;
	r = drop_before(sl, l, before_ms);
	if (r == -ENOSPC && disk_reserve_release(&sl->reserve))
		r = drop_before(sl, l, before_ms);
	if (r < 0)
		return r;
	*from_ms = before_ms;
	sweep_segments(sl);
	return 0;
}

void room_make(struct store_local *sl)
{
	struct stream_list l = {.ids = NULL};
	uint64_t before = counted(&sl->counters.dropped);
	uint64_t from_ms = 0;
	unsigned int i;
	int r;

	if (!sl->config.bytes_max || !is_full(sl) || sl->broken ||
	    changes_commit(sl) < 0)
		return;
	r = index_streams(sl->index, add_stream, &l);
	for (i = 0; r == 0 && i < STORE_ROOM_STEPS_MAX; i++)
		r = step(sl, &l,
			 (uint64_t)INDEX_BLOCK_SPAN_MS
				 << i / STORE_ROOM_STEPS_ALIKE,
			 &from_ms);
	free(l.ids);
	index_failed(sl, r);
	if (r < 0)
		log_warn("store", "dropping the oldest: %s", strerror(-r));
	else
		log_debug("store", "%llu of the oldest fragments dropped",
			  (unsigned long long)(counted(&sl->counters.dropped) -
					       before));
}
