/* SPDX-License-Identifier: Apache-2.0 */
/* The memory ladder behind queue_alloc(). */
#ifndef CAPTURE_SRC_QUEUE_MEMORY_H
#define CAPTURE_SRC_QUEUE_MEMORY_H

#include <stddef.h>

#include "base/macros.h"

struct capture_format;
struct queue;
struct sys_ops;

/* REQBUFS(0): the kernel forgets the buffers. Maps and descriptors stay. */
void queue_memory_free(struct queue *q);

/* dma-heaps that may be there, in the order to try them. */
size_t queue_heap_count(void);
/* Return: a descriptor, or the errno of open. */
int queue_heap_open(const struct sys_ops *sys, size_t index) MUST_CHECK;
/* Allocates and maps all planes. What it got so far is the queue's. */
int queue_heap_fill(struct queue *q, const struct capture_format *format,
		    int heap_fd) MUST_CHECK;

#endif
