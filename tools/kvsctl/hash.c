/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/hash.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>

#include <openssl/evp.h>

int hash_text(const void *bytes, size_t len, char out[HASH_TEXT_CHARS + 1])
{
	uint8_t hash[HASH_TEXT_CHARS / 2];
	unsigned int n = 0;
	unsigned int i;

	if (EVP_Digest(bytes, len, hash, &n, EVP_sha256(), NULL) != 1 ||
	    n != sizeof(hash))
		return -EIO;
	for (i = 0; i < n; i++)
		(void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
	return 0;
}
