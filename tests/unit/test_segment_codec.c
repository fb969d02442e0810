/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <cmocka.h>

#include "io/segment_seal.h"
#include "proto/segment.h"

static const uint8_t key_bytes[CRYPTO_KEY_BYTES] = { 1, 2, 3 };

static struct segment_record sample(enum segment_kind kind, uint32_t bytes)
{
	struct segment_record r = {
		.kind = kind,
		.last = true,
		.number = { .seq = 77, .server_ms = 1234567890123ull,
			    .random = 0xabcdef1 },
		.block = 5,
		.page = 3,
		.payload_bytes = bytes,
	};

	memset(r.generation, 0x11, sizeof(r.generation));
	memset(r.stream_id, 0x22, sizeof(r.stream_id));
	memset(r.nonce, 0x33, sizeof(r.nonce));
	return r;
}

static void make_page(uint8_t *out, uint32_t bytes, struct crypto_aead *key)
{
	struct segment_record r = sample(SEGMENT_PAGE, bytes);
	uint8_t plain[SEGMENT_PAYLOAD_BYTES_MAX];
	struct iovec part = { plain, bytes };

	memset(plain, 0x44, sizeof(plain));
	memset(out, 0xff, segment_record_bytes(bytes));
	assert_int_equal(segment_seal_page(key, &r, &part, 1, out), 0);
}

static void page_comes_back_and_its_padding_is_zero(void **state)
{
	static uint8_t record[SEGMENT_RECORD_BYTES_MAX];
	static uint8_t plain[SEGMENT_PAYLOAD_BYTES_MAX];
	struct segment_record r;
	struct crypto_aead *key;
	size_t i;

	(void)state;
	assert_int_equal(crypto_aead_new(key_bytes, &key), 0);
	make_page(record, 100, key);
	assert_int_equal(segment_record_parse(record, sizeof(record), &r), 0);
	assert_int_equal(r.kind, SEGMENT_PAGE);
	assert_true(r.last);
	assert_int_equal(r.number.seq, 77);
	assert_int_equal(r.number.server_ms, 1234567890123ull);
	assert_int_equal(r.number.random, 0xabcdef1);
	assert_int_equal(r.block, 5);
	assert_int_equal(r.page, 3);
	assert_int_equal(r.payload_bytes, 100);
	assert_int_equal(segment_open_page(key, record, &r, plain), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(plain[i], 0x44);
	for (i = SEGMENT_HEADER_BYTES + 100; i < SEGMENT_BLOCK_BYTES; i++)
		assert_int_equal(record[i], 0);
	crypto_aead_free(key);
}

static void record_rejects_each_flipped_bit(void **state)
{
	static uint8_t record[SEGMENT_BLOCK_BYTES];
	struct segment_record r;
	struct crypto_aead *key;
	size_t i;

	(void)state;
	assert_int_equal(crypto_aead_new(key_bytes, &key), 0);
	make_page(record, 100, key);
	for (i = 0; i < (SEGMENT_HEADER_BYTES + 100) * 8; i++) {
		record[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_true(segment_record_parse(record, sizeof(record), &r) <
			    0);
		record[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	assert_int_equal(segment_record_parse(record, sizeof(record), &r), 0);
	crypto_aead_free(key);
}

/* Forged with a good CRC, as no power cut but an attacker does. */
static void page_tag_covers_what_the_header_says(void **state)
{
	static const size_t offsets[] = { 6, 8, 24, 40, 48, 56, 60, 64, 72 };
	static uint8_t record[SEGMENT_BLOCK_BYTES];
	static uint8_t plain[SEGMENT_PAYLOAD_BYTES_MAX];
	uint8_t tag[SEGMENT_TAG_BYTES];
	struct segment_record r;
	struct crypto_aead *key;
	size_t i;

	(void)state;
	assert_int_equal(crypto_aead_new(key_bytes, &key), 0);
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		make_page(record, 100, key);
		memcpy(tag, record + 84, sizeof(tag));
		record[offsets[i]] ^= 1;
		segment_record_end(record, tag);
		assert_int_equal(segment_record_parse(record, sizeof(record),
						      &r), 0);
		memset(plain, 0x55, 100);
		assert_int_equal(segment_open_page(key, record, &r, plain),
				 -EBADMSG);
		assert_int_equal(plain[0], 0);
	}
	crypto_aead_free(key);
}

static void commit_tag_covers_its_clear_payload(void **state)
{
	static const struct segment_place places[] = { { 1, 9 }, { 2, 1 } };
	static uint8_t record[SEGMENT_BLOCK_BYTES];
	struct segment_commit c = {
		.producer_ms = 5,
		.server_ms = 6,
		.duration_ms = 7,
		.header_bytes = 8,
		.media_bytes = 65408,
		.frames_bytes = 10,
		.page_count = 2,
	};
	struct segment_record r = sample(SEGMENT_COMMIT,
					 segment_commit_bytes(2));
	uint8_t tag[SEGMENT_TAG_BYTES];
	uint8_t before[SEGMENT_BLOCK_BYTES];
	struct crypto_aead *key;

	(void)state;
	assert_int_equal(crypto_aead_new(key_bytes, &key), 0);
	segment_commit_encode(record + SEGMENT_HEADER_BYTES, &c, places);
	assert_int_equal(segment_seal_commit(key, &r, record), 0);
	assert_int_equal(segment_record_parse(record, sizeof(record), &r), 0);
	memcpy(before, record, sizeof(before));
	assert_int_equal(segment_check_commit(key, record, &r), 0);
	assert_memory_equal(before, record, sizeof(before));
	memcpy(tag, record + 84, sizeof(tag));
	record[SEGMENT_HEADER_BYTES + SEGMENT_COMMIT_BYTES] ^= 1;
	segment_record_end(record, tag);
	assert_int_equal(segment_record_parse(record, sizeof(record), &r), 0);
	assert_int_equal(segment_check_commit(key, record, &r), -EBADMSG);
	crypto_aead_free(key);
}

static void commit_comes_back(void **state)
{
	static const struct segment_place places[] = { { 1, 9 },
						       { 2, 4000000000u } };
	struct segment_commit c = {
		.producer_ms = INT64_MAX - 1,
		.server_ms = 1,
		.duration_ms = UINT32_MAX,
		.header_bytes = 1,
		.media_bytes = SEGMENT_PAYLOAD_BYTES_MAX,
		.page_count = 2,
	};
	uint8_t payload[64];
	uint8_t again[64];
	struct segment_commit d;
	size_t len = segment_commit_bytes(2);

	(void)state;
	segment_commit_encode(payload, &c, places);
	assert_int_equal(segment_commit_parse(payload, len, &d), 0);
	/* By its bytes: the structure has padding. */
	segment_commit_encode(again, &d, places);
	assert_memory_equal(payload, again, len);
	assert_int_equal(segment_commit_place(payload, 1).block, 4000000000u);
	/* Sizes that do not fit the pages, times that cannot be ordered. */
	assert_int_equal(segment_commit_parse(payload, len - 1, &d), -EINVAL);
	c.media_bytes += SEGMENT_PAYLOAD_BYTES_MAX;
	segment_commit_encode(payload, &c, places);
	assert_int_equal(segment_commit_parse(payload, len, &d), -EINVAL);
	c.media_bytes = SEGMENT_PAYLOAD_BYTES_MAX;
	c.producer_ms = INT64_MAX;
	segment_commit_encode(payload, &c, places);
	assert_int_equal(segment_commit_parse(payload, len, &d), -EINVAL);
}

static void commit_rejects_an_empty_fragment(void **state)
{
	struct segment_commit c = { .page_count = 0 };
	uint8_t payload[SEGMENT_COMMIT_BYTES];
	struct segment_commit d;

	(void)state;
	segment_commit_encode(payload, &c, NULL);
	assert_int_equal(segment_commit_parse(payload, sizeof(payload), &d),
			 -EINVAL);
}

static void page_sizes_add_up(void **state)
{
	static const uint64_t totals[] = { 1, 65407, 65408, 65409, 130816,
					   1000000 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(totals); i++) {
		uint64_t pages = segment_page_count(totals[i]);
		uint64_t sum = 0;
		uint64_t p;

		for (p = 0; p < pages; p++) {
			assert_true(segment_page_bytes(totals[i], p) > 0);
			sum += segment_page_bytes(totals[i], p);
		}
		assert_int_equal(sum, totals[i]);
	}
	assert_int_equal(segment_record_bytes(SEGMENT_PAYLOAD_BYTES_MAX),
			 SEGMENT_RECORD_BYTES_MAX);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(page_comes_back_and_its_padding_is_zero),
		cmocka_unit_test(record_rejects_each_flipped_bit),
		cmocka_unit_test(page_tag_covers_what_the_header_says),
		cmocka_unit_test(commit_tag_covers_its_clear_payload),
		cmocka_unit_test(commit_comes_back),
		cmocka_unit_test(commit_rejects_an_empty_fragment),
		cmocka_unit_test(page_sizes_add_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
