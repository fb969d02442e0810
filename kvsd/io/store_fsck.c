/* SPDX-License-Identifier: Apache-2.0 */
#include "io/store_fsck.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/index_sqlite.h"
#include "io/segment_file.h"
#include "io/segment_replay.h"
#include "io/segment_table.h"
#include "io/store_local.h"

#define LINE_CHARS 256

struct checked_segment {
	uint32_t number; /* first: segment_place_of() */
	uint8_t generation[SEGMENT_ID_BYTES];
	int state; /* of its START record: 0 or -errno */
	bool has_row;
	bool other;  /* than its row's */
	bool closed; /* as its row says; and mark and live */
	uint32_t mark;
	uint64_t live;
	uint64_t counted; /* rows that need it */
	/* Of what has no row and may be torn: */
	size_t doubt; /* the first one in fsck.found */
	uint32_t gap; /* the first block that is no record; 0: none */
};

/* In the order of preference among those of one fragment. */
enum found_state {
	FOUND_SOUND,
	FOUND_DEAD, /* its stream is gone */
	FOUND_UNREAD,
	FOUND_DAMAGED,
	FOUND_TORN, /* as far as is known: nothing whole followed yet */
};

/* A commit record of a fragment that has no row. */
struct found {
	struct store_fragment f;
	enum found_state state;
};

struct fsck {
	const struct fsck_config *config;
	struct fsck_result result;
	struct index_db *index;
	struct checked_segment *segments; /* by number */
	size_t count;
	struct segment_replay replay;
	/* Without rows: all that were found, those of one segment together. */
	struct found *found;
	size_t found_count;
	size_t found_size;
	struct checked_segment *looked_at;
	bool whole_file; /* from its beginning, not from a mark */
};

static void PRINTF(2, 3) problem(struct fsck *k, const char *fmt, ...)
{
	char line[LINE_CHARS];
	va_list args;

	k->result.problems++;
	va_start(args, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	k->config->tell(k->config->tell_ctx, line);
}

static size_t place_of(const struct fsck *k, uint32_t number)
{
	return segment_place_of(k->segments, sizeof(*k->segments), k->count,
				number);
}

static struct checked_segment *find_segment(struct fsck *k, uint32_t number)
{
	size_t i = place_of(k, number);

	return i < k->count && k->segments[i].number == number ? &k->segments[i]
							       : NULL;
}

/* --- segments --- */

static int check_segment(struct fsck *k, struct checked_segment *s)
{
	const struct data_dir *d = k->config->dir;
	int fd;
	int r;

	r = segment_file_open(d, s->number, &fd);
	if (r < 0)
		return r;
	s->state = segment_file_check(d, s->number, fd, s->generation);
	sys_close(d->sys, &fd);
	if (s->state == -EBADMSG)
		problem(k, "segment %u: its START record is damaged",
			s->number);
	else if (s->state == -EMEDIUMTYPE)
		problem(k, "segment %u: of another directory", s->number);
	else if (s->state == -ESTALE)
		problem(k, "segment %u: a file of another number", s->number);
	else
		return s->state;
	return 0;
}

static int check_segments(struct fsck *k)
{
	uint32_t *numbers;
	size_t count;
	int r;

	r = segment_file_list(k->config->dir, &numbers, &count);
	if (r < 0)
		return r;
	k->segments = calloc(count ? count : 1, sizeof(*k->segments));
	if (!k->segments)
		r = -ENOMEM;
	for (; k->segments && k->count < count && r == 0; k->count++) {
		k->segments[k->count].number = numbers[k->count];
		r = check_segment(k, &k->segments[k->count]);
	}
	free(numbers);
	k->result.segments = k->count;
	return r;
}

static int check_bad_files(struct fsck *k)
{
	char line[LINE_CHARS];
	uint32_t *numbers;
	uint64_t bytes;
	size_t count;
	size_t i;
	int r;

	r = segment_file_list_bad(k->config->dir, &numbers, &count);
	if (r < 0)
		return r;
	for (i = 0; i < count && r == 0; i++) {
		r = segment_file_bytes(k->config->dir, numbers[i], true,
				       &bytes);
		if (r < 0)
			break;
		(void)snprintf(line, sizeof(line),
			       "segments/%08" PRIu32 ".bad: set aside, %" PRIu64
			       " bytes on disk",
			       numbers[i], bytes);
		k->config->tell(k->config->tell_ctx, line);
		k->result.set_aside++;
		k->result.set_aside_bytes += bytes;
	}
	free(numbers);
	return r;
}

/* --- the index --- */

static int open_index(struct fsck *k)
{
	char path[DATA_DIR_PATH_BYTES];
	int r;

	r = data_dir_path(k->config->dir, "index.db", path);
	if (r == 0)
		r = index_open_readonly(path, k->config->dir->id, &k->index);
	if (r == -ENOENT)
		problem(k, "index.db: missing");
	else if (r == -EUCLEAN || r == -EEXIST || r == -EIO)
		problem(k, "index.db: damaged");
	else if (r == -EMEDIUMTYPE)
		problem(k, "index.db: of another directory");
	else if (r == -EROFS)
		problem(k, "index.db: of a version before: the next start "
			   "converts it");
	else
		return r;
	return 0;
}

static int check_segment_row(void *ctx, const struct index_segment *row)
{
	struct fsck *k = ctx;
	struct checked_segment *s = find_segment(k, row->number);

	if (!s) {
		/* Without fragments it is what a removal leaves behind. */
		if (row->live)
			problem(k,
				"segment %u: missing, with %" PRIu64
				" fragments",
				row->number, row->live);
		return 0;
	}
	s->has_row = true;
	s->closed = row->closed;
	s->mark = row->mark;
	s->live = row->live;
	if (s->state == -EBADMSG)
		memcpy(s->generation, row->generation, SEGMENT_ID_BYTES);
	else if (memcmp(s->generation, row->generation, SEGMENT_ID_BYTES)) {
		s->other = true;
		problem(k, "segment %u: not the one that the index knows",
			row->number);
	}
	return 0;
}

static int generation(void *ctx, uint32_t number,
		      uint8_t ret_generation[SEGMENT_ID_BYTES])
{
	struct checked_segment *s = find_segment(ctx, number);

	if (!s)
		return -ENOENT;
	memcpy(ret_generation, s->generation, SEGMENT_ID_BYTES);
	return 0;
}

static void count_row(struct fsck *k, const struct store_fragment *f,
		      uint32_t first)
{
	size_t i;

	for (i = place_of(k, first);
	     i < k->count && k->segments[i].number <= f->segment; i++)
		k->segments[i].counted++;
}

static const enum segment_check_depth depths[] = {
	[FSCK_STRUCTURE] = SEGMENT_CHECK_COMMIT,
	[FSCK_CHECKSUMS] = SEGMENT_CHECK_PAGES,
	[FSCK_MEDIA] = SEGMENT_CHECK_TAGS,
};

static void bad_fragment(struct fsck *k, const struct store_fragment *f,
			 bool unread)
{
	problem(k, "segment %u, block %u: fragment %" PRIu64 " %s", f->segment,
		f->page, f->number.seq,
		unread ? "cannot be read" : "does not verify");
}

static int check_row(void *ctx, const struct store_fragment *f,
		     uint32_t first_segment)
{
	struct fsck *k = ctx;
	int r;

	k->result.fragments++;
	k->result.bytes += f->media_bytes;
	count_row(k, f, first_segment);
	r = segment_replay_check(&k->replay, f, first_segment,
				 depths[k->config->level]);
	if (r == -ENOENT) {
		k->result.dead_fragments++;
		return 0;
	}
	if (k->config->row)
		k->config->row(k->config->row_ctx, f, r == 0);
	if (r != -EBADMSG && r != -EIO)
		return r;
	bad_fragment(k, f, r == -EIO);
	return 0;
}

/* --- what has no row yet --- */

static int add_found(struct fsck *k, const struct store_fragment *f,
		     enum found_state state)
{
	if (k->found_count == k->found_size) {
		size_t size = k->found_size ? 2 * k->found_size : 64;
		void *p = realloc(k->found, size * sizeof(*k->found));

		if (!p)
			return -ENOMEM;
		k->found = p;
		k->found_size = size;
	}
	k->found[k->found_count++] = (struct found){*f, state};
	return 0;
}

static void end_doubt(struct fsck *k, uint32_t number)
{
	struct checked_segment *s = find_segment(k, number);

	if (!s)
		return;
	for (; s->doubt < k->found_count; s->doubt++) {
		struct found *found = &k->found[s->doubt];

		if (found->f.segment != number)
			break;
		if (found->state == FOUND_TORN)
			found->state = FOUND_DAMAGED;
	}
	if (s->gap)
		problem(k, "segment %u, block %u: a record is damaged", number,
			s->gap);
	s->gap = 0;
}

/*
 * A whole fragment: what is before it and is not whole, no torn write left
 * so. Nor in the segment where it begins: that was synced to its end.
 */
static void see_whole(struct fsck *k, const struct store_fragment *f,
		      uint32_t first_segment)
{
	end_doubt(k, f->segment);
	if (first_segment != f->segment)
		end_doubt(k, first_segment);
}

static int see_gap(void *ctx, uint32_t block)
{
	struct fsck *k = ctx;

	if (!k->looked_at->gap)
		k->looked_at->gap = block;
	return 0;
}

static int see_commit(void *ctx, const struct store_fragment *f,
		      uint32_t first_segment)
{
	struct fsck *k = ctx;
	struct index_row row;
	int r;

	r = index_find(k->index, f->stream_id, f->number.seq, &row);
	if (r < 0)
		return r;
	if (r > 0) {
		/* The index is being made; or one of them is a copy. */
		if (row.f.segment == f->segment && row.f.page == f->page)
			see_whole(k, f, first_segment);
		return 0;
	}
	r = segment_replay_check(&k->replay, f, first_segment,
				 MAX(depths[k->config->level],
				     SEGMENT_CHECK_PAGES));
	if (r == 0) {
		see_whole(k, f, first_segment);
		return add_found(k, f, FOUND_SOUND);
	}
	/* It expired, and part of it went with the segment before. */
	if (r == -EBADMSG && k->whole_file && !find_segment(k, first_segment))
		return 0;
	if (r == -EBADMSG)
		return add_found(k, f, FOUND_TORN);
	if (r == -EIO)
		return add_found(k, f, FOUND_UNREAD);
	return r == -ENOENT ? add_found(k, f, FOUND_DEAD) : r;
}

static int look_at_segment(struct fsck *k, struct checked_segment *s,
			   bool rebuilding)
{
	const struct segment_look look = {
		.commit = see_commit,
		.gap = see_gap,
		.ctx = k,
	};
	int r;

	/* Closed ones have all their rows; what is not ours was told. */
	if ((s->has_row && s->closed) || s->other ||
	    (s->state < 0 && !(s->has_row && s->state == -EBADMSG)))
		return 0;
	/* Marks in an index that is being made say nothing yet. */
	k->whole_file = !s->has_row || rebuilding;
	k->looked_at = s;
	s->doubt = k->found_count;
	r = segment_replay_look(&k->replay, s->number,
				k->whole_file ? SEGMENT_FIRST_BLOCK : s->mark,
				&look);
	if (r == -EIO)
		problem(k, "segment %u: cannot be read", s->number);
	return r == -EIO ? 0 : r;
}

static int compare_fragments(const struct store_fragment *a,
			     const struct store_fragment *b)
{
	int r = memcmp(a->stream_id, b->stream_id, STREAM_ID_BYTES);

	if (r)
		return r;
	return a->number.seq < b->number.seq ? -1
					     : a->number.seq > b->number.seq;
}

static int compare_found(const void *left, const void *right)
{
	const struct found *a = left;
	const struct found *b = right;
	int r = compare_fragments(&a->f, &b->f);

	return r ? r : (int)a->state - (int)b->state;
}

static void count_found(struct fsck *k, const struct found *found)
{
	if (found->state == FOUND_TORN) {
		k->result.torn_fragments++;
		return;
	}
	k->result.fragments++;
	k->result.bytes += found->f.media_bytes;
	if (found->state == FOUND_DEAD) {
		k->result.dead_fragments++;
		return;
	}
	if (k->config->row)
		k->config->row(k->config->row_ctx, &found->f,
			       found->state == FOUND_SOUND);
	if (found->state == FOUND_SOUND)
		k->result.new_fragments++;
	else
		bad_fragment(k, &found->f, found->state == FOUND_UNREAD);
}

static int check_new(struct fsck *k)
{
	bool rebuilding = index_rebuilding(k->index);
	size_t i;
	int r = 0;

	for (i = 0; i < k->count && r == 0; i++)
		r = look_at_segment(k, &k->segments[i], rebuilding);
	if (r < 0)
		return r;
	if (k->found_count)
		qsort(k->found, k->found_count, sizeof(*k->found),
		      compare_found);
	/* What compaction copied may be there twice. */
	for (i = 0; i < k->found_count; i++)
		if (!i || compare_fragments(&k->found[i - 1].f, &k->found[i].f))
			count_found(k, &k->found[i]);
	return 0;
}

/* --- all of it --- */

static int check_fragments(struct fsck *k)
{
	int r;

	k->replay = (struct segment_replay){
		.dir = k->config->dir,
		.find_key = k->config->find_key,
		.find_key_ctx = k->config->find_key_ctx,
		.generation = generation,
		.ctx = k,
	};
	r = segment_replay_init(&k->replay);
	if (r < 0)
		return r;
	r = index_rows(k->index, check_row, k);
	if (r == 0)
		r = check_new(k);
	segment_replay_fini(&k->replay);
	if (r == -EUCLEAN)
		problem(k, "index.db: a row is damaged");
	return r == -EUCLEAN ? 0 : r;
}

static void check_counts(struct fsck *k)
{
	size_t i;

	for (i = 0; i < k->count; i++) {
		struct checked_segment *s = &k->segments[i];

		if (!s->has_row)
			k->result.new_segments++;
		else if (s->live != s->counted)
			problem(k,
				"segment %u: counted %" PRIu64
				" fragments, the index says %" PRIu64,
				s->number, s->counted, s->live);
	}
}

static int check_index(struct fsck *k)
{
	uint64_t before = k->result.problems;
	int r;

	r = open_index(k);
	if (r < 0 || !k->index)
		return r;
	r = index_segments(k->index, check_segment_row, k);
	if (r == -EUCLEAN)
		problem(k, "index.db: a segment's row is damaged");
	else if (r == 0)
		r = check_fragments(k);
	if (r == 0 && before == k->result.problems)
		check_counts(k);
	return r == -EUCLEAN ? 0 : r;
}

int store_fsck(const struct fsck_config *config, struct fsck_result *ret_result)
{
	struct fsck k = {.config = config};
	int r;

	r = check_segments(&k);
	if (r == 0)
		r = check_bad_files(&k);
	if (r == 0)
		r = check_index(&k);
	k.index = index_close(k.index);
	free(k.segments);
	free(k.found);
	if (r == 0)
		*ret_result = k.result;
	return r;
}

/* --- repair --- */

static int make_index(const struct fsck_config *config)
{
	struct store_local_config store = {
		.sys = config->dir->sys,
		.dir = config->dir,
		.strict = true,
		.find_key = config->find_key,
		.find_key_ctx = config->find_key_ctx,
	};
	struct store_local *sl = NULL;
	int r = store_local_open(&store, &sl);

	if (r < 0)
		return r;
	(void)store_local_close(sl);
	return 0;
}

int store_fsck_repair(const struct fsck_config *config)
{
	char path[DATA_DIR_PATH_BYTES];
	char old[DATA_DIR_PATH_BYTES];
	int r;

	r = data_dir_path(config->dir, "index.db", path);
	if (r == 0)
		r = data_dir_path(config->dir, "index-old.db", old);
	if (r == 0)
		r = index_move(path, old);
	if (r < 0)
		return r;
	r = make_index(config);
	if (r == 0)
		return index_remove(old);
	/* A full disk, a segment that cannot be read: better the old one. */
	if (index_move(old, path) < 0)
		log_error("fsck", "%s: it was the index", old);
	return r;
}
