/* SPDX-License-Identifier: Apache-2.0 */
#include "core/frame_probe.h"

#include <string.h>

#include "base/macros.h"
#include "proto/frame_time.h"
#include "proto/h264.h"
#include "proto/h265.h"
#include "proto/nal.h"

void frame_probe_add(struct frame_probe *p, const uint8_t *bytes, size_t len)
{
	size_t n = MIN(len, sizeof(p->bytes) - p->len);

	memcpy(p->bytes + p->len, bytes, n);
	p->len += n;
}

/* Width of the NAL length prefixes as avcC and hvcC state it; 0: neither. */
static unsigned int length_bytes(enum nal_codec codec,
				 const struct mkv_track *track)
{
	size_t at = codec == NAL_H264 ? 4 : 21;

	if (track->codec_private_bytes <= at || track->codec_private[0] != 1)
		return 0;
	return (track->codec_private[at] & 3u) + 1;
}

static bool nal_time(enum nal_codec codec, const struct frame_probe *p,
		     const struct mkv_track *track, uint64_t *ret_ns)
{
	unsigned int sei = codec == NAL_H264 ? H264_NAL_SEI
					     : H265_NAL_SEI_PREFIX;
	unsigned int width = length_bytes(codec, track);
	struct nal_iter it;
	struct nal_span nal;
	struct frame_time time;

	if (width == 3)
		return false;
	if (width)
		nal_iter_lengths(&it, p->bytes, p->len, width);
	else
		nal_iter_annexb(&it, p->bytes, p->len);
	/* The slice after the SEI is cut off by the probe: that ends it. */
	while (nal_next(&it, &nal) > 0) {
		if (nal_type(codec, nal) != sei ||
		    frame_time_read_sei(codec, nal, &time) < 0)
			continue;
		*ret_ns = time.aligned_ns;
		return true;
	}
	return false;
}

bool frame_probe_time(const struct frame_probe *p,
		      const struct mkv_track *track, uint64_t *ret_ns)
{
	struct frame_time time;

	switch (mkv_track_codec(track)) {
	case CODEC_H264:
		return nal_time(NAL_H264, p, track, ret_ns);
	case CODEC_H265:
		return nal_time(NAL_H265, p, track, ret_ns);
	default:
		break;
	}
	if (track->type != MKV_TRACK_METADATA ||
	    frame_time_decode(p->bytes, p->len, &time) < 0)
		return false;
	*ret_ns = time.aligned_ns;
	return true;
}
