/* SPDX-License-Identifier: Apache-2.0 */
#include "io/conn.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "core/limits.h"
#include "core/loop.h"
#include "io/resolve.h"
#include "io/tls.h"

#define RECORD_BYTES (16u << 10) /* RFC 8446 section 5.1 */
#define RECV_BYTES_OWN (64u << 10)
/* After so many its receives are large, into the same warm memory each time. */
#define RECV_FULL_FAST 8u
/* What a receive that is called back may still bring, twice. */
#define IN_BYTES_MAX (2u * LOOP_RECV_BUFFERS * LOOP_RECV_BYTES)
#define OUT_BYTES_KEPT (1u << 10)
#define LINGER_NS_MAX (2 * NS_PER_S)
#define PEER_BYTES 64
#define REASON_BYTES 256

/*
 *  RESOLVING -> CONNECTING -> HANDSHAKE -> OPEN -> FLUSHING -> OVER
 *  (clients)                  (servers start here)
 * Every state may go to OVER; closed() runs once nothing is in flight.
 */
enum conn_state {
	CONN_RESOLVING,
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FLUSHING, /* conn_close(): output goes, input is ignored */
	CONN_OVER,
};

struct conn {
	struct loop *loop;
	const struct sys_ops *sys;
	const struct conn_handler *handler;
	void *ctx;
	struct tls *tls;
	enum conn_state state;
	int why;
	int fd;

	struct resolve *resolve; /* in flight, or its result */
	unsigned int addr_next;

	struct loop_op recv_op;
	struct loop_op send_op; /* connect, then send */
	struct buf in;		/* ciphertext not used yet */
	struct buf plain;	/* plaintext not used yet */
	struct buf out;		/* ciphertext to send next */
	struct buf sending;	/* ciphertext with the kernel */

	struct loop_timer timer; /* deadline and send stall */
	struct loop_timer kick;	 /* work for a later callback */
	uint64_t deadline_ns;
	uint64_t stall_ns;
	bool recv_own;		/* one into @in is under way */
	bool recv_stopping;	/* called back */
	unsigned int recv_full; /* buffers in a row that were */
	bool peer_ended;
	bool lingering; /* all is sent; reading to the end */
	bool ended_told;
	bool processing; /* inside process() */
	bool closed_told;
	struct loop *moving_to;
	struct loop_task move_task;
	void (*arrived)(struct conn *c, void *ctx);

	char peer[PEER_BYTES];
	char reason[REASON_BYTES];
};

static void recv_start(struct conn *c);
static void recv_done(struct loop_op *op, int res);
static void timer_update(struct conn *c);
static void move_when_quiet(struct conn *c);
static void send_start(struct conn *c);
static void process(struct conn *c);
static void connect_next(struct conn *c);

/* --- the end
 * ------------------------------------------------------------------ */

static void finish_if_quiet(struct conn *c)
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
	c->handler->closed(c, c->ctx, c->why);
}

static void kick_fired(struct loop_timer *t)
{
	struct conn *c = container_of(t, struct conn, kick);

	if (c->state == CONN_OVER)
		finish_if_quiet(c);
	else
		process(c);
}

static void kick(struct conn *c)
{
	/* Arming cannot fail: the slot was reserved at creation. */
	if (!loop_timer_armed(&c->kick))
		(void)!loop_timer_set(c->loop, &c->kick, 0, kick_fired);
}

static void over(struct conn *c, int why)
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

static void set_reason(struct conn *c, const char *text)
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
		over(c, c->why);
		return;
	}
	if (at > loop_now_ns(c->loop)) {
		(void)!loop_timer_set(c->loop, t, at, timer_fired);
		return;
	}
	set_reason(c, c->stall_ns == at ? "the peer takes no data"
					: "the deadline passed");
	over(c, -ETIMEDOUT);
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

void conn_deadline(struct conn *c, uint64_t at_ns)
{
	c->deadline_ns = at_ns;
	timer_update(c);
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
		over(c, c->why);
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
	else if (c->state == CONN_OPEN && c->handler->drained)
		c->handler->drained(c, c->ctx);
}

/* All of it is with the kernel: small buffers stay for the next answer. */
static void out_trim(struct conn *c)
{
	if (buf_len(&c->out) || buf_len(&c->sending))
		return;
	if (c->out.size > OUT_BYTES_KEPT)
		buf_fini(&c->out);
	if (c->sending.size > OUT_BYTES_KEPT)
		buf_fini(&c->sending);
}

static void send_done(struct loop_op *op, int res)
{
	struct conn *c = container_of(op, struct conn, send_op);

	if (c->state == CONN_OVER) {
		finish_if_quiet(c);
		return;
	}
	if (res <= 0) {
		set_reason(c, "sending failed");
		over(c, res ? res : -EPIPE);
		return;
	}
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

static void send_start(struct conn *c)
{
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

	if (c->state != CONN_OPEN)
		return -EPIPE;
	r = write_parts(c, parts, count);
	if (r < 0) {
		/* Half a record may be queued: nothing more can follow it. */
		set_reason(c, r == -ENOBUFS ? "output limit reached"
					    : tls_reason(c->tls));
		over(c, r);
		return r == -ENOBUFS ? r : -EPIPE;
	}
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
		set_reason(c, tls_reason(c->tls));
		/* Let the alert leave before the socket goes. */
		c->why = r;
		if (buf_len(&c->out) || buf_len(&c->sending))
			c->state = CONN_FLUSHING;
		else
			over(c, r);
	} else if (r == 1) {
		handshake_done(c);
	}
}

/*
 * What a handler leaves is little or nothing, so the memory for plaintext goes
 * from connection to connection, and an idle one has none.
 */
static void plain_take(struct conn *c)
{
	if (!c->plain.data)
		c->plain.data = loop_spare_take(c->loop, &c->plain.size);
}

static void plain_give(struct conn *c)
{
	if (buf_len(&c->plain) || !c->plain.data)
		return;
	loop_spare_give(c->loop, c->plain.data, c->plain.size);
	buf_init(&c->plain, CONN_PLAIN_BYTES_MAX);
}

/* Decrypts until @in is used up or enough is kept. Returns false at the end. */
static bool decrypt(struct conn *c)
{
	while (buf_len(&c->plain) + RECORD_BYTES <= CONN_PLAIN_BYTES_MAX) {
		uint8_t *p = buf_reserve(&c->plain, RECORD_BYTES);
		int n;

		if (!p) {
			over(c, -ENOMEM);
			return false;
		}
		n = tls_read(c->tls, &c->in, &c->out, p, RECORD_BYTES);
		if (n > 0) {
			buf_commit(&c->plain, (size_t)n);
			continue;
		}
		if (n == -EPIPE) {
			c->peer_ended = true;
			buf_reset(&c->in); /* nothing follows its end */
		}
		if (n == 0 || n == -EPIPE)
			return false;
		set_reason(c, tls_reason(c->tls));
		over(c, c->why ? c->why : n);
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
	    buf_len(&c->in))
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
		over(c, c->why);
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
	while (more && c->state == CONN_OPEN && !c->moving_to) {
		bool full = decrypt(c);

		if (c->state != CONN_OPEN)
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
	if (c->moving_to) {
		move_when_quiet(c);
		return;
	}
	send_start(c); /* what TLS itself had to say */
	tell_ended(c);
	recv_start(c);
	if (c->state == CONN_OVER)
		kick(c);
}

static void process(struct conn *c)
{
	if (c->processing || c->moving_to)
		return;
	work(c);
	if (!buf_len(&c->in) && !c->recv_own && c->recv_full < RECV_FULL_FAST)
		buf_fini(&c->in);
	settle(c);
}

/*
 * The loop's memory stands in for @c->in, which mostly never has any: nothing
 * is added to it meanwhile, only used up. What is left is kept.
 */
static int take_arrived(struct conn *c, const uint8_t *bytes, size_t len)
{
	struct buf rest;

	if (c->moving_to || buf_len(&c->in))
		return buf_add(&c->in, bytes, len);
	buf_fini(&c->in);
	c->in.data = (uint8_t *)(uintptr_t)bytes;
	c->in.end = len;
	c->in.size = len;
	work(c);
	rest = c->in;
	buf_init(&c->in, IN_BYTES_MAX);
	if (c->state == CONN_OVER)
		return 0;
	return buf_add(&c->in, buf_head(&rest), buf_len(&rest));
}

static void received(struct conn *c, const uint8_t *bytes, size_t len)
{
	bool queued = buf_len(&c->in) != 0;
	int r = take_arrived(c, bytes, len);

	if (r < 0)
		over(c, r);
	else if (queued && !c->moving_to)
		work(c);
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
		finish_if_quiet(c);
		return;
	}
	/* Called back by ourselves, or it has to be started again. */
	if (res < 0 && res != -ECANCELED && res != -ENOBUFS && res != -EAGAIN) {
		set_reason(c, "receiving failed");
		over(c, c->lingering ? c->why : res);
		return;
	}
	if (res == 0) {
		c->peer_ended = true;
		if (c->state == CONN_HANDSHAKE) {
			set_reason(c, "the peer closed the connection");
			over(c, -ECONNRESET);
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
		process(c);
}

/* Called back: what it has got by then still comes. */
static void recv_stop(struct conn *c)
{
	if (!c->recv_stopping)
		loop_cancel(c->loop, &c->recv_op);
	c->recv_stopping = true;
}

/* Into memory of the connection's own, which nothing may move meanwhile. */
static void recv_own_start(struct conn *c)
{
	uint8_t *p;

	assert(buf_len(&c->in) == 0);
	p = buf_reserve(&c->in, RECV_BYTES_OWN);
	if (!p) {
		over(c, -ENOMEM);
		return;
	}
	c->recv_own = true;
	loop_recv(c->loop, &c->recv_op, c->fd, p, RECV_BYTES_OWN, recv_done);
}

static void recv_start(struct conn *c)
{
	bool busy = loop_op_busy(&c->recv_op);
	bool fast = c->recv_full >= RECV_FULL_FAST;

	if (c->peer_ended || c->moving_to || c->state < CONN_HANDSHAKE ||
	    c->state == CONN_OVER)
		return;
	if (buf_len(&c->plain) + RECORD_BYTES > CONN_PLAIN_BYTES_MAX) {
		/* The handler is behind: conn_resume() goes on. */
		if (!c->recv_own)
			recv_stop(c);
		return;
	}
	if (busy) {
		if (fast && !c->recv_own)
			recv_stop(c);
		return;
	}
	c->recv_stopping = false;
	if (fast)
		recv_own_start(c);
	else
		loop_recv_many(c->loop, &c->recv_op, c->fd, recv_done);
}

void conn_resume(struct conn *c)
{
	if (c->state == CONN_OPEN && !c->moving_to)
		kick(c);
}

/* --- set-up
 * --------------------------------------------------------------------- */

static void peer_name(struct conn *c, const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)ss;
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)ss;
	char text[INET6_ADDRSTRLEN];

	if (ss->ss_family == AF_INET &&
	    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text)))
		(void)snprintf(c->peer, sizeof(c->peer), "%s:%u", text,
			       ntohs(v4->sin_port));
	else if (ss->ss_family == AF_INET6 &&
		 inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text)))
		(void)snprintf(c->peer, sizeof(c->peer), "[%s]:%u", text,
			       ntohs(v6->sin6_port));
}

/* Reserves the timers' slots, so that arming them later cannot fail. */
static int timers_reserve(struct conn *c)
{
	int r;

	r = loop_timer_set(c->loop, &c->timer, UINT64_MAX, timer_fired);
	if (r == 0)
		r = loop_timer_set(c->loop, &c->kick, UINT64_MAX, kick_fired);
	loop_timer_cancel(c->loop, &c->timer);
	loop_timer_cancel(c->loop, &c->kick);
	return r;
}

static int conn_new(struct loop *l, const struct sys_ops *sys,
		    struct tls_ctx *tls, const char *host,
		    const struct conn_handler *handler, void *ctx,
		    struct conn **ret_conn)
{
	struct conn *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->sys = sys;
	c->handler = handler;
	c->ctx = ctx;
	c->fd = -EBADF;
	c->deadline_ns = UINT64_MAX;
	c->stall_ns = UINT64_MAX;
	buf_init(&c->in, IN_BYTES_MAX);
	buf_init(&c->plain, CONN_PLAIN_BYTES_MAX);
	buf_init(&c->out, CONN_OUT_BYTES_MAX);
	buf_init(&c->sending, CONN_OUT_BYTES_MAX);
	r = timers_reserve(c);
	if (r == 0)
		r = tls_new(tls, host, &c->tls);
	if (r < 0) {
		free(c);
		return r;
	}
	*ret_conn = c;
	return 0;
}

static void no_delay(struct conn *c)
{
	const int on = 1;

	/* A lost optimisation is no reason to refuse a connection. */
	(void)c->sys->setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on,
				 sizeof(on));
}

int conn_new_server(struct loop *l, const struct sys_ops *sys,
		    struct tls_ctx *tls, int fd,
		    const struct conn_handler *handler, void *ctx,
		    struct conn **ret_conn)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct conn *c;
	int r;

	r = conn_new(l, sys, tls, NULL, handler, ctx, &c);
	if (r < 0) {
		sys_close(sys, &fd);
		return r;
	}
	c->fd = fd;
	c->state = CONN_HANDSHAKE;
	memset(&ss, 0, sizeof(ss));
	if (getpeername(fd, (struct sockaddr *)&ss, &len) == 0)
		peer_name(c, &ss);
	no_delay(c);
	recv_start(c);
	*ret_conn = c;
	return 0;
}

static void connect_done(struct loop_op *op, int res)
{
	struct conn *c = container_of(op, struct conn, send_op);

	if (c->state == CONN_OVER) {
		finish_if_quiet(c);
		return;
	}
	if (res < 0) {
		c->why = res;
		sys_close(c->sys, &c->fd);
		connect_next(c);
		return;
	}
	resolve_free(c->resolve);
	c->resolve = NULL;
	no_delay(c);
	c->state = CONN_HANDSHAKE;
	c->why = 0;
	process(c);
}

static void connect_next(struct conn *c)
{
	struct resolve *r = c->resolve;

	while (c->addr_next < r->count) {
		struct resolve_addr *a = &r->addrs[c->addr_next++];

		c->fd = c->sys->socket(a->addr.ss_family, SOCK_STREAM, 0);
		if (c->fd < 0) {
			c->why = c->fd;
			continue;
		}
		peer_name(c, &a->addr);
		loop_connect(c->loop, &c->send_op, c->fd,
			     (struct sockaddr *)&a->addr, a->len, connect_done);
		return;
	}
	set_reason(c, "cannot connect");
	resolve_free(r);
	c->resolve = NULL;
	over(c, c->why);
}

static void resolved(struct resolve *r)
{
	struct conn *c = r->owner;

	if (!c) {
		resolve_free(r);
		return;
	}
	r->owner = NULL; /* from here on it is ours alone */
	if (!r->count) {
		set_reason(c, r->reason ? r->reason : "unknown host");
		resolve_free(r);
		c->resolve = NULL;
		over(c, -EHOSTUNREACH);
		return;
	}
	c->state = CONN_CONNECTING;
	connect_next(c);
}

int conn_new_client(struct loop *l, const struct sys_ops *sys,
		    struct tls_ctx *tls, const char *host, uint16_t port,
		    const struct conn_handler *handler, void *ctx,
		    struct conn **ret_conn)
{
	struct conn *c;
	int r;

	r = conn_new(l, sys, tls, host, handler, ctx, &c);
	if (r < 0)
		return r;
	c->state = CONN_RESOLVING;
	r = resolve_start(l, host, port, resolved, c, &c->resolve);
	if (r < 0) {
		(void)tls_free(c->tls);
		free(c);
		return r;
	}
	*ret_conn = c;
	return 0;
}

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

/* --- closing, moving, asking
 * ------------------------------------------------------ */

void conn_close(struct conn *c)
{
	if (c->state != CONN_OPEN) {
		over(c, 0);
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
	over(c, why);
}

static void moved(struct loop_task *task)
{
	struct conn *c = container_of(task, struct conn, move_task);
	int r;

	c->loop = c->moving_to;
	c->moving_to = NULL;
	r = timers_reserve(c);
	timer_update(c);
	c->arrived(c, c->ctx);
	if (r < 0) {
		over(c, r);
		finish_if_quiet(c);
		return;
	}
	kick(c);
}

int conn_move(struct conn *c, struct loop *to,
	      void (*arrived)(struct conn *c, void *ctx))
{
	if (!c->processing || c->state != CONN_OPEN)
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
