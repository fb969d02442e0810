/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local store in a directory of its own, on a simulated loop, with
 * synchronous calls: what the tests of the store share.
 */
#ifndef SUPPORT_STORE_RIG_H
#define SUPPORT_STORE_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/store.h"
#include "io/store_local.h"
#include "support/loop_fake.h"

struct store_rig {
	char path[64];
	const struct sys_ops *sys;
	struct loop *loop;
	struct data_dir dir;
	struct store_local *local;
	struct store *store;
	struct store_local_config config; /* for the next rig_open() */
	bool opened;
};

/* Makes the directory (support/scratch.h) and the loop; config is filled with
 * defaults: no thread, segments of 1 MiB, every stream known. Aborts on
 * failure. */
void rig_init(struct store_rig *rig, const struct loop_fake_config *loop);
/* Opens directory and store, attaches. Return: 0 or the error. */
int rig_open(struct store_rig *rig);
/* Detaches and closes. No-op when it is not open. */
void rig_close(struct store_rig *rig);
/* Closes, frees the loop, removes the directory. */
void rig_fini(struct store_rig *rig);
/* Removes a directory and all in it. */
void rig_remove(const char *path);
/* As rig_remove() for rig->path/NAME, a file. */
void rig_unlink(const struct store_rig *rig, const char *name);

/* On the index, while nothing has it open. Return: 0 or an errno. */
int rig_sql(const struct store_rig *rig, const char *text);

/* Inverts the lowest bit of the byte at @offset of a segment's file. */
void rig_flip(const struct store_rig *rig, uint32_t segment, off_t offset);

/* Stream @n: id and key follow from it. */
struct store_stream rig_stream(unsigned int n);

/* store_local_config.find_key for all of them. */
int rig_find_key(void *ctx, const uint8_t id[STREAM_ID_BYTES],
		 uint8_t ret_key[DATA_KEY_BYTES]);

/* Byte @i of the fragment with sequence number @seq. */
uint8_t rig_byte(uint64_t seq, uint64_t i);

/*
 * Writes and commits a fragment of @bytes in pieces of @piece; waits.
 * Times: server and producer clock @ms. Return: the commit's result, or what
 * ended the writer before.
 */
int rig_put(struct store_rig *rig, unsigned int stream, uint64_t seq,
	    size_t bytes, size_t piece, uint64_t ms);
/* Adds all of @len bytes of fragment @seq from @from on; waits for room. */
int rig_add(struct store_rig *rig, struct store_writer *w, uint64_t seq,
	    size_t from, size_t len, size_t piece);
struct store_fragment rig_meta(uint64_t seq, size_t bytes, uint64_t ms);
int rig_commit(struct store_rig *rig, struct store_writer *w,
	       const struct store_fragment *meta);

/* Reads and compares a range. Return: 0, -EILSEQ (differs), or the error. */
int rig_check(struct store_rig *rig, unsigned int stream,
	      const struct store_fragment *f, uint64_t offset, size_t len);
/* All of it. */
int rig_check_all(struct store_rig *rig, unsigned int stream,
		  const struct store_fragment *f);
int rig_list(struct store_rig *rig, const struct store_query *q,
	     struct store_fragment *rows);
/* All rows of a stream by number, at most @max. */
int rig_list_all(struct store_rig *rig, unsigned int stream,
		 struct store_fragment *rows, unsigned int max);
int rig_remove_stream(struct store_rig *rig, unsigned int stream);
int rig_trim(struct store_rig *rig, unsigned int stream, uint64_t bytes_max);
int rig_expire(struct store_rig *rig, unsigned int stream, uint64_t before_ms);
/* Segment files in the directory. */
unsigned int rig_segments(const struct store_rig *rig);

#endif
