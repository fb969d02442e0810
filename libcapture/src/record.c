/* SPDX-License-Identifier: Apache-2.0 */
#include "src/record.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define AT_VERSION 4
#define AT_LENGTH 5
#define AT_FLAGS 6
#define AT_TYPE 8
#define AT_PAYLOAD 12
#define AT_SEQUENCE 16
#define AT_TICKS 20
#define AT_HZ 28
#define AT_PAYLOAD_CRC 36
#define AT_HEADER_CRC 40

/* With the four bytes of the CRC itself as 0. */
static uint32_t header_crc(const uint8_t *header, size_t len)
{
	static const uint8_t zero[4];
	uint32_t crc;

	crc = crc32c(0, header, AT_HEADER_CRC);
	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, header + CAPTURE_RECORD_HEADER_BYTES,
		      len - CAPTURE_RECORD_HEADER_BYTES);
}

int capture_record_header_write(const struct capture_record *record,
				const uint8_t *payload, uint8_t *to)
{
	if (record->flags & ~CAPTURE_RECORD_FLAGS)
		return -EINVAL;
	if (record->payload_bytes && !payload)
		return -EINVAL;
	if (record->payload_bytes > CAPTURE_RECORD_PAYLOAD_MAX)
		return -EMSGSIZE;
	store_le32(to, CAPTURE_RECORD_MAGIC);
	to[AT_VERSION] = CAPTURE_RECORD_VERSION;
	to[AT_LENGTH] = CAPTURE_RECORD_HEADER_BYTES;
	store_le16(to + AT_FLAGS, record->flags);
	store_le32(to + AT_TYPE, record->type);
	store_le32(to + AT_PAYLOAD, record->payload_bytes);
	store_le32(to + AT_SEQUENCE, record->sequence);
	store_le64(to + AT_TICKS, record->device_ticks);
	store_le64(to + AT_HZ, record->device_hz);
	store_le32(to + AT_PAYLOAD_CRC,
		   crc32c(0, payload, record->payload_bytes));
	store_le32(to + AT_HEADER_CRC,
		   header_crc(to, CAPTURE_RECORD_HEADER_BYTES));
	return 0;
}

static void load_record(const uint8_t *bytes, struct capture_record *record)
{
	record->flags = load_le16(bytes + AT_FLAGS);
	record->header_bytes = bytes[AT_LENGTH];
	record->type = load_le32(bytes + AT_TYPE);
	record->payload_bytes = load_le32(bytes + AT_PAYLOAD);
	record->sequence = load_le32(bytes + AT_SEQUENCE);
	record->device_ticks = load_le64(bytes + AT_TICKS);
	record->device_hz = load_le64(bytes + AT_HZ);
}

int capture_record_header_read(const uint8_t *bytes, size_t len,
			       struct capture_record *ret_record)
{
	uint8_t magic[4];

	store_le32(magic, CAPTURE_RECORD_MAGIC);
	if (len && memcmp(bytes, magic, MIN(len, sizeof(magic))) != 0)
		return -EBADMSG;
	if (len > AT_VERSION && bytes[AT_VERSION] != CAPTURE_RECORD_VERSION)
		return -EBADMSG;
	if (len > AT_LENGTH && bytes[AT_LENGTH] < CAPTURE_RECORD_HEADER_BYTES)
		return -EBADMSG;
	/* Before its CRC: garbage must not make a reader wait for it. */
	if (len >= AT_SEQUENCE &&
	    load_le32(bytes + AT_PAYLOAD) > CAPTURE_RECORD_PAYLOAD_MAX)
		return -EBADMSG;
	if (len < CAPTURE_RECORD_HEADER_BYTES || len < bytes[AT_LENGTH])
		return -EAGAIN;
	if (load_le32(bytes + AT_HEADER_CRC) !=
	    header_crc(bytes, bytes[AT_LENGTH]))
		return -EBADMSG;
	load_record(bytes, ret_record);
	return 0;
}

int capture_record_check(const uint8_t *bytes, size_t len,
			 struct capture_record *ret_record)
{
	struct capture_record record;

	if (capture_record_header_read(bytes, len, &record) < 0)
		return -EBADMSG;
	if (len - record.header_bytes != record.payload_bytes)
		return -EBADMSG;
	if (crc32c(0, bytes + record.header_bytes, record.payload_bytes) !=
	    load_le32(bytes + AT_PAYLOAD_CRC))
		return -EBADMSG;
	*ret_record = record;
	return 0;
}

/* --- a stream of them --------------------------------------------------- */

static uint64_t credit_max(const struct record_parser *parser)
{
	return RECORD_CHECKS_SAVED *
	       (CAPTURE_RECORD_HEADER_BYTES_MAX + (uint64_t)parser->payload_max);
}

void record_parser_init(struct record_parser *parser, uint8_t *buffer,
			size_t payload_max)
{
	memset(parser, 0, sizeof(*parser));
	parser->buffer = buffer;
	parser->payload_max = payload_max;
	parser->size = RECORD_PARSER_BYTES(payload_max);
	parser->credit = credit_max(parser);
}

uint8_t *record_parser_room(struct record_parser *parser, size_t *ret_bytes)
{
	if (parser->start) {
		memmove(parser->buffer, parser->buffer + parser->start,
			parser->end - parser->start);
		parser->end -= parser->start;
		parser->start = 0;
	}
	*ret_bytes = parser->size - parser->end;
	return parser->buffer + parser->end;
}

void record_parser_filled(struct record_parser *parser, size_t bytes)
{
	parser->end += bytes;
}

void record_parser_reset(struct record_parser *parser)
{
	parser->bytes_skipped += parser->end - parser->start;
	parser->credit = credit_max(parser);
	parser->start = 0;
	parser->end = 0;
}

/* The next @bytes are done with. */
static void pass(struct record_parser *parser, size_t bytes)
{
	parser->start += bytes;
	parser->credit = MIN(parser->credit + RECORD_CHECKS_PER_BYTE * bytes,
			     credit_max(parser));
}

/* Goes to the next byte that may begin a magic. */
static void skip(struct record_parser *parser)
{
	const uint8_t *at = parser->buffer + parser->start;
	size_t left = parser->end - parser->start;
	const uint8_t *next;

	next = left > 1 ? memchr(at + 1, CAPTURE_RECORD_MAGIC & 0xff, left - 1)
			: NULL;
	left = next ? (size_t)(next - at) : left;
	parser->bytes_skipped += left;
	pass(parser, left);
}

/*
 * One look at what begins at start: 1 and a record, 0 (more bytes needed) or
 * -EBADMSG: skip.
 */
static int look(struct record_parser *parser, struct record_view *ret_view)
{
	const uint8_t *at = parser->buffer + parser->start;
	size_t left = parser->end - parser->start;
	struct capture_record *record = &ret_view->record;
	int r;

	r = capture_record_header_read(at, left, record);
	if (r < 0)
		return r == -EAGAIN ? 0 : r;
	/* Now, and not when all of it is here: it need not be waited for. */
	if (record->payload_bytes > parser->payload_max ||
	    record->payload_bytes > parser->credit) {
		parser->records_bad++;
		return -EBADMSG;
	}
	ret_view->bytes = at;
	ret_view->len = (size_t)record->header_bytes + record->payload_bytes;
	if (left < ret_view->len)
		return 0;
	parser->credit -= record->payload_bytes;
	parser->bytes_checked += record->payload_bytes;
	if (capture_record_check(at, ret_view->len, record) < 0) {
		parser->records_bad++;
		return -EBADMSG;
	}
	return 1;
}

int record_parser_next(struct record_parser *parser,
		       struct record_view *ret_view)
{
	int r;

	while (parser->start < parser->end) {
		r = look(parser, ret_view);
		if (r == 1)
			pass(parser, ret_view->len);
		if (r >= 0)
			return r;
		skip(parser);
	}
	return 0;
}

bool record_count_lost(struct record_gap *gap, uint32_t sequence,
		       uint32_t window, uint64_t *ret_lost)
{
	/* Unsigned, so that a wrap is a step of one. */
	uint32_t lost = sequence - gap->last - 1;
	bool back = gap->known && lost > INT32_MAX;

	*ret_lost = 0;
	if (back && window && gap->last - sequence <= window)
		return false;
	if (gap->known && !back)
		*ret_lost = lost;
	gap->last = sequence;
	gap->known = true;
	return back;
}
