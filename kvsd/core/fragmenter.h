/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of one to three tracks in, blocks of fragments out: which frame goes
 * next, where a fragment is cut, and the computed bytes before each payload.
 * It never sees a payload, only its size and the name that the store gave it.
 *
 * Order. Blocks go out in order of time. A frame waits until every other
 * expected track has one that is not earlier, but never longer than the
 * interleave wait: a silent track blocks nobody for longer.
 *
 * Cuts. A fragment starts with a key frame of the lead track (the first video
 * track; without video any frame will do) once the last one is fragment_ms
 * old. Without a key frame it is cut at FRAGMENT_CUT_MS_MAX or
 * FRAGMENT_CUT_BYTES_MAX, since the service refuses what is over its bounds.
 *
 * Silent tracks. The service wants at least one frame of every declared track
 * in each fragment (ack 4011). A cut therefore waits for tracks that are
 * expected and still silent, up to FRAGMENT_MS_MAX; after that the track is
 * no longer expected, and sessions are opened without declaring it. When it
 * speaks again it is expected from the next fragment on, and its frames until
 * then are dropped (and counted by the caller). Which tracks a fragment was
 * opened with, and which it has, stands in its head (core/retain.h).
 *
 * Timecodes are the first frame's time rounded to ms, strictly later than
 * every block of the fragment before (ack 4004).
 */
#ifndef CORE_FRAGMENTER_H
#define CORE_FRAGMENTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/limits.h"
#include "core/retain.h"
#include "proto/mkv.h"

struct buf;

struct fragmenter_config {
	/* Numbers are overwritten: 1, 2, 3. Codec privates: copied. */
	const struct mkv_track *tracks;
	/* One per track: its codec private comes later, by its key frames. */
	const bool *private_later;
	size_t track_count;		/* 1..FRAGMENT_TRACKS_MAX */
	uint64_t fragment_ms;		/* FRAGMENT_MS_MIN..FRAGMENT_MS_MAX */
	uint64_t interleave_ms;		/* at most INTERLEAVE_MS_MAX */
};

struct fragmenter_frame {
	uint32_t track;
	bool key;
	uint64_t time_ns;	/* Unix epoch, when it is shown */
	uint64_t order_ns;	/* when it is decoded; 0 = time_ns */
	size_t bytes;		/* payload as stored */
	uint64_t held;		/* the store's name for it */
};

/* One frame on its way out. */
struct fragmenter_block {
	uint64_t held;
	uint32_t track;
	uint64_t time_ns;
	/* Its track is not declared in this fragment: release it. */
	bool drop;
	/* It opens a fragment: seal the open one, open this. */
	bool opens;
	struct retain_fragment head;	/* when it opens one */
	size_t header_bytes;
	uint8_t header[FRAME_HEADER_BYTES_MAX];
};

struct fragmenter;

/* Return: 0, -EINVAL (a count or time out of range), -ENOMEM. */
int fragmenter_new(const struct fragmenter_config *config,
		   struct fragmenter **ret_fragmenter) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct fragmenter *fragmenter_free(struct fragmenter *f);
DEFINE_AUTO(fragmenter_free, struct fragmenter *)

/**
 * fragmenter_private() - the codec private that frames of @track have now
 *
 * Call before the key frame it came with. A change cuts there, and the
 * fragments on both sides keep their own (see fragmenter_header()).
 * Return: 0, -ENOMEM, -EMSGSIZE.
 */
int fragmenter_private(struct fragmenter *f, uint32_t track,
		       const uint8_t *bytes, size_t len) MUST_CHECK;

/**
 * fragmenter_check() - may this frame come now?
 * @order_ns: when it is decoded; with B-frames that is not when it is shown
 *
 * Return: 0, -EINVAL (track), -EAGAIN (before the first key frame of a video
 * track that leads), -ERANGE (order goes back on its track, or before the last
 * cut), -EBADMSG (a key frame, and its codec private is not known yet),
 * -EMSGSIZE.
 */
int fragmenter_check(const struct fragmenter *f, uint32_t track, bool key,
		     uint64_t order_ns, size_t bytes) MUST_CHECK;

/*
 * Takes a frame that fragmenter_check() allows. Call fragmenter_next() after
 * it until that returns false: the queues are bounded.
 */
void fragmenter_put(struct fragmenter *f, const struct fragmenter_frame *frame,
		    uint64_t now_ns);

/* The next block that need not wait any more. @now_ns: CLOCK_MONOTONIC. */
bool fragmenter_next(struct fragmenter *f, uint64_t now_ns,
		     struct fragmenter_block *ret_block);

/* When fragmenter_next() or fragmenter_idle() has something; UINT64_MAX never. */
uint64_t fragmenter_deadline_ns(const struct fragmenter *f);

/* No frame came for FRAGMENT_IDLE_NS: seal the open fragment. True once. */
bool fragmenter_idle(struct fragmenter *f, uint64_t now_ns);

/*
 * No frame will come: nothing waits any more in fragmenter_next(). Seal after
 * the last block.
 */
void fragmenter_end(struct fragmenter *f);

/*
 * The open fragment was given up: what waits may be taken out of
 * fragmenter_next() and dropped; frames are refused until a key frame.
 */
void fragmenter_restart(struct fragmenter *f);

/**
 * fragmenter_header() - append EBML header, Segment, Info and Tracks
 * @setup: of a fragment's head
 * @tracks: bit n: declare track n
 *
 * Return: 0, -ENOENT (more than FRAGMENT_SETUPS_MAX changes ago), or the
 * errors of mkv_write_header().
 */
int fragmenter_header(const struct fragmenter *f, uint32_t setup,
		      uint8_t tracks, const uint8_t *segment_uid,
		      struct buf *out) MUST_CHECK;

#endif
