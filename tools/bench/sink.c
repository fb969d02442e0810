/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: one thread that takes TLS connections, decrypts what comes and
 * throws it away. What no service that speaks TLS can do without.
 *
 *	bench_sink CERT KEY
 *
 * Listens on a free port of 127.0.0.1, prints it, ends at the end of stdin.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define EVENTS_MAX 256
#define BACKLOG 4096
#define READ_BYTES (16 << 10)	/* a record */

struct peer {
	int fd;
	SSL *ssl;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int listen_any(void)
{
	struct sockaddr_in sa = { .sin_family = AF_INET };
	socklen_t len = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	sa.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, len) < 0 ||
	    listen(fd, BACKLOG) < 0 ||
	    getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
		die("listen");
	printf("%u\n", ntohs(sa.sin_port));
	(void)fflush(stdout);
	return fd;
}

static void add(int epoll, int fd, void *ptr)
{
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = ptr };

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static void accept_all(int listener, int epoll, SSL_CTX *ctx)
{
	for (;;) {
		int fd = accept4(listener, NULL, NULL,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct peer *p;

		if (fd < 0 && errno == EAGAIN)
			return;
		p = calloc(1, sizeof(*p));
		if (fd < 0 || !p)
			die("accept");
		p->fd = fd;
		p->ssl = SSL_new(ctx);
		if (!p->ssl || !SSL_set_fd(p->ssl, fd))
			die("SSL_new");
		SSL_set_accept_state(p->ssl);
		add(epoll, fd, p);
	}
}

static void peer_free(struct peer *p)
{
	SSL_free(p->ssl);
	(void)close(p->fd);
	free(p);
}

static void take(struct peer *p)
{
	static char bytes[READ_BYTES];
	int n;
	int error;

	while ((n = SSL_read(p->ssl, bytes, sizeof(bytes))) > 0)
		;
	error = SSL_get_error(p->ssl, n);
	if (error == SSL_ERROR_ZERO_RETURN)
		(void)SSL_shutdown(p->ssl);
	if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE)
		peer_free(p);
}

int main(int argc, char **argv)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	static char listener_mark;
	static char stdin_mark;
	int listener;

	if (argc != 3 || !ctx || epoll < 0 ||
	    SSL_CTX_use_certificate_chain_file(ctx, argv[1]) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, argv[2], SSL_FILETYPE_PEM) != 1)
		die("bench_sink CERT KEY");
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
	listener = listen_any();
	add(epoll, listener, &listener_mark);
	add(epoll, STDIN_FILENO, &stdin_mark);
	for (;;) {
		struct epoll_event events[EVENTS_MAX];
		int n = epoll_wait(epoll, events, EVENTS_MAX, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == &stdin_mark)
				return 0;
			if (events[i].data.ptr == &listener_mark)
				accept_all(listener, epoll, ctx);
			else
				take(events[i].data.ptr);
		}
	}
}
