/* SPDX-License-Identifier: Apache-2.0 */
/* Software encoders of pictures, and what they share. */
#include "src/encoder_soft.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capture/source.h>
#include <linux/videodev2.h>
#if HAVE_AVCODEC
#include <libavutil/mem.h>
#endif

#include "base/bytes.h"
#include "base/macros.h"
#include "src/frame_pool.h"
#include "support/sys_fault.h"

#define WIDTH 32u
#define HEIGHT 24u

static struct capture_format source;
static struct frame_pool *pool;
static struct capture_encoder_config config;
static struct capture_encoder *encoder;

static void new_source(uint32_t fourcc, uint32_t width, uint32_t height)
{
	struct capture_source_config c = {.rung = CAPTURE_RUNG_S5};
	bool yuv = fourcc == CAPTURE_FORMAT_YU12;
	uint32_t stride = yuv ? width : 2 * width;

	source = (struct capture_format){
		.fourcc = fourcc,
		.width = width,
		.height = height,
		.plane_count = 1,
		.stride = {stride},
		.size = {yuv ? stride * height * 3 / 2 : stride * height},
	};
	frame_pool_close(pool);
	assert_int_equal(frame_pool_new(sys_fault(), &source, &c, &pool), 0);
	capture_encoder_config_init(&config);
	config.source = &source;
}

static int setup(void **state)
{
	(void)state;
	sys_fault_reset();
	pool = NULL;
	encoder = NULL;
	new_source(CAPTURE_FORMAT_Y16, WIDTH, HEIGHT);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	encoder = capture_encoder_close(encoder);
	frame_pool_close(pool);
	pool = NULL;
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static void open_codec(uint32_t codec)
{
	config.codec = codec;
	assert_int_equal(capture_encoder_open(sys_fault(), &config, &encoder),
			 0);
}

static int refused(uint32_t codec)
{
	struct capture_encoder *e = NULL;
	int r;

	config.codec = codec;
	r = capture_encoder_open(sys_fault(), &config, &e);
	assert_null(e);
	return r;
}

/* Bytes that are the same in every run. */
static struct capture_frame *noise(uint32_t n)
{
	struct capture_frame *f = frame_pool_take(pool);
	uint32_t random = n;
	uint32_t i;

	assert_non_null(f);
	for (i = 0; i < source.size[0]; i++) {
		random = random * 1664525u + 1013904223u;
		frame_pool_data(f, 0)[i] = (uint8_t)(random >> 24);
	}
	f->sequence = n;
	f->stamp_ns = 1000 + n;
	f->track_id = 4;
	return f;
}

static int submit(uint32_t n)
{
	struct capture_frame *f = noise(n);
	int r = capture_encoder_submit(encoder, f);

	(void)capture_frame_unref(f);
	return r;
}

static struct capture_packet *receive(void)
{
	struct capture_packet *p;

	assert_int_equal(capture_encoder_receive(encoder, 0, &p), 0);
	return p;
}

static struct capture_packet *encode(uint32_t n)
{
	assert_int_equal(submit(n), 0);
	return receive();
}

static struct capture_encoder_stats stats_of(void)
{
	struct capture_encoder_stats stats;

	capture_encoder_stats(encoder, &stats);
	return stats;
}

/* --- what all share ----------------------------------------------------- */

static void origin_moves_on_by_samples(void **state)
{
	struct packet_origin o = {
		.stamp_ns = 5, .device_ticks = 7, .device_hz = 48000};

	(void)state;
	packet_origin_advance(&o, 44100, 44100);
	assert_int_equal(o.stamp_ns, 1000000005);
	assert_int_equal(o.device_ticks, 48007);
	packet_origin_advance(&o, 1, 3);
	assert_int_equal(o.stamp_ns, 1333333338);
	packet_origin_advance(&o, UINT64_C(768000) * 100000000, 768000);
	assert_int_equal(o.stamp_ns, UINT64_C(100000001333333338));
	o = (struct packet_origin){0};
	packet_origin_advance(&o, 100, 8000);
	assert_int_equal(o.device_ticks, 0);
}

static void counts_are_packets_as_they_are(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;
	const uint8_t *data;
	size_t bytes = 1;

	(void)state;
	open_codec(CAPTURE_FORMAT_Y16);
	assert_int_equal(capture_encoder_codec_private(encoder, &data, &bytes),
			 0);
	assert_int_equal(bytes, 0);
	f = noise(3);
	assert_int_equal(capture_encoder_submit(encoder, f), 0);
	p = receive();
	assert_int_equal(p->bytes, WIDTH * HEIGHT * 2);
	assert_memory_equal(p->data, f->planes[0].map, p->bytes);
	assert_int_equal(p->flags, CAPTURE_PACKET_KEY);
	assert_int_equal(p->fourcc, CAPTURE_FORMAT_Y16);
	assert_int_equal(p->sequence, 3);
	assert_int_equal(p->stamp_ns, 1003);
	assert_int_equal(p->track_id, 4);
	assert_ptr_equal(capture_span_data(&p->span), p->data);
	assert_string_equal(stats_of().name, "y16");
	assert_int_equal(stats_of().backend, CAPTURE_BACKEND_SOFTWARE);
	assert_int_equal(stats_of().bytes_touched, WIDTH * HEIGHT * 4);
	(void)capture_packet_unref(p);
	(void)capture_frame_unref(f);
	assert_int_equal(capture_encoder_force_key(encoder), 0);
	assert_int_equal(capture_encoder_set_bitrate(encoder, 1000),
			 -EOPNOTSUPP);
}

static void slots_are_bounded_and_come_back(void **state)
{
	struct capture_packet *p[CAPTURE_SOFTWARE_SLOTS];
	struct capture_packet *none;
	struct capture_frame *f;
	size_t i;

	(void)state;
	open_codec(CAPTURE_FORMAT_Y16);
	for (i = 0; i < ARRAY_SIZE(p); i++)
		assert_int_equal(submit((uint32_t)i), 0);
	assert_int_equal(submit(9), -EAGAIN); /* none was received */
	for (i = 0; i < ARRAY_SIZE(p); i++)
		p[i] = receive();
	assert_int_equal(submit(9), -EAGAIN);
	p[1] = capture_packet_unref(p[1]);
	p[1] = encode(10);
	assert_int_equal(p[1]->sequence, 10);
	assert_int_equal(p[2]->sequence, 2);
	assert_int_equal(capture_encoder_drain(encoder), 0);
	assert_int_equal(submit(11), -EPIPE);
	assert_int_equal(capture_encoder_receive(encoder, 0, &none), -EPIPE);
	/* A packet outlives its encoder. */
	encoder = capture_encoder_close(encoder);
	f = noise(2);
	assert_memory_equal(p[2]->data, f->planes[0].map, p[2]->bytes);
	(void)capture_frame_unref(f);
	for (i = 0; i < ARRAY_SIZE(p); i++)
		(void)capture_packet_unref(p[i]);
}

static void packets_come_in_the_order_of_frames(void **state)
{
	struct capture_packet *p;
	uint32_t i;

	(void)state;
	open_codec(CAPTURE_FORMAT_Y16);
	for (i = 0; i < 3; i++)
		assert_int_equal(submit(i), 0);
	for (i = 0; i < 3; i++) {
		p = receive();
		assert_int_equal(p->sequence, i);
		(void)capture_packet_unref(p);
	}
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EAGAIN);
}

/* No V4L2 device has FFV1 or raw counts: none is asked. */
static void software_codecs_ask_no_device(void **state)
{
	(void)state;
	config.backend = CAPTURE_BACKEND_AUTO;
	sys_fault_only("openat");
	sys_fault_arm(0, 0);
	open_codec(CAPTURE_FORMAT_Y16);
	assert_int_equal(sys_fault_calls(), 0);
	config.backend = CAPTURE_BACKEND_M2M;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EPROTONOSUPPORT);
	assert_int_equal(sys_fault_calls(), 0);
	sys_fault_only(NULL);
}

static void software_refuses_what_it_cannot(void **state)
{
	(void)state;
	config.backend = CAPTURE_BACKEND_SOFTWARE;
	assert_int_equal(refused(CAPTURE_FORMAT_VP8), -EPROTONOSUPPORT);
	config.controls.quality = 0;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EINVAL);
	config.controls.quality = 101;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EINVAL);
	config.controls.quality = -1;
	source.stride[0] = 2 * WIDTH - 2;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EINVAL);
	source.stride[0] = 2 * WIDTH;
	source.fourcc = CAPTURE_FORMAT_YU12;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EPROTONOSUPPORT);
	/* Samples are not pictures, and must be whole. */
	source.media = CAPTURE_MEDIA_SAMPLES;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EINVAL);
	source.sample_rate = 8000;
	source.sample_bytes = 2;
	source.channels = 1;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EPROTONOSUPPORT);
	source.media = CAPTURE_MEDIA_RECORD;
	assert_int_equal(refused(CAPTURE_FORMAT_Y16), -EINVAL);
}

static void sweep(uint32_t codec)
{
	unsigned long n;
	int r;

	config.codec = codec;
	frame_pool_close(pool);
	pool = NULL;
	for (n = 1;; n++) {
		sys_fault_arm(n, -EMFILE);
		r = capture_encoder_open(sys_fault(), &config, &encoder);
		if (!sys_fault_fired())
			break;
		assert_int_equal(r, -EMFILE);
		assert_int_equal(sys_fault_open_fds(), 0);
		assert_int_equal(sys_fault_open_maps(), 0);
	}
	assert_int_equal(r, 0);
	assert_true(n > 3);
	sys_fault_arm(0, 0);
}

static void raw_survives_any_failed_call(void **state)
{
	(void)state;
	sweep(CAPTURE_FORMAT_Y16);
}

/* --- FFV1 --------------------------------------------------------------- */

static void need(int have)
{
	if (!have)
		skip();
}

static void ffv1_packets_are_key_frames_of_version_3(void **state)
{
	struct capture_packet *p;
	const uint8_t *data;
	size_t bytes = 0;
	uint32_t i;

	(void)state;
	need(HAVE_AVCODEC);
	new_source(CAPTURE_FORMAT_Y16, 160, 120);
	open_codec(CAPTURE_FORMAT_FFV1);
	assert_int_equal(capture_encoder_codec_private(encoder, &data, &bytes),
			 0);
	assert_non_null(data);
	assert_in_range(bytes, 8, 1000);
	assert_string_equal(stats_of().name, "ffv1");
	for (i = 0; i < 10; i++) {
		p = encode(i);
		assert_int_equal(p->flags, CAPTURE_PACKET_KEY);
		/* Noise cannot be packed, and must fit all the same. */
		assert_true(p->bytes > 160 * 120 * 2);
		assert_int_equal(p->sequence, i);
		(void)capture_packet_unref(p);
	}
	assert_int_equal(stats_of().packets_error, 0);
	assert_int_equal(stats_of().packets_key, 10);
}

static void ffv1_refuses_what_it_cannot(void **state)
{
	(void)state;
	need(HAVE_AVCODEC);
	source.width = 7;
	assert_int_equal(refused(CAPTURE_FORMAT_FFV1), -ERANGE);
	source.width = WIDTH;
	source.height = 4097;
	assert_int_equal(refused(CAPTURE_FORMAT_FFV1), -ERANGE);
	source.height = 4096;
	source.width = 513;
	source.stride[0] = 2 * 513;
	assert_int_equal(refused(CAPTURE_FORMAT_FFV1), -ERANGE);
	source.width = WIDTH;
	source.stride[0] = 2 * WIDTH;
	source.height = HEIGHT;
	source.fourcc = CAPTURE_FORMAT_YUYV;
	assert_int_equal(refused(CAPTURE_FORMAT_FFV1), -EPROTONOSUPPORT);
}

static void ffv1_survives_any_failed_call(void **state)
{
	(void)state;
	need(HAVE_AVCODEC);
	sweep(CAPTURE_FORMAT_FFV1);
}

#if HAVE_AVCODEC
/* One encoder from open to close with no block over @bytes_max. */
static int run_limited(size_t bytes_max)
{
	struct capture_packet *p;
	int r;

	av_max_alloc(bytes_max);
	config.codec = CAPTURE_FORMAT_FFV1;
	r = capture_encoder_open(sys_fault(), &config, &encoder);
	if (r == 0) {
		r = submit(1);
		if (r == 0)
			(void)capture_packet_unref(receive());
		else /* it has failed for good, and says so */
			assert_int_equal(
				capture_encoder_receive(encoder, 0, &p), -EIO);
	}
	encoder = capture_encoder_close(encoder);
	av_max_alloc(INT32_MAX);
	return r;
}
#endif

/* libavcodec is refused memory: first all, then only the larger blocks. */
static void ffv1_survives_want_of_memory(void **state)
{
	(void)state;
	need(HAVE_AVCODEC);
#if HAVE_AVCODEC
	unsigned int failed_open = 0;
	size_t bytes;
	int r = -1;

	/* So large that its picture is the largest block of an open. */
	new_source(CAPTURE_FORMAT_Y16, 1024, 768);
	for (bytes = 33; bytes < (128u << 20); bytes += bytes / 8) {
		r = run_limited(bytes);
		assert_true(r == 0 || r == -ENOMEM || r == -EIO);
		failed_open += r != 0;
	}
	assert_true(failed_open > 20);
	assert_int_equal(r, 0);
#endif
}

/* --- JPEG --------------------------------------------------------------- */

static size_t jpeg_bytes(int quality)
{
	struct capture_packet *p;
	size_t bytes;

	config.controls.quality = quality;
	open_codec(CAPTURE_FORMAT_JPEG);
	p = encode(1);
	bytes = p->bytes;
	assert_int_equal(load_be16(p->data), 0xffd8);
	assert_int_equal(load_be16(p->data + bytes - 2), 0xffd9);
	assert_int_equal(p->flags, CAPTURE_PACKET_KEY);
	(void)capture_packet_unref(p);
	assert_string_equal(stats_of().name, "turbojpeg");
	assert_int_equal(stats_of().bytes_copied_out, 0);
	encoder = capture_encoder_close(encoder);
	return bytes;
}

static void jpeg_grows_with_its_quality(void **state)
{
	(void)state;
	need(HAVE_TURBOJPEG);
	new_source(CAPTURE_FORMAT_YU12, 64, 48);
	config.backend = CAPTURE_BACKEND_SOFTWARE;
	assert_true(jpeg_bytes(20) < jpeg_bytes(85));
	assert_int_equal(jpeg_bytes(85), jpeg_bytes(-1));
	assert_true(jpeg_bytes(85) < jpeg_bytes(100));
}

/* What is of the full range already is not touched. */
static void jpeg_stretches_the_limited_range_alone(void **state)
{
	(void)state;
	need(HAVE_TURBOJPEG);
	new_source(CAPTURE_FORMAT_YU12, 64, 48);
	config.backend = CAPTURE_BACKEND_SOFTWARE;
	open_codec(CAPTURE_FORMAT_JPEG);
	(void)capture_packet_unref(encode(1));
	assert_int_equal(stats_of().copies, 1);
	assert_int_equal(stats_of().bytes_touched, 64 * 48 * 3);
	encoder = capture_encoder_close(encoder);
	source.quantization = V4L2_QUANTIZATION_FULL_RANGE;
	open_codec(CAPTURE_FORMAT_JPEG);
	(void)capture_packet_unref(encode(1));
	assert_int_equal(stats_of().copies, 0);
	assert_int_equal(stats_of().bytes_touched, 0);
}

static void jpeg_refuses_what_it_cannot(void **state)
{
	(void)state;
	need(HAVE_TURBOJPEG);
	config.backend = CAPTURE_BACKEND_SOFTWARE;
	assert_int_equal(refused(CAPTURE_FORMAT_JPEG), -EPROTONOSUPPORT);
	new_source(CAPTURE_FORMAT_YU12, 64, 48);
	config.backend = CAPTURE_BACKEND_SOFTWARE;
	source.height = 47;
	assert_int_equal(refused(CAPTURE_FORMAT_JPEG), -ERANGE);
	source.height = 48;
	source.stride[0] = 63;
	assert_int_equal(refused(CAPTURE_FORMAT_JPEG), -EINVAL);
}

static void jpeg_survives_any_failed_call(void **state)
{
	(void)state;
	need(HAVE_TURBOJPEG);
	new_source(CAPTURE_FORMAT_YU12, 64, 48);
	config.backend = CAPTURE_BACKEND_SOFTWARE;
	sweep(CAPTURE_FORMAT_JPEG);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(origin_moves_on_by_samples),
		CASE(counts_are_packets_as_they_are),
		CASE(slots_are_bounded_and_come_back),
		CASE(packets_come_in_the_order_of_frames),
		CASE(software_codecs_ask_no_device),
		CASE(software_refuses_what_it_cannot),
		CASE(raw_survives_any_failed_call),
		CASE(ffv1_packets_are_key_frames_of_version_3),
		CASE(ffv1_refuses_what_it_cannot),
		CASE(ffv1_survives_any_failed_call),
		CASE(ffv1_survives_want_of_memory),
		CASE(jpeg_grows_with_its_quality),
		CASE(jpeg_stretches_the_limited_range_alone),
		CASE(jpeg_refuses_what_it_cannot),
		CASE(jpeg_survives_any_failed_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
