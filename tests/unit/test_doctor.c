/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of kvsctl doctor: what stamps say, names, its archive. */
#include "kvsctl/doctor_names.h"
#include "kvsctl/doctor_stamps.h"
#include "kvsctl/tar.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define FRAMES 100

/* Realtime is decades ahead of monotonic; 2 s were slept through. */
static const struct stamp_offsets offsets = {
	.realtime_ns = INT64_C(1700000000) * (int64_t)S,
	.boottime_ns = 2 * (int64_t)S,
};

static struct stamp_sample samples[FRAMES];

/* 100 frames of 40 ms, each dequeued @lag_ns after its stamp. */
static void make(uint64_t lag_ns)
{
	size_t i;

	for (i = 0; i < FRAMES; i++) {
		samples[i].stamp_ns = 5 * S + i * 40 * MS;
		samples[i].dequeue_ns = samples[i].stamp_ns + lag_ns;
		samples[i].sequence = (uint32_t)i;
	}
}

static struct stamps judge(size_t count, enum capture_clock clock,
			   enum capture_point point)
{
	struct stamps s;

	stamps_analyse(samples, count, clock, point, &offsets, &s);
	return s;
}

static struct stamps judge_all(void)
{
	return judge(FRAMES, CAPTURE_CLOCK_MONOTONIC,
		     CAPTURE_POINT_END_OF_FRAME);
}

static void stamps_agree_when_all_is_well(void **state)
{
	struct stamps s;

	(void)state;
	make(MS);
	s = judge_all();
	assert_int_equal(s.frames, FRAMES);
	assert_int_equal(s.clock, CAPTURE_CLOCK_MONOTONIC);
	assert_int_equal(s.clock_verdict, STAMP_AGREES);
	assert_int_equal(s.point_verdict, STAMP_AGREES);
	assert_int_equal(s.lag_min_ns, MS);
	assert_int_equal(s.lag_median_ns, MS);
	assert_int_equal(s.lag_max_ns, MS);
	assert_int_equal(s.between, FRAMES - 1);
	assert_true(s.increasing);
	assert_int_equal(s.interval_ns, 40 * MS);
	assert_int_equal(s.jitter_p50_ns, 0);
	assert_int_equal(s.jitter_p99_ns, 0);
	assert_int_equal(s.lost + s.repeated, 0);
}

static void stamps_say_nothing_of_few_frames(void **state)
{
	struct stamps s;

	(void)state;
	make(MS);
	s = judge(2, CAPTURE_CLOCK_MONOTONIC, CAPTURE_POINT_END_OF_FRAME);
	assert_int_equal(s.frames, 2);
	assert_int_equal(s.clock, CAPTURE_CLOCK_UNKNOWN);
	assert_int_equal(s.clock_verdict, STAMP_NOT_KNOWN);
	assert_int_equal(s.interval_ns, 0);
}

static void stamps_of_another_clock_contradict(void **state)
{
	struct stamps s;
	size_t i;

	(void)state;
	make(MS);
	for (i = 0; i < FRAMES; i++)
		samples[i].stamp_ns += (uint64_t)offsets.realtime_ns;
	s = judge_all();
	assert_int_equal(s.clock, CAPTURE_CLOCK_REALTIME);
	assert_int_equal(s.clock_verdict, STAMP_CONTRADICTS);
	/* Told of as if of the clock that it is. */
	assert_int_equal(s.lag_median_ns, MS);
	s = judge(FRAMES, CAPTURE_CLOCK_UNKNOWN, CAPTURE_POINT_END_OF_FRAME);
	assert_int_equal(s.clock, CAPTURE_CLOCK_REALTIME);
	assert_int_equal(s.clock_verdict, STAMP_NOT_KNOWN);

	make(MS);
	for (i = 0; i < FRAMES; i++)
		samples[i].stamp_ns += (uint64_t)offsets.boottime_ns;
	s = judge(FRAMES, CAPTURE_CLOCK_BOOTTIME, CAPTURE_POINT_END_OF_FRAME);
	assert_int_equal(s.clock_verdict, STAMP_AGREES);
	s = judge_all();
	assert_int_equal(s.clock, CAPTURE_CLOCK_BOOTTIME);
	assert_int_equal(s.clock_verdict, STAMP_CONTRADICTS);
}

static void one_stamp_in_the_future_contradicts(void **state)
{
	struct stamps s;

	(void)state;
	make(MS);
	samples[50].stamp_ns += 3 * MS;
	s = judge_all();
	/* Boottime was ahead at that time, so it could be that one. */
	assert_int_equal(s.clock_verdict, STAMP_CONTRADICTS);
	make(MS);
	samples[50].stamp_ns += 3 * S;
	s = judge_all();
	assert_int_equal(s.clock, CAPTURE_CLOCK_UNKNOWN);
	assert_int_equal(s.clock_verdict, STAMP_CONTRADICTS);
	assert_int_equal(s.point_verdict, STAMP_NOT_KNOWN);
}

static void rounding_to_microseconds_is_no_future(void **state)
{
	(void)state;
	make(0);
	samples[7].stamp_ns += 999;
	assert_int_equal(judge_all().clock_verdict, STAMP_AGREES);
	make(0);
	samples[7].stamp_ns += 1001;
	assert_int_equal(judge_all().clock_verdict, STAMP_CONTRADICTS);
}

static void age_tells_what_a_stamp_can_mean(void **state)
{
	(void)state;
	make(MS);
	assert_int_equal(judge(FRAMES, CAPTURE_CLOCK_MONOTONIC,
			       CAPTURE_POINT_START_OF_EXPOSURE)
				 .point_verdict,
			 STAMP_DOUBTFUL);
	make(41 * MS);
	assert_int_equal(judge(FRAMES, CAPTURE_CLOCK_MONOTONIC,
			       CAPTURE_POINT_START_OF_EXPOSURE)
				 .point_verdict,
			 STAMP_AGREES);
	/* An old stamp of the end: the way to us may be long. */
	assert_int_equal(judge_all().point_verdict, STAMP_NOT_KNOWN);
	assert_int_equal(judge_all().between, 0);
	assert_int_equal(judge(FRAMES, CAPTURE_CLOCK_MONOTONIC,
			       CAPTURE_POINT_FIRST_SAMPLE)
				 .point_verdict,
			 STAMP_AGREES);
	/* The first of its samples cannot be as young as the last. */
	make(MS);
	assert_int_equal(judge(FRAMES, CAPTURE_CLOCK_MONOTONIC,
			       CAPTURE_POINT_FIRST_SAMPLE)
				 .point_verdict,
			 STAMP_DOUBTFUL);
	assert_int_equal(judge(FRAMES, CAPTURE_CLOCK_MONOTONIC,
			       CAPTURE_POINT_ARRIVAL)
				 .point_verdict,
			 STAMP_NOT_KNOWN);
}

static void lost_frames_do_not_slow_the_rate(void **state)
{
	struct stamps s;
	size_t i;

	(void)state;
	make(MS);
	for (i = 50; i < FRAMES; i++) {
		samples[i].sequence += 3;
		samples[i].stamp_ns += 3 * 40 * MS;
		samples[i].dequeue_ns += 3 * 40 * MS;
	}
	s = judge_all();
	assert_int_equal(s.lost, 3);
	assert_int_equal(s.interval_ns, 40 * MS);
	assert_int_equal(s.jitter_p99_ns, 0);
}

static void steps_back_are_told(void **state)
{
	struct stamps s;

	(void)state;
	make(MS);
	samples[20].sequence = 19;
	s = judge_all();
	assert_int_equal(s.repeated, 1);
	assert_int_equal(s.interval_ns, 0); /* the count is worth nothing */
	make(MS);
	samples[20].stamp_ns = samples[19].stamp_ns;
	s = judge_all();
	assert_false(s.increasing);
	assert_int_equal(s.interval_ns, 0);
	assert_int_equal(s.point_verdict, STAMP_NOT_KNOWN);
}

static void jitter_is_the_distance_from_the_mean(void **state)
{
	struct stamps s;
	size_t i;

	(void)state;
	make(10 * MS);
	/* One stamp of ten is 2 ms late: two steps of ten are off. */
	for (i = 5; i < FRAMES; i += 10)
		samples[i].stamp_ns += 2 * MS;
	s = judge_all();
	assert_int_equal(s.interval_ns, 40 * MS);
	assert_int_equal(s.jitter_p50_ns, 0);
	assert_int_equal(s.jitter_p99_ns, 2 * MS);
	assert_int_equal(s.lag_min_ns, 8 * MS);
	assert_int_equal(s.lag_max_ns, 10 * MS);
}

static void sequence_numbers_may_wrap(void **state)
{
	size_t i;

	(void)state;
	make(MS);
	for (i = 0; i < FRAMES; i++)
		samples[i].sequence += UINT32_MAX - 40;
	assert_int_equal(judge_all().lost + judge_all().repeated, 0);
}

static void names_are_for_all_values(void **state)
{
	(void)state;
	assert_string_equal(stamp_clock_name(CAPTURE_CLOCK_UNKNOWN),
			    "not known");
	assert_string_equal(stamp_clock_name(CAPTURE_CLOCK_MONOTONIC),
			    "monotonic");
	assert_string_equal(stamp_point_name(CAPTURE_POINT_END_OF_FRAME),
			    "end of frame");
	assert_string_equal(stamp_verdict_name(STAMP_CONTRADICTS),
			    "contradicts");
}

/* --- the archive ----------------------------------------------------------- */

static void tar_is_what_tar_reads(void **state)
{
	char content[700];
	char *bytes = NULL;
	char listing[256] = "";
	char path[] = "/tmp/test_doctor.XXXXXX";
	char command[128];
	size_t len = 0;
	FILE *out = open_memstream(&bytes, &len);
	FILE *pipe;
	int fd;

	(void)state;
	memset(content, 'x', sizeof(content));
	assert_int_equal(tar_add(out, "a/empty", "", 0, 0), 0);
	assert_int_equal(tar_add(out, "a/full", content, sizeof(content), 1),
			 0);
	assert_int_equal(tar_add(out, "block", content, 512, 0777777777777), 0);
	assert_int_equal(tar_end(out), 0);
	assert_int_equal(fclose(out), 0);
	assert_int_equal(len, 512 * (1 + 1 + 2 + 1 + 1 + 2));
	fd = mkstemp(path);
	assert_true(fd >= 0);
	out = fdopen(fd, "wb");
	assert_int_equal(fwrite(bytes, 1, len, out), len);
	assert_int_equal(fclose(out), 0);
	free(bytes);
	(void)snprintf(command, sizeof(command),
		       "tar tf %s && tar xOf %s a/full | wc -c", path, path);
	pipe = popen(command, "r");
	len = fread(listing, 1, sizeof(listing) - 1, pipe);
	listing[len] = '\0';
	assert_int_equal(pclose(pipe), 0);
	(void)remove(path);
	assert_string_equal(listing, "a/empty\na/full\nblock\n700\n");
}

static void tar_refuses_what_does_not_fit(void **state)
{
	char name[TAR_NAME_BYTES + 1];
	FILE *full = fopen("/dev/full", "wb");

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_int_equal(tar_add(full, name, "", 0, 0), -ENAMETOOLONG);
	setvbuf(full, NULL, _IONBF, 0);
	assert_int_equal(tar_add(full, "a", "b", 1, 0), -EIO);
	assert_int_equal(tar_end(full), -EIO);
	(void)fclose(full);
}

#define PLACE "/dev/kvsd/by-path/platform-x-"

static void links_have_names_as_udev_writes_them(void **state)
{
	(void)state;
	assert_true(doctor_link_has_name(PLACE "vivid-000-vid-cap",
					 "vivid-000-vid-cap"));
	assert_false(doctor_link_has_name(PLACE "vivid-001-vid-cap",
					  "vivid-000-vid-cap"));
	/* Blanks: a run is one, those at the end are none. */
	assert_true(doctor_link_has_name(PLACE "HD_Webcam:_HD",
					 "HD  Webcam: HD  "));
	assert_false(
		doctor_link_has_name(PLACE "HD__Webcam:_HD", "HD  Webcam: HD"));
	assert_true(doctor_link_has_name(PLACE "a_b_c_", "a/b(c)"));
	/* Encoded: "\\x20". */
	assert_true(doctor_link_has_name(PLACE "HD\\x20Webcam", "HD Webcam"));
	assert_true(doctor_link_has_name(PLACE "a\\x2fb\\x5c", "a/b\\"));
	/* UTF-8 stays, as far as it is any. */
	assert_true(
		doctor_link_has_name(PLACE "K\xc3\xa4mera", "K\xc3\xa4mera"));
	assert_true(doctor_link_has_name(PLACE "K_mera", "K\xc3mera"));
	/* What names nothing is no name. */
	assert_false(doctor_link_has_name(PLACE, ""));
	assert_false(doctor_link_has_name(PLACE "_", "   "));
}

static void sources_have_names_of_their_own(void **state)
{
	char a[DOCTOR_SOURCE_CHARS];
	char b[DOCTOR_SOURCE_CHARS];

	(void)state;
	doctor_source_name("HD Webcam: HD Webcam", "usb-1.2 0", a);
	doctor_source_name("HD Webcam: HD Webcam", "usb-1.3 0", b);
	assert_int_equal(strncmp(a, "hd-webcam-hd-webc-", 18), 0);
	assert_int_equal(strlen(a), 24);
	assert_string_not_equal(a, b);
	doctor_source_name("HD Webcam: HD Webcam", "usb-1.2 0", b);
	assert_string_equal(a, b);
	/* Of nothing but what may not stand there. */
	doctor_source_name("\xff[]\n", "x", a);
	assert_int_equal(strncmp(a, "camera-", 7), 0);
	assert_int_equal(strspn(a, "abcdefghijklmnopqrstuvwxyz0123456789-."),
			 strlen(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stamps_agree_when_all_is_well),
		cmocka_unit_test(stamps_say_nothing_of_few_frames),
		cmocka_unit_test(stamps_of_another_clock_contradict),
		cmocka_unit_test(one_stamp_in_the_future_contradicts),
		cmocka_unit_test(rounding_to_microseconds_is_no_future),
		cmocka_unit_test(age_tells_what_a_stamp_can_mean),
		cmocka_unit_test(lost_frames_do_not_slow_the_rate),
		cmocka_unit_test(steps_back_are_told),
		cmocka_unit_test(jitter_is_the_distance_from_the_mean),
		cmocka_unit_test(sequence_numbers_may_wrap),
		cmocka_unit_test(names_are_for_all_values),
		cmocka_unit_test(links_have_names_as_udev_writes_them),
		cmocka_unit_test(sources_have_names_of_their_own),
		cmocka_unit_test(tar_is_what_tar_reads),
		cmocka_unit_test(tar_refuses_what_does_not_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
