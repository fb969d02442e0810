/* SPDX-License-Identifier: Apache-2.0 */
#include "core/au.h"

#include <errno.h>

#include "base/bytes.h"
#include "proto/h264.h"
#include "proto/h265.h"

static bool is_slice(enum nal_codec codec, struct nal_span nal)
{
	unsigned int type = nal_type(codec, nal);

	if (codec == NAL_H264)
		return type >= H264_NAL_SLICE && type <= H264_NAL_IDR;
	return type <= H265_NAL_VCL_LAST;
}

static bool is_our_sei(enum nal_codec codec, struct nal_span nal)
{
	struct frame_time time;
	unsigned int type = nal_type(codec, nal);

	if (type != (codec == NAL_H264 ? (unsigned int)H264_NAL_SEI :
					 (unsigned int)H265_NAL_SEI_PREFIX))
		return false;
	return frame_time_read_sei(codec, nal, &time) == 0;
}

static void add_part(struct au *au, const void *bytes, size_t len)
{
	/* iovec has no const; nobody writes through it. */
	au->parts[au->count].iov_base = (void *)(uintptr_t)bytes;
	au->parts[au->count].iov_len = len;
	au->count++;
	au->bytes += len;
}

static void add_sei(struct au *au, enum nal_codec codec,
		    const struct frame_time *time)
{
	size_t len = frame_time_write_sei(codec, time, au->sei);

	store_be32(au->sei_prefix, (uint32_t)len);
	add_part(au, au->sei_prefix, sizeof(au->sei_prefix));
	add_part(au, au->sei, len);
}

int au_annexb(struct au *au, enum nal_codec codec, const uint8_t *bytes,
	      size_t len, const struct frame_time *time)
{
	uint64_t drop = codec == NAL_H264 ? H264_DROP_PARAMETERS :
					    H265_DROP_PARAMETERS;
	size_t pieces;
	size_t total;
	bool timed = false;
	bool slice = false;
	int r;

	au->count = 0;
	au->bytes = 0;
	if (!nal_is_annexb(bytes, len))
		return -EBADMSG;
	r = nal_annexb_to_pieces(codec, bytes, len, drop, au->pieces,
				 NAL_PIECES_MAX, &pieces, &total);
	if (r < 0)
		return r;
	for (size_t i = 0; i < pieces; i++) {
		struct nal_piece *p = &au->pieces[i];

		if (!slice && is_slice(codec, p->nal)) {
			slice = true;
			if (!timed)
				add_sei(au, codec, time);
		}
		timed = timed || (!slice && is_our_sei(codec, p->nal));
		add_part(au, p->prefix, sizeof(p->prefix));
		add_part(au, p->nal.bytes, p->nal.len);
	}
	if (!slice)
		return -EBADMSG;
	au->key = codec == NAL_H264 ? h264_annexb_is_key(bytes, len) :
				      h265_annexb_is_key(bytes, len);
	return 0;
}

int au_codec_private(enum nal_codec codec, const uint8_t *bytes, size_t len,
		     struct buf *out)
{
	struct nal_span vps;
	struct nal_span sps;
	struct nal_span pps;
	int r;

	if (codec == NAL_H264) {
		r = h264_find_parameters(bytes, len, &sps, &pps);
		return r < 0 ? r : h264_write_avcc(out, sps, pps);
	}
	r = h265_find_parameters(bytes, len, &vps, &sps, &pps);
	return r < 0 ? r : h265_write_hvcc(out, vps, sps, pps);
}
