/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/paced_out.h"

#include "serve/http.h"
#include "serve/server.h"

void paced_out_init(struct paced_out *p, struct exchange *ex,
		    void (*ready)(struct paced_out *p))
{
	*p = (struct paced_out){.ex = ex, .ready = ready};
}

void paced_out_fini(struct paced_out *p)
{
	loop_timer_cancel(p->ex->thread->loop, &p->timer);
}

static void fired(struct loop_timer *t)
{
	struct paced_out *p = container_of(t, struct paced_out, timer);

	p->ready(p);
}

int paced_out_room(struct paced_out *p)
{
	struct loop *loop = p->ex->thread->loop;
	uint64_t rate = p->ex->thread->limits.get_rate;
	int r;

	if (!rate) {
		/* A bound that comes with a reload is no bill for the past. */
		p->paid = p->ex->sent_bytes;
		p->pace = (struct pace){.busy_ns = 0};
		return 1;
	}
	pace_spend(&p->pace, rate, p->ex->sent_bytes - p->paid,
		   loop_now_ns(loop));
	p->paid = p->ex->sent_bytes;
	if (pace_room(&p->pace, rate, loop_now_ns(loop)))
		return 1;
	r = loop_timer_set(loop, &p->timer, pace_ready_ns(&p->pace, rate),
			   fired);
	return r < 0 ? r : 0;
}
