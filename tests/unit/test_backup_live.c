/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backup during compaction and during expiry: the live store goes on
 * between two of the backup's system calls, from the n-th openat() or pread()
 * on, and writes to the files of what went. What
 * was there before and was not expired is in the copy, byte for byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "io/catalog_sqlite.h"
#include "serve/backup.h"
#include "support/loop_fake.h"
#include "support/store_rig.h"
#include "support/sys_zero.h"

#define ROWS 7u /* so that no more segments die at once than are kept */
#define OTHERS 4u /* of stream 1, for each row of stream 0 */
#define LEAD 20u  /* of stream 1, before them: segments that go whole */
#define DENSE 8u /* of stream 3, behind them: they stay */
#define OTHERS_LATE 24u /* of stream 2, meanwhile */
#define STRIDE 7u
#define ROWS_ALL (LEAD + ROWS * (OTHERS + 1))
#define CALLS_MAX 1000u
#define STEPS_MAX 40u

enum live { COMPACTION, EXPIRY, BOTH, AT_ONCE };

static struct {
	struct store_rig *rig;
	enum live live;
	unsigned long at; /* of the call that it begins with */
	unsigned long calls;
	bool inside;
	uint64_t expire_ms;
	uint64_t others; /* fragments of stream 2 */
} during;

static uint64_t recycled;

/* All is moved, and what it was in goes, between two calls; nothing after. */
static void go_on_at_once(void)
{
	unsigned int i;

	if (during.others)
		return;
	/* In turns, or there would be more dead files than spares. */
	for (i = 0; i < STEPS_MAX; i++) {
		during.others++;
		assert_int_equal(rig_put(during.rig, 2, 10000 + during.others,
					 300000, 60000, during.others),
				 0);
		store_local_compact(during.rig->local);
	}
}

static void go_on(void)
{
	if (during.live == AT_ONCE) {
		go_on_at_once();
		return;
	}
	if (during.live != COMPACTION) {
		during.expire_ms += 20000;
		assert_true(rig_expire(during.rig, 1, during.expire_ms) >= 0);
	}
	if (during.live != EXPIRY)
		store_local_compact(during.rig->local);
	/* So much that dead segments' files are used again; a backup that is
	 * overtaken in each pass would give up. */
	if (during.others == OTHERS_LATE)
		return;
	during.others++;
	assert_int_equal(rig_put(during.rig, 2, 10000 + during.others, 300000,
				 60000, during.others),
			 0);
	(void)rig_expire(during.rig, 2, during.others);
}

static void passes(void)
{
	if (during.inside || ++during.calls < during.at)
		return;
	during.inside = true;
	go_on();
	during.inside = false;
}

static ssize_t live_pread(int fd, void *bytes, size_t len, off_t offset)
{
	passes();
	return sys_posix()->pread(fd, bytes, len, offset);
}

static int live_openat(int dirfd, const char *path, int flags, mode_t mode)
{
	passes();
	return sys_posix()->openat(dirfd, path, flags, mode);
}

static int make_catalog(struct store_rig *rig)
{
	struct catalog_sqlite_config config = {
		.region = "us-west-2",
		.account = "123456789012",
		.no_thread = true,
	};
	struct catalog *catalog = NULL;
	int r = data_dir_open(sys_posix(), rig->path, true, &rig->dir);

	if (r < 0)
		return r;
	config.dir = &rig->dir;
	r = catalog_sqlite_open(&config, &catalog);
	(void)catalog_sqlite_close(catalog);
	data_dir_close(&rig->dir);
	return r;
}

/* Segments of which a fifth is stream 0's, none being written to. */
static void fill(struct store_rig *rig)
{
	uint64_t seq = 0;
	unsigned int i;
	unsigned int j;

	assert_int_equal(make_catalog(rig), 0);
	rig->config.find_key = rig_find_key;
	rig->config.compact_percent = 50;
	assert_int_equal(rig_open(rig), 0);
	for (i = 0; i < ROWS; i++) {
		for (j = 0; j < OTHERS + (i ? 0 : LEAD); j++) {
			seq++;
			assert_int_equal(rig_put(rig, 1, seq, 120000, 60000,
						 seq * 10000),
					 0);
		}
		seq++;
		assert_int_equal(
			rig_put(rig, 0, seq, 30000, 30000, seq * 10000), 0);
	}
	/* What is emptied last is a full one, and not the last of the list. */
	for (i = 0; i < DENSE; i++) {
		seq++;
		assert_int_equal(
			rig_put(rig, 3, seq, 180000, 60000, seq * 10000), 0);
	}
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
}

static void check_copy(struct store_rig *live, const char *dest)
{
	struct store_fragment rows[ROWS_ALL];
	struct store_rig copy = {
		.sys = sys_posix(),
		.loop = live->loop,
		.config = live->config,
	};
	int n;
	int i;

	(void)snprintf(copy.path, sizeof(copy.path), "%.63s", dest);
	assert_int_equal(rig_open(&copy), 0);
	n = rig_list_all(&copy, 0, rows, ROWS_ALL);
	assert_int_equal(n, ROWS);
	for (i = 0; i < n; i++) {
		assert_int_equal(rows[i].number.seq,
				 LEAD + (i + 1) * (OTHERS + 1));
		assert_int_equal(rig_check_all(&copy, 0, &rows[i]), 0);
	}
	/* Of the other at least what had not expired by its end, no half. */
	n = rig_list_all(&copy, 1, rows, ROWS_ALL);
	assert_true(n >= 0);
	for (i = 0; i < n; i++)
		assert_int_equal(rig_check_all(&copy, 1, &rows[i]), 0);
	n = rig_list_all(live, 1, rows, ROWS_ALL);
	for (i = 0; i < n; i++) {
		struct store_fragment found[1];
		struct store_query q = {.to_ms = rows[i].server_ms,
					.from_ms = rows[i].server_ms,
					.order = STORE_BY_SERVER_TIME,
					.limit = 1};

		memcpy(q.stream_id, rows[i].stream_id, sizeof(q.stream_id));
		assert_int_equal(rig_list(&copy, &q, found), 1);
	}
	rig_close(&copy);
}

/* Return: the calls that it took. */
static unsigned long back_up(enum live live, unsigned long at)
{
	struct loop_fake_config loop = {.sys = sys_zeroing(), .seed = at + 1};
	struct sys_ops sys = *sys_posix();
	struct store_local_stats before;
	struct store_local_stats after;
	struct store_rig rig;
	char dest[64];
	char *argv[] = {(char *)(uintptr_t) "backup", rig.path, dest};

	rig_init(&rig, &loop);
	(void)snprintf(dest, sizeof(dest), "%.58s-copy", rig.path);
	fill(&rig);
	/* The holes are there before where it is about them only. */
	if (live == COMPACTION || live == AT_ONCE)
		assert_int_equal(rig_expire(&rig, 1, UINT64_MAX),
				 ROWS_ALL - ROWS);
	memset(&during, 0, sizeof(during));
	during.rig = &rig;
	during.live = live;
	during.at = at;
	sys.openat = live_openat;
	sys.pread = live_pread;
	store_local_stats(rig.local, &before);
	assert_int_equal(backup_main(ARRAY_SIZE(argv), argv, &sys), 0);
	during.at = CALLS_MAX;
	store_local_stats(rig.local, &after);
	if (at == 1)
		assert_true(after.segments < before.segments ||
			    after.compacted > before.compacted);
	recycled += after.recycled - before.recycled;
	check_copy(&rig, dest);
	rig_fini(&rig);
	rig_remove(dest);
	return during.calls;
}

static void sweep(enum live live)
{
	uint64_t before = recycled;
	unsigned long at;
	unsigned long calls = CALLS_MAX;

	for (at = 1; at <= calls && at < CALLS_MAX;
	     at += live == AT_ONCE ? 3 : STRIDE)
		calls = back_up(live, at);
	assert_in_range(at, 10, CALLS_MAX - 1);
	assert_true(recycled - before > 10);
}

static void backup_during_compaction_is_whole(void **state)
{
	(void)state;
	sweep(COMPACTION);
}

static void backup_during_expiry_is_whole(void **state)
{
	(void)state;
	sweep(EXPIRY);
}

static void backup_during_both_is_whole(void **state)
{
	(void)state;
	sweep(BOTH);
}

/*
 * A file that is read was renamed, zeroed and written to as another segment;
 * what was in it is in one that no list has.
 */
static void backup_of_a_file_that_is_used_again_is_whole(void **state)
{
	(void)state;
	sweep(AT_ONCE);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(backup_during_compaction_is_whole),
		cmocka_unit_test(backup_during_expiry_is_whole),
		cmocka_unit_test(backup_during_both_is_whole),
		cmocka_unit_test(backup_of_a_file_that_is_used_again_is_whole),
	};

	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
