/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails each system call of the sources that are no V4L2 devices, one per
 * run: the error is told or mended, no descriptor or map stays, a second
 * start works, and what is opened anew works.
 */
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <linux/spi/spidev.h>

#include <capture/encoder.h>
#include <capture/record.h>
#include <capture/source.h>

#include "base/macros.h"
#include "support/sys_fault.h"

#define CALLS_MAX 2000u
#define TRIES_MAX 20
#define FRAMES 5

static const int errors[] = {-EIO, -ENOMEM, -EMFILE, -ENODEV, -EINVAL, -EBUSY};

static char dir[] = "/tmp/fault_sources.XXXXXX";
static char fifo[64];
static char fifo_path[96];
static char tty_path[96];
static char udp_path[64];
static char spi_path[96];
static int fifo_fd = -EBADF;
static int tty_fd = -EBADF;
static int udp_fd = -EBADF;
/* What the calls go to; NULL: the kernel. */
static const struct sys_ops *inner;

static uint64_t soon(void)
{
	return sys_now_ns(sys_fault(), CLOCK_MONOTONIC) + UINT64_C(5000000000);
}

/* --- operations --------------------------------------------------------- */

/* As many records as will be read, down the other end. */
static void feed(int fd)
{
	uint8_t bytes[CAPTURE_RECORD_HEADER_BYTES + 8] = {0};
	struct capture_record record = {.payload_bytes = 8};
	int i;

	for (i = 0; i < FRAMES && fd >= 0; i++) {
		record.sequence = (uint32_t)i;
		assert_int_equal(capture_record_header_write(
					 &record,
					 bytes + CAPTURE_RECORD_HEADER_BYTES,
					 bytes),
				 0);
		assert_int_equal(write(fd, bytes, sizeof(bytes)),
				 sizeof(bytes));
	}
}

/* Frames until there are enough, started again after every trouble. */
static int run(struct capture_source *s, struct capture_encoder *e, int fd)
{
	struct capture_packet *p;
	struct capture_frame *f;
	int frames = 0;
	int tries = 0;
	int r = -EIO;

	while (frames < FRAMES && tries++ < TRIES_MAX) {
		r = capture_source_start(s);
		if (r < 0)
			continue;
		feed(fd);
		while (frames < FRAMES) {
			r = capture_source_dequeue(s, soon(), &f);
			if (r < 0)
				break;
			frames++;
			if (e)
				assert_int_equal(capture_encoder_submit(e, f),
						 0);
			(void)capture_frame_unref(f);
			while (e && capture_encoder_receive(e, 0, &p) == 0)
				(void)capture_packet_unref(p);
		}
		(void)capture_source_stop(s);
	}
	return frames == FRAMES ? 0 : r;
}

static int operate_on(const struct capture_source_config *config,
		      uint32_t codec, int fd)
{
	struct capture_encoder_config encoder;
	struct capture_encoder *e = NULL;
	struct capture_source *s;
	int r;

	r = capture_source_open(sys_fault(), config, &s);
	if (r < 0)
		return r;
	if (codec) {
		capture_encoder_config_init(&encoder);
		encoder.codec = codec;
		encoder.source = capture_source_format(s);
		r = capture_encoder_open(sys_fault(), &encoder, &e);
	}
	if (r == 0) {
		r = run(s, e, fd);
		/* One fault was put in: the second start must have worked. */
		assert_int_equal(r, 0);
	}
	(void)capture_encoder_close(e);
	(void)capture_source_close(s);
	return r;
}

static int operate(enum capture_source_kind kind, const char *path,
		   uint32_t codec, int fd)
{
	struct capture_source_config config = {
		.kind = kind,
		.path = path,
		.sample_rate = kind == CAPTURE_SOURCE_RECORDS ? 0 : 48000,
		.frame_samples = 480,
	};

	if (kind == CAPTURE_SOURCE_IIO) {
		config.sample_rate = 1000;
		config.frame_samples = 5;
	}
	return operate_on(&config, codec, fd);
}

static int tone_operation(void)
{
	return operate(CAPTURE_SOURCE_SYNTHETIC, "tone", 0, -EBADF);
}

static int alaw_operation(void)
{
	return operate(CAPTURE_SOURCE_SYNTHETIC, "tone", CAPTURE_FORMAT_ALAW,
		       -EBADF);
}

static int pipe_operation(void)
{
	return operate(CAPTURE_SOURCE_RECORDS, fifo_path, 0, fifo_fd);
}

static int tty_operation(void)
{
	return operate(CAPTURE_SOURCE_RECORDS, tty_path, 0, tty_fd);
}

static int udp_operation(void)
{
	return operate(CAPTURE_SOURCE_RECORDS, udp_path, 0, udp_fd);
}

/* Bursts often, so that no run waits long. */
static int spi_operation(void)
{
	const struct capture_source_config config = {
		.kind = CAPTURE_SOURCE_RECORDS,
		.path = spi_path,
		.rate_num = 10000,
		.rate_den = 1,
		.frame_samples = 480,
	};

	return operate_on(&config, 0, fifo_fd);
}

#if HAVE_IIO
/* A device that is there: tests/hil/test_audio_records.sh has one. */
static const char *iio_name;

static int iio_operation(void)
{
	return operate(CAPTURE_SOURCE_IIO, iio_name, 0, -EBADF);
}
#endif

#if HAVE_AVCODEC
static int aac_operation(void)
{
	return operate(CAPTURE_SOURCE_SYNTHETIC, "tone", CAPTURE_FORMAT_AAC,
		       -EBADF);
}
#endif

#if HAVE_ALSA
static int alsa_operation(void)
{
	return operate(CAPTURE_SOURCE_ALSA, "null", 0, -EBADF);
}
#endif

/* --- sweeps ------------------------------------------------------------- */

static void check_nothing_left(void)
{
	assert_int_equal(sys_fault_open_fds(), 0);
	assert_int_equal(sys_fault_open_maps(), 0);
}

static void sweep_one(int (*operation)(void), int err)
{
	unsigned long n;
	int r;

	for (n = 1; n < CALLS_MAX; n++) {
		sys_fault_reset();
		sys_fault_wrap(inner);
		sys_fault_arm(n, err);
		r = operation();
		check_nothing_left();
		if (!sys_fault_fired()) {
			assert_int_equal(r, 0);
			return;
		}
		sys_fault_arm(0, 0);
		assert_int_equal(operation(), 0);
		check_nothing_left();
	}
	fail_msg("more than %u calls", CALLS_MAX);
}

static void sweep(int (*operation)(void))
{
	size_t e;

	for (e = 0; e < ARRAY_SIZE(errors); e++)
		sweep_one(operation, errors[e]);
}

static void synthetic_survives_any_failed_call(void **state)
{
	(void)state;
	sweep(tone_operation);
}

static void g711_survives_any_failed_call(void **state)
{
	(void)state;
	sweep_one(alaw_operation, -EIO);
}

static void pipe_survives_any_failed_call(void **state)
{
	(void)state;
	sweep(pipe_operation);
}

static void tty_survives_any_failed_call(void **state)
{
	(void)state;
	if (tty_fd < 0)
		skip(); /* no pseudo terminals here */
	sweep(tty_operation);
}

static void udp_survives_any_failed_call(void **state)
{
	(void)state;
	sweep(udp_operation);
}

/* A FIFO behind which the ioctls of spidev are answered. */
static int spi_ioctl(int fd, unsigned long request, void *arg)
{
	static uint8_t bits = 16;
	static uint32_t hz = 123456;

	if (request == SPI_IOC_RD_BITS_PER_WORD)
		*(uint8_t *)arg = bits;
	else if (request == SPI_IOC_RD_MAX_SPEED_HZ)
		*(uint32_t *)arg = hz;
	else if (request == SPI_IOC_WR_BITS_PER_WORD)
		bits = *(const uint8_t *)arg;
	else if (request == SPI_IOC_WR_MAX_SPEED_HZ)
		hz = *(const uint32_t *)arg;
	else
		return sys_posix()->ioctl(fd, request, arg);
	return 0;
}

static void spi_survives_any_failed_call(void **state)
{
	static struct sys_ops ops; /* of use after a failure, too */

	(void)state;
	ops = *sys_posix();
	ops.ioctl = spi_ioctl;
	inner = &ops;
	sweep(spi_operation);
	inner = NULL;
}

#if HAVE_IIO
static void iio_survives_any_failed_call(void **state)
{
	(void)state;
	sweep_one(iio_operation, -EIO);
	sweep_one(iio_operation, -ENODEV);
}
#endif

#if HAVE_AVCODEC
static void aac_survives_any_failed_call(void **state)
{
	(void)state;
	sweep_one(aac_operation, -EIO);
}
#endif

#if HAVE_ALSA
static void alsa_survives_any_failed_call(void **state)
{
	(void)state;
	sweep(alsa_operation);
}
#endif

/* Something to send from, and an address of this process alone. */
static int setup_udp(void)
{
	unsigned int pid = (unsigned int)getpid();
	struct sockaddr_in to = {.sin_family = AF_INET};

	to.sin_addr.s_addr = htonl(0x7f000000u | (pid & 0xffffffu) | 1u << 23);
	to.sin_port = htons(5600);
	(void)snprintf(udp_path, sizeof(udp_path), "udp:%s:5600",
		       inet_ntoa(to.sin_addr));
	udp_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return udp_fd < 0 ? -1
			  : connect(udp_fd, (const struct sockaddr *)&to,
				    sizeof(to));
}

static int group_setup(void **state)
{
	(void)state;
	if (setup_udp() < 0)
		return -1;
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(fifo, sizeof(fifo), "%s/radar", dir);
	(void)snprintf(fifo_path, sizeof(fifo_path), "pipe:%s", fifo);
	(void)snprintf(spi_path, sizeof(spi_path), "spi:%s:1000000", fifo);
	if (mkfifo(fifo, 0600))
		return -1;
	/* What a failed run left in it would fill it. */
	fifo_fd = open(fifo, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	tty_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (tty_fd >= 0 && !grantpt(tty_fd) && !unlockpt(tty_fd))
		(void)snprintf(tty_path, sizeof(tty_path), "tty:%s:115200",
			       ptsname(tty_fd));
	return fifo_fd < 0 ? -1 : 0;
}

static int group_teardown(void **state)
{
	(void)state;
	(void)close(fifo_fd);
	(void)close(udp_fd);
	if (tty_fd >= 0)
		(void)close(tty_fd);
	(void)unlink(fifo);
	return rmdir(dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(synthetic_survives_any_failed_call),
		cmocka_unit_test(g711_survives_any_failed_call),
		cmocka_unit_test(pipe_survives_any_failed_call),
		cmocka_unit_test(tty_survives_any_failed_call),
		cmocka_unit_test(udp_survives_any_failed_call),
		cmocka_unit_test(spi_survives_any_failed_call),
#if HAVE_AVCODEC
		cmocka_unit_test(aac_survives_any_failed_call),
#endif
#if HAVE_ALSA
		cmocka_unit_test(alsa_survives_any_failed_call),
#endif
	};
#if HAVE_IIO
	static const struct CMUnitTest iio_tests[] = {
		cmocka_unit_test(iio_survives_any_failed_call),
	};

	iio_name = getenv("FAULT_IIO");
	if (iio_name)
		return cmocka_run_group_tests(iio_tests, NULL, NULL);
#endif

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
