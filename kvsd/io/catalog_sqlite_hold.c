/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/limits.h"
#include "io/catalog_int.h"
#include "io/crypto.h"

struct hold_job {
	struct worker_job job;
	struct catalog_sqlite *cs;
	const char *stream;
	struct catalog_hold_row row;
	bool remove;
	int res;
};

int catalog_load_hold(void *ctx, const struct catalog_hold_row *row)
{
	struct catalog_sqlite *cs = ctx;
	int r = catalog_holds_prepare(&cs->holds, row);

	if (r == 0)
		catalog_holds_publish(&cs->holds, row);
	return r == -ENOMEM ? r : r < 0 ? -EUCLEAN : 0;
}

static int change_hold(struct catalog_db *db, const void *change)
{
	return catalog_db_add_hold(db, change);
}

static int change_release(struct catalog_db *db, const void *change)
{
	return catalog_db_remove_hold(db, change);
}

static int find_id(struct catalog_sqlite *cs, const char *name,
		   uint8_t ret_id[STREAM_ID_BYTES])
{
	struct catalog_stream *s = malloc(sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = catalog_cache_find(&cs->cache, name, NULL, NULL, s);
	if (r == 0)
		memcpy(ret_id, s->store.id, STREAM_ID_BYTES);
	crypto_wipe(s, sizeof(*s));
	free(s);
	return r;
}

static int add(struct catalog_sqlite *cs, struct catalog_hold_row *row)
{
	int r = catalog_holds_prepare(&cs->holds, row);

	if (r < 0)
		return r == -EALREADY ? 0 : r;
	row->hold.created_ms =
		sys_now_ns(cs->dir->sys, CLOCK_REALTIME) / NS_PER_MS;
	r = catalog_change_both(cs, change_hold, row, false);
	if (r < 0)
		return catalog_public_error(r);
	catalog_holds_publish(&cs->holds, row);
	return 0;
}

static int release(struct catalog_sqlite *cs,
		   const struct catalog_hold_row *row)
{
	int r = catalog_holds_prepare(&cs->holds, row);

	if (r != -EALREADY && r != -EEXIST)
		return r == -ENOMEM ? r : -ENODATA;
	r = catalog_change_both(cs, change_release, row, false);
	if (r < 0)
		return catalog_public_error(r);
	catalog_holds_remove(&cs->holds, row->stream_id, row->hold.name);
	return 0;
}

static void hold_run(struct worker_job *job)
{
	struct hold_job *j = container_of(job, struct hold_job, job);
	int r = find_id(j->cs, j->stream, j->row.stream_id);

	if (r == 0)
		r = j->remove ? release(j->cs, &j->row) : add(j->cs, &j->row);
	j->res = r;
}

static int run(struct catalog *c, const char *stream,
	       const struct catalog_hold *hold, bool remove)
{
	struct hold_job j = {
		.job.run = hold_run,
		.cs = catalog_sqlite_of(c),
		.stream = stream,
		.row.hold = *hold,
		.remove = remove,
	};

	if (strlen(hold->name) >= sizeof(hold->name) ||
	    !name_stream_valid(slice_of(hold->name)))
		return -EINVAL;
	worker_call(j.cs->worker, &j.job);
	return j.res;
}

int catalog_sqlite_hold(struct catalog *c, const char *stream,
			const struct catalog_hold *hold)
{
	if (hold->range.from_ms > hold->range.to_ms ||
	    hold->range.to_ms > INT64_MAX)
		return -EINVAL;
	return run(c, stream, hold, false);
}

int catalog_sqlite_release(struct catalog *c, const char *stream,
			   const char *name)
{
	struct catalog_hold hold = {.range.from_ms = 0};
	size_t len = strlen(name);

	if (len >= sizeof(hold.name))
		return -EINVAL;
	memcpy(hold.name, name, len);
	return run(c, stream, &hold, true);
}

int catalog_sqlite_holds(struct catalog *c, const char *stream,
			 struct catalog_hold ret_holds[STORE_HOLDS_MAX])
{
	struct catalog_sqlite *cs = catalog_sqlite_of(c);
	uint8_t id[STREAM_ID_BYTES];
	int r = find_id(cs, stream, id);

	return r < 0 ? r : (int)catalog_holds_list(&cs->holds, id, ret_holds);
}

int catalog_sqlite_find_holds(void *catalog, const uint8_t id[STREAM_ID_BYTES],
			      struct store_holds *ret_holds)
{
	catalog_holds_ranges(&catalog_sqlite_of(catalog)->holds, id, ret_holds);
	return 0;
}
