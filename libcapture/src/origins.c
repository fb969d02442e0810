/* SPDX-License-Identifier: Apache-2.0 */
#include "src/origins.h"

#include <assert.h>

void origins_init(struct origins *o, uint64_t *skipped)
{
	o->head = 0;
	o->count = 0;
	o->overtaken = 0;
	o->skipped = skipped;
}

static struct origins_entry *at(struct origins *o, uint32_t i)
{
	return &o->ring[(o->head + i) % CAPTURE_PENDING_MAX];
}

/* The first is overtaken, and was skipped. */
static void give_up(struct origins *o)
{
	assert(o->overtaken);
	o->head++;
	o->count--;
	o->overtaken--;
	(*o->skipped)++;
}

bool origins_room(struct origins *o)
{
	if (o->count == CAPTURE_PENDING_MAX && o->overtaken)
		give_up(o);
	return o->count < CAPTURE_PENDING_MAX;
}

void origins_push(struct origins *o, const struct packet_origin *origin)
{
	struct origins_entry *entry = at(o, o->count);

	assert(o->count < CAPTURE_PENDING_MAX);
	entry->origin = *origin;
	entry->overtaken = 0;
	o->count++;
}

/* It is near the head, mostly the head itself. */
static void remove_at(struct origins *o, uint32_t i)
{
	for (; i > 0; i--)
		*at(o, i) = *at(o, i - 1);
	o->head++;
	o->count--;
}

bool origins_match(struct origins *o, uint64_t key,
		   struct packet_origin *ret_origin)
{
	uint32_t found = 0;
	uint32_t i;

	while (found < o->count && at(o, found)->origin.key != key)
		found++;
	if (found == o->count)
		return false;
	*ret_origin = at(o, found)->origin;
	remove_at(o, found);
	for (i = 0; i < found; i++)
		at(o, i)->overtaken++;
	if (found < o->overtaken)
		o->overtaken--;
	else
		o->overtaken = found;
	while (o->overtaken && at(o, 0)->overtaken > CAPTURE_REORDER_MAX)
		give_up(o);
	return true;
}

const struct packet_origin *origins_due(const struct origins *o)
{
	if (o->overtaken == o->count)
		return NULL;
	return &o->ring[(o->head + o->overtaken) % CAPTURE_PENDING_MAX].origin;
}

void origins_end(struct origins *o)
{
	*o->skipped += o->count;
	o->head += o->count;
	o->count = 0;
	o->overtaken = 0;
}
