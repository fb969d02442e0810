/* SPDX-License-Identifier: Apache-2.0 */
/* kvs/recorder.h: what is put comes out of the file, whole and in order. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <kvs/recorder.h>

#include "base/buf.h"
#include "base/macros.h"
#include "io/recorder_int.h"
#include "proto/mkv_reader.h"
#include "support/mkv_events.h"
#include "support/sys_fault.h"

#define FRAMES 31u
#define FRAME_MS 100u
#define GOP 10u
#define FRAME_BYTES 700u
#define START_NS UINT64_C(1700000000000000000)
#define NS_PER_MS UINT64_C(1000000)

static const struct kvs_track tracks[] = {
	{
		.kind = KVS_TRACK_VIDEO,
		.codec_id = "V_MJPEG",
		.name = "camera",
		.width = 64,
		.height = 48,
	},
	{
		.kind = KVS_TRACK_DATA,
		.codec_id = "D_KVSD/RECORD",
		.name = "radar",
	},
};

static int file_fd(void)
{
	int fd = memfd_create("recorder", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static int open_recorder(const struct sys_ops *sys, int fd,
			 struct kvs_recorder **ret)
{
	struct kvs_recorder_config config = {
		.tracks = tracks,
		.track_count = ARRAY_SIZE(tracks),
		.fd = fd,
		.fragment_ms = 1000,
		.store_bytes = 1u << 20,
	};

	return recorder_new(&config, sys, ret);
}

static void fill(uint8_t *bytes, uint32_t i, uint32_t track)
{
	memset(bytes, (int)(i * 2 + track), FRAME_BYTES);
}

static int put(struct kvs_recorder *k, uint32_t i, uint32_t track)
{
	uint8_t bytes[FRAME_BYTES];

	fill(bytes, i, track);
	return kvs_recorder_put_frame(
		k, &(struct kvs_frame){
			   .track = track,
			   .data = bytes,
			   .bytes = FRAME_BYTES,
			   .time_ns = START_NS + i * FRAME_MS * NS_PER_MS,
			   .key = i % GOP == 0,
		   });
}

static int put_all(struct kvs_recorder *k)
{
	int r = 0;

	for (uint32_t i = 0; i < FRAMES && r == 0; i++) {
		r = put(k, i, 0);
		if (r == 0)
			r = put(k, i, 1);
	}
	return r;
}

static size_t read_file(int fd, uint8_t *bytes, size_t max)
{
	ssize_t n = pread(fd, bytes, max, 0);

	assert_true(n >= 0 && (size_t)n < max);
	return (size_t)n;
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

/* The reader's words for a file, NUL-terminated; static. */
static const char *events(int fd, enum mkv_error *ret_error)
{
	static uint8_t bytes[1 << 20];
	static struct buf log;
	size_t len = read_file(fd, bytes, sizeof(bytes));

	buf_fini(&log);
	buf_init(&log, MKV_EVENTS_BYTES_MAX);
	(void)mkv_events_run_slices(bytes, len, 4096, 0, &log, ret_error);
	return (const char *)buf_head(&log);
}

static void file_has_what_was_put(void **state)
{
	static uint8_t bytes[1 << 20];
	uint8_t want[FRAME_BYTES];
	struct kvs_recorder_stats stats;
	struct kvs_recorder *k;
	enum mkv_error error;
	int fd = file_fd();
	const char *log;
	size_t len;

	(void)state;
	assert_int_equal(open_recorder(sys_posix(), fd, &k), 0);
	assert_int_equal(put_all(k), 0);
	assert_int_equal(kvs_recorder_finish(k), 0);
	assert_int_equal(put(k, FRAMES, 0), -EPIPE);
	kvs_recorder_stats(k, &stats);
	assert_null(kvs_recorder_free(k));
	log = events(fd, &error);
	assert_int_equal(error, MKV_OK);
	assert_int_equal(count(log, "document "), 2); /* begin and end */
	assert_int_equal(count(log, "V_MJPEG 'camera'"), 1);
	assert_int_equal(count(log, "D_KVSD/RECORD 'radar'"), 1);
	assert_int_equal(count(log, "timecode "), 4);
	assert_int_equal(count(log, "+700 rel"), 2 * FRAMES);
	len = read_file(fd, bytes, sizeof(bytes));
	for (uint32_t i = 0; i < 2 * FRAMES; i++) {
		fill(want, i / 2, i % 2);
		assert_non_null(memmem(bytes, len, want, FRAME_BYTES));
	}
	assert_int_equal(stats.frames_in, 2 * FRAMES);
	assert_int_equal(stats.frames_dropped, 0);
	assert_int_equal(stats.fragments_written, 4);
	assert_int_equal(stats.bytes_written, len);
	(void)close(fd);
}

static void file_is_good_without_a_finish(void **state)
{
	struct kvs_recorder *k;
	enum mkv_error error;
	int fd = file_fd();
	const char *log;

	(void)state;
	assert_int_equal(open_recorder(sys_posix(), fd, &k), 0);
	assert_int_equal(put_all(k), 0);
	(void)kvs_recorder_free(k);
	log = events(fd, &error);
	assert_int_equal(error, MKV_OK);
	/* The last fragment, of one frame, was never whole. */
	assert_true(count(log, "timecode ") >= 2);
	assert_int_equal(count(log, "+700 rel") % 2, 0);
	(void)close(fd);
}

static void config_is_checked(void **state)
{
	struct kvs_recorder_config good = {
		.tracks = tracks,
		.track_count = ARRAY_SIZE(tracks),
		.fd = 1,
	};
	struct kvs_recorder_config bad = good;
	struct kvs_recorder *k = NULL;

	(void)state;
	bad.fd = -EBADF;
	assert_int_equal(kvs_recorder_new(&bad, &k), -EINVAL);
	assert_non_null(strstr(kvs_config_error(), "fd"));
	bad = good;
	bad.track_count = KVS_TRACKS_MAX + 1;
	assert_int_equal(kvs_recorder_new(&bad, &k), -EINVAL);
	bad = good;
	bad.fragment_ms = 1;
	assert_int_equal(kvs_recorder_new(&bad, &k), -EINVAL);
	bad = good;
	bad.store_bytes = 4096;
	assert_int_equal(kvs_recorder_new(&bad, &k), -EINVAL);
	assert_null(k);
}

static void frames_are_checked(void **state)
{
	struct kvs_recorder_stats stats;
	struct kvs_recorder *k;
	int fd = file_fd();

	(void)state;
	assert_int_equal(open_recorder(sys_posix(), fd, &k), 0);
	assert_int_equal(put(k, 1, 0), -EAGAIN); /* no key frame yet */
	assert_int_equal(put(k, 1, 2), -EINVAL);
	assert_int_equal(put(k, 10, 0), 0);
	assert_int_equal(put(k, 9, 0), -ERANGE);
	kvs_recorder_stats(k, &stats);
	assert_int_equal(stats.frames_dropped, 2);
	(void)kvs_recorder_free(k);
	(void)close(fd);
}

static void full_store_drops_frames_and_goes_on(void **state)
{
	static uint8_t big[300 << 10];
	struct kvs_frame frame = {
		.data = big,
		.bytes = sizeof(big),
		.key = true,
		.time_ns = START_NS,
	};
	struct kvs_recorder *k;
	enum mkv_error error;
	int fd = file_fd();
	int r = 0;

	(void)state;
	assert_int_equal(open_recorder(sys_posix(), fd, &k), 0);
	for (uint32_t i = 0; i < 8 && r == 0; i++) {
		r = kvs_recorder_put_frame(k, &frame);
		frame.time_ns += 10 * NS_PER_MS;
	}
	assert_int_equal(r, -ENOBUFS);
	assert_int_equal(kvs_recorder_finish(k), 0);
	(void)kvs_recorder_free(k);
	(void)events(fd, &error);
	assert_int_equal(error, MKV_OK);
	(void)close(fd);
}

/* Every call fails once: told, nothing leaks, and a failure to write stays. */
static void failing_calls_are_told(void **state)
{
	unsigned long n;

	(void)state;
	for (n = 1;; n++) {
		struct kvs_recorder *k = NULL;
		int fd = file_fd();
		int r;

		sys_fault_reset();
		sys_fault_arm(n, -ENOSPC);
		r = open_recorder(sys_fault(), fd, &k);
		if (r == 0)
			r = put_all(k);
		if (k && r == 0)
			r = kvs_recorder_finish(k);
		if (!sys_fault_fired())
			assert_int_equal(r, 0);
		else
			assert_int_equal(r, -ENOSPC);
		if (k && r < 0) {
			assert_int_equal(put(k, 2 * FRAMES, 0), -ENOSPC);
			assert_int_equal(kvs_recorder_finish(k), -ENOSPC);
		}
		(void)kvs_recorder_free(k);
		assert_int_equal(sys_fault_open_maps(), 0);
		(void)close(fd);
		if (!sys_fault_fired())
			break;
	}
	assert_true(n > 4); /* getrandom, mmap, and writes */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_has_what_was_put),
		cmocka_unit_test(file_is_good_without_a_finish),
		cmocka_unit_test(config_is_checked),
		cmocka_unit_test(frames_are_checked),
		cmocka_unit_test(full_store_drops_frames_and_goes_on),
		cmocka_unit_test(failing_calls_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
