/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AAC-LC of S16, by libavcodec. Samples gather in blocks of 1024, whatever the
 * frames' length; a packet is stamped with the first sample that a decoder
 * gives for it. The encoder looks one block ahead: what a decoder gives for
 * the first packet lies 1024 samples before the first frame (priming), and so
 * is stamped there. No reader need know of a delay.
 */
#include "src/encoder_soft.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "src/avcodec.h"

#define BLOCK 1024u
#define CHANNELS_MAX 2u
#define BITRATE_PER_CHANNEL 64000
/* 6144 bits a channel by the standard, and heads. */
#define PACKET_BYTES_PER_CHANNEL 1024u
/* What the encoder may give when it ends: the last block, and its tail. */
#define DRAIN_PACKETS 3u
/* Blocks whose origins are kept: more than the encoder holds. */
#define BLOCKS_KEPT 8u

struct aac {
	struct soft soft;
	AVCodecContext *codec;
	AVFrame *block;
	AVPacket *packet;
	uint32_t fill;				   /* samples in @block */
	uint64_t blocks;			   /* given to the encoder */
	struct packet_origin origins[BLOCKS_KEPT]; /* by block % */
};

static struct aac *aac_of(struct soft *s)
{
	return container_of(s, struct aac, soft);
}

/* --- opening ------------------------------------------------------------ */

static bool has_rate(const AVCodec *codec, uint32_t rate)
{
	const int *at = codec->supported_samplerates;

	for (; at && *at; at++) {
		if ((uint32_t)*at == rate)
			return true;
	}
	return !codec->supported_samplerates;
}

static int check_source(struct soft *s, const AVCodec *codec)
{
	const struct capture_format *source = &s->base.source;
	uint32_t samples;

	if (source->fourcc != CAPTURE_FORMAT_S16)
		return -EPROTONOSUPPORT;
	if (source->sample_bytes != 2 * source->channels ||
	    source->size[0] < source->sample_bytes)
		return -EINVAL;
	if (source->channels > CHANNELS_MAX ||
	    !has_rate(codec, source->sample_rate))
		return -ERANGE;
	samples = source->size[0] / source->sample_bytes;
	if (samples > BLOCK * CAPTURE_BUFFERS_MAX / 2)
		return -ERANGE;
	/* And one for a block that a new epoch ends early. */
	s->slots_per_frame =
		MAX((BLOCK - 1 + samples) / BLOCK + 1, DRAIN_PACKETS);
	s->slot_bytes = (size_t)PACKET_BYTES_PER_CHANNEL * source->channels;
	return 0;
}

static int open_codec(struct aac *a, const AVCodec *codec, int64_t bitrate)
{
	const struct capture_format *source = &a->soft.base.source;
	AVCodecContext *c = a->codec;
	int r;

	if (bitrate < 0)
		bitrate = (int64_t)BITRATE_PER_CHANNEL * source->channels;
	c->sample_fmt = AV_SAMPLE_FMT_FLTP;
	c->sample_rate = (int)source->sample_rate;
	c->time_base = (AVRational){1, (int)source->sample_rate};
	c->bit_rate = bitrate;
	c->profile = FF_PROFILE_AAC_LOW;
	c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
	/* It tells the user's terminal how it went at its end. */
	c->log_level_offset = AV_LOG_TRACE;
	libav()->av_channel_layout_default(&c->ch_layout, (int)source->channels);
	r = libav()->avcodec_open2(c, codec, NULL);
	if (r < 0)
		return avcodec_errno(r);
	if (c->frame_size != (int)BLOCK || c->initial_padding != (int)BLOCK ||
	    c->extradata_size <= 0)
		return -EPROTO; /* not what the stamps are made for */
	a->block->format = c->sample_fmt;
	a->block->nb_samples = (int)BLOCK;
	a->block->sample_rate = c->sample_rate;
	r = libav()->av_channel_layout_copy(&a->block->ch_layout, &c->ch_layout);
	if (r == 0)
		r = libav()->av_frame_get_buffer(a->block, 0);
	return r < 0 ? avcodec_errno(r) : 0;
}

static int aac_open(struct soft *s, const struct capture_encoder_config *config)
{
	const AVCodec *codec = NULL;
	struct aac *a = aac_of(s);
	int r;

	if (libav())
		codec = libav()->avcodec_find_encoder(AV_CODEC_ID_AAC);
	if (!codec)
		return -ENODEV; /* no libavcodec, or one without it */
	r = check_source(s, codec);
	if (r < 0)
		return r;
	a->codec = libav()->avcodec_alloc_context3(codec);
	a->block = libav()->av_frame_alloc();
	a->packet = libav()->av_packet_alloc();
	if (!a->codec || !a->block || !a->packet)
		return -ENOMEM;
	r = open_codec(a, codec, config->controls.bitrate);
	if (r < 0)
		return r;
	s->base.codec_private = a->codec->extradata;
	s->base.codec_private_bytes = (size_t)a->codec->extradata_size;
	return 0;
}

static void aac_close(struct soft *s)
{
	struct aac *a = aac_of(s);

	if (!a->codec && !a->block && !a->packet)
		return; /* also when there is no libavcodec */
	libav()->av_packet_free(&a->packet);
	libav()->av_frame_free(&a->block);
	libav()->avcodec_free_context(&a->codec);
}

/* --- packets ------------------------------------------------------------ */

/* Back by one block: what the first packet decodes to. */
static void retreat(struct packet_origin *origin, uint32_t sample_rate)
{
	struct packet_origin step = {.device_hz = origin->device_hz};

	packet_origin_advance(&step, BLOCK, sample_rate);
	origin->stamp_ns -= MIN(origin->stamp_ns, step.stamp_ns);
	origin->aligned.ns -= MIN(origin->aligned.ns, step.stamp_ns);
	if (origin->device_ticks < step.device_ticks)
		origin->device_hz = 0; /* its clock did not yet run then */
	else
		origin->device_ticks -= step.device_ticks;
	if (!origin->device_hz)
		origin->device_ticks = 0;
}

/* Where and when sample @position entered: a block's first one, mostly. */
static struct packet_origin origin_of(const struct aac *a, int64_t position)
{
	uint32_t rate = a->soft.base.source.sample_rate;
	uint64_t number = position < 0 ? 0 : (uint64_t)position / BLOCK;
	struct packet_origin origin;

	number = MIN(number, a->blocks - 1);
	origin = a->origins[number % BLOCKS_KEPT];
	if (position < 0)
		retreat(&origin, rate);
	else
		packet_origin_advance(
			&origin, (uint64_t)position - number * BLOCK, rate);
	return origin;
}

static int push_packet(struct aac *a)
{
	struct capture_encoder_stats *stats = &a->soft.base.stats;
	size_t bytes = (size_t)a->packet->size;
	struct packet_origin origin = origin_of(a, a->packet->pts);
	struct soft_slot *slot;
	uint8_t *to;

	slot = soft_slot_find(&a->soft, &to);
	if (!slot)
		return -EPROTO; /* more packets than blocks */
	if (!bytes || bytes > a->soft.slot_bytes) {
		stats->packets_error++;
		return 0;
	}
	memcpy(to, a->packet->data, bytes);
	stats->bytes_copied_out += bytes;
	soft_slot_push(&a->soft, slot, &origin, bytes);
	return 0;
}

/* All that the encoder has now. */
static int receive(struct aac *a)
{
	int r;

	for (;;) {
		r = libav()->avcodec_receive_packet(a->codec, a->packet);
		if (r == AVERROR(EAGAIN) || r == AVERROR_EOF)
			return 0;
		if (r < 0)
			return avcodec_errno(r);
		r = push_packet(a);
		libav()->av_packet_unref(a->packet);
		if (r < 0)
			return r;
	}
}

/* The block as it is, filled up with silence. */
static int send_block(struct aac *a)
{
	uint32_t c;
	int r;

	for (c = 0; c < a->soft.base.source.channels; c++)
		memset(a->block->data[c] + (size_t)4 * a->fill, 0,
		       (size_t)4 * (BLOCK - a->fill));
	a->block->pts = (int64_t)(a->blocks * BLOCK);
	a->blocks++;
	a->fill = 0;
	r = libav()->avcodec_send_frame(a->codec, a->block);
	return r < 0 ? avcodec_errno(r) : receive(a);
}

/* --- samples ------------------------------------------------------------ */

/* @count samples behind those that are there. */
static void append(struct aac *a, const uint8_t *from, uint32_t count)
{
	uint32_t channels = a->soft.base.source.channels;
	uint32_t c;
	uint32_t i;

	for (c = 0; c < channels; c++) {
		float *to = (float *)(void *)a->block->data[c] + a->fill;
		const uint8_t *at = from + (size_t)2 * c;

		for (i = 0; i < count; i++) {
			to[i] = (float)(int16_t)load_le16(at) / 32768.0f;
			at += (size_t)2 * channels;
		}
	}
	a->fill += count;
}

/* The block that is being filled begins with sample @at of this frame. */
static int begin_block(struct aac *a, uint32_t at)
{
	struct packet_origin *origin = &a->origins[a->blocks % BLOCKS_KEPT];
	int r;

	*origin = a->soft.origin;
	packet_origin_advance(origin, at, a->soft.base.source.sample_rate);
	/* The encoder may still hold the last block's memory. */
	r = libav()->av_frame_make_writable(a->block);
	return r < 0 ? avcodec_errno(r) : 0;
}

static int aac_encode(struct soft *s, const struct capture_frame *frame,
		      const uint8_t *const *src)
{
	uint32_t sample_bytes = s->base.source.sample_bytes;
	uint32_t count = frame->planes[0].bytesused / sample_bytes;
	struct aac *a = aac_of(s);
	uint32_t at = 0;
	uint32_t n;
	int r = 0;

	/* Samples of two epochs have a hole of unknown length between them. */
	if (a->fill &&
	    a->origins[a->blocks % BLOCKS_KEPT].epoch != s->origin.epoch)
		r = send_block(a);
	while (at < count && r == 0) {
		if (!a->fill)
			r = begin_block(a, at);
		if (r < 0)
			return r;
		n = MIN(count - at, BLOCK - a->fill);
		append(a, src[0] + (size_t)at * sample_bytes, n);
		at += n;
		if (a->fill == BLOCK)
			r = send_block(a);
	}
	return r;
}

static int aac_drain(struct soft *s)
{
	struct aac *a = aac_of(s);
	int r = 0;

	if (!a->blocks && !a->fill)
		return 0;
	if (a->fill)
		r = send_block(a);
	if (r == 0)
		r = libav()->avcodec_send_frame(a->codec, NULL);
	if (r < 0)
		return avcodec_errno(r);
	return receive(a);
}

const struct soft_codec soft_aac = {
	.name = "aac",
	.object_bytes = sizeof(struct aac),
	.open = aac_open,
	.close = aac_close,
	.encode = aac_encode,
	.drain = aac_drain,
};
