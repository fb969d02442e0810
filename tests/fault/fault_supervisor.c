/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails each system call of a supervised source, one per run: once it is
 * open, it gives frames in the end whatever failed, and leaves nothing.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <capture/supervisor.h>

#include "base/macros.h"
#include "src/supervisor.h"
#include "support/fake_source.h"
#include "support/sys_fault.h"

#define CALLS_MAX 2000u
#define NS_PER_S UINT64_C(1000000000)
/* What may pass until it works again: far more than a few attempts. */
#define RECOVERY_NS (30 * NS_PER_S)
#define LOST_NS (2 * NS_PER_S)

static const int errors[] = {-EIO, -ENOMEM, -EMFILE, -ENODEV, -EINVAL};

static struct fake_source *device;

static int open_supervised(struct capture_source **ret)
{
	struct capture_supervisor_config config = {
		.source = {.path = "/dev/video0"},
		.frame_ns = NS_PER_S / 2,
		.backoff_max_ns = 4 * NS_PER_S,
		.blank = CAPTURE_BLANK_OUTAGE,
	};

	return supervisor_open_by(sys_fault(), &config, fake_source_open, ret);
}

/* Frames of the device, until there were @count or too much time is over. */
static unsigned int take(struct capture_source *s, unsigned int count,
			 uint64_t within_ns)
{
	uint64_t end = fake_source_now_ns() + within_ns;
	unsigned int frames = 0;

	while (frames < count && fake_source_now_ns() < end) {
		struct capture_frame *f;
		int r = capture_source_dequeue(
			s, fake_source_now_ns() + NS_PER_S, &f);

		if (r < 0) {
			/* One that cannot set its timer is asked again. */
			fake_source_advance(1000000);
			continue;
		}
		frames += !(f->flags & CAPTURE_FRAME_BLANK);
		(void)capture_frame_unref(f);
	}
	return frames;
}

/* Every way in which a source can be lost, one after the other. */
static void lose_and_recover(struct capture_source *s)
{
	assert_int_equal(take(s, 3, RECOVERY_NS), 3);
	device->hang_restart = true;
	assert_int_equal(take(s, 3, RECOVERY_NS), 3);
	device->hang_reopen = true;
	assert_int_equal(take(s, 3, RECOVERY_NS), 3);
	device->signal = CAPTURE_SIGNAL_NONE;
	assert_int_equal(take(s, 1, LOST_NS), 0);
	device->signal = CAPTURE_SIGNAL_OK;
	assert_int_equal(take(s, 3, RECOVERY_NS), 3);
	device->unplugged = true;
	assert_int_equal(take(s, 1, LOST_NS), 0);
	device->unplugged = false;
	assert_int_equal(take(s, 3, RECOVERY_NS), 3);
}

static int operation(void)
{
	struct capture_source *s;
	int tries = 0;
	int r;

	r = open_supervised(&s);
	if (r < 0)
		return r;
	/* A start fails for its timer alone, and may be repeated. */
	do {
		r = capture_source_start(s);
	} while (r < 0 && ++tries < 3);
	assert_int_equal(r, 0);
	lose_and_recover(s);
	r = capture_source_stop(s);
	(void)capture_source_close(s);
	return r;
}

static void check_nothing_left(void)
{
	assert_int_equal(sys_fault_open_fds(), 0);
	assert_int_equal(sys_fault_open_maps(), 0);
	assert_int_equal(device->live, 0);
	assert_int_equal(device->frames, device->released);
}

static void begin(void)
{
	device = fake_source_reset();
	sys_fault_reset();
	sys_fault_wrap(fake_source_ops());
}

static void supervisor_survives_any_failed_call(void **state)
{
	unsigned long n;
	size_t e;

	(void)state;
	for (e = 0; e < ARRAY_SIZE(errors); e++) {
		for (n = 1; n < CALLS_MAX; n++) {
			begin();
			sys_fault_arm(n, errors[e]);
			(void)operation(); /* told, or mended */
			check_nothing_left();
			if (!sys_fault_fired())
				break;
		}
		assert_in_range(n, 20, CALLS_MAX - 1);
	}
}

/* All calls fail from the n-th on: it must end, and leave nothing. */
static void supervisor_survives_a_kernel_that_dies(void **state)
{
	unsigned long n;

	(void)state;
	for (n = 1; n < CALLS_MAX; n++) {
		struct capture_source *s;

		begin();
		sys_fault_arm_sticky(n, -ENOMEM);
		if (open_supervised(&s) == 0) {
			if (capture_source_start(s) == 0)
				(void)take(s, 5, LOST_NS);
			device->hang_reopen = true;
			(void)take(s, 5, LOST_NS);
			(void)capture_source_close(s);
		}
		check_nothing_left();
		if (!sys_fault_fired())
			return;
	}
	fail_msg("more than %u calls", CALLS_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(supervisor_survives_any_failed_call),
		cmocka_unit_test(supervisor_survives_a_kernel_that_dies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
