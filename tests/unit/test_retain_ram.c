/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <cmocka.h>

#include "core/limits.h"
#include "core/retain_ram.h"

#define STORE_BYTES (2u << 20)

struct store {
	struct retain_ram ram;
	void *memory;
	size_t back;		/* bytes given back */
	size_t back_lowest;	/* lowest offset given back */
};

static void give_back(void *ctx, size_t offset, size_t len)
{
	struct store *s = ctx;

	s->back += len;
	if (offset < s->back_lowest)
		s->back_lowest = offset;
	memset((uint8_t *)s->memory + offset, 0xee, len);
}

static int setup(void **state)
{
	struct store *s = calloc(1, sizeof(*s));
	struct retain_ram_config config = {
		.bytes = retain_ram_memory_bytes(STORE_BYTES),
		.store_bytes = STORE_BYTES,
		.give_back = give_back,
		.ctx = s,
	};

	assert_non_null(s);
	s->back_lowest = SIZE_MAX;
	s->memory = aligned_alloc(4096, config.bytes);
	assert_non_null(s->memory);
	memset(s->memory, 0, config.bytes);
	config.memory = s->memory;
	assert_int_equal(retain_ram_init(&s->ram, &config), 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct store *s = *state;

	free(s->memory);
	free(s);
	return 0;
}

static struct retain *retain_of(struct store *s)
{
	return &s->ram.retain;
}

/* Payload byte @i of the frame with @seed. */
static uint8_t pattern(uint32_t seed, size_t i)
{
	return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

static uint64_t hold(struct store *s, uint32_t seed, size_t bytes)
{
	uint8_t *p = malloc(bytes ? bytes : 1);
	struct iovec parts[2];
	uint64_t held;

	assert_non_null(p);
	for (size_t i = 0; i < bytes; i++)
		p[i] = pattern(seed, i);
	parts[0] = (struct iovec){ p, bytes / 3 };
	parts[1] = (struct iovec){ p + bytes / 3, bytes - bytes / 3 };
	assert_int_equal(retain_of(s)->ops->hold(retain_of(s), parts, 2, bytes,
						 &held), 0);
	assert_true(held);
	free(p);
	return held;
}

static void open_fragment(struct store *s, uint64_t timecode_ms)
{
	struct retain_fragment head = { .timecode_ms = timecode_ms,
					.tracks = 1, .setup = 1 };

	assert_int_equal(retain_of(s)->ops->open(retain_of(s), &head), 0);
}

static void add(struct store *s, uint64_t held, uint64_t time_ms)
{
	retain_of(s)->ops->add(retain_of(s), held, (const uint8_t *)"HEAD", 4, 0,
			       time_ms * NS_PER_MS);
}

static void put_fragment(struct store *s, uint64_t timecode_ms, uint32_t frames,
			 size_t bytes)
{
	open_fragment(s, timecode_ms);
	for (uint32_t i = 0; i < frames; i++)
		add(s, hold(s, i, bytes), timecode_ms + i);
	retain_of(s)->ops->seal(retain_of(s));
}

/* Reads a fragment in pieces and checks every byte. */
static void check_fragment(struct store *s, uint64_t seq, uint32_t frames,
			   size_t bytes, size_t piece)
{
	struct retain_cursor c = { .seq = seq };
	size_t total = 0;
	size_t frame_bytes = 4 + bytes;

	for (;;) {
		struct iovec parts[3];
		size_t count;
		size_t n = retain_of(s)->ops->read(retain_of(s), &c, parts, 3,
						   piece, &count);
		size_t sum = 0;

		if (!n)
			break;
		assert_true(n <= piece);
		for (size_t i = 0; i < count; i++) {
			const uint8_t *p = parts[i].iov_base;

			for (size_t j = 0; j < parts[i].iov_len; j++, total++) {
				size_t at = total % frame_bytes;
				uint32_t frame = (uint32_t)(total / frame_bytes);

				assert_int_equal(p[j], at < 4 ? (uint8_t)"HEAD"[at] :
						 pattern(frame, at - 4));
			}
			sum += parts[i].iov_len;
		}
		assert_int_equal(sum, n);
	}
	assert_int_equal(total, frames * frame_bytes);
}

static void retain_gives_back_what_was_put(void **state)
{
	static const size_t pieces[] = { 1000, 16384, 65536, 1u << 20 };
	struct store *s = *state;

	put_fragment(s, 1000, 20, 5000);
	put_fragment(s, 2000, 3, 200000); /* over several chunks each */
	put_fragment(s, 3000, 2, 0);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		check_fragment(s, 1, 20, 5000, pieces[i]);
		check_fragment(s, 2, 3, 200000, pieces[i]);
		check_fragment(s, 3, 2, 0, pieces[i]);
	}
	assert_int_equal(retain_from(retain_of(s), 2)->end_ms, 2002);
	assert_int_equal(retain_from(retain_of(s), 0)->frames, 20);
	assert_null(retain_from(retain_of(s), 4));
}

static void retain_reads_a_fragment_while_it_grows(void **state)
{
	struct store *s = *state;
	struct retain_cursor c = { .seq = 1 };
	struct iovec part;
	size_t count;

	open_fragment(s, 1000);
	assert_int_equal(retain_of(s)->ops->read(retain_of(s), &c, &part, 1,
						 100000, &count), 0);
	for (uint32_t i = 0; i < 5; i++) {
		add(s, hold(s, i, 100), 1000 + i);
		assert_int_equal(retain_of(s)->ops->read(retain_of(s), &c, &part,
							 1, 100000, &count), 104);
		assert_memory_equal(part.iov_base, "HEAD", 4);
		assert_int_equal(((uint8_t *)part.iov_base)[4], pattern(i, 0));
		assert_int_equal(retain_of(s)->ops->read(retain_of(s), &c, &part,
							 1, 100000, &count), 0);
	}
}

static void retain_orders_frames_by_add_and_not_by_hold(void **state)
{
	struct store *s = *state;
	struct retain_cursor c = { .seq = 1 };
	struct iovec parts[4];
	uint64_t a = hold(s, 1, 10);
	uint64_t b = hold(s, 2, 10);
	uint64_t dropped = hold(s, 3, 100000);
	size_t count;

	retain_of(s)->ops->release(retain_of(s), dropped);
	open_fragment(s, 1);
	add(s, b, 1);
	add(s, a, 2);
	assert_int_equal(retain_of(s)->ops->read(retain_of(s), &c, parts, 4, 1000,
						 &count), 28);
	assert_int_equal(count, 2);
	assert_int_equal(((uint8_t *)parts[0].iov_base)[4], pattern(2, 0));
	assert_int_equal(((uint8_t *)parts[1].iov_base)[4], pattern(1, 0));
}

static void retain_says_when_it_is_full(void **state)
{
	struct store *s = *state;
	uint8_t *big = calloc(1, STORE_BYTES);
	struct iovec part = { big, STORE_BYTES };
	uint64_t held;

	assert_int_equal(retain_of(s)->ops->hold(retain_of(s), &part, 1,
						 STORE_BYTES, &held), -EMSGSIZE);
	part.iov_len = STORE_BYTES / 2;
	assert_int_equal(retain_of(s)->ops->hold(retain_of(s), &part, 1,
						 part.iov_len, &held), 0);
	assert_int_equal(retain_of(s)->ops->hold(retain_of(s), &part, 1,
						 part.iov_len, &held), -ENOSPC);
	part.iov_len = STORE_BYTES / 4;
	assert_int_equal(retain_of(s)->ops->hold(retain_of(s), &part, 1,
						 part.iov_len, &held), 0);
	free(big);
}

static void retain_frees_a_fragment_anywhere_in_the_row(void **state)
{
	struct store *s = *state;
	struct retain_usage u;

	for (uint64_t i = 0; i < 5; i++)
		put_fragment(s, 1000 * (i + 1), 4, 40000);
	retain_of(s)->ops->remove(retain_of(s), 3);
	retain_of(s)->ops->remove(retain_of(s), 3);
	retain_of(s)->ops->remove(retain_of(s), 99);
	assert_int_equal(retain_from(retain_of(s), 3)->seq, 4);
	assert_null(retain_get(retain_of(s), 3));
	check_fragment(s, 2, 4, 40000, 65536);
	check_fragment(s, 4, 4, 40000, 65536);
	u = retain_of(s)->ops->usage(retain_of(s));
	assert_int_equal(u.fragments, 4);
	assert_int_equal(u.rows_used, 5);
	retain_of(s)->ops->remove(retain_of(s), 1);
	retain_of(s)->ops->remove(retain_of(s), 2);
	u = retain_of(s)->ops->usage(retain_of(s));
	assert_int_equal(u.rows_used, 2);
}

static void retain_runs_out_of_rows_before_memory(void **state)
{
	struct store *s = *state;
	struct retain_fragment head = { .timecode_ms = 1 };
	size_t n = 0;

	while (retain_of(s)->ops->open(retain_of(s), &head) == 0) {
		retain_of(s)->ops->seal(retain_of(s));
		n++;
	}
	assert_int_equal(n, STORE_BYTES / RETAIN_CHUNK_BYTES);
	retain_of(s)->ops->remove(retain_of(s), 1);
	assert_int_equal(retain_of(s)->ops->open(retain_of(s), &head), 0);
}

/* The memory in use follows the backlog: low chunks are used again. */
static void retain_takes_the_lowest_memory_first(void **state)
{
	struct store *s = *state;
	struct retain_cursor c = { 0 };

	for (uint64_t i = 1; i <= 400; i++) {
		struct iovec part;
		size_t count;

		put_fragment(s, i * 1000, 2, 60000);
		c = (struct retain_cursor){ .seq = i };
		assert_true(retain_of(s)->ops->read(retain_of(s), &c, &part, 1,
						    10, &count));
		assert_true((uint8_t *)part.iov_base <
			    s->ram.data + 5 * RETAIN_CHUNK_BYTES);
		retain_of(s)->ops->remove(retain_of(s), i);
	}
	assert_int_equal(s->back, 0);
}

static void retain_gives_memory_back_after_a_backlog(void **state)
{
	struct store *s = *state;

	for (uint64_t i = 1; i <= 8; i++)
		put_fragment(s, i * 1000, 2, 100000);
	assert_int_equal(s->back, 0);
	for (uint64_t i = 1; i <= 8; i++)
		retain_of(s)->ops->remove(retain_of(s), i);
	/* 25 chunks were touched; the spare ones stay, the lowest. */
	assert_true(s->back >= 8 * RETAIN_CHUNK_BYTES);
	assert_int_equal(s->ram.spare_count, RETAIN_SPARE_CHUNKS);
	assert_true(s->back_lowest >= s->ram.data_offset +
			    RETAIN_SPARE_CHUNKS * RETAIN_CHUNK_BYTES);
	put_fragment(s, 9000, 8, 200000); /* what was given back is good */
	check_fragment(s, 9, 8, 200000, 65536);
}

static void retain_refuses_sizes_out_of_range(void **state)
{
	struct store *s = *state;
	struct retain_ram_config config = s->ram.config;
	struct retain_ram r;

	config.bytes--;
	assert_int_equal(retain_ram_init(&r, &config), -EINVAL);
	config.bytes++;
	config.store_bytes = RETAIN_BYTES_MIN - 1;
	assert_int_equal(retain_ram_init(&r, &config), -EINVAL);
}

static uint64_t random_state = 42;

static uint32_t random_below(uint32_t n)
{
	random_state = random_state * UINT64_C(6364136223846793005) + 1;
	return (uint32_t)(random_state >> 33) % n;
}

/* Thousands of fragments of all sizes, removed in any order. */
static void retain_survives_any_order(void **state)
{
	struct store *s = *state;
	uint32_t frames[64] = { 0 };
	size_t bytes[64];
	uint64_t seq = 0;

	for (int i = 0; i < 3000; i++) {
		struct retain_fragment *f = retain_from(retain_of(s), 0);
		size_t k = (seq + 1) % 64;

		if (retain_of(s)->ops->usage(retain_of(s)).bytes_used >
			    STORE_BYTES / 3 ||
		    (seq > 8 && random_below(3) == 0)) {
			uint64_t from = f ? f->seq + random_below(6) : 0;

			f = retain_from(retain_of(s), from);
			if (!f)
				continue;
			check_fragment(s, f->seq, frames[f->seq % 64],
				       bytes[f->seq % 64],
				       1 + random_below(100000));
			retain_of(s)->ops->remove(retain_of(s), f->seq);
			continue;
		}
		if (retain_of(s)->ops->usage(retain_of(s)).rows_used > 25) {
			retain_of(s)->ops->remove(retain_of(s), f->seq);
			continue;
		}
		frames[k] = 1 + random_below(12);
		bytes[k] = random_below(random_below(4) ? 3000 : 90000);
		put_fragment(s, ++seq, frames[k], bytes[k]);
	}
	for (struct retain_fragment *f; (f = retain_from(retain_of(s), 0));)
		retain_of(s)->ops->remove(retain_of(s), f->seq);
	assert_int_equal(retain_of(s)->ops->usage(retain_of(s)).bytes_used, 0);
	assert_int_equal(s->ram.fill, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(retain_gives_back_what_was_put),
		T(retain_reads_a_fragment_while_it_grows),
		T(retain_orders_frames_by_add_and_not_by_hold),
		T(retain_says_when_it_is_full),
		T(retain_frees_a_fragment_anywhere_in_the_row),
		T(retain_runs_out_of_rows_before_memory),
		T(retain_takes_the_lowest_memory_first),
		T(retain_gives_memory_back_after_a_backlog),
		T(retain_refuses_sizes_out_of_range),
		T(retain_survives_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
