/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a V4L2 source, shared by its two halves: source_v4l2.c opens,
 * starts and stops it, source_v4l2_frames.c takes frames and gets them back.
 */
#ifndef CAPTURE_SRC_SOURCE_V4L2_H
#define CAPTURE_SRC_SOURCE_V4L2_H

#include "src/frame.h"
#include "src/frame_count.h"
#include "src/queue.h"
#include "src/settings.h"
#include "src/source_backend.h"

struct frame_pool;

enum stream_state { STREAM_OFF = 0, STREAM_ON, STREAM_FAILED, STREAM_CLOSED };

struct stream_frame {
	struct frame_holder holder;
	struct source_v4l2 *stream;
	uint32_t index;
	uint64_t given_ns;	/* CLOCK_MONOTONIC: the driver has it since */
};

/* What one start has seen; begins anew with each. */
struct stream_course {
	uint64_t start_ns;	/* CLOCK_MONOTONIC, before STREAMON */
	uint32_t skip_left;	/* frames still to leave out */
	uint32_t stale_left;	/* frames that may still be of an older start */
	bool sequence_known;
	uint32_t sequence_driver; /* of the last buffer seen */
	uint32_t sequence;	/* the same as frames tell it */
	uint64_t stamp_last_ns;	/* given to a user; 0: none yet */
	uint64_t stamp_seen_ns;	/* the driver's of the last buffer; 0: none */
	struct frame_count count; /* of @counter */
};

struct source_v4l2 {
	struct capture_source base;
	int fd;
	enum stream_state state;
	int failure;		/* in STREAM_FAILED: what dequeue says */
	bool events;		/* source changes are told */
	uint32_t frames_unasked; /* since it was last asked for events */
	bool restored;		/* the device is as it was: only close helps */
	struct queue queue;
	struct stream_frame frames[CAPTURE_BUFFERS_MAX];
	struct frame_pool *copies; /* NULL: none are made */
	uint32_t borrow_max;
	uint32_t skip_first;
	uint32_t starts;
	/* To get memory once more, if that of S2 is none. */
	char driver[CAPTURE_DRIVER_BYTES];
	enum capture_rung rung_asked;
	uint32_t buffers_asked;
	uint32_t track_id;
	struct capture_counter_setting counter;
	uint32_t counts_anew;	/* the core began anew */
	/* Fewest payload bytes of a whole frame, per plane; 1: any. */
	size_t whole_bytes[CAPTURE_PLANES_MAX];
	struct stream_course course;
	struct settings_journal journal;
	struct capture_source_stats stats;
};

static inline struct source_v4l2 *source_v4l2_of(struct capture_source *source)
{
	return container_of(source, struct source_v4l2, base);
}

/* The only writer of @s->state. */
void source_v4l2_set_state(struct source_v4l2 *s, enum stream_state next);
/* Frees it; no frame may be out. */
void source_v4l2_destroy(struct source_v4l2 *s);

/* One frame for each buffer of the queue. */
void source_v4l2_init_frames(struct source_v4l2 *s);
/*
 * What S2 holds is not what the driver wrote (see queue_canary.h): goes on
 * with the next rung. 0, or what dequeue shall say: frames of S2 that are
 * out keep it where it is, and the device must be opened again.
 */
int source_v4l2_leave_huge(struct source_v4l2 *s);
/* Queues every free buffer; the errno of the first that was refused. */
int source_v4l2_give_free(struct source_v4l2 *s);
/* As capture_source_dequeue(). */
int source_v4l2_dequeue(struct capture_source *source, uint64_t deadline_ns,
			struct capture_frame **ret_frame);

#endif
