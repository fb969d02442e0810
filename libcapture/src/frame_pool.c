/* SPDX-License-Identifier: Apache-2.0 */
#include "src/frame_pool.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/sys.h"
#include "src/arena.h"
#include "src/frame.h"
#include "src/limits.h"

struct pool_frame {
	struct frame_holder holder;
	struct frame_pool *pool;
};

struct frame_pool {
	const struct sys_ops *sys;
	struct capture_arena *arena;
	enum capture_rung rung;
	bool closed;
	uint32_t count;
	uint32_t out;
	struct pool_frame frames[CAPTURE_BUFFERS_MAX];
};

static void unexport_all(struct frame_pool *pool)
{
	uint32_t i;
	uint32_t p;

	for (i = 0; i < pool->count; i++) {
		struct capture_frame *f = &pool->frames[i].holder.frame;

		for (p = 0; p < f->plane_count; p++)
			sys_close(pool->sys, &f->planes[p].dmabuf_fd);
	}
}

static void pool_destroy(struct frame_pool *pool)
{
	unexport_all(pool);
	(void)capture_arena_unref(pool->arena);
	free(pool);
}

static void pool_release(struct frame_holder *holder)
{
	struct frame_pool *pool =
		container_of(holder, struct pool_frame, holder)->pool;

	assert(pool->out);
	pool->out--;
	if (pool->closed && !pool->out)
		pool_destroy(pool);
}

static void init_frames(struct frame_pool *pool,
			const struct capture_format *format, uint32_t track_id)
{
	size_t page = capture_arena_page_bytes(pool->arena);
	uint8_t *map = capture_arena_map(pool->arena);
	uint32_t i;
	uint32_t p;

	for (i = 0; i < pool->count; i++) {
		struct capture_frame *f = &pool->frames[i].holder.frame;

		pool->frames[i].pool = pool;
		pool->frames[i].holder.release = pool_release;
		f->track_id = track_id;
		f->fourcc = format->fourcc;
		f->width = format->width;
		f->height = format->height;
		f->plane_count = format->plane_count;
		for (p = 0; p < format->plane_count; p++) {
			struct capture_plane *plane = &f->planes[p];

			plane->dmabuf_fd = -EBADF;
			plane->length = format->size[p];
			plane->stride = format->stride[p];
			plane->map = map;
			map += ALIGN_UP((size_t)format->size[p], page);
		}
	}
}

/* All or none: half the planes are of no use to an importer. */
static int export_all(struct frame_pool *pool)
{
	size_t page = capture_arena_page_bytes(pool->arena);
	const uint8_t *map = capture_arena_map(pool->arena);
	int udmabuf_fd;
	uint32_t i;
	uint32_t p;
	int r;

	r = arena_udmabuf_open(pool->sys, &udmabuf_fd);
	if (r < 0)
		return r;
	for (i = 0; i < pool->count && r == 0; i++) {
		struct capture_frame *f = &pool->frames[i].holder.frame;

		for (p = 0; p < f->plane_count && r == 0; p++) {
			struct capture_plane *plane = &f->planes[p];
			size_t length = ALIGN_UP((size_t)plane->length, page);

			r = arena_export_by(pool->arena, udmabuf_fd,
					    (size_t)(plane->map - map), length,
					    &plane->dmabuf_fd);
		}
	}
	sys_close(pool->sys, &udmabuf_fd);
	return r;
}

static int pool_setup(struct frame_pool *pool,
		      const struct capture_format *format,
		      const struct capture_source_config *config)
{
	size_t page = arena_page_bytes(0);
	int r;

	if (config->rung != CAPTURE_RUNG_AUTO &&
	    config->rung != CAPTURE_RUNG_S1 && config->rung != CAPTURE_RUNG_S5)
		return -EOPNOTSUPP;
	r = capture_arena_new(pool->sys,
			      arena_slot_bytes(format, page) * pool->count, 0,
			      &pool->arena);
	if (r < 0)
		return r;
	init_frames(pool, format, config->track_id);
	pool->rung = CAPTURE_RUNG_S5;
	if (config->rung == CAPTURE_RUNG_S5)
		return 0;
	r = export_all(pool);
	if (r == 0)
		pool->rung = CAPTURE_RUNG_S1;
	else
		unexport_all(pool);
	return r < 0 && config->rung == CAPTURE_RUNG_S1 ? -EOPNOTSUPP : 0;
}

int frame_pool_new(const struct sys_ops *sys,
		   const struct capture_format *format,
		   const struct capture_source_config *config,
		   struct frame_pool **ret_pool)
{
	struct frame_pool *pool = calloc(1, sizeof(*pool));
	int r;

	if (!pool)
		return -ENOMEM;
	pool->sys = sys;
	pool->count = config->buffer_count ? config->buffer_count
					   : CAPTURE_SOURCE_BUFFERS;
	assert(pool->count <= CAPTURE_BUFFERS_MAX);
	assert(format->plane_count <= CAPTURE_PLANES_MAX);
	r = pool_setup(pool, format, config);
	if (r < 0) {
		pool_destroy(pool);
		return r;
	}
	*ret_pool = pool;
	return 0;
}

void frame_pool_close(struct frame_pool *pool)
{
	if (!pool)
		return;
	pool->closed = true;
	if (!pool->out)
		pool_destroy(pool);
}

uint32_t frame_pool_free_count(const struct frame_pool *pool)
{
	return pool->count - pool->out;
}

static void reset_frame(struct capture_frame *f)
{
	uint32_t p;

	f->sequence = 0;
	f->flags = 0;
	f->stamp_ns = 0;
	f->clock = CAPTURE_CLOCK_UNKNOWN;
	f->point = CAPTURE_POINT_END_OF_FRAME;
	f->epoch = 0;
	f->device_ticks = 0;
	f->device_hz = 0;
	f->aligned = (struct capture_aligned){0};
	for (p = 0; p < f->plane_count; p++) {
		f->planes[p].offset = 0;
		f->planes[p].bytesused = f->planes[p].length;
	}
}

struct capture_frame *frame_pool_take(struct frame_pool *pool)
{
	uint32_t i;

	for (i = 0; i < pool->count; i++) {
		struct frame_holder *holder = &pool->frames[i].holder;

		if (holder->refs)
			continue;
		holder->refs = 1;
		pool->out++;
		reset_frame(&holder->frame);
		return &holder->frame;
	}
	return NULL;
}

uint8_t *frame_pool_data(const struct capture_frame *frame, uint32_t plane)
{
	/* The map is the pool's own; only users must not write to it. */
	return (uint8_t *)(uintptr_t)frame->planes[plane].map;
}

struct capture_arena *frame_pool_arena(const struct frame_pool *pool)
{
	return pool->arena;
}

void frame_pool_stats(const struct frame_pool *pool,
		      struct capture_source_stats *stats)
{
	stats->rung = pool->rung;
	stats->buffer_count = pool->count;
	stats->memory_bytes = capture_arena_bytes(pool->arena);
}
