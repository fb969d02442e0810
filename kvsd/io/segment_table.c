/* SPDX-License-Identifier: Apache-2.0 */
#include "io/segment_table.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/limits.h"

void segment_table_init(struct segment_table *t)
{
	memset(t, 0, sizeof(*t));
	(void)pthread_mutex_init(&t->lock, NULL);
}

void segment_table_fini(struct segment_table *t)
{
	free(t->infos);
	(void)pthread_mutex_destroy(&t->lock);
}

size_t segment_place_of(const void *elements, size_t size, size_t count,
			uint32_t number)
{
	size_t low = 0;
	size_t high = count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		uint32_t at;

		memcpy(&at, (const uint8_t *)elements + mid * size, sizeof(at));
		if (at < number)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t place_of(const struct segment_table *t, uint32_t number)
{
	return segment_place_of(t->infos, sizeof(*t->infos), t->count, number);
}

static struct segment_info *find(struct segment_table *t, uint32_t number)
{
	size_t i = place_of(t, number);

	return i < t->count && t->infos[i].number == number ? &t->infos[i] :
							      NULL;
}

static int add_locked(struct segment_table *t, uint32_t number,
		      const uint8_t *generation, bool open)
{
	struct segment_info *info;
	size_t i;

	if (find(t, number))
		return -EEXIST;
	if (t->count == SEGMENTS_MAX)
		return -EOVERFLOW;
	if (t->count == t->size) {
		size_t size = t->size ? 2 * t->size : 64;

		info = realloc(t->infos, size * sizeof(*info));
		if (!info)
			return -ENOMEM;
		t->infos = info;
		t->size = size;
	}
	i = place_of(t, number);
	memmove(&t->infos[i + 1], &t->infos[i],
		(t->count - i) * sizeof(*t->infos));
	t->count++;
	info = &t->infos[i];
	info->number = number;
	info->pins = 0;
	info->bytes = 0;
	info->first_ms = UINT64_MAX;
	info->writer = NULL;
	info->open = open;
	info->keep = SEGMENT_FREE;
	info->failed = false;
	memcpy(info->generation, generation, SEGMENT_ID_BYTES);
	return 0;
}

int segment_table_add(struct segment_table *t, uint32_t number,
		      const uint8_t generation[SEGMENT_ID_BYTES], bool open)
{
	int r;

	(void)pthread_mutex_lock(&t->lock);
	r = add_locked(t, number, generation, open);
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int segment_table_generation(struct segment_table *t, uint32_t number,
			     uint8_t ret[SEGMENT_ID_BYTES])
{
	struct segment_info *info;
	int r = -ENOENT;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	if (info) {
		memcpy(ret, info->generation, SEGMENT_ID_BYTES);
		r = 0;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

void segment_table_pin(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	assert(info && info->open);
	info->pins++;
	(void)pthread_mutex_unlock(&t->lock);
}

void segment_table_unpin(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	assert(info && info->pins);
	info->pins--;
	(void)pthread_mutex_unlock(&t->lock);
}

void segment_table_close(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	if (info)
		info->open = false;
	(void)pthread_mutex_unlock(&t->lock);
}

bool segment_table_keep(struct segment_table *t, uint32_t first, uint32_t end,
			enum segment_keep keep)
{
	bool some = false;
	size_t i;

	(void)pthread_mutex_lock(&t->lock);
	for (i = place_of(t, first); i < t->count && t->infos[i].number < end;
	     i++) {
		t->infos[i].keep = MAX(t->infos[i].keep, keep);
		some = true;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return some;
}

bool segment_table_forget_unsure(struct segment_table *t)
{
	bool some = false;
	size_t i;

	(void)pthread_mutex_lock(&t->lock);
	for (i = 0; i < t->count; i++) {
		if (t->infos[i].keep != SEGMENT_KEEP_UNSURE)
			continue;
		t->infos[i].keep = SEGMENT_FREE;
		some = true;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return some;
}

void segment_table_set_failed(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	if (info)
		info->failed = true;
	(void)pthread_mutex_unlock(&t->lock);
}

uint64_t segment_table_sound_bytes(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;
	uint64_t bytes;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	bytes = info && !info->failed ? info->bytes : 0;
	(void)pthread_mutex_unlock(&t->lock);
	return bytes;
}

bool segment_table_idle(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;
	bool idle;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	idle = !info || (!info->open && !info->pins && !info->keep);
	(void)pthread_mutex_unlock(&t->lock);
	return idle;
}

void segment_table_remove(struct segment_table *t, uint32_t number)
{
	size_t i;

	(void)pthread_mutex_lock(&t->lock);
	i = place_of(t, number);
	if (i < t->count && t->infos[i].number == number) {
		assert(!t->infos[i].open && !t->infos[i].pins);
		t->bytes -= t->infos[i].bytes;
		t->count--;
		memmove(&t->infos[i], &t->infos[i + 1],
			(t->count - i) * sizeof(*t->infos));
	}
	(void)pthread_mutex_unlock(&t->lock);
}

void segment_table_set_writer(struct segment_table *t, uint32_t number,
			      const void *writer)
{
	struct segment_info *info;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	if (info)
		info->writer = writer;
	(void)pthread_mutex_unlock(&t->lock);
}

void segment_table_row(struct segment_table *t, uint32_t number,
		       uint64_t server_ms)
{
	struct segment_info *info;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	if (info)
		info->first_ms = MIN(info->first_ms, server_ms);
	(void)pthread_mutex_unlock(&t->lock);
}

uint64_t segment_table_open_ms(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;
	uint64_t ms = UINT64_MAX;
	size_t i;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	for (i = 0; info && info->open && i < t->count; i++) {
		if (t->infos[i].open && t->infos[i].writer == info->writer)
			ms = MIN(ms, t->infos[i].first_ms);
	}
	(void)pthread_mutex_unlock(&t->lock);
	return ms;
}

size_t segment_table_count(struct segment_table *t)
{
	size_t count;

	(void)pthread_mutex_lock(&t->lock);
	count = t->count;
	(void)pthread_mutex_unlock(&t->lock);
	return count;
}

void segment_table_set_bytes(struct segment_table *t, uint32_t number,
			     uint64_t bytes)
{
	struct segment_info *info;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	if (info) {
		t->bytes += bytes - info->bytes;
		info->bytes = bytes;
	}
	(void)pthread_mutex_unlock(&t->lock);
}

uint64_t segment_table_bytes(struct segment_table *t)
{
	uint64_t bytes;

	(void)pthread_mutex_lock(&t->lock);
	bytes = t->bytes;
	(void)pthread_mutex_unlock(&t->lock);
	return bytes;
}

uint64_t segment_table_bytes_of(struct segment_table *t, uint32_t number)
{
	struct segment_info *info;
	uint64_t bytes;

	(void)pthread_mutex_lock(&t->lock);
	info = find(t, number);
	bytes = info ? info->bytes : 0;
	(void)pthread_mutex_unlock(&t->lock);
	return bytes;
}
