/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Retention: every EXPIRY_PERIOD_NS each thread asks the store to drop what is
 * older than its streams keep. Readers do not see such fragments anyway. The
 * streams' bounds (stream_max) follow what is written: they are looked at
 * EXPIRY_SEALED_NS after a segment was filled, too.
 */
#ifndef SERVE_EXPIRY_H
#define SERVE_EXPIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

struct catalog_stream;
struct expiry;
struct server_thread;
struct store_op;

/* Return: 0, -ENOMEM. */
int expiry_new(struct server_thread *t, struct expiry **ret_expiry) MUST_CHECK;
/* No further run begins; one that is under way holds the server busy. */
void expiry_stop(struct expiry *e);
/*
 * One stream at once. While the clock is doubted nothing is dropped, and @op
 * not used: a run does it. Loop thread. Return: true, then op->done() comes as
 * from store_local_expire().
 */
bool expiry_of_stream(struct expiry *e, const struct catalog_stream *s,
		      struct store_op *op) MUST_CHECK;
/* Not during a run. Accepts NULL, returns NULL. */
struct expiry *expiry_free(struct expiry *e);

#endif
