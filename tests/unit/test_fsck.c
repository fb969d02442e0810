/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "io/catalog_db.h"
#include "proto/segment.h"
#include "serve/fsck.h"
#include "support/fsck_bench.h"

/* The second record of the segment: a page in the middle of a fragment. */
static off_t find_page(int fd, uint8_t *bytes, struct segment_record *rec)
{
	off_t at = SEGMENT_BLOCK_BYTES;
	int pages = 0;

	for (;;) {
		ssize_t n = pread(fd, bytes, SEGMENT_RECORD_BYTES_MAX, at);

		assert_true(n > 0);
		assert_int_equal(segment_record_parse(bytes, (size_t)n, rec),
				 0);
		if (rec->kind == SEGMENT_PAGE && ++pages == 2)
			return at;
		at += segment_record_bytes(rec->payload_bytes);
	}
}

/* A bit of that page is another now; @ret_rec: as it was. */
static void flip_bit(struct store_rig *rig, struct segment_record *ret_rec)
{
	static uint8_t bytes[SEGMENT_RECORD_BYTES_MAX];
	int fd = fsck_open_segment(rig, 2);
	off_t at = find_page(fd, bytes, ret_rec);

	bytes[300] ^= 4;
	assert_int_equal(pwrite(fd, bytes + 300, 1, at + 300), 1);
	close(fd);
}

static void fsck_finds_nothing_wrong(void **state)
{
	struct fsck_result r = fsck_check(*state, FSCK_MEDIA, false);

	assert_string_equal(fsck_told, "");
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.fragments, FSCK_FRAGMENTS);
	assert_true(r.segments > 3);
	assert_int_equal(r.new_segments, 0);
	assert_int_equal(r.dead_fragments, 0);
	assert_true(r.bytes > FSCK_FRAGMENTS * FSCK_BYTES / 2);
	/* Repairing what is whole changes nothing either. */
	fsck_repair_and_expect(*state, FSCK_FRAGMENTS, 0);
}

static void fsck_finds_a_flipped_bit_and_saves_what_is_behind(void **state)
{
	struct segment_record rec;

	flip_bit(*state, &rec);
	assert_int_equal(fsck_check(*state, FSCK_STRUCTURE, false).problems, 0);
	assert_int_equal(fsck_check(*state, FSCK_CHECKSUMS, false).problems, 1);
	assert_non_null(strstr(fsck_told, "does not verify"));
	fsck_repair_and_expect(*state, FSCK_FRAGMENTS - 1, rec.number.seq);
}

static void fsck_finds_a_forged_page_by_its_tag(void **state)
{
	static uint8_t bytes[SEGMENT_RECORD_BYTES_MAX];
	struct segment_record rec;
	int fd = fsck_open_segment(*state, 2);
	off_t at = find_page(fd, bytes, &rec);
	size_t len = segment_record_bytes(rec.payload_bytes);

	bytes[300] ^= 4;
	segment_record_end(bytes, rec.tag);
	assert_int_equal(pwrite(fd, bytes, len, at), len);
	close(fd);
	assert_int_equal(fsck_check(*state, FSCK_CHECKSUMS, false).problems, 0);
	assert_int_equal(fsck_check(*state, FSCK_MEDIA, false).problems, 1);
	fsck_repair_and_expect(*state, FSCK_FRAGMENTS - 1, rec.number.seq);
}

static void fsck_mends_the_start_of_a_segment(void **state)
{
	static const uint8_t junk[64] = {1, 2, 3};
	int fd = fsck_open_segment(*state, 3);

	assert_int_equal(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	close(fd);
	assert_int_equal(fsck_check(*state, FSCK_STRUCTURE, false).problems, 1);
	assert_non_null(strstr(fsck_told, "START"));
	fsck_repair_and_expect(*state, FSCK_FRAGMENTS, 0);
}

static void fsck_makes_the_index_again(void **state)
{
	static const uint8_t junk[8192] = "no database";
	struct store_rig *rig = *state;
	char path[256];
	int fd;

	rig_unlink(rig, "index.db");
	assert_int_equal(fsck_check(rig, FSCK_MEDIA, false).problems, 1);
	assert_string_equal(fsck_told, "index.db: missing\n");
	fsck_repair_and_expect(rig, FSCK_FRAGMENTS, 0);
	(void)snprintf(path, sizeof(path), "%s/index.db", rig->path);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_int_equal(pwrite(fd, junk, sizeof(junk), 0), sizeof(junk));
	close(fd);
	assert_int_equal(fsck_check(rig, FSCK_MEDIA, false).problems, 1);
	assert_string_equal(fsck_told, "index.db: damaged\n");
	fsck_repair_and_expect(rig, FSCK_FRAGMENTS, 0);
}

static void fsck_finds_a_segment_that_is_gone(void **state)
{
	struct fsck_result r;

	rig_unlink(*state, "segments/00000002.seg");
	r = fsck_check(*state, FSCK_STRUCTURE, false);
	assert_true(r.problems > 1);
	assert_non_null(strstr(fsck_told, "segment 2: missing"));
	(void)fsck_check(*state, FSCK_STRUCTURE, true);
	r = fsck_check(*state, FSCK_MEDIA, false);
	assert_int_equal(r.problems, 0);
	assert_in_range(r.fragments, FSCK_FRAGMENTS - 12, FSCK_FRAGMENTS - 5);
	fsck_expect(*state, (int)r.fragments, 0);
}

/* Nothing in a segment verifies: somebody else may still know what to do. */
static void fsck_sets_aside_what_it_cannot_use(void **state)
{
	static uint8_t junk[1 << 16];
	struct store_rig *rig = *state;
	struct fsck_result r;
	char path[256];
	struct stat st;
	int fd = fsck_open_segment(rig, 3);
	off_t at;

	memset(junk, 0x5a, sizeof(junk));
	for (at = 0; at < 1 << 20; at += (off_t)sizeof(junk))
		assert_int_equal(pwrite(fd, junk, sizeof(junk), at),
				 sizeof(junk));
	close(fd);
	assert_true(fsck_check(rig, FSCK_CHECKSUMS, false).problems > 1);
	(void)fsck_check(rig, FSCK_CHECKSUMS, true);
	r = fsck_check(rig, FSCK_MEDIA, false);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.set_aside, 1);
	assert_in_range(r.set_aside_bytes, 1 << 20, 2 << 20);
	assert_non_null(strstr(fsck_told, "segments/00000003.bad"));
	(void)snprintf(path, sizeof(path), "%s/segments/00000003.bad",
		       rig->path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 1 << 20);
	fsck_expect(rig, (int)r.fragments, 0);
}

/* --- the command --- */

static int run_fsck(const struct store_rig *rig, const char *option)
{
	char command[] = "fsck";
	char *argv[] = {command, (char *)(uintptr_t)rig->path,
			(char *)(uintptr_t)option, NULL};

	return fsck_main(option ? 3 : 2, argv, sys_posix());
}

static void be_killed(struct store_rig *rig)
{
	fsck_be_killed(rig, 0, 1);
}

struct snapshot {
	unsigned int files;
	uint64_t sum;
};

/* Names, owners, sizes, times and content. */
static void add_file(struct snapshot *s, const char *path, const char *name)
{
	static uint8_t bytes[1 << 16];
	struct stat st;
	uint64_t sum = 14695981039346656037ull;
	ssize_t n;
	ssize_t i;
	int fd;

	assert_int_equal(stat(path, &st), 0);
	for (; *name; name++)
		sum = (sum ^ (uint8_t)*name) * 1099511628211ull;
	sum = (sum ^ (uint64_t)st.st_size) * 1099511628211ull;
	sum = (sum ^ (uint64_t)st.st_mtim.tv_nsec) * 1099511628211ull;
	sum = (sum ^ (uint64_t)st.st_mtim.tv_sec) * 1099511628211ull;
	sum = (sum ^ st.st_ino) * 1099511628211ull;
	fd = S_ISREG(st.st_mode) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	while (fd >= 0 && (n = read(fd, bytes, sizeof(bytes))) > 0)
		for (i = 0; i < n; i++)
			sum = (sum ^ bytes[i]) * 1099511628211ull;
	if (fd >= 0)
		close(fd);
	s->files++;
	s->sum += sum; /* in no order */
}

static void snapshot(struct snapshot *s, const char *dir)
{
	char path[512];
	struct dirent *e;
	DIR *d = opendir(dir);

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (!strcmp(e->d_name, ".."))
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		add_file(s, path, e->d_name);
		if (!strcmp(e->d_name, "segments"))
			snapshot(s, path);
	}
	(void)closedir(d);
}

static void fsck_writes_nothing_that_it_was_not_asked_for(void **state)
{
	struct snapshot before = {0};
	struct snapshot after = {0};
	struct store_rig *rig = *state;

	be_killed(rig);
	rig_unlink(rig, "catalog-copy.db");
	rig_unlink(rig, "lock");
	snapshot(&before, rig->path);
	assert_int_equal(run_fsck(rig, NULL), 4);
	snapshot(&after, rig->path);
	assert_int_equal(before.files, after.files);
	assert_true(before.sum == after.sum);
	assert_int_equal(run_fsck(rig, "--repair"), 1);
	/* It is another one now, so the above can tell. */
	after = (struct snapshot){0};
	snapshot(&after, rig->path);
	assert_true(before.sum != after.sum);
	assert_int_equal(run_fsck(rig, NULL), 0);
}

/* What a killed service had in its logs is seen. */
static void fsck_reads_what_is_in_the_logs(void **state)
{
	struct store_rig *rig = *state;
	struct fsck_result r;

	be_killed(rig);
	r = fsck_check(rig, FSCK_CHECKSUMS, false);
	assert_int_equal(r.problems, 0);
	assert_int_equal(r.fragments, FSCK_FRAGMENTS + 1);
	/* This one has its commit record only. */
	assert_int_equal(r.new_fragments, 1);
}

static void fsck_as_root_leaves_nothing_of_roots(void **state)
{
	struct store_rig *rig = *state;
	char path[512];
	struct dirent *e;
	struct stat st;
	unsigned int files = 0;
	DIR *d;

	if (geteuid())
		skip();
	be_killed(rig);
	rig_unlink(rig, "catalog.db");
	assert_int_equal(chown(rig->path, 4711, 4712), 0);
	assert_int_equal(run_fsck(rig, "--repair"), 1);
	d = opendir(rig->path);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(path, sizeof(path), "%s/%s", rig->path,
			       e->d_name);
		assert_int_equal(lstat(path, &st), 0);
		assert_int_equal(st.st_uid, 4711);
		assert_int_equal(st.st_gid, 4712);
		files++;
	}
	(void)closedir(d);
	assert_true(files > 5);
}

static void fsck_refuses_a_directory_in_use(void **state)
{
	struct store_rig *rig = *state;
	struct data_dir dir;

	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(data_dir_open(rig->config.sys, rig->path, false, &dir),
			 -EBUSY);
	assert_int_equal(data_dir_open_readonly(rig->config.sys, rig->path,
						&dir),
			 -EBUSY);
	rig_close(rig);
}

/* --- legal holds --- */

/* Into one database: a stream, of the rig's keys, and a hold of @id. */
static void put_hold(struct store_rig *rig, const char *database,
		     const uint8_t id[STREAM_ID_BYTES], uint64_t to_ms)
{
	struct catalog_row row = {
		.name = "front",
		.arn = "arn",
		.version = "1",
		.device_name = "",
		.media_type = "",
		.kms_key_id = "",
		.tags_json = "{}",
	};
	static const uint8_t other[STREAM_ID_BYTES] = {98};
	struct catalog_hold_row hold = {
		.hold = {.name = "evidence", .range = {50000, to_ms}},
	};
	struct catalog_db *db = NULL;
	struct data_dir dir;

	/* A hold of nobody's leaves the stream another's. */
	memcpy(row.id, id[0] == 99 ? other : id, sizeof(row.id));
	memcpy(hold.stream_id, id, sizeof(hold.stream_id));
	assert_int_equal(data_dir_open(sys_posix(), rig->path, false, &dir), 0);
	assert_int_equal(catalog_db_open(&dir, database, &db), 0);
	assert_int_equal(catalog_db_begin(db), 0);
	assert_int_equal(catalog_db_add(db, &row), 0);
	assert_int_equal(catalog_db_add_hold(db, &hold), 0);
	assert_int_equal(catalog_db_commit(db), 0);
	(void)catalog_db_close(db);
	data_dir_close(&dir);
}

/* What fsck says, in fsck_told; without keys, of which the rig's are not. */
static int run_told(struct store_rig *rig)
{
	char path[512];
	int out = dup(STDOUT_FILENO);
	ssize_t n;
	int status;
	int fd;

	(void)snprintf(path, sizeof(path), "%s.fsck_told", rig->path);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && out >= 0);
	(void)fflush(stdout);
	assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
	status = run_fsck(rig, NULL);
	(void)fflush(stdout);
	assert_int_equal(dup2(out, STDOUT_FILENO), STDOUT_FILENO);
	n = pread(fd, fsck_told, sizeof(fsck_told) - 1, 0);
	fsck_told[n < 0 ? 0 : n] = '\0';
	close(fd);
	close(out);
	(void)unlink(path);
	return status;
}

/* A hold of stream @id in both databases, to other moments; no master key. */
static int run_with_hold(struct store_rig *rig,
			 const uint8_t id[STREAM_ID_BYTES], int64_t to_ms,
			 int64_t copy_to_ms)
{
	rig_unlink(rig, "master.key");
	put_hold(rig, "catalog.db", id, to_ms);
	put_hold(rig, "catalog-copy.db", id, copy_to_ms);
	return run_told(rig);
}

/* The stream's fragments are each 20 s from 0 on, 2 s or less long. */
static void fsck_says_what_is_held(void **state)
{
	struct store_rig *rig = *state;
	struct store_stream s = rig_stream(0);

	assert_int_equal(run_with_hold(rig, s.id, 105000, 105000), 0);
	assert_non_null(strstr(fsck_told, "stream front: hold evidence from "
					  "1970-01-01T00:00:50"));
	assert_non_null(strstr(fsck_told, ": 3 fragments, "));
	assert_null(strstr(fsck_told, "do not verify"));
}

static void fsck_says_what_is_held_and_damaged(void **state)
{
	struct store_rig *rig = *state;
	struct segment_record rec;
	struct store_stream s;

	flip_bit(rig, &rec);
	s = rig_stream((unsigned int)(rec.number.seq - 1) % 2);
	assert_int_equal(run_with_hold(rig, s.id, INT64_MAX, INT64_MAX), 4);
	assert_non_null(strstr(fsck_told, " to no end: "));
	assert_non_null(strstr(fsck_told, ", 1 do not verify"));
}

/* From 50 s on: 17 that have rows, and those that have none yet. */
static void fsck_says_what_is_held_without_a_row(void **state)
{
	struct store_rig *rig = *state;
	struct store_stream s = rig_stream(0);

	fsck_be_killed(rig, 0, FSCK_NEW);
	assert_int_equal(run_with_hold(rig, s.id, INT64_MAX, INT64_MAX), 0);
	assert_non_null(strstr(fsck_told, " to no end: 22 fragments, "));
	assert_null(strstr(fsck_told, "do not verify"));
	assert_non_null(strstr(fsck_told, " segments, 45 fragments, "));
	assert_non_null(
		strstr(fsck_told, "5 fragments are not in the index yet\n"));
	assert_null(strstr(fsck_told, "not whole"));
	fsck_flip(rig, FSCK_NEW_SEQ + 3, SEGMENT_PAGE);
	assert_int_equal(run_told(rig), 4);
	assert_non_null(strstr(fsck_told, " to no end: 22 fragments, "));
	assert_non_null(strstr(fsck_told, ", 1 do not verify"));
	assert_non_null(
		strstr(fsck_told, "4 fragments are not in the index yet\n"));
	/* With nothing behind it: it may be that nobody was fsck_told of it. */
	fsck_flip(rig, FSCK_NEW_SEQ + 4, SEGMENT_PAGE);
	assert_int_equal(run_told(rig), 0);
	assert_non_null(strstr(fsck_told, " to no end: 20 fragments, "));
	assert_non_null(strstr(fsck_told,
			       "2 fragments at the end of a segment are "
			       "not whole"));
}

static void fsck_tells_holds_that_differ(void **state)
{
	struct store_rig *rig = *state;
	struct store_stream s = rig_stream(0);

	assert_int_equal(run_with_hold(rig, s.id, 105000, 104000), 4);
	assert_non_null(strstr(fsck_told, "other holds than catalog.db"));
}

static void fsck_tells_a_hold_of_no_stream(void **state)
{
	static const uint8_t nobody[STREAM_ID_BYTES] = {99};
	struct store_rig *rig = *state;

	assert_int_equal(run_with_hold(rig, nobody, 105000, 105000), 4);
	assert_non_null(strstr(fsck_told, "hold evidence: of no stream"));
}

#define CASE(f)                                              \
	cmocka_unit_test_setup_teardown(f, fsck_bench_setup, \
					fsck_bench_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(fsck_finds_nothing_wrong),
		CASE(fsck_finds_a_flipped_bit_and_saves_what_is_behind),
		CASE(fsck_finds_a_forged_page_by_its_tag),
		CASE(fsck_mends_the_start_of_a_segment),
		CASE(fsck_makes_the_index_again),
		CASE(fsck_finds_a_segment_that_is_gone),
		CASE(fsck_sets_aside_what_it_cannot_use),
		CASE(fsck_writes_nothing_that_it_was_not_asked_for),
		CASE(fsck_reads_what_is_in_the_logs),
		CASE(fsck_as_root_leaves_nothing_of_roots),
		CASE(fsck_refuses_a_directory_in_use),
		CASE(fsck_says_what_is_held),
		CASE(fsck_says_what_is_held_and_damaged),
		CASE(fsck_says_what_is_held_without_a_row),
		CASE(fsck_tells_holds_that_differ),
		CASE(fsck_tells_a_hold_of_no_stream),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
