/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Matroska reader: whole, byte by byte and cut in two at a place that the
 * input chooses, each way the same events and the same verdict; the event
 * recorder checks offsets and regions.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/mkv_events.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void must_equal(struct buf *a, struct buf *b)
{
	if (buf_len(a) == buf_len(b) &&
	    (!buf_len(a) || !memcmp(buf_head(a), buf_head(b), buf_len(a))))
		return;
	(void)fprintf(stderr, "whole:\n%.*scut:\n%.*s", (int)buf_len(a),
		      (const char *)buf_head(a), (int)buf_len(b),
		      (const char *)buf_head(b));
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	unsigned int flags = len & 1 ? MKV_READER_MULTI : 0;
	struct buf whole;
	struct buf cut;
	enum mkv_error error[3];
	size_t at;

	if (len > 1 << 16)
		return 0;
	buf_init(&whole, MKV_EVENTS_BYTES_MAX);
	buf_init(&cut, MKV_EVENTS_BYTES_MAX);
	(void)mkv_events_run(bytes, len, NULL, 0, flags, &whole, &error[0]);

	at = len ? (bytes[len / 2] * 257u + bytes[0]) % (len + 1) : 0;
	(void)mkv_events_run(bytes, len, &at, 1, flags, &cut, &error[1]);
	must_equal(&whole, &cut);

	buf_reset(&cut);
	(void)mkv_events_run_slices(bytes, len, 1, flags, &cut, &error[2]);
	must_equal(&whole, &cut);
	buf_fini(&whole);
	buf_fini(&cut);
	return 0;
}
