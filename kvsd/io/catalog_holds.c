/* SPDX-License-Identifier: Apache-2.0 */
#include "io/catalog_holds.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void catalog_holds_init(struct catalog_holds *h)
{
	memset(h, 0, sizeof(*h));
	(void)pthread_mutex_init(&h->lock, NULL);
}

void catalog_holds_fini(struct catalog_holds *h)
{
	free(h->rows);
	(void)pthread_mutex_destroy(&h->lock);
}

void catalog_holds_clear(struct catalog_holds *h)
{
	(void)pthread_mutex_lock(&h->lock);
	h->count = 0;
	(void)pthread_mutex_unlock(&h->lock);
}

/* --- the lock is held --- */

/* First place that is not before @id and @name. */
static size_t place_of(const struct catalog_holds *h, const uint8_t *id,
		       const char *name)
{
	size_t low = 0;
	size_t high = h->count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct catalog_hold_row *row = &h->rows[mid];
		int c = memcmp(row->stream_id, id, STREAM_ID_BYTES);

		if (c < 0 || (c == 0 && strcmp(row->hold.name, name) < 0))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool is_of(const struct catalog_holds *h, size_t i, const uint8_t *id)
{
	return i < h->count &&
	       memcmp(h->rows[i].stream_id, id, STREAM_ID_BYTES) == 0;
}

static int check_room(struct catalog_holds *h,
		      const struct catalog_hold_row *row)
{
	const struct catalog_hold *hold = &row->hold;
	size_t i = place_of(h, row->stream_id, "");
	size_t count = 0;
	size_t size;
	void *p;

	for (; is_of(h, i, row->stream_id); i++, count++) {
		const struct catalog_hold *old = &h->rows[i].hold;

		if (strcmp(old->name, hold->name) != 0)
			continue;
		return old->range.from_ms == hold->range.from_ms &&
				       old->range.to_ms == hold->range.to_ms
			       ? -EALREADY
			       : -EEXIST;
	}
	if (count >= STORE_HOLDS_MAX)
		return -EDQUOT;
	if (h->count < h->size)
		return 0;
	size = h->size ? 2 * h->size : 16;
	p = realloc(h->rows, size * sizeof(*h->rows));
	if (!p)
		return -ENOMEM;
	h->rows = p;
	h->size = size;
	return 0;
}

/* --- */

int catalog_holds_prepare(struct catalog_holds *h,
			  const struct catalog_hold_row *row)
{
	int r;

	(void)pthread_mutex_lock(&h->lock);
	r = check_room(h, row);
	(void)pthread_mutex_unlock(&h->lock);
	return r;
}

void catalog_holds_publish(struct catalog_holds *h,
			   const struct catalog_hold_row *row)
{
	size_t i;

	(void)pthread_mutex_lock(&h->lock);
	assert(h->count < h->size);
	i = place_of(h, row->stream_id, row->hold.name);
	memmove(&h->rows[i + 1], &h->rows[i],
		(h->count - i) * sizeof(*h->rows));
	h->rows[i] = *row;
	h->count++;
	(void)pthread_mutex_unlock(&h->lock);
}

void catalog_holds_remove(struct catalog_holds *h,
			  const uint8_t id[STREAM_ID_BYTES], const char *name)
{
	size_t i;

	(void)pthread_mutex_lock(&h->lock);
	i = place_of(h, id, name);
	if (is_of(h, i, id) && strcmp(h->rows[i].hold.name, name) == 0) {
		h->count--;
		memmove(&h->rows[i], &h->rows[i + 1],
			(h->count - i) * sizeof(*h->rows));
	}
	(void)pthread_mutex_unlock(&h->lock);
}

size_t catalog_holds_list(struct catalog_holds *h,
			  const uint8_t id[STREAM_ID_BYTES],
			  struct catalog_hold ret_rows[STORE_HOLDS_MAX])
{
	size_t count = 0;
	size_t i;

	(void)pthread_mutex_lock(&h->lock);
	i = place_of(h, id, "");
	while (count < STORE_HOLDS_MAX && is_of(h, i, id))
		ret_rows[count++] = h->rows[i++].hold;
	(void)pthread_mutex_unlock(&h->lock);
	return count;
}

void catalog_holds_ranges(struct catalog_holds *h,
			  const uint8_t id[STREAM_ID_BYTES],
			  struct store_holds *ret_holds)
{
	size_t i;

	ret_holds->count = 0;
	(void)pthread_mutex_lock(&h->lock);
	i = place_of(h, id, "");
	while (ret_holds->count < STORE_HOLDS_MAX && is_of(h, i, id))
		ret_holds->ranges[ret_holds->count++] = h->rows[i++].hold.range;
	(void)pthread_mutex_unlock(&h->lock);
}
