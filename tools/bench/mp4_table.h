/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the samples of an MP4 file's first video track are. Reads files that
 * this bench made itself with ffmpeg: one H.264 track, no edit list to obey.
 */
#ifndef BENCH_MP4_TABLE_H
#define BENCH_MP4_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct mp4_sample {
	uint64_t offset;	/* in the file */
	uint64_t time_ns;	/* decoding time since the file's start */
	uint32_t bytes;
	bool key;
};

struct mp4_table {
	struct mp4_sample *samples;
	size_t count;
	uint8_t *moov;			/* the box; avcc points into it */
	const uint8_t *avcc;		/* body of the avcC box */
	size_t avcc_bytes;
	uint32_t width;
	uint32_t height;
};

/* Return: 0, -EBADMSG (not such a file), -ENOMEM, or the errno of reading. */
int mp4_table_read(int fd, struct mp4_table *ret_table) MUST_CHECK;
void mp4_table_fini(struct mp4_table *t);

#endif
