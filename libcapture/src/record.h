/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records out of a stream of bytes that may begin in the middle, lose parts
 * and carry garbage. Pure: no system calls, no memory of its own.
 *
 * A header that is right may stand before a payload that is not, and a stream
 * may be made of such headers, each within the payload of the one before. So
 * the work is bounded: every byte passed earns the CRC of
 * RECORD_CHECKS_PER_BYTE others, and RECORD_CHECKS_SAVED records may be saved
 * up. A header whose payload costs more than that is passed over as bad.
 */
#ifndef CAPTURE_SRC_RECORD_H
#define CAPTURE_SRC_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/record.h>

#include "base/macros.h"

struct record_parser {
	uint8_t *buffer;
	size_t size;
	size_t payload_max;
	size_t start; /* first byte that was not yet used */
	size_t end;
	uint64_t bytes_skipped;
	/* Too long, not earned, or the payload's CRC was wrong. */
	uint64_t records_bad;
	uint64_t credit; /* bytes whose CRC may be made */
	uint64_t bytes_checked; /* whose CRC was made */
};

#define RECORD_CHECKS_PER_BYTE 4u
#define RECORD_CHECKS_SAVED 8u

/* Buffer of a parser: a whole record, and the rest of the last read. */
#define RECORD_PARSER_BYTES(payload_max)                           \
	(CAPTURE_RECORD_HEADER_BYTES_MAX + (size_t)(payload_max) + \
	 CAPTURE_RECORD_SPI_BYTES)

/* A record in the parser's buffer; valid until record_parser_room(). */
struct record_view {
	struct capture_record record;
	const uint8_t *bytes; /* header and payload */
	size_t len;
};

/* @buffer: RECORD_PARSER_BYTES(@payload_max) bytes; borrowed. */
void record_parser_init(struct record_parser *parser, uint8_t *buffer,
			size_t payload_max);

/*
 * Where to read to; at least CAPTURE_RECORD_SPI_BYTES when
 * record_parser_next() has said 0.
 */
uint8_t *record_parser_room(struct record_parser *parser, size_t *ret_bytes);
void record_parser_filled(struct record_parser *parser, size_t bytes);

/* The stream was interrupted: what is half here is skipped. */
void record_parser_reset(struct record_parser *parser);

/* Return: 1 and a record whose CRCs are right, or 0: more bytes are needed. */
int record_parser_next(struct record_parser *parser,
		       struct record_view *ret_view) MUST_CHECK;

/* Gaps in a sequence of 32 bits; zeroed at the start. */
struct record_gap {
	bool known;
	uint32_t last;
};

/**
 * record_count_lost() - what a record's sequence tells
 * @window: a step back of up to this is a late record or a copy, and counts
 *  for nothing
 * @ret_lost: how many were lost before it
 *
 * Return: whether the sensor began anew: a step back.
 */
bool record_count_lost(struct record_gap *gap, uint32_t sequence,
		       uint32_t window, uint64_t *ret_lost);

#endif
