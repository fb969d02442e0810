/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export: a stream with everything in it, as one ustar archive:
 *
 *	stream.json		what the service says about the stream, its
 *				tags; Format and Version of this archive; its
 *				legal holds where `kvsd hold list` gave them,
 *				since no call of the service does
 *	fragments/NUMBER.mkv	a fragment as GetMediaForFragmentList gives it:
 *				a Matroska file that any player takes
 *	manifest.jsonl		a line per fragment, in the archive's order:
 *				its ListFragments row, Bytes and SHA256 of its
 *				file; last {"Fragments": N, "Bytes": N,
 *				"StreamSHA256": of stream.json}
 *
 * `kvsd import` puts it into another service's directory. One fragment is in
 * memory at a time; what the manifest will say waits in a temporary file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kvs/client.h>

#include "base/buf.h"
#include "base/sys.h"
#include "kvsctl/ctl.h"
#include "kvsctl/fragments.h"
#include "kvsctl/hash.h"
#include "kvsctl/limits.h"
#include "kvsctl/output.h"
#include "kvsctl/service.h"
#include "kvsctl/sink.h"
#include "kvsctl/tar.h"
#include "kvsctl/text.h"
#include "proto/mkv_reader.h"

#define NS_PER_MS 1000000u
#define AWS_TAG "AWS_KINESISVIDEO_"
#define NUMBER_BYTES 129u

struct export {
	struct ctl *ctl;
	const char *stream;
	const char *holds; /* a file; NULL: none are given */
	char url[SERVICE_URL_CHARS_MAX]; /* GET_MEDIA_FOR_FRAGMENT_LIST */
	FILE *out;
	FILE *lines;	/* of the manifest */
	json_t *rows;	/* one page; borrowed */
	size_t next;	/* of them */
	size_t end;	/* of those that were asked for */

	struct mkv_reader reader;
	struct buf document;
	uint64_t document_begin;
	char number[NUMBER_BYTES];
	char error_id[16];
	int error;	/* of the local side */

	char stream_hash[HASH_TEXT_CHARS + 1];
	uint64_t fragments;
	uint64_t bytes;
	uint64_t gone;	/* expired between the list and the read */
};

static const char *row_number(const json_t *row)
{
	const char *n = json_string_value(
		json_object_get(row, "FragmentNumber"));

	return n ? n : "";
}

/* --- what is written ----------------------------------------------------- */

static int add_line(struct export *x, json_t *line)
{
	int r = line ? json_dumpf(line, x->lines,
				  JSON_COMPACT | OUTPUT_JSON_FLAGS) :
		       -1;

	json_decref(line);
	return r < 0 || fputc('\n', x->lines) == EOF ? -EIO : 0;
}

static int add_fragment(struct export *x, const json_t *row,
			const uint8_t *bytes, size_t len)
{
	char text[HASH_TEXT_CHARS + 1];
	char name[NUMBER_BYTES + 32];
	json_t *line;
	int r;

	r = hash_text(bytes, len, text);
	if (r < 0)
		return r;
	(void)snprintf(name, sizeof(name), "fragments/%s.mkv", x->number);
	r = tar_add(x->out, name, bytes, len,
		    output_ms(json_object_get(row, "ServerTimestamp")) / 1000);
	if (r < 0)
		return r;
	line = json_deep_copy(row);
	(void)json_object_set_new(line, "Bytes", json_integer((json_int_t)len));
	(void)json_object_set_new(line, "SHA256", json_pack("s", text));
	x->fragments++;
	x->bytes += len;
	return add_line(x, line);
}

static int add_manifest(struct export *x, uint64_t mtime_s)
{
	void *map = NULL;
	long len;
	int r;

	r = add_line(x, json_pack("{s:I, s:I, s:s}", "Fragments",
				  (json_int_t)x->fragments, "Bytes",
				  (json_int_t)x->bytes, "StreamSHA256",
				  x->stream_hash));
	if (r < 0 || fflush(x->lines) == EOF)
		return -EIO;
	len = ftell(x->lines);
	if (len <= 0)
		return -EIO;
	r = sys_posix()->mmap((size_t)len, PROT_READ, MAP_PRIVATE,
			      fileno(x->lines), 0, &map);
	if (r < 0)
		return r;
	r = tar_add(x->out, "manifest.jsonl", map, (size_t)len, mtime_s);
	(void)sys_posix()->munmap(map, (size_t)len);
	return r < 0 ? r : tar_end(x->out);
}

/* --- what comes ---------------------------------------------------------- */

static int on_bytes(void *ctx, enum mkv_region region, uint64_t offset,
		    const uint8_t *bytes, size_t len)
{
	struct export *x = ctx;

	(void)region;
	(void)offset;
	return buf_add(&x->document, bytes, len);
}

static int on_tag(void *ctx, const struct mkv_tag_event *event)
{
	struct export *x = ctx;

	/* The first counts: the service's own come first. */
	if (!x->number[0])
		(void)text_of_tag(&event->tag, AWS_TAG "FRAGMENT_NUMBER",
				  x->number, sizeof(x->number));
	if (!x->error_id[0])
		(void)text_of_tag(&event->tag, AWS_TAG "ERROR_ID", x->error_id,
				  sizeof(x->error_id));
	return 0;
}

static int on_tags_end(void *ctx, uint64_t offset)
{
	struct export *x = ctx;

	(void)offset;
	return x->error_id[0] != '\0';
}

static int on_document_end(void *ctx, uint64_t offset)
{
	struct export *x = ctx;
	size_t len = (size_t)(offset - x->document_begin);
	const json_t *row = json_array_get(x->rows, x->next);
	int r;

	if (x->next == x->end || strcmp(row_number(row), x->number) != 0)
		return -EPROTO;
	r = add_fragment(x, row, buf_head(&x->document), len);
	if (r < 0) {
		x->error = r;
		return r;
	}
	buf_consume(&x->document, len);
	x->document_begin = offset;
	x->number[0] = '\0';
	x->next++;
	return 0;
}

static const struct mkv_reader_ops ops = {
	.bytes = on_bytes,
	.tag = on_tag,
	.tags_end = on_tags_end,
	.document_end = on_document_end,
};

static int on_body(void *ctx, const uint8_t *bytes, size_t len)
{
	struct export *x = ctx;
	size_t used;

	while (len && !x->error_id[0]) {
		int r = mkv_reader_feed(&x->reader, bytes, len, &used);

		if (r < 0)
			return r;
		bytes += used;
		len -= used;
	}
	return x->error_id[0] != '\0';
}

/* --- the requests -------------------------------------------------------- */

static char *list_request(const struct export *x)
{
	json_t *numbers = json_array();
	json_t *rq;
	char *text;
	size_t i;

	for (i = x->next; i < x->end; i++)
		(void)json_array_append_new(
			numbers,
			json_pack("s", row_number(json_array_get(x->rows, i))));
	rq = json_pack("{s:s, s:o}", "StreamName", x->stream, "Fragments",
		       numbers);
	text = rq ? json_dumps(rq, JSON_COMPACT | OUTPUT_JSON_FLAGS) : NULL;
	json_decref(rq);
	return text;
}

static int result_of(struct export *x, int r, const struct kvs_reply *reply)
{
	if (x->error)
		return CTL_LOCAL; /* sink_close() or the caller says why */
	if (r >= 0 && reply->status != 200)
		return service_complain(reply, x->stream);
	if (x->error_id[0] && strcmp(x->error_id, "4000") == 0) {
		x->gone++;
		x->next++;
		return CTL_OK;
	}
	if (x->error_id[0])
		return ctl_fail(CTL_REFUSED,
				"the service cannot read fragment %s: error %s",
				x->number, x->error_id);
	if (x->reader.failed || r == -EPROTO)
		return ctl_fail(CTL_NETWORK,
				"what came is not the fragments asked for: %s",
				mkv_error_name(x->reader.error));
	if (r < 0)
		return service_unreached(x->ctl, r,
					 kvs_client_reason(x->ctl->client));
	return CTL_OK;
}

/* Some fragments of the page, at least one. */
static int fetch_some(struct export *x)
{
	struct kvs_reply reply = { 0 };
	size_t before = x->next;
	char *text;
	int code;
	int r;

	x->end = MIN(json_array_size(x->rows),
		     x->next + (size_t)CTL_EXPORT_FRAGMENTS);
	text = list_request(x);
	if (!text)
		return ctl_fail(CTL_LOCAL, "out of memory");
	mkv_reader_init(&x->reader, &ops, x, MKV_READER_MULTI);
	buf_reset(&x->document);
	x->document_begin = 0;
	x->number[0] = '\0';
	x->error_id[0] = '\0';
	r = kvs_client_call(x->ctl->client, x->url, "/getMediaForFragmentList",
			    text, strlen(text), on_body, x, &reply);
	if (r >= 0 && reply.status == 200 && !x->error_id[0])
		r = mkv_reader_finish(&x->reader);
	code = result_of(x, r, &reply);
	mkv_reader_fini(&x->reader);
	free(text);
	if (code == CTL_OK && x->next == before)
		code = ctl_fail(CTL_NETWORK, "the service sent no fragment");
	return code;
}

static int fetch_page(struct export *x)
{
	int code = CTL_OK;

	x->next = 0;
	while (code == CTL_OK && x->next < json_array_size(x->rows))
		code = fetch_some(x);
	return code;
}

static int fetch_all(struct export *x, const struct range *range)
{
	char url[SERVICE_URL_CHARS_MAX];
	json_t *token = NULL;
	int code;

	code = service_endpoint(x->ctl, x->stream, "LIST_FRAGMENTS", url);
	if (code == CTL_OK)
		code = service_endpoint(x->ctl, x->stream,
					"GET_MEDIA_FOR_FRAGMENT_LIST", x->url);
	if (code != CTL_OK)
		return code;
	do {
		x->rows = json_array();
		code = fragments_page(x->ctl, url, x->stream, range, x->rows,
				      &token);
		if (code == CTL_OK)
			code = fetch_page(x);
		json_decref(x->rows);
	} while (code == CTL_OK && token);
	json_decref(token);
	return code;
}

/* --- the stream ---------------------------------------------------------- */

/* *@ret_tags: a new reference. */
static int fetch_tags(struct ctl *ctl, const char *stream, json_t **ret_tags)
{
	json_t *tags = json_object();
	json_t *token = NULL;
	int code;

	do {
		json_t *rq = json_pack("{s:s, s:o*}", "StreamName", stream,
				       "NextToken", token);
		json_t *reply = NULL;

		token = NULL;
		code = service_call(ctl, NULL, "/listTagsForStream", stream,
				    rq, &reply);
		(void)json_object_update(tags, json_object_get(reply, "Tags"));
		if (json_is_string(json_object_get(reply, "NextToken")))
			token = json_incref(
				json_object_get(reply, "NextToken"));
		json_decref(reply);
	} while (code == CTL_OK && token);
	if (code == CTL_OK)
		*ret_tags = tags;
	else
		json_decref(tags);
	return code;
}

/* *@ret_holds: a new reference; NULL: none are given. */
static int read_holds(const struct export *x, json_t **ret_holds)
{
	json_error_t error;
	json_t *file;
	json_t *holds;

	if (!x->holds)
		return CTL_OK;
	file = json_load_file(x->holds, JSON_REJECT_DUPLICATES, &error);
	if (!file)
		return ctl_fail(CTL_LOCAL, "%s: %s", x->holds, error.text);
	holds = json_incref(json_object_get(file, "holds"));
	json_decref(file);
	if (!json_is_array(holds)) {
		json_decref(holds);
		return ctl_fail(CTL_LOCAL,
				"%s: not what kvsd hold list --json gives",
				x->holds);
	}
	*ret_holds = holds;
	return CTL_OK;
}

static int add_stream(struct export *x, uint64_t now_ms)
{
	json_t *info = NULL;
	json_t *tags = NULL;
	json_t *holds = NULL;
	char *text = NULL;
	int code;

	code = read_holds(x, &holds);
	if (code == CTL_OK)
		code = service_describe(x->ctl, x->stream, &info);
	if (code == CTL_OK)
		code = fetch_tags(x->ctl, x->stream, &tags);
	if (code == CTL_OK) {
		json_t *all = json_pack(
			"{s:s, s:i, s:O, s:O, s:o}", "Format",
			"kvsctl-export", "Version", 1, "StreamInfo", info,
			"Tags", tags, "ExportedAt",
			json_real((double)now_ms / 1000));

		if (holds)
			(void)json_object_set(all, "Holds", holds);
		text = json_dumps(all, JSON_INDENT(2) | OUTPUT_JSON_FLAGS);
		json_decref(all);
		x->error = text ? hash_text(text, strlen(text),
					    x->stream_hash) :
				  -ENOMEM;
		if (x->error == 0)
			x->error = tar_add(x->out, "stream.json", text,
					   strlen(text), now_ms / 1000);
		if (x->error < 0)
			code = CTL_LOCAL;
	}
	free(text);
	json_decref(info);
	json_decref(tags);
	json_decref(holds);
	return code;
}

static void say(const struct export *x, const struct sink *sink)
{
	FILE *to = sink->owned ? stdout : stderr;
	json_t *out;

	if (x->gone)
		ctl_note("%llu fragments expired meanwhile",
			 (unsigned long long)x->gone);
	if (!x->ctl->json) {
		(void)fprintf(stderr, "%llu fragments, %llu bytes\n",
			      (unsigned long long)x->fragments,
			      (unsigned long long)x->bytes);
		return;
	}
	out = json_pack("{s:I, s:I, s:I}", "Fragments",
			(json_int_t)x->fragments, "Bytes",
			(json_int_t)x->bytes, "Expired", (json_int_t)x->gone);
	(void)json_dumpf(out, to, JSON_INDENT(2));
	(void)fputc('\n', to);
	json_decref(out);
}

static int export(struct export *x, struct range *range, const char *output)
{
	uint64_t now_ms = sys_now_ns(sys_posix(), CLOCK_REALTIME) / NS_PER_MS;
	struct sink sink;
	int closed;
	int code;

	/* An end, or a camera that films would never let it end. */
	if (!range->has_to) {
		range->has_to = true;
		range->to_ms = now_ms;
	}
	code = sink_open(&sink, output, true);
	if (code != CTL_OK)
		return code;
	x->out = fdopen(dup(sink.fd), "wb");
	x->lines = tmpfile();
	x->error = x->out && x->lines ? 0 : -errno;
	if (!x->error)
		code = add_stream(x, now_ms);
	if (!x->error && code == CTL_OK)
		code = fetch_all(x, range);
	if (!x->error && code == CTL_OK)
		x->error = add_manifest(x, now_ms / 1000);
	if (x->lines)
		(void)fclose(x->lines);
	if (x->out && fclose(x->out) == EOF && !x->error)
		x->error = -errno;
	if (!x->error && code == CTL_OK && sink.owned)
		x->error = sys_posix()->fsync(sink.fd);
	if (x->error < 0)
		code = ctl_fail(CTL_LOCAL, "%s: %s", sink.path,
				strerror(-x->error));
	closed = sink_close(&sink, code == CTL_OK);
	if (code == CTL_OK)
		code = closed;
	if (code == CTL_OK)
		say(x, &sink);
	return code;
}

int export_command(struct ctl *ctl, int argc, char **argv)
{
	const char *output = NULL;
	const char *from = NULL;
	const char *to = NULL;
	const char *holds = NULL;
	const struct arg_option options[] = {
		{ "output", 'o', NULL, &output, NULL },
		{ "from", 0, NULL, &from, NULL },
		{ "to", 0, NULL, &to, NULL },
		{ "holds", 0, NULL, &holds, NULL },
		{ NULL, 0, NULL, NULL, NULL },
	};
	struct range range = { 0 };
	struct export *x;
	const char *stream;
	bool over;
	int code;

	code = ctl_stream_args(ctl, argc, argv, options, "STREAM", &stream,
			       &over);
	if (code != CTL_OK || over)
		return code;
	if (!output)
		return ctl_fail(CTL_USAGE, "-o FILE is missing ('-': stdout)");
	code = range_parse(from, to, "server", &range);
	if (code != CTL_OK)
		return code;
	x = calloc(1, sizeof(*x));
	if (!x)
		return ctl_fail(CTL_LOCAL, "out of memory");
	x->ctl = ctl;
	x->stream = stream;
	x->holds = holds;
	buf_init(&x->document, CTL_EXPORT_DOCUMENT_BYTES_MAX);
	code = export(x, &range, output);
	buf_fini(&x->document);
	free(x);
	return code;
}
