/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The local catalog: two SQLite databases with the same content, and all of
 * it in memory. Data keys and secrets are stored wrapped (io/kms_local.h).
 *
 *	adding		catalog.db is committed first, then catalog-copy.db
 *	removing	the copy first, so that an interrupted removal has taken
 *			effect or can be asked for again
 *
 * Each commit raises the revision. When opened, the database with the higher
 * one is taken (catalog.db when they are equal); the other is made again from
 * it when it is missing, damaged or behind. A database of another directory
 * is refused (invariant 5), as is one that the master key does not open.
 */
#ifndef IO_CATALOG_SQLITE_H
#define IO_CATALOG_SQLITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/catalog.h"
#include "io/data_dir.h"

struct catalog_sqlite_config {
	const struct data_dir *dir;	/* borrowed; outlives the catalog */
	const char *master_key;	/* path of a file of 32 bytes; NULL:
				 * DIR/master.key, made with the catalog */
	const char *kms_keys;	/* directory of customer keys; NULL: none;
				 * borrowed; outlives the catalog */
	const char *region;	/* of the ARNs */
	const char *account;	/* twelve digits */
	bool no_thread;		/* as store_local_config.no_thread */
};

/**
 * catalog_sqlite_open() - open the catalog of a directory
 *
 * Blocks. Makes both databases in a directory that has none and no segments
 * either; of a directory that is open for reading, the better one is read and
 * nothing is made. Refusals are logged with their reason; the caller logs the
 * error.
 *
 * Return: 0; -ENOENT, -EPERM, -EINVAL (master key; see kms_local_open());
 * -EMEDIUMTYPE (another directory's catalog); -EUCLEAN (both
 * databases are damaged or gone); -EKEYREJECTED (another master key);
 * -ENOSPC, -EIO, -ENOMEM, -EINVAL (region or account).
 */
int catalog_sqlite_open(const struct catalog_sqlite_config *config,
			struct catalog **ret_catalog) MUST_CHECK;
/*
 * Every operation has ended. Writes the logs into the databases. Accepts
 * NULL, returns NULL.
 */
struct catalog *catalog_sqlite_close(struct catalog *c);
DEFINE_AUTO(catalog_sqlite_close, struct catalog *)

/*
 * A stream's key by id; @catalog is the struct catalog: for
 * store_local_config.find_key. Any thread; may block on a customer key. Return:
 * 0, -ENOENT, -ENOMEM, or an error of kms_keys_apply().
 */
int catalog_sqlite_find_key(void *catalog, const uint8_t id[STREAM_ID_BYTES],
			    uint8_t ret_key[DATA_KEY_BYTES]);

/**
 * catalog_sqlite_hold() - put a range of a stream on legal hold
 * @stream: its name
 * @hold: name and range; created_ms is filled in
 *
 * As long as a stream has one, catalog_remove() refuses it. The same again is
 * no change. Blocks until it is durable: for tools and threads of operations,
 * as the next two. What deletes meanwhile is to be waited for by
 * store_local_settle().
 * Return: 0, -ENOENT (no such stream), -EINVAL (name or range), -EEXIST (the
 * name is there with another range), -EDQUOT (STORE_HOLDS_MAX), -ENOSPC, -EIO,
 * -ENOMEM.
 */
int catalog_sqlite_hold(struct catalog *c, const char *stream,
			const struct catalog_hold *hold) MUST_CHECK;
/*
 * Ends one. Return: 0, -ENOENT (no such stream), -ENODATA (no such hold),
 * -EINVAL, -ENOSPC, -EIO, -ENOMEM.
 */
int catalog_sqlite_release(struct catalog *c, const char *stream,
			   const char *name) MUST_CHECK;
/* Return: how many there are, by name; -ENOENT (no such stream), -ENOMEM. */
int catalog_sqlite_holds(struct catalog *c, const char *stream,
			 struct catalog_hold ret_holds[STORE_HOLDS_MAX])
	MUST_CHECK;
/* For store_local_config.find_holds, as catalog_sqlite_find_key(). */
int catalog_sqlite_find_holds(void *catalog, const uint8_t id[STREAM_ID_BYTES],
			      struct store_holds *ret_holds);

/**
 * catalog_sqlite_put_credential() - add or replace a credential
 *
 * Blocks until it is durable: for start-up and tools, not for a loop.
 * Return: 0, -EINVAL (empty access key or secret), -ENOSPC, -EIO, -ENOMEM.
 */
int catalog_sqlite_put_credential(
	struct catalog *c,
	const struct catalog_credential *credential) MUST_CHECK;
size_t catalog_sqlite_credential_count(struct catalog *c);

#endif
