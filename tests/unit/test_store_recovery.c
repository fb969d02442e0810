/* SPDX-License-Identifier: Apache-2.0 */
/* Starts of the store after a crash, with a lost index, with damage. */
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
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/limits.h"
#include "io/db_sqlite.h"
#include "proto/segment.h"
#include "support/sqlite_fault.h"
#include "support/store_rig.h"
#include "support/sys_fault.h"

static int setup_in_place(struct store_rig *rig)
{
	struct loop_fake_config loop = {.seed = 1, .delay_ns_max = 1000000};

	rig_init(rig, &loop);
	return rig_open(rig);
}

static int setup(void **state)
{
	struct store_rig *rig = malloc(sizeof(*rig));

	*state = rig;
	return setup_in_place(rig);
}

static int teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

/*
 * What a damaged minute had is not counted for ever: or each trim would delete
 * what is new. And the next start has all of it again.
 */
static void store_trims_behind_a_damaged_minute(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[100];
	uint64_t i;

	for (i = 0; i < 60; i++)
		assert_int_equal(rig_put(rig, 0, i + 1, 20000, 20000, i * 5000),
				 0);
	rig_close(rig);
	assert_int_equal(rig_sql(rig,
				 "UPDATE blocks SET rows=zeroblob(length(rows)) WHERE seq_first"
				 "=(SELECT min(seq_first) FROM blocks)"), 0);
	assert_int_equal(rig_open(rig), 0);
	while (rig_trim(rig, 0, 40 * 20000) > 0)
		;
	assert_in_range(rig_list_all(rig, 0, rows, 100), 28, 48);
	for (i = 60; i < 90; i++)
		assert_int_equal(rig_put(rig, 0, i + 1, 20000, 20000, i * 5000),
				 0);
	while (rig_trim(rig, 0, 40 * 20000) > 0)
		;
	assert_in_range(rig_list_all(rig, 0, rows, 100), 28, 40);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 100), 90);
}

/* Ten fragments of two pages in one segment; in the second a bit is wrong. */
#define DAMAGED 2u

static void put_ten(struct store_rig *rig)
{
	uint64_t seq;

	for (seq = 1; seq <= 10; seq++)
		assert_int_equal(rig_put(rig, 0, seq, 70000, 16384, 1000 + seq),
				 0);
}

static void damage_second(struct store_rig *rig)
{
	struct store_fragment rows[10];

	assert_int_equal(rig_list_all(rig, 0, rows, 10), 10);
	assert_int_equal(rows[0].segment, rows[9].segment);
	rig_close(rig);
	rig_flip(rig, rows[0].segment, (off_t)(rows[0].page + 1) * 4096 + 500);
}

static void expect_without_second(struct store_rig *rig)
{
	struct store_fragment rows[10];
	int i;

	assert_int_equal(rig_list_all(rig, 0, rows, 10), 9);
	for (i = 0; i < 9; i++) {
		assert_int_not_equal(rows[i].number.seq, DAMAGED);
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	}
}

static void
store_finds_what_is_behind_damage_when_the_index_is_lost(void **state)
{
	struct store_rig *rig = *state;

	put_ten(rig);
	damage_second(rig);
	rig_unlink(rig, "index.db");
	assert_int_equal(rig_open(rig), 0);
	expect_without_second(rig);
	/* And the segment stays. */
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	expect_without_second(rig);
}

/* A start that fails anywhere leaves it to the next one to look behind. */
static void store_finds_it_when_the_first_start_fails(void **state)
{
	struct loop_fake_config loop = {.sys = sys_fault(), .seed = 1};
	struct store_rig rig_here;
	struct store_rig *rig = &rig_here;
	unsigned long n;
	bool fired = true;

	(void)state;
	sys_fault_reset();
	rig_init(rig, &loop);
	assert_int_equal(rig_open(rig), 0);
	put_ten(rig);
	damage_second(rig);
	for (n = 1; fired && n < 500; n++) {
		rig_unlink(rig, "index.db");
		sys_fault_arm(n, -EIO);
		(void)rig_open(rig);
		fired = sys_fault_fired();
		sys_fault_arm(0, 0);
		rig_close(rig);
		assert_int_equal(rig_open(rig), 0);
		expect_without_second(rig);
		rig_close(rig);
	}
	assert_true(n > 10 && n < 500);
	rig_fini(rig);
	sys_fault_reset();
}

static int every_stream(void *ctx, const uint8_t id[STREAM_ID_BYTES],
			uint8_t ret_key[DATA_KEY_BYTES])
{
	struct store_stream s = rig_stream(0);

	(void)ctx;
	(void)id;
	memcpy(ret_key, s.key, sizeof(s.key));
	return 0;
}

/* Opening an index does not see all that may be wrong with it. */
static void store_makes_an_index_again_that_proves_damaged(void **state)
{
	static const char *const wrongs[] = {
		"UPDATE segments SET generation=x'00'",
		"UPDATE streams SET id=x'01'",
	};
	struct store_rig *rig = *state;
	struct store_fragment rows[10];
	char path[128];
	struct db *db;
	size_t i;

	put_ten(rig);
	for (i = 0; i < ARRAY_SIZE(wrongs); i++) {
		rig_close(rig);
		(void)snprintf(path, sizeof(path), "%s/index.db", rig->path);
		assert_int_equal(db_open(path, DB_INDEX, false, &db), 0);
		assert_int_equal(db_exec(db, wrongs[i]), 0);
		(void)db_close(db);
		rig->config.find_key = every_stream;
		assert_int_equal(rig_open(rig), 0);
		assert_int_equal(rig_list_all(rig, 0, rows, 10), 10);
	}
}

/* Found while it runs, and by a look that a start does not take. */
static void store_makes_an_index_again_that_was_found_damaged(void **state)
{
	struct store_rig *rig = *state;
	struct store_stream s = rig_stream(0);
	struct store_query q = {.to_ms = UINT64_MAX, .limit = 64};
	struct store_fragment rows[64];
	char path[128];
	struct db *db;
	uint64_t i;

	memcpy(q.stream_id, s.id, sizeof(s.id));
	/* Five minutes: some are packed. */
	for (i = 0; i < 30; i++)
		assert_int_equal(rig_put(rig, 0, i + 1, 1000, 1000, i * 10000),
				 0);
	rig_close(rig);
	(void)snprintf(path, sizeof(path), "%s/index.db", rig->path);
	assert_int_equal(db_open(path, DB_INDEX, false, &db), 0);
	assert_int_equal(db_exec(db, "UPDATE blocks SET rows="
				     "zeroblob(length(rows))"),
			 0);
	(void)db_close(db);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list(rig, &q, rows), -EIO);
	(void)snprintf(path, sizeof(path), "%s/index.damaged", rig->path);
	assert_int_equal(access(path, F_OK), 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 64), 30);
	assert_int_equal(rig_check_all(rig, 0, &rows[0]), 0);
	assert_int_equal(access(path, F_OK), -1);
	/* Once. */
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 64), 30);
}

static void junk(const struct store_rig *rig, uint32_t segment, off_t from,
		 off_t to)
{
	static uint8_t bytes[4096];
	char path[128];
	int fd;

	memset(bytes, 0xa5, sizeof(bytes));
	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", rig->path,
		       segment);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	for (; from < to; from += (off_t)sizeof(bytes))
		assert_int_equal(pwrite(fd, bytes, sizeof(bytes), from),
				 sizeof(bytes));
	close(fd);
}

static void
store_mends_the_start_of_a_segment_when_the_index_is_lost(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[10];

	put_ten(rig);
	assert_int_equal(rig_list_all(rig, 0, rows, 10), 10);
	rig_close(rig);
	junk(rig, rows[0].segment, 0, 4096);
	rig_unlink(rig, "index.db");
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 10), 10);
}

/* Nothing in a segment verifies, with its START record or without. */
static void keeps_as_bad(struct store_rig *rig, off_t from)
{
	struct store_fragment rows[32];
	char path[128];
	uint32_t bad;
	uint64_t i;
	int n;

	for (i = 0; i < 32; i++)
		assert_int_equal(rig_put(rig, 0, i + 1, 100000, 16384, i), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 32), 32);
	bad = rows[31].segment;
	assert_true(bad > rows[0].segment + 1);
	rig_close(rig);
	junk(rig, bad, from, 1 << 20);
	rig_unlink(rig, "index.db");
	assert_int_equal(rig_open(rig), 0);
	n = rig_list_all(rig, 0, rows, 32);
	assert_in_range(n, 15, 31);
	for (i = 0; i < (uint64_t)n; i++)
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	(void)snprintf(path, sizeof(path), "%s/segments/%08u.bad", rig->path,
		       bad);
	assert_int_equal(access(path, F_OK), 0);
	/* Its number is not used again: it would be lost the next time. */
	assert_int_equal(rig_put(rig, 0, 100, 1000, 1000, 1), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 32), n + 1);
	assert_true(rows[n].segment > bad);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 32), n + 1);
	assert_int_equal(access(path, F_OK), 0);
}

static void store_keeps_a_segment_of_which_nothing_verifies(void **state)
{
	keeps_as_bad(*state, 0);
}

static void store_keeps_a_segment_with_nothing_behind_its_start(void **state)
{
	keeps_as_bad(*state, 4096);
}

static int exit_at_bad(int olddir, const char *from, int newdir, const char *to)
{
	if (strstr(to, ".bad"))
		_exit(9);
	return sys_posix()->renameat(olddir, from, newdir, to);
}

/* Killed when it was about to set it aside: the next start does. */
static void store_keeps_it_when_it_is_killed_meanwhile(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[32];
	struct sys_ops killed = *sys_posix();
	char path[128];
	uint32_t bad;
	uint64_t i;
	int status;
	pid_t pid;

	for (i = 0; i < 32; i++)
		assert_int_equal(rig_put(rig, 0, i + 1, 100000, 16384, i), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 32), 32);
	bad = rows[31].segment;
	rig_close(rig);
	junk(rig, bad, 4096, 1 << 20);
	rig_unlink(rig, "index.db");
	killed.renameat = exit_at_bad;
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		rig->sys = &killed;
		rig->config.sys = &killed;
		(void)rig_open(rig);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 9);
	assert_int_equal(rig_open(rig), 0);
	(void)snprintf(path, sizeof(path), "%s/segments/%08u.bad", rig->path,
		       bad);
	assert_int_equal(access(path, F_OK), 0);
}

/* One call fails: the service comes up, the next start has all of it. */
static void opens_although(struct store_rig *rig, const char *call)
{
	struct store_local_stats stats;
	struct store_fragment rows[32];
	unsigned long n;
	bool fired = true;

	for (n = 1; fired; n++) {
		rig_close(rig);
		rig_unlink(rig, "index.db");
		sys_fault_only(call);
		sys_fault_arm(n, -EIO);
		assert_int_equal(rig_open(rig), 0);
		fired = sys_fault_fired();
		sys_fault_arm(0, 0);
		sys_fault_only(NULL);
		assert_in_range(rig_list_all(rig, 0, rows, 32), fired ? 20 : 32,
				32);
		store_local_stats(rig->local, &stats);
		assert_int_equal(stats.unread > 0, fired);
		rig_close(rig);
		assert_int_equal(rig_open(rig), 0);
		assert_int_equal(rig_list_all(rig, 0, rows, 32), 32);
	}
	assert_true(n > 3);
}

static void store_opens_although_a_segment_cannot_be_read(void **state)
{
	struct loop_fake_config loop = {.sys = sys_fault(), .seed = 1};
	struct store_rig rig;
	uint64_t i;

	(void)state;
	sys_fault_reset();
	rig_init(&rig, &loop);
	assert_int_equal(rig_open(&rig), 0);
	for (i = 0; i < 32; i++)
		assert_int_equal(rig_put(&rig, 0, i + 1, 100000, 16384, i), 0);
	opens_although(&rig, "pread");
	opens_although(&rig, "fdatasync");
	rig_fini(&rig);
	sys_fault_reset();
}

/* --- what lands while it is replayed --- */

#define FILES 32u

static struct {
	ino_t inode;
	bool read; /* since its last sync */
	bool found;
} files[FILES];

static unsigned int file_of(int fd)
{
	struct stat st;
	unsigned int i = 0;

	assert_int_equal(fstat(fd, &st), 0);
	while (files[i].inode && files[i].inode != st.st_ino)
		assert_true(++i < FILES);
	files[i].inode = st.st_ino;
	return i;
}

static ssize_t see_pread(int fd, void *bytes, size_t len, off_t offset)
{
	struct segment_record rec;
	ssize_t n = sys_posix()->pread(fd, bytes, len, offset);
	unsigned int i = file_of(fd);

	files[i].read = true;
	if (n >= (ssize_t)SEGMENT_HEADER_BYTES &&
	    segment_header_parse(bytes, &rec) == 0 && rec.kind == SEGMENT_PAGE)
		files[i].found = true;
	return n;
}

static int see_fdatasync(int fd)
{
	files[file_of(fd)].read = false;
	return sys_posix()->fdatasync(fd);
}

/* Ten fragments over two segments, by a process that closes nothing. */
static void write_and_die(struct store_rig *rig)
{
	unsigned int i;
	int status;
	pid_t pid;

	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (rig_open(rig) < 0)
			_exit(1);
		for (i = 1; i <= 10; i++)
			if (rig_put(rig, 0, i, 150000, 50000, i) < 0)
				_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Rows must not outlive a page that came after the first sync. */
static void store_syncs_again_what_it_replayed(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[20];
	struct sys_ops seen = *sys_posix();
	unsigned int count = 0;
	unsigned int i;

	rig_close(rig);
	write_and_die(rig);
	memset(files, 0, sizeof(files));
	seen.pread = see_pread;
	seen.fdatasync = see_fdatasync;
	rig_unlink(rig, "index.db");
	rig->sys = &seen;
	assert_int_equal(rig_open(rig), 0);
	for (i = 0; i < FILES; i++) {
		count += files[i].found;
		assert_false(files[i].found && files[i].read);
	}
	assert_true(count >= 2);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 10);
	/* Its descriptors are closed by the table that it has. */
	rig_close(rig);
	rig->sys = sys_posix();
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 10);
}

static unsigned int syncs_of[FILES];

/* The first of each file goes well, those after it do not. */
static int sync_once(int fd)
{
	return syncs_of[file_of(fd)]++ ? -EIO : sys_posix()->fdatasync(fd);
}

static uint32_t first_segment(const struct store_rig *rig)
{
	char path[128];
	uint32_t n = 0;

	do {
		assert_true(++n < 10);
		(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg",
			       rig->path, n);
	} while (access(path, F_OK) < 0);
	return n;
}

/* As if no row had been written before the process died. */
static void forget_rows(const struct store_rig *rig)
{
	assert_int_equal(rig_sql(rig,
				 "UPDATE segments SET closed=0, mark=1, live=0,"
				 " bytes=0;"
				 "DELETE FROM fragments; DELETE FROM blocks"),
			 0);
}

/* What was replayed and cannot be synced has no rows; the next start tries. */
static void keeps_no_row_unsynced(struct store_rig *rig, bool lost)
{
	struct store_fragment rows[20];
	struct sys_ops fails = *sys_posix();
	unsigned int i;

	write_and_die(rig);
	memset(files, 0, sizeof(files));
	memset(syncs_of, 0, sizeof(syncs_of));
	if (lost)
		rig_unlink(rig, "index.db");
	else
		forget_rows(rig);
	fails.fdatasync = sync_once;
	rig->sys = &fails;
	assert_int_equal(rig_open(rig), 0);
	if (!lost)
		assert_int_equal(rig_list_all(rig, 0, rows, 20), 0);
	rig_close(rig);
	rig->sys = sys_posix();
	/* As if the first of the pages were not on disk. */
	rig_flip(rig, first_segment(rig), 4096 + 1000);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 9);
	for (i = 0; i < 9; i++)
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
}

static void store_keeps_no_row_of_what_is_not_synced(void **state)
{
	struct store_rig *rig = *state;

	rig_close(rig);
	keeps_no_row_unsynced(rig, false);
}

static void store_keeps_no_row_unsynced_of_a_new_index(void **state)
{
	struct store_rig *rig = *state;

	rig_close(rig);
	keeps_no_row_unsynced(rig, true);
}

/* One file of which a call says EIO. */
static ino_t failing;

static bool fails(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino == failing;
}

static int failing_fdatasync(int fd)
{
	return fails(fd) ? -EIO : sys_posix()->fdatasync(fd);
}

static ssize_t failing_pread(int fd, void *bytes, size_t len, off_t offset)
{
	return fails(fd) ? -EIO : sys_posix()->pread(fd, bytes, len, offset);
}

static int failing_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	int fd = sys_posix()->openat(dirfd, path, flags, mode);

	if (fd >= 0 && fails(fd)) {
		(void)close(fd);
		return -EIO;
	}
	return fd;
}

enum failing_call { FDATASYNC, PREAD, OPENAT };

/*
 * Ten fragments in two segments, of which the second fails: the six that are
 * in the first alone have rows, the seventh, which ends in the second, not.
 * Then nothing needs the first. Return: its number.
 */
static uint32_t expire_what_is_before(struct store_rig *rig, bool index_lost,
				      enum failing_call call)
{
	static struct sys_ops ops;
	struct store_fragment rows[20];
	char path[128];
	struct stat st;
	uint32_t first;

	rig_close(rig);
	write_and_die(rig);
	first = first_segment(rig);
	if (index_lost)
		rig_unlink(rig, "index.db");
	else
		forget_rows(rig);
	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", rig->path,
		       first + 1);
	assert_int_equal(stat(path, &st), 0);
	failing = st.st_ino;
	ops = *sys_posix();
	if (call == FDATASYNC)
		ops.fdatasync = failing_fdatasync;
	else if (call == PREAD)
		ops.pread = failing_pread;
	else
		ops.openat = failing_openat;
	rig->sys = &ops;
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 6);
	assert_int_equal(rig_expire(rig, 0, 100), 6);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 0);
	return first;
}

static void keeps_what_is_needed(struct store_rig *rig, bool index_lost,
				 enum failing_call call)
{
	struct store_fragment rows[20];
	uint32_t first = expire_what_is_before(rig, index_lost, call);
	int i;

	rig_close(rig);
	rig->sys = sys_posix();
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 4);
	for (i = 0; i < 4; i++) {
		assert_int_equal(rows[i].number.seq, 7 + i);
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	}
	/* And no longer. */
	assert_int_equal(rig_expire(rig, 0, 100), 4);
	assert_true(first_segment(rig) > first + 1);
}

/* Whatever could not be done with the second segment, and known of it. */
static void store_keeps_what_is_not_replayed_needs(void **state)
{
	struct store_rig *rig = *state;
	int call;

	for (call = FDATASYNC; call <= OPENAT; call++) {
		keeps_what_is_needed(rig, false, (enum failing_call)call);
		rig_fini(rig);
		assert_int_equal(setup_in_place(rig), 0);
	}
	keeps_what_is_needed(rig, true, PREAD);
	rig_fini(rig);
	assert_int_equal(setup_in_place(rig), 0);
	keeps_what_is_needed(rig, true, OPENAT);
}

/* As a copy of a directory in use has it, of a file that was used again. */
static void store_sets_a_file_of_another_number_aside(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[20];
	char from[128];
	char to[128];

	put_ten(rig);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 10);
	rig_close(rig);
	(void)snprintf(from, sizeof(from), "%s/segments/%08u.seg", rig->path,
		       rows[0].segment);
	(void)snprintf(to, sizeof(to), "%s/segments/00000077.seg", rig->path);
	assert_int_equal(link(from, to), 0);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 10);
	assert_int_equal(access(to, F_OK), -1);
	(void)snprintf(to, sizeof(to), "%s/segments/00000077.bad", rig->path);
	assert_int_equal(access(to, F_OK), 0);
}

/* Rows are not dropped for what may be needed, nor new ones refused. */
static void store_keeps_it_while_there_is_room(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[20];
	uint32_t first;
	uint64_t i;

	rig->config.bytes_max = 4 * SEGMENT_BYTES_MIN;
	first = expire_what_is_before(rig, false, PREAD);
	assert_int_equal(first_segment(rig), first);
	for (i = 11; i <= 20; i++)
		assert_int_equal(rig_put(rig, 0, i, 200000, 50000, i), 0);
	assert_true(first_segment(rig) > first);
	assert_int_equal(rig_list_all(rig, 0, rows, 20), 10);
}

/* Numbers go on although there is no room for another file. */
static void store_opens_without_room_for_its_sequence(void **state)
{
	struct loop_fake_config loop = {.sys = sys_fault(), .seed = 1};
	struct store_rig rig;
	uint64_t seq[3];
	size_t i;

	(void)state;
	sys_fault_reset();
	rig_init(&rig, &loop);
	for (i = 0; i < 3; i++) {
		if (i) {
			sys_fault_only("write");
			sys_fault_arm_sticky(1, -ENOSPC);
		}
		assert_int_equal(rig_open(&rig), 0);
		assert_int_equal(sys_fault_fired(), i > 0);
		seq[i] = store_next_seq(rig.store, rig_stream(0).id);
		assert_true(!i || seq[i] > seq[i - 1]);
		rig_close(&rig);
		sys_fault_arm(0, 0);
		sys_fault_only(NULL);
	}
	rig_fini(&rig);
	sys_fault_reset();
}

static void copy_index(const struct store_rig *rig, const char *from,
		       const char *to)
{
	static const char *const tails[] = {"", "-wal"};
	static uint8_t bytes[4 << 20];
	char path[128];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		ssize_t n = 0;
		int fd;

		(void)snprintf(path, sizeof(path), "%s/%s%s", rig->path, from,
			       tails[i]);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			n = read(fd, bytes, sizeof(bytes));
			assert_in_range(n, 0, sizeof(bytes) - 1);
			close(fd);
		}
		(void)snprintf(path, sizeof(path), "%s/%s%s", rig->path, to,
			       tails[i]);
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
		assert_true(fd >= 0);
		assert_int_equal(write(fd, bytes, (size_t)n), n);
		close(fd);
	}
}

/*
 * After a crash the index is there, only behind. What follows a damaged page
 * may have been acknowledged, as it was here.
 */
static void store_finds_what_is_behind_damage_after_a_crash(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[3];

	assert_int_equal(rig_put(rig, 0, 100, 70000, 16384, 1000), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 3), 1);
	copy_index(rig, "index.db", "index-then.db");
	assert_int_equal(rig_put(rig, 0, 101, 70000, 16384, 1001), 0);
	assert_int_equal(rig_put(rig, 0, 102, 70000, 16384, 1002), 0);
	rig_close(rig);
	copy_index(rig, "index-then.db", "index.db");
	rig_flip(rig, rows[0].segment, (off_t)(rows[0].page + 1) * 4096 + 500);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 3), 2);
	assert_int_equal(rows[0].number.seq, 100);
	assert_int_equal(rows[1].number.seq, 102);
	rig_close(rig);
}

/*
 * No room for a row of what was written last: there is, in the unused rest of
 * the segment. What is set aside for a full disk is gone already.
 */
static void store_opens_on_a_full_disk(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[10];
	unsigned int writes = 0;
	unsigned long n;
	char path[128];
	const char *where;
	int r;

	assert_int_equal(rig_put(rig, 0, 100, 70000, 16384, 1000), 0);
	assert_int_equal(rig_list_all(rig, 0, rows, 10), 1);
	copy_index(rig, "index.db", "index-then.db");
	put_ten(rig);
	rig_close(rig);
	(void)snprintf(path, sizeof(path), "%s/segments/%08u.seg", rig->path,
		       rows[0].segment);
	for (n = 1;; n++) {
		copy_index(rig, "index-then.db", "index.db");
		assert_int_equal(truncate(path, 1 << 20), 0);
		rig_unlink(rig, "reserve");
		sqlite_fault_arm(n, ENOSPC);
		r = rig_open(rig);
		where = sqlite_fault_where();
		sqlite_fault_arm(0, 0);
		if (where && !strncmp(where, "pwrite", 6)) {
			assert_int_equal(r, 0);
			writes++;
		}
		rig_close(rig);
		if (!where)
			break;
		assert_true(n < 1000);
		assert_int_equal(rig_open(rig), 0);
		assert_int_equal(rig_list_all(rig, 0, rows, 10), 10);
		rig_close(rig);
	}
	assert_true(writes > 3);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(store_finds_what_is_behind_damage_when_the_index_is_lost),
		cmocka_unit_test(store_finds_it_when_the_first_start_fails),
		CASE(store_makes_an_index_again_that_proves_damaged),
		CASE(store_makes_an_index_again_that_was_found_damaged),
		CASE(store_trims_behind_a_damaged_minute),
		CASE(store_keeps_no_row_of_what_is_not_synced),
		CASE(store_keeps_no_row_unsynced_of_a_new_index),
		CASE(store_keeps_what_is_not_replayed_needs),
		CASE(store_keeps_it_while_there_is_room),
		CASE(store_sets_a_file_of_another_number_aside),
		CASE(store_mends_the_start_of_a_segment_when_the_index_is_lost),
		CASE(store_keeps_a_segment_of_which_nothing_verifies),
		CASE(store_keeps_a_segment_with_nothing_behind_its_start),
		CASE(store_keeps_it_when_it_is_killed_meanwhile),
		cmocka_unit_test(store_opens_although_a_segment_cannot_be_read),
		CASE(store_syncs_again_what_it_replayed),
		cmocka_unit_test(store_opens_without_room_for_its_sequence),
		CASE(store_finds_what_is_behind_damage_after_a_crash),
		CASE(store_opens_on_a_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
