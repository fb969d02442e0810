/* SPDX-License-Identifier: Apache-2.0 */
#include "src/g711.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capture/encoder.h>
#include <capture/source.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/macros.h"
#include "src/pattern.h"
#include "support/sys_fault.h"

/* --- the law ------------------------------------------------------------ */

/* G.711 tables 1a and 1b, columns 7 and 8, scaled to 16 bits. */
static int alaw_decode(uint8_t code)
{
	int v;
	int segment;

	code ^= 0x55;
	segment = code >> 4 & 7;
	v = (code & 15) * 2 + 1;
	if (segment)
		v = (v + 32) << (segment - 1);
	v *= 8;
	return code & 0x80 ? v : -v;
}

static int ulaw_decode(uint8_t code)
{
	int segment;
	int v;

	code = (uint8_t)~code;
	segment = code >> 4 & 7;
	v = (((code & 15) * 2 + 33) << segment) - 33;
	v *= 4;
	return code & 0x80 ? -v : v;
}

/* Half of the step that @code stands for. */
static int half_step(uint8_t code, uint8_t toggle, bool alaw)
{
	int segment = (code ^ toggle) >> 4 & 7;

	if (alaw)
		return 8 << (segment ? segment - 1 : 0);
	return 4 << segment;
}

static void alaw_is_the_nearest_value(void **state)
{
	int x;

	(void)state;
	for (x = INT16_MIN; x <= INT16_MAX; x++) {
		uint8_t code = g711_alaw((int16_t)x);
		int error = abs(alaw_decode(code) - x);

		assert_true(error <= half_step(code, 0x55, true));
		if (x > INT16_MIN)
			assert_true(alaw_decode(code) >=
				    alaw_decode(g711_alaw((int16_t)(x - 1))));
	}
}

static void ulaw_is_the_nearest_value(void **state)
{
	int x;

	(void)state;
	for (x = INT16_MIN; x <= INT16_MAX; x++) {
		uint8_t code = g711_ulaw((int16_t)x);
		int error = abs(ulaw_decode(code) - x);

		/* Beyond the last decision value all is the last code. */
		if (abs(x) < 32636)
			assert_true(error <= half_step(code, 0xff, false));
		if (x > INT16_MIN)
			assert_true(ulaw_decode(code) >=
				    ulaw_decode(g711_ulaw((int16_t)(x - 1))));
	}
}

static void codes_survive_decoding(void **state)
{
	int code;

	(void)state;
	for (code = 0; code < 256; code++) {
		int a = alaw_decode((uint8_t)code);
		int u = ulaw_decode((uint8_t)code);

		assert_int_equal(g711_alaw((int16_t)a), code);
		/* Two codes of mu-law mean 0; -0 is never made. */
		assert_int_equal(g711_ulaw((int16_t)u),
				 code == 0x7f ? 0xff : code);
	}
	/* ITU-T G.711: idle, and the ends of the range. */
	assert_int_equal(g711_alaw(0), 0xd5);
	assert_int_equal(g711_alaw(-1), 0x55);
	assert_int_equal(g711_alaw(INT16_MAX), 0xaa);
	assert_int_equal(g711_alaw(INT16_MIN), 0x2a);
	assert_int_equal(g711_ulaw(0), 0xff);
	assert_int_equal(g711_ulaw(INT16_MAX), 0x80);
	assert_int_equal(g711_ulaw(INT16_MIN), 0x00);
}

/* --- the encoder -------------------------------------------------------- */

static struct capture_source *source;
static struct capture_encoder *encoder;

static int setup(void **state)
{
	(void)state;
	sys_fault_reset();
	source = NULL;
	encoder = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	encoder = capture_encoder_close(encoder);
	source = capture_source_close(source);
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static int open_both(uint32_t codec, uint32_t channels)
{
	struct capture_source_config tone = {
		.kind = CAPTURE_SOURCE_SYNTHETIC,
		.path = "tone",
		.sample_rate = 16000,
		.channels = channels,
		.frame_samples = 160,
		.track_id = 2,
	};
	struct capture_encoder_config config;

	assert_int_equal(capture_source_open(sys_fault(), &tone, &source), 0);
	capture_encoder_config_init(&config);
	config.codec = codec;
	config.source = capture_source_format(source);
	return capture_encoder_open(sys_fault(), &config, &encoder);
}

static uint64_t soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + UINT64_C(5000000000);
}

static void packet_is_the_frame_by_the_law(void **state)
{
	const uint8_t *data;
	struct capture_packet *p;
	struct capture_frame *f;
	size_t bytes;
	int i;
	size_t n;

	(void)state;
	assert_int_equal(open_both(CAPTURE_FORMAT_ALAW, 2), 0);
	assert_int_equal(capture_encoder_codec_private(encoder, &data, &bytes),
			 0);
	assert_int_equal(bytes, 18);
	assert_memory_equal(
		data, "\x06\0\x02\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x08\0\0\0", 18);
	assert_int_equal(capture_source_start(source), 0);
	for (i = 0; i < 10; i++) {
		assert_int_equal(capture_source_dequeue(source, soon(), &f), 0);
		assert_int_equal(capture_encoder_submit(encoder, f), 0);
		assert_int_equal(capture_encoder_receive(encoder, 0, &p), 0);
		assert_int_equal(p->bytes, 320);
		assert_int_equal(p->stamp_ns, f->stamp_ns);
		assert_int_equal(p->device_ticks, f->device_ticks);
		assert_int_equal(p->point, CAPTURE_POINT_FIRST_SAMPLE);
		assert_int_equal(p->track_id, 2);
		assert_true(p->flags & CAPTURE_PACKET_KEY);
		for (n = 0; n < 320; n++) {
			int16_t v =
				(int16_t)load_le16(f->planes[0].map + 2 * n);

			assert_int_equal(p->data[n], g711_alaw(v));
		}
		(void)capture_packet_unref(p);
		(void)capture_frame_unref(f);
	}
	assert_int_equal(capture_encoder_drain(encoder), 0);
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EPIPE);
}

static void ulaw_has_its_own_format_tag(void **state)
{
	const uint8_t *data;
	size_t bytes;

	(void)state;
	assert_int_equal(open_both(CAPTURE_FORMAT_ULAW, 1), 0);
	assert_int_equal(capture_encoder_codec_private(encoder, &data, &bytes),
			 0);
	assert_memory_equal(
		data, "\x07\0\x01\0\x80\x3e\0\0\x80\x3e\0\0\x01\0\x08\0\0\0",
		18);
}

static void more_than_stereo_is_refused(void **state)
{
	(void)state;
	assert_int_equal(open_both(CAPTURE_FORMAT_ALAW, 3), -ERANGE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(alaw_is_the_nearest_value),
		cmocka_unit_test(ulaw_is_the_nearest_value),
		cmocka_unit_test(codes_survive_decoding),
		TEST(packet_is_the_frame_by_the_law),
		TEST(ulaw_has_its_own_format_tag),
		TEST(more_than_stereo_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
