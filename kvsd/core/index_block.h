/* SPDX-License-Identifier: Apache-2.0 */
/*
 * About a minute of a stream's index rows, packed.
 *
 * Layout: a version byte (1), the number of rows, then per row these LEB128
 * integers (proto/varint.h), D = zigzag difference to the row before (to 0
 * for the first), then CRC-32C (little endian) of all before it:
 *	seq - the row's before it
 *	D server_ms, D producer_ms
 *	zigzag: the number's server_ms - server_ms
 *	random
 *	D duration_ms, D header_bytes, D media_bytes, D frames_bytes
 *	D segment, D page
 *	segment - first_segment
 */
#ifndef CORE_INDEX_BLOCK_H
#define CORE_INDEX_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/store.h"

#define INDEX_BLOCK_ROWS_MAX 128u
/* Version, count and CRC; 12 integers of at most 10 bytes each. */
#define INDEX_BLOCK_BYTES_MAX (2u + 4u + INDEX_BLOCK_ROWS_MAX * 120u)

struct index_row {
	struct store_fragment f;
	uint32_t first_segment; /* its pages are in it..f.segment */
};

/**
 * index_block_pack() - pack rows of one stream
 * @rows: by number, each once; numbers and times at most INT64_MAX,
 *	first_segment not after the segment
 * @count: 1..INDEX_BLOCK_ROWS_MAX
 *
 * Return: bytes written.
 */
size_t index_block_pack(const struct index_row *rows, unsigned int count,
			uint8_t out[INDEX_BLOCK_BYTES_MAX]);

/**
 * index_block_unpack() - the rows of a packed block
 * @id: stream, which the block itself does not say
 *
 * Return: number of rows; -EBADMSG (damaged, or nothing that pack writes).
 */
int index_block_unpack(
	const uint8_t *bytes, size_t len, const uint8_t id[STREAM_ID_BYTES],
	struct index_row ret_rows[INDEX_BLOCK_ROWS_MAX]) MUST_CHECK;

#endif
