/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that may have to be left behind in a driver. */
#ifndef CAPTURE_SRC_THREAD_H
#define CAPTURE_SRC_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/macros.h"

/*
 * Detached: nobody may wait for it. No signals: they are the user's.
 * Return: 0 or the errno of pthread_create.
 */
int thread_start(void *(*main)(void *arg), void *arg) MUST_CHECK;

/* A lock and what is waited for under it, by CLOCK_MONOTONIC. */
int thread_init_lock(pthread_mutex_t *lock, pthread_cond_t *changed) MUST_CHECK;
void thread_fini_lock(pthread_mutex_t *lock, pthread_cond_t *changed);

/* @lock is held. False: @deadline_ns (CLOCK_MONOTONIC) is past. */
bool thread_wait(pthread_mutex_t *lock, pthread_cond_t *changed,
		 uint64_t deadline_ns) MUST_CHECK;

#endif
