/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalog in a directory of its own, on a loop that runs while it is waited
 * for: opened, closed, asked, damaged. cmocka's setup and teardown of the
 * catalog's tests.
 */
#ifndef SUPPORT_CATALOG_RIG_H
#define SUPPORT_CATALOG_RIG_H

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/catalog_sqlite.h"
#include "support/catalog_wait.h"
#include "support/loop_fake.h"
#include "support/scratch.h"
#include "support/store_rig.h"

struct rig {
	char path[64];
	struct data_dir dir;
	struct catalog *catalog;
	struct loop *loop;
	const char *kms_key_id; /* NULL: the default one, no directory */
	bool threaded;
};

static struct rig rig;

static inline int open_it(void)
{
	struct catalog_sqlite_config config = {
		.dir = &rig.dir,
		.region = "eu-central-1",
		.account = "123456789012",
		.no_thread = !rig.threaded,
		.kms_keys = rig.kms_key_id ? rig.path : NULL,
	};
	int r;

	r = data_dir_open(sys_posix(), rig.path, true, &rig.dir);
	if (r < 0)
		return r;
	r = catalog_sqlite_open(&config, &rig.catalog);
	if (r < 0)
		data_dir_close(&rig.dir);
	return r;
}

static inline void close_it(void)
{
	if (!rig.catalog)
		return;
	rig.catalog = catalog_sqlite_close(rig.catalog);
	data_dir_close(&rig.dir);
}

static inline int start(bool threaded)
{
	struct loop_fake_config config = {.threads = threaded};

	memset(&rig, 0, sizeof(rig));
	rig.threaded = threaded;
	if (!scratch_dir(rig.path, sizeof(rig.path), "kvsd-catalog"))
		return -1;
	rig.loop = loop_fake_new(&config);
	return open_it();
}

static inline int setup(void **state)
{
	(void)state;
	return start(false);
}

static inline int setup_threaded(void **state)
{
	(void)state;
	return start(true);
}

static inline int teardown(void **state)
{
	(void)state;
	close_it();
	rig.loop = loop_free(rig.loop);
	rig_remove(rig.path);
	return 0;
}

/* --- synchronous calls --- */

static inline int wait_for(struct catalog_wait *w)
{
	assert_false(w->done); /* never from inside the call */
	assert_int_equal(loop_fake_until(rig.loop, &w->done), 0);
	return w->res;
}

static inline int create(const char *name, struct catalog_stream *s)
{
	struct catalog_wait w = CATALOG_WAIT;

	memset(s, 0, sizeof(*s));
	(void)snprintf(s->name, sizeof(s->name), "%s", name);
	(void)snprintf(s->device_name, sizeof(s->device_name), "dev-%s", name);
	(void)snprintf(s->media_type, sizeof(s->media_type), "video/h264");
	(void)snprintf(s->kms_key_id, sizeof(s->kms_key_id), "%s",
		       rig.kms_key_id ? rig.kms_key_id
				      : "alias/aws/kinesisvideo");
	s->retention_hours = 24;
	catalog_create(rig.catalog, rig.loop, s, "{\"a\":\"b\"}", &w.op);
	return wait_for(&w);
}

static inline int find(const char *name, const char *arn,
		       struct catalog_stream *s)
{
	struct catalog_wait w = CATALOG_WAIT;

	catalog_find(rig.catalog, rig.loop, name, arn, s, &w.op);
	return wait_for(&w);
}

static inline int delete (const char *arn, const char *version,
			  struct catalog_stream *gone)
{
	struct catalog_wait w = CATALOG_WAIT;

	catalog_remove(rig.catalog, rig.loop, arn, version, gone, &w.op);
	return wait_for(&w);
}

static inline int list(const char *prefix, const char *after,
		       struct catalog_stream *rows, size_t limit)
{
	struct catalog_wait w = CATALOG_WAIT;

	catalog_list(rig.catalog, rig.loop, prefix, after, rows, limit, &w.op);
	return wait_for(&w);
}

static inline int credential(const char *key, struct catalog_credential *c)
{
	struct catalog_wait w = CATALOG_WAIT;

	catalog_credential(rig.catalog, rig.loop, key, c, &w.op);
	return wait_for(&w);
}

static inline char *in_dir(const char *name)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/%s", rig.path, name);
	return path;
}

/* Whether the bytes are anywhere in the catalog's files. */
static inline bool on_disk(const void *needle, size_t len)
{
	static const char *const names[] = {"catalog.db", "catalog.db-wal",
					    "catalog-copy.db",
					    "catalog-copy.db-wal"};
	bool found = false;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		int fd = open(in_dir(names[i]), O_RDONLY | O_CLOEXEC);
		struct stat st;
		char *bytes;

		if (fd < 0)
			continue;
		assert_int_equal(fstat(fd, &st), 0);
		bytes = malloc((size_t)st.st_size + 1);
		assert_int_equal(read(fd, bytes, (size_t)st.st_size),
				 st.st_size);
		found = found || memmem(bytes, (size_t)st.st_size, needle, len);
		free(bytes);
		close(fd);
	}
	return found;
}

static inline void damage(const char *name)
{
	static const char junk[100] = "junk";
	int fd = open(in_dir(name), O_WRONLY | O_CLOEXEC);
	off_t at;

	assert_true(fd >= 0);
	for (at = 4096 - 60; at < lseek(fd, 0, SEEK_END); at += 4096)
		assert_int_equal(pwrite(fd, junk, sizeof(junk), at),
				 sizeof(junk));
	close(fd);
}

static inline void same_stream(const struct catalog_stream *a,
			       const struct catalog_stream *b)
{
	assert_memory_equal(&a->store, &b->store, sizeof(a->store));
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->arn, b->arn);
	assert_string_equal(a->version, b->version);
	assert_string_equal(a->device_name, b->device_name);
	assert_string_equal(a->media_type, b->media_type);
	assert_string_equal(a->kms_key_id, b->kms_key_id);
	assert_int_equal(a->created_ms, b->created_ms);
	assert_int_equal(a->retention_hours, b->retention_hours);
}

#endif
