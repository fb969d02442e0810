/* SPDX-License-Identifier: Apache-2.0 */
#include "support/upload_raw.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "base/buf.h"
#include "base/sys.h"
#include "core/limits.h"
#include "core/loop.h"
#include "io/aws_request.h"
#include "io/http_client.h"
#include "io/loop_uring.h"
#include "io/tls.h"
#include "proto/epoch.h"
#include "proto/http.h"
#include "proto/sigv4.h"

#define HEAD_BYTES_MAX 8192u
#define TURN_NS (NS_PER_S / 10)

struct run {
	struct upload_raw *up;
	struct http_client *client;
	const char *stream;
	struct endpoint endpoint;
	struct aws_identity id;
	uint64_t start_ms;
	const uint8_t *body;
	size_t len;
	struct ack_parser parser;
	bool closed;
};

static void check(bool ok)
{
	if (!ok)
		abort();
}

static void ready(void *ctx)
{
	struct run *u = ctx;
	char start[EPOCH_CHARS_MAX];
	struct http_field fields[] = {
		{ SLICE("x-amzn-fragment-acknowledgment-required"),
		  SLICE("1") },
		{ SLICE("x-amzn-fragment-timecode-type"), SLICE("ABSOLUTE") },
		{ SLICE("x-amzn-producer-start-timestamp"), { NULL, 0 } },
		{ SLICE("x-amzn-stream-name"), slice_of(u->stream) },
	};
	struct aws_request rq = {
		.endpoint = &u->endpoint,
		.path = "/putMedia",
		.fields = fields,
		.field_count = ARRAY_SIZE(fields),
		.body_hash = sigv4_empty_hash,
		.body_bytes = UINT64_MAX,
		.now_s = (uint64_t)time(NULL),
	};
	struct iovec part;
	struct buf head;
	int r;

	epoch_ms_format(u->start_ms, start);
	fields[2].value = slice_of(start);
	buf_init(&head, HEAD_BYTES_MAX);
	check(aws_request_head(&u->id, &rq, &head) == 0);
	part.iov_base = buf_head(&head);
	part.iov_len = buf_len(&head);
	r = http_client_send(u->client, &part, 1);
	buf_fini(&head);
	part.iov_base = (void *)(uintptr_t)u->body;
	part.iov_len = u->len;
	if (r == 0)
		r = http_client_chunk(u->client, &part, 1, u->len);
	if (r == 0)
		r = http_client_end(u->client);
	if (r < 0)
		http_client_abort(u->client, r);
}

static void head(void *ctx, const struct http_head *h)
{
	struct run *u = ctx;

	u->up->status = (int)h->status;
}

static void body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct run *u = ctx;
	size_t at = 0;
	size_t used;
	int r = 1;

	while (u->up->status == 200 && r == 1) {
		check(u->up->ack_count < UPLOAD_RAW_ACKS_MAX);
		r = ack_parser_feed(&u->parser, bytes + at, len - at, &used,
				    &u->up->acks[u->up->ack_count]);
		check(r >= 0);
		at += used;
		u->up->ack_count += r == 1;
	}
}

static void done(void *ctx)
{
	struct run *u = ctx;

	http_client_close(u->client);
}

static void closed(void *ctx, int why)
{
	struct run *u = ctx;

	u->up->why = why;
	u->closed = true;
}

static const struct http_client_handler handler = {
	.ready = ready,
	.head = head,
	.body = body,
	.done = done,
	.closed = closed,
};

void upload_raw(const struct kvs_client_config *config, const char *stream,
		uint64_t start_ms, const uint8_t *bytes, size_t len,
		struct upload_raw *ret_upload)
{
	struct run u = { .up = ret_upload, .stream = stream,
			 .start_ms = start_ms, .body = bytes, .len = len };
	struct tls_ctx *tls;
	struct loop *l;

	memset(ret_upload, 0, sizeof(*ret_upload));
	ack_parser_init(&u.parser);
	check(aws_identity_init(&u.id, config) == 0);
	check(endpoint_parse(config->endpoint, &u.endpoint) == 0);
	check(tls_ctx_new_client(config->ca_bundle, &tls) == 0);
	check(loop_uring_new(sys_posix(), 32, &l) == 0);
	check(http_client_new(l, sys_posix(), tls, &u.endpoint,
			      config->timeout_ms * NS_PER_MS, &handler, &u,
			      &u.client) == 0);
	while (!u.closed)
		check(loop_turn(l, TURN_NS) == 0);
	(void)http_client_free(u.client);
	(void)loop_free(l);
	(void)tls_ctx_free(tls);
	aws_identity_fini(&u.id);
}
