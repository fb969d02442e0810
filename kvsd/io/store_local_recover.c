/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start-up, before the worker runs: brings the index in line with the
 * segments (invariant 5). In this order:
 *
 *  1. segment files that the index does not know get a row with mark 1;
 *     rows without file and without fragments are dropped
 *  2. segments that were open are replayed from their mark and closed
 *  3. fragments of streams that do not exist any more are dropped
 *  4. the index is synced
 *
 * A crash anywhere in it is repaired by the next start, which does the same
 * again: an index that is lost is the case that it knows no segment.
 */
#include "io/store_local_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/parse.h"
#include "io/crypto.h"
#include "io/segment_file.h"
#include "io/segment_replay.h"

#define SEQUENCE_FILE "sequence"
#define SEQUENCE_BYTES_MAX 24u

struct recovery {
	struct store_local *sl;
	uint32_t *files;	/* numbers, ascending */
	size_t file_count;
	size_t file_next;	/* of the walk over the rows */
	struct index_segment *todo; /* to be replayed, ascending */
	size_t todo_count;
	size_t todo_size;
	uint32_t *gone;		/* rows to be dropped */
	size_t gone_count;
	size_t gone_size;
	uint8_t (*dead_ids)[STREAM_ID_BYTES];
	size_t dead_count;
	size_t dead_size;
	unsigned int row_count;	/* since the last commit */
	uint32_t number_max;
};

/* Room for one more element of @bytes in a growing array. */
static int grow(void *array, size_t count, size_t *size, size_t bytes)
{
	void **p = array;
	size_t want = *size ? 2 * *size : 64;
	void *q;

	if (count < *size)
		return 0;
	q = realloc(*p, want * bytes);
	if (!q)
		return -ENOMEM;
	*p = q;
	*size = want;
	return 0;
}

static int add_todo(struct recovery *r, const struct index_segment *s)
{
	int err = grow(&r->todo, r->todo_count, &r->todo_size,
		       sizeof(*r->todo));

	if (err == 0)
		r->todo[r->todo_count++] = *s;
	return err;
}

/* A file that the index has no row of. */
static int add_file(struct recovery *r, uint32_t number)
{
	struct store_local *sl = r->sl;
	struct index_segment s = {
		.number = number,
		.mark = SEGMENT_FIRST_BLOCK,
	};
	int fd;
	int err;

	r->number_max = MAX(r->number_max, number);
	err = segment_file_open(sl->dir, number, &fd);
	if (err < 0)
		return err;
	err = segment_file_check(sl->dir, number, fd, s.generation);
	sys_close(sl->sys, &fd);
	if (err == -EBADMSG) {
		log_error("store", "segment %u: damaged at its start; its "
				   "fragments are not found", number);
		return 0;
	}
	if (err == -EMEDIUMTYPE)
		log_error("store", "segment %u: belongs to another directory",
			  number);
	if (err == 0)
		err = add_todo(r, &s);
	return err;
}

static int add_files_before(struct recovery *r, uint64_t number)
{
	int err = 0;

	while (r->file_next < r->file_count &&
	       r->files[r->file_next] < number && err == 0)
		err = add_file(r, r->files[r->file_next++]);
	return err;
}

/* A row; files and rows are both walked in order of their number. */
static int add_row(void *ctx, const struct index_segment *s)
{
	struct recovery *r = ctx;
	int err;

	r->number_max = MAX(r->number_max, s->number);
	err = add_files_before(r, s->number);
	if (err < 0)
		return err;
	if (r->file_next < r->file_count &&
	    r->files[r->file_next] == s->number) {
		r->file_next++;
		err = segment_table_add(&r->sl->table, s->number,
					s->generation, false);
		return err < 0 || s->closed ? err : add_todo(r, s);
	}
	if (s->live) {
		log_error("store", "segment %u: missing, with %" PRIu64
				   " fragments", s->number, s->live);
		return 0;
	}
	err = grow(&r->gone, r->gone_count, &r->gone_size, sizeof(*r->gone));
	if (err == 0)
		r->gone[r->gone_count++] = s->number;
	return err;
}

/* Rows for the new files, none for what is gone. */
static int write_rows(struct recovery *r)
{
	struct store_local *sl = r->sl;
	uint8_t generation[SEGMENT_ID_BYTES];
	size_t i;
	int err = 0;

	for (i = 0; i < r->gone_count && err == 0; i++)
		err = index_segment_drop(sl->index, r->gone[i]);
	for (i = 0; i < r->todo_count && err == 0; i++) {
		const struct index_segment *s = &r->todo[i];

		if (segment_table_generation(&sl->table, s->number,
					     generation) == 0)
			continue; /* it has a row */
		err = segment_table_add(&sl->table, s->number, s->generation,
					false);
		if (err == 0)
			err = index_segment_add(sl->index, s->number,
						s->generation, s->mark);
	}
	return err < 0 ? err : index_commit(sl->index);
}

static int generation(void *ctx, uint32_t number,
		      uint8_t ret_generation[SEGMENT_ID_BYTES])
{
	struct recovery *r = ctx;

	return segment_table_generation(&r->sl->table, number,
					ret_generation);
}

static int found(void *ctx, const struct store_fragment *f,
		 uint32_t first_segment, uint32_t mark)
{
	struct recovery *r = ctx;
	int err;

	err = index_insert(r->sl->index, f, first_segment, mark);
	if (err < 0)
		return err;
	r->sl->recovered++;
	if (++r->row_count < INDEX_ROWS_PER_COMMIT_MAX)
		return 0;
	r->row_count = 0;
	return index_commit(r->sl->index);
}

static int replay_one(struct recovery *r, struct segment_replay *replay,
		      const struct index_segment *s)
{
	uint32_t end = 0;
	bool torn = false;
	int err;

	err = segment_replay_run(replay, s->number, s->mark, &end, &torn);
	if (err < 0)
		return err;
	/*
	 * Or each crash would cost what was reserved. A torn end is kept: if
	 * it is damage and no power cut, what follows is of use to repair.
	 */
	if (!torn &&
	    segment_file_truncate(r->sl->dir, s->number,
				  (uint64_t)end * SEGMENT_BLOCK_BYTES) < 0)
		log_debug("store", "segment %u stays as long as it is",
			  s->number);
	return index_segment_close(r->sl->index, s->number, end);
}

static int replay_all(struct recovery *r)
{
	struct store_local *sl = r->sl;
	struct segment_replay replay = {
		.dir = sl->dir,
		.find_key = sl->config.find_key,
		.find_key_ctx = sl->config.find_key_ctx,
		.generation = generation,
		.found = found,
		.ctx = r,
		/*
		 * Rows are missing for damage just as for what follows it,
		 * which would be removed with the segment. Beyond a mark that
		 * is known nothing that follows was ever acknowledged.
		 */
		.salvage = index_rebuilding(sl->index),
	};
	size_t i;
	int err;

	err = segment_replay_init(&replay);
	if (err < 0)
		return err;
	for (i = 0; i < r->todo_count && err == 0; i++)
		err = replay_one(r, &replay, &r->todo[i]);
	segment_replay_fini(&replay);
	if (sl->recovered || replay.dropped)
		log_info("store", "replayed %zu segments: %" PRIu64
				  " fragments, %" PRIu64 " dropped",
			 r->todo_count, sl->recovered, replay.dropped);
	return err < 0 ? err : index_commit(sl->index);
}

/* --- streams that are gone --- */

static int check_stream(void *ctx, const uint8_t id[STREAM_ID_BYTES])
{
	struct recovery *r = ctx;
	struct store_local_config *config = &r->sl->config;
	uint8_t key[DATA_KEY_BYTES];
	int err;

	err = config->find_key(config->find_key_ctx, id, key);
	crypto_wipe(key, sizeof(key));
	if (err != -ENOENT)
		return 0;
	err = grow(&r->dead_ids, r->dead_count, &r->dead_size,
		   STREAM_ID_BYTES);
	if (err == 0)
		memcpy(r->dead_ids[r->dead_count++], id, STREAM_ID_BYTES);
	return err;
}

static int drop_dead_streams(struct recovery *r)
{
	struct store_local *sl = r->sl;
	size_t i;
	int err;

	if (!sl->config.find_key)
		return 0;
	err = index_streams(sl->index, check_stream, r);
	for (i = 0; i < r->dead_count && err >= 0; i++) {
		do {
			err = index_delete(sl->index, r->dead_ids[i],
					   UINT64_MAX, INDEX_ROWS_PER_DELETE);
			if (err >= 0 && index_commit(sl->index) < 0)
				err = -EIO;
		} while (err >= (int)INDEX_ROWS_PER_DELETE);
	}
	return err < 0 ? err : 0;
}

static int recover(struct recovery *r)
{
	struct store_local *sl = r->sl;
	int err;

	err = segment_file_list(sl->dir, &r->files, &r->file_count);
	if (err == 0)
		err = index_segments(sl->index, add_row, r);
	if (err == 0)
		err = add_files_before(r, (uint64_t)UINT32_MAX + 1);
	if (err == 0)
		err = write_rows(r);
	if (err == 0)
		err = replay_all(r);
	if (err == 0)
		err = drop_dead_streams(r);
	if (err == 0)
		err = index_rebuilt(sl->index);
	if (err == 0)
		err = index_sync(sl->index);
	if (err < 0)
		return err;
	if (r->number_max == UINT32_MAX)
		return -EOVERFLOW;
	sl->next_number = r->number_max + 1;
	sl->sweep_wanted = true;
	return 0;
}

/* --- fragment sequence numbers --- */

int sequence_reserve(struct store_local *sl, uint64_t limit)
{
	char text[SEQUENCE_BYTES_MAX];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", limit);
	int err;

	err = sys_write_file(sl->sys, sl->dir->fd, SEQUENCE_FILE, text,
			     (size_t)n, 0600);
	if (err == 0)
		atomic_store(&sl->seq_limit, limit);
	return err;
}

static int sequence_read(struct store_local *sl, uint64_t *ret_limit)
{
	uint64_t limit;
	size_t len;
	char *text;
	int err;

	err = sys_read_file(sl->sys, sl->dir->fd, SEQUENCE_FILE,
			    SEQUENCE_BYTES_MAX, &text, &len);
	if (err < 0)
		return err == -EFBIG ? -EINVAL : err;
	if (!len || text[len - 1] != '\n' ||
	    parse_u64(text, len - 1, FRAGMENT_SEQ_MAX, &limit) < 0)
		err = -EINVAL;
	free(text);
	if (err == 0)
		*ret_limit = limit;
	return err;
}

/*
 * Numbers are handed out of a range that was durably reserved before, so a
 * restart begins above all of them; no clock is involved, which could be
 * set back. When the file is lost, the rows say what was committed, and a
 * whole range is left out for what was not.
 */
static int sequence_recover(struct store_local *sl)
{
	uint64_t row_max = 0;
	uint64_t start = 0;
	int err;

	err = index_seq_max(sl->index, &row_max);
	if (err < 0)
		return err;
	err = sequence_read(sl, &start);
	if (err == -ENOENT || err == -EINVAL) {
		if (row_max || err == -EINVAL)
			log_warn("store", "%s/sequence: lost; numbers go on "
					  "above the index", sl->dir->path);
		start = row_max ? row_max + SEQUENCE_RESERVE : 0;
	} else if (err < 0) {
		return err;
	}
	start = MAX(start, row_max) + 1;
	if (start > FRAGMENT_SEQ_MAX - 2 * SEQUENCE_RESERVE)
		return -EOVERFLOW;
	atomic_store(&sl->seq_next, start);
	return sequence_reserve(sl, start + SEQUENCE_RESERVE);
}

int store_recover(struct store_local *sl)
{
	struct recovery r = { .sl = sl };
	int err;

	err = recover(&r);
	free(r.files);
	free(r.todo);
	free(r.gone);
	free(r.dead_ids);
	return err < 0 ? err : sequence_recover(sl);
}
