/* SPDX-License-Identifier: Apache-2.0 */
#include "io/http_client.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "core/loop.h"
#include "io/aws_request.h"
#include "io/conn.h"
#include "proto/http.h"

/*
 *  CONNECTING -> IDLE -> HEAD -> BODY -> IDLE (kept alive)
 * OVER from anywhere: closed() follows or has been.
 */
enum client_state {
	CLIENT_CONNECTING = 0,
	CLIENT_IDLE,
	CLIENT_HEAD, /* a response's head is awaited */
	CLIENT_BODY,
	CLIENT_OVER,
};

struct http_client {
	struct conn *conn;
	struct loop *loop;
	const struct http_client_handler *handler;
	void *ctx;
	uint64_t quiet_ns;
	enum client_state state;
	bool body_open; /* our chunked body has not ended */
	bool keep;	/* the connection outlives this response */
	bool answered;
	struct http_body body;
	const char *reason; /* ours; else the connection's */
};

static void await(struct http_client *c)
{
	bool awaiting = c->state == CLIENT_CONNECTING ||
			c->state == CLIENT_HEAD || c->state == CLIENT_BODY;

	if (!awaiting || c->quiet_ns == UINT64_MAX)
		conn_deadline(c->conn, UINT64_MAX);
	else
		conn_deadline(c->conn, loop_now_ns(c->loop) + c->quiet_ns);
}

static void protocol_error(struct http_client *c, const char *reason)
{
	c->reason = reason;
	c->state = CLIENT_OVER;
	conn_abort(c->conn, -EPROTO);
}

static void response_done(struct http_client *c)
{
	/* A body of ours that still grows cannot be followed by a request. */
	c->keep = c->keep && !c->body_open;
	c->state = c->keep ? CLIENT_IDLE : CLIENT_OVER;
	if (!c->keep)
		conn_close(c->conn);
	else
		await(c);
	c->handler->done(c->ctx);
}

/* Return: bytes used; 0 = more are needed, or it is over. */
static size_t take_head(struct http_client *c, const uint8_t *bytes, size_t len)
{
	struct http_head head;
	int n = http_response_parse(bytes, len, &head);

	if (n < 0) {
		protocol_error(c, "the answer is not HTTP/1.1");
		return 0;
	}
	if (n == 0)
		return 0;
	if (head.status < 200) {
		if (head.status == 101)
			protocol_error(c, "unasked-for change of protocol");
		return (size_t)n;
	}
	http_body_init_response(&c->body, &head, false);
	c->keep = !head.close && head.minor >= 1 &&
		  c->body.state != HTTP_BODY_UNTIL_CLOSE;
	c->state = CLIENT_BODY;
	c->handler->head(c->ctx, &head);
	if (c->state == CLIENT_BODY && http_body_done(&c->body))
		response_done(c);
	return (size_t)n;
}

static size_t take_body(struct http_client *c, const uint8_t *bytes, size_t len)
{
	const uint8_t *piece = NULL;
	size_t piece_len = 0;
	size_t used = 0;
	int r = http_body_feed(&c->body, bytes, len, &used, &piece, &piece_len);

	if (r < 0) {
		protocol_error(c, "broken framing in the answer");
		return 0;
	}
	if (piece_len)
		c->handler->body(c->ctx, piece, piece_len);
	if (r == 1 && c->state == CLIENT_BODY)
		response_done(c);
	return used;
}

static size_t on_data(struct conn *conn, void *ctx, const uint8_t *bytes,
		      size_t len)
{
	struct http_client *c = ctx;
	size_t at = 0;

	(void)conn;
	c->answered = true;
	await(c);
	while (at < len) {
		size_t n = 0;

		if (c->state == CLIENT_HEAD)
			n = take_head(c, bytes + at, len - at);
		else if (c->state == CLIENT_BODY)
			n = take_body(c, bytes + at, len - at);
		else if (c->state == CLIENT_OVER)
			return len;
		else
			protocol_error(c, "an answer to nothing");
		if (!n)
			break;
		at += n;
	}
	return at;
}

static void on_ready(struct conn *conn, void *ctx)
{
	struct http_client *c = ctx;

	(void)conn;
	if (c->state != CLIENT_CONNECTING)
		return;
	c->state = CLIENT_IDLE;
	await(c);
	c->handler->ready(c->ctx);
}

static void on_drained(struct conn *conn, void *ctx)
{
	struct http_client *c = ctx;

	(void)conn;
	if (c->state != CLIENT_OVER && c->handler->drained)
		c->handler->drained(c->ctx);
}

static void on_ended(struct conn *conn, void *ctx)
{
	struct http_client *c = ctx;

	/* All that came has been taken: a body's bytes are never left. */
	if (c->state == CLIENT_BODY && http_body_eof(&c->body) == 0) {
		c->keep = false;
		response_done(c);
		return;
	}
	if (c->state == CLIENT_IDLE || c->state == CLIENT_OVER) {
		c->state = CLIENT_OVER;
		conn_close(conn);
		return;
	}
	c->reason = "the service closed the connection";
	c->state = CLIENT_OVER;
	conn_abort(conn, -ECONNRESET);
}

static void on_closed(struct conn *conn, void *ctx, int why)
{
	struct http_client *c = ctx;

	(void)conn;
	c->state = CLIENT_OVER;
	c->handler->closed(c->ctx, why);
}

/* An answer that came before the connection broke is one. */
static bool on_wants(const struct conn *conn, void *ctx)
{
	const struct http_client *c = ctx;

	(void)conn;
	return c->state == CLIENT_HEAD || c->state == CLIENT_BODY;
}

static const struct conn_handler conn_handler = {
	.ready = on_ready,
	.data = on_data,
	.drained = on_drained,
	.ended = on_ended,
	.wants = on_wants,
	.closed = on_closed,
};

int http_client_new(struct loop *l, const struct sys_ops *sys,
		    struct tls_ctx *tls, const struct endpoint *endpoint,
		    uint64_t quiet_ns,
		    const struct http_client_handler *handler, void *ctx,
		    struct http_client **ret_client)
{
	struct http_client *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->handler = handler;
	c->ctx = ctx;
	c->quiet_ns = quiet_ns;
	r = conn_new_client(l, sys, tls, endpoint->host, endpoint->port,
			    &conn_handler, c, &c->conn);
	if (r < 0) {
		free(c);
		return r;
	}
	await(c);
	*ret_client = c;
	return 0;
}

struct http_client *http_client_free(struct http_client *c)
{
	if (!c)
		return NULL;
	(void)conn_free(c->conn);
	free(c);
	return NULL;
}

int http_client_send(struct http_client *c, const struct iovec *parts,
		     size_t count)
{
	if (c->state != CLIENT_IDLE)
		return -EBUSY;
	c->state = CLIENT_HEAD;
	c->answered = false;
	c->body_open = false;
	await(c);
	return conn_write(c->conn, parts, count);
}

int http_client_chunk(struct http_client *c, const struct iovec *parts,
		      size_t count, size_t bytes)
{
	struct iovec all[HTTP_CLIENT_PARTS_MAX + 2];
	char head[HTTP_CHUNK_HEAD_BYTES_MAX];
	static char end[] = HTTP_CHUNK_END;

	assert(bytes);
	assert(count <= HTTP_CLIENT_PARTS_MAX);
	if (c->state != CLIENT_HEAD && c->state != CLIENT_BODY)
		return -EPIPE;
	c->body_open = true;
	all[0].iov_base = head;
	all[0].iov_len = http_chunk_head(bytes, head);
	memcpy(all + 1, parts, count * sizeof(*parts));
	all[count + 1].iov_base = end;
	all[count + 1].iov_len = sizeof(end) - 1;
	return conn_write(c->conn, all, count + 2);
}

int http_client_end(struct http_client *c)
{
	static char last[] = HTTP_LAST_CHUNK;
	struct iovec part = {last, sizeof(last) - 1};

	if (c->state != CLIENT_HEAD && c->state != CLIENT_BODY)
		return -EPIPE;
	c->body_open = false;
	return conn_write(c->conn, &part, 1);
}

bool http_client_reusable(const struct http_client *c)
{
	return c->state == CLIENT_IDLE;
}

bool http_client_answered(const struct http_client *c)
{
	return c->answered;
}

void http_client_close(struct http_client *c)
{
	c->state = CLIENT_OVER;
	conn_close(c->conn);
}

void http_client_abort(struct http_client *c, int why)
{
	c->state = CLIENT_OVER;
	conn_abort(c->conn, why);
}

size_t http_client_backlog(const struct http_client *c)
{
	return conn_backlog(c->conn);
}

const char *http_client_reason(const struct http_client *c)
{
	const char *words = c->reason ? c->reason : conn_reason(c->conn);

	return words ? words : "";
}

const char *http_client_send_rung(const struct http_client *c)
{
	return conn_send_rung(c->conn);
}
