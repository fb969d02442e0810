/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes to a node, and the way back. A journal reads all that the changes
 * may touch before the first of them, and puts it back.
 */
#ifndef CAPTURE_SRC_SETTINGS_H
#define CAPTURE_SRC_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/videodev2.h>

#include <capture/settings.h>

#include "base/macros.h"

struct sys_ops;

struct saved_control {
	uint32_t id;
	bool wide;
	bool unread;		/* what it was left at is not known */
	bool foreign;		/* someone else changed it since */
	int64_t value;		/* before our calls */
	int64_t left;		/* after them */
};

struct settings_journal {
	const struct sys_ops *sys;
	int fd;			/* borrowed */
	uint32_t type;		/* enum v4l2_buf_type */
	/*
	 * Before the first change. Input, timings, crop, format, compose and
	 * rate each reset some of the others, so all are read.
	 */
	bool known_input;
	bool known_crop;
	bool known_compose;
	bool known_parm;
	bool known_frequency;
	int input;
	struct v4l2_rect crop;
	struct v4l2_rect compose;
	struct v4l2_format format;
	struct v4l2_streamparm parm;
	struct v4l2_frequency frequency;
	struct v4l2_dv_timings timings;
	bool changed;		/* any of the above but the timings */
	bool changed_input;
	bool changed_timings;
	int input_left;		/* after our call, as below */
	struct v4l2_dv_timings timings_left;
	uint32_t control_count;
	struct saved_control controls[CAPTURE_SETTINGS_CONTROLS_MAX];
	/*
	 * Inputs and timings change controls by themselves (of brightness,
	 * ranges): all that can be set, by rising id. NULL: not needed.
	 */
	struct saved_control *all;
	size_t all_count;
};

/**
 * settings_begin() - read what may be changed
 *
 * Return: 0, or the errno of ioctl. settings_restore() may follow either way.
 */
int settings_begin(struct settings_journal *j, const struct sys_ops *sys,
		   int fd, uint32_t type) MUST_CHECK;

/* To be called before what the journal does not do itself: format, rate. */
static inline void settings_will_change(struct settings_journal *j)
{
	j->changed = true;
}

/*
 * Input, timings, controls and crop; NULL: nothing. Return: 0, or as
 * capture_source_open(), which setting being told.
 */
int settings_apply_before(struct settings_journal *j,
			  const struct capture_settings *settings) MUST_CHECK;
/* When the format is set: compose, and whether the crop is still that. */
int settings_apply_after(struct settings_journal *j,
			 const struct capture_settings *settings) MUST_CHECK;

/*
 * To be called when all is set, or that failed: remembers what the controls
 * were left at. One that is something else later was changed by someone else,
 * and is not put back.
 */
void settings_applied(struct settings_journal *j);

/* As capture_source_set_control(). */
int settings_control(struct settings_journal *j,
		     const struct capture_control_setting *setting) MUST_CHECK;

/*
 * The ADC's rate of an SDR node, in Hz: sets it unless @wanted is 0 and tells
 * what it is (0: the node does not say).
 * Return: 0, -ENXIO (it has none to set), -ERANGE, or the errno.
 */
int settings_sample_rate(struct settings_journal *j, uint32_t wanted,
			 uint32_t *ret_rate) MUST_CHECK;

/*
 * Puts all back but input, timings and controls that someone else changed
 * after our calls; no buffers may be allocated. Return: as
 * capture_source_restore(). Does nothing the second time.
 */
int settings_restore(struct settings_journal *j);

/* Frees what the journal holds. */
void settings_end(struct settings_journal *j);

/* Tells @settings' owner which one failed. Returns @error. */
int settings_fail(const struct capture_settings *settings, const char *name,
		  int error);

#endif
