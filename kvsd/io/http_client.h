/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of HTTP/1.1 on one TLS connection: requests one after the
 * other, with a body of known length or a chunked one that may still be
 * growing while the response arrives (PutMedia).
 *
 * Ownership as of struct conn: free only after closed(), which always comes;
 * any other function may be called in any callback. One loop thread.
 */
#ifndef IO_HTTP_CLIENT_H
#define IO_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"

struct endpoint;
struct http_client;
struct http_head;
struct iovec;
struct loop;
struct tls_ctx;

struct http_client_handler {
	/* Connected and verified; a request may begin. */
	void (*ready)(void *ctx);
	/* The final response's head (1xx are passed over). Borrowed. */
	void (*head)(void *ctx, const struct http_head *head);
	/* Some of the response's body. */
	void (*body)(void *ctx, const uint8_t *bytes, size_t len);
	/* The response is over. */
	void (*done)(void *ctx);
	/* All that was written is with the kernel. May be NULL. */
	void (*drained)(void *ctx);
	/*
	 * The connection is gone, in the middle of what was under way if
	 * done() has not come. @why as of conn's closed(), and -EPROTO: not
	 * HTTP/1.1 as we know it.
	 */
	void (*closed)(void *ctx, int why);
};

/**
 * http_client_new() - connect to @endpoint
 * @quiet_ns: closed with -ETIMEDOUT when no byte comes for so long while
 *	something is awaited (the connection, a response); UINT64_MAX = never
 *
 * Return: 0, -ENOMEM, -EINVAL.
 */
int http_client_new(struct loop *l, const struct sys_ops *sys,
		    struct tls_ctx *tls, const struct endpoint *endpoint,
		    uint64_t quiet_ns,
		    const struct http_client_handler *handler, void *ctx,
		    struct http_client **ret_client) MUST_CHECK;
/* Only after closed(). Accepts NULL, returns NULL. */
struct http_client *http_client_free(struct http_client *c);

/**
 * http_client_send() - begin a request
 * @parts: head and body, or the head alone when chunks follow
 *
 * Return: 0, -EBUSY (not ready, or a response is awaited), or the error of
 * conn_write(): closed() follows.
 */
int http_client_send(struct http_client *c, const struct iovec *parts,
		     size_t count) MUST_CHECK;

/*
 * One chunk: its size line, the parts, its end, in as few TLS records as they
 * fill. @bytes: sum of the parts, not 0; at most HTTP_CLIENT_PARTS_MAX parts.
 */
int http_client_chunk(struct http_client *c, const struct iovec *parts,
		      size_t count, size_t bytes) MUST_CHECK;
#define HTTP_CLIENT_PARTS_MAX 62u

/* The chunk that ends the body. */
int http_client_end(struct http_client *c) MUST_CHECK;

/* Whether another request may begin: the last one is over and it stays. */
bool http_client_reusable(const struct http_client *c);

/* Whether any byte came since the last http_client_send(). */
bool http_client_answered(const struct http_client *c);

/* Ends it in order, or at once; closed() follows. */
void http_client_close(struct http_client *c);
void http_client_abort(struct http_client *c, int why);

/* Bytes written that the kernel has not taken. */
size_t http_client_backlog(const struct http_client *c);
/* Words for why it closed. */
const char *http_client_reason(const struct http_client *c);
const char *http_client_send_rung(const struct http_client *c);

#endif
