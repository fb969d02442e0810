/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every public header of libcapture needs. All symbols of the library
 * are capture_*; everything else in the shared object is hidden.
 *
 * Conventions of the library:
 *  - Functions return 0 or a positive result, or a negative errno. Outputs
 *    are named ret_*, come last and are written on success only.
 *  - Objects belong to one thread: the one that opened them. Two objects may
 *    live on two threads if no frame of one is given to the other.
 *  - `struct sys_ops` is the library's system-call seam (base/sys.h in the
 *    source tree, for tests). Pass NULL for the real kernel. What is passed
 *    is borrowed and must outlive the object.
 *  - Deadlines are absolute, in nanoseconds of CLOCK_MONOTONIC.
 *  - A pixel or codec format is named by its V4L2 fourcc.
 */
#ifndef CAPTURE_API_H
#define CAPTURE_API_H

#include <stdint.h>

#if defined(__GNUC__)
#define CAPTURE_API __attribute__((visibility("default")))
#define CAPTURE_MUST_CHECK __attribute__((warn_unused_result))
#else
#define CAPTURE_API
#define CAPTURE_MUST_CHECK
#endif

#define CAPTURE_FOURCC(a, b, c, d)                                           \
	((uint32_t)(a) | ((uint32_t)(b) << 8) | ((uint32_t)(c) << 16) |      \
	 ((uint32_t)(d) << 24))

/* Formats that the library itself reads; any other fourcc is passed on. */
#define CAPTURE_FORMAT_YU12 CAPTURE_FOURCC('Y', 'U', '1', '2') /* I420 */
#define CAPTURE_FORMAT_YV12 CAPTURE_FOURCC('Y', 'V', '1', '2')
#define CAPTURE_FORMAT_NV12 CAPTURE_FOURCC('N', 'V', '1', '2')
#define CAPTURE_FORMAT_NV21 CAPTURE_FOURCC('N', 'V', '2', '1')
#define CAPTURE_FORMAT_YUYV CAPTURE_FOURCC('Y', 'U', 'Y', 'V')
#define CAPTURE_FORMAT_UYVY CAPTURE_FOURCC('U', 'Y', 'V', 'Y')
/* The same as YU12 and NV12 with each component in memory of its own. */
#define CAPTURE_FORMAT_YM12 CAPTURE_FOURCC('Y', 'M', '1', '2')
#define CAPTURE_FORMAT_NM12 CAPTURE_FOURCC('N', 'M', '1', '2')
#define CAPTURE_FORMAT_H264 CAPTURE_FOURCC('H', '2', '6', '4')
#define CAPTURE_FORMAT_HEVC CAPTURE_FOURCC('H', 'E', 'V', 'C')
#define CAPTURE_FORMAT_MJPG CAPTURE_FOURCC('M', 'J', 'P', 'G')
#define CAPTURE_FORMAT_JPEG CAPTURE_FOURCC('J', 'P', 'E', 'G')
#define CAPTURE_FORMAT_FWHT CAPTURE_FOURCC('F', 'W', 'H', 'T')

/* Thermal and depth: 16 bits of grey, little and big endian; less in 16. */
#define CAPTURE_FORMAT_GREY CAPTURE_FOURCC('G', 'R', 'E', 'Y')
#define CAPTURE_FORMAT_Y10 CAPTURE_FOURCC('Y', '1', '0', ' ')
#define CAPTURE_FORMAT_Y12 CAPTURE_FOURCC('Y', '1', '2', ' ')
#define CAPTURE_FORMAT_Y14 CAPTURE_FOURCC('Y', '1', '4', ' ')
#define CAPTURE_FORMAT_Y16 CAPTURE_FOURCC('Y', '1', '6', ' ')
#define CAPTURE_FORMAT_Y16_BE (CAPTURE_FORMAT_Y16 | UINT32_C(1) << 31)
#define CAPTURE_FORMAT_VP8 CAPTURE_FOURCC('V', 'P', '8', '0')
/* V4L2 has no names for these; they are the library's own. */
#define CAPTURE_FORMAT_FFV1 CAPTURE_FOURCC('F', 'F', 'V', '1')
/* Interleaved samples, 16 bits, signed, little endian. */
#define CAPTURE_FORMAT_S16 CAPTURE_FOURCC('S', '1', '6', 'L')
#define CAPTURE_FORMAT_ALAW CAPTURE_FOURCC('A', 'L', 'A', 'W')
#define CAPTURE_FORMAT_ULAW CAPTURE_FOURCC('U', 'L', 'A', 'W')
#define CAPTURE_FORMAT_AAC CAPTURE_FOURCC('M', 'P', '4', 'A')
/* Scans of an IIO buffer, as its scan elements say. */
#define CAPTURE_FORMAT_IIO CAPTURE_FOURCC('I', 'I', 'O', ' ')
/* One record of capture/record.h, its header included. */
#define CAPTURE_FORMAT_RECORD CAPTURE_FOURCC('K', 'V', 'S', 'R')

/* Most memory planes that one frame may have. */
#define CAPTURE_PLANES_MAX 4

struct sys_ops;

/**
 * enum capture_rung - where the memory of a queue comes from, best first
 *
 * Probed at open: the first that the kernel and the driver accept is taken
 * and reported; every one works, none is silent. S4 comes after S3 because
 * heap memory cannot be pinned for zero-copy sends and must be synced around
 * each read; it saves boards whose own memory is uncached or not exported.
 */
enum capture_rung {
	CAPTURE_RUNG_AUTO = 0,	/* as a request: the best there is */
	CAPTURE_RUNG_S1 = 1,	/* memfd + udmabuf arena, imported as DMABUF */
	CAPTURE_RUNG_S2 = 2,	/* the same from 2 MiB huge pages */
	CAPTURE_RUNG_S3 = 3,	/* driver's memory, exported, CPU-cached */
	CAPTURE_RUNG_S4 = 4,	/* memory of a dma-heap, imported as DMABUF */
	CAPTURE_RUNG_S5 = 5	/* driver's memory, uncached or not exported */
};

/* "S1" ...; "auto" for CAPTURE_RUNG_AUTO and "?" for any other value. */
CAPTURE_API const char *capture_rung_name(enum capture_rung rung);

enum capture_media {
	CAPTURE_MEDIA_PICTURE = 0,	/* one picture a frame, raw or not */
	CAPTURE_MEDIA_SAMPLES,		/* a run of samples: audio, SDR, IIO */
	CAPTURE_MEDIA_RECORD		/* opaque bytes: metadata, RADAR */
};

/**
 * struct capture_format - what a source gives, or a queue was set to
 *
 * Of a driver: filled in from its answer to S_FMT and S_PARM.
 */
struct capture_format {
	uint32_t fourcc;
	enum capture_media media;
	uint32_t width;		/* pixels; 0: no picture */
	uint32_t height;
	uint32_t plane_count;	/* memory planes, 1..CAPTURE_PLANES_MAX */
	uint32_t stride[CAPTURE_PLANES_MAX];	/* bytes per line */
	uint32_t size[CAPTURE_PLANES_MAX];	/* bytes of a whole plane */
	/* Frames per second as a fraction; 0/0: the driver does not say. */
	uint32_t rate_num;
	uint32_t rate_den;
	/* V4L2's codes, carried from camera to encoder as they are. */
	uint32_t colorspace;
	uint32_t xfer_func;
	uint32_t ycbcr_enc;
	uint32_t quantization;
	/* Of CAPTURE_MEDIA_SAMPLES: one sample is of all channels at once. */
	uint32_t sample_rate;	/* samples per second, nominal */
	uint32_t sample_bytes;
	uint32_t channels;
};

#endif
