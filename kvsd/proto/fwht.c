/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/fwht.h"

#include <errno.h>

#include "base/bytes.h"
#include "proto/limits.h"

#define FWHT_MAGIC1 0x4f4f4f4fu
#define FWHT_MAGIC2 0xffffffffu
#define FWHT_FLAG_I_FRAME (1u << 10) /* V4L2_FWHT_FL_I_FRAME */

/*
 * Big-endian words: magic, magic, version, width, height, flags, colorspace,
 * transfer function, YCbCr encoding, quantization, size of what follows.
 */
int fwht_parse_header(const uint8_t *bytes, size_t len,
		      struct fwht_header *ret_header)
{
	struct fwht_header h;

	if (len < FWHT_HEADER_BYTES || load_be32(bytes) != FWHT_MAGIC1 ||
	    load_be32(bytes + 4) != FWHT_MAGIC2)
		return -EBADMSG;
	h.version = load_be32(bytes + 8);
	h.width = load_be32(bytes + 12);
	h.height = load_be32(bytes + 16);
	h.flags = load_be32(bytes + 20);
	h.payload_bytes = load_be32(bytes + 40);
	h.key = h.flags & FWHT_FLAG_I_FRAME;
	if (!h.version || !h.width || !h.height)
		return -EBADMSG;
	if (h.width > NAL_PICTURE_SIDE_MAX || h.height > NAL_PICTURE_SIDE_MAX)
		return -EMSGSIZE;
	*ret_header = h;
	return 0;
}

bool fwht_is_key(const uint8_t *bytes, size_t len)
{
	struct fwht_header h;

	return !fwht_parse_header(bytes, len, &h) && h.key;
}
