/* SPDX-License-Identifier: Apache-2.0 */
#include "io/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESOLVE_STACK_BYTES (256u << 10)

enum { STAGE_RUNNING, STAGE_POSTED, STAGE_ORPHAN };

/* Held for moments only; one for all look-ups. */
static pthread_mutex_t stage_lock = PTHREAD_MUTEX_INITIALIZER;

static bool resolve_numeric(struct resolve *r)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)&r->addrs[0].addr;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&r->addrs[0].addr;

	if (inet_pton(AF_INET, r->host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(r->port);
		r->addrs[0].len = sizeof(*v4);
	} else if (inet_pton(AF_INET6, r->host, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(r->port);
		r->addrs[0].len = sizeof(*v6);
	} else {
		return false;
	}
	r->count = 1;
	return true;
}

static void *resolve_thread(void *arg)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct resolve *r = arg;
	struct addrinfo *list = NULL;
	struct addrinfo *ai;
	char port[8];
	bool orphan;
	int e;

	(void)snprintf(port, sizeof(port), "%u", r->port);
	e = getaddrinfo(r->host, port, &hints, &list);
	if (e)
		r->reason = gai_strerror(e);
	for (ai = list; ai && r->count < RESOLVE_ADDRS_MAX; ai = ai->ai_next) {
		struct resolve_addr *a = &r->addrs[r->count];

		if (ai->ai_addrlen > sizeof(a->addr))
			continue;
		memcpy(&a->addr, ai->ai_addr, ai->ai_addrlen);
		a->len = ai->ai_addrlen;
		r->count++;
	}
	if (list)
		freeaddrinfo(list);
	(void)pthread_mutex_lock(&stage_lock);
	orphan = r->stage == STAGE_ORPHAN;
	if (!orphan) {
		r->stage = STAGE_POSTED;
		loop_post(r->loop, &r->task);
	}
	(void)pthread_mutex_unlock(&stage_lock);
	if (orphan)
		free(r);
	return NULL;
}

static int resolve_spawn(struct resolve *r)
{
	pthread_attr_t attr;
	pthread_t thread;
	int e;

	e = pthread_attr_init(&attr);
	if (e)
		return -e;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)pthread_attr_setstacksize(&attr, RESOLVE_STACK_BYTES);
	e = pthread_create(&thread, &attr, resolve_thread, r);
	(void)pthread_attr_destroy(&attr);
	return -e;
}

static void resolve_posted(struct loop_task *task)
{
	struct resolve *r = container_of(task, struct resolve, task);

	r->done(r);
}

int resolve_start(struct loop *l, const char *host, uint16_t port,
		  void (*done)(struct resolve *r), void *owner,
		  struct resolve **ret_resolve)
{
	struct resolve *r;
	int e = 0;

	if (!host[0] || strlen(host) >= RESOLVE_HOST_BYTES)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->loop = l;
	r->done = done;
	r->owner = owner;
	r->port = port;
	r->task.run = resolve_posted;
	(void)snprintf(r->host, sizeof(r->host), "%s", host);
	if (resolve_numeric(r)) {
		r->stage = STAGE_POSTED;
		loop_post(l, &r->task);
	} else {
		e = resolve_spawn(r);
	}
	if (e < 0) {
		free(r);
		return e;
	}
	*ret_resolve = r;
	return 0;
}

void resolve_free(struct resolve *r)
{
	free(r);
}

void resolve_cancel(struct resolve *r)
{
	(void)pthread_mutex_lock(&stage_lock);
	if (r->stage == STAGE_RUNNING)
		r->stage = STAGE_ORPHAN;
	else
		r->owner = NULL;
	(void)pthread_mutex_unlock(&stage_lock);
}
