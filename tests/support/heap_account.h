/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose memory it is: what malloc() gives is on the account that is charged at
 * that time until free(), and stays on it through realloc(). For programs
 * linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free, of
 * one thread.
 */
#ifndef SUPPORT_HEAP_ACCOUNT_H
#define SUPPORT_HEAP_ACCOUNT_H

#include <stddef.h>

struct heap_account {
	size_t now; /* bytes */
	size_t most;
};

/* NULL: nobody's. An account outlives what is on it. */
extern struct heap_account *heap_charged;

#endif
