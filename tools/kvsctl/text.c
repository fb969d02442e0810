/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/parse.h"
#include "kvsctl/limits.h"
#include "proto/epoch.h"
#include "proto/mkv.h"

int text_time(const char *text, uint64_t now_ms, uint64_t *ret_ms)
{
	uint64_t ns;

	if (strcmp(text, "now") == 0) {
		*ret_ms = now_ms;
		return 0;
	}
	if (text[0] == '-') {
		if (parse_duration_ns(text + 1, &ns) < 0 ||
		    ns / 1000000 > now_ms)
			return -EINVAL;
		*ret_ms = now_ms - ns / 1000000;
		return 0;
	}
	if (epoch_ms_parse(slice_of(text), ret_ms) == 0)
		return 0;
	return epoch_iso_parse(slice_of(text), ret_ms);
}

int text_retention(const char *text, uint32_t *ret_hours)
{
	size_t digits = strspn(text, "0123456789");
	uint64_t factor = 1;
	uint64_t v;

	if (parse_u64(text, digits, UINT32_MAX, &v) < 0)
		return -EINVAL;
	if (strcmp(text + digits, "d") == 0)
		factor = 24;
	else if (strcmp(text + digits, "h") != 0 && strcmp(text, "0") != 0)
		return -EINVAL;
	if (v * factor > CTL_RETENTION_HOURS_MAX)
		return -ERANGE;
	*ret_hours = (uint32_t)(v * factor);
	return 0;
}

/* 1..128 characters, each a digit or one of @others. */
static int check_word(const char *text, const char *others)
{
	size_t len = strlen(text);
	size_t i;

	if (!len || len > 128)
		return -EINVAL;
	for (i = 0; i < len; i++) {
		if ((text[i] < '0' || text[i] > '9') &&
		    !strchr(others, text[i]))
			return -EINVAL;
	}
	return 0;
}

int text_start(const char *text, uint64_t now_ms, struct start *ret_start)
{
	static const struct {
		const char *prefix;
		enum start_kind kind;
	} forms[] = {
		{ "fragment:", START_FRAGMENT },
		{ "server:", START_SERVER_TIME },
		{ "producer:", START_PRODUCER_TIME },
		{ "token:", START_TOKEN },
	};
	struct start s = { 0 };
	const char *rest;
	size_t i;
	int r = 0;

	if (strcasecmp(text, "NOW") == 0 || strcasecmp(text, "EARLIEST") == 0) {
		s.kind = strcasecmp(text, "NOW") == 0 ? START_NOW :
							START_EARLIEST;
		*ret_start = s;
		return 0;
	}
	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		if (strncmp(text, forms[i].prefix, strlen(forms[i].prefix)) ==
		    0)
			break;
	}
	if (i == ARRAY_SIZE(forms))
		return -EINVAL;
	rest = text + strlen(forms[i].prefix);
	s.kind = forms[i].kind;
	if (s.kind == START_FRAGMENT)
		r = check_word(rest, "");
	else if (s.kind == START_TOKEN)
		r = check_word(rest, "abcdefghijklmnopqrstuvwxyz"
				     "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-");
	else
		r = text_time(rest, now_ms, &s.ms);
	if (r < 0)
		return -EINVAL;
	s.text = rest;
	*ret_start = s;
	return 0;
}

void text_size(uint64_t bytes, char out[TEXT_SIZE_CHARS])
{
	static const char *const units[] = { "kB", "MB", "GB", "TB", "PB",
					     "EB" };
	uint64_t tenths = bytes / 100;
	size_t unit = 0;

	if (bytes < 1000) {
		(void)snprintf(out, TEXT_SIZE_CHARS, "%u B",
			       (unsigned int)bytes);
		return;
	}
	while (tenths >= 10000 && unit + 1 < ARRAY_SIZE(units)) {
		tenths /= 1000;
		unit++;
	}
	(void)snprintf(out, TEXT_SIZE_CHARS, "%u.%u %s",
		       (unsigned int)(tenths / 10), (unsigned int)(tenths % 10),
		       units[unit]);
}

void text_span(uint64_t ms, char out[TEXT_SPAN_CHARS])
{
	uint64_t s = ms / 1000;

	if (s < 60)
		(void)snprintf(out, TEXT_SPAN_CHARS, "%u.%03u s",
			       (unsigned int)s, (unsigned int)(ms % 1000));
	else
		(void)snprintf(out, TEXT_SPAN_CHARS, "%llu:%02u:%02u",
			       (unsigned long long)(s / 3600),
			       (unsigned int)(s / 60 % 60),
			       (unsigned int)(s % 60));
}

/* Bytes of the UTF-8 sequence at @s (RFC 3629); 0: it is none. */
static size_t sequence_bytes(const unsigned char *s)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t code;
	size_t bytes;
	size_t i;

	if (s[0] < 0x80)
		return 1;
	bytes = (s[0] & 0xe0) == 0xc0	? 2
		: (s[0] & 0xf0) == 0xe0 ? 3
		: (s[0] & 0xf8) == 0xf0 ? 4
					: 0;
	code = bytes ? s[0] & (0x7fu >> bytes) : 0;
	for (i = 1; i < bytes; i++) {
		if ((s[i] & 0xc0) != 0x80) /* the text's end too */
			return 0;
		code = code << 6 | (s[i] & 0x3fu);
	}
	if (!bytes || code < least[bytes] || code > 0x10ffff ||
	    (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return bytes;
}

void text_utf8(const char *text, char *out, size_t size)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t used = 0;

	while (*s) {
		size_t bytes = sequence_bytes(s);

		if (used + (bytes ? bytes : 1) >= size)
			break;
		if (bytes)
			memcpy(out + used, s, bytes);
		else
			out[used] = '?';
		used += bytes ? bytes : 1;
		s += bytes ? bytes : 1;
	}
	out[used] = '\0';
}

bool text_of_tag(const struct mkv_tag *tag, const char *name, char *out,
		 size_t size)
{
	if (tag->name_len != strlen(name) ||
	    memcmp(tag->name, name, tag->name_len) != 0 ||
	    tag->value_len >= size)
		return false;
	memcpy(out, tag->value, tag->value_len);
	out[tag->value_len] = '\0';
	return true;
}
