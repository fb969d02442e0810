/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of `kvsctl sync`: the row of points, the picture. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "kvsctl/sync.h"
#include "kvsctl/sync_plot.h"
#include "kvsctl/sync_series.h"

#define MS UINT64_C(1000000)

static struct sync_series series;

static void add(uint64_t at_ns, int64_t offset_ns, uint64_t epoch)
{
	const struct sync_sample sample = {
		.at_ns = at_ns,
		.offset_ns = offset_ns,
		.jitter_ns = 2000,
		.drift_ppb = -1500,
		.epoch = epoch,
	};

	sync_series_add(&series, &sample);
}

static void series_is_bounded_and_loses_no_sample(void **state)
{
	uint64_t count = 0;
	int64_t low = INT64_MAX;
	uint64_t i;

	(void)state;
	sync_series_init(&series);
	for (i = 0; i < 200000; i++)
		add(i * 20 * MS, i == 777 ? -5000 : (int64_t)(i % 100), 1);
	assert_true(series.count <= CTL_SYNC_POINTS);
	assert_true(series.count > CTL_SYNC_POINTS / 4);
	for (i = 0; i < series.count; i++) {
		count += series.points[i].count;
		low = MIN(low, series.points[i].offset_min_ns);
		assert_true(!i || series.points[i].begin_ns >
					  series.points[i - 1].begin_ns);
	}
	assert_int_equal(count, 200000);
	assert_int_equal(series.samples, 200000);
	assert_int_equal(low, -5000);
	assert_int_equal(series.offset_min_ns, -5000);
	assert_int_equal(series.offset_max_ns, 99);
	assert_int_equal(sync_series_mean_ns(&series), 49);
}

static void series_keeps_epochs_apart(void **state)
{
	uint64_t i;

	(void)state;
	sync_series_init(&series);
	for (i = 0; i < 10; i++)
		add(i * MS, 5, 1 + i / 5);
	assert_int_equal(series.count, 2);
	/* Each its own: the row is full, and that is all. */
	for (i = 10; i < 10 * CTL_SYNC_POINTS; i++)
		add(i * MS, 5, i);
	assert_true(series.count <= CTL_SYNC_POINTS);
}

static void ticks_are_one_two_or_five(void **state)
{
	static const struct {
		double span, tick;
	} cases[] = {
		{10, 2},      {1, 0.2},	  {7, 2}, {40, 10},
		{0.03, 0.01}, {2e6, 5e5}, {0, 1}, {-4, 1},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		double tick = sync_plot_tick(cases[i].span, 5);

		assert_true(tick > cases[i].tick * 0.999 &&
			    tick < cases[i].tick * 1.001);
	}
}

static unsigned int occurrences(const char *text, const char *word)
{
	unsigned int n = 0;

	for (; (text = strstr(text, word)); text += strlen(word))
		n++;
	return n;
}

static void plot_draws_a_line_per_panel_and_epoch(void **state)
{
	struct sync_plot_line line = {"cam <1> & \"\x01", &series};
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	uint64_t i;

	(void)state;
	sync_series_init(&series);
	for (i = 0; i < 100; i++)
		add(i * 100 * MS, (int64_t)(i * 1000), 1 + i / 50);
	assert_non_null(out);
	assert_int_equal(sync_plot_write(out, &line, 1), 0);
	(void)fclose(out);
	assert_int_equal(occurrences(text, "<polyline"), 6);
	assert_int_equal(occurrences(text, "</svg>"), 1);
	assert_non_null(strstr(text, "cam &lt;1&gt; &amp; \"?<"));
	/* 0 and 99 us, at the lower and the upper edge of their panel. */
	assert_non_null(strstr(text, "points=\"84.0,240.0 "));
	assert_null(strstr(text, "nan"));
	assert_null(strstr(text, "inf"));
	free(text);
}

static void plot_of_nothing_is_a_picture_too(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	(void)state;
	assert_non_null(out);
	assert_int_equal(sync_plot_write(out, NULL, 0), 0);
	(void)fclose(out);
	assert_int_equal(occurrences(text, "</svg>"), 1);
	assert_null(strstr(text, "nan"));
	free(text);
}

static struct capture_alignment stream(const char *name, uint32_t id,
				       enum capture_align_state state)
{
	struct capture_alignment a = {.id = id, .state = state};

	(void)snprintf(a.name, sizeof(a.name), "%s", name);
	return a;
}

/* Streams that went keep their page; their slot may be another's by now. */
static void samples_are_of_who_has_the_id_now(void **state)
{
	static struct sync_sensor sensors[CTL_SYNC_SENSORS_MAX];
	struct sync s = {.sensors = sensors};
	struct capture_alignment a = stream("a", 3, CAPTURE_ALIGN_LOCKED);
	struct capture_alignment b = stream("b", 3, CAPTURE_ALIGN_WAITING);
	struct capture_alignment c = stream("c", 4, CAPTURE_ALIGN_LOCKED);

	(void)state;
	assert_null(sync_sensor_of(&s, 3));
	sync_stream(&s, &a);
	sync_stream(&s, &c);
	assert_ptr_equal(sync_sensor_of(&s, 3), &sensors[0]);
	a.state = CAPTURE_ALIGN_GONE;
	sync_stream(&s, &a);
	assert_null(sync_sensor_of(&s, 3));
	/* It is back, and then its slot is another's before we looked. */
	a.state = CAPTURE_ALIGN_LOCKED;
	sync_stream(&s, &a);
	sync_stream(&s, &b);
	assert_ptr_equal(sync_sensor_of(&s, 3), sync_sensor(&s, "b"));
	assert_int_equal(sensors[0].now.state, CAPTURE_ALIGN_GONE);
	assert_ptr_equal(sync_sensor_of(&s, 4), &sensors[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(series_is_bounded_and_loses_no_sample),
		cmocka_unit_test(series_keeps_epochs_apart),
		cmocka_unit_test(ticks_are_one_two_or_five),
		cmocka_unit_test(plot_draws_a_line_per_panel_and_epoch),
		cmocka_unit_test(plot_of_nothing_is_a_picture_too),
		cmocka_unit_test(samples_are_of_who_has_the_id_now),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
