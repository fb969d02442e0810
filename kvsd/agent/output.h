/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a source's frames on one track: they are encoded, or passed
 * on as they are. A failed or stuck encoder is opened again, with backoff;
 * frames meanwhile are counted as skipped. One thread; a software encoder has
 * another one (agent/encode_thread.h), but calls back on this one.
 */
#ifndef AGENT_OUTPUT_H
#define AGENT_OUTPUT_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/frame.h>
#include <capture/thermal.h>

#include "agent/config.h"
#include "base/macros.h"
#include "base/sys.h"

struct output;

/* One frame on its way to the service. */
struct output_frame {
	const uint8_t *data;	/* borrowed for the call */
	size_t bytes;
	bool key;
	uint64_t stamp_ns;	/* of @clock */
	uint64_t decode_ns;	/* of @clock; 0: @stamp_ns */
	enum capture_clock clock;
	enum capture_point point;
	uint32_t epoch;		/* the source's */
	struct capture_aligned aligned;
};

struct output_calls {
	void (*frame)(void *ctx, const struct output_frame *frame);
	/* A raw frame that the encoder took. */
	void (*raw)(void *ctx, const struct capture_frame *frame);
	/* @text: what went wrong; NULL: it is over. */
	void (*trouble)(void *ctx, const char *text);
};

struct output_config {
	const struct agent_source *source; /* must outlive the output */
	const struct capture_format *format; /* of the frames; copied */
	bool view;		/* the colour-mapped picture of thermal frames */
	bool source_dmabuf;	/* @format's frames can be imported */
	uint32_t frames_held;	/* of the source, that may be out at once */
	uint32_t frames_all;	/* of the source, wherever they are */
	uint64_t fragment_ms;	/* of the stream: a key frame each */
	const struct output_calls *calls; /* must outlive the output */
	void *ctx;
};

/* What was agreed on. */
struct output_info {
	struct capture_format format;	/* of what is encoded */
	uint32_t codec;			/* fourcc of the frames */
	const char *encoder;		/* "m2m", "openh264", ...; "none" */
	bool source_imported;		/* reads the source's memory */
	bool threaded;			/* encoded on a thread of its own */
	uint64_t late_ms;		/* what a burst may keep a frame back */
	enum capture_rung rung;
	/* What a decoder needs first; borrowed from the output. */
	const uint8_t *private;
	size_t private_bytes;
};

#define OUTPUT_TELEMETRY_BYTES 64u

/* As the sensor gave it: what it means, its maker knows. */
struct output_telemetry {
	uint8_t bytes[OUTPUT_TELEMETRY_BYTES];
	size_t count;		/* 0: none */
};

struct output_stats {
	uint64_t frames_skipped; /* the encoder had no room, or was away */
	uint64_t frames_queue_full; /* its thread's queue was full: dropped */
	uint64_t packets;
	uint64_t reopened;	/* the encoder */
	uint64_t copies;	/* of raw frames */
	uint64_t bytes_touched;
	/* Of its thread; 0 without one. */
	uint64_t encode_ns;
	uint64_t encode_ns_max;	/* with one frame */
	uint32_t queue_frames_max; /* most that were inside at once */
	/* Of a view: zeroes else. What it shows. */
	struct capture_thermal_stats thermal;
	/*
	 * Of a thermal core: with a view, what its newest picture measures;
	 * else a frame of the last second.
	 */
	bool has_reading;
	struct capture_thermal_reading reading;
	struct output_telemetry telemetry;
};

#define OUTPUT_ERROR_CHARS 1024u

/**
 * output_open() - find an encoder for these frames, or decide to do without
 * @error: OUTPUT_ERROR_CHARS; on failure what is wrong and what there is
 *
 * Context: blocks in open(2).
 * Return: 0, or the errors of capture_encoder_open().
 */
int output_open(const struct sys_ops *sys, const struct output_config *config,
		struct output **ret_output, char *error) MUST_CHECK;
/* Accepts NULL, returns NULL. Close it before its source. */
struct output *output_close(struct output *o);
DEFINE_AUTO(output_close, struct output *)

const struct output_info *output_info(const struct output *o);
void output_stats(const struct output *o, struct output_stats *ret);

/* How long a frame lasts; 0: the source does not say. */
uint64_t output_frame_ns(const struct capture_format *format);

/* Fills in at most one of @fds; returns how many. */
size_t output_fds(const struct output *o, struct pollfd *fds);
/* When output_run() is due although nothing is readable. */
uint64_t output_deadline_ns(const struct output *o);

/* Whether output_put() would not drop a frame for want of room. */
bool output_has_room(const struct output *o);
/* A frame of the source. Calls back for what comes out at once. */
void output_put(struct output *o, struct capture_frame *frame,
		uint64_t now_ns);
/* What came out meanwhile; opens the encoder again when that is due. */
void output_run(struct output *o, uint64_t now_ns);
/* No frame will come: the encoder is asked for what it keeps back. */
void output_end(struct output *o);
/*
 * After output_end(): takes what came out, without waiting; poll output_fds()
 * for more. True: nothing more will come.
 */
bool output_drain(struct output *o);
/* What has not come out by now is lost, and counted. */
void output_stop(struct output *o);

/* Asks for a key frame, if the encoder can. */
void output_force_key(struct output *o);

#endif
