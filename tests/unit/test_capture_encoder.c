/* SPDX-License-Identifier: Apache-2.0 */
#include "support/encoder_rig.h"

#include <errno.h>
#include <string.h>

#include <capture/supervisor.h>

#include "base/bytes.h"
#include "src/encoder_backend.h"

static void open_m2m(void)
{
	encoder_rig_start(CAPTURE_FORMAT_YU12);
	encoder_rig_open(CAPTURE_BACKEND_M2M, 0);
}

/* The checksum in the fake's packet, and what it must be. */
static uint32_t crc_in(const struct capture_packet *p)
{
	assert_int_equal(p->bytes, FAKE_V4L2_PACKET_BYTES);
	return load_be32(p->data + 44);
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
	assert_int_equal(rig.device->opens, 1);
	assert_int_equal(other->opens, 0);
	assert_int_equal(capture_encoder_codec(rig.encoder),
			 CAPTURE_FORMAT_FWHT);
	assert_true(capture_encoder_fd(rig.encoder) >= 0);
}

static void encoder_says_why_it_cannot_open(void **state)
{
	struct capture_format source;
	struct capture_encoder_config config;

	(void)state;
	encoder_rig_start(CAPTURE_FORMAT_YU12);
	config = encoder_rig_config(CAPTURE_BACKEND_M2M, 0);
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
	source = *capture_source_format(rig.source);
	source.width = 66;
	assert_int_equal(refused(&config), -ERANGE);
	source.width = 0;
	assert_int_equal(refused(&config), -EINVAL);
	config = encoder_rig_config(CAPTURE_BACKEND_SOFTWARE, 0);
	config.codec = CAPTURE_FORMAT_FWHT;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
	config = encoder_rig_config(CAPTURE_BACKEND_M2M, 0);
	rig.device->busy = true;
	assert_int_equal(refused(&config), -EBUSY);
}

static void encoder_sets_only_controls_that_exist(void **state)
{
	struct capture_encoder_config config;

	(void)state;
	encoder_rig_start(CAPTURE_FORMAT_YU12);
	config = encoder_rig_config(CAPTURE_BACKEND_M2M, 0);
	config.controls.bitrate = 600000;
	config.controls.gop_frames = 30;
	config.controls.qp = 20; /* the fake has no such control */
	assert_int_equal(
		capture_encoder_open(sys_fault(), &config, &rig.encoder), 0);
	assert_int_equal(rig.device->bitrate, 600000);
	assert_int_equal(rig.device->gop, 30);
	assert_int_equal(capture_encoder_set_bitrate(rig.encoder, 300000), 0);
	assert_int_equal(rig.device->bitrate, 300000);
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
		encoder_rig_submit(&sequence);
		p = encoder_rig_receive();
		assert_int_equal(crc_in(p), encoder_rig_crc(sequence));
		(void)capture_packet_unref(p);
	}
	assert_true(encoder_rig_stats().source_imported);
	assert_int_equal(encoder_rig_stats().frames_in, 10);
	assert_int_equal(encoder_rig_stats().packets_out, 10);
	assert_int_equal(encoder_rig_stats().copies, 0);
	assert_int_equal(encoder_rig_stats().bytes_touched, 0);
	assert_true(rig.device->imports >= 10);
}

static void m2m_copies_and_counts_without_descriptors(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	rig.camera->no_import = true;
	rig.camera->no_export = true;
	open_m2m();
	encoder_rig_submit(&sequence);
	p = encoder_rig_receive();
	/* fits_import() said yes at open; the first frame showed it was no. */
	assert_int_equal(crc_in(p), encoder_rig_crc(sequence));
	(void)capture_packet_unref(p);
	assert_false(encoder_rig_stats().source_imported);
	assert_int_equal(encoder_rig_stats().copies, 1);
	assert_int_equal(encoder_rig_stats().bytes_touched,
			 2 * ENCODER_RIG_BYTES);
	/* Its thread, if it has one, goes by this. */
	assert_int_equal(rig.encoder->inputs_done, 1);
}

static void m2m_falls_back_to_copies_when_import_faults(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	rig.device->import_faults = true;
	open_m2m();
	encoder_rig_submit(&sequence);
	p = encoder_rig_receive();
	assert_int_equal(crc_in(p), encoder_rig_crc(sequence));
	(void)capture_packet_unref(p);
	assert_int_equal(encoder_rig_stats().copies, 1);
	assert_int_equal(encoder_rig_stats().rung, CAPTURE_RUNG_S3);
}

static void m2m_copies_into_other_strides(void **state)
{
	struct capture_packet *p;

	(void)state;
	rig.device->stride_align = 256;
	open_m2m();
	encoder_rig_submit(NULL);
	p = encoder_rig_receive();
	/* The device read its whole, wider memory: only the counters tell. */
	assert_int_equal(encoder_rig_stats().copies, 1);
	assert_int_equal(encoder_rig_stats().bytes_touched,
			 2 * ENCODER_RIG_BYTES);
	(void)capture_packet_unref(p);
}

static void m2m_works_with_planes_of_their_own(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	rig.camera->mplane = true;
	rig.device->mplane = true;
	encoder_rig_start(CAPTURE_FORMAT_YM12);
	encoder_rig_open(CAPTURE_BACKEND_M2M, 0);
	encoder_rig_submit(&sequence);
	p = encoder_rig_receive();
	assert_int_equal(crc_in(p), encoder_rig_crc(sequence));
	assert_int_equal(encoder_rig_stats().copies, 0);
	assert_true(encoder_rig_stats().source_imported);
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
		stamps[i] = encoder_rig_submit(&sequences[i]);
	for (i = 0; i < 4; i++) {
		p = encoder_rig_receive();
		assert_int_equal(p->stamp_ns, stamps[i]);
		assert_int_equal(p->sequence, sequences[i]);
		assert_int_equal(p->track_id, 7);
		assert_int_equal(p->clock, CAPTURE_CLOCK_MONOTONIC);
		assert_int_equal(p->point, CAPTURE_POINT_START_OF_EXPOSURE);
		assert_int_equal(crc_in(p), encoder_rig_crc(sequences[i]));
		(void)capture_packet_unref(p);
	}
	assert_int_equal(encoder_rig_stats().packets_unpaired, 0);
}

static void m2m_counts_frames_that_the_encoder_skipped(void **state)
{
	struct capture_packet *p;
	uint64_t stamp_ns;

	(void)state;
	open_m2m();
	rig.device->skip_packets = 2;
	encoder_rig_submit(NULL);
	encoder_rig_submit(NULL);
	stamp_ns = encoder_rig_submit(NULL);
	p = encoder_rig_receive();
	assert_int_equal(p->stamp_ns, stamp_ns);
	(void)capture_packet_unref(p);
	/* Till now they might only be late. */
	assert_int_equal(encoder_rig_stats().frames_skipped, 0);
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -EAGAIN);
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -EPIPE);
	assert_int_equal(encoder_rig_stats().frames_skipped, 2);
}

static void m2m_gives_useless_packets_back_and_counts(void **state)
{
	struct capture_packet *p;
	int i;

	(void)state;
	open_m2m();
	rig.device->error_frames = 1;
	rig.device->short_frames = 1;
	rig.device->strange_keys = 1;
	/* The fake spoils one packet in all three ways, then none. */
	encoder_rig_submit(NULL);
	assert_int_equal(capture_encoder_receive(rig.encoder, 0, &p), -EAGAIN);
	assert_int_equal(encoder_rig_stats().packets_error, 1);
	rig.device->strange_keys = 1;
	encoder_rig_submit(NULL);
	assert_int_equal(capture_encoder_receive(rig.encoder, 0, &p), -EAGAIN);
	assert_int_equal(encoder_rig_stats().packets_unpaired, 1);
	for (i = 0; i < 8; i++) {
		encoder_rig_submit(NULL);
		(void)capture_packet_unref(encoder_rig_receive());
	}
	assert_int_equal(fake_v4l2_queued(rig.device), CAPTURE_ENCODER_BUFFERS);
}

static void m2m_finds_key_frames_in_the_bitstream(void **state)
{
	struct capture_packet *p;
	int i;

	(void)state;
	open_m2m();
	rig.device->gop = 3;
	for (i = 0; i < 7; i++) {
		if (i == 5)
			assert_int_equal(capture_encoder_force_key(rig.encoder),
					 0);
		encoder_rig_submit(NULL);
		p = encoder_rig_receive();
		assert_int_equal(!!(p->flags & CAPTURE_PACKET_KEY),
				 i % 3 == 0 || i == 5);
		assert_false(p->flags & CAPTURE_PACKET_DRIVER_KEY);
		(void)capture_packet_unref(p);
	}
	assert_int_equal(encoder_rig_stats().packets_key, 4);
	rig.device->no_controls = true;
	assert_int_equal(capture_encoder_force_key(rig.encoder), -EOPNOTSUPP);
}

/* --- ownership ---------------------------------------------------------- */

static void m2m_gives_the_frame_back_when_it_was_read(void **state)
{
	(void)state;
	open_m2m();
	rig.device->hang = true;
	encoder_rig_submit(NULL);
	encoder_rig_submit(NULL);
	assert_int_equal(fake_v4l2_queued(rig.camera), 2);
	rig.encoder = capture_encoder_close(rig.encoder); /* cancelled */
	assert_int_equal(fake_v4l2_queued(rig.camera), 4);
}

static void m2m_refuses_frames_when_it_has_no_room(void **state)
{
	struct capture_frame *f;
	int i;

	(void)state;
	open_m2m();
	rig.device->hang = true;
	for (i = 0; i < 3; i++)
		encoder_rig_submit(NULL);
	f = encoder_rig_frame();
	assert_int_equal(capture_encoder_submit(rig.encoder, f), 0);
	assert_int_equal(capture_encoder_submit(rig.encoder, f), -EAGAIN);
	assert_int_equal(encoder_rig_stats().frames_in, 4);
	(void)capture_frame_unref(f);
}

static void m2m_refuses_frames_of_another_format(void **state)
{
	struct capture_frame *f;
	struct capture_frame wrong;

	(void)state;
	open_m2m();
	f = encoder_rig_frame();
	wrong = *f;
	wrong.planes[0].stride++;
	assert_int_equal(capture_encoder_submit(rig.encoder, &wrong), -EINVAL);
	wrong = *f;
	wrong.planes[0].bytesused = ENCODER_RIG_BYTES - 1;
	assert_int_equal(capture_encoder_submit(rig.encoder, &wrong), -EINVAL);
	wrong = *f;
	wrong.planes[0].offset = UINT32_MAX;
	assert_int_equal(capture_encoder_submit(rig.encoder, &wrong), -EINVAL);
	(void)capture_frame_unref(f);
}

static void m2m_packet_is_a_span_of_the_arena(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_m2m();
	encoder_rig_submit(NULL);
	p = encoder_rig_receive();
	assert_ptr_equal(p->span.arena, capture_encoder_arena(rig.encoder));
	assert_ptr_equal(capture_span_data(&p->span), p->data);
	assert_int_equal(p->span.length, p->bytes);
	assert_ptr_equal(capture_packet_ref(p), p);
	(void)capture_packet_unref(p);
	assert_int_equal(fake_v4l2_queued(rig.device),
			 CAPTURE_ENCODER_BUFFERS - 1);
	(void)capture_packet_unref(p);
	assert_int_equal(fake_v4l2_queued(rig.device), CAPTURE_ENCODER_BUFFERS);
}

static void m2m_packet_outlives_its_encoder(void **state)
{
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	open_m2m();
	encoder_rig_submit(&sequence);
	p = encoder_rig_receive();
	rig.encoder = capture_encoder_close(rig.encoder);
	assert_int_equal(rig.device->opens, 0);
	assert_int_equal(crc_in(p), encoder_rig_crc(sequence));
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
		encoder_rig_submit(NULL);
		p[i] = encoder_rig_receive();
	}
	encoder_rig_submit(NULL);
	assert_int_equal(capture_encoder_receive(
				 rig.encoder, encoder_rig_now() + 10000000000,
				 &extra),
			 -ENOBUFS);
	/* It was not the rig.encoder that was slow. */
	assert_int_equal(capture_encoder_deadline_ns(rig.encoder), UINT64_MAX);
	for (i = 0; i < CAPTURE_ENCODER_BUFFERS; i++)
		(void)capture_packet_unref(p[i]);
	(void)capture_packet_unref(encoder_rig_receive());
}

/* --- trouble ------------------------------------------------------------ */

static void m2m_stuck_encoder_is_an_error_after_its_timeout(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;
	uint64_t start_ns;

	(void)state;
	open_m2m();
	assert_int_equal(capture_encoder_deadline_ns(rig.encoder), UINT64_MAX);
	rig.device->hang = true;
	encoder_rig_submit(NULL);
	start_ns = encoder_rig_now();
	assert_int_equal(capture_encoder_deadline_ns(rig.encoder),
			 start_ns + 500000000);
	assert_int_equal(capture_encoder_receive(rig.encoder,
						 start_ns + 1000000, &p),
			 -EAGAIN);
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -ETIMEDOUT);
	assert_true(encoder_rig_now() - start_ns < 600000000);
	assert_int_equal(capture_encoder_receive(rig.encoder, 0, &p), -EIO);
	f = encoder_rig_frame();
	assert_int_equal(capture_encoder_submit(rig.encoder, f), -EIO);
	(void)capture_frame_unref(f);
	rig.encoder = capture_encoder_close(rig.encoder);
	assert_int_equal(fake_v4l2_queued(rig.camera), 4);
}

static void m2m_does_not_wait_for_nothing(void **state)
{
	struct capture_packet *p;
	uint64_t start_ns;

	(void)state;
	open_m2m();
	start_ns = encoder_rig_now();
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -EAGAIN);
	assert_int_equal(encoder_rig_now(), start_ns);
}

static void m2m_drain_gives_all_packets_then_ends(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;
	int i;

	(void)state;
	open_m2m();
	for (i = 0; i < 3; i++)
		encoder_rig_submit(NULL);
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	f = encoder_rig_frame();
	assert_int_equal(capture_encoder_submit(rig.encoder, f), -EPIPE);
	(void)capture_frame_unref(f);
	for (i = 0; i < 3; i++)
		(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -EPIPE);
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -EPIPE);
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
}

static void m2m_drain_ends_without_a_stop_command(void **state)
{
	struct capture_packet *p;

	(void)state;
	rig.device->no_stop = true;
	open_m2m();
	encoder_rig_submit(NULL);
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -EPIPE);
}

static void m2m_drain_that_hangs_is_an_error(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_m2m();
	rig.device->hang = true;
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	assert_int_equal(capture_encoder_receive(rig.encoder, UINT64_MAX, &p),
			 -ETIMEDOUT);
}

static void m2m_refuses_a_buffer_that_it_never_queued(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_m2m();
	rig.device->bad_index = 2; /* of frames, and of packets */
	encoder_rig_submit(NULL);
	assert_int_equal(capture_encoder_receive(rig.encoder, 0, &p), -EPROTO);
}

static void m2m_says_when_it_is_unplugged(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;

	(void)state;
	open_m2m();
	encoder_rig_submit(NULL);
	rig.device->unplugged = true;
	assert_int_equal(capture_encoder_receive(rig.encoder, 0, &p), -ENODEV);
	f = encoder_rig_frame();
	assert_int_equal(capture_encoder_submit(rig.encoder, f), -EIO);
	(void)capture_frame_unref(f);
}

/* --- opening it again --------------------------------------------------- */

static int reopen(struct capture_encoder_config *config)
{
	return capture_encoder_reopen(sys_fault(), config, &rig.encoder);
}

static void reopen_after_a_drain_loses_nothing(void **state)
{
	struct capture_encoder_config config;
	struct capture_packet *p;
	uint32_t sequence;

	(void)state;
	open_m2m();
	config = encoder_rig_config(CAPTURE_BACKEND_M2M, 0);
	encoder_rig_submit(NULL);
	encoder_rig_submit(&sequence);
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	(void)capture_packet_unref(encoder_rig_receive());
	p = encoder_rig_receive();
	assert_int_equal(encoder_rig_receive_fails(), -EPIPE);
	assert_int_equal(encoder_rig_stats().frames_skipped, 0);
	config.controls.gop_frames = 5;
	assert_int_equal(reopen(&config), 0);
	assert_int_equal(rig.device->gop, 5);
	/* The one that is out is of the encoder before. */
	assert_int_equal(crc_in(p), encoder_rig_crc(sequence));
	(void)capture_packet_unref(p);
	encoder_rig_submit(&sequence);
	p = encoder_rig_receive();
	assert_true(p->flags & CAPTURE_PACKET_KEY);
	assert_int_equal(crc_in(p), encoder_rig_crc(sequence));
	(void)capture_packet_unref(p);
}

/* What a failed encoder had done is out already: reopen need not drain. */
static void failed_encoder_gives_first_what_was_done(void **state)
{
	struct capture_encoder_config config;
	int i;

	(void)state;
	open_m2m();
	config = encoder_rig_config(CAPTURE_BACKEND_M2M, 0);
	encoder_rig_submit(NULL);
	encoder_rig_submit(NULL);
	rig.device->hang = true;
	encoder_rig_submit(NULL);
	for (i = 0; i < 2; i++)
		(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(encoder_rig_receive_fails(), -ETIMEDOUT);
	assert_int_equal(fake_v4l2_queued(rig.camera), 3);
	rig.device->hang = false;
	assert_int_equal(reopen(&config), 0);
	assert_int_equal(fake_v4l2_queued(rig.camera), 4);
	encoder_rig_submit(NULL);
	(void)capture_packet_unref(encoder_rig_receive());
}

/* Whatever it failed of, and whoever noticed. */
static void failed_encoder_gives_first_what_was_done_whatever_failed(void **state)
{
	struct capture_frame *frame;
	int i;

	(void)state;
	open_m2m();
	for (i = 0; i < 3; i++)
		encoder_rig_submit(NULL);
	rig.device->bad_index = 1;
	for (i = 0; i < 3; i++)
		(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(encoder_rig_receive_fails(), -EPROTO);
	assert_int_equal(encoder_rig_receive_fails(), -EIO);
	rig.encoder = capture_encoder_close(rig.encoder);
	encoder_rig_open(CAPTURE_BACKEND_M2M, 0);
	for (i = 0; i < 2; i++)
		encoder_rig_submit(NULL);
	rig.device->bad_index = 1;
	frame = encoder_rig_frame();
	assert_int_equal(capture_encoder_submit(rig.encoder, frame), -EPROTO);
	(void)capture_frame_unref(frame);
	for (i = 0; i < 2; i++)
		(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(encoder_rig_receive_fails(), -EIO);
}

static void encoder_that_is_gone_stays_closed(void **state)
{
	struct capture_encoder_config config;

	(void)state;
	open_m2m();
	config = encoder_rig_config(CAPTURE_BACKEND_M2M, 0);
	config.path = "/dev/video1";
	encoder_rig_submit(NULL);
	rig.device->unplugged = true;
	assert_int_equal(encoder_rig_receive_fails(), -ENODEV);
	assert_int_equal(reopen(&config), -ENODEV);
	assert_null(rig.encoder);
	assert_int_equal(fake_v4l2_queued(rig.camera), 4);
	assert_int_equal(rig.device->opens, 0);
	rig.device->unplugged = false;
	assert_int_equal(reopen(&config), 0);
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
	encoder_rig_start(CAPTURE_FORMAT_YU12);
	encoder_rig_open(CAPTURE_BACKEND_SOFTWARE, 0);
	for (i = 0; i < 5; i++) {
		stamp_ns = encoder_rig_submit(NULL);
		p = encoder_rig_receive();
		assert_int_equal(p->stamp_ns, stamp_ns);
		assert_int_equal(p->fourcc, CAPTURE_FORMAT_H264);
		assert_int_equal(p->flags, i ? 0 : CAPTURE_PACKET_KEY);
		assert_memory_equal(p->data, start_code, 4);
		assert_ptr_equal(capture_span_data(&p->span), p->data);
		(void)capture_packet_unref(p);
	}
	assert_int_equal(encoder_rig_stats().copies, 0);
	assert_int_equal(encoder_rig_stats().bytes_touched, 0);
	assert_int_equal(encoder_rig_stats().bytes_copied_out,
			 encoder_rig_stats().bytes_out);
}

static void software_counts_what_a_conversion_touches(void **state)
{
	(void)state;
	encoder_rig_start(CAPTURE_FORMAT_YUYV);
	encoder_rig_open(CAPTURE_BACKEND_SOFTWARE, 0);
	encoder_rig_submit(NULL);
	(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(encoder_rig_stats().copies, 1);
	assert_int_equal(encoder_rig_stats().bytes_touched,
			 64 * 48 * 2 + 64 * 48 * 3 / 2);
}

static void software_makes_a_key_frame_when_told(void **state)
{
	struct capture_packet *p;

	(void)state;
	encoder_rig_start(CAPTURE_FORMAT_NV12);
	encoder_rig_open(CAPTURE_BACKEND_SOFTWARE, 0);
	encoder_rig_submit(NULL);
	(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(capture_encoder_set_bitrate(rig.encoder, 100000), 0);
	assert_int_equal(capture_encoder_force_key(rig.encoder), 0);
	encoder_rig_submit(NULL);
	p = encoder_rig_receive();
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
	encoder_rig_start(CAPTURE_FORMAT_YU12);
	encoder_rig_open(CAPTURE_BACKEND_SOFTWARE, 0);
	for (i = 0; i < 4; i++)
		encoder_rig_submit(NULL);
	f = encoder_rig_frame();
	assert_int_equal(capture_encoder_submit(rig.encoder, f), -EAGAIN);
	p = encoder_rig_receive();
	assert_int_equal(capture_encoder_submit(rig.encoder, f), -EAGAIN);
	(void)capture_packet_unref(p);
	assert_int_equal(capture_encoder_submit(rig.encoder, f), 0);
	(void)capture_frame_unref(f);
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	for (i = 0; i < 3; i++)
		(void)capture_packet_unref(encoder_rig_receive());
	p = encoder_rig_receive();
	assert_int_equal(capture_encoder_receive(rig.encoder, 0, &extra),
			 -EPIPE);
	rig.encoder = capture_encoder_close(rig.encoder);
	assert_int_equal(p->fourcc, CAPTURE_FORMAT_H264);
	(void)capture_packet_unref(p);
}

static void encoder_auto_takes_software_for_h264(void **state)
{
	(void)state;
	encoder_rig_start(CAPTURE_FORMAT_YU12);
	encoder_rig_open(CAPTURE_BACKEND_AUTO, 0);
	assert_int_equal(encoder_rig_stats().backend, CAPTURE_BACKEND_SOFTWARE);
}
#endif

#define CASE(name) ENCODER_RIG_CASE(name)

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
		CASE(reopen_after_a_drain_loses_nothing),
		CASE(failed_encoder_gives_first_what_was_done),
		CASE(failed_encoder_gives_first_what_was_done_whatever_failed),
		CASE(encoder_that_is_gone_stays_closed),
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
