/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crypto_int.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "base/log.h"
#include "proto/sigv4.h"
#include "proto/slice.h"

_Static_assert(CRYPTO_HASH_BYTES == SIGV4_HASH_BYTES, "both are SHA-256");

/* Fetched once: a fetch takes locks and walks the providers. */
static struct {
	EVP_MD *sha256;
	EVP_MAC *hmac;
	EVP_KDF *tls_kdf; /* may be NULL: OpenSSL reads TLS then */
} algorithms;
static pthread_once_t algorithms_once = PTHREAD_ONCE_INIT;

static void fetch_algorithms(void)
{
	algorithms.sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	algorithms.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	algorithms.tls_kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
}

static bool have_algorithms(void)
{
	(void)pthread_once(&algorithms_once, fetch_algorithms);
	return algorithms.sha256 && algorithms.hmac;
}

int crypto_failed(const char *what)
{
	unsigned long code;
	char text[256];

	while ((code = ERR_get_error())) {
		ERR_error_string_n(code, text, sizeof(text));
		log_debug("crypto", "%s: %s", what, text);
	}
	return -EIO;
}

/* --- digests ----------------------------------------------------------- */

struct crypto_digest {
	EVP_MD_CTX *md;
};

struct crypto_digest *crypto_digest_new(void)
{
	struct crypto_digest *d;

	if (!have_algorithms())
		return NULL;
	d = calloc(1, sizeof(*d));
	if (!d)
		return NULL;
	d->md = EVP_MD_CTX_new();
	if (!d->md || crypto_digest_reset(d) < 0)
		return crypto_digest_free(d);
	return d;
}

struct crypto_digest *crypto_digest_free(struct crypto_digest *d)
{
	if (!d)
		return NULL;
	EVP_MD_CTX_free(d->md);
	free(d);
	return NULL;
}

int crypto_digest_reset(struct crypto_digest *d)
{
	if (EVP_DigestInit_ex2(d->md, algorithms.sha256, NULL) != 1)
		return crypto_failed("digest");
	return 0;
}

int crypto_digest_add(struct crypto_digest *d, const void *bytes, size_t len)
{
	if (len && EVP_DigestUpdate(d->md, bytes, len) != 1)
		return crypto_failed("digest");
	return 0;
}

int crypto_digest_final(struct crypto_digest *d, uint8_t ret[CRYPTO_HASH_BYTES])
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	unsigned int len = 0;

	if (EVP_DigestFinal_ex(d->md, hash, &len) != 1 || len != sizeof(hash))
		return crypto_failed("digest");
	memcpy(ret, hash, sizeof(hash));
	return 0;
}

int crypto_sha256(const struct slice *parts, size_t count,
		  uint8_t ret[CRYPTO_HASH_BYTES])
{
	AUTO(crypto_digest_free)
	struct crypto_digest *d = crypto_digest_new();
	size_t i;
	int r;

	if (!d)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		r = crypto_digest_add(d, parts[i].ptr, parts[i].len);
		if (r < 0)
			return r;
	}
	return crypto_digest_final(d, ret);
}

static int hmac_parts(EVP_MAC_CTX *mac, const void *key, size_t key_len,
		      const struct slice *parts, size_t count,
		      uint8_t hash[CRYPTO_HASH_BYTES])
{
	char digest[] = "SHA2-256";
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest,
						 0),
		OSSL_PARAM_construct_end(),
	};
	size_t len = 0;
	size_t i;

	/* A NULL key would mean "keep the last one". */
	if (EVP_MAC_init(mac, key_len ? key : (const void *)"", key_len,
			 params) != 1)
		return crypto_failed("HMAC");
	for (i = 0; i < count; i++) {
		if (parts[i].len &&
		    EVP_MAC_update(mac, (const uint8_t *)parts[i].ptr,
				   parts[i].len) != 1)
			return crypto_failed("HMAC");
	}
	if (EVP_MAC_final(mac, hash, &len, CRYPTO_HASH_BYTES) != 1 ||
	    len != CRYPTO_HASH_BYTES)
		return crypto_failed("HMAC");
	return 0;
}

int crypto_hmac_sha256(const void *key, size_t key_len,
		       const struct slice *parts, size_t count,
		       uint8_t ret[CRYPTO_HASH_BYTES])
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	EVP_MAC_CTX *mac;
	int r;

	if (!have_algorithms())
		return crypto_failed("HMAC");
	mac = EVP_MAC_CTX_new(algorithms.hmac);
	if (!mac)
		return -ENOMEM;
	r = hmac_parts(mac, key, key_len, parts, count, hash);
	EVP_MAC_CTX_free(mac);
	if (r == 0)
		memcpy(ret, hash, sizeof(hash));
	OPENSSL_cleanse(hash, sizeof(hash));
	return r;
}

const struct sigv4_hash *crypto_sigv4_hash(void)
{
	static const struct sigv4_hash hash = {
		.sha256 = crypto_sha256,
		.hmac_sha256 = crypto_hmac_sha256,
	};

	return &hash;
}

/* --- TLS 1.3 ------------------------------------------------------------ */

int crypto_tls_expand(const uint8_t secret[CRYPTO_SHA384_BYTES],
		      const char *label, uint8_t *ret, size_t len)
{
	char digest[] = "SHA2-384";
	char prefix[] = "tls13 ";
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	const OSSL_PARAM params[] = {
		OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
		OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest,
						 0),
		OSSL_PARAM_construct_octet_string(
			OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)secret,
			CRYPTO_SHA384_BYTES),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix,
						  sizeof(prefix) - 1),
		OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL,
						  (void *)(uintptr_t)label,
						  strlen(label)),
		OSSL_PARAM_construct_end(),
	};
	EVP_KDF_CTX *kdf;
	int r = 0;

	if (!have_algorithms() || !algorithms.tls_kdf)
		return crypto_failed("TLS 1.3's HKDF");
	kdf = EVP_KDF_CTX_new(algorithms.tls_kdf);
	if (!kdf)
		return -ENOMEM;
	if (EVP_KDF_derive(kdf, ret, len, params) != 1)
		r = crypto_failed("TLS 1.3's HKDF");
	EVP_KDF_CTX_free(kdf);
	return r;
}

/* --- rest -------------------------------------------------------------- */

bool crypto_equal(const void *a, const void *b, size_t len)
{
	return CRYPTO_memcmp(a, b, len) == 0;
}

void crypto_wipe(void *bytes, size_t len)
{
	if (len)
		OPENSSL_cleanse(bytes, len);
}

int crypto_random(void *bytes, size_t len)
{
	if (len > INT_MAX || RAND_bytes(bytes, (int)len) != 1)
		return crypto_failed("random bytes");
	return 0;
}
