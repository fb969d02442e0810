/* SPDX-License-Identifier: Apache-2.0 */
#include "media.h"

#include <stddef.h>

#include "base/bytes.h"
#include "proto/mkv_writer.h"

int media_header(struct buf *out)
{
	static const uint8_t avcc[] = {
		1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 8, 0x67, 0x42, 0xc0, 0x1e,
		0xd9, 0x00, 0xa0, 0x47, 1, 0, 4, 0x68, 0xcb, 0x83, 0xcb,
	};
	struct mkv_track track = {
		.number = 1,
		.type = MKV_TRACK_VIDEO,
		.codec_id = "V_MPEG4/ISO/AVC",
		.codec_private = avcc,
		.codec_private_bytes = sizeof(avcc),
		.width = 1280,
		.height = 720,
	};

	return mkv_write_header(out, &track, 1, MKV_TIMECODE_SCALE_DEFAULT_NS,
				NULL);
}

void media_frame(uint8_t *out, uint32_t len, bool key, uint32_t seed)
{
	for (uint32_t k = 0; k < len; k++) {
		seed = seed * 1664525u + 1013904223u;
		out[k] = (uint8_t)(seed >> 24);
	}
	store_be32(out, len - 4);
	out[4] = key ? 0x65 : 0x41;
}
