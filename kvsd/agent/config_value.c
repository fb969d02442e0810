/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/config_value.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "core/limits.h"

#define LIST_CHARS 160u

int wrong(struct why *w, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(w->text, w->size, fmt, args);
	va_end(args);
	return -EINVAL;
}

int take_text(char *out, size_t size, const char *v, struct why *w)
{
	size_t len = strlen(v);

	if (!len || len >= size)
		return wrong(w, "1 to %zu characters", size - 1);
	memcpy(out, v, len + 1);
	return 0;
}

int take_path(char *out, size_t size, const char *v, struct why *w)
{
	if (v[0] != '/')
		return wrong(w, "a path that starts with /");
	return take_text(out, size, v, w);
}

int take_bool(bool *out, const char *v, struct why *w)
{
	if (strcmp(v, "yes") != 0 && strcmp(v, "no") != 0)
		return wrong(w, "'%.40s' is neither yes nor no", v);
	*out = v[0] == 'y';
	return 0;
}

int take_duration(uint64_t *out, const char *v, uint64_t min_ns,
		  uint64_t max_ns, struct why *w)
{
	uint64_t ns = 0;

	if (parse_duration_ns(v, &ns) < 0)
		return wrong(w, "'%.40s' is not a duration (2s, 500ms, 24h)",
			     v);
	if (ns < min_ns || ns > max_ns)
		return wrong(w, "%llu ms to %llu ms",
			     (unsigned long long)(min_ns / NS_PER_MS),
			     (unsigned long long)(max_ns / NS_PER_MS));
	*out = ns;
	return 0;
}

int take_number(uint64_t *out, const char *v, uint64_t min, uint64_t max,
		struct why *w)
{
	uint64_t n = 0;

	if (parse_u64(v, strlen(v), UINT64_MAX, &n) < 0)
		return wrong(w, "'%.40s' is not a number", v);
	if (n < min || n > max)
		return wrong(w, "%llu to %llu", (unsigned long long)min,
			     (unsigned long long)max);
	*out = n;
	return 0;
}

int take_u32(uint32_t *out, const char *v, uint32_t min, uint32_t max,
	     struct why *w)
{
	uint64_t n = 0;
	int r = take_number(&n, v, min, max, w);

	if (r == 0)
		*out = (uint32_t)n;
	return r;
}

int take_choice(unsigned int *out, const char *const *names, size_t count,
		const char *v, struct why *w)
{
	char list[LIST_CHARS] = "";
	size_t len = 0;

	for (size_t i = 0; i < count; i++) {
		if (!names[i])
			continue;
		if (strcmp(v, names[i]) == 0) {
			*out = (unsigned int)i;
			return 0;
		}
		if (len < sizeof(list))
			len += (size_t)snprintf(list + len, sizeof(list) - len,
						"%s%s", len ? ", " : "",
						names[i]);
	}
	return wrong(w, "'%.40s' is none of %s", v, list);
}

int take_pair(const char *v, char separator, uint64_t max, uint64_t *ret_a,
	      uint64_t *ret_b)
{
	const char *at = strchr(v, separator);

	if (!at || parse_u64(v, (size_t)(at - v), max, ret_a) < 0 ||
	    parse_u64(at + 1, strlen(at + 1), max, ret_b) < 0 || !*ret_a ||
	    !*ret_b)
		return -EINVAL;
	return 0;
}

int take_fourcc(uint32_t *out, const char *v, struct why *w)
{
	size_t len = strlen(v);

	if (strcmp(v, "auto") == 0) {
		*out = 0;
		return 0;
	}
	if (len < 3 || len > 4)
		return wrong(w, "auto, or four characters as YU12, NV12, YUYV");
	/* Codes of three characters end with a space: "Y16 ". */
	*out = (uint32_t)(uint8_t)v[0] | (uint32_t)(uint8_t)v[1] << 8 |
	       (uint32_t)(uint8_t)v[2] << 16 |
	       (uint32_t)(uint8_t)(len == 4 ? v[3] : ' ') << 24;
	return 0;
}
