/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Expanded data keys by stream: making a cipher context costs more than
 * sealing a page. One thread. Keys that nobody uses are kept up to
 * STORE_KEYS_IDLE_MAX, the longest unused go first.
 */
#ifndef IO_KEY_CACHE_H
#define IO_KEY_CACHE_H

#include <stdint.h>

#include "base/list.h"
#include "base/macros.h"
#include "core/store.h"

#define KEY_CACHE_BUCKETS 256u

struct crypto_aead;

struct cached_key {
	struct list_node bucket;
	struct list_node idle;	/* on the cache's list while refs is 0 */
	uint8_t id[STREAM_ID_BYTES];
	struct crypto_aead *aead;
	unsigned int refs;
};

struct key_cache {
	struct list_node buckets[KEY_CACHE_BUCKETS];
	struct list_node idle;
	unsigned int idle_count;
};

void key_cache_init(struct key_cache *c);
/* All keys must have been given back. */
void key_cache_fini(struct key_cache *c);
/* Pair with key_cache_put(). Return: 0, -ENOMEM, -EIO. */
int key_cache_get(struct key_cache *c, const struct store_stream *stream,
		  struct cached_key **ret_key) MUST_CHECK;
void key_cache_put(struct key_cache *c, struct cached_key *key);
/* Wipes a stream's key as soon as nobody uses it. */
void key_cache_forget(struct key_cache *c, const uint8_t id[STREAM_ID_BYTES]);

#endif
