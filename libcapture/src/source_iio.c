/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The buffer of an industrial I/O device: the only file that sees libiio. A
 * frame is a run of scans as the kernel lays them out (iio_buffer.rst): each
 * enabled channel at its own alignment, the timestamp last. All scan elements
 * are enabled; the trigger is the system's to choose.
 *
 * The kernel's FIFO drops scans without a word when it is full. Timestamps,
 * where the device has them, show it.
 */
#include "src/source_backend.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include <iio.h>

#include "base/sys.h"
#include "src/frame.h"
#include "src/frame_pool.h"
#include "src/limits.h"
#include "src/queue.h"
#include "src/scan_gaps.h"
#include "src/sensor.h"

#define NS_PER_S UINT64_C(1000000000)
/* Frames a second, or scans, when no length is asked for. */
#define FRAMES_PER_S 10u
#define SCANS_DEFAULT 64u

#define ATTR_BYTES 64

/* What an attribute was before it was set, and what that made of it. */
struct saved_attr {
	bool set;
	char before[ATTR_BYTES];
	char left[ATTR_BYTES];
};

enum iio_state { IIO_OFF = 0, IIO_ON, IIO_FAILED };

struct iio {
	struct capture_source base;
	struct iio_context *context;
	struct iio_device *device;
	struct iio_channel *timestamp; /* NULL: the device has none */
	struct iio_buffer *buffer;     /* NULL: off */
	int epoll_fd; /* of the buffer's, which comes and goes */
	enum iio_state state;
	bool restored; /* the device is as it was: only close helps */
	enum capture_clock clock;
	struct saved_attr saved_rate;
	struct saved_attr saved_clock;
	uint32_t element_count;
	struct capture_scan_element elements[CAPTURE_CHANNELS_MAX + 1];
	struct frame_pool *pool;
	uint32_t frame_samples;
	uint64_t samples; /* since the start */
	uint32_t sequence;
	struct scan_gaps gaps;
	uint32_t epoch; /* device_ticks leave out what was lost */
	struct capture_source_stats stats;
};

static const struct source_ops iio_ops;

static struct iio *self(struct capture_source *source)
{
	return container_of(source, struct iio, base);
}

static const struct iio *self_const(const struct capture_source *source)
{
	return container_of(source, const struct iio, base);
}

/* libiio says errno; one that forgot to is an I/O error. */
static int last_errno(void)
{
	return errno > 0 ? -errno : -EIO;
}

/* --- opening ------------------------------------------------------------ */

static int find_device(struct iio *s, const char *path)
{
	errno = 0;
	s->context = iio_create_local_context();
	if (!s->context)
		return errno == ENOENT ? -ENODEV : last_errno();
	s->device = iio_context_find_device(s->context, path);
	return s->device ? 0 : -ENODEV;
}

static bool is_timestamp(const struct iio_channel *channel)
{
	const struct iio_data_format *format =
		iio_channel_get_data_format(channel);

	return iio_channel_get_type(channel) == IIO_TIMESTAMP &&
	       format->length == 64;
}

/* All that can be scanned; or the first @wanted, and the timestamp. */
static int enable_channels(struct iio *s, uint32_t wanted)
{
	unsigned int count = iio_device_get_channels_count(s->device);
	uint32_t enabled = 0;
	unsigned int i;

	for (i = 0; i < count; i++) {
		struct iio_channel *c = iio_device_get_channel(s->device, i);

		if (iio_channel_is_output(c) || !iio_channel_is_scan_element(c))
			continue;
		if (is_timestamp(c)) {
			s->timestamp = c;
			iio_channel_enable(c);
		} else if (!wanted || enabled < wanted) {
			iio_channel_enable(c);
			enabled++;
		} else {
			iio_channel_disable(c);
		}
	}
	if (!enabled)
		return -ENODEV; /* it has no buffer */
	if (enabled < wanted || enabled > CAPTURE_CHANNELS_MAX)
		return -ERANGE;
	s->base.format.channels = enabled;
	return 0;
}

/* Where the rate is set: exactly one is not NULL, or none. */
struct rate_attr {
	const struct iio_device *device;
	const struct iio_channel *channel;
};

static const char rate_name[] = "sampling_frequency";

/* The device's own; or of what triggers it; or of a channel, for all. */
static struct rate_attr find_rate(const struct iio *s)
{
	unsigned int count = iio_device_get_channels_count(s->device);
	const struct iio_device *trigger = NULL;
	struct rate_attr rate = {.device = s->device};
	unsigned int i;

	if (iio_device_find_attr(s->device, rate_name))
		return rate;
	rate.device = NULL;
	if (iio_device_get_trigger(s->device, &trigger) == 0 && trigger &&
	    iio_device_find_attr(trigger, rate_name)) {
		rate.device = trigger;
		return rate;
	}
	for (i = 0; i < count && !rate.channel; i++) {
		struct iio_channel *c = iio_device_get_channel(s->device, i);

		if (iio_channel_is_enabled(c) &&
		    iio_channel_find_attr(c, rate_name))
			rate.channel = c;
	}
	return rate;
}

static int write_rate(const struct rate_attr *rate, double value)
{
	if (rate->device)
		return iio_device_attr_write_double(rate->device, rate_name,
						    value);
	return iio_channel_attr_write_double(rate->channel, rate_name, value);
}

/* As text, so that what is put back is what was there. */
static bool read_rate_text(const struct rate_attr *rate, char text[ATTR_BYTES])
{
	ssize_t n = rate->device ? iio_device_attr_read(rate->device, rate_name,
							text, ATTR_BYTES)
				 : iio_channel_attr_read(rate->channel,
							 rate_name, text,
							 ATTR_BYTES);

	text[ATTR_BYTES - 1] = '\0';
	return n > 0;
}

static int write_rate_text(const struct rate_attr *rate, const char *text)
{
	ssize_t n = rate->device ? iio_device_attr_write(rate->device,
							 rate_name, text)
				 : iio_channel_attr_write(rate->channel,
							  rate_name, text);

	return n < 0 ? (int)n : 0;
}

static int read_rate(const struct rate_attr *rate, double *ret_value)
{
	if (rate->device)
		return iio_device_attr_read_double(rate->device, rate_name,
						   ret_value);
	return iio_channel_attr_read_double(rate->channel, rate_name,
					    ret_value);
}

static int change_rate(struct iio *s, const struct rate_attr *at,
		       uint32_t wanted)
{
	struct saved_attr *saved = &s->saved_rate;
	bool known = read_rate_text(at, saved->before);
	int r = write_rate(at, wanted);

	if (r == 0 && known)
		saved->set = read_rate_text(at, saved->left);
	return r;
}

static int set_rate(struct iio *s, uint32_t wanted)
{
	struct rate_attr at = find_rate(s);
	double rate = 0;
	int r = 0;

	if (!at.device && !at.channel)
		return wanted ? -ERANGE : 0;
	if (wanted)
		r = change_rate(s, &at, wanted);
	if (r < 0)
		return r == -EINVAL ? -ERANGE : r;
	r = read_rate(&at, &rate);
	if (r < 0)
		return r;
	if (!(rate > 0) || rate > UINT32_MAX)
		return -EPROTO;
	/* What is below 1 Hz has no rate here. */
	s->base.format.sample_rate = (uint32_t)(rate + 0.5);
	return wanted && s->base.format.sample_rate != wanted ? -ERANGE : 0;
}

static const char clock_name[] = "current_timestamp_clock";

static bool read_clock(const struct iio *s, char text[ATTR_BYTES])
{
	if (iio_device_attr_read(s->device, clock_name, text, ATTR_BYTES) < 0)
		return false;
	text[ATTR_BYTES - 1] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return true;
}

/* Ours if it can be chosen; else what it is. */
static void set_clock(struct iio *s)
{
	static const struct {
		const char *name;
		enum capture_clock clock;
	} clocks[] = {
		{"monotonic", CAPTURE_CLOCK_MONOTONIC},
		{"realtime", CAPTURE_CLOCK_REALTIME},
		{"boottime", CAPTURE_CLOCK_BOOTTIME},
	};
	struct saved_attr *saved = &s->saved_clock;
	bool known;
	size_t i;

	s->clock = CAPTURE_CLOCK_MONOTONIC; /* of the arrival */
	if (!s->timestamp)
		return;
	known = read_clock(s, saved->before);
	if (!known || strcmp(saved->before, clocks[0].name))
		(void)iio_device_attr_write(s->device, clock_name,
					    clocks[0].name);
	s->clock = CAPTURE_CLOCK_UNKNOWN;
	if (!read_clock(s, saved->left))
		return;
	saved->set = known && strcmp(saved->before, saved->left);
	for (i = 0; i < ARRAY_SIZE(clocks); i++) {
		if (!strcmp(saved->left, clocks[i].name))
			s->clock = clocks[i].clock;
	}
}

/* What someone else set meanwhile stays. Return: 0, or the first errno. */
static int put_back(struct iio *s)
{
	struct rate_attr at = find_rate(s);
	char now[ATTR_BYTES] = "";
	ssize_t n;
	int r = 0;

	if (s->saved_rate.set && (at.device || at.channel) &&
	    read_rate_text(&at, now) && !strcmp(now, s->saved_rate.left))
		r = write_rate_text(&at, s->saved_rate.before);
	s->saved_rate.set = false;
	if (s->saved_clock.set && read_clock(s, now) &&
	    !strcmp(now, s->saved_clock.left)) {
		n = iio_device_attr_write(s->device, clock_name,
					  s->saved_clock.before);
		if (n < 0 && r == 0)
			r = (int)n;
	}
	s->saved_clock.set = false;
	return r;
}

/* --- the scan ----------------------------------------------------------- */

static int describe(struct capture_scan_element *e,
		    const struct iio_channel *channel, uint32_t offset)
{
	const struct iio_data_format *f = iio_channel_get_data_format(channel);
	const char *id = iio_channel_get_id(channel);
	uint32_t bytes = f->length / 8 * MAX(f->repeat, 1u);

	if (!bytes || bytes > CAPTURE_SAMPLE_BYTES_MAX || f->length % 8 ||
	    f->shift >= f->length || f->bits > f->length - f->shift)
		return -EPROTO;
	(void)snprintf(e->name, sizeof(e->name), "%s", id ? id : "");
	/* Each at its own alignment (iio_compute_scan_bytes()). */
	e->offset = (offset + bytes - 1) / bytes * bytes;
	e->storage_bits = f->length;
	e->bits = f->bits;
	e->shift = f->shift;
	e->repeat = MAX(f->repeat, 1u);
	e->is_signed = f->is_signed;
	e->is_big_endian = f->is_be;
	e->is_timestamp = is_timestamp(channel);
	return (int)(e->offset + bytes);
}

/* libiio gives channels in the order of the scan. */
static int set_elements(struct iio *s)
{
	unsigned int count = iio_device_get_channels_count(s->device);
	uint32_t offset = 0;
	unsigned int i;
	int r;

	for (i = 0; i < count; i++) {
		struct iio_channel *c = iio_device_get_channel(s->device, i);

		if (iio_channel_is_output(c) || !iio_channel_is_enabled(c))
			continue;
		if (s->element_count == ARRAY_SIZE(s->elements))
			return -EPROTO;
		r = describe(&s->elements[s->element_count], c, offset);
		if (r < 0)
			return r;
		s->element_count++;
		offset = (uint32_t)r;
	}
	/* Or the layout that would be told is not the kernel's. */
	return offset <= s->base.format.sample_bytes ? 0 : -EPROTO;
}

static int iio_scan_element(const struct capture_source *source, uint32_t index,
			    struct capture_scan_element *ret_element)
{
	const struct iio *s = self_const(source);

	if (index >= s->element_count)
		return -ENOENT;
	*ret_element = s->elements[index];
	return 0;
}

static int check_config(const struct capture_source_config *config)
{
	size_t i;

	if (!config->path)
		return -EINVAL;
	if (config->frame_samples > CAPTURE_FRAME_SAMPLES_MAX)
		return -ERANGE;
	for (i = 0; i < config->fourcc_count; i++) {
		if (config->fourccs[i] == CAPTURE_FORMAT_IIO)
			return 0;
	}
	return config->fourcc_count ? -EPROTONOSUPPORT : 0;
}

static int set_format(struct iio *s, const struct capture_source_config *config)
{
	struct capture_format *f = &s->base.format;
	ssize_t scan = iio_device_get_sample_size(s->device);

	if (scan <= 0 || scan > (ssize_t)CAPTURE_SAMPLE_BYTES_MAX)
		return scan < 0 ? (int)scan : -EPROTO;
	s->frame_samples = config->frame_samples;
	if (!s->frame_samples)
		s->frame_samples =
			f->sample_rate ? MAX(f->sample_rate / FRAMES_PER_S, 1)
				       : SCANS_DEFAULT;
	s->frame_samples = MIN(s->frame_samples, CAPTURE_FRAME_SAMPLES_MAX);
	f->fourcc = CAPTURE_FORMAT_IIO;
	f->media = CAPTURE_MEDIA_SAMPLES;
	f->plane_count = 1;
	f->sample_bytes = (uint32_t)scan;
	f->size[0] = s->frame_samples * f->sample_bytes;
	if (f->sample_rate) {
		f->rate_num = f->sample_rate;
		f->rate_den = s->frame_samples;
	}
	return 0;
}

static int iio_setup(struct iio *s, const struct capture_source_config *config)
{
	int r;

	r = check_config(config);
	if (r == 0)
		r = find_device(s, config->path);
	if (r == 0)
		r = enable_channels(s, config->channels);
	if (r == 0)
		r = set_rate(s, config->sample_rate);
	if (r < 0)
		return r;
	set_clock(s);
	r = set_format(s, config);
	if (r == 0)
		r = set_elements(s);
	if (r < 0)
		return r;
	r = s->base.sys->epoll_create1(EPOLL_CLOEXEC);
	if (r < 0)
		return r;
	s->epoll_fd = r;
	return frame_pool_new(s->base.sys, &s->base.format, config, &s->pool);
}

static void switch_off(struct iio *s)
{
	if (s->buffer)
		iio_buffer_destroy(s->buffer);
	s->buffer = NULL;
}

static int iio_restore(struct capture_source *source)
{
	struct iio *s = self(source);

	switch_off(s);
	s->state = IIO_OFF;
	s->restored = true;
	return s->device ? put_back(s) : 0;
}

static void iio_destroy(struct iio *s)
{
	(void)iio_restore(&s->base); /* who wants to know asks before */
	frame_pool_close(s->pool);
	sys_close(s->base.sys, &s->epoll_fd);
	if (s->context)
		iio_context_destroy(s->context);
	free(s);
}

int source_iio_open(const struct sys_ops *sys,
		    const struct capture_source_config *config,
		    struct capture_source **ret_source)
{
	struct iio *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->base.ops = &iio_ops;
	s->base.sys = sys;
	s->epoll_fd = -EBADF;
	r = iio_setup(s, config);
	if (r < 0) {
		iio_destroy(s);
		return r;
	}
	*ret_source = &s->base;
	return 0;
}

static void iio_close(struct capture_source *source)
{
	iio_destroy(self(source));
}

/* --- on and off --------------------------------------------------------- */

static int switch_on(struct iio *s)
{
	struct epoll_event event = {.events = EPOLLIN};
	int r;

	errno = 0;
	s->buffer =
		iio_device_create_buffer(s->device, s->frame_samples, false);
	if (!s->buffer)
		return last_errno();
	if (iio_buffer_step(s->buffer) !=
	    (ptrdiff_t)s->base.format.sample_bytes)
		return -EPROTO;
	r = iio_buffer_set_blocking_mode(s->buffer, false);
	if (r < 0)
		return r;
	r = iio_buffer_get_poll_fd(s->buffer);
	if (r < 0)
		return r;
	return s->base.sys->epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, r, &event);
}

static int iio_start(struct capture_source *source)
{
	struct iio *s = self(source);
	int r;

	if (s->state != IIO_OFF || s->restored)
		return -EBUSY;
	r = switch_on(s);
	if (r < 0) {
		switch_off(s);
		return r;
	}
	s->samples = 0;
	scan_gaps_init(&s->gaps, s->base.format.sample_rate, s->frame_samples);
	s->sequence = 0;
	s->state = IIO_ON;
	return 0;
}

static int iio_stop(struct capture_source *source)
{
	struct iio *s = self(source);

	switch_off(s);
	s->state = IIO_OFF;
	return 0;
}

/* --- frames ------------------------------------------------------------- */

/* The timestamp of the scan at @scan, which libiio placed. */
static uint64_t timestamp_of(const struct iio *s, const uint8_t *scan)
{
	const uint8_t *at = iio_buffer_first(s->buffer, s->timestamp);
	ptrdiff_t offset = at - (const uint8_t *)iio_buffer_start(s->buffer);
	int64_t ns;

	if (offset < 0 ||
	    offset + (ptrdiff_t)sizeof(ns) > iio_buffer_step(s->buffer))
		return 0;
	iio_channel_convert(s->timestamp, &ns, scan + offset);
	return ns > 0 ? (uint64_t)ns : 0;
}

/* What is missing by the timestamps of @count scans at @scan. */
static void count_lost(struct iio *s, const uint8_t *scan, uint32_t count)
{
	int64_t scans;
	uint64_t lost;

	for (; count; count--, scan += s->base.format.sample_bytes)
		scan_gaps_put(&s->gaps, timestamp_of(s, scan));
	lost = scan_gaps_end_frame(&s->gaps, &scans);
	s->stats.scans_lost += (uint64_t)scans;
	if (!lost)
		return;
	s->stats.overruns++;
	s->epoch++;
	s->stats.frames_lost += lost;
	s->sequence += (uint32_t)lost;
}

static void fill_in(struct iio *s, struct capture_frame *frame, uint32_t bytes)
{
	const struct capture_format *f = &s->base.format;
	const uint8_t *first = frame->planes[0].map;

	frame->clock = s->clock;
	if (s->timestamp) {
		frame->stamp_ns = timestamp_of(s, first);
		frame->point = CAPTURE_POINT_FIRST_SAMPLE;
		count_lost(s, first, bytes / f->sample_bytes);
	} else {
		frame->stamp_ns = sys_now_ns(s->base.sys, CLOCK_MONOTONIC);
		frame->point = CAPTURE_POINT_ARRIVAL;
		/* Its last sample came just before. */
		s->base.stamp_ticks = bytes / f->sample_bytes;
	}
	frame->sequence = s->sequence++;
	frame->epoch = s->epoch;
	frame->device_hz = f->sample_rate;
	frame->device_ticks = f->sample_rate ? s->samples : 0;
	frame->planes[0].bytesused = bytes;
	s->samples += bytes / f->sample_bytes;
	s->stats.bytes_touched += 2 * (uint64_t)bytes;
	s->stats.frames++;
}

/* Whether the FIFO has a whole frame: its watermark is set to that. */
static int look(struct iio *s)
{
	struct pollfd pfd = {.fd = s->epoll_fd, .events = POLLIN};
	int r = s->base.sys->poll(&pfd, 1, 0);

	if (r < 0)
		return r == -EINTR ? -EAGAIN : r;
	return r ? 0 : -EAGAIN;
}

static int take(struct capture_source *source,
		struct capture_frame **ret_frame)
{
	struct iio *s = self(source);
	uint32_t sample_bytes = s->base.format.sample_bytes;
	struct capture_frame *frame;
	ssize_t n;
	int r;

	if (!frame_pool_free_count(s->pool))
		return -ENOBUFS;
	r = look(s);
	if (r < 0)
		return r;
	n = iio_buffer_refill(s->buffer);
	if (n <= 0)
		return n < 0 ? (int)n : -EAGAIN;
	if (n > (ssize_t)s->base.format.size[0] || n % (ssize_t)sample_bytes)
		return -EPROTO;
	frame = frame_pool_take(s->pool);
	assert(frame); /* there was one */
	frame_begin_write(s->base.sys, frame);
	memcpy(frame_pool_data(frame, 0), iio_buffer_start(s->buffer),
	       (size_t)n);
	frame_end_write(s->base.sys, frame);
	fill_in(s, frame, (uint32_t)n);
	*ret_frame = frame;
	return 0;
}

static int iio_dequeue(struct capture_source *source, uint64_t deadline_ns,
		       struct capture_frame **ret_frame)
{
	struct iio *s = self(source);
	int r;

	if (s->state == IIO_FAILED)
		return -EIO;
	if (s->state != IIO_ON)
		return -EBUSY;
	r = source_wait_frame(source, take, deadline_ns, ret_frame);
	if (!source_goes_on(r))
		s->state = IIO_FAILED;
	return r;
}

/* --- the rest ----------------------------------------------------------- */

static int iio_fd(const struct capture_source *source)
{
	return self_const(source)->epoll_fd;
}

static struct capture_arena *iio_arena(const struct capture_source *source)
{
	return frame_pool_arena(self_const(source)->pool);
}

static void iio_stats(const struct capture_source *source,
		      struct capture_source_stats *ret_stats)
{
	const struct iio *s = self_const(source);

	*ret_stats = s->stats;
	frame_pool_stats(s->pool, ret_stats);
}

static const struct source_ops iio_ops = {
	.close = iio_close,
	.start = iio_start,
	.stop = iio_stop,
	.dequeue = iio_dequeue,
	.fd = iio_fd,
	.stats = iio_stats,
	.arena = iio_arena,
	.restore = iio_restore,
	.scan_element = iio_scan_element,
};

/* --- what there is ------------------------------------------------------ */

/* Nothing is written to the device: libiio keeps it until a buffer is made. */
static int ask_device(struct iio *s, struct capture_sensor *sensor)
{
	const struct capture_source_config config = {.path = sensor->path};
	const struct iio_device *trigger = NULL;
	const char *name;
	int r;

	r = enable_channels(s, 0);
	if (r == 0)
		r = set_rate(s, 0);
	if (r == 0)
		r = set_format(s, &config);
	if (r == 0)
		r = set_elements(s);
	if (r < 0)
		return r;
	if (iio_device_get_trigger(s->device, &trigger) == 0 && trigger) {
		name = iio_device_get_name(trigger);
		(void)snprintf(sensor->trigger, sizeof(sensor->trigger), "%s",
			       name ? name : iio_device_get_id(trigger));
	}
	if (read_clock(s, s->saved_clock.before))
		(void)snprintf(sensor->clock, sizeof(sensor->clock), "%s",
			       s->saved_clock.before);
	sensor->channels_min = 1;
	sensor->channels_max = s->base.format.channels;
	sensor->rate_min = s->base.format.sample_rate;
	sensor->rate_max = s->base.format.sample_rate;
	if (sensor->rate_min)
		sensor->rates[sensor->rate_count++] = sensor->rate_min;
	sensor->elements = calloc(s->element_count, sizeof(s->elements[0]));
	if (!sensor->elements)
		return -ENOMEM;
	memcpy(sensor->elements, s->elements,
	       s->element_count * sizeof(s->elements[0]));
	sensor->element_count = s->element_count;
	return 0;
}

static int list_device(struct capture_sensor_list *list,
		       struct iio_context *context, unsigned int index)
{
	struct iio s = {.context = context};
	struct capture_sensor *sensor;
	const char *name;
	int r;

	s.device = iio_context_get_device(context, index);
	if (strncmp(iio_device_get_id(s.device), "iio:device", 10) != 0)
		return 0; /* a trigger */
	r = sensor_list_add(list, CAPTURE_SOURCE_IIO, &sensor);
	if (r < 0)
		return r;
	name = iio_device_get_name(s.device);
	(void)snprintf(sensor->path, sizeof(sensor->path), "%s",
		       iio_device_get_id(s.device));
	(void)snprintf(sensor->name, sizeof(sensor->name), "%s",
		       name ? name : "");
	sensor->error = ask_device(&s, sensor);
	return sensor->error == -ENOMEM ? -ENOMEM : 0;
}

int source_iio_list(struct capture_sensor_list *list)
{
	struct iio_context *context;
	unsigned int i;
	int r = 0;

	errno = 0;
	context = iio_create_local_context();
	if (!context) /* no IIO in this kernel, most often */
		return errno == ENOMEM ? -ENOMEM : 0;
	for (i = 0; r == 0 && i < iio_context_get_devices_count(context); i++)
		r = list_device(list, context, i);
	iio_context_destroy(context);
	return r == -ENOSPC ? 0 : r;
}
