/* SPDX-License-Identifier: Apache-2.0 */
#include "support/seeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

static uint64_t number_of(const char *what, const char *text)
{
	uint64_t n = 0;

	/* Seeds are multiplied: by 1,000 and less. */
	if (parse_u64(text, strlen(text), UINT64_MAX / 1000, &n) < 0) {
		(void)fprintf(stderr, "%s: \"%s\" is no number\n", what, text);
		exit(2);
	}
	return n;
}

uint64_t seeds_number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? number_of(name, text) : otherwise;
}

static uint64_t part_of(uint64_t count)
{
	uint64_t part = seeds_number("SEEDS_PART", 1);

	return part ? (count + part - 1) / part : count;
}

struct seeds seeds_from(int argc, char **argv, uint64_t otherwise)
{
	struct seeds s = {
		.first = 1,
		.count = seeds_number("SEEDS", part_of(otherwise)),
		.one = getenv("SEED") != NULL,
		.full = getenv("FULL") != NULL,
	};

	if (argc > 1)
		s.count = number_of("seeds", argv[1]);
	if (!s.count) {
		(void)fprintf(stderr, "seeds: none\n");
		exit(2);
	}
	s.first = seeds_number("FIRST", 1);
	if (s.one) {
		s.first = seeds_number("SEED", 1);
		s.count = 1;
	}
	return s;
}

uint64_t seeds_random(uint64_t *state, uint64_t below)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? z % below : z;
}
