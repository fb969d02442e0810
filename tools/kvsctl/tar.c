/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/tar.h"

#include <errno.h>
#include <string.h>

#define SIZE_MAX_USTAR (UINT64_C(1) << 33)

/* Offsets in a header: POSIX.1, pax interchange, "ustar". */
enum {
	AT_NAME = 0,
	AT_MODE = 100,
	AT_UID = 108,
	AT_GID = 116,
	AT_SIZE = 124,
	AT_MTIME = 136,
	AT_CHECKSUM = 148,
	AT_TYPE = 156,
	AT_MAGIC = 257,
	AT_VERSION = 263
};

/* Octal digits, ended by NUL. */
static void octal(unsigned char *at, size_t digits, uint64_t value)
{
	at[digits] = '\0';
	while (digits--) {
		at[digits] = (unsigned char)('0' + (value & 7));
		value >>= 3;
	}
}

static void seal(unsigned char *block)
{
	unsigned int sum = 0;
	size_t i;

	memset(block + AT_CHECKSUM, ' ', 8);
	for (i = 0; i < TAR_BLOCK_BYTES; i++)
		sum += block[i];
	octal(block + AT_CHECKSUM, 6, sum);
}

static int put(FILE *out, const void *bytes, size_t len)
{
	return fwrite(bytes, 1, len, out) == len ? 0 : -EIO;
}

int tar_add(FILE *out, const char *name, const void *bytes, size_t len,
	    uint64_t mtime_s)
{
	unsigned char block[TAR_BLOCK_BYTES] = {0};
	size_t rest = len % TAR_BLOCK_BYTES;
	int r;

	if (strlen(name) >= TAR_NAME_BYTES)
		return -ENAMETOOLONG;
	if (len >= SIZE_MAX_USTAR)
		return -EFBIG;
	memcpy(block + AT_NAME, name, strlen(name));
	octal(block + AT_MODE, 7, 0644);
	octal(block + AT_UID, 7, 0);
	octal(block + AT_GID, 7, 0);
	octal(block + AT_SIZE, 11, len);
	octal(block + AT_MTIME, 11, mtime_s);
	block[AT_TYPE] = '0';
	memcpy(block + AT_MAGIC, "ustar", 6);
	memcpy(block + AT_VERSION, "00", 2);
	seal(block);
	r = put(out, block, sizeof(block));
	if (r == 0)
		r = put(out, bytes, len);
	memset(block, 0, sizeof(block));
	if (r == 0 && rest)
		r = put(out, block, TAR_BLOCK_BYTES - rest);
	return r;
}

int tar_end(FILE *out)
{
	const unsigned char blocks[2 * TAR_BLOCK_BYTES] = {0};

	return put(out, blocks, sizeof(blocks));
}
