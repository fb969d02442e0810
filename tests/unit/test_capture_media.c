/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/media.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "support/fake_media.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

#define RAW10 0x300f
#define RAW8 0x3014
/* Far more than any run makes: the sweep itself is bounded. */
#define CALLS_MAX 5000u

static struct fake_media *media;

static int reset(void **state)
{
	(void)state;
	fake_v4l2_reset();
	sys_fault_reset();
	media = fake_media_reset();
	fake_v4l2_add(FAKE_CAMERA);
	fake_v4l2_add(FAKE_CAMERA);
	return 0;
}

static void check_graph(const struct capture_media_graph *g)
{
	assert_string_equal(g->driver, "fake");
	assert_string_equal(g->model, "fake board");
	assert_int_equal(g->entity_count, 5);
	assert_string_equal(g->entities[0].name, "imx219 10-0010");
	assert_string_equal(
		capture_media_function_name(g->entities[0].function), "sensor");
	assert_string_equal(g->entities[0].path, "/dev/v4l-subdev0");
	assert_string_equal(g->entities[3].path, "/dev/video0");
	assert_int_equal(g->pad_count, 7);
	assert_int_equal(g->pads[4].entity, 2);
	assert_int_equal(g->pads[4].index, 1);
	assert_int_equal(g->pads[4].flags, CAPTURE_PAD_SOURCE);
	assert_int_equal(g->link_count, 4);
	assert_int_equal(g->links[2].source, 2);
	assert_int_equal(g->links[2].sink, 6);
	assert_int_equal(g->links[0].flags,
			 CAPTURE_LINK_ENABLED | CAPTURE_LINK_IMMUTABLE);
	assert_int_equal(g->links[1].flags, 0);
}

static struct capture_media_graph *query(void)
{
	struct capture_media_graph *g;

	assert_int_equal(
		capture_media_query(fake_media_ops(), "/dev/media0", &g), 0);
	return g;
}

static void media_query_reads_the_graph(void **state)
{
	struct capture_media_graph *g;

	(void)state;
	media->growing = 2;
	g = query();
	check_graph(g);
	(void)capture_media_free(g);
}

static void media_query_reads_the_graph_of_an_old_kernel(void **state)
{
	struct capture_media_graph *g;

	(void)state;
	media->legacy = true;
	g = query();
	check_graph(g);
	(void)capture_media_free(g);
}

static void media_query_leaves_paths_empty_without_sysfs(void **state)
{
	struct capture_media_graph *g;

	(void)state;
	media->no_sysfs = true;
	g = query();
	assert_string_equal(g->entities[0].path, "");
	(void)capture_media_free(g);
}

static void media_query_trusts_no_number(void **state)
{
	struct capture_media_graph *g = NULL;
	const struct sys_ops *sys = fake_media_ops();

	(void)state;
	media->huge = true;
	assert_int_equal(capture_media_query(sys, "/dev/media0", &g), -E2BIG);
	media->huge = false;
	media->bad_pad = true;
	assert_int_equal(capture_media_query(sys, "/dev/media0", &g), -EPROTO);
	media->bad_pad = false;
	media->bad_link = true;
	assert_int_equal(capture_media_query(sys, "/dev/media0", &g), -EPROTO);
	media->legacy = true;
	assert_int_equal(capture_media_query(sys, "/dev/media0", &g), -EPROTO);
	media->bad_link = false;
	media->endless = true;
	assert_int_equal(capture_media_query(sys, "/dev/media0", &g), -EPROTO);
	media->legacy = false;
	media->growing = 100;
	assert_int_equal(capture_media_query(sys, "/dev/media0", &g), -EAGAIN);
	assert_int_equal(capture_media_query(sys, "/dev/media1", &g), -ENOENT);
	assert_int_equal(capture_media_query(sys, "/dev/video0", &g), -ENODEV);
	assert_null(g);
}

static int apply(const char *links, const char *formats,
		 struct capture_media_setup **ret, char *why)
{
	const struct capture_media_setup_config config = {NULL, links, formats};

	return capture_media_setup_apply(fake_media_ops(), &config, ret, why);
}

static void media_setup_applies_and_restores(void **state)
{
	struct fake_media_pad before[FAKE_MEDIA_PADS];
	struct capture_media_setup *s;
	char why[CAPTURE_MEDIA_WHY_BYTES];

	(void)state;
	memcpy(before, fake_media_pad(0), sizeof(before));
	assert_int_equal(
		apply("\"csi2\":1 -> 'scaler':0[1], 'csi2':1->5:0 [0]",
		      "'imx219 10-0010':0 [fmt:SRGGB8/1640x1232 @1/15],"
		      "'csi2':0 [fmt:SRGGB8_1X8/1640x1232 field:none],\n"
		      "'scaler':0 [fmt:0x3014/1640x1232 "
		      "colorspace:raw crop:(0,0)/800x600]",
		      &s, why),
		0);
	assert_string_equal(why, "");
	assert_int_equal(capture_media_setup_links(s), 2);
	assert_int_equal(capture_media_setup_pads(s), 3);
	assert_true(fake_media_link(1));
	assert_false(fake_media_link(2));
	assert_true(fake_media_link(3));
	assert_int_equal(fake_media_pad(0)->width, 1640);
	assert_int_equal(fake_media_pad(0)->code, RAW8);
	assert_int_equal(fake_media_pad(0)->interval_den, 15);
	/* Carried by the driver, within the entity. */
	assert_int_equal(fake_media_pad(2)->width, 1640);
	assert_int_equal(fake_media_pad(3)->crop_width, 800);
	assert_int_equal(fake_media_pad(6)->width, 640);

	assert_int_equal(capture_media_setup_restore(s), 0);
	assert_false(fake_media_link(1));
	assert_true(fake_media_link(2));
	assert_memory_equal(before, fake_media_pad(0), sizeof(before));
}

static void media_setup_sets_nothing_that_is_not_named(void **state)
{
	struct capture_media_setup *s;

	(void)state;
	/* A link that is as asked for, and one pad. */
	assert_int_equal(apply("'imx219 10-0010':0 -> 'csi2':0 [1]",
			       "'scaler':1 [fmt:SRGGB10/160x120]", &s, NULL),
			 0);
	assert_int_equal(media->links_set, 0);
	assert_int_equal(media->sets, 1);
	assert_int_equal(capture_media_setup_restore(s), 0);
	assert_int_equal(media->sets, 2);
	assert_int_equal(fake_media_pad(4)->width, 320);
	assert_int_equal(apply("", NULL, &s, NULL), 0);
	assert_int_equal(capture_media_setup_restore(s), 0);
	assert_int_equal(capture_media_setup_restore(NULL), 0);
}

static void media_setup_is_all_or_nothing(void **state)
{
	static const struct {
		const char *links;
		const char *formats;
		int result;
		const char *why;
	} cases[] = {
		{"'csi2':1 -> 'scaler':0 [1]",
		 "'imx219 10-0010':0 [fmt:SRGGB10/4096x3072]", -ERANGE,
		 "something else"},
		{"'csi2':1 -> 'scaler':0 [1]",
		 "'imx219 10-0010':0 [fmt:SRGGB10/800x600],"
		 "'csi2':0 [fmt:UYVY8_2X8/800x600]",
		 -ERANGE, "'csi2':0"},
		{NULL, "'csi2':0 [@1/30]", -ERANGE, "'csi2':0"},
		{NULL, "'imx219 10-0010':0 [@1/90]", -ERANGE, "else"},
		{NULL, "'csi2':0 [crop:(0,0)/16x16]", -ERANGE, "csi2"},
		{NULL, "'scaler':0 [crop:(0,0)/9000x9000]", -ERANGE, "else"},
		{"'imx219 10-0010':0 -> 'csi2':0 [0]", NULL, -EPERM,
		 "immutable"},
		{"'imx219 10-0010':0 -> 'scaler':0 [1]", NULL, -ENODEV,
		 "no link"},
		{"'csi2':1 -> 'nothing':0 [1]", NULL, -ENODEV,
		 "no 'nothing':0"},
		{NULL, "'csi2':4 [fmt:SRGGB10/64x64]", -ENODEV, "'csi2':4"},
		{NULL, "'image':0 [fmt:SRGGB10/64x64]", -ENOENT,
		 "no subdevice"},
	};
	struct capture_media_setup *s = NULL;
	char why[CAPTURE_MEDIA_WHY_BYTES];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(apply(cases[i].links, cases[i].formats, &s,
				       why),
				 cases[i].result);
		if (!strstr(why, cases[i].why))
			fail_msg("case %zu: '%s'", i, why);
		assert_null(s);
		assert_false(fake_media_link(1));
		assert_int_equal(fake_media_pad(0)->width, 640);
		assert_int_equal(fake_media_pad(0)->interval_den, 30);
		assert_int_equal(fake_media_pad(2)->width, 640);
		assert_int_equal(fake_media_pad(3)->crop_width, 500);
	}
}

static void media_setup_says_what_it_cannot_read(void **state)
{
	static const struct {
		const char *links;
		const char *formats;
		const char *why;
	} cases[] = {
		{"csi2:1 -> 'scaler':0 [1]", NULL, "an entity"},
		{"'csi2:1 -> scaler:0 [1]", NULL, "both its quotes"},
		{"'csi2':1 -> 'scaler':0", NULL, "expected '[' at the end"},
		{"'csi2':1 -> 'scaler':0 [2]", NULL, "0 or 1"},
		{"'csi2':1 > 'scaler':0 [1]", NULL, "'->'"},
		{"'csi2':99999 -> 'scaler':0 [1]", NULL, "a number"},
		{"'csi2':1 -> 'scaler':0 [1],", NULL, "at the end"},
		{"'csi2':1->'scaler':0[1] 2:1->3:0[1]", NULL, "','"},
		{NULL, "'csi2':1", "'['"},
		{NULL, "'csi2':1 []", "a property"},
		{NULL, "'csi2':1 [fmt:NOPE/1x1]", "a media bus format"},
		{NULL, "'csi2':1 [fmt:0xzz/1x1]", "a media bus format"},
		{NULL, "'csi2':1 [fmt:SRGGB10/1x]", "a number"},
		{NULL, "'csi2':1 [fmt:SRGGB10/0x5]", "size of 0"},
		{NULL, "'csi2':1 [fmt:SRGGB10/99999x5]", "a number"},
		{NULL, "'csi2':1 [fmt:SRGGB10/1x1 fmt:SRGGB8/1x1]", "twice"},
		{NULL, "'csi2':1 [field:odd fmt:SRGGB8/1x1]", "field order"},
		{NULL, "'csi2':1 [field:none]", "belong to a fmt"},
		{NULL, "'csi2':1 [crop:(0,0]", "')'"},
		{NULL, "'csi2':1 [@0/30]", "interval of 0"},
		{NULL, "'csi2':1 [rotate:90]", "expected fmt:"},
	};
	struct capture_media_setup *s = NULL;
	char why[CAPTURE_MEDIA_WHY_BYTES];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(apply(cases[i].links, cases[i].formats, &s,
				       why),
				 -EINVAL);
		if (!strstr(why, cases[i].why))
			fail_msg("case %zu: '%s'", i, why);
	}
	assert_int_equal(media->links_set + media->sets, 0);
}

static void media_setup_bounds_its_text(void **state)
{
	struct capture_media_setup *s = NULL;
	static char text[10000];
	size_t len = 0;
	int i;

	(void)state;
	for (i = 0; i < 65; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%s'csi2':1->'scaler':0[1]",
					i ? "," : "");
	assert_int_equal(apply(text, NULL, &s, NULL), -E2BIG);
	memset(text, ' ', sizeof(text) - 1);
	assert_int_equal(apply(text, NULL, &s, NULL), -E2BIG);
	assert_int_equal(apply(NULL, text, &s, NULL), -E2BIG);
}

static void media_setup_tells_a_busy_pipeline(void **state)
{
	struct capture_media_setup *s;

	(void)state;
	media->streaming = true;
	assert_int_equal(apply("'csi2':1 -> 'scaler':0 [1]", NULL, &s, NULL),
			 -EBUSY);
	assert_int_equal(apply(NULL, "'csi2':0 [fmt:SRGGB8/64x64]", &s, NULL),
			 -EBUSY);
	media->streaming = false;
	assert_int_equal(apply("'csi2':1 -> 'scaler':0 [1]",
			       "'csi2':0 [fmt:SRGGB8/64x64]", &s, NULL),
			 0);
	media->streaming = true;
	assert_int_equal(capture_media_setup_restore(s), -EBUSY);
}

static void bus_names_go_both_ways(void **state)
{
	(void)state;
	assert_string_equal(capture_media_bus_name(RAW10), "SRGGB10_1X10");
	assert_string_equal(capture_media_bus_name(0x100a), "RGB888_1X24");
	assert_null(capture_media_bus_name(1));
}

static void check_match(const char *text, const char *wanted)
{
	char path[CAPTURE_PATH_BYTES] = "";
	int r = capture_device_match(fake_media_ops(), text, path);

	if (r < 0 || strcmp(path, wanted) != 0)
		fail_msg("'%s': %d '%s', not '%s'", text, r, path, wanted);
}

static void device_match_finds_by_any_name(void **state)
{
	char path[CAPTURE_PATH_BYTES] = "kept";
	const struct sys_ops *sys = fake_media_ops();

	(void)state;
	check_match("/dev/video1", "/dev/video1");
	check_match("/dev/v4l/by-path/platform-a-video-index0",
		    "/dev/v4l/by-path/platform-a-video-index0");
	check_match("platform-a-video-index0",
		    "/dev/v4l/by-path/platform-a-video-index0");
	check_match("usb-A_Maker_of_Long_Names_HD_Webcam_C920_"
		    "0123456789ABCDEF-video-index0",
		    "/dev/video1");
	check_match("fake card", "/dev/video0");
	check_match("platform:f", "/dev/video0");
	check_match("ke car", "/dev/video0");
	/* By entity: a node's own, and along the enabled links. */
	check_match("raw", "/dev/video1");
	check_match("image", "/dev/video0");
	check_match("imx219 10-0010", "/dev/video1");
	check_match("scaler", "/dev/video0");
	assert_int_equal(capture_device_match(sys, "", path), -EINVAL);
	assert_int_equal(capture_device_match(sys, "nobody", path), -ENODEV);
	assert_int_equal(capture_device_match(sys, "/dev/video7", path),
			 -ENOENT);
	assert_int_equal(capture_device_match(sys, "../video0", path), -ENODEV);
	assert_int_equal(capture_device_match(sys, "/dev/null", path), -ENODEV);
	assert_string_equal(path, "kept");
}

static void device_match_follows_the_links_as_they_are_now(void **state)
{
	struct capture_media_setup *s;

	(void)state;
	assert_int_equal(apply("'csi2':1->'scaler':0[1],'csi2':1->'raw':0[0]",
			       NULL, &s, NULL),
			 0);
	check_match("imx219 10-0010", "/dev/video0");
	assert_int_equal(capture_media_setup_restore(s), 0);
	check_match("imx219 10-0010", "/dev/video1");
}

static void device_match_takes_no_encoder(void **state)
{
	char path[CAPTURE_PATH_BYTES];

	(void)state;
	fake_v4l2_reset();
	fake_v4l2_add(FAKE_ENCODER);
	fake_v4l2_add(FAKE_CAMERA);
	check_match("fake card", "/dev/video1");
	assert_int_equal(capture_device_match(fake_media_ops(), "/dev/video0",
					      path),
			 -ENODEV);
}

/* --- every call fails once ------------------------------------------------- */

static int setup_operation(void)
{
	const struct capture_media_setup_config config = {
		.links = "'csi2':1 -> 'scaler':0 [1]",
		.formats = "'imx219 10-0010':0 [fmt:SRGGB8/800x600 @1/15],"
			   "'scaler':0 [fmt:SRGGB8/800x600 "
			   "crop:(0,0)/400x300]",
	};
	struct capture_media_setup *s = NULL;
	int r;

	r = capture_media_setup_apply(sys_fault(), &config, &s, NULL);
	return r < 0 ? r : capture_media_setup_restore(s);
}

static int match_operation(void)
{
	char path[CAPTURE_PATH_BYTES];

	return capture_device_match(sys_fault(), "imx219 10-0010", path);
}

static void sweep(int (*operation)(void), bool legacy, int err)
{
	unsigned long n;

	for (n = 1; n < CALLS_MAX; n++) {
		int r;

		(void)reset(NULL);
		media->legacy = legacy;
		sys_fault_wrap(fake_media_ops());
		sys_fault_arm(n, err);
		r = operation();
		assert_int_equal(sys_fault_open_fds(), 0);
		if (!sys_fault_fired()) {
			assert_int_equal(r, 0);
			return;
		}
		/* The same once more, undisturbed. */
		sys_fault_arm(0, 0);
		if (operation == setup_operation)
			(void)fake_media_reset();
		media->legacy = legacy;
		assert_int_equal(operation(), 0);
		assert_int_equal(sys_fault_open_fds(), 0);
	}
	fail_msg("more than %u calls", CALLS_MAX);
}

static void media_survives_any_failed_call(void **state)
{
	static const int errors[] = {-EIO,    -ENOMEM, -EMFILE,
				     -ENODEV, -EINVAL, -EBUSY};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		sweep(setup_operation, false, errors[i]);
		sweep(setup_operation, true, errors[i]);
		sweep(match_operation, false, errors[i]);
	}
}

/* One call of applying fails: nothing is left changed. */
static void media_setup_leaves_nothing_behind(void **state)
{
	const struct capture_media_setup_config config = {
		.device = "/dev/media0",
		.links = "'csi2':1 -> 'scaler':0 [1]",
		.formats = "'csi2':0 [fmt:SRGGB8/800x600]",
	};
	struct capture_media_setup *s;
	unsigned long n;

	(void)state;
	for (n = 1; n < CALLS_MAX; n++) {
		(void)reset(NULL);
		sys_fault_wrap(fake_media_ops());
		sys_fault_arm(n, -EIO);
		if (capture_media_setup_apply(sys_fault(), &config, &s, NULL) ==
		    0) {
			if (!sys_fault_fired()) {
				(void)capture_media_setup_restore(s);
				return;
			}
			(void)capture_media_setup_restore(s);
		}
		assert_false(fake_media_link(1));
		assert_int_equal(fake_media_pad(1)->width, 640);
		assert_int_equal(fake_media_pad(2)->code, RAW10);
	}
	fail_msg("more than %u calls", CALLS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(media_query_reads_the_graph, reset),
		cmocka_unit_test_setup(
			media_query_reads_the_graph_of_an_old_kernel, reset),
		cmocka_unit_test_setup(
			media_query_leaves_paths_empty_without_sysfs, reset),
		cmocka_unit_test_setup(media_query_trusts_no_number, reset),
		cmocka_unit_test_setup(media_setup_applies_and_restores, reset),
		cmocka_unit_test_setup(
			media_setup_sets_nothing_that_is_not_named, reset),
		cmocka_unit_test_setup(media_setup_is_all_or_nothing, reset),
		cmocka_unit_test_setup(media_setup_says_what_it_cannot_read,
				       reset),
		cmocka_unit_test_setup(media_setup_bounds_its_text, reset),
		cmocka_unit_test_setup(media_setup_tells_a_busy_pipeline,
				       reset),
		cmocka_unit_test_setup(bus_names_go_both_ways, reset),
		cmocka_unit_test_setup(device_match_finds_by_any_name, reset),
		cmocka_unit_test_setup(
			device_match_follows_the_links_as_they_are_now, reset),
		cmocka_unit_test_setup(device_match_takes_no_encoder, reset),
		cmocka_unit_test_setup(media_survives_any_failed_call, reset),
		cmocka_unit_test_setup(media_setup_leaves_nothing_behind,
				       reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
