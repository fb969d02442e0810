/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * tsalign: one timeline for all sensors.
 *
 * A stream is one sensor's clock as the host sees it: pairs of (device counter,
 * host time). The kernel fits each stream's counter to the reference clock and
 * publishes the fit as a map, one read-only page a stream:
 *
 *	ref_ns = base_ns + ((counter - base_counter) * mult >> shift)
 *
 * with the difference signed (two's complement), the product in 128 bits, and
 * an error bound. A map changes smoothly within an epoch; what cannot be a
 * smooth change (clock set, suspend, counter wrapped unseen, sensor replugged,
 * sensor restarted) opens the next epoch instead.
 *
 * All times are u64 nanoseconds; each says of which clock. "Host time" is
 * CLOCK_BOOTTIME throughout.
 *
 * One character device, /dev/tsalign:
 *	mmap(fd, PAGE_SIZE, PROT_READ, MAP_SHARED, stream * PAGE_SIZE)
 *		struct tsalign_page of a stream, valid as long as it is mapped,
 *		also after the stream has gone (state TSALIGN_GONE); -ENXIO: no
 *		such stream now; -EACCES: writable or private
 *	read()	whole struct tsalign_event records from the ring, oldest first;
 *		from an open descriptor's own position, which begins at open();
 *		-EINVAL: no room for one
 *	poll()	POLLIN: read() gives at least one
 *	ioctl()	below; unknown: -ENOTTY; reserved fields not zero: -EINVAL;
 *		no such stream or output: -ENOENT
 * The module stays while a descriptor or a mapping of it is open; devices come
 * and go meanwhile.
 */
#ifndef _UAPI_LINUX_TSALIGN_H
#define _UAPI_LINUX_TSALIGN_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define TSALIGN_ABI		1
#define TSALIGN_NAME_BYTES	32
#define TSALIGN_STREAMS_MAX	64
#define TSALIGN_PAIRS_MAX	256	/* of one TSALIGN_IOC_SUBMIT */
#define TSALIGN_TRIGGERS_MAX	8

/* What the map's result counts. */
enum tsalign_reference {
	TSALIGN_REF_BOOTTIME	= 0,
	TSALIGN_REF_TAI		= 1,
	TSALIGN_REF_PHC		= 2,	/* a stream of kind TSALIGN_PHC */
};

enum tsalign_kind {
	TSALIGN_V4L2	= 1,	/* buffers of a capture queue */
	TSALIGN_GPIO	= 2,	/* edges of a strobe, vsync or PPS line */
	TSALIGN_TRIGGER	= 3,	/* edges that this module puts out */
	TSALIGN_PHC	= 4,	/* submitted: (PTP clock ns, host time) */
	TSALIGN_PPS	= 5,	/* submitted: (second, host time) */
	TSALIGN_FSYNC	= 6,	/* submitted: V4L2_EVENT_FRAME_SYNC */
	TSALIGN_DEVICE	= 7,	/* submitted: (device counter, host time) */
	TSALIGN_KERNEL	= 8,	/* tsalign_submit() of another driver */
};

/* What a stream's counter is. */
enum tsalign_counter {
	TSALIGN_COUNT_EVENTS	= 0,	/* sequence number: of frames, edges */
	TSALIGN_COUNT_TICKS	= 1,	/* ticks of nominal_hz */
};

/* Which moment of a picture the map's result tells, after correction. */
enum tsalign_point {
	TSALIGN_POINT_UNKNOWN	= 0,
	TSALIGN_POINT_ARRIVAL	= 1,	/* the host heard of it: nothing known */
	TSALIGN_POINT_SOF	= 2,	/* start of frame: first row's readout */
	TSALIGN_POINT_EOF	= 3,	/* end of frame: last row's readout */
	TSALIGN_POINT_SOE	= 4,	/* start of exposure, first row */
	TSALIGN_POINT_MID	= 5,	/* mid exposure of the middle row */
};

enum tsalign_state {
	TSALIGN_FREE	= 0,	/* no such stream */
	TSALIGN_WAITING	= 1,	/* too few samples: the map does not hold */
	TSALIGN_COARSE	= 2,	/* holds; sigma_ns still shrinks */
	TSALIGN_LOCKED	= 3,
	TSALIGN_HOLDOVER = 4,	/* holds, nothing came lately: sigma grows */
	TSALIGN_GONE	= 5,	/* unplugged; the last map stays to be read */
};

/*
 * The map. Read @seq, then the rest, then @seq again: it holds when both are
 * the same and even (acquire/release as a seqlock; TSALIGN_PAGE_TRIES is
 * enough for a reader that is not preempted for ever).
 */
struct tsalign_page {
	__u32 abi;		/* TSALIGN_ABI */
	__u32 seq;
	__u32 stream;
	__u32 state;		/* enum tsalign_state */
	__u32 reference;	/* enum tsalign_reference */
	__u32 counter;		/* enum tsalign_counter */
	__u32 point;		/* enum tsalign_point */
	__u32 shift;		/* 0..63 */
	__u64 mult;
	__u64 base_counter;
	__u64 base_ns;		/* reference time at base_counter */
	__u64 epoch;		/* 1.. */
	/*
	 * 99 % of results are nearer than this to the truth, save for a
	 * constant delay that no side has told (delay_ns): one way, it cannot
	 * be seen. Holds for counters near base_counter; grows by sigma_ppb
	 * nanoseconds per second away from it.
	 */
	__u64 sigma_ns;
	__u64 sigma_ppb;
	__s64 delay_ns;		/* constant delay that was taken off */
	__s64 drift_ppb;	/* device clock fast: positive; of nominal */
	__u64 jitter_ns;	/* mean delay above the earliest arrivals */
	__u64 updated_ns;	/* host time of this map's newest sample */
	__u64 samples;		/* taken, in this epoch */
	__u64 outliers;		/* refused, in this epoch */
	__u64 lost;		/* gaps in the counter, in this epoch */
	__u64 mispaired;	/* buffers whose strobe edge is another's */
	__u64 reserved[8];
};

#define TSALIGN_PAGE_TRIES	64

enum tsalign_event_type {
	TSALIGN_EV_SAMPLE	= 1,	/* one pair was taken */
	TSALIGN_EV_EPOCH	= 2,	/* the stream opened an epoch */
	TSALIGN_EV_STREAM	= 3,	/* the stream came */
	TSALIGN_EV_GONE		= 4,	/* the stream went */
	TSALIGN_EV_LOST		= 5,	/* counter: records this reader missed */
	TSALIGN_EV_FIRED	= 6,	/* a trigger line went active */
};

enum tsalign_epoch_cause {
	TSALIGN_CAUSE_START	= 1,
	TSALIGN_CAUSE_DEVICE_STEP = 2,	/* device counter jumped or restarted */
	TSALIGN_CAUSE_HOST_STEP	= 3,	/* reference was set (clock_was_set) */
	TSALIGN_CAUSE_SUSPEND	= 4,
	TSALIGN_CAUSE_REPLUG	= 5,
	/* Reference or rule changed by a user; not each change: tsalign_rule */
	TSALIGN_CAUSE_RECONFIG	= 6,
};

/* TSALIGN_EV_SAMPLE: an outlier, refused by the estimator. */
#define TSALIGN_EVF_OUTLIER	0x1
/* The vb2 buffer carried an error; it is no sample. */
#define TSALIGN_EVF_ERROR	0x2
/* aligned_ns is from a strobe edge that was paired with the buffer. */
#define TSALIGN_EVF_STROBE	0x4
/* Made by an injector. */
#define TSALIGN_EVF_INJECTED	0x8

struct tsalign_event {
	__u32 stream;
	__u16 type;		/* enum tsalign_event_type */
	__u16 flags;		/* TSALIGN_EVF_* */
	__u32 cpu;		/* where it was heard */
	__u32 cause;		/* TSALIGN_EV_EPOCH: enum tsalign_epoch_cause */
	__u64 host_ns;		/* host time at which it was heard */
	__u64 counter;		/* unwrapped */
	__u64 stamp_ns;		/* V4L2: the driver's own stamp, its clock; or 0 */
	__u64 aligned_ns;	/* the map's result then, reference time; or 0 */
	__u64 sigma_ns;
	__u64 epoch;
};

struct tsalign_info {
	__u32 abi;
	__u32 reference;	/* enum tsalign_reference, now */
	__u32 streams;		/* slots in use; ids are 0..STREAMS_MAX-1 */
	__u32 triggers;		/* outputs that exist */
	__u32 features;		/* TSALIGN_FEATURE_* */
	__u32 page_bytes;	/* of a stream's mapping */
	__u32 reserved[10];
};

#define TSALIGN_FEATURE_VB2	0x1	/* sees V4L2 buffers (tracepoints) */
#define TSALIGN_FEATURE_INJECT	0x2	/* debugfs injectors are built in */

/*
 * A stream's description. @name is NUL-terminated and unique: "v4l2-7" for a
 * V4L2 queue of minor 7 (/dev/video0 may have another minor than 0: compare
 * @minor with st_rdev's), the label or node name for lines, the user's word for
 * submitted streams (letters, digits, '-', '_', '.').
 */
struct tsalign_stream {
	__u32 id;
	__u32 kind;		/* enum tsalign_kind */
	__u8 name[TSALIGN_NAME_BYTES];
	__s32 minor;		/* V4L2: of the video device; -1: not known */
	__u32 counter;		/* enum tsalign_counter */
	__u32 counter_bits;	/* 1..64; narrower ones are unwrapped */
	__u32 strobe;		/* id of the line paired with it; or ~0 */
	__u64 nominal_mhz;	/* counter's rate in mHz; 0: learnt from data */
	__u32 reserved[8];
};

/*
 * What is known of how a stream's samples lie to the moment of @point.
 * ref = map - delay_ns, and by @stamped and @point, in order: readout_ns (last
 * row after first), exposure_ns. Contradictions: -EINVAL.
 *
 * A changed rule opens an epoch. Not so new readout_ns and exposure_ns alone
 * (a sensor's automatic turns them all the time) that move the map by less
 * than half a count since the newest sample: a later count is later all the
 * same, whichever of the maps the two were read off.
 *
 * TSALIGN_RULE_BOARD stays with a rule that is set with it, if the stream's
 * has it; TSALIGN_RULE_EXPOSURE, _READOUT stay with that. So who only adds
 * what the board did not tell gives the flags back as they came.
 */
struct tsalign_rule {
	__u32 id;
	__u32 stamped;		/* enum tsalign_point: what samples mean */
	__u32 point;		/* enum tsalign_point: what is wanted */
	__u32 flags;		/* TSALIGN_RULE_* */
	__s64 delay_ns;		/* pipeline: sample later than the moment */
	__u64 readout_ns;	/* rows * row time */
	__u64 exposure_ns;
	__u32 strobe;		/* id of a TSALIGN_GPIO stream, ~0: none */
	__u32 reserved[7];
};

/* By the device tree; with it, which times are the device tree's. */
#define TSALIGN_RULE_BOARD	0x1
#define TSALIGN_RULE_EXPOSURE	0x2
#define TSALIGN_RULE_READOUT	0x4
#define TSALIGN_RULE_FLAGS	0x7

struct tsalign_pair {
	__u64 counter;		/* raw, counter_bits wide */
	__u64 host_ns;		/* @clock of the submit */
};

/*
 * Pairs of one stream in the order in which they happened. @count beyond
 * TSALIGN_PAIRS_MAX: -E2BIG; a clock that is not known, or a time in the
 * future or over 10 minutes old: -EINVAL, and none of the call is taken.
 * CLOCK_REALTIME and CLOCK_TAI: -ESTALE when the clock was set since.
 */
struct tsalign_submit {
	__u32 id;
	__u32 count;
	__u32 clock;		/* CLOCK_MONOTONIC, _BOOTTIME, _REALTIME, _TAI */
	__u32 error_ns;		/* known width of host_ns (PTP: half the trip) */
	__u64 pairs;		/* user pointer to struct tsalign_pair[count] */
	/*
	 * FIFO bursts: only the newest pair has a real host_ns, the others are
	 * back-dated by the stream's own rate.
	 */
	__u32 flags;		/* TSALIGN_SUBMIT_BURST, _RESTART */
	__u32 reserved[5];
};

#define TSALIGN_SUBMIT_BURST	0x1
/* The counter began anew before these pairs: they open the next epoch. */
#define TSALIGN_SUBMIT_RESTART	0x2

/*
 * An output that fires at ref = k / rate + phase_ns. @centred: that is the
 * middle of the exposure, so the line goes active exposure_ns / 2 earlier.
 */
struct tsalign_trigger {
	__u32 index;
	__u32 enable;		/* 0: the line rests, inactive */
	__u64 rate_mhz;		/* 1 mHz .. 1 kHz */
	__u64 phase_ns;		/* below one period */
	__u64 pulse_ns;		/* active time, below one period; min 10 us */
	__u64 exposure_ns;
	__u32 centred;
	__u32 stream;		/* out: id of its TSALIGN_TRIGGER stream */
	__u64 fired;		/* out */
	__u64 late;		/* out: missed by more than half a period */
	__u64 error_ns;		/* out: worst lateness of the last 256 */
	__u32 reserved[8];
};

#define TSALIGN_IOC_MAGIC	0xb7

/* Any who may open the device for reading: */
#define TSALIGN_IOC_INFO	_IOR(TSALIGN_IOC_MAGIC, 0, struct tsalign_info)
/* @id in; -ENOENT: free slot */
#define TSALIGN_IOC_STREAM	_IOWR(TSALIGN_IOC_MAGIC, 1, struct tsalign_stream)
/*
 * @id in, the rest 0; the rule that is wanted. It holds where the page has
 * its point; else what is stamped is told, less the delay.
 */
#define TSALIGN_IOC_GET_RULE	_IOWR(TSALIGN_IOC_MAGIC, 2, struct tsalign_rule)
/* @index in */
#define TSALIGN_IOC_GET_TRIGGER	_IOWR(TSALIGN_IOC_MAGIC, 3, struct tsalign_trigger)

/* Open for writing too; -EPERM otherwise: */
/*
 * Makes a stream of kind PHC, PPS, FSYNC or DEVICE, @id out. It lives until
 * its descriptor is closed, with all that is mapped of it. PHC: ticks of
 * 1 GHz. -EINVAL: also a name that begins with "v4l2-", which is V4L2's.
 * -EEXIST: the name is taken; -ENOSPC: no slot, or 16 of this
 * descriptor.
 */
#define TSALIGN_IOC_CREATE	_IOWR(TSALIGN_IOC_MAGIC, 16, struct tsalign_stream)
/* Only by the descriptor that made it: -EPERM */
#define TSALIGN_IOC_SUBMIT	_IOW(TSALIGN_IOC_MAGIC, 17, struct tsalign_submit)
#define TSALIGN_IOC_SET_RULE	_IOW(TSALIGN_IOC_MAGIC, 18, struct tsalign_rule)
/* __u32: enum tsalign_reference; PHC: id of its stream << 8 | TSALIGN_REF_PHC */
#define TSALIGN_IOC_REFERENCE	_IOW(TSALIGN_IOC_MAGIC, 19, __u32)
#define TSALIGN_IOC_TRIGGER	_IOWR(TSALIGN_IOC_MAGIC, 20, struct tsalign_trigger)

#endif /* _UAPI_LINUX_TSALIGN_H */
