/* SPDX-License-Identifier: Apache-2.0 */
/* What the encoders that use libavcodec share. */
#ifndef CAPTURE_SRC_AVCODEC_H
#define CAPTURE_SRC_AVCODEC_H

#include <errno.h>

#include <libavutil/error.h>

/*
 * libavcodec's error as ours: it says errno negated as we do, or a tag of its
 * own, which tells no more than that it failed. Its -EAGAIN is about its own
 * queue, never about our slots.
 */
static inline int avcodec_errno(int error)
{
	return error > -4096 && error != -EAGAIN ? error : -EIO;
}

#endif
