/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of dead segments become spares, and those other segments: what is in
 * them, how many there are, what they take, and who may still be reading.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/limits.h"
#include "io/store_local_int.h"
#include "support/loop_fake.h"
#include "support/store_rig.h"
#include "support/sys_zero.h"

#define BYTES 180000u
#define PER_SEGMENT 5u
#define ALL (UINT64_MAX - 1)
#define SEEDS 60u

static void init(struct store_rig *rig, const struct sys_ops *sys,
		 uint64_t seed, uint64_t delay_ns_max)
{
	struct loop_fake_config loop = {
		.sys = sys,
		.seed = seed,
		.delay_ns_max = delay_ns_max,
	};

	rig_init(rig, &loop);
	rig->config.find_key = rig_find_key;
	assert_int_equal(rig_open(rig), 0);
}

static int setup(void **state)
{
	struct store_rig *rig = calloc(1, sizeof(*rig));

	init(rig, sys_zeroing(), 1, 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static struct store_local_stats stats_of(struct store_rig *rig)
{
	struct store_local_stats stats;

	store_local_stats(rig->local, &stats);
	return stats;
}

static uint64_t put_seq = 1;

/* Full segments of a stream, and a begun one. */
static void fill(struct store_rig *rig, unsigned int stream,
		 unsigned int segments)
{
	unsigned int i;

	for (i = 0; i < segments * PER_SEGMENT + 1; i++, put_seq++)
		assert_int_equal(rig_put(rig, stream, put_seq, BYTES, 60000,
					 put_seq),
				 0);
}

/*
 * Files of a kind. @ret_bytes: what all in the folder take. @dirty: whether
 * there is a byte in those of the kind that is not 0.
 */
static unsigned int look(const struct store_rig *rig, const char *tail,
			 uint64_t *ret_bytes, bool *dirty)
{
	static uint8_t bytes[SEGMENT_BYTES_MIN];
	unsigned int count = 0;
	struct dirent *e;
	char path[96];
	DIR *d;

	(void)snprintf(path, sizeof(path), "%s/segments", rig->path);
	*ret_bytes = 0;
	*dirty = false;
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_CLOEXEC);
		struct stat st;
		ssize_t n = 0;
		ssize_t i;

		assert_int_equal(fstat(fd, &st), 0);
		if (S_ISREG(st.st_mode))
			*ret_bytes += (uint64_t)st.st_blocks * 512;
		if (strlen(e->d_name) > 4 &&
		    !strcmp(e->d_name + strlen(e->d_name) - 4, tail)) {
			count++;
			n = read(fd, bytes, sizeof(bytes));
		}
		for (i = 0; i < n; i++)
			*dirty |= bytes[i] != 0;
		(void)close(fd);
	}
	(void)closedir(d);
	return count;
}

static unsigned int spares_of(const struct store_rig *rig)
{
	uint64_t bytes;
	unsigned int count;
	bool dirty;

	count = look(rig, ".old", &bytes, &dirty);
	assert_false(dirty);
	return count;
}

static void check_stream(struct store_rig *rig, unsigned int stream, int want)
{
	struct store_fragment rows[200];
	int n = rig_list_all(rig, stream, rows, ARRAY_SIZE(rows));
	int i;

	assert_int_equal(n, want);
	for (i = 0; i < n; i++)
		assert_int_equal(rig_check_all(rig, stream, &rows[i]), 0);
}

static void store_makes_segments_of_dead_ones(void **state)
{
	struct store_rig *rig = *state;
	uint64_t bytes;
	bool dirty;

	fill(rig, 0, 2);
	assert_int_equal(spares_of(rig), 0);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), 2);
	assert_int_equal(stats_of(rig).recycled, 0);
	/* They are used, and counted as that. */
	(void)look(rig, ".old", &bytes, &dirty);
	assert_in_range(stats_of(rig).disk_bytes, bytes - 8192, bytes);

	fill(rig, 1, 2);
	assert_int_equal(stats_of(rig).recycled, 2);
	assert_int_equal(spares_of(rig), 0);
	check_stream(rig, 0, 0);
	check_stream(rig, 1, 2 * PER_SEGMENT + 1);
	rig_close(rig);
	/* What is recovered is what was written, nothing of before. */
	rig_unlink(rig, "index.db");
	assert_int_equal(rig_open(rig), 0);
	check_stream(rig, 0, 0);
	check_stream(rig, 1, 2 * PER_SEGMENT + 1);
}

static void store_keeps_a_few_spares_and_none_when_closed(void **state)
{
	struct store_rig *rig = *state;

	fill(rig, 0, STORE_SPARES_MAX + 3);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), STORE_SPARES_MAX);
	rig_close(rig);
	assert_int_equal(spares_of(rig), 0);
}

static void store_unlinks_dead_segments_that_are_short(void **state)
{
	struct store_rig *rig = *state;
	unsigned int i;

	for (i = 0; i < 4; i++) {
		assert_int_equal(rig_put(rig, 0, put_seq++, 600000, 60000, 1),
				 0);
		rig_close(rig);
		assert_int_equal(rig_open(rig), 0);
	}
	assert_int_equal(rig_expire(rig, 0, ALL), 4);
	assert_int_equal(spares_of(rig), 0);
	assert_int_equal(rig_segments(rig), 1);
}

static unsigned int asked;

static int no_zero_range(int fd, int mode, off_t offset, off_t len)
{
	asked += mode != 0;
	return mode ? -EOPNOTSUPP : sys_posix()->fallocate(fd, mode, offset,
							   len);
}

static void store_unlinks_where_nothing_can_be_zeroed(void **state)
{
	struct sys_ops sys = *sys_posix();
	struct store_rig rig;

	(void)state;
	asked = 0;
	sys.fallocate = no_zero_range;
	init(&rig, &sys, 1, 0);
	fill(&rig, 0, 3);
	assert_true(rig_expire(&rig, 0, ALL) > 0);
	assert_int_equal(spares_of(&rig), 0);
	fill(&rig, 1, 3);
	assert_true(rig_expire(&rig, 1, ALL) > 0);
	assert_int_equal(spares_of(&rig), 0);
	/* It is not asked for each. */
	assert_int_equal(asked, 1);
	assert_int_equal(stats_of(&rig).recycled, 0);
	rig_fini(&rig);
}

static void make_file(const struct store_rig *rig, const char *name)
{
	char path[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/segments/%s", rig->path, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "past", 4), 4);
	(void)close(fd);
}

static void store_removes_at_its_start_what_a_kill_left(void **state)
{
	struct store_rig *rig = *state;
	uint64_t bytes;
	bool dirty;

	fill(rig, 0, 1);
	rig_close(rig);
	make_file(rig, "00000001.old");
	make_file(rig, "00000090.old");
	make_file(rig, "00000091.tmp");
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(look(rig, ".old", &bytes, &dirty), 0);
	assert_int_equal(look(rig, ".tmp", &bytes, &dirty), 0);
	check_stream(rig, 0, PER_SEGMENT + 1);
}

static void store_does_not_use_a_file_again_that_failed(void **state)
{
	struct store_rig *rig = *state;
	unsigned int i;

	for (i = 0; i < PER_SEGMENT; i++)
		assert_int_equal(rig_put(rig, 0, put_seq++, BYTES, 60000, 1),
				 0);
	loop_fake_fail(rig->loop, 1, -EIO);
	assert_int_equal(rig_put(rig, 0, put_seq++, 1000, 60000, 1), -EIO);
	loop_fake_advance(rig->loop, 2 * SEGMENT_RETRY_NS);
	assert_int_equal(rig_expire(rig, 0, ALL), PER_SEGMENT);
	assert_int_equal(spares_of(rig), 0);
}

static uint32_t segment_of(struct store_rig *rig, unsigned int stream)
{
	struct store_fragment rows[200];

	assert_true(rig_list_all(rig, stream, rows, ARRAY_SIZE(rows)) > 0);
	return rows[0].segment;
}

static void store_does_not_use_a_file_again_that_cannot_be_read(void **state)
{
	struct store_rig *rig = *state;
	struct store_fragment rows[200];

	fill(rig, 0, 1);
	assert_true(rig_list_all(rig, 0, rows, ARRAY_SIZE(rows)) > 0);
	loop_fake_fail(rig->loop, 1, -EIO);
	assert_int_equal(rig_check_all(rig, 0, &rows[0]), -EIO);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), 0);
}

/* A copy by another name is somebody's: it stays what it is. */
static void store_leaves_a_file_of_two_names_as_it_is(void **state)
{
	struct store_rig *rig = *state;
	uint8_t before[4096];
	uint8_t after[4096];
	char from[96];
	char to[96];
	int fd;

	fill(rig, 0, 2);
	(void)snprintf(from, sizeof(from), "%s/segments/%08u.seg", rig->path,
		       segment_of(rig, 0));
	(void)snprintf(to, sizeof(to), "%s/copy", rig->path);
	assert_int_equal(link(from, to), 0);
	fd = open(to, O_RDONLY | O_CLOEXEC);
	assert_int_equal(pread(fd, before, sizeof(before), 4096), 4096);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(access(from, F_OK), -1);
	assert_int_equal(spares_of(rig), 1);
	fill(rig, 1, 3);
	assert_int_equal(pread(fd, after, sizeof(after), 4096), 4096);
	assert_memory_equal(before, after, sizeof(before));
	(void)close(fd);
	assert_int_equal(unlink(to), 0);
}

static int segments_fd;

static int failing_fsync(int fd)
{
	return fd == segments_fd ? -EIO : sys_posix()->fsync(fd);
}

/* Whether the names are gone is not known: the rows are what says it then. */
static void store_keeps_rows_of_names_that_cannot_be_synced(void **state)
{
	struct store_rig *rig = *state;
	struct sys_ops sys = *sys_zeroing();
	uint8_t generation[SEGMENT_ID_BYTES];
	uint32_t number;

	fill(rig, 0, 2);
	fill(rig, 1, 2);
	number = segment_of(rig, 0);
	segments_fd = rig->dir.segments_fd;
	sys.fsync = failing_fsync;
	rig->dir.sys = &sys;
	assert_true(rig_expire(rig, 0, ALL) > 0);
	rig->dir.sys = rig->sys;
	assert_true(rig_expire(rig, 1, ALL) > 0);
	assert_int_equal(segment_table_generation(&rig->local->table, number,
						  generation),
			 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	store_local_settle(rig->local);
	assert_int_equal(segment_table_generation(&rig->local->table, number,
						  generation),
			 -ENOENT);
}

/* --- room --- */

static int tight_fstatvfs(int fd, struct statvfs *ret_st)
{
	int r = sys_posix()->fstatvfs(fd, ret_st);

	ret_st->f_bavail = SEGMENT_BYTES_MIN / ret_st->f_frsize - 1;
	return r;
}

/* The catalog is on the same disk, and so may others be. */
static void store_has_no_spares_where_the_disk_is_tight(void **state)
{
	struct store_rig *rig = *state;
	struct sys_ops sys = *sys_zeroing();

	sys.fstatvfs = tight_fstatvfs;
	fill(rig, 0, 3);
	rig->local->sys = &sys;
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), 0);
	rig->local->sys = rig->sys;
	fill(rig, 0, 3);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), 3);
	/* It became so. */
	rig->local->sys = &sys;
	store_local_settle(rig->local);
	assert_int_equal(spares_of(rig), 0);
	rig->local->sys = rig->sys;
}

static void spares_are_part_of_storage_max(void **state)
{
	struct store_rig *rig = *state;
	const uint64_t most = 6 * SEGMENT_BYTES_MIN;
	unsigned int i;
	uint64_t bytes;
	bool dirty;

	rig->local->config.bytes_max = most;
	for (i = 0; i < 20 * PER_SEGMENT; i++, put_seq++) {
		assert_int_equal(rig_put(rig, i % 3, put_seq, BYTES, 60000,
					 put_seq * 20000),
				 0);
		(void)look(rig, ".old", &bytes, &dirty);
		assert_in_range(bytes, 0, most + 4096);
		assert_in_range(stats_of(rig).disk_bytes, 0, most);
	}
	assert_true(stats_of(rig).recycled > 5);
	assert_true(stats_of(rig).dropped > 0);
}

static void spares_go_before_rows(void **state)
{
	struct store_rig *rig = *state;
	struct room room = {.state = ROOM_IDLE};

	fill(rig, 0, STORE_SPARES_MAX + 1);
	fill(rig, 1, 3);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), STORE_SPARES_MAX);
	/* What the next segment is made of may stay. */
	rig->local->config.bytes_max =
		segment_table_bytes(&rig->local->table) + SEGMENT_BYTES_MIN;
	assert_true(room_make(rig->local, &room));
	assert_int_equal(stats_of(rig).dropped, 0);
	assert_int_equal(spares_of(rig), 1);
	assert_in_range(stats_of(rig).disk_bytes, 0,
			rig->local->config.bytes_max);
	check_stream(rig, 1, 3 * PER_SEGMENT + 1);
	rig->local->config.bytes_max -= SEGMENT_BYTES_MIN;
	while (!room_make(rig->local, &room))
		;
	assert_true(stats_of(rig).dropped > 0);
}

static void spares_go_before_the_reserve(void **state)
{
	struct store_rig *rig = *state;

	fill(rig, 0, 2);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), 2);
	assert_true(disk_room_give_up(rig->local));
	assert_int_equal(spares_of(rig), 0);
	assert_true(rig->local->reserve.held);
	assert_true(disk_room_give_up(rig->local));
	assert_false(rig->local->reserve.held);
	assert_false(disk_room_give_up(rig->local));
	/* It is made again first, of what goes. */
	fill(rig, 0, 2);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), 0);
	assert_true(rig->local->reserve.held);
	fill(rig, 0, 2);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_true(spares_of(rig) > 0);
}

/* No room for a file, but for one that is there. */
static int full_fallocate(int fd, int mode, off_t offset, off_t len)
{
	return mode ? sys_zeroing()->fallocate(fd, mode, offset, len) : -ENOSPC;
}

static void store_writes_to_a_spare_on_a_full_disk(void **state)
{
	struct store_rig *rig = *state;
	struct sys_ops sys = *sys_zeroing();

	fill(rig, 0, 4);
	assert_true(rig_expire(rig, 0, ALL) > 0);
	assert_int_equal(spares_of(rig), 3);
	sys.fallocate = full_fallocate;
	rig->dir.sys = &sys;
	fill(rig, 1, 2);
	assert_true(stats_of(rig).recycled >= 2);
	check_stream(rig, 1, 2 * PER_SEGMENT + 1);
	rig->dir.sys = rig->sys;
}

static const struct store_rig *full_rig;

/* What the spares take is all that there would be. */
static int spares_fallocate(int fd, int mode, off_t offset, off_t len)
{
	if (!mode && spares_of(full_rig))
		return -ENOSPC;
	return sys_zeroing()->fallocate(fd, mode, offset, len);
}

/* Its segments are too small to be made of one. */
static void compaction_takes_the_room_of_spares(void **state)
{
	struct store_rig *rig = *state;
	struct sys_ops sys = *sys_zeroing();
	unsigned int i;

	rig_close(rig);
	rig->config.compact_percent = 30;
	rig->config.segment_bytes = 4 * SEGMENT_BYTES_MIN;
	assert_int_equal(rig_open(rig), 0);
	for (i = 0; i < 120; i++, put_seq++)
		assert_int_equal(rig_put(rig, i % 5 != 0, put_seq,
					 i % 5 ? BYTES : 40000, 60000, i),
				 0);
	fill(rig, 2, 4 * 3);
	assert_true(rig_expire(rig, 2, ALL) > 0);
	assert_true(spares_of(rig) > 0);
	assert_true(rig_expire(rig, 1, ALL) > 0);
	sys.fallocate = spares_fallocate;
	full_rig = rig;
	rig->dir.sys = &sys;
	for (i = 0; i < 200 && !stats_of(rig).compacted; i++)
		store_local_compact(rig->local);
	assert_true(stats_of(rig).compacted > 0);
	rig->dir.sys = rig->sys;
	check_stream(rig, 0, 24);
}

/* --- readers --- */

struct reading {
	struct store_op op;
	uint8_t bytes[400000];
	bool done;
	int res;
};

static void read_done(struct store_op *op, int res)
{
	struct reading *r = container_of(op, struct reading, op);

	r->done = true;
	r->res = res;
}

/*
 * The first fragment is being read, its place known already or not, while its
 * segment dies and, @again, is written to as another.
 */
static int read_across(uint64_t seed, bool known, bool again, bool compacts)
{
	static struct reading r;
	struct store_fragment rows[PER_SEGMENT * 2];
	struct store_stream s = rig_stream(0);
	struct store_rig rig;
	uint64_t seq = put_seq;
	size_t i;

	init(&rig, sys_zeroing(), seed, 1000000);
	rig_close(&rig);
	rig.config.compact_percent = compacts ? 30 : 0;
	assert_int_equal(rig_open(&rig), 0);
	fill(&rig, 0, 1);
	assert_true(rig_list_all(&rig, 0, rows, ARRAY_SIZE(rows)) > 0);
	if (known)
		assert_int_equal(rig_check(&rig, 0, &rows[0], 0, 10), 10);
	r = (struct reading){.op.done = read_done};
	store_read(rig.store, &s, &rows[0], 0, r.bytes, BYTES, &r.op);
	assert_true(rig_expire(&rig, 0, ALL) > 0);
	if (again)
		fill(&rig, 0, 2);
	assert_true(again ? stats_of(&rig).recycled : spares_of(&rig) == 1);
	assert_int_equal(loop_fake_until(rig.loop, &r.done), 0);
	for (i = 0; r.res > 0 && i < BYTES; i++)
		assert_int_equal(r.bytes[i], rig_byte(seq, i));
	assert_true(r.res == (int)BYTES || r.res == -ENOENT);
	assert_int_equal(stats_of(&rig).reads_bad, 0);
	/* Later, of a place that is another's by now: the same. */
	assert_int_equal(rig_check_all(&rig, 0, &rows[0]), -ENOENT);
	assert_int_equal(stats_of(&rig).reads_bad, 0);
	rig_fini(&rig);
	return r.res;
}

static void read_of_a_segment_that_dies_ends_as_if_it_was_gone(void **state)
{
	unsigned int gone[2][2] = {{0}};
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS; seed++) {
		bool known = seed % 2;
		bool again = seed / 2 % 2;

		gone[known][again] +=
			read_across(seed, known, again, seed / 4 % 2) < 0;
	}
	assert_in_range(gone[0][0], 1, SEEDS);
	assert_in_range(gone[0][1], 1, SEEDS);
	assert_in_range(gone[1][0], 1, SEEDS);
	assert_in_range(gone[1][1], 1, SEEDS);
}

/* Moved meanwhile: it is read where it is now. Return: files that are, or
 * were, spares. */
static unsigned int read_across_compaction(uint64_t seed)
{
	static struct reading r;
	struct store_fragment rows[12];
	struct store_stream s = rig_stream(0);
	struct store_rig rig;
	unsigned int i;
	int n;

	init(&rig, sys_zeroing(), seed, 1000000);
	rig_close(&rig);
	rig.config.compact_percent = 30;
	assert_int_equal(rig_open(&rig), 0);
	for (i = 0; i < 30; i++, put_seq++)
		assert_int_equal(rig_put(&rig, i % 5 != 0, put_seq,
					 i % 5 ? BYTES : 40000, 60000, i),
				 0);
	rig_close(&rig);
	assert_int_equal(rig_open(&rig), 0);
	assert_true(rig_expire(&rig, 1, ALL) > 0);
	n = rig_list_all(&rig, 0, rows, ARRAY_SIZE(rows));
	assert_int_equal(n, 6);
	n = (int)(seed % 5); /* the last one's segment is short */
	if (seed / 5 % 2)
		assert_int_equal(rig_check(&rig, 0, &rows[n], 0, 10), 10);
	r = (struct reading){.op.done = read_done};
	store_read(rig.store, &s, &rows[n], 0, r.bytes, 40000, &r.op);
	for (i = 0; i < 60; i++)
		store_local_compact(rig.local);
	assert_true(stats_of(&rig).compacted > 0);
	if (seed / 10 % 2)
		fill(&rig, 2, 2);
	assert_int_equal(loop_fake_until(rig.loop, &r.done), 0);
	assert_int_equal(r.res, 40000);
	for (i = 0; i < 40000; i++)
		assert_int_equal(r.bytes[i], rig_byte(rows[n].number.seq, i));
	assert_int_equal(stats_of(&rig).reads_bad, 0);
	for (i = 0; i < 6; i++)
		assert_int_equal(rig_check_all(&rig, 0, &rows[i]), 0);
	assert_int_equal(stats_of(&rig).reads_bad, 0);
	i = (unsigned int)stats_of(&rig).recycled + spares_of(&rig);
	rig_fini(&rig);
	return i;
}

static void read_of_a_segment_that_is_emptied_goes_on(void **state)
{
	unsigned int used = 0;
	uint64_t seed;

	(void)state;
	for (seed = 0; seed < SEEDS / 2; seed++)
		used += read_across_compaction(seed);
	assert_in_range(used, SEEDS / 2, 10 * SEEDS);
}

static struct store_local *watched;
static unsigned int zeroed;

/* A spare is zeroed, under its own name. */
static int watch_fallocate(int fd, int mode, off_t offset, off_t len)
{
	uint8_t generation[SEGMENT_ID_BYTES];
	char path[64];
	char name[128] = "";
	const char *file;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (mode && readlink(path, name, sizeof(name) - 1) > 0) {
		file = strrchr(name, '/') + 1;
		if (strstr(file, ".old")) {
			zeroed++;
			assert_int_equal(
				segment_table_generation(
					&watched->table,
					(uint32_t)strtoul(file, NULL, 10),
					generation),
				-ENOENT);
		}
	}
	return sys_zeroing()->fallocate(fd, mode, offset, len);
}

/* Or a reader on another thread would take it for damage. */
static void store_zeroes_what_nobody_can_look_up_any_more(void **state)
{
	struct sys_ops sys = *sys_zeroing();
	struct store_rig rig;

	(void)state;
	sys.fallocate = watch_fallocate;
	init(&rig, &sys, 1, 0);
	watched = rig.local;
	fill(&rig, 0, 2);
	assert_true(rig_expire(&rig, 0, ALL) > 0);
	assert_int_equal(zeroed, 2);
	rig_fini(&rig);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(store_makes_segments_of_dead_ones),
		CASE(store_keeps_a_few_spares_and_none_when_closed),
		CASE(store_unlinks_dead_segments_that_are_short),
		cmocka_unit_test(store_unlinks_where_nothing_can_be_zeroed),
		CASE(store_removes_at_its_start_what_a_kill_left),
		CASE(store_does_not_use_a_file_again_that_failed),
		CASE(store_does_not_use_a_file_again_that_cannot_be_read),
		CASE(store_leaves_a_file_of_two_names_as_it_is),
		CASE(store_keeps_rows_of_names_that_cannot_be_synced),
		CASE(store_has_no_spares_where_the_disk_is_tight),
		CASE(compaction_takes_the_room_of_spares),
		CASE(spares_are_part_of_storage_max),
		CASE(spares_go_before_rows),
		CASE(spares_go_before_the_reserve),
		CASE(store_writes_to_a_spare_on_a_full_disk),
		cmocka_unit_test(read_of_a_segment_that_is_emptied_goes_on),
		cmocka_unit_test(store_zeroes_what_nobody_can_look_up_any_more),
		cmocka_unit_test(
			read_of_a_segment_that_dies_ends_as_if_it_was_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
