/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a driver writes to the memory that it was given.
 *
 * The udmabuf of Linux 6.11 and 6.12 maps huge pages wrongly for the kernel's
 * own CPU (vmap_udmabuf(), until "udmabuf: fix vmap_udmabuf error page set"):
 * each huge page is its first small page again and again. Devices that write
 * by DMA are right, a driver that copies pictures there is not, and no call
 * tells which of them a driver is. So each buffer of S2 carries canaries, in
 * small pages that such a driver cannot reach: the first frame that should
 * have overwritten them tells. Then the buffer is not looked at again.
 *
 * A frame that by chance has a canary's 128 random bits at all the places
 * that it reaches, one in 2^128, costs S2 and no more; one that ends inside
 * the only canary that it reaches is compared as far as it goes.
 */
#ifndef CAPTURE_SRC_QUEUE_CANARY_H
#define CAPTURE_SRC_QUEUE_CANARY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct capture_format;
struct queue;
struct queue_done;

/**
 * queue_canary_set() - put canaries into all buffers, which must be free
 * @whole: for each plane, the fewest bytes of a whole picture; 1: any
 *
 * Return: 0, or the errno of getrandom.
 */
int queue_canary_set(struct queue *q, const struct capture_format *format,
		     const size_t *whole) MUST_CHECK;

/*
 * Whether what was taken should have overwritten its buffer's canaries, and
 * overwrote none: what the buffer holds is no frame. Only for frames that the
 * driver calls whole.
 */
bool queue_canary_lives(struct queue *q, const struct queue_done *done);

/*
 * Drivers (v4l2_capability.driver) of which that was seen, for as long as
 * this process lives; from any thread. Beyond CAPTURE_CANARY_DRIVERS_MAX none
 * is remembered: it is then found out anew at each open.
 */
void queue_canary_remember(const char *driver);
bool queue_canary_remembers(const char *driver);
/* For tests: nothing was seen of any driver. */
void queue_canary_forget(void);

#endif
