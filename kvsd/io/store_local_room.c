/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bound on all segments together, given by config.bytes_max or by what the
 * disk shall have left. Where it is reached, the oldest minute of all streams
 * is dropped, and the next, until a segment goes: readers lose the oldest
 * first, whoever's it is, and no writer waits for long. Rows go before files
 * do, as in every deletion. A segment may hold months of a slow stream, so the
 * further it is to its end, the longer the steps become. What is held is no
 * part of a step: each begins at what may go.
 *
 * What others put on the disk no dropping brings back. So for what the disk
 * shall have left only closed segments are emptied, and what was PERSISTED in
 * those that are being written stays.
 */
#include "io/store_local_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"

#define FIRST_STEP_MS 1u /* no step was before */

struct stream_oldest {
	uint8_t id[STREAM_ID_BYTES];
	uint64_t oldest_ms; /* of what may go; UINT64_MAX: nothing */
	uint64_t open_ms;   /* from here on it stays */
};

struct stream_list {
	struct stream_oldest *streams;
	size_t count;
	size_t size;
	bool for_disk;	     /* config.free_min, else config.bytes_max */
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
	l->streams[l->count] = (struct stream_oldest){.open_ms = UINT64_MAX};
	memcpy(l->streams[l->count++].id, id, STREAM_ID_BYTES);
	return 0;
}

/* A stream's rows are in one writer's segments, the last in its newest. */
static int find_open(struct store_local *sl, struct stream_oldest *s)
{
	struct store_fragment last;
	struct store_query q = {
		.order = STORE_BY_NUMBER,
		.descending = true,
		.to_ms = UINT64_MAX,
		.limit = 1,
	};
	int r;

	memcpy(q.stream_id, s->id, STREAM_ID_BYTES);
	r = index_query(sl->index, &q, &last);
	if (r == 1)
		s->open_ms = segment_table_open_ms(&sl->table, last.segment);
	return r;
}

/* Return: 0, or an error. */
static int look_up(struct store_local *sl, const struct stream_list *l,
		   struct stream_oldest *s, uint64_t before_ms)
{
	uint64_t was_ms = s->oldest_ms;
	struct store_holds holds;
	int r = 0;

	s->oldest_ms = UINT64_MAX;
	if (before_ms == FIRST_STEP_MS && l->for_disk)
		r = find_open(sl, s);
	if (r >= 0)
		r = holds_of(sl, s->id, &holds);
	if (r >= 0)
		r = index_oldest(sl->index, s->id, &holds, &s->oldest_ms);
	/* A packed minute that ends behind open_ms has stayed, and will. */
	if (s->oldest_ms >= s->open_ms ||
	    (s->oldest_ms == was_ms &&
	     before_ms > was_ms + INDEX_BLOCK_SPAN_MS))
		s->oldest_ms = UINT64_MAX;
	return MIN(r, 0);
}

/*
 * What may go of streams whose oldest was before @before_ms, looked up again.
 * Return: 1 and the oldest of all, 0 nothing may go, or an error.
 */
static int find_oldest(struct store_local *sl, struct stream_list *l,
		       uint64_t before_ms, uint64_t *ret_ms)
{
	uint64_t oldest_ms = UINT64_MAX;
	size_t i;

	for (i = 0; i < l->count; i++) {
		struct stream_oldest *s = &l->streams[i];
		int r = 0;

		if (s->oldest_ms < before_ms)
			r = look_up(sl, l, s, before_ms);
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
			r = index_delete(sl->index, s->id,
					 MIN(before_ms, s->open_ms), &holds,
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

	if (l->for_disk)
		return then > l->disk_limit;
	return sl->config.bytes_max && then + bad > sl->config.bytes_max;
}

static void tell_lost(struct store_local *sl)
{
	if (!sl->disk_lost)
		log_warn("store",
			 "storage_free cannot be kept: others fill the disk, "
			 "or what is held; nothing more is dropped for it");
	sl->disk_lost = true;
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
	if (r <= 0) {
		/* What is left is in use, or held. */
		if (r == 0 && l->for_disk)
			tell_lost(sl);
		return r < 0 ? r : 1;
	}
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

/* Return: 0, or an error. */
static int make_room(struct store_local *sl, struct stream_list *l)
{
	uint64_t before_ms = FIRST_STEP_MS;
	unsigned int i;
	int r;

	l->count = 0;
	r = index_streams(sl->index, add_stream, l);
	for (i = 0; r == 0 && i < STORE_ROOM_STEPS_MAX; i++)
		r = step(sl, l,
			 (uint64_t)INDEX_BLOCK_SPAN_MS
				 << i / STORE_ROOM_STEPS_ALIKE,
			 &before_ms);
	return MIN(r, 0);
}

void room_make(struct store_local *sl)
{
	struct stream_list l = {.disk_limit = disk_limit(sl)};
	uint64_t before = counted(&sl->counters.dropped);
	bool full = is_full(sl, &l);
	int r = 0;
	int i;

	l.for_disk = true;
	if (!is_full(sl, &l))
		sl->disk_lost = false;
	else
		full = true;
	if (!full || changes_wait(sl) || changes_commit(sl) < 0)
		return;
	for (i = 0; r == 0 && i < 2; i++) {
		l.for_disk = i;
		if (is_full(sl, &l))
			r = make_room(sl, &l);
	}
	free(l.streams);
	index_failed(sl, r);
	if (r < 0)
		log_warn("store", "dropping the oldest: %s", strerror(-r));
	else
		log_debug("store", "%llu of the oldest fragments dropped",
			  (unsigned long long)(counted(&sl->counters.dropped) -
					       before));
}
