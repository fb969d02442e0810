/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.2 and 1.3 through OpenSSL, memory in and memory out: no sockets here.
 * What clients send after a handshake that came to TLS 1.3 and AES-256-GCM,
 * a server reads by itself (io/tls_records.h).
 * The caller hands in ciphertext as it arrives and takes ciphertext to send.
 * One thread per struct tls; a tls_ctx may be shared once it is set up.
 */
#ifndef IO_TLS_H
#define IO_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"

struct tls_ctx;
struct tls;

/**
 * tls_ctx_new_server() - certificate chain and key from PEM files
 *
 * Return: 0, -ENOENT (a file is missing), -EBADMSG (unreadable as PEM, or the
 * key does not fit the certificate), -ENOMEM.
 */
int tls_ctx_new_server(const char *cert_path, const char *key_path,
		       struct tls_ctx **ret_ctx) MUST_CHECK;

/**
 * tls_ctx_new_client() - verify servers against @ca_path
 * @ca_path: PEM bundle, or NULL for the system's default one
 *
 * Return: as above.
 */
int tls_ctx_new_client(const char *ca_path,
		       struct tls_ctx **ret_ctx) MUST_CHECK;
/*
 * Gives one reference back; each struct tls has one of its own, so a context
 * may be replaced while connections that began with it go on. Any thread.
 */
struct tls_ctx *tls_ctx_free(struct tls_ctx *ctx);
struct tls_ctx *tls_ctx_ref(struct tls_ctx *ctx);
/* When the certificate expires, Unix epoch; 0: there is none. */
uint64_t tls_ctx_expires_s(const struct tls_ctx *ctx);
DEFINE_AUTO(tls_ctx_free, struct tls_ctx *)

/**
 * tls_new() - one connection's state
 * @host: client: the name or address that the certificate must carry, also
 *	sent as SNI unless it is an address. NULL on a server.
 *
 * Return: 0, -ENOMEM, -EINVAL (bad host).
 */
int tls_new(struct tls_ctx *ctx, const char *host,
	    struct tls **ret_tls) MUST_CHECK;
struct tls *tls_free(struct tls *t);

/*
 * tls_handshake() - go on with the handshake
 * @in: ciphertext received so far; what was used is consumed
 * @out: ciphertext to send is appended
 *
 * Return: 1 done, 0 wants more input, -EKEYREJECTED (the peer's certificate
 * does not verify: tls_reason() says why), -EPROTO, -ENOBUFS.
 */
int tls_handshake(struct tls *t, struct buf *in, struct buf *out) MUST_CHECK;

/* What a read needs: a record's content, its type, padding and tag. */
#define TLS_READ_BYTES ((16u << 10) + 256u)

/*
 * tls_read() - decrypt a record, or a part of one
 * @bytes: TLS_READ_BYTES; beyond what is returned they are not valid
 *
 * What there is of the last record may stay in @in (tls_missing()).
 *
 * Return: plaintext bytes, 0 wants more input, -EPIPE (close_notify came),
 * -EPROTO (bad record; the alert that says so is appended to @out).
 */
int tls_read(struct tls *t, struct buf *in, struct buf *out,
	     uint8_t *bytes) MUST_CHECK;

/*
 * How many bytes a read needs before it takes anything of @in, as far as can
 * be seen: first those of a record's head, then its body's. 0: none, or it
 * takes what it gets.
 */
size_t tls_missing(const struct tls *t, const struct buf *in);

/*
 * tls_write() - encrypt all of @bytes into @out (one record per 16 KiB)
 *
 * Return: 0, -ENOBUFS (@out full: nothing usable was written; close), -EPROTO.
 */
int tls_write(struct tls *t, struct buf *in, struct buf *out,
	      const uint8_t *bytes, size_t len) MUST_CHECK;

/* Appends close_notify to @out. */
void tls_close(struct tls *t, struct buf *in, struct buf *out);

/* Why the last call failed, for the log and the user. Valid until the next. */
const char *tls_reason(const struct tls *t);

/* "TLSv1.3" and so on; valid after the handshake. */
const char *tls_version(const struct tls *t);

#endif
