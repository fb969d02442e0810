/* SPDX-License-Identifier: Apache-2.0 */
/* EBML element ids and data sizes (RFC 8794): variable-length integers. */
#ifndef PROTO_EBML_H
#define PROTO_EBML_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

/* A data size whose value bits are all ones, at any width. */
#define EBML_SIZE_UNKNOWN UINT64_MAX
#define EBML_SIZE_MAX ((UINT64_C(1) << 56) - 2)
#define EBML_ID_BYTES_MAX 4u
#define EBML_SIZE_BYTES_MAX 8u

/* Bytes of the integer that begins with @first: 1 to 8, or 0 if invalid. */
unsigned int ebml_width(uint8_t first);

/**
 * ebml_read_id() - element id, marker bits included (0x1A45DFA3)
 *
 * Return: bytes used (1 to 4), -EAGAIN when @len is too short to tell,
 * -EINVAL for a width over 4 or an id of all zeros or all ones.
 */
int ebml_read_id(const uint8_t *bytes, size_t len, uint32_t *ret_id) MUST_CHECK;

/**
 * ebml_read_size() - data size; any width is accepted, minimal or not
 * @ret_size: EBML_SIZE_UNKNOWN, or at most EBML_SIZE_MAX
 *
 * Return: bytes used (1 to 8), -EAGAIN when @len is too short, -EINVAL when
 * the first byte is zero.
 */
int ebml_read_size(const uint8_t *bytes, size_t len,
		   uint64_t *ret_size) MUST_CHECK;

/* The raw value bits of a vint: no unknown; Block track numbers, laces. */
int ebml_read_vint(const uint8_t *bytes, size_t len,
		   uint64_t *ret_value) MUST_CHECK;

/* Big-endian unsigned of @len bytes, 0 to 8. */
uint64_t ebml_uint(const uint8_t *bytes, size_t len);

/* The fewest bytes that hold @size as a known size: 1 to 8. */
unsigned int ebml_size_width(uint64_t size);

/* Writes @id at @out (room for 4) and returns its width. */
unsigned int ebml_write_id(uint8_t *out, uint32_t id);

/*
 * Writes @size in exactly @width bytes and returns @width; @size may be
 * EBML_SIZE_UNKNOWN. The caller chose a @width that holds it (asserted).
 */
unsigned int ebml_write_size(uint8_t *out, unsigned int width, uint64_t size);

#endif
