/* SPDX-License-Identifier: Apache-2.0 */
#include "kvsctl/doctor_names.h"

#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"

#define LABEL_CHARS 17

/* --- as udev writes them -----------------------------------------------------
 */

/* Of a character that is valid UTF-8 of more than one byte; 0: it is not. */
static size_t utf8_bytes(const char *s)
{
	unsigned char c = (unsigned char)*s;
	size_t len = c >= 0xc2 && c < 0xe0   ? 2
		     : c >= 0xe0 && c < 0xf0 ? 3
		     : c >= 0xf0 && c < 0xf5 ? 4
					     : 0;

	for (size_t i = 1; i < len; i++) {
		if (((unsigned char)s[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

/* How many bytes at @s stay as they are. */
static size_t allowed_bytes(const char *s)
{
	if (isalnum((unsigned char)*s) || (*s && strchr("#+-.:=@_", *s)))
		return 1;
	return utf8_bytes(s);
}

static bool is_hex(const char *s)
{
	return s[0] == '\\' && s[1] == 'x' && isxdigit((unsigned char)s[2]) &&
	       isxdigit((unsigned char)s[3]);
}

static bool is_blank(char c)
{
	return c && strchr(" \t\n\r\v\f", c);
}

/* As $attr{name} goes into a SYMLINK. */
static void replaced(const char *name, char *out, size_t size)
{
	size_t end = strlen(name);
	size_t len = 0;
	size_t i = 0;

	while (end && is_blank(name[end - 1]))
		end--;
	while (is_blank(name[i]))
		i++;
	while (i < end && len + 5 < size) {
		size_t keep = is_hex(name + i) ? 4 : allowed_bytes(name + i);
		bool blank = is_blank(name[i]);

		if (keep) {
			memcpy(out + len, name + i, keep);
			len += keep;
			i += keep;
			continue;
		}
		out[len++] = '_';
		do {
			i++;
		} while (blank && is_blank(name[i]));
	}
	out[len] = '\0';
}

/* As ENV{..._ENC} has it. */
static void encoded(const char *name, char *out, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; name[i] && len + 5 < size;) {
		size_t keep = allowed_bytes(name + i);

		if (keep) {
			memcpy(out + len, name + i, keep);
			len += keep;
			i += keep;
		} else {
			len += (size_t)snprintf(out + len, size - len,
						"\\x%02x",
						(unsigned char)name[i++]);
		}
	}
	out[len] = '\0';
}

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(end);

	return len && strlen(text) > len &&
	       !strcmp(text + strlen(text) - len, end);
}

bool doctor_link_has_name(const char *link, const char *name)
{
	char text[PATH_MAX];

	replaced(name, text, sizeof(text));
	if (ends_with(link, text))
		return true;
	encoded(name, text, sizeof(text));
	return ends_with(link, text);
}

/* --- names for sections ------------------------------------------------------
 */

void doctor_source_name(const char *label, const char *identity,
			char out[DOCTOR_SOURCE_CHARS])
{
	uint32_t crc = crc32c(0, identity, strlen(identity));
	size_t len = 0;

	for (; *label && len < LABEL_CHARS; label++) {
		char c = *label;

		if (isalnum((unsigned char)c) || c == '.')
			out[len++] = (char)tolower((unsigned char)c);
		else if (len && out[len - 1] != '-')
			out[len++] = '-';
	}
	while (len && (out[len - 1] == '-' || out[len - 1] == '.'))
		len--;
	if (!len) {
		memcpy(out, "camera", 6);
		len = 6;
	}
	(void)snprintf(out + len, DOCTOR_SOURCE_CHARS - len, "-%06x",
		       (unsigned int)(crc & 0xffffff));
}
