/* SPDX-License-Identifier: Apache-2.0 */
#include "base/parse.h"

#include <errno.h>
#include <string.h>

int parse_u64(const char *s, size_t len, uint64_t max, uint64_t *ret_value)
{
	uint64_t v = 0;
	size_t i;

	if (!len)
		return -EINVAL;
	for (i = 0; i < len; i++) {
		unsigned int d = (unsigned char)s[i] - (unsigned int)'0';

		if (d > 9)
			return -EINVAL;
		if (v > (UINT64_MAX - d) / 10)
			return -ERANGE;
		v = v * 10 + d;
	}
	if (v > max)
		return -ERANGE;
	*ret_value = v;
	return 0;
}

struct unit {
	const char *name;
	uint64_t factor;
};

static int parse_scaled(const char *s, const struct unit *units, size_t count,
			uint64_t *ret_value)
{
	size_t digits = strspn(s, "0123456789");
	uint64_t v;
	size_t i;
	int r;

	r = parse_u64(s, digits, UINT64_MAX, &v);
	if (r < 0)
		return r;
	for (i = 0; i < count; i++) {
		if (strcmp(s + digits, units[i].name) != 0)
			continue;
		if (v > UINT64_MAX / units[i].factor)
			return -ERANGE;
		*ret_value = v * units[i].factor;
		return 0;
	}
	return -EINVAL;
}

int parse_duration_ns(const char *s, uint64_t *ret_ns)
{
	static const struct unit units[] = {
		{ "us", 1000u },
		{ "ms", 1000000u },
		{ "s", 1000000000u },
		{ "min", 60000000000u },
		{ "h", 3600000000000u },
	};

	return parse_scaled(s, units, ARRAY_SIZE(units), ret_ns);
}

int parse_bytes(const char *s, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
		{ "", 1 },
		{ "K", 1024u },
		{ "M", 1024u * 1024u },
		{ "G", 1024u * 1024u * 1024u },
	};

	return parse_scaled(s, units, ARRAY_SIZE(units), ret_bytes);
}
