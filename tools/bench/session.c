/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/parse.h"
#include "core/limits.h"

#define IN_BYTES_MAX (1u << 20)
#define OUT_BYTES_MAX (4u << 20)

void session_die(const char *what, int r)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(-r));
	exit(1);
}

uint64_t session_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t session_number(const char *s)
{
	uint64_t n;

	if (parse_u64(s, strlen(s), UINT64_MAX, &n) < 0)
		session_die(s, -EINVAL);
	return n;
}

char *session_file(const char *path, size_t *ret_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	char *text;

	if (fd < 0 || fstat(fd, &st) < 0)
		session_die(path, -errno);
	text = calloc(1, (size_t)st.st_size + 1);
	if (!text || read(fd, text, (size_t)st.st_size) != st.st_size)
		session_die(path, -EIO);
	(void)close(fd);
	*ret_bytes = (size_t)st.st_size;
	return text;
}

static void tcp_open(struct session *s, uint16_t port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons(port) };

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		session_die("connect", -errno);
	(void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 },
			 sizeof(int));
}

static void handshake(struct session *s)
{
	int r;

	while ((r = tls_handshake(s->tls, &s->in, &s->out)) == 0) {
		ssize_t n;

		if (!session_flush(s))
			session_die("handshake", -EAGAIN);
		n = recv(s->fd, buf_reserve(&s->in, SESSION_RECV_BYTES),
			 SESSION_RECV_BYTES, 0);
		if (n <= 0)
			session_die("recv", n ? -errno : -ECONNRESET);
		buf_commit(&s->in, (size_t)n);
	}
	if (r < 0)
		session_die(tls_reason(s->tls), r);
}

void session_open(struct session *s, struct tls_ctx *ctx, uint16_t port)
{
	int r;

	buf_init(&s->in, IN_BYTES_MAX);
	buf_init(&s->out, OUT_BYTES_MAX);
	s->ended = false;
	tcp_open(s, port);
	r = tls_new(ctx, "127.0.0.1", &s->tls);
	if (r < 0)
		session_die("tls_new", r);
	handshake(s);
	if (fcntl(s->fd, F_SETFL, O_NONBLOCK) < 0)
		session_die("fcntl", -errno);
}

void session_fini(struct session *s)
{
	(void)tls_free(s->tls);
	(void)close(s->fd);
	buf_fini(&s->in);
	buf_fini(&s->out);
}

bool session_flush(struct session *s)
{
	while (buf_len(&s->out)) {
		ssize_t n = send(s->fd, buf_head(&s->out), buf_len(&s->out),
				 MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return false;
		if (n < 0)
			session_die("send", -errno);
		buf_consume(&s->out, (size_t)n);
	}
	return true;
}

void session_write(struct session *s, const void *bytes, size_t len)
{
	int r = tls_write(s->tls, &s->in, &s->out, bytes, len);

	if (r < 0)
		session_die("tls_write", r);
	(void)session_flush(s);
}

void session_close(struct session *s)
{
	tls_close(s->tls, &s->in, &s->out);
	(void)session_flush(s);
}

static void decrypt(struct session *s)
{
	uint8_t plain[TLS_READ_BYTES];
	int n;

	while ((n = tls_read(s->tls, &s->in, &s->out, plain)) > 0) {
		if (s->take)
			s->take(s, plain, (size_t)n);
	}
	if (n == -EPIPE)
		s->ended = true;
	else if (n < 0)
		session_die("tls_read", n);
}

void session_receive(struct session *s)
{
	ssize_t n;

	do {
		uint8_t *room = buf_reserve(&s->in, SESSION_RECV_BYTES);

		if (!room)
			session_die("receive", -ENOMEM);
		n = recv(s->fd, room, SESSION_RECV_BYTES, 0);
		if (n < 0 && errno != EAGAIN)
			session_die("recv", -errno);
		if (n == 0)
			s->ended = true;
		if (n > 0) {
			buf_commit(&s->in, (size_t)n);
			decrypt(s);
		}
	} while (n == (ssize_t)SESSION_RECV_BYTES && !s->ended);
}
