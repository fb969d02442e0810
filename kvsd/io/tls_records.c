/* SPDX-License-Identifier: Apache-2.0 */
#include "io/tls_records.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "io/crypto.h"

#define HEAD_BYTES 5u
#define VERSION_TLS12 0x0303u /* what 1.3 writes into each record */

/* Section 5.1. */
enum content_type {
	CONTENT_ALERT = 21,
	CONTENT_HANDSHAKE = 22,
	CONTENT_DATA = 23,
};

#define ALERT_BYTES 2u
#define ALERT_CLOSE_NOTIFY 0u
#define ALERT_USER_CANCELED 90u /* close_notify follows (section 6.1) */

/* Section 4.6.3: type, length of the rest, request. */
#define KEY_UPDATE_BYTES 5u
#define HANDSHAKE_KEY_UPDATE 24u
/* As many in a row say nothing; more than that, and it is an attack. */
#define EMPTY_MAX 32u

struct tls_records {
	struct crypto_aead *key;
	uint64_t sequence;
	unsigned int empty; /* records in a row without content */
	int over; /* 0, or what each read says from now on */
	bool alerted;
	const char *reason;
	uint8_t iv[CRYPTO_NONCE_BYTES];
	uint8_t secret[TLS_SECRET_BYTES];
};

/* Section 7.3: the key and the IV of @secret; numbers begin again. */
static int keys_derive(struct tls_records *r)
{
	AUTO(crypto_aead_free) struct crypto_aead *key = NULL;
	uint8_t bytes[CRYPTO_KEY_BYTES];
	int err;

	err = crypto_tls_expand(r->secret, "key", bytes, sizeof(bytes));
	if (err == 0)
		err = crypto_aead_new_open(bytes, &key);
	crypto_wipe(bytes, sizeof(bytes));
	if (err == 0)
		err = crypto_tls_expand(r->secret, "iv", r->iv, sizeof(r->iv));
	if (err < 0)
		return err;
	(void)crypto_aead_free(r->key);
	r->key = TAKE_PTR(key);
	r->sequence = 0;
	return 0;
}

/* Section 7.2. */
static int keys_update(struct tls_records *r)
{
	uint8_t next[TLS_SECRET_BYTES];
	int err;

	err = crypto_tls_expand(r->secret, "traffic upd", next, sizeof(next));
	if (err == 0)
		memcpy(r->secret, next, sizeof(next));
	crypto_wipe(next, sizeof(next));
	return err < 0 ? err : keys_derive(r);
}

int tls_records_new(const uint8_t secret[TLS_SECRET_BYTES],
		    struct tls_records **ret_records)
{
	AUTO(tls_records_free)
	struct tls_records *r = calloc(1, sizeof(*r));
	int err;

	if (!r)
		return -ENOMEM;
	memcpy(r->secret, secret, TLS_SECRET_BYTES);
	err = keys_derive(r);
	if (err < 0)
		return err;
	*ret_records = TAKE_PTR(r);
	return 0;
}

struct tls_records *tls_records_free(struct tls_records *r)
{
	if (!r)
		return NULL;
	(void)crypto_aead_free(r->key);
	crypto_wipe(r, sizeof(*r));
	free(r);
	return NULL;
}

const char *tls_records_reason(const struct tls_records *r)
{
	return r->over ? r->reason : "";
}

bool tls_records_alerted(const struct tls_records *r)
{
	return r->alerted;
}

size_t tls_records_missing(const struct buf *in)
{
	size_t have = buf_len(in);
	size_t want;

	if (have < HEAD_BYTES)
		return HEAD_BYTES - have;
	want = HEAD_BYTES + (size_t)load_be16(in->data + in->start + 3);
	return have < want ? want - have : 0;
}

static int refuse(struct tls_records *r, const char *why)
{
	r->reason = why;
	r->over = -EPROTO;
	return r->over;
}

/*
 * Opens the body of @len bytes behind @head. Return: bytes of content, whose
 * type is in @ret_type, or -EPROTO.
 */
static int open_record(struct tls_records *r, const uint8_t *head, size_t len,
		       uint8_t *bytes, uint8_t *ret_type)
{
	size_t n = len - CRYPTO_TAG_BYTES;
	uint8_t nonce[CRYPTO_NONCE_BYTES];
	uint8_t number[8];
	size_t i;

	store_be64(number, r->sequence++);
	memcpy(nonce, r->iv, sizeof(nonce));
	for (i = 0; i < sizeof(number); i++)
		nonce[sizeof(nonce) - sizeof(number) + i] ^= number[i];
	if (crypto_aead_open(r->key, nonce, head, HEAD_BYTES, head + HEAD_BYTES,
			     n, head + HEAD_BYTES + n, bytes) < 0)
		return refuse(r, "a record does not verify");
	if (n > TLS_CONTENT_BYTES_MAX + 1)
		return refuse(r, "a record is too long");
	/* Zeroes behind the type are padding (section 5.4). */
	while (n && !bytes[n - 1])
		n--;
	if (!n)
		return refuse(r, "a record has no type");
	*ret_type = bytes[n - 1];
	return (int)n - 1;
}

static int take_alert(struct tls_records *r, const uint8_t *bytes, size_t len)
{
	if (len != ALERT_BYTES)
		return refuse(r, "a bad alert");
	if (bytes[1] == ALERT_USER_CANCELED)
		return 0;
	if (bytes[1] == ALERT_CLOSE_NOTIFY) {
		r->reason = "the peer closed";
		r->over = -EPIPE;
		return r->over;
	}
	r->alerted = true;
	return refuse(r, "the peer sent an alert");
}

/* The one message that a client may send by now. */
static int take_handshake(struct tls_records *r, const uint8_t *bytes,
			  size_t len, bool *ret_update)
{
	if (len != KEY_UPDATE_BYTES || bytes[0] != HANDSHAKE_KEY_UPDATE ||
	    load_be24(bytes + 1) != 1 || bytes[4] > 1)
		return refuse(r, "an unexpected message");
	if (keys_update(r) < 0)
		return refuse(r, "no memory for new keys");
	if (bytes[4])
		*ret_update = true;
	return 0;
}

/* One whole record. Return: as tls_records_read(); 0 is one without content. */
static int read_record(struct tls_records *r, const uint8_t *head, size_t len,
		       uint8_t *bytes, bool *ret_update)
{
	uint8_t type;
	int n = open_record(r, head, len, bytes, &type);

	if (n < 0)
		return n;
	if (type == CONTENT_DATA && n) {
		r->empty = 0;
		return n;
	}
	if (++r->empty > EMPTY_MAX)
		return refuse(r, "too many records without content");
	switch (type) {
	case CONTENT_DATA:
		return 0;
	case CONTENT_ALERT:
		return take_alert(r, bytes, (size_t)n);
	case CONTENT_HANDSHAKE:
		return take_handshake(r, bytes, (size_t)n, ret_update);
	default:
		return refuse(r, "a record of an unknown type");
	}
}

static int check_head(struct tls_records *r, const uint8_t *head)
{
	size_t len = load_be16(head + 3);

	if (head[0] != CONTENT_DATA || load_be16(head + 1) != VERSION_TLS12)
		return refuse(r, "not a record of TLS 1.3");
	if (len > TLS_BODY_BYTES_MAX || len <= CRYPTO_TAG_BYTES)
		return refuse(r, "a record of a bad length");
	return 0;
}

int tls_records_read(struct tls_records *r, struct buf *in, uint8_t *bytes,
		     bool *ret_update)
{
	int n = r->over;

	while (!n && buf_len(in) >= HEAD_BYTES) {
		const uint8_t *head = buf_head(in);
		size_t len = load_be16(head + 3);

		n = check_head(r, head);
		if (n < 0 || buf_len(in) - HEAD_BYTES < len)
			break;
		n = read_record(r, head, len, bytes, ret_update);
		buf_consume(in, HEAD_BYTES + len);
	}
	return n;
}
