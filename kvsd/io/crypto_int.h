/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of crypto:
 *
 *	crypto.c		digests, key derivation, random bytes
 *	crypto_aead.c		AES-256-GCM: what callers see
 *	crypto_openssl.c	... by OpenSSL, the default
 *	crypto_ipsec_mb.c	... by Intel's library, where it was chosen
 */
#ifndef IO_CRYPTO_INT_H
#define IO_CRYPTO_INT_H

#include "io/crypto.h"

/* Empties OpenSSL's queue of errors into the debug log. Return: -EIO. */
int crypto_failed(const char *what);

/*
 * Who does AES-256-GCM. @aad_len and @len are at most INT_MAX, @len is not 0
 * but for open(). A key is used by one thread at a time; messages do not
 * overlap in time, and one that was begun may be given up.
 */
struct crypto_gcm_ops {
	const char *name;
	/* @seals: also seal_begin() and what follows. 0, -ENOMEM, -EIO. */
	int (*new)(const uint8_t key[CRYPTO_KEY_BYTES], bool seals,
		   struct crypto_aead **ret_aead);
	/* Wipes the key. */
	void (*free)(struct crypto_aead *a);
	/* 0, -EIO, as the next three. */
	int (*seal_begin)(struct crypto_aead *a,
			  const uint8_t nonce[CRYPTO_NONCE_BYTES],
			  const void *aad, size_t aad_len);
	int (*seal_add)(struct crypto_aead *a, const uint8_t *in, size_t len,
			uint8_t *out);
	int (*seal_end)(struct crypto_aead *a,
			uint8_t ret_tag[CRYPTO_TAG_BYTES]);
	/* 0, -EBADMSG, -EIO; the caller wipes @out then. */
	int (*open)(struct crypto_aead *a,
		    const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		    size_t aad_len, const uint8_t *in, size_t len,
		    const uint8_t tag[CRYPTO_TAG_BYTES], uint8_t *out);
};

extern const struct crypto_gcm_ops crypto_gcm_openssl;

/* Begins each key, whatever the default is by the time it is used. */
struct crypto_aead {
	const struct crypto_gcm_ops *ops;
};

/*
 * Keys from now on are made with @ops. Before there are threads. Tests: back
 * to crypto_gcm_openssl.
 */
void crypto_gcm_use(const struct crypto_gcm_ops *ops);

#endif
