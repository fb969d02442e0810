/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many bytes of an upload are worth a receive (SO_RCVLOWAT, socket(7)).
 *
 * A camera sends a frame every 33 ms. Received one by one each costs a wake-up,
 * a system call and an acknowledgement; nobody is served by that unless a
 * viewer is there or the fragment is about to end. So in the middle of a
 * fragment some frames are left to gather in the socket. Where the middle is,
 * the fragments before it say: a device that makes them 2 s long goes on doing
 * so. Near the expected end, and whenever there is nothing to go by, every byte
 * counts. One that ends sooner than those before, the last one of a session
 * say, is seen as late as it takes to gather what is waited for, by its rate
 * RECV_LOWAT_NS at most, and half as long again when nothing follows it.
 *
 * Pure; times are CLOCK_MONOTONIC. All zeroes: nothing known yet.
 */
#ifndef CORE_RECV_LOWAT_H
#define CORE_RECV_LOWAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

struct recv_lowat {
	struct {
		uint64_t took_ns; /* first byte to last; 0: not known */
		uint64_t bytes;
	} before[RECV_LOWAT_LEARN];
	unsigned int next; /* place of the one under way */
	bool open;
	uint64_t first_ns;
	uint64_t last_ns;
	uint64_t bytes;
};

/* A fragment's first byte is there. */
void recv_lowat_begin(struct recv_lowat *l, uint64_t now_ns);
void recv_lowat_bytes(struct recv_lowat *l, size_t len, uint64_t now_ns);
/* It has all of them. */
void recv_lowat_end(struct recv_lowat *l);

/**
 * recv_lowat() - what to wait for now
 * @ret_look_ns: when to ask again though nothing arrived; UINT64_MAX: never
 *
 * Return: bytes, at least 1.
 */
size_t recv_lowat(const struct recv_lowat *l, uint64_t now_ns,
		  uint64_t *ret_look_ns);

#endif
