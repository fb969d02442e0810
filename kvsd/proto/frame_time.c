/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/frame_time.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "proto/h264.h"
#include "proto/h265.h"

#define SEI_USER_DATA_UNREGISTERED 5
#define SEI_BODY_BYTES (FRAME_TIME_UUID_BYTES + FRAME_TIME_BYTES)
/* Reserved: from the first up to the second. */
#define RECORD_ZEROS 27
#define RECORD_ZEROS_END 32

/* Random, and without a zero, so that it needs no emulation prevention. */
const uint8_t frame_time_uuid[FRAME_TIME_UUID_BYTES] = {
	0x93, 0x44, 0xc2, 0x90, 0x79, 0x74, 0x9a, 0xb7,
	0x79, 0xab, 0xc5, 0x23, 0x2a, 0x65, 0x98, 0x1e,
};

void frame_time_encode(const struct frame_time *time, uint8_t *out)
{
	memset(out, 0, FRAME_TIME_BYTES);
	store_be64(out, time->aligned_ns);
	store_be32(out + 8, time->sigma_ns);
	store_be32(out + 12, time->epoch);
	store_be64(out + 16, time->raw_ns);
	out[24] = time->clock;
	out[25] = time->meaning;
	out[26] = time->aligned_by;
	store_be64(out + RECORD_ZEROS_END, time->boot_ns);
}

int frame_time_decode(const uint8_t *bytes, size_t len,
		      struct frame_time *ret_time)
{
	size_t i;

	if (len < FRAME_TIME_BYTES || bytes[25] > FRAME_TIME_ARRIVAL ||
	    bytes[26] > FRAME_TIME_BY_KERNEL)
		return -EBADMSG;
	for (i = RECORD_ZEROS; i < RECORD_ZEROS_END; i++) {
		if (bytes[i])
			return -EBADMSG;
	}
	ret_time->aligned_ns = load_be64(bytes);
	ret_time->sigma_ns = load_be32(bytes + 8);
	ret_time->epoch = load_be32(bytes + 12);
	ret_time->raw_ns = load_be64(bytes + 16);
	ret_time->clock = bytes[24];
	ret_time->meaning = bytes[25];
	ret_time->aligned_by = bytes[26];
	ret_time->boot_ns = load_be64(bytes + RECORD_ZEROS_END);
	return 0;
}

size_t frame_time_write_sei(enum nal_codec codec, const struct frame_time *time,
			    uint8_t *out)
{
	uint8_t rbsp[2 + SEI_BODY_BYTES + 1];
	size_t head = 0;
	size_t n;

	if (codec == NAL_H264) {
		out[head++] = H264_NAL_SEI; /* nal_ref_idc 0 */
	} else {
		out[head++] = H265_NAL_SEI_PREFIX << 1;
		out[head++] = 1; /* layer 0, temporal id 0 */
	}
	rbsp[0] = SEI_USER_DATA_UNREGISTERED;
	rbsp[1] = SEI_BODY_BYTES;
	memcpy(rbsp + 2, frame_time_uuid, FRAME_TIME_UUID_BYTES);
	frame_time_encode(time, rbsp + 2 + FRAME_TIME_UUID_BYTES);
	rbsp[2 + SEI_BODY_BYTES] = 0x80; /* rbsp_trailing_bits */
	n = nal_escape(out + head, FRAME_TIME_SEI_BYTES_MAX - head, rbsp,
		       sizeof(rbsp));
	assert(n);
	return head + n;
}

/* Bytes of a NAL unit with emulation prevention taken out on the way. */
struct rbsp_reader {
	const uint8_t *next;
	const uint8_t *end;
	unsigned int zeros;
};

static int next_byte(struct rbsp_reader *r)
{
	uint8_t byte;

	if (r->next < r->end && r->zeros >= 2 && *r->next == 3) {
		r->zeros = 0;
		r->next++;
	}
	if (r->next == r->end)
		return -1;
	byte = *r->next++;
	r->zeros = byte ? 0 : r->zeros + 1;
	return byte;
}

/* payloadType or payloadSize: bytes of 255 add up with the last one. */
static int64_t next_sum(struct rbsp_reader *r)
{
	int64_t sum = 0;
	int byte;

	do {
		byte = next_byte(r);
		if (byte < 0)
			return -1;
		sum += byte;
	} while (byte == 255);
	return sum;
}

/* At most @max bytes go to @out; false when the NAL unit ends before. */
static bool next_bytes(struct rbsp_reader *r, int64_t count, uint8_t *out,
		       int64_t max)
{
	int64_t i;
	int byte;

	for (i = 0; i < count; i++) {
		byte = next_byte(r);
		if (byte < 0)
			return false;
		if (i < max)
			out[i] = (uint8_t)byte;
	}
	return true;
}

int frame_time_read_sei(enum nal_codec codec, struct nal_span nal,
			struct frame_time *ret_time)
{
	size_t head = codec == NAL_H264 ? 1 : 2;
	unsigned int type = codec == NAL_H264
				    ? (unsigned int)H264_NAL_SEI
				    : (unsigned int)H265_NAL_SEI_PREFIX;
	uint8_t body[SEI_BODY_BYTES];
	struct rbsp_reader r;
	int64_t message;
	int64_t size;

	if (nal.len <= head || nal_type(codec, nal) != type)
		return -ENOENT;
	r = (struct rbsp_reader){nal.bytes + head, nal.bytes + nal.len, 0};
	for (;;) {
		message = next_sum(&r);
		size = next_sum(&r);
		if (message < 0 || size < 0)
			return -ENOENT;
		if (!next_bytes(&r, size, body, sizeof(body)))
			return -ENOENT;
		if (message != SEI_USER_DATA_UNREGISTERED ||
		    size < FRAME_TIME_UUID_BYTES ||
		    memcmp(body, frame_time_uuid, FRAME_TIME_UUID_BYTES) != 0)
			continue;
		if (size != SEI_BODY_BYTES)
			return -EBADMSG;
		return frame_time_decode(body + FRAME_TIME_UUID_BYTES,
					 FRAME_TIME_BYTES, ret_time);
	}
}

static bool is_slice(enum nal_codec codec, unsigned int type)
{
	if (codec == NAL_H264)
		return type >= H264_NAL_SLICE && type <= H264_NAL_IDR;
	return type <= H265_NAL_VCL_LAST;
}

int frame_time_find(enum nal_codec codec, const uint8_t *bytes, size_t len,
		    unsigned int length_bytes, struct frame_time *ret_time)
{
	struct nal_span nal;
	struct nal_iter it;
	int ret;

	if (length_bytes)
		nal_iter_lengths(&it, bytes, len, length_bytes);
	else
		nal_iter_annexb(&it, bytes, len);
	while ((ret = nal_next(&it, &nal)) > 0) {
		if (is_slice(codec, nal_type(codec, nal)))
			return -ENOENT;
		ret = frame_time_read_sei(codec, nal, ret_time);
		if (ret != -ENOENT)
			return ret;
	}
	return ret ? ret : -ENOENT;
}
