/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One region of memory that is at once the device's DMA target (through
 * udmabuf), an input of TLS, an io_uring fixed buffer and a source for disk
 * writes: a sealed memfd, mapped once. Pages come from the memfd's own map,
 * never from the udmabuf's, whose pages io_uring and the network refuse.
 */
#ifndef CAPTURE_ARENA_H
#define CAPTURE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>

struct capture_arena;

/* Ask for 2 MiB pages; -ENOMEM if the system has none to give. */
#define CAPTURE_ARENA_HUGE 0x1u

/**
 * struct capture_span - bytes of an arena, by reference
 *
 * Holds a reference on @arena; copy it with capture_span_dup() and give it
 * up with capture_span_fini(). {NULL, 0, 0} is the empty span.
 */
struct capture_span {
	struct capture_arena *arena;
	size_t offset;
	size_t length;
};

/**
 * capture_arena_new() - reserve memory
 * @sys: system calls, or NULL
 * @bytes: at least this much; rounded up to whole pages
 * @flags: CAPTURE_ARENA_*
 * @ret_arena: one reference
 *
 * The memory is allocated at once, so that no page fault can fail later, and
 * sealed against shrinking, as udmabuf demands. Zeroed.
 *
 * Return: 0, -EINVAL (0 bytes, over the limit or an unknown flag), -ENOMEM,
 * -EMFILE, -ENFILE or another errno of memfd_create, fallocate or mmap.
 */
CAPTURE_API int capture_arena_new(const struct sys_ops *sys, size_t bytes,
				  unsigned int flags,
				  struct capture_arena **ret_arena)
	CAPTURE_MUST_CHECK;

/* Any thread. The last unref unmaps and closes; unref takes NULL. */
CAPTURE_API struct capture_arena *
capture_arena_ref(struct capture_arena *arena);
CAPTURE_API struct capture_arena *
capture_arena_unref(struct capture_arena *arena);

/* The first byte; stays in place for the arena's whole life. */
CAPTURE_API uint8_t *capture_arena_map(const struct capture_arena *arena);
/* How much memory it has. */
CAPTURE_API size_t capture_arena_bytes(const struct capture_arena *arena);
/* The memfd; borrowed. */
CAPTURE_API int capture_arena_fd(const struct capture_arena *arena);
/* 4096, or 2 MiB: what spans to be exported must be aligned to. */
CAPTURE_API size_t
capture_arena_page_bytes(const struct capture_arena *arena);

/**
 * capture_arena_export() - make a dma-buf of a part of the arena
 * @offset, @length: multiples of capture_arena_page_bytes()
 * @ret_fd: owned by the caller; keeps the pages alive by itself
 *
 * Return: 0, -EINVAL (not aligned, outside, or more than the udmabuf driver
 * allows), -ENOENT or -ENODEV (no /dev/udmabuf), -EACCES, -ENOMEM, -EMFILE.
 */
CAPTURE_API int capture_arena_export(struct capture_arena *arena,
				     size_t offset, size_t length, int *ret_fd)
	CAPTURE_MUST_CHECK;

/* Return: 0, or -EINVAL when it does not lie inside the arena. */
CAPTURE_API int capture_span_init(struct capture_span *span,
				  struct capture_arena *arena, size_t offset,
				  size_t length) CAPTURE_MUST_CHECK;
/* A second reference on the same bytes. */
CAPTURE_API struct capture_span
capture_span_dup(const struct capture_span *span);
/* Leaves the empty span. */
CAPTURE_API void capture_span_fini(struct capture_span *span);
/* The first byte, or NULL for the empty span. */
CAPTURE_API const uint8_t *capture_span_data(const struct capture_span *span);

#endif
