/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The origins of the frames inside an M2M encoder, in input order, and which
 * packet belongs to which.
 *
 * Packets come in coded order: an encoder with B frames gives a later frame
 * before an earlier one. So a frame whose packet did not come when a later
 * frame's did is only overtaken: it stays until its packet comes, or
 * CAPTURE_REORDER_MAX packets have overtaken it, or the end. Only then it
 * was skipped.
 *
 *	push ---> due ---match of a later key---> overtaken ---> skipped
 *	           '----match----> its packet <----match---'
 *
 * Pure; keys rise; the overtaken ones are always the first.
 */
#ifndef CAPTURE_SRC_ORIGINS_H
#define CAPTURE_SRC_ORIGINS_H

#include "src/encoder_backend.h"
#include "src/limits.h"

struct origins_entry {
	struct packet_origin origin;
	uint32_t overtaken;	/* by so many packets */
};

struct origins {
	struct origins_entry ring[CAPTURE_PENDING_MAX];
	uint32_t head;
	uint32_t count;
	uint32_t overtaken;	/* of @count */
	uint64_t *skipped;	/* counts them */
};

/* @skipped: borrowed. */
void origins_init(struct origins *o, uint64_t *skipped);

/*
 * Whether one more fits. Gives up an overtaken one for it: when every frame
 * but a few is skipped, they fill the ring before packets pass them.
 */
bool origins_room(struct origins *o);
/* There is room, and its key is larger than any before. */
void origins_push(struct origins *o, const struct packet_origin *origin);
/* A packet came. False: no frame has that key, or not any more. */
bool origins_match(struct origins *o, uint64_t key,
		   struct packet_origin *ret_origin);
/* The oldest that nothing has overtaken; NULL: none. Borrowed. */
const struct packet_origin *origins_due(const struct origins *o);
/* No packet will come: whatever is left was skipped. */
void origins_end(struct origins *o);

#endif
