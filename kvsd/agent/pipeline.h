/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One source of frames and what becomes of them: finds the device, agrees on
 * a format that its outputs take, moves frames to them. What goes wrong later
 * is looked after (capture/supervisor.h) and told; it never ends the pipeline
 * and touches no other one. One thread.
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
#include "agent/output.h"
#include "base/macros.h"
#include "base/sys.h"

#define PIPELINE_OUTPUTS_MAX 2u		/* the frames, and a view of them */
#define PIPELINE_FDS_MAX (1 + PIPELINE_OUTPUTS_MAX)
#define PIPELINE_ERROR_CHARS OUTPUT_ERROR_CHARS

struct pipeline;

/* All on the thread of pipeline_run(). @output: 0, or 1 for a view. */
struct pipeline_calls {
	void (*frame)(void *ctx, size_t output,
		      const struct output_frame *frame);
	/* A raw frame that an encoder took, to be read. NULL: nobody does. */
	void (*raw)(void *ctx, size_t output,
		    const struct capture_frame *frame);
	/* @text: what went wrong; NULL: it is over. */
	void (*trouble)(void *ctx, const char *text);
};

/* What was agreed on. */
struct pipeline_info {
	char path[AGENT_TEXT_CHARS];
	char card[33];		/* "" of what has none */
	struct capture_format format;
	enum capture_rung rung;
	uint64_t memory_bytes;	/* of the source's buffers */
	bool import_only;	/* a device imports the frames; no CPU reads */
};

struct pipeline_stats {
	uint64_t frames;	/* of the source */
	uint64_t frames_lost;	/* gaps in the driver's sequence */
	uint64_t frames_starved; /* of these: the driver had no buffer */
	uint64_t frames_dropped; /* all buffers and copies were with us */
	uint64_t frames_error;	/* damaged, left out */
	uint64_t overruns;	/* audio, IIO: read too late */
	uint64_t scans_lost;	/* IIO: also inside frames */
	uint64_t counts_guessed; /* of the sensor's counter, see its key */
	uint64_t counts_anew;
	uint64_t stamps_replaced; /* that could not be */
	uint64_t copies;	/* handed out as copies */
	uint64_t bytes_touched;
	uint64_t reopened;	/* or started again */
	uint64_t stuck;		/* calls that a driver did not return from */
	uint64_t outage_ns;
	/* Frames stayed in the device, as no output had room for one. */
	uint64_t held_ns;
	/* What aligned time takes off its samples, and capture_alignment.wrong. */
	int64_t align_delay_ns;
	const char *align_wrong;
	enum capture_rung rung;	/* of the source's memory, now */
	bool s2_given_up;	/* see capture_source_stats */
};

/**
 * pipeline_open() - find, agree; nothing streams yet
 * @source: must outlive the pipeline
 * @fragment_ms: of the stream
 * @calls: must outlive the pipeline
 * @error: PIPELINE_ERROR_CHARS; on failure what is wrong and what there is
 *
 * Context: blocks in open(2) of the devices.
 * Return: 0, or the error of what failed (see capture/source.h, encoder.h).
 */
int pipeline_open(const struct sys_ops *sys, const struct agent_source *source,
		  uint64_t fragment_ms, const struct pipeline_calls *calls,
		  void *ctx, struct pipeline **ret_pipeline,
		  char *error) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct pipeline *pipeline_close(struct pipeline *p);

/* Return: 0, or the errors of capture_source_start(). @error as above. */
int pipeline_start(struct pipeline *p, char *error) MUST_CHECK;

const struct pipeline_info *pipeline_info(const struct pipeline *p);
size_t pipeline_output_count(const struct pipeline *p);
const struct output *pipeline_output(const struct pipeline *p, size_t index);
void pipeline_stats(const struct pipeline *p, struct pipeline_stats *ret);

/* What to poll for; returns how many of @fds were filled. */
size_t pipeline_fds(const struct pipeline *p,
		    struct pollfd fds[PIPELINE_FDS_MAX]);
/* When pipeline_run() is due although nothing is readable. */
uint64_t pipeline_deadline_ns(const struct pipeline *p);

/*
 * Moves what there is, at most one frame, or PIPELINE_TURN_FRAMES_MAX of a
 * source that is behind: others want to run, too. When no output has room,
 * frames stay in the device: a burst can wait there, and what the device then
 * loses it counts.
 */
void pipeline_run(struct pipeline *p, uint64_t now_ns);

/* No frame comes any more; encoders are asked for what they keep back. */
void pipeline_stop(struct pipeline *p);
/*
 * After it: what has come out of the encoders meanwhile. Fills in @fds, at
 * most PIPELINE_FDS_MAX, to poll for more.
 * Return: how many; 0: nothing more will come.
 */
size_t pipeline_drain(struct pipeline *p, struct pollfd *fds);
/* What is still inside is lost, and counted. */
void pipeline_end(struct pipeline *p);

/* Asks for key frames, where encoders can. */
void pipeline_force_key(struct pipeline *p);

/* "YU12"; @out has 5 bytes. */
void fourcc_text(uint32_t fourcc, char *out);

#endif
