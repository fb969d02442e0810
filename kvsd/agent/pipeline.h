/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Camera and encoder as one source of compressed frames: finds the devices,
 * agrees on a format that both take, moves frames, watches for stalls. One
 * thread.
 */
#ifndef AGENT_PIPELINE_H
#define AGENT_PIPELINE_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>
#include <capture/device.h>

#include "agent/config.h"
#include "base/macros.h"
#include "base/sys.h"

struct capture_frame;
struct pipeline;

struct pipeline_frame {
	const uint8_t *data;	/* borrowed for the call */
	size_t bytes;
	bool key;
	uint64_t stamp_ns;	/* CLOCK_MONOTONIC, or 0 = not known */
	bool at_exposure_start;	/* else at the end of the frame */
};

/* Both are called from pipeline_run(). */
struct pipeline_calls {
	void (*frame)(void *ctx, const struct pipeline_frame *frame);
	/* A raw frame that the encoder took. May be NULL. */
	void (*raw)(void *ctx, const struct capture_frame *frame);
};

/* What was agreed on. */
struct pipeline_info {
	char path[CAPTURE_PATH_BYTES];
	char card[33];
	struct capture_format format;	/* of the camera */
	uint32_t codec;			/* fourcc of the frames */
	const char *encoder;		/* "m2m", "openh264", "none" */
	bool source_imported;		/* the encoder reads the camera's memory */
	enum capture_rung camera_rung;
	enum capture_rung encoder_rung;
	uint64_t memory_bytes;		/* of the camera's buffers */
};

struct pipeline_stats {
	uint64_t frames;		/* of the camera */
	uint64_t frames_lost;		/* by the camera */
	uint64_t frames_skipped;	/* the encoder had no room */
	uint64_t packets;
	uint64_t copies;		/* of raw frames */
	uint64_t bytes_touched;
};

#define PIPELINE_ERROR_CHARS 1024u
#define PIPELINE_FDS_MAX 2u

/**
 * pipeline_open() - find, agree, start
 * @calls: must outlive the pipeline
 * @error: PIPELINE_ERROR_CHARS; on failure what is wrong and what there is
 *
 * Context: blocks in open(2) of the devices.
 * Return: 0, or the error of what failed (see capture/source.h, encoder.h).
 */
int pipeline_open(const struct sys_ops *sys, const struct agent_config *config,
		  const struct pipeline_calls *calls, void *ctx,
		  struct pipeline **ret_pipeline,
		  char *error) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct pipeline *pipeline_close(struct pipeline *p);

const struct pipeline_info *pipeline_info(const struct pipeline *p);
void pipeline_stats(const struct pipeline *p, struct pipeline_stats *ret);

/* What to poll for; returns how many of @fds were filled. */
size_t pipeline_fds(const struct pipeline *p,
		    struct pollfd fds[PIPELINE_FDS_MAX]);
/* When pipeline_run() is due although nothing is readable. */
uint64_t pipeline_deadline_ns(const struct pipeline *p);

/**
 * pipeline_run() - move what there is
 *
 * Return: 0, -ETIMEDOUT (the camera or the encoder is stuck), -ENODEV
 * (unplugged), or another error: close it. @error as of pipeline_open().
 */
int pipeline_run(struct pipeline *p, uint64_t now_ns, char *error) MUST_CHECK;

/* Asks for a key frame, if the encoder can. */
void pipeline_force_key(struct pipeline *p);

/* "YU12"; @out has 5 bytes. */
void fourcc_text(uint32_t fourcc, char *out);

#endif
