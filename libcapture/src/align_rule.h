/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which moment of a frame its aligned time tells, where that is not what the
 * samples are: the rule of struct tsalign_rule, and the times it takes. The
 * exposure and the length of a row are read from the capture node's controls,
 * else from those of the sensor that its media graph leads to:
 *
 *	V4L2_CID_EXPOSURE_ABSOLUTE	in 100 us; or
 *	V4L2_CID_EXPOSURE		in rows
 *	a row	(width + V4L2_CID_HBLANK) / V4L2_CID_PIXEL_RATE
 *	readout	rows of the picture * a row; not told: all rows at once
 *
 * once a second, as automatics turn them; the exposure with each frame, where
 * that costs no more than CAPTURE_ALIGN_READ_NS_MAX. (A USB camera is asked
 * over its wire.) What cannot be is left out: the last good value stays, and it
 * is told what was wrong.
 *
 * A change shows in the frames some of them later or earlier than in the
 * control, and not at all until the control is read: see align_rule_doubt().
 *
 * The module applies the rule where we may set it. It is applied once: a rule
 * of the device tree stays, and gets the times that the tree does not tell;
 * one of another program stays as it is; without permission, and only where
 * the module has no rule, the same offset is added here.
 */
#ifndef CAPTURE_SRC_ALIGN_RULE_H
#define CAPTURE_SRC_ALIGN_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include <capture/align.h>
#include <capture/settings.h>
#include <linux/tsalign.h>
#include <linux/videodev2.h>

#include "base/sys.h"

/* A row's length: @clocks of @rate; rate 0: not known. */
struct align_row {
	uint64_t clocks;
	uint64_t rate;
};

struct align_rule {
	const struct sys_ops *sys;
	bool wanted; /* else nothing below is used */
	struct capture_align_setting setting;

	/* Where the times are read, and of how many pixels. */
	int node;   /* of the controls; -EBADF: there are none */
	int subdev; /* the same, if it is ours to close */
	uint32_t width;
	uint32_t rows;

	/* As they were read. */
	uint64_t looked_ns; /* CLOCK_BOOTTIME; 0: look with the next frame */
	uint64_t exposure_ns;
	uint64_t readout_ns;
	const char *wrong; /* static; NULL: nothing is */
	struct align_row row;
	struct v4l2_query_ext_ctrl exposure; /* its control; id 0: none */
	uint64_t exposure_min_ns;
	uint64_t exposure_max_ns;
	uint64_t cost_ns; /* the least of reading it */
	bool cost_known;

	/* What a change that is not yet seen, or was just seen, is worth. */
	uint64_t stamp_ns; /* CLOCK_BOOTTIME, of the last frame */
	uint64_t frame_ns; /* from the one before it */
	uint64_t reach_ns;
	uint64_t doubt_ns; /* of frames of up to @doubt_until_ns */
	uint64_t doubt_until_ns;

	/* The frames' stamps. */
	uint32_t stamped;  /* enum tsalign_point */
	int64_t offset_ns; /* to be added to them */

	/* The module's stream, if there is one. */
	int module;		    /* /dev/tsalign; -EBADF: none */
	bool writable;		    /* @module is */
	bool ours;		    /* @held is by us, not @before */
	bool yielded;		    /* somebody set another one since */
	bool stamps;		    /* are its samples */
	struct tsalign_rule before; /* as it was found */
	struct tsalign_rule held;   /* as it was left, or found */
	bool module_lacks; /* it cannot tell the point, @offset_ns can */
	int64_t module_ns; /* what @held adds, as far as is known */
	int64_t more_ns;   /* to be added to the module's map */
};

void align_rule_init(struct align_rule *r, const struct sys_ops *sys);
/* Closes what it has open; the module's rule is put back, if it is ours. */
void align_rule_fini(struct align_rule *r);

/**
 * align_rule_attach() - what is wanted, and of which device
 * @setting: was checked; copied. All 0: nothing is shifted
 * @node: the capture node; borrowed until align_rule_fini(); -EBADF: none
 * @path: of @node
 * @minor: of @node; -1: not known
 * @format: of its frames
 *
 * Looks for the sensor: opens media devices and closes them again, as long as
 * that takes. Without a sensor the exposure is not known, which is no error.
 */
void align_rule_attach(struct align_rule *r,
		       const struct capture_align_setting *setting, int node,
		       const char *path, int32_t minor,
		       const struct capture_format *format);

/* Another start: the times are read with its first frame. */
void align_rule_started(struct align_rule *r);

/*
 * The module has stream @id for these frames; its rule is asked for. @stamps:
 * its samples are the frames' stamps, not buffers that are done.
 */
void align_rule_join(struct align_rule *r, uint32_t id, bool stamps);
/* It has it no more: as align_rule_fini(), but for the node. */
void align_rule_leave(struct align_rule *r);

/**
 * align_rule_follow() - before each frame is read off a line
 * @stamp_ns: of the frame; CLOCK_BOOTTIME
 * @now_ns: CLOCK_BOOTTIME
 *
 * A second after the last time, reads what may have changed: a few ioctls on
 * the node and two on the module. In between at most two. No memory is
 * allocated.
 */
void align_rule_follow(struct align_rule *r, const struct capture_frame *f,
		       uint64_t stamp_ns, uint64_t now_ns);

/*
 * What the frame's moment may be off by an exposure that is another than what
 * was read: the change, for some frames after one was seen; and where it is
 * read once a second, all the way to any that the control can be set to within
 * a frame.
 */
uint64_t align_rule_doubt(const struct align_rule *r, uint64_t stamp_ns);

/*
 * What is to be added to what @page says: more_ns, or 0 where another has set
 * a rule since.
 */
int64_t align_rule_more(struct align_rule *r, const struct tsalign_page *page);

#endif
