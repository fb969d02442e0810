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

static bool is_wanted(struct store_local *sl, uint32_t number)
{
	const struct spares *s = &sl->spares;

	/*
	 * Without the reserve the disk is full, or was: what goes is to make
	 * room for it first. What failed to be written would do so again.
	 */
	return !s->unable && s->count < STORE_SPARES_MAX && !sl->broken &&
	       sl->reserve.held &&
	       segment_table_sound_bytes(&sl->table, number) >=
		       spare_bytes_min(sl);
}

int spare_or_unlink(struct store_local *sl, uint32_t number, bool *ret_spare)
{
	*ret_spare = is_wanted(sl, number) &&
		     segment_file_spare(sl->dir, number) == 0;
	/* Also where it has another name already, and that is not durable. */
	return *ret_spare ? 0 : segment_file_unlink(sl->dir, number);
}

void spare_take_in(struct store_local *sl, uint32_t number)
{
	struct spares *s = &sl->spares;
	uint64_t bytes = 0;
	int r = segment_file_spare_clear(sl->dir, number, &bytes);

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
