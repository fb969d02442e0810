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
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/macros.h"
#include "core/limits.h"
#include "media.h"
#include "proto/mkv_writer.h"
#include "session.h"

#define FRAMES_PER_FRAGMENT 60u
#define FRAME_BYTES 17400u
#define FRAGMENT_MS 2000u
#define FRAGMENT_BYTES                                   \
	(MKV_CLUSTER_HEAD_BYTES + FRAMES_PER_FRAGMENT *  \
	 (MKV_BLOCK_HEAD_BYTES + FRAME_BYTES))
#define CHUNK_BYTES (64u << 10)	/* as the producer's: one HTTP chunk */
#define RECORD_BYTES (16u << 10)
#define OUT_BYTES_HIGH (512u << 10)
#define PATIENCE_MS 60000

struct load {
	struct session session;
	struct buf wire;	/* plaintext not yet a whole record */
	struct buf body;	/* Matroska not yet a whole chunk */
	struct buf answer;
	bool chunked;
	uint64_t persisted;
	uint64_t errors;
	uint8_t fragment[FRAGMENT_BYTES];
};

/* --- the body ---------------------------------------------------------------- */

static void fragment_make(uint8_t *p)
{
	mkv_cluster_head(p, 0);
	p += MKV_CLUSTER_HEAD_BYTES;
	for (unsigned int i = 0; i < FRAMES_PER_FRAGMENT; i++) {
		mkv_block_head(p, 1, (int16_t)(i * FRAGMENT_MS /
					       FRAMES_PER_FRAGMENT),
			       i == 0, FRAME_BYTES);
		p += MKV_BLOCK_HEAD_BYTES;
		media_frame(p, FRAME_BYTES, i == 0, 12345 + i);
		p += FRAME_BYTES;
	}
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
			l->session.ended = true;
		if (memmem(buf_head(&l->answer), n, error, sizeof(error) - 1)) {
			l->errors++;
			(void)fwrite(buf_head(&l->answer), 1, n, stderr);
		}
		buf_consume(&l->answer, n);
		if (!buf_len(&l->answer))
			break;
	}
}

static void take_answer(struct session *session, const uint8_t *bytes,
			size_t len)
{
	struct load *l = container_of(session, struct load, session);

	if (buf_add(&l->answer, bytes, len) < 0)
		session_die("answer", -ENOMEM);
	count_answers(l);
}

/* Sends and receives until @low or fewer bytes wait, or the peer ends. */
static void pump(struct load *l, size_t low, bool till_end)
{
	struct session *s = &l->session;

	while (!s->ended && (till_end || buf_len(&s->out) > low)) {
		struct pollfd p = { .fd = s->fd, .events = POLLIN };

		if (buf_len(&s->out))
			p.events |= POLLOUT;
		if (poll(&p, 1, PATIENCE_MS) <= 0)
			session_die("the peer is silent", -ETIMEDOUT);
		if (p.revents & POLLOUT)
			(void)session_flush(s);
		if (p.revents & ~POLLOUT)
			session_receive(s);
	}
}

/* --- sending --------------------------------------------------------------------- */

/* Whole records, so that both servers see full ones whatever the chunks. */
static void wire_flush(struct load *l, bool all)
{
	size_t n = buf_len(&l->wire);

	if (!all)
		n -= n % RECORD_BYTES;
	if (!n)
		return;
	session_write(&l->session, buf_head(&l->wire), n);
	buf_consume(&l->wire, n);
	if (all || buf_len(&l->session.out) > OUT_BYTES_HIGH)
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
		session_die(path, -errno);
	(void)close(fd);
	(void)buf_add(&l->wire, head, (size_t)n);
	wire_flush(l, true);
}

static void run(struct load *l, uint64_t fragments, uint64_t start_ms)
{
	(void)media_header(&l->body);
	for (uint64_t i = 0; i < fragments && !l->session.ended; i++) {
		mkv_cluster_head(l->fragment, start_ms + i * FRAGMENT_MS);
		if (buf_add(&l->body, l->fragment, FRAGMENT_BYTES) < 0)
			session_die("body", -ENOMEM);
		body_flush(l, false);
	}
	body_flush(l, true);
	pump(l, 0, true);
}

int main(int argc, char **argv)
{
	static struct load l = { .session.take = take_answer };
	struct tls_ctx *ctx;
	struct buf header;
	uint64_t fragments;
	uint64_t bytes;
	uint64_t start;
	int r;

	buf_init(&header, SESSION_HEADER_BYTES_MAX);
	if (argc < 3 || media_header(&header) < 0)
		session_die("usage", -EINVAL);
	fragments = session_number(argv[argc == 3 ? 2 : 4]);
	bytes = buf_len(&header) + fragments * FRAGMENT_BYTES;
	buf_fini(&header);
	if (argc == 3) {
		printf("%llu\n", (unsigned long long)bytes);
		return 0;
	}
	if (argc != 7)
		session_die("usage", -EINVAL);
	buf_init(&l.wire, 4u << 20);
	buf_init(&l.body, 4u << 20);
	buf_init(&l.answer, 1u << 20);
	l.chunked = strcmp(argv[6], "chunked") == 0;
	fragment_make(l.fragment);
	r = tls_ctx_new_client(argv[2], &ctx);
	if (r < 0)
		session_die(argv[2], r);
	session_open(&l.session, ctx, (uint16_t)session_number(argv[1]));
	start = session_now_ns();
	head_send(&l, argv[3]);
	run(&l, fragments, session_number(argv[5]));
	printf("{\"bytes\": %llu, \"seconds\": %.3f, \"persisted\": %llu, "
	       "\"errors\": %llu, \"tls\": \"%s\"}\n",
	       (unsigned long long)bytes,
	       (double)(session_now_ns() - start) / 1e9,
	       (unsigned long long)l.persisted, (unsigned long long)l.errors,
	       tls_version(l.session.tls));
	return 0;
}
