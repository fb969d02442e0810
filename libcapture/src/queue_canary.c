/* SPDX-License-Identifier: Apache-2.0 */
#include "src/queue_canary.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <linux/dma-buf.h>

#include "base/sys.h"
#include "src/arena.h"
#include "src/queue.h"

/* --- where they are ----------------------------------------------------- */

/* The first small page of a huge one is written in any case. */
static bool is_telling(const struct queue_plane *plane, size_t at, size_t end)
{
	return at < end && at + CAPTURE_CANARY_BYTES <= plane->length &&
	       at % CAPTURE_HUGE_PAGE_BYTES >= arena_page_bytes(0);
}

/*
 * One in the second small page, one in the picture's last line. At the begin
 * of a line, as some devices leave the bytes behind it as they are. Of data
 * whose end is not known, the first alone.
 */
static void choose_places(struct queue *q, const struct capture_format *f,
			  uint32_t p, size_t whole)
{
	const struct queue_plane *plane = &q->buffers[0].planes[p];
	uint32_t *at = q->canary.at[p];
	bool known = f->media == CAPTURE_MEDIA_PICTURE && whole > 1;
	size_t end = known ? whole : f->size[p];
	size_t page = arena_page_bytes(0);
	size_t line = MAX(f->stride[p], 1u);
	size_t first = (page + line - 1) / line * line;
	size_t last = known ? (end - 1) / line * line : 0;

	if (!is_telling(plane, first, end))
		first = page;
	at[0] = is_telling(plane, first, end) ? (uint32_t)first : 0;
	at[1] = last > first && is_telling(plane, last, end) ? (uint32_t)last
							     : 0;
}

/* --- memory ------------------------------------------------------------- */

static void sync_write(struct queue *q, uint32_t index, uint64_t end)
{
	uint32_t p;

	for (p = 0; q->sync && p < q->plane_count; p++)
		queue_sync_fd(q->sys, q->buffers[index].planes[p].dmabuf_fd,
			      DMA_BUF_SYNC_WRITE | end);
}

static bool is_whole(const struct queue *q, const uint8_t *bytes)
{
	return !memcmp(bytes, q->canary.bytes, CAPTURE_CANARY_BYTES);
}

static void put_one(struct queue *q, uint32_t index)
{
	struct queue_buffer *b = &q->buffers[index];
	uint32_t p;
	uint32_t i;

	sync_write(q, index, DMA_BUF_SYNC_START);
	for (p = 0; p < q->plane_count; p++) {
		for (i = 0; i < CAPTURE_CANARIES; i++) {
			uint32_t at = q->canary.at[p][i];

			if (!at)
				continue;
			memcpy(b->planes[p].map + at, q->canary.bytes,
			       CAPTURE_CANARY_BYTES);
			b->canaries = true;
		}
	}
	sync_write(q, index, DMA_BUF_SYNC_END);
}

/* What the driver leaves as it is stays zero, as in all other memory. */
static void wipe(struct queue *q, uint32_t index)
{
	struct queue_buffer *b = &q->buffers[index];
	uint32_t p;
	uint32_t i;

	sync_write(q, index, DMA_BUF_SYNC_START);
	for (p = 0; p < q->plane_count; p++) {
		for (i = 0; i < CAPTURE_CANARIES; i++) {
			uint8_t *at = b->planes[p].map + q->canary.at[p][i];

			if (q->canary.at[p][i] && is_whole(q, at))
				memset(at, 0, CAPTURE_CANARY_BYTES);
		}
	}
	sync_write(q, index, DMA_BUF_SYNC_END);
	b->canaries = false;
}

int queue_canary_set(struct queue *q, const struct capture_format *format,
		     const size_t *whole)
{
	uint32_t i;
	uint32_t p;
	int r;

	r = q->sys->getrandom(q->canary.bytes, CAPTURE_CANARY_BYTES);
	if (r < 0)
		return r;
	for (p = 0; p < q->plane_count; p++)
		choose_places(q, format, p, whole[p]);
	for (i = 0; i < q->count; i++)
		put_one(q, i);
	return 0;
}

/* --- frames ------------------------------------------------------------- */

struct verdict {
	uint32_t dead;
	uint32_t alive;
};

static void look(const struct queue *q, const struct queue_done *done,
		 uint32_t p, struct verdict *v)
{
	const uint8_t *map = q->buffers[done->index].planes[p].map;
	uint32_t end = done->offset[p] + done->bytesused[p];
	uint32_t i;

	for (i = 0; i < CAPTURE_CANARIES; i++) {
		uint32_t at = q->canary.at[p][i];

		if (!at || end <= at)
			continue; /* a frame that does not reach so far */
		if (memcmp(map + at, q->canary.bytes,
			   MIN(end - at, CAPTURE_CANARY_BYTES)))
			v->dead++;
		else
			v->alive++;
	}
}

bool queue_canary_lives(struct queue *q, const struct queue_done *done)
{
	struct verdict v = {0};
	uint32_t p;

	if (!q->buffers[done->index].canaries)
		return false;
	queue_begin_read(q, done->index);
	for (p = 0; p < q->plane_count; p++)
		look(q, done, p, &v);
	queue_end_read(q, done->index);
	if (v.dead)
		wipe(q, done->index);
	return v.alive && !v.dead;
}

/* --- drivers ------------------------------------------------------------ */

static struct {
	pthread_mutex_t lock;
	uint32_t count;
	char names[CAPTURE_CANARY_DRIVERS_MAX][CAPTURE_DRIVER_BYTES];
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool is_listed(const char *driver)
{
	uint32_t i;

	for (i = 0; i < seen.count; i++) {
		if (!strncmp(seen.names[i], driver, CAPTURE_DRIVER_BYTES - 1))
			return true;
	}
	return false;
}

void queue_canary_remember(const char *driver)
{
	(void)pthread_mutex_lock(&seen.lock);
	if (!is_listed(driver) && seen.count < CAPTURE_CANARY_DRIVERS_MAX)
		(void)snprintf(seen.names[seen.count++], CAPTURE_DRIVER_BYTES,
			       "%s", driver);
	(void)pthread_mutex_unlock(&seen.lock);
}

bool queue_canary_remembers(const char *driver)
{
	bool is;

	(void)pthread_mutex_lock(&seen.lock);
	is = is_listed(driver);
	(void)pthread_mutex_unlock(&seen.lock);
	return is;
}

void queue_canary_forget(void)
{
	(void)pthread_mutex_lock(&seen.lock);
	seen.count = 0;
	(void)pthread_mutex_unlock(&seen.lock);
}
