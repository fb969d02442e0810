/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Customer keys: what a stream's KmsKeyId names. Each is a file of 32 bytes in
 * a directory that the administrator keeps; the service never makes or changes
 * one. A stream with such a key is sealed with
 *
 *	HMAC-SHA256(customer key, "kvsd data key" | stream id | data key)
 *
 * so that neither the directory of media with its master key nor the customer
 * key opens it alone. CreateStream does not look at the key; what uses the
 * stream does, each time, so a key that is taken away is gone for the next
 * upload and the next reader.
 *
 *	DIR/ID.key	the key; ID is what follows "key/" or "alias/" in the
 *			KmsKeyId, or all of it
 *	DIR/ID.disabled	the same file, renamed: the key is disabled
 *
 * A key's bytes must never change: what it sealed can only be opened with it.
 */
#ifndef IO_KMS_KEYS_H
#define IO_KMS_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"
#include "core/store.h"

#define KMS_KEY_NAME_CHARS_MAX 128u

/* The service's own key, under any of the names that it has. */
bool kms_key_is_default(const char *key_id);

/**
 * kms_keys_apply() - make a stream's key of its data key and its customer key
 * @dir: of the keys; NULL: there is none
 * @key_id: not the default one
 * @stream: its key is replaced; wiped on failure
 *
 * Blocks on the disk. Return: 0; -ENOKEY (no such key); -EKEYREVOKED (it is
 * disabled); -EACCES (it may not be read, or others may read it too); -EINVAL
 * (no name of a key); -EKEYREJECTED (it is no key of 32 bytes); -ENODATA (an
 * empty file: the key has no material yet); -EIO or another errno (it could
 * not be read).
 */
int kms_keys_apply(const struct sys_ops *sys, const char *dir,
		   const char *key_id, struct store_stream *stream) MUST_CHECK;

#endif
