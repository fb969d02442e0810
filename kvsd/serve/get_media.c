/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GetMedia: follows a stream from a place in its past into its present. The
 * next fragment is always the lowest number after the cursor among what the
 * store lists and what is live (serve/live.h), so that the seam between the
 * two is no seam.
 *
 *	SELECTING -> LOOKING <-> LISTING
 *		     LOOKING  -> STORED -> LOOKING
 *		     LOOKING  -> LIVE -> LOOKING
 *	LOOKING with nothing to send waits for live_reader.changed().
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/log.h"
#include "core/key_error.h"
#include "core/media_out.h"
#include "proto/fragment_number.h"
#include "serve/live.h"
#include "serve/operations.h"
#include "serve/paced_out.h"
#include "serve/server.h"
#include "serve/stored_out.h"

/* Of a fragment, sent at once: a frame may lie across two chunks. */
#define LIVE_PIECES 2u

enum reader_state {
	READER_SELECTING = 0,
	READER_LOOKING,
	READER_LISTING,
	READER_STORED,
	READER_LIVE,
	READER_ENDING,
};

enum start_type { START_NOW, START_EARLIEST, START_AFTER, START_TIME };

struct reader {
	struct exchange *ex;
	struct live_stream *live;
	struct live_reader events;
	enum reader_state state;
	enum start_type start;
	struct store_query query;    /* SELECTING and LISTING */
	struct store_fragment after; /* what query.after points to */
	struct store_op list_op;
	bool listing;
	struct store_fragment rows[READER_ROWS];
	unsigned int row_count;
	unsigned int row_next;
	bool more; /* the store may have rows */
	bool has_cursor;
	struct fragment_number cursor;
	bool missed_any;
	struct fragment_number missed; /* lowest committed since the last list
					* began; rows after it are void */
	struct stored_out out;
	struct live_fragment *fragment; /* LIVE */
	bool head_sent;
	uint64_t sent; /* of its media */
	bool resuming; /* the store goes on with what has begun: */
	struct fragment_number resumed;
	uint64_t resume; /* ... after so much of its media */
	struct paced_out paced;
	bool pumping;
	bool draining; /* the service stops: no fragment after this one */
};

static void pump(struct reader *r);

/* --- life
 * -------------------------------------------------------------------------- */

static void free_if_quiet(struct reader *r)
{
	if (exchange_alive(r->ex) && r->state != READER_ENDING)
		return;
	if (r->out.busy || r->listing || r->pumping)
		return;
	paced_out_fini(&r->paced);
	if (!list_empty(&r->events.link))
		r->ex->thread->metrics->readers--;
	live_reader_remove(r->live, &r->events);
	live_fragment_put(r->fragment);
	live_stream_put(r->live);
	stored_out_fini(&r->out);
	exchange_unref(r->ex);
	free(r);
}

static void end(struct reader *r)
{
	if (r->state == READER_ENDING)
		return;
	r->state = READER_ENDING;
	exchange_end_and_close(r->ex);
}

static void end_after_error(struct reader *r)
{
	exchange_call(r->ex)->fragments_tried++;
	end(r);
}

/* The client must not take what it has for a whole fragment. */
static void cut(struct reader *r, int why)
{
	exchange_call(r->ex)->fragments_tried++;
	r->state = READER_ENDING;
	r->ex->handler = NULL; /* closed() finds nothing left to end */
	exchange_cut(r->ex, why);
}

/* Ends with error tags; only between fragments. @number: NULL: of none. */
static void fail(struct reader *r, const struct fragment_number *number,
		 enum media_error error)
{
	char digits[FRAGMENT_NUMBER_CHARS + 1] = "";
	uint8_t bytes[MEDIA_OUT_TAGS_BYTES_MAX];
	struct buf out = {
		.data = bytes, .size = sizeof(bytes), .max = sizeof(bytes)};

	if (number)
		fragment_number_format(number, digits);
	if (media_out_error(&out, slice_of(digits), error) < 0 ||
	    exchange_write(r->ex, buf_head(&out), buf_len(&out)) < 0)
		cut(r, -EIO);
	else
		end_after_error(r);
}

/* --- numbers
 * ------------------------------------------------------------------------ */

static bool number_before(const struct fragment_number *a,
			  const struct fragment_number *b)
{
	return fragment_number_compare(a, b) < 0;
}

static void set_cursor(struct reader *r, const struct fragment_number *n)
{
	r->cursor = *n;
	r->has_cursor = true;
}

/* So that @n is the next one. */
static void set_cursor_before(struct reader *r, const struct fragment_number *n)
{
	r->has_cursor = n->seq != 0;
	r->cursor = (struct fragment_number){
		.seq = n->seq - r->has_cursor,
		.server_ms = UINT64_MAX,
		.random = (1u << FRAGMENT_RANDOM_BITS) - 1,
	};
}

static bool after_cursor(const struct reader *r,
			 const struct fragment_number *n)
{
	return !r->has_cursor || number_before(&r->cursor, n);
}

/* --- the store
 * ----------------------------------------------------------------------- */

/*
 * By what the stream's retention is now. An upload that is still storing when
 * it has become 0 goes on doing so: its rows stand in for the buffer then.
 */
static uint64_t not_before_ms(const struct reader *r)
{
	uint64_t now_ms = server_wall_ms(r->ex->thread);
	uint64_t keep_ms = r->live->retention_hours * 3600ull * 1000;

	keep_ms = keep_ms ? keep_ms : LIVE_BUFFER_NS_MAX / NS_PER_MS;
	return now_ms > keep_ms ? now_ms - keep_ms : 0;
}

static void set_query(struct reader *r, enum store_order order, bool descending,
		      uint32_t limit)
{
	struct exchange *ex = r->ex;

	r->query = (struct store_query){
		.order = order,
		.descending = descending,
		.to_ms = INT64_MAX,
		.not_before_ms = not_before_ms(r),
		.limit = limit,
	};
	memcpy(r->query.stream_id, ex->stream.store.id, STREAM_ID_BYTES);
}

static void list(struct reader *r, void (*done)(struct store_op *, int))
{
	r->listing = true;
	r->list_op.done = done;
	store_list(r->ex->thread->store, &r->query, r->rows, &r->list_op);
}

/*
 * Retention has dropped what the client is in the middle of, and may not take
 * for whole. Nothing can be said inside it; a new session goes on behind it.
 */
static bool resume_failed(const struct reader *r, int rows)
{
	return r->resuming &&
	       (!rows ||
		fragment_number_compare(&r->rows[0].number, &r->resumed) != 0);
}

static void rows_listed(struct store_op *op, int res)
{
	struct reader *r = container_of(op, struct reader, list_op);

	r->listing = false;
	if (!exchange_alive(r->ex) || r->state == READER_ENDING) {
		free_if_quiet(r);
		return;
	}
	r->state = READER_LOOKING;
	r->row_next = 0;
	r->row_count = res > 0 ? (unsigned int)res : 0;
	r->more = res > 0;
	if (res < 0)
		cut(r, res);
	else if (resume_failed(r, res))
		cut(r, -ENOENT);
	pump(r);
}

static void list_rows(struct reader *r)
{
	set_query(r, STORE_BY_NUMBER, false, READER_ROWS);
	if (r->has_cursor) {
		r->after = (struct store_fragment){.number = r->cursor};
		r->query.after = &r->after;
	}
	r->missed_any = false;
	r->state = READER_LISTING;
	list(r, rows_listed);
}

/* Fragments are committed in any order: a list may have the later one only. */
static void on_committed(struct live_reader *e, const struct fragment_number *n)
{
	struct reader *r = container_of(e, struct reader, events);

	if (!after_cursor(r, n) ||
	    (r->missed_any && !number_before(n, &r->missed)))
		return;
	r->missed = *n;
	r->missed_any = true;
}

/* Something was committed that no list of ours can have shown. */
static bool committed_since(const struct reader *r)
{
	return r->missed_any && after_cursor(r, &r->live->committed);
}

/* --- choosing the next fragment
 * ------------------------------------------------------- */

static void start_live(struct reader *r, struct live_fragment *f)
{
	live_fragment_ref(f);
	r->fragment = f;
	r->head_sent = false;
	r->sent = 0;
	r->out.frames = (struct mkv_frames){.skip = 0};
	r->state = READER_LIVE;
}

static void start_stored(struct reader *r)
{
	const struct store_fragment *row = &r->rows[r->row_next++];

	r->state = READER_STORED;
	if (r->resuming)
		stored_out_resume(&r->out, row, r->resume);
	else
		stored_out_begin(&r->out, row);
	r->resuming = false;
}

static bool readable(const struct live_fragment *f)
{
	return f && f->kept && !f->overflow;
}

/* Return: there is something to do; false: wait. */
static bool look(struct reader *r)
{
	struct live_fragment *f =
		live_next(r->live, r->has_cursor ? &r->cursor : NULL);

	if (r->row_next < r->row_count) {
		const struct store_fragment *row = &r->rows[r->row_next];

		if (r->missed_any && number_before(&r->missed, &row->number)) {
			list_rows(r);
			return false;
		}
		if (!f || !number_before(&f->view.number, &row->number)) {
			start_stored(r);
			return true;
		}
		/* An older one is still on its way, and goes first. */
	} else if (r->more || committed_since(r)) {
		list_rows(r);
		return false;
	}
	if (readable(f))
		start_live(r, f);
	else if (f && !f->stored)
		set_cursor(r, &f->view.number); /* cannot be had */
	return f && (readable(f) || !f->stored);
}

/* --- live
 * -------------------------------------------------------------------------------
 */

static void leave_live(struct reader *r)
{
	live_fragment_put(r->fragment);
	r->fragment = NULL;
	r->state = READER_LOOKING;
}

static int send_live_head(struct reader *r)
{
	const struct live_fragment *f = r->fragment;
	uint8_t bytes[MEDIA_OUT_TAGS_BYTES_MAX];
	struct buf out = {
		.data = bytes, .size = sizeof(bytes), .max = sizeof(bytes)};
	int e = media_out_before(&out, &f->view.number, f->view.server_ms,
				 f->view.producer_ms);

	r->head_sent = true;
	if (e == 0)
		e = exchange_write(r->ex, f->header, f->header_bytes);
	if (e == 0)
		e = exchange_write(r->ex, buf_head(&out), buf_len(&out));
	return e;
}

static int send_live_tail(struct reader *r)
{
	const struct live_fragment *f = r->fragment;
	uint64_t now_ms = server_wall_ms(r->ex->thread);
	uint64_t at_ms = f->view.server_ms;
	uint8_t bytes[MEDIA_OUT_TAGS_BYTES_MAX];
	struct buf out = {
		.data = bytes, .size = sizeof(bytes), .max = sizeof(bytes)};
	int e = media_out_after(&out, &f->view.number,
				now_ms > at_ms ? now_ms - at_ms : 0);

	set_cursor(r, &f->view.number);
	leave_live(r);
	exchange_count_fragment(r->ex);
	metric_time_add(&r->ex->thread->metrics->behind_now,
			now_ms > at_ms ? (now_ms - at_ms) * NS_PER_MS : 0);
	return e ? e : exchange_write(r->ex, buf_head(&out), buf_len(&out));
}

/*
 * The upload died in the middle of the fragment. A Cluster of unknown size
 * may end after any element, so the body stays well-formed.
 */
static void live_gone(struct reader *r)
{
	const struct live_fragment *f = r->fragment;

	if (r->head_sent && !(f->view.unknown_size && !f->overflow)) {
		cut(r, -ECONNRESET);
		return;
	}
	set_cursor(r, &f->view.number);
	leave_live(r);
}

/* The fragment is committed: the store goes on where we are. */
static void go_on_from_store(struct reader *r)
{
	r->resuming = r->head_sent;
	r->resume = r->sent;
	r->resumed = r->fragment->view.number;
	set_cursor_before(r, &r->resumed);
	r->row_count = 0;
	r->row_next = 0;
	r->more = true;
	leave_live(r);
}

/*
 * A client that is behind when its fragment is committed holds no memory of
 * ours but what is on its way.
 */
static void let_go(struct reader *r)
{
	if (r->state == READER_LIVE && r->fragment->stored &&
	    r->fragment->state == LIVE_COMMITTED)
		go_on_from_store(r);
}

/*
 * The rest was not kept, or others needed its memory. Return: as pump_live().
 */
static int live_lost(struct reader *r)
{
	const struct live_fragment *f = r->fragment;

	if (f->stored && f->state == LIVE_COMMITTED) {
		go_on_from_store(r);
		return 1;
	}
	if (r->head_sent)
		return -ENOBUFS;
	set_cursor(r, &f->view.number);
	leave_live(r);
	return 1;
}

/* What may be sent now, from where it lies. Return: how many pieces. */
static size_t live_pieces(struct reader *r, struct iovec *pieces)
{
	size_t count;

	for (count = 0; count < LIVE_PIECES; count++) {
		const uint8_t *bytes;
		size_t n = live_peek(r->fragment, r->sent, &bytes);

		if (!n)
			break;
		pieces[count].iov_base = (void *)(uintptr_t)bytes;
		pieces[count].iov_len = n;
		r->sent += n;
	}
	return count;
}

static int send_pieces(struct reader *r, const struct iovec *pieces,
		       size_t count)
{
	int e = exchange_write_pieces(r->ex, pieces, count);
	size_t i;

	for (i = 0; e >= 0 && i < count; i++)
		stored_out_count(&r->out, pieces[i].iov_base,
				 pieces[i].iov_len);
	return e;
}

/* All of its media is sent, and no more comes. */
static bool may_end(const struct reader *r)
{
	const struct live_fragment *f = r->fragment;

	return f->state != LIVE_OPEN && f->state != LIVE_GONE &&
	       r->sent == f->media_bytes;
}

/* Return: 1 go on, 0 wait, or the connection's error. */
static int pump_live(struct reader *r)
{
	struct live_fragment *f = r->fragment;
	struct iovec pieces[LIVE_PIECES];
	size_t count;
	int e;

	/* Its end needs nothing of what was kept. */
	if (f->revoked && !(r->head_sent && may_end(r)))
		return live_lost(r);
	if (f->timed && !r->head_sent) {
		e = send_live_head(r);
		return e < 0 ? e : 1;
	}
	count = f->timed ? live_pieces(r, pieces) : 0;
	if (count) {
		e = send_pieces(r, pieces, count);
		return e < 0 ? e : 1;
	}
	if (f->state == LIVE_GONE) {
		live_gone(r);
		return 1;
	}
	if (may_end(r)) {
		e = send_live_tail(r);
		return e < 0 ? e : 1;
	}
	return f->overflow && f->state == LIVE_COMMITTED ? live_lost(r) : 0;
}

/* --- the pump
 * -------------------------------------------------------------------------- */

/* Return: 1 go on, 0 wait. */
static int pump_stored(struct reader *r)
{
	int e = stored_out_pump(&r->out);

	if (e == 0)
		return 0;
	if (e == 1 || (e == -ENOENT && !r->out.sent)) {
		/* Expired between the list and the read: not there any more. */
		if (e == 1) {
			exchange_count_fragment(r->ex);
			metric_time_add(&r->ex->thread->metrics->behind_now,
					stored_out_behind_ns(&r->out));
		}
		set_cursor(r, &r->out.row.number);
		r->state = READER_LOOKING;
		return 1;
	}
	log_warn("serve", "stream %s: reading a fragment: %s",
		 r->ex->stream.name, strerror(-e));
	if (r->out.sent)
		cut(r, e);
	else
		fail(r, &r->out.row.number, MEDIA_ERROR_INTERNAL);
	return 0;
}

static int step(struct reader *r)
{
	int e;

	switch (r->state) {
	case READER_LOOKING:
		if (!r->draining || r->resuming)
			return look(r);
		end(r);
		return 0;
	case READER_STORED:
		return pump_stored(r);
	case READER_LIVE:
		e = pump_live(r);
		if (e < 0)
			cut(r, e);
		return e > 0;
	case READER_SELECTING:
	case READER_LISTING:
	case READER_ENDING:
		break;
	}
	return 0;
}

static void paced(struct paced_out *p)
{
	pump(container_of(p, struct reader, paced));
}

/* Return: more may be sent. */
static bool within_pace(struct reader *r)
{
	int e = paced_out_room(&r->paced);

	if (e < 0)
		cut(r, e);
	return e > 0;
}

/* Runs until it has to wait for the store, the client or the stream. */
static void pump(struct reader *r)
{
	if (r->pumping)
		return;
	r->pumping = true;
	while (exchange_alive(r->ex) &&
	       exchange_backlog(r->ex) < OUTPUT_BYTES_MAX && within_pace(r) &&
	       step(r))
		;
	if (exchange_alive(r->ex))
		let_go(r);
	r->pumping = false;
	free_if_quiet(r);
}

static void on_wake(struct stored_out *so)
{
	pump(container_of(so, struct reader, out));
}

static void on_changed(struct live_reader *e)
{
	struct reader *r = container_of(e, struct reader, events);

	if (r->state == READER_LOOKING || r->state == READER_LIVE)
		pump(r);
}

static void on_deleted(struct live_reader *e)
{
	struct reader *r = container_of(e, struct reader, events);

	end(r);
	free_if_quiet(r);
}

static void on_drained(struct exchange *ex)
{
	pump(ex->state_of_op);
}

static void on_closed(struct exchange *ex)
{
	free_if_quiet(ex->state_of_op);
}

/*
 * Between fragments the body may end. One that has begun may end first, as
 * long as the service waits; then it is cut.
 */
static void on_stop(struct exchange *ex)
{
	struct reader *r = ex->state_of_op;
	bool inside = (r->state == READER_STORED && r->out.sent) ||
		      (r->state == READER_LIVE && r->head_sent) || r->resuming;

	if (!inside)
		end(r);
	else if (ex->thread->finishing)
		cut(r, -ECANCELED);
	else
		r->draining = true;
	free_if_quiet(r);
}

static const struct exchange_handler handler = {
	.drained = on_drained,
	.stop = on_stop,
	.closed = on_closed,
};

/* --- the start
 * ------------------------------------------------------------------------- */

/*
 * The newest that began at @at_ms or before, of the store's @row (NULL: none)
 * and what is live. In a gap after it: the next one.
 */
static void select_time(struct reader *r, enum store_order order,
			uint64_t at_ms, const struct store_fragment *row)
{
	bool producer = order == STORE_BY_PRODUCER_TIME;
	struct live_fragment *f = live_at(r->live, producer, at_ms);
	const struct fragment_number *n = NULL;
	uint64_t began_ms = 0;
	uint64_t ends_ms = 0;

	if (row) {
		n = &row->number;
		began_ms = producer ? row->producer_ms : row->server_ms;
		ends_ms = began_ms + row->duration_ms;
	}
	if (f && live_began_ms(f, producer) >= began_ms) {
		n = &f->view.number;
		/* None is so long. */
		ends_ms = live_began_ms(f, producer) +
			  FRAGMENT_DURATION_MS_MAX - 1;
	}
	if (n && ends_ms >= at_ms)
		set_cursor_before(r, n);
	else if (n)
		set_cursor(r, n);
}

static void selected(struct store_op *op, int res)
{
	struct reader *r = container_of(op, struct reader, list_op);

	r->listing = false;
	if (!exchange_alive(r->ex) || r->state == READER_ENDING) {
		free_if_quiet(r);
		return;
	}
	if (res >= 0 && r->start == START_TIME)
		select_time(r, r->query.order, r->query.to_ms,
			    res ? &r->rows[0] : NULL);
	else if (res > 0)
		set_cursor_before(r, &r->rows[0].number);
	if (res < 0)
		cut(r, res);
	else
		r->state = READER_LOOKING;
	pump(r);
}

static void select_start(struct reader *r, enum store_order order,
			 uint64_t at_ms)
{
	struct live_fragment *f = live_newest(r->live);
	bool stored = r->live->stored || r->live->retention_hours;

	r->more = stored;
	r->state = READER_LOOKING;
	if (r->start == START_NOW && f) {
		set_cursor_before(r, &f->view.number);
		/* One after it may have been committed already. */
		r->more = r->live->any_committed &&
			  after_cursor(r, &r->live->committed);
	}
	if (stored &&
	    ((r->start == START_NOW && !f) || r->start == START_TIME)) {
		set_query(r, order, true, 1);
		if (r->start == START_TIME)
			r->query.to_ms = at_ms;
		r->state = READER_SELECTING;
		list(r, selected);
		return;
	}
	if (r->start == START_TIME)
		select_time(r, order, at_ms, NULL);
	pump(r);
}

struct selector {
	enum start_type type;
	enum store_order order;
	uint64_t at_ms;
	struct fragment_number after;
};

static int after_number(struct exchange *ex, const json_t *object,
			const char *name, struct selector *s)
{
	struct slice digits;
	int r = operation_string(ex, object, name, &digits);

	if (r < 0)
		return r;
	s->type = START_AFTER;
	if (r == 0 || fragment_number_parse(digits, &s->after) < 0) {
		exchange_bad_argument(ex, "StartSelector needs a fragment "
					  "number or token of this stream.");
		return -EINVAL;
	}
	return 0;
}

static int at_time(struct exchange *ex, const json_t *object,
		   enum store_order order, struct selector *s)
{
	int r = operation_time(ex, object, "StartTimestamp", &s->at_ms);

	if (r < 0)
		return r;
	s->type = START_TIME;
	s->order = order;
	if (r == 0) {
		exchange_bad_argument(ex, "StartSelector needs a "
					  "StartTimestamp.");
		return -EINVAL;
	}
	return 0;
}

static int read_selector(struct exchange *ex, struct selector *s)
{
	const json_t *object;
	struct slice type;
	int r = operation_object(ex, ex->json, "StartSelector", &object);

	if (r > 0)
		r = operation_string(ex, object, "StartSelectorType", &type);
	if (r < 0)
		return r;
	*s = (struct selector){.type = START_NOW};
	if (r && slice_is(type, "NOW"))
		return 0;
	s->type = START_EARLIEST;
	if (r && slice_is(type, "EARLIEST"))
		return 0;
	if (r && slice_is(type, "FRAGMENT_NUMBER"))
		return after_number(ex, object, "AfterFragmentNumber", s);
	if (r && slice_is(type, "CONTINUATION_TOKEN"))
		return after_number(ex, object, "ContinuationToken", s);
	if (r && slice_is(type, "SERVER_TIMESTAMP"))
		return at_time(ex, object, STORE_BY_SERVER_TIME, s);
	if (r && slice_is(type, "PRODUCER_TIMESTAMP"))
		return at_time(ex, object, STORE_BY_PRODUCER_TIME, s);
	exchange_bad_argument(ex, "StartSelector with a StartSelectorType is "
				  "required.");
	return -EINVAL;
}

static int reader_new(struct exchange *ex, struct reader **ret_reader)
{
	struct reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->ex = ex;
	paced_out_init(&r->paced, ex, paced);
	r->events.changed = on_changed;
	r->events.committed = on_committed;
	r->events.deleted = on_deleted;
	list_init(&r->events.link);
	r->live = live_stream_get(&ex->thread->live, ex->stream.store.id,
				  ex->stream.retention_hours);
	if (!r->live || stored_out_init(&r->out, ex, true, on_wake) < 0) {
		live_stream_put(r->live);
		free(r);
		return -ENOMEM;
	}
	exchange_ref(ex);
	*ret_reader = r;
	return 0;
}

static void discard(struct reader *r)
{
	r->state = READER_ENDING;
	free_if_quiet(r);
}

void get_media_run(struct exchange *ex)
{
	struct selector s;
	struct reader *r;

	if (read_selector(ex, &s) < 0)
		return;
	if (reader_new(ex, &r) < 0) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	if (r->live->deleted) {
		discard(r);
		exchange_no_stream(ex);
		return;
	}
	if (r->live->reader_count >= ex->thread->limits.readers) {
		discard(r);
		exchange_error(ex, 400, "ConnectionLimitExceededException",
			       "Too many readers of this stream.");
		return;
	}
	live_reader_add(r->live, &r->events);
	ex->thread->metrics->readers++;
	r->start = s.type;
	if (s.type == START_AFTER)
		set_cursor(r, &s.after);
	/* After a failed write closed() follows. */
	(void)!exchange_begin(ex, "video/x-matroska", EXCHANGE_CHUNKED,
			      &handler, r);
	if (ex->stream.key_error) {
		fail(r, NULL,
		     (enum media_error)key_error_ack(ex->stream.key_error));
		free_if_quiet(r);
		return;
	}
	select_start(r, s.type == START_TIME ? s.order : STORE_BY_NUMBER,
		     s.at_ms);
}
