/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/feed.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>

#include <linux/pps.h>
#include <linux/ptp_clock.h>
#include <linux/tsalign.h>
#include <linux/videodev2.h>

#include "base/macros.h"
#include "base/sys.h"
#include "src/align_page.h"
#include "src/limits.h"

#define NS_PER_S UINT64_C(1000000000)
#define MHZ_PER_HZ UINT64_C(1000)
#define PTP_READINGS 9u

/* How a PTP clock is read: best first. */
enum ptp_way { PTP_PRECISE, PTP_EXTENDED, PTP_BESIDE, PTP_WAYS };

struct capture_feed {
	const struct sys_ops *sys;
	const struct feed_kind *kind;
	int fd; /* the device's */
	int tsalign_fd;
	int timer_fd; /* -EBADF: the device is polled itself */
	uint32_t id;
	enum ptp_way way;
	bool clear_edges; /* PPS */
	bool any;
	uint32_t sequence;    /* PPS: of the last pulse */
	uint64_t pulse_ns;    /* likewise, CLOCK_BOOTTIME, as of then */
	uint64_t second;      /* likewise, counted */
	uint32_t frames_next; /* FRAME_SYNC: the next event's number */
	struct capture_feed_stats stats;
};

struct feed_kind {
	uint32_t kind; /* the module's */
	uint32_t counter;
	uint32_t counter_bits;
	uint64_t nominal_mhz;
	int flags;  /* to open the device with */
	bool timed; /* looked at by a timer */
	int (*probe)(struct capture_feed *f);
	int (*turn)(struct capture_feed *f);
};

/* --- to the module -------------------------------------------------------- */

static int submit(struct capture_feed *f, clockid_t clock, uint64_t width_ns,
		  const struct tsalign_pair *pairs, uint32_t count)
{
	struct tsalign_submit s = {
		.id = f->id,
		.count = count,
		.clock = (uint32_t)clock,
		.error_ns = (uint32_t)MIN(width_ns, UINT32_MAX),
		.pairs = (uintptr_t)pairs,
	};
	int r = f->sys->ioctl(f->tsalign_fd, TSALIGN_IOC_SUBMIT, &s);

	if (r == -ESTALE) {
		f->stats.stale += count;
		return 0;
	}
	if (r < 0)
		return r;
	f->stats.pairs += count;
	f->stats.width_ns = width_ns;
	return (int)count;
}

/* --- PTP ------------------------------------------------------------------ */

/* Modulo 2^64: what a driver says is no reason to overflow. */
static uint64_t time_ns(int64_t s, int64_t ns)
{
	return (uint64_t)s * NS_PER_S + (uint64_t)ns;
}

static uint64_t ptp_ns(const struct ptp_clock_time *t)
{
	return time_ns(t->sec, t->nsec);
}

/* One reading: the system's clock was within @width_ns of @host_ns. */
struct reading {
	uint64_t device_ns;
	uint64_t host_ns;
	uint64_t width_ns;
};

/* Whichever was read between the nearest two; not those where time went back. */
static void take(struct reading *best, uint64_t before_ns, uint64_t device_ns,
		 uint64_t after_ns)
{
	uint64_t width_ns;

	if (after_ns < before_ns)
		return;
	width_ns = (after_ns - before_ns) / 2;
	if (width_ns >= best->width_ns)
		return;
	*best = (struct reading){
		.device_ns = device_ns,
		.host_ns = before_ns + width_ns,
		.width_ns = width_ns,
	};
}

static int read_precise(struct capture_feed *f, struct reading *ret)
{
	struct ptp_sys_offset_precise at = {0};
	int r = f->sys->ioctl(f->fd, PTP_SYS_OFFSET_PRECISE, &at);

	if (r == 0)
		take(ret, ptp_ns(&at.sys_realtime), ptp_ns(&at.device),
		     ptp_ns(&at.sys_realtime));
	return r;
}

static int read_extended(struct capture_feed *f, struct reading *ret)
{
	struct ptp_sys_offset_extended at = {.n_samples = PTP_READINGS};
	int r = f->sys->ioctl(f->fd, PTP_SYS_OFFSET_EXTENDED, &at);

	for (unsigned int i = 0; r == 0 && i < PTP_READINGS; i++)
		take(ret, ptp_ns(&at.ts[i][0]), ptp_ns(&at.ts[i][1]),
		     ptp_ns(&at.ts[i][2]));
	return r;
}

/* System's, device's, system's ... system's. */
static int read_beside(struct capture_feed *f, struct reading *ret)
{
	struct ptp_sys_offset at = {.n_samples = PTP_READINGS};
	int r = f->sys->ioctl(f->fd, PTP_SYS_OFFSET, &at);

	for (unsigned int i = 0; r == 0 && i < PTP_READINGS; i++)
		take(ret, ptp_ns(&at.ts[2 * i]), ptp_ns(&at.ts[2 * i + 1]),
		     ptp_ns(&at.ts[2 * i + 2]));
	return r;
}

static int ptp_read(struct capture_feed *f, struct reading *ret)
{
	static int (*const reads[PTP_WAYS])(struct capture_feed *,
					    struct reading *) = {
		read_precise,
		read_extended,
		read_beside,
	};

	*ret = (struct reading){.width_ns = UINT64_MAX};
	return reads[f->way](f, ret);
}

/* Drivers say -EOPNOTSUPP of what they have not, old kernels -ENOTTY. */
static int ptp_probe(struct capture_feed *f)
{
	struct reading at;
	int r = -EOPNOTSUPP;

	for (f->way = PTP_PRECISE; f->way < PTP_WAYS; f->way++) {
		r = ptp_read(f, &at);
		if (r != -EOPNOTSUPP && r != -ENOTTY && r != -EINVAL)
			break;
	}
	return r == -ENOTTY || r == -EINVAL ? -EOPNOTSUPP : r;
}

static int ptp_turn(struct capture_feed *f)
{
	struct tsalign_pair pair;
	struct reading at;
	int r = ptp_read(f, &at);

	/* A latch that was busy, a clock set in all nine: the next is near. */
	if (r == -EBUSY || r == -ETIMEDOUT ||
	    (r == 0 && at.width_ns == UINT64_MAX))
		return 0;
	if (r < 0)
		return r;
	pair = (struct tsalign_pair){
		.counter = at.device_ns,
		.host_ns = at.host_ns,
	};
	return submit(f, CLOCK_REALTIME, at.width_ns, &pair, 1);
}

/* --- PPS ------------------------------------------------------------------ */

/* A fetch that does not wait: what the last pulse was. */
static int pps_fetch(struct capture_feed *f, uint32_t *ret_sequence,
		     uint64_t *ret_ns)
{
	struct pps_fdata at = {0};
	const struct pps_ktime *t = f->clear_edges ? &at.info.clear_tu
						   : &at.info.assert_tu;
	int r = f->sys->ioctl(f->fd, PPS_FETCH, &at);

	if (r < 0)
		return r;
	*ret_sequence = f->clear_edges ? at.info.clear_sequence
				       : at.info.assert_sequence;
	*ret_ns = time_ns(t->sec, t->nsec);
	return 0;
}

static int pps_probe(struct capture_feed *f)
{
	struct pps_kparams params = {0};
	uint64_t ns;
	int r = f->sys->ioctl(f->fd, PPS_GETPARAMS, &params);

	if (r < 0)
		return r == -ENOTTY ? -EOPNOTSUPP : r;
	if (!(params.mode & PPS_CAPTUREBOTH))
		return -EINVAL;
	f->clear_edges = !(params.mode & PPS_CAPTUREASSERT);
	/* A pulse of long ago is no sample. */
	return pps_fetch(f, &f->sequence, &ns);
}

/* Pulses may have failed to come: seconds are what has gone by. */
static void pps_count(struct capture_feed *f, uint64_t ns)
{
	/* By a clock that nobody sets. */
	uint64_t boot_ns = ns + sys_now_ns(f->sys, CLOCK_BOOTTIME) -
			   sys_now_ns(f->sys, CLOCK_REALTIME);
	uint64_t gone_ns = boot_ns > f->pulse_ns ? boot_ns - f->pulse_ns : 0;

	if (f->any)
		f->second += MAX((gone_ns + NS_PER_S / 2) / NS_PER_S, 1u);
	f->any = true;
	f->pulse_ns = boot_ns;
}

static int pps_turn(struct capture_feed *f)
{
	struct tsalign_pair pair;
	uint32_t sequence;
	uint64_t ns;
	int r = pps_fetch(f, &sequence, &ns);

	if (r < 0)
		return r;
	if (sequence == f->sequence)
		return 0;
	f->sequence = sequence;
	pps_count(f, ns);
	pair = (struct tsalign_pair){
		.counter = f->second,
		.host_ns = ns,
	};
	return submit(f, CLOCK_REALTIME, 0, &pair, 1);
}

/* --- V4L2_EVENT_FRAME_SYNC ------------------------------------------------ */

static int fsync_probe(struct capture_feed *f)
{
	struct v4l2_event_subscription sub = {.type = V4L2_EVENT_FRAME_SYNC};
	int r = f->sys->ioctl(f->fd, VIDIOC_SUBSCRIBE_EVENT, &sub);

	return r == -EINVAL || r == -ENOTTY ? -EOPNOTSUPP : r;
}

/* Return: 1, 0: none waits, or an errno. */
static int fsync_next(struct capture_feed *f, struct tsalign_pair *ret_pair)
{
	struct v4l2_event e = {0};
	int r = f->sys->ioctl(f->fd, VIDIOC_DQEVENT, &e);

	if (r == -ENOENT || r == -EAGAIN)
		return 0;
	if (r < 0)
		return r;
	if (e.type != V4L2_EVENT_FRAME_SYNC)
		return -EPROTO; /* nothing else was subscribed to */
	if (f->any)
		f->stats.missed += (uint32_t)(e.sequence - f->frames_next);
	f->any = true;
	f->frames_next = e.sequence + 1;
	*ret_pair = (struct tsalign_pair){
		.counter = e.u.frame_sync.frame_sequence,
		.host_ns = time_ns(e.timestamp.tv_sec, e.timestamp.tv_nsec),
	};
	return 1;
}

static int fsync_turn(struct capture_feed *f)
{
	struct tsalign_pair pairs[CAPTURE_EVENTS_MAX];
	uint32_t count = 0;
	int r = 1;

	while (count < CAPTURE_EVENTS_MAX && r > 0) {
		r = fsync_next(f, &pairs[count]);
		if (r > 0)
			count++;
	}
	if (count)
		return submit(f, CLOCK_MONOTONIC, 0, pairs, count);
	return r;
}

/* --- all of them ---------------------------------------------------------- */

static const struct feed_kind kinds[] = {
	[CAPTURE_FEED_PTP] =
		{
			.kind = TSALIGN_PHC,
			.counter = TSALIGN_COUNT_TICKS,
			.counter_bits = 64,
			.nominal_mhz = NS_PER_S * MHZ_PER_HZ,
			/* udev's rule lets the group kvsd read, not set it. */
			.flags = O_RDONLY,
			.timed = true,
			.probe = ptp_probe,
			.turn = ptp_turn,
		},
	[CAPTURE_FEED_PPS] =
		{
			.kind = TSALIGN_PPS,
			.counter = TSALIGN_COUNT_EVENTS,
			.counter_bits = 64,
			.nominal_mhz = MHZ_PER_HZ,
			.flags = O_RDONLY,
			/* poll() of a PPS device is always ready before 6.13. */
			.timed = true,
			.probe = pps_probe,
			.turn = pps_turn,
		},
	[CAPTURE_FEED_FRAME_SYNC] =
		{
			.kind = TSALIGN_FSYNC,
			.counter = TSALIGN_COUNT_EVENTS,
			.counter_bits = 32,
			.flags = O_RDWR,
			.probe = fsync_probe,
			.turn = fsync_turn,
		},
};

static int open_timer(struct capture_feed *f)
{
	const struct itimerspec every = {
		.it_interval = {.tv_nsec = CAPTURE_FEED_PERIOD_NS},
		.it_value = {.tv_nsec = 1},
	};
	int r = f->sys->timerfd_create(CLOCK_MONOTONIC,
				       TFD_NONBLOCK | TFD_CLOEXEC);

	if (r < 0)
		return r;
	f->timer_fd = r;
	return f->sys->timerfd_settime(f->timer_fd, 0, &every);
}

static int open_stream(struct capture_feed *f, const char *name)
{
	struct tsalign_stream s = {
		.kind = f->kind->kind,
		.counter = f->kind->counter,
		.counter_bits = f->kind->counter_bits,
		.nominal_mhz = f->kind->nominal_mhz,
	};
	struct tsalign_info info = {0};
	int r;

	r = f->sys->openat(AT_FDCWD, ALIGN_DEVICE,
			   O_RDWR | O_CLOEXEC | O_NONBLOCK, 0);
	if (r < 0)
		return r == -ENOENT ? -ENODEV : r;
	f->tsalign_fd = r;
	r = f->sys->ioctl(f->tsalign_fd, TSALIGN_IOC_INFO, &info);
	if (r < 0)
		return r;
	if (info.abi != TSALIGN_ABI)
		return -EPROTO;
	memcpy(s.name, name, strlen(name));
	r = f->sys->ioctl(f->tsalign_fd, TSALIGN_IOC_CREATE, &s);
	f->id = s.id;
	return r;
}

static int open_all(struct capture_feed *f, const char *path, const char *name)
{
	int r = f->sys->openat(AT_FDCWD, path,
			       f->kind->flags | O_CLOEXEC | O_NONBLOCK, 0);

	if (r < 0)
		return r;
	f->fd = r;
	r = f->kind->probe(f);
	if (r == 0)
		r = open_stream(f, name);
	if (r == 0 && f->kind->timed)
		r = open_timer(f);
	return r;
}

int capture_feed_open(const struct sys_ops *sys, enum capture_feed_kind kind,
		      const char *path, const char *name,
		      struct capture_feed **ret_feed)
{
	struct capture_feed *f;
	int r;

	if (kind < CAPTURE_FEED_PTP || kind > CAPTURE_FEED_FRAME_SYNC ||
	    !name[0] || strlen(name) >= TSALIGN_NAME_BYTES)
		return -EINVAL;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->sys = sys ? sys : sys_posix();
	f->kind = &kinds[kind];
	f->fd = -EBADF;
	f->tsalign_fd = -EBADF;
	f->timer_fd = -EBADF;
	r = open_all(f, path, name);
	if (r < 0)
		(void)capture_feed_close(f);
	else
		*ret_feed = f;
	return r;
}

struct capture_feed *capture_feed_close(struct capture_feed *f)
{
	if (f) {
		sys_close(f->sys, &f->timer_fd);
		sys_close(f->sys, &f->tsalign_fd);
		sys_close(f->sys, &f->fd);
	}
	free(f);
	return NULL;
}

int capture_feed_fd(const struct capture_feed *f)
{
	return f->kind->timed ? f->timer_fd : f->fd;
}

short capture_feed_events(const struct capture_feed *f)
{
	return f->kind->timed ? POLLIN : POLLPRI;
}

int capture_feed_turn(struct capture_feed *f)
{
	uint64_t expired;

	if (f->kind->timed)
		(void)f->sys->read(f->timer_fd, &expired, sizeof(expired));
	return f->kind->turn(f);
}

void capture_feed_stats(const struct capture_feed *f,
			struct capture_feed_stats *ret_stats)
{
	*ret_stats = f->stats;
}
