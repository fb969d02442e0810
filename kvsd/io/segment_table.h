/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known in memory of each segment of a directory. Any thread.
 *
 * A pin is held by a fragment that has bytes in the segment and no row yet.
 * Pins are only taken while the segment is open, so one that is closed and
 * without pins (idle) stays so: with no rows either, its file may go. What a
 * segment needs that a start could not replay is kept until the next start.
 */
#ifndef IO_SEGMENT_TABLE_H
#define IO_SEGMENT_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "proto/segment.h"

/* Whether it has pages of what a start could not replay. */
enum segment_keep { SEGMENT_FREE, SEGMENT_KEEP_UNSURE, SEGMENT_KEEP };

struct segment_info {
	uint32_t number; /* first: segment_place_of() */
	uint32_t pins;
	uint64_t bytes; /* on disk, or reserved */
	uint64_t first_ms;  /* of the rows that begin in it; UINT64_MAX */
	const void *writer; /* of an open one; NULL: not said */
	uint8_t generation[SEGMENT_ID_BYTES];
	bool open;
	enum segment_keep keep;
	bool failed; /* a write, sync or read of it did */
};

struct segment_table {
	pthread_mutex_t lock;
	struct segment_info *infos; /* by number */
	size_t count;
	size_t size;
	uint64_t bytes; /* of all of them */
};

/*
 * First place in an ascending array whose number is not under @number. An
 * element of @size bytes begins with its number, a uint32_t.
 */
size_t segment_place_of(const void *elements, size_t size, size_t count,
			uint32_t number);

void segment_table_init(struct segment_table *t);
void segment_table_fini(struct segment_table *t);
/* Return: 0, -ENOMEM, -EOVERFLOW (SEGMENTS_MAX), -EEXIST. */
int segment_table_add(struct segment_table *t, uint32_t number,
		      const uint8_t generation[SEGMENT_ID_BYTES],
		      bool open) MUST_CHECK;
/* Return: 0, -ENOENT. */
int segment_table_generation(struct segment_table *t, uint32_t number,
			     uint8_t ret[SEGMENT_ID_BYTES]) MUST_CHECK;
void segment_table_pin(struct segment_table *t, uint32_t number);
void segment_table_unpin(struct segment_table *t, uint32_t number);
void segment_table_close(struct segment_table *t, uint32_t number);
/* Those from @first on, under @end: until the next start. Return: any? */
bool segment_table_keep(struct segment_table *t, uint32_t first, uint32_t end,
			enum segment_keep keep);
/* Return: whether there were such, that are free now. */
bool segment_table_forget_unsure(struct segment_table *t);
/* Its file is not to be used for another. */
void segment_table_set_failed(struct segment_table *t, uint32_t number);
/* Of one that has not failed: 0 when it is not there, or has. */
uint64_t segment_table_sound_bytes(struct segment_table *t, uint32_t number);
bool segment_table_idle(struct segment_table *t, uint32_t number);
void segment_table_remove(struct segment_table *t, uint32_t number);
size_t segment_table_count(struct segment_table *t);
/* Rows of what @writer writes: the least server_ms in its open segments. */
void segment_table_set_writer(struct segment_table *t, uint32_t number,
			      const void *writer);
void segment_table_row(struct segment_table *t, uint32_t number,
		       uint64_t server_ms);
/* ... whose @number is one of. UINT64_MAX: there is none, or it is closed. */
uint64_t segment_table_open_ms(struct segment_table *t, uint32_t number);
/* What a segment takes, as far as it is known: 0 until it is said. */
void segment_table_set_bytes(struct segment_table *t, uint32_t number,
			     uint64_t bytes);
uint64_t segment_table_bytes(struct segment_table *t);
/* Of one; 0 when it is not there. */
uint64_t segment_table_bytes_of(struct segment_table *t, uint32_t number);

#endif
