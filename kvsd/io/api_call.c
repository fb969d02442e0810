/* SPDX-License-Identifier: Apache-2.0 */
#include "io/api_call.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "core/limits.h"
#include "core/loop.h"
#include "io/aws_request.h"
#include "io/crypto.h"
#include "io/http_client.h"
#include "proto/epoch.h"
#include "proto/http.h"
#include "proto/json_find.h"

#define ERROR_BODY_BYTES_MAX (8u << 10)
#define CLOSE_NS_MAX (5 * NS_PER_S)

/*
 * A connection. It outlives its caller's interest: one that is closing has no
 * caller and frees itself.
 */
struct link {
	struct api_caller *caller;
	struct http_client *http;
	struct endpoint endpoint;
	bool reused;
	size_t *open_count;
};

struct api_caller {
	struct loop *loop;
	const struct sys_ops *sys;
	struct tls_ctx *tls;
	const struct aws_identity *id;
	uint64_t quiet_ns;
	struct link *link;
	size_t links_open;

	/* The call under way. */
	bool busy;
	struct endpoint endpoint;
	struct buf request;
	struct buf error_body;
	kvs_body_fn *body;
	api_done_fn *done;
	void *ctx;
	struct kvs_reply reply;
	uint64_t date_s;
	char reason[256];
};

static int link_open(struct api_caller *c);

static void set_reason(struct api_caller *c, const char *text)
{
	(void)snprintf(c->reason, sizeof(c->reason), "%s", text);
}

static void finish(struct api_caller *c, int result)
{
	if (!c->busy)
		return;
	c->busy = false;
	buf_reset(&c->request);
	c->done(c->ctx, result);
}

static void link_drop(struct api_caller *c)
{
	struct link *k = c->link;

	if (!k)
		return;
	c->link = NULL;
	k->caller = NULL;
	http_client_close(k->http);
}

static int link_send(struct link *k)
{
	struct iovec part = { buf_head(&k->caller->request),
			      buf_len(&k->caller->request) };

	return http_client_send(k->http, &part, 1);
}

/* --- replies ----------------------------------------------------------------- */

static void copy_slice(char *out, size_t size, struct slice s)
{
	size_t n = MIN(s.len, size - 1);

	memcpy(out, s.ptr ? s.ptr : "", n);
	out[n] = '\0';
}

static void copy_field(const struct http_head *h, const char *name, char *out,
		       size_t size)
{
	const struct slice *value = http_field(h, name);

	if (value)
		copy_slice(out, size, *value);
}

static void on_head(void *ctx, const struct http_head *h)
{
	struct link *k = ctx;
	struct api_caller *c = k->caller;
	const struct slice *date = http_field(h, "Date");

	if (!c)
		return;
	c->reply.status = (int)h->status;
	copy_field(h, "x-amz-ErrorType", c->reply.error_type,
		   sizeof(c->reply.error_type));
	copy_field(h, "x-amzn-ErrorType", c->reply.error_type,
		   sizeof(c->reply.error_type));
	/* Some services append ":http://..." */
	c->reply.error_type[strcspn(c->reply.error_type, ":")] = '\0';
	copy_field(h, "x-amz-RequestId", c->reply.request_id,
		   sizeof(c->reply.request_id));
	copy_field(h, "x-amzn-RequestId", c->reply.request_id,
		   sizeof(c->reply.request_id));
	copy_field(h, "Content-Type", c->reply.content_type,
		   sizeof(c->reply.content_type));
	if (date)
		(void)!epoch_http_parse(*date, &c->date_s);
}

static void on_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct link *k = ctx;
	struct api_caller *c = k->caller;
	int r;

	if (!c)
		return;
	if (c->reply.status != 200) {
		(void)buf_add(&c->error_body, bytes,
			      MIN(len, buf_room(&c->error_body)));
		return;
	}
	if (!c->body)
		return;
	r = c->body(c->ctx, bytes, len);
	if (r == 0)
		return;
	/* Enough, or too much: what is left of the answer is not read. */
	link_drop(c);
	if (r < 0)
		set_reason(c, "stopped by the caller");
	finish(c, MIN(r, 0));
}

static void read_error_body(struct api_caller *c)
{
	struct slice doc = { (const char *)buf_head(&c->error_body),
			     buf_len(&c->error_body) };
	struct kvs_reply *r = &c->reply;
	char type[sizeof(r->error_type)];
	char *hash;

	if (json_find_string(doc, "Message", r->message, sizeof(r->message)) < 0)
		(void)!json_find_string(doc, "message", r->message,
					sizeof(r->message));
	if (r->error_type[0])
		return;
	if (json_find_string(doc, "__type", type, sizeof(type)) < 0 &&
	    json_find_string(doc, "code", type, sizeof(type)) < 0)
		return;
	hash = strrchr(type, '#'); /* "com.amazon.x#SomeException" */
	(void)snprintf(r->error_type, sizeof(r->error_type), "%s",
		       hash ? hash + 1 : type);
}

static void on_done(void *ctx)
{
	struct link *k = ctx;
	struct api_caller *c = k->caller;

	if (!c)
		return;
	if (c->reply.status != 200)
		read_error_body(c);
	if (!http_client_reusable(k->http)) {
		c->link = NULL;
		k->caller = NULL;
	}
	finish(c, 0);
}

static void on_ready(void *ctx)
{
	struct link *k = ctx;

	/* A failed write closes the connection: closed() tells. */
	if (k->caller && k->caller->busy)
		(void)!link_send(k);
}

static void on_closed(void *ctx, int why)
{
	struct link *k = ctx;
	struct api_caller *c = k->caller;
	bool stale = k->reused && !http_client_answered(k->http);

	if (c) {
		c->link = NULL;
		set_reason(c, http_client_reason(k->http));
	}
	(*k->open_count)--;
	(void)http_client_free(k->http);
	free(k);
	if (!c || !c->busy)
		return;
	if (stale) {
		why = link_open(c);
		if (why == 0)
			return;
	}
	finish(c, why < 0 ? why : -ECONNRESET);
}

static const struct http_client_handler handler = {
	.ready = on_ready,
	.head = on_head,
	.body = on_body,
	.done = on_done,
	.closed = on_closed,
};

/* --- calls ------------------------------------------------------------------- */

static int link_open(struct api_caller *c)
{
	struct link *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->caller = c;
	k->endpoint = c->endpoint;
	k->open_count = &c->links_open;
	r = http_client_new(c->loop, c->sys, c->tls, &c->endpoint, c->quiet_ns,
			    &handler, k, &k->http);
	if (r < 0) {
		free(k);
		return r;
	}
	c->links_open++;
	c->link = k;
	return 0;
}

static bool link_fits(const struct link *k, const struct endpoint *ep)
{
	return http_client_reusable(k->http) && k->endpoint.port == ep->port &&
	       strcmp(k->endpoint.host, ep->host) == 0;
}

static int build_request(struct api_caller *c, const char *path,
			 const char *json, size_t len, int64_t clock_offset_s)
{
	struct http_field type = { SLICE("Content-Type"),
				   SLICE("application/json") };
	struct slice body = { json, len };
	uint8_t hash[CRYPTO_HASH_BYTES];
	uint64_t now_s = sys_now_ns(c->sys, CLOCK_REALTIME) / NS_PER_S;
	struct aws_request rq = {
		.endpoint = &c->endpoint,
		.path = path,
		.fields = &type,
		.field_count = 1,
		.body_hash = hash,
		.body_bytes = len,
		.now_s = now_s + (uint64_t)clock_offset_s,
	};
	int r;

	if (len > REQUEST_BODY_BYTES_MAX)
		return -EMSGSIZE;
	r = crypto_sha256(&body, 1, hash);
	if (r == 0)
		r = aws_request_head(c->id, &rq, &c->request);
	if (r == 0)
		r = buf_add(&c->request, json, len);
	return r;
}

int api_call(struct api_caller *c, const char *endpoint, const char *path,
	     const char *json, size_t len, int64_t clock_offset_s,
	     kvs_body_fn *body, api_done_fn *done, void *ctx)
{
	int r;

	if (c->busy)
		return -EBUSY;
	r = endpoint_parse(endpoint, &c->endpoint);
	if (r < 0)
		return r;
	buf_reset(&c->request);
	buf_reset(&c->error_body);
	memset(&c->reply, 0, sizeof(c->reply));
	c->reason[0] = '\0';
	c->date_s = 0;
	r = build_request(c, path, json, len, clock_offset_s);
	if (r < 0)
		return r;
	c->body = body;
	c->done = done;
	c->ctx = ctx;
	if (c->link && !link_fits(c->link, &c->endpoint))
		link_drop(c);
	if (!c->link) {
		r = link_open(c);
	} else {
		c->link->reused = true;
		/* A failed write is a closed connection: closed() tells. */
		(void)!link_send(c->link);
	}
	c->busy = r == 0;
	return r;
}

const struct kvs_reply *api_caller_reply(const struct api_caller *c)
{
	return &c->reply;
}

uint64_t api_caller_date_s(const struct api_caller *c)
{
	return c->date_s;
}

const char *api_caller_reason(const struct api_caller *c)
{
	return c->reason;
}

int api_caller_new(struct loop *l, const struct sys_ops *sys,
		   struct tls_ctx *tls, const struct aws_identity *id,
		   uint64_t quiet_ns, struct api_caller **ret_caller)
{
	struct api_caller *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->loop = l;
	c->sys = sys;
	c->tls = tls;
	c->id = id;
	c->quiet_ns = quiet_ns;
	buf_init(&c->request, REQUEST_BODY_BYTES_MAX + HTTP_HEAD_BYTES_MAX);
	buf_init(&c->error_body, ERROR_BODY_BYTES_MAX);
	*ret_caller = c;
	return 0;
}

struct api_caller *api_caller_free(struct api_caller *c)
{
	uint64_t end_ns;

	if (!c)
		return NULL;
	c->busy = false;
	if (c->link) {
		http_client_abort(c->link->http, -ECANCELED);
		c->link->caller = NULL;
		c->link = NULL;
	}
	end_ns = loop_now_ns(c->loop) + CLOSE_NS_MAX;
	while (c->links_open && loop_turn(c->loop, NS_PER_S / 10) == 0 &&
	       loop_now_ns(c->loop) < end_ns)
		;
	buf_fini(&c->request);
	buf_fini(&c->error_body);
	/* With a broken loop the links stay, and what they point to. */
	if (!c->links_open)
		free(c);
	return NULL;
}
