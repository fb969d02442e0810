/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: whatever comes and in whatever pieces, what the parser gives is
 * whole and checked, the same for any cut of the stream, and all bytes are
 * either in a record, skipped or still waiting.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "src/record.h"

#define PAYLOAD_MAX 512

#define MUST(cond)               \
	do {                     \
		if (!(cond))     \
			abort(); \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

struct sum {
	uint64_t records;
	uint64_t bytes;
	uint64_t skipped;
	uint64_t waiting;
	uint64_t sequences;
};

static void take_all(struct record_parser *parser, struct sum *sum)
{
	struct capture_record again;
	struct record_view view;

	while (record_parser_next(parser, &view)) {
		MUST(view.len <= CAPTURE_RECORD_HEADER_BYTES_MAX + PAYLOAD_MAX);
		MUST(view.bytes >= parser->buffer &&
		     view.bytes + view.len <= parser->buffer + parser->end);
		MUST(!capture_record_check(view.bytes, view.len, &again));
		MUST(again.payload_bytes + again.header_bytes == view.len);
		sum->records++;
		sum->bytes += view.len;
		sum->sequences = sum->sequences * 31 + view.record.sequence;
	}
}

static void run(const uint8_t *bytes, size_t len, size_t piece, struct sum *sum)
{
	uint8_t *buffer = malloc(RECORD_PARSER_BYTES(PAYLOAD_MAX));
	struct record_parser parser;
	size_t room;
	uint8_t *to;

	MUST(buffer);
	memset(sum, 0, sizeof(*sum));
	record_parser_init(&parser, buffer, PAYLOAD_MAX);
	while (len) {
		size_t n = len < piece ? len : piece;

		to = record_parser_room(&parser, &room);
		MUST(room >= CAPTURE_RECORD_SPI_BYTES);
		n = n < room ? n : room;
		memcpy(to, bytes, n);
		record_parser_filled(&parser, n);
		bytes += n;
		len -= n;
		take_all(&parser, sum);
	}
	sum->skipped = parser.bytes_skipped;
	sum->waiting = parser.end - parser.start;
	free(buffer);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct capture_record record;
	struct sum whole;
	struct sum cut;

	run(bytes, len, 4096, &whole);
	run(bytes, len, 7, &cut);
	MUST(whole.records == cut.records && whole.bytes == cut.bytes);
	MUST(whole.sequences == cut.sequences);
	MUST(whole.bytes + whole.skipped + whole.waiting == len);
	MUST(cut.bytes + cut.skipped + cut.waiting == len);
	if (!capture_record_check(bytes, len, &record))
		MUST(record.payload_bytes <= CAPTURE_RECORD_PAYLOAD_MAX);
	return 0;
}
