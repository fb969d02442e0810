/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One source and its place: the pipeline, the stream and tracks that its
 * frames go to, what they are stamped with, what was told about it.
 */
#ifndef AGENT_FEED_H
#define AGENT_FEED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/cause.h"
#include "agent/config.h"
#include "agent/pipeline.h"
#include "agent/stream.h"
#include "agent/tap.h"
#include "base/macros.h"
#include "base/sys.h"
#include "core/clock_map.h"

/* The clocks, as the agent's loop keeps them. */
struct feed_clock {
	struct clock_map map;
	int64_t boot_offset_ns;	/* CLOCK_BOOTTIME - CLOCK_MONOTONIC */
	uint64_t boot_width_ns;	/* how well that is known; 0: not yet */
};

struct feed_output {
	uint32_t track;		/* index in its stream */
	struct tap *tap;	/* NULL: not asked for */
	struct cause cause;	/* of frames that the producer refused */
	/* The newest frame's: its stamp, its time, when it is decoded. */
	uint64_t stamp_ns;
	uint64_t time_ns;
	uint64_t decode_ns;
	uint32_t map_epoch;	/* of the clocks' map, that times it; 0: none */
	uint64_t frames_put;
	uint64_t frames_refused;
	struct output_info info;	/* private: not after feed_close() */
	struct output_stats stats;	/* after feed_close() */
};

struct feed {
	const struct sys_ops *sys;
	const struct agent_source *config;
	const struct feed_clock *clock;
	struct stream *stream;
	struct pipeline *pipeline;
	struct pipeline_info info;
	struct pipeline_stats stats;	/* after feed_close() */
	struct feed_output outputs[PIPELINE_OUTPUTS_MAX];
	size_t output_count;
	struct cause cause;
	uint64_t busy_ns;	/* in pipeline_run(), all told */
	uint64_t busy_ns_max;	/* at once: the others wait so long */
};

/**
 * feed_open() - find and open what the source needs; nothing streams yet
 * @clock: must outlive the feed; of the loop's thread
 * @tapped: feed_tap() will be called: the CPU reads every frame
 *
 * Says on the log what is wrong and what there is.
 * Return: 0, or the errors of pipeline_open().
 */
int feed_open(struct feed *f, const struct sys_ops *sys,
	      const struct agent_source *config, const struct feed_clock *clock,
	      struct stream *stream, bool tapped) MUST_CHECK;

/* Writes what goes through to DIR/TRACK/. Call when tracks have names. */
int feed_tap(struct feed *f, const char *dir) MUST_CHECK;

/* After the stream was started. Says what is wrong. */
int feed_start(struct feed *f) MUST_CHECK;

/* Takes the figures and closes all. Also of a feed that was never opened. */
void feed_close(struct feed *f);

#endif
