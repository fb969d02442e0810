/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One TLS connection to the server under load: what every load shares. Not a
 * client to copy: whatever goes wrong ends the program, since a figure under
 * other conditions is none.
 */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "io/tls.h"

#define SESSION_RECV_BYTES (16u << 10)

struct session {
	int fd;
	struct tls *tls;
	struct buf in;		/* ciphertext */
	struct buf out;		/* ciphertext */
	bool ended;		/* the peer said so */
	/* Plaintext as it comes; the bytes are the session's. May be NULL. */
	void (*take)(struct session *s, const uint8_t *bytes, size_t len);
};

/* "bench: what: reason", exit code 1. @r: negative errno. */
void session_die(const char *what, int r);

/* Connects to 127.0.0.1:@port and shakes hands. Then it does not block. */
void session_open(struct session *s, struct tls_ctx *ctx, uint16_t port);
void session_fini(struct session *s);

/* Encrypts (a record per 16 KiB) and sends what the socket takes now. */
void session_write(struct session *s, const void *bytes, size_t len);
/* Sends more. Return: nothing is left. */
bool session_flush(struct session *s);
/* Says that nothing more comes (close_notify). */
void session_close(struct session *s);
/* Takes what has arrived; gives it to @s->take. */
void session_receive(struct session *s);

/* CLOCK_MONOTONIC, ns. */
uint64_t session_now_ns(void);
/* A decimal number from the command line. */
uint64_t session_number(const char *s);

/* A whole file, with a NUL behind it; never freed. */
char *session_file(const char *path, size_t *ret_bytes);

#endif
