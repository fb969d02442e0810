/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers out of band. A reader may begin at any key frame, so each must have
 * its SPS and PPS; a coded buffer is far longer than most key frames, so they
 * are put in where the frame lies, and it stays one piece of memory.
 */
#include "src/encoder_m2m.h"

#include <string.h>

bool m2m_headers_keep(struct m2m *m, const uint8_t *bytes, size_t len)
{
	struct m2m_headers *h = &m->headers;
	size_t used;

	if (h->complete)
		h->len = 0;
	h->complete = false;
	used = keyframe_copy_sets(m->base.codec, bytes, len, h->bytes + h->len,
				  sizeof(h->bytes) - h->len);
	h->len += used;
	m->base.stats.headers_separate++;
	m->base.stats.bytes_copied_out += used;
	return used != 0;
}

/* Those of the last key frame that had all; usually they never change. */
static void remember(struct m2m *m, const uint8_t *bytes, size_t len)
{
	struct m2m_headers *h = &m->headers;
	uint8_t copy[CAPTURE_HEADERS_BYTES_MAX];
	size_t used = keyframe_copy_sets(m->base.codec, bytes, len, copy,
					 sizeof(copy));

	if (used == 0)
		return;
	memcpy(h->bytes, copy, used);
	h->len = used;
}

size_t m2m_headers_join(struct m2m *m, const struct keyframe_parts *parts,
			uint8_t *bytes, size_t len, size_t room)
{
	struct m2m_headers *h = &m->headers;
	uint8_t *at = bytes + parts->insert_at;
	size_t rest = len - parts->insert_at;

	h->complete = true;
	if (!parts->key)
		return len;
	if (parts->all_sets) {
		remember(m, bytes, len);
		return len;
	}
	if (!h->len || room - len < h->len) {
		m->base.stats.headers_missing++;
		return len;
	}
	memmove(at + h->len, at, rest);
	memcpy(at, h->bytes, h->len);
	m->base.stats.headers_joined++;
	m->base.stats.bytes_copied_out += rest + h->len;
	return len + h->len;
}
