/* SPDX-License-Identifier: Apache-2.0 */
#include "core/ingest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/mkv_build.h"
#include "support/store_mem.h"

#define WALL_MS 1700000000000ull
#define BLOCK MKV_ID_SIMPLE_BLOCK
#define KEY 0x80

/*
 * What came out, as words: B = BUFFERING, R = RECEIVED, P = PERSISTED with the
 * fragment's timecode, E = ERROR with id (and timecode), I = IDLE.
 */
struct rig {
	struct store_mem mem;
	struct ingest *in;
	struct ingest_config config;
	struct ingest_time at;
	char trace[4096];
	char live[4096];      /* begin timed whole dropped committed lost */
	uint8_t shown[65536]; /* live bytes of the fragment in progress */
	size_t shown_len;
	uint64_t boundary;
	unsigned int progressed;
};

static void note(char *out, const char *fmt, ...) PRINTF(2, 3);
static void note(char *out, const char *fmt, ...)
{
	size_t len = strlen(out);
	va_list args;

	if (len)
		out[len++] = ' ';
	va_start(args, fmt);
	(void)vsnprintf(out + len, 4096 - len, fmt, args);
	va_end(args);
}

static void on_ack(void *ctx, const struct ack *ack)
{
	struct rig *r = ctx;
	char timecode[24] = "";

	if (ack->has_timecode) {
		(void)snprintf(timecode, sizeof(timecode), "%llu",
			       (unsigned long long)ack->timecode_ms);
		assert_int_equal(strlen(ack->fragment_number),
				 FRAGMENT_NUMBER_CHARS);
	}
	if (ack->event == ACK_ERROR)
		note(r->trace, "E%u%s%s", ack->error_id,
		     ack->has_timecode ? "@" : "", timecode);
	else
		note(r->trace, "%c%s", ack_event_name(ack->event)[0], timecode);
}

static void on_begin(void *ctx, unsigned int fragment,
		     const struct ingest_view *view)
{
	struct rig *r = ctx;

	assert_true(fragment < INGEST_FRAGMENTS_MAX);
	assert_true(view->header_bytes > 0);
	note(r->live, "begin");
	r->shown_len = 0;
	r->boundary = 0;
}

static void on_timed(void *ctx, unsigned int fragment,
		     const struct ingest_view *view)
{
	struct rig *r = ctx;

	(void)fragment;
	note(r->live, "timed%llu", (unsigned long long)view->producer_ms);
}

static void on_bytes(void *ctx, unsigned int fragment, const uint8_t *bytes,
		     size_t len)
{
	struct rig *r = ctx;

	(void)fragment;
	if (r->shown_len + len > sizeof(r->shown))
		return; /* the large cases do not look */
	memcpy(r->shown + r->shown_len, bytes, len);
	r->shown_len += len;
}

static void on_boundary(void *ctx, unsigned int fragment, uint64_t media)
{
	struct rig *r = ctx;

	(void)fragment;
	r->boundary = media;
}

static void on_end(void *ctx, unsigned int fragment, enum ingest_end how)
{
	static const char *const words[] = {"whole", "dropped", "committed",
					    "lost"};

	(void)fragment;
	note(((struct rig *)ctx)->live, "%s", words[how]);
}

static void on_progress(void *ctx)
{
	((struct rig *)ctx)->progressed++;
}

static uint32_t on_random(void *ctx)
{
	(void)ctx;
	return 12345;
}

static uint64_t on_next_seq(void *ctx)
{
	return ++((struct rig *)ctx)->mem.seq;
}

static const struct ingest_ops ops = {
	.ack = on_ack,
	.begin = on_begin,
	.timed = on_timed,
	.bytes = on_bytes,
	.boundary = on_boundary,
	.end = on_end,
	.progress = on_progress,
	.random = on_random,
	.next_seq = on_next_seq,
};

static struct rig *rig_new(bool stored, bool relative)
{
	struct rig *r = calloc(1, sizeof(*r));

	assert_non_null(r);
	store_mem_init(&r->mem);
	r->at = (struct ingest_time){.now_ns = NS_PER_S, .wall_ms = WALL_MS};
	r->config = (struct ingest_config){
		.store = stored ? &r->mem.store : NULL,
		.relative = relative,
		.producer_start_ms = 1000000,
		.ops = &ops,
		.ctx = r,
	};
	assert_int_equal(ingest_new(&r->config, r->at, &r->in), 0);
	return r;
}

static void rig_free(struct rig *r)
{
	assert_true(ingest_over(r->in));
	ingest_free(r->in);
	assert_int_equal(r->mem.writers, 0);
	store_mem_fini(&r->mem);
	free(r);
}

/* Feeds in pieces; when the store is behind, gives it a little room. */
static void feed(struct rig *r, const void *bytes, size_t len, size_t piece)
{
	const uint8_t *p = bytes;

	while (len) {
		size_t used = ingest_feed(r->in, r->at, p, MIN(len, piece));

		p += used;
		len -= used;
		if (!ingest_blocked(r->in))
			continue;
		if (r->mem.room != SIZE_MAX)
			store_mem_make_room(&r->mem, 7);
		store_mem_complete_all(&r->mem);
	}
}

static void settle(struct rig *r)
{
	unsigned int i;

	for (i = 0; i < 100000 && !ingest_over(r->in); i++) {
		if (r->mem.room != SIZE_MAX)
			store_mem_make_room(&r->mem, 7);
		store_mem_complete_all(&r->mem);
	}
}

/* --- bodies --- */

static void fragment(struct mkv_build *b, uint64_t timecode)
{
	mkv_build_cluster(b, timecode);
	mkv_build_block(b, BLOCK, 1, 0, KEY, "key frame");
	mkv_build_block(b, BLOCK, 1, 40, 0, "delta");
}

static void one(struct mkv_build *b)
{
	mkv_build_header(b, 1);
	fragment(b, 0);
}

static void two(struct mkv_build *b)
{
	one(b);
	fragment(b, 1000);
}

static void same_timecode(struct mkv_build *b)
{
	two(b);
	fragment(b, 1000);
}

static void backward(struct mkv_build *b)
{
	two(b);
	fragment(b, 500);
}

static void inside_previous(struct mkv_build *b)
{
	one(b);
	fragment(b, 40);
}

/* The Cluster begins with sound from before its key frame, and the reordered
 * picture before it is later than that. */
static void sound_first(struct mkv_build *b)
{
	mkv_build_header(b, 2);
	mkv_build_cluster(b, 0);
	mkv_build_block(b, BLOCK, 1, 0, KEY, "key frame");
	mkv_build_block(b, BLOCK, 2, 0, KEY, "sound");
	mkv_build_block(b, BLOCK, 1, 1010, 0, "delta");
	mkv_build_cluster(b, 1000);
	mkv_build_block(b, BLOCK, 2, 0, KEY, "sound");
	mkv_build_block(b, BLOCK, 1, 50, KEY, "key frame");
}

static void undeclared_track(struct mkv_build *b)
{
	one(b);
	mkv_build_cluster(b, 1000);
	mkv_build_block(b, BLOCK, 2, 0, KEY, "whose?");
}

static void track_without_frame(struct mkv_build *b)
{
	mkv_build_header(b, 2);
	mkv_build_cluster(b, 0);
	mkv_build_block(b, BLOCK, 1, 0, KEY, "video");
	mkv_build_block(b, BLOCK, 2, 0, KEY, "other");
	mkv_build_cluster(b, 1000);
	mkv_build_block(b, BLOCK, 1, 0, KEY, "video");
	mkv_build_cluster(b, 2000);
}

static void four_tracks(struct mkv_build *b)
{
	mkv_build_header(b, 4);
	fragment(b, 0);
}

static void garbage_after_cluster(struct mkv_build *b)
{
	size_t at;

	mkv_build_header(b, 1);
	at = b->len;
	mkv_build_uint(b, MKV_ID_TIMECODE, 1, 0);
	mkv_build_block(b, BLOCK, 1, 0, KEY, "key frame");
	mkv_build_wrap(b, at, MKV_ID_CLUSTER, 4);
	mkv_build_raw(b, "\0\0\0\0\0\0\0\0", 8);
}

static void garbage_in_cluster(struct mkv_build *b)
{
	two(b);
	mkv_build_raw(b, "\0\0\0\0\0\0\0\0", 8);
}

static void not_matroska(struct mkv_build *b)
{
	mkv_build_raw(b, "GET / HTTP/1.1\r\n\r\n", 18);
}

static void second_segment(struct mkv_build *b)
{
	one(b);
	mkv_build_segment(b);
}

static void too_long(struct mkv_build *b)
{
	mkv_build_header(b, 1);
	mkv_build_cluster(b, 0);
	mkv_build_block(b, BLOCK, 1, 0, KEY, "key frame");
	mkv_build_block(b, BLOCK, 1, 20000, 0, "the last that may be");
	mkv_build_block(b, BLOCK, 1, 20001, 0, "late");
}

static void cut_in_block(struct mkv_build *b)
{
	two(b);
	b->len -= 2;
}

static void tags(struct mkv_build *b, unsigned int count)
{
	char name[16];

	while (count--) {
		(void)snprintf(name, sizeof(name), "name%u", count);
		mkv_build_tag(b, name, "value");
	}
}

static void ten_tags(struct mkv_build *b)
{
	one(b);
	tags(b, 10);
	fragment(b, 1000);
}

static void eleven_tags_before(struct mkv_build *b)
{
	one(b);
	tags(b, 11);
	fragment(b, 1000);
}

static void eleven_tags_ended(struct mkv_build *b)
{
	one(b);
	tags(b, 11);
	mkv_build_tag(b, "AWS_KINESISVIDEO_END_OF_FRAGMENT", "");
	fragment(b, 1000);
}

static void eleven_tags_last(struct mkv_build *b)
{
	one(b);
	tags(b, 11);
}

static void six_and_five_tags(struct mkv_build *b)
{
	one(b);
	tags(b, 6);
	fragment(b, 1000);
	tags(b, 5);
	mkv_build_tag(b, "AWS_KINESISVIDEO_END_OF_FRAGMENT", "");
}

static void long_name(struct mkv_build *b)
{
	char name[130];

	memset(name, 'n', sizeof(name) - 1);
	name[129] = '\0';
	one(b);
	mkv_build_tag(b, name, "v");
	fragment(b, 1000);
}

static void long_value(struct mkv_build *b)
{
	char value[258];

	memset(value, 'v', sizeof(value) - 1);
	value[257] = '\0';
	one(b);
	mkv_build_tag(b, "n", value);
	fragment(b, 1000);
}

static void forged_tag(struct mkv_build *b)
{
	one(b);
	mkv_build_tag(b, "AWS_KINESISVIDEO_FRAGMENT_NUMBER", "1");
	fragment(b, 1000);
}

static void trigger_tags(struct mkv_build *b)
{
	one(b);
	mkv_build_tag(b, "AWS_KINESISVIDEO_IMAGE_GENERATION", "");
	mkv_build_tag(b, "AWS_KINESISVIDEO_IMAGE_PREFIX", "p");
	mkv_build_tag(b, "AWS_KINESISVIDEO_NOTIFICATION", "");
	tags(b, 10);
	fragment(b, 1000);
}

/* As muxers write them, and with Targets at the end. */
static void tag_of_track(struct mkv_build *b, const char *name,
			 const char *value, bool targets_last)
{
	size_t at = b->len;

	if (!targets_last)
		mkv_build_targets(b, MKV_ID_TAG_TRACK_UID, 1);
	mkv_build_simple_tag(b, name, value);
	if (targets_last)
		mkv_build_targets(b, MKV_ID_TAG_TRACK_UID, 1);
	mkv_build_wrap(b, at, MKV_ID_TAG, 4);
	mkv_build_wrap(b, at, MKV_ID_TAGS, 4);
}

static void track_tags(struct mkv_build *b)
{
	char value[258];
	unsigned int i;

	memset(value, 'v', sizeof(value) - 1);
	value[257] = '\0';
	one(b);
	tags(b, 10);
	for (i = 0; i < 12; i++)
		tag_of_track(b, "BPS", value, i & 1);
	fragment(b, 1000);
}

static void track_tags_and_eleven(struct mkv_build *b)
{
	one(b);
	tag_of_track(b, "BPS", "1", true);
	tags(b, 11);
	fragment(b, 1000);
}

static void track_tag_ends_nothing(struct mkv_build *b)
{
	one(b);
	tag_of_track(b, "AWS_KINESISVIDEO_END_OF_FRAGMENT", "", true);
	tags(b, 10);
	fragment(b, 1000);
	tag_of_track(b, "AWS_KINESISVIDEO_END_OF_FRAGMENT", "", false);
	tags(b, 10);
}

static void forged_track_tag(struct mkv_build *b)
{
	one(b);
	tag_of_track(b, "AWS_KINESISVIDEO_FRAGMENT_NUMBER", "1", false);
	fragment(b, 1000);
}

static void eleven_tags_of_the_file(struct mkv_build *b)
{
	size_t at;
	unsigned int i;

	one(b);
	at = b->len;
	mkv_build_targets(b, 0, 0);
	for (i = 0; i < 11; i++)
		mkv_build_simple_tag(b, "n", "v");
	mkv_build_wrap(b, at, MKV_ID_TAG, 4);
	mkv_build_wrap(b, at, MKV_ID_TAGS, 4);
	fragment(b, 1000);
}

static void no_timecode(struct mkv_build *b)
{
	mkv_build_header(b, 1);
	mkv_build_head(b, MKV_ID_CLUSTER, 1, EBML_SIZE_UNKNOWN);
	fragment(b, 0);
}

static void nothing(struct mkv_build *b)
{
	b->len = 0;
}

static void many(struct mkv_build *b)
{
	uint64_t i;

	mkv_build_header(b, 1);
	for (i = 0; i < 20; i++)
		fragment(b, i * 100);
}

static const struct body {
	const char *name;
	void (*build)(struct mkv_build *b);
	const char *trace;
} bodies[] = {
	{"nothing", nothing, ""},
	{"one", one, "B0 R0 P0"},
	{"two", two, "B0 R0 B1000 R1000 P0 P1000"},
	{"same timecode", same_timecode,
	 "B0 R0 B1000 R1000 E4004@1000 P0 P1000"},
	{"backward", backward, "B0 R0 B1000 R1000 E4004@500 P0 P1000"},
	{"inside previous", inside_previous, "B0 R0 B40 E4004@40 P0"},
	{"sound first", sound_first, "B0 R0 B1000 R1000 P0 P1000"},
	{"undeclared track", undeclared_track, "B0 R0 B1000 E4010@1000 P0"},
	{"track without frame", track_without_frame,
	 "B0 R0 B1000 E4011@1000 P0"},
	{"four tracks", four_tracks, "E4012"},
	{"garbage after cluster", garbage_after_cluster, "B0 R0 E4006 P0"},
	{"garbage in cluster", garbage_in_cluster, "B0 R0 B1000 E4006@1000 P0"},
	{"not matroska", not_matroska, "E4006"},
	{"second segment", second_segment, "B0 R0 E4006 P0"},
	{"too long", too_long, "B0 E4002@0"},
	{"cut in block", cut_in_block, "B0 R0 B1000 E4006@1000 P0"},
	{"ten tags", ten_tags, "B0 R0 B1000 R1000 P0 P1000"},
	{"eleven tags before", eleven_tags_before, "B0 R0 E4009@1000 P0"},
	{"eleven tags ended", eleven_tags_ended, "B0 E4009@0"},
	{"eleven tags last", eleven_tags_last, "B0 E4009@0"},
	{"six and five tags", six_and_five_tags, "B0 R0 B1000 E4009@1000 P0"},
	{"long name", long_name, "B0 R0 E4009@1000 P0"},
	{"long value", long_value, "B0 R0 E4009@1000 P0"},
	{"forged tag", forged_tag, "B0 R0 E4009@1000 P0"},
	{"trigger tags", trigger_tags, "B0 R0 B1000 R1000 P0 P1000"},
	{"track tags", track_tags, "B0 R0 B1000 R1000 P0 P1000"},
	{"track tags and eleven", track_tags_and_eleven, "B0 R0 E4009@1000 P0"},
	{"track tag ends nothing", track_tag_ends_nothing,
	 "B0 R0 B1000 E4009@1000 P0"},
	{"forged track tag", forged_track_tag, "B0 R0 E4009@1000 P0"},
	{"eleven tags of the file", eleven_tags_of_the_file,
	 "B0 R0 E4009@1000 P0"},
	{"no timecode", no_timecode, "E4006"},
};

static void run_body(const struct body *body, size_t piece, size_t room)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);

	r->mem.room = room;
	body->build(&b);
	feed(r, b.bytes, b.len, piece);
	ingest_finish(r->in, r->at);
	settle(r);
	if (room == SIZE_MAX && strcmp(r->trace, body->trace) != 0)
		fail_msg("%s in pieces of %zu: %s, expected %s", body->name,
			 piece, r->trace, body->trace);
	rig_free(r);
}

static void ingest_acks_follow_the_body_in_any_pieces(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bodies); i++) {
		run_body(&bodies[i], SIZE_MAX, SIZE_MAX);
		run_body(&bodies[i], 1, SIZE_MAX);
		run_body(&bodies[i], 13, SIZE_MAX);
	}
}

/* PERSISTED comes earlier then; that nothing hangs or is lost counts. */
static void ingest_survives_a_store_that_is_always_behind(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bodies); i++) {
		run_body(&bodies[i], SIZE_MAX, 0);
		run_body(&bodies[i], 5, 3);
	}
}

/* --- what is stored --- */

static void assert_stored(const struct store_mem_fragment *f,
			  const struct mkv_build *header,
			  const struct mkv_build *media)
{
	assert_int_equal(f->meta.header_bytes, header->len);
	assert_memory_equal(f->bytes, header->bytes, header->len);
	assert_int_equal(f->meta.media_bytes, media->len);
	assert_memory_equal(f->bytes + header->len, media->bytes, media->len);
}

static void stored_verbatim(size_t piece, size_t room)
{
	struct mkv_build header = {.len = 0};
	struct mkv_build first = {.len = 0};
	struct mkv_build second = {.len = 0};
	struct mkv_build late = {.len = 0};
	struct mkv_build early = {.len = 0};
	struct rig *r = rig_new(true, false);

	r->mem.room = room;
	mkv_build_header(&header, 1);
	fragment(&first, 5);
	mkv_build_tag(&early, "next", "one's");
	tag_of_track(&early, "BPS", "1", true);
	fragment(&second, 1000);
	mkv_build_tag(&late, "last", "one's");
	feed(r, header.bytes, header.len, piece);
	feed(r, first.bytes, first.len, piece);
	feed(r, early.bytes, early.len, piece);
	feed(r, second.bytes, second.len, piece);
	feed(r, late.bytes, late.len, piece);
	ingest_finish(r->in, r->at);
	settle(r);
	assert_int_equal(r->mem.fragment_count, 2);
	assert_stored(&r->mem.fragments[0], &header, &first);
	mkv_build_raw(&second, early.bytes, early.len);
	mkv_build_raw(&second, late.bytes, late.len);
	assert_stored(&r->mem.fragments[1], &header, &second);
	assert_int_equal(r->mem.fragments[0].meta.producer_ms, 5);
	assert_int_equal(r->mem.fragments[0].meta.server_ms, WALL_MS);
	assert_int_equal(r->mem.fragments[0].meta.duration_ms, 80);
	rig_free(r);
}

static void ingest_stores_header_cluster_and_tags_verbatim(void **state)
{
	(void)state;
	stored_verbatim(SIZE_MAX, SIZE_MAX);
	stored_verbatim(1, SIZE_MAX);
	stored_verbatim(SIZE_MAX, 0);
	stored_verbatim(3, 1);
}

static void ingest_indexes_every_frame(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);
	const struct store_mem_fragment *f;
	struct frame_index_iter it;
	struct frame_entry e;
	const uint8_t *media;

	(void)state;
	one(&b);
	feed(r, b.bytes, b.len, 11);
	ingest_finish(r->in, r->at);
	settle(r);
	f = &r->mem.fragments[0];
	media = f->bytes + f->meta.header_bytes;
	assert_int_equal(frame_index_open(&it, media + f->meta.media_bytes,
					  f->meta.frames_bytes),
			 0);
	assert_int_equal(frame_index_next(&it, &e), 1);
	assert_true(e.key);
	assert_int_equal(e.bytes, 9);
	assert_memory_equal(media + e.offset, "key frame", 9);
	assert_int_equal(frame_index_next(&it, &e), 1);
	assert_false(e.key);
	assert_int_equal(e.timecode, 40);
	assert_memory_equal(media + e.offset, "delta", 5);
	assert_int_equal(frame_index_next(&it, &e), 0);
	rig_free(r);
}

static void ingest_end_of_fragment_tag_closes_at_once(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);

	(void)state;
	one(&b);
	feed(r, b.bytes, b.len, SIZE_MAX);
	assert_string_equal(r->trace, "B0");
	b.len = 0;
	mkv_build_tag(&b, "mine", "too");
	mkv_build_tag(&b, "AWS_KINESISVIDEO_END_OF_FRAGMENT", "");
	feed(r, b.bytes, b.len, SIZE_MAX);
	store_mem_complete_all(&r->mem);
	assert_string_equal(r->trace, "B0 R0 P0");
	assert_int_equal(r->mem.fragment_count, 1);
	ingest_finish(r->in, r->at);
	rig_free(r);
}

static void ingest_adds_the_start_when_relative(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, true);

	(void)state;
	two(&b);
	feed(r, b.bytes, b.len, SIZE_MAX);
	ingest_finish(r->in, r->at);
	settle(r);
	assert_int_equal(r->mem.fragments[1].meta.producer_ms, 1001000);
	assert_string_equal(r->trace, "B0 R0 B1000 R1000 P0 P1000");
	rig_free(r);
}

static void ingest_stores_nothing_without_retention(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(false, false);

	(void)state;
	two(&b);
	feed(r, b.bytes, b.len, SIZE_MAX);
	ingest_finish(r->in, r->at);
	assert_true(ingest_over(r->in));
	assert_string_equal(r->trace, "B0 R0 B1000 R1000");
	assert_string_equal(r->live, "begin timed0 whole begin timed1000 "
				     "whole");
	rig_free(r);
}

/* --- live readers --- */

static void ingest_shows_a_frame_before_its_fragment_ends(void **state)
{
	struct mkv_build header = {.len = 0};
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);

	(void)state;
	mkv_build_header(&header, 1);
	feed(r, header.bytes, header.len, SIZE_MAX);
	mkv_build_cluster(&b, 0);
	mkv_build_block(&b, BLOCK, 1, 0, KEY, "key frame");
	feed(r, b.bytes, b.len, SIZE_MAX);
	assert_string_equal(r->live, "begin timed0");
	assert_int_equal(r->boundary, b.len);
	assert_memory_equal(r->shown, b.bytes, b.len);
	/* Half a block is no boundary. */
	feed(r, "\xa3\x90xxx", 5, SIZE_MAX);
	assert_int_equal(r->shown_len, b.len + 5);
	assert_int_equal(r->boundary, b.len);
	ingest_drop(r->in);
	assert_string_equal(r->live, "begin timed0 dropped");
	assert_string_equal(r->trace, "B0");
	rig_free(r);
}

/* --- trouble --- */

static void ingest_answers_5001_when_the_store_fails(void **state)
{
	static const struct {
		int open, add, commit;
		const char *trace;
	} cases[] = {
		{-ENOSPC, 0, 0, "E5001"},
		{0, -EIO, 0, "E5001"},
		{0, 0, -EIO, "B0 R0 B1000 E5001@0"},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct mkv_build b = {.len = 0};
		struct rig *r = rig_new(true, false);

		r->mem.open_error = cases[i].open;
		r->mem.add_error = cases[i].add;
		r->mem.commit_error = cases[i].commit;
		two(&b);
		feed(r, b.bytes, b.len, SIZE_MAX);
		store_mem_complete_all(&r->mem);
		assert_true(ingest_failed(r->in));
		assert_non_null(strstr(r->trace, cases[i].trace));
		assert_int_equal(r->mem.fragment_count, 0);
		settle(r);
		rig_free(r);
	}
}

static void ingest_waits_when_all_places_are_taken(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);
	size_t used;

	(void)state;
	many(&b);
	used = ingest_feed(r->in, r->at, b.bytes, b.len);
	assert_true(used < b.len);
	assert_true(ingest_blocked(r->in));
	assert_int_equal(
		ingest_feed(r->in, r->at, b.bytes + used, b.len - used), 0);
	assert_true(store_mem_complete(&r->mem, 0));
	assert_int_equal(r->progressed, 1);
	assert_false(ingest_blocked(r->in));
	feed(r, b.bytes + used, b.len - used, SIZE_MAX);
	ingest_finish(r->in, r->at);
	settle(r);
	assert_int_equal(r->mem.fragment_count, 20);
	assert_int_equal(ingest_counts(r->in).persisted, 20);
	rig_free(r);
}

static void ingest_persists_what_was_whole_when_the_device_goes(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);

	(void)state;
	two(&b);
	feed(r, b.bytes, b.len, SIZE_MAX);
	ingest_drop(r->in);
	assert_false(ingest_over(r->in));
	settle(r);
	assert_string_equal(r->trace, "B0 R0 B1000");
	assert_int_equal(r->mem.fragment_count, 1);
	assert_int_equal(r->mem.aborted, 1);
	rig_free(r);
}

/* Told to drain after @at bytes of two fragments: ends after the first. */
static void drain_at(const struct mkv_build *b, size_t at, const char *trace,
		     bool ended)
{
	struct rig *r = rig_new(true, false);

	feed(r, b->bytes, at, SIZE_MAX);
	ingest_drain(r->in, r->at);
	assert_int_equal(ingest_ended(r->in), ended);
	/* What it does not want it takes all the same. */
	feed(r, b->bytes + at, b->len - at, SIZE_MAX);
	assert_true(ingest_ended(r->in) && !ingest_failed(r->in));
	settle(r);
	assert_true(ingest_over(r->in));
	assert_string_equal(r->trace, trace);
	rig_free(r);
}

static void ingest_drains_to_the_end_of_a_fragment(void **state)
{
	struct mkv_build b = {.len = 0};
	size_t head;
	size_t first;

	(void)state;
	mkv_build_header(&b, 1);
	head = b.len;
	fragment(&b, 0);
	first = b.len;
	fragment(&b, 1000);
	drain_at(&b, head, "", true); /* nothing to wait for */
	drain_at(&b, head + 20, "B0 R0 P0", false);
	drain_at(&b, first, "B0 R0 P0", false); /* of an unknown size */
}

static void ingest_names_the_fragment_when_told_to_fail(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);

	(void)state;
	one(&b);
	feed(r, b.bytes, b.len, SIZE_MAX);
	ingest_fail(r->in, ACK_STREAM_DELETED);
	ingest_fail(r->in, ACK_INTERNAL_ERROR);
	assert_string_equal(r->trace, "B0 E4507@0");
	assert_int_equal(ingest_feed(r->in, r->at, b.bytes, 9), 9);
	rig_free(r);
}

/* What comes while the last fragment is being stored: framing that is none. */
static void ingest_has_no_error_after_an_orderly_end(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);

	(void)state;
	one(&b);
	feed(r, b.bytes, b.len, SIZE_MAX);
	ingest_finish(r->in, r->at);
	assert_false(ingest_over(r->in));
	ingest_fail(r->in, ACK_STREAM_READ_ERROR);
	settle(r);
	assert_false(ingest_failed(r->in));
	assert_string_equal(r->trace, "B0 R0 P0");
	rig_free(r);
}

static void feed_large(struct rig *r, uint64_t total)
{
	static uint8_t zeros[1 << 20];
	uint8_t head[16];
	size_t n = ebml_write_id(head, MKV_ID_SIMPLE_BLOCK);

	n += ebml_write_size(head + n, 8, total);
	feed(r, head, n, SIZE_MAX);
	feed(r, "\x81\0\0\x80", 4, SIZE_MAX);
	for (total -= 4; total && !ingest_ended(r->in);) {
		size_t len = (size_t)MIN(total, sizeof(zeros));

		feed(r, zeros, len, SIZE_MAX);
		total -= len;
	}
}

static void ingest_answers_4001_beyond_50_mib(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(false, false);

	(void)state;
	mkv_build_header(&b, 1);
	mkv_build_cluster(&b, 0);
	feed(r, b.bytes, b.len, SIZE_MAX);
	feed_large(r, FRAGMENT_BYTES_MAX - 4096);
	assert_string_equal(r->trace, "B0");
	feed_large(r, 8192);
	assert_string_equal(r->trace, "B0 E4001@0");
	rig_free(r);
}

/* --- time --- */

static void tick_to(struct rig *r, uint64_t seconds)
{
	uint64_t end = seconds * NS_PER_S + NS_PER_S;

	while (ingest_deadline_ns(r->in) <= end) {
		r->at.now_ns = MAX(ingest_deadline_ns(r->in), r->at.now_ns);
		ingest_tick(r->in, r->at);
	}
	r->at.now_ns = end;
}

static void ingest_says_idle_and_ends_after_30_s_of_silence(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(true, false);

	(void)state;
	one(&b);
	feed(r, b.bytes, b.len, SIZE_MAX);
	tick_to(r, 29);
	assert_false(ingest_ended(r->in));
	assert_string_equal(r->trace, "B0 I I I I I");
	tick_to(r, 31);
	assert_true(ingest_ended(r->in));
	/* Its device may hold more of the open Cluster. */
	assert_string_equal(r->live, "begin timed0 dropped");
	assert_false(ingest_failed(r->in));
	rig_free(r);
}

static void ingest_ends_after_45_minutes(void **state)
{
	struct mkv_build b = {.len = 0};
	struct rig *r = rig_new(false, false);
	uint64_t i;

	(void)state;
	mkv_build_header(&b, 1);
	feed(r, b.bytes, b.len, SIZE_MAX);
	for (i = 0; i < 45 * 60; i += 4) {
		b.len = 0;
		fragment(&b, i * 1000);
		feed(r, b.bytes, b.len, SIZE_MAX);
		tick_to(r, i + 4);
	}
	assert_true(ingest_failed(r->in));
	assert_non_null(strstr(r->trace, " E4003@2696000"));
	assert_null(strstr(r->trace, "I"));
	rig_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ingest_acks_follow_the_body_in_any_pieces),
		cmocka_unit_test(ingest_survives_a_store_that_is_always_behind),
		cmocka_unit_test(
			ingest_stores_header_cluster_and_tags_verbatim),
		cmocka_unit_test(ingest_indexes_every_frame),
		cmocka_unit_test(ingest_end_of_fragment_tag_closes_at_once),
		cmocka_unit_test(ingest_adds_the_start_when_relative),
		cmocka_unit_test(ingest_stores_nothing_without_retention),
		cmocka_unit_test(ingest_shows_a_frame_before_its_fragment_ends),
		cmocka_unit_test(ingest_answers_5001_when_the_store_fails),
		cmocka_unit_test(ingest_waits_when_all_places_are_taken),
		cmocka_unit_test(
			ingest_persists_what_was_whole_when_the_device_goes),
		cmocka_unit_test(ingest_drains_to_the_end_of_a_fragment),
		cmocka_unit_test(ingest_names_the_fragment_when_told_to_fail),
		cmocka_unit_test(ingest_has_no_error_after_an_orderly_end),
		cmocka_unit_test(ingest_answers_4001_beyond_50_mib),
		cmocka_unit_test(
			ingest_says_idle_and_ends_after_30_s_of_silence),
		cmocka_unit_test(ingest_ends_after_45_minutes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
