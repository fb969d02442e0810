/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_find.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/parse.h"

struct scan {
	const char *at;
	const char *end;
};

static void skip_space(struct scan *s)
{
	while (s->at < s->end && (*s->at == ' ' || *s->at == '\t' ||
				  *s->at == '\n' || *s->at == '\r'))
		s->at++;
}

static bool take(struct scan *s, char c)
{
	skip_space(s);
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

/* Over a string, its quotes included. */
static int skip_string(struct scan *s)
{
	if (!take(s, '"'))
		return -EBADMSG;
	while (s->at < s->end && *s->at != '"') {
		if (*s->at == '\\')
			s->at++;
		else if ((unsigned char)*s->at < 0x20)
			return -EBADMSG;
		if (s->at < s->end)
			s->at++;
	}
	return take(s, '"') ? 0 : -EBADMSG;
}

static bool is_literal_char(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || c == '-' ||
	       c == '+' || c == '.' || c == 'E';
}

/* Over a number, true, false or null. */
static int skip_literal(struct scan *s)
{
	const char *start = s->at;

	while (s->at < s->end && is_literal_char(*s->at))
		s->at++;
	return s->at > start ? 0 : -EBADMSG;
}

/*
 * Over any value. Brackets are counted, not matched by kind: what is skipped
 * is nobody's data.
 */
static int skip_value(struct scan *s)
{
	unsigned int depth = 0;
	int r = 0;

	do {
		skip_space(s);
		if (s->at == s->end)
			return -EBADMSG;
		switch (*s->at) {
		case '{':
		case '[':
			if (++depth > JSON_DEPTH_MAX)
				return -EBADMSG;
			s->at++;
			break;
		case '}':
		case ']':
			if (!depth--)
				return -EBADMSG;
			s->at++;
			break;
		case ',':
		case ':':
			if (!depth)
				return -EBADMSG;
			s->at++;
			break;
		case '"':
			r = skip_string(s);
			break;
		default:
			r = skip_literal(s);
			break;
		}
	} while (r == 0 && depth);
	return r;
}

/* Leaves @s before the value of @name in the object that starts here. */
static int find_member(struct scan *s, struct slice name)
{
	if (!take(s, '{'))
		return -EBADMSG;
	if (take(s, '}'))
		return -ENOENT;
	for (;;) {
		struct slice key;
		int r;

		skip_space(s);
		key.ptr = s->at + 1;
		r = skip_string(s);
		if (r < 0 || !take(s, ':'))
			return -EBADMSG;
		key.len = (size_t)(s->at - key.ptr);
		while (key.len && key.ptr[key.len - 1] != '"')
			key.len--;
		key.len -= key.len > 0;
		if (slice_eq(key, name))
			return 0;
		r = skip_value(s);
		if (r < 0)
			return r;
		if (take(s, '}'))
			return -ENOENT;
		if (!take(s, ','))
			return -EBADMSG;
	}
}

int json_find(struct slice doc, const char *path, struct slice *ret_value)
{
	struct scan s = { doc.ptr, doc.ptr + doc.len };
	struct slice rest = slice_of(path);
	int r;

	if (!doc.len)
		return -EBADMSG;
	while (rest.len) {
		r = find_member(&s, slice_cut(&rest, '.'));
		if (r < 0)
			return r;
	}
	skip_space(&s);
	ret_value->ptr = s.at;
	r = skip_value(&s);
	if (r < 0)
		return r;
	ret_value->len = (size_t)(s.at - ret_value->ptr);
	return 0;
}

/* --- strings --------------------------------------------------------------- */

static int hex4(const char *p, uint32_t *ret)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		v <<= 4;
		if (c >= '0' && c <= '9')
			v |= (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v |= (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v |= (uint32_t)(c - 'A' + 10);
		else
			return -EINVAL;
	}
	*ret = v;
	return 0;
}

/* Reads after "\u"; a surrogate pair is one code point. */
static int unicode_escape(struct scan *s, uint32_t *ret)
{
	uint32_t low;

	if (s->end - s->at < 4 || hex4(s->at, ret) < 0)
		return -EINVAL;
	s->at += 4;
	if (*ret < 0xd800 || *ret > 0xdfff)
		return *ret ? 0 : -EINVAL;
	if (*ret > 0xdbff || s->end - s->at < 6 || s->at[0] != '\\' ||
	    s->at[1] != 'u' || hex4(s->at + 2, &low) < 0 || low < 0xdc00 ||
	    low > 0xdfff)
		return -EINVAL;
	s->at += 6;
	*ret = 0x10000 + ((*ret - 0xd800) << 10) + (low - 0xdc00);
	return 0;
}

static size_t utf8(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

/* One character of a string, escaped or not. */
static int next_char(struct scan *s, char out[4], size_t *ret_len)
{
	static const char names[] = "\"\\/bfnrt";
	static const char values[] = "\"\\/\b\f\n\r\t";
	const char *name;
	uint32_t c;
	int r;

	*ret_len = 1;
	out[0] = *s->at++;
	if (out[0] != '\\')
		return 0;
	if (s->at == s->end)
		return -EINVAL;
	if (*s->at == 'u') {
		s->at++;
		r = unicode_escape(s, &c);
		if (r == 0)
			*ret_len = utf8(c, out);
		return r;
	}
	name = memchr(names, *s->at++, sizeof(names) - 1);
	if (!name)
		return -EINVAL;
	out[0] = values[name - names];
	return 0;
}

int json_text(struct slice value, char *out, size_t size)
{
	struct scan s;
	size_t len = 0;

	if (value.len < 2 || value.ptr[0] != '"' ||
	    value.ptr[value.len - 1] != '"')
		return -EINVAL;
	s.at = value.ptr + 1;
	s.end = value.ptr + value.len - 1;
	while (s.at < s.end) {
		char c[4];
		size_t n;
		int r = next_char(&s, c, &n);

		if (r < 0)
			return r;
		if (len + n >= size)
			return -ENOBUFS;
		memcpy(out + len, c, n);
		len += n;
	}
	if (len >= size)
		return -ENOBUFS;
	out[len] = '\0';
	return (int)len;
}

int json_find_string(struct slice doc, const char *path, char *out, size_t size)
{
	struct slice value;
	int r = json_find(doc, path, &value);

	return r < 0 ? r : json_text(value, out, size);
}

int json_find_u64(struct slice doc, const char *path, uint64_t *ret_value)
{
	struct slice value;
	int r = json_find(doc, path, &value);

	if (r < 0)
		return r;
	return parse_u64(value.ptr, value.len, UINT64_MAX, ret_value) < 0 ?
		       -EINVAL : 0;
}
