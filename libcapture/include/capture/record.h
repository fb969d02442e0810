/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: how the data of a RADAR, a LIDAR or any other sensor without a
 * kernel driver reaches a source of kind CAPTURE_SOURCE_RECORDS over a byte
 * stream (tty, SPI, pipe) or in datagrams (UDP). The sensor's host puts this
 * header before each payload; it stays with the payload in the frame, so the
 * data track of a stream carries it to the reader. All little endian:
 *
 *	offset  bytes  field
 *	 0      4      magic: "KVSR" (0x4b 0x56 0x53 0x52)
 *	 4      1      version: 1
 *	 5      1      header length in bytes: 44 to 255; what comes after the
 *	               44 that are known is skipped by readers of this version
 *	 6      2      flags: CAPTURE_RECORD_*; others are 0
 *	 8      4      type: fourcc of the payload, by its maker
 *	12      4      payload length in bytes; at most
 *	               CAPTURE_RECORD_PAYLOAD_MAX
 *	16      4      sequence: one more than the last record's; wraps
 *	20      8      device ticks: the sensor's clock at the first sample
 *	28      8      ticks per second, nominal; 0: the ticks mean nothing
 *	36      4      CRC-32C of the payload
 *	40      4      CRC-32C of the header from byte 0 on, all of its length,
 *	               with these four bytes as 0
 *
 * CRC-32C: Castagnoli, RFC 3720 section 12.1; "123456789" gives 0xe3069283.
 *
 * A reader that has lost its place looks for the next magic whose header has
 * a right CRC. A record whose payload's CRC is wrong is counted and left out.
 *
 * Paths of a source of records:
 *	"tty:/dev/ttyUSB0:921600"     raw mode, 8N1, at this many baud
 *	"spi:/dev/spidev0.0:1000000"  at this many Hz; read in bursts of
 *	                              CAPTURE_RECORD_SPI_BYTES; fill bytes
 *	                              between records are skipped
 *	"udp:0.0.0.0:5600"            one record a datagram; "udp:[::]:5600"
 *	"pipe:/run/radar"             FIFO, character device or file
 */
#ifndef CAPTURE_RECORD_H
#define CAPTURE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>

#define CAPTURE_RECORD_MAGIC CAPTURE_FORMAT_RECORD
#define CAPTURE_RECORD_VERSION 1
#define CAPTURE_RECORD_HEADER_BYTES 44
#define CAPTURE_RECORD_HEADER_BYTES_MAX 255
#define CAPTURE_RECORD_PAYLOAD_MAX (UINT32_C(1) << 20)
/* One read of an SPI device: spidev's default limit of a transfer. */
#define CAPTURE_RECORD_SPI_BYTES 4096

/* The sensor lost data before this record, in front of this interface. */
#define CAPTURE_RECORD_OVERRUN 0x1u
#define CAPTURE_RECORD_FLAGS CAPTURE_RECORD_OVERRUN

/* The header, read; its CRCs are worked out by the functions. */
struct capture_record {
	uint16_t flags;	      /* CAPTURE_RECORD_* */
	uint8_t header_bytes; /* written as CAPTURE_RECORD_HEADER_BYTES */
	uint32_t type;
	uint32_t payload_bytes;
	uint32_t sequence;
	uint64_t device_ticks;
	uint64_t device_hz; /* 0: @device_ticks means nothing */
};

/**
 * capture_record_header_write() - the header of one record
 * @record: header_bytes is not read
 * @payload: payload_bytes bytes, for their CRC; NULL if there are none
 * @to: CAPTURE_RECORD_HEADER_BYTES bytes; send them, then the payload
 *
 * Pure: no state, no memory, any thread.
 *
 * Return: 0, or -EINVAL (an unknown flag, or no payload where one is named),
 * -EMSGSIZE (more payload than CAPTURE_RECORD_PAYLOAD_MAX).
 */
CAPTURE_API int capture_record_header_write(const struct capture_record *record,
					    const uint8_t *payload,
					    uint8_t *to) CAPTURE_MUST_CHECK;

/**
 * capture_record_header_read() - the header at the start of @bytes
 *
 * Does not look at the payload, which need not be there yet.
 *
 * Return: 0, -EAGAIN (too few bytes to tell), or -EBADMSG (no header).
 */
CAPTURE_API int capture_record_header_read(const uint8_t *bytes, size_t len,
					   struct capture_record *ret_record)
	CAPTURE_MUST_CHECK;

/**
 * capture_record_check() - a whole record: header, length, payload's CRC
 * @len: exactly of header and payload
 *
 * Return: 0, or -EBADMSG.
 */
CAPTURE_API int
capture_record_check(const uint8_t *bytes, size_t len,
		     struct capture_record *ret_record) CAPTURE_MUST_CHECK;

#endif
