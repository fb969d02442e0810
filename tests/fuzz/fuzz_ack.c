/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acknowledgements from the wire. Checked: the same objects come out in one
 * piece and byte by byte, and one that can be written reads back the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/ack.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* The next ack, fed @step bytes at a time. Return: 1, 0 at the end, <0. */
static int next(struct ack_parser *p, const uint8_t *bytes, size_t len,
		size_t *at, size_t step, struct ack *ret_ack)
{
	int r = 0;

	while (*at < len && r == 0) {
		size_t n = MIN(step, len - *at);
		size_t used;

		r = ack_parser_feed(p, bytes + *at, n, &used, ret_ack);
		if (r < 0)
			return r;
		check(used > 0 && used <= n);
		check(r == 1 || used == n);
		*at += used;
	}
	return r;
}

static bool same(const struct ack *a, const struct ack *b)
{
	return a->event == b->event && a->has_timecode == b->has_timecode &&
	       a->timecode_ms == b->timecode_ms && a->error_id == b->error_id &&
	       strcmp(a->fragment_number, b->fragment_number) == 0 &&
	       strcmp(a->error_code, b->error_code) == 0;
}

static void check_written(const struct ack *ack)
{
	struct ack_parser p;
	struct ack again;
	struct buf b;
	size_t at = 0;

	buf_init(&b, 2 * ACK_BYTES_MAX);
	if (ack_format(&b, ack) == 0) {
		ack_parser_init(&p);
		check(next(&p, buf_head(&b), buf_len(&b), &at, SIZE_MAX,
			   &again) == 1);
		check(again.event == ack->event);
		check(again.timecode_ms == ack->timecode_ms);
		check(strcmp(again.fragment_number, ack->fragment_number) ==
		      0);
	}
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct ack_parser whole;
	static struct ack_parser cut;
	size_t at_whole = 0;
	size_t at_cut = 0;
	struct ack a;
	struct ack b;
	int r;

	ack_parser_init(&whole);
	ack_parser_init(&cut);
	do {
		r = next(&whole, bytes, len, &at_whole, SIZE_MAX, &a);
		check(next(&cut, bytes, len, &at_cut, 1, &b) == r);
		if (r == 1) {
			check(same(&a, &b));
			check_written(&a);
		}
	} while (r == 1);
	return 0;
}
