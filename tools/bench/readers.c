/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many viewers: TLS connections that read what they are sent, and with `tail`
 * one camera of 8 Mbit/s whose live stream that is.
 *
 *	bench_readers PORT CA HEADS READERS SECONDS tail|file
 *
 * HEADS: request heads, each ended by a NUL: with tail the PutMedia first,
 * then one per reader; with file one per reader, each read to its end and
 * SECONDS unused. A frame's last 16 bytes say when it was sent: what a reader
 * has of them is the frame's delay. A reader that comes in is first sent what
 * there is of the fragment in progress, up to two seconds of film: that is no
 * delay of a frame, so the measure begins when every reader has been sent all
 * of it, in the same run. Prints a JSON object at the end.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/buf.h"
#include "base/macros.h"
#include "core/limits.h"
#include "media.h"
#include "proto/mkv_writer.h"
#include "session.h"

#define FRAME_RATE 30u
#define FRAME_BYTES 33333u	/* 8 Mbit/s */
#define FRAMES_PER_FRAGMENT 60u
#define MARK "kvsdmark"
#define MARK_BYTES 16u		/* MARK and the time */
#define EVENTS_MAX 256
#define END_NS_MAX (60 * NS_PER_S)
#define WARM_NS_MIN (2 * NS_PER_S)
#define WARM_NS_MAX (30 * NS_PER_S)
#define EDGE_FRAMES 3u		/* so near is at the live edge */
#define SAMPLES_MAX (4u << 20)

struct reader {
	struct session session;
	uint64_t bytes;
	uint64_t newest_ns;		/* of its frames: when it was sent */
	uint8_t rest[MARK_BYTES - 1];	/* the end of what came before */
	size_t rest_len;
	bool gone;
};

static struct {
	struct session camera;
	struct reader *readers;
	uint32_t count;
	uint32_t ended;
	uint64_t frames;
	uint64_t start_ms;
	uint64_t measured_from_ns;
	uint32_t *delay_us;
	uint32_t delays;
	int epoll;
	struct buf piece;
	uint8_t frame[FRAME_BYTES];
} all;

/* --- the camera ------------------------------------------------------------------ */

static void camera_frame(void)
{
	uint32_t n = (uint32_t)(all.frames++ % FRAMES_PER_FRAGMENT);
	uint8_t head[MKV_CLUSTER_HEAD_BYTES];
	uint8_t block[MKV_BLOCK_HEAD_BYTES];
	uint64_t now = session_now_ns();
	struct buf media;

	buf_init(&media, 1u << 20);
	buf_reset(&all.piece);
	if (all.frames == 1 && media_header(&media) < 0)
		session_die("media", -ENOMEM);
	if (n == 0) {
		mkv_cluster_head(head, all.start_ms +
					       (all.frames - 1) * 1000 /
						       FRAME_RATE);
		(void)buf_add(&media, head, sizeof(head));
	}
	mkv_block_head(block, 1, (int16_t)(n * 1000 / FRAME_RATE), n == 0,
		       FRAME_BYTES);
	all.frame[4] = n == 0 ? 0x65 : 0x41;
	memcpy(all.frame + FRAME_BYTES - sizeof(now), &now, sizeof(now));
	(void)buf_add(&media, block, sizeof(block));
	(void)buf_add(&media, all.frame, FRAME_BYTES);
	(void)buf_printf(&all.piece, "%zx\r\n", buf_len(&media));
	(void)buf_add(&all.piece, buf_head(&media), buf_len(&media));
	if (buf_add_str(&all.piece, "\r\n") < 0)
		session_die("media", -ENOMEM);
	session_write(&all.camera, buf_head(&all.piece), buf_len(&all.piece));
	buf_fini(&media);
}

/* --- the readers ----------------------------------------------------------------- */

static void mark_found(struct reader *r, const uint8_t *at)
{
	uint64_t sent;

	memcpy(&sent, at + sizeof(MARK) - 1, sizeof(sent));
	r->newest_ns = sent;
	if (sent >= all.measured_from_ns && all.delays < SAMPLES_MAX)
		all.delay_us[all.delays++] =
			(uint32_t)((session_now_ns() - sent) / 1000);
}

static void marks_search(struct reader *r, const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;

	while ((size_t)(end - p) >= MARK_BYTES &&
	       (p = memmem(p, (size_t)(end - p) - 8, MARK, sizeof(MARK) - 1))) {
		mark_found(r, p);
		p += MARK_BYTES;
	}
}

/* What lies across two records is looked at in a copy of both ends. */
static void reader_take(struct session *s, const uint8_t *bytes, size_t len)
{
	struct reader *r = container_of(s, struct reader, session);
	uint8_t joint[2 * MARK_BYTES];
	size_t n = MIN(len, sizeof(r->rest));

	r->bytes += len;
	memcpy(joint, r->rest, r->rest_len);
	memcpy(joint + r->rest_len, bytes, n);
	marks_search(r, joint, r->rest_len + n);
	marks_search(r, bytes, len);
	if (len >= sizeof(r->rest)) {
		r->rest_len = sizeof(r->rest);
		memcpy(r->rest, bytes + len - r->rest_len, r->rest_len);
		return;
	}
	n = MIN(r->rest_len, sizeof(r->rest) - len);
	memmove(r->rest, r->rest + r->rest_len - n, n);
	memcpy(r->rest + n, bytes, len);
	r->rest_len = n + len;
}

static void turn(int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(all.epoll, events, EVENTS_MAX, timeout_ms);

	for (int i = 0; i < n; i++) {
		struct session *s = events[i].data.ptr;

		if (s == &all.camera && buf_len(&s->out))
			(void)session_flush(s);
		session_receive(s);
		if (s->ended && epoll_ctl(all.epoll, EPOLL_CTL_DEL, s->fd,
					  NULL) == 0)
			all.ended += s != &all.camera;
	}
}

/* --- the run ----------------------------------------------------------------------- */

static void add(struct session *s, struct tls_ctx *ctx, uint16_t port,
		const char **head)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = s };

	session_open(s, ctx, port);
	if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, s->fd, &e) < 0)
		session_die("epoll_ctl", -errno);
	session_write(s, *head, strlen(*head));
	*head += strlen(*head) + 1;
}

static void film_until(uint64_t start, uint64_t end)
{
	for (;;) {
		uint64_t due = start + all.frames * NS_PER_S / FRAME_RATE;
		uint64_t now = session_now_ns();

		if (now >= end)
			return;
		if (now >= due)
			camera_frame();
		else
			turn((int)((due - now) / NS_PER_MS));
	}
}

static bool at_edge(void)
{
	uint64_t edge = session_now_ns() - EDGE_FRAMES * NS_PER_S / FRAME_RATE;

	for (uint32_t i = 0; i < all.count; i++) {
		if (all.readers[i].newest_ns < edge)
			return false;
	}
	return true;
}

/* Who is slower than that is measured where he is. */
static void warm_up(uint64_t start)
{
	uint64_t now = session_now_ns();
	uint64_t end = now + WARM_NS_MAX;

	film_until(start, now + WARM_NS_MIN);
	while (!at_edge() && (now = session_now_ns()) < end)
		film_until(start, now + NS_PER_S / FRAME_RATE);
}

static uint64_t bytes_read(void)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < all.count; i++)
		sum += all.readers[i].bytes;
	return sum;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double delay_ms(unsigned int permille)
{
	uint64_t us;

	if (!all.delays)
		return 0;
	us = all.delay_us[(uint64_t)(all.delays - 1) * permille / 1000];
	return (double)us / 1e3;
}

/* Tells the bench when to look at the server's clock, and waits for it. */
static void say_and_wait(const char *what)
{
	char line[16];

	printf("{\"%s\": true}\n", what);
	(void)fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		session_die("stdin", -EPIPE);
}

static void tail(struct tls_ctx *ctx, uint16_t port, const char *heads,
		 uint64_t seconds)
{
	struct timespec wall;
	uint64_t start;
	uint64_t before;

	(void)clock_gettime(CLOCK_REALTIME, &wall);
	all.start_ms = (uint64_t)wall.tv_sec * 1000;
	all.measured_from_ns = UINT64_MAX;
	add(&all.camera, ctx, port, &heads);
	start = session_now_ns();
	camera_frame();
	for (uint32_t i = 0; i < all.count; i++) {
		add(&all.readers[i].session, ctx, port, &heads);
		film_until(start, session_now_ns() + 1);
	}
	warm_up(start);
	say_and_wait("warm");
	/* What waited meanwhile is not the server's delay. */
	start = session_now_ns() - all.frames * NS_PER_S / FRAME_RATE;
	all.measured_from_ns = session_now_ns();
	before = bytes_read();
	film_until(start, session_now_ns() + seconds * NS_PER_S);
	say_and_wait("read");
	qsort(all.delay_us, all.delays, sizeof(*all.delay_us), compare);
	printf("{\"bytes\": %llu, \"ended\": %u, \"frames\": %u, "
	       "\"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f}\n",
	       (unsigned long long)(bytes_read() - before), all.ended,
	       all.delays, delay_ms(500), delay_ms(990), delay_ms(1000));
}

static void files(struct tls_ctx *ctx, uint16_t port, const char *heads)
{
	uint64_t end;

	say_and_wait("warm");
	for (uint32_t i = 0; i < all.count; i++)
		add(&all.readers[i].session, ctx, port, &heads);
	end = session_now_ns() + END_NS_MAX;
	while (all.ended < all.count && session_now_ns() < end)
		turn(100);
	say_and_wait("read");
	printf("{\"bytes\": %llu, \"ended\": %u}\n",
	       (unsigned long long)bytes_read(), all.ended);
}

int main(int argc, char **argv)
{
	struct tls_ctx *ctx;
	uint16_t port;
	char *heads;
	size_t len;
	int r;

	if (argc != 7)
		session_die("usage", -EINVAL);
	port = (uint16_t)session_number(argv[1]);
	all.count = (uint32_t)session_number(argv[4]);
	all.readers = calloc(all.count, sizeof(*all.readers));
	all.delay_us = calloc(SAMPLES_MAX, sizeof(*all.delay_us));
	all.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!all.readers || !all.delay_us || all.epoll < 0)
		session_die("start", -ENOMEM);
	for (uint32_t i = 0; i < all.count; i++)
		all.readers[i].session.take = reader_take;
	buf_init(&all.piece, 1u << 20);
	media_frame(all.frame, FRAME_BYTES, true, 1);
	memcpy(all.frame + FRAME_BYTES - MARK_BYTES, MARK, sizeof(MARK) - 1);
	heads = session_file(argv[3], &len);
	r = tls_ctx_new_client(argv[2], &ctx);
	if (r < 0)
		session_die(argv[2], r);
	if (strcmp(argv[6], "tail") == 0)
		tail(ctx, port, heads, session_number(argv[5]));
	else
		files(ctx, port, heads);
	return 0;
}
