/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/aws_profile.h"

static const char *set_env(settings_env_fn *env, const char *name)
{
	const char *v = env(name);

	return v && *v ? v : NULL;
}

static void take_path(settings_env_fn *env, const char *variable,
		      const char *file, struct settings_file *f)
{
	const char *given = set_env(env, variable);
	const char *home = set_env(env, "HOME");

	*f = (struct settings_file){ 0 };
	if (given)
		(void)snprintf(f->path, sizeof(f->path), "%s", given);
	else if (home)
		(void)snprintf(f->path, sizeof(f->path), "%s/.aws/%s", home,
			       file);
}

void settings_paths(settings_env_fn *env, struct settings_files *ret_files)
{
	take_path(env, "AWS_SHARED_CREDENTIALS_FILE", "credentials",
		  &ret_files->credentials);
	take_path(env, "AWS_CONFIG_FILE", "config", &ret_files->config);
}

static int find_profile(const struct settings_file *f, const char *name,
			bool config, struct aws_profile *ret_profile,
			char error[CTL_ERROR_CHARS_MAX])
{
	unsigned int line = 0;
	int r;

	*ret_profile = (struct aws_profile){ 0 };
	if (!f->found)
		return -ENOENT;
	r = aws_profile_find(f->text, slice_of(name), config, ret_profile,
			     &line);
	if (r == -EBADMSG)
		(void)snprintf(error, CTL_ERROR_CHARS_MAX,
			       "%.300s:%u: neither \"key = value\" nor "
			       "\"[profile]\"",
			       f->path, line);
	return r;
}

static char *copy(struct slice s)
{
	return s.len ? strndup(s.ptr, s.len) : NULL;
}

/* The first that is set, as a copy; NULL when none is. */
static char *first_of(const char *option, const char *env1, const char *env2,
		      struct slice profile1, struct slice profile2)
{
	const char *given = option ? option : env1 ? env1 : env2;

	if (given)
		return strdup(given);
	return copy(profile1.len ? profile1 : profile2);
}

static int no_profile(const char *name, const struct settings_files *files,
		      char error[CTL_ERROR_CHARS_MAX])
{
	(void)snprintf(error, CTL_ERROR_CHARS_MAX,
		       "there is no profile '%s' in %.200s", name,
		       files->credentials.path);
	return -ENOENT;
}

static int no_keys(const char *name, const struct settings_files *files,
		   char error[CTL_ERROR_CHARS_MAX])
{
	(void)snprintf(error, CTL_ERROR_CHARS_MAX,
		       "no credentials: set AWS_ACCESS_KEY_ID and "
		       "AWS_SECRET_ACCESS_KEY, or put profile '%.64s' into "
		       "%.200s (for kvsd serve --quickstart DIR: export "
		       "AWS_SHARED_CREDENTIALS_FILE=DIR/credentials)",
		       name, files->credentials.path);
	return -ENOKEY;
}

static int take_keys(settings_env_fn *env, bool from_env,
		     const struct aws_profile *p, struct settings *s)
{
	const char *token = set_env(env, "AWS_SESSION_TOKEN");

	if (from_env) {
		s->access_key_id = strdup(set_env(env, "AWS_ACCESS_KEY_ID"));
		s->secret_access_key =
			strdup(set_env(env, "AWS_SECRET_ACCESS_KEY"));
		s->session_token = token ? strdup(token) : NULL;
		return s->access_key_id && s->secret_access_key &&
				       (!token || s->session_token) ?
			       0 :
			       -ENOMEM;
	}
	s->access_key_id = copy(p->access_key_id);
	s->secret_access_key = copy(p->secret_access_key);
	s->session_token = copy(p->session_token);
	return s->access_key_id && s->secret_access_key &&
			       (!p->session_token.len || s->session_token) ?
		       0 :
		       -ENOMEM;
}

static int resolve(const struct settings_options *options,
		   settings_env_fn *env, const struct settings_files *files,
		   struct settings *s, char error[CTL_ERROR_CHARS_MAX])
{
	const char *asked = options->profile ? options->profile :
					       set_env(env, "AWS_PROFILE");
	const char *name = asked ? asked : "default";
	bool from_env = !options->profile &&
			set_env(env, "AWS_ACCESS_KEY_ID") &&
			set_env(env, "AWS_SECRET_ACCESS_KEY");
	const char *service_url = set_env(env,
					  "AWS_ENDPOINT_URL_KINESIS_VIDEO");
	struct aws_profile keys;
	struct aws_profile config;
	int in_keys = find_profile(&files->credentials, name, false, &keys,
				   error);
	int in_config = find_profile(&files->config, name, true, &config,
				     error);
	int r;

	if (in_keys == -EBADMSG || in_config == -EBADMSG)
		return -EBADMSG;
	if (!from_env && asked && in_keys == -ENOENT && in_config == -ENOENT)
		return no_profile(name, files, error);
	if (!keys.access_key_id.len || !keys.secret_access_key.len) {
		keys.access_key_id = config.access_key_id;
		keys.secret_access_key = config.secret_access_key;
		keys.session_token = config.session_token;
	}
	if (!from_env &&
	    (!keys.access_key_id.len || !keys.secret_access_key.len))
		return no_keys(name, files, error);
	r = take_keys(env, from_env, &keys, s);
	if (r < 0)
		return r;
	s->endpoint = first_of(options->endpoint_url, service_url,
			       set_env(env, "AWS_ENDPOINT_URL"),
			       config.endpoint_url, keys.endpoint_url);
	s->ca_bundle = first_of(options->ca_bundle,
				set_env(env, "AWS_CA_BUNDLE"), NULL,
				config.ca_bundle, keys.ca_bundle);
	s->region = first_of(options->region, set_env(env, "AWS_REGION"),
			     set_env(env, "AWS_DEFAULT_REGION"), config.region,
			     keys.region);
	if (s->endpoint || s->region)
		return 0;
	(void)snprintf(error, CTL_ERROR_CHARS_MAX,
		       "where to? For Amazon's service set AWS_REGION or "
		       "--region; for kvsd set AWS_ENDPOINT_URL or "
		       "--endpoint-url https://HOST:PORT");
	return -EDESTADDRREQ;
}

int settings_resolve(const struct settings_options *options,
		     settings_env_fn *env, const struct settings_files *files,
		     struct settings *ret_settings,
		     char error[CTL_ERROR_CHARS_MAX])
{
	struct settings s = { 0 };
	int r;

	error[0] = '\0';
	r = resolve(options, env, files, &s, error);
	if (r == 0)
		*ret_settings = s;
	else
		settings_fini(&s);
	return r;
}

static void wipe(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void settings_fini(struct settings *s)
{
	free(s->endpoint);
	free(s->region);
	free(s->ca_bundle);
	free(s->access_key_id);
	wipe(s->secret_access_key);
	wipe(s->session_token);
	*s = (struct settings){ 0 };
}
