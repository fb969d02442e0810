/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/import_fragment.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "core/ingest.h"
#include "proto/ack.h"
#include "proto/epoch.h"
#include "proto/mkv_reader.h"

#define AWS_TAG "AWS_KINESISVIDEO_"

/* What the document says of itself. */
struct found {
	struct slice number; /* as it ought to be */
	uint64_t tags_begin; /* of the Tags being read; then of the service's */
	uint64_t tags_end;
	uint64_t server_ms;
	uint64_t producer_ms;
	uint64_t timecode_ms; /* of the Cluster */
	bool ours;	      /* the Tags being read are the service's */
	bool server;
	bool producer;
	bool whole; /* the service's Tags and a Cluster's timecode were read */
	unsigned int clusters;
};

/* --- reading ------------------------------------------------------------- */

static int on_tags_begin(void *ctx, uint64_t offset)
{
	struct found *d = ctx;

	if (!d->tags_end)
		d->tags_begin = offset;
	return 0;
}

static bool tag_is(const struct mkv_tag *t, const char *name)
{
	return t->name_len == strlen(name) &&
	       memcmp(t->name, name, t->name_len) == 0;
}

static int on_tag(void *ctx, const struct mkv_tag_event *event)
{
	const struct mkv_tag *t = &event->tag;
	struct slice value = {t->value, t->value_len};
	struct found *d = ctx;

	if (d->tags_end)
		return 0;
	if (tag_is(t, AWS_TAG "FRAGMENT_NUMBER"))
		d->ours = value.len == d->number.len &&
			  memcmp(value.ptr, d->number.ptr, value.len) == 0;
	else if (tag_is(t, AWS_TAG "SERVER_TIMESTAMP"))
		d->server = epoch_ms_parse(value, &d->server_ms) == 0;
	else if (tag_is(t, AWS_TAG "PRODUCER_TIMESTAMP"))
		d->producer = epoch_ms_parse(value, &d->producer_ms) == 0;
	return 0;
}

static int on_tags_end(void *ctx, uint64_t offset)
{
	struct found *d = ctx;

	if (d->ours && !d->tags_end)
		d->tags_end = offset;
	return 0;
}

static int on_cluster(void *ctx, uint64_t offset, uint64_t size)
{
	struct found *d = ctx;

	(void)offset;
	(void)size;
	return ++d->clusters > 1 ? -EBADMSG : 0;
}

static int on_timecode(void *ctx, uint64_t timecode, uint64_t time_ns)
{
	struct found *d = ctx;

	(void)timecode;
	d->timecode_ms = time_ns / NS_PER_MS;
	d->whole = d->tags_end && d->server && d->producer;
	return 0;
}

/* To its end: of a second Cluster nothing is to be stored, nor of the first. */
static int look(const struct export_fragment *f, struct found *d)
{
	static const struct mkv_reader_ops ops = {
		.tags_begin = on_tags_begin,
		.tag = on_tag,
		.tags_end = on_tags_end,
		.cluster_begin = on_cluster,
		.cluster_timecode = on_timecode,
	};
	struct mkv_reader reader;
	size_t used;
	int r;

	*d = (struct found){.number = slice_of(f->digits)};
	mkv_reader_init(&reader, &ops, d, 0);
	r = mkv_reader_feed(&reader, f->bytes, f->len, &used);
	mkv_reader_fini(&reader);
	return r < 0 || !d->whole ? -EBADMSG : 0;
}

/* --- writing ------------------------------------------------------------- */

struct import {
	const struct export_fragment *f;
	struct ingest *ingest;
	struct ingest_time at;
	struct loop *loop;
};

static void no_ack(void *ctx, const struct ack *ack)
{
	(void)ctx;
	(void)ack;
}

static void no_view(void *ctx, unsigned int fragment,
		    const struct ingest_view *view)
{
	(void)ctx;
	(void)fragment;
	(void)view;
}

static void no_bytes(void *ctx, unsigned int fragment, const uint8_t *bytes,
		     size_t len)
{
	(void)ctx;
	(void)fragment;
	(void)bytes;
	(void)len;
}

static void no_boundary(void *ctx, unsigned int fragment, uint64_t media)
{
	(void)ctx;
	(void)fragment;
	(void)media;
}

static void no_end(void *ctx, unsigned int fragment, enum ingest_end how)
{
	(void)ctx;
	(void)fragment;
	(void)how;
}

static void no_progress(void *ctx)
{
	(void)ctx;
}

static uint32_t same_random(void *ctx)
{
	const struct import *m = ctx;

	return m->f->number.random;
}

static uint64_t same_seq(void *ctx)
{
	const struct import *m = ctx;

	return m->f->number.seq;
}

static int feed(struct import *m, const uint8_t *bytes, size_t len)
{
	while (len) {
		size_t n = ingest_feed(m->ingest, m->at, bytes, len);

		bytes += n;
		len -= n;
		if (!n && loop_turn(m->loop, UINT64_MAX) < 0)
			return -EIO;
	}
	return 0;
}

/* Everything but the Tags that the service had put in. */
static int feed_all(struct import *m, const struct found *d)
{
	const struct export_fragment *f = m->f;
	int r = feed(m, f->bytes, (size_t)d->tags_begin);

	if (r == 0)
		r = feed(m, f->bytes + d->tags_end,
			 f->len - (size_t)d->tags_end);
	if (r < 0)
		return r;
	ingest_finish(m->ingest, m->at);
	while (!ingest_over(m->ingest)) {
		if (loop_turn(m->loop, UINT64_MAX) < 0)
			return -EIO;
	}
	return 0;
}

static int verdict(const struct ingest_counts *n, const char **words)
{
	if (n->error == 0 && n->fragments == 1 && n->persisted == 1)
		return 0;
	*words = n->error ? ack_error_name(n->error)
			  : "it does not hold one fragment";
	return n->error == ACK_ARCHIVAL_ERROR || n->error == ACK_INTERNAL_ERROR
		       ? -EIO
		       : -EBADMSG;
}

int import_fragment(struct loop *l, struct store *store,
		    const struct store_stream *stream,
		    const struct export_fragment *f, const char **words)
{
	static const struct ingest_ops ops = {
		.ack = no_ack,
		.begin = no_view,
		.timed = no_view,
		.bytes = no_bytes,
		.boundary = no_boundary,
		.end = no_end,
		.progress = no_progress,
		.random = same_random,
		.next_seq = same_seq,
	};
	struct ingest_config config = {
		.store = store, .stream = *stream, .ops = &ops};
	struct import m = {.f = f, .loop = l};
	struct ingest_counts counts;
	struct found d;
	int r = look(f, &d);

	*words = "it is not what GetMediaForFragmentList gives";
	if (r < 0)
		return r;
	*words = "its number and its times contradict each other";
	if (d.server_ms != f->number.server_ms || d.producer_ms < d.timecode_ms)
		return -EBADMSG;
	*words = "out of memory";
	config.ctx = &m;
	config.relative = true; /* of an absolute one the start is 0 */
	config.producer_start_ms = d.producer_ms - d.timecode_ms;
	m.at = (struct ingest_time){.now_ns = loop_now_ns(l),
				    .wall_ms = d.server_ms};
	r = ingest_new(&config, m.at, &m.ingest);
	if (r < 0)
		return r;
	r = feed_all(&m, &d);
	if (r < 0) {
		*words = "the loop stands";
		return r; /* the process ends: nothing is freed under it */
	}
	counts = ingest_counts(m.ingest);
	(void)ingest_free(m.ingest);
	return verdict(&counts, words);
}
