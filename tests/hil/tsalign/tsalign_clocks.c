// SPDX-License-Identifier: GPL-2.0-only
/*
 * For guests alone: a PTP clock and a receiver with frame-sync events, whose
 * truth is known.
 *
 * The clock is at BOOTTIME + BOOTTIME / 10000 (100 ppm fast) + 37 s. With
 * precise=1 its driver latches both clocks at once, else it is read between
 * two readings of the system's.
 *
 * The receiver starts a frame each 33,333,333 ns of CLOCK_BOOTTIME, number n at
 * n times that.
 */
#include <linux/hrtimer.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/ptp_clock_kernel.h>
#include <linux/timekeeping.h>
#include <media/v4l2-ctrls.h>
#include <media/v4l2-dev.h>
#include <media/v4l2-device.h>
#include <media/v4l2-event.h>
#include <media/v4l2-fh.h>
#include <media/v4l2-ioctl.h>

#define AHEAD_NS	(37 * NSEC_PER_SEC)
#define FRAME_NS	33333333
#define EVENTS		16

static bool precise;
module_param(precise, bool, 0444);
MODULE_PARM_DESC(precise, "the clock's driver latches both clocks");

/* --- the PTP clock -------------------------------------------------------- */

static struct timespec64 phc_time(u64 boot_ns)
{
	return ns_to_timespec64(boot_ns + div_u64(boot_ns, 10000) + AHEAD_NS);
}

static int phc_gettimex64(struct ptp_clock_info *info, struct timespec64 *ts,
			  struct ptp_system_timestamp *sts)
{
	ptp_read_system_prets(sts);
	*ts = phc_time(ktime_get_boottime_ns());
	ptp_read_system_postts(sts);
	return 0;
}

static int phc_getcrosststamp(struct ptp_clock_info *info,
			      struct system_device_crosststamp *cts)
{
	struct system_time_snapshot now;
	ktime_t boot;

	ktime_get_snapshot(&now);
	boot = ktime_add(ktime_sub(now.real, ktime_mono_to_any(0, TK_OFFS_REAL)),
			 ktime_mono_to_any(0, TK_OFFS_BOOT));
	cts->sys_realtime = now.real;
	cts->sys_monoraw = now.raw;
	cts->device = timespec64_to_ktime(phc_time(ktime_to_ns(boot)));
	return 0;
}

static int phc_enable(struct ptp_clock_info *info,
		      struct ptp_clock_request *request, int on)
{
	return -EOPNOTSUPP;
}

static struct ptp_clock_info phc_info = {
	.owner = THIS_MODULE,
	.name = "tsalign test",
	.gettimex64 = phc_gettimex64,
	.enable = phc_enable,
};

static struct ptp_clock *phc;

/* --- the receiver --------------------------------------------------------- */

static struct v4l2_device receiver;
static struct video_device node;
static struct hrtimer frames;

static int subscribe(struct v4l2_fh *fh,
		     const struct v4l2_event_subscription *sub)
{
	if (sub->type != V4L2_EVENT_FRAME_SYNC)
		return -EINVAL;
	return v4l2_event_subscribe(fh, sub, EVENTS, NULL);
}

static int querycap(struct file *file, void *fh, struct v4l2_capability *cap)
{
	strscpy(cap->driver, "tsalign_clocks", sizeof(cap->driver));
	strscpy(cap->card, "tsalign_clocks", sizeof(cap->card));
	return 0;
}

static const struct v4l2_ioctl_ops ioctl_ops = {
	.vidioc_querycap = querycap,
	.vidioc_subscribe_event = subscribe,
	.vidioc_unsubscribe_event = v4l2_event_unsubscribe,
};

static const struct v4l2_file_operations file_ops = {
	.owner = THIS_MODULE,
	.open = v4l2_fh_open,
	.release = v4l2_fh_release,
	.poll = v4l2_ctrl_poll,
	.unlocked_ioctl = video_ioctl2,
};

static enum hrtimer_restart frame_starts(struct hrtimer *timer)
{
	u64 n = div_u64(ktime_to_ns(hrtimer_get_expires(timer)), FRAME_NS);
	struct v4l2_event event = {
		.type = V4L2_EVENT_FRAME_SYNC,
		.u.frame_sync.frame_sequence = n,
	};

	v4l2_event_queue(&node, &event);
	/* One that was missed has no event: its number is left out. */
	hrtimer_forward_now(timer, ns_to_ktime(FRAME_NS));
	return HRTIMER_RESTART;
}

static int receiver_add(void)
{
	u64 n = div_u64(ktime_get_boottime_ns(), FRAME_NS) + 1;
	int r;

	strscpy(receiver.name, "tsalign_clocks", sizeof(receiver.name));
	r = v4l2_device_register(NULL, &receiver);
	if (r)
		return r;
	strscpy(node.name, "tsalign_clocks", sizeof(node.name));
	node.v4l2_dev = &receiver;
	node.fops = &file_ops;
	node.ioctl_ops = &ioctl_ops;
	node.release = video_device_release_empty;
	node.device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
	r = video_register_device(&node, VFL_TYPE_VIDEO, -1);
	if (r) {
		v4l2_device_unregister(&receiver);
		return r;
	}
	hrtimer_init(&frames, CLOCK_BOOTTIME, HRTIMER_MODE_ABS);
	frames.function = frame_starts;
	hrtimer_start(&frames, ns_to_ktime(n * FRAME_NS), HRTIMER_MODE_ABS);
	return 0;
}

/* --- both ----------------------------------------------------------------- */

static int __init clocks_init(void)
{
	int r;

	if (precise)
		phc_info.getcrosststamp = phc_getcrosststamp;
	phc = ptp_clock_register(&phc_info, NULL);
	if (IS_ERR_OR_NULL(phc))
		return phc ? PTR_ERR(phc) : -EOPNOTSUPP;
	r = receiver_add();
	if (r)
		ptp_clock_unregister(phc);
	return r;
}

static void __exit clocks_exit(void)
{
	hrtimer_cancel(&frames);
	video_unregister_device(&node);
	v4l2_device_unregister(&receiver);
	ptp_clock_unregister(phc);
}

module_init(clocks_init);
module_exit(clocks_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("PTP clock and frame-sync events for tsalign's tests");
