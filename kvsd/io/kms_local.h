/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wraps data keys and secrets under a master key that is a file of 32 bytes.
 *
 * A wrapped blob is nonce, ciphertext, tag. The context is authenticated
 * with it, so that a blob cannot be put in another's place. Nonces are 96
 * random bits: with one master key no more than 2^32 blobs may be wrapped
 * (NIST SP 800-38D, 8.3); the catalog's bounds are far below.
 */
#ifndef IO_KMS_LOCAL_H
#define IO_KMS_LOCAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/sys.h"

#define KMS_WRAP_BYTES 28u	/* longer than what was wrapped */

struct kms_local;

/**
 * kms_local_open() - read the master key
 * @dirfd, @path: as for openat(2)
 * @create: make one when there is none and @path is a plain name (elsewhere
 *	the administrator makes it)
 *
 * Blocks on the disk. Refusals are logged with their reason.
 * Return: 0; -ENOENT; -EPERM (others may read it); -EINVAL (not 32 bytes);
 * or of a system call.
 */
int kms_local_open(const struct sys_ops *sys, int dirfd, const char *path,
		   bool create, struct kms_local **ret_kms) MUST_CHECK;
/* Wipes the key. Accepts NULL, returns NULL. */
struct kms_local *kms_local_close(struct kms_local *k);
DEFINE_AUTO(kms_local_close, struct kms_local *)

/* One thread at a time. @out: @len + KMS_WRAP_BYTES. Return: 0, -EIO. */
int kms_wrap(struct kms_local *k, const void *context, size_t context_len,
	     const void *bytes, size_t len, uint8_t *out) MUST_CHECK;
/*
 * @len: of the blob; @out: @len - KMS_WRAP_BYTES. Return: 0; -EBADMSG (of
 * another key or context, or damaged); -EIO.
 */
int kms_unwrap(struct kms_local *k, const void *context, size_t context_len,
	       const uint8_t *blob, size_t len, uint8_t *out) MUST_CHECK;

#endif
