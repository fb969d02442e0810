/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream of the service: the tracks that belong to it and the producer
 * that uploads them, on a thread of its own.
 */
#ifndef AGENT_STREAM_H
#define AGENT_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include <kvs/producer.h>

#include "agent/cause.h"
#include "agent/config.h"
#include "agent/track.h"
#include "base/macros.h"
#include "base/sys.h"
#include "core/histogram.h"

struct stream {
	const struct sys_ops *sys;
	const struct agent_stream *config;
	struct kvs_producer *producer;
	struct track tracks[KVS_TRACKS_MAX];
	size_t track_count;
	uint64_t late_ms; /* the others wait so long for a track's frames */
	int left;			/* after stream_finish() */
	struct kvs_producer_stats stats; /* after stream_finish() */

	/* Shared with the producer's thread. */
	pthread_mutex_t lock;
	int64_t offset_ns;		/* Unix epoch - CLOCK_MONOTONIC */
	struct histogram latency_us;	/* newest frame to PERSISTED */
	struct cause service_cause;	/* producer's thread alone */
};

void stream_init(struct stream *s, const struct sys_ops *sys,
		 const struct agent_stream *config);
/* Also of one that was never started. What is not acknowledged is lost. */
void stream_fini(struct stream *s);

/*
 * Starts the producer with the tracks that were described. The stream must not
 * move from now on. Says on the log what is wrong.
 * Return: 0, or the errors of credentials_find() and kvs_producer_new().
 */
int stream_start(struct stream *s, const struct agent_config *config) MUST_CHECK;

/* What maps a stamp to a time, for the figures about latency. */
void stream_set_offset(struct stream *s, int64_t offset_ns);

/*
 * Seals what is open; does not wait, so that all streams end at once. No frame
 * may be put afterwards.
 */
void stream_end(struct stream *s);
/* Waits for the acknowledgements until @deadline_ns, CLOCK_MONOTONIC. */
void stream_finish(struct stream *s, uint64_t deadline_ns);

#endif
