/* SPDX-License-Identifier: Apache-2.0 */
/* A core's own counter in its telemetry rows, and frames that are aligned by it. */
#include <errno.h>
#include <string.h>

#include <capture/align.h>

#include "base/bytes.h"
#include "src/frame_count.h"
#include "support/source_rig.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

/* As FLIR's cores: milliseconds, the lower or the upper word first. */
static const struct capture_counter_setting milliseconds = {
	.bits = 32, .row = -2, .word = 1, .low_first = true, .hz = 1000};

/* --- where it stands ------------------------------------------------------ */

static void counter_must_be_one(void **state)
{
	static const struct {
		struct capture_counter_setting setting;
		int error;
	} cases[] = {
		{{.bits = 0}, 0},
		{{.bits = 32, .hz = 1000}, 0},
		{{.bits = 64, .hz = 1000000000}, 0},
		{{.bits = 16, .hz = 16383}, 0},
		{{.bits = 16, .hz = 16384}, -EINVAL}, /* a lap in 4 s */
		{{.bits = 32}, -EINVAL},
		{{.bits = 8, .hz = 1}, -EINVAL},
		{{.bits = 33, .hz = 1}, -EINVAL},
		{{.bits = 80, .hz = 1}, -EINVAL},
		{{.bits = UINT32_MAX, .hz = 1}, -EINVAL},
		{{.bits = 64, .hz = 1000000001}, -EINVAL},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(frame_count_check(&cases[i].setting),
				 cases[i].error);
}

static void counter_must_lie_in_the_frame(void **state)
{
	struct capture_format f = {.fourcc = CAPTURE_FORMAT_Y16,
				   .width = 80,
				   .height = 63,
				   .stride = {192}};
	static const struct {
		int32_t row;
		uint32_t word;
		int error;
	} cases[] = {
		{0, 0, 0},	   {62, 78, 0},		 {-1, 0, 0},
		{-63, 78, 0},	   {63, 0, -ERANGE},	 {-64, 0, -ERANGE},
		{0, 79, -ERANGE},  {INT32_MAX, 0, -ERANGE},
		{INT32_MIN, 0, -ERANGE}, {0, UINT32_MAX, -ERANGE},
	};
	struct capture_counter_setting c = milliseconds;
	uint32_t bytes;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		c.row = cases[i].row;
		c.word = cases[i].word;
		assert_int_equal(frame_count_fits(&c, &f), cases[i].error);
	}
	assert_int_equal(frame_count_at(&milliseconds, &f, &bytes),
			 61 * 192 + 2);
	assert_int_equal(bytes, 4);
	f.fourcc = CAPTURE_FORMAT_GREY;
	assert_int_equal(frame_count_fits(&milliseconds, &f),
			 -EPROTONOSUPPORT);
	f.fourcc = CAPTURE_FORMAT_YU12;
	assert_int_equal(frame_count_fits(&milliseconds, &f),
			 -EPROTONOSUPPORT);
}

static void counter_words_and_bytes_have_an_order(void **state)
{
	static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8};
	struct capture_counter_setting c = {.bits = 64, .hz = 1};

	(void)state;
	assert_int_equal(frame_count_read(&c, CAPTURE_FORMAT_Y16_BE, bytes),
			 0x0102030405060708);
	assert_int_equal(frame_count_read(&c, CAPTURE_FORMAT_Y16, bytes),
			 0x0201040306050807);
	c.low_first = true;
	assert_int_equal(frame_count_read(&c, CAPTURE_FORMAT_Y16_BE, bytes),
			 0x0708050603040102);
	assert_int_equal(frame_count_read(&c, CAPTURE_FORMAT_Y16, bytes),
			 0x0807060504030201);
	c.bits = 16;
	assert_int_equal(frame_count_read(&c, CAPTURE_FORMAT_Y16, bytes),
			 0x0201);
}

/* --- what is believed ----------------------------------------------------- */

struct line {
	struct frame_count count;
	struct capture_counter_setting setting;
	uint64_t ticks; /* of the last frame */
};

static enum frame_count_is take(struct line *l, uint64_t raw, uint64_t ms)
{
	return frame_count_follow(&l->count, &l->setting, raw, ms * MS,
				  &l->ticks);
}

static void counter_goes_on_through_its_wraps(void **state)
{
	struct line l = {.setting = milliseconds};
	uint64_t ms;

	(void)state;
	l.setting.bits = 16;
	/* Three laps of 65.5 s, then a gap of two more. */
	for (ms = 1000; ms < 200000; ms += 111) {
		assert_int_equal(take(&l, (ms + 5) & 0xffff, ms),
				 FRAME_COUNT_GOOD);
		assert_int_equal(l.ticks, ms + 5);
	}
	ms += 150000;
	assert_int_equal(take(&l, (ms + 5) & 0xffff, ms), FRAME_COUNT_GOOD);
	assert_int_equal(l.ticks, ms + 5);
	/* So long that nobody knows how many: no sample but the next one. */
	ms += 70 * 65536 + 777;
	assert_int_equal(take(&l, (ms + 5) & 0xffff, ms), FRAME_COUNT_GUESSED);
	ms += 111;
	assert_int_equal(take(&l, (ms + 5) & 0xffff, ms), FRAME_COUNT_ANEW);
	assert_int_equal(l.ticks, (ms + 5) & 0xffff);
}

static void counter_may_drift_and_frames_be_late(void **state)
{
	struct line l = {.setting = milliseconds};
	uint64_t ms;
	uint64_t raw = 0;

	(void)state;
	/* 1 % fast, and each seventh frame comes 300 ms late. */
	for (ms = 1000; ms < 100000; ms += 111) {
		raw = ms + ms / 100;
		assert_int_equal(
			take(&l, raw, ms + (ms / 111 % 7 ? 0 : 300)),
			FRAME_COUNT_GOOD);
		assert_int_equal(l.ticks, raw);
		if (ms / 111 % 7 == 0)
			ms += 222; /* so that stamps rise */
	}
}

static void counter_that_begins_anew_is_believed_with_its_second_frame(
	void **state)
{
	/* Later, as no lap would be, or near the end of a lap. */
	static const uint64_t before[] = {3600000, 0xfffffff0, 700};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(before); i++) {
		struct line l = {.setting = milliseconds};

		assert_int_equal(take(&l, before[i], 10000), FRAME_COUNT_GOOD);
		/* Off for 3 s, then 50 ms old. */
		assert_int_equal(take(&l, 50, 13000), FRAME_COUNT_GUESSED);
		assert_int_equal(l.ticks, before[i] + 3000);
		assert_int_equal(take(&l, 161, 13111), FRAME_COUNT_ANEW);
		assert_int_equal(l.ticks, 161);
		assert_int_equal(take(&l, 272, 13222), FRAME_COUNT_GOOD);
		assert_int_equal(l.ticks, 272);
	}
}

static void counter_of_a_torn_row_is_no_sample_and_no_step(void **state)
{
	struct line l = {.setting = milliseconds};
	uint64_t ms;

	(void)state;
	for (ms = 0; ms < 20000; ms += 111) {
		bool torn = ms / 111 % 5 == 3;

		assert_int_equal(take(&l, torn ? ms * 7919 + 90000 : ms, ms),
				 torn ? FRAME_COUNT_GUESSED : FRAME_COUNT_GOOD);
		assert_int_equal(l.ticks, ms);
	}
}

static void counter_that_stands_still_says_nothing(void **state)
{
	struct line l = {.setting = milliseconds};
	uint64_t ms;

	(void)state;
	assert_int_equal(take(&l, 1000, 1000), FRAME_COUNT_GOOD);
	for (ms = 1111; ms < 10000; ms += 111) {
		assert_int_equal(take(&l, 1000, ms), FRAME_COUNT_GUESSED);
		assert_int_equal(l.ticks, ms);
	}
	/* It had only not been shown. */
	assert_int_equal(take(&l, 10000, 10000), FRAME_COUNT_GOOD);
	assert_int_equal(l.ticks, 10000);
}

/* --- frames of a camera ---------------------------------------------------- */

static void show(uint32_t ms)
{
	uint8_t *to = source_rig_camera->telemetry;

	to[0] = (uint8_t)ms;
	to[1] = (uint8_t)(ms >> 8);
	to[2] = (uint8_t)(ms >> 16);
	to[3] = (uint8_t)(ms >> 24);
}

static struct capture_settings counted(void)
{
	struct capture_settings settings = {.counter = milliseconds};

	source_rig_camera->counts = true;
	source_rig_camera->telemetry_at = 46 * 128 + 2;
	source_rig_camera->telemetry_bytes = 4;
	return settings;
}

static struct capture_source *open_counted(struct capture_settings *settings,
					   uint32_t borrow_max)
{
	static const uint32_t y16[] = {CAPTURE_FORMAT_Y16};
	struct capture_source_config config = source_rig_config();

	config.fourccs = y16;
	config.borrow_max = borrow_max;
	config.settings = settings;
	return source_rig_open_on(&config);
}

static void frames_of_a_core_have_its_count(void **state)
{
	struct capture_settings settings = counted();
	struct capture_source *s = open_counted(&settings, 1);
	struct capture_frame *f[3];
	uint32_t i;

	(void)state;
	/* One as it lies and two that are copied. */
	for (i = 0; i < 3; i++) {
		show(UINT32_MAX - 33 + 33 * i);
		f[i] = source_rig_next(s);
		assert_int_equal(f[i]->device_hz, 1000);
		assert_int_equal(f[i]->device_ticks,
				 (uint64_t)UINT32_MAX - 33 + 33 * i);
		assert_int_equal(f[i]->epoch, 0);
		assert_int_equal(!(f[i]->flags & CAPTURE_FRAME_COPY), i == 0);
	}
	for (i = 0; i < 3; i++)
		(void)capture_frame_unref(f[i]);
	assert_int_equal(source_rig_stats(s).counts_guessed, 0);
	(void)capture_source_close(s);
}

static void frames_of_a_core_that_was_reset_are_of_another_epoch(void **state)
{
	struct capture_settings settings = counted();
	struct capture_source *s = open_counted(&settings, 0);
	uint32_t aligned_epoch = 0;
	uint32_t i;

	(void)state;
	for (i = 0; i < 60; i++) {
		struct capture_frame *f;

		show(i < 30 ? 500000 + 33 * i : 33 * (i - 30));
		f = source_rig_next(s);
		assert_int_equal(f->epoch, i > 30);
		if (i == 29)
			aligned_epoch = f->aligned.epoch;
		/* The first one after it is not yet believed. */
		if (i == 30)
			assert_int_equal(f->aligned.epoch, aligned_epoch);
		if (i == 30)
			assert_true(f->aligned.sigma_ns == UINT64_MAX);
		if (i == 31)
			assert_true(f->aligned.epoch == aligned_epoch + 1);
		/* And then by the line of the core's own clock. */
		if (i == 29 || i == 59) {
			assert_int_equal(f->aligned.by,
					 CAPTURE_ALIGNED_ESTIMATE);
			assert_true(f->aligned.sigma_ns >= MS);
			assert_true(f->aligned.sigma_ns < 100 * MS);
		}
		(void)capture_frame_unref(f);
	}
	assert_int_equal(source_rig_stats(s).counts_guessed, 1);
	assert_int_equal(source_rig_stats(s).counts_anew, 1);
	(void)capture_source_close(s);
}

static void counter_that_cannot_be_refuses_the_source(void **state)
{
	static const uint32_t formats[] = {CAPTURE_FORMAT_Y16,
					   CAPTURE_FORMAT_YU12};
	struct capture_settings_error why;
	struct capture_settings settings = counted();
	struct capture_source_config config = source_rig_config();

	(void)state;
	settings.error = &why;
	config.settings = &settings;
	config.fourccs = formats;
	settings.counter.word = 63;
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	assert_string_equal(why.name, "counter");
	settings.counter = milliseconds;
	settings.counter.bits = 12;
	assert_int_equal(source_rig_refused(&config), -EINVAL);
	assert_string_equal(why.name, "counter");
	settings.counter = milliseconds;
	source_rig_camera->counts = false;
	config.fourccs = formats + 1;
	assert_int_equal(source_rig_refused(&config), -EPROTONOSUPPORT);
	assert_string_equal(why.name, "counter");
	config.kind = CAPTURE_SOURCE_SYNTHETIC;
	config.path = "thermal";
	config.fourccs = formats;
	config.fourcc_count = 1;
	assert_int_equal(source_rig_refused(&config), -EOPNOTSUPP);
	assert_string_equal(why.name, "counter");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counter_must_be_one),
		cmocka_unit_test(counter_must_lie_in_the_frame),
		cmocka_unit_test(counter_words_and_bytes_have_an_order),
		cmocka_unit_test(counter_goes_on_through_its_wraps),
		cmocka_unit_test(counter_may_drift_and_frames_be_late),
		cmocka_unit_test(
			counter_that_begins_anew_is_believed_with_its_second_frame),
		cmocka_unit_test(
			counter_of_a_torn_row_is_no_sample_and_no_step),
		cmocka_unit_test(counter_that_stands_still_says_nothing),
		SOURCE_RIG_CASE(frames_of_a_core_have_its_count),
		SOURCE_RIG_CASE(
			frames_of_a_core_that_was_reset_are_of_another_epoch),
		SOURCE_RIG_CASE(counter_that_cannot_be_refuses_the_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
