/* SPDX-License-Identifier: Apache-2.0 */
/* The tracks of a Matroska document, kept after its header is gone. Pure. */
#ifndef KVSCTL_TRACKS_H
#define KVSCTL_TRACKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/mkv_reader.h"

struct tracks {
	uint64_t timecode_scale_ns;	/* 0: none kept yet */
	unsigned int count;
	struct mkv_track tracks[MKV_TRACKS_MAX];	/* privates are owned */
};

/* Replaces what @t kept. Return: 0, -ENOMEM (and @t is empty). */
int tracks_keep(struct tracks *t, const struct mkv_document *doc) MUST_CHECK;

/* May frames of @doc follow those of the document that was kept? */
bool tracks_equal(const struct tracks *t, const struct mkv_document *doc);

void tracks_fini(struct tracks *t);

#endif
