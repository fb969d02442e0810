/* SPDX-License-Identifier: Apache-2.0 */
/* What the frames of an output are called in Matroska. */
#ifndef AGENT_TRACK_H
#define AGENT_TRACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvs/producer.h>

#include "agent/config.h"
#include "agent/output.h"
#include "base/macros.h"

#define TRACK_RANKS 4u
#define TRACK_NAME_CHARS 32u
#define TRACK_PRIVATE_CHARS 256u

struct track {
	char name[TRACK_NAME_CHARS + 1]; /* the source's; "-view" for a view */
	struct kvs_track kvs;	/* points into this and the output's info */
	char private[TRACK_PRIVATE_CHARS];
};

/*
 * Which of a stream's tracks comes first: video whose key frames are rare (a
 * fragment is cut at the first video track's), other video, audio, data. Below
 * TRACK_RANKS.
 */
unsigned int track_rank(const struct agent_source *source,
			const struct output_info *info);

/**
 * track_describe() - fill in @track, which must not move afterwards
 * @info: must outlive the track
 *
 * Data tracks: KVS_PAYLOAD_TIMED, and a codec private of JSON that says what
 * the payload is.
 */
void track_describe(const struct agent_source *source, bool view,
		    const struct output_info *info, struct track *track);

#endif
