/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog as an asynchronous ops table: streams, their wrapped data keys
 * and the credentials. It is truth, not a cache: a change is durable before
 * its done() runs. io/catalog_sqlite.c is the local one.
 *
 * Each call may fail by itself. Changes (create, remove, retain) end with
 * -ESTALE, too, when the catalog lost its right to write to another node: the
 * local one never does.
 *
 * One catalog serves all loops. Calls are made on a loop's thread and
 * complete on that same thread, never from inside the call.
 */
#ifndef CORE_CATALOG_H
#define CORE_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "core/loop.h"
#include "core/store.h"

#define CATALOG_NAME_BYTES 257u	     /* 256 + NUL: StreamName */
#define CATALOG_DEVICE_BYTES 129u
#define CATALOG_MEDIA_TYPE_BYTES 129u
#define CATALOG_ARN_BYTES 1025u
#define CATALOG_KMS_BYTES 2049u
#define CATALOG_VERSION_BYTES 65u
#define CATALOG_ACCESS_KEY_BYTES 129u
#define CATALOG_SECRET_BYTES 129u
#define CATALOG_TAGS_BYTES_MAX (50u * (128u + 256u) * 4u)

struct catalog;

struct catalog_stream {
	struct store_stream store;	/* id and data key, unwrapped */
	char name[CATALOG_NAME_BYTES];
	char arn[CATALOG_ARN_BYTES];
	char version[CATALOG_VERSION_BYTES];
	char device_name[CATALOG_DEVICE_BYTES];	/* "" = not given */
	char media_type[CATALOG_MEDIA_TYPE_BYTES];	/* "" = not given */
	char kms_key_id[CATALOG_KMS_BYTES];
	uint64_t created_ms;		/* Unix epoch; also the ARN's tail */
	uint32_t retention_hours;	/* 0 = live only */
	/* 0; or why the customer key cannot be used, an errno of
	 * kms_keys_apply(): there is no store.key then. Of catalog_find(). */
	int key_error;
};

#define CATALOG_HOLD_NAME_BYTES 65u

/* A legal hold: see core/store.h, struct store_holds, for what it does. */
struct catalog_hold {
	char name[CATALOG_HOLD_NAME_BYTES]; /* [A-Za-z0-9_.-]+ */
	struct store_hold range;
	uint64_t created_ms; /* Unix epoch */
};

struct catalog_credential {
	char access_key[CATALOG_ACCESS_KEY_BYTES];
	char secret[CATALOG_SECRET_BYTES];	/* never logged */
	bool enabled;
};

/* Embedded in its owner; ends with exactly one done(). */
struct catalog_op {
	void (*done)(struct catalog_op *op, int res);
	/* The rest belongs to the catalog. */
	struct loop_task task;	/* so that completing needs no memory */
	struct list_node link;
	void *priv;
	int res;
};

struct catalog_ops {
	void (*create)(struct catalog *c, struct loop *l,
		       struct catalog_stream *inout, const char *tags_json,
		       struct catalog_op *op);
	void (*find)(struct catalog *c, struct loop *l, const char *name,
		     const char *arn, struct catalog_stream *ret_stream,
		     struct catalog_op *op);
	void (*remove)(struct catalog *c, struct loop *l, const char *arn,
		       const char *version, struct catalog_stream *ret_gone,
		       struct catalog_op *op);
	void (*retain)(struct catalog *c, struct loop *l, const char *name,
		       const char *arn, const char *version, int32_t hours,
		       struct catalog_stream *ret_stream,
		       struct catalog_op *op);
	void (*list)(struct catalog *c, struct loop *l, const char *prefix,
		     const char *after, struct catalog_stream *ret_rows,
		     size_t limit, struct catalog_op *op);
	void (*credential)(struct catalog *c, struct loop *l,
			   const char *access_key,
			   struct catalog_credential *ret_credential,
			   struct catalog_op *op);
	void (*tags)(struct catalog *c, struct loop *l, const char *name,
		     const char *arn, char **ret_json, struct catalog_op *op);
};

struct catalog {
	const struct catalog_ops *ops;
};

/**
 * catalog_create() - add a stream
 * @inout: name, device_name, media_type, kms_key_id and retention_hours are
 *	given; id, key, arn, version and created_ms are filled in
 * @tags_json: JSON object of strings, or NULL; copied
 *
 * done(res): 0, -EEXIST (the name is taken), -EDQUOT (STREAMS_MAX), -ENOSPC
 * (the disk), -EIO.
 */
static inline void catalog_create(struct catalog *c, struct loop *l,
				  struct catalog_stream *inout,
				  const char *tags_json, struct catalog_op *op)
{
	c->ops->create(c, l, inout, tags_json, op);
}

/**
 * catalog_find() - look up a stream by name or by ARN (the other is NULL)
 *
 * done(res): 0, -ENOENT (also when the ARN's creation time is not the
 * stream's: a recreated stream is another one), -EIO.
 */
static inline void catalog_find(struct catalog *c, struct loop *l,
				const char *name, const char *arn,
				struct catalog_stream *ret_stream,
				struct catalog_op *op)
{
	c->ops->find(c, l, name, arn, ret_stream, op);
}

/**
 * catalog_remove() - delete a stream and shred its data key in every copy
 * @version: the version it must have, or NULL
 *
 * done(res): 0, -ENOENT, -ESTALE (another version), -EBUSY (some of it is on
 * legal hold), -EIO.
 */
static inline void catalog_remove(struct catalog *c, struct loop *l,
				  const char *arn, const char *version,
				  struct catalog_stream *ret_gone,
				  struct catalog_op *op)
{
	c->ops->remove(c, l, arn, version, ret_gone, op);
}

/**
 * catalog_retain() - change a stream's retention by some hours
 * @name, @arn: as catalog_find()
 * @version: the version it must have; it gets another one
 * @hours: to be added; negative to keep less
 * @ret_stream: as it is now
 *
 * done(res): 0, -ENOENT, -ESTALE (another version), -ERANGE (the result would
 * not be 0..RETENTION_HOURS_MAX), -ENOSPC, -EIO.
 */
static inline void catalog_retain(struct catalog *c, struct loop *l,
				  const char *name, const char *arn,
				  const char *version, int32_t hours,
				  struct catalog_stream *ret_stream,
				  struct catalog_op *op)
{
	c->ops->retain(c, l, name, arn, version, hours, ret_stream, op);
}

/**
 * catalog_list() - streams in name order
 * @prefix: only names that begin so, or NULL
 * @after: only names after it, or NULL
 * @ret_rows: room for @limit streams, the caller's until done()
 *
 * done(res): number of rows or -EIO.
 */
static inline void catalog_list(struct catalog *c, struct loop *l,
				const char *prefix, const char *after,
				struct catalog_stream *ret_rows, size_t limit,
				struct catalog_op *op)
{
	c->ops->list(c, l, prefix, after, ret_rows, limit, op);
}

/**
 * catalog_tags() - a stream's tags
 * @name, @arn: as catalog_find()
 * @ret_json: JSON object of strings; heap, the caller's with done(0)
 *
 * done(res): 0, -ENOENT, -ENOMEM, -EIO.
 */
static inline void catalog_tags(struct catalog *c, struct loop *l,
				const char *name, const char *arn,
				char **ret_json, struct catalog_op *op)
{
	c->ops->tags(c, l, name, arn, ret_json, op);
}

/* done(res): 0, -ENOENT, -EIO. */
static inline void
catalog_credential(struct catalog *c, struct loop *l, const char *access_key,
		   struct catalog_credential *ret_credential,
		   struct catalog_op *op)
{
	c->ops->credential(c, l, access_key, ret_credential, op);
}

#endif
