/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crypto_int.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>

static const struct crypto_gcm_ops *gcm = &crypto_gcm_openssl;

void crypto_gcm_use(const struct crypto_gcm_ops *ops)
{
	gcm = ops;
}

int crypto_aead_new(const uint8_t key[CRYPTO_KEY_BYTES],
		    struct crypto_aead **ret_aead)
{
	return gcm->new(key, true, ret_aead);
}

int crypto_aead_new_open(const uint8_t key[CRYPTO_KEY_BYTES],
			 struct crypto_aead **ret_aead)
{
	return gcm->new(key, false, ret_aead);
}

struct crypto_aead *crypto_aead_free(struct crypto_aead *a)
{
	if (a)
		a->ops->free(a);
	return NULL;
}

#define CACHE_LINE_BYTES 64u
#define PREFETCH_BYTES_MAX ((size_t)4096)

/*
 * What was kept for a while in small parts is in no cache any more, and a
 * processor's own prefetching ends with each page of memory: the next part is
 * asked for before this one is worked on.
 */
static void prefetch(const struct iovec *part, const uint8_t *out)
{
	const uint8_t *bytes = part->iov_base;
	size_t len = MIN(part->iov_len, PREFETCH_BYTES_MAX);
	size_t i;

	for (i = 0; i < len; i += CACHE_LINE_BYTES) {
		__builtin_prefetch(bytes + i, 0);
		__builtin_prefetch(out + i, 1);
	}
}

int crypto_aead_seal(struct crypto_aead *a,
		     const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		     size_t aad_len, const struct iovec *parts, size_t count,
		     uint8_t *out, uint8_t ret_tag[CRYPTO_TAG_BYTES])
{
	size_t i;
	int r;

	if (aad_len > INT_MAX)
		return -EINVAL;
	r = a->ops->seal_begin(a, nonce, aad, aad_len);
	for (i = 0; r == 0 && i < count; i++) {
		size_t len = parts[i].iov_len;

		if (!len)
			continue;
		if (len > INT_MAX)
			return -EINVAL;
		if (i + 1 < count)
			prefetch(&parts[i + 1], out + len);
		r = a->ops->seal_add(a, parts[i].iov_base, len, out);
		out += len;
	}
	return r < 0 ? r : a->ops->seal_end(a, ret_tag);
}

int crypto_aead_open(struct crypto_aead *a,
		     const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		     size_t aad_len, const uint8_t *in, size_t len,
		     const uint8_t tag[CRYPTO_TAG_BYTES], uint8_t *out)
{
	int r;

	if (len > INT_MAX || aad_len > INT_MAX)
		return -EINVAL;
	r = a->ops->open(a, nonce, aad, aad_len, in, len, tag, out);
	if (r < 0)
		crypto_wipe(out, len);
	return r;
}
