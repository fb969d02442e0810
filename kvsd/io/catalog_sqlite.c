/* SPDX-License-Identifier: Apache-2.0 */
#include "io/catalog_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "core/limits.h"
#include "core/loop.h"
#include "io/catalog_int.h"
#include "io/crypto.h"
#include "io/kms_keys.h"
#include "io/kms_local.h"

#define WRAPPED_SECRET_BYTES_MAX (CATALOG_SECRET_BYTES + KMS_WRAP_BYTES)
#define SCRUB_RETRY_NS NS_PER_S

/* --- changes, on the worker --- */

int catalog_public_error(int err)
{
	switch (err) {
	case -EDQUOT:
	case -EEXIST:
	case -ENOMEM:
	case -ENOSPC:
		return err;
	default:
		return -EIO;
	}
}

/* After a failure the copy is behind: it is made again before a change. */
static int repair_copy(struct catalog_sqlite *cs)
{
	const char *name = cs->copy_name;
	int r;

	if (cs->copy)
		return 0;
	r = catalog_make_copy(cs);
	if (r < 0)
		log_error("catalog", "%s: %s", name, strerror(-r));
	else
		log_info("catalog", "%s is made again", name);
	return r;
}

typedef int change_fn(struct catalog_db *db, const void *change);

static void drop_copy(struct catalog_sqlite *cs)
{
	log_error("catalog", "%s: cannot be written", cs->copy_name);
	cs->copy = catalog_db_close(cs->copy);
}

/* The databases in the order in which they are committed. */
int catalog_change_both(struct catalog_sqlite *cs, change_fn *change,
			const void *arg, bool removal)
{
	struct catalog_db *order[2];
	int i;
	int r;

	/* Without it no key could be shredded in it either. */
	r = repair_copy(cs);
	if (r < 0)
		return r;
	order[removal ? 0 : 1] = cs->copy;
	order[removal ? 1 : 0] = cs->first;
	for (i = 0; i < 2 && r == 0; i++) {
		r = catalog_db_begin(order[i]);
		if (r == 0)
			r = change(order[i], arg);
	}
	if (r == 0)
		r = catalog_db_commit(order[0]);
	if (r < 0) {
		catalog_db_rollback(order[0]);
		catalog_db_rollback(order[1]);
		return r;
	}
	r = catalog_db_commit(order[1]);
	if (r < 0) {
		/* They differ now; the copy is made again from the first. */
		catalog_db_rollback(order[1]);
		drop_copy(cs);
	}
	/* An addition is durable in the first; a removal is in neither. */
	return removal ? r : 0;
}

/* Makes what was removed unreadable in the files. */
static int scrub(struct catalog_sqlite *cs)
{
	int r;

	r = catalog_db_scrub(cs->first);
	if (r == 0 && cs->copy)
		r = catalog_db_scrub(cs->copy);
	cs->scrub_wanted = r < 0;
	return r;
}

static uint64_t batch_end(void *ctx)
{
	struct catalog_sqlite *cs = ctx;

	if (!cs->scrub_wanted)
		return UINT64_MAX;
	return repair_copy(cs) < 0 || scrub(cs) < 0 ? SCRUB_RETRY_NS :
						      UINT64_MAX;
}

/* --- operations --- */

struct catalog_job {
	struct worker_job job;
	struct catalog_sqlite *cs;
	struct loop *loop;
	struct catalog_op *op;
	struct catalog_stream *stream;	/* the caller's */
	char *tags_json;
	char **ret_tags;		/* the caller's */
	char arn[CATALOG_ARN_BYTES];
	char version[CATALOG_VERSION_BYTES];
	bool any_version;
	char name[CATALOG_NAME_BYTES]; /* "": by ARN */
	int32_t hours;
};

static void deliver(struct loop_task *task)
{
	struct catalog_op *op = container_of(task, struct catalog_op, task);

	op->done(op, op->res);
}

static void complete(struct loop *l, struct catalog_op *op, int res)
{
	op->res = res;
	op->task.run = deliver;
	loop_post(l, &op->task);
}

static void job_done(struct catalog_job *j, int res)
{
	complete(j->loop, j->op, res);
	free(j->tags_json);
	free(j);
}

static struct catalog_job *job_new(struct catalog *c, struct loop *l,
				   struct catalog_op *op)
{
	struct catalog_job *j = calloc(1, sizeof(*j));

	if (!j) {
		complete(l, op, -ENOMEM);
		return NULL;
	}
	j->cs = catalog_sqlite_of(c);
	j->loop = l;
	j->op = op;
	return j;
}

/* Fills in what the catalog gives a stream. */
static int found_stream(struct catalog_sqlite *cs, struct catalog_stream *s)
{
	uint8_t random[16];
	uint64_t now_ms;
	int r;

	r = crypto_random(s->store.id, sizeof(s->store.id));
	if (r == 0)
		r = crypto_random(s->store.key, sizeof(s->store.key));
	if (r == 0)
		r = crypto_random(random, sizeof(random));
	if (r < 0)
		return r;
	version_format(random, s->version);
	now_ms = sys_now_ns(cs->dir->sys, CLOCK_REALTIME) / NS_PER_MS;
	/* Two streams of one name never have the same ARN. */
	s->created_ms = MAX(now_ms, cs->cache.created_ms_max + 1);
	r = snprintf(s->arn, sizeof(s->arn),
		     "arn:aws:kinesisvideo:%s:%s:stream/%s/%llu", cs->region,
		     cs->account, s->name, (unsigned long long)s->created_ms);
	return r < 0 || (size_t)r >= sizeof(s->arn) ? -EINVAL : 0;
}

static int change_add(struct catalog_db *db, const void *change)
{
	return catalog_db_add(db, change);
}

static int create_stream(struct catalog_sqlite *cs, struct catalog_stream *s,
			 const char *tags_json)
{
	struct catalog_row row = {
		.name = s->name,
		.arn = s->arn,
		.version = s->version,
		.device_name = s->device_name,
		.media_type = s->media_type,
		.kms_key_id = s->kms_key_id,
		.tags_json = tags_json ? tags_json : "{}",
		.retention_hours = s->retention_hours,
	};
	struct cached_stream *cached;
	int r;

	r = found_stream(cs, s);
	if (r < 0)
		return r;
	/* Seen by nobody before it is durable. */
	r = catalog_cache_prepare(&cs->cache, s, &cached);
	if (r < 0)
		return r;
	memcpy(row.id, s->store.id, sizeof(row.id));
	row.created_ms = s->created_ms;
	r = kms_wrap(cs->kms, row.id, sizeof(row.id), s->store.key,
		     sizeof(s->store.key), row.wrapped_key);
	if (r == 0)
		r = catalog_change_both(cs, change_add, &row, false);
	if (r < 0)
		catalog_cache_discard(cached);
	else
		catalog_cache_publish(&cs->cache, cached);
	return r;
}

static void create_run(struct worker_job *job)
{
	struct catalog_job *j = container_of(job, struct catalog_job, job);
	struct catalog_stream *s;
	int r = -ENOMEM;

	s = malloc(sizeof(*s));
	if (s) {
		*s = *j->stream;
		r = create_stream(j->cs, s, j->tags_json);
		if (r == 0)
			*j->stream = *s;
		crypto_wipe(s, sizeof(*s));
		free(s);
	}
	job_done(j, r < 0 ? catalog_public_error(r) : 0);
}

static void sqlite_create(struct catalog *c, struct loop *l,
			  struct catalog_stream *inout, const char *tags_json,
			  struct catalog_op *op)
{
	struct catalog_job *j = job_new(c, l, op);

	if (!j)
		return;
	j->stream = inout;
	if (tags_json) {
		j->tags_json = strdup(tags_json);
		if (!j->tags_json) {
			job_done(j, -ENOMEM);
			return;
		}
	}
	j->job.run = create_run;
	worker_submit(j->cs->worker, &j->job);
}

static int change_remove(struct catalog_db *db, const void *change)
{
	return catalog_db_remove(db, change);
}

static int remove_stream(struct catalog_job *j, struct catalog_stream *gone)
{
	struct catalog_hold holds[STORE_HOLDS_MAX];
	struct catalog_sqlite *cs = j->cs;
	int r;

	r = catalog_cache_find(&cs->cache, NULL, j->arn, NULL, gone);
	if (r < 0)
		return r;
	if (!j->any_version && strcmp(gone->version, j->version) != 0)
		return -ESTALE;
	if (catalog_holds_list(&cs->holds, gone->store.id, holds))
		return -EBUSY;
	r = catalog_change_both(cs, change_remove, gone->store.id, true);
	if (r < 0)
		return catalog_public_error(r);
	catalog_cache_remove(&cs->cache, gone->store.id);
	/* Tried again until it succeeds, but only success is told as such. */
	return scrub(cs) < 0 ? -EIO : 0;
}

static void remove_run(struct worker_job *job)
{
	struct catalog_job *j = container_of(job, struct catalog_job, job);

	job_done(j, remove_stream(j, j->stream));
}

static void sqlite_remove(struct catalog *c, struct loop *l, const char *arn,
			  const char *version, struct catalog_stream *ret_gone,
			  struct catalog_op *op)
{
	struct catalog_job *j;

	if (strlen(arn) >= CATALOG_ARN_BYTES) {
		complete(l, op, -ENOENT);
		return;
	}
	if (version && strlen(version) >= CATALOG_VERSION_BYTES) {
		complete(l, op, -ESTALE);
		return;
	}
	j = job_new(c, l, op);
	if (!j)
		return;
	j->stream = ret_gone;
	j->any_version = !version;
	(void)snprintf(j->arn, sizeof(j->arn), "%s", arn);
	(void)snprintf(j->version, sizeof(j->version), "%s",
		       version ? version : "");
	j->job.run = remove_run;
	worker_submit(j->cs->worker, &j->job);
}

static int change_retention(struct catalog_db *db, const void *change)
{
	return catalog_db_retain(db, change);
}

/* @s as the catalog has it becomes as it is to be. */
static int retain_stream(struct catalog_sqlite *cs, struct catalog_stream *s,
			 int32_t hours)
{
	struct catalog_row row = {.version = s->version};
	struct cached_stream *cached;
	uint8_t random[16];
	int64_t sum = (int64_t)s->retention_hours + hours;
	int r;

	if (sum < 0 || sum > (int64_t)RETENTION_HOURS_MAX)
		return -ERANGE;
	r = crypto_random(random, sizeof(random));
	if (r < 0)
		return r;
	version_format(random, s->version);
	s->retention_hours = (uint32_t)sum;
	memcpy(row.id, s->store.id, sizeof(row.id));
	row.retention_hours = s->retention_hours;
	/* Seen by nobody before it is durable. */
	r = catalog_cache_prepare_change(s, &cached);
	if (r < 0)
		return r;
	r = catalog_change_both(cs, change_retention, &row, false);
	if (r < 0)
		catalog_cache_discard(cached);
	else
		catalog_cache_replace(&cs->cache, cached);
	return r;
}

/* By whichever of name and ARN was asked for. */
static int find_stream(const struct catalog_job *j,
		       struct catalog_stream *ret_stream)
{
	return catalog_cache_find(&j->cs->cache, j->name[0] ? j->name : NULL,
				  j->name[0] ? NULL : j->arn, NULL, ret_stream);
}

static void retain_run(struct worker_job *job)
{
	struct catalog_job *j = container_of(job, struct catalog_job, job);
	struct catalog_stream *s = malloc(sizeof(*s));
	int r = -ENOMEM;

	if (s) {
		r = find_stream(j, s);
		if (r == 0 && strcmp(s->version, j->version) != 0)
			r = -ESTALE;
		if (r == 0) {
			r = retain_stream(j->cs, s, j->hours);
			if (r < 0 && r != -ERANGE)
				r = catalog_public_error(r);
		}
		if (r == 0)
			*j->stream = *s;
		crypto_wipe(s, sizeof(*s));
		free(s);
	}
	job_done(j, r);
}

static void sqlite_retain(struct catalog *c, struct loop *l, const char *name,
			  const char *arn, const char *version, int32_t hours,
			  struct catalog_stream *ret_stream,
			  struct catalog_op *op)
{
	struct catalog_job *j;

	if (strlen(name ? name : arn) >=
	    (name ? CATALOG_NAME_BYTES : CATALOG_ARN_BYTES)) {
		complete(l, op, -ENOENT);
		return;
	}
	if (strlen(version) >= CATALOG_VERSION_BYTES) {
		complete(l, op, -ESTALE);
		return;
	}
	j = job_new(c, l, op);
	if (!j)
		return;
	j->stream = ret_stream;
	j->hours = hours;
	(void)snprintf(j->name, sizeof(j->name), "%s", name ? name : "");
	(void)snprintf(j->arn, sizeof(j->arn), "%s", name ? "" : arn);
	(void)snprintf(j->version, sizeof(j->version), "%s", version);
	j->job.run = retain_run;
	worker_submit(j->cs->worker, &j->job);
}

static int apply_key(const struct catalog_sqlite *cs, struct catalog_stream *s)
{
	if (kms_key_is_default(s->kms_key_id))
		return 0;
	return kms_keys_apply(cs->dir->sys, cs->kms_keys, s->kms_key_id,
			      &s->store);
}

static void key_run(struct worker_job *job)
{
	struct catalog_job *j = container_of(job, struct catalog_job, job);

	j->stream->key_error = apply_key(j->cs, j->stream);
	job_done(j, 0);
}

static void sqlite_find(struct catalog *c, struct loop *l, const char *name,
			const char *arn, struct catalog_stream *ret_stream,
			struct catalog_op *op)
{
	int r = catalog_cache_find(&catalog_sqlite_of(c)->cache, name, arn, NULL,
				   ret_stream);
	struct catalog_job *j;

	if (r < 0 || kms_key_is_default(ret_stream->kms_key_id)) {
		complete(l, op, r);
		return;
	}
	/* Reading a key blocks. */
	j = job_new(c, l, op);
	if (!j)
		return;
	j->stream = ret_stream;
	j->job.run = key_run;
	worker_submit(j->cs->worker, &j->job);
}

static void tags_run(struct worker_job *job)
{
	struct catalog_job *j = container_of(job, struct catalog_job, job);
	struct catalog_stream *s = malloc(sizeof(*s));
	int r = -ENOMEM;

	if (s) {
		r = find_stream(j, s);
		if (r == 0)
			r = catalog_db_tags(j->cs->first, s->store.id,
					    j->ret_tags);
		crypto_wipe(s, sizeof(*s));
		free(s);
	}
	job_done(j, r < 0 && r != -ENOENT ? catalog_public_error(r) : r);
}

static void sqlite_tags(struct catalog *c, struct loop *l, const char *name,
			const char *arn, char **ret_json,
			struct catalog_op *op)
{
	struct catalog_job *j;

	if (strlen(name ? name : arn) >=
	    (name ? CATALOG_NAME_BYTES : CATALOG_ARN_BYTES)) {
		complete(l, op, -ENOENT);
		return;
	}
	j = job_new(c, l, op);
	if (!j)
		return;
	j->ret_tags = ret_json;
	(void)snprintf(j->name, sizeof(j->name), "%s", name ? name : "");
	(void)snprintf(j->arn, sizeof(j->arn), "%s", arn ? arn : "");
	j->job.run = tags_run;
	worker_submit(j->cs->worker, &j->job);
}

static void sqlite_list(struct catalog *c, struct loop *l, const char *prefix,
			const char *after, struct catalog_stream *ret_rows,
			size_t limit, struct catalog_op *op)
{
	complete(l, op,
		 catalog_cache_list(&catalog_sqlite_of(c)->cache, prefix, after,
				    ret_rows, limit));
}

static void sqlite_credential(struct catalog *c, struct loop *l,
			      const char *access_key,
			      struct catalog_credential *ret_credential,
			      struct catalog_op *op)
{
	complete(l, op,
		 catalog_cache_credential(&catalog_sqlite_of(c)->cache,
					  access_key, ret_credential));
}

static const struct catalog_ops sqlite_ops = {
	.create = sqlite_create,
	.find = sqlite_find,
	.remove = sqlite_remove,
	.retain = sqlite_retain,
	.list = sqlite_list,
	.credential = sqlite_credential,
	.tags = sqlite_tags,
};

/* --- credentials --- */

struct credential_job {
	struct worker_job job;
	struct catalog_sqlite *cs;
	const struct catalog_credential *credential;
	int res;
};

static int change_credential(struct catalog_db *db, const void *change)
{
	return catalog_db_put_credential(db, change);
}

static void credential_run(struct worker_job *job)
{
	struct credential_job *j =
		container_of(job, struct credential_job, job);
	const struct catalog_credential *c = j->credential;
	uint8_t wrapped[WRAPPED_SECRET_BYTES_MAX];
	struct catalog_credential_row row = {
		.access_key = c->access_key,
		.wrapped_secret = wrapped,
		.wrapped_len = strlen(c->secret) + KMS_WRAP_BYTES,
		.enabled = c->enabled,
	};
	int r;

	r = kms_wrap(j->cs->kms, c->access_key, strlen(c->access_key),
		     c->secret, strlen(c->secret), wrapped);
	if (r == 0)
		r = catalog_change_both(j->cs, change_credential, &row, false);
	if (r == 0)
		r = catalog_cache_put_credential(&j->cs->cache, c);
	j->res = r < 0 ? catalog_public_error(r) : 0;
}

int catalog_sqlite_put_credential(struct catalog *c,
				  const struct catalog_credential *credential)
{
	struct catalog_sqlite *cs = catalog_sqlite_of(c);
	struct credential_job j = {
		.job.run = credential_run,
		.cs = cs,
		.credential = credential,
	};
	struct catalog_credential old;
	bool known;
	bool same;

	if (!credential->access_key[0] || !credential->secret[0])
		return -EINVAL;
	known = catalog_cache_credential(&cs->cache, credential->access_key,
					 &old) == 0;
	same = known && strcmp(old.secret, credential->secret) == 0 &&
	       old.enabled == credential->enabled;
	crypto_wipe(&old, sizeof(old));
	/* The same again costs no write: a full disk must not stop a start. */
	if (same)
		return 0;
	if (!known && catalog_cache_credential_count(&cs->cache) >=
			      CREDENTIALS_MAX)
		return -ENOSPC;
	worker_call(cs->worker, &j.job);
	return j.res;
}

size_t catalog_sqlite_credential_count(struct catalog *c)
{
	return catalog_cache_credential_count(&catalog_sqlite_of(c)->cache);
}

/* --- the object --- */

int catalog_sqlite_find_key(void *catalog, const uint8_t id[STREAM_ID_BYTES],
			    uint8_t ret_key[DATA_KEY_BYTES])
{
	struct catalog_sqlite *cs = catalog_sqlite_of(catalog);
	struct catalog_stream *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = catalog_cache_find(&cs->cache, NULL, NULL, id, s);
	if (r == 0)
		r = apply_key(cs, s);
	if (r == 0)
		memcpy(ret_key, s->store.key, DATA_KEY_BYTES);
	crypto_wipe(s, sizeof(*s));
	free(s);
	return r;
}

static struct catalog_sqlite *sqlite_free(struct catalog_sqlite *cs)
{
	if (!cs)
		return NULL;
	cs->worker = worker_free(cs->worker);
	cs->first = catalog_db_close(cs->first);
	cs->copy = catalog_db_close(cs->copy);
	cs->kms = kms_local_close(cs->kms);
	catalog_cache_fini(&cs->cache);
	catalog_holds_fini(&cs->holds);
	free(cs);
	return NULL;
}
DEFINE_AUTO(sqlite_free, struct catalog_sqlite *)

int catalog_sqlite_open(const struct catalog_sqlite_config *config,
			struct catalog **ret_catalog)
{
	AUTO(sqlite_free) struct catalog_sqlite *cs = calloc(1, sizeof(*cs));
	int r;

	if (!cs)
		return -ENOMEM;
	catalog_cache_init(&cs->cache);
	catalog_holds_init(&cs->holds);
	cs->base.ops = &sqlite_ops;
	cs->dir = config->dir;
	cs->kms_keys = config->kms_keys;
	if (!name_region_valid(slice_of(config->region)) ||
	    !name_account_valid(slice_of(config->account)))
		return -EINVAL;
	(void)snprintf(cs->region, sizeof(cs->region), "%s", config->region);
	(void)snprintf(cs->account, sizeof(cs->account), "%s",
		       config->account);
	r = catalog_open_kms(cs, config->master_key);
	if (r == 0)
		r = catalog_open_both(cs);
	if (r == 0)
		r = worker_new(!config->no_thread, batch_end, cs,
			       &cs->worker);
	if (r < 0)
		return r;
	*ret_catalog = &TAKE_PTR(cs)->base;
	return 0;
}

struct catalog *catalog_sqlite_close(struct catalog *c)
{
	if (c)
		(void)sqlite_free(catalog_sqlite_of(c));
	return NULL;
}
