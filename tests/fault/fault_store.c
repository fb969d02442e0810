/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The n-th system call, or the n-th completion of the loop, fails: while a
 * catalog and a store are opened, written, read, expired, closed and opened
 * again. Each time: what was acknowledged is there afterwards, what was not
 * is not there by half, and no descriptor is left open. (SQLite's own calls
 * do not pass here.)
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "core/limits.h"
#include "io/catalog_sqlite.h"
#include "support/catalog_wait.h"
#include "support/loop_fake.h"
#include "support/scratch.h"
#include "support/store_rig.h"
#include "support/sys_fault.h"
#include "support/sys_zero.h"

#define FRAGMENTS 12u
#define CALLS_MAX 2000ul

static const size_t sizes[FRAGMENTS] = { 100,	 70000,	 300000, 5,
					 200000, 200000, 200000, 200000,
					 65408,	 65409,	 1000,	 300000 };

struct outcome {
	bool acked[FRAGMENTS];
};

/* The operations whose calls are failed. Never crashes; may fail anywhere. */
static void scenario(struct store_rig *rig, struct outcome *o)
{
	struct store_fragment rows[FRAGMENTS];
	unsigned int i;
	int count;

	if (rig_open(rig) < 0)
		return;
	for (i = 0; i < FRAGMENTS; i++) {
		/* A segment is not tried again at once. */
		loop_fake_advance(rig->loop, 2 * SEGMENT_RETRY_NS);
		o->acked[i] = rig_put(rig, i % 2, i + 1, sizes[i], 50000,
				      1000 + i) == 0;
	}
	count = rig_list_all(rig, 0, rows, FRAGMENTS);
	for (i = 0; count > 0 && i < (unsigned int)count; i++) {
		int r = rig_check_all(rig, 0, &rows[i]);

		/* Never wrong bytes, only none. */
		assert_true(r == 0 || r == -EIO || r == -EMFILE);
	}
	(void)rig_expire(rig, 5, 2000); /* nothing */
	rig_close(rig);
}

static void verify(struct store_rig *rig, const struct outcome *o,
		   const char *what, unsigned long n)
{
	struct store_fragment rows[2 * FRAGMENTS];
	bool seen[FRAGMENTS] = { false };
	unsigned int stream;
	unsigned int i;
	int count;

	assert_int_equal(rig_open(rig), 0);
	for (stream = 0; stream < 2; stream++) {
		count = rig_list_all(rig, stream, rows, 2 * FRAGMENTS);
		assert_true(count >= 0);
		for (i = 0; i < (unsigned int)count; i++) {
			uint64_t seq = rows[i].number.seq;

			assert_true(seq >= 1 && seq <= FRAGMENTS);
			assert_false(seen[seq - 1]);
			seen[seq - 1] = true;
			assert_int_equal(rig_check_all(rig, stream, &rows[i]),
					 0);
		}
	}
	for (i = 0; i < FRAGMENTS; i++)
		if (o->acked[i] && !seen[i])
			fail_msg("%s %lu: fragment %u is lost", what, n, i);
	assert_int_equal(rig_put(rig, 0, 100, 1000, 1000, 1), 0);
	rig_close(rig);
}

/* Return: whether call @n was reached. */
static bool run_call(unsigned long n, int err, bool sticky)
{
	struct loop_fake_config loop = { .sys = sys_fault(), .seed = n };
	struct outcome o = { { false } };
	struct store_rig rig;
	bool fired;

	sys_fault_reset();
	rig_init(&rig, &loop);
	if (sticky)
		sys_fault_arm_sticky(n, err);
	else
		sys_fault_arm(n, err);
	scenario(&rig, &o);
	fired = sys_fault_fired();
	sys_fault_arm(0, 0);
	assert_int_equal(sys_fault_open_fds(), 0);
	verify(&rig, &o, "call", n);
	rig_fini(&rig);
	assert_int_equal(sys_fault_open_fds(), 0);
	return fired;
}

static void sweep_calls(int err, bool sticky)
{
	unsigned long n;

	for (n = 1; run_call(n, err, sticky); n++)
		assert_true(n < CALLS_MAX);
	assert_true(n > 50);
}

static void store_survives_each_failed_call(void **state)
{
	(void)state;
	sweep_calls(-EIO, false);
}

static void store_survives_a_disk_that_is_full_from_a_call_on(void **state)
{
	(void)state;
	sweep_calls(-ENOSPC, true);
}

static void store_survives_running_out_of_descriptors(void **state)
{
	unsigned long n;

	(void)state;
	for (n = 1;; n++) {
		struct loop_fake_config loop = { .sys = sys_fault() };
		struct outcome o = { { false } };
		struct store_rig rig;
		bool fired;

		sys_fault_reset();
		sys_fault_only("openat");
		rig_init(&rig, &loop);
		sys_fault_arm(n, -EMFILE);
		scenario(&rig, &o);
		fired = sys_fault_fired();
		sys_fault_arm(0, 0);
		verify(&rig, &o, "openat", n);
		rig_fini(&rig);
		assert_int_equal(sys_fault_open_fds(), 0);
		if (!fired)
			break;
	}
	assert_true(n > 10);
}

/* Return: whether completion @n was reached. */
static bool run_completion(unsigned long n, int err, bool shorten)
{
	struct loop_fake_config loop = { .sys = sys_fault(), .seed = n };
	struct outcome o = { { false } };
	struct store_rig rig;
	bool fired;

	sys_fault_reset();
	rig_init(&rig, &loop);
	if (shorten)
		loop_fake_shorten(rig.loop, n);
	else
		loop_fake_fail(rig.loop, n, err);
	scenario(&rig, &o);
	fired = loop_fake_fired(rig.loop);
	loop_fake_fail(rig.loop, 0, 0);
	verify(&rig, &o, "completion", n);
	rig_fini(&rig);
	assert_int_equal(sys_fault_open_fds(), 0);
	return fired;
}

static void store_survives_each_failed_completion(void **state)
{
	static const int errs[] = { -EIO, -ENOSPC, -ECANCELED };
	unsigned long n = 0;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errs); i++) {
		for (n = 1; run_completion(n, errs[i], false); n++)
			assert_true(n < CALLS_MAX);
		assert_true(n > 20);
	}
}

/* --- compaction --- */

#define KEPT 6u

/* Closed segments of which little is needed: KEPT fragments of stream 0. */
static void fill_sparse(struct store_rig *rig)
{
	uint64_t seq;

	rig->config.find_key = rig_find_key;
	rig->config.compact_percent = 30;
	assert_int_equal(rig_open(rig), 0);
	for (seq = 1; seq <= KEPT * 5; seq++)
		assert_int_equal(
			seq % 5 ? rig_put(rig, 1, seq, 180000, 60000, seq)
				: rig_put(rig, 0, seq, 40000, 60000, seq),
			0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rig_expire(rig, 1, UINT64_MAX - 1), (int)KEPT * 4);
}

static void check_kept(struct store_rig *rig)
{
	struct store_fragment rows[KEPT + 1];
	unsigned int i;

	assert_int_equal(rig_list_all(rig, 0, rows, KEPT + 1), KEPT);
	for (i = 0; i < KEPT; i++) {
		assert_int_equal(rows[i].number.seq, (i + 1) * 5);
		assert_int_equal(rig_check_all(rig, 0, &rows[i]), 0);
	}
}

/* Return: whether call @n was reached. */
static bool run_compaction(unsigned long n, int err, bool sticky)
{
	struct loop_fake_config loop = {.sys = sys_fault(), .seed = n};
	struct store_rig rig;
	unsigned int i;
	bool fired;

	sys_fault_reset();
	rig_init(&rig, &loop);
	fill_sparse(&rig);
	if (sticky)
		sys_fault_arm_sticky(n, err);
	else
		sys_fault_arm(n, err);
	for (i = 0; i < 20; i++)
		store_local_compact(rig.local);
	fired = sys_fault_fired();
	sys_fault_arm(0, 0);
	check_kept(&rig);
	rig_close(&rig);
	assert_int_equal(sys_fault_open_fds(), 0);
	assert_int_equal(rig_open(&rig), 0);
	check_kept(&rig);
	rig_fini(&rig);
	return fired;
}

static void store_survives_each_failed_call_of_a_compaction(void **state)
{
	unsigned long n;

	(void)state;
	for (n = 1; run_compaction(n, -EIO, false); n++)
		assert_true(n < CALLS_MAX);
	assert_true(n > 30);
	for (n = 1; run_compaction(n, -ENOSPC, true); n += 3)
		assert_true(n < CALLS_MAX);
}

/* --- files that are used again --- */

/* What is put after each expiry is made of what has expired. */
static void recycle(struct store_rig *rig, bool *acked)
{
	unsigned int i;

	for (i = 0; i < FRAGMENTS; i++) {
		loop_fake_advance(rig->loop, 2 * SEGMENT_RETRY_NS);
		acked[i] = rig_put(rig, 1, i + 1, 300000, 50000, 1000 + i) == 0;
		(void)rig_put(rig, 0, 100 + i, 700000, 50000, 1000 + i);
		(void)rig_expire(rig, 0, UINT64_MAX - 1);
		if (i == FRAGMENTS / 2)
			(void)rig_expire(rig, 1, 1000 + i - 2);
	}
}

static void verify_recycled(struct store_rig *rig, const bool *acked)
{
	struct store_fragment rows[2 * FRAGMENTS];
	unsigned int from = FRAGMENTS / 2 - 2; /* the others have expired */
	bool seen[FRAGMENTS] = {false};
	unsigned int i;
	int count;

	count = rig_list_all(rig, 1, rows, 2 * FRAGMENTS);
	assert_true(count >= 0);
	for (i = 0; i < (unsigned int)count; i++) {
		uint64_t seq = rows[i].number.seq;

		assert_true(seq >= 1 && seq <= FRAGMENTS);
		assert_false(seen[seq - 1]);
		seen[seq - 1] = true;
		assert_int_equal(rig_check_all(rig, 1, &rows[i]), 0);
	}
	for (i = from; i < FRAGMENTS; i++)
		if (acked[i] && !seen[i])
			fail_msg("fragment %u is lost", i);
}

/* Return: whether call @n was reached. */
static bool run_recycling(unsigned long n, int err, bool sticky)
{
	struct loop_fake_config loop = {.sys = sys_fault(), .seed = n};
	struct store_local_stats stats;
	bool acked[FRAGMENTS];
	struct store_rig rig;
	bool fired;

	sys_fault_reset();
	sys_fault_wrap(sys_zeroing());
	rig_init(&rig, &loop);
	assert_int_equal(rig_open(&rig), 0);
	if (sticky)
		sys_fault_arm_sticky(n, err);
	else
		sys_fault_arm(n, err);
	recycle(&rig, acked);
	fired = sys_fault_fired();
	sys_fault_arm(0, 0);
	store_local_stats(rig.local, &stats);
	if (!fired)
		assert_true(stats.recycled > 3);
	verify_recycled(&rig, acked);
	rig_close(&rig);
	assert_int_equal(sys_fault_open_fds(), 0);
	rig_unlink(&rig, "index.db");
	assert_int_equal(rig_open(&rig), 0);
	verify_recycled(&rig, acked);
	assert_int_equal(rig_put(&rig, 0, 500, 1000, 1000, 1), 0);
	rig_fini(&rig);
	assert_int_equal(sys_fault_open_fds(), 0);
	sys_fault_wrap(NULL);
	return fired;
}

static void store_survives_each_failed_call_of_recycling(void **state)
{
	static const int errs[] = {-EIO, -ENOSPC, -EOPNOTSUPP};
	unsigned long n = 0;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errs); i++) {
		for (n = 1; run_recycling(n, errs[i], false); n++)
			assert_true(n < CALLS_MAX);
		assert_true(n > 100);
	}
	for (n = 1; run_recycling(n, -ENOSPC, true); n += 3)
		assert_true(n < CALLS_MAX);
}

static int short_read_is_no_data(struct store_rig *rig,
				 const struct store_fragment *f)
{
	loop_fake_shorten(rig->loop, 1);
	return rig_check_all(rig, 0, f);
}

static void store_survives_each_short_write(void **state)
{
	struct loop_fake_config loop = { .seed = 1 };
	struct store_fragment rows[4];
	struct store_rig rig;
	unsigned long n;

	(void)state;
	rig_init(&rig, &loop);
	assert_int_equal(rig_open(&rig), 0);
	for (n = 1; n < 10; n++) {
		int before = rig_list_all(&rig, 0, rows, 4);
		int r;

		loop_fake_advance(rig.loop, 2 * SEGMENT_RETRY_NS);
		loop_fake_shorten(rig.loop, n);
		r = rig_put(&rig, 0, n, 3000000, 100000, n);
		if (r == 0)
			break;
		assert_int_equal(r, -EIO);
		loop_fake_fail(rig.loop, 0, 0);
		assert_int_equal(rig_list_all(&rig, 0, rows, 4), before);
	}
	assert_true(n > 2 && n < 10);
	loop_fake_fail(rig.loop, 0, 0);
	assert_int_equal(rig_list_all(&rig, 0, rows, 4), 1);
	assert_int_equal(rig_check_all(&rig, 0, &rows[0]), 0);
	assert_int_equal(short_read_is_no_data(&rig, &rows[0]), -EBADMSG);
	rig_fini(&rig);
}

/* --- catalog --- */

static int open_catalog(const char *path, struct data_dir *d,
			struct catalog **ret_catalog)
{
	struct catalog_sqlite_config config = {
		.dir = d,
		.region = "us-west-2",
		.account = "123456789012",
		.no_thread = true,
	};
	int r;

	r = data_dir_open(sys_fault(), path, true, d);
	if (r < 0)
		return r;
	r = catalog_sqlite_open(&config, ret_catalog);
	if (r < 0)
		data_dir_close(d);
	return r;
}

static int create(struct catalog *c, struct loop *l, const char *name)
{
	struct catalog_wait w = CATALOG_WAIT;
	static struct catalog_stream s;

	memset(&s, 0, sizeof(s));
	(void)snprintf(s.name, sizeof(s.name), "%s", name);
	catalog_create(c, l, &s, NULL, &w.op);
	assert_int_equal(loop_fake_until(l, &w.done), 0);
	return w.res;
}

static int find(struct catalog *c, struct loop *l, const char *name)
{
	struct catalog_wait w = CATALOG_WAIT;
	static struct catalog_stream s;

	catalog_find(c, l, name, NULL, &s, &w.op);
	assert_int_equal(loop_fake_until(l, &w.done), 0);
	return w.res;
}

static void catalog_survives_each_failed_call(void **state)
{
	struct loop_fake_config config = { .seed = 1 };
	struct loop *l = loop_fake_new(&config);
	bool fired = true;
	unsigned long n;

	(void)state;
	for (n = 1; fired; n++) {
		char path[64];
		struct catalog *c;
		struct data_dir d;
		bool acked = false;
		int round;

		sys_fault_reset();
		assert_true(scratch_dir(path, sizeof(path), "kvsd-fault"));
		sys_fault_arm(n, -EIO);
		for (round = 0; round < 2; round++) {
			if (open_catalog(path, &d, &c) < 0)
				continue;
			acked = create(c, l, "cam") == 0 || acked;
			c = catalog_sqlite_close(c);
			data_dir_close(&d);
		}
		fired = sys_fault_fired();
		sys_fault_arm(0, 0);
		assert_int_equal(sys_fault_open_fds(), 0);
		assert_int_equal(open_catalog(path, &d, &c), 0);
		if (acked)
			assert_int_equal(find(c, l, "cam"), 0);
		catalog_sqlite_close(c);
		data_dir_close(&d);
		rig_remove(path);
	}
	assert_true(n > 20);
	loop_free(l);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_survives_each_failed_call),
		cmocka_unit_test(
			store_survives_a_disk_that_is_full_from_a_call_on),
		cmocka_unit_test(store_survives_running_out_of_descriptors),
		cmocka_unit_test(store_survives_each_failed_completion),
		cmocka_unit_test(
			store_survives_each_failed_call_of_a_compaction),
		cmocka_unit_test(
			store_survives_each_failed_call_of_recycling),
		cmocka_unit_test(store_survives_each_short_write),
		cmocka_unit_test(catalog_survives_each_failed_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
