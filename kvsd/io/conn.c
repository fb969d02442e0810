/* SPDX-License-Identifier: Apache-2.0 */
#include "io/conn_int.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "io/resolve.h"
#include "io/tls.h"

#define RECORD_BYTES (16u << 10) /* RFC 8446 section 5.1 */
#define RECV_BYTES_OWN (256u << 10)
#define RECV_BYTES_SMALL (64u << 10) /* where all keep too much */
/* After so many its receives are large, into the same warm memory each time. */
#define RECV_FULL_FAST 8u
#define IN_BYTES_MIN ((size_t)512)
#define OUT_BYTES_KEPT (1u << 10)
#define RECORD_EXTRA_BYTES 64u /* header, tag and padding: 22 to 29 */
/* So much does not wait for the end of the turn. */
#define SEND_NOW_BYTES RECORD_BYTES
#define OUT_BYTES_SPARE (128u << 10)
#define LINGER_NS_MAX (2 * NS_PER_S)
#define LOST_NS_MAX (10 * NS_PER_S)
/* Where all keep too much: one goes on up to here. */
#define KEPT_BYTES_SMALL (2 * TLS_READ_BYTES)

static void recv_done(struct loop_op *op, int res);
static void timer_update(struct conn *c);
static void move_when_quiet(struct conn *c);
static void send_start(struct conn *c);
static void settle(struct conn *c);

/* --- memory for what was received
 * ---------------------------------------------------------------- */

static void count_kept(struct conn *c, size_t bytes)
{
	c->loop->kept_bytes += bytes;
	c->loop->kept_bytes -= c->counted;
	c->counted = bytes;
}

static size_t kept(const struct conn *c)
{
	return buf_len(&c->in) + buf_len(&c->plain);
}

/* All of the loop together keep more than they may. */
static bool crowded(const struct conn *c)
{
	return c->loop->kept_bytes > LOOP_KEPT_BYTES_MAX;
}

/* The handler is behind: nothing is received until conn_resume(). */
static bool behind(const struct conn *c)
{
	return buf_len(&c->plain) + TLS_READ_BYTES >
	       (crowded(c) ? KEPT_BYTES_SMALL : CONN_PLAIN_BYTES_MAX);
}

/*
 * What a handler leaves is little or nothing, so the memory for plaintext goes
 * from connection to connection; an idle one has what it keeps.
 */
static void plain_take(struct conn *c)
{
	size_t len = buf_len(&c->plain);
	uint8_t *spare;
	size_t size;

	if (c->plain.size >= TLS_READ_BYTES)
		return;
	spare = loop_spare_take(c->loop, &size);
	if (!spare || size < len) {
		free(spare);
		return;
	}
	if (len)
		memcpy(spare, buf_head(&c->plain), len);
	free(c->plain.data);
	c->plain.data = spare;
	c->plain.start = 0;
	c->plain.end = len;
	c->plain.size = size;
}

static void plain_give(struct conn *c)
{
	size_t len = buf_len(&c->plain);
	struct buf own;

	if (len > c->plain.size / (crowded(c) ? 1 : 4))
		return;
	if (c->plain.size < TLS_READ_BYTES) {
		if (!len)
			buf_fini(&c->plain);
		return;
	}
	buf_init(&own, CONN_PLAIN_BYTES_MAX);
	if (buf_add(&own, buf_head(&c->plain), len) < 0)
		return; /* it stays where it is */
	loop_spare_give(c->loop, c->plain.data, c->plain.size);
	c->plain = own;
}

/* --- the end
 * ------------------------------------------------------------------ */

void conn_finish(struct conn *c)
{
	if (c->state != CONN_OVER || c->closed_told || c->processing)
		return;
	if (c->moving_to) {
		/* Its owner has gone ahead: it hears of the end there. */
		move_when_quiet(c);
		return;
	}
	if (loop_op_busy(&c->recv_op) || loop_op_busy(&c->send_op))
		return;
	c->closed_told = true;
	loop_timer_cancel(c->loop, &c->timer);
	loop_timer_cancel(c->loop, &c->kick);
	sys_close(c->sys, &c->fd);
	count_kept(c, 0);
	c->handler->closed(c, c->ctx, c->why);
}

static void drained(struct conn *c)
{
	c->drained_due = false;
	if (c->state == CONN_OPEN && !c->lost && !conn_backlog(c) &&
	    c->handler->drained)
		c->handler->drained(c, c->ctx);
}

static void kick_fired(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, kick);

	if (c->state == CONN_OVER) {
		conn_finish(c);
		return;
	}
	if (c->drained_due && !c->moving_to)
		drained(c);
	conn_process(c);
}

static void kick(struct conn *c)
{
	/* Arming cannot fail: the slot was reserved at creation. */
	if (!loop_timer_armed(&c->kick))
		(void)!loop_timer_set(c->loop, &c->kick, 0, kick_fired);
}

void conn_over(struct conn *c, int why)
{
	if (c->state == CONN_OVER)
		return;
	c->state = CONN_OVER;
	c->why = why;
	if (c->resolve && c->resolve->owner) {
		resolve_cancel(c->resolve);
		c->resolve = NULL;
	}
	loop_cancel(c->loop, &c->recv_op);
	loop_cancel(c->loop, &c->send_op);
	kick(c);
}

void conn_set_reason(struct conn *c, const char *text)
{
	if (!c->reason[0])
		(void)snprintf(c->reason, sizeof(c->reason), "%s", text);
}

/* --- deadlines
 * ---------------------------------------------------------------- */

static void timer_fired(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, timer);
	uint64_t at = MIN(c->deadline_ns, c->stall_ns);

	if (c->state == CONN_OVER)
		return;
	if (c->lingering && at <= loop_now_ns(c->loop)) {
		conn_over(c, c->why);
		return;
	}
	if (at > loop_now_ns(c->loop)) {
		(void)!loop_timer_set(c->loop, t, at, timer_fired);
		return;
	}
	conn_set_reason(c, c->stall_ns == at ? "the peer takes no data"
					     : "the deadline passed");
	conn_over(c, c->lost ? c->lost : -ETIMEDOUT);
}

/*
 * Deadlines mostly move later: the timer is left to fire early and re-arms
 * itself, so moving one costs nothing.
 */
static void timer_update(struct conn *c)
{
	uint64_t at = MIN(c->deadline_ns, c->stall_ns);

	if (c->state == CONN_OVER || at == UINT64_MAX)
		return;
	if (!loop_timer_armed(&c->timer) || c->timer.expires_ns > at)
		(void)!loop_timer_set(c->loop, &c->timer, at, timer_fired);
}

void conn_lowat(struct conn *c, size_t bytes)
{
	const int least = (int)MIN(bytes, (size_t)INT_MAX);

	if (c->fd >= 0)
		(void)c->sys->setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &least,
					 sizeof(least));
}

void conn_deadline(struct conn *c, uint64_t at_ns)
{
	c->deadline_ns = at_ns;
	timer_update(c);
}

/*
 * Nothing can be sent any more. What was received before is used first, if
 * somebody wants it: settle() sees to the end.
 */
static void lost(struct conn *c, int why)
{
	if (c->state != CONN_OPEN || c->moving_to) {
		conn_over(c, why);
		return;
	}
	if (c->lost)
		return;
	c->lost = why;
	buf_reset(&c->out);
	c->stall_ns = loop_now_ns(c->loop) + LOST_NS_MAX;
	timer_update(c);
}

bool conn_lost(const struct conn *c)
{
	return c->lost != 0;
}

static bool wanted(const struct conn *c)
{
	return !c->lost || (c->handler->wants && c->handler->wants(c, c->ctx));
}

int conn_timers_reserve(struct conn *c)
{
	int r;

	r = loop_timer_set(c->loop, &c->timer, UINT64_MAX, timer_fired);
	if (r == 0)
		r = loop_timer_set(c->loop, &c->kick, UINT64_MAX, kick_fired);
	loop_timer_cancel(c->loop, &c->timer);
	loop_timer_cancel(c->loop, &c->kick);
	return r;
}

/* --- sending
 * ------------------------------------------------------------------- */

/*
 * After the last byte of ours the peer may still be sending. Closing a socket
 * with unread input resets the connection, and the reset can overtake what we
 * just said (an ERROR ack, say); so its input is read and thrown away until it
 * ends, for a bounded time.
 */
static void linger(struct conn *c)
{
	if (c->peer_ended) {
		conn_over(c, c->why);
		return;
	}
	c->deadline_ns =
		MIN(c->deadline_ns, loop_now_ns(c->loop) + LINGER_NS_MAX);
	c->lingering = true;
	timer_update(c);
	kick(c);
}

static void flushed(struct conn *c)
{
	c->stall_ns = UINT64_MAX;
	if (c->state == CONN_FLUSHING)
		linger(c);
	else
		drained(c);
}

/* Large ones go to who writes next. */
static void out_give(struct conn *c, struct buf *b)
{
	if (b->size > OUT_BYTES_KEPT && b->size <= OUT_BYTES_SPARE) {
		loop_spare_give(c->loop, b->data, b->size);
		buf_init(b, b->max);
	} else if (b->size > OUT_BYTES_KEPT) {
		buf_fini(b);
	}
}

/* All of it is with the kernel: small buffers stay for the next answer. */
static void out_trim(struct conn *c)
{
	if (buf_len(&c->out) || buf_len(&c->sending))
		return;
	out_give(c, &c->out);
	out_give(c, &c->sending);
}

/* Room for all that is about to be written, so that it never moves. */
static void out_take(struct conn *c, const struct iovec *parts, size_t count)
{
	size_t want = 0;
	size_t i;

	for (i = 0; i < count; i++)
		want += parts[i].iov_len;
	want += (want / RECORD_BYTES + 1) * RECORD_EXTRA_BYTES;
	if (!c->out.data && want > OUT_BYTES_KEPT)
		c->out.data = loop_spare_take(c->loop, &c->out.size);
	/* Where there is none, the first record finds out. */
	if (want <= buf_room(&c->out) && !buf_reserve(&c->out, want))
		c->out.failed = false;
}

static void send_done(struct loop_op *op, int res)
{
	struct conn *c = container_of(op, struct conn, send_op);

	if (c->state == CONN_OVER) {
		conn_finish(c);
		return;
	}
	if (res <= 0) {
		conn_set_reason(c, "sending failed");
		lost(c, res ? res : -EPIPE);
	}
	if (c->lost) {
		buf_reset(&c->sending);
		settle(c);
	}
	if (res <= 0 || c->lost)
		return;
	buf_consume(&c->sending, (size_t)res);
	c->stall_ns = loop_now_ns(c->loop) + SEND_STALL_NS_MAX;
	out_trim(c);
	if (buf_len(&c->sending) || buf_len(&c->out))
		send_start(c);
	else if (c->moving_to)
		move_when_quiet(c);
	else
		flushed(c);
}

/*
 * What is large is copied by the kernel while it is warm, and its memory is
 * there for the next connection: two hundred viewers of a frame are not two
 * hundred buffers. What the kernel does not take is sent as usual.
 */
static void send_now(struct conn *c)
{
	if (buf_len(&c->out) < SEND_NOW_BYTES || buf_len(&c->sending) ||
	    loop_op_busy(&c->send_op))
		return;
	buf_consume(&c->out, loop_send_now(c->loop, c->fd, buf_head(&c->out),
					   buf_len(&c->out)));
	if (buf_len(&c->out))
		return;
	out_trim(c);
	c->drained_due = true;
	kick(c);
}

static void send_start(struct conn *c)
{
	if (c->lost)
		buf_reset(&c->out);
	if (loop_op_busy(&c->send_op) || c->state < CONN_HANDSHAKE ||
	    c->state == CONN_OVER)
		return;
	if (!buf_len(&c->sending)) {
		struct buf empty = c->sending;

		if (!buf_len(&c->out))
			return;
		c->sending = c->out;
		c->out = empty;
		buf_reset(&c->out);
	}
	if (c->stall_ns == UINT64_MAX) {
		c->stall_ns = loop_now_ns(c->loop) + SEND_STALL_NS_MAX;
		timer_update(c);
	}
	loop_send(c->loop, &c->send_op, c->fd, buf_head(&c->sending),
		  buf_len(&c->sending), send_done);
}

/*
 * Small parts are gathered so that a chunk header, a block header and the
 * payload's beginning share a record; whole records go from the caller's
 * memory.
 */
static int write_parts(struct conn *c, const struct iovec *parts, size_t count)
{
	uint8_t staged[RECORD_BYTES];
	size_t used = 0;
	size_t i;
	int r;

	for (i = 0; i < count; i++) {
		const uint8_t *p = parts[i].iov_base;
		size_t len = parts[i].iov_len;

		while (len) {
			size_t n = MIN(len, sizeof(staged) - used);

			if (!used && len >= sizeof(staged)) {
				n = len - len % sizeof(staged);
				r = tls_write(c->tls, &c->in, &c->out, p, n);
				if (r < 0)
					return r;
			} else {
				memcpy(staged + used, p, n);
				used += n;
			}
			p += n;
			len -= n;
			if (used < sizeof(staged))
				continue;
			r = tls_write(c->tls, &c->in, &c->out, staged, used);
			if (r < 0)
				return r;
			used = 0;
		}
	}
	return used ? tls_write(c->tls, &c->in, &c->out, staged, used) : 0;
}

int conn_write(struct conn *c, const struct iovec *parts, size_t count)
{
	int r;

	if (c->state != CONN_OPEN || c->lost)
		return -EPIPE;
	out_take(c, parts, count);
	r = write_parts(c, parts, count);
	if (r < 0) {
		/* Half a record may be queued: nothing more can follow it. */
		conn_set_reason(c, r == -ENOBUFS ? "output limit reached"
						 : tls_reason(c->tls));
		conn_over(c, r);
		return r == -ENOBUFS ? r : -EPIPE;
	}
	send_now(c);
	send_start(c);
	return 0;
}

size_t conn_backlog(const struct conn *c)
{
	return buf_len(&c->out) + buf_len(&c->sending);
}

size_t conn_kept(const struct conn *c)
{
	return buf_len(&c->plain);
}

/* --- receiving
 * ------------------------------------------------------------------ */

static void handshake_done(struct conn *c)
{
	c->state = CONN_OPEN;
	c->handler->ready(c, c->ctx);
}

static void handshake(struct conn *c)
{
	int r = tls_handshake(c->tls, &c->in, &c->out);

	send_start(c);
	if (r < 0) {
		conn_set_reason(c, tls_reason(c->tls));
		/* Let the alert leave before the socket goes. */
		c->why = r;
		if (buf_len(&c->out) || buf_len(&c->sending))
			c->state = CONN_FLUSHING;
		else
			conn_over(c, r);
	} else if (r == 1) {
		handshake_done(c);
	}
}

/*
 * What TLS has to say of a record that it refuses is the last that is sent.
 * Behind a send that is under way it would wait for the peer, and is left out.
 */
static void say_refused(struct conn *c)
{
	if (c->state == CONN_OPEN && !c->moving_to && !buf_len(&c->sending) &&
	    buf_len(&c->out) && !loop_op_busy(&c->send_op))
		(void)loop_send_now(c->loop, c->fd, buf_head(&c->out),
				    buf_len(&c->out));
}

/* Decrypts until @in is used up or enough is kept. Returns false at the end. */
static bool decrypt(struct conn *c)
{
	while (buf_len(&c->plain) + TLS_READ_BYTES <= CONN_PLAIN_BYTES_MAX) {
		uint8_t *p = buf_reserve(&c->plain, TLS_READ_BYTES);
		int n;

		if (!p) {
			conn_over(c, -ENOMEM);
			return false;
		}
		n = tls_read(c->tls, &c->in, &c->out, p);
		if (n > 0) {
			buf_commit(&c->plain, (size_t)n);
			continue;
		}
		if (n == -EPIPE)
			c->peer_ended = true;
		if (c->peer_ended && (n == 0 || n == -EPIPE))
			buf_reset(&c->in); /* nothing more belongs to it */
		if (n == 0 || n == -EPIPE)
			return false;
		conn_set_reason(c, tls_reason(c->tls));
		say_refused(c);
		c->peer_ended = true; /* what follows cannot be read */
		buf_reset(&c->in);
		loop_cancel(c->loop, &c->recv_op);
		lost(c, n);
		return false;
	}
	return true;
}

/* Offers what is decrypted. Returns true when the handler used some of it. */
static bool offer(struct conn *c)
{
	size_t len = buf_len(&c->plain);
	size_t used;

	if (!len)
		return false;
	used = c->handler->data(c, c->ctx, buf_head(&c->plain), len);
	assert(used <= len);
	buf_consume(&c->plain, used);
	return used > 0;
}

/* Not before the handler has been offered all that came first. */
static void tell_ended(struct conn *c)
{
	if (!c->peer_ended || c->ended_told || c->state != CONN_OPEN ||
	    c->lost || buf_len(&c->in))
		return;
	c->ended_told = true;
	if (c->handler->ended)
		c->handler->ended(c, c->ctx);
	else
		conn_close(c);
}

/* FLUSHING: input only matters for where it ends. */
static void discard(struct conn *c)
{
	if (c->why) {
		buf_reset(&c->in); /* no session to decrypt with */
	} else {
		do {
			buf_reset(&c->plain);
		} while (decrypt(c));
		buf_reset(&c->plain);
	}
	if (c->peer_ended && c->lingering)
		conn_over(c, c->why);
}

/*
 * Leaves this loop once nothing of it is in flight: an answer that the client
 * has read may still wait for its completion here, and a receive is called
 * back (what it got goes along).
 */
static void move_when_quiet(struct conn *c)
{
	if (loop_op_busy(&c->recv_op)) {
		loop_cancel(c->loop, &c->recv_op);
		return;
	}
	if (loop_op_busy(&c->send_op) ||
	    (c->state == CONN_OPEN && conn_backlog(c)))
		return;
	c->stall_ns = UINT64_MAX;
	count_kept(c, 0);
	loop_timer_cancel(c->loop, &c->timer);
	loop_timer_cancel(c->loop, &c->kick);
	loop_post(c->moving_to, &c->move_task);
}

/* On what is in @c->in. */
static void work(struct conn *c)
{
	bool more = true;

	c->processing = true;
	plain_take(c);
	if (c->state == CONN_HANDSHAKE)
		handshake(c);
	while (more && c->state == CONN_OPEN && !c->moving_to && wanted(c)) {
		bool full = decrypt(c);

		if (c->state != CONN_OPEN || !wanted(c))
			break;
		more = offer(c) && (full || buf_len(&c->plain));
	}
	c->processing = false;
	if (!c->moving_to && c->state == CONN_FLUSHING)
		discard(c);
	plain_give(c);
}

static void settle(struct conn *c)
{
	count_kept(c, c->in.size + c->plain.size);
	if (c->lost && !(wanted(c) && (kept(c) || !c->peer_ended)))
		conn_over(c, c->lost);
	send_start(c); /* what TLS itself had to say */
	if (c->moving_to) {
		move_when_quiet(c);
		return;
	}
	tell_ended(c);
	conn_recv_start(c);
	if (c->state == CONN_OVER)
		kick(c);
}

/*
 * Into @c->in. Its size is a power of two and is doubled: what a turn brings is
 * kept in no more than that takes.
 */
static int keep_arrived(struct conn *c, const uint8_t *bytes, size_t len)
{
	size_t size = IN_BYTES_MIN;

	while (size < len)
		size *= 2;
	if (!c->in.data && len && !buf_reserve(&c->in, MIN(size, c->in.max)))
		return -ENOMEM;
	return buf_add(&c->in, bytes, len);
}

/* A part of a record does not hold the memory of a large receive. */
static void in_shrink(struct conn *c)
{
	struct buf large = c->in;

	if (large.size <= 2 * TLS_READ_BYTES || large.size / 4 < buf_len(&large))
		return;
	buf_init(&c->in, IN_BYTES_MAX);
	if (keep_arrived(c, buf_head(&large), buf_len(&large)) < 0) {
		buf_fini(&c->in);
		c->in = large; /* it stays where it is */
		return;
	}
	buf_fini(&large);
}

void conn_process(struct conn *c)
{
	if (c->processing || c->moving_to)
		return;
	work(c);
	if (!c->recv_own && c->recv_full < RECV_FULL_FAST) {
		if (!buf_len(&c->in))
			buf_fini(&c->in);
		in_shrink(c);
	}
	settle(c);
}

/* A part of a record waits in @c->in: with what it lacks, that is read. */
static int complete_record(struct conn *c, const uint8_t **bytes, size_t *len)
{
	size_t missing = 0;
	int r = 0;

	if (!buf_len(&c->in) || c->moving_to || !tls_missing(c->tls, &c->in))
		return 0;
	/* Its head first, which says how long it is. */
	while (r == 0 && *len && (missing = tls_missing(c->tls, &c->in))) {
		size_t n = MIN(*len, missing);

		r = buf_add(&c->in, *bytes, n);
		*bytes += n;
		*len -= n;
		missing -= n;
	}
	if (r == 0 && !missing)
		work(c);
	if (!buf_len(&c->in))
		buf_fini(&c->in);
	return r;
}

/*
 * The loop's memory stands in for @c->in, which mostly never has any: nothing
 * is added to it meanwhile, only used up. What is left is kept.
 */
static int take_arrived(struct conn *c, const uint8_t *bytes, size_t len)
{
	struct buf rest;
	int r = complete_record(c, &bytes, &len);

	if (r < 0 || !len || c->state == CONN_OVER)
		return r;
	if (c->moving_to || buf_len(&c->in)) {
		r = keep_arrived(c, bytes, len);
		if (r == 0 && !c->moving_to)
			work(c);
		return r;
	}
	buf_fini(&c->in);
	c->in.data = (uint8_t *)(uintptr_t)bytes;
	c->in.end = len;
	c->in.size = len;
	work(c);
	rest = c->in;
	buf_init(&c->in, IN_BYTES_MAX);
	if (c->state == CONN_OVER)
		return 0;
	return keep_arrived(c, buf_head(&rest), buf_len(&rest));
}

static void received(struct conn *c, const uint8_t *bytes, size_t len)
{
	int r = take_arrived(c, bytes, len);

	if (r < 0)
		conn_over(c, r);
	settle(c);
}

static void recv_learn(struct conn *c, bool own, int res)
{
	if (res < 0)
		return; /* says nothing of the peer */
	if (res < (int)LOOP_RECV_BYTES)
		c->recv_full = 0;
	else if (!own)
		c->recv_full++;
}

static void recv_done(struct loop_op *op, int res)
{
	struct conn *c = container_of(op, struct conn, recv_op);
	bool own = c->recv_own;

	c->recv_own = false;
	if (c->state == CONN_OVER) {
		conn_finish(c);
		return;
	}
	/* Called back by ourselves, or it has to be started again. */
	if (res < 0 && res != -ECANCELED && res != -ENOBUFS && res != -EAGAIN) {
		conn_set_reason(c, "receiving failed");
		c->peer_ended = true;
		lost(c, c->lingering ? c->why : res);
	}
	if (res == 0) {
		c->peer_ended = true;
		if (c->state == CONN_HANDSHAKE) {
			conn_set_reason(c, "the peer closed the connection");
			conn_over(c, -ECONNRESET);
			return;
		}
	}
	recv_learn(c, own, res);
	if (own && res > 0)
		buf_commit(&c->in, (size_t)res);
	if (!own && res > 0)
		received(c, op->bytes, (size_t)res);
	else if (c->moving_to)
		move_when_quiet(c);
	else
		conn_process(c);
}

/* Called back: what it has got by then still comes. */
static void recv_stop(struct conn *c)
{
	if (!c->recv_stopping)
		loop_cancel(c->loop, &c->recv_op);
	c->recv_stopping = true;
}

/*
 * Into memory of the connection's own, which nothing may move meanwhile, behind
 * the part of a record that may be there. Return: there is such memory.
 */
static bool recv_own_start(struct conn *c)
{
	size_t bytes = crowded(c) ? RECV_BYTES_SMALL : RECV_BYTES_OWN;
	size_t have = buf_len(&c->in);
	uint8_t *p;

	assert(!have || tls_missing(c->tls, &c->in));
	if (c->in.size > bytes)
		in_shrink(c);
	bytes -= have;
	p = buf_reserve(&c->in, bytes);
	if (!p) {
		c->in.failed = false;
		c->recv_full = 0;
		return false;
	}
	c->recv_own = true;
	loop_recv(c->loop, &c->recv_op, c->fd, p, bytes, recv_done);
	return true;
}

void conn_recv_start(struct conn *c)
{
	bool busy = loop_op_busy(&c->recv_op);
	bool fast = c->recv_full >= RECV_FULL_FAST;

	if (c->peer_ended || c->moving_to || c->state < CONN_HANDSHAKE ||
	    c->state == CONN_OVER)
		return;
	if (behind(c)) {
		if (!c->recv_own)
			recv_stop(c);
		/* It need not take a burst when it goes on. */
		c->recv_full = RECV_FULL_FAST;
		return;
	}
	if (busy) {
		if (fast && !c->recv_own)
			recv_stop(c);
		return;
	}
	c->recv_stopping = false;
	/* Without it, the loop's does, too. */
	if (!fast || !recv_own_start(c))
		loop_recv_many(c->loop, &c->recv_op, c->fd, recv_done);
}

void conn_resume(struct conn *c)
{
	if (c->state == CONN_OPEN && !c->moving_to)
		kick(c);
}

/* --- closing, moving, asking
 * ------------------------------------------------------ */

struct conn *conn_free(struct conn *c)
{
	if (!c)
		return NULL;
	assert(c->closed_told);
	(void)tls_free(c->tls);
	resolve_free(c->resolve);
	buf_fini(&c->in);
	buf_fini(&c->plain);
	buf_fini(&c->out);
	buf_fini(&c->sending);
	free(c);
	return NULL;
}

void conn_close(struct conn *c)
{
	if (c->state != CONN_OPEN || c->lost) {
		conn_over(c, c->lost);
		return;
	}
	tls_close(c->tls, &c->in, &c->out);
	c->state = CONN_FLUSHING;
	send_start(c);
	if (!loop_op_busy(&c->send_op))
		linger(c);
}

void conn_abort(struct conn *c, int why)
{
	conn_over(c, why);
}

static void moved(struct loop_task *task)
{
	struct conn *c = container_of(task, struct conn, move_task);
	int r;

	c->loop = c->moving_to;
	c->moving_to = NULL;
	r = conn_timers_reserve(c);
	timer_update(c);
	c->arrived(c, c->ctx);
	if (r < 0) {
		conn_over(c, r);
		conn_finish(c);
		return;
	}
	kick(c);
}

int conn_move(struct conn *c, struct loop *to,
	      void (*arrived)(struct conn *c, void *ctx))
{
	if (!c->processing || c->state != CONN_OPEN || c->lost)
		return -EBUSY;
	c->moving_to = to;
	c->arrived = arrived;
	c->move_task.run = moved;
	return 0;
}

void conn_set_handler(struct conn *c, const struct conn_handler *handler,
		      void *ctx)
{
	c->handler = handler;
	c->ctx = ctx;
}

struct loop *conn_loop(const struct conn *c)
{
	return c->loop;
}

const char *conn_peer(const struct conn *c)
{
	return c->peer;
}

const char *conn_reason(const struct conn *c)
{
	return c->reason;
}

const char *conn_send_rung(const struct conn *c)
{
	(void)c;
	return "L4"; /* library TLS from a cached mapping, plain send */
}
