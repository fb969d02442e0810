/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kms_local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "io/crypto.h"

struct kms_local {
	const struct sys_ops *sys;
	struct crypto_aead *aead;
};

/* Written under a temporary name, so it is whole or not there. */
static int create_key(const struct sys_ops *sys, int dirfd, const char *path)
{
	uint8_t key[CRYPTO_KEY_BYTES];
	int r;

	r = sys->getrandom(key, sizeof(key));
	if (r >= 0)
		r = sys_write_file(sys, dirfd, path, key, sizeof(key), 0600);
	crypto_wipe(key, sizeof(key));
	return r;
}

static int check_mode(const struct sys_ops *sys, int dirfd, const char *path)
{
	struct stat st;
	int fd;
	int r;

	fd = sys->openat(dirfd, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	r = sys->fstat(fd, &st);
	sys_close(sys, &fd);
	if (r < 0)
		return r;
	if (st.st_mode & 077) {
		log_error("kms", "%s: readable by others; chmod 600 it", path);
		return -EPERM;
	}
	return 0;
}

static int read_key(const struct sys_ops *sys, int dirfd, const char *path,
		    struct crypto_aead **ret_aead)
{
	char *key = NULL;
	size_t len = 0;
	int r;

	r = check_mode(sys, dirfd, path);
	if (r < 0)
		return r;
	r = sys_read_file(sys, dirfd, path, CRYPTO_KEY_BYTES, &key, &len);
	if (r < 0 && r != -EFBIG)
		return r;
	if (r == -EFBIG || len != CRYPTO_KEY_BYTES) {
		log_error("kms", "%s: not a key of %u bytes", path,
			  CRYPTO_KEY_BYTES);
		free(key);
		return -EINVAL;
	}
	r = crypto_aead_new((const uint8_t *)key, ret_aead);
	crypto_wipe(key, len);
	free(key);
	return r;
}

int kms_local_open(const struct sys_ops *sys, int dirfd, const char *path,
		   bool create, struct kms_local **ret_kms)
{
	AUTO(kms_local_close) struct kms_local *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->sys = sys;
	r = read_key(sys, dirfd, path, &k->aead);
	if (r == -ENOENT && create && !strchr(path, '/')) {
		r = create_key(sys, dirfd, path);
		if (r == 0)
			r = read_key(sys, dirfd, path, &k->aead);
	} else if (r == -ENOENT) {
		log_error("kms", "%s: the master key is missing", path);
	}
	if (r < 0)
		return r;
	*ret_kms = TAKE_PTR(k);
	return 0;
}

struct kms_local *kms_local_close(struct kms_local *k)
{
	if (!k)
		return NULL;
	k->aead = crypto_aead_free(k->aead);
	free(k);
	return NULL;
}

int kms_wrap(struct kms_local *k, const void *context, size_t context_len,
	     const void *bytes, size_t len, uint8_t *out)
{
	struct iovec part = { (void *)(uintptr_t)bytes, len };
	uint8_t *sealed = out + CRYPTO_NONCE_BYTES;

	if (k->sys->getrandom(out, CRYPTO_NONCE_BYTES) < 0)
		return -EIO;
	return crypto_aead_seal(k->aead, out, context, context_len, &part, 1,
				sealed, sealed + len);
}

int kms_unwrap(struct kms_local *k, const void *context, size_t context_len,
	       const uint8_t *blob, size_t len, uint8_t *out)
{
	const uint8_t *sealed = blob + CRYPTO_NONCE_BYTES;

	if (len < KMS_WRAP_BYTES)
		return -EBADMSG;
	len -= KMS_WRAP_BYTES;
	return crypto_aead_open(k->aead, blob, context, context_len, sealed,
				len, sealed + len, out);
}

_Static_assert(KMS_WRAP_BYTES == CRYPTO_NONCE_BYTES + CRYPTO_TAG_BYTES,
	       "nonce and tag");
