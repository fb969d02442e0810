/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of a segment file: 4 KiB aligned, at most 64 KiB each, little
 * endian. A record is a header and its payload; the rest of its last block is
 * zero and not covered by anything.
 *
 *	0   magic "KVSR"
 *	4   version (1), kind, flags (bit 0: last page), 0
 *	8   generation of the segment it was written to
 *	24  stream id
 *	40  fragment number: seq, server_ms, random
 *	60  block of the segment where it starts
 *	64  page number within the fragment
 *	68  payload bytes
 *	72  nonce
 *	84  tag
 *	100 zero
 *	124 CRC-32C of the header before it and of the payload
 *
 * Bytes 0..71 say what a record is and are authenticated with it (AAD).
 *
 *   START	the first block of a file: which directory and number it is
 *   PAGE	sealed bytes of a fragment; all but the last page are full
 *   COMMIT	makes a fragment real: its times, sizes and where its pages are.
 *		Not encrypted; its tag covers header and payload.
 *   END	the last record of a full segment; its one byte means nothing
 */
#ifndef PROTO_SEGMENT_H
#define PROTO_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/fragment_number.h"

#define SEGMENT_BLOCK_BYTES 4096u
#define SEGMENT_RECORD_BYTES_MAX 65536u
#define SEGMENT_HEADER_BYTES 128u
#define SEGMENT_PAYLOAD_BYTES_MAX \
	(SEGMENT_RECORD_BYTES_MAX - SEGMENT_HEADER_BYTES)
#define SEGMENT_AAD_BYTES 72u
#define SEGMENT_ID_BYTES 16u	/* generations, streams, directories */
#define SEGMENT_NONCE_BYTES 12u
#define SEGMENT_TAG_BYTES 16u
#define SEGMENT_COMMIT_BYTES 40u /* and SEGMENT_PLACE_BYTES per page */
#define SEGMENT_PLACE_BYTES 8u
#define SEGMENT_PAGES_MAX                                     \
	((SEGMENT_PAYLOAD_BYTES_MAX - SEGMENT_COMMIT_BYTES) / \
	 SEGMENT_PLACE_BYTES)

enum segment_kind {
	SEGMENT_START = 1,
	SEGMENT_PAGE = 2,
	SEGMENT_COMMIT = 3,
	SEGMENT_END = 4,
};

struct segment_record {
	enum segment_kind kind;
	bool last;
	uint8_t generation[SEGMENT_ID_BYTES];
	uint8_t stream_id[SEGMENT_ID_BYTES];
	struct fragment_number number;
	uint32_t block;
	uint32_t page;
	uint32_t payload_bytes;
	uint8_t nonce[SEGMENT_NONCE_BYTES];
	uint8_t tag[SEGMENT_TAG_BYTES];
};

/* Bytes that a record with this payload takes on disk. */
static inline uint32_t segment_record_bytes(uint32_t payload_bytes)
{
	return ALIGN_UP(SEGMENT_HEADER_BYTES + payload_bytes,
			SEGMENT_BLOCK_BYTES);
}

/* Pages of a fragment of @bytes (at least 1). */
static inline uint64_t segment_page_count(uint64_t bytes)
{
	return (bytes + SEGMENT_PAYLOAD_BYTES_MAX - 1) /
	       SEGMENT_PAYLOAD_BYTES_MAX;
}

/* Plaintext bytes of page @page of a fragment of @bytes. */
static inline uint32_t segment_page_bytes(uint64_t bytes, uint64_t page)
{
	uint64_t left = bytes - page * SEGMENT_PAYLOAD_BYTES_MAX;

	return left < SEGMENT_PAYLOAD_BYTES_MAX ? (uint32_t)left :
						  SEGMENT_PAYLOAD_BYTES_MAX;
}

/* Bytes on disk of a fragment of @bytes (at least 1): pages and commit. */
static inline uint64_t segment_fragment_bytes(uint64_t bytes)
{
	uint64_t pages = segment_page_count(bytes);
	uint32_t rest = segment_page_bytes(bytes, pages - 1);

	return (pages - 1) * SEGMENT_RECORD_BYTES_MAX +
	       segment_record_bytes(rest) +
	       ALIGN_UP(SEGMENT_HEADER_BYTES + SEGMENT_COMMIT_BYTES +
				pages * SEGMENT_PLACE_BYTES,
			SEGMENT_BLOCK_BYTES);
}

/*
 * Writes the header of @r to @out, all but tag and CRC: what follows may seal
 * with the first SEGMENT_AAD_BYTES as additional data.
 */
void segment_record_begin(uint8_t out[SEGMENT_HEADER_BYTES],
			  const struct segment_record *r);
/* The payload is in place: adds tag and CRC, zeroes the rest of the block. */
void segment_record_end(uint8_t *record,
			const uint8_t tag[SEGMENT_TAG_BYTES]);

/*
 * Takes a COMMIT record back that was not written yet: it becomes a page that
 * nothing lists, so that what follows it is still found.
 */
void segment_record_void(uint8_t *record);

/**
 * segment_header_parse() - read a header without looking at its payload
 * @bytes: SEGMENT_HEADER_BYTES
 *
 * Return: 0; -EINVAL (not a record of this version). The CRC is not checked:
 * the sizes are in bounds, nothing else may be believed yet.
 */
int segment_header_parse(const uint8_t *bytes,
			 struct segment_record *ret_record) MUST_CHECK;

/**
 * segment_record_parse() - read a whole record and check its CRC
 *
 * Return: 0; -EINVAL (not a record, or not within @len); -EBADMSG (CRC).
 */
int segment_record_parse(const uint8_t *bytes, size_t len,
			 struct segment_record *ret_record) MUST_CHECK;

/* Payload of a START record. */
struct segment_start {
	uint8_t directory_id[SEGMENT_ID_BYTES];
	uint32_t number;	/* of the segment; also its file name */
};
#define SEGMENT_START_BYTES 20u
void segment_start_encode(uint8_t out[SEGMENT_START_BYTES],
			  const struct segment_start *s);
int segment_start_parse(const uint8_t *payload, size_t len,
			struct segment_start *ret_start) MUST_CHECK;

/* Where a page is. */
struct segment_place {
	uint32_t segment;
	uint32_t block;
};

/* Payload of a COMMIT record; stream and number are in its header. */
struct segment_commit {
	uint64_t producer_ms;
	uint64_t server_ms;
	uint32_t duration_ms;
	uint32_t header_bytes;
	uint32_t media_bytes;
	uint32_t frames_bytes;
	uint32_t page_count;
};

/* Bytes of all three parts together. */
static inline uint64_t segment_commit_total(const struct segment_commit *c)
{
	return (uint64_t)c->header_bytes + c->media_bytes + c->frames_bytes;
}

static inline uint32_t segment_commit_bytes(uint32_t page_count)
{
	return SEGMENT_COMMIT_BYTES + page_count * SEGMENT_PLACE_BYTES;
}

/* @out has room for segment_commit_bytes(c->page_count). */
void segment_commit_encode(uint8_t *out, const struct segment_commit *c,
			   const struct segment_place *places);

/**
 * segment_commit_parse() - read the payload of a COMMIT record
 *
 * Return: 0; -EINVAL (sizes and pages do not fit together, or times from
 * INT64_MAX on, which no index could order).
 */
int segment_commit_parse(const uint8_t *payload, size_t len,
			 struct segment_commit *ret_commit) MUST_CHECK;
/* Place of @page < page_count of a payload that was parsed. */
struct segment_place segment_commit_place(const uint8_t *payload,
					  uint32_t page);

#endif
