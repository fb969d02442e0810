/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CAPTURE_FRAME_H
#define CAPTURE_FRAME_H

#include <stdint.h>

#include <capture/api.h>

/* Which clock a stamp was read from, as the driver declares it. */
enum capture_clock {
	CAPTURE_CLOCK_UNKNOWN = 0,
	CAPTURE_CLOCK_MONOTONIC,	/* CLOCK_MONOTONIC */
	CAPTURE_CLOCK_COPY,		/* copied from the OUTPUT queue */
	CAPTURE_CLOCK_REALTIME,		/* CLOCK_REALTIME */
	CAPTURE_CLOCK_BOOTTIME		/* CLOCK_BOOTTIME */
};

/* What instant a stamp means, as the driver declares it. */
enum capture_point {
	CAPTURE_POINT_END_OF_FRAME = 0,
	CAPTURE_POINT_START_OF_EXPOSURE,
	CAPTURE_POINT_FIRST_SAMPLE,	/* of CAPTURE_MEDIA_SAMPLES */
	CAPTURE_POINT_ARRIVAL	/* when this library read the last byte */
};

/* How a frame's aligned time was found, worst first. */
enum capture_aligned_by {
	CAPTURE_ALIGNED_NOT = 0, /* a frame that is made up, or on no clock */
	CAPTURE_ALIGNED_STAMP,	/* its own stamp, brought to CLOCK_BOOTTIME */
	CAPTURE_ALIGNED_ESTIMATE, /* a line that was fitted here, to stamps */
	CAPTURE_ALIGNED_KERNEL	/* the map of tsalign.ko */
};

/**
 * struct capture_aligned - when a frame was taken, on the timeline of all
 *
 * The line of the sensor's own count through what was measured, so without
 * the jitter of single stamps: see capture/align.h. @ns rises from frame to
 * frame within an @epoch; what cannot be a smooth change (the source was
 * started again, a clock stepped, another way of finding it) raises @epoch.
 */
struct capture_aligned {
	uint64_t ns;		/* CLOCK_BOOTTIME; 0: CAPTURE_ALIGNED_NOT */
	/*
	 * 99 % are nearer than this to the truth, save for a constant delay
	 * of which nobody told; UINT64_MAX: not known.
	 */
	uint64_t sigma_ns;
	/* 1..; of CAPTURE_ALIGNED_NOT: the last one's, 0 before the first. */
	uint32_t epoch;
	enum capture_aligned_by by;
};

#define CAPTURE_FRAME_KEY 0x1u		/* the driver calls it a key frame */
#define CAPTURE_FRAME_ERROR 0x2u	/* the data may be damaged */
#define CAPTURE_FRAME_BLANK 0x4u	/* made up: see capture/supervisor.h */
#define CAPTURE_FRAME_STAMPED 0x8u	/* the driver's stamp cannot be: ours */
#define CAPTURE_FRAME_COPY 0x10u	/* see capture_source_config.borrow_max */

/**
 * struct capture_plane - one piece of memory of a frame
 *
 * The payload is bytes [@offset, @offset + @bytesused) of the memory. All of
 * it belongs to the frame and is valid while a reference is held.
 */
struct capture_plane {
	int dmabuf_fd;		/* -EBADF: none; do not close it */
	uint32_t offset;	/* of the payload in the dma-buf and in @map */
	uint32_t length;	/* bytes of memory */
	uint32_t bytesused;	/* bytes of payload */
	uint32_t stride;	/* bytes per line */
	/*
	 * The memory's first byte, or NULL: no map. Read it between
	 * capture_frame_begin_read() and capture_frame_end_read().
	 */
	const uint8_t *map;
};

/**
 * struct capture_frame - a raw frame, in the memory the driver wrote it to
 *
 * Also a run of samples or a record, in planes[0]: see capture_format.media.
 * Ownership: the frame is made by capture_source_dequeue(), which gives its
 * caller one reference. Each holder takes a reference of its own with
 * capture_frame_ref() and gives it up with capture_frame_unref(); the last
 * one gives the buffer back to the driver. Every buffer that was queued comes
 * back exactly once: done (a frame), error (returned to the queue and
 * counted) or cancelled (stop). A frame may outlive its source: its memory
 * goes with the last reference. Holding frames for long starves the camera.
 *
 * All fields are complete before the frame is handed out; treat them as
 * constant. On the source's thread only.
 */
struct capture_frame {
	uint32_t track_id;	/* from capture_source_config */
	uint32_t fourcc;
	uint32_t width;		/* pixels */
	uint32_t height;
	/*
	 * The driver's count; a gap is a lost frame. Where the driver's steps
	 * back or stands still, counted on by one.
	 */
	uint32_t sequence;
	uint32_t flags;		/* CAPTURE_FRAME_* */
	/*
	 * As the kernel gave it, of @clock; if that cannot be (backward, none,
	 * over a second ahead), when it was dequeued: CAPTURE_FRAME_STAMPED.
	 * It may lie ahead: some drivers stamp the end before it came.
	 */
	uint64_t stamp_ns;
	enum capture_clock clock;
	enum capture_point point;
	/*
	 * Raised by each start of the source after a trouble (replugged,
	 * restarted): sequence, stamps and counters of two epochs do not
	 * compare.
	 */
	uint32_t epoch;
	/*
	 * The sensor's own clock at the same instant (samples since the
	 * start, ticks), and its nominal rate; rate 0: it has none.
	 */
	uint64_t device_ticks;
	uint64_t device_hz;
	struct capture_aligned aligned;
	uint32_t plane_count;
	struct capture_plane planes[CAPTURE_PLANES_MAX];
};

/* Returns @frame, with one more reference. */
CAPTURE_API struct capture_frame *
capture_frame_ref(struct capture_frame *frame);

/**
 * capture_frame_unref() - give up one reference
 * @frame: may be NULL
 *
 * The last one queues the buffer to the driver again. If that fails (the
 * camera was unplugged, the source was stopped) the buffer stays out of the
 * queue, and the next capture_source_dequeue() tells why.
 *
 * Return: NULL.
 */
CAPTURE_API struct capture_frame *
capture_frame_unref(struct capture_frame *frame);

/**
 * capture_frame_begin_read() - before the CPU reads a frame's maps
 * @sys: system calls to use; NULL: the kernel's
 *
 * Memory that a device wrote may not be what the CPU's caches hold: dma-bufs
 * are told (DMA_BUF_IOCTL_SYNC) where that can be. Where caches are coherent
 * by architecture (x86), and for frames without dma-bufs, no call is made.
 * Encoders of this library do it themselves.
 */
CAPTURE_API void capture_frame_begin_read(const struct sys_ops *sys,
					  const struct capture_frame *frame);
CAPTURE_API void capture_frame_end_read(const struct sys_ops *sys,
					const struct capture_frame *frame);

#endif
