/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 messages (RFC 9112, RFC 9110), a strict subset, bytes in and bytes
 * out. Nothing here allocates except struct buf; slices point into the
 * caller's bytes and live as long as they do.
 *
 * What a lenient reader accepts and this one refuses, since two readers that
 * disagree about framing are a hole: obs-fold, bare CR or LF, space before the
 * colon, Content-Length beside Transfer-Encoding, a second Content-Length (equal
 * or not) or a list in one, any coding but a single "chunked", chunked in
 * HTTP/1.0, tabs around those values, a 1.1 request without exactly one Host, a
 * request target that is not origin-form ("/path?query"), a 1xx, 204 or 304
 * that announces a body.
 */
#ifndef PROTO_HTTP_H
#define PROTO_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/limits.h"
#include "proto/slice.h"

/* --- heads ------------------------------------------------------------- */

struct http_field {
	struct slice name;	/* as sent; compare without case */
	struct slice value;	/* without the space around it; may be empty */
};

struct http_head {
	struct slice method;	/* requests: a token, case-sensitive */
	struct slice target;	/* requests: starts with '/' */
	struct slice path;	/* requests: target up to '?', still encoded */
	struct slice query;	/* requests: after '?', still encoded */
	unsigned int status;	/* responses: 100..599; 0 marks a request */
	struct slice reason;	/* responses: may be empty */
	unsigned int minor;	/* HTTP/1.minor: 0 or 1 */

	/* Framing as the fields state it; struct http_body applies it. */
	bool chunked;
	bool has_length;
	uint64_t length;	/* Content-Length when has_length */

	bool close;		/* the connection ends after this message */
	bool expect_continue;	/* requests: Expect: 100-continue */
	bool upgrade;		/* Connection names Upgrade */

	unsigned int field_count;
	struct http_field fields[HTTP_FIELDS_MAX];
};

/**
 * http_request_parse() - read a request head from the front of @bytes
 * @len: all that has arrived; call again from the start with more
 * @ret_head: complete when the result is positive, else undefined
 *
 * One empty line before the request line is skipped.
 *
 * Return: bytes of the head including its empty line; 0 when more bytes are
 * needed; -EBADMSG (malformed), -EMSGSIZE (over HTTP_HEAD_BYTES_MAX or
 * HTTP_FIELDS_MAX), -EPROTONOSUPPORT (version is not 1.0 or 1.1), -ENOTSUP
 * (transfer coding other than chunked). http_error_status() maps them.
 */
int http_request_parse(const void *bytes, size_t len,
		       struct http_head *ret_head) MUST_CHECK;

/* The same for a response head, 1xx included. */
int http_response_parse(const void *bytes, size_t len,
			struct http_head *ret_head) MUST_CHECK;

/* The status to answer a failed http_request_parse() with. */
unsigned int http_error_status(int error);

/* The value of the first field of that name; NULL when there is none. */
const struct slice *http_field(const struct http_head *h, const char *name);

/* How many fields have that name: callers that sign or authorise need one. */
unsigned int http_field_count(const struct http_head *h, const char *name);

/* --- bodies ------------------------------------------------------------ */

enum http_body_state {
	HTTP_BODY_LENGTH = 0,	/* @left bytes to come */
	HTTP_BODY_UNTIL_CLOSE,
	HTTP_BODY_CHUNK_SIZE,
	HTTP_BODY_EXT_NAME,	/* chunk extensions: checked, ignored */
	HTTP_BODY_EXT_VALUE,
	HTTP_BODY_EXT_QUOTED,
	HTTP_BODY_EXT_ESCAPE,
	HTTP_BODY_EXT_END,
	HTTP_BODY_CHUNK_LF,
	HTTP_BODY_CHUNK_DATA,	/* @left bytes to come */
	HTTP_BODY_DATA_CR,
	HTTP_BODY_DATA_LF,
	HTTP_BODY_TRAILER_START, /* trailers: checked, discarded */
	HTTP_BODY_TRAILER_NAME,
	HTTP_BODY_TRAILER_VALUE,
	HTTP_BODY_TRAILER_LF,
	HTTP_BODY_END_LF,
	HTTP_BODY_DONE,
	HTTP_BODY_FAILED,
};

struct http_body {
	enum http_body_state state;
	uint64_t left;		/* of the body or of the chunk */
	unsigned int line_bytes; /* of the chunk line or the trailers so far */
	unsigned int piece_bytes; /* of the size or extension part so far */
};

/* A request without a stated length has no body. */
void http_body_init_request(struct http_body *b, const struct http_head *h);

/*
 * @head_only: the request was HEAD. Without a stated length the body lasts
 * until the connection closes; 1xx, 204 and 304 have none.
 */
void http_body_init_response(struct http_body *b, const struct http_head *h,
			     bool head_only);

/**
 * http_body_feed() - take framing off the front of @in
 * @ret_used: how many bytes of @in are dealt with, payload included
 * @ret_bytes: payload, inside @in; valid when *ret_len is not 0
 *
 * Yields at most one piece of payload per call, so call it until it returns 1
 * or has used all. Bytes after the end of the body are left alone.
 *
 * Return: 1 when the body ends with this piece, 0 when there is more to come,
 * -EBADMSG (broken framing; the connection cannot be used again).
 */
int http_body_feed(struct http_body *b, const uint8_t *in, size_t len,
		   size_t *ret_used, const uint8_t **ret_bytes,
		   size_t *ret_len) MUST_CHECK;

static inline bool http_body_done(const struct http_body *b)
{
	return b->state == HTTP_BODY_DONE ||
	       (b->state == HTTP_BODY_LENGTH && !b->left);
}

/* The peer closed. Return: 0 when the body was whole, else -ECONNRESET. */
int http_body_eof(struct http_body *b) MUST_CHECK;

/* --- writing ----------------------------------------------------------- */

#define HTTP_CHUNK_HEAD_BYTES_MAX 18u	/* 16 hex digits, CR LF */
#define HTTP_CHUNK_END "\r\n"
#define HTTP_LAST_CHUNK "0\r\n\r\n"

/*
 * The line before a chunk of @payload_bytes, which must not be 0 (that would
 * end the body). Follow the payload with HTTP_CHUNK_END. Return: its length.
 */
size_t http_chunk_head(uint64_t payload_bytes,
		       char out[HTTP_CHUNK_HEAD_BYTES_MAX]);

/*
 * Heads are written by http_request_begin() or http_response_begin(), any
 * number of http_add_*() and http_head_end(). A value that would break out of
 * its line (CR, LF, NUL, other controls) is refused with -EINVAL. Every
 * failure also marks the buffer, so checking http_head_end() is enough.
 */
int http_request_begin(struct buf *b, const char *method, struct slice target);
/* With the standard reason phrase of @status. */
int http_response_begin(struct buf *b, unsigned int status);
int http_add(struct buf *b, const char *name, struct slice value);
int http_add_str(struct buf *b, const char *name, const char *value);
int http_add_u64(struct buf *b, const char *name, uint64_t value);
/* Return: 0, -EINVAL when anything since the buffer's reset failed. */
int http_head_end(struct buf *b) MUST_CHECK;

const char *http_reason(unsigned int status);

/* --- targets ----------------------------------------------------------- */

/**
 * http_query_next() - walk "a=1&b=2"
 * @rest: what is left; starts as the head's query
 *
 * Yields names and values still encoded; a name without '=' has an empty
 * value; empty pieces ("a&&b") are skipped. Return: false at the end.
 */
bool http_query_next(struct slice *rest, struct slice *ret_name,
		     struct slice *ret_value);

/**
 * http_query_get() - the decoded value of one parameter
 * @out: gets a NUL after the value
 *
 * Return: its length, -ENOENT (absent), -EINVAL (bad encoding, a NUL inside,
 * or the parameter is repeated), -ENOBUFS (does not fit with its NUL).
 */
int http_query_get(struct slice query, const char *name, char *out,
		   size_t size) MUST_CHECK;

/**
 * http_percent_decode() - "%2F" to "/"
 *
 * '+' stays '+': it means a space in HTML forms only.
 * Return: bytes written (never more than in.len), -EINVAL (a '%' without two
 * hex digits), -ENOBUFS.
 */
int http_percent_decode(struct slice in, char *out, size_t size) MUST_CHECK;

#endif
