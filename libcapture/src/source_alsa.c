/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCM of ALSA, interleaved: the only file that sees libasound. A frame is a
 * run of samples read into memory of ours, S16_LE, or made that where the card
 * has it otherwise (src/pcm.h). Its stamp is that of its
 * first sample: the kernel says when it last looked at the card's pointer, and
 * how many samples were unread then. The count of samples since the start is
 * a clock of its own, the card's crystal: device_ticks.
 *
 *	      start            xrun: counted, begun anew, next epoch
 *	OFF --------> ON ---.  ^
 *	 ^             |    '--'
 *	 |             '--> FAILED (unplugged)
 *	 '--- stop ----'-------'
 */
#include "src/source_backend.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <alsa/asoundlib.h>

#include "base/log.h"
#include "base/sys.h"
#include "src/frame.h"
#include "src/frame_pool.h"
#include "src/limits.h"
#include "src/pcm.h"
#include "src/queue.h"
#include "src/sensor.h"

#define NS_PER_S UINT64_C(1000000000)
#define RATE_DEFAULT 48000u
/* Frames a second when no length is asked for: 20 ms each. */
#define FRAMES_PER_S 50u
/* The card's own buffer: frames, but at least a second. What a user who gets
 * no CPU may miss; it delays nothing. */
#define BUFFER_FRAMES_MIN 4u
#define BUFFERS_PER_S 1u
#define FDS_MAX 8

enum alsa_state { ALSA_OFF = 0, ALSA_ON, ALSA_FAILED };

struct alsa {
	struct capture_source base;
	snd_pcm_t *pcm;
	snd_pcm_status_t *status;
	int fd;	      /* to wait for; the PCM's or @epoll_fd */
	int epoll_fd; /* -EBADF: the PCM has one descriptor */
	enum alsa_state state;
	bool plugin; /* its descriptors are not the card's */
	struct frame_pool *pool;
	uint32_t frame_samples;
	const struct pcm_layout *layout; /* the card's */
	uint8_t *raw; /* a frame as the card has it; NULL: as it is */
	uint64_t samples;  /* read since the start, or since an xrun */
	uint32_t sequence; /* of the next frame */
	uint32_t epoch;
	bool overrun;	      /* since the last frame */
	uint64_t expected_ns; /* first sample after the last frame; 0: none */
	struct capture_source_stats stats;
};

static const struct source_ops alsa_ops;

static struct alsa *self(struct capture_source *source)
{
	return container_of(source, struct alsa, base);
}

static const struct alsa *self_const(const struct capture_source *source)
{
	return container_of(source, const struct alsa, base);
}

/* --- opening ------------------------------------------------------------ */

/* libasound writes to the user's terminal otherwise. */
static void PRINTF(5, 0)
	quiet(const char *file, int line, const char *function, int err,
	      const char *format, va_list args)
{
	char text[160];

	(void)file;
	(void)line;
	(void)vsnprintf(text, sizeof(text), format, args);
	log_debug("alsa", "%s: %s (%d)", function, text, err);
}

static int open_pcm(const char *path, snd_pcm_t **ret_pcm)
{
	snd_local_error_handler_t before = snd_lib_error_set_local(quiet);
	int r;

	/* A resampled clock would be nobody's. */
	r = snd_pcm_open(ret_pcm, path, SND_PCM_STREAM_CAPTURE,
			 SND_PCM_NONBLOCK | SND_PCM_NO_AUTO_RESAMPLE);
	(void)snd_lib_error_set_local(before);
	return r;
}

/* The names of what it has, with spaces between. */
static void format_names(snd_pcm_t *pcm, snd_pcm_hw_params_t *params, char *out,
			 size_t size)
{
	size_t used = 0;
	int f;

	out[0] = '\0';
	for (f = 0; f <= SND_PCM_FORMAT_LAST; f++) {
		const char *name = snd_pcm_format_name((snd_pcm_format_t)f);
		int n;

		if (!name || snd_pcm_hw_params_test_format(
				     pcm, params, (snd_pcm_format_t)f) < 0)
			continue;
		n = snprintf(out + used, size - used, "%s%s", used ? " " : "",
			     name);
		if (n < 0 || (size_t)n >= size - used) {
			out[used] = '\0'; /* no name in part */
			break;
		}
		used += (size_t)n;
	}
}

/* What the card can. */
static void describe(snd_pcm_t *pcm, snd_pcm_hw_params_t *params,
		     struct capture_sensor *sensor)
{
	static const unsigned int rates[] = {
		8000,  11025, 16000, 22050, 24000,  32000,
		44100, 48000, 88200, 96000, 176400, 192000,
	};
	size_t i;

	_Static_assert(ARRAY_SIZE(rates) <= CAPTURE_SENSOR_RATES_MAX,
		       "room for all");
	format_names(pcm, params, sensor->formats, sizeof(sensor->formats));
	(void)snd_pcm_hw_params_get_rate_min(params, &sensor->rate_min, NULL);
	(void)snd_pcm_hw_params_get_rate_max(params, &sensor->rate_max, NULL);
	(void)snd_pcm_hw_params_get_channels_min(params, &sensor->channels_min);
	(void)snd_pcm_hw_params_get_channels_max(params, &sensor->channels_max);
	for (i = 0; i < ARRAY_SIZE(rates); i++) {
		if (snd_pcm_hw_params_test_rate(pcm, params, rates[i], 0) == 0)
			sensor->rates[sensor->rate_count++] = rates[i];
	}
}

/* For the one who wonders why it was refused. */
static void tell_what_there_is(snd_pcm_t *pcm, const char *path,
			       snd_pcm_hw_params_t *params)
{
	struct capture_sensor sensor = {0};

	if (snd_pcm_hw_params_any(pcm, params) < 0)
		return;
	describe(pcm, params, &sensor);
	log_debug("alsa", "%s has formats %s; %u to %u Hz; %u to %u channels",
		  path, sensor.formats, sensor.rate_min, sensor.rate_max,
		  sensor.channels_min, sensor.channels_max);
}

/* The first that the card has. */
static int set_layout(struct alsa *s, snd_pcm_hw_params_t *params)
{
	size_t i;

	for (i = 0; i < pcm_layout_count; i++) {
		snd_pcm_format_t format =
			snd_pcm_format_value(pcm_layouts[i].name);

		if (snd_pcm_hw_params_test_format(s->pcm, params, format) < 0)
			continue;
		s->layout = &pcm_layouts[i];
		s->stats.device_bits = s->layout->bits;
		return snd_pcm_hw_params_set_format(s->pcm, params, format);
	}
	return -EPROTONOSUPPORT;
}

/* Where samples are converted, they are read to memory of their own. */
static int alloc_raw(struct alsa *s, const char *path)
{
	if (s->layout == &pcm_layouts[0])
		return 0;
	log_debug("alsa", "%s: has %s, the upper 16 bits are taken", path,
		  s->layout->name);
	s->raw = calloc((size_t)s->frame_samples * s->base.format.channels,
			s->layout->bytes);
	return s->raw ? 0 : -ENOMEM;
}

static int set_channels(struct alsa *s, snd_pcm_hw_params_t *params,
			uint32_t wanted)
{
	unsigned int channels = wanted;

	if (!wanted &&
	    snd_pcm_hw_params_get_channels_min(params, &channels) < 0)
		return -EPROTO;
	if (channels > CAPTURE_CHANNELS_MAX ||
	    snd_pcm_hw_params_set_channels(s->pcm, params, channels) < 0)
		return -ERANGE;
	s->base.format.channels = channels;
	s->base.format.sample_bytes = 2 * channels;
	return 0;
}

static int set_rate(struct alsa *s, snd_pcm_hw_params_t *params,
		    uint32_t wanted)
{
	unsigned int rate = wanted ? wanted : RATE_DEFAULT;
	int r;

	if (wanted)
		r = snd_pcm_hw_params_set_rate(s->pcm, params, rate, 0);
	else
		r = snd_pcm_hw_params_set_rate_near(s->pcm, params, &rate,
						    NULL);
	if (r < 0)
		return -ERANGE;
	if (!rate || rate > CAPTURE_SAMPLE_RATE_MAX)
		return -EPROTO;
	s->base.format.sample_rate = rate;
	return 0;
}

static int set_periods(struct alsa *s, snd_pcm_hw_params_t *params,
		       uint32_t frame_samples)
{
	uint32_t rate = s->base.format.sample_rate;
	snd_pcm_uframes_t buffer;
	snd_pcm_uframes_t period;
	int r;

	if (!frame_samples)
		frame_samples = MAX(rate / FRAMES_PER_S, 1);
	if (frame_samples > CAPTURE_FRAME_SAMPLES_MAX)
		return -ERANGE;
	s->frame_samples = frame_samples;
	period = frame_samples;
	buffer = MAX(BUFFER_FRAMES_MIN * frame_samples, rate / BUFFERS_PER_S);
	r = snd_pcm_hw_params_set_period_size_near(s->pcm, params, &period,
						   NULL);
	if (r == 0)
		r = snd_pcm_hw_params_set_buffer_size_near(s->pcm, params,
							   &buffer);
	if (r < 0)
		return r;
	/* It must hold a frame before it is full. */
	return buffer > frame_samples ? 0 : -ERANGE;
}

static int set_hardware(struct alsa *s, snd_pcm_hw_params_t *params,
			const struct capture_source_config *config)
{
	int r;

	r = snd_pcm_hw_params_any(s->pcm, params);
	if (r < 0)
		return r;
	(void)snd_pcm_hw_params_set_rate_resample(s->pcm, params, 0);
	if (snd_pcm_hw_params_set_access(s->pcm, params,
					 SND_PCM_ACCESS_RW_INTERLEAVED) < 0)
		r = -EPROTONOSUPPORT;
	if (r >= 0)
		r = set_layout(s, params);
	if (r >= 0)
		r = set_channels(s, params, config->channels);
	if (r == 0)
		r = set_rate(s, params, config->sample_rate);
	if (r == 0)
		r = set_periods(s, params, config->frame_samples);
	if (r == 0)
		return snd_pcm_hw_params(s->pcm, params);
	if (r == -ERANGE || r == -EPROTONOSUPPORT)
		tell_what_there_is(s->pcm, config->path, params);
	return r;
}

static int set_software(struct alsa *s, snd_pcm_sw_params_t *params)
{
	int r;

	r = snd_pcm_sw_params_current(s->pcm, params);
	if (r == 0)
		r = snd_pcm_sw_params_set_tstamp_mode(s->pcm, params,
						      SND_PCM_TSTAMP_ENABLE);
	if (r == 0)
		r = snd_pcm_sw_params_set_tstamp_type(
			s->pcm, params, SND_PCM_TSTAMP_TYPE_MONOTONIC);
	if (r == 0)
		r = snd_pcm_sw_params_set_avail_min(s->pcm, params,
						    s->frame_samples);
	return r < 0 ? r : snd_pcm_sw_params(s->pcm, params);
}

static int set_params(struct alsa *s,
		      const struct capture_source_config *config)
{
	snd_pcm_hw_params_t *hw = NULL;
	snd_pcm_sw_params_t *sw = NULL;
	int r;

	r = snd_pcm_hw_params_malloc(&hw);
	if (r == 0)
		r = snd_pcm_sw_params_malloc(&sw);
	if (r == 0)
		r = set_hardware(s, hw, config);
	if (r == 0)
		r = set_software(s, sw);
	snd_pcm_hw_params_free(hw);
	snd_pcm_sw_params_free(sw);
	return r;
}

/* All of the PCM's descriptors in one. */
static int join_fds(struct alsa *s, const struct pollfd *fds, int count)
{
	const struct sys_ops *sys = s->base.sys;
	int i;
	int r;

	r = sys->epoll_create1(EPOLL_CLOEXEC);
	if (r < 0)
		return r;
	s->epoll_fd = r;
	for (i = 0; i < count; i++) {
		/* EPOLLIN and the like are POLLIN and the like. */
		struct epoll_event event = {
			.events = (uint32_t)fds[i].events,
		};

		r = sys->epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fds[i].fd,
				   &event);
		if (r < 0)
			return r;
	}
	s->fd = s->epoll_fd;
	return 0;
}

static int setup_fds(struct alsa *s)
{
	struct pollfd fds[FDS_MAX];
	int count;

	if (snd_pcm_poll_descriptors_count(s->pcm) > FDS_MAX)
		return -EPROTO;
	count = snd_pcm_poll_descriptors(s->pcm, fds, FDS_MAX);
	if (count <= 0)
		return count < 0 ? count : -EPROTO;
	if (count > 1)
		return join_fds(s, fds, count);
	s->fd = fds[0].fd; /* a card's own: the common case */
	return 0;
}

static int check_config(const struct capture_source_config *config)
{
	size_t i;

	if (!config->path)
		return -EINVAL;
	for (i = 0; i < config->fourcc_count; i++) {
		if (config->fourccs[i] == CAPTURE_FORMAT_S16)
			return 0;
	}
	return config->fourcc_count ? -EPROTONOSUPPORT : 0;
}

static int alsa_setup(struct alsa *s,
		      const struct capture_source_config *config)
{
	struct capture_format *f = &s->base.format;
	int r;

	r = check_config(config);
	if (r == 0)
		r = open_pcm(config->path, &s->pcm);
	if (r < 0)
		return r;
	s->plugin = snd_pcm_type(s->pcm) != SND_PCM_TYPE_HW;
	r = set_params(s, config);
	if (r == 0)
		r = alloc_raw(s, config->path);
	if (r == 0)
		r = snd_pcm_status_malloc(&s->status);
	if (r == 0)
		r = setup_fds(s);
	if (r < 0)
		return r;
	f->fourcc = CAPTURE_FORMAT_S16;
	f->media = CAPTURE_MEDIA_SAMPLES;
	f->plane_count = 1;
	f->size[0] = s->frame_samples * f->sample_bytes;
	f->rate_num = f->sample_rate;
	f->rate_den = s->frame_samples;
	return frame_pool_new(s->base.sys, f, config, &s->pool);
}

static void alsa_destroy(struct alsa *s)
{
	frame_pool_close(s->pool);
	/* Before the descriptors that are in it. */
	sys_close(s->base.sys, &s->epoll_fd);
	if (s->pcm)
		(void)snd_pcm_close(s->pcm);
	if (s->status)
		snd_pcm_status_free(s->status);
	free(s->raw);
	free(s);
}

int source_alsa_open(const struct sys_ops *sys,
		     const struct capture_source_config *config,
		     struct capture_source **ret_source)
{
	struct alsa *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->base.ops = &alsa_ops;
	s->base.sys = sys;
	s->epoll_fd = -EBADF;
	r = alsa_setup(s, config);
	if (r < 0) {
		alsa_destroy(s);
		return r;
	}
	*ret_source = &s->base;
	return 0;
}

static void alsa_close(struct capture_source *source)
{
	alsa_destroy(self(source));
}

/* --- on and off --------------------------------------------------------- */

static int switch_on(struct alsa *s)
{
	int r;

	r = snd_pcm_prepare(s->pcm);
	if (r == 0)
		r = snd_pcm_start(s->pcm);
	s->samples = 0;
	return r;
}

static int alsa_start(struct capture_source *source)
{
	struct alsa *s = self(source);
	int r;

	if (s->state != ALSA_OFF)
		return -EBUSY;
	r = switch_on(s);
	if (r < 0) {
		(void)snd_pcm_drop(s->pcm); /* the first error is told */
		return r;
	}
	s->sequence = 0;
	s->expected_ns = 0;
	s->overrun = false;
	s->state = ALSA_ON;
	return 0;
}

static int alsa_stop(struct capture_source *source)
{
	struct alsa *s = self(source);

	if (s->state == ALSA_OFF)
		return 0;
	s->state = ALSA_OFF;
	return snd_pcm_drop(s->pcm);
}

/* --- frames ------------------------------------------------------------- */

/* What was not read in time is gone; how much, the next stamp tells. */
static int begin_anew(struct alsa *s)
{
	int r;

	r = switch_on(s);
	if (r < 0)
		return r;
	s->stats.overruns++;
	s->epoch++;
	s->overrun = true;
	return -EAGAIN;
}

/* Plugins want to be told that their descriptors were looked at. */
static void settle_fds(struct alsa *s)
{
	struct pollfd fds[FDS_MAX];
	unsigned short revents;
	int count;

	if (!s->plugin)
		return;
	count = snd_pcm_poll_descriptors(s->pcm, fds, FDS_MAX);
	if (count <= 0 || s->base.sys->poll(fds, (unsigned int)count, 0) < 0)
		return;
	(void)snd_pcm_poll_descriptors_revents(s->pcm, fds, (unsigned int)count,
					       &revents);
}

/*
 * When the first unread sample was taken: as long before the kernel's look at
 * the card as the samples on the way since then last.
 */
static uint64_t stamp_of_unread(const struct alsa *s)
{
	uint64_t rate = s->base.format.sample_rate;
	uint64_t avail = snd_pcm_status_get_avail(s->status);
	snd_pcm_sframes_t delay = snd_pcm_status_get_delay(s->status);
	snd_htimestamp_t at;
	uint64_t before_ns;
	uint64_t ns;

	/* With what is still in the card's FIFO, unless that is nonsense. */
	if (delay >= 0 && (uint64_t)delay >= avail &&
	    (uint64_t)delay <= avail + rate)
		avail = (uint64_t)delay;
	before_ns = avail / rate * NS_PER_S + avail % rate * NS_PER_S / rate;
	snd_pcm_status_get_htstamp(s->status, &at);
	ns = (uint64_t)at.tv_sec * NS_PER_S + (uint64_t)at.tv_nsec;
	if (!ns) /* a plugin without stamps */
		ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
	return ns - MIN(ns, before_ns);
}

static void count_lost(struct alsa *s, uint64_t stamp_ns)
{
	uint64_t frame_ns =
		s->frame_samples * NS_PER_S / s->base.format.sample_rate;
	uint64_t lost;

	if (!s->overrun)
		return;
	s->overrun = false;
	if (!s->expected_ns || stamp_ns <= s->expected_ns)
		return;
	lost = (stamp_ns - s->expected_ns + frame_ns / 2) / MAX(frame_ns, 1);
	s->stats.frames_lost += lost;
	s->sequence += (uint32_t)lost;
}

static void fill_in(struct alsa *s, struct capture_frame *frame,
		    uint64_t stamp_ns, uint32_t count)
{
	const struct capture_format *f = &s->base.format;

	count_lost(s, stamp_ns);
	frame->sequence = s->sequence++;
	frame->stamp_ns = stamp_ns;
	frame->clock = CAPTURE_CLOCK_MONOTONIC;
	frame->point = CAPTURE_POINT_FIRST_SAMPLE;
	frame->epoch = s->epoch;
	frame->device_ticks = s->samples;
	frame->device_hz = f->sample_rate;
	frame->planes[0].bytesused = count * f->sample_bytes;
	s->samples += count;
	s->expected_ns = stamp_ns + count * NS_PER_S / f->sample_rate;
	s->stats.frames++;
}

/* What the PCM has: 0 (a whole frame), -EAGAIN or why there will be none. */
static int look(struct alsa *s)
{
	int r;

	settle_fds(s);
	r = snd_pcm_status(s->pcm, s->status);
	if (r < 0)
		return r;
	switch (snd_pcm_status_get_state(s->status)) {
	case SND_PCM_STATE_RUNNING:
		break;
	case SND_PCM_STATE_XRUN:
	case SND_PCM_STATE_SUSPENDED: /* time passed that nobody recorded */
		return begin_anew(s);
	case SND_PCM_STATE_DISCONNECTED:
		return -ENODEV;
	default:
		return -EPROTO;
	}
	if (snd_pcm_status_get_avail(s->status) < s->frame_samples)
		return -EAGAIN;
	return 0;
}

/* As snd_pcm_readi() into a frame. */
static snd_pcm_sframes_t read_samples(struct alsa *s,
				      const struct capture_frame *frame)
{
	uint8_t *to = frame_pool_data(frame, 0);
	size_t count;
	snd_pcm_sframes_t n;

	frame_begin_write(s->base.sys, frame);
	n = snd_pcm_readi(s->pcm, s->raw ? s->raw : to, s->frame_samples);
	if (s->raw && n > 0 && (snd_pcm_uframes_t)n <= s->frame_samples) {
		count = (size_t)n * s->base.format.channels;
		pcm_to_s16(s->layout, s->raw, count, to);
		s->stats.bytes_touched += count * (s->layout->bytes + 2u);
	}
	frame_end_write(s->base.sys, frame);
	return n;
}

static int take(struct capture_source *source,
		struct capture_frame **ret_frame)
{
	struct alsa *s = self(source);
	struct capture_frame *frame;
	snd_pcm_sframes_t n;
	uint64_t stamp_ns;
	int r;

	r = look(s);
	if (r < 0)
		return r;
	stamp_ns = stamp_of_unread(s);
	frame = frame_pool_take(s->pool);
	if (!frame)
		return -ENOBUFS;
	n = read_samples(s, frame);
	if (n <= 0 || (snd_pcm_uframes_t)n > s->frame_samples) {
		(void)capture_frame_unref(frame);
		if (n == -EPIPE || n == -ESTRPIPE)
			return begin_anew(s);
		return n < 0 ? (int)n : -EAGAIN;
	}
	fill_in(s, frame, stamp_ns, (uint32_t)n);
	*ret_frame = frame;
	return 0;
}

static int alsa_dequeue(struct capture_source *source, uint64_t deadline_ns,
			struct capture_frame **ret_frame)
{
	struct alsa *s = self(source);
	int r;

	if (s->state == ALSA_FAILED)
		return -EIO;
	if (s->state != ALSA_ON)
		return -EBUSY;
	r = source_wait_frame(source, take, deadline_ns, ret_frame);
	/* A card that was pulled out while it was being asked. */
	if (r == -EBADFD && snd_pcm_state(s->pcm) == SND_PCM_STATE_DISCONNECTED)
		r = -ENODEV;
	if (!source_goes_on(r))
		s->state = ALSA_FAILED;
	return r;
}

/* --- the rest ----------------------------------------------------------- */

static int alsa_fd(const struct capture_source *source)
{
	return self_const(source)->fd;
}

static struct capture_arena *alsa_arena(const struct capture_source *source)
{
	return frame_pool_arena(self_const(source)->pool);
}

static void alsa_stats(const struct capture_source *source,
		       struct capture_source_stats *ret_stats)
{
	const struct alsa *s = self_const(source);

	*ret_stats = s->stats;
	frame_pool_stats(s->pool, ret_stats);
}

static const struct source_ops alsa_ops = {
	.close = alsa_close,
	.start = alsa_start,
	.stop = alsa_stop,
	.dequeue = alsa_dequeue,
	.fd = alsa_fd,
	.stats = alsa_stats,
	.arena = alsa_arena,
};

/* --- what there is ------------------------------------------------------ */

static int ask_pcm(struct capture_sensor *sensor)
{
	snd_pcm_hw_params_t *params = NULL;
	snd_pcm_t *pcm;
	int r;

	r = open_pcm(sensor->path, &pcm);
	if (r < 0)
		return r;
	r = snd_pcm_hw_params_malloc(&params);
	if (r == 0)
		r = snd_pcm_hw_params_any(pcm, params);
	if (r >= 0) {
		(void)snd_pcm_hw_params_set_rate_resample(pcm, params, 0);
		describe(pcm, params, sensor);
	}
	snd_pcm_hw_params_free(params);
	(void)snd_pcm_close(pcm);
	return r < 0 ? r : 0;
}

/* 0, -ENOMEM, or -ENOSPC: enough of them. */
static int list_pcm(struct capture_sensor_list *list, snd_ctl_t *ctl, int card,
		    int device)
{
	struct capture_sensor *sensor;
	snd_pcm_info_t *info;
	int r;

	r = snd_pcm_info_malloc(&info);
	if (r < 0)
		return r;
	snd_pcm_info_set_device(info, (unsigned int)device);
	snd_pcm_info_set_subdevice(info, 0);
	snd_pcm_info_set_stream(info, SND_PCM_STREAM_CAPTURE);
	/* One that only plays has none of this stream. */
	if (snd_ctl_pcm_info(ctl, info) == 0) {
		r = sensor_list_add(list, CAPTURE_SOURCE_ALSA, &sensor);
		if (r == 0) {
			(void)snprintf(sensor->path, sizeof(sensor->path),
				       "hw:%d,%d", card, device);
			(void)snprintf(sensor->name, sizeof(sensor->name), "%s",
				       snd_pcm_info_get_name(info));
			sensor->error = ask_pcm(sensor);
		}
	}
	snd_pcm_info_free(info);
	return r;
}

static int list_card(struct capture_sensor_list *list, int card)
{
	char name[32];
	snd_ctl_t *ctl;
	int device = -1;
	int r;

	(void)snprintf(name, sizeof(name), "hw:%d", card);
	if (snd_ctl_open(&ctl, name, SND_CTL_READONLY | SND_CTL_NONBLOCK) < 0)
		return 0; /* may not be opened, or has gone */
	do {
		r = snd_ctl_pcm_next_device(ctl, &device) < 0 || device < 0
			    ? 1
			    : list_pcm(list, ctl, card, device);
	} while (r == 0);
	(void)snd_ctl_close(ctl);
	return r > 0 ? 0 : r;
}

int source_alsa_list(struct capture_sensor_list *list)
{
	snd_local_error_handler_t before = snd_lib_error_set_local(quiet);
	int card = -1;
	int r = 0;

	while (r == 0 && snd_card_next(&card) == 0 && card >= 0)
		r = list_card(list, card);
	(void)snd_lib_error_set_local(before);
	return r == -ENOSPC ? 0 : r;
}
