/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows wait for each other before they go to the index: who asks sees no
 * difference, a full disk neither.
 */
#include "io/store_local.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "io/store_local_int.h"
#include "support/sqlite_fault.h"
#include "support/store_rig.h"

#define ROWS 20u
#define HANG_S 60 /* a test that waits for longer has failed */

/* The disk that SQLite sees; its reserve may be room for it. */
static struct {
	struct sys_ops sys;
	bool reserve_helps;
	unsigned int released;
	uint64_t now_ns; /* stands still */
} disk;

static int disk_unlinkat(int dir_fd, const char *path, int flags)
{
	if (!strcmp(path, "reserve")) {
		disk.released++;
		if (disk.reserve_helps)
			sqlite_fault_full(false);
	}
	return sys_posix()->unlinkat(dir_fd, path, flags);
}

static int disk_clock_gettime(clockid_t clock, struct timespec *ret_ts)
{
	(void)clock;
	ret_ts->tv_sec = (time_t)(disk.now_ns / NS_PER_S);
	ret_ts->tv_nsec = (long)(disk.now_ns % NS_PER_S);
	return 0;
}

static int no_fdatasync(int fd)
{
	(void)fd;
	return 0;
}

static int setup_any(void **state, bool threads, uint64_t segment_bytes)
{
	struct loop_fake_config config = {
		.sys = &disk.sys, .seed = 1, .threads = threads};
	struct store_rig *rig = malloc(sizeof(*rig));

	if (!rig)
		return -1;
	memset(&disk, 0, sizeof(disk));
	disk.now_ns = NS_PER_S;
	disk.sys = *sys_posix();
	disk.sys.unlinkat = disk_unlinkat;
	disk.sys.clock_gettime = disk_clock_gettime;
	disk.sys.fdatasync = no_fdatasync;
	rig_init(rig, &config);
	rig->config.segment_bytes = segment_bytes;
	*state = rig;
	if (rig_open(rig) < 0)
		return -1;
	/* A segment is made meanwhile, and the one after it. */
	if (rig_put(rig, 0, 1, 100, 100, 1000) < 0)
		return -1;
	store_local_settle(rig->local);
	return 0;
}

static int setup(void **state)
{
	return setup_any(state, false, SEGMENT_BYTES_MIN);
}

/* No other segment is wanted soon. */
static int setup_large(void **state)
{
	return setup_any(state, false, 16 * SEGMENT_BYTES_MIN);
}

static int setup_threaded(void **state)
{
	return setup_any(state, true, SEGMENT_BYTES_MIN);
}

static int teardown(void **state)
{
	struct store_rig *rig = *state;

	sqlite_fault_full(false);
	rig_fini(rig);
	free(rig);
	return 0;
}

static uint64_t pending(struct store_rig *rig)
{
	struct store_local_stats stats;

	store_local_stats(rig->local, &stats);
	return stats.rows_pending;
}

static uint64_t recovered(struct store_rig *rig)
{
	struct store_local_stats stats;

	store_local_stats(rig->local, &stats);
	return stats.recovered;
}

/* After the first, which setup() put. */
static void put_rows(struct store_rig *rig, unsigned int count)
{
	unsigned int i;

	for (i = 0; i < count; i++)
		assert_int_equal(rig_put(rig, 0, i + 2, 100, 100, 1001 + i), 0);
}

static void expect_rows(struct store_rig *rig, unsigned int count)
{
	struct store_fragment rows[ROWS + 2];
	unsigned int i;

	assert_int_equal(rig_list_all(rig, 0, rows, ROWS + 2), count);
	for (i = 0; i < count; i++)
		assert_int_equal(rows[i].number.seq, i + 1);
}

/* Return: how many rows one query finds, or its error. */
static int query(struct store_rig *rig)
{
	struct store_fragment rows[ROWS + 2];
	struct store_stream s = rig_stream(0);
	struct store_query q = {.to_ms = UINT64_MAX, .limit = ROWS + 2};

	memcpy(q.stream_id, s.id, sizeof(s.id));
	return rig_list(rig, &q, rows);
}

static void rows_wait_for_who_asks(void **state)
{
	struct store_rig *rig = *state;

	assert_int_equal(pending(rig), 0);
	put_rows(rig, ROWS);
	assert_int_equal(pending(rig), ROWS);
	expect_rows(rig, ROWS + 1);
	assert_int_equal(pending(rig), 0);
}

static void rows_are_written_together(void **state)
{
	struct store_rig *rig = *state;

	put_rows(rig, ROWS);
	sqlite_fault_arm(0, 0);
	store_local_settle(rig->local);
	assert_int_equal(pending(rig), 0);
	/* Of one alone it is eight: two for each page. */
	assert_in_range(sqlite_fault_calls(), 1, 2 * ROWS);
}

static void rows_wait_for_a_thousand_at_most(void **state)
{
	struct store_rig *rig = *state;

	put_rows(rig, INDEX_ROWS_PER_COMMIT_MAX - 1);
	assert_int_equal(pending(rig), INDEX_ROWS_PER_COMMIT_MAX - 1);
	assert_int_equal(rig_put(rig, 0, INDEX_ROWS_PER_COMMIT_MAX + 1, 100,
				 100, 9000),
			 0);
	assert_int_equal(pending(rig), 0);
}

/* Nobody asks. */
static void rows_wait_for_a_moment_at_most(void **state)
{
	struct store_rig *rig = *state;
	unsigned int tries = 0;

	put_rows(rig, ROWS);
	while (pending(rig)) {
		assert_true(++tries < HANG_S * 100);
		(void)usleep(10000);
	}
	expect_rows(rig, ROWS + 1);
}

/* A deletion sees them, and their segments go. */
static void rows_are_deleted_that_have_just_come(void **state)
{
	struct store_rig *rig = *state;
	unsigned int i;

	for (i = 0; i < 12; i++)
		assert_int_equal(rig_put(rig, 1, i + 1, 400000, 50000, 2000),
				 0);
	assert_in_range(rig_segments(rig), 4, 8);
	assert_true(pending(rig) > 0);
	assert_int_equal(rig_expire(rig, 1, 3000), 12);
	/* The first row's; the one that is written to, and the next. */
	assert_int_equal(rig_segments(rig), 3);
	expect_rows(rig, 1);
}

static void rows_are_committed_at_the_end(void **state)
{
	struct store_rig *rig = *state;

	put_rows(rig, ROWS);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(recovered(rig), 0);
	expect_rows(rig, ROWS + 1);
}

static void rows_are_replayed_when_the_end_has_no_room(void **state)
{
	struct store_rig *rig = *state;

	put_rows(rig, ROWS);
	sqlite_fault_full(true);
	rig_close(rig);
	sqlite_fault_full(false);
	assert_int_equal(disk.released, 1);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(recovered(rig), ROWS);
	expect_rows(rig, ROWS + 1);
}

/* --- a full disk --- */

static void reserve_is_room_for_rows_that_wait(void **state)
{
	struct store_rig *rig = *state;

	disk.reserve_helps = true;
	put_rows(rig, ROWS);
	sqlite_fault_full(true);
	expect_rows(rig, ROWS + 1);
	assert_int_equal(disk.released, 1);
	assert_int_equal(pending(rig), 0);
	expect_rows(rig, ROWS + 1);
}

/* Nothing is answered without what was acknowledged. */
static void query_fails_until_there_is_room(void **state)
{
	struct store_rig *rig = *state;

	put_rows(rig, ROWS);
	sqlite_fault_full(true);
	/* Applied for it, as all that is queued; then there is no room. */
	assert_int_equal(query(rig), ROWS + 1);
	assert_int_equal(pending(rig), ROWS);
	assert_int_equal(query(rig), -EIO);
	sqlite_fault_full(false);
	/* When its time has come a query tries, whatever the timer does. */
	assert_int_equal(query(rig), -EIO);
	disk.now_ns += INDEX_RETRY_NS;
	expect_rows(rig, ROWS + 1);
	assert_int_equal(pending(rig), 0);
}

static void wait_for(sem_t *s)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += HANG_S;
	assert_int_equal(sem_timedwait(s, &until), 0);
}

/* Holds the worker, so that what is queued meanwhile is one batch. */
struct hold {
	struct worker_job job;
	sem_t begun;
	sem_t go;
};

static void hold_run(struct worker_job *job)
{
	struct hold *h = container_of(job, struct hold, job);

	(void)sem_post(&h->begun);
	wait_for(&h->go);
}

struct commit {
	struct worker_job job;
	struct store_local *sl;
	int res;
};

static void commit_run(struct worker_job *job)
{
	struct commit *c = container_of(job, struct commit, job);

	sqlite_fault_full(true);
	c->res = changes_commit(c->sl);
}

struct listing {
	struct store_op op;
	struct store_fragment rows[ROWS + 2];
	bool done;
	int res;
};

static void list_done(struct store_op *op, int res)
{
	struct listing *l = container_of(op, struct listing, op);

	l->res = res;
	l->done = true;
}

/* The disk is full for rows, a query is next. Return: what it says. */
static int query_behind_a_full_disk(struct store_rig *rig)
{
	struct hold hold = {.job.run = hold_run};
	struct commit commit = {.job.run = commit_run, .sl = rig->local};
	struct store_stream s = rig_stream(0);
	struct store_query q = {.to_ms = UINT64_MAX, .limit = ROWS + 2};
	struct listing l = {.op.done = list_done};

	memcpy(q.stream_id, s.id, sizeof(s.id));
	assert_int_equal(sem_init(&hold.begun, 0, 0), 0);
	assert_int_equal(sem_init(&hold.go, 0, 0), 0);
	worker_submit(rig->local->worker, &hold.job);
	wait_for(&hold.begun);
	put_rows(rig, ROWS);
	worker_submit(rig->local->worker, &commit.job);
	store_list(rig->store, &q, l.rows, &l.op);
	(void)sem_post(&hold.go);
	assert_int_equal(loop_fake_until(rig->loop, &l.done), 0);
	(void)sem_destroy(&hold.begun);
	(void)sem_destroy(&hold.go);
	assert_int_equal(commit.res, -ENOSPC);
	assert_int_equal(disk.released, 1);
	return l.res;
}

static void query_behind_a_full_disk_has_the_reserve(void **state)
{
	disk.reserve_helps = true;
	assert_int_equal(query_behind_a_full_disk(*state), ROWS + 1);
	store_local_settle(((struct store_rig *)*state)->local);
	assert_int_equal(pending(*state), 0);
}

static void query_behind_a_full_disk_fails_without_room(void **state)
{
	assert_int_equal(query_behind_a_full_disk(*state), -EIO);
	assert_int_equal(pending(*state), ROWS);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define THREADED(f) \
	{ #f " (threaded)", f, setup_threaded, teardown, NULL }

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(rows_wait_for_who_asks),
		CASE(rows_are_written_together),
		cmocka_unit_test_setup_teardown(
			rows_wait_for_a_thousand_at_most, setup_large,
			teardown),
		THREADED(rows_wait_for_a_moment_at_most),
		CASE(rows_are_deleted_that_have_just_come),
		CASE(rows_are_committed_at_the_end),
		THREADED(rows_are_committed_at_the_end),
		CASE(rows_are_replayed_when_the_end_has_no_room),
		CASE(reserve_is_room_for_rows_that_wait),
		CASE(query_fails_until_there_is_room),
		THREADED(query_behind_a_full_disk_has_the_reserve),
		THREADED(query_behind_a_full_disk_fails_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
