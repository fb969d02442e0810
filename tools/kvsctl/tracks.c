/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/tracks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int tracks_keep(struct tracks *t, const struct mkv_document *doc)
{
	unsigned int i;

	tracks_fini(t);
	for (i = 0; i < doc->tracks_count; i++) {
		struct mkv_track *to = &t->tracks[i];
		uint8_t *copy;

		*to = doc->tracks[i];
		to->codec_private = NULL;
		t->count++;
		if (!to->codec_private_bytes)
			continue;
		copy = malloc(to->codec_private_bytes);
		if (!copy) {
			tracks_fini(t);
			return -ENOMEM;
		}
		memcpy(copy, doc->tracks[i].codec_private,
		       to->codec_private_bytes);
		to->codec_private = copy;
	}
	t->timecode_scale_ns = doc->timecode_scale_ns;
	return 0;
}

static bool same_track(const struct mkv_track *a, const struct mkv_track *b)
{
	return a->number == b->number && a->type == b->type &&
	       strcmp(a->codec_id, b->codec_id) == 0 &&
	       a->width == b->width && a->height == b->height &&
	       a->fourcc == b->fourcc && a->rate_hz == b->rate_hz &&
	       a->channels == b->channels && a->bits == b->bits &&
	       a->codec_private_bytes == b->codec_private_bytes &&
	       (!a->codec_private_bytes ||
		memcmp(a->codec_private, b->codec_private,
		       a->codec_private_bytes) == 0);
}

bool tracks_equal(const struct tracks *t, const struct mkv_document *doc)
{
	unsigned int i;

	if (t->timecode_scale_ns != doc->timecode_scale_ns ||
	    t->count != doc->tracks_count)
		return false;
	for (i = 0; i < t->count; i++) {
		if (!same_track(&t->tracks[i], &doc->tracks[i]))
			return false;
	}
	return true;
}

void tracks_fini(struct tracks *t)
{
	unsigned int i;

	for (i = 0; i < t->count; i++)
		free((void *)(uintptr_t)t->tracks[i].codec_private);
	*t = (struct tracks){ 0 };
}
