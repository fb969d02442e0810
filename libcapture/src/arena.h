/* SPDX-License-Identifier: Apache-2.0 */
/* The arena's inside face: one open of /dev/udmabuf for many exports. */
#ifndef CAPTURE_SRC_ARENA_H
#define CAPTURE_SRC_ARENA_H

#include <stddef.h>

#include <capture/arena.h>

#include "base/macros.h"

DEFINE_AUTO(capture_arena_unref, struct capture_arena *)

/* Bytes of one frame whose planes each begin on a page. */
size_t arena_slot_bytes(const struct capture_format *format, size_t page);

/* What an arena of these flags is made of. */
size_t arena_page_bytes(unsigned int flags);

/* Return: 0, or the errno of open: -ENOENT, -EACCES, -EMFILE. */
int arena_udmabuf_open(const struct sys_ops *sys, int *ret_fd) MUST_CHECK;

/* As capture_arena_export(), by an open /dev/udmabuf. */
int arena_export_by(struct capture_arena *arena, int udmabuf_fd,
		    size_t offset, size_t length, int *ret_fd) MUST_CHECK;

#endif
