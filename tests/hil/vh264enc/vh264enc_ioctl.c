// SPDX-License-Identifier: GPL-2.0-only
/* Formats, selection, frame interval, commands and events. */
#include "vh264enc.h"

#include <linux/log2.h>
#include <linux/string.h>

#include "vh264enc_bits.h"

#define SIDE_MIN 16u
#define SIDE_MAX 4096u

static const struct enc_format raw_formats[] = {
	{V4L2_PIX_FMT_NV12, 1, true},
	{V4L2_PIX_FMT_YUV420, 1, false},
	{V4L2_PIX_FMT_NV12M, 2, true},
	{V4L2_PIX_FMT_YUV420M, 3, false},
};

/* --- formats ------------------------------------------------------------ */

/* The table begins with the formats of one memory plane. */
static unsigned int first_format(void)
{
	return enc_traits.multiplanar && enc_traits.own_planes ? 2 : 0;
}

static unsigned int last_format(void)
{
	return enc_traits.multiplanar ? ARRAY_SIZE(raw_formats) : 2;
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
	u32 to = clamp(roundup_pow_of_two(max(enc_traits.size_align, 2u)), 2ul,
		       64ul);

	return clamp(ALIGN(pixels, to), ALIGN(SIDE_MIN, to), SIDE_MAX);
}

static u32 raw_layout(const struct enc_format *f, u32 width, u32 height,
		      u32 stride[3], u32 size[3])
{
	u32 to = clamp(roundup_pow_of_two(max(enc_traits.stride_align, 1u)),
		       1ul, 256ul);
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

	if (enc_traits.coded_bytes)
		return clamp(enc_traits.coded_bytes, 64u, 64u << 20);
	return clamp_t(size_t, wanted, most, 2 * most);
}

static void tell_colors(const struct enc_ctx *ctx, struct v4l2_format *f)
{
	if (enc_traits.multiplanar) {
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

	if (!enc_traits.multiplanar) {
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
	f->pixelformat = enc_coded_fourcc();
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
	    (s->pixel_format != enc_coded_fourcc() &&
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
	struct enc_ctx *ctx = enc_ctx_of(file);
	u32 stride = 0;

	tell(f, enc_coded_fourcc(), ctx->width, ctx->height, 1, &stride,
	     &ctx->coded_bytes);
	tell_colors(ctx, f);
	return 0;
}

static int enc_g_out(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = enc_ctx_of(file);

	tell(f, ctx->format->fourcc, ctx->width, ctx->height,
	     ctx->format->planes, ctx->stride, ctx->size);
	tell_colors(ctx, f);
	return 0;
}

static u32 wanted_coded(const struct v4l2_format *f)
{
	return enc_traits.multiplanar ? f->fmt.pix_mp.plane_fmt[0].sizeimage
				      : f->fmt.pix.sizeimage;
}

/* The coded side takes its size from the raw side. */
static int enc_try_cap(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = enc_ctx_of(file);
	u32 stride = 0;
	u32 size = coded_size(ctx->width, ctx->height, wanted_coded(f));

	tell(f, enc_coded_fourcc(), ctx->width, ctx->height, 1, &stride, &size);
	tell_colors(ctx, f);
	return 0;
}

static int enc_s_cap(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = enc_ctx_of(file);

	if (vb2_is_busy(v4l2_m2m_get_vq(ctx->fh.m2m_ctx, f->type)))
		return -EBUSY;
	enc_stuck(ENC_FORMAT);
	enc_try_cap(file, fh, f);
	ctx->coded_bytes = wanted_coded(f);
	return 0;
}

static int enc_try_out(struct file *file, void *fh, struct v4l2_format *f)
{
	u32 fourcc = enc_traits.multiplanar ? f->fmt.pix_mp.pixelformat
					    : f->fmt.pix.pixelformat;
	u32 width = enc_traits.multiplanar ? f->fmt.pix_mp.width
					   : f->fmt.pix.width;
	u32 height = enc_traits.multiplanar ? f->fmt.pix_mp.height
					    : f->fmt.pix.height;
	const struct enc_format *format = find_format(fourcc);
	u32 stride[3];
	u32 size[3];

	width = align_size(width);
	height = align_size(height);
	raw_layout(format, width, height, stride, size);
	tell(f, format->fourcc, width, height, format->planes, stride, size);
	if (enc_traits.multiplanar)
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

void enc_set_default(struct enc_ctx *ctx)
{
	ctx->period = (struct v4l2_fract){1, RATE_DEFAULT};
	ctx->colorspace = V4L2_COLORSPACE_REC709;
	set_raw(ctx, find_format(0), align_size(640), align_size(480));
}

static int enc_s_out(struct file *file, void *fh, struct v4l2_format *f)
{
	struct enc_ctx *ctx = enc_ctx_of(file);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	if (vb2_is_busy(v4l2_m2m_get_vq(m2m, f->type)) ||
	    vb2_is_busy(&m2m->cap_q_ctx.q))
		return -EBUSY;
	enc_try_out(file, fh, f);
	if (enc_traits.multiplanar) {
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

static int enc_g_selection(struct file *file, void *fh,
			   struct v4l2_selection *s)
{
	struct enc_ctx *ctx = enc_ctx_of(file);

	if (!enc_is_raw(s->type))
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
	struct enc_ctx *ctx = enc_ctx_of(file);

	if (!enc_is_raw(s->type) || s->target != V4L2_SEL_TGT_CROP)
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
	struct enc_ctx *ctx = enc_ctx_of(file);

	if (!enc_is_raw(a->type))
		return -EINVAL;
	memset(&a->parm, 0, sizeof(a->parm));
	a->parm.output.capability = V4L2_CAP_TIMEPERFRAME;
	a->parm.output.timeperframe = ctx->period;
	return 0;
}

static int enc_s_parm(struct file *file, void *fh, struct v4l2_streamparm *a)
{
	struct enc_ctx *ctx = enc_ctx_of(file);
	struct v4l2_fract period = a->parm.output.timeperframe;

	if (!enc_is_raw(a->type))
		return -EINVAL;
	if (!period.numerator || !period.denominator)
		period = (struct v4l2_fract){1, RATE_DEFAULT};
	ctx->period = period;
	return enc_g_parm(file, fh, a);
}

/* --- commands and events ------------------------------------------------ */

static int enc_encoder_cmd(struct file *file, void *fh,
			   struct v4l2_encoder_cmd *cmd)
{
	struct enc_ctx *ctx = enc_ctx_of(file);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	unsigned long flags;
	int r;

	r = v4l2_m2m_ioctl_try_encoder_cmd(file, fh, cmd);
	if (r)
		return r;
	enc_stuck(ENC_COMMAND);
	if (!vb2_is_streaming(&m2m->cap_q_ctx.q) ||
	    !vb2_is_streaming(&m2m->out_q_ctx.q))
		return 0;
	if (cmd->cmd == V4L2_ENC_CMD_STOP && enc_fault.no_last)
		return 0;
	spin_lock_irqsave(&ctx->lock, flags);
	enc_done_held(ctx, VB2_BUF_STATE_DONE);
	r = v4l2_m2m_encoder_cmd(file, m2m, cmd);
	spin_unlock_irqrestore(&ctx->lock, flags);
	if (r < 0)
		return r;
	if (cmd->cmd == V4L2_ENC_CMD_STOP && v4l2_m2m_has_stopped(m2m))
		enc_tell_end(ctx);
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
		if (!enc_fault.source_change)
			return -EINVAL;
		return v4l2_src_change_event_subscribe(fh, sub);
	case V4L2_EVENT_CTRL:
		return v4l2_ctrl_subscribe_event(fh, sub);
	}
	return -EINVAL;
}

/* --- the helpers' own, if they return ------------------------------------- */

static int enc_reqbufs(struct file *file, void *fh,
		       struct v4l2_requestbuffers *b)
{
	enc_stuck(ENC_BUFFERS);
	return v4l2_m2m_ioctl_reqbufs(file, fh, b);
}

static int enc_qbuf(struct file *file, void *fh, struct v4l2_buffer *b)
{
	enc_stuck(ENC_QUEUE);
	return v4l2_m2m_ioctl_qbuf(file, fh, b);
}

static int enc_dqbuf(struct file *file, void *fh, struct v4l2_buffer *b)
{
	enc_stuck(ENC_DEQUEUE);
	return v4l2_m2m_ioctl_dqbuf(file, fh, b);
}

static int enc_streamon(struct file *file, void *fh, enum v4l2_buf_type type)
{
	enc_stuck(ENC_STREAMON);
	return v4l2_m2m_ioctl_streamon(file, fh, type);
}

static int enc_streamoff(struct file *file, void *fh, enum v4l2_buf_type type)
{
	enc_stuck(ENC_STREAMOFF);
	return v4l2_m2m_ioctl_streamoff(file, fh, type);
}

const struct v4l2_ioctl_ops enc_ioctl_ops = {
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
	.vidioc_reqbufs = enc_reqbufs,
	.vidioc_create_bufs = v4l2_m2m_ioctl_create_bufs,
	.vidioc_querybuf = v4l2_m2m_ioctl_querybuf,
	.vidioc_prepare_buf = v4l2_m2m_ioctl_prepare_buf,
	.vidioc_qbuf = enc_qbuf,
	.vidioc_dqbuf = enc_dqbuf,
	.vidioc_expbuf = v4l2_m2m_ioctl_expbuf,
	.vidioc_streamon = enc_streamon,
	.vidioc_streamoff = enc_streamoff,
	.vidioc_try_encoder_cmd = v4l2_m2m_ioctl_try_encoder_cmd,
	.vidioc_encoder_cmd = enc_encoder_cmd,
	.vidioc_subscribe_event = enc_subscribe,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};
