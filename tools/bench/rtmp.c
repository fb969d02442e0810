/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same cameras as bench_publishers with PHASE spread, over RTMP: plain
 * text, a message a frame, no answer when a frame is stored. It speaks what a
 * server needs to hear before it records (Adobe's RTMP 1.0: the simple
 * handshake, connect, createStream, publish) and looks at no answer but the
 * handshake's.
 *
 *	bench_rtmp PORT SESSIONS SECONDS
 *
 * Prints a JSON object when all are connected, waits for a line on stdin, and
 * prints one at the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "core/limits.h"
#include "media.h"
#include "session.h"

#define FRAME_RATE 30u
#define FRAME_BYTES 2500u /* 600 kbit/s */
#define FRAMES_PER_KEY 60u
#define HANDSHAKE_BYTES 1536u
#define CHUNK_BYTES (64u << 10)
#define DRAIN_EVERY 16u /* frames of a session between looks at answers */
#define WAIT_S 30

enum { RTMP_CHUNK_SIZE = 1, RTMP_VIDEO = 9, RTMP_COMMAND = 20 };

struct camera {
	int fd;
	uint32_t frames;
	uint32_t first; /* frames of its first fragment left out */
};

static struct buf message;
static struct buf wire;

static void add(struct buf *b, const void *bytes, size_t len)
{
	if (buf_add(b, bytes, len) < 0)
		session_die("message", -ENOMEM);
}

static void add_be(struct buf *b, uint64_t value, unsigned int bytes)
{
	while (bytes--) {
		uint8_t byte = (uint8_t)(value >> 8 * bytes);

		add(b, &byte, 1);
	}
}

static void send_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n < 0)
			session_die("send", -errno);
		bytes += n;
		len -= (size_t)n;
	}
}

/* @message as one chunk: CHUNK_BYTES has been agreed on. */
static void send_message(int fd, uint8_t chunk_stream, uint32_t time_ms,
			 uint8_t type, bool of_stream)
{
	static const uint8_t stream_id[2][4] = {{0}, {1}};

	buf_reset(&wire);
	add(&wire, &chunk_stream, 1);
	add_be(&wire, time_ms, 3);
	add_be(&wire, buf_len(&message), 3);
	add(&wire, &type, 1);
	add(&wire, stream_id[of_stream], 4);
	add(&wire, buf_head(&message), buf_len(&message));
	send_all(fd, buf_head(&wire), buf_len(&wire));
	buf_reset(&message);
}

/* --- AMF0 ------------------------------------------------------------------- */

static void amf_text(const char *text)
{
	add_be(&message, strlen(text), 2);
	add(&message, text, strlen(text));
}

static void amf_string(const char *text)
{
	add_be(&message, 2, 1);
	amf_text(text);
}

/* Small whole numbers only: a double with its few bits on top. */
static void amf_command(const char *name, double id)
{
	uint64_t bits;

	amf_string(name);
	memcpy(&bits, &id, sizeof(bits));
	add_be(&message, 0, 1);
	add_be(&message, bits, 8);
}

static void amf_null(void)
{
	add_be(&message, 5, 1);
}

/* --- a session -------------------------------------------------------------- */

static void receive_exactly(int fd, uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = recv(fd, bytes, len, 0);

		if (n <= 0)
			session_die("recv", n ? -errno : -ECONNRESET);
		bytes += n;
		len -= (size_t)n;
	}
}

static void shake_hands(int fd)
{
	uint8_t ours[1 + HANDSHAKE_BYTES] = {3};
	uint8_t theirs[1 + 2 * HANDSHAKE_BYTES];

	send_all(fd, ours, sizeof(ours));
	receive_exactly(fd, theirs, sizeof(theirs));
	send_all(fd, theirs + 1, HANDSHAKE_BYTES);
}

static void video_head(bool key, bool header)
{
	add_be(&message, key ? 0x17 : 0x27, 1); /* AVC */
	add_be(&message, header ? 0 : 1, 1);
	add_be(&message, 0, 3); /* composition time */
}

static void publish_as(int fd, uint32_t number)
{
	static const uint8_t avcc[] = {
		1,    0x42, 0xc0, 0x1e, 0xff, 0xe1, 0,	  8,
		0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x00, 0xa0, 0x47,
		1,    0,    4,	  0x68, 0xcb, 0x83, 0xcb,
	};
	char name[16];

	add_be(&message, CHUNK_BYTES, 4);
	send_message(fd, 2, 0, RTMP_CHUNK_SIZE, false);
	amf_command("connect", 1);
	add_be(&message, 3, 1); /* object */
	amf_text("app");
	amf_string("live");
	amf_text("tcUrl");
	amf_string("rtmp://127.0.0.1/live");
	add_be(&message, 9, 3); /* its end */
	send_message(fd, 3, 0, RTMP_COMMAND, false);
	amf_command("createStream", 2);
	amf_null();
	send_message(fd, 3, 0, RTMP_COMMAND, false);
	amf_command("publish", 3);
	amf_null();
	(void)snprintf(name, sizeof(name), "%u", number);
	amf_string(name);
	amf_string("live");
	send_message(fd, 3, 0, RTMP_COMMAND, true);
	video_head(true, true);
	add(&message, avcc, sizeof(avcc));
	send_message(fd, 6, 0, RTMP_VIDEO, true);
}

static void camera_open(struct camera *c, uint16_t port, uint32_t number)
{
	const struct timeval wait = {.tv_sec = WAIT_S};
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons(port)};

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		session_die("connect", -errno);
	(void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1},
			 sizeof(int));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	shake_hands(c->fd);
	publish_as(c->fd, number);
}

static void drain(int fd)
{
	uint8_t bytes[4096];
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		;
	if (n == 0)
		session_die("the server ended a session", -ECONNRESET);
}

static void frame_send(struct camera *c)
{
	static uint8_t frames[2][FRAME_BYTES];
	static bool made;
	uint32_t at = c->first + c->frames;
	bool key = c->frames == 0 || at % FRAMES_PER_KEY == 0;

	if (!made) {
		media_frame(frames[0], FRAME_BYTES, false, 2);
		media_frame(frames[1], FRAME_BYTES, true, 1);
		made = true;
	}
	video_head(key, false);
	add(&message, frames[key], FRAME_BYTES);
	send_message(c->fd, 6,
		     (uint32_t)((uint64_t)c->frames * 1000 / FRAME_RATE),
		     RTMP_VIDEO, true);
	if (c->frames++ % DRAIN_EVERY == 0)
		drain(c->fd);
}

/* --- the run ---------------------------------------------------------------- */

static void wait_until(uint64_t at_ns)
{
	struct timespec ts = {.tv_sec = (time_t)(at_ns / NS_PER_S),
			      .tv_nsec = (long)(at_ns % NS_PER_S)};

	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

int main(int argc, char **argv)
{
	uint64_t late_ns_max = 0;
	struct camera *cameras;
	char line[16];
	uint64_t start;
	uint64_t total;
	uint32_t count;

	if (argc != 4)
		session_die("usage", -EINVAL);
	buf_init(&message, CHUNK_BYTES);
	buf_init(&wire, 2 * CHUNK_BYTES);
	count = (uint32_t)session_number(argv[2]);
	total = count * session_number(argv[3]) * FRAME_RATE;
	cameras = calloc(count, sizeof(*cameras));
	if (!cameras || !count) {
		session_die("start", -ENOMEM);
		return 1;
	}
	for (uint32_t i = 0; i < count; i++) {
		cameras[i].first =
			(uint32_t)((uint64_t)i * (FRAMES_PER_KEY - 1) / count);
		camera_open(&cameras[i], (uint16_t)session_number(argv[1]), i);
	}
	printf("{\"connected\": %u}\n", count);
	(void)fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		session_die("stdin", -EPIPE);
	start = session_now_ns() + NS_PER_S / 10;
	for (uint64_t k = 0; k < total; k++) {
		uint64_t due = start + k * (NS_PER_S / FRAME_RATE / count);
		uint64_t now = session_now_ns();

		if (now < due)
			wait_until(due);
		else
			late_ns_max = MAX(late_ns_max, now - due);
		frame_send(&cameras[k % count]);
	}
	for (uint32_t i = 0; i < count; i++)
		(void)shutdown(cameras[i].fd, SHUT_WR);
	for (uint32_t i = 0; i < count; i++) {
		while (recv(cameras[i].fd, line, sizeof(line), 0) > 0)
			;
	}
	printf("{\"seconds\": %.3f, \"late_ms\": %.1f}\n",
	       (double)(session_now_ns() - start) / 1e9,
	       (double)late_ns_max / 1e6);
	return 0;
}
