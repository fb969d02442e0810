/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crypto_ipsec_mb.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/crypto_int.h"

#if HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>

/* The library's direct calls: they keep nothing between them but the key. */
static struct {
	aes_gcm_pre_t expand;
	aes_gcm_init_t begin;
	aes_gcm_enc_dec_update_t add;
	aes_gcm_enc_dec_finalize_t end;
	aes_gcm_enc_dec_t open;
} calls;

/* The library wants the key's data at a cache line. */
#define KEY_ALIGN 64u

struct mb_key {
	struct gcm_key_data data;
	struct gcm_context_data message;
	struct crypto_aead base;
};

static const struct crypto_gcm_ops gcm_ipsec_mb;

static struct mb_key *key_of(struct crypto_aead *a)
{
	return container_of(a, struct mb_key, base);
}

static int key_new(const uint8_t key[CRYPTO_KEY_BYTES], bool seals,
		   struct crypto_aead **ret_aead)
{
	struct mb_key *k = aligned_alloc(
		KEY_ALIGN, ALIGN_UP(sizeof(struct mb_key), KEY_ALIGN));

	(void)seals; /* one schedule does both */
	if (!k)
		return -ENOMEM;
	memset(k, 0, sizeof(*k));
	k->base.ops = &gcm_ipsec_mb;
	calls.expand(key, &k->data);
	*ret_aead = &k->base;
	return 0;
}

static void key_free(struct crypto_aead *a)
{
	struct mb_key *k = key_of(a);

	crypto_wipe(k, sizeof(*k));
	free(k);
}

static int seal_begin(struct crypto_aead *a,
		      const uint8_t nonce[CRYPTO_NONCE_BYTES], const void *aad,
		      size_t aad_len)
{
	struct mb_key *k = key_of(a);

	calls.begin(&k->data, &k->message, nonce, aad, aad_len);
	return 0;
}

static int seal_add(struct crypto_aead *a, const uint8_t *in, size_t len,
		    uint8_t *out)
{
	struct mb_key *k = key_of(a);

	calls.add(&k->data, &k->message, out, in, len);
	return 0;
}

static int seal_end(struct crypto_aead *a, uint8_t ret_tag[CRYPTO_TAG_BYTES])
{
	struct mb_key *k = key_of(a);

	calls.end(&k->data, &k->message, ret_tag, CRYPTO_TAG_BYTES);
	return 0;
}

static int message_open(struct crypto_aead *a,
			const uint8_t nonce[CRYPTO_NONCE_BYTES],
			const void *aad, size_t aad_len, const uint8_t *in,
			size_t len, const uint8_t tag[CRYPTO_TAG_BYTES],
			uint8_t *out)
{
	struct gcm_context_data message;
	struct mb_key *k = key_of(a);
	uint8_t want[CRYPTO_TAG_BYTES];
	uint8_t is[CRYPTO_TAG_BYTES];

	/* It may be where the plaintext goes. */
	memcpy(want, tag, sizeof(want));
	calls.open(&k->data, &message, out, in, len, nonce, aad, aad_len, is,
		   sizeof(is));
	return crypto_equal(is, want, sizeof(want)) ? 0 : -EBADMSG;
}

static const struct crypto_gcm_ops gcm_ipsec_mb = {
	.name = "IPSec_MB",
	.new = key_new,
	.free = key_free,
	.seal_begin = seal_begin,
	.seal_add = seal_add,
	.seal_end = seal_end,
	.open = message_open,
};

static const char *arch_name(const IMB_MGR *m)
{
	const uint64_t vaes = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;

	switch (m->used_arch) {
	case IMB_ARCH_AVX512:
		return (m->features & vaes) == vaes ? "AVX-512 with VAES" :
						      "AVX-512";
	case IMB_ARCH_AVX2:
		return "AVX2";
	case IMB_ARCH_AVX:
		return "AVX";
	default:
		return "SSE";
	}
}

/*
 * A key's data may have another size in each minor version under one soname
 * (1.4 needs more than 1.3), so it has to be the one of our header.
 */
static bool is_ours(void)
{
	return imb_get_version() >> 8 == IMB_VERSION_NUM >> 8;
}

/* Without AES instructions the library emulates them; OpenSSL does better. */
static int check(const IMB_MGR *m)
{
	const uint64_t needed = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;

	if (!is_ours())
		return -ELIBBAD;
	if ((m->features & needed) != needed)
		return -ENOSYS;
	if (imb_get_errno((IMB_MGR *)(uintptr_t)m) ||
	    ((m->features & IMB_FEATURE_SELF_TEST) &&
	     !(m->features & IMB_FEATURE_SELF_TEST_PASS)))
		return -EIO;
	return 0;
}

int crypto_ipsec_mb_use(const char **ret_name)
{
	static char name[64];
	IMB_MGR *m = alloc_mb_mgr(0);
	IMB_ARCH arch;
	int r;

	*ret_name = crypto_gcm_openssl.name;
	if (!m)
		return -ENOMEM;
	init_mb_mgr_auto(m, &arch);
	r = check(m);
	if (r == 0) {
		calls.expand = m->gcm256_pre;
		calls.begin = m->gcm256_init;
		calls.add = m->gcm256_enc_update;
		calls.end = m->gcm256_enc_finalize;
		calls.open = m->gcm256_dec;
		(void)snprintf(name, sizeof(name), "IPSec_MB %s, %s",
			       imb_get_version_str(), arch_name(m));
		*ret_name = name;
		crypto_gcm_use(&gcm_ipsec_mb);
	}
	free_mb_mgr(m);
	return r;
}
#else
int crypto_ipsec_mb_use(const char **ret_name)
{
	*ret_name = crypto_gcm_openssl.name;
	return -ENOSYS;
}
#endif
