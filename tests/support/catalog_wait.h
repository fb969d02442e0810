/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An operation of a catalog that a test waits for:
 *
 *	struct catalog_wait w = CATALOG_WAIT;
 *
 *	catalog_find(c, l, name, NULL, &stream, &w.op);
 *	... loop_fake_until(l, &w.done) ... w.res
 */
#ifndef SUPPORT_CATALOG_WAIT_H
#define SUPPORT_CATALOG_WAIT_H

#include <stdbool.h>

#include "base/macros.h"
#include "core/catalog.h"

struct catalog_wait {
	struct catalog_op op;
	bool done;
	int res;
};

static inline void catalog_wait_done(struct catalog_op *op, int res)
{
	struct catalog_wait *w = container_of(op, struct catalog_wait, op);

	w->done = true;
	w->res = res;
}

#define CATALOG_WAIT { .op.done = catalog_wait_done }

#endif
