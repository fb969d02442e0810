/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matroska heads for media that stays where it is: a document is
 * {header}{cluster head}{block head}{payload}{block head}{payload}..., where
 * each head is a few computed bytes and the payload is never touched.
 * Segment and Cluster have unknown sizes.
 */
#ifndef PROTO_MKV_WRITER_H
#define PROTO_MKV_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/mkv.h"

#define MKV_BITMAPINFO_BYTES 40
#define MKV_WAVEFORMATEX_BYTES 18
/* The most payload that mkv_block_head() can announce. */
#define MKV_BLOCK_PAYLOAD_MAX (MKV_BLOCK_BYTES_MAX - 4u)

/**
 * mkv_write_header() - append EBML header, Segment, Info and Tracks
 * @segment_uid: 16 random bytes, or NULL for none
 * @scale_ns: nanoseconds of a timecode tick, 1 .. MKV_TIMECODE_SCALE_NS_MAX
 *
 * Return: 0, -EINVAL (no track, too many, a number outside 1 .. 126 or twice,
 * an empty codec id, a codec private over its bound), -ENOBUFS, -ENOMEM. On
 * failure @out is as it was.
 */
int mkv_write_header(struct buf *out, const struct mkv_track *tracks,
		     size_t count, uint64_t scale_ns,
		     const uint8_t *segment_uid) MUST_CHECK;

/* Writes MKV_CLUSTER_HEAD_BYTES at @out; @timecode in ticks. */
void mkv_cluster_head(uint8_t *out, uint64_t timecode);

/**
 * mkv_block_head() - the head of a SimpleBlock
 * @out: MKV_BLOCK_HEAD_BYTES are written
 * @track: 1 .. 126
 * @relative: ticks since the cluster's timecode
 * @payload_bytes: that follow it, at most MKV_BLOCK_PAYLOAD_MAX
 *
 * Out-of-range arguments are the caller's bug (asserted).
 */
void mkv_block_head(uint8_t *out, unsigned int track, int16_t relative,
		    bool key, size_t payload_bytes);

/**
 * mkv_write_tags() - append one Tags > Tag > SimpleTag...
 *
 * Tags and Tag have 4-byte sizes, as the service writes them.
 * Return: 0, -EINVAL (no tag, over MKV_WRITE_TAGS_MAX, a name or value over
 * its bound), -ENOBUFS, -ENOMEM. On failure @out is as it was.
 */
int mkv_write_tags(struct buf *out, const struct mkv_tag *tags,
		   size_t count) MUST_CHECK;

/*
 * Codec private of V_MS/VFW/FOURCC: a BITMAPINFOHEADER. @fourcc has its first
 * character in the lowest byte, as V4L2 has. Writes MKV_BITMAPINFO_BYTES.
 */
void mkv_bitmapinfo(uint8_t *out, uint32_t fourcc, uint32_t width,
		    uint32_t height);

/* Codec private of A_MS/ACM: @tag 6 is A-law, 7 mu-law, 1 PCM. */
void mkv_waveformatex(uint8_t *out, uint16_t tag, uint16_t channels,
		      uint32_t rate_hz, uint16_t bits);

#endif
