/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragment numbers: 157 bits, `1 | seq:64 | server_ms:64 | random:28`, in
 * decimal always 47 digits while seq stays under FRAGMENT_SEQ_MAX. Opaque to
 * clients, who may compare them as equally long strings.
 */
#ifndef PROTO_FRAGMENT_NUMBER_H
#define PROTO_FRAGMENT_NUMBER_H

#include <stdint.h>

#include "base/macros.h"
#include "proto/slice.h"

#define FRAGMENT_NUMBER_CHARS 47u
#define FRAGMENT_RANDOM_BITS 28u
#define FRAGMENT_SEQ_MAX 1700000000000000000ull

struct fragment_number {
	uint64_t seq;		/* order of ingestion in the stream */
	uint64_t server_ms;	/* epoch; when its first bytes arrived */
	uint32_t random;	/* FRAGMENT_RANDOM_BITS bits */
};

/* seq <= FRAGMENT_SEQ_MAX and random < 2^28, or it is a bug: asserted. */
void fragment_number_format(const struct fragment_number *n,
			    char out[FRAGMENT_NUMBER_CHARS + 1]);

/**
 * fragment_number_parse() - read one of our numbers
 *
 * Return: 0, -EINVAL (not 47 digits, or not of this layout).
 */
int fragment_number_parse(struct slice s,
			  struct fragment_number *ret_number) MUST_CHECK;

/* <0, 0, >0; the order of the decimal strings. */
int fragment_number_compare(const struct fragment_number *a,
			    const struct fragment_number *b);

#endif
