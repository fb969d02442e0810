/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a frame: the public part, its count and who gets it back.
 * Every source of frames (V4L2 now; others later) embeds this and so shares
 * one ownership rule.
 */
#ifndef CAPTURE_SRC_FRAME_H
#define CAPTURE_SRC_FRAME_H

#include <capture/frame.h>

#include "base/macros.h"

struct frame_holder {
	struct capture_frame frame;
	unsigned int refs;	/* 0: with its source */
	/* Gives the buffer back; called once, at the last unref. */
	void (*release)(struct frame_holder *holder);
};

/*
 * Around writes by the CPU of memory that devices may import: its dma-bufs
 * are told where caches must know. No system call elsewhere.
 */
void frame_begin_write(const struct sys_ops *sys,
		       const struct capture_frame *frame);
void frame_end_write(const struct sys_ops *sys,
		     const struct capture_frame *frame);

DEFINE_AUTO(capture_frame_unref, struct capture_frame *)

#endif
