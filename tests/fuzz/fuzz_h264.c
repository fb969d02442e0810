/* SPDX-License-Identifier: Apache-2.0 */
/*
 * H.264 and H.265: NAL units lie in order inside the input, re-framing with
 * lengths and reading back gives the same units, escaping is undone by
 * unescaping, and what the codec private parsers accept has its spans inside
 * the input.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame_time.h"
#include "proto/fwht.h"
#include "proto/h264.h"
#include "proto/h265.h"

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static bool inside(struct nal_span s, const uint8_t *bytes, size_t len)
{
	return s.len && s.bytes >= bytes && s.bytes + s.len <= bytes + len;
}

static void check_framing(const uint8_t *bytes, size_t len)
{
	static struct nal_piece pieces[NAL_PIECES_MAX];
	const uint8_t *before = bytes;
	struct nal_span nal;
	struct nal_iter it;
	uint8_t *framed;
	size_t count;
	size_t sum;
	size_t at = 0;
	size_t i;

	nal_iter_annexb(&it, bytes, len);
	while (nal_next(&it, &nal) > 0) {
		MUST(inside(nal, bytes, len) && nal.bytes >= before + 3);
		MUST(nal.bytes[nal.len - 1]);
		before = nal.bytes + nal.len;
	}
	if (nal_annexb_to_pieces(NAL_H264, bytes, len, 0, pieces,
				 NAL_PIECES_MAX, &count, &sum))
		return;
	framed = malloc(sum + 1);
	MUST(framed);
	for (i = 0; i < count; i++) {
		memcpy(framed + at, pieces[i].prefix, 4);
		memcpy(framed + at + 4, pieces[i].nal.bytes, pieces[i].nal.len);
		at += 4 + pieces[i].nal.len;
	}
	MUST(at == sum);
	nal_iter_lengths(&it, framed, sum, 4);
	for (i = 0; i < count; i++) {
		MUST(nal_next(&it, &nal) == 1);
		MUST(nal.len == pieces[i].nal.len);
		MUST(!memcmp(nal.bytes, pieces[i].nal.bytes, nal.len));
	}
	MUST(nal_next(&it, &nal) == 0);
	MUST(h264_annexb_is_key(bytes, len) ==
	     h264_lengths_is_key(framed, sum, 4));
	MUST(h265_annexb_is_key(bytes, len) ==
	     h265_lengths_is_key(framed, sum, 4));
	free(framed);
}

static void check_escape(const uint8_t *bytes, size_t len)
{
	size_t max = len * 3 / 2 + 1;
	uint8_t *escaped = malloc(max);
	uint8_t *back = malloc(len + 1);
	size_t n;
	size_t i;

	MUST(escaped && back);
	n = nal_escape(escaped, max, bytes, len);
	MUST(n >= len);
	for (i = 2; i < n; i++)
		MUST(escaped[i - 2] || escaped[i - 1] || escaped[i] > 2);
	MUST(nal_unescape(back, len + 1, escaped, n) == len);
	MUST(!len || !memcmp(back, bytes, len));
	free(escaped);
	free(back);
}

static void check_private(const uint8_t *bytes, size_t len)
{
	static struct h264_avcc avcc;
	static struct h265_hvcc hvcc;
	size_t i;

	if (!h264_parse_avcc(bytes, len, &avcc)) {
		MUST(avcc.sps_count && avcc.pps_count && avcc.info.width);
		for (i = 0; i < avcc.sps_count; i++)
			MUST(inside(avcc.sps[i], bytes, len));
		for (i = 0; i < avcc.pps_count; i++)
			MUST(inside(avcc.pps[i], bytes, len));
	}
	if (!h265_parse_hvcc(bytes, len, &hvcc)) {
		MUST(hvcc.vps_count && hvcc.sps_count && hvcc.pps_count);
		for (i = 0; i < hvcc.sps_count; i++)
			MUST(inside(hvcc.sps[i], bytes, len));
	}
}

static void check_sps(const uint8_t *bytes, size_t len)
{
	struct nal_span nal = {bytes, len};
	struct h264_sps sps4;
	struct h265_sps sps5;

	if (!h264_parse_sps(nal, &sps4))
		MUST(sps4.width && sps4.width <= NAL_PICTURE_SIDE_MAX &&
		     sps4.height && sps4.height <= NAL_PICTURE_SIDE_MAX);
	if (!h265_parse_sps(nal, &sps5))
		MUST(sps5.width && sps5.width <= NAL_PICTURE_SIDE_MAX &&
		     sps5.height && sps5.height <= NAL_PICTURE_SIDE_MAX);
}

static void check_time(const uint8_t *bytes, size_t len)
{
	uint8_t sei[FRAME_TIME_SEI_BYTES_MAX];
	struct frame_time back;
	struct frame_time t;
	size_t n;

	if (!frame_time_find(NAL_H264, bytes, len, 0, &t) ||
	    !frame_time_find(NAL_H265, bytes, len, 2, &t))
		MUST(t.meaning <= FRAME_TIME_ARRIVAL);
	if (frame_time_decode(bytes, len, &t))
		return;
	n = frame_time_write_sei(NAL_H265, &t, sei);
	MUST(!frame_time_read_sei(NAL_H265, (struct nal_span){sei, n}, &back));
	MUST(back.aligned_ns == t.aligned_ns && back.raw_ns == t.raw_ns &&
	     back.sigma_ns == t.sigma_ns && back.epoch == t.epoch &&
	     back.clock == t.clock && back.meaning == t.meaning &&
	     back.aligned_by == t.aligned_by && back.boot_ns == t.boot_ns);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	check_framing(bytes, len);
	check_escape(bytes, len);
	check_private(bytes, len);
	check_sps(bytes, len);
	check_time(bytes, len);
	(void)fwht_is_key(bytes, len);
	return 0;
}
