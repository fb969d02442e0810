/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/mkv_frames.h"

#include <assert.h>
#include <errno.h>

#include "base/macros.h"
#include "proto/ebml.h"
#include "proto/mkv.h"

struct element {
	uint64_t rest; /* bytes after its head */
	unsigned int frames;
};

/* Return: bytes of a Block's own head, or as ebml_read_id(). */
static int read_block(const uint8_t *p, size_t len, struct element *e)
{
	uint64_t track;
	int n = ebml_read_vint(p, len, &track);
	bool laced;

	if (n < 0)
		return n;
	if (len < (size_t)n + 3)
		return -EAGAIN;
	laced = p[n + 2] & MKV_BLOCK_LACING;
	if (laced && len < (size_t)n + 4)
		return -EAGAIN;
	e->frames = laced ? p[n + 3] + 1u : 1;
	n += 3 + laced;
	if ((uint64_t)n > e->rest)
		return -EINVAL;
	e->rest -= (uint64_t)n;
	return n;
}

/* Return: bytes of an element's head, or as ebml_read_id(). */
static int read_element(const uint8_t *p, size_t len, struct element *e)
{
	uint32_t id;
	int at = ebml_read_id(p, len, &id);
	int n;

	if (at < 0)
		return at;
	n = ebml_read_size(p + at, len - (size_t)at, &e->rest);
	if (n < 0)
		return n;
	at += n;
	e->frames = 0;
	if (id == MKV_ID_CLUSTER || id == MKV_ID_BLOCK_GROUP) {
		/* What is in these follows as if they were not there. */
		e->rest = 0;
		return at;
	}
	if (e->rest == EBML_SIZE_UNKNOWN)
		return -EINVAL;
	if (id != MKV_ID_SIMPLE_BLOCK && id != MKV_ID_BLOCK)
		return at;
	n = read_block(p + at, len - (size_t)at, e);
	return n < 0 ? n : at + n;
}

/* Return: bytes used; the head may have begun before them. */
static size_t read_head(struct mkv_frames *m, const uint8_t *p, size_t len)
{
	struct element e = {.rest = 0};
	int n = m->head_bytes ? -EAGAIN : read_element(p, len, &e);
	size_t used = n > 0 ? (size_t)n : 0;

	while (n == -EAGAIN && used < len) {
		assert(m->head_bytes < sizeof(m->head));
		m->head[m->head_bytes++] = p[used++];
		n = read_element(m->head, m->head_bytes, &e);
	}
	if (n == -EAGAIN)
		return used;
	m->head_bytes = 0;
	m->lost = n < 0;
	if (n > 0) {
		m->skip = e.rest;
		m->frames = e.frames;
	}
	return used;
}

uint64_t mkv_frames_add(struct mkv_frames *m, const uint8_t *bytes, size_t len)
{
	uint64_t count = 0;

	while (len && !m->lost) {
		size_t n = (size_t)MIN(m->skip, (uint64_t)len);

		if (m->skip)
			m->skip -= n;
		else
			n = read_head(m, bytes, len);
		bytes += n;
		len -= n;
		if (m->skip)
			continue;
		count += m->frames;
		m->frames = 0;
	}
	return count;
}
