/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts the frames in a fragment's media as it goes by, in pieces of any
 * size: reads the heads of elements and nothing else. For media that
 * proto/mkv_reader.h has been through; of anything else the count is worth
 * nothing, but no byte outside what is given is looked at.
 */
#ifndef PROTO_MKV_FRAMES_H
#define PROTO_MKV_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Id, size, and of a Block the track, timecode, flags and count of laces. */
#define MKV_FRAMES_HEAD_BYTES_MAX 24u

/* All zeroes: at the first byte of a fragment's media. */
struct mkv_frames {
	uint64_t skip;	     /* bytes of the element under way */
	unsigned int frames; /* there when it is over */
	unsigned int head_bytes;
	bool lost; /* not Matroska: counts no more */
	uint8_t head[MKV_FRAMES_HEAD_BYTES_MAX];
};

/* Return: frames, laced ones too, whose Block ends in these bytes. */
uint64_t mkv_frames_add(struct mkv_frames *m, const uint8_t *bytes, size_t len);

#endif
