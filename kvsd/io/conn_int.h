/* SPDX-License-Identifier: Apache-2.0 */
/* What conn.c and conn_open.c share of a connection. */
#ifndef IO_CONN_INT_H
#define IO_CONN_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "core/limits.h"
#include "core/loop.h"
#include "io/conn.h"

struct resolve;
struct tls;

/* What a receive that is called back may still bring, twice. */
#define IN_BYTES_MAX (2u * LOOP_RECV_BUFFERS * LOOP_RECV_BYTES)
#define PEER_BYTES 64
#define REASON_BYTES 256

/*
 *  RESOLVING -> CONNECTING -> HANDSHAKE -> OPEN -> FLUSHING -> OVER
 *  (clients)                  (servers start here)
 * Every state may go to OVER; closed() runs once nothing is in flight.
 */
enum conn_state {
	CONN_RESOLVING,
	CONN_CONNECTING,
	CONN_HANDSHAKE,
	CONN_OPEN,
	CONN_FLUSHING, /* conn_close(): output goes, input is ignored */
	CONN_OVER,
};

struct conn {
	struct loop *loop;
	const struct sys_ops *sys;
	const struct conn_handler *handler;
	void *ctx;
	struct tls *tls;
	enum conn_state state;
	int why;
	int fd;

	struct resolve *resolve; /* in flight, or its result */
	unsigned int addr_next;

	struct loop_op recv_op;
	struct loop_op send_op; /* connect, then send */
	struct buf in;		/* ciphertext not used yet */
	struct buf plain;	/* plaintext not used yet */
	struct buf out;		/* ciphertext to send next */
	struct buf sending;	/* ciphertext with the kernel */

	struct loop_timer timer; /* deadline and send stall */
	struct loop_timer kick;	 /* work for a later callback */
	uint64_t deadline_ns;
	uint64_t stall_ns;
	bool recv_own;		/* one into @in is under way */
	bool recv_stopping;	/* called back */
	unsigned int recv_full; /* buffers in a row that were */
	size_t counted;		/* in the loop's kept_bytes */
	bool peer_ended;	/* nothing more comes of it */
	int lost;		/* why nothing can be sent; 0: it can */
	bool lingering;		/* all is sent; reading to the end */
	bool ended_told;
	bool drained_due; /* all was sent at once: drained() follows */
	bool processing;  /* inside process() */
	bool closed_told;
	struct loop *moving_to;
	struct loop_task move_task;
	void (*arrived)(struct conn *c, void *ctx);

	char peer[PEER_BYTES];
	char reason[REASON_BYTES];
};

/* --- conn.c */

/* Ends it; closed(@why) follows once nothing of it is in flight. */
void conn_over(struct conn *c, int why);
/* closed() if it is over and quiet. */
void conn_finish(struct conn *c);
/* The first reason stays. */
void conn_set_reason(struct conn *c, const char *text);
/* Works on what there is, and goes on receiving. */
void conn_process(struct conn *c);
void conn_recv_start(struct conn *c);
/* Reserves the timers' slots, so that arming them later cannot fail. */
int conn_timers_reserve(struct conn *c) MUST_CHECK;

#endif
