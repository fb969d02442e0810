/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where to, as whom: the command line, the environment and the profile, in
 * the order in which AWS's own tools look. Pure: files and environment are
 * handed in.
 */
#ifndef KVSCTL_SETTINGS_H
#define KVSCTL_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"
#include "kvsctl/limits.h"
#include "proto/slice.h"

/* Of the command line; NULL = not given. */
struct settings_options {
	const char *endpoint_url;
	const char *ca_bundle;
	const char *profile;
	const char *region;
};

/* As getenv(3), or a table in tests. */
typedef const char *settings_env_fn(const char *name);

struct settings_file {
	char path[4096];
	struct slice text;	/* what it holds, once read */
	bool found;
};

/* Where the profile's files are. */
struct settings_files {
	struct settings_file credentials;
	struct settings_file config;
};

/* Everything is owned, NUL-terminated; NULL = not known. */
struct settings {
	char *endpoint;
	char *region;
	char *ca_bundle;
	char *access_key_id;
	char *secret_access_key;
	char *session_token;
};

/*
 * Fills the paths: AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE, else
 * ~/.aws/credentials and ~/.aws/config. Empty when there is no HOME either.
 */
void settings_paths(settings_env_fn *env, struct settings_files *ret_files);

/**
 * settings_resolve() - put it together
 * @files: paths, with the text of those that exist
 * @error: words for what is wrong, when the result is not 0
 *
 * A profile asked for by option wins over keys in the environment; else keys
 * in the environment win over the profile (AWS_PROFILE or "default").
 *
 * Return: 0, -ENOKEY (no credentials), -ENOENT (no such profile), -EBADMSG (a
 * file that cannot be read as one), -EDESTADDRREQ (neither endpoint nor
 * region), -ENOMEM.
 */
int settings_resolve(const struct settings_options *options,
		     settings_env_fn *env, const struct settings_files *files,
		     struct settings *ret_settings,
		     char error[CTL_ERROR_CHARS_MAX]) MUST_CHECK;

/* Wipes and frees. */
void settings_fini(struct settings *s);

#endif
