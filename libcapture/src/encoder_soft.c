/* SPDX-License-Identifier: Apache-2.0 */
#include "src/encoder_soft.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/sys.h"
#include "src/arena.h"

#if HAVE_OPENH264
#define SOFT_OPENH264 &soft_openh264
#else
#define SOFT_OPENH264 NULL
#endif

#if HAVE_AVCODEC
#define SOFT_FFV1 &soft_ffv1
#define SOFT_AAC &soft_aac
#else
#define SOFT_FFV1 NULL
#define SOFT_AAC NULL
#endif
#if HAVE_TURBOJPEG
#define SOFT_JPEG &soft_jpeg
#else
#define SOFT_JPEG NULL
#endif

/* A codec whose library is not built in has a row without a backend. */
static const struct soft_row {
	uint32_t codec;
	enum capture_media media;
	const struct soft_codec *backend;
} rows[] = {
	{CAPTURE_FORMAT_H264, CAPTURE_MEDIA_PICTURE, SOFT_OPENH264},
	{CAPTURE_FORMAT_JPEG, CAPTURE_MEDIA_PICTURE, SOFT_JPEG},
	{CAPTURE_FORMAT_FFV1, CAPTURE_MEDIA_PICTURE, SOFT_FFV1},
	{CAPTURE_FORMAT_Y16, CAPTURE_MEDIA_PICTURE, &soft_y16},
	{CAPTURE_FORMAT_ALAW, CAPTURE_MEDIA_SAMPLES, &soft_g711},
	{CAPTURE_FORMAT_ULAW, CAPTURE_MEDIA_SAMPLES, &soft_g711},
	{CAPTURE_FORMAT_AAC, CAPTURE_MEDIA_SAMPLES, SOFT_AAC},
};

static const struct encoder_ops soft_ops;

static struct soft *soft_of(struct capture_encoder *encoder)
{
	return container_of(encoder, struct soft, base);
}

static const struct soft *soft_of_const(const struct capture_encoder *encoder)
{
	return container_of(encoder, const struct soft, base);
}

/* --- opening ------------------------------------------------------------ */

static const struct soft_row *row_of(uint32_t codec, enum capture_media media)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		if (rows[i].codec == codec && rows[i].media == media)
			return &rows[i];
	}
	return NULL;
}

static void slot_release(struct packet_holder *holder);

static int alloc_slots(struct soft *s, uint32_t count)
{
	uint32_t i;

	assert(s->slot_bytes && s->slots_per_frame);
	/* Room for a frame's packets while as many as ever are out. */
	if (!count)
		count = CAPTURE_SOFTWARE_SLOTS + s->slots_per_frame - 1;
	s->slot_count = MAX(count, s->slots_per_frame);
	if (s->slot_count > CAPTURE_BUFFERS_MAX)
		return -EINVAL;
	for (i = 0; i < s->slot_count; i++) {
		s->slots[i].soft = s;
		s->slots[i].index = i;
		s->slots[i].holder.release = slot_release;
	}
	return capture_arena_new(s->base.sys, s->slot_bytes * s->slot_count, 0,
				 &s->arena);
}

static int soft_setup(struct soft *s,
		      const struct capture_encoder_config *config)
{
	int r;

	r = s->codec->open(s, config);
	if (r < 0)
		return r;
	r = alloc_slots(s, config->buffer_count);
	if (r < 0)
		return r;
	r = s->base.sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r < 0)
		return r;
	s->event_fd = r;
	return 0;
}

static void soft_destroy(struct soft *s)
{
	s->codec->close(s);
	s->arena = capture_arena_unref(s->arena);
	sys_close(s->base.sys, &s->event_fd);
	free(s);
}

int encoder_soft_open(const struct sys_ops *sys,
		      const struct capture_encoder_config *config,
		      struct capture_encoder **ret_encoder)
{
	enum capture_media media = config->source->media;
	const struct soft_row *row;
	uint32_t codec = config->codec;
	struct soft *s;
	int r;

	if (!codec && media == CAPTURE_MEDIA_PICTURE)
		codec = CAPTURE_FORMAT_H264;
	row = row_of(codec, media);
	if (!row)
		return -EPROTONOSUPPORT;
	if (!row->backend)
		return -ENODEV;
	assert(row->backend->object_bytes >= sizeof(*s));
	s = calloc(1, row->backend->object_bytes);
	if (!s)
		return -ENOMEM;
	encoder_base_init(&s->base, &soft_ops, sys, config);
	s->base.codec = codec;
	s->codec = row->backend;
	s->slots_per_frame = 1;
	s->event_fd = -EBADF;
	r = soft_setup(s, config);
	if (r < 0) {
		soft_destroy(s);
		return r;
	}
	s->base.stats.backend = CAPTURE_BACKEND_SOFTWARE;
	s->base.stats.name = s->codec->name;
	s->base.stats.rung = CAPTURE_RUNG_S5;
	*ret_encoder = &s->base;
	return 0;
}

static void soft_close(struct capture_encoder *encoder)
{
	struct soft *s = soft_of(encoder);

	s->closed = true;
	if (!s->out_count)
		soft_destroy(s);
}

/* --- slots -------------------------------------------------------------- */

/* The eventfd is readable while a packet waits; best effort: it is a hint. */
static void signal_ready(struct soft *s, bool ready)
{
	uint64_t value = 1;

	if (ready)
		(void)s->base.sys->write(s->event_fd, &value, sizeof(value));
	else
		(void)s->base.sys->read(s->event_fd, &value, sizeof(value));
}

static uint32_t free_slots(const struct soft *s)
{
	return s->slot_count - s->ready_count - s->out_count;
}

int soft_check_picture(const struct soft *s, uint32_t side_min)
{
	const struct capture_format *source = &s->base.source;

	if (!pix_has_i420(source->fourcc))
		return -EPROTONOSUPPORT;
	if (!s->base.layout.count)
		return -EINVAL; /* strides that cannot be */
	if (source->width % 2 || source->height % 2 ||
	    source->width < side_min || source->height < side_min)
		return -ERANGE;
	return 0;
}

struct soft_slot *soft_slot_find(struct soft *s, uint8_t **ret_room)
{
	uint32_t i;

	for (i = 0; i < s->slot_count; i++) {
		if (s->slots[i].state != SOFT_SLOT_FREE)
			continue;
		*ret_room = capture_arena_map(s->arena) + i * s->slot_bytes;
		return &s->slots[i];
	}
	return NULL;
}

void soft_slot_push(struct soft *s, struct soft_slot *slot,
		    const struct packet_origin *origin, size_t bytes)
{
	assert(slot->state == SOFT_SLOT_FREE);
	assert(bytes && bytes <= s->slot_bytes);
	slot->origin = *origin;
	slot->bytes = bytes;
	slot->state = SOFT_SLOT_READY;
	s->ready[s->ready_count++] = slot->index;
	if (s->ready_count == 1)
		signal_ready(s, true);
}

void packet_origin_advance(struct packet_origin *origin, uint64_t samples,
			   uint32_t sample_rate)
{
	uint64_t seconds = samples / sample_rate;
	uint64_t rest = samples % sample_rate;
	/* In two parts: no product of these overflows. */
	uint64_t ns = seconds * UINT64_C(1000000000) +
		      rest * UINT64_C(1000000000) / sample_rate;

	origin->stamp_ns += ns;
	if (origin->aligned.by != CAPTURE_ALIGNED_NOT)
		origin->aligned.ns += ns;
	if (origin->device_hz <= UINT32_MAX)
		origin->device_ticks += seconds * origin->device_hz +
					rest * origin->device_hz / sample_rate;
}

static void slot_release(struct packet_holder *holder)
{
	struct soft_slot *slot = container_of(holder, struct soft_slot, holder);
	struct soft *s = slot->soft;

	capture_span_fini(&holder->packet.span);
	slot->state = SOFT_SLOT_FREE;
	s->out_count--;
	if (s->closed && !s->out_count)
		soft_destroy(s);
}

/* --- the face ----------------------------------------------------------- */

static int soft_submit(struct capture_encoder *encoder,
		       struct capture_frame *frame)
{
	struct soft *s = soft_of(encoder);
	const uint8_t *src[CAPTURE_PLANES_MAX];
	int r;

	if (s->failed)
		return -EIO;
	if (s->draining)
		return -EPIPE;
	if (free_slots(s) < s->slots_per_frame)
		return -EAGAIN;
	packet_origin_init(&s->origin, ++s->key_last,
			   sys_now_ns(s->base.sys, CLOCK_MONOTONIC), frame);
	r = frame_begin_read(s->base.sys, frame, src);
	if (r < 0)
		return r;
	r = s->codec->encode(s, frame, src);
	frame_end_read(s->base.sys, frame);
	if (r < 0)
		s->failed = true;
	return r;
}

static struct soft_slot *pop_ready(struct soft *s)
{
	struct soft_slot *slot = &s->slots[s->ready[0]];

	s->ready_count--;
	memmove(s->ready, s->ready + 1, s->ready_count * sizeof(s->ready[0]));
	if (!s->ready_count)
		signal_ready(s, false);
	return slot;
}

static int soft_receive(struct capture_encoder *encoder, uint64_t deadline_ns,
			struct capture_packet **ret_packet)
{
	struct soft *s = soft_of(encoder);
	struct capture_packet *packet;
	struct soft_slot *slot;
	size_t offset;
	int r;

	(void)deadline_ns; /* what was submitted is ready or will never be */
	if (!s->ready_count) {
		if (s->failed)
			return -EIO;
		return s->draining ? -EPIPE : -EAGAIN;
	}
	slot = pop_ready(s);
	offset = slot->index * s->slot_bytes;
	packet = packet_hand_out(encoder, &slot->holder, &slot->origin,
				 capture_arena_map(s->arena) + offset,
				 slot->bytes,
				 sys_now_ns(s->base.sys, CLOCK_MONOTONIC));
	r = capture_span_init(&packet->span, s->arena, offset, slot->bytes);
	assert(r == 0); /* soft_slot_push() checked the size */
	slot->state = SOFT_SLOT_OUT;
	s->out_count++;
	*ret_packet = packet;
	return 0;
}

static int soft_drain(struct capture_encoder *encoder)
{
	struct soft *s = soft_of(encoder);
	int r = 0;

	if (s->failed)
		return -EIO;
	if (s->draining)
		return 0;
	if (s->codec->drain) {
		if (free_slots(s) < s->slots_per_frame)
			return -EAGAIN;
		r = s->codec->drain(s);
	}
	if (r < 0)
		s->failed = true;
	s->draining = true;
	return r;
}

static int soft_force_key(struct capture_encoder *encoder)
{
	struct soft *s = soft_of(encoder);

	if (s->codec->force_key)
		s->codec->force_key(s);
	return 0;
}

static int soft_set_bitrate(struct capture_encoder *encoder, uint32_t bitrate)
{
	struct soft *s = soft_of(encoder);

	if (!s->codec->set_bitrate)
		return -EOPNOTSUPP;
	return s->codec->set_bitrate(s, bitrate);
}

static int soft_fd(const struct capture_encoder *encoder)
{
	return soft_of_const(encoder)->event_fd;
}

static struct capture_arena *soft_arena(const struct capture_encoder *encoder)
{
	return soft_of_const(encoder)->arena;
}

static uint64_t soft_deadline_ns(const struct capture_encoder *encoder)
{
	(void)encoder; /* nothing is ever stuck between two calls */
	return UINT64_MAX;
}

static const struct encoder_ops soft_ops = {
	.close = soft_close,
	.fd = soft_fd,
	.arena = soft_arena,
	.deadline_ns = soft_deadline_ns,
	.submit = soft_submit,
	.receive = soft_receive,
	.drain = soft_drain,
	.force_key = soft_force_key,
	.set_bitrate = soft_set_bitrate,
};
