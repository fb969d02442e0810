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
	bool stopped;
	struct catalog_op catalog_op;
	struct store_op store_op;
	struct catalog_stream rows[EXPIRY_STREAMS];
	uint64_t now_ms; /* before the rows were listed */
	int count;
	int next;
	char after[CATALOG_NAME_BYTES];
	struct disk_forecast forecast; /* the first thread's */
};

static void next_stream(struct expiry *e);

static void timer_fired(struct loop_timer *timer);

static void sleep_until_next(struct expiry *e)
{
	struct loop *l = e->thread->loop;

	crypto_wipe(e->rows, sizeof(e->rows));
	if (!e->stopped &&
	    loop_timer_set(l, &e->timer, loop_now_ns(l) + EXPIRY_PERIOD_NS,
			   timer_fired) < 0)
		log_error("serve", "retention: no memory for a timer");
}

static void run_end(struct expiry *e)
{
	struct server *s = e->thread->server;

	sleep_until_next(e);
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
	/*
	 * What comes later may have a longer retention than the rows say: it
	 * is younger than this.
	 */
	e->now_ms = server_wall_ms(e->thread);
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

/* What is younger than its retention and over its bound. */
static void expired_by_age(struct store_op *op, int res)
{
	struct expiry *e = container_of(op, struct expiry, store_op);
	const struct catalog_stream *s = &e->rows[e->next - 1];
	uint64_t most = serve_stream_max(&e->thread->limits, s->name);

	if (res < 0 || !most || e->stopped) {
		expired(op, res);
		return;
	}
	e->store_op.done = expired;
	store_local_trim(e->thread->store, s->store.id, most, &e->store_op);
}

/* The next of our streams. */
static void next_stream(struct expiry *e)
{
	while (e->next < e->count && !e->stopped) {
		const struct catalog_stream *s = &e->rows[e->next++];
		uint64_t keep_ms = s->retention_hours * 3600ull * 1000;

		/* One with retention 0 may have had more, and rows of then. */
		if (server_thread_of(e->thread->server, s->name) != e->thread)
			continue;
		e->store_op.done = expired_by_age;
		store_local_expire(e->thread->store, s->store.id,
				   e->now_ms - MIN(keep_ms, e->now_ms),
				   &e->store_op);
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

	/* With storage_max the oldest goes, and the disk is never full. */
	if (r == 0 && disk_forecast_add(&e->forecast, used, room, &minutes))
		log_warn("serve",
			 "the disk is full in %" PRIu64 " h %" PRIu64
			 " min at the rate of the last hour (%" PRIu64
			 " MiB are left); uploads end with 5001 then, unless "
			 "retention is shortened or storage_max set",
			 minutes / 60, minutes % 60, room >> 20);
}

static void timer_fired(struct loop_timer *timer)
{
	struct expiry *e = container_of(timer, struct expiry, timer);

	if (e->thread == &e->thread->server->threads[0])
		forecast(e);
	server_busy_begin(e->thread->server);
	e->after[0] = '\0';
	list(e);
}

int expiry_new(struct server_thread *t, struct expiry **ret_expiry)
{
	struct expiry *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->thread = t;
	sleep_until_next(e);
	*ret_expiry = e;
	return 0;
}

void expiry_stop(struct expiry *e)
{
	e->stopped = true;
	loop_timer_cancel(e->thread->loop, &e->timer);
}

struct expiry *expiry_free(struct expiry *e)
{
	if (e)
		loop_timer_cancel(e->thread->loop, &e->timer);
	free(e);
	return NULL;
}
