/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/playback.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kvs/client.h>

#include "base/sys.h"
#include "kvsctl/fragments.h"
#include "kvsctl/output.h"
#include "kvsctl/service.h"
#include "proto/codec_check.h"
#include "proto/mkv_reader.h"

#define NS_PER_MS 1000000u

struct probe {
	struct mkv_reader reader;
	json_t *tracks; /* NULL: no header yet */
	bool clip;
};

/*
 * The listing has no order and no "last": look at ever more of the past. A
 * stream that is being recorded costs one small page.
 */
static int newest(struct ctl *ctl, const char *stream, json_t **ret_fragment)
{
	static const uint64_t windows_ms[] = {60000, 3600000, 86400000,
					      UINT64_MAX};
	uint64_t now_ms = sys_now_ns(sys_posix(), CLOCK_REALTIME) / NS_PER_MS;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(windows_ms); i++) {
		struct range range = {.server_time = true};
		json_t *all = NULL;
		size_t count;
		int code;

		range.has_from = windows_ms[i] < now_ms;
		range.from_ms = range.has_from ? now_ms - windows_ms[i] : 0;
		code = fragments_list(ctl, stream, &range, &all);
		if (code != CTL_OK)
			return code;
		count = json_array_size(all);
		if (count)
			*ret_fragment =
				json_incref(json_array_get(all, count - 1));
		json_decref(all);
		if (count)
			return CTL_OK;
	}
	*ret_fragment = NULL;
	return CTL_OK;
}

static int on_document(void *ctx, const struct mkv_document *doc)
{
	struct probe *p = ctx;
	unsigned int i;

	p->clip = codec_clip_tracks(doc->tracks, doc->tracks_count);
	p->tracks = json_array();
	for (i = 0; i < doc->tracks_count; i++) {
		const struct mkv_track *t = &doc->tracks[i];
		enum codec_verdict v = codec_check(t);

		(void)json_array_append_new(
			p->tracks,
			json_pack("{s:I, s:s, s:I, s:b, s:s}", "TrackNumber",
				  (json_int_t)t->number, "CodecId", t->codec_id,
				  "CodecPrivateBytes",
				  (json_int_t)t->codec_private_bytes,
				  "Playable", v == CODEC_PLAYABLE, "Verdict",
				  codec_verdict_text(v)));
	}
	return 0;
}

static const struct mkv_reader_ops ops = {.document = on_document};

static int on_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct probe *p = ctx;
	size_t used;
	int r = mkv_reader_feed(&p->reader, bytes, len, &used);

	return r < 0 ? r : p->tracks != NULL; /* the media is of no interest */
}

static int fetch(struct ctl *ctl, const char *stream, const json_t *number,
		 struct probe *p)
{
	char url[SERVICE_URL_CHARS_MAX];
	struct kvs_reply reply = {0};
	json_t *rq;
	char *text;
	int code;
	int r;

	code = service_endpoint(ctl, stream, "GET_MEDIA_FOR_FRAGMENT_LIST",
				url);
	if (code != CTL_OK)
		return code;
	rq = json_pack("{s:s, s:[O]}", "StreamName", stream, "Fragments",
		       number);
	text = rq ? json_dumps(rq, JSON_COMPACT | OUTPUT_JSON_FLAGS) : NULL;
	json_decref(rq);
	if (!text)
		return ctl_fail(CTL_LOCAL, "out of memory");
	mkv_reader_init(&p->reader, &ops, p, MKV_READER_MULTI);
	r = kvs_client_call(ctl->client, url, "/getMediaForFragmentList", text,
			    strlen(text), on_body, p, &reply);
	free(text);
	mkv_reader_fini(&p->reader);
	if (r >= 0 && reply.status != 200)
		return service_complain(&reply, stream);
	if (p->tracks)
		return CTL_OK;
	if (r < 0 && !p->reader.failed)
		return service_unreached(ctl, r,
					 kvs_client_reason(ctl->client));
	return ctl_fail(CTL_NETWORK, "the newest fragment has no header");
}

int playback_check(struct ctl *ctl, const char *stream, json_t **ret_playback)
{
	struct probe p = {.tracks = NULL};
	json_t *fragment = NULL;
	const json_t *number;
	int code = newest(ctl, stream, &fragment);

	if (code != CTL_OK)
		return code;
	if (!fragment) {
		*ret_playback = json_null();
		return CTL_OK;
	}
	number = json_object_get(fragment, "FragmentNumber");
	code = fetch(ctl, stream, number, &p);
	if (code == CTL_OK)
		*ret_playback = json_pack("{s:O, s:b, s:o}", "FragmentNumber",
					  number, "ClipTracks", p.clip,
					  "Tracks", p.tracks);
	else
		json_decref(p.tracks);
	json_decref(fragment);
	return code;
}
