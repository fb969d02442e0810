/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bound on all segments together, given by config.bytes_max or by what the
 * disk shall have left. Where it is reached, the oldest minute of all streams
 * is dropped, and the next, until a segment goes: readers lose the oldest
 * first, whoever's it is, and no writer waits for long. Rows go before files
 * do, as in every deletion. A segment may hold months of a slow stream, so the
 * further it is to its end, the longer the steps become. What is held is no
 * part of a step: each begins at what may go. What a job of the worker does of
 * all that is bounded: queries take their turn in between.
 *
 * What others put on the disk no dropping brings back. So for what the disk
 * shall have left only closed segments are emptied, and what was PERSISTED in
 * those that are being written stays.
 */
#include "io/store_local_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define FIRST_STEP_MS 1u /* no step was before */

struct room_stream {
	uint8_t id[STREAM_ID_BYTES];
	uint64_t oldest_ms; /* of what may go; UINT64_MAX: nothing */
	uint64_t open_ms;   /* from here on it stays */
};

int room_of_disk(const struct store_local *sl, uint64_t free_min,
		 uint64_t *ret_room)
{
	struct statvfs st;
	uint64_t room;
	int r = sl->sys->fstatvfs(sl->dir->segments_fd, &st);

	if (r < 0)
		return r;
	room = (uint64_t)st.f_bavail * st.f_frsize;
	*ret_room = room - MIN(room, free_min);
	return 0;
}

/*
 * Asked once for a segment: some filesystems give back what was deleted only
 * later, and nothing more may go for that.
 */
static uint64_t disk_limit(struct store_local *sl)
{
	uint64_t used = segment_table_bytes(&sl->table) + spares_bytes(sl);
	uint64_t room;

	if (!sl->config.free_min || room_of_disk(sl, 0, &room) < 0)
		return UINT64_MAX;
	if (room < sl->config.free_min)
		return used - MIN(used, sl->config.free_min - room);
	return used + (room - sl->config.free_min);
}

static int add_stream(void *ctx, const uint8_t id[STREAM_ID_BYTES])
{
	struct room *l = ctx;

	if (l->count == l->size) {
		size_t size = l->size ? 2 * l->size : 64;
		void *p = realloc(l->streams, size * sizeof(*l->streams));

		if (!p)
			return -ENOMEM;
		l->streams = p;
		l->size = size;
	}
	/* It is looked up when the first step asks. */
	l->streams[l->count] = (struct room_stream){.open_ms = UINT64_MAX};
	memcpy(l->streams[l->count++].id, id, STREAM_ID_BYTES);
	return 0;
}

/*
 * A stream's rows are in one writer's segments, the last in its newest. Asked
 * again before anything goes: rows come between two jobs.
 */
static int find_open(struct store_local *sl, struct room_stream *s)
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
static int look_up(struct store_local *sl, const struct room *l,
		   struct room_stream *s, uint64_t before_ms)
{
	uint64_t was_ms = s->oldest_ms;
	struct store_holds holds;
	int r = 0;

	s->oldest_ms = UINT64_MAX;
	if (l->for_disk)
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
 * What may go of streams whose oldest was before @l->before_ms is looked up
 * again. Return: 0, or an error.
 */
static int look(struct store_local *sl, struct room *l, unsigned int *work)
{
	int r = 0;

	for (; r == 0 && l->next < l->count && *work; l->next++) {
		struct room_stream *s = &l->streams[l->next];

		if (s->oldest_ms < l->before_ms) {
			r = look_up(sl, l, s, l->before_ms);
			--*work;
		}
		l->oldest_ms = MIN(l->oldest_ms, s->oldest_ms);
	}
	return r;
}

/* Return: 0, or an error. */
static int drop_rows(struct store_local *sl, struct room *l, unsigned int *work,
		     uint64_t *total)
{
	while (l->next < l->count && *work) {
		struct room_stream *s = &l->streams[l->next];
		unsigned int most = MIN(*work, INDEX_ROWS_PER_DELETE);
		struct store_holds holds;
		int r = 0;

		if (s->oldest_ms < l->before_ms)
			r = holds_of(sl, s->id, &holds);
		if (r >= 0 && s->oldest_ms < l->before_ms && l->for_disk)
			r = find_open(sl, s);
		if (r >= 0 && s->oldest_ms < l->before_ms)
			r = index_delete(sl->index, s->id,
					 MIN(l->before_ms, s->open_ms), &holds,
					 most);
		if (r < 0)
			return r;
		*total += (uint64_t)r;
		*work -= MIN((unsigned int)r, *work);
		l->next += (unsigned int)r < most;
	}
	return 0;
}

/* Return: 0, or an error; then nothing of it is left. */
static int drop(struct store_local *sl, struct room *l, unsigned int *work)
{
	size_t next = l->next;
	uint64_t total = 0;
	int r = drop_rows(sl, l, work, &total);

	if (r == 0)
		r = index_commit(sl->index);
	if (r < 0) {
		index_rollback(sl->index);
		l->next = next;
	} else {
		count(&sl->counters.dropped, total);
		l->dropped += total;
	}
	return r;
}

/* With another segment, made of a spare if there is one. */
static bool is_over(struct store_local *sl, const struct room *l)
{
	/* What was set aside must not push everything else out. */
	uint64_t bad = MIN(sl->bad_bytes, sl->config.bytes_max / 2);
	uint64_t then = segment_table_bytes(&sl->table) + spares_bytes_then(sl) +
			sl->segment_bytes;

	if (l->for_disk)
		return then > l->disk_limit;
	return sl->config.bytes_max && then + bad > sl->config.bytes_max;
}

/*
 * No room for another segment, also without the spares that it is not made of.
 * Closed ones take what is in them.
 */
static bool is_full(struct store_local *sl, const struct room *l)
{
	while (is_over(sl, l))
		if (!spares_drop(sl, MAX(sl->spares.count, 2u) - 1))
			return true;
	return false;
}

/*
 * What stays in case it is needed goes before what is. Nothing waits to be
 * committed. Return: there was such.
 */
static bool give_up_unsure(struct store_local *sl)
{
	if (!segment_table_forget_unsure(&sl->table))
		return false;
	log_warn("store", "no room: what a segment that cannot be read may "
			  "need is not kept any longer");
	sweep_segments(sl);
	return true;
}

bool room_give_up(struct store_local *sl)
{
	if (spares_drop(sl, 0))
		return true;
	return !changes_wait(sl) && changes_commit(sl) == 0 &&
	       give_up_unsure(sl);
}

static void tell_lost(struct store_local *sl)
{
	if (!sl->disk_lost)
		log_warn("store",
			 "storage_free cannot be kept: others fill the disk, "
			 "or what is held; nothing more is dropped for it");
	sl->disk_lost = true;
}

static void next_bound(struct room *l)
{
	l->state = l->for_disk ? ROOM_OVER : ROOM_LIST;
	l->for_disk = true;
}

static void step_begin(struct room *l)
{
	l->state = ROOM_LOOK;
	l->next = 0;
	l->oldest_ms = UINT64_MAX;
}

static int do_list(struct store_local *sl, struct room *l)
{
	l->count = 0;
	l->steps = 0;
	l->before_ms = FIRST_STEP_MS;
	step_begin(l);
	return index_streams(sl->index, add_stream, l);
}

static int do_look(struct store_local *sl, struct room *l, unsigned int *work)
{
	int r = look(sl, l, work);

	if (r < 0 || l->next < l->count)
		return r;
	if (l->oldest_ms == UINT64_MAX) {
		/* What is left is in use, or held. */
		if (l->for_disk)
			tell_lost(sl);
		next_bound(l);
		return 0;
	}
	/* A block that begins there ends before. */
	l->before_ms = l->oldest_ms + 1 +
		       ((uint64_t)INDEX_BLOCK_SPAN_MS
			<< l->steps / STORE_ROOM_STEPS_ALIKE);
	l->state = ROOM_DROP;
	l->next = 0;
	return 0;
}

static int do_drop(struct store_local *sl, struct room *l, unsigned int *work)
{
	int r = drop(sl, l, work);

	while (r == -ENOSPC && disk_room_give_up(sl))
		r = drop(sl, l, work);
	if (r < 0 || l->next < l->count)
		return r;
	sweep_segments(sl);
	if (++l->steps == STORE_ROOM_STEPS_MAX)
		next_bound(l);
	else
		step_begin(l);
	return 0;
}

/* Return: 0, or an error. */
static int go_on(struct store_local *sl, struct room *l, unsigned int *work)
{
	switch (l->state) {
	case ROOM_IDLE:
	case ROOM_OVER:
		return 0;
	case ROOM_LIST:
		if (is_full(sl, l))
			return give_up_unsure(sl) ? 0 : do_list(sl, l);
		next_bound(l);
		return 0;
	case ROOM_LOOK:
		if (l->next || is_full(sl, l))
			return do_look(sl, l, work);
		next_bound(l);
		return 0;
	case ROOM_DROP:
		return do_drop(sl, l, work);
	}
	return 0;
}

/* Return: there is something to do. */
static bool begin(struct store_local *sl, struct room *l)
{
	bool full;

	*l = (struct room){.disk_limit = disk_limit(sl)};
	full = is_full(sl, l);
	l->for_disk = true;
	if (is_full(sl, l))
		full = true;
	else
		sl->disk_lost = false;
	l->for_disk = false;
	l->state = ROOM_LIST;
	return full;
}

static bool over(struct room *l)
{
	free(l->streams);
	*l = (struct room){.state = ROOM_IDLE};
	return true;
}

bool room_make(struct store_local *sl, struct room *l)
{
	unsigned int work = STORE_ROOM_WORK_MAX;
	int r = 0;

	if ((l->state == ROOM_IDLE && !begin(sl, l)) || changes_wait(sl) ||
	    changes_commit(sl) < 0)
		return over(l);
	while (r == 0 && work && l->state != ROOM_OVER)
		r = go_on(sl, l, &work);
	if (r == 0 && l->state != ROOM_OVER)
		return false;
	index_failed(sl, r);
	if (r < 0)
		log_warn("store", "dropping the oldest: %s", strerror(-r));
	else
		log_debug("store", "%llu of the oldest fragments dropped",
			  (unsigned long long)l->dropped);
	return over(l);
}
