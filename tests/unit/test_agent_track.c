/* SPDX-License-Identifier: Apache-2.0 */
/* Each codec goes out under Matroska's own name for it, where there is one. */
#include "agent/track.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <capture/api.h>

static const struct agent_source camera = {
	.kind = AGENT_CAMERA,
	.name = "gate",
};

static struct track track;

static void describe(uint32_t codec, const char *encoder)
{
	static struct output_info info;

	info = (struct output_info){
		.format = {
			.media = CAPTURE_MEDIA_PICTURE,
			.width = 640,
			.height = 360,
		},
		.codec = codec,
		.encoder = encoder,
	};
	track_describe(&camera, false, &info, &track);
}

/* RFC 9559 and its codec registry (draft-ietf-cellar-codec). */
static void video_has_its_codec_id(void **state)
{
	static const struct {
		uint32_t codec;
		const char *encoder;
		const char *id;
		size_t private_bytes;
	} cases[] = {
		{CAPTURE_FORMAT_H264, "m2m", "V_MPEG4/ISO/AVC", 0},
		{CAPTURE_FORMAT_HEVC, "m2m", "V_MPEGH/ISO/HEVC", 0},
		{CAPTURE_FORMAT_VP8, "m2m", "V_VP8", 0},
		{CAPTURE_FORMAT_JPEG, "turbojpeg", "V_MJPEG", 0},
		{CAPTURE_FORMAT_MJPG, "none", "V_MJPEG", 0},
		{CAPTURE_FORMAT_YUYV, "none", "V_UNCOMPRESSED", 0},
		/* BITMAPINFOHEADER: a codec that Matroska does not know */
		{CAPTURE_FORMAT_FWHT, "m2m", "V_MS/VFW/FOURCC", 40},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		describe(cases[i].codec, cases[i].encoder);
		assert_string_equal(track.kvs.codec_id, cases[i].id);
		assert_int_equal(track.kvs.codec_private_bytes,
				 cases[i].private_bytes);
		assert_int_equal(track.kvs.kind, KVS_TRACK_VIDEO);
		assert_int_equal(track.kvs.width, 640);
		assert_string_equal(track.kvs.name, "gate");
	}
}

/* The track that fragments are cut at comes first. */
static void pictures_that_build_on_others_lead(void **state)
{
	struct output_info info = {
		.format = {.media = CAPTURE_MEDIA_PICTURE},
		.codec = CAPTURE_FORMAT_VP8,
	};

	(void)state;
	assert_int_equal(track_rank(&camera, &info), 0);
	info.codec = CAPTURE_FORMAT_JPEG;
	assert_int_equal(track_rank(&camera, &info), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(video_has_its_codec_id),
		cmocka_unit_test(pictures_that_build_on_others_lead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
