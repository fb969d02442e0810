/* SPDX-License-Identifier: Apache-2.0 */
#include "io/catalog_cache.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "io/crypto.h"

/* struct catalog_stream is 4 KiB of mostly unused text: kept packed. */
struct cached_stream {
	struct list_node by_id;
	struct store_stream store;
	uint64_t created_ms;
	uint32_t retention_hours;
	const char *name; /* these point into texts */
	const char *arn;
	const char *version;
	const char *device_name;
	const char *media_type;
	const char *kms_key_id;
	char texts[];
};

struct cached_credential {
	struct catalog_credential value;
};

/* Room for one more pointer. */
static int grow(void *array, size_t count, size_t *size)
{
	void ***p = array;
	size_t want = *size ? 2 * *size : 16;
	void **q;

	if (count < *size)
		return 0;
	q = realloc(*p, want * sizeof(*q));
	if (!q)
		return -ENOMEM;
	*p = q;
	*size = want;
	return 0;
}

void catalog_cache_init(struct catalog_cache *c)
{
	size_t i;

	memset(c, 0, sizeof(*c));
	(void)pthread_mutex_init(&c->lock, NULL);
	for (i = 0; i < CATALOG_CACHE_BUCKETS; i++)
		list_init(&c->by_id[i]);
}

static void stream_free(struct cached_stream *s)
{
	list_del(&s->by_id);
	crypto_wipe(s->store.key, sizeof(s->store.key));
	free(s);
}

static void credential_free(struct cached_credential *credential)
{
	crypto_wipe(&credential->value, sizeof(credential->value));
	free(credential);
}

void catalog_cache_clear(struct catalog_cache *c)
{
	(void)pthread_mutex_lock(&c->lock);
	while (c->stream_count)
		stream_free(c->streams[--c->stream_count]);
	while (c->credential_count)
		credential_free(c->credentials[--c->credential_count]);
	(void)pthread_mutex_unlock(&c->lock);
}

void catalog_cache_fini(struct catalog_cache *c)
{
	catalog_cache_clear(c);
	free(c->streams);
	free(c->credentials);
	(void)pthread_mutex_destroy(&c->lock);
}

/* --- streams; the lock is held --- */

/* First place whose name is not before @name. */
static size_t place_of(const struct catalog_cache *c, const char *name)
{
	size_t low = 0;
	size_t high = c->stream_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (strcmp(c->streams[mid]->name, name) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct list_node *bucket_of(struct catalog_cache *c, const uint8_t *id)
{
	return &c->by_id[(id[0] | id[1] << 8) % CATALOG_CACHE_BUCKETS];
}

static struct cached_stream *find_id(struct catalog_cache *c,
				     const uint8_t *id)
{
	struct list_node *head = bucket_of(c, id);
	struct list_node *n;

	for (n = head->next; n != head; n = n->next) {
		struct cached_stream *s =
			list_entry(n, struct cached_stream, by_id);

		if (!memcmp(s->store.id, id, STREAM_ID_BYTES))
			return s;
	}
	return NULL;
}

static struct cached_stream *find_name(struct catalog_cache *c,
				       const char *name, size_t len)
{
	char copy[CATALOG_NAME_BYTES];
	size_t i;

	if (len >= sizeof(copy))
		return NULL;
	memcpy(copy, name, len);
	copy[len] = '\0';
	i = place_of(c, copy);
	return i < c->stream_count && !strcmp(c->streams[i]->name, copy) ?
		       c->streams[i] :
		       NULL;
}

/* ".../NAME/CREATED": the whole ARN must be the stream's. */
static struct cached_stream *find_arn(struct catalog_cache *c, const char *arn)
{
	const char *end = strrchr(arn, '/');
	const char *name = end;
	struct cached_stream *s;

	while (name && name > arn && name[-1] != '/')
		name--;
	if (!name || name == arn)
		return NULL;
	s = find_name(c, name, (size_t)(end - name));
	return s && !strcmp(s->arn, arn) ? s : NULL;
}

static void unpack(const struct cached_stream *s, struct catalog_stream *out)
{
	out->store = s->store;
	(void)snprintf(out->name, sizeof(out->name), "%s", s->name);
	(void)snprintf(out->arn, sizeof(out->arn), "%s", s->arn);
	(void)snprintf(out->version, sizeof(out->version), "%s", s->version);
	(void)snprintf(out->device_name, sizeof(out->device_name), "%s",
		       s->device_name);
	(void)snprintf(out->media_type, sizeof(out->media_type), "%s",
		       s->media_type);
	(void)snprintf(out->kms_key_id, sizeof(out->kms_key_id), "%s",
		       s->kms_key_id);
	out->created_ms = s->created_ms;
	out->retention_hours = s->retention_hours;
	out->key_error = 0;
}

static struct cached_stream *pack(const struct catalog_stream *s)
{
	const char *const texts[] = { s->name,	      s->arn,
				      s->version,     s->device_name,
				      s->media_type,  s->kms_key_id };
	const char **places[ARRAY_SIZE(texts)];
	struct cached_stream *p;
	size_t bytes = 0;
	char *next;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(texts); i++)
		bytes += strlen(texts[i]) + 1;
	p = calloc(1, sizeof(*p) + bytes);
	if (!p)
		return NULL;
	places[0] = &p->name;
	places[1] = &p->arn;
	places[2] = &p->version;
	places[3] = &p->device_name;
	places[4] = &p->media_type;
	places[5] = &p->kms_key_id;
	next = p->texts;
	for (i = 0; i < ARRAY_SIZE(texts); i++) {
		size_t len = strlen(texts[i]) + 1;

		memcpy(next, texts[i], len);
		*places[i] = next;
		next += len;
	}
	list_init(&p->by_id);
	p->store = s->store;
	p->created_ms = s->created_ms;
	p->retention_hours = s->retention_hours;
	return p;
}

static int check_room(struct catalog_cache *c, const struct catalog_stream *s)
{
	if (find_name(c, s->name, strlen(s->name)) || find_id(c, s->store.id))
		return -EEXIST;
	if (c->stream_count >= STREAMS_MAX)
		return -EDQUOT;
	return grow(&c->streams, c->stream_count, &c->stream_size);
}

int catalog_cache_prepare(struct catalog_cache *c,
			  const struct catalog_stream *s,
			  struct cached_stream **ret_stream)
{
	struct cached_stream *p;
	int r;

	(void)pthread_mutex_lock(&c->lock);
	r = check_room(c, s);
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0)
		return r;
	p = pack(s);
	if (!p)
		return -ENOMEM;
	*ret_stream = p;
	return 0;
}

void catalog_cache_publish(struct catalog_cache *c, struct cached_stream *s)
{
	size_t i;

	(void)pthread_mutex_lock(&c->lock);
	i = place_of(c, s->name);
	memmove(&c->streams[i + 1], &c->streams[i],
		(c->stream_count - i) * sizeof(*c->streams));
	c->streams[i] = s;
	c->stream_count++;
	list_add_head(bucket_of(c, s->store.id), &s->by_id);
	c->created_ms_max = MAX(c->created_ms_max, s->created_ms);
	(void)pthread_mutex_unlock(&c->lock);
}

void catalog_cache_discard(struct cached_stream *s)
{
	stream_free(s);
}

int catalog_cache_prepare_change(const struct catalog_stream *s,
				 struct cached_stream **ret_stream)
{
	struct cached_stream *p = pack(s);

	if (!p)
		return -ENOMEM;
	*ret_stream = p;
	return 0;
}

void catalog_cache_replace(struct catalog_cache *c, struct cached_stream *s)
{
	struct cached_stream *old;

	(void)pthread_mutex_lock(&c->lock);
	old = find_id(c, s->store.id);
	assert(old && !strcmp(old->name, s->name));
	c->streams[place_of(c, s->name)] = s;
	list_add_head(bucket_of(c, s->store.id), &s->by_id);
	stream_free(old);
	(void)pthread_mutex_unlock(&c->lock);
}

int catalog_cache_add(struct catalog_cache *c, const struct catalog_stream *s)
{
	struct cached_stream *p;
	int r;

	r = catalog_cache_prepare(c, s, &p);
	if (r == 0)
		catalog_cache_publish(c, p);
	return r;
}

void catalog_cache_remove(struct catalog_cache *c,
			  const uint8_t id[STREAM_ID_BYTES])
{
	struct cached_stream *s;
	size_t i;

	(void)pthread_mutex_lock(&c->lock);
	s = find_id(c, id);
	if (s) {
		i = place_of(c, s->name);
		c->stream_count--;
		memmove(&c->streams[i], &c->streams[i + 1],
			(c->stream_count - i) * sizeof(*c->streams));
		stream_free(s);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

int catalog_cache_find(struct catalog_cache *c, const char *name,
		       const char *arn, const uint8_t *id,
		       struct catalog_stream *ret_stream)
{
	struct cached_stream *s;

	(void)pthread_mutex_lock(&c->lock);
	if (name)
		s = find_name(c, name, strlen(name));
	else if (arn)
		s = find_arn(c, arn);
	else
		s = find_id(c, id);
	if (s)
		unpack(s, ret_stream);
	(void)pthread_mutex_unlock(&c->lock);
	return s ? 0 : -ENOENT;
}

int catalog_cache_list(struct catalog_cache *c, const char *prefix,
		       const char *after, struct catalog_stream *ret_rows,
		       size_t limit)
{
	size_t prefix_len = prefix ? strlen(prefix) : 0;
	size_t count = 0;
	size_t i = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (prefix)
		i = place_of(c, prefix);
	if (after)
		i = MAX(i, place_of(c, after));
	for (; i < c->stream_count && count < limit; i++) {
		const struct cached_stream *s = c->streams[i];

		if (after && strcmp(s->name, after) <= 0)
			continue;
		if (prefix && strncmp(s->name, prefix, prefix_len) != 0)
			break;
		unpack(s, &ret_rows[count++]);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return (int)count;
}

size_t catalog_cache_count(struct catalog_cache *c)
{
	size_t count;

	(void)pthread_mutex_lock(&c->lock);
	count = c->stream_count;
	(void)pthread_mutex_unlock(&c->lock);
	return count;
}

/* --- credentials --- */

static size_t credential_place(const struct catalog_cache *c, const char *key)
{
	size_t low = 0;
	size_t high = c->credential_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (strcmp(c->credentials[mid]->value.access_key, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct cached_credential *credential_at(struct catalog_cache *c,
					       size_t i, const char *key)
{
	if (i == c->credential_count ||
	    strcmp(c->credentials[i]->value.access_key, key) != 0)
		return NULL;
	return c->credentials[i];
}

static int put_locked(struct catalog_cache *c,
		      const struct catalog_credential *credential)
{
	size_t i = credential_place(c, credential->access_key);
	struct cached_credential *p =
		credential_at(c, i, credential->access_key);
	int r;

	if (p) {
		p->value = *credential;
		return 0;
	}
	if (c->credential_count >= CREDENTIALS_MAX)
		return -ENOSPC;
	r = grow(&c->credentials, c->credential_count, &c->credential_size);
	if (r < 0)
		return r;
	p = malloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->value = *credential;
	memmove(&c->credentials[i + 1], &c->credentials[i],
		(c->credential_count - i) * sizeof(*c->credentials));
	c->credentials[i] = p;
	c->credential_count++;
	return 0;
}

int catalog_cache_put_credential(struct catalog_cache *c,
				 const struct catalog_credential *credential)
{
	int r;

	(void)pthread_mutex_lock(&c->lock);
	r = put_locked(c, credential);
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

int catalog_cache_credential(struct catalog_cache *c, const char *access_key,
			     struct catalog_credential *ret_credential)
{
	struct cached_credential *p;

	(void)pthread_mutex_lock(&c->lock);
	p = credential_at(c, credential_place(c, access_key), access_key);
	if (p)
		*ret_credential = p->value;
	(void)pthread_mutex_unlock(&c->lock);
	return p ? 0 : -ENOENT;
}

size_t catalog_cache_credential_count(struct catalog_cache *c)
{
	size_t count;

	(void)pthread_mutex_lock(&c->lock);
	count = c->credential_count;
	(void)pthread_mutex_unlock(&c->lock);
	return count;
}
