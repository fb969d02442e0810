/* SPDX-License-Identifier: Apache-2.0 */
/* ListFragments over all pages, for the commands that need a range. */
#ifndef KVSCTL_FRAGMENTS_H
#define KVSCTL_FRAGMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "base/macros.h"
#include "kvsctl/ctl.h"

struct range {
	bool server_time;	/* else producer time */
	bool has_from;
	bool has_to;
	uint64_t from_ms;
	uint64_t to_ms;
};

/* Of --from, --to and --by. Return: CTL_OK, CTL_USAGE (explained). */
int range_parse(const char *from, const char *to, const char *by,
		struct range *ret_range) MUST_CHECK;

/* "FragmentSelector": a new reference; open ends are as wide as can be. */
json_t *range_selector(const struct range *range);

/* "ProducerTimestamp" or "ServerTimestamp": what the range is about. */
const char *range_member(const struct range *range);

/**
 * fragments_page() - one page of ListFragments
 * @url: where LIST_FRAGMENTS is served
 * @all: an array; the page is added to it, in the service's order
 * @token: NULL for the first page; then a reference that is given away and
 *	comes back new, NULL at the end
 *
 * Return: CTL_OK or the code to exit with (explained).
 */
int fragments_page(struct ctl *ctl, const char *url, const char *stream,
		   const struct range *range, json_t *all,
		   json_t **token) MUST_CHECK;

/**
 * fragments_list() - all fragments of a range
 * @ret_fragments: an array sorted by the range's clock; a new reference
 *
 * Return: CTL_OK or the code to exit with (explained).
 */
int fragments_list(struct ctl *ctl, const char *stream,
		   const struct range *range,
		   json_t **ret_fragments) MUST_CHECK;

#endif
