/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One V4L2 buffer queue: its memory (by the ladder of enum capture_rung), its
 * buffers and where each of them is. Used by cameras (one queue) and M2M
 * devices (two). Not safe against threads.
 *
 * A buffer is in one of three places. Every arrow is one call:
 *
 *	FREE --queue_give()--> QUEUED --queue_take()--> OUT
 *	QUEUED --queue_off()--> FREE                    (cancelled)
 *	OUT --queue_return()--> FREE                    (user is done with it)
 */
#ifndef CAPTURE_SRC_QUEUE_H
#define CAPTURE_SRC_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>

#include "base/macros.h"
#include "src/limits.h"

struct capture_arena;

enum queue_place { QUEUE_FREE = 0, QUEUE_QUEUED, QUEUE_OUT };

struct queue_plane {
	uint8_t *map;		/* first byte of the memory, or NULL */
	size_t map_bytes;	/* to unmap; 0: the arena's */
	uint32_t length;	/* bytes of memory */
	int dmabuf_fd;		/* ours, or -EBADF */
};

struct queue_buffer {
	enum queue_place place;
	bool canaries;		/* in it, and no frame overwrote them yet */
	struct queue_plane planes[CAPTURE_PLANES_MAX];
};

/* See queue_canary.h. */
struct queue_canary {
	uint8_t bytes[CAPTURE_CANARY_BYTES];
	/* Offsets into each plane; 0: none. */
	uint32_t at[CAPTURE_PLANES_MAX][CAPTURE_CANARIES];
};

struct queue {
	const struct sys_ops *sys;
	int fd;			/* the node; borrowed */
	uint32_t type;		/* enum v4l2_buf_type */
	uint32_t memory;	/* enum v4l2_memory; 0: no buffers */
	uint32_t plane_count;
	enum capture_rung rung;	/* AUTO: buffers of others are imported */
	struct capture_arena *arena; /* S1 and S2 */
	bool streaming;
	bool sync;		/* CPU caches must be told about DMA */
	bool cache_hints;	/* of MMAP: NON_COHERENT may be asked for */
	bool non_coherent;	/* of MMAP: cached, QBUF and DQBUF sync it */
	bool import_only;	/* set by its user: no CPU reads the memory */
	bool no_huge;		/* ...: no S2 */
	struct queue_canary canary;
	uint32_t count;
	uint32_t queued;	/* buffers in QUEUE_QUEUED */
	uint32_t out;		/* buffers in QUEUE_OUT */
	uint64_t memory_bytes;
	uint64_t map_read_bytes_per_s;
	struct queue_buffer buffers[CAPTURE_BUFFERS_MAX];
};

/* What a buffer going in carries; only for queues that take data. */
struct queue_payload {
	uint64_t key;		/* microseconds that come back by COPY */
	uint32_t bytesused[CAPTURE_PLANES_MAX];
	/* For imported buffers. */
	int fds[CAPTURE_PLANES_MAX];
	uint32_t lengths[CAPTURE_PLANES_MAX];
};

/* What a buffer coming out carries. */
struct queue_done {
	uint32_t index;		/* checked */
	uint32_t flags;		/* V4L2_BUF_FLAG_* */
	uint32_t sequence;
	uint64_t stamp_ns;	/* 0: none, or none that can be */
	/* The payload is [offset, offset + bytesused) of each plane. */
	uint32_t offset[CAPTURE_PLANES_MAX];
	uint32_t bytesused[CAPTURE_PLANES_MAX];
	bool damaged;		/* flagged, or its sizes cannot be */
};

/* An empty queue: queue_fini() may follow. */
void queue_init(struct queue *q, const struct sys_ops *sys, int fd,
		uint32_t type);

/**
 * queue_alloc() - get buffers, by the best rung there is
 * @format: as set on the node
 * @count: how many to ask for; the driver may give more
 * @rung: CAPTURE_RUNG_AUTO, or the only one that will do
 *
 * All buffers are QUEUE_FREE and mapped. Streaming must be off.
 * Return: 0, -EBUSY, -ENODEV, -ENOMEM, -EMFILE, -EOPNOTSUPP (not that rung),
 * -EPROTO, or the errno of the last rung's step that failed. The queue is
 * then empty.
 */
int queue_alloc(struct queue *q, const struct capture_format *format,
		uint32_t count, enum capture_rung rung) MUST_CHECK;

/**
 * queue_alloc_import() - get slots for the dma-bufs of others
 *
 * Return: 0, -EBUSY, -ENODEV, -ENOMEM, -EPROTO, or -EOPNOTSUPP: the driver
 * cannot import.
 */
int queue_alloc_import(struct queue *q, uint32_t plane_count,
		       uint32_t count) MUST_CHECK;

/*
 * Stops; the kernel forgets the buffers, so that the format may be changed.
 * Their memory stays as it is: frames may be out. Nothing may be given or
 * taken after it. The node must be open.
 */
void queue_forget(struct queue *q);
/* Stops, gives the buffers back to the kernel; the node must be open. */
void queue_release(struct queue *q);
/*
 * Frees maps, descriptors and the arena; the node may be closed. A device
 * that is still open keeps nothing of ours: call queue_off() before.
 */
void queue_fini(struct queue *q);

/**
 * queue_give() - QBUF of a free buffer
 * @payload: NULL for queues that give data
 *
 * Return: 0, -ENODEV, or the errno of QBUF: the buffer is then still free.
 */
int queue_give(struct queue *q, uint32_t index,
	       const struct queue_payload *payload) MUST_CHECK;

/**
 * queue_take() - DQBUF, without waiting
 *
 * Return: 0, -EAGAIN, -EPIPE (the last buffer of a drain was taken), -ENODEV,
 * -EIO, -EPROTO (the kernel named a buffer that it does not have), or the
 * errno of DQBUF.
 */
int queue_take(struct queue *q, struct queue_done *ret_done) MUST_CHECK;

/* The user of an OUT buffer is done with it. */
void queue_return(struct queue *q, uint32_t index);

/* A free buffer's index, or -EAGAIN. */
int queue_find_free(const struct queue *q);

int queue_on(struct queue *q) MUST_CHECK;
/* STREAMOFF: all queued buffers are free again, whatever is returned. */
int queue_off(struct queue *q);

/*
 * Around reads by the CPU of memory that a device wrote (V4L2 does not do it
 * for imported memory). No-ops where caches are coherent.
 */
void queue_begin_read(struct queue *q, uint32_t index);
void queue_end_read(struct queue *q, uint32_t index);

/*
 * The same for a dma-buf that is not the queue's.
 * @flags: DMA_BUF_SYNC_*, the access and which end of it
 */
void queue_sync_fd(const struct sys_ops *sys, int dmabuf_fd, uint64_t flags);

/* Whether this machine's caches need that at all. */
bool queue_needs_sync(void);
/* For tests: as on a machine whose caches do, or do not. */
void queue_assume_sync(bool needed);

/**
 * queue_wait() - wait for events on a node
 * @deadline_ns: absolute, CLOCK_MONOTONIC; past: only look
 *
 * Return: the revents (may be 0 at the deadline), or the errno of poll.
 */
int queue_wait(const struct sys_ops *sys, int fd, short events,
	       uint64_t deadline_ns) MUST_CHECK;

#endif
