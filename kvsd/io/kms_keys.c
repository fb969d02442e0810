/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kms_keys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "io/crypto.h"
#include "proto/slice.h"

#define PATH_BYTES 4096u

static const char *name_of(const char *key_id)
{
	static const char *const marks[] = {"key/", "alias/"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(marks); i++) {
		const char *at = strstr(key_id, marks[i]);

		if (at && (at == key_id || at[-1] == ':'))
			return at + strlen(marks[i]);
	}
	return key_id;
}

bool kms_key_is_default(const char *key_id)
{
	const char *name = name_of(key_id);

	return !*name || strcmp(name, "aws/kinesisvideo") == 0 ||
	       strcmp(name, "aws/kinesis-video") == 0;
}

static bool is_name(const char *name)
{
	size_t len = strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				  "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return len && !name[len] && len <= KMS_KEY_NAME_CHARS_MAX;
}

static int open_key(const struct sys_ops *sys, const char *dir,
		    const char *name, const char *suffix)
{
	char path[PATH_BYTES];
	int n = snprintf(path, sizeof(path), "%s/%s.%s", dir, name, suffix);

	if (n < 0 || (size_t)n >= sizeof(path))
		return -EINVAL;
	/* Not even a pipe that somebody put there may stop us. */
	return sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK,
			   0);
}

/* Why there is no ID.key. */
static int missing(const struct sys_ops *sys, const char *dir, const char *name)
{
	int fd = open_key(sys, dir, name, "disabled");

	if (fd < 0)
		return fd == -ENOENT ? -ENOKEY : fd;
	sys_close(sys, &fd);
	return -EKEYREVOKED;
}

static int read_key(const struct sys_ops *sys, int fd,
		    uint8_t key[CRYPTO_KEY_BYTES])
{
	struct stat st;
	ssize_t n;
	int r = sys->fstat(fd, &st);

	if (r < 0)
		return r;
	if (!S_ISREG(st.st_mode))
		return -EKEYREJECTED;
	if (st.st_mode & 077)
		return -EACCES;
	if (!st.st_size)
		return -ENODATA;
	if (st.st_size != CRYPTO_KEY_BYTES)
		return -EKEYREJECTED;
	n = sys->pread(fd, key, CRYPTO_KEY_BYTES, 0);
	if (n < 0)
		return (int)n;
	return n == CRYPTO_KEY_BYTES ? 0 : -EIO;
}

static int derive(const uint8_t key[CRYPTO_KEY_BYTES], struct store_stream *s)
{
	struct slice parts[] = {
		SLICE("kvsd data key"),
		{(const char *)s->id, sizeof(s->id)},
		{(const char *)s->key, sizeof(s->key)},
	};
	uint8_t out[CRYPTO_HASH_BYTES];
	int r = crypto_hmac_sha256(key, CRYPTO_KEY_BYTES, parts,
				   ARRAY_SIZE(parts), out);

	if (r == 0)
		memcpy(s->key, out, sizeof(s->key));
	crypto_wipe(out, sizeof(out));
	return r;
}

_Static_assert(CRYPTO_HASH_BYTES == DATA_KEY_BYTES, "a key is a hash");

int kms_keys_apply(const struct sys_ops *sys, const char *dir,
		   const char *key_id, struct store_stream *stream)
{
	const char *name = name_of(key_id);
	uint8_t key[CRYPTO_KEY_BYTES];
	int r = -EINVAL;
	int fd;

	if (is_name(name)) {
		fd = dir ? open_key(sys, dir, name, "key") : -ENOENT;
		if (fd >= 0)
			r = read_key(sys, fd, key);
		else if (fd == -ENOENT)
			r = dir ? missing(sys, dir, name) : -ENOKEY;
		else
			r = fd;
		sys_close(sys, &fd);
	}
	if (r == 0)
		r = derive(key, stream);
	if (r < 0)
		crypto_wipe(stream->key, sizeof(stream->key));
	crypto_wipe(key, sizeof(key));
	return r;
}
