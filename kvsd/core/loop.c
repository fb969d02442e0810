/* SPDX-License-Identifier: Apache-2.0 */
#include "core/loop.h"

#include <errno.h>
#include <stdlib.h>

#include "core/limits.h"

#define TIMERS_FIRST 16u

static void heap_put(struct loop *l, size_t i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->slot = i + 1;
}

static void heap_up(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	while (i) {
		size_t parent = (i - 1) / 2;

		if (l->heap[parent]->expires_ns <= t->expires_ns)
			break;
		heap_put(l, i, l->heap[parent]);
		i = parent;
	}
	heap_put(l, i, t);
}

static void heap_down(struct loop *l, size_t i)
{
	struct loop_timer *t = l->heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= l->timer_count)
			break;
		if (child + 1 < l->timer_count &&
		    l->heap[child + 1]->expires_ns < l->heap[child]->expires_ns)
			child++;
		if (t->expires_ns <= l->heap[child]->expires_ns)
			break;
		heap_put(l, i, l->heap[child]);
		i = child;
	}
	heap_put(l, i, t);
}

int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t expires_ns,
		   void (*fired)(struct loop_timer *))
{
	t->fired = fired;
	if (t->slot) {
		t->expires_ns = expires_ns;
		heap_up(l, t->slot - 1);
		heap_down(l, t->slot - 1);
		return 0;
	}
	if (l->timer_count == l->timer_size) {
		size_t size = l->timer_size ? l->timer_size * 2 : TIMERS_FIRST;
		struct loop_timer **heap;

		heap = realloc(l->heap, size * sizeof(struct loop_timer *));
		if (!heap)
			return -ENOMEM;
		l->heap = heap;
		l->timer_size = size;
	}
	t->expires_ns = expires_ns;
	heap_put(l, l->timer_count++, t);
	heap_up(l, t->slot - 1);
	return 0;
}

void loop_timer_cancel(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *last;
	size_t i;

	if (!t->slot)
		return;
	i = t->slot - 1;
	t->slot = 0;
	last = l->heap[--l->timer_count];
	if (last == t)
		return;
	heap_put(l, i, last);
	heap_up(l, i);
	heap_down(l, last->slot - 1);
}

uint64_t loop_timers_next_ns(const struct loop *l)
{
	return l->timer_count ? l->heap[0]->expires_ns : UINT64_MAX;
}

void loop_timers_run(struct loop *l)
{
	size_t budget = LOOP_CALLBACKS_PER_TURN_MAX;

	while (budget-- && loop_timers_next_ns(l) <= l->now_ns) {
		struct loop_timer *t = l->heap[0];

		loop_timer_cancel(l, t);
		t->fired(t);
	}
}

void *loop_spare_take(struct loop *l, size_t *ret_bytes)
{
	*ret_bytes = 0;
	if (!l->spare_count)
		return NULL;
	l->spare_count--;
	*ret_bytes = l->spares[l->spare_count].bytes;
	return l->spares[l->spare_count].memory;
}

void loop_spare_give(struct loop *l, void *memory, size_t bytes)
{
	if (l->spare_count == LOOP_SPARES) {
		free(memory);
		return;
	}
	l->spares[l->spare_count].memory = memory;
	l->spares[l->spare_count].bytes = bytes;
	l->spare_count++;
}

void loop_fini(struct loop *l)
{
	while (l->spare_count)
		free(l->spares[--l->spare_count].memory);
	free(l->heap);
	l->heap = NULL;
	l->timer_count = 0;
	l->timer_size = 0;
}

int loop_run(struct loop *l)
{
	l->stopped = false;
	while (!l->stopped) {
		int r = loop_turn(l, UINT64_MAX);

		if (r < 0)
			return r;
	}
	return 0;
}

struct loop *loop_free(struct loop *l)
{
	if (l)
		l->ops->free(l);
	return NULL;
}
