/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The retransmission store in memory: chunks of RETAIN_CHUNK_BYTES, the
 * lowest free one first, so that the memory in use follows the backlog and
 * not the bound. A chunk is free when no frame in it is wanted any more.
 *
 * Frames lie one after the other in the chunks, each
 *	{record, room for its header, payload}
 * so that header and payload are one place on the wire. A payload goes on in
 * the next chunk where one ends.
 */
#ifndef CORE_RETAIN_RAM_H
#define CORE_RETAIN_RAM_H

#include "core/limits.h"
#include "core/retain.h"

struct retain_ram_config {
	/* Zeroed, 64-byte aligned, untouched pages cost nothing; borrowed. */
	void *memory;
	size_t bytes;		/* retain_ram_memory_bytes(store_bytes) */
	size_t store_bytes;	/* RETAIN_BYTES_MIN..RETAIN_BYTES_MAX */
	/*
	 * Memory that is free and not needed soon: @offset from the start of
	 * @memory, whole chunks, page-aligned if @memory is. Its contents may
	 * be lost. NULL: keep it.
	 */
	void (*give_back)(void *ctx, size_t offset, size_t len);
	void *ctx;
};

/* How much memory a store of @store_bytes needs, its tables included. */
size_t retain_ram_memory_bytes(size_t store_bytes);

struct retain_ram {
	struct retain retain;
	struct retain_ram_config config;
	struct retain_ram_chunk *chunks;	/* one each, in the memory */
	uint64_t *busy;			/* bit set: not free */
	uint64_t *touched;		/* bit set: has memory behind it */
	struct retain_fragment_slot *slots;	/* ring */
	uint8_t *data;
	size_t data_offset;
	uint32_t chunk_count;
	uint32_t busy_count;
	uint32_t spare_count;		/* free, but touched */
	uint32_t fill;			/* chunk being filled, 0 = none, else +1 */
	uint32_t fill_used;
	uint64_t first_seq;		/* oldest in the ring */
	uint64_t next_seq;
	size_t fragment_count;		/* without the removed ones */
};

/* Return: 0, -EINVAL (sizes out of range). */
int retain_ram_init(struct retain_ram *r,
		    const struct retain_ram_config *config) MUST_CHECK;

#endif
