/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a thread counts. Plain numbers, written by their thread only; whoever
 * wants them asks the thread for a copy (serve/ops.c) and adds the copies up,
 * so that counting costs no lock and no atomic, and a copy is consistent in
 * itself. Names, units and meanings are those of CloudWatch's AWS/KinesisVideo.
 */
#ifndef SERVE_METRICS_H
#define SERVE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/histogram.h"
#include "proto/codec_check.h"

enum metric_api {
	API_CREATE_STREAM = 0,
	API_DESCRIBE_STREAM,
	API_LIST_STREAMS,
	API_DELETE_STREAM,
	API_UPDATE_DATA_RETENTION,
	API_GET_DATA_ENDPOINT,
	API_PUT_MEDIA,
	API_GET_MEDIA,
	API_GET_MEDIA_FOR_FRAGMENT_LIST,
	API_LIST_FRAGMENTS,
	API_GET_CLIP,
	API_LIST_TAGS,
};
#define METRIC_API_COUNT (API_LIST_TAGS + 1)

struct metric_time {
	uint64_t sum_us;
	struct histogram us;
};

struct metric_call {
	uint64_t requests;	    /* answered, well or not */
	uint64_t success;	    /* ... with 200 */
	uint64_t errors;	    /* ... with an error */
	uint64_t bytes;		    /* of answers' bodies */
	uint64_t frames;	    /* sent whole */
	uint64_t fragments;	    /* sent whole */
	uint64_t fragments_tried;   /* ... and those cut off */
	struct metric_time latency; /* to the answer's head when it streams,
				     * else to its end */
};

/* Every member is a uint64_t, or made of them: metrics_add() relies on it. */
struct metrics {
	struct metric_call calls[METRIC_API_COUNT];
	uint64_t unknown_requests; /* no such operation, or not HTTP */
	uint64_t in_bytes;	   /* PutMedia's body */
	uint64_t in_fragments;	   /* received whole */
	uint64_t in_frames;
	uint64_t error_acks;
	uint64_t codec_tracks[CODEC_VERDICT_COUNT]; /* of uploads' headers */
	uint64_t codec_changes;		  /* from one upload to the next */
	uint64_t stored;		  /* fragments that are persisted */
	uint64_t stored_tried;		  /* ... and that could not be */
	struct metric_time ingestion;	  /* first byte to last byte */
	struct metric_time persist;	  /* whole to on disk */
	struct metric_time buffering_ack; /* first byte to the ack */
	struct metric_time received_ack;  /* last byte to the ack */
	struct metric_time persisted_ack;
	struct metric_time behind_now; /* GetMedia, per fragment */
	uint64_t media_points;	       /* ArchivedFragmentsConsumed */
	uint64_t metadata_points;
	/* As it is now. */
	uint64_t uploads;
	uint64_t uploads_no_clip; /* ... of which no clip can be made */
	uint64_t readers;
	uint64_t connections;
};

void metric_time_add(struct metric_time *t, uint64_t ns);

/* @sum += @one */
void metrics_add(struct metrics *sum, const struct metrics *one);

/* Appends Prometheus' text format 0.0.4. A full @out has failed set. */
void metrics_render(struct buf *out, const struct metrics *m);

/* One gauge or counter of ours; @name "kvsd_..." */
void metrics_value(struct buf *out, const char *name, const char *type,
		   const char *help, uint64_t value);

#endif
