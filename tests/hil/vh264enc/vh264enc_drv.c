// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual stateful H.264 encoder (V4L2 memory-to-memory), for guests alone:
 * its pictures can be decoded and compared bit by bit with what went in, and
 * it fails on demand. See tests/hil/DESIGN.md.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-ioctl.h>
#include <media/v4l2-mem2mem.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-vmalloc.h>

#include "vh264enc_bits.h"

#define NAME "vh264enc"
#define SIDE_MIN 16u
#define SIDE_MAX 4096u
#define GOP_MAX 600
#define STUB_BYTES 3 /* less than a start code */
#define RATE_DEFAULT 30

/* What the device is; read when a node is made or opened. */
static bool multiplanar;
module_param(multiplanar, bool, 0444);
MODULE_PARM_DESC(multiplanar, "the multi-planar API, and NM12 and YM12 too");
static bool own_planes;
module_param(own_planes, bool, 0444);
MODULE_PARM_DESC(own_planes, "... and no other; with multiplanar");
static char *memory = "vmalloc";
module_param(memory, charp, 0444);
MODULE_PARM_DESC(memory, "vmalloc or dma-contig");
static bool encoder_cmd = true;
module_param(encoder_cmd, bool, 0444);
MODULE_PARM_DESC(encoder_cmd, "has ENCODER_CMD");
static unsigned int size_align = 2;
module_param(size_align, uint, 0644);
MODULE_PARM_DESC(size_align,
		 "raw sizes are rounded up to this; crop tells the rest");
static unsigned int stride_align = 1;
module_param(stride_align, uint, 0644);
MODULE_PARM_DESC(stride_align, "lines begin at a multiple of this");
static bool separate_only;
module_param(separate_only, bool, 0644);
MODULE_PARM_DESC(separate_only, "headers come as a first buffer, never else");
static bool repeat_controls = true;
module_param(repeat_controls, bool, 0644);
MODULE_PARM_DESC(repeat_controls, "has the controls that repeat headers");
static unsigned int coded_bytes;
module_param(coded_bytes, uint, 0644);
MODULE_PARM_DESC(coded_bytes,
		 "sizeimage of the coded side, whatever is needed");
static unsigned int delay_ms;
module_param(delay_ms, uint, 0644);
MODULE_PARM_DESC(delay_ms, "how long a frame takes");

/*
 * What goes wrong; may change at any time. Counts are of frames since
 * STREAMON, 1 is the first; "every": each frame whose number it divides.
 */
static unsigned int fault_hang;
module_param(fault_hang, uint, 0644);
MODULE_PARM_DESC(fault_hang, "from this frame on nothing is ever done");
static unsigned int fault_error;
module_param(fault_error, uint, 0644);
MODULE_PARM_DESC(fault_error, "every n-th packet has the error flag");
static unsigned int fault_empty;
module_param(fault_empty, uint, 0644);
MODULE_PARM_DESC(fault_empty, "every n-th packet has no bytes");
static unsigned int fault_stub;
module_param(fault_stub, uint, 0644);
MODULE_PARM_DESC(fault_stub, "every n-th packet is less than a start code");
static unsigned int fault_drop;
module_param(fault_drop, uint, 0644);
MODULE_PARM_DESC(fault_drop, "every n-th frame makes no packet");
static unsigned int fault_key_flag;
module_param(fault_key_flag, uint, 0644);
MODULE_PARM_DESC(fault_key_flag,
		 "1: the key frame flag is never set, 2: always");
static unsigned int fault_reorder;
module_param(fault_reorder, uint, 0644);
MODULE_PARM_DESC(fault_reorder, "1: buffers are filled last in, first out; 2: "
				"each two packets change places");
static unsigned int fault_source_change;
module_param(fault_source_change, uint, 0644);
MODULE_PARM_DESC(fault_source_change, "a source change event at this frame");
static bool fault_no_last;
module_param(fault_no_last, bool, 0644);
MODULE_PARM_DESC(fault_no_last, "a drain never ends");

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

static const struct enc_format raw_formats[] = {
	{V4L2_PIX_FMT_NV12, 1, true},
	{V4L2_PIX_FMT_YUV420, 1, false},
	{V4L2_PIX_FMT_NV12M, 2, true},
	{V4L2_PIX_FMT_YUV420M, 3, false},
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
	atomic_t force_key;

	/* Of this stream; the worker's. */
	u32 frames;
	u32 out_sequence, cap_sequence;
	u32 since_idr, since_i, frame_num, idr_count, window;
	bool headers_due;
	bool headers_sent;
	bool aborting;
	struct vb2_v4l2_buffer *held; /* for fault_reorder=2 */
};

static const struct v4l2_event eos_event = {.type = V4L2_EVENT_EOS};
static const struct v4l2_event source_change_event = {
	.type = V4L2_EVENT_SOURCE_CHANGE,
	.u.src_change.changes = V4L2_EVENT_SRC_CH_RESOLUTION,
};

static struct enc_ctx *ctx_of(struct file *file)
{
	return container_of(file->private_data, struct enc_ctx, fh);
}

static bool every(unsigned int fault, u32 number)
{
	fault = READ_ONCE(fault);
	return fault && number % fault == 0;
}

/* --- formats ------------------------------------------------------------ */

/* The table begins with the formats of one memory plane. */
static unsigned int first_format(void)
{
	return multiplanar && own_planes ? 2 : 0;
}

static unsigned int last_format(void)
{
	return multiplanar ? ARRAY_SIZE(raw_formats) : 2;
}

static const struct enc_format *find_format(u32 fourcc)
{
	int i;

	for (i = first_format(); i < last_format(); i++) {
		if (raw_formats[i].fourcc == fourcc)
			return &raw_formats[i];
	}
	return &raw_formats[first_format()];
}

static u32 align_size(u32 pixels)
{
	u32 to = clamp(roundup_pow_of_two(max(size_align, 2u)), 2ul, 64ul);

	return clamp(ALIGN(pixels, to), ALIGN(SIDE_MIN, to), SIDE_MAX);
}

static u32 raw_layout(const struct enc_format *f, u32 width, u32 height,
		      u32 stride[3], u32 size[3])
{
	u32 to = clamp(roundup_pow_of_two(max(stride_align, 1u)), 1ul, 256ul);
	u32 luma = ALIGN(width, 2 * to);

	memset(stride, 0, 3 * sizeof(*stride));
	memset(size, 0, 3 * sizeof(*size));
	stride[0] = luma;
	size[0] = luma * height;
	if (f->planes == 1) {
		size[0] += luma * height / 2;
	} else {
		stride[1] = f->interleaved ? luma : luma / 2;
		size[1] = stride[1] * height / 2;
		stride[2] = f->planes == 3 ? stride[1] : 0;
		size[2] = stride[2] * height / 2;
	}
	return size[0];
}

static u32 coded_size(u32 width, u32 height, u32 wanted)
{
	size_t most = vh264_frame_bytes_max(width, height);

	if (coded_bytes)
		return clamp(coded_bytes, 64u, 64u << 20);
	return clamp_t(size_t, wanted, most, 2 * most);
}

static void tell_colors(const struct enc_ctx *ctx, struct v4l2_format *f)
{
	if (multiplanar) {
		f->fmt.pix_mp.field = V4L2_FIELD_NONE;
		f->fmt.pix_mp.colorspace = ctx->colorspace;
		f->fmt.pix_mp.xfer_func = ctx->xfer_func;
		f->fmt.pix_mp.ycbcr_enc = ctx->ycbcr_enc;
		f->fmt.pix_mp.quantization = ctx->quantization;
		return;
	}
	f->fmt.pix.field = V4L2_FIELD_NONE;
	f->fmt.pix.colorspace = ctx->colorspace;
	f->fmt.pix.xfer_func = ctx->xfer_func;
	f->fmt.pix.ycbcr_enc = ctx->ycbcr_enc;
	f->fmt.pix.quantization = ctx->quantization;
}

static void tell(struct v4l2_format *f, u32 fourcc, u32 width, u32 height,
		 u32 planes, const u32 *stride, const u32 *size)
{
	u32 p;

	if (!multiplanar) {
		f->fmt.pix.pixelformat = fourcc;
		f->fmt.pix.width = width;
		f->fmt.pix.height = height;
		f->fmt.pix.bytesperline = stride[0];
		f->fmt.pix.sizeimage = size[0];
		return;
	}
	f->fmt.pix_mp.pixelformat = fourcc;
	f->fmt.pix_mp.width = width;
	f->fmt.pix_mp.height = height;
	f->fmt.pix_mp.num_planes = planes;
	f->fmt.pix_mp.flags = 0;
	memset(f->fmt.pix_mp.reserved, 0, sizeof(f->fmt.pix_mp.reserved));
	for (p = 0; p < planes; p++) {
		struct v4l2_plane_pix_format *plane =
			&f->fmt.pix_mp.plane_fmt[p];

		memset(plane, 0, sizeof(*plane));
		plane->bytesperline = stride[p];
		plane->sizeimage = size[p];
	}
}

static int enc_querycap(struct file *file, void *fh,
			struct v4l2_capability *cap)
{
	strscpy(cap->driver, NAME, sizeof(cap->driver));
	strscpy(cap->card, NAME, sizeof(cap->card));
	strscpy(cap->bus_info, "platform:" NAME, sizeof(cap->bus_info));
	return 0;
}

static int enc_enum_cap(struct file *file, void *fh, struct v4l2_fmtdesc *f)
{
	if (f->index)
		return -EINVAL;
	f->pixelformat = V4L2_PIX_FMT_H264;
	return 0;
}

static int enc_enum_out(struct file *file, void *fh, struct v4l2_fmtdesc *f)
{
	if (f->index >= last_format() - first_format())
		return -EINVAL;
	f->pixelformat = raw_formats[first_format() + f->index].fourcc;
	return 0;
}

static int enc_enum_sizes(struct file *file, void *fh,
			  struct v4l2_frmsizeenum *s)
{
	if (s->index ||
	    (s->pixel_format != V4L2_PIX_FMT_H264 &&
	     find_format(s->pixel_format)->fourcc != s->pixel_format))
		return -EINVAL;
	s->type = V4L2_FRMSIZE_TYPE_STEPWISE;
	s->stepwise.min_width = SIDE_MIN;
	s->stepwise.max_width = SIDE_MAX;
	s->stepwise.step_width = 2;
	s->stepwise.min_height = SIDE_MIN;
	s->stepwise.max_height = SIDE_MAX;
	s->stepwise.step_height = 2;
	return 0;
}

static int enc_g_cap(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = ctx_of(file);
	u32 stride = 0;

	tell(f, V4L2_PIX_FMT_H264, ctx->width, ctx->height, 1, &stride,
	     &ctx->coded_bytes);
	tell_colors(ctx, f);
	return 0;
}

static int enc_g_out(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = ctx_of(file);

	tell(f, ctx->format->fourcc, ctx->width, ctx->height,
	     ctx->format->planes, ctx->stride, ctx->size);
	tell_colors(ctx, f);
	return 0;
}

static u32 wanted_coded(const struct v4l2_format *f)
{
	return multiplanar ? f->fmt.pix_mp.plane_fmt[0].sizeimage
			   : f->fmt.pix.sizeimage;
}

/* The coded side takes its size from the raw side. */
static int enc_try_cap(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = ctx_of(file);
	u32 stride = 0;
	u32 size = coded_size(ctx->width, ctx->height, wanted_coded(f));

	tell(f, V4L2_PIX_FMT_H264, ctx->width, ctx->height, 1, &stride, &size);
	tell_colors(ctx, f);
	return 0;
}

static int enc_s_cap(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = ctx_of(file);

	if (vb2_is_busy(v4l2_m2m_get_vq(ctx->fh.m2m_ctx, f->type)))
		return -EBUSY;
	enc_try_cap(file, fh, f);
	ctx->coded_bytes = wanted_coded(f);
	return 0;
}

static int enc_try_out(struct file *file, void *fh, struct v4l2_format *f)
{
	u32 fourcc = multiplanar ? f->fmt.pix_mp.pixelformat
				 : f->fmt.pix.pixelformat;
	u32 width = multiplanar ? f->fmt.pix_mp.width : f->fmt.pix.width;
	u32 height = multiplanar ? f->fmt.pix_mp.height : f->fmt.pix.height;
	const struct enc_format *format = find_format(fourcc);
	u32 stride[3];
	u32 size[3];

	width = align_size(width);
	height = align_size(height);
	raw_layout(format, width, height, stride, size);
	tell(f, format->fourcc, width, height, format->planes, stride, size);
	if (multiplanar)
		f->fmt.pix_mp.field = V4L2_FIELD_NONE;
	else
		f->fmt.pix.field = V4L2_FIELD_NONE;
	return 0;
}

static void set_raw(struct enc_ctx *ctx, const struct enc_format *format,
		    u32 width, u32 height)
{
	ctx->format = format;
	ctx->width = width;
	ctx->height = height;
	raw_layout(format, width, height, ctx->stride, ctx->size);
	ctx->coded_bytes = coded_size(width, height, 0);
	ctx->crop = (struct v4l2_rect){.width = width, .height = height};
}

static int enc_s_out(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = ctx_of(file);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	if (vb2_is_busy(v4l2_m2m_get_vq(m2m, f->type)) ||
	    vb2_is_busy(&m2m->cap_q_ctx.q))
		return -EBUSY;
	enc_try_out(file, fh, f);
	if (multiplanar) {
		const struct v4l2_pix_format_mplane *pix = &f->fmt.pix_mp;

		set_raw(ctx, find_format(pix->pixelformat), pix->width,
			pix->height);
		ctx->colorspace = pix->colorspace;
		ctx->xfer_func = pix->xfer_func;
		ctx->ycbcr_enc = pix->ycbcr_enc;
		ctx->quantization = pix->quantization;
	} else {
		const struct v4l2_pix_format *pix = &f->fmt.pix;

		set_raw(ctx, find_format(pix->pixelformat), pix->width,
			pix->height);
		ctx->colorspace = pix->colorspace;
		ctx->xfer_func = pix->xfer_func;
		ctx->ycbcr_enc = pix->ycbcr_enc;
		ctx->quantization = pix->quantization;
	}
	return 0;
}

static bool is_raw_side(u32 type)
{
	return type == V4L2_BUF_TYPE_VIDEO_OUTPUT ||
	       type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
}

static int enc_g_selection(struct file *file, void *fh,
			   struct v4l2_selection *s)
{
	struct enc_ctx *ctx = ctx_of(file);

	if (!is_raw_side(s->type))
		return -EINVAL;
	switch (s->target) {
	case V4L2_SEL_TGT_CROP:
		s->r = ctx->crop;
		return 0;
	case V4L2_SEL_TGT_CROP_DEFAULT:
	case V4L2_SEL_TGT_CROP_BOUNDS:
		s->r = (struct v4l2_rect){.width = ctx->width,
					  .height = ctx->height};
		return 0;
	}
	return -EINVAL;
}

static int enc_s_selection(struct file *file, void *fh,
			   struct v4l2_selection *s)
{
	struct enc_ctx *ctx = ctx_of(file);

	if (!is_raw_side(s->type) || s->target != V4L2_SEL_TGT_CROP)
		return -EINVAL;
	if (vb2_is_busy(&ctx->fh.m2m_ctx->out_q_ctx.q))
		return -EBUSY;
	s->r.left = 0;
	s->r.top = 0;
	s->r.width = clamp(ALIGN(s->r.width, 2), SIDE_MIN, ctx->width);
	s->r.height = clamp(ALIGN(s->r.height, 2), SIDE_MIN, ctx->height);
	ctx->crop = s->r;
	return 0;
}

static int enc_g_parm(struct file *file, void *fh, struct v4l2_streamparm *a)
{
	struct enc_ctx *ctx = ctx_of(file);

	if (!is_raw_side(a->type))
		return -EINVAL;
	memset(&a->parm, 0, sizeof(a->parm));
	a->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	a->parm.output.timeperframe = ctx->period;
	return 0;
}

static int enc_s_parm(struct file *file, void *fh, struct v4l2_streamparm *a)
{
	struct enc_ctx *ctx = ctx_of(file);
	struct v4l2_fract period = a->parm.output.timeperframe;

	if (!is_raw_side(a->type))
		return -EINVAL;
	if (!period.numerator || !period.denominator)
		period = (struct v4l2_fract){1, RATE_DEFAULT};
	ctx->period = period;
	return enc_g_parm(file, fh, a);
}

/* --- commands and events ------------------------------------------------ */

static void done_held(struct enc_ctx *ctx, enum vb2_buffer_state state)
{
	struct vb2_v4l2_buffer *held = ctx->held;

	ctx->held = NULL;
	if (held)
		v4l2_m2m_buf_done(held, state);
}

static int enc_encoder_cmd(struct file *file, void *fh,
			   struct v4l2_encoder_cmd *cmd)
{
	struct enc_ctx *ctx = ctx_of(file);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	unsigned long flags;
	int r;

	r = v4l2_m2m_ioctl_try_encoder_cmd(file, fh, cmd);
	if (r)
		return r;
	if (!vb2_is_streaming(&m2m->cap_q_ctx.q) ||
	    !vb2_is_streaming(&m2m->out_q_ctx.q))
		return 0;
	if (cmd->cmd == V4L2_ENC_CMD_STOP && fault_no_last)
		return 0;
	spin_lock_irqsave(&ctx->lock, flags);
	done_held(ctx, VB2_BUF_STATE_DONE);
	r = v4l2_m2m_encoder_cmd(file, m2m, cmd);
	spin_unlock_irqrestore(&ctx->lock, flags);
	if (r < 0)
		return r;
	if (cmd->cmd == V4L2_ENC_CMD_STOP && v4l2_m2m_has_stopped(m2m))
		v4l2_event_queue_fh(&ctx->fh, &eos_event);
	if (cmd->cmd == V4L2_ENC_CMD_START) {
		vb2_clear_last_buffer_dequeued(&m2m->cap_q_ctx.q);
		v4l2_m2m_try_schedule(m2m);
	}
	return 0;
}

static int enc_subscribe(struct v4l2_fh *fh,
			 const struct v4l2_event_subscription *sub)
{
	switch (sub->type) {
	case V4L2_EVENT_EOS:
		return v4l2_event_subscribe(fh, sub, 2, NULL);
	case V4L2_EVENT_SOURCE_CHANGE:
		/* Encoders have none, so this is one more fault. */
		if (!fault_source_change)
			return -EINVAL;
		return v4l2_src_change_event_subscribe(fh, sub);
	case V4L2_EVENT_CTRL:
		return v4l2_ctrl_subscribe_event(fh, sub);
	}
	return -EINVAL;
}

static const struct v4l2_ioctl_ops enc_ioctl_ops = {
	.vidioc_querycap = enc_querycap,
	.vidioc_enum_fmt_vid_cap = enc_enum_cap,
	.vidioc_enum_fmt_vid_out = enc_enum_out,
	.vidioc_enum_framesizes = enc_enum_sizes,
	.vidioc_g_fmt_vid_cap = enc_g_cap,
	.vidioc_try_fmt_vid_cap = enc_try_cap,
	.vidioc_s_fmt_vid_cap = enc_s_cap,
	.vidioc_g_fmt_vid_cap_mplane = enc_g_cap,
	.vidioc_try_fmt_vid_cap_mplane = enc_try_cap,
	.vidioc_s_fmt_vid_cap_mplane = enc_s_cap,
	.vidioc_g_fmt_vid_out = enc_g_out,
	.vidioc_try_fmt_vid_out = enc_try_out,
	.vidioc_s_fmt_vid_out = enc_s_out,
	.vidioc_g_fmt_vid_out_mplane = enc_g_out,
	.vidioc_try_fmt_vid_out_mplane = enc_try_out,
	.vidioc_s_fmt_vid_out_mplane = enc_s_out,
	.vidioc_g_selection = enc_g_selection,
	.vidioc_s_selection = enc_s_selection,
	.vidioc_g_parm = enc_g_parm,
	.vidioc_s_parm = enc_s_parm,
	.vidioc_reqbufs = v4l2_m2m_ioctl_reqbufs,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_qbuf = v4l2_m2m_ioctl_qbuf,
	.vidioc_dqbuf = v4l2_m2m_ioctl_dqbuf,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = v4l2_m2m_ioctl_streamon,
	.vidioc_streamoff = v4l2_m2m_ioctl_streamoff,
	.vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd,
	.vidioc_encoder_cmd = enc_encoder_cmd,
	.vidioc_subscribe_event = enc_subscribe,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

/* --- the work ----------------------------------------------------------- */

static struct vb2_v4l2_buffer *pick_dst(struct enc_ctx *ctx)
{
	return fault_reorder == 1 ? v4l2_m2m_last_dst_buf(ctx->fh.m2m_ctx)
				  : v4l2_m2m_next_dst_buf(ctx->fh.m2m_ctx);
}

static void fill_params(const struct enc_ctx *ctx, struct vh264_params *p)
{
	static const u8 levels[] = {10, 11, 11, 12, 13, 20, 21, 22, 30, 31,
				    32, 40, 41, 42, 50, 51, 52, 60, 61, 62};
	static const u8 profiles[] = {66, 66, 77, 88, 100};

	memset(p, 0, sizeof(*p));
	p->width = ctx->crop.width;
	p->height = ctx->crop.height;
	p->profile_idc = profiles[ctx->profile->cur.val];
	p->constrained = ctx->profile->cur.val ==
			 V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE;
	p->level_idc = levels[ctx->level->cur.val];
	if (ctx->level->cur.val == V4L2_MPEG_VIDEO_H264_LEVEL_1B) {
		p->level_1b = p->profile_idc != 100;
		p->level_idc = p->level_1b ? 11 : 9;
	}
	p->full_range = ctx->quantization == V4L2_QUANTIZATION_FULL_RANGE;
}

static void fill_picture(const struct enc_ctx *ctx, struct vb2_buffer *vb,
			 struct vh264_picture *pic)
{
	u32 chroma = ctx->format->interleaved ? ctx->stride[0]
					      : ctx->stride[0] / 2;
	u32 p;

	for (p = 0; p < ctx->format->planes; p++)
		pic->plane[p] = (u8 *)vb2_plane_vaddr(vb, p) +
				vb->planes[p].data_offset;
	pic->stride[0] = ctx->stride[0];
	pic->stride[1] = chroma;
	pic->stride[2] = chroma;
	pic->chroma_step = ctx->format->interleaved ? 2 : 1;
	if (ctx->format->planes == 1)
		pic->plane[1] = pic->plane[0] + ctx->stride[0] * ctx->height;
	if (ctx->format->interleaved)
		pic->plane[2] = pic->plane[1] + 1;
	else if (ctx->format->planes == 1)
		pic->plane[2] = pic->plane[1] + chroma * ctx->height / 2;
}

static u32 bytes_per_frame(const struct enc_ctx *ctx)
{
	u64 bits = (u64)ctx->bitrate->cur.val * ctx->period.numerator;

	return (u32)min_t(u64, div_u64(bits, ctx->period.denominator) / 8,
			  U32_MAX);
}

/* What rate control there is: how much of the picture a P frame renews. */
static void choose_frame(struct enc_ctx *ctx, struct vh264_frame *f)
{
	u32 mbs = vh264_mbs(ctx->crop.width) * vh264_mbs(ctx->crop.height);
	u32 gop = ctx->gop->cur.val;
	u32 i_period = ctx->i_period->cur.val;
	bool forced = atomic_xchg(&ctx->force_key, 0);

	memset(f, 0, sizeof(*f));
	f->kind = VH264_P;
	if (i_period && ctx->since_i >= i_period)
		f->kind = VH264_I;
	if (!ctx->idr_count || forced || (gop && ctx->since_idr >= gop))
		f->kind = VH264_IDR;
	if (f->kind == VH264_IDR) {
		ctx->since_idr = 0;
		ctx->frame_num = 0;
		f->idr_id = ctx->idr_count++;
	}
	if (f->kind != VH264_P) {
		ctx->since_i = 0;
		ctx->window = 0;
	}
	f->frame_num = ctx->frame_num;
	f->qp = f->kind == VH264_P ? ctx->qp_p->cur.val : ctx->qp_i->cur.val;
	f->qp = clamp_t(int, f->qp, ctx->qp_min->cur.val,
			max(ctx->qp_min->cur.val, ctx->qp_max->cur.val));
	if (f->kind == VH264_P && ctx->rc->cur.val) {
		f->window_first = ctx->window % mbs;
		f->window_count = min(bytes_per_frame(ctx) / 384, mbs);
		ctx->window = (ctx->window + f->window_count) % mbs;
	}
}

static bool wants_headers(struct enc_ctx *ctx, enum vh264_kind kind)
{
	bool repeat = (ctx->repeat && ctx->repeat->cur.val) ||
		      (ctx->prepend && ctx->prepend->cur.val);

	if (kind != VH264_IDR)
		return false;
	if (!ctx->headers_sent) {
		ctx->headers_sent = true;
		return true;
	}
	/* The first frame after separate headers does without. */
	return repeat && ctx->idr_count > 1;
}

/* The bytes of one frame; 0: they did not fit. */
static size_t encode(struct enc_ctx *ctx, struct vb2_v4l2_buffer *src,
		     struct vb2_v4l2_buffer *dst)
{
	struct vh264_picture pic;
	struct vh264_params params;
	struct vh264_frame frame;
	struct vh264_out out;

	vh264_out_init(&out, vb2_plane_vaddr(&dst->vb2_buf, 0),
		       vb2_plane_size(&dst->vb2_buf, 0));
	fill_params(ctx, &params);
	fill_picture(ctx, &src->vb2_buf, &pic);
	choose_frame(ctx, &frame);
	if (wants_headers(ctx, frame.kind))
		vh264_put_headers(&out, &params);
	vh264_put_frame(&out, &params, &pic, &frame);
	if (ctx->rc->cur.val && frame.kind == VH264_P &&
	    ctx->bitrate_mode->cur.val == V4L2_MPEG_VIDEO_BITRATE_MODE_CBR) {
		size_t want = min_t(size_t, bytes_per_frame(ctx), out.max);

		if (want > out.len)
			vh264_put_filler(&out, want - out.len);
	}
	ctx->since_idr++;
	ctx->since_i++;
	ctx->frame_num = (ctx->frame_num + 1) & 0xff;
	dst->flags &= ~(V4L2_BUF_FLAG_KEYFRAME | V4L2_BUF_FLAG_PFRAME |
			V4L2_BUF_FLAG_BFRAME | V4L2_BUF_FLAG_LAST);
	if (fault_key_flag == 2 ||
	    (frame.kind == VH264_IDR && fault_key_flag != 1))
		dst->flags |= V4L2_BUF_FLAG_KEYFRAME;
	else if (frame.kind == VH264_P)
		dst->flags |= V4L2_BUF_FLAG_PFRAME;
	return out.overflow ? 0 : out.len;
}

/* A packet leaves, or waits for the next to overtake it. */
static void finish_dst(struct enc_ctx *ctx, struct vb2_v4l2_buffer *dst,
		       enum vb2_buffer_state state, bool last)
{
	bool empty_end = last && ctx->held;

	v4l2_m2m_dst_buf_remove_by_buf(ctx->fh.m2m_ctx, dst);
	if (fault_reorder == 2 && !ctx->held && !last &&
	    state == VB2_BUF_STATE_DONE) {
		ctx->held = dst;
		return;
	}
	if (empty_end)
		done_held(ctx, VB2_BUF_STATE_DONE);
	v4l2_m2m_buf_done(dst, state);
	done_held(ctx, VB2_BUF_STATE_DONE);
}

static void put_headers(struct enc_ctx *ctx, struct vb2_v4l2_buffer *dst)
{
	struct vh264_params params;
	struct vh264_out out;

	vh264_out_init(&out, vb2_plane_vaddr(&dst->vb2_buf, 0),
		       vb2_plane_size(&dst->vb2_buf, 0));
	fill_params(ctx, &params);
	vh264_put_headers(&out, &params);
	vb2_set_plane_payload(&dst->vb2_buf, 0, out.len);
	dst->vb2_buf.timestamp = 0;
	dst->flags &= ~(V4L2_BUF_FLAG_KEYFRAME | V4L2_BUF_FLAG_PFRAME |
			V4L2_BUF_FLAG_BFRAME | V4L2_BUF_FLAG_LAST);
	dst->sequence = ctx->cap_sequence++;
	dst->field = V4L2_FIELD_NONE;
	v4l2_m2m_dst_buf_remove_by_buf(ctx->fh.m2m_ctx, dst);
	v4l2_m2m_buf_done(dst, out.overflow ? VB2_BUF_STATE_ERROR
					    : VB2_BUF_STATE_DONE);
	ctx->headers_due = false;
	ctx->headers_sent = true;
}

static enum vb2_buffer_state spoil(struct enc_ctx *ctx, size_t *len)
{
	if (!*len)
		return VB2_BUF_STATE_ERROR;
	if (every(fault_empty, ctx->frames))
		*len = 0;
	if (every(fault_stub, ctx->frames))
		*len = STUB_BYTES;
	return every(fault_error, ctx->frames) ? VB2_BUF_STATE_ERROR
					       : VB2_BUF_STATE_DONE;
}

static void one_frame(struct enc_ctx *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src = v4l2_m2m_next_src_buf(m2m);
	struct vb2_v4l2_buffer *dst = pick_dst(ctx);
	enum vb2_buffer_state state = VB2_BUF_STATE_DONE;
	bool drop = every(fault_drop, ctx->frames);
	unsigned long flags;
	size_t len = 0;
	bool last;

	if (!drop) {
		len = encode(ctx, src, dst);
		state = spoil(ctx, &len);
	}
	spin_lock_irqsave(&ctx->lock, flags);
	last = v4l2_m2m_is_last_draining_src_buf(m2m, src);
	src->sequence = ctx->out_sequence++;
	v4l2_m2m_src_buf_remove(m2m);
	if (!drop || last) {
		v4l2_m2m_buf_copy_metadata(src, dst, false);
		vb2_set_plane_payload(&dst->vb2_buf, 0, len);
		dst->sequence = ctx->cap_sequence++;
		if (last) {
			dst->flags |= V4L2_BUF_FLAG_LAST;
			v4l2_m2m_mark_stopped(m2m);
		}
		finish_dst(ctx, dst, state, last);
	}
	spin_unlock_irqrestore(&ctx->lock, flags);
	v4l2_m2m_buf_done(src, VB2_BUF_STATE_DONE);
	if (last)
		v4l2_event_queue_fh(&ctx->fh, &eos_event);
}

static void enc_work(struct work_struct *work)
{
	struct enc_ctx *ctx =
		container_of(to_delayed_work(work), struct enc_ctx, work);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	if (!READ_ONCE(ctx->aborting)) {
		if (ctx->headers_due) {
			put_headers(ctx, pick_dst(ctx));
		} else {
			ctx->frames++;
			if (fault_source_change &&
			    ctx->frames == fault_source_change)
				v4l2_event_queue_fh(&ctx->fh,
						    &source_change_event);
			if (fault_hang && ctx->frames >= fault_hang)
				return; /* only an abort ends this job */
			one_frame(ctx);
		}
	}
	v4l2_m2m_job_finish(ctx->dev->m2m, m2m);
}

static void enc_run(void *priv)
{
	struct enc_ctx *ctx = priv;

	schedule_delayed_work(&ctx->work, msecs_to_jiffies(delay_ms));
}

static void enc_abort(void *priv)
{
	struct enc_ctx *ctx = priv;

	WRITE_ONCE(ctx->aborting, true);
	mod_delayed_work(system_wq, &ctx->work, 0);
}

static const struct v4l2_m2m_ops enc_m2m_ops = {
	.device_run = enc_run,
	.job_abort = enc_abort,
};

/* --- queues ------------------------------------------------------------- */

static int enc_queue_setup(struct vb2_queue *q, unsigned int *buffers,
			   unsigned int *planes, unsigned int sizes[],
			   struct device *alloc_devs[])
{
	struct enc_ctx *ctx = vb2_get_drv_priv(q);
	bool raw = is_raw_side(q->type);
	u32 count = raw ? ctx->format->planes : 1;
	const u32 *need = raw ? ctx->size : &ctx->coded_bytes;
	u32 p;

	if (*planes) {
		if (*planes != count)
			return -EINVAL;
		for (p = 0; p < count; p++) {
			if (sizes[p] < need[p])
				return -EINVAL;
		}
		return 0;
	}
	*planes = count;
	for (p = 0; p < count; p++)
		sizes[p] = need[p];
	return 0;
}

static int enc_out_validate(struct vb2_buffer *vb)
{
	struct vb2_v4l2_buffer *b = to_vb2_v4l2_buffer(vb);

	if (b->field == V4L2_FIELD_ANY)
		b->field = V4L2_FIELD_NONE;
	return b->field == V4L2_FIELD_NONE ? 0 : -EINVAL;
}

static int enc_prepare(struct vb2_buffer *vb)
{
	struct enc_ctx *ctx = vb2_get_drv_priv(vb->vb2_queue);
	bool raw = is_raw_side(vb->vb2_queue->type);
	const u32 *need = raw ? ctx->size : &ctx->coded_bytes;
	u32 p;

	for (p = 0; p < vb->num_planes; p++) {
		if (vb2_plane_size(vb, p) < need[p] || !vb2_plane_vaddr(vb, p))
			return -EINVAL;
		if (!raw)
			vb2_set_plane_payload(vb, p, 0);
		else if (vb2_get_plane_payload(vb, p) <
			 need[p] + vb->planes[p].data_offset)
			return -EINVAL;
	}
	return 0;
}

static void enc_queue(struct vb2_buffer *vb)
{
	struct enc_ctx *ctx = vb2_get_drv_priv(vb->vb2_queue);
	struct vb2_v4l2_buffer *b = to_vb2_v4l2_buffer(vb);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	if (!is_raw_side(vb->vb2_queue->type) &&
	    vb2_is_streaming(vb->vb2_queue) && v4l2_m2m_dst_buf_is_last(m2m)) {
		b->field = V4L2_FIELD_NONE;
		b->sequence = ctx->cap_sequence++;
		v4l2_m2m_last_buffer_done(m2m, b);
		v4l2_event_queue_fh(&ctx->fh, &eos_event);
		return;
	}
	v4l2_m2m_buf_queue(m2m, b);
}

static int enc_start(struct vb2_queue *q, unsigned int count)
{
	struct enc_ctx *ctx = vb2_get_drv_priv(q);

	v4l2_m2m_update_start_streaming_state(ctx->fh.m2m_ctx, q);
	ctx->aborting = false;
	if (is_raw_side(q->type)) {
		ctx->out_sequence = 0;
		ctx->frames = 0;
		ctx->idr_count = 0;
		ctx->since_i = 0;
		ctx->window = 0;
		return 0;
	}
	ctx->cap_sequence = 0;
	ctx->idr_count = 0;
	ctx->headers_sent = false;
	ctx->headers_due = ctx->header_mode->cur.val ==
			   V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE;
	return 0;
}

static void enc_stop(struct vb2_queue *q)
{
	struct enc_ctx *ctx = vb2_get_drv_priv(q);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *b;

	/* No job is left, but an abort may have queued the work again. */
	cancel_delayed_work_sync(&ctx->work);
	if (!is_raw_side(q->type))
		done_held(ctx, VB2_BUF_STATE_ERROR);
	for (;;) {
		b = is_raw_side(q->type) ? v4l2_m2m_src_buf_remove(m2m)
					 : v4l2_m2m_dst_buf_remove(m2m);
		if (!b)
			break;
		v4l2_m2m_buf_done(b, VB2_BUF_STATE_ERROR);
	}
	v4l2_m2m_update_stop_streaming_state(m2m, q);
	if (is_raw_side(q->type) && v4l2_m2m_has_stopped(m2m))
		v4l2_event_queue_fh(&ctx->fh, &eos_event);
	ctx->aborting = false;
}

static const struct vb2_ops enc_vb2_ops = {
	.queue_setup = enc_queue_setup,
	.buf_out_validate = enc_out_validate,
	.buf_prepare = enc_prepare,
	.buf_queue = enc_queue,
	.start_streaming = enc_start,
	.stop_streaming = enc_stop,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

static void setup_queue(struct enc_ctx *ctx, struct vb2_queue *q)
{
	q->io_modes = VB2_MMAP | VB2_DMABUF;
	q->drv_priv = ctx;
	q->buf_struct_size = sizeof(struct v4l2_m2m_buffer);
	q->ops = &enc_vb2_ops;
	q->mem_ops = strcmp(memory, "vmalloc") ? &vb2_dma_contig_memops
					       : &vb2_vmalloc_memops;
	q->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
	q->lock = &ctx->dev->lock;
	q->dev = ctx->dev->v4l2_dev.dev;
}

static int enc_queue_init(void *priv, struct vb2_queue *src,
			  struct vb2_queue *dst)
{
	struct enc_ctx *ctx = priv;
	int r;

	src->type = multiplanar ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
				: V4L2_BUF_TYPE_VIDEO_OUTPUT;
	setup_queue(ctx, src);
	r = vb2_queue_init(src);
	if (r)
		return r;
	dst->type = multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
				: V4L2_BUF_TYPE_VIDEO_CAPTURE;
	setup_queue(ctx, dst);
	return vb2_queue_init(dst);
}

/* --- controls ----------------------------------------------------------- */

static int enc_s_ctrl(struct v4l2_ctrl *ctrl)
{
	struct enc_ctx *ctx =
		container_of(ctrl->handler, struct enc_ctx, ctrls);

	if (ctrl->id == V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME)
		atomic_set(&ctx->force_key, 1);
	return 0;
}

static const struct v4l2_ctrl_ops enc_ctrl_ops = {.s_ctrl = enc_s_ctrl};

static struct v4l2_ctrl *number(struct enc_ctx *ctx, u32 id, s64 least,
				s64 most, s64 def)
{
	return v4l2_ctrl_new_std(&ctx->ctrls, &enc_ctrl_ops, id, least, most, 1,
				 def);
}

static struct v4l2_ctrl *menu(struct enc_ctx *ctx, u32 id, u8 most, u64 without,
			      u8 def)
{
	return v4l2_ctrl_new_std_menu(&ctx->ctrls, &enc_ctrl_ops, id, most,
				      without, def);
}

static int init_controls(struct enc_ctx *ctx)
{
	const u64 odd_profiles = BIT(V4L2_MPEG_VIDEO_H264_PROFILE_EXTENDED);
	const u32 separate = V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE;
	const u32 joined = V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME;

	v4l2_ctrl_handler_init(&ctx->ctrls, 20);
	ctx->bitrate = number(ctx, V4L2_CID_MPEG_VIDEO_BITRATE, 1000,
			      2000000000, 64000);
	ctx->bitrate_mode = menu(ctx, V4L2_CID_MPEG_VIDEO_BITRATE_MODE,
				 V4L2_MPEG_VIDEO_BITRATE_MODE_CBR, 0,
				 V4L2_MPEG_VIDEO_BITRATE_MODE_VBR);
	ctx->rc = number(ctx, V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE, 0, 1, 1);
	ctx->gop = number(ctx, V4L2_CID_MPEG_VIDEO_GOP_SIZE, 0, GOP_MAX, 30);
	ctx->i_period =
		number(ctx, V4L2_CID_MPEG_VIDEO_H264_I_PERIOD, 0, GOP_MAX, 0);
	number(ctx, V4L2_CID_MPEG_VIDEO_B_FRAMES, 0, 0, 0);
	v4l2_ctrl_new_std(&ctx->ctrls, &enc_ctrl_ops,
			  V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 0, 0, 0, 0);
	ctx->header_mode = menu(ctx, V4L2_CID_MPEG_VIDEO_HEADER_MODE, joined,
				separate_only ? BIT(joined) : 0,
				separate_only ? separate : joined);
	if (repeat_controls && !separate_only) {
		ctx->repeat = number(ctx, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER,
				     0, 1, 0);
		ctx->prepend = number(ctx,
				      V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR,
				      0, 1, 0);
	}
	ctx->profile = menu(ctx, V4L2_CID_MPEG_VIDEO_H264_PROFILE,
			    V4L2_MPEG_VIDEO_H264_PROFILE_HIGH, odd_profiles,
			    V4L2_MPEG_VIDEO_H264_PROFILE_CONSTRAINED_BASELINE);
	ctx->level = menu(ctx, V4L2_CID_MPEG_VIDEO_H264_LEVEL,
			  V4L2_MPEG_VIDEO_H264_LEVEL_6_2, 0,
			  V4L2_MPEG_VIDEO_H264_LEVEL_4_0);
	ctx->qp_i = number(ctx, V4L2_CID_MPEG_VIDEO_H264_I_FRAME_QP, 0, 51, 26);
	ctx->qp_p = number(ctx, V4L2_CID_MPEG_VIDEO_H264_P_FRAME_QP, 0, 51, 26);
	ctx->qp_min = number(ctx, V4L2_CID_MPEG_VIDEO_H264_MIN_QP, 0, 51, 0);
	ctx->qp_max = number(ctx, V4L2_CID_MPEG_VIDEO_H264_MAX_QP, 0, 51, 51);
	v4l2_ctrl_new_std(&ctx->ctrls, &enc_ctrl_ops,
			  V4L2_CID_MIN_BUFFERS_FOR_OUTPUT, 1, 32, 1, 1);
	return ctx->ctrls.error;
}

/* --- files and the device ----------------------------------------------- */

static int enc_open(struct file *file)
{
	struct enc_dev *dev = video_drvdata(file);
	struct enc_ctx *ctx = kzalloc(sizeof(*ctx), GFP_KERNEL);
	int r;

	if (!ctx)
		return -ENOMEM;
	ctx->dev = dev;
	ctx->period = (struct v4l2_fract){1, RATE_DEFAULT};
	ctx->colorspace = V4L2_COLORSPACE_REC709;
	spin_lock_init(&ctx->lock);
	INIT_DELAYED_WORK(&ctx->work, enc_work);
	set_raw(ctx, find_format(0), align_size(640), align_size(480));
	v4l2_fh_init(&ctx->fh, video_devdata(file));
	r = init_controls(ctx);
	if (r)
		goto free;
	ctx->fh.ctrl_handler = &ctx->ctrls;
	v4l2_ctrl_handler_setup(&ctx->ctrls);
	atomic_set(&ctx->force_key, 0);
	ctx->fh.m2m_ctx = v4l2_m2m_ctx_init(dev->m2m, ctx, enc_queue_init);
	if (IS_ERR(ctx->fh.m2m_ctx)) {
		r = PTR_ERR(ctx->fh.m2m_ctx);
		goto free;
	}
	file->private_data = &ctx->fh;
	v4l2_fh_add(&ctx->fh);
	return 0;
free:
	v4l2_ctrl_handler_free(&ctx->ctrls);
	v4l2_fh_exit(&ctx->fh);
	kfree(ctx);
	return r;
}

static int enc_release(struct file *file)
{
	struct enc_ctx *ctx = ctx_of(file);

	v4l2_fh_del(&ctx->fh);
	mutex_lock(&ctx->dev->lock);
	v4l2_m2m_ctx_release(ctx->fh.m2m_ctx);
	mutex_unlock(&ctx->dev->lock);
	cancel_delayed_work_sync(&ctx->work);
	v4l2_ctrl_handler_free(&ctx->ctrls);
	v4l2_fh_exit(&ctx->fh);
	kfree(ctx);
	return 0;
}

static const struct v4l2_file_operations enc_fops = {
	.owner = THIS_MODULE,
	.open = enc_open,
	.release = enc_release,
	.poll = v4l2_m2m_fop_poll,
	.unlocked_ioctl = video_ioctl2,
	.mmap = v4l2_m2m_fop_mmap,
};

static void enc_dev_release(struct video_device *vdev)
{
	struct enc_dev *dev = container_of(vdev, struct enc_dev, vdev);

	v4l2_m2m_release(dev->m2m);
	v4l2_device_unregister(&dev->v4l2_dev);
	kfree(dev);
}

static int register_node(struct enc_dev *dev)
{
	struct video_device *vdev = &dev->vdev;

	strscpy(vdev->name, NAME, sizeof(vdev->name));
	vdev->fops = &enc_fops;
	vdev->ioctl_ops = &enc_ioctl_ops;
	vdev->lock = &dev->lock;
	vdev->vfl_dir = VFL_DIR_M2M;
	vdev->v4l2_dev = &dev->v4l2_dev;
	vdev->release = enc_dev_release;
	vdev->device_caps =
		V4L2_CAP_STREAMING |
		(multiplanar ? V4L2_CAP_VIDEO_M2M_MPLANE : V4L2_CAP_VIDEO_M2M);
	if (!encoder_cmd) {
		v4l2_disable_ioctl(vdev, VIDIOC_ENCODER_CMD);
		v4l2_disable_ioctl(vdev, VIDIOC_TRY_ENCODER_CMD);
	}
	video_set_drvdata(vdev, dev);
	return video_register_device(vdev, VFL_TYPE_VIDEO, -1);
}

static int enc_probe(struct platform_device *pdev)
{
	struct enc_dev *dev;
	int r;

	if (strcmp(memory, "vmalloc") && strcmp(memory, "dma-contig"))
		return -EINVAL;
	r = dma_coerce_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (r)
		return r;
	dev = kzalloc(sizeof(*dev), GFP_KERNEL);
	if (!dev)
		return -ENOMEM;
	mutex_init(&dev->lock);
	r = v4l2_device_register(&pdev->dev, &dev->v4l2_dev);
	if (r)
		goto free;
	dev->m2m = v4l2_m2m_init(&enc_m2m_ops);
	if (IS_ERR(dev->m2m)) {
		r = PTR_ERR(dev->m2m);
		goto unregister;
	}
	platform_set_drvdata(pdev, dev);
	r = register_node(dev);
	if (!r)
		return 0;
	v4l2_m2m_release(dev->m2m);
unregister:
	v4l2_device_unregister(&dev->v4l2_dev);
free:
	kfree(dev);
	return r;
}

static void enc_unplug(struct platform_device *pdev)
{
	struct enc_dev *dev = platform_get_drvdata(pdev);

	/* The rest goes with the last file: enc_dev_release(). */
	video_unregister_device(&dev->vdev);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define enc_remove enc_unplug
#else
static int enc_remove(struct platform_device *pdev)
{
	enc_unplug(pdev);
	return 0;
}
#endif

static struct platform_driver enc_driver = {
	.probe = enc_probe,
	.remove = enc_remove,
	.driver = {.name = NAME},
};

static struct platform_device *enc_device;

static int __init enc_init(void)
{
	int r = platform_driver_register(&enc_driver);

	if (r)
		return r;
	enc_device = platform_device_register_simple(NAME, -1, NULL, 0);
	if (!IS_ERR(enc_device))
		return 0;
	platform_driver_unregister(&enc_driver);
	return PTR_ERR(enc_device);
}

static void __exit enc_exit(void)
{
	platform_device_unregister(enc_device);
	platform_driver_unregister(&enc_driver);
}

module_init(enc_init);
module_exit(enc_exit);

MODULE_DESCRIPTION("Virtual H.264 encoder for tests");
MODULE_LICENSE("GPL");
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS("DMA_BUF");
#else
MODULE_IMPORT_NS(DMA_BUF);
#endif
