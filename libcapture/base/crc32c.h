/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, RFC 3720 section 12.1), by instruction where there is one. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues @crc (0 at the start) over @len bytes. */
uint32_t crc32c(uint32_t crc, const void *bytes, size_t len);

/* The table version, for machines without the instruction and for tests. */
uint32_t crc32c_table(uint32_t crc, const void *bytes, size_t len);

#endif
