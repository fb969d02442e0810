/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog's legal holds in memory: asked at each deletion. Any thread. */
#ifndef IO_CATALOG_HOLDS_H
#define IO_CATALOG_HOLDS_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/catalog.h"

struct catalog_hold_row {
	uint8_t stream_id[STREAM_ID_BYTES];
	struct catalog_hold hold;
};

struct catalog_holds {
	pthread_mutex_t lock;
	struct catalog_hold_row *rows; /* by stream, then by name */
	size_t count;
	size_t size;
};

void catalog_holds_init(struct catalog_holds *h);
void catalog_holds_fini(struct catalog_holds *h);
/* Empties it. */
void catalog_holds_clear(struct catalog_holds *h);

/*
 * Everything of an addition that can fail; additions are made by one thread
 * at a time. Return: 0; -EALREADY (it is there); -EEXIST (the name is, with
 * another range); -EDQUOT (STORE_HOLDS_MAX); -ENOMEM.
 */
int catalog_holds_prepare(struct catalog_holds *h,
			  const struct catalog_hold_row *row) MUST_CHECK;
/* After that. */
void catalog_holds_publish(struct catalog_holds *h,
			   const struct catalog_hold_row *row);
/* No-op when it is not there. */
void catalog_holds_remove(struct catalog_holds *h,
			  const uint8_t id[STREAM_ID_BYTES], const char *name);
/* Return: the number of rows, by name. */
size_t catalog_holds_list(struct catalog_holds *h,
			  const uint8_t id[STREAM_ID_BYTES],
			  struct catalog_hold ret_rows[STORE_HOLDS_MAX]);
/* What the store asks for. */
void catalog_holds_ranges(struct catalog_holds *h,
			  const uint8_t id[STREAM_ID_BYTES],
			  struct store_holds *ret_holds);

#endif
