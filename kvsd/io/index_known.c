/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of streams without asking SQLite, since each fragment asks:
 * a stream's row, the end of its last block, the first row of its tail; and
 * of what is held, since each expiry asks. Nothing here is the only place of
 * anything, and all of it is forgotten with a transaction that is undone.
 */
#include "io/index_int.h"

#include <stdlib.h>
#include <string.h>

static struct index_known *place_of(struct index_db *ix,
				    const uint8_t id[STREAM_ID_BYTES])
{
	uint64_t half[2];

	_Static_assert(sizeof(half) == STREAM_ID_BYTES, "all of an id");
	memcpy(half, id, sizeof(half));
	half[0] = (half[0] + 31 * half[1]) * 0x9e3779b97f4a7c15ull;
	return &ix->known[(half[0] >> 32) % INDEX_KNOWN_STREAMS];
}

static void forget(struct index_known *k)
{
	free(k->held);
	memset(k, 0, sizeof(*k));
}

struct index_known *index_known(struct index_db *ix,
				const uint8_t id[STREAM_ID_BYTES])
{
	struct index_known *k;

	index_known_check(ix);
	k = place_of(ix, id);
	return k->sid && memcmp(k->id, id, STREAM_ID_BYTES) == 0 ? k : NULL;
}

void index_known_add(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		     int64_t sid)
{
	struct index_known *k = place_of(ix, id);

	forget(k);
	memcpy(k->id, id, STREAM_ID_BYTES);
	k->sid = sid;
	k->block_last = -1;
	k->oldest_seq = -1;
}

void index_known_drop(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES])
{
	struct index_known *k = index_known(ix, id);

	if (k)
		forget(k);
}

void index_known_tail(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES])
{
	struct index_known *k = index_known(ix, id);

	if (k)
		k->oldest_seq = -1;
}

void index_known_clear(struct index_db *ix)
{
	unsigned int i;

	for (i = 0; i < INDEX_KNOWN_STREAMS; i++) {
		if (ix->known[i].sid)
			forget(&ix->known[i]);
	}
	memset(ix->counts, 0, sizeof(ix->counts));
	ix->count_pending = 0;
	ix->begun = false;
}

void index_known_check(struct index_db *ix)
{
	/* SQLite undoes one by itself where a disk is full or fails. */
	if (ix->begun && !db_in_transaction(ix->db))
		index_known_clear(ix);
}

/* --- what is held --- */

static bool same_holds(const struct store_holds *a, const struct store_holds *b)
{
	return a->count == b->count &&
	       memcmp(a->ranges, b->ranges, a->count * sizeof(*a->ranges)) == 0;
}

struct index_held *index_held(struct index_db *ix,
			      const uint8_t id[STREAM_ID_BYTES],
			      const struct store_holds *holds)
{
	struct index_known *k = index_known(ix, id);

	if (!k || !holds || !holds->count)
		return NULL;
	if (k->held && same_holds(&k->held->holds, holds))
		return k->held;
	if (!k->held)
		k->held = malloc(sizeof(*k->held));
	if (!k->held)
		return NULL;
	*k->held = (struct index_held){.holds = *holds, .server_max = -1};
	return k->held;
}

static bool any_held(const struct index_held *h, const struct index_row *rows,
		     unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++) {
		if (store_is_held(&h->holds, &rows[i].f))
			return true;
	}
	return false;
}

void index_known_block_added(struct index_db *ix, const struct index_row *rows,
			     unsigned int count, uint64_t bytes,
			     uint64_t server_max)
{
	struct index_known *k = index_known(ix, rows[0].f.stream_id);
	struct index_held *h = k ? k->held : NULL;

	if (k && k->block_last >= 0)
		k->block_last = MAX(k->block_last,
				    index_clamp(rows[count - 1].f.number.seq));
	if (!h)
		return;
	if (index_clamp(server_max) <= h->server_max)
		h->server_max = -1;
	if (h->counted && any_held(h, rows, count))
		h->bytes += bytes;
}

void index_known_block_dropped(struct index_db *ix,
			       const struct index_row *rows, unsigned int count,
			       uint64_t bytes)
{
	struct index_known *k = count ? index_known(ix, rows[0].f.stream_id)
				      : NULL;
	struct index_held *h = k ? k->held : NULL;

	if (h && h->counted && any_held(h, rows, count))
		h->bytes -= MIN(h->bytes, bytes);
}
