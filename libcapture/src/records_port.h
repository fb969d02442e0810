/* SPDX-License-Identifier: Apache-2.0 */
/* Where records come from: opening by path, and what reads of each mean. */
#ifndef CAPTURE_SRC_RECORDS_PORT_H
#define CAPTURE_SRC_RECORDS_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/sys.h"

enum records_kind {
	RECORDS_TTY = 0,
	RECORDS_SPI,
	RECORDS_UDP,
	RECORDS_PIPE,
	RECORDS_FILE /* a regular file, named as a pipe: it has an end */
};

struct termios2;

struct records_port {
	enum records_kind kind;
	int fd;
	struct termios2 *before; /* of a tty that was set: put back */
	bool spi_set;		 /* so are these, of an SPI device */
	uint8_t spi_bits;
	uint32_t spi_hz;
};

/**
 * records_port_open() - by a path of capture/record.h
 *
 * Not blocking, cleared of what had come before where that can be.
 *
 * Return: 0, -EINVAL (no such syntax), -ENOTTY (no tty or no SPI device),
 * -ENODEV (a directory, a block device), or the errno of open, socket, bind
 * or ioctl.
 */
int records_port_open(const struct sys_ops *sys, const char *path,
		      struct records_port *ret_port) MUST_CHECK;

/*
 * Puts a tty or SPI device back as it was, unless it was hung up meanwhile, and
 * closes. One that was not opened (fd -EBADF) is fine.
 */
void records_port_close(const struct sys_ops *sys, struct records_port *port);

/* Drops what waits in the kernel, where it can be dropped; best effort. */
void records_port_flush(const struct sys_ops *sys,
			const struct records_port *port);

/*
 * One read. Return: bytes (of a datagram, maybe 0), -EAGAIN (none), -ENODEV
 * (hung up, end of the file) or another errno.
 */
int records_port_read(const struct sys_ops *sys,
		      const struct records_port *port, uint8_t *to,
		      size_t room) MUST_CHECK;

#endif
