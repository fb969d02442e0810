/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Profiles in AWS's two files: the shared credentials file ("[name]") and the
 * config file ("[profile name]", "[default]"). Not libinih, which cuts lines
 * at 200 characters without a word: session tokens are longer.
 */
#ifndef PROTO_AWS_PROFILE_H
#define PROTO_AWS_PROFILE_H

#include <stdbool.h>

#include "base/macros.h"
#include "proto/slice.h"

/* Empty slices for what is absent. */
struct aws_profile {
	struct slice access_key_id;
	struct slice secret_access_key;
	struct slice session_token;
	struct slice region;
	struct slice endpoint_url;
	struct slice ca_bundle;
};

/**
 * aws_profile_find() - one profile of a file
 * @text: the file; the result points into it
 * @config: it is a config file, whose sections are named "profile NAME"
 * @ret_line: with -EBADMSG the offending line, from 1
 *
 * "key = value" lines; lines that start with '#' or ';' or with space (nested
 * settings) are skipped, as are keys we do not use; the last of equal keys
 * counts, and sections of one name add up.
 *
 * Return: 0, -ENOENT (no such section), -EBADMSG (neither a section, a
 * setting nor a comment).
 */
int aws_profile_find(struct slice text, struct slice name, bool config,
		     struct aws_profile *ret_profile,
		     unsigned int *ret_line) MUST_CHECK;

#endif
