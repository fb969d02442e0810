/* SPDX-License-Identifier: Apache-2.0 */
#include "src/records_port.h"

#include <arpa/inet.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/spi/spidev.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <capture/record.h>

#include "base/parse.h"
#include "src/limits.h"

/* Ask for this much; the kernel gives what net.core.rmem_max allows. */
#define UDP_BUFFER_BYTES (1 << 20)

/* --- paths -------------------------------------------------------------- */

/* The part before the last colon, and the number after it. */
static int split(const char *text, uint64_t number_max, char *ret_head,
		 size_t head_bytes, uint32_t *ret_number)
{
	const char *colon = strrchr(text, ':');
	uint64_t number;
	size_t len;
	int r;

	if (!colon || colon == text)
		return -EINVAL;
	len = (size_t)(colon - text);
	if (len >= head_bytes)
		return -ENAMETOOLONG;
	r = parse_u64(colon + 1, strlen(colon + 1), number_max, &number);
	if (r < 0 || !number)
		return -EINVAL;
	memcpy(ret_head, text, len);
	ret_head[len] = '\0';
	*ret_number = (uint32_t)number;
	return 0;
}

static int open_device(const struct sys_ops *sys, const char *path, int flags,
		       struct records_port *port)
{
	int r = sys->openat(AT_FDCWD, path,
			    flags | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0);

	if (r < 0)
		return r;
	port->fd = r;
	return 0;
}

/* --- tty ---------------------------------------------------------------- */

/* As cfmakeraw(3): eight bits, no echo, no signals, nothing rewritten. */
static int set_raw(const struct sys_ops *sys, struct records_port *port,
		   uint32_t baud)
{
	struct termios2 t;
	int r;

	r = sys->ioctl(port->fd, TCGETS2, &t);
	if (r < 0)
		return r;
	port->before = malloc(sizeof(t));
	if (!port->before)
		return -ENOMEM;
	*port->before = t;
	t.c_iflag = IGNBRK;
	t.c_oflag = 0;
	t.c_lflag = 0;
	t.c_cflag = CS8 | CREAD | CLOCAL | BOTHER;
	t.c_ispeed = baud;
	t.c_ospeed = baud;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	return sys->ioctl(port->fd, TCSETS2, &t);
}

static int open_tty(const struct sys_ops *sys, const char *text,
		    struct records_port *port)
{
	char path[CAPTURE_RECORDS_PATH_BYTES];
	uint32_t baud;
	int r;

	r = split(text, CAPTURE_RECORDS_BAUD_MAX, path, sizeof(path), &baud);
	if (r < 0)
		return r;
	r = open_device(sys, path, O_RDWR, port);
	if (r < 0)
		return r;
	return set_raw(sys, port, baud);
}

/* --- SPI ---------------------------------------------------------------- */

/* What is set is remembered first: it outlives the descriptor. */
static int set_spi(const struct sys_ops *sys, struct records_port *port,
		   uint32_t hz)
{
	uint8_t bits = 8;
	int r;

	r = sys->ioctl(port->fd, SPI_IOC_RD_BITS_PER_WORD, &port->spi_bits);
	if (r == 0)
		r = sys->ioctl(port->fd, SPI_IOC_RD_MAX_SPEED_HZ,
			       &port->spi_hz);
	if (r < 0)
		return r;
	port->spi_set = true;
	/* The mode is the device tree's: it knows the wiring. */
	r = sys->ioctl(port->fd, SPI_IOC_WR_BITS_PER_WORD, &bits);
	return r < 0 ? r : sys->ioctl(port->fd, SPI_IOC_WR_MAX_SPEED_HZ, &hz);
}

static void put_back_spi(const struct sys_ops *sys, struct records_port *port)
{
	if (!port->spi_set)
		return;
	port->spi_set = false;
	/* Best effort: it may be gone. */
	(void)sys->ioctl(port->fd, SPI_IOC_WR_BITS_PER_WORD, &port->spi_bits);
	(void)sys->ioctl(port->fd, SPI_IOC_WR_MAX_SPEED_HZ, &port->spi_hz);
}

static int open_spi(const struct sys_ops *sys, const char *text,
		    struct records_port *port)
{
	char path[CAPTURE_RECORDS_PATH_BYTES];
	uint32_t hz;
	int r;

	r = split(text, UINT32_MAX, path, sizeof(path), &hz);
	if (r < 0)
		return r;
	r = open_device(sys, path, O_RDWR, port);
	return r < 0 ? r : set_spi(sys, port, hz);
}

/* --- UDP ---------------------------------------------------------------- */

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

/* Return: bytes of the address, or -EINVAL. */
static int parse_address(const char *text, union address *ret)
{
	char host[CAPTURE_RECORDS_PATH_BYTES];
	uint32_t port;
	size_t len;
	int r;

	r = split(text, UINT16_MAX, host, sizeof(host), &port);
	if (r < 0)
		return -EINVAL;
	memset(ret, 0, sizeof(*ret));
	len = strlen(host);
	if (host[0] != '[') {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons((uint16_t)port);
		r = inet_pton(AF_INET, host, &ret->in.sin_addr);
		return r == 1 ? (int)sizeof(ret->in) : -EINVAL;
	}
	if (host[len - 1] != ']')
		return -EINVAL;
	host[len - 1] = '\0';
	ret->in6.sin6_family = AF_INET6;
	ret->in6.sin6_port = htons((uint16_t)port);
	r = inet_pton(AF_INET6, host + 1, &ret->in6.sin6_addr);
	return r == 1 ? (int)sizeof(ret->in6) : -EINVAL;
}

static int open_udp(const struct sys_ops *sys, const char *text,
		    struct records_port *port)
{
	int bytes = UDP_BUFFER_BYTES;
	union address address;
	int address_bytes;
	int r;

	address_bytes = parse_address(text, &address);
	if (address_bytes < 0)
		return address_bytes;
	r = sys->socket(address.any.sa_family,
			SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r < 0)
		return r;
	port->fd = r;
	/* Without it the default holds less; what is lost is counted. */
	(void)sys->setsockopt(port->fd, SOL_SOCKET, SO_RCVBUF, &bytes,
			      sizeof(bytes));
	return sys->bind(port->fd, &address.any, (unsigned int)address_bytes);
}

/* --- pipe --------------------------------------------------------------- */

static int open_pipe(const struct sys_ops *sys, const char *path,
		     struct records_port *port)
{
	struct stat st;
	int r;

	r = open_device(sys, path, O_RDONLY, port);
	if (r < 0)
		return r;
	r = sys->fstat(port->fd, &st);
	if (r < 0)
		return r;
	if (S_ISREG(st.st_mode)) {
		port->kind = RECORDS_FILE;
		return 0;
	}
	if (S_ISCHR(st.st_mode))
		return 0;
	if (!S_ISFIFO(st.st_mode))
		return -ENODEV;
	/*
	 * A writer of our own, so that it is not hung up, and readable for
	 * ever, between one writer and the next.
	 */
	sys_close(sys, &port->fd);
	return open_device(sys, path, O_RDWR, port);
}

/* --- the face ----------------------------------------------------------- */

static const struct scheme {
	const char *prefix;
	enum records_kind kind;
	int (*open)(const struct sys_ops *sys, const char *text,
		    struct records_port *port);
} schemes[] = {
	{"tty:", RECORDS_TTY, open_tty},
	{"spi:", RECORDS_SPI, open_spi},
	{"udp:", RECORDS_UDP, open_udp},
	{"pipe:", RECORDS_PIPE, open_pipe},
};

int records_port_open(const struct sys_ops *sys, const char *path,
		      struct records_port *ret_port)
{
	size_t i;
	int r;

	for (i = 0; i < ARRAY_SIZE(schemes); i++) {
		size_t len = strlen(schemes[i].prefix);
		struct records_port port = {
			.kind = schemes[i].kind,
			.fd = -EBADF,
		};

		if (strncmp(path, schemes[i].prefix, len) != 0)
			continue;
		r = schemes[i].open(sys, path + len, &port);
		if (r < 0) {
			records_port_close(sys, &port);
			return r;
		}
		*ret_port = port;
		return 0;
	}
	return -EINVAL;
}

void records_port_close(const struct sys_ops *sys, struct records_port *port)
{
	/* Best effort: whoever hung it up has reset it. */
	if (port->before)
		(void)sys->ioctl(port->fd, TCSETS2, port->before);
	free(port->before);
	port->before = NULL;
	put_back_spi(sys, port);
	sys_close(sys, &port->fd);
}

void records_port_flush(const struct sys_ops *sys,
			const struct records_port *port)
{
	/* TCFLSH takes its argument by value. */
	if (port->kind == RECORDS_TTY)
		(void)sys->ioctl(port->fd, TCFLSH, (void *)(uintptr_t)TCIFLUSH);
}

int records_port_read(const struct sys_ops *sys,
		      const struct records_port *port, uint8_t *to, size_t room)
{
	ssize_t n;

	if (port->kind == RECORDS_SPI)
		room = MIN(room, CAPTURE_RECORD_SPI_BYTES);
	n = sys->read(port->fd, to, room);
	if (n > 0)
		return (int)n;
	if (n == 0)
		return port->kind == RECORDS_UDP ? 0 : -ENODEV;
	/* A tty whose other end or device is gone. */
	if (n == -EIO && port->kind == RECORDS_TTY)
		return -ENODEV;
	return (int)n;
}
