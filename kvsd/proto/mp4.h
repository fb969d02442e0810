/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Progressive MP4 with the moov first, computed from a table of samples: the
 * caller sends the header made here, then the samples' bytes from wherever
 * they are stored, in the order of its chunks. Media is never touched.
 */
#ifndef PROTO_MP4_H
#define PROTO_MP4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/limits.h"

enum mp4_codec { MP4_AVC1, MP4_HVC1, MP4_MP4A, MP4_ALAW, MP4_ULAW };

struct mp4_sample {
	uint32_t bytes;
	uint32_t duration; /* decode time to the next one, track timescale */
	int32_t cts_offset; /* presentation - decode time, track timescale */
	bool key;
};

struct mp4_track {
	enum mp4_codec codec;
	/* avcC, hvcC or AudioSpecificConfig; none for G.711. Borrowed. */
	const uint8_t *codec_private;
	size_t codec_private_bytes;
	uint32_t timescale; /* ticks per second */
	uint32_t width; /* video */
	uint32_t height;
	uint32_t rate_hz; /* audio */
	uint16_t channels;
	const struct mp4_sample *samples; /* borrowed */
	size_t samples_count;
	/* Silence or blank before the first sample, in movie ticks. */
	uint64_t start_delay;
	/* Presentation time of what is shown first, track ticks: the smallest
	 * cts of the track, so that reordering costs no delay. */
	uint64_t media_start;
};

/* A run of one track's samples that are adjacent in the file. */
struct mp4_chunk {
	uint32_t track; /* index into the tracks */
	uint32_t samples;
};

struct mp4_movie {
	uint32_t timescale; /* ticks per second of start_delay */
	const struct mp4_track *tracks; /* borrowed */
	size_t tracks_count;
	const struct mp4_chunk *chunks; /* in file order; borrowed */
	size_t chunks_count;
};

/**
 * mp4_write_header() - append ftyp, moov and the head of mdat
 * @ret_file_bytes: of the whole file: what was appended and all samples
 *
 * Return: 0, -EINVAL (no track, too many, a zero timescale, no sample, chunks
 * that do not use up each track's samples, missing or oversize codec private,
 * times over 64 bits), -ENOBUFS (over @out's limit), -ENOMEM. On failure @out
 * is as it was.
 */
int mp4_write_header(struct buf *out, const struct mp4_movie *movie,
		     uint64_t *ret_file_bytes) MUST_CHECK;

/**
 * mp4_times_from_pts() - durations and cts offsets from presentation times
 * @pts: of each sample in decode order, track ticks
 * @scratch: room for @count
 * @last_duration: of the sample decoded last
 * @samples: their duration and cts_offset are set, the rest is kept
 * @ret_delay: presentation time of the first picture shown, counted from the
 *	first decode time: what mp4_track.media_start takes
 *
 * Matroska carries no decode times: they are the presentation times sorted,
 * moved back so that none comes after its own presentation.
 * Return: 0, -EINVAL (no sample), -ERANGE (a time difference over 31 bits, or
 * pictures further out of order than MP4_REORDER_MAX); samples are untouched.
 */
int mp4_times_from_pts(const uint64_t *pts, uint64_t *scratch, size_t count,
		       uint32_t last_duration, struct mp4_sample *samples,
		       uint64_t *ret_delay) MUST_CHECK;

#endif
