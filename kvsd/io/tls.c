/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "io/crypto.h"
#include "io/tls_records.h"

#define REASON_BYTES 256

_Static_assert(TLS_READ_BYTES >= TLS_BODY_BYTES_MAX, "a record is read whole");

struct tls_ctx {
	atomic_uint refs;	/* the creator's, and one per connection */
	SSL_CTX *ssl;
	BIO_METHOD *method;	/* ciphertext to and from struct buf */
	bool server;
};

struct tls {
	struct tls_ctx *ctx;
	SSL *ssl;
	struct tls_records *records; /* NULL: OpenSSL reads */
	bool update;		     /* it asked for new keys of ours */
	uint8_t *secret;	     /* of the client, until the handshake ends */
	/* The caller's buffers, for the length of one call. */
	struct buf *in;
	struct buf *out;
	char reason[REASON_BYTES];
};

/* --- BIO over two struct buf ------------------------------------------------ */

static int bio_read(BIO *bio, char *bytes, size_t len, size_t *ret_len)
{
	struct tls *t = BIO_get_data(bio);
	size_t n = t->in ? MIN(len, buf_len(t->in)) : 0;

	BIO_clear_retry_flags(bio);
	if (!n) {
		BIO_set_retry_read(bio);
		return 0;
	}
	memcpy(bytes, buf_head(t->in), n);
	buf_consume(t->in, n);
	*ret_len = n;
	return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t len, size_t *ret_len)
{
	struct tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (!t->out || buf_add(t->out, bytes, len) < 0)
		return 0;
	*ret_len = len;
	return 1;
}

static long bio_ctrl(BIO *bio, int cmd, long num, void *ptr)
{
	(void)bio;
	(void)num;
	(void)ptr;
	return cmd == BIO_CTRL_FLUSH ? 1 : 0;
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static BIO_METHOD *bio_method(void)
{
	BIO_METHOD *m;

	m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "buf");
	if (!m)
		return NULL;
	if (!BIO_meth_set_read_ex(m, bio_read) ||
	    !BIO_meth_set_write_ex(m, bio_write) ||
	    !BIO_meth_set_ctrl(m, bio_ctrl) ||
	    !BIO_meth_set_create(m, bio_create)) {
		BIO_meth_free(m);
		return NULL;
	}
	return m;
}

/* --- the client's records --------------------------------------------------- */

static bool hex_parse(const char *hex, uint8_t *ret, size_t len)
{
	for (; len; len--, hex += 2) {
		int high = OPENSSL_hexchar2int((unsigned char)hex[0]);
		int low = high < 0 ?
				  -1 :
				  OPENSSL_hexchar2int((unsigned char)hex[1]);

		if (low < 0)
			return false;
		*ret++ = (uint8_t)(high << 4 | low);
	}
	return true;
}

static void secret_drop(struct tls *t)
{
	if (t->secret)
		crypto_wipe(t->secret, TLS_SECRET_BYTES);
	free(t->secret);
	t->secret = NULL;
}

/* LABEL RANDOM SECRET in hex, SSL_CTX_set_keylog_callback(3). */
static void on_secret(const SSL *ssl, const char *line)
{
	static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
	struct tls *t = SSL_get_app_data(ssl);
	const char *hex = line + sizeof(label) - 1;

	if (strncmp(line, label, sizeof(label) - 1) != 0)
		return;
	hex = strchr(hex, ' ');
	if (!t || t->secret || !hex ||
	    strlen(++hex) != (size_t)2 * TLS_SECRET_BYTES)
		return;
	t->secret = malloc(TLS_SECRET_BYTES);
	if (t->secret && !hex_parse(hex, t->secret, TLS_SECRET_BYTES))
		secret_drop(t);
}

/*
 * The handshake is over and nothing behind it has been read: where it came to
 * AES-256-GCM of TLS 1.3, what follows is read here. Everything else, and all
 * that is sent, stays OpenSSL's.
 */
static void records_begin(struct tls *t)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(t->ssl);

	if (t->secret && SSL_version(t->ssl) == TLS1_3_VERSION &&
	    SSL_CIPHER_get_protocol_id(cipher) ==
		    (TLS1_3_CK_AES_256_GCM_SHA384 & 0xffff) &&
	    !SSL_has_pending(t->ssl) &&
	    tls_records_new(t->secret, &t->records) < 0)
		t->records = NULL; /* OpenSSL reads on */
	secret_drop(t);
}

/* --- contexts ----------------------------------------------------------------- */

static int ctx_new(bool server, struct tls_ctx **ret_ctx)
{
	AUTO(tls_ctx_free) struct tls_ctx *ctx = calloc(1, sizeof(*ctx));

	if (!ctx)
		return -ENOMEM;
	atomic_init(&ctx->refs, 1);
	ctx->server = server;
	ctx->ssl = SSL_CTX_new(server ? TLS_server_method() :
					TLS_client_method());
	ctx->method = bio_method();
	if (!ctx->ssl || !ctx->method ||
	    !SSL_CTX_set_min_proto_version(ctx->ssl, TLS1_2_VERSION))
		return -ENOMEM;
	(void)SSL_CTX_set_options(ctx->ssl, SSL_OP_NO_RENEGOTIATION |
						    SSL_OP_NO_COMPRESSION);
	/* Records may be completed over several tls_write() of one stream. */
	(void)SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS |
						 SSL_MODE_AUTO_RETRY);
	*ret_ctx = TAKE_PTR(ctx);
	return 0;
}

int tls_ctx_new_server(const char *cert_path, const char *key_path,
		       struct tls_ctx **ret_ctx)
{
	AUTO(tls_ctx_free) struct tls_ctx *ctx = NULL;
	int r;

	if (access(cert_path, R_OK) < 0 || access(key_path, R_OK) < 0)
		return -errno;
	r = ctx_new(true, &ctx);
	if (r < 0)
		return r;
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx->ssl, cert_path) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx->ssl, key_path,
					SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx->ssl) != 1) {
		ERR_clear_error();
		return -EBADMSG;
	}
	SSL_CTX_set_keylog_callback(ctx->ssl, on_secret);
	/* Tickets resume sessions; one is enough for a device. */
	(void)SSL_CTX_set_num_tickets(ctx->ssl, 1);
	*ret_ctx = TAKE_PTR(ctx);
	return 0;
}

int tls_ctx_new_client(const char *ca_path, struct tls_ctx **ret_ctx)
{
	AUTO(tls_ctx_free) struct tls_ctx *ctx = NULL;
	int ok;
	int r;

	if (ca_path && access(ca_path, R_OK) < 0)
		return -errno;
	r = ctx_new(false, &ctx);
	if (r < 0)
		return r;
	ERR_clear_error();
	if (ca_path)
		ok = SSL_CTX_load_verify_file(ctx->ssl, ca_path);
	else
		ok = SSL_CTX_set_default_verify_paths(ctx->ssl);
	if (ok != 1) {
		ERR_clear_error();
		return -EBADMSG;
	}
	SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER, NULL);
	*ret_ctx = TAKE_PTR(ctx);
	return 0;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx)
{
	atomic_fetch_add_explicit(&ctx->refs, 1, memory_order_relaxed);
	return ctx;
}

uint64_t tls_ctx_expires_s(const struct tls_ctx *ctx)
{
	const X509 *cert = SSL_CTX_get0_certificate(ctx->ssl);
	struct tm at = { .tm_year = 0 };

	if (!cert || ASN1_TIME_to_tm(X509_get0_notAfter(cert), &at) != 1)
		return 0;
	return (uint64_t)MAX(timegm(&at), (time_t)0);
}

struct tls_ctx *tls_ctx_free(struct tls_ctx *ctx)
{
	if (!ctx || atomic_fetch_sub_explicit(&ctx->refs, 1,
					      memory_order_acq_rel) > 1)
		return NULL;
	SSL_CTX_free(ctx->ssl);
	BIO_meth_free(ctx->method);
	free(ctx);
	return NULL;
}

/* --- connections --------------------------------------------------------------- */

static int expect_host(SSL *ssl, const char *host)
{
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	uint8_t addr[16];

	if (inet_pton(AF_INET, host, addr) == 1 ||
	    inet_pton(AF_INET6, host, addr) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 &&
	       SSL_set_tlsext_host_name(ssl, host) == 1;
}

int tls_new(struct tls_ctx *ctx, const char *host, struct tls **ret_tls)
{
	struct tls *t = calloc(1, sizeof(*t));
	BIO *bio;

	if (!t)
		return -ENOMEM;
	t->ctx = tls_ctx_ref(ctx);
	t->ssl = SSL_new(ctx->ssl);
	bio = t->ssl ? BIO_new(ctx->method) : NULL;
	if (!bio) {
		(void)tls_free(t);
		return -ENOMEM;
	}
	BIO_set_data(bio, t);
	SSL_set_bio(t->ssl, bio, bio);
	(void)SSL_set_app_data(t->ssl, t);
	if (ctx->server) {
		SSL_set_accept_state(t->ssl);
	} else {
		SSL_set_connect_state(t->ssl);
		if (!host || !expect_host(t->ssl, host)) {
			(void)tls_free(t);
			return -EINVAL;
		}
	}
	*ret_tls = t;
	return 0;
}

struct tls *tls_free(struct tls *t)
{
	if (!t)
		return NULL;
	SSL_free(t->ssl);
	(void)tls_ctx_free(t->ctx);
	(void)tls_records_free(t->records);
	secret_drop(t);
	ERR_clear_error();
	free(t);
	return NULL;
}

static void set_reason(struct tls *t)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e ? ERR_reason_error_string(e) : NULL;

	(void)snprintf(t->reason, sizeof(t->reason), "%s",
		       text ? text : "TLS failed");
	ERR_clear_error();
}

static void set_verify_reason(struct tls *t, long verify)
{
	(void)snprintf(t->reason, sizeof(t->reason), "%s",
		       X509_verify_cert_error_string(verify));
	ERR_clear_error();
}

/* OpenSSL's verdict on a call that did not succeed. */
static int verdict(struct tls *t, int ret)
{
	switch (SSL_get_error(t->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return -EPIPE;
	case SSL_ERROR_SYSCALL:
	case SSL_ERROR_WANT_WRITE:
		if (t->out && t->out->failed)
			return -ENOBUFS;
		break;
	default:
		break;
	}
	set_reason(t);
	return -EPROTO;
}

int tls_handshake(struct tls *t, struct buf *in, struct buf *out)
{
	long verify;
	int n;
	int r;

	t->in = in;
	t->out = out;
	ERR_clear_error();
	n = SSL_do_handshake(t->ssl);
	if (n == 1) {
		records_begin(t);
		return 1;
	}
	r = verdict(t, n);
	verify = SSL_get_verify_result(t->ssl);
	if (r == -EPROTO && verify != X509_V_OK) {
		set_verify_reason(t, verify);
		return -EKEYREJECTED;
	}
	return r;
}

/*
 * The fatal alert of a record that was refused is OpenSSL's to send, with the
 * key that only it has: it is shown a record that does not verify, either.
 * Whatever was wrong, the alert is bad_record_mac then; the log says it.
 */
static void records_alert(struct tls *t, struct buf *out)
{
	static const uint8_t bad[5 + 32] = {23, 3, 3, 0, 32};
	struct buf in;
	uint8_t byte;

	buf_init(&in, sizeof(bad));
	if (buf_add(&in, bad, sizeof(bad)) == 0) {
		t->in = &in;
		t->out = out;
		(void)SSL_read(t->ssl, &byte, sizeof(byte));
		t->in = NULL;
		ERR_clear_error();
	}
	buf_fini(&in);
}

static int records_read(struct tls *t, struct buf *in, struct buf *out,
			uint8_t *bytes)
{
	bool update = false;
	int n = tls_records_read(t->records, in, bytes, &update);

	t->update |= update;
	if (n >= 0)
		return n;
	(void)snprintf(t->reason, sizeof(t->reason), "%s",
		       tls_records_reason(t->records));
	if (n == -EPROTO && !tls_records_alerted(t->records))
		records_alert(t, out);
	return n;
}

int tls_read(struct tls *t, struct buf *in, struct buf *out, uint8_t *bytes)
{
	int n;

	if (t->records)
		return records_read(t, in, out, bytes);
	/* Asking OpenSSL costs a buffer, taken and given back. */
	if (!buf_len(in) && !SSL_has_pending(t->ssl))
		return 0;
	t->in = in;
	t->out = out;
	ERR_clear_error();
	n = SSL_read(t->ssl, bytes, TLS_READ_BYTES);
	return n > 0 ? n : verdict(t, n);
}

size_t tls_missing(const struct tls *t, const struct buf *in)
{
	return t->records ? tls_records_missing(in) : 0;
}

/* The client asked for new keys of ours: they come before the next record. */
static void keys_renew(struct tls *t)
{
	t->update = false;
	if (SSL_key_update(t->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) != 1 ||
	    SSL_do_handshake(t->ssl) != 1)
		ERR_clear_error(); /* the next write tells */
	/* OpenSSL took one to read with. */
	(void)SSL_free_buffers(t->ssl);
}

int tls_write(struct tls *t, struct buf *in, struct buf *out,
	      const uint8_t *bytes, size_t len)
{
	t->in = in;
	t->out = out;
	if (t->update)
		keys_renew(t);
	while (len) {
		size_t n;
		int r;

		ERR_clear_error();
		if (SSL_write_ex(t->ssl, bytes, len, &n) == 1) {
			bytes += n;
			len -= n;
			continue;
		}
		r = verdict(t, 0);
		/* Renegotiation is off, so a write never waits for input. */
		return r ? r : -EPROTO;
	}
	return 0;
}

void tls_close(struct tls *t, struct buf *in, struct buf *out)
{
	t->in = in;
	t->out = out;
	ERR_clear_error();
	if (SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl); /* queues close_notify */
	ERR_clear_error();
}

const char *tls_reason(const struct tls *t)
{
	return t->reason;
}

const char *tls_version(const struct tls *t)
{
	return SSL_get_version(t->ssl);
}
