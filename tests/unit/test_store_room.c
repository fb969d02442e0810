/* SPDX-License-Identifier: Apache-2.0 */
/* How room is made for a segment: in jobs of a bounded size, and what is said. */
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

#include "base/log.h"
#include "core/limits.h"
#include "io/store_local_int.h"
#include "support/loop_fake.h"
#include "support/store_rig.h"

#define ROWS 1800u
#define STREAMS 3u
#define LOST "storage_free cannot be kept"
#define NEVER (1ull << 60) /* no disk has so much left */

static int setup(void **state)
{
	struct loop_fake_config loop = {.seed = 1};
	struct store_rig *rig = calloc(1, sizeof(*rig));

	rig_init(rig, &loop);
	*state = rig;
	return rig_open(rig);
}

static int teardown(void **state)
{
	rig_fini(*state);
	free(*state);
	return 0;
}

static unsigned int rows_of_all(struct store_rig *rig)
{
	static struct store_fragment rows[ROWS];
	unsigned int total = 0;
	unsigned int i;

	for (i = 0; i < STREAMS; i++)
		total += (unsigned int)rig_list_all(rig, i, rows, ROWS);
	return total;
}

static uint64_t disk_bytes(struct store_rig *rig)
{
	struct store_local_stats stats;

	store_local_stats(rig->local, &stats);
	return stats.disk_bytes;
}

/* All that is there is of one minute, and goes in one step. */
static void room_is_made_in_bounded_jobs(void **state)
{
	struct store_rig *rig = *state;
	struct room room = {.state = ROOM_IDLE};
	unsigned int jobs = 0;
	unsigned int before;
	unsigned int left;
	unsigned int i;
	bool over = false;

	for (i = 0; i < ROWS; i++)
		assert_int_equal(rig_put(rig, i % STREAMS, i + 1, 500, 500, i),
				 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_int_equal(rows_of_all(rig), ROWS);
	rig->local->config.bytes_max = disk_bytes(rig);
	for (before = ROWS; !over; before = left) {
		over = room_make(rig->local, &room);
		left = rows_of_all(rig);
		assert_in_range(before - left, 0, STORE_ROOM_WORK_MAX);
		jobs++;
	}
	assert_in_range(jobs, ROWS / STORE_ROOM_WORK_MAX, 20);
	assert_int_equal(left, 0);
	assert_null(room.streams);
	assert_int_equal(room.state, ROOM_IDLE);
	assert_true(disk_bytes(rig) < rig->local->config.bytes_max);
}

/* It is not wanted any more, or cannot be: between two jobs. */
static void room_is_over_between_two_jobs(void **state)
{
	struct store_rig *rig = *state;
	struct room room = {.state = ROOM_IDLE};
	uint64_t full;
	unsigned int i;

	for (i = 0; i < ROWS; i++)
		assert_int_equal(rig_put(rig, i % STREAMS, i + 1, 500, 500, i),
				 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	assert_true(room_make(rig->local, &room));
	full = disk_bytes(rig);
	rig->local->config.bytes_max = full;
	assert_false(room_make(rig->local, &room));
	rig->local->broken = -EIO;
	rig->local->retry_ns = UINT64_MAX;
	assert_true(room_make(rig->local, &room));
	assert_null(room.streams);
	rig->local->broken = 0;
	assert_false(room_make(rig->local, &room));
	assert_in_range(rows_of_all(rig), 1, ROWS);
	rig->local->config.bytes_max = 0;
	/* A step that has begun is ended. */
	while (!room_make(rig->local, &room))
		;
	assert_null(room.streams);
}

/* --- what is said --- */

static FILE *said;
static int was_stderr;

static void listen_to_log(void)
{
	said = tmpfile();
	assert_non_null(said);
	was_stderr = dup(STDERR_FILENO);
	assert_true(was_stderr >= 0);
	assert_true(dup2(fileno(said), STDERR_FILENO) >= 0);
}

static unsigned int count_said(const char *what)
{
	char line[1024];
	unsigned int n = 0;

	assert_true(dup2(was_stderr, STDERR_FILENO) >= 0);
	(void)close(was_stderr);
	rewind(said);
	while (fgets(line, sizeof(line), said))
		n += strstr(line, what) != NULL;
	(void)fclose(said);
	return n;
}

/* Some segments' worth. Return: how often storage_free was said to be lost. */
static unsigned int put_some(struct store_rig *rig, uint64_t *seq)
{
	unsigned int segments = 0;
	struct store_fragment rows[200];
	uint32_t segment = 0;
	int count;
	int i;

	listen_to_log();
	for (i = 0; i < 40; i++) {
		int r;

		++*seq;
		r = rig_put(rig, 0, *seq, 160000, 50000, *seq * 20000);
		count = r ? 0 : rig_list_all(rig, 0, rows, 200);
		if (count > 0 && rows[count - 1].segment != segment)
			segments++;
		if (count > 0)
			segment = rows[count - 1].segment;
	}
	i = (int)count_said(LOST);
	assert_true(segments >= 4);
	return (unsigned int)i;
}

static void lost_disk_is_told_once(void **state)
{
	struct store_rig *rig = *state;
	uint64_t seq = 0;

	rig_close(rig);
	rig->config.free_min = NEVER;
	listen_to_log();
	assert_int_equal(rig_open(rig), 0); /* asks for a segment */
	assert_int_equal(count_said(LOST), 1);
	assert_int_equal(put_some(rig, &seq), 0);
	/* There is room: no word. The next time it is news again. */
	rig->local->config.free_min = 1;
	assert_int_equal(put_some(rig, &seq), 0);
	rig->local->config.free_min = NEVER;
	assert_int_equal(put_some(rig, &seq), 1);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* Closed segments hold more than a job does; then cameras go on. */
static void rows_that_come_between_two_jobs_stay(void **state)
{
	struct store_rig *rig = *state;
	struct room room = {.state = ROOM_IDLE};
	static struct store_fragment rows[ROWS];
	unsigned int i;

	for (i = 0; i < ROWS; i++)
		assert_int_equal(rig_put(rig, i % STREAMS, i + 1, 500, 500, i),
				 0);
	rig_close(rig);
	assert_int_equal(rig_open(rig), 0);
	rig->local->config.free_min = NEVER;
	assert_false(room_make(rig->local, &room));
	/* What the rig asks for makes no room. */
	rig->local->config.free_min = 0;
	for (i = 0; i < 2 * STREAMS; i++)
		assert_int_equal(rig_put(rig, i % STREAMS, ROWS + 1 + i, 500,
					 500, 3600000 + i),
				 0);
	store_local_settle(rig->local);
	rig->local->config.free_min = NEVER;
	while (!room_make(rig->local, &room))
		;
	rig->local->config.free_min = 0;
	for (i = 0; i < STREAMS; i++)
		assert_int_equal(rig_list_all(rig, i, rows, ROWS), 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(room_is_made_in_bounded_jobs),
		CASE(room_is_over_between_two_jobs),
		CASE(rows_that_come_between_two_jobs_stay),
		CASE(lost_disk_is_told_once),
	};

	log_set_level(LOG_WARN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
