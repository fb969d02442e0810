/* SPDX-License-Identifier: Apache-2.0 */
/* What the thread of a guarded encoder does. */
#include "src/encoder_guard.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "base/sys.h"

#define NS_PER_MS UINT64_C(1000000)

static uint64_t now(const struct guard *g)
{
	return sys_now_ns(g->sys, CLOCK_MONOTONIC);
}

static bool is_stopped(struct guard *g)
{
	bool stop;

	(void)pthread_mutex_lock(&g->lock);
	stop = g->stop;
	(void)pthread_mutex_unlock(&g->lock);
	return stop;
}

/* --- what was asked ----------------------------------------------------- */

static bool next_request(struct guard *g, struct guard_request *ret_request)
{
	bool some;

	(void)pthread_mutex_lock(&g->lock);
	some = !g->stop && g->request_count && !g->end;
	if (some) {
		*ret_request = g->requests[g->request_first];
		if (ret_request->op == GUARD_SUBMIT)
			g->frames[ret_request->value].place = GUARD_ENTERING;
	}
	(void)pthread_mutex_unlock(&g->lock);
	return some;
}

static void request_done(struct guard *g, const struct guard_request *request,
			 int answer)
{
	(void)pthread_mutex_lock(&g->lock);
	g->request_first = (g->request_first + 1) % GUARD_REQUESTS_MAX;
	g->request_count--;
	g->answered = request->ticket;
	g->answer = answer;
	(void)pthread_cond_broadcast(&g->changed);
	(void)pthread_mutex_unlock(&g->lock);
}

static void end(struct guard *g, int r)
{
	(void)pthread_mutex_lock(&g->lock);
	if (!g->end)
		g->end = r;
	guard_tell_user(g);
	(void)pthread_mutex_unlock(&g->lock);
}

static void set_place(struct guard *g, struct guard_frame *f,
		      enum guard_place place)
{
	(void)pthread_mutex_lock(&g->lock);
	f->place = place;
	(void)pthread_mutex_unlock(&g->lock);
}

/* Return: whether it is in, or gone; else it is tried again later. */
static bool enter(struct guard *g, struct guard_frame *f)
{
	struct capture_encoder_stats before;
	struct capture_encoder_stats after;
	int r;

	capture_encoder_stats(g->encoder, &before);
	r = capture_encoder_submit(g->encoder, &f->holder.frame);
	if (r == -EAGAIN) {
		capture_encoder_stats(g->encoder, &after);
		if (after.imports_refused == before.imports_refused) {
			set_place(g, f, GUARD_ASKED);
			return false;
		}
		r = 0; /* it cannot be taken, now or later, and is counted */
	}
	if (r < 0)
		end(g, r);
	set_place(g, f, GUARD_INSIDE);
	(void)capture_frame_unref(&f->holder.frame);
	return true;
}

/* Return: false: a frame has no room; what follows it waits too. */
static bool do_request(struct guard *g, const struct guard_request *request)
{
	int r = 0;

	switch (request->op) {
	case GUARD_SUBMIT:
		if (!enter(g, &g->frames[request->value]))
			return false;
		break;
	case GUARD_FORCE_KEY:
		r = capture_encoder_force_key(g->encoder);
		break;
	case GUARD_BITRATE:
		r = capture_encoder_set_bitrate(g->encoder, request->value);
		break;
	case GUARD_DRAIN:
		r = capture_encoder_drain(g->encoder);
		if (r < 0)
			end(g, r);
		break;
	}
	request_done(g, request, r);
	return true;
}

static bool do_requests(struct guard *g)
{
	struct guard_request request;
	bool some = false;

	while (next_request(g, &request)) {
		if (!do_request(g, &request))
			break;
		some = true;
	}
	return some;
}

/* --- packets ------------------------------------------------------------ */

static struct capture_packet *next_returned(struct guard *g)
{
	struct capture_packet *packet = NULL;

	(void)pthread_mutex_lock(&g->lock);
	if (g->returned.count) {
		struct guard_packet *p =
			&g->packets[guard_row_take(&g->returned)];

		packet = p->packet;
		p->packet = NULL;
		g->starved = false;
	}
	(void)pthread_mutex_unlock(&g->lock);
	return packet;
}

/* Its user is gone: what came after that is nobody's. */
static void drop_ready(struct guard *g)
{
	(void)pthread_mutex_lock(&g->lock);
	while (g->ready.count)
		guard_row_put(&g->returned, guard_row_take(&g->ready));
	(void)pthread_mutex_unlock(&g->lock);
}

static bool take_back(struct guard *g)
{
	struct capture_packet *packet;
	bool some = false;

	while ((packet = next_returned(g))) {
		(void)capture_packet_unref(packet);
		some = true;
	}
	return some;
}

/* As many as the encoder has buffers: there is always a free one. */
static void give(struct guard *g, struct capture_packet *packet)
{
	uint32_t i;

	(void)pthread_mutex_lock(&g->lock);
	for (i = 0; g->packets[i].packet; i++)
		assert(i + 1 < GUARD_PACKETS);
	g->packets[i].packet = packet;
	g->packets[i].holder.packet = *packet;
	guard_row_put(&g->ready, i);
	guard_tell_user(g);
	(void)pthread_mutex_unlock(&g->lock);
}

static bool take_packets(struct guard *g)
{
	struct capture_packet *packet;
	bool some = false;
	int r = 0;

	while (!is_stopped(g) &&
	       (r = capture_encoder_receive(g->encoder, 0, &packet)) == 0) {
		give(g, packet);
		some = true;
	}
	if (r < 0 && r != -EAGAIN && r != -ENOBUFS)
		end(g, r);
	if (r == -ENOBUFS) {
		(void)pthread_mutex_lock(&g->lock);
		g->starved = !g->returned.count;
		guard_tell_user(g);
		(void)pthread_mutex_unlock(&g->lock);
	}
	return some;
}

/* --- one turn after another --------------------------------------------- */

static bool has_ended(struct guard *g)
{
	bool ended;

	(void)pthread_mutex_lock(&g->lock);
	ended = g->end != 0;
	(void)pthread_mutex_unlock(&g->lock);
	return ended;
}

/* Return: whether anything was done. */
static bool turn(struct guard *g)
{
	uint64_t inputs_done = g->encoder->inputs_done;
	bool some = false;

	(void)pthread_mutex_lock(&g->lock);
	g->busy_ns = now(g);
	(void)pthread_mutex_unlock(&g->lock);
	some |= take_back(g);
	some |= do_requests(g);
	if (!has_ended(g))
		some |= take_packets(g);
	/* Many drivers say that a frame was read before its packet is done. */
	some |= g->encoder->inputs_done != inputs_done;
	/* What left made room for what waits. */
	if (some)
		(void)do_requests(g);
	(void)pthread_mutex_lock(&g->lock);
	g->busy_ns = 0;
	g->due_ns = g->end ? UINT64_MAX
			   : capture_encoder_deadline_ns(g->encoder);
	capture_encoder_stats(g->encoder, &g->stats);
	(void)pthread_mutex_unlock(&g->lock);
	return some;
}

/* Rounded up: too early would be one turn for nothing. */
static int wait_ms(uint64_t due_ns, uint64_t now_ns)
{
	uint64_t ms;

	if (due_ns == UINT64_MAX)
		return -1;
	if (due_ns <= now_ns)
		return 0;
	ms = (due_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
	return (int)MIN(ms, UINT64_C(3600000));
}

/*
 * For the device, or for its user. @idle: the device said that there is
 * something, and there was nothing: it is left alone for a moment.
 */
static bool wait_work(struct guard *g, bool idle)
{
	struct pollfd fds[2] = {
		{.fd = g->work_fd, .events = POLLIN},
		{.fd = g->encoder_fd, .events = POLLIN | POLLOUT | POLLPRI},
	};
	unsigned int count = 2;
	uint64_t due_ns;
	uint64_t value;
	int r;

	(void)pthread_mutex_lock(&g->lock);
	due_ns = g->due_ns;
	if (g->starved || g->end)
		count = 1;
	(void)pthread_mutex_unlock(&g->lock);
	if (count == 2 && idle) {
		count = 1;
		due_ns = MIN(due_ns, now(g) + CAPTURE_GUARD_PAUSE_NS);
	}
	r = g->sys->poll(fds, count, wait_ms(due_ns, now(g)));
	(void)pthread_mutex_lock(&g->lock);
	if (g->asked_ns) {
		(void)g->sys->read(g->work_fd, &value, sizeof(value));
		g->asked_ns = 0;
	}
	(void)pthread_mutex_unlock(&g->lock);
	return r > 0 && count == 2 && fds[1].revents && !fds[0].revents;
}

static void run(struct guard *g)
{
	bool by_device = false;

	while (!is_stopped(g)) {
		bool some = turn(g);

		by_device = wait_work(g, by_device && !some);
	}
}

static void publish(struct guard *g, int r)
{
	(void)pthread_mutex_lock(&g->lock);
	g->opened = true;
	g->open_error = r;
	g->busy_ns = 0;
	if (r == 0) {
		g->arena = capture_encoder_arena(g->encoder);
		(void)capture_encoder_codec_private(
			g->encoder, &g->codec_private, &g->codec_private_bytes);
		capture_encoder_stats(g->encoder, &g->stats);
		g->codec = capture_encoder_codec(g->encoder);
		g->encoder_fd = capture_encoder_fd(g->encoder);
	}
	(void)pthread_cond_broadcast(&g->changed);
	(void)pthread_mutex_unlock(&g->lock);
}

void *guard_thread(void *arg)
{
	struct guard *g = arg;
	uint32_t i;
	int r;

	r = g->open(g->sys, &g->config, g->codec, &g->encoder);
	publish(g, r);
	if (r == 0) {
		run(g);
		drop_ready(g);
		(void)take_back(g);
		g->encoder = capture_encoder_close(g->encoder);
	}
	/* Those that did not get in. */
	for (i = 0; i < GUARD_FRAMES; i++) {
		if (g->frames[i].holder.refs)
			(void)capture_frame_unref(&g->frames[i].holder.frame);
	}
	/* Its user may give packets back for as long as closing takes. */
	do {
		(void)take_back(g);
	} while (!guard_finish(g));
	return NULL; /* @g may be gone */
}
