/* SPDX-License-Identifier: Apache-2.0 */
#include "src/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <capture/device.h>
#include <capture/encoder.h>

#include "base/sys.h"

DEFINE_AUTO(capture_device_list_free, struct capture_device_list *)

#define DOUBLINGS_MAX 32u

/* --- configuration ------------------------------------------------------ */

static int copy_text(const char *from, char *to, size_t bytes)
{
	int r = snprintf(to, bytes, "%s", from);

	return r < 0 || (size_t)r >= bytes ? -EINVAL : 0;
}

static int copy_texts(struct supervisor *s)
{
	struct capture_supervisor_config *c = &s->config;
	int r = 0;

	if (c->source.path)
		r = copy_text(c->source.path, s->path, sizeof(s->path));
	if (r == 0 && c->match)
		r = copy_text(c->match, s->match, sizeof(s->match));
	if (r == 0 && c->blank_label)
		r = copy_text(c->blank_label, s->label, sizeof(s->label));
	if (r < 0)
		return r;
	/* An empty text is in every card. */
	if (c->match && !s->match[0])
		return -EINVAL;
	c->source.path = c->source.path ? s->path : NULL;
	c->match = c->match ? s->match : NULL;
	c->blank_label = c->blank_label ? s->label : NULL;
	return 0;
}

static int copy_fourccs(struct supervisor *s)
{
	struct capture_source_config *c = &s->config.source;

	if (c->fourcc_count > CAPTURE_SUPERVISED_FOURCCS_MAX ||
	    (c->fourcc_count && !c->fourccs))
		return -EINVAL;
	if (c->fourcc_count)
		memcpy(s->fourccs, c->fourccs,
		       c->fourcc_count * sizeof(s->fourccs[0]));
	c->fourccs = s->fourccs;
	return 0;
}

/* 0 becomes @fallback. */
static int take_time(uint64_t *ns, uint64_t fallback)
{
	if (!*ns)
		*ns = fallback;
	return *ns > CAPTURE_SUPERVISED_NS_MAX ? -EINVAL : 0;
}

static int take_times(struct capture_supervisor_config *c)
{
	if (c->stuck_ns > CAPTURE_SUPERVISED_NS_MAX)
		return -EINVAL;
	if (take_time(&c->frame_ns, CAPTURE_SUPERVISOR_FRAME_NS) < 0 ||
	    take_time(&c->backoff_min_ns, CAPTURE_SUPERVISOR_BACKOFF_MIN_NS) <
		    0 ||
	    take_time(&c->backoff_max_ns, CAPTURE_SUPERVISOR_BACKOFF_MAX_NS) <
		    0 ||
	    take_time(&c->stable_ns, CAPTURE_SUPERVISOR_STABLE_NS) < 0 ||
	    take_time(&c->signal_ns, CAPTURE_SUPERVISOR_SIGNAL_NS) < 0)
		return -EINVAL;
	/* Whatever is asked for, it is no tight loop. */
	if (c->backoff_min_ns < CAPTURE_SUPERVISED_BACKOFF_NS_MIN ||
	    c->signal_ns < CAPTURE_SUPERVISED_BACKOFF_NS_MIN ||
	    c->frame_ns < CAPTURE_SUPERVISED_BACKOFF_NS_MIN ||
	    c->backoff_max_ns < c->backoff_min_ns)
		return -EINVAL;
	return 0;
}

int supervisor_configure(struct supervisor *s,
			 const struct capture_supervisor_config *config)
{
	int r;

	s->config = *config;
	s->random = config->seed;
	if (config->blank > CAPTURE_BLANK_OUTAGE)
		return -EINVAL;
	r = take_times(&s->config);
	if (r == 0)
		r = copy_texts(s);
	if (r == 0)
		r = copy_fourccs(s);
	if (r == 0 && config->source.settings)
		r = capture_settings_dup(config->source.settings, &s->settings);
	return r;
}

/* --- finding the node --------------------------------------------------- */

static bool matches(const struct supervisor *s, const struct capture_device *d)
{
	return d->kind == CAPTURE_DEVICE_CAMERA &&
	       (strstr(d->card, s->match) || strstr(d->bus_info, s->match));
}

static int find_match(struct supervisor *s)
{
	AUTO(capture_device_list_free) struct capture_device_list *list = NULL;
	const struct capture_device *found = NULL;
	size_t i;
	int r;

	r = capture_device_list_new(s->base.sys, &list);
	if (r < 0)
		return r;
	for (i = 0; i < list->count; i++) {
		const struct capture_device *d = list->devices[i];

		if (!matches(s, d))
			continue;
		if (!found || !strcmp(d->path, s->path))
			found = d;
	}
	return found ? copy_text(found->path, s->path, sizeof(s->path))
		     : -ENODEV;
}

uint64_t supervisor_soon_ns(void)
{
	return sys_now_ns(sys_posix(), CLOCK_MONOTONIC) +
	       CAPTURE_SUPERVISED_CALL_WAIT_NS;
}

void supervisor_hold_call(struct supervisor *s, enum supervisor_op op,
			  struct supervisor_call *call)
{
	s->call = call;
	s->call_op = op;
	s->call_told = false;
	s->call_from_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
}

static struct capture_settings_error *error_of(const struct supervisor *s)
{
	const struct capture_settings *settings = s->config.source.settings;

	return settings ? settings->error : NULL;
}

static int call_open(struct supervisor *s,
		     const struct capture_source_config *config,
		     struct capture_source **ret_inner)
{
	struct supervisor_call *call;
	int r;

	if (!s->config.stuck_ns)
		return s->open(s->base.sys, config, ret_inner);
	r = supervisor_call_new(s->base.sys, SUPERVISOR_OPEN, config, s->open,
				NULL, &call);
	if (r < 0)
		return r;
	if (supervisor_call_wait(call, supervisor_soon_ns()))
		return supervisor_call_end(call, error_of(s), ret_inner);
	supervisor_hold_call(s, SUPERVISOR_OPEN, call);
	return -EINPROGRESS;
}

int supervisor_wait_open(struct supervisor *s,
			 struct capture_source **ret_inner)
{
	struct supervisor_call *call = s->call;

	if (!supervisor_call_wait(call,
				  supervisor_soon_ns() + s->config.stuck_ns))
		return -ETIMEDOUT; /* and left behind */
	s->call = NULL;
	return supervisor_call_end(call, error_of(s), ret_inner);
}

int supervisor_open_inner(struct supervisor *s,
			  struct capture_source **ret_inner)
{
	struct capture_source_config config = s->config.source;
	int r = 0;

	if (s->config.resolve) {
		r = s->config.resolve(s->config.ctx, s->path);
		s->path[sizeof(s->path) - 1] = '\0';
		config.path = s->path;
	} else if (s->config.match) {
		r = find_match(s);
		config.path = s->path;
	}
	return r < 0 ? r : call_open(s, &config, ret_inner);
}

/* --- formats and counters ----------------------------------------------- */

bool supervisor_same_shape(const struct capture_format *a,
			   const struct capture_format *b)
{
	uint32_t p;

	if (a->fourcc != b->fourcc || a->media != b->media ||
	    a->width != b->width || a->height != b->height ||
	    a->plane_count != b->plane_count ||
	    a->sample_rate != b->sample_rate ||
	    a->sample_bytes != b->sample_bytes || a->channels != b->channels)
		return false;
	for (p = 0; p < a->plane_count; p++) {
		if (a->stride[p] != b->stride[p] || a->size[p] != b->size[p])
			return false;
	}
	return true;
}

bool supervisor_same_format(const struct capture_format *a,
			    const struct capture_format *b)
{
	return supervisor_same_shape(a, b) && a->rate_num == b->rate_num &&
	       a->rate_den == b->rate_den && a->colorspace == b->colorspace &&
	       a->xfer_func == b->xfer_func && a->ycbcr_enc == b->ycbcr_enc &&
	       a->quantization == b->quantization;
}

void supervisor_add_stats(struct capture_source_stats *sum,
			  const struct capture_source_stats *from)
{
	sum->frames += from->frames;
	sum->frames_error += from->frames_error;
	sum->frames_short += from->frames_short;
	sum->frames_lost += from->frames_lost;
	sum->frames_starved += from->frames_starved;
	sum->frames_skipped += from->frames_skipped;
	sum->frames_stale += from->frames_stale;
	sum->frames_dropped += from->frames_dropped;
	sum->stamps_backward += from->stamps_backward;
	sum->stamps_bad += from->stamps_bad;
	sum->sequence_errors += from->sequence_errors;
	sum->copies += from->copies;
	sum->bytes_touched += from->bytes_touched;
	sum->requeue_errors += from->requeue_errors;
	sum->bytes_skipped += from->bytes_skipped;
	sum->overruns += from->overruns;
	sum->scans_lost += from->scans_lost;
	sum->counts_guessed += from->counts_guessed;
	sum->counts_anew += from->counts_anew;
	sum->s2_given_up |= from->s2_given_up;
}

/* splitmix64: any seed will do, zero included. */
static uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* Half of the bound is certain, the other half is jitter. */
uint64_t supervisor_backoff_ns(struct supervisor *s, uint32_t *count,
			       uint64_t max_ns)
{
	uint64_t floor_ns = MIN(s->config.backoff_min_ns, max_ns);
	uint64_t bound_ns = max_ns;
	uint64_t half_ns;

	if (2 * floor_ns <= max_ns >> *count)
		bound_ns = 2 * floor_ns << *count;
	if (*count < DOUBLINGS_MAX)
		(*count)++;
	half_ns = MAX(bound_ns / 2, floor_ns);
	return half_ns + random_next(&s->random) % (bound_ns - half_ns + 1);
}

/* --- the rest ----------------------------------------------------------- */

const char *capture_supervisor_kind_name(enum capture_supervisor_kind kind)
{
	static const char *const names[] = {
		[CAPTURE_EVENT_STALLED] = "stalled",
		[CAPTURE_EVENT_FAILED] = "failed",
		[CAPTURE_EVENT_RESTARTED] = "restarted",
		[CAPTURE_EVENT_UNPLUGGED] = "unplugged",
		[CAPTURE_EVENT_REOPENED] = "reopened",
		[CAPTURE_EVENT_REPLUGGED] = "replugged",
		[CAPTURE_EVENT_SIGNAL_LOST] = "signal lost",
		[CAPTURE_EVENT_SIGNAL_BACK] = "signal back",
		[CAPTURE_EVENT_FORMAT_CHANGED] = "format changed",
		[CAPTURE_EVENT_GAVE_UP_ATTEMPT] = "gave up an attempt",
		[CAPTURE_EVENT_STUCK] = "stuck",
	};
	size_t i = (size_t)kind;

	return i < ARRAY_SIZE(names) ? names[i] : "?";
}

int capture_encoder_reopen(const struct sys_ops *sys,
			   const struct capture_encoder_config *config,
			   struct capture_encoder **encoder)
{
	/* First the old one: many devices have but one context. */
	*encoder = capture_encoder_close(*encoder);
	return capture_encoder_open(sys, config, encoder);
}
