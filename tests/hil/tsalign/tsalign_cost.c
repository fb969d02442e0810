// SPDX-License-Identifier: GPL-2.0-only
/*
 * For guests alone: what tsalign.ko costs a V4L2 buffer. Fires vb2's own
 * tracepoints for a made-up queue, as vb2 does once for each buffer.
 *
 * debugfs, /sys/kernel/debug/tsalign_cost: read: nanoseconds of all that one
 * buffer fires, the least of 20 means of 5,000
 */
#include <linux/debugfs.h>
#include <linux/module.h>
#include <linux/timekeeping.h>
#include <media/videobuf2-v4l2.h>
#include <trace/events/vb2.h>

#define BATCHES	20
#define BUFFERS	5000

static struct dentry *file;
static struct vb2_queue queue = {
	.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
	.timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
	.buf_struct_size = sizeof(struct vb2_v4l2_buffer),
	.name = "made up",
};
static struct vb2_v4l2_buffer buffer;

static u64 batch(void)
{
	struct vb2_buffer *vb = &buffer.vb2_buf;
	u64 begin = ktime_get_ns();
	u32 i;

	for (i = 0; i < BUFFERS; i++) {
		vb->index = i % 4;
		vb->state = VB2_BUF_STATE_QUEUED;
		trace_vb2_qbuf(&queue, vb);
		vb->state = VB2_BUF_STATE_DONE;
		trace_vb2_buf_done(&queue, vb);
		buffer.sequence++;
		trace_vb2_dqbuf(&queue, vb);
	}
	return (ktime_get_ns() - begin) / BUFFERS;
}

static int cost_get(void *data, u64 *ret)
{
	u32 i;

	*ret = U64_MAX;
	buffer.vb2_buf.vb2_queue = &queue;
	for (i = 0; i < BATCHES; i++) {
		*ret = min(*ret, batch());
		cond_resched();
	}
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(cost_fops, cost_get, NULL, "%llu\n");

static int __init cost_init(void)
{
	file = debugfs_create_file_unsafe("tsalign_cost", 0400, NULL, NULL,
					  &cost_fops);
	return 0;
}

static void __exit cost_exit(void)
{
	debugfs_remove(file);
}

module_init(cost_init);
module_exit(cost_exit);
MODULE_DESCRIPTION("What tsalign costs a V4L2 buffer");
MODULE_LICENSE("GPL");
