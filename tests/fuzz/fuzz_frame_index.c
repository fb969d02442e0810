/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packed frame index: whatever decodes has frames in order, and encoding
 * it again gives the input back, byte for byte (each index has one form).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame_index.h"
#include "proto/limits.h"

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct frame_index_writer w;
	struct frame_index_iter it;
	struct frame_entry f;
	uint64_t end = 0;
	struct buf out;
	int ret;

	if (len > FRAME_INDEX_BYTES_MAX || frame_index_open(&it, bytes, len))
		return 0;
	buf_init(&out, FRAME_INDEX_BYTES_MAX);
	frame_index_begin(&w, &out);
	while ((ret = frame_index_next(&it, &f)) > 0) {
		MUST(f.track && f.offset >= end);
		MUST(f.head_bytes <= f.offset - end);
		end = f.offset + f.bytes;
		MUST(!frame_index_add(&w, &f));
	}
	MUST(buf_len(&out) <= len);
	MUST(!buf_len(&out) || !memcmp(buf_head(&out), bytes, buf_len(&out)));
	MUST(ret < 0 || buf_len(&out) == len);
	buf_fini(&out);
	return 0;
}
