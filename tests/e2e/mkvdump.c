/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mkvdump [-m] [-s BYTES] [-c]: the Matroska reader's events of stdin, one
 * line each, for comparison with what other readers say.
 *
 *	track NUMBER TYPE CODEC_ID PRIVATE_BYTES WIDTHxHEIGHT RATE CHANNELS
 *	frame TRACK TIME_NS BYTES KEY CRC32C
 *	tag NAME VALUE
 *
 * -m: a concatenation of documents (GetMedia)   -s: feed so much at a time
 * -c: cluster, tags and document lines with their offsets too
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "proto/mkv_reader.h"

struct dump {
	uint32_t crc;
	bool offsets;
	uint64_t bytes; /* that the reader gave back */
};

static int on_bytes(void *ctx, enum mkv_region region, uint64_t offset,
		    const uint8_t *bytes, size_t len)
{
	struct dump *d = ctx;

	(void)region;
	(void)bytes;
	if (offset != d->bytes)
		return -1;
	d->bytes += len;
	return 0;
}

static int on_document(void *ctx, const struct mkv_document *doc)
{
	const struct mkv_track *t;
	struct dump *d = ctx;
	unsigned int i;

	if (d->offsets)
		(void)printf("document %" PRIu64 " %" PRIu64 " scale %" PRIu64
			     "\n",
			     doc->begin, doc->end, doc->timecode_scale_ns);
	for (i = 0; i < doc->tracks_count; i++) {
		t = &doc->tracks[i];
		(void)printf("track %" PRIu64 " %u %s %zu %ux%u %u %u\n",
			     t->number, t->type, t->codec_id,
			     t->codec_private_bytes, t->width, t->height,
			     t->rate_hz, t->channels);
	}
	return 0;
}

static int on_cluster_begin(void *ctx, uint64_t offset, uint64_t size)
{
	struct dump *d = ctx;

	(void)size;
	if (d->offsets)
		(void)printf("cluster %" PRIu64 "\n", offset);
	return 0;
}

static int on_cluster_timecode(void *ctx, uint64_t timecode, uint64_t time_ns)
{
	struct dump *d = ctx;

	(void)time_ns;
	if (d->offsets)
		(void)printf("timecode %" PRIu64 "\n", timecode);
	return 0;
}

static int on_cluster_end(void *ctx, uint64_t offset)
{
	struct dump *d = ctx;

	if (d->offsets)
		(void)printf("cluster-end %" PRIu64 "\n", offset);
	return 0;
}

static int on_document_end(void *ctx, uint64_t offset)
{
	struct dump *d = ctx;

	if (d->offsets)
		(void)printf("document-end %" PRIu64 "\n", offset);
	return 0;
}

static int on_frame_begin(void *ctx, const struct mkv_frame *frame)
{
	struct dump *d = ctx;

	(void)frame;
	d->crc = 0;
	return 0;
}

static int on_frame_payload(void *ctx, const uint8_t *bytes, size_t len)
{
	struct dump *d = ctx;

	d->crc = crc32c(d->crc, bytes, len);
	return 0;
}

static int on_frame_end(void *ctx, const struct mkv_frame *f)
{
	struct dump *d = ctx;

	(void)printf("frame %" PRIu64 " %" PRIu64 " %u %d %08x\n", f->track,
		     f->time_ns, f->payload_bytes, f->key, d->crc);
	return 0;
}

static int on_tag(void *ctx, const struct mkv_tag_event *t)
{
	(void)ctx;
	(void)printf("tag %.*s %.*s\n", (int)t->tag.name_len, t->tag.name,
		     (int)t->tag.value_len, t->tag.value);
	return 0;
}

static const struct mkv_reader_ops dump_ops = {
	.bytes = on_bytes,
	.document = on_document,
	.cluster_begin = on_cluster_begin,
	.cluster_timecode = on_cluster_timecode,
	.frame_begin = on_frame_begin,
	.frame_payload = on_frame_payload,
	.frame_end = on_frame_end,
	.cluster_end = on_cluster_end,
	.tag = on_tag,
	.document_end = on_document_end,
};

static int dump_stdin(struct mkv_reader *r, size_t slice)
{
	static uint8_t bytes[1 << 16];
	size_t used;
	ssize_t n;
	int ret;

	while ((n = read(STDIN_FILENO, bytes, slice)) > 0) {
		ret = mkv_reader_feed(r, bytes, (size_t)n, &used);
		if (ret)
			return ret;
	}
	return n < 0 ? -1 : mkv_reader_finish(r);
}

int main(int argc, char **argv)
{
	static struct mkv_reader r;
	struct dump d = {0};
	unsigned int flags = 0;
	size_t slice = 1 << 16;
	int ret;
	int c;

	while ((c = getopt(argc, argv, "mcs:")) != -1) {
		if (c == 'm') {
			flags = MKV_READER_MULTI;
		} else if (c == 'c') {
			d.offsets = true;
		} else if (c == 's') {
			slice = strtoul(optarg, NULL, 10);
		} else {
			return 2;
		}
	}
	if (!slice || slice > 1 << 16)
		return 2;
	mkv_reader_init(&r, &dump_ops, &d, flags);
	ret = dump_stdin(&r, slice);
	if (ret)
		(void)fprintf(stderr, "mkvdump: %s at offset %" PRIu64 "\n",
			      mkv_error_name(r.error), r.offset);
	else if (d.bytes != r.offset)
		ret = -1;
	mkv_reader_fini(&r);
	return ret ? 1 : 0;
}
