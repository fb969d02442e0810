/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TLS connection on a loop: accept or connect, handshake, read, write, shut
 * down, each with a deadline. Server and client use the same object.
 *
 * Ownership: the creator owns the connection until closed() has run; after
 * that call it is freed by conn_free() (allowed inside closed()). Every
 * callback may call any function here, conn_free() excepted while operations
 * are in flight: use conn_abort() and wait for closed().
 */
#ifndef IO_CONN_H
#define IO_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"

/* Most plaintext kept for a handler that does not use it. */
#define CONN_PLAIN_BYTES_MAX (128u << 10)
/* Most ciphertext queued for the kernel. */
#define CONN_OUT_BYTES_MAX (8u << 20)

struct conn;
struct iovec;
struct loop;
struct tls_ctx;

struct conn_handler {
	/* The handshake is done; writing is allowed from here on. */
	void (*ready)(struct conn *c, void *ctx);
	/*
	 * Plaintext arrived. Returns how many bytes were used; the rest is
	 * kept and offered again together with what follows, or after
	 * conn_resume(). Reading goes on until CONN_PLAIN_BYTES_MAX are kept;
	 * then the peer feels it through TCP until conn_resume().
	 */
	size_t (*data)(struct conn *c, void *ctx, const uint8_t *bytes,
		       size_t len);
	/* All that was written has reached the kernel. */
	void (*drained)(struct conn *c, void *ctx);
	/*
	 * The peer ended its sending direction in order (close_notify or a
	 * bare FIN), and all of it has been offered. Writing is still
	 * possible, and kept plaintext is still offered after conn_resume().
	 * May be NULL: then the connection is closed.
	 */
	void (*ended)(struct conn *c, void *ctx);
	/*
	 * May be NULL: never. The connection is lost: is what it brought before
	 * still of use? As long as it is, data() gets it, for 10 s at most;
	 * then comes closed(). Nothing can be written.
	 */
	bool (*wants)(const struct conn *c, void *ctx);
	/*
	 * Over. @why: 0 in order, -ETIMEDOUT (deadline), -EKEYREJECTED (peer
	 * certificate), -ECANCELED (conn_abort), else the errno of the
	 * socket. Last callback;
	 * conn_reason() has words for it.
	 */
	void (*closed)(struct conn *c, void *ctx, int why);
};

/**
 * conn_new_server() - take over an accepted socket
 * @fd: owned by the connection from here on, also on failure
 *
 * Return: 0, -ENOMEM.
 */
int conn_new_server(struct loop *l, const struct sys_ops *sys,
		    struct tls_ctx *tls, int fd,
		    const struct conn_handler *handler, void *ctx,
		    struct conn **ret_conn) MUST_CHECK;

/**
 * conn_new_client() - connect
 * @host: DNS name or numeric address, without brackets; also what the
 *	certificate must carry. Names are resolved on a thread of their own.
 *
 * Return: 0 (the outcome comes by ready() or closed()), -ENOMEM, -EINVAL.
 */
int conn_new_client(struct loop *l, const struct sys_ops *sys,
		    struct tls_ctx *tls, const char *host, uint16_t port,
		    const struct conn_handler *handler, void *ctx,
		    struct conn **ret_conn) MUST_CHECK;

/* Only after closed() has been called. Accepts NULL, returns NULL. */
struct conn *conn_free(struct conn *c);

/**
 * conn_write() - encrypt and queue; never blocks, never short
 *
 * The parts share TLS records as far as they fit (16 KiB each). Bytes are
 * ciphered before this returns, so the caller's memory is free again.
 * Return: 0, -ENOBUFS (over CONN_OUT_BYTES_MAX: check conn_backlog() first),
 * -EPIPE (not ready, or closing).
 */
int conn_write(struct conn *c, const struct iovec *parts,
	       size_t count) MUST_CHECK;

/* Ciphertext bytes that the kernel has not taken yet. */
size_t conn_backlog(const struct conn *c);

/* Broken, but what it brought is still being used. */
bool conn_lost(const struct conn *c);

/* In ended(): plaintext bytes that data() has not used. */
size_t conn_kept(const struct conn *c);

/* Offers kept plaintext again (in a later callback) and reads on. */
void conn_resume(struct conn *c);

/*
 * Least bytes of ciphertext to wake up for (SO_RCVLOWAT), unless the peer ends.
 * 1: any, as at first. What is there already counts. A hint: no error.
 */
void conn_lowat(struct conn *c, size_t bytes);

/*
 * Closes with -ETIMEDOUT at @at_ns (CLOCK_MONOTONIC); UINT64_MAX = never. One
 * deadline per connection: whoever runs the protocol moves it along. Besides,
 * a backlog that does not shrink for SEND_STALL_NS_MAX closes it too.
 */
void conn_deadline(struct conn *c, uint64_t at_ns);

/*
 * Sends what is queued, then close_notify, reads on for at most 2 s so that
 * the peer gets to see it, then closes. closed() has why = 0.
 */
void conn_close(struct conn *c);

/* Closes at once; closed(@why) follows by callback. */
void conn_abort(struct conn *c, int why);

/**
 * conn_move() - hand a connection to another loop's thread
 * @arrived: runs on the new thread; until then neither thread may touch it
 *
 * For use inside data(): the bytes that data() then returns as unused go
 * along. Output that was written before still leaves from here first. If the
 * connection fails meanwhile, it arrives all the same and closed() follows.
 * Return: 0, -EBUSY (not inside data(), or closing).
 */
int conn_move(struct conn *c, struct loop *to,
	      void (*arrived)(struct conn *c, void *ctx)) MUST_CHECK;

void conn_set_handler(struct conn *c, const struct conn_handler *handler,
		      void *ctx);
struct loop *conn_loop(const struct conn *c);
/* "192.0.2.1:443" of the peer, for logs. */
const char *conn_peer(const struct conn *c);
/* Words for the last failure, e.g. OpenSSL's verify error. */
const char *conn_reason(const struct conn *c);
/* Payload bytes ciphered by user space and copied by the kernel: the rung. */
const char *conn_send_rung(const struct conn *c);

#endif
