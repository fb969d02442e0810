/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spares: what a dead segment had reserved becomes another's, without asking
 * the filesystem for room. That is faster, nobody else takes the room between,
 * and it does not fall to pieces. Nothing of the old content is kept: it is
 * zeroed when the file becomes a spare, by what makes its extents unwritten
 * without writing them (FALLOC_FL_ZERO_RANGE), so a block that was not written
 * reads as empty, as in a new file. Where a filesystem cannot, there are none.
 *
 * They are room that is used, until something else needs it: then they go
 * first, before the reserve and before any row.
 */
#include "io/store_local_int.h"

#include <errno.h>

#include "io/segment_file.h"

/* What is much smaller would have to grow. */
static uint64_t spare_bytes_min(const struct store_local *sl)
{
	return sl->segment_bytes / 4 * 3;
}

/* The catalog and whoever else has files there must not find it full. */
static bool is_tight(const struct store_local *sl)
{
	uint64_t room;

	return room_of_disk(sl, 0, &room) == 0 && room < sl->segment_bytes;
}

static bool is_wanted(struct store_local *sl, uint32_t number)
{
	const struct spares *s = &sl->spares;

	/*
	 * Without the reserve the disk is full, or was: what goes is to make
	 * room for it first. What failed to be written or read would do so
	 * again.
	 */
	return !s->unable && s->count + s->begun < STORE_SPARES_MAX &&
	       !sl->broken && sl->reserve.held && !is_tight(sl) &&
	       segment_table_sound_bytes(&sl->table, number) >=
		       spare_bytes_min(sl);
}

int spare_or_unlink(struct store_local *sl, uint32_t number, bool *ret_spare)
{
	*ret_spare = is_wanted(sl, number) &&
		     segment_file_spare(sl->dir, number) == 0;
	sl->spares.begun += *ret_spare;
	return *ret_spare ? 0 : segment_file_remove(sl->dir, number);
}

void spare_leave(struct store_local *sl)
{
	sl->spares.begun--;
}

void spare_take_in(struct store_local *sl, uint32_t number)
{
	struct spares *s = &sl->spares;
	uint64_t bytes = 0;
	int r = -EOPNOTSUPP;

	/* More than one may have been renamed before the first is asked. */
	if (!s->unable)
		r = segment_file_spare_clear(sl->dir, number, &bytes);
	s->begun--;
	if (r < 0) {
		segment_file_spare_drop(sl->dir, number);
		s->unable |= r == -EOPNOTSUPP || r == -EINVAL || r == -ENOSYS;
		return;
	}
	s->list[s->count++] = (struct spare){.number = number, .bytes = bytes};
	atomic_fetch_add(&s->bytes, bytes);
}

uint32_t spare_pop(struct store_local *sl, uint64_t wanted)
{
	struct spares *s = &sl->spares;

	if (!s->count || wanted < spare_bytes_min(sl))
		return 0;
	s->count--;
	atomic_fetch_sub(&s->bytes, s->list[s->count].bytes);
	return s->list[s->count].number;
}

bool spares_drop(struct store_local *sl, unsigned int keep)
{
	struct spares *s = &sl->spares;
	bool some = s->count > keep;

	while (s->count > keep)
		segment_file_spare_drop(sl->dir,
					spare_pop(sl, sl->segment_bytes));
	return some;
}

void spares_look(struct store_local *sl)
{
	if (sl->spares.count && is_tight(sl))
		(void)spares_drop(sl, 0);
}

uint64_t spares_bytes(const struct store_local *sl)
{
	return atomic_load(&sl->spares.bytes);
}

uint64_t spares_bytes_then(const struct store_local *sl)
{
	const struct spares *s = &sl->spares;

	return s->count ? atomic_load(&s->bytes) - s->list[s->count - 1].bytes
			: 0;
}

bool disk_room_give_up(struct store_local *sl)
{
	return spares_drop(sl, 0) || disk_reserve_release(&sl->reserve);
}
