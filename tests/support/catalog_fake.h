/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalog (core/catalog.h) in memory, for tests and simulations: completes
 * operations after a time that the seed chooses, by loop timers, on the loop
 * that asked. One loop thread.
 */
#ifndef SUPPORT_CATALOG_FAKE_H
#define SUPPORT_CATALOG_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/catalog.h"

struct catalog_fake_config {
	uint64_t seed;
	uint64_t delay_ns_max;		/* of each operation; 0: next turn */
	unsigned int fail;		/* chances in 1000: -EIO */
	uint64_t start_ms;		/* created_ms of the first stream */
};

/* Aborts when there is no memory. */
struct catalog *catalog_fake_new(const struct catalog_fake_config *config);
/* Nothing may be in flight. Accepts NULL, returns NULL. */
struct catalog *catalog_fake_free(struct catalog *c);

/*
 * It lost its right to write, or has it again: what was asked for before ends
 * as it would have, changes that begin now end with -ESTALE and have no
 * effect. Look-ups answer what it knew.
 */
void catalog_fake_fence(struct catalog *c, bool fenced);
/* Operations that have not ended. */
size_t catalog_fake_pending(const struct catalog *c);

/* At once, without failures. The result is valid until it is removed. */
const struct catalog_stream *catalog_fake_add(struct catalog *c,
					      const char *name,
					      uint32_t retention_hours);
void catalog_fake_add_credential(struct catalog *c, const char *access_key,
				 const char *secret, bool enabled);
size_t catalog_fake_count(const struct catalog *c);

#endif
