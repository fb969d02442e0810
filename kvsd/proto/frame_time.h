/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a frame was taken, to the nanosecond, carried with the frame: in an
 * H.264 or H.265 stream as a user_data_unregistered SEI of our UUID, on data
 * tracks as the record itself in front of the payload.
 *
 * The record, big-endian, FRAME_TIME_BYTES. This is the one place that says
 * so; records of writers that do not align have zeros from 26 on.
 *	0	u64	aligned_ns
 *	8	u32	sigma_ns
 *	12	u32	epoch
 *	16	u64	raw_ns
 *	24	u8	clock
 *	25	u8	meaning
 *	26	u8	aligned_by
 *	27	5	zero
 *	32	u64	boot_ns
 */
#ifndef PROTO_FRAME_TIME_H
#define PROTO_FRAME_TIME_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/nal.h"

#define FRAME_TIME_BYTES 40
#define FRAME_TIME_UUID_BYTES 16
/* The longest SEI NAL unit: header, type, size, UUID, record, stop; escaped. */
#define FRAME_TIME_SEI_BYTES_MAX 93

extern const uint8_t frame_time_uuid[FRAME_TIME_UUID_BYTES];

enum frame_time_meaning {
	FRAME_TIME_UNKNOWN = 0,
	FRAME_TIME_EXPOSURE_START = 1,
	FRAME_TIME_FRAME_END = 2,
	FRAME_TIME_FRAME_START = 3,
	FRAME_TIME_EXPOSURE_MIDDLE = 4,
	FRAME_TIME_FIRST_SAMPLE = 5,
	FRAME_TIME_ARRIVAL = 6,
};

enum frame_time_aligned_by {
	FRAME_TIME_BY_UNKNOWN = 0,
	FRAME_TIME_BY_STAMP = 1, /* raw_ns alone */
	FRAME_TIME_BY_ESTIMATE = 2, /* a line fitted in user space */
	FRAME_TIME_BY_KERNEL = 3, /* tsalign.ko's map */
};

struct frame_time {
	uint64_t aligned_ns; /* best estimate, CLOCK_REALTIME (Unix epoch) */
	uint32_t sigma_ns; /* standard deviation; UINT32_MAX: unknown */
	uint32_t epoch; /* a new one after each clock step */
	uint64_t raw_ns; /* as the device stamped it, on @clock */
	uint8_t clock; /* clockid_t of @raw_ns (0 realtime, 1 monotonic ..) */
	uint8_t meaning; /* enum frame_time_meaning */
	uint8_t aligned_by; /* enum frame_time_aligned_by */
	uint64_t boot_ns; /* aligned_ns, CLOCK_BOOTTIME; 0: not known */
};

/* Writes FRAME_TIME_BYTES. */
void frame_time_encode(const struct frame_time *time, uint8_t *out);

/* 0, or -EBADMSG: short, an unknown meaning aligner or reserved byte. */
int frame_time_decode(const uint8_t *bytes, size_t len,
		      struct frame_time *ret_time) MUST_CHECK;

/*
 * Builds the SEI NAL unit (no start code, no length) at @out, which has
 * FRAME_TIME_SEI_BYTES_MAX; returns its length. It goes before the first
 * slice of its access unit, after an access unit delimiter if there is one.
 */
size_t frame_time_write_sei(enum nal_codec codec,
			    const struct frame_time *time, uint8_t *out);

/**
 * frame_time_read_sei() - our record in one SEI NAL unit
 *
 * Return: 0, -ENOENT (another SEI), -EBADMSG (ours, but malformed).
 */
int frame_time_read_sei(enum nal_codec codec, struct nal_span nal,
			struct frame_time *ret_time) MUST_CHECK;

/**
 * frame_time_find() - our record in an access unit, before its first slice
 * @length_bytes: 1, 2 or 4; 0 for Annex B
 *
 * Return: 0, -ENOENT (none), -EBADMSG (malformed).
 */
int frame_time_find(enum nal_codec codec, const uint8_t *bytes, size_t len,
		    unsigned int length_bytes,
		    struct frame_time *ret_time) MUST_CHECK;

#endif
