/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A software encoder on a thread of its own, so that nobody waits for it but
 * its own frames.
 *
 *	put --> waiting --> being encoded --> done --> taken
 *
 * Frames and packets belong to libraries that know one thread. So a frame's
 * references are the caller's alone: the thread reads its memory and gives it
 * back untouched. Packets are the thread's: the caller reads them and gives
 * them back. No lock is held across a call of the encoder.
 */
#ifndef AGENT_ENCODE_THREAD_H
#define AGENT_ENCODE_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/encoder.h>
#include <capture/frame.h>

#include "base/macros.h"
#include "base/sys.h"

struct encode_thread;

struct encode_thread_stats {
	struct capture_encoder_stats encoder; /* as of the newest frame */
	uint64_t busy_ns;	/* in the encoder, all told */
	uint64_t busy_ns_max;	/* with one frame */
	uint32_t frames_max;	/* most that were inside at once */
};

/**
 * encode_thread_new() - begin to wait for frames
 * @encoder: a software encoder; the thread's until encode_thread_free(),
 *	borrowed. It must keep no reference of a frame after submit
 * @depth: frames put and not yet taken; 1..ENCODE_FRAMES_MAX
 *
 * Return: 0, -ENOMEM, -EMFILE, -EAGAIN (no thread is to be had).
 */
int encode_thread_new(const struct sys_ops *sys,
		      struct capture_encoder *encoder, uint32_t depth,
		      struct encode_thread **ret_thread) MUST_CHECK;

/*
 * Waits for the frame that is being encoded, not for those that wait. Gives
 * up what was not taken: frames and packets. Accepts NULL, returns NULL.
 */
struct encode_thread *encode_thread_free(struct encode_thread *t);
DEFINE_AUTO(encode_thread_free, struct encode_thread *)

/* Poll for POLLIN, then encode_thread_clear() and take all there is. */
int encode_thread_fd(const struct encode_thread *t);
void encode_thread_clear(struct encode_thread *t);

bool encode_thread_full(struct encode_thread *t);

/*
 * @frame: one reference, which comes back by encode_thread_take_frame().
 * @key: make it a key frame, if the encoder can.
 * Return: 0, -EAGAIN (full), -EPIPE (draining).
 */
int encode_thread_put(struct encode_thread *t, struct capture_frame *frame,
		      bool key) MUST_CHECK;

/*
 * The next frame that is done, in order, before its packets.
 * @ret_result: 0, -ECANCELED (stopped before its turn), or the errors of
 * capture_encoder_submit().
 */
bool encode_thread_take_frame(struct encode_thread *t,
			      struct capture_frame **ret_frame,
			      int *ret_result) MUST_CHECK;
/* Read it, then give it back. */
bool encode_thread_take_packet(struct encode_thread *t,
			       struct capture_packet **ret_packet) MUST_CHECK;
void encode_thread_return_packet(struct encode_thread *t,
				 struct capture_packet *packet);

/*
 * Return: 0, -EPIPE (drained), or the error after which it encodes no more.
 * Take what there is first: frames and packets of before come out.
 */
int encode_thread_state(struct encode_thread *t);

/* No frame will be put; those inside are encoded, and what it keeps back. */
void encode_thread_drain(struct encode_thread *t);
/* Ends it now: frames that wait come back with -ECANCELED. */
void encode_thread_stop(struct encode_thread *t);

void encode_thread_stats(struct encode_thread *t,
			 struct encode_thread_stats *ret);

#endif
