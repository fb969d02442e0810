/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value out of a JSON document (RFC 8259) without building a tree: what a
 * device needs of the control plane's short replies. The document is checked
 * only as far as the value lies; nesting is bounded by JSON_DEPTH_MAX.
 */
#ifndef PROTO_JSON_FIND_H
#define PROTO_JSON_FIND_H

#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/slice.h"

#define JSON_DEPTH_MAX 32u

/**
 * json_find() - the text of a member's value
 * @path: names joined by dots: "StreamInfo.Status"; the document must be an
 *	object
 * @ret_value: the value as it stands, quotes included; points into @doc
 *
 * Return: 0, -ENOENT (no such member), -EBADMSG (not JSON up to there).
 */
int json_find(struct slice doc, const char *path,
	      struct slice *ret_value) MUST_CHECK;

/**
 * json_text() - decode a string's value into @out, NUL-terminated
 *
 * Return: its length, -EINVAL (not a string, a bad escape, U+0000),
 * -ENOBUFS.
 */
int json_text(struct slice value, char *out, size_t size) MUST_CHECK;

/* json_find() and json_text() in one. */
int json_find_string(struct slice doc, const char *path, char *out,
		     size_t size) MUST_CHECK;

/* A number without sign, fraction and exponent. As json_find(), or -EINVAL. */
int json_find_u64(struct slice doc, const char *path,
		  uint64_t *ret_value) MUST_CHECK;

#endif
