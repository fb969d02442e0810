/* SPDX-License-Identifier: Apache-2.0 */
/* io/tls.c as a server, against OpenSSL's client; io/tls_records.c alone. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/bytes.h"
#include "io/crypto.h"
#include "io/tls.h"
#include "io/tls_records.h"
#include "support/scratch.h"
#include "support/seeds.h"
#include "support/test_cert.h"

#define WIRE_BYTES_MAX (1u << 20)

/* A server of ours and OpenSSL's client; what they send lies in buffers. */
struct pair {
	struct tls_ctx *server_ctx;
	struct tls *server;
	SSL_CTX *client_ctx;
	SSL *client;
	BIO *to_client;
	BIO *from_client;
	struct buf in;
	struct buf out;
};

static char cert_dir[64];

static void from_client(struct pair *p)
{
	uint8_t bytes[4096];
	int n;

	while ((n = BIO_read(p->from_client, bytes, sizeof(bytes))) > 0)
		assert_int_equal(buf_add(&p->in, bytes, (size_t)n), 0);
}

static void to_client(struct pair *p)
{
	size_t n = buf_len(&p->out);

	if (n)
		assert_int_equal(BIO_write(p->to_client, buf_head(&p->out),
					   (int)n),
				 (int)n);
	buf_reset(&p->out);
}

static void pair_open(struct pair *p, int version, const char *suite)
{
	char cert[96];
	char key[96];
	int client = 0;
	int server = 0;
	int turns;

	memset(p, 0, sizeof(*p));
	buf_init(&p->in, WIRE_BYTES_MAX);
	buf_init(&p->out, WIRE_BYTES_MAX);
	(void)snprintf(cert, sizeof(cert), "%s/cert.pem", cert_dir);
	(void)snprintf(key, sizeof(key), "%s/key.pem", cert_dir);
	assert_int_equal(tls_ctx_new_server(cert, key, &p->server_ctx), 0);
	assert_int_equal(tls_new(p->server_ctx, NULL, &p->server), 0);
	p->client_ctx = SSL_CTX_new(TLS_client_method());
	assert_true(SSL_CTX_set_max_proto_version(p->client_ctx, version));
	if (suite)
		assert_true(SSL_CTX_set_ciphersuites(p->client_ctx, suite));
	p->client = SSL_new(p->client_ctx);
	p->to_client = BIO_new(BIO_s_mem());
	p->from_client = BIO_new(BIO_s_mem());
	SSL_set_bio(p->client, p->to_client, p->from_client);
	SSL_set_connect_state(p->client);
	for (turns = 0; turns < 8 && (client != 1 || server != 1); turns++) {
		client = SSL_do_handshake(p->client);
		from_client(p);
		if (server != 1)
			server = tls_handshake(p->server, &p->in, &p->out);
		assert_true(server >= 0);
		to_client(p);
	}
	assert_int_equal(client, 1);
	assert_int_equal(server, 1);
}

static void pair_close(struct pair *p)
{
	SSL_free(p->client);
	SSL_CTX_free(p->client_ctx);
	(void)tls_free(p->server);
	(void)tls_ctx_free(p->server_ctx);
	buf_fini(&p->in);
	buf_fini(&p->out);
}

static void client_writes(struct pair *p, const uint8_t *bytes, size_t len)
{
	if (len)
		assert_int_equal(SSL_write(p->client, bytes, (int)len),
				 (int)len);
	from_client(p);
}

static int server_reads(struct pair *p, uint8_t *bytes)
{
	return tls_read(p->server, &p->in, &p->out, bytes);
}

/* Both ways, after whatever went before. */
static void assert_talks(struct pair *p)
{
	static const uint8_t ping[] = "ping";
	uint8_t bytes[TLS_READ_BYTES];
	int n;

	client_writes(p, ping, sizeof(ping));
	n = server_reads(p, bytes);
	assert_int_equal(n, (int)sizeof(ping));
	assert_memory_equal(bytes, ping, sizeof(ping));
	assert_int_equal(server_reads(p, bytes), 0);
	assert_int_equal(
		tls_write(p->server, &p->in, &p->out, bytes, sizeof(ping)), 0);
	to_client(p);
	assert_int_equal(SSL_read(p->client, bytes, sizeof(bytes)),
			 (int)sizeof(ping));
}

/* --- against OpenSSL -------------------------------------------------------- */

/* Records of all sizes, padded or not, in pieces of all sizes. */
static void stream_of(struct pair *p, uint64_t seed)
{
	static uint8_t sent[200000];
	static uint8_t got[sizeof(sent) + TLS_READ_BYTES];
	uint64_t g = seed;
	size_t i;
	struct buf wire;
	size_t done = 0;
	size_t have = 0;

	buf_init(&wire, WIRE_BYTES_MAX);
	for (i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)seeds_random(&g, 0);
	if (seeds_random(&g, 2))
		assert_true(SSL_set_block_padding(p->client,
						  1 + seeds_random(&g, 4096)));
	while (done < sizeof(sent)) {
		size_t n = 1 + seeds_random(&g, 20000);

		n = MIN(n, sizeof(sent) - done);
		if (seeds_random(&g, 8) == 0)
			assert_true(SSL_key_update(p->client,
						   SSL_KEY_UPDATE_REQUESTED));
		assert_int_equal(SSL_write(p->client, sent + done, (int)n),
				 (int)n);
		done += n;
	}
	from_client(p);
	assert_int_equal(buf_add(&wire, buf_head(&p->in), buf_len(&p->in)), 0);
	buf_reset(&p->in);
	while (buf_len(&wire)) {
		size_t n = 1 + seeds_random(&g, 30000);
		int r;

		n = MIN(n, buf_len(&wire));
		assert_int_equal(buf_add(&p->in, buf_head(&wire), n), 0);
		buf_consume(&wire, n);
		while ((r = server_reads(p, got + have)) > 0)
			have += (size_t)r;
		assert_int_equal(r, 0);
		/* What it says that it lacks is enough to go on. */
		if (buf_len(&p->in))
			assert_true(tls_missing(p->server, &p->in) > 0);
	}
	assert_int_equal(have, sizeof(sent));
	assert_memory_equal(got, sent, sizeof(sent));
	assert_int_equal(buf_len(&p->in), 0);
	buf_fini(&wire);
}

static void tls_reads_what_openssl_sends(void **state)
{
	uint64_t seed;

	(void)state;
	for (seed = 1; seed <= 40; seed++) {
		struct pair p;

		pair_open(&p, TLS1_3_VERSION, NULL);
		stream_of(&p, seed);
		assert_talks(&p);
		pair_close(&p);
	}
}

static void tls_leaves_other_suites_to_openssl(void **state)
{
	static const struct {
		int version;
		const char *suite;
		bool ours;
	} cases[] = {
		{TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", true},
		{TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", false},
		{TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256", false},
		{TLS1_2_VERSION, NULL, false},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pair p;

		pair_open(&p, cases[i].version, cases[i].suite);
		assert_talks(&p);
		/* Who reads: OpenSSL says of nothing what it lacks. */
		assert_int_equal(tls_missing(p.server, &p.in) > 0,
				 cases[i].ours);
		assert_talks(&p);
		pair_close(&p);
	}
}

static void tls_follows_new_keys_both_ways(void **state)
{
	struct pair p;
	int i;

	(void)state;
	pair_open(&p, TLS1_3_VERSION, NULL);
	for (i = 0; i < 10; i++) {
		assert_true(SSL_key_update(p.client,
					   i % 2 ? SSL_KEY_UPDATE_REQUESTED :
						   SSL_KEY_UPDATE_NOT_REQUESTED));
		assert_talks(&p);
	}
	pair_close(&p);
}

static void tls_ends_where_the_client_closes(void **state)
{
	uint8_t bytes[TLS_READ_BYTES];
	struct pair p;

	(void)state;
	pair_open(&p, TLS1_3_VERSION, NULL);
	client_writes(&p, (const uint8_t *)"last", 4);
	(void)SSL_shutdown(p.client);
	from_client(&p);
	assert_int_equal(server_reads(&p, bytes), 4);
	assert_int_equal(server_reads(&p, bytes), -EPIPE);
	assert_int_equal(server_reads(&p, bytes), -EPIPE);
	tls_close(p.server, &p.in, &p.out);
	to_client(&p);
	assert_int_equal(SSL_read(p.client, bytes, 1), 0);
	assert_int_equal(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
	pair_close(&p);
}

/* Though new keys were asked for, and nothing was written since. */
static void tls_closes_after_new_keys_were_asked_for(void **state)
{
	uint8_t bytes[TLS_READ_BYTES];
	struct pair p;

	(void)state;
	pair_open(&p, TLS1_3_VERSION, NULL);
	assert_talks(&p);
	assert_true(SSL_key_update(p.client, SSL_KEY_UPDATE_REQUESTED));
	assert_int_equal(SSL_do_handshake(p.client), 1);
	from_client(&p);
	assert_int_equal(server_reads(&p, bytes), 0);
	tls_close(p.server, &p.in, &p.out);
	to_client(&p);
	assert_int_equal(SSL_read(p.client, bytes, 1), 0);
	assert_int_equal(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
	pair_close(&p);
}

/* Each bit of a record, head and tag included, is of consequence. */
static void tls_refuses_each_changed_bit(void **state)
{
	static const size_t head_bytes = 5;
	uint8_t bytes[TLS_READ_BYTES];
	size_t bit = 0;
	size_t bits = 8;

	(void)state;
	for (bit = 0; bit < bits; bit++) {
		struct pair p;
		size_t at = bit / 8;
		int n;

		pair_open(&p, TLS1_3_VERSION, NULL);
		client_writes(&p, (const uint8_t *)"abc", 3);
		bits = buf_len(&p.in) * 8;
		buf_head(&p.in)[at] ^= (uint8_t)(1u << bit % 8);
		memset(bytes, 0, sizeof(bytes));
		n = server_reads(&p, bytes);
		/* A longer body: it is waited for, as long as it may be. */
		if (n == 0)
			assert_true((at == 3 || at == 4) &&
				    tls_missing(p.server, &p.in) > 0);
		else
			assert_int_equal(n, -EPROTO);
		assert_true(n == 0 || *tls_reason(p.server));
		assert_memory_not_equal(bytes, "abc", 3);
		if (n < 0)
			assert_int_equal(server_reads(&p, bytes), -EPROTO);
		pair_close(&p);
	}
	assert_true(bits > 8 * head_bytes);
}

/* --- records of our own making ------------------------------------------------ */

struct maker {
	struct tls_records *records;
	struct crypto_aead *key;
	uint8_t iv[CRYPTO_NONCE_BYTES];
	uint8_t secret[TLS_SECRET_BYTES];
	uint64_t sequence;
	struct buf wire;
};

static void maker_keys(struct maker *m)
{
	uint8_t key[CRYPTO_KEY_BYTES];

	assert_int_equal(crypto_tls_expand(m->secret, "key", key, sizeof(key)),
			 0);
	assert_int_equal(
		crypto_tls_expand(m->secret, "iv", m->iv, sizeof(m->iv)), 0);
	(void)crypto_aead_free(m->key);
	assert_int_equal(crypto_aead_new(key, &m->key), 0);
	m->sequence = 0;
}

static void maker_open(struct maker *m)
{
	memset(m, 0, sizeof(*m));
	memset(m->secret, 7, sizeof(m->secret));
	buf_init(&m->wire, WIRE_BYTES_MAX);
	maker_keys(m);
	assert_int_equal(tls_records_new(m->secret, &m->records), 0);
}

static void maker_close(struct maker *m)
{
	(void)crypto_aead_free(m->key);
	(void)tls_records_free(m->records);
	buf_fini(&m->wire);
}

/* A record of @len bytes, then @type, then @padding zeroes. */
static void make(struct maker *m, const void *content, size_t len, int type,
		 size_t padding)
{
	static uint8_t inner[2 * TLS_BODY_BYTES_MAX];
	static uint8_t sealed[2 * TLS_BODY_BYTES_MAX];
	uint8_t head[5] = {23, 3, 3};
	uint8_t nonce[CRYPTO_NONCE_BYTES];
	uint8_t tag[CRYPTO_TAG_BYTES];
	uint8_t number[8];
	struct iovec part = {inner, len + 1 + padding};
	size_t i;

	memset(inner, 0, sizeof(inner));
	if (len)
		memcpy(inner, content, len);
	inner[len] = (uint8_t)type;
	store_be16(head + 3, (uint16_t)(part.iov_len + sizeof(tag)));
	store_be64(number, m->sequence++);
	memcpy(nonce, m->iv, sizeof(nonce));
	for (i = 0; i < 8; i++)
		nonce[4 + i] ^= number[i];
	assert_int_equal(crypto_aead_seal(m->key, nonce, head, sizeof(head),
					  &part, 1, sealed, tag),
			 0);
	assert_int_equal(buf_add(&m->wire, head, sizeof(head)), 0);
	assert_int_equal(buf_add(&m->wire, sealed, part.iov_len), 0);
	assert_int_equal(buf_add(&m->wire, tag, sizeof(tag)), 0);
}

static int take(struct maker *m, bool *ret_update)
{
	static uint8_t bytes[TLS_BODY_BYTES_MAX];

	return tls_records_read(m->records, &m->wire, bytes, ret_update);
}

static void records_take_a_whole_one_padded_to_the_limit(void **state)
{
	static uint8_t content[TLS_CONTENT_BYTES_MAX + 1];
	bool update = false;
	struct maker m;

	(void)state;
	maker_open(&m);
	make(&m, content, TLS_CONTENT_BYTES_MAX, 23, 0);
	make(&m, content, 1, 23, TLS_CONTENT_BYTES_MAX - 1);
	assert_int_equal(take(&m, &update), TLS_CONTENT_BYTES_MAX);
	assert_int_equal(take(&m, &update), 1);
	assert_int_equal(take(&m, &update), 0);
	make(&m, content, TLS_CONTENT_BYTES_MAX + 1, 23, 0);
	assert_int_equal(take(&m, &update), -EPROTO);
	assert_false(update);
	maker_close(&m);
}

static void records_take_new_keys(void **state)
{
	static const uint8_t quiet[] = {24, 0, 0, 1, 0};
	static const uint8_t asking[] = {24, 0, 0, 1, 1};
	bool update = false;
	struct maker m;
	int i;

	(void)state;
	maker_open(&m);
	for (i = 0; i < 2; i++) {
		uint8_t next[TLS_SECRET_BYTES];

		make(&m, "a", 1, 23, 0);
		make(&m, i ? asking : quiet, 5, 22, 0);
		assert_int_equal(crypto_tls_expand(m.secret, "traffic upd",
						   next, sizeof(next)),
				 0);
		memcpy(m.secret, next, sizeof(next));
		maker_keys(&m);
		make(&m, "bc", 2, 23, 3);
		assert_int_equal(take(&m, &update), 1);
		assert_int_equal(take(&m, &update), 2);
		assert_int_equal(update, i == 1);
	}
	maker_close(&m);
}

/* An old key is no key: what was sealed with it afterwards is refused. */
static void records_drop_the_old_key(void **state)
{
	static const uint8_t quiet[] = {24, 0, 0, 1, 0};
	bool update = false;
	struct maker m;

	(void)state;
	maker_open(&m);
	make(&m, quiet, 5, 22, 0);
	make(&m, "a", 1, 23, 0);
	assert_int_equal(take(&m, &update), -EPROTO);
	maker_close(&m);
}

static void records_refuse_what_no_client_sends(void **state)
{
	static const struct {
		const char *content;
		size_t len;
		int type;
	} cases[] = {
		{"", 0, 0},		       /* no type */
		{"a", 1, 20},		       /* change_cipher_spec inside */
		{"a", 1, 99},		       /* unknown */
		{"\0", 1, 21},		       /* half an alert */
		{"\2\50", 2, 21},	       /* handshake_failure */
		{"\2\0\0", 3, 21},	       /* an alert and a half */
		{"\30\0\0\1\2", 5, 22},	       /* KeyUpdate of 2 */
		{"\30\0\0\1", 4, 22},	       /* half a KeyUpdate */
		{"\30\0\0\1\0\30", 6, 22},     /* more behind it */
		{"\30\0\0\2\0", 5, 22},	       /* of another length */
		{"\4\0\0\1\0", 5, 22},	       /* NewSessionTicket */
		{"\24\0\0\1\0", 5, 22},	       /* Finished */
		{"", 0, 22},		       /* an empty message */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool update = false;
		struct maker m;

		maker_open(&m);
		make(&m, cases[i].content, cases[i].len, cases[i].type, 0);
		assert_int_equal(take(&m, &update), -EPROTO);
		assert_true(*tls_records_reason(m.records));
		assert_int_equal(tls_records_alerted(m.records),
				 cases[i].type == 21 && cases[i].len == 2);
		/* Whatever follows. */
		make(&m, "later", 5, 23, 0);
		assert_int_equal(take(&m, &update), -EPROTO);
		assert_false(update);
		maker_close(&m);
	}
}

static void records_refuse_a_bad_head_before_its_body(void **state)
{
	static const uint8_t heads[][5] = {
		{22, 3, 3, 0, 40},  /* not sealed */
		{20, 3, 3, 0, 1},   /* change_cipher_spec, too late */
		{23, 3, 1, 0, 40},  {23, 3, 4, 0, 40}, {23, 3, 3, 0, 16},
		{23, 3, 3, 0, 0},   {23, 3, 3, 0x41, 1}, /* 2^14 + 257 */
		{23, 3, 3, 255, 255},
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		bool update = false;
		struct maker m;

		maker_open(&m);
		assert_int_equal(buf_add(&m.wire, heads[i], 4), 0);
		assert_int_equal(take(&m, &update), 0);
		assert_int_equal(buf_add(&m.wire, heads[i] + 4, 1), 0);
		assert_int_equal(take(&m, &update), -EPROTO);
		maker_close(&m);
	}
}

static void records_bound_those_without_content(void **state)
{
	bool update = false;
	struct maker m;
	int i;

	(void)state;
	maker_open(&m);
	for (i = 0; i < 32; i++)
		make(&m, "", 0, 23, (size_t)i);
	make(&m, "a", 1, 23, 0);
	assert_int_equal(take(&m, &update), 1);
	for (i = 0; i < 33; i++)
		make(&m, "\1\132", 2, 21, 0); /* user_canceled */
	assert_int_equal(take(&m, &update), -EPROTO);
	maker_close(&m);
}

static int make_cert(void **state)
{
	(void)state;
	if (!scratch_dir(cert_dir, sizeof(cert_dir), "tls"))
		return -1;
	test_cert_write(cert_dir, "DNS:localhost");
	return 0;
}

static int remove_cert(void **state)
{
	char path[96];

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/cert.pem", cert_dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/key.pem", cert_dir);
	(void)unlink(path);
	return rmdir(cert_dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tls_reads_what_openssl_sends),
		cmocka_unit_test(tls_leaves_other_suites_to_openssl),
		cmocka_unit_test(tls_follows_new_keys_both_ways),
		cmocka_unit_test(tls_ends_where_the_client_closes),
		cmocka_unit_test(tls_closes_after_new_keys_were_asked_for),
		cmocka_unit_test(tls_refuses_each_changed_bit),
		cmocka_unit_test(records_take_a_whole_one_padded_to_the_limit),
		cmocka_unit_test(records_take_new_keys),
		cmocka_unit_test(records_drop_the_old_key),
		cmocka_unit_test(records_refuse_what_no_client_sends),
		cmocka_unit_test(records_refuse_a_bad_head_before_its_body),
		cmocka_unit_test(records_bound_those_without_content),
	};

	return cmocka_run_group_tests(tests, make_cert, remove_cert);
}
