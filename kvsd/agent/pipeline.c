/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/pipeline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <capture/align.h>
#include <capture/frame.h>
#include <capture/media.h>
#include <capture/source.h>
#include <capture/supervisor.h>

#include "agent/devices.h"
#include "base/log.h"
#include "core/limits.h"

/* Longer without a frame: the next one begins a fragment, so a key frame. */
#define GAP_NS_MAX (FRAGMENT_IDLE_NS / 2)

/* A driver that does not return for so long is told to be stuck. */
#define STUCK_NS (30 * NS_PER_S)

struct tapped {
	struct pipeline *pipeline;
	size_t index;
};

struct pipeline {
	const struct sys_ops *sys;
	const struct agent_source *config;
	const struct pipeline_calls *calls;
	void *ctx;
	struct capture_source *source;
	struct capture_settings settings;
	struct capture_control_setting controls[AGENT_CONTROLS_MAX];
	struct capture_settings_error settings_error;
	struct capture_media_setup *media; /* NULL: nothing was set */
	bool media_lost;		/* maybe: to be set again */
	bool import_only;		/* what the source was opened as */
	char label[AGENT_LABEL_CHARS + 1]; /* of blank pictures */
	struct output *outputs[PIPELINE_OUTPUTS_MAX];
	struct tapped tapped[PIPELINE_OUTPUTS_MAX];
	size_t output_count;
	struct pipeline_info info;
	uint64_t newest_ns;		/* when a frame came; 0: none yet */
	uint32_t epoch;			/* of the newest frame */
	uint64_t frame_ns;		/* how long one lasts; 0: not known */
	uint64_t stamp_ns;		/* of the newest frame */
	uint64_t held_from_ns;		/* no room since then; 0: there is */
	uint64_t held_ns;
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

/* --- what outputs and the supervisor call ------------------------------------------- */

static void output_frame(void *ctx, const struct output_frame *frame)
{
	const struct tapped *t = ctx;

	t->pipeline->calls->frame(t->pipeline->ctx, t->index, frame);
}

static void output_raw(void *ctx, const struct capture_frame *frame)
{
	const struct tapped *t = ctx;

	if (t->pipeline->calls->raw)
		t->pipeline->calls->raw(t->pipeline->ctx, t->index, frame);
}

static void output_trouble(void *ctx, const char *text)
{
	const struct tapped *t = ctx;

	t->pipeline->calls->trouble(t->pipeline->ctx, text);
}

static const struct output_calls output_calls = {
	.frame = output_frame,
	.raw = output_raw,
	.trouble = output_trouble,
};

static bool has_media(const struct agent_source *c)
{
	return c->links[0] || c->pads[0];
}

static void on_event(void *ctx, const struct capture_supervisor_event *e)
{
	struct pipeline *p = ctx;

	/* An attempt that failed may have met a device that forgot them. */
	if (e->kind == CAPTURE_EVENT_UNPLUGGED ||
	    e->kind == CAPTURE_EVENT_GAVE_UP_ATTEMPT)
		p->media_lost = has_media(p->config);
	switch (e->kind) {
	case CAPTURE_EVENT_STALLED:
	case CAPTURE_EVENT_FAILED:
	case CAPTURE_EVENT_UNPLUGGED:
	case CAPTURE_EVENT_SIGNAL_LOST:
	case CAPTURE_EVENT_STUCK:
		p->calls->trouble(p->ctx, e->text);
		return;
	case CAPTURE_EVENT_FORMAT_CHANGED:
		if (e->error)
			p->calls->trouble(p->ctx, e->text);
		return;
	case CAPTURE_EVENT_RESTARTED:
	case CAPTURE_EVENT_REOPENED:
	case CAPTURE_EVENT_REPLUGGED:
	case CAPTURE_EVENT_SIGNAL_BACK:
		p->calls->trouble(p->ctx, NULL);
		return;
	case CAPTURE_EVENT_GAVE_UP_ATTEMPT: /* the cause was told */
		return;
	}
}

/* --- opening ------------------------------------------------------------------------- */

/* The path of a source that is no V4L2 node, as capture/source.h has it. */
static const char *other_path(const struct agent_source *c)
{
	if (c->kind == AGENT_SYNTHETIC)
		return agent_pattern_name(c->pattern);
	return c->device[0] ? c->device : NULL;
}

static enum capture_source_kind kind_of(const struct agent_source *c)
{
	static const enum capture_source_kind kinds[AGENT_KIND_COUNT] = {
		[AGENT_CAMERA] = CAPTURE_SOURCE_V4L2,
		[AGENT_THERMAL] = CAPTURE_SOURCE_V4L2,
		[AGENT_SDR] = CAPTURE_SOURCE_V4L2,
		[AGENT_METADATA] = CAPTURE_SOURCE_V4L2,
		[AGENT_IIO] = CAPTURE_SOURCE_IIO,
		[AGENT_RECORDS] = CAPTURE_SOURCE_RECORDS,
		[AGENT_AUDIO] = CAPTURE_SOURCE_ALSA,
		[AGENT_LIBCAMERA] = CAPTURE_SOURCE_LIBCAMERA,
		[AGENT_SYNTHETIC] = CAPTURE_SOURCE_SYNTHETIC,
	};

	return kinds[c->kind];
}

/* Points into the configuration. */
static void fill_settings(struct pipeline *p)
{
	const struct agent_source *c = p->config;

	for (size_t i = 0; i < c->control_count; i++)
		p->controls[i] = (struct capture_control_setting){
			.name = c->controls[i].name,
			.value = c->controls[i].value,
			.item = c->controls[i].item[0] ? c->controls[i].item :
							 NULL,
		};
	p->settings = (struct capture_settings){
		.set_input = c->has_input,
		.input = c->input,
		.timings = c->timings,
		.controls = p->controls,
		.control_count = c->control_count,
		.crop = c->crop.width ? &c->crop : NULL,
		.align = c->align,
		.counter = c->counter,
		.error = &p->settings_error,
	};
}

static int set_up_media(struct pipeline *p, char *error)
{
	const struct agent_source *c = p->config;
	const struct capture_media_setup_config config = {
		.links = c->links[0] ? c->links : NULL,
		.formats = c->pads[0] ? c->pads : NULL,
	};
	char why[CAPTURE_MEDIA_WHY_BYTES];
	int r;

	if (!has_media(c))
		return 0;
	r = capture_media_setup_apply(p->sys, &config, &p->media, why);
	if (r < 0)
		(void)snprintf(error, PIPELINE_ERROR_CHARS,
			       "links and pads: %s", why[0] ? why :
			       strerror(-r));
	return r;
}

static bool is_there(const struct pipeline *p)
{
	struct capture_device *device;

	if (capture_device_query(p->sys, p->info.path, &device) < 0)
		return false;
	(void)capture_device_free(device);
	return true;
}

/*
 * A device that was plugged in again has forgotten its links and pads.
 * Return: 0, -ENODEV (not there yet), or -EIO: no errno of links must pass
 * for a lost signal.
 */
static int set_up_media_again(struct pipeline *p)
{
	char error[PIPELINE_ERROR_CHARS];
	int r;

	/* It may fail: what was set is gone with the device. */
	(void)capture_media_setup_restore(p->media);
	p->media = NULL;
	r = set_up_media(p, error);
	if (r == 0) {
		p->media_lost = false;
		return 0;
	}
	if (r == -ENODEV && !is_there(p))
		return r;
	p->calls->trouble(p->ctx, error);
	return -EIO;
}

/* Where the node is now: its path may change when it is plugged in again. */
static int resolve(void *ctx, char path[CAPTURE_SUPERVISOR_PATH_BYTES])
{
	struct pipeline *p = ctx;
	char found[CAPTURE_PATH_BYTES];
	/* Links first: the node may be found by what they lead to. */
	int r = p->media_lost ? set_up_media_again(p) : 0;

	if (r < 0)
		return r;
	if (!p->config->match[0]) {
		r = snprintf(path, CAPTURE_SUPERVISOR_PATH_BYTES, "%s",
			     p->info.path);
		return r < CAPTURE_SUPERVISOR_PATH_BYTES ? 0 : -ENAMETOOLONG;
	}
	r = capture_device_match(p->sys, p->config->match, found);
	if (r == 0)
		(void)snprintf(path, CAPTURE_SUPERVISOR_PATH_BYTES, "%s",
			       found);
	return r;
}

static int open_source(struct pipeline *p, const char *path)
{
	const struct agent_source *c = p->config;
	bool v4l2 = kind_of(c) == CAPTURE_SOURCE_V4L2;
	uint32_t fourccs[DEVICES_FORMATS_MAX];
	struct capture_supervisor_config config = {
		.source = {
			.kind = kind_of(c),
			.path = path,
			.fourccs = fourccs,
			.width = c->width,
			.height = c->height,
			.rate_num = c->rate_num,
			.rate_den = c->rate_den,
			.sample_rate = c->sample_rate,
			.channels = c->channels,
			.frame_samples = c->frame_samples,
			.buffer_count = c->buffers,
			.borrow_max = c->borrow,
			.skip_first = c->skip_first,
			.settings = v4l2 ? &p->settings : NULL,
			.import_only = p->import_only,
		},
		.resolve = c->match[0] || has_media(c) ? resolve : NULL,
		.frame_ns = c->timeout_ns,
		.seed = sys_now_ns(p->sys, CLOCK_MONOTONIC),
		.refuse_format_change = true,
		/* Drivers answer; what they call into may not. */
		.stuck_ns = v4l2 ? STUCK_NS : 0,
		.blank = c->blank,
		.blank_label = c->blank ? p->label : NULL,
		.event = on_event,
		.ctx = p,
	};

	config.source.fourcc_count = devices_formats(p->sys, c, fourccs);
	return capture_supervisor_open(p->sys, &config, &p->source);
}

static void explain(struct pipeline *p, const struct capture_device *device,
		    int result, char *error)
{
	const struct capture_settings_error *e = &p->settings_error;

	if (e->name[0])
		(void)snprintf(error, PIPELINE_ERROR_CHARS, "%s: %s: %s",
			       p->info.path, e->name,
			       e->error == -ENXIO ? "it has no such setting" :
			       e->error == -ERANGE ? "out of range" :
			       strerror(-e->error));
	else
		devices_explain_source(device, p->config, result, error,
				       PIPELINE_ERROR_CHARS);
}

static int open_v4l2(struct pipeline *p, char *error)
{
	struct capture_device *device;
	int r = set_up_media(p, error);

	if (r < 0)
		return r;

	r = devices_find(p->sys, p->config, &device, error,
			 PIPELINE_ERROR_CHARS);
	if (r < 0)
		return r;
	(void)snprintf(p->info.path, sizeof(p->info.path), "%s", device->path);
	(void)snprintf(p->info.card, sizeof(p->info.card), "%s", device->card);
	r = open_source(p, device->path);
	if (r < 0)
		explain(p, device, r, error);
	(void)capture_device_free(device);
	return r;
}

static int open_other(struct pipeline *p, char *error)
{
	const char *path = other_path(p->config);
	int r;

	(void)snprintf(p->info.path, sizeof(p->info.path), "%s",
		       path ? path : "");
	r = open_source(p, path);
	if (r < 0)
		explain(p, NULL, r, error);
	return r;
}

/* The device keeps what it needs to go on. */
static uint32_t frames_held(const struct capture_source_stats *s)
{
	if (s->borrow_max)
		return s->borrow_max;
	return s->buffer_count > 1 ? s->buffer_count - 1 : 1;
}

static int open_outputs(struct pipeline *p, uint64_t fragment_ms, char *error)
{
	size_t count = agent_source_tracks(p->config);
	struct capture_source_stats s;

	capture_source_stats(p->source, &s);
	p->info.rung = s.rung;
	p->info.memory_bytes = s.memory_bytes;
	p->info.import_only = p->import_only;
	for (size_t i = 0; i < count; i++) {
		struct output_config config = {
			.source = p->config,
			.format = &p->info.format,
			.view = i == 1,
			/* On S5 nothing is exported. */
			.source_dmabuf = s.rung != CAPTURE_RUNG_S5,
			.frames_held = frames_held(&s),
			.frames_all = s.buffer_count,
			.fragment_ms = fragment_ms,
			.calls = &output_calls,
			.ctx = &p->tapped[i],
		};
		int r;

		p->tapped[i] = (struct tapped){ p, i };
		r = output_open(p->sys, &config, &p->outputs[i], error);
		if (r < 0)
			return r;
		p->output_count++;
	}
	return 0;
}

/* What blank pictures can write: upper case. */
static void set_label(struct pipeline *p)
{
	for (size_t i = 0; p->config->name[i]; i++) {
		char c = p->config->name[i];

		p->label[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') :
			      c == '_' ? '-' : c;
	}
}

static void close_outputs(struct pipeline *p)
{
	while (p->output_count) {
		p->output_count--;
		p->outputs[p->output_count] =
			output_close(p->outputs[p->output_count]);
	}
}

/* Whether a device imports all frames, so that no CPU looks at them. */
static bool all_imported(const struct pipeline *p)
{
	for (size_t i = 0; i < p->output_count; i++)
		if (!output_info(p->outputs[i])->source_imported)
			return false;
	return true;
}

/*
 * The memory was chosen for a device that imports it, and none of the outputs
 * turned out to be one: a CPU reads it, and so must be asked.
 */
static int open_again_for_cpu(struct pipeline *p, uint64_t fragment_ms,
			      char *error)
{
	int r;

	close_outputs(p);
	p->source = capture_source_close(p->source);
	p->import_only = false;
	r = open_source(p, p->info.path);
	if (r < 0) {
		explain(p, NULL, r, error);
		return r;
	}
	p->info.format = *capture_source_format(p->source);
	return open_outputs(p, fragment_ms, error);
}

static int open_all(struct pipeline *p, uint64_t fragment_ms, char *error)
{
	int r;

	/* Who taps reads every frame. */
	p->import_only = !p->calls->raw && devices_import(p->sys, p->config);
	r = kind_of(p->config) == CAPTURE_SOURCE_V4L2 ? open_v4l2(p, error) :
							open_other(p, error);
	if (r < 0)
		return r;
	p->info.format = *capture_source_format(p->source);
	r = open_outputs(p, fragment_ms, error);
	if (r == 0 && p->import_only && !all_imported(p))
		r = open_again_for_cpu(p, fragment_ms, error);
	p->frame_ns = output_frame_ns(&p->info.format);
	return r;
}

int pipeline_open(const struct sys_ops *sys, const struct agent_source *source,
		  uint64_t fragment_ms, const struct pipeline_calls *calls,
		  void *ctx, struct pipeline **ret_pipeline, char *error)
{
	AUTO(pipeline_close) struct pipeline *p = calloc(1, sizeof(*p));
	int r;

	(void)snprintf(error, PIPELINE_ERROR_CHARS, "no memory");
	if (!p)
		return -ENOMEM;
	p->sys = sys;
	p->config = source;
	set_label(p);
	p->calls = calls;
	p->ctx = ctx;
	fill_settings(p);
	r = open_all(p, fragment_ms, error);
	if (r < 0)
		return r;
	*ret_pipeline = TAKE_PTR(p);
	return 0;
}

struct pipeline *pipeline_close(struct pipeline *p)
{
	if (!p)
		return NULL;
	/* The encoders first: they may hold frames of the source. */
	close_outputs(p);
	(void)capture_source_close(p->source);
	if (p->media && capture_media_setup_restore(p->media) < 0)
		log_warn("agent", "%s: links and pads are not as they were",
			 p->config->name);
	free(p);
	return NULL;
}

int pipeline_start(struct pipeline *p, char *error)
{
	int r = capture_source_start(p->source);

	if (r < 0)
		devices_explain_source(NULL, p->config, r, error,
				       PIPELINE_ERROR_CHARS);
	return r;
}

const struct pipeline_info *pipeline_info(const struct pipeline *p)
{
	return &p->info;
}

size_t pipeline_output_count(const struct pipeline *p)
{
	return p->output_count;
}

const struct output *pipeline_output(const struct pipeline *p, size_t index)
{
	return p->outputs[index];
}

void pipeline_stats(const struct pipeline *p, struct pipeline_stats *ret)
{
	struct capture_supervisor_stats supervisor = { 0 };
	struct capture_alignment align = { 0 };
	struct capture_source_stats s;

	capture_source_stats(p->source, &s);
	/* None while there is no device, and before its first frame. */
	(void)!capture_source_alignment(p->source, &align);
	/* All are supervised: cannot fail. */
	(void)!capture_supervisor_stats(p->source, &supervisor);
	*ret = (struct pipeline_stats){
		.frames = s.frames,
		.frames_lost = s.frames_lost,
		.frames_starved = s.frames_starved,
		.frames_dropped = s.frames_dropped,
		.frames_error = s.frames_error + s.frames_short,
		.overruns = s.overruns,
		.scans_lost = s.scans_lost,
		.counts_guessed = s.counts_guessed,
		.counts_anew = s.counts_anew,
		.stamps_replaced = s.stamps_backward + s.stamps_bad,
		.copies = s.copies,
		.bytes_touched = s.bytes_touched,
		.reopened = supervisor.opens - supervisor.opens_failed +
			    supervisor.restarts,
		.stuck = supervisor.stuck,
		.outage_ns = supervisor.outage_ns,
		.held_ns = p->held_ns,
		.align_delay_ns = align.delay_ns,
		.align_wrong = align.wrong,
		.rung = s.rung,
		.s2_given_up = s.s2_given_up,
	};
}

/* --- running ------------------------------------------------------------------------- */

/* One slow encoder must not cost another one frames. */
static bool has_room(const struct pipeline *p)
{
	for (size_t i = 0; i < p->output_count; i++)
		if (output_has_room(p->outputs[i]))
			return true;
	return false;
}

static void note_held(struct pipeline *p, uint64_t now_ns)
{
	bool room = has_room(p);

	if (!room && !p->held_from_ns) {
		p->held_from_ns = now_ns;
	} else if (room && p->held_from_ns) {
		p->held_ns += now_ns - p->held_from_ns;
		p->held_from_ns = 0;
	}
}

size_t pipeline_fds(const struct pipeline *p,
		    struct pollfd fds[PIPELINE_FDS_MAX])
{
	size_t count = 0;

	if (has_room(p))
		fds[count++] = (struct pollfd){
			.fd = capture_source_fd(p->source),
			.events = POLLIN,
		};
	for (size_t i = 0; i < p->output_count; i++)
		count += output_fds(p->outputs[i], fds + count);
	return count;
}

uint64_t pipeline_deadline_ns(const struct pipeline *p)
{
	uint64_t at_ns = UINT64_MAX;

	for (size_t i = 0; i < p->output_count; i++)
		at_ns = MIN(at_ns, output_deadline_ns(p->outputs[i]));
	return at_ns;
}

static void take_frame(struct pipeline *p, struct capture_frame *frame,
		       uint64_t now_ns)
{
	if (p->newest_ns && (frame->epoch != p->epoch ||
			     now_ns - p->newest_ns > GAP_NS_MAX))
		pipeline_force_key(p);
	p->newest_ns = now_ns;
	p->epoch = frame->epoch;
	for (size_t i = 0; i < p->output_count; i++)
		output_put(p->outputs[i], frame, now_ns);
}

/*
 * Whether the next frame is there as well: this one was so late that it must
 * be. Who is in time is not asked twice a frame.
 */
static bool is_behind(struct pipeline *p, const struct capture_frame *frame,
		      uint64_t now_ns)
{
	/* Who does not say how long a frame lasts: as long as the last. */
	uint64_t step_ns = p->frame_ns ? p->frame_ns :
					 frame->stamp_ns - p->stamp_ns;

	p->stamp_ns = frame->stamp_ns;
	return frame->clock == CAPTURE_CLOCK_MONOTONIC &&
	       frame->stamp_ns < now_ns &&
	       step_ns < (now_ns - frame->stamp_ns) / 2;
}

void pipeline_run(struct pipeline *p, uint64_t now_ns)
{
	unsigned int count = 0;
	bool behind = true;

	for (size_t i = 0; i < p->output_count; i++)
		output_run(p->outputs[i], now_ns);
	note_held(p, now_ns);
	while (behind && has_room(p) && count++ < PIPELINE_TURN_FRAMES_MAX) {
		struct capture_frame *frame;

		if (capture_source_dequeue(p->source, 0, &frame) < 0)
			return; /* the supervisor knows, and tells */
		behind = is_behind(p, frame, now_ns);
		take_frame(p, frame, now_ns);
		(void)capture_frame_unref(frame);
		note_held(p, now_ns);
	}
}

void pipeline_stop(struct pipeline *p)
{
	(void)capture_source_stop(p->source);
	for (size_t i = 0; i < p->output_count; i++)
		output_end(p->outputs[i]);
}

size_t pipeline_drain(struct pipeline *p, struct pollfd *fds)
{
	size_t count = 0;

	for (size_t i = 0; i < p->output_count; i++)
		if (!output_drain(p->outputs[i]))
			count += output_fds(p->outputs[i], fds + count);
	return count;
}

void pipeline_end(struct pipeline *p)
{
	for (size_t i = 0; i < p->output_count; i++)
		output_stop(p->outputs[i]);
}

void pipeline_force_key(struct pipeline *p)
{
	for (size_t i = 0; i < p->output_count; i++)
		output_force_key(p->outputs[i]);
}
