/* SPDX-License-Identifier: Apache-2.0 */
#include "support/fake_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/macros.h"
#include "src/frame.h"
#include "src/source_backend.h"

#define WATCHED_MAX 4

struct source;

struct buffer {
	struct frame_holder holder;
	struct source *source;
	bool out;
};

struct source {
	struct capture_source base;
	int fd;
	bool on;
	bool closed;
	bool hang_restart; /* hung since this start */
	bool hang_reopen;
	unsigned int out;
	uint64_t next_ns;
	uint32_t sequence;
	uint32_t track_id;
	struct capture_source_stats stats;
	struct buffer buffers[FAKE_SOURCE_BUFFERS];
};

static struct {
	struct fake_source pub;
	uint64_t now_ns;
	struct source *newest; /* the one that is open, or NULL */
	int timer_fd;
	int watched[WATCHED_MAX];
} fake;

static const struct source_ops fake_ops;

static struct source *self(struct capture_source *source)
{
	return container_of(source, struct source, base);
}

static void source_free(struct source *s)
{
	fake.pub.live--;
	free(s);
}

static void release(struct frame_holder *holder)
{
	struct buffer *b = container_of(holder, struct buffer, holder);
	struct source *s = b->source;

	if (!b->out)
		abort(); /* given back twice */
	b->out = false;
	s->out--;
	fake.pub.released++;
	if (s->closed && !s->out)
		source_free(s);
}

static int do_open(const struct sys_ops *sys,
		   const struct capture_source_config *config,
		   struct capture_source **ret_source)
{
	struct source *s;
	unsigned int i;

	if (fake.newest)
		abort(); /* two at once: a real device would be busy */
	if (fake.pub.opens < FAKE_SOURCE_OPENS_MAX)
		fake.pub.open_at_ns[fake.pub.opens] = fake.now_ns;
	fake.pub.opens++;
	fake.now_ns += fake.pub.open_ns;
	if (config->path)
		strncpy(fake.pub.path, config->path, sizeof(fake.pub.path) - 1);
	if (fake.pub.unplugged)
		return -ENODEV;
	if (fake.pub.open_error)
		return fake.pub.open_error;
	s = calloc(1, sizeof(*s));
	s->base.ops = &fake_ops;
	s->base.sys = sys;
	s->base.format = fake.pub.format;
	s->fd = sys->eventfd(0, 0);
	if (s->fd < 0) {
		int r = s->fd;

		free(s);
		return r;
	}
	s->track_id = config->track_id;
	for (i = 0; i < FAKE_SOURCE_BUFFERS; i++) {
		s->buffers[i].source = s;
		s->buffers[i].holder.release = release;
	}
	fake.pub.hang_reopen = false;
	fake.pub.hang_restart = false;
	fake.pub.stale = false;
	fake.pub.live++;
	fake.newest = s;
	*ret_source = &s->base;
	return 0;
}

static void do_close(struct capture_source *source)
{
	struct source *s = self(source);

	if (s->closed)
		abort();
	s->closed = true;
	s->on = false;
	fake.newest = NULL;
	sys_close(s->base.sys, &s->fd);
	if (!s->out)
		source_free(s);
}

static int do_start(struct capture_source *source)
{
	struct source *s = self(source);

	if (s->on)
		return -EBUSY;
	if (fake.pub.unplugged)
		return -ENODEV;
	if (fake.pub.stale)
		return -ESTALE;
	if (fake.pub.signal != CAPTURE_SIGNAL_OK && !fake.pub.noise)
		return -ENOLINK;
	if (fake.pub.start_error)
		return fake.pub.start_error;
	fake.pub.hang_restart = false;
	fake.pub.starts++;
	s->on = true;
	s->sequence = 0;
	s->next_ns = fake.now_ns + FAKE_SOURCE_FRAME_NS;
	return 0;
}

static int do_stop(struct capture_source *source)
{
	self(source)->on = false;
	return fake.pub.unplugged ? -ENODEV : fake.pub.stop_error;
}

static void enter(const char *call)
{
	if (fake.pub.enter)
		fake.pub.enter(call);
}

static int leave(const char *call, int r)
{
	if (fake.pub.leave)
		fake.pub.leave(call);
	return r;
}

int fake_source_open(const struct sys_ops *sys,
		     const struct capture_source_config *config,
		     struct capture_source **ret_source)
{
	enter("open");
	return leave("open", do_open(sys, config, ret_source));
}

static int fake_start(struct capture_source *source)
{
	enter("start");
	return leave("start", do_start(source));
}

static int fake_stop(struct capture_source *source)
{
	enter("stop");
	return leave("stop", do_stop(source));
}

static void fake_close(struct capture_source *source)
{
	enter("close");
	do_close(source);
	(void)leave("close", 0);
}

static struct buffer *free_buffer(struct source *s)
{
	unsigned int i;

	for (i = 0; i < FAKE_SOURCE_BUFFERS; i++) {
		if (!s->buffers[i].out)
			return &s->buffers[i];
	}
	return NULL;
}

/* Trouble that a dequeue tells, or 0. */
static int trouble_now(void)
{
	if (fake.pub.unplugged)
		return -ENODEV;
	if (fake.pub.stale)
		return -ESTALE;
	if (fake.pub.signal != CAPTURE_SIGNAL_OK && !fake.pub.noise)
		return -ENOLINK;
	return fake.pub.error;
}

static bool hangs(void)
{
	return fake.pub.hang || fake.pub.hang_restart || fake.pub.hang_reopen;
}

static struct capture_frame *make_frame(struct source *s, struct buffer *b)
{
	struct capture_frame *f = &b->holder.frame;

	memset(f, 0, sizeof(*f));
	f->track_id = s->track_id;
	f->fourcc = s->base.format.fourcc;
	f->width = s->base.format.width;
	f->height = s->base.format.height;
	f->plane_count = s->base.format.plane_count;
	f->planes[0].dmabuf_fd = -EBADF;
	f->sequence = s->sequence++;
	f->stamp_ns = s->next_ns;
	f->clock = CAPTURE_CLOCK_MONOTONIC;
	s->next_ns = MAX(s->next_ns, fake.now_ns - FAKE_SOURCE_FRAME_NS / 2) +
		     FAKE_SOURCE_FRAME_NS;
	b->holder.refs = 1;
	b->out = true;
	s->out++;
	s->stats.frames++;
	fake.pub.frames++;
	return f;
}

static int fake_dequeue(struct capture_source *source, uint64_t deadline_ns,
			struct capture_frame **ret_frame)
{
	struct source *s = self(source);
	struct buffer *b = free_buffer(s);
	int r;

	if (!s->on)
		return -EBUSY;
	r = trouble_now();
	if (r < 0) {
		fake.pub.error = 0;
		return r;
	}
	if (!b)
		return -ENOBUFS;
	if (!hangs() && s->next_ns <= MAX(fake.now_ns, deadline_ns)) {
		fake.now_ns = MAX(fake.now_ns, s->next_ns);
		*ret_frame = make_frame(s, b);
		return 0;
	}
	if (!deadline_ns)
		return -EAGAIN;
	fake.now_ns = MAX(fake.now_ns, deadline_ns);
	return -ETIMEDOUT;
}

static int fake_fd(const struct capture_source *source)
{
	return container_of(source, const struct source, base)->fd;
}

static enum capture_signal fake_signal(struct capture_source *source)
{
	(void)source;
	return fake.pub.unplugged ? CAPTURE_SIGNAL_UNKNOWN : fake.pub.signal;
}

static void fake_stats(const struct capture_source *source,
		       struct capture_source_stats *ret_stats)
{
	*ret_stats = container_of(source, const struct source, base)->stats;
	ret_stats->buffer_count = FAKE_SOURCE_BUFFERS;
}

static const struct source_ops fake_ops = {
	.close = fake_close,
	.start = fake_start,
	.stop = fake_stop,
	.dequeue = fake_dequeue,
	.fd = fake_fd,
	.stats = fake_stats,
	.signal = fake_signal,
};

/* --- system calls ------------------------------------------------------- */

static int fake_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	(void)fds;
	if (count != 1 || fds[0].fd >= 0 || timeout_ms < 0)
		abort(); /* nobody but the supervisor waits, and with an end */
	fake.now_ns += (uint64_t)timeout_ms * 1000000u;
	return 0;
}

static int fake_clock_gettime(clockid_t clock, struct timespec *ret_ts)
{
	(void)clock;
	ret_ts->tv_sec = (time_t)(fake.now_ns / 1000000000u);
	ret_ts->tv_nsec = (long)(fake.now_ns % 1000000000u);
	return 0;
}

static int fake_epoll_create1(int flags)
{
	return sys_posix()->eventfd(0, flags & 0);
}

static int fake_timerfd_create(clockid_t clock, int flags)
{
	if (clock != CLOCK_MONOTONIC)
		abort();
	fake.timer_fd = sys_posix()->eventfd(0, flags & 0);
	return fake.timer_fd;
}

static int fake_timerfd_settime(int fd, int flags,
				const struct itimerspec *value)
{
	if (fd != fake.timer_fd || !(flags & TFD_TIMER_ABSTIME))
		abort();
	fake.pub.timer_ns = (uint64_t)value->it_value.tv_sec * 1000000000u +
			    (uint64_t)value->it_value.tv_nsec;
	fake.pub.timer_sets++;
	return 0;
}

static int *find_watched(int fd)
{
	unsigned int i;

	for (i = 0; i < WATCHED_MAX; i++) {
		if (fake.watched[i] == fd)
			return &fake.watched[i];
	}
	return NULL;
}

static int fake_epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	int *slot = find_watched(fd);

	(void)epfd;
	(void)event;
	if (fd < 0)
		return -EBADF;
	if (op == EPOLL_CTL_DEL) {
		if (!slot)
			abort();
		*slot = -EBADF;
		return 0;
	}
	if (slot)
		return -EEXIST;
	slot = find_watched(-EBADF);
	if (!slot)
		abort(); /* more than a supervisor ever needs */
	*slot = fd;
	return 0;
}

/* As in the kernel: what is closed is watched no more. */
static int fake_close_fd(int fd)
{
	int *slot = find_watched(fd);

	if (slot)
		*slot = -EBADF;
	return sys_posix()->close(fd);
}

const struct sys_ops *fake_source_ops(void)
{
	static struct sys_ops ops;

	ops = *sys_posix();
	ops.close = fake_close_fd;
	ops.poll = fake_poll;
	ops.clock_gettime = fake_clock_gettime;
	ops.epoll_create1 = fake_epoll_create1;
	ops.epoll_ctl = fake_epoll_ctl;
	ops.timerfd_create = fake_timerfd_create;
	ops.timerfd_settime = fake_timerfd_settime;
	return &ops;
}

uint64_t fake_source_now_ns(void)
{
	return fake.now_ns;
}

void fake_source_advance(uint64_t ns)
{
	fake.now_ns += ns;
}

/* When the source that is watched has something to say. */
static uint64_t source_ready_ns(void)
{
	struct source *s = fake.newest;

	if (!s || !find_watched(s->fd))
		return UINT64_MAX;
	/* A stopped V4L2 node says POLLERR, all the time. */
	if (!s->on || trouble_now() < 0)
		return fake.now_ns;
	if (hangs() || !free_buffer(s))
		return UINT64_MAX;
	return s->next_ns;
}

bool fake_source_poll(uint64_t max_ns)
{
	uint64_t at_ns = source_ready_ns();

	if (fake.pub.timer_ns && find_watched(fake.timer_fd))
		at_ns = MIN(at_ns, fake.pub.timer_ns);
	if (at_ns > fake.now_ns + max_ns) {
		fake.now_ns += max_ns;
		return false;
	}
	fake.now_ns = MAX(fake.now_ns, at_ns);
	return true;
}

struct fake_source *fake_source_reset(void)
{
	unsigned int i;

	memset(&fake, 0, sizeof(fake));
	fake.now_ns = UINT64_C(1000000000);
	fake.timer_fd = -EBADF;
	for (i = 0; i < WATCHED_MAX; i++)
		fake.watched[i] = -EBADF;
	fake.pub.signal = CAPTURE_SIGNAL_OK;
	fake.pub.format = (struct capture_format){
		.fourcc = CAPTURE_FORMAT_YU12,
		.width = 64,
		.height = 48,
		.plane_count = 1,
		.stride = {64},
		.size = {64 * 48 * 3 / 2},
		.rate_num = 25,
		.rate_den = 1,
	};
	return &fake.pub;
}
