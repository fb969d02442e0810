/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rung S4: memory of a dma-heap, imported. The kernel's own heap of ordinary
 * pages first, then those of contiguous memory, for devices without an IOMMU.
 */
#include "src/queue_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include <linux/dma-heap.h>

#include "base/sys.h"
#include "src/queue.h"

/* Heaps cannot be listed without reading /dev: these are what boards have. */
static const char *const heaps[] = {
	"/dev/dma_heap/vidbuf_cached", /* Raspberry Pi: picks what fits it */
	"/dev/dma_heap/system",
	"/dev/dma_heap/default_cma_region", /* since 6.16 */
	"/dev/dma_heap/linux,cma",
	"/dev/dma_heap/reserved",
};

size_t queue_heap_count(void)
{
	return ARRAY_SIZE(heaps);
}

int queue_heap_open(const struct sys_ops *sys, size_t index)
{
	return sys->openat(AT_FDCWD, heaps[index], O_RDWR | O_CLOEXEC, 0);
}

static int alloc_plane(struct queue *q, int heap_fd, struct queue_plane *plane,
		       size_t length)
{
	struct dma_heap_allocation_data data;
	void *map;
	int r;

	memset(&data, 0, sizeof(data));
	data.len = length;
	data.fd_flags = O_RDWR | O_CLOEXEC;
	r = q->sys->ioctl(heap_fd, DMA_HEAP_IOCTL_ALLOC, &data);
	if (r < 0)
		return r;
	plane->dmabuf_fd = (int)data.fd;
	r = q->sys->mmap(length, PROT_READ | PROT_WRITE, MAP_SHARED,
			 plane->dmabuf_fd, 0, &map);
	if (r < 0)
		return r;
	plane->map = map;
	plane->map_bytes = length;
	plane->length = (uint32_t)length;
	q->memory_bytes += length;
	return 0;
}

int queue_heap_fill(struct queue *q, const struct capture_format *format,
		    int heap_fd)
{
	uint32_t i;
	uint32_t p;
	int r;

	for (i = 0; i < q->count; i++) {
		for (p = 0; p < format->plane_count; p++) {
			r = alloc_plane(q, heap_fd, &q->buffers[i].planes[p],
					ALIGN_UP((size_t)format->size[p],
						 (size_t)4096));
			if (r < 0)
				return r;
		}
	}
	return 0;
}
