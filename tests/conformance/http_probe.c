/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our HTTP parser at the end of a pipe, for http_differential.cjs.
 *
 * Each record on stdin: 4 bytes big-endian length, 'q' (request) or 's'
 * (response), and what came over a connection. Each answer is a line:
 *   refused
 *   more
 *   accepted METHOD-OR-STATUS TARGET FIELDS KEEP-ALIVE UPGRADE BODY END
 * BODY is the payload so far in hex; END is "done", "more" or "refused".
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "proto/http.h"

#define RECORD_BYTES_MAX (64u * 1024)

static void print_body(struct http_body *b, const uint8_t *bytes, size_t len)
{
	const char *end = "more";

	while (len || http_body_done(b)) {
		const uint8_t *piece;
		size_t count;
		size_t used;
		size_t i;
		int r;

		r = http_body_feed(b, bytes, len, &used, &piece, &count);
		if (r < 0) {
			end = "refused";
			break;
		}
		for (i = 0; i < count; i++)
			(void)printf("%02x", piece[i]);
		bytes += used;
		len -= used;
		if (r) {
			end = "done";
			break;
		}
	}
	(void)printf(" %s\n", end);
}

static void answer(bool request, const uint8_t *bytes, size_t len)
{
	static struct http_head h;
	struct http_body b;
	int r = request ? http_request_parse(bytes, len, &h) :
			  http_response_parse(bytes, len, &h);

	if (r <= 0) {
		(void)puts(r < 0 ? "refused" : "more");
		return;
	}
	if (request) {
		(void)printf("accepted %.*s %.*s", (int)h.method.len,
			     h.method.ptr, (int)h.target.len, h.target.ptr);
		http_body_init_request(&b, &h);
	} else {
		(void)printf("accepted %u -", h.status);
		http_body_init_response(&b, &h, false);
	}
	(void)printf(" %u %d %d ", h.field_count, !h.close, h.upgrade);
	print_body(&b, bytes + r, len - (size_t)r);
}

int main(void)
{
	static uint8_t record[RECORD_BYTES_MAX];
	uint8_t length[4];

	while (fread(length, 1, sizeof(length), stdin) == sizeof(length)) {
		size_t len = load_be32(length);

		if (!len || len > sizeof(record) ||
		    fread(record, 1, len, stdin) != len)
			return 1;
		answer(record[0] == 'q', record + 1, len - 1);
	}
	return 0;
}
