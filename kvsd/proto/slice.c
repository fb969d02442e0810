/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/slice.h"

#include "base/macros.h"

static unsigned char to_lower(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (unsigned char)(c - 'A' + 'a');
	return (unsigned char)c;
}

bool slice_eq_nocase(struct slice s, struct slice t)
{
	size_t i;

	if (s.len != t.len)
		return false;
	for (i = 0; i < s.len; i++) {
		if (to_lower(s.ptr[i]) != to_lower(t.ptr[i]))
			return false;
	}
	return true;
}

int slice_compare(struct slice s, struct slice t)
{
	size_t common = MIN(s.len, t.len);
	int r = common ? memcmp(s.ptr, t.ptr, common) : 0;

	if (r)
		return r;
	return (s.len > t.len) - (s.len < t.len);
}

struct slice slice_cut(struct slice *s, char c)
{
	const char *at = s->len ? memchr(s->ptr, c, s->len) : NULL;
	struct slice before = *s;

	if (!at) {
		*s = (struct slice){ NULL, 0 };
		return before;
	}
	before.len = (size_t)(at - s->ptr);
	s->ptr = at + 1;
	s->len -= before.len + 1;
	return before;
}
