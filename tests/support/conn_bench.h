/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ends of a connection (io/conn.h) on one loop over loopback TCP, with
 * TLS: what the tests of connections share. For cmocka: what fails here fails
 * the test.
 */
#ifndef SUPPORT_CONN_BENCH_H
#define SUPPORT_CONN_BENCH_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/loop.h"
#include "io/conn.h"

struct tls_ctx;

#define CONN_BENCH_BULK_BYTES (3u << 20)
#define CONN_BENCH_BEHIND_BYTES 40000u

struct conn_side {
	struct conn *conn;
	struct buf got;
	int ready;
	int drained;
	int ended;
	int closed;
	int why;
	char reason[256];
	size_t (*take)(struct conn_side *s, const uint8_t *bytes, size_t len);
	int offers;
	struct loop *move_to;
	int arrived;
	pthread_t arrived_on;
	bool echo;
	bool wants;
};

struct conn_bench {
	struct loop *loop;
	struct tls_ctx *server_tls;
	struct tls_ctx *client_tls;
	char dir[32];
	int listen_fd;
	uint16_t port;
	struct loop_op accept_op;
	int accepted;
	struct conn_side server;
	struct conn_side client;
};

/* For cmocka: *state is a struct conn_bench. */
int bench_setup(void **state);
/* As where the kernel cannot choose buffers. */
int bench_setup_plain(void **state);
int bench_teardown(void **state);

void bench_connect(struct conn_bench *b, const char *host);
/* Both ends are ready. */
void bench_open(struct conn_bench *b);
void bench_say(struct conn *c, const char *text);
void bench_turn_until(struct conn_bench *b, const int *counter);

/* A handler's: nothing is taken. */
size_t bench_take_nothing(struct conn_side *s, const uint8_t *bytes,
			  size_t len);
void bench_turn_until_kept(struct conn_bench *b, struct conn *c, size_t bytes);
/*
 * Bytes that the server's handler does not take yet, then a reset.
 * @bytes: CONN_BENCH_BEHIND_BYTES of them, filled in
 */
void bench_lose_behind_kept(struct conn_bench *b, uint8_t *bytes);
void bench_turn_until_lost(struct conn_bench *b);

#define BENCH_CASE(name) \
	cmocka_unit_test_setup_teardown(name, bench_setup, bench_teardown)
#define BENCH_PLAIN(name)                                                  \
	{                                                                  \
#name " (plain)", name, bench_setup_plain, bench_teardown, \
			NULL                                               \
	}

#endif
