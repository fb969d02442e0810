// SPDX-License-Identifier: GPL-2.0-only
/*
 * For guests alone: what tsalign.ko costs a V4L2 buffer. Fires vb2's and
 * V4L2's own tracepoints for a made-up queue, as they do for each buffer.
 *
 * debugfs, /sys/kernel/debug/, nanoseconds of all that one buffer fires,
 * without what the two readings of the clock around it cost:
 *	tsalign_cost		4 MiB of other data are read between two buffers
 *	tsalign_cost_asleep	buffers come at 1 kHz, and the guest sleeps in
 *				between: others on the host have the processor
 * Each is the least of twelve means of 1,000 buffers, without the hundredth in
 * which the host did something else.
 */
#include <linux/debugfs.h>
#include <linux/hrtimer.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/sort.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>
#include <media/videobuf2-v4l2.h>
#include <trace/events/vb2.h>

#define BUFFERS	1000
#define ROUNDS	12
#define WALK	(4 << 20)	/* bytes, more than a second-level cache */
#define NO_MINOR 0xffff	/* no device has it */

static struct dentry *files[2];
static u8 *other;
static struct vb2_queue queue = {
	.type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
	.timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC,
	.buf_struct_size = sizeof(struct vb2_v4l2_buffer),
	.name = "made up",
};
static struct vb2_v4l2_buffer buffer;

/* V4L2 exports these two to nobody. */
static struct tracepoint *v4l2_tps[2];
static const char *const v4l2_names[] = { "v4l2_qbuf", "v4l2_dqbuf" };
static struct v4l2_buffer v4l2;

static void find(struct tracepoint *tp, void *unused)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(v4l2_names); i++)
		if (!strcmp(tp->name, v4l2_names[i]))
			v4l2_tps[i] = tp;
}

static void fire_v4l2(struct tracepoint *tp)
{
	struct tracepoint_func *f;

	preempt_disable_notrace();
	f = tp ? rcu_dereference_raw(tp->funcs) : NULL;
	for (; f && f->func; f++)
		((void (*)(void *, int, struct v4l2_buffer *))f->func)
			(f->data, NO_MINOR, &v4l2);
	preempt_enable_notrace();
}

static u64 begun_ns;
static u32 period_ns;
static u32 took[BUFFERS];
static u32 clocks[BUFFERS];

static u32 fire(u32 i)
{
	struct vb2_buffer *vb = &buffer.vb2_buf;
	u64 begin;

	vb->index = i % 4;
	v4l2.index = i % 4;
	begin = ktime_get_ns();
	/* As a sensor's own clock counts, which does not wait for the host. */
	buffer.sequence = max_t(u64, buffer.sequence + 1,
				div_u64(begin - begun_ns, period_ns));
	begin = ktime_get_ns();
	vb->state = VB2_BUF_STATE_QUEUED;
	trace_vb2_qbuf(&queue, vb);
	fire_v4l2(v4l2_tps[0]);
	vb->state = VB2_BUF_STATE_DONE;
	trace_vb2_buf_done(&queue, vb);
	trace_vb2_dqbuf(&queue, vb);
	fire_v4l2(v4l2_tps[1]);
	return min_t(u64, ktime_get_ns() - begin, U32_MAX);
}

static int less(const void *a, const void *b)
{
	return (int)(*(const u32 *)a > *(const u32 *)b) -
	       (int)(*(const u32 *)a < *(const u32 *)b);
}

static u32 mean(u32 *values)
{
	u64 sum = 0;
	u32 i;

	sort(values, BUFFERS, sizeof(values[0]), less, NULL);
	for (i = 0; i < BUFFERS * 99 / 100; i++)
		sum += values[i];
	return div_u64(sum, BUFFERS * 99 / 100);
}

static void walk(void)
{
	u32 sum = 0;
	u32 i;

	for (i = 0; i < WALK; i += 64)
		sum += READ_ONCE(other[i]);
	/* Kept, or the compiler may not read. */
	WRITE_ONCE(other[0], (u8)sum);
}

static u32 round_cost(bool asleep)
{
	ktime_t due = ktime_get();
	u32 own;
	u32 all;
	u32 i;

	for (i = 0; i < BUFFERS; i++) {
		u64 begin = ktime_get_ns();

		clocks[i] = min_t(u64, ktime_get_ns() - begin, U32_MAX);
		took[i] = fire(i);
		if (!asleep) {
			walk();
			cond_resched();
			continue;
		}
		due = ktime_add_us(due, 1000);
		set_current_state(TASK_UNINTERRUPTIBLE);
		schedule_hrtimeout(&due, HRTIMER_MODE_ABS);
	}
	all = mean(took);
	own = mean(clocks);
	return all > own ? all - own : 0;
}

static int cost_of(bool asleep, u64 *ret)
{
	u32 i;

	if (!v4l2_tps[0] || !v4l2_tps[1])
		return -ENOENT;
	buffer.vb2_buf.vb2_queue = &queue;
	/* Streaming again: an epoch of its own. */
	buffer.sequence = 0;
	begun_ns = ktime_get_ns();
	period_ns = asleep ? NSEC_PER_MSEC : NSEC_PER_MSEC / 10;
	*ret = U64_MAX;
	for (i = 0; i < ROUNDS; i++) {
		u64 cost = round_cost(asleep);

		*ret = min(*ret, cost);
	}
	return 0;
}
static int cost_get(void *data, u64 *ret)
{
	return cost_of(false, ret);
}
DEFINE_DEBUGFS_ATTRIBUTE(cost_fops, cost_get, NULL, "%llu\n");

static int asleep_get(void *data, u64 *ret)
{
	return cost_of(true, ret);
}
DEFINE_DEBUGFS_ATTRIBUTE(asleep_fops, asleep_get, NULL, "%llu\n");

static int __init cost_init(void)
{
	v4l2.type = queue.type;
	for_each_kernel_tracepoint(find, NULL);
	other = vzalloc(WALK);
	if (!other)
		return -ENOMEM;
	files[0] = debugfs_create_file_unsafe("tsalign_cost", 0400, NULL, NULL,
					      &cost_fops);
	files[1] = debugfs_create_file_unsafe("tsalign_cost_asleep", 0400, NULL,
					      NULL, &asleep_fops);
	return 0;
}

static void __exit cost_exit(void)
{
	debugfs_remove(files[0]);
	debugfs_remove(files[1]);
	vfree(other);
}

module_init(cost_init);
module_exit(cost_exit);
MODULE_DESCRIPTION("What tsalign costs a V4L2 buffer");
MODULE_LICENSE("GPL");
