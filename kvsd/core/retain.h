/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The retransmission store: every fragment from its first frame until it is
 * acknowledged. An ops table, so that memory (core/retain_ram.h) and disk may
 * stand behind it. One lock around everything: the caller's.
 *
 * A frame's payload is copied in once, by hold(), in order of arrival. What
 * fragment it belongs to and what goes before it on the wire is decided
 * later, when the tracks are interleaved, by add(). Nothing is copied again:
 * read() gives the places.
 *
 *	hold  [hold ...]	payloads, not part of anything yet
 *	open			a new fragment, the newest
 *	add   [add ...]		a held payload joins it, with its header
 *	seal			it is whole
 *	read			places of its bytes, also before it is sealed
 *	remove			acknowledged or given up; anywhere in the row
 */
#ifndef CORE_RETAIN_H
#define CORE_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"

struct iovec;
struct retain;

/* How far the upload session got with a fragment. */
enum retain_sent { RETAIN_UNSENT = 0, RETAIN_PARTLY, RETAIN_WHOLLY };

struct retain_fragment {
	uint64_t seq;		/* 1, 2, ...: order of time */
	uint64_t timecode_ms;	/* of its cluster, Unix epoch */
	uint64_t end_ms;	/* latest block, Unix epoch */
	uint64_t newest_ns;	/* the same, not rounded */
	size_t bytes;		/* headers included */
	uint32_t frames;
	uint32_t setup;		/* which codec privates: fragmenter.h */
	uint8_t tracks;		/* bit n: track n may have frames in it */
	uint8_t seen;		/* bit n: track n has */
	bool sealed;

	/* Written by core/upload.c alone. */
	enum retain_sent sent;
	bool received;		/* RECEIVED came in this session */
	bool refused;		/* the service will never take it */
};

/* A place in a fragment; zeroed = before its first byte. */
struct retain_cursor {
	uint64_t seq;
	uint64_t frame;		/* the store's name of it, 0 = the first */
	size_t offset;		/* bytes of it that are read */
};

struct retain_usage {
	size_t bytes_max;
	size_t bytes_used;	/* memory that is not free, in whole chunks */
	size_t fragments;
	size_t rows_used;	/* those removed behind the oldest included */
	size_t rows_max;
};

struct retain_ops {
	/*
	 * Copies the parts in. @bytes: their sum. *@ret_held names the
	 * payload until add() or release(); never 0.
	 * Return: 0, -ENOSPC (remove something first), -EMSGSIZE (more than
	 * the whole store could hold).
	 */
	int (*hold)(struct retain *r, const struct iovec *parts, size_t count,
		    size_t bytes, uint64_t *ret_held);
	void (*release)(struct retain *r, uint64_t held);
	/* Takes timecode_ms, setup and tracks of @head. Return: 0, -ENOSPC. */
	int (*open)(struct retain *r, const struct retain_fragment *head);
	/* @len <= FRAME_HEADER_BYTES_MAX; a fragment must be open. */
	void (*add)(struct retain *r, uint64_t held, const uint8_t *header,
		    size_t len, uint32_t track, uint64_t time_ns);
	void (*seal)(struct retain *r);
	/*
	 * The oldest fragment with seq >= @seq; NULL when there is none. The
	 * pointer is good until the next open() or remove().
	 */
	struct retain_fragment *(*from)(struct retain *r, uint64_t seq);
	/*
	 * The next bytes after @c, which moves past them. The places are good
	 * until the fragment is removed.
	 * Return: how many bytes, 0 when all that there is was read.
	 */
	size_t (*read)(struct retain *r, struct retain_cursor *c,
		       struct iovec *parts, size_t parts_max, size_t bytes_max,
		       size_t *ret_count);
	/* An open fragment may be removed too. */
	void (*remove)(struct retain *r, uint64_t seq);
	struct retain_usage (*usage)(const struct retain *r);
};

struct retain {
	const struct retain_ops *ops;
};

static inline struct retain_fragment *retain_from(struct retain *r,
						  uint64_t seq)
{
	return r->ops->from(r, seq);
}

/* The fragment numbered @seq, or NULL. */
static inline struct retain_fragment *retain_get(struct retain *r, uint64_t seq)
{
	struct retain_fragment *f = r->ops->from(r, seq);

	return f && f->seq == seq ? f : NULL;
}

#endif
