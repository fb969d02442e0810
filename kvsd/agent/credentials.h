/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the agent's access keys come from, first that is there: the file that
 * the configuration names; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
 * AWS_SESSION_TOKEN; AWS_SHARED_CREDENTIALS_FILE; ~/.aws/credentials.
 */
#ifndef AGENT_CREDENTIALS_H
#define AGENT_CREDENTIALS_H

#include <stddef.h>

#include "base/macros.h"
#include "base/sys.h"

#define CREDENTIALS_FILE_BYTES_MAX (64u << 10)

/* Heap strings; NULL = absent. */
struct credentials {
	char *access_key_id;
	char *secret_access_key;
	char *session_token;
};

/**
 * credentials_find() - read the keys
 * @path: a file in the format of the AWS tools, or "" to look around
 * @profile: "" = AWS_PROFILE, or "default"
 * @error: words on failure; never a key
 *
 * Return: 0, -ENOENT (nothing found, or not that profile), -EINVAL (half of a
 * pair), -EBADMSG (not such a file), -ENOMEM, or the errno of reading it.
 */
int credentials_find(const struct sys_ops *sys, const char *path,
		     const char *profile, struct credentials *ret_credentials,
		     char *error, size_t error_size) MUST_CHECK;

/* Wipes and frees. */
void credentials_fini(struct credentials *c);

#endif
