/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP heads and chunked bodies. The first byte chooses: 'q' a request head,
 * 's' a response head, else a chunked body. Checked: slices stay inside the
 * input, a shorter input is never accepted, what is accepted has one framing
 * and survives being written and read again, and a body decodes the same in
 * one piece and byte by byte.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_inside(struct slice s, const uint8_t *bytes, size_t len)
{
	if (!s.len)
		return;
	check((const uint8_t *)s.ptr >= bytes);
	check((const uint8_t *)s.ptr + s.len <= bytes + len);
}

static int parse(const uint8_t *bytes, size_t len, bool request,
		 struct http_head *h)
{
	return request ? http_request_parse(bytes, len, h) :
			 http_response_parse(bytes, len, h);
}

static void rewrite(const struct http_head *h, bool request, struct buf *b)
{
	char method[64];
	unsigned int i;

	if (request) {
		if (h->method.len >= sizeof(method))
			return;
		memcpy(method, h->method.ptr, h->method.len);
		method[h->method.len] = '\0';
		check(http_request_begin(b, method, h->target) == 0);
	} else {
		check(http_response_begin(b, h->status) == 0);
	}
	for (i = 0; i < h->field_count; i++) {
		char name[HTTP_HEAD_BYTES_MAX];

		memcpy(name, h->fields[i].name.ptr, h->fields[i].name.len);
		name[h->fields[i].name.len] = '\0';
		check(http_add(b, name, h->fields[i].value) == 0);
	}
	check(http_head_end(b) == 0);
}

static void check_again(const struct http_head *h, bool request)
{
	static struct http_head again;
	struct buf b;
	unsigned int i;

	/* HTTP/1.0 comes back as 1.1, which needs a Host and may chunk. */
	if (!h->minor)
		return;
	buf_init(&b, 4 * HTTP_HEAD_BYTES_MAX);
	rewrite(h, request, &b);
	/* The space after each colon may push it over the limit. */
	if (buf_len(&b) && buf_len(&b) <= HTTP_HEAD_BYTES_MAX) {
		check(parse(buf_head(&b), buf_len(&b), request, &again) ==
		      (int)buf_len(&b));
		check(again.field_count == h->field_count);
		check(again.chunked == h->chunked);
		check(again.has_length == h->has_length);
		check(again.length == h->length);
		check(again.close == h->close);
		check(slice_eq(again.target, h->target));
		for (i = 0; i < h->field_count; i++)
			check(slice_eq(again.fields[i].value,
				       h->fields[i].value));
	}
	buf_fini(&b);
}

static void fuzz_head(const uint8_t *bytes, size_t len, bool request)
{
	static struct http_head h;
	static struct http_head shorter;
	unsigned int i;
	int r = parse(bytes, len, request, &h);

	if (r <= 0) {
		check(r == 0 || http_error_status(r) >= 400);
		return;
	}
	check((size_t)r <= len && (size_t)r <= HTTP_HEAD_BYTES_MAX);
	check(parse(bytes, (size_t)r - 1, request, &shorter) == 0);
	check(parse(bytes, (size_t)r / 2, request, &shorter) == 0);
	check(parse(bytes, (size_t)r, request, &shorter) == r);
	check(!(h.chunked && h.has_length));
	check(h.field_count <= HTTP_FIELDS_MAX);
	check_inside(h.method, bytes, len);
	check_inside(h.target, bytes, len);
	check_inside(h.path, bytes, len);
	check_inside(h.query, bytes, len);
	check_inside(h.reason, bytes, len);
	for (i = 0; i < h.field_count; i++) {
		check_inside(h.fields[i].name, bytes, len);
		check_inside(h.fields[i].value, bytes, len);
	}
	check_again(&h, request);
}

struct decoded {
	struct buf payload;
	size_t used;
	int result;
};

static void decode(const uint8_t *bytes, size_t len, size_t step,
		   struct decoded *d)
{
	struct http_body b = { .state = HTTP_BODY_CHUNK_SIZE };

	buf_init(&d->payload, len + 1);
	d->used = 0;
	d->result = 0;
	while (d->used < len && d->result == 0) {
		size_t n = MIN(step, len - d->used);
		const uint8_t *piece;
		size_t count;
		size_t used;

		d->result = http_body_feed(&b, bytes + d->used, n, &used,
					   &piece, &count);
		if (d->result < 0)
			return;
		check(used <= n && count <= used);
		check(used > 0 || d->result);
		check_inside((struct slice){ (const char *)piece, count },
			     bytes + d->used, n);
		check(buf_add(&d->payload, piece, count) == 0);
		d->used += used;
	}
	check(http_body_done(&b) == (d->result == 1));
}

static void fuzz_body(const uint8_t *bytes, size_t len)
{
	struct decoded whole;
	struct decoded cut;

	decode(bytes, len, len ? len : 1, &whole);
	decode(bytes, len, 1, &cut);
	check(whole.result == cut.result);
	if (whole.result >= 0) {
		check(whole.used == cut.used);
		check(buf_len(&whole.payload) == buf_len(&cut.payload));
		check(!buf_len(&whole.payload) ||
		      memcmp(buf_head(&whole.payload), buf_head(&cut.payload),
			     buf_len(&whole.payload)) == 0);
	}
	buf_fini(&whole.payload);
	buf_fini(&cut.payload);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	if (!len)
		return 0;
	if (bytes[0] == 'q' || bytes[0] == 's')
		fuzz_head(bytes + 1, len - 1, bytes[0] == 'q');
	else
		fuzz_body(bytes + 1, len - 1);
	return 0;
}
