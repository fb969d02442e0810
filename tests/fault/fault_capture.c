/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails each system call that libcapture makes, one per run: the error is
 * told or mended, no descriptor or map stays, every buffer comes back, and
 * what can be used again works.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <capture/device.h>
#include <capture/encoder.h>
#include <capture/settings.h>
#include <capture/source.h>

#include "base/macros.h"
#include "src/queue_canary.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

/* Far more than any run makes: the sweep itself is bounded. */
#define CALLS_MAX 2000u
/* Failed turns in a row after which a run gives its object up. */
#define TRIES_MAX 20

static const int errors[] = {-EIO, -ENOMEM, -EMFILE, -ENODEV, -EINVAL, -EBUSY};

static struct fake_v4l2 *camera;
static struct fake_v4l2 *device;

static uint64_t soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + 1000000000;
}

static int open_stream(struct capture_source **ret)
{
	static const uint32_t fourccs[] = {CAPTURE_FORMAT_YU12};
	struct capture_source_config config = {
		.path = "/dev/video0",
		.fourccs = fourccs,
		.fourcc_count = 1,
		.width = 64,
		.height = 48,
		.rate_num = 30,
		.rate_den = 1,
	};

	return capture_source_open(sys_fault(), &config, ret);
}

/* Five frames, started again after every trouble that allows it. */
static int run_stream(struct capture_source *s)
{
	struct capture_frame *f;
	int frames = 0;
	int tries = 0;
	int r = -EIO;

	while (frames < 5 && tries++ < TRIES_MAX) {
		r = capture_source_start(s);
		if (r < 0)
			continue;
		while (frames < 5) {
			r = capture_source_dequeue(s, soon(), &f);
			if (r < 0)
				break;
			frames++;
			(void)capture_frame_unref(f);
		}
		(void)capture_source_stop(s);
	}
	return frames == 5 ? 0 : r;
}

static int stream_operation(void)
{
	struct capture_source *s;
	int r;

	r = open_stream(&s);
	if (r < 0)
		return r;
	r = run_stream(s);
	/* One fault was put in: the second start must have worked. */
	assert_int_equal(r, 0);
	(void)capture_source_close(s);
	return r;
}

/* Everything that can be set, and all of it put back. */
static int settings_operation(void)
{
	static const struct capture_control_setting controls[] = {
		{.name = "brightness", .value = 45},
		{.name = "test_pattern", .item = "walking_1s"},
	};
	static const struct capture_rect crop = {16, 8, 96, 64};
	const struct capture_settings settings = {
		.set_input = true,
		.input = FAKE_INPUT_HDMI,
		.timings = CAPTURE_TIMINGS_AUTO,
		.controls = controls,
		.control_count = ARRAY_SIZE(controls),
		.crop = &crop,
		.compose = &crop,
	};
	struct capture_source_config config = {
		.path = "/dev/video0",
		.rate_num = 15,
		.rate_den = 1,
		.borrow_max = 1,
		.settings = &settings,
	};
	struct fake_state before = fake_v4l2_state(camera);
	struct fake_state after;
	struct capture_source *s;
	int r;

	r = capture_source_open(sys_fault(), &config, &s);
	if (r < 0)
		return r;
	r = run_stream(s);
	assert_int_equal(r, 0);
	r = capture_source_restore(s);
	(void)capture_source_close(s);
	after = fake_v4l2_state(camera);
	/* It was told when it is not as it was. */
	if (r == 0)
		assert_memory_equal(&after, &before, sizeof(after));
	return r > 0 ? -EIO : r;
}

static int control_operation(void)
{
	struct capture_control_list *list;
	int r;

	r = capture_control_list_new(sys_fault(), "/dev/video0", &list);
	if (r < 0)
		return r;
	/* -EINVAL is how the list ends. */
	assert_true(list->count > 0 || sys_fault_fired());
	(void)capture_control_list_free(list);
	return 0;
}

static int data_operation(void)
{
	struct capture_source_config config = {.path = "/dev/video2"};
	struct capture_source *s;
	int i;
	int r;

	for (i = 2; i < 4; i++) {
		config.path = i == 2 ? "/dev/video2" : "/dev/video3";
		config.sample_rate = i == 2 ? 2400000 : 0;
		r = capture_source_open(sys_fault(), &config, &s);
		if (r < 0)
			return r;
		assert_int_equal(run_stream(s), 0);
		(void)capture_source_close(s);
	}
	return 0;
}

static int device_operation(void)
{
	struct capture_device_list *list;
	struct capture_device *d;
	int r;

	r = capture_device_list_new(sys_fault(), &list);
	if (r < 0)
		return r;
	(void)capture_device_list_free(list);
	r = capture_device_query(sys_fault(), "/dev/video1", &d);
	if (r < 0)
		return r;
	(void)capture_device_free(d);
	return 0;
}

static int receive_all(struct capture_encoder *e, int *packets)
{
	struct capture_packet *p;
	int r;

	for (;;) {
		r = capture_encoder_receive(e, soon(), &p);
		if (r < 0)
			return r;
		(*packets)++;
		(void)capture_packet_unref(p);
	}
}

static int encode_frames(struct capture_source *s, struct capture_encoder *e)
{
	struct capture_frame *f;
	int packets = 0;
	int i;
	int r;

	for (i = 0; i < 5; i++) {
		r = capture_source_dequeue(s, soon(), &f);
		if (r < 0)
			return r;
		r = capture_encoder_submit(e, f);
		(void)capture_frame_unref(f);
		if (r < 0)
			return r;
		r = receive_all(e, &packets);
		if (r != -EAGAIN)
			return r;
	}
	r = capture_encoder_drain(e);
	if (r == 0)
		r = receive_all(e, &packets);
	return r == -EPIPE ? 0 : r;
}

static int encode_operation(enum capture_backend backend)
{
	struct capture_encoder_config config;
	struct capture_encoder *e = NULL;
	struct capture_source *s;
	int r;

	r = open_stream(&s);
	if (r < 0)
		return r;
	capture_encoder_config_init(&config);
	config.backend = backend;
	config.path = backend == CAPTURE_BACKEND_M2M ? "/dev/video1" : NULL;
	config.source = capture_source_format(s);
	config.source_dmabuf = true;
	config.controls.bitrate = 500000;
	r = capture_encoder_open(sys_fault(), &config, &e);
	if (r == 0)
		r = capture_source_start(s);
	if (r == 0)
		r = encode_frames(s, e);
	(void)capture_encoder_close(e);
	(void)capture_source_close(s);
	return r;
}

static int m2m_operation(void)
{
	return encode_operation(CAPTURE_BACKEND_M2M);
}

static void begin(void)
{
	int fd;

	fake_v4l2_reset();
	sys_fault_reset();
	queue_canary_forget();
	sys_fault_wrap(fake_v4l2_ops());
	camera = fake_v4l2_add(FAKE_CAMERA);
	device = fake_v4l2_add(FAKE_ENCODER);
	(void)fake_v4l2_add(FAKE_RADIO);
	(void)fake_v4l2_add(FAKE_METADATA);
	/* The first open gives the camera its format. */
	fd = fake_v4l2_ops()->openat(AT_FDCWD, "/dev/video0", O_RDWR, 0);
	(void)fake_v4l2_ops()->close(fd);
}

static void check_nothing_left(void)
{
	assert_int_equal(sys_fault_open_fds(), 0);
	assert_int_equal(sys_fault_open_maps(), 0);
	assert_int_equal(camera->opens, 0);
	assert_int_equal(device->opens, 0);
}

/* Prepares the fakes of one world: rungs differ in the calls they make. */
static void world_best(void)
{
}

static void world_exported(void)
{
	fake_v4l2_udmabuf(false);
}

static void world_heap(void)
{
	fake_v4l2_udmabuf(false);
	fake_v4l2_heap(true);
	camera->no_export = true;
}

static void world_plain(void)
{
	camera->no_import = true;
	camera->no_export = true;
	device->no_import = true;
	device->no_export = true;
	device->no_stop = true;
}

/* S2, that turns out not to be what the driver writes to. */
static void world_huge(void)
{
	fake_v4l2_huge_pages(true);
	camera->contiguous = true;
	camera->writes_heads = true;
}

static void (*const worlds[])(void) = {world_best, world_exported, world_heap,
				       world_plain, world_huge};

static void sweep_one(int (*operation)(void), void (*world)(void), int err)
{
	unsigned long n;
	int r;

	for (n = 1; n < CALLS_MAX; n++) {
		begin();
		world();
		sys_fault_arm(n, err);
		r = operation();
		check_nothing_left();
		if (!sys_fault_fired()) {
			assert_int_equal(r, 0);
			return;
		}
		/* The same once more, undisturbed. */
		sys_fault_arm(0, 0);
		assert_int_equal(operation(), 0);
		check_nothing_left();
	}
	fail_msg("more than %u calls", CALLS_MAX);
}

static void sweep(int (*operation)(void))
{
	size_t e;
	size_t w;

	for (w = 0; w < ARRAY_SIZE(worlds); w++) {
		for (e = 0; e < ARRAY_SIZE(errors); e++)
			sweep_one(operation, worlds[w], errors[e]);
	}
}

static void devices_survive_any_failed_call(void **state)
{
	(void)state;
	sweep(device_operation);
}

static void stream_survives_any_failed_call(void **state)
{
	(void)state;
	sweep(stream_operation);
}

static void settings_survive_any_failed_call(void **state)
{
	(void)state;
	sweep(settings_operation);
	sweep(control_operation);
}

static void radio_and_metadata_survive_any_failed_call(void **state)
{
	(void)state;
	sweep(data_operation);
}

static void m2m_survives_any_failed_call(void **state)
{
	(void)state;
	sweep(m2m_operation);
}

#if HAVE_OPENH264
static int software_operation(void)
{
	return encode_operation(CAPTURE_BACKEND_SOFTWARE);
}

static void software_survives_any_failed_call(void **state)
{
	(void)state;
	sweep_one(software_operation, world_best, -EIO);
}
#endif

/* Everything fails from the n-th call on: a device that dies. */
static void stream_survives_a_device_that_dies(void **state)
{
	struct capture_source *s;
	unsigned long n;

	(void)state;
	for (n = 1; n < CALLS_MAX; n++) {
		begin();
		sys_fault_arm_sticky(n, -ENODEV);
		if (open_stream(&s) == 0) {
			(void)run_stream(s);
			(void)capture_source_close(s);
		}
		check_nothing_left();
		if (!sys_fault_fired())
			return;
	}
	fail_msg("more than %u calls", CALLS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(devices_survive_any_failed_call),
		cmocka_unit_test(stream_survives_any_failed_call),
		cmocka_unit_test(settings_survive_any_failed_call),
		cmocka_unit_test(radio_and_metadata_survive_any_failed_call),
		cmocka_unit_test(m2m_survives_any_failed_call),
#if HAVE_OPENH264
		cmocka_unit_test(software_survives_any_failed_call),
#endif
		cmocka_unit_test(stream_survives_a_device_that_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
