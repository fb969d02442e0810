/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/crypto.h"
#include "proto/slice.h"

#define FILE_BYTES_MAX 4096u
#define ACCESS_KEY_RANDOM 16u /* letters after "AKIA" */
#define SECRET_CHARS 40u

/* 32 letters, so that five bits of a random byte choose one without bias. */
static const char key_letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char secret_letters[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int credentials_make(const struct sys_ops *sys, int dir, const char *name)
{
	uint8_t random[ACCESS_KEY_RANDOM + SECRET_CHARS];
	char key[ACCESS_KEY_RANDOM + 1];
	char secret[SECRET_CHARS + 1];
	char text[256];
	size_t i;
	int n;
	int r = crypto_random(random, sizeof(random));

	if (r < 0)
		return r;
	for (i = 0; i < ACCESS_KEY_RANDOM; i++)
		key[i] = key_letters[random[i] & 31];
	key[i] = '\0';
	for (i = 0; i < SECRET_CHARS; i++)
		secret[i] = secret_letters[random[ACCESS_KEY_RANDOM + i] & 63];
	secret[i] = '\0';
	n = snprintf(text, sizeof(text),
		     "[default]\naws_access_key_id = AKIA%s\n"
		     "aws_secret_access_key = %s\n",
		     key, secret);
	r = sys_write_file(sys, dir, name, text, (size_t)n, 0600);
	crypto_wipe(random, sizeof(random));
	crypto_wipe(secret, sizeof(secret));
	crypto_wipe(text, sizeof(text));
	return r;
}

static struct slice trim(struct slice s)
{
	while (s.len && strchr(" \t\r", s.ptr[0])) {
		s.ptr++;
		s.len--;
	}
	while (s.len && strchr(" \t\r", s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static void take(struct slice value, char *out, size_t size)
{
	if (value.len >= size)
		return;
	memcpy(out, value.ptr, value.len);
	out[value.len] = '\0';
}

static void read_lines(struct slice rest, struct catalog_credential *c)
{
	bool ours = false;

	while (rest.len) {
		struct slice line = slice_cut(&rest, '\n');
		struct slice name;

		line = trim(line);
		if (line.len && line.ptr[0] == '[') {
			ours = slice_is(line, "[default]");
			continue;
		}
		name = trim(slice_cut(&line, '='));
		line = trim(line);
		if (ours && slice_is(name, "aws_access_key_id"))
			take(line, c->access_key, sizeof(c->access_key));
		else if (ours && slice_is(name, "aws_secret_access_key"))
			take(line, c->secret, sizeof(c->secret));
	}
}

int credentials_read(const struct sys_ops *sys, const char *path,
		     struct catalog_credential *ret_credential)
{
	struct catalog_credential c = {.enabled = true};
	char *bytes;
	size_t len;
	int r = sys_read_file(sys, AT_FDCWD, path, FILE_BYTES_MAX, &bytes,
			      &len);

	if (r < 0)
		return r;
	read_lines((struct slice){bytes, len}, &c);
	crypto_wipe(bytes, len);
	free(bytes);
	if (!c.access_key[0] || !c.secret[0])
		return -EBADMSG;
	*ret_credential = c;
	crypto_wipe(&c, sizeof(c));
	return 0;
}
