/* SPDX-License-Identifier: Apache-2.0 */
/* M2M encoders by what sets them apart: headers, controls, trouble. */
#include "support/encoder_rig.h"

#include <errno.h>
#include <string.h>

#include <linux/videodev2.h>

static int setup(void **state)
{
	(void)encoder_rig_setup(state);
	rig.device->codec = CAPTURE_FORMAT_H264;
	encoder_rig_start(CAPTURE_FORMAT_YU12);
	return 0;
}

static void open_codec(uint32_t codec)
{
	rig.device->codec = codec;
	encoder_rig_open(CAPTURE_BACKEND_M2M, codec);
}

/* Return: the checksum of the frame, which its packet must have. */
static uint32_t submit_one(void)
{
	uint32_t sequence;

	(void)encoder_rig_submit(&sequence);
	return encoder_rig_crc(sequence);
}

/* The types of the NAL units, in order. */
static size_t types_of(const struct capture_packet *p, uint8_t *types)
{
	size_t count = 0;
	size_t i;

	for (i = 0; i + 4 < p->bytes; i++) {
		if (p->data[i] || p->data[i + 1] || p->data[i + 2] ||
		    p->data[i + 3] != 1)
			continue;
		types[count++] = p->fourcc == CAPTURE_FORMAT_HEVC
					 ? p->data[i + 4] >> 1
					 : p->data[i + 4] & 0x1f;
		assert_true(count < 16);
	}
	return count;
}

static void need_types(const struct capture_packet *p, const uint8_t *want,
		       size_t count)
{
	uint8_t types[16];

	assert_int_equal(types_of(p, types), count);
	assert_memory_equal(types, want, count);
}

#define NEED_TYPES(p, ...)                            \
	need_types(p, (const uint8_t[]){__VA_ARGS__}, \
		   sizeof((const uint8_t[]){__VA_ARGS__}))

/* --- headers ------------------------------------------------------------ */

/* Six frames, a key frame in three: each key packet is whole. */
static void need_whole_packets(enum fake_headers headers, uint64_t separate,
			       uint64_t joined)
{
	int i;

	rig.device->headers = headers;
	rig.device->gop = 3;
	open_codec(CAPTURE_FORMAT_H264);
	for (i = 0; i < 6; i++) {
		uint32_t crc = submit_one();
		struct capture_packet *p = encoder_rig_receive();

		assert_int_equal(fake_v4l2_packet_crc(p->data, p->bytes), crc);
		assert_ptr_equal(capture_span_data(&p->span), p->data);
		assert_int_equal(p->span.length, p->bytes);
		if (i % 3)
			NEED_TYPES(p, 1);
		else
			NEED_TYPES(p, 7, 8, 5);
		(void)capture_packet_unref(p);
	}
	assert_int_equal(encoder_rig_stats().headers_separate, separate);
	assert_int_equal(encoder_rig_stats().headers_joined, joined);
	assert_int_equal(encoder_rig_stats().headers_missing, 0);
	assert_int_equal(encoder_rig_stats().packets_error, 0);
	assert_int_equal(encoder_rig_stats().packets_unpaired, 0);
	assert_int_equal(fake_v4l2_queued(rig.device), CAPTURE_ENCODER_BUFFERS);
}

static void m2m_leaves_packets_that_are_whole(void **state)
{
	(void)state;
	need_whole_packets(FAKE_HEADERS_EACH_KEY, 0, 0);
	assert_int_equal(encoder_rig_stats().bytes_copied_out, 0);
}

static void m2m_repeats_headers_that_came_with_the_first_frame(void **state)
{
	(void)state;
	need_whole_packets(FAKE_HEADERS_FIRST_KEY, 0, 1);
	/* SPS and PPS, and the frame of a header byte and what follows. */
	assert_int_equal(encoder_rig_stats().bytes_copied_out, 12 + 14);
}

static void m2m_joins_headers_that_came_alone(void **state)
{
	(void)state;
	need_whole_packets(FAKE_HEADERS_ALONE, 1, 2);
}

static void m2m_joins_headers_that_came_in_a_buffer_each(void **state)
{
	(void)state;
	need_whole_packets(FAKE_HEADERS_APART, 2, 2);
}

static void m2m_joins_headers_in_the_drivers_memory(void **state)
{
	struct capture_packet *p;

	(void)state;
	fake_v4l2_udmabuf(false);
	rig.device->headers = FAKE_HEADERS_ALONE;
	open_codec(CAPTURE_FORMAT_H264);
	submit_one();
	p = encoder_rig_receive();
	NEED_TYPES(p, 7, 8, 5);
	assert_null(p->span.arena);
	(void)capture_packet_unref(p);
	assert_int_equal(encoder_rig_stats().rung, CAPTURE_RUNG_S3);
}

static void m2m_joins_headers_of_hevc_behind_the_delimiter(void **state)
{
	struct capture_packet *p;

	(void)state;
	rig.device->headers = FAKE_HEADERS_ALONE;
	rig.device->delimiters = true;
	open_codec(CAPTURE_FORMAT_HEVC);
	submit_one();
	p = encoder_rig_receive();
	NEED_TYPES(p, 35, 32, 33, 34, 19);
	assert_int_equal(p->flags, CAPTURE_PACKET_KEY);
	(void)capture_packet_unref(p);
}

static void m2m_hands_out_a_key_frame_without_room_for_headers(void **state)
{
	struct capture_packet *p;
	uint32_t crc;

	(void)state;
	rig.device->headers = FAKE_HEADERS_ALONE;
	rig.device->full_packets = 1;
	open_codec(CAPTURE_FORMAT_H264);
	crc = submit_one();
	p = encoder_rig_receive();
	NEED_TYPES(p, 5);
	assert_int_equal(p->bytes, 4096);
	assert_int_equal(fake_v4l2_packet_crc(p->data, p->bytes), crc);
	(void)capture_packet_unref(p);
	assert_int_equal(encoder_rig_stats().headers_missing, 1);
	assert_int_equal(encoder_rig_stats().headers_joined, 0);
}

static void m2m_finds_key_frames_of_each_codec(void **state)
{
	struct capture_packet *p;
	int i;

	(void)state;
	rig.device->gop = 2;
	open_codec(CAPTURE_FORMAT_VP8);
	for (i = 0; i < 4; i++) {
		submit_one();
		p = encoder_rig_receive();
		assert_int_equal(p->flags, i % 2 ? 0 : CAPTURE_PACKET_KEY);
		(void)capture_packet_unref(p);
	}
	rig.encoder = capture_encoder_close(rig.encoder);
	open_codec(CAPTURE_FORMAT_JPEG);
	for (i = 0; i < 2; i++) {
		submit_one();
		p = encoder_rig_receive();
		assert_int_equal(p->flags, CAPTURE_PACKET_KEY);
		(void)capture_packet_unref(p);
	}
}

/* --- controls ----------------------------------------------------------- */

static void give_control(size_t i, uint32_t id, int32_t max, bool is_menu)
{
	rig.device->controls[i].id = id;
	rig.device->controls[i].max = max;
	rig.device->controls[i].menu = is_menu;
	rig.device->controls[i].value = -1;
}

static int32_t control(uint32_t id)
{
	size_t i;

	for (i = 0; i < FAKE_CODEC_CONTROLS; i++) {
		if (rig.device->controls[i].id == id)
			return rig.device->controls[i].value;
	}
	return -2;
}

static struct capture_encoder_controls all_controls(void)
{
	return (struct capture_encoder_controls){
		.bitrate = 4000000,
		.gop_frames = 50,
		.qp = 30,
		.quality = 80,
		.bitrate_peak = 6000000,
		.bitrate_mode = CAPTURE_BITRATE_CBR,
		.qp_min = 10,
		.qp_max = 40,
		.profile = CAPTURE_PROFILE_H264_MAIN,
		.level = 41,
		.header_mode = CAPTURE_HEADERS_SEPARATE,
		.repeat_headers = 0,
	};
}

static void open_with(uint32_t codec, struct capture_encoder_controls controls)
{
	struct capture_encoder_config config =
		encoder_rig_config(CAPTURE_BACKEND_M2M, codec);

	rig.device->codec = codec;
	config.controls = controls;
	assert_int_equal(
		capture_encoder_open(sys_fault(), &config, &rig.encoder), 0);
}

static void m2m_sets_the_controls_of_h264(void **state)
{
	static const struct {
		uint32_t id;
		int32_t max;
		int32_t want;
	} list[] = {
		{V4L2_CID_MPEG_VIDEO_B_FRAMES, 2, 0},
		{V4L2_CID_MPEG_VIDEO_FRAME_RC_ENABLE, 1, 1},
		{V4L2_CID_MPEG_VIDEO_BITRATE_MODE, 2,
		 V4L2_MPEG_VIDEO_BITRATE_MODE_CBR},
		{V4L2_CID_MPEG_VIDEO_BITRATE_PEAK, INT32_MAX, 6000000},
		{V4L2_CID_MPEG_VIDEO_CONSTANT_QUALITY, 100, 80},
		{V4L2_CID_MPEG_VIDEO_H264_MIN_QP, 51, 10},
		{V4L2_CID_MPEG_VIDEO_H264_MAX_QP, 51, 40},
		{V4L2_CID_MPEG_VIDEO_H264_I_FRAME_QP, 51, 30},
		{V4L2_CID_MPEG_VIDEO_H264_P_FRAME_QP, 51, 30},
		{V4L2_CID_MPEG_VIDEO_H264_PROFILE, 4,
		 V4L2_MPEG_VIDEO_H264_PROFILE_MAIN},
		{V4L2_CID_MPEG_VIDEO_H264_LEVEL, 19,
		 V4L2_MPEG_VIDEO_H264_LEVEL_4_1},
		{V4L2_CID_MPEG_VIDEO_H264_I_PERIOD, 100, 50},
		{V4L2_CID_MPEG_VIDEO_HEADER_MODE, 1,
		 V4L2_MPEG_VIDEO_HEADER_MODE_SEPARATE},
		{V4L2_CID_MPEG_VIDEO_REPEAT_SEQ_HEADER, 1, 0},
		{V4L2_CID_MPEG_VIDEO_PREPEND_SPSPPS_TO_IDR, 1, 0},
		/* Of another codec: not touched. */
		{V4L2_CID_MPEG_VIDEO_HEVC_MIN_QP, 51, -1},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(list); i++)
		give_control(i, list[i].id, list[i].max, false);
	open_with(CAPTURE_FORMAT_H264, all_controls());
	for (i = 0; i < ARRAY_SIZE(list); i++)
		assert_int_equal(control(list[i].id), list[i].want);
	assert_int_equal(rig.device->bitrate, 4000000);
	assert_int_equal(rig.device->gop, 50);
	assert_int_equal(encoder_rig_stats().controls_ignored, 0);
	assert_int_equal(encoder_rig_stats().controls_adjusted, 0);
}

static void m2m_sets_the_controls_of_other_codecs(void **state)
{
	struct capture_encoder_controls c = all_controls();

	(void)state;
	give_control(0, V4L2_CID_MPEG_VIDEO_HEVC_PROFILE, 2, true);
	give_control(1, V4L2_CID_MPEG_VIDEO_HEVC_LEVEL, 12, true);
	give_control(2, V4L2_CID_MPEG_VIDEO_HEVC_MIN_QP, 51, false);
	give_control(3, V4L2_CID_MPEG_VIDEO_VPX_MAX_QP, 127, false);
	give_control(4, V4L2_CID_JPEG_COMPRESSION_QUALITY, 100, false);
	give_control(5, V4L2_CID_MPEG_VIDEO_H264_LEVEL, 19, true);
	c.profile = CAPTURE_PROFILE_HEVC_MAIN_10;
	c.level = 51;
	open_with(CAPTURE_FORMAT_HEVC, c);
	assert_int_equal(control(V4L2_CID_MPEG_VIDEO_HEVC_PROFILE),
			 V4L2_MPEG_VIDEO_HEVC_PROFILE_MAIN_10);
	assert_int_equal(control(V4L2_CID_MPEG_VIDEO_HEVC_LEVEL),
			 V4L2_MPEG_VIDEO_HEVC_LEVEL_5_1);
	assert_int_equal(control(V4L2_CID_MPEG_VIDEO_HEVC_MIN_QP), 10);
	assert_int_equal(control(V4L2_CID_MPEG_VIDEO_H264_LEVEL), -1);
	rig.encoder = capture_encoder_close(rig.encoder);
	open_with(CAPTURE_FORMAT_VP8, c);
	assert_int_equal(control(V4L2_CID_MPEG_VIDEO_VPX_MAX_QP), 40);
	/* VP8 has no levels, and the profile is of HEVC. */
	assert_true(encoder_rig_stats().controls_ignored &
		    CAPTURE_CONTROL_LEVEL);
	assert_true(encoder_rig_stats().controls_ignored &
		    CAPTURE_CONTROL_PROFILE);
	assert_false(encoder_rig_stats().controls_ignored &
		     CAPTURE_CONTROL_QP_MAX);
	rig.encoder = capture_encoder_close(rig.encoder);
	open_with(CAPTURE_FORMAT_JPEG, c);
	assert_int_equal(control(V4L2_CID_JPEG_COMPRESSION_QUALITY), 80);
	assert_false(encoder_rig_stats().controls_ignored &
		     CAPTURE_CONTROL_QUALITY);
}

static void m2m_tells_controls_that_were_ignored_or_adjusted(void **state)
{
	struct capture_encoder_controls c;

	(void)state;
	memset(&c, 0xff, sizeof(c));
	open_with(CAPTURE_FORMAT_H264, c);
	assert_int_equal(encoder_rig_stats().controls_ignored, 0);
	rig.encoder = capture_encoder_close(rig.encoder);
	rig.device->no_controls = true;
	open_with(CAPTURE_FORMAT_H264, all_controls());
	assert_int_equal(encoder_rig_stats().controls_ignored, 0xfff);
	rig.encoder = capture_encoder_close(rig.encoder);
	rig.device->no_controls = false;
	give_control(0, V4L2_CID_MPEG_VIDEO_H264_LEVEL, 5, true);
	give_control(1, V4L2_CID_MPEG_VIDEO_H264_MAX_QP, 35, false);
	c.level = 62;
	c.qp_max = 40;
	open_with(CAPTURE_FORMAT_H264, c);
	assert_int_equal(encoder_rig_stats().controls_ignored,
			 CAPTURE_CONTROL_LEVEL);
	assert_int_equal(encoder_rig_stats().controls_adjusted,
			 CAPTURE_CONTROL_QP_MAX);
}

static void m2m_refuses_controls_that_mean_nothing(void **state)
{
	struct capture_encoder_config config =
		encoder_rig_config(CAPTURE_BACKEND_M2M, CAPTURE_FORMAT_H264);

	(void)state;
	config.controls.bitrate_mode = CAPTURE_BITRATE_CQ + 1;
	assert_int_equal(capture_encoder_open(sys_fault(), &config,
					      &rig.encoder),
			 -EINVAL);
	config.controls.bitrate_mode = -1;
	config.controls.qp_min = -2;
	assert_int_equal(capture_encoder_open(sys_fault(), &config,
					      &rig.encoder),
			 -EINVAL);
}

/* --- coded order -------------------------------------------------------- */

/* Frame 0 comes after @overtaken_by others. Return: its stamp. */
static uint64_t overtake(unsigned int overtaken_by)
{
	uint64_t stamp_ns;
	unsigned int i;

	open_codec(CAPTURE_FORMAT_H264);
	rig.device->late_packet = overtaken_by;
	stamp_ns = encoder_rig_submit(NULL);
	for (i = 1; i <= overtaken_by; i++) {
		struct capture_packet *p;
		uint32_t crc = submit_one();

		p = encoder_rig_receive();
		assert_int_equal(p->sequence, i);
		assert_int_equal(p->decode_ns, p->stamp_ns);
		assert_int_equal(fake_v4l2_packet_crc(p->data, p->bytes), crc);
		(void)capture_packet_unref(p);
	}
	return stamp_ns;
}

static void need_late_packet(unsigned int overtaken_by)
{
	uint64_t stamp_ns = overtake(overtaken_by);
	struct capture_packet *p = encoder_rig_receive();

	assert_int_equal(p->sequence, 0);
	assert_int_equal(p->stamp_ns, stamp_ns);
	/* It is decoded when the one before it is. */
	assert_int_equal(p->decode_ns - p->stamp_ns,
			 overtaken_by * FAKE_V4L2_FRAME_NS);
	(void)capture_packet_unref(p);
	assert_int_equal(encoder_rig_stats().packets_unpaired, 0);
	assert_int_equal(encoder_rig_stats().frames_skipped, 0);
	assert_int_equal(encoder_rig_stats().packets_out, overtaken_by + 1);
	assert_int_equal(rig.device->forced_keys, 0);
}

static void m2m_pairs_a_packet_that_another_overtook(void **state)
{
	(void)state;
	need_late_packet(1);
}

static void m2m_pairs_a_packet_that_as_many_as_may_be_overtook(void **state)
{
	(void)state;
	need_late_packet(16);
}

static void m2m_drops_a_packet_that_more_overtook(void **state)
{
	int i;

	(void)state;
	(void)overtake(17);
	assert_int_equal(encoder_rig_stats().frames_skipped, 1);
	/* No frame is inside: it is found, but not by each turn. */
	for (i = 0; i < 8; i++)
		assert_int_equal(encoder_rig_receive_fails(), -EAGAIN);
	assert_int_equal(encoder_rig_stats().packets_unpaired, 1);
	assert_int_equal(rig.device->forced_keys, 1);
	assert_int_equal(fake_v4l2_queued(rig.device), CAPTURE_ENCODER_BUFFERS);
}

static void m2m_drain_gives_a_packet_that_is_late(void **state)
{
	bool stop;

	(void)state;
	for (stop = false;; stop = true) {
		struct capture_packet *p;

		rig.device->no_stop = !stop;
		open_codec(CAPTURE_FORMAT_H264);
		rig.device->late_packet = stop ? 3 : 1;
		submit_one();
		submit_one();
		p = encoder_rig_receive();
		assert_int_equal(p->sequence & 1, 1);
		(void)capture_packet_unref(p);
		assert_int_equal(capture_encoder_drain(rig.encoder), 0);
		p = encoder_rig_receive();
		assert_int_equal(p->sequence & 1, 0);
		(void)capture_packet_unref(p);
		assert_int_equal(encoder_rig_receive_fails(), -EPIPE);
		assert_int_equal(encoder_rig_stats().frames_skipped, 0);
		rig.encoder = capture_encoder_close(rig.encoder);
		if (stop)
			break;
	}
}

/* A frame that was skipped is no reason to call the device stuck. */
static void m2m_does_not_wait_for_an_overtaken_frame(void **state)
{
	uint64_t start_ns;

	(void)state;
	open_codec(CAPTURE_FORMAT_H264);
	rig.device->skip_packets = 1;
	submit_one();
	submit_one();
	(void)capture_packet_unref(encoder_rig_receive());
	start_ns = encoder_rig_now();
	assert_int_equal(encoder_rig_receive_fails(), -EAGAIN);
	assert_int_equal(encoder_rig_now(), start_ns);
	assert_int_equal(capture_encoder_deadline_ns(rig.encoder), UINT64_MAX);
}

/* Ten frames in eleven are skipped: they may not fill up what is bounded. */
static void m2m_forgets_skipped_frames_rather_than_refuse_one(void **state)
{
	unsigned int i;

	(void)state;
	open_codec(CAPTURE_FORMAT_H264);
	for (i = 0; i < 40; i++) {
		unsigned int k;

		rig.device->skip_packets = 10;
		for (k = 0; k < 11; k++)
			submit_one();
		(void)capture_packet_unref(encoder_rig_receive());
	}
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	assert_int_equal(encoder_rig_receive_fails(), -EPIPE);
	assert_int_equal(encoder_rig_stats().frames_skipped, 400);
	assert_int_equal(encoder_rig_stats().packets_out, 40);
}

/* --- trouble ------------------------------------------------------------ */

static void m2m_asks_for_a_key_frame_after_a_loss(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_codec(CAPTURE_FORMAT_H264);
	submit_one();
	(void)capture_packet_unref(encoder_rig_receive());
	rig.device->error_frames = 1;
	submit_one();
	assert_int_equal(encoder_rig_receive_fails(), -EAGAIN);
	assert_int_equal(encoder_rig_stats().packets_error, 1);
	assert_int_equal(rig.device->forced_keys, 1);
	submit_one();
	p = encoder_rig_receive();
	assert_true(p->flags & CAPTURE_PACKET_KEY);
	(void)capture_packet_unref(p);
	/* A frame that the rig.encoder left out is no loss. */
	rig.device->skip_packets = 1;
	submit_one();
	submit_one();
	p = encoder_rig_receive();
	assert_false(p->flags & CAPTURE_PACKET_KEY);
	(void)capture_packet_unref(p);
	assert_int_equal(rig.device->forced_keys, 1);
}

static void m2m_is_stale_after_a_source_change(void **state)
{
	struct capture_packet *p;

	(void)state;
	rig.device->has_events = true;
	open_codec(CAPTURE_FORMAT_H264);
	submit_one();
	rig.device->source_changes = 1;
	/* What came before it is good. */
	p = encoder_rig_receive();
	(void)capture_packet_unref(p);
	assert_int_equal(encoder_rig_receive_fails(), -ESTALE);
	assert_int_equal(encoder_rig_receive_fails(), -EIO);
}

/* It is not looked for at each turn, but found: poll() says it is there. */
static int receive_error_soon(void)
{
	int r = -EAGAIN;
	int i;

	for (i = 0; i < 8 && r == -EAGAIN; i++)
		r = encoder_rig_receive_fails();
	return r;
}

static void m2m_is_stale_when_the_device_ends_by_itself(void **state)
{
	(void)state;
	open_codec(CAPTURE_FORMAT_H264);
	rig.device->ends_by_itself = true;
	assert_int_equal(receive_error_soon(), -ESTALE);
}

static void m2m_takes_a_packet_of_no_frame_away(void **state)
{
	struct capture_packet *p;
	unsigned int i;

	(void)state;
	open_codec(CAPTURE_FORMAT_H264);
	rig.device->strange_keys = 1;
	submit_one();
	assert_int_equal(capture_encoder_receive(rig.encoder, 0, &p), -EAGAIN);
	assert_int_equal(encoder_rig_stats().packets_unpaired, 1);
	/* The next frame's packet has the frame left inside before it. */
	submit_one();
	(void)capture_packet_unref(encoder_rig_receive());
	for (i = 0; i < 8; i++)
		assert_int_equal(encoder_rig_receive_fails(), -EAGAIN);
	assert_int_equal(fake_v4l2_queued(rig.device), CAPTURE_ENCODER_BUFFERS);
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	assert_int_equal(encoder_rig_receive_fails(), -EPIPE);
	assert_int_equal(encoder_rig_stats().frames_skipped, 1);
}

static void
m2m_drain_without_stop_ends_though_the_last_was_skipped(void **state)
{
	uint64_t start_ns;

	(void)state;
	rig.device->no_stop = true;
	open_codec(CAPTURE_FORMAT_H264);
	rig.device->skip_packets = 1;
	submit_one();
	assert_int_equal(capture_encoder_drain(rig.encoder), 0);
	start_ns = encoder_rig_now();
	assert_int_equal(encoder_rig_receive_fails(), -EPIPE);
	assert_true(encoder_rig_now() - start_ns >=
		    ENCODER_RIG_TIMEOUT_NS - 1000000);
	assert_true(encoder_rig_now() - start_ns < 2 * ENCODER_RIG_TIMEOUT_NS);
	assert_int_equal(encoder_rig_stats().frames_skipped, 1);
}

static void m2m_tells_the_device_where_the_picture_ends(void **state)
{
	struct capture_encoder_config config =
		encoder_rig_config(CAPTURE_BACKEND_M2M, CAPTURE_FORMAT_H264);

	(void)state;
	rig.device->size_align = 128;
	open_codec(CAPTURE_FORMAT_H264);
	assert_int_equal(rig.device->crop_width, 64);
	assert_int_equal(rig.device->crop_height, 48);
	submit_one();
	(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(encoder_rig_stats().copies, 1);
	rig.encoder = capture_encoder_close(rig.encoder);
	rig.device->no_crop = true;
	config = encoder_rig_config(CAPTURE_BACKEND_M2M, CAPTURE_FORMAT_H264);
	assert_int_equal(capture_encoder_open(sys_fault(), &config,
					      &rig.encoder),
			 -ERANGE);
}

static void m2m_copies_into_planes_of_their_own(void **state)
{
	struct capture_packet *p;
	uint32_t crc;

	(void)state;
	rig.device->mplane = true;
	rig.device->own_planes = true;
	open_codec(CAPTURE_FORMAT_H264);
	/* The same bytes, one plane after the other. */
	crc = submit_one();
	p = encoder_rig_receive();
	assert_int_equal(fake_v4l2_packet_crc(p->data, p->bytes), crc);
	(void)capture_packet_unref(p);
	assert_false(encoder_rig_stats().source_imported);
	assert_int_equal(encoder_rig_stats().copies, 1);
	assert_int_equal(encoder_rig_stats().bytes_touched,
			 2 * ENCODER_RIG_BYTES);
}

/* --- frames that are not the camera's ----------------------------------- */

/* A frame as the library makes them, without a dma-buf. */
static int submit_own(uint32_t flag)
{
	struct capture_frame *f;
	uint32_t flags;
	int dmabuf_fd;
	int r;

	f = encoder_rig_frame();
	dmabuf_fd = f->planes[0].dmabuf_fd;
	flags = f->flags;
	f->planes[0].dmabuf_fd = -EBADF;
	f->flags |= flag;
	r = capture_encoder_submit(rig.encoder, f);
	f->planes[0].dmabuf_fd = dmabuf_fd;
	f->flags = flags;
	(void)capture_frame_unref(f);
	return r;
}

static void need_copies_when_nothing_is_inside(uint32_t flag)
{
	uint64_t i;

	open_codec(CAPTURE_FORMAT_H264);
	submit_one();
	assert_int_equal(submit_own(flag), -EAGAIN);
	assert_int_equal(encoder_rig_stats().imports_refused, 1);
	assert_true(encoder_rig_stats().source_imported);
	(void)capture_packet_unref(encoder_rig_receive());
	/* And one that was not made by the library is still refused. */
	assert_int_equal(submit_own(0), -EINVAL);
	for (i = 1; i < 4; i++) {
		assert_int_equal(submit_own(flag), 0);
		(void)capture_packet_unref(encoder_rig_receive());
		assert_false(encoder_rig_stats().source_imported);
		assert_int_equal(encoder_rig_stats().copies, i);
	}
	submit_one();
	(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(encoder_rig_stats().imports_refused, 1);
	assert_int_equal(encoder_rig_stats().packets_out, 5);
	assert_int_equal(encoder_rig_stats().frames_skipped, 0);
}

static void m2m_copies_a_copied_frame_it_cannot_import(void **state)
{
	(void)state;
	need_copies_when_nothing_is_inside(CAPTURE_FRAME_COPY);
}

static void m2m_copies_a_blank_frame_it_cannot_import(void **state)
{
	(void)state;
	need_copies_when_nothing_is_inside(CAPTURE_FRAME_BLANK);
}

static void m2m_skips_them_where_it_takes_no_copies(void **state)
{
	uint64_t i;

	(void)state;
	rig.device->no_mmap = true;
	open_codec(CAPTURE_FORMAT_H264);
	for (i = 1; i < 4; i++) {
		submit_one();
		(void)capture_packet_unref(encoder_rig_receive());
		assert_int_equal(submit_own(CAPTURE_FRAME_COPY), -EAGAIN);
		assert_int_equal(encoder_rig_stats().imports_refused, i);
		assert_true(encoder_rig_stats().source_imported);
	}
	/* Refused by the driver, not for the lack of a dma-buf. */
	rig.device->import_faults = true;
	assert_int_equal(submit_own(CAPTURE_FRAME_BLANK), -EAGAIN);
	rig.device->import_faults = false;
	submit_one();
	(void)capture_packet_unref(encoder_rig_receive());
	assert_int_equal(encoder_rig_stats().copies, 0);
}

#define CASE(name) \
	cmocka_unit_test_setup_teardown(name, setup, encoder_rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(m2m_leaves_packets_that_are_whole),
		CASE(m2m_repeats_headers_that_came_with_the_first_frame),
		CASE(m2m_joins_headers_that_came_alone),
		CASE(m2m_joins_headers_that_came_in_a_buffer_each),
		CASE(m2m_joins_headers_in_the_drivers_memory),
		CASE(m2m_joins_headers_of_hevc_behind_the_delimiter),
		CASE(m2m_hands_out_a_key_frame_without_room_for_headers),
		CASE(m2m_finds_key_frames_of_each_codec),
		CASE(m2m_sets_the_controls_of_h264),
		CASE(m2m_sets_the_controls_of_other_codecs),
		CASE(m2m_tells_controls_that_were_ignored_or_adjusted),
		CASE(m2m_refuses_controls_that_mean_nothing),
		CASE(m2m_pairs_a_packet_that_another_overtook),
		CASE(m2m_pairs_a_packet_that_as_many_as_may_be_overtook),
		CASE(m2m_drops_a_packet_that_more_overtook),
		CASE(m2m_drain_gives_a_packet_that_is_late),
		CASE(m2m_does_not_wait_for_an_overtaken_frame),
		CASE(m2m_forgets_skipped_frames_rather_than_refuse_one),
		CASE(m2m_asks_for_a_key_frame_after_a_loss),
		CASE(m2m_is_stale_after_a_source_change),
		CASE(m2m_is_stale_when_the_device_ends_by_itself),
		CASE(m2m_takes_a_packet_of_no_frame_away),
		CASE(m2m_drain_without_stop_ends_though_the_last_was_skipped),
		CASE(m2m_tells_the_device_where_the_picture_ends),
		CASE(m2m_copies_into_planes_of_their_own),
		CASE(m2m_copies_a_copied_frame_it_cannot_import),
		CASE(m2m_copies_a_blank_frame_it_cannot_import),
		CASE(m2m_skips_them_where_it_takes_no_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
