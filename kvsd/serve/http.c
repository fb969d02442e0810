/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/http.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/conn.h"
#include "io/crypto.h"
#include "proto/names.h"
#include "proto/slice.h"
#include "serve/answer.h"
#include "serve/operations.h"
#include "serve/quota.h"
#include "serve/server.h"

#define SIGNED_SERVICE "kinesisvideo"

/* --- life ----------------------------------------------------------------- */

void exchange_ref(struct exchange *ex)
{
	ex->refs++;
}

void exchange_unref(struct exchange *ex)
{
	struct server *server = ex->thread->server;

	if (--ex->refs)
		return;
	if (ex->json)
		json_decref(ex->json);
	buf_fini(&ex->head_bytes);
	buf_fini(&ex->body);
	crypto_wipe(&ex->credential, sizeof(ex->credential));
	crypto_wipe(&ex->stream, sizeof(ex->stream));
	free(ex);
	server_busy_end(server);
}

void exchange_stop(struct exchange *ex)
{
	ex->last = true;
	if (ex->state == EXCHANGE_HEAD)
		exchange_close(ex);
	else if (ex->handler && ex->handler->stop)
		ex->handler->stop(ex);
}

static void leave_thread(struct exchange *ex)
{
	struct server_thread *t = ex->thread;

	list_del(&ex->link);
	if (!ex->counted)
		return;
	ex->counted = false;
	t->body_bytes -= buf_len(&ex->body);
	t->connection_count--;
	server_connection_gone(t);
}

static void join_thread(struct exchange *ex, struct server_thread *t)
{
	ex->thread = t;
	list_add_tail(&t->connections, &ex->link);
	ex->counted = true;
	t->body_bytes += buf_len(&ex->body);
	t->connection_count++;
}

/* Memory is freed: idle connections keep no buffers. */
static void drop_buffers(struct exchange *ex)
{
	if (ex->counted)
		ex->thread->body_bytes -= buf_len(&ex->body);
	buf_fini(&ex->head_bytes);
	buf_fini(&ex->body);
}

static uint64_t in_ns(const struct exchange *ex, uint64_t ns)
{
	return loop_now_ns(ex->thread->loop) + ns;
}

static void on_closed(struct conn *c, void *ctx, int why)
{
	struct exchange *ex = ctx;

	if (why && why != -ECANCELED)
		log_debug("serve", "%s: %s", conn_peer(c), conn_reason(c));
	answer_log_cut(ex, why);
	ex->conn = NULL;
	conn_free(c);
	leave_thread(ex);
	if (ex->handler && ex->handler->closed)
		ex->handler->closed(ex);
	ex->handler = NULL;
	exchange_unref(ex);
}

/* --- the next request
 * --------------------------------------------------------- */

void exchange_next(struct exchange *ex)
{
	if (ex->json)
		json_decref(ex->json);
	ex->json = NULL;
	ex->handler = NULL;
	ex->state_of_op = NULL;
	ex->state = EXCHANGE_HEAD;
	ex->begin_ns = 0;
	drop_buffers(ex);
	crypto_wipe(&ex->credential, sizeof(ex->credential));
	crypto_wipe(&ex->stream, sizeof(ex->stream));
	if (!ex->conn)
		return;
	if (ex->thread->stopping) {
		exchange_close(ex);
		return;
	}
	conn_deadline(ex->conn, in_ns(ex, ex->thread->limits.keep_alive_ns));
	conn_resume(ex->conn);
}

void exchange_close(struct exchange *ex)
{
	ex->state = EXCHANGE_CLOSING;
	if (ex->conn)
		conn_close(ex->conn);
}

/* --- signature
 * ---------------------------------------------------------------- */

static void refuse_signature(struct exchange *ex, enum sigv4_verdict verdict)
{
	const struct sigv4_error *e = sigv4_error(verdict);

	exchange_error(ex, e->status, e->type, e->message);
}

/* Return: the request may run. */
static bool verify(struct exchange *ex, const uint8_t *body_hash)
{
	struct sigv4_request rq = sigv4_request_of(&ex->head);
	struct sigv4_credentials cred = {
		.access_key_id = slice_of(ex->credential.access_key),
		.secret = slice_of(ex->credential.secret),
	};
	enum sigv4_verdict verdict;

	rq.body_hash = body_hash;
	verdict = sigv4_verify(&ex->claim, &rq, &cred, crypto_sigv4_hash(),
			       &ex->thread->work);
	crypto_wipe(ex->credential.secret, sizeof(ex->credential.secret));
	if (verdict != SIGV4_OK)
		refuse_signature(ex, verdict);
	return verdict == SIGV4_OK;
}

static bool verify_body(struct exchange *ex)
{
	struct slice part = {(const char *)buf_head(&ex->body),
			     buf_len(&ex->body)};
	uint8_t hash[CRYPTO_HASH_BYTES];

	if (crypto_sha256(&part, part.len ? 1 : 0, hash) < 0) {
		exchange_internal(ex, -EIO);
		return false;
	}
	return verify(ex, hash);
}

static void run(struct exchange *ex);

static void key_found(struct catalog_op *op, int res)
{
	struct exchange *ex = container_of(op, struct exchange, catalog_op);
	bool alive = exchange_alive(ex);

	ex->catalog_busy = false;
	exchange_unref(ex);
	if (!alive)
		return;
	if (res < 0 && res != -ENOENT) {
		exchange_internal(ex, res);
		return;
	}
	if (res == -ENOENT || !ex->credential.enabled) {
		refuse_signature(ex, SIGV4_UNKNOWN_KEY);
		return;
	}
	if (ex->op && ex->op->upload ? verify(ex, sigv4_empty_hash)
				     : verify_body(ex))
		run(ex);
}

/* On the thread where the request will run. */
static void look_up_key(struct exchange *ex)
{
	struct slice id = ex->claim.access_key_id;

	if (id.len >= sizeof(ex->access_key)) {
		refuse_signature(ex, SIGV4_UNKNOWN_KEY);
		return;
	}
	memcpy(ex->access_key, id.ptr, id.len);
	ex->access_key[id.len] = '\0';
	ex->state = EXCHANGE_KEY;
	ex->catalog_busy = true;
	exchange_ref(ex);
	ex->catalog_op.done = key_found;
	catalog_credential(ex->thread->server->catalog, ex->thread->loop,
			   ex->access_key, &ex->credential, &ex->catalog_op);
}

/* Form, scope and date: what can be told without the key. */
static bool claim_ok(struct exchange *ex)
{
	const struct serve_options *o = ex->thread->server->options;
	struct sigv4_request rq = sigv4_request_of(&ex->head);
	struct sigv4_scope scope = {slice_of(o->region), SLICE(SIGNED_SERVICE)};
	enum sigv4_verdict verdict;

	verdict = sigv4_parse(&rq, &ex->claim);
	if (verdict == SIGV4_OK)
		verdict = sigv4_check(&ex->claim, &scope,
				      server_wall_ms(ex->thread) / 1000);
	if (verdict != SIGV4_OK)
		refuse_signature(ex, verdict);
	return verdict == SIGV4_OK;
}

/* --- head
 * --------------------------------------------------------------------- */

static void request_id_make(struct exchange *ex)
{
	uint8_t r[16];
	size_t i;
	char *p = ex->request_id;

	for (i = 0; i < sizeof(r); i += 4) {
		uint32_t word = server_random(ex->thread);

		memcpy(r + i, &word, 4);
	}
	for (i = 0; i < sizeof(r); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = "0123456789abcdef"[r[i] >> 4];
		*p++ = "0123456789abcdef"[r[i] & 15];
	}
	*p = '\0';
}

static void request_begin(struct exchange *ex)
{
	ex->begin_ns = loop_now_ns(ex->thread->loop);
	ex->status = 0;
	ex->error_type = NULL;
	ex->sent_bytes = 0;
	ex->chunked = false;
	ex->owed = 0;
	ex->body_done = false;
	ex->op = NULL;
	ex->name[0] = '\0';
	ex->arn[0] = '\0';
	request_id_make(ex);
}

static void settle_on_thread(struct exchange *ex);

/* The head's bytes go with the connection's buffer: keep a copy. */
static void head_arrived(struct exchange *ex, const uint8_t *bytes, size_t len)
{
	request_begin(ex);
	buf_init(&ex->head_bytes, HTTP_HEAD_BYTES_MAX + 2);
	buf_init(&ex->body, REQUEST_BODY_BYTES_MAX);
	if (buf_add(&ex->head_bytes, bytes, len) < 0 ||
	    http_request_parse(buf_head(&ex->head_bytes), len, &ex->head) <=
		    0) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	ex->last = ex->head.close;
	http_body_init_request(&ex->framing, &ex->head);
	ex->body_done = http_body_done(&ex->framing);
	if (slice_is(ex->head.method, "POST"))
		ex->op = operation_find(ex->head.path);
	if (!claim_ok(ex))
		return;
	if (ex->body_done || (ex->op && ex->op->upload)) {
		settle_on_thread(ex);
		return;
	}
	if (ex->head.has_length && ex->head.length > REQUEST_BODY_BYTES_MAX) {
		exchange_error(ex, 413, "RequestEntityTooLarge",
			       "The request body is too large.");
		return;
	}
	ex->state = EXCHANGE_BODY;
	conn_deadline(ex->conn, in_ns(ex, REQUEST_BODY_NS_MAX));
	if (ex->head.expect_continue && exchange_continue(ex) < 0)
		return; /* closed() follows */
}

static size_t read_head(struct exchange *ex, const uint8_t *bytes, size_t len)
{
	size_t skip = MIN(ex->held, len);
	int n;

	ex->held = 0;
	n = http_request_parse(bytes + skip, len - skip, &ex->head);
	if (n == 0) {
		/* The deadline is for the whole head: not moved by more. */
		if (len > skip && !ex->begin_ns) {
			ex->begin_ns = loop_now_ns(ex->thread->loop);
			conn_deadline(ex->conn, in_ns(ex, REQUEST_HEAD_NS_MAX));
		}
		return skip;
	}
	if (n < 0) {
		request_begin(ex);
		ex->last = true;
		exchange_error(ex, http_error_status(n), "BadRequest",
			       "The request is not well-formed HTTP/1.1.");
		return len;
	}
	ex->held = 1;
	conn_deadline(ex->conn, UINT64_MAX);
	head_arrived(ex, bytes + skip, (size_t)n);
	return skip + (size_t)n - 1;
}

/* --- JSON body
 * ------------------------------------------------------------------ */

static bool keep_body(struct exchange *ex, const uint8_t *bytes, size_t len)
{
	if (ex->thread->body_bytes + len > BODIES_BYTES_MAX ||
	    buf_add(&ex->body, bytes, len) < 0)
		return false;
	ex->thread->body_bytes += len;
	return true;
}

static bool take_body(struct exchange *ex, const uint8_t *bytes, size_t len,
		      size_t *ret_used)
{
	size_t pos = MIN(ex->held, len);

	while (!ex->body_done && pos < len) {
		const uint8_t *piece;
		size_t piece_len;
		size_t used;
		int r = http_body_feed(&ex->framing, bytes + pos, len - pos,
				       &used, &piece, &piece_len);

		if (r < 0 || (piece_len && !keep_body(ex, piece, piece_len))) {
			ex->last = true;
			exchange_error(ex, r < 0 ? 400 : 413,
				       r < 0 ? "SerializationException"
					     : "RequestEntityTooLarge",
				       "The request body cannot be read.");
			*ret_used = len;
			return false;
		}
		pos += used;
		ex->body_done = r == 1;
	}
	*ret_used = pos;
	return true;
}

static size_t read_body(struct exchange *ex, const uint8_t *bytes, size_t len)
{
	size_t used;

	if (!take_body(ex, bytes, len, &used)) {
		ex->held = 0;
		return used;
	}
	/* One byte stays behind: there is always something to hold. */
	ex->held = 1;
	if (ex->body_done) {
		conn_deadline(ex->conn, UINT64_MAX);
		settle_on_thread(ex);
	}
	return used - 1;
}

/* --- to the right thread
 * ---------------------------------------------------------- */

static void stream_found(struct catalog_op *op, int res)
{
	struct exchange *ex = container_of(op, struct exchange, catalog_op);
	bool alive = exchange_alive(ex);

	ex->catalog_busy = false;
	exchange_unref(ex);
	if (!alive)
		return;
	if (res == -ENOENT) {
		exchange_no_stream(ex);
		return;
	}
	if (res < 0) {
		exchange_internal(ex, res);
		return;
	}
	ex->state = EXCHANGE_RUNNING;
	ex->op->run(ex);
}

/* On the stream's own thread. */
static void run_on_stream(struct exchange *ex)
{
	if (ex->thread->stopping) {
		exchange_error(ex, 503, "ServiceUnavailable",
			       "The service is stopping.");
		return;
	}
	if (!quota_request(ex))
		return;
	if (ex->op->place == PLACE_OWNER) {
		ex->state = EXCHANGE_RUNNING;
		ex->op->run(ex);
		return;
	}
	ex->state = EXCHANGE_FINDING;
	ex->catalog_busy = true;
	exchange_ref(ex);
	ex->catalog_op.done = stream_found;
	catalog_find(ex->thread->server->catalog, ex->thread->loop,
		     ex->arn[0] ? NULL : ex->name, ex->arn[0] ? ex->arn : NULL,
		     &ex->stream, &ex->catalog_op);
}

/* The signature is good. */
static void run(struct exchange *ex)
{
	if (!ex->op) {
		exchange_error(ex, 404, "UnknownOperationException",
			       "There is no such operation.");
		return;
	}
	if (!ex->op->upload && !ex->json) {
		exchange_error(ex, 400, "SerializationException",
			       "The request body is not a JSON object.");
		return;
	}
	if (ex->op->place == PLACE_ANY) {
		if (!quota_request(ex))
			return;
		ex->state = EXCHANGE_RUNNING;
		ex->op->run(ex);
	} else if (operation_stream_of(ex) == 0) {
		run_on_stream(ex);
	}
}

static void on_arrived(struct conn *c, void *ctx)
{
	struct exchange *ex = ctx;

	(void)c;
	join_thread(ex, ex->thread);
	look_up_key(ex);
}

static void move(struct exchange *ex, struct server_thread *to)
{
	if (conn_move(ex->conn, to->loop, on_arrived) < 0)
		return; /* it is closing: closed() follows */
	ex->state = EXCHANGE_MOVING;
	leave_thread(ex);
	ex->thread = to;
}

/*
 * All that is needed to know the thread is here, and conn_move() wants to be
 * called from data(): so the connection goes there before the key is looked
 * up. What is wrong with the request is answered after its signature.
 */
static void settle_on_thread(struct exchange *ex)
{
	struct server_thread *to = ex->thread;
	char name[CATALOG_NAME_BYTES];

	if (ex->op && !ex->op->upload)
		ex->json = answer_parse_json(ex);
	if (ex->op && ex->op->place != PLACE_ANY &&
	    operation_peek_name(ex, name))
		to = server_thread_of(ex->thread->server, name);
	if (to == ex->thread)
		look_up_key(ex);
	else
		move(ex, to);
}

/* --- streaming bodies
 * ---------------------------------------------------------------- */

/* Its end was not seen, and where it is cannot be known any more. */
static void body_unreadable(struct exchange *ex, int why)
{
	ex->last = true;
	ex->body_done = true;
	if (ex->handler->unreadable)
		ex->handler->unreadable(ex);
	else
		exchange_cut(ex, why);
}

/* Payload of an upload, framing taken off. Return: bytes dealt with. */
static size_t read_upload(struct exchange *ex, const uint8_t *bytes, size_t len)
{
	size_t pos = MIN(ex->held, len);

	ex->held = 0;
	while (ex->handler && ex->handler->data) {
		const uint8_t *piece;
		size_t used;

		if (ex->owed) {
			size_t n = MIN(ex->owed, len - pos);

			if (!n)
				return pos;
			used = ex->handler->data(ex, bytes + pos, n);
			pos += used;
			ex->owed -= used;
			if (used < n)
				return pos;
			continue;
		}
		if (ex->body_done) {
			ex->handler->body_end(ex);
			return pos;
		}
		if (pos == len) {
			if (ex->peer_ended)
				body_unreadable(ex, -ECONNRESET);
			return pos;
		}
		switch (http_body_feed(&ex->framing, bytes + pos, len - pos,
				       &used, &piece, &ex->owed)) {
		case 0:
			break;
		case 1:
			ex->body_done = true;
			break;
		default:
			ex->owed = 0;
			body_unreadable(ex, -EBADMSG);
			return len;
		}
		pos += used - ex->owed;
	}
	return ex->state == EXCHANGE_CLOSING ? len : pos;
}

/* --- connection events
 * --------------------------------------------------------------- */

static size_t on_data(struct conn *c, void *ctx, const uint8_t *bytes,
		      size_t len)
{
	struct exchange *ex = ctx;

	(void)c;
	switch (ex->state) {
	case EXCHANGE_HEAD:
		return read_head(ex, bytes, len);
	case EXCHANGE_BODY:
		return read_body(ex, bytes, len);
	case EXCHANGE_RUNNING:
		if (ex->handler && ex->handler->data)
			return read_upload(ex, bytes, len);
		return 0;
	case EXCHANGE_CLOSING:
		return len;
	case EXCHANGE_KEY:
	case EXCHANGE_MOVING:
	case EXCHANGE_FINDING:
		break;
	}
	return 0;
}

static void on_ready(struct conn *c, void *ctx)
{
	struct exchange *ex = ctx;

	conn_deadline(c, in_ns(ex, REQUEST_HEAD_NS_MAX));
}

static void on_drained(struct conn *c, void *ctx)
{
	struct exchange *ex = ctx;

	(void)c;
	if (ex->handler && ex->handler->drained)
		ex->handler->drained(ex);
}

/*
 * The client sends no more. A streamed answer has nobody to read it then; a
 * short one is still written. What is left of an upload is read first.
 */
static void on_ended(struct conn *c, void *ctx)
{
	struct exchange *ex = ctx;

	ex->last = true;
	ex->peer_ended = true;
	if (ex->state == EXCHANGE_HEAD || ex->state == EXCHANGE_BODY)
		conn_close(c);
	else if (ex->handler && ex->handler->data && !ex->body_done &&
		 conn_kept(c) <= ex->held)
		body_unreadable(ex, -ECONNRESET);
	else if (ex->handler && !ex->handler->data)
		conn_abort(c, -ECONNRESET);
}

/* An upload's bytes are of use without anybody to say so to. */
static bool on_wants(const struct conn *c, void *ctx)
{
	const struct exchange *ex = ctx;

	(void)c;
	return ex->state == EXCHANGE_RUNNING && ex->handler &&
	       ex->handler->data && (!ex->body_done || ex->owed);
}

static const struct conn_handler conn_events = {
	.ready = on_ready,
	.data = on_data,
	.drained = on_drained,
	.ended = on_ended,
	.wants = on_wants,
	.closed = on_closed,
};

void exchange_accept(struct server_thread *t, int fd)
{
	struct exchange *ex = calloc(1, sizeof(*ex));

	if (!ex) {
		sys_close(t->server->sys, &fd);
		return;
	}
	ex->refs = 1;
	ex->thread = t;
	server_busy_begin(t->server);
	list_init(&ex->link);
	buf_init(&ex->head_bytes, 0);
	buf_init(&ex->body, 0);
	join_thread(ex, t);
	if (conn_new_server(t->loop, t->server->sys, t->tls, fd, &conn_events,
			    ex, &ex->conn) < 0) {
		leave_thread(ex);
		exchange_unref(ex);
		return;
	}
	conn_deadline(ex->conn, in_ns(ex, HANDSHAKE_NS_MAX));
}
