/* SPDX-License-Identifier: Apache-2.0 */
/* io/conn.c over io/tls.c: peers that are none, and a client of OpenSSL's own. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/sys.h"
#include "core/limits.h"
#include "io/conn.h"
#include "io/conn_int.h"
#include "io/loop_uring.h"
#include "io/tls.h"
#include "support/conn_bench.h"
#include "support/test_cert.h"

static void conn_refuses_a_certificate_for_another_name(void **state)
{
	struct conn_bench *b = *state;

	/* The certificate carries the address only. */
	bench_connect(b, "localhost");
	bench_turn_until(b, &b->client.closed);
	assert_int_equal(b->client.ready, 0);
	assert_int_equal(b->client.why, -EKEYREJECTED);
	assert_non_null(strstr(b->client.reason, "ostname mismatch"));
}

static void conn_refuses_an_unknown_authority(void **state)
{
	struct conn_bench *b = *state;
	char other[] = "/tmp/kvsd-conn2-XXXXXX";
	char path[64];

	assert_non_null(mkdtemp(other));
	test_cert_write(other, "IP:127.0.0.1");
	(void)snprintf(path, sizeof(path), "%s/cert.pem", other);
	(void)tls_ctx_free(b->client_tls);
	assert_int_equal(tls_ctx_new_client(path, &b->client_tls), 0);
	bench_connect(b, "127.0.0.1");
	bench_turn_until(b, &b->client.closed);
	assert_int_equal(b->client.why, -EKEYREJECTED);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key.pem", other);
	(void)unlink(path);
	(void)rmdir(other);
}

static void conn_closes_on_garbage_instead_of_tls(void **state)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	struct conn_bench *b = *state;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	addr.sin_port = htons(b->port);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	assert_int_equal(write(fd, "GET / HTTP/1.1\r\n\r\n", 18), 18);
	bench_turn_until(b, &b->accepted);
	(void)shutdown(fd, SHUT_WR);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -EPROTO);
	(void)close(fd);
}

static void conn_uses_what_came_before_a_bad_record(void **state)
{
	static const uint8_t junk[64] = "no record of TLS";
	struct conn_bench *b = *state;

	bench_open(b);
	b->server.wants = true;
	bench_say(b->client.conn, "all of it");
	/* Behind the record, mostly in the same receive. */
	assert_int_equal(buf_add(&b->client.conn->out, junk, sizeof(junk)), 0);
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(buf_len(&b->server.got), 9);
	assert_int_equal(b->server.why, -EPROTO);
}

/* --- a client of OpenSSL's, whose records are not sent by themselves --- */

struct raw {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *to;
	BIO *from;
	int fd;
};

static void raw_send(struct conn_bench *b, struct raw *c, size_t len)
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

static void raw_open(struct conn_bench *b, struct raw *c, const char *suite)
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
static void moves_behind_new_keys(struct conn_bench *b, const char *suite)
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

/* A record that is none; what the client is told of it. */
static void tells_of_a_bad_record(struct conn_bench *b, const char *suite)
{
	static const uint8_t bad[5 + 40] = {23, 3, 3, 0, 40, 'b', 'a', 'd'};
	uint8_t bytes[4096];
	struct raw c;
	ssize_t n;

	raw_open(b, &c, suite);
	assert_int_equal(SSL_write(c.ssl, "good", 4), 4);
	raw_send(b, &c, SIZE_MAX);
	assert_int_equal(send(c.fd, bad, sizeof(bad), MSG_NOSIGNAL),
			 (ssize_t)sizeof(bad));
	bench_turn_until(b, &b->server.closed);
	assert_int_equal(b->server.why, -EPROTO);
	while ((n = recv(c.fd, bytes, sizeof(bytes), 0)) > 0)
		assert_int_equal(BIO_write(c.to, bytes, (int)n), n);
	ERR_clear_error();
	assert_true(SSL_read(c.ssl, bytes, sizeof(bytes)) <= 0);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()),
			 SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
	raw_close(&c);
}

static void conn_tells_of_a_bad_record(void **state)
{
	tells_of_a_bad_record(*state, "TLS_AES_256_GCM_SHA384");
}

static void conn_tells_of_a_bad_record_by_openssl(void **state)
{
	tells_of_a_bad_record(*state, "TLS_AES_128_GCM_SHA256");
}

static size_t taken;

static size_t take_and_count(struct conn_side *s, const uint8_t *bytes,
			     size_t len)
{
	(void)s;
	(void)bytes;
	taken += len;
	return len;
}

static void turn_until_taken(struct conn_bench *b, size_t bytes)
{
	int turns;

	for (turns = 0; turns < 10000 && taken < bytes; turns++)
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
	assert_int_equal(taken, bytes);
}

#define BURST_BYTES (64u * 4096)

/* As much as the socket takes before each turn: the service gets behind. */
static void raw_burst(struct conn_bench *b, struct raw *c)
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
	struct conn_bench *b = *state;
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		BENCH_CASE(conn_refuses_a_certificate_for_another_name),
		BENCH_CASE(conn_refuses_an_unknown_authority),
		BENCH_CASE(conn_closes_on_garbage_instead_of_tls),
		BENCH_CASE(conn_uses_what_came_before_a_bad_record),
		BENCH_CASE(conn_tells_of_a_bad_record),
		BENCH_CASE(conn_tells_of_a_bad_record_by_openssl),
		BENCH_CASE(conn_moves_behind_new_keys),
		BENCH_CASE(conn_moves_behind_new_keys_of_openssl),
		BENCH_CASE(conn_keeps_a_part_of_a_record_in_little_memory),
		BENCH_PLAIN(conn_closes_on_garbage_instead_of_tls),
		BENCH_PLAIN(conn_uses_what_came_before_a_bad_record),
		BENCH_PLAIN(conn_tells_of_a_bad_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
