/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packed index rows. Holds: what unpacks is in order and within bounds, and
 * packing it again gives the input back, byte for byte. The CRC is put right
 * first, or nothing would get past it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "core/index_block.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void require(bool holds)
{
	if (!holds)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	static struct index_row rows[INDEX_BLOCK_ROWS_MAX];
	static uint8_t again[INDEX_BLOCK_BYTES_MAX];
	static const uint8_t id[STREAM_ID_BYTES] = {1};
	uint8_t *copy;
	int count;
	int i;

	if (len < 4)
		return 0;
	copy = malloc(len);
	require(copy);
	memcpy(copy, bytes, len);
	store_le32(copy + len - 4, crc32c(0, copy, len - 4));
	count = index_block_unpack(copy, len, id, rows);
	for (i = 0; i < count; i++) {
		require(!i || rows[i].f.number.seq > rows[i - 1].f.number.seq);
		require(rows[i].f.number.seq <= INT64_MAX);
		require(rows[i].f.server_ms <= INT64_MAX);
		require(rows[i].f.producer_ms <= INT64_MAX);
		require(rows[i].first_segment <= rows[i].f.segment);
		require(rows[i].f.stream_id[0] == 1);
	}
	if (count >= 0) {
		require(count > 0 && count <= (int)INDEX_BLOCK_ROWS_MAX);
		require(index_block_pack(rows, (unsigned int)count, again) ==
			len);
		require(!memcmp(again, copy, len));
	}
	free(copy);
	return 0;
}
