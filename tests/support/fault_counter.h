/* SPDX-License-Identifier: Apache-2.0 */
/* Which call of many is to fail. Any thread may ask. */
#ifndef SUPPORT_FAULT_COUNTER_H
#define SUPPORT_FAULT_COUNTER_H

#include <pthread.h>
#include <stdbool.h>

struct fault_counter {
	pthread_mutex_t lock;	/* PTHREAD_MUTEX_INITIALIZER */
	unsigned long fail_at;	/* 1 is the next call; 0: none */
	unsigned long calls;
	int err;
	const char *where;	/* name of the call that failed, or NULL */
};

static inline void fault_counter_arm(struct fault_counter *c, unsigned long n,
				     int err)
{
	(void)pthread_mutex_lock(&c->lock);
	c->fail_at = n;
	c->calls = 0;
	c->err = err;
	c->where = NULL;
	(void)pthread_mutex_unlock(&c->lock);
}

/* Counts a call. Return: 0, or the error that it is to fail with. */
static inline int fault_counter_enter(struct fault_counter *c,
				      const char *name)
{
	int r = 0;

	(void)pthread_mutex_lock(&c->lock);
	if (++c->calls == c->fail_at) {
		c->where = name;
		r = c->err;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return r;
}

#endif
