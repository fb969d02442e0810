/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/codec_check.h"

#include <errno.h>

#include "proto/h264.h"
#include "proto/h265.h"

#define AAC_TYPE_ESCAPE 31u
#define AAC_RATE_ESCAPE 15u
/* ISO/IEC 14496-3 table 1.19: up to here, and not 8..10. */
#define AAC_CHANNELS_MAX 14u

static const char *const texts[] = {
	[CODEC_PLAYABLE] = "plays",
	[CODEC_UNSUPPORTED] = "codec is not one that players take",
	[CODEC_ENCODED] = "frames are compressed or encrypted by Matroska",
	[CODEC_PRIVATE_MISSING] = "codec private is missing",
	[CODEC_PRIVATE_ANNEXB] = "codec private is Annex B, not avcC or hvcC",
	[CODEC_PRIVATE_INVALID] = "codec private is invalid",
};
_Static_assert(ARRAY_SIZE(texts) == CODEC_VERDICT_COUNT, "one per verdict");

static const char *const names[] = {
	[CODEC_OTHER] = "other",	[CODEC_H264] = "h264",
	[CODEC_H265] = "h265",		[CODEC_AAC] = "aac",
	[CODEC_ALAW] = "alaw",		[CODEC_MULAW] = "mulaw",
	[CODEC_MJPEG] = "mjpeg",	[CODEC_FWHT] = "fwht",
	[CODEC_RAW_VIDEO] = "rawvideo",
};

const char *codec_verdict_text(enum codec_verdict verdict)
{
	return texts[verdict];
}

const char *codec_name(enum media_codec codec)
{
	return names[codec];
}

/* --- AudioSpecificConfig -------------------------------------------------- */

struct bits {
	const uint8_t *bytes;
	size_t left; /* bits */
	unsigned int at;
	bool over;
};

static uint32_t bits_get(struct bits *b, unsigned int count)
{
	uint32_t value = 0;

	if (b->left < count) {
		b->over = true;
		return 0;
	}
	b->left -= count;
	for (; count; count--, b->at++)
		value = value << 1 |
			(b->bytes[b->at / 8] >> (7 - b->at % 8) & 1u);
	return value;
}

int aac_parse_config(const uint8_t *bytes, size_t len,
		     struct aac_config *ret_config)
{
	static const uint32_t rates[] = {96000, 88200, 64000, 48000, 44100,
					 32000, 24000, 22050, 16000, 12000,
					 11025, 8000,  7350};
	/* The fields before the codec's own: at most 5 + 6 + 4 + 24 + 4 bits. */
	struct bits b = {.bytes = bytes, .left = MIN(len, (size_t)8) * 8};
	struct aac_config c;
	uint32_t type = bits_get(&b, 5);
	uint32_t rate;
	uint32_t channels;

	if (type == AAC_TYPE_ESCAPE)
		type = 32 + bits_get(&b, 6);
	rate = bits_get(&b, 4);
	if (rate == AAC_RATE_ESCAPE)
		rate = bits_get(&b, 24);
	else
		rate = rate < ARRAY_SIZE(rates) ? rates[rate] : 0;
	channels = bits_get(&b, 4);
	if (b.over || !type || !rate || channels > AAC_CHANNELS_MAX ||
	    (channels >= 8 && channels <= 10))
		return -EBADMSG;
	c = (struct aac_config){
		.object_type = (uint8_t)type,
		.channel_config = (uint8_t)channels,
		.rate_hz = rate,
	};
	*ret_config = c;
	return 0;
}

/* --- tracks --------------------------------------------------------------- */

/* An avcC or hvcC begins with its version, 1. */
static bool is_annexb(const uint8_t *p, size_t len)
{
	return len >= 4 && !p[0] && !p[1] &&
	       (p[2] == 1 || (!p[2] && p[3] == 1));
}

static enum codec_verdict check_video(const struct mkv_track *t, bool h265)
{
	struct h264_avcc avcc;
	struct h265_hvcc hvcc;
	int r;

	if (!t->codec_private_bytes)
		return CODEC_PRIVATE_MISSING;
	if (is_annexb(t->codec_private, t->codec_private_bytes))
		return CODEC_PRIVATE_ANNEXB;
	if (h265)
		r = h265_parse_hvcc(t->codec_private, t->codec_private_bytes,
				    &hvcc);
	else
		r = h264_parse_avcc(t->codec_private, t->codec_private_bytes,
				    &avcc);
	return r < 0 ? CODEC_PRIVATE_INVALID : CODEC_PLAYABLE;
}

static enum codec_verdict check_aac(const struct mkv_track *t)
{
	struct aac_config config;

	if (!t->codec_private_bytes)
		return CODEC_PRIVATE_MISSING;
	return aac_parse_config(t->codec_private, t->codec_private_bytes,
				&config) < 0
		       ? CODEC_PRIVATE_INVALID
		       : CODEC_PLAYABLE;
}

enum codec_verdict codec_check(const struct mkv_track *track)
{
	if (track->encoded)
		return CODEC_ENCODED;
	switch (mkv_track_codec(track)) {
	case CODEC_H264:
		return check_video(track, false);
	case CODEC_H265:
		return check_video(track, true);
	case CODEC_AAC:
		return check_aac(track);
	case CODEC_ALAW: /* described by the sample entry alone */
	case CODEC_MULAW:
		return CODEC_PLAYABLE;
	case CODEC_OTHER:
	case CODEC_MJPEG:
	case CODEC_FWHT:
	case CODEC_RAW_VIDEO:
		break;
	}
	return CODEC_UNSUPPORTED;
}

bool codec_clip_tracks(const struct mkv_track *tracks, size_t count)
{
	enum media_codec first = mkv_track_codec(&tracks[0]);
	enum media_codec second;

	if (first != CODEC_H264 && first != CODEC_H265)
		return false;
	if (count == 1)
		return true;
	second = mkv_track_codec(&tracks[1]);
	return second == CODEC_AAC ||
	       (second == CODEC_ALAW && first == CODEC_H264);
}
