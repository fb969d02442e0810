/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a source is under its public face: a base and an ops table. A backend
 * embeds the base first, a frame_holder (src/frame.h) in each of its frames,
 * and fills in the base's format before its open returns.
 */
#ifndef CAPTURE_SRC_SOURCE_BACKEND_H
#define CAPTURE_SRC_SOURCE_BACKEND_H

#include <stdbool.h>

#include <capture/align.h>
#include <capture/settings.h>
#include <capture/source.h>

#include "base/macros.h"

DEFINE_AUTO(capture_source_close, struct capture_source *)

struct source_ops {
	/* Each as the function of its name in capture/source.h. */
	void (*close)(struct capture_source *source);
	int (*start)(struct capture_source *source);
	int (*stop)(struct capture_source *source);
	int (*dequeue)(struct capture_source *source, uint64_t deadline_ns,
		       struct capture_frame **ret_frame);
	int (*fd)(const struct capture_source *source);
	void (*stats)(const struct capture_source *source,
		      struct capture_source_stats *ret_stats);
	/* NULL: no arena. */
	struct capture_arena *(*arena)(const struct capture_source *source);
	/* NULL: CAPTURE_SIGNAL_UNKNOWN. */
	enum capture_signal (*signal)(struct capture_source *source);
	/* capture/settings.h; NULL: there are no controls. */
	int (*set_control)(struct capture_source *source,
			   const struct capture_control_setting *setting);
	int (*get_control)(struct capture_source *source,
			   const struct capture_control_setting *setting,
			   int64_t *ret_value);
	/* NULL: a stop is enough. */
	int (*restore)(struct capture_source *source);
	/* NULL: by the base's own aligner. */
	int (*alignment)(const struct capture_source *source,
			 struct capture_alignment *ret_alignment);
	/* NULL: -EOPNOTSUPP. */
	int (*scan_element)(const struct capture_source *source, uint32_t index,
			    struct capture_scan_element *ret_element);
};

struct capture_source {
	const struct source_ops *ops;
	const struct sys_ops *sys;
	struct capture_format format;
	/* By how much frames count more than the driver does. */
	uint32_t sequence_shift;
	/* The newest frame's stamp is so many ticks after its device_ticks. */
	uint64_t stamp_ticks;
	/* Its device_ticks are no count of the device, but of its stamp. */
	bool count_guessed;
	/* What follows is source.c's. NULL: frames come with their times. */
	struct capture_align *align;
	/* The newest frame's, to number the epochs of whoever opens many. */
	uint32_t frame_epoch;
	uint32_t inner_epoch;
	uint32_t aligned_epoch;
	/* Of kinds that leave out no frames themselves. */
	uint32_t skip_first;
	uint32_t skip_left;
	uint64_t skipped;
};

/*
 * dequeue() of a backend that can only look. @take gives a frame, -EAGAIN
 * (nothing there: the source's descriptor is waited for) or an error.
 */
int source_wait_frame(struct capture_source *source,
		      int (*take)(struct capture_source *source,
				  struct capture_frame **ret_frame),
		      uint64_t deadline_ns,
		      struct capture_frame **ret_frame) MUST_CHECK;

/* Whether a source goes on after a dequeue that said @r. */
bool source_goes_on(int r);

/* Each as capture_source_open(), of one kind; @config was checked. */
typedef int source_open_fn(const struct sys_ops *sys,
			   const struct capture_source_config *config,
			   struct capture_source **ret_source);

source_open_fn source_v4l2_open;
source_open_fn source_alsa_open;
source_open_fn source_iio_open;
source_open_fn source_libcamera_open;
source_open_fn source_records_open;
source_open_fn source_synthetic_open;

#endif
