/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Aligned time: the module's page, made up here, and the estimator without
 * one. Clocks are the test's own, so nothing depends on the machine.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <capture/align.h>
#include <capture/source.h>

#include "src/align.h"
#include "src/align_clock.h"
#include "src/align_page.h"
#include "support/fake_tsalign.h"

#define ID 3
#define MINOR 7
#define FRAME_NS (S / 30)

/* --- the fake machine ----------------------------------------------------- */

static struct {
	bool no_stream;
	struct tsalign_event events[4];
	size_t event_count;
} fake;

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	assert_int_equal(fd, FAKE_FD);
	if (request == TSALIGN_IOC_INFO) {
		*(struct tsalign_info *)arg = (struct tsalign_info){
			.abi = TSALIGN_ABI,
			.streams = 1,
			.features = TSALIGN_FEATURE_VB2,
		};
		return 0;
	}
	assert_int_equal(request, TSALIGN_IOC_STREAM);
	if (((struct tsalign_stream *)arg)->id != ID || fake.no_stream)
		return -ENOENT;
	*(struct tsalign_stream *)arg = (struct tsalign_stream){
		.id = ID,
		.kind = TSALIGN_V4L2,
		.name = "v4l2-7",
		.minor = MINOR,
	};
	return 0;
}

static ssize_t fake_read(int fd, void *bytes, size_t len)
{
	size_t n = fake.event_count * sizeof(fake.events[0]);

	assert_int_equal(fd, FAKE_FD);
	assert_true(len >= n);
	if (!n)
		return -EAGAIN;
	memcpy(bytes, fake.events, n);
	fake.event_count = 0;
	return (ssize_t)n;
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake_tsalign_init(ID, O_RDONLY, fake_ioctl);
	device.ops.read = fake_read;
	return 0;
}

/* Frame n is at @first_ns + n / 30 s, exactly. */
static void publish_map(uint64_t first_ns, uint64_t counter)
{
	*device.page = (struct tsalign_page){
		.abi = TSALIGN_ABI,
		.seq = 2,
		.stream = ID,
		.state = TSALIGN_LOCKED,
		.shift = 32,
		.mult = (S << 32) / 30,
		.base_counter = counter,
		.base_ns = first_ns + counter * S / 30,
		.epoch = 1,
		.sigma_ns = 500,
		.sigma_ppb = 100,
		.updated_ns = clocks.boot_ns,
	};
}

/* It is dequeued @late_ns after it was taken, and stamped a bit before. */
static struct capture_frame frame_at(uint64_t first_ns, uint32_t n,
				     uint64_t late_ns)
{
	uint64_t taken_ns = first_ns + (uint64_t)n * S / 30;

	clocks.boot_ns = taken_ns + late_ns + 10 * US;
	return (struct capture_frame){
		.sequence = n,
		.stamp_ns = taken_ns + late_ns + (uint64_t)clocks.monotonic_ns,
		.clock = CAPTURE_CLOCK_MONOTONIC,
	};
}

static struct capture_align *align_new(int32_t minor)
{
	struct capture_align *a;

	assert_int_equal(capture_align_new(&device.ops, minor, &a), 0);
	capture_align_started(a);
	return a;
}

/* --- the module's page ---------------------------------------------------- */

static void align_takes_the_map_of_the_module(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	struct capture_alignment now;
	uint32_t n;

	(void)state;
	for (n = 0; n < 100; n++) {
		struct capture_frame f = frame_at(first, n, n % 7 * MS);

		publish_map(first, n);
		capture_align_frame(a, &f);
		assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
		assert_true(apart(f.aligned.ns, first + n * S / 30) <= 1);
		assert_int_equal(f.aligned.sigma_ns, 500);
		assert_int_equal(f.aligned.epoch, 1);
	}
	assert_int_equal(device.opens, 1);
	assert_int_equal(capture_align_state(a, &now), 0);
	assert_string_equal(now.name, "v4l2-7");
	assert_int_equal(now.minor, MINOR);
	assert_int_equal(now.state, CAPTURE_ALIGN_LOCKED);
	assert_true(apart(now.count_ns_16, (S << 16) / 30) <= 1);
	(void)capture_align_free(a);
}

/* The driver's count stepped back by 1,000: the module hears that one. */
static void align_asks_the_map_for_the_drivers_count(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	uint32_t n;

	(void)state;
	for (n = 1000; n < 1100; n++) {
		struct capture_frame f = frame_at(first, n, n % 7 * MS);

		publish_map(first, n);
		if (n >= 1010) {
			device.page->base_counter -= 1000;
			align_shift_sequence(a, 1000);
		}
		capture_align_frame(a, &f);
		assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
		assert_true(apart(f.aligned.ns, first + n * S / 30) <= 1);
	}
	(void)capture_align_free(a);
}

static void align_opens_an_epoch_with_the_modules(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	struct capture_frame f = frame_at(first, 0, MS);

	(void)state;
	publish_map(first, 0);
	capture_align_frame(a, &f);
	f = frame_at(first, 1, MS);
	publish_map(first - 2 * MS, 1);
	device.page->epoch = 2;
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	assert_int_equal(f.aligned.epoch, 2);
	assert_true(apart(f.aligned.ns, first + S / 30 - 2 * MS) <= 1);
	(void)capture_align_free(a);
}

static void align_never_goes_back_though_the_map_does(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	struct capture_frame f = frame_at(first, 0, MS);
	uint64_t last;

	(void)state;
	publish_map(first, 0);
	capture_align_frame(a, &f);
	last = f.aligned.ns;
	f = frame_at(first, 1, MS);
	publish_map(first - 50 * MS, 1); /* of the same epoch */
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.ns, last + 1);
	assert_int_equal(f.aligned.epoch, 1);
	assert_true(f.aligned.sigma_ns > 10 * MS);
	(void)capture_align_free(a);
}

/* Frame @n, now that the module has a map for it. */
static struct capture_frame frame_by_kernel(struct capture_align *a,
					    uint64_t first, uint32_t n)
{
	struct capture_frame f = frame_at(first, n, MS);

	publish_map(first, n);
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	return f;
}

/* The stream has a map of the last start, whose frames counted from 0 too. */
static void align_leaves_a_map_of_another_start_alone(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	struct capture_frame f;

	(void)state;
	(void)frame_by_kernel(a, first, 10);
	clocks.boot_ns += 100 * MS;
	first = clocks.boot_ns;
	capture_align_started(a);
	f = frame_at(first, 0, MS);
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_STAMP);
	assert_int_equal(f.aligned.epoch, 2);
	assert_int_equal(f.aligned.ns, first + MS);
	publish_map(first, 1);
	f = frame_at(first, 1, MS);
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	assert_int_equal(f.aligned.epoch, 3);
	(void)capture_align_free(a);
}

static void align_refuses_a_page_that_cannot_be(void **state)
{
	static const struct {
		uint32_t abi, shift, state, reference, counter;
		int64_t off_ns;
	} cases[] = {
		{TSALIGN_ABI + 1, 32, TSALIGN_LOCKED, 0, 0, 0},
		{TSALIGN_ABI, 64, TSALIGN_LOCKED, 0, 0, 0},
		{TSALIGN_ABI, 32, TSALIGN_WAITING, 0, 0, 0},
		{TSALIGN_ABI, 32, 77, 0, 0, 0},
		{TSALIGN_ABI, 32, TSALIGN_LOCKED, TSALIGN_REF_PHC, 0, 0},
		{TSALIGN_ABI, 32, TSALIGN_LOCKED, 0, TSALIGN_COUNT_TICKS, 0},
		{TSALIGN_ABI, 32, TSALIGN_LOCKED, 0, 0, (int64_t)(3 * S)},
		{TSALIGN_ABI, 32, TSALIGN_LOCKED, 0, 0, -(int64_t)(3 * S)},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct capture_align *a = align_new(MINOR);
		uint64_t first = clocks.boot_ns;
		struct capture_frame f = frame_at(first, 5, MS);

		publish_map(first, 5);
		device.page->abi = cases[i].abi;
		device.page->shift = cases[i].shift;
		device.page->state = cases[i].state;
		device.page->reference = cases[i].reference;
		device.page->counter = cases[i].counter;
		device.page->base_ns += (uint64_t)cases[i].off_ns;
		capture_align_frame(a, &f);
		assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_STAMP);
		assert_true(f.aligned.sigma_ns == UINT64_MAX);
		(void)capture_align_free(a);
	}
}

static void align_brings_tai_to_boottime(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	struct capture_frame f = frame_at(first, 5, MS);

	(void)state;
	publish_map(first, 5);
	device.page->reference = TSALIGN_REF_TAI;
	device.page->base_ns += (uint64_t)clocks.tai_ns;
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	assert_true(apart(f.aligned.ns, first + 5 * S / 30) <= 2);
	(void)capture_align_free(a);
}

static void align_looks_for_a_stream_seldom(void **state)
{
	struct capture_align *a;
	uint64_t first = clocks.boot_ns;
	uint32_t n;

	(void)state;
	fake.no_stream = true;
	a = align_new(MINOR);
	for (n = 0; n < 1000; n++) {
		struct capture_frame f = frame_at(first, n, MS);

		capture_align_frame(a, &f);
	}
	assert_in_range(device.opens, 5, 12);
	(void)capture_align_free(a);
	device.opens = 0;
	device.no_module = true;
	a = align_new(MINOR);
	for (n = 0; n < 1000; n++) {
		struct capture_frame f = frame_at(first, n, MS);

		capture_align_frame(a, &f);
	}
	assert_in_range(device.opens, 5, 12);
	(void)capture_align_free(a);
}

static void align_finds_a_module_that_comes_later(void **state)
{
	struct capture_align *a;
	uint64_t first = clocks.boot_ns;
	struct capture_frame f;
	uint32_t n;

	(void)state;
	device.no_module = true;
	a = align_new(MINOR);
	for (n = 0; n < 100; n++) {
		f = frame_at(first, n, MS);
		capture_align_frame(a, &f);
		assert_int_not_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	}
	device.no_module = false;
	for (; n < 300; n++) {
		f = frame_at(first, n, MS);
		publish_map(first, n);
		capture_align_frame(a, &f);
	}
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	(void)capture_align_free(a);
}

static void align_lets_go_of_a_stream_that_went(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	struct capture_frame f;

	(void)state;
	(void)frame_by_kernel(a, first, 0);
	assert_int_equal(device.maps, 1);
	device.page->state = TSALIGN_GONE;
	fake.no_stream = true;
	f = frame_at(first, 1, MS);
	capture_align_frame(a, &f);
	assert_int_equal(device.maps, 0);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_STAMP);
	(void)capture_align_free(a);
}

/* --- a page that is being written ------------------------------------------ */

static void align_page_read_gives_up_on_a_writer_that_hangs(void **state)
{
	struct capture_align *a = align_new(MINOR);
	uint64_t first = clocks.boot_ns;
	struct capture_frame f = frame_at(first, 0, MS);
	struct tsalign_page copy;

	(void)state;
	publish_map(first, 0);
	capture_align_frame(a, &f);
	device.page->seq++;
	assert_int_equal(align_page_read(device.page, &copy), -EAGAIN);
	/* The map from before still holds. */
	f = frame_at(first, 1, MS);
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
	assert_true(apart(f.aligned.ns, first + S / 30) <= 1);
	(void)capture_align_free(a);
}

/* --- without a module ------------------------------------------------------ */

/* The sensor is 20 ppm fast; stamps are late by 50 us at least, mostly more. */
static void align_estimates_without_a_module(void **state)
{
	uint64_t first = clocks.boot_ns;
	uint64_t worst = 0;
	uint64_t worst_stamp = 0;
	uint64_t last = 0;
	uint32_t epoch = 0;
	unsigned int within = 0;
	struct capture_align *a;
	uint32_t n;

	(void)state;
	seed = 20260;
	device.no_module = true;
	a = align_new(MINOR);
	for (n = 0; n < 3000; n++) {
		uint64_t taken = first + n * FRAME_NS - n * FRAME_NS / 50000;
		uint64_t late = 50 * US + random_below(400) * US;
		struct capture_frame f = {
			.sequence = n,
			.stamp_ns = taken + late + (uint64_t)clocks.monotonic_ns,
			.clock = CAPTURE_CLOCK_MONOTONIC,
		};

		clocks.boot_ns = taken + late + 10 * US;
		capture_align_frame(a, &f);
		if (f.aligned.epoch == epoch)
			assert_true(f.aligned.ns > last);
		last = f.aligned.ns;
		epoch = f.aligned.epoch;
		if (n < 1000)
			continue;
		assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_ESTIMATE);
		/* The least delay cannot be seen. */
		worst = MAX(worst, apart(f.aligned.ns, taken + 50 * US));
		worst_stamp = MAX(worst_stamp, late - 50 * US);
		within += apart(f.aligned.ns, taken + 50 * US) <=
			  f.aligned.sigma_ns;
	}
	assert_true(worst < worst_stamp / 8);
	assert_true(within > 1950); /* sigma is 99 % of 2000, less some luck */
	assert_int_equal(epoch, 2);
	(void)capture_align_free(a);
}

static void align_counts_ticks_where_there_are_some(void **state)
{
	uint64_t first = clocks.boot_ns;
	struct capture_alignment now;
	struct capture_align *a;
	uint32_t n;

	(void)state;
	seed = 3;
	device.no_module = true;
	a = align_new(-1);
	for (n = 0; n < 500; n++) {
		uint64_t late = random_below(2000) * US;
		struct capture_frame f = {
			.sequence = n,
			.device_ticks = (uint64_t)n * 960,
			.device_hz = 48000,
			.stamp_ns = first + n * 20 * MS + late,
			.clock = CAPTURE_CLOCK_BOOTTIME,
		};

		clocks.boot_ns = f.stamp_ns + 100 * US;
		capture_align_frame(a, &f);
		if (n > 250)
			assert_true(apart(f.aligned.ns, first + n * 20 * MS) <
				    200 * US);
	}
	assert_int_equal(capture_align_state(a, &now), 0);
	assert_int_equal(now.by, CAPTURE_ALIGNED_ESTIMATE);
	assert_true(now.state >= CAPTURE_ALIGN_COARSE);
	assert_int_equal(now.lost, 0);
	assert_int_equal(device.opens, 0);
	(void)capture_align_free(a);
}

/* A sound card that lost samples counts from 0 again, in another epoch. */
static void align_counts_anew_after_an_overrun(void **state)
{
	uint64_t first = clocks.boot_ns;
	struct capture_align *a;
	uint32_t epoch = 0;
	uint32_t n;

	(void)state;
	device.no_module = true;
	a = align_new(-1);
	for (n = 0; n < 300; n++) {
		struct capture_frame f = {
			.sequence = n,
			.epoch = n >= 100,
			.device_ticks =
				(uint64_t)(n - (n < 100 ? 0 : 100)) * 960,
			.device_hz = 48000,
			.stamp_ns = first + n * 20 * MS,
			.clock = CAPTURE_CLOCK_BOOTTIME,
		};

		clocks.boot_ns = f.stamp_ns + 100 * US;
		capture_align_frame(a, &f);
		assert_true(apart(f.aligned.ns, f.stamp_ns) < MS);
		if (n == 99)
			epoch = f.aligned.epoch;
	}
	assert_true(epoch > 0);
	(void)capture_align_free(a);
}

static void align_opens_an_epoch_after_a_suspend(void **state)
{
	uint64_t first = clocks.boot_ns;
	struct capture_align *a = align_new(-1);
	uint32_t epoch = 0;
	uint32_t n;

	(void)state;
	for (n = 0; n < 200; n++) {
		struct capture_frame f;

		if (n == 100) {
			/* An hour passes, CLOCK_MONOTONIC stands. */
			first += 3600 * S;
			clocks.monotonic_ns -= (int64_t)(3600 * S);
			clocks.boot_ns += 3600 * S;
		}
		f = frame_at(first, n, MS);
		capture_align_frame(a, &f);
		assert_true(apart(f.aligned.ns, first + n * S / 30) < 2 * MS);
		if (n == 100)
			assert_true(f.aligned.epoch > epoch);
		epoch = f.aligned.epoch;
	}
	(void)capture_align_free(a);
}

static void align_has_nothing_for_a_made_up_frame(void **state)
{
	struct capture_align *a = align_new(-1);
	struct capture_alignment now;
	struct capture_frame f = frame_at(clocks.boot_ns, 0, MS);

	(void)state;
	f.flags = CAPTURE_FRAME_BLANK;
	f.aligned.by = CAPTURE_ALIGNED_KERNEL;
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_NOT);
	assert_int_equal(f.aligned.ns, 0);
	assert_int_equal(capture_align_state(a, &now), -EAGAIN);
	(void)capture_align_free(a);
}

/* A clock that is none, none at all, and one that was set meanwhile. */
static void align_takes_the_arrival_where_a_stamp_cannot_be(void **state)
{
	static const struct {
		enum capture_clock clock;
		uint64_t stamp_ns;
	} cases[] = {
		{CAPTURE_CLOCK_UNKNOWN, 5000 * S},
		{CAPTURE_CLOCK_COPY, 1},
		{CAPTURE_CLOCK_BOOTTIME, 0},
		{CAPTURE_CLOCK_BOOTTIME, 5100 * S},
		{CAPTURE_CLOCK_BOOTTIME, 4000 * S},
		{CAPTURE_CLOCK_REALTIME, 1600000000 * S},
		{CAPTURE_CLOCK_MONOTONIC, UINT64_MAX},
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct capture_align *a = align_new(-1);
		struct capture_frame f = {
			.clock = cases[i].clock,
			.stamp_ns = cases[i].stamp_ns,
		};

		capture_align_frame(a, &f);
		assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_STAMP);
		assert_true(f.aligned.ns == clocks.boot_ns);
		(void)capture_align_free(a);
	}
}

/* --- clocks, streams ------------------------------------------------------- */

static void align_clock_closes_in_on_its_constant(void **state)
{
	struct align_clock c = {0};
	unsigned int i;

	(void)state;
	seed = 9;
	for (i = 0; i < 200; i++) {
		uint64_t at = 1000 * S + i * 10 * MS;
		uint64_t before = at - 400 - random_below(100000);
		uint64_t after = at + 400 + random_below(100000);

		assert_false(
			align_clock_sample(&c, before, at + 77 * S, after));
		assert_true(apart(align_clock_to_boot(&c, 2000 * S),
				  2000 * S - 77 * S) <=
			    align_clock_width_ns(&c) + 1);
	}
	assert_true(align_clock_width_ns(&c) < 3000);
	assert_true(align_clock_sample(&c, 3000 * S, 3000 * S + 78 * S,
				       3000 * S + 100));
	assert_true(align_clock_width_ns(&c) < 100);
	assert_int_equal(align_clock_to_boot(&c, 5 * S), 0);
}

static void timeline_shows_streams_and_samples(void **state)
{
	struct capture_alignment streams[CAPTURE_ALIGN_STREAMS_MAX];
	struct capture_timeline_sample sample;
	struct capture_timeline_info info;
	struct capture_timeline *t;

	(void)state;
	publish_map(clocks.boot_ns, 9);
	assert_int_equal(capture_timeline_open(&device.ops, &t), 0);
	assert_int_equal(capture_timeline_info(t, &info), 0);
	assert_true(info.sees_v4l2);
	assert_int_equal(capture_timeline_streams(t, streams), 1);
	assert_string_equal(streams[0].name, "v4l2-7");
	assert_int_equal(streams[0].id, 3);
	assert_int_equal(streams[0].sigma_ns, 500);
	assert_int_equal(capture_timeline_next(t, &sample), -EAGAIN);
	fake.events[0] = (struct tsalign_event){.type = TSALIGN_EV_EPOCH};
	fake.events[1] = (struct tsalign_event){
		.type = TSALIGN_EV_SAMPLE,
		.stream = ID,
		.flags = TSALIGN_EVF_OUTLIER,
		.counter = 12,
	};
	fake.event_count = 2;
	assert_int_equal(capture_timeline_next(t, &sample), 0);
	assert_int_equal(sample.counter, 12);
	assert_true(sample.outlier);
	/* The slot's next stream has another page. */
	device.page->state = TSALIGN_GONE;
	assert_int_equal(capture_timeline_streams(t, streams), 1);
	assert_int_equal(streams[0].state, CAPTURE_ALIGN_GONE);
	assert_int_equal(device.maps, 0);
	(void)capture_timeline_close(t);
	device.no_module = true;
	assert_int_equal(capture_timeline_open(&device.ops, &t), -ENOENT);
}

/* Through a source of the real library: each frame has its time. */
static void source_frames_come_aligned(void **state)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_SYNTHETIC,
		.path = "tone",
	};
	struct capture_alignment now;
	struct capture_source *s;
	uint64_t last = 0;
	uint32_t epoch = 0;
	unsigned int n;

	(void)state;
	assert_int_equal(capture_source_open(NULL, &config, &s), 0);
	assert_int_equal(capture_source_alignment(s, &now), -EAGAIN);
	assert_int_equal(capture_source_start(s), 0);
	for (n = 0; n < 20; n++) {
		struct capture_frame *f;

		assert_int_equal(
			capture_source_dequeue(s,
					       sys_now_ns(sys_posix(),
							  CLOCK_MONOTONIC) +
						       10 * S,
					       &f),
			0);
		assert_true(f->aligned.by >= CAPTURE_ALIGNED_STAMP);
		assert_true(f->aligned.epoch != epoch || f->aligned.ns > last);
		assert_true(f->aligned.epoch >= epoch);
		last = f->aligned.ns;
		epoch = f->aligned.epoch;
		(void)capture_frame_unref(f);
	}
	assert_int_equal(capture_source_alignment(s, &now), 0);
	(void)capture_source_close(s);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fake_tsalign_left)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(align_takes_the_map_of_the_module),
		CASE(align_asks_the_map_for_the_drivers_count),
		CASE(align_opens_an_epoch_with_the_modules),
		CASE(align_never_goes_back_though_the_map_does),
		CASE(align_leaves_a_map_of_another_start_alone),
		CASE(align_refuses_a_page_that_cannot_be),
		CASE(align_brings_tai_to_boottime),
		CASE(align_looks_for_a_stream_seldom),
		CASE(align_finds_a_module_that_comes_later),
		CASE(align_lets_go_of_a_stream_that_went),
		CASE(align_page_read_gives_up_on_a_writer_that_hangs),
		CASE(align_estimates_without_a_module),
		CASE(align_counts_ticks_where_there_are_some),
		CASE(align_counts_anew_after_an_overrun),
		CASE(align_opens_an_epoch_after_a_suspend),
		CASE(align_has_nothing_for_a_made_up_frame),
		CASE(align_takes_the_arrival_where_a_stamp_cannot_be),
		CASE(align_clock_closes_in_on_its_constant),
		CASE(timeline_shows_streams_and_samples),
		CASE(source_frames_come_aligned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
