/* SPDX-License-Identifier: Apache-2.0 */
#include "src/media_text.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

/* How much of the text an explanation shows. */
#define SHOWN_CHARS 40

struct cursor {
	const char *at;
	char *why;
};

void media_say(char *why, const char *fmt, ...)
{
	va_list ap;

	if (!why)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(why, CAPTURE_MEDIA_WHY_BYTES, fmt, ap);
	va_end(ap);
}

static int expected(const struct cursor *c, const char *what)
{
	if (*c->at)
		media_say(c->why, "expected %s at '%.*s'", what, SHOWN_CHARS,
			  c->at);
	else
		media_say(c->why, "expected %s at the end", what);
	return -EINVAL;
}

static void skip_space(struct cursor *c)
{
	while (isspace((unsigned char)*c->at))
		c->at++;
}

static bool take(struct cursor *c, const char *token)
{
	size_t len = strlen(token);

	skip_space(c);
	if (strncmp(c->at, token, len) != 0)
		return false;
	c->at += len;
	return true;
}

static int need(struct cursor *c, const char *token)
{
	char what[16];

	if (take(c, token))
		return 0;
	(void)snprintf(what, sizeof(what), "'%s'", token);
	return expected(c, what);
}

static int take_number(struct cursor *c, uint32_t max, uint32_t *ret)
{
	size_t len = 0;
	uint64_t value;

	skip_space(c);
	while (isdigit((unsigned char)c->at[len]))
		len++;
	if (parse_u64(c->at, len, max, &value) < 0)
		return expected(c, "a number");
	c->at += len;
	*ret = (uint32_t)value;
	return 0;
}

static int take_signed(struct cursor *c, int32_t *ret)
{
	bool negative = take(c, "-");
	uint32_t value;
	int r;

	r = take_number(c, INT32_MAX, &value);
	if (r == 0)
		*ret = negative ? -(int32_t)value : (int32_t)value;
	return r;
}

/* WIDTHxHEIGHT */
static int take_size(struct cursor *c, uint32_t *width, uint32_t *height)
{
	int r;

	r = take_number(c, CAPTURE_SIDE_MAX, width);
	if (r == 0)
		r = need(c, "x");
	if (r == 0)
		r = take_number(c, CAPTURE_SIDE_MAX, height);
	if (r == 0 && (!*width || !*height)) {
		media_say(c->why, "a size of 0");
		r = -EINVAL;
	}
	return r;
}

static int take_name(struct cursor *c, struct media_pad_ref *ref)
{
	const char quote = *c->at;
	const char *end = strchr(c->at + 1, quote);
	size_t len;

	if (!end)
		return expected(c, "a name with both its quotes");
	len = (size_t)(end - c->at - 1);
	if (!len || len >= sizeof(ref->name))
		return expected(c, "a name of 1 to 63 characters");
	memcpy(ref->name, c->at + 1, len);
	ref->name[len] = '\0';
	c->at = end + 1;
	return 0;
}

static int take_pad(struct cursor *c, struct media_pad_ref *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	skip_space(c);
	if (*c->at == '\'' || *c->at == '"')
		r = take_name(c, ret);
	else if (isdigit((unsigned char)*c->at))
		r = take_number(c, UINT32_MAX, &ret->id);
	else
		return expected(c, "an entity, a name in quotes or a number,");
	if (r == 0)
		r = need(c, ":");
	return r == 0 ? take_number(c, UINT16_MAX, &ret->pad) : r;
}

static int take_link(struct cursor *c, struct media_link_text *ret)
{
	uint32_t on;
	int r;

	r = take_pad(c, &ret->source);
	if (r == 0)
		r = need(c, "->");
	if (r == 0)
		r = take_pad(c, &ret->sink);
	if (r == 0)
		r = need(c, "[");
	if (r < 0)
		return r;
	if (take_number(c, 1, &on) < 0)
		return expected(c, "0 or 1");
	ret->enable = on;
	return need(c, "]");
}

static size_t word_length(const char *text)
{
	size_t len = 0;

	while (isalnum((unsigned char)text[len]) || text[len] == '_' ||
	       text[len] == '-')
		len++;
	return len;
}

/* One of @names (NULL: a number that nothing is called by), as its index. */
static int take_word(struct cursor *c, const char *const *names, size_t count,
		     const char *what, uint32_t *ret)
{
	size_t len = word_length(c->at);
	size_t i;

	for (i = 0; i < count; i++) {
		if (names[i] && strlen(names[i]) == len &&
		    memcmp(names[i], c->at, len) == 0) {
			c->at += len;
			*ret = (uint32_t)i;
			return 0;
		}
	}
	return expected(c, what);
}

/* "0x300f" */
static bool take_hex(struct cursor *c, size_t len, uint32_t *ret)
{
	uint32_t value = 0;
	size_t i;

	if (len < 3 || len > 10 || c->at[0] != '0' || c->at[1] != 'x')
		return false;
	for (i = 2; i < len; i++) {
		char d = (char)tolower((unsigned char)c->at[i]);

		if (!isxdigit((unsigned char)d))
			return false;
		value = value << 4 |
			(uint32_t)(d <= '9' ? d - '0' : d - 'a' + 10);
	}
	c->at += len;
	*ret = value;
	return true;
}

static int take_fmt(struct cursor *c, struct media_format_text *f)
{
	size_t len = word_length(c->at);
	int r;

	if (media_bus_code(c->at, len, &f->code))
		c->at += len;
	else if (!take_hex(c, len, &f->code))
		return expected(c, "a media bus format");
	r = need(c, "/");
	return r == 0 ? take_size(c, &f->width, &f->height) : r;
}

/* (LEFT,TOP)/WIDTHxHEIGHT */
static int take_rect(struct cursor *c, struct media_rect *rect)
{
	int r;

	r = need(c, "(");
	if (r == 0)
		r = take_signed(c, &rect->left);
	if (r == 0)
		r = need(c, ",");
	if (r == 0)
		r = take_signed(c, &rect->top);
	if (r == 0)
		r = need(c, ")");
	if (r == 0)
		r = need(c, "/");
	return r == 0 ? take_size(c, &rect->width, &rect->height) : r;
}

static int take_interval(struct cursor *c, struct media_format_text *f)
{
	int r;

	r = take_number(c, INT32_MAX, &f->interval_num);
	if (r == 0)
		r = need(c, "/");
	if (r == 0)
		r = take_number(c, INT32_MAX, &f->interval_den);
	if (r == 0 && (!f->interval_num || !f->interval_den)) {
		media_say(c->why, "a frame interval of 0");
		r = -EINVAL;
	}
	return r;
}

static const char *const field_names[] = {
	"any",	  "none",   "top",	 "bottom",	  "interlaced",
	"seq-tb", "seq-bt", "alternate", "interlaced-tb", "interlaced-bt"};

static const char *const colorspace_names[] = {
	"default", "smpte170m", "smpte240m", "rec709", NULL,  "470m", "470bg",
	"jpeg",	   "srgb",	"oprgb",     "bt2020", "raw", "dcip3"};

/* One property: MEDIA_*, or an errno. */
static int take_property(struct cursor *c, struct media_format_text *f)
{
	int r;

	if (take(c, "fmt:")) {
		r = take_fmt(c, f);
		return r < 0 ? r : MEDIA_FMT;
	}
	if (take(c, "field:")) {
		r = take_word(c, field_names, ARRAY_SIZE(field_names),
			      "a field order", &f->field);
		return r < 0 ? r : MEDIA_FIELD;
	}
	if (take(c, "colorspace:")) {
		r = take_word(c, colorspace_names, ARRAY_SIZE(colorspace_names),
			      "a colorspace", &f->colorspace);
		return r < 0 ? r : MEDIA_COLORSPACE;
	}
	if (take(c, "crop:")) {
		r = take_rect(c, &f->crop);
		return r < 0 ? r : MEDIA_CROP;
	}
	if (take(c, "compose:")) {
		r = take_rect(c, &f->compose);
		return r < 0 ? r : MEDIA_COMPOSE;
	}
	if (take(c, "@")) {
		r = take_interval(c, f);
		return r < 0 ? r : MEDIA_INTERVAL;
	}
	return expected(c, "fmt:, field:, colorspace:, crop:, compose: or @");
}

static int take_format(struct cursor *c, struct media_format_text *ret)
{
	int r;

	memset(ret, 0, sizeof(*ret));
	r = take_pad(c, &ret->pad);
	if (r == 0)
		r = need(c, "[");
	while (r == 0 && !take(c, "]")) {
		r = take_property(c, ret);
		if (r < 0)
			return r;
		if (ret->given & (uint32_t)r) {
			media_say(c->why, "a property is given twice");
			return -EINVAL;
		}
		ret->given |= (uint32_t)r;
		r = 0;
	}
	if (r == 0 && !ret->given)
		return expected(c, "a property in the brackets before this");
	if (r == 0 && (ret->given & (MEDIA_FIELD | MEDIA_COLORSPACE)) &&
	    !(ret->given & MEDIA_FMT)) {
		media_say(c->why, "field and colorspace belong to a fmt");
		return -EINVAL;
	}
	return r;
}

/* Whether one more setting follows: 1, 0 at the end, or the errno. */
static int next(struct cursor *c, size_t count)
{
	skip_space(c);
	if (!*c->at)
		return 0;
	if (count == CAPTURE_MEDIA_SETTINGS_MAX) {
		media_say(c->why, "more than %d settings",
			  CAPTURE_MEDIA_SETTINGS_MAX);
		return -E2BIG;
	}
	if (count) {
		int r = need(c, ",");

		if (r < 0)
			return r;
	}
	return 1;
}

static int begin(struct cursor *c, const char *text, char *why)
{
	c->at = text ? text : "";
	c->why = why;
	if (strnlen(c->at, CAPTURE_MEDIA_TEXT_BYTES_MAX + 1) <=
	    CAPTURE_MEDIA_TEXT_BYTES_MAX)
		return 0;
	media_say(why, "the text is too long");
	return -E2BIG;
}

int media_links_parse(const char *text, struct media_link_text *ret,
		      size_t *ret_count, char *why)
{
	struct cursor c;
	size_t count = 0;
	int r;

	r = begin(&c, text, why);
	if (r < 0)
		return r;
	while ((r = next(&c, count)) == 1) {
		r = take_link(&c, &ret[count]);
		if (r < 0)
			return r;
		count++;
	}
	if (r == 0)
		*ret_count = count;
	return r;
}

int media_formats_parse(const char *text, struct media_format_text *ret,
			size_t *ret_count, char *why)
{
	struct cursor c;
	size_t count = 0;
	int r;

	r = begin(&c, text, why);
	if (r < 0)
		return r;
	while ((r = next(&c, count)) == 1) {
		r = take_format(&c, &ret[count]);
		if (r < 0)
			return r;
		count++;
	}
	if (r == 0)
		*ret_count = count;
	return r;
}
