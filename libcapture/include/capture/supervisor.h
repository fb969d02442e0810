/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that does not end: it watches another one, restarts it when it is
 * stuck, opens it again when it failed or was unplugged, waits for a lost
 * signal, and gives blank pictures meanwhile if asked. It is used as any
 * other source (capture/source.h); capture_source_dequeue() then says only
 *
 *  0, -EAGAIN, -ETIMEDOUT  nothing came by the deadline; what is being done
 *                          about it is told by events
 *  -ENOBUFS                all frames are out: unref some
 *  -EBUSY                  not started
 *  -ENOMEM, -EINVAL, ...   of timerfd_settime, epoll_ctl or poll alone: the
 *                          descriptor may not wake its user. Call again
 *
 *	     start                          frames
 *	OFF ------> RUNNING <-------------------------------.
 *	              |  no frame in time, first            |
 *	              |-----> stop and start at once -------|
 *	              |  again, or it failed, or gone       |
 *	              |-----> close, wait, open, start -----|
 *	              |  no signal                          |
 *	              '-----> stop, ask from time to time --'
 *
 * Waits double from backoff_min_ns to backoff_max_ns, with jitter, and begin
 * anew only after stable_ns of frames: there is no tight loop, however the
 * device behaves. Every wait is bounded; what the driver does inside open(2)
 * or STREAMOFF is not ours to bound, but need not be waited for: stuck_ns.
 *
 * Each start after the first raises frame->epoch; blank pictures between two
 * have an epoch of their own. track_id stays. Sequences are the device's, or
 * those of the blank pictures: they compare within an epoch. Counters are
 * sums over everything that was opened.
 */
#ifndef CAPTURE_SUPERVISOR_H
#define CAPTURE_SUPERVISOR_H

#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/source.h>

struct capture_encoder;
struct capture_encoder_config;

#define CAPTURE_SUPERVISOR_FRAME_NS UINT64_C(5000000000)
#define CAPTURE_SUPERVISOR_BACKOFF_MIN_NS UINT64_C(250000000)
#define CAPTURE_SUPERVISOR_BACKOFF_MAX_NS UINT64_C(30000000000)
#define CAPTURE_SUPERVISOR_STABLE_NS UINT64_C(10000000000)
#define CAPTURE_SUPERVISOR_SIGNAL_NS UINT64_C(1000000000)
#define CAPTURE_SUPERVISOR_TEXT_BYTES 160
#define CAPTURE_SUPERVISOR_PATH_BYTES 160
#define CAPTURE_SUPERVISOR_LABEL_BYTES 33

enum capture_supervisor_kind {
	CAPTURE_EVENT_STALLED = 0, /* no frame in time, though all is well */
	CAPTURE_EVENT_FAILED,	/* the source said @error */
	CAPTURE_EVENT_RESTARTED, /* stopped and started */
	CAPTURE_EVENT_UNPLUGGED,
	CAPTURE_EVENT_REOPENED,	/* and started */
	CAPTURE_EVENT_REPLUGGED, /* the same after UNPLUGGED */
	CAPTURE_EVENT_SIGNAL_LOST, /* @signal says how; again if that changes */
	CAPTURE_EVENT_SIGNAL_BACK,
	CAPTURE_EVENT_FORMAT_CHANGED, /* @error: 0 taken, else refused */
	CAPTURE_EVENT_GAVE_UP_ATTEMPT, /* next one in @wait_ns */
	CAPTURE_EVENT_STUCK	/* the driver does not return: stuck_ns */
};

/* Counters since open. */
struct capture_supervisor_stats {
	uint64_t opens;		/* tried after the first, failed or not */
	uint64_t opens_failed;
	uint64_t restarts;	/* stopped and started without a close */
	uint64_t stalls;
	uint64_t failures;	/* errors that were neither of the below */
	uint64_t unplugged;
	uint64_t signal_losses;
	uint64_t format_changes;
	uint64_t blank_frames;
	uint64_t stuck;		/* calls that did not return in stuck_ns */
	uint64_t outage_ns;	/* without frames after one was due, in all */
	uint64_t outage_ns_max;	/* the longest that is over */
};

struct capture_supervisor_event {
	enum capture_supervisor_kind kind;
	enum capture_signal signal; /* OK unless the kind says so */
	int error;		/* negative errno, or 0 */
	uint32_t attempt;	/* failed attempts in a row */
	uint32_t epoch;
	uint64_t at_ns;		/* CLOCK_MONOTONIC */
	uint64_t wait_ns;	/* to the next attempt; 0: none is planned */
	/* One line, for people: "/dev/video0: no frame for 5.0 s". */
	char text[CAPTURE_SUPERVISOR_TEXT_BYTES];
	const struct capture_supervisor_stats *stats; /* during the call */
};

/*
 * Pictures of the source's format and rate that name the cause. For YU12,
 * YV12, NV12, NV21, YUYV, UYVY, GREY, Y14, Y16 and Y16_BE (of any number of
 * memory planes); of other formats there are none.
 */
enum capture_blank {
	CAPTURE_BLANK_NONE = 0,
	CAPTURE_BLANK_SIGNAL,	/* while a signal is lost */
	CAPTURE_BLANK_OUTAGE	/* also while the device is gone or stuck */
};

struct capture_supervisor_config {
	/*
	 * Copied, with its settings, which each open makes again; but
	 * settings->error is written by the first open alone. A control that
	 * was set later (capture_source_set_control()) is lost with an open.
	 */
	struct capture_source_config source;
	/*
	 * How to find the node again, as its path may change: the first rule
	 * that is not NULL. With neither, source.path as it is (a link of
	 * /dev/v4l/by-id or by-path follows its device by itself).
	 *
	 * @resolve fills in a NUL-terminated path, or returns a negative
	 * errno (-ENODEV: not there). Called on the source's thread, before
	 * each open. An open that failed, or whose start did, was told before
	 * (UNPLUGGED or GAVE_UP_ATTEMPT): whoever sets links and pads here
	 * knows by that to do it again.
	 * @match is text within the card or the bus of a camera (copied).
	 * If several have it, the one at source.path comes first.
	 */
	int (*resolve)(void *ctx, char path[CAPTURE_SUPERVISOR_PATH_BYTES]);
	const char *match;
	/* Each: 0 for CAPTURE_SUPERVISOR_*. */
	uint64_t frame_ns;	/* the longest between two frames */
	uint64_t backoff_min_ns; /* at least 10 ms */
	uint64_t backoff_max_ns;
	uint64_t stable_ns;	/* of frames, until all is forgotten */
	uint64_t signal_ns;	/* how often at least to ask for a signal */
	/*
	 * 0: open, start, stop and close are called on the source's thread,
	 * and whoever calls dequeue waits for as long as the driver takes.
	 * Else each is called on a thread of its own, and waited for 100 ms
	 * at most. A slow one is taken up when it is done; one that has not
	 * returned after stuck_ns is told (CAPTURE_EVENT_STUCK), and nothing
	 * else is tried with that device until it returns. Should it still be
	 * inside at capture_source_close(), the thread is left behind with
	 * what belongs to the source: it cleans up if it ever returns. The
	 * first open is waited for stuck_ns, then -ETIMEDOUT; the first start
	 * for 5 s of these. @sys and what
	 * it calls must then be good for any thread. Dequeue, controls and
	 * capture_source_restore() are always called directly; as @resolve.
	 */
	uint64_t stuck_ns;
	uint64_t seed;		/* of the jitter: one of its own per device */
	/*
	 * After an open in another format: -EPROTONOSUPPORT and try again
	 * until it is the old one; else take it. Ask capture_source_format()
	 * after CAPTURE_EVENT_FORMAT_CHANGED. Another rate or other colours
	 * alone are always taken.
	 */
	uint32_t refuse_format_change; /* bool */
	enum capture_blank blank;
	/* A second line in blank pictures; A-Z, 0-9, " -./:". NULL: none. */
	const char *blank_label;
	/*
	 * Called on the source's thread, inside start and dequeue; must not
	 * call into the source. NULL: none.
	 */
	void (*event)(void *ctx,
		      const struct capture_supervisor_event *event);
	void *ctx;		/* of @event and @resolve; borrowed */
};

/**
 * capture_supervisor_open() - open a source and look after it
 * @sys: system calls, or NULL
 * @config: copied, see there
 * @ret_source: owned by the caller
 *
 * The first open must work, so that there is a format; from start on nothing
 * is an error any more: a start that fails is tried again later.
 *
 * capture_source_fd() is an epoll descriptor, the same for the whole life:
 * readable when a frame waits and when the supervisor has something to do.
 * Call capture_source_dequeue() with deadline 0 then. It may be readable for
 * nothing. What the driver takes for an open or a start is added to a
 * deadline.
 *
 * capture_source_arena() is NULL: memory changes with each open. Frames of a
 * closed inner source are valid until their last unref.
 *
 * Return: as capture_source_open(), or -EINVAL (bounds of @config), or
 * -ETIMEDOUT (the driver did not return in stuck_ns), or the
 * errno of epoll_create1, epoll_ctl, timerfd_create or @resolve.
 */
CAPTURE_API int
capture_supervisor_open(const struct sys_ops *sys,
			const struct capture_supervisor_config *config,
			struct capture_source **ret_source) CAPTURE_MUST_CHECK;

/* Return: 0, or -EINVAL: not from capture_supervisor_open(). */
CAPTURE_API int
capture_supervisor_stats(const struct capture_source *source,
			 struct capture_supervisor_stats *ret_stats)
	CAPTURE_MUST_CHECK;

/* "stalled", "unplugged" ...; "?" for any other value. */
CAPTURE_API const char *
capture_supervisor_kind_name(enum capture_supervisor_kind kind);

/**
 * capture_encoder_reopen() - close an encoder and open it once more
 * @config: what it was opened with
 * @encoder: NULL inside is fine; NULL inside after a failure
 *
 * For an encoder that is stuck or failed (-ETIMEDOUT, -EIO, -ENODEV): what
 * is inside is lost, and its references to frames are given back. Wait
 * between two of these.
 *
 * It drains nothing. One that failed has nothing more to give: receive hands
 * out all that was done before it says so. Of one that works, to open it with
 * another @config: capture_encoder_drain(), receive until -EPIPE, then this.
 *
 * Return: as capture_encoder_open().
 */
CAPTURE_API int
capture_encoder_reopen(const struct sys_ops *sys,
		       const struct capture_encoder_config *config,
		       struct capture_encoder **encoder) CAPTURE_MUST_CHECK;

#endif
