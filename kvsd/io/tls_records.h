/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a TLS 1.3 client sends after the handshake, opened where it arrived
 * (RFC 8446, section 5.2; AES-256-GCM only). OpenSSL shakes hands and sends;
 * but its SSL_read() copies each record in and out of a buffer of its own and
 * takes and gives that back, which costs as much as opening a camera's frame.
 * Here bytes go from the receive buffer to the reader's, once.
 *
 * One thread at a time. Nothing is sent here.
 */
#ifndef IO_TLS_RECORDS_H
#define IO_TLS_RECORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"

#define TLS_SECRET_BYTES 48u /* of SHA-384 */
#define TLS_CONTENT_BYTES_MAX (16u << 10)
/* Of a record's body: the content, its type, padding and the tag. */
#define TLS_BODY_BYTES_MAX (TLS_CONTENT_BYTES_MAX + 256u)

struct tls_records;

/**
 * tls_records_new() - the reading side, from its first record on
 * @secret: the client's application_traffic_secret_0; copied, wipe yours
 *
 * Return: 0, -ENOMEM, -EIO (the library lacks an algorithm).
 */
int tls_records_new(const uint8_t secret[TLS_SECRET_BYTES],
		    struct tls_records **ret_records) MUST_CHECK;
/* Wipes the keys. Accepts NULL, returns NULL. */
struct tls_records *tls_records_free(struct tls_records *r);
DEFINE_AUTO(tls_records_free, struct tls_records *)

/**
 * tls_records_read() - open the next record that has content
 * @in: ciphertext from a record's beginning on; whole records are consumed,
 *	what there is of the last one stays
 * @bytes: at least TLS_BODY_BYTES_MAX; only what is returned is valid
 * @ret_update: set when the peer asks for new keys of ours (KeyUpdate); else
 *	left alone
 *
 * Return: bytes of content, 0 (wants more), -EPIPE (close_notify), -EPROTO
 * (anything else: tls_records_reason() says what; it stays so).
 */
int tls_records_read(struct tls_records *r, struct buf *in, uint8_t *bytes,
		     bool *ret_update) MUST_CHECK;

/*
 * How many bytes the record at the beginning of @in lacks, as far as can be
 * seen: without a whole head, what the head lacks. 0: none.
 */
size_t tls_records_missing(const struct buf *in);

const char *tls_records_reason(const struct tls_records *r);
/* It was the peer that gave up: an alert of ours would have no reader. */
bool tls_records_alerted(const struct tls_records *r);

#endif
