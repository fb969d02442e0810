/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "core/au.h"
#include "core/fragmenter.h"
#include "proto/frame_time.h"
#include "proto/h264.h"
#include "proto/mkv_writer.h"

#define MS NS_PER_MS
#define BASE_MS UINT64_C(1700000000000)

static const struct mkv_track video = { .type = MKV_TRACK_VIDEO,
					.codec_id = "V_MJPEG",
					.width = 64, .height = 48 };
static const struct mkv_track audio = { .type = MKV_TRACK_AUDIO,
					.codec_id = "A_AAC",
					.rate_hz = 48000, .channels = 2 };
static const struct mkv_track data = { .type = MKV_TRACK_METADATA,
				       .codec_id = "D_TEST" };

static struct fragmenter *make(const struct mkv_track *a,
			       const struct mkv_track *b,
			       const struct mkv_track *c, uint64_t fragment_ms)
{
	struct mkv_track tracks[3];
	static const bool later[3];
	struct fragmenter_config config = { .tracks = tracks,
					    .private_later = later,
					    .fragment_ms = fragment_ms,
					    .interleave_ms = 200 };
	struct fragmenter *f = NULL;

	tracks[config.track_count++] = *a;
	if (b)
		tracks[config.track_count++] = *b;
	if (c)
		tracks[config.track_count++] = *c;
	assert_int_equal(fragmenter_new(&config, &f), 0);
	return f;
}

/* What came out, in a line: "+" opens, "v" or "V" (key) and so on. */
struct out {
	struct fragmenter_block blocks[4096];
	size_t count;
	uint64_t end_ms;	/* latest block of all */
	uint64_t open_ms;
};

/* Takes what is ready; checks what must hold of any sequence of blocks. */
static void take(struct fragmenter *f, uint64_t now_ns, struct out *o)
{
	struct fragmenter_block b;

	while (fragmenter_next(f, now_ns, &b)) {
		const uint8_t *block = b.header;
		int16_t relative;

		assert_true(o->count < 4096);
		o->blocks[o->count++] = b;
		if (b.drop)
			continue;
		assert_true(b.header_bytes <= FRAME_HEADER_BYTES_MAX);
		if (b.opens) {
			/* Ack 4004: strictly later than all before. */
			assert_true(!o->open_ms ||
				    b.head.timecode_ms > o->end_ms);
			o->open_ms = b.head.timecode_ms;
			assert_int_equal(b.header_bytes, MKV_CLUSTER_HEAD_BYTES +
					 MKV_BLOCK_HEAD_BYTES);
			block += MKV_CLUSTER_HEAD_BYTES;
		}
		relative = (int16_t)load_be16(block + MKV_BLOCK_HEAD_BYTES - 3);
		assert_true(relative >= 0);
		if (o->open_ms + (uint64_t)relative > o->end_ms)
			o->end_ms = o->open_ms + (uint64_t)relative;
	}
}

static int put(struct fragmenter *f, uint32_t track, bool key, uint64_t ms,
	       uint64_t now_ms)
{
	static uint64_t held;
	struct fragmenter_frame frame = { .track = track, .key = key,
					  .time_ns = (BASE_MS + ms) * MS,
					  .bytes = 1000, .held = ++held };
	int r = fragmenter_check(f, track, key, frame.time_ns, frame.bytes);

	if (r == 0)
		fragmenter_put(f, &frame, now_ms * MS);
	return r;
}

static size_t opens(const struct out *o)
{
	size_t n = 0;

	for (size_t i = 0; i < o->count; i++)
		n += o->blocks[i].opens;
	return n;
}

static struct out *new_out(void)
{
	struct out *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	return o;
}

/* I0 P3 B1 B2 | I4 P7 B5 B6: shown in another order than they are put. */
static void fragmenter_keeps_the_order_of_b_frames(void **state)
{
	static const uint64_t shown[] = { 0, 3, 1, 2, 4, 7, 5, 6 };
	struct fragmenter *f = make(&video, NULL, NULL, 1000);
	struct out *o = new_out();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shown); i++) {
		struct fragmenter_frame frame = {
			.key = i % 4 == 0,
			.time_ns = (BASE_MS + shown[i] * 300) * MS,
			.order_ns = (BASE_MS + i * 300) * MS,
			.bytes = 1000,
			.held = i + 1,
		};

		assert_int_equal(fragmenter_check(f, 0, frame.key,
						  frame.order_ns, 1000), 0);
		fragmenter_put(f, &frame, i * MS);
		take(f, i * MS, o);
	}
	assert_int_equal(o->count, ARRAY_SIZE(shown));
	assert_int_equal(opens(o), 2);
	for (size_t i = 0; i < o->count; i++) {
		assert_int_equal(o->blocks[i].held, i + 1);
		assert_int_equal(o->blocks[i].opens, i % 4 == 0);
	}
	/* What goes back in decoding order is refused all the same. */
	assert_int_equal(fragmenter_check(f, 0, false,
					  (BASE_MS + 6 * 300) * MS, 1000),
			 -ERANGE);
	free(o);
	(void)fragmenter_free(f);
}

static void fragmenter_starts_with_a_key_frame(void **state)
{
	struct fragmenter *f = make(&video, &audio, NULL, 2000);

	(void)state;
	assert_int_equal(put(f, 1, true, 0, 0), -EAGAIN);
	assert_int_equal(put(f, 0, false, 0, 0), -EAGAIN);
	assert_int_equal(put(f, 0, true, 10, 0), 0);
	assert_int_equal(put(f, 1, true, 5, 0), -ERANGE); /* before it */
	assert_int_equal(put(f, 1, true, 12, 0), 0);
	assert_int_equal(put(f, 2, true, 12, 0), -EINVAL);
	fragmenter_free(f);
}

static void fragmenter_cuts_at_key_frames_once_old_enough(void **state)
{
	struct fragmenter *f = make(&video, NULL, NULL, 2000);
	struct out *o = new_out();

	(void)state;
	/* A key frame each second: every second one cuts. */
	for (uint64_t i = 0; i < 300; i++) {
		assert_int_equal(put(f, 0, i % 30 == 0, i * 1000 / 30, i), 0);
		take(f, i * MS, o);
	}
	assert_int_equal(o->count, 300);
	assert_int_equal(opens(o), 5);
	for (size_t i = 0; i < o->count; i++)
		assert_int_equal(o->blocks[i].opens, i % 60 == 0);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_takes_a_key_frame_that_jitters_early(void **state)
{
	struct fragmenter *f = make(&video, NULL, NULL, 2000);
	struct out *o = new_out();

	(void)state;
	assert_int_equal(put(f, 0, true, 0, 0), 0);
	assert_int_equal(put(f, 0, true, 1980, 0), 0);
	assert_int_equal(put(f, 0, true, 3000, 0), 0);
	take(f, 0, o);
	assert_int_equal(opens(o), 2);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_cuts_without_a_key_frame_before_the_bound(void **state)
{
	struct fragmenter *f = make(&video, NULL, NULL, 1000);
	struct out *o = new_out();

	(void)state;
	for (uint64_t i = 0; i < 600; i++) {
		assert_int_equal(put(f, 0, i == 0, i * 100, i), 0);
		take(f, i * MS, o);
	}
	assert_int_equal(opens(o), 4); /* 60 s: each 19 s */
	free(o);
	fragmenter_free(f);
}

static void fragmenter_cuts_before_the_byte_bound(void **state)
{
	struct fragmenter *f = make(&video, NULL, NULL, 2000);
	struct fragmenter_frame frame = { .bytes = 20000000, .held = 1 };
	struct out *o = new_out();

	(void)state;
	for (uint64_t i = 0; i < 5; i++) {
		frame.time_ns = (BASE_MS + i * 10) * MS;
		frame.key = i == 0;
		assert_int_equal(fragmenter_check(f, 0, frame.key, frame.time_ns,
						  frame.bytes), 0);
		fragmenter_put(f, &frame, 0);
		take(f, 0, o);
	}
	assert_int_equal(opens(o), 3);
	assert_int_equal(fragmenter_check(f, 0, true, frame.time_ns,
					  FRAGMENT_CUT_BYTES_MAX), -EMSGSIZE);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_cuts_by_time_without_video(void **state)
{
	struct fragmenter *f = make(&audio, &data, NULL, 2000);
	struct out *o = new_out();

	(void)state;
	for (uint64_t i = 0; i < 500; i++) {
		assert_int_equal(put(f, 0, true, i * 20, i), 0);
		assert_int_equal(put(f, 1, true, i * 20 + 3, i), 0);
		take(f, i * MS, o);
	}
	assert_int_equal(opens(o), 5);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_starts_with_any_track_without_video(void **state)
{
	struct fragmenter *f = make(&audio, &data, NULL, 2000);
	struct out *o = new_out();

	(void)state;
	/* The first one has nothing to say yet. */
	assert_int_equal(put(f, 1, true, 0, 100), 0);
	assert_int_equal(put(f, 1, true, 500, 100), 0);
	fragmenter_end(f);
	take(f, 0, o);
	assert_int_equal(o->count, 2);
	assert_int_equal(opens(o), 1);
	(void)fragmenter_free(f);
	free(o);
}

static void fragmenter_interleaves_tracks_in_time_order(void **state)
{
	struct fragmenter *f = make(&video, &audio, &data, 2000);
	struct out *o = new_out();
	uint64_t last = 0;

	(void)state;
	/* Audio comes 150 ms late, in the order of arrival. */
	for (uint64_t now = 0; now < 6000; now += 5) {
		if (now % 40 == 0)
			assert_int_equal(put(f, 0, now % 1000 == 0, now, now), 0);
		if (now % 100 == 0)
			assert_int_equal(put(f, 2, true, now, now), 0);
		if (now >= 150 && (now - 150) % 20 == 0)
			assert_int_equal(put(f, 1, true, now - 150, now), 0);
		take(f, now * MS, o);
	}
	fragmenter_end(f);
	take(f, 6000 * MS, o);
	assert_int_equal(o->count, 150 + 60 + 293);
	for (size_t i = 0; i < o->count; i++) {
		assert_false(o->blocks[i].drop);
		assert_true(o->blocks[i].time_ns >= last);
		last = o->blocks[i].time_ns;
	}
	assert_true(opens(o) == 3);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_waits_for_a_silent_track_only_so_long(void **state)
{
	struct fragmenter *f = make(&video, &audio, NULL, 2000);
	struct out *o = new_out();

	(void)state;
	assert_int_equal(put(f, 0, true, 0, 1000), 0);
	take(f, 1199 * MS, o);
	assert_int_equal(o->count, 0);
	assert_int_equal(fragmenter_deadline_ns(f), 1200 * MS);
	take(f, 1200 * MS, o);
	assert_int_equal(o->count, 1);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_holds_a_cut_for_a_slow_track(void **state)
{
	struct fragmenter *f = make(&video, &data, NULL, 1000);
	struct out *o = new_out();

	(void)state;
	/* A data frame each 3 s: fragments are then 3 s long, not 1 s. */
	for (uint64_t i = 0; i <= 300; i++) {
		assert_int_equal(put(f, 0, i % 10 == 0, i * 100, i * 100), 0);
		if (i % 30 == 2)
			assert_int_equal(put(f, 1, true, i * 100 + 1, i * 100),
					 0);
		take(f, i * 100 * MS, o);
	}
	fragmenter_end(f);
	take(f, 0, o);
	for (size_t i = 0; i < o->count; i++)
		if (o->blocks[i].opens)
			assert_int_equal(o->blocks[i].head.tracks, 3);
	assert_in_range(opens(o), 10, 11);
	free(o);
	fragmenter_free(f);
}

/* Contract 4011: what is declared must be there, so it is declared no more. */
static void fragmenter_expects_a_dead_track_no_more_and_takes_it_back(
	void **state)
{
	struct fragmenter *f = make(&video, &audio, NULL, 1000);
	struct out *o = new_out();
	uint8_t tracks[64] = { 0 };
	size_t n = 0;
	size_t dropped = 0;

	(void)state;
	for (uint64_t i = 0; i < 600; i++) { /* 60 s */
		assert_int_equal(put(f, 0, i % 10 == 0, i * 100, i * 100), 0);
		if (i < 50 || i >= 405) /* silent from 5 s to 40 s */
			assert_int_equal(put(f, 1, true, i * 100 + 50, i * 100),
					 0);
		take(f, (i * 100 + 99) * MS, o);
	}
	for (size_t i = 0; i < o->count; i++) {
		if (o->blocks[i].opens)
			tracks[n++] = o->blocks[i].head.tracks;
		dropped += o->blocks[i].drop;
	}
	assert_int_equal(tracks[0], 3);
	assert_int_equal(tracks[n / 2], 1);
	assert_int_equal(tracks[n - 1], 3);
	assert_in_range(dropped, 1, 10); /* until the next fragment */
	free(o);
	fragmenter_free(f);
}

static void fragmenter_refuses_time_that_goes_back(void **state)
{
	struct fragmenter *f = make(&video, &audio, NULL, 1000);
	struct out *o = new_out();

	(void)state;
	assert_int_equal(put(f, 0, true, 1000, 0), 0);
	assert_int_equal(put(f, 0, false, 999, 0), -ERANGE);
	assert_int_equal(put(f, 0, false, 1000, 0), 0);
	assert_int_equal(put(f, 1, true, 1001, 0), 0);
	assert_int_equal(put(f, 0, true, 2500, 0), 0);
	take(f, 1000 * MS, o);
	/* Audio from before the cut: its cluster is closed. */
	assert_int_equal(put(f, 1, true, 2400, 1000), -ERANGE);
	assert_int_equal(put(f, 1, true, 2500, 1000), 0);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_keeps_timecodes_strictly_apart(void **state)
{
	struct fragmenter *f = make(&video, NULL, NULL, 1000);
	struct fragmenter_frame frame = { .bytes = 10, .key = true };
	struct out *o = new_out();

	(void)state;
	/* Rounding puts both frames on one ms; take() checks 4004. */
	frame.time_ns = BASE_MS * MS;
	fragmenter_put(f, &frame, 0);
	take(f, 0, o);
	frame.key = false;
	frame.time_ns = (BASE_MS + 999) * MS + 900000;
	fragmenter_put(f, &frame, 0);
	take(f, 0, o);
	frame.key = true;
	frame.time_ns = (BASE_MS + 1000) * MS + 100000;
	fragmenter_put(f, &frame, 0);
	take(f, 0, o);
	assert_int_equal(opens(o), 2);
	assert_int_equal(o->blocks[2].head.timecode_ms, BASE_MS + 1001);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_survives_a_jump_forward(void **state)
{
	struct fragmenter *f = make(&video, NULL, NULL, 1000);
	struct out *o = new_out();

	(void)state;
	assert_int_equal(put(f, 0, true, 0, 0), 0);
	assert_int_equal(put(f, 0, false, 33, 0), 0);
	assert_int_equal(put(f, 0, false, 3600066, 0), 0);
	assert_int_equal(put(f, 0, false, 3600099, 0), 0);
	take(f, 0, o);
	assert_int_equal(o->count, 4);
	assert_int_equal(opens(o), 2);
	assert_true(o->blocks[2].opens);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_seals_when_no_frame_comes(void **state)
{
	struct fragmenter *f = make(&video, NULL, NULL, 1000);
	struct out *o = new_out();
	uint64_t idle_ms = FRAGMENT_IDLE_NS / MS;

	(void)state;
	assert_false(fragmenter_idle(f, 0));
	assert_int_equal(put(f, 0, true, 0, 100), 0);
	take(f, 100 * MS, o);
	assert_int_equal(fragmenter_deadline_ns(f), (100 + idle_ms) * MS);
	assert_false(fragmenter_idle(f, (99 + idle_ms) * MS));
	assert_true(fragmenter_idle(f, (100 + idle_ms) * MS));
	assert_false(fragmenter_idle(f, (101 + idle_ms) * MS));
	/* It goes on, in a fragment of its own. */
	assert_int_equal(put(f, 0, false, 6000, 6000), 0);
	take(f, 6000 * MS, o);
	assert_true(o->blocks[1].opens);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_restarts_at_a_key_frame(void **state)
{
	struct fragmenter *f = make(&video, &audio, NULL, 1000);
	struct out *o = new_out();

	(void)state;
	assert_int_equal(put(f, 0, true, 0, 0), 0);
	assert_int_equal(put(f, 1, true, 10, 0), 0);
	assert_int_equal(put(f, 0, false, 33, 0), 0);
	fragmenter_restart(f);
	take(f, 0, o);
	for (size_t i = 0; i < o->count; i++)
		assert_true(o->blocks[i].drop);
	assert_int_equal(put(f, 0, false, 66, 0), -EAGAIN);
	assert_int_equal(put(f, 1, true, 66, 0), -EAGAIN);
	assert_int_equal(put(f, 0, true, 99, 0), 0);
	fragmenter_end(f);
	o->count = 0;
	take(f, 0, o);
	assert_int_equal(o->count, 1);
	assert_true(o->blocks[0].opens);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_never_fills_its_queues(void **state)
{
	struct fragmenter *f = make(&video, &audio, NULL, 1000);
	struct out *o = new_out();

	(void)state;
	for (uint64_t i = 0; i < 3 * INTERLEAVE_FRAMES_MAX; i++) {
		assert_int_equal(put(f, 0, i == 0, i, 0), 0);
		take(f, 0, o); /* the clock stands, audio is silent */
	}
	assert_true(o->count > 2 * INTERLEAVE_FRAMES_MAX);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_changes_the_codec_private_with_a_fragment(void **state)
{
	static const uint8_t first[] = { 1, 2, 3 };
	static const uint8_t second[] = { 4, 5, 6, 7 };
	struct mkv_track track = video;
	static const bool later[] = { true };
	struct fragmenter_config config = { .tracks = &track,
					    .private_later = later,
					    .track_count = 1,
					    .fragment_ms = 2000 };
	struct fragmenter *f = NULL;
	struct out *o = new_out();
	struct buf a;
	struct buf b;

	(void)state;
	assert_int_equal(fragmenter_new(&config, &f), 0);
	assert_int_equal(put(f, 0, true, 0, 0), -EBADMSG);
	assert_int_equal(put(f, 0, false, 0, 0), -EAGAIN);
	assert_int_equal(fragmenter_private(f, 0, first, sizeof(first)), 0);
	assert_int_equal(put(f, 0, true, 0, 0), 0);
	assert_int_equal(fragmenter_private(f, 0, first, sizeof(first)), 0);
	assert_int_equal(put(f, 0, true, 100, 0), 0);
	assert_int_equal(fragmenter_private(f, 0, second, sizeof(second)), 0);
	assert_int_equal(put(f, 0, true, 200, 0), 0);
	take(f, 0, o);
	assert_int_equal(opens(o), 2);
	assert_true(o->blocks[2].opens);
	buf_init(&a, 100000);
	buf_init(&b, 100000);
	assert_int_equal(fragmenter_header(f, o->blocks[0].head.setup, 1, NULL,
					   &a), 0);
	assert_int_equal(fragmenter_header(f, o->blocks[2].head.setup, 1, NULL,
					   &b), 0);
	assert_non_null(memmem(buf_head(&a), buf_len(&a), first, sizeof(first)));
	assert_non_null(memmem(buf_head(&b), buf_len(&b), second,
			       sizeof(second)));
	for (uint8_t i = 0; i < FRAGMENT_SETUPS_MAX; i++)
		assert_int_equal(fragmenter_private(f, 0, &i, 1), 0);
	assert_int_equal(fragmenter_header(f, o->blocks[0].head.setup, 1, NULL,
					   &a), -ENOENT);
	buf_fini(&a);
	buf_fini(&b);
	free(o);
	fragmenter_free(f);
}

static void fragmenter_refuses_a_bad_config(void **state)
{
	struct mkv_track tracks[1] = { video };
	static const bool later[1];
	struct fragmenter_config good = { .tracks = tracks,
					  .private_later = later,
					  .track_count = 1,
					  .fragment_ms = 1000 };
	struct fragmenter_config c = good;
	struct fragmenter *f = NULL;

	(void)state;
	c.track_count = 0;
	assert_int_equal(fragmenter_new(&c, &f), -EINVAL);
	c.track_count = FRAGMENT_TRACKS_MAX + 1;
	assert_int_equal(fragmenter_new(&c, &f), -EINVAL);
	c = good;
	c.fragment_ms = FRAGMENT_MS_MIN - 1;
	assert_int_equal(fragmenter_new(&c, &f), -EINVAL);
	c.fragment_ms = FRAGMENT_MS_MAX + 1;
	assert_int_equal(fragmenter_new(&c, &f), -EINVAL);
	assert_null(f);
}

/* --- access units -------------------------------------------------------------- */

/* AUD, SPS and PPS of a 640x480 baseline stream, IDR slice. */
static const uint8_t unit[] = {
	0, 0, 0, 1, 0x09, 0x10,
	0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xf6, 0x80,
	0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80,
	0, 0, 1, 0x65, 0x88, 0x84, 0x12, 0x34,
};
#define PARAMETERS_BYTES 27 /* all before the slice */

static size_t flatten(const struct au *au, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < au->count; i++) {
		memcpy(out + n, au->parts[i].iov_base, au->parts[i].iov_len);
		n += au->parts[i].iov_len;
	}
	assert_int_equal(n, au->bytes);
	return n;
}

static void au_turns_start_codes_into_lengths_and_adds_the_time(void **state)
{
	static struct au au;
	static uint8_t out[1000];
	static uint8_t again[sizeof(out) + 4];
	struct frame_time t = { .aligned_ns = 1700000000123456789,
				.sigma_ns = 42, .epoch = 3, .raw_ns = 77,
				.clock = 1, .meaning = FRAME_TIME_FRAME_END };
	struct frame_time back;
	size_t n;

	(void)state;
	assert_int_equal(au_annexb(&au, NAL_H264, unit, sizeof(unit), &t), 0);
	assert_true(au.key);
	n = flatten(&au, out);
	assert_int_equal(frame_time_find(NAL_H264, out, n, 4, &back), 0);
	assert_int_equal(back.aligned_ns, t.aligned_ns);
	assert_int_equal(back.epoch, 3);
	assert_int_equal(back.raw_ns, 77);
	/* The slice is last, whole; parameter sets have moved away. */
	assert_int_equal(load_be32(out + n - 9), 5);
	assert_memory_equal(out + n - 5, "\x65\x88\x84\x12\x34", 5);
	assert_null(memmem(out, n, "\x68\xce\x3c\x80", 4));

	/* A unit that has our record keeps it and gets no second one. */
	memcpy(again, "\0\0\0\1", 4);
	memcpy(again + 4, out + 4, n - 13);
	memcpy(again + n - 9, "\0\0\0\1\x65\x88\x84\x12\x34", 9);
	t.aligned_ns = 5;
	assert_int_equal(au_annexb(&au, NAL_H264, again, n, &t), 0);
	assert_int_equal(flatten(&au, out), n);
	assert_int_equal(frame_time_find(NAL_H264, out, n, 4, &back), 0);
	assert_int_equal(back.aligned_ns, 1700000000123456789);
}

static void au_finds_the_codec_private(void **state)
{
	struct h264_avcc avcc;
	struct buf b;

	(void)state;
	buf_init(&b, 1000);
	assert_int_equal(au_codec_private(NAL_H264, unit, sizeof(unit), &b), 0);
	assert_int_equal(h264_parse_avcc(buf_head(&b), buf_len(&b), &avcc), 0);
	assert_int_equal(avcc.length_bytes, 4);
	assert_int_equal(au_codec_private(NAL_H264, unit + sizeof(unit) - 8, 8,
					  &b), -ENOENT);
	buf_fini(&b);
}

static void au_refuses_what_is_no_access_unit(void **state)
{
	static struct au au;
	struct frame_time t = { 0 };

	(void)state;
	assert_int_equal(au_annexb(&au, NAL_H264, (const uint8_t *)"abcdefgh", 8,
				   &t), -EBADMSG);
	/* Parameter sets alone are no frame. */
	assert_int_equal(au_annexb(&au, NAL_H264, unit, PARAMETERS_BYTES, &t),
			 -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fragmenter_keeps_the_order_of_b_frames),
		cmocka_unit_test(fragmenter_starts_with_a_key_frame),
		cmocka_unit_test(fragmenter_cuts_at_key_frames_once_old_enough),
		cmocka_unit_test(fragmenter_takes_a_key_frame_that_jitters_early),
		cmocka_unit_test(
			fragmenter_cuts_without_a_key_frame_before_the_bound),
		cmocka_unit_test(fragmenter_cuts_before_the_byte_bound),
		cmocka_unit_test(fragmenter_cuts_by_time_without_video),
		cmocka_unit_test(fragmenter_starts_with_any_track_without_video),
		cmocka_unit_test(fragmenter_interleaves_tracks_in_time_order),
		cmocka_unit_test(
			fragmenter_waits_for_a_silent_track_only_so_long),
		cmocka_unit_test(fragmenter_holds_a_cut_for_a_slow_track),
		cmocka_unit_test(
			fragmenter_expects_a_dead_track_no_more_and_takes_it_back),
		cmocka_unit_test(fragmenter_refuses_time_that_goes_back),
		cmocka_unit_test(fragmenter_keeps_timecodes_strictly_apart),
		cmocka_unit_test(fragmenter_survives_a_jump_forward),
		cmocka_unit_test(fragmenter_seals_when_no_frame_comes),
		cmocka_unit_test(fragmenter_restarts_at_a_key_frame),
		cmocka_unit_test(fragmenter_never_fills_its_queues),
		cmocka_unit_test(
			fragmenter_changes_the_codec_private_with_a_fragment),
		cmocka_unit_test(fragmenter_refuses_a_bad_config),
		cmocka_unit_test(
			au_turns_start_codes_into_lengths_and_adds_the_time),
		cmocka_unit_test(au_finds_the_codec_private),
		cmocka_unit_test(au_refuses_what_is_no_access_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
