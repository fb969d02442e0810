/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One timeline for all sensors. A stamp is late by what interrupts, queues
 * and buses cost that time; the sensor's own count (sequence, samples, ticks)
 * is not. So each frame's time is read off a line that was fitted to the
 * counts and stamps of many: struct capture_aligned in capture/frame.h.
 *
 * Who fits: the kernel module tsalign, where it is loaded. It hears of each
 * V4L2 buffer at its interrupt; counters of other sensors (records, samples,
 * scans) are given to it, for which /dev/tsalign must be writable (udev's rule:
 * the group kvsd). Else the same estimator
 * inside this library, from the stamps of the frames that were dequeued. The
 * latter knows less, and its sigma says so. Every source of this library has
 * an aligner; frames come with their aligned time.
 *
 * Which moment of a frame that is, a source's settings say (struct
 * capture_align_setting in capture/settings.h): as it is stamped, unless asked
 * or unless the device tree says so. The module applies the rule where we may
 * write to /dev/tsalign and it has none of the device tree; it is put back at
 * the end. Else the same offset is added here, never both. A new offset, as an
 * exposure was changed, holds from the frame on that it is read with: it opens
 * no epoch, but for one of the module that is more than half a frame; time
 * does not go back within one.
 *
 * Times are nanoseconds of CLOCK_BOOTTIME. A module that was told to refer to
 * CLOCK_TAI is brought to it; one that refers to a PTP clock is not used for
 * frames (its state is shown all the same).
 */
#ifndef CAPTURE_ALIGN_H
#define CAPTURE_ALIGN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/frame.h>
#include <capture/settings.h>

struct capture_align;
struct capture_source;
struct capture_timeline;

#define CAPTURE_ALIGN_NAME_BYTES 32
/* Streams that a module can have. */
#define CAPTURE_ALIGN_STREAMS_MAX 64

enum capture_align_state {
	CAPTURE_ALIGN_FREE = 0, /* nothing there */
	CAPTURE_ALIGN_WAITING,	/* too few samples: the line does not hold */
	CAPTURE_ALIGN_COARSE,	/* holds; sigma still shrinks */
	CAPTURE_ALIGN_LOCKED,
	CAPTURE_ALIGN_HOLDOVER, /* holds; nothing came lately, sigma grows */
	CAPTURE_ALIGN_GONE	/* unplugged */
};

/* "waiting", "locked" ...; "?" for any other value. */
CAPTURE_API const char *
capture_align_state_name(enum capture_align_state state);

/* "none", "stamp", "estimate", "kernel"; "?" for any other value. */
CAPTURE_API const char *capture_aligned_by_name(enum capture_aligned_by by);

/* "as-stamped", "arrival", "mid-exposure" ...; "?" for any other value. */
CAPTURE_API const char *
capture_align_point_name(enum capture_align_point point);

/* How one sensor's clock is known now. */
struct capture_alignment {
	char name[CAPTURE_ALIGN_NAME_BYTES]; /* the module's word; or "" */
	int32_t minor; /* of a V4L2 device; -1: none, not known */
	uint32_t id;   /* the module's stream */
	enum capture_aligned_by by;
	enum capture_align_state state;
	uint64_t epoch;	    /* of the line; frames' own may be another */
	uint64_t sigma_ns;  /* at the newest sample; UINT64_MAX: unknown */
	int64_t drift_ppb;  /* sensor's clock fast: positive */
	uint64_t jitter_ns; /* mean delay above the earliest arrivals */
	/*
	 * What was taken off, so far as is known here: the constant delay and,
	 * for frames of a source with a rule, the way to its point.
	 */
	int64_t delay_ns;
	/* The moment that is told; AS_STAMPED: the module does not say. */
	enum capture_align_point point;
	/*
	 * NULL, or what keeps the rule from being all that was asked for:
	 * "exposure", "readout", "pixel rate", "horizontal blanking", "rows"
	 * (of the sensor's controls), "stamped" (it cannot be had from that),
	 * "rule" (the module has one of somebody else). Static.
	 */
	const char *wrong;
	/* Length of one count by the line, in 2^-16 ns; 0: not known. */
	uint64_t count_ns_16;
	uint64_t updated_ns; /* CLOCK_BOOTTIME of the newest sample */
	/* In this epoch: */
	uint64_t samples;
	uint64_t outliers;  /* not believed */
	uint64_t lost;	    /* gaps in the count */
	uint64_t mispaired; /* strobe edges of another buffer */
};

/* --- a source's ----------------------------------------------------------- */

/**
 * capture_source_alignment() - how a source's frames are aligned now
 *
 * Return: 0, or -EAGAIN: no device is open (supervised), or no frame came.
 */
CAPTURE_API int capture_source_alignment(
	const struct capture_source *source,
	struct capture_alignment *ret_alignment) CAPTURE_MUST_CHECK;

/* --- an aligner of one's own, for frames that come from elsewhere --------- */

/**
 * capture_align_new() - an aligner of one sensor
 * @sys: system calls, or NULL
 * @minor: of the V4L2 device that is looked for at the module; -1: none is
 *
 * One thread at a time. The module is looked for at capture_align_started()
 * and a few times after it, as it knows a device from its first buffer on.
 *
 * Return: 0 (with a module or without), or -ENOMEM.
 */
CAPTURE_API int
capture_align_new(const struct sys_ops *sys, int32_t minor,
		  struct capture_align **ret_align) CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. */
CAPTURE_API struct capture_align *
capture_align_free(struct capture_align *align);

/* The sensor was started: its count begins anew, and an epoch with it. */
CAPTURE_API void capture_align_started(struct capture_align *align);

/**
 * capture_align_frame() - fill in @frame->aligned
 * @frame: the next one; stamp, clock, sequence and device_ticks are read
 *
 * No memory is allocated. Clocks are read (in user space, where the kernel
 * has a vDSO); system calls are made only where a start is followed by the
 * search for the module's stream, by sources of this library with a counter
 * of their own to give it to the module (one a frame at most), and by those
 * with a rule, to read exposure (each frame, if it is cheap) and readout (once
 * a second).
 */
CAPTURE_API void capture_align_frame(struct capture_align *align,
				     struct capture_frame *frame);

/* Return: 0, or -EAGAIN: no frame came since it was made. */
CAPTURE_API int
capture_align_state(const struct capture_align *align,
		    struct capture_alignment *ret_alignment) CAPTURE_MUST_CHECK;

/* --- the module's streams, whoever captures ------------------------------- */

/* What the module says of itself. */
struct capture_timeline_info {
	uint32_t abi;
	uint32_t reference; /* 0 BOOTTIME, 1 TAI, 2 a PTP clock */
	uint32_t streams;
	uint32_t triggers;
	bool sees_v4l2; /* hears of V4L2 buffers by itself */
	bool injects;	/* tests' injectors are built in */
};

/* One sample that the module took or refused. */
struct capture_timeline_sample {
	uint32_t id;
	bool outlier;
	bool error;	  /* the buffer was flagged as damaged */
	uint64_t host_ns; /* CLOCK_BOOTTIME at which it was heard */
	uint64_t counter;
	uint64_t stamp_ns;   /* the driver's, of its clock; 0: none */
	uint64_t aligned_ns; /* of the module's reference; 0: none */
	uint64_t sigma_ns;
	uint64_t epoch;
};

/**
 * capture_timeline_open() - look at the module's streams
 *
 * Return: 0, or -ENOENT (no module), -EACCES, -EPROTO (a module of another
 * version), -ENODEV (it is going), -ENOMEM, -EMFILE.
 */
CAPTURE_API int capture_timeline_open(const struct sys_ops *sys,
				      struct capture_timeline **ret_timeline)
	CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. */
CAPTURE_API struct capture_timeline *
capture_timeline_close(struct capture_timeline *timeline);

/* Return: 0, or the errno of the call: -ENODEV, the module goes. */
CAPTURE_API int capture_timeline_info(struct capture_timeline *timeline,
				      struct capture_timeline_info *ret_info)
	CAPTURE_MUST_CHECK;

/**
 * capture_timeline_streams() - all streams as they are now
 * @ret_streams: CAPTURE_ALIGN_STREAMS_MAX
 *
 * A stream whose page is being written all the time is left out of this turn.
 * Return: how many, or a negative errno: -ENODEV, the module goes.
 */
CAPTURE_API int capture_timeline_streams(struct capture_timeline *timeline,
					 struct capture_alignment *ret_streams)
	CAPTURE_MUST_CHECK;

/* Readable when a sample waits. */
CAPTURE_API int capture_timeline_fd(const struct capture_timeline *timeline);

/**
 * capture_timeline_next() - the next sample of any stream since the open
 *
 * Return: 0, -EAGAIN (none waits), -EPROTO, or -ENODEV: the module goes.
 */
CAPTURE_API int capture_timeline_next(
	struct capture_timeline *timeline,
	struct capture_timeline_sample *ret_sample) CAPTURE_MUST_CHECK;

#endif
