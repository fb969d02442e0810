/* SPDX-License-Identifier: Apache-2.0 */
/* Names and ARNs: the patterns and lengths of the service models. */
#ifndef PROTO_NAMES_H
#define PROTO_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/macros.h"
#include "proto/limits.h"
#include "proto/slice.h"

bool name_stream_valid(struct slice s);	/* [a-zA-Z0-9_.-]{1,256} */
bool name_device_valid(struct slice s);	/* [a-zA-Z0-9_.-]{1,128} */
/* "video/h264,audio/aac": 1..128 characters */
bool name_media_type_valid(struct slice s);
bool name_kms_key_valid(struct slice s); /* .{1,2048}: no line ends */
bool name_version_valid(struct slice s); /* [a-zA-Z0-9]{1,64} */
bool name_region_valid(struct slice s);	/* [a-z0-9-]{1,64} */
bool name_account_valid(struct slice s); /* twelve digits */

/* arn:{partition}:kinesisvideo:{region}:{account}:stream/{name}/{created_ms} */
struct stream_arn {
	struct slice partition;	/* "aws" */
	struct slice region;
	struct slice account;
	struct slice name;
	uint64_t created_ms;	/* epoch; names the incarnation of the name */
};

/**
 * stream_arn_parse() - take an ARN apart
 * @ret_arn: slices point into @s
 *
 * Return: 0, -EINVAL (not the ARN of a stream).
 */
int stream_arn_parse(struct slice s, struct stream_arn *ret_arn) MUST_CHECK;

/* Appends the ARN. Return: 0, -EINVAL (a part is invalid), -ENOBUFS, -ENOMEM. */
int stream_arn_format(struct buf *b, const struct stream_arn *arn) MUST_CHECK;

/* --- versions: opaque to clients, different after each change --- */

#define VERSION_CHARS 20u

/* Twenty characters of [a-zA-Z0-9] from 16 random bytes. */
void version_format(const uint8_t random[16], char out[VERSION_CHARS + 1]);

#endif
