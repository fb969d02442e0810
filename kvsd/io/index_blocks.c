/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packing. Rows leave the tail oldest number first, as many as fit a block
 * (INDEX_BLOCK_ROWS_MAX, a span on either clock) and come before the block
 * that follows. A row that arrives late, within the numbers of a block, joins
 * it, or splits it where it is full.
 */
#include "io/index_int.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

static const char *const sql[INDEX_BLOCK_STATEMENT_COUNT] = {
	[TAIL_OLDEST] = "SELECT seq, server_ms FROM fragments"
			" WHERE sid=?1 ORDER BY seq LIMIT 1",
	[TAIL_ROWS] = "SELECT " INDEX_COLUMNS ", first_segment FROM fragments"
		      " WHERE sid=?1 ORDER BY seq LIMIT ?2",
	[TAIL_PACKED] = "DELETE FROM fragments WHERE sid=?1 AND seq<=?2",
	[BLOCK_AT] = "SELECT block, seq_last FROM blocks INDEXED BY block_seq"
		     " WHERE sid=?1 AND seq_first<=?2"
		     " ORDER BY seq_first DESC LIMIT 1",
	[BLOCK_AFTER] = "SELECT seq_first FROM blocks INDEXED BY block_seq"
			" WHERE sid=?1 AND seq_first>?2"
			" ORDER BY seq_first LIMIT 1",
	[BLOCK_ROWS] = "SELECT rows FROM blocks WHERE block=?1",
	[BLOCK_ADD] = "INSERT INTO blocks(sid, seq_first, seq_last,"
		      " server_min, server_max, producer_min, producer_max,"
		      " rows) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
	[BLOCK_REPLACE] = "UPDATE blocks SET rows=?2 WHERE block=?1",
	[BLOCK_DELETE] = "DELETE FROM blocks WHERE block=?1",
	[BLOCK_ALL] = "SELECT rows FROM blocks WHERE sid=?1",
	[STREAM_RECOUNT] = "UPDATE streams SET bytes=?2 WHERE sid=?1",
	[BLOCK_EXPIRED] = "SELECT block, server_max, server_min FROM blocks"
			  " INDEXED BY block_server_max"
			  " WHERE sid=?1 AND server_max<?2 AND"
			  " (server_max, server_min, block)>(?3, ?4, ?5)"
			  " ORDER BY server_max, server_min, block LIMIT 1",
	[BLOCK_NEAR] = "SELECT rows FROM blocks WHERE sid=?1 AND"
		       " ((server_min<=?3 AND server_max>=?2) OR"
		       " (producer_min<=?3 AND producer_max>=?2))",
};

int index_blocks_prepare(struct index_db *ix)
{
	return index_prepare(ix->db, sql, INDEX_BLOCK_STATEMENT_COUNT,
			     ix->blocks);
}

/* Return: 1 and the column, 0 no row. */
static int one_int(struct db_stmt *s, int column, int64_t *ret_value)
{
	int r = db_step(s);

	if (r == 1)
		*ret_value = db_int(s, column);
	db_reset(s);
	return r;
}

/* Return: rows of @block in ix->rows. */
static int load_block(struct index_db *ix, int64_t block,
		      const uint8_t id[STREAM_ID_BYTES])
{
	struct db_stmt *s = ix->blocks[BLOCK_ROWS];
	size_t len = 0;
	int r;

	ix->work.unpacked++;
	db_bind_int(s, 1, block);
	r = db_step(s);
	if (r == 1) {
		const uint8_t *packed = db_blob(s, 0, &len);

		r = index_block_unpack(packed, len, id, ix->rows);
	}
	db_reset(s);
	/* It was there a moment ago. */
	if (r != 0 && r != -EBADMSG)
		return r;
	ix->damaged = true;
	return -EUCLEAN;
}

/* Return: 1 and the block that begins at @seq or before it and ends there or
 * later; 0 there is none. */
static int block_around(struct index_db *ix, int64_t sid, int64_t seq,
			int64_t *ret_block)
{
	struct db_stmt *s = ix->blocks[BLOCK_AT];
	int64_t last = 0;
	int r;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, seq);
	r = db_step(s);
	if (r == 1) {
		*ret_block = db_int(s, 0);
		last = db_int(s, 1);
	}
	db_reset(s);
	return r == 1 ? last >= seq : r;
}

/* Return: 1 and its place in ix->rows, of @ret_count; 0 none has it. */
static int find_row(struct index_db *ix, int64_t sid,
		    const uint8_t id[STREAM_ID_BYTES], uint64_t seq,
		    int64_t *ret_block, int *ret_at, int *ret_count)
{
	int i;
	int r;

	r = block_around(ix, sid, index_clamp(seq), ret_block);
	if (r <= 0)
		return r;
	r = load_block(ix, *ret_block, id);
	for (i = 0; i < r; i++) {
		if (ix->rows[i].f.number.seq != seq)
			continue;
		*ret_at = i;
		*ret_count = r;
		return 1;
	}
	return r < 0 ? r : 0;
}

/* Where the stream's last block ends; there may be none that far. */
static int find_last(struct index_db *ix, struct index_known *k)
{
	struct db_stmt *s = ix->blocks[BLOCK_AT];
	int64_t last = 0;
	int r;

	db_bind_int(s, 1, k->sid);
	db_bind_int(s, 2, INT64_MAX);
	r = one_int(s, 1, &last);
	if (r >= 0)
		k->block_last = last;
	return r;
}

int index_blocks_have(struct index_db *ix, int64_t sid,
		      const struct store_fragment *f)
{
	struct index_known *k = index_known(ix, f->stream_id);
	int64_t block = 0;
	int count;
	int at;
	int r;

	if (k && k->block_last < 0) {
		r = find_last(ix, k);
		if (r < 0)
			return r;
	}
	if (k && index_clamp(f->number.seq) > k->block_last)
		return 0;
	return find_row(ix, sid, f->stream_id, f->number.seq, &block, &at,
			&count);
}

int index_blocks_find(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES], uint64_t seq,
		      struct index_row *ret_row)
{
	int64_t block = 0;
	int count;
	int at = 0;
	int r;

	r = find_row(ix, sid, id, seq, &block, &at, &count);
	if (r == 1)
		*ret_row = ix->rows[at];
	return r;
}

int index_blocks_move(struct index_db *ix, int64_t sid,
		      const struct index_row *from, const struct index_row *to)
{
	struct db_stmt *s = ix->blocks[BLOCK_REPLACE];
	int64_t block = 0;
	int count = 0;
	int at = 0;
	size_t len;
	int r;

	r = find_row(ix, sid, from->f.stream_id, from->f.number.seq, &block,
		     &at, &count);
	if (r <= 0 || ix->rows[at].f.segment != from->f.segment ||
	    ix->rows[at].f.page != from->f.page)
		return r < 0 ? r : 0;
	ix->rows[at].f.segment = to->f.segment;
	ix->rows[at].f.page = to->f.page;
	ix->rows[at].first_segment = to->first_segment;
	len = index_block_pack(ix->rows, (unsigned int)count, ix->packed);
	db_bind_int(s, 1, block);
	db_bind_blob(s, 2, ix->packed, len);
	r = db_run(s);
	return r < 0 ? r : 1;
}

/* --- writing --- */

struct bounds {
	uint64_t server_min;
	uint64_t server_max;
	uint64_t producer_min;
	uint64_t producer_max;
	uint64_t bytes;
};

/* As many of @rows as one block may have. */
static unsigned int measure(const struct index_row *rows, unsigned int count,
			    struct bounds *ret_bounds)
{
	struct bounds b = {
		.server_min = rows[0].f.server_ms,
		.server_max = rows[0].f.server_ms,
		.producer_min = rows[0].f.producer_ms,
		.producer_max = rows[0].f.producer_ms,
		.bytes = 0,
	};
	unsigned int n;

	for (n = 0; n < count && n < INDEX_BLOCK_ROWS_MAX; n++) {
		const struct store_fragment *f = &rows[n].f;
		struct bounds c = {
			.server_min = MIN(b.server_min, f->server_ms),
			.server_max = MAX(b.server_max, f->server_ms),
			.producer_min = MIN(b.producer_min, f->producer_ms),
			.producer_max = MAX(b.producer_max, f->producer_ms),
			.bytes = b.bytes + index_row_bytes(f),
		};

		if (c.server_max - c.server_min > INDEX_BLOCK_SPAN_MS ||
		    c.producer_max - c.producer_min > INDEX_BLOCK_SPAN_MS)
			break;
		b = c;
	}
	*ret_bounds = b;
	return n;
}

static int add_bytes(struct index_db *ix, int64_t sid, int64_t bytes)
{
	struct db_stmt *s = ix->st[STREAM_BYTES];

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, bytes);
	return db_run(s);
}

static int write_block(struct index_db *ix, int64_t sid,
		       const struct index_row *rows, unsigned int count,
		       const struct bounds *b)
{
	struct db_stmt *s = ix->blocks[BLOCK_ADD];
	size_t len = index_block_pack(rows, count, ix->packed);
	int r;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(rows[0].f.number.seq));
	db_bind_int(s, 3, index_clamp(rows[count - 1].f.number.seq));
	db_bind_int(s, 4, (int64_t)b->server_min);
	db_bind_int(s, 5, (int64_t)b->server_max);
	db_bind_int(s, 6, (int64_t)b->producer_min);
	db_bind_int(s, 7, (int64_t)b->producer_max);
	db_bind_blob(s, 8, ix->packed, len);
	r = db_run(s);
	if (r < 0)
		return r;
	index_known_block_added(ix, rows, count, b->bytes, b->server_max);
	return add_bytes(ix, sid, (int64_t)b->bytes);
}

/* @rows become as many blocks as it takes. */
static int write_blocks(struct index_db *ix, int64_t sid,
			const struct index_row *rows, unsigned int count)
{
	struct bounds b;
	unsigned int n;
	int r = 0;

	for (; count && r == 0; rows += n, count -= n) {
		n = measure(rows, count, &b);
		r = write_block(ix, sid, rows, n, &b);
	}
	return r;
}

/* The block's rows are in ix->rows. */
static int drop_block(struct index_db *ix, int64_t sid, int64_t block,
		      unsigned int count)
{
	struct db_stmt *s = ix->blocks[BLOCK_DELETE];
	uint64_t bytes = 0;
	unsigned int i;
	int r;

	for (i = 0; i < count; i++)
		bytes += index_row_bytes(&ix->rows[i].f);
	db_bind_int(s, 1, block);
	r = db_run(s);
	if (r < 0)
		return r;
	index_known_block_dropped(ix, ix->rows, count, bytes);
	return add_bytes(ix, sid, -(int64_t)bytes);
}

/* --- from the tail --- */

static int read_tail(struct index_db *ix, int64_t sid,
		     const uint8_t id[STREAM_ID_BYTES])
{
	struct db_stmt *s = ix->blocks[TAIL_ROWS];
	int count = 0;
	int r;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, INDEX_BLOCK_ROWS_MAX);
	while ((r = db_step(s)) == 1) {
		struct index_row *row = &ix->merged[count++];

		index_read_row(s, id, &row->f);
		row->first_segment = (uint32_t)db_int(s, 11);
		if (row->first_segment > row->f.segment) {
			ix->damaged = true;
			r = -EUCLEAN;
			break;
		}
	}
	db_reset(s);
	return r < 0 ? r : count;
}

static int drop_tail(struct index_db *ix, int64_t sid, uint64_t seq)
{
	struct db_stmt *s = ix->blocks[TAIL_PACKED];

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(seq));
	return db_run(s);
}

/* ix->merged[0] goes into the block around it. */
static int join_block(struct index_db *ix, int64_t sid, int64_t block)
{
	struct index_row late = ix->merged[0];
	int at = 0;
	int r;

	r = load_block(ix, block, late.f.stream_id);
	if (r < 0)
		return r;
	while (at < r && ix->rows[at].f.number.seq < late.f.number.seq)
		at++;
	memcpy(ix->merged, ix->rows, (size_t)at * sizeof(*ix->rows));
	ix->merged[at] = late;
	memcpy(&ix->merged[at + 1], &ix->rows[at],
	       (size_t)(r - at) * sizeof(*ix->rows));
	at = drop_block(ix, sid, block, (unsigned int)r);
	if (at < 0)
		return at;
	return write_blocks(ix, sid, ix->merged, (unsigned int)r + 1);
}

/* The tail's rows at the start of ix->merged become a block. */
static int pack_rows(struct index_db *ix, int64_t sid, unsigned int count)
{
	struct db_stmt *s = ix->blocks[BLOCK_AFTER];
	struct bounds b;
	int64_t next = INT64_MAX;
	unsigned int n = 1;
	int r;

	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(ix->merged[0].f.number.seq));
	r = one_int(s, 0, &next);
	if (r < 0)
		return r;
	while (n < count && (int64_t)ix->merged[n].f.number.seq < next)
		n++;
	n = measure(ix->merged, n, &b);
	r = write_block(ix, sid, ix->merged, n, &b);
	return r < 0 ? r : drop_tail(ix, sid, ix->merged[n - 1].f.number.seq);
}

static int pack_oldest(struct index_db *ix, int64_t sid,
		       const uint8_t id[STREAM_ID_BYTES])
{
	uint64_t seq;
	int64_t block = 0;
	int count;
	int r;

	count = read_tail(ix, sid, id);
	if (count <= 0)
		return count;
	seq = ix->merged[0].f.number.seq;
	r = block_around(ix, sid, index_clamp(seq), &block);
	if (r < 0)
		return r;
	if (!r)
		return pack_rows(ix, sid, (unsigned int)count);
	r = join_block(ix, sid, block);
	return r < 0 ? r : drop_tail(ix, sid, seq);
}

/* Return: 1 and where the tail begins, 0 there is none. */
static int find_oldest(struct index_db *ix, int64_t sid,
		       const struct store_fragment *added, int64_t *ret_ms)
{
	struct db_stmt *s = ix->blocks[TAIL_OLDEST];
	struct index_known *k = index_known(ix, added->stream_id);
	int64_t seq = 0;
	int r;

	if (k && k->oldest_seq >= 0 &&
	    index_clamp(added->number.seq) > k->oldest_seq) {
		*ret_ms = k->oldest_ms;
		return 1;
	}
	db_bind_int(s, 1, sid);
	r = db_step(s);
	if (r == 1) {
		seq = db_int(s, 0);
		*ret_ms = db_int(s, 1);
	}
	db_reset(s);
	if (r == 1 && k) {
		k->oldest_seq = seq;
		k->oldest_ms = *ret_ms;
	}
	return r;
}

int index_blocks_pack(struct index_db *ix, int64_t sid,
		      const struct store_fragment *f)
{
	int64_t now = index_clamp(f->server_ms);
	int64_t oldest = 0;
	int r;

	r = find_oldest(ix, sid, f, &oldest);
	if (r <= 0)
		return r;
	/* Either way: a clock that was set back must not stop the packing. */
	if (MAX(now, oldest) - MIN(now, oldest) < 2 * INDEX_BLOCK_SPAN_MS)
		return 0;
	index_known_tail(ix, f->stream_id);
	return pack_oldest(ix, sid, f->stream_id);
}

/* --- deleting --- */

/* Rows that need the same segments are counted off together. */
static int count_off(struct index_db *ix, unsigned int count)
{
	unsigned int begin = 0;
	int64_t bytes = 0;
	unsigned int i;
	int r = 0;

	for (i = 1; i <= count && r == 0; i++) {
		const struct index_row *a = &ix->rows[begin];
		const struct index_row *b = &ix->rows[i];

		bytes += index_disk_bytes(&b[-1].f);
		if (i < count && a->first_segment == b->first_segment &&
		    a->f.segment == b->f.segment)
			continue;
		r = index_count_live(ix, a->first_segment, a->f.segment,
				     -(int64_t)(i - begin), -bytes, 0);
		begin = i;
		bytes = 0;
	}
	return r;
}

/*
 * The bytes of the blocks that can be unpacked: what the others had is not
 * known any more. Uses ix->rows.
 */
static int recount(struct index_db *ix, int64_t sid,
		   const uint8_t id[STREAM_ID_BYTES])
{
	struct db_stmt *s = ix->blocks[BLOCK_ALL];
	uint64_t bytes = 0;
	int i;
	int r;

	db_bind_int(s, 1, sid);
	while ((r = db_step(s)) == 1) {
		size_t len = 0;
		const uint8_t *packed = db_blob(s, 0, &len);
		int count = index_block_unpack(packed, len, id, ix->rows);

		for (i = 0; i < count; i++)
			bytes += index_row_bytes(&ix->rows[i].f);
	}
	db_reset(s);
	if (r < 0)
		return r;
	s = ix->blocks[STREAM_RECOUNT];
	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(bytes));
	return db_run(s);
}

/*
 * A damaged block goes, or nothing would expire behind it, ever.
 * Return: 1 and by how much the stream's bytes fell.
 */
static int drop_damaged(struct index_db *ix, int64_t sid,
			const uint8_t id[STREAM_ID_BYTES], int64_t block,
			uint64_t *ret_bytes)
{
	uint64_t before = 0;
	uint64_t after = 0;
	int r;

	log_error("index", "a damaged minute is dropped; the next start makes "
			   "the index again");
	r = index_stream_bytes(ix, id, &before);
	if (r >= 0)
		r = drop_block(ix, sid, block, 0);
	if (r >= 0)
		r = recount(ix, sid, id);
	if (r >= 0)
		r = index_stream_bytes(ix, id, &after);
	if (r < 0)
		return r;
	*ret_bytes = before - MIN(before, after);
	return 1;
}

/* A walk over the blocks by where they end, past those that stay. */
struct expiry_walk {
	const struct store_holds *holds;
	int64_t before_ms;
	int64_t server_max; /* of the block before */
	int64_t server_min;
	int64_t block;
};

/* From the first that is not known to stay. */
static struct expiry_walk walk_from_first(struct index_db *ix,
					  const uint8_t id[STREAM_ID_BYTES],
					  const struct store_holds *holds,
					  uint64_t before_ms)
{
	const struct index_held *h = index_held(ix, id, holds);

	return (struct expiry_walk){
		.holds = holds && holds->count ? holds : NULL,
		.before_ms = index_clamp(before_ms),
		.server_max = h ? h->server_max : -1,
		.server_min = h ? h->server_min : 0,
		.block = h ? h->block : 0,
	};
}

/* The block that @w is at stays, and so does all before it that is left. */
static void keep_place(struct index_db *ix, const uint8_t id[STREAM_ID_BYTES],
		       const struct expiry_walk *w)
{
	struct index_held *h = index_held(ix, id, w->holds);

	if (!h)
		return;
	h->server_max = w->server_max;
	h->server_min = w->server_min;
	h->block = w->block;
}

/* The last row of the block is held, and so are those of all up to there. */
static bool skip_hold(struct expiry_walk *w)
{
	uint64_t end_ms = (uint64_t)w->server_max;
	uint32_t i;

	for (i = 0; w->holds && i < w->holds->count; i++) {
		const struct store_hold *h = &w->holds->ranges[i];

		if (end_ms < h->from_ms || end_ms > h->to_ms)
			continue;
		w->server_max = index_clamp(h->to_ms);
		w->server_min = INT64_MAX;
		return true;
	}
	return false;
}

/* Return: 1 the next block is at w->block, 0 there is none. */
static int next_expired(struct index_db *ix, int64_t sid, struct expiry_walk *w)
{
	struct db_stmt *s = ix->blocks[BLOCK_EXPIRED];
	int r;

	do {
		db_bind_int(s, 1, sid);
		db_bind_int(s, 2, w->before_ms);
		db_bind_int(s, 3, w->server_max);
		db_bind_int(s, 4, w->server_min);
		db_bind_int(s, 5, w->block);
		r = db_step(s);
		if (r == 1) {
			w->block = db_int(s, 0);
			w->server_max = db_int(s, 1);
			w->server_min = db_int(s, 2);
		}
		db_reset(s);
	} while (r == 1 && skip_hold(w));
	return r;
}

static bool any_held(const struct index_db *ix, int count,
		     const struct store_holds *holds)
{
	int i;

	for (i = 0; holds && i < count; i++) {
		if (store_is_held(holds, &ix->rows[i].f))
			return true;
	}
	return false;
}

/*
 * The block that ends first, if that is before the walk's end and nothing in
 * it is held. Return: 1, 0 there is none.
 * @ret_count: its rows, in ix->rows; -EUCLEAN: it is damaged
 */
static int next_unheld(struct index_db *ix, int64_t sid,
		       const uint8_t id[STREAM_ID_BYTES], struct expiry_walk *w,
		       int *ret_count)
{
	bool stays;
	int count;
	int r;

	do {
		r = next_expired(ix, sid, w);
		if (r <= 0)
			return r;
		count = load_block(ix, w->block, id);
		/* Who knows what is in it: the next start does. */
		stays = (count == -EUCLEAN && w->holds) ||
			any_held(ix, count, w->holds);
		if (stays)
			keep_place(ix, id, w);
	} while (stays);
	if (count < 0 && count != -EUCLEAN)
		return count;
	*ret_count = count;
	return 1;
}

int index_blocks_oldest(struct index_db *ix, int64_t sid,
			const uint8_t id[STREAM_ID_BYTES],
			const struct store_holds *holds,
			uint64_t *ret_server_ms)
{
	struct expiry_walk w = walk_from_first(ix, id, holds, UINT64_MAX);
	int count = 0;
	int r = next_unheld(ix, sid, id, &w, &count);

	if (r == 1)
		*ret_server_ms = (uint64_t)w.server_min;
	return r;
}

/* Drops next_unheld(). Return: 1 and its rows and bytes, 0 there is none. */
static int drop_first(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES], struct expiry_walk *w,
		      int *ret_count, uint64_t *ret_bytes)
{
	uint64_t bytes = 0;
	int count = 0;
	int i;
	int r;

	r = next_unheld(ix, sid, id, w, &count);
	if (r <= 0)
		return r;
	if (count == -EUCLEAN) {
		/* As a row: the recounting bounds a slice, too. */
		*ret_count = INDEX_BLOCK_ROWS_MAX;
		return drop_damaged(ix, sid, id, w->block, ret_bytes);
	}
	for (i = 0; i < count; i++)
		bytes += index_row_bytes(&ix->rows[i].f);
	r = count_off(ix, (unsigned int)count);
	if (r == 0)
		r = drop_block(ix, sid, w->block, (unsigned int)count);
	if (r < 0)
		return r;
	*ret_count = count;
	*ret_bytes = bytes;
	return 1;
}

int index_blocks_delete(struct index_db *ix, int64_t sid,
			const uint8_t id[STREAM_ID_BYTES], uint64_t before_ms,
			const struct store_holds *holds, unsigned int max)
{
	struct expiry_walk w = walk_from_first(ix, id, holds, before_ms);
	unsigned int total = 0;
	uint64_t bytes;
	int count = 0;
	int r = 1;

	while (total < max && r == 1) {
		r = drop_first(ix, sid, id, &w, &count, &bytes);
		if (r == 1)
			total += (unsigned int)count;
	}
	return r < 0 ? r : (int)total;
}

int index_blocks_trim(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES],
		      const struct store_holds *holds, uint64_t *excess,
		      unsigned int max)
{
	struct expiry_walk w = walk_from_first(ix, id, holds, UINT64_MAX);
	unsigned int total = 0;
	uint64_t bytes = 0;
	int count = 0;
	int r = 1;

	while (*excess && total < max && r == 1) {
		r = drop_first(ix, sid, id, &w, &count, &bytes);
		if (r != 1)
			break;
		total += (unsigned int)count;
		*excess -= MIN(*excess, bytes);
	}
	return r < 0 ? r : (int)total;
}

int index_blocks_held(struct index_db *ix, int64_t sid,
		      const uint8_t id[STREAM_ID_BYTES],
		      const struct store_holds *holds, uint64_t *ret_bytes)
{
	struct db_stmt *s = ix->blocks[BLOCK_NEAR];
	uint64_t first_ms = UINT64_MAX;
	uint64_t last_ms = 0;
	struct index_held *known = index_held(ix, id, holds);
	uint64_t bytes = 0;
	uint32_t i;
	int r;

	if (known && known->counted) {
		*ret_bytes = known->bytes;
		return 0;
	}
	for (i = 0; i < holds->count; i++) {
		first_ms = MIN(first_ms, holds->ranges[i].from_ms);
		last_ms = MAX(last_ms, holds->ranges[i].to_ms);
	}
	/* Blocks say where fragments begin: one may end in what is held. */
	first_ms -= MIN(first_ms, (uint64_t)UINT32_MAX);
	db_bind_int(s, 1, sid);
	db_bind_int(s, 2, index_clamp(first_ms));
	db_bind_int(s, 3, index_clamp(last_ms));
	while ((r = db_step(s)) == 1) {
		size_t len = 0;
		const uint8_t *packed = db_blob(s, 0, &len);
		int count = index_block_unpack(packed, len, id, ix->rows);
		int n;

		ix->work.unpacked++;
		/* A held block stays whole. */
		if (any_held(ix, count, holds))
			for (n = 0; n < count; n++)
				bytes += index_row_bytes(&ix->rows[n].f);
	}
	db_reset(s);
	if (r < 0)
		return r;
	*ret_bytes = bytes;
	if (known) {
		known->bytes = bytes;
		known->counted = true;
	}
	return 0;
}
