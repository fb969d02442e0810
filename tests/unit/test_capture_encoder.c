/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/encoder.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <capture/source.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/macros.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

#define YU12_BYTES (64 * 48 * 3 / 2)

static struct fake_v4l2 *camera;
static struct fake_v4l2 *device;
static struct capture_source *stream;
static struct capture_encoder *encoder;

static int setup(void **state)
{
	(void)state;
	fake_v4l2_reset();
	sys_fault_reset();
	sys_fault_wrap(fake_v4l2_ops());
	camera = fake_v4l2_add(FAKE_CAMERA);
	device = fake_v4l2_add(FAKE_ENCODER);
	stream = NULL;
	encoder = NULL;
	return 0;
}

/* Nothing may be left: every frame and packet went back. */
static int teardown(void **state)
{
	(void)state;
	encoder = capture_encoder_close(encoder);
	stream = capture_source_close(stream);
	return sys_fault_open_fds() || sys_fault_open_maps() || camera->opens ||
	       device->opens;
}

static uint64_t now(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC);
}

static void start_camera(uint32_t fourcc)
{
	struct capture_source_config config = {
		.path = "/dev/video0",
		.fourccs = &fourcc,
		.fourcc_count = 1,
		.width = 64,
		.height = 48,
		.track_id = 7,
	};

	assert_int_equal(capture_source_open(sys_fault(), &config, &stream), 0);
	assert_int_equal(capture_source_start(stream), 0);
}

static struct capture_encoder_config config_of(enum capture_backend backend)
{
	struct capture_encoder_config config;

	capture_encoder_config_init(&config);
	config.backend = backend;
	config.source = capture_source_format(stream);
	config.source_dmabuf = true;
	config.timeout_ns = 500000000;
	return config;
}

static void open_backend(enum capture_backend backend)
{
	struct capture_encoder_config config = config_of(backend);

	assert_int_equal(capture_encoder_open(sys_fault(), &config, &encoder),
			 0);
}

static void open_m2m(void)
{
	start_camera(CAPTURE_FORMAT_YU12);
	open_backend(CAPTURE_BACKEND_M2M);
}

static struct capture_frame *next_frame(void)
{
	struct capture_frame *f;

	assert_int_equal(capture_source_dequeue(stream, now() + 1000000000, &f),
			 0);
	return f;
}

/* Sends one frame in; what it was comes back. */
static uint64_t submit_one(uint32_t *ret_sequence)
{
	struct capture_frame *f = next_frame();
	uint64_t stamp_ns = f->stamp_ns;

	if (ret_sequence)
		*ret_sequence = f->sequence;
	assert_int_equal(capture_encoder_submit(encoder, f), 0);
	(void)capture_frame_unref(f);
	return stamp_ns;
}

static struct capture_packet *receive_one(void)
{
	struct capture_packet *p;

	assert_int_equal(
		capture_encoder_receive(encoder, now() + 100000000, &p), 0);
	return p;
}

static struct capture_encoder_stats stats_of(void)
{
	struct capture_encoder_stats stats;

	capture_encoder_stats(encoder, &stats);
	return stats;
}

/* The checksum in the fake's packet, and what it must be. */
static uint32_t crc_in(const struct capture_packet *p)
{
	assert_int_equal(p->bytes, FAKE_V4L2_PACKET_BYTES);
	return load_be32(p->data + 44);
}

static uint32_t crc_of_frame(uint32_t sequence)
{
	uint8_t bytes[YU12_BYTES];

	memset(bytes, fake_v4l2_pixel(sequence), sizeof(bytes));
	return crc32c(0, bytes, sizeof(bytes));
}

static int refused(const struct capture_encoder_config *config)
{
	struct capture_encoder *e = NULL;
	int r = capture_encoder_open(sys_fault(), config, &e);

	assert_null(e);
	return r;
}

/* --- opening ------------------------------------------------------------ */

static void encoder_is_found_by_capability(void **state)
{
	struct fake_v4l2 *other = fake_v4l2_add(FAKE_DECODER);

	(void)state;
	open_m2m();
	assert_int_equal(device->opens, 1);
	assert_int_equal(other->opens, 0);
	assert_int_equal(capture_encoder_codec(encoder), CAPTURE_FORMAT_FWHT);
	assert_true(capture_encoder_fd(encoder) >= 0);
}

static void encoder_says_why_it_cannot_open(void **state)
{
	struct capture_format source;
	struct capture_encoder_config config;

	(void)state;
	start_camera(CAPTURE_FORMAT_YU12);
	config = config_of(CAPTURE_BACKEND_M2M);
	config.codec = CAPTURE_FORMAT_H264;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	config.codec = 0;
	config.path = "/dev/video0";
	assert_int_equal(refused(&config), -ENODEV);
	config.path = "/dev/video9";
	assert_int_equal(refused(&config), -ENOENT);
	config.path = NULL;
	source = *config.source;
	source.fourcc = CAPTURE_FORMAT_UYVY;
	config.source = &source;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	source = *capture_source_format(stream);
	source.width = 66;
	assert_int_equal(refused(&config), -ERANGE);
	source.width = 0;
	assert_int_equal(refused(&config), -EINVAL);
	config = config_of(CAPTURE_BACKEND_SOFTWARE);
	config.codec = CAPTURE_FORMAT_FWHT;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	config = config_of(CAPTURE_BACKEND_M2M);
	device->busy = true;
	assert_int_equal(refused(&config), -EBUSY);
}

static void encoder_sets_only_controls_that_exist(void **state)
{
	struct capture_encoder_config config;

	(void)state;
	start_camera(CAPTURE_FORMAT_YU12);
	config = config_of(CAPTURE_BACKEND_M2M);
	config.controls.bitrate = 600000;
	config.controls.gop_frames = 30;
	config.controls.qp = 20; /* the fake has no such control */
	assert_int_equal(capture_encoder_open(sys_fault(), &config, &encoder),
			 0);
	assert_int_equal(device->bitrate, 600000);
	assert_int_equal(device->gop, 30);
	assert_int_equal(capture_encoder_set_bitrate(encoder, 300000), 0);
	assert_int_equal(device->bitrate, 300000);
}

/* --- frames through an M2M device --------------------------------------- */

static void m2m_imports_frames_without_touching_them(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;
	int i;

	(void)state;
	open_m2m();
	for (i = 0; i < 10; i++) {
		submit_one(&sequence);
		p = receive_one();
		assert_int_equal(crc_in(p), crc_of_frame(sequence));
		(void)capture_packet_unref(p);
	}
	assert_true(stats_of().source_imported);
	assert_int_equal(stats_of().frames_in, 10);
	assert_int_equal(stats_of().packets_out, 10);
	assert_int_equal(stats_of().copies, 0);
	assert_int_equal(stats_of().bytes_touched, 0);
	assert_true(device->imports >= 10);
}

static void m2m_copies_and_counts_without_descriptors(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	camera->no_import = true;
	camera->no_export = true;
	open_m2m();
	submit_one(&sequence);
	p = receive_one();
	/* fits_import() said yes at open; the first frame showed it was no. */
	assert_int_equal(crc_in(p), crc_of_frame(sequence));
	(void)capture_packet_unref(p);
	assert_false(stats_of().source_imported);
	assert_int_equal(stats_of().copies, 1);
	assert_int_equal(stats_of().bytes_touched, 2 * YU12_BYTES);
}

static void m2m_falls_back_to_copies_when_import_faults(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	device->import_faults = true;
	open_m2m();
	submit_one(&sequence);
	p = receive_one();
	assert_int_equal(crc_in(p), crc_of_frame(sequence));
	(void)capture_packet_unref(p);
	assert_int_equal(stats_of().copies, 1);
	assert_int_equal(stats_of().rung, CAPTURE_RUNG_S3);
}

static void m2m_copies_into_other_strides(void **state)
{
	struct capture_packet *p;

	(void)state;
	device->stride_align = 256;
	open_m2m();
	submit_one(NULL);
	p = receive_one();
	/* The device read its whole, wider memory: only the counters tell. */
	assert_int_equal(stats_of().copies, 1);
	assert_int_equal(stats_of().bytes_touched, 2 * YU12_BYTES);
	(void)capture_packet_unref(p);
}

static void m2m_works_with_planes_of_their_own(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	camera->mplane = true;
	device->mplane = true;
	start_camera(CAPTURE_FORMAT_YM12);
	open_backend(CAPTURE_BACKEND_M2M);
	submit_one(&sequence);
	p = receive_one();
	assert_int_equal(crc_in(p), crc_of_frame(sequence));
	assert_int_equal(stats_of().copies, 0);
	assert_true(stats_of().source_imported);
	(void)capture_packet_unref(p);
}

/* The fake fills CAPTURE buffers last in, first out: indexes do not match. */
static void m2m_pairs_packets_with_frames_by_key(void **state)
{
	uint64_t stamps[4];
	uint32_t sequences[4];
	struct capture_packet *p;
	int i;

	(void)state;
	open_m2m();
	for (i = 0; i < 4; i++)
		stamps[i] = submit_one(&sequences[i]);
	for (i = 0; i < 4; i++) {
		p = receive_one();
		assert_int_equal(p->stamp_ns, stamps[i]);
		assert_int_equal(p->sequence, sequences[i]);
		assert_int_equal(p->track_id, 7);
		assert_int_equal(p->clock, CAPTURE_CLOCK_MONOTONIC);
		assert_int_equal(p->point, CAPTURE_POINT_START_OF_EXPOSURE);
		assert_int_equal(crc_in(p), crc_of_frame(sequences[i]));
		(void)capture_packet_unref(p);
	}
	assert_int_equal(stats_of().packets_unpaired, 0);
}

static void m2m_counts_frames_that_the_encoder_skipped(void **state)
{
	struct capture_packet *p;
	uint64_t stamp_ns;

	(void)state;
	open_m2m();
	device->skip_packets = 2;
	submit_one(NULL);
	submit_one(NULL);
	stamp_ns = submit_one(NULL);
	p = receive_one();
	assert_int_equal(p->stamp_ns, stamp_ns);
	(void)capture_packet_unref(p);
	/* Till now they might only be late. */
	assert_int_equal(stats_of().frames_skipped, 0);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EAGAIN);
	assert_int_equal(capture_encoder_drain(encoder), 0);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EPIPE);
	assert_int_equal(stats_of().frames_skipped, 2);
}

static void m2m_gives_useless_packets_back_and_counts(void **state)
{
	struct capture_packet *p;
	int i;

	(void)state;
	open_m2m();
	device->error_frames = 1;
	device->short_frames = 1;
	device->strange_keys = 1;
	/* The fake spoils one packet in all three ways, then none. */
	submit_one(NULL);
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EAGAIN);
	assert_int_equal(stats_of().packets_error, 1);
	device->strange_keys = 1;
	submit_one(NULL);
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EAGAIN);
	assert_int_equal(stats_of().packets_unpaired, 1);
	for (i = 0; i < 8; i++) {
		submit_one(NULL);
		(void)capture_packet_unref(receive_one());
	}
	assert_int_equal(fake_v4l2_queued(device), CAPTURE_ENCODER_BUFFERS);
}

static void m2m_finds_key_frames_in_the_bitstream(void **state)
{
	struct capture_packet *p;
	int i;

	(void)state;
	open_m2m();
	device->gop = 3;
	for (i = 0; i < 7; i++) {
		if (i == 5)
			assert_int_equal(capture_encoder_force_key(encoder), 0);
		submit_one(NULL);
		p = receive_one();
		assert_int_equal(!!(p->flags & CAPTURE_PACKET_KEY),
				 i % 3 == 0 || i == 5);
		assert_false(p->flags & CAPTURE_PACKET_DRIVER_KEY);
		(void)capture_packet_unref(p);
	}
	assert_int_equal(stats_of().packets_key, 4);
	device->no_controls = true;
	assert_int_equal(capture_encoder_force_key(encoder), -EOPNOTSUPP);
}

/* --- ownership ---------------------------------------------------------- */

static void m2m_gives_the_frame_back_when_it_was_read(void **state)
{
	(void)state;
	open_m2m();
	device->hang = true;
	submit_one(NULL);
	submit_one(NULL);
	assert_int_equal(fake_v4l2_queued(camera), 2);
	encoder = capture_encoder_close(encoder); /* cancelled */
	assert_int_equal(fake_v4l2_queued(camera), 4);
}

static void m2m_refuses_frames_when_it_has_no_room(void **state)
{
	struct capture_frame *f;
	int i;

	(void)state;
	open_m2m();
	device->hang = true;
	for (i = 0; i < 3; i++)
		submit_one(NULL);
	f = next_frame();
	assert_int_equal(capture_encoder_submit(encoder, f), 0);
	assert_int_equal(capture_encoder_submit(encoder, f), -EAGAIN);
	assert_int_equal(stats_of().frames_in, 4);
	(void)capture_frame_unref(f);
}

static void m2m_refuses_frames_of_another_format(void **state)
{
	struct capture_frame *f;
	struct capture_frame wrong;

	(void)state;
	open_m2m();
	f = next_frame();
	wrong = *f;
	wrong.planes[0].stride++;
	assert_int_equal(capture_encoder_submit(encoder, &wrong), -EINVAL);
	wrong = *f;
	wrong.planes[0].bytesused = YU12_BYTES - 1;
	assert_int_equal(capture_encoder_submit(encoder, &wrong), -EINVAL);
	wrong = *f;
	wrong.planes[0].offset = UINT32_MAX;
	assert_int_equal(capture_encoder_submit(encoder, &wrong), -EINVAL);
	(void)capture_frame_unref(f);
}

static void m2m_packet_is_a_span_of_the_arena(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_m2m();
	submit_one(NULL);
	p = receive_one();
	assert_ptr_equal(p->span.arena, capture_encoder_arena(encoder));
	assert_ptr_equal(capture_span_data(&p->span), p->data);
	assert_int_equal(p->span.length, p->bytes);
	assert_ptr_equal(capture_packet_ref(p), p);
	(void)capture_packet_unref(p);
	assert_int_equal(fake_v4l2_queued(device), CAPTURE_ENCODER_BUFFERS - 1);
	(void)capture_packet_unref(p);
	assert_int_equal(fake_v4l2_queued(device), CAPTURE_ENCODER_BUFFERS);
}

static void m2m_packet_outlives_its_encoder(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	open_m2m();
	submit_one(&sequence);
	p = receive_one();
	encoder = capture_encoder_close(encoder);
	assert_int_equal(device->opens, 0);
	assert_int_equal(crc_in(p), crc_of_frame(sequence));
	(void)capture_packet_unref(p);
}

static void m2m_says_when_all_packets_are_out(void **state)
{
	struct capture_packet *p[CAPTURE_ENCODER_BUFFERS];
	struct capture_packet *extra;
	int i;

	(void)state;
	open_m2m();
	for (i = 0; i < CAPTURE_ENCODER_BUFFERS; i++) {
		submit_one(NULL);
		p[i] = receive_one();
	}
	submit_one(NULL);
	assert_int_equal(capture_encoder_receive(encoder, now() + 10000000000,
						 &extra),
			 -ENOBUFS);
	/* It was not the encoder that was slow. */
	assert_int_equal(capture_encoder_deadline_ns(encoder), UINT64_MAX);
	for (i = 0; i < CAPTURE_ENCODER_BUFFERS; i++)
		(void)capture_packet_unref(p[i]);
	(void)capture_packet_unref(receive_one());
}

/* --- trouble ------------------------------------------------------------ */

static void m2m_stuck_encoder_is_an_error_after_its_timeout(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;
	uint64_t start_ns;

	(void)state;
	open_m2m();
	assert_int_equal(capture_encoder_deadline_ns(encoder), UINT64_MAX);
	device->hang = true;
	submit_one(NULL);
	start_ns = now();
	assert_int_equal(capture_encoder_deadline_ns(encoder),
			 start_ns + 500000000);
	assert_int_equal(capture_encoder_receive(encoder, start_ns + 1000000,
						 &p),
			 -EAGAIN);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -ETIMEDOUT);
	assert_true(now() - start_ns < 600000000);
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EIO);
	f = next_frame();
	assert_int_equal(capture_encoder_submit(encoder, f), -EIO);
	(void)capture_frame_unref(f);
	encoder = capture_encoder_close(encoder);
	assert_int_equal(fake_v4l2_queued(camera), 4);
}

static void m2m_does_not_wait_for_nothing(void **state)
{
	struct capture_packet *p;
	uint64_t start_ns;

	(void)state;
	open_m2m();
	start_ns = now();
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EAGAIN);
	assert_int_equal(now(), start_ns);
}

static void m2m_drain_gives_all_packets_then_ends(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;
	int i;

	(void)state;
	open_m2m();
	for (i = 0; i < 3; i++)
		submit_one(NULL);
	assert_int_equal(capture_encoder_drain(encoder), 0);
	f = next_frame();
	assert_int_equal(capture_encoder_submit(encoder, f), -EPIPE);
	(void)capture_frame_unref(f);
	for (i = 0; i < 3; i++)
		(void)capture_packet_unref(receive_one());
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EPIPE);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EPIPE);
	assert_int_equal(capture_encoder_drain(encoder), 0);
}

static void m2m_drain_ends_without_a_stop_command(void **state)
{
	struct capture_packet *p;

	(void)state;
	device->no_stop = true;
	open_m2m();
	submit_one(NULL);
	assert_int_equal(capture_encoder_drain(encoder), 0);
	(void)capture_packet_unref(receive_one());
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EPIPE);
}

static void m2m_drain_that_hangs_is_an_error(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_m2m();
	device->hang = true;
	assert_int_equal(capture_encoder_drain(encoder), 0);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -ETIMEDOUT);
}

static void m2m_refuses_a_buffer_that_it_never_queued(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_m2m();
	device->bad_index = 1;
	submit_one(NULL);
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EPROTO);
}

static void m2m_says_when_it_is_unplugged(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;

	(void)state;
	open_m2m();
	submit_one(NULL);
	device->unplugged = true;
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -ENODEV);
	f = next_frame();
	assert_int_equal(capture_encoder_submit(encoder, f), -EIO);
	(void)capture_frame_unref(f);
}

/* --- software ----------------------------------------------------------- */

#if HAVE_OPENH264
static void software_encodes_planar_frames_as_they_lie(void **state)
{
	static const uint8_t start_code[4] = {0, 0, 0, 1};
	struct capture_packet *p;
	uint64_t stamp_ns;
	int i;

	(void)state;
	start_camera(CAPTURE_FORMAT_YU12);
	open_backend(CAPTURE_BACKEND_SOFTWARE);
	for (i = 0; i < 5; i++) {
		stamp_ns = submit_one(NULL);
		p = receive_one();
		assert_int_equal(p->stamp_ns, stamp_ns);
		assert_int_equal(p->fourcc, CAPTURE_FORMAT_H264);
		assert_int_equal(p->flags, i ? 0 : CAPTURE_PACKET_KEY);
		assert_memory_equal(p->data, start_code, 4);
		assert_ptr_equal(capture_span_data(&p->span), p->data);
		(void)capture_packet_unref(p);
	}
	assert_int_equal(stats_of().copies, 0);
	assert_int_equal(stats_of().bytes_touched, 0);
	assert_int_equal(stats_of().bytes_copied_out, stats_of().bytes_out);
}

static void software_counts_what_a_conversion_touches(void **state)
{
	(void)state;
	start_camera(CAPTURE_FORMAT_YUYV);
	open_backend(CAPTURE_BACKEND_SOFTWARE);
	submit_one(NULL);
	(void)capture_packet_unref(receive_one());
	assert_int_equal(stats_of().copies, 1);
	assert_int_equal(stats_of().bytes_touched,
			 64 * 48 * 2 + 64 * 48 * 3 / 2);
}

static void software_makes_a_key_frame_when_told(void **state)
{
	struct capture_packet *p;

	(void)state;
	start_camera(CAPTURE_FORMAT_NV12);
	open_backend(CAPTURE_BACKEND_SOFTWARE);
	submit_one(NULL);
	(void)capture_packet_unref(receive_one());
	assert_int_equal(capture_encoder_set_bitrate(encoder, 100000), 0);
	assert_int_equal(capture_encoder_force_key(encoder), 0);
	submit_one(NULL);
	p = receive_one();
	assert_true(p->flags & CAPTURE_PACKET_KEY);
	(void)capture_packet_unref(p);
}

static void software_refuses_frames_when_packets_are_not_taken(void **state)
{
	struct capture_packet *extra;
	struct capture_packet *p;
	struct capture_frame *f;
	int i;

	(void)state;
	start_camera(CAPTURE_FORMAT_YU12);
	open_backend(CAPTURE_BACKEND_SOFTWARE);
	for (i = 0; i < 4; i++)
		submit_one(NULL);
	f = next_frame();
	assert_int_equal(capture_encoder_submit(encoder, f), -EAGAIN);
	p = receive_one();
	assert_int_equal(capture_encoder_submit(encoder, f), -EAGAIN);
	(void)capture_packet_unref(p);
	assert_int_equal(capture_encoder_submit(encoder, f), 0);
	(void)capture_frame_unref(f);
	assert_int_equal(capture_encoder_drain(encoder), 0);
	for (i = 0; i < 3; i++)
		(void)capture_packet_unref(receive_one());
	p = receive_one();
	assert_int_equal(capture_encoder_receive(encoder, 0, &extra), -EPIPE);
	encoder = capture_encoder_close(encoder);
	assert_int_equal(p->fourcc, CAPTURE_FORMAT_H264);
	(void)capture_packet_unref(p);
}

static void encoder_auto_takes_software_for_h264(void **state)
{
	(void)state;
	start_camera(CAPTURE_FORMAT_YU12);
	open_backend(CAPTURE_BACKEND_AUTO);
	assert_int_equal(stats_of().backend, CAPTURE_BACKEND_SOFTWARE);
}
#endif

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(encoder_is_found_by_capability),
		CASE(encoder_says_why_it_cannot_open),
		CASE(encoder_sets_only_controls_that_exist),
		CASE(m2m_imports_frames_without_touching_them),
		CASE(m2m_copies_and_counts_without_descriptors),
		CASE(m2m_falls_back_to_copies_when_import_faults),
		CASE(m2m_copies_into_other_strides),
		CASE(m2m_works_with_planes_of_their_own),
		CASE(m2m_pairs_packets_with_frames_by_key),
		CASE(m2m_counts_frames_that_the_encoder_skipped),
		CASE(m2m_gives_useless_packets_back_and_counts),
		CASE(m2m_finds_key_frames_in_the_bitstream),
		CASE(m2m_gives_the_frame_back_when_it_was_read),
		CASE(m2m_refuses_frames_when_it_has_no_room),
		CASE(m2m_refuses_frames_of_another_format),
		CASE(m2m_packet_is_a_span_of_the_arena),
		CASE(m2m_packet_outlives_its_encoder),
		CASE(m2m_says_when_all_packets_are_out),
		CASE(m2m_stuck_encoder_is_an_error_after_its_timeout),
		CASE(m2m_does_not_wait_for_nothing),
		CASE(m2m_drain_gives_all_packets_then_ends),
		CASE(m2m_drain_ends_without_a_stop_command),
		CASE(m2m_drain_that_hangs_is_an_error),
		CASE(m2m_refuses_a_buffer_that_it_never_queued),
		CASE(m2m_says_when_it_is_unplugged),
#if HAVE_OPENH264
		CASE(software_encodes_planar_frames_as_they_lie),
		CASE(software_counts_what_a_conversion_touches),
		CASE(software_makes_a_key_frame_when_told),
		CASE(software_refuses_frames_when_packets_are_not_taken),
		CASE(encoder_auto_takes_software_for_h264),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
