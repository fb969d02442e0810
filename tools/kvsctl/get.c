/* SPDX-License-Identifier: Apache-2.0 */
/*
 * get: GetMedia's reply, a Matroska document per fragment, joined into one or
 * as it is.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <kvs/client.h>

#include "base/parse.h"
#include "base/sys.h"
#include "kvsctl/ctl.h"
#include "kvsctl/fragments.h"
#include "kvsctl/output.h"
#include "kvsctl/service.h"
#include "kvsctl/sink.h"
#include "kvsctl/text.h"
#include "kvsctl/tracks.h"
#include "proto/mkv_reader.h"

#define NS_PER_MS 1000000u
#define AWS_TAG "AWS_KINESISVIDEO_"

struct get {
	/* what to do */
	bool raw;
	uint64_t count_max;	/* 0 = no end */
	uint64_t duration_ns;	/* 0 = no end */
	char newest[129];	/* --no-follow: end after this one; "" = no */

	struct sink sink;
	struct mkv_reader reader;
	struct tracks tracks;	/* of the document that is being joined */
	bool ended;		/* as much as was asked for */

	/* what was read */
	uint64_t fragments;
	bool timed;		/* first_ns is set */
	uint64_t first_ns;	/* media times */
	uint64_t last_ns;
	uint64_t gap_ns;	/* between the last two frames of a track */
	uint64_t track_ns[MKV_TRACKS_MAX];

	/* tags */
	char token[129];	/* of the last whole one */
	bool complete;		/* the token came with the open Tags */
	char error_id[16];
	char error_code[65];
};

static int get_bytes(void *ctx, enum mkv_region region, uint64_t offset,
		     const uint8_t *bytes, size_t len)
{
	struct get *g = ctx;

	(void)offset;
	/* A joined document has its header once, from get_document(). */
	if (!g->raw && (region == MKV_REGION_HEADER ||
			region == MKV_REGION_OTHER))
		return 0;
	return sink_write(&g->sink, bytes, len);
}

static int get_document(void *ctx, const struct mkv_document *doc)
{
	struct get *g = ctx;
	int r;

	if (g->raw || tracks_equal(&g->tracks, doc))
		return 0;
	r = tracks_keep(&g->tracks, doc);
	if (r < 0)
		return r;
	return sink_write(&g->sink, doc->header, doc->header_bytes);
}

static int get_frame(void *ctx, const struct mkv_frame *frame)
{
	struct get *g = ctx;
	uint64_t *last = &g->track_ns[frame->track_index];

	if (!g->timed)
		g->first_ns = frame->time_ns;
	if (g->timed && *last && frame->time_ns > *last)
		g->gap_ns = frame->time_ns - *last;
	g->timed = true;
	*last = frame->time_ns;
	g->last_ns = MAX(g->last_ns, frame->time_ns);
	return 0;
}

static int get_tag(void *ctx, const struct mkv_tag_event *event)
{
	struct get *g = ctx;
	const struct mkv_tag *t = &event->tag;

	if (text_of_tag(t, AWS_TAG "CONTINUATION_TOKEN", g->token,
			sizeof(g->token)))
		g->complete = true;
	(void)text_of_tag(t, AWS_TAG "ERROR_ID", g->error_id,
			  sizeof(g->error_id));
	(void)text_of_tag(t, AWS_TAG "ERROR_CODE", g->error_code,
			  sizeof(g->error_code));
	return 0;
}

static int get_tags_begin(void *ctx, uint64_t offset)
{
	struct get *g = ctx;

	(void)offset;
	g->complete = false;
	return 0;
}

/* The token is the fragment's number. */
static bool at_newest(const struct get *g)
{
	size_t len = strlen(g->newest);

	return len && (strlen(g->token) > len ||
		       (strlen(g->token) == len &&
			strcmp(g->token, g->newest) >= 0));
}

/* The token is the last thing in a fragment. */
static int get_tags_end(void *ctx, uint64_t offset)
{
	struct get *g = ctx;

	(void)offset;
	if (!g->complete)
		return 0;
	g->fragments++;
	g->ended = (g->count_max && g->fragments >= g->count_max) ||
		   (g->duration_ns &&
		    g->last_ns + g->gap_ns - g->first_ns >= g->duration_ns) ||
		   at_newest(g);
	return g->ended;
}

static const struct mkv_reader_ops get_ops = {
	.bytes = get_bytes,
	.document = get_document,
	.frame_begin = get_frame,
	.tags_begin = get_tags_begin,
	.tag = get_tag,
	.tags_end = get_tags_end,
};

static int get_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct get *g = ctx;
	size_t used;
	int r;

	while (len && !g->ended) {
		r = mkv_reader_feed(&g->reader, bytes, len, &used);
		if (r < 0)
			return r;
		bytes += used;
		len -= used;
	}
	return g->ended;
}

/* --- the request ------------------------------------------------------- */

static json_t *selector_json(const struct start *start)
{
	static const char *const types[] = {
		[START_NOW] = "NOW",
		[START_EARLIEST] = "EARLIEST",
		[START_FRAGMENT] = "FRAGMENT_NUMBER",
		[START_SERVER_TIME] = "SERVER_TIMESTAMP",
		[START_PRODUCER_TIME] = "PRODUCER_TIMESTAMP",
		[START_TOKEN] = "CONTINUATION_TOKEN",
	};
	json_t *out = json_pack("{s:s}", "StartSelectorType",
				types[start->kind]);

	switch (start->kind) {
	case START_FRAGMENT:
		(void)json_object_set_new(out, "AfterFragmentNumber",
					  json_pack("s", start->text));
		break;
	case START_TOKEN:
		(void)json_object_set_new(out, "ContinuationToken",
					  json_pack("s", start->text));
		break;
	case START_SERVER_TIME:
	case START_PRODUCER_TIME:
		(void)json_object_set_new(out, "StartTimestamp",
					  json_real((double)start->ms / 1000));
		break;
	case START_NOW:
	case START_EARLIEST:
		break;
	}
	return out;
}

/* Finds the fragment that --no-follow ends with. */
static int find_newest(struct ctl *ctl, const char *stream, struct get *g)
{
	const struct range all = { .server_time = true };
	json_t *fragments = NULL;
	json_t *f;
	size_t i;
	int code;

	code = fragments_list(ctl, stream, &all, &fragments);
	if (code != CTL_OK)
		return code;
	json_array_foreach(fragments, i, f) {
		const char *n = json_string_value(
			json_object_get(f, "FragmentNumber"));

		if (n && strlen(n) < sizeof(g->newest) &&
		    (strlen(n) > strlen(g->newest) ||
		     strcmp(n, g->newest) > 0))
			(void)snprintf(g->newest, sizeof(g->newest), "%s", n);
	}
	json_decref(fragments);
	if (!g->newest[0])
		return ctl_fail(CTL_NOT_FOUND,
				"stream '%s' holds no fragment yet", stream);
	return CTL_OK;
}

static int result_of(struct ctl *ctl, const struct get *g, int r,
		     const struct kvs_reply *reply, const char *reason,
		     const char *stream)
{
	if (g->sink.error == -EPIPE)
		return CTL_OK;
	if (g->sink.error)
		return CTL_LOCAL;
	if (g->reader.failed)
		return ctl_fail(CTL_NETWORK, "what came is not Matroska: %s",
				mkv_error_name(g->reader.error));
	if (r < 0)
		return service_unreached(ctl, r, reason);
	if (reply->status == 404)
		return ctl_fail(CTL_NOT_FOUND,
				"stream '%s' does not exist, or holds nothing "
				"there; see: kvsctl fragments %s",
				stream, stream);
	if (reply->status != 200)
		return service_complain(reply, stream);
	if (g->error_id[0])
		return ctl_fail(strcmp(g->error_id, "4000") == 0 ?
					CTL_NOT_FOUND :
					CTL_REFUSED,
				"the service ended the stream: %s %s",
				g->error_id, g->error_code);
	return CTL_OK;
}

static int fetch(struct ctl *ctl, const char *stream,
		 const struct start *start, struct get *g)
{
	struct kvs_client_config config;
	struct kvs_client *client = NULL;
	char url[SERVICE_URL_CHARS_MAX];
	struct kvs_reply reply = { 0 };
	json_t *rq;
	char *text;
	int code;
	int r;

	code = service_endpoint(ctl, stream, "GET_MEDIA", url);
	if (code != CTL_OK)
		return code;
	service_hang_up(ctl);
	/* A live stream may be silent for long. */
	config = service_config(ctl);
	if (!ctl->timeout_given && !g->newest[0])
		config.timeout_ms = CTL_GET_QUIET_MS;
	rq = json_pack("{s:s, s:o}", "StreamName", stream, "StartSelector",
		       selector_json(start));
	text = rq ? json_dumps(rq, JSON_COMPACT | OUTPUT_JSON_FLAGS) : NULL;
	json_decref(rq);
	r = text ? kvs_client_new(&config, &client) : -ENOMEM;
	if (r < 0) {
		free(text);
		return ctl_fail(CTL_LOCAL, "%s", strerror(-r));
	}
	r = kvs_client_call(client, url, "/getMedia", text, strlen(text),
			    get_body, g, &reply);
	free(text);
	code = result_of(ctl, g, r, &reply, kvs_client_reason(client), stream);
	(void)kvs_client_free(client);
	return code;
}

static void say(const struct get *g)
{
	json_t *out = json_pack("{s:I, s:I, s:s}", "Fragments",
				(json_int_t)g->fragments, "Bytes",
				(json_int_t)g->sink.bytes,
				"ContinuationToken", g->token);

	(void)json_dumpf(out, g->sink.owned ? stdout : stderr,
			 JSON_INDENT(2));
	(void)fputc('\n', g->sink.owned ? stdout : stderr);
	json_decref(out);
}

static int get(struct ctl *ctl, const char *stream, const char *output,
	       const struct start *start, bool follow, struct get *g)
{
	int closed;
	int code;

	code = sink_open(&g->sink, output, false);
	if (code != CTL_OK)
		return code;
	mkv_reader_init(&g->reader, &get_ops, g, MKV_READER_MULTI);
	code = follow ? CTL_OK : find_newest(ctl, stream, g);
	if (code == CTL_OK)
		code = fetch(ctl, stream, start, g);
	closed = sink_close(&g->sink, true);
	if (code == CTL_OK)
		code = closed;
	if (ctl->json && (code == CTL_OK || g->fragments))
		say(g);
	mkv_reader_fini(&g->reader);
	tracks_fini(&g->tracks);
	return code;
}

static int take_ends(const char *count, const char *duration, struct get *g)
{
	if (count &&
	    (parse_u64(count, strlen(count), UINT32_MAX, &g->count_max) < 0 ||
	     !g->count_max))
		return ctl_fail(CTL_USAGE,
				"--count '%s' is not a number from 1 on",
				count);
	if (duration && (parse_duration_ns(duration, &g->duration_ns) < 0 ||
			 !g->duration_ns))
		return ctl_fail(CTL_USAGE,
				"--duration '%s' is not a duration like 10s "
				"or 5min",
				duration);
	return CTL_OK;
}

int get_command(struct ctl *ctl, int argc, char **argv)
{
	const char *start_text = NULL;
	const char *output = NULL;
	const char *count = NULL;
	const char *duration = NULL;
	bool no_follow = false;
	struct get *g;
	bool raw = false;
	const struct arg_option options[] = {
		{ "start", 0, NULL, &start_text, NULL },
		{ "output", 'o', NULL, &output, NULL },
		{ "count", 0, NULL, &count, NULL },
		{ "duration", 0, NULL, &duration, NULL },
		{ "no-follow", 0, &no_follow, NULL, NULL },
		{ "raw", 0, &raw, NULL, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	uint64_t now_ms = sys_now_ns(sys_posix(), CLOCK_REALTIME) / NS_PER_MS;
	struct start start;
	const char *stream;
	bool over;
	int code;

	code = ctl_stream_args(ctl, argc, argv, options, "STREAM", &stream,
			       &over);
	if (code != CTL_OK || over)
		return code;
	if (text_start(start_text ? start_text : "NOW", now_ms, &start) < 0)
		return ctl_fail(CTL_USAGE,
				"--start '%s' is not NOW, EARLIEST, "
				"fragment:N, server:TIME, producer:TIME or "
				"token:T; see: kvsctl help get",
				start_text);
	g = calloc(1, sizeof(*g));
	if (!g)
		return ctl_fail(CTL_LOCAL, "out of memory");
	g->raw = raw;
	code = take_ends(count, duration, g);
	if (code == CTL_OK)
		code = get(ctl, stream, output, &start, !no_follow, g);
	free(g);
	return code;
}
