/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of the module share: _param what it is and what goes wrong,
 * _ioctl formats and commands, _job the work, _bits the stream, _jpeg,
 * _hevc and _vp8 others, _drv the rest.
 */
#ifndef VH264ENC_H
#define VH264ENC_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>

#include "vh264enc_vp8.h"

#define NAME "vh264enc"
#define RATE_DEFAULT 30

/* Module parameters, each told in vh264enc_param.c. */
struct enc_traits {
	bool multiplanar;
	bool own_planes;
	char *memory;
	bool encoder_cmd;
	bool jpeg;
	bool hevc;
	bool vp8;
	unsigned int size_align;
	unsigned int stride_align;
	bool separate_only;
	bool repeat_controls;
	unsigned int coded_bytes;
	unsigned int delay_ms;
};

/* ... of the same name after "fault_"; may change at any time. */
struct enc_fault {
	unsigned int hang;
	unsigned int error;
	unsigned int empty;
	unsigned int runt;
	unsigned int drop;
	unsigned int key_flag;
	unsigned int reorder;
	unsigned int source_change;
	bool no_last;
	unsigned int stuck; /* bits of enum enc_call */
};

/* What a driver may not return from: see fault_stuck. */
enum enc_call {
	ENC_OPEN = 1,
	ENC_FORMAT = 2,
	ENC_BUFFERS = 4,
	ENC_QUEUE = 8,
	ENC_DEQUEUE = 16,
	ENC_STREAMON = 32,
	ENC_STREAMOFF = 64,
	ENC_COMMAND = 128,
	ENC_CONTROL = 256,
	ENC_CLOSE = 512,
};

extern struct enc_traits enc_traits;
extern struct enc_fault enc_fault;

struct enc_dev {
	struct v4l2_device v4l2_dev;
	struct video_device vdev;
	struct v4l2_m2m_dev *m2m;
	struct mutex lock; /* ioctls of all contexts */
};

struct enc_format {
	u32 fourcc;
	u32 planes;	  /* memory planes */
	bool interleaved; /* Cb and Cr */
};

struct enc_ctx {
	struct v4l2_fh fh;
	struct enc_dev *dev;
	struct v4l2_ctrl_handler ctrls;
	struct delayed_work work;
	spinlock_t lock; /* a drain against the end of a job */

	/* Formats; may not change while buffers exist. */
	const struct enc_format *format;
	u32 width; /* as in memory */
	u32 height;
	struct v4l2_rect crop; /* what is encoded */
	u32 stride[3];
	u32 size[3];
	u32 coded_bytes;
	u32 colorspace, xfer_func, ycbcr_enc, quantization;
	struct v4l2_fract period;

	struct v4l2_ctrl *bitrate, *bitrate_mode, *rc, *gop, *i_period;
	struct v4l2_ctrl *header_mode, *repeat, *prepend;
	struct v4l2_ctrl *profile, *level, *qp_min, *qp_max, *qp_i, *qp_p;
	struct v4l2_ctrl *quality; /* of JPEG alone */
	atomic_t force_key;

	/* Of this stream; the worker's. */
	u32 frames;
	u32 out_sequence, cap_sequence;
	u32 since_idr, since_i, frame_num, idr_count, window;
	struct vvp8_state vp8; /* what a decoder has, of VP8 alone */
	bool headers_due;
	bool headers_sent;
	bool aborting;
	struct vb2_v4l2_buffer *held; /* for fault_reorder=2 */
};

static inline struct enc_ctx *enc_ctx_of(struct file *file)
{
	return container_of(file->private_data, struct enc_ctx, fh);
}

static inline u32 enc_coded_fourcc(void)
{
	return enc_traits.jpeg	 ? V4L2_PIX_FMT_JPEG
	       : enc_traits.hevc ? V4L2_PIX_FMT_HEVC
	       : enc_traits.vp8	 ? V4L2_PIX_FMT_VP8
				 : V4L2_PIX_FMT_H264;
}

static inline bool enc_is_raw(u32 type)
{
	return type == V4L2_BUF_TYPE_VIDEO_OUTPUT ||
	       type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
}

/* vh264enc_param.c: sleeps, not even to be killed, while the fault is on. */
void enc_stuck(enum enc_call call);

/* vh264enc_ioctl.c */
extern const struct v4l2_ioctl_ops enc_ioctl_ops;
void enc_set_default(struct enc_ctx *ctx);

/* vh264enc_job.c */
extern const struct v4l2_m2m_ops enc_m2m_ops;
void enc_job_init(struct enc_ctx *ctx);
/* A packet that waits for another to overtake it leaves; ctx->lock is held. */
void enc_done_held(struct enc_ctx *ctx, enum vb2_buffer_state state);
void enc_tell_end(struct enc_ctx *ctx);

#endif
