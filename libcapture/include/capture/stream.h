/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CAPTURE_STREAM_H
#define CAPTURE_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/frame.h>

struct capture_arena;
struct capture_stream;

struct capture_stream_config {
	const char *path;
	/*
	 * Formats that will do, best first; none: what the node is set to.
	 * Put what the encoder takes first (YU12 for the software encoder):
	 * the conversion then costs nothing.
	 */
	const uint32_t *fourccs;
	size_t fourcc_count;
	/* Pixels; 0 x 0: what the node is set to. */
	uint32_t width;
	uint32_t height;
	/* Frames per second as a fraction; 0/0: what the node is set to. */
	uint32_t rate_num;
	uint32_t rate_den;
	/* Buffers to ask for; 0: CAPTURE_STREAM_BUFFERS. */
	uint32_t buffer_count;
	/* CAPTURE_RUNG_AUTO, or the only one that will do (tests, benches). */
	enum capture_rung rung;
	uint32_t track_id;	/* given to each frame */
};

#define CAPTURE_STREAM_BUFFERS 4

/*
 * Counters since open. There are no copies to count here: a stream never
 * touches a pixel, whatever its rung. What the encoder must touch because
 * of the rung, it counts.
 */
struct capture_stream_stats {
	enum capture_rung rung;	/* the one taken */
	uint32_t buffer_count;
	uint64_t memory_bytes;	/* of all buffers */
	/* Read rate of the driver's own memory, measured; 0 on S1 and S2. */
	uint64_t map_read_bytes_per_s;
	uint64_t frames;	/* handed out */
	uint64_t frames_error;	/* flagged by the driver, queued again */
	uint64_t frames_short;	/* no payload in them, queued again */
	uint64_t frames_lost;	/* gaps in the driver's sequence */
	uint64_t requeue_errors; /* buffers that the driver did not take back */
};

/**
 * capture_stream_open() - open a camera, set its format, get its memory
 * @sys: system calls, or NULL
 * @config: copied
 * @ret_stream: owned by the caller
 *
 * The size is exact or refused; the rate is the nearest that the driver
 * has (see capture_stream_format()). The memory ladder is probed here: at
 * the end of it all buffers exist and are mapped.
 *
 * Context: blocks in open(2), and up to a few ms to measure a map.
 * Return: 0, or
 *  -ENODEV           no V4L2 capture node that can stream
 *  -EBUSY            another program streams from it
 *  -EPROTONOSUPPORT  none of the fourccs is there (capture_device_query()
 *                    tells what is)
 *  -ERANGE           a fourcc is there but not in this size
 *  -EOPNOTSUPP       the one rung asked for cannot be had
 *  -EINVAL           the configuration contradicts itself
 *  -EPROTO           the driver answered with nonsense
 *  -ENOMEM, or the errno of open: -ENOENT, -EACCES, -EMFILE.
 */
CAPTURE_API int
capture_stream_open(const struct sys_ops *sys,
		    const struct capture_stream_config *config,
		    struct capture_stream **ret_stream) CAPTURE_MUST_CHECK;

/*
 * Stops and closes; takes NULL; returns NULL. Frames that are still out stay
 * valid until their last unref.
 */
CAPTURE_API struct capture_stream *
capture_stream_close(struct capture_stream *stream);

/* What was agreed with the driver. Borrowed. */
CAPTURE_API const struct capture_format *
capture_stream_format(const struct capture_stream *stream);

/* The memory of rungs S1 and S2, for io_uring; NULL on others. Borrowed. */
CAPTURE_API struct capture_arena *
capture_stream_arena(const struct capture_stream *stream);

/* Readable (POLLIN) when a frame waits; POLLERR on trouble: dequeue tells. */
CAPTURE_API int capture_stream_fd(const struct capture_stream *stream);

/**
 * capture_stream_start() - queue every buffer and switch on
 *
 * Buffers whose frames are still out from before a stop join when they are
 * unreferenced.
 *
 * Return: 0, -EBUSY (already on, or the driver has no bandwidth), -ENODEV,
 * -ENOLINK (no signal), or the errno of QBUF or STREAMON. On failure it is
 * off and may be started again.
 */
CAPTURE_API int capture_stream_start(struct capture_stream *stream)
	CAPTURE_MUST_CHECK;

/**
 * capture_stream_stop() - switch off; queued buffers come back cancelled
 *
 * Return: 0 (also when it was off), or the errno of STREAMOFF: the stream is
 * then off for us and should be closed.
 */
CAPTURE_API int capture_stream_stop(struct capture_stream *stream);

/**
 * capture_stream_dequeue() - the next frame
 * @deadline_ns: wait until then; 0: do not wait
 * @ret_frame: one reference
 *
 * Frames with the driver's error flag and empty ones go back to the queue,
 * are counted and do not count as frames. A lost frame shows in the sequence
 * and in the counters.
 *
 * Return: 0, or
 *  -EAGAIN     @deadline_ns is 0 and no frame waits
 *  -ETIMEDOUT  none came by the deadline: the camera may be stuck
 *  -ENOBUFS    all frames are out: unref some
 *  -EBUSY      the stream is not on
 *  -ENODEV     unplugged: close it
 *  -EIO        the driver gave up: close and open again
 *  -EPROTO     the driver answered with nonsense (an unknown buffer)
 *  or the errno of DQBUF.
 */
CAPTURE_API int capture_stream_dequeue(struct capture_stream *stream,
				       uint64_t deadline_ns,
				       struct capture_frame **ret_frame)
	CAPTURE_MUST_CHECK;

CAPTURE_API void
capture_stream_stats(const struct capture_stream *stream,
		     struct capture_stream_stats *ret_stats);

#endif
