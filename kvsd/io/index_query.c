/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries. The tail gives its first rows in order, the blocks give theirs,
 * and the two are merged.
 *
 * By number, blocks follow one another. On a clock they may overlap, but
 * since none covers more than INDEX_BLOCK_SPAN_MS, those with rows from t on
 * begin at t - span or later, and those with rows up to t end at t + span or
 * earlier. So each clock is kept under two keys: walks upwards go by where
 * blocks begin, walks downwards by where they end, and a walk is over when
 * the next block begins (ends) beyond the last row that fits the answer.
 */
#include "io/index_int.h"

#include <errno.h>
#include <string.h>

#define SELECT_TAIL "SELECT " INDEX_COLUMNS " FROM fragments WHERE sid=?1 AND "
#define VISIBLE " AND server_ms>=?5 "

static const char *const tail_sql[INDEX_QUERIES] = {
	/* ?2, ?3: strictly beyond this row; ?4: the other end */
	SELECT_TAIL "seq>?3" VISIBLE "ORDER BY seq LIMIT ?6",
	SELECT_TAIL "seq<?3" VISIBLE "ORDER BY seq DESC LIMIT ?6",
	SELECT_TAIL "(server_ms, seq)>(?2, ?3) AND server_ms<=?4" VISIBLE
		    "ORDER BY server_ms, seq LIMIT ?6",
	SELECT_TAIL "(server_ms, seq)<(?2, ?3) AND server_ms>=?4" VISIBLE
		    "ORDER BY server_ms DESC, seq DESC LIMIT ?6",
	SELECT_TAIL "(producer_ms, seq)>(?2, ?3) AND producer_ms<=?4" VISIBLE
		    "ORDER BY producer_ms, seq LIMIT ?6",
	SELECT_TAIL "(producer_ms, seq)<(?2, ?3) AND producer_ms>=?4" VISIBLE
		    "ORDER BY producer_ms DESC, seq DESC LIMIT ?6",
};

/* Columns: where the block begins, for a walk upwards, or ends; its rows. */
#define SELECT_BLOCKS(near, key)                            \
	"SELECT " near ", rows FROM blocks INDEXED BY " key \
	" WHERE sid=?1 AND server_max>=?5 AND "

static const char *const block_sql[INDEX_QUERIES] = {
	/* ?2, ?3, ?4 as above; ?6: a span from ?2 */
	SELECT_BLOCKS("seq_first",
		      "block_seq") "seq_first>=coalesce((SELECT max(seq_first) "
				   "FROM blocks WHERE sid=?1"
				   " AND seq_first<=?3), 0) AND seq_last>?3 "
				   "ORDER BY seq_first",
	SELECT_BLOCKS("seq_last",
		      "block_seq") "seq_first<?3 ORDER BY seq_first DESC",
	SELECT_BLOCKS("server_min",
		      "block_server_min") "server_min>=?6 AND server_min<=?4 "
					  "AND server_max>=?2"
					  " ORDER BY server_min",
	SELECT_BLOCKS("server_max",
		      "block_server_max") "server_max<=?6 AND server_max>=?4 "
					  "AND server_min<=?2"
					  " ORDER BY server_max DESC",
	SELECT_BLOCKS(
		"producer_min",
		"block_producer_min") "producer_min>=?6 AND producer_min<=?4 "
				      "AND producer_max>=?2"
				      " ORDER BY producer_min",
	SELECT_BLOCKS(
		"producer_max",
		"block_producer_max") "producer_max<=?6 AND producer_max>=?4 "
				      "AND producer_min<=?2"
				      " ORDER BY producer_max DESC",
};

int index_query_prepare(struct index_db *ix)
{
	int r;

	r = index_prepare(ix->db, tail_sql, INDEX_QUERIES, ix->tail_query);
	if (r < 0)
		return r;
	return index_prepare(ix->db, block_sql, INDEX_QUERIES, ix->block_query);
}

void index_read_row(struct db_stmt *s, const uint8_t id[STREAM_ID_BYTES],
		    struct store_fragment *f)
{
	memset(f, 0, sizeof(*f)); /* the gaps, too: rows are compared */
	memcpy(f->stream_id, id, STREAM_ID_BYTES);
	f->number.seq = (uint64_t)db_int(s, 0);
	f->server_ms = (uint64_t)db_int(s, 1);
	f->producer_ms = (uint64_t)db_int(s, 2);
	f->number.server_ms = (uint64_t)db_int(s, 3);
	f->number.random = (uint32_t)db_int(s, 4);
	f->duration_ms = (uint32_t)db_int(s, 5);
	f->header_bytes = (uint32_t)db_int(s, 6);
	f->media_bytes = (uint32_t)db_int(s, 7);
	f->frames_bytes = (uint32_t)db_int(s, 8);
	f->segment = (uint32_t)db_int(s, 9);
	f->page = (uint32_t)db_int(s, 10);
}

/* Where the walk begins (exclusive) and ends, on the order's clock. */
struct walk {
	const struct store_query *q;
	int64_t near;
	int64_t far;
	int64_t near_seq;
	int64_t visible_ms;
	bool held; /* some of what is older is visible, too */
};

/* 0 for all rows where only the number decides. */
static int64_t order_time(enum store_order order,
			  const struct store_fragment *f)
{
	switch (order) {
	case STORE_BY_SERVER_TIME:
		return index_clamp(f->server_ms);
	case STORE_BY_PRODUCER_TIME:
		return index_clamp(f->producer_ms);
	case STORE_BY_NUMBER:
		break;
	}
	return 0;
}

static struct walk walk_of(const struct store_query *q)
{
	struct walk w = {
		.q = q,
		.near = index_clamp(q->descending ? q->to_ms : q->from_ms),
		.far = index_clamp(q->descending ? q->from_ms : q->to_ms),
		.near_seq = q->descending ? INT64_MAX : -1,
		.visible_ms = index_clamp(q->not_before_ms),
		.held = q->holds && q->holds->count,
	};

	if (q->order == STORE_BY_NUMBER) {
		w.near = 0;
		w.far = 0;
	}
	if (q->after) {
		int64_t t = order_time(q->order, q->after);

		if (q->descending ? t <= w.near : t >= w.near) {
			w.near = t;
			w.near_seq = index_clamp(q->after->number.seq);
		}
	}
	return w;
}

static void bind_walk(struct db_stmt *s, int64_t sid, const struct walk *w)
{
	db_bind_int(s, 1, sid);
	if (w->q->order != STORE_BY_NUMBER) {
		db_bind_int(s, 2, w->near);
		db_bind_int(s, 4, w->far);
	}
	db_bind_int(s, 5, w->held ? 0 : w->visible_ms);
}

/* <0: @t, @seq comes before @u, @v in the walk's order. */
static int compare(const struct walk *w, int64_t t, int64_t seq, int64_t u,
		   int64_t v)
{
	int c = t != u ? (t > u) - (t < u) : (seq > v) - (seq < v);

	return w->q->descending ? -c : c;
}

static int compare_rows(const struct walk *w, const struct store_fragment *a,
			const struct store_fragment *b)
{
	return compare(w, order_time(w->q->order, a), (int64_t)a->number.seq,
		       order_time(w->q->order, b), (int64_t)b->number.seq);
}

static bool is_visible(const struct walk *w, const struct store_fragment *f)
{
	return index_clamp(f->server_ms) >= w->visible_ms ||
	       store_is_held(w->q->holds, f);
}

/* --- the tail --- */

static int query_tail(struct index_db *ix, int64_t sid, const struct walk *w,
		      struct db_stmt *s)
{
	int count = 0;
	int r = 0;

	bind_walk(s, sid, w);
	db_bind_int(s, 3, w->near_seq);
	db_bind_int(s, 6, w->held ? -1 : (int64_t)w->q->limit);
	while (count < (int)w->q->limit && (r = db_step(s)) == 1) {
		struct store_fragment *f = &ix->from_tail[count];

		index_read_row(s, w->q->stream_id, f);
		ix->work.tail_rows++;
		count += is_visible(w, f);
	}
	db_reset(s);
	return r < 0 ? r : count;
}

/* --- the blocks --- */

static bool fits(const struct walk *w, const struct store_fragment *f)
{
	int64_t t = order_time(w->q->order, f);

	if (compare(w, t, (int64_t)f->number.seq, w->near, w->near_seq) <= 0)
		return false;
	if (w->q->descending ? t < w->far : t > w->far)
		return false;
	return is_visible(w, f);
}

/* Into its place among the first @limit of what was found. */
static int keep_row(const struct walk *w, struct store_fragment *rows,
		    int count, const struct store_fragment *f)
{
	int limit = (int)w->q->limit;
	int at = count;

	while (at && compare_rows(w, f, &rows[at - 1]) < 0)
		at--;
	if (at == limit)
		return count;
	if (count < limit)
		count++;
	memmove(&rows[at + 1], &rows[at],
		(size_t)(count - 1 - at) * sizeof(*rows));
	rows[at] = *f;
	return count;
}

/* No row of a block that begins (ends) at @near can be in the answer. */
static bool beyond(const struct walk *w, int64_t near,
		   const struct store_fragment *last)
{
	int64_t t;

	if (w->q->order == STORE_BY_NUMBER)
		return true; /* the blocks before it filled the answer */
	t = order_time(w->q->order, last);
	return w->q->descending ? near < t : near > t;
}

/* Return: rows in ix->from_blocks. */
static int add_block(struct index_db *ix, struct db_stmt *s,
		     const struct walk *w, int count)
{
	size_t len = 0;
	const uint8_t *packed = db_blob(s, 1, &len);
	int rows;
	int i;

	ix->work.blocks++;
	rows = index_block_unpack(packed, len, w->q->stream_id, ix->rows);
	if (rows < 0) {
		ix->damaged = true;
		return -EUCLEAN;
	}
	for (i = 0; i < rows; i++) {
		/* Downwards from the end, or each row would be moved. */
		const struct index_row *row =
			&ix->rows[w->q->descending ? rows - 1 - i : i];

		if (fits(w, &row->f))
			count = keep_row(w, ix->from_blocks, count, &row->f);
	}
	return count;
}

static int query_blocks(struct index_db *ix, int64_t sid, const struct walk *w,
			struct db_stmt *s)
{
	int count = 0;
	int r;

	bind_walk(s, sid, w);
	if (w->q->order == STORE_BY_NUMBER)
		db_bind_int(s, 3, w->near_seq);
	else if (!w->q->descending)
		db_bind_int(s, 6, w->near - (int64_t)INDEX_BLOCK_SPAN_MS);
	else
		db_bind_int(s, 6,
			    w->near > INT64_MAX - INDEX_BLOCK_SPAN_MS
				    ? INT64_MAX
				    : w->near + (int64_t)INDEX_BLOCK_SPAN_MS);
	while ((r = db_step(s)) == 1) {
		if (count == (int)w->q->limit &&
		    beyond(w, db_int(s, 0), &ix->from_blocks[count - 1])) {
			r = 0;
			break;
		}
		r = add_block(ix, s, w, count);
		if (r < 0)
			break;
		count = r;
	}
	db_reset(s);
	return r < 0 ? r : count;
}

int index_query(struct index_db *ix, const struct store_query *q,
		struct store_fragment *ret_rows)
{
	int which = 2 * (int)q->order + (q->descending ? 1 : 0);
	struct walk w = walk_of(q);
	int64_t sid = 0;
	int tail;
	int packed;
	int t = 0;
	int b = 0;
	int n;

	n = index_find_stream(ix, q->stream_id, &sid);
	if (n <= 0)
		return n;
	tail = query_tail(ix, sid, &w, ix->tail_query[which]);
	if (tail < 0)
		return tail;
	packed = query_blocks(ix, sid, &w, ix->block_query[which]);
	if (packed < 0)
		return packed;
	for (n = 0; n < (int)q->limit && (t < tail || b < packed); n++) {
		if (b == packed ||
		    (t < tail && compare_rows(&w, &ix->from_tail[t],
					      &ix->from_blocks[b]) < 0))
			ret_rows[n] = ix->from_tail[t++];
		else
			ret_rows[n] = ix->from_blocks[b++];
	}
	return n;
}

/* --- all of it --- */

static int walk_tail(struct index_db *ix,
		     int (*each)(void *ctx, const struct store_fragment *f,
				 uint32_t first_segment),
		     void *ctx)
{
	uint8_t id[STREAM_ID_BYTES];
	struct store_fragment f;
	struct db_stmt *s;
	int r;

	r = db_prepare(ix->db, "SELECT " INDEX_COLUMNS ", first_segment, id"
			       " FROM fragments JOIN streams USING(sid)",
		       &s);
	if (r < 0)
		return r;
	while ((r = db_step(s)) == 1) {
		r = db_blob_exact(s, 12, id, sizeof(id));
		if (r == 0) {
			index_read_row(s, id, &f);
			r = each(ctx, &f, (uint32_t)db_int(s, 11));
		}
		if (r < 0)
			break;
	}
	(void)db_stmt_free(s);
	return r;
}

static int walk_blocks(struct index_db *ix,
		       int (*each)(void *ctx, const struct store_fragment *f,
				   uint32_t first_segment),
		       void *ctx)
{
	uint8_t id[STREAM_ID_BYTES];
	struct db_stmt *s;
	int count;
	int i;
	int r;

	r = db_prepare(ix->db, "SELECT rows, id FROM blocks JOIN streams"
			       " USING(sid)", &s);
	if (r < 0)
		return r;
	while ((r = db_step(s)) == 1) {
		size_t len = 0;
		const uint8_t *packed = db_blob(s, 0, &len);

		r = db_blob_exact(s, 1, id, sizeof(id));
		if (r < 0)
			break;
		count = index_block_unpack(packed, len, id, ix->rows);
		r = count < 0 ? -EUCLEAN : 0;
		for (i = 0; i < count && r == 0; i++)
			r = each(ctx, &ix->rows[i].f,
				 ix->rows[i].first_segment);
		if (r < 0)
			break;
	}
	(void)db_stmt_free(s);
	return r;
}

int index_rows(struct index_db *ix,
	       int (*each)(void *ctx, const struct store_fragment *f,
			   uint32_t first_segment),
	       void *ctx)
{
	int r = walk_tail(ix, each, ctx);

	return r < 0 ? r : walk_blocks(ix, each, ctx);
}
