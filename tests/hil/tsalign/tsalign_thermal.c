// SPDX-License-Identifier: GPL-2.0-only
/*
 * For guests alone: a thermal core of 80 x 60 pixels, Y16, nine frames a
 * second, with three telemetry rows below: the milliseconds of its own clock,
 * which is 100 ppm fast, are words 1 (lower half) and 2 of the first of them.
 * A frame is handed over up to 4 ms after its time. Its pixels are zero. A node
 * "kvsd,guest-thermal" of the device tree is its device, if there is one.
 *
 * debugfs, /sys/kernel/debug/tsalign_thermal/:
 *	truth	read: struct pair {milliseconds, CLOCK_BOOTTIME} of all frames
 *		since it was loaded, milliseconds as the frame had them
 *	reset	write: the core is switched off and on, its clock is at 0 again
 *	torn	write N: the next N frames have a row of nonsense
 *	still	write 1: its clock stands still, 0: it shows the time again
 */
#include <linux/debugfs.h>
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/of.h>
#include <linux/platform_device.h>
#include <linux/random.h>
#include <media/v4l2-device.h>
#include <media/v4l2-ioctl.h>
#include <media/videobuf2-v4l2.h>
#include <media/videobuf2-vmalloc.h>

#define NAME		"tsalign_thermal"
#define WIDTH		80
#define HEIGHT		63
#define TELEMETRY_ROW	60
#define FRAME_BYTES	(WIDTH * HEIGHT * 2)
#define PERIOD_NS	111111111
#define DELAY_NS	4000000
#define TRUTH_MAX	4096

static u32 start_ms = -40000;
module_param(start_ms, uint, 0444);
MODULE_PARM_DESC(start_ms, "what its clock shows when it is loaded");

struct buffer {
	struct vb2_v4l2_buffer vb;
	struct list_head list;
};

struct pair {
	u64 ms, boot_ns;
};

static struct core {
	struct platform_device *pdev;	/* that it is */
	struct platform_device *own;	/* made here: no node */
	struct v4l2_device v4l2;
	struct video_device video;
	struct vb2_queue queue;
	struct mutex ioctl_lock;
	struct dentry *dir;
	struct hrtimer tick, done;
	spinlock_t lock;		/* of what is below */
	struct list_head buffers;
	u64 begin_ns;			/* CLOCK_BOOTTIME of its clock's start */
	u64 begin_ms;
	u64 due_ns;
	u32 sequence;
	u32 torn;
	u32 still;
	u32 shown_ms;
	struct pair truth[TRUTH_MAX];
	u32 truth_count;
} core;

/* --- its clock -------------------------------------------------------------- */

static u32 ms_at(u64 boot_ns)
{
	u64 ns = boot_ns - core.begin_ns;

	ns += div_u64(ns, 10000);
	return core.begin_ms + div_u64(ns, NSEC_PER_MSEC);
}

static enum hrtimer_restart core_tick(struct hrtimer *timer)
{
	unsigned long flags;
	u64 now = ktime_get_boottime_ns();
	u64 delay = get_random_u32() % DELAY_NS;

	spin_lock_irqsave(&core.lock, flags);
	if (!core.still)
		core.shown_ms = ms_at(now);
	if (core.torn)
		core.shown_ms = get_random_u32();
	else if (core.truth_count < TRUTH_MAX)
		core.truth[core.truth_count++] = (struct pair){
			core.shown_ms, now };
	core.torn -= !!core.torn;
	/* Frames whose time went by while nothing ran are lost. */
	do
		core.due_ns += PERIOD_NS;
	while (core.due_ns <= now);
	spin_unlock_irqrestore(&core.lock, flags);
	hrtimer_start(&core.done, ns_to_ktime(now + delay), HRTIMER_MODE_ABS_SOFT);
	hrtimer_set_expires(timer, ns_to_ktime(core.due_ns));
	return HRTIMER_RESTART;
}

static enum hrtimer_restart core_done(struct hrtimer *timer)
{
	struct buffer *b;
	unsigned long flags;
	__le16 *row;

	spin_lock_irqsave(&core.lock, flags);
	core.sequence++;
	b = list_first_entry_or_null(&core.buffers, struct buffer, list);
	if (b) {
		list_del(&b->list);
		row = vb2_plane_vaddr(&b->vb.vb2_buf, 0);
		memset(row, 0, FRAME_BYTES);
		row += WIDTH * TELEMETRY_ROW;
		row[1] = cpu_to_le16(core.shown_ms & 0xffff);
		row[2] = cpu_to_le16(core.shown_ms >> 16);
		vb2_set_plane_payload(&b->vb.vb2_buf, 0, FRAME_BYTES);
		b->vb.sequence = core.sequence;
		b->vb.field = V4L2_FIELD_NONE;
		b->vb.vb2_buf.timestamp = ktime_get_ns();
		vb2_buffer_done(&b->vb.vb2_buf, VB2_BUF_STATE_DONE);
	}
	spin_unlock_irqrestore(&core.lock, flags);
	return HRTIMER_NORESTART;
}

static int reset_set(void *data, u64 value)
{
	unsigned long flags;

	spin_lock_irqsave(&core.lock, flags);
	core.begin_ns = ktime_get_boottime_ns();
	core.begin_ms = 0;
	spin_unlock_irqrestore(&core.lock, flags);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(reset_fops, NULL, reset_set, "%llu\n");

static ssize_t truth_read(struct file *file, char __user *buf, size_t size,
			  loff_t *pos)
{
	return simple_read_from_buffer(buf, size, pos, core.truth,
				       READ_ONCE(core.truth_count) *
					       sizeof(core.truth[0]));
}

static const struct file_operations truth_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = truth_read,
	.llseek = default_llseek,
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
	struct buffer *b = container_of(to_vb2_v4l2_buffer(vb), struct buffer,
					vb);
	unsigned long flags;

	spin_lock_irqsave(&core.lock, flags);
	list_add_tail(&b->list, &core.buffers);
	spin_unlock_irqrestore(&core.lock, flags);
}

static int start_streaming(struct vb2_queue *q, unsigned int count)
{
	core.sequence = 0;
	core.due_ns = ktime_get_boottime_ns() + PERIOD_NS;
	hrtimer_start(&core.tick, ns_to_ktime(core.due_ns),
		      HRTIMER_MODE_ABS_SOFT);
	return 0;
}

static void stop_streaming(struct vb2_queue *q)
{
	struct buffer *b;
	struct buffer *next;
	unsigned long flags;

	hrtimer_cancel(&core.tick);
	hrtimer_cancel(&core.done);
	spin_lock_irqsave(&core.lock, flags);
	list_for_each_entry_safe(b, next, &core.buffers, list) {
		list_del(&b->list);
		vb2_buffer_done(&b->vb.vb2_buf, VB2_BUF_STATE_ERROR);
	}
	spin_unlock_irqrestore(&core.lock, flags);
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
	strscpy(c->driver, NAME, sizeof(c->driver));
	strscpy(c->card, NAME, sizeof(c->card));
	strscpy(c->bus_info, "platform:" NAME, sizeof(c->bus_info));
	return 0;
}

static int enum_fmt(struct file *file, void *priv, struct v4l2_fmtdesc *f)
{
	if (f->index)
		return -EINVAL;
	f->pixelformat = V4L2_PIX_FMT_Y16;
	return 0;
}

static int fmt(struct file *file, void *priv, struct v4l2_format *f)
{
	struct v4l2_pix_format *p = &f->fmt.pix;

	p->pixelformat = V4L2_PIX_FMT_Y16;
	p->width = WIDTH;
	p->height = HEIGHT;
	p->field = V4L2_FIELD_NONE;
	p->bytesperline = WIDTH * 2;
	p->sizeimage = FRAME_BYTES;
	p->colorspace = V4L2_COLORSPACE_RAW;
	return 0;
}

static const struct v4l2_ioctl_ops ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_enum_fmt_vid_cap = enum_fmt,
	.vidioc_try_fmt_vid_cap = fmt,
	.vidioc_g_fmt_vid_cap = fmt,
	.vidioc_s_fmt_vid_cap = fmt,
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
	.read = vb2_fop_read,
	.poll = vb2_fop_poll,
	.mmap = vb2_fop_mmap,
	.unlocked_ioctl = video_ioctl2,
};

static int node_register(void)
{
	int r;

	/* It may have been bound before. */
	memset(&core.v4l2, 0, sizeof(core.v4l2));
	memset(&core.video, 0, sizeof(core.video));
	memset(&core.queue, 0, sizeof(core.queue));
	strscpy(core.v4l2.name, NAME, sizeof(core.v4l2.name));
	r = v4l2_device_register(&core.pdev->dev, &core.v4l2);
	if (r)
		return r;
	core.queue.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
	core.queue.io_modes = VB2_MMAP | VB2_DMABUF | VB2_READ;
	core.queue.buf_struct_size = sizeof(struct buffer);
	core.queue.ops = &queue_ops;
	core.queue.mem_ops = &vb2_vmalloc_memops;
	core.queue.timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
	core.queue.lock = &core.ioctl_lock;
	core.queue.dev = &core.pdev->dev;
	r = vb2_queue_init(&core.queue);
	if (!r) {
		strscpy(core.video.name, NAME, sizeof(core.video.name));
		core.video.v4l2_dev = &core.v4l2;
		core.video.fops = &file_ops;
		core.video.ioctl_ops = &ioctl_ops;
		core.video.release = video_device_release_empty;
		core.video.queue = &core.queue;
		core.video.lock = &core.ioctl_lock;
		core.video.device_caps = V4L2_CAP_VIDEO_CAPTURE |
					 V4L2_CAP_STREAMING |
					 V4L2_CAP_READWRITE;
		r = video_register_device(&core.video, VFL_TYPE_VIDEO, -1);
	}
	if (r)
		v4l2_device_unregister(&core.v4l2);
	return r;
}

static void node_unregister(void *data)
{
	vb2_video_unregister_device(&core.video);
	v4l2_device_unregister(&core.v4l2);
	core.pdev = NULL;
}

static int core_probe(struct platform_device *pdev)
{
	int r;

	if (core.pdev)
		return -EBUSY;
	core.pdev = pdev;
	r = node_register();
	if (r) {
		core.pdev = NULL;
		return r;
	}
	return devm_add_action_or_reset(&pdev->dev, node_unregister, NULL);
}

static const struct of_device_id core_nodes[] = {
	{ .compatible = "kvsd,guest-thermal" },
	{ }
};

static struct platform_driver driver = {
	.probe = core_probe,
	.driver = { .name = NAME, .of_match_table = core_nodes },
};

static int __init core_init(void)
{
	struct device_node *node;
	int r;

	mutex_init(&core.ioctl_lock);
	spin_lock_init(&core.lock);
	INIT_LIST_HEAD(&core.buffers);
	core.begin_ns = ktime_get_boottime_ns();
	core.begin_ms = start_ms;
	hrtimer_init(&core.tick, CLOCK_BOOTTIME, HRTIMER_MODE_ABS_SOFT);
	core.tick.function = core_tick;
	hrtimer_init(&core.done, CLOCK_BOOTTIME, HRTIMER_MODE_ABS_SOFT);
	core.done.function = core_done;
	r = platform_driver_register(&driver);
	if (r)
		return r;
	node = of_find_matching_node(NULL, core_nodes);
	of_node_put(node);
	if (!node)
		core.own = platform_device_register_simple(NAME,
					PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(core.own)) {
		platform_driver_unregister(&driver);
		return PTR_ERR(core.own);
	}
	core.dir = debugfs_create_dir(NAME, NULL);
	debugfs_create_file("truth", 0400, core.dir, NULL, &truth_fops);
	debugfs_create_file("reset", 0200, core.dir, NULL, &reset_fops);
	debugfs_create_u32("torn", 0600, core.dir, &core.torn);
	debugfs_create_u32("still", 0600, core.dir, &core.still);
	return 0;
}

static void __exit core_exit(void)
{
	debugfs_remove_recursive(core.dir);
	platform_device_unregister(core.own);
	platform_driver_unregister(&driver);
}

module_init(core_init);
module_exit(core_exit);
MODULE_DESCRIPTION("Thermal core with a clock of its own");
MODULE_LICENSE("GPL");
