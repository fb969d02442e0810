/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of compaction:
 *
 *	store_local_compact.c		copying, the index, steps
 *	store_local_compact_choose.c	which segment, and what is in it
 *	store_local_compact_write.c	the segment that it goes to
 */
#ifndef IO_STORE_LOCAL_COMPACT_INT_H
#define IO_STORE_LOCAL_COMPACT_INT_H

#include "io/store_local_int.h"

/* START and END. */
#define ENDS_BYTES (2ull * SEGMENT_BLOCK_BYTES)

struct compact_item {
	uint32_t block; /* of the record that named it */
	bool live;	/* it has a row that needs the segment */
	bool copied;
	struct index_row from;
	struct index_row to;
	uint32_t mark;
};

struct compact_left {
	uint32_t number;
	bool again; /* in a later round; else not before the next start */
};

struct compactor {
	struct store_local *sl;
	struct worker *worker;
	struct worker_job kick;
	atomic_bool kicked;
	atomic_bool ending;

	/* The segment that is emptied; 0: none. */
	uint32_t number;
	uint32_t block; /* of its next record */
	bool at_end;
	bool gone; /* a fragment's stream does not exist any more */
	unsigned int percent;
	uint64_t fragments;
	uint64_t bytes;
	struct compact_item items[COMPACT_ITEMS_MAX];
	unsigned int count;
	/* What could not be emptied. */
	struct compact_left left[COMPACT_LEFT_MAX];
	unsigned int left_count;

	/* Where it goes. */
	struct open_segment *seg;
	uint64_t wanted;  /* bytes of the next */
	uint64_t victims; /* bytes on disk of what could be emptied */
	uint8_t *buffer;
	uint32_t used;
	int write_err;		   /* of the segment: it is lost */
	struct compact_item *item; /* being copied */
	struct segment_place *places;
	uint64_t nonce_prefix;
	uint32_t nonce_counter;
};

/* A call on the worker's thread. */
struct compact_request {
	struct worker_job job;
	struct compactor *c;
	int r;
	uint64_t bytes;
	uint64_t least; /* of @bytes, where there is no room for them */
	uint64_t live;
};

/* Runs @run on the worker. Return: q->r. */
int compact_request(struct compactor *c, struct compact_request *q,
		    void (*run)(struct worker_job *job));

/* --- store_local_compact_choose.c --- */

/* It cannot be emptied now; @again: tried in a later round. */
void compact_leave(struct compactor *c, uint32_t number, bool again);
/* A round is over. */
void compact_forget_left(struct compactor *c);
/* The next to be emptied, c->number. */
int compact_choose(struct compactor *c);
/* The next records of it say what may be in it. */
int compact_collect(struct compactor *c);
/* Worker: which of that has a row, and where. */
void compact_find_run(struct worker_job *job);

/* --- store_local_compact_write.c --- */

/* Return: 0, or c->write_err. */
int compact_sync(struct compactor *c);
/* Never written to again, rows of what was synced stay. */
void compact_give_up_segment(struct compactor *c);
/* Room for a record. Return: 0, or c->write_err. */
int compact_record_room(struct compactor *c, uint32_t bytes, uint8_t **ret_out);
void compact_record_take(struct compactor *c, uint32_t bytes);
void compact_end_segment(struct compactor *c);
bool compact_segment_room(const struct compactor *c, uint64_t bytes);
/* Return: 0, c->write_err, or why there is none. */
int compact_next_segment(struct compactor *c, uint64_t bytes);

#endif
