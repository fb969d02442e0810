/* SPDX-License-Identifier: Apache-2.0 */
/* A piece of someone else's text: not NUL-terminated, owned elsewhere. */
#ifndef PROTO_SLICE_H
#define PROTO_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
	const char *ptr;	/* NULL only together with len 0 */
	size_t len;
};

/* The slice of a string literal; the second form initialises static tables. */
#define SLICE(literal) ((struct slice)SLICE_INIT(literal))
#define SLICE_INIT(literal) { (literal), sizeof(literal) - 1 }

static inline struct slice slice_of(const char *s)
{
	return (struct slice){ s, strlen(s) };
}

static inline bool slice_eq(struct slice s, struct slice t)
{
	return s.len == t.len && (!s.len || memcmp(s.ptr, t.ptr, s.len) == 0);
}

static inline bool slice_is(struct slice s, const char *text)
{
	return slice_eq(s, slice_of(text));
}

/* ASCII letters only; no locale. */
bool slice_eq_nocase(struct slice s, struct slice t);

/* Total order by bytes, shorter first when one is the other's start. */
int slice_compare(struct slice s, struct slice t);

/**
 * slice_cut() - split at the first @c
 * @s: what follows @c remains in it, empty when there was none
 *
 * Return: what was before @c.
 */
struct slice slice_cut(struct slice *s, char c);

#endif
