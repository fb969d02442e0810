/* SPDX-License-Identifier: Apache-2.0 */
/* What the user of a guarded encoder sees, and what is left behind. */
#include "src/encoder_guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/sys.h"
#include "src/queue.h"
#include "src/thread.h"

static const struct encoder_ops guard_ops;

/*
 * Those whose thread did not end in time: while one is on this list, nobody
 * opens its device. Taken before the lock of any of them.
 */
static struct {
	pthread_mutex_t lock;
	struct guard *first;
} left = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct guard *self(struct capture_encoder *encoder)
{
	return container_of(encoder, struct guard, base);
}

static uint64_t now(const struct guard *g)
{
	return sys_now_ns(g->sys, CLOCK_MONOTONIC);
}

void guard_tell_user(struct guard *g)
{
	uint64_t one = 1;

	if (!g->user_told && !g->closed)
		(void)g->sys->write(g->user_fd, &one, sizeof(one));
	g->user_told = true;
}

void guard_wake_thread(struct guard *g)
{
	uint64_t one = 1;

	if (g->asked_ns)
		return;
	g->asked_ns = now(g);
	(void)g->sys->write(g->work_fd, &one, sizeof(one));
}

/* --- frames and packets ------------------------------------------------- */

/* On the thread: the encoder has read it, or will not. */
static void frame_release(struct frame_holder *holder)
{
	struct guard_frame *f =
		container_of(holder, struct guard_frame, holder);
	struct guard *g = f->guard;

	(void)pthread_mutex_lock(&g->lock);
	f->place = GUARD_DONE;
	guard_tell_user(g);
	(void)pthread_mutex_unlock(&g->lock);
}

/*
 * Gives frames back to their source; not under the lock, as that is a call
 * of another driver. @all: also those that the encoder still has, save one
 * that it reads just now.
 */
static void give_back(struct guard *g, bool all)
{
	struct capture_frame *frames[GUARD_FRAMES];
	uint32_t count = 0;
	uint32_t i;

	(void)pthread_mutex_lock(&g->lock);
	for (i = 0; i < GUARD_FRAMES; i++) {
		struct guard_frame *f = &g->frames[i];

		if (f->frame && (f->place == GUARD_DONE ||
				 (all && f->place != GUARD_ENTERING))) {
			frames[count++] = f->frame;
			f->frame = NULL;
		}
		if (f->place == GUARD_DONE)
			f->place = GUARD_FREE;
	}
	(void)pthread_mutex_unlock(&g->lock);
	while (count)
		(void)capture_frame_unref(frames[--count]);
}

static bool has_frames(const struct guard *g)
{
	uint32_t i;

	for (i = 0; i < GUARD_FRAMES; i++) {
		if (g->frames[i].frame)
			return true;
	}
	return false;
}

static bool is_needed(const struct guard *g)
{
	return g->out || !g->closed || !g->finished || has_frames(g);
}

static void packet_release(struct packet_holder *holder)
{
	struct guard_packet *p =
		container_of(holder, struct guard_packet, holder);
	struct guard *g = p->guard;
	struct capture_packet *mine = NULL;
	bool needed;

	(void)pthread_mutex_lock(&g->lock);
	g->out--;
	if (g->finished) {
		mine = p->packet; /* there is no other thread any more */
		p->packet = NULL;
	} else {
		guard_row_put(&g->returned, (uint32_t)(p - g->packets));
		guard_wake_thread(g); /* it may be the one that is needed */
	}
	needed = is_needed(g);
	(void)pthread_mutex_unlock(&g->lock);
	(void)capture_packet_unref(mine);
	if (!needed)
		guard_free(g);
}

/* --- those that were left behind ---------------------------------------- */

void guard_free(struct guard *g)
{
	sys_close(g->sys, &g->work_fd);
	sys_close(g->sys, &g->epoll_fd);
	sys_close(g->sys, &g->user_fd);
	thread_fini_lock(&g->lock, &g->changed);
	free(g->path);
	free(g);
}

static void unlink_left(struct guard *g)
{
	struct guard **at = &left.first;

	while (*at && *at != g)
		at = &(*at)->next;
	if (*at)
		*at = g->next;
}

bool guard_finish(struct guard *g)
{
	bool needed = true;
	bool finished;

	(void)pthread_mutex_lock(&left.lock);
	(void)pthread_mutex_lock(&g->lock);
	/* Once it is set, its user releases packets: never both at once. */
	finished = !g->returned.count;
	if (finished) {
		g->finished = true;
		needed = is_needed(g);
		/* One with a frame waits for the frame's thread: reap(). */
		if (g->left && !has_frames(g))
			unlink_left(g);
		(void)pthread_cond_broadcast(&g->changed);
	}
	(void)pthread_mutex_unlock(&g->lock);
	(void)pthread_mutex_unlock(&left.lock);
	if (!needed)
		guard_free(g);
	return finished;
}

/* @g has finished, is closed and not on the list: its user ends it. */
static void end_finished(struct guard *g)
{
	bool needed;

	give_back(g, true);
	(void)pthread_mutex_lock(&g->lock);
	needed = is_needed(g); /* packets may still be out */
	(void)pthread_mutex_unlock(&g->lock);
	if (!needed)
		guard_free(g);
}

/* One that has finished and whose last frame is this thread's to give back. */
static struct guard *take_finished(void)
{
	struct guard *g;

	(void)pthread_mutex_lock(&left.lock);
	for (g = left.first; g; g = g->next) {
		bool finished;

		(void)pthread_mutex_lock(&g->lock);
		finished = g->finished;
		(void)pthread_mutex_unlock(&g->lock);
		if (finished && pthread_equal(g->owner, pthread_self()))
			break;
	}
	if (g)
		unlink_left(g);
	(void)pthread_mutex_unlock(&left.lock);
	return g;
}

static void reap(void)
{
	struct guard *g;

	while ((g = take_finished()))
		end_finished(g);
}

static bool same_device(const struct guard *g, const char *path)
{
	return !g->path || !path || !strcmp(g->path, path);
}

/* Whether one of @path has not returned. */
static bool find_left(const char *path)
{
	struct guard *g;
	bool found = false;

	(void)pthread_mutex_lock(&left.lock);
	for (g = left.first; g && !found; g = g->next) {
		(void)pthread_mutex_lock(&g->lock);
		found = !g->finished && same_device(g, path);
		(void)pthread_mutex_unlock(&g->lock);
	}
	(void)pthread_mutex_unlock(&left.lock);
	return found;
}

/* An encoder that was just closed may take a moment. */
static int wait_left(const struct sys_ops *sys, const char *path)
{
	uint64_t until_ns =
		sys_now_ns(sys, CLOCK_MONOTONIC) + CAPTURE_GUARD_CLOSE_NS;
	int r;

	for (;;) {
		reap();
		if (!find_left(path))
			return 0;
		if (until_ns <= sys_now_ns(sys, CLOCK_MONOTONIC))
			return -EBUSY;
		r = queue_wait(sys, -1, 0,
			       sys_now_ns(sys, CLOCK_MONOTONIC) +
				       CAPTURE_GUARD_PAUSE_NS);
		if (r < 0 && r != -EINTR)
			return r;
	}
}

/* --- closing ------------------------------------------------------------ */

/* @g->lock and left.lock are held: nobody waits for it any longer. */
static void leave(struct guard *g)
{
	g->left = true;
	g->next = left.first;
	left.first = g;
}

static bool wait_finished(struct guard *g, uint64_t deadline_ns)
{
	while (!g->finished && thread_wait(&g->lock, &g->changed, deadline_ns))
		;
	return g->finished;
}

static void guard_close(struct capture_encoder *encoder)
{
	struct guard *g = self(encoder);
	bool finished;

	(void)pthread_mutex_lock(&g->lock);
	g->stop = true;
	guard_wake_thread(g);
	/* By the real clock, as threads are. */
	(void)wait_finished(g, sys_now_ns(sys_posix(), CLOCK_MONOTONIC) +
				       g->patience_ns);
	(void)pthread_mutex_unlock(&g->lock);
	/* Nothing is written to them: what is left only reads. */
	give_back(g, true);
	(void)pthread_mutex_lock(&left.lock);
	(void)pthread_mutex_lock(&g->lock);
	g->closed = true;
	/* Not left to the thread: who polls them would be woken for ever. */
	sys_close(g->sys, &g->epoll_fd);
	sys_close(g->sys, &g->user_fd);
	finished = g->finished;
	if (!finished)
		leave(g);
	(void)pthread_mutex_unlock(&g->lock);
	(void)pthread_mutex_unlock(&left.lock);
	/* It may have read its last frame after the others were given back. */
	if (finished)
		end_finished(g);
}

/* --- opening ------------------------------------------------------------ */

static int open_descriptors(struct guard *g)
{
	struct epoll_event event = {.events = EPOLLIN};

	g->user_fd = g->sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->user_fd < 0)
		return g->user_fd;
	g->work_fd = g->sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->work_fd < 0)
		return g->work_fd;
	g->epoll_fd = g->sys->epoll_create1(EPOLL_CLOEXEC);
	if (g->epoll_fd < 0)
		return g->epoll_fd;
	return g->sys->epoll_ctl(g->epoll_fd, EPOLL_CTL_ADD, g->user_fd,
				 &event);
}

static int copy_config(struct guard *g,
		       const struct capture_encoder_config *config)
{
	g->config = *config;
	g->format = *config->source;
	g->config.source = &g->format;
	g->config.stuck_ns = 0;
	if (!config->path)
		return 0;
	g->path = strdup(config->path);
	g->config.path = g->path;
	return g->path ? 0 : -ENOMEM;
}

/* What the thread found. Return: its error, or -ETIMEDOUT: it is left. */
static int wait_open(struct guard *g)
{
	uint64_t until_ns =
		sys_now_ns(sys_posix(), CLOCK_MONOTONIC) + g->stuck_ns;
	int r;

	(void)pthread_mutex_lock(&g->lock);
	while (!g->opened && thread_wait(&g->lock, &g->changed, until_ns))
		;
	r = g->opened ? g->open_error : -ETIMEDOUT;
	if (r == 0) {
		g->base.codec = g->codec;
		g->base.codec_private = g->codec_private;
		g->base.codec_private_bytes = g->codec_private_bytes;
		g->base.stats = g->stats;
	}
	(void)pthread_mutex_unlock(&g->lock);
	if (r < 0)
		guard_close(&g->base);
	return r;
}

static int start(struct guard *g, const struct capture_encoder_config *config)
{
	uint32_t i;
	int r;

	for (i = 0; i < GUARD_FRAMES; i++) {
		g->frames[i].guard = g;
		g->frames[i].holder.release = frame_release;
	}
	for (i = 0; i < GUARD_PACKETS; i++) {
		g->packets[i].guard = g;
		g->packets[i].holder.release = packet_release;
	}
	r = copy_config(g, config);
	if (r == 0)
		r = open_descriptors(g);
	if (r == 0)
		r = thread_start(guard_thread, g);
	return r;
}

int encoder_guard_open(const struct sys_ops *sys,
		       const struct capture_encoder_config *config,
		       uint32_t codec, encoder_open_fn *open,
		       struct capture_encoder **ret_encoder)
{
	struct guard *g;
	int r;

	r = wait_left(sys, config->path);
	if (r < 0)
		return r;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	encoder_base_init(&g->base, &guard_ops, sys, config);
	g->sys = sys;
	g->open = open;
	g->codec = codec;
	g->stuck_ns = config->stuck_ns;
	g->patience_ns = CAPTURE_GUARD_CLOSE_NS;
	g->owner = pthread_self();
	g->user_fd = -EBADF;
	g->work_fd = -EBADF;
	g->epoll_fd = -EBADF;
	g->encoder_fd = -EBADF;
	g->due_ns = UINT64_MAX;
	r = thread_init_lock(&g->lock, &g->changed);
	if (r < 0) {
		free(g);
		return r;
	}
	r = start(g, config);
	if (r < 0) {
		guard_free(g);
		return r;
	}
	r = wait_open(g);
	if (r < 0)
		return r;
	*ret_encoder = &g->base;
	return 0;
}

/* --- the user's calls --------------------------------------------------- */

/* @g->lock is held. */
static bool ask(struct guard *g, enum guard_op op, uint32_t value)
{
	struct guard_request *request;

	if (g->request_count == GUARD_REQUESTS_MAX)
		return false;
	request = &g->requests[(g->request_first + g->request_count++) %
			       GUARD_REQUESTS_MAX];
	request->op = op;
	request->value = value;
	request->ticket = ++g->ticket;
	guard_wake_thread(g);
	return true;
}

/* @g->lock is held: when the thread has been away for too long. */
static uint64_t stuck_at_ns(const struct guard *g)
{
	uint64_t since_ns = UINT64_MAX;

	if (g->finished)
		return UINT64_MAX;
	if (g->busy_ns)
		since_ns = g->busy_ns;
	if (g->asked_ns)
		since_ns = MIN(since_ns, g->asked_ns);
	/* It waits: its own deadline wakes it. */
	if (since_ns == UINT64_MAX)
		since_ns = g->due_ns;
	return since_ns > UINT64_MAX - g->stuck_ns ? UINT64_MAX
						   : since_ns + g->stuck_ns;
}

static bool is_idle(const struct guard *g)
{
	return !g->busy_ns && !g->asked_ns && g->due_ns == UINT64_MAX &&
	       !g->request_count;
}

static void copy_stats(struct guard *g)
{
	g->base.stats = g->stats;
	g->base.stats.frames_in = g->frames_in;
}

static int guard_submit(struct capture_encoder *encoder,
			struct capture_frame *frame)
{
	struct guard *g = self(encoder);
	struct guard_frame *f = NULL;
	uint32_t i;

	if (g->failed)
		return -EIO;
	if (g->draining)
		return -EPIPE;
	give_back(g, false);
	(void)pthread_mutex_lock(&g->lock);
	for (i = 0; i < GUARD_FRAMES && !f; i++) {
		if (g->frames[i].place == GUARD_FREE)
			f = &g->frames[i];
	}
	if (f && ask(g, GUARD_SUBMIT, (uint32_t)(f - g->frames))) {
		f->place = GUARD_ASKED;
		f->frame = capture_frame_ref(frame);
		f->holder.frame = *frame;
		f->holder.refs = 1;
		g->frames_in++;
		copy_stats(g);
		g->base.stats.frames_in--; /* whoever called counts it */
	} else {
		f = NULL;
	}
	(void)pthread_mutex_unlock(&g->lock);
	return f ? 0 : -EAGAIN;
}

/* @g->lock is held. Return: 0 and a packet, -EAGAIN: none yet, or why. */
static int look(struct guard *g, uint64_t now_ns,
		struct capture_packet **ret_packet)
{
	if (g->ready.count) {
		struct guard_packet *p = &g->packets[guard_row_take(&g->ready)];

		g->out++;
		p->holder.refs = 1;
		*ret_packet = &p->holder.packet;
		return 0;
	}
	if (g->end)
		return g->end;
	if (g->starved && g->out)
		return -ENOBUFS;
	return now_ns >= stuck_at_ns(g) ? -ETIMEDOUT : -EAGAIN;
}

/* One look; @ret_until_ns: when another is worth it, 0: nothing will come. */
static int look_once(struct guard *g, struct capture_packet **ret_packet,
		     uint64_t *ret_until_ns)
{
	uint64_t value;
	int r;

	give_back(g, false);
	(void)pthread_mutex_lock(&g->lock);
	if (g->user_told)
		(void)g->sys->read(g->user_fd, &value, sizeof(value));
	g->user_told = false;
	r = look(g, now(g), ret_packet);
	*ret_until_ns = is_idle(g) ? 0 : stuck_at_ns(g);
	copy_stats(g);
	(void)pthread_mutex_unlock(&g->lock);
	return r;
}

static int guard_receive(struct capture_encoder *encoder, uint64_t deadline_ns,
			 struct capture_packet **ret_packet)
{
	struct guard *g = self(encoder);
	uint64_t until_ns;
	int r;

	for (;;) {
		r = look_once(g, ret_packet, &until_ns);
		if (r != -EAGAIN)
			break;
		until_ns = MIN(until_ns, deadline_ns);
		if (!until_ns || now(g) >= deadline_ns)
			return r;
		r = queue_wait(g->sys, g->epoll_fd, POLLIN, until_ns);
		if (r < 0)
			return r;
	}
	if (r == 0 || r == -ENOBUFS || r == -EPIPE)
		return r;
	if (g->failed)
		return -EIO; /* the cause is told once */
	g->failed = true;
	return r;
}

static int guard_drain(struct capture_encoder *encoder)
{
	struct guard *g = self(encoder);
	bool asked = g->draining;

	if (g->failed)
		return -EIO;
	(void)pthread_mutex_lock(&g->lock);
	if (!asked)
		asked = ask(g, GUARD_DRAIN, 0);
	(void)pthread_mutex_unlock(&g->lock);
	g->draining = asked;
	return asked ? 0 : -EAGAIN;
}

/* What it said, or -ETIMEDOUT: not yet. */
static int ask_and_wait(struct guard *g, enum guard_op op, uint32_t value)
{
	uint64_t until_ns =
		sys_now_ns(sys_posix(), CLOCK_MONOTONIC) + g->patience_ns;
	uint32_t ticket;
	int r = -ETIMEDOUT;

	if (g->failed)
		return -EIO;
	(void)pthread_mutex_lock(&g->lock);
	if (ask(g, op, value)) {
		ticket = g->ticket;
		while (g->answered != ticket && !g->end && !g->finished &&
		       thread_wait(&g->lock, &g->changed, until_ns))
			;
		if (g->answered == ticket)
			r = g->answer;
	}
	(void)pthread_mutex_unlock(&g->lock);
	return r;
}

static int guard_force_key(struct capture_encoder *encoder)
{
	return ask_and_wait(self(encoder), GUARD_FORCE_KEY, 0);
}

static int guard_set_bitrate(struct capture_encoder *encoder, uint32_t bitrate)
{
	return ask_and_wait(self(encoder), GUARD_BITRATE, bitrate);
}

static uint64_t guard_deadline_ns(const struct capture_encoder *encoder)
{
	struct guard *g = self((struct capture_encoder *)(uintptr_t)encoder);
	uint64_t ns = UINT64_MAX;

	if (g->failed)
		return ns;
	(void)pthread_mutex_lock(&g->lock);
	if (!g->end && !is_idle(g))
		ns = stuck_at_ns(g);
	(void)pthread_mutex_unlock(&g->lock);
	return ns;
}

static int guard_fd(const struct capture_encoder *encoder)
{
	return container_of(encoder, const struct guard, base)->epoll_fd;
}

static struct capture_arena *guard_arena(const struct capture_encoder *encoder)
{
	return container_of(encoder, const struct guard, base)->arena;
}

static const struct encoder_ops guard_ops = {
	.close = guard_close,
	.fd = guard_fd,
	.arena = guard_arena,
	.deadline_ns = guard_deadline_ns,
	.submit = guard_submit,
	.receive = guard_receive,
	.drain = guard_drain,
	.force_key = guard_force_key,
	.set_bitrate = guard_set_bitrate,
};
