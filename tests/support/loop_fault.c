/* SPDX-License-Identifier: Apache-2.0 */
#include "support/loop_fault.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/sys.h"
#include "io/loop_uring.h"
#include "support/fault_counter.h"

/* Names that ld's --wrap gives. */
int __real_loop_uring_new(const struct sys_ops *sys, unsigned int entries,
			  struct loop **ret_loop);
int __wrap_loop_uring_new(const struct sys_ops *sys, unsigned int entries,
			  struct loop **ret_loop);

static struct fault_counter counter = {.lock = PTHREAD_MUTEX_INITIALIZER};
static enum loop_fault_mode fault_mode;
static _Atomic uint64_t wait_max_ns = UINT64_MAX;
static const struct loop_ops *real;

/* The one operation that fails. */
static struct {
	struct loop_op *op;
	loop_done_fn *done;
	int err;
	bool accepts;
	struct loop *loop; /* UNDONE: task is on its way */
	struct loop_task task;
} victim;

static void fail_done(struct loop_op *op, int res)
{
	if (victim.accepts && res >= 0)
		(void)close(res);
	victim.op = NULL;
	victim.done(op, victim.err);
}

static void fail_posted(struct loop_task *task)
{
	struct loop_op *op = victim.op;

	(void)task;
	victim.loop = NULL;
	victim.op = NULL;
	op->state = 0;
	victim.done(op, victim.err);
}

/* Return: @op has been dealt with. */
static bool fails(struct loop *l, struct loop_op *op, const char *name,
		  bool accepts)
{
	int err = fault_counter_enter(&counter, name);

	if (err == 0)
		return false;
	victim.op = op;
	victim.done = op->done;
	victim.err = err;
	victim.accepts = accepts;
	if (fault_mode == LOOP_FAULT_DONE) {
		op->done = fail_done;
		return false;
	}
	op->state = 1; /* busy */
	victim.loop = l;
	victim.task.run = fail_posted;
	real->post(l, &victim.task);
	return true;
}

static void fault_accept(struct loop *l, struct loop_op *op, int fd)
{
	if (!fails(l, op, "accept", true))
		real->accept(l, op, fd);
}

static void fault_connect(struct loop *l, struct loop_op *op, int fd,
			  const struct sockaddr *addr, unsigned int len)
{
	if (!fails(l, op, "connect", false))
		real->connect(l, op, fd, addr, len);
}

static void fault_recv(struct loop *l, struct loop_op *op, int fd, void *bytes,
		       size_t len)
{
	if (!fails(l, op, "recv", false))
		real->recv(l, op, fd, bytes, len);
}

static void fault_recv_many(struct loop *l, struct loop_op *op, int fd)
{
	if (!fails(l, op, "recv", false))
		real->recv_many(l, op, fd);
}

static void fault_send(struct loop *l, struct loop_op *op, int fd,
		       const void *bytes, size_t len)
{
	if (!fails(l, op, "send", false))
		real->send(l, op, fd, bytes, len);
}

/*
 * Has no errors of its own: what the kernel did not take is sent again, and
 * that tells. So it fails by taking nothing, or half.
 */
static size_t fault_send_now(struct loop *l, int fd, const void *bytes,
			     size_t len)
{
	if (fault_counter_enter(&counter, "send_now"))
		len = fault_mode == LOOP_FAULT_DONE ? len / 2 : 0;
	return len ? real->send_now(l, fd, bytes, len) : 0;
}

static void fault_pread(struct loop *l, struct loop_op *op, int fd, void *bytes,
			size_t len, uint64_t offset)
{
	if (offset == UINT64_MAX || !fails(l, op, "pread", false))
		real->pread(l, op, fd, bytes, len, offset);
}

static void fault_pwrite(struct loop *l, struct loop_op *op, int fd,
			 const void *bytes, size_t len, uint64_t offset)
{
	if (!fails(l, op, "pwrite", false))
		real->pwrite(l, op, fd, bytes, len, offset);
}

static void fault_write_sync(struct loop *l, struct loop_op *op, int fd,
			     const void *bytes, size_t len, uint64_t offset)
{
	if (!fails(l, op, "write_sync", false))
		real->write_sync(l, op, fd, bytes, len, offset);
}

static void fault_poll(struct loop *l, struct loop_op *op, int fd,
		       unsigned int events)
{
	if (!fails(l, op, "poll", false))
		real->poll(l, op, fd, events);
}

static void fault_cancel(struct loop *l, struct loop_op *op)
{
	if (victim.loop != l || victim.op != op)
		real->cancel(l, op);
}

static int fault_turn(struct loop *l, uint64_t wait_ns)
{
	return real->turn(l, MIN(wait_ns, wait_max_ns));
}

static void fault_post(struct loop *l, struct loop_task *task)
{
	real->post(l, task);
}

static void fault_free(struct loop *l)
{
	while (victim.loop == l) {
		if (real->turn(l, 0) < 0)
			abort();
	}
	real->free(l);
}

static const struct loop_ops fault_ops = {
	.accept = fault_accept,
	.connect = fault_connect,
	.recv = fault_recv,
	.recv_many = fault_recv_many,
	.send = fault_send,
	.send_now = fault_send_now,
	.pread = fault_pread,
	.pwrite = fault_pwrite,
	.write_sync = fault_write_sync,
	.poll = fault_poll,
	.cancel = fault_cancel,
	.turn = fault_turn,
	.post = fault_post,
	.free = fault_free,
};

int __wrap_loop_uring_new(const struct sys_ops *sys, unsigned int entries,
			  struct loop **ret_loop)
{
	int r = __real_loop_uring_new(sys, entries, ret_loop);

	if (r < 0 || sys == sys_posix())
		return r;
	(void)pthread_mutex_lock(&counter.lock);
	real = (*ret_loop)->ops; /* the same for each */
	(void)pthread_mutex_unlock(&counter.lock);
	(*ret_loop)->ops = &fault_ops;
	return r;
}

void loop_fault_arm(unsigned long n, int err, enum loop_fault_mode mode)
{
	fault_mode = mode;
	fault_counter_arm(&counter, n, err);
}

const char *loop_fault_where(void)
{
	return counter.where;
}

unsigned long loop_fault_calls(void)
{
	return counter.calls;
}

void loop_fault_wait_max(uint64_t ns)
{
	wait_max_ns = ns;
}
