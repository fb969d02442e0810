/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store (core/store.h) in memory, for simulations: completes operations
 * after a time and in an order that the seed chooses, and fails them when it
 * is told to. What was acknowledged stays through store_fake_crash(), what
 * was not is gone. With delays operations overtake each other.
 */
#ifndef SUPPORT_STORE_FAKE_H
#define SUPPORT_STORE_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/loop.h"
#include "core/store.h"

struct store_fake_config {
	uint64_t seed;
	uint64_t delay_ns_max;	/* of each operation; 0: the next turn */
	/* Chances in 1000 per call; 0: never. */
	unsigned int fail_open;		/* writer_open: -ENOSPC */
	unsigned int fail_add;		/* writer_add: -EIO */
	unsigned int again_add;		/* writer_add: -EAGAIN, or short */
	unsigned int fail_commit;	/* -EIO; half of them happened */
	unsigned int fail_read;		/* -EIO */
	unsigned int fail_list;		/* -EIO */
};

/* Aborts when there is no memory. */
struct store *store_fake_new(struct loop *l,
			     const struct store_fake_config *config);
/* Nothing may be in flight, no writer open. Accepts NULL, returns NULL. */
struct store *store_fake_free(struct store *s);

/*
 * Like a process that was killed: open writers and operations in flight are
 * forgotten, their done() never comes. Commits under way have happened or
 * not, as the seed says. The contents go on under a new loop.
 */
void store_fake_crash(struct store *s, struct loop *l);

/*
 * Another owner has taken over (or, with @on false, this one is it again):
 * writer_open, writer_add, commits and remove_stream say -ESTALE, and nothing
 * of them happens. Commits under way happened before that or are -ESTALE, as
 * the seed says. Reads and lists go on.
 */
void store_fake_fence(struct store *s, bool on);

/* Retention: the first so many in order of commit are not there any more. */
void store_fake_drop(struct store *s, size_t count);

/* Changes chances and delays from now on; the seed stays. */
void store_fake_configure(struct store *s,
			  const struct store_fake_config *config);
/* Fragments that are committed, of all streams. */
size_t store_fake_count(const struct store *s);
size_t store_fake_writers(const struct store *s);
/*
 * Fragment @i in order of commit, and its bytes. Valid until the next call
 * that changes the store.
 */
const struct store_fragment *store_fake_fragment(const struct store *s,
						 size_t i,
						 const uint8_t **ret_bytes);

#endif
