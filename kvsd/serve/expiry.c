/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/expiry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "core/catalog.h"
#include "core/disk_forecast.h"
#include "core/limits.h"
#include "core/loop.h"
#include "io/crypto.h"
#include "io/store_local.h"
#include "serve/server.h"

struct expiry {
	struct server_thread *thread;
	struct loop_timer timer;
	struct loop_timer sealed_timer; /* a segment was filled */
	bool running;
	bool sealed;	  /* ... during the run */
	bool bounds_only; /* the run */
	bool due;	  /* the minute was over during it */
	bool stopped;
	struct catalog_op catalog_op;
	struct store_op store_op;
	struct catalog_stream rows[EXPIRY_STREAMS];
	uint64_t now_ms; /* when the clock was looked at, before the run */
	int count;
	int next;
	char after[CATALOG_NAME_BYTES];
	struct disk_forecast forecast; /* the first thread's */
	int64_t offset_ms;	       /* of the wall clock that is believed */
	uint64_t doubt_ns;	       /* since then another is seen; 0: no */
	int64_t doubt_ms;	       /* so far ahead it was then */
};

static void next_stream(struct expiry *e);

static void timer_fired(struct loop_timer *timer);

static void sleep_until_next(struct expiry *e)
{
	struct loop *l = e->thread->loop;

	if (!e->stopped &&
	    loop_timer_set(l, &e->timer, loop_now_ns(l) + EXPIRY_PERIOD_NS,
			   timer_fired) < 0)
		log_error("serve", "retention: no memory for a timer");
}

static void sealed_fired(struct loop_timer *timer);

/* What was written since is not left until the minute is over. */
static void watch_bounds(struct expiry *e)
{
	struct loop *l = e->thread->loop;

	if (e->stopped || loop_timer_armed(&e->sealed_timer) ||
	    !serve_has_stream_max(&e->thread->limits))
		return;
	if (loop_timer_set(l, &e->sealed_timer,
			   loop_now_ns(l) + EXPIRY_SEALED_NS, sealed_fired) < 0)
		log_error("serve", "stream_max: no memory for a timer");
}

static void segment_sealed(void *ctx)
{
	struct expiry *e = ctx;

	if (e->running)
		e->sealed = true;
	else
		watch_bounds(e);
}

static void run_begin(struct expiry *e, bool bounds_only);
static bool clock_is_believed(struct expiry *e);

static void run_end(struct expiry *e)
{
	struct server *s = e->thread->server;

	crypto_wipe(e->rows, sizeof(e->rows));
	e->running = false;
	if (e->due && !e->stopped)
		run_begin(e, !clock_is_believed(e));
	else if (!loop_timer_armed(&e->timer))
		sleep_until_next(e);
	if (e->sealed)
		watch_bounds(e);
	server_busy_end(s);
}

static void listed(struct catalog_op *op, int res)
{
	struct expiry *e = container_of(op, struct expiry, catalog_op);

	if (res <= 0 || e->stopped) {
		run_end(e);
		return;
	}
	e->count = res;
	e->next = 0;
	next_stream(e);
}

static void list(struct expiry *e)
{
	e->catalog_op.done = listed;
	catalog_list(e->thread->server->catalog, e->thread->loop, NULL,
		     e->after[0] ? e->after : NULL, e->rows, EXPIRY_STREAMS,
		     &e->catalog_op);
}

static void expired(struct store_op *op, int res)
{
	struct expiry *e = container_of(op, struct expiry, store_op);

	if (res < 0)
		log_warn("serve", "retention of %s: %s",
			 e->rows[e->next - 1].name, strerror(-res));
	next_stream(e);
}

static void trim(struct expiry *e, const struct catalog_stream *s)
{
	e->store_op.done = expired;
	store_local_trim(e->thread->store, s->store.id,
			 serve_stream_max(&e->thread->limits, s->name),
			 &e->store_op);
}

/* What is younger than its retention and over its bound. */
static void expired_by_age(struct store_op *op, int res)
{
	struct expiry *e = container_of(op, struct expiry, store_op);
	const struct catalog_stream *s = &e->rows[e->next - 1];

	if (res < 0 || e->stopped ||
	    !serve_stream_max(&e->thread->limits, s->name))
		expired(op, res);
	else
		trim(e, s);
}

static void expire(struct expiry *e, const struct catalog_stream *s,
		   uint64_t now_ms, struct store_op *op)
{
	uint64_t keep_ms = s->retention_hours * 3600ull * 1000;

	store_local_expire(e->thread->store, s->store.id,
			   now_ms - MIN(keep_ms, now_ms), op);
}

/* The next of our streams. */
static void next_stream(struct expiry *e)
{
	while (e->next < e->count && !e->stopped) {
		const struct catalog_stream *s = &e->rows[e->next++];

		/* One with retention 0 may have had more, and rows of then. */
		if (server_thread_of(e->thread->server, s->name) != e->thread)
			continue;
		if (e->bounds_only &&
		    !serve_stream_max(&e->thread->limits, s->name))
			continue;
		if (e->bounds_only) {
			trim(e, s);
			return;
		}
		e->store_op.done = expired_by_age;
		expire(e, s, e->now_ms, &e->store_op);
		return;
	}
	if (e->stopped || e->count < (int)EXPIRY_STREAMS) {
		run_end(e);
		return;
	}
	memcpy(e->after, e->rows[e->count - 1].name, sizeof(e->after));
	list(e);
}

static void forecast(struct expiry *e)
{
	uint64_t minutes = 0;
	uint64_t used;
	uint64_t room;
	int r = store_local_room(e->thread->server->store, &used, &room);

	/* With either bound the oldest goes, and the disk is never full. */
	if (r == 0 && disk_forecast_add(&e->forecast, used, room, &minutes))
		log_warn("serve",
			 "the disk is full in %" PRIu64 " h %" PRIu64
			 " min at the rate of the last hour (%" PRIu64
			 " MiB are left); uploads end with 5001 then, unless "
			 "retention is shortened or storage_free set",
			 minutes / 60, minutes % 60, room >> 20);
}

static void run_begin(struct expiry *e, bool bounds_only)
{
	e->running = true;
	e->sealed = false;
	e->due = false;
	e->bounds_only = bounds_only;
	server_busy_begin(e->thread->server);
	e->after[0] = '\0';
	list(e);
}

static void sealed_fired(struct loop_timer *timer)
{
	struct expiry *e = container_of(timer, struct expiry, sealed_timer);

	if (!e->running)
		run_begin(e, true);
}

/* Against the time since the machine was started, which no one sets. */
static int64_t clock_offset_ms(const struct expiry *e, uint64_t wall_ms)
{
	const struct sys_ops *sys = e->thread->server->sys;

	return (int64_t)wall_ms -
	       (int64_t)(sys_now_ns(sys, CLOCK_BOOTTIME) / NS_PER_MS);
}

static void doubt(struct expiry *e, int64_t ahead_ms)
{
	e->doubt_ns = loop_now_ns(e->thread->loop);
	e->doubt_ms = ahead_ms;
	if (e->thread == &e->thread->server->threads[0])
		log_warn("serve",
			 "the clock went ahead by %" PRId64
			 " min; nothing is dropped for its age for "
			 "%" PRIu64 " min",
			 ahead_ms / 60000,
			 (uint64_t)(EXPIRY_STEP_NS / NS_PER_S / 60));
}

/*
 * A wall clock that jumps ahead makes everything old at once. Who set it by
 * mistake has some minutes to set it back before that is believed. The run
 * goes by what was looked at here, whatever the clock does meanwhile; what
 * comes later may have a longer retention than the rows say, and is younger.
 */
static bool clock_is_believed(struct expiry *e)
{
	uint64_t wall_ms = server_wall_ms(e->thread);
	int64_t offset_ms = clock_offset_ms(e, wall_ms);
	int64_t ahead_ms = offset_ms - e->offset_ms;

	/* Set back a little, it may jump from there. */
	e->doubt_ms = MIN(e->doubt_ms, MAX(ahead_ms, (int64_t)0));
	if (ahead_ms - e->doubt_ms >= EXPIRY_STEP_MS)
		doubt(e, ahead_ms);
	if (ahead_ms >= EXPIRY_STEP_MS &&
	    loop_now_ns(e->thread->loop) - e->doubt_ns < EXPIRY_STEP_NS)
		return false;
	if (e->doubt_ns && e->thread == &e->thread->server->threads[0])
		log_info("serve", "the clock is believed again");
	e->doubt_ns = 0;
	e->doubt_ms = 0;
	e->offset_ms = offset_ms;
	e->now_ms = wall_ms;
	return true;
}

bool expiry_of_stream(struct expiry *e, const struct catalog_stream *s,
		      struct store_op *op)
{
	uint64_t wall_ms = server_wall_ms(e->thread);

	if (clock_offset_ms(e, wall_ms) - e->offset_ms >= EXPIRY_STEP_MS)
		return false;
	expire(e, s, wall_ms, op);
	return true;
}

static void timer_fired(struct loop_timer *timer)
{
	struct expiry *e = container_of(timer, struct expiry, timer);

	if (e->thread == &e->thread->server->threads[0])
		forecast(e);
	if (e->running)
		e->due = true;
	else
		run_begin(e, !clock_is_believed(e));
}

int expiry_new(struct server_thread *t, struct expiry **ret_expiry)
{
	struct expiry *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->thread = t;
	e->offset_ms = clock_offset_ms(e, server_wall_ms(t));
	sleep_until_next(e);
	store_local_on_sealed(t->store, segment_sealed, e);
	*ret_expiry = e;
	return 0;
}

void expiry_stop(struct expiry *e)
{
	e->stopped = true;
	store_local_on_sealed(e->thread->store, NULL, NULL);
	loop_timer_cancel(e->thread->loop, &e->timer);
	loop_timer_cancel(e->thread->loop, &e->sealed_timer);
}

struct expiry *expiry_free(struct expiry *e)
{
	if (e) {
		store_local_on_sealed(e->thread->store, NULL, NULL);
		loop_timer_cancel(e->thread->loop, &e->timer);
		loop_timer_cancel(e->thread->loop, &e->sealed_timer);
	}
	free(e);
	return NULL;
}
