/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Segment records as replay and reads meet them. Holds: what parses lies
 * within the input, writes the same header again, and a commit's places are
 * all within its payload. The CRC is put right first, or nothing would get
 * past it.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void require(bool holds)
{
	if (!holds)
		abort();
}

static void check_commit(const uint8_t *payload, uint32_t len)
{
	struct segment_commit c;
	struct segment_place *places;
	uint8_t *again;
	uint32_t i;

	if (segment_commit_parse(payload, len, &c) < 0)
		return;
	require(c.page_count && c.page_count <= SEGMENT_PAGES_MAX);
	require(segment_commit_bytes(c.page_count) == len);
	places = calloc(c.page_count, sizeof(*places));
	again = malloc(len);
	require(places && again);
	for (i = 0; i < c.page_count; i++) {
		uint32_t n = segment_page_bytes(segment_commit_total(&c), i);

		require(n && n <= SEGMENT_PAYLOAD_BYTES_MAX);
		places[i] = segment_commit_place(payload, i);
	}
	segment_commit_encode(again, &c, places);
	require(!memcmp(again, payload, len));
	free(places);
	free(again);
}

static void check_record(const uint8_t *record, size_t len,
			 const struct segment_record *r)
{
	const uint8_t *payload = record + SEGMENT_HEADER_BYTES;
	uint8_t header[SEGMENT_HEADER_BYTES];
	struct segment_start start;

	require(r->payload_bytes <= len - SEGMENT_HEADER_BYTES);
	require(segment_record_bytes(r->payload_bytes) <=
		SEGMENT_RECORD_BYTES_MAX);
	segment_record_begin(header, r);
	require(!memcmp(header, record, SEGMENT_AAD_BYTES));
	if (r->kind == SEGMENT_COMMIT)
		check_commit(payload, r->payload_bytes);
	if (r->kind == SEGMENT_START &&
	    segment_start_parse(payload, r->payload_bytes, &start) == 0) {
		uint8_t again[SEGMENT_START_BYTES];

		segment_start_encode(again, &start);
		require(!memcmp(again, payload, sizeof(again)));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	struct segment_record r;
	uint8_t *copy;

	if (segment_record_parse(bytes, len, &r) == 0)
		check_record(bytes, len, &r);
	if (len < SEGMENT_HEADER_BYTES || segment_header_parse(bytes, &r) < 0)
		return 0;
	if (r.payload_bytes > len - SEGMENT_HEADER_BYTES)
		return 0;
	copy = calloc(1, segment_record_bytes(r.payload_bytes));
	require(copy);
	memcpy(copy, bytes, SEGMENT_HEADER_BYTES + r.payload_bytes);
	segment_record_end(copy, r.tag);
	len = SEGMENT_HEADER_BYTES + r.payload_bytes;
	require(segment_record_parse(copy, len, &r) == 0);
	check_record(copy, len, &r);
	free(copy);
	return 0;
}
