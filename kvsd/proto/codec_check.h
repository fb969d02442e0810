/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a track can be packaged for players, from its header alone. The
 * service stores and sends any codec (GetMedia has no rule); clips want codec
 * privates that say how to decode. Pure.
 */
#ifndef PROTO_CODEC_CHECK_H
#define PROTO_CODEC_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/mkv.h"

enum codec_verdict {
	CODEC_PLAYABLE = 0,
	CODEC_UNSUPPORTED, /* no player's format takes it */
	CODEC_ENCODED,	   /* compressed or encrypted by Matroska itself */
	CODEC_PRIVATE_MISSING,
	CODEC_PRIVATE_ANNEXB, /* start codes where avcC or hvcC belongs */
	CODEC_PRIVATE_INVALID,
};
#define CODEC_VERDICT_COUNT (CODEC_PRIVATE_INVALID + 1)

/* What an AudioSpecificConfig begins with (ISO/IEC 14496-3 1.6.2.1). */
struct aac_config {
	uint8_t object_type;
	uint8_t channel_config; /* 0: in a program_config_element */
	uint32_t rate_hz;
};

/* Return: 0, -EBADMSG (cut short, reserved type, rate or channels). */
int aac_parse_config(const uint8_t *bytes, size_t len,
		     struct aac_config *ret_config) MUST_CHECK;

enum codec_verdict codec_check(const struct mkv_track *track);

/* "codec private is missing"; static. */
const char *codec_verdict_text(enum codec_verdict verdict);
/* "h264"; static. Safe to log, as codec_id is not. */
const char *codec_name(enum media_codec codec);

/*
 * The first two tracks go together in a clip: H.264 [+ AAC, A-law],
 * H.265 [+ AAC]. @count: not 0.
 */
bool codec_clip_tracks(const struct mkv_track *tracks, size_t count);

#endif
