/* SPDX-License-Identifier: Apache-2.0 */
#include "support/loop_fake.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FD_BASE (1 << 20)
#define PAIRS_MAX 64
#define PIPE_BYTES 65536u
#define REAL_WAIT_S 10

enum kind { PREAD, PWRITE, WRITE_SYNC, RECV, SEND, POLL };

struct entry {
	struct list_node link;
	struct loop_op *op;
	enum kind kind;
	int fd;
	void *bytes;
	size_t len;
	uint64_t offset;
	uint64_t due_ns;
	bool cancelled;
};

struct fake_pipe { /* one direction */
	uint8_t bytes[PIPE_BYTES];
	size_t len;
	bool closed; /* the writing end */
	bool broken; /* the reading end */
};

struct fake {
	struct loop base;
	const struct sys_ops *sys;
	uint64_t random;
	uint64_t delay_ns_max;
	bool threads;
	struct list_node entries;
	pthread_mutex_t lock;
	pthread_cond_t posted;
	struct list_node posts;
	unsigned long fail_at;
	unsigned long calls;
	int fail_err;
	bool fail_short;
	bool fired;
	struct fake_pipe *pipes[2 * PAIRS_MAX]; /* by reading end */
	int pipe_count;
	uint8_t received[PIPE_BYTES];
};

static struct fake *fake_of(struct loop *l)
{
	return container_of(l, struct fake, base);
}

uint64_t loop_fake_random(struct loop *l, uint64_t below)
{
	struct fake *f = fake_of(l);
	uint64_t z = (f->random += 0x9e3779b97f4a7c15ull); /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	z ^= z >> 31;
	return below ? z % below : 0;
}

/* --- starting --- */

static void start(struct loop *l, struct loop_op *op, enum kind kind, int fd,
		  void *bytes, size_t len, uint64_t offset)
{
	struct fake *f = fake_of(l);
	struct entry *e = calloc(1, sizeof(*e));

	if (!e || loop_op_busy(op))
		abort();
	op->state = 1;
	e->op = op;
	e->kind = kind;
	e->fd = fd;
	e->bytes = bytes;
	e->len = len;
	e->offset = offset;
	e->due_ns = l->now_ns + loop_fake_random(l, f->delay_ns_max);
	list_add_tail(&f->entries, &e->link);
}

static void fake_pread(struct loop *l, struct loop_op *op, int fd, void *bytes,
		       size_t len, uint64_t offset)
{
	start(l, op, PREAD, fd, bytes, len, offset);
}

static void fake_pwrite(struct loop *l, struct loop_op *op, int fd,
			const void *bytes, size_t len, uint64_t offset)
{
	start(l, op, PWRITE, fd, (void *)(uintptr_t)bytes, len, offset);
}

static void fake_write_sync(struct loop *l, struct loop_op *op, int fd,
			    const void *bytes, size_t len, uint64_t offset)
{
	start(l, op, WRITE_SYNC, fd, (void *)(uintptr_t)bytes, len, offset);
}

static void fake_recv(struct loop *l, struct loop_op *op, int fd, void *bytes,
		      size_t len)
{
	start(l, op, RECV, fd, bytes, len, 0);
}

/* Each one ends with what it got. */
static void fake_recv_many(struct loop *l, struct loop_op *op, int fd)
{
	struct fake *f = fake_of(l);

	op->bytes = f->received;
	start(l, op, RECV, fd, f->received, sizeof(f->received), 0);
}

static void fake_send(struct loop *l, struct loop_op *op, int fd,
		      const void *bytes, size_t len)
{
	start(l, op, SEND, fd, (void *)(uintptr_t)bytes, len, 0);
}

static void fake_poll(struct loop *l, struct loop_op *op, int fd,
		      unsigned int events)
{
	start(l, op, POLL, fd, NULL, 0, events);
}

static void fake_accept(struct loop *l, struct loop_op *op, int fd)
{
	start(l, op, RECV, fd, NULL, 0, 0);
}

static void fake_connect(struct loop *l, struct loop_op *op, int fd,
			 const struct sockaddr *addr, unsigned int len)
{
	(void)addr;
	(void)len;
	start(l, op, RECV, fd, NULL, 0, 0);
}

static void fake_cancel(struct loop *l, struct loop_op *op)
{
	struct fake *f = fake_of(l);
	struct list_node *n;

	for (n = f->entries.next; n != &f->entries; n = n->next) {
		struct entry *e = list_entry(n, struct entry, link);

		if (e->op == op) {
			e->cancelled = true;
			e->due_ns = l->now_ns;
		}
	}
}

/* --- pairs --- */

void loop_fake_pair(struct loop *l, int ret_fds[2])
{
	struct fake *f = fake_of(l);
	int i;

	if (f->pipe_count + 2 > 2 * PAIRS_MAX)
		abort();
	for (i = 0; i < 2; i++) {
		f->pipes[f->pipe_count] = calloc(1, sizeof(struct fake_pipe));
		if (!f->pipes[f->pipe_count])
			abort();
		ret_fds[i] = FD_BASE + f->pipe_count++;
	}
}

static struct fake_pipe *pipe_of(struct fake *f, int fd, bool reading)
{
	int i = fd - FD_BASE;

	if (i < 0 || i >= f->pipe_count)
		return NULL;
	return f->pipes[reading ? i : i ^ 1];
}

void loop_fake_close(struct loop *l, int fd)
{
	struct fake *f = fake_of(l);
	struct fake_pipe *in = pipe_of(f, fd, true);
	struct fake_pipe *out = pipe_of(f, fd, false);

	if (!in)
		abort();
	in->broken = true;
	out->closed = true;
}

static bool pair_ready(struct fake *f, const struct entry *e)
{
	struct fake_pipe *in = pipe_of(f, e->fd, true);
	struct fake_pipe *out = pipe_of(f, e->fd, false);
	bool readable;
	bool writable;

	if (!in)
		return true; /* -EOPNOTSUPP */
	readable = in->len || in->closed;
	writable = out->len < PIPE_BYTES || out->broken;
	if (e->kind == RECV)
		return readable;
	if (e->kind == SEND)
		return writable;
	return (e->offset & POLLIN && readable) ||
	       (e->offset & POLLOUT && writable);
}

static int pair_do(struct fake *f, const struct entry *e)
{
	struct fake_pipe *in = pipe_of(f, e->fd, true);
	struct fake_pipe *out = pipe_of(f, e->fd, false);
	size_t n;

	if (!in || !e->len)
		return e->kind == POLL && in
			       ? (in->len || in->closed ? POLLIN : 0) |
					 (out->len < PIPE_BYTES ? POLLOUT : 0)
			       : -EOPNOTSUPP;
	if (e->kind == RECV) {
		n = MIN(e->len, in->len);
		if (n)
			n = 1 + loop_fake_random(&f->base, n);
		memcpy(e->bytes, in->bytes, n);
		memmove(in->bytes, in->bytes + n, in->len - n);
		in->len -= n;
		return (int)n;
	}
	if (out->broken)
		return -EPIPE;
	n = 1 + loop_fake_random(&f->base, MIN(e->len, PIPE_BYTES - out->len));
	memcpy(out->bytes + out->len, e->bytes, n);
	out->len += n;
	return (int)n;
}

/* --- completing --- */

static int file_do(struct fake *f, const struct entry *e, size_t len)
{
	ssize_t n;
	int r;

	if (e->kind == PREAD)
		return (int)f->sys->pread(e->fd, e->bytes, len,
					  (off_t)e->offset);
	n = f->sys->pwrite(e->fd, e->bytes, len, (off_t)e->offset);
	if (e->kind == PWRITE || n < 0)
		return (int)n;
	if ((size_t)n != e->len)
		return -EIO;
	r = f->sys->fdatasync(e->fd);
	return r < 0 ? r : (int)n;
}

static int entry_do(struct fake *f, const struct entry *e)
{
	bool fails = ++f->calls == f->fail_at;
	bool file = e->kind == PREAD || e->kind == PWRITE ||
		    e->kind == WRITE_SYNC;

	f->fired = f->fired || fails;
	if (e->cancelled)
		return -ECANCELED;
	if (fails && !f->fail_short)
		return f->fail_err;
	if (file)
		return file_do(f, e, fails ? e->len / 2 : e->len);
	return pair_do(f, e);
}

/* Ready at @now; operations on pairs wait for their peer, too. */
static bool entry_ready(struct fake *f, const struct entry *e)
{
	if (e->due_ns > f->base.now_ns)
		return false;
	return e->cancelled || e->kind == PREAD || e->kind == PWRITE ||
	       e->kind == WRITE_SYNC || pair_ready(f, e);
}

/* Collects first, calls back afterwards, as the real loop does. */
static bool complete_ready(struct fake *f)
{
	struct list_node ready;
	struct list_node *n;
	struct list_node *tmp;

	list_init(&ready);
	list_for_each_safe(n, tmp, &f->entries)
	{
		struct entry *e = list_entry(n, struct entry, link);

		if (!entry_ready(f, e))
			continue;
		list_del(n);
		if (f->delay_ns_max && loop_fake_random(&f->base, 2))
			list_add_head(&ready, n);
		else
			list_add_tail(&ready, n);
		e->op->res = entry_do(f, e);
	}
	if (list_empty(&ready))
		return false;
	while ((n = list_pop(&ready))) {
		struct entry *e = list_entry(n, struct entry, link);
		struct loop_op *op = e->op;

		free(e);
		op->state = 0;
		op->done(op, op->res);
	}
	return true;
}

static bool run_posts(struct fake *f)
{
	struct list_node tasks;
	struct list_node *n;
	bool any;

	list_init(&tasks);
	(void)pthread_mutex_lock(&f->lock);
	list_splice_tail(&tasks, &f->posts);
	(void)pthread_mutex_unlock(&f->lock);
	any = !list_empty(&tasks);
	while ((n = list_pop(&tasks))) {
		struct loop_task *t = list_entry(n, struct loop_task, link);

		t->run(t);
	}
	return any;
}

static uint64_t next_due(struct fake *f)
{
	uint64_t due = loop_timers_next_ns(&f->base);
	struct list_node *n;

	for (n = f->entries.next; n != &f->entries; n = n->next) {
		struct entry *e = list_entry(n, struct entry, link);

		if (e->due_ns > f->base.now_ns)
			due = MIN(due, e->due_ns);
		else if (entry_ready(f, e))
			return f->base.now_ns;
	}
	return due;
}

static bool posts_waiting(struct fake *f)
{
	bool any;

	(void)pthread_mutex_lock(&f->lock);
	any = !list_empty(&f->posts);
	(void)pthread_mutex_unlock(&f->lock);
	return any;
}

static int wait_for_posts(struct fake *f)
{
	struct timespec ts;
	int r = 0;

	if (!f->threads)
		return -EDEADLK;
	(void)clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_sec += REAL_WAIT_S;
	(void)pthread_mutex_lock(&f->lock);
	while (list_empty(&f->posts) && !r)
		r = pthread_cond_timedwait(&f->posted, &f->lock, &ts);
	(void)pthread_mutex_unlock(&f->lock);
	return r ? -EDEADLK : 0;
}

static int fake_turn(struct loop *l, uint64_t wait_ns)
{
	struct fake *f = fake_of(l);
	uint64_t due = next_due(f);
	uint64_t until;
	int r;

	if (!posts_waiting(f) && due > l->now_ns) {
		until = wait_ns > UINT64_MAX - l->now_ns ? UINT64_MAX
							 : l->now_ns + wait_ns;
		if (due == UINT64_MAX && until == UINT64_MAX) {
			r = wait_for_posts(f);
			if (r < 0)
				return r;
		} else {
			l->now_ns = MIN(due, until);
		}
	}
	(void)run_posts(f);
	(void)complete_ready(f);
	loop_timers_run(l);
	return 0;
}

static void fake_post(struct loop *l, struct loop_task *task)
{
	struct fake *f = fake_of(l);

	(void)pthread_mutex_lock(&f->lock);
	list_add_tail(&f->posts, &task->link);
	(void)pthread_cond_signal(&f->posted);
	(void)pthread_mutex_unlock(&f->lock);
}

static void fake_free(struct loop *l)
{
	struct fake *f = fake_of(l);
	int i;

	if (!list_empty(&f->entries))
		abort(); /* an operation would outlive its loop */
	for (i = 0; i < f->pipe_count; i++)
		free(f->pipes[i]);
	loop_fini(l);
	(void)pthread_mutex_destroy(&f->lock);
	(void)pthread_cond_destroy(&f->posted);
	free(f);
}

static const struct loop_ops fake_ops = {
	.accept = fake_accept,
	.connect = fake_connect,
	.recv = fake_recv,
	.recv_many = fake_recv_many,
	.send = fake_send,
	.pread = fake_pread,
	.pwrite = fake_pwrite,
	.write_sync = fake_write_sync,
	.poll = fake_poll,
	.cancel = fake_cancel,
	.turn = fake_turn,
	.post = fake_post,
	.free = fake_free,
};

struct loop *loop_fake_new(const struct loop_fake_config *config)
{
	struct fake *f = calloc(1, sizeof(*f));

	if (!f)
		abort();
	f->base.ops = &fake_ops;
	f->base.now_ns = config->start_ns;
	f->sys = config->sys ? config->sys : sys_posix();
	f->random = config->seed;
	f->delay_ns_max = config->delay_ns_max;
	f->threads = config->threads;
	list_init(&f->entries);
	list_init(&f->posts);
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_cond_init(&f->posted, NULL);
	return &f->base;
}

static void arm(struct loop *l, unsigned long n, int err, bool shorten)
{
	struct fake *f = fake_of(l);

	f->fail_at = n;
	f->fail_err = err;
	f->fail_short = shorten;
	f->calls = 0;
	f->fired = false;
}

void loop_fake_fail(struct loop *l, unsigned long n, int err)
{
	arm(l, n, err, false);
}

void loop_fake_shorten(struct loop *l, unsigned long n)
{
	arm(l, n, 0, true);
}

bool loop_fake_fired(struct loop *l)
{
	return fake_of(l)->fired;
}

unsigned long loop_fake_calls(struct loop *l)
{
	return fake_of(l)->calls;
}

size_t loop_fake_busy(struct loop *l)
{
	struct fake *f = fake_of(l);
	struct list_node *n;
	size_t count = 0;

	for (n = f->entries.next; n != &f->entries; n = n->next)
		count++;
	return count;
}

void loop_fake_advance(struct loop *l, uint64_t ns)
{
	l->now_ns += ns;
}

int loop_fake_until(struct loop *l, const bool *done)
{
	while (!*done) {
		int r = loop_turn(l, UINT64_MAX);

		if (r < 0)
			return r;
	}
	return 0;
}
