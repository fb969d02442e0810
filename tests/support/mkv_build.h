/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matroska built element by element, right or wrong on purpose. A fixed
 * buffer; running out of it aborts.
 */
#ifndef SUPPORT_MKV_BUILD_H
#define SUPPORT_MKV_BUILD_H

#include <stddef.h>
#include <stdint.h>

#include "proto/ebml.h"
#include "proto/mkv.h"

struct mkv_build {
	uint8_t bytes[8192];
	size_t len;
};

void mkv_build_raw(struct mkv_build *b, const void *bytes, size_t len);
/* An element head; @width size bytes, @size as it is or EBML_SIZE_UNKNOWN. */
void mkv_build_head(struct mkv_build *b, uint32_t id, unsigned int width,
		    uint64_t size);
void mkv_build_bytes(struct mkv_build *b, uint32_t id, const void *bytes,
		     size_t len);
void mkv_build_text(struct mkv_build *b, uint32_t id, const char *text);
/* An unsigned integer in @len bytes. */
void mkv_build_uint(struct mkv_build *b, uint32_t id, size_t len,
		    uint64_t value);
/* A master around what was built since @at, its size in @width bytes. */
void mkv_build_wrap(struct mkv_build *b, size_t at, uint32_t id,
		    unsigned int width);

/* --- whole parts --- */
void mkv_build_ebml(struct mkv_build *b);
/* Segment of unknown size and Info of 1 ms ticks. */
void mkv_build_segment(struct mkv_build *b);
/* One TrackEntry: H.264 video; wrap one or more in Tracks. */
void mkv_build_track(struct mkv_build *b, uint64_t number);
/* ebml, segment and Tracks with tracks 1 .. @tracks. */
void mkv_build_header(struct mkv_build *b, unsigned int tracks);
/* The head of a cluster of unknown size, and its timecode. */
void mkv_build_cluster(struct mkv_build *b, uint64_t timecode);
/* A SimpleBlock or Block (@id) with @payload. */
void mkv_build_block(struct mkv_build *b, uint32_t id, unsigned int track,
		     int16_t relative, uint8_t flags, const char *payload);
/* Parts of a Tag. Targets: a TargetTypeValue, and the UID @id unless 0. */
void mkv_build_targets(struct mkv_build *b, uint32_t id, uint64_t uid);
void mkv_build_simple_tag(struct mkv_build *b, const char *name,
			  const char *value);
/* Tags > Tag > SimpleTag. */
void mkv_build_tag(struct mkv_build *b, const char *name, const char *value);

#endif
