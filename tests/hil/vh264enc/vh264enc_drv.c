// SPDX-License-Identifier: GPL-2.0-only
/*
 * A virtual stateful H.264 encoder (V4L2 memory-to-memory), for guests alone:
 * its pictures can be decoded and compared bit by bit with what went in, and
 * it fails on demand. See tests/hil/DESIGN.md.
 */
#include "vh264enc.h"

#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/mm.h>
#include <linux/version.h>
#include <media/videobuf2-dma-contig.h>
#include <media/videobuf2-vmalloc.h>

#define GOP_MAX 600

/* --- queues ------------------------------------------------------------- */

static int enc_queue_setup(struct vb2_queue *q, unsigned int *buffers,
			   unsigned int *planes, unsigned int sizes[],
			   struct device *alloc_devs[])
{
	struct enc_ctx *ctx = vb2_get_drv_priv(q);
	bool raw = enc_is_raw(q->type);
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
	bool raw = enc_is_raw(vb->vb2_queue->type);
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

	if (!enc_is_raw(vb->vb2_queue->type) &&
	    vb2_is_streaming(vb->vb2_queue) && v4l2_m2m_dst_buf_is_last(m2m)) {
		b->field = V4L2_FIELD_NONE;
		b->sequence = ctx->cap_sequence++;
		v4l2_m2m_last_buffer_done(m2m, b);
		enc_tell_end(ctx);
		return;
	}
	v4l2_m2m_buf_queue(m2m, b);
}

/* What is kept between frames of VP8; the size may be another now. */
static int alloc_state(struct enc_ctx *ctx)
{
	kvfree(ctx->vp8.blocks);
	ctx->vp8.blocks =
		kvzalloc(vvp8_state_bytes(ctx->width, ctx->height), GFP_KERNEL);
	return ctx->vp8.blocks ? 0 : -ENOMEM;
}

static void return_buffers(struct enc_ctx *ctx, struct vb2_queue *q,
			   enum vb2_buffer_state state)
{
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;
	struct vb2_v4l2_buffer *b;

	for (;;) {
		b = enc_is_raw(q->type) ? v4l2_m2m_src_buf_remove(m2m)
					: v4l2_m2m_dst_buf_remove(m2m);
		if (!b)
			return;
		v4l2_m2m_buf_done(b, state);
	}
}

static int enc_start(struct vb2_queue *q, unsigned int count)
{
	struct enc_ctx *ctx = vb2_get_drv_priv(q);

	if (enc_traits.vp8 && enc_is_raw(q->type) && alloc_state(ctx) < 0) {
		return_buffers(ctx, q, VB2_BUF_STATE_QUEUED);
		return -ENOMEM;
	}
	v4l2_m2m_update_start_streaming_state(ctx->fh.m2m_ctx, q);
	ctx->aborting = false;
	if (enc_is_raw(q->type)) {
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
	ctx->headers_due = ctx->header_mode &&
			   ctx->header_mode->cur.val ==
				   V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE;
	return 0;
}

static void enc_stop(struct vb2_queue *q)
{
	struct enc_ctx *ctx = vb2_get_drv_priv(q);
	struct v4l2_m2m_ctx *m2m = ctx->fh.m2m_ctx;

	/* No job is left, but an abort may have queued the work again. */
	cancel_delayed_work_sync(&ctx->work);
	if (!enc_is_raw(q->type))
		enc_done_held(ctx, VB2_BUF_STATE_ERROR);
	return_buffers(ctx, q, VB2_BUF_STATE_ERROR);
	v4l2_m2m_update_stop_streaming_state(m2m, q);
	if (enc_is_raw(q->type) && v4l2_m2m_has_stopped(m2m))
		enc_tell_end(ctx);
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
	q->mem_ops = strcmp(enc_traits.memory, "vmalloc")
			     ? &vb2_dma_contig_memops
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

	src->type = enc_traits.multiplanar ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE
					   : V4L2_BUF_TYPE_VIDEO_OUTPUT;
	setup_queue(ctx, src);
	r = vb2_queue_init(src);
	if (r)
		return r;
	dst->type = enc_traits.multiplanar ? V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE
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
	enc_stuck(ENC_CONTROL);
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

static int init_jpeg_controls(struct enc_ctx *ctx)
{
	v4l2_ctrl_handler_init(&ctx->ctrls, 2);
	ctx->quality =
		number(ctx, V4L2_CID_JPEG_COMPRESSION_QUALITY, 1, 100, 80);
	v4l2_ctrl_new_std(&ctx->ctrls, &enc_ctrl_ops,
			  V4L2_CID_MIN_BUFFERS_FOR_OUTPUT, 1, 32, 1, 1);
	return ctx->ctrls.error;
}

static void init_h264_controls(struct enc_ctx *ctx)
{
	const u64 odd_profiles = BIT(V4L2_MPEG_VIDEO_H264_PROFILE_EXTENDED);

	ctx->i_period =
		number(ctx, V4L2_CID_MPEG_VIDEO_H264_I_PERIOD, 0, GOP_MAX, 0);
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
}

/* QPs are there and change nothing: samples are sent as they are. */
static void init_hevc_controls(struct enc_ctx *ctx)
{
	ctx->profile = menu(ctx, V4L2_CID_MPEG_VIDEO_HEVC_PROFILE,
			    V4L2_MPEG_VIDEO_HEVC_PROFILE_MAIN, 0,
			    V4L2_MPEG_VIDEO_HEVC_PROFILE_MAIN);
	ctx->level = menu(ctx, V4L2_CID_MPEG_VIDEO_HEVC_LEVEL,
			  V4L2_MPEG_VIDEO_HEVC_LEVEL_6_2, 0,
			  V4L2_MPEG_VIDEO_HEVC_LEVEL_4);
	ctx->qp_i = number(ctx, V4L2_CID_MPEG_VIDEO_HEVC_I_FRAME_QP, 0, 51, 26);
	ctx->qp_p = number(ctx, V4L2_CID_MPEG_VIDEO_HEVC_P_FRAME_QP, 0, 51, 26);
	ctx->qp_min = number(ctx, V4L2_CID_MPEG_VIDEO_HEVC_MIN_QP, 0, 51, 0);
	ctx->qp_max = number(ctx, V4L2_CID_MPEG_VIDEO_HEVC_MAX_QP, 0, 51, 51);
}

static void init_vp8_controls(struct enc_ctx *ctx)
{
	ctx->profile = menu(ctx, V4L2_CID_MPEG_VIDEO_VP8_PROFILE,
			    V4L2_MPEG_VIDEO_VP8_PROFILE_3, 0,
			    V4L2_MPEG_VIDEO_VP8_PROFILE_0);
	ctx->qp_i = number(ctx, V4L2_CID_MPEG_VIDEO_VPX_I_FRAME_QP, 0,
			   VP8_QP_MAX, VP8_QP_EXACT);
	ctx->qp_p = number(ctx, V4L2_CID_MPEG_VIDEO_VPX_P_FRAME_QP, 0,
			   VP8_QP_MAX, VP8_QP_EXACT);
	ctx->qp_min =
		number(ctx, V4L2_CID_MPEG_VIDEO_VPX_MIN_QP, 0, VP8_QP_MAX, 0);
	ctx->qp_max = number(ctx, V4L2_CID_MPEG_VIDEO_VPX_MAX_QP, 0, VP8_QP_MAX,
			     VP8_QP_MAX);
}

/* How parameter sets are given, for codecs that have some. */
static void init_header_controls(struct enc_ctx *ctx)
{
	const u32 separate = V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE;
	const u32 joined = V4L2_MPEG_VIDEO_HEADER_MODE_JOINED_WITH_1ST_FRAME;

	ctx->header_mode = menu(ctx, V4L2_CID_MPEG_VIDEO_HEADER_MODE, joined,
				enc_traits.separate_only ? BIT(joined) : 0,
				enc_traits.separate_only ? separate : joined);
	if (enc_traits.repeat_controls && !enc_traits.separate_only) {
		ctx->repeat = number(ctx, V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER,
				     0, 1, 0);
		ctx->prepend = number(ctx,
				      V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR,
				      0, 1, 0);
	}
}

static int init_controls(struct enc_ctx *ctx)
{
	v4l2_ctrl_handler_init(&ctx->ctrls, 20);
	ctx->bitrate = number(ctx, V4L2_CID_MPEG_VIDEO_BITRATE, 1000,
			      2000000000, 64000);
	ctx->bitrate_mode = menu(ctx, V4L2_CID_MPEG_VIDEO_BITRATE_MODE,
				 V4L2_MPEG_VIDEO_BITRATE_MODE_CBR, 0,
				 V4L2_MPEG_VIDEO_BITRATE_MODE_VBR);
	ctx->rc = number(ctx, V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE, 0, 1, 1);
	ctx->gop = number(ctx, V4L2_CID_MPEG_VIDEO_GOP_SIZE, 0, GOP_MAX, 30);
	number(ctx, V4L2_CID_MPEG_VIDEO_B_FRAMES, 0, 0, 0);
	v4l2_ctrl_new_std(&ctx->ctrls, &enc_ctrl_ops,
			  V4L2_CID_MPEG_VIDEO_FORCE_KEY_FRAME, 0, 0, 0, 0);
	if (!enc_traits.vp8)
		init_header_controls(ctx);
	if (enc_traits.hevc)
		init_hevc_controls(ctx);
	else if (enc_traits.vp8)
		init_vp8_controls(ctx);
	else
		init_h264_controls(ctx);
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
	enc_stuck(ENC_OPEN);
	ctx->dev = dev;
	enc_job_init(ctx);
	enc_set_default(ctx);
	v4l2_fh_init(&ctx->fh, video_devdata(file));
	r = enc_traits.jpeg ? init_jpeg_controls(ctx) : init_controls(ctx);
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
	struct enc_ctx *ctx = enc_ctx_of(file);

	enc_stuck(ENC_CLOSE);
	v4l2_fh_del(&ctx->fh);
	mutex_lock(&ctx->dev->lock);
	v4l2_m2m_ctx_release(ctx->fh.m2m_ctx);
	mutex_unlock(&ctx->dev->lock);
	cancel_delayed_work_sync(&ctx->work);
	v4l2_ctrl_handler_free(&ctx->ctrls);
	v4l2_fh_exit(&ctx->fh);
	kvfree(ctx->vp8.blocks);
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
	vdev->device_caps = V4L2_CAP_STREAMING |
			    (enc_traits.multiplanar ? V4L2_CAP_VIDEO_M2M_MPLANE
						    : V4L2_CAP_VIDEO_M2M);
	if (!enc_traits.encoder_cmd) {
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

	if (strcmp(enc_traits.memory, "vmalloc") &&
	    strcmp(enc_traits.memory, "dma-contig"))
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
