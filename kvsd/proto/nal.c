/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/nal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"

/*
 * The next 00 00 01 at or after @p, or NULL. Ones are about as rare as any
 * byte in coded media, so memchr() does the work at vector speed.
 */
static const uint8_t *find_start_code(const uint8_t *p, const uint8_t *end)
{
	const uint8_t *one;

	if (end - p < 3)
		return NULL;
	for (one = p + 2; one < end; one++) {
		one = memchr(one, 1, (size_t)(end - one));
		if (!one)
			return NULL;
		if (!one[-1] && !one[-2])
			return one - 2;
	}
	return NULL;
}

void nal_iter_annexb(struct nal_iter *it, const uint8_t *bytes, size_t len)
{
	const uint8_t *end = len ? bytes + len : bytes;
	const uint8_t *code = find_start_code(bytes, end);

	it->length_bytes = 0;
	it->end = end;
	it->next = code ? code + 3 : end;
}

void nal_iter_lengths(struct nal_iter *it, const uint8_t *bytes, size_t len,
		      unsigned int length_bytes)
{
	assert(length_bytes == 1 || length_bytes == 2 || length_bytes == 4);
	it->length_bytes = length_bytes;
	it->next = bytes;
	it->end = len ? bytes + len : bytes;
}

static int next_annexb(struct nal_iter *it, struct nal_span *ret_nal)
{
	const uint8_t *begin;
	const uint8_t *code;
	const uint8_t *end;

	while (it->next < it->end) {
		begin = it->next;
		code = find_start_code(begin, it->end);
		end = code ? code : it->end;
		it->next = code ? code + 3 : it->end;
		/* The zero of a 4-byte start code, and trailing zeros. */
		while (end > begin && !end[-1])
			end--;
		if (end > begin) {
			ret_nal->bytes = begin;
			ret_nal->len = (size_t)(end - begin);
			return 1;
		}
	}
	return 0;
}

static int next_length(struct nal_iter *it, struct nal_span *ret_nal)
{
	unsigned int i;
	size_t left;
	size_t len;

	while (it->next < it->end) {
		left = (size_t)(it->end - it->next);
		if (left < it->length_bytes)
			return -EBADMSG;
		len = 0;
		for (i = 0; i < it->length_bytes; i++)
			len = len << 8 | it->next[i];
		if (len > left - it->length_bytes)
			return -EBADMSG;
		it->next += it->length_bytes + len;
		if (len) {
			ret_nal->bytes = it->next - len;
			ret_nal->len = len;
			return 1;
		}
	}
	return 0;
}

int nal_next(struct nal_iter *it, struct nal_span *ret_nal)
{
	return it->length_bytes ? next_length(it, ret_nal)
				: next_annexb(it, ret_nal);
}

bool nal_is_annexb(const uint8_t *bytes, size_t len)
{
	return len >= 4 && !bytes[0] && !bytes[1] &&
	       (bytes[2] == 1 || (!bytes[2] && bytes[3] == 1));
}

unsigned int nal_type(enum nal_codec codec, struct nal_span nal)
{
	assert(nal.len);
	return codec == NAL_H264 ? nal.bytes[0] & 0x1f
				 : (nal.bytes[0] >> 1) & 0x3f;
}

int nal_annexb_to_pieces(enum nal_codec codec, const uint8_t *bytes, size_t len,
			 uint64_t drop_types, struct nal_piece *pieces,
			 size_t pieces_max, size_t *ret_count,
			 size_t *ret_bytes)
{
	struct nal_span nal;
	struct nal_iter it;
	size_t count = 0;
	size_t sum = 0;

	nal_iter_annexb(&it, bytes, len);
	while (nal_next(&it, &nal) > 0) {
		if (drop_types >> nal_type(codec, nal) & 1)
			continue;
		if (count == pieces_max)
			return -E2BIG;
		if (nal.len > UINT32_MAX)
			return -EFBIG;
		store_be32(pieces[count].prefix, (uint32_t)nal.len);
		pieces[count++].nal = nal;
		sum += 4 + nal.len;
	}
	*ret_count = count;
	*ret_bytes = sum;
	return 0;
}

size_t nal_escape(uint8_t *out, size_t out_max, const uint8_t *rbsp, size_t len)
{
	unsigned int zeros = 0;
	size_t n = 0;
	size_t i;

	for (i = 0; i < len; i++) {
		if (zeros == 2 && rbsp[i] <= 3) {
			if (n == out_max)
				return 0;
			out[n++] = 3;
			zeros = 0;
		}
		if (n == out_max)
			return 0;
		out[n++] = rbsp[i];
		zeros = rbsp[i] ? 0 : zeros + 1;
	}
	return n;
}

size_t nal_unescape(uint8_t *out, size_t out_max, const uint8_t *bytes,
		    size_t len)
{
	unsigned int zeros = 0;
	size_t n = 0;
	size_t i;

	for (i = 0; i < len && n < out_max; i++) {
		if (zeros >= 2 && bytes[i] == 3) {
			zeros = 0;
			continue;
		}
		out[n++] = bytes[i];
		zeros = bytes[i] ? 0 : zeros + 1;
	}
	return n;
}

uint32_t bits_read(struct bit_reader *b, unsigned int count)
{
	uint64_t v = 0;

	assert(count <= 32);
	if (b->bad || count > b->bits - b->at) {
		b->bad = true;
		return 0;
	}
	while (count--) {
		v = v << 1 | (b->bytes[b->at / 8] >> (7 - b->at % 8) & 1u);
		b->at++;
	}
	return (uint32_t)v;
}

uint32_t bits_ue(struct bit_reader *b)
{
	unsigned int zeros = 0;

	while (!b->bad && !bits_read(b, 1)) {
		if (++zeros == 32) {
			b->bad = true;
			return 0;
		}
	}
	if (b->bad)
		return 0;
	return (uint32_t)((UINT64_C(1) << zeros) - 1 + bits_read(b, zeros));
}

int32_t bits_se(struct bit_reader *b)
{
	uint32_t v = bits_ue(b);

	return v & 1 ? (int32_t)(v / 2) + 1 : -(int32_t)(v / 2);
}
