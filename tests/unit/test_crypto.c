/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "io/crypto_int.h"
#include "io/crypto_ipsec_mb.h"
#include "proto/slice.h"

static void from_hex(const char *hex, uint8_t *out)
{
	for (; *hex; hex += 2) {
		unsigned int v;

		assert_int_equal(sscanf(hex, "%2x", &v), 1);
		*out++ = (uint8_t)v;
	}
}

static void sha256_hashes_parts_as_one_text(void **state)
{
	const struct slice parts[] = { SLICE("a"), { NULL, 0 }, SLICE("bc") };
	struct crypto_digest *d = crypto_digest_new();
	uint8_t want[CRYPTO_HASH_BYTES];
	uint8_t got[CRYPTO_HASH_BYTES];
	int i;

	(void)state;
	from_hex("ba7816bf8f01cfea414140de5dae2223"
		 "b00361a396177a9cb410ff61f20015ad",
		 want);
	assert_int_equal(crypto_sha256(parts, 3, got), 0);
	assert_memory_equal(got, want, sizeof(want));
	assert_non_null(d);
	for (i = 0; i < 2; i++) {
		assert_int_equal(crypto_digest_reset(d), 0);
		assert_int_equal(crypto_digest_add(d, "ab", 2), 0);
		assert_int_equal(crypto_digest_add(d, NULL, 0), 0);
		assert_int_equal(crypto_digest_add(d, "c", 1), 0);
		memset(got, 0, sizeof(got));
		assert_int_equal(crypto_digest_final(d, got), 0);
		assert_memory_equal(got, want, sizeof(want));
	}
	d = crypto_digest_free(d);
	assert_null(d);
	assert_null(crypto_digest_free(NULL));
}

/* RFC 4231, cases 2 and 6 (a key longer than a block), and an empty key. */
static void hmac_sha256_matches_rfc4231(void **state)
{
	const struct slice two[] = { SLICE("what do ya want "),
				     SLICE("for nothing?") };
	const struct slice six = SLICE("Test Using Larger Than Block-Size Key "
				       "- Hash Key First");
	uint8_t want[CRYPTO_HASH_BYTES];
	uint8_t key[131];

	(void)state;
	from_hex("5bdcc146bf60754e6a042426089575c7"
		 "5a003f089d2739839dec58b964ec3843",
		 want);
	assert_int_equal(crypto_hmac_sha256("Jefe", 4, two, 2, key), 0);
	assert_memory_equal(key, want, sizeof(want));
	memset(key, 0xaa, sizeof(key));
	from_hex("60e431591ee0b67f0d8a26aacbf5b77f"
		 "8e0bc6213728c5140546040f0ee37f54",
		 want);
	/* The result may replace the key. */
	assert_int_equal(crypto_hmac_sha256(key, sizeof(key), &six, 1, key),
			 0);
	assert_memory_equal(key, want, sizeof(want));
	from_hex("b613679a0814d9ec772f95d778c35fc5"
		 "ff1697c493715653c6c712144292c5ad",
		 want);
	assert_int_equal(crypto_hmac_sha256(NULL, 0, NULL, 0, key), 0);
	assert_memory_equal(key, want, sizeof(want));
}

/* The GCM specification's test case 16: AES-256, with associated data. */
static void aead_matches_the_gcm_specification(void **state)
{
	uint8_t key[CRYPTO_KEY_BYTES];
	uint8_t nonce[CRYPTO_NONCE_BYTES];
	uint8_t aad[20];
	uint8_t plain[60];
	uint8_t want[60];
	uint8_t want_tag[CRYPTO_TAG_BYTES];
	uint8_t got[60];
	uint8_t tag[CRYPTO_TAG_BYTES];
	const struct iovec parts[] = { { plain, 7 },
				       { NULL, 0 },
				       { plain + 7, 53 } };
	struct crypto_aead *a;
	int i;

	(void)state;
	from_hex("feffe9928665731c6d6a8f9467308308"
		 "feffe9928665731c6d6a8f9467308308",
		 key);
	from_hex("cafebabefacedbaddecaf888", nonce);
	from_hex("feedfacedeadbeeffeedfacedeadbeefabaddad2", aad);
	from_hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a"
		 "318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba63"
		 "7b39",
		 plain);
	from_hex("522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd25"
		 "55d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9"
		 "f662",
		 want);
	from_hex("76fc6ece0f4e1768cddf8853bb2d551b", want_tag);
	assert_int_equal(crypto_aead_new(key, &a), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(crypto_aead_seal(a, nonce, aad, sizeof(aad),
						  parts, 3, got, tag),
				 0);
		assert_memory_equal(got, want, sizeof(want));
		assert_memory_equal(tag, want_tag, sizeof(want_tag));
		/* In place. */
		assert_int_equal(crypto_aead_open(a, nonce, aad, sizeof(aad),
						  got, sizeof(got), tag, got),
				 0);
		assert_memory_equal(got, plain, sizeof(plain));
	}
	a = crypto_aead_free(a);
	assert_null(a);
	assert_null(crypto_aead_free(NULL));
}

static void aead_open_yields_nothing_when_anything_changed(void **state)
{
	const uint8_t key[CRYPTO_KEY_BYTES] = { 1 };
	uint8_t nonce[CRYPTO_NONCE_BYTES] = { 2 };
	char text[] = "a page of media";
	const struct iovec part = { text, sizeof(text) };
	uint8_t zero[sizeof(text)] = { 0 };
	uint8_t sealed[sizeof(text)];
	uint8_t opened[sizeof(text)];
	uint8_t tag[CRYPTO_TAG_BYTES];
	char aad[] = "stream, fragment";
	struct crypto_aead *a;
	int i;

	(void)state;
	assert_int_equal(crypto_aead_new(key, &a), 0);
	assert_int_equal(crypto_aead_seal(a, nonce, aad, sizeof(aad), &part, 1,
					  sealed, tag),
			 0);
	for (i = 0; i < 5; i++) {
		uint8_t *changed[] = { sealed, tag, nonce, (uint8_t *)aad };

		if (i < 4)
			*changed[i] ^= 1;
		memset(opened, 0x55, sizeof(opened));
		assert_int_equal(crypto_aead_open(a, nonce, aad, sizeof(aad),
						  sealed, sizeof(sealed), tag,
						  opened),
				 i < 4 ? -EBADMSG : 0);
		assert_memory_equal(opened, i < 4 ? (void *)zero : text,
				    sizeof(opened));
		if (i < 4)
			*changed[i] ^= 1;
	}
	/* A cut message does not open, an empty one does with its own tag. */
	assert_int_equal(crypto_aead_open(a, nonce, aad, sizeof(aad), sealed,
					  sizeof(sealed) - 1, tag, opened),
			 -EBADMSG);
	assert_int_equal(crypto_aead_seal(a, nonce, NULL, 0, NULL, 0, NULL,
					  tag),
			 0);
	assert_int_equal(crypto_aead_open(a, nonce, NULL, 0, NULL, 0, tag,
					  NULL),
			 0);
	a = crypto_aead_free(a);
}

/* --- the two libraries ------------------------------------------------- */

#define TEXT_BYTES 70000u
#define PARTS_MAX 20u

/* Each ends where no page is: who reads or writes behind it is found. */
struct message {
	uint8_t nonce[CRYPTO_NONCE_BYTES];
	uint8_t *aad;
	size_t aad_len;
	uint8_t *text;
	size_t len;
	uint8_t *sealed[2];
	uint8_t *opened;
	uint8_t *ends[5]; /* of the areas above */
	struct iovec parts[PARTS_MAX];
	size_t count;
};

static size_t up_to(size_t most)
{
	uint32_t n;

	assert_int_equal(crypto_random(&n, sizeof(n)), 0);
	return n % (most + 1);
}

static uint8_t *area_end(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len = ALIGN_UP(TEXT_BYTES, page);
	uint8_t *p = mmap(NULL, len + page, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p + len, page, PROT_NONE), 0);
	return p + len;
}

static void message_init(struct message *m)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(m->ends); i++)
		m->ends[i] = area_end();
}

/* Cut anywhere, empty parts too. */
static void message_make(struct message *m, size_t len, size_t aad_len)
{
	size_t at = 0;

	m->aad = m->ends[0] - aad_len;
	m->text = m->ends[1] - len;
	m->sealed[0] = m->ends[2] - len;
	m->sealed[1] = m->ends[3] - len;
	m->opened = m->ends[4] - len;
	assert_int_equal(crypto_random(m->nonce, sizeof(m->nonce)), 0);
	assert_int_equal(crypto_random(m->text, len), 0);
	assert_int_equal(crypto_random(m->aad, aad_len), 0);
	m->len = len;
	m->aad_len = aad_len;
	for (m->count = 0; m->count < PARTS_MAX - 1 && at < len; m->count++) {
		size_t n = up_to(up_to(3) ? MIN(len - at, 100u) : len - at);

		m->parts[m->count] = (struct iovec){m->text + at, n};
		at += n;
	}
	m->parts[m->count++] = (struct iovec){m->text + at, len - at};
}

/* What either library seals is the same, and either opens it. */
static void message_check(struct crypto_aead *const keys[2],
			  const struct message *m)
{
	uint8_t *const *sealed = m->sealed;
	uint8_t *opened = m->opened;
	uint8_t tags[2][CRYPTO_TAG_BYTES];
	size_t i;

	for (i = 0; i < 2; i++)
		assert_int_equal(crypto_aead_seal(keys[i], m->nonce, m->aad,
						  m->aad_len, m->parts,
						  m->count, sealed[i], tags[i]),
				 0);
	assert_memory_equal(sealed[0], sealed[1], m->len);
	assert_memory_equal(tags[0], tags[1], CRYPTO_TAG_BYTES);
	for (i = 0; i < 2; i++) {
		assert_int_equal(crypto_aead_open(keys[i], m->nonce, m->aad,
						  m->aad_len, sealed[0], m->len,
						  tags[0], opened),
				 0);
		assert_memory_equal(opened, m->text, m->len);
		/* In place, as TLS records are. */
		memcpy(opened, sealed[0], m->len);
		assert_int_equal(crypto_aead_open(keys[i], m->nonce, m->aad,
						  m->aad_len, opened, m->len,
						  tags[0], opened),
				 0);
		assert_memory_equal(opened, m->text, m->len);
		tags[0][up_to(CRYPTO_TAG_BYTES - 1)] ^= 0x10;
		assert_int_equal(crypto_aead_open(keys[i], m->nonce, m->aad,
						  m->aad_len, sealed[0], m->len,
						  tags[0], opened),
				 -EBADMSG);
		memcpy(tags[0], tags[1], CRYPTO_TAG_BYTES);
	}
}

static void both_libraries_say_the_same(void **state)
{
	static struct message m;
	struct crypto_aead *keys[2];
	uint8_t bytes[CRYPTO_KEY_BYTES];
	const char *name;
	size_t i;

	(void)state;
	if (crypto_ipsec_mb_use(&name) < 0) {
		(void)printf("# IPSec_MB is not in this build, or not for "
			     "this processor\n");
		skip();
	}
	crypto_gcm_use(&crypto_gcm_openssl);
	assert_int_equal(crypto_random(bytes, sizeof(bytes)), 0);
	assert_int_equal(crypto_aead_new(bytes, &keys[0]), 0);
	assert_int_equal(crypto_ipsec_mb_use(&name), 0);
	assert_int_equal(crypto_aead_new(bytes, &keys[1]), 0);
	assert_ptr_not_equal(keys[0]->ops, keys[1]->ops);
	message_init(&m);
	/* Each length about the libraries' steps, then any. */
	for (i = 0; i < 1100; i++) {
		message_make(&m, i, up_to(80));
		message_check(keys, &m);
	}
	for (i = 0; i < 200; i++) {
		message_make(&m, up_to(TEXT_BYTES - 1),
			     up_to(1) ? 5 : up_to(TEXT_BYTES - 1));
		message_check(keys, &m);
	}
	for (i = 0; i < 2; i++)
		(void)crypto_aead_free(keys[i]);
	crypto_gcm_use(&crypto_gcm_openssl);
}

/* The tests of AES-GCM once more, with the other library where there is one. */
static int use_ipsec_mb(void **state)
{
	const char *name;
	int r = crypto_ipsec_mb_use(&name);

	(void)state;
	return r == -ENOSYS ? 0 : r;
}

static int use_openssl(void **state)
{
	(void)state;
	crypto_gcm_use(&crypto_gcm_openssl);
	return 0;
}

static void crypto_equal_compares_all_bytes(void **state)
{
	uint8_t a[32];
	uint8_t b[32];

	(void)state;
	assert_int_equal(crypto_random(a, sizeof(a)), 0);
	assert_int_equal(crypto_random(b, sizeof(b)), 0);
	assert_false(crypto_equal(a, b, sizeof(a)));
	memcpy(b, a, sizeof(b));
	assert_true(crypto_equal(a, b, sizeof(a)));
	b[31] ^= 0x80;
	assert_false(crypto_equal(a, b, sizeof(a)));
	crypto_wipe(a, sizeof(a));
	memset(b, 0, sizeof(b));
	assert_memory_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_hashes_parts_as_one_text),
		cmocka_unit_test(hmac_sha256_matches_rfc4231),
		cmocka_unit_test(aead_matches_the_gcm_specification),
		cmocka_unit_test(
			aead_open_yields_nothing_when_anything_changed),
		cmocka_unit_test_setup_teardown(
			aead_matches_the_gcm_specification, use_ipsec_mb,
			use_openssl),
		cmocka_unit_test_setup_teardown(
			aead_open_yields_nothing_when_anything_changed,
			use_ipsec_mb, use_openssl),
		cmocka_unit_test_setup_teardown(both_libraries_say_the_same,
						NULL, use_openssl),
		cmocka_unit_test(crypto_equal_compares_all_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
