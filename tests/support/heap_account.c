/* SPDX-License-Identifier: Apache-2.0 */
#include "support/heap_account.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/macros.h"

#define HELD_MAX (1u << 18) /* a power of two */

static struct {
	void *p;
	size_t bytes;
	struct heap_account *owner;
} held[HELD_MAX];
struct heap_account *heap_charged;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static size_t place_of(const void *p)
{
	size_t i = ((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15ull >> 46;

	while (held[i].p && held[i].p != p)
		i = (i + 1) & (HELD_MAX - 1);
	return i;
}

static void hold(void *p, size_t bytes, struct heap_account *owner)
{
	size_t i;

	if (!owner || !p)
		return;
	i = place_of(p);
	held[i].p = p;
	held[i].bytes = bytes;
	held[i].owner = owner;
	owner->now += bytes;
	owner->most = MAX(owner->most, owner->now);
}

/* Return: whose it was. */
static struct heap_account *release(void *p)
{
	struct heap_account *owner;
	size_t hole;
	size_t i;

	if (!p)
		return NULL;
	hole = place_of(p);
	owner = held[hole].owner;
	if (!held[hole].p)
		return NULL;
	owner->now -= held[hole].bytes;
	held[hole].p = NULL;
	held[hole].owner = NULL;
	/* What came after it may have wanted its place. */
	for (i = (hole + 1) & (HELD_MAX - 1); held[i].p;
	     i = (i + 1) & (HELD_MAX - 1)) {
		void *q = held[i].p;
		size_t bytes = held[i].bytes;
		struct heap_account *whose = held[i].owner;
		size_t at;

		held[i].p = NULL;
		at = place_of(q);
		held[at].p = q;
		held[at].bytes = bytes;
		held[at].owner = whose;
	}
	return owner;
}

void *__wrap_malloc(size_t n)
{
	void *p = __real_malloc(n);

	hold(p, n, heap_charged);
	return p;
}

void *__wrap_calloc(size_t n, size_t size)
{
	void *p = __real_calloc(n, size);

	hold(p, n * size, heap_charged);
	return p;
}

void *__wrap_realloc(void *p, size_t n)
{
	struct heap_account *owner = release(p);
	void *q = __real_realloc(p, n);

	hold(q, n, owner ? owner : heap_charged);
	return q;
}

void __wrap_free(void *p)
{
	(void)release(p);
	__real_free(p);
}
