/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What H.264 and H.265 share: NAL units in the two framings (Annex B start
 * codes, length prefixes) and emulation prevention. Spans point into the
 * caller's bytes; nothing is copied.
 */
#ifndef PROTO_NAL_H
#define PROTO_NAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/limits.h"

struct nal_span {
	const uint8_t *bytes;
	size_t len;
};

/* One NAL unit in length-prefixed framing: send @prefix, then @nal. */
struct nal_piece {
	uint8_t prefix[4]; /* @nal.len, big-endian */
	struct nal_span nal;
};

enum nal_codec { NAL_H264, NAL_H265 };

struct nal_iter {
	const uint8_t *next;
	const uint8_t *end;
	unsigned int length_bytes; /* 0: Annex B */
};

/* Over start codes; bytes before the first one are passed over. */
void nal_iter_annexb(struct nal_iter *it, const uint8_t *bytes, size_t len);
/* Over length prefixes of @length_bytes: 1, 2 or 4. */
void nal_iter_lengths(struct nal_iter *it, const uint8_t *bytes, size_t len,
		      unsigned int length_bytes);

/**
 * nal_next() - the next NAL unit, never empty; trailing zeros are not in it
 *
 * Return: 1, 0 at the end, -EBADMSG when a length prefix says more than there
 * is (never for Annex B).
 */
int nal_next(struct nal_iter *it, struct nal_span *ret_nal) MUST_CHECK;

/* True when @bytes begins with a start code (3 or 4 bytes). */
bool nal_is_annexb(const uint8_t *bytes, size_t len);

/* nal_unit_type of a NAL unit of at least one byte. */
unsigned int nal_type(enum nal_codec codec, struct nal_span nal);

/**
 * nal_annexb_to_pieces() - an access unit as {length, NAL} pairs
 * @drop_types: bit n set leaves NAL units of type n out (parameter sets that
 *	the codec private carries, access unit delimiters, filler)
 * @pieces: room for @pieces_max
 * @ret_bytes: the sum of all prefixes and NAL units
 *
 * Return: 0 (count may be 0), -E2BIG more than @pieces_max units, -EFBIG one
 * unit over 32 bits.
 */
int nal_annexb_to_pieces(enum nal_codec codec, const uint8_t *bytes,
			 size_t len, uint64_t drop_types,
			 struct nal_piece *pieces, size_t pieces_max,
			 size_t *ret_count, size_t *ret_bytes) MUST_CHECK;

/*
 * Inserts emulation prevention bytes. Returns the bytes written, or 0 when
 * @out_max is too small; @len * 3 / 2 + 1 always suffices.
 */
size_t nal_escape(uint8_t *out, size_t out_max, const uint8_t *rbsp,
		  size_t len);

/* Removes them, writing at most @out_max bytes; returns the bytes written. */
size_t nal_unescape(uint8_t *out, size_t out_max, const uint8_t *bytes,
		    size_t len);

/* Bits of an RBSP (already unescaped). Reading past the end sets @bad. */
struct bit_reader {
	const uint8_t *bytes;
	size_t bits;
	size_t at;
	bool bad;
};

uint32_t bits_read(struct bit_reader *b, unsigned int count); /* 0 to 32 */
uint32_t bits_ue(struct bit_reader *b); /* Exp-Golomb, unsigned */
int32_t bits_se(struct bit_reader *b);

#endif
