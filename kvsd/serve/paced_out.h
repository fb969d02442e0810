/* SPDX-License-Identifier: Apache-2.0 */
/*
 * get_rate: an answer that is written no faster than so many bytes per second
 * (core/rate.h). Embedded in the operation; loop thread.
 */
#ifndef SERVE_PACED_OUT_H
#define SERVE_PACED_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/loop.h"
#include "core/rate.h"

struct exchange;

struct paced_out {
	struct exchange *ex;
	/* More may be written now. */
	void (*ready)(struct paced_out *p);
	/* The rest is private. */
	struct pace pace;
	struct loop_timer timer;
	uint64_t paid; /* of the exchange's sent_bytes */
};

/* @ex: borrowed, of an answer that has not begun. */
void paced_out_init(struct paced_out *p, struct exchange *ex,
		    void (*ready)(struct paced_out *p));
void paced_out_fini(struct paced_out *p);

/* Return: 1 more may be written, 0 not before ready(), -ENOMEM. */
int paced_out_room(struct paced_out *p);

#endif
