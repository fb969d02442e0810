/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests and ciphers. crypto.c and crypto_openssl.c do them through OpenSSL
 * 3's EVP and are the only files that include its headers for that; its errors
 * are drained, logged at debug level and returned as -EIO. AES-GCM can be done
 * by another library: crypto_ipsec_mb.h.
 */
#ifndef IO_CRYPTO_H
#define IO_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct sigv4_hash;
struct slice;
struct iovec;

#define CRYPTO_HASH_BYTES 32u	/* SHA-256 */
#define CRYPTO_SHA384_BYTES 48u
#define CRYPTO_KEY_BYTES 32u	/* AES-256 */
#define CRYPTO_NONCE_BYTES 12u
#define CRYPTO_TAG_BYTES 16u

/* For proto/sigv4.h. Thread-safe. */
const struct sigv4_hash *crypto_sigv4_hash(void);

/* SHA-256 of the parts in order. Return: 0, -ENOMEM, -EIO. */
int crypto_sha256(const struct slice *parts, size_t count,
		  uint8_t ret[CRYPTO_HASH_BYTES]) MUST_CHECK;
int crypto_hmac_sha256(const void *key, size_t key_len,
		       const struct slice *parts, size_t count,
		       uint8_t ret[CRYPTO_HASH_BYTES]) MUST_CHECK;

/* A digest over bytes that arrive in pieces: request bodies. */
struct crypto_digest;
struct crypto_digest *crypto_digest_new(void);	/* NULL: no memory */
struct crypto_digest *crypto_digest_free(struct crypto_digest *d);
/* Starts over; also called by _new(). */
int crypto_digest_reset(struct crypto_digest *d) MUST_CHECK;
int crypto_digest_add(struct crypto_digest *d, const void *bytes,
		      size_t len) MUST_CHECK;
/* Reset before the next use. */
int crypto_digest_final(struct crypto_digest *d,
			uint8_t ret[CRYPTO_HASH_BYTES]) MUST_CHECK;
DEFINE_AUTO(crypto_digest_free, struct crypto_digest *)

/*
 * AES-256-GCM, whole messages, one key per context. One thread at a time. The
 * key is expanded once in _new(), so a context per stream pays off.
 */
struct crypto_aead;

/* Return: 0, -ENOMEM, -EIO. The key is copied; wipe yours. */
int crypto_aead_new(const uint8_t key[CRYPTO_KEY_BYTES],
		    struct crypto_aead **ret_aead) MUST_CHECK;
/* As above, for crypto_aead_open() alone: with OpenSSL half the memory. */
int crypto_aead_new_open(const uint8_t key[CRYPTO_KEY_BYTES],
			 struct crypto_aead **ret_aead) MUST_CHECK;
/* Wipes the key. Accepts NULL, returns NULL. */
struct crypto_aead *crypto_aead_free(struct crypto_aead *a);
DEFINE_AUTO(crypto_aead_free, struct crypto_aead *)

/**
 * crypto_aead_seal() - encrypt and authenticate
 * @nonce: never twice under one key
 * @parts: plaintext, gathered in order
 * @out: as many bytes as the parts together; may not overlap them, unless
 *	there is a single part that starts at @out
 *
 * Return: 0, -EINVAL (over 2 GiB), -EIO.
 */
int crypto_aead_seal(struct crypto_aead *a,
		     const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		     size_t aad_len, const struct iovec *parts, size_t count,
		     uint8_t *out, uint8_t ret_tag[CRYPTO_TAG_BYTES]) MUST_CHECK;

/**
 * crypto_aead_open() - verify and decrypt
 * @out: @len bytes; may be @in. Zeroed when verification fails: no
 *	unverified plaintext leaves.
 *
 * Return: 0, -EBADMSG (does not verify), -EINVAL (over 2 GiB), -EIO.
 */
int crypto_aead_open(struct crypto_aead *a,
		     const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		     size_t aad_len, const uint8_t *in, size_t len,
		     const uint8_t tag[CRYPTO_TAG_BYTES],
		     uint8_t *out) MUST_CHECK;

/**
 * crypto_tls_expand() - HKDF-Expand-Label of TLS 1.3 (RFC 8446, section 7.1),
 *	with SHA-384 and without a context
 *
 * Return: 0, -ENOMEM, -EIO (the library does not have it).
 */
int crypto_tls_expand(const uint8_t secret[CRYPTO_SHA384_BYTES],
		      const char *label, uint8_t *ret, size_t len) MUST_CHECK;

/* Same time for equal and different contents. */
bool crypto_equal(const void *a, const void *b, size_t len);
/* Erases secrets; not optimised away. */
void crypto_wipe(void *bytes, size_t len);
/* From the system's generator. Return: 0, -EIO. */
int crypto_random(void *bytes, size_t len) MUST_CHECK;

#endif
