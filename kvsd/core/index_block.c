/* SPDX-License-Identifier: Apache-2.0 */
#include "core/index_block.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "proto/varint.h"

#define BLOCK_VERSION 1
#define CRC_BYTES 4u

static size_t pack_row(const struct index_row *row,
		       const struct index_row *before, uint8_t *out)
{
	const struct store_fragment *f = &row->f;
	const struct store_fragment *b = &before->f;
	const uint64_t fields[] = {
		f->number.seq - b->number.seq,
		zigzag(f->server_ms, b->server_ms),
		zigzag(f->producer_ms, b->producer_ms),
		zigzag(f->number.server_ms, f->server_ms),
		f->number.random,
		zigzag(f->duration_ms, b->duration_ms),
		zigzag(f->header_bytes, b->header_bytes),
		zigzag(f->media_bytes, b->media_bytes),
		zigzag(f->frames_bytes, b->frames_bytes),
		zigzag(f->segment, b->segment),
		zigzag(f->page, b->page),
		f->segment - row->first_segment,
	};
	size_t n = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++)
		n += varint_write(out + n, fields[i]);
	return n;
}

size_t index_block_pack(const struct index_row *rows, unsigned int count,
			uint8_t out[INDEX_BLOCK_BYTES_MAX])
{
	static const struct index_row none;
	size_t n = 0;
	unsigned int i;

	assert(count && count <= INDEX_BLOCK_ROWS_MAX);
	out[n++] = BLOCK_VERSION;
	out[n++] = (uint8_t)count;
	for (i = 0; i < count; i++)
		n += pack_row(&rows[i], i ? &rows[i - 1] : &none, out + n);
	store_le32(out + n, crc32c(0, out, n));
	return n + CRC_BYTES;
}

struct cursor {
	const uint8_t *at;
	const uint8_t *end;
	int err;
};

static uint64_t take(struct cursor *c, uint64_t max)
{
	uint64_t v = 0;

	if (!c->err)
		c->err = varint_read(&c->at, c->end, max, &v);
	return v;
}

/* A difference to @before that stays within 0..@max. */
static uint64_t take_near(struct cursor *c, uint64_t before, uint64_t max)
{
	uint64_t v = unzigzag(take(c, UINT64_MAX), before);

	if (v > max)
		c->err = -EBADMSG;
	return v;
}

static void unpack_row(struct cursor *c, const struct index_row *before,
		       struct index_row *row)
{
	const struct store_fragment *b = &before->f;
	struct store_fragment *f = &row->f;

	f->number.seq = b->number.seq + take(c, INT64_MAX - b->number.seq);
	f->server_ms = take_near(c, b->server_ms, INT64_MAX);
	f->producer_ms = take_near(c, b->producer_ms, INT64_MAX);
	f->number.server_ms = take_near(c, f->server_ms, UINT64_MAX);
	f->number.random = (uint32_t)take(c, UINT32_MAX);
	f->duration_ms = (uint32_t)take_near(c, b->duration_ms, UINT32_MAX);
	f->header_bytes = (uint32_t)take_near(c, b->header_bytes, UINT32_MAX);
	f->media_bytes = (uint32_t)take_near(c, b->media_bytes, UINT32_MAX);
	f->frames_bytes = (uint32_t)take_near(c, b->frames_bytes, UINT32_MAX);
	f->segment = (uint32_t)take_near(c, b->segment, UINT32_MAX);
	f->page = (uint32_t)take_near(c, b->page, UINT32_MAX);
	row->first_segment = f->segment - (uint32_t)take(c, f->segment);
}

int index_block_unpack(const uint8_t *bytes, size_t len,
		       const uint8_t id[STREAM_ID_BYTES],
		       struct index_row ret_rows[INDEX_BLOCK_ROWS_MAX])
{
	static const struct index_row none;
	struct cursor c;
	unsigned int count;
	unsigned int i;

	if (len < 2 + CRC_BYTES || bytes[0] != BLOCK_VERSION || !bytes[1] ||
	    bytes[1] > INDEX_BLOCK_ROWS_MAX)
		return -EBADMSG;
	len -= CRC_BYTES;
	if (crc32c(0, bytes, len) != load_le32(bytes + len))
		return -EBADMSG;
	c = (struct cursor){.at = bytes + 2, .end = bytes + len};
	count = bytes[1];
	for (i = 0; i < count && !c.err; i++) {
		const struct index_row *before = i ? &ret_rows[i - 1] : &none;

		/* The gaps, too: rows are compared. */
		memset(&ret_rows[i], 0, sizeof(ret_rows[i]));
		memcpy(ret_rows[i].f.stream_id, id, STREAM_ID_BYTES);
		unpack_row(&c, before, &ret_rows[i]);
		if (i && ret_rows[i].f.number.seq == before->f.number.seq)
			c.err = -EBADMSG;
	}
	return c.err || c.at != c.end ? -EBADMSG : (int)count;
}
