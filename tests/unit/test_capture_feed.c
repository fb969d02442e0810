/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks that are read and submitted: PTP by the best way that a driver has,
 * PPS by seconds gone, frame-sync events in bunches. The machine is made up.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include <cmocka.h>

#include <linux/pps.h>
#include <linux/ptp_clock.h>
#include <linux/tsalign.h>
#include <linux/videodev2.h>

#include <capture/feed.h>

#include "base/macros.h"
#include "base/sys.h"

#define S INT64_C(1000000000)
#define PAIRS_MAX 512

enum { CLOCK_FD = 100, TSALIGN_FD, TIMER_FD };

static struct {
	struct sys_ops ops;
	bool no_module;
	int create;		/* result */
	int submit;
	unsigned int opened;	/* descriptors open now */
	int clock_flags;	/* it was opened for that */
	struct tsalign_stream stream;
	struct tsalign_submit submits[PAIRS_MAX];
	struct tsalign_pair pairs[PAIRS_MAX];
	size_t pair_count;
	size_t submit_count;

	int precise;		/* result */
	int extended;
	int beside;
	int64_t phc_ns;
	int64_t real_ns;
	int64_t widths[9];	/* of the nine readings */

	int mode;		/* PPS */
	uint32_t sequence;
	int64_t pulse_ns;
	int64_t boot_ns;	/* CLOCK_BOOTTIME - CLOCK_REALTIME */

	uint32_t events;	/* that wait */
	uint32_t event_sequence;
	uint32_t frame;
} fake;

static int fake_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	(void)dirfd;
	(void)mode;
	assert_true(flags & O_CLOEXEC);
	if (strcmp(path, "/dev/tsalign"))
		fake.clock_flags = flags & O_ACCMODE;
	else
		assert_int_equal(flags & O_ACCMODE, O_RDWR);
	if (!strcmp(path, "/dev/tsalign") && fake.no_module)
		return -ENOENT;
	fake.opened++;
	return strcmp(path, "/dev/tsalign") ? CLOCK_FD : TSALIGN_FD;
}

static int fake_close(int fd)
{
	assert_in_range(fd, CLOCK_FD, TIMER_FD);
	fake.opened--;
	return 0;
}

static struct ptp_clock_time ptp_time(int64_t ns)
{
	return (struct ptp_clock_time){.sec = ns / S, .nsec = (uint32_t)(ns % S)};
}

/* The i-th reading lies @widths[i] between two of the system's clock. */
static void fill_extended(struct ptp_sys_offset_extended *at)
{
	assert_int_equal(at->n_samples, 9);
	for (unsigned int i = 0; i < at->n_samples; i++) {
		int64_t middle = (int64_t)i * 1000000;

		at->ts[i][0] = ptp_time(fake.real_ns + middle - fake.widths[i]);
		at->ts[i][1] = ptp_time(fake.phc_ns + middle);
		at->ts[i][2] = ptp_time(fake.real_ns + middle + fake.widths[i]);
	}
}

static void fill_beside(struct ptp_sys_offset *at)
{
	assert_int_equal(at->n_samples, 9);
	for (unsigned int i = 0; i <= at->n_samples; i++) {
		at->ts[2 * i] = ptp_time(fake.real_ns + (int64_t)i * 2000);
		if (i < at->n_samples)
			at->ts[2 * i + 1] =
				ptp_time(fake.phc_ns + (int64_t)i * 2000 + 1000);
	}
}

static int fake_submit(const struct tsalign_submit *s)
{
	const struct tsalign_pair *pairs = (void *)(uintptr_t)s->pairs;

	assert_int_equal(s->id, 5);
	assert_int_equal(s->flags, 0);
	if (fake.submit < 0)
		return fake.submit;
	assert_true(fake.pair_count + s->count <= PAIRS_MAX);
	memcpy(&fake.pairs[fake.pair_count], pairs, s->count * sizeof(*pairs));
	fake.pair_count += s->count;
	fake.submits[fake.submit_count++] = *s;
	return 0;
}

static int module_ioctl(unsigned long request, void *arg)
{
	switch (request) {
	case TSALIGN_IOC_INFO:
		((struct tsalign_info *)arg)->abi = TSALIGN_ABI;
		return 0;
	case TSALIGN_IOC_CREATE:
		fake.stream = *(struct tsalign_stream *)arg;
		((struct tsalign_stream *)arg)->id = 5;
		return fake.create;
	case TSALIGN_IOC_SUBMIT:
		return fake_submit(arg);
	}
	return -ENOTTY;
}

static int next_event(struct v4l2_event *e)
{
	if (!fake.events)
		return -ENOENT;
	fake.events--;
	*e = (struct v4l2_event){
		.type = V4L2_EVENT_FRAME_SYNC,
		.sequence = fake.event_sequence++,
		.timestamp = {.tv_sec = 7, .tv_nsec = (long)fake.frame},
		.u.frame_sync.frame_sequence = fake.frame,
	};
	fake.frame++;
	return 0;
}

static int pps_ioctl(unsigned long request, void *arg)
{
	struct pps_fdata *at = arg;

	if (!fake.mode)
		return -ENOTTY;
	if (request == PPS_GETPARAMS) {
		((struct pps_kparams *)arg)->mode = fake.mode;
		return 0;
	}
	/* It must not wait. */
	assert_int_equal(at->timeout.flags & PPS_TIME_INVALID, 0);
	assert_int_equal(at->timeout.sec, 0);
	at->info.assert_sequence = fake.sequence;
	at->info.assert_tu.sec = fake.pulse_ns / S;
	at->info.assert_tu.nsec = (int)(fake.pulse_ns % S);
	at->info.clear_sequence = fake.sequence + 1000;
	at->info.clear_tu.sec = fake.pulse_ns / S;
	at->info.clear_tu.nsec = (int)(fake.pulse_ns % S) + 100;
	return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	if (fd == TSALIGN_FD)
		return module_ioctl(request, arg);
	assert_int_equal(fd, CLOCK_FD);
	switch (request) {
	case PTP_SYS_OFFSET_PRECISE:
		((struct ptp_sys_offset_precise *)arg)->device =
			ptp_time(fake.phc_ns);
		((struct ptp_sys_offset_precise *)arg)->sys_realtime =
			ptp_time(fake.real_ns);
		return fake.precise;
	case PTP_SYS_OFFSET_EXTENDED:
		fill_extended(arg);
		return fake.extended;
	case PTP_SYS_OFFSET:
		fill_beside(arg);
		return fake.beside;
	case PPS_GETPARAMS:
	case PPS_FETCH:
		return pps_ioctl(request, arg);
	case VIDIOC_SUBSCRIBE_EVENT:
		return fake.events == UINT32_MAX ? -EINVAL : 0;
	case VIDIOC_DQEVENT:
		return next_event(arg);
	}
	return -ENOTTY;
}

static int fake_timerfd_create(clockid_t clock, int flags)
{
	(void)clock;
	(void)flags;
	fake.opened++;
	return TIMER_FD;
}

static int fake_timerfd_settime(int fd, int flags,
				const struct itimerspec *value)
{
	(void)flags;
	assert_int_equal(fd, TIMER_FD);
	assert_true(value->it_interval.tv_nsec > 0);
	return 0;
}

static ssize_t fake_read(int fd, void *bytes, size_t len)
{
	assert_int_equal(fd, TIMER_FD);
	memset(bytes, 1, len);
	return (ssize_t)len;
}

static int fake_clock_gettime(clockid_t clock, struct timespec *ret)
{
	int64_t ns = 1000 * S + (clock == CLOCK_BOOTTIME ? fake.boot_ns : 0);

	*ret = (struct timespec){.tv_sec = ns / S, .tv_nsec = ns % S};
	return 0;
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake.ops = *sys_posix();
	fake.ops.openat = fake_openat;
	fake.ops.close = fake_close;
	fake.ops.ioctl = fake_ioctl;
	fake.ops.timerfd_create = fake_timerfd_create;
	fake.ops.timerfd_settime = fake_timerfd_settime;
	fake.ops.read = fake_read;
	fake.ops.clock_gettime = fake_clock_gettime;
	fake.boot_ns = -100 * S;
	fake.phc_ns = 37 * S + 5;
	fake.real_ns = 900 * S;
	for (unsigned int i = 0; i < ARRAY_SIZE(fake.widths); i++)
		fake.widths[i] = 500 - 10 * (int64_t)i;
	return 0;
}

static struct capture_feed *open_feed(enum capture_feed_kind kind)
{
	struct capture_feed *f = NULL;

	assert_int_equal(capture_feed_open(&fake.ops, kind, "/dev/clock0",
					   "clock-0", &f), 0);
	assert_string_equal(fake.stream.name, "clock-0");
	/* Who may read a clock need not be able to set it. */
	assert_int_equal(fake.clock_flags,
			 kind == CAPTURE_FEED_FRAME_SYNC ? O_RDWR : O_RDONLY);
	return f;
}

static int refused(enum capture_feed_kind kind, const char *name)
{
	struct capture_feed *f = NULL;
	int r = capture_feed_open(&fake.ops, kind, "/dev/clock0", name, &f);

	assert_null(f);
	assert_int_equal(fake.opened, 0); /* nothing is left open */
	return r;
}

/* --- PTP ------------------------------------------------------------------ */

static void ptp_takes_what_was_latched(void **state)
{
	struct capture_feed *f = open_feed(CAPTURE_FEED_PTP);

	(void)state;
	assert_int_equal(fake.stream.kind, TSALIGN_PHC);
	assert_int_equal(fake.stream.counter, TSALIGN_COUNT_TICKS);
	assert_true(fake.stream.nominal_mhz == 1000 * (uint64_t)S);
	assert_int_equal(capture_feed_fd(f), TIMER_FD);
	assert_int_equal(capture_feed_turn(f), 1);
	assert_true(fake.pairs[0].counter == (uint64_t)fake.phc_ns);
	assert_true(fake.pairs[0].host_ns == (uint64_t)fake.real_ns);
	assert_int_equal(fake.submits[0].clock, CLOCK_REALTIME);
	assert_int_equal(fake.submits[0].error_ns, 0);
	assert_null(capture_feed_close(f));
	assert_int_equal(fake.opened, 0);
}

static void ptp_takes_the_nearest_of_nine(void **state)
{
	struct capture_feed *f;

	(void)state;
	fake.precise = -EOPNOTSUPP;
	fake.widths[3] = 60;
	fake.widths[4] = -50; /* the clock was set back in between */
	f = open_feed(CAPTURE_FEED_PTP);
	assert_int_equal(capture_feed_turn(f), 1);
	assert_true(fake.pairs[0].counter == (uint64_t)fake.phc_ns + 3000000);
	assert_true(fake.pairs[0].host_ns == (uint64_t)fake.real_ns + 3000000);
	assert_int_equal(fake.submits[0].error_ns, 60);
	(void)capture_feed_close(f);
}

static void ptp_of_an_old_driver_is_read_beside(void **state)
{
	struct capture_feed *f;

	(void)state;
	fake.precise = -ENOTTY;
	fake.extended = -EOPNOTSUPP;
	f = open_feed(CAPTURE_FEED_PTP);
	assert_int_equal(capture_feed_turn(f), 1);
	/* Read 1 us after the first and before the second. */
	assert_true(fake.pairs[0].counter == (uint64_t)fake.phc_ns + 1000);
	assert_true(fake.pairs[0].host_ns == (uint64_t)fake.real_ns + 1000);
	assert_int_equal(fake.submits[0].error_ns, 1000);
	(void)capture_feed_close(f);
}

static void ptp_goes_on_after_a_reading_that_failed(void **state)
{
	struct capture_feed *f = open_feed(CAPTURE_FEED_PTP);
	struct capture_feed_stats stats;

	(void)state;
	fake.precise = -EBUSY;
	assert_int_equal(capture_feed_turn(f), 0);
	fake.precise = 0;
	fake.submit = -ESTALE;
	assert_int_equal(capture_feed_turn(f), 0);
	fake.submit = 0;
	assert_int_equal(capture_feed_turn(f), 1);
	capture_feed_stats(f, &stats);
	assert_int_equal(stats.pairs, 1);
	assert_int_equal(stats.stale, 1);
	fake.precise = -ENODEV;
	assert_int_equal(capture_feed_turn(f), -ENODEV);
	(void)capture_feed_close(f);
}

/* --- PPS ------------------------------------------------------------------ */

static void pulse(uint32_t seconds_later)
{
	fake.sequence++;
	fake.pulse_ns += seconds_later * S;
}

static void pps_counts_seconds_that_went_by(void **state)
{
	struct capture_feed *f;

	(void)state;
	fake.mode = PPS_CAPTUREASSERT;
	fake.sequence = 41;
	fake.pulse_ns = 800 * S;
	f = open_feed(CAPTURE_FEED_PPS);
	assert_int_equal(fake.stream.kind, TSALIGN_PPS);
	assert_int_equal(capture_feed_turn(f), 0); /* that was before */
	pulse(1);
	assert_int_equal(capture_feed_turn(f), 1);
	assert_int_equal(capture_feed_turn(f), 0);
	pulse(1);
	assert_int_equal(capture_feed_turn(f), 1);
	pulse(3); /* two did not come */
	assert_int_equal(capture_feed_turn(f), 1);
	assert_int_equal(fake.pairs[0].counter, 0);
	assert_int_equal(fake.pairs[1].counter, 1);
	assert_int_equal(fake.pairs[2].counter, 4);
	assert_true(fake.pairs[2].host_ns == (uint64_t)(805 * S));
	assert_int_equal(fake.submits[2].clock, CLOCK_REALTIME);
	(void)capture_feed_close(f);
}

static void pps_keeps_count_when_the_clock_is_set(void **state)
{
	struct capture_feed *f;

	(void)state;
	fake.mode = PPS_CAPTUREASSERT;
	fake.pulse_ns = 800 * S;
	f = open_feed(CAPTURE_FEED_PPS);
	pulse(1);
	assert_int_equal(capture_feed_turn(f), 1);
	/* An hour on, within a second; BOOTTIME goes its way. */
	pulse(3601);
	fake.boot_ns -= 3600 * S;
	assert_int_equal(capture_feed_turn(f), 1);
	assert_int_equal(fake.pairs[1].counter, 1);
	/* And a day back. */
	pulse(1);
	fake.pulse_ns -= 86400 * S;
	fake.boot_ns += 86400 * S;
	assert_int_equal(capture_feed_turn(f), 1);
	assert_int_equal(fake.pairs[2].counter, 2);
	(void)capture_feed_close(f);
}

static void pps_of_clear_edges_and_of_none(void **state)
{
	struct capture_feed *f;

	(void)state;
	fake.mode = PPS_CAPTURECLEAR;
	fake.pulse_ns = 800 * S;
	f = open_feed(CAPTURE_FEED_PPS);
	pulse(1);
	assert_int_equal(capture_feed_turn(f), 1);
	assert_true(fake.pairs[0].host_ns == (uint64_t)(801 * S) + 100);
	(void)capture_feed_close(f);
	fake.mode = PPS_CANWAIT;
	assert_int_equal(refused(CAPTURE_FEED_PPS, "pps"), -EINVAL);
	fake.mode = 0;
	assert_int_equal(refused(CAPTURE_FEED_PPS, "pps"), -EOPNOTSUPP);
}

/* --- frame sync ----------------------------------------------------------- */

static void frame_sync_events_go_together(void **state)
{
	struct capture_feed *f = open_feed(CAPTURE_FEED_FRAME_SYNC);
	struct capture_feed_stats stats;

	(void)state;
	assert_int_equal(fake.stream.kind, TSALIGN_FSYNC);
	assert_int_equal(fake.stream.counter_bits, 32);
	assert_int_equal(capture_feed_fd(f), CLOCK_FD);
	assert_int_equal(capture_feed_events(f), POLLPRI);
	assert_int_equal(capture_feed_turn(f), 0);
	fake.events = 3;
	fake.frame = 70;
	assert_int_equal(capture_feed_turn(f), 3);
	assert_int_equal(fake.submit_count, 1);
	assert_int_equal(fake.submits[0].clock, CLOCK_MONOTONIC);
	assert_int_equal(fake.pairs[2].counter, 72);
	assert_true(fake.pairs[2].host_ns == (uint64_t)(7 * S) + 72);
	/* The queue was full for two. */
	fake.event_sequence += 2;
	fake.events = 1;
	assert_int_equal(capture_feed_turn(f), 1);
	capture_feed_stats(f, &stats);
	assert_int_equal(stats.missed, 2);
	/* No turn is without end. */
	fake.events = 400;
	assert_in_range(capture_feed_turn(f), 1, 64);
	assert_true(fake.events > 300);
	(void)capture_feed_close(f);
	fake.events = UINT32_MAX;
	assert_int_equal(refused(CAPTURE_FEED_FRAME_SYNC, "sync"), -EOPNOTSUPP);
}

/* --- all ------------------------------------------------------------------ */

static void what_is_wrong_is_said(void **state)
{
	(void)state;
	assert_int_equal(refused(0, "a"), -EINVAL);
	assert_int_equal(refused(4, "a"), -EINVAL);
	assert_int_equal(refused(CAPTURE_FEED_PTP, ""), -EINVAL);
	assert_int_equal(refused(CAPTURE_FEED_PTP,
				 "a-name-of-32-characters-is-one--"), -EINVAL);
	fake.create = -EEXIST;
	assert_int_equal(refused(CAPTURE_FEED_PTP, "a"), -EEXIST);
	fake.create = 0;
	fake.no_module = true;
	assert_int_equal(refused(CAPTURE_FEED_PTP, "a"), -ENODEV);
	fake.precise = -EOPNOTSUPP;
	fake.extended = -ENOTTY;
	fake.beside = -ENOTTY;
	assert_int_equal(refused(CAPTURE_FEED_PTP, "a"), -EOPNOTSUPP);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		CASE(ptp_takes_what_was_latched),
		CASE(ptp_takes_the_nearest_of_nine),
		CASE(ptp_of_an_old_driver_is_read_beside),
		CASE(ptp_goes_on_after_a_reading_that_failed),
		CASE(pps_counts_seconds_that_went_by),
		CASE(pps_keeps_count_when_the_clock_is_set),
		CASE(pps_of_clear_edges_and_of_none),
		CASE(frame_sync_events_go_together),
		CASE(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
