/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libavcodec, loaded when an encoder of it is first opened: with what it needs
 * it has 3 MiB of tables for the loader to write to, which a program that only
 * could use it need not have.
 */
#ifndef CAPTURE_SRC_AVCODEC_H
#define CAPTURE_SRC_AVCODEC_H

#include <errno.h>

#include <libavcodec/avcodec.h>
#include <libavutil/buffer.h>
#include <libavutil/channel_layout.h>
#include <libavutil/error.h>
#include <libavutil/frame.h>
#include <libavutil/log.h>
#include <libavutil/opt.h>

#define LIBAV_FUNCTIONS(X)          \
	X(av_buffer_allocz)         \
	X(av_channel_layout_copy)   \
	X(av_channel_layout_default)\
	X(av_frame_alloc)           \
	X(av_frame_free)            \
	X(av_frame_get_buffer)      \
	X(av_frame_make_writable)   \
	X(av_opt_set)               \
	X(av_opt_set_int)           \
	X(av_packet_alloc)          \
	X(av_packet_free)           \
	X(av_packet_unref)          \
	X(avcodec_alloc_context3)   \
	X(avcodec_find_encoder)     \
	X(avcodec_free_context)     \
	X(avcodec_open2)            \
	X(avcodec_receive_packet)   \
	X(avcodec_send_frame)

/* Its functions, by their own names. */
struct libav {
#define LIBAV_MEMBER(f) __typeof__(f) *f;
	LIBAV_FUNCTIONS(LIBAV_MEMBER)
#undef LIBAV_MEMBER
};

/*
 * Any thread. NULL: it is not installed, or not of the version that this was
 * built with.
 */
const struct libav *libav(void);

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
