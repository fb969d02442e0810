/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FFV1 version 3 of pictures of counts, by libavcodec: 16 bits of grey,
 * lossless, every frame a key frame, each slice with its CRC. One thread, the
 * caller's. libavcodec allocates each packet; it is copied into a slot, which
 * is counted. It also keeps 148 bytes a pixel for the longest packet that it
 * can think of, hence the bound on pixels.
 */
#include "src/encoder_soft.h"

#include <errno.h>
#include <string.h>

#include "src/avcodec.h"
#include "src/thermal_map.h"

/*
 * Slices of one line or column come out of libavcodec's decoder wrong (59.37,
 * 2 lines in 2 slices); no sensor has so few.
 */
#define SIDE_MIN 8u
#define SIDE_MAX 4096u
#define SLICES 4
#define LEVEL 3
/*
 * Noise of 16 bits costs 18 or so a pixel; what needs more than three bytes
 * a pixel is dropped and counted. The rest is for heads of slices.
 */
#define BYTES_PER_PIXEL_MAX 3u
#define HEAD_BYTES_MAX 4096u

struct ffv1 {
	struct soft soft;
	AVCodecContext *codec;
	AVFrame *picture;
	AVPacket *packet;
	uint16_t *counts; /* in this machine's order, without padding */
};

static struct ffv1 *ffv1_of(struct soft *s)
{
	return container_of(s, struct ffv1, soft);
}

static int check_source(const struct soft *s)
{
	const struct capture_format *source = &s->base.source;

	if (!thermal_bits(source->fourcc))
		return -EPROTONOSUPPORT;
	if (!s->base.layout.count)
		return -EINVAL; /* strides that cannot be */
	if (source->width < SIDE_MIN || source->width > SIDE_MAX ||
	    source->height < SIDE_MIN || source->height > SIDE_MAX ||
	    source->width * source->height > CAPTURE_FFV1_PIXELS_MAX)
		return -ERANGE;
	return 0;
}

static int open_codec(struct ffv1 *f)
{
	const AVCodec *codec = NULL;
	AVCodecContext *c;
	int r;

	if (libav())
		codec = libav()->avcodec_find_encoder(AV_CODEC_ID_FFV1);
	if (!codec)
		return -ENODEV; /* no libavcodec, or one without it */
	f->codec = libav()->avcodec_alloc_context3(codec);
	f->picture = libav()->av_frame_alloc();
	f->packet = libav()->av_packet_alloc();
	if (!f->codec || !f->picture || !f->packet)
		return -ENOMEM;
	c = f->codec;
	c->width = (int)f->soft.base.source.width;
	c->height = (int)f->soft.base.source.height;
	c->pix_fmt = AV_PIX_FMT_GRAY16;
	c->time_base = (AVRational){1, 1000000};
	c->gop_size = 1;
	c->level = LEVEL;
	c->slices = SLICES;
	c->thread_count = 1;
	r = libav()->av_opt_set_int(c->priv_data, "slicecrc", 1, 0);
	if (r == 0) /* the only coder of 16 bits: else it says so on stderr */
		r = libav()->av_opt_set(c->priv_data, "coder", "ac", 0);
	if (r == 0)
		r = libav()->avcodec_open2(c, codec, NULL);
	return r < 0 ? avcodec_errno(r) : 0;
}

/* In a buffer of libavcodec's kind: any other it would copy once more. */
static int open_picture(struct ffv1 *f)
{
	AVFrame *p = f->picture;

	p->format = f->codec->pix_fmt;
	p->width = f->codec->width;
	p->height = f->codec->height;
	p->linesize[0] = 2 * p->width;
	p->buf[0] =
		libav()->av_buffer_allocz((size_t)p->linesize[0] * (size_t)p->height +
				 AV_INPUT_BUFFER_PADDING_SIZE);
	if (!p->buf[0])
		return -ENOMEM;
	p->data[0] = p->buf[0]->data;
	f->counts = (uint16_t *)(void *)p->data[0];
	return 0;
}

/* Of one frame in comes one packet out: it keeps nothing back. */
static int encode(struct ffv1 *f)
{
	AVFrame *p = f->picture;
	int r;

	p->pts = (int64_t)f->soft.origin.key;
	r = libav()->avcodec_send_frame(f->codec, p);
	if (r == 0)
		r = libav()->avcodec_receive_packet(f->codec, f->packet);
	return r < 0 ? avcodec_errno(r) : 0;
}

/*
 * A picture of zeros, thrown away: libavcodec touches most of its memory at
 * the first, which would hold up whoever shares the thread by then. Each
 * picture stands alone, so none after it is another for that.
 */
static int warm_up(struct ffv1 *f)
{
	int r = encode(f);

	libav()->av_packet_unref(f->packet);
	return r;
}

static int ffv1_open(struct soft *soft,
		     const struct capture_encoder_config *config)
{
	struct ffv1 *f = ffv1_of(soft);
	const struct capture_format *source = &soft->base.source;
	size_t pixels = (size_t)source->width * source->height;
	int r;

	(void)config;
	r = check_source(soft);
	if (r < 0)
		return r;
	r = open_codec(f);
	if (r == 0)
		r = open_picture(f);
	if (r < 0)
		return r;
	if (f->codec->extradata_size <= 0)
		return -EIO; /* no configuration record: not version 3 */
	soft->base.codec_private = f->codec->extradata;
	soft->base.codec_private_bytes = (size_t)f->codec->extradata_size;
	soft->slot_bytes =
		ALIGN_UP(pixels * BYTES_PER_PIXEL_MAX, 4096u) + HEAD_BYTES_MAX;
	return warm_up(f);
}

static void ffv1_close(struct soft *soft)
{
	struct ffv1 *f = ffv1_of(soft);

	if (!f->codec && !f->picture && !f->packet)
		return; /* also when there is no libavcodec */
	libav()->av_packet_free(&f->packet);
	libav()->av_frame_free(&f->picture);
	libav()->avcodec_free_context(&f->codec);
}

static void read_counts(struct ffv1 *f, const struct capture_frame *frame,
			const uint8_t *src)
{
	struct capture_encoder_stats *stats = &f->soft.base.stats;
	const struct pix_component *c = &f->soft.base.layout.components[0];
	size_t y;

	for (y = 0; y < c->rows; y++)
		thermal_read_row(frame->fourcc, src + y * c->stride,
				 f->counts + y * frame->width, frame->width);
	stats->copies++;
	stats->bytes_touched +=
		(c->row_bytes + 2 * (size_t)frame->width) * c->rows;
}

static void store(struct ffv1 *f)
{
	struct capture_encoder_stats *stats = &f->soft.base.stats;
	struct soft_slot *slot;
	uint8_t *room;
	size_t bytes = (size_t)f->packet->size;

	slot = soft_slot_find(&f->soft, &room);
	if (!bytes || bytes > f->soft.slot_bytes) {
		stats->packets_error++;
		return;
	}
	memcpy(room, f->packet->data, bytes);
	stats->bytes_copied_out += bytes;
	soft_slot_push(&f->soft, slot, &f->soft.origin, bytes);
}

static int ffv1_encode(struct soft *soft, const struct capture_frame *frame,
		       const uint8_t *const *src)
{
	struct ffv1 *f = ffv1_of(soft);
	int r;

	read_counts(f, frame, src[0]);
	r = encode(f);
	if (r < 0)
		return r;
	store(f);
	libav()->av_packet_unref(f->packet);
	return 0;
}

const struct soft_codec soft_ffv1 = {
	.name = "ffv1",
	.object_bytes = sizeof(struct ffv1),
	.open = ffv1_open,
	.close = ffv1_close,
	.encode = ffv1_encode,
};
