/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proto/http.h"

static const char put_media[] =
	"POST /putMedia?a=1 HTTP/1.1\r\n"
	"Host: s-1.kvs.test:8443\r\n"
	"x-amzn-stream-name:  front \t\r\n"
	"Expect: 100-Continue\r\n"
	"Transfer-Encoding: Chunked\r\n"
	"Connection: foo, keep-alive\r\n"
	"X-Empty:\r\n"
	"\r\n";

static void http_request_parse_reads_every_part(void **state)
{
	struct http_head h;

	(void)state;
	assert_int_equal(http_request_parse(put_media, sizeof(put_media) - 1,
					    &h),
			 sizeof(put_media) - 1);
	assert_true(slice_is(h.method, "POST"));
	assert_true(slice_is(h.target, "/putMedia?a=1"));
	assert_true(slice_is(h.path, "/putMedia"));
	assert_true(slice_is(h.query, "a=1"));
	assert_int_equal(h.minor, 1);
	assert_true(h.chunked);
	assert_false(h.has_length);
	assert_true(h.expect_continue);
	assert_false(h.close);
	assert_false(h.upgrade);
	assert_int_equal(h.field_count, 6);
	assert_true(slice_is(*http_field(&h, "X-AMZN-Stream-Name"), "front"));
	assert_true(slice_is(*http_field(&h, "x-empty"), ""));
	assert_null(http_field(&h, "x-amzn-stream-arn"));
	assert_int_equal(http_field_count(&h, "host"), 1);
}

static void http_request_parse_asks_for_more_at_every_cut(void **state)
{
	size_t len = sizeof(put_media) - 1;
	struct http_head h;
	size_t i;

	(void)state;
	for (i = 0; i < len; i++) {
		/* On the heap, so that ASan sees a read behind the cut. */
		char *cut = malloc(i ? i : 1);

		assert_non_null(cut);
		memcpy(cut, put_media, i);
		assert_int_equal(http_request_parse(cut, i, &h), 0);
		free(cut);
	}
}

struct head_case {
	const char *text;
	int result;	/* 1 = accepted whole */
};

static void run_heads(const struct head_case *cases, size_t count,
		      bool request)
{
	struct http_head h;
	size_t i;

	for (i = 0; i < count; i++) {
		size_t len = strlen(cases[i].text);
		int want = cases[i].result > 0 ? (int)len : cases[i].result;
		int r = request ?
				http_request_parse(cases[i].text, len, &h) :
				http_response_parse(cases[i].text, len, &h);

		if (r != want)
			fail_msg("%d instead of %d: %s", r, want,
				 cases[i].text);
	}
}

#define H "Host: a\r\n"

static void http_request_parse_refuses_what_readers_disagree_on(void **state)
{
	static const struct head_case cases[] = {
		{ "GET / HTTP/1.1\r\n" H "\r\n", 1 },
		{ "\r\nGET / HTTP/1.1\r\n" H "\r\n", 1 },
		{ "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.0\r\n\r\n", 1 },
		/* line ends */
		{ "GET / HTTP/1.1\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\nX: a\rb\r\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\nX: a\nY: b\r\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\r\n" H "\r\n", -EBADMSG },
		/* fields */
		{ "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n X: a\r\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "X : a\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H ": a\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "X\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "X(: a\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "\xc3\xa9: a\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "X: \x01\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "X: \x7f\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H "X: \xc3\xa9\r\n\r\n", 1 },
		/* request line */
		{ "GET  / HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ " GET / HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.1 \r\n" H "\r\n", -EBADMSG },
		{ "GET /\tx HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET /#x HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET /\x80 HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET x HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET http://a/ HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "G@T / HTTP/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET /\r\n" H "\r\n", -EBADMSG },
		{ "GET / http/1.1\r\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.10\r\n" H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.2\r\n" H "\r\n", -EPROTONOSUPPORT },
		{ "GET / HTTP/2.0\r\n" H "\r\n", -EPROTONOSUPPORT },
		/* host */
		{ "GET / HTTP/1.1\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\n" H H "\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", -EBADMSG },
		{ "GET / HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n", 1 },
	};

	(void)state;
	run_heads(cases, ARRAY_SIZE(cases), true);
}

#define P "POST / HTTP/1.1\r\n" H

static void http_request_parse_refuses_doubtful_framing(void **state)
{
	static const struct head_case cases[] = {
		{ P "Content-Length: 0\r\n\r\n", 1 },
		{ P "Content-Length: 9223372036854775807\r\n\r\n", 1 },
		{ P "Content-Length: 9223372036854775808\r\n\r\n", -EBADMSG },
		{ P "Content-Length: 18446744073709551617\r\n\r\n", -EBADMSG },
		{ P "Content-Length: 5\r\nContent-Length: 5\r\n\r\n",
		  -EBADMSG },
		{ P "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
		  -EBADMSG },
		{ P "Content-Length: 5, 5\r\n\r\n", -EBADMSG },
		{ P "Content-Length: +5\r\n\r\n", -EBADMSG },
		{ P "Content-Length: -5\r\n\r\n", -EBADMSG },
		{ P "Content-Length: 0x5\r\n\r\n", -EBADMSG },
		{ P "Content-Length: 5 5\r\n\r\n", -EBADMSG },
		{ P "Content-Length:  5 \r\n\r\n", 1 },
		{ P "Content-Length: 5\t\r\n\r\n", -EBADMSG },
		{ P "Content-Length:\t5\r\n\r\n", -EBADMSG },
		{ P "Transfer-Encoding: chunked \t\r\n\r\n", -EBADMSG },
		{ P "Content-Length:\r\n\r\n", -EBADMSG },
		{ P "Transfer-Encoding: chunked\r\n\r\n", 1 },
		{ P "Transfer-Encoding: gzip, chunked\r\n\r\n", -ENOTSUP },
		{ P "Transfer-Encoding: identity\r\n\r\n", -ENOTSUP },
		{ P "Transfer-Encoding: chunked, chunked\r\n\r\n", -ENOTSUP },
		{ P "Transfer-Encoding: xchunked\r\n\r\n", -ENOTSUP },
		{ P "Transfer-Encoding: \"chunked\"\r\n\r\n", -ENOTSUP },
		{ P "Transfer-Encoding:\r\n\r\n", -ENOTSUP },
		{ P "Transfer-Encoding: chunked\r\n"
		    "Transfer-Encoding: chunked\r\n\r\n",
		  -EBADMSG },
		{ P "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
		  -EBADMSG },
		{ P "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		  -EBADMSG },
		{ "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		  -EBADMSG },
	};

	(void)state;
	run_heads(cases, ARRAY_SIZE(cases), true);
}

static void http_request_parse_bounds_count_and_size(void **state)
{
	struct http_head h;
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 1u << 20);
	assert_int_equal(http_request_begin(&b, "GET", SLICE("/")), 0);
	assert_int_equal(http_add_str(&b, "Host", "a"), 0);
	for (i = 1; i < HTTP_FIELDS_MAX; i++)
		assert_int_equal(http_add_u64(&b, "x", i), 0);
	assert_int_equal(http_head_end(&b), 0);
	assert_int_equal(http_request_parse(buf_head(&b), buf_len(&b), &h),
			 buf_len(&b));
	assert_int_equal(h.field_count, HTTP_FIELDS_MAX);

	buf_reset(&b);
	assert_int_equal(http_request_begin(&b, "GET", SLICE("/")), 0);
	for (i = 0; i <= HTTP_FIELDS_MAX; i++)
		assert_int_equal(http_add_u64(&b, "x", i), 0);
	assert_int_equal(http_request_parse(buf_head(&b), buf_len(&b), &h),
			 -EMSGSIZE);

	/* One endless line: refused at the limit, no sooner. */
	buf_reset(&b);
	assert_int_equal(buf_add_str(&b, "GET /"), 0);
	while (buf_len(&b) < HTTP_HEAD_BYTES_MAX)
		assert_int_equal(buf_add(&b, "a", 1), 0);
	assert_int_equal(http_request_parse(buf_head(&b), buf_len(&b) - 1, &h),
			 0);
	assert_int_equal(http_request_parse(buf_head(&b), buf_len(&b), &h),
			 -EMSGSIZE);
	buf_fini(&b);
	assert_int_equal(http_error_status(-EMSGSIZE), 431);
	assert_int_equal(http_error_status(-EBADMSG), 400);
	assert_int_equal(http_error_status(-ENOTSUP), 501);
	assert_int_equal(http_error_status(-EPROTONOSUPPORT), 505);
}

static void http_head_says_when_the_connection_ends(void **state)
{
	static const struct {
		const char *text;
		bool close;
		bool upgrade;
		bool expect;
	} cases[] = {
		{ P "\r\n", false, false, false },
		{ P "Connection: close\r\n\r\n", true, false, false },
		{ P "Connection: keep-alive, CLOSE\r\n\r\n", true, false,
		  false },
		{ P "Connection: closed\r\n\r\n", false, false, false },
		{ P "Connection: Upgrade\r\n\r\n", false, true, false },
		{ P "Expect: 100-continue\r\n\r\n", false, false, true },
		{ "POST / HTTP/1.0\r\n\r\n", true, false, false },
		{ "POST / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", false,
		  false, false },
		{ "POST / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", true,
		  false, false },
	};
	struct http_head h;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(http_request_parse(cases[i].text,
					       strlen(cases[i].text),
					       &h) > 0);
		assert_int_equal(h.close, cases[i].close);
		assert_int_equal(h.upgrade, cases[i].upgrade);
		assert_int_equal(h.expect_continue, cases[i].expect);
	}
}

static void http_response_parse_reads_status_lines(void **state)
{
	static const struct head_case cases[] = {
		{ "HTTP/1.1 200 OK\r\n\r\n", 1 },
		{ "HTTP/1.1 200 \r\n\r\n", 1 },
		{ "HTTP/1.1 200\r\n\r\n", 1 },
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n", 1 },
		{ "\r\nHTTP/1.1 200 OK\r\n\r\n", -EBADMSG },
		{ "HTTP/1.1 99 x\r\n\r\n", -EBADMSG },
		{ "HTTP/1.1 600 x\r\n\r\n", -EBADMSG },
		{ "HTTP/1.1 0200 x\r\n\r\n", -EBADMSG },
		{ "HTTP/1.1  200 x\r\n\r\n", -EBADMSG },
		{ "HTTP/1.1 200 \x01\r\n\r\n", -EBADMSG },
		{ "HTTP/2.0 200 x\r\n\r\n", -EPROTONOSUPPORT },
		{ "HTTP/1.1 204 x\r\nContent-Length: 5\r\n\r\n", -EBADMSG },
		{ "HTTP/1.1 304 x\r\nTransfer-Encoding: chunked\r\n\r\n",
		  -EBADMSG },
		{ "HTTP/1.1 100 x\r\nContent-Length: 1\r\n\r\n", -EBADMSG },
		{ "HTTP/1.1 200 x\r\nContent-Length: 1\r\n"
		  "Transfer-Encoding: chunked\r\n\r\n",
		  -EBADMSG },
	};
	static const char text[] = "HTTP/1.1 404 Not Found\r\n\r\n";
	struct http_head h;

	(void)state;
	run_heads(cases, ARRAY_SIZE(cases), false);
	assert_true(http_response_parse(text, sizeof(text) - 1, &h) > 0);
	assert_int_equal(h.status, 404);
	assert_true(slice_is(h.reason, "Not Found"));
}

/* --- bodies ------------------------------------------------------------ */

/*
 * Feeds @text in pieces of @step bytes. Return: bytes used when the body was
 * done, -EAGAIN when it was not, -EBADMSG.
 */
static int feed(struct http_body *b, const char *text, size_t step,
		struct buf *payload)
{
	size_t len = strlen(text);
	size_t at = 0;

	buf_reset(payload);
	while (at < len) {
		size_t n = MIN(step, len - at);
		const uint8_t *bytes;
		size_t count;
		size_t used;
		int r;

		r = http_body_feed(b, (const uint8_t *)text + at, n, &used,
				   &bytes, &count);
		if (r < 0)
			return r;
		assert_true(used <= n && count <= used);
		assert_int_equal(buf_add(payload, bytes, count), 0);
		at += used;
		if (r)
			return (int)at;
		assert_true(used > 0);
	}
	return -EAGAIN;
}

#define PAYLOAD "hello, world"

static void http_body_decodes_chunks_however_they_are_cut(void **state)
{
	static const char text[] = "5\r\nhello\r\n"
				   "0007;a;b=c;d=\"e \\\" f\";g\r\n, world\r\n"
				   "0\r\nX-Trailer: 1\r\nY:\r\n\r\nGET /";
	const int whole = (int)(sizeof(text) - 1 - strlen("GET /"));
	struct http_body b;
	struct buf payload;
	size_t step;

	(void)state;
	buf_init(&payload, 4096);
	for (step = 1; step <= sizeof(text); step++) {
		b = (struct http_body){ .state = HTTP_BODY_CHUNK_SIZE };
		assert_int_equal(feed(&b, text, step, &payload), whole);
		assert_true(http_body_done(&b));
		assert_int_equal(http_body_eof(&b), 0);
		assert_int_equal(buf_len(&payload), strlen(PAYLOAD));
		assert_memory_equal(buf_head(&payload), PAYLOAD,
				    strlen(PAYLOAD));
	}
	buf_fini(&payload);
}

static void http_body_refuses_broken_chunks(void **state)
{
	static const char *const cases[] = {
		"\r\n",
		"g\r\n",
		"-1\r\n",
		"+1\r\n",
		"0x1\r\n",
		" 1\r\n",
		"1 \r\n",
		"1\n",
		"1\r\r",
		"1\r\nab",
		"1\r\na\n",
		"1\r\na\r\r",
		"1;\r\n",
		"1;=a\r\n",
		"1;a=\r\n",
		"1;a b\r\n",
		"1;a=\"b\"c\r\n",
		"1;a=\"b\r\n",
		"1;a\n",
		"10000000000000000\r\n",
		"0000000000000001\r\n",
		"fffffffffffffffff\r\n",
		"0\r\n\n",
		"0\r\n X: 1\r\n",
		"0\r\nX\r\n",
		"0\r\nX : 1\r\n",
		"0\r\nX: 1\n",
		"0\r\nX: \x01\r\n",
		"0\r\n: 1\r\n",
		"0\r\n\r\r",
	};
	struct http_body b;
	struct buf payload;
	size_t i;

	(void)state;
	buf_init(&payload, 4096);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		b = (struct http_body){ .state = HTTP_BODY_CHUNK_SIZE };
		if (feed(&b, cases[i], 100, &payload) != -EBADMSG)
			fail_msg("accepted: %s", cases[i]);
		/* And it stays broken. */
		assert_int_equal(feed(&b, "0\r\n\r\n", 100, &payload),
				 -EBADMSG);
		assert_int_equal(http_body_eof(&b), -ECONNRESET);
	}
	buf_fini(&payload);
}

static void http_body_bounds_extensions_and_trailers(void **state)
{
	char text[HTTP_TRAILER_BYTES_MAX + 100];
	struct http_body b;
	struct buf payload;

	(void)state;
	buf_init(&payload, 4096);
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	memcpy(text, "1;", 2);
	b = (struct http_body){ .state = HTTP_BODY_CHUNK_SIZE };
	assert_int_equal(feed(&b, text, 64, &payload), -EBADMSG);
	memcpy(text, "0\r\nX:", 5);
	b = (struct http_body){ .state = HTTP_BODY_CHUNK_SIZE };
	assert_int_equal(feed(&b, text, 64, &payload), -EBADMSG);
	text[HTTP_TRAILER_BYTES_MAX] = '\0';
	b = (struct http_body){ .state = HTTP_BODY_CHUNK_SIZE };
	assert_int_equal(feed(&b, text, 64, &payload), -EAGAIN);
	buf_fini(&payload);
}

static void parse_response(const char *text, struct http_head *h)
{
	assert_int_equal(http_response_parse(text, strlen(text), h),
			 strlen(text));
}

static void http_body_knows_its_end_from_the_head(void **state)
{
	struct http_body b;
	struct http_head h;
	struct buf payload;

	(void)state;
	buf_init(&payload, 4096);
	parse_response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", &h);
	http_body_init_response(&b, &h, false);
	assert_int_equal(feed(&b, "hel", 2, &payload), -EAGAIN);
	assert_int_equal(http_body_eof(&b), -ECONNRESET);
	assert_int_equal(feed(&b, "loHTTP/1.1", 10, &payload), 2);
	http_body_init_response(&b, &h, true);
	assert_true(http_body_done(&b));

	parse_response("HTTP/1.1 200 OK\r\n\r\n", &h);
	http_body_init_response(&b, &h, false);
	assert_false(http_body_done(&b));
	assert_int_equal(feed(&b, PAYLOAD, 5, &payload), -EAGAIN);
	assert_memory_equal(buf_head(&payload), PAYLOAD, strlen(PAYLOAD));
	assert_int_equal(http_body_eof(&b), 0);
	assert_true(http_body_done(&b));

	parse_response("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
		       &h);
	http_body_init_response(&b, &h, false);
	assert_true(http_body_done(&b));
	parse_response("HTTP/1.1 100 Continue\r\n\r\n", &h);
	http_body_init_response(&b, &h, false);
	assert_true(http_body_done(&b));

	assert_true(http_request_parse(P "\r\n", strlen(P) + 2, &h) > 0);
	http_body_init_request(&b, &h);
	assert_true(http_body_done(&b));
	buf_fini(&payload);
}

/* --- writing ----------------------------------------------------------- */

static void http_chunk_head_is_read_back(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{ 1, "1\r\n" },
		{ 15, "f\r\n" },
		{ 16, "10\r\n" },
		{ 0xabcdef, "abcdef\r\n" },
		{ UINT64_MAX, "ffffffffffffffff\r\n" },
	};
	char out[HTTP_CHUNK_HEAD_BYTES_MAX];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t len = http_chunk_head(cases[i].bytes, out);

		assert_int_equal(len, strlen(cases[i].text));
		assert_memory_equal(out, cases[i].text, len);
	}
}

static void http_add_refuses_what_would_break_its_line(void **state)
{
	static const struct {
		const char *name;
		const char *value;
	} cases[] = {
		{ "X", "a\r\nY: b" }, { "X", "a\nb" },	{ "X", "a\rb" },
		{ "X", "\x01" },      { "X: a\r\nY", "" }, { "", "a" },
		{ "X ", "a" },
	};
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, 4096);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		buf_reset(&b);
		assert_int_equal(http_response_begin(&b, 200), 0);
		assert_int_equal(http_add_str(&b, cases[i].name,
					      cases[i].value),
				 -EINVAL);
		assert_int_equal(http_add_str(&b, "Y", "fine"), 0);
		assert_int_equal(http_head_end(&b), -EINVAL);
	}
	buf_reset(&b);
	assert_int_equal(http_add(&b, "X", (struct slice){ "a\0b", 3 }),
			 -EINVAL);
	buf_reset(&b);
	assert_int_equal(http_request_begin(&b, "GET",
					    SLICE("/ HTTP/1.1\r\nX: a")),
			 -EINVAL);
	buf_reset(&b);
	assert_int_equal(http_request_begin(&b, "GET /", SLICE("/")), -EINVAL);
	buf_fini(&b);
}

static void http_heads_survive_a_round_trip(void **state)
{
	static const char text[] = "HTTP/1.1 403 Forbidden\r\n"
				   "Content-Length: 18446744073709551615\r\n"
				   "X: a b\r\n\r\n";
	struct buf b;

	(void)state;
	buf_init(&b, 4096);
	assert_int_equal(http_response_begin(&b, 403), 0);
	assert_int_equal(http_add_u64(&b, "Content-Length", UINT64_MAX), 0);
	assert_int_equal(http_add_str(&b, "X", "a b"), 0);
	assert_int_equal(http_head_end(&b), 0);
	assert_int_equal(buf_len(&b), sizeof(text) - 1);
	assert_memory_equal(buf_head(&b), text, sizeof(text) - 1);
	buf_fini(&b);
	buf_init(&b, 10);
	(void)http_response_begin(&b, 200);
	assert_int_equal(http_head_end(&b), -EINVAL);
	buf_fini(&b);
}

/* --- targets ----------------------------------------------------------- */

static void http_query_get_decodes_one_value(void **state)
{
	struct slice query = SLICE("a=1&SessionToken=x%2Fy%7E&&b&c=&a%=2&d=%00");
	char out[8];

	(void)state;
	assert_int_equal(http_query_get(query, "SessionToken", out, 8), 4);
	assert_string_equal(out, "x/y~");
	assert_int_equal(http_query_get(query, "SessionToken", out, 5), 4);
	assert_int_equal(http_query_get(query, "SessionToken", out, 4),
			 -ENOBUFS);
	assert_int_equal(http_query_get(query, "b", out, 8), 0);
	assert_int_equal(http_query_get(query, "c", out, 8), 0);
	assert_int_equal(http_query_get(query, "e", out, 8), -ENOENT);
	assert_int_equal(http_query_get(query, "d", out, 8), -EINVAL);
	assert_int_equal(http_query_get(SLICE("a=1&a=1"), "a", out, 8),
			 -EINVAL);
	assert_int_equal(http_query_get(SLICE("a=%2"), "a", out, 8), -EINVAL);
	assert_int_equal(http_query_get(SLICE("a=%zz"), "a", out, 8), -EINVAL);
	assert_int_equal(http_query_get(SLICE(""), "a", out, 8), -ENOENT);
	assert_int_equal(http_percent_decode(SLICE("a+%20%c3%A9"), out, 8), 5);
	assert_memory_equal(out, "a+ \xc3\xa9", 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(http_request_parse_reads_every_part),
		cmocka_unit_test(http_request_parse_asks_for_more_at_every_cut),
		cmocka_unit_test(
			http_request_parse_refuses_what_readers_disagree_on),
		cmocka_unit_test(http_request_parse_refuses_doubtful_framing),
		cmocka_unit_test(http_request_parse_bounds_count_and_size),
		cmocka_unit_test(http_head_says_when_the_connection_ends),
		cmocka_unit_test(http_response_parse_reads_status_lines),
		cmocka_unit_test(http_body_decodes_chunks_however_they_are_cut),
		cmocka_unit_test(http_body_refuses_broken_chunks),
		cmocka_unit_test(http_body_bounds_extensions_and_trailers),
		cmocka_unit_test(http_body_knows_its_end_from_the_head),
		cmocka_unit_test(http_chunk_head_is_read_back),
		cmocka_unit_test(http_add_refuses_what_would_break_its_line),
		cmocka_unit_test(http_heads_survive_a_round_trip),
		cmocka_unit_test(http_query_get_decodes_one_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
