/* SPDX-License-Identifier: Apache-2.0 */
/*
 * V4L2 devices behind `struct sys_ops`: cameras and M2M codecs at the level
 * of ioctl(2), with the checks of videobuf2, and a /dev/udmabuf. Calls that
 * are for none of them go to the kernel, so memory is real memory.
 *
 * Time is the fake's: poll() that finds nothing to report moves the clock to
 * its timeout and returns, so no test waits. A camera makes a frame when it
 * is polled; an encoder works when a buffer is queued.
 *
 * A frame's bytes are fake_v4l2_pixel(sequence). A packet is an FWHT header
 * (with the I frame flag at each key frame), then the CRC-32C of the raw
 * bytes that went in, big-endian. One of another codec is told by
 * fake_v4l2_packet_crc().
 *
 * Process-wide; one thread; fake_v4l2_reset() begins each test.
 */
#ifndef SUPPORT_FAKE_V4L2_H
#define SUPPORT_FAKE_V4L2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sys.h"
#include "support/fake_settings.h"

#define FAKE_V4L2_FRAME_NS UINT64_C(33000000)
#define FAKE_V4L2_PACKET_BYTES 48u

/* Radios give CU08, metadata nodes UVC's; both single-planar. */
enum fake_v4l2_kind {
	FAKE_CAMERA,
	FAKE_ENCODER,
	FAKE_DECODER,
	FAKE_RADIO,
	FAKE_METADATA
};

/* Where an encoder of H.264 gives SPS and PPS. */
enum fake_headers {
	FAKE_HEADERS_EACH_KEY,
	FAKE_HEADERS_FIRST_KEY,
	FAKE_HEADERS_ALONE,	/* a buffer of both before the first frame */
	FAKE_HEADERS_APART	/* a buffer of each */
};

#define FAKE_CODEC_CONTROLS 24

/* A control that an encoder has, beside those of struct fake_v4l2. */
struct fake_codec_control {
	uint32_t id;
	int32_t max;	/* more is clamped; of a menu: refused */
	bool menu;
	int32_t value;
	unsigned int sets;
};

/* Set fields at any time; counters are the fake's to write. */
struct fake_v4l2 {
	enum fake_v4l2_kind kind;
	bool mplane;
	/* What it lacks. */
	bool no_import;		/* REQBUFS(DMABUF) is refused */
	bool no_mmap;		/* ... MMAP, of raw frames to encode */
	bool import_faults;	/* ... is granted, but QBUF says -EFAULT */
	bool no_export;		/* EXPBUF */
	bool no_stop;		/* ENCODER_CMD */
	bool no_controls;
	bool contiguous;	/* imports huge pages alone */
	uint32_t stride_align;	/* of raw lines; 0: none */
	uint32_t data_bytes;	/* of a radio's buffers; 0: 1024 */
	bool counts;		/* a camera of Y16 alone */
	/* What each frame has at this byte; none of it: telemetry_bytes 0. */
	uint8_t telemetry[8];
	uint32_t telemetry_at;
	uint32_t telemetry_bytes;
	/* What goes wrong. */
	bool busy;		/* REQBUFS says -EBUSY */
	bool unplugged;		/* every call says -ENODEV */
	bool hang;		/* no buffer is ever done */
	unsigned int bad_index;	/* this many DQBUFs name buffer 99 */
	unsigned int same_index; /* ... name the one taken before */
	unsigned int error_frames; /* this many come with the error flag */
	unsigned int short_frames; /* this many lack their last byte */
	unsigned int huge_frames; /* this many claim more than their memory */
	/* Writes by CPU, as Linux 6.12 maps a udmabuf of huge pages for it. */
	bool writes_heads;
	uint32_t payload;	/* bytes that frames have; 0: all */
	/* This many frames lie so: */
	unsigned int far_frames; /* their payload begins outside */
	unsigned int zero_stamps;
	unsigned int odd_stamps; /* of two million microseconds */
	unsigned int back_stamps; /* of half a second before */
	unsigned int future_stamps; /* of an hour ahead */
	unsigned int old_frames; /* of before the start */
	unsigned int same_sequences;
	unsigned int back_sequences; /* 1000 less */
	unsigned int lost_frames; /* sequence numbers to leave out, once */
	unsigned int skip_packets; /* this many frames make no packet */
	unsigned int strange_keys; /* this many packets have a wrong key */
	unsigned int refuse_qbuf; /* this many QBUFs say -ENOMEM */
	unsigned int gop;	/* 0: only the first is a key frame */
	/* Of an encoder. */
	uint32_t codec;		/* 0: FWHT; or H264, HEVC, VP8, JPEG */
	enum fake_headers headers;
	bool delimiters;	/* each frame begins with one */
	unsigned int late_packet; /* the next one comes after so many others */
	unsigned int full_packets; /* this many fill their memory */
	uint32_t size_align;	/* power of two; raw sides are rounded up */
	bool no_crop;
	bool own_planes;	/* of the multi-planar call: takes YM12 alone */
	bool has_events;
	unsigned int source_changes; /* events that wait */
	bool ends_by_itself;	/* -EPIPE though nobody said stop */
	struct fake_codec_control controls[FAKE_CODEC_CONTROLS];
	uint32_t crop_width;	/* as set; 0: never */
	uint32_t crop_height;
	/* What happened. */
	unsigned int opens;	/* now open */
	unsigned int imports;	/* buffers queued as dma-bufs */
	unsigned int frames;	/* made, or read by the encoder */
	int32_t bitrate;
	unsigned int forced_keys;
	/* Of all but encoders and decoders; kept from open to open. */
	struct fake_settings settings;
};

const struct sys_ops *fake_v4l2_ops(void);
void fake_v4l2_reset(void);
/* Appears as /dev/video<n>, n counting from 0. */
struct fake_v4l2 *fake_v4l2_add(enum fake_v4l2_kind kind);
/* Whether /dev/udmabuf is there; it is after a reset. */
void fake_v4l2_udmabuf(bool present);
/* Whether huge pages are free; they are not after a reset. */
void fake_v4l2_huge_pages(bool present);
/* Whether /dev/dma_heap/system is there; it is not after a reset. */
void fake_v4l2_heap(bool present);
/* A source change is told; found_width and so on are the test's to set. */
void fake_v4l2_source_change(struct fake_v4l2 *dev);
/* What it is set to: compare by bytes. */
struct fake_state fake_v4l2_state(const struct fake_v4l2 *dev);
/* The value of every byte of the frame with this sequence number. */
uint8_t fake_v4l2_pixel(uint32_t sequence);
/* The checksum of the raw bytes, out of a packet that is no FWHT. */
uint32_t fake_v4l2_packet_crc(const uint8_t *bytes, size_t len);
/* Buffers that the device holds now, of both queues. */
unsigned int fake_v4l2_queued(const struct fake_v4l2 *dev);

#endif
