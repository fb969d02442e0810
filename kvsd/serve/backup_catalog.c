/* SPDX-License-Identifier: Apache-2.0 */
#include "io/kms_keys.h"
#include "serve/backup_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "core/limits.h"
#include "io/catalog_db.h"
#include "io/crypto.h"
#include "io/segment_file.h"

#define NAME_BYTES 32
#define TRIES_MAX 64u

/* One file's bytes to @digest, and to @out if it is one. */
static int take_file(struct backup *b, const char *name, int out,
		     struct crypto_digest *digest)
{
	uint64_t at = 0;
	size_t len = BACKUP_COPY_BYTES;
	int fd;
	int r = 0;

	fd = b->sys->openat(b->from.fd, name, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	while (r == 0 && len == BACKUP_COPY_BYTES) {
		r = segment_file_read(&b->from, fd, b->bytes, BACKUP_COPY_BYTES,
				      at, &len);
		if (r == 0)
			r = crypto_digest_add(digest, b->bytes, len);
		if (r == 0 && out >= 0)
			r = backup_write(b, out, b->bytes, len, at);
		at += len;
	}
	sys_close(b->sys, &fd);
	return r;
}

static int take_to(struct backup *b, const char *name, const char *to,
		   struct crypto_digest *digest)
{
	int out = -EBADF;
	int r;

	if (to) {
		out = b->sys->openat(b->to.fd, to,
				     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				     0600);
		if (out < 0)
			return backup_failed(&b->to, to, out);
	}
	r = take_file(b, name, out, digest);
	sys_close(b->sys, &out);
	return r;
}

/* A database, then its log. @to: where they are copied to, or NULL. */
static int take_both(struct backup *b, const char *name, const char *to,
		     uint8_t ret_digest[CRYPTO_HASH_BYTES])
{
	AUTO(crypto_digest_free)
	struct crypto_digest *digest = crypto_digest_new();
	char log[NAME_BYTES];
	char to_log[NAME_BYTES];
	int r;

	if (!digest)
		return -ENOMEM;
	(void)snprintf(log, sizeof(log), "%s-wal", name);
	(void)snprintf(to_log, sizeof(to_log), "%s-wal", to ? to : "");
	r = take_to(b, name, to, digest);
	/* So that no byte can pass from one to the other. */
	if (r == 0)
		r = crypto_digest_add(digest, "|", 1);
	if (r == 0)
		r = take_to(b, log, to ? to_log : NULL, digest);
	if (r == -ENOENT)
		r = crypto_digest_add(digest, "-", 1); /* one of them */
	return r < 0 ? r : crypto_digest_final(digest, ret_digest);
}

static void remove_temp(struct backup *b, const char *temp)
{
	static const char *const tails[] = {"", "-wal", "-shm", "-journal"};
	char name[NAME_BYTES];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(tails); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", temp, tails[i]);
		(void)b->sys->unlinkat(b->to.fd, name, 0);
	}
}

/*
 * Read twice, one after the other, and the same: then each byte was what it
 * is when the first reading ended, between checkpoints or within one. That
 * is what SQLite recovers from after a kill.
 *
 * Return: 0 (*ret_db is NULL: missing or damaged), or an error.
 */
static int take_catalog(struct backup *b, const char *name, const char *temp,
			struct catalog_db **ret_db)
{
	uint8_t first[CRYPTO_HASH_BYTES];
	uint8_t again[CRYPTO_HASH_BYTES];
	unsigned int i;
	int r;

	for (i = 0; i < TRIES_MAX; i++) {
		remove_temp(b, temp);
		r = take_both(b, name, temp, first);
		if (r == 0)
			r = take_both(b, name, NULL, again);
		if (r < 0)
			return backup_failed(&b->from, name, r);
		if (!memcmp(first, again, sizeof(first)))
			break;
	}
	if (i == TRIES_MAX)
		return backup_failed(&b->from, name, -EBUSY);
	r = catalog_db_open(&b->to, temp, ret_db);
	if (r == -EUCLEAN || r == -ENOENT) {
		log_warn("backup", "%s/%s: missing or damaged", b->from.path,
			 name);
		return 0;
	}
	return r < 0 ? backup_failed(&b->from, name, r) : 0;
}

/* What is replaced may have keys of streams that were deleted since. */
static int put_catalog(struct backup *b, struct catalog_db *from,
		       const char *name)
{
	struct catalog_db *old = NULL;
	int r;

	if (catalog_db_open(&b->to, name, &old) == 0 &&
	    catalog_db_wipe(old) < 0)
		log_warn("backup", "%s/%s: not wiped", b->to.path, name);
	(void)catalog_db_close(old);
	r = catalog_db_copy(&b->to, from, name);
	return r < 0 ? backup_failed(&b->to, name, r) : 0;
}

/* The higher revision is the truth; equal, each is copied for itself. */
static int put_catalogs(struct backup *b, struct catalog_db *first,
			struct catalog_db *copy)
{
	int r;

	if (!first && !copy)
		return backup_failed(&b->from, "catalog.db", -EUCLEAN);
	if (!first ||
	    (copy && catalog_db_revision(copy) > catalog_db_revision(first)))
		first = copy;
	else if (!copy ||
		 catalog_db_revision(copy) < catalog_db_revision(first))
		copy = first;
	b->revision = catalog_db_revision(first);
	/* One after the other, so that one is always whole. */
	r = put_catalog(b, copy, "catalog-copy.db");
	return r < 0 ? r : put_catalog(b, first, "catalog.db");
}

static bool is_named(const struct backup *b, const char *line)
{
	const char *at = strstr(b->key_names, line);

	return at && (at == b->key_names || at[-1] == '\n');
}

/* Customers' keys stay where they are: who has both can read the media. */
static int note_key(void *ctx, const struct catalog_row *row)
{
	struct backup *b = ctx;
	size_t used = strlen(b->key_names);
	char line[sizeof(b->key_names)];
	int n;

	if (!row->kms_key_id[0] || kms_key_is_default(row->kms_key_id))
		return 0;
	b->sealed++;
	n = snprintf(line, sizeof(line), "  %s\n", row->kms_key_id);
	if (n < 0 || (size_t)n >= sizeof(line) - used) {
		b->more_keys |= n < 0 || (size_t)n >= sizeof(line) ||
				!is_named(b, line);
		return 0;
	}
	if (!is_named(b, line))
		memcpy(b->key_names + used, line, (size_t)n + 1);
	return 0;
}

static int note_keys(struct backup *b)
{
	struct catalog_db *db = NULL;
	int r = catalog_db_open(&b->to, "catalog.db", &db);

	if (r == 0)
		r = catalog_db_streams(db, note_key, b);
	(void)catalog_db_close(db);
	return r < 0 ? backup_failed(&b->to, "catalog.db", r) : 0;
}

static void drop_temp(struct backup *b, struct catalog_db *db, const char *temp)
{
	if (db && catalog_db_wipe(db) < 0)
		log_warn("backup", "%s/%s: not wiped", b->to.path, temp);
	(void)catalog_db_close(db);
	remove_temp(b, temp);
}

int backup_catalogs(struct backup *b)
{
	struct catalog_db *first = NULL;
	struct catalog_db *copy = NULL;
	int r;

	r = take_catalog(b, "catalog.db", "backup-1.db", &first);
	if (r == 0)
		r = take_catalog(b, "catalog-copy.db", "backup-2.db", &copy);
	if (r == 0)
		r = put_catalogs(b, first, copy);
	if (r == 0)
		r = note_keys(b);
	drop_temp(b, first, "backup-1.db");
	drop_temp(b, copy, "backup-2.db");
	return r;
}
