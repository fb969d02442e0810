/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kvs/client.h>

#include "kvsctl/ctl.h"
#include "kvsctl/fragments.h"
#include "kvsctl/output.h"
#include "kvsctl/service.h"
#include "kvsctl/sink.h"

struct clip {
	struct sink sink;
	struct progress progress;
};

static int clip_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct clip *c = ctx;

	progress_draw(&c->progress, c->sink.bytes, 0, "");
	return sink_write(&c->sink, bytes, len);
}

/*
 * The oldest fragments that the service's limits allow in one clip, as a
 * range. @all is sorted and not empty.
 */
static void fit(json_t *all, struct range *range)
{
	const char *member = range_member(range);
	uint64_t first_ms = output_ms(
		json_object_get(json_array_get(all, 0), member));
	uint64_t last_ms = first_ms;
	uint64_t bytes = 0;
	size_t count = json_array_size(all);
	json_t *f;
	size_t i;

	json_array_foreach(all, i, f) {
		uint64_t ms = output_ms(json_object_get(f, member));

		bytes += (uint64_t)json_integer_value(
			json_object_get(f, "FragmentSizeInBytes"));
		if (i && (i == CTL_CLIP_FRAGMENTS_MAX ||
			  bytes > CTL_CLIP_BYTES_MAX ||
			  ms - first_ms >= CTL_CLIP_RANGE_MS_MAX))
			break;
		last_ms = ms;
	}
	if (i < count)
		ctl_note("the clip holds the first %zu of %zu fragments, which "
			 "is the service's limit; --from and --to choose "
			 "others",
			 i, count);
	range->has_from = true;
	range->has_to = true;
	range->from_ms = first_ms;
	/* The end must be later than the start, also for one fragment. */
	range->to_ms = last_ms + 1;
}

/* Completes a range with open ends. */
static int choose(struct ctl *ctl, const char *stream, struct range *range)
{
	json_t *all = NULL;
	int code;

	if (range->has_from && range->has_to)
		return CTL_OK;
	code = fragments_list(ctl, stream, range, &all);
	if (code != CTL_OK)
		return code;
	if (json_array_size(all))
		fit(all, range);
	else
		code = ctl_fail(CTL_NOT_FOUND,
				"stream '%s' holds no fragment there; see: "
				"kvsctl fragments %s",
				stream, stream);
	json_decref(all);
	return code;
}

static int fetch(struct ctl *ctl, const char *stream,
		 const struct range *range, struct clip *c)
{
	char url[SERVICE_URL_CHARS_MAX];
	struct kvs_reply reply;
	json_t *rq;
	char *text;
	int code;
	int r;

	code = service_endpoint(ctl, stream, "GET_CLIP", url);
	if (code != CTL_OK)
		return code;
	rq = json_pack("{s:s, s:o}", "StreamName", stream,
		       "ClipFragmentSelector", range_selector(range));
	text = rq ? json_dumps(rq, JSON_COMPACT | OUTPUT_JSON_FLAGS) : NULL;
	json_decref(rq);
	if (!text)
		return ctl_fail(CTL_LOCAL, "out of memory");
	r = kvs_client_call(ctl->client, url, "/getClip", text, strlen(text),
			    clip_body, c, &reply);
	free(text);
	progress_end(&c->progress);
	if (c->sink.error == -EPIPE)
		return CTL_OK;
	if (c->sink.error)
		return CTL_LOCAL;
	if (r < 0)
		return service_unreached(ctl, r,
					 kvs_client_reason(ctl->client));
	if (reply.status == 404)
		return ctl_fail(CTL_NOT_FOUND,
				"stream '%s' holds no fragment there; see: "
				"kvsctl fragments %s",
				stream, stream);
	if (reply.status != 200)
		return service_complain(&reply, stream);
	return CTL_OK;
}

static int save(struct ctl *ctl, const char *stream, const char *output,
		struct range *range)
{
	struct clip c;
	int closed;
	int code;

	code = choose(ctl, stream, range);
	if (code == CTL_OK)
		code = sink_open(&c.sink, output, true);
	if (code != CTL_OK)
		return code;
	progress_init(&c.progress);
	code = fetch(ctl, stream, range, &c);
	closed = sink_close(&c.sink, code == CTL_OK);
	if (code == CTL_OK)
		code = closed;
	if (code == CTL_OK && ctl->json && c.sink.owned) {
		json_t *out = json_pack("{s:s, s:I}", "File", output, "Bytes",
					(json_int_t)c.sink.bytes);

		code = output_json(out);
		json_decref(out);
	}
	return code;
}

int clip_command(struct ctl *ctl, int argc, char **argv)
{
	const char *output = NULL;
	const char *from = NULL;
	const char *to = NULL;
	const char *by = NULL;
	const struct arg_option options[] = {
		{ "output", 'o', NULL, &output, NULL },
		{ "from", 0, NULL, &from, NULL },
		{ "to", 0, NULL, &to, NULL },
		{ "by", 0, NULL, &by, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	struct range range = { 0 };
	const char *stream;
	bool over;
	int code;

	code = ctl_stream_args(ctl, argc, argv, options, "STREAM -o FILE.mp4",
			       &stream, &over);
	if (code != CTL_OK || over)
		return code;
	if (!output)
		return ctl_fail(CTL_USAGE,
				"where to? -o FILE.mp4 names the file, '-o -' "
				"is stdout");
	code = range_parse(from, to, by, &range);
	if (code == CTL_OK)
		code = save(ctl, stream, output, &range);
	return code;
}
