/* SPDX-License-Identifier: Apache-2.0 */
/* io/conn.c and io/tls.c, both ends on one loop over loopback TCP. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/sys.h"
#include "core/limits.h"
#include "io/conn.h"
#include "io/conn_int.h"
#include "io/loop_uring.h"
#include "io/tls.h"
#include "support/test_cert.h"

#define BULK_BYTES (3u << 20)

struct side {
	struct conn *conn;
	struct buf got;
	int ready;
	int drained;
	int ended;
	int closed;
	int why;
	char reason[256];
	size_t (*take)(struct side *s, const uint8_t *bytes, size_t len);
	int offers;
	struct loop *move_to;
	int arrived;
	pthread_t arrived_on;
	bool echo;
	bool wants;
};

struct bench {
	struct loop *loop;
	struct tls_ctx *server_tls;
	struct tls_ctx *client_tls;
	char dir[32];
	int listen_fd;
	uint16_t port;
	struct loop_op accept_op;
	int accepted;
	struct side server;
	struct side client;
};

static void side_ready(struct conn *c, void *ctx)
{
	struct side *s = ctx;

	(void)c;
	s->ready++;
}

static void side_arrived(struct conn *c, void *ctx)
{
	struct side *s = ctx;

	(void)c;
	s->arrived_on = pthread_self();
	s->arrived++;
}

static size_t side_data(struct conn *c, void *ctx, const uint8_t *bytes,
			size_t len)
{
	struct side *s = ctx;

	s->offers++;
	if (s->move_to && !s->arrived) {
		assert_int_equal(conn_move(c, s->move_to, side_arrived), 0);
		return 0;
	}
	if (s->take)
		return s->take(s, bytes, len);
	assert_int_equal(buf_add(&s->got, bytes, len), 0);
	if (s->echo) {
		struct iovec part = {(void *)(uintptr_t)bytes, len};

		assert_int_equal(conn_write(c, &part, 1), 0);
	}
	return len;
}

static void side_drained(struct conn *c, void *ctx)
{
	struct side *s = ctx;

	(void)c;
	s->drained++;
}

static void side_ended(struct conn *c, void *ctx)
{
	struct side *s = ctx;

	s->ended++;
	conn_close(c);
}

static bool side_wants(const struct conn *c, void *ctx)
{
	struct side *s = ctx;

	(void)c;
	return s->wants;
}

static void side_closed(struct conn *c, void *ctx, int why)
{
	struct side *s = ctx;

	s->closed++;
	s->why = why;
	(void)snprintf(s->reason, sizeof(s->reason), "%s", conn_reason(c));
	(void)conn_free(c);
	/* A test may watch for it from another thread. */
	__atomic_store_n(&s->conn, NULL, __ATOMIC_RELEASE);
}

static const struct conn_handler handler = {
	.ready = side_ready,
	.data = side_data,
	.drained = side_drained,
	.ended = side_ended,
	.wants = side_wants,
	.closed = side_closed,
};

static void accept_done(struct loop_op *op, int res)
{
	struct bench *b = container_of(op, struct bench, accept_op);

	if (res < 0)
		return;
	assert_int_equal(conn_new_server(b->loop, sys_posix(), b->server_tls,
					 res, &handler, &b->server,
					 &b->server.conn),
			 0);
	b->accepted++;
}

static void turn_until(struct bench *b, const int *counter)
{
	int turns;

	for (turns = 0; turns < 100000 && !*counter; turns++)
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	assert_true(*counter);
}

static int setup(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t len = sizeof(addr);
	struct bench *b = calloc(1, sizeof(*b));
	char cert[64];
	char key[64];

	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/kvsd-conn-XXXXXX");
	if (!mkdtemp(b->dir))
		return -1;
	test_cert_write(b->dir, "IP:127.0.0.1");
	(void)snprintf(cert, sizeof(cert), "%s/cert.pem", b->dir);
	(void)snprintf(key, sizeof(key), "%s/key.pem", b->dir);
	assert_int_equal(tls_ctx_new_server(cert, key, &b->server_tls), 0);
	assert_int_equal(tls_ctx_new_client(cert, &b->client_tls), 0);
	assert_int_equal(loop_uring_new(sys_posix(), 64, &b->loop), 0);
	b->listen_fd = socket(AF_INET, SOCK_STREAM, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(b->listen_fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(b->listen_fd, 8), 0);
	assert_int_equal(
		getsockname(b->listen_fd, (struct sockaddr *)&addr, &len), 0);
	b->port = ntohs(addr.sin_port);
	buf_init(&b->server.got, 2 * BULK_BYTES);
	buf_init(&b->client.got, 2 * BULK_BYTES);
	loop_accept(b->loop, &b->accept_op, b->listen_fd, accept_done);
	*state = b;
	return 0;
}

/* As where the kernel cannot choose buffers. */
static int setup_plain(void **state)
{
	struct bench *b;
	int r = setup(state);

	if (r < 0)
		return r;
	b = *state;
	loop_uring_recv_plain(b->loop);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;
	char path[64];
	int turns;

	if (b->server.conn)
		conn_abort(b->server.conn, -ECANCELED);
	if (b->client.conn)
		conn_abort(b->client.conn, -ECANCELED);
	loop_cancel(b->loop, &b->accept_op);
	for (turns = 0; turns < 1000; turns++) {
		if (!b->server.conn && !b->client.conn &&
		    !loop_op_busy(&b->accept_op))
			break;
		(void)!loop_turn(b->loop, 10 * NS_PER_MS);
	}
	(void)loop_free(b->loop);
	(void)close(b->listen_fd);
	(void)tls_ctx_free(b->server_tls);
	(void)tls_ctx_free(b->client_tls);
	buf_fini(&b->server.got);
	buf_fini(&b->client.got);
	(void)snprintf(path, sizeof(path), "%s/cert.pem", b->dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key.pem", b->dir);
	(void)unlink(path);
	(void)rmdir(b->dir);
	free(b);
	return 0;
}

static void connect_to(struct bench *b, const char *host)
{
	assert_int_equal(conn_new_client(b->loop, sys_posix(), b->client_tls,
					 host, b->port, &handler, &b->client,
					 &b->client.conn),
			 0);
}

static void open_pair(struct bench *b)
{
	connect_to(b, "127.0.0.1");
	turn_until(b, &b->client.ready);
	turn_until(b, &b->server.ready);
}

static void conn_write_str(struct conn *c, const char *text)
{
	struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

	assert_int_equal(conn_write(c, &part, 1), 0);
}

static void conn_carries_parts_in_order(void **state)
{
	struct bench *b = *state;
	uint8_t *bulk = malloc(BULK_BYTES);
	struct iovec parts[3];
	size_t i;

	open_pair(b);
	for (i = 0; i < BULK_BYTES; i++)
		bulk[i] = (uint8_t)(i * 2654435761u >> 13);
	parts[0] = (struct iovec){bulk, 11};
	parts[1] = (struct iovec){bulk + 11, BULK_BYTES - 14};
	parts[2] = (struct iovec){bulk + BULK_BYTES - 3, 3};
	assert_int_equal(conn_write(b->client.conn, parts, 3), 0);
	while (buf_len(&b->server.got) < BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	assert_memory_equal(buf_head(&b->server.got), bulk, BULK_BYTES);
	turn_until(b, &b->client.drained);
	assert_int_equal(conn_backlog(b->client.conn), 0);
	free(bulk);
}

static void conn_close_delivers_what_was_written_first(void **state)
{
	struct bench *b = *state;

	open_pair(b);
	conn_write_str(b->server.conn, "last words");
	conn_close(b->server.conn);
	turn_until(b, &b->client.closed);
	turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->client.got), 10);
	assert_int_equal(b->client.ended, 1);
	assert_int_equal(b->client.why, 0);
	assert_int_equal(b->server.why, 0);
}

/* A reset would destroy the words on their way. */
static void conn_close_reads_on_when_the_peer_still_sends(void **state)
{
	struct bench *b = *state;
	struct iovec part = {malloc(BULK_BYTES), BULK_BYTES};

	memset(part.iov_base, 7, BULK_BYTES);
	open_pair(b);
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	turn_until(b, &b->server.offers);
	conn_write_str(b->server.conn, "no more");
	conn_close(b->server.conn);
	turn_until(b, &b->client.closed);
	assert_int_equal(buf_len(&b->client.got), 7);
	turn_until(b, &b->server.closed);
	free(part.iov_base);
}

static void conn_refuses_a_certificate_for_another_name(void **state)
{
	struct bench *b = *state;

	/* The certificate carries the address only. */
	connect_to(b, "localhost");
	turn_until(b, &b->client.closed);
	assert_int_equal(b->client.ready, 0);
	assert_int_equal(b->client.why, -EKEYREJECTED);
	assert_non_null(strstr(b->client.reason, "ostname mismatch"));
}

static void conn_refuses_an_unknown_authority(void **state)
{
	struct bench *b = *state;
	char other[] = "/tmp/kvsd-conn2-XXXXXX";
	char path[64];

	assert_non_null(mkdtemp(other));
	test_cert_write(other, "IP:127.0.0.1");
	(void)snprintf(path, sizeof(path), "%s/cert.pem", other);
	(void)tls_ctx_free(b->client_tls);
	assert_int_equal(tls_ctx_new_client(path, &b->client_tls), 0);
	connect_to(b, "127.0.0.1");
	turn_until(b, &b->client.closed);
	assert_int_equal(b->client.why, -EKEYREJECTED);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key.pem", other);
	(void)unlink(path);
	(void)rmdir(other);
}

static void conn_reports_a_refused_connection(void **state)
{
	struct bench *b = *state;

	b->port = 1; /* nobody listens there */
	connect_to(b, "127.0.0.1");
	turn_until(b, &b->client.closed);
	assert_int_equal(b->client.why, -ECONNREFUSED);
}

static void conn_reports_a_name_that_does_not_resolve(void **state)
{
	struct bench *b = *state;

	connect_to(b, "nowhere.invalid");
	turn_until(b, &b->client.closed);
	assert_int_equal(b->client.why, -EHOSTUNREACH);
}

static void conn_deadline_ends_a_silent_handshake(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	struct bench *b = *state;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons(b->port);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	turn_until(b, &b->accepted);
	conn_deadline(b->server.conn, loop_now_ns(b->loop) + 1);
	turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -ETIMEDOUT);
	(void)close(fd);
}

static void conn_closes_on_garbage_instead_of_tls(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	struct bench *b = *state;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons(b->port);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	turn_until(b, &b->accepted);
	(void)shutdown(fd, SHUT_WR);
	turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -EPROTO);
	(void)close(fd);
}

static size_t take_nothing(struct side *s, const uint8_t *bytes, size_t len)
{
	(void)s;
	(void)bytes;
	(void)len;
	return 0;
}

static void conn_holds_back_a_peer_when_nothing_is_taken(void **state)
{
	struct bench *b = *state;
	struct iovec part = {malloc(BULK_BYTES), BULK_BYTES};
	int turns;
	int offers;

	memset(part.iov_base, 3, BULK_BYTES);
	open_pair(b);
	b->server.take = take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	for (turns = 0; turns < 2000; turns++)
		assert_int_equal(loop_turn(b->loop, 0), 0);
	offers = b->server.offers;
	for (turns = 0; turns < 100; turns++)
		assert_int_equal(loop_turn(b->loop, 0), 0);
	assert_int_equal(b->server.offers, offers); /* it stopped */
	b->server.take = NULL;
	conn_resume(b->server.conn);
	while (buf_len(&b->server.got) < BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	free(part.iov_base);
}

/* --- lost connections --- */

#define BEHIND_BYTES 40000u

static void turn_until_kept(struct bench *b, struct conn *c, size_t bytes)
{
	int turns;

	for (turns = 0; turns < 100000 && conn_kept(c) < bytes; turns++)
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	assert_int_equal(conn_kept(c), bytes);
}

/* Its end comes as a reset. */
static void reset_client(struct bench *b)
{
	const struct linger hard = {.l_onoff = 1, .l_linger = 0};

	assert_int_equal(setsockopt(b->client.conn->fd, SOL_SOCKET, SO_LINGER,
				    &hard, sizeof(hard)),
			 0);
	conn_abort(b->client.conn, -ECANCELED);
	turn_until(b, &b->client.closed);
}

/* Bytes that the server's handler does not take yet, then a reset. */
static void lose_behind_kept_bytes(struct bench *b, uint8_t *bytes)
{
	struct iovec part = {bytes, BEHIND_BYTES};
	size_t i;

	for (i = 0; i < BEHIND_BYTES; i++)
		bytes[i] = (uint8_t)(i * 2654435761u >> 13);
	open_pair(b);
	b->server.take = take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	turn_until_kept(b, b->server.conn, BEHIND_BYTES);
	reset_client(b);
}

static void turn_until_lost(struct bench *b)
{
	int turns;

	for (turns = 0; turns < 100000 && !b->server.closed; turns++) {
		if (conn_lost(b->server.conn))
			return;
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	}
	fail_msg("it was closed before its bytes were used");
}

static void conn_uses_what_came_before_a_reset(void **state)
{
	struct bench *b = *state;
	uint8_t bytes[BEHIND_BYTES];
	struct iovec part = {bytes, 1};

	b->server.wants = true;
	lose_behind_kept_bytes(b, bytes);
	turn_until_lost(b);
	assert_int_equal(conn_write(b->server.conn, &part, 1), -EPIPE);
	b->server.take = NULL;
	conn_resume(b->server.conn);
	turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->server.got), BEHIND_BYTES);
	assert_memory_equal(buf_head(&b->server.got), bytes, BEHIND_BYTES);
	assert_int_equal(b->server.why, -ECONNRESET);
	assert_int_equal(b->server.ended, 0);
}

static void conn_ends_at_a_reset_when_nothing_is_wanted(void **state)
{
	struct bench *b = *state;
	uint8_t bytes[BEHIND_BYTES];

	lose_behind_kept_bytes(b, bytes);
	turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -ECONNRESET);
	assert_int_equal(buf_len(&b->server.got), 0);
}

/* Nobody takes what is left: it does not stay for ever. */
static void conn_waits_a_bounded_time_after_a_reset(void **state)
{
	struct bench *b = *state;
	uint8_t bytes[BEHIND_BYTES];

	b->server.wants = true;
	lose_behind_kept_bytes(b, bytes);
	turn_until_lost(b);
	assert_true(loop_timer_armed(&b->server.conn->timer));
	b->server.conn->stall_ns = 1; /* as if that time had passed */
	assert_int_equal(loop_timer_set(b->loop, &b->server.conn->timer, 1,
					b->server.conn->timer.fired),
			 0);
	turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -ECONNRESET);
}

/* Sending fails first; what has arrived is still there to be received. */
static void conn_uses_what_came_before_sending_failed(void **state)
{
	struct bench *b = *state;
	struct conn *c;
	uint8_t bytes[BEHIND_BYTES];
	struct iovec part = {bytes, BEHIND_BYTES};

	memset(bytes, 5, sizeof(bytes));
	open_pair(b);
	b->server.wants = true;
	b->server.take = take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	turn_until_kept(b, b->server.conn, BEHIND_BYTES);
	c = b->server.conn;
	assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
	assert_int_equal(conn_write(c, &part, 1), 0);
	turn_until_lost(b);
	assert_int_equal(conn_backlog(c), 0);
	b->server.take = NULL;
	conn_resume(c);
	conn_close(b->client.conn);
	turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->server.got), BEHIND_BYTES);
	assert_int_equal(b->server.why, -EPIPE);
}

static void conn_uses_what_came_before_a_bad_record(void **state)
{
	static const uint8_t junk[64] = "no record of TLS";
	struct bench *b = *state;

	open_pair(b);
	b->server.wants = true;
	conn_write_str(b->client.conn, "all of it");
	/* Behind the record, mostly in the same receive. */
	assert_int_equal(buf_add(&b->client.conn->out, junk, sizeof(junk)), 0);
	turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->server.got), 9);
	assert_int_equal(b->server.why, -EPROTO);
}

/* --- memory of all connections --- */

static void conn_counts_what_is_kept(void **state)
{
	struct bench *b = *state;
	uint8_t bytes[BEHIND_BYTES];

	b->server.wants = true;
	lose_behind_kept_bytes(b, bytes);
	assert_true(b->loop->kept_bytes >= BEHIND_BYTES);
	turn_until_lost(b);
	b->server.take = NULL;
	conn_resume(b->server.conn);
	turn_until(b, &b->server.closed);
	assert_int_equal(b->loop->kept_bytes, 0);
}

static size_t take_all_but_one(struct side *s, const uint8_t *bytes, size_t len)
{
	(void)s;
	(void)bytes;
	return len - 1;
}

static void conn_keeps_a_byte_in_little_memory(void **state)
{
	struct bench *b = *state;
	uint8_t bytes[BEHIND_BYTES] = {0};
	struct iovec part = {bytes, BEHIND_BYTES};
	int turns;

	open_pair(b);
	b->server.take = take_all_but_one;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	turn_until(b, &b->server.offers);
	turn_until_kept(b, b->server.conn, 1);
	/* A part of the next record may be there before the rest of it. */
	for (turns = 0; turns < 1000 && b->loop->kept_bytes > 1024; turns++)
		assert_int_equal(loop_turn(b->loop, 100 * NS_PER_MS), 0);
	assert_true(b->loop->kept_bytes <= 1024);
	assert_int_equal(conn_kept(b->server.conn), 1);
}

/*
 * As if others kept all that may be kept: it waits with little, and with what
 * the turn brought in which it was seen.
 */
static void conn_keeps_little_where_all_keep_much(void **state)
{
	struct bench *b = *state;
	struct iovec part = {malloc(BULK_BYTES), BULK_BYTES};
	int turns;

	memset(part.iov_base, 3, BULK_BYTES);
	open_pair(b);
	b->loop->kept_bytes += LOOP_KEPT_BYTES_MAX + 1;
	b->server.take = take_nothing;
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	for (turns = 0; turns < 2000; turns++) {
		assert_int_equal(loop_turn(b->loop, 0), 0);
		assert_true(b->loop->kept_bytes <=
			    LOOP_KEPT_BYTES_MAX +
				    LOOP_RECV_BUFFERS * LOOP_RECV_BYTES +
				    (160u << 10));
	}
	b->server.take = NULL;
	conn_resume(b->server.conn);
	while (buf_len(&b->server.got) < BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	b->loop->kept_bytes -= LOOP_KEPT_BYTES_MAX + 1;
	free(part.iov_base);
}

/* --- learning how it is sent to --- */

static struct loop_op *given; /* the receive that the test completes */
static int given_cancelled;

static void given_recv_many(struct loop *l, struct loop_op *op, int fd)
{
	(void)l;
	(void)fd;
	op->state = 1;
	given = op;
}

static void given_cancel(struct loop *l, struct loop_op *op)
{
	(void)l;
	given_cancelled += op == given;
}

/* @bytes of the connection's own socket; NULL: @res instead, and it is over. */
static void give(struct conn *c, uint8_t *bytes, int res)
{
	if (bytes) {
		while (recv(c->fd, bytes, LOOP_RECV_BYTES,
			    MSG_PEEK | MSG_DONTWAIT) < (int)LOOP_RECV_BYTES)
			assert_int_equal(loop_turn(c->loop, 10 * NS_PER_MS), 0);
		res = (int)recv(c->fd, bytes, LOOP_RECV_BYTES, 0);
		given->bytes = bytes;
	} else {
		given->state = 0;
	}
	given->done(given, res);
}

/* That the loop ran out of buffers says nothing of the peer. */
static void conn_goes_on_learning_when_the_loop_had_no_buffer(void **state)
{
	struct bench *b = *state;
	const struct loop_ops *real = b->loop->ops;
	struct loop_ops ops = *real;
	struct iovec part = {calloc(1, BULK_BYTES), BULK_BYTES};
	uint8_t bytes[LOOP_RECV_BYTES];
	struct conn *c;
	int i;

	open_pair(b);
	c = b->server.conn;
	ops.recv_many = given_recv_many;
	b->loop->ops = &ops;
	loop_cancel(b->loop, &c->recv_op);
	for (given = NULL; !given;)
		assert_int_equal(loop_turn(b->loop, 10 * NS_PER_MS), 0);
	assert_int_equal(conn_write(b->client.conn, &part, 1), 0);
	assert_int_equal(loop_turn(b->loop, 0), 0);
	ops.cancel = given_cancel;
	given_cancelled = 0;
	for (i = 0; i < 4; i++) {
		give(c, bytes, 0);
		give(c, NULL, -ENOBUFS);
		give(c, bytes, 0);
		assert_int_equal(given_cancelled, i == 3);
	}
	/* All were full: it receives into memory of its own now. */
	ops = *real;
	give(c, NULL, -ECANCELED);
	assert_true(c->recv_own);
	while (buf_len(&b->server.got) < BULK_BYTES)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	b->loop->ops = real;
	free(part.iov_base);
}

static void *run_loop(void *arg)
{
	(void)!loop_run(arg);
	return NULL;
}

static void stop_run(struct loop_task *task);

struct stopper {
	struct loop_task task;
	struct loop *loop;
};

static void stop_run(struct loop_task *task)
{
	loop_stop(container_of(task, struct stopper, task)->loop);
}

static void conn_moves_to_another_thread_with_its_bytes(void **state)
{
	struct bench *b = *state;
	struct stopper stop = {.task = {.run = stop_run}};
	struct loop *other;
	pthread_t thread;

	assert_int_equal(loop_uring_new(sys_posix(), 64, &other), 0);
	assert_int_equal(pthread_create(&thread, NULL, run_loop, other), 0);
	open_pair(b);
	b->server.move_to = other;
	b->server.echo = true;
	conn_write_str(b->client.conn, "take me along");
	while (buf_len(&b->client.got) < 13)
		assert_int_equal(loop_turn(b->loop, NS_PER_S), 0);
	assert_memory_equal(buf_head(&b->client.got), "take me along", 13);
	conn_close(b->client.conn);
	turn_until(b, &b->client.closed);
	while (__atomic_load_n(&b->server.conn, __ATOMIC_ACQUIRE))
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
	assert_true(pthread_equal(b->server.arrived_on, thread));
	stop.loop = other;
	loop_post(other, &stop.task);
	(void)pthread_join(thread, NULL);
	(void)loop_free(other);
}

/* --- a client of OpenSSL's, whose records are not sent by themselves --- */

struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *to;
	BIO *from;
	int fd;
};

static void raw_send(struct bench *b, struct raw *c, size_t len)
{
	uint8_t bytes[4096];

	while (len) {
		size_t want = MIN(len, sizeof(bytes));
		int n = BIO_read(c->from, bytes, (int)want);

		if (n <= 0)
			return;
		assert_int_equal(send(c->fd, bytes, (size_t)n, MSG_NOSIGNAL),
				 n);
		len -= (size_t)n;
		assert_int_equal(loop_turn(b->loop, 0), 0);
	}
}

static void raw_open(struct bench *b, struct raw *c, const char *suite)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	uint8_t bytes[4096];
	ssize_t n;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons(b->port);
	c->fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	c->ctx = SSL_CTX_new(TLS_client_method());
	assert_true(SSL_CTX_set_ciphersuites(c->ctx, suite));
	c->ssl = SSL_new(c->ctx);
	c->to = BIO_new(BIO_s_mem());
	c->from = BIO_new(BIO_s_mem());
	SSL_set_bio(c->ssl, c->to, c->from);
	SSL_set_connect_state(c->ssl);
	while (SSL_do_handshake(c->ssl) != 1 || !b->server.ready) {
		raw_send(b, c, SIZE_MAX);
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
		n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n > 0)
			assert_int_equal(BIO_write(c->to, bytes, (int)n), n);
	}
}

static void raw_close(struct raw *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	(void)close(c->fd);
}

/*
 * New keys are asked for behind what makes the connection move: OpenSSL has
 * something to say of its own while it does.
 */
static void moves_behind_new_keys(struct bench *b, const char *suite)
{
	struct raw c;
	struct loop *other;
	int turns;

	assert_int_equal(loop_uring_new(sys_posix(), 64, &other), 0);
	raw_open(b, &c, suite);
	b->server.move_to = other;
	assert_int_equal(SSL_write(c.ssl, "move", 4), 4);
	for (turns = 0; turns < 2; turns++) {
		assert_true(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED));
		assert_int_equal(SSL_do_handshake(c.ssl), 1);
	}
	raw_send(b, &c, SIZE_MAX);
	for (turns = 0; turns < 10000 && buf_len(&b->server.got) < 4; turns++) {
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
		assert_int_equal(loop_turn(other, NS_PER_MS), 0);
	}
	assert_int_equal(b->server.arrived, 1);
	assert_memory_equal(buf_head(&b->server.got), "move", 4);
	conn_abort(b->server.conn, -ECANCELED);
	while (b->server.conn)
		assert_int_equal(loop_turn(other, NS_PER_MS), 0);
	raw_close(&c);
	(void)loop_free(other);
}

static void conn_moves_behind_new_keys(void **state)
{
	moves_behind_new_keys(*state, "TLS_AES_256_GCM_SHA384");
}

static void conn_moves_behind_new_keys_of_openssl(void **state)
{
	moves_behind_new_keys(*state, "TLS_AES_128_GCM_SHA256");
}

static size_t taken;

static size_t take_and_count(struct side *s, const uint8_t *bytes, size_t len)
{
	(void)s;
	(void)bytes;
	taken += len;
	return len;
}

static void turn_until_taken(struct bench *b, size_t bytes)
{
	int turns;

	for (turns = 0; turns < 10000 && taken < bytes; turns++)
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
	assert_int_equal(taken, bytes);
}

#define BURST_BYTES (64u * 4096)

/* As much as the socket takes before each turn: the service gets behind. */
static void raw_burst(struct bench *b, struct raw *c)
{
	static const uint8_t bytes[BURST_BYTES / 64];
	static uint8_t wire[BURST_BYTES + 64 * 100];
	int i;
	int n;

	for (i = 0; i < 64; i++)
		assert_int_equal(SSL_write(c->ssl, bytes, sizeof(bytes)),
				 (int)sizeof(bytes));
	n = BIO_read(c->from, wire, sizeof(wire));
	for (i = 0; i < n;) {
		ssize_t sent = send(c->fd, wire + i, (size_t)(n - i),
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent > 0)
			i += (int)sent;
		else
			assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
	}
}

/* What was large in a burst is not kept for the first bytes of a record. */
static void conn_keeps_a_part_of_a_record_in_little_memory(void **state)
{
	struct bench *b = *state;
	static const uint8_t bytes[100];
	const struct conn *s;
	struct raw c;
	int turns;
	int i;

	taken = 0;
	b->server.take = take_and_count;
	raw_open(b, &c, "TLS_AES_256_GCM_SHA384");
	s = b->server.conn;
	for (i = 0; i < 1000 && !s->recv_own; i++)
		raw_burst(b, &c);
	assert_true(s->recv_own);
	assert_true(s->in.size >= 128u << 10);
	/* The burst ends, and a record begins. */
	turn_until_taken(b, (size_t)i * BURST_BYTES);
	assert_int_equal(SSL_write(c.ssl, bytes, sizeof(bytes)),
			 (int)sizeof(bytes));
	raw_send(b, &c, 50);
	for (turns = 0; turns < 1000 && s->in.size > 4096; turns++)
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
	assert_int_equal(buf_len(&s->in), 50);
	assert_true(s->in.size <= 4096);
	raw_send(b, &c, SIZE_MAX);
	turn_until_taken(b, (size_t)i * BURST_BYTES + sizeof(bytes));
	raw_close(&c);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define PLAIN(name)                                                 \
	{                                                           \
#name " (plain)", name, setup_plain, teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(conn_carries_parts_in_order),
		CASE(conn_close_delivers_what_was_written_first),
		CASE(conn_close_reads_on_when_the_peer_still_sends),
		CASE(conn_refuses_a_certificate_for_another_name),
		CASE(conn_refuses_an_unknown_authority),
		CASE(conn_reports_a_refused_connection),
		CASE(conn_reports_a_name_that_does_not_resolve),
		CASE(conn_deadline_ends_a_silent_handshake),
		CASE(conn_closes_on_garbage_instead_of_tls),
		CASE(conn_holds_back_a_peer_when_nothing_is_taken),
		CASE(conn_moves_to_another_thread_with_its_bytes),
		CASE(conn_uses_what_came_before_a_reset),
		CASE(conn_ends_at_a_reset_when_nothing_is_wanted),
		CASE(conn_waits_a_bounded_time_after_a_reset),
		CASE(conn_uses_what_came_before_sending_failed),
		CASE(conn_uses_what_came_before_a_bad_record),
		CASE(conn_counts_what_is_kept),
		CASE(conn_keeps_a_byte_in_little_memory),
		CASE(conn_keeps_little_where_all_keep_much),
		CASE(conn_goes_on_learning_when_the_loop_had_no_buffer),
		CASE(conn_moves_behind_new_keys),
		CASE(conn_moves_behind_new_keys_of_openssl),
		CASE(conn_keeps_a_part_of_a_record_in_little_memory),
		PLAIN(conn_carries_parts_in_order),
		PLAIN(conn_close_delivers_what_was_written_first),
		PLAIN(conn_close_reads_on_when_the_peer_still_sends),
		PLAIN(conn_closes_on_garbage_instead_of_tls),
		PLAIN(conn_holds_back_a_peer_when_nothing_is_taken),
		PLAIN(conn_moves_to_another_thread_with_its_bytes),
		PLAIN(conn_uses_what_came_before_a_reset),
		PLAIN(conn_ends_at_a_reset_when_nothing_is_wanted),
		PLAIN(conn_waits_a_bounded_time_after_a_reset),
		PLAIN(conn_uses_what_came_before_sending_failed),
		PLAIN(conn_uses_what_came_before_a_bad_record),
		PLAIN(conn_counts_what_is_kept),
		PLAIN(conn_keeps_a_byte_in_little_memory),
		PLAIN(conn_keeps_little_where_all_keep_much),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
