/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crypto.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

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
	EVP_CIPHER *aes_gcm;
	EVP_KDF *tls_kdf; /* may be NULL: OpenSSL reads TLS then */
} algorithms;
static pthread_once_t algorithms_once = PTHREAD_ONCE_INIT;

static void fetch_algorithms(void)
{
	algorithms.sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
	algorithms.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	algorithms.aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
	algorithms.tls_kdf = EVP_KDF_fetch(NULL, "TLS13-KDF", NULL);
}

static bool have_algorithms(void)
{
	(void)pthread_once(&algorithms_once, fetch_algorithms);
	return algorithms.sha256 && algorithms.hmac && algorithms.aes_gcm;
}

/* Empties OpenSSL's queue into the debug log. */
static int failed(const char *what)
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
		return failed("digest");
	return 0;
}

int crypto_digest_add(struct crypto_digest *d, const void *bytes, size_t len)
{
	if (len && EVP_DigestUpdate(d->md, bytes, len) != 1)
		return failed("digest");
	return 0;
}

int crypto_digest_final(struct crypto_digest *d, uint8_t ret[CRYPTO_HASH_BYTES])
{
	uint8_t hash[CRYPTO_HASH_BYTES];
	unsigned int len = 0;

	if (EVP_DigestFinal_ex(d->md, hash, &len) != 1 || len != sizeof(hash))
		return failed("digest");
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
		return failed("HMAC");
	for (i = 0; i < count; i++) {
		if (parts[i].len &&
		    EVP_MAC_update(mac, (const uint8_t *)parts[i].ptr,
				   parts[i].len) != 1)
			return failed("HMAC");
	}
	if (EVP_MAC_final(mac, hash, &len, CRYPTO_HASH_BYTES) != 1 ||
	    len != CRYPTO_HASH_BYTES)
		return failed("HMAC");
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
		return failed("HMAC");
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

/* --- AES-256-GCM ------------------------------------------------------- */

/* One context per direction, so that neither expands the key again. */
struct crypto_aead {
	EVP_CIPHER_CTX *seal;
	EVP_CIPHER_CTX *open;
};

static int aead_new(const uint8_t key[CRYPTO_KEY_BYTES], bool seals,
		    struct crypto_aead **ret_aead)
{
	AUTO(crypto_aead_free)
	struct crypto_aead *a = calloc(1, sizeof(*a));

	if (!a)
		return -ENOMEM;
	if (!have_algorithms())
		return failed("AES-GCM");
	a->open = EVP_CIPHER_CTX_new();
	a->seal = seals ? EVP_CIPHER_CTX_new() : NULL;
	if (!a->open || (seals && !a->seal))
		return -ENOMEM;
	if (EVP_DecryptInit_ex2(a->open, algorithms.aes_gcm, key, NULL,
				NULL) != 1 ||
	    (seals && EVP_EncryptInit_ex2(a->seal, algorithms.aes_gcm, key,
					  NULL, NULL) != 1))
		return failed("AES-GCM");
	*ret_aead = TAKE_PTR(a);
	return 0;
}

int crypto_aead_new(const uint8_t key[CRYPTO_KEY_BYTES],
		    struct crypto_aead **ret_aead)
{
	return aead_new(key, true, ret_aead);
}

int crypto_aead_new_open(const uint8_t key[CRYPTO_KEY_BYTES],
			 struct crypto_aead **ret_aead)
{
	return aead_new(key, false, ret_aead);
}

struct crypto_aead *crypto_aead_free(struct crypto_aead *a)
{
	if (!a)
		return NULL;
	/* Both cleanse their key schedules. */
	EVP_CIPHER_CTX_free(a->seal);
	EVP_CIPHER_CTX_free(a->open);
	free(a);
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
	uint8_t tag[CRYPTO_TAG_BYTES];
	size_t i;
	int n;

	if (aad_len > INT_MAX)
		return -EINVAL;
	if (EVP_EncryptInit_ex2(a->seal, NULL, NULL, nonce, NULL) != 1 ||
	    (aad_len &&
	     EVP_EncryptUpdate(a->seal, NULL, &n, aad, (int)aad_len) != 1))
		return failed("AES-GCM seal");
	for (i = 0; i < count; i++) {
		if (!parts[i].iov_len)
			continue;
		if (parts[i].iov_len > INT_MAX)
			return -EINVAL;
		if (i + 1 < count)
			prefetch(&parts[i + 1], out + parts[i].iov_len);
		if (EVP_EncryptUpdate(a->seal, out, &n, parts[i].iov_base,
				      (int)parts[i].iov_len) != 1)
			return failed("AES-GCM seal");
		out += n;
	}
	/* GCM has no padding: this adds no bytes. */
	if (EVP_EncryptFinal_ex(a->seal, tag, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->seal, EVP_CTRL_AEAD_GET_TAG, sizeof(tag),
				tag) != 1)
		return failed("AES-GCM seal");
	memcpy(ret_tag, tag, sizeof(tag));
	return 0;
}

int crypto_aead_open(struct crypto_aead *a,
		     const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		     size_t aad_len, const uint8_t *in, size_t len,
		     const uint8_t tag[CRYPTO_TAG_BYTES], uint8_t *out)
{
	uint8_t want[CRYPTO_TAG_BYTES];
	uint8_t none[16];
	int n;

	if (len > INT_MAX || aad_len > INT_MAX)
		return -EINVAL;
	memcpy(want, tag, sizeof(want));
	if (EVP_DecryptInit_ex2(a->open, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(a->open, EVP_CTRL_AEAD_SET_TAG, sizeof(want),
				want) != 1 ||
	    (aad_len &&
	     EVP_DecryptUpdate(a->open, NULL, &n, aad, (int)aad_len) != 1) ||
	    (len && EVP_DecryptUpdate(a->open, out, &n, in, (int)len) != 1)) {
		crypto_wipe(out, len);
		return failed("AES-GCM open");
	}
	if (EVP_DecryptFinal_ex(a->open, none, &n) != 1) {
		crypto_wipe(out, len);
		ERR_clear_error();
		return -EBADMSG;
	}
	return 0;
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
		return failed("TLS 1.3's HKDF");
	kdf = EVP_KDF_CTX_new(algorithms.tls_kdf);
	if (!kdf)
		return -ENOMEM;
	if (EVP_KDF_derive(kdf, ret, len, params) != 1)
		r = failed("TLS 1.3's HKDF");
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
		return failed("random bytes");
	return 0;
}
