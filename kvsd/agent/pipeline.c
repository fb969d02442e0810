/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/encoder.h>
#include <capture/frame.h>
#include <capture/source.h>

#include "agent/devices.h"
#include "core/limits.h"
#include "proto/fwht.h"

#define FRAMES_PER_RUN_MAX 8u

struct pipeline {
	const struct sys_ops *sys;
	const struct pipeline_calls *calls;
	void *ctx;
	struct capture_source *stream;
	struct capture_encoder *encoder;	/* NULL: the camera compresses */
	struct pipeline_info info;
	uint64_t camera_timeout_ns;
	uint64_t newest_ns;		/* when a frame came, or the start */
	uint64_t frames_skipped;
	uint64_t packets_direct;
};

DEFINE_AUTO(pipeline_close, struct pipeline *)

void fourcc_text(uint32_t fourcc, char *out)
{
	for (int i = 0; i < 4; i++) {
		char c = (char)(fourcc >> (8 * i) & 0x7f);

		out[i] = c > ' ' && c < 0x7f ? c : ' ';
	}
	out[4] = '\0';
	for (int i = 3; i > 0 && out[i] == ' '; i--)
		out[i] = '\0';
}

/* --- opening -------------------------------------------------------------------- */

static int open_stream(struct pipeline *p, const struct agent_config *c,
		       const struct capture_device *camera, char *error)
{
	uint32_t fourccs[DEVICES_FORMATS_MAX];
	struct capture_source_config config = {
		.path = camera->path,
		.fourccs = fourccs,
		.width = c->width,
		.height = c->height,
		.rate_num = c->rate_num,
		.rate_den = c->rate_den,
	};
	int r;

	config.fourcc_count = devices_formats(p->sys, c, fourccs);
	r = capture_source_open(p->sys, &config, &p->stream);
	if (r < 0) {
		devices_explain_camera(camera, c, r, error,
				       PIPELINE_ERROR_CHARS);
		return r;
	}
	p->info.format = *capture_source_format(p->stream);
	return 0;
}

static int64_t gop_frames(const struct agent_config *c,
			  const struct capture_format *f)
{
	uint64_t num = f->rate_num ? f->rate_num : 30;
	uint64_t den = f->rate_den ? f->rate_den : 1;
	uint64_t frames = num * c->fragment_ms / (den * 1000);

	if (c->gop_frames > 0)
		return c->gop_frames;
	return (int64_t)MAX(frames, 1u);
}

static int open_encoder(struct pipeline *p, const struct agent_config *c,
			char *error)
{
	static const enum capture_backend backends[] = {
		[AGENT_ENCODER_AUTO] = CAPTURE_BACKEND_AUTO,
		[AGENT_ENCODER_M2M] = CAPTURE_BACKEND_M2M,
		[AGENT_ENCODER_OPENH264] = CAPTURE_BACKEND_SOFTWARE,
		[AGENT_ENCODER_NONE] = CAPTURE_BACKEND_AUTO,
	};
	struct capture_source_stats camera;
	struct capture_encoder_config config;
	int r;

	capture_source_stats(p->stream, &camera);
	capture_encoder_config_init(&config);
	config.backend = backends[c->encoder];
	config.path = c->encoder_device[0] ? c->encoder_device : NULL;
	config.source = &p->info.format;
	/* On S5 nothing is exported, or must not be read through a map. */
	config.source_dmabuf = camera.rung != CAPTURE_RUNG_S5;
	config.controls.bitrate = c->bitrate;
	config.controls.gop_frames = gop_frames(c, &p->info.format);
	config.timeout_ns = c->encoder_timeout_ns;
	r = capture_encoder_open(p->sys, &config, &p->encoder);
	if (r < 0)
		devices_explain_encoder(p->sys, c, p->info.format.fourcc, r,
					error, PIPELINE_ERROR_CHARS);
	return r;
}

static void fill_info(struct pipeline *p, const struct capture_device *camera)
{
	struct pipeline_info *i = &p->info;
	struct capture_source_stats stream;
	struct capture_encoder_stats encoder;

	(void)snprintf(i->path, sizeof(i->path), "%s", camera->path);
	(void)snprintf(i->card, sizeof(i->card), "%s", camera->card);
	capture_source_stats(p->stream, &stream);
	i->camera_rung = stream.rung;
	i->memory_bytes = stream.memory_bytes;
	i->codec = i->format.fourcc;
	i->encoder = "none";
	i->encoder_rung = CAPTURE_RUNG_AUTO;
	if (!p->encoder)
		return;
	capture_encoder_stats(p->encoder, &encoder);
	i->codec = capture_encoder_codec(p->encoder);
	i->encoder = encoder.backend == CAPTURE_BACKEND_M2M ? "m2m" :
							      "openh264";
	i->encoder_rung = encoder.rung;
	i->source_imported = encoder.source_imported;
}

static int open_parts(struct pipeline *p, const struct agent_config *config,
		      const struct capture_device *camera, char *error)
{
	int r;

	r = open_stream(p, config, camera, error);
	if (r == 0 && config->encoder != AGENT_ENCODER_NONE)
		r = open_encoder(p, config, error);
	if (r < 0)
		return r;
	fill_info(p, camera);
	r = capture_source_start(p->stream);
	if (r < 0)
		devices_explain_camera(camera, config, r, error,
				       PIPELINE_ERROR_CHARS);
	return r;
}

int pipeline_open(const struct sys_ops *sys, const struct agent_config *config,
		  const struct pipeline_calls *calls, void *ctx,
		  struct pipeline **ret_pipeline, char *error)
{
	AUTO(pipeline_close) struct pipeline *p = calloc(1, sizeof(*p));
	struct capture_device *camera;
	int r;

	if (!p) {
		(void)snprintf(error, PIPELINE_ERROR_CHARS, "no memory");
		return -ENOMEM;
	}
	p->sys = sys;
	p->calls = calls;
	p->ctx = ctx;
	p->camera_timeout_ns = config->camera_timeout_ns;
	r = devices_find_camera(sys, config, &camera, error,
				PIPELINE_ERROR_CHARS);
	if (r < 0)
		return r;
	r = open_parts(p, config, camera, error);
	(void)capture_device_free(camera);
	if (r < 0)
		return r;
	p->newest_ns = sys_now_ns(sys, CLOCK_MONOTONIC);
	*ret_pipeline = TAKE_PTR(p);
	return 0;
}

struct pipeline *pipeline_close(struct pipeline *p)
{
	if (!p)
		return NULL;
	/* The encoder first: it may hold frames of the camera. */
	(void)capture_encoder_close(p->encoder);
	(void)capture_source_close(p->stream);
	free(p);
	return NULL;
}

const struct pipeline_info *pipeline_info(const struct pipeline *p)
{
	return &p->info;
}

void pipeline_stats(const struct pipeline *p, struct pipeline_stats *ret)
{
	struct capture_source_stats stream;
	struct capture_encoder_stats encoder;

	capture_source_stats(p->stream, &stream);
	*ret = (struct pipeline_stats){
		.frames = stream.frames,
		.frames_lost = stream.frames_lost,
		.frames_skipped = p->frames_skipped,
		.packets = p->packets_direct,
	};
	if (!p->encoder)
		return;
	capture_encoder_stats(p->encoder, &encoder);
	ret->frames_skipped += encoder.frames_skipped;
	ret->packets = encoder.packets_out;
	ret->copies = encoder.copies;
	ret->bytes_touched = encoder.bytes_touched;
}

/* --- running -------------------------------------------------------------------- */

size_t pipeline_fds(const struct pipeline *p,
		    struct pollfd fds[PIPELINE_FDS_MAX])
{
	size_t count = 0;
	int fd = capture_source_fd(p->stream);

	fds[count++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	fd = p->encoder ? capture_encoder_fd(p->encoder) : -1;
	/* Without a frame inside, an M2M device polls as an error. */
	if (fd >= 0 &&
	    capture_encoder_deadline_ns(p->encoder) != UINT64_MAX)
		fds[count++] = (struct pollfd){ .fd = fd,
						.events = POLLIN | POLLOUT };
	return count;
}

uint64_t pipeline_deadline_ns(const struct pipeline *p)
{
	uint64_t at_ns = p->newest_ns + p->camera_timeout_ns;

	if (p->encoder)
		at_ns = MIN(at_ns, capture_encoder_deadline_ns(p->encoder));
	return at_ns;
}

static int fail(char *error, const struct pipeline *p, const char *who, int r)
{
	const char *what = strerror(-r);

	if (r == -ETIMEDOUT)
		what = "stuck: no frame within its deadline";
	else if (r == -ENODEV)
		what = "gone";
	(void)snprintf(error, PIPELINE_ERROR_CHARS, "%s: %s: %s", p->info.path,
		       who, what);
	return r;
}

static bool is_key(uint32_t fourcc, const uint8_t *data, size_t bytes,
		   bool flagged)
{
	if (fourcc == CAPTURE_FORMAT_FWHT)
		return fwht_is_key(data, bytes);
	if (fourcc == CAPTURE_FORMAT_H264 || fourcc == CAPTURE_FORMAT_HEVC)
		return flagged;
	return true; /* every picture stands alone */
}

static int receive(struct pipeline *p, char *error)
{
	for (;;) {
		struct capture_packet *packet;
		struct pipeline_frame f;
		int r = capture_encoder_receive(p->encoder, 0, &packet);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return fail(error, p, "encoder", r);
		f = (struct pipeline_frame){
			.data = packet->data,
			.bytes = packet->bytes,
			.key = is_key(packet->fourcc, packet->data,
				      packet->bytes,
				      packet->flags & CAPTURE_PACKET_KEY),
			.stamp_ns = packet->clock == CAPTURE_CLOCK_MONOTONIC ?
					    packet->stamp_ns : 0,
			.at_exposure_start = packet->point ==
					CAPTURE_POINT_START_OF_EXPOSURE,
		};
		p->calls->frame(p->ctx, &f);
		(void)capture_packet_unref(packet);
	}
}

/* The camera compresses by itself. */
static void pass_on(struct pipeline *p, const struct capture_frame *frame)
{
	const struct capture_plane *plane = &frame->planes[0];
	struct pipeline_frame f = {
		.data = plane->map ? plane->map + plane->offset : NULL,
		.bytes = plane->bytesused,
		.stamp_ns = frame->clock == CAPTURE_CLOCK_MONOTONIC ?
				    frame->stamp_ns : 0,
		.at_exposure_start =
			frame->point == CAPTURE_POINT_START_OF_EXPOSURE,
	};

	if (!f.data || frame->plane_count != 1 || !f.bytes) {
		p->frames_skipped++;
		return;
	}
	f.key = is_key(frame->fourcc, f.data, f.bytes,
		       frame->flags & CAPTURE_FRAME_KEY);
	p->packets_direct++;
	p->calls->frame(p->ctx, &f);
}

static int submit(struct pipeline *p, struct capture_frame *frame, char *error)
{
	int r = capture_encoder_submit(p->encoder, frame);

	if (r == -EAGAIN) {
		p->frames_skipped++;
		return 0;
	}
	if (r < 0)
		return fail(error, p, "encoder", r);
	if (p->calls->raw)
		p->calls->raw(p->ctx, frame);
	return 0;
}

static int dequeue(struct pipeline *p, uint64_t now_ns, char *error)
{
	for (unsigned int i = 0; i < FRAMES_PER_RUN_MAX; i++) {
		struct capture_frame *frame;
		int r = capture_source_dequeue(p->stream, 0, &frame);

		if (r == -EAGAIN || r == -ENOBUFS)
			return 0;
		if (r < 0)
			return fail(error, p, "camera", r);
		p->newest_ns = now_ns;
		if (p->encoder)
			r = submit(p, frame, error);
		else
			pass_on(p, frame);
		(void)capture_frame_unref(frame);
		if (r == 0 && p->encoder)
			r = receive(p, error);
		if (r < 0)
			return r;
	}
	return 0;
}

int pipeline_run(struct pipeline *p, uint64_t now_ns, char *error)
{
	int r = p->encoder ? receive(p, error) : 0;

	if (r == 0)
		r = dequeue(p, now_ns, error);
	if (r == 0 && now_ns >= p->newest_ns + p->camera_timeout_ns)
		r = fail(error, p, "camera", -ETIMEDOUT);
	return r;
}

void pipeline_force_key(struct pipeline *p)
{
	if (p->encoder) /* key frames then come at the encoder's own pace */
		(void)!capture_encoder_force_key(p->encoder);
}
