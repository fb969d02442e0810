/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sealing and opening of segment records (proto/segment.h) with a stream's
 * key. Blocks on nothing; one thread at a time per key.
 */
#ifndef IO_SEGMENT_SEAL_H
#define IO_SEGMENT_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "io/crypto.h"
#include "proto/segment.h"

struct iovec;

/**
 * segment_seal_page() - write a PAGE record
 * @r: with a fresh nonce; @r->payload_bytes is the parts' sum
 * @out: segment_record_bytes(r->payload_bytes) bytes
 *
 * One pass of AES-GCM from @parts to @out and one of CRC over the result.
 * Return: 0, -EIO.
 */
int segment_seal_page(struct crypto_aead *key, const struct segment_record *r,
		      const struct iovec *parts, size_t count,
		      uint8_t *out) MUST_CHECK;

/*
 * As segment_seal_page() for a COMMIT record whose clear payload is in place
 * at @record + SEGMENT_HEADER_BYTES.
 */
int segment_seal_commit(struct crypto_aead *key,
			const struct segment_record *r,
			uint8_t *record) MUST_CHECK;

/**
 * segment_open_page() - decrypt a PAGE record that was parsed to @r
 * @out: r->payload_bytes; may be the record's own payload. Zero on failure.
 *
 * Return: 0, -EBADMSG, -EIO.
 */
int segment_open_page(struct crypto_aead *key, const uint8_t *record,
		      const struct segment_record *r,
		      uint8_t *out) MUST_CHECK;

/*
 * Verifies the tag of a COMMIT record that was parsed to @r. @record is
 * written to meanwhile, and as before on return. Return: 0, -EBADMSG, -EIO.
 */
int segment_check_commit(struct crypto_aead *key, uint8_t *record,
			 const struct segment_record *r) MUST_CHECK;

#endif
