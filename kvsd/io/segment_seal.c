/* SPDX-License-Identifier: Apache-2.0 */
#include "io/segment_seal.h"

#include <string.h>

int segment_seal_page(struct crypto_aead *key, const struct segment_record *r,
		      const struct iovec *parts, size_t count, uint8_t *out)
{
	uint8_t tag[SEGMENT_TAG_BYTES];
	int err;

	segment_record_begin(out, r);
	err = crypto_aead_seal(key, r->nonce, out, SEGMENT_AAD_BYTES, parts,
			       count, out + SEGMENT_HEADER_BYTES, tag);
	if (err < 0)
		return err;
	segment_record_end(out, tag);
	return 0;
}

/*
 * The AAD of a commit is header and payload, which have nonce and tag between
 * them: the header's part is moved against the payload, so that no copy of
 * the payload is needed. @saved brings the header back.
 */
static uint8_t *commit_aad(uint8_t *record, uint8_t saved[SEGMENT_HEADER_BYTES])
{
	uint8_t *aad = record + SEGMENT_HEADER_BYTES - SEGMENT_AAD_BYTES;

	memcpy(saved, record, SEGMENT_HEADER_BYTES);
	memcpy(aad, saved, SEGMENT_AAD_BYTES);
	return aad;
}

int segment_seal_commit(struct crypto_aead *key, const struct segment_record *r,
			uint8_t *record)
{
	uint8_t saved[SEGMENT_HEADER_BYTES];
	uint8_t tag[SEGMENT_TAG_BYTES];
	uint8_t *aad;
	int err;

	segment_record_begin(record, r);
	aad = commit_aad(record, saved);
	err = crypto_aead_seal(key, r->nonce, aad,
			       SEGMENT_AAD_BYTES + r->payload_bytes, NULL, 0,
			       NULL, tag);
	memcpy(record, saved, SEGMENT_HEADER_BYTES);
	if (err < 0)
		return err;
	segment_record_end(record, tag);
	return 0;
}

int segment_open_page(struct crypto_aead *key, const uint8_t *record,
		      const struct segment_record *r, uint8_t *out)
{
	return crypto_aead_open(key, r->nonce, record, SEGMENT_AAD_BYTES,
				record + SEGMENT_HEADER_BYTES,
				r->payload_bytes, r->tag, out);
}

int segment_check_commit(struct crypto_aead *key, uint8_t *record,
			 const struct segment_record *r)
{
	uint8_t saved[SEGMENT_HEADER_BYTES];
	uint8_t none[1] = { 0 };
	uint8_t *aad;
	int err;

	aad = commit_aad(record, saved);
	err = crypto_aead_open(key, r->nonce, aad,
			       SEGMENT_AAD_BYTES + r->payload_bytes, none, 0,
			       r->tag, none);
	memcpy(record, saved, SEGMENT_HEADER_BYTES);
	return err;
}
