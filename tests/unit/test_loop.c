/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/sys.h"
#include "core/limits.h"
#include "io/loop_uring.h"

#define TIMERS 500
#define PAIRS 64
#define ROUNDS 50

static int tick_count;

static void tick_counted(struct loop_timer *t)
{
	(void)t;
	tick_count++;
}

struct probe {
	struct loop_op op;
	struct loop *loop;
	int calls;
	int res;
	bool inside; /* set while a submitting call runs */
};

static void probe_done(struct loop_op *op, int res)
{
	struct probe *p = container_of(op, struct probe, op);

	assert_false(p->inside);
	p->calls++;
	p->res = res;
}

static void run_until(struct loop *l, const int *calls, int want)
{
	int turns;

	for (turns = 0; turns < 100000 && *calls < want; turns++)
		assert_int_equal(loop_turn(l, NS_PER_S), 0);
	assert_int_equal(*calls, want);
}

static int loop_setup(void **state)
{
	struct loop *l;
	int r = loop_uring_new(sys_posix(), 32, &l);

	if (r < 0)
		return r;
	*state = l;
	return 0;
}

static int loop_teardown(void **state)
{
	(void)loop_free(*state);
	return 0;
}

static void loop_moves_bytes_through_a_socket(void **state)
{
	struct loop *l = *state;
	struct probe rx = {.loop = l};
	struct probe tx = {.loop = l};
	char got[8] = {0};
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	rx.inside = true;
	tx.inside = true;
	loop_recv(l, &rx.op, fds[0], got, sizeof(got), probe_done);
	loop_send(l, &tx.op, fds[1], "hello", 5, probe_done);
	rx.inside = false;
	tx.inside = false;
	assert_true(loop_op_busy(&rx.op));
	run_until(l, &rx.calls, 1);
	run_until(l, &tx.calls, 1);
	assert_int_equal(rx.res, 5);
	assert_int_equal(tx.res, 5);
	assert_string_equal(got, "hello");
	(void)close(fds[1]);
	loop_recv(l, &rx.op, fds[0], got, sizeof(got), probe_done);
	run_until(l, &rx.calls, 2);
	assert_int_equal(rx.res, 0);
	(void)close(fds[0]);
}

static void loop_cancel_ends_the_operation_once(void **state)
{
	struct loop *l = *state;
	struct probe rx = {.loop = l};
	char got[8];
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	loop_recv(l, &rx.op, fds[0], got, sizeof(got), probe_done);
	assert_int_equal(loop_turn(l, 0), 0);
	loop_cancel(l, &rx.op);
	run_until(l, &rx.calls, 1);
	assert_int_equal(rx.res, -ECANCELED);
	loop_cancel(l, &rx.op); /* idle: no-op */
	assert_int_equal(loop_turn(l, 0), 0);
	assert_int_equal(rx.calls, 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void loop_write_sync_reports_length_and_errors(void **state)
{
	struct loop *l = *state;
	struct probe w = {.loop = l};
	char path[] = "/tmp/kvsd-loop-XXXXXX";
	char back[6] = {0};
	int fd = mkstemp(path);
	int ro;

	assert_true(fd >= 0);
	loop_write_sync(l, &w.op, fd, "abcde", 5, 3, probe_done);
	run_until(l, &w.calls, 1);
	assert_int_equal(w.res, 5);
	assert_int_equal(pread(fd, back, 5, 3), 5);
	assert_string_equal(back, "abcde");
	ro = open(path, O_RDONLY);
	loop_write_sync(l, &w.op, ro, "abcde", 5, 0, probe_done);
	run_until(l, &w.calls, 2);
	assert_int_equal(w.res, -EBADF);
	(void)close(ro);
	(void)close(fd);
	(void)unlink(path);
}

struct tick {
	struct loop_timer timer;
	struct loop *loop;
	uint64_t *last_ns;
	int *calls;
};

static void tick_fired(struct loop_timer *t)
{
	struct tick *k = container_of(t, struct tick, timer);

	assert_true(t->expires_ns <= loop_now_ns(k->loop));
	assert_true(t->expires_ns >= *k->last_ns); /* in order of time */
	*k->last_ns = t->expires_ns;
	(*k->calls)++;
}

static void loop_timers_fire_in_order_when_shuffled(void **state)
{
	struct loop *l = *state;
	struct tick ticks[TIMERS];
	uint64_t base = loop_now_ns(l);
	uint64_t last = 0;
	uint32_t rng = 12345;
	int cancelled = 0;
	int calls = 0;
	size_t i;

	memset(ticks, 0, sizeof(ticks));
	for (i = 0; i < TIMERS; i++) {
		ticks[i].loop = l;
		ticks[i].last_ns = &last;
		ticks[i].calls = &calls;
		rng = rng * 1664525u + 1013904223u;
		assert_int_equal(loop_timer_set(l, &ticks[i].timer,
						base + (rng >> 16) % 2000,
						tick_fired),
				 0);
	}
	for (i = 0; i < TIMERS; i += 7) {
		loop_timer_cancel(l, &ticks[i].timer);
		cancelled++;
	}
	for (i = 1; i < TIMERS; i += 7)
		assert_int_equal(loop_timer_set(l, &ticks[i].timer, base + i,
						tick_fired),
				 0);
	run_until(l, &calls, TIMERS - cancelled);
	assert_int_equal(l->timer_count, 0);
}

struct job {
	struct loop_task task;
	int *calls;
	pthread_t ran_on;
};

static void job_run(struct loop_task *task)
{
	struct job *j = container_of(task, struct job, task);

	j->ran_on = pthread_self();
	(*j->calls)++;
}

struct poster {
	struct loop *loop;
	struct job jobs[1000];
};

static void *post_all(void *arg)
{
	struct poster *p = arg;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(p->jobs); i++)
		loop_post(p->loop, &p->jobs[i].task);
	return NULL;
}

static void loop_post_runs_each_task_once_on_the_loop_thread(void **state)
{
	struct poster *p = calloc(1, sizeof(*p));
	pthread_t thread;
	int calls = 0;
	size_t i;

	assert_non_null(p);
	p->loop = *state;
	for (i = 0; i < ARRAY_SIZE(p->jobs); i++) {
		p->jobs[i].task.run = job_run;
		p->jobs[i].calls = &calls;
	}
	assert_int_equal(pthread_create(&thread, NULL, post_all, p), 0);
	run_until(p->loop, &calls, (int)ARRAY_SIZE(p->jobs));
	(void)pthread_join(thread, NULL);
	for (i = 0; i < ARRAY_SIZE(p->jobs); i++)
		assert_true(pthread_equal(p->jobs[i].ran_on, pthread_self()));
	free(p);
}

static void loop_takes_more_operations_than_its_queue_holds(void **state)
{
	static struct probe many[300];
	static char bytes[300];
	struct loop *l = *state;
	char path[] = "/tmp/kvsd-loop-XXXXXX";
	int fd = mkstemp(path);
	size_t i;

	memset(many, 0, sizeof(many));
	assert_true(fd >= 0);
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		bytes[i] = (char)('a' + i % 26);
		loop_write_sync(l, &many[i].op, fd, &bytes[i], 1, i,
				probe_done);
	}
	for (i = 0; i < ARRAY_SIZE(many); i++) {
		run_until(l, &many[i].calls, 1);
		assert_int_equal(many[i].res, 1);
	}
	(void)close(fd);
	(void)unlink(path);
}

struct pair {
	struct probe probe;
	int fds[2];
	uint8_t byte;
};

static void pair_send(struct pair *p, uint8_t byte)
{
	assert_int_equal(write(p->fds[1], &byte, 1), 1);
}

static void pair_listen(struct loop *l, struct pair *p)
{
	loop_recv(l, &p->probe.op, p->fds[0], &p->byte, 1, probe_done);
}

/* Waiting for several completions must not keep a lone one, or a timer. */
static void loop_answers_one_after_many(void **state)
{
	struct loop *l = *state;
	struct pair pairs[PAIRS];
	struct loop_timer timer = {.slot = 0};
	int round;
	int i;

	memset(pairs, 0, sizeof(pairs));
	for (i = 0; i < PAIRS; i++) {
		assert_int_equal(
			socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i].fds), 0);
		pair_listen(l, &pairs[i]);
	}
	for (round = 1; round <= ROUNDS; round++) {
		for (i = 0; i < PAIRS; i++)
			pair_send(&pairs[i], (uint8_t)round);
		for (i = 0; i < PAIRS; i++) {
			run_until(l, &pairs[i].probe.calls, round);
			assert_int_equal(pairs[i].probe.res, 1);
			assert_int_equal(pairs[i].byte, round);
			pair_listen(l, &pairs[i]);
		}
	}
	pair_send(&pairs[0], 200);
	run_until(l, &pairs[0].probe.calls, ROUNDS + 1);
	assert_int_equal(pairs[0].byte, 200);
	tick_count = 0;
	assert_int_equal(loop_timer_set(l, &timer, loop_now_ns(l) + NS_PER_MS,
					tick_counted),
			 0);
	run_until(l, &tick_count, 1);
	for (i = 0; i < PAIRS; i++) {
		loop_cancel(l, &pairs[i].probe.op);
		if (i)
			run_until(l, &pairs[i].probe.calls, ROUNDS + 1);
		assert_int_equal(close(pairs[i].fds[0]), 0);
		assert_int_equal(close(pairs[i].fds[1]), 0);
	}
}

static void loop_spare_goes_to_who_asks_next(void **state)
{
	struct loop *l = *state;
	size_t bytes = 1;
	void *first = malloc(100);
	void *second = malloc(200);
	void *third = malloc(300);

	assert_null(loop_spare_take(l, &bytes));
	assert_int_equal(bytes, 0);
	loop_spare_give(l, first, 100);
	loop_spare_give(l, second, 200);
	loop_spare_give(l, third, 300); /* two are enough: freed */
	assert_ptr_equal(loop_spare_take(l, &bytes), second);
	assert_int_equal(bytes, 200);
	free(second);
	assert_ptr_equal(loop_spare_take(l, &bytes), first);
	assert_int_equal(bytes, 100);
	assert_null(loop_spare_take(l, &bytes));
	loop_spare_give(l, first, 100); /* freed with the loop */
}

/* --- recv_many --- */

struct receiver {
	struct loop_op op;
	struct loop *loop;
	int fd;
	int bytes; /* each one more than the one before */
	int ends;
	int restarts;
	int res; /* the last */
};

static void receiver_done(struct loop_op *op, int res)
{
	struct receiver *r = container_of(op, struct receiver, op);
	int i;

	for (i = 0; i < res; i++)
		assert_int_equal(op->bytes[i], (uint8_t)r->bytes++);
	r->res = res;
	if (loop_op_busy(op))
		return;
	if (res > 0 || res == -ENOBUFS || res == -EAGAIN) {
		r->restarts++;
		loop_recv_many(r->loop, op, r->fd, receiver_done);
	} else {
		r->ends++;
	}
}

static int loop_setup_plain(void **state)
{
	int r = loop_setup(state);

	if (r == 0)
		loop_uring_recv_plain(*state);
	return r;
}

static void send_count(int fd, int *sent, int count)
{
	while (count--) {
		uint8_t byte = (uint8_t)(*sent)++;

		assert_int_equal(write(fd, &byte, 1), 1);
	}
}

/* Packets, so that each takes a buffer: more of them than there are. */
static void loop_receives_on_when_buffers_run_out(void **state)
{
	struct receiver r = {.loop = *state};
	int sent = 0;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	r.fd = fds[0];
	loop_recv_many(r.loop, &r.op, r.fd, receiver_done);
	send_count(fds[1], &sent, 3);
	run_until(r.loop, &r.bytes, 3);
	send_count(fds[1], &sent, 100);
	run_until(r.loop, &r.bytes, 103);
	assert_true(loop_op_busy(&r.op));
	assert_true(r.restarts > 0);
	send_count(fds[1], &sent, 1);
	run_until(r.loop, &r.bytes, 104);
	(void)close(fds[1]);
	run_until(r.loop, &r.ends, 1);
	assert_int_equal(r.res, 0);
	assert_false(loop_op_busy(&r.op));
	(void)close(fds[0]);
}

static void loop_cancel_ends_a_receive_that_goes_on(void **state)
{
	struct receiver r[2] = {{.loop = *state}, {.loop = *state}};
	int sent[2] = {0, 0};
	int fds[2][2];
	int i;

	for (i = 0; i < 2; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]),
				 0);
		r[i].fd = fds[i][0];
		loop_recv_many(r[i].loop, &r[i].op, r[i].fd, receiver_done);
		send_count(fds[i][1], &sent[i], 1);
		run_until(r[i].loop, &r[i].bytes, 1);
	}
	/* What has arrived by then comes before the end, or not at all. */
	send_count(fds[0][1], &sent[0], 1);
	loop_cancel(r[0].loop, &r[0].op);
	while (!r[0].ends && r[0].bytes < 2)
		assert_int_equal(loop_turn(r[0].loop, NS_PER_S), 0);
	loop_cancel(r[0].loop, &r[0].op);
	run_until(r[0].loop, &r[0].ends, 1);
	assert_int_equal(r[0].res, -ECANCELED);
	send_count(fds[1][1], &sent[1], 1);
	run_until(r[1].loop, &r[1].bytes, 2);
	loop_cancel(r[1].loop, &r[1].op);
	run_until(r[1].loop, &r[1].ends, 1);
	assert_int_equal(r[0].ends, 1);
	for (i = 0; i < 4; i++)
		(void)close(fds[i / 2][i % 2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			loop_moves_bytes_through_a_socket, loop_setup,
			loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_cancel_ends_the_operation_once, loop_setup,
			loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_write_sync_reports_length_and_errors, loop_setup,
			loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_timers_fire_in_order_when_shuffled, loop_setup,
			loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_post_runs_each_task_once_on_the_loop_thread,
			loop_setup, loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_takes_more_operations_than_its_queue_holds,
			loop_setup, loop_teardown),
		cmocka_unit_test_setup_teardown(loop_answers_one_after_many,
						loop_setup, loop_teardown),
		cmocka_unit_test_setup_teardown(loop_spare_goes_to_who_asks_next,
						loop_setup, loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_receives_on_when_buffers_run_out, loop_setup,
			loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_receives_on_when_buffers_run_out, loop_setup_plain,
			loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_cancel_ends_a_receive_that_goes_on, loop_setup,
			loop_teardown),
		cmocka_unit_test_setup_teardown(
			loop_cancel_ends_a_receive_that_goes_on,
			loop_setup_plain, loop_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
