/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decisions of a supervised source: one turn of sup_dequeue() does what
 * is due, asks the source for a frame, and judges what it said. Whatever
 * goes wrong ends in a state with a time at which something is done next.
 */
#include "src/supervisor.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/sys.h"
#include "src/queue.h"

#define NS_PER_S UINT64_C(1000000000)

static const struct source_ops supervisor_ops;
static void trouble(struct supervisor *s, int error);

static struct supervisor *self(struct capture_source *source)
{
	return container_of(source, struct supervisor, base);
}

static const struct supervisor *self_const(const struct capture_source *source)
{
	return container_of(source, const struct supervisor, base);
}

static void tick(struct supervisor *s)
{
	s->now_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
}

static PRINTF(4, 5) void tell(struct supervisor *s,
			      enum capture_supervisor_kind kind, int error,
			      const char *format, ...)
{
	bool waiting = s->state == SUPERVISOR_WAITING ||
		       s->state == SUPERVISOR_NO_SIGNAL;
	struct capture_supervisor_event event = {
		.kind = kind,
		.signal = s->lost,
		.error = error,
		.attempt = s->failures,
		.epoch = s->epoch,
		.at_ns = s->now_ns,
		.wait_ns = waiting && s->act_ns > s->now_ns
				   ? s->act_ns - s->now_ns
				   : 0,
		.stats = &s->stats,
	};
	va_list args;
	int n;

	if (!s->config.event)
		return;
	n = snprintf(event.text, sizeof(event.text),
		     "%s: ", s->path[0] ? s->path : "source");
	va_start(args, format);
	if (n > 0 && (size_t)n < sizeof(event.text))
		(void)vsnprintf(event.text + n, sizeof(event.text) - (size_t)n,
				format, args); /* a long one is cut */
	va_end(args);
	s->config.event(s->config.ctx, &event);
}

/* --- the descriptor ----------------------------------------------------- */

static void unwatch(struct supervisor *s)
{
	struct epoll_event event = {0};

	if (s->watched_fd < 0)
		return;
	/* It is closed soon, which removes it as well. */
	(void)s->base.sys->epoll_ctl(s->epoll_fd, EPOLL_CTL_DEL, s->watched_fd,
				     &event);
	s->watched_fd = -EBADF;
}

static int watch(struct supervisor *s)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLPRI};
	int fd = capture_source_fd(s->inner);
	int r;

	if (s->watched_fd >= 0 || fd < 0)
		return 0;
	r = s->base.sys->epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event);
	if (r == 0)
		s->watched_fd = fd;
	return r;
}

/* When something is to be done, frames apart; UINT64_MAX: never. */
static uint64_t due_ns(const struct supervisor *s)
{
	uint64_t due = UINT64_MAX;

	switch (s->state) {
	case SUPERVISOR_OFF:
	case SUPERVISOR_CLOSED:
		return UINT64_MAX;
	case SUPERVISOR_RUNNING:
		due = MIN(s->last_ns + s->config.frame_ns, s->check_ns);
		break;
	case SUPERVISOR_NO_SIGNAL:
	case SUPERVISOR_WAITING:
		due = s->act_ns;
		break;
	}
	if (supervisor_is_blank(s) && s->free_count)
		due = MIN(due, s->blank_ns);
	return due;
}

/*
 * Sets the timer, unless it will fire in time: too early costs one turn for
 * nothing, and setting it for each frame would cost a system call a frame.
 */
static int arm(struct supervisor *s)
{
	struct itimerspec value = {0};
	uint64_t due = due_ns(s);
	int r;

	if (s->armed_ns == due || (due != UINT64_MAX && s->armed_ns <= due &&
				   s->armed_ns > s->now_ns))
		return 0;
	if (due != UINT64_MAX) {
		value.it_value.tv_sec = (time_t)(due / NS_PER_S);
		value.it_value.tv_nsec = (long)(due % NS_PER_S);
	}
	r = s->base.sys->timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME,
					 &value);
	s->armed_ns = r < 0 ? 0 : due;
	return r;
}

/* --- the source underneath ---------------------------------------------- */

static int call_here(struct supervisor *s, enum supervisor_op op)
{
	int r = 0;

	if (op == SUPERVISOR_START)
		r = capture_source_start(s->inner);
	else if (op == SUPERVISOR_STOP)
		r = capture_source_stop(s->inner);
	else
		s->inner = capture_source_close(s->inner);
	return r;
}

/*
 * A call that may never return, on a thread of its own, if there may be one.
 * Return: what it said, or -EINPROGRESS: it has the source for now, see
 * settle().
 */
static int call_inner(struct supervisor *s, enum supervisor_op op)
{
	struct supervisor_call *call;
	uint64_t soon_ns;
	int r;

	if (s->config.stuck_ns) /* while the source is still ours */
		capture_source_stats(s->inner, &s->call_stats);
	if (!s->config.stuck_ns ||
	    supervisor_call_new(s->base.sys, op, NULL, NULL, s->inner, &call) <
		    0) {
		r = call_here(s, op);
		tick(s); /* drivers take their time */
		return r;
	}
	/* The first start is a call of the user's, and devices are slow then. */
	soon_ns = supervisor_soon_ns();
	if (op == SUPERVISOR_START && !s->starts)
		soon_ns += MIN(s->config.stuck_ns,
			       CAPTURE_SUPERVISED_FIRST_WAIT_NS);
	if (supervisor_call_wait(call, soon_ns)) {
		r = supervisor_call_end(call, NULL, &s->inner);
	} else {
		s->inner = NULL;
		supervisor_hold_call(s, op, call);
		r = -EINPROGRESS;
	}
	tick(s);
	return r;
}

static void close_inner(struct supervisor *s)
{
	struct capture_source_stats stats;

	if (!s->inner)
		return;
	unwatch(s);
	capture_source_stats(s->inner, &stats);
	supervisor_add_stats(&s->closed, &stats);
	/* Of the last one, as long as there is no other. */
	s->closed.rung = stats.rung;
	s->closed.buffer_count = stats.buffer_count;
	s->closed.map_read_bytes_per_s = stats.map_read_bytes_per_s;
	s->closed.device_bits = stats.device_bits;
	s->closed.non_coherent = stats.non_coherent;
	(void)call_inner(s, SUPERVISOR_CLOSE);
	s->inner_out = 0;
}

static void adopt(struct supervisor *s, struct capture_source *inner)
{
	struct capture_source_stats stats;

	capture_source_stats(inner, &stats);
	s->inner = inner;
	s->inner_buffers = stats.buffer_count;
	s->opens++;
}

static void begin_outage(struct supervisor *s)
{
	if (s->outage)
		return;
	s->outage = true;
	s->outage_from_ns = s->now_ns;
	/* Not two at one instant, if one outage follows another. */
	s->blank_ns = MAX(s->blank_ns, s->now_ns);
}

static void end_outage(struct supervisor *s)
{
	uint64_t ns = s->now_ns - s->outage_from_ns;

	if (!s->outage)
		return;
	s->outage = false;
	s->stats.outage_ns += ns;
	s->stats.outage_ns_max = MAX(s->stats.outage_ns_max, ns);
}

static void close_and_wait(struct supervisor *s)
{
	begin_outage(s);
	close_inner(s);
	s->state = SUPERVISOR_WAITING;
	s->act_ns = s->now_ns + supervisor_backoff_ns(s, &s->failures,
						      s->config.backoff_max_ns);
}

/* A call takes long: asked from time to time whether it is done. */
static void wait_for_call(struct supervisor *s)
{
	begin_outage(s);
	s->state = SUPERVISOR_WAITING;
	s->act_ns = s->now_ns + CAPTURE_SUPERVISED_CALL_POLL_NS;
}

static int note_started(struct supervisor *s)
{
	int r = watch(s);

	if (r < 0)
		return r;
	s->state = SUPERVISOR_RUNNING;
	s->starts++;
	s->starved = false;
	s->last_ns = s->now_ns;
	s->started_ns = s->now_ns;
	s->check_ns = UINT64_MAX;
	if (capture_source_signal(s->inner) != CAPTURE_SIGNAL_UNKNOWN)
		s->check_ns = s->now_ns + s->config.signal_ns;
	return 0;
}

/* Return: 0, -EINPROGRESS (seen to), or why it is not on. */
static int start_inner(struct supervisor *s)
{
	int r = call_inner(s, SUPERVISOR_START);

	if (r == -EINPROGRESS)
		wait_for_call(s);
	return r < 0 ? r : note_started(s);
}

static void tell_started(struct supervisor *s,
			 enum capture_supervisor_kind kind, const char *text)
{
	enum capture_signal lost = s->lost;

	s->lost = CAPTURE_SIGNAL_OK;
	tell(s, kind, 0, "%s", text);
	if (lost != CAPTURE_SIGNAL_OK && kind != CAPTURE_EVENT_SIGNAL_BACK)
		tell(s, CAPTURE_EVENT_SIGNAL_BACK, 0, "the signal is back");
}

/* --- what may go wrong -------------------------------------------------- */

static bool is_lost(enum capture_signal signal)
{
	return signal != CAPTURE_SIGNAL_OK && signal != CAPTURE_SIGNAL_UNKNOWN;
}

/* How the signal is lost; what cannot tell has lost it somehow. */
static enum capture_signal ask_signal(struct supervisor *s, int error)
{
	enum capture_signal signal = CAPTURE_SIGNAL_UNKNOWN;

	if (s->inner)
		signal = capture_source_signal(s->inner);
	if (is_lost(signal))
		return signal;
	return error == -ENOLCK ? CAPTURE_SIGNAL_NO_LOCK : CAPTURE_SIGNAL_NONE;
}

static void tell_lost(struct supervisor *s, enum capture_signal signal)
{
	if (s->lost == signal)
		return;
	if (s->lost == CAPTURE_SIGNAL_OK)
		s->stats.signal_losses++;
	s->lost = signal;
	tell(s, CAPTURE_EVENT_SIGNAL_LOST, 0, "%s",
	     capture_signal_name(signal));
}

static void lose_signal(struct supervisor *s, enum capture_signal signal)
{
	int r;

	begin_outage(s);
	unwatch(s);
	r = call_inner(s, SUPERVISOR_STOP);
	if (r == -EINPROGRESS) {
		wait_for_call(s);
	} else if (r < 0) {
		close_and_wait(s); /* off for us, but of no use any more */
	} else {
		s->state = SUPERVISOR_NO_SIGNAL;
		s->act_ns =
			s->now_ns + supervisor_backoff_ns(s, &s->polls,
							  s->config.signal_ns);
	}
	tell_lost(s, signal);
}

static void restart(struct supervisor *s)
{
	int r;

	s->restarted = true;
	s->stats.restarts++;
	unwatch(s);
	r = call_inner(s, SUPERVISOR_STOP);
	if (r == 0)
		r = start_inner(s);
	if (r == -EINPROGRESS)
		wait_for_call(s);
	else if (r < 0)
		trouble(s, r); /* which does not restart a second time */
	else
		tell_started(s, CAPTURE_EVENT_RESTARTED, "stopped and started");
}

static bool is_gone(int error)
{
	return error == -ENODEV || error == -ENOENT;
}

static void tell_gone(struct supervisor *s, int error)
{
	if (s->gone)
		return;
	s->gone = true;
	s->lost = CAPTURE_SIGNAL_OK; /* no signal of nothing */
	s->stats.unplugged++;
	tell(s, CAPTURE_EVENT_UNPLUGGED, error, "unplugged");
}

/* An open source said @error: all that can be done about it is done here. */
static void trouble(struct supervisor *s, int error)
{
	if (error == -ENOLINK || error == -ENOLCK) {
		lose_signal(s, ask_signal(s, error));
		return;
	}
	if (error == -ESTALE || is_gone(error)) {
		close_and_wait(s);
		/* Of another format it is told what it is once it is known. */
		if (error != -ESTALE)
			tell_gone(s, error);
		return;
	}
	s->stats.failures++;
	begin_outage(s);
	if (s->restarted || !s->inner)
		close_and_wait(s);
	tell(s, CAPTURE_EVENT_FAILED, error, "%s", strerror(-error));
	if (s->inner)
		restart(s);
}

static void stalled(struct supervisor *s)
{
	enum capture_signal signal = capture_source_signal(s->inner);

	if (is_lost(signal)) {
		lose_signal(s, signal);
		return;
	}
	s->stats.stalls++;
	begin_outage(s);
	if (s->restarted)
		close_and_wait(s);
	tell(s, CAPTURE_EVENT_STALLED, -ETIMEDOUT, "no frame for %u.%03u s",
	     (unsigned int)(s->config.frame_ns / NS_PER_S),
	     (unsigned int)(s->config.frame_ns / 1000000 % 1000));
	if (s->inner)
		restart(s);
}

/* Nothing came: is that too long? Not when the user had all buffers. */
static void judge_silence(struct supervisor *s)
{
	if (s->now_ns - s->last_ns < s->config.frame_ns)
		return;
	if (s->starved ||
	    (s->inner_buffers && s->inner_out >= s->inner_buffers)) {
		s->starved = false;
		s->last_ns = s->now_ns;
		return;
	}
	stalled(s);
}

/* --- coming back -------------------------------------------------------- */

static void give_up_attempt(struct supervisor *s, int error)
{
	s->stats.opens_failed++;
	close_and_wait(s);
	if (error == -ENOLINK || error == -ENOLCK)
		tell_lost(s, ask_signal(s, error));
	else if (is_gone(error) && !s->gone)
		tell_gone(s, error);
	else
		tell(s, CAPTURE_EVENT_GAVE_UP_ATTEMPT, error,
		     "cannot open it: %s", strerror(-error));
}

static void tell_format(struct supervisor *s, const struct capture_format *f,
			int error)
{
	const struct capture_format *old = &s->base.format;

	s->stats.format_changes++;
	tell(s, CAPTURE_EVENT_FORMAT_CHANGED, error,
	     "%ux%u %.4s at %u/%u is now %ux%u %.4s at %u/%u%s", old->width,
	     old->height, (const char *)&old->fourcc, old->rate_num,
	     old->rate_den, f->width, f->height, (const char *)&f->fourcc,
	     f->rate_num, f->rate_den, error ? ", refused" : "");
}

/* Return: 0, or -EPROTONOSUPPORT: not the old format, which is insisted on. */
static int take_format(struct supervisor *s, const struct capture_format *f)
{
	bool same_shape = supervisor_same_shape(&s->base.format, f);

	if (!same_shape && s->config.refuse_format_change) {
		bool told = s->refused_known &&
			    supervisor_same_format(&s->refused, f);

		s->refused = *f;
		s->refused_known = true;
		if (!told)
			tell_format(s, f, -EPROTONOSUPPORT);
		return -EPROTONOSUPPORT;
	}
	if (!supervisor_same_format(&s->base.format, f))
		tell_format(s, f, 0);
	s->base.format = *f;
	if (!same_shape)
		supervisor_init_blank(s);
	return 0;
}

static void judge_start(struct supervisor *s, int r)
{
	bool gone = s->gone;

	if (r == -EINPROGRESS)
		return;
	if (r == -ENOLINK || r == -ENOLCK || r == 0)
		s->gone = false;
	if (r == 0)
		tell_started(s,
			     gone ? CAPTURE_EVENT_REPLUGGED
				  : CAPTURE_EVENT_REOPENED,
			     gone ? "it is there again" : "open again");
	else if (r == -ENOLINK || r == -ENOLCK)
		lose_signal(s, ask_signal(s, r));
	else
		give_up_attempt(s, r);
}

static void judge_open(struct supervisor *s, int r,
		       struct capture_source *inner)
{
	if (r == -EINPROGRESS) {
		wait_for_call(s);
		return;
	}
	if (r < 0) {
		give_up_attempt(s, r);
		return;
	}
	adopt(s, inner);
	r = take_format(s, capture_source_format(inner));
	if (r < 0)
		give_up_attempt(s, r);
	else
		judge_start(s, start_inner(s));
}

static void reopen(struct supervisor *s)
{
	struct capture_source *inner = NULL;
	int r;

	s->stats.opens++;
	r = supervisor_open_inner(s, &inner);
	tick(s);
	judge_open(s, r, inner);
}

static void tell_stuck(struct supervisor *s)
{
	if (s->call_told || s->now_ns - s->call_from_ns < s->config.stuck_ns)
		return;
	s->call_told = true;
	s->stats.stuck++;
	tell(s, CAPTURE_EVENT_STUCK, -ETIMEDOUT,
	     "the driver is stuck in %s for %u s",
	     supervisor_op_name(s->call_op),
	     (unsigned int)((s->now_ns - s->call_from_ns) / NS_PER_S));
}

/* A call took long. Is it done? Then what was to follow is done now. */
static void settle(struct supervisor *s)
{
	struct capture_source *inner = NULL;
	int r;

	if (!supervisor_call_wait(s->call, 0)) {
		s->act_ns = s->now_ns + CAPTURE_SUPERVISED_CALL_POLL_NS;
		tell_stuck(s);
		return;
	}
	r = supervisor_call_end(s->call, NULL, &inner);
	s->call = NULL;
	switch (s->call_op) {
	case SUPERVISOR_OPEN:
		judge_open(s, r, inner);
		break;
	case SUPERVISOR_START:
		s->inner = inner;
		judge_start(s, r < 0 ? r : note_started(s));
		break;
	case SUPERVISOR_STOP:
		s->inner = inner;
		close_and_wait(s); /* slow once: not trusted to restart */
		break;
	case SUPERVISOR_CLOSE:
		s->act_ns = s->now_ns +
			    supervisor_backoff_ns(s, &s->failures,
						  s->config.backoff_max_ns);
		break;
	}
}

static void poll_signal(struct supervisor *s)
{
	enum capture_signal signal = capture_source_signal(s->inner);
	int r = -ENOLINK;

	if (!is_lost(signal))
		r = start_inner(s);
	if (r == 0)
		tell_started(s, CAPTURE_EVENT_SIGNAL_BACK,
			     "the signal is back");
	else if (r != -EINPROGRESS)
		trouble(s, r);
}

/* Frames may go on coming without a signal: many receivers send noise. */
static void check_signal(struct supervisor *s)
{
	enum capture_signal signal = capture_source_signal(s->inner);

	s->check_ns = s->now_ns + s->config.signal_ns;
	if (is_lost(signal))
		lose_signal(s, signal);
}

static void act(struct supervisor *s)
{
	switch (s->state) {
	case SUPERVISOR_RUNNING:
		if (s->now_ns >= s->check_ns)
			check_signal(s);
		break;
	case SUPERVISOR_NO_SIGNAL:
		if (s->now_ns >= s->act_ns)
			poll_signal(s);
		break;
	case SUPERVISOR_WAITING:
		if (s->now_ns >= s->act_ns && s->call)
			settle(s);
		else if (s->now_ns >= s->act_ns)
			reopen(s);
		break;
	case SUPERVISOR_OFF:
	case SUPERVISOR_CLOSED:
		break;
	}
}

/* --- frames ------------------------------------------------------------- */

static struct capture_frame *frame_came(struct supervisor *s,
					struct capture_frame *inner)
{
	tick(s);
	s->last_ns = s->now_ns;
	s->starved = false;
	end_outage(s);
	s->refused_known = false;
	if (s->now_ns - s->started_ns >= s->config.stable_ns) {
		s->failures = 0;
		s->polls = 0;
		s->restarted = false;
	}
	return supervisor_wrap(s, inner);
}

/*
 * Asks the source, waiting for it until @until_ns. Return: 0, -ENOBUFS, or
 * -EAGAIN (nothing; what that meant was seen to).
 */
static int ask_inner(struct supervisor *s, uint64_t until_ns,
		     struct capture_frame **ret_frame)
{
	struct capture_frame *inner;
	int r;

	if (!s->free_count) {
		unwatch(s); /* or it would be readable in vain */
		return -ENOBUFS;
	}
	r = capture_source_dequeue(s->inner, until_ns, &inner);
	if (r == 0) {
		*ret_frame = frame_came(s, inner);
		return 0;
	}
	tick(s);
	if (r == -ENOBUFS) {
		s->last_ns = s->now_ns;
		return r;
	}
	if (r == -EAGAIN || r == -ETIMEDOUT || r == -EINTR)
		judge_silence(s);
	else
		trouble(s, r);
	return -EAGAIN;
}

/* One turn. Return: 0, -ENOBUFS, -EAGAIN, or the errno of poll. */
static int turn(struct supervisor *s, uint64_t deadline_ns,
		struct capture_frame **ret_frame)
{
	uint64_t until_ns;
	int r;

	act(s);
	until_ns = MIN(deadline_ns, due_ns(s));
	/* What is overdue is judged after a look, not after a wait. */
	if (until_ns <= s->now_ns)
		until_ns = 0;
	if (s->state == SUPERVISOR_RUNNING) {
		r = ask_inner(s, until_ns, ret_frame);
		if (r != -EAGAIN)
			return r;
	} else if (until_ns) {
		r = queue_wait(s->base.sys, -1, POLLIN, until_ns);
		tick(s);
		if (r < 0 && r != -EINTR)
			return r;
	}
	*ret_frame = supervisor_take_blank(s, s->now_ns);
	if (*ret_frame)
		return 0;
	return s->free_count ? -EAGAIN : -ENOBUFS;
}

static int sup_dequeue(struct capture_source *source, uint64_t deadline_ns,
		       struct capture_frame **ret_frame)
{
	struct supervisor *s = self(source);
	struct capture_frame *frame = NULL;
	int armed;
	int r;

	if (s->state == SUPERVISOR_OFF)
		return -EBUSY;
	tick(s);
	do {
		r = turn(s, deadline_ns, &frame);
	} while (r == -EAGAIN && s->now_ns < deadline_ns);
	if (r == -EAGAIN && deadline_ns)
		r = -ETIMEDOUT;
	armed = arm(s);
	if (r == 0)
		*ret_frame = frame;
	/* A frame counts for more: the timer is set again next time. */
	return r == 0 || armed == 0 ? r : armed;
}

static void close_descriptors(struct supervisor *s)
{
	sys_close(s->base.sys, &s->timer_fd);
	sys_close(s->base.sys, &s->epoll_fd);
}

static void destroy(struct supervisor *s)
{
	close_descriptors(s);
	if (s->call)
		supervisor_call_abandon(s->call);
	(void)capture_settings_free(s->settings);
	free(s);
}

void supervisor_frame_back(struct supervisor *s, uint32_t open)
{
	s->out--;
	if (s->inner_out && (s->inner || s->call) && open == s->opens) {
		if (s->inner_out >= s->inner_buffers)
			s->starved = true;
		s->inner_out--;
	}
	if (s->state == SUPERVISOR_CLOSED && !s->out)
		destroy(s);
	else if (s->state == SUPERVISOR_RUNNING)
		(void)watch(s); /* else the timer wakes its user */
}

/* --- start, stop, close ------------------------------------------------- */

static int sup_stop(struct capture_source *source)
{
	struct supervisor *s = self(source);

	if (s->state == SUPERVISOR_OFF)
		return 0;
	tick(s);
	unwatch(s);
	end_outage(s);
	/* One that cannot stop is of no use: start opens another. */
	if (s->inner && call_inner(s, SUPERVISOR_STOP) < 0) {
		close_inner(s);
		s->act_ns = s->now_ns + s->config.backoff_min_ns;
	}
	s->state = SUPERVISOR_OFF;
	return arm(s);
}

static int sup_start(struct capture_source *source)
{
	struct supervisor *s = self(source);
	int r;

	if (s->state != SUPERVISOR_OFF || s->restored)
		return -EBUSY;
	tick(s);
	if (s->inner) {
		r = start_inner(s);
		if (r < 0 && r != -EINPROGRESS)
			trouble(s, r);
	} else {
		/* Not before its time: stop and start are no way round. */
		begin_outage(s);
		s->state = SUPERVISOR_WAITING;
		s->act_ns = MAX(s->act_ns, s->now_ns);
	}
	r = arm(s);
	if (r < 0)
		(void)sup_stop(source); /* nobody would be woken */
	return r;
}

static void sup_close(struct capture_source *source)
{
	struct supervisor *s = self(source);

	/* What takes longer is left behind, by destroy(). */
	if (s->call && supervisor_call_wait(s->call, supervisor_soon_ns())) {
		(void)!supervisor_call_end(s->call, NULL, &s->inner);
		s->call = NULL;
	}
	close_inner(s);
	close_descriptors(s);
	supervisor_fini_blank(s);
	s->state = SUPERVISOR_CLOSED;
	if (!s->out)
		destroy(s);
}

static int sup_fd(const struct capture_source *source)
{
	return self_const(source)->epoll_fd;
}

static enum capture_signal sup_signal(struct capture_source *source)
{
	struct supervisor *s = self(source);

	return s->inner ? capture_source_signal(s->inner)
			: CAPTURE_SIGNAL_UNKNOWN;
}

static int sup_set_control(struct capture_source *source,
			   const struct capture_control_setting *setting)
{
	struct supervisor *s = self(source);

	return s->inner ? capture_source_set_control(s->inner, setting)
			: -ENODEV;
}

static int sup_get_control(struct capture_source *source,
			   const struct capture_control_setting *setting,
			   int64_t *ret_value)
{
	struct supervisor *s = self(source);

	return s->inner ? capture_source_get_control(s->inner, setting,
						     ret_value)
			: -ENODEV;
}

static int sup_restore(struct capture_source *source)
{
	struct supervisor *s = self(source);

	(void)sup_stop(source); /* it is to be closed */
	s->restored = true;
	return s->inner ? capture_source_restore(s->inner) : -ENODEV;
}

static int sup_scan_element(const struct capture_source *source, uint32_t index,
			    struct capture_scan_element *ret_element)
{
	const struct supervisor *s = self_const(source);

	return s->inner ? capture_source_scan_element(s->inner, index,
						      ret_element)
			: -ENODEV;
}

static void sup_stats(const struct capture_source *source,
		      struct capture_source_stats *ret_stats)
{
	const struct supervisor *s = self_const(source);

	*ret_stats = s->closed;
	if (s->inner)
		capture_source_stats(s->inner, ret_stats);
	else if (s->call && (s->call_op == SUPERVISOR_START ||
			     s->call_op == SUPERVISOR_STOP))
		*ret_stats = s->call_stats;
	else
		return;
	supervisor_add_stats(ret_stats, &s->closed);
}

static int sup_alignment(const struct capture_source *source,
			 struct capture_alignment *ret_alignment)
{
	const struct supervisor *s = self_const(source);

	return s->inner ? capture_source_alignment(s->inner, ret_alignment)
			: -EAGAIN;
}

static const struct source_ops supervisor_ops = {
	.close = sup_close,
	.start = sup_start,
	.stop = sup_stop,
	.dequeue = sup_dequeue,
	.fd = sup_fd,
	.stats = sup_stats,
	.signal = sup_signal,
	.set_control = sup_set_control,
	.get_control = sup_get_control,
	.restore = sup_restore,
	.alignment = sup_alignment,
	.scan_element = sup_scan_element,
};

int capture_supervisor_stats(const struct capture_source *source,
			     struct capture_supervisor_stats *ret_stats)
{
	const struct supervisor *s;

	if (source->ops != &supervisor_ops)
		return -EINVAL;
	s = self_const(source);
	*ret_stats = s->stats;
	/* The outage that lasts counts as far as it is known. */
	if (s->outage)
		ret_stats->outage_ns += s->now_ns - s->outage_from_ns;
	return 0;
}

/* --- open --------------------------------------------------------------- */

static int open_descriptors(struct supervisor *s)
{
	struct epoll_event event = {.events = EPOLLIN};

	s->epoll_fd = s->base.sys->epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0)
		return s->epoll_fd;
	s->timer_fd = s->base.sys->timerfd_create(CLOCK_MONOTONIC,
						  TFD_CLOEXEC | TFD_NONBLOCK);
	if (s->timer_fd < 0)
		return s->timer_fd;
	return s->base.sys->epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->timer_fd,
				      &event);
}

static int setup(struct supervisor *s,
		 const struct capture_supervisor_config *config)
{
	struct capture_source *inner = NULL;
	int r;

	r = supervisor_configure(s, config);
	if (r == 0)
		r = open_descriptors(s);
	if (r == 0)
		r = supervisor_open_inner(s, &inner);
	if (r == -EINPROGRESS)
		r = supervisor_wait_open(s, &inner);
	if (r < 0)
		return r;
	s->config.source.settings = s->settings;
	adopt(s, inner);
	s->base.format = *capture_source_format(inner);
	supervisor_init_blank(s);
	return 0;
}

int supervisor_open_by(const struct sys_ops *sys,
		       const struct capture_supervisor_config *config,
		       source_open_fn *open, struct capture_source **ret_source)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->base.ops = &supervisor_ops;
	s->base.sys = sys ? sys : sys_posix();
	s->open = open;
	s->epoll_fd = -EBADF;
	s->timer_fd = -EBADF;
	s->watched_fd = -EBADF;
	s->lost = CAPTURE_SIGNAL_OK;
	supervisor_init_frames(s);
	r = setup(s, config);
	if (r < 0) {
		destroy(s);
		return r;
	}
	*ret_source = &s->base;
	return 0;
}

int capture_supervisor_open(const struct sys_ops *sys,
			    const struct capture_supervisor_config *config,
			    struct capture_source **ret_source)
{
	return supervisor_open_by(sys, config, capture_source_open, ret_source);
}
