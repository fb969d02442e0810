/* SPDX-License-Identifier: Apache-2.0 */
#include "core/retain_ram.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/macros.h"

#define CACHE_LINE 64u
#define PAGE 4096u
#define WORD_BITS 64u
#define RECORD_ALIGN 8u

struct retain_ram_chunk {
	uint32_t next;		/* where a payload goes on */
	uint32_t frames;	/* that have bytes here */
};

struct retain_fragment_slot {
	struct retain_fragment f;
	uint64_t first;		/* frames: position + 1, 0 = none */
	uint64_t last;
	bool live;
};

/* The payload follows; the header ends where it begins. */
struct frame_record {
	uint64_t next;		/* in its fragment: position + 1, 0 = last */
	uint32_t bytes;
	uint32_t header_bytes;
	uint8_t header[FRAME_HEADER_BYTES_MAX];
};

static const struct retain_ops ram_ops;

static struct retain_ram *to_ram(struct retain *r)
{
	return container_of(r, struct retain_ram, retain);
}

static size_t chunks_of(size_t store_bytes)
{
	return store_bytes / RETAIN_CHUNK_BYTES;
}

static size_t slots_of(size_t store_bytes)
{
	return MIN(chunks_of(store_bytes), RETAIN_FRAGMENTS_MAX);
}

static size_t words_of(size_t store_bytes)
{
	return (chunks_of(store_bytes) + WORD_BITS - 1) / WORD_BITS;
}

static size_t tables_bytes(size_t store_bytes)
{
	size_t n = 0;

	n += ALIGN_UP(slots_of(store_bytes) *
			      sizeof(struct retain_fragment_slot), CACHE_LINE);
	n += ALIGN_UP(chunks_of(store_bytes) * sizeof(struct retain_ram_chunk),
		      CACHE_LINE);
	n += 2 * ALIGN_UP(words_of(store_bytes) * sizeof(uint64_t), CACHE_LINE);
	return ALIGN_UP(n, PAGE);
}

size_t retain_ram_memory_bytes(size_t store_bytes)
{
	return tables_bytes(store_bytes) +
	       chunks_of(store_bytes) * RETAIN_CHUNK_BYTES;
}

int retain_ram_init(struct retain_ram *r, const struct retain_ram_config *config)
{
	uint8_t *at = config->memory;
	size_t store = config->store_bytes;

	if (store < RETAIN_BYTES_MIN || store > RETAIN_BYTES_MAX ||
	    config->bytes < retain_ram_memory_bytes(store))
		return -EINVAL;
	memset(r, 0, sizeof(*r));
	r->retain.ops = &ram_ops;
	r->config = *config;
	r->chunk_count = (uint32_t)chunks_of(store);
	r->slots = (struct retain_fragment_slot *)(void *)at;
	at += ALIGN_UP(slots_of(store) * sizeof(*r->slots), CACHE_LINE);
	r->chunks = (struct retain_ram_chunk *)(void *)at;
	at += ALIGN_UP(r->chunk_count * sizeof(*r->chunks), CACHE_LINE);
	r->busy = (uint64_t *)(void *)at;
	at += ALIGN_UP(words_of(store) * sizeof(*r->busy), CACHE_LINE);
	r->touched = (uint64_t *)(void *)at;
	r->data_offset = tables_bytes(store);
	r->data = (uint8_t *)config->memory + r->data_offset;
	r->first_seq = 1;
	r->next_seq = 1;
	return 0;
}

/* --- chunks -------------------------------------------------------------- */

static bool bit(const uint64_t *words, uint32_t i)
{
	return words[i / WORD_BITS] >> (i % WORD_BITS) & 1;
}

static void bit_set(uint64_t *words, uint32_t i)
{
	words[i / WORD_BITS] |= UINT64_C(1) << (i % WORD_BITS);
}

static void bit_clear(uint64_t *words, uint32_t i)
{
	words[i / WORD_BITS] &= ~(UINT64_C(1) << (i % WORD_BITS));
}

/* The caller has made sure that there is one. */
static uint32_t chunk_take(struct retain_ram *r)
{
	uint32_t i = 0;

	assert(r->busy_count < r->chunk_count);
	while (r->busy[i / WORD_BITS] == UINT64_MAX)
		i += WORD_BITS;
	while (bit(r->busy, i))
		i++;
	bit_set(r->busy, i);
	r->busy_count++;
	if (bit(r->touched, i))
		r->spare_count--;
	else
		bit_set(r->touched, i);
	r->chunks[i] = (struct retain_ram_chunk){ 0, 0 };
	return i;
}

/* The highest spare chunk goes: the low ones are taken next. */
static void give_one_back(struct retain_ram *r)
{
	uint32_t word = (r->chunk_count - 1) / WORD_BITS;
	uint32_t i;

	while (!(r->touched[word] & ~r->busy[word]))
		word--;
	i = word * WORD_BITS + WORD_BITS - 1;
	while (!bit(r->touched, i) || bit(r->busy, i))
		i--;
	bit_clear(r->touched, i);
	r->spare_count--;
	r->config.give_back(r->config.ctx,
			    r->data_offset + (size_t)i * RETAIN_CHUNK_BYTES,
			    RETAIN_CHUNK_BYTES);
}

static void chunk_unref(struct retain_ram *r, uint32_t i)
{
	assert(r->chunks[i].frames);
	if (--r->chunks[i].frames)
		return;
	if (r->fill == i + 1)
		r->fill = 0;
	bit_clear(r->busy, i);
	r->busy_count--;
	r->spare_count++;
	if (r->config.give_back && r->spare_count > RETAIN_SPARE_CHUNKS)
		give_one_back(r);
}

/* --- frames -------------------------------------------------------------- */

static struct frame_record *record_at(struct retain_ram *r, uint64_t name)
{
	assert(name);
	assert(name <= (uint64_t)r->chunk_count * RETAIN_CHUNK_BYTES);
	return (struct frame_record *)(void *)(r->data + name - 1);
}

/* Bytes that @name's frame has in its first chunk, the record included. */
static size_t room_at(uint64_t name)
{
	return RETAIN_CHUNK_BYTES - (size_t)((name - 1) % RETAIN_CHUNK_BYTES);
}

static uint32_t chunk_next(struct retain_ram *r)
{
	uint32_t i = chunk_take(r);

	if (r->fill)
		r->chunks[r->fill - 1].next = i;
	r->chunks[i].frames = 1;
	r->fill = i + 1;
	r->fill_used = 0;
	return i;
}

/* Copies at the fill point; chunks on the way are counted as the frame's. */
static void copy_in(struct retain_ram *r, const uint8_t *from, size_t len)
{
	while (len) {
		size_t room = RETAIN_CHUNK_BYTES - r->fill_used;
		size_t n;

		if (!room) {
			(void)chunk_next(r);
			room = RETAIN_CHUNK_BYTES;
		}
		n = MIN(room, len);
		memcpy(r->data + (size_t)(r->fill - 1) * RETAIN_CHUNK_BYTES +
			       r->fill_used, from, n);
		r->fill_used += (uint32_t)n;
		from += n;
		len -= n;
	}
}

static int ram_hold(struct retain *base, const struct iovec *parts,
		    size_t count, size_t bytes, uint64_t *ret_held)
{
	struct retain_ram *r = to_ram(base);
	size_t need = sizeof(struct frame_record) + bytes;
	size_t room = 0;
	struct frame_record *record;
	uint64_t name;

	if (bytes > UINT32_MAX ||
	    need > (size_t)r->chunk_count * RETAIN_CHUNK_BYTES)
		return -EMSGSIZE;
	r->fill_used = ALIGN_UP(r->fill_used, RECORD_ALIGN);
	if (r->fill && r->fill_used + sizeof(*record) <= RETAIN_CHUNK_BYTES)
		room = RETAIN_CHUNK_BYTES - r->fill_used;
	if (need > room && (need - room + RETAIN_CHUNK_BYTES - 1) /
				   RETAIN_CHUNK_BYTES >
			   r->chunk_count - r->busy_count)
		return -ENOSPC;
	if (room)
		r->chunks[r->fill - 1].frames++;
	else
		(void)chunk_next(r);
	name = (uint64_t)(r->fill - 1) * RETAIN_CHUNK_BYTES + r->fill_used + 1;
	record = record_at(r, name);
	record->next = 0;
	record->bytes = (uint32_t)bytes;
	record->header_bytes = 0;
	r->fill_used += (uint32_t)sizeof(*record);
	for (size_t i = 0; i < count; i++)
		copy_in(r, parts[i].iov_base, parts[i].iov_len);
	*ret_held = name;
	return 0;
}

static void ram_release(struct retain *base, uint64_t held)
{
	struct retain_ram *r = to_ram(base);
	size_t left = sizeof(struct frame_record) + record_at(r, held)->bytes;
	size_t room = room_at(held);
	uint32_t i = (uint32_t)((held - 1) / RETAIN_CHUNK_BYTES);

	for (;;) {
		uint32_t next = r->chunks[i].next;

		chunk_unref(r, i);
		if (left <= room)
			return;
		left -= room;
		room = RETAIN_CHUNK_BYTES;
		i = next;
	}
}

/* --- fragments ----------------------------------------------------------- */

static struct retain_fragment_slot *slot_of(struct retain_ram *r, uint64_t seq)
{
	return &r->slots[seq % slots_of(r->config.store_bytes)];
}

static int ram_open(struct retain *base, const struct retain_fragment *head)
{
	struct retain_ram *r = to_ram(base);
	struct retain_fragment_slot *s;

	if (r->next_seq - r->first_seq >= slots_of(r->config.store_bytes))
		return -ENOSPC;
	s = slot_of(r, r->next_seq);
	memset(s, 0, sizeof(*s));
	s->f.seq = r->next_seq++;
	s->f.timecode_ms = head->timecode_ms;
	s->f.end_ms = head->timecode_ms;
	s->f.setup = head->setup;
	s->f.tracks = head->tracks;
	s->live = true;
	r->fragment_count++;
	return 0;
}

static struct retain_fragment_slot *newest(struct retain_ram *r)
{
	struct retain_fragment_slot *s;

	assert(r->next_seq > r->first_seq);
	s = slot_of(r, r->next_seq - 1);
	assert(s->live);
	assert(!s->f.sealed);
	return s;
}

static void ram_add(struct retain *base, uint64_t held, const uint8_t *header,
		    size_t len, uint32_t track, uint64_t time_ns)
{
	struct retain_ram *r = to_ram(base);
	struct retain_fragment_slot *s = newest(r);
	struct frame_record *record = record_at(r, held);
	uint64_t ms = (time_ns + NS_PER_MS / 2) / NS_PER_MS;

	assert(len <= FRAME_HEADER_BYTES_MAX);
	memcpy(record->header + FRAME_HEADER_BYTES_MAX - len, header, len);
	record->header_bytes = (uint32_t)len;
	if (s->last)
		record_at(r, s->last)->next = held;
	else
		s->first = held;
	s->last = held;
	s->f.frames++;
	s->f.bytes += len + record->bytes;
	s->f.seen |= (uint8_t)(1u << track);
	s->f.end_ms = MAX(s->f.end_ms, ms);
	s->f.newest_ns = MAX(s->f.newest_ns, time_ns);
}

static void ram_seal(struct retain *base)
{
	newest(to_ram(base))->f.sealed = true;
}

static struct retain_fragment *ram_from(struct retain *base, uint64_t seq)
{
	struct retain_ram *r = to_ram(base);

	for (seq = MAX(seq, r->first_seq); seq < r->next_seq; seq++) {
		struct retain_fragment_slot *s = slot_of(r, seq);

		if (s->live)
			return &s->f;
	}
	return NULL;
}

static void ram_remove(struct retain *base, uint64_t seq)
{
	struct retain_ram *r = to_ram(base);
	struct retain_fragment_slot *s;

	if (seq < r->first_seq || seq >= r->next_seq)
		return;
	s = slot_of(r, seq);
	if (!s->live)
		return;
	for (uint64_t name = s->first; name;) {
		uint64_t next = record_at(r, name)->next;

		ram_release(base, name);
		name = next;
	}
	s->live = false;
	r->fragment_count--;
	while (r->first_seq < r->next_seq && !slot_of(r, r->first_seq)->live)
		r->first_seq++;
}

/* --- reading ------------------------------------------------------------- */

/* The place of byte @offset of a frame, counted from its header's start. */
static size_t frame_place(struct retain_ram *r, uint64_t name, size_t offset,
			  uint8_t **ret_at)
{
	struct frame_record *record = record_at(r, name);
	size_t skip = FRAME_HEADER_BYTES_MAX - record->header_bytes;
	size_t total = record->header_bytes + record->bytes;
	size_t at = offsetof(struct frame_record, header) + skip + offset;
	size_t room = room_at(name);
	uint32_t i = (uint32_t)((name - 1) / RETAIN_CHUNK_BYTES);
	uint8_t *start = r->data + name - 1;

	while (at >= room) {
		at -= room;
		i = r->chunks[i].next;
		start = r->data + (size_t)i * RETAIN_CHUNK_BYTES;
		room = RETAIN_CHUNK_BYTES;
	}
	*ret_at = start + at;
	return MIN(room - at, total - offset);
}

static bool cursor_frame_over(struct retain_ram *r,
			      const struct retain_cursor *c)
{
	struct frame_record *record = record_at(r, c->frame);

	return c->offset == (size_t)record->header_bytes + record->bytes;
}

/* Stands on a frame with bytes left. Return: false when there is none. */
static bool cursor_settle(struct retain_ram *r, struct retain_cursor *c,
			  const struct retain_fragment_slot *s)
{
	if (!c->frame) {
		if (!s->first)
			return false;
		c->frame = s->first;
		c->offset = 0;
	}
	while (cursor_frame_over(r, c)) {
		uint64_t next = record_at(r, c->frame)->next;

		if (!next)
			return false;
		c->frame = next;
		c->offset = 0;
	}
	return true;
}

static size_t ram_read(struct retain *base, struct retain_cursor *c,
		       struct iovec *parts, size_t parts_max, size_t bytes_max,
		       size_t *ret_count)
{
	struct retain_ram *r = to_ram(base);
	struct retain_fragment_slot *s;
	size_t total = 0;
	size_t count = 0;

	*ret_count = 0;
	if (c->seq < r->first_seq || c->seq >= r->next_seq)
		return 0;
	s = slot_of(r, c->seq);
	while (s->live && count < parts_max && total < bytes_max &&
	       cursor_settle(r, c, s)) {
		uint8_t *at;
		size_t n = frame_place(r, c->frame, c->offset, &at);

		n = MIN(n, bytes_max - total);
		parts[count++] = (struct iovec){ at, n };
		c->offset += n;
		total += n;
	}
	*ret_count = count;
	return total;
}

static struct retain_usage ram_usage(const struct retain *base)
{
	const struct retain_ram *r =
		(const struct retain_ram *)(const void *)base;

	return (struct retain_usage){
		.bytes_max = (size_t)r->chunk_count * RETAIN_CHUNK_BYTES,
		.bytes_used = (size_t)r->busy_count * RETAIN_CHUNK_BYTES,
		.fragments = r->fragment_count,
		.rows_used = (size_t)(r->next_seq - r->first_seq),
		.rows_max = slots_of(r->config.store_bytes),
	};
}

static const struct retain_ops ram_ops = {
	.hold = ram_hold,
	.release = ram_release,
	.open = ram_open,
	.add = ram_add,
	.seal = ram_seal,
	.from = ram_from,
	.read = ram_read,
	.remove = ram_remove,
	.usage = ram_usage,
};
