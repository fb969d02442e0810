/* SPDX-License-Identifier: Apache-2.0 */
/* The memory ladder behind queue_alloc(); used by queue.c only. */
#ifndef CAPTURE_SRC_QUEUE_MEMORY_H
#define CAPTURE_SRC_QUEUE_MEMORY_H

struct queue;

/* REQBUFS(0): the kernel forgets the buffers. Maps and descriptors stay. */
void queue_memory_free(struct queue *q);

#endif
