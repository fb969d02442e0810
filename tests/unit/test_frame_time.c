/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "proto/frame_time.h"
#include "proto/fwht.h"
#include "proto/jpeg.h"

static const struct frame_time sample = {
	.aligned_ns = 1700000000123456789,
	.sigma_ns = 1500,
	.epoch = 3,
	.raw_ns = 987654321012,
	.clock = 1,
	.meaning = FRAME_TIME_EXPOSURE_START,
	.aligned_by = FRAME_TIME_BY_KERNEL,
	.boot_ns = 987654320999,
};

static void assert_same(const struct frame_time *a, const struct frame_time *b)
{
	assert_true(a->aligned_ns == b->aligned_ns);
	assert_true(a->raw_ns == b->raw_ns);
	assert_int_equal(a->sigma_ns, b->sigma_ns);
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->clock, b->clock);
	assert_int_equal(a->meaning, b->meaning);
	assert_int_equal(a->aligned_by, b->aligned_by);
	assert_true(a->boot_ns == b->boot_ns);
}

static void frame_time_record_has_its_layout(void **state)
{
	static const uint8_t want[FRAME_TIME_BYTES] = {
		0x17, 0x97, 0x9c, 0xfe, 0x3d, 0x85, 0xcd, 0x15, 0,
		0,    0x05, 0xdc, 0,	0,    0,    3,	  0,	0,
		0,    0xe5, 0xf4, 0xc8, 0xf3, 0x74, 1,	  1,	3,
		0,    0,    0,	  0,	0,    0,    0,    0,	0xe5,
		0xf4, 0xc8, 0xf3, 0x67,
	};
	struct frame_time back;
	uint8_t got[FRAME_TIME_BYTES];

	(void)state;
	frame_time_encode(&sample, got);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(frame_time_decode(got, sizeof(got), &back), 0);
	assert_same(&back, &sample);
}

static void frame_time_record_is_checked(void **state)
{
	struct frame_time back;
	uint8_t rec[FRAME_TIME_BYTES];
	size_t i;

	(void)state;
	frame_time_encode(&sample, rec);
	assert_int_equal(frame_time_decode(rec, sizeof(rec) - 1, &back),
			 -EBADMSG);
	for (i = 27; i < 32; i++) {
		rec[i] = 1;
		assert_int_equal(frame_time_decode(rec, sizeof(rec), &back),
				 -EBADMSG);
		rec[i] = 0;
	}
	rec[26] = FRAME_TIME_BY_KERNEL + 1;
	assert_int_equal(frame_time_decode(rec, sizeof(rec), &back), -EBADMSG);
	rec[26] = 0;
	rec[25] = FRAME_TIME_ARRIVAL + 1;
	assert_int_equal(frame_time_decode(rec, sizeof(rec), &back), -EBADMSG);
}

static bool has_start_code(const uint8_t *bytes, size_t len)
{
	size_t i;

	for (i = 2; i < len; i++) {
		if (!bytes[i - 2] && !bytes[i - 1] && bytes[i] < 3)
			return true;
	}
	return false;
}

static void frame_time_sei_round_trips_in_both_codecs(void **state)
{
	static const enum nal_codec codecs[] = {NAL_H264, NAL_H265};
	struct frame_time times[3] = {sample};
	uint8_t sei[FRAME_TIME_SEI_BYTES_MAX];
	struct frame_time back;
	struct nal_span nal;
	size_t i;
	size_t k;

	(void)state;
	/* All zeros: the most emulation prevention there can be. */
	times[2] = (struct frame_time){UINT64_MAX, UINT32_MAX, UINT32_MAX,
				       UINT64_MAX, 255, 4, 3, UINT64_MAX};
	for (k = 0; k < ARRAY_SIZE(codecs); k++) {
		for (i = 0; i < ARRAY_SIZE(times); i++) {
			nal.bytes = sei;
			nal.len =
				frame_time_write_sei(codecs[k], &times[i], sei);
			assert_true(nal.len <= FRAME_TIME_SEI_BYTES_MAX);
			assert_false(has_start_code(sei, nal.len));
			assert_int_equal(nal_type(codecs[k], nal),
					 codecs[k] == NAL_H264 ? 6 : 39);
			assert_int_equal(
				frame_time_read_sei(codecs[k], nal, &back), 0);
			assert_same(&back, &times[i]);
		}
	}
}

/* An access unit: delimiter, another SEI, ours, a slice. */
static size_t build_unit(uint8_t *out, bool with_time)
{
	static const uint8_t head[] = "\0\0\0\1\x09\x10\0\0\0\1\x06\x05\x14"
				      "0123456789abcdef....\x80\0\0\0\1";
	static const uint8_t tail[] = "\0\0\0\1\x65\x88\x84";
	size_t n = 0;

	memcpy(out, head, sizeof(head) - 1);
	n += sizeof(head) - 1;
	if (with_time)
		n += frame_time_write_sei(NAL_H264, &sample, out + n);
	memcpy(out + n, tail, sizeof(tail) - 1);
	return n + sizeof(tail) - 1;
}

static void frame_time_is_found_in_an_access_unit(void **state)
{
	struct nal_piece pieces[8];
	uint8_t framed[512];
	struct frame_time back;
	uint8_t unit[512];
	size_t count;
	size_t bytes;
	size_t at = 0;
	size_t len;
	size_t i;

	(void)state;
	len = build_unit(unit, true);
	assert_int_equal(frame_time_find(NAL_H264, unit, len, 0, &back), 0);
	assert_same(&back, &sample);
	assert_int_equal(nal_annexb_to_pieces(NAL_H264, unit, len, 0, pieces, 8,
					      &count, &bytes),
			 0);
	for (i = 0; i < count; i++) {
		memcpy(framed + at, pieces[i].prefix, 4);
		memcpy(framed + at + 4, pieces[i].nal.bytes, pieces[i].nal.len);
		at += 4 + pieces[i].nal.len;
	}
	assert_int_equal(frame_time_find(NAL_H264, framed, at, 4, &back), 0);
	assert_same(&back, &sample);
	len = build_unit(unit, false);
	assert_int_equal(frame_time_find(NAL_H264, unit, len, 0, &back),
			 -ENOENT);
	assert_int_equal(frame_time_find(NAL_H264, unit, 0, 0, &back), -ENOENT);
	framed[0] = 0xff;
	assert_int_equal(frame_time_find(NAL_H264, framed, at, 4, &back),
			 -EBADMSG);
}

static void frame_time_sei_says_when_it_is_malformed(void **state)
{
	uint8_t sei[FRAME_TIME_SEI_BYTES_MAX];
	struct frame_time t = sample;
	struct frame_time back;
	struct nal_span nal = {sei, 0};
	size_t whole;

	(void)state;
	t.meaning = 4;
	whole = frame_time_write_sei(NAL_H264, &t, sei);
	for (nal.len = 1; nal.len + 1 < whole; nal.len++)
		assert_int_equal(frame_time_read_sei(NAL_H264, nal, &back),
				 -ENOENT); /* the message is cut: not ours */
	nal.len = whole;
	sei[3] ^= 1; /* another UUID */
	assert_int_equal(frame_time_read_sei(NAL_H264, nal, &back), -ENOENT);
	sei[3] ^= 1;
	sei[2]--; /* ours, but a byte short */
	assert_int_equal(frame_time_read_sei(NAL_H264, nal, &back), -EBADMSG);
}

static void fwht_header_is_parsed_and_checked(void **state)
{
	uint8_t bytes[FWHT_HEADER_BYTES] = {
		0x4f,	     0x4f,	  0x4f, 0x4f, 0xff,
		0xff,	     0xff,	  0xff,	      /* magic */
		0,	     0,		  0,	3,    /* version */
		0,	     0,		  5,	0,    /* 1280 */
		0,	     0,		  2,	0xd0, /* 720 */
		0,	     0x0a,	  0x04, 0, /* YUV, 3 components, I frame
						    */
		[42] = 0x12, [43] = 0x34,
	};
	struct fwht_header h;

	(void)state;
	assert_int_equal(fwht_parse_header(bytes, sizeof(bytes), &h), 0);
	assert_int_equal(h.version, 3);
	assert_int_equal(h.width, 1280);
	assert_int_equal(h.height, 720);
	assert_int_equal(h.payload_bytes, 0x1234);
	assert_true(h.key);
	assert_true(fwht_is_key(bytes, sizeof(bytes)));
	bytes[22] = 0;
	assert_false(fwht_is_key(bytes, sizeof(bytes)));
	assert_int_equal(fwht_parse_header(bytes, sizeof(bytes), &h), 0);
	assert_int_equal(fwht_parse_header(bytes, sizeof(bytes) - 1, &h),
			 -EBADMSG);
	bytes[12] = 1;
	assert_int_equal(fwht_parse_header(bytes, sizeof(bytes), &h),
			 -EMSGSIZE);
	bytes[12] = 0;
	bytes[4] = 0;
	assert_int_equal(fwht_parse_header(bytes, sizeof(bytes), &h), -EBADMSG);
}

static void jpeg_is_always_key(void **state)
{
	(void)state;
	assert_true(jpeg_is_key((const uint8_t *)"\xff\xd8\xff\xe0", 4));
	assert_false(jpeg_is_key((const uint8_t *)"\xff\xd8", 2));
	assert_false(jpeg_is_key((const uint8_t *)"\x89PNG", 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_time_record_has_its_layout),
		cmocka_unit_test(frame_time_record_is_checked),
		cmocka_unit_test(frame_time_sei_round_trips_in_both_codecs),
		cmocka_unit_test(frame_time_is_found_in_an_access_unit),
		cmocka_unit_test(frame_time_sei_says_when_it_is_malformed),
		cmocka_unit_test(fwht_header_is_parsed_and_checked),
		cmocka_unit_test(jpeg_is_always_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
