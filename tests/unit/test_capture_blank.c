/* SPDX-License-Identifier: Apache-2.0 */
#include "src/blank.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/macros.h"

static void blank_draws_every_format(void **state)
{
	static const struct {
		uint32_t fourcc;
		uint32_t stride;
		uint32_t size;
	} formats[] = {
		{CAPTURE_FORMAT_YU12, 80, 80 * 48 * 3 / 2},
		{CAPTURE_FORMAT_NV12, 80, 80 * 48 * 3 / 2},
		{CAPTURE_FORMAT_YUYV, 160, 160 * 48},
		{CAPTURE_FORMAT_UYVY, 160, 160 * 48},
		{CAPTURE_FORMAT_GREY, 80, 80 * 48},
		{CAPTURE_FORMAT_Y16, 160, 160 * 48},
		{CAPTURE_FORMAT_Y16_BE, 160, 160 * 48},
		{CAPTURE_FORMAT_Y14, 160, 160 * 48},
	};
	static const char *const lines[BLANK_LINES_MAX] = {"no lock", "7"};
	uint8_t memory[160 * 48 + 1];
	uint8_t *planes[CAPTURE_PLANES_MAX] = {memory};
	struct capture_format f = {.width = 72, .height = 48};
	size_t i;
	size_t k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		size_t light = 0;

		f.fourcc = formats[i].fourcc;
		f.plane_count = 1;
		f.stride[0] = formats[i].stride;
		f.size[0] = formats[i].size;
		memory[f.size[0]] = 0x5a;
		if (!blank_supports(&f))
			fail_msg("format %zu", i);
		blank_draw(&f, planes, lines);
		assert_int_equal(memory[f.size[0]], 0x5a);
		for (k = 0; k < f.size[0]; k++)
			light += memory[k] == 235 || memory[k] == 0xff;
		assert_true(light > 60);
		if (f.fourcc == CAPTURE_FORMAT_Y14)
			assert_int_equal(memory[1] & 0xc0, 0);
		f.size[0] /= 2;
		assert_false(blank_supports(&f));
	}
	f.fourcc = CAPTURE_FORMAT_MJPG;
	assert_false(blank_supports(&f));
}

static void blank_cuts_what_does_not_fit(void **state)
{
	static const char *const lines[BLANK_LINES_MAX] = {
		"far more words than sixteen pixels", "and one more line"};
	uint8_t memory[40 * 4 + 1];
	uint8_t *planes[CAPTURE_PLANES_MAX] = {memory};
	struct capture_format f = {.fourcc = CAPTURE_FORMAT_GREY,
				   .width = 40,
				   .height = 4,
				   .plane_count = 1,
				   .stride = {40},
				   .size = {40 * 4}};

	(void)state;
	memory[40 * 4] = 0x5a;
	blank_draw(&f, planes, lines);
	assert_int_equal(memory[40 * 4], 0x5a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blank_draws_every_format),
		cmocka_unit_test(blank_cuts_what_does_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
