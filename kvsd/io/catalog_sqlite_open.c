/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the local catalog: which of its two databases counts, and the other
 * made again from it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/catalog_int.h"
#include "io/crypto.h"
#include "io/kms_local.h"
#include "io/segment_file.h"

#define FIRST_NAME "catalog.db"
#define COPY_NAME "catalog-copy.db"
#define CHECK_CONTEXT "kvsd catalog"
#define CHECK_BYTES (DATA_DIR_ID_BYTES + KMS_WRAP_BYTES)

static bool has_catalog(const struct data_dir *d)
{
	static const char *const names[] = {FIRST_NAME, COPY_NAME};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		int fd = d->sys->openat(d->fd, names[i], O_RDONLY | O_CLOEXEC,
					0);

		if (fd != -ENOENT) {
			sys_close(d->sys, &fd);
			return true;
		}
	}
	return false;
}

static int load_stream(void *ctx, const struct catalog_row *row)
{
	struct catalog_sqlite *cs = ctx;
	struct catalog_stream *s;
	int r;

	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	memcpy(s->store.id, row->id, sizeof(row->id));
	(void)snprintf(s->name, sizeof(s->name), "%s", row->name);
	(void)snprintf(s->arn, sizeof(s->arn), "%s", row->arn);
	(void)snprintf(s->version, sizeof(s->version), "%s", row->version);
	(void)snprintf(s->device_name, sizeof(s->device_name), "%s",
		       row->device_name);
	(void)snprintf(s->media_type, sizeof(s->media_type), "%s",
		       row->media_type);
	(void)snprintf(s->kms_key_id, sizeof(s->kms_key_id), "%s",
		       row->kms_key_id);
	s->created_ms = row->created_ms;
	s->retention_hours = row->retention_hours;
	r = kms_unwrap(cs->kms, row->id, sizeof(row->id),
		       row->wrapped_key, sizeof(row->wrapped_key),
		       s->store.key);
	if (r == 0)
		r = catalog_cache_add(&cs->cache, s);
	crypto_wipe(s, sizeof(*s));
	free(s);
	return r;
}

static int load_credential(void *ctx, const struct catalog_credential_row *row)
{
	struct catalog_sqlite *cs = ctx;
	struct catalog_credential c = { .enabled = row->enabled };
	int r;

	if (strlen(row->access_key) >= sizeof(c.access_key) ||
	    row->wrapped_len < KMS_WRAP_BYTES ||
	    row->wrapped_len - KMS_WRAP_BYTES >= sizeof(c.secret))
		return -EUCLEAN;
	(void)snprintf(c.access_key, sizeof(c.access_key), "%s",
		       row->access_key);
	r = kms_unwrap(cs->kms, c.access_key, strlen(c.access_key),
		       row->wrapped_secret, row->wrapped_len,
		       (uint8_t *)c.secret);
	if (r == 0)
		r = catalog_cache_put_credential(&cs->cache, &c);
	crypto_wipe(&c, sizeof(c));
	return r;
}

/* Return: 0; -EKEYREJECTED; -EUCLEAN (its rows do not verify). */
static int load(struct catalog_sqlite *cs, struct catalog_db *db)
{
	uint8_t plain[DATA_DIR_ID_BYTES];
	uint8_t check[CHECK_BYTES];
	int r;

	r = catalog_db_check(db, check, sizeof(check));
	if (r < 0)
		return r;
	r = kms_unwrap(cs->kms, CHECK_CONTEXT, strlen(CHECK_CONTEXT),
		       check, sizeof(check), plain);
	if (r == 0 && memcmp(plain, cs->dir->id, sizeof(plain)))
		r = -EBADMSG;
	if (r < 0)
		return r == -EBADMSG ? -EKEYREJECTED : r;
	catalog_cache_clear(&cs->cache);
	catalog_holds_clear(&cs->holds);
	r = catalog_db_streams(db, load_stream, cs);
	if (r == 0)
		r = catalog_db_holds(db, catalog_load_hold, cs);
	if (r == 0)
		r = catalog_db_credentials(db, load_credential, cs);
	return r == -EBADMSG || r == -EEXIST ? -EUCLEAN : r;
}

/* Makes the database @name again from @from, and opens it. */
static int make_again(struct catalog_sqlite *cs, struct catalog_db *from,
		      const char *name, struct catalog_db **db)
{
	int r;

	/*
	 * What is replaced may hold keys that were shredded since: they are
	 * overwritten before its blocks are given back.
	 */
	if (!*db && catalog_db_open(cs->dir, name, db) < 0)
		log_debug("catalog", "%s: not there or damaged", name);
	if (*db && catalog_db_wipe(*db) < 0)
		log_warn("catalog", "%s: not wiped", name);
	*db = catalog_db_close(*db);
	r = catalog_db_copy(cs->dir, from, name);
	return r < 0 ? r : catalog_db_open(cs->dir, name, db);
}

static int create_first(struct catalog_sqlite *cs)
{
	const struct data_dir *d = cs->dir;
	uint8_t check[CHECK_BYTES];
	int r;

	r = kms_wrap(cs->kms, CHECK_CONTEXT, strlen(CHECK_CONTEXT),
		     d->id, sizeof(d->id), check);
	if (r == 0)
		r = catalog_db_create(d, FIRST_NAME, check, sizeof(check));
	if (r == 0)
		r = catalog_db_open(d, FIRST_NAME, &cs->first);
	return r;
}

/* Media without a catalog cannot be read by anyone: it was lost. */
static int check_unused(struct catalog_sqlite *cs)
{
	const struct data_dir *d = cs->dir;
	uint32_t *numbers;
	size_t count;
	int r;

	r = segment_file_list(d, &numbers, &count);
	if (r < 0)
		return r;
	free(numbers);
	if (!count)
		return 0;
	log_error("catalog", "%s: has segments but no catalog", d->path);
	return -EUCLEAN;
}

/* Opens one of them; NULL when it is gone or damaged. */
static int open_one(struct catalog_sqlite *cs, const char *name,
		    struct catalog_db **ret_db, bool *damaged)
{
	int r = catalog_db_open(cs->dir, name, ret_db);

	if (r == -EUCLEAN) {
		log_error("catalog", "%s: damaged", name);
		*damaged = true;
		return 0;
	}
	if (r == -EMEDIUMTYPE)
		log_error("catalog", "%s: belongs to another directory", name);
	else if (r < 0 && r != -ENOENT)
		log_error("catalog", "%s: %s", name, strerror(-r));
	return r == -ENOENT ? 0 : r;
}

static void swap(struct catalog_sqlite *cs)
{
	struct catalog_db *db = cs->first;
	const char *name = cs->first_name;

	cs->first = cs->copy;
	cs->first_name = cs->copy_name;
	cs->copy = db;
	cs->copy_name = name;
}

/*
 * catalog.db leads as soon as it is whole: additions are durable in the leader
 * only when the copy fails, and a start without the copy relies on that.
 */
int catalog_make_copy(struct catalog_sqlite *cs)
{
	int r = make_again(cs, cs->first, cs->copy_name, &cs->copy);

	if (r == 0 && strcmp(cs->first_name, FIRST_NAME) != 0)
		swap(cs);
	return r;
}

/* What is there is enough to serve from, on a full disk, say. */
static int renew_copy(struct catalog_sqlite *cs, bool fresh)
{
	int r;

	if (!fresh)
		log_warn("catalog", "%s is made again from %s", cs->copy_name,
			 cs->first_name);
	r = catalog_make_copy(cs);
	if (r == 0 || fresh)
		return r;
	log_error("catalog", "%s: %s; no changes until it can be made",
		  cs->copy_name, strerror(-r));
	return 0;
}

/* Takes the better of the two as first; both are opened and may be NULL. */
static int choose(struct catalog_sqlite *cs, bool fresh)
{
	struct catalog_db *a = cs->first;
	struct catalog_db *b = cs->copy;
	bool copy_leads;
	int r;

	copy_leads = !a || (b && catalog_db_revision(b) >
					 catalog_db_revision(a));
	r = load(cs, copy_leads ? b : a);
	if (r == -EUCLEAN && a && b) {
		log_error("catalog", "%s: rows do not verify",
			  copy_leads ? COPY_NAME : FIRST_NAME);
		copy_leads = !copy_leads;
		r = load(cs, copy_leads ? b : a);
	} else if (r == 0 && a && b &&
		   catalog_db_revision(a) == catalog_db_revision(b)) {
		return 0;
	}
	if (r == -EKEYREJECTED)
		log_error("catalog", "the master key is not this catalog's");
	if (r < 0)
		return r;
	if (copy_leads)
		swap(cs);
	return cs->dir->readonly ? 0 : renew_copy(cs, fresh);
}

int catalog_open_both(struct catalog_sqlite *cs)
{
	bool damaged = false;
	bool fresh = false;
	int r;

	cs->first_name = FIRST_NAME;
	cs->copy_name = COPY_NAME;
	r = open_one(cs, FIRST_NAME, &cs->first, &damaged);
	if (r < 0)
		return r;
	r = open_one(cs, COPY_NAME, &cs->copy, &damaged);
	/* The first has all that was ever acknowledged; the copy may not. */
	if (r < 0 && (!cs->first || r == -EMEDIUMTYPE || r == -ENOMEM))
		return r;
	if (!cs->first && !cs->copy) {
		if (damaged || cs->dir->readonly)
			return damaged ? -EUCLEAN : -ENOENT;
		fresh = true;
		r = check_unused(cs);
		if (r == 0)
			r = create_first(cs);
		if (r < 0)
			return r;
	}
	return choose(cs, fresh);
}

int catalog_open_kms(struct catalog_sqlite *cs, const char *path)
{
	const struct data_dir *d = cs->dir;

	if (path)
		return kms_local_open(d->sys, AT_FDCWD, path, false,
				      &cs->kms);
	return kms_local_open(d->sys, d->fd, "master.key",
			      !d->readonly && !has_catalog(d), &cs->kms);
}
