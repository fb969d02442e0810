/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/source.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/spi/spidev.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/macros.h"
#include "src/record.h"
#include "support/sys_fault.h"

#define PAYLOAD 100
#define RECORD_BYTES (CAPTURE_RECORD_HEADER_BYTES + PAYLOAD)

static char dir[] = "/tmp/test_records.XXXXXX";
static char fifo[64];
static char fifo_path[96];

static int setup(void **state)
{
	(void)state;
	sys_fault_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return sys_fault_open_fds() || sys_fault_open_maps();
}

static int group_setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(fifo, sizeof(fifo), "%s/radar", dir);
	(void)snprintf(fifo_path, sizeof(fifo_path), "pipe:%s", fifo);
	return mkfifo(fifo, 0600);
}

static int group_teardown(void **state)
{
	(void)state;
	(void)unlink(fifo);
	return rmdir(dir);
}

/* --- records ------------------------------------------------------------ */

/* A record whose payload counts on from its sequence. */
static size_t make(uint32_t sequence, size_t payload_bytes, uint8_t *to)
{
	struct capture_record record = {
		.type = CAPTURE_FOURCC('C', 'U', '0', '8'),
		.payload_bytes = (uint32_t)payload_bytes,
		.sequence = sequence,
		.device_ticks = UINT64_C(1) << 40 | sequence,
		.device_hz = 40000000,
	};
	uint8_t *payload = to + CAPTURE_RECORD_HEADER_BYTES;
	size_t i;

	for (i = 0; i < payload_bytes; i++)
		payload[i] = (uint8_t)(sequence + i);
	assert_int_equal(capture_record_header_write(&record, payload, to), 0);
	return CAPTURE_RECORD_HEADER_BYTES + payload_bytes;
}

static void header_is_as_documented(void **state)
{
	static const uint8_t payload[] = "123456789";
	struct capture_record record = {
		.flags = CAPTURE_RECORD_OVERRUN,
		.type = CAPTURE_FOURCC('A', 'B', 'C', 'D'),
		.payload_bytes = 9,
		.sequence = 0x01020304,
		.device_ticks = UINT64_C(0x1112131415161718),
		.device_hz = 1000,
	};
	struct capture_record back;
	uint8_t h[CAPTURE_RECORD_HEADER_BYTES];
	uint32_t crc;

	(void)state;
	assert_int_equal(capture_record_header_write(&record, payload, h), 0);
	assert_memory_equal(h,
			    "KVSR\x01\x2c\x01\x00"
			    "ABCD\x09\0\0\0"
			    "\x04\x03\x02\x01"
			    "\x18\x17\x16\x15\x14\x13\x12\x11"
			    "\xe8\x03\0\0\0\0\0\0"
			    "\x83\x92\x06\xe3",
			    40);
	crc = load_le32(h + 40);
	store_le32(h + 40, 0);
	assert_int_equal(crc, crc32c(0, h, sizeof(h)));
	store_le32(h + 40, crc);
	assert_int_equal(capture_record_header_read(h, sizeof(h), &back), 0);
	assert_int_equal(back.sequence, record.sequence);
	assert_int_equal(back.device_ticks, record.device_ticks);
	assert_int_equal(back.device_hz, 1000);
	assert_int_equal(back.flags, CAPTURE_RECORD_OVERRUN);
	assert_int_equal(back.header_bytes, 44);

	record.flags = 2;
	assert_int_equal(capture_record_header_write(&record, payload, h),
			 -EINVAL);
	record.flags = 0;
	assert_int_equal(capture_record_header_write(&record, NULL, h),
			 -EINVAL);
	record.payload_bytes = CAPTURE_RECORD_PAYLOAD_MAX + 1;
	assert_int_equal(capture_record_header_write(&record, payload, h),
			 -EMSGSIZE);
}

static void any_bit_that_flips_is_seen(void **state)
{
	uint8_t bytes[RECORD_BYTES];
	struct capture_record record;
	size_t len = make(1, PAYLOAD, bytes);
	size_t i;

	(void)state;
	assert_int_equal(capture_record_check(bytes, len, &record), 0);
	assert_int_equal(capture_record_check(bytes, len - 1, &record),
			 -EBADMSG);
	for (i = 0; i < len * 8; i++) {
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
		assert_int_equal(capture_record_check(bytes, len, &record),
				 -EBADMSG);
		bytes[i / 8] ^= (uint8_t)(1 << i % 8);
	}
}

static void longer_header_of_later_makers_is_skipped(void **state)
{
	uint8_t bytes[64 + 4] = {0};
	struct capture_record record;

	(void)state;
	(void)make(5, 4, bytes);
	memmove(bytes + 64, bytes + 44, 4);
	memset(bytes + 44, 0x5a, 20);
	bytes[5] = 64;
	store_le32(bytes + 40, 0);
	store_le32(bytes + 40, crc32c(0, bytes, 64));
	assert_int_equal(capture_record_check(bytes, sizeof(bytes), &record),
			 0);
	assert_int_equal(record.header_bytes, 64);
	bytes[50] ^= 1;
	assert_int_equal(capture_record_check(bytes, sizeof(bytes), &record),
			 -EBADMSG);
}

/* --- parser ------------------------------------------------------------- */

struct rig {
	uint8_t buffer[RECORD_PARSER_BYTES(1000)];
	struct record_parser parser;
	struct record_view view;
};

static struct rig *rig_new(void)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	assert_non_null(rig);
	record_parser_init(&rig->parser, rig->buffer, 1000);
	return rig;
}

static void feed(struct rig *rig, const uint8_t *bytes, size_t len)
{
	size_t room;
	uint8_t *to = record_parser_room(&rig->parser, &room);

	assert_true(len <= room);
	memcpy(to, bytes, len);
	record_parser_filled(&rig->parser, len);
}

static bool gives(struct rig *rig, uint32_t sequence)
{
	return record_parser_next(&rig->parser, &rig->view) == 1 &&
	       rig->view.record.sequence == sequence;
}

static bool gives_none(struct rig *rig)
{
	return record_parser_next(&rig->parser, &rig->view) == 0;
}

static void parser_takes_byte_by_byte(void **state)
{
	uint8_t bytes[2 * RECORD_BYTES];
	struct rig *rig = rig_new();
	size_t i;

	(void)state;
	(void)make(1, PAYLOAD, bytes);
	(void)make(2, PAYLOAD, bytes + RECORD_BYTES);
	for (i = 0; i < sizeof(bytes); i++) {
		assert_true(gives_none(rig));
		feed(rig, bytes + i, 1);
		if (i == RECORD_BYTES - 1)
			assert_true(gives(rig, 1));
	}
	assert_true(gives(rig, 2));
	assert_int_equal(rig->view.len, RECORD_BYTES);
	assert_memory_equal(rig->view.bytes, bytes + RECORD_BYTES,
			    RECORD_BYTES);
	assert_int_equal(rig->parser.bytes_skipped, 0);
	free(rig);
}

static void parser_finds_its_place_after_garbage(void **state)
{
	struct capture_record record = {0};
	uint8_t bytes[RECORD_BYTES];
	struct rig *rig = rig_new();

	(void)state;
	feed(rig, (const uint8_t *)"noise KVS KVSR\x02 KVSR", 20);
	(void)make(1, PAYLOAD, bytes);
	feed(rig, bytes, RECORD_BYTES);
	assert_true(gives(rig, 1));
	assert_int_equal(rig->parser.bytes_skipped, 20);
	/* A magic inside a payload is part of it. */
	memcpy(bytes + 60, bytes, 44);
	record.payload_bytes = PAYLOAD;
	record.sequence = 2;
	assert_int_equal(
		capture_record_header_write(&record, bytes + 44, bytes), 0);
	feed(rig, bytes, RECORD_BYTES);
	assert_true(gives(rig, 2));
	assert_true(gives_none(rig));
	assert_int_equal(rig->parser.bytes_skipped, 20);
	free(rig);
}

static void parser_loses_only_the_record_that_is_damaged(void **state)
{
	uint8_t bytes[3 * RECORD_BYTES];
	struct rig *rig = rig_new();

	(void)state;
	(void)make(1, PAYLOAD, bytes);
	(void)make(2, PAYLOAD, bytes + RECORD_BYTES);
	(void)make(3, PAYLOAD, bytes + 2 * RECORD_BYTES);
	bytes[RECORD_BYTES - 1] ^= 0xff;  /* in the first payload */
	bytes[RECORD_BYTES + 20] ^= 0xff; /* in the second header */
	feed(rig, bytes, sizeof(bytes));
	assert_true(gives(rig, 3));
	assert_int_equal(rig->parser.records_bad, 1);
	assert_int_equal(rig->parser.bytes_skipped, 2 * RECORD_BYTES);
	/* Bytes are missing: the next record begins inside this one. */
	feed(rig, bytes + 2 * RECORD_BYTES, RECORD_BYTES - 10);
	(void)make(4, PAYLOAD, bytes);
	feed(rig, bytes, RECORD_BYTES);
	assert_true(gives(rig, 4));
	assert_int_equal(rig->parser.records_bad, 2);
	free(rig);
}

/* Headers that are right, each within the payload that the last one claims. */
static size_t make_nested(size_t count, uint32_t claimed, uint8_t *to)
{
	uint8_t payload[1000] = {0};
	struct capture_record record = {.payload_bytes = claimed};
	size_t i;

	for (i = 0; i < count; i++) {
		record.sequence = (uint32_t)i + 1000;
		assert_int_equal(capture_record_header_write(
					 &record, payload,
					 to + i * CAPTURE_RECORD_HEADER_BYTES),
				 0);
	}
	return count * CAPTURE_RECORD_HEADER_BYTES;
}

static void parser_work_is_bounded_by_the_bytes(void **state)
{
	uint8_t bytes[50 * CAPTURE_RECORD_HEADER_BYTES];
	struct rig *rig = rig_new();
	uint64_t fed = 0;
	uint64_t found = 0;
	int i;

	(void)state;
	for (i = 0; i < 100; i++) {
		size_t len = make_nested(50, 1000, bytes);

		feed(rig, bytes, len);
		fed += len;
		while (record_parser_next(&rig->parser, &rig->view))
			found++;
	}
	assert_int_equal(found, 0);
	/* Without a bound: 1000 for every 44. */
	assert_in_range(rig->parser.bytes_checked, fed, 4 * fed + 8 * 1255);
	/* It goes on: garbage earns what was spent. */
	memset(bytes, 0, sizeof(bytes));
	for (i = 0; i < 6; i++) {
		feed(rig, bytes, 500);
		assert_true(gives_none(rig));
	}
	feed(rig, bytes, make(7, 1000, bytes));
	assert_true(gives(rig, 7));
	free(rig);
}

static void parser_finds_a_record_after_false_headers_in_it(void **state)
{
	uint8_t bytes[7 * CAPTURE_RECORD_HEADER_BYTES + 2 * RECORD_BYTES];
	struct rig *rig = rig_new();
	size_t len = make_nested(7, 500, bytes);

	(void)state;
	len += make(1, PAYLOAD, bytes + len);
	len += make(2, PAYLOAD, bytes + len);
	feed(rig, bytes, len);
	assert_true(gives_none(rig)); /* the first claims more than is here */
	memset(bytes, 0, sizeof(bytes));
	feed(rig, bytes, 500);
	assert_true(gives(rig, 1));
	assert_true(gives(rig, 2));
	assert_int_equal(rig->parser.records_bad, 7);
	free(rig);
}

static void parser_refuses_what_is_too_long(void **state)
{
	uint8_t bytes[2000];
	struct rig *rig = rig_new();

	(void)state;
	feed(rig, bytes, make(1, 1000, bytes));
	assert_true(gives(rig, 1));
	feed(rig, bytes, make(2, 1001, bytes));
	feed(rig, bytes, make(3, 10, bytes));
	assert_true(gives(rig, 3));
	assert_int_equal(rig->parser.records_bad, 1);
	/* What is half here is not glued to what comes after a reset. */
	feed(rig, bytes, 50);
	assert_true(gives_none(rig));
	record_parser_reset(&rig->parser);
	feed(rig, bytes, make(4, 10, bytes));
	assert_true(gives(rig, 4));
	assert_int_equal(rig->parser.bytes_skipped, 1001 + 44 + 50);
	free(rig);
}

static void gaps_are_counted(void **state)
{
	struct record_gap gap = {0};
	uint64_t lost;

	(void)state;
	assert_false(record_count_lost(&gap, 7, 0, &lost));
	assert_int_equal(lost, 0);
	assert_false(record_count_lost(&gap, 8, 0, &lost));
	assert_int_equal(lost, 0);
	assert_false(record_count_lost(&gap, 12, 0, &lost));
	assert_int_equal(lost, 3);
	assert_true(record_count_lost(&gap, 0, 0, &lost));
	assert_int_equal(lost, 0);
	gap.last = UINT32_MAX;
	assert_false(record_count_lost(&gap, 1, 0, &lost));
	assert_int_equal(lost, 1);
	/* A late datagram and a copy. */
	assert_false(record_count_lost(&gap, 0, 64, &lost));
	assert_false(record_count_lost(&gap, 1, 64, &lost));
	assert_false(record_count_lost(&gap, 2, 64, &lost));
	assert_int_equal(lost, 0);
}

/* --- sources ------------------------------------------------------------ */

static struct capture_source_config config_of(const char *path)
{
	struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_RECORDS,
		.path = path,
		.track_id = 4,
	};

	return config;
}

static int refused(const char *path)
{
	struct capture_source_config config = config_of(path);
	struct capture_source *s = NULL;
	int r = capture_source_open(sys_fault(), &config, &s);

	assert_null(s);
	return r;
}

static struct capture_source *open_on(const char *path)
{
	struct capture_source_config config = config_of(path);
	struct capture_source *s;

	assert_int_equal(capture_source_open(sys_fault(), &config, &s), 0);
	assert_int_equal(capture_source_start(s), 0);
	return s;
}

static uint64_t soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + UINT64_C(5000000000);
}

static bool readable(const struct capture_source *s)
{
	struct pollfd pfd = {.fd = capture_source_fd(s), .events = POLLIN};

	return sys_posix()->poll(&pfd, 1, 0) == 1;
}

static struct capture_frame *next(struct capture_source *s)
{
	struct capture_frame *f;

	assert_int_equal(capture_source_dequeue(s, soon(), &f), 0);
	return f;
}

static void expect(struct capture_source *s, uint32_t sequence)
{
	uint8_t bytes[RECORD_BYTES];
	struct capture_frame *f = next(s);

	(void)make(sequence, PAYLOAD, bytes);
	assert_int_equal(f->sequence, sequence);
	assert_int_equal(f->fourcc, CAPTURE_FORMAT_RECORD);
	assert_int_equal(f->planes[0].bytesused, RECORD_BYTES);
	assert_memory_equal(f->planes[0].map + f->planes[0].offset, bytes,
			    RECORD_BYTES);
	assert_int_equal(f->device_ticks, UINT64_C(1) << 40 | sequence);
	assert_int_equal(f->device_hz, 40000000);
	assert_int_equal(f->point, CAPTURE_POINT_ARRIVAL);
	assert_int_equal(f->clock, CAPTURE_CLOCK_MONOTONIC);
	assert_int_equal(f->track_id, 4);
	assert_true(f->stamp_ns &&
		    f->stamp_ns <= sys_now_ns(sys_fault(), CLOCK_MONOTONIC));
	(void)capture_frame_unref(f);
}

static void send_all(int fd, const uint8_t *bytes, size_t len)
{
	assert_int_equal(write(fd, bytes, len), len);
}

static void send_record(int fd, uint32_t sequence)
{
	uint8_t bytes[RECORD_BYTES];

	send_all(fd, bytes, make(sequence, PAYLOAD, bytes));
}

static struct capture_source_stats stats_of(const struct capture_source *s)
{
	struct capture_source_stats stats;

	capture_source_stats(s, &stats);
	return stats;
}

static void pipe_gives_records_and_outlives_its_writers(void **state)
{
	struct capture_source *s = open_on(fifo_path);
	struct capture_frame *f;
	int fd = open(fifo, O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EAGAIN);
	assert_int_equal(capture_source_dequeue(s, 1, &f), -ETIMEDOUT);
	assert_false(readable(s));
	send_record(fd, 1);
	send_record(fd, 2);
	assert_true(readable(s));
	expect(s, 1);
	/* The second was read with the first; the descriptor knows. */
	assert_true(readable(s));
	expect(s, 2);
	assert_false(readable(s));
	assert_int_equal(close(fd), 0);
	assert_false(readable(s));
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EAGAIN);
	fd = open(fifo, O_WRONLY | O_CLOEXEC);
	send_all(fd, (const uint8_t *)"garbage", 7);
	send_record(fd, 6);
	expect(s, 6);
	assert_int_equal(stats_of(s).frames, 3);
	assert_int_equal(stats_of(s).frames_lost, 3);
	assert_int_equal(stats_of(s).bytes_skipped, 7);
	/* A sensor that began anew. */
	send_record(fd, 0);
	f = next(s);
	assert_int_equal(f->epoch, 1);
	assert_int_equal(stats_of(s).frames_lost, 3);
	(void)capture_source_close(s);
	assert_int_equal(f->planes[0].map[0], 'K');
	(void)capture_frame_unref(f);
	assert_int_equal(close(fd), 0);
}

static void all_out_waits_in_the_kernel(void **state)
{
	struct capture_source *s = open_on(fifo_path);
	struct capture_frame *held[CAPTURE_SOURCE_BUFFERS];
	struct capture_frame *f;
	int fd = open(fifo, O_WRONLY | O_CLOEXEC);
	uint32_t i;

	(void)state;
	for (i = 0; i < CAPTURE_SOURCE_BUFFERS + 1; i++)
		send_record(fd, i);
	for (i = 0; i < CAPTURE_SOURCE_BUFFERS; i++)
		held[i] = next(s);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -ENOBUFS);
	(void)capture_frame_unref(held[0]);
	expect(s, CAPTURE_SOURCE_BUFFERS);
	for (i = 1; i < CAPTURE_SOURCE_BUFFERS; i++)
		(void)capture_frame_unref(held[i]);
	/* Off: what is half here does not begin the next run. */
	send_all(fd, (const uint8_t *)"KVSR\1", 5);
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EAGAIN);
	assert_int_equal(capture_source_stop(s), 0);
	assert_int_equal(capture_source_dequeue(s, 0, &f), -EBUSY);
	assert_int_equal(capture_source_start(s), 0);
	assert_int_equal(capture_source_start(s), -EBUSY);
	send_record(fd, 9);
	expect(s, 9);
	assert_int_equal(stats_of(s).bytes_skipped, 5);
	(void)capture_source_close(s);
	assert_int_equal(close(fd), 0);
}

static void file_ends(void **state)
{
	char path[96];
	char name[64];
	struct capture_source *s;
	struct capture_frame *f;
	int fd;

	(void)state;
	(void)snprintf(name, sizeof(name), "%s/file", dir);
	(void)snprintf(path, sizeof(path), "pipe:%s", name);
	fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	send_record(fd, 1);
	send_record(fd, 2);
	s = open_on(path);
	assert_true(readable(s));
	expect(s, 1);
	expect(s, 2);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -ENODEV);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -EIO);
	(void)capture_source_close(s);
	assert_int_equal(close(fd), 0);
	assert_int_equal(unlink(name), 0);
}

static void tty_is_raw_and_hangs_up(void **state)
{
	uint8_t bytes[CAPTURE_RECORD_HEADER_BYTES + 256];
	struct capture_source *s;
	struct capture_frame *f;
	char path[96];
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	(void)state;
	if (fd < 0)
		skip(); /* no pseudo terminals here */
	assert_int_equal(grantpt(fd), 0);
	assert_int_equal(unlockpt(fd), 0);
	(void)snprintf(path, sizeof(path), "tty:%s:921600", ptsname(fd));
	s = open_on(path);
	/* Each value of a byte: nothing is eaten, echoed or rewritten. */
	send_all(fd, bytes, make(3, 256, bytes));
	f = next(s);
	assert_int_equal(f->planes[0].bytesused, sizeof(bytes));
	assert_memory_equal(f->planes[0].map, bytes, sizeof(bytes));
	(void)capture_frame_unref(f);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(close(fd), 0);
	assert_int_equal(capture_source_dequeue(s, soon(), &f), -ENODEV);
	(void)capture_source_close(s);
}

static void tty_is_put_back(void **state)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct capture_source *s;
	struct termios before;
	struct termios now;
	char path[96];
	int other;

	(void)state;
	if (fd < 0)
		skip(); /* no pseudo terminals here */
	assert_int_equal(grantpt(fd), 0);
	assert_int_equal(unlockpt(fd), 0);
	other = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(other >= 0);
	assert_int_equal(tcgetattr(other, &before), 0);
	assert_true(before.c_lflag & ECHO);
	(void)snprintf(path, sizeof(path), "tty:%s:921600", ptsname(fd));
	s = open_on(path);
	assert_int_equal(tcgetattr(other, &now), 0);
	assert_false(now.c_lflag & ECHO);
	(void)capture_source_close(s);
	assert_int_equal(tcgetattr(other, &now), 0);
	assert_int_equal(now.c_iflag, before.c_iflag);
	assert_int_equal(now.c_oflag, before.c_oflag);
	assert_int_equal(now.c_cflag, before.c_cflag);
	assert_int_equal(now.c_lflag, before.c_lflag);
	assert_int_equal(cfgetispeed(&now), cfgetispeed(&before));
	assert_memory_equal(now.c_cc, before.c_cc, sizeof(now.c_cc));
	assert_int_equal(close(other), 0);
	assert_int_equal(close(fd), 0);
}

/* A port that was free a moment ago. */
static uint16_t free_port(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET};
	socklen_t len = sizeof(at);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	assert_int_equal(close(fd), 0);
	return ntohs(at.sin_port);
}

static void udp_gives_a_record_per_datagram(void **state)
{
	static uint8_t big[CAPTURE_RECORD_HEADER_BYTES + 2000];
	struct sockaddr_in at = {.sin_family = AF_INET};
	struct capture_source_config config;
	struct capture_source *s;
	struct capture_frame *f;
	uint16_t port = free_port();
	char path[64];
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)state;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	at.sin_port = htons(port);
	(void)snprintf(path, sizeof(path), "udp:127.0.0.1:%u", port);
	config = config_of(path);
	config.frame_samples = 1000;
	assert_int_equal(capture_source_open(sys_fault(), &config, &s), 0);
	assert_int_equal(capture_source_start(s), 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	send_record(fd, 1);
	expect(s, 1);
	assert_false(readable(s));
	/* Cut, empty, too long, and two in one: none is a record. */
	send_all(fd, big, make(2, 1000, big) - 1);
	assert_int_equal(send(fd, big, 0, 0), 0);
	send_all(fd, big, make(3, 2000, big));
	(void)make(3, 10, big);
	(void)make(4, 10, big + 54);
	send_all(fd, big, 108);
	send_all(fd, big, make(5, 1000, big));
	f = next(s);
	assert_int_equal(f->sequence, 5);
	(void)capture_frame_unref(f);
	assert_int_equal(stats_of(s).frames_error, 4);
	assert_int_equal(stats_of(s).frames_lost, 3);
	assert_int_equal(stats_of(s).bytes_touched, 0);
	/* A late one is handed out and makes no new epoch. */
	send_record(fd, 4);
	f = next(s);
	assert_int_equal(f->sequence, 4);
	assert_int_equal(f->epoch, 0);
	(void)capture_frame_unref(f);
	(void)capture_source_close(s);
	assert_int_equal(close(fd), 0);
}

/* A SPI device: a FIFO behind which ioctls are answered. */
static struct sys_ops spi_ops;
static uint32_t spi_hz;
static uint8_t spi_bits;
static unsigned long spi_refuses; /* this request */

static int spi_ioctl(int fd, unsigned long request, void *arg)
{
	if (request == spi_refuses)
		return -EINVAL;
	if (request == SPI_IOC_RD_BITS_PER_WORD)
		*(uint8_t *)arg = spi_bits;
	else if (request == SPI_IOC_RD_MAX_SPEED_HZ)
		*(uint32_t *)arg = spi_hz;
	else if (request == SPI_IOC_WR_BITS_PER_WORD)
		spi_bits = *(uint8_t *)arg;
	else if (request == SPI_IOC_WR_MAX_SPEED_HZ)
		spi_hz = *(uint32_t *)arg;
	else
		return sys_posix()->ioctl(fd, request, arg);
	return 0;
}

static void spi_setup(void)
{
	spi_hz = 25000000;
	spi_bits = 16;
	spi_refuses = 0;
	spi_ops = *sys_posix();
	spi_ops.ioctl = spi_ioctl;
	sys_fault_wrap(&spi_ops);
}

static void spi_is_read_in_bursts_by_the_clock(void **state)
{
	static uint8_t burst[CAPTURE_RECORD_SPI_BYTES];
	struct capture_source_config config;
	struct capture_source *s;
	char path[96];
	int fd;

	(void)state;
	spi_setup();
	fd = open(fifo, O_RDWR | O_CLOEXEC);
	memset(burst, 0xff, sizeof(burst));
	(void)make(1, PAYLOAD, burst + 10);
	(void)make(2, PAYLOAD, burst + 1000);
	send_all(fd, burst, sizeof(burst));
	(void)make(3, PAYLOAD, burst + 10);
	memset(burst + 1000, 0, RECORD_BYTES);
	send_all(fd, burst, sizeof(burst));
	(void)snprintf(path, sizeof(path), "spi:%s:1000000", fifo);
	config = config_of(path);
	config.rate_num = 1000;
	config.rate_den = 1;
	assert_int_equal(capture_source_open(sys_fault(), &config, &s), 0);
	assert_int_equal(spi_hz, 1000000);
	assert_int_equal(spi_bits, 8);
	assert_int_equal(capture_source_start(s), 0);
	expect(s, 1);
	expect(s, 2);
	expect(s, 3);
	assert_int_equal(capture_source_stop(s), 0);
	(void)capture_source_close(s);
	assert_int_equal(close(fd), 0);
	/* As it was. */
	assert_int_equal(spi_hz, 25000000);
	assert_int_equal(spi_bits, 16);
}

/* As it was, if not all of it could be set. */
static void spi_that_is_refused_is_put_back(void **state)
{
	static const unsigned long requests[] = {
		SPI_IOC_RD_BITS_PER_WORD,
		SPI_IOC_RD_MAX_SPEED_HZ,
		SPI_IOC_WR_MAX_SPEED_HZ,
	};
	char path[96];
	size_t i;

	(void)state;
	(void)snprintf(path, sizeof(path), "spi:%s:1000000", fifo);
	for (i = 0; i < ARRAY_SIZE(requests); i++) {
		spi_setup();
		spi_refuses = requests[i];
		assert_int_equal(refused(path), -EINVAL);
		assert_int_equal(spi_hz, 25000000);
		assert_int_equal(spi_bits, 16);
	}
}

static void what_is_no_port_is_refused(void **state)
{
	static const uint32_t h264[] = {CAPTURE_FORMAT_H264};
	struct capture_source_config config = config_of(fifo_path);
	struct capture_source *s;
	char path[96];

	(void)state;
	assert_int_equal(refused(NULL), -EINVAL);
	assert_int_equal(refused(""), -EINVAL);
	assert_int_equal(refused("/dev/ttyS0"), -EINVAL);
	assert_int_equal(refused("can:vcan0"), -EINVAL);
	assert_int_equal(refused("tty:/dev/null"), -EINVAL);
	assert_int_equal(refused("tty:/dev/null:0"), -EINVAL);
	assert_int_equal(refused("tty:/dev/null:9600x"), -EINVAL);
	assert_int_equal(refused("tty:/dev/null:99999999999"), -EINVAL);
	assert_int_equal(refused("tty:/dev/null:9600"), -ENOTTY);
	assert_int_equal(refused("spi:/dev/null:1000000"), -ENOTTY);
	assert_int_equal(refused("udp:127.0.0.1"), -EINVAL);
	assert_int_equal(refused("udp:127.0.0.1:65536"), -EINVAL);
	assert_int_equal(refused("udp:localhost:5600"), -EINVAL);
	assert_int_equal(refused("udp:[::1:5600"), -EINVAL);
	assert_int_equal(refused("udp:1.2.3.4:5600"), -EADDRNOTAVAIL);
	assert_int_equal(refused("pipe:/nowhere/at/all"), -ENOENT);
	(void)snprintf(path, sizeof(path), "pipe:%s", dir);
	assert_int_equal(refused(path), -ENODEV);
	config.frame_samples = CAPTURE_RECORD_PAYLOAD_MAX + 1;
	assert_int_equal(capture_source_open(sys_fault(), &config, &s),
			 -ERANGE);
	config.frame_samples = 0;
	config.fourccs = h264;
	config.fourcc_count = 1;
	assert_int_equal(capture_source_open(sys_fault(), &config, &s),
			 -EPROTONOSUPPORT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(header_is_as_documented),
		TEST(any_bit_that_flips_is_seen),
		TEST(longer_header_of_later_makers_is_skipped),
		TEST(parser_takes_byte_by_byte),
		TEST(parser_finds_its_place_after_garbage),
		TEST(parser_loses_only_the_record_that_is_damaged),
		TEST(parser_work_is_bounded_by_the_bytes),
		TEST(parser_finds_a_record_after_false_headers_in_it),
		TEST(parser_refuses_what_is_too_long),
		TEST(gaps_are_counted),
		TEST(pipe_gives_records_and_outlives_its_writers),
		TEST(all_out_waits_in_the_kernel),
		TEST(file_ends),
		TEST(tty_is_raw_and_hangs_up),
		TEST(tty_is_put_back),
		TEST(udp_gives_a_record_per_datagram),
		TEST(spi_is_read_in_bursts_by_the_clock),
		TEST(spi_that_is_refused_is_put_back),
		TEST(what_is_no_port_is_refused),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
