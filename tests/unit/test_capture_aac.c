/* SPDX-License-Identifier: Apache-2.0 */
/* AAC comes out of a decoder as it went in, at the time that it went in. */
#include <capture/encoder.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <capture/source.h>

#include "base/bytes.h"
#include "base/macros.h"
#include "src/frame.h"
#include "src/pattern.h"
#include "support/sys_fault.h"

#if HAVE_AVCODEC

#include <libavcodec/avcodec.h>

#define RATE 48000
#define BLOCK 1024
#define START_NS UINT64_C(5000000000)
/* Not a divisor of a block. */
#define FRAME_SAMPLES 700u
#define SAMPLES_MAX (100 * 1024)

static struct capture_encoder *encoder;
static uint8_t samples[FRAME_SAMPLES * 4];
static struct frame_holder holder;

static void no_release(struct frame_holder *h)
{
	(void)h;
}

static int setup(void **state)
{
	(void)state;
	sys_fault_reset();
	encoder = NULL;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	encoder = capture_encoder_close(encoder);
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static int open_aac(uint32_t channels, uint32_t rate)
{
	struct capture_format format = {
		.fourcc = CAPTURE_FORMAT_S16,
		.media = CAPTURE_MEDIA_SAMPLES,
		.plane_count = 1,
		.size = {FRAME_SAMPLES * 2 * channels},
		.sample_rate = rate,
		.sample_bytes = 2 * channels,
		.channels = channels,
	};
	struct capture_encoder_config config;

	capture_encoder_config_init(&config);
	config.codec = CAPTURE_FORMAT_AAC;
	config.source = &format;
	return capture_encoder_open(sys_fault(), &config, &encoder);
}

/* Frame @n of the tone, stamped as a source does. */
static struct capture_frame *frame_of(uint64_t n, uint32_t channels)
{
	struct capture_frame *f = &holder.frame;

	pattern_tone(n * FRAME_SAMPLES, FRAME_SAMPLES, RATE, channels, samples);
	memset(&holder, 0, sizeof(holder));
	holder.refs = 1;
	holder.release = no_release;
	f->fourcc = CAPTURE_FORMAT_S16;
	f->sequence = (uint32_t)n;
	f->stamp_ns =
		START_NS + n * FRAME_SAMPLES * UINT64_C(1000000000) / RATE;
	f->clock = CAPTURE_CLOCK_MONOTONIC;
	f->point = CAPTURE_POINT_FIRST_SAMPLE;
	f->device_ticks = n * FRAME_SAMPLES;
	f->device_hz = RATE;
	f->plane_count = 1;
	f->planes[0].dmabuf_fd = -EBADF;
	f->planes[0].map = samples;
	f->planes[0].length = FRAME_SAMPLES * 2 * channels;
	f->planes[0].bytesused = f->planes[0].length;
	return f;
}

/* --- what a decoder makes of it ----------------------------------------- */

static AVCodecContext *decoder;
static AVFrame *decoded;
static AVPacket *packet;
static float sound[2][SAMPLES_MAX];

static void decoder_open(void)
{
	const AVCodec *codec = avcodec_find_decoder(AV_CODEC_ID_AAC);
	const uint8_t *data;
	size_t bytes;

	assert_non_null(codec);
	assert_int_equal(capture_encoder_codec_private(encoder, &data, &bytes),
			 0);
	decoder = avcodec_alloc_context3(codec);
	decoder->extradata = av_mallocz(bytes + AV_INPUT_BUFFER_PADDING_SIZE);
	memcpy(decoder->extradata, data, bytes);
	decoder->extradata_size = (int)bytes;
	assert_int_equal(avcodec_open2(decoder, codec, NULL), 0);
	decoded = av_frame_alloc();
	packet = av_packet_alloc();
	memset(sound, 0, sizeof(sound));
}

static void decoder_close(void)
{
	avcodec_free_context(&decoder);
	av_frame_free(&decoded);
	av_packet_free(&packet);
}

/* Puts what the packet decodes to where its stamp says. */
static void decode(const struct capture_packet *p)
{
	int64_t ns = (int64_t)(p->stamp_ns - START_NS);
	int64_t at = (ns * RATE + 500000000) / 1000000000;
	int c;
	int i;

	if (ns < 0)
		at = -((-ns * RATE + 500000000) / 1000000000);
	assert_int_equal(av_new_packet(packet, (int)p->bytes), 0);
	memcpy(packet->data, p->data, p->bytes);
	assert_int_equal(avcodec_send_packet(decoder, packet), 0);
	av_packet_unref(packet);
	assert_int_equal(avcodec_receive_frame(decoder, decoded), 0);
	assert_int_equal(decoded->nb_samples, BLOCK);
	assert_int_equal(decoded->sample_rate, RATE);
	for (c = 0; c < decoded->ch_layout.nb_channels; c++) {
		const float *from = (const float *)(void *)decoded->data[c];

		for (i = 0; i < BLOCK; i++) {
			if (at + i >= 0 && at + i < SAMPLES_MAX)
				sound[c][at + i] = from[i];
		}
	}
}

/* Signal to noise, as a ratio of powers. */
static double snr_of(int c, uint64_t from, uint64_t to)
{
	double signal = 0;
	double noise = 1e-30;
	uint64_t i;

	for (i = from; i < to; i++) {
		uint8_t bytes[2];
		double was;
		double is = sound[c][i];

		pattern_tone(i, 1, RATE, 1, bytes);
		was = (int16_t)load_le16(bytes) / 32768.0;
		signal += was * was;
		noise += (was - is) * (was - is);
	}
	return signal / noise;
}

static uint64_t receive_all(uint64_t last_ns, int *count)
{
	struct capture_packet *p;

	while (capture_encoder_receive(encoder, 0, &p) == 0) {
		if (!*count)
			assert_int_equal(p->stamp_ns,
					 START_NS - UINT64_C(21333333));
		else
			assert_in_range(p->stamp_ns - last_ns, 21333332,
					21333334);
		assert_true(p->flags & CAPTURE_PACKET_KEY);
		last_ns = p->stamp_ns;
		decode(p);
		(*count)++;
		(void)capture_packet_unref(p);
	}
	return last_ns;
}

static void sound_comes_back_at_its_time(void **state)
{
	struct capture_packet *p;
	uint64_t last_ns = 0;
	int count = 0;
	uint64_t n;

	(void)state;
	assert_int_equal(open_aac(2, RATE), 0);
	decoder_open();
	for (n = 0; n < 60; n++) {
		assert_int_equal(
			capture_encoder_submit(encoder, frame_of(n, 2)), 0);
		last_ns = receive_all(last_ns, &count);
	}
	assert_int_equal(capture_encoder_drain(encoder), 0);
	(void)receive_all(last_ns, &count);
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EPIPE);
	/* 60 frames are 41.02 blocks; one more for the priming. */
	assert_int_equal(count, 43);
	/* 30 dB, from the first sample to the last. */
	assert_true(snr_of(0, 0, 60 * FRAME_SAMPLES) > 1000);
	assert_true(snr_of(1, 0, 60 * FRAME_SAMPLES) > 1000);
	decoder_close();
}

static void device_clock_goes_along(void **state)
{
	struct capture_packet *p;
	uint64_t n;

	(void)state;
	assert_int_equal(open_aac(1, RATE), 0);
	for (n = 100; n < 107; n++)
		assert_int_equal(
			capture_encoder_submit(encoder, frame_of(n, 1)), 0);
	for (n = 0; n < 2; n++) {
		assert_int_equal(capture_encoder_receive(encoder, 0, &p), 0);
		assert_int_equal(p->device_ticks + BLOCK,
				 100 * FRAME_SAMPLES + n * BLOCK);
		assert_int_equal(p->device_hz, RATE);
		(void)capture_packet_unref(p);
	}
}

static void epochs_share_no_packet(void **state)
{
	struct capture_packet *p;
	struct capture_frame *f;
	uint64_t second_ns = START_NS + UINT64_C(60000000000);
	bool seen = false;
	int n;

	(void)state;
	assert_int_equal(open_aac(1, RATE), 0);
	for (n = 0; n < 9; n++) {
		f = frame_of((uint64_t)n, 1);
		if (n >= 3) {
			f->epoch = 1;
			f->stamp_ns = second_ns + (uint64_t)(n - 3) * 14583333;
		}
		assert_int_equal(capture_encoder_submit(encoder, f), 0);
		while (capture_encoder_receive(encoder, 0, &p) == 0) {
			/* The first block begins with the first sample. */
			if (p->epoch && !seen)
				assert_int_equal(p->stamp_ns, second_ns);
			seen = seen || p->epoch;
			assert_int_equal(p->epoch, seen);
			assert_true(seen || p->stamp_ns < second_ns);
			(void)capture_packet_unref(p);
		}
	}
	assert_true(seen);
}

static void a_full_encoder_says_so(void **state)
{
	struct capture_packet *p;
	int submitted = 0;
	int got = 0;
	int r;

	(void)state;
	assert_int_equal(open_aac(1, RATE), 0);
	do {
		r = capture_encoder_submit(encoder,
					   frame_of((uint64_t)submitted, 1));
		submitted++;
	} while (r == 0 && submitted < 100);
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(capture_encoder_drain(encoder), -EAGAIN);
	while (capture_encoder_receive(encoder, 0, &p) == 0) {
		got++;
		(void)capture_packet_unref(p);
	}
	assert_true(got > 0);
	assert_int_equal(capture_encoder_drain(encoder), 0);
}

static void what_it_cannot_do_is_refused(void **state)
{
	(void)state;
	assert_int_equal(open_aac(3, RATE), -ERANGE);
	assert_int_equal(open_aac(1, 12345), -ERANGE);
	/* Closed without a sample, and with one that is still inside. */
	assert_int_equal(open_aac(1, RATE), 0);
	assert_int_equal(capture_encoder_drain(encoder), 0);
	encoder = capture_encoder_close(encoder);
	assert_int_equal(open_aac(1, 8000), 0);
	assert_int_equal(capture_encoder_submit(encoder, frame_of(0, 1)), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(sound_comes_back_at_its_time),
		TEST(device_clock_goes_along),
		TEST(epochs_share_no_packet),
		TEST(a_full_encoder_says_so),
		TEST(what_it_cannot_do_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void aac_is_not_built_in(void **state)
{
	struct capture_format format = {
		.fourcc = CAPTURE_FORMAT_S16,
		.media = CAPTURE_MEDIA_SAMPLES,
		.plane_count = 1,
		.size = {960},
		.sample_rate = 48000,
		.sample_bytes = 2,
		.channels = 1,
	};
	struct capture_encoder_config config;
	struct capture_encoder *encoder;

	(void)state;
	capture_encoder_config_init(&config);
	config.codec = CAPTURE_FORMAT_AAC;
	config.source = &format;
	assert_int_equal(capture_encoder_open(NULL, &config, &encoder),
			 -ENODEV);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(aac_is_not_built_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
