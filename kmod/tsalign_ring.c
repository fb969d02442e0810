// SPDX-License-Identifier: GPL-2.0-only
/*
 * The event ring: one for all streams, written from any context but NMI, read
 * by each descriptor from a position of its own. A reader that is too slow
 * misses the oldest ones and is told how many.
 */
#include <linux/irq_work.h>
#include <linux/slab.h>
#include <linux/wait.h>

#include "tsalign_int.h"

static DEFINE_RAW_SPINLOCK(ring_lock);
static struct tsalign_event *ring;	/* TSA_RING_EVENTS */
static u64 ring_head;			/* events ever written */
static u32 ring_users;
static DECLARE_WAIT_QUEUE_HEAD(ring_wait);

static void ring_wake(struct irq_work *work)
{
	wake_up_interruptible_all(&ring_wait);
}

/* Waking takes locks that whoever fired a tracepoint may hold. */
static DEFINE_IRQ_WORK(ring_work, ring_wake);

int tsa_ring_init(void)
{
	ring = kvcalloc(TSA_RING_EVENTS, sizeof(*ring), GFP_KERNEL);
	return ring ? 0 : -ENOMEM;
}

void tsa_ring_exit(void)
{
	irq_work_sync(&ring_work);
	kvfree(ring);
}

u64 tsa_ring_open(void)
{
	unsigned long flags;
	u64 head;

	raw_spin_lock_irqsave(&ring_lock, flags);
	WRITE_ONCE(ring_users, ring_users + 1);
	head = ring_head;
	raw_spin_unlock_irqrestore(&ring_lock, flags);
	return head;
}

void tsa_ring_close(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&ring_lock, flags);
	WRITE_ONCE(ring_users, ring_users - 1);
	raw_spin_unlock_irqrestore(&ring_lock, flags);
}

tsa_hot void tsa_ring_put(const struct tsalign_event *event)
{
	unsigned long flags;

	if (!READ_ONCE(ring_users))
		return;
	raw_spin_lock_irqsave(&ring_lock, flags);
	ring[ring_head & (TSA_RING_EVENTS - 1)] = *event;
	WRITE_ONCE(ring_head, ring_head + 1);
	raw_spin_unlock_irqrestore(&ring_lock, flags);
	/* Pairs with the barrier of who puts himself on the queue. */
	if (wq_has_sleeper(&ring_wait))
		irq_work_queue(&ring_work);
}

u64 tsa_ring_head(void)
{
	unsigned long flags;
	u64 head;

	raw_spin_lock_irqsave(&ring_lock, flags);
	head = ring_head;
	raw_spin_unlock_irqrestore(&ring_lock, flags);
	return head;
}

bool tsa_ring_has(u64 position)
{
	return tsa_ring_head() != position;
}

u32 tsa_ring_take(u64 *position, struct tsalign_event *events, u32 max)
{
	unsigned long flags;
	u32 count = 0;
	u64 at = *position;
	u64 lost = 0;

	raw_spin_lock_irqsave(&ring_lock, flags);
	if (ring_head - at > TSA_RING_EVENTS) {
		lost = ring_head - TSA_RING_EVENTS - at;
		at += lost;
		events[count++] = (struct tsalign_event){
			.stream = TSA_NO_ID,
			.type = TSALIGN_EV_LOST,
			.counter = lost,
		};
	}
	while (count < max && at != ring_head) {
		events[count++] = ring[at & (TSA_RING_EVENTS - 1)];
		at++;
	}
	raw_spin_unlock_irqrestore(&ring_lock, flags);
	*position = at;
	return count;
}

struct wait_queue_head *tsa_ring_wait(void)
{
	return &ring_wait;
}
