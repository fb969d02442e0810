/* SPDX-License-Identifier: Apache-2.0 */
#include "support/mkv_events.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

#define MUST(cond)                                                             \
	do {                                                                   \
		if (!(cond)) {                                                 \
			(void)fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, \
				      __LINE__, #cond);                        \
			abort();                                               \
		}                                                              \
	} while (0)

#define LOG(e, ...) MUST(!buf_printf((e)->log, __VA_ARGS__))

struct events {
	const uint8_t *input;
	size_t len;
	struct buf *log;
	uint64_t bytes_at;	/* given by bytes() so far */
	uint64_t last_offset;	/* of an event */
	enum mkv_region region; /* that begin and end events imply */
	uint64_t payload_at;
	uint64_t payload_end;
	bool in_frame;
	unsigned int in_document;
};

static void move_to(struct events *e, uint64_t offset)
{
	MUST(offset >= e->last_offset && offset <= e->len);
	e->last_offset = offset;
}

static int on_bytes(void *ctx, enum mkv_region region, uint64_t offset,
		    const uint8_t *bytes, size_t len)
{
	struct events *e = ctx;

	MUST(len && offset == e->bytes_at && len <= e->len - offset);
	MUST(!memcmp(bytes, e->input + offset, len));
	if (e->region == MKV_REGION_OTHER)
		MUST(region == MKV_REGION_OTHER || region == MKV_REGION_HEADER);
	else
		MUST(region == e->region);
	e->bytes_at += len;
	return 0;
}

static int on_document(void *ctx, const struct mkv_document *doc)
{
	const struct mkv_track *t;
	struct events *e = ctx;
	unsigned int i;

	MUST(!e->in_document++);
	MUST(doc->tracks_count >= 1 && doc->tracks_count <= MKV_TRACKS_MAX);
	MUST(doc->begin < doc->end && doc->end == e->bytes_at);
	MUST(doc->header_bytes == doc->end - doc->begin);
	MUST(!memcmp(doc->header, e->input + doc->begin, doc->header_bytes));
	move_to(e, doc->end);
	LOG(e, "document %" PRIu64 "..%" PRIu64 " scale %" PRIu64 "\n",
	    doc->begin, doc->end, doc->timecode_scale_ns);
	for (i = 0; i < doc->tracks_count; i++) {
		t = &doc->tracks[i];
		MUST(!t->codec_private_bytes ||
		     (t->codec_private >= doc->header &&
		      t->codec_private + t->codec_private_bytes <=
			      doc->header + doc->header_bytes));
		LOG(e,
		    "track %" PRIu64 " type %u %s '%s' private %zu %08x "
		    "default %" PRIu64 " %ux%u %u Hz %u ch %u bits%s\n",
		    t->number, t->type, t->codec_id, t->name,
		    t->codec_private_bytes,
		    crc32c(0, t->codec_private, t->codec_private_bytes),
		    t->default_duration_ns, t->width, t->height, t->rate_hz,
		    t->channels, t->bits, t->encoded ? " encoded" : "");
	}
	return 0;
}

static int on_cluster_begin(void *ctx, uint64_t offset, uint64_t size)
{
	struct events *e = ctx;

	MUST(e->region == MKV_REGION_OTHER && offset == e->bytes_at);
	e->region = MKV_REGION_CLUSTER;
	move_to(e, offset);
	LOG(e, "cluster %" PRIu64 " size %" PRId64 "\n", offset, (int64_t)size);
	return 0;
}

static int on_cluster_timecode(void *ctx, uint64_t timecode, uint64_t time_ns)
{
	struct events *e = ctx;

	MUST(e->region == MKV_REGION_CLUSTER);
	LOG(e, "timecode %" PRIu64 " %" PRIu64 "\n", timecode, time_ns);
	return 0;
}

static int on_frame_begin(void *ctx, const struct mkv_frame *f)
{
	struct events *e = ctx;

	MUST(e->region == MKV_REGION_CLUSTER && !e->in_frame);
	MUST(f->block_offset >= e->last_offset || f->lace_index);
	MUST(f->lace_index < f->lace_count);
	MUST(f->payload_offset > f->block_offset);
	move_to(e, f->payload_offset);
	e->in_frame = true;
	e->payload_at = f->payload_offset;
	e->payload_end = f->payload_offset + f->payload_bytes;
	return 0;
}

static int on_frame_payload(void *ctx, const uint8_t *bytes, size_t len)
{
	struct events *e = ctx;

	MUST(e->in_frame && len && len <= e->payload_end - e->payload_at);
	MUST(!memcmp(bytes, e->input + e->payload_at, len));
	e->payload_at += len;
	return 0;
}

static int on_frame_end(void *ctx, const struct mkv_frame *f)
{
	struct events *e = ctx;

	MUST(e->in_frame && e->payload_at == e->payload_end);
	e->in_frame = false;
	move_to(e, e->payload_end);
	LOG(e,
	    "frame %" PRIu64 " block %" PRIu64 " payload %" PRIu64
	    "+%u rel %d tc %" PRIu64 " ns %" PRIu64 " dur %" PRIu64
	    " %s flags %02x lace %u/%u\n",
	    f->track, f->block_offset, f->payload_offset, f->payload_bytes,
	    f->relative, f->timecode, f->time_ns, f->duration_ticks,
	    f->key ? "key" : "-", f->flags, f->lace_index, f->lace_count);
	return 0;
}

static int on_cluster_end(void *ctx, uint64_t offset)
{
	struct events *e = ctx;

	MUST(e->region == MKV_REGION_CLUSTER && offset == e->bytes_at &&
	     !e->in_frame);
	e->region = MKV_REGION_OTHER;
	move_to(e, offset);
	LOG(e, "cluster end %" PRIu64 "\n", offset);
	return 0;
}

static int on_tags_begin(void *ctx, uint64_t offset)
{
	struct events *e = ctx;

	MUST(e->region == MKV_REGION_OTHER && offset == e->bytes_at);
	e->region = MKV_REGION_TAGS;
	move_to(e, offset);
	LOG(e, "tags %" PRIu64 "\n", offset);
	return 0;
}

static int on_tag(void *ctx, const struct mkv_tag_event *t)
{
	struct events *e = ctx;

	MUST(t->in_header == (e->region != MKV_REGION_TAGS));
	MUST(t->end > t->begin && t->begin >= e->last_offset);
	MUST(t->tag.name_len <= t->name_bytes);
	MUST(t->tag.value_len <= t->value_bytes);
	move_to(e, t->end);
	LOG(e,
	    "tag %" PRIu64 "..%" PRIu64 "%s %08x=%08x %" PRIu64 "/%" PRIu64
	    " '%.*s'\n",
	    t->begin, t->end, t->in_header ? " header" : "",
	    crc32c(0, t->tag.name, t->tag.name_len),
	    crc32c(0, t->tag.value, t->tag.value_len), t->name_bytes,
	    t->value_bytes, (int)t->tag.name_len, t->tag.name);
	return 0;
}

static int on_tag_end(void *ctx, bool targeted)
{
	struct events *e = ctx;

	LOG(e, "tag-end%s\n", targeted ? " targeted" : "");
	return 0;
}

static int on_tags_end(void *ctx, uint64_t offset)
{
	struct events *e = ctx;

	MUST(e->region == MKV_REGION_TAGS && offset == e->bytes_at);
	e->region = MKV_REGION_OTHER;
	move_to(e, offset);
	LOG(e, "tags end %" PRIu64 "\n", offset);
	return 0;
}

static int on_document_end(void *ctx, uint64_t offset)
{
	struct events *e = ctx;

	MUST(e->region == MKV_REGION_OTHER && offset == e->bytes_at);
	MUST(e->in_document--);
	move_to(e, offset);
	LOG(e, "document end %" PRIu64 "\n", offset);
	return 0;
}

static const struct mkv_reader_ops ops = {
	.bytes = on_bytes,
	.document = on_document,
	.cluster_begin = on_cluster_begin,
	.cluster_timecode = on_cluster_timecode,
	.frame_begin = on_frame_begin,
	.frame_payload = on_frame_payload,
	.frame_end = on_frame_end,
	.cluster_end = on_cluster_end,
	.tags_begin = on_tags_begin,
	.tag = on_tag,
	.tag_end = on_tag_end,
	.tags_end = on_tags_end,
	.document_end = on_document_end,
};

/* A copy of its own on the heap, so that ASan sees a read past the slice. */
static int feed_copy(struct mkv_reader *r, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);
	size_t used = SIZE_MAX;
	int ret;

	MUST(copy);
	if (len)
		memcpy(copy, bytes, len);
	ret = mkv_reader_feed(r, copy, len, &used);
	free(copy);
	MUST(ret < 0 || (ret == 0 && used == len));
	return ret;
}

int mkv_events_run(const uint8_t *input, size_t len, const size_t *cuts,
		   size_t cuts_count, unsigned int flags, struct buf *log,
		   enum mkv_error *ret_error)
{
	struct events e = {.input = input,
			   .len = len,
			   .log = log,
			   .region = MKV_REGION_OTHER};
	struct mkv_reader *r = malloc(sizeof(*r));
	size_t at = 0;
	size_t to;
	size_t i;
	int ret = 0;

	MUST(r);
	mkv_reader_init(r, &ops, &e, flags);
	for (i = 0; !ret && i <= cuts_count; i++) {
		to = i < cuts_count ? cuts[i] : len;
		MUST(to >= at && to <= len);
		ret = feed_copy(r, input + at, to - at);
		at = to;
	}
	if (!ret) {
		MUST(r->offset == len);
		ret = mkv_reader_finish(r);
	}
	if (!ret)
		MUST(e.bytes_at == len && !e.in_document && !e.in_frame);
	MUST(!ret == !r->error);
	MUST(ret <= 0 && r->failed == ret);
	LOG(&e, "%s\n", mkv_error_name(r->error));
	*ret_error = r->error;
	mkv_reader_fini(r);
	free(r);
	return ret;
}

int mkv_events_run_slices(const uint8_t *input, size_t len, size_t slice,
			  unsigned int flags, struct buf *log,
			  enum mkv_error *ret_error)
{
	size_t count = len / slice;
	size_t *cuts = malloc((count + 1) * sizeof(*cuts));
	size_t i;
	int ret;

	MUST(cuts);
	for (i = 0; i < count; i++)
		cuts[i] = (i + 1) * slice;
	ret = mkv_events_run(input, len, cuts, count, flags, log, ret_error);
	free(cuts);
	return ret;
}
