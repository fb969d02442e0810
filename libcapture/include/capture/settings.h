/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a V4L2 source changes on its device before it sets the format, and
 * what controls a node has.
 *
 * Nothing is changed that is not named here or in the source's config. All
 * that is changed (input, timings, crop, compose, format, rate, frequency,
 * controls) is read before, and put back when the source is closed: see
 * capture_source_restore(). An input, timings or a control that another
 * program changed since are left as it set them.
 */
#ifndef CAPTURE_SETTINGS_H
#define CAPTURE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <capture/api.h>

struct capture_source;

/* A moment of a frame; libcapture/DESIGN.md has a picture of them. */
enum capture_align_point {
	CAPTURE_ALIGN_AS_STAMPED = 0,	/* what the driver stamps */
	CAPTURE_ALIGN_ARRIVAL,		/* none that is known: to be told only */
	CAPTURE_ALIGN_START_OF_FRAME,	/* readout of the first row */
	CAPTURE_ALIGN_END_OF_FRAME,	/* readout of the last row */
	CAPTURE_ALIGN_START_OF_EXPOSURE, /* of the first row */
	CAPTURE_ALIGN_MID_EXPOSURE	/* of the middle row */
};

/* How far a stamp may be from what it means: 10 s. */
#define CAPTURE_ALIGN_DELAY_NS_MAX 10000000000ll

/*
 * Which moment of a frame capture_frame.aligned tells; of V4L2 sources. The
 * stamp itself stays what it is. All zero: aligned time is of the moment that
 * the stamps are of, and nothing is looked for.
 *
 * The way from one moment to another is the exposure time, the time of the
 * readout, or both. They are read from the node's controls, else from those
 * of the sensor that its media graph leads to: V4L2_CID_EXPOSURE_ABSOLUTE, or
 * V4L2_CID_EXPOSURE in rows; V4L2_CID_HBLANK and V4L2_CID_PIXEL_RATE. What
 * cannot be had from these is as stamped: capture_alignment.wrong.
 *
 * They are read with the first frame and then once a second, the exposure with
 * each frame unless that costs more than 0.2 ms, as of USB cameras: their
 * sigma_ns has the most that a change could move. Of others the frames just
 * after a change have it.
 */
struct capture_align_setting {
	enum capture_align_point point;
	/*
	 * What the driver's stamps mean; AS_STAMPED: what it says of them
	 * (V4L2_BUF_FLAG_TSTAMP_SRC_*). The module hears buffers that are
	 * done, whatever their stamps: it takes them for the end of the frame
	 * unless it or the device tree knows better.
	 */
	enum capture_align_point stamped;
	/* So much later than that the samples are; +- DELAY_NS_MAX. */
	int64_t delay_ns;
};

/*
 * A counter that the sensor itself writes into its frames: thermal cores have
 * milliseconds since they were switched on in their telemetry rows. Of V4L2
 * sources of Y16, Y16_BE, Y14, Y12 and Y10. All zero: there is none.
 *
 * It is capture_frame.device_ticks, without wraps, and frames are aligned by
 * it: to tsalign.ko it is a stream "telemetry-...", beside that of the frames.
 * A count that does not go on as time does (within half a second) is no
 * sample: such a frame has one made up of its stamp, and no sigma. If the next
 * frame goes on from it, the core began anew: capture_frame.epoch.
 */
struct capture_counter_setting {
	uint32_t bits;	/* 16, 32, 48 or 64; 0: no counter */
	int32_t row;	/* of the frame; from the top, or -1: the last, ... */
	uint32_t word;	/* of the row: of 16 bits, as pixels are */
	bool low_first;	/* words; the bytes of each are the format's */
	uint32_t hz;	/* what it counts; no lap in less than 4 s */
};

/* Controls that one source may set. */
#define CAPTURE_SETTINGS_CONTROLS_MAX 64
#define CAPTURE_CONTROL_NAME_BYTES 32

/*
 * A control and its value. By @id (V4L2_CID_*), or if that is 0 by @name:
 * lower case, anything but letters and digits is '_' ("Test Pattern" is
 * "test_pattern"), as v4l2-ctl has it. Menus take @item too, the entry's
 * text by the same rule, or its number in @value. Integers (32 and 64 bits),
 * booleans, menus and bit masks; no buttons, texts or compounds.
 *
 * LIBCAMERA: by libcamera's names ("exposure_time" in microseconds,
 * "analogue_gain", "ae_enable"), @id 0 and no @item; what libcamera has as a
 * real number is given in thousandths. They go with the next frame that is
 * asked of the camera, and again after each start. libcamera can read none,
 * and puts none back.
 */
struct capture_control_setting {
	uint32_t id;
	const char *name;
	int64_t value;
	const char *item;	/* NULL: @value */
};

/* Pixels, from the top left. */
struct capture_rect {
	int32_t left;
	int32_t top;
	uint32_t width;
	uint32_t height;
};

enum capture_timings {
	CAPTURE_TIMINGS_KEEP = 0,
	CAPTURE_TIMINGS_AUTO	/* what the receiver finds at its input */
};

/* Which setting was refused, and why. */
struct capture_settings_error {
	/*
	 * A control as it was named (0x... when by id), or "input", "timings",
	 * "crop", "compose", "frequency", "point", "stamped", "delay",
	 * "counter"; "" when it was none of them.
	 */
	char name[CAPTURE_CONTROL_NAME_BYTES * 2];
	int error;		/* negative errno */
};

/*
 * All zero changes nothing. Applied in this order: input, timings, controls
 * (as listed: an automatic before what it governs), crop; then, after the
 * format, compose. Rectangles are exact or refused.
 */
struct capture_settings {
	bool set_input;
	uint32_t input;
	enum capture_timings timings;
	const struct capture_control_setting *controls;
	size_t control_count;
	const struct capture_rect *crop;	/* NULL: as it is */
	const struct capture_rect *compose;	/* NULL: as it is */
	struct capture_align_setting align;
	struct capture_counter_setting counter;
	/* NULL, or written by an open that fails; borrowed for the open. */
	struct capture_settings_error *error;
};

/**
 * capture_settings_dup() - a deep copy, without @error
 *
 * Return: 0, -EINVAL (more than CAPTURE_SETTINGS_CONTROLS_MAX controls),
 * -ENOMEM.
 */
CAPTURE_API int capture_settings_dup(const struct capture_settings *settings,
				     struct capture_settings **ret_settings)
	CAPTURE_MUST_CHECK;

/* Of capture_settings_dup(). Takes NULL; returns NULL. */
CAPTURE_API struct capture_settings *
capture_settings_free(struct capture_settings *settings);

/* --- what there is ------------------------------------------------------ */

enum capture_control_type {
	CAPTURE_CONTROL_OTHER = 0,	/* text, compound: not to be set here */
	CAPTURE_CONTROL_INTEGER,	/* of 32 or 64 bits */
	CAPTURE_CONTROL_BOOLEAN,
	CAPTURE_CONTROL_MENU,
	CAPTURE_CONTROL_INTEGER_MENU,
	CAPTURE_CONTROL_BITMASK,
	CAPTURE_CONTROL_BUTTON
};

struct capture_control_item {
	int64_t index;		/* what the control is set to */
	int64_t value;		/* of integer menus */
	char name[CAPTURE_CONTROL_NAME_BYTES];	/* of menus */
};

struct capture_control {
	uint32_t id;
	enum capture_control_type type;
	char name[CAPTURE_CONTROL_NAME_BYTES];	/* the driver's */
	char key[CAPTURE_CONTROL_NAME_BYTES];	/* as a setting names it */
	int64_t minimum;
	int64_t maximum;
	int64_t step;
	int64_t default_value;
	int64_t value;		/* now; meaningless unless @readable */
	bool readable;
	uint32_t flags;		/* V4L2_CTRL_FLAG_* */
	struct capture_control_item *items;	/* of both kinds of menus */
	size_t item_count;
};

struct capture_control_list {
	struct capture_control *controls;	/* by rising id */
	size_t count;
};

/**
 * capture_control_list_new() - the controls of a node
 * @sys: system calls, or NULL
 * @path: a video node, radio node or subdevice
 * @ret_list: owned by the caller
 *
 * A node without controls gives an empty list. Changes nothing.
 *
 * Context: blocks in open(2).
 * Return: 0, -ENODEV, -ENOMEM, -E2BIG (more than any device has), or the
 * errno of open or ioctl.
 */
CAPTURE_API int
capture_control_list_new(const struct sys_ops *sys, const char *path,
			 struct capture_control_list **ret_list)
	CAPTURE_MUST_CHECK;

/* Takes NULL; returns NULL. */
CAPTURE_API struct capture_control_list *
capture_control_list_free(struct capture_control_list *list);

/* "integer", "boolean", "menu", "integer menu", "bitmask", "button", "other" */
CAPTURE_API const char *
capture_control_type_name(enum capture_control_type type);

/* --- of an open source -------------------------------------------------- */

/**
 * capture_source_set_control() - set one control, also under way
 *
 * What it was before is put back at close.
 *
 * Return: 0, or
 *  -ENXIO       the device has no such control, or the menu no such entry
 *  -ERANGE      the value is outside of its range or between its steps
 *  -EOPNOTSUPP  a type that cannot be set, or no V4L2 source
 *  -EACCES      it is read-only or write-only
 *  -EBUSY       the driver keeps it while it streams
 *  -ENOSPC      CAPTURE_SETTINGS_CONTROLS_MAX were changed already
 *  -ENODEV, or the errno of ioctl.
 */
CAPTURE_API int
capture_source_set_control(struct capture_source *source,
			   const struct capture_control_setting *setting)
	CAPTURE_MUST_CHECK;

/**
 * capture_source_get_control() - read one control
 * @setting: its id or name; the rest is ignored
 *
 * Return: 0, -ENXIO, -EOPNOTSUPP, -EACCES, -ENODEV, or the errno of ioctl.
 */
CAPTURE_API int
capture_source_get_control(struct capture_source *source,
			   const struct capture_control_setting *setting,
			   int64_t *ret_value) CAPTURE_MUST_CHECK;

/**
 * capture_source_restore() - stop, and put back all that was changed
 *
 * capture_source_close() does the same; call this before to learn how it
 * went. The source can then only be closed. Frames that are out stay valid.
 *
 * Return: settings that could not be put back (0: all are as they were), or
 * -ENODEV: the device is gone, and what was set with it.
 */
CAPTURE_API int capture_source_restore(struct capture_source *source);

#endif
