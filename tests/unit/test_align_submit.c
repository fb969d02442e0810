/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sensor's own counter given to the module: the module here is its core, so
 * what frames are told through it and without it can be compared bit by bit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <capture/align.h>

#include "src/align.h"
#include "src/align_submit.h"
#include "support/fake_tsalign.h"
#include "tsalign_core.h"

#define ID 9
#define HZ UINT64_C(40000000)

/* --- the fake machine ----------------------------------------------------- */

static struct {
	int submit;	    /* result */
	unsigned int taken; /* names that others have */
	unsigned int creates;
	unsigned int submits;
	unsigned int restarts;
	uint64_t pairs;
	uint32_t count_max;
	uint32_t error_ns;
	struct tsalign_stream stream;
	struct tsa_fit fit;
} fake;

static void publish(uint64_t now_ns)
{
	struct tsa_estimate e;

	tsa_fit_estimate(&fake.fit, now_ns, &e);
	*device.page = (struct tsalign_page){
		.abi = TSALIGN_ABI,
		.seq = device.page->seq + 2,
		.stream = ID,
		.state = e.state,
		.counter = TSALIGN_COUNT_TICKS,
		.shift = e.map.shift,
		.mult = e.map.mult,
		.base_counter = e.map.base_counter,
		.base_ns = e.map.base_ns,
		.epoch = e.epoch,
		.sigma_ns = e.sigma_ns,
		.sigma_ppb = e.sigma_ppb,
		.drift_ppb = e.drift_ppb,
		.updated_ns = now_ns,
		.samples = e.samples,
		.outliers = e.outliers,
	};
}

static int fake_create(struct tsalign_stream *s)
{
	struct tsa_fit_config config = {.nominal_mhz = s->nominal_mhz,
					.counter = TSALIGN_COUNT_TICKS};

	assert_int_equal(s->kind, TSALIGN_DEVICE);
	assert_int_equal(s->counter, TSALIGN_COUNT_TICKS);
	assert_int_equal(s->counter_bits, 64);
	assert_int_equal(s->minor, 0);
	fake.creates++;
	if (fake.taken && fake.taken--)
		return -EEXIST;
	s->id = ID;
	fake.stream = *s;
	device.page->epoch = 0;
	tsa_fit_init(&fake.fit, &config);
	publish(clocks.boot_ns);
	return 0;
}

static int fake_submit(const struct tsalign_submit *s)
{
	const struct tsalign_pair *pairs = (void *)(uintptr_t)s->pairs;
	uint32_t i;

	assert_int_equal(s->id, ID);
	assert_int_equal(s->clock, CLOCK_BOOTTIME);
	assert_in_range(s->count, 1, CAPTURE_ALIGN_PAIRS_MAX);
	fake.submits++;
	if (fake.submit < 0)
		return fake.submit;
	if (s->flags & TSALIGN_SUBMIT_RESTART) {
		tsa_fit_restart(&fake.fit, TSALIGN_CAUSE_DEVICE_STEP);
		fake.restarts++;
	}
	for (i = 0; i < s->count; i++) {
		assert_true(pairs[i].host_ns <= clocks.boot_ns);
		(void)tsa_fit_add(&fake.fit, pairs[i].counter, pairs[i].host_ns,
				  s->error_ns);
		publish(pairs[i].host_ns);
	}
	fake.pairs += s->count;
	fake.count_max = MAX(fake.count_max, s->count);
	fake.error_ns = s->error_ns;
	return 0;
}

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	assert_int_equal(fd, FAKE_FD);
	switch (request) {
	case TSALIGN_IOC_INFO:
		((struct tsalign_info *)arg)->abi = TSALIGN_ABI;
		return 0;
	case TSALIGN_IOC_CREATE:
		return fake_create(arg);
	case TSALIGN_IOC_SUBMIT:
		return fake_submit(arg);
	}
	return -ENOTTY;
}

static int setup(void **state)
{
	(void)state;
	memset(&fake, 0, sizeof(fake));
	fake_tsalign_init(ID, O_RDWR, fake_ioctl);
	seed = 1;
	return 0;
}

static struct capture_align *align_new(const char *path)
{
	struct capture_align *a;

	assert_int_equal(capture_align_new(&device.ops, -1, &a), 0);
	if (path)
		align_name(a, "records", path);
	capture_align_started(a);
	return a;
}

/* A radar that is 50 ppm fast; its n-th record is late by chance. */
static struct capture_frame record_at(uint64_t first_ns, uint32_t n,
				      uint64_t period_ns)
{
	uint64_t taken_ns = first_ns + n * period_ns;
	uint64_t late_ns = (50 + random_below(900)) * US;

	late_ns += random_below(50) ? 0 : 8 * MS;
	clocks.boot_ns = MAX(clocks.boot_ns, taken_ns + late_ns);
	return (struct capture_frame){
		.sequence = n,
		.device_hz = HZ,
		.device_ticks = 12345 + (uint64_t)n * period_ns / 25 +
				(uint64_t)n * period_ns / 25 / 20000,
		.stamp_ns = clocks.boot_ns + (uint64_t)clocks.monotonic_ns,
		.clock = CAPTURE_CLOCK_MONOTONIC,
	};
}

/* --- the module's word is ours --------------------------------------------- */

static void
submitted_pairs_give_the_same_times_as_our_own_estimate(void **state)
{
	struct capture_aligned with[1000];
	struct capture_align *a = align_new("udp:0.0.0.0:5000");
	uint64_t first = clocks.boot_ns;
	uint32_t kernel = 0;
	uint32_t n;

	(void)state;
	for (n = 0; n < ARRAY_SIZE(with); n++) {
		struct capture_frame f = record_at(first, n, 20 * MS);

		capture_align_frame(a, &f);
		with[n] = f.aligned;
	}
	(void)capture_align_free(a);
	assert_int_equal(fake.pairs, ARRAY_SIZE(with));
	fake_clocks_init();
	device.no_module = true;
	seed = 1;
	a = align_new("udp:0.0.0.0:5000");
	for (n = 0; n < ARRAY_SIZE(with); n++) {
		struct capture_frame f = record_at(first, n, 20 * MS);

		capture_align_frame(a, &f);
		assert_int_equal(f.aligned.ns, with[n].ns);
		assert_int_equal(f.aligned.epoch, with[n].epoch);
		if (with[n].by == CAPTURE_ALIGNED_KERNEL) {
			assert_int_equal(f.aligned.by,
					 CAPTURE_ALIGNED_ESTIMATE);
			assert_int_equal(f.aligned.sigma_ns, with[n].sigma_ns);
			kernel++;
		} else {
			assert_int_equal(f.aligned.by, with[n].by);
		}
	}
	assert_true(kernel > 900);
	(void)capture_align_free(a);
}

static void submitted_stream_is_named_and_described(void **state)
{
	struct capture_align *a;
	uint64_t first = clocks.boot_ns;
	struct capture_alignment now;
	uint32_t n;

	(void)state;
	fake.taken = 2;
	a = align_new("/dev/serial/by-id/usb-Some Radar Company-port0");
	for (n = 0; n < 20; n++) {
		struct capture_frame f = record_at(first, n, 20 * MS);

		capture_align_frame(a, &f);
	}
	assert_int_equal(fake.creates, 3);
	assert_int_equal(capture_align_state(a, &now), 0);
	assert_int_equal(now.by, CAPTURE_ALIGNED_KERNEL);
	assert_string_equal(now.name, "records-e.Radar.Company-port0-3");
	assert_int_equal(now.id, ID);
	assert_int_equal(now.samples + now.outliers, 20);
	assert_int_equal(fake.stream.nominal_mhz, HZ * 1000);
	(void)capture_align_free(a);
}

static void submitted_short_names_are_kept(void **state)
{
	struct align_submit s;

	(void)state;
	align_submit_init(&s);
	align_submit_name(&s, "audio", "hw:Loopback,1");
	assert_string_equal(s.name, "audio-hw.Loopback.1");
	align_submit_name(&s, "records", "/dev/ttyACM0");
	assert_string_equal(s.name, "records-dev.ttyACM0");
}

/* --- how often ---------------------------------------------------------------
 */

static void submits_are_as_few_as_promised(void **state)
{
	static const struct {
		uint64_t period_ns;
		uint32_t frames;
	} cases[] = {
		{20 * MS, 500}, {10 * MS, 500}, {MS, 5000}, {20 * US, 50000}};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct capture_align *a = align_new("/dev/ttyS0");
		uint64_t first = clocks.boot_ns;
		uint64_t spent_ns;
		uint32_t n;

		fake.submits = 0;
		fake.pairs = 0;
		device.opens = 0;
		fake.count_max = 0;
		for (n = 0; n < cases[i].frames; n++) {
			unsigned int before = fake.submits;
			struct capture_frame f =
				record_at(first, n, cases[i].period_ns);

			capture_align_frame(a, &f);
			assert_true(fake.submits - before <= 1);
		}
		spent_ns = clocks.boot_ns - first;
		assert_int_equal(device.opens, 1);
		assert_true(fake.submits <=
			    1 + spent_ns / CAPTURE_ALIGN_SUBMIT_NS +
				    n / CAPTURE_ALIGN_PAIRS_MAX);
		/* All but those that still wait. */
		assert_in_range(fake.pairs, n - CAPTURE_ALIGN_PAIRS_MAX, n);
		(void)capture_align_free(a);
	}
	assert_int_equal(fake.count_max, CAPTURE_ALIGN_PAIRS_MAX);
}

/* A driver's stamp of the frame's end, which has not come. */
static void submitted_pairs_wait_until_they_have_come(void **state)
{
	struct capture_align *a = align_new("/dev/ttyS0");
	uint64_t first = clocks.boot_ns;
	uint32_t n;

	(void)state;
	for (n = 0; n < 200; n++) {
		struct capture_frame f = {
			.sequence = n,
			.device_hz = 1000,
			.device_ticks = n * 20,
			.stamp_ns = first + n * 20 * MS + 30 * MS,
			.clock = CAPTURE_CLOCK_BOOTTIME,
		};

		clocks.boot_ns = first + n * 20 * MS;
		capture_align_frame(a, &f);
		assert_true(f.aligned.by != CAPTURE_ALIGNED_NOT);
	}
	assert_int_equal(fake.pairs, 198);
	(void)capture_align_free(a);
}

/* --- what is no smooth change
 * ------------------------------------------------- */

static void submitted_count_that_begins_anew_is_told(void **state)
{
	struct capture_align *a = align_new("hw:1");
	uint64_t first = clocks.boot_ns;
	uint32_t epoch = 0;
	uint32_t n;

	(void)state;
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
		assert_true(f.aligned.epoch >= epoch);
		if (n == 100)
			assert_true(f.aligned.epoch > epoch);
		if (n % 100 > 20)
			assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_KERNEL);
		epoch = f.aligned.epoch;
	}
	assert_int_equal(fake.restarts, 1);
	assert_int_equal(fake.creates, 1);
	(void)capture_align_free(a);
}

static void submitted_rate_that_changes_is_another_stream(void **state)
{
	struct capture_align *a = align_new("hw:1");
	uint64_t first = clocks.boot_ns;
	uint32_t n;

	(void)state;
	for (n = 0; n < 200; n++) {
		uint64_t hz = n < 100 ? 48000 : 16000;
		struct capture_frame f = {
			.sequence = n,
			.device_ticks = n * hz / 50,
			.device_hz = hz,
			.stamp_ns = first + n * 20 * MS,
			.clock = CAPTURE_CLOCK_BOOTTIME,
		};

		clocks.boot_ns = f.stamp_ns + 100 * US;
		capture_align_frame(a, &f);
		assert_true(apart(f.aligned.ns, f.stamp_ns) < MS);
	}
	assert_int_equal(fake.creates, 2);
	assert_int_equal(device.descriptors, 1);
	assert_int_equal(fake.stream.nominal_mhz, 16000000);
	(void)capture_align_free(a);
}

/* The rest of a row; none of it may stall or go back. */
static void take_rest(struct capture_align *a, uint64_t first, uint32_t from,
		      uint32_t to, enum capture_aligned_by by)
{
	struct capture_frame f = {0};
	uint64_t last = 0;
	uint32_t epoch = 0;
	uint32_t n;

	for (n = from; n < to; n++) {
		f = record_at(first, n, 20 * MS);
		capture_align_frame(a, &f);
		assert_true(f.aligned.epoch > epoch ||
			    (f.aligned.epoch == epoch && f.aligned.ns > last));
		last = f.aligned.ns;
		epoch = f.aligned.epoch;
	}
	assert_int_equal(f.aligned.by, by);
}

static void submit_that_is_refused_ends_in_our_own_estimate(void **state)
{
	static const int errors[] = {-ENODEV, -EPERM, -EINVAL, -ENOMEM,
				     -EFAULT};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(errors); i++) {
		struct capture_align *a = align_new("/dev/ttyS0");
		uint64_t first = clocks.boot_ns;
		struct capture_frame f;
		uint32_t epoch;

		take_rest(a, first, 0, 99, CAPTURE_ALIGNED_KERNEL);
		f = record_at(first, 99, 20 * MS);
		capture_align_frame(a, &f);
		epoch = f.aligned.epoch;
		fake.submit = errors[i];
		device.no_module = true;
		f = record_at(first, 100, 20 * MS);
		capture_align_frame(a, &f);
		assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_ESTIMATE);
		assert_int_equal(f.aligned.epoch, epoch + 1);
		assert_int_equal(device.descriptors, 0);
		assert_int_equal(device.maps, 0);
		take_rest(a, first, 101, 200, CAPTURE_ALIGNED_ESTIMATE);
		/* And back, once the module's line is as good as ours. */
		fake.submit = 0;
		device.no_module = false;
		take_rest(a, first, 200, 4500, CAPTURE_ALIGNED_KERNEL);
		(void)capture_align_free(a);
	}
}

static void submitted_stream_that_is_gone_ends_in_our_own_estimate(void **state)
{
	struct capture_align *a = align_new("/dev/ttyS0");
	uint64_t first = clocks.boot_ns;
	struct capture_frame f;

	(void)state;
	take_rest(a, first, 0, 100, CAPTURE_ALIGNED_KERNEL);
	/* Not even its pairs come through: it is the page that tells. */
	device.no_module = true;
	clocks.boot_ns += MS;
	device.page->state = TSALIGN_GONE;
	f = (struct capture_frame){
		.device_hz = HZ,
		.device_ticks = 12345 + UINT64_C(100) * 20 * MS / 25,
		.flags = CAPTURE_FRAME_ERROR,
		.stamp_ns = clocks.boot_ns,
		.clock = CAPTURE_CLOCK_BOOTTIME,
	};
	capture_align_frame(a, &f);
	assert_int_equal(f.aligned.by, CAPTURE_ALIGNED_ESTIMATE);
	assert_int_equal(device.descriptors, 0);
	assert_int_equal(device.maps, 0);
	(void)capture_align_free(a);
}

/* A module that comes late knows little at first: our own line goes on. */
static void submit_to_a_late_module_waits_until_it_knows_as_much(void **state)
{
	struct capture_align *a;
	uint64_t begin = clocks.boot_ns;
	enum capture_aligned_by by = CAPTURE_ALIGNED_NOT;
	uint64_t first = 0; /* bound of the module's */
	unsigned int changes = 0;
	uint32_t n;

	(void)state;
	device.no_module = true;
	a = align_new("/dev/ttyS0");
	for (n = 0; n < 6000; n++) {
		struct capture_frame f = record_at(begin, n, 20 * MS);

		device.no_module = n < 1000;
		capture_align_frame(a, &f);
		if (n < 100)
			continue;
		if (f.aligned.by == CAPTURE_ALIGNED_KERNEL &&
		    by == CAPTURE_ALIGNED_ESTIMATE) {
			changes++;
			assert_true(fake.fit.samples > 100);
			assert_true(f.aligned.sigma_ns < first / 10);
		}
		by = f.aligned.by;
		if (!first && device.page->state == TSALIGN_COARSE)
			first = device.page->sigma_ns;
	}
	assert_int_equal(by, CAPTURE_ALIGNED_KERNEL);
	assert_int_equal(changes, 1);
	(void)capture_align_free(a);
}

static void counter_without_a_name_is_nobodys_business(void **state)
{
	struct capture_align *a = align_new(NULL);
	uint64_t first = clocks.boot_ns;

	(void)state;
	take_rest(a, first, 0, 100, CAPTURE_ALIGNED_ESTIMATE);
	assert_int_equal(device.opens, 0);
	(void)capture_align_free(a);
}

/* --- FIFOs
 * --------------------------------------------------------------------- */

/* Read 32 at once, when the last has come: 2 % slower than it says. */
static void fifo_frames_are_back_dated_by_the_rate_that_was_learnt(void **state)
{
	const uint64_t sample_ns = 1020 * US;
	bool module;

	(void)state;
	for (module = false;; module = true) {
		struct capture_align *a;
		uint64_t first = clocks.boot_ns + S;
		uint32_t n;

		device.no_module = !module;
		a = align_new("imu");
		for (n = 0; n < 400; n++) {
			uint64_t end_ns = first + (n + 1) * 32 * sample_ns;
			struct capture_frame f = {
				.sequence = n,
				.device_ticks = (uint64_t)n * 32,
				.device_hz = 1000,
				.stamp_ns = end_ns + random_below(300) * US,
				.clock = CAPTURE_CLOCK_BOOTTIME,
				.point = CAPTURE_POINT_ARRIVAL,
			};

			clocks.boot_ns = f.stamp_ns + 10 * US;
			align_stamp_after(a, 32);
			capture_align_frame(a, &f);
			/* Before anything is known: by the nominal rate. */
			assert_true(
				apart(f.aligned.ns, end_ns - 32 * sample_ns) <
				(n < 100 ? 2 * MS : 100 * US));
			if (n >= 100)
				assert_int_equal(
					f.aligned.by,
					module ? CAPTURE_ALIGNED_KERNEL
					       : CAPTURE_ALIGNED_ESTIMATE);
		}
		(void)capture_align_free(a);
		if (module)
			break;
	}
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fake_tsalign_left)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(submitted_pairs_give_the_same_times_as_our_own_estimate),
		CASE(submitted_stream_is_named_and_described),
		CASE(submitted_short_names_are_kept),
		CASE(submits_are_as_few_as_promised),
		CASE(submitted_pairs_wait_until_they_have_come),
		CASE(submitted_count_that_begins_anew_is_told),
		CASE(submitted_rate_that_changes_is_another_stream),
		CASE(submit_that_is_refused_ends_in_our_own_estimate),
		CASE(submitted_stream_that_is_gone_ends_in_our_own_estimate),
		CASE(submit_to_a_late_module_waits_until_it_knows_as_much),
		CASE(counter_without_a_name_is_nobodys_business),
		CASE(fifo_frames_are_back_dated_by_the_rate_that_was_learnt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
