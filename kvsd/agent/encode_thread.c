/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/encode_thread.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "core/limits.h"

struct done {
	struct capture_frame *frame;
	bool key;		/* while it waits */
	int result;		/* once it is done */
};

struct encode_thread {
	const struct sys_ops *sys;
	struct capture_encoder *encoder;
	uint32_t depth;
	int event_fd;
	pthread_t thread;
	bool runs;		/* the caller's: to be joined */

	pthread_mutex_t lock;	/* of what follows */
	pthread_cond_t wake;	/* the thread: there is something to do */
	/* One ring: @taken <= @finished <= @put, which only grow. */
	struct done frames[ENCODE_FRAMES_MAX];
	uint64_t put;
	uint64_t finished;
	uint64_t taken;
	struct capture_packet *packets[ENCODE_PACKETS_MAX];
	size_t packet_count;
	struct capture_packet *returned[ENCODE_PACKETS_MAX];
	size_t returned_count;
	bool draining;
	bool stopping;
	int state;
	struct encode_thread_stats stats;
};

static void lock(struct encode_thread *t)
{
	(void)pthread_mutex_lock(&t->lock);
}

static void unlock(struct encode_thread *t)
{
	(void)pthread_mutex_unlock(&t->lock);
}

static struct done *slot(struct encode_thread *t, uint64_t number)
{
	return &t->frames[number % ENCODE_FRAMES_MAX];
}

/* --- on the thread: without the lock ------------------------------------------------- */

/* What one call of the encoder left behind. */
struct outcome {
	struct capture_packet *packets[ENCODE_PACKETS_MAX];
	size_t packet_count;
	int result;		/* of submit or drain */
	int state;		/* of the encoder afterwards */
	uint64_t took_ns;
	struct capture_encoder_stats stats;
};

static void receive_all(struct encode_thread *t, struct outcome *o)
{
	int r;

	/* No encoder has more packets than there are places. */
	while ((r = capture_encoder_receive(t->encoder, 0,
					    &o->packets[o->packet_count])) == 0)
		o->packet_count++;
	o->state = r == -EAGAIN || r == -ENOBUFS ? 0 : r;
}

/* @frame: NULL: drain. */
static void encode(struct encode_thread *t, struct capture_frame *frame,
		   bool key, struct outcome *o)
{
	uint64_t began_ns = sys_now_ns(t->sys, CLOCK_MONOTONIC);

	o->packet_count = 0;
	if (key) /* key frames else come at the encoder's own pace */
		(void)!capture_encoder_force_key(t->encoder);
	o->result = frame ? capture_encoder_submit(t->encoder, frame) :
			    capture_encoder_drain(t->encoder);
	receive_all(t, o);
	capture_encoder_stats(t->encoder, &o->stats);
	o->took_ns = sys_now_ns(t->sys, CLOCK_MONOTONIC) - began_ns;
}

/* --- on the thread: with the lock ---------------------------------------------------- */

/* Packets that were read go back to the encoder. */
static void take_back(struct encode_thread *t)
{
	struct capture_packet *packets[ENCODE_PACKETS_MAX];
	size_t count = t->returned_count;

	for (size_t i = 0; i < count; i++)
		packets[i] = t->returned[i];
	t->returned_count = 0;
	unlock(t);
	for (size_t i = 0; i < count; i++)
		(void)capture_packet_unref(packets[i]);
	lock(t);
}

static bool has_work(const struct encode_thread *t)
{
	return !t->state && (t->finished < t->put || t->draining);
}

static void publish(struct encode_thread *t, const struct outcome *o)
{
	struct encode_thread_stats *s = &t->stats;
	const uint64_t one = 1;

	assert(t->packet_count + o->packet_count <= ENCODE_PACKETS_MAX);
	for (size_t i = 0; i < o->packet_count; i++)
		t->packets[t->packet_count++] = o->packets[i];
	s->encoder = o->stats;
	s->busy_ns += o->took_ns;
	s->busy_ns_max = MAX(s->busy_ns_max, o->took_ns);
	/* A full counter means that it is known already. */
	(void)!t->sys->write(t->event_fd, &one, sizeof(one));
}

static void run_one(struct encode_thread *t, struct outcome *o)
{
	struct done job = t->finished < t->put ? *slot(t, t->finished) :
						 (struct done){ 0 };

	unlock(t);
	encode(t, job.frame, job.key, o);
	lock(t);
	publish(t, o);
	if (o->result == -EAGAIN) {
		/* No room but in packets that are out: once more then. */
		while (!t->stopping && !t->returned_count)
			(void)pthread_cond_wait(&t->wake, &t->lock);
		return;
	}
	if (job.frame) {
		slot(t, t->finished)->result = o->result;
		t->finished++;
	}
	/* A frame of another format is its own fault alone. */
	if (o->result < 0 && o->result != -EINVAL)
		t->state = o->result;
	else
		t->state = o->state;
}

static void *encode_main(void *arg)
{
	struct encode_thread *t = arg;
	struct outcome outcome;

	lock(t);
	while (!t->stopping) {
		if (t->returned_count)
			take_back(t);
		else if (has_work(t))
			run_one(t, &outcome);
		else
			(void)pthread_cond_wait(&t->wake, &t->lock);
	}
	unlock(t);
	return NULL;
}

/* --- life ---------------------------------------------------------------------------- */

int encode_thread_new(const struct sys_ops *sys,
		      struct capture_encoder *encoder, uint32_t depth,
		      struct encode_thread **ret_thread)
{
	AUTO(encode_thread_free) struct encode_thread *t = NULL;
	int r;

	assert(depth > 0 && depth <= ENCODE_FRAMES_MAX);
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->sys = sys;
	t->encoder = encoder;
	t->depth = depth;
	t->event_fd = -EBADF;
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->wake, NULL);
	capture_encoder_stats(encoder, &t->stats.encoder);
	r = sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r < 0)
		return r;
	t->event_fd = r;
	r = -pthread_create(&t->thread, NULL, encode_main, t);
	if (r < 0)
		return r;
	t->runs = true;
	*ret_thread = TAKE_PTR(t);
	return 0;
}

void encode_thread_stop(struct encode_thread *t)
{
	if (!t->runs)
		return;
	lock(t);
	t->stopping = true;
	(void)pthread_cond_signal(&t->wake);
	unlock(t);
	(void)pthread_join(t->thread, NULL);
	t->runs = false;
	for (; t->finished < t->put; t->finished++)
		slot(t, t->finished)->result = -ECANCELED;
}

struct encode_thread *encode_thread_free(struct encode_thread *t)
{
	if (!t)
		return NULL;
	encode_thread_stop(t);
	for (; t->taken < t->put; t->taken++)
		(void)capture_frame_unref(slot(t, t->taken)->frame);
	for (size_t i = 0; i < t->packet_count; i++)
		(void)capture_packet_unref(t->packets[i]);
	for (size_t i = 0; i < t->returned_count; i++)
		(void)capture_packet_unref(t->returned[i]);
	sys_close(t->sys, &t->event_fd);
	(void)pthread_cond_destroy(&t->wake);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
	return NULL;
}

/* --- the caller's -------------------------------------------------------------------- */

int encode_thread_fd(const struct encode_thread *t)
{
	return t->event_fd;
}

void encode_thread_clear(struct encode_thread *t)
{
	uint64_t count;

	/* Nothing to read: nothing has come. */
	(void)!t->sys->read(t->event_fd, &count, sizeof(count));
}

bool encode_thread_full(struct encode_thread *t)
{
	bool full;

	lock(t);
	full = t->put - t->taken >= t->depth;
	unlock(t);
	return full;
}

int encode_thread_put(struct encode_thread *t, struct capture_frame *frame,
		      bool key)
{
	int r = 0;

	lock(t);
	if (t->draining)
		r = -EPIPE;
	else if (t->put - t->taken >= t->depth)
		r = -EAGAIN;
	if (r == 0) {
		*slot(t, t->put++) = (struct done){ .frame = frame,
						    .key = key };
		t->stats.frames_max = MAX(t->stats.frames_max,
					  (uint32_t)(t->put - t->taken));
		(void)pthread_cond_signal(&t->wake);
	}
	unlock(t);
	return r;
}

bool encode_thread_take_frame(struct encode_thread *t,
			      struct capture_frame **ret_frame, int *ret_result)
{
	bool any;

	lock(t);
	any = t->taken < t->finished;
	if (any) {
		const struct done *d = slot(t, t->taken++);

		*ret_frame = d->frame;
		*ret_result = d->result;
	}
	unlock(t);
	return any;
}

bool encode_thread_take_packet(struct encode_thread *t,
			       struct capture_packet **ret_packet)
{
	bool any;

	lock(t);
	any = t->packet_count > 0;
	if (any) {
		*ret_packet = t->packets[0];
		t->packet_count--;
		for (size_t i = 0; i < t->packet_count; i++)
			t->packets[i] = t->packets[i + 1];
	}
	unlock(t);
	return any;
}

void encode_thread_return_packet(struct encode_thread *t,
				 struct capture_packet *packet)
{
	lock(t);
	assert(t->returned_count < ENCODE_PACKETS_MAX);
	t->returned[t->returned_count++] = packet;
	(void)pthread_cond_signal(&t->wake);
	unlock(t);
}

int encode_thread_state(struct encode_thread *t)
{
	int state;

	lock(t);
	state = t->state;
	unlock(t);
	return state;
}

void encode_thread_drain(struct encode_thread *t)
{
	lock(t);
	t->draining = true;
	(void)pthread_cond_signal(&t->wake);
	unlock(t);
}

void encode_thread_stats(struct encode_thread *t,
			 struct encode_thread_stats *ret)
{
	lock(t);
	*ret = t->stats;
	unlock(t);
}
