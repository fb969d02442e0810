/* SPDX-License-Identifier: Apache-2.0 */
/* AES-256-GCM through OpenSSL 3's EVP. */
#include "io/crypto_int.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>

/* Fetched once: a fetch takes locks and walks the providers. */
static EVP_CIPHER *cipher;
static pthread_once_t cipher_once = PTHREAD_ONCE_INIT;

static void fetch_cipher(void)
{
	cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

/* One context per direction, so that neither expands the key again. */
struct openssl_key {
	struct crypto_aead base;
	EVP_CIPHER_CTX *seal;
	EVP_CIPHER_CTX *open;
};

static struct openssl_key *key_of(struct crypto_aead *a)
{
	return container_of(a, struct openssl_key, base);
}

static void key_free(struct crypto_aead *a)
{
	struct openssl_key *k = key_of(a);

	/* Both cleanse their key schedules. */
	EVP_CIPHER_CTX_free(k->seal);
	EVP_CIPHER_CTX_free(k->open);
	free(k);
}

static int contexts_make(struct openssl_key *k,
			 const uint8_t key[CRYPTO_KEY_BYTES], bool seals)
{
	k->open = EVP_CIPHER_CTX_new();
	k->seal = seals ? EVP_CIPHER_CTX_new() : NULL;
	if (!k->open || (seals && !k->seal))
		return -ENOMEM;
	if (EVP_DecryptInit_ex2(k->open, cipher, key, NULL, NULL) != 1 ||
	    (seals &&
	     EVP_EncryptInit_ex2(k->seal, cipher, key, NULL, NULL) != 1))
		return crypto_failed("AES-GCM");
	return 0;
}

static int key_new(const uint8_t key[CRYPTO_KEY_BYTES], bool seals,
		   struct crypto_aead **ret_aead)
{
	struct openssl_key *k;
	int r;

	(void)pthread_once(&cipher_once, fetch_cipher);
	if (!cipher)
		return crypto_failed("AES-GCM");
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->base.ops = &crypto_gcm_openssl;
	r = contexts_make(k, key, seals);
	if (r < 0) {
		key_free(&k->base);
		return r;
	}
	*ret_aead = &k->base;
	return 0;
}

static int seal_begin(struct crypto_aead *a,
		      const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		      size_t aad_len)
{
	struct openssl_key *k = key_of(a);
	int n;

	if (EVP_EncryptInit_ex2(k->seal, NULL, NULL, nonce, NULL) != 1 ||
	    (aad_len &&
	     EVP_EncryptUpdate(k->seal, NULL, &n, aad, (int)aad_len) != 1))
		return crypto_failed("AES-GCM seal");
	return 0;
}

static int seal_add(struct crypto_aead *a, const uint8_t *in, size_t len,
		    uint8_t *out)
{
	int n;

	if (EVP_EncryptUpdate(key_of(a)->seal, out, &n, in, (int)len) != 1)
		return crypto_failed("AES-GCM seal");
	return 0;
}

static int seal_end(struct crypto_aead *a, uint8_t ret_tag[CRYPTO_TAG_BYTES])
{
	struct openssl_key *k = key_of(a);
	uint8_t tag[CRYPTO_TAG_BYTES];
	int n;

	/* GCM has no padding: this adds no bytes. */
	if (EVP_EncryptFinal_ex(k->seal, tag, &n) != 1 ||
	    EVP_CIPHER_CTX_ctrl(k->seal, EVP_CTRL_AEAD_GET_TAG, sizeof(tag),
				tag) != 1)
		return crypto_failed("AES-GCM seal");
	memcpy(ret_tag, tag, sizeof(tag));
	return 0;
}

static int message_open(struct crypto_aead *a,
			const uint8_t nonce[CRYPTO_NONCE_BYTES],
			const void *aad, size_t aad_len, const uint8_t *in,
			size_t len, const uint8_t tag[CRYPTO_TAG_BYTES],
			uint8_t *out)
{
	EVP_CIPHER_CTX *open = key_of(a)->open;
	uint8_t want[CRYPTO_TAG_BYTES];
	uint8_t none[16];
	int n;

	memcpy(want, tag, sizeof(want));
	if (EVP_DecryptInit_ex2(open, NULL, NULL, nonce, NULL) != 1 ||
	    EVP_CIPHER_CTX_ctrl(open, EVP_CTRL_AEAD_SET_TAG, sizeof(want),
				want) != 1 ||
	    (aad_len &&
	     EVP_DecryptUpdate(open, NULL, &n, aad, (int)aad_len) != 1) ||
	    (len && EVP_DecryptUpdate(open, out, &n, in, (int)len) != 1))
		return crypto_failed("AES-GCM open");
	if (EVP_DecryptFinal_ex(open, none, &n) != 1) {
		ERR_clear_error();
		return -EBADMSG;
	}
	return 0;
}

const struct crypto_gcm_ops crypto_gcm_openssl = {
	.name = "OpenSSL",
	.new = key_new,
	.free = key_free,
	.seal_begin = seal_begin,
	.seal_add = seal_add,
	.seal_end = seal_end,
	.open = message_open,
};
