/* SPDX-License-Identifier: Apache-2.0 */
#include "io/producer_front.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/mkv.h"

#define TRACK_TEXT_BYTES_MAX 32u /* codec id and name, the service's limit */

static _Thread_local char config_error[160];

const char *kvs_config_error(void)
{
	return config_error;
}

int producer_wrong(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(config_error, sizeof(config_error), fmt, args);
	va_end(args);
	return -EINVAL;
}

void producer_right(void)
{
	config_error[0] = '\0';
}

/* --- setting up ---------------------------------------------------------- */

static bool is_annexb(enum kvs_payload payload)
{
	return payload == KVS_PAYLOAD_H264_ANNEXB ||
	       payload == KVS_PAYLOAD_H265_ANNEXB;
}

static int check_track(const struct kvs_track *t, size_t i)
{
	bool later = is_annexb(t->payload);

	if (!t->codec_id || !t->codec_id[0] ||
	    strlen(t->codec_id) > TRACK_TEXT_BYTES_MAX)
		return producer_wrong("tracks[%zu].codec_id: 1 to 32 bytes", i);
	if (t->name && strlen(t->name) > TRACK_TEXT_BYTES_MAX)
		return producer_wrong("tracks[%zu].name: at most 32 bytes", i);
	if (later && t->kind != KVS_TRACK_VIDEO)
		return producer_wrong("tracks[%zu].payload: Annex B is for video", i);
	if (!t->codec_private && t->codec_private_bytes)
		return producer_wrong("tracks[%zu].codec_private: is NULL", i);
	if (t->codec_private_bytes > MKV_CODEC_PRIVATE_BYTES_MAX)
		return producer_wrong("tracks[%zu].codec_private: over 1 MiB", i);
	if (t->kind == KVS_TRACK_AUDIO && (!t->sample_rate || !t->channels))
		return producer_wrong("tracks[%zu].sample_rate, channels: needed", i);
	return 0;
}

int producer_front_check(const struct producer_front_config *c)
{
	if (!c->tracks || !c->track_count || c->track_count > KVS_TRACKS_MAX)
		return producer_wrong("track_count: 1 to %d", KVS_TRACKS_MAX);
	if (c->fragment_ms && (c->fragment_ms < FRAGMENT_MS_MIN ||
			       c->fragment_ms > FRAGMENT_MS_MAX))
		return producer_wrong("fragment_ms: %u to %u", FRAGMENT_MS_MIN,
				      FRAGMENT_MS_MAX);
	if (c->interleave_ms > INTERLEAVE_MS_MAX)
		return producer_wrong("interleave_ms: at most %u",
				      INTERLEAVE_MS_MAX);
	for (size_t i = 0; i < c->track_count; i++) {
		int r = check_track(&c->tracks[i], i);

		if (r < 0)
			return r;
	}
	return 0;
}

static void take_track(const struct kvs_track *from, struct mkv_track *t)
{
	static const uint32_t types[] = {
		[KVS_TRACK_VIDEO] = MKV_TRACK_VIDEO,
		[KVS_TRACK_AUDIO] = MKV_TRACK_AUDIO,
		[KVS_TRACK_DATA] = MKV_TRACK_METADATA,
	};

	memset(t, 0, sizeof(*t));
	t->type = types[from->kind];
	(void)snprintf(t->codec_id, sizeof(t->codec_id), "%s", from->codec_id);
	(void)snprintf(t->name, sizeof(t->name), "%s",
		       from->name ? from->name : "");
	t->codec_private = from->codec_private;
	t->codec_private_bytes = from->codec_private_bytes;
	t->width = from->width;
	t->height = from->height;
	t->fourcc = from->fourcc;
	t->bits = from->sample_bits;
	t->rate_hz = from->sample_rate;
	t->channels = from->channels;
}

int producer_front_init(struct producer_front *f,
			const struct producer_front_config *c)
{
	struct mkv_track tracks[KVS_TRACKS_MAX];
	bool later[KVS_TRACKS_MAX];
	struct fragmenter_config config = {
		.tracks = tracks,
		.private_later = later,
		.track_count = c->track_count,
		.fragment_ms = c->fragment_ms ? c->fragment_ms :
						FRAGMENT_MS_DEFAULT,
		.interleave_ms = c->interleave_ms ? c->interleave_ms :
						    INTERLEAVE_MS_DEFAULT,
	};

	for (size_t i = 0; i < c->track_count; i++) {
		take_track(&c->tracks[i], &tracks[i]);
		f->payload[i] = c->tracks[i].payload;
		later[i] = is_annexb(f->payload[i]) &&
			   !c->tracks[i].codec_private_bytes;
	}
	f->track_count = c->track_count;
	buf_init(&f->private, MKV_CODEC_PRIVATE_BYTES_MAX);
	return fragmenter_new(&config, &f->fragmenter);
}

void producer_front_fini(struct producer_front *f)
{
	f->fragmenter = fragmenter_free(f->fragmenter);
	buf_fini(&f->private);
}

/* --- frames -------------------------------------------------------------- */

bool producer_front_takes(const struct producer_front *f,
			  const struct kvs_frame *frame)
{
	return frame->track < f->track_count && frame->data && frame->bytes &&
	       (unsigned int)frame->meaning <= KVS_STAMP_ARRIVAL &&
	       (unsigned int)frame->aligned_by <= KVS_ALIGNED_KERNEL &&
	       frame->raw_clock <= UINT8_MAX;
}

static int take_private(struct producer_front *f, const struct kvs_frame *frame,
			enum nal_codec codec)
{
	int r;

	buf_reset(&f->private);
	r = au_codec_private(codec, frame->data, frame->bytes, &f->private);
	if (r == -ENOENT)
		return 0; /* known already, or fragmenter_check() complains */
	if (r < 0)
		return -EBADMSG;
	return fragmenter_private(f->fragmenter, frame->track,
				  buf_head(&f->private), buf_len(&f->private));
}

static void prepare_opaque(struct producer_front *f,
			   const struct kvs_frame *frame,
			   const struct frame_time *time)
{
	struct au *au = &f->au;

	au->count = 0;
	au->bytes = frame->bytes;
	au->key = frame->key;
	if (f->payload[frame->track] == KVS_PAYLOAD_TIMED) {
		frame_time_encode(time, au->sei);
		au->parts[au->count].iov_base = au->sei;
		au->parts[au->count++].iov_len = FRAME_TIME_BYTES;
		au->bytes += FRAME_TIME_BYTES;
	}
	/* iovec has no const; nobody writes through it. */
	au->parts[au->count].iov_base = (void *)(uintptr_t)frame->data;
	au->parts[au->count++].iov_len = frame->bytes;
}

int producer_front_prepare(struct producer_front *f,
			   const struct kvs_frame *frame)
{
	enum nal_codec codec = f->payload[frame->track] ==
			KVS_PAYLOAD_H264_ANNEXB ? NAL_H264 : NAL_H265;
	struct frame_time time = {
		.aligned_ns = frame->time_ns,
		.sigma_ns = frame->sigma_ns ? frame->sigma_ns : UINT32_MAX,
		.epoch = frame->epoch,
		.raw_ns = frame->raw_stamp_ns,
		.clock = (uint8_t)frame->raw_clock,
		.meaning = (uint8_t)frame->meaning,
		.aligned_by = (uint8_t)frame->aligned_by,
		.boot_ns = frame->boot_ns,
	};
	int r;

	if (!is_annexb(f->payload[frame->track])) {
		prepare_opaque(f, frame, &time);
		return 0;
	}
	r = au_annexb(&f->au, codec, frame->data, frame->bytes, &time);
	if (r < 0)
		return r == -E2BIG || r == -EFBIG ? -EMSGSIZE : r;
	return f->au.key ? take_private(f, frame, codec) : 0;
}

int producer_front_allows(struct producer_front *f,
			  const struct kvs_frame *frame)
{
	return fragmenter_check(f->fragmenter, frame->track, f->au.key,
				frame->decode_ns ? frame->decode_ns :
						   frame->time_ns,
				f->au.bytes);
}
