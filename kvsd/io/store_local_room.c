/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bound on all segments together, given by config.bytes_max or by what the
 * disk shall have left. Where it is reached, the oldest minute of all streams
 * is dropped, and the next, until a segment goes: readers lose the oldest
 * first, whoever's it is, and no writer waits for long. Rows go before files
 * do, as in every deletion. A segment may hold months of a slow stream, so the
 * further it is to its end, the longer the steps become. What is held is no
 * part of a step: each begins at what may go.
 */
#include "io/store_local_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"

struct stream_oldest {
	uint8_t id[STREAM_ID_BYTES];
	uint64_t oldest_ms; /* of what may go; UINT64_MAX: nothing */
};

struct stream_list {
	struct stream_oldest *streams;
	size_t count;
	size_t size;
	uint64_t disk_limit; /* bytes of segments, for config.free_min */
};

int room_of_disk(const struct store_local *sl, uint64_t *ret_room)
{
	struct statvfs st;
	uint64_t room;

	if (fstatvfs(sl->dir->segments_fd, &st) < 0)
		return -errno;
	room = (uint64_t)st.f_bavail * st.f_frsize;
	*ret_room = room - MIN(room, sl->config.free_min);
	return 0;
}

/*
 * Asked once for a segment: some filesystems give back what was deleted only
 * later, and nothing more may go for that.
 */
static uint64_t disk_limit(struct store_local *sl)
{
	uint64_t used = segment_table_bytes(&sl->table);
	struct statvfs st;
	uint64_t room;

	if (!sl->config.free_min || fstatvfs(sl->dir->segments_fd, &st) < 0)
		return UINT64_MAX;
	room = (uint64_t)st.f_bavail * st.f_frsize;
	if (room < sl->config.free_min)
		return used - MIN(used, sl->config.free_min - room);
	return used + (room - sl->config.free_min);
}

static int add_stream(void *ctx, const uint8_t id[STREAM_ID_BYTES])
{
	struct stream_list *l = ctx;

	if (l->count == l->size) {
		size_t size = l->size ? 2 * l->size : 64;
		void *p = realloc(l->streams, size * sizeof(*l->streams));

		if (!p)
			return -ENOMEM;
		l->streams = p;
		l->size = size;
	}
	/* It is looked up when the first step asks. */
	l->streams[l->count] = (struct stream_oldest){.oldest_ms = 0};
	memcpy(l->streams[l->count++].id, id, STREAM_ID_BYTES);
	return 0;
}

/*
 * What may go of streams whose oldest was before @before_ms, looked up again.
 * Return: 1 and the oldest of all, 0 nothing may go, or an error.
 */
static int find_oldest(struct store_local *sl, struct stream_list *l,
		       uint64_t before_ms, uint64_t *ret_ms)
{
	uint64_t oldest_ms = UINT64_MAX;
	struct store_holds holds;
	size_t i;

	for (i = 0; i < l->count; i++) {
		struct stream_oldest *s = &l->streams[i];
		int r = 0;

		if (s->oldest_ms < before_ms) {
			s->oldest_ms = UINT64_MAX;
			r = holds_of(sl, s->id, &holds);
			if (r >= 0)
				r = index_oldest(sl->index, s->id, &holds,
						 &s->oldest_ms);
		}
		if (r < 0)
			return r;
		oldest_ms = MIN(oldest_ms, s->oldest_ms);
	}
	*ret_ms = oldest_ms;
	return oldest_ms != UINT64_MAX;
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
		const struct stream_oldest *s = &l->streams[i];

		if (s->oldest_ms >= before_ms)
			continue;
		r = holds_of(sl, s->id, &holds);
		while (r >= 0) {
			r = index_delete(sl->index, s->id, before_ms, &holds,
					 INDEX_ROWS_PER_DELETE);
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
static bool is_full(struct store_local *sl, const struct stream_list *l)
{
	/* What was set aside must not push everything else out. */
	uint64_t bad = MIN(sl->bad_bytes, sl->config.bytes_max / 2);
	uint64_t then = segment_table_bytes(&sl->table) + sl->segment_bytes;

	return then > l->disk_limit ||
	       (sl->config.bytes_max && then + bad > sl->config.bytes_max);
}

/*
 * @before_ms: up to where the step before came
 * Return: 1 there is room, 0 the oldest went, or an error.
 */
static int step(struct store_local *sl, struct stream_list *l, uint64_t span_ms,
		uint64_t *before_ms)
{
	uint64_t oldest_ms = 0;
	int r;

	if (!is_full(sl, l))
		return 1;
	r = find_oldest(sl, l, *before_ms, &oldest_ms);
	if (r <= 0)
		return r < 0 ? r : 1; /* what is left is in use, or held */
	/* A block that begins there ends before. */
	*before_ms = oldest_ms + span_ms + 1;
	r = drop_before(sl, l, *before_ms);
	if (r == -ENOSPC && disk_reserve_release(&sl->reserve))
		r = drop_before(sl, l, *before_ms);
	if (r < 0)
		return r;
	sweep_segments(sl);
	return 0;
}

void room_make(struct store_local *sl)
{
	struct stream_list l = {.disk_limit = disk_limit(sl)};
	uint64_t before = counted(&sl->counters.dropped);
	uint64_t before_ms = 1;
	unsigned int i;
	int r;

	if (!is_full(sl, &l) || sl->broken || changes_commit(sl) < 0)
		return;
	r = index_streams(sl->index, add_stream, &l);
	for (i = 0; r == 0 && i < STORE_ROOM_STEPS_MAX; i++)
		r = step(sl, &l,
			 (uint64_t)INDEX_BLOCK_SPAN_MS
				 << i / STORE_ROOM_STEPS_ALIKE,
			 &before_ms);
	free(l.streams);
	index_failed(sl, r);
	if (r < 0)
		log_warn("store", "dropping the oldest: %s", strerror(-r));
	else
		log_debug("store", "%llu of the oldest fragments dropped",
			  (unsigned long long)(counted(&sl->counters.dropped) -
					       before));
}
