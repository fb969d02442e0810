/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a V4L2 source sets on its device, that it sets nothing else, and that
 * all is as it was afterwards; source changes and signals.
 */
#include <errno.h>
#include <string.h>

#include <linux/videodev2.h>

#include "support/source_rig.h"

static struct fake_settings *dev(void)
{
	return &source_rig_camera->settings;
}

static struct fake_state state_now(void)
{
	return fake_v4l2_state(source_rig_camera);
}

static void assert_state(const struct fake_state *expected)
{
	struct fake_state now = state_now();

	assert_memory_equal(&now, expected, sizeof(now));
}

/* The camera as someone left it, by no means in its first state. */
static struct fake_state left_by_someone(void)
{
	struct capture_source_config config = {.path = "/dev/video0"};

	/* The first open gives the fake its format. */
	(void)capture_source_close(source_rig_open(&config));
	dev()->now.controls[0] = 15;
	dev()->now.crop.left = 8;
	dev()->now.crop.width = 100;
	dev()->now.compose.width = 60;
	dev()->now.period_den = 15;
	dev()->writes = 0;
	return state_now();
}

/* --- nothing that was not asked for ------------------------------------- */

static void open_changes_nothing_when_nothing_is_named(void **state)
{
	struct capture_source_config config = {.path = "/dev/video0"};
	struct fake_state before = left_by_someone();
	struct capture_source *s = source_rig_open_on(&config);

	(void)state;
	(void)capture_frame_unref(source_rig_next(s));
	assert_state(&before);
	assert_int_equal(capture_source_restore(s), 0);
	(void)capture_source_close(s);
	assert_int_equal(dev()->writes, 0);
	assert_state(&before);
}

static void open_changes_nothing_when_it_is_so_already(void **state)
{
	static const uint32_t yuyv[] = {CAPTURE_FORMAT_YUYV};
	struct fake_state before = left_by_someone();
	struct capture_source_config config = {
		.path = "/dev/video0",
		.fourccs = yuyv,
		.fourcc_count = 1,
		.width = 64,
		.height = 48,
		.rate_num = 30,
		.rate_den = 2,
	};

	(void)state;
	(void)capture_source_close(source_rig_open(&config));
	assert_int_equal(dev()->writes, 0);
	assert_state(&before);
}

static void format_and_what_it_resets_is_put_back(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct fake_state before = left_by_someone();
	struct capture_source *s;
	struct capture_frame *f;

	(void)state;
	config.width = 128;
	config.height = 96;
	config.rate_num = 30;
	config.rate_den = 1;
	s = source_rig_open_on(&config);
	assert_int_equal(state_now().width, 128);
	assert_int_equal(state_now().period_den, 30);
	f = source_rig_next(s);
	/* Frames that are out do not keep it from that. */
	assert_int_equal(capture_source_restore(s), 0);
	assert_state(&before);
	assert_int_equal(capture_source_start(s), -EBUSY);
	assert_int_equal(source_rig_dequeue_fails(s), -EBUSY);
	(void)capture_source_close(s);
	assert_int_equal(f->planes[0].map[0], fake_v4l2_pixel(0));
	(void)capture_frame_unref(f);
	assert_state(&before);
}

static void a_refused_open_puts_back_too(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct fake_state before = left_by_someone();

	(void)state;
	config.width = 65; /* the driver makes 64 of it */
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	assert_true(dev()->writes);
	assert_state(&before);
	config = source_rig_config();
	config.rung = CAPTURE_RUNG_S2;
	assert_int_equal(source_rig_refused(&config), -EOPNOTSUPP);
	assert_state(&before);
}

/* --- controls ----------------------------------------------------------- */

static struct capture_settings_error error;

static struct capture_source_config
with_controls(struct capture_settings *settings,
	      const struct capture_control_setting *controls, size_t count)
{
	struct capture_source_config config = source_rig_config();

	memset(settings, 0, sizeof(*settings));
	settings->controls = controls;
	settings->control_count = count;
	settings->error = &error;
	config.settings = settings;
	return config;
}

static void controls_are_set_by_name_id_and_item_and_put_back(void **state)
{
	static const struct capture_control_setting controls[] = {
		{.name = "exposure_auto", .item = "manual_mode"},
		{.name = "brightness", .value = 45},
		{.id = V4L2_CID_HFLIP, .name = "ignored", .value = 1},
		{.name = "Integer 64 Bits", .value = INT64_C(-5000000000)},
		{.name = "bits", .value = 0x8000},
		{.name = "test_pattern", .item = "75% Colorbar"},
		{.name = "brightness", .value = 50},
	};
	struct fake_state before = left_by_someone();
	struct capture_settings settings;
	struct capture_source_config config =
		with_controls(&settings, controls, ARRAY_SIZE(controls));
	struct capture_source *s = source_rig_open(&config);
	const int64_t *now = dev()->now.controls;

	(void)state;
	assert_int_equal(now[0], 50);
	assert_int_equal(now[2], 1);
	assert_true(now[4] == INT64_C(-5000000000));
	assert_int_equal(now[6], 0x8000);
	assert_int_equal(now[7], 1);
	assert_int_equal(now[8], 1);
	(void)capture_source_close(s);
	assert_state(&before);
}

static int refused_control(struct capture_control_setting control)
{
	struct capture_settings settings;
	struct capture_source_config config =
		with_controls(&settings, &control, 1);
	struct fake_state before = state_now();
	int r = source_rig_refused(&config);

	assert_int_equal(error.error, r);
	assert_string_equal(error.name, control.name);
	assert_state(&before);
	return r;
}

static void controls_that_cannot_be_set_are_named(void **state)
{
	struct capture_control_setting c = {.name = "no_such_thing"};

	(void)state;
	(void)left_by_someone();
	assert_int_equal(refused_control(c), -ENXIO);
	c.name = "brightness";
	c.value = 250;
	assert_int_equal(refused_control(c), -ERANGE);
	c.value = -15;
	assert_int_equal(refused_control(c), -ERANGE);
	c.value = 46; /* between two steps */
	assert_int_equal(refused_control(c), -ERANGE);
	c.name = "bits";
	c.value = 0x10000;
	assert_int_equal(refused_control(c), -ERANGE);
	c.name = "exposure_auto";
	c.value = 2; /* a hole in the menu */
	assert_int_equal(refused_control(c), -ENXIO);
	c.item = "automatic";
	assert_int_equal(refused_control(c), -ENXIO);
	c.name = "brightness";
	assert_int_equal(refused_control(c), -EOPNOTSUPP);
	c.item = NULL;
	c.name = "do_white_balance";
	assert_int_equal(refused_control(c), -EOPNOTSUPP);
	c.name = "serial";
	assert_int_equal(refused_control(c), -EOPNOTSUPP);
	c.name = "min_number_of_capture_buffers";
	source_rig_camera->settings.min_buffers = 2;
	assert_int_equal(refused_control(c), -EACCES);
}

static void an_open_that_fails_for_another_reason_names_no_setting(void **state)
{
	struct capture_settings settings;
	struct capture_source_config config = with_controls(&settings, NULL, 0);

	(void)state;
	config.width = 65;
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	assert_int_equal(error.error, -ERANGE);
	assert_string_equal(error.name, "");
	settings.control_count = 1; /* and no list */
	assert_int_equal(source_rig_refused(&config), -EINVAL);
	settings.control_count = CAPTURE_SETTINGS_CONTROLS_MAX + 1;
	assert_int_equal(source_rig_refused(&config), -EINVAL);
}

static void a_control_can_be_set_under_way_and_is_put_back(void **state)
{
	struct capture_control_setting c = {.name = "brightness", .value = 100};
	struct fake_state before = left_by_someone();
	struct capture_source_config config = {.path = "/dev/video0"};
	struct capture_source *s = source_rig_open_on(&config);
	int64_t value;

	(void)state;
	assert_int_equal(capture_source_get_control(s, &c, &value), 0);
	assert_int_equal(value, 15);
	assert_int_equal(capture_source_set_control(s, &c), 0);
	assert_int_equal(capture_source_get_control(s, &c, &value), 0);
	assert_int_equal(value, 100);
	c.value = 1000;
	assert_int_equal(capture_source_set_control(s, &c), -ERANGE);
	dev()->grabbed = true;
	c.value = 105;
	assert_int_equal(capture_source_set_control(s, &c), -EBUSY);
	dev()->grabbed = false;
	(void)capture_source_close(s);
	assert_state(&before);
}

static void what_cannot_be_put_back_is_told(void **state)
{
	static const struct capture_control_setting controls[] = {
		{.name = "brightness", .value = 45},
		{.name = "horizontal_flip", .value = 1},
	};
	struct capture_settings settings;
	struct capture_source_config config =
		with_controls(&settings, controls, ARRAY_SIZE(controls));
	struct capture_source *s = source_rig_open(&config);

	(void)state;
	dev()->grabbed = true;
	assert_int_equal(capture_source_restore(s), 2);
	/* Once is enough. */
	assert_int_equal(capture_source_restore(s), 0);
	(void)capture_source_close(s);
	dev()->grabbed = false;
	s = source_rig_open(&config);
	source_rig_camera->unplugged = true;
	assert_int_equal(capture_source_restore(s), -ENODEV);
	(void)capture_source_close(s);
}

/* --- input, timings, rectangles ----------------------------------------- */

static void input_and_timings_are_set_and_all_is_put_back(void **state)
{
	struct fake_state before = left_by_someone();
	struct capture_settings settings = {.set_input = true,
					    .input = FAKE_INPUT_HDMI,
					    .timings = CAPTURE_TIMINGS_AUTO};
	struct capture_source_config config = {.path = "/dev/video0",
					       .settings = &settings};
	struct capture_source *s;

	(void)state;
	dev()->found_width = 128;
	dev()->found_height = 96;
	s = source_rig_open(&config);
	assert_int_equal(state_now().input, FAKE_INPUT_HDMI);
	assert_int_equal(state_now().timings_width, 128);
	/* The size follows the signal. */
	assert_int_equal(capture_source_format(s)->width, 128);
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_OK);
	assert_int_equal(capture_source_restore(s), 0);
	(void)capture_source_close(s);
	assert_state(&before);
}

static void what_an_input_changes_is_put_back(void **state)
{
	struct fake_state before = left_by_someone();
	struct capture_settings settings = {.set_input = true,
					    .input = FAKE_INPUT_HDMI};
	struct capture_source_config config = {.path = "/dev/video0",
					       .settings = &settings};
	struct capture_control_setting c = {.name = "brightness", .value = 100};
	struct capture_source *s;

	(void)state;
	/* Both ways: here 15, which is not what the input comes back to. */
	dev()->brightness[0] = 90;
	dev()->brightness[FAKE_INPUT_HDMI] = 50;
	s = source_rig_open(&config);
	assert_int_equal(state_now().controls[0], 50);
	(void)capture_source_close(s);
	assert_state(&before);
	s = source_rig_open(&config);
	assert_int_equal(capture_source_set_control(s, &c), 0);
	(void)capture_source_close(s);
	assert_state(&before);
}

static void what_someone_else_changes_is_left_alone(void **state)
{
	static const struct capture_control_setting controls[] = {
		{.name = "brightness", .value = 45},
		{.id = V4L2_CID_HFLIP, .value = 1},
	};
	struct fake_state before = left_by_someone();
	struct capture_settings settings = {.set_input = true,
					    .input = FAKE_INPUT_HDMI,
					    .timings = CAPTURE_TIMINGS_AUTO,
					    .controls = controls,
					    .control_count = 2};
	struct capture_source_config config = {.path = "/dev/video0",
					       .settings = &settings};
	struct capture_source *s;

	(void)state;
	dev()->found_width = 128;
	dev()->found_height = 96;
	s = source_rig_open(&config);
	dev()->now.controls[0] = 70; /* set by us before */
	dev()->now.controls[8] = 2;  /* never set by us */
	assert_int_equal(capture_source_restore(s), 0);
	(void)capture_source_close(s);
	before.controls[0] = 70;
	before.controls[8] = 2;
	assert_state(&before);
	s = source_rig_open(&config);
	dev()->now.timings_width = 32;
	assert_int_equal(capture_source_restore(s), 0);
	(void)capture_source_close(s);
	assert_int_equal(state_now().timings_width, 32);
	assert_int_equal(state_now().controls[2], before.controls[2]);
	s = source_rig_open(&config);
	dev()->now.input = FAKE_INPUT_TV;
	(void)capture_source_close(s);
	assert_int_equal(state_now().input, FAKE_INPUT_TV);
}

static void input_and_timings_that_cannot_be_are_named(void **state)
{
	struct fake_state before = left_by_someone();
	struct capture_settings settings = {
		.set_input = true, .input = FAKE_INPUTS, .error = &error};
	struct capture_source_config config = {.path = "/dev/video0",
					       .settings = &settings};

	(void)state;
	assert_int_equal(source_rig_refused(&config), -ENXIO);
	assert_string_equal(error.name, "input");
	settings.input = FAKE_INPUT_TV;
	settings.timings = CAPTURE_TIMINGS_AUTO;
	assert_int_equal(source_rig_refused(&config), -ENXIO);
	assert_string_equal(error.name, "timings");
	settings.input = FAKE_INPUT_HDMI;
	dev()->timings_error = -ENOLINK;
	assert_int_equal(source_rig_refused(&config), -ENOLINK);
	dev()->timings_error = -ENOLCK;
	assert_int_equal(source_rig_refused(&config), -ENOLCK);
	dev()->no_inputs = true;
	assert_int_equal(source_rig_refused(&config), -ENXIO);
	dev()->no_inputs = false;
	assert_state(&before);
}

static void crop_and_compose_are_exact_or_refused(void **state)
{
	struct fake_state before = left_by_someone();
	struct capture_rect crop = {16, 8, 96, 64};
	struct capture_rect compose = {4, 4, 32, 24};
	struct capture_settings settings = {
		.crop = &crop, .compose = &compose, .error = &error};
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;

	(void)state;
	config.settings = &settings;
	s = source_rig_open(&config);
	assert_int_equal(state_now().crop.left, 16);
	assert_int_equal(state_now().crop.height, 64);
	assert_int_equal(state_now().compose.width, 32);
	(void)capture_source_close(s);
	assert_state(&before);
	crop.left = 17; /* the driver makes 16 of it */
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	assert_string_equal(error.name, "crop");
	crop.left = 16;
	compose.width = 33;
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	assert_string_equal(error.name, "compose");
	/* A format that is larger moves the crop away. */
	compose.width = 32;
	config.width = 128;
	config.height = 96;
	assert_int_equal(source_rig_refused(&config), -ERANGE);
	assert_string_equal(error.name, "crop");
	dev()->no_selection = true;
	assert_int_equal(source_rig_refused(&config), -ENXIO);
	dev()->no_selection = false;
	assert_int_equal(state_now().width, before.width);
}

static void rate_that_cannot_be_set_is_refused_and_named(void **state)
{
	struct capture_settings settings = {.error = &error};
	struct capture_source_config config = source_rig_config();
	struct capture_source *s;

	(void)state;
	config.settings = &settings;
	config.rate_num = 25;
	config.rate_den = 1;
	dev()->no_rate = true;
	memset(&error, 0, sizeof(error));
	assert_int_equal(source_rig_refused(&config), -ENXIO);
	assert_string_equal(error.name, "rate");
	assert_int_equal(error.error, -ENXIO);
	dev()->no_rate = false;
	dev()->fixed_rate = true;
	memset(&error, 0, sizeof(error));
	assert_int_equal(source_rig_refused(&config), -ENXIO);
	assert_string_equal(error.name, "rate");
	/* Not asked for: what is known of it, or 0/0. */
	config.rate_num = 0;
	config.rate_den = 0;
	s = source_rig_open(&config);
	assert_int_equal(capture_source_format(s)->rate_num,
			 state_now().period_den);
	(void)capture_source_close(s);
	dev()->no_rate = true;
	s = source_rig_open(&config);
	assert_int_equal(capture_source_format(s)->rate_num, 0);
	assert_int_equal(capture_source_format(s)->rate_den, 0);
	(void)capture_source_close(s);
	/* Asked for and there: the nearest, and it says which. */
	dev()->no_rate = false;
	dev()->fixed_rate = false;
	config.rate_num = 25;
	config.rate_den = 1;
	s = source_rig_open(&config);
	assert_int_equal(capture_source_format(s)->rate_num, 30);
	(void)capture_source_close(s);
}

static void settings_are_copied_deeply(void **state)
{
	char name[] = "brightness";
	struct capture_control_setting controls[] = {
		{.name = name, .value = 45},
		{.id = V4L2_CID_HFLIP, .item = "on"},
	};
	struct capture_rect crop = {1, 2, 3, 4};
	struct capture_settings from = {.controls = controls,
					.control_count = 2,
					.crop = &crop,
					.set_input = true,
					.input = 7,
					.error = &error};
	struct capture_settings *to;

	(void)state;
	assert_int_equal(capture_settings_dup(&from, &to), 0);
	name[0] = 'x';
	crop.left = 9;
	controls[1].id = 0;
	assert_string_equal(to->controls[0].name, "brightness");
	assert_int_equal(to->controls[0].value, 45);
	assert_int_equal(to->controls[1].id, V4L2_CID_HFLIP);
	assert_string_equal(to->controls[1].item, "on");
	assert_int_equal(to->crop->left, 1);
	assert_null(to->compose);
	assert_null(to->error);
	assert_int_equal(to->input, 7);
	assert_null(capture_settings_free(to));
	assert_null(capture_settings_free(NULL));
	from.control_count = CAPTURE_SETTINGS_CONTROLS_MAX + 1;
	assert_int_equal(capture_settings_dup(&from, &to), -EINVAL);
}

/* --- lists of controls -------------------------------------------------- */

static void control_list_tells_all_there_is_and_changes_nothing(void **state)
{
	struct fake_state before = left_by_someone();
	struct capture_control_list *l;
	const struct capture_control *c;

	(void)state;
	assert_int_equal(
		capture_control_list_new(sys_fault(), "/dev/video0", &l), 0);
	/* Nine, without the one that this camera lacks and the class. */
	assert_int_equal(l->count, FAKE_CONTROLS - 1);
	c = &l->controls[0];
	assert_int_equal(c->type, CAPTURE_CONTROL_INTEGER);
	assert_string_equal(c->key, "brightness");
	assert_int_equal(c->minimum, -10);
	assert_int_equal(c->maximum, 245);
	assert_int_equal(c->step, 5);
	assert_int_equal(c->default_value, 90);
	assert_int_equal(c->value, 15);
	assert_true(c->readable);
	assert_int_equal(l->controls[1].type, CAPTURE_CONTROL_BUTTON);
	assert_false(l->controls[1].readable);
	c = &l->controls[6];
	assert_string_equal(c->name, "Exposure, Auto");
	assert_string_equal(c->key, "exposure_auto");
	assert_int_equal(c->item_count, 3);
	assert_int_equal(c->items[2].index, 3);
	assert_string_equal(c->items[2].name, "Aperture Priority Mode");
	assert_string_equal(capture_control_type_name(c->type), "menu");
	assert_null(capture_control_list_free(l));
	assert_int_equal(dev()->writes, 0);
	assert_state(&before);
	assert_int_equal(capture_control_list_new(sys_fault(), "/dev/video9",
						  &l),
			 -ENOENT);
	assert_null(capture_control_list_free(NULL));
}

static void control_list_of_a_node_without_any_is_empty(void **state)
{
	struct capture_control_list *l;

	(void)state;
	(void)fake_v4l2_add(FAKE_ENCODER);
	assert_int_equal(
		capture_control_list_new(sys_fault(), "/dev/video1", &l), 0);
	assert_int_equal(l->count, 0);
	(void)capture_control_list_free(l);
}

/* --- source changes and signals ----------------------------------------- */

static struct capture_source *open_hdmi(struct capture_settings *settings)
{
	struct capture_source_config config = {.path = "/dev/video0"};

	memset(settings, 0, sizeof(*settings));
	settings->set_input = true;
	settings->input = FAKE_INPUT_HDMI;
	settings->timings = CAPTURE_TIMINGS_AUTO;
	config.settings = settings;
	return source_rig_open_on(&config);
}

static void a_new_resolution_is_stale(void **state)
{
	struct capture_settings settings;
	struct capture_source *s = open_hdmi(&settings);

	(void)state;
	(void)capture_frame_unref(source_rig_next(s));
	dev()->found_width = 128;
	dev()->found_height = 96;
	fake_v4l2_source_change(source_rig_camera);
	assert_int_equal(source_rig_dequeue_fails(s), -ESTALE);
	assert_int_equal(source_rig_dequeue_fails(s), -ESTALE);
	(void)capture_source_close(s);
	s = open_hdmi(&settings);
	assert_int_equal(capture_source_format(s)->width, 128);
	(void)capture_frame_unref(source_rig_next(s));
	(void)capture_source_close(s);
}

static void a_format_changed_under_way_is_stale(void **state)
{
	struct capture_source_config config = source_rig_config();
	struct capture_source *s = source_rig_open_on(&config);

	(void)state;
	(void)capture_frame_unref(source_rig_next(s));
	/* No DV timings here: the driver changed its format by itself. */
	dev()->reset_width = 128;
	dev()->reset_height = 96;
	fake_v4l2_source_change(source_rig_camera);
	assert_int_equal(source_rig_dequeue_fails(s), -ESTALE);
	(void)capture_source_close(s);
}

static void a_lost_signal_is_told_and_comes_back(void **state)
{
	struct capture_settings settings;
	struct capture_source *s = open_hdmi(&settings);

	(void)state;
	dev()->timings_error = -ENOLINK;
	fake_v4l2_source_change(source_rig_camera);
	assert_int_equal(source_rig_dequeue_fails(s), -ENOLINK);
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_NONE);
	assert_int_equal(source_rig_dequeue_fails(s), -ENOLINK);
	assert_int_equal(capture_source_stop(s), 0);
	dev()->timings_error = 0;
	fake_v4l2_source_change(source_rig_camera);
	assert_int_equal(capture_source_start(s), 0);
	(void)capture_frame_unref(source_rig_next(s));
	(void)capture_source_close(s);
}

static void an_event_that_changes_nothing_is_passed_over(void **state)
{
	struct capture_settings settings;
	struct capture_source *s = open_hdmi(&settings);

	(void)state;
	fake_v4l2_source_change(source_rig_camera);
	fake_v4l2_source_change(source_rig_camera);
	(void)capture_frame_unref(source_rig_next(s));
	assert_int_equal(dev()->events, 0);
	(void)capture_source_close(s);
}

static void an_event_is_seen_though_frames_wait_or_none_come(void **state)
{
	struct capture_settings settings;
	struct capture_source *s = open_hdmi(&settings);

	(void)state;
	source_rig_camera->hang = true;
	dev()->timings_error = -ENOLCK;
	fake_v4l2_source_change(source_rig_camera);
	assert_int_equal(source_rig_dequeue_fails(s), -ENOLINK);
	(void)capture_source_close(s);
}

static void signal_is_what_the_receiver_says(void **state)
{
	struct capture_settings settings;
	struct capture_source *s = open_hdmi(&settings);

	(void)state;
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_OK);
	dev()->timings_error = -ENOLCK;
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_NO_LOCK);
	dev()->timings_error = -ERANGE;
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_RANGE);
	dev()->timings_error = -ENOLINK;
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_NONE);
	dev()->no_cable = true;
	assert_int_equal(capture_source_signal(s), CAPTURE_SIGNAL_NO_CABLE);
	(void)capture_source_close(s);
}

static enum capture_signal signal_of(uint32_t input, uint32_t status)
{
	struct capture_settings settings = {.set_input = true, .input = input};
	struct capture_source_config config = {.path = "/dev/video0",
					       .settings = &settings};
	struct capture_source *s = source_rig_open(&config);
	enum capture_signal signal;

	dev()->input_status = status;
	signal = capture_source_signal(s);
	(void)capture_source_close(s);
	return signal;
}

static void signal_is_what_the_input_says(void **state)
{
	(void)state;
	assert_int_equal(signal_of(FAKE_INPUT_TV, 0), CAPTURE_SIGNAL_OK);
	assert_int_equal(signal_of(FAKE_INPUT_TV, V4L2_IN_ST_NO_SIGNAL),
			 CAPTURE_SIGNAL_NONE);
	assert_int_equal(signal_of(FAKE_INPUT_TV, V4L2_IN_ST_NO_POWER),
			 CAPTURE_SIGNAL_NO_CABLE);
	assert_int_equal(signal_of(FAKE_INPUT_TV, V4L2_IN_ST_NO_H_LOCK),
			 CAPTURE_SIGNAL_NO_LOCK);
	assert_int_equal(signal_of(FAKE_INPUT_TV, V4L2_IN_ST_NO_SYNC),
			 CAPTURE_SIGNAL_NO_LOCK);
	/* A sensor's input cannot tell. */
	assert_int_equal(signal_of(0, 0), CAPTURE_SIGNAL_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SOURCE_RIG_CASE(open_changes_nothing_when_nothing_is_named),
		SOURCE_RIG_CASE(open_changes_nothing_when_it_is_so_already),
		SOURCE_RIG_CASE(format_and_what_it_resets_is_put_back),
		SOURCE_RIG_CASE(a_refused_open_puts_back_too),
		SOURCE_RIG_CASE(
			controls_are_set_by_name_id_and_item_and_put_back),
		SOURCE_RIG_CASE(controls_that_cannot_be_set_are_named),
		SOURCE_RIG_CASE(
			an_open_that_fails_for_another_reason_names_no_setting),
		SOURCE_RIG_CASE(a_control_can_be_set_under_way_and_is_put_back),
		SOURCE_RIG_CASE(what_cannot_be_put_back_is_told),
		SOURCE_RIG_CASE(input_and_timings_are_set_and_all_is_put_back),
		SOURCE_RIG_CASE(what_an_input_changes_is_put_back),
		SOURCE_RIG_CASE(what_someone_else_changes_is_left_alone),
		SOURCE_RIG_CASE(input_and_timings_that_cannot_be_are_named),
		SOURCE_RIG_CASE(crop_and_compose_are_exact_or_refused),
		SOURCE_RIG_CASE(rate_that_cannot_be_set_is_refused_and_named),
		SOURCE_RIG_CASE(settings_are_copied_deeply),
		SOURCE_RIG_CASE(
			control_list_tells_all_there_is_and_changes_nothing),
		SOURCE_RIG_CASE(control_list_of_a_node_without_any_is_empty),
		SOURCE_RIG_CASE(a_new_resolution_is_stale),
		SOURCE_RIG_CASE(a_format_changed_under_way_is_stale),
		SOURCE_RIG_CASE(a_lost_signal_is_told_and_comes_back),
		SOURCE_RIG_CASE(an_event_that_changes_nothing_is_passed_over),
		SOURCE_RIG_CASE(
			an_event_is_seen_though_frames_wait_or_none_come),
		SOURCE_RIG_CASE(signal_is_what_the_receiver_says),
		SOURCE_RIG_CASE(signal_is_what_the_input_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
