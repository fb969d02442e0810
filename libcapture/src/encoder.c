/* SPDX-License-Identifier: Apache-2.0 */
#include "src/encoder_soft.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "src/device.h"
#include "src/encoder_guard.h"
#include "src/keyframe.h"
#include "src/limits.h"

void capture_encoder_config_init(struct capture_encoder_config *config)
{
	memset(config, 0, sizeof(*config));
	/* Each of them is -1. */
	memset(&config->controls, 0xff, sizeof(config->controls));
}

/* --- opening ------------------------------------------------------------ */

static bool control_ok(int64_t value)
{
	return value >= -1 && value <= INT32_MAX;
}

static int check_controls(const struct capture_encoder_controls *c)
{
	if (!control_ok(c->bitrate) || !control_ok(c->gop_frames) ||
	    !control_ok(c->qp) || !control_ok(c->bitrate_peak) ||
	    !control_ok(c->qp_min) || !control_ok(c->qp_max) ||
	    !control_ok(c->profile) || !control_ok(c->level))
		return -EINVAL;
	if (c->bitrate_mode < -1 || c->bitrate_mode > CAPTURE_BITRATE_CQ ||
	    c->header_mode < -1 || c->header_mode > CAPTURE_HEADERS_SEPARATE ||
	    c->repeat_headers < -1 || c->repeat_headers > 1)
		return -EINVAL;
	if (c->quality != -1 &&
	    (c->quality < 1 || c->quality > CAPTURE_QUALITY_MAX))
		return -EINVAL;
	return 0;
}

static bool picture_ok(const struct capture_format *f)
{
	return f->width && f->width <= CAPTURE_SIDE_MAX && f->height &&
	       f->height <= CAPTURE_SIDE_MAX && f->plane_count &&
	       f->plane_count <= CAPTURE_PLANES_MAX;
}

static bool samples_ok(const struct capture_format *f)
{
	return f->plane_count == 1 && f->sample_rate &&
	       f->sample_rate <= CAPTURE_SAMPLE_RATE_MAX && f->channels &&
	       f->channels <= CAPTURE_CHANNELS_MAX && f->sample_bytes &&
	       f->sample_bytes <= CAPTURE_SAMPLE_BYTES_MAX;
}

static int check_config(const struct capture_encoder_config *config)
{
	const struct capture_format *source = config->source;

	if (!source || config->buffer_count > CAPTURE_BUFFERS_MAX)
		return -EINVAL;
	switch (source->media) {
	case CAPTURE_MEDIA_PICTURE:
		if (!picture_ok(source))
			return -EINVAL;
		break;
	case CAPTURE_MEDIA_SAMPLES:
		if (!samples_ok(source))
			return -EINVAL;
		break;
	default:
		return -EINVAL;
	}
	return check_controls(&config->controls);
}

void encoder_base_init(struct capture_encoder *encoder,
		       const struct encoder_ops *ops, const struct sys_ops *sys,
		       const struct capture_encoder_config *config)
{
	encoder->ops = ops;
	encoder->sys = sys;
	encoder->source = *config->source;
	if (pix_layout_init(&encoder->source, &encoder->layout) < 0)
		encoder->layout.count = 0;
}

/* Errors that say more of why nothing fits come later in this list. */
static int telling(int a, int b)
{
	static const int order[] = {-ENODEV,	      -ENOENT, -EACCES,
				    -EPROTONOSUPPORT, -ERANGE, -EOPNOTSUPP};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(order); i++) {
		if (a == order[i])
			return b;
		if (b == order[i])
			return a;
	}
	return a;
}

static int m2m_open(const struct sys_ops *sys,
		    const struct capture_encoder_config *config,
		    const char *path, uint32_t codec,
		    struct capture_encoder **ret_encoder)
{
	int r = encoder_m2m_open(sys, config, path, codec, ret_encoder);

	if (r == 0)
		(*ret_encoder)->stats.name = "m2m";
	return r;
}

/* Every node in turn. Most are not there: -ENOENT tells nothing. */
static int find_here(const struct sys_ops *sys,
		     const struct capture_encoder_config *config,
		     uint32_t codec, struct capture_encoder **ret_encoder)
{
	int why = -ENODEV;
	uint32_t i;
	int r;

	if (config->path)
		return m2m_open(sys, config, config->path, codec, ret_encoder);
	for (i = 0; i < CAPTURE_NODES_MAX; i++) {
		char path[DEVICE_NODE_PATH_BYTES];

		device_node_path(i, path);
		r = m2m_open(sys, config, path, codec, ret_encoder);
		if (r == 0 || r == -ENOMEM || r == -EMFILE || r == -ENFILE)
			return r;
		if (r != -ENOENT)
			why = telling(why, r);
	}
	return why;
}

static int m2m_find(const struct sys_ops *sys,
		    const struct capture_encoder_config *config, uint32_t codec,
		    struct capture_encoder **ret_encoder)
{
	if (config->stuck_ns)
		return encoder_guard_open(sys, config, codec, find_here,
					  ret_encoder);
	return find_here(sys, config, codec, ret_encoder);
}

static int open_auto(const struct sys_ops *sys,
		     const struct capture_encoder_config *config,
		     struct capture_encoder **ret_encoder)
{
	uint32_t codec = config->codec ? config->codec : CAPTURE_FORMAT_H264;
	int why;
	int r;

	why = m2m_find(sys, config, codec, ret_encoder);
	if (why == 0)
		return 0;
	if (!config->path) {
		r = encoder_soft_open(sys, config, ret_encoder);
		if (r == 0)
			return 0;
		why = telling(why, r);
	}
	if (config->codec)
		return why;
	r = m2m_find(sys, config, 0, ret_encoder);
	return r == 0 ? 0 : telling(why, r);
}

/* Codecs that no V4L2 device has: their nodes need not be asked. */
static bool software_only(const struct capture_encoder_config *config)
{
	return config->source->media != CAPTURE_MEDIA_PICTURE ||
	       config->codec == CAPTURE_FORMAT_FFV1 ||
	       config->codec == CAPTURE_FORMAT_Y16;
}

static int open_m2m(const struct sys_ops *sys,
		    const struct capture_encoder_config *config,
		    struct capture_encoder **ret_encoder)
{
	int r;

	if (config->codec)
		return m2m_find(sys, config, config->codec, ret_encoder);
	r = m2m_find(sys, config, CAPTURE_FORMAT_H264, ret_encoder);
	/* One that did not return is not asked twice. */
	if (r == 0 || r == -ETIMEDOUT)
		return r;
	return m2m_find(sys, config, 0, ret_encoder);
}

int capture_encoder_open(const struct sys_ops *sys,
			 const struct capture_encoder_config *config,
			 struct capture_encoder **ret_encoder)
{
	int r;

	r = check_config(config);
	if (r < 0)
		return r;
	if (!sys)
		sys = sys_posix();
	switch (config->backend) {
	case CAPTURE_BACKEND_AUTO:
		if (!software_only(config))
			return open_auto(sys, config, ret_encoder);
		return encoder_soft_open(sys, config, ret_encoder);
	case CAPTURE_BACKEND_M2M:
		if (software_only(config))
			return -EPROTONOSUPPORT;
		return open_m2m(sys, config, ret_encoder);
	case CAPTURE_BACKEND_SOFTWARE:
		return encoder_soft_open(sys, config, ret_encoder);
	}
	return -EINVAL;
}

struct capture_encoder *capture_encoder_close(struct capture_encoder *encoder)
{
	if (encoder)
		encoder->ops->close(encoder);
	return NULL;
}

/* --- frames and packets ------------------------------------------------- */

/* A run of whole samples, as many as may be. */
static bool is_run_of_source(const struct capture_encoder *encoder,
			     const struct capture_frame *frame)
{
	const struct capture_format *source = &encoder->source;
	const struct capture_plane *plane = &frame->planes[0];

	return frame->fourcc == source->fourcc && frame->plane_count == 1 &&
	       plane->offset <= plane->length && plane->bytesused &&
	       plane->bytesused <= plane->length - plane->offset &&
	       plane->bytesused <= source->size[0] &&
	       plane->bytesused % source->sample_bytes == 0;
}

static bool is_of_source(const struct capture_encoder *encoder,
			 const struct capture_frame *frame)
{
	if (encoder->source.media == CAPTURE_MEDIA_SAMPLES)
		return is_run_of_source(encoder, frame);
	return pix_frame_fits(&encoder->source, &encoder->layout, frame);
}

int capture_encoder_submit(struct capture_encoder *encoder,
			   struct capture_frame *frame)
{
	int r;

	if (!is_of_source(encoder, frame))
		return -EINVAL;
	r = encoder->ops->submit(encoder, frame);
	if (r == 0)
		encoder->stats.frames_in++;
	return r;
}

void packet_origin_init(struct packet_origin *origin, uint64_t key,
			uint64_t submit_ns, const struct capture_frame *frame)
{
	origin->key = key;
	origin->submit_ns = submit_ns;
	origin->stamp_ns = frame->stamp_ns;
	origin->aligned = frame->aligned;
	origin->track_id = frame->track_id;
	origin->sequence = frame->sequence;
	origin->clock = frame->clock;
	origin->point = frame->point;
	origin->epoch = frame->epoch;
	origin->device_ticks = frame->device_ticks;
	origin->device_hz = frame->device_hz;
}

/* A packet that others overtook is decoded when they are, not before. */
static uint64_t decode_ns(struct capture_encoder *encoder,
			  const struct packet_origin *origin)
{
	uint64_t ns = origin->stamp_ns;

	if (encoder->stats.packets_out &&
	    origin->epoch == encoder->decode_epoch)
		ns = MAX(ns, encoder->decode_ns);
	encoder->decode_epoch = origin->epoch;
	encoder->decode_ns = ns;
	return ns;
}

struct capture_packet *packet_hand_out(struct capture_encoder *encoder,
				       struct packet_holder *holder,
				       const struct packet_origin *origin,
				       const uint8_t *data, size_t bytes,
				       uint64_t now_ns)
{
	struct capture_packet *packet = &holder->packet;

	packet->data = data;
	packet->bytes = bytes;
	packet->fourcc = encoder->codec;
	packet->flags &= CAPTURE_PACKET_DRIVER_KEY;
	if (keyframe_find(encoder->codec, data, bytes)) {
		packet->flags |= CAPTURE_PACKET_KEY;
		encoder->stats.packets_key++;
	}
	packet->track_id = origin->track_id;
	packet->sequence = origin->sequence;
	packet->stamp_ns = origin->stamp_ns;
	packet->decode_ns = decode_ns(encoder, origin);
	packet->clock = origin->clock;
	packet->point = origin->point;
	packet->epoch = origin->epoch;
	packet->device_ticks = origin->device_ticks;
	packet->device_hz = origin->device_hz;
	packet->aligned = origin->aligned;
	packet->encode_ns = now_ns - origin->submit_ns;
	encoder->stats.packets_out++;
	encoder->stats.bytes_out += bytes;
	holder->refs = 1;
	return packet;
}

static struct packet_holder *holder_of(struct capture_packet *packet)
{
	return container_of(packet, struct packet_holder, packet);
}

struct capture_packet *capture_packet_ref(struct capture_packet *packet)
{
	struct packet_holder *holder = holder_of(packet);

	assert(holder->refs);
	holder->refs++;
	return packet;
}

struct capture_packet *capture_packet_unref(struct capture_packet *packet)
{
	struct packet_holder *holder;

	if (!packet)
		return NULL;
	holder = holder_of(packet);
	assert(holder->refs);
	if (--holder->refs == 0)
		holder->release(holder);
	return NULL;
}

int frame_begin_read(const struct sys_ops *sys,
		     const struct capture_frame *frame,
		     const uint8_t *ret_src[CAPTURE_PLANES_MAX])
{
	uint32_t p;

	for (p = 0; p < frame->plane_count; p++) {
		if (!frame->planes[p].map)
			return -EINVAL;
	}
	for (p = 0; p < frame->plane_count; p++)
		ret_src[p] = frame->planes[p].map + frame->planes[p].offset;
	capture_frame_begin_read(sys, frame);
	return 0;
}

void frame_end_read(const struct sys_ops *sys,
		    const struct capture_frame *frame)
{
	capture_frame_end_read(sys, frame);
}

/* --- the rest of the face ----------------------------------------------- */

uint32_t capture_encoder_codec(const struct capture_encoder *encoder)
{
	return encoder->codec;
}

int capture_encoder_codec_private(const struct capture_encoder *encoder,
				  const uint8_t **ret_data, size_t *ret_bytes)
{
	*ret_data = encoder->codec_private;
	*ret_bytes = encoder->codec_private_bytes;
	return 0;
}

struct capture_arena *
capture_encoder_arena(const struct capture_encoder *encoder)
{
	return encoder->ops->arena(encoder);
}

int capture_encoder_fd(const struct capture_encoder *encoder)
{
	return encoder->ops->fd(encoder);
}

uint64_t capture_encoder_deadline_ns(const struct capture_encoder *encoder)
{
	return encoder->ops->deadline_ns(encoder);
}

int capture_encoder_receive(struct capture_encoder *encoder,
			    uint64_t deadline_ns,
			    struct capture_packet **ret_packet)
{
	return encoder->ops->receive(encoder, deadline_ns, ret_packet);
}

int capture_encoder_drain(struct capture_encoder *encoder)
{
	return encoder->ops->drain(encoder);
}

int capture_encoder_force_key(struct capture_encoder *encoder)
{
	return encoder->ops->force_key(encoder);
}

int capture_encoder_set_bitrate(struct capture_encoder *encoder,
				uint32_t bitrate)
{
	if (bitrate > INT32_MAX)
		return -ERANGE;
	return encoder->ops->set_bitrate(encoder, bitrate);
}

void capture_encoder_stats(const struct capture_encoder *encoder,
			   struct capture_encoder_stats *ret_stats)
{
	*ret_stats = encoder->stats;
}
