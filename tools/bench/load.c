/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load for ingest: one TLS connection, one request, Matroska at full
 * speed. The head comes ready-made (signed or not); the body is made here:
 * fragments of about 1 MB whose timecodes go on by two seconds.
 *
 *	bench_load PORT CA HEAD FRAGMENTS START_MS chunked|length
 *	bench_load size FRAGMENTS
 *
 * Reads the answer meanwhile, to its end. Prints one JSON object.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "core/limits.h"
#include "io/tls.h"
#include "proto/mkv_writer.h"

#define FRAMES_PER_FRAGMENT 60u
#define FRAME_BYTES 17400u
#define FRAGMENT_MS 2000u
#define FRAGMENT_BYTES                                   \
	(MKV_CLUSTER_HEAD_BYTES + FRAMES_PER_FRAGMENT *  \
	 (MKV_BLOCK_HEAD_BYTES + FRAME_BYTES))
#define CHUNK_BYTES (64u << 10)	/* as the producer's: one HTTP chunk */
#define RECORD_BYTES (16u << 10)
#define OUT_BYTES_HIGH (512u << 10)
#define RECV_BYTES (64u << 10)
#define PATIENCE_MS 60000

struct load {
	int fd;
	struct tls *tls;
	struct buf in;		/* ciphertext */
	struct buf out;		/* ciphertext */
	struct buf wire;	/* plaintext not yet a whole record */
	struct buf body;	/* Matroska not yet a whole chunk */
	struct buf answer;
	bool chunked;
	bool ended;
	uint64_t persisted;
	uint64_t errors;
	uint8_t fragment[FRAGMENT_BYTES];
};

static int die(const char *what, int r)
{
	fprintf(stderr, "bench_load: %s: %s\n", what, strerror(-r));
	exit(1);
}

/* --- the body ---------------------------------------------------------------- */

static void fragment_make(uint8_t *p)
{
	uint32_t seed = 12345;

	mkv_cluster_head(p, 0);
	p += MKV_CLUSTER_HEAD_BYTES;
	for (unsigned int i = 0; i < FRAMES_PER_FRAGMENT; i++) {
		mkv_block_head(p, 1, (int16_t)(i * FRAGMENT_MS /
					       FRAMES_PER_FRAGMENT),
			       i == 0, FRAME_BYTES);
		p += MKV_BLOCK_HEAD_BYTES;
		for (unsigned int k = 0; k < FRAME_BYTES; k++) {
			seed = seed * 1664525u + 1013904223u;
			p[k] = (uint8_t)(seed >> 24);
		}
		store_be32(p, FRAME_BYTES - 4);	/* one NAL unit */
		p[4] = i == 0 ? 0x65 : 0x41;
		p += FRAME_BYTES;
	}
}

static int header_make(struct buf *out)
{
	static const uint8_t avcc[] = {
		1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 8, 0x67, 0x42, 0xc0, 0x1e,
		0xd9, 0x00, 0xa0, 0x47, 1, 0, 4, 0x68, 0xcb, 0x83, 0xcb,
	};
	struct mkv_track track = {
		.number = 1,
		.type = MKV_TRACK_VIDEO,
		.codec_id = "V_MPEG4/ISO/AVC",
		.codec_private = avcc,
		.codec_private_bytes = sizeof(avcc),
		.width = 1280,
		.height = 720,
	};

	return mkv_write_header(out, &track, 1, MKV_TIMECODE_SCALE_DEFAULT_NS,
				NULL);
}

/* --- the connection ------------------------------------------------------------ */

static void count_answers(struct load *l)
{
	static const char persisted[] = "\"PERSISTED\"";
	static const char error[] = "\"ERROR\"";
	uint8_t *p;

	/* A line at a time; what follows the last stays for the next turn. */
	while ((p = memchr(buf_head(&l->answer), '\n', buf_len(&l->answer)))) {
		size_t n = (size_t)(p - buf_head(&l->answer)) + 1;

		if (memmem(buf_head(&l->answer), n, persisted,
			   sizeof(persisted) - 1))
			l->persisted++;
		/* The last chunk of the answer. */
		if (n == 3 && memcmp(buf_head(&l->answer), "0\r\n", 3) == 0)
			l->ended = true;
		if (memmem(buf_head(&l->answer), n, error, sizeof(error) - 1)) {
			l->errors++;
			(void)fwrite(buf_head(&l->answer), 1, n, stderr);
		}
		buf_consume(&l->answer, n);
		if (!buf_len(&l->answer))
			break;
	}
}

static void take_answer(struct load *l)
{
	for (;;) {
		uint8_t *p = buf_reserve(&l->answer, RECORD_BYTES);
		int n;

		if (!p)
			die("answer", -ENOMEM);
		n = tls_read(l->tls, &l->in, &l->out, p, RECORD_BYTES);
		if (n == -EPIPE)
			l->ended = true;
		else if (n < 0)
			die("tls_read", n);
		if (n <= 0)
			break;
		buf_commit(&l->answer, (size_t)n);
		count_answers(l);
	}
}

/* Sends and receives until @low or fewer bytes wait, or the peer ends. */
static void pump(struct load *l, size_t low, bool till_end)
{
	while (!l->ended && (till_end || buf_len(&l->out) > low)) {
		struct pollfd p = { .fd = l->fd, .events = POLLIN };
		ssize_t n;

		if (buf_len(&l->out))
			p.events |= POLLOUT;
		if (poll(&p, 1, PATIENCE_MS) <= 0)
			die("the peer is silent", -ETIMEDOUT);
		if (p.revents & POLLOUT) {
			n = send(l->fd, buf_head(&l->out), buf_len(&l->out),
				 MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				die("send", -errno);
			if (n > 0)
				buf_consume(&l->out, (size_t)n);
		}
		if (p.revents & ~POLLOUT) {
			n = recv(l->fd, buf_reserve(&l->in, RECV_BYTES),
				 RECV_BYTES, MSG_DONTWAIT);
			if (n < 0 && errno != EAGAIN)
				die("recv", -errno);
			if (n == 0)
				l->ended = true;
			if (n > 0) {
				buf_commit(&l->in, (size_t)n);
				take_answer(l);
			}
		}
	}
}

static void connect_to(struct load *l, uint16_t port, const char *ca)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port) };
	struct tls_ctx *ctx;
	int r;

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (l->fd < 0 || connect(l->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die("connect", -errno);
	(void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
			 sizeof(int));
	r = tls_ctx_new_client(ca, &ctx);
	if (r < 0)
		die(ca, r);
	r = tls_new(ctx, "127.0.0.1", &l->tls);
	if (r < 0)
		die("tls_new", r);
	while ((r = tls_handshake(l->tls, &l->in, &l->out)) == 0) {
		ssize_t n;

		while (buf_len(&l->out)) {
			n = send(l->fd, buf_head(&l->out), buf_len(&l->out), 0);
			if (n <= 0)
				die("send", -errno);
			buf_consume(&l->out, (size_t)n);
		}
		n = recv(l->fd, buf_reserve(&l->in, RECV_BYTES), RECV_BYTES, 0);
		if (n <= 0)
			die("recv", n ? -errno : -ECONNRESET);
		buf_commit(&l->in, (size_t)n);
	}
	if (r < 0)
		die(tls_reason(l->tls), r);
}

/* --- sending --------------------------------------------------------------------- */

/* Whole records, so that both servers see full ones whatever the chunks. */
static void wire_flush(struct load *l, bool all)
{
	size_t n = buf_len(&l->wire);
	int r;

	if (!all)
		n -= n % RECORD_BYTES;
	if (!n)
		return;
	r = tls_write(l->tls, &l->in, &l->out, buf_head(&l->wire), n);
	if (r < 0)
		die("tls_write", r);
	buf_consume(&l->wire, n);
	if (all || buf_len(&l->out) > OUT_BYTES_HIGH)
		pump(l, all ? 0 : OUT_BYTES_HIGH / 2, false);
}

static void body_flush(struct load *l, bool all)
{
	while (buf_len(&l->body) >= CHUNK_BYTES || (all && buf_len(&l->body))) {
		size_t n = MIN(buf_len(&l->body), CHUNK_BYTES);

		if (l->chunked)
			(void)buf_printf(&l->wire, "%zx\r\n", n);
		(void)buf_add(&l->wire, buf_head(&l->body), n);
		if (l->chunked)
			(void)buf_add_str(&l->wire, "\r\n");
		buf_consume(&l->body, n);
		wire_flush(l, false);
	}
	if (all && l->chunked)
		(void)buf_add_str(&l->wire, "0\r\n\r\n");
	if (all)
		wire_flush(l, true);
}

static void head_send(struct load *l, const char *path)
{
	char head[8192];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof(head));

	if (n <= 0)
		die(path, -errno);
	(void)close(fd);
	(void)buf_add(&l->wire, head, (size_t)n);
	wire_flush(l, true);
}

static double now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static uint64_t number(const char *s)
{
	uint64_t n;

	if (parse_u64(s, strlen(s), UINT64_MAX, &n) < 0)
		die(s, -EINVAL);
	return n;
}

static void run(struct load *l, uint64_t fragments, uint64_t start_ms)
{
	(void)header_make(&l->body);
	for (uint64_t i = 0; i < fragments && !l->ended; i++) {
		mkv_cluster_head(l->fragment, start_ms + i * FRAGMENT_MS);
		if (buf_add(&l->body, l->fragment, FRAGMENT_BYTES) < 0)
			die("body", -ENOMEM);
		body_flush(l, false);
	}
	body_flush(l, true);
	pump(l, 0, true);
}

int main(int argc, char **argv)
{
	static struct load l;
	struct buf header;
	uint64_t fragments;
	uint64_t bytes;
	double start;

	buf_init(&header, SESSION_HEADER_BYTES_MAX);
	if (argc < 3 || header_make(&header) < 0)
		die("usage", -EINVAL);
	fragments = number(argv[argc == 3 ? 2 : 4]);
	bytes = buf_len(&header) + fragments * FRAGMENT_BYTES;
	buf_fini(&header);
	if (argc == 3) {
		printf("%llu\n", (unsigned long long)bytes);
		return 0;
	}
	if (argc != 7)
		die("usage", -EINVAL);
	buf_init(&l.in, 1u << 20);
	buf_init(&l.out, 4u << 20);
	buf_init(&l.wire, 4u << 20);
	buf_init(&l.body, 4u << 20);
	buf_init(&l.answer, 1u << 20);
	l.chunked = strcmp(argv[6], "chunked") == 0;
	fragment_make(l.fragment);
	connect_to(&l, (uint16_t)number(argv[1]), argv[2]);
	start = now_s();
	head_send(&l, argv[3]);
	run(&l, fragments, number(argv[5]));
	printf("{\"bytes\": %llu, \"seconds\": %.3f, \"persisted\": %llu, "
	       "\"errors\": %llu, \"tls\": \"%s\"}\n",
	       (unsigned long long)bytes, now_s() - start,
	       (unsigned long long)l.persisted, (unsigned long long)l.errors,
	       tls_version(l.tls));
	return 0;
}
