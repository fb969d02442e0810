/* SPDX-License-Identifier: Apache-2.0 */
#include "src/queue_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <linux/videodev2.h>

#include "base/sys.h"
#include "src/arena.h"
#include "src/queue.h"
#include "src/v4l2.h"

static int request(struct queue *q, uint32_t memory, uint32_t count)
{
	struct v4l2_requestbuffers req;
	int r;

	memset(&req, 0, sizeof(req));
	req.count = count;
	req.type = q->type;
	req.memory = memory;
	if (q->non_coherent)
		req.flags = V4L2_MEMORY_FLAG_NON_COHERENT;
	r = q->sys->ioctl(q->fd, VIDIOC_REQBUFS, &req);
	if (r < 0)
		return r;
	q->memory = memory;
	if (!count)
		return 0;
	q->cache_hints = memory == V4L2_MEMORY_MMAP &&
			 req.capabilities &
				 V4L2_BUF_CAP_SUPPORTS_MMAP_CACHE_HINTS;
	/* Kernels that do not know the flag leave it as it is. */
	q->non_coherent = q->cache_hints &&
			  req.flags & V4L2_MEMORY_FLAG_NON_COHERENT;
	if (!req.count)
		return -ENOMEM;
	if (req.count > CAPTURE_BUFFERS_MAX)
		return -EPROTO;
	q->count = req.count;
	return 0;
}

void queue_memory_free(struct queue *q)
{
	(void)request(q, q->memory, 0); /* closing the node does it too */
}

/* Errors that no other rung can mend. */
static bool is_final(int r)
{
	return r == -EBUSY || r == -ENODEV;
}

/* --- S1, S2: our memory, imported --------------------------------------- */

static int export_planes(struct queue *q, const struct capture_format *format,
			 int udmabuf_fd)
{
	size_t page = capture_arena_page_bytes(q->arena);
	size_t offset = 0;
	uint32_t i;
	uint32_t p;
	int r;

	for (i = 0; i < q->count; i++) {
		for (p = 0; p < format->plane_count; p++) {
			struct queue_plane *plane = &q->buffers[i].planes[p];
			size_t length = ALIGN_UP((size_t)format->size[p], page);

			r = arena_export_by(q->arena, udmabuf_fd, offset,
					    length, &plane->dmabuf_fd);
			if (r < 0)
				return r;
			plane->map = capture_arena_map(q->arena) + offset;
			plane->length = (uint32_t)length;
			offset += length;
		}
	}
	return 0;
}

/*
 * Whether the driver takes the memory is known only when it maps it: queue
 * each buffer once, then cancel them all. Nothing streams yet.
 */
static int try_give(struct queue *q)
{
	struct queue_payload payload;
	uint32_t i;
	uint32_t p;
	int r = 0;
	int off;

	memset(&payload, 0, sizeof(payload));
	for (p = 0; p < q->plane_count; p++)
		payload.bytesused[p] = q->buffers[0].planes[p].length;
	for (i = 0; i < q->count && r == 0; i++)
		r = queue_give(q, i, &payload);
	off = queue_off(q);
	return r < 0 ? r : off;
}

static int alloc_arena(struct queue *q, const struct capture_format *format,
		       uint32_t count, enum capture_rung rung)
{
	unsigned int flags = rung == CAPTURE_RUNG_S2 ? CAPTURE_ARENA_HUGE : 0;
	size_t page = arena_page_bytes(flags);
	int udmabuf_fd;
	int r;

	if (q->no_huge && rung == CAPTURE_RUNG_S2)
		return -EOPNOTSUPP;
	/* First what costs nothing: no udmabuf, no import. */
	r = arena_udmabuf_open(q->sys, &udmabuf_fd);
	if (r < 0)
		return is_final(r) ? -EOPNOTSUPP : r;
	r = request(q, V4L2_MEMORY_DMABUF, count);
	if (r < 0) {
		sys_close(q->sys, &udmabuf_fd);
		return r;
	}
	q->rung = rung;
	r = capture_arena_new(q->sys, arena_slot_bytes(format, page) * q->count,
			      flags, &q->arena);
	if (r == 0)
		r = export_planes(q, format, udmabuf_fd);
	sys_close(q->sys, &udmabuf_fd);
	if (is_final(r))
		r = -EOPNOTSUPP; /* udmabuf's word, not the camera's */
	if (r == 0)
		r = try_give(q);
	if (r == 0)
		q->memory_bytes = capture_arena_bytes(q->arena);
	return r;
}

/* --- S3, S5: the driver's memory ---------------------------------------- */

static int map_plane(struct queue *q, struct queue_plane *plane,
		     uint32_t length, uint32_t offset)
{
	void *map;
	int r;

	r = q->sys->mmap(length, PROT_READ | PROT_WRITE, MAP_SHARED, q->fd,
			 (off_t)offset, &map);
	if (r < 0)
		return r;
	plane->map = map;
	plane->map_bytes = length;
	plane->length = length;
	q->memory_bytes += length;
	return 0;
}

static int map_buffer(struct queue *q, const struct capture_format *format,
		      uint32_t index)
{
	struct v4l2_plane planes[CAPTURE_PLANES_MAX];
	bool mplane = v4l2_is_mplane(q->type);
	struct v4l2_buffer v;
	uint32_t p;
	int r;

	memset(&v, 0, sizeof(v));
	memset(planes, 0, sizeof(planes));
	v.index = index;
	v.type = q->type;
	v.memory = V4L2_MEMORY_MMAP;
	if (mplane) {
		v.m.planes = planes;
		v.length = q->plane_count;
	}
	r = q->sys->ioctl(q->fd, VIDIOC_QUERYBUF, &v);
	if (r < 0)
		return r;
	for (p = 0; p < q->plane_count; p++) {
		uint32_t length = mplane ? planes[p].length : v.length;
		uint32_t offset = mplane ? planes[p].m.mem_offset
					 : v.m.offset;

		/* The format said how much a picture needs. */
		if (length < format->size[p])
			return -EPROTO;
		r = map_plane(q, &q->buffers[index].planes[p], length, offset);
		if (r < 0)
			return r;
	}
	return 0;
}

static int export_buffers(struct queue *q)
{
	uint32_t i;
	uint32_t p;

	for (i = 0; i < q->count; i++) {
		for (p = 0; p < q->plane_count; p++) {
			struct v4l2_exportbuffer e;
			int r;

			memset(&e, 0, sizeof(e));
			e.type = q->type;
			e.index = i;
			e.plane = p;
			e.flags = O_CLOEXEC | O_RDWR;
			r = q->sys->ioctl(q->fd, VIDIOC_EXPBUF, &e);
			if (r < 0)
				return r;
			q->buffers[i].planes[p].dmabuf_fd = e.fd;
		}
	}
	return 0;
}

static void unexport_buffers(struct queue *q)
{
	uint32_t i;
	uint32_t p;

	for (i = 0; i < q->count; i++) {
		for (p = 0; p < q->plane_count; p++)
			sys_close(q->sys, &q->buffers[i].planes[p].dmabuf_fd);
	}
}

static uint64_t sum_words(const volatile uint64_t *words, size_t count,
			  size_t step)
{
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < count; i += step)
		sum += words[i];
	return sum;
}

/* Best of a few runs, in nanoseconds; the first touch faults pages in. */
static uint64_t read_ns(const struct sys_ops *sys, const void *bytes,
			size_t len)
{
	const volatile uint64_t *words = bytes;
	size_t count = len / sizeof(*words);
	uint64_t best_ns = UINT64_MAX;
	uint64_t start_ns;
	uint64_t took_ns;
	int run;

	(void)sum_words(words, count, 4096 / sizeof(*words));
	for (run = 0; run < CAPTURE_MEASURE_RUNS; run++) {
		start_ns = sys_now_ns(sys, CLOCK_MONOTONIC);
		(void)sum_words(words, count, 1);
		took_ns = sys_now_ns(sys, CLOCK_MONOTONIC) - start_ns;
		best_ns = MIN(best_ns, took_ns);
	}
	return MAX(best_ns, 1);
}

/* Flags do not tell whether a map is cached; reading it does. */
static int measure(struct queue *q, bool *ret_cached)
{
	const struct queue_plane *plane = &q->buffers[0].planes[0];
	size_t len = MIN(plane->map_bytes, CAPTURE_MEASURE_BYTES);
	uint64_t map_ns = UINT64_MAX;
	uint64_t heap_ns;
	uint64_t took_ns;
	void *heap;
	int round;

	if (len < CAPTURE_MEASURE_BYTES_MIN) {
		*ret_cached = true;
		return 0;
	}
	heap = calloc(1, CAPTURE_MEASURE_BYTES);
	if (!heap)
		return -ENOMEM;
	/* calloc's pages may all be the zero page: make them real. */
	memset(heap, 1, CAPTURE_MEASURE_BYTES);
	*ret_cached = false;
	/*
	 * A machine that is busy now slows a few runs, or all of them by turns:
	 * slow must last, beside ordinary memory at the same time.
	 */
	for (round = 0; !*ret_cached && round < CAPTURE_MEASURE_ROUNDS;
	     round++) {
		heap_ns = read_ns(q->sys, heap, len);
		took_ns = read_ns(q->sys, plane->map, len);
		*ret_cached = took_ns <= CAPTURE_MEASURE_RATIO * heap_ns;
		map_ns = MIN(map_ns, took_ns);
	}
	free(heap);
	q->map_read_bytes_per_s = len * UINT64_C(1000000000) / map_ns;
	return 0;
}

static int map_all(struct queue *q, const struct capture_format *format,
		   uint32_t count, bool *ret_cached)
{
	uint32_t i;
	int r;

	r = request(q, V4L2_MEMORY_MMAP, count);
	for (i = 0; r == 0 && i < q->count; i++)
		r = map_buffer(q, format, i);
	return r < 0 ? r : measure(q, ret_cached);
}

/* Whether the memory will do as it is, since devices alone read it. */
static bool is_for_devices(struct queue *q)
{
	if (!q->import_only)
		return false;
	if (export_buffers(q) == 0)
		return true;
	unexport_buffers(q); /* the CPU must copy it after all */
	return false;
}

static int alloc_mmap(struct queue *q, const struct capture_format *format,
		      uint32_t count, enum capture_rung rung)
{
	bool cached = false;
	int r;

	r = map_all(q, format, count, &cached);
	if (r == 0 && !cached && rung != CAPTURE_RUNG_S5 && is_for_devices(q)) {
		q->rung = CAPTURE_RUNG_S3;
		return 0;
	}
	if (r == 0 && !cached && q->cache_hints && rung != CAPTURE_RUNG_S5) {
		/*
		 * Slow to read, as it is kept coherent. The driver has cached
		 * memory too, and then syncs it at each QBUF and DQBUF.
		 */
		queue_release(q);
		q->non_coherent = true;
		r = map_all(q, format, count, &cached);
	}
	if (r < 0)
		return r;
	q->rung = CAPTURE_RUNG_S5;
	if (rung == CAPTURE_RUNG_S5)
		return 0; /* asked for: as if it could not be exported */
	if (export_buffers(q) < 0)
		unexport_buffers(q); /* works all the same: by copies */
	else if (cached)
		q->rung = CAPTURE_RUNG_S3;
	return 0;
}

/* --- S4: memory of a dma-heap ------------------------------------------- */

static int alloc_heap(struct queue *q, const struct capture_format *format,
		      uint32_t count, size_t index)
{
	bool cached = false;
	int heap_fd;
	int r;

	heap_fd = queue_heap_open(q->sys, index);
	if (heap_fd < 0)
		return is_final(heap_fd) ? -EOPNOTSUPP : heap_fd;
	r = request(q, V4L2_MEMORY_DMABUF, count);
	if (r < 0) {
		sys_close(q->sys, &heap_fd);
		return r;
	}
	q->rung = CAPTURE_RUNG_S4;
	r = queue_heap_fill(q, format, heap_fd);
	sys_close(q->sys, &heap_fd);
	if (is_final(r))
		r = -EOPNOTSUPP; /* the heap's word, not the camera's */
	if (r == 0)
		r = try_give(q);
	if (r == 0)
		r = measure(q, &cached);
	/* An uncached heap has nothing over the driver's memory. */
	return r == 0 && !cached ? -EOPNOTSUPP : r;
}

/* The first heap that the driver takes; each that it does not is released. */
static int alloc_heaps(struct queue *q, const struct capture_format *format,
		       uint32_t count)
{
	int worst = -EOPNOTSUPP;
	size_t i;
	int r;

	for (i = 0; i < queue_heap_count(); i++) {
		r = alloc_heap(q, format, count, i);
		if (r == 0)
			return 0;
		queue_release(q);
		if (is_final(r))
			return r;
		if (r != -ENOENT)
			worst = r;
	}
	return worst;
}

/* --- the ladder --------------------------------------------------------- */

static int try_rung(struct queue *q, const struct capture_format *format,
		    uint32_t count, enum capture_rung rung)
{
	switch (rung) {
	case CAPTURE_RUNG_S1:
	case CAPTURE_RUNG_S2:
		return alloc_arena(q, format, count, rung);
	case CAPTURE_RUNG_S4:
		return alloc_heaps(q, format, count);
	case CAPTURE_RUNG_AUTO:
	case CAPTURE_RUNG_S3:
	case CAPTURE_RUNG_S5:
		break;
	}
	return alloc_mmap(q, format, count, rung);
}

static int alloc_only(struct queue *q, const struct capture_format *format,
		      uint32_t count, enum capture_rung rung)
{
	int r = try_rung(q, format, count, rung);

	if (r == 0 && q->rung == rung)
		return 0;
	queue_release(q);
	if (is_final(r) || r == -ENOMEM || r == -EMFILE || r == -EPROTO)
		return r;
	return -EOPNOTSUPP;
}

int queue_alloc(struct queue *q, const struct capture_format *format,
		uint32_t count, enum capture_rung rung)
{
	static const enum capture_rung ladder[] = {
		CAPTURE_RUNG_S1, CAPTURE_RUNG_S2, CAPTURE_RUNG_S3,
		CAPTURE_RUNG_S4, CAPTURE_RUNG_S5,
	};
	int r = -EOPNOTSUPP;
	size_t i;

	q->plane_count = format->plane_count;
	if (rung != CAPTURE_RUNG_AUTO)
		return alloc_only(q, format, count, rung);
	for (i = 0; i < ARRAY_SIZE(ladder); i++) {
		r = try_rung(q, format, count, ladder[i]);
		/* S3 may turn out to be S5: then a heap may be better. */
		if (r == 0 && q->rung == ladder[i])
			return 0;
		queue_release(q);
		if (is_final(r))
			return r;
	}
	return r;
}

int queue_alloc_import(struct queue *q, uint32_t plane_count, uint32_t count)
{
	int r;

	q->plane_count = plane_count;
	q->rung = CAPTURE_RUNG_AUTO;
	r = request(q, V4L2_MEMORY_DMABUF, count);
	if (r == 0)
		return 0;
	queue_release(q);
	if (is_final(r) || r == -ENOMEM || r == -EPROTO)
		return r;
	return -EOPNOTSUPP;
}
