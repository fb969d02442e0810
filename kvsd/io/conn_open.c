/* SPDX-License-Identifier: Apache-2.0 */
/* How a connection begins: taken over, or resolved and connected. */
#include "io/conn_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "io/resolve.h"
#include "io/tls.h"

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
	r = conn_timers_reserve(c);
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
	conn_recv_start(c);
	*ret_conn = c;
	return 0;
}

static void connect_next(struct conn *c);

static void connect_done(struct loop_op *op, int res)
{
	struct conn *c = container_of(op, struct conn, send_op);

	if (c->state == CONN_OVER) {
		conn_finish(c);
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
	conn_process(c);
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
	conn_set_reason(c, "cannot connect");
	resolve_free(r);
	c->resolve = NULL;
	conn_over(c, c->why);
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
		conn_set_reason(c, r->reason ? r->reason : "unknown host");
		resolve_free(r);
		c->resolve = NULL;
		conn_over(c, -EHOSTUNREACH);
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
