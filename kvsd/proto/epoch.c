/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/epoch.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/parse.h"

#define SECONDS_PER_DAY 86400u

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";

/* A moment in UTC, Gregorian. */
struct civil {
	unsigned int year;
	unsigned int month;	/* 1..12 */
	unsigned int day;	/* 1..31 */
	unsigned int hour;
	unsigned int minute;
	unsigned int second;
	unsigned int ms;
};

/*
 * Days since 1970-01-01, counted in years that start on 1 March, so that the
 * leap day comes last.
 */
static uint64_t days_of(unsigned int year, unsigned int month,
			unsigned int day)
{
	uint64_t y = month > 2 ? year : year - 1;
	uint64_t m = month > 2 ? month - 3 : month + 9;

	return y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 +
	       day - 1 - 719468;
}

static bool civil_valid(const struct civil *c)
{
	static const unsigned int days[] = { 31, 29, 31, 30, 31, 30,
					     31, 31, 30, 31, 30, 31 };
	bool leap = c->year % 4 == 0 &&
		    (c->year % 100 != 0 || c->year % 400 == 0);

	return c->year >= 1970 && c->year <= 9999 && c->month >= 1 &&
	       c->month <= 12 && c->day >= 1 &&
	       c->day <= days[c->month - 1] &&
	       (c->month != 2 || c->day < 29 || leap) && c->hour < 24 &&
	       c->minute < 60 && c->second < 60;
}

static uint64_t civil_seconds(const struct civil *c)
{
	return days_of(c->year, c->month, c->day) * SECONDS_PER_DAY +
	       c->hour * 3600u + c->minute * 60u + c->second;
}

static struct civil civil_of(uint64_t s)
{
	uint64_t day = s / SECONDS_PER_DAY;
	unsigned int rest = (unsigned int)(s % SECONDS_PER_DAY);
	struct civil c = { .hour = rest / 3600,
			   .minute = rest / 60 % 60,
			   .second = rest % 60,
			   .year = 1970,
			   .month = 1 };

	assert(s <= EPOCH_S_MAX);
	c.year += (unsigned int)(day / 366);
	while (days_of(c.year + 1, 1, 1) <= day)
		c.year++;
	while (c.month < 12 && days_of(c.year, c.month + 1, 1) <= day)
		c.month++;
	c.day = (unsigned int)(day - days_of(c.year, c.month, 1)) + 1;
	return c;
}

static void put_digits(char *out, unsigned int value, size_t count)
{
	while (count--) {
		out[count] = (char)('0' + value % 10);
		value /= 10;
	}
}

static int get_digits(struct slice s, size_t at, size_t count,
		      unsigned int *ret_value)
{
	uint64_t v;

	if (at + count > s.len || parse_u64(s.ptr + at, count, 9999, &v) < 0)
		return -EINVAL;
	*ret_value = (unsigned int)v;
	return 0;
}

/* Reads "YYYYMMDD" parts at the given offsets, then the time's. */
static int get_civil(struct slice s, const size_t at[6], struct civil *c)
{
	if (get_digits(s, at[0], 4, &c->year) < 0 ||
	    get_digits(s, at[1], 2, &c->month) < 0 ||
	    get_digits(s, at[2], 2, &c->day) < 0 ||
	    get_digits(s, at[3], 2, &c->hour) < 0 ||
	    get_digits(s, at[4], 2, &c->minute) < 0 ||
	    get_digits(s, at[5], 2, &c->second) < 0 || !civil_valid(c))
		return -EINVAL;
	return 0;
}

/* ".5", ".513", ".513000": 1 to 9 digits, to milliseconds, cut. */
static int get_fraction(struct slice digits, unsigned int *ret_ms)
{
	unsigned int ms = 0;
	uint64_t v;
	size_t i;

	if (digits.len > 9 || parse_u64(digits.ptr, digits.len, UINT64_MAX,
					&v) < 0)
		return -EINVAL;
	for (i = 0; i < 3; i++) {
		ms *= 10;
		if (i < digits.len)
			ms += (unsigned int)(digits.ptr[i] - '0');
	}
	*ret_ms = ms;
	return 0;
}

int epoch_ms_parse(struct slice s, uint64_t *ret_ms)
{
	bool whole = !s.len || !memchr(s.ptr, '.', s.len);
	struct slice seconds = slice_cut(&s, '.');
	unsigned int ms = 0;
	uint64_t v;
	int r;

	r = parse_u64(seconds.ptr, seconds.len, EPOCH_S_MAX, &v);
	if (r < 0)
		return r;
	if (!whole && get_fraction(s, &ms) < 0)
		return -EINVAL;
	*ret_ms = v * 1000 + ms;
	return 0;
}

void epoch_ms_format(uint64_t ms, char out[EPOCH_CHARS_MAX])
{
	char text[EPOCH_CHARS_MAX];
	size_t at = sizeof(text) - 5;
	uint64_t s = ms / 1000;

	text[at] = '.';
	put_digits(text + at + 1, (unsigned int)(ms % 1000), 3);
	text[at + 4] = '\0';
	do {
		text[--at] = (char)('0' + s % 10);
		s /= 10;
	} while (s);
	memcpy(out, text + at, sizeof(text) - at);
}

int epoch_basic_parse(struct slice s, uint64_t *ret_s)
{
	static const size_t at[6] = { 0, 4, 6, 9, 11, 13 };
	struct civil c = { 0 };

	if (s.len != EPOCH_BASIC_CHARS || s.ptr[8] != 'T' || s.ptr[15] != 'Z')
		return -EINVAL;
	if (get_civil(s, at, &c) < 0)
		return -EINVAL;
	*ret_s = civil_seconds(&c);
	return 0;
}

void epoch_basic_format(uint64_t s, char out[EPOCH_BASIC_CHARS + 1])
{
	struct civil c = civil_of(s);

	put_digits(out, c.year, 4);
	put_digits(out + 4, c.month, 2);
	put_digits(out + 6, c.day, 2);
	out[8] = 'T';
	put_digits(out + 9, c.hour, 2);
	put_digits(out + 11, c.minute, 2);
	put_digits(out + 13, c.second, 2);
	out[15] = 'Z';
	out[16] = '\0';
}

int epoch_http_parse(struct slice s, uint64_t *ret_s)
{
	static const char form[] = "___, __ ___ ____ __:__:__ GMT";
	struct civil c = { 0 };
	size_t i;

	if (s.len != EPOCH_HTTP_CHARS)
		return -EINVAL;
	for (i = 0; i < s.len; i++) {
		if (form[i] != '_' && form[i] != s.ptr[i])
			return -EINVAL;
	}
	for (i = 0; i < 12; i++) {
		if (memcmp(month_names + 3 * i, s.ptr + 8, 3) == 0)
			c.month = (unsigned int)i + 1;
	}
	if (get_digits(s, 5, 2, &c.day) < 0 ||
	    get_digits(s, 12, 4, &c.year) < 0 ||
	    get_digits(s, 17, 2, &c.hour) < 0 ||
	    get_digits(s, 20, 2, &c.minute) < 0 ||
	    get_digits(s, 23, 2, &c.second) < 0 || !civil_valid(&c))
		return -EINVAL;
	*ret_s = civil_seconds(&c);
	return 0;
}

void epoch_http_format(uint64_t s, char out[EPOCH_HTTP_CHARS + 1])
{
	struct civil c = civil_of(s);

	memcpy(out, "___, __ ___ ____ __:__:__ GMT", EPOCH_HTTP_CHARS + 1);
	/* 1970-01-01 was a Thursday. */
	memcpy(out, day_names + 3 * ((s / SECONDS_PER_DAY + 4) % 7), 3);
	put_digits(out + 5, c.day, 2);
	memcpy(out + 8, month_names + 3 * (size_t)(c.month - 1), 3);
	put_digits(out + 12, c.year, 4);
	put_digits(out + 17, c.hour, 2);
	put_digits(out + 20, c.minute, 2);
	put_digits(out + 23, c.second, 2);
}

/* "Z", "+02:00", "-0530" as seconds east of UTC. */
static int get_zone(struct slice s, int64_t *ret_east_s)
{
	unsigned int hours;
	unsigned int minutes;
	int64_t east;

	if (slice_eq(s, SLICE("Z"))) {
		*ret_east_s = 0;
		return 0;
	}
	if (s.len < 5 || s.len > 6 || (s.ptr[0] != '+' && s.ptr[0] != '-') ||
	    (s.len == 6 && s.ptr[3] != ':') ||
	    get_digits(s, 1, 2, &hours) < 0 ||
	    get_digits(s, s.len - 2, 2, &minutes) < 0 || hours > 23 ||
	    minutes > 59)
		return -EINVAL;
	east = (int64_t)hours * 3600 + minutes * 60;
	*ret_east_s = s.ptr[0] == '-' ? -east : east;
	return 0;
}

int epoch_iso_parse(struct slice s, uint64_t *ret_ms)
{
	static const char form[] = "____-__-__T__:__:__";
	static const size_t at[6] = { 0, 5, 8, 11, 14, 17 };
	const size_t fixed = sizeof(form) - 1;
	struct civil c = { 0 };
	int64_t east_s;
	uint64_t utc_s;
	size_t i;

	if (s.len <= fixed)
		return -EINVAL;
	for (i = 0; i < fixed; i++) {
		if (form[i] != '_' && form[i] != s.ptr[i])
			return -EINVAL;
	}
	if (get_civil(s, at, &c) < 0)
		return -EINVAL;
	s.ptr += fixed;
	s.len -= fixed;
	if (s.ptr[0] == '.') {
		for (i = 1; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9';)
			i++;
		if (get_fraction((struct slice){ s.ptr + 1, i - 1 }, &c.ms) < 0)
			return -EINVAL;
		s.ptr += i;
		s.len -= i;
	}
	if (get_zone(s, &east_s) < 0)
		return -EINVAL;
	utc_s = civil_seconds(&c);
	if (east_s > 0 && (uint64_t)east_s > utc_s)
		return -EINVAL;
	*ret_ms = (uint64_t)((int64_t)utc_s - east_s) * 1000 + c.ms;
	return 0;
}

void epoch_iso_format(uint64_t ms, char out[EPOCH_ISO_CHARS_MAX + 1])
{
	struct civil c = civil_of(ms / 1000);

	memcpy(out, "____-__-__T__:__:__.___Z", EPOCH_ISO_CHARS_MAX + 1);
	put_digits(out, c.year, 4);
	put_digits(out + 5, c.month, 2);
	put_digits(out + 8, c.day, 2);
	put_digits(out + 11, c.hour, 2);
	put_digits(out + 14, c.minute, 2);
	put_digits(out + 17, c.second, 2);
	put_digits(out + 20, (unsigned int)(ms % 1000), 3);
}
