/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads by seed: bodies cut anywhere, tags anywhere, a store that is behind,
 * completes in any order and fails, a device that goes away. Checked:
 *
 *   - BUFFERING, RECEIVED, PERSISTED come in this order, each at most once
 *   - PERSISTED only for what the store has, bit for bit, with its tags
 *   - without trouble everything is persisted, whose tags they are is right
 *   - the session ends with nothing left in flight
 *
 * SEEDS=n (argument or environment) runs n seeds, SEED=n replays one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ingest.h"
#include "support/mkv_build.h"
#include "support/seeds.h"
#include "support/store_mem.h"

#define SEEDS_DEFAULT 3000u
#define FRAGMENTS 24u
#define BODY_BYTES (FRAGMENTS * sizeof(struct mkv_build))

enum progress { NOTHING, BUFFERING, RECEIVED, PERSISTED };

struct expected {
	struct mkv_build media; /* Cluster, then its tags */
	enum progress progress;
	char number[FRAGMENT_NUMBER_CHARS + 1];
};

struct sim {
	uint64_t seed;
	uint64_t state;
	struct store_mem mem;
	struct ingest *in;
	struct expected fragments[FRAGMENTS];
	unsigned int count;
	uint8_t *body;
	size_t body_len;
	struct mkv_build header;
	bool error;   /* an ERROR ack came */
	bool trouble; /* the store was told to fail, or we dropped */
	uint64_t seq;
};

static void broken(const struct sim *s, const char *what)
{
	fprintf(stderr, "sim_ingest: %s; SEED=%" PRIu64 "\n", what, s->seed);
	exit(1);
}

static uint64_t below(struct sim *s, uint64_t n)
{
	return seeds_random(&s->state, n);
}

/* --- what the ingest says
 * ------------------------------------------------------------ */

static void check_stored(struct sim *s, const struct expected *e)
{
	char number[FRAGMENT_NUMBER_CHARS + 1];
	size_t i;

	for (i = 0; i < s->mem.fragment_count; i++) {
		const struct store_mem_fragment *f = &s->mem.fragments[i];

		fragment_number_format(&f->meta.number, number);
		if (strcmp(number, e->number) != 0)
			continue;
		if (f->meta.header_bytes != s->header.len ||
		    memcmp(f->bytes, s->header.bytes, s->header.len) != 0)
			broken(s, "another header was stored");
		if (f->meta.media_bytes != e->media.len ||
		    memcmp(f->bytes + s->header.len, e->media.bytes,
			   e->media.len) != 0)
			broken(s, "other media was stored");
		return;
	}
	broken(s, "PERSISTED, but the store does not have it");
}

static void on_ack(void *ctx, const struct ack *ack)
{
	struct sim *s = ctx;
	struct expected *e;

	if (ack->event == ACK_ERROR) {
		if (s->error || !s->trouble)
			broken(s, "an ERROR too many");
		s->error = true;
		return;
	}
	if (ack->timecode_ms / 1000 >= s->count)
		broken(s, "an ack for no fragment");
	e = &s->fragments[ack->timecode_ms / 1000];
	if (ack->event == ACK_BUFFERING) {
		if (e->progress != NOTHING)
			broken(s, "BUFFERING out of order");
		memcpy(e->number, ack->fragment_number, sizeof(e->number));
		e->progress = BUFFERING;
		return;
	}
	if (strcmp(e->number, ack->fragment_number) != 0)
		broken(s, "the number changed");
	if (ack->event == ACK_RECEIVED) {
		if (e->progress != BUFFERING)
			broken(s, "RECEIVED out of order");
		e->progress = RECEIVED;
		return;
	}
	if (e->progress != RECEIVED)
		broken(s, "PERSISTED out of order");
	e->progress = PERSISTED;
	check_stored(s, e);
}

static void on_view(void *ctx, unsigned int fragment,
		    const struct ingest_view *view)
{
	(void)ctx;
	(void)fragment;
	(void)view;
}

static void on_bytes(void *ctx, unsigned int fragment, const uint8_t *bytes,
		     size_t len)
{
	(void)ctx;
	(void)fragment;
	(void)bytes;
	(void)len;
}

static void on_boundary(void *ctx, unsigned int fragment, uint64_t media)
{
	(void)ctx;
	(void)fragment;
	(void)media;
}

static void on_end(void *ctx, unsigned int fragment, enum ingest_end how)
{
	(void)ctx;
	(void)fragment;
	(void)how;
}

static void on_progress(void *ctx)
{
	(void)ctx;
}

static uint32_t on_random(void *ctx)
{
	return (uint32_t)below(ctx, 1u << FRAGMENT_RANDOM_BITS);
}

static uint64_t on_next_seq(void *ctx)
{
	return ++((struct sim *)ctx)->seq;
}

static const struct ingest_ops ops = {
	.ack = on_ack,
	.begin = on_view,
	.timed = on_view,
	.bytes = on_bytes,
	.boundary = on_boundary,
	.end = on_end,
	.progress = on_progress,
	.random = on_random,
	.next_seq = on_next_seq,
};

/* --- the body
 * ------------------------------------------------------------------------ */

static void append(struct sim *s, const struct mkv_build *b)
{
	memcpy(s->body + s->body_len, b->bytes, b->len);
	s->body_len += b->len;
}

static void build_cluster(struct sim *s, struct mkv_build *b, uint64_t ms)
{
	char payload[200];
	unsigned int frames = 1 + (unsigned int)below(s, 6);
	unsigned int i;

	memset(payload, 'a' + (int)below(s, 26), sizeof(payload));
	payload[1 + below(s, sizeof(payload) - 1)] = '\0';
	if (below(s, 2)) {
		mkv_build_cluster(b, ms);
		for (i = 0; i < frames; i++)
			mkv_build_block(b, MKV_ID_SIMPLE_BLOCK, 1,
					(int16_t)(i * 33),
					i ? 0 : MKV_BLOCK_KEY, payload);
		return;
	}
	mkv_build_uint(b, MKV_ID_TIMECODE, 8, ms);
	for (i = 0; i < frames; i++)
		mkv_build_block(b, MKV_ID_SIMPLE_BLOCK, 1, (int16_t)(i * 33),
				i ? 0 : MKV_BLOCK_KEY, payload);
	mkv_build_wrap(b, 0, MKV_ID_CLUSTER, 4);
}

static void build_tags(struct sim *s, struct mkv_build *b)
{
	uint64_t n = below(s, 4);

	while (n--)
		mkv_build_tag(b, "name", "value");
}

/* Says at once whose the tags are that it puts between the clusters. */
static void build_body(struct sim *s)
{
	struct mkv_build before = {.len = 0};
	unsigned int i;

	mkv_build_header(&s->header, 1);
	append(s, &s->header);
	s->count = 1 + (unsigned int)below(s, FRAGMENTS);
	for (i = 0; i < s->count; i++) {
		struct expected *e = &s->fragments[i];
		struct mkv_build tags = {.len = 0};
		bool ends = below(s, 3) == 0;

		build_cluster(s, &e->media, i * 1000ull);
		append(s, &e->media);
		mkv_build_raw(&e->media, before.bytes, before.len);
		before.len = 0;
		build_tags(s, &tags);
		if (ends)
			mkv_build_tag(&tags, "AWS_KINESISVIDEO_END_OF_FRAGMENT",
				      "");
		append(s, &tags);
		mkv_build_raw(ends || i + 1 == s->count ? &e->media : &before,
			      tags.bytes, tags.len);
	}
}

/* --- the run
 * -------------------------------------------------------------------------- */

static void disturb(struct sim *s, bool rough)
{
	if (below(s, 4) == 0)
		(void)store_mem_complete(&s->mem, below(s, 4));
	if (s->mem.room != SIZE_MAX && below(s, 2))
		store_mem_make_room(&s->mem, below(s, 600));
	if (!rough || below(s, 60))
		return;
	s->trouble = true;
	switch (below(s, 4)) {
	case 0:
		s->mem.add_error = -EIO;
		break;
	case 1:
		s->mem.commit_error = -ENOSPC;
		break;
	case 2:
		ingest_fail(s->in, ACK_STREAM_DELETED);
		break;
	default:
		ingest_drop(s->in);
	}
}

static void run_upload(struct sim *s)
{
	struct ingest_time at = {NS_PER_S, 1700000000000ull};
	struct ingest_config config = {
		.store = &s->mem.store, .ops = &ops, .ctx = s};
	bool rough = below(s, 2);
	size_t piece = 1 + below(s, 400);
	size_t done = 0;
	unsigned int guard = 0;

	if (below(s, 2))
		s->mem.room = below(s, 2000);
	if (ingest_new(&config, at, &s->in) < 0)
		broken(s, "no memory");
	while (done < s->body_len && !ingest_ended(s->in)) {
		size_t n = 1 + below(s, piece);

		n = MIN(n, s->body_len - done);
		done += ingest_feed(s->in, at, s->body + done, n);
		disturb(s, rough);
		if (++guard > 10000000u)
			broken(s, "it hangs");
	}
	ingest_finish(s->in, at);
	for (guard = 0; !ingest_over(s->in); guard++) {
		if (guard > 1000000u)
			broken(s, "it does not end");
		(void)store_mem_complete(&s->mem, below(s, 3));
		(void)store_mem_complete(&s->mem, 0);
		if (s->mem.room != SIZE_MAX)
			store_mem_make_room(&s->mem, below(s, 600));
	}
	ingest_free(s->in);
}

static void run_seed(uint64_t seed)
{
	struct sim *s = calloc(1, sizeof(*s));
	unsigned int i;

	if (!s)
		abort();
	s->seed = seed;
	s->state = seed;
	s->body = malloc(BODY_BYTES);
	if (!s->body)
		abort();
	store_mem_init(&s->mem);
	build_body(s);
	run_upload(s);
	for (i = 0; i < s->count && !s->trouble; i++) {
		if (s->fragments[i].progress != PERSISTED)
			broken(s, "a fragment was not persisted");
	}
	if (s->mem.writers)
		broken(s, "a writer is open");
	store_mem_fini(&s->mem);
	free(s->body);
	free(s);
}

int main(int argc, char **argv)
{
	struct seeds seeds = seeds_from(argc, argv, SEEDS_DEFAULT);
	uint64_t i;

	for (i = 0; i < seeds.count; i++)
		run_seed(seeds.first + i);
	printf("sim_ingest: %" PRIu64 " seeds\n", seeds.count);
	return 0;
}
