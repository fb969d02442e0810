/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/answer.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "core/loop.h"
#include "io/conn.h"
#include "proto/epoch.h"
#include "proto/slice.h"
#include "serve/server.h"

#define HEAD_BYTES_MAX 2048u
/* Epoch seconds with three decimals: 15 digits reach past the year 9999. */
#define JSON_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(15))

/* --- log
 * ------------------------------------------------------------------------ */

/* key=value; nothing in it can hold a space or a line end. */
static void log_request(const struct exchange *ex, const char *end)
{
	uint64_t ms =
		(loop_now_ns(ex->thread->loop) - ex->begin_ns) / NS_PER_MS;

	log_info("serve",
		 "request id=%s peer=%s api=%s status=%u bytes=%" PRIu64
		 " ms=%" PRIu64 "%s%s%s%s end=%s",
		 ex->request_id, conn_peer(ex->conn),
		 ex->op ? ex->op->name : "-", ex->status, ex->sent_bytes, ms,
		 ex->error_type ? " error=" : "",
		 ex->error_type ? ex->error_type : "",
		 ex->stream.name[0] ? " stream=" : "", ex->stream.name, end);
}

void answer_log_cut(struct exchange *ex, int why)
{
	if (ex->state == EXCHANGE_RUNNING && ex->status)
		log_request(ex, why == -ETIMEDOUT ? "timeout" : "cut");
}

/* --- counts
 * --------------------------------------------------------------------- */

struct metric_call *exchange_call(const struct exchange *ex)
{
	return &ex->thread->metrics->calls[ex->op->api];
}

void exchange_count_fragment(const struct exchange *ex)
{
	struct metric_call *call = exchange_call(ex);

	call->fragments++;
	call->fragments_tried++;
}

/* The head of the answer goes out. */
static void count_answer(const struct exchange *ex)
{
	struct metric_call *call;

	if (!ex->op) {
		ex->thread->metrics->unknown_requests++;
		return;
	}
	call = exchange_call(ex);
	call->requests++;
	if (ex->status == 200)
		call->success++;
	else
		call->errors++;
	metric_time_add(&call->latency,
			loop_now_ns(ex->thread->loop) - ex->begin_ns);
}

/* --- heads
 * ------------------------------------------------------------------------ */

static void common_fields(struct exchange *ex, struct buf *b)
{
	char date[EPOCH_HTTP_CHARS + 1];

	epoch_http_format(server_wall_ms(ex->thread) / 1000, date);
	(void)http_add_str(b, "Date", date);
	(void)http_add_str(b, "x-amzn-RequestId", ex->request_id);
	(void)http_add_str(b, "x-amz-RequestId", ex->request_id);
	if (ex->last)
		(void)http_add_str(b, "Connection", "close");
}

static int send_parts(struct exchange *ex, const void *a, size_t a_len,
		      const void *b, size_t b_len)
{
	const struct iovec parts[2] = {
		{.iov_base = (void *)(uintptr_t)a, .iov_len = a_len},
		{.iov_base = (void *)(uintptr_t)b, .iov_len = b_len},
	};

	if (!ex->conn)
		return -EPIPE;
	return conn_write(ex->conn, parts, b_len ? 2 : 1);
}

/* The whole answer at once. */
static void answer(struct exchange *ex, unsigned int status, const char *type,
		   const char *body, size_t len)
{
	struct buf head;

	if (!ex->conn)
		return;
	/* An unread body stands where the next request would: end here. */
	if (!ex->body_done)
		ex->last = true;
	buf_init(&head, HEAD_BYTES_MAX);
	(void)http_response_begin(&head, status);
	(void)http_add_str(&head, "Content-Type", "application/json");
	(void)http_add_u64(&head, "Content-Length", len);
	if (type) {
		(void)http_add_str(&head, "x-amzn-ErrorType", type);
		(void)http_add_str(&head, "x-amz-ErrorType", type);
	}
	common_fields(ex, &head);
	ex->status = status;
	ex->error_type = type;
	ex->sent_bytes += len;
	if (http_head_end(&head) < 0 ||
	    send_parts(ex, buf_head(&head), buf_len(&head), body, len) < 0) {
		buf_fini(&head);
		conn_abort(ex->conn, -ENOMEM);
		return;
	}
	buf_fini(&head);
	count_answer(ex);
	log_request(ex, "done");
	if (ex->last)
		exchange_close(ex);
	else
		exchange_next(ex);
}

void exchange_json(struct exchange *ex, unsigned int status, json_t *root)
{
	char *text = root ? json_dumps(root, JSON_FLAGS) : NULL;

	json_decref(root);
	if (!text) {
		exchange_internal(ex, -ENOMEM);
		return;
	}
	answer(ex, status, NULL, text, strlen(text));
	free(text);
}

void exchange_error(struct exchange *ex, unsigned int status, const char *type,
		    const char *message)
{
	json_t *root = json_pack("{s:s}", "Message", message);
	char *text = root ? json_dumps(root, JSON_FLAGS) : NULL;

	json_decref(root);
	answer(ex, status, type, text ? text : "{}", text ? strlen(text) : 2);
	free(text);
}

void exchange_bad_argument(struct exchange *ex, const char *message)
{
	exchange_error(ex, 400, "InvalidArgumentException", message);
}

void exchange_no_stream(struct exchange *ex)
{
	exchange_error(ex, 404, "ResourceNotFoundException",
		       "The requested stream is not found or not active.");
}

void exchange_internal(struct exchange *ex, int error)
{
	log_error("serve", "request %s failed: %s", ex->request_id,
		  strerror(-error));
	exchange_error(ex, 500, "InternalFailure",
		       "The request failed because of an internal error.");
}

/* --- streamed answers
 * ----------------------------------------------------------------- */

int exchange_begin(struct exchange *ex, const char *content_type,
		   uint64_t length, const struct exchange_handler *handler,
		   void *state_of_op)
{
	struct buf head;
	int r;

	if (!ex->conn)
		return -EPIPE;
	ex->handler = handler;
	ex->state_of_op = state_of_op;
	ex->status = 200;
	ex->chunked = length == EXCHANGE_CHUNKED;
	buf_init(&head, HEAD_BYTES_MAX);
	(void)http_response_begin(&head, 200);
	(void)http_add_str(&head, "Content-Type", content_type);
	if (ex->chunked)
		(void)http_add_str(&head, "Transfer-Encoding", "chunked");
	else
		(void)http_add_u64(&head, "Content-Length", length);
	common_fields(ex, &head);
	r = http_head_end(&head);
	if (r == 0)
		r = send_parts(ex, buf_head(&head), buf_len(&head), NULL, 0);
	buf_fini(&head);
	if (r == 0)
		count_answer(ex);
	return r;
}

int exchange_write_pieces(struct exchange *ex, const struct iovec *pieces,
			  size_t count)
{
	char size[HTTP_CHUNK_HEAD_BYTES_MAX];
	struct iovec parts[EXCHANGE_PIECES_MAX + 2];
	size_t len = 0;
	size_t i;

	assert(count <= EXCHANGE_PIECES_MAX);
	if (!ex->conn)
		return -EPIPE;
	for (i = 0; i < count; i++) {
		parts[i + 1] = pieces[i];
		len += pieces[i].iov_len;
	}
	ex->sent_bytes += len;
	exchange_call(ex)->bytes += len;
	if (!ex->chunked)
		return conn_write(ex->conn, pieces, count);
	if (!len)
		return 0;
	parts[0] = (struct iovec){size, http_chunk_head(len, size)};
	parts[count + 1] = (struct iovec){(void *)(uintptr_t)HTTP_CHUNK_END, 2};
	return conn_write(ex->conn, parts, count + 2);
}

int exchange_write(struct exchange *ex, const void *bytes, size_t len)
{
	struct iovec piece = {(void *)(uintptr_t)bytes, len};

	return exchange_write_pieces(ex, &piece, 1);
}

static void end_body(struct exchange *ex)
{
	if (ex->chunked)
		(void)!send_parts(ex, HTTP_LAST_CHUNK, strlen(HTTP_LAST_CHUNK),
				  NULL, 0);
	log_request(ex, "done");
	ex->handler = NULL;
}

void exchange_end(struct exchange *ex)
{
	if (!ex->conn)
		return;
	end_body(ex);
	if (ex->last || !ex->body_done)
		exchange_close(ex);
	else
		exchange_next(ex);
}

void exchange_end_and_close(struct exchange *ex)
{
	if (!ex->conn)
		return;
	end_body(ex);
	exchange_close(ex);
}

void exchange_cut(struct exchange *ex, int why)
{
	if (ex->conn)
		conn_abort(ex->conn, why);
}

int exchange_continue(struct exchange *ex)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

	return send_parts(ex, text, sizeof(text) - 1, NULL, 0);
}

bool exchange_lost(const struct exchange *ex)
{
	return !ex->conn || conn_lost(ex->conn);
}

size_t exchange_backlog(const struct exchange *ex)
{
	return ex->conn ? conn_backlog(ex->conn) : 0;
}

void exchange_resume(struct exchange *ex)
{
	if (ex->conn)
		conn_resume(ex->conn);
}

void exchange_deadline(struct exchange *ex, uint64_t at_ns)
{
	if (ex->conn)
		conn_deadline(ex->conn, at_ns);
}

json_t *answer_parse_json(const struct exchange *ex)
{
	const char *text = (const char *)ex->body.data + ex->body.start;
	size_t len = buf_len(&ex->body);
	json_t *root = len ? json_loadb(text, len, 0, NULL) : json_object();

	if (json_is_object(root))
		return root;
	json_decref(root);
	return NULL;
}
