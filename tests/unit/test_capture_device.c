/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/device.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"
#include "support/fake_v4l2.h"

static int reset(void **state)
{
	(void)state;
	fake_v4l2_reset();
	return 0;
}

static struct capture_device *query(const char *path)
{
	struct capture_device *d;

	assert_int_equal(capture_device_query(fake_v4l2_ops(), path, &d), 0);
	return d;
}

static void device_query_tells_formats_sizes_and_rates(void **state)
{
	const struct capture_format_info *f;
	struct capture_device *d;

	(void)state;
	fake_v4l2_add(FAKE_CAMERA);
	d = query("/dev/video0");
	assert_int_equal(d->kind, CAPTURE_DEVICE_CAMERA);
	assert_string_equal(d->driver, "fake");
	assert_string_equal(d->card, "fake card");
	assert_string_equal(d->bus_info, "platform:f");
	assert_false(d->multiplanar);
	assert_int_equal(d->format_count, 3);
	assert_int_equal(d->input_format_count, 0);
	f = capture_device_format(d, CAPTURE_FORMAT_NV12);
	assert_non_null(f);
	/* The driver filled all 32 bytes, without an end. */
	assert_int_equal(strlen(f->description), 32);
	assert_int_equal(f->size_count, 2);
	assert_int_equal(f->sizes[1].max_width, 128);
	assert_int_equal(f->sizes[1].min_height, 96);
	assert_int_equal(f->sizes[0].rate_count, 2);
	assert_int_equal(f->sizes[0].rates[1].max_num, 30);
	assert_int_equal(f->sizes[0].rates[1].max_den, 1);
	assert_null(capture_device_format(d, CAPTURE_FORMAT_H264));
	(void)capture_device_free(d);
}

static void device_query_tells_encoder_from_decoder_by_queues(void **state)
{
	struct capture_device *d;

	(void)state;
	fake_v4l2_add(FAKE_DECODER);
	fake_v4l2_add(FAKE_ENCODER)->mplane = true;
	d = query("/dev/video0");
	assert_int_equal(d->kind, CAPTURE_DEVICE_DECODER);
	(void)capture_device_free(d);
	d = query("/dev/video1");
	assert_int_equal(d->kind, CAPTURE_DEVICE_ENCODER);
	assert_true(d->multiplanar);
	assert_true(d->formats[0].compressed);
	assert_int_equal(d->input_format_count, 4);
	(void)capture_device_free(d);
}

static void device_query_refuses_what_is_no_video_node(void **state)
{
	struct capture_device *d = NULL;
	char path[CAPTURE_PATH_BYTES + 1];

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(capture_device_query(fake_v4l2_ops(), "/dev/null", &d),
			 -ENODEV);
	assert_int_equal(capture_device_query(fake_v4l2_ops(), "/dev/video9",
					      &d), -ENOENT);
	assert_int_equal(capture_device_query(fake_v4l2_ops(), path, &d),
			 -ENAMETOOLONG);
	assert_null(d);
}

static void device_list_leaves_out_what_cannot_be_opened(void **state)
{
	struct capture_device_list *list;

	(void)state;
	fake_v4l2_add(FAKE_CAMERA)->unplugged = true;
	fake_v4l2_add(FAKE_CAMERA);
	fake_v4l2_add(FAKE_ENCODER);
	assert_int_equal(capture_device_list_new(fake_v4l2_ops(), &list), 0);
	assert_int_equal(list->count, 2);
	assert_string_equal(list->devices[0]->path, "/dev/video1");
	assert_string_equal(list->devices[1]->path, "/dev/video2");
	(void)capture_device_list_free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
			device_query_tells_formats_sizes_and_rates, reset),
		cmocka_unit_test_setup(
			device_query_tells_encoder_from_decoder_by_queues,
			reset),
		cmocka_unit_test_setup(
			device_query_refuses_what_is_no_video_node, reset),
		cmocka_unit_test_setup(
			device_list_leaves_out_what_cannot_be_opened, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
