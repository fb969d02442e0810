/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mkv.h"

#include <string.h>

#include "base/bytes.h"
#include "proto/fwht.h"

#define FOURCC(a, b, c, d)                                              \
	((uint32_t)(a) | ((uint32_t)(b) << 8) | ((uint32_t)(c) << 16) | \
	 ((uint32_t)(d) << 24))

/* Where biCompression is in a BITMAPINFOHEADER. */
#define BITMAPINFO_FOURCC_AT 16

static const struct codec_name {
	const char *id;
	enum media_codec codec;
} codec_names[] = {
	{"V_MPEG4/ISO/AVC", CODEC_H264},
	{"V_MPEG/ISO/AVC", CODEC_H264},
	{"V_MPEGH/ISO/HEVC", CODEC_H265},
	{"V_MPEG/ISO/HEVC", CODEC_H265},
	{"A_AAC", CODEC_AAC},
	{"V_MJPEG", CODEC_MJPEG},
	{"V_UNCOMPRESSED", CODEC_RAW_VIDEO},
};

static enum media_codec codec_of_fourcc(const struct mkv_track *track)
{
	if (track->codec_private_bytes < BITMAPINFO_FOURCC_AT + 4)
		return CODEC_OTHER;
	switch (load_le32(track->codec_private + BITMAPINFO_FOURCC_AT)) {
	case FWHT_FOURCC:
		return CODEC_FWHT;
	case FOURCC('M', 'J', 'P', 'G'):
		return CODEC_MJPEG;
	default:
		return CODEC_OTHER;
	}
}

static enum media_codec codec_of_format(const struct mkv_track *track)
{
	if (track->codec_private_bytes < 2)
		return CODEC_OTHER;
	switch (load_le16(track->codec_private)) {
	case 6:
		return CODEC_ALAW;
	case 7:
		return CODEC_MULAW;
	default:
		return CODEC_OTHER;
	}
}

enum media_codec mkv_track_codec(const struct mkv_track *track)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(codec_names); i++) {
		if (!strcmp(track->codec_id, codec_names[i].id))
			return codec_names[i].codec;
	}
	/* A_AAC/MPEG4/LC and its like, of old muxers. */
	if (!strncmp(track->codec_id, "A_AAC/", 6))
		return CODEC_AAC;
	if (!strcmp(track->codec_id, "V_MS/VFW/FOURCC"))
		return codec_of_fourcc(track);
	if (!strcmp(track->codec_id, "A_MS/ACM"))
		return codec_of_format(track);
	return CODEC_OTHER;
}
