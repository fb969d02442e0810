/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One of the two databases of the catalog. Everything blocks; one thread at
 * a time. Errors are io/db_sqlite.h's where nothing else is said.
 */
#ifndef IO_CATALOG_DB_H
#define IO_CATALOG_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "core/catalog.h"
#include "io/catalog_holds.h"
#include "io/data_dir.h"
#include "io/kms_local.h"

#define CATALOG_WRAPPED_BYTES (DATA_KEY_BYTES + KMS_WRAP_BYTES)

struct catalog_db;

/* A stream as it is stored. Texts are borrowed for the call. */
struct catalog_row {
	uint8_t id[STREAM_ID_BYTES];
	uint8_t wrapped_key[CATALOG_WRAPPED_BYTES];
	const char *name;
	const char *arn;
	const char *version;
	const char *device_name;
	const char *media_type;
	const char *kms_key_id;
	const char *tags_json;
	uint64_t created_ms;
	uint32_t retention_hours;
};

struct catalog_credential_row {
	const char *access_key;
	const uint8_t *wrapped_secret;
	size_t wrapped_len;
	bool enabled;
};

/**
 * catalog_db_open() - open and verify a database that must be there
 * @name: within the directory
 *
 * Return: 0; -ENOENT; -EUCLEAN (damaged); -EMEDIUMTYPE (another directory's).
 */
int catalog_db_open(const struct data_dir *d, const char *name,
		    struct catalog_db **ret_db) MUST_CHECK;
/* Accepts NULL, returns NULL. */
struct catalog_db *catalog_db_close(struct catalog_db *db);
DEFINE_AUTO(catalog_db_close, struct catalog_db *)

/**
 * catalog_db_create() - make an empty database
 * @check: a blob that tells whether the master key is the right one
 *
 * It appears under @name when it is whole and durable; one that was there is
 * replaced. Return: 0 or an error.
 */
int catalog_db_create(const struct data_dir *d, const char *name,
		      const void *check, size_t check_len) MUST_CHECK;
/* As catalog_db_create(), with the content of @from. */
int catalog_db_copy(const struct data_dir *d, struct catalog_db *from,
		    const char *name) MUST_CHECK;
/* Overwrites all keys and secrets: before a copy of the past is replaced. */
int catalog_db_wipe(struct catalog_db *db) MUST_CHECK;

/* Grows with each commit. */
uint64_t catalog_db_revision(const struct catalog_db *db);
int catalog_db_check(struct catalog_db *db, void *out, size_t len) MUST_CHECK;
int catalog_db_streams(struct catalog_db *db,
		       int (*each)(void *ctx, const struct catalog_row *row),
		       void *ctx) MUST_CHECK;
/* @ret_json: heap, the caller's. Return: 0, -ENOENT, -ENOMEM, an error. */
int catalog_db_tags(struct catalog_db *db, const uint8_t id[STREAM_ID_BYTES],
		    char **ret_json) MUST_CHECK;
int catalog_db_credentials(
	struct catalog_db *db,
	int (*each)(void *ctx, const struct catalog_credential_row *row),
	void *ctx) MUST_CHECK;

int catalog_db_holds(struct catalog_db *db,
		     int (*each)(void *ctx, const struct catalog_hold_row *row),
		     void *ctx) MUST_CHECK;

/* Changes are made between begin and commit. */
int catalog_db_begin(struct catalog_db *db) MUST_CHECK;
int catalog_db_commit(struct catalog_db *db) MUST_CHECK;
void catalog_db_rollback(struct catalog_db *db);
int catalog_db_add(struct catalog_db *db,
		   const struct catalog_row *row) MUST_CHECK;
/* id, version and retention_hours of @row; the rest stays. */
int catalog_db_retain(struct catalog_db *db,
		      const struct catalog_row *row) MUST_CHECK;
/* Overwrites the key, then drops the row. */
int catalog_db_remove(struct catalog_db *db,
		      const uint8_t id[STREAM_ID_BYTES]) MUST_CHECK;
int catalog_db_put_credential(
	struct catalog_db *db,
	const struct catalog_credential_row *row) MUST_CHECK;
int catalog_db_add_hold(struct catalog_db *db,
			const struct catalog_hold_row *row) MUST_CHECK;
/* By stream and name. */
int catalog_db_remove_hold(struct catalog_db *db,
			   const struct catalog_hold_row *row) MUST_CHECK;
/* What was overwritten is gone from database and log. */
int catalog_db_scrub(struct catalog_db *db) MUST_CHECK;

#endif
