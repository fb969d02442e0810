/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track.h"

#include <stdio.h>
#include <string.h>

#include <capture/thermal.h>

#include "agent/pipeline.h"
#include "proto/mkv_writer.h"

#define WAVE_ALAW 6u
#define WAVE_ULAW 7u

_Static_assert(MKV_BITMAPINFO_BYTES <= TRACK_PRIVATE_CHARS, "fits");
_Static_assert(MKV_WAVEFORMATEX_BYTES <= TRACK_PRIVATE_CHARS, "fits");
_Static_assert(AGENT_LABEL_CHARS + sizeof("-view") - 1 <= TRACK_NAME_CHARS,
	       "a view's name");

static bool is_data(const struct agent_source *s)
{
	return agent_source_class(s) == AGENT_CLASS_DATA;
}

static bool predicts(uint32_t codec)
{
	return codec == CAPTURE_FORMAT_H264 || codec == CAPTURE_FORMAT_HEVC ||
	       codec == CAPTURE_FORMAT_FWHT || codec == CAPTURE_FORMAT_VP8;
}

unsigned int track_rank(const struct agent_source *source,
			const struct output_info *info)
{
	if (is_data(source))
		return 3;
	if (info->format.media != CAPTURE_MEDIA_PICTURE)
		return 2;
	return predicts(info->codec) ? 0 : 1;
}

static void use_private(struct track *t, size_t bytes)
{
	t->kvs.codec_private = (const uint8_t *)t->private;
	t->kvs.codec_private_bytes = bytes;
}

static void describe_video(struct track *t, const struct output_info *i,
			   bool encoded)
{
	struct kvs_track *k = &t->kvs;

	k->kind = KVS_TRACK_VIDEO;
	k->width = i->format.width;
	k->height = i->format.height;
	if (i->codec == CAPTURE_FORMAT_H264) {
		k->payload = KVS_PAYLOAD_H264_ANNEXB;
		k->codec_id = "V_MPEG4/ISO/AVC";
	} else if (i->codec == CAPTURE_FORMAT_HEVC) {
		k->payload = KVS_PAYLOAD_H265_ANNEXB;
		k->codec_id = "V_MPEGH/ISO/HEVC";
	} else if (i->codec == CAPTURE_FORMAT_VP8) {
		k->codec_id = "V_VP8";
	} else if (i->codec == CAPTURE_FORMAT_MJPG ||
		   i->codec == CAPTURE_FORMAT_JPEG) {
		k->codec_id = "V_MJPEG";
	} else if (i->codec == CAPTURE_FORMAT_FFV1) {
		k->codec_id = "V_FFV1";
		k->codec_private = i->private;
		k->codec_private_bytes = i->private_bytes;
	} else if (!encoded || i->codec == CAPTURE_FORMAT_Y16) {
		k->codec_id = "V_UNCOMPRESSED";
		k->fourcc = i->codec == CAPTURE_FORMAT_Y16 ?
				    CAPTURE_THERMAL_COLOUR_SPACE : i->codec;
	} else {
		k->codec_id = "V_MS/VFW/FOURCC";
		mkv_bitmapinfo((uint8_t *)t->private, i->codec,
			       i->format.width, i->format.height);
		use_private(t, MKV_BITMAPINFO_BYTES);
	}
}

static void describe_audio(struct track *t, const struct output_info *i)
{
	struct kvs_track *k = &t->kvs;
	bool alaw = i->codec == CAPTURE_FORMAT_ALAW;

	k->kind = KVS_TRACK_AUDIO;
	k->sample_rate = i->format.sample_rate;
	k->channels = i->format.channels;
	k->sample_bits = 16;
	if (i->codec == CAPTURE_FORMAT_AAC) {
		k->codec_id = "A_AAC";
		k->codec_private = i->private;
		k->codec_private_bytes = i->private_bytes;
	} else if (alaw || i->codec == CAPTURE_FORMAT_ULAW) {
		k->codec_id = "A_MS/ACM";
		k->sample_bits = 8;
		mkv_waveformatex((uint8_t *)t->private,
				 alaw ? WAVE_ALAW : WAVE_ULAW,
				 (uint16_t)k->channels, k->sample_rate, 8);
		use_private(t, MKV_WAVEFORMATEX_BYTES);
	} else {
		k->codec_id = "A_PCM/INT/LIT";
	}
}

static void describe_data(struct track *t, const struct agent_source *s,
			  const struct output_info *i)
{
	static const char *const ids[AGENT_KIND_COUNT] = {
		[AGENT_SDR] = "D_KVSD/SDR",
		[AGENT_METADATA] = "D_KVSD/METADATA",
		[AGENT_IIO] = "D_KVSD/IIO",
		[AGENT_RECORDS] = "D_KVSD/RECORDS",
		[AGENT_SYNTHETIC] = "D_KVSD/RECORDS",
	};
	char format[5];
	int len;

	fourcc_text(i->codec, format);
	t->kvs.kind = KVS_TRACK_DATA;
	t->kvs.payload = KVS_PAYLOAD_TIMED;
	t->kvs.codec_id = ids[s->kind];
	/* fourcc_text() may give quotes only if the driver's fourcc has. */
	for (char *c = format; *c; c++)
		if (*c == '"' || *c == '\\')
			*c = '?';
	len = snprintf(t->private, sizeof(t->private),
		       "{\"format\":\"%s\",\"time_bytes\":%d,"
		       "\"sample_rate\":%u,\"sample_bytes\":%u,"
		       "\"channels\":%u,\"frame_bytes_max\":%u}",
		       format, KVS_TIME_BYTES, i->format.sample_rate,
		       i->format.sample_bytes, i->format.channels,
		       i->format.size[0]);
	use_private(t, (size_t)len);
}

void track_describe(const struct agent_source *source, bool view,
		    const struct output_info *info, struct track *t)
{
	memset(t, 0, sizeof(*t));
	(void)snprintf(t->name, sizeof(t->name), "%s%s", source->name,
		       view ? "-view" : "");
	if (is_data(source))
		describe_data(t, source, info);
	else if (info->format.media == CAPTURE_MEDIA_PICTURE)
		describe_video(t, info, strcmp(info->encoder, "none") != 0);
	else
		describe_audio(t, info);
	t->kvs.name = t->name;
}
