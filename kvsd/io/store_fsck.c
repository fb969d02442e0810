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
	uint64_t live;	  /* as its row says */
	uint64_t counted; /* rows that need it */
};

struct fsck {
	const struct fsck_config *config;
	struct fsck_result result;
	struct index_db *index;
	struct checked_segment *segments; /* by number */
	size_t count;
	struct segment_replay replay;
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
		problem(k, "segment %u: of another directory or number",
			s->number);
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
	s->live = row->live;
	if (s->state == -EBADMSG)
		memcpy(s->generation, row->generation, SEGMENT_ID_BYTES);
	else if (memcmp(s->generation, row->generation, SEGMENT_ID_BYTES))
		problem(k, "segment %u: not the one that the index knows",
			row->number);
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

static int check_row(void *ctx, const struct store_fragment *f,
		     uint32_t first_segment)
{
	static const enum segment_check_depth depths[] = {
		[FSCK_STRUCTURE] = SEGMENT_CHECK_COMMIT,
		[FSCK_CHECKSUMS] = SEGMENT_CHECK_PAGES,
		[FSCK_MEDIA] = SEGMENT_CHECK_TAGS,
	};
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
	problem(k, "segment %u, block %u: fragment %" PRIu64 " %s", f->segment,
		f->page, f->number.seq,
		r == -EIO ? "cannot be read" : "does not verify");
	return 0;
}

static int check_rows(struct fsck *k)
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
		r = check_rows(k);
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
