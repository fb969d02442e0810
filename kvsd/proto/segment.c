/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/segment.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"

#define MAGIC 0x5253564bu /* "KVSR" */
#define VERSION 1u
#define FLAG_LAST 1u

#define AT_VERSION 4
#define AT_KIND 5
#define AT_FLAGS 6
#define AT_GENERATION 8
#define AT_STREAM 24
#define AT_SEQ 40
#define AT_SERVER_MS 48
#define AT_RANDOM 56
#define AT_BLOCK 60
#define AT_PAGE 64
#define AT_PAYLOAD 68
#define AT_NONCE 72
#define AT_TAG 84
#define AT_ZERO 100
#define AT_CRC 124

_Static_assert(AT_NONCE == SEGMENT_AAD_BYTES, "AAD ends before the nonce");
_Static_assert(AT_CRC + 4 == SEGMENT_HEADER_BYTES, "CRC ends the header");
_Static_assert(AT_TAG + SEGMENT_TAG_BYTES == AT_ZERO, "no hole");

void segment_record_begin(uint8_t out[SEGMENT_HEADER_BYTES],
			  const struct segment_record *r)
{
	memset(out, 0, SEGMENT_HEADER_BYTES);
	store_le32(out, MAGIC);
	out[AT_VERSION] = VERSION;
	out[AT_KIND] = (uint8_t)r->kind;
	out[AT_FLAGS] = r->last ? FLAG_LAST : 0;
	memcpy(out + AT_GENERATION, r->generation, SEGMENT_ID_BYTES);
	memcpy(out + AT_STREAM, r->stream_id, SEGMENT_ID_BYTES);
	store_le64(out + AT_SEQ, r->number.seq);
	store_le64(out + AT_SERVER_MS, r->number.server_ms);
	store_le32(out + AT_RANDOM, r->number.random);
	store_le32(out + AT_BLOCK, r->block);
	store_le32(out + AT_PAGE, r->page);
	store_le32(out + AT_PAYLOAD, r->payload_bytes);
	memcpy(out + AT_NONCE, r->nonce, SEGMENT_NONCE_BYTES);
}

static uint32_t record_crc(const uint8_t *record, uint32_t payload_bytes)
{
	uint32_t crc = crc32c(0, record, AT_CRC);

	return crc32c(crc, record + SEGMENT_HEADER_BYTES, payload_bytes);
}

void segment_record_end(uint8_t *record, const uint8_t tag[SEGMENT_TAG_BYTES])
{
	uint32_t payload_bytes = load_le32(record + AT_PAYLOAD);
	uint32_t end = SEGMENT_HEADER_BYTES + payload_bytes;

	memcpy(record + AT_TAG, tag, SEGMENT_TAG_BYTES);
	store_le32(record + AT_CRC, record_crc(record, payload_bytes));
	memset(record + end, 0, segment_record_bytes(payload_bytes) - end);
}

void segment_record_void(uint8_t *record)
{
	uint8_t tag[SEGMENT_TAG_BYTES];

	memcpy(tag, record + AT_TAG, sizeof(tag));
	record[AT_KIND] = SEGMENT_PAGE;
	segment_record_end(record, tag);
}

static bool all_zero(const uint8_t *p, size_t len)
{
	while (len--)
		if (*p++)
			return false;
	return true;
}

int segment_header_parse(const uint8_t *bytes,
			 struct segment_record *ret_record)
{
	struct segment_record r;
	uint8_t kind = bytes[AT_KIND];

	if (load_le32(bytes) != MAGIC || bytes[AT_VERSION] != VERSION ||
	    bytes[AT_FLAGS] & ~FLAG_LAST || bytes[AT_FLAGS + 1] ||
	    kind < SEGMENT_START || kind > SEGMENT_END ||
	    !all_zero(bytes + AT_ZERO, AT_CRC - AT_ZERO))
		return -EINVAL;
	r.kind = (enum segment_kind)kind;
	r.last = bytes[AT_FLAGS] & FLAG_LAST;
	memcpy(r.generation, bytes + AT_GENERATION, SEGMENT_ID_BYTES);
	memcpy(r.stream_id, bytes + AT_STREAM, SEGMENT_ID_BYTES);
	r.number.seq = load_le64(bytes + AT_SEQ);
	r.number.server_ms = load_le64(bytes + AT_SERVER_MS);
	r.number.random = load_le32(bytes + AT_RANDOM);
	r.block = load_le32(bytes + AT_BLOCK);
	r.page = load_le32(bytes + AT_PAGE);
	r.payload_bytes = load_le32(bytes + AT_PAYLOAD);
	memcpy(r.nonce, bytes + AT_NONCE, SEGMENT_NONCE_BYTES);
	memcpy(r.tag, bytes + AT_TAG, SEGMENT_TAG_BYTES);
	if (!r.payload_bytes || r.payload_bytes > SEGMENT_PAYLOAD_BYTES_MAX ||
	    r.number.seq > FRAGMENT_SEQ_MAX ||
	    r.number.random >> FRAGMENT_RANDOM_BITS)
		return -EINVAL;
	*ret_record = r;
	return 0;
}

int segment_record_parse(const uint8_t *bytes, size_t len,
			 struct segment_record *ret_record)
{
	struct segment_record r;
	int err;

	if (len < SEGMENT_HEADER_BYTES)
		return -EINVAL;
	err = segment_header_parse(bytes, &r);
	if (err < 0)
		return err;
	if (r.payload_bytes > len - SEGMENT_HEADER_BYTES)
		return -EINVAL;
	if (record_crc(bytes, r.payload_bytes) != load_le32(bytes + AT_CRC))
		return -EBADMSG;
	*ret_record = r;
	return 0;
}

void segment_start_encode(uint8_t out[SEGMENT_START_BYTES],
			  const struct segment_start *s)
{
	memcpy(out, s->directory_id, SEGMENT_ID_BYTES);
	store_le32(out + SEGMENT_ID_BYTES, s->number);
}

int segment_start_parse(const uint8_t *payload, size_t len,
			struct segment_start *ret_start)
{
	if (len != SEGMENT_START_BYTES)
		return -EINVAL;
	memcpy(ret_start->directory_id, payload, SEGMENT_ID_BYTES);
	ret_start->number = load_le32(payload + SEGMENT_ID_BYTES);
	return 0;
}

void segment_commit_encode(uint8_t *out, const struct segment_commit *c,
			   const struct segment_place *places)
{
	uint32_t i;

	store_le64(out, c->producer_ms);
	store_le64(out + 8, c->server_ms);
	store_le32(out + 16, c->duration_ms);
	store_le32(out + 20, c->header_bytes);
	store_le32(out + 24, c->media_bytes);
	store_le32(out + 28, c->frames_bytes);
	store_le32(out + 32, c->page_count);
	store_le32(out + 36, 0);
	out += SEGMENT_COMMIT_BYTES;
	for (i = 0; i < c->page_count; i++, out += SEGMENT_PLACE_BYTES) {
		store_le32(out, places[i].segment);
		store_le32(out + 4, places[i].block);
	}
}

int segment_commit_parse(const uint8_t *payload, size_t len,
			 struct segment_commit *ret_commit)
{
	struct segment_commit c;
	uint64_t total;

	if (len < SEGMENT_COMMIT_BYTES)
		return -EINVAL;
	c.producer_ms = load_le64(payload);
	c.server_ms = load_le64(payload + 8);
	c.duration_ms = load_le32(payload + 16);
	c.header_bytes = load_le32(payload + 20);
	c.media_bytes = load_le32(payload + 24);
	c.frames_bytes = load_le32(payload + 28);
	c.page_count = load_le32(payload + 32);
	total = segment_commit_total(&c);
	if (c.producer_ms >= INT64_MAX || c.server_ms >= INT64_MAX ||
	    load_le32(payload + 36) || !total ||
	    c.page_count > SEGMENT_PAGES_MAX ||
	    segment_page_count(total) != c.page_count ||
	    segment_commit_bytes(c.page_count) != len)
		return -EINVAL;
	*ret_commit = c;
	return 0;
}

struct segment_place segment_commit_place(const uint8_t *payload,
					  uint32_t page)
{
	const uint8_t *p = payload + SEGMENT_COMMIT_BYTES +
			   (size_t)page * SEGMENT_PLACE_BYTES;

	return (struct segment_place){ load_le32(p), load_le32(p + 4) };
}
