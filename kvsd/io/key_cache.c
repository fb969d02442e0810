/* SPDX-License-Identifier: Apache-2.0 */
#include "io/key_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "io/crypto.h"

void key_cache_init(struct key_cache *c)
{
	size_t i;

	for (i = 0; i < KEY_CACHE_BUCKETS; i++)
		list_init(&c->buckets[i]);
	list_init(&c->idle);
	c->idle_count = 0;
}

static void drop(struct key_cache *c, struct cached_key *key)
{
	assert(!key->refs);
	if (!list_empty(&key->idle))
		c->idle_count--;
	list_del(&key->idle);
	list_del(&key->bucket);
	key->aead = crypto_aead_free(key->aead);
	free(key);
}

void key_cache_fini(struct key_cache *c)
{
	struct list_node *n;
	struct list_node *tmp;

	list_for_each_safe(n, tmp, &c->idle)
		drop(c, list_entry(n, struct cached_key, idle));
}

/* Ids are random bytes. */
static struct list_node *bucket_of(struct key_cache *c, const uint8_t *id)
{
	return &c->buckets[id[0] % KEY_CACHE_BUCKETS];
}

static struct cached_key *find(struct key_cache *c, const uint8_t *id)
{
	struct list_node *head = bucket_of(c, id);
	struct list_node *n;

	for (n = head->next; n != head; n = n->next) {
		struct cached_key *key =
			list_entry(n, struct cached_key, bucket);

		if (!memcmp(key->id, id, STREAM_ID_BYTES))
			return key;
	}
	return NULL;
}

int key_cache_get(struct key_cache *c, const struct store_stream *stream,
		  struct cached_key **ret_key)
{
	struct cached_key *key = find(c, stream->id);
	int r;

	if (key) {
		if (!key->refs++) {
			list_del(&key->idle);
			c->idle_count--;
		}
		*ret_key = key;
		return 0;
	}
	key = calloc(1, sizeof(*key));
	if (!key)
		return -ENOMEM;
	r = crypto_aead_new(stream->key, &key->aead);
	if (r < 0) {
		free(key);
		return r;
	}
	memcpy(key->id, stream->id, STREAM_ID_BYTES);
	list_init(&key->idle);
	list_add_head(bucket_of(c, stream->id), &key->bucket);
	key->refs = 1;
	*ret_key = key;
	return 0;
}

void key_cache_put(struct key_cache *c, struct cached_key *key)
{
	if (!key)
		return;
	assert(key->refs);
	if (--key->refs)
		return;
	if (list_empty(&key->bucket)) { /* forgotten meanwhile */
		drop(c, key);
		return;
	}
	list_add_tail(&c->idle, &key->idle);
	if (++c->idle_count > STORE_KEYS_IDLE_MAX)
		drop(c, list_entry(c->idle.next, struct cached_key, idle));
}

void key_cache_forget(struct key_cache *c, const uint8_t id[STREAM_ID_BYTES])
{
	struct cached_key *key = find(c, id);

	if (!key)
		return;
	if (key->refs)
		list_del(&key->bucket); /* the last put drops it */
	else
		drop(c, key);
}
