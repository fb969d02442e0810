/* SPDX-License-Identifier: Apache-2.0 */
/* The frame header of FWHT, the codec of the kernel's vicodec driver. */
#ifndef PROTO_FWHT_H
#define PROTO_FWHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

#define FWHT_HEADER_BYTES 44
/* 'F' 'W' 'H' 'T', first character lowest: V4L2_PIX_FMT_FWHT */
#define FWHT_FOURCC 0x54485746u

struct fwht_header {
	uint32_t version;
	uint32_t width; /* pixels, as coded */
	uint32_t height;
	uint32_t flags; /* V4L2_FWHT_FL_* */
	uint32_t payload_bytes; /* after the header */
	bool key; /* an I frame */
};

/**
 * fwht_parse_header() - check and read a frame's header
 *
 * Return: 0, -EBADMSG: short, other magic, version 0, or a picture without
 * size; -EMSGSIZE: a side over NAL_PICTURE_SIDE_MAX.
 */
int fwht_parse_header(const uint8_t *bytes, size_t len,
		      struct fwht_header *ret_header) MUST_CHECK;

/* False when the header does not parse. */
bool fwht_is_key(const uint8_t *bytes, size_t len);

#endif
