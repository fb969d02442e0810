/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog in memory: every stream and credential, so that look-ups need
 * no disk. Any thread. Keys and secrets are wiped when they go.
 */
#ifndef IO_CATALOG_CACHE_H
#define IO_CATALOG_CACHE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "core/catalog.h"

#define CATALOG_CACHE_BUCKETS 4096u

struct cached_stream;
struct cached_credential;

struct catalog_cache {
	pthread_mutex_t lock;
	struct cached_stream **streams; /* by name */
	size_t stream_count;
	size_t stream_size;
	struct list_node by_id[CATALOG_CACHE_BUCKETS];
	struct cached_credential **credentials; /* by access key */
	size_t credential_count;
	size_t credential_size;
	uint64_t created_ms_max;	/* of all streams that were added */
};

void catalog_cache_init(struct catalog_cache *c);
void catalog_cache_fini(struct catalog_cache *c);
/* Empties it. */
void catalog_cache_clear(struct catalog_cache *c);

/**
 * catalog_cache_prepare() - everything of an addition that can fail
 * @ret_stream: for catalog_cache_publish(), or catalog_cache_discard()
 *
 * Nobody sees it yet. Additions are made by one thread at a time.
 * Return: 0, -ENOMEM, -EEXIST (name or id), -EDQUOT (STREAMS_MAX).
 */
int catalog_cache_prepare(struct catalog_cache *c,
			  const struct catalog_stream *s,
			  struct cached_stream **ret_stream) MUST_CHECK;
void catalog_cache_publish(struct catalog_cache *c, struct cached_stream *s);
void catalog_cache_discard(struct cached_stream *s);
/*
 * The same for a stream that is there: another retention and version. The id
 * says which. Return: 0, -ENOMEM.
 */
int catalog_cache_prepare_change(const struct catalog_stream *s,
				 struct cached_stream **ret_stream) MUST_CHECK;
void catalog_cache_replace(struct catalog_cache *c, struct cached_stream *s);
/* Both at once. */
int catalog_cache_add(struct catalog_cache *c,
		      const struct catalog_stream *s) MUST_CHECK;
/* No-op when it is not there. */
void catalog_cache_remove(struct catalog_cache *c,
			  const uint8_t id[STREAM_ID_BYTES]);
/* By name, by ARN or by id; the others are NULL. Return: 0, -ENOENT. */
int catalog_cache_find(struct catalog_cache *c, const char *name,
		       const char *arn, const uint8_t *id,
		       struct catalog_stream *ret_stream) MUST_CHECK;
/* Return: the number of rows. */
int catalog_cache_list(struct catalog_cache *c, const char *prefix,
		       const char *after, struct catalog_stream *ret_rows,
		       size_t limit) MUST_CHECK;
size_t catalog_cache_count(struct catalog_cache *c);

/* Adds or replaces. Return: 0, -ENOMEM, -ENOSPC (CREDENTIALS_MAX). */
int catalog_cache_put_credential(
	struct catalog_cache *c,
	const struct catalog_credential *credential) MUST_CHECK;
/* Return: 0, -ENOENT. */
int catalog_cache_credential(
	struct catalog_cache *c, const char *access_key,
	struct catalog_credential *ret_credential) MUST_CHECK;
size_t catalog_cache_credential_count(struct catalog_cache *c);

#endif
