/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/control_check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "core/limits.h"

/*
 * ASCII is checked against the pattern; any other character is taken, since
 * \p{L}, \p{Z} and \p{N} would need the tables of Unicode. jansson has seen
 * to it that the text is UTF-8.
 */
static bool text_ok(const char *s, size_t min, size_t max)
{
	size_t chars = 0;

	for (; *s; s++) {
		uint8_t c = (uint8_t)*s;
		bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			     (c >= 'A' && c <= 'Z');

		if (c < 0x80 && !plain && !strchr(" _.:/=+-@", c))
			return false;
		chars += (c & 0xc0) != 0x80;
	}
	return chars >= min && chars <= max;
}

int control_check_tags(const json_t *tags)
{
	const char *key;
	json_t *value;

	if (json_object_size(tags) > TAGS_PER_STREAM_MAX)
		return -E2BIG;
	if (!json_object_size(tags))
		return -EINVAL; /* the model: 1 to 50 entries */
	/* jansson's iteration does not write through the object. */
	json_object_foreach((json_t *)(uintptr_t)tags, key, value)
	{
		if (!json_is_string(value) ||
		    strlen(json_string_value(value)) !=
			    json_string_length(value) ||
		    !text_ok(key, 1, TAG_NAME_BYTES_MAX) ||
		    !text_ok(json_string_value(value), 0, TAG_VALUE_BYTES_MAX))
			return -EINVAL;
	}
	return 0;
}
