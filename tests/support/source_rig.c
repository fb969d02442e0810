/* SPDX-License-Identifier: Apache-2.0 */
#include "support/source_rig.h"

struct fake_v4l2 *source_rig_camera;

int source_rig_setup(void **state)
{
	(void)state;
	fake_v4l2_reset();
	sys_fault_reset();
	sys_fault_wrap(fake_v4l2_ops());
	source_rig_camera = fake_v4l2_add(FAKE_CAMERA);
	return 0;
}

int source_rig_teardown(void **state)
{
	(void)state;
	return sys_fault_open_fds() || sys_fault_open_maps() ||
	       source_rig_camera->opens;
}

struct capture_source_config source_rig_config(void)
{
	static const uint32_t fourccs[] = {CAPTURE_FORMAT_YU12};
	struct capture_source_config config = {
		.path = "/dev/video0",
		.fourccs = fourccs,
		.fourcc_count = 1,
		.width = 64,
		.height = 48,
		.track_id = 3,
	};

	return config;
}

struct capture_source *
source_rig_open(const struct capture_source_config *config)
{
	struct capture_source *s;

	assert_int_equal(capture_source_open(sys_fault(), config, &s), 0);
	return s;
}

struct capture_source *
source_rig_open_on(const struct capture_source_config *config)
{
	struct capture_source *s = source_rig_open(config);

	assert_int_equal(capture_source_start(s), 0);
	return s;
}

int source_rig_refused(const struct capture_source_config *config)
{
	struct capture_source *s = NULL;
	int r = capture_source_open(sys_fault(), config, &s);

	assert_null(s);
	return r;
}

uint64_t source_rig_soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + UINT64_C(1000000000);
}

struct capture_frame *source_rig_next(struct capture_source *s)
{
	struct capture_frame *f;

	assert_int_equal(capture_source_dequeue(s, source_rig_soon(), &f), 0);
	return f;
}

int source_rig_dequeue_fails(struct capture_source *s)
{
	struct capture_frame *f = NULL;
	int r = capture_source_dequeue(s, source_rig_soon(), &f);

	assert_null(f);
	return r;
}

struct capture_source_stats source_rig_stats(const struct capture_source *s)
{
	struct capture_source_stats stats;

	capture_source_stats(s, &stats);
	return stats;
}
