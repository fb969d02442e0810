// SPDX-License-Identifier: GPL-2.0-only
/* One frame a job, and what goes wrong with it. */
#include "vh264enc.h"

#include <linux/math64.h>

#include "vh264enc_bits.h"
#include "vh264enc_hevc.h"
#include "vh264enc_jpeg.h"

#define RUNT_BYTES 3 /* less than a start code */

static const struct v4l2_event source_change_event = {
	.type = V4L2_EVENT_SOURCE_CHANGE,
	.u.src_change.changes = V4L2_EVENT_SRC_CH_RESOLUTION,
};

void enc_tell_end(struct enc_ctx *ctx)
{
	static const struct v4l2_event event = {.type = V4L2_EVENT_EOS};

	v4l2_event_queue_fh(&ctx->fh, &event);
}

void enc_done_held(struct enc_ctx *ctx, enum vb2_buffer_state state)
{
	struct vb2_v4l2_buffer *held = ctx->held;

	ctx->held = NULL;
	if (held)
		v4l2_m2m_buf_done(held, state);
}

static bool every(unsigned int fault, u32 number)
{
	fault = READ_ONCE(fault);
	return fault && number % fault == 0;
}

static struct vb2_v4l2_buffer *pick_dst(struct enc_ctx *ctx)
{
	return enc_fault.reorder == 1 ? v4l2_m2m_last_dst_buf(ctx->fh.m2m_ctx)
				      : v4l2_m2m_next_dst_buf(ctx->fh.m2m_ctx);
}

static void fill_params(const struct enc_ctx *ctx, struct vh264_params *p)
{
	static const u8 levels[] = {10, 11, 11, 12, 13, 20, 21, 22, 30, 31,
				    32, 40, 41, 42, 50, 51, 52, 60, 61, 62};
	static const u8 profiles[] = {66, 66, 77, 88, 100};
	static const u8 hevc_levels[] = {30,  60,  63,	90,  93,  120, 123,
					 150, 153, 156, 180, 183, 186};

	memset(p, 0, sizeof(*p));
	p->width = ctx->crop.width;
	p->height = ctx->crop.height;
	if (enc_traits.vp8)
		return;
	if (enc_traits.hevc) {
		p->level_idc = hevc_levels[ctx->level->cur.val];
		return;
	}
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
	/* H.265 sends all frames whole; VP8 has no such but keys. */
	u32 i_period = ctx->i_period ? ctx->i_period->cur.val : enc_traits.hevc;
	u32 mb_bytes = enc_traits.vp8 ? VP8_MB_BYTES_MAX : 384;
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
		f->window_count = min(bytes_per_frame(ctx) / mb_bytes, mbs);
		ctx->window = (ctx->window + f->window_count) % mbs;
	}
}

static bool wants_headers(struct enc_ctx *ctx, enum vh264_kind kind)
{
	bool repeat = (ctx->repeat && ctx->repeat->cur.val) ||
		      (ctx->prepend && ctx->prepend->cur.val);

	if (kind != VH264_IDR || enc_traits.vp8)
		return false;
	if (!ctx->headers_sent) {
		ctx->headers_sent = true;
		return true;
	}
	/* The first frame after separate headers does without. */
	return repeat && ctx->idr_count > 1;
}

static void put_sets(struct vh264_out *o, const struct vh264_params *p)
{
	if (enc_traits.hevc)
		vhevc_put_headers(o, p);
	else
		vh264_put_headers(o, p);
}

static void put_frame(struct enc_ctx *ctx, struct vh264_out *o,
		      const struct vh264_params *p,
		      const struct vh264_picture *pic,
		      const struct vh264_frame *f)
{
	if (enc_traits.hevc)
		vhevc_put_frame(o, p, pic, f);
	else if (enc_traits.vp8)
		vvp8_put_frame(o, p, ctx->profile->cur.val, pic, f, &ctx->vp8);
	else
		vh264_put_frame(o, p, pic, f);
}

/* Each picture stands alone. */
static size_t encode_jpeg(struct enc_ctx *ctx, struct vb2_v4l2_buffer *src,
			  struct vb2_v4l2_buffer *dst)
{
	struct vh264_picture pic;
	struct vh264_out out;

	vh264_out_init(&out, vb2_plane_vaddr(&dst->vb2_buf, 0),
		       vb2_plane_size(&dst->vb2_buf, 0));
	fill_picture(ctx, &src->vb2_buf, &pic);
	vjpeg_put_picture(&out, ctx->crop.width, ctx->crop.height, &pic,
			  ctx->quality->cur.val);
	dst->flags &= ~(V4L2_BUF_FLAG_PFRAME | V4L2_BUF_FLAG_BFRAME |
			V4L2_BUF_FLAG_LAST);
	dst->flags |= V4L2_BUF_FLAG_KEYFRAME;
	return out.overflow ? 0 : out.len;
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
		put_sets(&out, &params);
	put_frame(ctx, &out, &params, &pic, &frame);
	if (ctx->rc->cur.val && frame.kind == VH264_P &&
	    ctx->bitrate_mode->cur.val == V4L2_MPEG_VIDEO_BITRATE_MODE_CBR) {
		size_t want = min_t(size_t, bytes_per_frame(ctx), out.max);

		if (want > out.len && enc_traits.vp8)
			vvp8_put_padding(&out, want - out.len);
		else if (want > out.len)
			vh264_put_filler(&out, want - out.len);
	}
	ctx->since_idr++;
	ctx->since_i++;
	ctx->frame_num = (ctx->frame_num + 1) & 0xff;
	dst->flags &= ~(V4L2_BUF_FLAG_KEYFRAME | V4L2_BUF_FLAG_PFRAME |
			V4L2_BUF_FLAG_BFRAME | V4L2_BUF_FLAG_LAST);
	if (enc_fault.key_flag == 2 ||
	    (frame.kind == VH264_IDR && enc_fault.key_flag != 1))
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
	if (enc_fault.reorder == 2 && !ctx->held && !last &&
	    state == VB2_BUF_STATE_DONE) {
		ctx->held = dst;
		return;
	}
	if (empty_end)
		enc_done_held(ctx, VB2_BUF_STATE_DONE);
	v4l2_m2m_buf_done(dst, state);
	enc_done_held(ctx, VB2_BUF_STATE_DONE);
}

static void put_headers(struct enc_ctx *ctx, struct vb2_v4l2_buffer *dst)
{
	struct vh264_params params;
	struct vh264_out out;

	vh264_out_init(&out, vb2_plane_vaddr(&dst->vb2_buf, 0),
		       vb2_plane_size(&dst->vb2_buf, 0));
	fill_params(ctx, &params);
	put_sets(&out, &params);
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
	if (every(enc_fault.empty, ctx->frames))
		*len = 0;
	if (every(enc_fault.runt, ctx->frames))
		*len = RUNT_BYTES;
	return every(enc_fault.error, ctx->frames) ? VB2_BUF_STATE_ERROR
						   : VB2_BUF_STATE_DONE;
}

static void one_frame(struct enc_ctx *ctx)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *src = v4l2_m2m_next_src_buf(m2m);
	struct vb2_v4l2_buffer *dst = pick_dst(ctx);
	enum vb2_buffer_state state = VB2_BUF_STATE_DONE;
	bool drop = every(enc_fault.drop, ctx->frames);
	unsigned long flags;
	size_t len = 0;
	bool last;

	if (!drop) {
		len = enc_traits.jpeg ? encode_jpeg(ctx, src, dst)
				      : encode(ctx, src, dst);
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
		enc_tell_end(ctx);
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
			if (enc_fault.source_change &&
			    ctx->frames == enc_fault.source_change)
				v4l2_event_queue_fh(&ctx->fh,
						    &source_change_event);
			if (enc_fault.hang && ctx->frames >= enc_fault.hang)
				return; /* only an abort ends this job */
			one_frame(ctx);
		}
	}
	v4l2_m2m_job_finish(ctx->dev->m2m, m2m);
}

static void enc_run(void *priv)
{
	struct enc_ctx *ctx = priv;

	schedule_delayed_work(&ctx->work,
			      msecs_to_jiffies(enc_traits.delay_ms));
}

static void enc_abort(void *priv)
{
	struct enc_ctx *ctx = priv;

	WRITE_ONCE(ctx->aborting, true);
	mod_delayed_work(system_wq, &ctx->work, 0);
}

const struct v4l2_m2m_ops enc_m2m_ops = {
	.device_run = enc_run,
	.job_abort = enc_abort,
};

void enc_job_init(struct enc_ctx *ctx)
{
	spin_lock_init(&ctx->lock);
	INIT_DELAYED_WORK(&ctx->work, enc_work);
}
