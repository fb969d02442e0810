/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/quota.h"

#include <pthread.h>

#include "serve/operations.h"
#include "serve/server.h"

#define METADATA_POINTS_PER_S 10000u
#define MEDIA_POINTS_PER_S 500u
#define KEY_POINTS 1000u /* after the operations' own */
#define KEY_ACCOUNT 2000u

/* FNV-1a of stream and what is counted. */
static uint64_t key_of(uint32_t what, const char *stream)
{
	uint64_t key = UINT64_C(0xcbf29ce484222325) ^ what;
	const char *p;

	for (p = stream; *p; p++)
		key = (key ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	key *= UINT64_C(0x9e3779b97f4a7c15);
	return key ^ key >> 32;
}

/* @count of what @per_s allows, percent of it; 0: no bound. */
static bool take(struct rate_table *table, uint64_t key, uint32_t per_s,
		 uint32_t percent, uint32_t count, uint64_t now_ns)
{
	uint64_t hundredths = (uint64_t)per_s * percent;

	return !hundredths ||
	       rate_take(table, key, count * 100 * NS_PER_S / hundredths,
			 now_ns);
}

static bool take_shared(struct exchange *ex, uint64_t key, uint32_t per_s)
{
	struct server *s = ex->thread->server;
	uint32_t percent = ex->thread->limits.api_rate;
	bool ok;

	if (!per_s || !percent)
		return true;
	pthread_mutex_lock(&s->rates_lock);
	/* Not the loop's time, which is each thread's own. */
	ok = take(&s->rates, key, per_s, percent, 1,
		  sys_now_ns(s->sys, CLOCK_MONOTONIC));
	pthread_mutex_unlock(&s->rates_lock);
	return ok;
}

static bool take_of_stream(struct exchange *ex)
{
	const struct operation *op = ex->op;
	char name[CATALOG_NAME_BYTES];
	struct server_thread *t = ex->thread;

	if (!op->per_s_max || !operation_peek_name(ex, name))
		return true;
	if (op->place == PLACE_ANY)
		return take_shared(ex, key_of((uint32_t)op->api, name),
				   op->per_s_max);
	return take(&t->rates, key_of((uint32_t)op->api, name), op->per_s_max,
		    t->limits.api_rate, 1, loop_now_ns(t->loop));
}

bool quota_request(struct exchange *ex)
{
	const struct operation *op = ex->op;

	if (take_of_stream(ex) &&
	    take_shared(ex, key_of(KEY_ACCOUNT + (uint32_t)op->api, ""),
			op->account_per_s_max))
		return true;
	quota_exceeded(ex);
	return false;
}

bool quota_points(struct exchange *ex, enum quota_points kind, uint32_t points)
{
	struct server_thread *t = ex->thread;

	return take(&t->rates, key_of(KEY_POINTS + kind, ex->stream.name),
		    kind == QUOTA_MEDIA ? MEDIA_POINTS_PER_S
					: METADATA_POINTS_PER_S,
		    t->limits.api_rate, points, loop_now_ns(t->loop));
}

void quota_exceeded(struct exchange *ex)
{
	exchange_error(ex, 400, "ClientLimitExceededException",
		       "Too many requests per second.");
}
