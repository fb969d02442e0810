/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/supervisor.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <capture/encoder.h>

#include "base/macros.h"
#include "src/supervisor.h"
#include "support/fake_source.h"
#include "support/fake_v4l2.h"
#include "support/sys_fault.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define EVENTS_MAX 256

static struct fake_source *device;
static struct capture_source *source;

static struct {
	struct capture_supervisor_event events[EVENTS_MAX];
	unsigned int count;
} seen;

static void on_event(void *ctx, const struct capture_supervisor_event *event)
{
	(void)ctx;
	assert_true(seen.count < EVENTS_MAX);
	assert_non_null(event->stats);
	assert_true(strlen(event->text) > 0);
	seen.events[seen.count++] = *event;
}

/* How often a kind was told. */
static unsigned int told(enum capture_supervisor_kind kind)
{
	unsigned int n = 0;
	unsigned int i;

	for (i = 0; i < seen.count; i++)
		n += seen.events[i].kind == kind;
	return n;
}

static const struct capture_supervisor_event *
last_of(enum capture_supervisor_kind kind)
{
	unsigned int i = seen.count;

	while (i--) {
		if (seen.events[i].kind == kind)
			return &seen.events[i];
	}
	fail_msg("no event of kind %s", capture_supervisor_kind_name(kind));
	return NULL;
}

static struct capture_supervisor_config config_of(void)
{
	struct capture_supervisor_config config = {
		.source = {.path = "/dev/video0", .track_id = 7},
		.frame_ns = 500 * MS,
		.backoff_min_ns = 100 * MS,
		.backoff_max_ns = 8 * S,
		.stable_ns = 5 * S,
		.signal_ns = 400 * MS,
		.seed = 1,
		.event = on_event,
	};

	return config;
}

static int setup(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	device = fake_source_reset();
	sys_fault_reset();
	sys_fault_wrap(fake_source_ops());
	source = NULL;
	return 0;
}

/* Every test closes what it opened: nothing may be left. */
static int teardown(void **state)
{
	(void)state;
	source = capture_source_close(source);
	return sys_fault_open_fds() || sys_fault_open_maps() || device->live ||
	       device->frames != device->released;
}

static void open_with(const struct capture_supervisor_config *config)
{
	assert_int_equal(supervisor_open_by(sys_fault(), config,
					    fake_source_open, &source),
			 0);
	assert_int_equal(capture_source_start(source), 0);
}

static void open_default(void)
{
	struct capture_supervisor_config config = config_of();

	open_with(&config);
}

static uint64_t in(uint64_t ns)
{
	return fake_source_now_ns() + ns;
}

static struct capture_frame *next(uint64_t within_ns)
{
	struct capture_frame *f;
	uint64_t deadline = in(within_ns);

	assert_int_equal(capture_source_dequeue(source, deadline, &f), 0);
	assert_true(fake_source_now_ns() <= deadline + device->open_ns);
	return f;
}

/* Takes frames for some time; the number of them. */
static unsigned int run(uint64_t ns)
{
	uint64_t end = in(ns);
	struct capture_frame *f;
	unsigned int n = 0;

	while (fake_source_now_ns() < end) {
		int r = capture_source_dequeue(source, end, &f);

		if (r == -ETIMEDOUT)
			break;
		assert_int_equal(r, 0);
		(void)capture_frame_unref(f);
		n++;
	}
	return n;
}

static struct capture_supervisor_stats stats_of(void)
{
	struct capture_supervisor_stats stats;

	assert_int_equal(capture_supervisor_stats(source, &stats), 0);
	return stats;
}

/* --- configuration ------------------------------------------------------ */

static int refused(const struct capture_supervisor_config *config)
{
	struct capture_source *s = NULL;
	int r = supervisor_open_by(sys_fault(), config, fake_source_open, &s);

	assert_null(s);
	return r;
}

static void supervisor_refuses_what_would_spin(void **state)
{
	struct capture_supervisor_config config = config_of();

	(void)state;
	config.backoff_min_ns = 1;
	assert_int_equal(refused(&config), -EINVAL);
	config = config_of();
	config.backoff_max_ns = config.backoff_min_ns - 1;
	assert_int_equal(refused(&config), -EINVAL);
	config = config_of();
	config.signal_ns = 1 * MS;
	assert_int_equal(refused(&config), -EINVAL);
	config = config_of();
	config.match = "";
	assert_int_equal(refused(&config), -EINVAL);
	config = config_of();
	config.blank_label = "a label that is longer than a label may be";
	assert_int_equal(refused(&config), -EINVAL);
	assert_int_equal(device->opens, 0);
}

static void supervisor_needs_its_first_open(void **state)
{
	struct capture_supervisor_config config = config_of();

	(void)state;
	device->unplugged = true;
	assert_int_equal(refused(&config), -ENODEV);
}

static void supervisor_stats_are_of_supervisors(void **state)
{
	struct capture_source_config config = {.path = "/dev/video0"};
	struct capture_supervisor_stats stats;
	struct capture_source *plain;

	(void)state;
	assert_int_equal(fake_source_open(sys_fault(), &config, &plain), 0);
	assert_int_equal(capture_supervisor_stats(plain, &stats), -EINVAL);
	(void)capture_source_close(plain);
}

/* --- frames ------------------------------------------------------------- */

static void supervisor_passes_frames_on(void **state)
{
	struct capture_source_stats stats;
	struct capture_frame *f;
	unsigned int i;

	(void)state;
	open_default();
	assert_int_equal(capture_source_format(source)->width, 64);
	for (i = 0; i < 100; i++) {
		f = next(S);
		assert_int_equal(f->sequence, i);
		assert_int_equal(f->epoch, 0);
		assert_int_equal(f->track_id, 7);
		assert_int_equal(f->flags, 0);
		(void)capture_frame_unref(f);
	}
	assert_int_equal(seen.count, 0);
	capture_source_stats(source, &stats);
	assert_int_equal(stats.frames, 100);
	/* The timer is not set for every frame. */
	assert_in_range(device->timer_sets, 1, 20);
}

static void supervisor_keeps_a_deadline(void **state)
{
	struct capture_frame *f;
	uint64_t deadline;

	(void)state;
	open_default();
	(void)capture_frame_unref(next(S));
	deadline = in(10 * MS);
	assert_int_equal(capture_source_dequeue(source, 0, &f), -EAGAIN);
	assert_int_equal(capture_source_dequeue(source, deadline, &f),
			 -ETIMEDOUT);
	assert_int_equal(fake_source_now_ns(), deadline);
	/* Also one that is over, and without a device. */
	device->unplugged = true;
	assert_int_equal(capture_source_dequeue(source, deadline, &f),
			 -ETIMEDOUT);
	deadline = in(20 * MS);
	assert_int_equal(capture_source_dequeue(source, deadline, &f),
			 -ETIMEDOUT);
	assert_true(fake_source_now_ns() <= deadline + 1 * MS);
}

static void supervisor_is_off_until_started(void **state)
{
	struct capture_frame *f;

	(void)state;
	open_default();
	assert_int_equal(capture_source_start(source), -EBUSY);
	assert_int_equal(capture_source_stop(source), 0);
	assert_int_equal(capture_source_stop(source), 0);
	assert_int_equal(capture_source_dequeue(source, in(S), &f), -EBUSY);
	assert_int_equal(device->timer_ns, 0);
	assert_false(fake_source_poll(10 * S));
	assert_int_equal(capture_source_start(source), 0);
	f = next(S);
	assert_int_equal(f->epoch, 0); /* the first that was seen */
	(void)capture_frame_unref(f);
}

static void supervisor_is_not_stalled_by_its_user(void **state)
{
	struct capture_frame *held[FAKE_SOURCE_BUFFERS];
	struct capture_frame *f;
	unsigned int i;

	(void)state;
	open_default();
	for (i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = next(S);
	/* The user sits on all frames, asking or not. */
	assert_int_equal(capture_source_dequeue(source, 0, &f), -ENOBUFS);
	fake_source_advance(10 * S);
	for (i = 0; i < ARRAY_SIZE(held); i++)
		(void)capture_frame_unref(held[i]);
	device->hang = true; /* nothing had time to come */
	assert_int_equal(capture_source_dequeue(source, 0, &f), -EAGAIN);
	assert_int_equal(seen.count, 0);
	device->hang = false;
	(void)capture_frame_unref(next(S));
	assert_int_equal(seen.count, 0);
}

/* A user who was away finds frames waiting, and no stall. */
static void supervisor_looks_before_it_judges(void **state)
{
	(void)state;
	open_default();
	fake_source_advance(60 * S);
	(void)capture_frame_unref(next(S));
	assert_int_equal(seen.count, 0);
}

static void supervised_frames_outlive_all(void **state)
{
	struct capture_frame *held[3];

	(void)state;
	open_default();
	held[0] = next(S);
	device->hang_reopen = true;
	held[1] = next(10 * S);
	assert_int_equal(told(CAPTURE_EVENT_REOPENED), 1);
	assert_int_equal(held[1]->epoch, 1);
	held[2] = capture_frame_ref(held[1]);
	source = capture_source_close(source);
	assert_int_equal(device->live, 2); /* closed, and kept for frames */
	assert_int_equal(held[0]->sequence, 0);
	(void)capture_frame_unref(held[0]);
	(void)capture_frame_unref(held[1]);
	assert_int_equal(device->live, 1);
	(void)capture_frame_unref(held[2]);
	assert_int_equal(device->live, 0);
}

/* What restarts leave with the user is bounded, and said. */
static void supervisor_bounds_what_is_out(void **state)
{
	struct capture_frame *held[CAPTURE_SUPERVISED_OUT_MAX];
	struct capture_frame *f;
	unsigned int i;

	(void)state;
	open_default();
	for (i = 0; i < ARRAY_SIZE(held); i++) {
		held[i] = next(60 * S);
		device->hang_reopen = true;
	}
	device->hang_reopen = false;
	assert_int_equal(capture_source_dequeue(source, in(S), &f), -ENOBUFS);
	assert_int_equal(capture_source_dequeue(source, 0, &f), -ENOBUFS);
	/* Frames wait, but waking the user for them would be in vain. */
	fake_source_advance(FAKE_SOURCE_FRAME_NS);
	assert_false(fake_source_poll(1 * MS));
	(void)capture_frame_unref(held[0]);
	assert_true(fake_source_poll(1 * MS));
	held[0] = next(60 * S);
	for (i = 0; i < ARRAY_SIZE(held); i++)
		(void)capture_frame_unref(held[i]);
}

/* --- stalls ------------------------------------------------------------- */

static void stall_is_mended_by_a_restart(void **state)
{
	struct capture_source_stats stats;
	struct capture_frame *f;

	(void)state;
	open_default();
	(void)capture_frame_unref(next(S));
	device->hang_restart = true;
	f = next(S); /* 500 ms to see it, 40 ms for a frame */
	assert_int_equal(f->epoch, 1);
	assert_int_equal(f->sequence, 0);
	(void)capture_frame_unref(f);
	assert_int_equal(told(CAPTURE_EVENT_STALLED), 1);
	assert_int_equal(told(CAPTURE_EVENT_RESTARTED), 1);
	assert_int_equal(seen.count, 2);
	assert_int_equal(device->opens, 1);
	assert_int_equal(stats_of().restarts, 1);
	assert_int_equal(stats_of().outage_ns, 40 * MS);
	capture_source_stats(source, &stats);
	assert_int_equal(stats.frames, 2);
}

static void stall_is_mended_by_a_reopen(void **state)
{
	struct capture_source_stats stats;
	struct capture_frame *f;

	(void)state;
	open_default();
	assert_true(run(S) > 20);
	device->hang_reopen = true;
	f = next(2 * S);
	assert_int_equal(f->epoch, 1);
	(void)capture_frame_unref(f);
	assert_int_equal(told(CAPTURE_EVENT_STALLED), 2);
	assert_int_equal(told(CAPTURE_EVENT_REOPENED), 1);
	assert_int_equal(device->opens, 2);
	assert_true(last_of(CAPTURE_EVENT_STALLED)->wait_ns >= 100 * MS);
	assert_true(last_of(CAPTURE_EVENT_STALLED)->wait_ns <= 200 * MS);
	/* Counters are of both. */
	capture_source_stats(source, &stats);
	assert_int_equal(stats.frames, device->frames);
}

static void stall_backs_off_and_forgets_when_stable(void **state)
{
	uint64_t waits[16];
	unsigned int i;

	(void)state;
	open_default();
	device->hang = true;
	assert_int_equal(run(120 * S), 0);
	/* Never a tight loop: some 8 s each once it has settled. */
	assert_in_range(device->opens, 12, 30);
	for (i = 2; i < 10; i++)
		waits[i] = device->open_at_ns[i] - device->open_at_ns[i - 1];
	assert_true(waits[2] < 1200 * MS);
	assert_true(waits[9] > 4 * S);
	assert_true(waits[9] <= 8 * S + 600 * MS);
	device->hang = false;
	assert_true(run(20 * S) > 200); /* after what was left of a wait */
	assert_int_equal(last_of(CAPTURE_EVENT_REOPENED)->error, 0);
	/* Stable: the next stall begins with a restart and a short wait. */
	seen.count = 0;
	device->hang_reopen = true;
	(void)capture_frame_unref(next(2 * S));
	assert_int_equal(told(CAPTURE_EVENT_RESTARTED), 1);
	assert_int_equal(last_of(CAPTURE_EVENT_REOPENED)->attempt, 1);
}

/* A device that gives a frame and fails, and so on, is not hammered. */
static void flapping_device_is_not_hammered(void **state)
{
	uint64_t end;

	(void)state;
	open_default();
	end = in(60 * S);
	while (fake_source_now_ns() < end) {
		struct capture_frame *f;

		if (capture_source_dequeue(source, end, &f) == 0) {
			(void)capture_frame_unref(f);
			device->error = -EIO;
		}
	}
	assert_in_range(device->opens, 5, 20);
	assert_int_equal(stats_of().restarts, 1);
}

static void jitter_follows_its_seed(void **state)
{
	struct capture_supervisor_config config = config_of();
	uint64_t at[3];
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		config.seed = i == 2 ? 99 : 5;
		device = fake_source_reset();
		sys_fault_wrap(fake_source_ops());
		open_with(&config);
		device->unplugged = true;
		(void)run(5 * S);
		at[i] = device->open_at_ns[4];
		source = capture_source_close(source);
	}
	assert_int_equal(at[0], at[1]);
	assert_int_not_equal(at[0], at[2]);
}

static void failure_that_a_restart_mends(void **state)
{
	(void)state;
	open_default();
	(void)run(S);
	device->error = -EIO;
	(void)capture_frame_unref(next(S));
	assert_int_equal(last_of(CAPTURE_EVENT_FAILED)->error, -EIO);
	assert_int_equal(told(CAPTURE_EVENT_RESTARTED), 1);
	assert_int_equal(device->opens, 1);
}

static void failure_that_a_stop_does_not_survive(void **state)
{
	(void)state;
	open_default();
	(void)run(S);
	device->stop_error = -EIO;
	device->error = -EPROTO;
	(void)capture_frame_unref(next(2 * S));
	assert_int_equal(device->opens, 2);
	assert_int_equal(told(CAPTURE_EVENT_REOPENED), 1);
}

static void start_that_fails_is_tried_again(void **state)
{
	struct capture_supervisor_config config = config_of();

	(void)state;
	device->start_error = -ENOSPC;
	open_with(&config);
	assert_int_equal(last_of(CAPTURE_EVENT_FAILED)->error, -ENOSPC);
	assert_int_equal(run(2 * S), 0);
	assert_int_equal(last_of(CAPTURE_EVENT_GAVE_UP_ATTEMPT)->error,
			 -ENOSPC);
	device->start_error = 0;
	(void)capture_frame_unref(next(8 * S));
	/* No memory of attempts stays. */
	assert_int_equal(device->live, 1);
}

/* --- unplugged ---------------------------------------------------------- */

static void unplugged_device_is_found_again(void **state)
{
	struct capture_frame *f;

	(void)state;
	open_default();
	(void)run(S);
	device->unplugged = true;
	assert_int_equal(run(30 * S), 0);
	assert_int_equal(told(CAPTURE_EVENT_UNPLUGGED), 1);
	assert_true(told(CAPTURE_EVENT_GAVE_UP_ATTEMPT) > 5);
	assert_true(stats_of().outage_ns > 29 * S);
	device->unplugged = false;
	f = next(8 * S);
	assert_int_equal(f->track_id, 7);
	assert_int_equal(f->epoch, 1);
	(void)capture_frame_unref(f);
	assert_int_equal(told(CAPTURE_EVENT_REPLUGGED), 1);
	assert_int_equal(told(CAPTURE_EVENT_REOPENED), 0);
	assert_int_equal(stats_of().unplugged, 1);
}

static int resolve(void *ctx, char path[CAPTURE_SUPERVISOR_PATH_BYTES])
{
	int *number = ctx;

	if (*number < 0)
		return -ENODEV;
	(void)snprintf(path, CAPTURE_SUPERVISOR_PATH_BYTES, "/dev/video%d",
		       *number);
	return 0;
}

static void resolver_finds_the_new_path(void **state)
{
	struct capture_supervisor_config config = config_of();
	int number = 3;

	(void)state;
	config.resolve = resolve;
	config.event = NULL;
	config.ctx = &number;
	open_with(&config);
	assert_string_equal(device->path, "/dev/video3");
	number = -1;
	device->unplugged = true;
	assert_int_equal(run(3 * S), 0);
	assert_int_equal(device->opens, 1); /* nothing to open */
	number = 5;
	device->unplugged = false;
	(void)capture_frame_unref(next(8 * S));
	assert_string_equal(device->path, "/dev/video5");
}

/* So that a resolver which prepares the device knows when to do it again. */
static int resolve_after_telling(void *ctx,
				 char path[CAPTURE_SUPERVISOR_PATH_BYTES])
{
	unsigned int *asked = ctx;

	assert_int_equal(told(CAPTURE_EVENT_UNPLUGGED) +
				 told(CAPTURE_EVENT_GAVE_UP_ATTEMPT),
			 *asked);
	(*asked)++;
	(void)snprintf(path, CAPTURE_SUPERVISOR_PATH_BYTES, "/dev/video0");
	return 0;
}

static void failed_open_is_told_before_the_next(void **state)
{
	struct capture_supervisor_config config = config_of();
	unsigned int asked = 0;

	(void)state;
	config.resolve = resolve_after_telling;
	config.ctx = &asked;
	open_with(&config);
	device->unplugged = true;
	assert_int_equal(run(3 * S), 0);
	device->unplugged = false;
	device->start_error = -EPIPE; /* links that lead nowhere */
	assert_int_equal(run(5 * S), 0);
	device->start_error = 0;
	(void)capture_frame_unref(next(9 * S));
	assert_true(asked > 4);
	assert_int_equal(told(CAPTURE_EVENT_REPLUGGED), 1);
}

/* Of the library's own sources, by card or bus. */
static void match_must_match(void **state)
{
	struct capture_supervisor_config config = config_of();
	struct fake_v4l2 *camera;

	(void)state;
	fake_v4l2_reset();
	sys_fault_wrap(fake_v4l2_ops());
	camera = fake_v4l2_add(FAKE_CAMERA);
	config.match = "no such card";
	assert_int_equal(capture_supervisor_open(sys_fault(), &config, &source),
			 -ENODEV);
	assert_null(source);
	assert_int_equal(camera->opens, 0);
}

/* --- formats ------------------------------------------------------------ */

static void format_change_is_taken_and_told(void **state)
{
	struct capture_frame *f;

	(void)state;
	open_default();
	(void)run(S);
	device->format.width = 128;
	device->format.stride[0] = 128;
	device->format.size[0] *= 2;
	device->stale = true;
	f = next(2 * S);
	assert_int_equal(f->width, 128);
	assert_int_equal(f->epoch, 1);
	(void)capture_frame_unref(f);
	assert_int_equal(capture_source_format(source)->width, 128);
	assert_int_equal(told(CAPTURE_EVENT_FORMAT_CHANGED), 1);
	assert_int_equal(last_of(CAPTURE_EVENT_FORMAT_CHANGED)->error, 0);
	assert_non_null(strstr(last_of(CAPTURE_EVENT_FORMAT_CHANGED)->text,
			       "is now 128x48 YU12"));
}

static void format_change_is_refused_until_it_is_back(void **state)
{
	struct capture_supervisor_config config = config_of();

	(void)state;
	config.refuse_format_change = 1;
	open_with(&config);
	(void)run(S);
	device->format.height = 96;
	device->stale = true;
	assert_int_equal(run(20 * S), 0);
	assert_int_equal(told(CAPTURE_EVENT_FORMAT_CHANGED), 1); /* once */
	assert_int_equal(last_of(CAPTURE_EVENT_FORMAT_CHANGED)->error,
			 -EPROTONOSUPPORT);
	assert_int_equal(capture_source_format(source)->height, 48);
	device->format.height = 48;
	device->format.rate_num = 30; /* that alone does not matter */
	(void)capture_frame_unref(next(8 * S));
	assert_int_equal(capture_source_format(source)->rate_num, 30);
	assert_int_equal(last_of(CAPTURE_EVENT_FORMAT_CHANGED)->error, 0);
}

/* --- signal ------------------------------------------------------------- */

static void signal_loss_is_told_by_cause(void **state)
{
	struct capture_frame *f;

	(void)state;
	open_default();
	(void)run(S);
	device->signal = CAPTURE_SIGNAL_NONE;
	assert_int_equal(run(3 * S), 0);
	assert_int_equal(last_of(CAPTURE_EVENT_SIGNAL_LOST)->signal,
			 CAPTURE_SIGNAL_NONE);
	device->signal = CAPTURE_SIGNAL_NO_LOCK;
	assert_int_equal(run(3 * S), 0);
	assert_int_equal(last_of(CAPTURE_EVENT_SIGNAL_LOST)->signal,
			 CAPTURE_SIGNAL_NO_LOCK);
	assert_int_equal(told(CAPTURE_EVENT_SIGNAL_LOST), 2);
	assert_int_equal(stats_of().signal_losses, 1);
	device->signal = CAPTURE_SIGNAL_OK;
	f = next(S); /* it is asked for every 400 ms at least */
	assert_int_equal(f->epoch, 1);
	(void)capture_frame_unref(f);
	assert_int_equal(told(CAPTURE_EVENT_SIGNAL_BACK), 1);
	assert_int_equal(device->opens, 1);
}

/* Receivers that send noise are asked. */
static void signal_loss_is_seen_behind_noise(void **state)
{
	(void)state;
	open_default();
	device->noise = true;
	(void)run(S);
	device->signal = CAPTURE_SIGNAL_NO_CABLE;
	assert_true(run(S) < 12);
	assert_int_equal(last_of(CAPTURE_EVENT_SIGNAL_LOST)->signal,
			 CAPTURE_SIGNAL_NO_CABLE);
	assert_int_equal(run(S), 0);
	device->signal = CAPTURE_SIGNAL_OK;
	assert_true(run(S) > 5);
}

static void signal_that_comes_back_otherwise(void **state)
{
	(void)state;
	open_default();
	(void)run(S);
	device->signal = CAPTURE_SIGNAL_NONE;
	(void)run(S);
	device->stale = true;
	device->format.width = 32;
	device->signal = CAPTURE_SIGNAL_OK;
	(void)capture_frame_unref(next(3 * S));
	assert_int_equal(device->opens, 2);
	assert_int_equal(told(CAPTURE_EVENT_SIGNAL_BACK), 1);
	assert_int_equal(told(CAPTURE_EVENT_FORMAT_CHANGED), 1);
}

static void unplugged_while_the_signal_was_lost(void **state)
{
	(void)state;
	open_default();
	(void)run(S);
	device->signal = CAPTURE_SIGNAL_NONE;
	(void)run(S);
	device->unplugged = true;
	(void)run(3 * S);
	assert_int_equal(told(CAPTURE_EVENT_UNPLUGGED), 1);
	device->unplugged = false;
	(void)run(3 * S);
	assert_int_equal(told(CAPTURE_EVENT_SIGNAL_LOST), 2);
	device->signal = CAPTURE_SIGNAL_OK;
	(void)capture_frame_unref(next(3 * S));
}

/* --- blank pictures ----------------------------------------------------- */

static unsigned int light_bytes(const struct capture_frame *f)
{
	const uint8_t *map = f->planes[0].map + f->planes[0].offset;
	unsigned int n = 0;
	unsigned int i;

	for (i = 0; i < 64 * 48; i++)
		n += map[i] == 235;
	return n;
}

static void blank_pictures_name_the_cause(void **state)
{
	struct capture_supervisor_config config = config_of();
	struct capture_frame *f;
	struct capture_frame *held;
	unsigned int light;

	(void)state;
	config.blank = CAPTURE_BLANK_SIGNAL;
	open_with(&config);
	(void)run(S);
	device->signal = CAPTURE_SIGNAL_NO_LOCK;
	held = next(S);
	assert_int_equal(held->flags, CAPTURE_FRAME_BLANK);
	assert_int_equal(held->epoch, 1);
	assert_int_equal(held->track_id, 7);
	assert_int_equal(held->sequence, 0);
	assert_int_equal(held->clock, CAPTURE_CLOCK_MONOTONIC);
	assert_int_equal(held->point, CAPTURE_POINT_ARRIVAL);
	assert_int_equal(held->planes[0].bytesused, 64 * 48 * 3 / 2);
	light = light_bytes(held);
	assert_true(light > 50);
	assert_in_range(run(2 * S), 49, 51); /* 25 a second */
	device->signal = CAPTURE_SIGNAL_NO_CABLE;
	(void)run(S);
	f = next(S);
	assert_int_not_equal(light_bytes(f), light);
	assert_int_equal(light_bytes(held), light); /* what is out stays */
	(void)capture_frame_unref(f);
	(void)capture_frame_unref(held);
	device->signal = CAPTURE_SIGNAL_OK;
	do {
		f = next(S);
		light = f->flags;
		(void)capture_frame_unref(f);
	} while (light & CAPTURE_FRAME_BLANK);
	assert_int_equal(stats_of().blank_frames > 70, 1);
	assert_int_equal(last_of(CAPTURE_EVENT_SIGNAL_BACK)->epoch, 1);
}

static void blank_pictures_of_an_outage(void **state)
{
	struct capture_supervisor_config config = config_of();
	uint64_t stamp_ns = 0;
	uint32_t epoch = 0;
	unsigned int i;

	(void)state;
	config.blank = CAPTURE_BLANK_OUTAGE;
	open_with(&config);
	(void)run(S);
	device->unplugged = true;
	for (i = 0; i < 500; i++) {
		struct capture_frame *f = next(S);

		if (i == 250)
			device->unplugged = false;
		assert_true(f->stamp_ns > stamp_ns);
		assert_true(f->stamp_ns <= fake_source_now_ns());
		assert_true(f->epoch >= epoch);
		stamp_ns = f->stamp_ns;
		epoch = f->epoch;
		(void)capture_frame_unref(f);
	}
	assert_int_equal(epoch, 2);
	assert_true(stats_of().blank_frames > 250);
	/* Not for a loss that was not asked about. */
	source = capture_source_close(source);
	config.blank = CAPTURE_BLANK_SIGNAL;
	open_with(&config);
	device->unplugged = true;
	assert_int_equal(run(3 * S), 0);
}

/* A user who is late gets the present picture, not those he missed. */
static void blank_pictures_are_not_made_up_for(void **state)
{
	struct capture_supervisor_config config = config_of();

	(void)state;
	config.blank = CAPTURE_BLANK_OUTAGE;
	open_with(&config);
	device->unplugged = true;
	(void)run(S);
	fake_source_advance(10 * S);
	assert_in_range(run(200 * MS), 5, 6);
}

/* --- the descriptor ----------------------------------------------------- */

/*
 * A user who only polls: is woken for frames and for all that is due, and
 * not all the time.
 */
static void descriptor_wakes_for_everything(void **state)
{
	uint64_t end;
	unsigned int turns = 0;
	unsigned int frames = 0;
	unsigned int phase = 0;

	(void)state;
	open_default();
	end = in(60 * S);
	while (fake_source_now_ns() < end) {
		struct capture_frame *f;
		int r;

		assert_true(fake_source_poll(10 * S));
		r = capture_source_dequeue(source, 0, &f);
		turns++;
		if (r == 0) {
			frames++;
			(void)capture_frame_unref(f);
		}
		if (turns % 100 == 50) {
			device->hang_reopen = phase % 4 == 0;
			device->unplugged = phase % 4 == 1;
			device->signal = phase % 4 == 2 ? CAPTURE_SIGNAL_NONE
							: CAPTURE_SIGNAL_OK;
			phase++;
		}
		if (device->unplugged && told(CAPTURE_EVENT_UNPLUGGED))
			device->unplugged = false;
		if (device->signal != CAPTURE_SIGNAL_OK &&
		    told(CAPTURE_EVENT_SIGNAL_LOST) > phase / 4)
			device->signal = CAPTURE_SIGNAL_OK;
	}
	assert_true(phase > 8);
	assert_true(frames > turns * 2 / 3);
}

/* A timer that could not be set is told, and set by the next call. */
static void timer_that_cannot_be_set(void **state)
{
	struct capture_frame *f;
	unsigned int sets;

	(void)state;
	open_default();
	device->unplugged = true;
	sys_fault_only("timerfd_settime");
	sys_fault_arm(1, -ENOMEM);
	assert_int_equal(capture_source_dequeue(source, 0, &f), -ENOMEM);
	sets = device->timer_sets;
	assert_int_equal(capture_source_dequeue(source, 0, &f), -EAGAIN);
	assert_int_equal(device->timer_sets, sets + 1);
	assert_true(fake_source_poll(S));
}

/* --- encoders ----------------------------------------------------------- */

static void encoder_is_opened_again(void **state)
{
	static const struct capture_format format = {
		.fourcc = CAPTURE_FORMAT_YU12,
		.width = 64,
		.height = 48,
		.plane_count = 1,
		.stride = {64},
		.size = {64 * 48 * 3 / 2},
	};
	struct capture_encoder_config config;
	struct capture_encoder *e = NULL;
	struct fake_v4l2 *codec;

	(void)state;
	fake_v4l2_reset();
	sys_fault_wrap(fake_v4l2_ops());
	codec = fake_v4l2_add(FAKE_ENCODER);
	capture_encoder_config_init(&config);
	config.backend = CAPTURE_BACKEND_M2M;
	config.path = "/dev/video0";
	config.source = &format;
	assert_int_equal(capture_encoder_reopen(sys_fault(), &config, &e), 0);
	assert_int_equal(capture_encoder_reopen(sys_fault(), &config, &e), 0);
	assert_int_equal(codec->opens, 1);
	codec->unplugged = true;
	assert_int_equal(capture_encoder_reopen(sys_fault(), &config, &e),
			 -ENODEV);
	assert_null(e);
	assert_int_equal(codec->opens, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(supervisor_refuses_what_would_spin),
		TEST(supervisor_needs_its_first_open),
		TEST(supervisor_stats_are_of_supervisors),
		TEST(supervisor_passes_frames_on),
		TEST(supervisor_keeps_a_deadline),
		TEST(supervisor_is_off_until_started),
		TEST(supervisor_is_not_stalled_by_its_user),
		TEST(supervisor_looks_before_it_judges),
		TEST(supervised_frames_outlive_all),
		TEST(supervisor_bounds_what_is_out),
		TEST(stall_is_mended_by_a_restart),
		TEST(stall_is_mended_by_a_reopen),
		TEST(stall_backs_off_and_forgets_when_stable),
		TEST(flapping_device_is_not_hammered),
		TEST(jitter_follows_its_seed),
		TEST(failure_that_a_restart_mends),
		TEST(failure_that_a_stop_does_not_survive),
		TEST(start_that_fails_is_tried_again),
		TEST(unplugged_device_is_found_again),
		TEST(resolver_finds_the_new_path),
		TEST(failed_open_is_told_before_the_next),
		TEST(match_must_match),
		TEST(format_change_is_taken_and_told),
		TEST(format_change_is_refused_until_it_is_back),
		TEST(signal_loss_is_told_by_cause),
		TEST(signal_loss_is_seen_behind_noise),
		TEST(signal_that_comes_back_otherwise),
		TEST(unplugged_while_the_signal_was_lost),
		TEST(blank_pictures_name_the_cause),
		TEST(blank_pictures_of_an_outage),
		TEST(blank_pictures_are_not_made_up_for),
		TEST(descriptor_wakes_for_everything),
		TEST(timer_that_cannot_be_set),
		TEST(encoder_is_opened_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
