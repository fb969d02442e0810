/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop as an ops table. io/loop_uring.c is the backend; tests use
 * tests/support/loop_fake.c (a simulated clock and no kernel). An epoll
 * backend for kernels and containers without io_uring fits the same table.
 *
 * One thread runs a loop and owns everything on it. The only call that is
 * safe from another thread is loop_post(). A turn has two phases: completions
 * are collected, then callbacks run; a callback never runs inside the call
 * that starts an operation, so a caller may hold half-updated state while it
 * submits. `now` is read once per turn.
 *
 * An operation is embedded in its owner and must outlive it: it ends with
 * exactly one call of done(), also when it is cancelled (-ECANCELED). Only
 * recv_many calls it before that too, and loop_op_busy() there tells which.
 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"

struct loop;
struct loop_op;
struct iovec;
struct sockaddr;

/* @res: as the system call's, negative errno on failure. */
typedef void loop_done_fn(struct loop_op *op, int res);

struct loop_op {
	loop_done_fn *done;
	/* The rest belongs to the loop. */
	struct list_node link;
	int res;
	unsigned int want; /* write_sync: bytes that must be written */
	int fd;		   /* recv_many */
	uint8_t state;	   /* 0 = idle */
	uint8_t pending;   /* completions still to come */
	bool many;	   /* recv_many */
	/* For done() of recv_many: what arrived; valid in that call. */
	const uint8_t *bytes;
};

static inline bool loop_op_busy(const struct loop_op *op)
{
	return op->state != 0;
}

struct loop_timer {
	void (*fired)(struct loop_timer *timer);
	uint64_t expires_ns; /* CLOCK_MONOTONIC */
	/* The rest belongs to the loop. */
	size_t slot; /* 1-based place in the heap, 0 = idle */
};

/* Work handed over from another thread. Runs once per post. */
struct loop_task {
	void (*run)(struct loop_task *task);
	struct list_node link;
};

struct loop_ops {
	/* Accepts one connection; res = the new descriptor. */
	void (*accept)(struct loop *l, struct loop_op *op, int fd);
	void (*connect)(struct loop *l, struct loop_op *op, int fd,
			const struct sockaddr *addr, unsigned int len);
	/* res = bytes, 0 at the peer's end of stream. */
	void (*recv)(struct loop *l, struct loop_op *op, int fd, void *bytes,
		     size_t len);
	/*
	 * Goes on receiving, into memory of the loop's: each done() has res
	 * bytes at op->bytes. Over with res <= 0, and whenever the operation
	 * is idle in done(). 0: the peer's end of stream; -ENOBUFS, -EAGAIN:
	 * nothing is wrong, start again.
	 */
	void (*recv_many)(struct loop *l, struct loop_op *op, int fd);
	/* May be short: res = bytes taken. No SIGPIPE. */
	void (*send)(struct loop *l, struct loop_op *op, int fd,
		     const void *bytes, size_t len);
	/*
	 * May be NULL. What the kernel takes at once, before this returns:
	 * bytes, 0 when it takes none or something is wrong (send() tells).
	 */
	size_t (*send_now)(struct loop *l, int fd, const void *bytes,
			   size_t len);
	void (*pread)(struct loop *l, struct loop_op *op, int fd, void *bytes,
		      size_t len, uint64_t offset);
	void (*pwrite)(struct loop *l, struct loop_op *op, int fd,
		       const void *bytes, size_t len, uint64_t offset);
	/*
	 * pwrite and then, only if all of it was written, fdatasync. res = @len
	 * once both are done; -EIO for a short write; else the errno of the
	 * half that failed.
	 */
	void (*write_sync)(struct loop *l, struct loop_op *op, int fd,
			   const void *bytes, size_t len, uint64_t offset);
	/* res = revents */
	void (*poll)(struct loop *l, struct loop_op *op, int fd,
		     unsigned int events);
	/* Asks for the end of @op; its done() still comes. Idle: no-op. */
	void (*cancel)(struct loop *l, struct loop_op *op);
	/* Runs one turn; waits up to @wait_ns for something to do. */
	int (*turn)(struct loop *l, uint64_t wait_ns);
	/* Any thread. Wakes the loop. */
	void (*post)(struct loop *l, struct loop_task *task);
	void (*free)(struct loop *l);
};

/* One to decrypt into, one to encrypt into. */
#define LOOP_SPARES 2

struct loop {
	const struct loop_ops *ops;
	uint64_t now_ns;	  /* CLOCK_MONOTONIC, this turn */
	struct loop_timer **heap; /* binary heap by expires_ns */
	size_t timer_count;
	size_t timer_size;
	bool stopped;
	/* Buffers that nobody uses now: see loop_spare_take(). */
	struct {
		void *memory;
		size_t bytes;
	} spares[LOOP_SPARES];
	unsigned int spare_count;
	/* Memory of connections for what was received and not used yet. */
	size_t kept_bytes;
	unsigned int hurried; /* see loop_hurry() */
};

/*
 * Somebody waits for something that ends on this loop, though it may run on
 * another thread: until loop_hurried() a turn does not wait long for many
 * completions together. Nests.
 */
static inline void loop_hurry(struct loop *l)
{
	l->hurried++;
}

static inline void loop_hurried(struct loop *l)
{
	l->hurried--;
}

static inline uint64_t loop_now_ns(const struct loop *l)
{
	return l->now_ns;
}

static inline void loop_accept(struct loop *l, struct loop_op *op, int fd,
			       loop_done_fn *done)
{
	op->done = done;
	l->ops->accept(l, op, fd);
}

static inline void loop_connect(struct loop *l, struct loop_op *op, int fd,
				const struct sockaddr *addr, unsigned int len,
				loop_done_fn *done)
{
	op->done = done;
	l->ops->connect(l, op, fd, addr, len);
}

static inline void loop_recv(struct loop *l, struct loop_op *op, int fd,
			     void *bytes, size_t len, loop_done_fn *done)
{
	op->done = done;
	l->ops->recv(l, op, fd, bytes, len);
}

static inline void loop_recv_many(struct loop *l, struct loop_op *op, int fd,
				  loop_done_fn *done)
{
	op->done = done;
	l->ops->recv_many(l, op, fd);
}

static inline void loop_send(struct loop *l, struct loop_op *op, int fd,
			     const void *bytes, size_t len, loop_done_fn *done)
{
	op->done = done;
	l->ops->send(l, op, fd, bytes, len);
}

static inline size_t loop_send_now(struct loop *l, int fd, const void *bytes,
				   size_t len)
{
	return l->ops->send_now ? l->ops->send_now(l, fd, bytes, len) : 0;
}

static inline void loop_pread(struct loop *l, struct loop_op *op, int fd,
			      void *bytes, size_t len, uint64_t offset,
			      loop_done_fn *done)
{
	op->done = done;
	l->ops->pread(l, op, fd, bytes, len, offset);
}

static inline void loop_pwrite(struct loop *l, struct loop_op *op, int fd,
			       const void *bytes, size_t len, uint64_t offset,
			       loop_done_fn *done)
{
	op->done = done;
	l->ops->pwrite(l, op, fd, bytes, len, offset);
}

static inline void loop_write_sync(struct loop *l, struct loop_op *op, int fd,
				   const void *bytes, size_t len,
				   uint64_t offset, loop_done_fn *done)
{
	op->done = done;
	l->ops->write_sync(l, op, fd, bytes, len, offset);
}

static inline void loop_poll(struct loop *l, struct loop_op *op, int fd,
			     unsigned int events, loop_done_fn *done)
{
	op->done = done;
	l->ops->poll(l, op, fd, events);
}

static inline void loop_cancel(struct loop *l, struct loop_op *op)
{
	l->ops->cancel(l, op);
}

static inline void loop_post(struct loop *l, struct loop_task *task)
{
	l->ops->post(l, task);
}

static inline int loop_turn(struct loop *l, uint64_t wait_ns)
{
	return l->ops->turn(l, wait_ns);
}

/* Loop thread: makes loop_run() return after this turn. */
static inline void loop_stop(struct loop *l)
{
	l->stopped = true;
}

/* Turns until loop_stop(). Return: 0 or the -errno of a turn. */
int loop_run(struct loop *l);

/**
 * loop_timer_set() - arm or re-arm a one-shot timer
 * @expires_ns: absolute CLOCK_MONOTONIC; in the past = next turn
 *
 * Return: 0, or -ENOMEM when the heap cannot grow (an armed timer is re-armed
 * without allocating, so only the first arming of each can fail).
 */
int loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t expires_ns,
		   void (*fired)(struct loop_timer *)) MUST_CHECK;
/* Disarms; no-op when idle. */
void loop_timer_cancel(struct loop *l, struct loop_timer *t);

static inline bool loop_timer_armed(const struct loop_timer *t)
{
	return t->slot != 0;
}

/*
 * Memory that a callback needs and mostly no longer needs when it returns: one
 * heap block of @ret_bytes, the caller's until it is given back or freed; NULL
 * when there is none. The last that was given, since it is warm. Loop thread.
 */
void *loop_spare_take(struct loop *l, size_t *ret_bytes);
/* Gives a heap block; freed when there are LOOP_SPARES already. */
void loop_spare_give(struct loop *l, void *memory, size_t bytes);

/* For backends: runs what expired by now_ns; the next expiry or UINT64_MAX. */
void loop_timers_run(struct loop *l);
uint64_t loop_timers_next_ns(const struct loop *l);
/* Frees what is above; last. */
void loop_fini(struct loop *l);

/*
 * Ends the loop. What was cancelled and is still on its way ends here, so call
 * it on the loop's thread then; nothing else may be in flight. Accepts NULL,
 * returns NULL.
 */
struct loop *loop_free(struct loop *l);
DEFINE_AUTO(loop_free, struct loop *)

#endif
