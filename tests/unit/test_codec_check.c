/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "proto/codec_check.h"

static const uint8_t avcc[] = {
	0x01, 0x42, 0xc0, 0x0d, 0xff, 0xe1, 0x00, 0x18, 0x67, 0x42,
	0xc0, 0x0d, 0xd9, 0x01, 0x41, 0xfb, 0x01, 0x10, 0x00, 0x00,
	0x03, 0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0x20, 0xf1, 0x42,
	0xa4, 0x80, 0x01, 0x00, 0x05, 0x68, 0xcb, 0x83, 0xcb, 0x20,
};
static const uint8_t annexb4[] = {0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x0d};
static const uint8_t annexb3[] = {0, 0, 1, 0x67, 0x42, 0xc0, 0x0d};
static const uint8_t lc_48k_mono[] = {0x11, 0x88};

static struct mkv_track track(const char *codec, const void *private,
			      size_t len)
{
	struct mkv_track t = {
		.number = 1,
		.type = codec[0] == 'A' ? MKV_TRACK_AUDIO : MKV_TRACK_VIDEO,
		.codec_private = private,
		.codec_private_bytes = len,
	};

	memcpy(t.codec_id, codec, strlen(codec) + 1);
	return t;
}

static enum codec_verdict check(const char *codec, const void *private,
				size_t len)
{
	struct mkv_track t = track(codec, private, len);

	return codec_check(&t);
}

static void video_wants_its_configuration_record(void **state)
{
	size_t n;

	(void)state;
	assert_int_equal(check("V_MPEG4/ISO/AVC", avcc, sizeof(avcc)),
			 CODEC_PLAYABLE);
	assert_int_equal(check("V_MPEG/ISO/AVC", avcc, sizeof(avcc)),
			 CODEC_PLAYABLE);
	assert_int_equal(check("V_MPEG4/ISO/AVC", NULL, 0),
			 CODEC_PRIVATE_MISSING);
	assert_int_equal(check("V_MPEGH/ISO/HEVC", NULL, 0),
			 CODEC_PRIVATE_MISSING);
	assert_int_equal(check("V_MPEG4/ISO/AVC", annexb4, sizeof(annexb4)),
			 CODEC_PRIVATE_ANNEXB);
	assert_int_equal(check("V_MPEGH/ISO/HEVC", annexb3, sizeof(annexb3)),
			 CODEC_PRIVATE_ANNEXB);
	assert_int_equal(check("V_MPEGH/ISO/HEVC", avcc, sizeof(avcc)),
			 CODEC_PRIVATE_INVALID);
	for (n = 1; n < sizeof(avcc); n++)
		assert_int_equal(check("V_MPEG4/ISO/AVC", avcc, n),
				 CODEC_PRIVATE_INVALID);
}

static void codecs_without_a_container_are_said_so(void **state)
{
	struct mkv_track t = track("V_MPEG4/ISO/AVC", avcc, sizeof(avcc));

	(void)state;
	assert_int_equal(check("V_VP9", NULL, 0), CODEC_UNSUPPORTED);
	assert_int_equal(check("V_MJPEG", NULL, 0), CODEC_UNSUPPORTED);
	assert_int_equal(check("A_OPUS", "x", 1), CODEC_UNSUPPORTED);
	t.encoded = true;
	assert_int_equal(codec_check(&t), CODEC_ENCODED);
}

static void aac_wants_a_config_that_decodes(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum codec_verdict verdict;
	} cases[] = {
		{"\x11\x88", 2, CODEC_PLAYABLE},
		{"\x12\x10\x56\xe5\x00", 5, CODEC_PLAYABLE}, /* with SBR */
		{"\x11\x80", 2, CODEC_PLAYABLE},	     /* PCE */
		{"", 0, CODEC_PRIVATE_MISSING},
		{"\x11", 1, CODEC_PRIVATE_INVALID},
		{"\x01\x88", 2, CODEC_PRIVATE_INVALID}, /* object type 0 */
		{"\x16\x88", 2, CODEC_PRIVATE_INVALID}, /* rate 13 */
		{"\x11\xc0", 2, CODEC_PRIVATE_INVALID}, /* channels 8 */
		/* A rate of its own takes three bytes more. */
		{"\x17\x80\x5d\xc0\x08", 5, CODEC_PLAYABLE},
		{"\x17\x80\x5d\xc0", 4, CODEC_PRIVATE_INVALID},
		{"\x17\x80\x00\x00\x08", 5, CODEC_PRIVATE_INVALID}, /* 0 Hz */
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (check("A_AAC", cases[i].bytes, cases[i].len) !=
		    cases[i].verdict)
			fail_msg("case %zu: %d", i,
				 check("A_AAC", cases[i].bytes, cases[i].len));
	}
}

static void aac_config_is_read_in_full(void **state)
{
	struct aac_config c;

	(void)state;
	assert_int_equal(aac_parse_config(lc_48k_mono, 2, &c), 0);
	assert_int_equal(c.object_type, 2);
	assert_int_equal(c.rate_hz, 48000);
	assert_int_equal(c.channel_config, 1);
	/* Escapes: type 32 + 10 = 42 (xHE-AAC), 44100 Hz, stereo. */
	assert_int_equal(
		aac_parse_config((const uint8_t *)"\xf9\x48\x40", 3, &c), 0);
	assert_int_equal(c.object_type, 42);
	assert_int_equal(c.rate_hz, 44100);
	assert_int_equal(c.channel_config, 2);
	assert_int_equal(
		aac_parse_config((const uint8_t *)"\x17\x80\x5d\xc0\x08", 5,
				 &c),
		0);
	assert_int_equal(c.rate_hz, 48000);
	assert_int_equal(aac_parse_config(lc_48k_mono, 1, &c), -EBADMSG);
}

static void clips_take_some_combinations_only(void **state)
{
	const struct mkv_track h264 = track("V_MPEG4/ISO/AVC", NULL, 0);
	const struct mkv_track h265 = track("V_MPEGH/ISO/HEVC", NULL, 0);
	const struct mkv_track aac = track("A_AAC", NULL, 0);
	const struct mkv_track opus = track("A_OPUS", NULL, 0);

	(void)state;
	assert_true(codec_clip_tracks(&h264, 1));
	assert_true(codec_clip_tracks((struct mkv_track[]){h264, aac}, 2));
	assert_true(codec_clip_tracks((struct mkv_track[]){h265, aac}, 2));
	assert_false(codec_clip_tracks((struct mkv_track[]){h264, opus}, 2));
	assert_false(codec_clip_tracks((struct mkv_track[]){aac, h264}, 2));
	assert_false(codec_clip_tracks(&aac, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(video_wants_its_configuration_record),
		cmocka_unit_test(codecs_without_a_container_are_said_so),
		cmocka_unit_test(aac_wants_a_config_that_decodes),
		cmocka_unit_test(aac_config_is_read_in_full),
		cmocka_unit_test(clips_take_some_combinations_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
