/* SPDX-License-Identifier: Apache-2.0 */
#include "src/thread.h"

#include <signal.h>
#include <time.h>

#define NS_PER_S UINT64_C(1000000000)

int thread_start(void *(*main)(void *arg), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all;
	sigset_t before;
	int r;

	r = -pthread_attr_init(&attr);
	if (r < 0)
		return r;
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&thread, &attr, main, arg);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	(void)pthread_attr_destroy(&attr);
	return r;
}

int thread_init_lock(pthread_mutex_t *lock, pthread_cond_t *changed)
{
	pthread_condattr_t attr;
	int r;

	r = -pthread_condattr_init(&attr);
	if (r < 0)
		return r;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	r = -pthread_cond_init(changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	if (r < 0)
		return r;
	r = -pthread_mutex_init(lock, NULL);
	if (r < 0)
		(void)pthread_cond_destroy(changed);
	return r;
}

void thread_fini_lock(pthread_mutex_t *lock, pthread_cond_t *changed)
{
	(void)pthread_cond_destroy(changed);
	(void)pthread_mutex_destroy(lock);
}

bool thread_wait(pthread_mutex_t *lock, pthread_cond_t *changed,
		 uint64_t deadline_ns)
{
	const struct timespec until = {
		.tv_sec = (time_t)(deadline_ns / NS_PER_S),
		.tv_nsec = (long)(deadline_ns % NS_PER_S),
	};

	return pthread_cond_timedwait(changed, lock, &until) == 0;
}
