/* SPDX-License-Identifier: Apache-2.0 */
#include "support/catalog_fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"
#include "core/loop.h"

struct pending {
	struct loop_timer timer;
	struct fake *fake;
	struct catalog_op *op;
	int res;
	/* Given to the caller when it is done. */
	struct catalog_stream *rows;
	struct catalog_stream *out;
	struct catalog_credential credential;
	struct catalog_credential *credential_out;
};

struct fake {
	struct catalog base;
	struct catalog_fake_config config;
	uint64_t random;
	uint64_t last_ms;
	size_t pending;
	bool fenced;
	struct catalog_stream **streams;	/* by name */
	size_t stream_count;
	struct catalog_credential *credentials;
	size_t credential_count;
};

static struct fake *fake_of(struct catalog *c)
{
	return container_of(c, struct fake, base);
}

static uint64_t next_random(struct fake *f, uint64_t below)
{
	uint64_t z = (f->random += 0x9e3779b97f4a7c15ull); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? z % below : 0;
}

static bool fails(struct fake *f)
{
	return f->config.fail && next_random(f, 1000) < f->config.fail;
}

/* Of a change. Return: 0, or why it has no effect. */
static int change_fails(struct fake *f)
{
	if (f->fenced)
		return -ESTALE;
	return fails(f) ? -EIO : 0;
}

static void *must(void *p)
{
	if (!p)
		abort();
	return p;
}

static void fired(struct loop_timer *t)
{
	struct pending *p = container_of(t, struct pending, timer);
	struct catalog_op *op = p->op;
	int res = p->res;

	if (p->rows && res >= 0)
		memcpy(p->out, p->rows,
		       (res ? (size_t)res : 1) * sizeof(*p->rows));
	if (p->credential_out && res >= 0)
		*p->credential_out = p->credential;
	p->fake->pending--;
	free(p->rows);
	free(p);
	op->done(op, res);
}

static struct pending *complete_later(struct fake *f, struct loop *l,
				      struct catalog_op *op, int res)
{
	struct pending *p = must(calloc(1, sizeof(*p)));

	p->fake = f;
	p->op = op;
	p->res = res;
	f->pending++;
	if (loop_timer_set(l, &p->timer,
			   loop_now_ns(l) +
				   next_random(f, f->config.delay_ns_max),
			   fired) < 0)
		abort();
	return p;
}

/* Completes with one stream, copied now. */
static void complete_with(struct fake *f, struct loop *l,
			  struct catalog_op *op,
			  const struct catalog_stream *s,
			  struct catalog_stream *out)
{
	struct pending *p = complete_later(f, l, op, 0);

	p->rows = must(malloc(sizeof(*p->rows)));
	*p->rows = *s;
	p->out = out;
}

static size_t place_of(const struct fake *f, const char *name)
{
	size_t i = 0;

	while (i < f->stream_count && strcmp(f->streams[i]->name, name) < 0)
		i++;
	return i;
}

static int find(const struct fake *f, const char *name, const char *arn,
		size_t *ret_place)
{
	size_t i;

	for (i = 0; i < f->stream_count; i++) {
		const struct catalog_stream *s = f->streams[i];

		if (name ? !strcmp(s->name, name) : !strcmp(s->arn, arn)) {
			*ret_place = i;
			return 0;
		}
	}
	return -ENOENT;
}

static const struct catalog_stream *insert(struct fake *f,
					   const struct catalog_stream *s)
{
	struct catalog_stream *own = must(malloc(sizeof(*own)));
	size_t place = place_of(f, s->name);
	size_t i;

	*own = *s;
	for (i = 0; i < STREAM_ID_BYTES; i++)
		own->store.id[i] = (uint8_t)next_random(f, 256);
	for (i = 0; i < DATA_KEY_BYTES; i++)
		own->store.key[i] = (uint8_t)next_random(f, 256);
	own->created_ms = ++f->last_ms;
	(void)snprintf(own->arn, sizeof(own->arn),
		       "arn:aws:kinesisvideo:us-west-2:123456789012:"
		       "stream/%s/%llu", own->name,
		       (unsigned long long)own->created_ms);
	(void)snprintf(own->version, sizeof(own->version), "V%019llu",
		       (unsigned long long)own->created_ms);
	f->streams = must(realloc(f->streams, (f->stream_count + 1) *
						      sizeof(*f->streams)));
	memmove(&f->streams[place + 1], &f->streams[place],
		(f->stream_count - place) * sizeof(*f->streams));
	f->streams[place] = own;
	f->stream_count++;
	return own;
}

static void fake_create(struct catalog *c, struct loop *l,
			struct catalog_stream *inout, const char *tags_json,
			struct catalog_op *op)
{
	struct fake *f = fake_of(c);
	size_t place;
	int r = change_fails(f);

	(void)tags_json;
	if (r < 0)
		(void)complete_later(f, l, op, r);
	else if (find(f, inout->name, NULL, &place) == 0)
		(void)complete_later(f, l, op, -EEXIST);
	else if (f->stream_count >= STREAMS_MAX)
		(void)complete_later(f, l, op, -EDQUOT);
	else
		complete_with(f, l, op, insert(f, inout), inout);
}

static void fake_find(struct catalog *c, struct loop *l, const char *name,
		      const char *arn, struct catalog_stream *ret_stream,
		      struct catalog_op *op)
{
	struct fake *f = fake_of(c);
	size_t place;

	if (fails(f))
		(void)complete_later(f, l, op, -EIO);
	else if (find(f, name, arn, &place) < 0)
		(void)complete_later(f, l, op, -ENOENT);
	else
		complete_with(f, l, op, f->streams[place], ret_stream);
}

static void fake_remove(struct catalog *c, struct loop *l, const char *arn,
			const char *version, struct catalog_stream *ret_gone,
			struct catalog_op *op)
{
	struct fake *f = fake_of(c);
	size_t place;
	int r = change_fails(f);

	if (r < 0) {
		(void)complete_later(f, l, op, r);
		return;
	}
	if (find(f, NULL, arn, &place) < 0) {
		(void)complete_later(f, l, op, -ENOENT);
		return;
	}
	if (version && strcmp(version, f->streams[place]->version) != 0) {
		(void)complete_later(f, l, op, -ESTALE);
		return;
	}
	complete_with(f, l, op, f->streams[place], ret_gone);
	free(f->streams[place]);
	f->stream_count--;
	memmove(&f->streams[place], &f->streams[place + 1],
		(f->stream_count - place) * sizeof(*f->streams));
}

static void fake_retain(struct catalog *c, struct loop *l, const char *name,
			const char *arn, const char *version, int32_t hours,
			struct catalog_stream *ret_stream,
			struct catalog_op *op)
{
	struct fake *f = fake_of(c);
	struct catalog_stream *s;
	size_t place;
	int64_t sum;
	int r = change_fails(f);

	if (r < 0) {
		(void)complete_later(f, l, op, r);
		return;
	}
	if (find(f, name, arn, &place) < 0) {
		(void)complete_later(f, l, op, -ENOENT);
		return;
	}
	s = f->streams[place];
	sum = (int64_t)s->retention_hours + hours;
	if (strcmp(version, s->version) != 0) {
		(void)complete_later(f, l, op, -ESTALE);
	} else if (sum < 0 || sum > (int64_t)RETENTION_HOURS_MAX) {
		(void)complete_later(f, l, op, -ERANGE);
	} else {
		s->retention_hours = (uint32_t)sum;
		(void)snprintf(s->version, sizeof(s->version), "V%019llu",
			       (unsigned long long)++f->last_ms);
		complete_with(f, l, op, s, ret_stream);
	}
}

static void fake_list(struct catalog *c, struct loop *l, const char *prefix,
		      const char *after, struct catalog_stream *ret_rows,
		      size_t limit, struct catalog_op *op)
{
	struct fake *f = fake_of(c);
	struct pending *p;
	size_t count = 0;
	size_t i;

	if (fails(f)) {
		(void)complete_later(f, l, op, -EIO);
		return;
	}
	p = complete_later(f, l, op, 0);
	if (!limit)
		return;
	p->rows = must(malloc(limit * sizeof(*p->rows)));
	for (i = 0; i < f->stream_count && count < limit; i++) {
		const struct catalog_stream *s = f->streams[i];

		if ((!prefix || !strncmp(s->name, prefix, strlen(prefix))) &&
		    (!after || strcmp(s->name, after) > 0))
			p->rows[count++] = *s;
	}
	p->out = ret_rows;
	p->res = (int)count;
	if (!count) {
		free(p->rows);
		p->rows = NULL;
	}
}

static void fake_credential(struct catalog *c, struct loop *l,
			    const char *access_key,
			    struct catalog_credential *ret_credential,
			    struct catalog_op *op)
{
	struct fake *f = fake_of(c);
	struct pending *p;
	size_t i;

	p = complete_later(f, l, op, fails(f) ? -EIO : -ENOENT);
	if (p->res == -EIO)
		return;
	for (i = 0; i < f->credential_count; i++) {
		if (strcmp(f->credentials[i].access_key, access_key) != 0)
			continue;
		p->credential = f->credentials[i];
		p->credential_out = ret_credential;
		p->res = 0;
	}
}

/* Keeps none, and says so. */
static void fake_tags(struct catalog *c, struct loop *l, const char *name,
		      const char *arn, char **ret_json, struct catalog_op *op)
{
	(void)name;
	(void)arn;
	(void)ret_json;
	(void)complete_later(fake_of(c), l, op, -EIO);
}

static const struct catalog_ops fake_ops = {
	.create = fake_create,
	.find = fake_find,
	.remove = fake_remove,
	.retain = fake_retain,
	.list = fake_list,
	.credential = fake_credential,
	.tags = fake_tags,
};

struct catalog *catalog_fake_new(const struct catalog_fake_config *config)
{
	struct fake *f = must(calloc(1, sizeof(*f)));

	f->base.ops = &fake_ops;
	f->config = *config;
	f->random = config->seed;
	f->last_ms = config->start_ms ? config->start_ms - 1 : 0;
	return &f->base;
}

struct catalog *catalog_fake_free(struct catalog *c)
{
	struct fake *f;

	if (!c)
		return NULL;
	f = fake_of(c);
	if (f->pending)
		abort(); /* the caller left something behind */
	while (f->stream_count)
		free(f->streams[--f->stream_count]);
	free(f->streams);
	free(f->credentials);
	free(f);
	return NULL;
}

void catalog_fake_fence(struct catalog *c, bool fenced)
{
	fake_of(c)->fenced = fenced;
}

size_t catalog_fake_pending(const struct catalog *c)
{
	return container_of(c, const struct fake, base)->pending;
}

const struct catalog_stream *catalog_fake_add(struct catalog *c,
					      const char *name,
					      uint32_t retention_hours)
{
	struct catalog_stream s = { .retention_hours = retention_hours };
	size_t place;

	if (find(fake_of(c), name, NULL, &place) == 0)
		abort();
	(void)snprintf(s.name, sizeof(s.name), "%s", name);
	return insert(fake_of(c), &s);
}

void catalog_fake_add_credential(struct catalog *c, const char *access_key,
				 const char *secret, bool enabled)
{
	struct fake *f = fake_of(c);
	struct catalog_credential *own;

	f->credentials = must(realloc(f->credentials,
				      (f->credential_count + 1) *
					      sizeof(*f->credentials)));
	own = &f->credentials[f->credential_count++];
	memset(own, 0, sizeof(*own));
	(void)snprintf(own->access_key, sizeof(own->access_key), "%s",
		       access_key);
	(void)snprintf(own->secret, sizeof(own->secret), "%s", secret);
	own->enabled = enabled;
}

size_t catalog_fake_count(const struct catalog *c)
{
	return container_of(c, const struct fake, base)->stream_count;
}
