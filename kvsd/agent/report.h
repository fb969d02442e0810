/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent did, as one JSON object. */
#ifndef AGENT_REPORT_H
#define AGENT_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "agent/feed.h"
#include "agent/stream.h"
#include "base/buf.h"
#include "base/macros.h"

struct report {
	const struct feed *feeds;	/* closed */
	size_t feed_count;
	const struct stream *streams;	/* finished */
	size_t stream_count;
	uint64_t duration_ns;
	uint32_t clock_epoch;
};

/*
 * Appends it, with a line end:
 *
 *	{"role":"agent", "duration_s":..., "clock_epochs":...,
 *	 "sources":[{"name":..., "device":..., "frames_captured":...,
 *	             "tracks":[{"name":..., "stream":..., "number":...,
 *	                        "codec":..., "frames_put":...}]}],
 *	 "streams":[{"name":..., "fragments_persisted":...}]}
 *
 * Return: 0, -ENOMEM, -ENOBUFS.
 */
int report_write(const struct report *r, struct buf *out) MUST_CHECK;

#endif
