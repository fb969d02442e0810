/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io/http_client.c and io/api_call.c against a server of the test's own on
 * the same loop: it answers the n-th request with the n-th line of a script.
 */
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
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include <kvs/client.h>

#include "base/buf.h"
#include "base/sys.h"
#include "core/limits.h"
#include "io/api_call.h"
#include "io/aws_request.h"
#include "io/conn.h"
#include "io/http_client.h"
#include "io/loop_uring.h"
#include "io/tls.h"
#include "proto/http.h"
#include "proto/sigv4.h"
#include "support/test_cert.h"

#define PEERS_MAX 8
#define OK "HTTP/1.1 200 OK\r\n"

struct bench;

struct peer {
	struct bench *bench;
	struct conn *conn;
	struct buf got;
};

struct bench {
	struct loop *loop;
	struct tls_ctx *server_tls;
	struct tls_ctx *client_tls;
	struct aws_identity id;
	struct endpoint endpoint;
	char url[64];
	char dir[32];
	int listen_fd;
	struct loop_op accept_op;

	/* The server. */
	struct peer peers[PEERS_MAX];
	int accepted;
	int requests;
	const char *const *script;	/* NULL entry: close instead */
	bool close_after;		/* each answer */
	struct buf received;		/* all bytes of all requests */

	/* The client. */
	struct http_client *http;
	int ready;
	int heads;
	int done;
	int closed;
	int why;
	unsigned int status;
	struct buf body;

	/* Calls. */
	struct api_caller *caller;
	int calls_done;
	int result;
	int body_result;
};

/* --- the server -------------------------------------------------------------------- */

static void answer(struct peer *p)
{
	struct bench *b = p->bench;
	const char *text = b->script[b->requests++];
	struct iovec part = { (void *)(uintptr_t)text,
			      text ? strlen(text) : 0 };

	if (text)
		assert_int_equal(conn_write(p->conn, &part, 1), 0);
	if (!text || b->close_after)
		conn_close(p->conn);
}

static size_t peer_data(struct conn *c, void *ctx, const uint8_t *bytes,
			size_t len)
{
	struct peer *p = ctx;
	uint8_t *end;

	(void)c;
	assert_int_equal(buf_add(&p->got, bytes, len), 0);
	assert_int_equal(buf_add(&p->bench->received, bytes, len), 0);
	end = memmem(buf_head(&p->got), buf_len(&p->got), "\r\n\r\n", 4);
	if (end) {
		buf_reset(&p->got);
		answer(p);
	}
	return len;
}

static void peer_ready(struct conn *c, void *ctx)
{
	(void)c;
	(void)ctx;
}

static void peer_closed(struct conn *c, void *ctx, int why)
{
	struct peer *p = ctx;

	(void)why;
	p->conn = conn_free(c);
}

static const struct conn_handler peer_handler = {
	.ready = peer_ready,
	.data = peer_data,
	.closed = peer_closed,
};

static void accept_done(struct loop_op *op, int res)
{
	struct bench *b = container_of(op, struct bench, accept_op);
	struct peer *p;

	if (res < 0)
		return;
	assert_true(b->accepted < PEERS_MAX);
	p = &b->peers[b->accepted++];
	p->bench = b;
	buf_init(&p->got, 1 << 20);
	assert_int_equal(conn_new_server(b->loop, sys_posix(), b->server_tls,
					 res, &peer_handler, p, &p->conn), 0);
	loop_accept(b->loop, op, b->listen_fd, accept_done);
}

/* --- the client -------------------------------------------------------------------- */

static void on_ready(void *ctx)
{
	((struct bench *)ctx)->ready++;
}

static void on_head(void *ctx, const struct http_head *head)
{
	struct bench *b = ctx;

	b->heads++;
	b->status = head->status;
}

static void on_body(void *ctx, const uint8_t *bytes, size_t len)
{
	assert_int_equal(buf_add(&((struct bench *)ctx)->body, bytes, len), 0);
}

static void on_done(void *ctx)
{
	((struct bench *)ctx)->done++;
}

static void on_closed(void *ctx, int why)
{
	struct bench *b = ctx;

	b->closed++;
	b->why = why;
	b->http = http_client_free(b->http);
}

static const struct http_client_handler client_handler = {
	.ready = on_ready,
	.head = on_head,
	.body = on_body,
	.done = on_done,
	.closed = on_closed,
};

static void turn_until(struct bench *b, const int *counter, int value)
{
	for (int i = 0; i < 20000 && *counter < value; i++)
		assert_int_equal(loop_turn(b->loop, 20 * NS_PER_MS), 0);
	assert_int_equal(*counter, value);
}

static void connect_client(struct bench *b)
{
	assert_int_equal(http_client_new(b->loop, sys_posix(), b->client_tls,
					 &b->endpoint, 10 * NS_PER_S,
					 &client_handler, b, &b->http), 0);
	turn_until(b, &b->ready, 1);
}

static void send_text(struct bench *b, const char *text)
{
	struct iovec part = { (void *)(uintptr_t)text, strlen(text) };

	assert_int_equal(http_client_send(b->http, &part, 1), 0);
}

#define GET "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"

static int setup(void **state)
{
	static const struct kvs_client_config config = {
		.credentials = { "AKIDEXAMPLE", "secret", "token" },
	};
	struct sockaddr_in addr = { .sin_family = AF_INET };
	socklen_t len = sizeof(addr);
	struct bench *b = calloc(1, sizeof(*b));
	char cert[64];
	char key[64];

	(void)snprintf(b->dir, sizeof(b->dir), "/tmp/kvsd-http-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	test_cert_write(b->dir, "IP:127.0.0.1");
	(void)snprintf(cert, sizeof(cert), "%s/cert.pem", b->dir);
	(void)snprintf(key, sizeof(key), "%s/key.pem", b->dir);
	assert_int_equal(tls_ctx_new_server(cert, key, &b->server_tls), 0);
	assert_int_equal(tls_ctx_new_client(cert, &b->client_tls), 0);
	assert_int_equal(loop_uring_new(sys_posix(), 64, &b->loop), 0);
	b->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(b->listen_fd, (struct sockaddr *)&addr, len), 0);
	assert_int_equal(listen(b->listen_fd, 8), 0);
	assert_int_equal(getsockname(b->listen_fd, (struct sockaddr *)&addr,
				     &len), 0);
	(void)snprintf(b->url, sizeof(b->url), "https://127.0.0.1:%u",
		       ntohs(addr.sin_port));
	assert_int_equal(endpoint_parse(b->url, &b->endpoint), 0);
	assert_int_equal(aws_identity_init(&b->id, &config), 0);
	assert_int_equal(api_caller_new(b->loop, sys_posix(), b->client_tls,
					&b->id, 10 * NS_PER_S, &b->caller), 0);
	buf_init(&b->received, 1 << 20);
	buf_init(&b->body, 1 << 20);
	loop_accept(b->loop, &b->accept_op, b->listen_fd, accept_done);
	*state = b;
	return 0;
}

static bool quiet(const struct bench *b)
{
	for (int i = 0; i < PEERS_MAX; i++)
		if (b->peers[i].conn)
			return false;
	return !b->http && !loop_op_busy(&b->accept_op);
}

static int teardown(void **state)
{
	struct bench *b = *state;
	char path[64];

	b->caller = api_caller_free(b->caller);
	if (b->http)
		http_client_abort(b->http, -ECANCELED);
	for (int i = 0; i < PEERS_MAX; i++)
		if (b->peers[i].conn)
			conn_abort(b->peers[i].conn, -ECANCELED);
	loop_cancel(b->loop, &b->accept_op);
	for (int i = 0; i < 1000 && !quiet(b); i++)
		(void)!loop_turn(b->loop, 10 * NS_PER_MS);
	(void)loop_free(b->loop);
	(void)close(b->listen_fd);
	(void)tls_ctx_free(b->server_tls);
	(void)tls_ctx_free(b->client_tls);
	for (int i = 0; i < PEERS_MAX; i++)
		buf_fini(&b->peers[i].got);
	buf_fini(&b->received);
	buf_fini(&b->body);
	aws_identity_fini(&b->id);
	(void)snprintf(path, sizeof(path), "%s/cert.pem", b->dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key.pem", b->dir);
	(void)unlink(path);
	(void)rmdir(b->dir);
	free(b);
	return 0;
}

/* --- requests and responses ---------------------------------------------------------- */

static void http_client_keeps_the_connection_between_requests(void **state)
{
	static const char *const script[] = {
		OK "Content-Length: 5\r\n\r\nhello",
		"HTTP/1.1 100 Continue\r\n\r\n" OK
		"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
		"0\r\n\r\n",
		"HTTP/1.1 204 No Content\r\n\r\n",
	};
	struct bench *b = *state;

	b->script = script;
	connect_client(b);
	for (int i = 0; i < 3; i++) {
		assert_true(http_client_reusable(b->http));
		send_text(b, GET);
		assert_int_equal(http_client_send(b->http, NULL, 0), -EBUSY);
		turn_until(b, &b->done, i + 1);
	}
	assert_int_equal(b->status, 204);
	assert_int_equal(b->accepted, 1);
	assert_int_equal(buf_len(&b->body), 10);
	assert_memory_equal(buf_head(&b->body), "helloabcde", 10);
	http_client_close(b->http);
	turn_until(b, &b->closed, 1);
	assert_int_equal(b->why, 0);
}

static void http_client_reads_a_body_that_ends_with_the_connection(void **state)
{
	static const char *const script[] = { OK "\r\nuntil the end" };
	struct bench *b = *state;

	b->script = script;
	b->close_after = true;
	connect_client(b);
	send_text(b, GET);
	turn_until(b, &b->done, 1);
	assert_memory_equal(buf_head(&b->body), "until the end", 13);
	turn_until(b, &b->closed, 1);
	assert_int_equal(b->why, 0);
}

#define LONG_BYTES (700u << 10) /* more than a connection keeps */

/* However far the reading is behind the end. */
static void http_client_reads_all_of_a_body_before_its_end(void **state)
{
	static const char head[] = OK "\r\n";
	static char text[sizeof(head) + LONG_BYTES];
	static const char *const script[] = { text };
	struct bench *b = *state;

	memcpy(text, head, sizeof(head) - 1);
	for (size_t i = 0; i < LONG_BYTES; i++)
		text[sizeof(head) - 1 + i] = (char)('a' + i % 23);
	b->script = script;
	b->close_after = true;
	connect_client(b);
	send_text(b, GET);
	turn_until(b, &b->done, 1);
	assert_int_equal(buf_len(&b->body), LONG_BYTES);
	assert_memory_equal(buf_head(&b->body), text + sizeof(head) - 1,
			    LONG_BYTES);
	turn_until(b, &b->closed, 1);
	assert_int_equal(b->why, 0);
}

/* In a chunked one the end of the connection is none of the body. */
static void http_client_fails_when_a_chunk_is_cut_short(void **state)
{
	static const char *const cut[] = { "3\r\nab", "3\r\nabc\r", "3\r\nabc\r\n",
					   "3\r\nabc\r\n0\r\n" };
	struct bench *b = *state;
	char text[128];
	const char *script[] = { text };

	b->script = script;
	b->close_after = true;
	for (size_t i = 0; i < ARRAY_SIZE(cut); i++) {
		(void)snprintf(text, sizeof(text), "%s%s%s", OK,
			       "Transfer-Encoding: chunked\r\n\r\n", cut[i]);
		b->ready = 0;
		b->closed = 0;
		b->requests = 0;
		connect_client(b);
		send_text(b, GET);
		turn_until(b, &b->closed, 1);
		assert_int_equal(b->done, 0);
		assert_int_equal(b->why, -ECONNRESET);
	}
}

static void http_client_fails_when_the_answer_is_cut_short(void **state)
{
	static const char *const script[] = {
		OK "Content-Length: 50\r\n\r\nhello" };
	struct bench *b = *state;

	b->script = script;
	b->close_after = true;
	connect_client(b);
	send_text(b, GET);
	turn_until(b, &b->closed, 1);
	assert_int_equal(b->done, 0);
	assert_int_equal(b->why, -ECONNRESET);
}

static void http_client_fails_when_it_is_not_http(void **state)
{
	static const char *const script[] = { "SSH-2.0-OpenSSH\r\n\r\n" };
	struct bench *b = *state;

	b->script = script;
	connect_client(b);
	send_text(b, GET);
	turn_until(b, &b->closed, 1);
	assert_int_equal(b->why, -EPROTO);
}

static void http_client_fails_on_an_answer_to_nothing(void **state)
{
	static const char *const script[] = {
		OK "Content-Length: 0\r\n\r\n" OK "Content-Length: 0\r\n\r\n" };
	struct bench *b = *state;

	b->script = script;
	connect_client(b);
	send_text(b, GET);
	turn_until(b, &b->closed, 1);
	assert_int_equal(b->done, 1);
	assert_int_equal(b->why, -EPROTO);
}

/* The response's head and body arrive while the request's body grows. */
static void http_client_sends_and_receives_at_once(void **state)
{
	static const char *const script[] = {
		OK "Transfer-Encoding: chunked\r\n\r\n4\r\nack1\r\n",
		"4\r\nack2\r\n",
		"0\r\n\r\n",
	};
	struct bench *b = *state;
	struct iovec parts[2] = { { (void *)(uintptr_t)"head", 4 },
				  { (void *)(uintptr_t)"er\r\n\r\n", 6 } };

	b->script = script;
	connect_client(b);
	send_text(b, "POST /putMedia HTTP/1.1\r\nHost: x\r\n"
		     "Transfer-Encoding: chunked\r\n\r\n");
	turn_until(b, &b->heads, 1);
	assert_int_equal(b->done, 0);
	assert_int_equal(http_client_chunk(b->http, parts, 2, 10), 0);
	turn_until(b, &b->requests, 2);
	while (buf_len(&b->body) < 8)
		assert_int_equal(loop_turn(b->loop, 20 * NS_PER_MS), 0);
	assert_memory_equal(buf_head(&b->body), "ack1ack2", 8);
	assert_int_equal(http_client_end(b->http), 0);
	turn_until(b, &b->done, 1);
	assert_non_null(memmem(buf_head(&b->received), buf_len(&b->received),
			       "\r\n\r\na\r\nheader\r\n\r\n\r\n0\r\n\r\n", 23));
	assert_true(http_client_reusable(b->http));
}

static void http_client_refuses_a_foreign_certificate(void **state)
{
	struct bench *b = *state;
	char dir[] = "/tmp/kvsd-http-XXXXXX";
	char path[64];
	struct tls_ctx *other = NULL;

	assert_non_null(mkdtemp(dir));
	test_cert_write(dir, "IP:127.0.0.1");
	(void)snprintf(path, sizeof(path), "%s/cert.pem", dir);
	assert_int_equal(tls_ctx_new_client(path, &other), 0);
	assert_int_equal(http_client_new(b->loop, sys_posix(), other,
					 &b->endpoint, UINT64_MAX,
					 &client_handler, b, &b->http), 0);
	turn_until(b, &b->closed, 1);
	assert_int_equal(b->why, -EKEYREJECTED);
	assert_int_equal(b->ready, 0);
	(void)tls_ctx_free(other);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key.pem", dir);
	(void)unlink(path);
	(void)rmdir(dir);
}

/* --- calls --------------------------------------------------------------------------- */

static int call_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct bench *b = ctx;

	on_body(ctx, bytes, len);
	return b->body_result;
}

static void call_done(void *ctx, int result)
{
	struct bench *b = ctx;

	b->calls_done++;
	b->result = result;
}

static void call(struct bench *b, const char *path)
{
	int want = b->calls_done + 1;

	assert_int_equal(api_call(b->caller, b->url, path, "{}", 2, 0,
				  call_body, call_done, b), 0);
	assert_int_equal(api_call(b->caller, b->url, path, "{}", 2, 0,
				  call_body, call_done, b), -EBUSY);
	turn_until(b, &b->calls_done, want);
}

static void api_call_signs_and_reuses_the_connection(void **state)
{
	static const char *const script[] = {
		OK "Content-Length: 4\r\n"
		   "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\nabcd",
		OK "Content-Length: 0\r\n\r\n",
	};
	struct bench *b = *state;
	const char *text;

	b->script = script;
	call(b, "/one");
	assert_int_equal(b->result, 0);
	assert_int_equal(api_caller_reply(b->caller)->status, 200);
	assert_int_equal(api_caller_date_s(b->caller), 784111777);
	assert_memory_equal(buf_head(&b->body), "abcd", 4);
	call(b, "/two");
	assert_int_equal(b->accepted, 1);
	assert_int_equal(b->requests, 2);
	assert_int_equal(buf_add(&b->received, "", 1), 0);
	text = (const char *)buf_head(&b->received);
	assert_non_null(strstr(text, "POST /one HTTP/1.1\r\n"));
	assert_non_null(strstr(text, "Authorization: AWS4-HMAC-SHA256 "
				     "Credential=AKIDEXAMPLE/"));
	assert_non_null(strstr(text, "us-west-2/kinesisvideo/aws4_request"));
	assert_non_null(strstr(text, "X-Amz-Security-Token: token\r\n"));
	assert_non_null(strstr(text, "Content-Length: 2\r\n"));
	assert_null(strstr(text, "secret"));
}

/* Closed by the service between calls: nobody is told. */
static void api_call_replaces_a_stale_connection_once(void **state)
{
	static const char *const script[] = {
		OK "Content-Length: 0\r\n\r\n", NULL,
		OK "Content-Length: 0\r\n\r\n", NULL, NULL,
	};
	struct bench *b = *state;

	b->script = script;
	call(b, "/one");
	call(b, "/two"); /* the kept connection closes on it; a new one works */
	assert_int_equal(b->result, 0);
	assert_int_equal(b->accepted, 2);
	call(b, "/three"); /* closes on the kept and on the new one */
	assert_int_equal(b->result, -ECONNRESET);
	assert_int_equal(b->accepted, 3);
}

#define NOT_FOUND \
	"HTTP/1.1 404 Not Found\r\nContent-Length: 25\r\n" \
	"x-amzn-ErrorType: ResourceNotFoundException:http://a/\r\n" \
	"x-amzn-RequestId: 17\r\n\r\n{\"Message\":\"no such one\"} "
#define BAD \
	"HTTP/1.1 400 Bad\r\nContent-Length: 44\r\n\r\n" \
	"{\"__type\":\"com.x#SomeError\",\"message\":\"why\"} "

static void api_call_names_the_error(void **state)
{
	static const char *const script[] = {
		NOT_FOUND, BAD,
		"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\n<ht>",
	};
	struct bench *b = *state;

	b->script = script;
	call(b, "/x");
	assert_int_equal(b->result, 0);
	assert_int_equal(api_caller_reply(b->caller)->status, 404);
	assert_string_equal(api_caller_reply(b->caller)->error_type,
			    "ResourceNotFoundException");
	assert_string_equal(api_caller_reply(b->caller)->message, "no such one");
	assert_string_equal(api_caller_reply(b->caller)->request_id, "17");
	call(b, "/x");
	assert_string_equal(api_caller_reply(b->caller)->error_type, "SomeError");
	assert_string_equal(api_caller_reply(b->caller)->message, "why");
	call(b, "/x");
	assert_int_equal(api_caller_reply(b->caller)->status, 503);
	assert_string_equal(api_caller_reply(b->caller)->error_type, "");
	assert_int_equal(buf_len(&b->body), 0); /* errors are not for body() */
}

static void api_call_stops_when_the_body_function_says_so(void **state)
{
	static const char *const script[] = {
		OK "Content-Length: 100\r\n\r\nabc",
		OK "Content-Length: 100\r\n\r\nabc",
		OK "Content-Length: 0\r\n\r\n",
	};
	struct bench *b = *state;

	b->script = script;
	b->body_result = 1;
	call(b, "/enough");
	assert_int_equal(b->result, 0);
	b->body_result = -ENOSPC;
	call(b, "/too-much");
	assert_int_equal(b->result, -ENOSPC);
	call(b, "/next");
	assert_int_equal(b->result, 0);
	assert_int_equal(b->accepted, 3);
}

static void api_call_says_why_there_is_no_connection(void **state)
{
	struct bench *b = *state;

	loop_cancel(b->loop, &b->accept_op);
	while (loop_op_busy(&b->accept_op))
		assert_int_equal(loop_turn(b->loop, NS_PER_MS), 0);
	(void)close(b->listen_fd);
	b->listen_fd = -1;
	call(b, "/x");
	assert_int_equal(b->result, -ECONNREFUSED);
	assert_true(api_caller_reason(b->caller)[0]);
	assert_int_equal(api_call(b->caller, "http://x", "/", "", 0, 0, NULL,
				  call_done, b), -EINVAL);
}

/* --- addresses ------------------------------------------------------------------------ */

static void endpoint_parse_takes_host_and_port(void **state)
{
	static const struct {
		const char *url;
		const char *host;
		uint16_t port;
	} good[] = {
		{ "https://a.example.com", "a.example.com", 443 },
		{ "https://a.example.com/", "a.example.com", 443 },
		{ "https://localhost:8443", "localhost", 8443 },
		{ "https://192.0.2.1:1", "192.0.2.1", 1 },
		{ "https://[2001:db8::1]", "2001:db8::1", 443 },
		{ "https://[::1]:65535", "::1", 65535 },
	};
	static const char *const bad[] = {
		"", "http://a", "https://", "https://a:0", "https://a:65536",
		"https://a:b", "https://a/b", "https://a:1/b", "https://[::1",
		"https://[::1]x", "https://a b", "https://u@a", "https://a:",
		"https://a?b", "https://[]", "https://a\r\nb",
	};
	struct endpoint ep;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(endpoint_parse(good[i].url, &ep), 0);
		assert_string_equal(ep.host, good[i].host);
		assert_int_equal(ep.port, good[i].port);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(endpoint_parse(bad[i], &ep), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(http_client_keeps_the_connection_between_requests),
		T(http_client_reads_a_body_that_ends_with_the_connection),
		T(http_client_reads_all_of_a_body_before_its_end),
		T(http_client_fails_when_a_chunk_is_cut_short),
		T(http_client_fails_when_the_answer_is_cut_short),
		T(http_client_fails_when_it_is_not_http),
		T(http_client_fails_on_an_answer_to_nothing),
		T(http_client_sends_and_receives_at_once),
		T(http_client_refuses_a_foreign_certificate),
		T(api_call_signs_and_reuses_the_connection),
		T(api_call_replaces_a_stale_connection_once),
		T(api_call_names_the_error),
		T(api_call_stops_when_the_body_function_says_so),
		T(api_call_says_why_there_is_no_connection),
		cmocka_unit_test(endpoint_parse_takes_host_and_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
