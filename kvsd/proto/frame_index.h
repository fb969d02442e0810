/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The per-frame index of one fragment, packed: what any later packaging
 * (fMP4, TS, clips) needs to address stored frames without reading media.
 *
 * Layout: one version byte (1), then per frame these LEB128 integers, none
 * longer than needed, signed ones zigzag:
 *	track << 3 | has_duration << 2 | has_time << 1 | key
 *	payload offset - end of the previous payload (of 0 for the first)
 *	bytes of the block head before the payload, at most the gap above
 *	payload bytes
 *	signed: timecode - previous frame's (0 for the first), ticks
 *	signed, if has_time: aligned ns - previous such (0 for the first)
 *	if has_duration: ticks
 */
#ifndef PROTO_FRAME_INDEX_H
#define PROTO_FRAME_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"

struct frame_entry {
	uint32_t track; /* Matroska track number */
	bool key;
	bool has_time; /* @time_ns came with the frame (frame_time.h) */
	uint64_t offset; /* of the payload, from the fragment's first byte */
	uint32_t head_bytes; /* block head right before the payload */
	uint32_t bytes; /* of the payload */
	uint64_t timecode; /* absolute, in ticks of the document's scale */
	uint64_t time_ns; /* aligned, Unix epoch; 0 without has_time */
	uint64_t duration; /* ticks; 0: not known */
};

struct frame_index_writer {
	struct buf *out; /* borrowed */
	size_t count; /* frames added */
	uint64_t end; /* of the last payload */
	uint64_t timecode;
	uint64_t time_ns;
};

/* Appends to @out, whose limit bounds the index; writes nothing yet. */
void frame_index_begin(struct frame_index_writer *w, struct buf *out);

/**
 * frame_index_add() - append one frame
 *
 * Frames come in file order. Return: 0, -EINVAL (payload or head overlaps
 * the previous frame, track 0 or over 2^29 - 1), -ENOBUFS (the buffer's limit
 * or FRAME_INDEX_BYTES_MAX), -ENOMEM. On failure nothing is added.
 */
int frame_index_add(struct frame_index_writer *w,
		    const struct frame_entry *frame) MUST_CHECK;

struct frame_index_iter {
	const uint8_t *next;
	const uint8_t *end;
	uint64_t payload_end;
	uint64_t timecode;
	uint64_t time_ns;
};

/* 0 (an index of 0 bytes has no frame), or -EBADMSG: an unknown version. */
int frame_index_open(struct frame_index_iter *it, const uint8_t *bytes,
		     size_t len) MUST_CHECK;

/**
 * frame_index_next() - the next frame
 *
 * Return: 1, 0 at the end, -EBADMSG: cut short, an integer too long or not
 * in its shortest form, a field out of range, an offset that overflows.
 */
int frame_index_next(struct frame_index_iter *it,
		     struct frame_entry *ret_frame) MUST_CHECK;

#endif
