/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An encoder whose driver does not return from one of its calls: its user
 * goes on, is told, gets its frames back and may end; the rest is cleaned up
 * should the call return. Threads are real, so nothing here is measured:
 * tests wait for what must happen.
 */
#include <capture/encoder.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "src/encoder_guard.h"

#define MS UINT64_C(1000000)
#define S (1000 * MS)
#define FRAMES 64u
#define SLOTS 4u

/* --- the device: each frame becomes a packet with its number in it ------- */

struct fake_packet {
	struct packet_holder holder;
	bool out;
	uint32_t number;
};

struct fake {
	struct capture_encoder base;
	int fd;
	struct capture_frame *inside[SLOTS];
	uint32_t count;
	bool draining;
	bool closed;
	bool read; /* a frame, whose packet comes later */
	struct fake_packet packets[SLOTS];
};

static _Thread_local struct fake *mine; /* of the thread that opened it */

/* The gate that calls go through, and what is known of the device. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	const char *shut_for; /* NULL: open */
	unsigned int waiting;
	unsigned int live; /* encoders that were not freed */
	unsigned int opens;
	unsigned int keys;
	int error; /* of the next submit */
	int control_error;
	bool keeps;	   /* frames stay inside, no packet comes */
	bool reads;	   /* frames are read, and their packets come later */
	bool copies;	   /* and are not kept */
	unsigned int room; /* for frames */
	unsigned int refused; /* had none */
	unsigned int polls;   /* after the first was read */
	unsigned int polled;  /* descriptors, in the first of them */
	unsigned int inside;  /* frames, before that */
} gate = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.changed = PTHREAD_COND_INITIALIZER,
};

#define GATE_SET(field, value)                          \
	do {                                            \
		(void)pthread_mutex_lock(&gate.lock);   \
		gate.field = value;                     \
		(void)pthread_mutex_unlock(&gate.lock); \
	} while (0)

static unsigned int gate_get(const unsigned int *field)
{
	unsigned int value;

	(void)pthread_mutex_lock(&gate.lock);
	value = *field;
	(void)pthread_mutex_unlock(&gate.lock);
	return value;
}

static void pass(const char *call)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (gate.shut_for && !strcmp(gate.shut_for, call)) {
		gate.waiting++;
		(void)pthread_cond_broadcast(&gate.changed);
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
		gate.waiting--;
	}
	(void)pthread_mutex_unlock(&gate.lock);
}

static void shut(const char *call)
{
	(void)pthread_mutex_lock(&gate.lock);
	gate.shut_for = call;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void wait_held(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (!gate.waiting)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void wait_for_cleanup(void)
{
	(void)pthread_mutex_lock(&gate.lock);
	while (gate.live)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
}

static struct fake *fake_of(struct capture_encoder *encoder)
{
	return container_of(encoder, struct fake, base);
}

static void fake_free(struct fake *d)
{
	uint32_t i;

	for (i = 0; i < SLOTS; i++) {
		if (d->packets[i].out)
			return;
	}
	sys_close(sys_posix(), &d->fd);
	free(d);
	(void)pthread_mutex_lock(&gate.lock);
	gate.live--;
	(void)pthread_cond_broadcast(&gate.changed);
	(void)pthread_mutex_unlock(&gate.lock);
}

static void fake_close(struct capture_encoder *encoder)
{
	struct fake *d = fake_of(encoder);

	pass("close");
	while (d->count)
		(void)capture_frame_unref(d->inside[--d->count]);
	d->closed = true;
	fake_free(d);
}

static void fake_release(struct packet_holder *holder)
{
	struct fake_packet *p =
		container_of(holder, struct fake_packet, holder);
	struct fake *d = (struct fake *)(uintptr_t)holder->packet.device_hz;

	p->out = false;
	if (d->closed)
		fake_free(d);
}

static int fake_submit(struct capture_encoder *encoder,
		       struct capture_frame *frame)
{
	struct fake *d = fake_of(encoder);
	uint64_t one = 1;
	bool copies;
	bool reads;
	int r;

	pass("submit");
	(void)pthread_mutex_lock(&gate.lock);
	r = gate.error;
	gate.error = 0;
	if (r == 0 && d->count == gate.room) {
		gate.refused++;
		r = -EAGAIN;
	}
	reads = gate.reads;
	copies = gate.copies;
	(void)pthread_mutex_unlock(&gate.lock);
	if (r < 0)
		return r;
	d->inside[d->count++] = copies ? NULL : capture_frame_ref(frame);
	if (!reads)
		(void)!sys_posix()->write(d->fd, &one, sizeof(one));
	return 0;
}

static struct fake_packet *free_packet(struct fake *d)
{
	uint32_t i;

	for (i = 0; i < SLOTS; i++) {
		if (!d->packets[i].out)
			return &d->packets[i];
	}
	return NULL;
}

/* Of a device that says so before the packet is there. */
static void read_one(struct fake *d)
{
	uint64_t value;

	if (!d->count || sys_posix()->read(d->fd, &value, sizeof(value)) < 0)
		return;
	(void)capture_frame_unref(d->inside[0]);
	memmove(&d->inside[0], &d->inside[1], --d->count * sizeof(*d->inside));
	d->base.inputs_done++;
	d->read = true;
}

/*
 * The device has read its first frame when its thread sleeps, having been told
 * that there is no room for the next; then how the thread sleeps on.
 */
static int watched_poll(struct pollfd *fds, unsigned int count, int timeout_ms)
{
	struct fake *d = mine;
	uint64_t one = 1;

	if (!d)
		return sys_posix()->poll(fds, count, timeout_ms);
	(void)pthread_mutex_lock(&gate.lock);
	if (d->read && !gate.polls++) {
		gate.polled = count;
		gate.inside = d->count;
		(void)pthread_cond_broadcast(&gate.changed);
	}
	/* By nothing else: its user asks for no more. */
	if (!d->read && gate.refused && sys_posix()->poll(fds, 1, 0) == 0)
		(void)!sys_posix()->write(d->fd, &one, sizeof(one));
	(void)pthread_mutex_unlock(&gate.lock);
	return sys_posix()->poll(fds, count, timeout_ms);
}

static int fake_receive(struct capture_encoder *encoder, uint64_t deadline_ns,
			struct capture_packet **ret_packet)
{
	struct fake *d = fake_of(encoder);
	struct packet_origin origin;
	struct fake_packet *p = free_packet(d);
	uint64_t value;
	bool keeps;
	bool reads;

	assert_int_equal(deadline_ns, 0);
	pass("receive");
	(void)pthread_mutex_lock(&gate.lock);
	keeps = gate.keeps;
	reads = gate.reads;
	(void)pthread_mutex_unlock(&gate.lock);
	if (reads) {
		read_one(d);
		return -EAGAIN;
	}
	if (!p && d->count)
		return -ENOBUFS;
	if (!d->count && d->draining)
		return -EPIPE;
	if (!d->count || keeps) {
		(void)!sys_posix()->read(d->fd, &value, sizeof(value));
		return -EAGAIN;
	}
	p->out = true;
	p->holder.release = fake_release;
	p->number = d->inside[0]->sequence;
	packet_origin_init(&origin, 0, 0, d->inside[0]);
	(void)capture_frame_unref(d->inside[0]);
	memmove(&d->inside[0], &d->inside[1], --d->count * sizeof(*d->inside));
	*ret_packet = packet_hand_out(&d->base, &p->holder, &origin,
				      (const uint8_t *)&p->number,
				      sizeof(p->number), 0);
	p->holder.packet.device_hz = (uintptr_t)d; /* for fake_release() */
	return 0;
}

static int fake_drain(struct capture_encoder *encoder)
{
	pass("drain");
	fake_of(encoder)->draining = true;
	return 0;
}

static int fake_control(void)
{
	int r;

	pass("control");
	(void)pthread_mutex_lock(&gate.lock);
	gate.keys++;
	r = gate.control_error;
	(void)pthread_mutex_unlock(&gate.lock);
	return r;
}

static int fake_force_key(struct capture_encoder *encoder)
{
	(void)encoder;
	return fake_control();
}

static int fake_set_bitrate(struct capture_encoder *encoder, uint32_t bitrate)
{
	(void)encoder;
	(void)bitrate;
	return fake_control();
}

static int fake_fd(const struct capture_encoder *encoder)
{
	return container_of(encoder, const struct fake, base)->fd;
}

static struct capture_arena *fake_arena(const struct capture_encoder *encoder)
{
	(void)encoder;
	return NULL;
}

static uint64_t fake_deadline_ns(const struct capture_encoder *encoder)
{
	return container_of(encoder, const struct fake, base)->count
		       ? sys_now_ns(sys_posix(), CLOCK_MONOTONIC) + 3600 * S
		       : UINT64_MAX;
}

static const struct encoder_ops fake_ops = {
	.close = fake_close,
	.fd = fake_fd,
	.arena = fake_arena,
	.deadline_ns = fake_deadline_ns,
	.submit = fake_submit,
	.receive = fake_receive,
	.drain = fake_drain,
	.force_key = fake_force_key,
	.set_bitrate = fake_set_bitrate,
};

static int fake_open(const struct sys_ops *sys,
		     const struct capture_encoder_config *config,
		     uint32_t codec, struct capture_encoder **ret_encoder)
{
	struct fake *d = calloc(1, sizeof(*d));

	assert_non_null(d);
	(void)pthread_mutex_lock(&gate.lock);
	gate.live++;
	gate.opens++;
	(void)pthread_mutex_unlock(&gate.lock);
	encoder_base_init(&d->base, &fake_ops, sys, config);
	d->base.codec = codec;
	mine = d;
	d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_true(d->fd >= 0);
	pass("open");
	*ret_encoder = &d->base;
	return 0;
}

/* --- the user ------------------------------------------------------------ */

static struct frame_holder frames[FRAMES];
static unsigned int released;
static void (*on_released)(void); /* once, by the next frame that is */
static struct capture_encoder *encoder;
static const struct sys_ops *used_sys;
static uint8_t memory[64 * 48 * 3 / 2];

static const struct capture_format format = {
	.fourcc = CAPTURE_FORMAT_YU12,
	.width = 64,
	.height = 48,
	.plane_count = 1,
	.stride = {64},
	.size = {sizeof(memory)},
	.rate_num = 30,
	.rate_den = 1,
};

static void frame_back(struct frame_holder *holder)
{
	void (*call)(void) = on_released;

	(void)holder;
	released++;
	on_released = NULL;
	if (call)
		call();
}

static struct capture_frame *frame(uint32_t number)
{
	struct frame_holder *h = &frames[number % FRAMES];

	assert_int_equal(h->refs, 0);
	memset(h, 0, sizeof(*h));
	h->refs = 1;
	h->release = frame_back;
	h->frame.fourcc = format.fourcc;
	h->frame.width = format.width;
	h->frame.height = format.height;
	h->frame.plane_count = 1;
	h->frame.planes[0].map = memory;
	h->frame.planes[0].length = sizeof(memory);
	h->frame.planes[0].bytesused = sizeof(memory);
	h->frame.planes[0].stride = 64;
	h->frame.planes[0].dmabuf_fd = -1;
	h->frame.sequence = number;
	h->frame.stamp_ns = (number + 1) * MS;
	return &h->frame;
}

static int try_open(uint64_t stuck_ns, const char *path)
{
	struct capture_encoder_config config;

	capture_encoder_config_init(&config);
	config.source = &format;
	config.path = path;
	config.stuck_ns = stuck_ns;
	return encoder_guard_open(used_sys, &config, CAPTURE_FORMAT_H264,
				  fake_open, &encoder);
}

/* A busy host is no stuck driver. */
static void be_patient(uint64_t ns)
{
	container_of(encoder, struct guard, base)->patience_ns = ns;
}

static void open_it(uint64_t stuck_ns)
{
	assert_int_equal(try_open(stuck_ns, "/dev/video7"), 0);
	be_patient(3600 * S);
	assert_int_equal(capture_encoder_codec(encoder), CAPTURE_FORMAT_H264);
}

/* Gives up the caller's reference, as users do. */
static int put(uint32_t number)
{
	struct capture_frame *f = frame(number);
	int r;

	while ((r = capture_encoder_submit(encoder, f)) == -EAGAIN)
		(void)poll(NULL, 0, 1);
	(void)capture_frame_unref(f);
	return r;
}

static struct capture_packet *get(void)
{
	struct capture_packet *p = NULL;

	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p), 0);
	return p;
}

/* Until it is told to be stuck, in whatever time. */
static void told_stuck(void)
{
	struct capture_packet *p;
	int r;

	/* Not before. */
	container_of(encoder, struct guard, base)->stuck_ns = 20 * MS;
	be_patient(20 * MS);
	while ((r = capture_encoder_receive(encoder, 0, &p)) == -EAGAIN ||
	       r == 0) {
		if (r == 0)
			(void)capture_packet_unref(p);
		(void)poll(NULL, 0, 1);
	}
	assert_int_equal(r, -ETIMEDOUT);
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EIO);
}

static int setup(void **state)
{
	(void)state;
	encoder = NULL;
	released = 0;
	GATE_SET(keys, 0);
	GATE_SET(opens, 0);
	GATE_SET(error, 0);
	GATE_SET(control_error, 0);
	GATE_SET(keeps, false);
	GATE_SET(reads, false);
	GATE_SET(copies, false);
	GATE_SET(room, SLOTS);
	GATE_SET(refused, 0);
	GATE_SET(polls, 0);
	on_released = NULL;
	used_sys = sys_posix();
	shut(NULL);
	memset(frames, 0, sizeof(frames));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	shut(NULL);
	encoder = capture_encoder_close(encoder);
	wait_for_cleanup();
	return 0;
}

static void frames_and_packets_go_through(void **state)
{
	struct capture_encoder_stats stats;
	struct capture_packet *p;
	uint32_t number;
	uint32_t i;

	(void)state;
	open_it(3600 * S);
	assert_int_equal(capture_encoder_deadline_ns(encoder), UINT64_MAX);
	for (i = 0; i < 3 * FRAMES; i++) {
		assert_int_equal(put(i), 0);
		p = get();
		memcpy(&number, p->data, sizeof(number));
		assert_int_equal(number, i);
		assert_int_equal(p->stamp_ns, (i + 1) * MS);
		assert_null(capture_packet_unref(p));
	}
	assert_int_equal(capture_encoder_drain(encoder), 0);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EPIPE);
	assert_int_equal(capture_encoder_submit(encoder, frame(0)), -EPIPE);
	(void)capture_frame_unref(&frames[0].frame);
	capture_encoder_stats(encoder, &stats);
	assert_int_equal(stats.frames_in, 3 * FRAMES);
	assert_int_equal(stats.packets_out, 3 * FRAMES);
	encoder = capture_encoder_close(encoder);
	assert_int_equal(released, 3 * FRAMES + 1);
	wait_for_cleanup();
}

/* The descriptor is quiet while there is nothing, and tells what there is. */
static void descriptor_tells(void **state)
{
	struct capture_packet *p;
	struct pollfd fd;

	(void)state;
	open_it(3600 * S);
	fd = (struct pollfd){.fd = capture_encoder_fd(encoder),
			     .events = POLLIN | POLLOUT};
	assert_int_equal(capture_encoder_receive(encoder, 0, &p), -EAGAIN);
	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_equal(put(0), 0);
	assert_int_equal(poll(&fd, 1, -1), 1);
	while (capture_encoder_receive(encoder, 0, &p) < 0)
		(void)poll(&fd, 1, -1);
	(void)capture_packet_unref(p);
}

/*
 * Drivers give a frame back before its packet is there: its thread sleeps on
 * the device then, and what waited for that room is in.
 */
static void is_awake_for_the_packet(bool copies)
{
	static struct sys_ops sys; /* threads may end after the test */

	sys = *sys_posix();
	sys.poll = watched_poll;
	used_sys = &sys;
	GATE_SET(copies, copies);
	GATE_SET(reads, true);
	GATE_SET(room, 1);
	open_it(3600 * S);
	assert_int_equal(put(0), 0);
	assert_int_equal(put(1), 0);
	(void)pthread_mutex_lock(&gate.lock);
	while (!gate.polls)
		(void)pthread_cond_wait(&gate.changed, &gate.lock);
	(void)pthread_mutex_unlock(&gate.lock);
	assert_int_equal(gate_get(&gate.polled), 2);
	assert_int_equal(gate_get(&gate.inside), 1);
	encoder = capture_encoder_close(encoder);
	assert_int_equal(released, 2);
}

static void frames_that_are_read_are_progress(void **state)
{
	(void)state;
	is_awake_for_the_packet(false);
}

static void copies_that_are_read_are_progress(void **state)
{
	(void)state;
	is_awake_for_the_packet(true);
}

static void packets_that_are_kept_hold_it_up(void **state)
{
	struct capture_packet *kept[SLOTS];
	struct capture_packet *p;
	uint32_t i;
	int r;

	(void)state;
	open_it(3600 * S);
	for (i = 0; i < SLOTS; i++) {
		assert_int_equal(put(i), 0);
		kept[i] = get();
	}
	assert_int_equal(put(SLOTS), 0);
	while ((r = capture_encoder_receive(encoder, 0, &p)) == -EAGAIN)
		(void)poll(NULL, 0, 1);
	assert_int_equal(r, -ENOBUFS);
	for (i = 0; i < SLOTS; i++)
		(void)capture_packet_unref(kept[i]);
	while ((r = capture_encoder_receive(encoder, 0, &p)) < 0)
		(void)poll(NULL, 0, 1);
	(void)capture_packet_unref(p);
}

static void controls_are_answered(void **state)
{
	(void)state;
	open_it(3600 * S);
	assert_int_equal(capture_encoder_force_key(encoder), 0);
	GATE_SET(control_error, -EOPNOTSUPP);
	assert_int_equal(capture_encoder_force_key(encoder), -EOPNOTSUPP);
	GATE_SET(control_error, -ERANGE);
	assert_int_equal(capture_encoder_set_bitrate(encoder, 1), -ERANGE);
	assert_int_equal(gate_get(&gate.keys), 3);
}

static void errors_of_submit_are_told_by_receive(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_it(3600 * S);
	GATE_SET(error, -ENODEV);
	assert_int_equal(put(0), 0);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -ENODEV);
	assert_int_equal(capture_encoder_receive(encoder, UINT64_MAX, &p),
			 -EIO);
	assert_int_equal(put(1), -EIO);
	encoder = capture_encoder_close(encoder);
	assert_int_equal(released, 2);
}

/* The device is left alone until the call returns; then it is as before. */
static void comes_back(unsigned int frames_kept)
{
	unsigned int out = 0;
	unsigned int i;

	for (i = 0; i < FRAMES; i++)
		out += frames[i].refs;
	assert_int_equal(out, frames_kept);
	i = gate_get(&gate.opens);
	assert_int_equal(try_open(20 * MS, "/dev/video7"), -EBUSY);
	assert_int_equal(try_open(20 * MS, NULL), -EBUSY);
	assert_int_equal(gate_get(&gate.opens), i);
	shut(NULL);
	wait_for_cleanup();
	/* Its thread is on its way out. */
	while (try_open(3600 * S, "/dev/video7") == -EBUSY)
		(void)poll(NULL, 0, 1);
	assert_non_null(encoder);
	be_patient(3600 * S);
	for (i = 0, out = 0; i < FRAMES; i++)
		out += frames[i].refs;
	assert_int_equal(out, 0);
	assert_int_equal(put(10), 0);
	(void)capture_packet_unref(get());
	encoder = capture_encoder_close(encoder);
}

static void stuck_in_submit(void **state)
{
	(void)state;
	open_it(3600 * S);
	shut("submit");
	assert_int_equal(put(0), 0);
	assert_int_equal(put(1), 0);
	wait_held();
	told_stuck();
	encoder = capture_encoder_close(encoder);
	/* The one that the driver has just now stays, the other does not. */
	comes_back(1);
	assert_int_equal(released, 3);
}

static void stuck_in_receive(void **state)
{
	(void)state;
	open_it(3600 * S);
	GATE_SET(keeps, true);
	assert_int_equal(put(0), 0);
	shut("receive");
	assert_int_equal(put(1), 0);
	wait_held();
	told_stuck();
	encoder = capture_encoder_close(encoder);
	assert_int_equal(released, 2);
	GATE_SET(keeps, false);
	comes_back(0);
}

static void stuck_in_drain(void **state)
{
	(void)state;
	open_it(3600 * S);
	shut("drain");
	assert_int_equal(capture_encoder_drain(encoder), 0);
	wait_held();
	told_stuck();
	encoder = capture_encoder_close(encoder);
	comes_back(0);
}

static void stuck_in_a_control(void **state)
{
	(void)state;
	open_it(3600 * S);
	shut("control");
	be_patient(20 * MS);
	assert_int_equal(capture_encoder_force_key(encoder), -ETIMEDOUT);
	wait_held();
	told_stuck();
	assert_int_equal(capture_encoder_set_bitrate(encoder, 1), -EIO);
	encoder = capture_encoder_close(encoder);
	comes_back(0);
}

static void stuck_in_close(void **state)
{
	(void)state;
	open_it(3600 * S);
	GATE_SET(keeps, true);
	assert_int_equal(put(0), 0);
	shut("close");
	be_patient(20 * MS);
	encoder = capture_encoder_close(encoder);
	wait_held();
	assert_int_equal(released, 1);
	GATE_SET(keeps, false);
	comes_back(0);
}

static void stuck_in_open(void **state)
{
	(void)state;
	shut("open");
	assert_int_equal(try_open(20 * MS, "/dev/video7"), -ETIMEDOUT);
	wait_held();
	comes_back(0);
}

static void packets_outlive_a_stuck_encoder(void **state)
{
	struct capture_packet *p;
	uint32_t number;

	(void)state;
	open_it(3600 * S);
	assert_int_equal(put(41), 0);
	p = get();
	shut("submit");
	assert_int_equal(put(1), 0);
	wait_held();
	told_stuck();
	encoder = capture_encoder_close(encoder);
	memcpy(&number, p->data, sizeof(number));
	assert_int_equal(number, 41);
	assert_int_equal(try_open(20 * MS, "/dev/video7"), -EBUSY);
	shut(NULL);
	/* Its thread ends; the packet is the last that is left of it. */
	while (try_open(3600 * S, "/dev/video7") == -EBUSY)
		(void)poll(NULL, 0, 1);
	assert_int_equal(gate_get(&gate.live), 2);
	memcpy(&number, p->data, sizeof(number));
	assert_int_equal(number, 41);
	(void)capture_packet_unref(p);
	assert_int_equal(gate_get(&gate.live), 1);
}

/* Nobody but its thread reads what comes back while it closes. */
static void packets_come_back_to_an_encoder_stuck_in_close(void **state)
{
	struct capture_packet *p;

	(void)state;
	open_it(3600 * S);
	assert_int_equal(put(0), 0);
	p = get();
	shut("close");
	be_patient(20 * MS);
	encoder = capture_encoder_close(encoder);
	wait_held();
	(void)capture_packet_unref(p);
	assert_int_equal(gate_get(&gate.live), 1);
	shut(NULL);
	while (try_open(3600 * S, "/dev/video7") == -EBUSY)
		(void)poll(NULL, 0, 1);
	/* The new one's. */
	assert_int_equal(gate_get(&gate.live), 1);
}

/* Whoever polls the descriptor is not woken by what is left behind. */
static void descriptor_ends_with_close(void **state)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct pollfd fd;
	int user_fd = epoll_create1(EPOLL_CLOEXEC);

	(void)state;
	assert_true(user_fd >= 0);
	open_it(3600 * S);
	fd = (struct pollfd){.fd = capture_encoder_fd(encoder),
			     .events = POLLIN};
	assert_int_equal(epoll_ctl(user_fd, EPOLL_CTL_ADD, fd.fd, &event), 0);
	assert_int_equal(put(0), 0);
	assert_int_equal(poll(&fd, 1, -1), 1);
	shut("close");
	be_patient(20 * MS);
	encoder = capture_encoder_close(encoder);
	wait_held();
	assert_int_equal(fcntl(fd.fd, F_GETFD), -1);
	assert_int_equal(epoll_wait(user_fd, &event, 1, 0), 0);
	sys_close(sys_posix(), &user_fd);
	comes_back(0);
}

static void let_it_finish(void)
{
	struct guard *g = container_of(encoder, struct guard, base);

	shut(NULL);
	(void)pthread_mutex_lock(&g->lock);
	while (!g->finished)
		(void)pthread_cond_wait(&g->changed, &g->lock);
	(void)pthread_mutex_unlock(&g->lock);
}

/* The driver returns while the frames that it did not have are given back. */
static void returns_within_close(void **state)
{
	(void)state;
	open_it(3600 * S);
	shut("submit");
	assert_int_equal(put(0), 0);
	assert_int_equal(put(1), 0);
	wait_held();
	on_released = let_it_finish;
	be_patient(20 * MS);
	encoder = capture_encoder_close(encoder);
	assert_null(on_released);
	assert_int_equal(released, 2);
}

/* Everything that an open needs may be missing. */
static struct sys_ops failing;
static int calls_left;

static bool fails(void)
{
	return calls_left-- == 0;
}

static int failing_eventfd(unsigned int value, int flags)
{
	return fails() ? -EMFILE : sys_posix()->eventfd(value, flags);
}

static int failing_epoll_create1(int flags)
{
	return fails() ? -EMFILE : sys_posix()->epoll_create1(flags);
}

static int failing_epoll_ctl(int epfd, int op, int fd, struct epoll_event *e)
{
	return fails() ? -ENOSPC : sys_posix()->epoll_ctl(epfd, op, fd, e);
}

static void open_without_descriptors(void **state)
{
	struct capture_encoder_config config;
	int spare = eventfd(0, EFD_CLOEXEC);
	int i;
	int r;

	(void)state;
	failing = *sys_posix();
	failing.eventfd = failing_eventfd;
	failing.epoll_create1 = failing_epoll_create1;
	failing.epoll_ctl = failing_epoll_ctl;
	capture_encoder_config_init(&config);
	config.source = &format;
	config.stuck_ns = 3600 * S;
	for (i = 0;; i++) {
		int next;

		calls_left = i;
		r = encoder_guard_open(&failing, &config, CAPTURE_FORMAT_H264,
				       fake_open, &encoder);
		if (r == 0)
			break;
		assert_int_equal(r, i < 3 ? -EMFILE : -ENOSPC);
		assert_int_equal(gate_get(&gate.opens), 0);
		next = eventfd(0, EFD_CLOEXEC);
		assert_int_equal(next, spare + 1);
		sys_close(sys_posix(), &next);
	}
	assert_int_equal(i, 4);
	sys_close(sys_posix(), &spare);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CASE(frames_and_packets_go_through),
		CASE(descriptor_tells),
		CASE(frames_that_are_read_are_progress),
		CASE(copies_that_are_read_are_progress),
		CASE(packets_that_are_kept_hold_it_up),
		CASE(controls_are_answered),
		CASE(errors_of_submit_are_told_by_receive),
		CASE(stuck_in_submit),
		CASE(stuck_in_receive),
		CASE(stuck_in_drain),
		CASE(stuck_in_a_control),
		CASE(stuck_in_close),
		CASE(stuck_in_open),
		CASE(packets_outlive_a_stuck_encoder),
		CASE(packets_come_back_to_an_encoder_stuck_in_close),
		CASE(descriptor_ends_with_close),
		CASE(returns_within_close),
		CASE(open_without_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
