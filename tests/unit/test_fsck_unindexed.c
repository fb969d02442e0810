/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed service acknowledged and had no time to add to the index. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/limits.h"
#include "support/fsck_bench.h"

/* As the index has it while it is being made. */
#define REBUILDING "1263948626"

static void fsck_counts_what_has_no_row(void **state)
{
	struct store_rig *rig = *state;
	enum fsck_level level;
	uint64_t bytes = fsck_check(rig, FSCK_STRUCTURE, false).bytes;

	fsck_be_killed(rig, 0, FSCK_NEW);
	for (level = FSCK_STRUCTURE; level <= FSCK_MEDIA; level++) {
		struct fsck_result r = fsck_check(rig, level, false);

		assert_string_equal(fsck_told, "");
		assert_int_equal(r.problems, 0);
		assert_int_equal(r.fragments, FSCK_FRAGMENTS + FSCK_NEW);
		assert_int_equal(r.new_fragments, FSCK_NEW);
		assert_int_equal(r.torn_fragments, 0);
		assert_true(r.bytes > bytes + FSCK_NEW * FSCK_BYTES / 2);
	}
	fsck_expect(rig, FSCK_FRAGMENTS + FSCK_NEW, 0);
	assert_int_equal(fsck_check(rig, FSCK_MEDIA, false).new_fragments, 0);
}

/* Acknowledged fragments follow it: no torn write left it so. */
static void fsck_finds_a_flipped_bit_in_what_has_no_row(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;

	fsck_be_killed(rig, 0, FSCK_NEW);
	fsck_flip(rig, FSCK_NEW_SEQ + 2, SEGMENT_PAGE);
	r = fsck_check(rig, FSCK_CHECKSUMS, false);
	assert_int_equal(r.problems, 1);
	assert_non_null(strstr(fsck_told, "fragment 102 does not verify"));
	assert_int_equal(r.fragments, FSCK_FRAGMENTS + FSCK_NEW);
	assert_int_equal(r.new_fragments, FSCK_NEW - 1);
	assert_int_equal(r.torn_fragments, 0);
	fsck_repair_and_expect(rig, FSCK_FRAGMENTS + FSCK_NEW - 1,
			       FSCK_NEW_SEQ + 2);
}

static void fsck_finds_a_forged_page_in_what_has_no_row(void **state)
{
	static uint8_t bytes[SEGMENT_RECORD_BYTES_MAX];
	struct store_rig *rig = *state;
	struct segment_record rec;
	off_t at = 0;
	int fd;

	fsck_be_killed(rig, 0, FSCK_NEW);
	fd = fsck_open_segment(rig, fsck_find_record(rig, FSCK_NEW_SEQ + 1,
						     SEGMENT_PAGE, 1, &at));
	assert_true(pread(fd, bytes, sizeof(bytes), at) > 0);
	assert_int_equal(segment_record_parse(bytes, sizeof(bytes), &rec), 0);
	bytes[300] ^= 4;
	segment_record_end(bytes, rec.tag);
	assert_true(pwrite(fd, bytes, segment_record_bytes(rec.payload_bytes),
			   at) > 0);
	close(fd);
	assert_int_equal(fsck_check(rig, FSCK_CHECKSUMS, false).problems, 0);
	assert_int_equal(fsck_check(rig, FSCK_MEDIA, false).problems, 1);
	assert_non_null(strstr(fsck_told, "fragment 101 does not verify"));
}

/* Which fragment's it was, nobody knows any more. */
static void fsck_finds_a_damaged_commit_record_behind_a_mark(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;

	fsck_be_killed(rig, 0, FSCK_NEW);
	fsck_flip(rig, FSCK_NEW_SEQ + 2, SEGMENT_COMMIT);
	r = fsck_check(rig, FSCK_STRUCTURE, false);
	assert_int_equal(r.problems, 1);
	assert_non_null(strstr(fsck_told, "a record is damaged"));
	assert_int_equal(r.fragments, FSCK_FRAGMENTS + FSCK_NEW - 1);
	assert_int_equal(r.new_fragments, FSCK_NEW - 1);
}

/* What was being written when the power went, no matter which of it landed. */
static void fsck_leaves_what_is_torn_to_the_start(void **state)
{
	struct store_rig *rig = *state;
	enum fsck_level level;

	fsck_be_killed(rig, 0, FSCK_NEW);
	fsck_flip(rig, FSCK_NEW_SEQ + FSCK_NEW - 2, SEGMENT_COMMIT);
	fsck_flip(rig, FSCK_NEW_SEQ + FSCK_NEW - 1, SEGMENT_PAGE);
	for (level = FSCK_STRUCTURE; level <= FSCK_MEDIA; level++) {
		struct fsck_result r = fsck_check(rig, level, false);

		assert_string_equal(fsck_told, "");
		assert_int_equal(r.problems, 0);
		assert_int_equal(r.fragments, FSCK_FRAGMENTS + FSCK_NEW - 2);
		assert_int_equal(r.new_fragments, FSCK_NEW - 2);
		assert_int_equal(r.torn_fragments, 1);
	}
	fsck_expect(rig, FSCK_FRAGMENTS + FSCK_NEW - 2,
		    FSCK_NEW_SEQ + FSCK_NEW - 1);
}

/* All that the service wrote to the index since its start is gone. */
static void lose_log(const struct store_rig *rig)
{
	rig_unlink(rig, "index.db-wal");
}

static void fsck_counts_segments_without_a_row(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;

	fsck_be_killed(rig, 0, 4 * FSCK_NEW);
	lose_log(rig);
	r = fsck_check(rig, FSCK_MEDIA, false);
	assert_string_equal(fsck_told, "");
	assert_int_equal(r.problems, 0);
	assert_in_range(r.new_segments, 2, 5);
	assert_int_equal(r.new_fragments, 4 * FSCK_NEW);
	assert_int_equal(r.fragments, FSCK_FRAGMENTS + 4 * FSCK_NEW);
	fsck_flip(rig, FSCK_NEW_SEQ + 2, SEGMENT_PAGE);
	r = fsck_check(rig, FSCK_CHECKSUMS, false);
	assert_int_equal(r.problems, 1);
	assert_int_equal(r.new_fragments, 4 * FSCK_NEW - 1);
}

/* Its commit records are in @to, too, as those of copies are. */
static void copy_segment(const struct store_rig *rig, uint32_t from,
			 uint32_t to)
{
	static uint8_t bytes[SEGMENT_BYTES_MIN];
	struct segment_record rec;
	struct segment_start start;
	char path[256];
	int fd = fsck_open_segment(rig, from);
	ssize_t n = pread(fd, bytes, sizeof(bytes), 0);

	close(fd);
	assert_true(n > 0);
	assert_int_equal(segment_record_parse(bytes, (size_t)n, &rec), 0);
	assert_int_equal(segment_start_parse(bytes + SEGMENT_HEADER_BYTES,
					     rec.payload_bytes, &start),
			 0);
	start.number = to;
	segment_start_encode(bytes + SEGMENT_HEADER_BYTES, &start);
	segment_record_end(bytes, rec.tag);
	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", rig->path,
		       to);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, bytes, (size_t)n), n);
	close(fd);
}

static void fsck_counts_a_fragment_once(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;
	uint32_t number;
	off_t at = 0;

	/* The index went back to before it knew what it has rows of. */
	assert_int_equal(rig_sql(rig, "UPDATE segments SET closed=0, mark=1"),
			 0);
	r = fsck_check(rig, FSCK_MEDIA, false);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.fragments, FSCK_FRAGMENTS);
	assert_int_equal(r.new_fragments, 0);
	/* And a copy, neither of which has rows. */
	fsck_be_killed(rig, 0, FSCK_NEW);
	lose_log(rig);
	number = fsck_find_record(rig, FSCK_NEW_SEQ, SEGMENT_COMMIT, 1, &at);
	copy_segment(rig, number, number + 10);
	r = fsck_check(rig, FSCK_CHECKSUMS, false);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.new_fragments, FSCK_NEW);
	assert_int_equal(r.fragments, FSCK_FRAGMENTS + FSCK_NEW);
}

/*
 * Removes the first segment of the first new fragment that is in two. Return:
 * the other one.
 */
static uint32_t lose_first_segment(const struct store_rig *rig)
{
	uint64_t seq = FSCK_NEW_SEQ;
	uint32_t first;
	uint32_t last;
	char path[64];
	off_t at = 0;

	do {
		first = fsck_find_record(rig, seq, SEGMENT_PAGE, 1, &at);
		last = fsck_find_record(rig, seq++, SEGMENT_COMMIT, 1, &at);
	} while (first == last);
	(void)snprintf(path, sizeof(path), "segments/%08u.seg", first);
	rig_unlink(rig, path);
	return last;
}

/* A row as of a segment that is written to, with no fragment yet. */
static void add_segment_row(const struct store_rig *rig, uint32_t number)
{
	uint8_t bytes[SEGMENT_BLOCK_BYTES];
	struct segment_record rec;
	int fd = fsck_open_segment(rig, number);
	char text[256];
	size_t len;
	size_t i;

	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
	close(fd);
	assert_int_equal(segment_record_parse(bytes, sizeof(bytes), &rec), 0);
	len = (size_t)snprintf(text, sizeof(text),
			       "INSERT INTO segments(number, generation, "
			       "closed, mark, live) VALUES(%u, x'",
			       number);
	for (i = 0; i < sizeof(rec.generation); i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%02x",
					rec.generation[i]);
	(void)snprintf(text + len, sizeof(text) - len, "', 0, 1, 0)");
	assert_int_equal(rig_sql(rig, text), 0);
}

/* Of what expired, a part may be left; but nothing expires behind a mark. */
static void fsck_misses_pages_behind_a_mark_only(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;
	uint32_t last;

	fsck_be_killed(rig, 0, 4 * FSCK_NEW);
	lose_log(rig);
	last = lose_first_segment(rig);
	r = fsck_check(rig, FSCK_CHECKSUMS, false);
	assert_string_equal(fsck_told, "");
	assert_int_equal(r.problems, 0);
	assert_in_range(r.new_fragments, 2 * FSCK_NEW - 2, 3 * FSCK_NEW);
	assert_int_equal(r.torn_fragments, 0);
	add_segment_row(rig, last);
	assert_int_equal(fsck_check(rig, FSCK_CHECKSUMS, false).problems, 1);
	assert_non_null(strstr(fsck_told, "does not verify"));
}

/* The last of a full segment: the next begins with what began in this. */
static void fsck_finds_damage_at_the_end_of_a_full_segment(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;
	uint64_t seq = FSCK_NEW_SEQ;
	uint32_t first;
	off_t at = 0;

	fsck_be_killed(rig, 0, 4 * FSCK_NEW);
	lose_log(rig);
	first = fsck_find_record(rig, seq, SEGMENT_COMMIT, 1, &at);
	while (fsck_find_record(rig, seq + 1, SEGMENT_COMMIT, 1, &at) == first)
		seq++;
	assert_int_equal(fsck_find_record(rig, seq + 1, SEGMENT_PAGE, 1, &at),
			 first);
	fsck_flip(rig, seq - 1, SEGMENT_PAGE);
	fsck_flip(rig, seq, SEGMENT_COMMIT);
	/* And one within the next. */
	fsck_flip(rig, seq + 3, SEGMENT_PAGE);
	r = fsck_check(rig, FSCK_CHECKSUMS, false);
	assert_int_equal(r.problems, 3);
	assert_int_equal(r.torn_fragments, 0);
	assert_int_equal(r.new_fragments, 4 * FSCK_NEW - 3);
}

/* Marks in an index that is being made again say nothing. */
static void fsck_knows_an_index_that_is_being_made(void **state)
{
	struct store_rig *rig = *state;
	uint64_t rows;

	assert_int_equal(rig_sql(rig, "UPDATE segments SET closed=0;"
				      "DELETE FROM fragments"),
			 0);
	rows = fsck_check(rig, FSCK_CHECKSUMS, false).fragments;
	assert_in_range(rows, 1, FSCK_FRAGMENTS - 1);
	assert_int_equal(rig_sql(rig, "PRAGMA application_id=" REBUILDING), 0);
	assert_int_equal(fsck_check(rig, FSCK_CHECKSUMS, false).new_fragments,
			 FSCK_FRAGMENTS - rows);
}

static void fsck_knows_new_fragments_of_deleted_streams(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;

	/* find_key() knows two streams. */
	fsck_be_killed(rig, 2, FSCK_NEW);
	r = fsck_check(rig, FSCK_MEDIA, false);
	assert_string_equal(fsck_told, "");
	assert_int_equal(r.dead_fragments, FSCK_NEW);
	assert_int_equal(r.new_fragments, 0);
	assert_int_equal(r.fragments, FSCK_FRAGMENTS + FSCK_NEW);
}

#define CASE(f)                                              \
	cmocka_unit_test_setup_teardown(f, fsck_bench_setup, \
					fsck_bench_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(fsck_counts_what_has_no_row),
		CASE(fsck_finds_a_flipped_bit_in_what_has_no_row),
		CASE(fsck_finds_a_forged_page_in_what_has_no_row),
		CASE(fsck_finds_a_damaged_commit_record_behind_a_mark),
		CASE(fsck_leaves_what_is_torn_to_the_start),
		CASE(fsck_counts_segments_without_a_row),
		CASE(fsck_counts_a_fragment_once),
		CASE(fsck_misses_pages_behind_a_mark_only),
		CASE(fsck_finds_damage_at_the_end_of_a_full_segment),
		CASE(fsck_knows_an_index_that_is_being_made),
		CASE(fsck_knows_new_fragments_of_deleted_streams),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
