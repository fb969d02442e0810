/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first bytes of each frame, looked at for the nanosecond time that it
 * may carry (proto/frame_time.h). Media is not kept: FRAME_PROBE_BYTES are
 * enough for an SEI behind an access unit delimiter.
 */
#ifndef CORE_FRAME_PROBE_H
#define CORE_FRAME_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"
#include "proto/mkv.h"

struct frame_probe {
	size_t len;
	uint8_t bytes[FRAME_PROBE_BYTES];
};

static inline void frame_probe_begin(struct frame_probe *p)
{
	p->len = 0;
}

void frame_probe_add(struct frame_probe *p, const uint8_t *bytes, size_t len);

/* The frame's aligned time, Unix epoch ns; false when it carries none. */
bool frame_probe_time(const struct frame_probe *p,
		      const struct mkv_track *track, uint64_t *ret_ns);

#endif
