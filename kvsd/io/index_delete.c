/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes: by age, or down to a number of bytes, around what is held. Packed
 * minutes first (io/index_blocks.c), then rows of the tail.
 */
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "io/index_int.h"

/*
 * The rows that a DELETE returned, counted off their segments. SQLite has
 * deleted all of them before it gives the first.
 */
static int count_deleted(struct index_db *ix, struct db_stmt *s)
{
	uint32_t first = 0;
	uint32_t last = 0;
	int64_t live = 0;
	int64_t bytes = 0;
	int count = 0;
	int r;

	while ((r = db_step(s)) == 1) {
		uint32_t f = (uint32_t)db_int(s, 0);
		uint32_t l = (uint32_t)db_int(s, 1);
		struct store_fragment row = {
			.header_bytes = (uint32_t)db_int(s, 2),
			.media_bytes = (uint32_t)db_int(s, 3),
			.frames_bytes = (uint32_t)db_int(s, 4),
		};

		if (live && (f != first || l != last)) {
			r = index_count_live(ix, first, last, -live, -bytes, 0);
			if (r < 0)
				return r;
			live = 0;
			bytes = 0;
		}
		bytes += index_disk_bytes(&row);
		first = f;
		last = l;
		live++;
		count++;
	}
	if (r == 0 && live)
		r = index_count_live(ix, first, last, -live, -bytes, 0);
	return r < 0 ? r : count;
}

static int delete_tail(struct index_db *ix, int64_t sid, uint64_t before_ms,
		       unsigned int max)
{
	struct db_stmt *s = ix->st[FRAGMENT_DELETE];
	int count;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(before_ms));
	db_bind_int(s, 3, max);
	count = count_deleted(ix, s);
	db_reset(s);
	return count;
}

/* Numbers of the oldest rows that are not held, until they have @bytes. */
static int find_unheld(struct index_db *ix, int64_t sid, uint64_t before_ms,
		       const struct store_holds *holds, uint64_t bytes,
		       int64_t *seqs, unsigned int max)
{
	static const uint8_t any[STREAM_ID_BYTES];
	struct db_stmt *s = ix->st[FRAGMENT_OLDEST];
	struct store_fragment f;
	uint64_t found = 0;
	unsigned int n = 0;
	int r = 0;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(before_ms));
	while (n < max && found < bytes && (r = db_step(s)) == 1) {
		index_read_row(s, any, &f);
		if (store_is_held(holds, &f))
			continue;
		seqs[n++] = index_clamp(f.number.seq);
		found += index_row_bytes(&f);
	}
	db_reset(s);
	return r < 0 ? r : (int)n;
}

/* As delete_tail(), until @bytes are gone and around what is held. */
static int delete_unheld(struct index_db *ix, int64_t sid, uint64_t before_ms,
			 const struct store_holds *holds, uint64_t bytes,
			 unsigned int max)
{
	struct db_stmt *s = ix->st[FRAGMENT_DELETE_ONE];
	int64_t seqs[INDEX_ROWS_PER_DELETE];
	int count;
	int i;
	int r = 0;

	count = find_unheld(ix, sid, before_ms, holds, bytes, seqs,
			    MIN(max, INDEX_ROWS_PER_DELETE));
	for (i = 0; i < count && r >= 0; i++) {
		db_bind_int(s, 1, sid);
		db_bind_int(s, 2, seqs[i]);
		r = count_deleted(ix, s);
		db_reset(s);
	}
	return r < 0 ? r : count;
}

int index_delete(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		 uint64_t before_ms, const struct store_holds *holds,
		 unsigned int max)
{
	struct db_stmt *s = ix->st[STREAM_DROP];
	unsigned int left;
	int64_t sid = 0;
	int count;
	int r;

	r = index_find_stream(ix, id, &sid);
	if (r <= 0)
		return r;
	r = index_begin(ix);
	if (r < 0)
		return r;
	index_known_tail(ix, id);
	count = index_blocks_delete(ix, sid, id, before_ms, holds, max);
	if (count < 0 || count >= (int)max)
		return count;
	left = max - (unsigned int)count;
	r = holds && holds->count
		    ? delete_unheld(ix, sid, before_ms, holds, UINT64_MAX, left)
		    : delete_tail(ix, sid, before_ms, left);
	if (r < 0)
		return r;
	count += r;
	if (before_ms != UINT64_MAX || count >= (int)max)
		return count;
	index_known_drop(ix, id);
	db_bind_int(s, 1, sid);
	r = db_run(s);
	return r < 0 ? r : count;
}

/* Where the first row of the tail is that is not held. */
static int oldest_of_tail(struct index_db *ix, int64_t sid,
			  const uint8_t id[STREAM_ID_BYTES],
			  const struct store_holds *holds,
			  uint64_t *ret_server_ms)
{
	struct db_stmt *s = ix->st[FRAGMENT_OLDEST];
	struct store_fragment f;
	int r;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, INT64_MAX);
	while ((r = db_step(s)) == 1) {
		index_read_row(s, id, &f);
		if (!store_is_held(holds, &f)) {
			*ret_server_ms = f.server_ms;
			break;
		}
	}
	db_reset(s);
	return r;
}

int index_oldest(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		 const struct store_holds *holds, uint64_t *ret_server_ms)
{
	uint64_t packed = UINT64_MAX;
	uint64_t tail = UINT64_MAX;
	int64_t sid = 0;
	int r;

	r = index_find_stream(ix, id, &sid);
	if (r <= 0)
		return r;
	r = index_blocks_oldest(ix, sid, id, holds, &packed);
	if (r >= 0)
		r = oldest_of_tail(ix, sid, id, holds, &tail);
	if (r < 0)
		return r;
	*ret_server_ms = MIN(packed, tail);
	return *ret_server_ms != UINT64_MAX;
}

int index_stream_bytes(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		       uint64_t *ret_bytes)
{
	struct db_stmt *s = ix->st[STREAM_SIZE];
	int64_t sid = 0;
	int r;

	r = index_find_stream(ix, id, &sid);
	if (r <= 0)
		return r;
	db_bind_int(s, 1, sid);
	r = db_step(s);
	if (r == 1)
		*ret_bytes = (uint64_t)MAX(db_int(s, 0), (int64_t)0);
	db_reset(s);
	return r;
}

/* Bytes that do not count. */
static int held_bytes(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES],
		      const struct store_holds *holds, uint64_t *ret_bytes)
{
	struct db_stmt *s = ix->st[FRAGMENT_OLDEST];
	struct store_fragment f;
	uint64_t bytes = 0;
	int r;

	if (!holds || !holds->count)
		return 0;
	r = index_blocks_held(ix, sid, id, holds, &bytes);
	if (r < 0)
		return r;
	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, INT64_MAX);
	while ((r = db_step(s)) == 1) {
		index_read_row(s, id, &f);
		if (store_is_held(holds, &f))
			bytes += index_row_bytes(&f);
	}
	db_reset(s);
	*ret_bytes = bytes;
	return r;
}

int index_trim(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
	       uint64_t bytes_max, const struct store_holds *holds,
	       unsigned int max)
{
	uint64_t bytes = 0;
	uint64_t held = 0;
	uint64_t excess;
	int64_t sid = 0;
	int count;
	int r;

	r = index_stream_bytes(ix, id, &bytes);
	if (r <= 0 || bytes <= bytes_max)
		return MIN(r, 0);
	r = index_find_stream(ix, id, &sid);
	if (r == 1)
		r = held_bytes(ix, sid, id, holds, &held);
	if (r < 0 || bytes - MIN(bytes, held) <= bytes_max)
		return r;
	excess = bytes - held - bytes_max;
	r = index_begin(ix);
	if (r < 0)
		return r;
	index_known_tail(ix, id);
	count = index_blocks_trim(ix, sid, id, holds, &excess, max);
	if (count < 0 || count >= (int)max || !excess)
		return count;
	r = delete_unheld(ix, sid, UINT64_MAX, holds, excess,
			  max - (unsigned int)count);
	return r < 0 ? r : count + r;
}
