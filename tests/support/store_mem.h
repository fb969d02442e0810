/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store (core/store.h) in memory for tests of what sits above it: it takes
 * as many bytes as it is told, completes when it is told, and fails what it
 * is told. Nothing here is durable.
 */
#ifndef SUPPORT_STORE_MEM_H
#define SUPPORT_STORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/store.h"

#define STORE_MEM_FRAGMENTS 4096u

struct store_mem_fragment {
	struct store_fragment meta;
	uint8_t *bytes; /* header, media, frames */
	size_t len;
};

struct store_mem {
	struct store store;   /* hand out &m->store */
	size_t room;	      /* bytes taken before -EAGAIN; SIZE_MAX: all */
	int open_error;	      /* of the next writer_open(); 0: none */
	int add_error;	      /* of the next writer_add() */
	int commit_error;     /* of the next commit */
	unsigned int writers; /* open now */
	unsigned int aborted;
	uint64_t seq;
	struct list_node done; /* operations that wait to complete */
	struct list_node waiters;
	size_t fragment_count;
	struct store_mem_fragment fragments[STORE_MEM_FRAGMENTS];
};

void store_mem_init(struct store_mem *m);
void store_mem_fini(struct store_mem *m);
/* Completes the @nth waiting operation (0: the oldest); false: none. */
bool store_mem_complete(struct store_mem *m, size_t nth);
/* Completes all, oldest first. */
void store_mem_complete_all(struct store_mem *m);
/* Takes @bytes more and tells the waiters. */
void store_mem_make_room(struct store_mem *m, size_t bytes);

#endif
