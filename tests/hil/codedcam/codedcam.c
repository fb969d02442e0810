// SPDX-License-Identifier: GPL-2.0-only
/*
 * codedcam: for guests alone, a camera that compresses by itself. Each write
 * to /sys/kernel/debug/codedcam/stream is one frame that it gives, as it is,
 * 30 of them a second; it gives none when it has none. It keeps a frame until
 * there is a buffer for it, and never flags a key frame, as many cameras do.
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <media/v4l2-device.h>
#include <media/v4l2-ioctl.h>
#include <media/videobuf2-v4l2.h>
#include <media/videobuf2-vmalloc.h>

#define WIDTH 320
#define HEIGHT 240
#define RATE 30
#define FRAME_BYTES (128u << 10)
#define UNITS_MAX 64

static const u32 formats[] = { V4L2_PIX_FMT_H264, V4L2_PIX_FMT_MJPEG };

struct unit {
	struct list_head list;
	size_t bytes;
	u8 data[];
};

struct buffer {
	struct vb2_v4l2_buffer vb;
	struct list_head list;
};

static struct camera {
	struct platform_device *pdev;
	struct v4l2_device v4l2;
	struct video_device video;
	struct vb2_queue queue;
	struct mutex ioctl_lock;
	struct mutex lock;		/* of what is below */
	struct list_head buffers;
	struct list_head units;
	unsigned int unit_count;
	u32 sequence;
	bool on;
	u32 fourcc;
	struct delayed_work work;
	wait_queue_head_t room;
	struct dentry *dir;
} cam;

/* --- frames --------------------------------------------------------------- */

static void give_frame(void)
{
	struct buffer *b = list_first_entry(&cam.buffers, struct buffer, list);
	struct unit *u = list_first_entry(&cam.units, struct unit, list);

	memcpy(vb2_plane_vaddr(&b->vb.vb2_buf, 0), u->data, u->bytes);
	vb2_set_plane_payload(&b->vb.vb2_buf, 0, u->bytes);
	b->vb.sequence = cam.sequence++;
	b->vb.field = V4L2_FIELD_NONE;
	b->vb.vb2_buf.timestamp = ktime_get_ns();
	list_del(&b->list);
	list_del(&u->list);
	cam.unit_count--;
	kfree(u);
	vb2_buffer_done(&b->vb.vb2_buf, VB2_BUF_STATE_DONE);
}

static void tick(struct work_struct *work)
{
	mutex_lock(&cam.lock);
	if (cam.on && !list_empty(&cam.buffers) && !list_empty(&cam.units))
		give_frame();
	if (cam.on)
		schedule_delayed_work(&cam.work, HZ / RATE);
	mutex_unlock(&cam.lock);
	wake_up_interruptible(&cam.room);
}

static ssize_t stream_write(struct file *file, const char __user *data,
			    size_t bytes, loff_t *at)
{
	struct unit *u;
	int r;

	if (!bytes || bytes > FRAME_BYTES)
		return -EMSGSIZE;
	u = kmalloc(sizeof(*u) + bytes, GFP_KERNEL);
	if (!u)
		return -ENOMEM;
	u->bytes = bytes;
	if (copy_from_user(u->data, data, bytes)) {
		kfree(u);
		return -EFAULT;
	}
	r = wait_event_interruptible(cam.room, cam.unit_count < UNITS_MAX);
	if (r) {
		kfree(u);
		return r;
	}
	mutex_lock(&cam.lock);
	list_add_tail(&u->list, &cam.units);
	cam.unit_count++;
	mutex_unlock(&cam.lock);
	return bytes;
}

static const struct file_operations stream_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = stream_write,
};

/* --- its queue -------------------------------------------------------------- */

static int queue_setup(struct vb2_queue *q, unsigned int *buffers,
		       unsigned int *planes, unsigned int sizes[],
		       struct device *alloc_devs[])
{
	if (*planes)
		return sizes[0] < FRAME_BYTES ? -EINVAL : 0;
	*planes = 1;
	sizes[0] = FRAME_BYTES;
	return 0;
}

static int buf_prepare(struct vb2_buffer *vb)
{
	return vb2_plane_size(vb, 0) < FRAME_BYTES ? -EINVAL : 0;
}

static void buf_queue(struct vb2_buffer *vb)
{
	struct vb2_v4l2_buffer *v = to_vb2_v4l2_buffer(vb);
	struct buffer *b = container_of(v, struct buffer, vb);

	mutex_lock(&cam.lock);
	list_add_tail(&b->list, &cam.buffers);
	mutex_unlock(&cam.lock);
}

static int start_streaming(struct vb2_queue *q, unsigned int count)
{
	mutex_lock(&cam.lock);
	cam.on = true;
	cam.sequence = 0;
	mutex_unlock(&cam.lock);
	schedule_delayed_work(&cam.work, HZ / RATE);
	return 0;
}

static void stop_streaming(struct vb2_queue *q)
{
	struct buffer *b;
	struct buffer *next;

	mutex_lock(&cam.lock);
	cam.on = false;
	list_for_each_entry_safe(b, next, &cam.buffers, list) {
		list_del(&b->list);
		vb2_buffer_done(&b->vb.vb2_buf, VB2_BUF_STATE_ERROR);
	}
	mutex_unlock(&cam.lock);
	cancel_delayed_work_sync(&cam.work);
}

static const struct vb2_ops queue_ops = {
	.queue_setup = queue_setup,
	.buf_prepare = buf_prepare,
	.buf_queue = buf_queue,
	.start_streaming = start_streaming,
	.stop_streaming = stop_streaming,
	.wait_prepare = vb2_ops_wait_prepare,
	.wait_finish = vb2_ops_wait_finish,
};

/* --- its node --------------------------------------------------------------- */

static int querycap(struct file *file, void *priv, struct v4l2_capability *c)
{
	strscpy(c->driver, "codedcam", sizeof(c->driver));
	strscpy(c->card, "codedcam", sizeof(c->card));
	strscpy(c->bus_info, "platform:codedcam", sizeof(c->bus_info));
	return 0;
}

static int enum_fmt(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	if (f->index >= ARRAY_SIZE(formats))
		return -EINVAL;
	f->pixelformat = formats[f->index];
	return 0;
}

static int try_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct v4l2_pix_format *p = &f->fmt.pix;

	if (p->pixelformat != V4L2_PIX_FMT_MJPEG)
		p->pixelformat = V4L2_PIX_FMT_H264;
	p->width = WIDTH;
	p->height = HEIGHT;
	p->field = V4L2_FIELD_NONE;
	p->bytesperline = 0;
	p->sizeimage = FRAME_BYTES;
	p->colorspace = V4L2_COLORSPACE_SMPTE170M;
	return 0;
}

static int g_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	f->fmt.pix.pixelformat = cam.fourcc;
	return try_fmt(file, priv, f);
}

static int s_fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	if (vb2_is_busy(&cam.queue))
		return -EBUSY;
	try_fmt(file, priv, f);
	cam.fourcc = f->fmt.pix.pixelformat;
	return 0;
}

static bool has_format(u32 fourcc)
{
	return fourcc == formats[0] || fourcc == formats[1];
}

static int enum_sizes(struct file *file, void *priv,
		      struct v4l2_frmsizeenum *s)
{
	if (s->index || !has_format(s->pixel_format))
		return -EINVAL;
	s->type = V4L2_FRMSIZE_TYPE_DISCRETE;
	s->discrete.width = WIDTH;
	s->discrete.height = HEIGHT;
	return 0;
}

static int enum_rates(struct file *file, void *priv,
		      struct v4l2_frmivalenum *i)
{
	if (i->index || !has_format(i->pixel_format) || i->width != WIDTH ||
	    i->height != HEIGHT)
		return -EINVAL;
	i->type = V4L2_FRMIVAL_TYPE_DISCRETE;
	i->discrete.numerator = 1;
	i->discrete.denominator = RATE;
	return 0;
}

static int parm(struct file *file, void *priv, struct v4l2_streamparm *p)
{
	p->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
	p->parm.capture.timeperframe.numerator = 1;
	p->parm.capture.timeperframe.denominator = RATE;
	p->parm.capture.readbuffers = 2;
	return 0;
}

static const struct v4l2_ioctl_ops ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_enum_fmt_vid_cap = enum_fmt,
	.vidioc_try_fmt_vid_cap = try_fmt,
	.vidioc_g_fmt_vid_cap = g_fmt,
	.vidioc_s_fmt_vid_cap = s_fmt,
	.vidioc_enum_framesizes = enum_sizes,
	.vidioc_enum_frameintervals = enum_rates,
	.vidioc_g_parm = parm,
	.vidioc_s_parm = parm,
	.vidioc_reqbufs = vb2_ioctl_reqbufs,
	.vidioc_create_bufs = vb2_ioctl_create_bufs,
	.vidioc_querybuf = vb2_ioctl_querybuf,
	.vidioc_qbuf = vb2_ioctl_qbuf,
	.vidioc_dqbuf = vb2_ioctl_dqbuf,
	.vidioc_expbuf = vb2_ioctl_expbuf,
	.vidioc_streamon = vb2_ioctl_streamon,
	.vidioc_streamoff = vb2_ioctl_streamoff,
};

static const struct v4l2_file_operations file_ops = {
	.owner = THIS_MODULE,
	.open = v4l2_fh_open,
	.release = vb2_fop_release,
	.poll = vb2_fop_poll,
	.mmap = vb2_fop_mmap,
	.unlocked_ioctl = video_ioctl2,
};

static int camera_register(void)
{
	int r;

	/* The device has no driver whose name it could be. */
	strscpy(cam.v4l2.name, "codedcam", sizeof(cam.v4l2.name));
	r = v4l2_device_register(&cam.pdev->dev, &cam.v4l2);
	if (r)
		return r;
	cam.queue.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	cam.queue.io_modes = VB2_MMAP | VB2_DMABUF;
	cam.queue.buf_struct_size = sizeof(struct buffer);
	cam.queue.ops = &queue_ops;
	cam.queue.mem_ops = &vb2_vmalloc_memops;
	cam.queue.timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
	cam.queue.lock = &cam.ioctl_lock;
	r = vb2_queue_init(&cam.queue);
	if (r)
		goto unregister;
	strscpy(cam.video.name, "codedcam", sizeof(cam.video.name));
	cam.video.v4l2_dev = &cam.v4l2;
	cam.video.fops = &file_ops;
	cam.video.ioctl_ops = &ioctl_ops;
	cam.video.release = video_device_release_empty;
	cam.video.queue = &cam.queue;
	cam.video.lock = &cam.ioctl_lock;
	cam.video.device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
	r = video_register_device(&cam.video, VFL_TYPE_VIDEO, -1);
	if (!r)
		return 0;
unregister:
	v4l2_device_unregister(&cam.v4l2);
	return r;
}

static int __init camera_init(void)
{
	int r;

	mutex_init(&cam.ioctl_lock);
	mutex_init(&cam.lock);
	INIT_LIST_HEAD(&cam.buffers);
	INIT_LIST_HEAD(&cam.units);
	INIT_DELAYED_WORK(&cam.work, tick);
	init_waitqueue_head(&cam.room);
	cam.fourcc = V4L2_PIX_FMT_H264;
	cam.pdev = platform_device_register_simple("codedcam", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(cam.pdev))
		return PTR_ERR(cam.pdev);
	r = camera_register();
	if (r) {
		platform_device_unregister(cam.pdev);
		return r;
	}
	cam.dir = debugfs_create_dir("codedcam", NULL);
	debugfs_create_file("stream", 0200, cam.dir, NULL, &stream_fops);
	return 0;
}

static void __exit camera_exit(void)
{
	struct unit *u;
	struct unit *next;

	debugfs_remove(cam.dir);
	vb2_video_unregister_device(&cam.video);
	v4l2_device_unregister(&cam.v4l2);
	platform_device_unregister(cam.pdev);
	list_for_each_entry_safe(u, next, &cam.units, list)
		kfree(u);
}

module_init(camera_init);
module_exit(camera_exit);
MODULE_DESCRIPTION("Camera that gives the frames that a test writes");
MODULE_LICENSE("GPL");
