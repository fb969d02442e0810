/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames in memory of the library's own, for sources whose data it reads or
 * makes itself: one arena, a dma-buf for each plane where udmabuf exists.
 *
 *	FREE --frame_pool_take()--> OUT --last unref--> FREE
 *
 * The pool belongs to its source and outlives it while frames are out.
 */
#ifndef CAPTURE_SRC_FRAME_POOL_H
#define CAPTURE_SRC_FRAME_POOL_H

#include <capture/source.h>

#include "base/macros.h"

struct frame_pool;

/**
 * frame_pool_new() - reserve all memory
 * @format: of the frames; its size[] is the memory of each plane
 * @config: buffer_count, rung and track_id are taken from it
 *
 * Return: 0, -EOPNOTSUPP (the rung asked for cannot be had: only S1, with a
 * dma-buf, and S5, with none, can), -ENOMEM, -EMFILE or another errno of the
 * arena.
 */
int frame_pool_new(const struct sys_ops *sys,
		   const struct capture_format *format,
		   const struct capture_source_config *config,
		   struct frame_pool **ret_pool) MUST_CHECK;

/* Its source is gone: it goes with the last frame. NULL is fine. */
void frame_pool_close(struct frame_pool *pool);

/* Buffers that are with the pool. */
uint32_t frame_pool_free_count(const struct frame_pool *pool);

/*
 * A frame with one reference, or NULL when all are out. What belongs to the
 * format is filled in and bytesused is all of each plane; stamps, sequence,
 * flags and device clock are zero.
 */
struct capture_frame *frame_pool_take(struct frame_pool *pool);

/*
 * Where to write a plane of a frame that was just taken, between
 * frame_begin_write() and frame_end_write() (src/frame.h).
 */
uint8_t *frame_pool_data(const struct capture_frame *frame, uint32_t plane);

struct capture_arena *frame_pool_arena(const struct frame_pool *pool);

/* rung, buffer_count, memory_bytes. */
void frame_pool_stats(const struct frame_pool *pool,
		      struct capture_source_stats *stats);

#endif
