/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file is read here and not through io/config_ini.h: session tokens are
 * longer than an inih line.
 */
#include "agent/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/crypto.h"
#include "proto/slice.h"

#define PATH_CHARS 4096u

static char *drop_secret(char *s)
{
	if (s)
		crypto_wipe(s, strlen(s));
	free(s);
	return NULL;
}

void credentials_fini(struct credentials *c)
{
	c->access_key_id = drop_secret(c->access_key_id);
	c->secret_access_key = drop_secret(c->secret_access_key);
	c->session_token = drop_secret(c->session_token);
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

static int set(char **out, struct slice value)
{
	char *copy;

	if (!value.len)
		return 0;
	copy = strndup(value.ptr, value.len);
	if (!copy)
		return -ENOMEM;
	*out = drop_secret(*out);
	*out = copy;
	return 0;
}

static int take_line(struct credentials *c, struct slice line)
{
	struct slice value = line;
	struct slice key = trim(slice_cut(&value, '='));

	value = trim(value);
	if (slice_is(key, "aws_access_key_id"))
		return set(&c->access_key_id, value);
	if (slice_is(key, "aws_secret_access_key"))
		return set(&c->secret_access_key, value);
	if (slice_is(key, "aws_session_token"))
		return set(&c->session_token, value);
	return 0; /* region, output: others' business */
}

/* Return: 1 the profile is there, 0 it is not, -ENOMEM. */
static int parse(struct slice text, const char *profile, struct credentials *c)
{
	bool ours = false;
	bool found = false;

	while (text.len) {
		struct slice line = trim(slice_cut(&text, '\n'));

		if (!line.len || line.ptr[0] == '#' || line.ptr[0] == ';')
			continue;
		if (line.ptr[0] == '[') {
			line.ptr++;
			line.len--;
			ours = slice_is(trim(slice_cut(&line, ']')), profile);
			found = found || ours;
		} else if (ours && take_line(c, line) < 0) {
			return -ENOMEM;
		}
	}
	return found;
}

static int check(const struct credentials *c, const char *where, char *error,
		 size_t error_size)
{
	if (c->access_key_id && c->secret_access_key)
		return 0;
	(void)snprintf(error, error_size, "%s: %s is missing", where,
		       c->access_key_id ? "the secret access key" :
					  "the access key id");
	return -EINVAL;
}

static int from_file(const struct sys_ops *sys, const char *path,
		     const char *profile, struct credentials *c, char *error,
		     size_t error_size)
{
	char *bytes;
	size_t len;
	int r;

	r = sys_read_file(sys, AT_FDCWD, path, CREDENTIALS_FILE_BYTES_MAX,
			  &bytes, &len);
	if (r < 0) {
		(void)snprintf(error, error_size, "%s: %s", path, strerror(-r));
		return r;
	}
	r = parse((struct slice){ bytes, len }, profile, c);
	crypto_wipe(bytes, len);
	free(bytes);
	if (r < 0)
		return r;
	if (r == 0) {
		(void)snprintf(error, error_size, "%s: no profile [%s]", path,
			       profile);
		return -ENOENT;
	}
	return check(c, path, error, error_size);
}

static const char *env(const char *name)
{
	const char *v = getenv(name);

	return v && v[0] ? v : NULL;
}

static int from_environment(struct credentials *c, char *error,
			    size_t error_size)
{
	static const struct {
		const char *name;
		size_t offset;
	} names[] = {
		{ "AWS_ACCESS_KEY_ID",
		  offsetof(struct credentials, access_key_id) },
		{ "AWS_SECRET_ACCESS_KEY",
		  offsetof(struct credentials, secret_access_key) },
		{ "AWS_SESSION_TOKEN",
		  offsetof(struct credentials, session_token) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const char *v = env(names[i].name);
		char **out = (char **)(void *)((char *)c + names[i].offset);

		if (v && set(out, slice_of(v)) < 0)
			return -ENOMEM;
	}
	return check(c, "environment", error, error_size);
}

/* The file that the AWS tools would read; false when there is no home. */
static bool usual_path(char out[PATH_CHARS])
{
	const char *path = env("AWS_SHARED_CREDENTIALS_FILE");
	const char *home = env("HOME");
	int n;

	if (path)
		n = snprintf(out, PATH_CHARS, "%s", path);
	else if (home)
		n = snprintf(out, PATH_CHARS, "%s/.aws/credentials", home);
	else
		return false;
	return n > 0 && (size_t)n < PATH_CHARS;
}

static int find(const struct sys_ops *sys, const char *path,
		const char *profile, struct credentials *c, char *error,
		size_t error_size)
{
	char usual[PATH_CHARS];
	int r;

	if (path[0])
		return from_file(sys, path, profile, c, error, error_size);
	if (env("AWS_ACCESS_KEY_ID"))
		return from_environment(c, error, error_size);
	r = usual_path(usual) ? from_file(sys, usual, profile, c, error,
					  error_size) : -ENOENT;
	if (r == -ENOENT)
		(void)snprintf(error, error_size,
			       "no credentials: set [service] credentials, "
			       "AWS_ACCESS_KEY_ID or ~/.aws/credentials");
	return r;
}

int credentials_find(const struct sys_ops *sys, const char *path,
		     const char *profile, struct credentials *ret_credentials,
		     char *error, size_t error_size)
{
	struct credentials c = { NULL, NULL, NULL };
	int r;

	if (!profile[0])
		profile = env("AWS_PROFILE") ? env("AWS_PROFILE") : "default";
	r = find(sys, path, profile, &c, error, error_size);
	if (r < 0) {
		credentials_fini(&c);
		return r;
	}
	*ret_credentials = c;
	return 0;
}
