/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/fsck_hold.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve/hold.h"

static int take_hold(void *ctx, const struct catalog_hold_row *row)
{
	struct fsck_holds *h = ctx;

	if (h->count == h->size) {
		size_t size = h->size ? 2 * h->size : 16;
		void *p = realloc(h->rows, size * sizeof(*h->rows));

		if (!p)
			return -ENOMEM;
		h->rows = p;
		h->size = size;
	}
	h->rows[h->count++] = (struct fsck_hold){.row = *row};
	return 0;
}

static int take_stream(void *ctx, const struct catalog_row *row)
{
	struct fsck_holds *h = ctx;
	size_t i;

	for (i = 0; i < h->count; i++) {
		struct fsck_hold *hold = &h->rows[i];

		if (memcmp(hold->row.stream_id, row->id, STREAM_ID_BYTES) == 0)
			(void)snprintf(hold->stream, sizeof(hold->stream), "%s",
				       row->name);
	}
	return 0;
}

int fsck_holds_read(struct fsck_holds *h, struct catalog_db *db)
{
	int r;

	h->count = 0;
	r = catalog_db_holds(db, take_hold, h);
	return r < 0 ? r : catalog_db_streams(db, take_stream, h);
}

void fsck_holds_free(struct fsck_holds *h)
{
	free(h->rows);
	memset(h, 0, sizeof(*h));
}

static const struct fsck_hold *find(const struct fsck_holds *h,
				    const struct catalog_hold_row *row)
{
	size_t i;

	for (i = 0; i < h->count; i++) {
		const struct catalog_hold_row *other = &h->rows[i].row;

		if (memcmp(other->stream_id, row->stream_id, STREAM_ID_BYTES) ==
			    0 &&
		    strcmp(other->hold.name, row->hold.name) == 0)
			return &h->rows[i];
	}
	return NULL;
}

bool fsck_holds_same(const struct fsck_holds *a, const struct fsck_holds *b)
{
	size_t i;

	if (a->count != b->count)
		return false;
	for (i = 0; i < a->count; i++) {
		const struct catalog_hold *mine = &a->rows[i].row.hold;
		const struct fsck_hold *other = find(b, &a->rows[i].row);

		if (!other ||
		    other->row.hold.range.from_ms != mine->range.from_ms ||
		    other->row.hold.range.to_ms != mine->range.to_ms)
			return false;
	}
	return true;
}

unsigned int fsck_holds_check(const struct fsck_holds *h)
{
	unsigned int problems = 0;
	size_t i;

	for (i = 0; i < h->count; i++) {
		const struct catalog_hold *hold = &h->rows[i].row.hold;

		if (!h->rows[i].stream[0]) {
			problems++;
			(void)printf("hold %s: of no stream\n", hold->name);
		} else if (hold->range.from_ms > hold->range.to_ms) {
			problems++;
			(void)printf("stream %s: hold %s ends before it "
				     "begins\n",
				     h->rows[i].stream, hold->name);
		}
	}
	return problems;
}

void fsck_holds_count(void *ctx, const struct store_fragment *f, bool sound)
{
	struct fsck_holds *h = ctx;
	size_t i;

	for (i = 0; i < h->count; i++) {
		struct fsck_hold *hold = &h->rows[i];
		struct store_holds one = {
			.count = 1,
			.ranges = {hold->row.hold.range},
		};

		if (memcmp(hold->row.stream_id, f->stream_id,
			   STREAM_ID_BYTES) != 0 ||
		    !store_is_held(&one, f))
			continue;
		hold->fragments++;
		hold->bytes += f->media_bytes;
		hold->unsound += !sound;
	}
}

void fsck_holds_restart(struct fsck_holds *h)
{
	size_t i;

	for (i = 0; i < h->count; i++) {
		h->rows[i].fragments = 0;
		h->rows[i].bytes = 0;
		h->rows[i].unsound = 0;
	}
}

void fsck_holds_print(const struct fsck_holds *h)
{
	size_t i;

	for (i = 0; i < h->count; i++) {
		const struct fsck_hold *hold = &h->rows[i];

		(void)printf("stream %s: hold %s", hold->stream,
			     hold->row.hold.name);
		hold_print_range(&hold->row.hold.range);
		(void)printf(": %" PRIu64 " fragments, %" PRIu64
			     " bytes of media",
			     hold->fragments, hold->bytes);
		if (hold->unsound)
			(void)printf(", %" PRIu64 " do not verify",
				     hold->unsound);
		(void)printf("\n");
	}
}
