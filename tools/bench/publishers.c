/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many cameras: TLS connections that each send frames at a steady rate, one
 * TLS record a frame, their phases spread evenly over a frame's time.
 *
 *	bench_publishers PORT CA HEADS SESSIONS SECONDS START_MS MODE PHASE
 *	bench_publishers size SECONDS
 *
 * MODE: chunked, length, sink or slow. Slow is chunked with a frame every four
 * seconds from each session, which begins as soon as it is connected; they go
 * on until a line comes on stdin, whatever SECONDS says. PHASE: spread, where
 * sessions begin and end one after the other within a fragment's time, as
 * cameras that do not know of each other; or together, the worst that can
 * happen. All fragments are whole. HEADS: one request head per session, each
 * ended by a NUL; empty for a sink, which answers nothing and is left when all
 * is sent. With chunked the answers are read as PutMedia's: a fragment's time
 * to PERSISTED starts when its last byte was handed to the socket. Prints a
 * JSON object when all are connected, and one at the end.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/macros.h"
#include "core/limits.h"
#include "media.h"
#include "proto/mkv_writer.h"
#include "session.h"

#define FRAME_RATE 30u
#define FRAME_BYTES 2500u /* 600 kbit/s */
#define FRAMES_PER_FRAGMENT 60u
#define SLOW_FRAMES_PER_FRAGMENT 4u
#define SLOWER 120u /* times, in slow: under 20 s a fragment */
#define SLOW_NS_MAX (300 * NS_PER_S)
#define FRAGMENTS_OPEN_MAX 64u
#define ANSWER_BYTES_MAX (64u << 10)
#define EVENTS_MAX 256
#define END_NS_MAX (60 * NS_PER_S)
#define SAMPLES_MAX (1u << 20)

struct publisher {
	struct session session;
	struct buf answer;
	uint64_t closed_ns[FRAGMENTS_OPEN_MAX]; /* by fragment, in turn */
	uint32_t frames;			/* sent */
	uint32_t first;	    /* frames of its first fragment left out */
	uint32_t late;	    /* frames after the first of all it begins */
	uint32_t fragments; /* ended */
	uint32_t persisted;
	uint64_t next_ns; /* slow: its next frame */
	bool waits_for_room;
};

static struct {
	struct publisher *publishers;
	uint32_t count;
	uint32_t frames_each;
	uint64_t start_ms;
	bool chunked;
	bool sink;
	bool slow;
	bool spread;
	bool told_to_end; /* slow: something came on stdin */
	uint32_t fragment_frames;
	uint32_t frame_ms_times; /* milliseconds of FRAME_RATE frames */
	int epoll;
	uint32_t ended;
	uint64_t errors;
	uint64_t late_ns_max; /* behind its schedule: the load's own fault */
	uint32_t *latency_us;
	uint32_t latencies;
	struct buf header;
	struct buf eof; /* the Tags that end a fragment */
	struct buf piece;
	uint8_t key[FRAME_BYTES];
	uint8_t delta[FRAME_BYTES];
} all;

/* --- what a session sends
 * -------------------------------------------------------- */

static void media_make(void)
{
	static const struct mkv_tag end = {
		.name = "AWS_KINESISVIDEO_END_OF_FRAGMENT",
		.name_len = sizeof("AWS_KINESISVIDEO_END_OF_FRAGMENT") - 1,
		.value = "",
	};

	buf_init(&all.header, SESSION_HEADER_BYTES_MAX);
	buf_init(&all.eof, 1024);
	buf_init(&all.piece, 64u << 10);
	if (media_header(&all.header) < 0 ||
	    mkv_write_tags(&all.eof, &end, 1) < 0)
		session_die("media", -ENOMEM);
	media_frame(all.key, FRAME_BYTES, true, 1);
	media_frame(all.delta, FRAME_BYTES, false, 2);
}

static uint64_t frame_ms(uint32_t n)
{
	return (uint64_t)n * all.frame_ms_times / FRAME_RATE;
}

/* Its @n-th frame is this one of the stream's. */
static uint32_t place(const struct publisher *p, uint32_t n)
{
	return p->first + n;
}

static bool ends_fragment(const struct publisher *p, uint32_t n)
{
	return n + 1 == all.frames_each ||
	       place(p, n) % all.fragment_frames == all.fragment_frames - 1;
}

/* The @n-th frame with what stands before and behind it, in all.piece. */
static void piece_make(const struct publisher *p, uint32_t n)
{
	uint32_t at = place(p, n);
	uint32_t start = MAX(at - at % all.fragment_frames, p->first);
	bool begins = at == start;
	uint8_t head[MKV_CLUSTER_HEAD_BYTES];
	uint8_t block[MKV_BLOCK_HEAD_BYTES];

	buf_reset(&all.piece);
	if (n == 0)
		(void)buf_add(&all.piece, buf_head(&all.header),
			      buf_len(&all.header));
	if (begins) {
		mkv_cluster_head(head, all.start_ms + frame_ms(start));
		(void)buf_add(&all.piece, head, sizeof(head));
	}
	mkv_block_head(block, 1, (int16_t)(frame_ms(at) - frame_ms(start)),
		       begins, FRAME_BYTES);
	(void)buf_add(&all.piece, block, sizeof(block));
	(void)buf_add(&all.piece, begins ? all.key : all.delta, FRAME_BYTES);
	if (ends_fragment(p, n))
		(void)buf_add(&all.piece, buf_head(&all.eof),
			      buf_len(&all.eof));
}

static void watch(struct publisher *p, bool room)
{
	struct epoll_event e = {.events = EPOLLIN | (room ? EPOLLOUT : 0),
				.data.ptr = p};

	if (p->waits_for_room == room)
		return;
	p->waits_for_room = room;
	if (epoll_ctl(all.epoll, EPOLL_CTL_MOD, p->session.fd, &e) < 0)
		session_die("epoll_ctl", -errno);
}

static void frame_send(struct publisher *p)
{
	static struct buf record;
	uint32_t n = p->frames++;

	piece_make(p, n);
	buf_init(&record, 64u << 10);
	if (all.chunked)
		(void)buf_printf(&record, "%zx\r\n", buf_len(&all.piece));
	(void)buf_add(&record, buf_head(&all.piece), buf_len(&all.piece));
	if (all.chunked)
		(void)buf_add_str(&record, "\r\n");
	if (all.chunked && p->frames == all.frames_each)
		(void)buf_add_str(&record, "0\r\n\r\n");
	session_write(&p->session, buf_head(&record), buf_len(&record));
	buf_fini(&record);
	if (ends_fragment(p, n)) {
		p->fragments++;
		p->closed_ns[place(p, n) / all.fragment_frames %
			     FRAGMENTS_OPEN_MAX] = session_now_ns();
	}
	if (all.sink && p->frames == all.frames_each)
		session_close(&p->session);
	watch(p, buf_len(&p->session.out) > 0);
}

/* --- what comes back
 * ------------------------------------------------------------- */

static void take_ack(struct publisher *p, const char *line)
{
	const char *at = strstr(line, "\"FragmentTimecode\":");
	uint64_t i;

	if (strstr(line, "\"ERROR\"")) {
		all.errors++;
		fputs(line, stderr);
	}
	if (!at || !strstr(line, "\"PERSISTED\""))
		return;
	i = (strtoull(at + strlen("\"FragmentTimecode\":"), NULL, 10) -
	     all.start_ms) /
	    frame_ms(all.fragment_frames);
	p->persisted++;
	if (all.latencies < SAMPLES_MAX)
		all.latency_us[all.latencies++] =
			(uint32_t)((session_now_ns() -
				    p->closed_ns[i % FRAGMENTS_OPEN_MAX]) /
				   1000);
}

static void take_answer(struct session *s, const uint8_t *bytes, size_t len)
{
	struct publisher *p = container_of(s, struct publisher, session);
	uint8_t *end;

	if (!all.chunked)
		return;
	if (buf_add(&p->answer, bytes, len) < 0)
		session_die("answer", -ENOMEM);
	while (buf_len(&p->answer) && (end = memchr(buf_head(&p->answer), '\n',
						    buf_len(&p->answer)))) {
		size_t n = (size_t)(end - buf_head(&p->answer)) + 1;

		*end = '\0';
		if (strcmp((char *)buf_head(&p->answer), "0\r") == 0)
			s->ended = true;
		take_ack(p, (char *)buf_head(&p->answer));
		buf_consume(&p->answer, n);
	}
}

static void turn(int timeout_ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(all.epoll, events, EVENTS_MAX, timeout_ms);

	for (int i = 0; i < n; i++) {
		struct publisher *p = events[i].data.ptr;

		if (!p) {
			all.told_to_end = true;
			continue;
		}
		if (events[i].events & EPOLLOUT)
			watch(p, !session_flush(&p->session));
		if (!(events[i].events & ~(uint32_t)EPOLLOUT))
			continue;
		session_receive(&p->session);
		if (!p->session.ended)
			continue;
		all.ended++;
		(void)epoll_ctl(all.epoll, EPOLL_CTL_DEL, p->session.fd, NULL);
	}
}

/* --- the run
 * --------------------------------------------------------------------- */

static void connect_one(uint32_t i, struct tls_ctx *ctx, uint16_t port)
{
	struct publisher *p = &all.publishers[i];
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = p};

	buf_init(&p->answer, ANSWER_BYTES_MAX);
	p->session.take = take_answer;
	if (all.slow)
		p->first = 1 + (uint32_t)((uint64_t)i *
					  (all.fragment_frames - 1) /
					  all.count);
	else if (all.spread)
		p->late = (uint32_t)((uint64_t)i * all.fragment_frames /
				     all.count);
	session_open(&p->session, ctx, port);
	if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, p->session.fd, &e) < 0)
		session_die("epoll_ctl", -errno);
}

/* Those whose next frame is due, of the first @count. */
static void slow_send(uint32_t count)
{
	uint64_t now = session_now_ns();

	for (uint32_t i = 0; i < count; i++) {
		struct publisher *p = &all.publishers[i];

		if (p->session.ended)
			session_die("a session was ended", -ECONNRESET);
		if (p->next_ns > now)
			continue;
		all.late_ns_max = MAX(all.late_ns_max, now - p->next_ns);
		p->next_ns += NS_PER_MS * frame_ms(1);
		frame_send(p);
	}
}

static void connect_all(const char *ca, uint16_t port, const char *heads,
			size_t heads_bytes)
{
	const char *end = heads + heads_bytes;
	struct tls_ctx *ctx;
	int r = tls_ctx_new_client(ca, &ctx);

	if (r < 0)
		session_die(ca, r);
	for (uint32_t i = 0; i < all.count; i++) {
		connect_one(i, ctx, port);
		if (heads < end) {
			session_write(&all.publishers[i].session, heads,
				      strlen(heads));
			heads += strlen(heads) + 1;
		}
		if (!all.slow)
			continue;
		all.publishers[i].next_ns = session_now_ns() + NS_PER_S;
		turn(0);
		slow_send(i + 1);
	}
}

/* Until told, or for as long as all has to take. Then each ends in order. */
static void publish_slowly(void)
{
	uint64_t end = session_now_ns() + SLOW_NS_MAX;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};

	if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &e) < 0)
		session_die("stdin", -errno);
	while (!all.told_to_end && session_now_ns() < end) {
		turn(10);
		slow_send(all.count);
	}
	(void)epoll_ctl(all.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
	for (uint32_t i = 0; i < all.count; i++) {
		all.frames_each = all.publishers[i].frames + 1;
		frame_send(&all.publishers[i]);
		turn(0);
	}
}

/*
 * Turn k is session k % count's; a frame is due k spacings after the start.
 * With PHASE spread one session after the other begins, and ends.
 */
static void publish(void)
{
	uint64_t total = (uint64_t)all.count *
			 (all.frames_each + all.fragment_frames);
	uint64_t spacing = NS_PER_S / FRAME_RATE / all.count;
	uint64_t start = session_now_ns() + NS_PER_S / 10;

	for (uint64_t k = 0; k < total;) {
		uint64_t now = session_now_ns();
		uint64_t due = start + k * spacing;
		struct publisher *p = &all.publishers[k % all.count];
		uint64_t round = k / all.count;

		if (round < p->late || round >= p->late + all.frames_each) {
			k++;
			continue;
		}
		if (now < due) {
			turn((int)((due - now) / NS_PER_MS));
			continue;
		}
		all.late_ns_max = MAX(all.late_ns_max, now - due);
		frame_send(p);
		if (++k % 16 == 0)
			turn(0);
	}
}

static void finish(void)
{
	uint64_t end = session_now_ns() + END_NS_MAX;

	while (all.ended < all.count && session_now_ns() < end)
		turn(100);
	if (all.ended < all.count)
		session_die("the peer does not end", -ETIMEDOUT);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_ms(unsigned int permille)
{
	uint64_t us;

	if (!all.latencies)
		return 0;
	us = all.latency_us[(uint64_t)(all.latencies - 1) * permille / 1000];
	return (double)us / 1e3;
}

/* Of every session: all are whole. */
static uint32_t fragments_each(void)
{
	return all.frames_each / FRAMES_PER_FRAGMENT;
}

static void report(double seconds)
{
	uint64_t persisted = 0;
	uint64_t fragments = 0;

	for (uint32_t i = 0; i < all.count; i++) {
		persisted += all.publishers[i].persisted;
		fragments += all.publishers[i].fragments;
	}
	qsort(all.latency_us, all.latencies, sizeof(*all.latency_us), compare);
	printf("{\"seconds\": %.3f, \"persisted\": %llu, \"fragments\": %llu, "
	       "\"errors\": %llu, "
	       "\"p50_ms\": %.2f, \"p99_ms\": %.2f, \"max_ms\": %.2f, "
	       "\"late_ms\": %.1f}\n",
	       seconds, (unsigned long long)persisted,
	       (unsigned long long)fragments, (unsigned long long)all.errors,
	       percentile_ms(500), percentile_ms(990), percentile_ms(1000),
	       (double)all.late_ns_max / 1e6);
}

static uint64_t body_bytes(uint32_t frames)
{
	return buf_len(&all.header) +
	       (uint64_t)frames * (MKV_BLOCK_HEAD_BYTES + FRAME_BYTES) +
	       (uint64_t)fragments_each() *
		       (MKV_CLUSTER_HEAD_BYTES + buf_len(&all.eof));
}

/* The bench sets what is measured while all are connected and none sends. */
static void wait_for_go(void)
{
	char line[16];

	printf("{\"connected\": %u}\n", all.count);
	(void)fflush(stdout);
	if (!all.slow && !fgets(line, sizeof(line), stdin))
		session_die("stdin", -EPIPE);
}

int main(int argc, char **argv)
{
	size_t heads_bytes;
	uint64_t start;
	char *heads;

	media_make();
	all.fragment_frames = FRAMES_PER_FRAGMENT;
	all.frame_ms_times = 1000;
	if (argc == 3) {
		all.frames_each =
			(uint32_t)session_number(argv[2]) * FRAME_RATE;
		printf("%llu\n",
		       (unsigned long long)body_bytes(all.frames_each));
		return 0;
	}
	if (argc != 9)
		session_die("usage", -EINVAL);
	all.count = (uint32_t)session_number(argv[4]);
	all.frames_each = (uint32_t)session_number(argv[5]) * FRAME_RATE;
	all.start_ms = session_number(argv[6]);
	all.slow = strcmp(argv[7], "slow") == 0;
	all.chunked = all.slow || strcmp(argv[7], "chunked") == 0;
	if (all.slow) {
		all.fragment_frames = SLOW_FRAMES_PER_FRAGMENT;
		all.frame_ms_times *= SLOWER;
		all.frames_each = UINT32_MAX;
	}
	all.sink = strcmp(argv[7], "sink") == 0;
	all.spread = strcmp(argv[8], "spread") == 0;
	all.publishers = calloc(all.count, sizeof(*all.publishers));
	all.latency_us = calloc(SAMPLES_MAX, sizeof(*all.latency_us));
	all.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!all.publishers || !all.latency_us || all.epoll < 0)
		session_die("start", -ENOMEM);
	heads = session_file(argv[3], &heads_bytes);
	connect_all(argv[2], (uint16_t)session_number(argv[1]), heads,
		    heads_bytes);
	wait_for_go();
	start = session_now_ns();
	if (all.slow)
		publish_slowly();
	else
		publish();
	finish();
	report((double)(session_now_ns() - start) / 1e9);
	return 0;
}
