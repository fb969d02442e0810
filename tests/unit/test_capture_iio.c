/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be told without a device; scans: tests/hil/test_audio_records.sh.
 */
#include <capture/source.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_that_is_not_there_is_told),
		cmocka_unit_test(a_configuration_that_cannot_be_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
