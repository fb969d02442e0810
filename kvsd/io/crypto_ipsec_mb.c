/* SPDX-License-Identifier: Apache-2.0 */
#include "io/crypto_ipsec_mb.h"

#include <dlfcn.h>
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
	crypto_wipe(&message, sizeof(message)); /* it has of the key stream */
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

/* Version 1's; nothing but `serve` needs it to be there. */
#define LIBRARY "libIPSec_MB.so.1"

#define FUNCTIONS(F)           \
	F(imb_get_version)     \
	F(imb_get_version_str) \
	F(imb_get_errno)       \
	F(alloc_mb_mgr)        \
	F(free_mb_mgr)         \
	F(init_mb_mgr_sse)     \
	F(init_mb_mgr_avx)     \
	F(init_mb_mgr_avx2)    \
	F(init_mb_mgr_avx512)

struct library {
#define DECLARE(f) __typeof__(&f) f;
	FUNCTIONS(DECLARE)
#undef DECLARE
};

static bool find(void *from, const char *name, void *ret_function)
{
	void *at = dlsym(from, name);

	/* ISO C has no conversion of an object's address to a function's. */
	memcpy(ret_function, &at, sizeof(at));
	return at != NULL;
}

/*
 * It stays loaded. A key's data may have another size in each minor version
 * under one soname (1.4 needs more than 1.3): it has to be our header's.
 */
static int load(struct library *l)
{
	void *from = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
	bool whole = from != NULL;

	if (!from)
		return -ENOSYS;
#define FIND(f) whole = whole && find(from, #f, &l->f);
	FUNCTIONS(FIND)
#undef FIND
	if (whole && l->imb_get_version() >> 8 == IMB_VERSION_NUM >> 8)
		return 0;
	(void)dlclose(from);
	return -ELIBBAD;
}

/*
 * The library goes by CPUID alone. Whether the system keeps the registers too
 * (XCR0) is known to the compiler's run time: else its first instruction, a
 * self-test's, would be the process' last. Without AES instructions it emulates
 * them; OpenSSL does better.
 */
static const char *init(const struct library *l, IMB_MGR *m)
{
	const uint64_t vaes = IMB_FEATURE_VAES | IMB_FEATURE_VPCLMULQDQ;

	if (!__builtin_cpu_supports("aes") || !__builtin_cpu_supports("pclmul"))
		return NULL;
	if (__builtin_cpu_supports("avx512f") &&
	    __builtin_cpu_supports("avx512bw") &&
	    __builtin_cpu_supports("avx512vl") &&
	    __builtin_cpu_supports("avx512dq")) {
		l->init_mb_mgr_avx512(m);
		return (m->features & vaes) == vaes ? "AVX-512 with VAES" :
						      "AVX-512";
	}
	if (__builtin_cpu_supports("avx2")) {
		l->init_mb_mgr_avx2(m);
		return "AVX2";
	}
	if (__builtin_cpu_supports("avx")) {
		l->init_mb_mgr_avx(m);
		return "AVX";
	}
	l->init_mb_mgr_sse(m);
	return "SSE";
}

static int check(const struct library *l, IMB_MGR *m)
{
	if (l->imb_get_errno(m) ||
	    ((m->features & IMB_FEATURE_SELF_TEST) &&
	     !(m->features & IMB_FEATURE_SELF_TEST_PASS)))
		return -EIO;
	return 0;
}

int crypto_ipsec_mb_use(const char **ret_name)
{
	static char name[64];
	struct library l;
	const char *arch;
	IMB_MGR *m;
	int r = load(&l);

	*ret_name = crypto_gcm_openssl.name;
	if (r < 0)
		return r;
	m = l.alloc_mb_mgr(0);
	if (!m)
		return -ENOMEM;
	arch = init(&l, m);
	r = arch ? check(&l, m) : -ENOSYS;
	if (r == 0) {
		calls.expand = m->gcm256_pre;
		calls.begin = m->gcm256_init;
		calls.add = m->gcm256_enc_update;
		calls.end = m->gcm256_enc_finalize;
		calls.open = m->gcm256_dec;
		(void)snprintf(name, sizeof(name), "IPSec_MB %s, %s",
			       l.imb_get_version_str(), arch);
		*ret_name = name;
		crypto_gcm_use(&gcm_ipsec_mb);
	}
	l.free_mb_mgr(m);
	return r;
}
#else
int crypto_ipsec_mb_use(const char **ret_name)
{
	*ret_name = crypto_gcm_openssl.name;
	return -ENOSYS;
}
#endif
