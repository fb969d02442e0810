/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of the local catalog:
 *
 *	catalog_sqlite.c	changes of both databases, streams, credentials
 *	catalog_sqlite_open.c	which of the two counts
 *	catalog_sqlite_hold.c	legal holds
 */
#ifndef IO_CATALOG_INT_H
#define IO_CATALOG_INT_H

#include <stdbool.h>

#include "core/catalog.h"
#include "io/catalog_cache.h"
#include "io/catalog_db.h"
#include "io/catalog_holds.h"
#include "io/catalog_sqlite.h"
#include "io/worker.h"
#include "proto/names.h"

struct catalog_sqlite {
	struct catalog base;
	const struct data_dir *dir;
	struct kms_local *kms; /* worker's, after the opening */
	const char *kms_keys; /* NULL: none */
	char region[STREAM_NAME_CHARS_MAX + 1];
	char account[STREAM_NAME_CHARS_MAX + 1];
	struct catalog_cache cache;
	struct catalog_holds holds;
	struct worker *worker;

	/* Worker only. The first is what leads, whichever file it is. */
	struct catalog_db *first;
	struct catalog_db *copy; /* NULL: to be made again */
	const char *first_name;
	const char *copy_name;
	bool scrub_wanted; /* removed keys are still in a log */
};

static inline struct catalog_sqlite *catalog_sqlite_of(struct catalog *c)
{
	return container_of(c, struct catalog_sqlite, base);
}

/*
 * Worker: @change of both databases, in the order in which they are to be
 * committed. Return: 0, or an error; nobody has seen a change then.
 */
int catalog_change_both(struct catalog_sqlite *cs,
			int (*change)(struct catalog_db *db, const void *arg),
			const void *arg, bool removal) MUST_CHECK;
/* As callers are told. */
int catalog_public_error(int err);

/* --- catalog_sqlite_open.c --- */

int catalog_open_kms(struct catalog_sqlite *cs, const char *path) MUST_CHECK;
int catalog_open_both(struct catalog_sqlite *cs) MUST_CHECK;
/* There is none, or it is behind. */
int catalog_make_copy(struct catalog_sqlite *cs) MUST_CHECK;

/* --- catalog_sqlite_hold.c --- */

/* Of catalog_db_holds(); @ctx is the catalog. */
int catalog_load_hold(void *ctx, const struct catalog_hold_row *row);

#endif
