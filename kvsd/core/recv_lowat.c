/* SPDX-License-Identifier: Apache-2.0 */
#include "core/recv_lowat.h"

#include "base/macros.h"

void recv_lowat_begin(struct recv_lowat *l, uint64_t now_ns)
{
	l->open = true;
	l->first_ns = now_ns;
	l->last_ns = now_ns;
	l->bytes = 0;
}

void recv_lowat_bytes(struct recv_lowat *l, size_t len, uint64_t now_ns)
{
	l->bytes += len;
	/* A turn's time may be before the moment in which it saw the first. */
	l->last_ns = MAX(l->last_ns, now_ns);
}

void recv_lowat_end(struct recv_lowat *l)
{
	if (!l->open)
		return;
	l->open = false;
	/* One that came in no time says so too: it was sent from a spool. */
	l->before[l->next].took_ns = MAX(l->last_ns - l->first_ns, 1u);
	l->before[l->next].bytes = l->bytes;
	l->next = (l->next + 1) % RECV_LOWAT_LEARN;
}

size_t recv_lowat(const struct recv_lowat *l, uint64_t now_ns,
		  uint64_t *ret_look_ns)
{
	uint64_t took_ns = UINT64_MAX;
	uint64_t bytes = UINT64_MAX;
	uint64_t end_ns;
	uint64_t look_ns;
	uint64_t wait_ns;
	size_t i;

	*ret_look_ns = UINT64_MAX;
	for (i = 0; i < RECV_LOWAT_LEARN; i++) {
		if (!l->before[i].took_ns)
			continue;
		took_ns = MIN(took_ns, l->before[i].took_ns);
		bytes = MIN(bytes, l->before[i].bytes);
	}
	if (!l->open || took_ns == UINT64_MAX ||
	    took_ns < RECV_LOWAT_FRAGMENT_NS_MIN)
		return 1;
	end_ns = l->first_ns + took_ns -
		 MAX(took_ns / RECV_LOWAT_END_PART, RECV_LOWAT_END_NS_MIN);
	if (now_ns >= end_ns)
		return 1;
	/* As much as comes in @wait_ns by that rate. */
	bytes = MAX(bytes, 1u);
	wait_ns = MIN(RECV_LOWAT_NS,
		      MAX(RECV_LOWAT_BYTES_MAX * (took_ns / bytes), 1u));
	look_ns = MIN(end_ns, now_ns + wait_ns + wait_ns / 2);
	*ret_look_ns = (look_ns / RECV_LOWAT_STEP_NS + 1) * RECV_LOWAT_STEP_NS;
	bytes = MIN(bytes, UINT64_MAX / RECV_LOWAT_NS) * wait_ns / took_ns;
	return (size_t)MAX(MIN(bytes, RECV_LOWAT_BYTES_MAX), 1u);
}
