/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clocks that the kernel module tsalign cannot hear by itself, since their
 * drivers tell no other driver of them: PTP clocks of network cards, PPS
 * devices, the frame-sync events of CSI receivers. They are read here and
 * given to the module (TSALIGN_IOC_SUBMIT), which fits them as it does V4L2's
 * queues: each is a stream of the one timeline, seen by kvsctl sync and by
 * whoever maps its page. A PTP clock may be the module's reference.
 *
 * `kvsctl feed` is this in a program.
 *
 *	r = capture_feed_open(NULL, CAPTURE_FEED_PTP, "/dev/ptp0", "phc0",
 *			       &feed);
 *	while (poll(&(struct pollfd){capture_feed_fd(feed),
 *				     capture_feed_events(feed)}, 1, -1) > 0)
 *		r = capture_feed_turn(feed);
 *
 * A clock is one thread's at a time.
 */
#ifndef CAPTURE_FEED_H
#define CAPTURE_FEED_H

#include <stdint.h>

#include <capture/api.h>

struct sys_ops;
struct capture_feed;

enum capture_feed_kind {
	/*
	 * /dev/ptpN. Its nanoseconds beside CLOCK_REALTIME, four times a
	 * second, by the best that the driver has: both latched at once
	 * (PTP_SYS_OFFSET_PRECISE), between two readings of the system's
	 * (_EXTENDED, nearest of nine), or beside them (PTP_SYS_OFFSET).
	 */
	CAPTURE_FEED_PTP = 1,
	/*
	 * /dev/ppsN. Seconds, counted from the first pulse on, at the times of
	 * its assert edges (or clear edges, where only those are captured):
	 * CLOCK_REALTIME, taken by the kernel. Pulses that did not come are
	 * counted too. Nothing is set up on the device.
	 */
	CAPTURE_FEED_PPS,
	/*
	 * A V4L2 node or subdevice with V4L2_EVENT_FRAME_SYNC: frame numbers at
	 * starts of frames, CLOCK_MONOTONIC, taken by its driver.
	 */
	CAPTURE_FEED_FRAME_SYNC
};

struct capture_feed_stats {
	uint64_t pairs;	 /* that the module took */
	uint64_t stale;	 /* it did not: the system's clock was set meanwhile */
	uint64_t missed; /* FRAME_SYNC: events the queue had no room for */
	uint64_t width_ns; /* of the last reading: how far it may be off */
};

/**
 * capture_feed_open() - open a clock and make its stream
 * @sys: system calls, or NULL
 * @path: of the device
 * @name: of the stream: letters, digits, '-', '_', '.'; at most 31, unique
 *
 * /dev/tsalign is opened for writing, which udev's rule leaves to root and the
 * group kvsd. The stream lives until capture_feed_close().
 *
 * Return: 0, -EINVAL (@kind, @name; a PPS device that captures no edge),
 * -EEXIST (the name is taken), -ENOSPC (the module has no slot), -EPROTO (a
 * module of another version), -EOPNOTSUPP (the device has no such thing),
 * -ENOMEM; else the errno of open(): -ENODEV for /dev/tsalign that is not
 * there, others as they are.
 */
CAPTURE_API int
capture_feed_open(const struct sys_ops *sys, enum capture_feed_kind kind,
		  const char *path, const char *name,
		  struct capture_feed **ret_feed) CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. The stream goes. */
CAPTURE_API struct capture_feed *capture_feed_close(struct capture_feed *feed);

/* To poll for capture_feed_events(), then call capture_feed_turn(). */
CAPTURE_API int capture_feed_fd(const struct capture_feed *feed);
CAPTURE_API short capture_feed_events(const struct capture_feed *feed);

/**
 * capture_feed_turn() - read what there is and give it to the module
 *
 * Return: how many pairs it took (0: nothing new), or a negative errno:
 * -ENODEV, the device or the module has gone. Nothing is lost by calling again
 * after any other.
 */
CAPTURE_API int capture_feed_turn(struct capture_feed *feed) CAPTURE_MUST_CHECK;

/* What it has given so far. */
CAPTURE_API void capture_feed_stats(const struct capture_feed *feed,
				    struct capture_feed_stats *ret_stats);

#endif
