/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/crypto.h"
#include "proto/aws_profile.h"
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

/* Return: 0, -ENOENT, -EBADMSG, -ENOMEM. */
static int parse(struct slice text, const char *profile, struct credentials *c,
		 unsigned int *ret_line)
{
	struct aws_profile found;
	int r = aws_profile_find(text, slice_of(profile), false, &found,
				 ret_line);

	if (r < 0)
		return r;
	if (set(&c->access_key_id, found.access_key_id) < 0 ||
	    set(&c->secret_access_key, found.secret_access_key) < 0 ||
	    set(&c->session_token, found.session_token) < 0)
		return -ENOMEM;
	return 0;
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
	unsigned int line = 0;
	int r;

	r = sys_read_file(sys, AT_FDCWD, path, CREDENTIALS_FILE_BYTES_MAX,
			  &bytes, &len);
	if (r < 0) {
		(void)snprintf(error, error_size, "%s: %s", path, strerror(-r));
		return r;
	}
	r = parse((struct slice){ bytes, len }, profile, c, &line);
	crypto_wipe(bytes, len);
	free(bytes);
	if (r == 0)
		return check(c, path, error, error_size);
	if (r == -EBADMSG)
		(void)snprintf(error, error_size,
			       "%s:%u: neither a [section] nor key = value",
			       path, line);
	else if (r == -ENOENT)
		(void)snprintf(error, error_size, "%s: no profile [%s]", path,
			       profile);
	else
		(void)snprintf(error, error_size, "%s", strerror(-r));
	return r;
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
	error[0] = '\0';
	r = usual_path(usual) ? from_file(sys, usual, profile, c, error,
					  error_size) : -ENOENT;
	if (r == -ENOENT && !strstr(error, "no profile"))
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
