/* SPDX-License-Identifier: Apache-2.0 */
#include <capture/arena.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/udmabuf.h>

#include "base/sys.h"
#include "src/arena.h"
#include "src/limits.h"

#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB (21u << 26)
#endif

struct capture_arena {
	const struct sys_ops *sys;
	atomic_uint refs;
	int fd;			/* memfd */
	uint8_t *map;
	size_t bytes;
	size_t page_bytes;
};

size_t arena_slot_bytes(const struct capture_format *format, size_t page)
{
	size_t bytes = 0;
	uint32_t p;

	for (p = 0; p < format->plane_count; p++)
		bytes += ALIGN_UP((size_t)format->size[p], page);
	return bytes;
}

size_t arena_page_bytes(unsigned int flags)
{
	if (flags & CAPTURE_ARENA_HUGE)
		return CAPTURE_HUGE_PAGE_BYTES;
	return (size_t)sysconf(_SC_PAGESIZE);
}

static void arena_destroy(struct capture_arena *arena)
{
	if (arena->map)
		(void)arena->sys->munmap(arena->map, arena->bytes);
	sys_close(arena->sys, &arena->fd);
	free(arena);
}

/*
 * Touches every page, once, before any device may. A shmem page that only
 * fallocate() made is not yet cleared; udmabuf pins it as it is, and the
 * kernel clears it at the first fault of the map: over what the device had
 * written. (Seen on 6.12: the first frame in each buffer read as zeroes.)
 */
static void make_present(struct capture_arena *arena)
{
	volatile uint8_t *map = arena->map;
	size_t offset;

	for (offset = 0; offset < arena->bytes; offset += arena->page_bytes)
		map[offset] = 0;
}

static int arena_setup(struct capture_arena *arena, unsigned int flags)
{
	const struct sys_ops *sys = arena->sys;
	unsigned int mfd = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	void *map;
	int r;

	if (flags & CAPTURE_ARENA_HUGE)
		mfd |= MFD_HUGETLB | MFD_HUGE_2MB;
	r = sys->memfd_create("capture-arena", mfd);
	if (r < 0)
		return r;
	arena->fd = r;
	r = sys->ftruncate(arena->fd, (off_t)arena->bytes);
	if (r < 0)
		return r;
	/* Now, and not as a SIGBUS in the middle of a frame. */
	r = sys->fallocate(arena->fd, 0, 0, (off_t)arena->bytes);
	if (r < 0)
		return r;
	/* udmabuf wants SHRINK sealed and WRITE open. */
	r = sys->fcntl(arena->fd, F_ADD_SEALS,
		       F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	if (r < 0)
		return r;
	r = sys->mmap(arena->bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
		      arena->fd, 0, &map);
	if (r < 0)
		return r;
	arena->map = map;
	make_present(arena);
	return 0;
}

int capture_arena_new(const struct sys_ops *sys, size_t bytes,
		      unsigned int flags, struct capture_arena **ret_arena)
{
	struct capture_arena *arena;
	int r;

	if (!bytes || bytes > CAPTURE_ARENA_BYTES_MAX ||
	    (flags & ~CAPTURE_ARENA_HUGE))
		return -EINVAL;
	arena = calloc(1, sizeof(*arena));
	if (!arena)
		return -ENOMEM;
	arena->sys = sys ? sys : sys_posix();
	atomic_init(&arena->refs, 1);
	arena->fd = -EBADF;
	arena->page_bytes = arena_page_bytes(flags);
	arena->bytes = ALIGN_UP(bytes, arena->page_bytes);
	r = arena_setup(arena, flags);
	if (r < 0) {
		arena_destroy(arena);
		return r;
	}
	*ret_arena = arena;
	return 0;
}

struct capture_arena *capture_arena_ref(struct capture_arena *arena)
{
	unsigned int before = atomic_fetch_add(&arena->refs, 1);

	assert(before);
	return arena;
}

struct capture_arena *capture_arena_unref(struct capture_arena *arena)
{
	if (arena && atomic_fetch_sub(&arena->refs, 1) == 1)
		arena_destroy(arena);
	return NULL;
}

uint8_t *capture_arena_map(const struct capture_arena *arena)
{
	return arena->map;
}

size_t capture_arena_bytes(const struct capture_arena *arena)
{
	return arena->bytes;
}

int capture_arena_fd(const struct capture_arena *arena)
{
	return arena->fd;
}

size_t capture_arena_page_bytes(const struct capture_arena *arena)
{
	return arena->page_bytes;
}

static bool arena_holds(const struct capture_arena *arena, size_t offset,
			size_t length)
{
	return offset <= arena->bytes && length <= arena->bytes - offset;
}

int arena_udmabuf_open(const struct sys_ops *sys, int *ret_fd)
{
	int r = sys->openat(AT_FDCWD, "/dev/udmabuf", O_RDWR | O_CLOEXEC, 0);

	if (r < 0)
		return r;
	*ret_fd = r;
	return 0;
}

int arena_export_by(struct capture_arena *arena, int udmabuf_fd,
		    size_t offset, size_t length, int *ret_fd)
{
	struct udmabuf_create create = {
		.memfd = (uint32_t)arena->fd,
		.flags = UDMABUF_FLAGS_CLOEXEC,
		.offset = offset,
		.size = length,
	};
	int r;

	if (!length || offset % arena->page_bytes ||
	    length % arena->page_bytes || !arena_holds(arena, offset, length))
		return -EINVAL;
	r = arena->sys->ioctl(udmabuf_fd, UDMABUF_CREATE, &create);
	if (r < 0)
		return r;
	*ret_fd = r;
	return 0;
}

int capture_arena_export(struct capture_arena *arena, size_t offset,
			 size_t length, int *ret_fd)
{
	int udmabuf_fd;
	int r;

	r = arena_udmabuf_open(arena->sys, &udmabuf_fd);
	if (r < 0)
		return r;
	r = arena_export_by(arena, udmabuf_fd, offset, length, ret_fd);
	sys_close(arena->sys, &udmabuf_fd);
	return r;
}

int capture_span_init(struct capture_span *span, struct capture_arena *arena,
		      size_t offset, size_t length)
{
	if (!arena_holds(arena, offset, length))
		return -EINVAL;
	span->arena = capture_arena_ref(arena);
	span->offset = offset;
	span->length = length;
	return 0;
}

struct capture_span capture_span_dup(const struct capture_span *span)
{
	struct capture_span copy = *span;

	if (copy.arena)
		(void)capture_arena_ref(copy.arena);
	return copy;
}

void capture_span_fini(struct capture_span *span)
{
	span->arena = capture_arena_unref(span->arena);
	span->offset = 0;
	span->length = 0;
}

const uint8_t *capture_span_data(const struct capture_span *span)
{
	return span->arena ? span->arena->map + span->offset : NULL;
}
