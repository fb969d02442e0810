/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Camera to M2M encoder by the fewest V4L2 calls there can be: the camera's
 * MMAP buffers, exported once and imported by the encoder, each by its index.
 * No checks, no statistics, no recovery: the floor that others are held to.
 */
#ifndef BENCH_V4L2_LOOP_H
#define BENCH_V4L2_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#define V4L2_LOOP_BUFFERS 4

struct v4l2_loop {
	int camera_fd;
	int encoder_fd;
	int dmabuf_fds[V4L2_LOOP_BUFFERS];
	uint32_t frame_bytes;
	unsigned int inside; /* frames in the encoder */
	uint64_t ioctls;
	uint64_t waits;
};

/* Always followed by v4l2_loop_close(). Return: 0 or an errno. */
int v4l2_loop_open(struct v4l2_loop *l, const char *camera, const char *encoder,
		   uint32_t width, uint32_t height);
/* Waits, moves what is ready. Return: packets that came out, or an errno. */
int v4l2_loop_turn(struct v4l2_loop *l, int timeout_ms);
void v4l2_loop_close(struct v4l2_loop *l);

#endif
