/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start-up, before the worker runs: brings the index in line with the
 * segments (invariant 5). In this order:
 *
 *  1. segment files that the index does not know get a row with mark 1;
 *     rows without file and without fragments are dropped
 *  2. segments that were open are replayed from their mark, then synced (what
 *     was found may list pages of each other of them), and closed. All of it
 *     is one transaction: without one that cannot be synced it is done again.
 *     What has pages of those that could not be replayed is kept
 *  3. with a new index: a segment of which nothing could be used although
 *     there is something in it is set aside (NNNNNNNN.bad)
 *  4. fragments of streams that do not exist any more are dropped
 *  5. the index is synced
 *
 * A crash anywhere in it is repaired by the next start, which does the same
 * again: an index that is lost is the case that it knows no segment. Where a
 * segment cannot be read, the others are used and the next start tries again.
 */
#include "io/store_local_int.h"

#include <errno.h>
#include <fcntl.h>
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

/* A segment that was replayed in vain; its row is open still. */
struct useless {
	uint32_t number;
	uint32_t end;
};

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
	struct useless *useless; /* set aside when no row needs them */
	size_t useless_count;
	size_t useless_size;
	bool salvage;		/* the index was made anew */
	unsigned int row_count;	/* since the last commit */
	uint32_t number_max;
	uint32_t unsure_end; /* those before it may be needed by it */
	int index_err; /* of a row that was found */
	uint32_t *unsynced; /* numbers: not replayed, nor what needs them */
	size_t unsynced_count;
	size_t unsynced_size;
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

static int add_useless(struct recovery *r, uint32_t number, uint32_t end)
{
	int err = grow(&r->useless, r->useless_count, &r->useless_size,
		       sizeof(*r->useless));

	if (err == 0)
		r->useless[r->useless_count++] =
			(struct useless){.number = number, .end = end};
	return err;
}

/*
 * One segment that cannot be read must not keep the others from being used.
 * Return: 0, or @err where it is not that.
 */
static int leave_segment(struct recovery *r, uint32_t number, int err)
{
	if (r->sl->config.strict || err == -ENOMEM || err == -EMFILE ||
	    err == -ENFILE)
		return err;
	log_error("store", "segment %u: %s; the next start tries it again",
		  number, strerror(-err));
	r->sl->unread++;
	return 0;
}

static int set_aside(struct recovery *r, uint32_t number, const char *why)
{
	int err = segment_file_set_aside(r->sl->dir, number);

	if (err < 0)
		return leave_segment(r, number, err);
	log_error("store",
		  "segment %u: %s; it is kept as segments/%08u.bad", number,
		  why, number);
	return 0;
}

/* Return: as segment_file_check(), or why it cannot be read. */
static int check_file(struct recovery *r, uint32_t number,
		      uint8_t ret_generation[SEGMENT_ID_BYTES])
{
	struct store_local *sl = r->sl;
	int fd;
	int err;

	err = segment_file_open(sl->dir, number, &fd);
	if (err < 0)
		return err;
	err = segment_file_check(sl->dir, number, fd, ret_generation);
	sys_close(sl->sys, &fd);
	return err;
}

/* A file that the index has no row of. */
static int add_file(struct recovery *r, uint32_t number)
{
	struct index_segment s = {
		.number = number,
		.mark = SEGMENT_FIRST_BLOCK,
	};
	int err;

	r->number_max = MAX(r->number_max, number);
	err = check_file(r, number, s.generation);
	if (err == -EBADMSG) {
		err = segment_file_mend(r->sl->dir, number);
		if (err == -ENODATA)
			return set_aside(r, number, "nothing in it verifies");
		if (err == 0) {
			log_warn("store",
				 "segment %u: its start was damaged "
				 "and is written again",
				 number);
			err = check_file(r, number, s.generation);
		}
	}
	if (err == -EMEDIUMTYPE) {
		log_error("store", "segment %u: belongs to another directory",
			  number);
		return err;
	}
	/* Copied while it became another's. */
	if (err == -ESTALE)
		return set_aside(r, number, "a file of another number");
	if (err == 0)
		return add_todo(r, &s);
	r->unsure_end = MAX(r->unsure_end, number);
	return leave_segment(r, number, err);
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

static bool is_unsynced(const struct recovery *r, uint32_t number)
{
	size_t i;

	for (i = 0; i < r->unsynced_count; i++)
		if (r->unsynced[i] == number)
			return true;
	return false;
}

static int generation(void *ctx, uint32_t number,
		      uint8_t ret_generation[SEGMENT_ID_BYTES])
{
	struct recovery *r = ctx;
	int err;
	size_t i;

	if (is_unsynced(r, number))
		return -EIO;
	err = segment_table_generation(&r->sl->table, number, ret_generation);
	if (err != -ENOENT || !r->sl->unread)
		return err;
	/* One that could not be read: then what needs it cannot, either. */
	for (i = 0; i < r->file_count; i++)
		if (r->files[i] == number)
			return -EIO;
	return err;
}

static int found(void *ctx, const struct store_fragment *f,
		 uint32_t first_segment, uint32_t mark)
{
	struct recovery *r = ctx;
	int err;

	err = index_insert(r->sl->index, f, first_segment, mark);
	/* Beyond marks there is no more than what waited for its rows. */
	if (err == 0 && r->salvage &&
	    ++r->row_count >= INDEX_ROWS_PER_COMMIT_MAX) {
		r->row_count = 0;
		err = index_commit(r->sl->index);
	}
	if (err == 0)
		r->sl->recovered++;
	r->index_err = err;
	return err;
}

/* Sets s->closed and s->mark where it can be closed. */
static int replay_one(struct recovery *r, struct segment_replay *replay,
		      struct index_segment *s)
{
	uint32_t end = 0;
	bool torn = false;
	int err;

	if (is_unsynced(r, s->number))
		return leave_segment(r, s->number, -EIO);
	/* With a new index marks say nothing of what comes before them. */
	err = segment_replay_run(
		replay, s->number,
		replay->salvage ? SEGMENT_FIRST_BLOCK : s->mark, &end, &torn);
	if (err < 0 && r->index_err)
		return err;
	if (err < 0 || replay->damaged || replay->unread)
		segment_table_set_failed(&r->sl->table, s->number);
	if (err == 0 && replay->unread)
		err = -EIO;
	if (err < 0)
		return leave_segment(r, s->number, err);
	/* Closed it would be swept by the next start, if this one ends here. */
	if (replay->salvage && !replay->found_count &&
	    (torn || replay->damaged))
		return add_useless(r, s->number, end);
	/*
	 * Or each crash would cost what was reserved. A torn end is kept: if
	 * it is damage and no power cut, what follows is of use to repair.
	 */
	if (!torn &&
	    segment_file_truncate(r->sl->dir, s->number,
				  (uint64_t)end * SEGMENT_BLOCK_BYTES) < 0)
		log_debug("store", "segment %u stays as long as it is",
			  s->number);
	s->closed = true;
	s->mark = end;
	return 0;
}

/*
 * Or the next start replays it again. Return: 0; -EAGAIN: it cannot be synced,
 * rows of what is in it must not stay.
 */
static int close_one(struct recovery *r, struct segment_replay *replay,
		     const struct index_segment *s)
{
	int err = is_unsynced(r, s->number)
			  ? 0
			  : segment_replay_sync(replay, s->number);

	if (err == 0)
		return s->closed ? index_segment_close(r->sl->index, s->number,
						       s->mark)
				 : 0;
	if (r->salvage) {
		/* Some are committed: the next start makes it anew, too. */
		index_failed(r->sl, -EUCLEAN);
		return leave_segment(r, s->number, err);
	}
	err = grow(&r->unsynced, r->unsynced_count, &r->unsynced_size,
		   sizeof(*r->unsynced));
	if (err < 0)
		return err;
	r->unsynced[r->unsynced_count++] = s->number;
	return -EAGAIN;
}

/* @copy: r->todo as it was */
static int replay_once(struct recovery *r, struct segment_replay *replay,
		       const struct index_segment *copy)
{
	size_t i;
	int err = 0;

	if (r->todo_count)
		memcpy(r->todo, copy, r->todo_count * sizeof(*copy));
	for (i = 0; i < r->todo_count && err == 0; i++)
		err = replay_one(r, replay, &r->todo[i]);
	for (i = 0; i < r->todo_count && err == 0; i++)
		err = close_one(r, replay, &r->todo[i]);
	return err;
}

/* Each pass without one more that cannot be synced. */
static int replay_until_synced(struct recovery *r,
			       struct segment_replay *replay)
{
	size_t bytes = r->todo_count * sizeof(*r->todo);
	struct index_segment *copy = malloc(bytes + 1);
	uint64_t unread = r->sl->unread;
	int err;

	if (!copy)
		return -ENOMEM;
	if (bytes)
		memcpy(copy, r->todo, bytes);
	while ((err = replay_once(r, replay, copy)) == -EAGAIN) {
		index_rollback(r->sl->index);
		r->sl->recovered = 0;
		r->sl->unread = unread;
		replay->dropped = 0;
	}
	free(copy);
	return err;
}

/*
 * The commit records of a segment that could not be replayed count with the
 * next start: until then what they list stays, though no row needs it. Where
 * they cannot be read, either, all that is before it stays while there is room.
 */
static void keep_what_they_need(struct recovery *r,
				struct segment_replay *replay)
{
	struct segment_table *t = &r->sl->table;
	uint8_t generation[SEGMENT_ID_BYTES];
	uint32_t first;
	size_t i;
	int err;

	for (i = 0; i < r->todo_count; i++) {
		const struct index_segment *s = &r->todo[i];

		if (s->closed)
			continue;
		err = segment_table_generation(t, s->number, generation);
		if (err == 0)
			err = segment_replay_first(
				replay, s->number, generation,
				r->salvage ? SEGMENT_FIRST_BLOCK : s->mark,
				&first);
		if (err == 0)
			(void)segment_table_keep(t, first, s->number,
						 SEGMENT_KEEP);
		else
			r->unsure_end = MAX(r->unsure_end, s->number);
	}
	if (segment_table_keep(t, 0, r->unsure_end, SEGMENT_KEEP_UNSURE))
		log_warn("store",
			 "what is before segment %u is kept, while there is "
			 "room: fragments that end in it may need it",
			 r->unsure_end);
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
	int err;

	r->salvage = replay.salvage;
	err = segment_replay_init(&replay);
	if (err < 0)
		return err;
	err = replay_until_synced(r, &replay);
	if (err == 0)
		keep_what_they_need(r, &replay);
	segment_replay_fini(&replay);
	if (sl->recovered || replay.dropped)
		log_info("store", "replayed %zu segments: %" PRIu64
				  " fragments, %" PRIu64 " dropped",
			 r->todo_count, sl->recovered, replay.dropped);
	return err < 0 ? err : index_commit(sl->index);
}

/* --- a full disk --- */

static int ignore(void *ctx, const struct store_fragment *f,
		  uint32_t first_segment, uint32_t mark)
{
	(void)ctx;
	(void)f;
	(void)first_segment;
	(void)mark;
	return 0;
}

/*
 * The index has no room for the rows of what was written last: the unused
 * rest of the segments, which is given back anyway, goes first.
 */
static void make_room(struct recovery *r)
{
	struct segment_replay replay = {
		.dir = r->sl->dir,
		.generation = generation,
		.found = ignore,
		.ctx = r,
		.salvage = index_rebuilding(r->sl->index),
	};
	size_t i;

	if (segment_replay_init(&replay) < 0)
		return;
	for (i = 0; i < r->todo_count; i++) {
		uint32_t number = r->todo[i].number;
		uint32_t end = 0;
		bool torn = false;

		if (segment_replay_run(&replay, number, r->todo[i].mark, &end,
				       &torn) == 0 &&
		    !torn &&
		    segment_file_truncate(r->sl->dir, number,
					  (uint64_t)end *
						  SEGMENT_BLOCK_BYTES) == 0)
			r->sl->room_made = true;
	}
	segment_replay_fini(&replay);
}

/* --- segments of which nothing can be used --- */

/* Closed and without rows; a fragment that ends in the next may need it. */
static int see_dead(void *ctx, const struct index_segment *s)
{
	struct recovery *r = ctx;
	size_t i;
	int err = 0;

	for (i = 0; i < r->useless_count && err == 0; i++) {
		if (r->useless[i].number != s->number ||
		    !segment_table_idle(&r->sl->table, s->number))
			continue;
		err = grow(&r->gone, r->gone_count, &r->gone_size,
			   sizeof(*r->gone));
		if (err == 0)
			r->gone[r->gone_count++] = s->number;
	}
	return err;
}

/*
 * In one transaction: a crash after the file's new name leaves an open row
 * without file or fragments, which the next start drops.
 */
static int set_useless_aside(struct recovery *r)
{
	size_t i;
	int err = 0;

	r->gone_count = 0;
	for (i = 0; i < r->useless_count && err == 0; i++)
		err = index_segment_close(r->sl->index, r->useless[i].number,
					  r->useless[i].end);
	if (err == 0)
		err = index_segments_dead(r->sl->index, see_dead, r);
	for (i = 0; i < r->gone_count && err == 0; i++) {
		err = set_aside(r, r->gone[i], "nothing in it verifies");
		if (err == 0)
			err = index_segment_drop(r->sl->index, r->gone[i]);
		if (err == 0)
			segment_table_remove(&r->sl->table, r->gone[i]);
	}
	return err;
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
					   UINT64_MAX, NULL,
					   INDEX_ROWS_PER_DELETE);
			if (err >= 0 && index_commit(sl->index) < 0)
				err = -EIO;
		} while (err >= (int)INDEX_ROWS_PER_DELETE);
	}
	return err < 0 ? err : 0;
}

/* Their numbers are not used again: another of that name would replace them. */
static int see_bad_files(struct recovery *r)
{
	uint32_t *numbers;
	size_t count;
	int err;

	err = segment_file_list_bad(r->sl->dir, &numbers, &count);
	if (err < 0)
		return err;
	if (count)
		r->number_max = numbers[count - 1];
	free(numbers);
	return 0;
}

/* What all files take: after the unused rest of each was given back. */
static int measure(struct recovery *r)
{
	struct store_local *sl = r->sl;
	uint64_t bytes = 0;
	uint32_t *bad;
	size_t count;
	size_t i;
	int err;

	for (i = 0; i < r->file_count; i++)
		if (segment_file_bytes(sl->dir, r->files[i], false, &bytes) ==
		    0)
			segment_table_set_bytes(&sl->table, r->files[i], bytes);
	err = segment_file_list_bad(sl->dir, &bad, &count);
	if (err < 0)
		return err;
	sl->bad_bytes = 0;
	for (i = 0; i < count; i++)
		if (segment_file_bytes(sl->dir, bad[i], true, &bytes) == 0)
			sl->bad_bytes += bytes;
	free(bad);
	return 0;
}

static int recover(struct recovery *r)
{
	struct store_local *sl = r->sl;
	int err;

	segment_file_tidy(sl->dir);
	err = segment_file_list(sl->dir, &r->files, &r->file_count);
	if (err == 0)
		err = see_bad_files(r);
	if (err == 0)
		err = index_segments(sl->index, add_row, r);
	if (err == 0)
		err = add_files_before(r, (uint64_t)UINT32_MAX + 1);
	if (err == 0)
		err = write_rows(r);
	if (err == 0)
		err = replay_all(r);
	if (err == 0)
		err = set_useless_aside(r);
	if (err == 0)
		err = drop_dead_streams(r);
	if (err == 0 && !r->sl->unread)
		err = index_rebuilt(sl->index);
	if (err == 0)
		err = index_sync(sl->index);
	if (err < 0)
		return err;
	err = measure(r);
	if (err < 0)
		return err;
	if (r->number_max == UINT32_MAX)
		return -EOVERFLOW;
	sl->next_number = r->number_max + 1;
	sl->sweep_wanted = true;
	return 0;
}

/* --- fragment sequence numbers --- */

/*
 * Takes no room, since what is there is never longer. A power cut may leave
 * it torn: then the rows say where to go on.
 */
static int sequence_overwrite(struct store_local *sl, const char *text,
			      size_t len)
{
	ssize_t n;
	int err;
	int fd;

	fd = sl->sys->openat(sl->dir->fd, SEQUENCE_FILE, O_WRONLY | O_CLOEXEC,
			     0);
	if (fd < 0)
		return -ENOSPC;
	n = sl->sys->pwrite(fd, text, len, 0);
	err = n == (ssize_t)len ? sl->sys->fsync(fd) : -ENOSPC;
	sys_close(sl->sys, &fd);
	return err;
}

int sequence_reserve(struct store_local *sl, uint64_t limit)
{
	char text[SEQUENCE_BYTES_MAX];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", limit);
	int err;

	err = sys_write_file(sl->sys, sl->dir->fd, SEQUENCE_FILE, text,
			     (size_t)n, 0600);
	if (err == -ENOSPC)
		err = sequence_overwrite(sl, text, (size_t)n);
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
	if (err == -ENOMEM || err == -EMFILE || err == -ENFILE)
		return err;
	if (err < 0) {
		if (row_max || err != -ENOENT)
			log_warn("store", "%s/sequence: lost; numbers go on "
					  "above the index", sl->dir->path);
		start = row_max || err != -ENOENT ? row_max + SEQUENCE_RESERVE
						  : 0;
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
	if (err == -ENOSPC)
		make_room(&r);
	free(r.files);
	free(r.todo);
	free(r.gone);
	free(r.useless);
	free(r.unsynced);
	free(r.dead_ids);
	return err < 0 ? err : sequence_recover(sl);
}
