/* SPDX-License-Identifier: Apache-2.0 */
/*
 * H.264 in software: Cisco's openh264, the only file that sees it. It encodes
 * inside capture_encoder_submit(), on the caller's thread, and writes into
 * memory of its own; the packet is copied into a slot of an arena, which is
 * counted. An eventfd says when packets wait, so that a loop may treat this
 * encoder as it does a device.
 */
#include "src/encoder_backend.h"

#include <errno.h>

#if HAVE_OPENH264

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include <wels/codec_api.h>

#include "base/sys.h"
#include "src/arena.h"
#include "src/limits.h"

/* openh264 takes no smaller pictures. */
#define SIDE_MIN 16u
/* When no bit rate is given: bits per pixel, as a fraction. */
#define BITS_PER_PIXEL_NUM 1u
#define BITS_PER_PIXEL_DEN 10u
#define RATE_DEFAULT 30u
#define GOP_SECONDS_DEFAULT 2u

enum slot_state { SLOT_FREE = 0, SLOT_READY, SLOT_OUT };

struct soft;

struct soft_slot {
	struct packet_holder holder;
	struct soft *soft;
	enum slot_state state;
	uint32_t index;
	size_t bytes;
	struct packet_origin origin;
};

struct soft {
	struct capture_encoder base;
	ISVCEncoder *codec;
	int event_fd;
	bool draining;
	bool closed;
	bool failed;
	bool force_key;
	uint64_t key_last;
	uint8_t *scratch;	/* for conversions; NULL if none is needed */
	struct capture_arena *arena;
	size_t slot_bytes;
	uint32_t slot_count;
	uint32_t ready_count;
	uint32_t out_count;
	uint32_t ready[CAPTURE_BUFFERS_MAX];	/* slots, in input order */
	struct soft_slot slots[CAPTURE_BUFFERS_MAX];
};

static struct soft *soft_of(struct capture_encoder *encoder)
{
	return container_of(encoder, struct soft, base);
}

static const struct soft *soft_of_const(const struct capture_encoder *encoder)
{
	return container_of(encoder, const struct soft, base);
}

/* --- opening ------------------------------------------------------------ */

static int check_source(const struct soft *s)
{
	const struct capture_format *source = &s->base.source;

	switch (source->fourcc) {
	case CAPTURE_FORMAT_YU12:
	case CAPTURE_FORMAT_YV12:
	case CAPTURE_FORMAT_YM12:
	case CAPTURE_FORMAT_NV12:
	case CAPTURE_FORMAT_NV21:
	case CAPTURE_FORMAT_NM12:
	case CAPTURE_FORMAT_YUYV:
	case CAPTURE_FORMAT_UYVY:
		break;
	default:
		return -EPROTONOSUPPORT;
	}
	if (!s->base.layout.count)
		return -EINVAL; /* strides that cannot be */
	if (source->width % 2 || source->height % 2 ||
	    source->width < SIDE_MIN || source->height < SIDE_MIN)
		return -ERANGE;
	return 0;
}

static void fill_params(const struct soft *s,
			const struct capture_encoder_controls *c,
			SEncParamExt *p)
{
	const struct capture_format *source = &s->base.source;
	uint32_t num = source->rate_num ? source->rate_num : RATE_DEFAULT;
	uint32_t den = source->rate_den ? source->rate_den : 1;
	uint64_t bits = (uint64_t)source->width * source->height * num / den *
			BITS_PER_PIXEL_NUM / BITS_PER_PIXEL_DEN;
	uint64_t gop = (uint64_t)GOP_SECONDS_DEFAULT * num / den;

	if (c->bitrate > 0)
		bits = (uint64_t)c->bitrate;
	if (c->gop_frames > 0)
		gop = (uint64_t)c->gop_frames;
	p->iUsageType = CAMERA_VIDEO_REAL_TIME;
	p->iPicWidth = (int)source->width;
	p->iPicHeight = (int)source->height;
	p->iTargetBitrate = (int)MIN(bits, INT32_MAX);
	p->iMaxBitrate = UNSPECIFIED_BIT_RATE;
	p->iRCMode = c->qp >= 0 ? RC_OFF_MODE : RC_BITRATE_MODE;
	p->fMaxFrameRate = (float)num / (float)den;
	p->uiIntraPeriod = (unsigned int)MIN(MAX(gop, 1), INT32_MAX);
	p->eSpsPpsIdStrategy = CONSTANT_ID;
	p->iComplexityMode = LOW_COMPLEXITY;
	p->iMultipleThreadIdc = 1;
	/* Every frame is wanted: a skipped one is a hole in the recording. */
	p->bEnableFrameSkip = false;
	p->sSpatialLayers[0].iVideoWidth = p->iPicWidth;
	p->sSpatialLayers[0].iVideoHeight = p->iPicHeight;
	p->sSpatialLayers[0].fFrameRate = p->fMaxFrameRate;
	p->sSpatialLayers[0].iSpatialBitrate = p->iTargetBitrate;
	p->sSpatialLayers[0].iMaxSpatialBitrate = UNSPECIFIED_BIT_RATE;
	if (c->qp >= 0)
		p->sSpatialLayers[0].iDLayerQp = (int)c->qp;
}

static int open_codec(struct soft *s,
		      const struct capture_encoder_controls *controls)
{
	int quiet = WELS_LOG_QUIET;
	SEncParamExt params;

	if (WelsCreateSVCEncoder(&s->codec) || !s->codec)
		return -ENOMEM;
	(void)(*s->codec)->SetOption(s->codec, ENCODER_OPTION_TRACE_LEVEL,
				     &quiet); /* it logs to stderr */
	if ((*s->codec)->GetDefaultParams(s->codec, &params))
		return -EIO;
	fill_params(s, controls, &params);
	switch ((*s->codec)->InitializeExt(s->codec, &params)) {
	case cmResultSuccess:
		return 0;
	case cmMallocMemeError:
		return -ENOMEM;
	default:
		return -ERANGE;
	}
}

static void slot_release(struct packet_holder *holder);

static int alloc_slots(struct soft *s, uint32_t count)
{
	const struct capture_format *source = &s->base.source;
	size_t bytes = (size_t)source->width * source->height;
	uint32_t i;

	s->slot_count = count ? count : CAPTURE_SOFTWARE_SLOTS;
	s->slot_bytes = MAX(bytes, CAPTURE_SOFTWARE_SLOT_BYTES_MIN);
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
	const struct capture_format *source = &s->base.source;
	int r;

	r = check_source(s);
	if (r < 0)
		return r;
	s->scratch = malloc(pix_i420_scratch_bytes(source->width,
						   source->height));
	if (!s->scratch)
		return -ENOMEM;
	r = alloc_slots(s, config->buffer_count);
	if (r < 0)
		return r;
	r = s->base.sys->eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r < 0)
		return r;
	s->event_fd = r;
	return open_codec(s, &config->controls);
}

static void soft_destroy(struct soft *s)
{
	if (s->codec) {
		(void)(*s->codec)->Uninitialize(s->codec);
		WelsDestroySVCEncoder(s->codec);
	}
	s->arena = capture_arena_unref(s->arena);
	sys_close(s->base.sys, &s->event_fd);
	free(s->scratch);
	free(s);
}

static const struct encoder_ops soft_ops;

int encoder_software_open(const struct sys_ops *sys,
			  const struct capture_encoder_config *config,
			  struct capture_encoder **ret_encoder)
{
	struct soft *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	encoder_base_init(&s->base, &soft_ops, sys, config);
	s->base.codec = CAPTURE_FORMAT_H264;
	s->event_fd = -EBADF;
	r = soft_setup(s, config);
	if (r < 0) {
		soft_destroy(s);
		return r;
	}
	s->base.stats.backend = CAPTURE_BACKEND_SOFTWARE;
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

/* --- encoding ----------------------------------------------------------- */

/* The eventfd is readable while a packet waits; best effort: it is a hint. */
static void signal_ready(struct soft *s, bool ready)
{
	uint64_t value = 1;

	if (ready)
		(void)s->base.sys->write(s->event_fd, &value, sizeof(value));
	else
		(void)s->base.sys->read(s->event_fd, &value, sizeof(value));
}

/* Bytes of a layer, checked against the slot. */
static int gather(const SFrameBSInfo *info, uint8_t *out, size_t room,
		  size_t *ret_bytes)
{
	size_t bytes = 0;
	size_t layer_bytes;
	int layer;
	int nal;

	for (layer = 0; layer < info->iLayerNum; layer++) {
		const SLayerBSInfo *l = &info->sLayerInfo[layer];

		layer_bytes = 0;
		for (nal = 0; nal < l->iNalCount; nal++)
			layer_bytes += (size_t)l->pNalLengthInByte[nal];
		if (layer_bytes > room - bytes)
			return -EMSGSIZE;
		memcpy(out + bytes, l->pBsBuf, layer_bytes);
		bytes += layer_bytes;
	}
	*ret_bytes = bytes;
	return 0;
}

static int encode(struct soft *s, const struct pix_i420 *picture,
		  uint64_t stamp_ns, SFrameBSInfo *info)
{
	SSourcePicture source;
	int i;

	memset(&source, 0, sizeof(source));
	source.iColorFormat = videoFormatI420;
	source.iPicWidth = (int)s->base.source.width;
	source.iPicHeight = (int)s->base.source.height;
	source.uiTimeStamp = (long long)(stamp_ns / 1000000);
	for (i = 0; i < 3; i++) {
		/* It only reads them; its interface has no const. */
		source.pData[i] = (unsigned char *)(uintptr_t)picture->data[i];
		source.iStride[i] = (int)picture->stride[i];
	}
	if (s->force_key)
		(void)(*s->codec)->ForceIntraFrame(s->codec, true);
	s->force_key = false;
	memset(info, 0, sizeof(*info));
	return (*s->codec)->EncodeFrame(s->codec, &source, info) ==
			       cmResultSuccess
		       ? 0
		       : -EIO;
}

static void push_ready(struct soft *s, struct soft_slot *slot, size_t bytes)
{
	slot->bytes = bytes;
	slot->state = SLOT_READY;
	s->ready[s->ready_count++] = slot->index;
	if (s->ready_count == 1)
		signal_ready(s, true);
}

/* What the codec made of one frame, into @slot. */
static void store(struct soft *s, struct soft_slot *slot,
		  const SFrameBSInfo *info)
{
	uint8_t *out = capture_arena_map(s->arena) +
		       slot->index * s->slot_bytes;
	size_t bytes = 0;

	if (info->eFrameType == videoFrameTypeSkip) {
		s->base.stats.frames_skipped++;
		return;
	}
	if (gather(info, out, s->slot_bytes, &bytes) < 0 || !bytes) {
		/* The decoder will miss it: start afresh. */
		s->base.stats.packets_error++;
		s->force_key = true;
		return;
	}
	s->base.stats.bytes_copied_out += bytes;
	push_ready(s, slot, bytes);
}

static struct soft_slot *find_slot(struct soft *s)
{
	uint32_t i;

	for (i = 0; i < s->slot_count; i++) {
		if (s->slots[i].state == SLOT_FREE)
			return &s->slots[i];
	}
	return NULL;
}

static int encode_frame(struct soft *s, struct soft_slot *slot,
			const struct capture_frame *frame)
{
	const uint8_t *src[CAPTURE_PLANES_MAX];
	struct pix_i420 picture;
	SFrameBSInfo info;
	int r;

	r = frame_begin_read(s->base.sys, frame, src);
	if (r < 0)
		return r;
	r = pix_to_i420(&s->base.layout, src, s->scratch, &picture);
	if (r == 0)
		r = encode(s, &picture, frame->stamp_ns, &info);
	frame_end_read(s->base.sys, frame);
	if (r) {
		s->failed = true;
		return r;
	}
	s->base.stats.copies += picture.bytes_touched != 0;
	s->base.stats.bytes_touched += picture.bytes_touched;
	store(s, slot, &info);
	return 0;
}

static int soft_submit(struct capture_encoder *encoder,
		       struct capture_frame *frame)
{
	struct soft *s = soft_of(encoder);
	struct soft_slot *slot;

	if (s->failed)
		return -EIO;
	if (s->draining)
		return -EPIPE;
	slot = find_slot(s);
	if (!slot)
		return -EAGAIN;
	packet_origin_init(&slot->origin, ++s->key_last,
			   sys_now_ns(s->base.sys, CLOCK_MONOTONIC), frame);
	return encode_frame(s, slot, frame);
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
	int r;

	(void)deadline_ns; /* what was submitted is ready or will never be */
	if (!s->ready_count) {
		if (s->failed)
			return -EIO;
		return s->draining ? -EPIPE : -EAGAIN;
	}
	slot = pop_ready(s);
	packet = packet_hand_out(encoder, &slot->holder, &slot->origin,
				 capture_arena_map(s->arena) +
					 slot->index * s->slot_bytes,
				 slot->bytes,
				 sys_now_ns(s->base.sys, CLOCK_MONOTONIC));
	r = capture_span_init(&packet->span, s->arena,
			      slot->index * s->slot_bytes, slot->bytes);
	assert(r == 0); /* gather() checked the size */
	slot->state = SLOT_OUT;
	s->out_count++;
	*ret_packet = packet;
	return 0;
}

static void slot_release(struct packet_holder *holder)
{
	struct soft_slot *slot =
		container_of(holder, struct soft_slot, holder);
	struct soft *s = slot->soft;

	capture_span_fini(&holder->packet.span);
	slot->state = SLOT_FREE;
	s->out_count--;
	if (s->closed && !s->out_count)
		soft_destroy(s);
}

/* --- the rest ----------------------------------------------------------- */

static int soft_drain(struct capture_encoder *encoder)
{
	soft_of(encoder)->draining = true;
	return 0;
}

static int soft_force_key(struct capture_encoder *encoder)
{
	soft_of(encoder)->force_key = true;
	return 0;
}

static int soft_set_bitrate(struct capture_encoder *encoder, uint32_t bitrate)
{
	struct soft *s = soft_of(encoder);
	SBitrateInfo info;

	memset(&info, 0, sizeof(info));
	info.iLayer = SPATIAL_LAYER_ALL;
	info.iBitrate = (int)bitrate;
	if ((*s->codec)->SetOption(s->codec, ENCODER_OPTION_BITRATE, &info))
		return -ERANGE;
	return 0;
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
	(void)encoder; /* nothing is ever inside between two calls */
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

#else /* !HAVE_OPENH264 */

int encoder_software_open(const struct sys_ops *sys,
			  const struct capture_encoder_config *config,
			  struct capture_encoder **ret_encoder)
{
	(void)sys;
	(void)config;
	(void)ret_encoder;
	return -ENODEV;
}

#endif
