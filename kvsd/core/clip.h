/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GetClip: from stored fragments' headers and frame indexes to one MP4, whose
 * head is computed here and whose samples are ranges of stored media.
 *
 * Timeline: frames keep their distances within a session. Fragments follow
 * each other by producer time; an overlap is moved behind what is there
 * already and a gap of more than CLIP_GAP_MS_MAX is left out, so that the
 * clip's length is the length of its media.
 */
#ifndef CORE_CLIP_H
#define CORE_CLIP_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "core/store.h"

/* Each is answered with an exception of its own. */
enum clip_error {
	CLIP_OK = 0,
	CLIP_UNSUPPORTED, /* codec or combination of tracks */
	CLIP_TRACKS_CHANGED,
	CLIP_PRIVATE_MISSING,
	CLIP_PRIVATE_INVALID,
	CLIP_PRIVATE_CHANGED,
	CLIP_BAD_FRAME,
	CLIP_TOO_LONG, /* over CLIP_FRAMES_MAX */
	CLIP_NO_MEMORY,
};

/* Where a run of the file comes from; @offset counts in the fragment's media. */
struct clip_range {
	uint32_t fragment; /* in the order of clip_add() */
	uint32_t offset;
	uint32_t bytes;
};

struct clip;

struct clip *clip_new(void); /* NULL: no memory */
struct clip *clip_free(struct clip *c);
DEFINE_AUTO(clip_free, struct clip *)

/**
 * clip_add() - the next fragment, in the order of the clip
 * @header: its MKV header
 * @frames: its packed frame index
 *
 * Both are copied as far as they are needed.
 */
enum clip_error clip_add(struct clip *c, const struct store_fragment *row,
			 const uint8_t *header, size_t header_len,
			 const uint8_t *frames, size_t frames_len) MUST_CHECK;

/**
 * clip_finish() - everything before the first sample
 * @out: appended to; its limit is MP4_HEADER_BYTES_MAX
 * @ret_file_bytes: of the whole file
 */
enum clip_error clip_finish(struct clip *c, struct buf *out,
			    uint64_t *ret_file_bytes) MUST_CHECK;

/* After clip_finish(): samples in file order; valid until clip_free(). */
const struct clip_range *clip_ranges(const struct clip *c, size_t *ret_count);

/*
 * clip_unique() - drop fragments of the same producer time
 *
 * The largest number of each stays; the order stays. Return: rows left.
 */
size_t clip_unique(struct store_fragment *rows, size_t count);

#endif
