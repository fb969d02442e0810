/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be told without a device, and what timestamps tell of scans that
 * are missing; scans: tests/hil/test_audio_records.sh.
 */
#include <capture/source.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "src/scan_gaps.h"
#include "support/sys_fault.h"

static int refused(const struct capture_source_config *config)
{
	struct capture_source *s = NULL;
	int r;

	sys_fault_reset();
	r = capture_source_open(sys_fault(), config, &s);
	assert_null(s);
	assert_int_equal(sys_fault_open_fds(), 0);
	assert_int_equal(sys_fault_open_maps(), 0);
	return r;
}

static void a_device_that_is_not_there_is_told(void **state)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_IIO,
		.path = "no-such-sensor",
	};

	(void)state;
	assert_int_equal(refused(&config), HAVE_IIO ? -ENODEV : -EOPNOTSUPP);
}

static void a_configuration_that_cannot_be_is_refused(void **state)
{
	static const uint32_t yu12[] = {CAPTURE_FORMAT_YU12};
	struct capture_source_config config = {.kind = CAPTURE_SOURCE_IIO};

	(void)state;
	if (!HAVE_IIO)
		skip(); /* libiio is not built in */
	assert_int_equal(refused(&config), -EINVAL);
	config.path = "adc";
	config.frame_samples = UINT32_MAX;
	assert_int_equal(refused(&config), -ERANGE);
	config.frame_samples = 0;
	config.fourccs = yu12;
	config.fourcc_count = 1;
	assert_int_equal(refused(&config), -EPROTONOSUPPORT);
}

#define MS UINT64_C(1000000)

static struct scan_gaps gaps;
static uint64_t at_ns;

/* 100 scans a second, 10 a frame; from a second on. */
static void begin(void)
{
	scan_gaps_init(&gaps, 100, 10);
	at_ns = 990 * MS;
}

/* Ten scans; before number @where, @missing are left out. */
static int64_t frame(unsigned int where, unsigned int missing,
		     uint64_t *ret_frames)
{
	int64_t scans;
	unsigned int i;

	for (i = 0; i < 10; i++) {
		at_ns += (1 + (i == where ? missing : 0)) * 10 * MS;
		scan_gaps_put(&gaps, at_ns);
	}
	*ret_frames = scan_gaps_end_frame(&gaps, &scans);
	return scans;
}

static void scans_missing_inside_a_frame_are_counted(void **state)
{
	uint64_t lost;

	(void)state;
	begin();
	assert_int_equal(frame(0, 0, &lost), 0);
	assert_int_equal(frame(5, 4, &lost), 4);
	assert_int_equal(lost, 0);
	/* Between two frames as well; ten of them are one. */
	assert_int_equal(frame(0, 5, &lost), 5);
	assert_int_equal(lost, 0);
	assert_int_equal(frame(9, 3, &lost), 3);
	assert_int_equal(lost, 1);
	assert_int_equal(frame(3, 28, &lost), 28);
	assert_int_equal(lost, 3);
	assert_int_equal(gaps.missing, 0);
}

static void scans_that_are_late_are_not_missing(void **state)
{
	uint64_t lost;
	int64_t scans;
	unsigned int i;

	(void)state;
	begin();
	/* Every third one is 7 ms late. */
	for (i = 1; i <= 1000; i++) {
		scan_gaps_put(&gaps,
			      1000 * MS + i * 10 * MS + (i % 3 ? 0 : 7 * MS));
		if (i % 10)
			continue;
		lost = scan_gaps_end_frame(&gaps, &scans);
		assert_int_equal(lost, 0);
	}
	assert_true(gaps.missing <= 1);
}

static void a_clock_that_is_off_loses_no_scans(void **state)
{
	uint64_t lost;
	int64_t scans;
	unsigned int i;

	(void)state;
	begin();
	/* 4 % slower than it says: a scan's worth in each third frame. */
	for (i = 1; i <= 1000; i++) {
		scan_gaps_put(&gaps, 1000 * MS + i * 10400000);
		if (i % 10)
			continue;
		lost = scan_gaps_end_frame(&gaps, &scans);
		assert_int_equal(lost, 0);
		assert_int_equal(scans, 0);
	}
	/* Without a rate, or without times, nothing is known. */
	scan_gaps_init(&gaps, 0, 10);
	scan_gaps_put(&gaps, 1);
	scan_gaps_put(&gaps, 1000 * MS);
	assert_int_equal(scan_gaps_end_frame(&gaps, &scans), 0);
	assert_int_equal(scans, 0);
	begin();
	for (i = 0; i < 10; i++)
		scan_gaps_put(&gaps, 0);
	assert_int_equal(scan_gaps_end_frame(&gaps, &scans), 0);
	assert_int_equal(scans, 0);
	/* Backwards: not many at once. */
	scan_gaps_put(&gaps, UINT64_MAX);
	scan_gaps_put(&gaps, 1);
	assert_int_equal(scan_gaps_end_frame(&gaps, &scans), 0);
	assert_int_equal(scans, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_is_not_there_is_told),
		cmocka_unit_test(a_configuration_that_cannot_be_is_refused),
		cmocka_unit_test(scans_missing_inside_a_frame_are_counted),
		cmocka_unit_test(scans_that_are_late_are_not_missing),
		cmocka_unit_test(a_clock_that_is_off_loses_no_scans),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
