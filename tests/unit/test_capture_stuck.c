/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that does not return from open, start, stop or close: its user goes
 * on, is told, and may end; what was under way is taken up, or cleaned up,
 * should it return. Time is the fake's; threads are real, so nothing here is
 * measured: tests wait for what must happen.
 */
#include <capture/supervisor.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/supervisor.h"
#include "support/fake_source.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)

static struct fake_source *device;
static struct capture_source *source;
static unsigned int told[CAPTURE_EVENT_STUCK + 1];
static char stuck_text[CAPTURE_SUPERVISOR_TEXT_BYTES];

/* The gate that calls go through. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *shut_for; /* NULL: open */
	unsigned int waiting;
	unsigned int left; /* calls that were held, and are through */
	bool was_held;
	unsigned int live; /* sources, after the last call */
} gate = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

static void enter(const char *call)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (gate.shut_for && !strcmp(gate.shut_for, call)) {
		gate.waiting++;
		gate.was_held = true;
		(void)pthread_cond_broadcast(&gate.changed);
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
		gate.waiting--;
	}
	(void)pthread_mutex_unlock(&gate.lock);
}

static void leave(const char *call)
{
	(void)call;
	(void)pthread_mutex_lock(&gate.lock);
	gate.left += gate.was_held;
	gate.was_held = false;
	gate.live = device->live;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void shut(const char *call)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.shut_for = call;
	(void)pthread_mutex_unlock(&gate.lock);
}

/* Whoever was held is through when this returns. */
static void open_gate(void)
{
	unsigned int left;

	(void)pthread_mutex_lock(&gate.lock);
	left = gate.left;
	gate.shut_for = NULL;
	(void)pthread_cond_broadcast(&gate.changed);
	while (gate.left == left)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
}

/* A call is in there, or will be. */
static void wait_held(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (!gate.waiting)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void on_event(void *ctx, const struct capture_supervisor_event *event)
{
	(void)ctx;
	told[event->kind]++;
	if (event->kind == CAPTURE_EVENT_STUCK)
		memcpy(stuck_text, event->text, sizeof(stuck_text));
}

static struct capture_supervisor_config config_of(void)
{
	struct capture_supervisor_config config = {
		.source = {.path = "/dev/video0"},
		.frame_ns = 500 * MS,
		.backoff_min_ns = 100 * MS,
		.backoff_max_ns = 1 * S,
		.stable_ns = 5 * S,
		.stuck_ns = 3 * S,
		.seed = 1,
		.event = on_event,
	};

	return config;
}

static int setup(void **state)
{
	(void)state;
	memset(told, 0, sizeof(told));
	stuck_text[0] = '\0';
	device = fake_source_reset();
	gate.live = 0;
	device->enter = enter;
	device->leave = leave;
	source = NULL;
	return 0;
}

/* What is cleaned up by a thread that was left behind. */
static void wait_for_cleanup(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (gate.live)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
}

static int teardown(void **state)
{
	(void)state;
	source = capture_source_close(source);
	wait_for_cleanup();
	return device->frames != device->released;
}

static int try_open(void)
{
	struct capture_supervisor_config config = config_of();

	return supervisor_open_by(fake_source_ops(), &config, fake_source_open,
				  &source);
}

static void open_on(void)
{
	assert_int_equal(try_open(), 0);
	assert_int_equal(capture_source_start(source), 0);
}

static struct capture_frame *next(void)
{
	struct capture_frame *f = NULL;

	while (capture_source_dequeue(source, 0, &f) < 0) {
		fake_source_advance(10 * MS);
		(void)poll(NULL, 0, 1); /* threads are real */
	}
	return f;
}

/* Turns in which nothing may come. */
static void turns(uint64_t ns)
{
	struct capture_frame *f;
	uint64_t end_ns = fake_source_now_ns() + ns;

	while (fake_source_now_ns() < end_ns) {
		assert_int_equal(capture_source_dequeue(source, 0, &f),
				 -EAGAIN);
		fake_source_advance(50 * MS);
	}
}

static struct capture_supervisor_stats stats(void)
{
	struct capture_supervisor_stats s;

	assert_int_equal(capture_supervisor_stats(source, &s), 0);
	return s;
}

/* A stop that does not return, entered after a stall. */
static void hang_in(const char *call)
{
	shut(call);
	device->hang_reopen = true;
	turns(2 * S);
	wait_held();
}

static void stop_that_returns_late_is_taken_up(void **state)
{
	struct capture_source_stats before;
	struct capture_source_stats now;
	struct capture_frame *f;

	(void)state;
	open_on();
	f = next();
	capture_source_stats(source, &before);
	hang_in("stop");
	assert_int_equal(told[CAPTURE_EVENT_STUCK], 0);
	turns(3 * S);
	assert_int_equal(told[CAPTURE_EVENT_STUCK], 1);
	assert_non_null(strstr(stuck_text, "stuck in stop for 3 s"));
	turns(20 * S);
	/* Told once; nothing else is tried with it; its counters stay. */
	assert_int_equal(told[CAPTURE_EVENT_STUCK], 1);
	assert_int_equal(stats().stuck, 1);
	assert_int_equal(device->opens, 1);
	capture_source_stats(source, &now);
	assert_int_equal(now.frames, before.frames);
	/* A frame that comes back waits as well. */
	(void)capture_frame_unref(f);
	assert_int_equal(device->released, 0);
	open_gate();
	(void)capture_frame_unref(next());
	assert_int_equal(device->released, 2);
	assert_int_equal(device->opens, 2);
	assert_int_equal(told[CAPTURE_EVENT_REOPENED], 1);
	assert_true(stats().outage_ns > 20 * S);
}

static void open_that_returns_late_is_taken_up(void **state)
{
	(void)state;
	open_on();
	(void)capture_frame_unref(next());
	device->unplugged = true;
	shut("open");
	turns(1 * S);
	wait_held();
	device->unplugged = false;
	turns(5 * S);
	assert_int_equal(told[CAPTURE_EVENT_STUCK], 1);
	assert_non_null(strstr(stuck_text, "stuck in open"));
	open_gate();
	(void)capture_frame_unref(next());
	/* The very source that it opened. */
	assert_int_equal(device->opens, 2);
	assert_int_equal(device->live, 1);
}

static void start_that_returns_late_is_taken_up(void **state)
{
	(void)state;
	open_on();
	(void)capture_frame_unref(next());
	shut("start");
	device->error = -EIO;
	turns(1 * S);
	wait_held();
	assert_int_equal(told[CAPTURE_EVENT_STUCK], 0);
	device->error = 0;
	open_gate();
	(void)capture_frame_unref(next());
	assert_int_equal(device->opens, 1);
	assert_int_equal(device->starts, 2);
}

static void close_that_returns_late_is_followed_by_an_open(void **state)
{
	(void)state;
	open_on();
	(void)capture_frame_unref(next());
	shut("close");
	device->error = -EIO;
	device->stop_error = -EIO;
	turns(5 * S);
	wait_held();
	assert_int_equal(device->opens, 1);
	device->error = 0;
	device->stop_error = 0;
	open_gate();
	(void)capture_frame_unref(next());
	assert_int_equal(device->opens, 2);
}

static void user_ends_though_the_driver_does_not(void **state)
{
	struct capture_frame *f;

	(void)state;
	open_on();
	f = next();
	hang_in("stop");
	source = capture_source_close(source);
	wait_held();
	(void)capture_frame_unref(f);
	/* Should it ever return, all is given back. */
	open_gate();
	wait_for_cleanup();
}

static void user_stops_though_the_driver_does_not(void **state)
{
	(void)state;
	open_on();
	shut("stop");
	(void)capture_source_stop(source);
	wait_held();
	assert_int_equal(capture_source_start(source), 0);
	turns(1 * S);
	open_gate();
	(void)capture_frame_unref(next());
	assert_int_equal(device->opens, 2);
}

static void first_open_ends_at_its_time(void **state)
{
	struct capture_supervisor_config config = config_of();

	(void)state;
	config.stuck_ns = 50 * MS;
	shut("open");
	assert_int_equal(supervisor_open_by(fake_source_ops(), &config,
					    fake_source_open, &source),
			 -ETIMEDOUT);
	wait_held();
	assert_int_equal(device->opens, 0);
	open_gate();
}

static void times_that_cannot_be_are_refused(void **state)
{
	struct capture_supervisor_config config = config_of();

	(void)state;
	config.stuck_ns = CAPTURE_SUPERVISED_NS_MAX + 1;
	assert_int_equal(supervisor_open_by(fake_source_ops(), &config,
					    fake_source_open, &source),
			 -EINVAL);
	assert_null(source);
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(stop_that_returns_late_is_taken_up),
		CASE(open_that_returns_late_is_taken_up),
		CASE(start_that_returns_late_is_taken_up),
		CASE(close_that_returns_late_is_followed_by_an_open),
		CASE(user_ends_though_the_driver_does_not),
		CASE(user_stops_though_the_driver_does_not),
		CASE(first_open_ends_at_its_time),
		CASE(times_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
