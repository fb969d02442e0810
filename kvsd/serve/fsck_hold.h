/* SPDX-License-Identifier: Apache-2.0 */
/* What `kvsd fsck` says of legal holds: which there are, and what they hold. */
#ifndef SERVE_FSCK_HOLD_H
#define SERVE_FSCK_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/store.h"
#include "io/catalog_db.h"
#include "core/catalog.h"

struct fsck_hold {
	struct catalog_hold_row row;
	char stream[CATALOG_NAME_BYTES]; /* "" = of none */
	uint64_t fragments;
	uint64_t bytes; /* of media */
	uint64_t unsound;
};

struct fsck_holds {
	struct fsck_hold *rows; /* as the database has them */
	size_t count;
	size_t size;
};

/* Reads those of a database. Return: 0, -EUCLEAN, -ENOMEM, an error. */
int fsck_holds_read(struct fsck_holds *h, struct catalog_db *db) MUST_CHECK;
void fsck_holds_free(struct fsck_holds *h);
bool fsck_holds_same(const struct fsck_holds *a, const struct fsck_holds *b);

/* Prints what is wrong with the holds themselves. Return: how much. */
unsigned int fsck_holds_check(const struct fsck_holds *h);
/* As fsck_config.row; @ctx: struct fsck_holds. */
void fsck_holds_count(void *ctx, const struct store_fragment *f, bool sound);
void fsck_holds_restart(struct fsck_holds *h);
/* One line each. */
void fsck_holds_print(const struct fsck_holds *h);

#endif
