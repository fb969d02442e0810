/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/codec_watch.h"

#include <string.h>

#include "base/log.h"
#include "proto/codec_check.h"
#include "serve/http.h"
#include "serve/live.h"
#include "serve/server.h"

#define CLIP_TRACKS 2u /* the rest is not in a clip */

/* FNV-1a: finds changes, guards nothing. */
static uint64_t hash_add(uint64_t hash, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	size_t i;

	for (i = 0; i < len; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_tracks(const struct mkv_document *doc)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	unsigned int i;

	for (i = 0; i < doc->tracks_count; i++) {
		const struct mkv_track *t = &doc->tracks[i];

		hash = hash_add(hash, &t->number, sizeof(t->number));
		hash = hash_add(hash, t->codec_id, strlen(t->codec_id) + 1);
		hash = hash_add(hash, t->codec_private, t->codec_private_bytes);
	}
	return hash ? hash : 1; /* 0: none yet */
}

bool codec_watch(const struct exchange *ex, struct live_stream *live,
		 const struct mkv_document *doc)
{
	struct metrics *m = ex->thread->metrics;
	bool good = codec_clip_tracks(doc->tracks, doc->tracks_count);
	uint64_t hash = hash_tracks(doc);
	unsigned int i;

	for (i = 0; i < doc->tracks_count; i++) {
		const struct mkv_track *t = &doc->tracks[i];
		enum codec_verdict v = codec_check(t);

		m->codec_tracks[v]++;
		if (v == CODEC_PLAYABLE)
			continue;
		if (i < CLIP_TRACKS)
			good = false;
		log_warn("serve",
			 "upload id=%s stream=%s track=%llu codec=%s will not "
			 "play in clips: %s",
			 ex->request_id, ex->stream.name,
			 (unsigned long long)t->number,
			 codec_name(mkv_track_codec(t)), codec_verdict_text(v));
	}
	if (live->codec_hash && live->codec_hash != hash) {
		m->codec_changes++;
		log_info("serve",
			 "upload id=%s stream=%s tracks or codec private are "
			 "not those of the upload before: no clip goes across",
			 ex->request_id, ex->stream.name);
	}
	live->codec_hash = hash;
	return good;
}
