/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/ebml.h"

#include <assert.h>
#include <errno.h>

unsigned int ebml_width(uint8_t first)
{
	unsigned int width = 1;

	if (!first)
		return 0;
	while (!(first & 0x80)) {
		first = (uint8_t)(first << 1);
		width++;
	}
	return width;
}

uint64_t ebml_uint(const uint8_t *bytes, size_t len)
{
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < len; i++)
		v = (v << 8) | bytes[i];
	return v;
}

/* All value bits of a vint of @width bytes. */
static uint64_t vint_mask(unsigned int width)
{
	return (UINT64_C(1) << (7 * width)) - 1;
}

int ebml_read_vint(const uint8_t *bytes, size_t len, uint64_t *ret_value)
{
	unsigned int width;

	if (!len)
		return -EAGAIN;
	width = ebml_width(bytes[0]);
	if (!width)
		return -EINVAL;
	if (len < width)
		return -EAGAIN;
	*ret_value = ebml_uint(bytes, width) & vint_mask(width);
	return (int)width;
}

int ebml_read_id(const uint8_t *bytes, size_t len, uint32_t *ret_id)
{
	unsigned int width;
	uint64_t bits;
	uint64_t id;

	if (!len)
		return -EAGAIN;
	width = ebml_width(bytes[0]);
	if (!width || width > EBML_ID_BYTES_MAX)
		return -EINVAL;
	if (len < width)
		return -EAGAIN;
	id = ebml_uint(bytes, width);
	bits = id & vint_mask(width);
	if (!bits || bits == vint_mask(width))
		return -EINVAL;
	*ret_id = (uint32_t)id;
	return (int)width;
}

int ebml_read_size(const uint8_t *bytes, size_t len, uint64_t *ret_size)
{
	uint64_t size;
	int width = ebml_read_vint(bytes, len, &size);

	if (width < 0)
		return width;
	if (size == vint_mask((unsigned int)width))
		size = EBML_SIZE_UNKNOWN;
	*ret_size = size;
	return width;
}

unsigned int ebml_size_width(uint64_t size)
{
	unsigned int width = 1;

	assert(size <= EBML_SIZE_MAX);
	while (size >= vint_mask(width))
		width++;
	return width;
}

unsigned int ebml_write_id(uint8_t *out, uint32_t id)
{
	unsigned int width = id > 0xffffff ? 4
			     : id > 0xffff ? 3
			     : id > 0xff   ? 2
					   : 1;
	unsigned int i;

	for (i = 0; i < width; i++)
		out[i] = (uint8_t)(id >> (8 * (width - 1 - i)));
	return width;
}

unsigned int ebml_write_size(uint8_t *out, unsigned int width, uint64_t size)
{
	unsigned int i;

	assert(width >= 1 && width <= EBML_SIZE_BYTES_MAX);
	if (size == EBML_SIZE_UNKNOWN)
		size = vint_mask(width);
	else
		assert(size < vint_mask(width));
	size |= UINT64_C(1) << (7 * width);
	for (i = 0; i < width; i++)
		out[i] = (uint8_t)(size >> (8 * (width - 1 - i)));
	return width;
}
