/* SPDX-License-Identifier: Apache-2.0 */
/*
 * G.711 of S16: a packet of a byte per sample for each frame. Its CodecPrivate
 * is the WAVEFORMATEX that Matroska's A_MS/ACM has, 18 bytes.
 */
#include "src/encoder_soft.h"

#include <errno.h>

#include "base/bytes.h"
#include "src/g711.h"

#define WAVE_FORMAT_ALAW 6
#define WAVE_FORMAT_MULAW 7
#define WAVE_FORMAT_BYTES 18
#define CHANNELS_MAX 2u

struct g711 {
	struct soft soft;
	uint8_t wave_format[WAVE_FORMAT_BYTES];
};

static struct g711 *g711_of(struct soft *s)
{
	return container_of(s, struct g711, soft);
}

static void fill_wave_format(const struct soft *s, uint8_t *to)
{
	const struct capture_format *source = &s->base.source;
	uint32_t channels = source->channels;

	store_le16(to, s->base.codec == CAPTURE_FORMAT_ALAW
			       ? WAVE_FORMAT_ALAW
			       : WAVE_FORMAT_MULAW);
	store_le16(to + 2, (uint16_t)channels);
	store_le32(to + 4, source->sample_rate);
	store_le32(to + 8, source->sample_rate * channels); /* bytes a second */
	store_le16(to + 12, (uint16_t)channels); /* bytes of a sample */
	store_le16(to + 14, 8);			 /* bits of a channel's */
	store_le16(to + 16, 0);			 /* bytes after these */
}

static int g711_open(struct soft *s,
		     const struct capture_encoder_config *config)
{
	const struct capture_format *source = &s->base.source;
	struct g711 *g = g711_of(s);

	(void)config;
	if (source->fourcc != CAPTURE_FORMAT_S16)
		return -EPROTONOSUPPORT;
	if (source->sample_bytes != 2 * source->channels ||
	    source->size[0] < source->sample_bytes)
		return -EINVAL;
	if (source->channels > CHANNELS_MAX ||
	    source->size[0] / source->sample_bytes > CAPTURE_FRAME_SAMPLES_MAX)
		return -ERANGE;
	fill_wave_format(s, g->wave_format);
	s->base.codec_private = g->wave_format;
	s->base.codec_private_bytes = sizeof(g->wave_format);
	s->slot_bytes = source->size[0] / 2;
	return 0;
}

static void g711_close(struct soft *s)
{
	(void)s; /* nothing but its memory */
}

static int g711_encode(struct soft *s, const struct capture_frame *frame,
		       const uint8_t *const *src)
{
	size_t count = frame->planes[0].bytesused / 2;
	bool alaw = s->base.codec == CAPTURE_FORMAT_ALAW;
	struct soft_slot *slot;
	uint8_t *to;
	size_t i;

	slot = soft_slot_find(s, &to);
	for (i = 0; i < count; i++) {
		int16_t v = (int16_t)load_le16(src[0] + 2 * i);

		to[i] = alaw ? g711_alaw(v) : g711_ulaw(v);
	}
	soft_slot_push(s, slot, &s->origin, count);
	return 0;
}

const struct soft_codec soft_g711 = {
	.name = "g711",
	.object_bytes = sizeof(struct g711),
	.open = g711_open,
	.close = g711_close,
	.encode = g711_encode,
};
