/* SPDX-License-Identifier: Apache-2.0 */
#include "io/loop_uring.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/limits.h"

enum { OP_IDLE = 0, OP_IN_FLIGHT, OP_COMPLETED };

/* Low bits of user_data. */
#define TAG_SYNC 1u /* the fdatasync half of a write_sync */
#define TAG_MANY 2u /* a recv_many */

#define TAG_MASK ((uintptr_t)3)

#define RECV_RING_ALIGN 4096u
#define RECV_SPARE 3u
#define RECV_GROUP 0 /* of the buffers that a recv_many takes */

/* A buffer that something arrived in, until its receiver has seen it. */
struct arrival {
	struct loop_op op; /* its place among the completed ones */
	struct loop_uring *uring;
	struct loop_op *to;
	bool last; /* the receive is over with it */
};

struct loop_uring {
	struct loop loop;
	const struct sys_ops *sys;
	struct io_uring ring;
	bool enabled;
	size_t in_flight;
	unsigned int collected; /* completions of the last turn */
	uint64_t per_gather;	/* of them in LOOP_GATHER_NS, << 8 */
	struct list_node completed;
	/* Receiving; all NULL until the first recv_many. */
	uint8_t *recv_bytes;	 /* @recv_count buffers; else one */
	unsigned int recv_count; /* 0: the kernel cannot choose one */
	struct io_uring_buf_ring *recv_ring;
	struct arrival *arrivals; /* by buffer */
	unsigned int recv_ready;  /* buffers that the kernel may take */
	unsigned int recv_want;	  /* as many are enough */
	unsigned int recv_turn;	  /* taken in this turn */
	uint64_t recv_mean;	  /* of turns that took some, << 8 */
	unsigned short recv_idle[LOOP_RECV_BUFFERS];
	unsigned int recv_idle_count;
	bool recv_plain;	  /* as if it could not */
	/* Wake-up from other threads. */
	int wake_fd;
	uint64_t wake_count;
	struct loop_op wake_op;
	pthread_mutex_t lock;
	struct list_node posted; /* under lock */
	bool waking;		 /* under lock: a wake is on its way */
};

static struct loop_uring *uring(struct loop *l)
{
	return container_of(l, struct loop_uring, loop);
}

/*
 * io_uring_enable_rings(): declared by liburing 2.3 (Debian 12) but left out
 * of its shared object. Use the library's once 2.4 is the floor.
 */
static int enable(struct loop_uring *u)
{
	long r = syscall(__NR_io_uring_register, u->ring.ring_fd,
			 IORING_REGISTER_ENABLE_RINGS, NULL, 0);

	return r < 0 ? -errno : 0;
}

static int ready(struct loop_uring *u)
{
	int r;

	if (u->enabled)
		return 0;
	/* The thread that runs the loop becomes the one submitter. */
	r = enable(u);
	if (r == 0)
		u->enabled = true;
	return r;
}

static int submit(struct loop_uring *u)
{
	int r = ready(u);

	if (r < 0)
		return r;
	r = io_uring_submit(&u->ring);
	return r == -EBUSY || r == -EAGAIN || r == -EINTR ? 0 : MIN(r, 0);
}

/*
 * Room for @count entries in one batch: a link chain must not be cut by a
 * submission. The queue only fills when thousands of operations start in one
 * turn; the kernel takes them at once.
 */
static void make_room(struct loop_uring *u, unsigned int count)
{
	while (io_uring_sq_space_left(&u->ring) < count) {
		if (submit(u) < 0)
			abort(); /* the ring itself is broken */
	}
}

static struct io_uring_sqe *start(struct loop *l, struct loop_op *op)
{
	struct loop_uring *u = uring(l);

	assert(op->state == OP_IDLE);
	make_room(u, 2);
	op->state = OP_IN_FLIGHT;
	op->pending = 1;
	op->res = 0;
	op->many = false;
	u->in_flight++;
	return io_uring_get_sqe(&u->ring);
}

static void tag(struct io_uring_sqe *sqe, struct loop_op *op, uintptr_t bits)
{
	io_uring_sqe_set_data64(sqe, (uintptr_t)op | bits);
}

static void uring_accept(struct loop *l, struct loop_op *op, int fd)
{
	struct io_uring_sqe *sqe = start(l, op);

	io_uring_prep_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC);
	tag(sqe, op, 0);
}

static void uring_connect(struct loop *l, struct loop_op *op, int fd,
			  const struct sockaddr *addr, unsigned int len)
{
	struct io_uring_sqe *sqe = start(l, op);

	io_uring_prep_connect(sqe, fd, addr, len);
	tag(sqe, op, 0);
}

static void uring_recv(struct loop *l, struct loop_op *op, int fd, void *bytes,
		       size_t len)
{
	struct io_uring_sqe *sqe = start(l, op);

	io_uring_prep_recv(sqe, fd, bytes, len, 0);
	tag(sqe, op, 0);
}

/* --- receiving into the loop's memory --- */

static void buffer_add(struct loop_uring *u, unsigned int id)
{
	u->recv_ready++;
	io_uring_buf_ring_add(u->recv_ring,
			      u->recv_bytes + (size_t)id * LOOP_RECV_BYTES,
			      LOOP_RECV_BYTES, (unsigned short)id,
			      io_uring_buf_ring_mask(u->recv_count), 0);
	io_uring_buf_ring_advance(u->recv_ring, 1);
}

/*
 * The kernel takes buffers in turn, those that were used longest ago first: a
 * few of them stay in the processor's caches, all of them do not. So it has
 * RECV_SPARE times as many as a turn takes, and the others wait. Where that is
 * not enough a receive is started again, which costs less than cold memory.
 */
static void recv_give(struct loop_uring *u, unsigned int id)
{
	if (u->recv_ready < u->recv_want)
		buffer_add(u, id);
	else
		u->recv_idle[u->recv_idle_count++] = (unsigned short)id;
}

static void recv_top_up(struct loop_uring *u)
{
	while (u->recv_idle_count && u->recv_ready < u->recv_want)
		recv_give(u, u->recv_idle[--u->recv_idle_count]);
}

/* After a turn's arrivals were collected. */
static void recv_learn(struct loop_uring *u)
{
	if (!u->recv_turn)
		return;
	u->recv_mean += ((uint64_t)u->recv_turn << 8) / 16;
	u->recv_mean -= u->recv_mean / 16;
	u->recv_turn = 0;
	u->recv_want = MAX((unsigned int)(RECV_SPARE * u->recv_mean >> 8),
			   LOOP_RECV_BUFFERS_MIN);
}

/*
 * Something arrived that no buffer was left for. One more is given whatever is
 * wanted: so it goes on even if a count of ours were wrong.
 */
static void recv_short(struct loop_uring *u)
{
	u->recv_mean = MIN(u->recv_mean + u->recv_mean / 16,
			   (uint64_t)u->recv_count << 8);
	if (u->recv_idle_count)
		buffer_add(u, u->recv_idle[--u->recv_idle_count]);
}

static int recv_register(struct loop_uring *u, unsigned int count)
{
	struct io_uring_buf_reg reg = {
		.ring_addr = (uintptr_t)u->recv_ring,
		.ring_entries = count,
		.bgid = RECV_GROUP,
	};
	unsigned int i;
	int r;

	memset(u->recv_ring, 0, count * sizeof(struct io_uring_buf));
	r = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (r < 0)
		return r;
	u->recv_count = count;
	u->recv_want = MIN(count, LOOP_RECV_BUFFERS_MIN);
	for (i = 0; i < count; i++) {
		u->arrivals[i].uring = u;
		recv_give(u, i);
	}
	return 0;
}

static void recv_fini(struct loop_uring *u)
{
	free(u->arrivals);
	free(u->recv_ring);
	free(u->recv_bytes);
}

/*
 * Where the kernel takes a buffer itself when something arrives, a connection
 * that waits has none and is not armed again for each record. DEFER_TASKRUN
 * stands for it: 6.1 has both, and what is called back gets no more than there
 * are buffers, since nothing arrives outside of a turn. Elsewhere a
 * connection is polled, and read into one buffer.
 */
static int recv_init(struct loop_uring *u)
{
	unsigned int entries = u->ring.sq.ring_entries;
	unsigned int count = LOOP_RECV_BUFFERS;
	size_t ring_bytes;

	if (u->recv_bytes)
		return 0;
	while (count > entries)
		count /= 2;
	if (!(u->ring.flags & IORING_SETUP_DEFER_TASKRUN) || u->recv_plain)
		count = 1;
	u->recv_bytes = malloc((size_t)count * LOOP_RECV_BYTES);
	if (!u->recv_bytes)
		return -ENOMEM;
	if (count == 1)
		return 0;
	ring_bytes =
		ALIGN_UP(count * sizeof(struct io_uring_buf), RECV_RING_ALIGN);
	u->recv_ring = aligned_alloc(RECV_RING_ALIGN, ring_bytes);
	u->arrivals = calloc(count, sizeof(*u->arrivals));
	if (!u->recv_ring || !u->arrivals || recv_register(u, count) < 0) {
		free(TAKE_PTR(u->recv_ring));
		free(TAKE_PTR(u->arrivals));
	}
	return 0;
}

static void failed_later(struct loop_uring *u, struct loop_op *op, int err)
{
	op->state = OP_COMPLETED;
	op->res = err;
	u->in_flight++;
	list_add_tail(&u->completed, &op->link);
}

static void uring_recv_many(struct loop *l, struct loop_op *op, int fd)
{
	struct loop_uring *u = uring(l);
	struct io_uring_sqe *sqe;
	int r = recv_init(u);

	if (r < 0) {
		failed_later(u, op, r);
		return;
	}
	sqe = start(l, op);
	op->many = true;
	op->fd = fd;
	if (u->recv_count) {
		io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = RECV_GROUP;
		/* It was read to its end, or is new: nothing is there yet. */
		sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
	} else {
		io_uring_prep_poll_add(sqe, fd, POLLIN);
	}
	tag(sqe, op, TAG_MANY);
}

static void arrived(struct loop_op *op, int res)
{
	struct arrival *a = container_of(op, struct arrival, op);
	struct loop_uring *u = a->uring;
	unsigned int id = (unsigned int)(a - u->arrivals);
	struct loop_op *to = a->to;

	if (a->last) {
		to->state = OP_IDLE;
		u->in_flight--;
	}
	to->bytes = u->recv_bytes + (size_t)id * LOOP_RECV_BYTES;
	to->done(to, res);
	/* @to may be gone. */
	recv_give(u, id);
}

static void collect_many(struct loop_uring *u, struct loop_op *op,
			 const struct io_uring_cqe *cqe)
{
	struct arrival *a;

	if (!(cqe->flags & IORING_CQE_F_BUFFER)) {
		if (cqe->res == -ENOBUFS)
			recv_short(u);
		op->res = cqe->res;
		op->state = OP_COMPLETED;
		list_add_tail(&u->completed, &op->link);
		return;
	}
	u->recv_ready--;
	u->recv_turn++;
	a = &u->arrivals[cqe->flags >> IORING_CQE_BUFFER_SHIFT];
	a->to = op;
	a->last = !(cqe->flags & IORING_CQE_F_MORE);
	a->op.done = arrived;
	a->op.res = cqe->res;
	a->op.state = OP_COMPLETED;
	u->in_flight++;
	list_add_tail(&u->completed, &a->op.link);
}

/* The poll of @op is over: what there is. */
static int read_polled(struct loop_uring *u, struct loop_op *op, int res)
{
	ssize_t n;

	if (res < 0)
		return res;
	op->bytes = u->recv_bytes;
	n = recv(op->fd, u->recv_bytes, LOOP_RECV_BYTES, MSG_DONTWAIT);
	if (n >= 0)
		return (int)n;
	return errno == EINTR ? -EAGAIN : -errno;
}

void loop_uring_recv_plain(struct loop *l)
{
	assert(!uring(l)->recv_bytes);
	uring(l)->recv_plain = true;
}

static void uring_send(struct loop *l, struct loop_op *op, int fd,
		       const void *bytes, size_t len)
{
	struct io_uring_sqe *sqe = start(l, op);

	io_uring_prep_send(sqe, fd, bytes, len, MSG_NOSIGNAL);
	tag(sqe, op, 0);
}

static size_t uring_send_now(struct loop *l, int fd, const void *bytes,
			     size_t len)
{
	ssize_t n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)l;
	return n > 0 ? (size_t)n : 0;
}

static void uring_pread(struct loop *l, struct loop_op *op, int fd, void *bytes,
			size_t len, uint64_t offset)
{
	struct io_uring_sqe *sqe = start(l, op);

	io_uring_prep_read(sqe, fd, bytes, (unsigned int)len, offset);
	tag(sqe, op, 0);
}

static void uring_pwrite(struct loop *l, struct loop_op *op, int fd,
			 const void *bytes, size_t len, uint64_t offset)
{
	struct io_uring_sqe *sqe = start(l, op);

	io_uring_prep_write(sqe, fd, bytes, (unsigned int)len, offset);
	tag(sqe, op, 0);
}

static void uring_write_sync(struct loop *l, struct loop_op *op, int fd,
			     const void *bytes, size_t len, uint64_t offset)
{
	struct io_uring_sqe *sqe = start(l, op);

	op->pending = 2;
	op->want = (unsigned int)len;
	/* A short write breaks the link like an error (io_uring_enter(2)). */
	io_uring_prep_write(sqe, fd, bytes, (unsigned int)len, offset);
	sqe->flags |= IOSQE_IO_LINK;
	tag(sqe, op, 0);
	sqe = io_uring_get_sqe(&uring(l)->ring);
	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	tag(sqe, op, TAG_SYNC);
}

static void uring_poll(struct loop *l, struct loop_op *op, int fd,
		       unsigned int events)
{
	struct io_uring_sqe *sqe = start(l, op);

	io_uring_prep_poll_add(sqe, fd, events);
	tag(sqe, op, 0);
}

static void uring_cancel(struct loop *l, struct loop_op *op)
{
	struct io_uring_sqe *sqe;

	if (op->state != OP_IN_FLIGHT)
		return;
	make_room(uring(l), 1);
	sqe = io_uring_get_sqe(&uring(l)->ring);
	io_uring_prep_cancel64(sqe, (uintptr_t)op | (op->many ? TAG_MANY : 0),
			       0);
	io_uring_sqe_set_data64(sqe, 0); /* its own result says nothing */
}

/* Folds one completion into its operation; true when the operation is over. */
static bool op_result(struct loop_op *op, bool sync, int res)
{
	if (sync) {
		if (res < 0 && op->res >= 0)
			op->res = res;
	} else if (op->pending == 2 && res >= 0 &&
		   (unsigned int)res != op->want) {
		op->res = -EIO;
	} else if (op->res >= 0) {
		op->res = res;
	}
	return --op->pending == 0;
}

/* Phase one: collect; no callback runs here. */
static void collect(struct loop_uring *u)
{
	struct io_uring_cqe *cqe;
	unsigned int head;
	unsigned int count = 0;

	io_uring_for_each_cqe(&u->ring, head, cqe)
	{
		uintptr_t data = (uintptr_t)cqe->user_data;
		struct loop_op *op = (struct loop_op *)(data & ~TAG_MASK);

		count++;
		if (op && (data & TAG_MANY)) {
			collect_many(u, op, cqe);
			continue;
		}
		if (!op || !op_result(op, data & TAG_SYNC, cqe->res))
			continue;
		op->state = OP_COMPLETED;
		list_add_tail(&u->completed, &op->link);
	}
	io_uring_cq_advance(&u->ring, count);
	u->collected = count;
	recv_learn(u);
	recv_top_up(u);
}

static void run_posted(struct loop_uring *u)
{
	struct list_node batch;
	struct list_node *n;

	list_init(&batch);
	(void)pthread_mutex_lock(&u->lock);
	list_splice_tail(&batch, &u->posted);
	u->waking = false;
	(void)pthread_mutex_unlock(&u->lock);
	while ((n = list_pop(&batch))) {
		struct loop_task *task = list_entry(n, struct loop_task, link);

		task->run(task);
	}
}

static void wake_done(struct loop_op *op, int res)
{
	struct loop_uring *u = container_of(op, struct loop_uring, wake_op);

	(void)res;
	run_posted(u);
	loop_pread(&u->loop, op, u->wake_fd, &u->wake_count,
		   sizeof(u->wake_count), (uint64_t)-1, wake_done);
}

/* Phase two. */
static void run_completed(struct loop_uring *u)
{
	size_t budget = LOOP_CALLBACKS_PER_TURN_MAX;
	struct list_node *n;

	while (budget-- && (n = list_pop(&u->completed))) {
		struct loop_op *op = list_entry(n, struct loop_op, link);

		op->state = OP_IDLE;
		u->in_flight--;
		if (op->many && !u->recv_count)
			op->res = read_polled(u, op, op->res);
		op->done(op, op->res);
	}
}

static uint64_t wait_bound(struct loop_uring *u, uint64_t wait_ns)
{
	uint64_t next = loop_timers_next_ns(&u->loop);
	uint64_t now;

	if (!list_empty(&u->completed))
		return 0;
	if (next == UINT64_MAX)
		return wait_ns;
	now = sys_now_ns(u->sys, CLOCK_MONOTONIC);
	return next <= now ? 0 : MIN(wait_ns, next - now);
}

/*
 * A thousand cameras would wake the thread a thousand times in a frame's time.
 * While completions come thick it waits for several, for LOOP_GATHER_NS at
 * most; LOOP_GATHER_HURRY_NS while somebody waits (loop_hurry()). A few busy
 * connections are not many slow ones: what is waited for is a small part of
 * what is under way.
 */
static unsigned int gather(const struct loop_uring *u)
{
	uint64_t n = MIN(u->per_gather >> 8, u->in_flight / 8);

	/* Nothing came: it does not come thick just now. */
	if (!u->collected)
		return 1;
	if (u->loop.hurried)
		n = n * LOOP_GATHER_HURRY_NS / LOOP_GATHER_NS;
	return (unsigned int)MAX(1u, MIN(n, LOOP_GATHER_MAX));
}

static uint64_t gather_ns(const struct loop_uring *u, unsigned int count)
{
	if (count == 1)
		return 3600 * NS_PER_S;
	return u->loop.hurried ? LOOP_GATHER_HURRY_NS : LOOP_GATHER_NS;
}

/* A mean over some sixteen turns. */
static void gather_learn(struct loop_uring *u, uint64_t ns)
{
	uint64_t rate = ((uint64_t)u->collected << 8) * LOOP_GATHER_NS /
			MAX(ns, LOOP_GATHER_NS / 64);

	u->per_gather += rate / 16;
	u->per_gather -= u->per_gather / 16;
}

static int uring_turn(struct loop *l, uint64_t wait_ns)
{
	struct loop_uring *u = uring(l);
	struct __kernel_timespec ts;
	struct io_uring_cqe *cqe;
	unsigned int count = gather(u);
	uint64_t before_ns = l->now_ns;
	int r;

	r = ready(u);
	if (r < 0)
		return r;
	wait_ns = MIN(wait_bound(u, wait_ns), gather_ns(u, count));
	ts.tv_sec = (long long)(wait_ns / NS_PER_S);
	ts.tv_nsec = (long long)(wait_ns % NS_PER_S);
	r = io_uring_submit_and_wait_timeout(&u->ring, &cqe, count, &ts, NULL);
	if (r < 0 && r != -ETIME && r != -EINTR && r != -EAGAIN && r != -EBUSY)
		return r;
	l->now_ns = sys_now_ns(u->sys, CLOCK_MONOTONIC);
	collect(u);
	gather_learn(u, l->now_ns - before_ns);
	run_completed(u);
	loop_timers_run(l);
	return 0;
}

static void uring_post(struct loop *l, struct loop_task *task)
{
	struct loop_uring *u = uring(l);
	uint64_t one = 1;
	bool wake;

	(void)pthread_mutex_lock(&u->lock);
	list_add_tail(&u->posted, &task->link);
	wake = !u->waking;
	u->waking = true;
	/*
	 * Under the lock: the task may be what ends the loop. An eventfd takes
	 * this write unless its counter is near 2^64.
	 */
	if (wake && u->sys->write(u->wake_fd, &one, sizeof(one)) < 0)
		abort();
	(void)pthread_mutex_unlock(&u->lock);
}

static void uring_free(struct loop *l)
{
	struct loop_uring *u = uring(l);

	run_posted(u);
	while (u->in_flight > loop_op_busy(&u->wake_op)) {
		if (uring_turn(l, NS_PER_S) < 0)
			break;
	}
	/*
	 * Only the wake-up read may be left. It ends with the ring: nobody
	 * writes to its eventfd any more, so it touches no memory.
	 */
	assert(u->in_flight == loop_op_busy(&u->wake_op));
	io_uring_queue_exit(&u->ring);
	recv_fini(u);
	sys_close(u->sys, &u->wake_fd);
	loop_fini(l);
	(void)pthread_mutex_destroy(&u->lock);
	free(u);
}

static int ring_init(struct io_uring *ring, unsigned int entries)
{
	/* Best first: 6.1, then any kernel with io_uring. */
	static const unsigned int flags[] = {
		IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CLAMP,
		IORING_SETUP_R_DISABLED | IORING_SETUP_CLAMP,
	};
	size_t i;
	int r = -ENOSYS;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		r = io_uring_queue_init(entries, ring, flags[i]);
		if (r != -EINVAL)
			return r;
	}
	return r;
}

int loop_uring_new(const struct sys_ops *sys, unsigned int entries,
		   struct loop **ret_loop)
{
	static const struct loop_ops ops = {
		.accept = uring_accept,
		.connect = uring_connect,
		.recv = uring_recv,
		.recv_many = uring_recv_many,
		.send = uring_send,
		.send_now = uring_send_now,
		.pread = uring_pread,
		.pwrite = uring_pwrite,
		.write_sync = uring_write_sync,
		.poll = uring_poll,
		.cancel = uring_cancel,
		.turn = uring_turn,
		.post = uring_post,
		.free = uring_free,
	};
	struct loop_uring *u;
	int r;

	u = calloc(1, sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->sys = sys;
	u->loop.ops = &ops;
	u->loop.now_ns = sys_now_ns(sys, CLOCK_MONOTONIC);
	list_init(&u->completed);
	list_init(&u->posted);
	u->wake_fd = sys->eventfd(0, 0);
	if (u->wake_fd < 0) {
		r = u->wake_fd;
		free(u);
		return r;
	}
	r = ring_init(&u->ring, entries);
	if (r < 0) {
		sys_close(sys, &u->wake_fd);
		free(u);
		return r;
	}
	(void)pthread_mutex_init(&u->lock, NULL);
	loop_pread(&u->loop, &u->wake_op, u->wake_fd, &u->wake_count,
		   sizeof(u->wake_count), (uint64_t)-1, wake_done);
	*ret_loop = &u->loop;
	return 0;
}
