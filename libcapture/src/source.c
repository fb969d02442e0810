/* SPDX-License-Identifier: Apache-2.0 */
#include "src/source_backend.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "base/sys.h"
#include "src/align.h"
#include "src/frame_count.h"
#include "src/limits.h"
#include "src/queue.h"
#include "src/settings.h"

#define NS_PER_S UINT64_C(1000000000)

/* A kind whose library is not built in has a row without an opener. */
static source_open_fn *const openers[] = {
	[CAPTURE_SOURCE_V4L2] = source_v4l2_open,
#if HAVE_ALSA
	[CAPTURE_SOURCE_ALSA] = source_alsa_open,
#endif
#if HAVE_IIO
	[CAPTURE_SOURCE_IIO] = source_iio_open,
#endif
	[CAPTURE_SOURCE_LIBCAMERA] = source_libcamera_open,
	[CAPTURE_SOURCE_RECORDS] = source_records_open,
	[CAPTURE_SOURCE_SYNTHETIC] = source_synthetic_open,
};

static int check_config(const struct capture_source_config *config)
{
	if (config->fourcc_count && !config->fourccs)
		return -EINVAL;
	if (!config->width != !config->height ||
	    config->width > CAPTURE_SIDE_MAX ||
	    config->height > CAPTURE_SIDE_MAX)
		return -EINVAL;
	if (!config->rate_num != !config->rate_den)
		return -EINVAL;
	return config->buffer_count > CAPTURE_BUFFERS_MAX ? -EINVAL : 0;
}

#define V4L2_MAJOR 81

/* The minor of the device that is open, by which tsalign.ko knows it; or -1. */
static int32_t v4l2_minor(const struct sys_ops *sys,
			  const struct capture_source *source)
{
	struct stat st;

	if (sys->fstat(source->ops->fd(source), &st) < 0 ||
	    !S_ISCHR(st.st_mode) || major(st.st_rdev) != V4L2_MAJOR)
		return -1;
	return (int32_t)minor(st.st_rdev);
}

static int refuse(const struct capture_source_config *config, const char *name,
		  int error)
{
	log_debug("source", "%s: %s is not of this kind of source",
		  config->path ? config->path : "", name);
	return settings_fail(config->settings, name, error);
}

/* What a kind does not do is refused: it must not pass as done. */
static int check_kind(const struct capture_source_config *config)
{
	const struct capture_settings *s = config->settings;
	bool camera = config->kind == CAPTURE_SOURCE_LIBCAMERA;
	const char *wrong = s ? align_setting_check(&s->align) : NULL;

	if (!wrong && s && frame_count_check(&s->counter) < 0)
		wrong = "counter";
	if (wrong)
		return refuse(config, wrong, -EINVAL);
	if (config->kind == CAPTURE_SOURCE_V4L2)
		return 0;
	if (config->borrow_max && !camera)
		return refuse(config, "borrow_max", -EINVAL);
	if (!s)
		return 0;
	if (s->set_input)
		return refuse(config, "input", -EOPNOTSUPP);
	if (s->timings != CAPTURE_TIMINGS_KEEP)
		return refuse(config, "timings", -EOPNOTSUPP);
	if (s->control_count && !camera)
		return refuse(config, "controls", -EOPNOTSUPP);
	if (s->align.point || s->align.stamped || s->align.delay_ns)
		return refuse(config, "point", -EOPNOTSUPP);
	if (s->counter.bits)
		return refuse(config, "counter", -EOPNOTSUPP);
	if (s->crop)
		return refuse(config, "crop", -EOPNOTSUPP);
	return s->compose ? refuse(config, "compose", -EOPNOTSUPP) : 0;
}

/* Sensors with a clock of their own, which the module can only hear of here. */
static void name_stream(struct capture_source *source,
			const struct capture_source_config *config)
{
	static const char *const kinds[] = {
		[CAPTURE_SOURCE_ALSA] = "audio",
		[CAPTURE_SOURCE_IIO] = "iio",
		[CAPTURE_SOURCE_RECORDS] = "records",
	};
	size_t kind = (size_t)config->kind;

	if (kind < ARRAY_SIZE(kinds) && kinds[kind] && config->path)
		align_name(source->align, kinds[kind], config->path);
	if (config->settings && config->settings->counter.bits) {
		align_name(source->align, "telemetry", config->path);
		align_set_tick(source->align,
			       NS_PER_S / config->settings->counter.hz);
	}
}

int capture_source_open(const struct sys_ops *sys,
			const struct capture_source_config *config,
			struct capture_source **ret_source)
{
	size_t kind = (size_t)config->kind;
	struct capture_source *source;
	int32_t minor = -1;
	int r;

	r = check_config(config);
	if (r < 0)
		return r;
	if (kind > CAPTURE_SOURCE_SYNTHETIC)
		return -EINVAL;
	if (kind >= ARRAY_SIZE(openers) || !openers[kind])
		return -EOPNOTSUPP;
	r = check_kind(config);
	if (r < 0)
		return r;
	sys = sys ? sys : sys_posix();
	r = openers[kind](sys, config, &source);
	if (r < 0)
		return r;
	if (config->kind == CAPTURE_SOURCE_V4L2)
		minor = v4l2_minor(sys, source);
	else /* V4L2 sources leave out what they do not even look at */
		source->skip_first = config->skip_first;
	r = capture_align_new(sys, minor, &source->align);
	if (r < 0) {
		source->ops->close(source);
		return r;
	}
	name_stream(source, config);
	if (config->settings)
		align_set_rule(source->align, &config->settings->align,
			       source->ops->fd(source), config->path,
			       &source->format);
	*ret_source = source;
	return 0;
}

struct capture_source *capture_source_close(struct capture_source *source)
{
	if (!source)
		return NULL;
	source->align = capture_align_free(source->align);
	source->ops->close(source);
	return NULL;
}

const struct capture_format *
capture_source_format(const struct capture_source *source)
{
	return &source->format;
}

struct capture_arena *capture_source_arena(const struct capture_source *source)
{
	return source->ops->arena ? source->ops->arena(source) : NULL;
}

int capture_source_fd(const struct capture_source *source)
{
	return source->ops->fd(source);
}

int capture_source_start(struct capture_source *source)
{
	int r = source->ops->start(source);

	if (r < 0)
		return r;
	source->skip_left = source->skip_first;
	if (source->align)
		capture_align_started(source->align);
	return r;
}

int capture_source_stop(struct capture_source *source)
{
	return source->ops->stop(source);
}

/* Frames of sources that were opened one after another: one row of epochs. */
static void number_epoch(struct capture_source *s, struct capture_frame *f)
{
	if (f->aligned.by == CAPTURE_ALIGNED_NOT) {
		f->aligned.epoch = s->aligned_epoch; /* it never goes back */
		return;
	}
	if (!s->aligned_epoch || s->frame_epoch != f->epoch ||
	    s->inner_epoch != f->aligned.epoch)
		s->aligned_epoch++;
	s->frame_epoch = f->epoch;
	s->inner_epoch = f->aligned.epoch;
	f->aligned.epoch = s->aligned_epoch;
}

/* The next frame of the backend, but for those to be left out. */
static int next_frame(struct capture_source *source, uint64_t deadline_ns,
		      struct capture_frame **ret_frame)
{
	int r;

	for (;;) {
		r = source->ops->dequeue(source, deadline_ns, ret_frame);
		if (r < 0 || !source->skip_left)
			return r;
		source->skip_left--;
		source->skipped++;
		*ret_frame = capture_frame_unref(*ret_frame);
	}
}

int capture_source_dequeue(struct capture_source *source, uint64_t deadline_ns,
			   struct capture_frame **ret_frame)
{
	int r = next_frame(source, deadline_ns, ret_frame);

	if (r < 0)
		return r;
	if (source->align) {
		align_shift_sequence(source->align, source->sequence_shift);
		align_stamp_after(source->align, source->stamp_ticks);
		align_count_guessed(source->align, source->count_guessed);
		capture_align_frame(source->align, *ret_frame);
	} else {
		number_epoch(source, *ret_frame);
	}
	return r;
}

int capture_source_alignment(const struct capture_source *source,
			     struct capture_alignment *ret_alignment)
{
	if (source->ops->alignment)
		return source->ops->alignment(source, ret_alignment);
	return source->align ? capture_align_state(source->align, ret_alignment)
			     : -EAGAIN;
}

int source_wait_frame(struct capture_source *source,
		      int (*take)(struct capture_source *source,
				  struct capture_frame **ret_frame),
		      uint64_t deadline_ns, struct capture_frame **ret_frame)
{
	int r;

	for (;;) {
		r = take(source, ret_frame);
		if (r != -EAGAIN || !deadline_ns)
			return r;
		if (sys_now_ns(source->sys, CLOCK_MONOTONIC) >= deadline_ns)
			return -ETIMEDOUT;
		r = queue_wait(source->sys, source->ops->fd(source), POLLIN,
			       deadline_ns);
		if (r < 0)
			return r;
	}
}

bool source_goes_on(int r)
{
	return r >= 0 || r == -EAGAIN || r == -ETIMEDOUT || r == -ENOBUFS;
}

enum capture_signal capture_source_signal(struct capture_source *source)
{
	return source->ops->signal ? source->ops->signal(source)
				   : CAPTURE_SIGNAL_UNKNOWN;
}

int capture_source_set_control(struct capture_source *source,
			       const struct capture_control_setting *setting)
{
	return source->ops->set_control
		       ? source->ops->set_control(source, setting)
		       : -EOPNOTSUPP;
}

int capture_source_get_control(struct capture_source *source,
			       const struct capture_control_setting *setting,
			       int64_t *ret_value)
{
	return source->ops->get_control
		       ? source->ops->get_control(source, setting, ret_value)
		       : -EOPNOTSUPP;
}

int capture_source_restore(struct capture_source *source)
{
	return source->ops->restore ? source->ops->restore(source)
				    : source->ops->stop(source);
}

int capture_source_scan_element(const struct capture_source *source,
				uint32_t index,
				struct capture_scan_element *ret_element)
{
	return source->ops->scan_element
		       ? source->ops->scan_element(source, index, ret_element)
		       : -EOPNOTSUPP;
}

const char *capture_signal_name(enum capture_signal signal)
{
	static const char *const names[] = {
		[CAPTURE_SIGNAL_OK] = "ok",
		[CAPTURE_SIGNAL_NO_CABLE] = "no cable",
		[CAPTURE_SIGNAL_NONE] = "no signal",
		[CAPTURE_SIGNAL_NO_LOCK] = "no lock",
		[CAPTURE_SIGNAL_RANGE] = "out of range",
	};
	size_t i = (size_t)signal;

	return i < ARRAY_SIZE(names) && names[i] ? names[i] : "unknown";
}

void capture_source_stats(const struct capture_source *source,
			  struct capture_source_stats *ret_stats)
{
	source->ops->stats(source, ret_stats);
	ret_stats->frames -= source->skipped;
	ret_stats->frames_skipped += source->skipped;
}
