/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An encoder on a thread of its own, for drivers that may never return: the
 * thread makes every call of it from open to close, its user none.
 *
 *	submit -> asked -> (thread) -> encoder -> ready -> receive
 *
 * Frames and packets belong to one thread. So the encoder gets copies of the
 * frames' descriptions, and says when it is done with one; packets are read
 * by the user and given back the same way. Whoever has nothing to do sleeps
 * on a descriptor, which is written only when the other one may be asleep.
 *
 * A thread that does not come back is left behind with what is its, and
 * cleans up should it return. Until then that device is not opened again.
 */
#ifndef CAPTURE_SRC_ENCODER_GUARD_H
#define CAPTURE_SRC_ENCODER_GUARD_H

#include <pthread.h>

#include "src/encoder_backend.h"
#include "src/frame.h"
#include "src/limits.h"

struct guard;

enum guard_place {
	GUARD_FREE = 0,
	GUARD_ASKED,	/* waits for the thread */
	GUARD_ENTERING, /* the thread reads it just now */
	GUARD_INSIDE,
	GUARD_DONE /* the encoder does not need it any more */
};

struct guard_frame {
	struct frame_holder holder; /* the thread's */
	struct guard *guard;
	struct capture_frame *frame; /* the user's; NULL: given back */
	enum guard_place place;
};

struct guard_packet {
	struct packet_holder holder; /* the user's */
	struct guard *guard;
	struct capture_packet *packet; /* the thread's; NULL: free */
};

enum guard_op { GUARD_SUBMIT = 0, GUARD_FORCE_KEY, GUARD_BITRATE, GUARD_DRAIN };

struct guard_request {
	enum guard_op op;
	uint32_t value; /* which frame, or what bitrate */
	uint32_t ticket;
};

#define GUARD_FRAMES CAPTURE_ENCODER_INPUTS
#define GUARD_PACKETS CAPTURE_BUFFERS_MAX
#define GUARD_REQUESTS_MAX 16u

/* A row of numbers less than GUARD_PACKETS, first in, first out. */
struct guard_row {
	uint32_t first;
	uint32_t count;
	uint32_t index[GUARD_PACKETS];
};

/* As capture_encoder_open(), and what it opens. */
typedef int encoder_open_fn(const struct sys_ops *sys,
			    const struct capture_encoder_config *config,
			    uint32_t codec,
			    struct capture_encoder **ret_encoder);

struct guard {
	struct capture_encoder base; /* the user's */
	/* Set before the thread begins. */
	const struct sys_ops *sys;
	encoder_open_fn *open;
	struct capture_encoder_config config; /* points into these */
	struct capture_format format;
	char *path;
	uint32_t codec;
	uint64_t stuck_ns;
	uint64_t patience_ns; /* CAPTURE_GUARD_CLOSE_NS, but for tests */
	pthread_t owner;

	/* The thread's alone. */
	struct capture_encoder *encoder;
	int encoder_fd;

	/* Its user's alone. */
	bool draining;
	bool failed; /* it was told why */
	uint64_t frames_in;

	pthread_mutex_t lock; /* of all that follows */
	pthread_cond_t changed;
	int user_fd;  /* readable: receive has something to do */
	int epoll_fd; /* of it, as an eventfd is always writable */
	int work_fd;  /* readable: the thread has something to do */
	bool user_told;
	bool opened;
	int open_error;
	struct capture_arena *arena;
	const uint8_t *codec_private;
	size_t codec_private_bytes;

	struct guard_request requests[GUARD_REQUESTS_MAX];
	uint32_t request_first;
	uint32_t request_count;
	uint32_t ticket; /* the last that was given */
	uint32_t answered;
	int answer; /* to that */

	struct guard_frame frames[GUARD_FRAMES];
	struct guard_packet packets[GUARD_PACKETS];
	struct guard_row ready;	   /* for the user */
	struct guard_row returned; /* for the thread */
	uint32_t out;		   /* the user's */
	struct capture_encoder_stats stats;
	bool starved;	   /* all packets are out */
	int end;	   /* what receive() is to say from now on */
	uint64_t asked_ns; /* when the thread was asked; 0: it listens */
	uint64_t busy_ns;  /* since when it calls the encoder; 0: it waits */
	uint64_t due_ns;   /* the encoder's own deadline */

	bool stop;
	bool finished; /* the thread is not to be heard of again */
	bool closed;
	/* After close, if it was not finished by then: on the list. */
	bool left;
	struct guard *next;
};

/**
 * encoder_guard_open() - an encoder on a thread of its own
 * @config: copied; its stuck_ns is not 0
 * @codec: for @open
 * @open: called on the thread
 *
 * Return: as @open; -ETIMEDOUT: it did not return in stuck_ns; -EBUSY: the
 * same device has not returned from an earlier call; or the errno of what
 * threads need.
 */
int encoder_guard_open(const struct sys_ops *sys,
		       const struct capture_encoder_config *config,
		       uint32_t codec, encoder_open_fn *open,
		       struct capture_encoder **ret_encoder) MUST_CHECK;

/* --- what the two files share ------------------------------------------- */

/* The thread; it frees the guard if nobody else is left to do it. */
void *guard_thread(void *arg);

void guard_free(struct guard *g);

/*
 * The thread's last call; @g may be gone after it. Return: false: packets came
 * back and are the thread's to release first.
 */
bool guard_finish(struct guard *g) MUST_CHECK;

/* @g->lock is held: its user, or its thread, has something to do. */
void guard_tell_user(struct guard *g);
void guard_wake_thread(struct guard *g);

static inline void guard_row_put(struct guard_row *row, uint32_t index)
{
	row->index[(row->first + row->count++) % GUARD_PACKETS] = index;
}

static inline uint32_t guard_row_take(struct guard_row *row)
{
	uint32_t index = row->index[row->first];

	row->first = (row->first + 1) % GUARD_PACKETS;
	row->count--;
	return index;
}

#endif
