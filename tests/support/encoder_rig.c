/* SPDX-License-Identifier: Apache-2.0 */
#include "support/encoder_rig.h"

#include <string.h>

#include "base/crc32c.h"

struct encoder_rig rig;

int encoder_rig_setup(void **state)
{
	(void)state;
	fake_v4l2_reset();
	sys_fault_reset();
	sys_fault_wrap(fake_v4l2_ops());
	rig.camera = fake_v4l2_add(FAKE_CAMERA);
	rig.device = fake_v4l2_add(FAKE_ENCODER);
	rig.source = NULL;
	rig.encoder = NULL;
	return 0;
}

int encoder_rig_teardown(void **state)
{
	(void)state;
	rig.encoder = capture_encoder_close(rig.encoder);
	rig.source = capture_source_close(rig.source);
	return sys_fault_open_fds() || sys_fault_open_maps() ||
	       rig.camera->opens || rig.device->opens;
}

uint64_t encoder_rig_now(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC);
}

void encoder_rig_start(uint32_t fourcc)
{
	struct capture_source_config config = {
		.path = "/dev/video0",
		.fourccs = &fourcc,
		.fourcc_count = 1,
		.width = 64,
		.height = 48,
		.track_id = 7,
	};

	assert_int_equal(capture_source_open(sys_fault(), &config, &rig.source),
			 0);
	assert_int_equal(capture_source_start(rig.source), 0);
}

struct capture_encoder_config encoder_rig_config(enum capture_backend backend,
						 uint32_t codec)
{
	struct capture_encoder_config config;

	capture_encoder_config_init(&config);
	config.backend = backend;
	config.codec = codec;
	config.source = capture_source_format(rig.source);
	config.source_dmabuf = true;
	config.timeout_ns = ENCODER_RIG_TIMEOUT_NS;
	return config;
}

void encoder_rig_open_as(const struct capture_encoder_config *config)
{
	assert_int_equal(
		capture_encoder_open(sys_fault(), config, &rig.encoder), 0);
}

void encoder_rig_open(enum capture_backend backend, uint32_t codec)
{
	struct capture_encoder_config config =
		encoder_rig_config(backend, codec);

	encoder_rig_open_as(&config);
}

struct capture_frame *encoder_rig_frame(void)
{
	struct capture_frame *f;

	assert_int_equal(capture_source_dequeue(rig.source,
						encoder_rig_now() + 1000000000,
						&f),
			 0);
	return f;
}

uint64_t encoder_rig_submit(uint32_t *ret_sequence)
{
	struct capture_frame *f = encoder_rig_frame();
	uint64_t stamp_ns = f->stamp_ns;

	if (ret_sequence)
		*ret_sequence = f->sequence;
	assert_int_equal(capture_encoder_submit(rig.encoder, f), 0);
	(void)capture_frame_unref(f);
	return stamp_ns;
}

uint32_t encoder_rig_crc(uint32_t sequence)
{
	uint8_t bytes[ENCODER_RIG_BYTES];

	memset(bytes, fake_v4l2_pixel(sequence), sizeof(bytes));
	return crc32c(0, bytes, sizeof(bytes));
}

struct capture_packet *encoder_rig_receive(void)
{
	struct capture_packet *p;

	assert_int_equal(capture_encoder_receive(rig.encoder,
						 encoder_rig_now() + 100000000,
						 &p),
			 0);
	return p;
}

int encoder_rig_receive_fails(void)
{
	struct capture_packet *p;
	int r = capture_encoder_receive(rig.encoder, UINT64_MAX, &p);

	assert_true(r < 0);
	return r;
}

struct capture_encoder_stats encoder_rig_stats(void)
{
	struct capture_encoder_stats stats;

	capture_encoder_stats(rig.encoder, &stats);
	return stats;
}
